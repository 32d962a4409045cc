/* Images of format vhdx. The input is the few parts of the file that count, put to their places;
 * their checksums are set right, so that what is behind them is reached. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/vhdx/vhdx.h"
#include "fuzz/fuzz-image.h"

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

/* What is checked as a whole but differs from zero in its first bytes only. */
static void put(File *file, uint64_t offset, const uint8_t *part, size_t length)
{
    static uint8_t whole[VHDX_REGION_BYTES];
    size_t bytes = offset == VHDX_HEADER1   ? VHDX_HEADER_BYTES
                   : offset == VHDX_REGION1 ? VHDX_REGION_BYTES
                   : offset == MIB          ? LOG_ENTRY_BYTES
                                            : 0;
    if (!length) {
        return;
    }
    memset(whole, 0, bytes);
    memcpy(whole, part, length);
    if (bytes && (offset != MIB || le32_get(whole + 8) == LOG_ENTRY_BYTES)) {
        le32_put(whole + 4, vhdx_checksum(whole, bytes, 4));
    }
    (void)!file_write(file, offset, whole, bytes ? round_up(length, 512) : length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    File *file = size ? file_memory_new(NULL, 0, 4 * FILE_BYTES) : NULL;
    if (!file || file_truncate(file, FILE_BYTES) < 0) {
        file_close(file);
        return 0;
    }
    bool is_writable = *data++ & 1;
    size--;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t part = size < parts[i].bytes ? size : parts[i].bytes;
        put(file, parts[i].offset, data, part);
        data += part;
        size -= part;
    }
    fuzz_image_file("vhdx", file, is_writable);
    return 0;
}
