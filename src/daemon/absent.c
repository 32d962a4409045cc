/* Networks, storage, interfaces, node devices, filters and secrets: there are none of them, which
 * is what lists and lookups answer. Whatever else is asked about them finds no handler and is
 * refused. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/error.h"
#include "daemon/modules.h"

/* *@ret is zeroed: no items, none counted. Their argument types differ, they are not looked at. */
static bool answer_none(DaemonCall *call, const void *args, void *ret, GError **error)
{
    (void)call;
    (void)args;
    (void)ret;
    (void)error;
    return true;
}

typedef struct Lookup {
    uint32_t procedure;
    DaemonErrorCode code;
    const char *what;
    bool by_uuid;
} Lookup;

static const Lookup lookups[] = {
    { REMOTE_PROC_NETWORK_LOOKUP_BY_NAME, DAEMON_ERROR_NO_NETWORK,
      "Network not found: no network with matching name", false },
    { REMOTE_PROC_NETWORK_LOOKUP_BY_UUID, DAEMON_ERROR_NO_NETWORK,
      "Network not found: no network with matching uuid", true },
    { REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_NAME, DAEMON_ERROR_NO_STORAGE_POOL,
      "Storage pool not found: no storage pool with matching name", false },
    { REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_UUID, DAEMON_ERROR_NO_STORAGE_POOL,
      "Storage pool not found: no storage pool with matching uuid", true },
    { REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_TARGET_PATH, DAEMON_ERROR_NO_STORAGE_POOL,
      "Storage pool not found: no storage pool with matching target path", false },
    { REMOTE_PROC_STORAGE_VOL_LOOKUP_BY_KEY, DAEMON_ERROR_NO_STORAGE_VOL,
      "Storage volume not found: no storage vol with matching key", false },
    { REMOTE_PROC_INTERFACE_LOOKUP_BY_NAME, DAEMON_ERROR_NO_INTERFACE,
      "Interface not found: no interface with matching name", false },
    { REMOTE_PROC_INTERFACE_LOOKUP_BY_MAC_STRING, DAEMON_ERROR_NO_INTERFACE,
      "Interface not found: no interface with matching mac", false },
    { REMOTE_PROC_NODE_DEVICE_LOOKUP_BY_NAME, DAEMON_ERROR_NO_NODE_DEVICE,
      "Node device not found: no node device with matching name", false },
    { REMOTE_PROC_NWFILTER_LOOKUP_BY_NAME, DAEMON_ERROR_NO_NWFILTER,
      "Network filter not found: no nwfilter with matching name", false },
    { REMOTE_PROC_NWFILTER_LOOKUP_BY_UUID, DAEMON_ERROR_NO_NWFILTER,
      "Network filter not found: no nwfilter with matching uuid", true },
    { REMOTE_PROC_SECRET_LOOKUP_BY_UUID, DAEMON_ERROR_NO_SECRET,
      "Secret not found: no secret with matching uuid", true },
};

/* All of them have one member: a string or a UUID. */
static bool answer_not_found(DaemonCall *call, const void *args, void *ret, GError **error)
{
    (void)ret;
    uint32_t procedure = call_procedure(call)->number;
    for (unsigned i = 0; i < G_N_ELEMENTS(lookups); i++) {
        const Lookup *lookup = &lookups[i];
        if (lookup->procedure != procedure) {
            continue;
        }
        char text[UUID_TEXT_SIZE];
        const char *key = text;
        if (lookup->by_uuid) {
            uuid_format(args, text);
        } else {
            key = *(const char *const *)args;
        }
        daemon_error_set(error, lookup->code, "%s '%s'", lookup->what, key);
    }
    return false;
}

#define NONE(NAME)                                                                                 \
    {                                                                                              \
        RPC_PROGRAM_REMOTE, REMOTE_PROC_##NAME, answer_none, true                                  \
    }
#define NOT_FOUND(NAME)                                                                            \
    {                                                                                              \
        RPC_PROGRAM_REMOTE, REMOTE_PROC_##NAME, answer_not_found, true                             \
    }

static const DispatchEntry handlers[] = {
    NONE(CONNECT_NUM_OF_NETWORKS),
    NONE(CONNECT_NUM_OF_DEFINED_NETWORKS),
    NONE(CONNECT_NUM_OF_STORAGE_POOLS),
    NONE(CONNECT_NUM_OF_DEFINED_STORAGE_POOLS),
    NONE(CONNECT_NUM_OF_INTERFACES),
    NONE(CONNECT_NUM_OF_DEFINED_INTERFACES),
    NONE(CONNECT_NUM_OF_SECRETS),
    NONE(CONNECT_NUM_OF_NWFILTERS),
    NONE(NODE_NUM_OF_DEVICES),
    NONE(CONNECT_LIST_NETWORKS),
    NONE(CONNECT_LIST_DEFINED_NETWORKS),
    NONE(CONNECT_LIST_STORAGE_POOLS),
    NONE(CONNECT_LIST_DEFINED_STORAGE_POOLS),
    NONE(CONNECT_LIST_INTERFACES),
    NONE(CONNECT_LIST_DEFINED_INTERFACES),
    NONE(CONNECT_LIST_SECRETS),
    NONE(CONNECT_LIST_NWFILTERS),
    NONE(NODE_LIST_DEVICES),
    NONE(CONNECT_LIST_ALL_NETWORKS),
    NONE(CONNECT_LIST_ALL_STORAGE_POOLS),
    NONE(CONNECT_LIST_ALL_INTERFACES),
    NONE(CONNECT_LIST_ALL_NODE_DEVICES),
    NONE(CONNECT_LIST_ALL_NWFILTERS),
    NONE(CONNECT_LIST_ALL_NWFILTER_BINDINGS),
    NONE(CONNECT_LIST_ALL_SECRETS),
    NOT_FOUND(NETWORK_LOOKUP_BY_NAME),
    NOT_FOUND(NETWORK_LOOKUP_BY_UUID),
    NOT_FOUND(STORAGE_POOL_LOOKUP_BY_NAME),
    NOT_FOUND(STORAGE_POOL_LOOKUP_BY_UUID),
    NOT_FOUND(STORAGE_POOL_LOOKUP_BY_TARGET_PATH),
    NOT_FOUND(STORAGE_VOL_LOOKUP_BY_KEY),
    NOT_FOUND(INTERFACE_LOOKUP_BY_NAME),
    NOT_FOUND(INTERFACE_LOOKUP_BY_MAC_STRING),
    NOT_FOUND(NODE_DEVICE_LOOKUP_BY_NAME),
    NOT_FOUND(NWFILTER_LOOKUP_BY_NAME),
    NOT_FOUND(NWFILTER_LOOKUP_BY_UUID),
    NOT_FOUND(SECRET_LOOKUP_BY_UUID),
};

const DaemonModule absent_module = {
    .name = "absent",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
