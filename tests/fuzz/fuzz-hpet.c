/* HPET under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/devices.h"

static const char *const properties[] = { "msi", "on", NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &hpet_class, .properties = properties };
    return fuzz_device_run(&fuzz, data, size);
}
