/* Images of format vhdx. The input is the few parts of the file that count, put to their places;
 * their checksums are set right, so that what is behind them is reached. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/endian.h"
#include "block/vhdx/vhdx.h"
#include "fuzz/fuzz-image.h"

#include <stdlib.h>
#include <string.h>

#define FILE_BYTES (4 * MIB)
#define LOG_ENTRY_BYTES 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parts of the input: where they go and how long they are. */
static const struct {
    uint64_t offset;
    size_t bytes;
} parts[] = {
    { 0, 8 },
    { VHDX_HEADER1, 80 },
    { VHDX_REGION1, 96 },
    { 2 * MIB, 192 },
    { 2 * MIB + 64 * KIB, 40 },
    { 3 * MIB, 64 },
    { MIB, LOG_ENTRY_BYTES },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *image = calloc(1, FILE_BYTES);
    if (size < 1 || !image) {
        free(image);
        return 0;
    }
    bool is_writable = *data++ & 1;
    size--;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t part = size < parts[i].bytes ? size : parts[i].bytes;
        memcpy(image + parts[i].offset, data, part);
        data += part;
        size -= part;
    }
    uint8_t *header = image + VHDX_HEADER1, *region = image + VHDX_REGION1, *entry = image + MIB;
    le32_put(header + 4, vhdx_checksum(header, VHDX_HEADER_BYTES, 4));
    le32_put(region + 4, vhdx_checksum(region, VHDX_REGION_BYTES, 4));
    if (le32_get(entry + 8) == LOG_ENTRY_BYTES) {
        le32_put(entry + 4, vhdx_checksum(entry, LOG_ENTRY_BYTES, 4));
    }
    File *file = file_memory_new(image, FILE_BYTES, 4 * FILE_BYTES);
    free(image);
    if (file) {
        fuzz_image_file("vhdx", file, is_writable);
    }
    return 0;
}
