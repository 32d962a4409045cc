/* Power cuts under a qcow2 image: a workload is recorded write by write; any state that a cut could
 * leave is made of the record, and must check without corruption, hold all that was flushed, and be
 * clean after one repair; a persistent bitmap that can be used misses no change.
 *
 * Usage: test [STATES [SEED]]; QCOW2_POWER_KEEP=FOLDER writes every 50th state there for qemu-img.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/named-bitmap.h"
#include "lib/check.h"
#include "lib/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (1ull << 30)
#define DISK_BYTES (768u << 10)
#define SECTOR 512u
#define OPS 40u
#define GRANULARITY 4096u

static unsigned wanted_states = 600;
static uint64_t first_seed = 1;
static unsigned seen_bitmaps; /* that could be used after a cut */

typedef struct Shape {
    const char *options;
    bool has_backing, has_snapshots;
} Shape;

static const Shape shapes[] = {
    { "cluster_size=4k", false, true },
    { "cluster_size=64k", true, true },
    { "cluster_size=512,refcount_bits=8", false, false },
    { "cluster_size=16k,extended_l2=on", true, true },
    { "cluster_size=2k,compat=0.10", true, false },
    { "cluster_size=64k,preallocation=metadata", false, true },
    { "cluster_size=1k,compat=0.10", false, true },
};

/* The disk after an operation. */
typedef struct Moment {
    size_t start, end; /* entries of the log that the operation wrote */
    bool is_flushed;
    uint64_t size;
    uint8_t *content;
} Moment;

typedef struct Rig {
    const Shape *shape;
    WriteLog *log;
    BlockNode *node;
    uint8_t *base; /* the image before the workload */
    size_t base_size;
    uint8_t model[DISK_BYTES * 2];
    uint8_t backing[DISK_BYTES];
    uint8_t saved[DISK_BYTES * 2]; /* of the snapshot */
    uint64_t size, saved_size;
    bool has_snapshot;
    /* The persistent bitmap is named by the number of its adding; what the disk held then. */
    bool has_bitmap;
    unsigned bitmap_count;
    uint8_t *bitmap_bases[OPS];
    uint64_t bitmap_sizes[OPS];
    Moment moments[OPS * 2 + 1];
    unsigned moment_count;
    uint64_t random;
} Rig;

/* @flags: BLOCK_OPEN_REPAIR or 0. */
static BlockNode *open_image(const Rig *rig, File *file, unsigned flags, GError **error)
{
    BlockNode *node = block_open_file(
        file, "test.qcow2", "qcow2",
        BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_BACKING | flags, error);
    if (node && rig->shape->has_backing) {
        File *backing = file_memory_new(rig->backing, DISK_BYTES / 2, LIMIT);
        block_node_set_backing(node, block_open_file(backing, "b", "raw", 0, NULL));
    }
    return node;
}

static void note_moment(Rig *rig, size_t start, bool is_flushed)
{
    Moment *moment = &rig->moments[rig->moment_count++];
    moment->start = start;
    moment->end = write_log_length(rig->log);
    moment->is_flushed = is_flushed;
    moment->size = rig->size;
    moment->content = g_memdup2(rig->model, rig->size);
}

static void random_range(Rig *rig, uint64_t *offset, uint64_t *length)
{
    uint64_t sectors = rig->size / SECTOR;
    *offset = random_next(&rig->random) % sectors * SECTOR;
    *length = (1 + random_next(&rig->random) % (random_next(&rig->random) & 1 ? 8 : 300)) * SECTOR;
    *length = MIN(*length, rig->size - *offset);
}

static void read_back(Rig *rig, uint64_t offset, uint64_t length)
{
    assert_int_equal(block_pread(rig->node, offset, rig->model + offset, length), 0);
}

static void do_write(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    for (uint64_t at = 0; at < length; at += SECTOR) {
        memset(rig->model + offset + at, (int)(random_next(&rig->random) | 1), SECTOR);
    }
    assert_int_equal(block_pwrite(rig->node, offset, rig->model + offset, length, 0), 0);
}

static void do_zero(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    memset(rig->model + offset, 0, length);
    assert_int_equal(block_write_zeroes(rig->node, offset, length,
                                        random_next(&rig->random) & BLOCK_IO_MAY_UNMAP),
                     0);
}

static void do_discard(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    assert_int_equal(block_discard(rig->node, offset, length), 0);
    read_back(rig, offset, length);
}

static void do_compressed(Rig *rig)
{
    BlockInfo info;
    assert_true(block_get_info(rig->node, &info, NULL));
    uint64_t cluster = info.cluster_size;
    block_info_clear(&info);
    uint64_t offset = random_next(&rig->random) % rig->size / cluster * cluster;
    uint64_t length = MIN(cluster, rig->size - offset);
    memset(rig->model + offset, (int)random_next(&rig->random), length);
    assert_int_equal(block_write_compressed(rig->node, offset, rig->model + offset, length), 0);
}

static void do_resize(Rig *rig)
{
    uint64_t size =
        (DISK_BYTES / 2 + random_next(&rig->random) % DISK_BYTES) & ~(uint64_t)(SECTOR - 1);
    if (rig->has_snapshot && strstr(rig->shape->options, "compat=0.10")) {
        return;
    }
    if (!block_truncate(rig->node, size, BLOCK_PREALLOCATION_OFF, NULL)) {
        fail_msg("%s: cannot resize", rig->shape->options);
    }
    if (size > rig->size) {
        memset(rig->model + rig->size, 0, size - rig->size);
    } else if (rig->has_bitmap) {
        /* What is cut off, and comes back as zeroes, is no change for a bitmap. */
        uint64_t *known = &rig->bitmap_sizes[rig->bitmap_count];
        *known = MIN(*known, size);
    }
    rig->size = size;
}

static void do_snapshot(Rig *rig)
{
    if (!rig->shape->has_snapshots) {
        do_write(rig);
    } else if (!rig->has_snapshot) {
        assert_true(block_snapshot_create(rig->node, "s", NULL));
        memcpy(rig->saved, rig->model, rig->size);
        rig->saved_size = rig->size;
        rig->has_snapshot = true;
    } else if (random_next(&rig->random) & 1 && !rig->has_bitmap) {
        assert_true(block_snapshot_apply(rig->node, "s", NULL));
        memcpy(rig->model, rig->saved, rig->saved_size);
        rig->size = rig->saved_size;
    } else {
        assert_true(block_snapshot_delete(rig->node, "s", NULL));
        rig->has_snapshot = false;
    }
}

/* Closing stores bitmaps; opening marks them as in use. */
static void reopen(Rig *rig)
{
    assert_int_equal(block_node_close(rig->node), 0);
    File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, SIZE_MAX, 0);
    rig->node = open_image(rig, file_record_new(file, rig->log, 0), 0, NULL);
    assert_non_null(rig->node);
}

static void do_bitmap(Rig *rig)
{
    g_autofree char *name = g_strdup_printf("%u", rig->bitmap_count);
    if (strstr(rig->shape->options, "compat=0.10")) {
        do_write(rig);
    } else if (!rig->has_bitmap) {
        assert_non_null(
            block_bitmap_add(rig->node, name, GRANULARITY, BLOCK_BITMAP_PERSISTENT, NULL));
        rig->bitmap_bases[rig->bitmap_count] = g_memdup2(rig->model, rig->size);
        rig->bitmap_sizes[rig->bitmap_count] = rig->size;
        rig->has_bitmap = true;
    } else if (random_next(&rig->random) % 4 == 0) {
        g_autoptr(GError) error = NULL;
        if (!block_bitmap_remove(rig->node, name, &error)) {
            fail_msg("%s", error->message);
        }
        rig->has_bitmap = false;
        rig->bitmap_count++;
    } else {
        reopen(rig);
    }
}

static void run_workload(Rig *rig)
{
    static void (*const ops[])(Rig *) = {
        do_write,      do_write, do_write,    do_zero,   do_discard,
        do_compressed, do_write, do_snapshot, do_bitmap,
    };
    note_moment(rig, 0, true);
    for (unsigned i = 0; i < OPS; i++) {
        size_t start = write_log_length(rig->log);
        if (i % 13 == 12) {
            do_resize(rig);
        } else {
            ops[random_next(&rig->random) % G_N_ELEMENTS(ops)](rig);
        }
        note_moment(rig, start, false);
        if (random_next(&rig->random) % 3 == 0) {
            start = write_log_length(rig->log);
            assert_int_equal(block_flush(rig->node), 0);
            note_moment(rig, start, true);
        }
    }
}

static void set_up(Rig *rig, const Shape *shape, uint64_t seed)
{
    memset(rig, 0, sizeof(*rig));
    rig->shape = shape;
    rig->random = seed * 0x9e3779b97f4a7c15ull | 1;
    rig->size = DISK_BYTES;
    g_autoptr(BlockSpec) options = block_spec_from_text(shape->options, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    if (shape->has_backing) {
        block_spec_set(options, "backing_file", "backing.raw");
        block_spec_set(options, "backing_fmt", "raw");
        for (unsigned i = 0; i < DISK_BYTES / 2; i++) {
            rig->backing[i] = (uint8_t)(i >> 9 | 1);
        }
        memcpy(rig->model, rig->backing, DISK_BYTES / 2);
    }
    File *file = file_memory_new(NULL, 0, LIMIT);
    assert_true(block_create_on_file("qcow2", file, "test.qcow2", options, NULL));
    const uint8_t *data = file_memory_data(file, &rig->base_size);
    rig->base = g_memdup2(data, rig->base_size);
    rig->log = write_log_new();
    rig->node = open_image(rig, file_record_new(file, rig->log, 0), 0, NULL);
    assert_non_null(rig->node);
    run_workload(rig);
}

static void tear_down(Rig *rig)
{
    block_node_unref(rig->node);
    write_log_free(rig->log);
    g_free(rig->base);
    for (unsigned i = 0; i < rig->moment_count; i++) {
        g_free(rig->moments[i].content);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rig->bitmap_bases); i++) {
        g_free(rig->bitmap_bases[i]);
    }
}

/* Whether each sector holds what it held at the last flush before the cut, or what was written
 * later. */
static char *content_problem(const Rig *rig, BlockNode *node, size_t cut)
{
    unsigned base = 0;
    for (unsigned i = 0; i < rig->moment_count; i++) {
        if (rig->moments[i].is_flushed && rig->moments[i].end <= cut) {
            base = i;
        }
    }
    uint64_t size = block_node_size(node);
    g_autofree uint8_t *data = g_malloc(size);
    if (block_pread(node, 0, data, size) < 0) {
        return g_strdup("cannot be read");
    }
    bool size_fits = false;
    for (unsigned i = base; i < rig->moment_count; i++) {
        size_fits |= rig->moments[i].size == size && (i == base || rig->moments[i].start < cut);
    }
    if (!size_fits) {
        return g_strdup_printf("has size %lu", (unsigned long)size);
    }
    for (uint64_t at = 0; at < size; at += SECTOR) {
        bool fits = false;
        for (unsigned i = base; i < rig->moment_count && !fits; i++) {
            const Moment *moment = &rig->moments[i];
            if (i > base && moment->start >= cut) {
                break;
            }
            fits = at >= moment->size || memcmp(data + at, moment->content + at, SECTOR) == 0;
        }
        if (!fits) {
            return g_strdup_printf("sector at %#lx holds %02x, flushed was %02x (moment %u)",
                                   (unsigned long)at, data[at], rig->moments[base].content[at],
                                   base);
        }
    }
    return NULL;
}

/* A bitmap that says that it is right must name all that changed since it was added. */
static char *bitmap_problem(const Rig *rig, size_t cut, uint64_t seed)
{
    g_autoptr(GError) error = NULL;
    File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, cut, seed);
    g_autoptr(BlockNode) node = open_image(rig, file, 0, &error);
    if (!node) {
        return g_strdup(error->message);
    }
    DirtyBitmap *bitmap;
    uint64_t size = block_node_size(node);
    g_autofree uint8_t *data = g_malloc(size);
    if (block_pread(node, 0, data, size) < 0) {
        return g_strdup("cannot be read");
    }
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        unsigned long number = strtoul(dirty_bitmap_name(bitmap), NULL, 10);
        if (dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_INCONSISTENT) {
            continue;
        }
        uint64_t end = MIN(size, rig->bitmap_sizes[number]);
        seen_bitmaps++;
        for (uint64_t at = 0; at < end; at += SECTOR) {
            if (!dirty_bitmap_get(bitmap, at) &&
                memcmp(data + at, rig->bitmap_bases[number] + at, SECTOR) != 0) {
                return g_strdup_printf("bitmap %lu misses the change at %#lx", number,
                                       (unsigned long)at);
            }
        }
    }
    return NULL;
}

static void keep_state(File *file, const char *shape, unsigned number)
{
    const char *folder = getenv("QCOW2_POWER_KEEP");
    if (!folder || number % 50) {
        return;
    }
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    g_autofree char *name = g_strdup_printf("%s/%u.qcow2", folder, number);
    g_file_set_contents(name, (const char *)data, (gssize)size, NULL);
}

typedef struct Findings {
    unsigned missing_flags; /* COPIED is not set, and could be */
    unsigned wrong_flags;   /* COPIED is set on what is shared: a write would hit both */
    unsigned low_counts;    /* a cluster in use could be handed out again */
} Findings;

static void note_finding(void *opaque, const char *text)
{
    Findings *findings = opaque;
    unsigned long count, references;
    const char *numbers = strstr(text, "refcount=");
    if (strstr(text, "OFLAG_COPIED")) {
        bool is_one = numbers && sscanf(numbers, "refcount=%lu", &count) == 1 && count == 1;
        *(is_one ? &findings->missing_flags : &findings->wrong_flags) += 1;
    } else if (numbers && sscanf(numbers, "refcount=%lu reference=%lu", &count, &references) == 2) {
        findings->low_counts += count < references;
    }
}

/* One state after a cut. Returns: what is wrong with it, or NULL. */
static char *state_problem(const Rig *rig, size_t cut, uint64_t seed, unsigned number)
{
    File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, cut, seed);
    assert_non_null(file);
    keep_state(file, rig->shape->options, number);
    g_autoptr(GError) error = NULL;
    BlockNode *node = open_image(rig, file, BLOCK_OPEN_REPAIR, &error);
    if (!node) {
        return g_strdup(error->message);
    }
    BlockCheck check = { 0 }, repair = { 0 }, again = { 0 };
    char *problem = NULL;
    Findings findings = { 0 };
    check.report = note_finding;
    check.opaque = &findings;
    int rc = block_check(node, &check, 0);
    if (rc < 0 || check.corruptions || check.check_errors) {
        problem = g_strdup_printf("check gives %d, %lu corruptions, of them %u flags missing, %u "
                                  "wrong, %u refcounts too low",
                                  rc, (unsigned long)check.corruptions, findings.missing_flags,
                                  findings.wrong_flags, findings.low_counts);
    }
    if (!problem && block_check(node, &repair, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS) < 0) {
        problem = g_strdup("cannot be repaired");
    }
    if (!problem && (block_check(node, &again, 0) < 0 || again.corruptions || again.leaks)) {
        problem = g_strdup_printf("after the repair: %lu corruptions, %lu leaks",
                                  (unsigned long)again.corruptions, (unsigned long)again.leaks);
    }
    if (!problem) {
        problem = content_problem(rig, node, cut);
    }
    if (!problem) {
        problem = bitmap_problem(rig, cut, seed);
    }
    block_node_unref(node);
    return problem;
}

static void no_cut_loses_what_was_flushed(void **state)
{
    unsigned done = 0;
    for (uint64_t seed = first_seed; done < wanted_states; seed++) {
        const Shape *shape = &shapes[seed % G_N_ELEMENTS(shapes)];
        Rig *rig = g_new(Rig, 1);
        set_up(rig, shape, seed);
        size_t length = write_log_length(rig->log);
        for (unsigned i = 0; i < 25 && done < wanted_states; i++, done++) {
            size_t cut = random_next(&rig->random) % (length + 1);
            uint64_t tear = random_next(&rig->random);
            g_autofree char *problem = state_problem(rig, cut, tear, done);
            if (problem) {
                fail_msg("seed %lu, %s, cut after %zu of %zu, state %u: %s", (unsigned long)seed,
                         shape->options, cut, length, done, problem);
            }
        }
        tear_down(rig);
        g_free(rig);
    }
    print_message("# %u states, %u usable bitmaps\n", done, seen_bitmaps);
    assert_true(seen_bitmaps > 0);
}

/* The harness itself: barriers that are left out show. */
static void a_missing_barrier_is_caught(void **state)
{
    unsigned caught = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        Rig *rig = g_new(Rig, 1);
        set_up(rig, &shapes[seed % 2], seed);
        for (unsigned i = 0; i < rig->moment_count; i++) {
            const Moment *moment = &rig->moments[i];
            for (size_t at = moment->start; at + 1 < moment->end; at++) {
                if (write_log_is_flush(rig->log, at)) {
                    write_log_drop(rig->log, at); /* all flushes but the last of an operation */
                }
            }
        }
        for (unsigned i = 0; i < 40; i++) {
            size_t cut = random_next(&rig->random) % (write_log_length(rig->log) + 1);
            g_autofree char *problem = state_problem(rig, cut, random_next(&rig->random), 1);
            caught += problem != NULL;
        }
        tear_down(rig);
        g_free(rig);
    }
    assert_true(caught > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_loses_what_was_flushed),
        cmocka_unit_test(a_missing_barrier_is_caught),
    };
    if (argc > 1) {
        wanted_states = (unsigned)strtoul(argv[1], NULL, 10);
    }
    if (argc > 2) {
        first_seed = strtoull(argv[2], NULL, 0);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
