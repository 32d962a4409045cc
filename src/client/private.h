/* What liblodge's files share.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_CLIENT_PRIVATE_H
#define LODGE_CLIENT_PRIVATE_H

#include "client/lodge.h"
#include "client/rpc-client.h"

/* Memory that one answer may take. */
#define ANSWER_LIMIT ((size_t)1 << 30)

typedef struct EventWatch {
    int id; /* the daemon's callback id */
    LodgeEventFunc func;
    void *opaque;
} EventWatch;

/* An event of a number that is not known yet. */
typedef struct EarlyEvent {
    int32_t callback_id;
    LodgeEvent event; /* its pointers lead here */
    unsigned char uuid[LODGE_UUID_BYTES];
    char name[];
} EarlyEvent;

struct LodgeConnection {
    RpcClient *client;
    GMutex watches_lock;    /* what follows */
    RpcClientEventFunc tap; /* sees every event first; NULL: none */
    void *tap_opaque;
    GArray *watches;
    unsigned registering; /* watches whose number is on its way */
    GQueue early;         /* EarlyEvent that may be for those */
};

/* Moves @error, which is freed, into *@out_error. Returns -1. */
int lodge_fail(GError *error, LodgeError **out_error);

/* The same where there is no memory. Returns: -1. */
int lodge_fail_memory(LodgeError **out_error);

/* The handle on the wire; strings borrowed. */
RemoteDomain domain_to_wire(const LodgeDomain *domain);
LodgeDomain *domain_from_wire(const RemoteDomain *wire);

/* Lets @func see every event, decoded, on the connection's thread; NULL ends that. For programs
 * that need more of an event than LodgeEvent has. */
void lodge_tap_events(LodgeConnection *connection, RpcClientEventFunc func, void *opaque);
/* An event from the connection's thread. */
void connection_deliver(void *connection, const RpcProgram *program, const RpcProcedure *procedure,
                        const void *message);

#endif
