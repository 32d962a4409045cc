/* Virtio over MMIO under random register accesses; the entropy device is behind it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/virtio/rng/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "mmio-base", "0xfeb00000", NULL };
    static const FuzzDevice fuzz = { .class = &virtio_rng_device_class, .properties = properties };
    return fuzz_device_run(&fuzz, data, size);
}
