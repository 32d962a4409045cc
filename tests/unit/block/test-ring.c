/* Requests without threads: transfers by io_uring, and where nodes let them go.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/backend.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGE_BYTES (1u << 20)
#define BLOCK 4096
#define SLOTS 300 /* more than a ring takes at once */

typedef struct Bench {
    EventLoop *loop;
    char path[64];
} Bench;

static int set_up(void **state)
{
    Bench *b = g_new0(Bench, 1);
    b->loop = loop_new();
    strcpy(b->path, "/tmp/lodge-ring-XXXXXX");
    int fd = mkstemp(b->path);
    assert_true(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    close(fd);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    Bench *b = *state;
    unlink(b->path);
    loop_free(b->loop);
    g_free(b);
    return 0;
}

static File *open_file(const Bench *b, bool is_direct)
{
    File *file;
    FilePosixOptions options = { .is_writable = true, .is_direct = is_direct };
    int fd = open(b->path, O_RDWR | (is_direct ? O_DIRECT : 0));
    return fd >= 0 && file_posix_new(fd, &options, &file) == 0 ? file : NULL;
}

/* Some hosts refuse io_uring to everybody. */
static FileRing *open_ring(const Bench *b)
{
    FileRing *ring = file_ring_new(b->loop);
    if (!ring) {
        print_message("# no io_uring here: %s\n", strerror(errno));
        skip();
    }
    return ring;
}

typedef struct Slot {
    FileTransfer transfer;
    struct iovec iov[2];
    int result;
    unsigned finished, done;
} Slot;

static void on_finished(FileTransfer *transfer, int result)
{
    Slot *slot = container_of(transfer, Slot, transfer);
    slot->result = result;
    slot->finished++;
    assert_int_equal(slot->done, 0);
}

static void on_done(FileTransfer *transfer)
{
    Slot *slot = container_of(transfer, Slot, transfer);
    slot->done++;
    assert_int_equal(slot->finished, 1);
}

static bool start(FileRing *ring, Slot *slot, File *file, bool is_write, uint64_t offset,
                  uint8_t *buf, size_t length)
{
    memset(slot, 0, sizeof(*slot));
    slot->iov[0] = (struct iovec){ buf, length / 2 };
    slot->iov[1] = (struct iovec){ buf + length / 2, length - length / 2 };
    slot->transfer = (FileTransfer){ .file = file,
                                     .is_write = is_write,
                                     .offset = offset,
                                     .iov = slot->iov,
                                     .count = 2,
                                     .finished = on_finished,
                                     .done = on_done };
    return file_ring_submit(ring, &slot->transfer);
}

static void run_until_done(const Bench *b, const Slot *slot)
{
    while (!slot->done) {
        assert_int_equal(loop_run_once(b->loop, 1000), 0);
    }
    assert_int_equal(slot->result, 0);
}

static void a_full_ring_refuses_and_all_it_took_is_written(void **state)
{
    Bench *b = *state;
    FileRing *ring = open_ring(b);
    File *file = open_file(b, false);
    g_autofree Slot *slots = g_new0(Slot, SLOTS);
    g_autofree uint8_t *out = g_malloc(BLOCK * SLOTS), *in = g_malloc0(BLOCK * SLOTS);
    unsigned refused = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        memset(out + i * BLOCK, (int)i, BLOCK);
        while (!start(ring, &slots[i], file, true, i * BLOCK, out + i * BLOCK, BLOCK)) {
            refused++;
            assert_int_equal(loop_run_once(b->loop, 1000), 0);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        run_until_done(b, &slots[i]);
    }
    assert_true(refused > 0);
    assert_int_equal(file_read(file, 0, in, BLOCK * SLOTS), 0);
    assert_memory_equal(in, out, BLOCK * SLOTS);
    file_ring_free(ring);
    file_close(file);
}

static void what_lies_past_the_end_reads_as_zeroes(void **state)
{
    Bench *b = *state;
    FileRing *ring = open_ring(b);
    for (unsigned direct = 0; direct < 2; direct++) {
        File *file = open_file(b, direct);
        if (!file) {
            continue; /* a file system without O_DIRECT */
        }
        g_autofree uint8_t *memory = g_malloc(4 * BLOCK);
        uint8_t *buf = memory + BLOCK - (uintptr_t)memory % BLOCK;
        Slot slot;
        memset(buf, 'x', 2 * BLOCK);
        assert_true(start(ring, &slot, file, false, IMAGE_BYTES - BLOCK, buf, 2 * BLOCK));
        run_until_done(b, &slot);
        assert_true(block_is_zero(buf, 2 * BLOCK));
        memset(buf, 'x', 2 * BLOCK);
        assert_true(start(ring, &slot, file, false, 4ull * IMAGE_BYTES, buf, 2 * BLOCK));
        run_until_done(b, &slot);
        assert_true(block_is_zero(buf, 2 * BLOCK));
        file_close(file);
    }
    file_ring_free(ring);
}

static void unaligned_direct_requests_and_other_files_are_refused(void **state)
{
    Bench *b = *state;
    FileRing *ring = open_ring(b);
    File *memory = file_memory_new(NULL, 0, BLOCK), *file = open_file(b, true);
    g_autofree uint8_t *buf = g_malloc0(4 * BLOCK);
    uint8_t *aligned = buf + BLOCK - (uintptr_t)buf % BLOCK;
    Slot slot;
    assert_false(start(ring, &slot, memory, false, 0, buf, BLOCK));
    if (file) {
        assert_false(start(ring, &slot, file, false, 0, aligned + 1, BLOCK));
        assert_false(start(ring, &slot, file, false, 100, aligned, BLOCK));
        assert_false(start(ring, &slot, file, false, 0, aligned, BLOCK + 2));
        assert_true(start(ring, &slot, file, false, 0, aligned, BLOCK));
    }
    file_ring_free(ring); /* waits */
    file_close(file);
    file_close(memory);
}

static void a_failed_write_says_why(void **state)
{
    Bench *b = *state;
    FileRing *ring = open_ring(b);
    File *file;
    FilePosixOptions options = { 0 };
    uint8_t buf[BLOCK] = { 0 };
    Slot slot;
    assert_int_equal(file_posix_new(open(b->path, O_RDONLY), &options, &file), 0);
    assert_true(start(ring, &slot, file, true, 0, buf, BLOCK));
    file_ring_finish(ring);
    assert_int_equal(slot.result, -EBADF);
    assert_int_equal(slot.done, 0);
    file_ring_poll(ring);
    assert_int_equal(slot.done, 1);
    file_ring_free(ring);
    file_close(file);
}

/* Disks */

typedef struct Disk Disk;

typedef struct DiskRequest {
    BlockRequest io;
    Disk *disk;
    struct iovec iov;
    uint8_t data[BLOCK];
} DiskRequest;

struct Disk {
    Bench *bench;
    BlockNode *node;
    BlockBackend *backend;
    DiskRequest *requests; /* SLOTS */
    unsigned started, left;
    BlockOp op;
    void (*meanwhile)(Disk *disk); /* on the loop, with the requests in flight; may be NULL */
};

static void disk_open(Disk *disk, Bench *b, const char *format, const char *create_options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockSpec) spec = block_spec_from_name(b->path, format, NULL);
    g_autoptr(BlockSpec) options = block_spec_from_text(create_options, NULL);
    assert_true(block_create(format, b->path, options, &error));
    *disk = (Disk){ .bench = b };
    disk->requests = g_new0(DiskRequest, SLOTS);
    disk->node = block_open(spec, BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD, &error);
    assert_non_null(disk->node);
    BlockOptions backend = { .id = "d", .node = disk->node };
    disk->backend = block_backend_open(&backend, b->loop, &error);
    assert_non_null(disk->backend);
}

static void disk_close(Disk *disk)
{
    block_backend_close(disk->backend);
    block_node_unref(disk->node);
    g_free(disk->requests);
}

static void on_request_done(BlockRequest *io, int result)
{
    DiskRequest *request = container_of(io, DiskRequest, io);
    assert_int_equal(result, 0);
    request->disk->left--;
}

/* Submits on the loop, as devices do. */
static void submit_all(void *opaque)
{
    Disk *disk = opaque;
    for (unsigned i = 0; i < disk->started; i++) {
        DiskRequest *request = &disk->requests[i];
        request->disk = disk;
        request->iov = (struct iovec){ request->data, BLOCK };
        request->io = (BlockRequest){ .op = disk->op,
                                      .offset = (uint64_t)i * BLOCK,
                                      .length = BLOCK,
                                      .iov = &request->iov,
                                      .iov_count = 1,
                                      .done = on_request_done };
        block_submit(disk->backend, &request->io);
    }
    if (disk->meanwhile) {
        disk->meanwhile(disk);
    }
}

static void disk_run(Disk *disk, BlockOp op, unsigned count, void (*meanwhile)(Disk *disk))
{
    disk->op = op;
    disk->started = disk->left = count;
    disk->meanwhile = meanwhile;
    assert_int_equal(loop_call(disk->bench->loop, submit_all, disk), 0);
    while (disk->left) {
        assert_int_equal(loop_run_once(disk->bench->loop, 1000), 0);
    }
}

static void fill(Disk *disk, int shift)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        memset(disk->requests[i].data, (int)i + shift, BLOCK);
    }
}

static void assert_content(Disk *disk, unsigned count, int shift)
{
    uint8_t in[BLOCK], out[BLOCK];
    for (unsigned i = 0; i < count; i++) {
        memset(out, (int)i + shift, BLOCK);
        assert_int_equal(block_pread(disk->node, (uint64_t)i * BLOCK, in, BLOCK), 0);
        assert_memory_equal(in, out, BLOCK);
    }
}

static void everything_is_read_as_it_was_written(void **state)
{
    static const char *const options[][2] = { { "raw", "size=4M" },
                                              { "qcow2", "size=4M" },
                                              { "qcow2", "size=4M,cluster_size=4k" },
                                              { "qcow2", "size=4M,extended_l2=on" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        Disk disk;
        disk_open(&disk, *state, options[i][0], options[i][1]);
        for (int round = 0; round < 3; round++) { /* allocates, then goes without threads */
            fill(&disk, round);
            disk_run(&disk, BLOCK_OP_WRITE, SLOTS, NULL);
            assert_content(&disk, SLOTS, round);
            fill(&disk, 99);
            disk_run(&disk, BLOCK_OP_READ, SLOTS, NULL);
            for (unsigned j = 0; j < SLOTS; j++) {
                assert_int_equal(disk.requests[j].data[BLOCK - 1], (uint8_t)((int)j + round));
            }
        }
        disk_close(&disk);
    }
}

static void grow(Disk *disk)
{
    assert_true(block_truncate(disk->node, 8u << 20, BLOCK_PREALLOCATION_OFF, NULL));
    assert_int_equal(block_node_size(disk->node), 8u << 20);
}

static void take_snapshot(Disk *disk)
{
    assert_true(block_snapshot_create(disk->node, "s", NULL));
}

static void drain_and_free(Disk *disk)
{
    block_backend_drain_begin(disk->backend);
    block_backend_drain_end(disk->backend);
    assert_int_equal(block_flush(disk->node), 0);
}

static void drain_all(Disk *disk)
{
    block_backend_drain(disk->backend);
    assert_int_equal(disk->left, 0);
}

/* What waits for the requests of the thread that it runs on would wait for ever. */
static void changes_on_the_loop_finish_the_requests_first(void **state)
{
    static void (*const changes[])(Disk * disk) = { grow, drain_and_free, take_snapshot,
                                                    drain_all };
    Disk disk;
    disk_open(&disk, *state, "qcow2", "size=4M");
    fill(&disk, 0);
    disk_run(&disk, BLOCK_OP_WRITE, SLOTS, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        fill(&disk, (int)i + 1);
        disk_run(&disk, BLOCK_OP_WRITE, 100, changes[i]);
        assert_content(&disk, 100, (int)i + 1);
    }
    /* The snapshot, which was taken among writes of the third round, kept clusters as they were. */
    assert_true(block_snapshot_apply(disk.node, "s", NULL));
    BlockCheck check = { 0 };
    assert_int_equal(block_check(disk.node, &check, 0), 0);
    assert_int_equal(check.corruptions + check.leaks + check.check_errors, 0);
    disk_close(&disk);
}

/* Places */

static bool has_place(BlockNode *node, uint64_t offset, uint64_t length, bool is_write)
{
    BlockPlace place = { 0 };
    bool found = block_place(node, offset, length, is_write, &place);
    if (found) {
        block_release(&place);
    }
    return found;
}

static void only_own_clusters_are_written_in_place(void **state)
{
    Disk disk;
    uint8_t buf[2 * 65536] = { 1 };
    disk_open(&disk, *state, "qcow2", "size=4M");
    BlockNode *node = disk.node;
    assert_false(has_place(node, 0, BLOCK, true));
    assert_false(has_place(node, 0, BLOCK, false)); /* zeroes: not in the file */
    assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
    assert_true(has_place(node, 0, sizeof(buf), true));
    assert_true(has_place(node, 65536 - BLOCK, 2 * BLOCK, false));
    assert_false(has_place(node, 65536, 2 * 65536, false)); /* half of it is not there */
    assert_false(has_place(node, (4 << 20) - BLOCK, 2 * BLOCK, false));
    assert_false(has_place(node, UINT64_MAX - 10, BLOCK, false));
    assert_true(block_snapshot_create(node, "s", NULL));
    assert_false(has_place(node, 0, BLOCK, true));
    assert_true(has_place(node, 0, BLOCK, false));
    assert_int_equal(block_pwrite(node, 0, buf, BLOCK, 0), 0);
    assert_true(has_place(node, 0, 65536, true));
    assert_false(has_place(node, 65536, BLOCK, true));
    assert_int_equal(block_write_zeroes(node, 0, 65536, 0), 0);
    assert_false(has_place(node, 0, BLOCK, true));
    assert_false(has_place(node, 0, BLOCK, false));
    disk_close(&disk);
}

static void count_passed(void *opaque, uint64_t excess)
{
    *(uint64_t *)opaque += excess;
}

static void count_release(void *opaque)
{
    (void)opaque;
}

static void writes_in_place_pass_the_marks_of_both_nodes(void **state)
{
    Disk disk;
    uint64_t excess[2] = { 0 };
    disk_open(&disk, *state, "raw", "size=4M");
    BlockNode *nodes[] = { disk.node, block_node_file(disk.node) };
    for (unsigned i = 0; i < 2; i++) {
        BlockThreshold mark = { .offset = 9 * BLOCK + 1,
                                .passed = count_passed,
                                .release = count_release,
                                .opaque = &excess[i] };
        block_node_set_write_threshold(nodes[i], &mark);
        assert_int_equal(block_node_write_threshold(nodes[i]), 9 * BLOCK + 1);
    }
    disk_run(&disk, BLOCK_OP_WRITE, 9, NULL);
    assert_int_equal(excess[0] + excess[1], 0);
    disk_run(&disk, BLOCK_OP_WRITE, 10, NULL);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(excess[i], BLOCK - 1);
        assert_int_equal(block_node_write_threshold(nodes[i]), 0);
    }
    disk_close(&disk);
}

static void a_disk_that_nobody_called_raw_is_watched_at_its_head(void **state)
{
    Bench *b = *state;
    g_autoptr(BlockSpec) spec = block_spec_from_name(b->path, NULL, NULL);
    g_autoptr(BlockNode) node = block_open(spec, BLOCK_OPEN_WRITABLE, NULL);
    assert_non_null(node);
    assert_true(block_node_was_probed(node));
    assert_false(has_place(node, 0, BLOCK, true));
    assert_true(has_place(node, 0, BLOCK, false));
    assert_true(has_place(node, BLOCK, BLOCK, true));
}

static void threads_are_used_where_they_are_asked_for(void **state)
{
    Bench *b = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockSpec) spec = block_spec_from_name(b->path, "raw", NULL);
    BlockNode *node = block_open(spec, BLOCK_OPEN_THREADS, NULL);
    assert_non_null(node);
    assert_false(has_place(node, 0, BLOCK, false));
    block_node_unref(node);
    assert_null(block_open(spec, BLOCK_OPEN_NATIVE, &error));
    assert_non_null(strstr(error->message, "cache.direct=on"));
    block_spec_set(spec, "aio", "fast");
    g_clear_error(&error);
    assert_null(block_open(spec, 0, &error));
    assert_non_null(strstr(error->message, "fast"));
}

/* Refuses io_uring to this process. */
static bool refuse_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void run_without_io_uring(void **state)
{
    Bench *b = *state;
    Disk disk;
    assert_true(refuse_io_uring());
    assert_null(file_ring_new(b->loop));
    assert_int_equal(errno, EPERM);
    disk_open(&disk, b, "qcow2", "size=4M");
    fill(&disk, 0);
    disk_run(&disk, BLOCK_OP_WRITE, SLOTS, NULL);
    fill(&disk, 7);
    disk_run(&disk, BLOCK_OP_WRITE, SLOTS, drain_all);
    assert_content(&disk, SLOTS, 7);
    disk_close(&disk);
}

static void threads_do_it_where_the_kernel_refuses(void **state)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_without_io_uring(state); /* does not return after a failed assertion */
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_ring_refuses_and_all_it_took_is_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_lies_past_the_end_reads_as_zeroes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unaligned_direct_requests_and_other_files_are_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_write_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_is_read_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_on_the_loop_finish_the_requests_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_own_clusters_are_written_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_in_place_pass_the_marks_of_both_nodes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_disk_that_nobody_called_raw_is_watched_at_its_head,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_are_used_where_they_are_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(threads_do_it_where_the_kernel_refuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
