/* Dirty bitmaps: which parts of a node were written since.
 *
 * In memory; a bit stands for a granule of bytes. Bitmaps that are attached to a node are set by
 * io.c after each write, zeroing and discard of that node, before the request is reported: what is
 * read after a bit was cleared is as new as the next time the bit is clear. Jobs use bitmaps of
 * their own that way, and formats keep named ones (QMP's block-dirty-bitmap-...).
 *
 * Offsets and lengths are bytes of any alignment. Context: any thread; each bitmap has its lock.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_DIRTY_BITMAP_H
#define LODGE_BLOCK_DIRTY_BITMAP_H

#include "block/block.h"

typedef struct DirtyBitmap DirtyBitmap;

#define DIRTY_BITMAP_GRANULARITY_MIN 512u
#define DIRTY_BITMAP_GRANULARITY_MAX (1u << 31)
#define DIRTY_BITMAP_GRANULARITY_DEFAULT 65536u

/* A clean bitmap with one reference. @size: of what it describes. @granularity: a power of two
 * within the limits above. @name: NULL: nobody finds it. Returns: NULL when memory is short. */
DirtyBitmap *dirty_bitmap_new(const char *name, uint64_t size, uint32_t granularity);
DirtyBitmap *dirty_bitmap_ref(DirtyBitmap *bitmap);
/* NULL is accepted. */
void dirty_bitmap_unref(DirtyBitmap *bitmap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirtyBitmap, dirty_bitmap_unref)

const char *dirty_bitmap_name(const DirtyBitmap *bitmap); /* or NULL */
uint64_t dirty_bitmap_size(const DirtyBitmap *bitmap);
uint32_t dirty_bitmap_granularity(const DirtyBitmap *bitmap);

/* What its owner notes about it; all false for a fresh one but is_recording. */
typedef enum DirtyBitmapFlag {
    DIRTY_BITMAP_RECORDING = 1u << 0,    /* writes set bits; the user's switch */
    DIRTY_BITMAP_PERSISTENT = 1u << 1,   /* the format stores it */
    DIRTY_BITMAP_BUSY = 1u << 2,         /* a job or an export uses it: nobody else may */
    DIRTY_BITMAP_INCONSISTENT = 1u << 3, /* was not stored properly: it may only be removed */
    DIRTY_BITMAP_READONLY = 1u << 4,     /* of an image that cannot be written */
} DirtyBitmapFlag;

unsigned dirty_bitmap_flags(const DirtyBitmap *bitmap);
void dirty_bitmap_set_flags(DirtyBitmap *bitmap, unsigned set, unsigned clear);

/* Granules that the range touches; parts past the end are left out. */
void dirty_bitmap_set(DirtyBitmap *bitmap, uint64_t offset, uint64_t length);
void dirty_bitmap_reset(DirtyBitmap *bitmap, uint64_t offset, uint64_t length);
void dirty_bitmap_clear(DirtyBitmap *bitmap);
/* As dirty_bitmap_set(), if it is recording. */
void dirty_bitmap_record(DirtyBitmap *bitmap, uint64_t offset, uint64_t length);

bool dirty_bitmap_get(DirtyBitmap *bitmap, uint64_t offset);
/* Bytes that are dirty: whole granules, the last one up to the end. */
uint64_t dirty_bitmap_count(DirtyBitmap *bitmap);
/**
 * dirty_bitmap_next - the next dirty range at or after @from
 * @max: longest range wanted
 *
 * The range begins at @from or at a granule, and ends at a granule or the end. Returns: false: none
 * is left.
 */
bool dirty_bitmap_next(DirtyBitmap *bitmap, uint64_t from, uint64_t max, uint64_t *out_offset,
                       uint64_t *out_length);
/* As dirty_bitmap_next(), and the range is clean afterwards, in one step. @from: of a granule. */
bool dirty_bitmap_take(DirtyBitmap *bitmap, uint64_t from, uint64_t max, uint64_t *out_offset,
                       uint64_t *out_length);

/* What is dirty in @from becomes dirty in @to; granularities may differ, a larger one covers more.
 * @from is not @to. */
void dirty_bitmap_merge(DirtyBitmap *to, DirtyBitmap *from);
/* What is there now, as a clean, unnamed copy. NULL when memory is short. */
DirtyBitmap *dirty_bitmap_copy(DirtyBitmap *bitmap);
/* @bitmap gets the content of @content, which is as its copy. */
void dirty_bitmap_restore(DirtyBitmap *bitmap, DirtyBitmap *content);
/* The content as bytes: bit 0 of byte 0 is the first granule; bits past the end are 0. @from: the
 * first byte; past the last one there are zeroes. */
void dirty_bitmap_pack(DirtyBitmap *bitmap, uint64_t from, uint8_t *out, size_t length);
/* Makes dirty what is set in such bytes; those past the end are ignored. */
void dirty_bitmap_unpack(DirtyBitmap *bitmap, uint64_t from, const uint8_t *bytes, size_t length);

/* What grows is clean. -ENOMEM: nothing changed. */
int dirty_bitmap_resize(DirtyBitmap *bitmap, uint64_t size) LODGE_MUST_CHECK;

/* Bitmaps of a node. The node holds a reference of each. Context: the thread that changes the
 * graph (the monitor's); requests may be in flight. */
void block_node_add_bitmap(BlockNode *node, DirtyBitmap *bitmap);
void block_node_remove_bitmap(BlockNode *node, DirtyBitmap *bitmap);
/* Borrowed; NULL: no such. */
DirtyBitmap *block_node_find_bitmap(const BlockNode *node, const char *name);
/* By number, unnamed ones too; NULL: past the last. */
DirtyBitmap *block_node_bitmap(const BlockNode *node, unsigned index);

/* io.c, with the node entered: a request has changed the range. */
void block_node_record(BlockNode *node, uint64_t offset, uint64_t length);

#endif
