/* A disk and its guest. SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/block-bench.h"

#include "lib/check.h"

#include <glib/gstdio.h>
#include <string.h>

struct BenchWriter {
    BlockRequest io;
    BlockBench *bench;
    GRand *rand;
    struct iovec iov;
    uint8_t data[BENCH_BLOCK];
    unsigned number;
    uint64_t offset;
};

BlockSpec *block_bench_spec(const char *text)
{
    g_autofree char *json = g_strdup(text);
    g_strdelimit(json, "'", '"');
    g_autofree char *name = g_strconcat("json:", json, NULL);
    GError *error = NULL;
    BlockSpec *spec = block_spec_from_name(name, NULL, &error);
    assert_null(error);
    return spec;
}

char *block_bench_path(const BlockBench *b, const char *name)
{
    return g_build_filename(b->folder, name, NULL);
}

void block_bench_make_image(const BlockBench *b, const char *name, const char *size)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autofree char *path = block_bench_path(b, name);
    block_spec_set(options, "size", size);
    assert_true(block_create("qcow2", path, options, NULL));
}

BlockNode *block_bench_add(const BlockBench *b, const char *name, const char *more, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver':'qcow2','node-name':'%s','file':{'driver':'file','filename':'%s/%s',"
        "'node-name':'%s-file'},'discard':'unmap'%s}",
        name, b->folder, name, name, more);
    g_autoptr(BlockSpec) spec = block_bench_spec(text);
    return block_graph_add(b->graph, spec, error);
}

int block_bench_set_up(void **state)
{
    BlockBench *b = g_new0(BlockBench, 1);
    b->loop = loop_new();
    b->graph = block_graph_new();
    b->folder = g_dir_make_tmp("lodge-block-XXXXXX", NULL);
    b->model = g_malloc0(BENCH_BYTES);
    b->writers = g_new0(BenchWriter, BENCH_WRITERS);
    for (unsigned i = 0; i < BENCH_WRITERS; i++) {
        b->writers[i].rand = g_rand_new_with_seed(i);
    }
    block_bench_make_image(b, "top", "4M");
    BlockNode *node = block_bench_add(b, "top", "", NULL);
    assert_non_null(node);
    const BlockOptions options = { .id = "disk", .node = node, .can_discard = true };
    b->backend = block_backend_open(&options, b->loop, NULL);
    assert_non_null(b->backend);
    block_graph_add_backend(b->graph, b->backend);
    *state = b;
    return 0;
}

int block_bench_tear_down(void **state)
{
    BlockBench *b = *state;
    block_bench_stop(b);
    block_graph_remove_backend(b->graph, b->backend);
    block_backend_close(b->backend);
    block_graph_free(b->graph);
    loop_free(b->loop);
    for (unsigned i = 0; i < BENCH_WRITERS; i++) {
        g_rand_free(b->writers[i].rand);
    }
    g_autoptr(GDir) dir = g_dir_open(b->folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = block_bench_path(b, name);
        g_unlink(path);
    }
    g_rmdir(b->folder);
    g_free(b->folder);
    g_free(b->model);
    g_free(b->writers);
    g_free(b);
    return 0;
}

/* Blocks are a writer's own, so that it knows what is there. */
static void go_on(BenchWriter *w)
{
    static const BlockOp ops[] = { BLOCK_OP_WRITE, BLOCK_OP_WRITE, BLOCK_OP_READ,
                                   BLOCK_OP_WRITE_ZEROES };
    uint64_t blocks = BENCH_BYTES / BENCH_BLOCK / BENCH_WRITERS;
    uint64_t block = (uint64_t)g_rand_int_range(w->rand, 0, (int)blocks);
    w->offset = (block * BENCH_WRITERS + w->number) * BENCH_BLOCK;
    w->iov = (struct iovec){ w->data, BENCH_BLOCK };
    BlockOp op = ops[g_rand_int_range(w->rand, 0, G_N_ELEMENTS(ops))];
    bool has_data = op == BLOCK_OP_READ || op == BLOCK_OP_WRITE;
    memset(w->data, g_rand_int_range(w->rand, 1, 255), BENCH_BLOCK);
    w->io.op = op;
    w->io.offset = w->offset;
    w->io.length = BENCH_BLOCK;
    w->io.iov = has_data ? &w->iov : NULL;
    w->io.iov_count = has_data ? 1 : 0;
    block_submit(w->bench->backend, &w->io);
}

static void on_done(BlockRequest *io, int result)
{
    BenchWriter *w = container_of(io, BenchWriter, io);
    BlockBench *b = w->bench;
    assert_int_equal(result, 0);
    b->requests++;
    if (io->op == BLOCK_OP_READ) {
        assert_memory_equal(w->data, b->model + w->offset, BENCH_BLOCK);
    } else if (io->op == BLOCK_OP_WRITE) {
        memcpy(b->model + w->offset, w->data, BENCH_BLOCK);
    } else {
        memset(b->model + w->offset, 0, BENCH_BLOCK);
    }
    if (b->is_stopping) {
        b->running--;
    } else {
        go_on(w);
    }
}

void block_bench_start(BlockBench *b)
{
    b->is_stopping = false;
    for (unsigned i = 0; i < BENCH_WRITERS; i++) {
        BenchWriter *w = &b->writers[i];
        w->bench = b;
        w->number = i;
        w->io.done = on_done;
        b->running++;
        go_on(w);
    }
}

void block_bench_turn(const BlockBench *b)
{
    assert_int_equal(loop_run_once(b->loop, 50), 0);
}

void block_bench_stop(BlockBench *b)
{
    b->is_stopping = true;
    while (b->running) {
        block_bench_turn(b);
    }
}

void block_bench_compare(BlockNode *node, const uint8_t *expected)
{
    g_autofree uint8_t *data = g_malloc(BENCH_BYTES);
    assert_int_equal(block_node_size(node), BENCH_BYTES);
    assert_int_equal(block_pread(node, 0, data, BENCH_BYTES), 0);
    for (uint64_t at = 0; at < BENCH_BYTES; at += BENCH_BLOCK) {
        if (memcmp(data + at, expected + at, BENCH_BLOCK) != 0) {
            fail_msg("block %u differs: %u, not %u", (unsigned)(at / BENCH_BLOCK), data[at],
                     expected[at]);
        }
    }
}
