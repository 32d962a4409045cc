/* The server: listens, limits, keeps clients, finds the handler of a procedure.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_SERVER_H
#define LODGE_DAEMON_SERVER_H

#include "daemon/client.h"
#include "rpc/tls.h"

#include <sys/types.h>

typedef struct ServerLimits {
    unsigned max_clients;
    unsigned max_anonymous_clients; /* not yet authenticated, for each uid or address */
    unsigned max_client_requests;   /* calls on workers at once, for each client */
    unsigned max_workers;
    unsigned keepalive_interval_s; /* 0: none */
    unsigned keepalive_count;
    unsigned login_s; /* for TLS and authentication together */
} ServerLimits;

typedef struct ListenOptions {
    bool read_only;
    bool admin;
    AuthMethod auth;
    RpcTlsContext *tls; /* borrowed by the listener with a reference; NULL: none */
    bool tls_verify;
    bool same_user_only; /* refuse other users than the daemon's and root */
} ListenOptions;

/* A socket's file; another daemon may have put one of its own in its place. */
typedef struct SocketFile {
    char *path;
    dev_t device;
    ino_t inode;
} SocketFile;

struct DaemonServer {
    Daemon *daemon;
    EventLoop *loop;
    ServerLimits limits;
    GThreadPool *workers;
    List clients;
    unsigned n_clients;
    uint64_t next_client_id;
    GPtrArray *listeners;
    GArray *socket_files; /* SocketFile: those that this daemon made */
    LoopTimer *tick;
    const DispatchEntry **tables[3]; /* by program, then number */
    ScramStore *scram_store;         /* NULL: no SASL */
    const char *const *sasl_users;   /* globs of names that may come in; NULL: all; borrowed */
    const char *const *tls_names;    /* the same of certificates' names */
    int64_t idle_since_ns;           /* monotonic; last client left */
};

DaemonServer *server_new(Daemon *daemon, const ServerLimits *limits);
/* Closes all clients and waits for handlers that run. */
void server_free(DaemonServer *server);

/* Handlers of a module; a procedure that is listed twice is a bug of ours. */
void server_add_handlers(DaemonServer *server, const DispatchEntry *entries, unsigned n);

/* NULL: nobody handles it. */
const DispatchEntry *server_find_handler(DaemonServer *server, uint32_t program,
                                         uint32_t procedure);

/* Accepts on @fd (transfer full, listening). */
bool server_listen(DaemonServer *server, int fd, const ListenOptions *options, GError **error);

/* A listening socket at @path with @mode, of @group ((gid_t)-1: as it comes). One left behind by a
 * dead daemon is replaced. */
int server_bind_unix(const char *path, mode_t mode, gid_t group, GError **error);

/* Listening sockets of all addresses of @host (NULL: any) are added. */
bool server_listen_tcp(DaemonServer *server, const char *host, const char *port,
                       const ListenOptions *options, GError **error);

void server_remove_client(DaemonServer *server, DaemonClient *client);
unsigned server_count_unauthenticated(DaemonServer *server);

/* Whether one of the globs @allowed matches @name; NULL allows all, an empty list nobody. */
bool server_allows(const char *const *allowed, const char *name);

#endif
