/* Drives an image format with a hostile file. SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-image.h"

#include "base/int-math.h"
#include "block/block.h"

#include <string.h>

#define FILE_BYTES_MAX (16 * MIB)
#define PIECES_MAX 64

static uint8_t buffer[64 * 1024];

static void walk(BlockNode *node)
{
    uint64_t size = block_node_size(node), offset = 0;
    for (unsigned i = 0; i < PIECES_MAX && offset < size; i++) {
        BlockStatus status;
        if (block_status(node, offset, size - offset, &status) < 0 || !status.length) {
            return;
        }
        (void)!block_pread(node, offset, buffer, min_u64(sizeof(buffer), status.length));
        offset += status.length;
    }
}

/* Writes at places of every kind: begin, end, middle, not aligned. */
static void scribble(BlockNode *node)
{
    uint64_t size = block_node_size(node);
    const uint64_t places[] = { 0, size / 2, size > 5000 ? size - 5000 : 0, size / 3 + 1 };
    memset(buffer, 0x5a, sizeof(buffer));
    for (unsigned i = 0; i < 4; i++) {
        uint64_t length = min_u64(5000, size - places[i]);
        if (length) {
            (void)!block_pwrite(node, places[i], buffer, length, 0);
            (void)!block_write_zeroes(node, places[i], length / 2 + 1, BLOCK_IO_MAY_UNMAP);
        }
    }
    (void)!block_write_compressed(node, 0, buffer, min_u64(sizeof(buffer), size));
    (void)!block_flush(node);
}

void fuzz_image_file(const char *format, File *file, bool is_writable)
{
    unsigned flags = BLOCK_OPEN_NO_BACKING | (is_writable ? BLOCK_OPEN_WRITABLE : 0);
    BlockNode *node = block_open_file(file, "fuzz", format, flags, NULL);
    if (!node) {
        return;
    }
    BlockInfo info = { 0 };
    if (block_get_info(node, &info, NULL)) {
        block_info_clear(&info);
    }
    walk(node);
    if (is_writable) {
        scribble(node);
        walk(node);
    }
    if (block_node_size(node) <= GIB) {
        BlockCheck check = { 0 };
        (void)!block_check(node, &check, 0);
    }
    block_node_unref(node);
}

int fuzz_image(const char *format, const uint8_t *data, size_t size)
{
    if (size < 1 || size > MIB) {
        return 0;
    }
    File *file = file_memory_new(data + 1, size - 1, FILE_BYTES_MAX);
    if (file) {
        fuzz_image_file(format, file, data[0] & 1);
    }
    return 0;
}
