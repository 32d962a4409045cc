/* Images of all formats on files that fail and on files that lie.
 *
 * Sweeps: the n-th read, write, flush or change of size of creating, using and repairing an image
 * fails, for every n (in `make check`: every few); then the image opens, checks without corruption
 * and holds what was flushed. Corruption: random bytes of good images are changed; each request
 * gives data, an error or a refusal.
 *
 * Usage: test [CASES OF CORRUPTION [SEED]]: then the sweeps leave no n out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "block/block.h"
#include "lib/check.h"
#include "lib/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (64u << 20)
#define DISK_BYTES (4u << 20)
#define SECTOR 512u
#define SECTORS (DISK_BYTES / SECTOR)

static unsigned wanted_cases = 600;
static unsigned stride = 7;
static uint64_t random_state = 1;

typedef struct Shape {
    const char *format, *options;
    bool has_snapshots, cannot_write;
} Shape;

static const Shape shapes[] = {
    { "raw", "" },
    { "vdi", "" },
    { "vdi", "static=on" },
    { "vhdx", "block_size=1M" },
    { "vmdk", "subformat=monolithicSparse" },
    { "vmdk", "subformat=streamOptimized", .cannot_write = true },
    { "vpc", "subformat=dynamic" },
    { "vpc", "subformat=fixed" },
    { "qcow2", "cluster_size=4k", .has_snapshots = true },
    { "qcow2", "cluster_size=64k,lazy_refcounts=on", .has_snapshots = true },
    { "qcow2", "cluster_size=512,compat=0.10,refcount_bits=16", .has_snapshots = true },
    { "qcow2", "cluster_size=16k,extended_l2=on,preallocation=metadata" },
};

static BlockNode *open_image(const Shape *shape, File *file, unsigned flags, GError **error)
{
    return block_open_file(file, "some.image", shape->format,
                           flags | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_BACKING, error);
}

static bool create_on(const Shape *shape, File *file, GError **error)
{
    g_autoptr(BlockSpec) options = block_spec_from_text(shape->options, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    return block_create_on_file(shape->format, file, "some.image", options, error);
}

static File *good_image(const Shape *shape)
{
    File *file = file_memory_new(NULL, 0, LIMIT);
    assert_true(create_on(shape, file, NULL));
    return file;
}

static File *copy_of(File *file)
{
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    return file_memory_new(data, size, LIMIT);
}

/* A file that is closed more than once: what an image leaves behind can be looked at. */
typedef struct Lasting {
    File file;
    File *below;
} Lasting;

static ssize_t lasting_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->preadv(below, iov, count, offset);
}

static ssize_t lasting_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->pwritev(below, iov, count, offset);
}

static int lasting_flush(File *file)
{
    return 0;
}

static int lasting_truncate(File *file, uint64_t size)
{
    return file_truncate(((Lasting *)file)->below, size);
}

static int lasting_allocate(File *file, uint64_t offset, uint64_t length)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->allocate(below, offset, length);
}

static int lasting_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->zero(below, offset, length, flags);
}

static int lasting_discard(File *file, uint64_t offset, uint64_t length)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->discard(below, offset, length);
}

static int lasting_extent(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                          uint64_t *out_length)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->extent(below, offset, length, out_kind, out_length);
}

static int lasting_size(File *file, uint64_t *out_size)
{
    return file_size(((Lasting *)file)->below, out_size);
}

static int lasting_disk_usage(File *file, uint64_t *out_bytes)
{
    File *below = ((Lasting *)file)->below;
    return below->ops->disk_usage(below, out_bytes);
}

static void lasting_close(File *file)
{
    file_done(file);
    g_free(file);
}

static File *lasting(File *below)
{
    static const FileOps ops = {
        .name = "lasting",
        .preadv = lasting_preadv,
        .pwritev = lasting_pwritev,
        .flush = lasting_flush,
        .truncate = lasting_truncate,
        .allocate = lasting_allocate,
        .zero = lasting_zero,
        .discard = lasting_discard,
        .extent = lasting_extent,
        .size = lasting_size,
        .disk_usage = lasting_disk_usage,
        .close = lasting_close,
    };
    Lasting *self = g_new0(Lasting, 1);
    file_init(&self->file, &ops);
    self->file.alignment = below->alignment;
    self->below = below;
    return &self->file;
}

/* What each sector may hold. */
typedef struct Model {
    uint8_t flushed[SECTORS]; /* its value at the last flush that worked */
    bool may_be[SECTORS][4];  /* later values */
    bool is_open;
} Model;

/* Values are 0 to 3: few, so that a set is small. */
static void note_write(Model *model, uint64_t first, uint64_t count, unsigned value)
{
    for (uint64_t i = first; i < first + count; i++) {
        model->may_be[i][value] = true;
    }
}

static void note_done(uint8_t *now, uint64_t first, uint64_t count, unsigned value)
{
    memset(now + first, (int)value, count);
}

static void note_flush(Model *model, const uint8_t *now)
{
    memcpy(model->flushed, now, SECTORS);
    memset(model->may_be, 0, sizeof(model->may_be));
}

/* A workload; every call may fail. @failed: at least one did. */
static void use(const Shape *shape, BlockNode *node, Model *model, bool *out_failed)
{
    static uint8_t bytes[64 * SECTOR];
    uint8_t now[SECTORS];
    bool is_known = true;
    memcpy(now, model->flushed, SECTORS);
    for (unsigned i = 0; i < 16; i++) {
        uint64_t first = i * 1237 % (SECTORS - 64), count = 1 + i * 5 % 64;
        unsigned value = i % 4;
        int rc = 0;
        memset(bytes, (int)value, count * SECTOR);
        note_write(model, first, count, value);
        if (i % 5 == 4) {
            note_write(model, first, count, 0);
            rc = block_discard(node, first * SECTOR, count * SECTOR);
            is_known = false; /* what is there is for the format to say, until the next flush */
        } else if (value == 0) {
            rc = block_write_zeroes(node, first * SECTOR, count * SECTOR, BLOCK_IO_MAY_UNMAP);
        } else {
            rc = block_pwrite(node, first * SECTOR, bytes, count * SECTOR, 0);
        }
        *out_failed |= rc < 0;
        is_known &= rc == 0;
        note_done(now, first, count, value);
        if (shape->has_snapshots && (i == 6 || i == 12)) {
            g_autoptr(GError) error = NULL;
            bool ok = i == 6 ? block_snapshot_create(node, "s", &error)
                             : block_snapshot_delete(node, "s", &error);
            assert_true(ok == !error);
            *out_failed |= !ok;
        }
        if (i % 4 == 3) {
            rc = block_flush(node);
            *out_failed |= rc < 0;
            if (rc == 0 && is_known) {
                note_flush(model, now);
            }
        }
    }
    *out_failed |= block_node_close(node) < 0;
}

static char *content_problem(const Model *model, BlockNode *node)
{
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);
    if (block_pread(node, 0, data, DISK_BYTES) < 0) {
        return g_strdup("cannot be read");
    }
    for (unsigned i = 0; i < SECTORS; i++) {
        uint8_t value = data[i * SECTOR];
        bool is_whole = memcmp(data + i * SECTOR, data + i * SECTOR + 1, SECTOR - 1) == 0;
        bool fits = value == model->flushed[i] || (value < 4 && model->may_be[i][value]);
        /* A write that failed may have left part of a sector. */
        bool may_mix = false;
        for (unsigned v = 0; v < 4; v++) {
            may_mix |= model->may_be[i][v];
        }
        if (is_whole ? !fits : !may_mix) {
            return g_strdup_printf("sector %u holds %02x, flushed was %02x", i, value,
                                   model->flushed[i]);
        }
    }
    return NULL;
}

static char *image_problem(const Shape *shape, File *file, const Model *model)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node =
        open_image(shape, lasting(file), BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR, &error);
    if (!node) {
        return g_strdup(error->message);
    }
    BlockCheck check = { 0 }, again = { 0 };
    char *problem = NULL;
    int rc = block_check(node, &check, 0);
    /* VDI's count of blocks and its map are in different sectors. */
    bool may_need_repair = strcmp(shape->format, "vdi") == 0 || strstr(shape->options, "lazy");
    if (rc != -ENOTSUP && (rc < 0 || (check.corruptions && !may_need_repair))) {
        problem = g_strdup_printf("check gives %d, %lu corruptions", rc,
                                  (unsigned long)check.corruptions);
    }
    if (!problem && rc == 0) {
        BlockCheck repair = { 0 };
        int repaired = block_check(node, &repair, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        rc = block_check(node, &again, 0);
        if ((repaired < 0 && repaired != -ENOTSUP) || rc < 0 || again.corruptions ||
            (again.leaks && repaired != -ENOTSUP)) {
            problem = g_strdup_printf("repaired (%d), check gives %d, %lu corruptions, %lu leaks",
                                      repaired, rc, (unsigned long)again.corruptions,
                                      (unsigned long)again.leaks);
        }
    }
    if (!problem) {
        problem = content_problem(model, node);
    }
    block_node_unref(node);
    return problem;
}

static const FaultPlan kinds[] = {
    { .ops = FAULT_WRITE | FAULT_RESIZE, .error = ENOSPC, .is_sticky = true },
    { .ops = FAULT_WRITE | FAULT_RESIZE, .error = EIO },
    { .ops = FAULT_WRITE | FAULT_RESIZE, .error = EIO, .is_torn = true, .is_sticky = true },
    { .ops = FAULT_FLUSH, .error = EIO },
    { .ops = FAULT_READ, .error = EIO },
    { .ops = FAULT_READ | FAULT_WRITE, .is_short = true },
};

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {
        "no space", "a write", "torn", "a flush", "a read", "short"
    };
    return names[kind];
}

static void creation_that_fails_says_so(void **state)
{
    unsigned cases = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes) * G_N_ELEMENTS(kinds); i++) {
        const Shape *shape = &shapes[i % G_N_ELEMENTS(shapes)];
        unsigned kind = i / G_N_ELEMENTS(shapes);
        bool is_past = false;
        for (uint64_t at = 1; !is_past; at += at < 20 ? 1 : stride, cases++) {
            FaultPlan plan = kinds[kind];
            plan.at = at;
            File *file = file_fault_new(file_memory_new(NULL, 0, LIMIT), &plan);
            g_autoptr(GError) error = NULL;
            bool ok = create_on(shape, file, &error);
            is_past = plan.seen < at;
            if (ok != !error || ok != (is_past || plan.is_short)) {
                fail_msg("%s,%s: %s fails, number %lu: %s", shape->format, shape->options,
                         kind_name(kind), (unsigned long)at, ok ? "created" : "no error");
            }
            file_close(file);
        }
    }
    print_message("# %u cases\n", cases);
}

/* One image used on a file whose operation @at fails. Returns: whether there was one. */
static bool use_case(const Shape *shape, File *good, unsigned kind, uint64_t at, Model *model)
{
    FaultPlan plan = kinds[kind];
    File *file = copy_of(good);
    g_autoptr(GError) error = NULL;
    bool failed = false;
    memset(model, 0, sizeof(*model));
    plan.at = at;
    BlockNode *node =
        open_image(shape, file_fault_new(lasting(file), &plan), BLOCK_OPEN_WRITABLE, &error);
    if (!node) {
        assert_non_null(error);
        if (!strstr(error->message, "some.image")) {
            fail_msg("'%s' does not name the file", error->message);
        }
    } else {
        use(shape, node, model, &failed);
    }
    bool was_hit = plan.seen >= at;
    g_autofree char *problem = image_problem(shape, file, model);
    if (!problem && plan.is_short && (failed || !node)) {
        problem = g_strdup("failed");
    }
    if (problem) {
        fail_msg("%s,%s: %s fails, number %lu: %s", shape->format, shape->options, kind_name(kind),
                 (unsigned long)at, problem);
    }
    file_close(file);
    return was_hit;
}

static void a_failure_corrupts_nothing(void **state)
{
    unsigned cases = 0;
    Model *model = g_new0(Model, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        if (shapes[i].cannot_write) {
            continue;
        }
        File *good = good_image(&shapes[i]);
        for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
            uint64_t at = 1;
            while (use_case(&shapes[i], good, kind, at, model)) {
                at += stride;
                cases++;
            }
        }
        file_close(good);
    }
    g_free(model);
    print_message("# %u cases\n", cases);
}

/* Random corruption */

static void corrupt(File *file)
{
    size_t size;
    (void)!file_memory_data(file, &size);
    static const uint64_t borders[] = { 128, 1024, 4096, 65536, 1 << 20, UINT64_MAX };
    for (unsigned i = 0, count = 1 + (unsigned)(random_next(&random_state) % 5); i < count; i++) {
        uint64_t limit = min_u64(borders[random_next(&random_state) % G_N_ELEMENTS(borders)], size);
        uint64_t place = random_next(&random_state) % limit, value = random_next(&random_state);
        size_t length = min_u64(1 + random_next(&random_state) % 8, size - place);
        switch (random_next(&random_state) % 4) {
        case 0:
            value = 0;
            break;
        case 1:
            value = UINT64_MAX;
            break;
        case 2:
            value = 1ull << random_next(&random_state) % 64;
            break;
        default:
            break;
        }
        assert_int_equal(file_write(file, place, &value, length), 0);
    }
}

static void one_corrupt_case(const Shape *shape, File *good)
{
    File *file = copy_of(good);
    corrupt(file);
    unsigned flags = random_next(&random_state) & 1 ? BLOCK_OPEN_WRITABLE : 0;
    flags |= random_next(&random_state) & 1 ? BLOCK_OPEN_REPAIR : 0;
    g_autoptr(GError) error = NULL;
    BlockNode *node = open_image(shape, file, flags, &error);
    assert_true(!node == !!error);
    if (!node) {
        return;
    }
    static uint8_t bytes[100000];
    uint64_t size = block_node_size(node);
    for (unsigned i = 0; i < 10 && size; i++) {
        uint64_t offset = random_next(&random_state) %
                          (random_next(&random_state) & 1 ? size : MIN(size, DISK_BYTES));
        uint64_t length = min_u64(1 + random_next(&random_state) % sizeof(bytes), size - offset);
        BlockStatus status;
        (void)!block_pread(node, offset, bytes, length);
        (void)!block_status(node, offset, size - offset, &status);
        if (flags & BLOCK_OPEN_WRITABLE) {
            (void)!block_pwrite(node, offset, bytes, length, 0);
            (void)!block_write_zeroes(node, offset, length / 2 + 1, BLOCK_IO_MAY_UNMAP);
        }
    }
    BlockCheck check = { 0 };
    bool fixes = flags == (BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR);
    if (size <= 64 * DISK_BYTES) {
        (void)!block_check(node, &check, fixes ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0);
    }
    (void)!block_flush(node);
    block_node_unref(node);
}

static void any_corruption_gives_data_an_error_or_a_refusal(void **state)
{
    unsigned cases = 0;
    Model *model = g_new0(Model, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        File *good = good_image(&shapes[i]);
        bool failed = false;
        if (!shapes[i].cannot_write) {
            BlockNode *node = open_image(&shapes[i], lasting(good), BLOCK_OPEN_WRITABLE, NULL);
            use(&shapes[i], node, model, &failed);
        }
        for (unsigned j = 0; j < wanted_cases / G_N_ELEMENTS(shapes); j++, cases++) {
            one_corrupt_case(&shapes[i], good);
        }
        file_close(good);
    }
    g_free(model);
    print_message("# %u cases\n", cases);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creation_that_fails_says_so),
        cmocka_unit_test(a_failure_corrupts_nothing),
        cmocka_unit_test(any_corruption_gives_data_an_error_or_a_refusal),
    };
    log_init("test-format-faults", LOG_LEVEL_ERROR);
    if (argc > 1) {
        wanted_cases = (unsigned)strtoul(argv[1], NULL, 10);
        stride = 1;
    }
    random_state = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : random_state;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
