/* Procedures about the connection itself: authentication, opening, features, versions, events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/modules.h"

#include "base/log.h"
#include "daemon/error.h"
#include "daemon/event-queue-private.h"
#include "daemon/server.h"

#include <unistd.h>

/* What clients take to know what they may ask for: a libvirt of this age. */
#define LIBVIRT_VERSION 11003000u

#define OPEN_READ_ONLY 1u
#define CODE_NO_CONNECT 5
#define HOST_NAME_BYTES 256

bool handle_auth_list(DaemonCall *call, RemoteAuthListRet *ret, GError **error)
{
    (void)error;
    ret->types = arena_alloc(call_arena(call), sizeof(*ret->types));
    if (ret->types) {
        ret->types[0] = (int32_t)call->client->auth;
        ret->n_types = 1;
    }
    return ret->types != NULL;
}

/* qemu:///system and the like, also lodge:///...; an empty name leaves it to the daemon. */
static bool is_our_uri(const char *name)
{
    if (!name || !*name) {
        return true;
    }
    const char *rest = g_str_has_prefix(name, "qemu:")    ? name + 5
                       : g_str_has_prefix(name, "lodge:") ? name + 6
                                                          : NULL;
    if (!rest || !g_str_has_prefix(rest, "//")) {
        return false;
    }
    const char *path = strchr(rest + 2, '/');
    if (!path) {
        return false;
    }
    size_t length = strcspn(path, "?");
    return (length == 7 && strncmp(path, "/system", 7) == 0) ||
           (length == 8 && strncmp(path, "/session", 8) == 0);
}

bool handle_connect_open(DaemonCall *call, const RemoteConnectOpenArgs *args, GError **error)
{
    DaemonClient *client = call->client;
    if (client->opened) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "connection already open");
        return false;
    }
    if (!is_our_uri(args->name)) {
        daemon_error_set(error, CODE_NO_CONNECT,
                         "no connection driver available for '%s'; there are qemu:///system and "
                         "qemu:///session",
                         args->name);
        return false;
    }
    /* libvirt's client sends flags of its own with it, of a session's daemon that it started for
     * one: they mean nothing to the daemon. */
    client->opened = true;
    client->identity.read_only |= args->flags & OPEN_READ_ONLY;
    return true;
}

bool handle_connect_close(DaemonCall *call, GError **error)
{
    (void)error;
    event_queue_drop_client(call_daemon(call)->events, call->client);
    call->client->opened = false;
    return true;
}

bool handle_connect_get_type(DaemonCall *call, RemoteConnectGetTypeRet *ret, GError **error)
{
    (void)call;
    (void)error;
    ret->type = "QEMU";
    return true;
}

bool handle_connect_get_lib_version(DaemonCall *call, RemoteConnectGetLibVersionRet *ret,
                                    GError **error)
{
    (void)call;
    (void)error;
    ret->lib_ver = LIBVIRT_VERSION;
    return true;
}

bool handle_connect_get_hostname(DaemonCall *call, RemoteConnectGetHostnameRet *ret, GError **error)
{
    char name[HOST_NAME_BYTES] = "";
    if (gethostname(name, sizeof(name) - 1) < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot read the host's name: %s",
                         g_strerror(errno));
        return false;
    }
    ret->hostname = arena_strdup(call_arena(call), name);
    return true;
}

bool handle_connect_get_uri(DaemonCall *call, RemoteConnectGetUriRet *ret, GError **error)
{
    (void)error;
    ret->uri = call_daemon(call)->uri;
    return true;
}

bool handle_connect_is_secure(DaemonCall *call, RemoteConnectIsSecureRet *ret, GError **error)
{
    (void)error;
    ret->secure = call->client->local || rpc_connection_tls(call->client->connection) != NULL;
    return true;
}

bool handle_connect_supports_feature(DaemonCall *call, const RemoteConnectSupportsFeatureArgs *args,
                                     RemoteConnectSupportsFeatureRet *ret, GError **error)
{
    enum { FEATURE_FD_PASSING = 8, FEATURE_KEEPALIVE = 10, FEATURES = 17 };
    /* By libvirt's number. Not: 1 and 5, migration that the client would have to drive. */
    static const bool supported[FEATURES] = {
        [2] = true,  /* remote */
        [3] = true,  /* migration, version 2 */
        [4] = true,  /* migration, peer to peer */
        [6] = true,  /* migration, version 3 */
        [7] = true,  /* migration, change protection */
        [8] = true,  /* descriptors with messages */
        [9] = true,  /* strings in typed parameters */
        [10] = true, /* keepalive */
        [11] = true, /* migratable XML */
        [12] = true, /* migration of what does not run */
        [13] = true, /* migration, extensible parameters */
        [14] = true, /* events with callback numbers */
        [15] = true, /* close callback */
        [16] = true, /* arguments of NETWORK_UPDATE in their right order */
    };
    (void)error;
    DaemonClient *client = call->client;
    if (args->feature == FEATURE_KEEPALIVE) {
        client->answers_pings = true;
    }
    bool is_known = args->feature >= 0 && args->feature < FEATURES && supported[args->feature];
    ret->supported = is_known && (args->feature != FEATURE_FD_PASSING || client->local);
    return true;
}

bool handle_connect_register_close_callback(DaemonCall *call, GError **error)
{
    (void)call;
    (void)error;
    return true;
}

bool handle_connect_unregister_close_callback(DaemonCall *call, GError **error)
{
    (void)call;
    (void)error;
    return true;
}

/* For daemons in front of this one, which speak for others: they must be as trusted as we are. */
bool handle_connect_set_identity(DaemonCall *call, const RemoteConnectSetIdentityArgs *args,
                                 GError **error)
{
    (void)args;
    const DaemonIdentity *identity = call_identity(call);
    if (identity->uid != 0 && identity->uid != geteuid()) {
        daemon_error_set(error, DAEMON_ERROR_ACCESS_DENIED,
                         "only root and the daemon's own user may speak for others");
        return false;
    }
    return true;
}

/* --- events --- */

static bool register_for(DaemonCall *call, RpcEventObject object, int32_t event_id,
                         const EventSubject *subject, int32_t *out_callback_id, GError **error)
{
    *out_callback_id = event_queue_register(call_daemon(call)->events, call, object, event_id,
                                            subject, NULL, NULL, error);
    return *out_callback_id >= 0;
}

static bool deregister(DaemonCall *call, RpcEventObject object, int32_t callback_id, GError **error)
{
    return event_queue_deregister(call_daemon(call)->events, call->client, object, callback_id,
                                  error);
}

bool handle_connect_domain_event_callback_register_any(
    DaemonCall *call, const RemoteConnectDomainEventCallbackRegisterAnyArgs *args,
    RemoteConnectDomainEventCallbackRegisterAnyRet *ret, GError **error)
{
    EventSubject subject = { 0 };
    if (args->dom) {
        subject = (EventSubject){ args->dom->name, args->dom->uuid };
    }
    return register_for(call, RPC_EVENT_DOMAIN, args->event_id, args->dom ? &subject : NULL,
                        &ret->callback_id, error);
}

bool handle_connect_domain_event_callback_deregister_any(
    DaemonCall *call, const RemoteConnectDomainEventCallbackDeregisterAnyArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_DOMAIN, args->callback_id, error);
}

bool handle_connect_network_event_register_any(DaemonCall *call,
                                               const RemoteConnectNetworkEventRegisterAnyArgs *args,
                                               RemoteConnectNetworkEventRegisterAnyRet *ret,
                                               GError **error)
{
    EventSubject subject = { 0 };
    if (args->net) {
        subject = (EventSubject){ args->net->name, args->net->uuid };
    }
    return register_for(call, RPC_EVENT_NETWORK, args->event_id, args->net ? &subject : NULL,
                        &ret->callback_id, error);
}

bool handle_connect_network_event_deregister_any(
    DaemonCall *call, const RemoteConnectNetworkEventDeregisterAnyArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_NETWORK, args->callback_id, error);
}

bool handle_connect_storage_pool_event_register_any(
    DaemonCall *call, const RemoteConnectStoragePoolEventRegisterAnyArgs *args,
    RemoteConnectStoragePoolEventRegisterAnyRet *ret, GError **error)
{
    EventSubject subject = { 0 };
    if (args->pool) {
        subject = (EventSubject){ args->pool->name, args->pool->uuid };
    }
    return register_for(call, RPC_EVENT_STORAGE_POOL, args->event_id, args->pool ? &subject : NULL,
                        &ret->callback_id, error);
}

bool handle_connect_storage_pool_event_deregister_any(
    DaemonCall *call, const RemoteConnectStoragePoolEventDeregisterAnyArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_STORAGE_POOL, args->callback_id, error);
}

bool handle_connect_node_device_event_register_any(
    DaemonCall *call, const RemoteConnectNodeDeviceEventRegisterAnyArgs *args,
    RemoteConnectNodeDeviceEventRegisterAnyRet *ret, GError **error)
{
    EventSubject subject = { 0 };
    if (args->dev) {
        subject.name = args->dev->name;
    }
    return register_for(call, RPC_EVENT_NODE_DEVICE, args->event_id, args->dev ? &subject : NULL,
                        &ret->callback_id, error);
}

bool handle_connect_node_device_event_deregister_any(
    DaemonCall *call, const RemoteConnectNodeDeviceEventDeregisterAnyArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_NODE_DEVICE, args->callback_id, error);
}

bool handle_connect_secret_event_register_any(DaemonCall *call,
                                              const RemoteConnectSecretEventRegisterAnyArgs *args,
                                              RemoteConnectSecretEventRegisterAnyRet *ret,
                                              GError **error)
{
    EventSubject subject = { 0 };
    if (args->secret) {
        subject.uuid = args->secret->uuid;
    }
    return register_for(call, RPC_EVENT_SECRET, args->event_id, args->secret ? &subject : NULL,
                        &ret->callback_id, error);
}

bool handle_connect_secret_event_deregister_any(
    DaemonCall *call, const RemoteConnectSecretEventDeregisterAnyArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_SECRET, args->callback_id, error);
}

enum { MONITOR_EVENT_REGEX = 1, MONITOR_EVENT_NOCASE = 2 };

/* A client's pattern for names of events. What a match may cost is bounded: it is run for each
 * event, with the queue locked. */
static GRegex *compile_pattern(const char *text, bool ignores_case, GError **error)
{
    enum { LENGTH_MAX = 256 };
    g_autoptr(GError) reason = NULL;
    GRegex *pattern = NULL;
    if (strlen(text) <= LENGTH_MAX) {
        g_autofree char *bounded = g_strconcat("(*LIMIT_MATCH=10000)", text, NULL);
        pattern = g_regex_new(bounded, ignores_case ? G_REGEX_CASELESS : 0, 0, &reason);
    }
    if (!pattern) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: '%.*s' is no regular expression: %s", LENGTH_MAX, text,
                         reason ? reason->message : "it is longer than 256 bytes");
    }
    return pattern;
}

bool handle_qemu_connect_domain_monitor_event_register(
    DaemonCall *call, const QemuConnectDomainMonitorEventRegisterArgs *args,
    QemuConnectDomainMonitorEventRegisterRet *ret, GError **error)
{
    EventSubject subject = { 0 };
    g_autoptr(GRegex) pattern = NULL;
    if (!daemon_check_flags(args->flags, MONITOR_EVENT_REGEX | MONITOR_EVENT_NOCASE, error)) {
        return false;
    }
    if (args->event && (args->flags & MONITOR_EVENT_REGEX)) {
        pattern = compile_pattern(args->event, args->flags & MONITOR_EVENT_NOCASE, error);
        if (!pattern) {
            return false;
        }
    }
    if (args->dom) {
        subject = (EventSubject){ args->dom->name, args->dom->uuid };
    }
    ret->callback_id = event_queue_register(call_daemon(call)->events, call, RPC_EVENT_QEMU_MONITOR,
                                            0, args->dom ? &subject : NULL,
                                            pattern ? NULL : args->event, pattern, error);
    return ret->callback_id >= 0;
}

bool handle_qemu_connect_domain_monitor_event_deregister(
    DaemonCall *call, const QemuConnectDomainMonitorEventDeregisterArgs *args, GError **error)
{
    return deregister(call, RPC_EVENT_QEMU_MONITOR, args->callback_id, error);
}

static const DispatchEntry handlers[] = {
    HANDLER_INLINE(auth_list),
    HANDLER_INLINE(connect_open),
    HANDLER_INLINE(connect_close),
    HANDLER_INLINE(connect_get_type),
    HANDLER_INLINE(connect_get_lib_version),
    HANDLER_INLINE(connect_get_hostname),
    HANDLER_INLINE(connect_get_uri),
    HANDLER_INLINE(connect_is_secure),
    HANDLER_INLINE(connect_supports_feature),
    HANDLER_INLINE(connect_register_close_callback),
    HANDLER_INLINE(connect_unregister_close_callback),
    HANDLER_INLINE(connect_set_identity),
    HANDLER_INLINE(connect_domain_event_callback_register_any),
    HANDLER_INLINE(connect_domain_event_callback_deregister_any),
    HANDLER_INLINE(connect_network_event_register_any),
    HANDLER_INLINE(connect_network_event_deregister_any),
    HANDLER_INLINE(connect_storage_pool_event_register_any),
    HANDLER_INLINE(connect_storage_pool_event_deregister_any),
    HANDLER_INLINE(connect_node_device_event_register_any),
    HANDLER_INLINE(connect_node_device_event_deregister_any),
    HANDLER_INLINE(connect_secret_event_register_any),
    HANDLER_INLINE(connect_secret_event_deregister_any),
    HANDLER_INLINE(qemu_connect_domain_monitor_event_register),
    HANDLER_INLINE(qemu_connect_domain_monitor_event_deregister),
};

const DaemonModule connect_module = {
    .name = "connect",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
