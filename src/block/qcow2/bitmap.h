/* qcow2's persistent bitmaps: the directory of them on disk, and the dirty bitmaps of a node that
 * are loaded from it and stored to it.
 *
 * In an image that is open for writing all bitmaps are marked "in use" on disk, since the ones in
 * memory are newer; they are stored, and the mark taken away, when the image is closed. One that is
 * still marked when the image is opened next was lost with a crash: it is kept as inconsistent, and
 * may only be removed. The directory is never changed in place but for these marks: a new one is
 * written elsewhere and the header's extension switched to it. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_BITMAP_H
#define LODGE_BLOCK_QCOW2_BITMAP_H

#include "block/dirty-bitmap.h"
#include "block/qcow2/qcow2.h"

/* An entry of the directory. */
typedef struct Qcow2Bitmap {
    char *name;
    uint64_t table_offset;
    uint32_t table_entries; /* clusters of data */
    uint32_t flags;         /* QCOW2_BITMAP_... */
    uint8_t granularity_bits;
    uint8_t *extra; /* not understood, kept */
    uint32_t extra_length;
} Qcow2Bitmap;

/* bitmap-directory.c; the lock is held, or nobody else has the image yet */

/* Reads and checks the directory into q->bitmaps. False with @error: it is invalid. */
bool qcow2_bitmaps_read(Qcow2 *q, GError **error);
Qcow2Bitmap *qcow2_bitmap_find(const Qcow2 *q, const char *name);
void qcow2_bitmap_free(Qcow2Bitmap *bitmap);
/* The bytes that @bitmaps take as a directory. */
uint64_t qcow2_bitmaps_size(const GPtrArray *bitmaps);
/* Writes q->bitmaps's flags over those on disk; flushed. */
int qcow2_bitmaps_write_flags(Qcow2 *q);
/* Makes @bitmaps (taken, also on failure) the directory on disk and q->bitmaps; the old directory's
 * clusters are freed later, those of its bitmaps are the caller's. */
int qcow2_bitmaps_replace(Qcow2 *q, GPtrArray *bitmaps);
/* Whether the dirty bitmap's content may be read. */
bool qcow2_bitmap_is_usable(const Qcow2Bitmap *bitmap);
/* The table of a bitmap in host order (g_malloc()ed). */
int qcow2_bitmap_table(Qcow2 *q, const Qcow2Bitmap *bitmap, uint64_t **out_table);
/* Frees later the clusters of a bitmap that the directory on disk names no more. */
void qcow2_bitmap_release(Qcow2 *q, const Qcow2Bitmap *bitmap);

/* bitmap.c: the driver's functions, run alone */

/* Makes dirty bitmaps of the node of what the directory names; for writing they are marked in use.
 */
bool qcow2_bitmaps_load(Qcow2 *q, GError **error);
/* Stores the node's persistent bitmaps. The image is flushed by the caller. */
int qcow2_bitmaps_store(Qcow2 *q);
bool qcow2_bitmap_can_add(BlockNode *node, const char *name, uint32_t granularity, GError **error);
bool qcow2_bitmap_remove(BlockNode *node, const char *name, GError **error);
/* Whether the image's size may be changed. */
bool qcow2_bitmaps_can_resize(const Qcow2 *q, GError **error);
void qcow2_bitmaps_add_facts(const Qcow2 *q, GArray *facts);

#endif
