/* Named dirty bitmaps of nodes. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/named-bitmap.h"

#include "base/int-math.h"
#include "block/driver.h"
#include "gbase/error.h"

#include <string.h>

#define NAME_MAX_BYTES 1023u

DirtyBitmap *block_bitmap_get(const BlockNode *node, const char *name, unsigned refused,
                              GError **error)
{
    DirtyBitmap *bitmap = block_node_find_bitmap(node, name);
    if (!bitmap) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Dirty bitmap '%s' not found",
                    name);
        return NULL;
    }
    unsigned found = dirty_bitmap_flags(bitmap) & refused;
    if (found & DIRTY_BITMAP_BUSY) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "Bitmap '%s' is currently in use by another operation and cannot be used",
                    name);
    } else if (found & DIRTY_BITMAP_READONLY) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "Bitmap '%s' is readonly and cannot be modified", name);
    } else if (found & DIRTY_BITMAP_INCONSISTENT) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "Bitmap '%s' is inconsistent and cannot be used; it can only be removed", name);
    }
    return found ? NULL : bitmap;
}

uint32_t block_bitmap_default_granularity(BlockNode *node)
{
    BlockInfo info;
    uint64_t cluster = 0;
    if (block_get_info(node, &info, NULL)) {
        cluster = info.cluster_size;
        block_info_clear(&info);
    }
    return cluster && is_power_of_two(cluster) ? (uint32_t)CLAMP(cluster, 4096, 65536)
                                               : DIRTY_BITMAP_GRANULARITY_DEFAULT;
}

bool block_bitmaps_are_storable(const BlockNode *node)
{
    return node->driver->bitmap_can_add != NULL;
}

bool block_format_stores_bitmaps(const char *format)
{
    const BlockDriver *driver = block_driver_find(format);
    return driver && driver->bitmap_can_add;
}

static bool check_new(BlockNode *node, const char *name, uint64_t granularity, unsigned flags,
                      GError **error)
{
    if (*name == '\0' || strlen(name) > NAME_MAX_BYTES) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s",
                    *name ? "Bitmap name too long" : "Bitmap name cannot be empty");
        return false;
    }
    if (granularity < DIRTY_BITMAP_GRANULARITY_MIN || granularity > DIRTY_BITMAP_GRANULARITY_MAX ||
        !is_power_of_two(granularity)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Granularity must be power of 2 and at least 512");
        return false;
    }
    if (block_node_find_bitmap(node, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "Bitmap already exists: %s", name);
        return false;
    }
    if (!(flags & BLOCK_BITMAP_PERSISTENT)) {
        return true;
    }
    if (!block_bitmaps_are_storable(node) || !block_node_is_writable(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Can't store persistent bitmaps to %s: %s",
                    node->name ? node->name : node->filename,
                    block_bitmaps_are_storable(node) ? "the image is read-only"
                                                     : "Operation not supported");
        return false;
    }
    return node->driver->bitmap_can_add(node, name, (uint32_t)granularity, error);
}

DirtyBitmap *block_bitmap_add(BlockNode *node, const char *name, uint64_t granularity,
                              unsigned flags, GError **error)
{
    granularity = granularity ? granularity : block_bitmap_default_granularity(node);
    if (!check_new(node, name, granularity, flags, error)) {
        return NULL;
    }
    g_autoptr(DirtyBitmap) bitmap =
        dirty_bitmap_new(name, block_node_size(node), (uint32_t)granularity);
    if (!bitmap) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "no memory for bitmap '%s'", name);
        return NULL;
    }
    dirty_bitmap_set_flags(bitmap, flags & BLOCK_BITMAP_PERSISTENT ? DIRTY_BITMAP_PERSISTENT : 0,
                           flags & BLOCK_BITMAP_DISABLED ? DIRTY_BITMAP_RECORDING : 0);
    block_node_add_bitmap(node, bitmap);
    return bitmap;
}

bool block_bitmap_remove(BlockNode *node, const char *name, GError **error)
{
    DirtyBitmap *bitmap =
        block_bitmap_get(node, name, DIRTY_BITMAP_BUSY | DIRTY_BITMAP_READONLY, error);
    bool ok = bitmap != NULL;
    if (ok && dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_PERSISTENT) {
        block_node_lock_alone(node);
        ok = node->driver->bitmap_remove(node, name, error);
        pthread_rwlock_unlock(&node->lock);
    }
    if (ok) {
        block_node_remove_bitmap(node, bitmap);
    }
    return ok;
}

bool block_bitmap_clear(BlockNode *node, const char *name, GError **error)
{
    DirtyBitmap *bitmap = block_bitmap_get(node, name, BLOCK_BITMAP_REFUSE_CONST, error);
    if (bitmap) {
        dirty_bitmap_clear(bitmap);
    }
    return bitmap != NULL;
}

bool block_bitmap_enable(BlockNode *node, const char *name, bool enable, GError **error)
{
    DirtyBitmap *bitmap = block_bitmap_get(node, name, BLOCK_BITMAP_REFUSE_UNSTABLE, error);
    if (bitmap) {
        dirty_bitmap_set_flags(bitmap, enable ? DIRTY_BITMAP_RECORDING : 0,
                               enable ? 0 : DIRTY_BITMAP_RECORDING);
    }
    return bitmap != NULL;
}

bool block_bitmap_merge(BlockNode *node, const char *name, BlockNode *from, const char *source,
                        GError **error)
{
    DirtyBitmap *to = block_bitmap_get(node, name, BLOCK_BITMAP_REFUSE_CONST, error);
    DirtyBitmap *with =
        to ? block_bitmap_get(from, source, BLOCK_BITMAP_REFUSE_UNSTABLE, error) : NULL;
    if (!with) {
        return false;
    }
    if (dirty_bitmap_size(to) != dirty_bitmap_size(with)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Bitmaps are of different sizes (destination size is %" G_GUINT64_FORMAT
                    ", source size is %" G_GUINT64_FORMAT ") and can't be merged",
                    dirty_bitmap_size(to), dirty_bitmap_size(with));
        return false;
    }
    if (to != with) {
        dirty_bitmap_merge(to, with);
    }
    return true;
}

uint64_t block_bitmaps_measure(BlockNode *node, uint64_t cluster_size)
{
    uint64_t bytes = 0, directory = 0;
    DirtyBitmap *bitmap;
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        unsigned flags = dirty_bitmap_flags(bitmap);
        if (!(flags & DIRTY_BITMAP_PERSISTENT) || flags & DIRTY_BITMAP_INCONSISTENT) {
            continue;
        }
        uint64_t granules =
            div_round_up(dirty_bitmap_size(bitmap), dirty_bitmap_granularity(bitmap));
        uint64_t clusters = div_round_up(div_round_up(granules, 8), cluster_size);
        bytes += clusters * cluster_size + round_up(clusters * 8, cluster_size);
        directory += round_up(24 + strlen(dirty_bitmap_name(bitmap)), 8);
    }
    return bytes + round_up(directory, cluster_size);
}
