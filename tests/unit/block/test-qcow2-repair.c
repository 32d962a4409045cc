/* Power cuts while broken refcount structures of a qcow2 image are made anew: at each write, with
 * any part of what was not flushed, the content is there and another repair mends the image.
 *
 * Usage: test [STATES-PER-CUT [SEED]]. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "block/block.h"
#include "lib/check.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT (32u << 20)
#define DISK_BYTES (512u << 10)
#define FIXES (BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS)

static unsigned wanted_states = 4;
static uint64_t first_seed = 1;
static unsigned tried;

static uint8_t *bytes_of(File *file, size_t *out_size)
{
    const uint8_t *data = file_memory_data(file, out_size);
    return g_memdup2(data, *out_size);
}

static BlockNode *open_image(File *file, unsigned flags, GError **error)
{
    return block_open_file(file, "test.qcow2", "qcow2", flags, error);
}

static File *copy_of(File *file)
{
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    return file_memory_new(data, size, LIMIT);
}

static void write_byte(BlockNode *node, uint64_t offset, size_t length, int byte)
{
    g_autofree uint8_t *bytes = g_malloc(length);
    memset(bytes, byte, length);
    assert_int_equal(block_pwrite(node, offset, bytes, length, 0), 0);
}

/* With data, zeroes, holes, free clusters and a snapshot. */
static File *good_image(const char *shape)
{
    g_autoptr(BlockSpec) options = block_spec_from_text(shape, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    File *file = file_memory_new(NULL, 0, LIMIT);
    assert_true(block_create_on_file("qcow2", file, "test", options, NULL));
    BlockNode *node = open_image(file, BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD, NULL);
    assert_non_null(node);
    write_byte(node, 0, 150000, 1);
    assert_int_equal(block_write_zeroes(node, 262144, 65536, 0), 0);
    assert_true(block_snapshot_create(node, "s", NULL));
    write_byte(node, 3000, 60000, 2);
    write_byte(node, 400000, 70000, 3);
    assert_int_equal(block_discard(node, 16384, 16384), 0);
    assert_int_equal(block_flush(node), 0);
    File *copy = copy_of(file);
    block_node_unref(node);
    return copy;
}

static void put(File *file, uint64_t offset, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];
    be64_put(raw, value);
    assert_int_equal(file_write(file, offset, raw + 8 - bytes, bytes), 0);
}

static uint64_t get(File *file, uint64_t offset)
{
    size_t size;
    return be64_get(file_memory_data(file, &size) + offset);
}

static void lose_table(File *file)
{
    put(file, 48, 0, 8);
    put(file, 56, 0, 4);
}

static void lose_blocks(File *file)
{
    put(file, get(file, 48), 0, 8);
}

static void misplace_block(File *file)
{
    put(file, get(file, 48), get(file, get(file, 48)) | 512, 8);
}

/* A table that takes the place of data's block. */
static void share_block(File *file)
{
    put(file, get(file, 48), get(file, get(file, 40)) & 0xfffffffffe00ull, 8);
}

static const struct {
    const char *name;
    void (*apply)(File *file);
} damages[] = {
    { "no table", lose_table },
    { "no blocks", lose_blocks },
    { "a misplaced block", misplace_block },
    { "a block that is an L2 table", share_block },
};

typedef struct Content {
    uint8_t *active, *snapshot;
} Content;

static uint8_t *read_all(BlockNode *node)
{
    uint8_t *bytes = g_malloc(DISK_BYTES);
    if (block_pread(node, 0, bytes, DISK_BYTES) < 0) {
        g_clear_pointer(&bytes, g_free);
    }
    return bytes;
}

/* NULL where it cannot be read. */
static Content content_of(File *file)
{
    Content content = { 0 };
    g_autoptr(BlockNode) node = open_image(copy_of(file), BLOCK_OPEN_REPAIR, NULL);
    if (node) {
        content.active = read_all(node);
        content.snapshot = block_snapshot_load(node, "s", NULL) ? read_all(node) : NULL;
    }
    return content;
}

static void free_content(Content *content)
{
    g_free(content->active);
    g_free(content->snapshot);
}

static bool is_same(const Content *a, const Content *b)
{
    return a->active && b->active && a->snapshot && b->snapshot &&
           memcmp(a->active, b->active, DISK_BYTES) == 0 &&
           memcmp(a->snapshot, b->snapshot, DISK_BYTES) == 0;
}

/* Returns: whether the image can be repaired, and is clean then. Takes @file. */
static bool repair(File *file)
{
    BlockCheck check = { 0 }, again = { 0 };
    BlockNode *node = open_image(file, BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR, NULL);
    bool ok = node && block_check(node, &check, FIXES) == 0 && block_check(node, &again, 0) == 0 &&
              !again.corruptions && !again.leaks && !again.check_errors;
    return (!node || block_node_close(node) == 0) && ok;
}

/* Takes @file. Returns: what is wrong, or NULL. */
static const char *state_problem(File *file, const Content *wanted)
{
    WriteLog *log = write_log_new();
    size_t size;
    g_autofree uint8_t *base = bytes_of(file, &size);
    Content before = content_of(file), after = { 0 };
    const char *problem = is_same(&before, wanted) ? NULL : "the content is not there";
    if (!repair(file_record_new(file, log, 0))) {
        problem = problem ? problem : "it cannot be repaired";
    }
    if (!problem) {
        File *repaired = write_log_replay(log, 0, base, size, SIZE_MAX, 0);
        after = content_of(repaired);
        problem = is_same(&after, wanted) ? NULL : "the repair destroys content";
        file_close(repaired);
    }
    free_content(&before);
    free_content(&after);
    write_log_free(log);
    tried++;
    return problem;
}

static void try_damage(const char *shape, const char *name, void (*apply)(File *file))
{
    WriteLog *log = write_log_new();
    File *good = good_image(shape);
    Content wanted = content_of(good);
    assert_non_null(wanted.active);
    assert_non_null(wanted.snapshot);
    apply(good);
    size_t size;
    g_autofree uint8_t *base = bytes_of(good, &size);
    if (!repair(file_record_new(good, log, 0))) {
        fail_msg("%s, %s: cannot be repaired", shape, name);
    }
    for (size_t cut = 0; cut <= write_log_length(log); cut++) {
        uint64_t sectors = cut ? write_log_sectors(log, cut - 1) : 0;
        for (uint64_t i = 0; i < sectors + 1 + wanted_states; i++) {
            File *file = i <= sectors ? write_log_replay_prefix(log, 0, base, size, cut, i)
                                      : write_log_replay(log, 0, base, size, cut, first_seed + i);
            const char *problem = state_problem(file, &wanted);
            if (problem) {
                fail_msg("%s, %s: cut after %zu of %zu, state %lu: %s", shape, name, cut,
                         write_log_length(log), (unsigned long)i, problem);
            }
        }
    }
    free_content(&wanted);
    write_log_free(log);
}

static void no_cut_of_a_repair_loses_content(void **state)
{
    static const char *const shapes[] = {
        "cluster_size=512",
        "cluster_size=4k,compat=0.10",
        "cluster_size=4k,refcount_bits=64",
        "cluster_size=16k,extended_l2=on",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        for (unsigned j = 0; j < G_N_ELEMENTS(damages); j++) {
            try_damage(shapes[i], damages[j].name, damages[j].apply);
        }
    }
    print_message("# %u states\n", tried);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_of_a_repair_loses_content),
    };
    log_init("test-qcow2-repair", LOG_LEVEL_ERROR);
    wanted_states = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wanted_states;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : first_seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
