/* Power cuts while the header of a qcow2 image changes: bitmaps come and go, the backing file gets
 * another name, the version changes. Whatever part of the writes reached the disk, the image opens
 * as it was before the change or as it is after it. Tried at each cut: all that was written, in
 * order, with each possible length of the last write; and random parts of what no flush covers.
 *
 * Usage: test [STATES of each step [SEED]]. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/named-bitmap.h"
#include "lib/check.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT (64ull << 20)
#define CLUSTER_MAX 65536u
#define STRANGE 0x73747261u /* an extension that nobody knows */

static unsigned wanted_states = 16;
static uint64_t first_seed = 1;
static uint64_t tried;

typedef struct Shape {
    const char *options;
    unsigned name_length;    /* of the backing file; 0: none */
    unsigned strange_length; /* of an unknown extension; 0: none */
    bool is_foreign;         /* extensions in qemu-img's order, the names of features in between */
    bool has_no_room;        /* a first bitmap is refused */
} Shape;

static const Shape shapes[] = {
    { "cluster_size=64k", 0, 0, false, false },
    { "cluster_size=64k", 11, 0, false, false },
    { "cluster_size=64k", 1000, 700, false, false },
    { "cluster_size=64k", 11, 0, true, false },
    { "cluster_size=64k", 900, 3000, true, false },
    { "cluster_size=64k", 0, 40, true, false },
    { "cluster_size=4k", 1020, 0, false, false },
    { "cluster_size=4k", 300, 500, true, false },
    { "cluster_size=2k", 200, 0, true, false },
    { "cluster_size=1k", 200, 0, true, false },
    { "cluster_size=1k", 200, 0, false, false },
    { "cluster_size=1k", 800, 0, false, true },
    { "cluster_size=2k", 1000, 0, false, true },
    { "cluster_size=512", 200, 0, false, false },
    { "cluster_size=16k,extended_l2=on", 20, 0, true, false },
};

typedef struct Rig {
    const Shape *shape;
    WriteLog *log;
    BlockNode *node;
    uint8_t *base;
    size_t base_size;
} Rig;

/* A header as others write it */

static size_t put_extension(uint8_t *at, uint32_t type, const void *data, uint32_t length)
{
    be32_put(at, type);
    be32_put(at + 4, length);
    memcpy(at + 8, data, length);
    return 8 + round_up(length, 8);
}

/* Writes the extensions and the backing file's name once more, in another order. */
static void dress(File *file, const Shape *shape, uint64_t cluster_size)
{
    static const char names[4 * 48] = "\0\0dirty bit"; /* the rest ends them */
    uint8_t raw[CLUSTER_MAX], strange[4096];
    g_autofree char *name = g_strnfill(shape->name_length, 'n');
    assert_int_equal(file_read(file, 0, raw, cluster_size), 0);
    memset(strange, 0xa7, sizeof(strange));
    memset(raw + 112, 0, cluster_size - 112);
    size_t at = 112;
    be32_put(raw + 100, 112);
    if (shape->name_length) {
        at += put_extension(raw + at, 0xe2792aca, "raw", 3);
    }
    if (shape->is_foreign) {
        at += put_extension(raw + at, 0x6803f857, names, sizeof(names));
    }
    if (shape->strange_length) {
        at += put_extension(raw + at, STRANGE, strange, shape->strange_length);
    }
    at += put_extension(raw + at, 0, "", 0);
    be64_put(raw + 8, shape->name_length ? at : 0);
    be32_put(raw + 16, shape->name_length);
    memcpy(raw + at, name, shape->name_length);
    assert_true(at + shape->name_length <= cluster_size);
    assert_int_equal(file_write(file, 0, raw, cluster_size), 0);
}

static BlockNode *open_image(File *file, unsigned flags, GError **error)
{
    return block_open_file(file, "test.qcow2", "qcow2", BLOCK_OPEN_NO_BACKING | flags, error);
}

static uint64_t cluster_size_of(File *file)
{
    uint8_t raw[4];
    assert_int_equal(file_read(file, 20, raw, sizeof(raw)), 0);
    return 1ull << be32_get(raw);
}

static void set_up(Rig *rig, const Shape *shape)
{
    *rig = (Rig){ .shape = shape, .log = write_log_new() };
    g_autoptr(BlockSpec) options = block_spec_from_text(shape->options, NULL);
    block_spec_set(options, "size", "256k");
    if (shape->name_length) {
        g_autofree char *name = g_strnfill(shape->name_length, 'n');
        block_spec_set(options, "backing_file", name);
        block_spec_set(options, "backing_fmt", "raw");
    }
    File *file = file_memory_new(NULL, 0, LIMIT);
    g_autoptr(GError) error = NULL;
    if (!block_create_on_file("qcow2", file, "test.qcow2", options, &error)) {
        fail_msg("%s: %s", shape->options, error->message);
    }
    if (shape->is_foreign || shape->strange_length) {
        dress(file, shape, cluster_size_of(file));
    }
    const uint8_t *data = file_memory_data(file, &rig->base_size);
    rig->base = g_memdup2(data, rig->base_size);
    rig->node = open_image(file_record_new(file, rig->log, 0), BLOCK_OPEN_WRITABLE, &error);
    if (!rig->node) {
        fail_msg("%s: %s", shape->options, error->message);
    }
    uint8_t bytes[3000];
    memset(bytes, 0x5a, sizeof(bytes));
    assert_int_equal(block_pwrite(rig->node, 1000, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(block_flush(rig->node), 0);
}

/* What the header says, as text. Returns: NULL with @error if the image does not open. */
static char *facts_of(File *file, GError **error)
{
    uint64_t cluster_size = cluster_size_of(file);
    uint8_t raw[CLUSTER_MAX], data[3000];
    assert_int_equal(file_read(file, 0, raw, cluster_size), 0);
    g_autoptr(BlockNode) node = open_image(file, 0, error);
    BlockInfo info;
    DirtyBitmap *bitmap;
    if (!node) {
        return NULL;
    }
    assert_true(block_get_info(node, &info, NULL));
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "version %u, backing '%s' (%s)", be32_get(raw + 4),
                           info.backing_filename, info.backing_format);
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        g_string_append_printf(text, ", bitmap %s", dirty_bitmap_name(bitmap));
    }
    uint8_t type[4];
    be32_put(type, STRANGE);
    void *strange = memmem(raw, cluster_size, type, sizeof(type));
    g_string_append_printf(text, ", strange %d", strange != NULL);
    bool is_there = block_pread(node, 1000, data, sizeof(data)) == 0 && data[0] == 0x5a &&
                    memcmp(data, data + 1, sizeof(data) - 1) == 0;
    BlockCheck check = { 0 };
    int rc = block_check(node, &check, 0);
    g_string_append_printf(text, ", data %d, check %d, %lu corruptions", is_there, rc,
                           (unsigned long)check.corruptions);
    block_info_clear(&info);
    return g_string_free(text, FALSE);
}

static char *facts_at(const Rig *rig, size_t cut, uint64_t seed, GError **error)
{
    return facts_of(write_log_replay(rig->log, 0, rig->base, rig->base_size, cut, seed), error);
}

typedef struct Step {
    const char *name;
    size_t start, end; /* entries of the log */
    char *before, *after;
} Step;

/* @how: what @which is. Takes @file. */
static void try_state(const Rig *rig, const Step *step, File *file, size_t cut, const char *how,
                      uint64_t which)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *facts = facts_of(file, &error);
    tried++;
    if (!facts || (strcmp(facts, step->before) != 0 && strcmp(facts, step->after) != 0)) {
        fail_msg("%s, name of %u, %s: cut after %zu of %zu to %zu, %s %lu:\n%s\nbefore: "
                 "%s\nafter: %s",
                 rig->shape->options, rig->shape->name_length, step->name, cut, step->start,
                 step->end, how, (unsigned long)which, facts ? facts : error->message, step->before,
                 step->after);
    }
}

/* Any state of what was written since entry @start is the old or the new one. */
static void try_cuts(const Rig *rig, const char *name, size_t start)
{
    Step step = { .name = name, .start = start, .end = write_log_length(rig->log) };
    step.before = facts_at(rig, start, 0, NULL);
    step.after = facts_at(rig, step.end, 0, NULL);
    assert_non_null(step.before);
    assert_non_null(step.after);
    for (size_t cut = start; cut <= step.end; cut++) {
        uint64_t sectors = cut > start ? write_log_sectors(rig->log, cut - 1) : 0;
        for (uint64_t i = 0; i <= sectors; i++) {
            File *file = write_log_replay_prefix(rig->log, 0, rig->base, rig->base_size, cut, i);
            try_state(rig, &step, file, cut, "sectors", i);
        }
        for (uint64_t seed = first_seed; seed < first_seed + wanted_states; seed++) {
            File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, cut, seed);
            try_state(rig, &step, file, cut, "seed", seed);
        }
    }
    g_free(step.before);
    g_free(step.after);
}

/* Closing stores bitmaps; the log goes on. */
static void reopen(Rig *rig)
{
    assert_int_equal(block_node_close(rig->node), 0);
    File *file = write_log_replay(rig->log, 0, rig->base, rig->base_size, SIZE_MAX, 0);
    rig->node = open_image(file_record_new(file, rig->log, 0), BLOCK_OPEN_WRITABLE, NULL);
    assert_non_null(rig->node);
}

static void add_bitmap(Rig *rig, const char *name)
{
    g_autoptr(GError) error = NULL;
    if (!block_bitmap_add(rig->node, name, 4096, BLOCK_BITMAP_PERSISTENT, &error)) {
        fail_msg("%s: %s", rig->shape->options, error->message);
    }
    size_t start = write_log_length(rig->log);
    reopen(rig);
    try_cuts(rig, name, start);
}

static void remove_bitmap(Rig *rig, const char *name)
{
    size_t start = write_log_length(rig->log);
    assert_true(block_bitmap_remove(rig->node, name, NULL));
    assert_int_equal(block_flush(rig->node), 0);
    try_cuts(rig, "removing", start);
}

static void change_backing(Rig *rig, unsigned length, const char *format)
{
    g_autofree char *name = g_strnfill(length, (char)('a' + length % 20));
    g_autoptr(GError) error = NULL;
    size_t start = write_log_length(rig->log);
    if (!block_change_backing(rig->node, length ? name : NULL, format, &error)) {
        fail_msg("%s: %s", rig->shape->options, error->message);
    }
    try_cuts(rig, "another backing file", start);
}

static void amend(Rig *rig, const char *option, const char *value)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autoptr(GError) error = NULL;
    block_spec_set(options, option, value);
    size_t start = write_log_length(rig->log);
    if (!block_amend(rig->node, options, false, &error)) {
        fail_msg("%s: %s=%s: %s", rig->shape->options, option, value, error->message);
    }
    try_cuts(rig, value, start);
}

static void tear_down(Rig *rig)
{
    block_node_unref(rig->node);
    write_log_free(rig->log);
    g_free(rig->base);
}

static void a_cut_leaves_the_old_or_the_new_bitmaps(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        set_up(&rig, &shapes[i]);
        if (!shapes[i].has_no_room) {
            add_bitmap(&rig, "first");
            add_bitmap(&rig, "second");
            remove_bitmap(&rig, "first");
            remove_bitmap(&rig, "second");
            add_bitmap(&rig, "third");
        }
        tear_down(&rig);
    }
}

static void a_bitmap_without_room_in_the_header_is_refused(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        g_autoptr(GError) error = NULL;
        if (shapes[i].has_no_room) {
            set_up(&rig, &shapes[i]);
            assert_null(block_bitmap_add(rig.node, "b", 4096, BLOCK_BITMAP_PERSISTENT, &error));
            assert_non_null(strstr(error->message, "no room"));
            tear_down(&rig);
        }
    }
}

static void a_cut_leaves_the_old_or_the_new_backing_file(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        if (shapes[i].has_no_room) {
            continue;
        }
        set_up(&rig, &shapes[i]);
        change_backing(&rig, 7, "qcow2");
        change_backing(&rig, 250, "raw");
        change_backing(&rig, 0, NULL);
        change_backing(&rig, 90, NULL);
        add_bitmap(&rig, "b");
        change_backing(&rig, 91, "raw");
        tear_down(&rig);
    }
}

static void a_cut_leaves_the_old_or_the_new_version(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        if (shapes[i].has_no_room || strstr(shapes[i].options, "extended_l2")) {
            continue;
        }
        set_up(&rig, &shapes[i]);
        amend(&rig, "compat", "0.10");
        amend(&rig, "compat", "1.1");
        amend(&rig, "lazy_refcounts", "on");
        tear_down(&rig);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_leaves_the_old_or_the_new_bitmaps),
        cmocka_unit_test(a_bitmap_without_room_in_the_header_is_refused),
        cmocka_unit_test(a_cut_leaves_the_old_or_the_new_backing_file),
        cmocka_unit_test(a_cut_leaves_the_old_or_the_new_version),
    };
    log_init("test-qcow2-header", LOG_LEVEL_ERROR);
    wanted_states = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wanted_states;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : first_seed;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("# %lu states\n", (unsigned long)tried);
    return rc;
}
