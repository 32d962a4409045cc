/* The client's end of the protocol: calls that wait, events, streams; one thread reads.
 *
 * Below liblodge's public functions and for our own programs, which use the generated stubs
 * ("schema/remote-client.h"). SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_CLIENT_RPC_CLIENT_H
#define LODGE_CLIENT_RPC_CLIENT_H

#include "rpc/tls.h"
#include "schema/remote-client.h"

/* GError domain of what a daemon answers; codes are libvirt's numbers. */
#define RPC_CLIENT_ERROR (rpc_client_error_quark())
GQuark rpc_client_error_quark(void);

typedef struct RpcClientStream RpcClientStream;

/* An event: decoded with the type of @procedure, borrowed. Context: the client's own thread. */
typedef void (*RpcClientEventFunc)(void *opaque, const RpcProgram *program,
                                   const RpcProcedure *procedure, const void *message);

typedef struct RpcClientOptions {
    RpcTlsContext *tls; /* borrowed; NULL: none */
    const char *tls_host;
    bool tls_verify;
    bool passes_fds;          /* the connection is a socket of this host */
    RpcClientEventFunc event; /* may be NULL */
    void *event_opaque;
} RpcClientOptions;

/* Takes @fd (connected). */
RpcClient *rpc_client_new(int fd, const RpcClientOptions *options, GError **error);
/* Ends the connection; calls that wait fail. NULL is fine. */
void rpc_client_free(RpcClient *client);
bool rpc_client_is_alive(RpcClient *client);

/* As rpc_client_call(), with bytes. *@out_reply: (transfer full). */
bool rpc_client_call_raw(RpcClient *client, uint32_t program, uint32_t procedure,
                         const void *payload, size_t size, GBytes **out_reply, GError **error);

/* The path of the socket of this host that the daemon listens at; NULL: it is reached otherwise.
 * (transfer full) */
char *rpc_client_socket_path(const RpcClient *client);
/* As rpc_client_call(), with descriptors, which stay the caller's. @n_fds: up to RPC_FDS_MAX. */
bool rpc_client_call_with_fds(RpcClient *client, const RpcProgram *program, uint32_t procedure,
                              const void *args, const int *fds, unsigned n_fds, Arena *arena,
                              void *ret, GError **error);

/* As rpc_client_call(), for a procedure with a stream. */
RpcClientStream *rpc_client_open_stream(RpcClient *client, const RpcProgram *program,
                                        uint32_t procedure, const void *args, Arena *arena,
                                        void *ret, GError **error);
gssize rpc_client_stream_read(RpcClientStream *stream, void *buffer, size_t size, GError **error);
bool rpc_client_stream_write(RpcClientStream *stream, const void *data, size_t size,
                             GError **error);
bool rpc_client_stream_finish(RpcClientStream *stream, GError **error);
void rpc_client_stream_free(RpcClientStream *stream);

#endif
