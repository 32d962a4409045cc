/* The agent's bytes. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent-reader.h"

#include "gbase/error.h"

#include <string.h>

#define DELIMITER 0xff

void agent_reader_init(AgentReader *reader, gint64 sync_id)
{
    *reader = (AgentReader){ .sync_id = sync_id };
    json_lines_init(&reader->lines, AGENT_LINE_MAX);
}

void agent_reader_done(AgentReader *reader)
{
    json_lines_done(&reader->lines);
}

/* Forgets what came so far: it was meant for somebody else. */
static void start_over(AgentReader *reader)
{
    json_lines_done(&reader->lines);
    json_lines_init(&reader->lines, AGENT_LINE_MAX);
}

/* Looks for the answer to the sync among the lines. */
static void find_sync(AgentReader *reader)
{
    gsize size;
    char *line;
    while (!reader->is_synced && (line = json_lines_take(&reader->lines, &size))) {
        JsonObject *object = json_peer_parse(line, size, NULL);
        g_free(line);
        if (object && json_peer_int(object, "return", -1) == reader->sync_id) {
            reader->is_synced = true;
        }
        g_clear_pointer(&object, json_object_unref);
    }
}

bool agent_reader_add(AgentReader *reader, const void *data, gsize size, GError **error)
{
    const guint8 *bytes = data;
    while (size) {
        const guint8 *mark = reader->is_synced ? NULL : memchr(bytes, DELIMITER, size);
        gsize part = mark ? (gsize)(mark - bytes) : size;
        if ((reader->is_delimited || reader->is_synced) && part &&
            !json_lines_add(&reader->lines, bytes, part, error)) {
            return false;
        }
        find_sync(reader);
        if (mark && !reader->is_synced) {
            start_over(reader);
            reader->is_delimited = true;
        }
        part += mark != NULL;
        bytes += part;
        size -= part;
    }
    return true;
}

JsonObject *agent_reader_take(AgentReader *reader, GError **error)
{
    gsize size;
    g_autofree char *line = reader->is_synced ? json_lines_take(&reader->lines, &size) : NULL;
    return line ? json_peer_parse(line, size, error) : NULL;
}
