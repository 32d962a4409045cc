/* Lines of JSON from peers that are not trusted.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/json-peer.h"

#include "gbase/error.h"

#include <string.h>

/* What stays allocated for a peer that once sent more. */
#define KEPT_MAX ((guint)1 << 20)

void json_lines_init(JsonLines *lines, gsize max)
{
    *lines = (JsonLines){ .bytes = g_byte_array_new(), .max = max };
}

void json_lines_done(JsonLines *lines)
{
    g_clear_pointer(&lines->bytes, g_byte_array_unref);
}

/* Once for each piece that comes, not for each line in it: lines may be short, and many. */
static void drop_taken(JsonLines *lines)
{
    if (lines->taken == lines->bytes->len && lines->bytes->len > KEPT_MAX) {
        g_byte_array_unref(lines->bytes);
        lines->bytes = g_byte_array_new();
    } else if (lines->taken) {
        g_byte_array_remove_range(lines->bytes, 0, (guint)lines->taken);
    }
    lines->scanned -= lines->taken;
    lines->taken = 0;
}

bool json_lines_add(JsonLines *lines, const void *data, gsize size, GError **error)
{
    drop_taken(lines);
    if (size > lines->max || lines->bytes->len > lines->max + lines->max - size) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the peer sent a message of more than %zu bytes", lines->max);
        return false;
    }
    g_byte_array_append(lines->bytes, data, (guint)size);
    if (lines->bytes->len > lines->max &&
        !memchr(lines->bytes->data + lines->scanned, '\n', lines->bytes->len - lines->scanned)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the peer sent a message of more than %zu bytes", lines->max);
        return false;
    }
    return true;
}

static bool is_blank(const guint8 *data, gsize size)
{
    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isspace(data[i])) {
            return false;
        }
    }
    return true;
}

char *json_lines_take(JsonLines *lines, gsize *out_size)
{
    for (;;) {
        const guint8 *data = lines->bytes->data;
        const guint8 *end =
            lines->bytes->len > lines->scanned
                ? memchr(data + lines->scanned, '\n', lines->bytes->len - lines->scanned)
                : NULL;
        if (!end) {
            lines->scanned = lines->bytes->len;
            drop_taken(lines);
            return NULL;
        }
        const guint8 *start = data + lines->taken;
        gsize size = (gsize)(end - start);
        lines->taken += size + 1;
        lines->scanned = lines->taken;
        if (!is_blank(start, size)) {
            *out_size = size;
            return g_strndup((const char *)start, size);
        }
    }
}

/* The parser recurses: what is nested deeper than any honest message stays out of it. */
static bool is_shallow(const char *text, gsize size)
{
    unsigned depth = 0;
    bool in_string = false;
    for (gsize i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_PEER_DEPTH_MAX) {
                return false;
            }
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return true;
}

/* The parser knows comments, in which quotes do not count; JSON has none. */
static bool has_comment(const char *text, gsize size)
{
    bool in_string = false;
    for (gsize i = 0; i < size; i++) {
        if (in_string) {
            if (text[i] == '\\') {
                i++;
            } else if (text[i] == '"') {
                in_string = false;
            }
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '/' || text[i] == '#') {
            return true;
        }
    }
    return false;
}

JsonObject *json_peer_parse(const char *line, gsize size, GError **error)
{
    if (memchr(line, 0, size) || !g_utf8_validate(line, (gssize)size, NULL) ||
        !is_shallow(line, size) || has_comment(line, size)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "the peer sent what is not JSON");
        return NULL;
    }
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) reason = NULL;
    if (!json_parser_load_from_data(parser, line, (gssize)size, &reason)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "the peer sent bad JSON: %s",
                    reason ? reason->message : "unknown");
        return NULL;
    }
    JsonNode *root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "the peer's JSON is no object");
        return NULL;
    }
    return json_node_dup_object(root);
}

static JsonNode *member(JsonObject *object, const char *name)
{
    return object ? json_object_get_member(object, name) : NULL;
}

const char *json_peer_string(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);
    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

gint64 json_peer_int(JsonObject *object, const char *name, gint64 otherwise)
{
    JsonNode *node = member(object, name);
    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64
               ? json_node_get_int(node)
               : otherwise;
}

bool json_peer_bool(JsonObject *object, const char *name, bool otherwise)
{
    JsonNode *node = member(object, name);
    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_BOOLEAN
               ? json_node_get_boolean(node)
               : otherwise;
}

JsonObject *json_peer_object(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *json_peer_array(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);
    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

JsonObject *json_peer_element(JsonArray *array, guint index)
{
    JsonNode *node =
        index < json_array_get_length(array) ? json_array_get_element(array, index) : NULL;
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}
