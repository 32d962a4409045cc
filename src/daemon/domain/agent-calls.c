/* Procedures that the agent inside the guest carries out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent.h"

#include "daemon/domain/handlers.h"
#include "daemon/domain/json-peer.h"

#include <string.h>

#define NS_PER_SECOND 1000000000LL

/* --- any command --- */

bool handle_qemu_domain_agent_command(DaemonCall *call, const QemuDomainAgentCommandArgs *args,
                                      QemuDomainAgentCommandRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->timeout < AGENT_TIMEOUT_BLOCK) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "invalid argument: timeout %d",
                         args->timeout);
        return false;
    }
    if (!agent_check(domain, error)) {
        return false;
    }
    g_autoptr(GError) reason = NULL;
    g_autoptr(JsonObject) message = json_peer_parse(args->cmd, strlen(args->cmd), &reason);
    if (!message) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: cannot parse json: %s",
                         reason->message);
        return false;
    }
    JsonObject *answer = agent_exchange(domain, message, args->timeout, &reason);
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    if (answer) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
        json_node_take_object(node, answer);
        ret->result = arena_take(call_arena(call), json_to_string(node, FALSE), g_free);
    }
    return true;
}

bool handle_domain_agent_set_response_timeout(DaemonCall *call,
                                              const RemoteDomainAgentSetResponseTimeoutArgs *args,
                                              RemoteDomainAgentSetResponseTimeoutRet *ret,
                                              GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->timeout < AGENT_TIMEOUT_BLOCK) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: guest agent timeout "
                         "'%d' is less than the minimum '%d'",
                         args->timeout, AGENT_TIMEOUT_BLOCK);
        return false;
    }
    g_mutex_lock(&domain->lock);
    domain->agent_timeout_s = args->timeout;
    g_mutex_unlock(&domain->lock);
    ret->result = 0;
    return true;
}

/* --- users --- */

bool handle_domain_set_user_password(DaemonCall *call, const RemoteDomainSetUserPasswordArgs *args,
                                     GError **error)
{
    enum { PASSWORD_ENCRYPTED = 1 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, PASSWORD_ENCRYPTED, error)) {
        return false;
    }
    if (!args->user || !args->password) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: user and password are needed");
        return false;
    }
    g_autofree char *encoded =
        g_base64_encode((const guchar *)args->password, strlen(args->password));
    return agent_run(domain, "guest-set-user-password",
                     qmp_object("s:username", args->user, "s:password", encoded, "b:crypted",
                                (args->flags & PASSWORD_ENCRYPTED) != 0, NULL),
                     error);
}

bool handle_domain_authorized_ssh_keys_get(DaemonCall *call,
                                           const RemoteDomainAuthorizedSshKeysGetArgs *args,
                                           RemoteDomainAuthorizedSshKeysGetRet *ret, GError **error)
{
    enum { KEYS_MAX = 2048 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(JsonNode) answer =
        domain && daemon_check_flags(args->flags, 0, error)
            ? agent_ask(domain, "guest-ssh-get-authorized-keys",
                        qmp_object("s:username", args->user, NULL), AGENT_TIMEOUT_DEFAULT, error)
            : NULL;
    if (!answer) {
        return false;
    }
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    JsonArray *keys = json_peer_array(object, "keys");
    guint count = keys ? MIN(json_array_get_length(keys), KEYS_MAX) : 0;
    ret->keys = arena_alloc_array(call_arena(call), count + 1, sizeof(*ret->keys));
    for (guint i = 0; ret->keys && i < count; i++) {
        JsonNode *key = json_array_get_element(keys, i);
        if (JSON_NODE_HOLDS_VALUE(key) && json_node_get_value_type(key) == G_TYPE_STRING) {
            ret->keys[ret->n_keys++] = arena_strdup(call_arena(call), json_node_get_string(key));
        }
    }
    return true;
}

static JsonArray *string_array(const char *const *texts, uint32_t n)
{
    JsonArray *array = json_array_new();
    for (uint32_t i = 0; i < n; i++) {
        json_array_add_string_element(array, texts[i]);
    }
    return array;
}

bool handle_domain_authorized_ssh_keys_set(DaemonCall *call,
                                           const RemoteDomainAuthorizedSshKeysSetArgs *args,
                                           GError **error)
{
    enum { KEYS_APPEND = 1, KEYS_REMOVE = 2 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, KEYS_APPEND | KEYS_REMOVE, error)) {
        return false;
    }
    if (args->flags == (KEYS_APPEND | KEYS_REMOVE)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: append and remove exclude each other");
        return false;
    }
    JsonObject *arguments =
        qmp_object("s:username", args->user, "a:keys",
                   string_array((const char *const *)args->keys, args->n_keys), NULL);
    if (args->flags & KEYS_REMOVE) {
        return agent_run(domain, "guest-ssh-remove-authorized-keys", arguments, error);
    }
    json_object_set_boolean_member(arguments, "reset", !(args->flags & KEYS_APPEND));
    return agent_run(domain, "guest-ssh-add-authorized-keys", arguments, error);
}

/* --- file systems --- */

static bool ask_count(Domain *domain, const char *command, JsonObject *arguments, int32_t *out,
                      GError **error)
{
    g_autoptr(JsonNode) answer =
        agent_ask(domain, command, arguments, AGENT_TIMEOUT_DEFAULT, error);
    if (answer && JSON_NODE_HOLDS_VALUE(answer)) {
        *out = (int32_t)CLAMP(json_node_get_int(answer), 0, INT32_MAX);
    }
    return answer != NULL;
}

bool handle_domain_fsfreeze(DaemonCall *call, const RemoteDomainFsfreezeArgs *args,
                            RemoteDomainFsfreezeRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (!args->n_mountpoints) {
        return ask_count(domain, "guest-fsfreeze-freeze", NULL, &ret->filesystems, error);
    }
    JsonArray *list = string_array((const char *const *)args->mountpoints, args->n_mountpoints);
    return ask_count(domain, "guest-fsfreeze-freeze-list", qmp_object("a:mountpoints", list, NULL),
                     &ret->filesystems, error);
}

bool handle_domain_fsthaw(DaemonCall *call, const RemoteDomainFsthawArgs *args,
                          RemoteDomainFsthawRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->n_mountpoints) {
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         "argument unsupported: the agent thaws all file systems at once");
        return false;
    }
    return ask_count(domain, "guest-fsfreeze-thaw", NULL, &ret->filesystems, error);
}

bool handle_domain_fstrim(DaemonCall *call, const RemoteDomainFstrimArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->mount_point) {
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         "argument unsupported: the agent trims all file systems at once");
        return false;
    }
    return agent_run(domain, "guest-fstrim",
                     qmp_object("i:minimum", (gint64)MIN(args->minimum, G_MAXINT64), NULL), error);
}

/* --- time --- */

bool handle_domain_get_time(DaemonCall *call, const RemoteDomainGetTimeArgs *args,
                            RemoteDomainGetTimeRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(JsonNode) answer =
        domain && daemon_check_flags(args->flags, 0, error)
            ? agent_ask(domain, "guest-get-time", NULL, AGENT_TIMEOUT_DEFAULT, error)
            : NULL;
    if (!answer) {
        return false;
    }
    gint64 ns = JSON_NODE_HOLDS_VALUE(answer) ? json_node_get_int(answer) : 0;
    ret->seconds = ns / NS_PER_SECOND;
    ret->nseconds = (uint32_t)MAX(ns % NS_PER_SECOND, 0);
    return true;
}

bool handle_domain_set_time(DaemonCall *call, const RemoteDomainSetTimeArgs *args, GError **error)
{
    enum { TIME_SYNC = 1 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, TIME_SYNC, error)) {
        return false;
    }
    if (args->seconds < 0 || args->seconds > G_MAXINT64 / NS_PER_SECOND - 1 ||
        args->nseconds >= NS_PER_SECOND) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: time '%lld' is too big for guest agent",
                         (long long)args->seconds);
        return false;
    }
    JsonObject *arguments = json_object_new();
    if (!(args->flags & TIME_SYNC)) {
        json_object_set_int_member(arguments, "time",
                                   args->seconds * NS_PER_SECOND + args->nseconds);
    }
    return agent_run(domain, "guest-set-time", arguments, error);
}

/* --- sleep, name --- */

bool handle_domain_pm_suspend_for_duration(DaemonCall *call,
                                           const RemoteDomainPmSuspendForDurationArgs *args,
                                           GError **error)
{
    static const char *const commands[] = { "guest-suspend-ram", "guest-suspend-disk",
                                            "guest-suspend-hybrid" };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->duration || args->target >= G_N_ELEMENTS(commands)) {
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         args->duration ? "argument unsupported: Duration not supported. Use 0"
                                        : "argument unsupported: Unknown suspend target");
        return false;
    }
    return agent_send(domain, commands[args->target], NULL, error);
}

bool handle_domain_get_hostname(DaemonCall *call, const RemoteDomainGetHostnameArgs *args,
                                RemoteDomainGetHostnameRet *ret, GError **error)
{
    enum { BY_LEASE = 1, BY_AGENT = 2 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, BY_LEASE | BY_AGENT, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool is_active = domain_check_active_locked(domain, error);
    g_mutex_unlock(&domain->lock);
    if (!is_active) {
        return false;
    }
    if (args->flags == BY_LEASE) {
        daemon_error_set(error, DAEMON_ERROR_NO_HOSTNAME,
                         "no hostname found: no managed network has a lease for the domain; ask "
                         "the agent (--source agent)");
        return false;
    }
    g_autoptr(JsonNode) answer =
        agent_ask(domain, "guest-get-host-name", NULL, AGENT_TIMEOUT_DEFAULT, error);
    if (!answer) {
        return false;
    }
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    ret->hostname = arena_strdup(call_arena(call), json_peer_string(object, "host-name") ?: "");
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_agent_set_response_timeout),
    HANDLER(domain_authorized_ssh_keys_get),
    HANDLER(domain_authorized_ssh_keys_set),
    HANDLER(domain_fsfreeze),
    HANDLER(domain_fsthaw),
    HANDLER(domain_fstrim),
    HANDLER(domain_get_hostname),
    HANDLER(domain_get_time),
    HANDLER(domain_pm_suspend_for_duration),
    HANDLER(domain_set_time),
    HANDLER(domain_set_user_password),
    HANDLER(qemu_domain_agent_command),
};

const DaemonModule domain_agent_module = {
    .name = "domain-agent",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
