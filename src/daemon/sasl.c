/* Authentication by SASL: SCRAM-SHA-256, which needs no secret on the wire.
 *
 * One failure ends the connection, after a while; all that wait count against
 * max_anonymous_clients.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/error.h"
#include "daemon/modules.h"
#include "daemon/server.h"

#include <string.h>

static bool check_method(DaemonCall *call, GError **error)
{
    DaemonClient *client = call->client;
    if (client->authenticated || client->auth != AUTH_METHOD_SASL) {
        daemon_error_set(error, DAEMON_ERROR_AUTH_FAILED,
                         "SASL is not what this connection is authenticated by");
        return false;
    }
    if (!client->server->scram_store) {
        daemon_error_set(error, DAEMON_ERROR_AUTH_UNAVAILABLE,
                         "no credentials are set up; name a sasl_file in lodged.conf");
        return false;
    }
    return true;
}

bool handle_auth_sasl_init(DaemonCall *call, RemoteAuthSaslInitRet *ret, GError **error)
{
    ret->mechlist = SCRAM_MECHANISM;
    return check_method(call, error);
}

/* The next message of the exchange; the call is held where it fails. */
static void step(DaemonCall *call, const char *data, uint32_t size, int32_t *out_complete,
                 char **out_data, uint32_t *out_size)
{
    DaemonClient *client = call->client;
    bool complete = false;
    char *reply = NULL;
    g_autoptr(GError) why = NULL;
    if (!scram_server_step(client->scram, data, size, &reply, &complete, &why)) {
        GError *refusal = NULL;
        daemon_error_set(&refusal, DAEMON_ERROR_AUTH_FAILED, "%s", why->message);
        client_refuse(call, refusal);
        return;
    }
    *out_data = arena_take(call_arena(call), reply, NULL);
    *out_size = (uint32_t)strlen(reply);
    *out_complete = complete;
    if (complete && !server_allows(client->server->sasl_users, scram_server_user(client->scram))) {
        log_warn("user '%s' is refused: not on sasl_allowed_username_list",
                 scram_server_user(client->scram));
        GError *refusal = NULL;
        daemon_error_set(&refusal, DAEMON_ERROR_AUTH_FAILED, "authentication failed");
        client_refuse(call, refusal);
        return;
    }
    if (complete) {
        client->identity.sasl_name = g_strdup(scram_server_user(client->scram));
        g_clear_pointer(&client->scram, scram_server_free);
        client_set_authenticated(client);
    }
}

bool handle_auth_sasl_start(DaemonCall *call, const RemoteAuthSaslStartArgs *args,
                            RemoteAuthSaslStartRet *ret, GError **error)
{
    DaemonClient *client = call->client;
    if (!check_method(call, error)) {
        return false;
    }
    if (strcmp(args->mech, SCRAM_MECHANISM) != 0 || client->scram) {
        daemon_error_set(error, DAEMON_ERROR_AUTH_FAILED, "authentication by '%s' is not possible",
                         args->mech);
        return false;
    }
    client->scram = scram_server_new(client->server->scram_store);
    step(call, args->data, args->n_data, &ret->complete, &ret->data, &ret->n_data);
    return true;
}

bool handle_auth_sasl_step(DaemonCall *call, const RemoteAuthSaslStepArgs *args,
                           RemoteAuthSaslStepRet *ret, GError **error)
{
    if (!check_method(call, error)) {
        return false;
    }
    if (!call->client->scram) {
        daemon_error_set(error, DAEMON_ERROR_AUTH_FAILED, "authentication was not started");
        return false;
    }
    step(call, args->data, args->n_data, &ret->complete, &ret->data, &ret->n_data);
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER_INLINE(auth_sasl_init),
    HANDLER_INLINE(auth_sasl_start),
    HANDLER_INLINE(auth_sasl_step),
};

const DaemonModule sasl_module = {
    .name = "sasl",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
