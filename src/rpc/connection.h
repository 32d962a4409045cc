/* One end of a connection: messages in and out of a socket, with descriptors and TLS.
 *
 * It belongs to a loop; rpc_connection_send() may come from any thread. What comes in is bounded
 * by the message limit, what waits to go out by the owner (rpc_connection_queued()).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_CONNECTION_H
#define LODGE_RPC_CONNECTION_H

#include "event/loop.h"
#include "rpc/message.h"
#include "rpc/tls.h"

typedef struct RpcConnection RpcConnection;

/* Borrowed for the time of the call, but @fds: set those kept to -1, others are closed. */
typedef struct RpcIncoming {
    RpcHeader header;
    const uint8_t *payload; /* after the count of descriptors, where there is one */
    size_t size;
    int *fds;
    unsigned n_fds;
} RpcIncoming;

/* All on the loop's thread. */
typedef struct RpcConnectionOps {
    void (*message)(void *opaque, RpcIncoming *incoming);
    /* Less than the low mark is queued again. */
    void (*drained)(void *opaque);
    /* TLS is set up; not called without TLS. */
    void (*secured)(void *opaque);
    /* The peer is gone or broke the rules; called once, never from rpc_connection_close(). */
    void (*closed)(void *opaque, const char *reason);
} RpcConnectionOps;

/* Takes @fd (connected; made non-blocking). NULL: the loop is out of memory, @fd is closed. */
RpcConnection *rpc_connection_new(EventLoop *loop, int fd, const RpcConnectionOps *ops,
                                  void *opaque);

RpcConnection *rpc_connection_ref(RpcConnection *connection);
void rpc_connection_unref(RpcConnection *connection);

/* Speaks TLS from here on; before the first message. @session: (transfer full). */
void rpc_connection_start_tls(RpcConnection *connection, RpcTlsSession *session);
/* NULL: no TLS. */
RpcTlsSession *rpc_connection_tls(RpcConnection *connection);

/* The next @n bytes that come are no message: a TLS server's byte of welcome. Before any is read.
 */
void rpc_connection_skip(RpcConnection *connection, size_t n);

/* Largest message that is accepted; RPC_MESSAGE_MAX_UNAUTHENTICATED at first. */
void rpc_connection_set_limit(RpcConnection *connection, size_t limit);

/* Stops or goes on delivering messages. Context: the loop's thread. */
void rpc_connection_pause(RpcConnection *connection, bool paused);

/* Sends @message (transfer full, finished). Nothing happens once closed. Context: any thread. */
void rpc_connection_send(RpcConnection *connection, RpcMessage *message);

/* Bytes not yet taken by the socket. Context: any thread. */
size_t rpc_connection_queued(RpcConnection *connection);
/* drained() is called when this many are left, after having been past it. */
#define RPC_CONNECTION_LOW_MARK 262144u

/* Ends it: tries to send what is queued once, then closes. closed() is not called. Context: the
 * loop's thread. */
void rpc_connection_close(RpcConnection *connection);

/* Asks the loop's thread to close it and call closed() with @reason (static). Any thread. */
void rpc_connection_abort(RpcConnection *connection, const char *reason);

int rpc_connection_fd(const RpcConnection *connection);

#endif
