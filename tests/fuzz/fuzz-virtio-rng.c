/* Virtio entropy device under a hostile driver; also stands for the PCI transport.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-virtio.h"
#include "vmm/virtio/rng/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "max-bytes", "10000", "period", "1000", NULL };
    static const FuzzVirtio fuzz = { .class = &virtio_rng_pci_class, .properties = properties };
    return fuzz_virtio_run(&fuzz, data, size);
}
