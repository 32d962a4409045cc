/* Firmware configuration: ports and DMA under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "vmm/devices/fw-cfg.h"

static void poke(Device *dev, uint8_t what, uint32_t value)
{
    static const uint8_t bytes[300];
    size_t length = value % sizeof(bytes);
    if (what & 1) {
        g_autofree char *name = g_strdup_printf("etc/%0*u", what % 60, value & 127);
        g_autoptr(GError) error = NULL;
        fw_cfg_set_file(dev, name, bytes, length, &error);
    } else {
        fw_cfg_set_item(dev, what % FW_CFG_FILE_DIRECTORY, bytes, length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &fw_cfg_class, .poke = poke };
    return fuzz_device_run(&fuzz, data, size);
}
