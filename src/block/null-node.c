/* The protocols "null-co" and "null-aio": a disk that takes writes and forgets them, for measuring
 * what stands above it. Both are the same here.
 *
 * Options, as QEMU's: "size" in bytes (1 GiB); "latency-ns": how long a request takes at least (0);
 * "read-zeroes": whether that what is read is zero is to be known without reading it (off). Reads
 * give zeroes in any case: QEMU's leave the buffer as it was.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "gbase/error.h"

#include <errno.h>
#include <time.h>

#define SIZE_DEFAULT (1ull << 30)

typedef struct Null {
    uint64_t latency_ns;
    bool reads_zeroes;
} Null;

static bool open_null(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    g_autofree Null *null = g_new0(Null, 1);
    uint64_t size = SIZE_DEFAULT;
    if (!block_spec_get_size(spec, "size", &size, error) ||
        !block_spec_get_size(spec, "latency-ns", &null->latency_ns, error) ||
        !block_spec_get_bool(spec, "read-zeroes", &null->reads_zeroes, error)) {
        return false;
    }
    if (size > INT64_MAX || null->latency_ns > INT64_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "%s: 'size' or 'latency-ns' is too large", node->driver->name);
        return false;
    }
    g_free(node->filename);
    node->filename = g_strconcat(node->driver->name, "://", NULL);
    node->size = size;
    node->state = g_steal_pointer(&null);
    return true;
}

static bool reopen_null(BlockNode *node, unsigned flags, GError **error)
{
    return true;
}

static int close_null(BlockNode *node)
{
    g_free(node->state);
    return 0;
}

/* A signal that comes in between cuts no latency short. */
static int take_time(const BlockNode *node)
{
    const Null *null = node->state;
    struct timespec left = { .tv_sec = (time_t)(null->latency_ns / 1000000000),
                             .tv_nsec = (long)(null->latency_ns % 1000000000) };
    while (null->latency_ns > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
    return 0;
}

static int read_null(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    block_vec_zero(vec, skip, length);
    return take_time(node);
}

static int write_null(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    return take_time(node);
}

static int zero_null(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    return take_time(node);
}

static int flush_null(BlockNode *node)
{
    return take_time(node);
}

static int status_null(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    const Null *null = node->state;
    *out_status = (BlockStatus){
        .flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                 (null->reads_zeroes ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA),
        .length = length,
        .offset = offset,
    };
    return 0;
}

static int disk_usage_null(BlockNode *node, uint64_t *out_bytes)
{
    *out_bytes = 0;
    return 0;
}

#define NULL_DRIVER                                                                                \
    .is_protocol = true, .open = open_null, .reopen = reopen_null, .close = close_null,            \
    .read = read_null, .write = write_null, .write_zeroes = zero_null, .flush = flush_null,        \
    .status = status_null, .disk_usage = disk_usage_null

const BlockDriver block_driver_null_co = { .name = "null-co", NULL_DRIVER };
const BlockDriver block_driver_null_aio = { .name = "null-aio", NULL_DRIVER };
