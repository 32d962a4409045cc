/* The texts of '-device help' and the like.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/char/char.h"
#include "vmm/machine/internal.h"
#include "vmm/net/net.h"

static char *machines_help(void)
{
    GString *out = g_string_new("Machines:\n");
    for (const MachineType *type = machine_types; type->name; type++) {
        g_string_append_printf(out, "  %-20s %s\n", type->name, type->summary);
    }
    g_string_append(out, "'-machine TYPE,help' lists properties.\n");
    return g_string_free(out, FALSE);
}

static char *machine_properties_help(const char *name, GError **error)
{
    const MachineType *type = machine_type_find(name, error);
    if (!type) {
        return NULL;
    }
    GString *out = g_string_new(NULL);
    g_string_append_printf(out, "%s: %s\n", type->name, type->summary);
    machine_options_format_help(out);
    return g_string_free(out, FALSE);
}

static char *properties_help(const char *name, const char *summary, const Property *properties)
{
    GString *out = g_string_new(NULL);
    g_string_append_printf(out, "%s: %s\n", name, summary);
    properties_format_help(properties, out);
    return g_string_free(out, FALSE);
}

static char *devices_help(void)
{
    GString *out = g_string_new("Devices:\n");
    device_registry_format_help(machine_device_families, out);
    g_string_append(out, "'-device NAME,help' lists properties.\n");
    return g_string_free(out, FALSE);
}

static char *device_help(const char *name, GError **error)
{
    const DeviceClass *class = device_registry_find(machine_device_families, name, error);
    return class ? properties_help(class->name, class->summary, class->properties) : NULL;
}

static char *netdev_help(const char *name, GError **error)
{
    if (name) {
        const NetClass *class = net_class_find(name, error);
        return class ? properties_help(class->name, class->summary, class->properties) : NULL;
    }
    GString *out = g_string_new("Network back ends:\n");
    for (unsigned i = 0; net_classes[i]; i++) {
        g_string_append_printf(out, "  %-20s %s\n", net_classes[i]->name, net_classes[i]->summary);
    }
    g_string_append(out, "'-netdev TYPE,help' lists properties.\n");
    return g_string_free(out, FALSE);
}

static char *chardev_help(const char *name, GError **error)
{
    if (name) {
        const CharClass *class = char_class_find(name, error);
        return class ? properties_help(class->name, class->summary, class->properties) : NULL;
    }
    GString *out = g_string_new("Character back ends:\n");
    for (unsigned i = 0; char_classes[i]; i++) {
        g_string_append_printf(out, "  %-20s %s\n", char_classes[i]->name,
                               char_classes[i]->summary);
    }
    g_string_append(out, "'-chardev TYPE,help' lists properties; each takes mux=on too.\n");
    return g_string_free(out, FALSE);
}

char *machine_help(HelpTopic topic, const char *name, GError **error)
{
    switch (topic) {
    case HELP_MACHINES:
        return machines_help();
    case HELP_MACHINE_PROPERTIES:
        return machine_properties_help(name, error);
    case HELP_ACCELS:
        return machine_accel_help();
    case HELP_CPUS:
        return cpu_model_help();
    case HELP_DEVICES:
        return devices_help();
    case HELP_DEVICE_PROPERTIES:
        return device_help(name, error);
    case HELP_NETDEVS:
        return netdev_help(name, error);
    case HELP_CHARDEVS:
        return chardev_help(name, error);
    case HELP_OBJECTS:
        return machine_object_help();
    case HELP_OPTIONS:
        return options_format_help("lodge-vmm");
    case HELP_VERSION:
        return g_strdup("lodge-vmm " LODGE_VERSION "\n");
    case HELP_NONE:
        break;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "no help on that");
    return NULL;
}
