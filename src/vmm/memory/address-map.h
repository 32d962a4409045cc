/* Map from addresses to RAM and device regions.
 *
 * Written on the main thread only; read by any thread without a lock. Entries overlap by priority:
 * the higher one is seen. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MEMORY_ADDRESS_MAP_H
#define LODGE_VMM_MEMORY_ADDRESS_MAP_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t GuestAddr; /* guest-physical address or I/O port, in bytes */

struct RamBlock;
struct Region;

typedef struct AddressMap AddressMap;

/* What lies at [base, base+size): RAM (ram != NULL) or a device region. */
typedef struct AddressEntry {
    GuestAddr base;
    uint64_t size_bytes;    /* > 0 */
    struct RamBlock *ram;   /* NULL for a device region */
    uint64_t ram_offset;    /* of @base in the block */
    bool readonly;          /* ROM: writes go to @region, or are dropped without one */
    struct Region *region;  /* device region, or what takes writes of ROM */
    uint64_t region_offset; /* of @base in the region */
} AddressEntry;

/* Told on the main thread, after readers see the change, what appeared or vanished; only for
 * entries with RAM. */
typedef void (*AddressMapListener)(void *opaque, const AddressEntry *entry, bool added);

/* @size_bytes: of the space, 0 for 2^64. Returns NULL with errno set when memory is short. */
AddressMap *address_map_new(uint64_t size_bytes) LODGE_MUST_CHECK;
void address_map_free(AddressMap *map);

/**
 * address_map_add - put RAM or a region at an address
 * @entry:    copied; RAM and region are borrowed until the same base and priority are removed
 * @priority: among overlapping entries the highest is seen; two overlapping entries of one priority
 * are refused
 *
 * Context: main thread. Returns: 0, -EINVAL (empty, past the end), -EBUSY (overlap), -ENOSPC (too
 * many entries), -ENOMEM.
 */
int address_map_add(AddressMap *map, const AddressEntry *entry, int priority) LODGE_MUST_CHECK;

/* Removes what address_map_add() put at exactly @base with @priority. Context: main thread.
 * Returns: 0 or -ENOENT. */
int address_map_remove(AddressMap *map, GuestAddr base, int priority);

/* The entry seen at @addr, clipped to where it is contiguous. Context: any thread. Returns false
 * when nothing is there. */
bool address_map_find(const AddressMap *map, GuestAddr addr, AddressEntry *out_entry);

/* Visits the seen entries in rising order. Context: main thread. */
void address_map_for_each(const AddressMap *map,
                          void (*func)(void *opaque, const AddressEntry *entry), void *opaque);

/* One listener at most (the accelerator's); called at once for RAM that is there already. Context:
 * main thread. */
void address_map_set_listener(AddressMap *map, AddressMapListener listener, void *opaque);

/* Grows by one with every change that readers see; the translator compares it to notice changes.
 * Context: any thread. */
uint64_t address_map_generation(const AddressMap *map);

#endif
