/* Tables of an image in memory: a bounded number of pages, written back on flush.
 *
 * For formats whose tables are arrays of 2 to 8 byte entries at fixed places (vdi, vpc, vmdk, vhdx,
 * qcow). Memory does not depend on what a header says. Context: the caller has a lock; libc only.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_TABLE_CACHE_H
#define LODGE_BLOCK_TABLE_CACHE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct TableCache TableCache;
typedef struct BlockNode BlockNode;

#define TABLE_PAGE_BYTES 65536

/* @child: the file that holds the tables; borrowed. Returns: NULL when memory is short. */
TableCache *table_cache_new(BlockNode *child) LODGE_MUST_CHECK;
/* What was not flushed is dropped. NULL is accepted. */
void table_cache_free(TableCache *cache);

/* @length bytes at @offset of the file; zeroes past its end. Returns: 0 or -errno. */
int table_cache_get(TableCache *cache, uint64_t offset, void *buf, size_t length) LODGE_MUST_CHECK;
/* Changes them, in memory until the flush or until the page makes room. Returns: 0 or -errno. */
int table_cache_put(TableCache *cache, uint64_t offset, const void *buf,
                    size_t length) LODGE_MUST_CHECK;
/* Whether anything waits to be written. */
bool table_cache_is_dirty(const TableCache *cache);
/* Writes changed sectors. Returns: 0 or the first -errno; what failed stays changed. */
int table_cache_flush(TableCache *cache) LODGE_MUST_CHECK;
/* Forgets all pages, changed ones too. */
void table_cache_drop(TableCache *cache);

#endif
