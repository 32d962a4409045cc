/* Listening sockets, clients and their limits, and the table of handlers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define TICK_NS (NS_PER_SEC / 2)
#define ACCEPT_BATCH 16
#define QUEUED_CLIENTS 1024 /* not yet accepted; one more gets EAGAIN, if it does not wait */

typedef struct Listener {
    DaemonServer *server;
    ListenOptions options;
    int fd;
    LoopWatch *watch;
} Listener;

static const RpcProgram *const programs[] = { &remote_program, &qemu_program, &admin_program };

static int program_index(uint32_t number)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(programs); i++) {
        if (programs[i]->number == number) {
            return (int)i;
        }
    }
    return -1;
}

void server_add_handlers(DaemonServer *server, const DispatchEntry *entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int index = program_index(entries[i].program);
        lodge_assert(index >= 0 && rpc_program_find(programs[index], entries[i].procedure));
        const DispatchEntry **slot = &server->tables[index][entries[i].procedure];
        lodge_assert(*slot == NULL);
        *slot = &entries[i];
    }
}

const DispatchEntry *server_find_handler(DaemonServer *server, uint32_t program, uint32_t procedure)
{
    int index = program_index(program);
    if (index < 0 || procedure > programs[index]->n_procedures) {
        return NULL;
    }
    return server->tables[index][procedure];
}

static void on_tick(void *opaque)
{
    DaemonServer *server = opaque;
    int64_t now = clock_monotonic_ns();
    List *at = server->clients.next;
    while (at != &server->clients) {
        DaemonClient *client = list_entry(at, DaemonClient, node);
        at = at->next;
        client_tick(client, now);
    }
    loop_timer_set(server->tick, now + TICK_NS);
}

static void listener_free(void *data)
{
    Listener *listener = data;
    loop_unwatch(listener->watch);
    if (listener->fd >= 0) {
        close(listener->fd);
    }
    rpc_tls_context_unref(listener->options.tls);
    g_free(listener);
}

static void clear_socket_file(void *file)
{
    g_free(((SocketFile *)file)->path);
}

DaemonServer *server_new(Daemon *daemon, const ServerLimits *limits)
{
    DaemonServer *server = g_new0(DaemonServer, 1);
    server->daemon = daemon;
    server->loop = daemon->loop;
    server->limits = *limits;
    list_init(&server->clients);
    server->listeners = g_ptr_array_new_with_free_func(listener_free);
    server->socket_files = g_array_new(FALSE, FALSE, sizeof(SocketFile));
    g_array_set_clear_func(server->socket_files, clear_socket_file);
    for (unsigned i = 0; i < G_N_ELEMENTS(programs); i++) {
        server->tables[i] = g_new0(const DispatchEntry *, programs[i]->n_procedures + 1);
    }
    server->workers =
        g_thread_pool_new(call_run_on_worker, NULL, (int)limits->max_workers, FALSE, NULL);
    server->idle_since_ns = clock_monotonic_ns();
    server->tick = loop_timer_new(server->loop, on_tick, server);
    lodge_assert(server->tick);
    loop_timer_set(server->tick, clock_monotonic_ns() + TICK_NS);
    return server;
}

void server_free(DaemonServer *server)
{
    if (!server) {
        return;
    }
    g_ptr_array_free(server->listeners, TRUE);
    g_array_free(server->socket_files, TRUE);
    while (!list_is_empty(&server->clients)) {
        client_close(list_entry(server->clients.next, DaemonClient, node), "the daemon ends");
    }
    daemon_finish_work(server->daemon);
    g_thread_pool_free(server->workers, FALSE, TRUE);
    /* What workers posted last. */
    loop_run_once(server->loop, 0);
    loop_timer_free(server->tick);
    scram_store_free(server->scram_store);
    for (unsigned i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_free(server->tables[i]);
    }
    g_free(server);
}

void server_remove_client(DaemonServer *server, DaemonClient *client)
{
    list_remove(&client->node);
    list_init(&client->node);
    if (--server->n_clients == 0) {
        server->idle_since_ns = clock_monotonic_ns();
    }
    client_unref(client);
}

bool server_allows(const char *const *allowed, const char *name)
{
    for (unsigned i = 0; allowed && allowed[i]; i++) {
        if (name && g_pattern_match_simple(allowed[i], name)) {
            return true;
        }
    }
    return !allowed;
}

unsigned server_count_unauthenticated(DaemonServer *server)
{
    unsigned n = 0;
    list_for_each(&server->clients, client, DaemonClient, node) {
        n += !client->authenticated;
    }
    return n;
}

static unsigned anonymous_of_user(DaemonServer *server, uid_t uid)
{
    unsigned n = 0;
    list_for_each(&server->clients, client, DaemonClient, node) {
        n += !client->authenticated && client->identity.uid == uid;
    }
    return n;
}

/* Clock ticks since boot at which @pid started, 0 when it is gone. */
static uint64_t process_start_time(pid_t pid)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? fd_read_full(fd, text, sizeof(text) - 1) : -1;
    if (got <= 0) {
        return 0;
    }
    text[got] = '\0';
    /* The command may hold anything; the fields begin after its last parenthesis. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? g_ascii_strtoull(at + 1, NULL, 10) : 0;
}

static char *user_name(uid_t uid)
{
    struct passwd entry, *found = NULL;
    char buffer[1024];
    if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found) {
        return g_strdup(found->pw_name);
    }
    return NULL;
}

static bool read_identity(int fd, const Listener *listener, DaemonIdentity *out)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int domain = 0;
    socklen_t domain_size = sizeof(domain);
    *out = (DaemonIdentity){ .uid = (uid_t)-1,
                             .gid = (gid_t)-1,
                             .read_only = listener->options.read_only };
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size);
    if (domain != AF_UNIX) {
        return true;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return false;
    }
    out->uid = peer.uid;
    out->gid = peer.gid;
    out->pid = peer.pid;
    return !listener->options.same_user_only || peer.uid == geteuid() || peer.uid == 0;
}

static void set_up_client(Listener *listener, DaemonClient *client, const DaemonIdentity *identity)
{
    const ListenOptions *options = &listener->options;
    client->identity = *identity;
    client->local = identity->uid != (uid_t)-1;
    client->admin = options->admin;
    client->auth = options->auth;
    /* For polkit the daemon's own user and root are who they are. */
    if (client->auth == AUTH_METHOD_POLKIT && client->local &&
        (identity->uid == 0 || identity->uid == geteuid())) {
        client->auth = AUTH_METHOD_NONE;
    }
    if (options->tls) {
        g_autoptr(GError) error = NULL;
        RpcTlsSession *session = rpc_tls_session_new(
            options->tls, rpc_connection_fd(client->connection), NULL, options->tls_verify, &error);
        if (!session) {
            log_warn("a client is refused: %s", error->message);
            client_close(client, "no TLS");
            return;
        }
        rpc_connection_start_tls(client->connection, session);
    } else if (client->auth == AUTH_METHOD_NONE) {
        client_set_authenticated(client);
    }
}

static void accept_one(Listener *listener, int fd)
{
    DaemonServer *server = listener->server;
    DaemonIdentity identity;
    if (!read_identity(fd, listener, &identity) ||
        server->n_clients >= server->limits.max_clients ||
        anonymous_of_user(server, identity.uid) >= server->limits.max_anonymous_clients) {
        close(fd);
        return;
    }
    DaemonClient *client = client_new(server, fd);
    if (!client) {
        log_warn("a client is refused: out of memory");
        return;
    }
    if (identity.pid) {
        identity.start_time = process_start_time(identity.pid);
        identity.user_name = user_name(identity.uid);
    }
    client->id = ++server->next_client_id;
    list_append(&server->clients, &client->node);
    server->n_clients++;
    set_up_client(listener, client, &identity);
}

static void on_connect(void *opaque, uint32_t events)
{
    (void)events;
    Listener *listener = opaque;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            break;
        }
        accept_one(listener, fd);
    }
}

bool server_listen(DaemonServer *server, int fd, const ListenOptions *options, GError **error)
{
    Listener *listener = g_new0(Listener, 1);
    listener->server = server;
    listener->options = *options;
    listener->fd = fd;
    if (options->tls) {
        rpc_tls_context_ref(options->tls);
    }
    int rc = fd_set_nonblocking(fd, 1);
    listener->watch = rc < 0 ? NULL : loop_watch(server->loop, fd, EPOLLIN, on_connect, listener);
    if (!listener->watch) {
        lodge_error_set_errno(error, errno, "cannot listen");
        listener_free(listener);
        return false;
    }
    g_ptr_array_add(server->listeners, listener);
    return true;
}

/* Whether somebody answers at @path. */
static bool is_alive(const struct sockaddr_un *address)
{
    autofd probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return probe >= 0 && (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                          errno == EAGAIN);
}

int server_bind_unix(const char *path, mode_t mode, gid_t group, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the socket's path '%s' is longer than the %zu bytes the kernel takes", path,
                    sizeof(address.sun_path) - 1);
        return -1;
    }
    if (is_alive(&address)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "another daemon listens on '%s'", path);
        return -1;
    }
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) {
        unlink(path);
    }
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody can connect between bind() and chmod(): it does not listen yet. */
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        (group != (gid_t)-1 && chown(path, (uid_t)-1, group) < 0) || chmod(path, mode) < 0 ||
        listen(fd, QUEUED_CLIENTS) < 0) {
        lodge_error_set_errno(error, errno, "cannot listen on '%s'", path);
        return -1;
    }
    return steal_fd(&fd);
}

bool server_listen_tcp(DaemonServer *server, const char *host, const char *port,
                       const ListenOptions *options, GError **error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "cannot listen on '%s' port %s: %s",
                    host ? host : "*", port, gai_strerror(rc));
        return false;
    }
    unsigned n = 0;
    int on = 1;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        autofd fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (a->ai_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        }
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, QUEUED_CLIENTS) == 0 &&
            server_listen(server, steal_fd(&fd), options, NULL)) {
            n++;
        }
    }
    int saved = errno;
    freeaddrinfo(list);
    if (n == 0) {
        lodge_error_set_errno(error, saved, "cannot listen on '%s' port %s", host ? host : "*",
                              port);
        return false;
    }
    return true;
}
