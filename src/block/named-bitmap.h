/* Dirty bitmaps that users name, over nodes of any format: what QMP's block-dirty-bitmap-... and
 * lodge-img bitmap do. Messages are QEMU's.
 *
 * Context: the thread that changes the graph; requests may be in flight.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NAMED_BITMAP_H
#define LODGE_BLOCK_NAMED_BITMAP_H

#include "block/dirty-bitmap.h"

enum {
    BLOCK_BITMAP_PERSISTENT = 1u << 0,
    BLOCK_BITMAP_DISABLED = 1u << 1, /* records nothing until it is enabled */
};

/* Flags for block_bitmap_get(). */
#define BLOCK_BITMAP_REFUSE_UNSTABLE (DIRTY_BITMAP_BUSY | DIRTY_BITMAP_INCONSISTENT)
#define BLOCK_BITMAP_REFUSE_CONST (BLOCK_BITMAP_REFUSE_UNSTABLE | DIRTY_BITMAP_READONLY)

/* The bitmap of that name without any of the flags @refused; borrowed. NULL with @error. */
DirtyBitmap *block_bitmap_get(const BlockNode *node, const char *name, unsigned refused,
                              GError **error);

/* The granularity that a bitmap gets of whom no other is asked for. */
uint32_t block_bitmap_default_granularity(BlockNode *node);

/* @granularity: bytes, 0: the default. @flags: BLOCK_BITMAP_... Returns: borrowed. */
DirtyBitmap *block_bitmap_add(BlockNode *node, const char *name, uint64_t granularity,
                              unsigned flags, GError **error);
/* From the disk too. */
bool block_bitmap_remove(BlockNode *node, const char *name, GError **error);
bool block_bitmap_clear(BlockNode *node, const char *name, GError **error);
/* Starts or ends recording. */
bool block_bitmap_enable(BlockNode *node, const char *name, bool enable, GError **error);
/* What is dirty in @source of @from becomes dirty in @name of @node too. */
bool block_bitmap_merge(BlockNode *node, const char *name, BlockNode *from, const char *source,
                        GError **error);
/* Whether the format can store bitmaps. */
bool block_bitmaps_are_storable(const BlockNode *node);
bool block_format_stores_bitmaps(const char *format);
/* Bytes that the node's persistent bitmaps take in a qcow2 image of that cluster size. */
uint64_t block_bitmaps_measure(BlockNode *node, uint64_t cluster_size);

#endif
