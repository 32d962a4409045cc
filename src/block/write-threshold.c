/* How far writes reach: a mark in a node, the first write that passes it is told; and the furthest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"

static void drop(BlockThreshold *threshold)
{
    if (threshold) {
        threshold->release(threshold->opaque);
        g_free(threshold);
    }
}

void block_node_set_write_threshold(BlockNode *node, const BlockThreshold *threshold)
{
    BlockThreshold *next =
        threshold && threshold->offset ? g_memdup2(threshold, sizeof(*threshold)) : NULL;
    if (threshold && !next) {
        threshold->release(threshold->opaque);
    }
    /* In between, a write finds none. */
    __atomic_store_n(&node->threshold_offset, 0, __ATOMIC_RELAXED);
    drop(__atomic_exchange_n(&node->threshold, next, __ATOMIC_ACQ_REL));
    __atomic_store_n(&node->threshold_offset, next ? next->offset : 0, __ATOMIC_RELEASE);
}

uint64_t block_node_write_threshold(const BlockNode *node)
{
    return __atomic_load_n(&node->threshold_offset, __ATOMIC_RELAXED);
}

uint64_t block_node_highest_offset(const BlockNode *node)
{
    return __atomic_load_n(&node->highest_offset, __ATOMIC_RELAXED);
}

static void raise_highest(BlockNode *node, uint64_t end)
{
    uint64_t highest = block_node_highest_offset(node);
    while (end > highest && !__atomic_compare_exchange_n(&node->highest_offset, &highest, end, true,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

void block_node_note_write(BlockNode *node, uint64_t end)
{
    raise_highest(node, end);
    uint64_t offset = __atomic_load_n(&node->threshold_offset, __ATOMIC_ACQUIRE);
    if (!offset || end <= offset ||
        !__atomic_compare_exchange_n(&node->threshold_offset, &offset, 0, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED)) {
        return;
    }
    BlockThreshold *threshold = __atomic_exchange_n(&node->threshold, NULL, __ATOMIC_ACQ_REL);
    if (threshold) {
        threshold->passed(threshold->opaque, end - offset);
        g_free(threshold);
    }
}
