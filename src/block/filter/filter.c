/* What filters pass on. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/filter.h"

BlockNode *block_filter_new(const BlockDriver *driver, BlockNode *below, const char *name,
                            void *state)
{
    BlockNode *node = block_node_new(driver, below->filename, below->flags);
    node->file = block_node_ref(below);
    node->name = g_strdup(name);
    node->is_implicit = !name;
    node->state = state;
    node->size = block_node_size(below);
    node->flags |= BLOCK_OPEN_DISCARD;
    return node;
}

int block_filter_close(BlockNode *node)
{
    return 0;
}

int block_filter_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    return block_preadv(node->file, offset, length, vec, skip);
}

int block_filter_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip)
{
    return block_pwritev(node->file, offset, length, vec, skip, 0);
}

int block_filter_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    return block_write_zeroes(node->file, offset, length, flags | BLOCK_IO_NO_FALLBACK);
}

int block_filter_discard(BlockNode *node, uint64_t offset, uint64_t length)
{
    return block_discard(node->file, offset, length);
}

/* What the node below has is this one's own. */
int block_filter_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    return block_status(node->file, offset, length, out_status);
}

int block_filter_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    return block_write_compressed(node->file, offset, buf, length);
}

bool block_filter_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                           GError **error)
{
    return block_truncate(node->file, size, preallocation, error);
}

unsigned block_filter_granularity(const BlockNode *node)
{
    return block_node_granularity(node->file);
}
