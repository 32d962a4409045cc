/* The server with handlers of the test's own, called by our own client over a real socket.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/rpc-client.h"
#include "daemon/error.h"
#include "daemon/event-queue-private.h"
#include "daemon/server.h"
#include "lib/check.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONSOLE_BYTES (3u << 20)

typedef struct Fixture {
    Daemon daemon;
    char *folder, *path;
    pthread_t thread; /* runs the loop */
    bool has_ended;
    RpcClient *client;
    GMutex lock;
    GCond changed;
    unsigned n_events;
    int32_t last_detail;
} Fixture;

/* --- handlers --- */

/* Waits until as many others run: calls of one client are answered out of order. */
static gint waiting;

bool handle_domain_get_hostname(DaemonCall *call, const RemoteDomainGetHostnameArgs *args,
                                RemoteDomainGetHostnameRet *ret, GError **error)
{
    assert_true(call_may_block(call));
    if (args->flags == 1) {
        g_atomic_int_inc(&waiting);
        while (g_atomic_int_get(&waiting) != 0) {
            g_usleep(100);
        }
    }
    ret->hostname = arena_printf(call_arena(call), "host of %s", args->dom.name);
    return true;
}

bool handle_domain_get_os_type(DaemonCall *call, const RemoteDomainGetOsTypeArgs *args,
                               RemoteDomainGetOsTypeRet *ret, GError **error)
{
    if (!call_may_block(call)) {
        return call_requeue(call);
    }
    ret->type = "hvm";
    return true;
}

static void *finish_later(void *opaque)
{
    DaemonCall *call = opaque;
    RemoteDomainGetMaxMemoryRet *ret = call_ret(call);
    ret->memory = 42;
    call_finish(call, NULL);
    return NULL;
}

bool handle_domain_get_max_memory(DaemonCall *call, const RemoteDomainGetMaxMemoryArgs *args,
                                  RemoteDomainGetMaxMemoryRet *ret, GError **error)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, finish_later, call_hold(call)), 0);
    /* The call is answered and gone before the handler returns. */
    pthread_join(thread, NULL);
    return true;
}

/* Asks the loop when it runs no longer. */
static gint loop_has_ended;
static pthread_t call_ran_on;

static void note_thread(void *opaque)
{
    *(pthread_t *)opaque = pthread_self();
}

bool handle_domain_get_autostart(DaemonCall *call, const RemoteDomainGetAutostartArgs *args,
                                 RemoteDomainGetAutostartRet *ret, GError **error)
{
    Daemon *daemon = call_daemon(call);
    g_atomic_int_inc(&waiting);
    while (!g_atomic_int_get(&loop_has_ended)) {
        g_usleep(100);
    }
    assert_int_equal(loop_call_wait(daemon->loop, note_thread, &call_ran_on), 0);
    return true;
}

/* Sends back what it gets, after a greeting. */
static void *echo(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    char buffer[4096];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(fd, buffer + done, (size_t)(got - done));
            if (put <= 0) {
                break;
            }
            done += put;
        }
    }
    close(fd);
    return NULL;
}

bool handle_domain_open_console(DaemonCall *call, const RemoteDomainOpenConsoleArgs *args,
                                GError **error)
{
    int ends[2];
    pthread_t thread;
    if (args->dev_name && strcmp(args->dev_name, "slow") == 0) {
        if (!call_may_block(call)) {
            return call_requeue(call);
        }
    } else if (args->dev_name) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "no console '%s'", args->dev_name);
        return false;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(pthread_create(&thread, NULL, echo, GINT_TO_POINTER(ends[1])), 0);
    pthread_detach(thread);
    return call_open_fd_stream(call, ends[0], STREAM_FD_TO_CLIENT | STREAM_FD_TO_FD, 0, NULL, NULL,
                               error);
}

static const DispatchEntry handlers[] = {
    HANDLER(domain_get_hostname),        HANDLER(domain_get_autostart),
    HANDLER_INLINE(domain_get_os_type),  HANDLER_INLINE(domain_get_max_memory),
    HANDLER_INLINE(domain_open_console),
};

extern const DaemonModule connect_module;

/* --- set-up --- */

/* As the daemon's main thread. */
static void *run_server(void *opaque)
{
    Fixture *f = opaque;
    loop_own(f->daemon.loop);
    loop_run(f->daemon.loop);
    g_atomic_int_set(&loop_has_ended, 1);
    server_free(f->daemon.server);
    return NULL;
}

static void on_event(void *opaque, const RpcProgram *program, const RpcProcedure *procedure,
                     const void *message)
{
    Fixture *f = opaque;
    const RemoteDomainEventCallbackLifecycleMsg *event = message;
    g_mutex_lock(&f->lock);
    /* In the order sent. */
    assert_int_equal(event->msg.detail, f->last_detail + 1);
    f->last_detail = event->msg.detail;
    f->n_events++;
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
}

static RpcClient *dial(Fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    RpcClientOptions options = { .event = on_event, .event_opaque = f };
    RpcClient *client = rpc_client_new(fd, &options, NULL);
    RemoteConnectOpenArgs args = { 0 };
    assert_non_null(client);
    assert_true(remote_connect_open(client, &args, NULL));
    return client;
}

static int set_up(void **state)
{
    Fixture *f = g_new0(Fixture, 1);
    const ServerLimits limits = { 100, 100, 5, 16, 0, 0, 10 };
    const ListenOptions options = { .auth = AUTH_METHOD_NONE };
    f->folder = g_dir_make_tmp("lodge-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "sock", NULL);
    f->last_detail = -1;
    f->daemon.loop = loop_new();
    f->daemon.events = event_queue_new();
    f->daemon.server = server_new(&f->daemon, &limits);
    server_add_handlers(f->daemon.server, handlers, G_N_ELEMENTS(handlers));
    server_add_handlers(f->daemon.server, connect_module.handlers, connect_module.n_handlers);
    int fd = server_bind_unix(f->path, 0700, (gid_t)-1, NULL);
    assert_true(fd >= 0 && server_listen(f->daemon.server, fd, &options, NULL));
    assert_int_equal(pthread_create(&f->thread, NULL, run_server, f), 0);
    f->client = dial(f);
    *state = f;
    return 0;
}

static void end_server(Fixture *f)
{
    if (!f->has_ended) {
        loop_quit(f->daemon.loop);
        pthread_join(f->thread, NULL);
        f->has_ended = true;
    }
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    rpc_client_free(f->client);
    end_server(f);
    event_queue_free(f->daemon.events);
    loop_free(f->daemon.loop);
    unlink(f->path);
    rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
    g_free(f);
    return 0;
}

/* --- tests --- */

static void *ask_slowly(void *opaque)
{
    Fixture *f = opaque;
    Arena arena;
    arena_init(&arena, 1 << 20);
    RemoteDomainGetHostnameArgs args = { .dom = { .name = "slow" }, .flags = 1 };
    RemoteDomainGetHostnameRet ret;
    bool ok = remote_domain_get_hostname(f->client, &args, &arena, &ret, NULL);
    ok = ok && strcmp(ret.hostname, "host of slow") == 0;
    arena_clear(&arena);
    return GINT_TO_POINTER(ok);
}

static void a_fast_call_overtakes_slow_ones(void **state)
{
    Fixture *f = *state;
    pthread_t threads[4];
    Arena arena;
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_slowly, f), 0);
    }
    while (g_atomic_int_get(&waiting) < 4) {
        g_usleep(100);
    }
    RemoteDomainGetHostnameArgs args = { .dom = { .name = "fast" } };
    RemoteDomainGetHostnameRet ret;
    assert_true(remote_domain_get_hostname(f->client, &args, &arena, &ret, NULL));
    assert_string_equal(ret.hostname, "host of fast");
    g_atomic_int_set(&waiting, 0);
    for (int i = 0; i < 4; i++) {
        void *ok;
        pthread_join(threads[i], &ok);
        assert_non_null(ok);
    }
    arena_clear(&arena);
}

static void a_call_can_move_to_a_worker_and_can_be_answered_later(void **state)
{
    Fixture *f = *state;
    Arena arena;
    arena_init(&arena, 1 << 20);
    RemoteDomainGetOsTypeArgs os = { .dom = { .name = "vm" } };
    RemoteDomainGetOsTypeRet os_ret;
    assert_true(remote_domain_get_os_type(f->client, &os, &arena, &os_ret, NULL));
    assert_string_equal(os_ret.type, "hvm");
    RemoteDomainGetMaxMemoryArgs memory = { .dom = { .name = "vm" } };
    RemoteDomainGetMaxMemoryRet memory_ret;
    assert_true(remote_domain_get_max_memory(f->client, &memory, &arena, &memory_ret, NULL));
    assert_int_equal(memory_ret.memory, 42);
    arena_clear(&arena);
}

static void a_stream_carries_more_than_all_buffers_both_ways(void **state)
{
    Fixture *f = *state;
    RemoteDomainOpenConsoleArgs args = { .dom = { .name = "vm" } };
    RpcClientStream *stream = rpc_client_open_stream(
        f->client, &remote_program, REMOTE_PROC_DOMAIN_OPEN_CONSOLE, &args, NULL, NULL, NULL);
    assert_non_null(stream);
    g_autofree uint8_t *sent = g_malloc(CONSOLE_BYTES);
    g_autofree uint8_t *got = g_malloc(CONSOLE_BYTES);
    for (uint32_t i = 0; i < CONSOLE_BYTES; i++) {
        sent[i] = (uint8_t)(i * 31 + (i >> 13));
    }
    assert_true(rpc_client_stream_write(stream, sent, CONSOLE_BYTES, NULL));
    for (size_t done = 0; done < CONSOLE_BYTES;) {
        gssize part = rpc_client_stream_read(stream, got + done, CONSOLE_BYTES - done, NULL);
        assert_true(part > 0);
        done += (size_t)part;
    }
    assert_memory_equal(sent, got, CONSOLE_BYTES);
    assert_true(rpc_client_stream_finish(stream, NULL));
    rpc_client_stream_free(stream);
}

/* The answer goes out from a worker: what the client sends next finds the stream there. */
static void a_stream_takes_what_follows_its_answer_at_once(void **state)
{
    Fixture *f = *state;
    RemoteDomainOpenConsoleArgs args = { .dom = { .name = "vm" }, .dev_name = "slow" };
    for (int i = 0; i < 500; i++) {
        RpcClientStream *stream = rpc_client_open_stream(
            f->client, &remote_program, REMOTE_PROC_DOMAIN_OPEN_CONSOLE, &args, NULL, NULL, NULL);
        assert_non_null(stream);
        assert_true(rpc_client_stream_finish(stream, NULL));
        rpc_client_stream_free(stream);
    }
}

static void a_stream_that_cannot_open_says_why(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    RemoteDomainOpenConsoleArgs args = { .dom = { .name = "vm" }, .dev_name = "serial9" };
    assert_null(rpc_client_open_stream(f->client, &remote_program, REMOTE_PROC_DOMAIN_OPEN_CONSOLE,
                                       &args, NULL, NULL, &error));
    assert_int_equal(error->code, DAEMON_ERROR_INVALID_ARG);
}

static void an_abandoned_stream_leaves_the_connection_usable(void **state)
{
    Fixture *f = *state;
    RemoteConnectGetTypeRet ret;
    Arena arena;
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 20; i++) {
        RemoteDomainOpenConsoleArgs args = { .dom = { .name = "vm" } };
        RpcClientStream *stream = rpc_client_open_stream(
            f->client, &remote_program, REMOTE_PROC_DOMAIN_OPEN_CONSOLE, &args, NULL, NULL, NULL);
        assert_non_null(stream);
        assert_true(rpc_client_stream_write(stream, "abc", 3, NULL));
        rpc_client_stream_free(stream);
        assert_true(remote_connect_get_type(f->client, &arena, &ret, NULL));
    }
    arena_clear(&arena);
}

static void events_reach_those_who_registered_in_order(void **state)
{
    enum { EVENTS = 1000 };
    Fixture *f = *state;
    Uuid uuid = { { 1 } };
    RemoteDomain dom = { .name = "vm", .uuid = uuid };
    EventSubject subject = { "vm", uuid }, other = { "other", { { 2 } } };
    RemoteDomainEventCallbackLifecycleMsg msg = { .msg = { .dom = dom, .event = 2 } };
    RemoteConnectDomainEventCallbackRegisterAnyArgs args = { .event_id = 0, .dom = &dom };
    RemoteConnectDomainEventCallbackRegisterAnyRet ret;
    const uint32_t number = REMOTE_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE;
    event_queue_emit(f->daemon.events, number, &subject, &msg);
    assert_false(event_queue_is_wanted(f->daemon.events, number));
    assert_true(
        remote_connect_domain_event_callback_register_any(f->client, &args, NULL, &ret, NULL));
    assert_true(event_queue_is_wanted(f->daemon.events, number));
    for (int i = 0; i < EVENTS; i++) {
        msg.msg.detail = i;
        event_queue_emit(f->daemon.events, number, &other, &msg);
        event_queue_emit(f->daemon.events, number, &subject, &msg);
    }
    g_mutex_lock(&f->lock);
    while (f->n_events < EVENTS) {
        g_cond_wait(&f->changed, &f->lock);
    }
    assert_int_equal(f->n_events, EVENTS);
    g_mutex_unlock(&f->lock);
}

static void *ask_until_the_end(void *opaque)
{
    Fixture *f = opaque;
    RemoteDomainGetAutostartArgs args = { .dom = { .name = "vm" } };
    RemoteDomainGetAutostartRet ret;
    Arena arena;
    arena_init(&arena, 1 << 20);
    bool ok = remote_domain_get_autostart(f->client, &args, &arena, &ret, NULL);
    arena_clear(&arena);
    return GINT_TO_POINTER(ok);
}

static void calls_that_outlast_the_loop_still_run_there(void **state)
{
    Fixture *f = *state;
    pthread_t thread;
    void *ok;
    g_atomic_int_set(&loop_has_ended, 0);
    assert_int_equal(pthread_create(&thread, NULL, ask_until_the_end, f), 0);
    while (g_atomic_int_get(&waiting) < 1) {
        g_usleep(100);
    }
    g_atomic_int_set(&waiting, 0);
    end_server(f);
    pthread_join(thread, &ok);
    assert_null(ok);
    assert_true(pthread_equal(call_ran_on, f->thread));
}

int main(void)
{
    /* As in the daemon: who writes sees EPIPE. */
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_fast_call_overtakes_slow_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_call_can_move_to_a_worker_and_can_be_answered_later,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_carries_more_than_all_buffers_both_ways, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stream_takes_what_follows_its_answer_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stream_that_cannot_open_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_abandoned_stream_leaves_the_connection_usable, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(events_reach_those_who_registered_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(calls_that_outlast_the_loop_still_run_there, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
