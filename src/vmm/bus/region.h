/* Device regions and the dispatch of accesses to them: sizes are split or refused here, so handlers
 * stay naive. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_REGION_H
#define LODGE_VMM_BUS_REGION_H

#include "vmm/memory/address-map.h"

#include <pthread.h>

typedef struct RegionOps {
    /* @offset: bytes from the region's start, @size within [min_size, max_size], aligned to @size.
     * Little endian value. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    uint8_t min_size; /* 1, 2, 4 or 8; smaller reads take part of a larger one, smaller writes are
                         widened by zeroes */
    uint8_t max_size; /* >= min_size; larger accesses are split, low part first */
} RegionOps;

typedef struct Region {
    const char *name; /* static, for traces */
    uint64_t size_bytes;
    const RegionOps *ops;
    void *opaque;
    pthread_mutex_t *lock; /* held around each handler; NULL: the handler needs none */
} Region;

/**
 * region_read, region_write - one access to a region
 * @offset: within the region; an access that runs past its end reads ones there, and writes nothing
 * there
 * @size:   1 to 8 bytes, any alignment
 *
 * Context: any thread that does not hold the region's lock.
 */
uint64_t region_read(const Region *region, uint64_t offset, unsigned size);
void region_write(const Region *region, uint64_t offset, uint64_t value, unsigned size);

/**
 * bus_read, bus_write - one access to whatever an address map shows
 *
 * RAM is read and written too (page marks are the caller's affair). Nothing there: reads give ones,
 * writes are dropped.
 */
uint64_t bus_read(const AddressMap *map, GuestAddr addr, unsigned size);
void bus_write(const AddressMap *map, GuestAddr addr, uint64_t value, unsigned size);

#endif
