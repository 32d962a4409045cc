/* Specifications of images: flat keys and texts, made of names, JSON and -o style lists.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/block.h"

#include "block/drivers.h"
#include "block/objects.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"

#include <json-glib/json-glib.h>
#include <string.h>

#define JSON_DEPTH_MAX 16
#define JSON_BYTES_MAX (64u << 10)

struct BlockSpec {
    GTree *values;         /* char * -> char * */
    BlockObjects *objects; /* what values name, or NULL */
};

static gint compare(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return strcmp(a, b);
}

BlockSpec *block_spec_new(void)
{
    BlockSpec *spec = g_new0(BlockSpec, 1);
    spec->values = g_tree_new_full(compare, NULL, g_free, g_free);
    return spec;
}

void block_spec_free(BlockSpec *spec)
{
    if (spec) {
        g_tree_unref(spec->values);
        block_objects_unref(spec->objects);
        g_free(spec);
    }
}

void block_spec_set_objects(BlockSpec *spec, BlockObjects *objects)
{
    if (objects) {
        block_objects_ref(objects);
    }
    block_objects_unref(spec->objects);
    spec->objects = objects;
}

BlockObjects *block_spec_objects(const BlockSpec *spec)
{
    return spec ? spec->objects : NULL;
}

static gboolean copy_value(gpointer key, gpointer value, gpointer copy)
{
    block_spec_set(copy, key, value);
    return FALSE;
}

BlockSpec *block_spec_copy(const BlockSpec *spec)
{
    BlockSpec *copy = block_spec_new();
    block_spec_set_objects(copy, spec->objects);
    g_tree_foreach(spec->values, copy_value, copy);
    return copy;
}

void block_spec_set(BlockSpec *spec, const char *key, const char *value)
{
    g_tree_replace(spec->values, g_strdup(key), g_strdup(value));
}

const char *block_spec_get(const BlockSpec *spec, const char *key)
{
    return spec ? g_tree_lookup(spec->values, key) : NULL;
}

bool block_spec_get_bool(const BlockSpec *spec, const char *key, bool *out_value, GError **error)
{
    const char *text = block_spec_get(spec, key);
    if (text && !str_parse_bool(text, out_value)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' expects 'on' or 'off', not '%s'", key, text);
        return false;
    }
    return true;
}

bool block_spec_get_size(const BlockSpec *spec, const char *key, uint64_t *out_bytes,
                         GError **error)
{
    const char *text = block_spec_get(spec, key);
    if (text && !size_parse(text, 1, out_bytes, error)) {
        g_prefix_error(error, "Parameter '%s' expects a size: ", key);
        return false;
    }
    return true;
}

typedef struct SubWalk {
    BlockSpec *sub;
    const char *prefix;
    size_t length;
    bool is_found;
} SubWalk;

static gboolean take_sub(gpointer key, gpointer value, gpointer opaque)
{
    SubWalk *walk = opaque;
    if (strncmp(key, walk->prefix, walk->length) == 0 && ((char *)key)[walk->length] == '.') {
        walk->is_found = true;
        if (walk->sub) {
            block_spec_set(walk->sub, (char *)key + walk->length + 1, value);
        }
    }
    return FALSE;
}

BlockSpec *block_spec_sub(const BlockSpec *spec, const char *prefix)
{
    SubWalk walk = { block_spec_new(), prefix, strlen(prefix), false };
    block_spec_set_objects(walk.sub, spec->objects);
    g_tree_foreach(spec->values, take_sub, &walk);
    return walk.sub;
}

bool block_spec_has_sub(const BlockSpec *spec, const char *prefix)
{
    SubWalk walk = { NULL, prefix, strlen(prefix), false };
    g_tree_foreach(spec->values, take_sub, &walk);
    return walk.is_found;
}

typedef struct Visit {
    void (*visit)(const char *key, const char *value, void *opaque);
    void *opaque;
} Visit;

static gboolean visit_one(gpointer key, gpointer value, gpointer opaque)
{
    const Visit *visit = opaque;
    visit->visit(key, value, visit->opaque);
    return FALSE;
}

void block_spec_foreach(const BlockSpec *spec,
                        void (*visit)(const char *key, const char *value, void *opaque),
                        void *opaque)
{
    Visit walk = { visit, opaque };
    g_tree_foreach(spec->values, visit_one, &walk);
}

/* JSON */

static bool flatten(BlockSpec *spec, const char *prefix, JsonNode *node, unsigned depth,
                    GError **error);

static bool flatten_object(BlockSpec *spec, const char *prefix, JsonObject *object, unsigned depth,
                           GError **error)
{
    g_autoptr(GList) names = json_object_get_members(object);
    for (GList *name = names; name; name = name->next) {
        g_autofree char *key =
            *prefix ? g_strdup_printf("%s.%s", prefix, (char *)name->data) : g_strdup(name->data);
        if (!flatten(spec, key, json_object_get_member(object, name->data), depth + 1, error)) {
            return false;
        }
    }
    return true;
}

static bool flatten_array(BlockSpec *spec, const char *prefix, JsonArray *array, unsigned depth,
                          GError **error)
{
    for (unsigned i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *key = g_strdup_printf("%s.%u", prefix, i);
        if (!flatten(spec, key, json_array_get_element(array, i), depth + 1, error)) {
            return false;
        }
    }
    return true;
}

static void flatten_value(BlockSpec *spec, const char *key, JsonNode *node)
{
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_STRING) {
        block_spec_set(spec, key, json_node_get_string(node));
    } else if (type == G_TYPE_BOOLEAN) {
        block_spec_set(spec, key, json_node_get_boolean(node) ? "on" : "off");
    } else if (type == G_TYPE_INT64) {
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
        block_spec_set(spec, key, text);
    } else {
        char text[G_ASCII_DTOSTR_BUF_SIZE];
        block_spec_set(spec, key, g_ascii_dtostr(text, sizeof(text), json_node_get_double(node)));
    }
}

static bool flatten(BlockSpec *spec, const char *prefix, JsonNode *node, unsigned depth,
                    GError **error)
{
    if (depth > JSON_DEPTH_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "json: nested too deeply");
        return false;
    }
    switch (json_node_get_node_type(node)) {
    case JSON_NODE_OBJECT:
        return flatten_object(spec, prefix, json_node_get_object(node), depth, error);
    case JSON_NODE_ARRAY:
        return flatten_array(spec, prefix, json_node_get_array(node), depth, error);
    case JSON_NODE_NULL:
        block_spec_set(spec, prefix, "");
        return true;
    default:
        flatten_value(spec, prefix, node);
        return true;
    }
}

/* The parser of json-glib recurses: brackets are counted before it sees the text. */
static bool nests_too_deeply(const char *text)
{
    unsigned depth = 0;
    for (; *text; text++) {
        if (*text == '{' || *text == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                return true;
            }
        } else if ((*text == '}' || *text == ']') && depth) {
            depth--;
        }
    }
    return false;
}

static BlockSpec *spec_from_json(const char *text, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(BlockSpec) spec = block_spec_new();
    if (strlen(text) > JSON_BYTES_MAX || nests_too_deeply(text)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "json: the text is too large");
        return NULL;
    }
    g_autoptr(GError) reason = NULL;
    if (!json_parser_load_from_data(parser, text, -1, &reason) || !json_parser_get_root(parser) ||
        !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Could not parse the JSON options: %s",
                    reason ? reason->message : "an object is needed");
        return NULL;
    }
    return flatten(spec, "", json_parser_get_root(parser), 0, error) ? g_steal_pointer(&spec)
                                                                     : NULL;
}

/* Names */

const char *block_name_path(const char *name, GError **error)
{
    size_t length = strcspn(name, ":/");
    if (name[length] != ':') {
        return name;
    }
    if (g_str_has_prefix(name, "file:")) {
        return name + strlen("file:");
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Unknown protocol '%.*s'; a file with a colon in its name is './%s'", (int)length,
                name, name);
    return NULL;
}

static bool set_protocol(BlockSpec *spec, const char *name, GError **error)
{
    static const char *const nbd[] = {
        "nbd:", "nbds:", "nbd+unix:", "nbds+unix:", "nbd+tcp:", "nbds+tcp:",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(nbd); i++) {
        if (g_str_has_prefix(name, nbd[i])) {
            block_spec_set(spec, "file.driver", "nbd");
            block_spec_set(spec, "file.uri", name);
            return true;
        }
    }
    if (strcmp(name, "null-co://") == 0 || strcmp(name, "null-aio://") == 0) {
        g_autofree char *driver = g_strndup(name, strlen(name) - strlen("://"));
        block_spec_set(spec, "file.driver", driver);
        return true;
    }
    const char *path = block_name_path(name, error);
    if (path) {
        block_spec_set(spec, "file.driver", "file");
        block_spec_set(spec, "file.filename", path);
    }
    return path != NULL;
}

BlockSpec *block_spec_from_name(const char *name, const char *format, GError **error)
{
    if (g_str_has_prefix(name, "json:")) {
        BlockSpec *spec = spec_from_json(name + strlen("json:"), error);
        if (spec && format && !block_spec_get(spec, "driver")) {
            block_spec_set(spec, "driver", format);
        }
        return spec;
    }
    g_autoptr(BlockSpec) spec = block_spec_new();
    if (format) {
        block_spec_set(spec, "driver", format);
    }
    return set_protocol(spec, name, error) ? g_steal_pointer(&spec) : NULL;
}

BlockSpec *block_spec_from_text(const char *text, GError **error)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    g_autoptr(GString) word = g_string_new(NULL);
    while (*text) {
        g_string_truncate(word, 0);
        for (; *text && (*text != ',' || text[1] == ','); text++) {
            text += *text == ',';
            g_string_append_c(word, *text);
        }
        text += *text == ',';
        char *equals = strchr(word->str, '=');
        if (!equals || equals == word->str) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "'%s' is no option of the form key=value", word->str);
            return NULL;
        }
        *equals = '\0';
        block_spec_set(spec, word->str, equals + 1);
    }
    return g_steal_pointer(&spec);
}
