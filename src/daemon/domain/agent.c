/* The guest agent's client. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/domain/agent-reader.h"
#include "daemon/domain/service.h"
#include "daemon/error.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SYNC_TIMEOUT_S 5
#define BLOCK_TIMEOUT_S 600
#define TURN_TIMEOUT_S 30
/* guest-shutdown answers only when it fails: soon. */
#define SILENCE_MS 2000
#define READ_SIZE 65536u

typedef struct Session {
    Daemon *daemon;
    int fd;
    AgentReader reader;
    bool is_open; /* the agent has not closed the channel */
} Session;

static const DomainCharDevice *find_channel(const DomainDef *def)
{
    const XmlList *list = &def->devices[DEVICE_CHANNEL];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainCharDevice *channel = list->item[i];
        if (g_strcmp0(channel->channel_name, AGENT_CHANNEL) == 0 &&
            channel->source.type == CHARDEV_UNIX && channel->source.path) {
            return channel;
        }
    }
    return NULL;
}

bool agent_is_connected_locked(const Domain *domain)
{
    const DomainCharDevice *channel = domain->live ? find_channel(domain->live) : NULL;
    return channel && channel->channel_state == CHANNEL_CONNECTED;
}

/* The channel's socket (transfer full), or NULL with @error. */
static char *find_path(Domain *domain, GError **error)
{
    g_autofree char *path = NULL;
    g_mutex_lock(&domain->lock);
    if (domain_check_active_locked(domain, error)) {
        const DomainCharDevice *channel = domain->live ? find_channel(domain->live) : NULL;
        if (!channel) {
            daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                             "argument unsupported: QEMU guest agent is not configured: the domain "
                             "has no channel '" AGENT_CHANNEL "' of type 'unix'");
        } else if (domain->state != DOMAIN_RUNNING) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "Requested operation is not valid: domain '%s' is not running, and "
                             "its agent neither",
                             domain->name);
        } else if (channel->channel_state == CHANNEL_DISCONNECTED &&
                   channel->source.mode != SOCKET_CONNECT) {
            daemon_error_set(error, DAEMON_ERROR_AGENT_UNRESPONSIVE,
                             "Guest agent is not responding: QEMU guest agent is not connected");
        } else {
            path = g_strdup(channel->source.path);
        }
    }
    g_mutex_unlock(&domain->lock);
    return g_steal_pointer(&path);
}

bool agent_check(Domain *domain, GError **error)
{
    g_autofree char *path = find_path(domain, error);
    return path != NULL;
}

static bool take_turn(Domain *domain, GError **error)
{
    gint64 until = g_get_monotonic_time() + TURN_TIMEOUT_S * G_USEC_PER_SEC;
    g_mutex_lock(&domain->lock);
    while (domain->is_agent_busy && !daemon_gives_up(domain->service->daemon) &&
           g_cond_wait_until(&domain->agent_free, &domain->lock, until)) {
    }
    bool ok = !domain->is_agent_busy;
    domain->is_agent_busy = true;
    g_mutex_unlock(&domain->lock);
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_TIMEOUT,
                         "Timed out during operation: the guest agent is busy with another call");
    }
    return ok;
}

static void end_turn(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    domain->is_agent_busy = false;
    g_cond_signal(&domain->agent_free);
    g_mutex_unlock(&domain->lock);
}

/* --- bytes --- */

static bool set_gone(GError **error, const char *why)
{
    daemon_error_set(error, DAEMON_ERROR_AGENT_UNRESPONSIVE, "Guest agent is not responding: %s",
                     why);
    return false;
}

/* Waits for @events until @until; false: too late. */
static bool wait_for(const Session *session, short events, gint64 until)
{
    gint64 left_ms = (until - g_get_monotonic_time()) / 1000;
    return left_ms > 0 &&
           daemon_poll(session->daemon, session->fd, events, (int)MIN(left_ms, INT_MAX)) > 0;
}

static bool send_all(Session *session, const char *data, gsize size, gint64 until, GError **error)
{
    while (size) {
        ssize_t n = send(session->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            data += n;
            size -= (gsize)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return set_gone(error, "it closed its channel");
        } else if (!wait_for(session, POLLOUT, until)) {
            return set_gone(error, "it reads nothing");
        }
    }
    return true;
}

/* Takes what has come, waiting for it; false with @error: gone, or too late (@late). */
static bool receive(Session *session, gint64 until, bool *late, GError **error)
{
    *late = !wait_for(session, POLLIN, until);
    if (*late) {
        return false;
    }
    static const gsize size = READ_SIZE;
    g_autofree guint8 *buffer = g_malloc(size);
    ssize_t n = recv(session->fd, buffer, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (n <= 0) {
        session->is_open = false;
        return set_gone(error, "it closed its channel");
    }
    return agent_reader_add(&session->reader, buffer, (gsize)n, error);
}

static bool send_object(Session *session, JsonObject *message, gint64 until, GError **error)
{
    g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), message);
    g_autofree char *text = json_to_string(node, FALSE);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    return send_all(session, line, strlen(line), until, error);
}

static bool session_open(Session *session, const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    gint64 id = g_random_int() & 0x7fffffff;
    session->is_open = true;
    agent_reader_init(&session->reader, id);
    session->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (strlen(path) >= sizeof(address.sun_path)) {
        return set_gone(error, "the path of its channel is too long");
    }
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (session->fd < 0 || connect(session->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        g_autofree char *why =
            g_strdup_printf("cannot connect to '%s': %s", path, g_strerror(errno));
        return set_gone(error, why);
    }
    gint64 until = g_get_monotonic_time() + SYNC_TIMEOUT_S * G_USEC_PER_SEC;
    g_autoptr(JsonObject) sync = qmp_object("s:execute", "guest-sync-delimited", "o:arguments",
                                            qmp_object("i:id", id, NULL), NULL);
    if (!send_all(session, "\xff", 1, until, error) || !send_object(session, sync, until, error)) {
        return false;
    }
    while (!session->reader.is_synced) {
        bool late;
        if (!receive(session, until, &late, error)) {
            return late ? set_gone(error, "it did not answer within 5 seconds") : false;
        }
    }
    return true;
}

static void session_close(Session *session)
{
    agent_reader_done(&session->reader);
    cleanup_close(&session->fd);
}

/* The answer; NULL with *@late, or with @error. */
static JsonObject *await_answer(Session *session, gint64 until, bool *late, GError **error)
{
    for (;;) {
        GError *reason = NULL;
        JsonObject *answer = agent_reader_take(&session->reader, &reason);
        if (answer || reason) {
            if (reason) {
                g_propagate_error(error, reason);
            }
            return answer;
        }
        if (!receive(session, until, late, error)) {
            return NULL;
        }
    }
}

static int resolve_timeout(Domain *domain, int timeout_s)
{
    if (timeout_s == AGENT_TIMEOUT_DEFAULT) {
        g_mutex_lock(&domain->lock);
        timeout_s = domain->agent_timeout_s;
        g_mutex_unlock(&domain->lock);
        /* Where none is set, the limit is the one of the sync. */
        timeout_s = timeout_s == AGENT_TIMEOUT_DEFAULT ? SYNC_TIMEOUT_S : timeout_s;
    }
    return timeout_s == AGENT_TIMEOUT_BLOCK ? BLOCK_TIMEOUT_S : timeout_s;
}

static JsonObject *talk(Session *session, JsonObject *message, int timeout_s, GError **error)
{
    gint64 now = g_get_monotonic_time();
    gint64 until = now + timeout_s * G_USEC_PER_SEC;
    if (!send_object(session, message, MAX(until, now + SYNC_TIMEOUT_S * G_USEC_PER_SEC), error)) {
        return NULL;
    }
    if (timeout_s == AGENT_TIMEOUT_NOWAIT) {
        return NULL;
    }
    bool late = false;
    JsonObject *answer = await_answer(session, until, &late, error);
    if (late) {
        daemon_error_set(error, DAEMON_ERROR_AGENT_COMMAND_TIMEOUT,
                         "guest agent command timed out: no answer within %d seconds", timeout_s);
    }
    return answer;
}

JsonObject *agent_exchange(Domain *domain, JsonObject *message, int timeout_s, GError **error)
{
    g_autofree char *path = find_path(domain, error);
    if (!path || !take_turn(domain, error)) {
        return NULL;
    }
    Session session = { .daemon = domain->service->daemon, .fd = -1 };
    JsonObject *answer = session_open(&session, path, error)
                             ? talk(&session, message, resolve_timeout(domain, timeout_s), error)
                             : NULL;
    session_close(&session);
    end_turn(domain);
    return answer;
}

static JsonObject *command_message(const char *command, JsonObject *arguments)
{
    return qmp_object("s:execute", command, "o:arguments", arguments, NULL);
}

static void set_refused(JsonObject *answer, const char *command, GError **error)
{
    JsonObject *failure = json_peer_object(answer, "error");
    daemon_error_set(error, DAEMON_ERROR_AGENT_COMMAND_FAILED,
                     "guest agent replied with error to a command: unable to execute QEMU agent "
                     "command '%s': %s",
                     command, json_peer_string(failure, "desc") ?: "no reason given");
}

JsonNode *agent_ask(Domain *domain, const char *command, JsonObject *arguments, int timeout_s,
                    GError **error)
{
    g_autoptr(JsonObject) message = command_message(command, arguments);
    g_autoptr(JsonObject) answer = agent_exchange(domain, message, timeout_s, error);
    JsonNode *result = answer ? json_object_get_member(answer, "return") : NULL;
    if (answer && !result) {
        set_refused(answer, command, error);
    }
    return result ? json_node_ref(result) : NULL;
}

bool agent_run(Domain *domain, const char *command, JsonObject *arguments, GError **error)
{
    g_autoptr(JsonNode) result =
        agent_ask(domain, command, arguments, AGENT_TIMEOUT_DEFAULT, error);
    return result != NULL;
}

/* Sends, and listens a while for a refusal. */
static bool send_and_listen(Session *session, JsonObject *message, const char *command,
                            GError **error)
{
    gint64 now = g_get_monotonic_time();
    if (!send_object(session, message, now + SYNC_TIMEOUT_S * G_USEC_PER_SEC, error)) {
        return false;
    }
    bool late = false;
    g_autoptr(GError) reason = NULL;
    g_autoptr(JsonObject) answer = await_answer(session, now + SILENCE_MS * 1000, &late, &reason);
    if (answer && json_object_has_member(answer, "error")) {
        set_refused(answer, command, error);
        return false;
    }
    return true;
}

bool agent_send(Domain *domain, const char *command, JsonObject *arguments, GError **error)
{
    g_autoptr(JsonObject) message = command_message(command, arguments);
    g_autofree char *path = find_path(domain, error);
    if (!path || !take_turn(domain, error)) {
        return false;
    }
    Session session = { .daemon = domain->service->daemon, .fd = -1 };
    bool ok =
        session_open(&session, path, error) && send_and_listen(&session, message, command, error);
    session_close(&session);
    end_turn(domain);
    return ok;
}
