/* What is known about a procedure of the protocol: the rows of src/schema/remote.tsv.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_WIRE_PROCEDURE_H
#define LODGE_RPC_WIRE_PROCEDURE_H

#include "rpc/wire/xdr.h"

typedef enum RpcProgramNumber {
    RPC_PROGRAM_REMOTE = 0x20008086,
    RPC_PROGRAM_QEMU = 0x20008087,
    RPC_PROGRAM_KEEPALIVE = 0x6b656570,
    RPC_PROGRAM_ADMIN = 0x06900690,
} RpcProgramNumber;

typedef enum RpcFlags {
    RPC_PRIORITY = 1 << 0, /* may not wait for a guest */
    RPC_STREAM_TO_CLIENT = 1 << 1,
    RPC_STREAM_TO_SERVER = 1 << 2,
    RPC_FDS_IN_CALL = 1 << 3,
    RPC_FDS_IN_REPLY = 1 << 4,
    RPC_EVENT = 1 << 5, /* a message; calling it is an error */
} RpcFlags;

typedef enum RpcAccess {
    RPC_ACCESS_OPEN, /* also before authentication */
    RPC_ACCESS_READ,
    RPC_ACCESS_WRITE, /* refused on read-only connections */
    RPC_ACCESS_EVENT,
} RpcAccess;

/* Makes a RPC_ACCESS_READ call a write when the member at @offset fits. */
typedef struct RpcAccessCondition {
    const char *permission;
    uint16_t offset; /* of a 32-bit member of the arguments */
    uint32_t mask;   /* any of these bits; 0: equal to @value */
    uint32_t value;
} RpcAccessCondition;

/* The objects that events are about; each has its own numbers for events. */
typedef enum RpcEventObject {
    RPC_EVENT_NONE,
    RPC_EVENT_DOMAIN,
    RPC_EVENT_NETWORK,
    RPC_EVENT_STORAGE_POOL,
    RPC_EVENT_NODE_DEVICE,
    RPC_EVENT_SECRET,
    RPC_EVENT_CONNECT,
    RPC_EVENT_QEMU_MONITOR,
} RpcEventObject;

typedef struct RpcProcedure {
    uint32_t number;
    const char *name;      /* as in the table: "DOMAIN_CREATE" */
    uint32_t flags;        /* RpcFlags */
    const XdrStruct *args; /* NULL: none */
    const XdrStruct *ret;  /* NULL: none */
    RpcAccess access;
    const char *permission;              /* "domain.start"; NULL for RPC_ACCESS_OPEN and events */
    const RpcAccessCondition *condition; /* or NULL */
    RpcEventObject event_object;
    int event_id; /* number that clients register for */
} RpcProcedure;

typedef struct RpcProgram {
    uint32_t number;
    uint32_t version;
    const char *name;
    const RpcProcedure *procedures; /* by number, from 1; @number is 0 where there is none */
    uint32_t n_procedures;
} RpcProgram;

/* Returns: the procedure, or NULL when the program has none of that number. */
static inline const RpcProcedure *rpc_program_find(const RpcProgram *program, uint32_t number)
{
    if (number == 0 || number > program->n_procedures ||
        program->procedures[number - 1].number == 0) {
        return NULL;
    }
    return &program->procedures[number - 1];
}

#endif
