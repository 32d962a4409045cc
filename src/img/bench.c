/* lodge-img bench. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "img/commands.h"
#include "img/common.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64

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
    { 'n', NULL, NULL, "accepted for compatibility (native AIO)" },
    { 'i', NULL, "aio", "accepted for compatibility: threads, native, io_uring" },
    IMG_OPTION_CACHE,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Bench {
    BlockNode *node;
    uint64_t count, depth, bytes, step, offset, pattern, flush_interval;
    bool is_write;
    uint64_t size;
    _Atomic(uint64_t) next; /* request number */
    _Atomic(int) error;
} Bench;

static uint64_t request_offset(const Bench *bench, uint64_t number)
{
    uint64_t slots = (bench->size - bench->bytes) / bench->step + 1;
    uint64_t first = bench->offset / bench->step;
    return (first + number) % slots * bench->step;
}

static void *work(void *opaque)
{
    Bench *bench = opaque;
    autofree uint8_t *buf = aligned_alloc(4096, round_up(bench->bytes, 4096));
    if (!buf) {
        bench->error = -12;
        return NULL;
    }
    memset(buf, (int)bench->pattern, bench->bytes);
    for (;;) {
        uint64_t number = bench->next++;
        if (number >= bench->count || bench->error) {
            return NULL;
        }
        uint64_t offset = request_offset(bench, number);
        int result = bench->is_write ? block_pwrite(bench->node, offset, buf, bench->bytes, 0)
                                     : block_pread(bench->node, offset, buf, bench->bytes);
        if (result == 0 && bench->flush_interval && (number + 1) % bench->flush_interval == 0) {
            result = block_flush(bench->node);
        }
        if (result < 0) {
            bench->error = result;
        }
    }
}

static int run(Bench *bench)
{
    pthread_t threads[DEPTH_MAX];
    unsigned started = 0;
    int64_t start = clock_monotonic_ns();
    while (started + 1 < bench->depth &&
           pthread_create(&threads[started], NULL, work, bench) == 0) {
        started++;
    }
    work(bench);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    if (bench->error) {
        img_error("Failed request: %s", g_strerror(-bench->error));
        return 1;
    }
    printf("Run completed in %3.3f seconds.\n",
           (double)(clock_monotonic_ns() - start) / (double)NS_PER_SEC);
    return 0;
}

int img_bench(const ImgArgs *args)
{
    unsigned flags;
    Bench bench = { .count = 75000, .depth = DEPTH_MAX, .bytes = 4096 };
    bench.is_write = img_args_flag(args, "w");
    if (!img_common_options(args) || !img_cache_flags(img_args_value(args, "t"), &flags) ||
        !img_args_number(args, "c", 1, INT32_MAX, &bench.count) ||
        !img_args_number(args, "d", 1, DEPTH_MAX, &bench.depth) ||
        !img_args_size(args, "s", GIB, &bench.bytes) ||
        !img_args_size(args, "S", INT64_MAX, &bench.step) ||
        !img_args_size(args, "o", INT64_MAX, &bench.offset) ||
        !img_args_number(args, "pattern", 0, 255, &bench.pattern) ||
        !img_args_number(args, "flush-interval", 0, INT32_MAX, &bench.flush_interval) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    bench.step = bench.step ? bench.step : bench.bytes;
    g_autoptr(BlockNode) node =
        img_open_or_report(args, img_args_operand(args, 0), img_args_value(args, "f"),
                           flags | (bench.is_write ? BLOCK_OPEN_WRITABLE : 0));
    if (!node) {
        return 1;
    }
    bench.node = node;
    bench.size = block_node_size(node);
    if (!bench.bytes || bench.bytes > bench.size) {
        img_error("the image is smaller than one request of %" PRIu64 " bytes", bench.bytes);
        return 1;
    }
    if (!img_args_flag(args, "q")) {
        printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
               " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
               bench.count, bench.is_write ? "write" : "read", bench.bytes, bench.depth,
               bench.offset, bench.step);
    }
    return run(&bench);
}
