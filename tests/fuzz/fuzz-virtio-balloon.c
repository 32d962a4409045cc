/* Virtio balloon under a hostile driver. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "fuzz/fuzz-virtio.h"
#include "vmm/virtio/balloon/balloon.h"

static void poke(VirtioDevice *dev, void *backend, uint8_t what, uint32_t value)
{
    if (what & 1) {
        virtio_balloon_set_polling(&dev->device, value % 10);
    } else {
        virtio_balloon_set_target(&dev->device, value);
    }
}

static void make_request(uint8_t *bytes, size_t size, uint8_t what, uint32_t value)
{
    /* Page numbers, half of them in the fake RAM; or one statistic. */
    for (size_t i = 0; i + 4 <= size; i += 4) {
        le32_put(bytes + i, i & 4 ? value : (value >> (i / 4)) % 256);
    }
    if (what & 1) {
        le16_put(bytes, what >> 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "free-page-reporting", "on", NULL };
    static const FuzzVirtio fuzz = { .class = &virtio_balloon_pci_class,
                                     .properties = properties,
                                     .poke = poke,
                                     .make_request = make_request };
    return fuzz_virtio_run(&fuzz, data, size);
}
