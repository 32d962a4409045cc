/* The cache of tables: slots found by a hash of the offset, the victim is one of eight.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 8u

int qcow2_cache_init(Qcow2Cache *cache, BlockNode *file, size_t table_size, unsigned slots,
                     Qcow2BeforeWrite before_write, void *opaque)
{
    slots = (slots + WAYS - 1) / WAYS * WAYS;
    *cache = (Qcow2Cache){
        .file = file,
        .table_size = table_size,
        .slots = slots,
        .tables = calloc(slots, sizeof(Qcow2Table)),
        .before_write = before_write,
        .opaque = opaque,
    };
    return cache->tables ? 0 : -ENOMEM;
}

void qcow2_cache_done(Qcow2Cache *cache)
{
    for (unsigned i = 0; cache->tables && i < cache->slots; i++) {
        free(cache->tables[i].data);
    }
    free(cache->tables);
    cache->tables = NULL;
}

/* The first slot of the set that may hold @offset. */
static unsigned set_of(const Qcow2Cache *cache, uint64_t offset)
{
    uint64_t hash = (offset / cache->table_size) * 0x9e3779b97f4a7c15ull;
    return (unsigned)((hash >> 32) % (cache->slots / WAYS)) * WAYS;
}

static Qcow2Table *find(Qcow2Cache *cache, uint64_t offset)
{
    if (cache->tables[cache->last].offset == offset) {
        return &cache->tables[cache->last];
    }
    unsigned set = set_of(cache, offset);
    for (unsigned i = set; i < set + WAYS; i++) {
        if (cache->tables[i].offset == offset) {
            cache->last = i;
            return &cache->tables[i];
        }
    }
    return NULL;
}

static int write_table(Qcow2Cache *cache, Qcow2Table *table)
{
    int rc = block_child_write(cache->file, table->offset, table->data, cache->table_size);
    if (rc == 0) {
        table->is_dirty = false;
        cache->dirty--;
    }
    return rc;
}

/* An empty slot of the set for @offset: the one used longest ago is written and forgotten. */
static int take_slot(Qcow2Cache *cache, uint64_t offset, Qcow2Table **out_table)
{
    unsigned set = set_of(cache, offset), victim = set;
    for (unsigned i = set; i < set + WAYS; i++) {
        if (cache->tables[i].offset == 0) {
            victim = i;
            break;
        }
        if (cache->tables[i].used < cache->tables[victim].used) {
            victim = i;
        }
    }
    Qcow2Table *table = &cache->tables[victim];
    if (table->offset && table->is_dirty) {
        int rc = cache->before_write ? cache->before_write(cache->opaque) : 0;
        if (rc == 0 && table->is_dirty) {
            rc = write_table(cache, table);
        }
        if (rc < 0) {
            return rc;
        }
    }
    table->offset = 0;
    if (!table->data && posix_memalign((void **)&table->data, 4096, cache->table_size)) {
        table->data = NULL;
        return -ENOMEM;
    }
    *out_table = table;
    return 0;
}

int qcow2_cache_get(Qcow2Cache *cache, uint64_t offset, Qcow2Table **out_table)
{
    Qcow2Table *table = find(cache, offset);
    if (!table) {
        int rc = take_slot(cache, offset, &table);
        if (rc == 0) {
            rc = block_child_read(cache->file, offset, table->data, cache->table_size);
        }
        if (rc < 0) {
            return rc;
        }
        table->offset = offset;
        table->is_dirty = false;
    }
    table->used = ++cache->clock;
    *out_table = table;
    return 0;
}

int qcow2_cache_get_empty(Qcow2Cache *cache, uint64_t offset, Qcow2Table **out_table)
{
    Qcow2Table *table = find(cache, offset);
    if (!table) {
        int rc = take_slot(cache, offset, &table);
        if (rc < 0) {
            return rc;
        }
        table->offset = offset;
        table->is_dirty = false;
    }
    memset(table->data, 0, cache->table_size);
    table->used = ++cache->clock;
    qcow2_cache_mark(cache, table);
    *out_table = table;
    return 0;
}

void qcow2_cache_mark(Qcow2Cache *cache, Qcow2Table *table)
{
    if (!table->is_dirty) {
        table->is_dirty = true;
        cache->dirty++;
    }
}

int qcow2_cache_write(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->slots && cache->dirty; i++) {
        if (cache->tables[i].offset && cache->tables[i].is_dirty) {
            int rc = write_table(cache, &cache->tables[i]);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

bool qcow2_cache_holds(Qcow2Cache *cache, uint64_t offset)
{
    unsigned set = set_of(cache, offset);
    for (unsigned i = set; i < set + WAYS; i++) {
        if (cache->tables[i].offset == offset) {
            return true;
        }
    }
    return false;
}

static void forget(Qcow2Cache *cache, Qcow2Table *table)
{
    if (table->is_dirty) {
        table->is_dirty = false;
        cache->dirty--;
    }
    table->offset = 0;
}

void qcow2_cache_forget(Qcow2Cache *cache, uint64_t offset)
{
    Qcow2Table *table = find(cache, offset);
    if (table) {
        forget(cache, table);
    }
}

void qcow2_cache_clear(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->slots; i++) {
        forget(cache, &cache->tables[i]);
    }
}
