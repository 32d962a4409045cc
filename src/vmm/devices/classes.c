/* The classes of this folder.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/acpi-pm.h"
#include "vmm/devices/devices.h"
#include "vmm/devices/fw-cfg.h"
#include "vmm/devices/ged.h"

/* clang-format off */
const DeviceClass *const legacy_classes[] = {
    &acpi_ged_class,
    &acpi_pm_class,
    &apic_class,
    &edu_class,
    &fw_cfg_class,
    &hpet_class,
    &i8042_class,
    &i8259_class,
    &ioapic_class,
    &isa_debug_exit_class,
    &isa_debugcon_class,
    &pit_class,
    &isa_serial_class,
    &rtc_class,
    &port92_class,
    &pvpanic_class,
    &reset_port_class,
    NULL,
};
/* clang-format on */
