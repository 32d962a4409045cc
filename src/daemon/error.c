/* GError to libvirt's error struct.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/error.h"

#include "base/compiler.h"
#include "conf/error.h"
#include "gbase/error.h"

#include <string.h>

#define LEVEL_ERROR 2

GQuark daemon_error_quark(void)
{
    return g_quark_from_static_string("lodge-daemon-error");
}

void daemon_error_no_domain(GError **error, const RemoteDomain *dom)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&dom->uuid, uuid);
    daemon_error_set(error, DAEMON_ERROR_NO_DOMAIN,
                     "Domain not found: no domain with matching uuid '%s' (%s)", uuid, dom->name);
}

bool daemon_check_flags(uint32_t flags, uint32_t known, GError **error)
{
    if (flags & ~known) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "unsupported flags (0x%x); known here: 0x%x", flags & ~known, known);
        return false;
    }
    return true;
}

DaemonErrorCode daemon_error_code(const GError *error)
{
    static const struct {
        LodgeErrorCode from;
        DaemonErrorCode to;
    } map[] = {
        { LODGE_ERROR_INVALID_ARGUMENT, DAEMON_ERROR_INVALID_ARG },
        { LODGE_ERROR_CONFIG, DAEMON_ERROR_CONFIG_UNSUPPORTED },
        { LODGE_ERROR_UNSUPPORTED, DAEMON_ERROR_OPERATION_UNSUPPORTED },
        { LODGE_ERROR_NOT_FOUND, DAEMON_ERROR_SYSTEM },
        { LODGE_ERROR_EXISTS, DAEMON_ERROR_OPERATION_FAILED },
        { LODGE_ERROR_BUSY, DAEMON_ERROR_RESOURCE_BUSY },
        { LODGE_ERROR_STATE, DAEMON_ERROR_OPERATION_INVALID },
        { LODGE_ERROR_PERMISSION, DAEMON_ERROR_SYSTEM },
        { LODGE_ERROR_AUTH, DAEMON_ERROR_AUTH_FAILED },
        { LODGE_ERROR_IO, DAEMON_ERROR_SYSTEM },
        { LODGE_ERROR_NO_SPACE, DAEMON_ERROR_SYSTEM },
        { LODGE_ERROR_NO_MEMORY, DAEMON_ERROR_NO_MEMORY },
        { LODGE_ERROR_LIMIT, DAEMON_ERROR_OPERATION_FAILED },
        { LODGE_ERROR_TIMEOUT, DAEMON_ERROR_TIMEOUT },
        { LODGE_ERROR_CANCELLED, DAEMON_ERROR_OPERATION_ABORTED },
        { LODGE_ERROR_CORRUPT, DAEMON_ERROR_XML },
        { LODGE_ERROR_PROTOCOL, DAEMON_ERROR_RPC },
        { LODGE_ERROR_CONNECTION, DAEMON_ERROR_SYSTEM },
    };
    if (error->domain == DAEMON_ERROR || error->domain == CONF_ERROR) {
        return (DaemonErrorCode)error->code;
    }
    if (error->domain == LODGE_ERROR) {
        for (size_t i = 0; i < ARRAY_LENGTH(map); i++) {
            if ((int)map[i].from == error->code) {
                return map[i].to;
            }
        }
    }
    return DAEMON_ERROR_INTERNAL;
}

/* libvirt's numbers for the parts of it that errors come from. */
static int error_domain(const RpcProcedure *procedure)
{
    static const struct {
        const char *prefix;
        int domain;
    } map[] = {
        { "AUTH_", 7 },       { "DOMAIN_SNAPSHOT", 35 }, { "DOMAIN_CHECKPOINT", 69 },
        { "NETWORK_", 19 },   { "STORAGE_", 18 },        { "NODE_DEVICE_", 22 },
        { "INTERFACE_", 26 }, { "NWFILTER_", 33 },       { "SECRET_", 30 },
        { "DOMAIN_", 10 },    { "CONNECT_COMPARE", 31 }, { "CONNECT_BASELINE", 31 },
        { "CONNECT_", 10 },   { "NODE_", 10 },
    };
    for (size_t i = 0; procedure && i < ARRAY_LENGTH(map); i++) {
        if (g_str_has_prefix(procedure->name, map[i].prefix)) {
            return map[i].domain;
        }
    }
    return 7;
}

void daemon_error_to_wire(const GError *error, const RpcProcedure *procedure, RemoteError *out)
{
    *out = (RemoteError){
        .code = (int32_t)daemon_error_code(error),
        .domain = error_domain(procedure),
        .message = error->message,
        .level = LEVEL_ERROR,
        .str1 = "%s",
        .str2 = error->message,
        .int1 = -1,
        .int2 = -1,
    };
    if (out->code == DAEMON_ERROR_RPC) {
        out->domain = 7;
    } else if (error->domain == CONF_ERROR && out->domain == 10) {
        out->domain = 20; /* libvirt's for definitions of domains */
    }
}
