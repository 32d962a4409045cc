/* Creating qcow2 images, with all of their metadata laid out in one go, and measuring them.
 *
 * Layout: header, refcount table, refcount blocks, L1 table; preallocated images go on with all L2
 * tables and then the data. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

const BlockCreateOption qcow2_create_options[] = {
    { "encrypt.format", BLOCK_OPTION_TEXT, "Encrypt the image (allowed values: luks, aes)", false },
    LUKS_OPTIONS("encrypt."),
    { "cluster_size", BLOCK_OPTION_SIZE, "qcow2 cluster size", false, .standard = "65536" },
    { "extended_l2", BLOCK_OPTION_BOOL, "Extended L2 tables", false, .standard = "off" },
    { "preallocation", BLOCK_OPTION_TEXT,
      "Preallocation mode (allowed values: off, metadata, falloc, full)", false },
    { "compression_type", BLOCK_OPTION_TEXT,
      "Compression method used for image cluster compression", false, .standard = "zlib" },
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", true },
    { "compat", BLOCK_OPTION_TEXT, "Compatibility level (v2 [0.10] or v3 [1.1])", true },
    { "backing_file", BLOCK_OPTION_TEXT, "File name of a base image", true },
    { "backing_fmt", BLOCK_OPTION_TEXT, "Image format of the base image", true },
    { "data_file", BLOCK_OPTION_TEXT, "File name of an external data file", true },
    { "data_file_raw", BLOCK_OPTION_BOOL, "The external data file must stay valid as a raw image",
      true },
    { "lazy_refcounts", BLOCK_OPTION_BOOL, "Postpone refcount updates", true, .standard = "off" },
    { "refcount_bits", BLOCK_OPTION_NUMBER, "Width of a reference count entry in bits", true,
      .standard = "16" },
    BLOCK_FILE_CREATE_OPTIONS,
    { NULL },
};

typedef struct Layout {
    Qcow2Header header;
    BlockPreallocation preallocation;
    uint64_t cluster_size, l2_entry_size, refblock_entries;
    uint64_t data_clusters;   /* preallocated in the image itself */
    uint64_t mapped_clusters; /* with L2 entries */
    uint64_t reftable_clusters, refblocks, l1_clusters, l2_tables;
    uint64_t refblocks_at, l1_at, l2_at, data_at, end; /* clusters */
} Layout;

static bool invalid(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static bool invalid(GError **error, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, text);
    return false;
}

static bool take_version(Layout *layout, const BlockSpec *options, GError **error)
{
    const char *compat = block_spec_get(options, "compat");
    Qcow2Header *header = &layout->header;
    header->version = 3;
    if (compat && (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0)) {
        header->version = 2;
    } else if (compat && strcmp(compat, "1.1") != 0 && strcmp(compat, "v3") != 0) {
        return invalid(error, "Invalid compatibility level '%s'; supported: 0.10, 1.1", compat);
    }
    header->header_length = header->version >= 3 ? QCOW2_H_V3_LENGTH : QCOW2_H_V2_LENGTH;
    return true;
}

static bool take_geometry(Layout *layout, const BlockSpec *options, GError **error)
{
    uint64_t cluster_size = 65536, refcount_bits = 16;
    bool is_extended = false;
    Qcow2Header *header = &layout->header;
    if (!block_spec_get_size(options, "size", &header->size, error) ||
        !block_spec_get_bool(options, "extended_l2", &is_extended, error)) {
        return false;
    }
    if (!block_spec_get_size(options, "cluster_size", &cluster_size, error) ||
        !block_spec_get_size(options, "refcount_bits", &refcount_bits, error)) {
        return false;
    }
    if (!is_power_of_two(cluster_size) || cluster_size < 512 || cluster_size > 2 << 20) {
        return invalid(error, "Cluster size must be a power of two between 512 and 2048k");
    }
    if (!is_power_of_two(refcount_bits) || refcount_bits > 64) {
        return invalid(error, "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (header->version < 3 && refcount_bits != 16) {
        return invalid(error, "Different refcount widths than 16 bits require compatibility level "
                              "1.1 or above (use compat=1.1 or greater)");
    }
    if (is_extended && header->version < 3) {
        return invalid(error, "Extended L2 entries are only supported with compatibility level 1.1 "
                              "and above (use version=v3 or greater)");
    }
    if (is_extended && cluster_size / QCOW2_SUBCLUSTERS < QCOW2_SUBCLUSTER_SIZE_MIN) {
        return invalid(error, "Extended L2 entries require a cluster size of at least 16384 bytes");
    }
    header->size = round_up(MIN(header->size, (uint64_t)INT64_MAX), 512);
    header->cluster_bits = (uint32_t)g_bit_nth_lsf(cluster_size, -1);
    header->refcount_order = (uint32_t)g_bit_nth_lsf(refcount_bits, -1);
    header->incompatible |= is_extended ? QCOW2_INCOMPATIBLE_EXTENDED_L2 : 0;
    layout->cluster_size = cluster_size;
    layout->l2_entry_size = is_extended ? 16 : 8;
    layout->refblock_entries = cluster_size * 8 / refcount_bits;
    return true;
}

static bool take_compression(Layout *layout, const BlockSpec *options, GError **error)
{
    const char *type = block_spec_get(options, "compression_type");
    Qcow2Header *header = &layout->header;
    if (!type || strcmp(type, "zlib") == 0) {
        return true;
    }
    if (strcmp(type, "zstd") != 0) {
        return invalid(error, "Invalid compression type '%s'; supported: zlib, zstd", type);
    }
    if (header->version < 3) {
        return invalid(error,
                       "Non-zlib compression type is only supported with compatibility level "
                       "1.1 and above (use version=v3 or greater)");
    }
    header->compression = QCOW2_COMPRESSION_ZSTD;
    header->incompatible |= QCOW2_INCOMPATIBLE_COMPRESSION;
    return true;
}

static bool take_files(Layout *layout, const BlockSpec *options, GError **error)
{
    bool is_raw = false, is_lazy = false;
    Qcow2Header *header = &layout->header;
    const char *data_file = block_spec_get(options, "data_file");
    if (!block_spec_get_bool(options, "data_file_raw", &is_raw, error) ||
        !block_spec_get_bool(options, "lazy_refcounts", &is_lazy, error)) {
        return false;
    }
    if (header->version < 3 && (data_file || is_lazy)) {
        return invalid(error,
                       "%s only supported with compatibility level 1.1 and above "
                       "(use version=v3 or greater)",
                       data_file ? "External data files are" : "Lazy refcounts are");
    }
    if (is_raw && !data_file) {
        return invalid(error, "data-file-raw requires data-file");
    }
    if (is_raw && block_spec_get(options, "backing_file")) {
        return invalid(error, "Backing file and data-file-raw cannot be used at the same time");
    }
    header->backing_name = g_strdup(block_spec_get(options, "backing_file"));
    header->backing_format = g_strdup(block_spec_get(options, "backing_fmt"));
    if (header->backing_format && !header->backing_name) {
        return invalid(error, "Backing format cannot be used without backing file");
    }
    header->data_file_name = g_strdup(data_file);
    header->incompatible |= data_file ? QCOW2_INCOMPATIBLE_DATA_FILE : 0;
    header->compatible |= is_lazy ? QCOW2_COMPATIBLE_LAZY_REFCOUNTS : 0;
    header->autoclear |= is_raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
    return true;
}

static bool take_preallocation(Layout *layout, const BlockSpec *options, GError **error)
{
    const Qcow2Header *header = &layout->header;
    const char *mode = block_spec_get(options, "preallocation");
    if (mode && !block_preallocation_parse(mode, &layout->preallocation, error)) {
        return false;
    }
    if (header->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW &&
        layout->preallocation == BLOCK_PREALLOCATION_OFF) {
        layout->preallocation = BLOCK_PREALLOCATION_METADATA;
    }
    if (layout->preallocation != BLOCK_PREALLOCATION_OFF && header->backing_name &&
        layout->l2_entry_size != 16) {
        return invalid(error, "Backing file and preallocation can only be used at the same time if "
                              "extended_l2 is enabled");
    }
    return true;
}

/* Where everything goes. */
static bool compute(Layout *layout, GError **error)
{
    Qcow2Header *header = &layout->header;
    uint64_t cluster = layout->cluster_size;
    uint64_t l2_cover = cluster / layout->l2_entry_size * cluster;
    uint64_t l1_entries = div_round_up(header->size, l2_cover);
    if (l1_entries > QCOW2_L1_BYTES_MAX / 8) {
        return invalid(error,
                       "The image size is too large for file format 'qcow2' with clusters of "
                       "%" G_GUINT64_FORMAT " bytes; try a larger cluster size",
                       cluster);
    }
    layout->l1_clusters = MAX(div_round_up(l1_entries * 8, cluster), 1);
    if (layout->preallocation != BLOCK_PREALLOCATION_OFF) {
        layout->mapped_clusters = div_round_up(header->size, cluster);
        layout->l2_tables = l1_entries;
        layout->data_clusters = header->data_file_name ? 0 : layout->mapped_clusters;
    }
    uint64_t fixed = 1 + layout->l1_clusters + layout->l2_tables + layout->data_clusters;
    layout->refblocks = layout->reftable_clusters = 1;
    for (;;) {
        uint64_t all = fixed + layout->refblocks + layout->reftable_clusters;
        uint64_t blocks = div_round_up(all, layout->refblock_entries);
        uint64_t table = MAX(div_round_up(blocks * 8, cluster), 1);
        if (blocks <= layout->refblocks && table <= layout->reftable_clusters) {
            break;
        }
        layout->refblocks = MAX(blocks, layout->refblocks);
        layout->reftable_clusters = MAX(table, layout->reftable_clusters);
    }
    if (layout->reftable_clusters * cluster > MAX(QCOW2_REFTABLE_BYTES_MAX, cluster)) {
        return invalid(error, "The image is too large to be preallocated with this cluster size");
    }
    layout->refblocks_at = 1 + layout->reftable_clusters;
    layout->l1_at = layout->refblocks_at + layout->refblocks;
    layout->l2_at = layout->l1_at + layout->l1_clusters;
    layout->data_at = layout->l2_at + layout->l2_tables;
    layout->end = layout->data_at + layout->data_clusters;
    header->reftable_offset = cluster;
    header->reftable_clusters = (uint32_t)layout->reftable_clusters;
    header->l1_offset = layout->l1_at * cluster;
    header->l1_size = (uint32_t)l1_entries;
    return true;
}

static int write_refcounts(File *file, const Layout *layout)
{
    uint64_t cluster = layout->cluster_size;
    unsigned bits = 1u << layout->header.refcount_order;
    uint64_t table_bytes = layout->reftable_clusters * cluster;
    g_autofree uint8_t *table = g_try_malloc0(table_bytes);
    g_autofree uint8_t *block = g_malloc(cluster);
    int rc = table ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < layout->refblocks && rc == 0; i++) {
        uint64_t offset = (layout->refblocks_at + i) * cluster;
        memset(block, 0, cluster);
        for (uint64_t j = 0; j < layout->refblock_entries; j++) {
            if (i * layout->refblock_entries + j < layout->end) {
                qcow2_refcount_store(block, bits, j, 1);
            }
        }
        be64_put(table + i * 8, offset);
        rc = file_write(file, offset, block, cluster);
    }
    return rc < 0 ? rc : file_write(file, layout->header.reftable_offset, table, table_bytes);
}

static int write_l2_table(File *file, const Layout *layout, uint64_t index, uint8_t *table)
{
    uint64_t entries = layout->cluster_size / layout->l2_entry_size;
    memset(table, 0, layout->cluster_size);
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t guest = index * entries + i;
        if (guest >= layout->mapped_clusters) {
            break;
        }
        uint64_t host = layout->data_clusters ? layout->data_at + guest : guest;
        be64_put(table + i * layout->l2_entry_size, host * layout->cluster_size | QCOW2_COPIED);
        if (layout->l2_entry_size == 16) {
            be64_put(table + i * 16 + 8, layout->header.backing_name ? 0 : UINT32_MAX);
        }
    }
    return file_write(file, (layout->l2_at + index) * layout->cluster_size, table,
                      layout->cluster_size);
}

static int write_mapping(File *file, const Layout *layout)
{
    uint64_t l1_bytes = layout->l1_clusters * layout->cluster_size;
    g_autofree uint8_t *l1 = g_try_malloc0(l1_bytes);
    g_autofree uint8_t *table = g_malloc(layout->cluster_size);
    int rc = l1 ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < layout->l2_tables && rc == 0; i++) {
        be64_put(l1 + i * 8, (layout->l2_at + i) * layout->cluster_size | QCOW2_COPIED);
        rc = write_l2_table(file, layout, i, table);
    }
    return rc < 0 ? rc : file_write(file, layout->header.l1_offset, l1, l1_bytes);
}

static int reserve(File *file, uint64_t offset, uint64_t length, BlockPreallocation mode)
{
    uint64_t size;
    if (length == 0) {
        return 0;
    }
    int rc = file_size(file, &size);
    if (rc == 0 && size < offset + length && !file->is_block_device) {
        rc = file_truncate(file, offset + length);
    }
    if (rc == 0 && mode >= BLOCK_PREALLOCATION_FALLOC) {
        rc = file->ops->allocate(file, offset, length);
        rc = rc == -ENOTSUP && mode == BLOCK_PREALLOCATION_FULL ? 0 : rc;
    }
    g_autofree uint8_t *zeroes = g_malloc0(1 << 20);
    for (uint64_t at = 0; at < length && rc == 0 && mode == BLOCK_PREALLOCATION_FULL;
         at += 1 << 20) {
        rc = file_write(file, offset + at, zeroes, MIN(length - at, 1 << 20));
    }
    return rc;
}

void qcow2_create_files(const char *name, const BlockSpec *options, GPtrArray *paths)
{
    const char *data_file = block_spec_get(options, "data_file");
    g_autofree char *place = data_file ? block_backing_path(name, data_file) : NULL;
    const char *path = place ? block_name_path(place, NULL) : NULL;
    if (path) {
        g_ptr_array_add(paths, g_strdup(path));
    }
}

static bool create_data_file(const Layout *layout, const char *name, GError **error)
{
    if (!layout->header.data_file_name) {
        return true;
    }
    g_autofree char *path = block_backing_path(name, layout->header.data_file_name);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, layout->header.size);
    g_autoptr(BlockSpec) options = block_spec_new();
    block_spec_set(options, "size", size);
    if (layout->preallocation >= BLOCK_PREALLOCATION_FALLOC) {
        block_spec_set(options, "preallocation",
                       layout->preallocation == BLOCK_PREALLOCATION_FULL ? "full" : "falloc");
    }
    return block_create("raw", path, options, error);
}

static bool write_image(File *file, const Layout *layout, GError **error)
{
    g_autofree uint8_t *raw = qcow2_header_format(&layout->header, layout->cluster_size);
    if (!raw) {
        return invalid(error, "the backing file's name is too long for the first cluster");
    }
    uint64_t cluster = layout->cluster_size;
    int rc = reserve(file, layout->data_at * cluster, layout->data_clusters * cluster,
                     layout->preallocation);
    if (rc == 0) {
        rc = write_refcounts(file, layout);
    }
    if (rc == 0) {
        rc = write_mapping(file, layout);
    }
    /* The header comes last: half an image is none. */
    if (rc == 0) {
        rc = file_flush(file);
    }
    if (rc == 0) {
        rc = file_write(file, 0, raw, cluster);
    }
    if (rc == 0) {
        rc = file_flush(file);
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not write qcow2 metadata");
    }
    return rc == 0;
}

static bool plan(Layout *layout, const BlockSpec *options, GError **error)
{
    return take_version(layout, options, error) && take_geometry(layout, options, error) &&
           take_compression(layout, options, error) && take_files(layout, options, error) &&
           take_preallocation(layout, options, error) && compute(layout, error);
}

bool qcow2_create(File *file, const char *name, const BlockSpec *options, GError **error)
{
    Layout layout = { 0 };
    LuksWish wish;
    uint32_t method = QCOW2_CRYPT_NONE;
    bool ok = qcow2_crypt_wanted(options, &wish, &method, error) && plan(&layout, options, error);
    layout.header.crypt = method == QCOW2_CRYPT_AES ? QCOW2_CRYPT_AES : QCOW2_CRYPT_NONE;
    ok = ok && create_data_file(&layout, name, error) && write_image(file, &layout, error);
    qcow2_header_clear(&layout.header);
    return ok &&
           (method != QCOW2_CRYPT_LUKS || qcow2_crypt_create(file, name, &wish, options, error));
}

bool qcow2_measure(uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                   BlockMeasure *out_measure, GError **error)
{
    Layout layout = { 0 };
    bool ok = plan(&layout, options, error);
    out_measure->has_bitmaps = layout.header.version >= 3;
    qcow2_header_clear(&layout.header);
    if (!ok) {
        return false;
    }
    /* As QEMU counts: tables in whole clusters, an L1 table of whole clusters, then refcounts. */
    uint64_t cluster = layout.cluster_size, per_l2 = cluster / layout.l2_entry_size;
    uint64_t aligned = round_up(size, cluster);
    uint64_t l2_tables = div_round_up(aligned / cluster, per_l2);
    uint64_t l1_bytes = round_up(l2_tables * 8, cluster);
    uint64_t clusters = (cluster + l2_tables * cluster + l1_bytes + aligned) / cluster;
    uint64_t blocks = 0, table = 0, before;
    do {
        before = blocks + table;
        blocks = div_round_up(clusters + table + blocks, layout.refblock_entries);
        table = div_round_up(blocks, cluster / 8);
    } while (blocks + table != before);
    out_measure->fully_allocated = (clusters + blocks + table) * cluster;
    LuksWish wish;
    if (!g_strcmp0(block_spec_get(options, "encrypt.format"), "luks")) {
        if (!luks_wish_parse(options, "encrypt.", &wish, error)) {
            return false;
        }
        out_measure->fully_allocated += round_up(luks_room(&wish), cluster);
    }
    out_measure->required = out_measure->fully_allocated - aligned + MIN(data_bytes, aligned);
    return true;
}
