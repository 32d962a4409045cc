/* The machines there are, and the devices they can have.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/bus/pci/q35.h"
#include "vmm/devices/devices.h"
#include "vmm/machine/internal.h"
#include "vmm/virtio/classes.h"

#include <string.h>

const MachineType machine_types[] = {
    {
        .name = "q35",
        .alias = "pc-q35",
        .summary = "PC with PCI Express (the default)",
        .vcpus_max = 255,
        .default_disk = "virtio-blk-pci",
        .default_nic = "virtio-net-pci",
        .low_ram_limit = 0xb0000000u,
        .low_ram_split = 0x80000000u,
        .hole_base = 0xb0000000u,
        .build = q35_build,
        .finish = q35_finish,
    },
    {
        .name = "microvm",
        .summary = "smallest machine, for fast starts: virtio-mmio, no legacy devices",
        .vcpus_max = 255,
        .default_disk = "virtio-blk-device",
        .default_nic = "virtio-net-device",
        .low_ram_limit = 0xc0000000u,
        .low_ram_split = 0xc0000000u,
        .hole_base = 0xc0000000u,
        .build = microvm_build,
        .place_virtio_mmio = microvm_place_virtio_mmio,
        .finish = microvm_finish,
    },
    { .name = NULL },
};

DeviceFamily *const machine_device_families[] = { legacy_classes, pci_classes, virtio_classes,
                                                  NULL };

/* Machines of QEMU's releases, "pc-q35-7.2": what they differ in, a guest here does not see. */
static bool is_versioned(const MachineType *type, const char *name)
{
    return type->alias && g_str_has_prefix(name, type->alias) && name[strlen(type->alias)] == '-' &&
           g_ascii_isdigit(name[strlen(type->alias) + 1]);
}

const MachineType *machine_type_find(const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const MachineType *type = machine_types; type->name; type++) {
        if (!strcmp(type->name, name) || (type->alias && !strcmp(type->alias, name)) ||
            is_versioned(type, name)) {
            return type;
        }
        g_ptr_array_add(names, (void *)type->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *hint = str_suggestion(name, (const char *const *)names->pdata);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "-machine: no machine is called '%s'%s",
                name, hint);
    return NULL;
}
