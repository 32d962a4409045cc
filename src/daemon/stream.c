/* Streams: packets that carry the program, procedure and serial of the call that opened them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/stream.h"

#include "base/log.h"
#include "daemon/client.h"
#include "daemon/error.h"

#include <string.h>

/* A receiver that is this far behind stops the whole connection: the protocol has no windows. */
#define RECEIVED_MAX (1u << 20)
#define SERIAL_KEY(serial) GUINT_TO_POINTER(serial)

struct DaemonStream {
    DaemonClient *client; /* a reference; NULL once detached */
    RpcHeader header;     /* of its packets */
    const RpcProcedure *procedure;
    const StreamOps *ops;
    void *opaque;
    RpcMessage *reply;    /* of its call, until it starts */
    GByteArray *received; /* not yet taken by the receiver */
    bool client_ended, finish_wanted, end_told, started, over;
};

DaemonStream *call_open_stream(DaemonCall *call, const StreamOps *ops, void *opaque, GError **error)
{
    const uint32_t flags = RPC_STREAM_TO_CLIENT | RPC_STREAM_TO_SERVER;
    if (!(call->procedure->flags & flags) || call->stream) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "%s has no stream to open",
                         call->procedure->name);
        return NULL;
    }
    DaemonStream *stream = g_new0(DaemonStream, 1);
    stream->client = client_ref(call->client);
    stream->procedure = call->procedure;
    stream->header = (RpcHeader){ call->program->number,
                                  call->program->version,
                                  call->procedure->number,
                                  RPC_STREAM,
                                  call->serial,
                                  RPC_CONTINUE };
    stream->ops = ops;
    stream->opaque = opaque;
    stream->received = g_byte_array_new();
    call->stream = stream;
    return stream;
}

bool stream_is_started(const DaemonStream *stream)
{
    return stream->started;
}

DaemonStream *call_stream(const DaemonCall *call)
{
    return call->stream;
}

static void stream_free(DaemonStream *stream)
{
    rpc_message_free(stream->reply);
    g_byte_array_free(stream->received, TRUE);
    client_unref(stream->client);
    g_free(stream);
}

/* Its last moment: the owner hears of it, the connection may read again. */
static void close_stream(DaemonStream *stream)
{
    if (stream->over) {
        return;
    }
    stream->over = true;
    if (stream->started) {
        g_hash_table_remove(stream->client->streams, SERIAL_KEY(stream->header.serial));
    }
    if (stream->ops->closed) {
        stream->ops->closed(stream->opaque);
    }
    client_set_pause(stream->client, PAUSE_STREAM, false);
    stream_free(stream);
}

static void refuse_serial(DaemonStream *stream)
{
    RpcHeader header = stream->header;
    g_autoptr(GError) error = NULL;
    daemon_error_set(&error, DAEMON_ERROR_RPC, "call %u has a stream open already", header.serial);
    client_send_error(stream->client, &header, RPC_REPLY, stream->procedure, error);
    close_stream(stream);
}

static void start_on_loop(void *opaque)
{
    DaemonStream *stream = opaque;
    if (stream->client->closed) {
        close_stream(stream);
        return;
    }
    if (g_hash_table_contains(stream->client->streams, SERIAL_KEY(stream->header.serial))) {
        refuse_serial(stream);
        return;
    }
    stream->started = true;
    rpc_connection_send(stream->client->connection, g_steal_pointer(&stream->reply));
    g_hash_table_insert(stream->client->streams, SERIAL_KEY(stream->header.serial), stream);
    if (stream->ops->writable) {
        stream->ops->writable(stream->opaque);
    }
}

static void cancel_on_loop(void *opaque)
{
    close_stream(opaque);
}

void stream_start(DaemonStream *stream, RpcMessage *reply)
{
    stream->reply = reply;
    if (loop_is_current(stream->client->daemon->loop)) {
        start_on_loop(stream);
    } else if (loop_call(stream->client->daemon->loop, start_on_loop, stream) < 0) {
        log_error("out of memory: a stream does not start");
    }
}

void stream_cancel(DaemonStream *stream)
{
    if (loop_call(stream->client->daemon->loop, cancel_on_loop, stream) < 0) {
        log_error("out of memory: a stream is not closed");
    }
}

static void send_packet(DaemonStream *stream, uint32_t type, uint32_t status, const void *data,
                        size_t size)
{
    RpcHeader header = stream->header;
    header.type = type;
    header.status = status;
    g_autoptr(RpcMessage) message = rpc_message_new(&header);
    uint8_t *at = xdr_writer_reserve(&message->writer, size);
    if (at && size) {
        memcpy(at, data, size);
    }
    if (rpc_message_finish(message)) {
        rpc_connection_send(stream->client->connection, g_steal_pointer(&message));
    }
}

static bool has_room(const DaemonStream *stream)
{
    return rpc_connection_queued(stream->client->connection) <= RPC_CONNECTION_LOW_MARK;
}

size_t stream_send(DaemonStream *stream, const uint8_t *data, size_t size)
{
    size_t done = 0;
    while (done < size && has_room(stream)) {
        size_t part = MIN(size - done, RPC_STREAM_DATA_MAX);
        send_packet(stream, RPC_STREAM, RPC_CONTINUE, data + done, part);
        done += part;
    }
    return done;
}

bool stream_send_hole(DaemonStream *stream, int64_t length)
{
    if (!has_room(stream)) {
        return false;
    }
    uint8_t payload[12] = { 0 };
    uint64_t be = GUINT64_TO_BE((uint64_t)length);
    memcpy(payload, &be, sizeof(be));
    send_packet(stream, RPC_STREAM_HOLE, RPC_CONTINUE, payload, sizeof(payload));
    return true;
}

void stream_send_end(DaemonStream *stream)
{
    send_packet(stream, RPC_STREAM, RPC_CONTINUE, NULL, 0);
}

void stream_fail(DaemonStream *stream, GError *error)
{
    client_send_error(stream->client, &stream->header, RPC_STREAM, stream->procedure, error);
    g_error_free(error);
    close_stream(stream);
}

/* Offers what was received; false when the stream is over. */
static bool deliver(DaemonStream *stream)
{
    GError *error = NULL;
    while (stream->received->len > 0) {
        gssize taken = stream->ops->receive
                           ? stream->ops->receive(stream->opaque, stream->received->data,
                                                  stream->received->len, &error)
                           : (gssize)stream->received->len;
        if (taken < 0) {
            stream_fail(stream, error);
            return false;
        }
        if (taken == 0) {
            break;
        }
        g_byte_array_remove_range(stream->received, 0, (guint)taken);
    }
    client_set_pause(stream->client, PAUSE_STREAM, stream->received->len > RECEIVED_MAX);
    if (stream->received->len > 0) {
        return true;
    }
    if ((stream->client_ended || stream->finish_wanted) && !stream->end_told) {
        stream->end_told = true;
        if (stream->ops->receive_end && !stream->ops->receive_end(stream->opaque, &error)) {
            stream_fail(stream, error);
            return false;
        }
    }
    if (stream->finish_wanted) {
        send_packet(stream, RPC_STREAM, RPC_OK, NULL, 0);
        close_stream(stream);
        return false;
    }
    return true;
}

void stream_resume(DaemonStream *stream)
{
    deliver(stream);
}

static void receive_hole(DaemonStream *stream, const RpcIncoming *incoming)
{
    GError *error = NULL;
    uint64_t length = 0;
    if (incoming->size == 12) {
        memcpy(&length, incoming->payload, sizeof(length));
        length = GUINT64_FROM_BE(length);
    }
    if (length == 0 || length > G_MAXINT64 || !stream->ops->receive_hole) {
        daemon_error_set(&error, DAEMON_ERROR_RPC, "this stream takes no holes");
        stream_fail(stream, error);
    } else if (!stream->ops->receive_hole(stream->opaque, (int64_t)length, &error)) {
        stream_fail(stream, error);
    }
}

void stream_receive(DaemonClient *client, const RpcIncoming *incoming)
{
    const RpcHeader *header = &incoming->header;
    DaemonStream *stream = g_hash_table_lookup(client->streams, SERIAL_KEY(header->serial));
    /* Packets may cross the end of a stream; that is no fault of the client. */
    if (!stream || stream->header.program != header->program ||
        stream->header.procedure != header->procedure) {
        return;
    }
    if (header->status == RPC_ERROR) {
        /* Aborted. libvirt's clients wait for an answer to it. */
        send_packet(stream, RPC_STREAM, RPC_OK, NULL, 0);
        close_stream(stream);
        return;
    }
    if (header->type == RPC_STREAM_HOLE) {
        receive_hole(stream, incoming);
        return;
    }
    if (header->status == RPC_OK) {
        stream->finish_wanted = true;
    } else if (incoming->size == 0) {
        stream->client_ended = true;
    } else if (!stream->client_ended && stream->received->len <= RECEIVED_MAX + RPC_MESSAGE_MAX) {
        g_byte_array_append(stream->received, incoming->payload, (guint)incoming->size);
    }
    deliver(stream);
}

void stream_wake_all(DaemonClient *client)
{
    g_autoptr(GList) streams = g_hash_table_get_keys(client->streams);
    for (const GList *at = streams; at; at = at->next) {
        DaemonStream *stream = g_hash_table_lookup(client->streams, at->data);
        if (stream && stream->ops->writable) {
            stream->ops->writable(stream->opaque);
        }
    }
}

void stream_close_all(DaemonClient *client)
{
    g_autoptr(GList) streams = g_hash_table_get_keys(client->streams);
    for (const GList *at = streams; at; at = at->next) {
        DaemonStream *stream = g_hash_table_lookup(client->streams, at->data);
        if (stream) {
            close_stream(stream);
        }
    }
}
