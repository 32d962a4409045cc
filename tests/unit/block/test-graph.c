/* The graph of nodes: names, references, and changes while requests are in flight.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "block/graph.h"
#include "lib/block-bench.h"
#include "lib/check.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

static void names_are_unique_and_found(void **state)
{
    const BlockBench *b = *state;
    g_autoptr(GError) error = NULL;
    assert_non_null(block_graph_find(b->graph, "top-file", NULL));
    assert_ptr_equal(block_graph_find_device(b->graph, "disk", NULL),
                     block_graph_find(b->graph, "top", NULL));
    block_bench_make_image(b, "other", "1M");
    assert_null(block_bench_add(b, "top", "", &error));
    g_clear_error(&error);
    assert_false(block_graph_is_free_name(b->graph, "disk", &error));
    g_clear_error(&error);
    assert_false(block_graph_is_free_name(b->graph, "#x", &error));
    g_clear_error(&error);
    assert_false(block_graph_del(b->graph, "top", &error));
    assert_non_null(strstr(error->message, "in use"));
    g_clear_error(&error);
    assert_false(block_graph_del(b->graph, "top-file", &error));
    assert_non_null(block_bench_add(b, "other", "", NULL));
    assert_true(block_graph_del(b->graph, "other", NULL));
    assert_null(block_graph_find(b->graph, "other", NULL));
}

static void a_node_is_referred_to_by_name(void **state)
{
    const BlockBench *b = *state;
    g_autoptr(GError) error = NULL;
    block_bench_make_image(b, "lower", "4M");
    g_autofree char *text = g_strdup_printf(
        "{'driver':'file','filename':'%s/lower','node-name':'lower-file','auto-read-only':true}",
        b->folder);
    g_autoptr(BlockSpec) file = block_bench_spec(text);
    BlockNode *below = block_graph_add(b->graph, file, &error);
    assert_non_null(below);
    assert_false(block_node_is_writable(below));
    g_autoptr(BlockSpec) format = block_bench_spec(
        "{'driver':'qcow2','file':'lower-file','node-name':'lower','backing':null}");
    BlockNode *lower = block_graph_add(b->graph, format, &error);
    assert_non_null(lower);
    assert_true(block_node_is_writable(below));
    assert_true(block_reopen(lower, lower->flags & ~(unsigned)BLOCK_OPEN_WRITABLE, &error));
    assert_false(block_node_is_writable(below));
    block_spec_set(format, "node-name", "twice");
    assert_null(block_graph_add(b->graph, format, &error));
    assert_non_null(strstr(error->message, "Permission conflict on node 'lower-file'"));
    block_bench_make_image(b, "over", "4M");
    BlockNode *over = block_bench_add(b, "over", ",'backing':'lower'", NULL);
    assert_ptr_equal(block_node_backing(over), lower);
}

/* Runs @requests requests of the guest; @change is called between them again and again. */
static void run_guest(BlockBench *b, unsigned requests,
                      void (*change)(BlockBench *b, unsigned round))
{
    block_bench_start(b);
    for (unsigned round = 0; b->requests < requests; round++) {
        block_bench_turn(b);
        change(b, round);
    }
    block_bench_stop(b);
    block_bench_compare(block_backend_node(b->backend), b->model);
}

static void take_snapshot(BlockBench *b, unsigned round)
{
    GError *error = NULL;
    if (round % 200 || round > 2000) {
        return;
    }
    g_autofree char *name = g_strdup_printf("snap%u", round);
    block_bench_make_image(b, name, "4M");
    BlockNode *overlay = block_bench_add(b, name, ",'backing':null", &error);
    assert_non_null(overlay);
    BlockNode *active = block_backend_node(b->backend);
    BlockDrain *drain = block_graph_drain_begin(b->graph, active);
    assert_true(block_graph_snapshot(b->graph, active, overlay, &error));
    assert_ptr_equal(block_backend_node(b->backend), overlay);
    if (round % 400 == 200) {
        block_graph_undo_snapshot(b->graph, active, overlay);
        assert_ptr_equal(block_backend_node(b->backend), active);
        assert_true(block_graph_del(b->graph, name, &error));
    }
    block_graph_drain_end(drain);
}

static void snapshots_under_requests_lose_nothing(void **state)
{
    BlockBench *b = *state;
    run_guest(b, 6000, take_snapshot);
    assert_non_null(block_node_backing(block_backend_node(b->backend)));
}

static void put_filter(BlockBench *b, unsigned round)
{
    GError *error = NULL;
    BlockNode *node = block_backend_node(b->backend);
    if (round % 50 == 0 && !node->driver->is_filter) {
        g_autoptr(BlockSpec) spec =
            block_bench_spec("{'driver':'copy-on-read','node-name':'cor','file':'top'}");
        BlockNode *filter = block_graph_add(b->graph, spec, &error);
        assert_non_null(filter);
        assert_true(block_graph_check_replace(b->graph, node, filter, &error));
        block_graph_replace(b->graph, node, filter);
    } else if (round % 50 == 25 && node->driver->is_filter) {
        block_graph_replace(b->graph, node, node->file);
        assert_true(block_graph_del(b->graph, "cor", &error));
    }
}

static void filters_come_and_go_under_requests(void **state)
{
    run_guest(*state, 4000, put_filter);
}

static void close_and_open(BlockBench *b, unsigned round)
{
    GError *error = NULL;
    BlockNode *node = block_backend_node(b->backend);
    if (round % 50 == 0) {
        assert_true(block_reopen(node, node->flags ^ BLOCK_OPEN_NO_FLUSH, &error));
        g_autoptr(BlockSpec) spec = block_spec_copy(node->spec);
        assert_true(block_reopen_with(node, spec, node->flags, &error));
    }
}

static void a_node_is_reopened_under_requests(void **state)
{
    run_guest(*state, 4000, close_and_open);
}

static void a_failed_reopen_leaves_the_node_as_it_was(void **state)
{
    BlockBench *b = *state;
    g_autoptr(GError) error = NULL;
    char byte = 'x';
    BlockNode *node = block_backend_node(b->backend);
    g_autofree char *path = block_bench_path(b, "top"), *away = block_bench_path(b, "away");
    assert_int_equal(block_pwrite(node, 5, &byte, 1, 0), 0);
    assert_true(block_reopen(node, node->flags & ~(unsigned)BLOCK_OPEN_WRITABLE, &error));
    assert_int_equal(block_pwrite(node, 5, &byte, 1, 0), -EPERM);
    assert_int_equal(g_rename(path, away), 0);
    assert_false(block_reopen(node, node->flags | BLOCK_OPEN_WRITABLE, &error));
    assert_int_equal(block_pread(node, 5, &byte, 1), 0);
    assert_int_equal(byte, 'x');
    assert_int_equal(g_rename(away, path), 0);
    assert_true(block_reopen(node, node->flags | BLOCK_OPEN_WRITABLE, NULL));
    assert_int_equal(block_pwrite(node, 5, &byte, 1, 0), 0);
}

static void reads_are_copied_up(void **state)
{
    BlockBench *b = *state;
    GError *error = NULL;
    char data[5000], back[5000];
    BlockNode *top = block_backend_node(b->backend);
    memset(data, 'q', sizeof(data));
    assert_int_equal(block_pwrite(top, 100000, data, sizeof(data), 0), 0);
    block_bench_make_image(b, "over", "4M");
    BlockNode *over = block_bench_add(b, "over", ",'backing':'top'", &error);
    assert_non_null(over);
    g_autoptr(BlockSpec) spec =
        block_bench_spec("{'driver':'copy-on-read','node-name':'cor','file':'over'}");
    BlockNode *filter = block_graph_add(b->graph, spec, &error);
    assert_int_equal(block_pread(filter, 100000, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    BlockStatus status;
    assert_int_equal(block_status(over, 100000, 10, &status), 0);
    assert_true(status.flags & BLOCK_STATUS_ALLOCATED);
    assert_int_equal(block_status(over, 2 << 20, 10, &status), 0);
    assert_false(status.flags & BLOCK_STATUS_ALLOCATED);
}

static bool is_allocated(BlockNode *node, uint64_t offset)
{
    BlockStatus status;
    assert_int_equal(block_status(node, offset, 10, &status), 0);
    return status.flags & BLOCK_STATUS_ALLOCATED;
}

static void only_what_lies_above_the_bottom_is_copied_up(void **state)
{
    BlockBench *b = *state;
    GError *error = NULL;
    char data[5000], back[5000];
    BlockNode *top = block_backend_node(b->backend);
    memset(data, 'q', sizeof(data));
    assert_int_equal(block_pwrite(top, 100000, data, sizeof(data), 0), 0);
    block_bench_make_image(b, "mid", "4M");
    block_bench_make_image(b, "over", "4M");
    BlockNode *mid = block_bench_add(b, "mid", ",'backing':'top'", &error);
    assert_int_equal(block_pwrite(mid, 2 << 20, data, sizeof(data), 0), 0);
    BlockNode *over = block_bench_add(b, "over", ",'backing':'mid'", &error);
    g_autoptr(BlockSpec) none = block_bench_spec(
        "{'driver':'copy-on-read','node-name':'cor','file':'over','bottom':'nope'}");
    assert_null(block_graph_add(b->graph, none, &error));
    assert_non_null(strstr(error->message, "Bottom node 'nope' not found"));
    g_clear_error(&error);
    g_autoptr(BlockSpec) spec = block_bench_spec(
        "{'driver':'copy-on-read','node-name':'cor','file':'over','bottom':'mid'}");
    BlockNode *filter = block_graph_add(b->graph, spec, &error);
    assert_non_null(filter);
    assert_int_equal(block_pread(filter, 100000, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    assert_int_equal(block_pread(filter, 2 << 20, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    assert_false(is_allocated(over, 100000));
    assert_true(is_allocated(over, 2 << 20));
    assert_false(block_node_check_unclaimed(mid, NULL));
    assert_true(block_graph_del(b->graph, "cor", &error));
    assert_true(block_node_check_unclaimed(mid, NULL));
}

static void a_null_node_forgets_what_is_written(void **state)
{
    BlockBench *b = *state;
    char data[5000], back[5000];
    BlockStatus status;
    memset(data, 'q', sizeof(data));
    memset(back, 'q', sizeof(back));
    g_autoptr(BlockSpec) spec = block_bench_spec(
        "{'driver':'null-co','node-name':'n','size':65536,'read-zeroes':true,'latency-ns':1000}");
    BlockNode *node = block_graph_add(b->graph, spec, NULL);
    assert_int_equal(block_node_size(node), 65536);
    assert_int_equal(block_pwrite(node, 100, data, sizeof(data), BLOCK_IO_FUA), 0);
    assert_int_equal(block_pread(node, 100, back, sizeof(back)), 0);
    assert_true(block_is_zero(back, sizeof(back)));
    assert_int_equal(block_pread(node, 65530, back, 10), -EIO);
    assert_int_equal(block_status(node, 0, 65536, &status), 0);
    assert_true(status.flags & BLOCK_STATUS_ZERO && status.length == 65536);
    g_autoptr(BlockSpec) huge = block_bench_spec("{'driver':'null-aio','node-name':'h','size':-5}");
    assert_null(block_graph_add(b->graph, huge, NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, block_bench_set_up, block_bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(names_are_unique_and_found),
        TEST(a_node_is_referred_to_by_name),
        TEST(snapshots_under_requests_lose_nothing),
        TEST(filters_come_and_go_under_requests),
        TEST(a_node_is_reopened_under_requests),
        TEST(a_failed_reopen_leaves_the_node_as_it_was),
        TEST(reads_are_copied_up),
        TEST(only_what_lies_above_the_bottom_is_copied_up),
        TEST(a_null_node_forgets_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
