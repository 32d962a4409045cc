/* Power cuts under images of other formats than qcow2 that grow: a workload is recorded write by
 * write; after a cut at any place the image opens, checks without corruption and holds all that was
 * flushed.
 *
 * Usage: test [STATES [SEED]]; FORMAT_POWER_KEEP=FOLDER writes every 20th state there for qemu-img.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/block.h"
#include "lib/check.h"
#include "lib/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (1ull << 30)
#define DISK_BYTES (12u << 20)
#define SECTOR 512u
#define OPS 24u

static unsigned wanted_states = 300;
static uint64_t first_seed = 1;

static const struct {
    const char *format, *options;
} shapes[] = {
    { "vdi", "" },
    { "vhdx", "block_size=1M" },
    { "vmdk", "subformat=monolithicSparse" },
    { "vpc", "subformat=dynamic" },
    { "vhdx", "block_size=2M,log_size=1M" },
    { "vmdk", "subformat=monolithicSparse,zeroed_grain=on" },
};

/* A number for each write of each sector: what a sector may hold after a cut. */
typedef struct Write {
    uint64_t sector;
    size_t start;     /* entry of the log before which it began */
    uint8_t value;    /* of all bytes */
    unsigned flushed; /* flushes of the user before it */
} Write;

typedef struct Rig {
    WriteLog *log;
    BlockNode *node;
    uint8_t *base;
    size_t base_size;
    GArray *writes;  /* of Write, in order */
    GArray *flushes; /* of size_t: the log's length when each ended */
    uint64_t random;
} Rig;

static BlockNode *open_image(const char *format, File *file, GError **error)
{
    return block_open_file(file, "test", format,
                           BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_BACKING |
                               BLOCK_OPEN_REPAIR,
                           error);
}

static void write_something(Rig *rig)
{
    static uint8_t bytes[300 * SECTOR];
    uint64_t sectors = block_node_size(rig->node) / SECTOR;
    uint64_t first = random_next(&rig->random) % sectors;
    uint64_t count = 1 + random_next(&rig->random) % (random_next(&rig->random) & 1 ? 8 : 300);
    count = MIN(count, sectors - first);
    bool is_zero = random_next(&rig->random) % 6 == 0;
    size_t start = write_log_length(rig->log);
    for (uint64_t i = 0; i < count; i++) {
        Write write = { first + i, start, is_zero ? 0 : (uint8_t)(random_next(&rig->random) | 1),
                        rig->flushes->len };
        memset(bytes + i * SECTOR, write.value, SECTOR);
        g_array_append_val(rig->writes, write);
    }
    int rc = is_zero ? block_write_zeroes(rig->node, first * SECTOR, count * SECTOR,
                                          random_next(&rig->random) & BLOCK_IO_MAY_UNMAP)
                     : block_pwrite(rig->node, first * SECTOR, bytes, count * SECTOR, 0);
    if (rc < 0) {
        fail_msg("%s: %d at sector %lu, %lu of them, zeroes: %d", block_node_driver(rig->node), rc,
                 (unsigned long)first, (unsigned long)count, is_zero);
    }
}

static void set_up(Rig *rig, unsigned shape, uint64_t seed)
{
    *rig = (Rig){ .random = seed * 0x9e3779b97f4a7c15ull | 1 };
    rig->writes = g_array_new(FALSE, FALSE, sizeof(Write));
    rig->flushes = g_array_new(FALSE, FALSE, sizeof(size_t));
    g_autoptr(BlockSpec) options = block_spec_from_text(shapes[shape].options, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    File *file = file_memory_new(NULL, 0, LIMIT);
    assert_true(block_create_on_file(shapes[shape].format, file, "test", options, NULL));
    const uint8_t *data = file_memory_data(file, &rig->base_size);
    rig->base = g_memdup2(data, rig->base_size);
    rig->log = write_log_new();
    rig->node = open_image(shapes[shape].format, file_record_new(file, rig->log, 0), NULL);
    assert_non_null(rig->node);
    for (unsigned i = 0; i < OPS; i++) {
        write_something(rig);
        if (random_next(&rig->random) % 3 == 0) {
            assert_int_equal(block_flush(rig->node), 0);
            size_t length = write_log_length(rig->log);
            g_array_append_val(rig->flushes, length);
        }
    }
}

static void tear_down(Rig *rig)
{
    block_node_unref(rig->node);
    write_log_free(rig->log);
    g_free(rig->base);
    g_array_unref(rig->writes);
    g_array_unref(rig->flushes);
}

/* What each sector may hold: the last value flushed before the cut, or a later one. */
static char *content_problem(const Rig *rig, BlockNode *node, size_t cut)
{
    uint64_t size = block_node_size(node), sectors = size / SECTOR;
    g_autofree uint8_t *data = g_malloc(size), *fits = g_malloc0(sectors);
    if (block_pread(node, 0, data, size) < 0) {
        return g_strdup("cannot be read");
    }
    unsigned flushed = 0;
    while (flushed < rig->flushes->len && g_array_index(rig->flushes, size_t, flushed) <= cut) {
        flushed++;
    }
    for (uint64_t i = 0; i < sectors; i++) {
        fits[i] = data[i * SECTOR] == 0;
    }
    for (guint i = 0; i < rig->writes->len; i++) {
        const Write *write = &g_array_index(rig->writes, Write, i);
        const uint8_t *bytes = data + write->sector * SECTOR;
        bool is_it = bytes[0] == write->value && memcmp(bytes, bytes + 1, SECTOR - 1) == 0;
        if (write->flushed < flushed) {
            fits[write->sector] = is_it;
        } else if (write->start < cut) {
            fits[write->sector] |= is_it;
        }
    }
    for (uint64_t i = 0; i < sectors; i++) {
        if (!fits[i]) {
            return g_strdup_printf("sector %lu holds %02x", (unsigned long)i, data[i * SECTOR]);
        }
    }
    return NULL;
}

static void keep_state(File *file, const char *format, unsigned number)
{
    const char *folder = getenv("FORMAT_POWER_KEEP");
    if (folder && number % 20 == 0) {
        size_t size;
        const uint8_t *data = file_memory_data(file, &size);
        g_autofree char *name = g_strdup_printf("%s/%u.%s", folder, number, format);
        g_file_set_contents(name, (const char *)data, (gssize)size, NULL);
    }
}

/* VDI's count of blocks and its map lie in different sectors: that alone is for a repair to mend.
 */
static char *check_problem(BlockNode *node, bool can_repair)
{
    BlockCheck check = { 0 }, repair = { 0 };
    int rc = block_check(node, &check, 0);
    if (rc == -ENOTSUP) {
        return NULL;
    }
    if (rc == 0 && check.corruptions && can_repair) {
        rc = block_check(node, &repair, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        if (rc == 0 && repair.corruptions_fixed == check.corruptions) {
            return check_problem(node, false);
        }
    }
    return rc < 0 || check.corruptions || check.check_errors
               ? g_strdup_printf("check gives %d, %lu corruptions, %lu leaks", rc,
                                 (unsigned long)check.corruptions, (unsigned long)check.leaks)
               : NULL;
}

static char *state_problem(const Rig *rig, unsigned shape, size_t cut, uint64_t seed,
                           unsigned number)
{
    File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, cut, seed);
    assert_non_null(file);
    keep_state(file, shapes[shape].format, number);
    g_autoptr(GError) error = NULL;
    BlockNode *node = open_image(shapes[shape].format, file, &error);
    if (!node) {
        return g_strdup(error->message);
    }
    char *problem = check_problem(node, strcmp(shapes[shape].format, "vdi") == 0);
    if (!problem) {
        problem = content_problem(rig, node, cut);
    }
    block_node_unref(node);
    return problem;
}

static void no_cut_loses_what_was_flushed(void **state)
{
    unsigned done = 0;
    for (uint64_t seed = first_seed; done < wanted_states; seed++) {
        unsigned shape = (unsigned)(seed % G_N_ELEMENTS(shapes));
        Rig rig;
        set_up(&rig, shape, seed);
        size_t length = write_log_length(rig.log);
        for (unsigned i = 0; i < 10 && done < wanted_states; i++, done++) {
            size_t cut = random_next(&rig.random) % (length + 1);
            uint64_t tear = random_next(&rig.random);
            g_autofree char *problem = state_problem(&rig, shape, cut, tear, done);
            if (problem) {
                fail_msg("seed %lu, %s, %s, cut after %zu of %zu, state %u: %s",
                         (unsigned long)seed, shapes[shape].format, shapes[shape].options, cut,
                         length, done, problem);
            }
        }
        tear_down(&rig);
    }
    print_message("# %u states\n", done);
}

/* The harness itself: without any barrier but the user's something is lost. */
static void missing_barriers_are_caught(void **state)
{
    unsigned caught = 0;
    for (unsigned shape = 0; shape < G_N_ELEMENTS(shapes); shape++) {
        Rig rig;
        set_up(&rig, shape, 7);
        for (size_t at = 0; at < write_log_length(rig.log); at++) {
            if (write_log_is_flush(rig.log, at)) {
                write_log_drop(rig.log, at);
            }
        }
        for (unsigned i = 0; i < 10; i++) {
            size_t cut = write_log_length(rig.log) - i;
            g_autofree char *problem = state_problem(&rig, shape, cut, random_next(&rig.random), 1);
            caught += problem != NULL;
        }
        tear_down(&rig);
    }
    assert_true(caught > G_N_ELEMENTS(shapes));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_loses_what_was_flushed),
        cmocka_unit_test(missing_barriers_are_caught),
    };
    log_init("test-format-power", LOG_LEVEL_ERROR);
    wanted_states = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wanted_states;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : first_seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
