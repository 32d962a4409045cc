/* qcow2's persistent bitmaps in use: loading, marking, storing, adding and removing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/bitmap.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u

/* Loading */

static int load_cluster(Qcow2 *q, uint64_t entry, DirtyBitmap *bitmap, uint64_t index,
                        uint8_t *buffer)
{
    uint64_t from = index << q->cluster_bits;
    if (entry == 0) {
        return 0;
    }
    if (entry == QCOW2_BITMAP_ALL_ONES) {
        memset(buffer, 0xff, q->cluster_size);
    } else {
        int rc = block_child_read(q->node->file, entry, buffer, q->cluster_size);
        if (rc < 0) {
            return rc;
        }
    }
    dirty_bitmap_unpack(bitmap, from, buffer, q->cluster_size);
    return 0;
}

static int load_content(Qcow2 *q, const Qcow2Bitmap *from, DirtyBitmap *bitmap)
{
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *buffer = g_malloc(q->cluster_size);
    int rc = qcow2_bitmap_table(q, from, &table);
    for (uint32_t i = 0; i < from->table_entries && rc == 0; i++) {
        rc = load_cluster(q, table[i], bitmap, i, buffer);
    }
    return rc;
}

static DirtyBitmap *load_one(Qcow2 *q, const Qcow2Bitmap *from, GError **error)
{
    g_autoptr(DirtyBitmap) bitmap =
        dirty_bitmap_new(from->name, q->header.size, 1u << from->granularity_bits);
    int rc = bitmap ? 0 : -ENOMEM;
    if (rc == 0 && qcow2_bitmap_is_usable(from)) {
        rc = load_content(q, from, bitmap);
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot load bitmap '%s'", from->name);
        return NULL;
    }
    unsigned flags = DIRTY_BITMAP_PERSISTENT;
    flags |= qcow2_bitmap_is_usable(from) ? 0 : DIRTY_BITMAP_INCONSISTENT;
    flags |= q->is_writable ? 0 : DIRTY_BITMAP_READONLY;
    bool records = qcow2_bitmap_is_usable(from) && from->flags & QCOW2_BITMAP_AUTO;
    dirty_bitmap_set_flags(bitmap, flags, records ? 0 : DIRTY_BITMAP_RECORDING);
    return g_steal_pointer(&bitmap);
}

static int mark_in_use(Qcow2 *q)
{
    bool changed = false;
    for (guint i = 0; i < q->bitmaps->len; i++) {
        Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        if (qcow2_bitmap_is_usable(bitmap)) {
            bitmap->flags |= QCOW2_BITMAP_IN_USE;
            changed = true;
        }
    }
    return changed ? qcow2_bitmaps_write_flags(q) : 0;
}

static bool fits_memory(const Qcow2 *q, GError **error)
{
    uint64_t bytes = 0;
    for (guint i = 0; i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        bytes += (q->header.size >> bitmap->granularity_bits) / 8 + 512;
        if (bytes > QCOW2_BITMAPS_MEMORY_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                        "qcow2: the bitmaps of the image are too large together");
            return false;
        }
    }
    return true;
}

/* Gives the node a bitmap that was read. A node that is opened again (block_reopen()) has it
 * already, and jobs may use it: that one stays, with what the disk says about its state. */
static void hand_over(Qcow2 *q, DirtyBitmap *loaded)
{
    const unsigned of_disk = DIRTY_BITMAP_READONLY | DIRTY_BITMAP_INCONSISTENT;
    DirtyBitmap *present = block_node_find_bitmap(q->node, dirty_bitmap_name(loaded));
    if (present) {
        unsigned flags = dirty_bitmap_flags(loaded);
        dirty_bitmap_set_flags(present, flags & of_disk, ~flags & of_disk);
    } else {
        block_node_add_bitmap(q->node, loaded);
    }
}

bool qcow2_bitmaps_load(Qcow2 *q, GError **error)
{
    if (q->header.lost_bitmaps) {
        log_warn("%s: a program lacking bitmap support modified this file, so all bitmaps are "
                 "lost; 'lodge-img check -r leaks' frees their space",
                 q->node->filename);
    }
    if (!q->bitmaps) {
        return true;
    }
    if (!fits_memory(q, error)) {
        return false;
    }
    g_autoptr(GPtrArray) loaded =
        g_ptr_array_new_with_free_func((GDestroyNotify)dirty_bitmap_unref);
    for (guint i = 0; i < q->bitmaps->len; i++) {
        DirtyBitmap *bitmap = load_one(q, q->bitmaps->pdata[i], error);
        if (!bitmap) {
            return false;
        }
        g_ptr_array_add(loaded, bitmap);
    }
    int rc = q->is_writable ? mark_in_use(q) : 0;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot mark the bitmaps as in use");
        return false;
    }
    for (guint i = 0; i < loaded->len; i++) {
        hand_over(q, loaded->pdata[i]);
    }
    return true;
}

/* Storing. The lock is held. */

typedef struct Store {
    Qcow2 *q;
    GPtrArray *written; /* of Qcow2Bitmap: their clusters are new; borrowed */
    uint8_t *buffer;
} Store;

/* Writes a cluster of content if it is not uniform. */
static int store_cluster(Store *store, DirtyBitmap *bitmap, uint64_t index, uint64_t *out_entry)
{
    Qcow2 *q = store->q;
    dirty_bitmap_pack(bitmap, index << q->cluster_bits, store->buffer, q->cluster_size);
    *out_entry = 0;
    if (block_is_zero(store->buffer, q->cluster_size)) {
        return 0;
    }
    int64_t offset = qcow2_alloc_exact(q, 1);
    if (offset < 0) {
        return (int)offset;
    }
    *out_entry = (uint64_t)offset;
    q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + q->cluster_size);
    return block_child_write(q->node->file, (uint64_t)offset, store->buffer, q->cluster_size);
}

static int store_table(Store *store, uint64_t *table, Qcow2Bitmap *to)
{
    Qcow2 *q = store->q;
    uint64_t clusters = div_round_up(to->table_entries * 8ull, q->cluster_size);
    uint64_t bytes = round_up(to->table_entries * 8ull, SECTOR);
    g_autofree uint8_t *raw = g_try_malloc0(bytes);
    int64_t offset = raw ? qcow2_alloc_exact(q, clusters) : -ENOMEM;
    if (offset < 0) {
        return (int)offset;
    }
    to->table_offset = (uint64_t)offset;
    q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + (clusters << q->cluster_bits));
    for (uint32_t i = 0; i < to->table_entries; i++) {
        be64_put(raw + i * 8ull, table[i]);
    }
    return block_child_write(q->node->file, (uint64_t)offset, raw, bytes);
}

/* Gives back what nothing on disk refers to. */
static void free_content(Qcow2 *q, const uint64_t *table, uint32_t entries)
{
    for (uint32_t i = 0; i < entries; i++) {
        if (table[i]) {
            (void)!qcow2_free_now(q, table[i], q->cluster_size);
        }
    }
}

/* Writes the content of @bitmap to new clusters and fills in @to. */
static int store_content(Store *store, DirtyBitmap *bitmap, Qcow2Bitmap *to)
{
    Qcow2 *q = store->q;
    uint64_t granules = div_round_up(dirty_bitmap_size(bitmap), dirty_bitmap_granularity(bitmap));
    uint64_t entries = MAX(div_round_up(div_round_up(granules, 8), q->cluster_size), 1);
    if (entries << q->cluster_bits > QCOW2_BITMAP_BYTES_MAX) {
        return -EFBIG;
    }
    g_autofree uint64_t *table = g_try_new0(uint64_t, entries);
    int rc = table ? 0 : -ENOMEM;
    to->table_entries = (uint32_t)entries;
    for (uint64_t i = 0; i < entries && rc == 0; i++) {
        rc = store_cluster(store, bitmap, i, &table[i]);
    }
    if (rc == 0) {
        rc = store_table(store, table, to);
    }
    if (rc < 0 && table) {
        free_content(q, table, to->table_entries);
    }
    return rc;
}

static bool is_stored(DirtyBitmap *bitmap)
{
    unsigned flags = dirty_bitmap_flags(bitmap);
    return flags & DIRTY_BITMAP_PERSISTENT &&
           !(flags & (DIRTY_BITMAP_INCONSISTENT | DIRTY_BITMAP_READONLY));
}

static Qcow2Bitmap *copy_entry(const Qcow2Bitmap *from)
{
    Qcow2Bitmap *copy = g_memdup2(from, sizeof(*from));
    copy->name = g_strdup(from->name);
    copy->extra = from->extra ? g_memdup2(from->extra, from->extra_length) : NULL;
    return copy;
}

static int store_one(Store *store, DirtyBitmap *bitmap, GPtrArray *list)
{
    const char *name = dirty_bitmap_name(bitmap);
    const Qcow2Bitmap *old = qcow2_bitmap_find(store->q, name);
    Qcow2Bitmap *entry = old ? copy_entry(old) : g_new0(Qcow2Bitmap, 1);
    if (!old) {
        entry->name = g_strdup(name);
    }
    bool records = dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_RECORDING;
    entry->granularity_bits = (uint8_t)__builtin_ctz(dirty_bitmap_granularity(bitmap));
    entry->flags &= ~(uint32_t)(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO);
    entry->flags |= records ? QCOW2_BITMAP_AUTO : 0;
    int rc = store_content(store, bitmap, entry);
    if (rc < 0) {
        qcow2_bitmap_free(entry);
        return rc;
    }
    g_ptr_array_add(list, entry);
    g_ptr_array_add(store->written, entry);
    return 0;
}

/* Entries of bitmaps that are not stored anew: they stay as they are. */
static void keep_others(const Qcow2 *q, GPtrArray *list)
{
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *old = q->bitmaps->pdata[i];
        DirtyBitmap *bitmap = block_node_find_bitmap(q->node, old->name);
        if (!bitmap || !is_stored(bitmap)) {
            g_ptr_array_add(list, copy_entry(old));
        }
    }
}

static int store_all(Store *store, GPtrArray *list)
{
    DirtyBitmap *bitmap;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && (bitmap = block_node_bitmap(store->q->node, i)); i++) {
        if (is_stored(bitmap)) {
            rc = store_one(store, bitmap, list);
        }
    }
    return rc;
}

/* Makes @list the directory and frees what the old one's bitmaps had, if they are not in it. */
static int replace(Store *store, GPtrArray *list)
{
    Qcow2 *q = store->q;
    g_autoptr(GPtrArray) old = q->bitmaps ? g_ptr_array_ref(q->bitmaps) : NULL;
    int rc = qcow2_bitmaps_replace(q, g_ptr_array_ref(list));
    for (guint i = 0; rc == 0 && old && i < old->len; i++) {
        const Qcow2Bitmap *before = old->pdata[i], *after = qcow2_bitmap_find(q, before->name);
        if (!after || after->table_offset != before->table_offset) {
            qcow2_bitmap_release(q, before);
        }
    }
    return rc;
}

/* What was written for nothing. */
static void undo(Store *store)
{
    Qcow2 *q = store->q;
    for (guint i = 0; i < store->written->len && !q->is_corrupt; i++) {
        const Qcow2Bitmap *bitmap = store->written->pdata[i];
        g_autofree uint64_t *table = NULL;
        if (qcow2_bitmap_table(q, bitmap, &table) == 0) {
            free_content(q, table, bitmap->table_entries);
        }
        (void)!qcow2_free_now(q, bitmap->table_offset, bitmap->table_entries * 8ull);
    }
}

int qcow2_bitmaps_store(Qcow2 *q)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)qcow2_bitmap_free);
    g_autoptr(GPtrArray) written = g_ptr_array_new();
    g_autofree uint8_t *buffer = g_malloc(q->cluster_size);
    Store store = { .q = q, .written = written, .buffer = buffer };
    pthread_mutex_lock(&q->lock);
    keep_others(q, list);
    int rc = store_all(&store, list);
    if (rc == 0 && written->len) {
        rc = replace(&store, list);
    }
    if (rc < 0) {
        undo(&store);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* Changes by the user */

static bool refuse(GError **error, const BlockNode *node, const char *name, const char *why)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "Can't make bitmap '%s' persistent in '%s': %s", name,
                node->name ? node->name : node->filename, why);
    return false;
}

bool qcow2_bitmap_can_add(BlockNode *node, const char *name, uint32_t granularity, GError **error)
{
    const Qcow2 *q = qcow2_of(node);
    uint64_t bytes = sizeof(uint64_t), count = 1, needed;
    DirtyBitmap *bitmap;
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        if (dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_PERSISTENT) {
            count++;
            bytes += QCOW2_B_LENGTH + 8 + strlen(dirty_bitmap_name(bitmap));
        }
    }
    needed = div_round_up(div_round_up(node->size, granularity), 8);
    if (q->header.version < 3) {
        return refuse(error, node, name, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    if (strlen(name) > QCOW2_BITMAP_NAME_MAX) {
        return refuse(error, node, name, "Name length exceeds maximum (1023 characters)");
    }
    if (round_up(needed, q->cluster_size) > QCOW2_BITMAP_BYTES_MAX) {
        return refuse(error, node, name, "Too much space will be occupied by the bitmap");
    }
    if (!q->header.has_bitmaps && !qcow2_header_has_room_for_bitmaps(q)) {
        return refuse(error, node, name,
                      "The header's cluster has no room for them beside the backing file's name");
    }
    if (count > QCOW2_BITMAPS_MAX || bytes > QCOW2_BITMAP_DIRECTORY_BYTES_MAX) {
        return refuse(error, node, name, "Maximum number of persistent bitmaps is already reached");
    }
    return true;
}

bool qcow2_bitmap_remove(BlockNode *node, const char *name, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)qcow2_bitmap_free);
    Store store = { .q = q };
    pthread_mutex_lock(&q->lock);
    bool is_there = qcow2_bitmap_find(q, name) != NULL;
    for (guint i = 0; is_there && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        if (strcmp(bitmap->name, name) != 0) {
            g_ptr_array_add(list, copy_entry(bitmap));
        }
    }
    int rc = !is_there ? 0 : q->is_corrupt ? -EIO : replace(&store, list);
    pthread_mutex_unlock(&q->lock);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Failed to remove bitmap '%s' from '%s'", name,
                              node->filename);
    }
    return rc == 0;
}

bool qcow2_bitmaps_can_resize(const Qcow2 *q, GError **error)
{
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        DirtyBitmap *loaded = block_node_find_bitmap(q->node, bitmap->name);
        unsigned flags = loaded ? dirty_bitmap_flags(loaded) : DIRTY_BITMAP_INCONSISTENT;
        const char *why = flags & DIRTY_BITMAP_BUSY           ? "busy"
                          : flags & DIRTY_BITMAP_INCONSISTENT ? "inconsistent"
                                                              : NULL;
        if (why) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                        "Cannot resize '%s': its bitmap '%s' is %s", q->node->filename,
                        bitmap->name, why);
            return false;
        }
    }
    return true;
}

void qcow2_bitmaps_add_facts(const Qcow2 *q, GArray *facts)
{
    GPtrArray *list = q->bitmaps ? block_fact_list(facts, "bitmaps") : NULL;
    for (guint i = 0; list && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        GArray *fields = block_fact_list_add(list);
        GPtrArray *flags = block_fact_list(fields, "flags");
        if (bitmap->flags & QCOW2_BITMAP_IN_USE) {
            block_fact_text(block_fact_list_add(flags), NULL, "in-use");
        }
        if (bitmap->flags & QCOW2_BITMAP_AUTO) {
            block_fact_text(block_fact_list_add(flags), NULL, "auto");
        }
        block_fact_text(fields, "name", bitmap->name);
        block_fact_number(fields, "granularity", 1ll << bitmap->granularity_bits);
    }
}
