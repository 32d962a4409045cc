/* What a guest boots from: -boot, and the numbers of devices.
 *
 * Firmwares but SeaBIOS do not look at an order of kinds, so with QEMU <os><boot> numbers the first
 * device of each kind. Devices that are plugged later have none but their own <boot order>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"

#include <string.h>

/* The place of the kind in <os><boot>, from 1 on; the last one, where it is named twice. */
static unsigned place_of(const CommandLine *line, DomainBootDev dev)
{
    const XmlList *boots = &line->def->os.boots;
    for (unsigned i = boots->count; i > 0; i--) {
        if (((const DomainBoot *)boots->item[i - 1])->dev == dev) {
            return i;
        }
    }
    return 0;
}

static DomainBootDev kind_of(const DomainDevice *device)
{
    if (device->kind == DEVICE_INTERFACE) {
        return BOOT_NET;
    }
    if (device->kind != DEVICE_DISK) {
        return BOOT_NONE;
    }
    DomainDiskDevice type = ((const DomainDisk *)device)->device_type;
    return type == DISK_DEVICE_CDROM    ? BOOT_CDROM
           : type == DISK_DEVICE_FLOPPY ? BOOT_FLOPPY
                                        : BOOT_DISK;
}

/* 1..; 0: not booted from */
static unsigned boot_index(const CommandLine *line, const DomainDevice *device)
{
    DomainBootDev dev = kind_of(device);
    if (device->boot_order || dev == BOOT_NONE || !line->is_whole || line->engine != ENGINE_QEMU) {
        return device->boot_order;
    }
    const XmlList *list = &line->def->devices[device->kind];
    for (unsigned i = 0; i < list->count; i++) {
        if (kind_of(list->item[i]) == dev) {
            return list->item[i] == device ? place_of(line, dev) : 0;
        }
    }
    return 0;
}

static bool is_in_floppy_controller(const DomainDevice *device)
{
    return device->kind == DEVICE_DISK && ((const DomainDisk *)device)->bus == DISK_BUS_FDC;
}

char *line_boot_index(const CommandLine *line, const DomainDevice *device)
{
    unsigned index = is_in_floppy_controller(device) ? 0 : boot_index(line, device);
    return index ? g_strdup_printf(",bootindex=%u", index) : g_strdup("");
}

char *line_floppy_controller(CommandLine *line)
{
    bool is_own = domain_def_is_q35(line->def); /* that chipset has none */
    const XmlList *disks = &line->def->devices[DEVICE_DISK];
    GString *text = g_string_new("isa-fdc");
    for (unsigned i = 0; i < disks->count; i++) {
        const DomainDevice *device = disks->item[i];
        unsigned index = is_in_floppy_controller(device) ? boot_index(line, device) : 0;
        char drive = device->address.unit ? 'B' : 'A';
        if (index && is_own) {
            g_string_append_printf(text, ",bootindex%c=%u", drive, index);
        } else if (index) {
            line_add(line, "-global", g_strdup_printf("isa-fdc.bootindex%c=%u", drive, index));
        }
    }
    return g_string_free(text, !is_own);
}

void line_add_boot(CommandLine *line)
{
    const DomainOs *os = &line->def->os;
    GString *text = g_string_new(NULL);
    if (os->bootmenu) {
        g_string_append_printf(text, "menu=%s,", os->bootmenu == TRI_YES ? "on" : "off");
    }
    if (os->bios_reboot_timeout) {
        g_autofree char *timeout = line_escape(os->bios_reboot_timeout);
        g_string_append_printf(text, "reboot-timeout=%s,", timeout);
    }
    if (os->bootmenu_timeout_ms.set && line->engine == ENGINE_QEMU) {
        g_string_append_printf(text, "splash-time=%" G_GUINT64_FORMAT ",",
                               os->bootmenu_timeout_ms.value);
    }
    g_string_append(text, "strict=on");
    line_add(line, "-boot", g_string_free(text, FALSE));
}
