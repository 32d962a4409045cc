/* Corrupted qcow2 images: data, an error or a refusal, never a crash; tables are never written
 * over.
 *
 * Usage: test [CASES [SEED]]. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "block/block.h"
#include "lib/check.h"
#include "lib/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (32u << 20)
#define DISK_BYTES (512u << 10)
#define CORRUPT_BIT 2u

static unsigned wanted_cases = 600;
static uint64_t random_state = 1;

static File *copy_of(File *file)
{
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    return file_memory_new(data, size, LIMIT);
}

static BlockNode *open_image(File *file, unsigned flags)
{
    return block_open_file(file, "test", "qcow2", flags | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_DATA,
                           NULL);
}

/* An image with data, holes, zeroes, compressed clusters and a snapshot. */
static File *good_image(const char *shape)
{
    uint8_t bytes[16384];
    g_autoptr(BlockSpec) options = block_spec_from_text(shape, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    File *file = file_memory_new(NULL, 0, LIMIT);
    assert_true(block_create_on_file("qcow2", file, "test", options, NULL));
    BlockNode *node = open_image(file, BLOCK_OPEN_WRITABLE);
    assert_non_null(node);
    memset(bytes, 0xa5, sizeof(bytes));
    for (uint64_t at = 0; at < DISK_BYTES; at += 60000) {
        assert_int_equal(block_pwrite(node, at, bytes, MIN(sizeof(bytes), DISK_BYTES - at), 0), 0);
    }
    size_t cluster = strstr(shape, "16k") ? 16384 : 4096;
    assert_int_equal(block_write_compressed(node, 131072, bytes, cluster), 0);
    assert_int_equal(block_write_zeroes(node, 262144, 65536, 0), 0);
    assert_true(block_snapshot_create(node, "s", NULL));
    assert_int_equal(block_pwrite(node, 3000, bytes, 9000, 0), 0);
    assert_int_equal(block_flush(node), 0);
    File *copy = copy_of(file);
    block_node_unref(node);
    return copy;
}

/* Where metadata lie: the first clusters, and what the header and the L1 table point to. */
static uint64_t random_place(const uint8_t *data, size_t size)
{
    uint64_t l1 = be64_get(data + 40), reftable = be64_get(data + 48),
             snapshots = be64_get(data + 64);
    uint64_t l2 = be64_get(data + l1) & 0xfffffffffe00ull;
    uint64_t block = be64_get(data + reftable);
    const uint64_t tables[] = { 0, 0, l1, reftable, l2, l2, l2, block, snapshots };
    uint64_t table = tables[random_next(&random_state) % G_N_ELEMENTS(tables)];
    uint64_t span = table == 0 ? 128 : table == snapshots ? 100 : 4096;
    return MIN(table + random_next(&random_state) % span, size - 9);
}

static uint64_t nasty_value(size_t size)
{
    switch (random_next(&random_state) % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return random_next(&random_state) % size;
    case 3:
        return (random_next(&random_state) % size & ~4095ull) | 1ull << 63;
    case 4:
        return 1ull << (random_next(&random_state) % 64);
    case 5:
        return (random_next(&random_state) % size & ~4095ull) | 1ull << 62;
    default:
        return random_next(&random_state);
    }
}

static File *corrupted(File *good)
{
    File *file = copy_of(good);
    size_t size;
    const uint8_t *data = file_memory_data(good, &size);
    unsigned count = 1 + (unsigned)(random_next(&random_state) % 4);
    for (unsigned i = 0; i < count; i++) {
        uint8_t raw[8];
        uint64_t place = random_place(data, size);
        be64_put(raw, nasty_value(size));
        size_t length = random_next(&random_state) & 1 ? 8 : 1 + random_next(&random_state) % 4;
        place = length == 8 ? place & ~7ull : place;
        assert_int_equal(file_write(file, place, raw, length), 0);
    }
    return file;
}

static void use(BlockNode *node)
{
    uint8_t bytes[20000];
    memset(bytes, 1, sizeof(bytes));
    uint64_t size = block_node_size(node);
    int rc = 0;
    for (unsigned i = 0; i < 12 && size; i++) {
        uint64_t offset = random_next(&random_state) % MIN(size, DISK_BYTES * 2);
        uint64_t length = MIN(1 + random_next(&random_state) % sizeof(bytes), size - offset);
        switch (random_next(&random_state) % 6) {
        case 0:
            rc |= block_write_zeroes(node, offset, length, BLOCK_IO_MAY_UNMAP);
            break;
        case 1:
            rc |= block_discard(node, offset, length);
            break;
        case 2:
            rc |= block_pread(node, offset, bytes, length);
            break;
        case 3:
            rc |= block_flush(node);
            break;
        default:
            rc |= block_pwrite(node, offset, bytes, length, 0);
        }
    }
    (void)rc;
}

static void tell(void *opaque, const char *text)
{
    print_message("# %s: %s\n", (const char *)opaque, text);
}

/* Repairs again, telling all, for the person who looks at the failure. */
static void explain(File *image)
{
    BlockNode *node = open_image(copy_of(image), BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR);
    BlockCheck check = { .report = tell, .opaque = (char *)"repair" };
    BlockCheck again = { .report = tell, .opaque = (char *)"then" };
    int rc = block_check(node, &check, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    rc |= block_check(node, &again, 0);
    block_node_unref(node);
    fail_msg("one repair did not mend it (%d): %lu of %lu corruptions, %lu of %lu leaks", rc,
             (unsigned long)check.corruptions_fixed, (unsigned long)check.corruptions,
             (unsigned long)check.leaks_fixed, (unsigned long)check.leaks);
}

static void one_case(File *good)
{
    File *image = corrupted(good), *kept = copy_of(image);
    bool repairs = random_next(&random_state) & 1;
    BlockNode *node = open_image(image, BLOCK_OPEN_WRITABLE | (repairs ? BLOCK_OPEN_REPAIR : 0));
    if (!node) {
        file_close(kept);
        return;
    }
    BlockCheck check = { 0 };
    if (repairs) {
        int rc = block_check(node, &check, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        BlockCheck again = { 0 };
        if (rc == 0 && check.corruptions == check.corruptions_fixed && !check.check_errors) {
            if (block_check(node, &again, 0) < 0 || again.corruptions || again.leaks) {
                explain(kept);
            }
        }
    }
    file_close(kept);
    use(node);
    if (random_next(&random_state) % 4 == 0) {
        (void)!block_snapshot_apply(node, "s", NULL);
    }
    if (random_next(&random_state) % 4 == 0) {
        (void)!block_snapshot_delete(node, "s", NULL);
    }
    block_node_unref(node);
}

static void any_corruption_gives_data_an_error_or_a_refusal(void **state)
{
    static const char *const shapes[] = {
        "cluster_size=4k",
        "cluster_size=4k,compat=0.10",
        "cluster_size=4k,refcount_bits=2",
        "cluster_size=16k,extended_l2=on",
    };
    File *good[G_N_ELEMENTS(shapes)];
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        good[i] = good_image(shapes[i]);
    }
    for (unsigned i = 0; i < wanted_cases; i++) {
        one_case(good[i % G_N_ELEMENTS(shapes)]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        file_close(good[i]);
    }
    print_message("# %u cases\n", wanted_cases);
}

static bool is_marked(File *file)
{
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    return be64_get(data + 72) & CORRUPT_BIT;
}

/* Points guest cluster 1 of a 4 KiB image at @target, as if it were data with refcount 1. */
static void assert_write_is_refused(const char *what, uint64_t (*target)(const uint8_t *data))
{
    uint8_t raw[8], bytes[4096] = { 1 };
    size_t size;
    File *file = good_image("cluster_size=4k");
    const uint8_t *data = file_memory_data(file, &size);
    uint64_t l2 = be64_get(data + be64_get(data + 40)) & 0xfffffffffe00ull;
    uint64_t place = target(data);
    be64_put(raw, place | 1ull << 63);
    assert_int_equal(file_write(file, l2 + 8, raw, 8), 0);
    BlockNode *node = open_image(file, BLOCK_OPEN_WRITABLE);
    assert_non_null(node);
    g_autofree uint8_t *before = g_memdup2(file_memory_data(file, &size) + place, 4096);
    if (block_pwrite(node, 4096, bytes, 4096, 0) != -EIO || !is_marked(file)) {
        fail_msg("a write to %s was not refused", what);
    }
    /* The header's corrupt bit is all that may have changed. */
    if (place) {
        assert_memory_equal(before, file_memory_data(file, &size) + place, 4096);
    }
    assert_int_equal(block_pwrite(node, 8192, bytes, 512, 0), -EIO);
    block_node_unref(node);
}

static uint64_t l1_of(const uint8_t *data)
{
    return be64_get(data + 40);
}

static uint64_t reftable_of(const uint8_t *data)
{
    return be64_get(data + 48);
}

static uint64_t l2_of(const uint8_t *data)
{
    return be64_get(data + l1_of(data)) & 0xfffffffffe00ull;
}

static uint64_t snapshots_of(const uint8_t *data)
{
    return be64_get(data + 64);
}

static void tables_are_not_written_over_by_data(void **state)
{
    assert_write_is_refused("the L1 table", l1_of);
    assert_write_is_refused("the refcount table", reftable_of);
    assert_write_is_refused("an L2 table", l2_of);
    assert_write_is_refused("the snapshot table", snapshots_of);
}

static void corrupt_images_are_opened_for_writing_only_to_repair(void **state)
{
    uint8_t bit[8];
    File *file = good_image("cluster_size=4k");
    be64_put(bit, CORRUPT_BIT);
    assert_int_equal(file_write(file, 72, bit, 8), 0);
    assert_null(open_image(copy_of(file), BLOCK_OPEN_WRITABLE));
    BlockNode *node = open_image(copy_of(file), 0);
    assert_non_null(node);
    block_node_unref(node);
    node = open_image(file, BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR);
    assert_non_null(node);
    BlockCheck check = { 0 };
    assert_int_equal(block_check(node, &check, BLOCK_FIX_ERRORS), 0);
    assert_false(is_marked(file));
    block_node_unref(node);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_corruption_gives_data_an_error_or_a_refusal),
        cmocka_unit_test(tables_are_not_written_over_by_data),
        cmocka_unit_test(corrupt_images_are_opened_for_writing_only_to_repair),
    };
    log_init("test-qcow2-corrupt", LOG_LEVEL_ERROR);
    wanted_cases = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wanted_cases;
    random_state = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : random_state;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
