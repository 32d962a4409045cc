/* Pages of tables, found by a small hash, replaced by clock.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/table-cache.h"

#include "base/int-math.h"
#include "block/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 128 /* 8 MiB */
#define SECTOR 512
#define SECTORS_PER_PAGE (TABLE_PAGE_BYTES / SECTOR)
#define HASH_SLOTS 256

typedef struct TablePage {
    uint64_t offset; /* in the file, a multiple of TABLE_PAGE_BYTES */
    uint8_t *bytes;  /* NULL: never used */
    bool is_valid, was_used, is_dirty;
    uint8_t dirty[SECTORS_PER_PAGE]; /* by sector */
    int next;                        /* of the same hash slot; -1: none */
} TablePage;

struct TableCache {
    BlockNode *child;
    TablePage *last; /* the page of the last request */
    unsigned hand;
    int slots[HASH_SLOTS];
    TablePage pages[PAGES];
};

TableCache *table_cache_new(BlockNode *child)
{
    TableCache *cache = calloc(1, sizeof(*cache));
    if (cache) {
        cache->child = child;
        table_cache_drop(cache);
    }
    return cache;
}

void table_cache_free(TableCache *cache)
{
    if (!cache) {
        return;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        free(cache->pages[i].bytes);
    }
    free(cache);
}

static unsigned slot_of(uint64_t offset)
{
    return (unsigned)(offset / TABLE_PAGE_BYTES) % HASH_SLOTS;
}

void table_cache_drop(TableCache *cache)
{
    cache->last = NULL;
    for (unsigned i = 0; i < HASH_SLOTS; i++) {
        cache->slots[i] = -1;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        cache->pages[i].is_valid = cache->pages[i].is_dirty = false;
        memset(cache->pages[i].dirty, 0, sizeof(cache->pages[i].dirty));
    }
}

static int write_page(TableCache *cache, TablePage *page)
{
    for (unsigned first = 0; first < SECTORS_PER_PAGE;) {
        unsigned end = first;
        while (end < SECTORS_PER_PAGE && page->dirty[end]) {
            end++;
        }
        if (end == first) {
            first++;
            continue;
        }
        int result = block_child_write(cache->child, page->offset + (uint64_t)first * SECTOR,
                                       page->bytes + first * SECTOR, (end - first) * SECTOR);
        if (result < 0) {
            return result;
        }
        memset(page->dirty + first, 0, end - first);
        first = end;
    }
    page->is_dirty = false;
    return 0;
}

static void unhash(TableCache *cache, TablePage *page)
{
    int *link = &cache->slots[slot_of(page->offset)];
    while (*link != (int)(page - cache->pages)) {
        link = &cache->pages[*link].next;
    }
    *link = page->next;
    page->is_valid = false;
    if (cache->last == page) {
        cache->last = NULL;
    }
}

/* A page that may be filled. */
static int take_page(TableCache *cache, TablePage **out_page)
{
    TablePage *page;
    for (;;) {
        page = &cache->pages[cache->hand];
        cache->hand = (cache->hand + 1) % PAGES;
        if (!page->is_valid || !page->was_used) {
            break;
        }
        page->was_used = false;
    }
    if (page->is_valid) {
        int result = page->is_dirty ? write_page(cache, page) : 0;
        if (result < 0) {
            return result;
        }
        unhash(cache, page);
    }
    if (!page->bytes) {
        page->bytes = malloc(TABLE_PAGE_BYTES);
    }
    *out_page = page;
    return page->bytes ? 0 : -ENOMEM;
}

static int find_page(TableCache *cache, uint64_t offset, TablePage **out_page)
{
    offset = round_down(offset, TABLE_PAGE_BYTES);
    if (cache->last && cache->last->offset == offset) {
        *out_page = cache->last;
        return 0;
    }
    TablePage *page = NULL;
    for (int i = cache->slots[slot_of(offset)]; i >= 0 && !page; i = cache->pages[i].next) {
        page = cache->pages[i].offset == offset ? &cache->pages[i] : NULL;
    }
    if (!page) {
        int result = take_page(cache, &page);
        if (result == 0) {
            result = block_child_read(cache->child, offset, page->bytes, TABLE_PAGE_BYTES);
        }
        if (result < 0) {
            return result;
        }
        page->offset = offset;
        page->is_valid = true;
        page->next = cache->slots[slot_of(offset)];
        cache->slots[slot_of(offset)] = (int)(page - cache->pages);
    }
    page->was_used = true;
    cache->last = *out_page = page;
    return 0;
}

int table_cache_get(TableCache *cache, uint64_t offset, void *buf, size_t length)
{
    uint8_t *to = buf;
    while (length > 0) {
        TablePage *page;
        int result = find_page(cache, offset, &page);
        if (result < 0) {
            return result;
        }
        size_t begin = offset % TABLE_PAGE_BYTES;
        size_t part = min_u64(length, TABLE_PAGE_BYTES - begin);
        memcpy(to, page->bytes + begin, part);
        to += part;
        offset += part;
        length -= part;
    }
    return 0;
}

int table_cache_put(TableCache *cache, uint64_t offset, const void *buf, size_t length)
{
    const uint8_t *from = buf;
    while (length > 0) {
        TablePage *page;
        int result = find_page(cache, offset, &page);
        if (result < 0) {
            return result;
        }
        size_t begin = offset % TABLE_PAGE_BYTES;
        size_t part = min_u64(length, TABLE_PAGE_BYTES - begin);
        memcpy(page->bytes + begin, from, part);
        page->is_dirty = true;
        memset(page->dirty + begin / SECTOR, 1, (begin + part - 1) / SECTOR - begin / SECTOR + 1);
        from += part;
        offset += part;
        length -= part;
    }
    return 0;
}

bool table_cache_is_dirty(const TableCache *cache)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (cache->pages[i].is_dirty) {
            return true;
        }
    }
    return false;
}

int table_cache_flush(TableCache *cache)
{
    int first_error = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        if (cache->pages[i].is_dirty) {
            int result = write_page(cache, &cache->pages[i]);
            first_error = first_error ? first_error : result;
        }
    }
    return first_error;
}
