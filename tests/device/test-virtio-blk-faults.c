/* A busy disk whose image fails at each operation in turn: the policy says what the guest sees, and
 * after it went on all data are right. Raw and qcow2; a fault that passes, and a full disk; worker
 * threads alone, io_uring, io_uring of an I/O thread. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/backend.h"
#include "block/driver.h"
#include "block/file/ring.h"
#include "event/loop-thread.h"
#include "lib/check.h"
#include "lib/fault-calls.h"
#include "lib/virtq.h"
#include "vmm/virtio/blk/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DISK_BYTES (1u << 20)
#define SLOTS 4u
#define REGION (DISK_BYTES / SLOTS)
#define REQUEST 8192u
#define REQUESTS 48u

/* One request in flight, which keeps to its own part of the disk. */
typedef struct Slot {
    uint32_t type;
    uint64_t offset;
    uint16_t head;
    bool is_busy, is_again; /* is_again: what failed is sent again */
    uint8_t data[REQUEST];
} Slot;

typedef enum Way {
    BY_THREADS,  /* on a file in memory */
    BY_RING,     /* on a file of the host */
    BY_IOTHREAD, /* the same, the device on a thread of its own */
} Way;

typedef struct Rig {
    Way way;
    LoopThread *thread; /* NULL: the device is on the main loop */
    const char *format;
    BlockErrorAction action;
    FaultPlan plan;
    uint32_t seed;
    char path[32];
    VirtDriver *d;
    BlockBackend *backend;
    atomic_uint told; /* by the thread */
    unsigned sent, done, failed;
    Slot slots[SLOTS];
    uint8_t model[DISK_BYTES];
} Rig;

static uint32_t next_random(Rig *rig)
{
    rig->seed = rig->seed * 1664525 + 1013904223;
    return rig->seed >> 8;
}

static void on_error(void *opaque, BlockBackend *backend, bool is_write, BlockErrorAction action,
                     int error)
{
    Rig *rig = opaque;
    assert_int_equal(action, rig->action);
    assert_int_equal(error, rig->plan.error);
    rig->told++;
}

/* An image in memory, under which @plan strikes. */
static BlockNode *make_node(Rig *rig)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    File *file = file_memory_new(NULL, 0, 8 * DISK_BYTES);
    block_spec_set(options, "size", "1M");
    block_spec_set(options, "cluster_size", "4k");
    if (strcmp(rig->format, "raw") == 0) {
        assert_int_equal(file_truncate(file, DISK_BYTES), 0);
    } else {
        assert_true(block_driver_find(rig->format)->create(file, "memory", options, NULL));
    }
    /* Direct: a failed flush is one that may be tried again. */
    BlockNode *node = block_open_file(file_fault_new(file, &rig->plan), "memory", rig->format,
                                      BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DIRECT, NULL);
    assert_non_null(node);
    return node;
}

static BlockBackend *open_memory(Rig *rig, EventLoop *loop)
{
    BlockOptions options = { .id = "d",
                             .path = rig->path,
                             .format = "raw",
                             .on_write_error = rig->action,
                             .on_read_error = rig->action };
    assert_int_equal(truncate(rig->path, DISK_BYTES), 0);
    BlockBackend *backend = block_backend_open(&options, loop, NULL);
    assert_non_null(backend);
    block_backend_drain_begin(backend);
    block_node_unref(block_backend_replace_node(backend, make_node(rig)));
    block_backend_drain_end(backend);
    return backend;
}

/* Direct: as above. Where the file system cannot do that, flushes do not fail. */
static BlockBackend *open_host_file(Rig *rig, EventLoop *loop)
{
    BlockOptions options = { .id = "d",
                             .path = rig->path,
                             .format = rig->format,
                             .cache = BLOCK_CACHE_NONE,
                             .on_write_error = rig->action,
                             .on_read_error = rig->action };
    g_autoptr(BlockSpec) wanted = block_spec_new();
    g_autoptr(GError) error = NULL;
    block_spec_set(wanted, "size", "1M");
    if (strcmp(rig->format, "qcow2") == 0) {
        block_spec_set(wanted, "cluster_size", "4k");
    }
    assert_true(block_create(rig->format, rig->path, wanted, NULL));
    fault_calls_watch(rig->path);
    BlockBackend *backend = block_backend_open(&options, loop, NULL);
    if (!backend) {
        options.cache = BLOCK_CACHE_WRITEBACK;
        rig->plan.ops &= ~(unsigned)FAULT_FLUSH;
        backend = block_backend_open(&options, loop, &error);
    }
    if (!backend) {
        fail_msg("%s", error->message);
    }
    return backend;
}

/* What is there already is written in place: without a thread. */
static void fill_half(Rig *rig)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        uint8_t *half = rig->model + i * REGION;
        memset(half, 0x11, REGION / 2);
        assert_int_equal(
            block_pwrite(block_backend_node(rig->backend), i * REGION, half, REGION / 2, 0), 0);
    }
}

static void open_rig(Rig *rig)
{
    FakeHost *fake = fake_host_new();
    bool has_memory_files = access("/dev/shm", W_OK) == 0;
    strcpy(rig->path, has_memory_files ? "/dev/shm/lodge-XXXXXX" : "/tmp/lodge-test-XXXXXX");
    int fd = mkstemp(rig->path);
    assert_true(fd >= 0);
    close(fd);
    rig->backend =
        rig->way == BY_THREADS ? open_memory(rig, fake->loop) : open_host_file(rig, fake->loop);
    unlink(rig->path);
    fill_half(rig);
    block_backend_set_error_hook(rig->backend, on_error, rig);
    fake_host_add_backend(fake, VIRTIO_BLK_BACKEND, "disk", rig->backend);
    const char *properties[] = { "drive", "disk", NULL, NULL, NULL };
    if (rig->way == BY_IOTHREAD) {
        rig->thread = loop_thread_new("io", file_rings_settle);
        fake_host_add_backend(fake, VIRTIO_BLK_IOTHREAD, "io", rig->thread);
        properties[2] = "iothread";
        properties[3] = "io";
    }
    rig->d = virt_driver_new(fake, &virtio_blk_pci_class, properties);
    virt_driver_start(rig->d, UINT64_MAX);
    rig->plan.seen = 0;
}

static void close_rig(Rig *rig)
{
    FakeHost *fake = rig->d->fake;
    virt_driver_remove(rig->d);
    block_backend_close(rig->backend);
    loop_thread_free(rig->thread);
    fake_host_free(fake);
}

/* The fault of the plan, operation @at. */
static void arm(Rig *rig, uint64_t at, bool is_sticky)
{
    rig->plan.at = at;
    rig->plan.is_sticky = is_sticky;
    if (rig->way != BY_THREADS) {
        fault_calls_arm(&rig->plan);
    }
}

static void mend(Rig *rig)
{
    if (rig->way == BY_THREADS) {
        rig->plan.at = 0;
    } else {
        fault_calls_mend();
    }
}

/* Lets what has happened be heard of. The main loop hears nothing of a disk on another thread. */
static void wait_a_bit(Rig *rig)
{
    assert_int_equal(loop_run_once(rig->d->fake->loop, rig->thread ? 1 : 100), 0);
}

static GuestAddr memory_of(unsigned slot)
{
    return VIRT_BUFFER_BASE + slot * 0x4000;
}

static bool has_data(const Slot *slot)
{
    return slot->type == VIRTIO_BLK_T_IN || slot->type == VIRTIO_BLK_T_OUT;
}

static void send(Rig *rig, unsigned index)
{
    Slot *slot = &rig->slots[index];
    GuestAddr at = memory_of(index);
    uint8_t *header = virt_ram(rig->d, at);
    le32_put(header, slot->type);
    le32_put(header + 4, 0);
    le64_put(header + 8, has_data(slot) ? slot->offset / 512 : 0);
    *(uint8_t *)virt_ram(rig->d, at + 0x100) = 0xee;
    uint32_t bytes = has_data(slot) ? REQUEST : 16;
    uint8_t *data = virt_ram(rig->d, at + 0x1000);
    memcpy(data, slot->data, bytes);
    if (slot->type == VIRTIO_BLK_T_WRITE_ZEROES) {
        le64_put(data, slot->offset / 512);
        le32_put(data + 8, REQUEST / 512);
        le32_put(data + 12, 0);
    }
    /* Descriptors of its own: a request that waits for the guest to go on keeps them. */
    uint16_t head = (uint16_t)(index * 3), next = head;
    virtq_set_desc(rig->d, 0, next, at, 16, VRING_DESC_F_NEXT, next + 1);
    next++;
    if (slot->type != VIRTIO_BLK_T_FLUSH) {
        uint16_t flags = slot->type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0;
        virtq_set_desc(rig->d, 0, next, at + 0x1000, bytes, flags | VRING_DESC_F_NEXT, next + 1);
        next++;
    }
    virtq_set_desc(rig->d, 0, next, at + 0x100, 1, VRING_DESC_F_WRITE, 0);
    virtq_publish(rig->d, 0, head);
    slot->head = head;
    slot->is_busy = true;
}

/* New requests and those that failed. */
static void send_all(Rig *rig)
{
    static const uint32_t kinds[] = { VIRTIO_BLK_T_OUT,   VIRTIO_BLK_T_OUT,
                                      VIRTIO_BLK_T_OUT,   VIRTIO_BLK_T_IN,
                                      VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES };
    for (unsigned i = 0; i < SLOTS; i++) {
        Slot *slot = &rig->slots[i];
        if (slot->is_busy || (!slot->is_again && rig->sent == REQUESTS)) {
            continue;
        }
        if (!slot->is_again) {
            rig->sent++;
            slot->type = kinds[next_random(rig) % G_N_ELEMENTS(kinds)];
            slot->offset = i * REGION + next_random(rig) % (REGION / 512 - REQUEST / 512) * 512;
            memset(slot->data, (int)next_random(rig), REQUEST);
        }
        send(rig, i);
    }
    virtq_kick(rig->d, 0);
}

static void succeed(Rig *rig, const Slot *slot, const uint8_t *data)
{
    rig->done++;
    if (slot->type == VIRTIO_BLK_T_OUT) {
        memcpy(rig->model + slot->offset, slot->data, REQUEST);
    } else if (slot->type == VIRTIO_BLK_T_WRITE_ZEROES) {
        memset(rig->model + slot->offset, 0, REQUEST);
    } else if (slot->type == VIRTIO_BLK_T_IN) {
        assert_memory_equal(data, rig->model + slot->offset, REQUEST);
    }
}

static void collect(Rig *rig)
{
    while (virtq_has_used(rig->d, 0)) {
        uint16_t head = virtq_wait_used(rig->d, 0, NULL);
        for (unsigned i = 0; i < SLOTS; i++) {
            Slot *slot = &rig->slots[i];
            if (!slot->is_busy || slot->head != head) {
                continue;
            }
            uint8_t status = *(uint8_t *)virt_ram(rig->d, memory_of(i) + 0x100);
            slot->is_busy = false;
            slot->is_again = status != VIRTIO_BLK_S_OK;
            if (status == VIRTIO_BLK_S_OK) {
                succeed(rig, slot, virt_ram(rig->d, memory_of(i) + 0x1000));
            } else {
                assert_int_equal(status, VIRTIO_BLK_S_IOERR);
                assert_int_equal(rig->action, BLOCK_ERROR_REPORT);
                rig->failed++;
            }
        }
    }
}

/* The guest is paused, the fault is mended, the guest goes on. */
static void pause_and_go_on(Rig *rig)
{
    Device *dev = &rig->d->dev->device;
    device_quiesce(dev);
    while (!device_is_drained(dev)) {
        wait_a_bit(rig);
    }
    collect(rig);
    mend(rig);
    rig->told = 0;
    assert_int_equal(block_backend_io_error(rig->backend), rig->plan.error);
    device_resume(dev);
    assert_int_equal(block_backend_io_error(rig->backend), 0);
}

static void run_workload(Rig *rig)
{
    while (rig->done < REQUESTS) {
        send_all(rig);
        wait_a_bit(rig);
        collect(rig);
        if (rig->told && rig->action == BLOCK_ERROR_STOP) {
            pause_and_go_on(rig);
        } else if (rig->told) {
            mend(rig);
        }
    }
}

static void check_image(Rig *rig)
{
    BlockNode *node = block_backend_node(rig->backend);
    g_autofree uint8_t *bytes = g_malloc(DISK_BYTES);
    BlockCheck check = { 0 };
    mend(rig);
    assert_int_equal(block_pread(node, 0, bytes, DISK_BYTES), 0);
    assert_memory_equal(bytes, rig->model, DISK_BYTES);
    assert_int_equal(block_flush(node), 0);
    if (block_check(node, &check, 0) != -ENOTSUP) {
        assert_int_equal(check.corruptions + check.check_errors, 0);
    }
}

/* Transfers by io_uring that the cases saw, and that failed. */
typedef struct RingCount {
    uint64_t seen, failed;
} RingCount;

/* Fails operation @at of the file; 0: none. Returns: how many there were. */
static uint64_t run_case(const Rig *kind, int error, bool is_full, uint64_t at, RingCount *rings)
{
    g_autofree Rig *rig = g_memdup2(kind, sizeof(*kind));
    uint64_t by_ring = 0, failed_by_ring = 0;
    rig->seed = 7;
    rig->plan = (FaultPlan){ .ops = is_full ? FAULT_WRITE | FAULT_RESIZE
                                            : FAULT_READ | FAULT_WRITE | FAULT_FLUSH | FAULT_RESIZE,
                             .error = error,
                             .is_torn = at % 2 };
    open_rig(rig);
    arm(rig, at, is_full);
    run_workload(rig);
    uint64_t seen = rig->plan.seen;
    if (rig->way != BY_THREADS) {
        seen = fault_calls_seen(&by_ring);
        (void)fault_calls_failed(&failed_by_ring);
    }
    rings->seen += by_ring;
    rings->failed += failed_by_ring;
    check_image(rig);
    close_rig(rig);
    return seen;
}

static void fail_each(Way way, const char *format, BlockErrorAction action, int error, bool is_full,
                      RingCount *all)
{
    const Rig kind = { .way = way, .format = format, .action = action };
    RingCount rings = { 0 };
    uint64_t operations = run_case(&kind, error, is_full, 0, &rings);
    assert_true(operations >= REQUESTS / 2);
    for (uint64_t at = 1; at <= operations; at++) {
        run_case(&kind, error, is_full, at, &rings);
    }
    all->seen += rings.seen;
    all->failed += rings.failed;
    if (way != BY_THREADS) {
        print_message(
            "# %s, %s, %s: %lu operations, %lu transfers by io_uring, %lu of them failed\n",
            way == BY_RING ? "main loop" : "I/O thread", format, strerror(error),
            (unsigned long)operations, (unsigned long)rings.seen, (unsigned long)rings.failed);
    }
}

static void a_raw_disk_that_fails_stops_the_guest_and_loses_nothing(void **state)
{
    RingCount all = { 0 };
    fail_each(BY_THREADS, "raw", BLOCK_ERROR_STOP, EIO, false, &all);
    fail_each(BY_THREADS, "raw", BLOCK_ERROR_STOP, ENOSPC, true, &all);
}

static void a_qcow2_disk_that_fails_stops_the_guest_and_loses_nothing(void **state)
{
    RingCount all = { 0 };
    fail_each(BY_THREADS, "qcow2", BLOCK_ERROR_STOP, EIO, false, &all);
    fail_each(BY_THREADS, "qcow2", BLOCK_ERROR_STOP, ENOSPC, true, &all);
}

static void a_reported_error_leaves_what_the_guest_writes_again(void **state)
{
    RingCount all = { 0 };
    fail_each(BY_THREADS, "raw", BLOCK_ERROR_REPORT, EIO, false, &all);
    fail_each(BY_THREADS, "qcow2", BLOCK_ERROR_REPORT, EIO, false, &all);
    fail_each(BY_THREADS, "qcow2", BLOCK_ERROR_REPORT, ENOSPC, true, &all);
}

static void fail_each_of_all_kinds(Way way)
{
    RingCount all = { 0 };
    EventLoop *loop = loop_new();
    FileRing *ring = file_ring_new(loop);
    bool has_rings = ring != NULL;
    file_ring_free(ring);
    loop_free(loop);
    if (!has_rings) {
        print_message("# skipped: this host has no io_uring for us\n");
        skip();
    }
    fail_each(way, "raw", BLOCK_ERROR_STOP, EIO, false, &all);
    fail_each(way, "raw", BLOCK_ERROR_STOP, ENOSPC, true, &all);
    fail_each(way, "qcow2", BLOCK_ERROR_STOP, EIO, false, &all);
    fail_each(way, "qcow2", BLOCK_ERROR_STOP, ENOSPC, true, &all);
    fail_each(way, "raw", BLOCK_ERROR_REPORT, EIO, false, &all);
    fail_each(way, "qcow2", BLOCK_ERROR_REPORT, EIO, false, &all);
    fail_each(way, "qcow2", BLOCK_ERROR_REPORT, ENOSPC, true, &all);
    assert_true(all.failed > 0);
}

static void the_same_holds_for_io_uring(void **state)
{
    fail_each_of_all_kinds(BY_RING);
}

static void the_same_holds_for_io_threads(void **state)
{
    fail_each_of_all_kinds(BY_IOTHREAD);
}

static void an_unknown_device_policy_is_refused_and_a_known_one_wins(void **state)
{
    FakeHost *fake = fake_host_new();
    Device *dev = device_new(&virtio_blk_pci_class, "b");
    g_autoptr(GError) error = NULL;
    assert_false(device_set_property(dev, "werror", "never", &error));
    device_free(dev);
    char path[] = "/tmp/lodge-test-XXXXXX";
    close(mkstemp(path));
    BlockOptions options = { .id = "d", .path = path, .format = "raw" };
    BlockBackend *backend = block_backend_open(&options, fake->loop, NULL);
    fake_host_add_backend(fake, VIRTIO_BLK_BACKEND, "disk", backend);
    VirtDriver *d = virt_driver_new(
        fake, &virtio_blk_pci_class,
        (const char *[]){ "drive", "disk", "werror", "stop", "rerror", "ignore", NULL });
    assert_int_equal(block_backend_error_action(backend, true, EIO), BLOCK_ERROR_STOP);
    assert_int_equal(block_backend_error_action(backend, false, EIO), BLOCK_ERROR_IGNORE);
    virt_driver_remove(d);
    block_backend_close(backend);
    fake_host_free(fake);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_raw_disk_that_fails_stops_the_guest_and_loses_nothing),
        cmocka_unit_test(a_qcow2_disk_that_fails_stops_the_guest_and_loses_nothing),
        cmocka_unit_test(a_reported_error_leaves_what_the_guest_writes_again),
        cmocka_unit_test(the_same_holds_for_io_uring),
        cmocka_unit_test(the_same_holds_for_io_threads),
        cmocka_unit_test(an_unknown_device_policy_is_refused_and_a_known_one_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
