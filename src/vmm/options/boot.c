/* Options of what a guest boots, and what its firmware tells it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/options/table.h"

#include <string.h>

typedef struct BootOptions {
    char *order, *once;
    bool menu, strict;
} BootOptions;

static const Property boot_properties[] = {
    { .name = "order",
      .kind = PROPERTY_STRING,
      .offset = offsetof(BootOptions, order),
      .help = "drives as letters: c first disk, d first CD-ROM, n network" },
    { .name = "once",
      .kind = PROPERTY_STRING,
      .offset = offsetof(BootOptions, once),
      .help = "the same for the first boot only" },
    { .name = "menu",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(BootOptions, menu),
      .help = "firmware shows a menu" },
    { .name = "strict",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(BootOptions, strict),
      .help = "firmware tries nothing else" },
    { .name = NULL },
};

static bool check_drives(const char *letters, GError **error)
{
    if (letters && (!*letters || letters[strspn(letters, "abcdn")])) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is no boot order; it has letters from a, b, c, d, n", letters);
        return false;
    }
    return true;
}

static bool apply_boot(MachineConfig *config, const char *argument, GError **error)
{
    BootOptions boot = { .menu = config->boot_menu, .strict = config->boot_strict };
    bool ok = option_apply(argument, "order", boot_properties, &boot, error) &&
              check_drives(boot.order, error) && check_drives(boot.once, error);
    g_free(config->boot_order);
    g_free(config->boot_once);
    config->boot_order = boot.order;
    config->boot_once = boot.once;
    config->boot_menu = boot.menu;
    config->boot_strict = boot.strict;
    return ok;
}

#define SMBIOS_STRING(name_, member, help_)                                                        \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_STRING, .offset = offsetof(SmbiosConfig, member),          \
        .help = help_                                                                              \
    }

static const Property bios_properties[] = {
    SMBIOS_STRING("vendor", bios.vendor, "vendor of the firmware"),
    SMBIOS_STRING("version", bios.version, "version of the firmware"),
    SMBIOS_STRING("date", bios.date, "date of the firmware"),
    { .name = NULL },
};

static const Property system_properties[] = {
    SMBIOS_STRING("manufacturer", system.manufacturer, "maker of the machine"),
    SMBIOS_STRING("product", system.product, "name of the machine"),
    SMBIOS_STRING("version", system.version, "version of the machine"),
    SMBIOS_STRING("serial", system.serial, "serial number"),
    SMBIOS_STRING("sku", system.sku, "stock number"),
    SMBIOS_STRING("family", system.family, "product family"),
    { .name = NULL },
};

static const Property board_properties[] = {
    SMBIOS_STRING("manufacturer", board.manufacturer, "maker of the board"),
    SMBIOS_STRING("product", board.product, "name of the board"),
    SMBIOS_STRING("version", board.version, "version of the board"),
    SMBIOS_STRING("serial", board.serial, "serial number"),
    SMBIOS_STRING("asset", board.asset, "asset tag"),
    SMBIOS_STRING("location", board.location, "place in the chassis"),
    { .name = NULL },
};

static const Property chassis_properties[] = {
    SMBIOS_STRING("manufacturer", chassis.manufacturer, "maker of the chassis"),
    SMBIOS_STRING("version", chassis.version, "version of the chassis"),
    SMBIOS_STRING("serial", chassis.serial, "serial number"),
    SMBIOS_STRING("asset", chassis.asset, "asset tag"),
    SMBIOS_STRING("sku", chassis.sku, "stock number"),
    { .name = NULL },
};

static const Property *const smbios_tables[] = { bios_properties, system_properties,
                                                 board_properties, chassis_properties };

/* type=11: every value= is one string. */
static bool add_oem_strings(SmbiosConfig *smbios, const KeyvalList *list, GError **error)
{
    for (guint i = 0; i < list->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(list->pairs, i);
        if (strcmp(pair->key, "value")) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                        "'%s' is not supported; type 11 takes value=TEXT", pair->key);
            return false;
        }
        g_ptr_array_add(smbios->oem_strings, g_strdup(pair->value));
    }
    return true;
}

static bool apply_smbios(MachineConfig *config, const char *argument, GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse(argument, NULL, error);
    if (!list) {
        return false;
    }
    g_autofree char *type = keyval_take(list, "type");
    guint64 number;
    bool is_known = type && str_parse_u64(type, &number) &&
                    (number < G_N_ELEMENTS(smbios_tables) || number == 11);
    if (!is_known) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "type '%s' is not supported; supported: 0, 1, 2, 3, 11", type ? type : "");
        return false;
    }
    if (number == 11) {
        return add_oem_strings(&config->smbios, list, error);
    }
    g_autofree char *uuid = number == 1 ? keyval_take(list, "uuid") : NULL;
    if (uuid && !(config->has_uuid = uuid_parse(uuid, &config->uuid, error))) {
        return false;
    }
    return keyval_apply(list, smbios_tables[number], &config->smbios, error);
}

static const OptionRow rows[] = {
    { .name = "kernel",
      .argument = "FILE",
      .text = offsetof(MachineConfig, kernel),
      .help = "Linux kernel: bzImage, or an ELF file with a PVH entry" },
    { .name = "initrd",
      .argument = "FILE",
      .text = offsetof(MachineConfig, initrd),
      .help = "initial RAM disk of the kernel" },
    { .name = "append",
      .argument = "TEXT",
      .text = offsetof(MachineConfig, append),
      .help = "command line of the kernel" },
    { .name = "bios",
      .argument = "FILE",
      .text = offsetof(MachineConfig, bios),
      .help = "firmware (not supported yet: -kernel is needed)" },
    { .name = "boot",
      .argument = "[order=]DRIVES[,once=DRIVES][,menu=on|off][,strict=on|off]",
      .apply = apply_boot,
      .help = "for firmware; -kernel boots the kernel whatever this says" },
    { .name = "smbios",
      .argument = "type=0|1|2|3|11[,FIELD=TEXT...]",
      .apply = apply_smbios,
      .help = "what the guest reads about its hardware" },
    { .name = NULL },
};

const OptionGroup boot_option_group = { "Boot", rows };
