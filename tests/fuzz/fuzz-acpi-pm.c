/* ACPI power management registers under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/acpi-pm.h"

static const char *const properties[] = { "iobase", "0x600", NULL };

static void poke(Device *dev, uint8_t what, uint32_t value)
{
    if (what & 1) {
        acpi_pm_power_button(dev);
    } else {
        acpi_pm_raise_gpe(dev, value & 63);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &acpi_pm_class,
                                     .properties = properties,
                                     .poke = poke };
    return fuzz_device_run(&fuzz, data, size);
}
