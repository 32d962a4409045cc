/* The client's negotiation with an NBD server.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_HANDSHAKE_H
#define LODGE_BLOCK_NBD_HANDSHAKE_H

#include "block/nbd/channel.h"

/* What the client asks for; texts are borrowed. */
typedef struct NbdWish {
    const char *export_name; /* never NULL */
    const char *context;     /* of block status: "base:allocation", "qemu:dirty-bitmap:NAME" */
    NbdTls *tls;             /* NULL: plain */
    const char *tls_host;    /* see nbd_tls_session() */
} NbdWish;

/* What was agreed on. */
typedef struct NbdFacts {
    uint64_t size;
    uint16_t flags; /* NBD_CAN_... */
    uint32_t min_block, preferred_block, max_block;
    bool has_structured_replies;
    bool has_context; /* block status answers */
    uint32_t context_id;
} NbdFacts;

/* Negotiates until requests may be sent. False with @error; the connection is of no use then. */
bool nbd_handshake(NbdChannel *channel, const NbdWish *wish, NbdFacts *out_facts, GError **error);

typedef struct NbdListed {
    char *name;
    char *description; /* NULL: none */
} NbdListed;

/* The server's exports, as it lists them. Returns: an array of NbdListed (transfer full), or NULL
 * with @error. */
GArray *nbd_list(NbdChannel *channel, const NbdWish *wish, GError **error);
/* Asks about wish->export_name without using it: a server that ends with its last client goes on.
 * @contexts: gets the names of its metadata contexts (char *). A block size of 0: not said. */
bool nbd_describe(NbdChannel *channel, const NbdWish *wish, NbdFacts *out_facts,
                  GPtrArray *contexts, GError **error);

#endif
