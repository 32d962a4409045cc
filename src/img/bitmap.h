/* Persistent bitmaps from one image to another (convert --bitmaps).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_BITMAP_H
#define LODGE_IMG_BITMAP_H

#include "block/block.h"

/* Whether the bitmaps of @source can be copied; with @skip_broken inconsistent ones are left out,
 * and said so. */
bool img_bitmaps_check(BlockNode *source, bool skip_broken, GError **error);
/* Gives @target the persistent bitmaps of @source. */
bool img_bitmaps_copy(BlockNode *target, BlockNode *source, GError **error);

#endif
