/* The filter "copy-on-read": what is read from backing files is written to the node below, so that
 * it is there the next time. Option "bottom": the last node whose content is copied (by default
 * all).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/filter/filter.h"
#include "gbase/error.h"

#include <errno.h>

#define PART_BYTES (1u << 20)

static bool open_filter(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    if (block_spec_get(spec, "bottom")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "copy-on-read: 'bottom' is not supported; give the nodes below it to a "
                    "block-stream job");
        return false;
    }
    node->size = block_node_size(node->file);
    block_node_serialize(node->file);
    return true;
}

/* A failure to copy is none of the reader's. */
static void copy_up(BlockNode *file, uint64_t offset, uint64_t length)
{
    uint64_t granularity = MAX(block_node_granularity(file), 512);
    uint64_t end = MIN(round_up(offset + length, granularity), block_node_size(file));
    size_t copied;
    g_autofree uint8_t *buf = NULL;
    for (uint64_t at = round_down(offset, granularity); at < end; at += PART_BYTES) {
        size_t part = MIN(end - at, PART_BYTES);
        buf = buf ? buf : g_try_malloc(PART_BYTES);
        if (!buf || block_copy_up(file, NULL, at, part, buf, &copied) < 0) {
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
        copy_up(file, offset, length);
    }
    return block_preadv(file, offset, length, vec, skip);
}

const BlockDriver block_driver_copy_on_read = {
    .name = "copy-on-read",
    .open = open_filter,
    .close = block_filter_close,
    .read = read_filter,
    .write = block_filter_write,
    .write_zeroes = block_filter_write_zeroes,
    .discard = block_filter_discard,
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};
