/* The NBD server: sockets, exports and who is connected.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/server.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "block/driver.h"
#include "block/export/session.h"
#include "block/nbd/address.h"
#include "gbase/error.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 128

typedef struct Listener {
    NbdServer *server;
    int fd;
    LoopWatch *watch;
} Listener;

struct NbdServer {
    NbdServerOptions options;
    NbdSessionHost host;
    GPtrArray *listeners; /* of Listener */
    GPtrArray *sessions;  /* of NbdSession; the loop's */

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t ended;
    GPtrArray *exports;  /* of NbdExport */
    GPtrArray *gone;     /* of NbdSession without threads, to be freed on the loop */
    GPtrArray *released; /* of NbdExport, to be given back on the loop */
    unsigned live;       /* sessions with threads */
};

/* What sessions call */

static NbdExport *find_locked(const NbdServer *server, const char *name)
{
    for (unsigned i = 0; i < server->exports->len; i++) {
        NbdExport *export = server->exports->pdata[i];
        if (strcmp(export->name, name) == 0) {
            return export;
        }
    }
    return NULL;
}

static NbdExport *host_find(void *opaque, const char *name)
{
    NbdServer *server = opaque;
    LOCK_GUARD(&server->lock);
    NbdExport *export = find_locked(server, name);
    return export ? nbd_export_ref(export) : NULL;
}

static void tidy_up(void *opaque);

static void host_release(void *opaque, NbdExport *export)
{
    NbdServer *server = opaque;
    LOCK_GUARD(&server->lock);
    g_ptr_array_add(server->released, export);
    (void)!loop_call(server->options.loop, tidy_up, server);
}

static void host_foreach(void *opaque, bool (*visit)(NbdExport *export, void *visit_opaque),
                         void *visit_opaque)
{
    NbdServer *server = opaque;
    LOCK_GUARD(&server->lock);
    for (unsigned i = 0; i < server->exports->len; i++) {
        if (!visit(server->exports->pdata[i], visit_opaque)) {
            return;
        }
    }
}

static void host_ended(void *opaque, NbdSession *session)
{
    NbdServer *server = opaque;
    LOCK_GUARD(&server->lock);
    g_ptr_array_add(server->gone, session);
    server->live--;
    (void)!loop_call(server->options.loop, tidy_up, server);
    pthread_cond_broadcast(&server->ended);
}

/* Frees what sessions left behind. Returns: how many of them there were. */
static unsigned collect(NbdServer *server)
{
    pthread_mutex_lock(&server->lock);
    GPtrArray *gone = server->gone, *released = server->released;
    server->gone = g_ptr_array_new();
    server->released = g_ptr_array_new();
    pthread_mutex_unlock(&server->lock);
    unsigned count = gone->len;
    for (unsigned i = 0; i < gone->len; i++) {
        NbdSession *session = gone->pdata[i];
        g_ptr_array_remove_fast(server->sessions, session);
        nbd_export_unref(session->export);
        nbd_session_free(session);
    }
    for (unsigned i = 0; i < released->len; i++) {
        nbd_export_unref(released->pdata[i]);
    }
    g_ptr_array_unref(gone);
    g_ptr_array_unref(released);
    return count;
}

static void watch_listeners(NbdServer *server);

/* On the loop. */
static void tidy_up(void *opaque)
{
    NbdServer *server = opaque;
    unsigned gone = collect(server);
    if (gone) {
        watch_listeners(server);
    }
    if (gone && server->options.client_left) {
        server->options.client_left(server->options.opaque, server->sessions->len);
    }
}

/* Clients */

static bool is_full(const NbdServer *server)
{
    return server->options.max_connections &&
           server->sessions->len >= server->options.max_connections;
}

/* While the server is full, clients wait in the sockets' queues. */
static void watch_listeners(NbdServer *server)
{
    for (unsigned i = 0; i < server->listeners->len; i++) {
        Listener *listener = server->listeners->pdata[i];
        loop_watch_set_events(listener->watch, is_full(server) ? 0 : EPOLLIN);
    }
}

void nbd_server_serve(NbdServer *server, int fd)
{
    nbd_socket_tune(fd);
    NbdSession *session = nbd_session_new(&server->host, fd);
    g_ptr_array_add(server->sessions, session);
    pthread_mutex_lock(&server->lock);
    server->live++;
    pthread_mutex_unlock(&server->lock);
    if (!nbd_session_start(session)) {
        host_ended(server, session);
    }
    watch_listeners(server);
}

static void on_client(void *opaque, uint32_t events)
{
    Listener *listener = opaque;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        nbd_server_serve(listener->server, fd);
    } else if (errno == EMFILE || errno == ENFILE) {
        log_warn("NBD server: a client waits: %s", strerror(errno));
        loop_watch_set_events(listener->watch, 0); /* until another has gone */
    }
}

/* Listening */

bool nbd_server_listen(NbdServer *server, int fd, GError **error)
{
    Listener *listener = g_new0(Listener, 1);
    listener->server = server;
    listener->fd = fd;
    listener->watch = loop_watch(server->options.loop, fd, EPOLLIN, on_client, listener);
    if (!listener->watch) {
        lodge_error_set_errno(error, errno, "Cannot wait for NBD clients");
        close(fd);
        g_free(listener);
        return false;
    }
    g_ptr_array_add(server->listeners, listener);
    return true;
}

static void listener_free(gpointer opaque)
{
    Listener *listener = opaque;
    loop_unwatch(listener->watch);
    close(listener->fd);
    g_free(listener);
}

static int bind_unix(int fd, const struct sockaddr_un *where)
{
    struct stat info;
    if (bind(fd, (const struct sockaddr *)where, sizeof(*where)) == 0) {
        return 0;
    }
    if (errno != EADDRINUSE || lstat(where->sun_path, &info) < 0 || !S_ISSOCK(info.st_mode)) {
        return -errno;
    }
    autofd probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0 || connect(probe, (const struct sockaddr *)where, sizeof(*where)) == 0 ||
        errno != ECONNREFUSED) {
        return -EADDRINUSE;
    }
    /* Left behind by a server that is gone. */
    if (unlink(where->sun_path) < 0 ||
        bind(fd, (const struct sockaddr *)where, sizeof(*where)) < 0) {
        return -errno;
    }
    return 0;
}

int nbd_listen_unix(const char *path, GError **error)
{
    struct sockaddr_un where = { .sun_family = AF_UNIX };
    int rc = strlen(path) < sizeof(where.sun_path) ? 0 : -ENAMETOOLONG;
    autofd fd = rc == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (rc == 0) {
        memcpy(where.sun_path, path, strlen(path) + 1);
        rc = fd < 0 ? -errno : bind_unix(fd, &where);
    }
    rc = rc < 0 ? rc : listen(fd, BACKLOG) < 0 ? -errno : 0;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Failed to bind socket to '%s'", path);
        return -1;
    }
    return steal_fd(&fd);
}

static int listen_at(const struct addrinfo *where)
{
    const int on = 1;
    autofd fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, where->ai_addr, where->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        return -errno;
    }
    return steal_fd(&fd);
}

int nbd_listen_tcp(const char *host, const char *port, GError **error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL;
    const char *shown = host ? host : "*";
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "Cannot listen at '%s:%s': %s", shown,
                    port, gai_strerror(rc));
        return -1;
    }
    int fd = -ENOENT;
    /* IPv6 first: its sockets take IPv4's clients too. */
    for (int wants_v6 = 1; wants_v6 >= 0 && fd < 0; wants_v6--) {
        for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
            fd = (at->ai_family == AF_INET6) == wants_v6 ? listen_at(at) : fd;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "Failed to bind socket to '%s:%s'", shown, port);
        return -1;
    }
    return fd;
}

/* The server */

NbdServer *nbd_server_new(const NbdServerOptions *options)
{
    NbdServer *server = g_new0(NbdServer, 1);
    server->options = *options;
    if (options->tls) {
        nbd_tls_ref(options->tls);
    }
    server->host =
        (NbdSessionHost){ host_find, host_release, host_foreach, host_ended, server, options->tls };
    server->listeners = g_ptr_array_new_with_free_func(listener_free);
    server->sessions = g_ptr_array_new();
    server->exports = g_ptr_array_new();
    server->gone = g_ptr_array_new();
    server->released = g_ptr_array_new();
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->ended, NULL);
    return server;
}

static void hurry(NbdSession *session, GPtrArray *hurried)
{
    const NbdExport *export = __atomic_load_n(&session->export, __ATOMIC_SEQ_CST);
    GPtrArray *nodes =
        export && export->source.hurry ? export->source.hurry(export->source.opaque) : NULL;
    if (nodes) {
        g_ptr_array_add(hurried, nodes);
    }
}

static void hurry_end(gpointer nodes)
{
    block_node_hurry_end(nodes);
}

/* Ends all sessions. Their requests may be held back for minutes. */
static void wait_for_sessions(NbdServer *server)
{
    g_autoptr(GPtrArray) hurried = g_ptr_array_new_with_free_func(hurry_end);
    for (unsigned i = 0; i < server->sessions->len; i++) {
        nbd_session_cut(server->sessions->pdata[i]);
        hurry(server->sessions->pdata[i], hurried);
    }
    LOCK_GUARD(&server->lock);
    while (server->live) {
        pthread_cond_wait(&server->ended, &server->lock);
    }
}

void nbd_server_free(NbdServer *server)
{
    if (!server) {
        return;
    }
    g_ptr_array_unref(server->listeners);
    wait_for_sessions(server);
    loop_cancel_calls(server->options.loop, server);
    collect(server);
    for (unsigned i = 0; i < server->exports->len; i++) {
        nbd_export_unref(server->exports->pdata[i]);
    }
    g_ptr_array_unref(server->exports);
    g_ptr_array_unref(server->sessions);
    g_ptr_array_unref(server->gone);
    g_ptr_array_unref(server->released);
    nbd_tls_unref(server->options.tls);
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->lock);
    g_free(server);
}

bool nbd_server_add(NbdServer *server, NbdExport *export, GError **error)
{
    LOCK_GUARD(&server->lock);
    if (find_locked(server, export->name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "NBD server already has export named '%s'", export->name);
        return false;
    }
    g_ptr_array_add(server->exports, nbd_export_ref(export));
    return true;
}

bool nbd_server_remove(NbdServer *server, const char *name, bool is_hard, GError **error)
{
    tidy_up(server);
    pthread_mutex_lock(&server->lock);
    NbdExport *export = find_locked(server, name);
    if (export && is_hard) {
        __atomic_store_n(&export->is_removed, true, __ATOMIC_SEQ_CST);
    }
    bool is_used = false;
    for (unsigned i = 0; export && i < server->sessions->len; i++) {
        NbdSession *session = server->sessions->pdata[i];
        if (__atomic_load_n(&session->export, __ATOMIC_SEQ_CST) == export) {
            is_used = true;
            if (is_hard) {
                g_autoptr(GPtrArray) hurried = g_ptr_array_new_with_free_func(hurry_end);
                nbd_session_cut(session);
                hurry(session, hurried);
            }
        }
    }
    bool ok = export && (is_hard || !is_used);
    if (ok) {
        g_ptr_array_remove(server->exports, export);
    }
    pthread_mutex_unlock(&server->lock);
    if (!export) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "Export '%s' is not found", name);
    } else if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "export '%s' still in use; mode 'hard' disconnects its clients", name);
    } else {
        nbd_export_unref(export);
    }
    return ok;
}

unsigned nbd_server_export_count(const NbdServer *server)
{
    return server->exports->len;
}

unsigned nbd_server_client_count(const NbdServer *server)
{
    return server->sessions->len;
}
