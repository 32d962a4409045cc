/* QMP: the tree of objects, as far as there are objects.
 *
 * /machine/peripheral/ID        devices with an id
 * /machine/peripheral-anon/...  those without
 * /machine/unattached/device[N] vCPU N
 * /objects/ID                   what -object made
 *
 * A device's properties are read as they were set; of the balloon statistics are read too, and
 * their interval can be set. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/qom.h"
#include "gbase/error.h"

#include <string.h>

typedef enum QomKind {
    QOM_ROOT,
    QOM_MACHINE,
    QOM_NAMED,   /* container of devices with an id */
    QOM_UNNAMED, /* and of those without */
    QOM_CPUS,
    QOM_CPU,
    QOM_DEVICE,
    QOM_OBJECTS, /* container of what -object made */
    QOM_OBJECT
} QomKind;

typedef struct QomNode {
    QomKind kind;
    const char *path;     /* of one that is always there; else NULL */
    const Device *device; /* QOM_DEVICE */
    unsigned index;       /* QOM_CPU */
    MonitorObject object; /* QOM_OBJECT */
} QomNode;

static const struct {
    const char *path, *type;
    QomKind kind;
} fixed_nodes[] = {
    { "/", "container", QOM_ROOT },
    { "/machine", NULL, QOM_MACHINE },
    { "/machine/peripheral", "container", QOM_NAMED },
    { "/machine/peripheral-anon", "container", QOM_UNNAMED },
    { "/machine/unattached", "container", QOM_CPUS },
    { QOM_OBJECTS_PATH, "container", QOM_OBJECTS },
};

static bool is_unnamed(const Device *dev)
{
    return !dev->id && !dev->class->is_internal;
}

/* Device number @index of those without an id. */
static const Device *unnamed_device(const MonitorTarget *target, unsigned index)
{
    const Device *dev;
    for (unsigned i = 0; (dev = target->device(target->opaque, i)); i++) {
        if (is_unnamed(dev) && index-- == 0) {
            break;
        }
    }
    return dev;
}

static const Device *named_device(const MonitorTarget *target, const char *id)
{
    const Device *dev;
    for (unsigned i = 0; (dev = target->device(target->opaque, i)); i++) {
        if (!g_strcmp0(dev->id, id)) {
            break;
        }
    }
    return dev;
}

char *qmp_device_path(const MonitorTarget *target, const Device *dev)
{
    unsigned index = 0;
    const Device *other;
    if (dev->id) {
        return g_strconcat(QOM_PERIPHERAL, dev->id, NULL);
    }
    for (unsigned i = 0; (other = target->device(target->opaque, i)) && other != dev; i++) {
        index += is_unnamed(other);
    }
    return g_strdup_printf("/machine/peripheral-anon/device[%u]", index);
}

/* The N of "device[N]". */
static bool parse_index(const char *text, unsigned *out_index)
{
    static const char prefix[] = "device[";
    char *end;
    if (!g_str_has_prefix(text, prefix) || !g_ascii_isdigit(text[sizeof(prefix) - 1])) {
        return false;
    }
    guint64 value = g_ascii_strtoull(text + sizeof(prefix) - 1, &end, 10);
    *out_index = (unsigned)value;
    return value < 4096 && !strcmp(end, "]");
}

static bool find_below(const MonitorTarget *target, const char *path, QomNode *out)
{
    static const char unnamed[] = "/machine/peripheral-anon/", cpus[] = "/machine/unattached/";
    unsigned index;
    out->kind = QOM_DEVICE;
    if (g_str_has_prefix(path, QOM_PERIPHERAL)) {
        out->device = named_device(target, path + strlen(QOM_PERIPHERAL));
    } else if (g_str_has_prefix(path, unnamed) && parse_index(path + strlen(unnamed), &index)) {
        out->device = unnamed_device(target, index);
    } else if (g_str_has_prefix(path, cpus) && parse_index(path + strlen(cpus), &index)) {
        *out = (QomNode){ .kind = QOM_CPU, .index = index };
        return index < target->vcpu_count;
    }
    return out->device != NULL;
}

/* @path: from the root, without empty parts. */
static bool find_absolute(const MonitorTarget *target, const char *path, QomNode *out)
{
    *out = (QomNode){ 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(fixed_nodes); i++) {
        if (!strcmp(path, fixed_nodes[i].path)) {
            out->kind = fixed_nodes[i].kind;
            out->path = fixed_nodes[i].path;
            return true;
        }
    }
    if (qom_object_find(target, path, &out->object)) {
        out->kind = QOM_OBJECT;
        return true;
    }
    return find_below(target, path, out);
}

/* Slashes may be more than one, and at the end, too. (transfer full) */
static char *join_path(const char *above, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GString) out = g_string_new(strcmp(above, "/") != 0 ? above : "");
    for (unsigned i = 0; parts[i]; i++) {
        if (*parts[i]) {
            g_string_append_printf(out, "/%s", parts[i]);
        }
    }
    return out->len ? g_strdup(out->str) : g_strdup("/");
}

/* A path that does not begin at the root may begin anywhere, where there is but one such.
 * @tells_many: as qom-list does of all commands. */
static bool find_node(const MonitorTarget *target, const char *path, bool tells_many, QomNode *out,
                      GError **error)
{
    unsigned count = 0;
    for (unsigned i = 0; i < (*path == '/' ? 1 : G_N_ELEMENTS(fixed_nodes)); i++) {
        QomNode found;
        g_autofree char *whole = join_path(fixed_nodes[i].path, path);
        if (find_absolute(target, whole, &found)) {
            *out = found;
            count++;
        }
    }
    if (count > 1 && tells_many) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Path '%s' is ambiguous",
                    path);
    } else if (count != 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Device '%s' not found", path);
    }
    return count == 1;
}

/* (transfer full) */
static char *node_type(const MonitorTarget *target, const QomNode *node)
{
    switch (node->kind) {
    case QOM_MACHINE:
        return qom_machine_type(target->machine_type);
    case QOM_CPU:
        return qom_cpu_type(target->cpu_model);
    case QOM_DEVICE:
        return g_strdup(node->device->class->name);
    case QOM_OBJECT:
        return g_strdup(node->object.type);
    case QOM_ROOT:
    case QOM_NAMED:
    case QOM_UNNAMED:
    case QOM_CPUS:
    case QOM_OBJECTS:
        break;
    }
    return g_strdup("container");
}

/* -- qom-list -- */

static void append_child(JsonArray *array, const char *name, const char *type)
{
    g_autofree char *child = g_strdup_printf("child<%s>", type);
    qom_append_property(array, name, child, NULL);
}

static void list_devices(const MonitorTarget *target, bool with_id, JsonArray *array)
{
    unsigned unnamed = 0;
    const Device *dev;
    for (unsigned i = 0; (dev = target->device(target->opaque, i)); i++) {
        if (with_id ? dev->id != NULL : is_unnamed(dev)) {
            g_autofree char *name =
                with_id ? g_strdup(dev->id) : g_strdup_printf("device[%u]", unnamed++);
            append_child(array, name, dev->class->name);
        }
    }
}

static void list_cpus(const MonitorTarget *target, JsonArray *array)
{
    g_autofree char *type = qom_cpu_type(target->cpu_model);
    for (unsigned i = 0; i < target->vcpu_count; i++) {
        g_autofree char *name = g_strdup_printf("device[%u]", i);
        append_child(array, name, type);
    }
}

static void list_objects(const MonitorTarget *target, JsonArray *array)
{
    MonitorObject object;
    for (unsigned i = 0; target->object && target->object(target->opaque, i, &object); i++) {
        append_child(array, object.id, object.type);
    }
}

static bool is_balloon(const Device *dev)
{
    return g_str_has_prefix(dev->class->name, "virtio-balloon");
}

static void list_device(const Device *dev, JsonArray *array)
{
    qom_append_class_properties(array, dev->class->properties);
    qom_append_property(array, "realized", "bool", NULL);
    if (is_balloon(dev)) {
        qom_append_property(array, "guest-stats", "guest statistics", NULL);
        qom_append_property(array, "guest-stats-polling-interval", "int", NULL);
    }
}

JsonNode *qmp_qom_list(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    QomNode node;
    if (!find_node(target, json_object_get_string_member(arguments, "path"), true, &node, error)) {
        return NULL;
    }
    JsonArray *array = json_array_new();
    qom_append_property(array, "type", "string", NULL);
    switch (node.kind) {
    case QOM_ROOT: {
        g_autofree char *type = node_type(target, &(QomNode){ .kind = QOM_MACHINE });
        append_child(array, "machine", type);
        append_child(array, "objects", "container");
        break;
    }
    case QOM_MACHINE:
        append_child(array, "peripheral", "container");
        append_child(array, "peripheral-anon", "container");
        append_child(array, "unattached", "container");
        break;
    case QOM_NAMED:
    case QOM_UNNAMED:
        list_devices(target, node.kind == QOM_NAMED, array);
        break;
    case QOM_CPUS:
        list_cpus(target, array);
        break;
    case QOM_CPU:
        qom_append_property(array, "realized", "bool", NULL);
        qom_append_property(array, "thread-id", "int", NULL);
        break;
    case QOM_DEVICE:
        list_device(node.device, array);
        break;
    case QOM_OBJECTS:
        list_objects(target, array);
        break;
    case QOM_OBJECT:
        qom_list_object_type(node.object.type, array);
        break;
    }
    return qmp_take_array(array);
}

/* -- qom-get -- */

static JsonNode *new_bool(bool value)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_boolean(node, value);
    return node;
}

static JsonNode *new_int(gint64 value)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_int(node, value);
    return node;
}

static JsonNode *property_value(const Device *dev, const Property *property)
{
    const char *at = (const char *)dev + property->offset;
    const char *text;
    g_autofree char *mac = NULL;
    switch (property->kind) {
    case PROPERTY_BOOL:
        return new_bool(*(const bool *)at);
    case PROPERTY_UINT:
    case PROPERTY_SIZE:
        return new_int((gint64) * (const uint64_t *)at);
    case PROPERTY_ENUM:
        return qmp_string(property->choices[*(const uint32_t *)at]);
    case PROPERTY_MAC:
        mac = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", at[0] & 0xff, at[1] & 0xff,
                              at[2] & 0xff, at[3] & 0xff, at[4] & 0xff, at[5] & 0xff);
        return qmp_string(mac);
    case PROPERTY_STRING:
    case PROPERTY_LINK:
        break;
    }
    text = *(char *const *)at;
    return qmp_string(text ? text : "");
}

static JsonNode *balloon_stats(const MonitorBalloon *balloon)
{
    static const char *const names[BALLOON_STATS] = {
        "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
        "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
        "stat-htlb-pgalloc", "stat-htlb-pgfail",
    };
    JsonObject *values = json_object_new();
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        /* "not told" is all ones, as a signed number. */
        json_object_set_int_member(values, names[i], (gint64)balloon->stats.value[i]);
    }
    JsonObject *object = json_object_new();
    json_object_set_object_member(object, "stats", values);
    json_object_set_int_member(object, "last-update", balloon->updated_s);
    return qmp_take_object(object);
}

static JsonNode *get_of_balloon(const MonitorTarget *target, const char *name)
{
    MonitorBalloon balloon;
    if (!target->get_balloon_stats || !target->get_balloon_stats(target->opaque, &balloon)) {
        return NULL;
    }
    if (!strcmp(name, "guest-stats-polling-interval")) {
        return new_int(balloon.polling_s);
    }
    return !strcmp(name, "guest-stats") ? balloon_stats(&balloon) : NULL;
}

static JsonNode *get_of_device(const MonitorTarget *target, const Device *dev, const char *name)
{
    const Property *property = property_find(dev->class->properties, name);
    if (property) {
        return property_value(dev, property);
    }
    return is_balloon(dev) ? get_of_balloon(target, name) : NULL;
}

static JsonNode *get_of_cpu(const MonitorTarget *target, unsigned index, const char *name)
{
    MonitorVcpu vcpu;
    bool ok = target->vcpu(target->opaque, index, &vcpu);
    return ok && !strcmp(name, "thread-id") ? new_int(vcpu.thread_id) : NULL;
}

/* What is below a container is a property of it, too: its path. */
static JsonNode *get_child(const MonitorTarget *target, const QomNode *node, const char *name)
{
    QomNode child;
    g_autofree char *path = node->path ? join_path(node->path, name) : NULL;
    bool is_one = path && *name && !strchr(name, '/') && find_absolute(target, path, &child);
    return is_one ? qmp_string(path) : NULL;
}

static JsonNode *get_value(const MonitorTarget *target, const QomNode *node, const char *name)
{
    bool has_life = node->kind == QOM_DEVICE || node->kind == QOM_CPU;
    if (!strcmp(name, "type")) {
        g_autofree char *type = node_type(target, node);
        return qmp_string(type);
    }
    if (has_life && !strcmp(name, "realized")) {
        return new_bool(true);
    }
    return node->kind == QOM_DEVICE   ? get_of_device(target, node->device, name)
           : node->kind == QOM_CPU    ? get_of_cpu(target, node->index, name)
           : node->kind == QOM_OBJECT ? qom_object_get(target, &node->object, name)
                                      : get_child(target, node, name);
}

static void set_no_property(const MonitorTarget *target, const QomNode *node, const char *name,
                            GError **error)
{
    g_autofree char *type = node_type(target, node);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Property '%s.%s' not found",
                type, name);
}

JsonNode *qmp_qom_get(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *path = json_object_get_string_member(arguments, "path");
    const char *name = json_object_get_string_member(arguments, "property");
    QomNode node;
    if (!find_node(target, path, false, &node, error)) {
        return NULL;
    }
    JsonNode *value = get_value(target, &node, name);
    if (!value) {
        set_no_property(target, &node, name, error);
    }
    return value;
}

static void set_polling(const MonitorTarget *target, const char *name, JsonNode *value,
                        GError **error)
{
    if (!JSON_NODE_HOLDS_VALUE(value) || json_node_get_value_type(value) != G_TYPE_INT64) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for '%s', expected: integer", name);
        return;
    }
    gint64 seconds = json_node_get_int(value);
    if (seconds < 0 || seconds > UINT32_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    seconds < 0 ? "timer value must be greater than zero"
                                : "timer value is too big");
        return;
    }
    target->set_balloon_polling(target->opaque, (uint32_t)seconds);
}

/* It is there, or not, but nothing that may be set. */
static void fail_set(const MonitorTarget *target, const QomNode *node, const char *name,
                     GError **error)
{
    g_autoptr(JsonNode) value = get_value(target, node, name);
    g_autofree char *type = node_type(target, node);
    if (!value) {
        set_no_property(target, node, name, error);
    } else if (node->kind == QOM_DEVICE && property_find(node->device->class->properties, name)) {
        const char *id = node->device->id;
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "Attempt to set property '%s' on %s%s%s (type '%s') after it was realized",
                    name, id ? "device '" : "anonymous device", id ?: "", id ? "'" : "", type);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Property '%s.%s' is not writable", type, name);
    }
}

JsonNode *qmp_qom_set(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *path = json_object_get_string_member(arguments, "path");
    const char *name = json_object_get_string_member(arguments, "property");
    JsonNode *value = json_object_get_member(arguments, "value");
    QomNode node;
    if (!find_node(target, path, false, &node, error)) {
        return NULL;
    }
    bool is_polling = node.kind == QOM_DEVICE && is_balloon(node.device) &&
                      !strcmp(name, "guest-stats-polling-interval") && target->set_balloon_polling;
    if (is_polling) {
        set_polling(target, name, value, error);
    } else if (node.kind != QOM_OBJECT ||
               !qom_object_set(target, &node.object, name, value, error)) {
        fail_set(target, &node, name, error);
    }
    return NULL;
}
