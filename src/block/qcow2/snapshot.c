/* qcow2 snapshots: the table of them; creating, applying, deleting.
 *
 * These change refcounts and COPIED flags all over the image, which no order of writes makes
 * atomic: version 3 images are marked dirty meanwhile, so that after a power cut the next writer
 * (ours or QEMU's) repairs them; what they hold is never at stake, as each step keeps refcounts at
 * or above the number of references, and flags go before refcounts rise and come after they have
 * fallen. In version 2 images, which cannot be marked, a power cut leaves leaks and COPIED flags
 * that are missing, which cost a copy and no data. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define FIXED_BYTES 40u
#define KNOWN_EXTRA 24u

static void clear_snapshot(Qcow2Snapshot *snapshot)
{
    g_free(snapshot->id);
    g_free(snapshot->name);
    g_free(snapshot->extra);
}

void qcow2_snapshots_free(Qcow2 *q)
{
    for (uint32_t i = 0; q->snapshots && i < q->header.snapshot_count; i++) {
        clear_snapshot(&q->snapshots[i]);
    }
    g_clear_pointer(&q->snapshots, g_free);
}

/* Reading */

static int read_one(Qcow2 *q, uint64_t *at, Qcow2Snapshot *snapshot)
{
    uint8_t fixed[FIXED_BYTES];
    int rc = block_child_read(q->node->file, *at, fixed, sizeof(fixed));
    if (rc < 0) {
        return rc;
    }
    snapshot->l1_offset = be64_get(fixed);
    snapshot->l1_size = be32_get(fixed + 8);
    uint32_t id_length = be16_get(fixed + 12), name_length = be16_get(fixed + 14);
    snapshot->date_seconds = be32_get(fixed + 16);
    snapshot->date_nanoseconds = be32_get(fixed + 20);
    snapshot->vm_clock_ns = be64_get(fixed + 24);
    snapshot->vm_state_size = be32_get(fixed + 32);
    uint32_t extra_length = be32_get(fixed + 36);
    if (extra_length > QCOW2_SNAPSHOT_EXTRA_MAX || snapshot->l1_size > QCOW2_L1_BYTES_MAX / 8) {
        return -EFBIG;
    }
    size_t length = extra_length + id_length + name_length;
    g_autofree uint8_t *rest = g_malloc(length + 1);
    rc = block_child_read(q->node->file, *at + FIXED_BYTES, rest, length);
    if (rc < 0) {
        return rc;
    }
    snapshot->disk_size = q->header.size;
    snapshot->icount = UINT64_MAX;
    if (extra_length >= 8) {
        snapshot->vm_state_size = be64_get(rest);
    }
    if (extra_length >= 16) {
        snapshot->disk_size = be64_get(rest + 8);
    }
    if (extra_length >= 24) {
        snapshot->icount = be64_get(rest + 16);
    }
    if (extra_length > KNOWN_EXTRA) {
        snapshot->extra_length = extra_length - KNOWN_EXTRA;
        snapshot->extra = g_memdup2(rest + KNOWN_EXTRA, snapshot->extra_length);
    }
    snapshot->id = g_strndup((char *)rest + extra_length, id_length);
    snapshot->name = g_strndup((char *)rest + extra_length + id_length, name_length);
    *at += round_up(FIXED_BYTES + length, 8);
    return 0;
}

bool qcow2_snapshots_load(Qcow2 *q, GError **error)
{
    uint64_t at = q->header.snapshots_offset;
    int rc = 0;
    if (q->header.snapshot_count == 0) {
        return true;
    }
    q->snapshots = g_new0(Qcow2Snapshot, q->header.snapshot_count);
    for (uint32_t i = 0; i < q->header.snapshot_count && rc == 0; i++) {
        rc = read_one(q, &at, &q->snapshots[i]);
        if (at - q->header.snapshots_offset > QCOW2_SNAPSHOT_TABLE_BYTES_MAX) {
            rc = -EFBIG;
        }
    }
    q->snapshots_length = at - q->header.snapshots_offset;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: Could not read snapshots");
    }
    return rc == 0;
}

/* Writing */

static void put_one(GByteArray *table, const Qcow2Snapshot *snapshot)
{
    static const uint8_t padding[8];
    uint8_t fixed[FIXED_BYTES + KNOWN_EXTRA] = { 0 };
    be64_put(fixed, snapshot->l1_offset);
    be32_put(fixed + 8, snapshot->l1_size);
    be16_put(fixed + 12, (uint16_t)strlen(snapshot->id));
    be16_put(fixed + 14, (uint16_t)strlen(snapshot->name));
    be32_put(fixed + 16, snapshot->date_seconds);
    be32_put(fixed + 20, snapshot->date_nanoseconds);
    be64_put(fixed + 24, snapshot->vm_clock_ns);
    be32_put(fixed + 32, (uint32_t)MIN(snapshot->vm_state_size, UINT32_MAX));
    be32_put(fixed + 36, KNOWN_EXTRA + snapshot->extra_length);
    be64_put(fixed + 40, snapshot->vm_state_size);
    be64_put(fixed + 48, snapshot->disk_size);
    be64_put(fixed + 56, snapshot->icount);
    g_byte_array_append(table, fixed, sizeof(fixed));
    if (snapshot->extra_length) {
        g_byte_array_append(table, snapshot->extra, snapshot->extra_length);
    }
    g_byte_array_append(table, (const uint8_t *)snapshot->id, (guint)strlen(snapshot->id));
    g_byte_array_append(table, (const uint8_t *)snapshot->name, (guint)strlen(snapshot->name));
    g_byte_array_append(table, padding, (8 - table->len % 8) % 8);
}

/* Writes the table to new clusters and switches the header to it, and to an L1 table: q->header's
 * l1_offset, l1_size and size are what the caller wants. */
static int store_table(Qcow2 *q, const Qcow2Snapshot *snapshots, uint32_t count)
{
    g_autoptr(GByteArray) table = g_byte_array_new();
    uint64_t old_offset = q->header.snapshots_offset, old_length = q->snapshots_length;
    uint32_t old_count = q->header.snapshot_count;
    int64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        put_one(table, &snapshots[i]);
    }
    if (table->len > QCOW2_SNAPSHOT_TABLE_BYTES_MAX) {
        return -EFBIG;
    }
    int rc = 0;
    if (count) {
        uint64_t clusters = div_round_up(table->len, q->cluster_size);
        offset = qcow2_alloc_exact(q, clusters);
        if (offset < 0) {
            return (int)offset;
        }
        q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + (clusters << q->cluster_bits));
        g_autofree uint8_t *padded = g_malloc0(clusters << q->cluster_bits);
        memcpy(padded, table->data, table->len);
        rc =
            block_child_write(q->node->file, (uint64_t)offset, padded, clusters << q->cluster_bits);
    }
    if (rc < 0) {
        return rc;
    }
    q->header.snapshots_offset = (uint64_t)offset;
    q->header.snapshot_count = count;
    rc = qcow2_switch_header(q);
    if (rc < 0) {
        q->header.snapshots_offset = old_offset;
        q->header.snapshot_count = old_count;
        return rc;
    }
    q->snapshots_length = table->len;
    if (old_count) {
        qcow2_free_later(q, old_offset, round_up(old_length, q->cluster_size));
    }
    return 0;
}

/* Refcounts of trees */

static int change_entry(Qcow2 *q, Qcow2Entry entry, int delta)
{
    uint64_t offset = entry.word & QCOW2_OFFSET_MASK, length = q->cluster_size;
    if (qcow2_entry_is_compressed(entry)) {
        qcow2_compressed_place(q, entry.word, &offset, &length);
    } else if (offset == 0 || q->data != q->node->file) {
        return 0;
    } else if (qcow2_in_cluster(q, offset)) {
        return qcow2_corrupt(q, "L2 entry %#" G_GINT64_MODIFIER "x is invalid", entry.word);
    }
    if (delta < 0) {
        qcow2_free_later(q, offset, length);
        return 0;
    }
    return qcow2_refcount_change(q, offset, length, delta);
}

/* Adds @delta to the refcounts of all that an L1 table refers to; -1 takes effect with the release.
 */
static int change_tree(Qcow2 *q, const uint64_t *l1, uint32_t entries, int delta)
{
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        Qcow2Table *table;
        if (offset == 0) {
            continue;
        }
        if (qcow2_in_cluster(q, offset)) {
            return qcow2_corrupt(q, "L1 entry %u is invalid", i);
        }
        for (unsigned index = 0; index < 1u << q->l2_bits; index++) {
            int rc = qcow2_cache_get(&q->l2_cache, offset, &table);
            if (rc == 0) {
                rc = change_entry(q, qcow2_entry_get(q, table, index), delta);
            }
            if (rc < 0) {
                return rc;
            }
        }
        int rc = change_entry(q, (Qcow2Entry){ offset, 0 }, delta);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int fix_flag(Qcow2 *q, uint64_t *word, bool *out_changed)
{
    uint64_t count, offset = *word & QCOW2_OFFSET_MASK;
    int rc = qcow2_refcount_get(q, qcow2_cluster_of(q, offset), &count);
    uint64_t with = count == 1 ? *word | QCOW2_COPIED : *word & ~QCOW2_COPIED;
    *out_changed = with != *word;
    *word = with;
    return rc;
}

static int fix_table_flags(Qcow2 *q, uint64_t offset)
{
    Qcow2Table *table;
    int rc = qcow2_cache_get(&q->l2_cache, offset, &table);
    for (unsigned i = 0; rc == 0 && i < 1u << q->l2_bits; i++) {
        bool changed = false;
        Qcow2Entry entry = qcow2_entry_get(q, table, i);
        if ((entry.word & QCOW2_OFFSET_MASK) && !qcow2_entry_is_compressed(entry) &&
            q->data == q->node->file) {
            rc = fix_flag(q, &entry.word, &changed);
        }
        if (rc == 0 && changed) {
            qcow2_entry_set(q, table, i, entry);
        }
    }
    return rc;
}

static int clear_table_flags(Qcow2 *q, uint64_t offset)
{
    Qcow2Table *table;
    int rc = qcow2_cache_get(&q->l2_cache, offset, &table);
    for (unsigned i = 0; rc == 0 && i < 1u << q->l2_bits; i++) {
        Qcow2Entry entry = qcow2_entry_get(q, table, i);
        if (entry.word & QCOW2_COPIED && !qcow2_entry_is_compressed(entry)) {
            entry.word &= ~QCOW2_COPIED;
            qcow2_entry_set(q, table, i, entry);
        }
    }
    return rc;
}

/* Takes the COPIED flags off the active tables, on disk: before refcounts go up, so that at no time
 * a cluster that is shared says that it may be written in place. */
static int clear_flags(Qcow2 *q)
{
    int rc = 0;
    for (uint32_t i = 0; i < q->l1_size && rc == 0; i++) {
        uint64_t offset = q->l1[i] & QCOW2_OFFSET_MASK;
        if (offset == 0 || qcow2_in_cluster(q, offset)) {
            continue;
        }
        rc = clear_table_flags(q, offset);
        if (rc == 0 && q->l1[i] & QCOW2_COPIED) {
            q->l1[i] &= ~QCOW2_COPIED;
            rc = qcow2_write_l1_entry(q, i);
        }
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    return rc < 0 ? rc : block_child_flush(q->node->file);
}

/* Makes the active tables' COPIED flags fit the refcounts. */
static int fix_flags(Qcow2 *q)
{
    for (uint32_t i = 0; i < q->l1_size; i++) {
        uint64_t offset = q->l1[i] & QCOW2_OFFSET_MASK;
        bool changed;
        if (offset == 0) {
            continue;
        }
        int rc = fix_flag(q, &q->l1[i], &changed);
        if (rc == 0 && changed) {
            rc = qcow2_write_l1_entry(q, i);
        }
        if (rc == 0) {
            rc = fix_table_flags(q, offset);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* Brackets of the operations. The lock is held, and in_flight is not: the node is locked alone. */

static int begin(Qcow2 *q)
{
    int rc = q->is_corrupt ? -EIO : qcow2_write_metadata(q);
    if (rc == 0) {
        rc = qcow2_release_freed(q);
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    return rc < 0 ? rc : qcow2_set_incompatible(q, QCOW2_INCOMPATIBLE_DIRTY, 0);
}

static int end(Qcow2 *q, int rc)
{
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = qcow2_release_freed(q);
    }
    /* Flags are set when the counts that allow them are on disk. */
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc == 0) {
        rc = fix_flags(q);
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    return rc < 0 ? rc : qcow2_set_incompatible(q, 0, QCOW2_INCOMPATIBLE_DIRTY);
}

static int find(const Qcow2 *q, const char *which)
{
    for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
        if (strcmp(q->snapshots[i].id, which) == 0) {
            return (int)i;
        }
    }
    for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
        if (strcmp(q->snapshots[i].name, which) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool find_or_fail(const Qcow2 *q, const char *which, int *out_index, GError **error)
{
    *out_index = find(q, which);
    if (*out_index < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "snapshot '%s' was not found in '%s'", which, q->node->filename);
    }
    return *out_index >= 0;
}

static bool report(const Qcow2 *q, int rc, const char *what, const char *name, GError **error)
{
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not %s snapshot '%s' of '%s'", what, name,
                              q->node->filename);
    }
    return rc == 0;
}

/* Creating */

static char *next_id(const Qcow2 *q)
{
    unsigned long highest = 0;
    for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
        highest = MAX(highest, strtoul(q->snapshots[i].id, NULL, 10));
    }
    return g_strdup_printf("%lu", highest + 1);
}

static int add_snapshot(Qcow2 *q, Qcow2Snapshot *added)
{
    uint32_t count = q->header.snapshot_count;
    int rc = q->data == q->node->file ? clear_flags(q) : 0;
    if (rc == 0) {
        rc = qcow2_store_l1(q, q->l1, q->l1_size, &added->l1_offset);
    }
    if (rc == 0) {
        rc = change_tree(q, q->l1, q->l1_size, 1);
    }
    if (rc < 0) {
        return rc;
    }
    Qcow2Snapshot *snapshots = g_new0(Qcow2Snapshot, count + 1);
    if (count) {
        memcpy(snapshots, q->snapshots, count * sizeof(*snapshots));
    }
    snapshots[count] = *added;
    rc = store_table(q, snapshots, count + 1);
    if (rc < 0) {
        g_free(snapshots);
        return rc;
    }
    g_free(q->snapshots);
    q->snapshots = snapshots;
    return 0;
}

bool qcow2_snapshot_create(BlockNode *node, const char *name, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    struct timeval now;
    if (q->data != node->file) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Snapshots of images with an external data file are not supported");
        return false;
    }
    if (q->header.snapshot_count >= QCOW2_SNAPSHOTS_MAX || strlen(name) > UINT16_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "too many snapshots, or a name too long");
        return false;
    }
    gettimeofday(&now, NULL);
    Qcow2Snapshot added = {
        .id = next_id(q),
        .name = g_strdup(name),
        .l1_size = q->l1_size,
        .disk_size = q->header.size,
        .icount = UINT64_MAX,
        .date_seconds = (uint32_t)now.tv_sec,
        .date_nanoseconds = (uint32_t)now.tv_usec * 1000,
    };
    pthread_mutex_lock(&q->lock);
    int rc = begin(q);
    if (rc == 0) {
        rc = add_snapshot(q, &added);
        if (rc < 0) {
            clear_snapshot(&added);
        }
        rc = end(q, rc);
    } else {
        clear_snapshot(&added);
    }
    pthread_mutex_unlock(&q->lock);
    return report(q, rc, "create", name, error);
}

/* Applying and deleting */

static int load_l1(Qcow2 *q, const Qcow2Snapshot *snapshot, uint64_t **out_l1)
{
    uint64_t bytes = snapshot->l1_size * 8ull;
    g_autofree uint64_t *l1 = g_try_malloc0(bytes + 8);
    if (!l1) {
        return -ENOMEM;
    }
    if (qcow2_in_cluster(q, snapshot->l1_offset)) {
        return -EIO;
    }
    int rc = bytes ? block_child_read(q->node->file, snapshot->l1_offset, l1, bytes) : 0;
    for (uint32_t i = 0; i < snapshot->l1_size; i++) {
        l1[i] = be64_get(&l1[i]);
    }
    *out_l1 = rc < 0 ? NULL : g_steal_pointer(&l1);
    return rc;
}

static int switch_to(Qcow2 *q, const Qcow2Snapshot *snapshot)
{
    g_autofree uint64_t *l1 = NULL;
    uint64_t offset, old_offset = q->header.l1_offset;
    uint32_t old_size = q->l1_size;
    int rc = load_l1(q, snapshot, &l1);
    for (uint32_t i = 0; rc == 0 && i < snapshot->l1_size; i++) {
        l1[i] &= ~QCOW2_COPIED;
    }
    if (rc == 0) {
        rc = change_tree(q, l1, snapshot->l1_size, 1);
    }
    if (rc == 0) {
        rc = qcow2_store_l1(q, l1, snapshot->l1_size, &offset);
    }
    if (rc < 0) {
        return rc;
    }
    q->header.l1_offset = offset;
    q->header.l1_size = snapshot->l1_size;
    q->header.size = snapshot->disk_size;
    rc = qcow2_switch_header(q);
    if (rc < 0) {
        return rc;
    }
    g_autofree uint64_t *old = q->l1;
    q->l1 = g_steal_pointer(&l1);
    q->l1_size = snapshot->l1_size;
    __atomic_store_n(&q->node->size, q->header.size, __ATOMIC_RELAXED);
    rc = change_tree(q, old, old_size, -1);
    if (rc == 0 && old_offset) {
        qcow2_free_later(q, old_offset, round_up(MAX(old_size, 1) * 8ull, q->cluster_size));
    }
    return rc;
}

bool qcow2_snapshot_apply(BlockNode *node, const char *which, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    int index;
    if (!find_or_fail(q, which, &index, error)) {
        return false;
    }
    if (node->bitmap_count) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "Device has active dirty bitmaps");
        return false;
    }
    pthread_mutex_lock(&q->lock);
    int rc = begin(q);
    if (rc == 0) {
        rc = end(q, switch_to(q, &q->snapshots[index]));
    }
    pthread_mutex_unlock(&q->lock);
    return report(q, rc, "apply", which, error);
}

static int remove_snapshot(Qcow2 *q, unsigned index)
{
    g_autofree uint64_t *l1 = NULL;
    Qcow2Snapshot removed = q->snapshots[index];
    uint32_t count = q->header.snapshot_count;
    int rc = load_l1(q, &removed, &l1);
    if (rc < 0) {
        return rc;
    }
    g_autofree Qcow2Snapshot *rest = g_new0(Qcow2Snapshot, count);
    memcpy(rest, q->snapshots, index * sizeof(*rest));
    memcpy(rest + index, q->snapshots + index + 1, (count - index - 1) * sizeof(*rest));
    rc = store_table(q, rest, count - 1);
    if (rc < 0) {
        return rc;
    }
    g_free(q->snapshots);
    q->snapshots = g_steal_pointer(&rest);
    rc = change_tree(q, l1, removed.l1_size, -1);
    if (rc == 0 && removed.l1_offset) {
        qcow2_free_later(q, removed.l1_offset,
                         round_up(MAX(removed.l1_size, 1) * 8ull, q->cluster_size));
    }
    clear_snapshot(&removed);
    return rc;
}

bool qcow2_snapshot_delete(BlockNode *node, const char *which, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    int index;
    if (!find_or_fail(q, which, &index, error)) {
        return false;
    }
    pthread_mutex_lock(&q->lock);
    int rc = begin(q);
    if (rc == 0) {
        rc = end(q, remove_snapshot(q, (unsigned)index));
    }
    pthread_mutex_unlock(&q->lock);
    return report(q, rc, "delete", which, error);
}

bool qcow2_snapshot_load(BlockNode *node, const char *which, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    int index;
    if (!find_or_fail(q, which, &index, error)) {
        return false;
    }
    if (q->is_writable) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "a snapshot can be read of an image that is open read-only");
        return false;
    }
    const Qcow2Snapshot *snapshot = &q->snapshots[index];
    g_autofree uint64_t *l1 = NULL;
    pthread_mutex_lock(&q->lock);
    int rc = load_l1(q, snapshot, &l1);
    if (rc == 0) {
        g_free(q->l1);
        q->l1 = g_steal_pointer(&l1);
        q->l1_size = snapshot->l1_size;
        __atomic_store_n(&node->size, snapshot->disk_size, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&q->lock);
    return report(q, rc, "load", which, error);
}
