/* What a guest agent (QEMU Guest Agent protocol) sends: JSON objects, one a line, after a byte 0xFF
 * that ends whatever came before. The guest is not trusted.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_AGENT_READER_H
#define LODGE_DAEMON_DOMAIN_AGENT_READER_H

#include "daemon/domain/json-peer.h"

#define AGENT_LINE_MAX (4u << 20)

typedef struct AgentReader {
    JsonLines lines;
    gint64 sync_id;
    bool is_delimited; /* the byte 0xFF came */
    bool is_synced;    /* and then the answer with sync_id */
} AgentReader;

/* @sync_id: of "guest-sync-delimited", which was sent first. */
void agent_reader_init(AgentReader *reader, gint64 sync_id);
void agent_reader_done(AgentReader *reader);

/* Adds bytes. False with @error: the agent is to be dropped. Answers to calls before the sync are
 * passed over. */
bool agent_reader_add(AgentReader *reader, const void *data, gsize size, GError **error);

/* The next answer after the sync (transfer full); NULL: there is none yet, or with @error
 * (PROTOCOL) nonsense. */
JsonObject *agent_reader_take(AgentReader *reader, GError **error);

#endif
