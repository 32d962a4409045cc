/* VMDK, the disk image of VMware, versions 1 to 3: monolithicSparse, monolithicFlat,
 * twoGbMaxExtentSparse, twoGbMaxExtentFlat, streamOptimized.
 *
 * An image is a descriptor (a text, in a file of its own or in the header of the only extent) and
 * extents. docs/formats/vmdk.md. Left out: ESX's own kinds (COWD, seSparse, raw devices).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vmdk/vmdk.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/mapped.h"
#include "block/vmdk/descriptor.h"
#include "block/vmdk/extent.h"
#include "gbase/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define MARKER_BYTES 12

typedef struct Vmdk {
    Mapped mapped;
    GArray *extents; /* of VmdkExtent, by .start */
    VmdkDescriptor descriptor;
    uint64_t descriptor_offset; /* bytes in node->file */
    size_t descriptor_bytes;
    bool is_compressed;
    bool has_new_content; /* written to since it was opened; under mapped.lock */
} Vmdk;

static int vmdk_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    static const char intro[] = "# Disk DescriptorFile";
    if (length >= 4 && memcmp(bytes, "KDMV", 4) == 0) {
        return BLOCK_PROBE_SURE;
    }
    /* Comments and blank lines may come first. */
    for (size_t i = 0; i + sizeof(intro) < length && i < 256; i++) {
        if (memcmp(bytes + i, intro, sizeof(intro) - 1) == 0) {
            return BLOCK_PROBE_SURE;
        }
        if (bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != ' ' && bytes[i] != '\t') {
            break;
        }
    }
    return BLOCK_PROBE_NO;
}

static VmdkExtent *extent_at(const Vmdk *vmdk, uint64_t offset)
{
    unsigned low = 0, high = vmdk->extents->len;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (g_array_index(vmdk->extents, VmdkExtent, middle).start <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &g_array_index(vmdk->extents, VmdkExtent, low);
}

static int lookup(BlockNode *node, uint64_t offset, MappedPiece *piece)
{
    VmdkExtent *extent = extent_at(node->state, offset);
    return vmdk_extent_lookup(extent, offset - extent->start, piece);
}

static void grain_around(BlockNode *node, uint64_t offset, uint64_t *out_start, uint64_t *out_bytes)
{
    const VmdkExtent *extent = extent_at(node->state, offset);
    uint64_t within = offset - extent->start;
    uint64_t grain = extent->kind == VMDK_SPARSE ? extent->grain_bytes : extent->size;
    *out_start = offset - within % grain;
    *out_bytes = min_u64(grain, extent->start + extent->size - *out_start);
}

static int place(BlockNode *node, uint64_t offset, MappedPiece *out_piece, bool *out_is_zero)
{
    VmdkExtent *extent = extent_at(node->state, offset);
    if (extent->kind == VMDK_ZERO) {
        return -EROFS;
    }
    /* Compressed grains cannot change in place. */
    if (extent->header.flags & VMDK_FLAG_COMPRESSED) {
        return -ENOTSUP;
    }
    out_piece->child = extent->child;
    out_piece->length = extent->grain_bytes;
    *out_is_zero = true;
    return vmdk_extent_place(extent, offset - extent->start, extent->grain_bytes, &out_piece->host);
}

static int unpack(BlockNode *node, const MappedPiece *piece, uint64_t offset, void *buf)
{
    return vmdk_extent_unpack(extent_at(node->state, offset), piece->host, buf);
}

static const MappedOps mapped_ops = {
    .lookup = lookup,
    .place = place,
    .unpack = unpack,
    .range = grain_around,
};

static void vmdk_free(Vmdk *vmdk)
{
    for (unsigned i = 0; i < vmdk->extents->len; i++) {
        vmdk_extent_clear(&g_array_index(vmdk->extents, VmdkExtent, i));
    }
    g_array_unref(vmdk->extents);
    vmdk_descriptor_clear(&vmdk->descriptor);
    mapped_done(&vmdk->mapped);
    g_free(vmdk);
}

/* The descriptor's text, ended by a zero byte. (transfer full) */
static char *read_descriptor(BlockNode *node, uint64_t offset, uint64_t bytes, GError **error)
{
    if (bytes > VMDK_DESCRIPTOR_BYTES_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "the VMDK descriptor is too long");
        return NULL;
    }
    g_autofree char *text = g_malloc0(bytes + 1);
    int result = bytes ? block_child_read(node->file, offset, text, bytes) : 0;
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VMDK descriptor");
        return NULL;
    }
    return g_steal_pointer(&text);
}

static BlockNode *open_extent_file(BlockNode *node, const char *name, const BlockSpec *spec,
                                   unsigned flags, GError **error)
{
    bool may_leave = false;
    if (!block_spec_get_bool(spec, "extents-anywhere", &may_leave, error)) {
        return NULL;
    }
    if (strchr(name, '/') && !may_leave) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "extent '%s' is outside the image's folder; extents-anywhere=on allows it",
                    name);
        return NULL;
    }
    g_autofree char *path = block_backing_path(node->filename, name);
    g_autoptr(BlockSpec) file = block_spec_new();
    block_spec_set(file, "driver", "file");
    block_spec_set(file, "filename", path);
    return block_open(file, flags, error);
}

static bool open_extent(BlockNode *node, VmdkExtent *extent, const VmdkExtentLine *line,
                        const BlockSpec *spec, unsigned flags, GError **error)
{
    if (strcmp(line->type, "ZERO") == 0) {
        extent->kind = VMDK_ZERO;
        return true;
    }
    bool is_flat = strcmp(line->type, "FLAT") == 0;
    if (!is_flat && strcmp(line->type, "SPARSE") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "Unsupported extent type '%s'",
                    line->type);
        return false;
    }
    extent->kind = is_flat ? VMDK_FLAT : VMDK_SPARSE;
    extent->flat_offset = line->flat_sectors * VMDK_SECTOR;
    extent->child = open_extent_file(node, line->filename, spec, flags, error);
    extent->owns_child = true;
    if (!extent->child) {
        return false;
    }
    extent->filename = g_strdup(block_node_filename(extent->child));
    return is_flat || vmdk_extent_open_sparse(extent, error);
}

/* Puts extent number @index behind the one before. */
static bool add_extent(BlockNode *node, Vmdk *vmdk, VmdkExtent *extent, uint64_t sectors,
                       GError **error)
{
    extent->start = node->size;
    extent->size = sectors * VMDK_SECTOR;
    if (extent->kind == VMDK_SPARSE && extent->header.capacity < sectors) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "invalid VMDK image: an extent holds less than the descriptor says");
        return false;
    }
    if (!checked_add(node->size, extent->size, &node->size) || node->size > INT64_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "invalid VMDK image: the extents are too large together");
        return false;
    }
    vmdk->is_compressed |=
        extent->kind == VMDK_SPARSE && extent->header.flags & VMDK_FLAG_COMPRESSED;
    if (extent->kind == VMDK_SPARSE) {
        vmdk->mapped.block_bytes = max_u64(vmdk->mapped.block_bytes, extent->grain_bytes);
    }
    return true;
}

static bool open_extents(BlockNode *node, Vmdk *vmdk, const BlockSpec *spec, unsigned flags,
                         GError **error)
{
    const GArray *lines = vmdk->descriptor.extents;
    for (unsigned i = 0; i < lines->len; i++) {
        const VmdkExtentLine *line = &g_array_index(lines, VmdkExtentLine, i);
        if (line->sectors == 0) {
            continue;
        }
        VmdkExtent extent = { .type = g_strdup(line->type) };
        bool ok = open_extent(node, &extent, line, spec, flags, error) &&
                  add_extent(node, vmdk, &extent, line->sectors, error);
        g_array_append_val(vmdk->extents, extent);
        if (!ok) {
            return false;
        }
    }
    if (!vmdk->extents->len && lines->len == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "the VMDK image has no extents");
        return false;
    }
    return true;
}

/* A sparse extent with the descriptor inside. */
static bool open_monolithic(BlockNode *node, Vmdk *vmdk, GError **error)
{
    VmdkExtent extent = { .kind = VMDK_SPARSE,
                          .child = node->file,
                          .type = g_strdup(""),
                          .filename = g_strdup(node->filename) };
    bool ok = vmdk_extent_open_sparse(&extent, error) &&
              add_extent(node, vmdk, &extent, extent.header.capacity, error);
    g_array_append_val(vmdk->extents, extent);
    if (!ok) {
        return false;
    }
    const VmdkHeader *header = &extent.header;
    if (header->descriptor > UINT32_MAX ||
        header->descriptor_sectors > VMDK_DESCRIPTOR_BYTES_MAX / VMDK_SECTOR) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "invalid VMDK image: the descriptor is too long or too far away");
        return false;
    }
    vmdk->descriptor_offset = header->descriptor * VMDK_SECTOR;
    vmdk->descriptor_bytes = header->descriptor_sectors * VMDK_SECTOR;
    if (!header->descriptor) {
        /* One extent of several, opened by itself. */
        vmdk->descriptor = (VmdkDescriptor){ .parent_cid = VMDK_NO_PARENT,
                                             .create_type = g_strdup("monolithicSparse") };
        return true;
    }
    g_autofree char *text =
        read_descriptor(node, vmdk->descriptor_offset, vmdk->descriptor_bytes, error);
    return text && vmdk_descriptor_parse(text, &vmdk->descriptor, error);
}

static bool open_described(BlockNode *node, Vmdk *vmdk, const BlockSpec *spec, unsigned flags,
                           GError **error)
{
    uint64_t bytes;
    int result = block_child_size(node->file, &bytes);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VMDK descriptor");
        return false;
    }
    vmdk->descriptor_bytes = min_u64(bytes, VMDK_DESCRIPTOR_BYTES_MAX);
    g_autofree char *text = read_descriptor(node, 0, vmdk->descriptor_bytes, error);
    return text && vmdk_descriptor_parse(text, &vmdk->descriptor, error) &&
           open_extents(node, vmdk, spec, flags, error);
}

static bool vmdk_open(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    uint8_t magic[4];
    int result = block_child_read(node->file, 0, magic, sizeof(magic));
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot read the VMDK header");
        return false;
    }
    Vmdk *vmdk = g_new0(Vmdk, 1);
    mapped_init(&vmdk->mapped, &mapped_ops, VMDK_GRAIN_SECTORS * VMDK_SECTOR);
    vmdk->extents = g_array_new(FALSE, TRUE, sizeof(VmdkExtent));
    node->size = 0;
    bool ok = memcmp(magic, "KDMV", 4) == 0 ? open_monolithic(node, vmdk, error)
                                            : open_described(node, vmdk, spec, flags, error);
    if (!ok) {
        vmdk_free(vmdk);
        return false;
    }
    if (vmdk->descriptor.parent_hint && vmdk->descriptor.parent_hint[0] &&
        vmdk->descriptor.parent_cid != VMDK_NO_PARENT) {
        node->backing_name = g_strdup(vmdk->descriptor.parent_hint);
        node->backing_format = g_strdup("vmdk");
    }
    node->state = vmdk;
    return true;
}

/* A new content identity, so that images on top see that their parent changed. */
static int renew_cid(BlockNode *node, Vmdk *vmdk)
{
    if (!vmdk->descriptor_bytes || vmdk->descriptor_bytes > VMDK_DESCRIPTOR_BYTES_MAX) {
        return 0;
    }
    g_autofree char *text = g_malloc0(vmdk->descriptor_bytes + 1);
    int result =
        block_child_read(node->file, vmdk->descriptor_offset, text, vmdk->descriptor_bytes);
    char *at = result == 0 ? vmdk_descriptor_find_cid(text) : NULL;
    if (!at) {
        return result;
    }
    char digits[9];
    vmdk->descriptor.cid = g_random_int_range(0, INT32_MAX);
    snprintf(digits, sizeof(digits), "%08" PRIx32, vmdk->descriptor.cid);
    return block_child_write(node->file, vmdk->descriptor_offset + (uint64_t)(at - text), digits,
                             8);
}

static int flush_extent(VmdkExtent *extent)
{
    int result = 0;
    if (extent->tables && table_cache_is_dirty(extent->tables)) {
        result = mapped_lengthen(extent->child, extent->end);
        if (result == 0) {
            result = block_child_flush(extent->child);
        }
        if (result == 0) {
            result = table_cache_flush(extent->tables);
        }
    }
    /* io.c flushes node->file. */
    return result == 0 && extent->owns_child ? block_child_flush(extent->child) : result;
}

static int vmdk_flush(BlockNode *node)
{
    Vmdk *vmdk = node->state;
    LOCK_GUARD(&vmdk->mapped.lock);
    int first_error = 0;
    if (vmdk->has_new_content) {
        first_error = renew_cid(node, vmdk);
        vmdk->has_new_content = false;
    }
    for (unsigned i = 0; i < vmdk->extents->len; i++) {
        int result = flush_extent(&g_array_index(vmdk->extents, VmdkExtent, i));
        first_error = first_error ? first_error : result;
    }
    return first_error;
}

static int vmdk_close(BlockNode *node)
{
    int result = node->flags & BLOCK_OPEN_WRITABLE ? vmdk_flush(node) : 0;
    vmdk_free(node->state);
    return result;
}

static void note_write(Vmdk *vmdk)
{
    LOCK_GUARD(&vmdk->mapped.lock);
    vmdk->has_new_content = true;
}

static int vmdk_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    note_write(node->state);
    return mapped_write(node, offset, length, vec, skip);
}

/* Whole grains become zero grains where the extent knows such. */
static int vmdk_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    Vmdk *vmdk = node->state;
    if (mapped_write_zeroes(node, offset, length, flags) == 0) {
        return 0;
    }
    note_write(vmdk);
    while (length > 0) {
        VmdkExtent *extent = extent_at(vmdk, offset);
        uint64_t start, bytes;
        grain_around(node, offset, &start, &bytes);
        if (extent->kind != VMDK_SPARSE || start != offset || length < bytes ||
            !(extent->header.flags & VMDK_FLAG_ZERO_GRAINS)) {
            return -ENOTSUP;
        }
        pthread_mutex_lock(&vmdk->mapped.lock);
        int result = vmdk_extent_set_zero(extent, offset - extent->start);
        pthread_mutex_unlock(&vmdk->mapped.lock);
        if (result < 0) {
            return result;
        }
        offset += bytes;
        length -= bytes;
    }
    mapped_forget_unpacked(&vmdk->mapped);
    return 0;
}

/* Marker and stream of one grain; @bytes of @buf, zeroes behind. (malloc'ed) */
static uint8_t *pack(const VmdkExtent *extent, uint64_t offset, const void *buf, size_t bytes,
                     size_t *out_bytes)
{
    uLongf room = compressBound(extent->grain_bytes);
    autofree uint8_t *packed = calloc(1, round_up(MARKER_BYTES + room, VMDK_SECTOR));
    autofree uint8_t *padded = NULL;
    if (bytes < extent->grain_bytes) {
        padded = calloc(1, extent->grain_bytes);
        if (padded) {
            memcpy(padded, buf, bytes);
        }
        buf = padded;
    }
    if (!packed || !buf ||
        compress(packed + MARKER_BYTES, &room, buf, extent->grain_bytes) != Z_OK) {
        return NULL;
    }
    le64_put(packed, (offset - extent->start) / VMDK_SECTOR);
    le32_put(packed + 8, (uint32_t)room);
    memset(packed + MARKER_BYTES + room, 0,
           round_up(MARKER_BYTES + room, VMDK_SECTOR) - MARKER_BYTES - room);
    *out_bytes = round_up(MARKER_BYTES + room, VMDK_SECTOR);
    return steal_ptr(&packed);
}

static int write_packed_grain(BlockNode *node, VmdkExtent *extent, uint64_t offset, const void *buf,
                              size_t bytes)
{
    Vmdk *vmdk = node->state;
    size_t packed_bytes;
    autofree uint8_t *packed = pack(extent, offset, buf, bytes, &packed_bytes);
    if (!packed) {
        return -ENOMEM;
    }
    uint64_t host = 0;
    pthread_mutex_lock(&vmdk->mapped.lock);
    MappedPiece piece = { .length = bytes };
    int result = vmdk_extent_lookup(extent, offset - extent->start, &piece);
    if (result == 0) {
        /* A stream has each grain once. */
        result = piece.kind == MAPPED_HOLE
                     ? vmdk_extent_place(extent, offset - extent->start, packed_bytes, &host)
                     : -EIO;
    }
    pthread_mutex_unlock(&vmdk->mapped.lock);
    return result == 0 ? block_child_write(extent->child, host, packed, packed_bytes) : result;
}

static int vmdk_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    Vmdk *vmdk = node->state;
    const uint8_t *from = buf;
    if (!vmdk->is_compressed) {
        struct iovec iov = { (void *)buf, length };
        BlockVec vec = { &iov, 1 };
        return vmdk_write(node, offset, length, &vec, 0);
    }
    note_write(vmdk);
    while (length > 0) {
        uint64_t start, bytes;
        VmdkExtent *extent = extent_at(vmdk, offset);
        grain_around(node, offset, &start, &bytes);
        if (start != offset || length < bytes || extent->kind != VMDK_SPARSE ||
            !(extent->header.flags & VMDK_FLAG_MARKERS)) {
            return -EINVAL;
        }
        int result = write_packed_grain(node, extent, offset, from, bytes);
        if (result < 0) {
            return result;
        }
        offset += bytes;
        from += bytes;
        length -= bytes;
    }
    return 0;
}

static int vmdk_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    VmdkExtent *extent = extent_at(node->state, offset);
    if (extent->kind == VMDK_FLAT) {
        uint64_t within = offset - extent->start;
        return mapped_flat_status(node, offset, min_u64(length, extent->size - within),
                                  extent->child, extent->flat_offset + within, out_status);
    }
    return mapped_status(node, offset, length, out_status);
}

static int vmdk_disk_usage(BlockNode *node, uint64_t *out_bytes)
{
    const Vmdk *vmdk = node->state;
    uint64_t sum = 0;
    int result = block_node_disk_usage(node->file, &sum);
    for (unsigned i = 0; result == 0 && i < vmdk->extents->len; i++) {
        const VmdkExtent *extent = &g_array_index(vmdk->extents, VmdkExtent, i);
        uint64_t bytes = 0;
        result = extent->owns_child ? block_node_disk_usage(extent->child, &bytes) : 0;
        sum += bytes;
    }
    *out_bytes = sum;
    return result;
}

static bool vmdk_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    const Vmdk *vmdk = node->state;
    const VmdkExtent *first =
        vmdk->extents->len ? &g_array_index(vmdk->extents, VmdkExtent, 0) : NULL;
    info->cluster_size = first && first->kind == VMDK_SPARSE ? first->grain_bytes : 0;
    info->is_compressed = vmdk->is_compressed;
    block_fact_number(info->facts, "cid", vmdk->descriptor.cid);
    block_fact_number(info->facts, "parent-cid", vmdk->descriptor.parent_cid);
    block_fact_text(info->facts, "create-type", vmdk->descriptor.create_type);
    GPtrArray *list = block_fact_list(info->facts, "extents");
    for (unsigned i = 0; i < vmdk->extents->len; i++) {
        const VmdkExtent *extent = &g_array_index(vmdk->extents, VmdkExtent, i);
        GArray *facts = block_fact_list_add(list);
        if (extent->kind == VMDK_SPARSE && extent->header.flags & VMDK_FLAG_COMPRESSED) {
            block_fact_bool(facts, "compressed", true);
        }
        block_fact_number(facts, "virtual-size", (int64_t)extent->size);
        block_fact_text(facts, "filename", extent->filename ? extent->filename : "");
        if (extent->kind == VMDK_SPARSE) {
            block_fact_number(facts, "cluster-size", (int64_t)extent->grain_bytes);
        }
        block_fact_text(facts, "format", extent->type);
    }
    return true;
}

static int check_extent(const Vmdk *vmdk, VmdkExtent *extent, BlockCheck *check)
{
    uint64_t file_bytes;
    int result = block_child_size(extent->child, &file_bytes);
    for (uint64_t offset = 0; result == 0 && offset < extent->size;) {
        MappedPiece piece = { .length = extent->size - offset };
        result = vmdk_extent_lookup(extent, offset, &piece);
        bool has_place = piece.kind == MAPPED_DATA || piece.kind == MAPPED_PACKED;
        if (result == 0 && has_place && piece.host >= file_bytes) {
            check->corruptions++;
            if (check->report) {
                g_autofree char *text =
                    g_strdup_printf("ERROR: cluster offset after file for sector %" PRIu64,
                                    (extent->start + offset) / VMDK_SECTOR);
                check->report(check->opaque, text);
            }
        }
        offset += piece.length;
    }
    return result;
}

static int vmdk_check(BlockNode *node, BlockCheck *check, unsigned fix)
{
    Vmdk *vmdk = node->state;
    if (fix) {
        return -ENOTSUP;
    }
    LOCK_GUARD(&vmdk->mapped.lock);
    int result = 0;
    for (unsigned i = 0; result == 0 && i < vmdk->extents->len; i++) {
        VmdkExtent *extent = &g_array_index(vmdk->extents, VmdkExtent, i);
        result = extent->kind == VMDK_SPARSE ? check_extent(vmdk, extent, check) : 0;
    }
    return result;
}

const BlockDriver block_driver_vmdk = {
    .name = "vmdk",
    .has_backing = true,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .read = mapped_read,
    .write = vmdk_write,
    .write_zeroes = vmdk_write_zeroes,
    .flush = vmdk_flush,
    .status = vmdk_status,
    .write_compressed = vmdk_write_compressed,
    .disk_usage = vmdk_disk_usage,
    .get_info = vmdk_get_info,
    .check = vmdk_check,
    .create_options = vmdk_create_options,
    .create = vmdk_create,
    .create_files = vmdk_create_files,
};
