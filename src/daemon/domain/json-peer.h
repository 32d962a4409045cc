/* JSON from a peer that is not trusted: the monitor of a guest, or the agent inside it.
 *
 * Splits bytes into lines, and turns a line into an object when its size and depth are sane.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_JSON_PEER_H
#define LODGE_DAEMON_DOMAIN_JSON_PEER_H

#include <json-glib/json-glib.h>
#include <stdbool.h>

#define JSON_PEER_LINE_MAX (8u << 20)
#define JSON_PEER_DEPTH_MAX 64u

typedef struct JsonLines {
    GByteArray *bytes;
    gsize taken;   /* before it are lines that were taken */
    gsize scanned; /* no newline between them and it */
    gsize max;     /* bytes of a line */
} JsonLines;

void json_lines_init(JsonLines *lines, gsize max);
void json_lines_done(JsonLines *lines);

/* Adds bytes. False with @error (LIMIT): a line is too long; the peer is to be dropped. */
bool json_lines_add(JsonLines *lines, const void *data, gsize size, GError **error);

/* Takes the next whole line, without its end (transfer full), or NULL: there is none yet. Lines
 * without anything but white space are left out. */
char *json_lines_take(JsonLines *lines, gsize *out_size);

/* Parses one line, which must be an object (transfer full). NULL with @error (PROTOCOL). */
JsonObject *json_peer_parse(const char *line, gsize size, GError **error);

/* Members of untrusted objects: a default where it is absent or of another type. */
const char *json_peer_string(JsonObject *object, const char *name); /* borrowed, or NULL */
gint64 json_peer_int(JsonObject *object, const char *name, gint64 otherwise);
bool json_peer_bool(JsonObject *object, const char *name, bool otherwise);
JsonObject *json_peer_object(JsonObject *object, const char *name); /* borrowed, or NULL */
JsonArray *json_peer_array(JsonObject *object, const char *name);   /* borrowed, or NULL */

/* The object at @index of @array, or NULL. */
JsonObject *json_peer_element(JsonArray *array, guint index);

#endif
