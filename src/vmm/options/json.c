/* JSON objects as lists of pairs.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/options/json.h"

#include "gbase/error.h"

#include <inttypes.h>

#define DEPTH_MAX 8

static bool add_object(KeyvalList *list, const char *prefix, JsonObject *object, unsigned depth,
                       GError **error);

static bool add_scalar(KeyvalList *list, const char *key, JsonNode *node, GError **error)
{
    g_autofree char *number = NULL;
    switch (json_node_get_value_type(node)) {
    case G_TYPE_BOOLEAN:
        keyval_add(list, key, json_node_get_boolean(node) ? "on" : "off");
        return true;
    case G_TYPE_INT64:
        number = g_strdup_printf("%" PRId64, (int64_t)json_node_get_int(node));
        keyval_add(list, key, number);
        return true;
    case G_TYPE_STRING:
        keyval_add(list, key, json_node_get_string(node));
        return true;
    default:
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is neither a text, a whole number, true nor false", key);
        return false;
    }
}

static bool add_list(KeyvalList *list, const char *key, JsonArray *array, GError **error)
{
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        if (JSON_NODE_HOLDS_OBJECT(element)) {
            element = json_object_get_member(json_node_get_object(element), "str");
        }
        if (!element || !JSON_NODE_HOLDS_VALUE(element)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "element %u of '%s' is no plain value", i, key);
            return false;
        }
        if (!add_scalar(list, key, element, error)) {
            return false;
        }
    }
    return true;
}

static bool add_node(KeyvalList *list, const char *key, JsonNode *node, unsigned depth,
                     GError **error)
{
    switch (json_node_get_node_type(node)) {
    case JSON_NODE_NULL:
        return true;
    case JSON_NODE_VALUE:
        return add_scalar(list, key, node, error);
    case JSON_NODE_ARRAY:
        return add_list(list, key, json_node_get_array(node), error);
    case JSON_NODE_OBJECT:
        break;
    }
    g_autofree char *prefix = g_strdup_printf("%s.", key);
    return add_object(list, prefix, json_node_get_object(node), depth + 1, error);
}

static bool add_object(KeyvalList *list, const char *prefix, JsonObject *object, unsigned depth,
                       GError **error)
{
    if (depth > DEPTH_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "objects are nested too deeply");
        return false;
    }
    g_autoptr(GList) names = json_object_get_members(object);
    for (GList *name = names; name; name = name->next) {
        g_autofree char *key = g_strdup_printf("%s%s", prefix, (const char *)name->data);
        if (!add_node(list, key, json_object_get_member(object, name->data), depth, error)) {
            return false;
        }
    }
    return true;
}

KeyvalList *keyval_from_json(JsonObject *object, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_list_new();
    return add_object(list, "", object, 0, error) ? g_steal_pointer(&list) : NULL;
}

KeyvalList *keyval_parse_json(const char *text, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(JsonParser) parser = json_parser_new();
    bool ok = json_parser_load_from_data(parser, text, -1, &why);
    JsonNode *root = ok ? json_parser_get_root(parser) : NULL;
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "no JSON object: %s",
                    why ? why->message : "the text holds something else");
        return NULL;
    }
    return keyval_from_json(json_node_get_object(root), error);
}

KeyvalList *keyval_parse_either(const char *text, const char *implied, GError **error)
{
    return text[0] == '{' ? keyval_parse_json(text, error) : keyval_parse(text, implied, error);
}
