/* liblodge: connections and the host.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/dial.h"
#include "client/private.h"

#include "gbase/error.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CODE_INTERNAL 1
#define CODE_NO_MEMORY 2
#define CODE_SYSTEM 38
#define CODE_AUTH_FAILED 45
#define CODE_RPC 39
#define CODE_INVALID_ARG 8

/* Stands for errors that there is no memory for. */
static LodgeError no_memory = { CODE_NO_MEMORY, (char *)"out of memory" };

void lodge_error_free(LodgeError *error)
{
    if (error && error != &no_memory) {
        free(error->message);
        free(error);
    }
}

void lodge_free(void *ptr)
{
    free(ptr);
}

/* libvirt's number for what went wrong on our side. */
static int code_of(const GError *error)
{
    if (error->domain == RPC_CLIENT_ERROR) {
        return error->code;
    }
    if (error->domain != LODGE_ERROR) {
        return CODE_INTERNAL;
    }
    switch (error->code) {
    case LODGE_ERROR_INVALID_ARGUMENT:
        return CODE_INVALID_ARG;
    case LODGE_ERROR_AUTH:
        return CODE_AUTH_FAILED;
    case LODGE_ERROR_PROTOCOL:
    case LODGE_ERROR_LIMIT:
        return CODE_RPC;
    default:
        return CODE_SYSTEM;
    }
}

int lodge_fail_memory(LodgeError **out_error)
{
    if (out_error) {
        *out_error = &no_memory;
    }
    return -1;
}

int lodge_fail(GError *error, LodgeError **out_error)
{
    LodgeError *out = out_error ? malloc(sizeof(*out)) : NULL;
    char *message = out ? strdup(error->message) : NULL;
    if (message) {
        *out = (LodgeError){ code_of(error), message };
        *out_error = out;
    } else {
        free(out);
        lodge_fail_memory(out_error);
    }
    g_error_free(error);
    return -1;
}

LodgeConnection *lodge_open_asking(const char *uri, unsigned flags, LodgeAskFunc ask, void *opaque,
                                   LodgeError **out_error)
{
    GError *error = NULL;
    DialTarget target;
    static const char *const variables[] = { "LODGE_URI", "LIBVIRT_DEFAULT_URI" };
    for (unsigned i = 0; !uri && i < G_N_ELEMENTS(variables); i++) {
        const char *value = getenv(variables[i]);
        uri = value && *value ? value : NULL;
    }
    uri = uri ? uri : geteuid() == 0 ? "qemu:///system" : "qemu:///session";
    if (!dial_parse(uri, &target, &error)) {
        lodge_fail(error, out_error);
        return NULL;
    }
    target.read_only = flags & LODGE_OPEN_READ_ONLY;
    target.no_start = flags & LODGE_OPEN_NO_START;
    LodgeConnection *connection = g_new0(LodgeConnection, 1);
    g_mutex_init(&connection->watches_lock);
    g_queue_init(&connection->early);
    connection->watches = g_array_new(FALSE, FALSE, sizeof(EventWatch));
    connection->client = dial_open(&target, ask, opaque, connection_deliver, connection, &error);
    dial_clear(&target);
    if (!connection->client) {
        lodge_close(connection);
        lodge_fail(error, out_error);
        return NULL;
    }
    return connection;
}

LodgeConnection *lodge_open(const char *uri, unsigned flags, LodgeError **out_error)
{
    return lodge_open_asking(uri, flags, NULL, NULL, out_error);
}

void lodge_close(LodgeConnection *connection)
{
    if (connection) {
        rpc_client_free(connection->client);
        g_array_free(connection->watches, TRUE);
        g_queue_clear_full(&connection->early, g_free);
        g_mutex_clear(&connection->watches_lock);
        g_free(connection);
    }
}

int lodge_is_alive(LodgeConnection *connection)
{
    return rpc_client_is_alive(connection->client);
}

int lodge_call(LodgeConnection *connection, uint32_t program, uint32_t procedure,
               const void *payload, size_t size, void **out_reply, size_t *out_reply_size,
               LodgeError **out_error)
{
    GError *error = NULL;
    GBytes *reply;
    if (!rpc_client_call_raw(connection->client, program, procedure, payload, size, &reply,
                             &error)) {
        return lodge_fail(error, out_error);
    }
    gsize reply_size;
    const void *bytes = g_bytes_get_data(reply, &reply_size);
    void *copy = malloc(reply_size ? reply_size : 1);
    if (copy && reply_size) {
        memcpy(copy, bytes, reply_size);
    }
    g_bytes_unref(reply);
    if (!copy) {
        return lodge_fail_memory(out_error);
    }
    *out_reply = copy;
    *out_reply_size = reply_size;
    return 0;
}

/* A procedure without arguments whose result begins with a string. */
static char *get_string(LodgeConnection *connection, uint32_t procedure, void *ret,
                        const char *const *member, LodgeError **out_error)
{
    GError *error = NULL;
    Arena arena;
    char *text = NULL;
    arena_init(&arena, ANSWER_LIMIT);
    if (rpc_client_call(connection->client, &remote_program, procedure, NULL, &arena, ret,
                        &error)) {
        text = strdup(*member);
        if (!text) {
            lodge_fail_memory(out_error);
        }
    } else {
        lodge_fail(error, out_error);
    }
    arena_clear(&arena);
    return text;
}

char *lodge_get_hostname(LodgeConnection *connection, LodgeError **error)
{
    RemoteConnectGetHostnameRet ret = { 0 };
    return get_string(connection, REMOTE_PROC_CONNECT_GET_HOSTNAME, &ret, &ret.hostname, error);
}

char *lodge_get_uri(LodgeConnection *connection, LodgeError **error)
{
    RemoteConnectGetUriRet ret = { 0 };
    return get_string(connection, REMOTE_PROC_CONNECT_GET_URI, &ret, &ret.uri, error);
}

char *lodge_get_capabilities(LodgeConnection *connection, LodgeError **error)
{
    RemoteConnectGetCapabilitiesRet ret = { 0 };
    return get_string(connection, REMOTE_PROC_CONNECT_GET_CAPABILITIES, &ret, &ret.capabilities,
                      error);
}

int lodge_get_version(LodgeConnection *connection, uint64_t *out_version, LodgeError **out_error)
{
    GError *error = NULL;
    RemoteConnectGetVersionRet ret;
    if (!remote_connect_get_version(connection->client, NULL, &ret, &error)) {
        return lodge_fail(error, out_error);
    }
    *out_version = ret.hv_ver;
    return 0;
}

int lodge_get_node_info(LodgeConnection *connection, LodgeNodeInfo *out_info,
                        LodgeError **out_error)
{
    GError *error = NULL;
    RemoteNodeGetInfoRet ret;
    if (!remote_node_get_info(connection->client, NULL, &ret, &error)) {
        return lodge_fail(error, out_error);
    }
    *out_info = (LodgeNodeInfo){
        .memory_kib = ret.memory,
        .cpus = (unsigned)ret.cpus,
        .mhz = (unsigned)ret.mhz,
        .nodes = (unsigned)ret.nodes,
        .sockets = (unsigned)ret.sockets,
        .cores = (unsigned)ret.cores,
        .threads = (unsigned)ret.threads,
    };
    memcpy(out_info->model, ret.model, sizeof(out_info->model));
    out_info->model[sizeof(out_info->model) - 1] = '\0';
    return 0;
}
