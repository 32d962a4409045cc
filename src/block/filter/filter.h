/* Filters: nodes that show the node below (node->file), and do something beside. Here is what they
 * pass on unchanged.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_FILTER_FILTER_H
#define LODGE_BLOCK_FILTER_FILTER_H

#include "block/drivers.h"

/* A filter of @driver above @below (referenced), that no specification asked for. @name: NULL: it
 * gets one, and is not shown. @state: of the driver, whose close frees it. */
BlockNode *block_filter_new(const BlockDriver *driver, BlockNode *below, const char *name,
                            void *state);

/* Functions of a driver. */
int block_filter_close(BlockNode *node); /* there is no state */
int block_filter_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip);
int block_filter_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip);
int block_filter_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags);
int block_filter_discard(BlockNode *node, uint64_t offset, uint64_t length);
int block_filter_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status);
int block_filter_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length);
bool block_filter_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                           GError **error);
unsigned block_filter_granularity(const BlockNode *node);

#define BLOCK_FILTER_PASSES                                                                        \
    .is_filter = true, .write_compressed = block_filter_write_compressed,                          \
    .truncate = block_filter_truncate, .granularity = block_filter_granularity

#endif
