/* Block device: requests, errors, pauses, resets, state. SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "base/endian.h"
#include "block/backend.h"
#include "block/driver.h"
#include "block/file/file.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/virtio/blk/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define IMAGE_BYTES 65536
#define ALL UINT64_MAX
#define HEADER VIRT_BUFFER_BASE
#define DATA (VIRT_BUFFER_BASE + 0x1000)
#define STATUS (VIRT_BUFFER_BASE + 0x800)
#define NO_STATUS 0xee
#define WRITEBACK (VIRT_CONFIG + offsetof(struct virtio_blk_config, wce))

typedef struct Bench {
    VirtDriver *d;
    BlockBackend *backend;
    char path[64];
    BlockErrorAction told;
    unsigned told_count;
} Bench;

static void on_error(void *opaque, BlockBackend *backend, bool is_write, BlockErrorAction action,
                     int error)
{
    Bench *b = opaque;
    b->told = action;
    b->told_count++;
}

static void open_device(Bench *b, BlockOptions options, const char *const *more)
{
    FakeHost *fake = fake_host_new();
    options.id = "d";
    options.path = b->path;
    options.format = "raw";
    g_autoptr(GError) error = NULL;
    b->backend = block_backend_open(&options, fake->loop, &error);
    assert_non_null(b->backend);
    block_backend_set_error_hook(b->backend, on_error, b);
    fake_host_add_backend(fake, VIRTIO_BLK_BACKEND, "disk", b->backend);
    const char *properties[16] = { "drive", "disk", "serial", "S123" };
    for (unsigned i = 0; more && more[i]; i++) {
        properties[4 + i] = more[i];
    }
    b->d = virt_driver_new(fake, &virtio_blk_pci_class, properties);
}

static void close_device(Bench *b)
{
    FakeHost *fake = b->d->fake;
    virt_driver_remove(b->d);
    block_backend_close(b->backend);
    fake_host_free(fake);
}

static int make_image(void **state)
{
    Bench *b = g_new0(Bench, 1);
    strcpy(b->path, "/tmp/lodge-test-XXXXXX");
    int fd = mkstemp(b->path);
    assert_true(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    close(fd);
    *state = b;
    return 0;
}

static int set_up(void **state)
{
    make_image(state);
    open_device(*state, (BlockOptions){ .on_write_error = BLOCK_ERROR_ENOSPC }, NULL);
    virt_driver_start(((Bench *)*state)->d, ALL);
    return 0;
}

static int drop_image(void **state)
{
    Bench *b = *state;
    unlink(b->path);
    g_free(b);
    return 0;
}

static int tear_down(void **state)
{
    close_device(*state);
    return drop_image(state);
}

static void put_header(Bench *b, uint32_t type, uint64_t sector)
{
    uint8_t *header = virt_ram(b->d, HEADER);
    le32_put(header, type);
    le32_put(header + 4, 0);
    le64_put(header + 8, sector);
    *(uint8_t *)virt_ram(b->d, STATUS) = NO_STATUS;
}

/* Queues header, data (may be empty) and status. */
static void add(Bench *b, uint32_t type, uint64_t sector, uint32_t bytes, bool writable)
{
    put_header(b, type, sector);
    VirtBuffer buffers[3] = { { HEADER, 16, false } };
    unsigned count = 1;
    if (bytes) {
        buffers[count++] = (VirtBuffer){ DATA, bytes, writable };
    }
    buffers[count++] = (VirtBuffer){ STATUS, 1, true };
    virtq_add(b->d, 0, buffers, count);
    virtq_kick(b->d, 0);
}

static uint8_t status(Bench *b)
{
    return *(uint8_t *)virt_ram(b->d, STATUS);
}

static uint8_t request(Bench *b, uint32_t type, uint64_t sector, uint32_t bytes, bool writable,
                       uint32_t *out_length)
{
    add(b, type, sector, bytes, writable);
    virtq_wait_used(b->d, 0, out_length);
    return status(b);
}

static void what_is_written_is_read(void **state)
{
    Bench *b = *state;
    uint32_t length;
    memset(virt_ram(b->d, DATA), 'w', 1024);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 3, 1024, false, &length), VIRTIO_BLK_S_OK);
    assert_int_equal(length, 1);
    assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 4, 1024, true, &length), VIRTIO_BLK_S_OK);
    assert_int_equal(length, 1025);
    const char *data = virt_ram(b->d, DATA);
    assert_int_equal(data[0], 'w');
    assert_int_equal(data[511], 'w');
    assert_int_equal(data[512], 0);
}

static void many_requests_in_flight_all_come_back(void **state)
{
    Bench *b = *state;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 5; i++) {
            add(b, VIRTIO_BLK_T_IN, i, 512, true);
        }
        for (unsigned i = 0; i < 5; i++) {
            virtq_wait_used(b->d, 0, NULL);
        }
    }
    assert_int_equal(status(b), VIRTIO_BLK_S_OK);
    assert_true(device_is_drained(&b->d->dev->device));
}

static void capacity_and_serial_are_told(void **state)
{
    Bench *b = *state;
    assert_int_equal(fake_mmio_read(b->d->fake, VIRT_CONFIG, 8), IMAGE_BYTES / 512);
    assert_int_equal(fake_mmio_read(b->d->fake, VIRT_CONFIG + 20, 4), 512);
    assert_int_equal(request(b, VIRTIO_BLK_T_GET_ID, 0, 20, true, NULL), VIRTIO_BLK_S_OK);
    assert_memory_equal(virt_ram(b->d, DATA), "S123\0\0\0", 7);
}

static void zeroes_and_discards_are_done(void **state)
{
    Bench *b = *state;
    memset(virt_ram(b->d, DATA), 'w', 1024);
    request(b, VIRTIO_BLK_T_OUT, 0, 1024, false, NULL);
    uint8_t *range = virt_ram(b->d, DATA);
    le64_put(range, 1);
    le32_put(range + 8, 1);
    le32_put(range + 12, 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, 16, false, NULL), VIRTIO_BLK_S_OK);
    le32_put(range + 12, 1);
    assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, 16, false, NULL), VIRTIO_BLK_S_UNSUPP);
    le32_put(range + 8, 0x400001);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 1024, true, NULL), VIRTIO_BLK_S_OK);
    const char *data = virt_ram(b->d, DATA);
    assert_int_equal(data[511], 'w');
    assert_int_equal(data[512], 0);
}

static void requests_outside_the_disk_fail_alone(void **state)
{
    Bench *b = *state;
    const uint64_t last = IMAGE_BYTES / 512 - 1;
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, last, 512, true, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, last, 1024, true, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, last + 1, 512, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, UINT64_MAX, 512, false, NULL),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, UINT64_C(1) << 55, 512, true, NULL),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 100, true, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, 77, 0, 512, true, NULL), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(virt_driver_status(b->d) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void data_outside_memory_fails_alone(void **state)
{
    Bench *b = *state;
    put_header(b, VIRTIO_BLK_T_IN, 0);
    const VirtBuffer buffers[] = { { HEADER, 16, false },
                                   { FAKE_HOST_RAM_BYTES - 512, 1024, true },
                                   { STATUS, 1, true } };
    virtq_add(b->d, 0, buffers, 3);
    virtq_kick(b->d, 0);
    virtq_wait_used(b->d, 0, NULL);
    assert_int_equal(status(b), VIRTIO_BLK_S_IOERR);
}

static void a_request_that_cannot_be_answered_needs_a_reset(void **state)
{
    Bench *b = *state;
    const VirtBuffer no_status = { HEADER, 16, false }, short_header = { HEADER, 15, false },
                     status_byte = { STATUS, 1, true },
                     far_status = { FAKE_HOST_RAM_BYTES, 1, true },
                     far_header = { FAKE_HOST_RAM_BYTES, 16, false };
    const VirtBuffer cases[][2] = { { no_status, no_status },
                                    { short_header, status_byte },
                                    { no_status, far_status },
                                    { far_header, status_byte } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        put_header(b, 77, 0);
        virtq_add(b->d, 0, cases[i], 2);
        virtq_kick(b->d, 0);
        assert_true(virt_driver_status(b->d) & VIRTIO_CONFIG_S_NEEDS_RESET);
        virt_driver_start(b->d, ALL);
    }
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_OK);
}

static void a_reset_forgets_what_is_in_flight(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < 100; i++) {
        memset(virt_ram(b->d, DATA), 0x77, 4096);
        for (unsigned k = 0; k < 5; k++) {
            add(b, VIRTIO_BLK_T_IN, 0, 4096, true);
        }
        virt_driver_set_status(b->d, 0);
        /* Nobody writes to the guest's memory any more. */
        uint8_t *data = virt_ram(b->d, DATA);
        memset(data, 0x55, 4096);
        virt_driver_run(b->d);
        for (unsigned k = 0; k < 4096; k++) {
            assert_int_equal(data[k], 0x55);
        }
        virt_driver_start(b->d, ALL);
    }
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_OK);
}

static void the_device_goes_away_with_requests_in_flight(void **state)
{
    Bench *b = *state;
    for (unsigned k = 0; k < 5; k++) {
        add(b, VIRTIO_BLK_T_IN, 0, 4096, true);
    }
}

static void a_read_only_disk_refuses_writes(void **state)
{
    Bench *b = *state;
    open_device(b, (BlockOptions){ .is_readonly = true }, NULL);
    assert_true(virt_driver_offered(b->d) & VIRTIO_FEATURE(VIRTIO_BLK_F_RO));
    virt_driver_start(b->d, ALL);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, 512, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false, NULL),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_OK);
    close_device(b);
}

/* A file-size limit makes writes fail with EFBIG, which stands for any error of the host; rerror
 * and werror say what to do. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_host_error_is_reported_or_ignored(void **state)
{
    Bench *b = *state;
    const struct {
        BlockErrorAction action;
        uint8_t status;
    } cases[] = { { BLOCK_ERROR_REPORT, VIRTIO_BLK_S_IOERR },
                  { BLOCK_ERROR_IGNORE, VIRTIO_BLK_S_OK } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        open_device(b, (BlockOptions){ .on_write_error = cases[i].action }, NULL);
        virt_driver_start(b->d, ALL);
        b->told_count = 0;
        limit_files(4096);
        assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 64, 512, false, NULL), cases[i].status);
        limit_files(RLIM_INFINITY);
        assert_int_equal(b->told_count, 1);
        assert_int_equal(b->told, cases[i].action);
        close_device(b);
    }
}

static void fail_with_stop(Bench *b)
{
    memset(virt_ram(b->d, DATA), 's', 512);
    limit_files(4096);
    add(b, VIRTIO_BLK_T_OUT, 64, 512, false);
    for (unsigned i = 0; i < 100 && !b->told_count; i++) {
        assert_int_equal(loop_run_once(b->d->fake->loop, 100), 0);
    }
    limit_files(RLIM_INFINITY);
    assert_int_equal(b->told_count, 1);
    assert_int_equal(b->told, BLOCK_ERROR_STOP);
    assert_false(virtq_has_used(b->d, 0));
    assert_int_equal(status(b), NO_STATUS);
}

static void a_stopped_request_is_tried_again(void **state)
{
    Bench *b = *state;
    open_device(b, (BlockOptions){ .on_write_error = BLOCK_ERROR_STOP }, NULL);
    virt_driver_start(b->d, ALL);
    fail_with_stop(b);
    device_quiesce(&b->d->dev->device);
    assert_true(device_is_drained(&b->d->dev->device));
    device_resume(&b->d->dev->device);
    virtq_wait_used(b->d, 0, NULL);
    assert_int_equal(status(b), VIRTIO_BLK_S_OK);
    close_device(b);
}

static void a_stopped_request_moves_with_the_state(void **state)
{
    Bench *b = *state;
    open_device(b, (BlockOptions){ .on_write_error = BLOCK_ERROR_STOP }, NULL);
    virt_driver_start(b->d, ALL);
    fail_with_stop(b);
    device_quiesce(&b->d->dev->device);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    device_save(&b->d->dev->device, bytes);
    fake_pci_remove(&b->d->dev->device);
    const char *properties[] = { "drive", "disk", "addr", "1", NULL };
    b->d->dev = (VirtioDevice *)fake_pci_add(b->d->fake, b->d->root, &virtio_blk_pci_class, "dev0",
                                             properties);
    g_autoptr(GError) error = NULL;
    assert_true(device_load(&b->d->dev->device, bytes->data, bytes->len, &error));
    fake_host_check_round_trip(&b->d->dev->device);
    virtq_wait_used(b->d, 0, NULL);
    assert_int_equal(status(b), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 64, 512, true, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(*(char *)virt_ram(b->d, DATA), 's');
    close_device(b);
}

static void a_reset_drops_a_stopped_request(void **state)
{
    Bench *b = *state;
    open_device(b, (BlockOptions){ .on_write_error = BLOCK_ERROR_STOP }, NULL);
    virt_driver_start(b->d, ALL);
    fail_with_stop(b);
    virt_driver_start(b->d, ALL);
    device_resume(&b->d->dev->device);
    virt_driver_run(b->d);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 64, 512, true, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(*(char *)virt_ram(b->d, DATA), 0);
    close_device(b);
}

static void queues_work_beside_each_other(void **state)
{
    Bench *b = *state;
    const char *more[] = { "num-queues", "4", NULL };
    open_device(b, (BlockOptions){ 0 }, more);
    assert_int_equal(fake_mmio_read(b->d->fake, VIRT_CONFIG + 34, 2), 4);
    virt_driver_start(b->d, ALL);
    put_header(b, VIRTIO_BLK_T_IN, 0);
    const VirtBuffer buffers[] = { { HEADER, 16, false },
                                   { DATA, 512, true },
                                   { STATUS, 1, true } };
    for (unsigned i = 0; i < 4; i++) {
        virtq_add(b->d, i, buffers, 3);
        virtq_kick(b->d, i);
    }
    for (unsigned i = 0; i < 4; i++) {
        virtq_wait_used(b->d, i, NULL);
    }
    close_device(b);
}

/* The disk's image becomes one in memory whose writes and flushes are noted. */
static void note_writes(Bench *b, const char *format, WriteLog *log)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    File *file = file_memory_new(NULL, 0, 16 * IMAGE_BYTES);
    block_spec_set(options, "size", "64k");
    if (strcmp(format, "raw") == 0) {
        assert_int_equal(file_truncate(file, IMAGE_BYTES), 0);
    } else {
        block_spec_set(options, "cluster_size", "4k");
        assert_true(block_driver_find(format)->create(file, "memory", options, NULL));
    }
    BlockNode *node =
        block_open_file(file_record_new(file, log, 0), "memory", format, BLOCK_OPEN_WRITABLE, NULL);
    assert_non_null(node);
    block_backend_drain_begin(b->backend);
    block_node_unref(block_backend_replace_node(b->backend, node));
    block_backend_drain_end(b->backend);
}

/* Writes, zeroes and discards 512 bytes each. Returns: after how many of the three the log ended
 * with a flush when the guest saw the request done. */
static unsigned count_flushed(Bench *b, const WriteLog *log)
{
    const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
    unsigned flushed = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        size_t before = write_log_length(log);
        bool is_write = types[i] == VIRTIO_BLK_T_OUT;
        memset(virt_ram(b->d, DATA), 0, 512);
        le64_put(virt_ram(b->d, DATA), 8); /* the range's sector; data of the write */
        le32_put(virt_ram(b->d, DATA + 8), 8);
        assert_int_equal(request(b, types[i], 8, is_write ? 4096 : 16, false, NULL),
                         VIRTIO_BLK_S_OK);
        size_t after = write_log_length(log);
        flushed += after > before && write_log_is_flush(log, after - 1);
    }
    return flushed;
}

static void set_write_cache(Bench *b, uint8_t writeback)
{
    fake_mmio_write(b->d->fake, WRITEBACK, writeback, 1);
}

static void check_write_cache(Bench *b, const char *format)
{
    WriteLog *log = write_log_new();
    open_device(b, (BlockOptions){ 0 }, NULL);
    note_writes(b, format, log);
    virt_driver_start(b->d, ALL);
    assert_int_equal(fake_mmio_read(b->d->fake, WRITEBACK, 1), 1);
    assert_int_equal(count_flushed(b, log), 0);
    set_write_cache(b, 0);
    assert_int_equal(fake_mmio_read(b->d->fake, WRITEBACK, 1), 0);
    assert_int_equal(count_flushed(b, log), 3);
    set_write_cache(b, 1);
    assert_int_equal(count_flushed(b, log), 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), VIRTIO_BLK_S_OK);
    assert_true(write_log_is_flush(log, write_log_length(log) - 1));
    set_write_cache(b, 0);
    virt_driver_start(b->d, ALL); /* resets it */
    assert_int_equal(fake_mmio_read(b->d->fake, WRITEBACK, 1), 1);
    assert_int_equal(count_flushed(b, log), 0);
    virt_driver_start(b->d, ALL & ~VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
    set_write_cache(b, 0);
    assert_int_equal(count_flushed(b, log), 0);
    virt_driver_start(b->d, ALL & ~VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH));
    assert_int_equal(count_flushed(b, log), 3);
    close_device(b);
    write_log_free(log);
}

static void without_the_write_cache_each_write_is_flushed(void **state)
{
    check_write_cache(*state, "raw");
}

static void without_the_write_cache_writes_to_qcow2_are_flushed(void **state)
{
    check_write_cache(*state, "qcow2");
}

static void bad_properties_are_named(void **state)
{
    const char *cases[][3] = {
        { "queue-size", "100", "power of two" },
        { "logical_block_size", "1000", "power" },
        { "logical_block_size", "4096", "physical_block_size" },
        { "serial", "123456789012345678901", "20 characters" },
        { "drive", "none", "no drive 'none'" },
    };
    FakeHost *fake = fake_host_new();
    PciBus *root = pci_root_new(PCI_ROOT_BUS_NAME);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        Device *dev = device_new(&virtio_blk_pci_class, "b");
        assert_true(device_set_property(dev, "drive", "disk", NULL));
        assert_true(device_set_property(dev, cases[i][0], cases[i][1], NULL));
        assert_true(pci_bus_plug(root, (PciDevice *)dev, NULL));
        assert_false(device_realize(dev, &fake->host, &error));
        assert_non_null(strstr(error->message, cases[i][2]));
        pci_bus_unplug((PciDevice *)dev);
        device_free(dev);
    }
    pci_root_free(root);
    fake_host_free(fake);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define OWN(f) cmocka_unit_test_setup_teardown(f, make_image, drop_image)
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_is_read),
        CASE(many_requests_in_flight_all_come_back),
        CASE(capacity_and_serial_are_told),
        CASE(zeroes_and_discards_are_done),
        CASE(requests_outside_the_disk_fail_alone),
        CASE(data_outside_memory_fails_alone),
        CASE(a_request_that_cannot_be_answered_needs_a_reset),
        CASE(a_reset_forgets_what_is_in_flight),
        CASE(the_device_goes_away_with_requests_in_flight),
        OWN(a_read_only_disk_refuses_writes),
        OWN(a_host_error_is_reported_or_ignored),
        OWN(a_stopped_request_is_tried_again),
        OWN(a_stopped_request_moves_with_the_state),
        OWN(a_reset_drops_a_stopped_request),
        OWN(queues_work_beside_each_other),
        OWN(without_the_write_cache_each_write_is_flushed),
        OWN(without_the_write_cache_writes_to_qcow2_are_flushed),
        cmocka_unit_test(bad_properties_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
