/* Keyboard controller, keyboard and mouse under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/devices.h"

static void poke(Device *dev, uint8_t what, uint32_t value)
{
    if (what & 1) {
        i8042_key_event(dev, (uint16_t)value, what & 2);
    } else {
        i8042_mouse_event(dev, (int16_t)value, (int)value, (int8_t)what, what);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &i8042_class, .poke = poke };
    return fuzz_device_run(&fuzz, data, size);
}
