/* Map from addresses to RAM and device regions.
 *
 * The sources that were added are kept in a list that only the main thread touches. Each change
 * flattens them into a table of the entries that are seen, sorted by address, in the one of two
 * tables that readers do not use, and publishes it. A reader copies what it needs and then checks
 * that its table was not about to be reused; both tables live as long as the map, so a late reader
 * sees stale entries at worst, which it throws away.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/memory/address-map.h"

#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 2048
/* N sources cut the space into at most 2 N pieces that are covered. */
#define SEEN_MAX (2 * SOURCES_MAX)

typedef struct Source {
    AddressEntry entry;
    int priority;
} Source;

typedef struct SeenTable {
    _Atomic(unsigned) count;
    AddressEntry entry[SEEN_MAX];
} SeenTable;

struct AddressMap {
    uint64_t last;                /* highest valid address */
    _Atomic(uint64_t) generation; /* readers use table[generation & 1] */
    _Atomic(uint64_t) preparing;  /* generation whose table may be half written */
    AddressMapListener listener;
    void *listener_opaque;
    unsigned source_count;
    Source source[SOURCES_MAX]; /* falling priority */
    GuestAddr edge[2 * SOURCES_MAX];
    SeenTable table[2];
};

static GuestAddr entry_last(const AddressEntry *entry)
{
    return entry->base + (entry->size_bytes - 1);
}

AddressMap *address_map_new(uint64_t size_bytes)
{
    AddressMap *map = calloc(1, sizeof(*map));
    if (!map) {
        return NULL;
    }
    map->last = size_bytes - 1;
    return map;
}

void address_map_free(AddressMap *map)
{
    free(map);
}

static SeenTable *current_table(const AddressMap *map)
{
    uint64_t generation = atomic_load_explicit(&map->generation, memory_order_relaxed);
    return (SeenTable *)&map->table[generation & 1];
}

static int compare_edges(const void *a, const void *b)
{
    GuestAddr x = *(const GuestAddr *)a, y = *(const GuestAddr *)b;
    return x < y ? -1 : x > y;
}

/* The part [base, last] of what @source shows. */
static AddressEntry clip(const AddressEntry *source, GuestAddr base, GuestAddr last)
{
    AddressEntry part = *source;
    part.base = base;
    part.size_bytes = last - base + 1;
    part.ram_offset += base - source->base;
    part.region_offset += base - source->base;
    return part;
}

static bool continues(const AddressEntry *a, const AddressEntry *b)
{
    return entry_last(a) + 1 == b->base && a->ram == b->ram && a->region == b->region &&
           a->readonly == b->readonly &&
           (!a->ram || a->ram_offset + a->size_bytes == b->ram_offset) &&
           (!a->region || a->region_offset + a->size_bytes == b->region_offset);
}

static const Source *highest_at(const AddressMap *map, GuestAddr addr)
{
    for (unsigned i = 0; i < map->source_count; i++) {
        const AddressEntry *entry = &map->source[i].entry;
        if (addr >= entry->base && addr <= entry_last(entry)) {
            return &map->source[i];
        }
    }
    return NULL;
}

/* Cuts the space at each source's first byte and at the byte after it; between two cuts one source
 * is the highest. */
static void flatten(AddressMap *map, SeenTable *out)
{
    unsigned edges = 0, count = 0;
    for (unsigned i = 0; i < map->source_count; i++) {
        const AddressEntry *entry = &map->source[i].entry;
        map->edge[edges++] = entry->base;
        if (entry_last(entry) != UINT64_MAX) {
            map->edge[edges++] = entry_last(entry) + 1;
        }
    }
    qsort(map->edge, edges, sizeof(map->edge[0]), compare_edges);
    for (unsigned i = 0; i < edges; i++) {
        if (i + 1 < edges && map->edge[i + 1] == map->edge[i]) {
            continue;
        }
        const Source *source = highest_at(map, map->edge[i]);
        if (!source) {
            continue;
        }
        GuestAddr last = i + 1 < edges ? map->edge[i + 1] - 1 : entry_last(&source->entry);
        AddressEntry part = clip(&source->entry, map->edge[i], last);
        if (count > 0 && continues(&out->entry[count - 1], &part)) {
            out->entry[count - 1].size_bytes += part.size_bytes;
        } else {
            lodge_assert(count < SEEN_MAX);
            out->entry[count++] = part;
        }
    }
    atomic_store_explicit(&out->count, count, memory_order_relaxed);
}

static bool same_ram(const AddressEntry *a, const AddressEntry *b)
{
    return a->base == b->base && a->size_bytes == b->size_bytes && a->ram == b->ram &&
           a->ram_offset == b->ram_offset && a->readonly == b->readonly;
}

static bool has_ram_entry(const SeenTable *table, const AddressEntry *wanted)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (same_ram(&table->entry[i], wanted)) {
            return true;
        }
    }
    return false;
}

/* Tells the listener of RAM that is in @from only. */
static void announce(const AddressMap *map, const SeenTable *from, const SeenTable *other,
                     bool added)
{
    for (unsigned i = 0; i < from->count; i++) {
        if (from->entry[i].ram && !has_ram_entry(other, &from->entry[i])) {
            AddressEntry entry = from->entry[i];
            map->listener(map->listener_opaque, &entry, added);
        }
    }
}

static void publish(AddressMap *map)
{
    uint64_t next = map->generation + 1;
    SeenTable *old = current_table(map);
    SeenTable *table = &map->table[next & 1];
    atomic_store_explicit(&map->preparing, next, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    flatten(map, table);
    atomic_store_explicit(&map->generation, next, memory_order_release);
    if (map->listener) {
        announce(map, old, table, false);
        announce(map, table, old, true);
    }
}

int address_map_add(AddressMap *map, const AddressEntry *entry, int priority)
{
    if (entry->size_bytes == 0 || entry->base > map->last ||
        entry->size_bytes - 1 > map->last - entry->base) {
        return -EINVAL;
    }
    if (map->source_count == SOURCES_MAX) {
        return -ENOSPC;
    }
    unsigned at = 0;
    for (unsigned i = 0; i < map->source_count; i++) {
        const Source *other = &map->source[i];
        if (other->priority == priority && entry->base <= entry_last(&other->entry) &&
            other->entry.base <= entry_last(entry)) {
            return -EBUSY;
        }
        if (other->priority >= priority) {
            at = i + 1;
        }
    }
    memmove(&map->source[at + 1], &map->source[at],
            (map->source_count - at) * sizeof(map->source[0]));
    map->source[at] = (Source){ .entry = *entry, .priority = priority };
    map->source_count++;
    publish(map);
    return 0;
}

int address_map_remove(AddressMap *map, GuestAddr base, int priority)
{
    for (unsigned i = 0; i < map->source_count; i++) {
        if (map->source[i].entry.base == base && map->source[i].priority == priority) {
            map->source_count--;
            memmove(&map->source[i], &map->source[i + 1],
                    (map->source_count - i) * sizeof(map->source[0]));
            publish(map);
            return 0;
        }
    }
    return -ENOENT;
}

/* Binary search; a table that changes under it gives a wrong answer, never a bad access. */
static bool table_find(const SeenTable *table, GuestAddr addr, AddressEntry *out_entry)
{
    unsigned low = 0, high = atomic_load_explicit(&table->count, memory_order_relaxed);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        *out_entry = table->entry[middle];
        if (addr < out_entry->base) {
            high = middle;
        } else if (addr - out_entry->base >= out_entry->size_bytes) {
            low = middle + 1;
        } else {
            return true;
        }
    }
    return false;
}

bool address_map_find(const AddressMap *map, GuestAddr addr, AddressEntry *out_entry)
{
    for (;;) {
        uint64_t generation = atomic_load_explicit(&map->generation, memory_order_acquire);
        bool found = table_find(&map->table[generation & 1], addr, out_entry);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&map->preparing, memory_order_relaxed) - generation < 2) {
            return found;
        }
    }
}

void address_map_for_each(const AddressMap *map,
                          void (*func)(void *opaque, const AddressEntry *entry), void *opaque)
{
    const SeenTable *table = current_table(map);
    for (unsigned i = 0; i < table->count; i++) {
        AddressEntry entry = table->entry[i];
        func(opaque, &entry);
    }
}

void address_map_set_listener(AddressMap *map, AddressMapListener listener, void *opaque)
{
    map->listener = listener;
    map->listener_opaque = opaque;
    if (!listener) {
        return;
    }
    const SeenTable *table = current_table(map);
    for (unsigned i = 0; i < table->count; i++) {
        if (table->entry[i].ram) {
            AddressEntry entry = table->entry[i];
            listener(opaque, &entry, true);
        }
    }
}

uint64_t address_map_generation(const AddressMap *map)
{
    return atomic_load_explicit(&map->generation, memory_order_acquire);
}
