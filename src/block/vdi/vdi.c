/* VDI, the disk image of VirtualBox, version 1.1: dynamic and static images.
 *
 * Layout: header, block map (le32 a block), blocks in the order of their first write. docs/formats/
 * vdi.md. Left out: differencing images and undo images, which VirtualBox chains by UUID.
 * SPDX-License-Identifier: GPL-2.0-or-later */
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

#define HEADER_BYTES 512
#define SIGNATURE 0xbeda107fu
#define VERSION_1_1 0x00010001u
#define BLOCK_BYTES MIB
#define SECTOR 512
#define BLOCK_FREE 0xffffffffu /* never written */
#define BLOCK_DISCARDED 0xfffffffeu
#define BLOCKS_MAX 0x1fffffffu /* the block map stays below 2 GiB, as in QEMU */
#define DISK_BYTES_MAX (BLOCKS_MAX * BLOCK_BYTES)

/* Offsets in the header. */
enum {
    H_TEXT = 0x00,
    H_SIGNATURE = 0x40,
    H_VERSION = 0x44,
    H_HEADER_SIZE = 0x48,
    H_TYPE = 0x4c,
    H_MAP_OFFSET = 0x154,
    H_DATA_OFFSET = 0x158,
    H_SECTOR_BYTES = 0x168,
    H_DISK_BYTES = 0x170,
    H_BLOCK_BYTES = 0x178,
    H_BLOCKS = 0x180,
    H_ALLOCATED = 0x184,
    H_UUID_IMAGE = 0x188,
    H_UUID_SNAPSHOT = 0x198,
    H_UUID_LINK = 0x1a8,
    H_UUID_PARENT = 0x1b8,
};

enum { TYPE_DYNAMIC = 1, TYPE_STATIC = 2 };

typedef struct Vdi {
    Mapped mapped;
    TableCache *tables; /* under mapped.lock, as .allocated and .old_end */
    uint32_t map_offset, data_offset, blocks, type;
    uint32_t allocated; /* blocks that have a place; the next one's number */
    bool is_header_dirty;
    uint64_t old_end; /* the file's length at the time of opening: what is behind is zeroes */
} Vdi;

static int vdi_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    return length >= HEADER_BYTES && le32_get(bytes + H_SIGNATURE) == SIGNATURE ? BLOCK_PROBE_SURE
                                                                                : BLOCK_PROBE_NO;
}

static bool is_uuid_null(const uint8_t *uuid)
{
    return block_is_zero(uuid, UUID_BYTES);
}

static bool refuse(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "unsupported VDI image (%s)", what);
    return false;
}

static bool check_header(const uint8_t *header, GError **error)
{
    if (le32_get(header + H_SIGNATURE) != SIGNATURE) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "Image not in VDI format (bad signature %08" PRIx32 ")",
                    le32_get(header + H_SIGNATURE));
        return false;
    }
    uint32_t type = le32_get(header + H_TYPE);
    uint32_t version = le32_get(header + H_VERSION);
    if (version != VERSION_1_1) {
        g_autofree char *text =
            g_strdup_printf("version %" PRIu32 ".%" PRIu32, version >> 16, version & 0xffff);
        return refuse(error, text);
    }
    if (type != TYPE_DYNAMIC && type != TYPE_STATIC) {
        return refuse(error, "neither dynamic nor static: a differencing image");
    }
    if (le32_get(header + H_MAP_OFFSET) % SECTOR || le32_get(header + H_DATA_OFFSET) % SECTOR) {
        return refuse(error, "unaligned block map or data");
    }
    if (le32_get(header + H_SECTOR_BYTES) != SECTOR) {
        return refuse(error, "sector size is not 512");
    }
    if (le32_get(header + H_BLOCK_BYTES) != BLOCK_BYTES) {
        return refuse(error, "block size is not 1 MiB");
    }
    if (!is_uuid_null(header + H_UUID_LINK) || !is_uuid_null(header + H_UUID_PARENT)) {
        return refuse(error, "it has a parent image");
    }
    uint64_t disk = le64_get(header + H_DISK_BYTES);
    uint32_t blocks = le32_get(header + H_BLOCKS);
    if (disk > DISK_BYTES_MAX || blocks > BLOCKS_MAX) {
        return refuse(error, "too large");
    }
    if (disk > blocks * BLOCK_BYTES) {
        return refuse(error, "the block map is too short for the disk");
    }
    uint64_t map_end = le32_get(header + H_MAP_OFFSET) + (uint64_t)blocks * sizeof(uint32_t);
    if (le32_get(header + H_MAP_OFFSET) < HEADER_BYTES ||
        map_end > le32_get(header + H_DATA_OFFSET)) {
        return refuse(error, "the block map overlaps the header or the data");
    }
    return true;
}

static int lookup(BlockNode *node, uint64_t offset, MappedPiece *piece)
{
    Vdi *vdi = node->state;
    uint8_t raw[sizeof(uint32_t)];
    uint32_t block = (uint32_t)(offset / BLOCK_BYTES);
    uint64_t within = offset % BLOCK_BYTES, wanted = piece->length;
    piece->length = 0;
    uint32_t first = 0;
    for (; piece->length < wanted && block < vdi->blocks; block++, within = 0) {
        int result = table_cache_get(vdi->tables, vdi->map_offset + (uint64_t)block * sizeof(raw),
                                     raw, sizeof(raw));
        if (result < 0) {
            return result;
        }
        uint32_t place = le32_get(raw);
        MappedKind kind = place >= BLOCK_DISCARDED ? MAPPED_HOLE : MAPPED_DATA;
        if (kind == MAPPED_DATA && place >= vdi->blocks) {
            return -EIO; /* out of the image */
        }
        if (!piece->length) {
            first = place - block;
            piece->kind = kind;
            piece->host = vdi->data_offset + place * BLOCK_BYTES + within;
        } else if (kind != piece->kind || (kind == MAPPED_DATA && place - block != first)) {
            break;
        }
        piece->length += BLOCK_BYTES - within;
    }
    return piece->length ? 0 : -EIO;
}

static int place(BlockNode *node, uint64_t offset, MappedPiece *out_piece, bool *out_is_zero)
{
    Vdi *vdi = node->state;
    if (vdi->allocated >= vdi->blocks) {
        return -EIO; /* a block map that lies */
    }
    uint8_t raw[sizeof(uint32_t)];
    le32_put(raw, vdi->allocated);
    int result = table_cache_put(vdi->tables, vdi->map_offset + offset / BLOCK_BYTES * sizeof(raw),
                                 raw, sizeof(raw));
    if (result < 0) {
        return result;
    }
    out_piece->host = vdi->data_offset + vdi->allocated * BLOCK_BYTES;
    out_piece->length = BLOCK_BYTES;
    *out_is_zero = out_piece->host >= vdi->old_end;
    vdi->allocated++;
    vdi->is_header_dirty = true;
    return 0;
}

static const MappedOps mapped_ops = { .lookup = lookup, .place = place };
static const MappedOps readonly_ops = { .lookup = lookup };

/* The number of the next free block: behind all that the map names, whatever the header says. */
static int count_blocks(Vdi *vdi, uint32_t *out_next)
{
    uint8_t raw[4096];
    uint32_t next = 0;
    for (uint32_t block = 0; block < vdi->blocks;) {
        uint32_t part = (uint32_t)min_u64(sizeof(raw) / 4, vdi->blocks - block);
        int result =
            table_cache_get(vdi->tables, vdi->map_offset + (uint64_t)block * 4, raw, part * 4);
        if (result < 0) {
            return result;
        }
        for (uint32_t i = 0; i < part; i++) {
            uint32_t at = le32_get(raw + i * 4);
            next = at < vdi->blocks && at >= next ? at + 1 : next;
        }
        block += part;
    }
    *out_next = next;
    return 0;
}

static int prepare_writing(BlockNode *node, Vdi *vdi)
{
    uint32_t next;
    int result = block_child_size(node->file, &vdi->old_end);
    if (result == 0) {
        result = count_blocks(vdi, &next);
    }
    if (result == 0 && next > vdi->allocated) {
        vdi->allocated = next;
    }
    return result;
}

static bool vdi_open(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    uint8_t header[HEADER_BYTES];
    uint64_t file_bytes;
    int result = block_child_read(node->file, 0, header, sizeof(header));
    if (result == 0) {
        result = block_child_size(node->file, &file_bytes);
    }
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VDI header");
        return false;
    }
    if (!check_header(header, error)) {
        return false;
    }
    if (le32_get(header + H_MAP_OFFSET) + (uint64_t)le32_get(header + H_BLOCKS) * 4 > file_bytes) {
        return refuse(error, "the file ends within the block map");
    }
    Vdi *vdi = g_new0(Vdi, 1);
    mapped_init(&vdi->mapped, flags & BLOCK_OPEN_WRITABLE ? &mapped_ops : &readonly_ops,
                BLOCK_BYTES);
    vdi->tables = table_cache_new(node->file);
    vdi->map_offset = le32_get(header + H_MAP_OFFSET);
    vdi->data_offset = le32_get(header + H_DATA_OFFSET);
    vdi->blocks = le32_get(header + H_BLOCKS);
    vdi->type = le32_get(header + H_TYPE);
    vdi->allocated = le32_get(header + H_ALLOCATED);
    result = vdi->tables ? 0 : -ENOMEM;
    if (result == 0 && flags & BLOCK_OPEN_WRITABLE) {
        result = prepare_writing(node, vdi);
    }
    if (result < 0) {
        table_cache_free(vdi->tables);
        mapped_done(&vdi->mapped);
        g_free(vdi);
        lodge_error_set_errno(error, result, "cannot read the VDI block map");
        return false;
    }
    node->state = vdi;
    node->size = round_up(le64_get(header + H_DISK_BYTES), SECTOR);
    return true;
}

/* Data first, then the map: a map that survives alone would show what the file had before. */
static int vdi_flush(BlockNode *node)
{
    Vdi *vdi = node->state;
    LOCK_GUARD(&vdi->mapped.lock);
    if (!vdi->is_header_dirty && !table_cache_is_dirty(vdi->tables)) {
        return 0;
    }
    int result =
        mapped_lengthen(node->file, vdi->data_offset + (uint64_t)vdi->allocated * BLOCK_BYTES);
    if (result == 0) {
        result = block_child_flush(node->file);
    }
    if (result == 0) {
        result = table_cache_flush(vdi->tables);
    }
    if (result == 0 && vdi->is_header_dirty) {
        uint8_t raw[sizeof(uint32_t)];
        le32_put(raw, vdi->allocated);
        result = block_child_write(node->file, H_ALLOCATED, raw, sizeof(raw));
        vdi->is_header_dirty = result < 0;
    }
    return result;
}

static int vdi_close(BlockNode *node)
{
    Vdi *vdi = node->state;
    int result = node->flags & BLOCK_OPEN_WRITABLE ? vdi_flush(node) : 0;
    table_cache_free(vdi->tables);
    mapped_done(&vdi->mapped);
    g_free(vdi);
    return result;
}

static bool vdi_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    info->cluster_size = BLOCK_BYTES;
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

/* Each place is used once at most, and the header counts them. */
static int check_map(Vdi *vdi, BlockCheck *check, uint8_t *used, uint32_t *out_count)
{
    for (uint32_t block = 0; block < vdi->blocks; block++) {
        uint8_t raw[sizeof(uint32_t)];
        int result = table_cache_get(vdi->tables, vdi->map_offset + (uint64_t)block * sizeof(raw),
                                     raw, sizeof(raw));
        if (result < 0) {
            return result;
        }
        uint32_t at = le32_get(raw);
        if (at >= BLOCK_DISCARDED) {
            continue;
        }
        ++*out_count;
        if (at >= vdi->blocks) {
            report(check, "ERROR: block index %" PRIu32 " out of range, is %" PRIu32, block, at);
        } else if (used[at / 8] & 1u << at % 8) {
            report(check, "ERROR: block index %" PRIu32 " also used by another block", at);
        } else {
            used[at / 8] |= (uint8_t)(1u << at % 8);
        }
    }
    return 0;
}

static int write_count(BlockNode *node, Vdi *vdi, uint32_t count)
{
    uint8_t raw[sizeof(uint32_t)];
    le32_put(raw, count);
    int result = block_child_write(node->file, H_ALLOCATED, raw, sizeof(raw));
    if (result == 0) {
        vdi->allocated = count;
        vdi->is_header_dirty = false;
        result = block_child_flush(node->file);
    }
    return result;
}

static int move_block(BlockNode *node, const Vdi *vdi, uint32_t from, uint32_t to)
{
    autofree uint8_t *data = malloc(BLOCK_BYTES);
    int result = !data ? -ENOMEM
                       : block_child_read(node->file, vdi->data_offset + from * BLOCK_BYTES, data,
                                          BLOCK_BYTES);
    if (result == 0) {
        result =
            block_child_write(node->file, vdi->data_offset + to * BLOCK_BYTES, data, BLOCK_BYTES);
    }
    return result;
}

/* Moves the blocks that lie behind the first @count places into the gaps among these: the header's
 * number is both that of the blocks and the next place. @used: the places named by the map. */
static int close_gaps(BlockNode *node, Vdi *vdi, const uint8_t *used, uint32_t count)
{
    uint32_t gap = 0;
    int result = 0;
    for (uint32_t block = 0; block < vdi->blocks && result == 0; block++) {
        uint64_t place = vdi->map_offset + (uint64_t)block * sizeof(uint32_t);
        uint8_t raw[sizeof(uint32_t)];
        result = table_cache_get(vdi->tables, place, raw, sizeof(raw));
        uint32_t at = le32_get(raw);
        if (result < 0 || at >= BLOCK_DISCARDED || at < count) {
            continue;
        }
        while (used[gap / 8] & 1u << gap % 8) {
            gap++;
        }
        le32_put(raw, gap);
        result = move_block(node, vdi, at, gap++);
        if (result == 0) {
            result = table_cache_put(vdi->tables, place, raw, sizeof(raw));
        }
    }
    if (result == 0) {
        result = block_child_flush(node->file);
    }
    if (result == 0) {
        result = table_cache_flush(vdi->tables);
    }
    return result < 0 ? result : block_child_flush(node->file);
}

static int check_count(BlockNode *node, Vdi *vdi, BlockCheck *check, const uint8_t *used,
                       uint32_t count, unsigned fix)
{
    uint8_t raw[sizeof(uint32_t)];
    int result = block_child_read(node->file, H_ALLOCATED, raw, sizeof(raw));
    if (result < 0 || le32_get(raw) == count) {
        return result;
    }
    bool can_fix = fix & BLOCK_FIX_ERRORS && check->corruptions == 0;
    report(check, "ERROR: allocated blocks mismatch, is %" PRIu32 ", should be %" PRIu32,
           le32_get(raw), count);
    if (can_fix) {
        result = close_gaps(node, vdi, used, count);
        if (result == 0) {
            result = write_count(node, vdi, count);
        }
        check->corruptions_fixed += result == 0;
    }
    return result;
}

static int vdi_check(BlockNode *node, BlockCheck *check, unsigned fix)
{
    Vdi *vdi = node->state;
    LOCK_GUARD(&vdi->mapped.lock);
    uint32_t count = 0;
    autofree uint8_t *used = calloc(1, vdi->blocks / 8 + 1);
    int result = used ? check_map(vdi, check, used, &count) : -ENOMEM;
    return result < 0 ? result : check_count(node, vdi, check, used, count, fix);
}

static const BlockCreateOption create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", false },
    { "static", BLOCK_OPTION_BOOL, "VDI static (pre-allocated) image", false, .standard = "off" },
    { "preallocation", BLOCK_OPTION_TEXT, "Preallocation mode (allowed values: off, metadata)",
      false },
    BLOCK_FILE_CREATE_OPTIONS,
    {},
};

static void fill_header(uint8_t *header, uint64_t size, bool is_static)
{
    uint32_t blocks = (uint32_t)div_round_up(size, BLOCK_BYTES);
    uint32_t map = (uint32_t)round_up((uint64_t)blocks * sizeof(uint32_t), SECTOR);
    memcpy(header + H_TEXT, "<<< Lodge Virtual Disk Image >>>\n", 33);
    le32_put(header + H_SIGNATURE, SIGNATURE);
    le32_put(header + H_VERSION, VERSION_1_1);
    le32_put(header + H_HEADER_SIZE, 0x180);
    le32_put(header + H_TYPE, is_static ? TYPE_STATIC : TYPE_DYNAMIC);
    le32_put(header + H_MAP_OFFSET, HEADER_BYTES);
    le32_put(header + H_DATA_OFFSET, HEADER_BYTES + map);
    le32_put(header + H_SECTOR_BYTES, SECTOR);
    le64_put(header + H_DISK_BYTES, size);
    le32_put(header + H_BLOCK_BYTES, (uint32_t)BLOCK_BYTES);
    le32_put(header + H_BLOCKS, blocks);
    le32_put(header + H_ALLOCATED, is_static ? blocks : 0);
}

static int write_map(File *file, uint32_t blocks, bool is_static)
{
    uint8_t raw[16 * KIB];
    for (uint32_t block = 0; block < blocks;) {
        uint32_t part = (uint32_t)min_u64(sizeof(raw) / 4, blocks - block);
        for (uint32_t i = 0; i < part; i++) {
            le32_put(raw + i * 4, is_static ? block + i : BLOCK_FREE);
        }
        int result = file_write(file, HEADER_BYTES + (uint64_t)block * 4, raw, part * 4);
        if (result < 0) {
            return result;
        }
        block += part;
    }
    return 0;
}

static bool parse_static(const BlockSpec *options, bool *out_is_static, GError **error)
{
    const char *text = block_spec_get(options, "preallocation");
    BlockPreallocation mode = BLOCK_PREALLOCATION_OFF;
    if (!block_spec_get_bool(options, "static", out_is_static, error) ||
        (text && !block_preallocation_parse(text, &mode, error))) {
        return false;
    }
    if (mode > BLOCK_PREALLOCATION_METADATA) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Unsupported preallocation mode '%s'; VDI has off and metadata", text);
        return false;
    }
    *out_is_static |= mode == BLOCK_PREALLOCATION_METADATA;
    return true;
}

static bool vdi_create(File *file, const char *name, const BlockSpec *options, GError **error)
{
    uint64_t size = 0;
    bool is_static = false;
    uint8_t header[HEADER_BYTES] = { 0 };
    if (!block_spec_get_size(options, "size", &size, error) ||
        !parse_static(options, &is_static, error)) {
        return false;
    }
    if (size > DISK_BYTES_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "Unsupported VDI image size (size is 0x%" PRIx64 ", max supported is 0x%" PRIx64
                    ")",
                    size, (uint64_t)DISK_BYTES_MAX);
        return false;
    }
    size = round_up(size, SECTOR);
    Uuid image, snapshot;
    if (!uuid_generate(&image, error) || !uuid_generate(&snapshot, error)) {
        return false;
    }
    fill_header(header, size, is_static);
    memcpy(header + H_UUID_IMAGE, image.byte, UUID_BYTES);
    memcpy(header + H_UUID_SNAPSHOT, snapshot.byte, UUID_BYTES);
    uint32_t blocks = le32_get(header + H_BLOCKS);
    int result = file_write(file, 0, header, sizeof(header));
    if (result == 0) {
        result = write_map(file, blocks, is_static);
    }
    if (result == 0) {
        uint64_t end = le32_get(header + H_DATA_OFFSET);
        result = file_truncate(file, end + (is_static ? blocks * BLOCK_BYTES : 0));
    }
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot write the VDI header");
    }
    return result == 0;
}

const BlockDriver block_driver_vdi = {
    .name = "vdi",
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .read = mapped_read,
    .write = mapped_write,
    .write_zeroes = mapped_write_zeroes,
    .flush = vdi_flush,
    .status = mapped_status,
    .get_info = vdi_get_info,
    .check = vdi_check,
    .create_options = create_options,
    .create = vdi_create,
};
