/* Dirty bitmaps: compared with an array of bytes under random operations; records of a node.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/dirty-bitmap.h"
#include "lib/check.h"

#include <string.h>

#define SIZE (3 * 65536 + 5000) /* not of whole granules */

typedef struct Model {
    DirtyBitmap *bitmap;
    uint64_t size;
    uint32_t granularity;
    bool is_dirty[SIZE];
} Model;

static void model_set(Model *m, uint64_t offset, uint64_t length, bool value)
{
    uint64_t first = offset / m->granularity * m->granularity;
    uint64_t end = length ? (offset + length + m->granularity - 1) / m->granularity : 0;
    for (uint64_t i = first; i < MIN(end * m->granularity, m->size); i++) {
        m->is_dirty[i] = value;
    }
}

static void compare(const Model *m)
{
    uint64_t count = 0, at = 0, offset, length;
    bool seen[SIZE] = { false };
    for (uint64_t i = 0; i < m->size; i++) {
        count += m->is_dirty[i];
    }
    assert_int_equal(dirty_bitmap_count(m->bitmap), count);
    while (dirty_bitmap_next(m->bitmap, at, 7000, &offset, &length)) {
        assert_true(offset >= at && length && length <= 7000 && offset + length <= m->size);
        memset(seen + offset, true, length);
        at = offset + length;
    }
    assert_memory_equal(seen, m->is_dirty, m->size);
}

static void random_changes_agree_with_bytes(void **state)
{
    g_autofree Model *m = g_new0(Model, 1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    for (m->granularity = 512; m->granularity <= 131072; m->granularity *= 4) {
        m->size = SIZE;
        m->bitmap = dirty_bitmap_new("b", SIZE, m->granularity);
        memset(m->is_dirty, 0, sizeof(m->is_dirty));
        for (int i = 0; i < 100; i++) {
            uint64_t offset = g_rand_int_range(rand, 0, SIZE);
            uint64_t length = g_rand_int_range(rand, 0, SIZE - (int)offset + 1);
            bool value = g_rand_boolean(rand);
            (value ? dirty_bitmap_set : dirty_bitmap_reset)(m->bitmap, offset, length);
            model_set(m, offset, length, value);
            compare(m);
        }
        dirty_bitmap_unref(m->bitmap);
    }
}

static void taken_ranges_are_clean(void **state)
{
    uint64_t offset, length;
    g_autoptr(DirtyBitmap) bitmap = dirty_bitmap_new(NULL, SIZE, 4096);
    dirty_bitmap_set(bitmap, 5000, 20000);
    assert_true(dirty_bitmap_take(bitmap, 0, 8192, &offset, &length));
    assert_int_equal(offset, 4096);
    assert_int_equal(length, 8192);
    assert_false(dirty_bitmap_get(bitmap, 4096));
    assert_true(dirty_bitmap_get(bitmap, 12288));
    while (dirty_bitmap_take(bitmap, 0, 8192, &offset, &length)) {
    }
    assert_int_equal(dirty_bitmap_count(bitmap), 0);
}

static void ranges_past_the_end_are_left_out(void **state)
{
    g_autoptr(DirtyBitmap) bitmap = dirty_bitmap_new(NULL, SIZE, 4096);
    dirty_bitmap_set(bitmap, SIZE - 1, UINT64_MAX - SIZE);
    assert_true(dirty_bitmap_count(bitmap) <= 4096);
    dirty_bitmap_clear(bitmap);
    dirty_bitmap_set(bitmap, SIZE + 100000, 5);
    dirty_bitmap_set(bitmap, UINT64_MAX, 1);
    assert_int_equal(dirty_bitmap_count(bitmap), 0);
    assert_int_equal(dirty_bitmap_resize(bitmap, SIZE * 2), 0);
    dirty_bitmap_set(bitmap, SIZE + 100, 5);
    assert_int_equal(dirty_bitmap_count(bitmap), 4096);
    assert_int_equal(dirty_bitmap_resize(bitmap, SIZE), 0);
    assert_true(dirty_bitmap_count(bitmap) <= 4096);
}

static void merging_covers_both(void **state)
{
    g_autoptr(DirtyBitmap) fine = dirty_bitmap_new(NULL, SIZE, 512);
    g_autoptr(DirtyBitmap) coarse = dirty_bitmap_new(NULL, SIZE, 65536);
    dirty_bitmap_set(fine, 70000, 1);
    dirty_bitmap_set(coarse, 0, 1);
    dirty_bitmap_merge(coarse, fine);
    assert_int_equal(dirty_bitmap_count(coarse), 131072);
    g_autoptr(DirtyBitmap) copy = dirty_bitmap_copy(coarse);
    dirty_bitmap_clear(coarse);
    dirty_bitmap_restore(coarse, copy);
    assert_int_equal(dirty_bitmap_count(coarse), 131072);
}

static void a_node_records_what_changes_it(void **state)
{
    GError *error = NULL;
    char data[100] = "x";
    g_autofree uint8_t *zeroes = g_malloc0(1 << 20);
    BlockNode *node = block_open_file(file_memory_new(zeroes, 1 << 20, 1 << 20), "m", "raw",
                                      BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD, &error);
    assert_non_null(node);
    g_autoptr(DirtyBitmap) bitmap = dirty_bitmap_new("b", block_node_size(node), 65536);
    block_node_add_bitmap(node, bitmap);
    assert_ptr_equal(block_node_find_bitmap(node, "b"), bitmap);
    assert_int_equal(block_pwrite(node, 65500, data, 100, 0), 0);
    assert_int_equal(dirty_bitmap_count(bitmap), 131072);
    assert_int_equal(block_write_zeroes(node, 262144, 10, 0), 0);
    assert_int_equal(block_discard(node, 524288, 65536), 0);
    assert_int_equal(dirty_bitmap_count(bitmap), 4 * 65536);
    dirty_bitmap_set_flags(bitmap, 0, DIRTY_BITMAP_RECORDING);
    assert_int_equal(block_pwrite(node, 0x90000, data, 100, 0), 0);
    assert_int_equal(dirty_bitmap_count(bitmap), 4 * 65536);
    assert_true(block_truncate(node, 900000, BLOCK_PREALLOCATION_OFF, &error));
    assert_int_equal(dirty_bitmap_size(bitmap), 900000);
    block_node_remove_bitmap(node, bitmap);
    assert_null(block_node_find_bitmap(node, "b"));
    block_node_unref(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_agree_with_bytes),
        cmocka_unit_test(taken_ranges_are_clean),
        cmocka_unit_test(ranges_past_the_end_are_left_out),
        cmocka_unit_test(merging_covers_both),
        cmocka_unit_test(a_node_records_what_changes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
