/* Calls send on the caller's thread and sleep until the reading thread has their answer.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/rpc-client.h"

#include "event/loop.h"
#include "gbase/error.h"
#include "rpc/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KEY(serial) GUINT_TO_POINTER(serial)
#define REPLY_MEMORY_MAX ((size_t)1 << 30)
/* A reader of a stream that is this far behind makes the connection wait. */
#define STREAM_BUFFER_MAX (4u << 20)
#define WRITE_QUEUE_MAX (4u << 20)

typedef struct Pending {
    bool done;
    uint32_t status;
    GBytes *payload;
} Pending;

struct RpcClient {
    EventLoop *loop;
    pthread_t thread;
    bool thread_runs;
    RpcConnection *connection;
    RpcClientOptions options;
    GMutex lock;
    GCond changed;
    uint32_t next_serial;
    GHashTable *pending; /* serial to Pending */
    GHashTable *streams; /* serial to RpcClientStream */
    bool ready;          /* TLS is set up, or there is none */
    const char *closed;  /* reason; NULL: alive */
};

struct RpcClientStream {
    RpcClient *client;
    RpcHeader header;
    GByteArray *data;
    bool ended, finished, failed;
    GBytes *error;
};

GQuark rpc_client_error_quark(void)
{
    return g_quark_from_static_string("lodge-rpc-client-error");
}

static void send_packet(RpcClient *client, const RpcHeader *header, const void *data, size_t size)
{
    g_autoptr(RpcMessage) message = rpc_message_new(header);
    uint8_t *at = xdr_writer_reserve(&message->writer, size);
    if (at && size) {
        memcpy(at, data, size);
    }
    if (rpc_message_finish(message)) {
        rpc_connection_send(client->connection, g_steal_pointer(&message));
    }
}

static void deliver_event(RpcClient *client, const RpcIncoming *incoming)
{
    const RpcHeader *header = &incoming->header;
    const RpcProgram *program = header->program == RPC_PROGRAM_REMOTE ? &remote_program
                                : header->program == RPC_PROGRAM_QEMU ? &qemu_program
                                                                      : NULL;
    const RpcProcedure *procedure = program ? rpc_program_find(program, header->procedure) : NULL;
    if (!procedure || procedure->access != RPC_ACCESS_EVENT || !procedure->args ||
        !client->options.event) {
        return;
    }
    Arena arena;
    arena_init(&arena, REPLY_MEMORY_MAX);
    XdrReader reader = { incoming->payload, incoming->payload + incoming->size };
    void *message = arena_alloc(&arena, procedure->args->size);
    if (message && xdr_decode(&reader, &arena, procedure->args, message, NULL)) {
        client->options.event(client->options.event_opaque, program, procedure, message);
    }
    arena_clear(&arena);
}

/* Called with the lock. */
static void deliver_stream(RpcClient *client, const RpcIncoming *incoming)
{
    RpcClientStream *stream = g_hash_table_lookup(client->streams, KEY(incoming->header.serial));
    if (!stream) {
        return;
    }
    if (incoming->header.status == RPC_ERROR) {
        stream->failed = stream->ended = true;
        stream->error = g_bytes_new(incoming->payload, incoming->size);
    } else if (incoming->header.status == RPC_OK) {
        stream->finished = stream->ended = true;
    } else if (incoming->size == 0) {
        stream->ended = true;
    } else {
        g_byte_array_append(stream->data, incoming->payload, (guint)incoming->size);
        if (stream->data->len > STREAM_BUFFER_MAX) {
            rpc_connection_pause(client->connection, true);
        }
    }
}

static void on_message(void *opaque, RpcIncoming *incoming)
{
    RpcClient *client = opaque;
    const RpcHeader *header = &incoming->header;
    if (header->program == RPC_PROGRAM_KEEPALIVE) {
        if (header->procedure == KEEPALIVE_PROC_PING) {
            RpcHeader pong = *header;
            pong.procedure = KEEPALIVE_PROC_PONG;
            send_packet(client, &pong, NULL, 0);
        }
        return;
    }
    if (header->type == RPC_MESSAGE) {
        deliver_event(client, incoming);
        return;
    }
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    if (header->type == RPC_STREAM) {
        deliver_stream(client, incoming);
    } else if (header->type == RPC_REPLY || header->type == RPC_REPLY_WITH_FDS) {
        Pending *pending = g_hash_table_lookup(client->pending, KEY(header->serial));
        if (pending && !pending->done) {
            pending->done = true;
            pending->status = header->status;
            pending->payload = g_bytes_new(incoming->payload, incoming->size);
        }
    }
    g_cond_broadcast(&client->changed);
}

static void on_secured(void *opaque)
{
    RpcClient *client = opaque;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    client->ready = true;
    g_cond_broadcast(&client->changed);
}

static void on_closed(void *opaque, const char *reason)
{
    RpcClient *client = opaque;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    client->closed = reason;
    g_cond_broadcast(&client->changed);
}

static void on_drained(void *opaque)
{
    on_secured(opaque);
}

static const RpcConnectionOps ops = {
    .message = on_message,
    .drained = on_drained,
    .secured = on_secured,
    .closed = on_closed,
};

static void *run_loop(void *opaque)
{
    RpcClient *client = opaque;
    loop_run(client->loop);
    return NULL;
}

static bool fail_closed(const RpcClient *client, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION, "the connection has ended: %s",
                client->closed);
    return false;
}

static bool start(RpcClient *client, GError **error)
{
    const RpcClientOptions *options = &client->options;
    if (options->tls) {
        RpcTlsSession *session =
            rpc_tls_session_new(options->tls, rpc_connection_fd(client->connection),
                                options->tls_host, options->tls_verify, error);
        if (!session) {
            return false;
        }
        rpc_connection_skip(client->connection, 1);
        rpc_connection_start_tls(client->connection, session);
    }
    client->ready = options->tls == NULL;
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&client->thread, NULL, run_loop, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "cannot start a thread");
        return false;
    }
    client->thread_runs = true;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    while (!client->ready && !client->closed) {
        g_cond_wait(&client->changed, &client->lock);
    }
    return !client->closed || fail_closed(client, error);
}

RpcClient *rpc_client_new(int fd, const RpcClientOptions *options, GError **error)
{
    RpcClient *client = g_new0(RpcClient, 1);
    client->options = *options;
    g_mutex_init(&client->lock);
    g_cond_init(&client->changed);
    client->pending = g_hash_table_new(NULL, NULL);
    client->streams = g_hash_table_new(NULL, NULL);
    client->loop = loop_new();
    if (!client->loop) {
        close(fd);
    } else {
        client->connection = rpc_connection_new(client->loop, fd, &ops, client);
    }
    if (!client->connection) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "cannot watch the connection");
        rpc_client_free(client);
        return NULL;
    }
    rpc_connection_set_limit(client->connection, RPC_MESSAGE_MAX);
    if (!start(client, error)) {
        rpc_client_free(client);
        return NULL;
    }
    return client;
}

void rpc_client_free(RpcClient *client)
{
    if (!client) {
        return;
    }
    if (client->thread_runs) {
        loop_quit(client->loop);
        pthread_join(client->thread, NULL);
    }
    if (client->connection) {
        rpc_connection_close(client->connection);
        rpc_connection_unref(client->connection);
    }
    loop_free(client->loop);
    g_hash_table_destroy(client->pending);
    g_hash_table_destroy(client->streams);
    g_mutex_clear(&client->lock);
    g_cond_clear(&client->changed);
    g_free(client);
}

bool rpc_client_is_alive(RpcClient *client)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    return client->closed == NULL;
}

/* What a daemon's error says. */
static void set_remote_error(GBytes *payload, GError **error)
{
    Arena arena;
    RemoteError wire = { 0 };
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(payload, &size);
    XdrReader reader = { bytes, bytes + size };
    arena_init(&arena, RPC_MESSAGE_MAX);
    if (xdr_decode(&reader, &arena, &type_remote_error, &wire, error)) {
        g_set_error(error, RPC_CLIENT_ERROR, wire.code, "%s",
                    wire.message ? wire.message : "the daemon gives no reason");
    }
    arena_clear(&arena);
}

/* What goes with a call beside its payload. */
typedef struct Extras {
    RpcClientStream *stream; /* registered before the reply can come */
    const int *fds;
    unsigned n_fds;
} Extras;

/* A call with copies of descriptors. False: there are too many open. */
static bool send_with_fds(RpcClient *client, const RpcHeader *header, const void *data, size_t size,
                          const Extras *extras, GError **error)
{
    g_autoptr(RpcMessage) message = rpc_message_new(header);
    xdr_put_u32(&message->writer, extras->n_fds);
    uint8_t *at = xdr_writer_reserve(&message->writer, size);
    if (at && size) {
        memcpy(at, data, size);
    }
    for (unsigned i = 0; i < extras->n_fds; i++) {
        int fd = fcntl(extras->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            lodge_error_set_errno(error, errno, "cannot pass descriptor %d", extras->fds[i]);
            return false;
        }
        message->fds[message->n_fds++] = fd;
    }
    if (rpc_message_finish(message)) {
        rpc_connection_send(client->connection, g_steal_pointer(&message));
    }
    return true;
}

/* Sends and waits. */
static GBytes *exchange(RpcClient *client, uint32_t program, uint32_t procedure,
                        const void *payload, size_t size, const Extras *extras, GError **error)
{
    RpcClientStream *stream = extras->stream;
    Pending pending = { 0 };
    RpcHeader header = { program, 1, procedure, RPC_CALL, 0, RPC_OK };
    g_mutex_lock(&client->lock);
    header.serial = client->next_serial++;
    g_hash_table_insert(client->pending, KEY(header.serial), &pending);
    if (stream) {
        stream->header = header;
        g_hash_table_insert(client->streams, KEY(header.serial), stream);
    }
    g_mutex_unlock(&client->lock);
    bool sent = true;
    if (extras->n_fds) {
        header.type = RPC_CALL_WITH_FDS;
        sent = send_with_fds(client, &header, payload, size, extras, error);
    } else {
        send_packet(client, &header, payload, size);
    }
    g_mutex_lock(&client->lock);
    while (sent && !pending.done && !client->closed) {
        g_cond_wait(&client->changed, &client->lock);
    }
    g_hash_table_remove(client->pending, KEY(header.serial));
    g_mutex_unlock(&client->lock);
    if (!pending.done) {
        if (sent) {
            fail_closed(client, error);
        }
        return NULL;
    }
    if (pending.status == RPC_ERROR) {
        set_remote_error(pending.payload, error);
        g_bytes_unref(pending.payload);
        return NULL;
    }
    return pending.payload;
}

bool rpc_client_call_raw(RpcClient *client, uint32_t program, uint32_t procedure,
                         const void *payload, size_t size, GBytes **out_reply, GError **error)
{
    if (size > RPC_MESSAGE_MAX - RPC_MESSAGE_MIN) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "the message is too long");
        return false;
    }
    GBytes *reply = exchange(client, program, procedure, payload, size, &(Extras){ 0 }, error);
    if (reply) {
        *out_reply = reply;
    }
    return reply != NULL;
}

static bool call(RpcClient *client, const RpcProgram *program, uint32_t number, const void *args,
                 Arena *arena, void *ret, const Extras *extras, GError **error)
{
    const RpcProcedure *procedure = rpc_program_find(program, number);
    XdrWriter writer;
    xdr_writer_init(&writer, RPC_MESSAGE_MAX - RPC_MESSAGE_MIN);
    bool ok = xdr_encode(&writer, procedure->args, args, error);
    g_autoptr(GBytes) reply =
        ok ? exchange(client, program->number, number, writer.data, writer.size, extras, error)
           : NULL;
    xdr_writer_clear(&writer);
    if (!reply) {
        return false;
    }
    if (!procedure->ret) {
        return true;
    }
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(reply, &size);
    XdrReader reader = { bytes, bytes + size };
    memset(ret, 0, procedure->ret->size);
    return xdr_decode(&reader, arena, procedure->ret, ret, error);
}

bool rpc_client_call(RpcClient *client, const RpcProgram *program, uint32_t procedure,
                     const void *args, Arena *arena, void *ret, GError **error)
{
    return call(client, program, procedure, args, arena, ret, &(Extras){ 0 }, error);
}

char *rpc_client_socket_path(const RpcClient *client)
{
    struct sockaddr_un address = { 0 };
    socklen_t size = sizeof(address) - 1; /* the path ends with 0 */
    int rc = getpeername(rpc_connection_fd(client->connection), (struct sockaddr *)&address, &size);
    return rc == 0 && address.sun_family == AF_UNIX && address.sun_path[0] == '/'
               ? g_strdup(address.sun_path)
               : NULL;
}

bool rpc_client_call_with_fds(RpcClient *client, const RpcProgram *program, uint32_t procedure,
                              const void *args, const int *fds, unsigned n_fds, Arena *arena,
                              void *ret, GError **error)
{
    if (!client->options.passes_fds || n_fds > RPC_FDS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    n_fds > RPC_FDS_MAX ? "at most %u descriptors can be passed at once"
                                        : "descriptors can be passed to a daemon of this host only",
                    RPC_FDS_MAX);
        return false;
    }
    Extras extras = { .fds = fds, .n_fds = n_fds };
    return call(client, program, procedure, args, arena, ret, &extras, error);
}

/* --- streams --- */

RpcClientStream *rpc_client_open_stream(RpcClient *client, const RpcProgram *program,
                                        uint32_t procedure, const void *args, Arena *arena,
                                        void *ret, GError **error)
{
    RpcClientStream *stream = g_new0(RpcClientStream, 1);
    stream->client = client;
    stream->data = g_byte_array_new();
    if (!call(client, program, procedure, args, arena, ret, &(Extras){ .stream = stream }, error)) {
        /* Over before it began: nothing to abort. */
        stream->ended = stream->finished = true;
        rpc_client_stream_free(stream);
        return NULL;
    }
    stream->header.type = RPC_STREAM;
    return stream;
}

static void unpause(void *opaque)
{
    RpcClient *client = opaque;
    rpc_connection_pause(client->connection, false);
}

static bool fail_stream(RpcClientStream *stream, GError **error)
{
    if (stream->failed && stream->error && g_bytes_get_size(stream->error) > 0) {
        set_remote_error(stream->error, error);
        return false;
    }
    if (stream->client->closed) {
        return fail_closed(stream->client, error);
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CANCELLED, "the stream was ended by the daemon");
    return false;
}

gssize rpc_client_stream_read(RpcClientStream *stream, void *buffer, size_t size, GError **error)
{
    RpcClient *client = stream->client;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    while (stream->data->len == 0 && !stream->ended && !client->closed) {
        g_cond_wait(&client->changed, &client->lock);
    }
    if (stream->data->len > 0) {
        size_t part = MIN(size, stream->data->len);
        bool was_full = stream->data->len > STREAM_BUFFER_MAX;
        memcpy(buffer, stream->data->data, part);
        g_byte_array_remove_range(stream->data, 0, (guint)part);
        if (was_full && stream->data->len <= STREAM_BUFFER_MAX) {
            /* On the loop's thread; its failure would only be a lack of memory. */
            return loop_call(client->loop, unpause, client) < 0 ? -1 : (gssize)part;
        }
        return (gssize)part;
    }
    if (stream->failed || !stream->ended) {
        fail_stream(stream, error);
        return -1;
    }
    return 0;
}

bool rpc_client_stream_write(RpcClientStream *stream, const void *data, size_t size, GError **error)
{
    RpcClient *client = stream->client;
    RpcHeader header = stream->header;
    header.status = RPC_CONTINUE;
    for (size_t done = 0; done < size;) {
        g_mutex_lock(&client->lock);
        while (rpc_connection_queued(client->connection) > WRITE_QUEUE_MAX && !client->closed &&
               !stream->failed) {
            g_cond_wait(&client->changed, &client->lock);
        }
        bool ok = !client->closed && !stream->failed;
        g_mutex_unlock(&client->lock);
        if (!ok) {
            return fail_stream(stream, error);
        }
        size_t part = MIN(size - done, RPC_STREAM_DATA_MAX);
        send_packet(client, &header, (const char *)data + done, part);
        done += part;
    }
    return true;
}

bool rpc_client_stream_finish(RpcClientStream *stream, GError **error)
{
    RpcClient *client = stream->client;
    RpcHeader header = stream->header;
    header.status = RPC_OK;
    send_packet(client, &header, NULL, 0);
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->lock);
    while (!stream->finished && !stream->failed && !client->closed) {
        g_cond_wait(&client->changed, &client->lock);
    }
    return stream->finished || fail_stream(stream, error);
}

void rpc_client_stream_free(RpcClientStream *stream)
{
    if (!stream) {
        return;
    }
    RpcClient *client = stream->client;
    if (!stream->finished && !stream->failed) {
        RpcHeader header = stream->header;
        header.status = RPC_ERROR;
        send_packet(client, &header, NULL, 0);
    }
    g_mutex_lock(&client->lock);
    g_hash_table_remove(client->streams, KEY(stream->header.serial));
    g_mutex_unlock(&client->lock);
    if (loop_call(client->loop, unpause, client) < 0) {
        /* Only memory can be short here; the connection stays as it is. */
    }
    g_byte_array_free(stream->data, TRUE);
    g_clear_pointer(&stream->error, g_bytes_unref);
    g_free(stream);
}
