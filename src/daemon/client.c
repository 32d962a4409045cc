/* A client's connection: what comes in goes to calls or streams; keepalive; end of life.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/client.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/event-queue-private.h"
#include "daemon/server.h"

/* Past this much unread output nothing more is read from the client. */
#define OUTPUT_PAUSE_BYTES (1u << 20)

/* From a failure to authenticate to its answer. */
#define REFUSAL_NS (2 * NS_PER_SEC)

typedef struct CloseHook {
    unsigned handle;
    void (*func)(void *opaque);
    void *opaque;
} CloseHook;

DaemonClient *client_ref(DaemonClient *client)
{
    g_atomic_int_inc(&client->refs);
    return client;
}

void client_unref(DaemonClient *client)
{
    if (!client || !g_atomic_int_dec_and_test(&client->refs)) {
        return;
    }
    rpc_connection_unref(client->connection);
    g_hash_table_destroy(client->streams);
    g_array_free(client->hooks, TRUE);
    g_mutex_clear(&client->hooks_lock);
    scram_server_free(client->scram);
    g_free((char *)client->identity.user_name);
    g_free((char *)client->identity.sasl_name);
    g_free((char *)client->identity.x509_name);
    g_free(client);
}

uint64_t client_id(const DaemonClient *client)
{
    return client->id;
}

unsigned client_on_close(DaemonClient *client, void (*func)(void *opaque), void *opaque)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->hooks_lock);
    if (client->hooks_ran) {
        return 0;
    }
    CloseHook hook = { ++client->next_hook, func, opaque };
    g_array_append_val(client->hooks, hook);
    return hook.handle;
}

bool client_off_close(DaemonClient *client, unsigned handle)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->hooks_lock);
    for (unsigned i = 0; i < client->hooks->len; i++) {
        if (g_array_index(client->hooks, CloseHook, i).handle == handle) {
            g_array_remove_index(client->hooks, i);
            return true;
        }
    }
    return false;
}

static bool pop_hook(DaemonClient *client, CloseHook *out)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&client->hooks_lock);
    if (client->hooks->len == 0) {
        client->hooks_ran = true;
        return false;
    }
    *out = g_array_index(client->hooks, CloseHook, 0);
    g_array_remove_index(client->hooks, 0);
    return true;
}

/* Everything that hangs on the connection goes. */
static void tear_down(DaemonClient *client, const char *reason)
{
    if (client->closed) {
        return;
    }
    client->closed = true;
    log_debug("client %" G_GUINT64_FORMAT ": %s", client->id, reason);
    event_queue_drop_client(client->daemon->events, client);
    stream_close_all(client);
    CloseHook hook;
    while (pop_hook(client, &hook)) {
        hook.func(hook.opaque);
    }
    DaemonCall *call;
    while ((call = g_queue_pop_head(&client->pending))) {
        call_free(call);
    }
    if (client->refused) {
        call_free(g_steal_pointer(&client->refused));
    }
    g_clear_error(&client->refusal);
    server_remove_client(client->server, client);
}

void client_close(DaemonClient *client, const char *reason)
{
    rpc_connection_close(client->connection);
    tear_down(client, reason);
}

void client_set_pause(DaemonClient *client, ClientPause why, bool on)
{
    unsigned before = client->pause;
    client->pause = on ? before | why : before & ~(unsigned)why;
    if ((before != 0) != (client->pause != 0)) {
        rpc_connection_pause(client->connection, client->pause != 0);
    }
}

void client_set_authenticated(DaemonClient *client)
{
    client->authenticated = true;
    rpc_connection_set_limit(client->connection, RPC_MESSAGE_MAX);
}

void client_refuse(DaemonCall *call, GError *why)
{
    DaemonClient *client = call_client(call);
    log_warn("client %" G_GUINT64_FORMAT " failed to authenticate: %s", client->id, why->message);
    client->refused = call_hold(call);
    client->refusal = why;
    client->refuse_at_ns = clock_monotonic_ns() + REFUSAL_NS;
    client_set_pause(client, PAUSE_REFUSAL, true);
}

static void tell_refusal(DaemonClient *client)
{
    call_finish(g_steal_pointer(&client->refused), g_steal_pointer(&client->refusal));
    client_close(client, "it failed to authenticate");
}

static void send_keepalive(DaemonClient *client, uint32_t procedure)
{
    RpcHeader header = { RPC_PROGRAM_KEEPALIVE, 1, procedure, RPC_MESSAGE, 0, RPC_OK };
    g_autoptr(RpcMessage) message = rpc_message_new(&header);
    if (rpc_message_finish(message)) {
        rpc_connection_send(client->connection, g_steal_pointer(&message));
    }
}

void client_tick(DaemonClient *client, int64_t now_ns)
{
    const ServerLimits *limits = &client->server->limits;
    if (client->refused) {
        if (now_ns >= client->refuse_at_ns) {
            tell_refusal(client);
        }
        return;
    }
    if (!client->authenticated && now_ns >= client->deadline_ns) {
        client_close(client, "it did not authenticate in time");
        return;
    }
    if (!client->answers_pings || limits->keepalive_interval_s == 0 ||
        now_ns < client->next_ping_ns) {
        return;
    }
    if (client->pings_missed >= limits->keepalive_count) {
        client_close(client, "it does not answer pings");
        return;
    }
    client->pings_missed++;
    client->next_ping_ns = now_ns + (int64_t)limits->keepalive_interval_s * NS_PER_SEC;
    send_keepalive(client, KEEPALIVE_PROC_PING);
}

static void on_message(void *opaque, RpcIncoming *incoming)
{
    g_autoptr(DaemonClient) client = client_ref(opaque);
    const RpcHeader *header = &incoming->header;
    client->pings_missed = 0;
    if (header->program == RPC_PROGRAM_KEEPALIVE) {
        if (header->procedure == KEEPALIVE_PROC_PING && header->type == RPC_MESSAGE) {
            send_keepalive(client, KEEPALIVE_PROC_PONG);
        }
    } else if (header->type == RPC_CALL || header->type == RPC_CALL_WITH_FDS) {
        call_receive(client, incoming);
    } else if (header->type == RPC_STREAM || header->type == RPC_STREAM_HOLE) {
        stream_receive(client, incoming);
    } else {
        client_close(client, "it sent a message of a type that clients do not send");
        return;
    }
    if (!client->closed && rpc_connection_queued(client->connection) > OUTPUT_PAUSE_BYTES) {
        client_set_pause(client, PAUSE_OUTPUT, true);
    }
}

static void on_drained(void *opaque)
{
    DaemonClient *client = client_ref(opaque);
    client_set_pause(client, PAUSE_OUTPUT, false);
    if (!client->closed) {
        stream_wake_all(client);
    }
    client_unref(client);
}

static void on_secured(void *opaque)
{
    DaemonClient *client = opaque;
    client->identity.x509_name =
        g_strdup(rpc_tls_peer_name(rpc_connection_tls(client->connection)));
    if (!server_allows(client->server->tls_names, client->identity.x509_name)) {
        log_warn("a client is refused: its certificate's name '%s' is not on tls_allowed_dn_list",
                 client->identity.x509_name ? client->identity.x509_name : "(none)");
        rpc_connection_abort(client->connection, "its certificate's name is not allowed");
        return;
    }
    rpc_connection_send(client->connection, rpc_message_new_byte(1));
    if (client->auth == AUTH_METHOD_NONE) {
        client_set_authenticated(client);
    }
}

static void on_closed(void *opaque, const char *reason)
{
    tear_down(opaque, reason);
}

static const RpcConnectionOps connection_ops = {
    .message = on_message,
    .drained = on_drained,
    .secured = on_secured,
    .closed = on_closed,
};

DaemonClient *client_new(DaemonServer *server, int fd)
{
    DaemonClient *client = g_new0(DaemonClient, 1);
    client->refs = 1;
    client->daemon = server->daemon;
    client->server = server;
    client->streams = g_hash_table_new(NULL, NULL);
    client->hooks = g_array_new(FALSE, FALSE, sizeof(CloseHook));
    g_mutex_init(&client->hooks_lock);
    g_queue_init(&client->pending);
    list_init(&client->node);
    client->since_s = clock_realtime_ns() / NS_PER_SEC;
    client->deadline_ns = clock_monotonic_ns() + (int64_t)server->limits.login_s * NS_PER_SEC;
    client->connection = rpc_connection_new(server->loop, fd, &connection_ops, client);
    if (!client->connection) {
        client_unref(client);
        return NULL;
    }
    return client;
}
