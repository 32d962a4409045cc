/* Messages of the protocol: a length, a header of six words, a payload; descriptors follow apart.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_MESSAGE_H
#define LODGE_RPC_MESSAGE_H

#include "rpc/wire/procedure.h"

#define RPC_LENGTH_BYTES 4u
#define RPC_HEADER_BYTES 24u
#define RPC_MESSAGE_MIN (RPC_LENGTH_BYTES + RPC_HEADER_BYTES)
/* Whole messages, with the length. */
#define RPC_MESSAGE_MAX (33554432u + RPC_LENGTH_BYTES)
/* Before a client has shown who it is. */
#define RPC_MESSAGE_MAX_UNAUTHENTICATED 65536u
/* Payload of a stream packet that every client takes. */
#define RPC_STREAM_DATA_MAX 262120u
#define RPC_FDS_MAX 32u

typedef enum RpcType {
    RPC_CALL,
    RPC_REPLY,
    RPC_MESSAGE,
    RPC_STREAM,
    RPC_CALL_WITH_FDS,
    RPC_REPLY_WITH_FDS,
    RPC_STREAM_HOLE,
} RpcType;

typedef enum RpcStatus { RPC_OK, RPC_ERROR, RPC_CONTINUE } RpcStatus;

typedef struct RpcHeader {
    uint32_t program;
    uint32_t version;
    uint32_t procedure;
    uint32_t type; /* RpcType */
    uint32_t serial;
    uint32_t status; /* RpcStatus */
} RpcHeader;

/* A message on its way out. */
typedef struct RpcMessage {
    struct RpcMessage *next;
    XdrWriter writer; /* from the length on */
    size_t sent;
    int fds[RPC_FDS_MAX];
    unsigned n_fds;
    unsigned fds_sent;
} RpcMessage;

/* A message with @header and no payload; the caller writes that to @writer. */
RpcMessage *rpc_message_new(const RpcHeader *header);

/* One byte without any frame, as TLS servers send when they have accepted a certificate. */
RpcMessage *rpc_message_new_byte(uint8_t byte);

/* Puts the length in. False: the payload grew past the limit. */
bool rpc_message_finish(RpcMessage *message);

/* Closes its descriptors too. NULL is fine. */
void rpc_message_free(RpcMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcMessage, rpc_message_free)

/* Reads the six words at @bytes. */
void rpc_header_read(const uint8_t *bytes, RpcHeader *out_header);

#endif
