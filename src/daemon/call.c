/* One call: decode, check access, run on the loop or a worker, answer.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/error.h"
#include "daemon/server.h"
#include "daemon/threads.h"
#include "daemon/unsupported.h"

#include <string.h>
#include <unistd.h>

/* What the arguments of one call may take: a largest message, and pointers for its items. */
#define ARGS_LIMIT ((size_t)256 << 20)
#define ARGS_LIMIT_UNAUTHENTICATED ((size_t)1 << 20)
/* Calls a client may have waiting for its turn on the workers. */
#define PENDING_MAX 64u

Daemon *call_daemon(DaemonCall *call)
{
    return call->client->daemon;
}

DaemonClient *call_client(DaemonCall *call)
{
    return call->client;
}

const DaemonIdentity *call_identity(DaemonCall *call)
{
    return &call->client->identity;
}

const RpcProcedure *call_procedure(const DaemonCall *call)
{
    return call->procedure;
}

Arena *call_arena(DaemonCall *call)
{
    return &call->arena;
}

bool call_may_block(const DaemonCall *call)
{
    return call->on_worker;
}

bool call_requeue(DaemonCall *call)
{
    lodge_assert(!call->on_worker);
    call->outcome->requeued = true;
    return true;
}

DaemonCall *call_hold(DaemonCall *call)
{
    call->outcome->held = true;
    return call;
}

void *call_ret(DaemonCall *call)
{
    return call->ret;
}

unsigned call_n_fds(const DaemonCall *call)
{
    return call->n_in_fds;
}

int call_take_fd(DaemonCall *call, unsigned index)
{
    if (index >= call->n_in_fds) {
        return -1;
    }
    int fd = call->in_fds[index];
    call->in_fds[index] = -1;
    return fd;
}

bool call_send_fd(DaemonCall *call, int fd, GError **error)
{
    if (call->n_out_fds >= RPC_FDS_MAX || rpc_connection_tls(call->client->connection)) {
        close(fd);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "file descriptors cannot be sent over this connection");
        return false;
    }
    call->out_fds[call->n_out_fds++] = fd;
    return true;
}

void call_free(DaemonCall *call)
{
    for (unsigned i = 0; i < call->n_in_fds; i++) {
        if (call->in_fds[i] >= 0) {
            close(call->in_fds[i]);
        }
    }
    for (unsigned i = 0; i < call->n_out_fds; i++) {
        close(call->out_fds[i]);
    }
    rpc_message_free(call->raw);
    arena_clear(&call->arena);
    client_unref(call->client);
    g_free(call);
}

void client_send_error(DaemonClient *client, const RpcHeader *to, uint32_t type,
                       const RpcProcedure *procedure, const GError *error)
{
    RpcHeader header = *to;
    header.type = type;
    header.status = RPC_ERROR;
    RemoteError wire;
    daemon_error_to_wire(error, procedure, &wire);
    g_autoptr(RpcMessage) message = rpc_message_new(&header);
    if (xdr_encode(&message->writer, &type_remote_error, &wire, NULL) &&
        rpc_message_finish(message)) {
        rpc_connection_send(client->connection, g_steal_pointer(&message));
    }
}

static RpcHeader reply_header(const DaemonCall *call)
{
    return (RpcHeader){ call->program->number,
                        call->program->version,
                        call->procedure->number,
                        RPC_REPLY,
                        call->serial,
                        RPC_OK };
}

XdrWriter *call_raw_reply(DaemonCall *call)
{
    RpcHeader header = reply_header(call);
    lodge_assert(!call->raw && !(call->procedure->flags & RPC_FDS_IN_REPLY));
    call->raw = rpc_message_new(&header);
    return &call->raw->writer;
}

/* The message of a success; NULL with @error when the result does not fit the protocol. */
static RpcMessage *encode_reply(DaemonCall *call, GError **error)
{
    if (call->raw) {
        if (!rpc_message_finish(call->raw)) {
            daemon_error_set(error, DAEMON_ERROR_RPC, "%s: the message is too long",
                             call->procedure->name);
            return NULL;
        }
        return g_steal_pointer(&call->raw);
    }
    RpcHeader header = reply_header(call);
    bool with_fds = call->procedure->flags & RPC_FDS_IN_REPLY;
    header.type = with_fds ? RPC_REPLY_WITH_FDS : RPC_REPLY;
    g_autoptr(RpcMessage) message = rpc_message_new(&header);
    if (with_fds) {
        xdr_put_u32(&message->writer, call->n_out_fds);
    }
    if (!xdr_encode(&message->writer, call->procedure->ret, call->ret, error) ||
        !rpc_message_finish(message)) {
        g_prefix_error(error, "%s: ", call->procedure->name);
        return NULL;
    }
    memcpy(message->fds, call->out_fds, sizeof(call->out_fds));
    message->n_fds = call->n_out_fds;
    call->n_out_fds = 0;
    return g_steal_pointer(&message);
}

/* A call that ran on a worker is over; others that wait may start. On the loop's thread. */
static void after_call(void *opaque)
{
    DaemonClient *client = opaque;
    client->n_running--;
    while (!client->closed && client->n_running < client->server->limits.max_client_requests) {
        DaemonCall *next = g_queue_pop_head(&client->pending);
        if (!next) {
            break;
        }
        call_start(next);
    }
    client_set_pause(client, PAUSE_CALLS, client->pending.length >= PENDING_MAX);
    client_unref(client);
}

/* Answers and frees the call. Any thread. @error: (transfer full) or NULL. */
static void finish(DaemonCall *call, GError *error)
{
    DaemonClient *client = client_ref(call->client);
    g_autoptr(GError) owned = error;
    RpcMessage *message = owned ? NULL : encode_reply(call, &owned);
    if (message) {
        if (call->stream) {
            stream_start(call->stream, message);
        } else if (call->send_reply) {
            call->send_reply(client, message);
        } else {
            rpc_connection_send(client->connection, message);
        }
    } else {
        RpcHeader header = reply_header(call);
        client_send_error(client, &header, RPC_REPLY, call->procedure, owned);
        if (call->stream) {
            stream_cancel(call->stream);
        }
    }
    bool counted = call->counted;
    call_free(call);
    if (!counted) {
        client_unref(client);
    } else if (loop_call(client->daemon->loop, after_call, client) < 0) {
        log_error("out of memory: a client's call stays counted");
    }
}

void call_finish(DaemonCall *call, GError *error)
{
    finish(call, error);
}

static void run(DaemonCall *call)
{
    GError *error = NULL;
    CallOutcome outcome = { 0 };
    call->outcome = &outcome;
    bool ok = call->entry->handler(call, call->args, call->ret, &error);
    if (!ok) {
        if (!error) {
            daemon_error_set(&error, DAEMON_ERROR_INTERNAL, "%s failed without a reason",
                             call->procedure->name);
        }
        finish(call, error);
    } else if (outcome.requeued) {
        if (call->ret) {
            memset(call->ret, 0, call->procedure->ret->size);
        }
        g_clear_pointer(&call->raw, rpc_message_free);
        call_start(call);
    } else if (!outcome.held) {
        finish(call, NULL);
    }
}

void call_run_on_worker(void *call, void *unused)
{
    (void)unused;
    Daemon *daemon = ((DaemonCall *)call)->client->daemon;
    run(call);
    daemon_work_ended(daemon);
}

void call_start(DaemonCall *call)
{
    DaemonClient *client = call->client;
    call->on_worker = true;
    if (client->n_running >= client->server->limits.max_client_requests) {
        g_queue_push_tail(&client->pending, call);
        client_set_pause(client, PAUSE_CALLS, client->pending.length >= PENDING_MAX);
        return;
    }
    client->n_running++;
    call->counted = true;
    daemon_work_begins(client->daemon);
    g_thread_pool_push(client->server->workers, call, NULL);
}

static bool is_write(const RpcProcedure *procedure, const void *args)
{
    const RpcAccessCondition *condition = procedure->condition;
    if (procedure->access == RPC_ACCESS_WRITE) {
        return true;
    }
    if (!condition || !args) {
        return false;
    }
    uint32_t value;
    memcpy(&value, (const char *)args + condition->offset, sizeof(value));
    return condition->mask ? (value & condition->mask) != 0 : value == condition->value;
}

/* "DOMAIN_CREATE" as people write it: "domain create". (transfer full) */
static char *spoken_name(const RpcProcedure *procedure)
{
    g_autofree char *lower = g_ascii_strdown(procedure->name, -1);
    return g_strdelimit(g_steal_pointer(&lower), "_", ' ');
}

static bool check_access(DaemonClient *client, const RpcProcedure *procedure, GError **error)
{
    if (procedure->access == RPC_ACCESS_OPEN) {
        return true;
    }
    if (!client->authenticated) {
        daemon_error_set(error, DAEMON_ERROR_RPC, "authentication required");
        return false;
    }
    return true;
}

/* What may come before the connection is opened, or opens it. */
static bool is_first(const DaemonCall *call)
{
    uint32_t number = call->procedure->number;
    if (call->program == &admin_program) {
        return number == ADMIN_PROC_CONNECT_OPEN;
    }
    return call->program == &remote_program &&
           (number == REMOTE_PROC_CONNECT_OPEN || number == REMOTE_PROC_CONNECT_SUPPORTS_FEATURE);
}

/* After the arguments are known. */
static bool check_rights(DaemonClient *client, const DaemonCall *call, GError **error)
{
    const RpcProcedure *procedure = call->procedure;
    if (client->identity.read_only && is_write(procedure, call->args)) {
        g_autofree char *name = spoken_name(procedure);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_DENIED,
                         "read only access prevents '%s'; connect to the read-write socket", name);
        return false;
    }
    bool before_open = procedure->access == RPC_ACCESS_OPEN || is_first(call);
    if (!client->opened && !before_open) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "connection not open");
        return false;
    }
    return true;
}

static const RpcProgram *find_program(const DaemonClient *client, uint32_t number)
{
    if (client->admin) {
        return number == RPC_PROGRAM_ADMIN ? &admin_program : NULL;
    }
    return number == RPC_PROGRAM_REMOTE ? &remote_program
           : number == RPC_PROGRAM_QEMU ? &qemu_program
                                        : NULL;
}

static bool decode(DaemonCall *call, const RpcIncoming *incoming, GError **error)
{
    const RpcProcedure *procedure = call->procedure;
    arena_init(&call->arena, call->client->authenticated ? ARGS_LIMIT : ARGS_LIMIT_UNAUTHENTICATED);
    XdrReader reader = { incoming->payload, incoming->payload + incoming->size };
    if (procedure->args) {
        call->args = arena_alloc(&call->arena, procedure->args->size);
        if (!call->args) {
            daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
            return false;
        }
        if (!xdr_decode(&reader, &call->arena, procedure->args, call->args, error)) {
            return false;
        }
    }
    if (reader.at != reader.end) {
        daemon_error_set(error, DAEMON_ERROR_RPC, "%s: bytes follow the arguments",
                         procedure->name);
        return false;
    }
    if (procedure->ret) {
        call->ret = arena_alloc(&call->arena, procedure->ret->size);
        if (!call->ret) {
            daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
            return false;
        }
    }
    return true;
}

static void take_fds(DaemonCall *call, RpcIncoming *incoming)
{
    for (unsigned i = 0; i < incoming->n_fds; i++) {
        call->in_fds[i] = incoming->fds[i];
        incoming->fds[i] = -1;
    }
    call->n_in_fds = incoming->n_fds;
}

/* What the message calls. NULL with @error. */
static const RpcProcedure *find_procedure(DaemonClient *client, const RpcHeader *header,
                                          const RpcProgram **out_program, GError **error)
{
    const RpcProgram *program = find_program(client, header->program);
    if (!program || program->version != header->version) {
        daemon_error_set(error, DAEMON_ERROR_RPC, "unknown program: 0x%x version %u",
                         header->program, header->version);
        return NULL;
    }
    const RpcProcedure *procedure = rpc_program_find(program, header->procedure);
    if (!procedure || procedure->access == RPC_ACCESS_EVENT) {
        daemon_error_set(error, DAEMON_ERROR_RPC, "unknown procedure: %u", header->procedure);
        return NULL;
    }
    *out_program = program;
    return procedure;
}

void call_receive(DaemonClient *client, RpcIncoming *incoming)
{
    g_autoptr(GError) error = NULL;
    const RpcHeader *header = &incoming->header;
    const RpcProgram *program;
    const RpcProcedure *procedure = find_procedure(client, header, &program, &error);
    if (!procedure || !check_access(client, procedure, &error)) {
        client_send_error(client, header, RPC_REPLY, procedure, error);
        return;
    }
    const DispatchEntry *entry =
        server_find_handler(client->server, program->number, procedure->number);
    DaemonCall *call = g_new0(DaemonCall, 1);
    call->client = client_ref(client);
    call->program = program;
    call->procedure = procedure;
    call->entry = entry;
    call->serial = header->serial;
    take_fds(call, incoming);
    bool ok = decode(call, incoming, &error) && check_rights(client, call, &error);
    if (ok && !entry) {
        g_autofree char *name = spoken_name(procedure);
        const char *reason = unsupported_reason(program, procedure);
        daemon_error_set(&error, DAEMON_ERROR_NO_SUPPORT,
                         "this function is not supported by the connection driver: '%s'%s%s", name,
                         reason ? ": " : "", reason ?: "");
        ok = false;
    }
    if (!ok) {
        finish(call, g_steal_pointer(&error));
    } else if (entry->run_inline) {
        run(call);
    } else {
        call_start(call);
    }
}
