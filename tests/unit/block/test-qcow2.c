/* qcow2 against a model in memory: random requests on images of many shapes, with our own check
 * and, where qemu-img is installed, the scenarios of tests/block on top.
 *
 * The model is the disk's content. After each round the image is checked, opened again and
 * compared. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/block.h"
#include "lib/check.h"
#include "lib/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT (1ull << 30)
#define DISK_BYTES (3u << 20)

typedef struct Shape {
    const char *name, *options;
    bool has_backing;
} Shape;

static const Shape shapes[] = {
    { "v3", "cluster_size=64k", false },
    { "v3 small clusters", "cluster_size=512", false },
    { "v2", "compat=0.10,cluster_size=4k", false },
    { "v3 backing", "cluster_size=4k", true },
    { "v2 backing", "compat=0.10,cluster_size=64k", true },
    { "refcount 1 bit", "cluster_size=1k,refcount_bits=1", false },
    { "refcount 64 bits", "cluster_size=2k,refcount_bits=64", false },
    { "zstd", "cluster_size=64k,compression_type=zstd", false },
    { "subclusters", "cluster_size=64k,extended_l2=on", false },
    { "subclusters backing", "cluster_size=16k,extended_l2=on", true },
    { "metadata", "cluster_size=64k,preallocation=metadata", false },
    { "large clusters", "cluster_size=2M", false },
};

static uint64_t random_state;

typedef struct Rig {
    const Shape *shape;
    uint8_t *model, *backing;
    uint64_t size;
    File *file; /* for its content: the node owns it */
    BlockNode *node;
} Rig;

static File *copy_of(File *file)
{
    size_t size;
    const uint8_t *data = file_memory_data(file, &size);
    return file_memory_new(data, size, LIMIT);
}

static BlockNode *open_backing(const Rig *rig)
{
    File *file = file_memory_new(rig->backing, DISK_BYTES / 2 + 512, LIMIT);
    BlockNode *node = block_open_file(file, "backing.raw", "raw", 0, NULL);
    assert_non_null(node);
    return node;
}

static void attach(Rig *rig, File *file, unsigned flags)
{
    g_autoptr(GError) error = NULL;
    rig->file = file;
    rig->node = block_open_file(
        file, "test.qcow2", "qcow2",
        flags | BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD | BLOCK_OPEN_NO_BACKING, &error);
    if (!rig->node) {
        fail_msg("%s: %s", rig->shape->name, error->message);
    }
    if (rig->shape->has_backing) {
        block_node_set_backing(rig->node, open_backing(rig));
    }
}

static void assert_clean(BlockNode *node, const char *what)
{
    BlockCheck check = { 0 };
    int rc = block_check(node, &check, 0);
    if (rc < 0 || check.corruptions || check.leaks || check.check_errors) {
        fail_msg("%s: check: %d, %d corruptions, %d leaks", what, rc, (int)check.corruptions,
                 (int)check.leaks);
    }
}

static void assert_same(Rig *rig)
{
    g_autofree uint8_t *data = g_malloc(rig->size);
    assert_int_equal(block_node_size(rig->node), rig->size);
    assert_int_equal(block_pread(rig->node, 0, data, rig->size), 0);
    if (memcmp(data, rig->model, rig->size) != 0) {
        uint64_t at = 0;
        while (data[at] == rig->model[at]) {
            at++;
        }
        fail_msg("%s: byte %#lx is %02x, not %02x", rig->shape->name, (unsigned long)at, data[at],
                 rig->model[at]);
    }
}

static void reopen(Rig *rig)
{
    assert_int_equal(block_flush(rig->node), 0);
    /* Closing releases what was freed. The content outlives the node as a copy. */
    assert_int_equal(block_flush(rig->node), 0);
    File *file = copy_of(rig->file);
    block_node_unref(rig->node);
    attach(rig, file, 0);
}

static void set_up(Rig *rig, const Shape *shape)
{
    g_autoptr(GError) error = NULL;
    memset(rig, 0, sizeof(*rig));
    rig->shape = shape;
    rig->size = DISK_BYTES;
    rig->model = g_malloc0(DISK_BYTES * 2);
    rig->backing = g_malloc0(DISK_BYTES);
    g_autoptr(BlockSpec) options = block_spec_from_text(shape->options, NULL);
    g_autofree char *size = g_strdup_printf("%u", DISK_BYTES);
    block_spec_set(options, "size", size);
    if (shape->has_backing) {
        block_spec_set(options, "backing_file", "backing.raw");
        block_spec_set(options, "backing_fmt", "raw");
        for (unsigned i = 0; i < DISK_BYTES / 2 + 512; i++) {
            rig->backing[i] = (uint8_t)(i >> 9 | 1);
        }
        memcpy(rig->model, rig->backing, DISK_BYTES / 2 + 512);
    }
    File *file = file_memory_new(NULL, 0, LIMIT);
    if (!block_create_on_file("qcow2", file, "test.qcow2", options, &error)) {
        fail_msg("%s: %s", shape->name, error->message);
    }
    attach(rig, file, 0);
}

static void tear_down(Rig *rig)
{
    block_node_unref(rig->node);
    g_free(rig->model);
    g_free(rig->backing);
}

/* A range of random place and length; sometimes aligned to clusters. */
static void random_range(const Rig *rig, uint64_t *offset, uint64_t *length)
{
    unsigned kind = (unsigned)(random_next(&random_state) % 4);
    *offset = random_next(&random_state) % rig->size;
    *length = 1 + random_next(&random_state) % (kind == 0 ? 300000 : kind == 1 ? 100 : 5000);
    if (kind == 3) {
        *offset &= ~0xffffull;
        *length = (1 + random_next(&random_state) % 4) << 16;
    }
    *length = MIN(*length, rig->size - *offset);
}

static void do_write(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    memset(rig->model + offset, (int)random_next(&random_state), length);
    if (random_next(&random_state) & 1 && length > 2) {
        rig->model[offset + length / 2] ^= 0x55;
    }
    assert_int_equal(block_pwrite(rig->node, offset, rig->model + offset, length, 0), 0);
}

static void do_zero(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    memset(rig->model + offset, 0, length);
    unsigned flags = random_next(&random_state) & 1 ? BLOCK_IO_MAY_UNMAP : 0;
    assert_int_equal(block_write_zeroes(rig->node, offset, length, flags), 0);
}

/* What is discarded reads as before or as zeroes: the model takes what is there. */
static void do_discard(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    assert_int_equal(block_discard(rig->node, offset, length), 0);
    g_autofree uint8_t *data = g_malloc(length);
    assert_int_equal(block_pread(rig->node, offset, data, length), 0);
    for (uint64_t i = 0; i < length; i++) {
        if (data[i] && data[i] != rig->model[offset + i]) {
            fail_msg("%s: discarded byte %#lx is %02x", rig->shape->name,
                     (unsigned long)(offset + i), data[i]);
        }
    }
    memcpy(rig->model + offset, data, length);
}

static void do_compressed(Rig *rig)
{
    uint64_t cluster = 1ull << 21;
    BlockInfo info;
    assert_true(block_get_info(rig->node, &info, NULL));
    cluster = info.cluster_size;
    block_info_clear(&info);
    uint64_t offset = random_next(&random_state) % rig->size / cluster * cluster;
    uint64_t length = MIN(cluster, rig->size - offset);
    for (uint64_t i = 0; i < length; i++) {
        rig->model[offset + i] = (uint8_t)(i % 37 ? i >> 8 : random_next(&random_state));
    }
    int rc = block_write_compressed(rig->node, offset, rig->model + offset, length);
    assert_int_equal(rc, 0);
}

static void do_read(Rig *rig)
{
    uint64_t offset, length;
    random_range(rig, &offset, &length);
    g_autofree uint8_t *data = g_malloc(length);
    assert_int_equal(block_pread(rig->node, offset, data, length), 0);
    assert_memory_equal(data, rig->model + offset, length);
}

static void do_resize(Rig *rig)
{
    uint64_t size = (DISK_BYTES / 2 + random_next(&random_state) % DISK_BYTES) & ~511ull;
    g_autoptr(GError) error = NULL;
    if (!block_truncate(rig->node, size, BLOCK_PREALLOCATION_OFF, &error)) {
        fail_msg("%s: resize: %s", rig->shape->name, error->message);
    }
    if (size > rig->size) {
        memset(rig->model + rig->size, 0, size - rig->size);
    }
    rig->size = size;
}

static void random_requests_read_back_and_leave_a_clean_image(void **state)
{
    static void (*const ops[])(Rig *) = {
        do_write, do_write, do_write, do_read, do_zero, do_discard, do_compressed, do_write,
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        random_state = 0x1234567 + i;
        set_up(&rig, &shapes[i]);
        assert_clean(rig.node, shapes[i].name);
        for (unsigned round = 0; round < 8; round++) {
            for (unsigned op = 0; op < 40; op++) {
                ops[random_next(&random_state) % G_N_ELEMENTS(ops)](&rig);
            }
            if (round % 2) {
                do_resize(&rig);
            }
            assert_same(&rig);
            assert_clean(rig.node, shapes[i].name);
            reopen(&rig);
            assert_same(&rig);
            assert_clean(rig.node, shapes[i].name);
        }
        tear_down(&rig);
    }
}

static void snapshots_keep_what_was_there(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        if (strstr(shapes[i].options, "refcount_bits=1")) {
            continue; /* no cluster can be shared */
        }
        Rig rig;
        g_autoptr(GError) error = NULL;
        random_state = 0x7654321 + i;
        set_up(&rig, &shapes[i]);
        for (unsigned op = 0; op < 20; op++) {
            do_write(&rig);
        }
        do_compressed(&rig);
        g_autofree uint8_t *before = g_memdup2(rig.model, DISK_BYTES);
        if (!block_snapshot_create(rig.node, "one", &error)) {
            fail_msg("%s: %s", shapes[i].name, error->message);
        }
        assert_clean(rig.node, shapes[i].name);
        for (unsigned op = 0; op < 20; op++) {
            do_write(&rig);
            do_zero(&rig);
        }
        assert_clean(rig.node, shapes[i].name);
        assert_same(&rig);
        assert_true(block_snapshot_create(rig.node, "two", NULL));
        do_write(&rig);
        reopen(&rig);
        assert_same(&rig);
        assert_true(block_snapshot_apply(rig.node, "one", NULL));
        memcpy(rig.model, before, DISK_BYTES);
        assert_same(&rig);
        assert_clean(rig.node, shapes[i].name);
        do_write(&rig);
        assert_true(block_snapshot_delete(rig.node, "one", NULL));
        assert_clean(rig.node, shapes[i].name);
        assert_same(&rig);
        assert_true(block_snapshot_delete(rig.node, "two", NULL));
        assert_false(block_snapshot_delete(rig.node, "two", NULL));
        assert_clean(rig.node, shapes[i].name);
        reopen(&rig);
        assert_same(&rig);
        tear_down(&rig);
    }
}

#define THREADS 4u
#define SECTOR 512u

typedef struct Worker {
    Rig *rig;
    unsigned number;
    uint64_t random;
    pthread_t thread;
} Worker;

/* Its sectors are those whose number leaves its own as rest: clusters are shared, sectors are not.
 */
static void *work(void *opaque)
{
    Worker *worker = opaque;
    Rig *rig = worker->rig;
    uint8_t data[SECTOR];
    for (unsigned i = 0; i < 1500; i++) {
        worker->random = worker->random * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t sector = (worker->random >> 20) % (DISK_BYTES / SECTOR / THREADS) * THREADS;
        uint64_t offset = (sector + worker->number) * SECTOR;
        int rc = 0;
        switch (worker->random >> 60) {
        case 0:
            rc = block_flush(rig->node);
            break;
        case 1:
            memset(rig->model + offset, 0, SECTOR);
            rc = block_write_zeroes(rig->node, offset, SECTOR, BLOCK_IO_MAY_UNMAP);
            break;
        case 2:
        case 3:
            rc = block_pread(rig->node, offset, data, SECTOR);
            rc |= memcmp(data, rig->model + offset, SECTOR);
            break;
        default:
            memset(rig->model + offset, (int)(worker->random >> 32), SECTOR);
            rc = block_pwrite(rig->node, offset, rig->model + offset, SECTOR, 0);
        }
        if (rc) {
            return (void *)"a request failed or read something else";
        }
    }
    return NULL;
}

static void threads_that_share_clusters_do_not_harm_each_other(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        Worker workers[THREADS];
        set_up(&rig, &shapes[i]);
        if (!strstr(shapes[i].options, "refcount_bits=1")) {
            assert_true(block_snapshot_create(rig.node, "s", NULL));
        }
        for (unsigned t = 0; t < THREADS; t++) {
            workers[t] = (Worker){ .rig = &rig, .number = t, .random = i * 100 + t };
            assert_int_equal(pthread_create(&workers[t].thread, NULL, work, &workers[t]), 0);
        }
        for (unsigned t = 0; t < THREADS; t++) {
            void *problem;
            pthread_join(workers[t].thread, &problem);
            if (problem) {
                fail_msg("%s: %s", shapes[i].name, (char *)problem);
            }
        }
        assert_same(&rig);
        assert_clean(rig.node, shapes[i].name);
        tear_down(&rig);
    }
}

/* Writes behind the one that tells. */
typedef struct Follower {
    Rig *rig;
    uint64_t offset;
    unsigned told;
} Follower;

static void follow(void *opaque)
{
    Follower *follower = opaque;
    Rig *rig = follower->rig;
    follower->told++;
    memset(rig->model + follower->offset, 0x5a, 4096);
    assert_int_equal(
        block_pwrite(rig->node, follower->offset, rig->model + follower->offset, 4096, 0), 0);
}

static uint64_t place_of(Rig *rig, uint64_t offset)
{
    BlockStatus status;
    assert_int_equal(block_status(rig->node, offset, 512, &status), 0);
    assert_true(status.flags & BLOCK_STATUS_OFFSET);
    return status.offset;
}

static void a_write_that_overtakes_a_settled_one_lies_behind_it(void **state)
{
    enum { FROM = 4096 + 512, LENGTH = 200000, BEHIND = 2u << 20 };
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Rig rig;
        set_up(&rig, &shapes[i]);
        Follower follower = { &rig, BEHIND, 0 };
        const BlockSettled settled = { follow, &follower };
        memset(rig.model + FROM, 0xa5, LENGTH);
        assert_int_equal(block_pwrite_settled(rig.node, FROM, rig.model + FROM, LENGTH, &settled),
                         0);
        assert_int_equal(follower.told, 1);
        if (place_of(&rig, FROM + LENGTH - 512) > place_of(&rig, BEHIND)) {
            fail_msg("%s: what came later lies before", shapes[i].name);
        }
        assert_same(&rig);
        reopen(&rig);
        assert_same(&rig);
        assert_clean(rig.node, shapes[i].name);
        tear_down(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_read_back_and_leave_a_clean_image),
        cmocka_unit_test(snapshots_keep_what_was_there),
        cmocka_unit_test(a_write_that_overtakes_a_settled_one_lies_behind_it),
        cmocka_unit_test(threads_that_share_clusters_do_not_harm_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
