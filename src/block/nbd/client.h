/* An NBD client: many requests in flight on one connection, which is made again when it breaks.
 *
 * There is no thread of its own: whoever waits for a reply reads replies, for itself and for
 * others, one thread at a time. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_CLIENT_H
#define LODGE_BLOCK_NBD_CLIENT_H

#include "block/nbd/address.h"
#include "block/nbd/handshake.h"
#include "block/nbd/proto.h"

#define NBD_EXTENTS_MAX 256

typedef struct NbdClient NbdClient;

typedef struct NbdClientOptions {
    NbdAddress address;               /* (transfer full) also on failure */
    NbdTls *tls;                      /* (transfer full) or NULL */
    char *tls_host;                   /* (transfer full) or NULL */
    char *context;                    /* (transfer full); NULL: base:allocation */
    unsigned reconnect_delay_seconds; /* how long requests wait for a new connection */
    unsigned open_timeout_seconds;    /* how long opening tries; 0: once */
} NbdClientOptions;

/* Connects and negotiates. NULL with @error. */
NbdClient *nbd_client_new(NbdClientOptions *options, GError **error);
/* Over a socket that is connected (transfer full, also on failure); it is not made again. */
NbdClient *nbd_client_new_on(int fd, GError **error);
/* Says goodbye. No request is in flight. NULL is accepted. */
void nbd_client_free(NbdClient *client);

/* What the server said first; a later connection must agree. */
const NbdFacts *nbd_client_facts(const NbdClient *client);

typedef struct NbdExtent {
    uint32_t length, flags;
} NbdExtent;

/* A request as the caller has it. */
typedef struct NbdJob {
    NbdCommand command;
    uint16_t flags; /* NBD_CMD_FLAG_... */
    uint64_t offset;
    uint32_t length;
    const BlockVec *vec; /* READ, WRITE */
    uint64_t skip;       /* in @vec */
    NbdExtent *extents;  /* BLOCK_STATUS: room for NBD_EXTENTS_MAX */
    unsigned extent_count;
} NbdJob;

/* Executes @job. Returns 0 or -errno. Context: any thread; blocks. */
int nbd_client_run(NbdClient *client, NbdJob *job) LODGE_MUST_CHECK;

#endif
