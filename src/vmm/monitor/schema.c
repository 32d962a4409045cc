/* What the schema's tables are good for: checks of arguments, and the lists that peers ask for.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/schema.h"

#include "gbase/error.h"

#include <string.h>

/* At the end of a list: members of any name are taken. */
#define SCHEMA_OTHERS "..."

/* One "name:type" of a list of members. */
typedef struct Member {
    char *name, *type;
    bool is_optional;
} Member;

static void member_free(gpointer object)
{
    Member *member = object;
    g_free(member->name);
    g_free(member->type);
    g_free(member);
}

static GPtrArray *parse_members(const char *text)
{
    GPtrArray *members = g_ptr_array_new_with_free_func(member_free);
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (unsigned i = 0; parts[i]; i++) {
        const char *colon = strchr(parts[i], ':');
        Member *member = g_new0(Member, 1);
        member->is_optional = parts[i][0] == '?';
        const char *name = parts[i] + member->is_optional;
        member->name = g_strndup(name, (gsize)(colon - name));
        member->type = g_strdup(colon + 1);
        g_ptr_array_add(members, member);
    }
    return members;
}

const QmpCommand *qmp_command_find(const char *name)
{
    for (const QmpCommand *command = qmp_commands; command->name; command++) {
        if (!strcmp(command->name, name)) {
            return command;
        }
    }
    return NULL;
}

const char *schema_members(const char *struct_name)
{
    for (const SchemaStruct *s = schema_structs; s->name; s++) {
        if (!strcmp(s->name, struct_name)) {
            return s->members;
        }
    }
    return NULL;
}

static const SchemaEnum *find_enum(const char *name)
{
    for (const SchemaEnum *e = schema_enums; e->name; e++) {
        if (!strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

static const struct {
    const char *name, *json_type; /* as introspection names it */
    const char *word;             /* in errors */
    GType type;
} builtins[] = {
    { "str", "string", "string", G_TYPE_STRING },
    { "int", "int", "integer", G_TYPE_INT64 },
    { "number", "number", "number", G_TYPE_DOUBLE },
    { "bool", "boolean", "boolean", G_TYPE_BOOLEAN },
    { "any", "value", "value", G_TYPE_INVALID },
};

static bool check_enum(const SchemaEnum *e, const Member *member, JsonNode *node, GError **error)
{
    g_auto(GStrv) values = g_strsplit(e->values, ",", -1);
    const char *value = json_node_get_string(node);
    if (!g_strv_contains((const char *const *)values, value)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' does not accept value '%s'", member->name, value);
        return false;
    }
    return true;
}

/* Lists of strings, or of anything, are all that commands take; an enumeration's values are the
 * command's to check.
 */
static bool check_list(const Member *member, JsonNode *node, GError **error)
{
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    bool is_right = array != NULL;
    bool takes_all = strcmp(member->type, "[any]") == 0;
    for (guint i = 0; is_right && i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        is_right = takes_all || (JSON_NODE_HOLDS_VALUE(element) &&
                                 json_node_get_value_type(element) == G_TYPE_STRING);
    }
    if (!is_right) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for '%s', expected: array", member->name);
    }
    return is_right;
}

static bool check_object(const Member *member, JsonNode *node, GError **error)
{
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for '%s', expected: object", member->name);
        return false;
    }
    return schema_check(schema_members(member->type), json_node_get_object(node), error);
}

static bool check_value(const Member *member, JsonNode *node, GError **error)
{
    if (member->type[0] == '[') {
        return check_list(member, node, error);
    }
    if (schema_members(member->type)) {
        return check_object(member, node, error);
    }
    const SchemaEnum *e = find_enum(member->type);
    const char *wanted = e ? "str" : member->type;
    for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++) {
        if (strcmp(builtins[i].name, wanted) != 0) {
            continue;
        }
        GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;
        bool is_right = type == builtins[i].type || builtins[i].type == G_TYPE_INVALID ||
                        (builtins[i].type == G_TYPE_DOUBLE && type == G_TYPE_INT64);
        if (!is_right) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Invalid parameter type for '%s', expected: %s", member->name,
                        builtins[i].word);
        }
        return is_right && (!e || check_enum(e, member, node, error));
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INTERNAL, "no values of type '%s' are taken",
                member->type);
    return false;
}

bool schema_check(const char *members, JsonObject *arguments, GError **error)
{
    g_autoptr(GPtrArray) list = parse_members(members);
    g_autoptr(GList) names = json_object_get_members(arguments);
    unsigned known = 0;
    for (guint i = 0; i < list->len; i++) {
        const Member *member = g_ptr_array_index(list, i);
        if (!strcmp(member->name, SCHEMA_OTHERS)) {
            return true;
        }
        if (!json_object_has_member(arguments, member->name)) {
            if (!member->is_optional) {
                g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                            "Parameter '%s' is missing", member->name);
                return false;
            }
            continue;
        }
        known++;
        if (!check_value(member, json_object_get_member(arguments, member->name), error)) {
            return false;
        }
    }
    for (GList *name = names; name && known < g_list_length(names); name = name->next) {
        bool is_known = false;
        for (guint i = 0; i < list->len; i++) {
            const Member *member = g_ptr_array_index(list, i);
            is_known |= !strcmp(member->name, name->data);
        }
        if (!is_known) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Parameter '%s' is unexpected", (const char *)name->data);
            return false;
        }
    }
    return true;
}

static JsonNode *take_array(JsonArray *array)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, array);
    return node;
}

JsonNode *schema_list_commands(void)
{
    JsonArray *array = json_array_new();
    for (const QmpCommand *command = qmp_commands; command->name; command++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", command->name);
        json_array_add_object_element(array, object);
    }
    return take_array(array);
}

/* -- introspection -- */

static JsonObject *add_entity(JsonArray *out, const char *name, const char *meta_type)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", name);
    json_object_set_string_member(object, "meta-type", meta_type);
    json_array_add_object_element(out, object);
    return object;
}

/* A list type is an entity of its own, once. */
static void add_list_type(JsonArray *out, GHashTable *seen, const char *type)
{
    size_t length = strlen(type);
    if (type[0] != '[' || !g_hash_table_add(seen, g_strdup(type))) {
        return;
    }
    g_autofree char *element = g_strndup(type + 1, length - 2);
    JsonObject *array = add_entity(out, type, "array");
    json_object_set_string_member(array, "element-type", element);
    add_list_type(out, seen, element);
}

static void add_object_type(JsonArray *out, GHashTable *seen, const char *name, const char *members)
{
    g_autoptr(GPtrArray) list = parse_members(members);
    JsonArray *array = json_array_new();
    for (guint i = 0; i < list->len; i++) {
        const Member *member = g_ptr_array_index(list, i);
        if (!strcmp(member->name, SCHEMA_OTHERS)) {
            continue;
        }
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", member->name);
        json_object_set_string_member(object, "type", member->type);
        if (member->is_optional) {
            json_object_set_null_member(object, "default");
        }
        json_array_add_object_element(array, object);
        add_list_type(out, seen, member->type);
    }
    json_object_set_array_member(add_entity(out, name, "object"), "members", array);
}

static void add_enum_type(JsonArray *out, const SchemaEnum *e)
{
    JsonObject *entity = add_entity(out, e->name, "enum");
    JsonArray *names = json_array_new();
    JsonArray *members = json_array_new();
    g_auto(GStrv) values = g_strsplit(e->values, ",", -1);
    for (unsigned i = 0; values[i]; i++) {
        JsonObject *member = json_object_new();
        json_object_set_string_member(member, "name", values[i]);
        json_array_add_object_element(members, member);
        json_array_add_string_element(names, values[i]);
    }
    json_object_set_array_member(entity, "members", members);
    json_object_set_array_member(entity, "values", names);
}

/* Name of the type of a command's or event's members; made if there are some. */
static char *members_type(JsonArray *out, GHashTable *seen, const char *owner, const char *members)
{
    if (!*members) {
        return g_strdup("q_empty");
    }
    char *name = g_strdup_printf("q_obj_%s-arg", owner);
    add_object_type(out, seen, name, members);
    return name;
}

JsonNode *schema_introspect(void)
{
    JsonArray *out = json_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (const QmpCommand *command = qmp_commands; command->name; command++) {
        g_autofree char *type = members_type(out, seen, command->name, command->arguments);
        JsonObject *entity = add_entity(out, command->name, "command");
        json_object_set_string_member(entity, "arg-type", type);
        json_object_set_string_member(entity, "ret-type",
                                      *command->returns ? command->returns : "q_empty");
        json_object_set_boolean_member(entity, "allow-oob", FALSE);
        add_list_type(out, seen, command->returns);
    }
    for (const SchemaEvent *event = schema_events; event->name; event++) {
        g_autofree char *type = members_type(out, seen, event->name, event->members);
        json_object_set_string_member(add_entity(out, event->name, "event"), "arg-type", type);
    }
    for (const SchemaStruct *s = schema_structs; s->name; s++) {
        add_object_type(out, seen, s->name, s->members);
    }
    add_object_type(out, seen, "q_empty", "");
    for (const SchemaEnum *e = schema_enums; e->name; e++) {
        add_enum_type(out, e);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++) {
        json_object_set_string_member(add_entity(out, builtins[i].name, "builtin"), "json-type",
                                      builtins[i].json_type);
    }
    return take_array(out);
}
