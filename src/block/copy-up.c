/* Copying what backing files have into the node above them, while others write to that one.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"

#include <errno.h>

void block_node_serialize(BlockNode *node)
{
    if (__atomic_load_n(&node->serial, __ATOMIC_ACQUIRE)) {
        return;
    }
    block_node_lock_alone(node);
    if (!node->serial) {
        RangeLock *serial = g_new0(RangeLock, 1);
        range_lock_init(serial);
        __atomic_store_n(&node->serial, serial, __ATOMIC_RELEASE);
    }
    pthread_rwlock_unlock(&node->lock);
}

void block_node_set_reads_wait(BlockNode *node, bool reads_wait)
{
    block_node_lock_alone(node);
    __atomic_store_n(&node->reads_wait, reads_wait, __ATOMIC_RELEASE);
    pthread_rwlock_unlock(&node->lock);
}

/* A part that this node does not have; the range is held. */
static int copy_part(BlockNode *node, uint64_t offset, const BlockStatus *status, uint8_t *buf)
{
    if (status->flags & BLOCK_STATUS_ZERO) {
        return block_write_zeroes(node, offset, status->length, BLOCK_IO_HELD);
    }
    struct iovec iov = { buf, status->length };
    BlockVec vec = { &iov, 1 };
    int rc = block_preadv_flags(node, offset, status->length, &vec, 0, BLOCK_IO_HELD);
    return rc < 0 ? rc : block_pwrite(node, offset, buf, status->length, BLOCK_IO_HELD);
}

int block_copy_up(BlockNode *node, BlockNode *base, uint64_t offset, size_t length, uint8_t *buf,
                  size_t *out_copied)
{
    RangeHold hold;
    BlockNode *where;
    BlockStatus status;
    unsigned depth;
    int rc = 0;
    *out_copied = 0;
    range_lock_take(node->serial, &hold, offset, length);
    for (uint64_t at = offset, end = offset + length; rc == 0 && at < end; at += status.length) {
        rc = block_status_chain_flags(node, base, at, end - at, &status, &where, &depth,
                                      BLOCK_IO_HELD);
        if (rc < 0 || status.length == 0) {
            break;
        }
        if (depth > 0 && status.flags & BLOCK_STATUS_ALLOCATED) {
            rc = copy_part(node, at, &status, buf);
            *out_copied += status.length;
        }
    }
    range_lock_release(node->serial, &hold);
    return rc;
}
