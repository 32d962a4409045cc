/* Power registers of hardware-reduced ACPI under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/ged.h"

static void poke(Device *dev, uint8_t what, uint32_t value)
{
    acpi_ged_power_button(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &acpi_ged_class, .poke = poke };
    return fuzz_device_run(&fuzz, data, size);
}
