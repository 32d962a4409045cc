/* Fuzz target: descriptions of firmware.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/firmware.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Firmware) firmware = firmware_parse((const char *)data, size, "/f.json", &error);
    if (!firmware != !!error) {
        abort();
    }
    if (!firmware) {
        return 0;
    }
    /* What is given away can be relied on. */
    if (!firmware->executable || firmware->executable[0] != '/' ||
        firmware->is_flash != (firmware->variables != NULL)) {
        abort();
    }
    firmware_fits(firmware, "x86_64", "pc-q35-7.2");
    return 0;
}
