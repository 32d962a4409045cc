/* TLS for connections, by GnuTLS: x509 certificates on both sides.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_TLS_H
#define LODGE_RPC_TLS_H

#include "base/compiler.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct RpcTlsContext RpcTlsContext;
typedef struct RpcTlsSession RpcTlsSession;

typedef struct RpcTlsFiles {
    const char *ca;   /* PEM of the authorities that may sign the peer's certificate */
    const char *cert; /* NULL with @key: none (clients only) */
    const char *key;
    const char *crl; /* or NULL */
} RpcTlsFiles;

/* Loads the files. False names the file. A key readable by others is refused. */
RpcTlsContext *rpc_tls_context_new(const RpcTlsFiles *files, bool server, GError **error);
RpcTlsContext *rpc_tls_context_ref(RpcTlsContext *context);
void rpc_tls_context_unref(RpcTlsContext *context);

/**
 * rpc_tls_session_new - one side of a connection
 * @fd:        borrowed, non-blocking
 * @host_name: a client checks the server's certificate against it; NULL for servers
 * @verify:    whether the peer must have a certificate signed by the authority
 */
RpcTlsSession *rpc_tls_session_new(RpcTlsContext *context, int fd, const char *host_name,
                                   bool verify, GError **error);
void rpc_tls_session_free(RpcTlsSession *session);

/* Returns: 1 when done and the peer's certificate is good, 0 when it must wait
 * (rpc_tls_session_wants_write() tells for what), -1 with @error. */
int rpc_tls_handshake(RpcTlsSession *session, GError **error);
bool rpc_tls_wants_write(RpcTlsSession *session);

/* As recv() and send(): bytes, 0 at the end, -EAGAIN, or another -errno. */
ssize_t rpc_tls_receive(RpcTlsSession *session, void *data, size_t size) LODGE_MUST_CHECK;
ssize_t rpc_tls_send(RpcTlsSession *session, const void *data, size_t size) LODGE_MUST_CHECK;
/* Whether bytes wait inside the session, which the socket does not show. */
bool rpc_tls_has_pending(RpcTlsSession *session);

/* Tells the peer that no more comes. */
void rpc_tls_goodbye(RpcTlsSession *session);

/* The peer's distinguished name (RFC 4514), or NULL. Borrowed. */
const char *rpc_tls_peer_name(RpcTlsSession *session);

#endif
