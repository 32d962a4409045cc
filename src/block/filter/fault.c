/* The filter "fault", for tests of what stands above it: the n-th request fails, again and again.
 *
 * Options: "ops": what is counted: "read", "write" (with zeroes and discards), "flush" or "all"
 * ("write"); "every": the n-th of them fails and the count begins anew (1: all); "errno": with what
 * (5, EIO); "times": at most so many (0: no limit). Half of a write that fails has been written.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/filter.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

typedef enum FaultKind {
    FAULT_READS = 1u << 0,
    FAULT_WRITES = 1u << 1,
    FAULT_FLUSHES = 1u << 2,
} FaultKind;

typedef struct FaultFilter {
    unsigned kinds;
    int error;
    uint64_t every, times;
    pthread_mutex_t lock;
    uint64_t seen, failed; /* under lock; seen: since the last failure */
} FaultFilter;

static bool parse_ops(const char *text, unsigned *out_kinds)
{
    static const struct {
        const char *name;
        unsigned kinds;
    } ops[] = { { "read", FAULT_READS },
                { "write", FAULT_WRITES },
                { "flush", FAULT_FLUSHES },
                { "all", FAULT_READS | FAULT_WRITES | FAULT_FLUSHES } };
    for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++) {
        if (strcmp(ops[i].name, text) == 0) {
            *out_kinds = ops[i].kinds;
            return true;
        }
    }
    return false;
}

static bool open_filter(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    const char *ops = block_spec_get(spec, "ops");
    uint64_t number = EIO, every = 1, times = 0;
    unsigned kinds = FAULT_WRITES;
    if (!block_spec_get_size(spec, "errno", &number, error) ||
        !block_spec_get_size(spec, "every", &every, error) ||
        !block_spec_get_size(spec, "times", &times, error)) {
        return false;
    }
    if ((ops && !parse_ops(ops, &kinds)) || every == 0 || number == 0 || number > 4095) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "fault: 'ops' is read, write, flush or all; 'every' is at least 1; 'errno' is "
                    "from 1 to 4095");
        return false;
    }
    FaultFilter *fault = g_new0(FaultFilter, 1);
    *fault = (FaultFilter){ .kinds = kinds, .error = (int)number, .every = every, .times = times };
    pthread_mutex_init(&fault->lock, NULL);
    node->state = fault;
    node->size = block_node_size(node->file);
    return true;
}

static int close_filter(BlockNode *node)
{
    FaultFilter *fault = node->state;
    pthread_mutex_destroy(&fault->lock);
    g_free(fault);
    return 0;
}

/* 0, or the error of a request of @kind. */
static int count(const BlockNode *node, FaultKind kind)
{
    FaultFilter *fault = node->state;
    int rc = 0;
    pthread_mutex_lock(&fault->lock);
    if (fault->kinds & kind && ++fault->seen >= fault->every) {
        fault->seen = 0;
        if (fault->times == 0 || fault->failed < fault->times) {
            fault->failed++;
            rc = -fault->error;
        }
    }
    pthread_mutex_unlock(&fault->lock);
    return rc;
}

static int read_filter(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip)
{
    int rc = count(node, FAULT_READS);
    return rc < 0 ? rc : block_filter_read(node, offset, length, vec, skip);
}

static int write_filter(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    int rc = count(node, FAULT_WRITES);
    if (rc == 0) {
        return block_filter_write(node, offset, length, vec, skip);
    }
    if (length > 1) {
        (void)!block_filter_write(node, offset, length / 2, vec, skip);
    }
    return rc;
}

static int write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    int rc = count(node, FAULT_WRITES);
    return rc < 0 ? rc : block_filter_write_zeroes(node, offset, length, flags);
}

static int discard(BlockNode *node, uint64_t offset, uint64_t length)
{
    int rc = count(node, FAULT_WRITES);
    return rc < 0 ? rc : block_filter_discard(node, offset, length);
}

static int flush(BlockNode *node)
{
    return count(node, FAULT_FLUSHES);
}

const BlockDriver block_driver_fault = {
    .name = "fault",
    .open = open_filter,
    .close = close_filter,
    .read = read_filter,
    .write = write_filter,
    .write_zeroes = write_zeroes,
    .discard = discard,
    .flush = flush,
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};
