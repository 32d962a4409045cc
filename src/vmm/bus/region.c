/* Dispatch of accesses to device regions, and of bus accesses to whatever lies at an address.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/region.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/memory/guest-memory.h"

#include <string.h>

static uint64_t ones(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

/* The largest aligned piece at @offset that one handler call can serve. */
static unsigned piece_size(const Region *region, uint64_t offset, unsigned left)
{
    unsigned size = region->ops->max_size;
    while (size > left || offset % size != 0) {
        size /= 2;
    }
    return size;
}

/* @size is a power of two, at most max_size, aligned, inside the region. */
static uint64_t read_piece(const Region *region, uint64_t offset, unsigned size)
{
    unsigned unit = size < region->ops->min_size ? region->ops->min_size : size;
    uint64_t start = round_down(offset, unit);
    if (!range_fits(start, unit, region->size_bytes) || !region->ops->read) {
        return ones(size);
    }
    LOCK_GUARD(region->lock);
    uint64_t value = region->ops->read(region->opaque, start, unit);
    return value >> ((offset - start) * 8) & ones(size);
}

static void write_piece(const Region *region, uint64_t offset, uint64_t value, unsigned size)
{
    unsigned unit = size < region->ops->min_size ? region->ops->min_size : size;
    uint64_t start = round_down(offset, unit);
    if (!range_fits(start, unit, region->size_bytes) || !region->ops->write) {
        return;
    }
    LOCK_GUARD(region->lock);
    region->ops->write(region->opaque, start, (value & ones(size)) << ((offset - start) * 8), unit);
}

uint64_t region_read(const Region *region, uint64_t offset, unsigned size)
{
    lodge_assert(size >= 1 && size <= 8);
    uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        if (offset + done >= region->size_bytes) {
            value |= ones(size - done) << (done * 8);
            break;
        }
        unsigned piece = piece_size(region, offset + done, size - done);
        value |= read_piece(region, offset + done, piece) << (done * 8);
        done += piece;
    }
    return value;
}

void region_write(const Region *region, uint64_t offset, uint64_t value, unsigned size)
{
    lodge_assert(size >= 1 && size <= 8);
    for (unsigned done = 0; done < size && offset + done < region->size_bytes;) {
        unsigned piece = piece_size(region, offset + done, size - done);
        write_piece(region, offset + done, value >> (done * 8), piece);
        done += piece;
    }
}

static uint64_t ram_read(const AddressEntry *entry, uint64_t skip, unsigned size)
{
    const uint8_t *at = entry->ram->host + entry->ram_offset + skip;
    switch (size) {
    case 1:
        return *at;
    case 2:
        return le16_get(at);
    case 4:
        return le32_get(at);
    case 8:
        return le64_get(at);
    default: {
        uint8_t bytes[8] = { 0 };
        memcpy(bytes, at, size);
        return le64_get(bytes);
    }
    }
}

static void ram_write(const AddressEntry *entry, uint64_t skip, uint64_t value, unsigned size)
{
    uint8_t *at = entry->ram->host + entry->ram_offset + skip;
    switch (size) {
    case 1:
        *at = (uint8_t)value;
        break;
    case 2:
        le16_put(at, (uint16_t)value);
        break;
    case 4:
        le32_put(at, (uint32_t)value);
        break;
    case 8:
        le64_put(at, value);
        break;
    default: {
        uint8_t bytes[8];
        le64_put(bytes, value);
        memcpy(at, bytes, size);
        break;
    }
    }
}

uint64_t bus_read(const AddressMap *map, GuestAddr addr, unsigned size)
{
    lodge_assert(size >= 1 && size <= 8);
    uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        AddressEntry entry;
        unsigned piece = 1;
        uint64_t part = 0xff;
        if (address_map_find(map, addr + done, &entry)) {
            uint64_t skip = addr + done - entry.base;
            piece = (unsigned)min_u64(size - done, entry.size_bytes - skip);
            part = entry.ram ? ram_read(&entry, skip, piece)
                             : region_read(entry.region, entry.region_offset + skip, piece);
        }
        value |= part << (done * 8);
        done += piece;
    }
    return value;
}

void bus_write(const AddressMap *map, GuestAddr addr, uint64_t value, unsigned size)
{
    lodge_assert(size >= 1 && size <= 8);
    for (unsigned done = 0; done < size;) {
        AddressEntry entry;
        unsigned piece = 1;
        if (address_map_find(map, addr + done, &entry)) {
            uint64_t skip = addr + done - entry.base;
            piece = (unsigned)min_u64(size - done, entry.size_bytes - skip);
            if (entry.ram && !entry.readonly) {
                ram_write(&entry, skip, value >> (done * 8), piece);
            } else if (entry.region) {
                region_write(entry.region, entry.region_offset + skip, value >> (done * 8), piece);
            }
        }
        done += piece;
    }
}
