/* A cache of tables of one cluster each (L2 tables, refcount blocks), written back late.
 * Context: the image's lock. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_CACHE_H
#define LODGE_BLOCK_QCOW2_CACHE_H

#include "block/driver.h"

typedef struct Qcow2Table {
    uint64_t offset; /* of the file; 0: the slot is empty */
    uint64_t used;   /* when, for the choice of a victim */
    bool is_dirty;
    uint8_t *data; /* as on disk */
} Qcow2Table;

/* Called before a dirty table is written by itself: what must be on disk first. */
typedef int (*Qcow2BeforeWrite)(void *opaque);

typedef struct Qcow2Cache {
    BlockNode *file;
    size_t table_size;
    unsigned slots;
    unsigned last; /* the slot found last */
    unsigned dirty;
    uint64_t clock;
    Qcow2Table *tables;
    Qcow2BeforeWrite before_write;
    void *opaque;
} Qcow2Cache;

/* Returns: 0 or -ENOMEM. Memory for tables is taken when they are first used. */
int qcow2_cache_init(Qcow2Cache *cache, BlockNode *file, size_t table_size, unsigned slots,
                     Qcow2BeforeWrite before_write, void *opaque);
void qcow2_cache_done(Qcow2Cache *cache);
/* The table at @offset, read if need be. Stays valid until the next one is got. */
int qcow2_cache_get(Qcow2Cache *cache, uint64_t offset, Qcow2Table **out_table);
/* A table of zeroes for @offset that is not on disk yet: dirty. */
int qcow2_cache_get_empty(Qcow2Cache *cache, uint64_t offset, Qcow2Table **out_table);
void qcow2_cache_mark(Qcow2Cache *cache, Qcow2Table *table);
/* Writes the dirty tables; not flushed, and before_write is not called. */
int qcow2_cache_write(Qcow2Cache *cache);
/* Whether a table at @offset is in the cache. */
bool qcow2_cache_holds(Qcow2Cache *cache, uint64_t offset);
/* Forgets the table at @offset (dirty or not), if it is there. */
void qcow2_cache_forget(Qcow2Cache *cache, uint64_t offset);
/* Forgets all tables. */
void qcow2_cache_clear(Qcow2Cache *cache);

#endif
