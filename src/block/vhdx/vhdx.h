/* VHDX: numbers and parts that its files share. Format: [MS-VHDX] Virtual Hard Disk v2.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_VHDX_VHDX_H
#define LODGE_BLOCK_VHDX_VHDX_H

#include "base/int-math.h"
#include "block/driver.h"

#define VHDX_GUID_BYTES 16
#define VHDX_HEADER_BYTES 4096
#define VHDX_HEADER1 (64 * KIB)
#define VHDX_HEADER2 (128 * KIB)
#define VHDX_REGION1 (192 * KIB)
#define VHDX_REGION2 (256 * KIB)
#define VHDX_REGION_BYTES (64 * KIB)
#define VHDX_LOG_MIN MIB
#define VHDX_BLOCK_MIN MIB
#define VHDX_BLOCK_MAX (256 * MIB)
#define VHDX_DISK_MAX (64ull << 40)
#define VHDX_LOG_SECTOR 4096

/* Offsets in a header. */
enum {
    VHDX_H_SIGNATURE = 0,
    VHDX_H_CHECKSUM = 4,
    VHDX_H_SEQUENCE = 8,
    VHDX_H_FILE_GUID = 16,
    VHDX_H_DATA_GUID = 32,
    VHDX_H_LOG_GUID = 48,
    VHDX_H_LOG_VERSION = 64,
    VHDX_H_VERSION = 66,
    VHDX_H_LOG_BYTES = 68,
    VHDX_H_LOG_OFFSET = 72,
};

/* GUIDs as they stand in the file. */
extern const uint8_t vhdx_region_bat[VHDX_GUID_BYTES];
extern const uint8_t vhdx_region_metadata[VHDX_GUID_BYTES];
extern const uint8_t vhdx_item_parameters[VHDX_GUID_BYTES];
extern const uint8_t vhdx_item_size[VHDX_GUID_BYTES];
extern const uint8_t vhdx_item_page83[VHDX_GUID_BYTES];
extern const uint8_t vhdx_item_logical_sector[VHDX_GUID_BYTES];
extern const uint8_t vhdx_item_physical_sector[VHDX_GUID_BYTES];

/* CRC-32C of @bytes with the four bytes at @hole (SIZE_MAX: none) taken as zeroes. */
uint32_t vhdx_checksum(const uint8_t *bytes, size_t length, size_t hole);

/**
 * vhdx_log_replay - apply what the log still holds
 * @header: the current one; its log GUID is not zero
 * @out_bytes: least length that the file has to have after it
 *
 * Finds the newest complete sequence of entries and writes their sectors to their places. Returns:
 * 0 or -errno (-EINVAL: the log is corrupt).
 */
int vhdx_log_replay(BlockNode *child, const uint8_t *header, uint64_t *out_bytes) LODGE_MUST_CHECK;

extern const BlockCreateOption vhdx_create_options[];
bool vhdx_create(File *file, const char *name, const BlockSpec *options, GError **error);

#endif
