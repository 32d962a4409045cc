/* The admin program: virt-admin and the like on the admin socket. One server, named "lodged".
 * Left out: log filters and outputs, thread pools (workers come and go by need).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/error.h"
#include "daemon/modules.h"
#include "daemon/server.h"

#include <string.h>

#define SERVER_NAME "lodged"
#define LIBVIRT_VERSION 11003000u
#define CODE_NO_SERVER 95

typedef enum ClientTransport { TRANSPORT_UNIX, TRANSPORT_TCP, TRANSPORT_TLS } ClientTransport;

bool handle_admin_connect_open(DaemonCall *call, const AdminConnectOpenArgs *args, GError **error)
{
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    call->client->opened = true;
    return true;
}

bool handle_admin_connect_close(DaemonCall *call, GError **error)
{
    (void)error;
    call->client->opened = false;
    return true;
}

bool handle_admin_connect_get_lib_version(DaemonCall *call, AdminConnectGetLibVersionRet *ret,
                                          GError **error)
{
    (void)call;
    (void)error;
    ret->lib_ver = LIBVIRT_VERSION;
    return true;
}

bool handle_admin_connect_list_servers(DaemonCall *call, const AdminConnectListServersArgs *args,
                                       AdminConnectListServersRet *ret, GError **error)
{
    (void)error;
    ret->ret = 1;
    if (args->need_results) {
        ret->servers = arena_alloc(call_arena(call), sizeof(*ret->servers));
        if (ret->servers) {
            ret->servers[0].name = SERVER_NAME;
            ret->n_servers = 1;
        }
    }
    return true;
}

static bool check_server(const char *name, GError **error)
{
    if (strcmp(name, SERVER_NAME) != 0) {
        daemon_error_set(error, CODE_NO_SERVER,
                         "no server with matching name '%s' found; there is '" SERVER_NAME "'",
                         name);
        return false;
    }
    return true;
}

bool handle_admin_connect_lookup_server(DaemonCall *call, const AdminConnectLookupServerArgs *args,
                                        AdminConnectLookupServerRet *ret, GError **error)
{
    (void)call;
    ret->srv.name = SERVER_NAME;
    return check_server(args->name, error);
}

static ClientTransport transport_of(const DaemonClient *client)
{
    return client->local                            ? TRANSPORT_UNIX
           : rpc_connection_tls(client->connection) ? TRANSPORT_TLS
                                                    : TRANSPORT_TCP;
}

static void describe(const DaemonClient *client, RemoteAdminClient *out)
{
    *out = (RemoteAdminClient){ .srv = { SERVER_NAME },
                                .id = client->id,
                                .timestamp = client->since_s,
                                .transport = transport_of(client) };
}

bool handle_admin_server_list_clients(DaemonCall *call, const AdminServerListClientsArgs *args,
                                      AdminServerListClientsRet *ret, GError **error)
{
    DaemonServer *server = call->client->server;
    if (!check_server(args->srv.name, error)) {
        return false;
    }
    ret->ret = server->n_clients;
    if (!args->need_results) {
        return true;
    }
    ret->clients = arena_alloc_array(call_arena(call), server->n_clients, sizeof(*ret->clients));
    if (!ret->clients) {
        daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    list_for_each(&server->clients, client, DaemonClient, node) {
        describe(client, &ret->clients[ret->n_clients++]);
    }
    return true;
}

static DaemonClient *find_client(DaemonServer *server, uint64_t id, GError **error)
{
    list_for_each(&server->clients, client, DaemonClient, node) {
        if (client->id == id) {
            return client;
        }
    }
    daemon_error_set(error, DAEMON_ERROR_NO_CLIENT, "no client with matching id '%llu' found",
                     (unsigned long long)id);
    return NULL;
}

bool handle_admin_server_lookup_client(DaemonCall *call, const AdminServerLookupClientArgs *args,
                                       AdminServerLookupClientRet *ret, GError **error)
{
    const DaemonClient *client = check_server(args->srv.name, error)
                                     ? find_client(call->client->server, args->id, error)
                                     : NULL;
    if (client) {
        describe(client, &ret->clnt);
    }
    return client != NULL;
}

bool handle_admin_client_get_info(DaemonCall *call, const AdminClientGetInfoArgs *args,
                                  AdminClientGetInfoRet *ret, GError **error)
{
    enum { PARAMS_MAX = 8 };
    const DaemonClient *client = find_client(call->client->server, args->clnt.id, error);
    TypedParam *params =
        client ? arena_alloc_array(call_arena(call), PARAMS_MAX, sizeof(TypedParam)) : NULL;
    if (!params) {
        return false;
    }
    const DaemonIdentity *who = &client->identity;
    uint32_t n = 0;
    params[n++] = (TypedParam){ "readonly", TYPED_PARAM_BOOLEAN, { .b = who->read_only } };
    if (client->local) {
        params[n++] = (TypedParam){ "unix_user_id", TYPED_PARAM_INT, { .i = (int)who->uid } };
        params[n++] = (TypedParam){ "unix_group_id", TYPED_PARAM_INT, { .i = (int)who->gid } };
        params[n++] = (TypedParam){ "unix_process_id", TYPED_PARAM_INT, { .i = who->pid } };
    }
    if (who->user_name) {
        params[n++] = (TypedParam){ "unix_user_name",
                                    TYPED_PARAM_STRING,
                                    { .s = arena_strdup(call_arena(call), who->user_name) } };
    }
    if (who->sasl_name) {
        params[n++] = (TypedParam){ "sasl_user_name",
                                    TYPED_PARAM_STRING,
                                    { .s = arena_strdup(call_arena(call), who->sasl_name) } };
    }
    if (who->x509_name) {
        params[n++] = (TypedParam){ "tls_x509_dname",
                                    TYPED_PARAM_STRING,
                                    { .s = arena_strdup(call_arena(call), who->x509_name) } };
    }
    ret->params = params;
    ret->n_params = n;
    return true;
}

bool handle_admin_client_close(DaemonCall *call, const AdminClientCloseArgs *args, GError **error)
{
    DaemonClient *client = find_client(call->client->server, args->clnt.id, error);
    if (client) {
        /* Later on the loop, since it may be the one that asks. */
        rpc_connection_abort(client->connection, "an administrator closed it");
    }
    return client != NULL;
}

bool handle_admin_server_get_client_limits(DaemonCall *call,
                                           const AdminServerGetClientLimitsArgs *args,
                                           AdminServerGetClientLimitsRet *ret, GError **error)
{
    const DaemonServer *server = call->client->server;
    const struct {
        const char *name;
        unsigned value;
    } rows[] = {
        { "nclients_max", server->limits.max_clients },
        { "nclients", server->n_clients },
        { "nclients_unauth_max", server->limits.max_anonymous_clients },
        { "nclients_unauth", server_count_unauthenticated(call->client->server) },
    };
    if (!check_server(args->srv.name, error)) {
        return false;
    }
    ret->params = arena_alloc_array(call_arena(call), G_N_ELEMENTS(rows), sizeof(*ret->params));
    for (unsigned i = 0; ret->params && i < G_N_ELEMENTS(rows); i++) {
        ret->params[i] = (TypedParam){ rows[i].name, TYPED_PARAM_UINT, { .ui = rows[i].value } };
        ret->n_params = i + 1;
    }
    return true;
}

bool handle_admin_server_set_client_limits(DaemonCall *call,
                                           const AdminServerSetClientLimitsArgs *args,
                                           GError **error)
{
    ServerLimits limits = call->client->server->limits;
    if (!check_server(args->srv.name, error)) {
        return false;
    }
    for (uint32_t i = 0; i < args->n_params; i++) {
        const TypedParam *param = &args->params[i];
        bool is_all = strcmp(param->field, "nclients_max") == 0;
        if (param->type != TYPED_PARAM_UINT || param->value.ui == 0 ||
            (!is_all && strcmp(param->field, "nclients_unauth_max") != 0)) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "limit '%s' cannot be set so",
                             param->field);
            return false;
        }
        *(is_all ? &limits.max_clients : &limits.max_anonymous_clients) = param->value.ui;
    }
    call->client->server->limits = limits;
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER_INLINE(admin_connect_open),
    HANDLER_INLINE(admin_connect_close),
    HANDLER_INLINE(admin_connect_get_lib_version),
    HANDLER_INLINE(admin_connect_list_servers),
    HANDLER_INLINE(admin_connect_lookup_server),
    HANDLER_INLINE(admin_server_list_clients),
    HANDLER_INLINE(admin_server_lookup_client),
    HANDLER_INLINE(admin_client_get_info),
    HANDLER_INLINE(admin_client_close),
    HANDLER_INLINE(admin_server_get_client_limits),
    HANDLER_INLINE(admin_server_set_client_limits),
};

const DaemonModule admin_module = {
    .name = "admin",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
