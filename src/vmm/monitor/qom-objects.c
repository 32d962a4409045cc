/* QMP: what -object made, in the tree of objects (/objects/ID). Limits of a throttle-group and the
 * numbers of an iothread are read and set there; of the others only the type is told.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/throttle-spec.h"
#include "gbase/error.h"
#include "vmm/monitor/qom.h"

#include <string.h>

bool qom_object_find(const MonitorTarget *target, const char *path, MonitorObject *out)
{
    if (!g_str_has_prefix(path, QOM_OBJECTS_PATH "/")) {
        return false;
    }
    const char *id = path + strlen(QOM_OBJECTS_PATH "/");
    for (unsigned i = 0; target->object && target->object(target->opaque, i, out); i++) {
        if (!strcmp(out->id, id)) {
            return true;
        }
    }
    return false;
}

/* Limits */

static void put_limit(JsonObject *object, const char *name, const char *suffix, uint64_t value)
{
    g_autofree char *member = g_strconcat(name, suffix, NULL);
    json_object_set_int_member(object, member, (gint64)value);
}

static JsonNode *get_limits(ThrottleGroup *group)
{
    ThrottleConfig config;
    JsonObject *object = json_object_new();
    throttle_group_get_config(group, &config);
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const ThrottleLimit *limit = &config.limits[i];
        put_limit(object, throttle_limit_names[i], "", limit->average);
        put_limit(object, throttle_limit_names[i], "-max", limit->burst);
        put_limit(object, throttle_limit_names[i], "-max-length", limit->burst_time);
    }
    put_limit(object, "iops-size", "", config.operation_size);
    return qmp_take_object(object);
}

/* Puts the members of @object in place of those of @config. */
static bool read_limits(JsonObject *object, ThrottleConfig *config, GError **error)
{
    g_autoptr(GList) names = json_object_get_members(object);
    for (GList *name = names; name; name = name->next) {
        JsonNode *value = json_object_get_member(object, name->data);
        uint64_t *member = throttle_config_member(config, name->data);
        bool is_number =
            JSON_NODE_HOLDS_VALUE(value) && json_node_get_value_type(value) == G_TYPE_INT64;
        if (!member || !is_number) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        member ? "Invalid parameter type for 'limits.%s', expected: integer"
                               : "Parameter 'limits.%s' is unexpected",
                        (char *)name->data);
            return false;
        }
        *member = (uint64_t)json_node_get_int(value);
    }
    const char *problem = throttle_config_problem(config);
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
    }
    return !problem;
}

static void set_limits(ThrottleGroup *group, JsonNode *value, GError **error)
{
    ThrottleConfig config;
    throttle_group_get_config(group, &config);
    if (!JSON_NODE_HOLDS_OBJECT(value)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'limits', expected: object");
    } else if (read_limits(json_node_get_object(value), &config, error)) {
        throttle_group_set_config(group, &config);
    }
}

/* "x-iops-total", ... */
static JsonNode *get_limit(ThrottleGroup *group, const char *name)
{
    ThrottleConfig config;
    throttle_group_get_config(group, &config);
    const uint64_t *member = throttle_config_member(&config, name);
    JsonNode *node = member ? json_node_new(JSON_NODE_VALUE) : NULL;
    if (node) {
        json_node_set_int(node, (gint64)*member);
    }
    return node;
}

/* I/O threads */

static const char *const iothread_numbers[] = { "poll-max-ns", "poll-grow", "poll-shrink",
                                                "aio-max-batch" };

static bool is_iothread(const char *type)
{
    return !strcmp(type, "iothread");
}

/* Its place among them; -1: it is none. */
static int find_iothread(const MonitorTarget *target, const char *id, MonitorIothread *out)
{
    for (unsigned i = 0; target->iothread && target->iothread(target->opaque, i, out); i++) {
        if (!strcmp(out->id, id)) {
            return (int)i;
        }
    }
    return -1;
}

/* "poll-max-ns", ... */
static JsonNode *get_number(const MonitorTarget *target, const MonitorObject *object,
                            const char *name)
{
    MonitorIothread thread;
    if (find_iothread(target, object->id, &thread) < 0) {
        return NULL;
    }
    const uint64_t values[] = { thread.poll_max_ns, thread.poll_grow, thread.poll_shrink,
                                thread.batch };
    for (unsigned i = 0; i < G_N_ELEMENTS(iothread_numbers); i++) {
        if (!strcmp(iothread_numbers[i], name)) {
            JsonNode *node = json_node_new(JSON_NODE_VALUE);
            json_node_set_int(node, (gint64)values[i]);
            return node;
        }
    }
    return NULL;
}

/* False: there is no such number. */
static bool set_number(const MonitorTarget *target, const MonitorObject *object, const char *name,
                       JsonNode *value, GError **error)
{
    MonitorIothread thread;
    int index = find_iothread(target, object->id, &thread);
    bool is_known = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(iothread_numbers); i++) {
        is_known = is_known || !strcmp(iothread_numbers[i], name);
    }
    if (index < 0 || !is_known || !target->set_iothread) {
        return false;
    }
    if (!JSON_NODE_HOLDS_VALUE(value) || json_node_get_value_type(value) != G_TYPE_INT64) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for '%s', expected: integer", name);
    } else if (json_node_get_int(value) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "%s value must be in range [0, %" G_GINT64_FORMAT "]", name, G_MAXINT64);
    } else {
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(value));
        target->set_iothread(target->opaque, (unsigned)index, name, text, error);
    }
    return true;
}

/* Properties */

void qom_list_object_type(const char *type, JsonArray *array)
{
    for (unsigned i = 0; is_iothread(type) && i < G_N_ELEMENTS(iothread_numbers); i++) {
        qom_append_property(array, iothread_numbers[i], "int", NULL);
    }
    if (strcmp(type, "throttle-group") != 0) {
        return;
    }
    qom_append_property(array, "limits", "ThrottleLimits", NULL);
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        static const char *const suffixes[] = { "", "-max", "-max-length" };
        for (unsigned k = 0; k < G_N_ELEMENTS(suffixes); k++) {
            g_autofree char *name = g_strconcat("x-", throttle_limit_names[i], suffixes[k], NULL);
            qom_append_property(array, name, "int", NULL);
        }
    }
    qom_append_property(array, "x-iops-size", "int", NULL);
}

JsonNode *qom_object_get(const MonitorTarget *target, const MonitorObject *object, const char *name)
{
    if (is_iothread(object->type)) {
        return get_number(target, object, name);
    }
    bool is_one = object->limits && g_str_has_prefix(name, "x-");
    return object->limits && !strcmp(name, "limits") ? get_limits(object->limits)
           : is_one                                  ? get_limit(object->limits, name + 2)
                                                     : NULL;
}

bool qom_object_set(const MonitorTarget *target, const MonitorObject *object, const char *name,
                    JsonNode *value, GError **error)
{
    if (is_iothread(object->type)) {
        return set_number(target, object, name, value, error);
    }
    ThrottleConfig config;
    throttle_config_init(&config);
    if (object->limits && !strcmp(name, "limits")) {
        set_limits(object->limits, value, error);
        return true;
    }
    if (object->limits && g_str_has_prefix(name, "x-") &&
        throttle_config_member(&config, name + 2)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "Property cannot be set after initialization");
        return true;
    }
    return false;
}
