/* The memory map that firmware hands to a guest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/e820.h"

#include "base/log.h"

void e820_add(E820Map *map, GuestAddr base, uint64_t size_bytes, E820Type type)
{
    if (!size_bytes) {
        return;
    }
    lodge_assert(map->count < E820_RANGES_MAX);
    if (map->count) {
        const E820Range *last = &map->range[map->count - 1];
        lodge_assert(base >= last->base + last->size_bytes);
    }
    map->range[map->count++] = (E820Range){ base, size_bytes, type };
}

GuestAddr e820_ram_end(const E820Map *map, GuestAddr addr)
{
    for (unsigned i = 0; i < map->count; i++) {
        const E820Range *r = &map->range[i];
        if (r->type == E820_RAM && addr >= r->base && addr - r->base < r->size_bytes) {
            return r->base + r->size_bytes;
        }
    }
    return 0;
}
