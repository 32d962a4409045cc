/* Options of devices and of objects behind them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/options/json.h"
#include "vmm/options/table.h"

#include <string.h>

static bool is_device_id_taken(const MachineConfig *config, const char *id)
{
    for (guint i = 0; id && i < config->devices->len; i++) {
        const DeviceConfig *other = g_ptr_array_index(config->devices, i);
        if (!g_strcmp0(other->id, id)) {
            return true;
        }
    }
    return false;
}

static bool apply_device(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse_either(argument, "driver", error);
    if (!list) {
        return false;
    }
    g_autofree char *driver = keyval_take(list, "driver");
    if (keyval_has_word(list, "help")) {
        config->help = driver ? HELP_DEVICE_PROPERTIES : HELP_DEVICES;
        config->help_name = g_steal_pointer(&driver);
        return true;
    }
    g_autofree char *id = keyval_take(list, "id");
    if (!driver || !*driver) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the device's name comes first; '-device help' lists them");
        return false;
    }
    if (is_device_id_taken(config, id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a device '%s' already", id);
        return false;
    }
    DeviceConfig *device = device_config_new(driver, id);
    keyval_list_free(device->properties);
    device->properties = g_steal_pointer(&list);
    g_ptr_array_add(config->devices, device);
    return true;
}

static bool apply_object(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse_either(argument, "qom-type", error);
    if (!list) {
        return false;
    }
    g_autofree char *type = keyval_take(list, "qom-type");
    if (keyval_has_word(list, "help")) {
        config->help = HELP_OBJECTS;
        config->help_name = g_steal_pointer(&type);
        return true;
    }
    if (!type) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the object's type comes first; '-object help' lists them");
        return false;
    }
    return option_add_backend(config->objects, "object", g_steal_pointer(&type),
                              g_steal_pointer(&list), true, error);
}

static const OptionRow rows[] = {
    { .name = "device",
      .argument = "DRIVER[,id=NAME][,PROPERTY=VALUE...]|JSON",
      .apply = apply_device,
      .help = "a device; '-device help' lists drivers, '-device DRIVER,help' its properties" },
    { .name = "object",
      .argument = "TYPE,id=NAME[,PROPERTY=VALUE...]|JSON",
      .apply = apply_object,
      .help = "memory or random numbers for other options" },
    { .name = NULL },
};

const OptionGroup device_option_group = { "Devices", rows };
