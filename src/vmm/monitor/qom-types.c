/* QMP: types of the tree of objects, and what properties they have.
 *
 * Devices, what -object makes, machines and CPUs; there are no abstract types, and no types between
 * these and their four parents. SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/cpu/model.h"
#include "vmm/monitor/qom.h"

#include <string.h>

typedef enum TypeKind { TYPE_DEVICE, TYPE_OBJECT, TYPE_MACHINE, TYPE_CPU, TYPE_KINDS } TypeKind;

/* What each of a kind implements, its parent first; ends with NULL. */
static const char *const parents[TYPE_KINDS][4] = {
    [TYPE_DEVICE] = { "device", "object", NULL },
    [TYPE_OBJECT] = { "user-creatable", "object", NULL },
    [TYPE_MACHINE] = { "machine", "object", NULL },
    [TYPE_CPU] = { "x86_64-cpu", "cpu", "object", NULL },
};

char *qom_cpu_type(const char *model)
{
    return g_strdup_printf("%s-x86_64-cpu", model);
}

char *qom_machine_type(const char *name)
{
    return g_strdup_printf("%s-machine", name);
}

typedef struct Type {
    TypeKind kind;
    char *name;
} Type;

static void type_clear(gpointer type)
{
    g_free(((Type *)type)->name);
}

/* @name: (transfer full) */
static void add_type(GArray *types, TypeKind kind, char *name)
{
    Type type = { kind, name };
    g_array_append_val(types, type);
}

/* All of them (transfer full). */
static GArray *list_types(const MonitorTarget *target)
{
    GArray *types = g_array_new(FALSE, FALSE, sizeof(Type));
    g_array_set_clear_func(types, type_clear);
    const char *name;
    const CpuModel *model;
    MonitorMachineType machine;
    for (DeviceFamily *const *family = target->device_families; *family; family++) {
        for (DeviceFamily *class = *family; *class; class ++) {
            add_type(types, TYPE_DEVICE, g_strdup((*class)->name));
        }
    }
    for (unsigned i = 0; target->object_type && (name = target->object_type(target->opaque, i));
         i++) {
        add_type(types, TYPE_OBJECT, g_strdup(name));
    }
    for (unsigned i = 0; target->machine(target->opaque, i, &machine); i++) {
        add_type(types, TYPE_MACHINE, qom_machine_type(machine.name));
    }
    for (unsigned i = 0; (model = cpu_model_at(i)); i++) {
        add_type(types, TYPE_CPU, qom_cpu_type(cpu_model_name(model)));
    }
    return types;
}

/* Whether objects of the type are, too, what @name says. */
static bool implements(const Type *type, const char *name)
{
    return !strcmp(type->name, name) || g_strv_contains(parents[type->kind], name);
}

JsonNode *qmp_qom_list_types(MonitorSession *session, JsonObject *arguments, GError **error)
{
    g_autoptr(GArray) types = list_types(&session->set->target);
    const char *wanted = json_object_get_string_member_with_default(arguments, "implements", NULL);
    JsonArray *array = json_array_new();
    for (guint i = 0; i < types->len; i++) {
        const Type *type = &g_array_index(types, Type, i);
        if (!wanted || implements(type, wanted)) {
            JsonObject *object = json_object_new();
            json_object_set_string_member(object, "name", type->name);
            json_object_set_string_member(object, "parent", parents[type->kind][0]);
            json_array_add_object_element(array, object);
        }
    }
    return qmp_take_array(array);
}

/* -- properties -- */

static const char *property_type(PropertyKind kind)
{
    switch (kind) {
    case PROPERTY_BOOL:
        return "bool";
    case PROPERTY_UINT:
        return "uint64";
    case PROPERTY_SIZE:
        return "size";
    case PROPERTY_ENUM:
    case PROPERTY_LINK:
    case PROPERTY_MAC:
    case PROPERTY_STRING:
        break;
    }
    return "str";
}

static void set_default(JsonObject *object, const Property *property)
{
    static const char name[] = "default-value";
    guint64 number;
    bool flag;
    bool is_number = property->kind == PROPERTY_UINT || property->kind == PROPERTY_SIZE;
    if (property->kind == PROPERTY_BOOL && str_parse_bool(property->fallback, &flag)) {
        json_object_set_boolean_member(object, name, flag);
    } else if (is_number && str_parse_u64(property->fallback, &number)) {
        json_object_set_int_member(object, name, (gint64)number);
    } else {
        json_object_set_string_member(object, name, property->fallback);
    }
}

void qom_append_property(JsonArray *array, const char *name, const char *type,
                         const char *description)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", name);
    json_object_set_string_member(object, "type", type);
    if (description) {
        json_object_set_string_member(object, "description", description);
    }
    json_array_add_object_element(array, object);
}

void qom_append_class_properties(JsonArray *array, const Property *table)
{
    for (const Property *row = table; row && row->name; row++) {
        qom_append_property(array, row->name, property_type(row->kind), row->help);
        if (row->fallback) {
            guint last = json_array_get_length(array) - 1;
            set_default(json_array_get_object_element(array, last), row);
        }
    }
}

static bool is_type(const MonitorTarget *target, const char *name)
{
    g_autoptr(GArray) types = list_types(target);
    bool is_one = false;
    for (guint i = 0; i < types->len && !is_one; i++) {
        is_one = implements(&g_array_index(types, Type, i), name);
    }
    return is_one;
}

JsonNode *qmp_device_list_properties(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *name = json_object_get_string_member(arguments, "typename");
    const DeviceClass *class = device_registry_find(target->device_families, name, NULL);
    if (!class && is_type(target, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'typename' expects a non-abstract device type");
        return NULL;
    }
    if (!class) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Device '%s' not found", name);
        return NULL;
    }
    JsonArray *array = json_array_new();
    qom_append_class_properties(array, class->properties);
    return qmp_take_array(array);
}

JsonNode *qmp_qom_list_properties(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *name = json_object_get_string_member(arguments, "typename");
    const DeviceClass *class = device_registry_find(target->device_families, name, NULL);
    if (!class && !is_type(target, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Class '%s' not found", name);
        return NULL;
    }
    JsonArray *array = json_array_new();
    qom_append_property(array, "type", "string", NULL);
    if (class) {
        qom_append_class_properties(array, class->properties);
        qom_append_property(array, "realized", "bool", NULL);
    } else {
        qom_list_object_type(name, array);
    }
    return qmp_take_array(array);
}
