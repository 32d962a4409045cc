/* The directory of qcow2's persistent bitmaps: reading with every field checked, and replacing.
 *
 * Implements "Bitmaps extension" and "Bitmaps" of docs/interop/qcow2.txt (QEMU 7.2).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/bitmap.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u

void qcow2_bitmap_free(Qcow2Bitmap *bitmap)
{
    if (bitmap) {
        g_free(bitmap->name);
        g_free(bitmap->extra);
        g_free(bitmap);
    }
}

Qcow2Bitmap *qcow2_bitmap_find(const Qcow2 *q, const char *name)
{
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        if (strcmp(bitmap->name, name) == 0) {
            return bitmap;
        }
    }
    return NULL;
}

bool qcow2_bitmap_is_usable(const Qcow2Bitmap *bitmap)
{
    return !(bitmap->flags & QCOW2_BITMAP_IN_USE) &&
           (!bitmap->extra_length || bitmap->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE);
}

/* Reading */

static bool invalid(GError **error, const char *name, const char *why)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                "qcow2: the bitmap directory is invalid: bitmap '%s': %s", name, why);
    return false;
}

/* Bytes of data that a bitmap of the whole disk needs. */
static uint64_t bytes_needed(const Qcow2 *q, unsigned granularity_bits)
{
    return div_round_up(div_round_up(q->header.size, 1ull << granularity_bits), 8);
}

static bool check_entry(const Qcow2 *q, const Qcow2Bitmap *bitmap, GError **error)
{
    uint64_t bytes = (uint64_t)bitmap->table_entries << q->cluster_bits;
    if (bitmap->table_entries == 0 || bitmap->table_offset == 0 ||
        qcow2_in_cluster(q, bitmap->table_offset) ||
        !range_fits(bitmap->table_offset, bitmap->table_entries * 8ull, 1ull << 56)) {
        return invalid(error, bitmap->name, "its table is misplaced");
    }
    if (bytes > QCOW2_BITMAP_BYTES_MAX) {
        return invalid(error, bitmap->name, "it is larger than 512 MiB");
    }
    if (bitmap->granularity_bits < QCOW2_BITMAP_GRANULARITY_BITS_MIN ||
        bitmap->granularity_bits > QCOW2_BITMAP_GRANULARITY_BITS_MAX) {
        return invalid(error, bitmap->name, "its granularity is out of range");
    }
    if (bitmap->flags & ~(uint32_t)QCOW2_BITMAP_FLAGS_KNOWN) {
        return invalid(error, bitmap->name, "it has flags that are not known");
    }
    if (qcow2_bitmap_is_usable(bitmap) && bytes < bytes_needed(q, bitmap->granularity_bits)) {
        return invalid(error, bitmap->name, "it does not cover the disk");
    }
    return true;
}

/* The entry at @raw, with @left bytes of the directory behind it. */
static Qcow2Bitmap *read_entry(const Qcow2 *q, const uint8_t *raw, uint64_t left,
                               uint64_t *out_length, GError **error)
{
    uint32_t name_length = left >= QCOW2_B_LENGTH ? be16_get(raw + QCOW2_B_NAME_LENGTH) : 0;
    uint32_t extra_length = left >= QCOW2_B_LENGTH ? be32_get(raw + QCOW2_B_EXTRA_LENGTH) : 0;
    uint64_t length = QCOW2_B_LENGTH + (uint64_t)extra_length + name_length;
    if (name_length == 0 || name_length > QCOW2_BITMAP_NAME_MAX || length > left) {
        invalid(error, "?", "its entry is cut off or has no name");
        return NULL;
    }
    Qcow2Bitmap *bitmap = g_new0(Qcow2Bitmap, 1);
    bitmap->table_offset = be64_get(raw + QCOW2_B_TABLE_OFFSET);
    bitmap->table_entries = be32_get(raw + QCOW2_B_TABLE_ENTRIES);
    bitmap->flags = be32_get(raw + QCOW2_B_FLAGS);
    bitmap->granularity_bits = raw[QCOW2_B_GRANULARITY_BITS];
    bitmap->extra_length = extra_length;
    bitmap->extra = extra_length ? g_memdup2(raw + QCOW2_B_LENGTH, extra_length) : NULL;
    bitmap->name = g_strndup((const char *)raw + QCOW2_B_LENGTH + extra_length, name_length);
    *out_length = MIN(round_up(length, 8), left);
    bool is_fine = check_entry(q, bitmap, error);
    if (is_fine && raw[QCOW2_B_TYPE] != QCOW2_BITMAP_DIRTY_TRACKING) {
        is_fine = invalid(error, bitmap->name, "its type is not known");
    } else if (is_fine && (strlen(bitmap->name) != name_length ||
                           !g_utf8_validate(bitmap->name, name_length, NULL))) {
        is_fine = invalid(error, bitmap->name, "its name is no text");
    }
    if (!is_fine) {
        g_clear_pointer(&bitmap, qcow2_bitmap_free);
    }
    return bitmap;
}

static GPtrArray *read_all(const Qcow2 *q, const uint8_t *raw, uint64_t length, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)qcow2_bitmap_free);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    for (uint64_t at = 0; at < length;) {
        uint64_t used;
        Qcow2Bitmap *bitmap = read_entry(q, raw + at, length - at, &used, error);
        if (!bitmap) {
            return NULL;
        }
        g_ptr_array_add(list, bitmap);
        if (!g_hash_table_add(names, bitmap->name)) {
            invalid(error, bitmap->name, "it is there twice");
            return NULL;
        }
        at += used;
    }
    if (list->len != q->header.bitmap_count) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "qcow2: the bitmap directory is invalid: it has %u bitmaps, the header says %u",
                    list->len, q->header.bitmap_count);
        return NULL;
    }
    return g_steal_pointer(&list);
}

bool qcow2_bitmaps_read(Qcow2 *q, GError **error)
{
    uint64_t length = q->header.bitmap_directory_size;
    if (!q->header.has_bitmaps) {
        return true;
    }
    g_autofree uint8_t *raw = g_try_malloc(length);
    int rc = raw ? block_child_read(q->node->file, q->header.bitmap_directory_offset, raw, length)
                 : -ENOMEM;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot read the bitmap directory");
        return false;
    }
    q->bitmaps = read_all(q, raw, length, error);
    return q->bitmaps != NULL;
}

int qcow2_bitmap_table(Qcow2 *q, const Qcow2Bitmap *bitmap, uint64_t **out_table)
{
    uint64_t bytes = bitmap->table_entries * 8ull;
    g_autofree uint64_t *table = g_try_malloc(bytes);
    int rc = table ? block_child_read(q->node->file, bitmap->table_offset, table, bytes) : -ENOMEM;
    for (uint32_t i = 0; i < bitmap->table_entries && rc == 0; i++) {
        uint64_t entry = table[i] = be64_get(&table[i]);
        if (entry & QCOW2_BITMAP_ENTRY_RESERVED ||
            qcow2_in_cluster(q, entry & ~QCOW2_BITMAP_ALL_ONES) ||
            (entry & QCOW2_BITMAP_ALL_ONES && entry != QCOW2_BITMAP_ALL_ONES)) {
            return -EINVAL;
        }
    }
    *out_table = rc < 0 ? NULL : g_steal_pointer(&table);
    return rc;
}

void qcow2_bitmap_release(Qcow2 *q, const Qcow2Bitmap *bitmap)
{
    g_autofree uint64_t *table = NULL;
    if (qcow2_bitmap_table(q, bitmap, &table) == 0) {
        for (uint32_t i = 0; i < bitmap->table_entries; i++) {
            if (table[i] & QCOW2_OFFSET_MASK) {
                qcow2_free_later(q, table[i] & QCOW2_OFFSET_MASK, q->cluster_size);
            }
        }
    }
    qcow2_free_later(q, bitmap->table_offset, bitmap->table_entries * 8ull);
}

/* Writing */

static uint64_t entry_size(const Qcow2Bitmap *bitmap)
{
    return round_up(QCOW2_B_LENGTH + (uint64_t)bitmap->extra_length + strlen(bitmap->name), 8);
}

uint64_t qcow2_bitmaps_size(const GPtrArray *bitmaps)
{
    uint64_t bytes = 0;
    for (guint i = 0; i < bitmaps->len; i++) {
        bytes += entry_size(bitmaps->pdata[i]);
    }
    return bytes;
}

static void put_entry(uint8_t *raw, const Qcow2Bitmap *bitmap)
{
    size_t name_length = strlen(bitmap->name);
    be64_put(raw + QCOW2_B_TABLE_OFFSET, bitmap->table_offset);
    be32_put(raw + QCOW2_B_TABLE_ENTRIES, bitmap->table_entries);
    be32_put(raw + QCOW2_B_FLAGS, bitmap->flags);
    raw[QCOW2_B_TYPE] = QCOW2_BITMAP_DIRTY_TRACKING;
    raw[QCOW2_B_GRANULARITY_BITS] = bitmap->granularity_bits;
    be16_put(raw + QCOW2_B_NAME_LENGTH, (uint16_t)name_length);
    be32_put(raw + QCOW2_B_EXTRA_LENGTH, bitmap->extra_length);
    if (bitmap->extra_length) {
        memcpy(raw + QCOW2_B_LENGTH, bitmap->extra, bitmap->extra_length);
    }
    memcpy(raw + QCOW2_B_LENGTH + bitmap->extra_length, bitmap->name, name_length);
}

static uint8_t *format_directory(const GPtrArray *bitmaps, uint64_t bytes)
{
    uint8_t *raw = g_try_malloc0(bytes);
    for (guint i = 0, at = 0; raw && i < bitmaps->len; i++) {
        put_entry(raw + at, bitmaps->pdata[i]);
        at += entry_size(bitmaps->pdata[i]);
    }
    return raw;
}

int qcow2_bitmaps_write_flags(Qcow2 *q)
{
    uint64_t bytes = qcow2_bitmaps_size(q->bitmaps);
    if (bytes != q->header.bitmap_directory_size) {
        return -EINVAL; /* the last entry is not padded: not what anybody writes */
    }
    g_autofree uint8_t *raw = format_directory(q->bitmaps, bytes);
    int rc = raw ? block_child_write(q->node->file, q->header.bitmap_directory_offset, raw, bytes)
                 : -ENOMEM;
    return rc < 0 ? rc : block_child_flush(q->node->file);
}

/* Writes the directory to new clusters. */
static int place_directory(Qcow2 *q, const GPtrArray *bitmaps, uint64_t bytes, uint64_t *out_offset)
{
    uint64_t whole = round_up(bytes, q->cluster_size);
    bytes = round_up(bytes, SECTOR);
    g_autofree uint8_t *raw = format_directory(bitmaps, bytes);
    int64_t offset = raw ? qcow2_alloc_exact(q, whole >> q->cluster_bits) : -ENOMEM;
    if (offset < 0) {
        return (int)offset;
    }
    q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + whole);
    int rc = block_child_write(q->node->file, (uint64_t)offset, raw, bytes);
    if (rc < 0) {
        (void)!qcow2_free_now(q, (uint64_t)offset, whole);
    }
    *out_offset = (uint64_t)offset;
    return rc;
}

static int switch_to(Qcow2 *q, uint32_t count, uint64_t offset, uint64_t bytes)
{
    Qcow2Header *header = &q->header;
    const Qcow2Header old = *header;
    header->bitmap_count = count;
    header->bitmap_directory_offset = offset;
    header->bitmap_directory_size = bytes;
    header->has_bitmaps = count > 0;
    header->lost_bitmaps = false;
    header->autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
    header->autoclear |= count ? QCOW2_AUTOCLEAR_BITMAPS : 0;
    int rc = qcow2_header_write(q, false);
    if (rc < 0) {
        *header = old;
    }
    return rc;
}

int qcow2_bitmaps_replace(Qcow2 *q, GPtrArray *bitmaps)
{
    g_autoptr(GPtrArray) list = bitmaps;
    uint64_t bytes = qcow2_bitmaps_size(list), offset = 0;
    uint64_t old_offset = q->header.bitmap_directory_offset;
    uint64_t old_bytes = q->header.has_bitmaps ? q->header.bitmap_directory_size : 0;
    if (bytes > QCOW2_BITMAP_DIRECTORY_BYTES_MAX) {
        return -EFBIG;
    }
    int rc = list->len ? place_directory(q, list, bytes, &offset) : 0;
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        return rc;
    }
    rc = switch_to(q, list->len, offset, bytes);
    if (rc < 0) {
        if (offset && !q->is_corrupt) {
            (void)!qcow2_free_now(q, offset, round_up(bytes, q->cluster_size));
        }
        return rc;
    }
    if (old_bytes) {
        qcow2_free_later(q, old_offset, old_bytes);
    }
    g_clear_pointer(&q->bitmaps, g_ptr_array_unref);
    q->bitmaps = g_steal_pointer(&list);
    return 0;
}
