/* lodge-img bench. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "block/backend.h"
#include "img/commands.h"
#include "img/common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 1024
#define DEPTH 64

const ImgOption img_bench_options[] = {
    IMG_OPTION_FORMAT,
    { 'c', NULL, "count", "requests (75000)" },
    { 'd', NULL, "depth", "requests in flight (64)" },
    { 's', NULL, "buffer_size", "bytes of a request (4096)" },
    { 'S', NULL, "step_size", "from one request to the next (the buffer size)" },
    { 'o', NULL, "offset", "of the first request (0)" },
    { 'w', NULL, NULL, "write instead of reading" },
    { 0, "pattern", "pattern", "the byte to write (0)" },
    { 0, "flush-interval", "count", "flush after so many writes" },
    { 0, "no-drain", NULL, "go on while a flush runs" },
    { 'n', NULL, NULL, "as -i native" },
    { 'i', NULL, "aio", "threads, io_uring, or native: io_uring, for direct I/O only (-t none)" },
    IMG_OPTION_CACHE,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Bench Bench;

/* One of the requests in flight. */
typedef struct Slot {
    BlockRequest request;
    Bench *bench;
    struct iovec iov;
} Slot;

struct Bench {
    EventLoop *loop;
    BlockBackend *backend;
    uint64_t count, depth, bytes, step, offset, pattern, flush_interval;
    bool is_write, drains;
    bool is_through; /* each write is on the disk before it is done */
    uint64_t size;
    uint64_t left;        /* requests to be started */
    uint64_t until_flush; /* writes before the next flush */
    uint64_t in_flight;   /* flushes too */
    bool is_flush_due;    /* nothing starts before it */
    int error;
    uint8_t *buf;
    Slot *slots;
    Slot flush;
    GPtrArray *idle; /* of Slot */
};

static void go_on(Bench *bench);

static void on_done(BlockRequest *request, int result)
{
    Slot *slot = container_of(request, Slot, request);
    Bench *bench = slot->bench;
    bench->in_flight--;
    if (result < 0 && !bench->error) {
        bench->error = result;
    }
    if (slot != &bench->flush) {
        g_ptr_array_add(bench->idle, slot);
    }
    go_on(bench);
}

/* As qemu-img goes through the image; where it would read past the end this begins anew. */
static uint64_t next_offset(Bench *bench)
{
    uint64_t offset = bench->offset % bench->size;
    if (offset + bench->bytes > bench->size) {
        offset = 0;
    }
    bench->offset = offset + bench->step;
    return offset;
}

static void start_slot(Bench *bench, Slot *slot)
{
    slot->iov.iov_base = bench->buf + (size_t)(slot - bench->slots) * bench->bytes;
    slot->iov.iov_len = bench->bytes;
    slot->request = (BlockRequest){ .op = bench->is_write ? BLOCK_OP_WRITE : BLOCK_OP_READ,
                                    .must_reach_disk = bench->is_through,
                                    .offset = next_offset(bench),
                                    .length = bench->bytes,
                                    .iov = &slot->iov,
                                    .iov_count = 1,
                                    .done = on_done };
    bench->left--;
    bench->in_flight++;
    if (bench->flush_interval && --bench->until_flush == 0) {
        bench->until_flush = bench->flush_interval;
        bench->is_flush_due = true;
    }
    block_submit(bench->backend, &slot->request);
}

static void start_flush(Bench *bench)
{
    bench->is_flush_due = false;
    bench->flush.request = (BlockRequest){ .op = BLOCK_OP_FLUSH, .done = on_done };
    bench->flush.bench = bench;
    bench->in_flight++;
    block_submit(bench->backend, &bench->flush.request);
}

/* Starts what may start. A flush waits for the writes before it, unless --no-drain was given, and
 * for the flush before it. */
static void go_on(Bench *bench)
{
    bool is_flushing = bench->in_flight + bench->idle->len > bench->depth;
    while (!bench->error) {
        if (bench->is_flush_due) {
            if (is_flushing || (bench->drains && bench->in_flight)) {
                return;
            }
            start_flush(bench);
            is_flushing = true;
        }
        if (bench->left == 0 || bench->idle->len == 0 || (is_flushing && bench->drains)) {
            break;
        }
        start_slot(bench, g_ptr_array_steal_index_fast(bench->idle, bench->idle->len - 1));
    }
    if (bench->in_flight == 0) {
        loop_quit(bench->loop);
    }
}

static void begin(void *opaque)
{
    go_on(opaque);
}

static int run(Bench *bench)
{
    size_t bytes = round_up(bench->depth * bench->bytes, 4096);
    autofree uint8_t *buf = aligned_alloc(4096, bytes);
    g_autofree Slot *slots = g_new0(Slot, bench->depth);
    g_autoptr(GPtrArray) idle = g_ptr_array_new();
    if (!buf) {
        img_error("no memory for %" PRIu64 " requests", bench->depth);
        return 1;
    }
    memset(buf, (int)bench->pattern, bytes);
    for (uint64_t i = 0; i < bench->depth; i++) {
        slots[i].bench = bench;
        g_ptr_array_add(idle, &slots[i]);
    }
    bench->buf = buf;
    bench->slots = slots;
    bench->idle = idle;
    bench->left = bench->count;
    bench->until_flush = bench->flush_interval;
    int64_t start = clock_monotonic_ns();
    if (loop_call(bench->loop, begin, bench) < 0) {
        img_error("no memory");
        return 1;
    }
    loop_run(bench->loop);
    if (bench->error) {
        img_error("Failed request to '%s': %s",
                  block_node_filename(block_backend_node(bench->backend)),
                  g_strerror(-bench->error));
        return 1;
    }
    printf("Run completed in %3.3f seconds.\n",
           (double)(clock_monotonic_ns() - start) / (double)NS_PER_SEC);
    return 0;
}

static int run_on(Bench *bench, BlockNode *node)
{
    g_autoptr(GError) error = NULL;
    BlockOptions options = { .id = "bench", .node = node, .takes_bytes = true };
    bench->loop = loop_new();
    bench->backend = bench->loop ? block_backend_open(&options, bench->loop, &error) : NULL;
    int status = 1;
    if (bench->backend) {
        status = run(bench);
    } else {
        img_error("%s", error ? error->message : g_strerror(errno));
    }
    block_backend_close(bench->backend);
    loop_free(bench->loop);
    return status;
}

static bool parse_aio(const ImgArgs *args, unsigned *flags)
{
    g_autoptr(GError) error = NULL;
    const char *aio = img_args_value(args, "i");
    if (aio && !block_aio_parse(aio, flags, &error)) {
        img_error("%s", error->message);
        return false;
    }
    *flags |= img_args_flag(args, "n") ? BLOCK_OPEN_NATIVE : 0;
    return true;
}

static bool check_flags(const ImgArgs *args, uint64_t flush_interval)
{
    bool fits = !flush_interval || img_args_flag(args, "w");
    if (!fits) {
        img_error("--flush-interval is only available in write tests: say -w");
    }
    return fits;
}

int img_bench(const ImgArgs *args)
{
    unsigned flags;
    Bench bench = { .count = 75000, .depth = DEPTH, .bytes = 4096 };
    bench.is_write = img_args_flag(args, "w");
    bench.drains = !img_args_flag(args, "no-drain");
    bench.is_through = img_cache_is_through(img_args_value(args, "t"));
    if (!img_common_options(args) || !img_cache_flags(img_args_value(args, "t"), &flags) ||
        !parse_aio(args, &flags) || !img_args_number(args, "c", 1, INT32_MAX, &bench.count) ||
        !img_args_number(args, "d", 1, DEPTH_MAX, &bench.depth) ||
        !img_args_size(args, "s", GIB, &bench.bytes) ||
        !img_args_size(args, "S", INT64_MAX, &bench.step) ||
        !img_args_size(args, "o", INT64_MAX, &bench.offset) ||
        !img_args_number(args, "pattern", 0, 255, &bench.pattern) ||
        !img_args_number(args, "flush-interval", 0, INT32_MAX, &bench.flush_interval) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    if (!check_flags(args, bench.flush_interval)) {
        return 1;
    }
    bench.step = bench.step ? bench.step : bench.bytes;
    g_autoptr(BlockNode) node =
        img_open_or_report(args, img_args_operand(args, 0), img_args_value(args, "f"),
                           flags | (bench.is_write ? BLOCK_OPEN_WRITABLE : 0));
    if (!node) {
        return 1;
    }
    bench.size = block_node_size(node);
    if (!bench.bytes || bench.bytes > bench.size) {
        img_error("the image is smaller than one request of %" PRIu64 " bytes", bench.bytes);
        return 1;
    }
    if (bench.offset > bench.size - bench.bytes) {
        img_error("the first request at offset %" PRIu64 " is past the end of the image of %" PRIu64
                  " bytes",
                  bench.offset, bench.size);
        return 1;
    }
    if (!img_args_flag(args, "q")) {
        printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
               " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
               bench.count, bench.is_write ? "write" : "read", bench.bytes, bench.depth,
               bench.offset, bench.step);
        if (bench.flush_interval) {
            printf("Sending flush every %" PRIu64 " requests\n", bench.flush_interval);
        }
    }
    return run_on(&bench, node);
}
