/* 8254 and port 0x61 under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &pit_class };
    return fuzz_device_run(&fuzz, data, size);
}
