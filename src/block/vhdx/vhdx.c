/* VHDX, the disk image of Hyper-V, version 1: dynamic and fixed images.
 *
 * Layout: identifier, two headers, two region tables, log, metadata, block table (BAT), blocks.
 * docs/formats/vhdx.md. The log is replayed on opening. Changes of the BAT are ordered behind the
 * data by flushes, not logged: an entry is 8 bytes and never torn. Left out: differencing images.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vhdx/vhdx.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "block/drivers.h"
#include "block/mapped.h"
#include "block/table-cache.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SECTORS_PER_CHUNK (UINT64_C(1) << 23)
#define REGIONS_MAX 2047
#define ITEMS_MAX 2047
#define STATE_MASK 7u
#define OFFSET_MASK (~(MIB - 1))

enum {
    BLOCK_NOT_PRESENT = 0,
    BLOCK_UNDEFINED = 1,
    BLOCK_ZERO = 2,
    BLOCK_UNMAPPED = 3,
    BLOCK_UNMAPPED_V1 = 5,
    BLOCK_PRESENT = 6,
    BLOCK_PARTLY = 7
};

typedef struct Vhdx {
    Mapped mapped;
    TableCache *tables;                /* under mapped.lock, as all below */
    uint8_t header[VHDX_HEADER_BYTES]; /* the current one */
    unsigned header_slot;              /* 0 or 1: where it is */
    uint64_t bat_offset, bat_entries, metadata_offset, metadata_bytes;
    uint64_t chunk; /* payload blocks between two bitmap entries */
    uint64_t end;   /* where the next block goes */
    uint32_t logical_sector;
    bool has_new_guid; /* the headers say that the content changes */
    bool is_new_end;   /* blocks were added since the last flush */
} Vhdx;

static int vhdx_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    return length >= 8 && memcmp(bytes, "vhdxfile", 8) == 0 ? BLOCK_PROBE_SURE : BLOCK_PROBE_NO;
}

static bool corrupt(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "invalid VHDX image: %s", what);
    return false;
}

static bool failed(GError **error, int result, const char *what)
{
    lodge_error_set_errno(error, result, "cannot read the VHDX %s", what);
    return false;
}

static bool is_header_valid(const uint8_t *header)
{
    return memcmp(header, "head", 4) == 0 &&
           le32_get(header + VHDX_H_CHECKSUM) ==
               vhdx_checksum(header, VHDX_HEADER_BYTES, VHDX_H_CHECKSUM) &&
           le16_get(header + VHDX_H_VERSION) == 1 && le16_get(header + VHDX_H_LOG_VERSION) == 0;
}

/* The valid header with the greater sequence number. */
static bool read_headers(BlockNode *node, Vhdx *vhdx, GError **error)
{
    uint8_t header[VHDX_HEADER_BYTES];
    bool found = false;
    for (unsigned i = 0; i < 2; i++) {
        int result =
            block_child_read(node->file, i ? VHDX_HEADER2 : VHDX_HEADER1, header, sizeof(header));
        if (result < 0) {
            return failed(error, result, "header");
        }
        if (is_header_valid(header) && (!found || le64_get(header + VHDX_H_SEQUENCE) >
                                                      le64_get(vhdx->header + VHDX_H_SEQUENCE))) {
            memcpy(vhdx->header, header, sizeof(header));
            vhdx->header_slot = i;
            found = true;
        }
    }
    return found || corrupt(error, "no valid header");
}

static bool has_log(const Vhdx *vhdx)
{
    return !block_is_zero(vhdx->header + VHDX_H_LOG_GUID, VHDX_GUID_BYTES);
}

/* Writes the other header with the next sequence number. */
static int update_header(BlockNode *node, Vhdx *vhdx)
{
    uint8_t *header = vhdx->header;
    le64_put(header + VHDX_H_SEQUENCE, le64_get(header + VHDX_H_SEQUENCE) + 1);
    le32_put(header + VHDX_H_CHECKSUM, vhdx_checksum(header, VHDX_HEADER_BYTES, VHDX_H_CHECKSUM));
    vhdx->header_slot ^= 1;
    int result = block_child_write(node->file, vhdx->header_slot ? VHDX_HEADER2 : VHDX_HEADER1,
                                   header, VHDX_HEADER_BYTES);
    return result == 0 ? block_child_flush(node->file) : result;
}

static int replay(BlockNode *node, Vhdx *vhdx)
{
    uint64_t bytes = 0;
    int result = vhdx_log_replay(node->file, vhdx->header, &bytes);
    if (result == 0) {
        result = mapped_lengthen(node->file, bytes);
    }
    if (result == 0) {
        result = block_child_flush(node->file);
    }
    if (result == 0) {
        memset(vhdx->header + VHDX_H_LOG_GUID, 0, VHDX_GUID_BYTES);
        result = update_header(node, vhdx);
    }
    return result;
}

static bool check_log(BlockNode *node, Vhdx *vhdx, unsigned flags, GError **error)
{
    if (!has_log(vhdx)) {
        return true;
    }
    if (!(flags & BLOCK_OPEN_WRITABLE)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "VHDX image file '%s' opened read-only, but contains a log that needs to be "
                    "replayed; run 'lodge-img check -r all' on it",
                    node->filename);
        return false;
    }
    int result = replay(node, vhdx);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot replay the VHDX log");
    }
    return result == 0;
}

static bool parse_regions(Vhdx *vhdx, const uint8_t *table, uint64_t file_bytes, GError **error)
{
    uint32_t count = le32_get(table + 8);
    if (count > REGIONS_MAX) {
        return corrupt(error, "too many regions");
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = table + 16 + (size_t)i * 32;
        uint64_t offset = le64_get(entry + 16), bytes = le32_get(entry + 24);
        bool is_bat = memcmp(entry, vhdx_region_bat, VHDX_GUID_BYTES) == 0;
        bool is_metadata = memcmp(entry, vhdx_region_metadata, VHDX_GUID_BYTES) == 0;
        if (!is_bat && !is_metadata) {
            if (le32_get(entry + 28) & 1) {
                return corrupt(error, "a required region is unknown");
            }
            continue;
        }
        if (offset < MIB || offset % MIB || !range_fits(offset, bytes, file_bytes)) {
            return corrupt(error, "a region is not within the file");
        }
        if (is_bat) {
            vhdx->bat_offset = offset;
            vhdx->bat_entries = bytes / 8;
        } else {
            vhdx->metadata_offset = offset;
            vhdx->metadata_bytes = bytes;
        }
    }
    return (vhdx->bat_offset && vhdx->metadata_offset) || corrupt(error, "a region is missing");
}

static bool read_regions(BlockNode *node, Vhdx *vhdx, uint64_t file_bytes, GError **error)
{
    g_autofree uint8_t *table = g_malloc(VHDX_REGION_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        int result =
            block_child_read(node->file, i ? VHDX_REGION2 : VHDX_REGION1, table, VHDX_REGION_BYTES);
        if (result < 0) {
            return failed(error, result, "region table");
        }
        if (memcmp(table, "regi", 4) == 0 &&
            le32_get(table + 4) == vhdx_checksum(table, VHDX_REGION_BYTES, 4)) {
            return parse_regions(vhdx, table, file_bytes, error);
        }
    }
    return corrupt(error, "no valid region table");
}

/* Reads item @guid of @bytes bytes from the metadata region whose table is @table. */
static int read_item(BlockNode *node, const Vhdx *vhdx, const uint8_t *table, const uint8_t *guid,
                     void *out, uint32_t bytes)
{
    uint16_t count = le16_get(table + 10);
    for (uint32_t i = 0; i < count && i < ITEMS_MAX; i++) {
        const uint8_t *entry = table + 32 + (size_t)i * 32;
        if (memcmp(entry, guid, VHDX_GUID_BYTES) != 0) {
            continue;
        }
        uint32_t offset = le32_get(entry + 16);
        if (offset < 64 * KIB || !range_fits(offset, bytes, vhdx->metadata_bytes)) {
            return -EINVAL;
        }
        return block_child_read(node->file, vhdx->metadata_offset + offset, out, bytes);
    }
    return -EINVAL;
}

static bool check_shape(BlockNode *node, Vhdx *vhdx, const uint8_t *parameters, GError **error)
{
    uint64_t block = le32_get(parameters);
    if (le32_get(parameters + 4) & 2) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "the VHDX image has a parent: differencing images are not supported");
        return false;
    }
    if (!is_power_of_two(block) || block < VHDX_BLOCK_MIN || block > VHDX_BLOCK_MAX) {
        return corrupt(error, "bad block size");
    }
    if (vhdx->logical_sector != 512 && vhdx->logical_sector != 4096) {
        return corrupt(error, "bad sector size");
    }
    if (node->size > VHDX_DISK_MAX || node->size % vhdx->logical_sector) {
        return corrupt(error, "bad disk size");
    }
    vhdx->mapped.block_bytes = block;
    vhdx->chunk = SECTORS_PER_CHUNK * vhdx->logical_sector / block;
    uint64_t blocks = div_round_up(node->size, block);
    if (blocks + (blocks ? (blocks - 1) / vhdx->chunk : 0) > vhdx->bat_entries) {
        return corrupt(error, "the block table is too short for the disk");
    }
    return true;
}

static bool read_metadata(BlockNode *node, Vhdx *vhdx, GError **error)
{
    uint8_t parameters[8], size[8], sector[4];
    g_autofree uint8_t *table = g_malloc0(64 * KIB);
    if (vhdx->metadata_bytes < 64 * KIB) {
        return corrupt(error, "the metadata are too short");
    }
    int result = block_child_read(node->file, vhdx->metadata_offset, table, 64 * KIB);
    if (result == 0 && memcmp(table, "metadata", 8) != 0) {
        return corrupt(error, "no metadata");
    }
    result = result ? result : read_item(node, vhdx, table, vhdx_item_parameters, parameters, 8);
    result = result ? result : read_item(node, vhdx, table, vhdx_item_size, size, 8);
    result = result ? result : read_item(node, vhdx, table, vhdx_item_logical_sector, sector, 4);
    if (result < 0) {
        return failed(error, result, "metadata");
    }
    node->size = le64_get(size);
    vhdx->logical_sector = le32_get(sector);
    return check_shape(node, vhdx, parameters, error);
}

static uint64_t entry_offset(const Vhdx *vhdx, uint64_t block)
{
    return vhdx->bat_offset + (block + block / vhdx->chunk) * 8;
}

static int lookup(BlockNode *node, uint64_t offset, MappedPiece *piece)
{
    Vhdx *vhdx = node->state;
    uint64_t block_bytes = vhdx->mapped.block_bytes, within = offset % block_bytes;
    uint8_t raw[8];
    int result =
        table_cache_get(vhdx->tables, entry_offset(vhdx, offset / block_bytes), raw, sizeof(raw));
    uint64_t entry = le64_get(raw);
    piece->length = block_bytes - within;
    switch (entry & STATE_MASK) {
    case BLOCK_PRESENT:
        piece->kind = MAPPED_DATA;
        piece->host = (entry & OFFSET_MASK) + within;
        /* The identifier, headers and region tables. */
        return result ? result : entry < MIB || entry > INT64_MAX ? -EIO : 0;
    case BLOCK_NOT_PRESENT:
    case BLOCK_UNDEFINED:
    case BLOCK_ZERO:
    case BLOCK_UNMAPPED:
    case BLOCK_UNMAPPED_V1:
        piece->kind = MAPPED_HOLE;
        return result;
    default: /* PARTLY: of images with a parent */
        return -EIO;
    }
}

/* The first write says in the headers that the content changed. */
static int place(BlockNode *node, uint64_t offset, MappedPiece *out_piece, bool *out_is_zero)
{
    Vhdx *vhdx = node->state;
    uint8_t raw[8];
    le64_put(raw, vhdx->end | BLOCK_PRESENT);
    int result = table_cache_put(
        vhdx->tables, entry_offset(vhdx, offset / vhdx->mapped.block_bytes), raw, sizeof(raw));
    if (result < 0) {
        return result;
    }
    out_piece->host = vhdx->end;
    out_piece->length = vhdx->mapped.block_bytes;
    /* Behind the end that the file had. */
    *out_is_zero = true;
    vhdx->end += out_piece->length;
    vhdx->is_new_end = true;
    return 0;
}

static const MappedOps mapped_ops = { .lookup = lookup, .place = place };

static bool vhdx_open(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    uint8_t identifier[8];
    uint64_t file_bytes = 0;
    int result = block_child_read(node->file, 0, identifier, sizeof(identifier));
    if (result == 0) {
        result = block_child_size(node->file, &file_bytes);
    }
    if (result < 0) {
        return failed(error, result, "identifier");
    }
    if (memcmp(identifier, "vhdxfile", 8) != 0) {
        return corrupt(error, "no identifier");
    }
    Vhdx *vhdx = g_new0(Vhdx, 1);
    mapped_init(&vhdx->mapped, &mapped_ops, VHDX_BLOCK_MIN);
    vhdx->tables = table_cache_new(node->file);
    bool ok = vhdx->tables && read_headers(node, vhdx, error) &&
              check_log(node, vhdx, flags, error) && read_regions(node, vhdx, file_bytes, error) &&
              read_metadata(node, vhdx, error);
    if (!ok) {
        table_cache_free(vhdx->tables);
        mapped_done(&vhdx->mapped);
        g_free(vhdx);
        return false;
    }
    vhdx->end = round_up(file_bytes, MIB);
    node->state = vhdx;
    return true;
}

static int mark_changed(BlockNode *node, Vhdx *vhdx)
{
    Uuid guid;
    LOCK_GUARD(&vhdx->mapped.lock);
    if (vhdx->has_new_guid) {
        return 0;
    }
    if (!uuid_generate(&guid, NULL)) {
        return -EIO;
    }
    memcpy(vhdx->header + VHDX_H_DATA_GUID, guid.byte, UUID_BYTES);
    vhdx->has_new_guid = true;
    return update_header(node, vhdx);
}

static int vhdx_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    int result = mark_changed(node, node->state);
    return result == 0 ? mapped_write(node, offset, length, vec, skip) : result;
}

static int vhdx_flush(BlockNode *node)
{
    Vhdx *vhdx = node->state;
    LOCK_GUARD(&vhdx->mapped.lock);
    int result = 0;
    if (vhdx->is_new_end) {
        result = mapped_lengthen(node->file, vhdx->end);
        vhdx->is_new_end = result < 0;
    }
    if (result == 0 && table_cache_is_dirty(vhdx->tables)) {
        result = block_child_flush(node->file);
        if (result == 0) {
            result = table_cache_flush(vhdx->tables);
        }
    }
    return result;
}

static int vhdx_close(BlockNode *node)
{
    Vhdx *vhdx = node->state;
    int result = node->flags & BLOCK_OPEN_WRITABLE ? vhdx_flush(node) : 0;
    table_cache_free(vhdx->tables);
    mapped_done(&vhdx->mapped);
    g_free(vhdx);
    return result;
}

static bool vhdx_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    const Vhdx *vhdx = node->state;
    info->cluster_size = vhdx->mapped.block_bytes;
    return true;
}

static void G_GNUC_PRINTF(2, 3) report(BlockCheck *check, const char *fmt, ...)
{
    check->corruptions++;
    if (check->report) {
        va_list args;
        va_start(args, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, args);
        va_end(args);
        check->report(check->opaque, text);
    }
}

/* Blocks lie within the file. Opening has mended the log. */
static int vhdx_check(BlockNode *node, BlockCheck *check, unsigned fix)
{
    Vhdx *vhdx = node->state;
    LOCK_GUARD(&vhdx->mapped.lock);
    uint64_t file_bytes, block_bytes = vhdx->mapped.block_bytes;
    int result = block_child_size(node->file, &file_bytes);
    for (uint64_t offset = 0; result == 0 && offset < node->size; offset += block_bytes) {
        MappedPiece piece = { .length = block_bytes };
        result = lookup(node, offset, &piece);
        if (result == -EIO) {
            report(check, "ERROR: bad state of block %" PRIu64, offset / block_bytes);
            result = 0;
        } else if (result == 0 && piece.kind == MAPPED_DATA &&
                   !range_fits(piece.host, block_bytes, file_bytes)) {
            report(check, "ERROR: block %" PRIu64 " at %" PRIu64 " is not within the file",
                   offset / block_bytes, piece.host);
        }
    }
    return result;
}

const BlockDriver block_driver_vhdx = {
    .name = "vhdx",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .read = mapped_read,
    .write = vhdx_write,
    .write_zeroes = mapped_write_zeroes,
    .flush = vhdx_flush,
    .status = mapped_status,
    .get_info = vhdx_get_info,
    .check = vhdx_check,
    .create_options = vhdx_create_options,
    .create = vhdx_create,
};
