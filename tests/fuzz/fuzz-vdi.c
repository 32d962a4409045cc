/* Images of format vdi. SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_image("vdi", data, size);
}
