/* The monitor's client. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/qmp-client.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/json-peer.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (64u << 10)
#define OUTPUT_MAX (16u << 20)
/* A guest can make its devices send events: more than this in a second are dropped. */
#define EVENTS_PER_SECOND 500u

/* A command under way; on its caller's stack. */
typedef struct Pending {
    gint64 id;
    JsonObject *answer; /* (owned) whole message */
    bool is_done;
} Pending;

struct QmpClient {
    gint refs;
    EventLoop *loop;
    const QmpClientOps *ops;
    void *opaque;
    LoopWatch *watch;       /* loop's thread */
    JsonLines lines;        /* loop's thread */
    char *guest, *emulator; /* or NULL; set before others have it */
    int64_t event_second;
    unsigned event_count;
    unsigned events_dropped;

    GMutex lock;
    GCond changed;
    int fd;              /* under lock; -1: ended */
    GByteArray *output;  /* not yet sent; under lock */
    GHashTable *pending; /* &id -> Pending *; under lock */
    gint64 next_id;
    bool has_greeting;
    bool is_closed; /* closed() was or need not be called */
    GError *reason; /* why it ended */
};

/* The connection is over: nobody sends any more, and the loop has nothing left to do for it.
 * Returns whether closed() is to be called. Context: the loop's thread; @reason (transfer full). */
static bool end(QmpClient *client, GError *reason)
{
    loop_unwatch(client->watch);
    client->watch = NULL;
    g_mutex_lock(&client->lock);
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
    if (!client->reason) {
        client->reason = g_steal_pointer(&reason);
    }
    bool tell = !client->is_closed;
    client->is_closed = true;
    g_cond_broadcast(&client->changed);
    g_mutex_unlock(&client->lock);
    g_clear_error(&reason);
    loop_cancel_calls(client->loop, client);
    return tell;
}

/* As end(). The client may be gone when it returns. */
static void fail(QmpClient *client, GError *reason)
{
    g_autoptr(GError) said = g_error_copy(reason);
    if (end(client, reason) && client->ops->closed) {
        client->ops->closed(client->opaque, said);
    }
}

static bool is_event_flood(QmpClient *client)
{
    int64_t second = clock_monotonic_ns() / NS_PER_SEC;
    if (second != client->event_second) {
        if (client->events_dropped) {
            log_write(LOG_LEVEL_WARN, "monitor: %u events were too many and dropped",
                      client->events_dropped);
        }
        client->event_second = second;
        client->event_count = 0;
        client->events_dropped = 0;
    }
    if (client->event_count >= EVENTS_PER_SECOND) {
        client->events_dropped++;
        return true;
    }
    client->event_count++;
    return false;
}

/* Events that change what is known of the guest get through any flood. */
static bool is_important(const char *name)
{
    static const char *const names[] = { "STOP",
                                         "RESUME",
                                         "SHUTDOWN",
                                         "RESET",
                                         "SUSPEND",
                                         "SUSPEND_DISK",
                                         "WAKEUP",
                                         "GUEST_PANICKED",
                                         "DEVICE_DELETED",
                                         "DEVICE_UNPLUG_GUEST_ERROR",
                                         NULL };
    return g_strv_contains(names, name);
}

static void handle_event(QmpClient *client, const char *name, JsonObject *message)
{
    if (!is_important(name) && is_event_flood(client)) {
        return;
    }
    JsonObject *stamp = json_peer_object(message, "timestamp");
    if (client->ops->event) {
        client->ops->event(client->opaque, name, json_peer_object(message, "data"),
                           json_peer_int(stamp, "seconds", 0),
                           (unsigned)json_peer_int(stamp, "microseconds", 0));
    }
}

static void handle_answer(QmpClient *client, JsonObject *message)
{
    gint64 id = json_peer_int(message, "id", -1);
    g_mutex_lock(&client->lock);
    Pending *pending = g_hash_table_lookup(client->pending, &id);
    if (pending) {
        g_hash_table_remove(client->pending, &id);
        pending->answer = json_object_ref(message);
        pending->is_done = true;
        g_cond_broadcast(&client->changed);
    }
    g_mutex_unlock(&client->lock);
}

static void handle_message(QmpClient *client, JsonObject *message)
{
    const char *event = json_peer_string(message, "event");
    if (json_object_has_member(message, "QMP")) {
        g_mutex_lock(&client->lock);
        client->has_greeting = true;
        g_cond_broadcast(&client->changed);
        g_mutex_unlock(&client->lock);
    } else if (event) {
        handle_event(client, event, message);
    } else {
        handle_answer(client, message);
    }
}

void qmp_client_receive(QmpClient *client, const void *data, gsize size)
{
    GError *error = NULL;
    if (!json_lines_add(&client->lines, data, size, &error)) {
        fail(client, error);
        return;
    }
    char *line;
    gsize length;
    while ((line = json_lines_take(&client->lines, &length))) {
        JsonObject *message = json_peer_parse(line, length, &error);
        g_free(line);
        if (!message) {
            fail(client, error);
            return;
        }
        handle_message(client, message);
        json_object_unref(message);
    }
}

/* Sends what waits; with lock. Returns: 0, or -errno. */
static int flush_output(QmpClient *client)
{
    while (client->fd >= 0 && client->output->len) {
        ssize_t n = send(client->fd, client->output->data, client->output->len,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        g_byte_array_remove_range(client->output, 0, (guint)n);
    }
    return 0;
}

static void on_ready(void *opaque, uint32_t events)
{
    QmpClient *client = opaque;
    if (events & EPOLLOUT) {
        g_mutex_lock(&client->lock);
        int err = flush_output(client);
        bool more = client->output->len > 0 && err == 0;
        g_mutex_unlock(&client->lock);
        loop_watch_set_events(client->watch, EPOLLIN | (more ? EPOLLOUT : 0));
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        return;
    }
    static const gsize size = READ_SIZE;
    g_autofree guint8 *buffer = g_malloc(size);
    ssize_t n = recv(client->fd, buffer, size, MSG_DONTWAIT);
    if (n > 0) {
        qmp_client_receive(client, buffer, (gsize)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        fail(client, g_error_new_literal(LODGE_ERROR, LODGE_ERROR_CONNECTION,
                                         "the guest's monitor closed the connection"));
    }
}

static void start_watch(void *opaque)
{
    QmpClient *client = opaque;
    client->watch = loop_watch(client->loop, client->fd, EPOLLIN, on_ready, client);
}

static void want_output(void *opaque)
{
    QmpClient *client = opaque;
    if (client->watch) {
        loop_watch_set_events(client->watch, EPOLLIN | EPOLLOUT);
    }
}

QmpClient *qmp_client_new(EventLoop *loop, int fd, const QmpClientOps *ops, void *opaque,
                          GError **error)
{
    QmpClient *client = g_new0(QmpClient, 1);
    client->refs = 1;
    client->loop = loop;
    client->ops = ops;
    client->opaque = opaque;
    client->fd = fd;
    client->next_id = 1;
    g_mutex_init(&client->lock);
    g_cond_init(&client->changed);
    client->output = g_byte_array_new();
    client->pending = g_hash_table_new(g_int64_hash, g_int64_equal);
    json_lines_init(&client->lines, JSON_PEER_LINE_MAX);
    int err = fd_set_nonblocking(fd, true);
    if (err == 0) {
        err = loop_call_wait(loop, start_watch, client);
    }
    if (err < 0 || !client->watch) {
        lodge_error_set_errno(error, err ?: ENOMEM, "cannot watch the guest's monitor");
        qmp_client_close(client);
        qmp_client_unref(client);
        return NULL;
    }
    return client;
}

/* @opaque: a pointer to the client, as calls for itself may be dropped meanwhile. */
static void close_on_loop(void *opaque)
{
    QmpClient **client = opaque;
    end(*client,
        g_error_new_literal(LODGE_ERROR, LODGE_ERROR_CONNECTION, "the guest's monitor is closed"));
}

void qmp_client_close(QmpClient *client)
{
    g_mutex_lock(&client->lock);
    client->is_closed = true;
    g_mutex_unlock(&client->lock);
    if (loop_call_wait(client->loop, close_on_loop, &client) < 0) {
        log_write(LOG_LEVEL_ERROR, "monitor: out of memory; a connection stays open");
    }
}

QmpClient *qmp_client_ref(QmpClient *client)
{
    g_atomic_int_inc(&client->refs);
    return client;
}

void qmp_client_unref(QmpClient *client)
{
    if (!client || !g_atomic_int_dec_and_test(&client->refs)) {
        return;
    }
    lodge_assert(client->fd < 0 && !client->watch);
    g_mutex_clear(&client->lock);
    g_cond_clear(&client->changed);
    g_clear_error(&client->reason);
    g_free(client->guest);
    g_free(client->emulator);
    g_byte_array_unref(client->output);
    g_hash_table_unref(client->pending);
    json_lines_done(&client->lines);
    g_free(client);
}

bool qmp_client_await_greeting(QmpClient *client, int timeout_ms, GError **error)
{
    gint64 until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    g_mutex_lock(&client->lock);
    while (!client->has_greeting && client->fd >= 0 &&
           g_cond_wait_until(&client->changed, &client->lock, until)) {
    }
    bool ok = client->has_greeting && client->fd >= 0;
    if (!ok && client->reason) {
        g_propagate_error(error, g_error_copy(client->reason));
    } else if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_TIMEOUT,
                    "the guest's monitor sent no greeting");
    }
    g_mutex_unlock(&client->lock);
    return ok;
}

/* Sends the first bytes with a descriptor; with lock. Returns bytes sent, or -errno. */
static ssize_t send_with_fd(int socket, const void *data, gsize size, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { .bytes = { 0 } };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Queues a message; with lock. Descriptors only go while nothing waits before them. */
static bool send_message(QmpClient *client, const char *text, int fd, GError **error)
{
    gsize size = strlen(text);
    if (client->fd < 0) {
        g_propagate_error(error, g_error_copy(client->reason));
        return false;
    }
    if (client->output->len + size > OUTPUT_MAX || (fd >= 0 && client->output->len)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "the guest's monitor does not read");
        return false;
    }
    if (fd >= 0) {
        ssize_t n = send_with_fd(client->fd, text, size, fd);
        if (n < 0) {
            lodge_error_set_errno(error, (int)n, "cannot hand a descriptor to the guest's monitor");
            return false;
        }
        text += n;
        size -= (gsize)n;
    }
    g_byte_array_append(client->output, (const guint8 *)text, (guint)size);
    int err = flush_output(client);
    if (err < 0 && err != -EPIPE) {
        lodge_error_set_errno(error, err, "cannot write to the guest's monitor");
        return false;
    }
    if (client->output->len && loop_call(client->loop, want_output, client) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    return true;
}

/* Adds the line of a message, whose "id" is replaced, to @text; with lock. */
static void begin(QmpClient *client, Pending *pending, JsonObject *message, GString *text)
{
    pending->id = client->next_id++;
    json_object_set_int_member(message, "id", pending->id);
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), message);
    g_autofree char *line = json_to_string(node, FALSE);
    g_string_append_printf(text, "%s\n", line);
}

/* Waits for the answer to what was sent; with lock. False with @error. */
static bool finish(QmpClient *client, Pending *pending, gint64 until, int timeout_ms,
                   GError **error)
{
    bool in_time = true;
    while (!pending->is_done && client->fd >= 0 && in_time) {
        in_time = g_cond_wait_until(&client->changed, &client->lock, until);
    }
    if (pending->is_done) {
        return true;
    }
    g_hash_table_remove(client->pending, &pending->id);
    if (client->fd < 0) {
        g_propagate_error(error, g_error_copy(client->reason));
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_TIMEOUT,
                    "the guest's monitor gave no answer within %d seconds",
                    (timeout_ms + 999) / 1000);
    }
    return false;
}

/* The whole answer to a message whose "id" is replaced (transfer full). */
static JsonObject *exchange(QmpClient *client, JsonObject *message, int fd, int timeout_ms,
                            GError **error)
{
    gint64 until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    Pending pending = { 0 };
    g_autoptr(GString) text = g_string_new(NULL);
    g_mutex_lock(&client->lock);
    begin(client, &pending, message, text);
    if (send_message(client, text->str, fd, error)) {
        g_hash_table_insert(client->pending, &pending.id, &pending);
        finish(client, &pending, until, timeout_ms, error);
    }
    g_mutex_unlock(&client->lock);
    return pending.answer;
}

bool qmp_client_query(QmpClient *client, const char *const *commands, JsonNode **results,
                      int timeout_ms, GError **error)
{
    gint64 until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    Pending pending[QMP_QUERY_MAX] = { 0 };
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned count = g_strv_length((char **)commands);
    lodge_assert(count <= QMP_QUERY_MAX);
    g_mutex_lock(&client->lock);
    for (unsigned i = 0; i < count; i++) {
        g_autoptr(JsonObject) message = qmp_object("s:execute", commands[i], NULL);
        begin(client, &pending[i], message, text);
    }
    bool ok = send_message(client, text->str, -1, error);
    for (unsigned i = 0; ok && i < count; i++) {
        g_hash_table_insert(client->pending, &pending[i].id, &pending[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        results[i] = NULL;
        if (ok && !finish(client, &pending[i], until, timeout_ms, error)) {
            g_prefix_error(error, "monitor command '%s': ", commands[i]);
            ok = false;
        }
    }
    /* After a failure the rest may still be answered: to nobody. */
    for (unsigned i = 0; i < count; i++) {
        g_hash_table_remove(client->pending, &pending[i].id);
    }
    g_mutex_unlock(&client->lock);
    for (unsigned i = 0; i < count; i++) {
        JsonNode *result =
            pending[i].answer ? json_object_get_member(pending[i].answer, "return") : NULL;
        results[i] = result ? json_node_ref(result) : NULL;
        g_clear_pointer(&pending[i].answer, json_object_unref);
    }
    return ok;
}

void qmp_client_set_peer(QmpClient *client, const char *guest, const char *emulator)
{
    g_free(client->guest);
    g_free(client->emulator);
    client->guest = g_strdup(guest);
    client->emulator = g_strdup(emulator);
}

static void set_command_error(const QmpClient *client, const char *command, JsonObject *answer,
                              GError **error)
{
    JsonObject *failure = json_peer_object(answer, "error");
    const char *class = json_peer_string(failure, "class");
    const char *words = json_peer_string(failure, "desc");
    LodgeErrorCode code = LODGE_ERROR_FAILED;
    if (!failure) {
        code = LODGE_ERROR_PROTOCOL;
        words = "neither a result nor an error";
    } else if (g_strcmp0(class, "DeviceNotFound") == 0) {
        code = LODGE_ERROR_NOT_FOUND;
    } else if (g_strcmp0(class, "CommandNotFound") == 0 && client->emulator) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Operation not supported: the emulator '%s' of domain '%s' has no monitor "
                    "command '%s'",
                    client->emulator, client->guest, command);
        return;
    } else if (g_strcmp0(class, "CommandNotFound") == 0) {
        code = LODGE_ERROR_UNSUPPORTED;
    }
    g_set_error(error, LODGE_ERROR, code, "monitor command '%s': %s", command,
                words ?: "failed without a reason");
}

JsonNode *qmp_client_call(QmpClient *client, const char *command, JsonObject *arguments, int fd,
                          int timeout_ms, GError **error)
{
    g_autoptr(JsonObject) message = json_object_new();
    json_object_set_string_member(message, "execute", command);
    if (arguments) {
        json_object_set_object_member(message, "arguments", arguments);
    }
    g_autoptr(JsonObject) answer = exchange(client, message, fd, timeout_ms, error);
    if (!answer) {
        g_prefix_error(error, "monitor command '%s': ", command);
        return NULL;
    }
    JsonNode *result = json_object_get_member(answer, "return");
    if (!result) {
        set_command_error(client, command, answer, error);
        return NULL;
    }
    return json_node_ref(result);
}

bool qmp_client_run(QmpClient *client, const char *command, JsonObject *arguments, GError **error)
{
    g_autoptr(JsonNode) result =
        qmp_client_call(client, command, arguments, -1, QMP_TIMEOUT_MS, error);
    return result != NULL;
}

char *qmp_client_raw(QmpClient *client, JsonObject *message, int fd, int timeout_ms, GError **error)
{
    JsonNode *id = json_object_get_member(message, "id");
    g_autoptr(JsonNode) own = id ? json_node_copy(id) : NULL;
    JsonObject *answer = exchange(client, message, fd, timeout_ms, error);
    if (!answer) {
        return NULL;
    }
    if (own) {
        json_object_set_member(answer, "id", g_steal_pointer(&own));
    } else {
        json_object_remove_member(answer, "id");
    }
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, answer);
    return json_to_string(node, FALSE);
}

int qmp_client_capture(QmpClient *client, const char *command, JsonObject *arguments,
                       GError **error)
{
    g_autoptr(JsonObject) owned = arguments;
    autofd file = memfd_create(command, MFD_CLOEXEC);
    g_autofree char *own = g_strdup_printf("/proc/self/fd/%d", file);
    autofd writer = file >= 0 ? open(own, O_WRONLY | O_CLOEXEC) : -1;
    if (writer < 0) {
        lodge_error_set_errno(error, errno, "cannot make room for what '%s' writes", command);
        return -1;
    }
    g_autoptr(JsonNode) added =
        qmp_client_call(client, "add-fd", NULL, writer, QMP_TIMEOUT_MS, error);
    if (!added) {
        return -1;
    }
    JsonObject *answer = JSON_NODE_HOLDS_OBJECT(added) ? json_node_get_object(added) : NULL;
    gint64 set = json_peer_int(answer, "fdset-id", -1);
    if (set < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL,
                    "monitor command 'add-fd': no number of a set");
        return -1;
    }
    g_autofree char *path = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT, set);
    json_object_set_string_member(owned, "filename", path);
    bool ok = qmp_client_run(client, command, g_steal_pointer(&owned), error);
    qmp_client_run(client, "remove-fd", qmp_object("i:fdset-id", set, NULL), NULL);
    return ok ? steal_fd(&file) : -1;
}

JsonObject *qmp_object(const char *first, ...)
{
    JsonObject *object = json_object_new();
    va_list args;
    va_start(args, first);
    for (const char *name = first; name; name = va_arg(args, const char *)) {
        const char *member = name + 2;
        if (name[0] == 's') {
            const char *text = va_arg(args, const char *);
            if (text) {
                json_object_set_string_member(object, member, text);
            }
        } else if (name[0] == 'i') {
            json_object_set_int_member(object, member, va_arg(args, gint64));
        } else if (name[0] == 'b') {
            json_object_set_boolean_member(object, member, va_arg(args, int));
        } else if (name[0] == 'o') {
            JsonObject *value = va_arg(args, JsonObject *);
            if (value) {
                json_object_set_object_member(object, member, value);
            }
        } else {
            JsonArray *value = va_arg(args, JsonArray *);
            if (value) {
                json_object_set_array_member(object, member, value);
            }
        }
    }
    va_end(args);
    return object;
}
