/* Files under the block layer: alignment, faults, power cuts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/file/file.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES 65536

/* A file that insists on aligned requests, as direct I/O does. */
typedef struct StrictFile {
    File file;
    File *below;
} StrictFile;

static void assert_aligned(const struct iovec *iov, unsigned count, uint64_t offset)
{
    assert_int_equal(offset % 4096, 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal((uintptr_t)iov[i].iov_base % 4096, 0);
        assert_int_equal(iov[i].iov_len % 4096, 0);
    }
}

static ssize_t strict_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    assert_aligned(iov, count, offset);
    File *below = ((StrictFile *)file)->below;
    return below->ops->preadv(below, iov, count, offset);
}

static ssize_t strict_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    assert_aligned(iov, count, offset);
    File *below = ((StrictFile *)file)->below;
    return below->ops->pwritev(below, iov, count, offset);
}

static int strict_size(File *file, uint64_t *out_size)
{
    return file_size(((StrictFile *)file)->below, out_size);
}

static int strict_truncate(File *file, uint64_t size)
{
    return file_truncate(((StrictFile *)file)->below, size);
}

static void unaligned_requests_reach_direct_files_aligned(void **state)
{
    static const FileOps ops = { .preadv = strict_preadv,
                                 .pwritev = strict_pwritev,
                                 .size = strict_size,
                                 .truncate = strict_truncate };
    StrictFile strict = { .below = file_memory_new(NULL, 0, 8 * BYTES) };
    file_init(&strict.file, &ops);
    strict.file.alignment = 4096;
    uint8_t *model = calloc(1, BYTES), *got = malloc(BYTES), *data = malloc(BYTES);
    uint64_t end = 0, size;
    srandom(1);
    for (unsigned i = 0; i < 3000; i++) {
        size_t offset = (size_t)random() % BYTES, length = (size_t)random() % 9000 + 1;
        length = length < BYTES - offset ? length : BYTES - offset;
        memset(data, (int)random(), length);
        struct iovec iov[2] = { { data, length / 3 }, { data + length / 3, length - length / 3 } };
        assert_int_equal(file_writev(&strict.file, offset, iov, 2), 0);
        memcpy(model + offset, data, length);
        end = offset + length > end ? offset + length : end;
        assert_int_equal(file_size(&strict.file, &size), 0);
        assert_int_equal(size, end);
        offset = (size_t)random() % BYTES;
        length = (size_t)random() % (BYTES - offset) + 1;
        assert_int_equal(file_read(&strict.file, offset, got, length), 0);
        assert_memory_equal(got, model + offset, length);
    }
    free(model);
    free(got);
    free(data);
    file_close(strict.below);
    file_done(&strict.file);
}

static void what_lies_past_the_end_reads_as_zeroes(void **state)
{
    uint8_t buf[16];
    File *file = file_memory_new("abc", 3, 100);
    assert_int_equal(file_read(file, 1, buf, sizeof(buf)), 0);
    assert_memory_equal(buf, "bc\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(file_write(file, 98, "xyz", 3), -ENOSPC);
    file_close(file);
}

static void a_planned_fault_hits_the_counted_operation_alone(void **state)
{
    FaultPlan plan = { .ops = FAULT_WRITE, .at = 2, .error = EIO };
    File *file = file_fault_new(file_memory_new(NULL, 0, 100), &plan);
    uint8_t byte;
    assert_int_equal(file_write(file, 0, "a", 1), 0);
    assert_int_equal(file_read(file, 0, &byte, 1), 0);
    assert_int_equal(file_write(file, 0, "b", 1), -EIO);
    assert_int_equal(file_write(file, 0, "c", 1), 0);
    assert_int_equal(plan.seen, 3);
    file_close(file);
}

static uint8_t byte_after_cut(const WriteLog *log, size_t length, uint64_t seed, size_t at)
{
    size_t size;
    File *file = write_log_replay(log, 0, NULL, 0, length, seed);
    assert_non_null(file);
    const uint8_t *data = file_memory_data(file, &size);
    uint8_t byte = at < size ? data[at] : 0;
    file_close(file);
    return byte;
}

static void a_power_cut_loses_only_what_was_not_flushed(void **state)
{
    WriteLog *log = write_log_new();
    File *file = file_record_new(file_memory_new(NULL, 0, BYTES), log, 0);
    uint8_t old[2048], new[2048];
    unsigned lost = 0, kept = 0, torn = 0;
    memset(old, 1, sizeof(old));
    memset(new, 2, sizeof(new));
    assert_int_equal(file_write(file, 0, old, sizeof(old)), 0);
    assert_int_equal(file_flush(file), 0);
    assert_int_equal(file_write(file, 0, new, sizeof(new)), 0);
    size_t length = write_log_length(log);
    assert_int_equal(length, 3);
    for (uint64_t seed = 1; seed < 300; seed++) {
        uint8_t first = byte_after_cut(log, length, seed, 0);
        uint8_t last = byte_after_cut(log, length, seed, sizeof(old) - 1);
        assert_true(first == 1 || first == 2);
        lost += first == 1 && last == 1;
        kept += first == 2 && last == 2;
        torn += first != last;
        assert_int_equal(byte_after_cut(log, 2, seed, 0), 1);
    }
    assert_true(lost > 50 && kept > 50 && torn > 20);
    assert_int_equal(byte_after_cut(log, length, 0, 0), 2);
    file_close(file);
    write_log_free(log);
}

static void a_write_is_cut_after_each_of_its_sectors(void **state)
{
    WriteLog *log = write_log_new();
    File *file = file_record_new(file_memory_new(NULL, 0, BYTES), log, 0);
    uint8_t bytes[2048];
    memset(bytes, 3, sizeof(bytes));
    assert_int_equal(file_write(file, 0, bytes, 300), 0);
    assert_int_equal(file_write(file, 500, bytes, 1100), 0); /* sectors 0 to 3 */
    assert_int_equal(file_flush(file), 0);
    assert_int_equal(write_log_sectors(log, 0), 1);
    assert_int_equal(write_log_sectors(log, 1), 4);
    assert_int_equal(write_log_sectors(log, 2), 0);
    static const size_t ends[] = { 300, 512, 1024, 1536, 1600, 1600 };
    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t size;
        File *cut = write_log_replay_prefix(log, 0, NULL, 0, 2, i);
        assert_non_null(cut);
        const uint8_t *data = file_memory_data(cut, &size);
        assert_int_equal(size, ends[i]);
        assert_int_equal(data[299], 3);
        assert_int_equal(data[size - 1], 3);
        assert_true(size < 500 || data[400] == 0);
        file_close(cut);
    }
    file_close(file);
    write_log_free(log);
}

/* A memory file of which one flush lasts until another thread has written. */
typedef struct SlowFlush {
    File file;
    File *below;
    pthread_barrier_t begun, go_on;
    bool is_slow;
} SlowFlush;

static ssize_t slow_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = ((SlowFlush *)file)->below;
    return below->ops->pwritev(below, iov, count, offset);
}

static int slow_flush(File *file)
{
    SlowFlush *slow = (SlowFlush *)file;
    if (slow->is_slow) {
        pthread_barrier_wait(&slow->begun);
        pthread_barrier_wait(&slow->go_on);
    }
    return 0;
}

static void slow_close(File *file)
{
    file_done(file);
}

static void *flush_it(void *file)
{
    assert_int_equal(file_flush(file), 0);
    return NULL;
}

static void a_flush_covers_what_was_written_before_it_began(void **state)
{
    static const FileOps ops = { .pwritev = slow_pwritev,
                                 .flush = slow_flush,
                                 .close = slow_close };
    SlowFlush slow = { .below = file_memory_new(NULL, 0, BYTES), .is_slow = true };
    file_init(&slow.file, &ops);
    slow.file.alignment = 1;
    pthread_barrier_init(&slow.begun, NULL, 2);
    pthread_barrier_init(&slow.go_on, NULL, 2);
    WriteLog *log = write_log_new();
    File *file = file_record_new(&slow.file, log, 0);
    pthread_t thread;
    assert_int_equal(file_write(file, 0, "a", 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, flush_it, file), 0);
    pthread_barrier_wait(&slow.begun);
    assert_int_equal(file_write(file, 512, "b", 1), 0); /* done while the flush runs */
    pthread_barrier_wait(&slow.go_on);
    pthread_join(thread, NULL);
    unsigned lost = 0, kept = 0;
    for (uint64_t seed = 1; seed < 50; seed++) {
        assert_int_equal(byte_after_cut(log, 3, seed, 0), 'a');
        unsigned late = byte_after_cut(log, 3, seed, 512);
        lost += late == 0;
        kept += late == 'b';
    }
    assert_true(lost > 0 && kept > 0);
    slow.is_slow = false;
    assert_int_equal(file_flush(file), 0);
    for (uint64_t seed = 1; seed < 50; seed++) {
        assert_int_equal(byte_after_cut(log, 4, seed, 512), 'b');
    }
    file_close(file);
    file_close(slow.below);
    write_log_free(log);
    pthread_barrier_destroy(&slow.begun);
    pthread_barrier_destroy(&slow.go_on);
}

static void a_flush_of_one_file_leaves_the_other_unflushed(void **state)
{
    WriteLog *log = write_log_new();
    File *one = file_record_new(file_memory_new(NULL, 0, BYTES), log, 0);
    File *two = file_record_new(file_memory_new(NULL, 0, BYTES), log, 1);
    assert_int_equal(file_write(one, 0, "a", 1), 0);
    assert_int_equal(file_write(two, 0, "b", 1), 0);
    assert_int_equal(file_flush(two), 0);
    unsigned lost = 0;
    for (uint64_t seed = 1; seed < 50; seed++) {
        File *replayed = write_log_replay(log, 1, NULL, 0, 3, seed);
        uint8_t byte;
        assert_int_equal(file_read(replayed, 0, &byte, 1), 0);
        assert_int_equal(byte, 'b');
        file_close(replayed);
        lost += byte_after_cut(log, 3, seed, 0) == 0;
    }
    assert_true(lost > 0);
    file_close(one);
    file_close(two);
    write_log_free(log);
}

static File *make_posix_file(void)
{
    char path[] = "/tmp/lodge-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    File *file;
    FilePosixOptions options = { .is_writable = true };
    assert_int_equal(file_posix_new(fd, &options, &file), 0);
    return file;
}

/* Their blocks may be allocated before. */
static void large_writes_leave_their_bytes_and_no_blocks_more(void **state)
{
    enum { LARGE = 2 << 20 };
    File *file = make_posix_file();
    uint8_t *bytes = calloc(1, LARGE), *back = calloc(1, LARGE);
    memset(bytes, 0x5a, LARGE);
    uint64_t size, usage;
    assert_int_equal(file_write(file, 3 * LARGE + 4096, bytes, LARGE), 0);
    assert_int_equal(file_write(file, LARGE, bytes, LARGE), 0);
    assert_int_equal(file->ops->size(file, &size), 0);
    assert_int_equal(size, 4 * LARGE + 4096);
    assert_int_equal(file->ops->disk_usage(file, &usage), 0);
    assert_true(usage <= 2 * LARGE + 2 * BYTES); /* and what the file system needs */
    assert_int_equal(file_read(file, 3 * LARGE + 4096, back, LARGE), 0);
    assert_memory_equal(back, bytes, LARGE);
    free(bytes);
    free(back);
    file_close(file);
}

static void a_hole_of_a_file_is_found(void **state)
{
    File *file = make_posix_file();
    FileExtentKind kind;
    uint64_t length, usage;
    assert_int_equal(file_truncate(file, 10 * BYTES), 0);
    assert_int_equal(file_write(file, BYTES, "x", 1), 0);
    assert_int_equal(file->ops->extent(file, 0, 10 * BYTES, &kind, &length), 0);
    if (length != 10 * BYTES) { /* the file system knows holes */
        assert_int_equal(kind, FILE_EXTENT_HOLE);
        assert_int_equal(length, BYTES);
        assert_int_equal(file->ops->extent(file, BYTES, BYTES, &kind, &length), 0);
        assert_int_equal(kind, FILE_EXTENT_DATA);
        assert_true(length < BYTES);
    }
    assert_int_equal(file_write_zeroes(file, 0, 2 * BYTES, FILE_ZERO_MAY_PUNCH), 0);
    uint8_t byte = 1;
    assert_int_equal(file_read(file, BYTES, &byte, 1), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(file->ops->disk_usage(file, &usage), 0);
    file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unaligned_requests_reach_direct_files_aligned),
        cmocka_unit_test(what_lies_past_the_end_reads_as_zeroes),
        cmocka_unit_test(a_planned_fault_hits_the_counted_operation_alone),
        cmocka_unit_test(a_power_cut_loses_only_what_was_not_flushed),
        cmocka_unit_test(a_write_is_cut_after_each_of_its_sectors),
        cmocka_unit_test(a_flush_covers_what_was_written_before_it_began),
        cmocka_unit_test(a_flush_of_one_file_leaves_the_other_unflushed),
        cmocka_unit_test(large_writes_leave_their_bytes_and_no_blocks_more),
        cmocka_unit_test(a_hole_of_a_file_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
