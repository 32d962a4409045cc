/* Envelopes of state files. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state/envelope.h"

#include <stdio.h>
#include <string.h>

#define HASH_HEX 64
#define OPENING "<!-- lodge v="
#define COMMENT_MAX 160

char *envelope_seal(const char *body, gsize size, guint64 generation)
{
    g_autofree char *hash =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)body, size);
    GString *text = g_string_sized_new(size + COMMENT_MAX);
    g_string_append_len(text, body, (gssize)size);
    g_string_append_printf(text, OPENING "%d gen=%" G_GUINT64_FORMAT " sha256=%s -->\n",
                           ENVELOPE_VERSION, generation, hash);
    return g_string_free(text, FALSE);
}

/* Where the last comment of the text begins, or NULL. */
static const char *find_comment(const char *text, gsize size)
{
    gsize first = size > COMMENT_MAX ? size - COMMENT_MAX : 0;
    for (gsize at = size; at-- > first;) {
        if (size - at >= strlen(OPENING) && memcmp(text + at, OPENING, strlen(OPENING)) == 0) {
            return text + at;
        }
    }
    return NULL;
}

Envelope envelope_open(const char *text, gsize size)
{
    Envelope envelope = { ENVELOPE_ABSENT, 0, 0, size };
    const char *comment = find_comment(text, size);
    if (!comment) {
        return envelope;
    }
    gsize body = (gsize)(comment - text);
    g_autofree char *line = g_strndup(comment, size - body);
    char hash[HASH_HEX + 1];
    int end = 0;
    if (sscanf(line, OPENING "%9u gen=%20" G_GUINT64_FORMAT " sha256=%64[0-9a-f] -->%n",
               &envelope.version, &envelope.generation, hash, &end) != 3 ||
        !end) {
        return (Envelope){ ENVELOPE_ABSENT, 0, 0, size };
    }
    envelope.body_size = body;
    if (envelope.version > ENVELOPE_VERSION) {
        envelope.state = ENVELOPE_NEWER;
        return envelope;
    }
    g_autofree char *real =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, body);
    envelope.state = strcmp(real, hash) == 0 ? ENVELOPE_INTACT : ENVELOPE_CHANGED;
    return envelope;
}
