/* qcow2 snapshots: the table of them; creating, applying, deleting.
 *
 * Each is done or not done, whatever happens (switch.h). A snapshot takes over the active L1 table;
 * an L2 table stays shared if its COPIED flags need no change, else the active one is a copy. Flags
 * in tables that only snapshots use are left as they are: they are put right when a snapshot is
 * applied, by us and by QEMU. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/switch.h"
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

/* The bytes of the table. NULL: too many. */
static GByteArray *format_table(const Qcow2Snapshot *snapshots, uint32_t count)
{
    g_autoptr(GByteArray) table = g_byte_array_new();
    for (uint32_t i = 0; i < count; i++) {
        put_one(table, &snapshots[i]);
    }
    return table->len > QCOW2_SNAPSHOT_TABLE_BYTES_MAX ? NULL : g_steal_pointer(&table);
}

/* Writes the table where @change has taken space for it, and frees the old one. */
static int replace_table(Qcow2Switch *change, GByteArray *table, uint32_t count)
{
    Qcow2 *q = change->q;
    int rc = 0;
    if (count) {
        uint64_t padded = round_up(table->len, q->cluster_size);
        g_autofree uint8_t *raw = g_malloc0(padded);
        memcpy(raw, table->data, table->len);
        rc = block_child_write(q->node->file, change->snapshots_offset, raw, padded);
    }
    if (rc == 0 && q->header.snapshot_count) {
        rc = qcow2_free_now(q, q->header.snapshots_offset, q->snapshots_length);
    }
    q->header.snapshots_offset = change->snapshots_offset;
    q->header.snapshot_count = count;
    return rc;
}

/* Refcounts of trees */

static int change_entry(Qcow2 *q, Qcow2Entry entry, int delta)
{
    uint64_t offset = entry.word & QCOW2_OFFSET_MASK, length = q->cluster_size;
    if (qcow2_entry_is_compressed(entry)) {
        qcow2_compressed_place(q, entry.word, &offset, &length);
    } else if (offset == 0 || qcow2_has_data_file(q)) {
        return 0;
    } else if (qcow2_in_cluster(q, offset)) {
        return qcow2_corrupt(q, "L2 entry %#" G_GINT64_MODIFIER "x is invalid", entry.word);
    }
    return qcow2_refcount_change(q, offset, length, delta);
}

/* Adds @delta to the refcounts of all that an L1 table refers to. */
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

/* Makes the flags of a new L1 table and of its L2 tables fit the refcounts. */
static int fit_tables(Qcow2Switch *change, uint64_t *l1, uint32_t entries)
{
    int rc = 0;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        rc = qcow2_switch_fit_table(change, &l1[i]);
    }
    return rc;
}

static uint64_t count_tables(const Qcow2 *q)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < q->l1_size; i++) {
        count += q->l1[i] != 0;
    }
    return count;
}

/* The L1 table of @entries at @offset is no longer there. */
static int free_l1(Qcow2 *q, uint64_t offset, uint32_t entries)
{
    return entries ? qcow2_free_now(q, offset, entries * 8ull) : 0;
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

/* The active L1 table becomes the snapshot's, and a copy the active one. */
static int build_snapshot(Qcow2Switch *change, uint64_t *l1, GByteArray *table)
{
    Qcow2 *q = change->q;
    int rc = change_tree(q, l1, q->l1_size, 1);
    if (rc == 0) {
        rc = fit_tables(change, l1, q->l1_size);
    }
    return rc < 0 ? rc : replace_table(change, table, q->header.snapshot_count + 1);
}

/* @added: its fields are taken when this returns 0. */
static int add_snapshot(Qcow2 *q, Qcow2Snapshot *added)
{
    Qcow2Switch change;
    uint32_t count = q->header.snapshot_count;
    g_autofree Qcow2Snapshot *snapshots = g_new0(Qcow2Snapshot, count + 1);
    if (count) {
        memcpy(snapshots, q->snapshots, count * sizeof(*snapshots));
    }
    added->l1_offset = q->l1_size ? q->header.l1_offset : 0;
    snapshots[count] = *added;
    g_autoptr(GByteArray) table = format_table(snapshots, count + 1);
    g_autofree uint64_t *l1 = g_try_malloc0(q->l1_size * 8ull + 1);
    if (!table || !l1) {
        return table ? -ENOMEM : -EFBIG;
    }
    Qcow2SwitchSpace space = { q->l1_size, table->len, count_tables(q) };
    int rc = qcow2_switch_begin(&change, q, &space);
    if (rc < 0) {
        return rc;
    }
    memcpy(l1, q->l1, q->l1_size * 8ull);
    rc = build_snapshot(&change, l1, table);
    if (rc < 0) {
        qcow2_switch_abort(&change);
        return rc;
    }
    rc = qcow2_switch_commit(&change, l1, q->l1_size);
    if (rc < 0) {
        return rc;
    }
    memcpy(q->l1, l1, q->l1_size * 8ull);
    g_free(q->snapshots);
    q->snapshots = g_steal_pointer(&snapshots);
    q->snapshots_length = table->len;
    return 0;
}

bool qcow2_snapshot_create(BlockNode *node, const char *name, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    struct timeval now;
    if (qcow2_has_data_file(q)) {
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
    int rc = add_snapshot(q, &added);
    pthread_mutex_unlock(&q->lock);
    if (rc < 0) {
        clear_snapshot(&added);
    }
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

/* Takes the COPIED flags, which mean nothing in a snapshot's tables, off them. */
static int clear_flags(Qcow2 *q, uint64_t *l1, uint32_t entries)
{
    int rc = 0;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        Qcow2Table *table;
        l1[i] &= ~QCOW2_COPIED;
        if (offset == 0 || qcow2_in_cluster(q, offset) || qcow2_has_data_file(q)) {
            continue; /* the second is found later */
        }
        rc = qcow2_cache_get(&q->l2_cache, offset, &table);
        for (unsigned index = 0; rc == 0 && index < 1u << q->l2_bits; index++) {
            Qcow2Entry entry = qcow2_entry_get(q, table, index);
            if (entry.word & QCOW2_COPIED && !qcow2_entry_is_compressed(entry)) {
                entry.word &= ~QCOW2_COPIED;
                qcow2_entry_set(q, table, index, entry);
            }
        }
    }
    return rc;
}

static int build_active(Qcow2Switch *change, const Qcow2Snapshot *snapshot, uint64_t *l1)
{
    Qcow2 *q = change->q;
    int rc = change_tree(q, l1, snapshot->l1_size, 1);
    if (rc == 0) {
        rc = change_tree(q, q->l1, q->l1_size, -1);
    }
    if (rc == 0) {
        rc = free_l1(q, q->header.l1_offset, q->l1_size);
    }
    q->header.size = snapshot->disk_size;
    return rc < 0 ? rc : fit_tables(change, l1, snapshot->l1_size);
}

static int switch_to(Qcow2 *q, const Qcow2Snapshot *snapshot)
{
    g_autofree uint64_t *l1 = NULL;
    Qcow2Switch change;
    Qcow2SwitchSpace space = { .l1_entries = snapshot->l1_size };
    int rc = q->is_corrupt ? -EIO : load_l1(q, snapshot, &l1);
    if (rc == 0) {
        rc = clear_flags(q, l1, snapshot->l1_size);
    }
    if (rc == 0) {
        rc = qcow2_switch_begin(&change, q, &space);
    }
    if (rc < 0) {
        return rc;
    }
    rc = build_active(&change, snapshot, l1);
    if (rc < 0) {
        qcow2_switch_abort(&change);
        return rc;
    }
    rc = qcow2_switch_commit(&change, l1, snapshot->l1_size);
    if (rc < 0) {
        return rc;
    }
    g_free(q->l1);
    q->l1 = g_steal_pointer(&l1);
    q->l1_size = snapshot->l1_size;
    __atomic_store_n(&q->node->size, q->header.size, __ATOMIC_RELAXED);
    return 0;
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
    int rc = switch_to(q, &q->snapshots[index]);
    pthread_mutex_unlock(&q->lock);
    return report(q, rc, "apply", which, error);
}

/* @active: a copy of the active L1 table. */
static int build_without(Qcow2Switch *change, const Qcow2Snapshot *removed,
                         const uint64_t *removed_l1, uint64_t *active, GByteArray *table)
{
    Qcow2 *q = change->q;
    int rc = change_tree(q, removed_l1, removed->l1_size, -1);
    if (rc == 0) {
        rc = free_l1(q, removed->l1_offset, removed->l1_size);
    }
    if (rc == 0) {
        rc = fit_tables(change, active, q->l1_size);
    }
    if (rc == 0) {
        rc = free_l1(q, q->header.l1_offset, q->l1_size);
    }
    return rc < 0 ? rc : replace_table(change, table, q->header.snapshot_count - 1);
}

static int remove_snapshot(Qcow2 *q, unsigned index)
{
    g_autofree uint64_t *removed_l1 = NULL, *active = g_try_malloc0(q->l1_size * 8ull + 1);
    Qcow2Snapshot removed = q->snapshots[index];
    uint32_t count = q->header.snapshot_count;
    Qcow2Switch change;
    g_autofree Qcow2Snapshot *rest = g_new0(Qcow2Snapshot, count);
    memcpy(rest, q->snapshots, index * sizeof(*rest));
    memcpy(rest + index, q->snapshots + index + 1, (count - index - 1) * sizeof(*rest));
    g_autoptr(GByteArray) table = format_table(rest, count - 1);
    int rc = active && table ? load_l1(q, &removed, &removed_l1) : -ENOMEM;
    if (rc == 0) {
        Qcow2SwitchSpace space = { q->l1_size, table->len, count_tables(q) };
        rc = qcow2_switch_begin(&change, q, &space);
    }
    if (rc < 0) {
        return rc;
    }
    memcpy(active, q->l1, q->l1_size * 8ull);
    rc = build_without(&change, &removed, removed_l1, active, table);
    if (rc < 0) {
        qcow2_switch_abort(&change);
        return rc;
    }
    rc = qcow2_switch_commit(&change, active, q->l1_size);
    if (rc < 0) {
        return rc;
    }
    memcpy(q->l1, active, q->l1_size * 8ull);
    g_free(q->snapshots);
    q->snapshots = g_steal_pointer(&rest);
    q->snapshots_length = table->len;
    clear_snapshot(&removed);
    return 0;
}

bool qcow2_snapshot_delete(BlockNode *node, const char *which, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    int index;
    if (!find_or_fail(q, which, &index, error)) {
        return false;
    }
    pthread_mutex_lock(&q->lock);
    int rc = remove_snapshot(q, (unsigned)index);
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
