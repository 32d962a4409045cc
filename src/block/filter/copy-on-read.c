/* The filter "copy-on-read": what is read from backing files is written to the node below, so that
 * it is there the next time. Option "bottom": the last node whose content is copied (by default
 * all).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/filter/filter.h"
#include "block/graph.h"
#include "block/lock.h"
#include "gbase/error.h"

#include <errno.h>

#define PART_BYTES (1u << 20)

static BlockNode *next_below(const BlockNode *node)
{
    return node->driver->is_filter ? node->file : node->backing;
}

/* Gives up the claims from @top down to @bottom. */
static void thaw(BlockNode *top, const BlockNode *bottom)
{
    for (BlockNode *at = top; at; at = at == bottom ? NULL : next_below(at)) {
        block_node_unclaim(at);
    }
}

/* The node "bottom" of the chain, which nobody takes apart down to there: node->state refers to it.
 */
static bool freeze_down_to(BlockNode *node, const char *name, GError **error)
{
    BlockNode *bottom = node->file, *last = NULL;
    while (bottom && g_strcmp0(bottom->name, name) != 0) {
        bottom = next_below(bottom);
    }
    if (!bottom || bottom->driver->is_filter) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    bottom ? "Bottom node '%s' is a filter" : "Bottom node '%s' not found", name);
        return false;
    }
    for (BlockNode *at = node->file; last != bottom; at = next_below(at)) {
        if (!block_node_claim(at, "its chain is kept for a copy-on-read filter", error)) {
            if (last) {
                thaw(node->file, last);
            }
            return false;
        }
        last = at;
    }
    node->state = block_node_ref(bottom);
    return true;
}

static bool open_filter(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    const char *name = block_spec_get(spec, "bottom");
    if (name && !freeze_down_to(node, name, error)) {
        return false;
    }
    node->size = block_node_size(node->file);
    block_node_serialize(node->file);
    return true;
}

static int close_filter(BlockNode *node)
{
    if (node->state) {
        thaw(node->file, node->state);
        block_node_unref(node->state);
    }
    return 0;
}

/* Images from here on are not copied. */
static BlockNode *base_of(const BlockNode *node)
{
    BlockNode *bottom = node->state;
    return bottom ? bottom->backing : NULL;
}

/* A failure to copy is none of the reader's. */
static void copy_up(BlockNode *file, BlockNode *base, uint64_t offset, uint64_t length)
{
    uint64_t granularity = MAX(block_node_granularity(file), 512);
    uint64_t end = MIN(round_up(offset + length, granularity), block_node_size(file));
    size_t copied;
    g_autofree uint8_t *buf = NULL;
    for (uint64_t at = round_down(offset, granularity); at < end; at += PART_BYTES) {
        size_t part = MIN(end - at, PART_BYTES);
        buf = buf ? buf : g_try_malloc(PART_BYTES);
        if (!buf || block_copy_up(file, base, at, part, buf, &copied) < 0) {
            return;
        }
    }
}

static int read_filter(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip)
{
    BlockNode *file = node->file;
    BlockStatus status;
    bool has_backing = block_skip_filters(file)->backing != NULL;
    if (has_backing && block_node_is_writable(file) &&
        (block_status(file, offset, length, &status) < 0 || status.length < length ||
         !(status.flags & BLOCK_STATUS_ALLOCATED))) {
        block_node_serialize(file); /* an overlay may have come in between */
        copy_up(file, base_of(node), offset, length);
    }
    return block_preadv(file, offset, length, vec, skip);
}

static unsigned access_filter(const BlockNode *node, unsigned access)
{
    return access | BLOCK_ACCESS_SAME;
}

const BlockDriver block_driver_copy_on_read = {
    .name = "copy-on-read",
    .open = open_filter,
    .close = close_filter,
    .file_access = access_filter,
    .read = read_filter,
    .write = block_filter_write,
    .write_zeroes = block_filter_write_zeroes,
    .discard = block_filter_discard,
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};
