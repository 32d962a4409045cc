/* pvpanic and debug exit under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const DeviceClass *const classes[] = { &port92_class, &reset_port_class,
                                                  &isa_debug_exit_class, &pvpanic_class };
    for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++) {
        const FuzzDevice fuzz = { .class = classes[i] };
        fuzz_device_run(&fuzz, data, size);
    }
    return 0;
}
