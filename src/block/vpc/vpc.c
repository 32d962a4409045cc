/* VPC (VHD), the disk image of Virtual PC and Hyper-V, version 1.0: dynamic and fixed images.
 *
 * Layout of a dynamic image: copy of the footer, dynamic header, block table (be32 sectors), blocks
 * (a bitmap, then data), footer. Of a fixed one: data, footer. docs/formats/vpc.md. Left out:
 * differencing images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vpc/vpc.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/mapped.h"
#include "block/table-cache.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define FOOTER_BYTES 512
#define DYNAMIC_BYTES 1024
#define SECTOR 512
#define TABLE_OFFSET (FOOTER_BYTES + DYNAMIC_BYTES)
#define BLOCK_BYTES (2 * MIB)
#define BLOCK_BYTES_MAX (256 * MIB)
#define BLOCK_FREE 0xffffffffu
#define SECTORS_MAX 0xff000000ull /* 2040 GiB */
#define EPOCH 946684800           /* 2000-01-01 00:00 UTC */

/* Offsets in the footer. */
enum {
    F_COOKIE = 0,
    F_FEATURES = 8,
    F_VERSION = 12,
    F_DATA_OFFSET = 16,
    F_TIME = 24,
    F_CREATOR = 28,
    F_CREATOR_VERSION = 32,
    F_CREATOR_OS = 36,
    F_ORIGINAL_SIZE = 40,
    F_SIZE = 48,
    F_CYLINDERS = 56,
    F_HEADS = 58,
    F_SECTORS = 59,
    F_TYPE = 60,
    F_CHECKSUM = 64,
    F_UUID = 68,
};

/* Offsets in the dynamic header. */
enum {
    D_COOKIE = 0,
    D_DATA_OFFSET = 8,
    D_TABLE_OFFSET = 16,
    D_VERSION = 24,
    D_ENTRIES = 28,
    D_BLOCK_BYTES = 32,
    D_CHECKSUM = 36,
};

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3 };

typedef struct Vpc {
    Mapped mapped;
    TableCache *tables; /* under mapped.lock, as .end and .is_moved; NULL: fixed */
    uint64_t table_offset, bitmap_bytes;
    uint32_t entries;
    uint64_t end;     /* where the next block goes, and the footer until then */
    uint64_t old_end; /* the file's length at the time of opening */
    bool is_moved;    /* the footer is to be written at .end */
    uint8_t footer[FOOTER_BYTES];
} Vpc;

/* The sum of all bytes but the checksum's, inverted. */
static uint32_t checksum(const uint8_t *bytes, size_t length, size_t at)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum += i >= at && i < at + 4 ? 0 : bytes[i];
    }
    return ~sum;
}

static int vpc_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    return length >= 8 && memcmp(bytes, "conectix", 8) == 0 ? BLOCK_PROBE_SURE : BLOCK_PROBE_NO;
}

static bool corrupt(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "invalid VPC image: %s", what);
    return false;
}

/* Whom to believe about the size: programs that fill in the geometry as an exact size, or those for
 * which it is a rounded-down ornament. Named as other programs decide it. */
static bool has_exact_geometry(const uint8_t *footer)
{
    static const char *const by_size[] = { "win ", "qem2", "d2v ", "CTXS", "tap" };
    for (size_t i = 0; i < ARRAY_LENGTH(by_size); i++) {
        if (memcmp(footer + F_CREATOR, by_size[i], 4) == 0) {
            return false;
        }
    }
    return true;
}

static uint64_t disk_sectors(const uint8_t *footer)
{
    uint64_t geometry =
        (uint64_t)be16_get(footer + F_CYLINDERS) * footer[F_HEADS] * footer[F_SECTORS];
    return has_exact_geometry(footer) && geometry != VPC_GEOMETRY_MAX
               ? geometry
               : be64_get(footer + F_SIZE) / SECTOR;
}

/* The copy at the start of a dynamic image, or the one at the end of a fixed image. */
static bool read_footer(BlockNode *node, uint8_t *footer, GError **error)
{
    uint64_t size;
    int result = block_child_read(node->file, 0, footer, FOOTER_BYTES);
    if (result == 0 && memcmp(footer, "conectix", 8) != 0) {
        result = block_child_size(node->file, &size);
        if (result == 0 && size < FOOTER_BYTES) {
            return corrupt(error, "the file is too short");
        }
        if (result == 0) {
            result = block_child_read(node->file, size - FOOTER_BYTES, footer, FOOTER_BYTES);
        }
        if (result == 0 &&
            (memcmp(footer, "conectix", 8) != 0 || be32_get(footer + F_TYPE) != TYPE_FIXED)) {
            return corrupt(error, "no footer");
        }
    }
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VPC footer");
        return false;
    }
    if (be32_get(footer + F_CHECKSUM) != checksum(footer, FOOTER_BYTES, F_CHECKSUM)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "invalid VPC image: wrong checksum of the footer");
        return false;
    }
    return true;
}

static int lookup(BlockNode *node, uint64_t offset, MappedPiece *piece)
{
    Vpc *vpc = node->state;
    uint64_t block_bytes = vpc->mapped.block_bytes, block = offset / block_bytes;
    uint8_t raw[sizeof(uint32_t)];
    if (!vpc->tables) {
        piece->kind = MAPPED_DATA;
        piece->host = offset;
        return 0;
    }
    int result =
        table_cache_get(vpc->tables, vpc->table_offset + block * sizeof(raw), raw, sizeof(raw));
    uint32_t sector = be32_get(raw);
    piece->kind = sector == BLOCK_FREE ? MAPPED_HOLE : MAPPED_DATA;
    piece->host = sector * (uint64_t)SECTOR + vpc->bitmap_bytes + offset % block_bytes;
    piece->length = block_bytes - offset % block_bytes;
    return result;
}

static int place(BlockNode *node, uint64_t offset, MappedPiece *out_piece, bool *out_is_zero)
{
    Vpc *vpc = node->state;
    uint8_t raw[sizeof(uint32_t)], bitmap[SECTOR];
    uint64_t sector = vpc->end / SECTOR;
    if (sector >= BLOCK_FREE) {
        return -EFBIG;
    }
    memset(bitmap, 0xff, sizeof(bitmap));
    for (uint64_t i = 0; i < vpc->bitmap_bytes; i += sizeof(bitmap)) {
        int result = block_child_write(node->file, vpc->end + i, bitmap, sizeof(bitmap));
        if (result < 0) {
            return result;
        }
    }
    be32_put(raw, (uint32_t)sector);
    int result = table_cache_put(vpc->tables,
                                 vpc->table_offset + offset / vpc->mapped.block_bytes * sizeof(raw),
                                 raw, sizeof(raw));
    if (result < 0) {
        return result;
    }
    out_piece->host = vpc->end + vpc->bitmap_bytes;
    out_piece->length = vpc->mapped.block_bytes;
    *out_is_zero = out_piece->host >= vpc->old_end;
    vpc->end = out_piece->host + out_piece->length;
    vpc->is_moved = true;
    return 0;
}

static const MappedOps mapped_ops = { .lookup = lookup, .place = place };

/* Where the next block goes: behind all that the table names. */
static int find_end(Vpc *vpc)
{
    uint8_t raw[4096];
    uint64_t end = round_up(vpc->table_offset + (uint64_t)vpc->entries * 4, SECTOR);
    for (uint32_t i = 0; i < vpc->entries;) {
        uint32_t part = (uint32_t)min_u64(sizeof(raw) / 4, vpc->entries - i);
        int result =
            table_cache_get(vpc->tables, vpc->table_offset + (uint64_t)i * 4, raw, part * 4);
        if (result < 0) {
            return result;
        }
        for (uint32_t k = 0; k < part; k++) {
            uint32_t sector = be32_get(raw + k * 4);
            if (sector != BLOCK_FREE) {
                end = max_u64(end, sector * (uint64_t)SECTOR + vpc->bitmap_bytes +
                                       vpc->mapped.block_bytes);
            }
        }
        i += part;
    }
    vpc->end = end;
    return 0;
}

static bool check_dynamic(const uint8_t *header, uint64_t disk_bytes, uint64_t file_bytes,
                          GError **error)
{
    uint64_t block = be32_get(header + D_BLOCK_BYTES), table = be64_get(header + D_TABLE_OFFSET);
    uint64_t entries = be32_get(header + D_ENTRIES);
    if (memcmp(header + D_COOKIE, "cxsparse", 8) != 0) {
        return corrupt(error, "no dynamic header");
    }
    if (!is_power_of_two(block) || block < SECTOR || block > BLOCK_BYTES_MAX) {
        return corrupt(error, "bad block size");
    }
    if (entries < div_round_up(disk_bytes, block)) {
        return corrupt(error, "the block table is too short for the disk");
    }
    if (table % SECTOR || !range_fits(table, entries * 4, file_bytes)) {
        return corrupt(error, "the block table is not within the file");
    }
    return true;
}

static bool open_dynamic(BlockNode *node, Vpc *vpc, uint64_t file_bytes, GError **error)
{
    uint8_t header[DYNAMIC_BYTES];
    uint64_t offset = be64_get(vpc->footer + F_DATA_OFFSET);
    if (!range_fits(offset, sizeof(header), file_bytes)) {
        return corrupt(error, "the dynamic header is not within the file");
    }
    int result = block_child_read(node->file, offset, header, sizeof(header));
    if (result == 0 && !check_dynamic(header, node->size, file_bytes, error)) {
        return false;
    }
    if (result == 0) {
        vpc->mapped.block_bytes = be32_get(header + D_BLOCK_BYTES);
        vpc->bitmap_bytes = round_up(vpc->mapped.block_bytes / SECTOR / 8, SECTOR);
        vpc->table_offset = be64_get(header + D_TABLE_OFFSET);
        vpc->entries = be32_get(header + D_ENTRIES);
        vpc->tables = table_cache_new(node->file);
        result = vpc->tables ? find_end(vpc) : -ENOMEM;
    }
    if (result < 0) {
        table_cache_free(vpc->tables);
        lodge_error_set_errno(error, result, "cannot read the VPC block table");
        return false;
    }
    return true;
}

static bool vpc_open(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    uint8_t footer[FOOTER_BYTES];
    uint64_t file_bytes;
    if (!read_footer(node, footer, error)) {
        return false;
    }
    int result = block_child_size(node->file, &file_bytes);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VPC image");
        return false;
    }
    uint32_t type = be32_get(footer + F_TYPE);
    uint64_t sectors = disk_sectors(footer);
    if (type != TYPE_FIXED && type != TYPE_DYNAMIC) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "VPC image of type %" PRIu32 ": only fixed (2) and dynamic (3) are supported",
                    type);
        return false;
    }
    if (sectors > SECTORS_MAX) {
        return corrupt(error, "the disk is larger than 2040 GiB");
    }
    g_autofree Vpc *vpc = g_new0(Vpc, 1);
    memcpy(vpc->footer, footer, sizeof(footer));
    mapped_init(&vpc->mapped, &mapped_ops, BLOCK_BYTES);
    vpc->old_end = file_bytes;
    node->size = sectors * SECTOR;
    bool ok = type == TYPE_DYNAMIC ? open_dynamic(node, vpc, file_bytes, error)
                                   : node->size <= file_bytes - FOOTER_BYTES ||
                                         corrupt(error, "the file is shorter than the disk");
    if (!ok) {
        mapped_done(&vpc->mapped);
        return false;
    }
    node->state = g_steal_pointer(&vpc);
    return true;
}

/* Data, then the footer behind them, then the table that names them. */
static int vpc_flush(BlockNode *node)
{
    Vpc *vpc = node->state;
    LOCK_GUARD(&vpc->mapped.lock);
    if (!vpc->tables || (!vpc->is_moved && !table_cache_is_dirty(vpc->tables))) {
        return 0;
    }
    int result = block_child_write(node->file, vpc->end, vpc->footer, FOOTER_BYTES);
    if (result == 0) {
        result = block_child_flush(node->file);
    }
    if (result == 0) {
        /* The footer there is overwritten by the next block. */
        vpc->old_end = max_u64(vpc->old_end, vpc->end + FOOTER_BYTES);
        vpc->is_moved = false;
        result = table_cache_flush(vpc->tables);
    }
    return result;
}

static int vpc_close(BlockNode *node)
{
    Vpc *vpc = node->state;
    int result = node->flags & BLOCK_OPEN_WRITABLE ? vpc_flush(node) : 0;
    table_cache_free(vpc->tables);
    mapped_done(&vpc->mapped);
    g_free(vpc);
    return result;
}

static int vpc_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    const Vpc *vpc = node->state;
    if (vpc->tables) {
        return mapped_status(node, offset, length, out_status);
    }
    return mapped_flat_status(node, offset, length, node->file, offset, out_status);
}

static bool vpc_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    const Vpc *vpc = node->state;
    info->cluster_size = vpc->tables ? vpc->mapped.block_bytes : 0;
    return true;
}

static const BlockCreateOption create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", false },
    { "subformat", BLOCK_OPTION_TEXT,
      "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ",
      false },
    { "force_size", BLOCK_OPTION_BOOL,
      "Force disk size calculation to use the actual size specified, rather than using the nearest "
      "CHS-based calculation",
      false },
    BLOCK_FILE_CREATE_OPTIONS,
    {},
};

typedef struct Shape {
    uint64_t sectors;
    VpcGeometry geometry;
    bool is_fixed, is_forced;
} Shape;

static bool parse_shape(const BlockSpec *options, Shape *shape, GError **error)
{
    uint64_t size = 0;
    const char *subformat = block_spec_get(options, "subformat");
    shape->is_fixed = subformat && strcmp(subformat, "fixed") == 0;
    if (subformat && !shape->is_fixed && strcmp(subformat, "dynamic") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid subformat '%s'; supported: dynamic, fixed", subformat);
        return false;
    }
    if (!block_spec_get_size(options, "size", &size, error) ||
        !block_spec_get_bool(options, "force_size", &shape->is_forced, error)) {
        return false;
    }
    uint64_t wanted = div_round_up(size, SECTOR);
    if (wanted > SECTORS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "Disk size is too large, max size is 2040 GiB");
        return false;
    }
    shape->geometry = (VpcGeometry){ 65535, 16, 255 };
    uint64_t held = shape->is_forced ? VPC_GEOMETRY_MAX : 0;
    for (uint64_t more = 0; !shape->is_forced && held < wanted && held < VPC_GEOMETRY_MAX; more++) {
        shape->geometry = vpc_geometry(wanted + more);
        held =
            (uint64_t)shape->geometry.cylinders * shape->geometry.heads * shape->geometry.sectors;
    }
    if (held == 0) {
        shape->geometry = (VpcGeometry){ 0 };
    }
    shape->sectors = held == VPC_GEOMETRY_MAX ? wanted : held;
    return true;
}

static bool fill_footer(uint8_t *footer, const Shape *shape, GError **error)
{
    Uuid uuid;
    if (!uuid_generate(&uuid, error)) {
        return false;
    }
    memcpy(footer, "conectix", 8);
    be32_put(footer + F_FEATURES, 2);
    be32_put(footer + F_VERSION, 0x00010000);
    be64_put(footer + F_DATA_OFFSET, shape->is_fixed ? UINT64_MAX : FOOTER_BYTES);
    be32_put(footer + F_TIME, (uint32_t)(time(NULL) - EPOCH));
    /* Readers take the size from the geometry of a "qemu" image, and from the size field of a
     * "qem2" one. */
    memcpy(footer + F_CREATOR, shape->is_forced ? "qem2" : "qemu", 4);
    be16_put(footer + F_CREATOR_VERSION, 5);
    be16_put(footer + F_CREATOR_VERSION + 2, 3);
    memcpy(footer + F_CREATOR_OS, "Wi2k", 4);
    be64_put(footer + F_ORIGINAL_SIZE, shape->sectors * SECTOR);
    be64_put(footer + F_SIZE, shape->sectors * SECTOR);
    be16_put(footer + F_CYLINDERS, shape->geometry.cylinders);
    footer[F_HEADS] = shape->geometry.heads;
    footer[F_SECTORS] = shape->geometry.sectors;
    be32_put(footer + F_TYPE, shape->is_fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    memcpy(footer + F_UUID, uuid.byte, UUID_BYTES);
    be32_put(footer + F_CHECKSUM, checksum(footer, FOOTER_BYTES, F_CHECKSUM));
    return true;
}

static int create_fixed(File *file, const uint8_t *footer, uint64_t bytes)
{
    int result = file_truncate(file, bytes);
    return result == 0 ? file_write(file, bytes, footer, FOOTER_BYTES) : result;
}

static int create_dynamic(File *file, const uint8_t *footer, uint64_t bytes)
{
    uint8_t header[DYNAMIC_BYTES] = { 0 }, table[16 * KIB];
    uint32_t entries = (uint32_t)div_round_up(bytes, BLOCK_BYTES);
    uint64_t table_bytes = round_up(entries * UINT64_C(4), SECTOR);
    memcpy(header, "cxsparse", 8);
    be64_put(header + D_DATA_OFFSET, UINT64_MAX);
    be64_put(header + D_TABLE_OFFSET, TABLE_OFFSET);
    be32_put(header + D_VERSION, 0x00010000);
    be32_put(header + D_ENTRIES, entries);
    be32_put(header + D_BLOCK_BYTES, BLOCK_BYTES);
    be32_put(header + D_CHECKSUM, checksum(header, sizeof(header), D_CHECKSUM));
    int result = file_write(file, 0, footer, FOOTER_BYTES);
    if (result == 0) {
        result = file_write(file, FOOTER_BYTES, header, sizeof(header));
    }
    memset(table, 0xff, sizeof(table));
    for (uint64_t i = 0; result == 0 && i < table_bytes; i += sizeof(table)) {
        result = file_write(file, TABLE_OFFSET + i, table, min_u64(sizeof(table), table_bytes - i));
    }
    return result == 0 ? file_write(file, TABLE_OFFSET + table_bytes, footer, FOOTER_BYTES)
                       : result;
}

static bool vpc_create(File *file, const char *name, const BlockSpec *options, GError **error)
{
    Shape shape = { 0 };
    uint8_t footer[FOOTER_BYTES] = { 0 };
    if (!parse_shape(options, &shape, error) || !fill_footer(footer, &shape, error)) {
        return false;
    }
    int result = shape.is_fixed ? create_fixed(file, footer, shape.sectors * SECTOR)
                                : create_dynamic(file, footer, shape.sectors * SECTOR);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot write the VPC image");
    }
    return result == 0;
}

const BlockDriver block_driver_vpc = {
    .name = "vpc",
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .read = mapped_read,
    .write = mapped_write,
    .write_zeroes = mapped_write_zeroes,
    .flush = vpc_flush,
    .status = vpc_status,
    .get_info = vpc_get_info,
    .create_options = create_options,
    .create = vpc_create,
};
