/* The memory map that firmware hands to a guest: ranges by address with the types of ACPI 6.4,
 * "System Address Map Interfaces". SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_E820_H
#define LODGE_VMM_FIRMWARE_E820_H

#include "vmm/memory/address-map.h"

#define E820_RANGES_MAX 32

typedef enum E820Type {
    E820_RAM = 1,
    E820_RESERVED = 2,
    E820_ACPI = 3, /* tables; RAM once they are read */
} E820Type;

typedef struct E820Range {
    GuestAddr base;
    uint64_t size_bytes;
    E820Type type;
} E820Range;

/* Ranges in rising order, without overlap. */
typedef struct E820Map {
    E820Range range[E820_RANGES_MAX];
    unsigned count;
} E820Map;

/* Appends a range above all that are there; an empty one is left out. */
void e820_add(E820Map *map, GuestAddr base, uint64_t size_bytes, E820Type type);

/* End of the RAM range that begins at or below @addr, or 0 when @addr is no RAM. */
GuestAddr e820_ram_end(const E820Map *map, GuestAddr addr);

#endif
