/* Errors as libvirt's clients know them: the codes they branch on.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_ERROR_H
#define LODGE_DAEMON_ERROR_H

#include "schema/remote.h"

#include <glib.h>

/* libvirt's numbers (virErrorNumber). */
typedef enum DaemonErrorCode {
    DAEMON_ERROR_INTERNAL = 1,
    DAEMON_ERROR_NO_MEMORY = 2,
    DAEMON_ERROR_NO_SUPPORT = 3,
    DAEMON_ERROR_INVALID_CONN = 6,
    DAEMON_ERROR_INVALID_ARG = 8,
    DAEMON_ERROR_OPERATION_FAILED = 9,
    DAEMON_ERROR_XML = 27,
    DAEMON_ERROR_OPERATION_DENIED = 29,
    DAEMON_ERROR_XML_DETAIL = 35,
    DAEMON_ERROR_SYSTEM = 38,
    DAEMON_ERROR_RPC = 39,
    DAEMON_ERROR_NO_DOMAIN = 42,
    DAEMON_ERROR_NO_NETWORK = 43,
    DAEMON_ERROR_AUTH_FAILED = 45,
    DAEMON_ERROR_NO_STORAGE_POOL = 49,
    DAEMON_ERROR_NO_STORAGE_VOL = 50,
    DAEMON_ERROR_NO_NODE_DEVICE = 53,
    DAEMON_ERROR_OPERATION_INVALID = 55,
    DAEMON_ERROR_NO_INTERFACE = 57,
    DAEMON_ERROR_NO_NWFILTER = 62,
    DAEMON_ERROR_NO_SECRET = 66,
    DAEMON_ERROR_CONFIG_UNSUPPORTED = 67,
    DAEMON_ERROR_TIMEOUT = 68,
    DAEMON_ERROR_NO_DOMAIN_SNAPSHOT = 72,
    DAEMON_ERROR_INVALID_STREAM = 73,
    DAEMON_ERROR_ARGUMENT_UNSUPPORTED = 74,
    DAEMON_ERROR_OPERATION_ABORTED = 78,
    DAEMON_ERROR_AUTH_CANCELLED = 79,
    DAEMON_ERROR_NO_DOMAIN_METADATA = 80,
    DAEMON_ERROR_OPERATION_UNSUPPORTED = 84,
    DAEMON_ERROR_AGENT_UNRESPONSIVE = 86,
    DAEMON_ERROR_RESOURCE_BUSY = 87,
    DAEMON_ERROR_ACCESS_DENIED = 88,
    DAEMON_ERROR_CPU_INCOMPATIBLE = 91,
    DAEMON_ERROR_XML_INVALID_SCHEMA = 92,
    DAEMON_ERROR_AUTH_UNAVAILABLE = 94,
    DAEMON_ERROR_NO_CLIENT = 96,
    DAEMON_ERROR_DEVICE_MISSING = 99,
    DAEMON_ERROR_NO_DOMAIN_CHECKPOINT = 103,
    DAEMON_ERROR_NO_DOMAIN_BACKUP = 104,
    DAEMON_ERROR_NO_NETWORK_PORT = 107,
    DAEMON_ERROR_NO_HOSTNAME = 108,
    DAEMON_ERROR_AGENT_COMMAND_TIMEOUT = 112,
    DAEMON_ERROR_AGENT_COMMAND_FAILED = 113,
} DaemonErrorCode;

/* GError domain whose codes are the numbers above. Errors of LODGE_ERROR and CONF_ERROR may be
 * returned as well: daemon_error_code() maps them. */
#define DAEMON_ERROR (daemon_error_quark())
GQuark daemon_error_quark(void);

/* g_set_error() with DAEMON_ERROR. */
#define daemon_error_set(error, code, ...) g_set_error((error), DAEMON_ERROR, (code), __VA_ARGS__)

/* "domain 'NAME'/UUID is not there" and its code, when no domain has what a client sent. */
void daemon_error_no_domain(GError **error, const RemoteDomain *dom);

/* False, with DAEMON_ERROR_INVALID_ARG naming the bits, when @flags has others than @known. */
bool daemon_check_flags(uint32_t flags, uint32_t known, GError **error);

/* libvirt's number for any GError. */
DaemonErrorCode daemon_error_code(const GError *error);

/* The struct of an error reply. @procedure: tells the error domain (10 QEMU, 19 network, ...).
 * Strings are borrowed from @error. */
void daemon_error_to_wire(const GError *error, const RpcProcedure *procedure, RemoteError *out);

#endif
