/* A stretch of a VMDK's disk and the file that holds it: plain (FLAT), in grains found by two
 * levels of tables (SPARSE), or zeroes (ZERO). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_VMDK_EXTENT_H
#define LODGE_BLOCK_VMDK_EXTENT_H

#include "block/mapped.h"
#include "block/table-cache.h"

#define VMDK_SECTOR 512
#define VMDK_GRAIN_SECTORS 128 /* of images that are created */
#define VMDK_GRAIN_BYTES_MAX (2u << 20)
#define VMDK_TABLE_ENTRIES 512
#define VMDK_AT_END UINT64_MAX /* gd_offset of a header whose truth is in the footer */

enum {
    VMDK_FLAG_NEWLINES = 1u << 0,
    VMDK_FLAG_SECOND_TABLES = 1u << 1,
    VMDK_FLAG_ZERO_GRAINS = 1u << 2,
    VMDK_FLAG_COMPRESSED = 1u << 16,
    VMDK_FLAG_MARKERS = 1u << 17,
};

/* Header of a sparse extent; sectors. */
typedef struct VmdkHeader {
    uint32_t version, flags, entries; /* entries of a grain table */
    uint64_t capacity, grain, descriptor, descriptor_sectors;
    uint64_t second_directory, directory, overhead;
    uint16_t compression; /* 0: none, 1: deflate */
} VmdkHeader;

#define VMDK_HEADER_BYTES 512

bool vmdk_header_parse(const uint8_t *bytes, VmdkHeader *out_header, GError **error);
void vmdk_header_format(const VmdkHeader *header, uint8_t *bytes);

typedef enum VmdkExtentKind { VMDK_SPARSE, VMDK_FLAT, VMDK_ZERO } VmdkExtentKind;

typedef struct VmdkExtent {
    VmdkExtentKind kind;
    uint64_t start, size; /* on the disk; bytes */
    BlockNode *child;     /* NULL for ZERO */
    bool owns_child;
    char *type, *filename; /* for information */
    uint64_t flat_offset;  /* FLAT: bytes in the file */
    /* SPARSE; tables and end under the image's lock */
    VmdkHeader header;
    uint64_t grain_bytes;
    uint64_t directories; /* entries of the grain directory */
    TableCache *tables;
    uint64_t end; /* where the next grain goes */
} VmdkExtent;

/* Reads the header and sets what is SPARSE's; child is set. False with @error. */
bool vmdk_extent_open_sparse(VmdkExtent *extent, GError **error);
void vmdk_extent_clear(VmdkExtent *extent);

/* @offset: in the extent; as MappedOps.lookup. */
int vmdk_extent_lookup(VmdkExtent *extent, uint64_t offset, MappedPiece *piece);
/* A place for a grain of @bytes in the file. */
int vmdk_extent_place(VmdkExtent *extent, uint64_t offset, uint64_t bytes, uint64_t *out_host);
/* Sets the grain at @offset to zeroes. */
int vmdk_extent_set_zero(VmdkExtent *extent, uint64_t offset);
/* A compressed grain, whole; @host as lookup gave it. */
int vmdk_extent_unpack(const VmdkExtent *extent, uint64_t host, void *buf);

#endif
