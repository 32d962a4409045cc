/* Extents of VMDK images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vmdk/extent.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "gbase/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#define MAGIC 0x564d444bu /* "KDMV" */
#define VERSION_MAX 3
#define ENTRY_FREE 0u
#define ENTRY_ZERO 1u /* with VMDK_FLAG_ZERO_GRAINS */
#define MARKER_BYTES 12
#define COMPRESS_DEFLATE 1

static bool corrupt(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "invalid VMDK image: %s", what);
    return false;
}

bool vmdk_header_parse(const uint8_t *bytes, VmdkHeader *out_header, GError **error)
{
    if (le32_get(bytes) != MAGIC) {
        return corrupt(error, "no sparse extent header");
    }
    *out_header = (VmdkHeader){
        .version = le32_get(bytes + 4),
        .flags = le32_get(bytes + 8),
        .capacity = le64_get(bytes + 12),
        .grain = le64_get(bytes + 20),
        .descriptor = le64_get(bytes + 28),
        .descriptor_sectors = le64_get(bytes + 36),
        .entries = le32_get(bytes + 44),
        .second_directory = le64_get(bytes + 48),
        .directory = le64_get(bytes + 56),
        .overhead = le64_get(bytes + 64),
        .compression = le16_get(bytes + 77),
    };
    return true;
}

void vmdk_header_format(const VmdkHeader *header, uint8_t *bytes)
{
    memset(bytes, 0, VMDK_HEADER_BYTES);
    le32_put(bytes, MAGIC);
    le32_put(bytes + 4, header->version);
    le32_put(bytes + 8, header->flags);
    le64_put(bytes + 12, header->capacity);
    le64_put(bytes + 20, header->grain);
    le64_put(bytes + 28, header->descriptor);
    le64_put(bytes + 36, header->descriptor_sectors);
    le32_put(bytes + 44, header->entries);
    le64_put(bytes + 48, header->second_directory);
    le64_put(bytes + 56, header->directory);
    le64_put(bytes + 64, header->overhead);
    memcpy(bytes + 73, "\n \r\n", 4); /* a transfer that changes line ends shows */
    le16_put(bytes + 77, header->compression);
}

static bool check_header(const VmdkHeader *header, GError **error)
{
    if (header->version > VERSION_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Unsupported VMDK version %" PRIu32, header->version);
        return false;
    }
    if (header->compression > COMPRESS_DEFLATE) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "Unsupported VMDK compression %u",
                    header->compression);
        return false;
    }
    if (header->entries == 0 || header->entries > VMDK_TABLE_ENTRIES) {
        return corrupt(error, "L2 table size too big");
    }
    if (!is_power_of_two(header->grain) || header->grain > VMDK_GRAIN_BYTES_MAX / VMDK_SECTOR) {
        return corrupt(error, "invalid granularity, image may be corrupt");
    }
    if (header->capacity > INT64_MAX / VMDK_SECTOR) {
        return corrupt(error, "capacity too large");
    }
    return true;
}

static bool has_tables_within(const VmdkExtent *extent, uint64_t file_bytes)
{
    uint64_t sectors = div_round_up(file_bytes, VMDK_SECTOR), first = extent->header.directory;
    return first < sectors &&
           range_fits(first * VMDK_SECTOR, extent->directories * 4, sectors * VMDK_SECTOR);
}

static bool set_sparse(VmdkExtent *extent, uint64_t file_bytes, GError **error)
{
    VmdkHeader *header = &extent->header;
    extent->grain_bytes = header->grain * VMDK_SECTOR;
    extent->directories = div_round_up(header->capacity, header->entries * header->grain);
    if (!has_tables_within(extent, file_bytes)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "File truncated, expecting at least %" PRIu64 " bytes",
                    header->overhead > UINT64_MAX / VMDK_SECTOR ? UINT64_MAX
                                                                : header->overhead * VMDK_SECTOR);
        return false;
    }
    extent->end = round_up(file_bytes, header->flags & VMDK_FLAG_COMPRESSED ? VMDK_SECTOR
                                                                            : extent->grain_bytes);
    extent->tables = table_cache_new(extent->child);
    if (!extent->tables) {
        lodge_error_set_errno(error, ENOMEM, "cannot hold the tables");
    }
    return extent->tables != NULL;
}

bool vmdk_extent_open_sparse(VmdkExtent *extent, GError **error)
{
    uint8_t bytes[VMDK_HEADER_BYTES];
    uint64_t file_bytes = 0;
    int result = block_child_read(extent->child, 0, bytes, sizeof(bytes));
    if (result == 0) {
        result = block_child_size(extent->child, &file_bytes);
    }
    if (result == 0 && !vmdk_header_parse(bytes, &extent->header, error)) {
        return false;
    }
    if (result == 0 && extent->header.directory == VMDK_AT_END) {
        /* Footer marker, footer, end-of-stream marker: a sector each. */
        if (file_bytes < 3 * VMDK_SECTOR) {
            return corrupt(error, "no footer");
        }
        result =
            block_child_read(extent->child, round_down(file_bytes, VMDK_SECTOR) - 2 * VMDK_SECTOR,
                             bytes, sizeof(bytes));
        if (result == 0 && !vmdk_header_parse(bytes, &extent->header, error)) {
            return false;
        }
        extent->header.flags &= ~VMDK_FLAG_SECOND_TABLES;
    }
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VMDK header");
        return false;
    }
    return check_header(&extent->header, error) && set_sparse(extent, file_bytes, error);
}

void vmdk_extent_clear(VmdkExtent *extent)
{
    table_cache_free(extent->tables);
    if (extent->owns_child) {
        block_node_unref(extent->child);
    }
    g_free(extent->type);
    g_free(extent->filename);
}

static int get_entry(VmdkExtent *extent, uint64_t offset, uint32_t *out_value)
{
    uint8_t raw[sizeof(uint32_t)];
    int result = table_cache_get(extent->tables, offset, raw, sizeof(raw));
    *out_value = le32_get(raw);
    return result;
}

/* Where the entry of a grain is, by the directory at sector @directory; 0: there is no table. */
static int find_entry(VmdkExtent *extent, uint64_t directory, uint64_t grain, uint64_t *out_offset)
{
    uint32_t table;
    if (grain / extent->header.entries >= extent->directories) {
        return -EIO;
    }
    int result =
        get_entry(extent, directory * VMDK_SECTOR + grain / extent->header.entries * 4, &table);
    *out_offset = table ? table * (uint64_t)VMDK_SECTOR + grain % extent->header.entries * 4 : 0;
    return result;
}

static MappedKind entry_kind(const VmdkExtent *extent, uint32_t entry)
{
    if (entry == ENTRY_FREE) {
        return MAPPED_HOLE;
    }
    if (entry == ENTRY_ZERO && extent->header.flags & VMDK_FLAG_ZERO_GRAINS) {
        return MAPPED_ZERO;
    }
    return extent->header.flags & VMDK_FLAG_COMPRESSED ? MAPPED_PACKED : MAPPED_DATA;
}

static int lookup_sparse(VmdkExtent *extent, uint64_t offset, MappedPiece *piece)
{
    uint64_t wanted = piece->length, within = offset % extent->grain_bytes;
    uint64_t grain = offset / extent->grain_bytes, at, entries = extent->header.entries;
    int result = find_entry(extent, extent->header.directory, grain, &at);
    if (result < 0) {
        return result;
    }
    if (!at) {
        piece->kind = MAPPED_HOLE;
        piece->length = (entries - grain % entries) * extent->grain_bytes - within;
        return 0;
    }
    uint32_t first = 0;
    piece->length = 0;
    for (uint64_t i = grain % entries; i < entries && piece->length < wanted; i++, at += 4) {
        uint32_t entry;
        result = get_entry(extent, at, &entry);
        if (result < 0) {
            return result;
        }
        MappedKind kind = entry_kind(extent, entry);
        if (!piece->length) {
            first = entry;
            piece->kind = kind;
            piece->host = entry * (uint64_t)VMDK_SECTOR + (kind == MAPPED_DATA ? within : 0);
            piece->length = extent->grain_bytes - within;
        } else if (kind == piece->kind && kind != MAPPED_PACKED &&
                   (kind != MAPPED_DATA ||
                    entry == first + (i - grain % entries) * extent->header.grain)) {
            piece->length += extent->grain_bytes;
        } else {
            break;
        }
        if (kind == MAPPED_PACKED) {
            break;
        }
    }
    return 0;
}

int vmdk_extent_lookup(VmdkExtent *extent, uint64_t offset, MappedPiece *piece)
{
    int result = 0;
    piece->child = extent->child;
    switch (extent->kind) {
    case VMDK_FLAT:
        piece->kind = MAPPED_DATA;
        piece->host = extent->flat_offset + offset;
        break;
    case VMDK_ZERO:
        piece->kind = MAPPED_ZERO;
        break;
    case VMDK_SPARSE:
        result = lookup_sparse(extent, offset, piece);
    }
    piece->length = min_u64(piece->length, extent->size - offset);
    return result;
}

/* A table for grains that have none, of all directories' entries. */
static int add_table(VmdkExtent *extent, uint64_t directory, uint64_t grain)
{
    uint8_t raw[sizeof(uint32_t)];
    uint64_t bytes = round_up(extent->header.entries * UINT64_C(4), VMDK_SECTOR);
    uint64_t at = extent->end;
    if (at / VMDK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    extent->end += bytes;
    int result = mapped_lengthen(extent->child, extent->end);
    if (result == 0) {
        result = block_child_zero(extent->child, at, bytes, 0);
    }
    le32_put(raw, (uint32_t)(at / VMDK_SECTOR));
    return result == 0
               ? table_cache_put(extent->tables,
                                 directory * VMDK_SECTOR + grain / extent->header.entries * 4, raw,
                                 sizeof(raw))
               : result;
}

static int set_entry_in(VmdkExtent *extent, uint64_t directory, uint64_t grain, uint32_t value)
{
    uint64_t at;
    uint8_t raw[sizeof(uint32_t)];
    int result = find_entry(extent, directory, grain, &at);
    if (result == 0 && !at) {
        result = add_table(extent, directory, grain);
        if (result == 0) {
            result = find_entry(extent, directory, grain, &at);
        }
    }
    if (result < 0) {
        return result;
    }
    le32_put(raw, value);
    return table_cache_put(extent->tables, at, raw, sizeof(raw));
}

static int set_entry(VmdkExtent *extent, uint64_t offset, uint32_t value)
{
    uint64_t grain = offset / extent->grain_bytes;
    int result = set_entry_in(extent, extent->header.directory, grain, value);
    if (result == 0 && extent->header.flags & VMDK_FLAG_SECOND_TABLES) {
        result = set_entry_in(extent, extent->header.second_directory, grain, value);
    }
    return result;
}

int vmdk_extent_place(VmdkExtent *extent, uint64_t offset, uint64_t bytes, uint64_t *out_host)
{
    uint64_t host = extent->end;
    if (host / VMDK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    extent->end += round_up(bytes, VMDK_SECTOR);
    *out_host = host;
    return set_entry(extent, offset, (uint32_t)(host / VMDK_SECTOR));
}

int vmdk_extent_set_zero(VmdkExtent *extent, uint64_t offset)
{
    return set_entry(extent, offset, ENTRY_ZERO);
}

int vmdk_extent_unpack(const VmdkExtent *extent, uint64_t host, void *buf)
{
    uint8_t marker[MARKER_BYTES];
    bool has_marker = extent->header.flags & VMDK_FLAG_MARKERS;
    uint32_t bytes = (uint32_t)extent->grain_bytes;
    if (has_marker) {
        int result = block_child_read(extent->child, host, marker, sizeof(marker));
        if (result < 0) {
            return result;
        }
        bytes = le32_get(marker + 8);
        host += sizeof(marker);
    }
    /* What does not get smaller may get a little larger. */
    if (bytes == 0 || bytes > 2 * extent->grain_bytes) {
        return -EIO;
    }
    autofree uint8_t *packed = malloc(bytes);
    int result = packed ? block_child_read(extent->child, host, packed, bytes) : -ENOMEM;
    if (result < 0) {
        return result;
    }
    uLongf length = extent->grain_bytes;
    memset(buf, 0, extent->grain_bytes);
    int status = uncompress(buf, &length, packed, bytes);
    /* Without a marker the length is not known: what follows the stream is not its end. */
    return status == Z_OK || (!has_marker && length == extent->grain_bytes) ? 0 : -EIO;
}
