/* Headers and lengths of messages.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/message.h"

#include <string.h>
#include <unistd.h>

RpcMessage *rpc_message_new(const RpcHeader *header)
{
    RpcMessage *message = g_new0(RpcMessage, 1);
    xdr_writer_init(&message->writer, RPC_MESSAGE_MAX);
    xdr_put_u32(&message->writer, 0);
    xdr_put_u32(&message->writer, header->program);
    xdr_put_u32(&message->writer, header->version);
    xdr_put_u32(&message->writer, header->procedure);
    xdr_put_u32(&message->writer, header->type);
    xdr_put_u32(&message->writer, header->serial);
    xdr_put_u32(&message->writer, header->status);
    return message;
}

RpcMessage *rpc_message_new_byte(uint8_t byte)
{
    RpcMessage *message = g_new0(RpcMessage, 1);
    xdr_writer_init(&message->writer, RPC_MESSAGE_MAX);
    uint8_t *at = xdr_writer_reserve(&message->writer, 1);
    if (at) {
        *at = byte;
    }
    return message;
}

bool rpc_message_finish(RpcMessage *message)
{
    if (message->writer.failed) {
        return false;
    }
    uint32_t length = GUINT32_TO_BE((uint32_t)message->writer.size);
    memcpy(message->writer.data, &length, sizeof(length));
    return true;
}

void rpc_message_free(RpcMessage *message)
{
    if (!message) {
        return;
    }
    for (unsigned i = message->fds_sent; i < message->n_fds; i++) {
        close(message->fds[i]);
    }
    xdr_writer_clear(&message->writer);
    g_free(message);
}

void rpc_header_read(const uint8_t *bytes, RpcHeader *out_header)
{
    uint32_t words[6];
    memcpy(words, bytes, sizeof(words));
    out_header->program = GUINT32_FROM_BE(words[0]);
    out_header->version = GUINT32_FROM_BE(words[1]);
    out_header->procedure = GUINT32_FROM_BE(words[2]);
    out_header->type = GUINT32_FROM_BE(words[3]);
    out_header->serial = GUINT32_FROM_BE(words[4]);
    out_header->status = GUINT32_FROM_BE(words[5]);
}
