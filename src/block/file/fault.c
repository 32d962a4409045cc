/* Faults: the n-th operation of a kind fails, once or from then on.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/file/file.h"

#include <stdlib.h>

#define SECTOR 512u

typedef struct FaultFile {
    File base;
    File *below;
    FaultPlan *plan;
} FaultFile;

static FaultFile *fault_of(File *file)
{
    return (FaultFile *)file;
}

/* Whether this operation fails. */
static bool strikes(File *file, FaultOp op)
{
    FaultPlan *plan = fault_of(file)->plan;
    if (!(plan->ops & op)) {
        return false;
    }
    uint64_t n = __atomic_add_fetch(&plan->seen, 1, __ATOMIC_RELAXED);
    return plan->at && (n == plan->at || (plan->is_sticky && n > plan->at));
}

static int fault_error(File *file)
{
    return -fault_of(file)->plan->error;
}

/* What a short operation moves: at least a byte. */
static struct iovec first_half(const struct iovec *iov)
{
    return (struct iovec){ iov->iov_base, iov->iov_len > 1 ? iov->iov_len / 2 : iov->iov_len };
}

static ssize_t fault_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = fault_of(file)->below;
    if (!strikes(file, FAULT_READ)) {
        return below->ops->preadv(below, iov, count, offset);
    }
    struct iovec half = first_half(iov);
    return fault_of(file)->plan->is_short ? below->ops->preadv(below, &half, 1, offset)
                                          : fault_error(file);
}

static ssize_t fault_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = fault_of(file)->below;
    if (!strikes(file, FAULT_WRITE)) {
        return below->ops->pwritev(below, iov, count, offset);
    }
    struct iovec half = first_half(iov);
    if (fault_of(file)->plan->is_short) {
        return below->ops->pwritev(below, &half, 1, offset);
    }
    uint64_t end = round_down(offset + half.iov_len, SECTOR);
    if (fault_of(file)->plan->is_torn && end > offset) {
        half.iov_len = end - offset;
        (void)!below->ops->pwritev(below, &half, 1, offset);
    }
    return fault_error(file);
}

static int fault_flush(File *file)
{
    File *below = fault_of(file)->below;
    return strikes(file, FAULT_FLUSH) ? fault_error(file) : below->ops->flush(below);
}

static int fault_truncate(File *file, uint64_t size)
{
    File *below = fault_of(file)->below;
    return strikes(file, FAULT_RESIZE) ? fault_error(file) : below->ops->truncate(below, size);
}

static int fault_allocate(File *file, uint64_t offset, uint64_t length)
{
    File *below = fault_of(file)->below;
    return strikes(file, FAULT_RESIZE) ? fault_error(file)
                                       : below->ops->allocate(below, offset, length);
}

static int fault_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    File *below = fault_of(file)->below;
    return strikes(file, FAULT_RESIZE) ? fault_error(file)
                                       : below->ops->zero(below, offset, length, flags);
}

static int fault_discard(File *file, uint64_t offset, uint64_t length)
{
    File *below = fault_of(file)->below;
    return strikes(file, FAULT_RESIZE) ? fault_error(file)
                                       : below->ops->discard(below, offset, length);
}

static int fault_extent(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                        uint64_t *out_length)
{
    File *below = fault_of(file)->below;
    return below->ops->extent(below, offset, length, out_kind, out_length);
}

static int fault_size(File *file, uint64_t *out_size)
{
    File *below = fault_of(file)->below;
    return below->ops->size(below, out_size);
}

static int fault_disk_usage(File *file, uint64_t *out_bytes)
{
    File *below = fault_of(file)->below;
    return below->ops->disk_usage(below, out_bytes);
}

static void fault_close(File *file)
{
    file_close(fault_of(file)->below);
    file_done(file);
    free(file);
}

static const FileOps fault_ops = {
    .name = "fault",
    .preadv = fault_preadv,
    .pwritev = fault_pwritev,
    .flush = fault_flush,
    .truncate = fault_truncate,
    .allocate = fault_allocate,
    .zero = fault_zero,
    .discard = fault_discard,
    .extent = fault_extent,
    .size = fault_size,
    .disk_usage = fault_disk_usage,
    .close = fault_close,
};

File *file_fault_new(File *below, FaultPlan *plan)
{
    FaultFile *fault = calloc(1, sizeof(*fault));
    if (fault) {
        file_init(&fault->base, &fault_ops);
        fault->base.alignment = below->alignment;
        fault->base.is_block_device = below->is_block_device;
        fault->below = below;
        fault->plan = plan;
    }
    return &fault->base;
}
