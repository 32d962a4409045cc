/* The graph of nodes: names, references, and changes while requests are in flight.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "block/graph.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#define DISK_BYTES (4u << 20)
#define BLOCK_BYTES 4096
#define WRITERS 4

typedef struct Bench {
    EventLoop *loop;
    BlockGraph *graph;
    char *folder;
    BlockBackend *backend; /* of "top" */
} Bench;

static BlockSpec *spec_of(const char *text)
{
    g_autofree char *json = g_strdup(text);
    g_strdelimit(json, "'", '"');
    g_autofree char *name = g_strconcat("json:", json, NULL);
    GError *error = NULL;
    BlockSpec *spec = block_spec_from_name(name, NULL, &error);
    assert_null(error);
    return spec;
}

static char *path_of(const Bench *b, const char *name)
{
    return g_build_filename(b->folder, name, NULL);
}

static void make_image(const Bench *b, const char *name, const char *size)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autofree char *path = path_of(b, name);
    block_spec_set(options, "size", size);
    assert_true(block_create("qcow2", path, options, NULL));
}

/* A node of the image NAME called NAME; @more: further JSON members. */
static BlockNode *add(const Bench *b, const char *name, const char *more, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver':'qcow2','node-name':'%s','file':{'driver':'file','filename':'%s/%s',"
        "'node-name':'%s-file'}%s}",
        name, b->folder, name, name, more);
    g_autoptr(BlockSpec) spec = spec_of(text);
    return block_graph_add(b->graph, spec, error);
}

static int set_up(void **state)
{
    Bench *b = g_new0(Bench, 1);
    b->loop = loop_new();
    b->graph = block_graph_new();
    b->folder = g_dir_make_tmp("lodge-graph-XXXXXX", NULL);
    make_image(b, "top", "4M");
    BlockNode *node = add(b, "top", "", NULL);
    assert_non_null(node);
    b->backend = block_backend_open(&(BlockOptions){ .id = "disk", .node = node }, b->loop, NULL);
    assert_non_null(b->backend);
    block_graph_add_backend(b->graph, b->backend);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    Bench *b = *state;
    block_graph_remove_backend(b->graph, b->backend);
    block_backend_close(b->backend);
    block_graph_free(b->graph);
    loop_free(b->loop);
    g_autoptr(GDir) dir = g_dir_open(b->folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = path_of(b, name);
        g_unlink(path);
    }
    g_rmdir(b->folder);
    g_free(b->folder);
    g_free(b);
    return 0;
}

static void names_are_unique_and_found(void **state)
{
    const Bench *b = *state;
    g_autoptr(GError) error = NULL;
    assert_non_null(block_graph_find(b->graph, "top-file", NULL));
    assert_ptr_equal(block_graph_find_device(b->graph, "disk", NULL),
                     block_graph_find(b->graph, "top", NULL));
    make_image(b, "other", "1M");
    assert_null(add(b, "top", "", &error));
    g_clear_error(&error);
    assert_false(block_graph_is_free_name(b->graph, "disk", &error));
    g_clear_error(&error);
    assert_false(block_graph_is_free_name(b->graph, "#x", &error));
    g_clear_error(&error);
    assert_false(block_graph_del(b->graph, "top", &error));
    assert_non_null(strstr(error->message, "in use"));
    g_clear_error(&error);
    assert_false(block_graph_del(b->graph, "top-file", &error));
    assert_non_null(add(b, "other", "", NULL));
    assert_true(block_graph_del(b->graph, "other", NULL));
    assert_null(block_graph_find(b->graph, "other", NULL));
}

static void a_node_is_referred_to_by_name(void **state)
{
    const Bench *b = *state;
    g_autoptr(GError) error = NULL;
    make_image(b, "lower", "4M");
    g_autofree char *text = g_strdup_printf(
        "{'driver':'file','filename':'%s/lower','node-name':'lower-file','auto-read-only':true}",
        b->folder);
    g_autoptr(BlockSpec) file = spec_of(text);
    BlockNode *below = block_graph_add(b->graph, file, &error);
    assert_non_null(below);
    assert_false(block_node_is_writable(below));
    g_autoptr(BlockSpec) format =
        spec_of("{'driver':'qcow2','file':'lower-file','node-name':'lower','backing':null}");
    BlockNode *lower = block_graph_add(b->graph, format, &error);
    assert_non_null(lower);
    assert_true(block_node_is_writable(below));
    assert_true(block_reopen(lower, lower->flags & ~(unsigned)BLOCK_OPEN_WRITABLE, &error));
    assert_false(block_node_is_writable(below));
    block_spec_set(format, "node-name", "twice");
    assert_null(block_graph_add(b->graph, format, &error));
    assert_non_null(strstr(error->message, "Conflicts with use by lower as 'file'"));
    make_image(b, "over", "4M");
    BlockNode *over = add(b, "over", ",'backing':'lower'", NULL);
    assert_ptr_equal(block_node_backing(over), lower);
}

/* Guests: each writes its number and a count to its own blocks, and reads them back. */
typedef struct Writer {
    BlockRequest io;
    Bench *bench;
    struct iovec iov;
    uint32_t data[BLOCK_BYTES / 4];
    uint32_t number, count, block;
    bool is_reading;
    unsigned *left; /* requests that are still to be begun */
    unsigned *running;
} Writer;

static void go_on(Writer *w)
{
    w->iov = (struct iovec){ w->data, BLOCK_BYTES };
    w->io.op = w->is_reading ? BLOCK_OP_READ : BLOCK_OP_WRITE;
    w->io.offset = ((uint64_t)w->block * WRITERS + w->number) * BLOCK_BYTES;
    w->io.length = BLOCK_BYTES;
    w->io.iov = &w->iov;
    w->io.iov_count = 1;
    block_submit(w->bench->backend, &w->io);
}

static void on_done(BlockRequest *io, int result)
{
    Writer *w = container_of(io, Writer, io);
    assert_int_equal(result, 0);
    if (w->is_reading) {
        assert_int_equal(w->data[0], w->count);
        assert_int_equal(w->data[BLOCK_BYTES / 4 - 1], w->number);
        w->block = (w->block * 5 + 3) % (DISK_BYTES / BLOCK_BYTES / WRITERS);
        w->count++;
    }
    w->is_reading = !w->is_reading;
    if (!*w->left && !w->is_reading) {
        (*w->running)--;
        return;
    }
    *w->left -= *w->left > 0;
    memset(w->data, 0, sizeof(w->data));
    w->data[0] = w->count;
    w->data[BLOCK_BYTES / 4 - 1] = w->number;
    go_on(w);
}

/* Runs @requests requests; @change is called between them again and again. */
static void run_guest(Bench *b, unsigned requests, void (*change)(Bench *b, unsigned round))
{
    g_autofree Writer *writers = g_new0(Writer, WRITERS);
    unsigned left = requests, running = WRITERS, round = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        Writer *w = &writers[i];
        w->bench = b;
        w->number = i;
        w->left = &left;
        w->running = &running;
        w->io.done = on_done;
        w->data[BLOCK_BYTES / 4 - 1] = i;
        go_on(w);
    }
    while (running) {
        assert_int_equal(loop_run_once(b->loop, 1000), 0);
        change(b, round++);
    }
}

static void take_snapshot(Bench *b, unsigned round)
{
    GError *error = NULL;
    if (round % 200 || round > 2000) {
        return;
    }
    g_autofree char *name = g_strdup_printf("snap%u", round);
    make_image(b, name, "4M");
    BlockNode *overlay = add(b, name, ",'backing':null", &error);
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
    Bench *b = *state;
    run_guest(b, 6000, take_snapshot);
    assert_non_null(block_node_backing(block_backend_node(b->backend)));
}

static void put_filter(Bench *b, unsigned round)
{
    GError *error = NULL;
    BlockNode *node = block_backend_node(b->backend);
    if (round % 50 == 0 && !node->driver->is_filter) {
        g_autoptr(BlockSpec) spec =
            spec_of("{'driver':'copy-on-read','node-name':'cor','file':'top'}");
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

static void close_and_open(Bench *b, unsigned round)
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
    Bench *b = *state;
    g_autoptr(GError) error = NULL;
    char byte = 'x';
    BlockNode *node = block_backend_node(b->backend);
    g_autofree char *path = path_of(b, "top"), *away = path_of(b, "away");
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
    Bench *b = *state;
    GError *error = NULL;
    char data[5000], back[5000];
    BlockNode *top = block_backend_node(b->backend);
    memset(data, 'q', sizeof(data));
    assert_int_equal(block_pwrite(top, 100000, data, sizeof(data), 0), 0);
    make_image(b, "over", "4M");
    BlockNode *over = add(b, "over", ",'backing':'top'", &error);
    assert_non_null(over);
    g_autoptr(BlockSpec) spec =
        spec_of("{'driver':'copy-on-read','node-name':'cor','file':'over'}");
    BlockNode *filter = block_graph_add(b->graph, spec, &error);
    assert_int_equal(block_pread(filter, 100000, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    BlockStatus status;
    assert_int_equal(block_status(over, 100000, 10, &status), 0);
    assert_true(status.flags & BLOCK_STATUS_ALLOCATED);
    assert_int_equal(block_status(over, 2 << 20, 10, &status), 0);
    assert_false(status.flags & BLOCK_STATUS_ALLOCATED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(names_are_unique_and_found),
        TEST(a_node_is_referred_to_by_name),
        TEST(snapshots_under_requests_lose_nothing),
        TEST(filters_come_and_go_under_requests),
        TEST(a_node_is_reopened_under_requests),
        TEST(a_failed_reopen_leaves_the_node_as_it_was),
        TEST(reads_are_copied_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
