/* qcow2 changes all over the image that take effect at once.
 *
 * Refcounts and the COPIED flags of tables have to fit each other, and no order of writes in place
 * keeps that so. Here all that changes is written to clusters that were free: the refcount table
 * and its blocks, the L1 table, L2 tables whose flags change, the table of snapshots. One write of
 * the header's first sector switches to them: a power cut leaves the image as it was before or
 * after, at worst with clusters leaked.
 *
 * All space is taken before the first refcount goes down, so that nothing that the old header leads
 * to is written over. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/switch.h"

#include "base/endian.h"
#include "base/int-math.h"

#include <errno.h>
#include <string.h>

/* Space */

static int take_run(Qcow2Switch *change, uint64_t bytes, uint64_t *out_offset)
{
    Qcow2 *q = change->q;
    uint64_t clusters = div_round_up(bytes, q->cluster_size);
    *out_offset = 0;
    if (clusters == 0) {
        return 0;
    }
    int64_t offset = qcow2_alloc_exact(q, clusters);
    if (offset < 0) {
        return (int)offset;
    }
    *out_offset = (uint64_t)offset;
    Qcow2Freed run = { (uint64_t)offset, clusters << q->cluster_bits };
    g_array_append_val(change->taken, run);
    q->fresh_from = MAX(q->fresh_from, run.offset + run.length);
    return 0;
}

/* Takes single clusters until @list has @count of them. */
static int take_singles(Qcow2Switch *change, GArray *list, uint64_t count)
{
    int rc = 0;
    while (list->len < count && rc == 0) {
        uint64_t offset;
        rc = take_run(change, 1, &offset);
        if (rc == 0) {
            g_array_append_val(list, offset);
        }
    }
    return rc;
}

static uint64_t count_blocks(const Qcow2 *q)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < q->reftable_entries; i++) {
        count += q->reftable[i] != 0;
    }
    return count;
}

/* Space for the refcount structures: taking it may make them larger. */
static int take_structures(Qcow2Switch *change)
{
    Qcow2 *q = change->q;
    int rc = 0;
    uint32_t clusters = 0;
    while (rc == 0 &&
           (change->blocks->len < count_blocks(q) || clusters != q->header.reftable_clusters)) {
        if (clusters != q->header.reftable_clusters) {
            clusters = q->header.reftable_clusters;
            rc = take_run(change, (uint64_t)clusters << q->cluster_bits, &change->reftable_offset);
        }
        if (rc == 0) {
            rc = take_singles(change, change->blocks, count_blocks(q));
        }
    }
    return rc;
}

static void give_back(Qcow2Switch *change)
{
    Qcow2 *q = change->q;
    for (guint i = 0; i < change->taken->len && !q->is_corrupt; i++) {
        const Qcow2Freed *run = &g_array_index(change->taken, Qcow2Freed, i);
        for (uint64_t at = 0; at < run->length; at += q->cluster_size) {
            uint64_t count;
            if (qcow2_refcount_get(q, qcow2_cluster_of(q, run->offset + at), &count) == 0 &&
                count > 0) {
                (void)!qcow2_free_now(q, run->offset + at, q->cluster_size);
            }
        }
    }
}

static void done(Qcow2Switch *change)
{
    change->q->is_switching = false;
    g_clear_pointer(&change->taken, g_array_unref);
    g_clear_pointer(&change->blocks, g_array_unref);
    g_clear_pointer(&change->tables, g_array_unref);
    g_clear_pointer(&change->old_reftable, g_free);
}

/* Copies of the refcount blocks, in which all changes are made from here on. */

static int copy_block(Qcow2Switch *change, uint32_t index, uint64_t place, uint8_t *buf)
{
    Qcow2 *q = change->q;
    uint64_t old = q->reftable[index];
    Qcow2Table *block;
    if (old & QCOW2_REFTABLE_RESERVED || qcow2_in_cluster(q, old)) {
        return qcow2_corrupt(q, "refcount block offset %#" G_GINT64_MODIFIER "x is invalid", old);
    }
    int rc = qcow2_cache_get(&q->refblock_cache, old, &block);
    if (rc == 0) {
        memcpy(buf, block->data, q->cluster_size);
        qcow2_cache_forget(&q->refblock_cache, old);
        rc = qcow2_cache_get_empty(&q->refblock_cache, place, &block);
    }
    if (rc == 0) {
        memcpy(block->data, buf, q->cluster_size);
        q->reftable[index] = place;
    }
    return rc;
}

static int copy_structures(Qcow2Switch *change)
{
    Qcow2 *q = change->q;
    uint64_t bytes = q->reftable_entries * 8ull;
    g_autofree uint8_t *buf = g_try_malloc(q->cluster_size);
    change->old_reftable = g_try_malloc(bytes);
    if (!buf || !change->old_reftable) {
        return -ENOMEM;
    }
    memcpy(change->old_reftable, q->reftable, bytes);
    change->old = q->header;
    q->header.reftable_offset = change->reftable_offset;
    change->is_copied = true;
    q->is_switching = true;
    int rc = 0;
    for (uint32_t i = 0, next = 0; i < q->reftable_entries && rc == 0; i++) {
        if (q->reftable[i]) {
            rc = copy_block(change, i, g_array_index(change->blocks, uint64_t, next++), buf);
        }
    }
    return rc;
}

/* Nothing is left to be written, and nothing waits to be released. */
static int settle(Qcow2 *q)
{
    int rc = q->is_corrupt ? -EIO : qcow2_write_metadata(q);
    if (rc == 0) {
        rc = qcow2_release_freed(q);
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    return rc < 0 ? rc : block_child_flush(q->node->file);
}

int qcow2_switch_begin(Qcow2Switch *change, Qcow2 *q, const Qcow2SwitchSpace *space)
{
    *change = (Qcow2Switch){
        .q = q,
        .taken = g_array_new(FALSE, FALSE, sizeof(Qcow2Freed)),
        .blocks = g_array_new(FALSE, FALSE, sizeof(uint64_t)),
        .tables = g_array_new(FALSE, FALSE, sizeof(uint64_t)),
    };
    int rc = settle(q);
    if (rc == 0) {
        rc = take_run(change, space->l1_entries * 8ull, &change->l1_offset);
    }
    if (rc == 0) {
        rc = take_run(change, space->snapshots_bytes, &change->snapshots_offset);
    }
    if (rc == 0) {
        rc = take_singles(change, change->tables, space->tables);
    }
    if (rc == 0) {
        rc = take_structures(change);
    }
    if (rc == 0) {
        rc = copy_structures(change);
    }
    if (rc < 0) {
        qcow2_switch_abort(change);
    }
    return rc;
}

void qcow2_switch_abort(Qcow2Switch *change)
{
    Qcow2 *q = change->q;
    if (change->is_copied) {
        /* All that the caches hold besides was written when this began. */
        qcow2_cache_clear(&q->refblock_cache);
        qcow2_cache_clear(&q->l2_cache);
        memcpy(q->reftable, change->old_reftable, q->reftable_entries * 8ull);
        q->header.reftable_offset = change->old.reftable_offset;
        q->header.l1_offset = change->old.l1_offset;
        q->header.l1_size = change->old.l1_size;
        q->header.size = change->old.size;
        q->header.snapshots_offset = change->old.snapshots_offset;
        q->header.snapshot_count = change->old.snapshot_count;
        q->compressed_at = 0;
        q->is_switching = false;
    }
    give_back(change);
    q->free_hint = 0;
    done(change);
}

/* Changes */

int qcow2_switch_fit_table(Qcow2Switch *change, uint64_t *l1_entry)
{
    Qcow2 *q = change->q;
    uint64_t count, offset = *l1_entry & QCOW2_OFFSET_MASK;
    Qcow2Table *table;
    if (offset == 0) {
        return 0;
    }
    g_autofree uint8_t *copy = NULL;
    int rc = qcow2_cache_get(&q->l2_cache, offset, &table);
    for (unsigned i = 0; rc == 0 && i < 1u << q->l2_bits; i++) {
        Qcow2Entry entry = qcow2_entry_get(q, table, i);
        uint64_t host = entry.word & QCOW2_OFFSET_MASK;
        if (!host || qcow2_entry_is_compressed(entry) || qcow2_has_data_file(q)) {
            continue;
        }
        rc = qcow2_refcount_get(q, qcow2_cluster_of(q, host), &count);
        if (rc == 0 && (count == 1) != !!(entry.word & QCOW2_COPIED)) {
            copy = copy ? copy : g_memdup2(table->data, q->cluster_size);
            be64_put(copy + (size_t)i * q->l2_entry_size, entry.word ^ QCOW2_COPIED);
        }
    }
    if (rc == 0 && copy) {
        if (change->used_tables == change->tables->len) {
            return qcow2_corrupt(q, "flags of table %#" G_GINT64_MODIFIER "x are wrong", offset);
        }
        uint64_t place = g_array_index(change->tables, uint64_t, change->used_tables++);
        rc = qcow2_free_now(q, offset, q->cluster_size);
        if (rc == 0) {
            rc = qcow2_cache_get_empty(&q->l2_cache, place, &table);
        }
        if (rc == 0) {
            memcpy(table->data, copy, q->cluster_size);
            offset = place;
        }
    }
    if (rc == 0) {
        rc = qcow2_refcount_get(q, qcow2_cluster_of(q, offset), &count);
    }
    if (rc == 0) {
        *l1_entry = offset | (count == 1 ? QCOW2_COPIED : 0);
    }
    return rc;
}

/* The old refcount structures and what was taken for nothing are free in the new ones. */
static int free_old(Qcow2Switch *change)
{
    Qcow2 *q = change->q;
    int rc = qcow2_free_now(q, change->old.reftable_offset,
                            (uint64_t)change->old.reftable_clusters << q->cluster_bits);
    for (uint32_t i = 0; i < q->reftable_entries && rc == 0; i++) {
        if (change->old_reftable[i]) {
            rc = qcow2_free_now(q, change->old_reftable[i], q->cluster_size);
        }
    }
    for (guint i = change->used_tables; i < change->tables->len && rc == 0; i++) {
        rc = qcow2_free_now(q, g_array_index(change->tables, uint64_t, i), q->cluster_size);
    }
    for (guint i = (guint)count_blocks(q); i < change->blocks->len && rc == 0; i++) {
        rc = qcow2_free_now(q, g_array_index(change->blocks, uint64_t, i), q->cluster_size);
    }
    return rc;
}

/* Writes @count words, big-endian, and zeroes up to the end of the last cluster. */
static int write_words(Qcow2 *q, uint64_t offset, const uint64_t *words, uint64_t count)
{
    uint64_t bytes = round_up(count * 8, q->cluster_size);
    g_autofree uint8_t *raw = g_try_malloc0(bytes + 1);
    if (!raw) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < count; i++) {
        be64_put(raw + i * 8, words[i]);
    }
    return bytes ? block_child_write(q->node->file, offset, raw, bytes) : 0;
}

static int write_all(Qcow2Switch *change, const uint64_t *l1, uint32_t entries)
{
    Qcow2 *q = change->q;
    int rc = write_words(q, change->l1_offset, l1, entries);
    if (rc == 0) {
        rc = free_old(change);
    }
    if (rc == 0) {
        rc = write_words(q, change->reftable_offset, q->reftable, q->reftable_entries);
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    return rc < 0 ? rc : block_child_flush(q->node->file);
}

int qcow2_switch_commit(Qcow2Switch *change, const uint64_t *l1, uint32_t entries)
{
    Qcow2 *q = change->q;
    int rc = write_all(change, l1, entries);
    if (rc < 0) {
        qcow2_switch_abort(change);
        return rc;
    }
    q->header.l1_offset = change->l1_offset;
    q->header.l1_size = entries;
    rc = qcow2_header_write_fields(q);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        /* Nobody knows which header is there. What the old one leads to can still be read. */
        q->is_corrupt = true;
        qcow2_switch_abort(change);
        return rc;
    }
    done(change);
    return 0;
}
