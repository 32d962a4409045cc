/* qcow2 images of any content: opened, checked, read, written, repaired.
 *
 * The first byte chooses: bit 0 writable, bit 1 repair, bit 2 the rest is the image itself. Else
 * the rest patches a small good image: offset (16 bits), length, bytes. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/log.h"
#include "block/named-bitmap.h"

#include <string.h>

#define LIMIT (64u << 20)
#define PIECE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file as it is when @node over a recorder of it is closed. */
static File *close_and_copy(WriteLog *log, BlockNode *node)
{
    block_node_unref(node);
    File *copy = write_log_replay(log, 0, NULL, 0, SIZE_MAX, 0);
    lodge_assert(copy);
    write_log_free(log);
    return copy;
}

/* A good image with data, a compressed cluster, a snapshot and stored bitmaps. */
static File *make_good_image(void)
{
    uint8_t bytes[PIECE];
    g_autoptr(BlockSpec) options = block_spec_from_text("size=128k,cluster_size=512", NULL);
    WriteLog *log = write_log_new();
    File *file = file_record_new(file_memory_new(NULL, 0, LIMIT), log, 0);
    bool ok = block_create_on_file("qcow2", file, "fuzz", options, NULL);
    lodge_assert(ok);
    BlockNode *node = block_open_file(file, "fuzz", "qcow2", BLOCK_OPEN_WRITABLE, NULL);
    lodge_assert(node);
    memset(bytes, 0x5a, sizeof(bytes));
    int rc = block_pwrite(node, 1000, bytes, sizeof(bytes), 0);
    rc = rc < 0 ? rc : block_write_compressed(node, 32768, bytes, 512);
    ok = block_snapshot_create(node, "s", NULL);
    rc = rc < 0 ? rc : block_pwrite(node, 2000, bytes, 700, 0);
    ok = ok && block_bitmap_add(node, "b", 512, BLOCK_BITMAP_PERSISTENT, NULL) &&
         block_bitmap_add(node, "c", 65536, BLOCK_BITMAP_PERSISTENT, NULL);
    rc = rc < 0 ? rc : block_pwrite(node, 3000, bytes, 700, 0);
    lodge_assert(rc == 0 && ok);
    return close_and_copy(log, node);
}

/* Made once: inputs are many. */
static File *good_image(void)
{
    static File *good;
    size_t length;
    good = good ? good : make_good_image();
    const uint8_t *content = file_memory_data(good, &length);
    return file_memory_new(content, length, LIMIT);
}

static File *patched_image(const uint8_t *data, size_t size)
{
    File *file = good_image();
    while (size > 3) {
        uint64_t offset = (uint64_t)data[0] << 8 | data[1];
        size_t length = MIN(data[2], size - 3);
        if (length && file_write(file, offset, data + 3, length) < 0) {
            break;
        }
        data += 3 + length;
        size -= 3 + length;
    }
    return file;
}

static void use(BlockNode *node, bool is_writable)
{
    uint8_t bytes[PIECE];
    static const uint64_t places[] = { 0, 1000, 32768, 65536, 130000 };
    BlockStatus status;
    int rc = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        rc |= block_pread(node, places[i], bytes, sizeof(bytes));
        rc |= block_status(node, places[i], UINT32_MAX, &status);
        if (is_writable) {
            rc |= block_pwrite(node, places[i], bytes, 700 + i, 0);
            rc |= block_write_zeroes(node, places[i], 3000, BLOCK_IO_MAY_UNMAP);
            rc |= block_write_compressed(node, places[i] & ~511ull, bytes, 512);
            rc |= block_discard(node, places[i], 2000);
        }
    }
    if (is_writable) {
        rc |= block_flush(node);
        rc |= !block_bitmap_add(node, "d", 4096, BLOCK_BITMAP_PERSISTENT, NULL);
        rc |= !block_bitmap_merge(node, "d", node, "b", NULL);
        rc |= !block_bitmap_remove(node, "c", NULL);
        rc |= !block_snapshot_delete(node, "s", NULL);
        rc |= !block_snapshot_create(node, "t", NULL);
        rc |= !block_truncate(node, 90112, BLOCK_PREALLOCATION_OFF, NULL);
        rc |= !block_bitmap_remove(node, "b", NULL);
        rc |= !block_bitmap_remove(node, "d", NULL);
        rc |= !block_snapshot_apply(node, "t", NULL);
        rc |= !block_bitmap_add(node, "e", 512, BLOCK_BITMAP_PERSISTENT, NULL);
        rc |= block_pwrite(node, 0, bytes, 700, 0);
    }
    (void)rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    log_init("fuzz-qcow2", LOG_LEVEL_ERROR);
    bool is_writable = data[0] & 1, repairs = data[0] & 2;
    File *file = data[0] & 4 ? file_memory_new(data + 1, size - 1, LIMIT)
                             : patched_image(data + 1, size - 1);
    unsigned flags = BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_DATA;
    flags |= is_writable ? BLOCK_OPEN_WRITABLE : 0;
    flags |= repairs ? BLOCK_OPEN_REPAIR : 0;
    BlockNode *node = block_open_file(file, "fuzz", "qcow2", flags, NULL);
    if (!node) {
        return 0;
    }
    BlockCheck check = { 0 };
    BlockInfo info;
    if (block_get_info(node, &info, NULL)) {
        block_info_clear(&info);
    }
    int rc =
        block_check(node, &check, is_writable && repairs ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0);
    (void)rc;
    use(node, is_writable);
    block_node_unref(node);
    return 0;
}
