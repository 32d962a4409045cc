/* Nodes: specifications, opening, checks of requests, raw images.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"
#include "gbase/error.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 65536

static char path[64];

static int set_up(void **state)
{
    strcpy(path, "/tmp/lodge-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && ftruncate(fd, BYTES) == 0);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    return 0;
}

static BlockNode *open_raw(unsigned flags)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, "raw", &error);
    BlockNode *node = block_open(spec, flags, &error);
    assert_null(error);
    return node;
}

static BlockNode *open_memory(unsigned flags)
{
    g_autoptr(GError) error = NULL;
    File *file = file_memory_new(NULL, 0, 8 * BYTES);
    assert_int_equal(file_truncate(file, BYTES), 0);
    BlockNode *node = block_open_file(file, "memory", "raw", flags, &error);
    assert_null(error);
    return node;
}

static void a_json_name_becomes_flat_keys(void **state)
{
    g_autoptr(BlockSpec) spec = block_spec_from_name(
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a,b\"},"
        "\"backing\":null,\"read-only\":true,\"x\":[{\"y\":1}]}",
        NULL, NULL);
    assert_non_null(spec);
    assert_string_equal(block_spec_get(spec, "driver"), "qcow2");
    assert_string_equal(block_spec_get(spec, "file.filename"), "a,b");
    assert_string_equal(block_spec_get(spec, "backing"), "");
    assert_string_equal(block_spec_get(spec, "read-only"), "on");
    assert_string_equal(block_spec_get(spec, "x.0.y"), "1");
    assert_true(block_spec_has_sub(spec, "file"));
    assert_false(block_spec_has_sub(spec, "fil"));
}

static void a_malformed_or_deep_json_name_is_refused(void **state)
{
    static const char *const names[] = { "json:", "json:{", "json:[]", "json:1", "json:{\"a\":}" };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(block_spec_from_name(names[i], NULL, &error));
        assert_non_null(error);
    }
    g_autoptr(GString) deep = g_string_new("json:");
    for (unsigned i = 0; i < 100000; i++) {
        g_string_append(deep, "{\"a\":");
    }
    g_autoptr(GError) error = NULL;
    assert_null(block_spec_from_name(deep->str, NULL, &error));
    assert_int_equal(error->code, LODGE_ERROR_LIMIT);
}

static void doubled_commas_are_one_in_option_texts(void **state)
{
    g_autoptr(BlockSpec) spec =
        block_spec_from_text("driver=raw,file.filename=a,,b=c,read-only=on", NULL);
    assert_string_equal(block_spec_get(spec, "file.filename"), "a,b=c");
    assert_string_equal(block_spec_get(spec, "read-only"), "on");
    g_autoptr(GError) error = NULL;
    assert_null(block_spec_from_text("driver", &error));
    assert_non_null(error);
}

static void backing_names_start_from_the_image(void **state)
{
    static const char *const rows[][3] = {
        { "/a/b.qcow2", "c.img", "/a/c.img" },
        { "b.qcow2", "c.img", "c.img" },
        { "/a/b", "/c", "/c" },
        { "/a/b", "nbd://h/x", "nbd://h/x" },
        { "x/b", "d/c:1", "x/d/c:1" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *got = block_backing_path(rows[i][0], rows[i][1]);
        assert_string_equal(got, rows[i][2]);
    }
}

static void requests_past_the_end_or_on_readonly_nodes_are_refused(void **state)
{
    uint8_t buf[16] = { 1 };
    g_autoptr(BlockNode) node = open_memory(0);
    assert_int_equal(block_pread(node, BYTES - 16, buf, 16), 0);
    assert_int_equal(block_pread(node, BYTES - 15, buf, 16), -EIO);
    assert_int_equal(block_pread(node, UINT64_MAX - 3, buf, 16), -EIO);
    assert_int_equal(block_pwrite(node, 0, buf, 16, 0), -EPERM);
    assert_int_equal(block_write_zeroes(node, 0, 16, 0), -EPERM);
    assert_int_equal(block_discard(node, 0, 16), -EPERM);
    g_autoptr(GError) error = NULL;
    assert_false(block_truncate(node, 0, BLOCK_PREALLOCATION_OFF, &error));
    assert_int_equal(error->code, LODGE_ERROR_PERMISSION);
}

static void written_bytes_are_read_again(void **state)
{
    uint8_t got[3000], data[3000];
    memset(data, 7, sizeof(data));
    g_autoptr(BlockNode) node = open_raw(BLOCK_OPEN_WRITABLE);
    struct iovec iov[3] = { { data, 1000 }, { data, 0 }, { data, 3000 } };
    assert_int_equal(block_pwritev(node, 100, 3000, &(BlockVec){ iov, 3 }, 500, BLOCK_IO_FUA), 0);
    assert_int_equal(block_pread(node, 100, got, 3000), 0);
    assert_memory_equal(got, data, 3000);
    assert_int_equal(block_write_zeroes(node, 200, 100, BLOCK_IO_MAY_UNMAP), 0);
    assert_int_equal(block_pread(node, 199, got, 102), 0);
    assert_int_equal(got[0], 7);
    assert_int_equal(got[1], 0);
    assert_int_equal(got[100], 0);
    assert_int_equal(got[101], 7);
}

static void a_second_writer_is_refused(void **state)
{
    g_autoptr(BlockNode) first = open_raw(BLOCK_OPEN_WRITABLE);
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, "raw", NULL);
    g_autoptr(GError) error = NULL;
    assert_true(block_keep_alone(first, &error));
    assert_null(block_open(spec, BLOCK_OPEN_WRITABLE, &error));
    assert_int_equal(error->code, LODGE_ERROR_BUSY);
    g_autoptr(GError) create_error = NULL;
    assert_false(block_create("raw", path, spec, &create_error));
    BlockStatus status;
    assert_int_equal(block_status(first, 0, 10, &status), 0);
}

static void a_failed_flush_is_never_forgotten(void **state)
{
    FaultPlan plan = { .ops = FAULT_FLUSH, .at = 1, .error = EIO };
    File *file = file_fault_new(file_memory_new(NULL, 0, 8 * BYTES), &plan);
    assert_int_equal(file_truncate(file, BYTES), 0);
    g_autoptr(BlockNode) node = block_open_file(file, "f", "raw", BLOCK_OPEN_WRITABLE, NULL);
    assert_int_equal(block_pwrite(node, 0, "a", 1, 0), 0);
    assert_int_equal(block_flush(node), -EIO);
    assert_int_equal(block_flush(node), -EIO);
    assert_int_equal(block_pwrite(node, 0, "a", 1, BLOCK_IO_FUA), -EIO);
}

static void a_created_image_has_its_size_and_unknown_options_are_refused(void **state)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    block_spec_set(options, "size", "1000");
    assert_true(block_create("raw", path, options, NULL));
    g_autoptr(BlockNode) node = open_raw(0);
    assert_int_equal(block_node_size(node), 1024);
    block_spec_set(options, "colour", "red");
    g_autoptr(GError) error = NULL;
    assert_false(block_create("raw", path, options, &error));
    assert_non_null(strstr(error->message, "colour"));
}

static void detected_zeroes_are_not_written(void **state)
{
    static const uint8_t zeroes[4096];
    FaultPlan plan = { .ops = FAULT_WRITE };
    File *file = file_fault_new(file_memory_new(NULL, 0, BYTES), &plan);
    assert_int_equal(file_truncate(file, BYTES), 0);
    g_autoptr(BlockNode) node = block_open_file(file, "f", "raw", BLOCK_OPEN_WRITABLE, NULL);
    assert_int_equal(block_pwrite(node, 0, zeroes, sizeof(zeroes), 0), 0);
    assert_int_equal(plan.seen, 1);
    node->detect_zeroes = BLOCK_DETECT_ZEROES_ON;
    assert_int_equal(block_pwrite(node, 0, zeroes, sizeof(zeroes), 0), 0);
    assert_int_equal(plan.seen, 1);
    assert_int_equal(block_pwrite(node, 0, "\0\1", 2, 0), 0);
    assert_int_equal(plan.seen, 2);
}

/* From the first byte of @control on until its end, asks for the locks of who has an image alone.
 * Ends with 1 if one is ever free. */
static _Noreturn void watch_locks(int control, int ready)
{
    static const off_t bytes[] = { 100, 201, 203 };
    struct pollfd end = { .fd = control, .events = POLLIN };
    bool was_free = false;
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (read(control, &byte, 1) != 1) {
        _exit(2);
    }
    for (unsigned round = 0; poll(&end, 1, 0) == 0; round++) {
        for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
            struct flock lock = { .l_type = F_WRLCK, .l_start = bytes[i], .l_len = 1 };
            was_free |= fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
        }
        if (round == 0 && write(ready, "", 1) != 1) {
            _exit(2);
        }
    }
    _exit(was_free);
}

static void a_file_is_locked_while_it_is_reopened(void **state)
{
    g_autoptr(GError) error = NULL;
    int ready[2], control[2], status;
    char byte;
    assert_true(pipe(ready) == 0 && pipe(control) == 0);
    pid_t pid = fork(); /* before there is a description that it would keep open */
    if (pid == 0) {
        close(control[1]);
        watch_locks(control[0], ready[1]);
    }
    g_autoptr(BlockNode) node = open_raw(0);
    assert_true(block_keep_alone(node, &error));
    assert_int_equal(write(control[1], "", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (unsigned i = 0; i < 500; i++) {
        assert_true(block_reopen(node, node->flags ^ BLOCK_OPEN_WRITABLE, &error));
    }
    close(control[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ready[0]), close(ready[1]), close(control[0]);
}

static void another_file_of_the_same_name_is_not_taken_for_it(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlockNode) node = open_raw(0);
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0 && ftruncate(fd, BYTES) == 0);
    close(fd);
    assert_false(block_reopen(node, node->flags | BLOCK_OPEN_WRITABLE, &error));
    assert_non_null(strstr(error->message, "another file by now"));
    assert_false(block_node_is_writable(node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_name_becomes_flat_keys),
        cmocka_unit_test(a_malformed_or_deep_json_name_is_refused),
        cmocka_unit_test(doubled_commas_are_one_in_option_texts),
        cmocka_unit_test(backing_names_start_from_the_image),
        cmocka_unit_test(requests_past_the_end_or_on_readonly_nodes_are_refused),
        cmocka_unit_test(written_bytes_are_read_again),
        cmocka_unit_test(a_second_writer_is_refused),
        cmocka_unit_test(a_file_is_locked_while_it_is_reopened),
        cmocka_unit_test(another_file_of_the_same_name_is_not_taken_for_it),
        cmocka_unit_test(a_failed_flush_is_never_forgotten),
        cmocka_unit_test(a_created_image_has_its_size_and_unknown_options_are_refused),
        cmocka_unit_test(detected_zeroes_are_not_written),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
