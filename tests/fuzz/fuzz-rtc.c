/* Clock and CMOS memory under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/devices.h"

/* The same time in every run. */
static const char *const properties[] = { "base", "1000000000", NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &rtc_class, .properties = properties };
    return fuzz_device_run(&fuzz, data, size);
}
