/* Block back ends: raw images, checks, locks. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "block/graph.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGE_BYTES 65536

typedef struct Bench {
    EventLoop *loop;
    char path[64];
    BlockOptions options;
    int result;
    bool is_done;
} Bench;

static int set_up(void **state)
{
    Bench *b = g_new0(Bench, 1);
    b->loop = loop_new();
    strcpy(b->path, "/tmp/lodge-test-XXXXXX");
    int fd = mkstemp(b->path);
    assert_true(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    close(fd);
    b->options = (BlockOptions){ .id = "d", .path = b->path, .format = "raw" };
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

typedef struct TestRequest {
    BlockRequest io;
    Bench *bench;
} TestRequest;

static void on_done(BlockRequest *io, int result)
{
    Bench *b = ((TestRequest *)io)->bench;
    b->result = result;
    b->is_done = true;
}

static int run(Bench *b, BlockBackend *backend, BlockRequest io)
{
    TestRequest request = { io, b };
    request.io.done = on_done;
    b->is_done = false;
    block_submit(backend, &request.io);
    assert_false(b->is_done);
    while (!b->is_done) {
        assert_int_equal(loop_run_once(b->loop, 1000), 0);
    }
    return b->result;
}

static int transfer(Bench *b, BlockBackend *backend, BlockOp op, uint64_t offset, void *buf,
                    size_t length)
{
    struct iovec iov[2] = { { buf, length / 2 }, { (char *)buf + length / 2, length / 2 } };
    return run(
        b, backend,
        (BlockRequest){ .op = op, .offset = offset, .length = length, .iov = iov, .iov_count = 2 });
}

static void check_image(Bench *b, BlockCache cache)
{
    g_autoptr(GError) error = NULL;
    b->options.cache = cache;
    b->options.can_discard = true;
    g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, &error);
    assert_non_null(backend);
    assert_int_equal(block_backend_size(backend), IMAGE_BYTES);
    char out[1024], in[1025];
    memset(out, 'x', sizeof(out));
    assert_int_equal(transfer(b, backend, BLOCK_OP_WRITE, 512, out, 1024), 0);
    /* Memory that is not aligned for direct I/O. */
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 512, in + 1, 1024), 0);
    assert_memory_equal(in + 1, out, 1024);
    assert_int_equal(run(b, backend, (BlockRequest){ .op = BLOCK_OP_FLUSH }), 0);
    const BlockRequest zeroes = {
        .op = BLOCK_OP_WRITE_ZEROES, .offset = 512, .length = 512, .may_unmap = true
    };
    assert_int_equal(run(b, backend, zeroes), 0);
    const BlockRequest discard = { .op = BLOCK_OP_DISCARD, .offset = 4096, .length = 4096 };
    assert_int_equal(run(b, backend, discard), 0);
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 512, in, 1024), 0);
    assert_int_equal(in[0], 0);
    assert_int_equal(in[512], 'x');
    BlockStats stats;
    block_backend_get_stats(backend, &stats);
    assert_int_equal(stats.operations[BLOCK_OP_READ], 2);
    assert_int_equal(stats.bytes[BLOCK_OP_WRITE], 1024);
}

static void every_cache_mode_reads_what_it_wrote(void **state)
{
    for (BlockCache cache = BLOCK_CACHE_WRITEBACK; cache <= BLOCK_CACHE_UNSAFE; cache++) {
        check_image(*state, cache);
    }
}

static size_t count_flushes(const WriteLog *log)
{
    size_t count = 0;
    for (size_t i = 0; i < write_log_length(log); i++) {
        count += write_log_is_flush(log, i);
    }
    return count;
}

/* How many flushes reached the file: after a write, one that must reach the disk, zeroes, a flush.
 */
static void cache_modes_flush_as_they_say(void **state)
{
    static const unsigned expected[][4] = {
        [BLOCK_CACHE_WRITEBACK] = { 0, 1, 1, 2 },    [BLOCK_CACHE_NONE] = { 0, 1, 1, 2 },
        [BLOCK_CACHE_WRITETHROUGH] = { 1, 2, 3, 4 }, [BLOCK_CACHE_DIRECTSYNC] = { 1, 2, 3, 4 },
        [BLOCK_CACHE_UNSAFE] = { 0, 0, 0, 0 },
    };
    Bench *b = *state;
    for (BlockCache cache = BLOCK_CACHE_WRITEBACK; cache <= BLOCK_CACHE_UNSAFE; cache++) {
        char buf[512] = "x";
        struct iovec iov = { buf, sizeof(buf) };
        const BlockRequest write = {
            .op = BLOCK_OP_WRITE, .length = 512, .iov = &iov, .iov_count = 1
        };
        BlockRequest through = write;
        through.must_reach_disk = true;
        const BlockRequest zeroes = { .op = BLOCK_OP_WRITE_ZEROES, .length = 512 };
        const BlockRequest flush = { .op = BLOCK_OP_FLUSH };
        const BlockRequest requests[] = { write, through, zeroes, flush };
        WriteLog *log = write_log_new();
        File *file = file_record_new(file_memory_new(NULL, 0, IMAGE_BYTES), log, 0);
        assert_int_equal(file_truncate(file, IMAGE_BYTES), 0);
        BlockNode *node = block_open_file(file, "d", "raw", BLOCK_OPEN_WRITABLE, NULL);
        assert_non_null(node);
        BlockOptions options = { .id = "d", .node = node, .cache = cache };
        BlockBackend *backend = block_backend_open(&options, b->loop, NULL);
        assert_non_null(backend);
        for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
            assert_int_equal(run(b, backend, requests[i]), 0);
            assert_int_equal(count_flushes(log), expected[cache][i]);
        }
        block_backend_close(backend);
        block_node_unref(node);
        write_log_free(log);
    }
}

static void requests_outside_the_image_are_refused(void **state)
{
    Bench *b = *state;
    g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, NULL);
    char buf[1024];
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, IMAGE_BYTES - 512, buf, 1024), -EINVAL);
    assert_int_equal(transfer(b, backend, BLOCK_OP_WRITE, UINT64_MAX - 511, buf, 1024), -EINVAL);
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 1, buf, 1024), -EINVAL);
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 0, buf, 100), -EINVAL);
    const BlockRequest discard = { .op = BLOCK_OP_DISCARD,
                                   .offset = 0,
                                   .length = UINT64_MAX - 511 };
    assert_int_equal(run(b, backend, discard), -EINVAL);
}

static void a_read_only_image_is_not_written(void **state)
{
    Bench *b = *state;
    b->options.is_readonly = true;
    assert_int_equal(chmod(b->path, 0400), 0);
    g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, NULL);
    assert_non_null(backend);
    char buf[512] = "x";
    assert_int_equal(transfer(b, backend, BLOCK_OP_WRITE, 0, buf, 512), -EPERM);
    const BlockRequest zeroes = { .op = BLOCK_OP_WRITE_ZEROES, .length = 512 };
    assert_int_equal(run(b, backend, zeroes), -EPERM);
    assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 0, buf, 512), 0);
    assert_int_equal(buf[0], 0);
}

static void the_last_part_of_a_sector_counts_whole(void **state)
{
    Bench *b = *state;
    assert_int_equal(truncate(b->path, 700), 0);
    for (BlockCache cache = BLOCK_CACHE_WRITEBACK; cache <= BLOCK_CACHE_NONE; cache++) {
        b->options.cache = cache;
        g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, NULL);
        assert_int_equal(block_backend_size(backend), 1024);
        char buf[1024];
        memset(buf, 'y', sizeof(buf));
        assert_int_equal(transfer(b, backend, BLOCK_OP_READ, 0, buf, 1024), 0);
        assert_int_equal(buf[1023], 0);
    }
}

static void assert_refused(Bench *b, const BlockOptions *options, const char *what)
{
    g_autoptr(GError) error = NULL;
    assert_null(block_backend_open(options, b->loop, &error));
    if (!strstr(error->message, what)) {
        fail_msg("'%s' is not in '%s'", what, error->message);
    }
}

static void what_cannot_be_opened_is_named(void **state)
{
    Bench *b = *state;
    BlockOptions options = { .id = "d", .path = "/nonexistent/image" };
    assert_refused(b, &options, "drive 'd': Could not open '/nonexistent/image': No such");
    options.path = "/tmp";
    options.is_readonly = true;
    assert_refused(b, &options, "neither a regular file nor a block device");
}

static void a_second_writer_is_refused_by_pid(void **state)
{
    Bench *b = *state;
    int ready[2], end[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t pid = fork();
    if (pid == 0) {
        BlockBackend *held = block_backend_open(&b->options, b->loop, NULL);
        char byte = held ? 1 : 0;
        close(end[1]);
        _exit(write(ready[1], &byte, 1) == 1 && read(end[0], &byte, 1) == 0 ? 0 : 1);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    g_autofree char *who = g_strdup_printf("is in use by process %d (", (int)pid);
    assert_refused(b, &b->options, who);
    b->options.is_readonly = true;
    assert_refused(b, &b->options, "which writes to it");
    b->options.is_unlocked = true;
    BlockBackend *unlocked = block_backend_open(&b->options, b->loop, NULL);
    assert_non_null(unlocked);
    block_backend_close(unlocked);
    close(end[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    b->options.is_unlocked = b->options.is_readonly = false;
    BlockBackend *after = block_backend_open(&b->options, b->loop, NULL);
    assert_non_null(after);
    block_backend_close(after);
    close(ready[0]), close(ready[1]), close(end[0]);
}

static void readers_share_and_keep_writers_out(void **state)
{
    Bench *b = *state;
    BlockOptions reader = b->options;
    reader.is_readonly = true;
    g_autoptr(BlockBackend) one = block_backend_open(&reader, b->loop, NULL);
    g_autoptr(BlockBackend) two = block_backend_open(&reader, b->loop, NULL);
    assert_non_null(one);
    assert_non_null(two);
    assert_refused(b, &b->options, "allows no others to write");
}

static void writers_share_if_both_say_so(void **state)
{
    Bench *b = *state;
    g_autoptr(BlockGraph) graph = block_graph_new();
    g_autoptr(GError) error = NULL;
    b->options.is_in_graph = true;
    BlockBackend *one = block_backend_open(&b->options, b->loop, NULL);
    BlockBackend *two = block_backend_open(&b->options, b->loop, NULL);
    block_graph_add_backend(graph, one);
    block_graph_add_backend(graph, two);
    block_backend_set_attached(one, true, true);
    assert_true(block_graph_update_access(graph, block_backend_node(one), NULL));
    block_backend_set_attached(two, true, false);
    assert_false(block_graph_update_access(graph, block_backend_node(two), &error));
    assert_non_null(strstr(error->message, "which writes to it; to use it at once"));
    block_backend_set_attached(two, true, true);
    assert_true(block_graph_update_access(graph, block_backend_node(two), NULL));
    block_graph_remove_backend(graph, one);
    block_graph_remove_backend(graph, two);
    block_backend_close(one);
    block_backend_close(two);
}

static void error_actions_follow_the_options(void **state)
{
    Bench *b = *state;
    b->options.on_write_error = BLOCK_ERROR_ENOSPC;
    b->options.on_read_error = BLOCK_ERROR_IGNORE;
    g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, NULL);
    assert_int_equal(block_backend_error_action(backend, true, ENOSPC), BLOCK_ERROR_STOP);
    assert_int_equal(block_backend_error_action(backend, true, EIO), BLOCK_ERROR_REPORT);
    assert_int_equal(block_backend_error_action(backend, false, EIO), BLOCK_ERROR_IGNORE);
}

/* At one a second a hundred reads would take minutes; what a drain finds waiting goes without
 * delay. */
static void a_drain_does_not_wait_for_the_limits(void **state)
{
    Bench *b = *state;
    g_autoptr(BlockBackend) backend = block_backend_open(&b->options, b->loop, NULL);
    ThrottleConfig config, got;
    throttle_config_init(&config);
    config.limits[THROTTLE_OPS_TOTAL] = (ThrottleLimit){ .average = 1, .burst_time = 1 };
    assert_null(throttle_config_problem(&config));
    ThrottleGroup *group = throttle_group_new(b->loop, &config, clock_monotonic_ns);
    assert_null(block_backend_get_throttle(backend, &got));
    block_backend_join_limits(backend, group, "group");
    throttle_group_unref(group);
    assert_string_equal(block_backend_get_throttle(backend, &got), "group");
    assert_int_equal(got.limits[THROTTLE_OPS_TOTAL].average, 1);
    char buf[512];
    struct iovec iov = { buf, sizeof(buf) };
    static TestRequest requests[100];
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        requests[i] = (TestRequest){ { .op = BLOCK_OP_READ,
                                       .length = sizeof(buf),
                                       .iov = &iov,
                                       .iov_count = 1,
                                       .done = on_done },
                                     b };
        block_submit(backend, &requests[i].io);
    }
    block_backend_drain(backend);
    BlockStats stats;
    block_backend_get_stats(backend, &stats);
    assert_int_equal(stats.operations[BLOCK_OP_READ], G_N_ELEMENTS(requests));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(every_cache_mode_reads_what_it_wrote), CASE(requests_outside_the_image_are_refused),
        CASE(a_read_only_image_is_not_written),     CASE(the_last_part_of_a_sector_counts_whole),
        CASE(what_cannot_be_opened_is_named),       CASE(a_second_writer_is_refused_by_pid),
        CASE(readers_share_and_keep_writers_out),   CASE(writers_share_if_both_say_so),
        CASE(error_actions_follow_the_options),     CASE(a_drain_does_not_wait_for_the_limits),
        CASE(cache_modes_flush_as_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
