/* SMBIOS tables: what dmidecode and cloud agents read about the machine. DMTF DSP0134, version 3.0,
 * with its 64-bit entry point. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_SMBIOS_H
#define LODGE_VMM_FIRMWARE_SMBIOS_H

#include "vmm/memory/address-map.h"

#include <glib.h>

/* Strings; NULL or empty: none. */
typedef struct SmbiosSystem {
    const char *manufacturer, *product, *version, *serial, *sku, *family;
} SmbiosSystem;

typedef struct SmbiosBoard {
    const char *manufacturer, *product, *version, *serial, *asset, *location;
} SmbiosBoard;

typedef struct SmbiosChassis {
    const char *manufacturer, *version, *serial, *asset, *sku;
} SmbiosChassis;

typedef struct SmbiosInfo {
    const char *bios_vendor, *bios_version, *bios_date;
    SmbiosSystem system;
    SmbiosBoard board;
    bool has_board;
    SmbiosChassis chassis;
    const char *const *oem_strings; /* @oem_count of them */
    unsigned oem_count;
    uint8_t uuid[16];                 /* in text order; all zero: not set */
    unsigned sockets, cores, threads; /* cores of a socket, threads of a socket */
    uint32_t cpu_signature;           /* CPUID leaf 1 eax */
    uint64_t low_ram_bytes, high_ram_bytes;
} SmbiosInfo;

/**
 * smbios_build - entry point and structures in one piece
 * @base: where the piece will lie, a multiple of 16 within 0xf0000-0xfffff
 *
 * (transfer full)
 */
GByteArray *smbios_build(const SmbiosInfo *info, GuestAddr base);

#endif
