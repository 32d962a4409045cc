/* An NBD server: sockets, exports and the clients' sessions.
 *
 * Connections are accepted on a loop; each is served by threads of its own, so that the loop never
 * waits for a client or a disk. Context of all functions: the loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_EXPORT_SERVER_H
#define LODGE_BLOCK_EXPORT_SERVER_H

#include "block/export/export.h"
#include "block/nbd/tls.h"
#include "event/loop.h"

typedef struct NbdServer NbdServer;

typedef struct NbdServerOptions {
    EventLoop *loop;
    NbdTls *tls;              /* referenced; NULL: plain connections */
    unsigned max_connections; /* 0: any number */
    /* Told when a client has gone, with the number of those that are still there. May be NULL. */
    void (*client_left)(void *opaque, unsigned remaining);
    void *opaque;
} NbdServerOptions;

NbdServer *nbd_server_new(const NbdServerOptions *options);
/* Ends all sessions and waits for their threads. NULL is accepted. */
void nbd_server_free(NbdServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdServer, nbd_server_free)

/* Accepts clients from @fd, a listening socket (transfer full, also on failure). */
bool nbd_server_listen(NbdServer *server, int fd, GError **error);
/* Takes a client that is connected already (transfer full). */
void nbd_server_serve(NbdServer *server, int fd);

/* Listening sockets; -1 with @error. A socket file that nobody listens at is replaced. */
int nbd_listen_unix(const char *path, GError **error);
/* @host NULL: all addresses. The first address that works is taken. */
int nbd_listen_tcp(const char *host, const char *port, GError **error);

/* @export: referenced. False with @error: its name is taken. */
bool nbd_server_add(NbdServer *server, NbdExport *export, GError **error);
/* No new client gets the export. @is_hard: those that have it are cut off; else false with @error
 * if there are any. */
bool nbd_server_remove(NbdServer *server, const char *name, bool is_hard, GError **error);
unsigned nbd_server_export_count(const NbdServer *server);
/* Clients that are connected. */
unsigned nbd_server_client_count(const NbdServer *server);

#endif
