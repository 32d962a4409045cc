/* The qcow2 header and its extensions: reading with every field checked.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

static bool corrupt(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static bool corrupt(GError **error, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "qcow2: %s", text);
    return false;
}

static bool unsupported(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static bool unsupported(GError **error, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "qcow2: %s", text);
    return false;
}

static void read_fields(Qcow2Header *header, const uint8_t *raw)
{
    header->backing_offset = be64_get(raw + QCOW2_H_BACKING_OFFSET);
    header->backing_length = be32_get(raw + QCOW2_H_BACKING_SIZE);
    header->cluster_bits = be32_get(raw + QCOW2_H_CLUSTER_BITS);
    header->size = be64_get(raw + QCOW2_H_SIZE);
    header->crypt = be32_get(raw + QCOW2_H_CRYPT);
    header->l1_size = be32_get(raw + QCOW2_H_L1_SIZE);
    header->l1_offset = be64_get(raw + QCOW2_H_L1_OFFSET);
    header->reftable_offset = be64_get(raw + QCOW2_H_REFTABLE_OFFSET);
    header->reftable_clusters = be32_get(raw + QCOW2_H_REFTABLE_CLUSTERS);
    header->snapshot_count = be32_get(raw + QCOW2_H_SNAPSHOTS);
    header->snapshots_offset = be64_get(raw + QCOW2_H_SNAPSHOTS_OFFSET);
    header->refcount_order = 4;
    header->header_length = QCOW2_H_V2_LENGTH;
    if (header->version >= 3) {
        header->incompatible = be64_get(raw + QCOW2_H_INCOMPATIBLE);
        header->compatible = be64_get(raw + QCOW2_H_COMPATIBLE);
        header->autoclear = be64_get(raw + QCOW2_H_AUTOCLEAR);
        header->refcount_order = be32_get(raw + QCOW2_H_REFCOUNT_ORDER);
        header->header_length = be32_get(raw + QCOW2_H_LENGTH);
    }
}

static bool check_features(Qcow2Header *header, const uint8_t *raw, unsigned flags, GError **error)
{
    uint64_t unknown = header->incompatible & ~(uint64_t)QCOW2_INCOMPATIBLE_KNOWN;
    if (unknown) {
        return unsupported(error,
                           "incompatible features 0x%" G_GINT64_MODIFIER
                           "x are not known; the image needs a newer program",
                           unknown);
    }
    bool has_compression = header->incompatible & QCOW2_INCOMPATIBLE_COMPRESSION;
    if (header->header_length > QCOW2_H_COMPRESSION) {
        header->compression = raw[QCOW2_H_COMPRESSION];
    }
    if (has_compression != (header->compression != QCOW2_COMPRESSION_ZLIB)) {
        return corrupt(error, "the compression type bit does not fit compression type %u",
                       header->compression);
    }
    if (header->compression > QCOW2_COMPRESSION_ZSTD) {
        return unsupported(error, "compression type %u is not known", header->compression);
    }
    bool is_corrupt = header->incompatible & QCOW2_INCOMPATIBLE_CORRUPT;
    if (is_corrupt && (flags & BLOCK_OPEN_WRITABLE) && !(flags & BLOCK_OPEN_REPAIR)) {
        return corrupt(error, "Image is corrupt; cannot be opened read/write; "
                              "repair it with 'lodge-img check -r all'");
    }
    return true;
}

/* Whether a table of @length bytes at @offset may be: aligned, and within 2^56. */
static bool table_fits(const Qcow2Header *header, uint64_t offset, uint64_t length)
{
    uint64_t mask = (1ull << header->cluster_bits) - 1;
    return (offset & mask) == 0 && range_fits(offset, length, 1ull << 56);
}

static bool check_geometry(const Qcow2Header *header, GError **error)
{
    if (header->cluster_bits < QCOW2_CLUSTER_BITS_MIN ||
        header->cluster_bits > QCOW2_CLUSTER_BITS_MAX) {
        return corrupt(error, "Unsupported cluster size: 2^%u", header->cluster_bits);
    }
    uint64_t cluster_size = 1ull << header->cluster_bits;
    if ((header->incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2) &&
        cluster_size / QCOW2_SUBCLUSTERS < QCOW2_SUBCLUSTER_SIZE_MIN) {
        return corrupt(error, "extended L2 entries need clusters of 16 KiB or more");
    }
    if (header->header_length <
            (header->version >= 3 ? QCOW2_H_V3_MIN_LENGTH : QCOW2_H_V2_LENGTH) ||
        header->header_length > cluster_size) {
        return corrupt(error, "header length %u is wrong", header->header_length);
    }
    if (header->refcount_order > 6) {
        return corrupt(error, "Reference count entry width too large; may not exceed 64 bits");
    }
    if (header->size > INT64_MAX - cluster_size) {
        return corrupt(error, "the size %" G_GUINT64_FORMAT " is too large", header->size);
    }
    return true;
}

/* A repair makes a table where there is none, which is reftable_clusters 0. */
static bool check_reftable(Qcow2Header *header, unsigned flags, GError **error)
{
    uint64_t bytes = (uint64_t)header->reftable_clusters << header->cluster_bits;
    if (flags & BLOCK_OPEN_REPAIR && (!header->reftable_clusters || !header->reftable_offset)) {
        header->reftable_offset = header->reftable_clusters = 0;
        return true;
    }
    if (header->reftable_clusters == 0) {
        return corrupt(error, "Image does not contain a reference count table; "
                              "make one with 'lodge-img check -r all'");
    }
    if (bytes > MAX(QCOW2_REFTABLE_BYTES_MAX, 1ull << header->cluster_bits)) {
        return corrupt(error, "Reference count table too large");
    }
    if (header->reftable_offset == 0 || !table_fits(header, header->reftable_offset, bytes)) {
        return corrupt(error, "Reference count table offset invalid");
    }
    return true;
}

static bool check_tables(Qcow2Header *header, unsigned flags, GError **error)
{
    if (header->l1_size > QCOW2_L1_BYTES_MAX / 8) {
        return corrupt(error, "Active L1 table too large");
    }
    bool is_extended = header->incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2;
    unsigned l2_bits = header->cluster_bits - (is_extended ? 4 : 3);
    uint64_t needed = div_round_up(header->size, 1ull << (header->cluster_bits + l2_bits));
    if (header->l1_size < needed) {
        return corrupt(error, "L1 table is too small");
    }
    if (header->l1_size && !table_fits(header, header->l1_offset, header->l1_size * 8ull)) {
        return corrupt(error, "L1 table offset invalid");
    }
    if (!check_reftable(header, flags, error)) {
        return false;
    }
    if (header->snapshot_count > QCOW2_SNAPSHOTS_MAX) {
        return corrupt(error, "Snapshot table too large");
    }
    if (header->snapshot_count && !table_fits(header, header->snapshots_offset, 40)) {
        return corrupt(error, "Snapshot table offset invalid");
    }
    return true;
}

static bool take_bitmaps(Qcow2Header *header, const uint8_t *data, uint32_t length, GError **error)
{
    if (length != 24) {
        return corrupt(error, "the bitmaps extension has %u bytes, not 24", length);
    }
    header->bitmap_count = be32_get(data);
    header->bitmap_directory_size = be64_get(data + 8);
    header->bitmap_directory_offset = be64_get(data + 16);
    if (!(header->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        header->lost_bitmaps = true;
        return true;
    }
    if (header->bitmap_count == 0 || header->bitmap_count > QCOW2_BITMAPS_MAX ||
        be32_get(data + 4) != 0 || header->bitmap_directory_size == 0 ||
        header->bitmap_directory_size > QCOW2_BITMAP_DIRECTORY_BYTES_MAX ||
        header->bitmap_directory_offset == 0 ||
        !table_fits(header, header->bitmap_directory_offset, header->bitmap_directory_size)) {
        return corrupt(error, "the bitmap directory is invalid");
    }
    header->has_bitmaps = true;
    return true;
}

static bool take_extension(Qcow2Header *header, uint32_t type, const uint8_t *data, uint32_t length,
                           GError **error)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        if (length >= 64) {
            return corrupt(error, "the name of the backing format is too long");
        }
        g_free(header->backing_format);
        header->backing_format = g_strndup((const char *)data, length);
        return true;
    case QCOW2_EXT_DATA_FILE:
        g_free(header->data_file_name);
        header->data_file_name = g_strndup((const char *)data, length);
        return true;
    case QCOW2_EXT_BITMAPS:
        return take_bitmaps(header, data, length, error);
    case QCOW2_EXT_CRYPT:
        if (length != 16) {
            return corrupt(error, "the encryption header extension has %u bytes, not 16", length);
        }
        header->crypt_offset = be64_get(data);
        header->crypt_length = be64_get(data + 8);
        return true;
    case QCOW2_EXT_FEATURE_NAMES:
        return true; /* written anew */
    default: {
        Qcow2Extension extension = { type, length, g_memdup2(data, length) };
        g_array_append_val(header->unknown, extension);
        return true;
    }
    }
}

/* @raw: the first cluster, of @length bytes. */
static bool read_extensions(Qcow2Header *header, const uint8_t *raw, size_t length, GError **error)
{
    size_t end = length;
    if (header->backing_offset && header->backing_offset < end) {
        end = header->backing_offset;
    }
    size_t at = header->header_length;
    while (at + 8 <= end) {
        uint32_t type = be32_get(raw + at), size = be32_get(raw + at + 4);
        if (type == QCOW2_EXT_END) {
            return true;
        }
        at += 8;
        if (size > end - at) {
            return corrupt(error, "Header extension too large");
        }
        if (!take_extension(header, type, raw + at, size, error)) {
            return false;
        }
        at += round_up(size, 8);
    }
    return true;
}

static bool read_backing_name(Qcow2Header *header, const uint8_t *raw, size_t length,
                              GError **error)
{
    if (!header->backing_offset) {
        return true;
    }
    if (header->backing_length > QCOW2_BACKING_NAME_MAX ||
        !range_fits(header->backing_offset, header->backing_length, length)) {
        return corrupt(error, "Backing file name too long or outside the first cluster");
    }
    if (header->backing_length) {
        header->backing_name =
            g_strndup((const char *)raw + header->backing_offset, header->backing_length);
    }
    return true;
}

void qcow2_header_clear(Qcow2Header *header)
{
    for (unsigned i = 0; header->unknown && i < header->unknown->len; i++) {
        g_free(g_array_index(header->unknown, Qcow2Extension, i).data);
    }
    g_clear_pointer(&header->unknown, g_array_unref);
    g_clear_pointer(&header->backing_name, g_free);
    g_clear_pointer(&header->backing_format, g_free);
    g_clear_pointer(&header->data_file_name, g_free);
}

static bool read_checked(BlockNode *node, Qcow2Header *header, unsigned flags, GError **error)
{
    uint8_t raw[QCOW2_H_V3_LENGTH];
    int rc = block_child_read(node->file, 0, raw, sizeof(raw));
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "cannot read the qcow2 header");
        return false;
    }
    if (be32_get(raw + QCOW2_H_MAGIC) != QCOW2_MAGIC) {
        return corrupt(error, "Image is not in qcow2 format");
    }
    header->version = be32_get(raw + QCOW2_H_VERSION);
    if (header->version != 2 && header->version != 3) {
        return unsupported(error, "Unsupported qcow2 version %u", header->version);
    }
    read_fields(header, raw);
    if (!check_geometry(header, error) || !check_features(header, raw, flags, error) ||
        !check_tables(header, flags, error)) {
        return false;
    }
    size_t length = (size_t)1 << header->cluster_bits;
    g_autofree uint8_t *cluster = g_malloc(length);
    rc = block_child_read(node->file, 0, cluster, length);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "cannot read the qcow2 header");
        return false;
    }
    return read_extensions(header, cluster, length, error) &&
           read_backing_name(header, cluster, length, error);
}

bool qcow2_header_read(BlockNode *node, Qcow2Header *header, unsigned flags, GError **error)
{
    memset(header, 0, sizeof(*header));
    header->unknown = g_array_new(FALSE, FALSE, sizeof(Qcow2Extension));
    if (!read_checked(node, header, flags, error)) {
        qcow2_header_clear(header);
        return false;
    }
    return true;
}
