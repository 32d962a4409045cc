/* qcow2 mapping: L1 and L2 tables, entries with and without subclusters.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/qcow2/bitmap.h"

#include <errno.h>
#include <string.h>

int qcow2_corrupt(Qcow2 *q, const char *fmt, ...)
{
    va_list list;
    if (!q->is_corrupt) {
        va_start(list, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, list);
        va_end(list);
        log_warn("qcow2: '%s' is corrupt: %s; no more writes", q->node->filename, text);
        q->is_corrupt = true;
        if (q->is_writable) {
            qcow2_set_incompatible(q, QCOW2_INCOMPATIBLE_CORRUPT, 0);
        }
    }
    return -EIO;
}

static bool overlaps(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
    return a_length && b_length && a < b + b_length && b < a + a_length;
}

int qcow2_check_overlap(Qcow2 *q, uint64_t offset, uint64_t length)
{
    const Qcow2Header *header = &q->header;
    const struct {
        const char *what;
        uint64_t offset, length;
    } areas[] = {
        { "the header", 0, q->cluster_size },
        { "the active L1 table", header->l1_offset, q->l1_size * 8ull },
        { "the refcount table", header->reftable_offset,
          (uint64_t)header->reftable_clusters << q->cluster_bits },
        { "the snapshot table", header->snapshots_offset, header->snapshot_count ? 40 : 0 },
        { "the bitmap directory", header->bitmap_directory_offset, header->bitmap_directory_size },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(areas); i++) {
        if (overlaps(offset, length, areas[i].offset, areas[i].length)) {
            return qcow2_corrupt(q, "a write to %#" G_GINT64_MODIFIER "x would hit %s", offset,
                                 areas[i].what);
        }
    }
    for (uint32_t i = 0; i < header->snapshot_count && q->snapshots; i++) {
        if (overlaps(offset, length, q->snapshots[i].l1_offset, q->snapshots[i].l1_size * 8ull)) {
            return qcow2_corrupt(q, "a write to %#" G_GINT64_MODIFIER "x would hit a snapshot",
                                 offset);
        }
    }
    for (guint i = 0; q->bitmaps && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *bitmap = q->bitmaps->pdata[i];
        if (overlaps(offset, length, bitmap->table_offset, bitmap->table_entries * 8ull)) {
            return qcow2_corrupt(
                q, "a write to %#" G_GINT64_MODIFIER "x would hit a bitmap's table", offset);
        }
    }
    for (uint64_t at = round_down(offset, q->cluster_size); at < offset + length;
         at += q->cluster_size) {
        if (at &&
            (qcow2_cache_holds(&q->l2_cache, at) || qcow2_cache_holds(&q->refblock_cache, at))) {
            return qcow2_corrupt(q, "a write to %#" G_GINT64_MODIFIER "x would hit a table", at);
        }
    }
    return 0;
}

unsigned qcow2_l2_index(const Qcow2 *q, uint64_t offset)
{
    return (unsigned)(qcow2_cluster_of(q, offset) & ((1ull << q->l2_bits) - 1));
}

Qcow2Entry qcow2_entry_get(const Qcow2 *q, const Qcow2Table *table, unsigned index)
{
    const uint8_t *raw = table->data + (size_t)index * q->l2_entry_size;
    return (Qcow2Entry){ be64_get(raw), q->l2_entry_size == 16 ? be64_get(raw + 8) : 0 };
}

void qcow2_entry_set(Qcow2 *q, Qcow2Table *table, unsigned index, Qcow2Entry entry)
{
    uint8_t *raw = table->data + (size_t)index * q->l2_entry_size;
    be64_put(raw, entry.word);
    if (q->l2_entry_size == 16) {
        be64_put(raw + 8, entry.bits);
    }
    qcow2_cache_mark(&q->l2_cache, table);
}

int qcow2_write_l1_entry(Qcow2 *q, uint32_t index)
{
    uint8_t raw[8];
    be64_put(raw, q->l1[index]);
    return block_child_write(q->node->file, q->header.l1_offset + index * 8ull, raw, sizeof(raw));
}

/* A new L2 table for L1 entry @index: empty, or a copy of the one that a snapshot shares. */
static int make_l2_table(Qcow2 *q, uint32_t index, uint64_t old)
{
    Qcow2Table *table, *shared = NULL;
    int64_t offset = qcow2_alloc_exact(q, 1);
    if (offset < 0) {
        return (int)offset;
    }
    g_autofree uint8_t *copy = NULL;
    int rc = 0;
    if (old) {
        rc = qcow2_cache_get(&q->l2_cache, old, &shared);
        copy = rc == 0 ? g_memdup2(shared->data, q->cluster_size) : NULL;
    }
    if (rc == 0) {
        rc = qcow2_cache_get_empty(&q->l2_cache, (uint64_t)offset, &table);
    }
    if (rc == 0 && copy) {
        memcpy(table->data, copy, q->cluster_size);
    }
    /* Refcounts and the table are on disk before the L1 entry is. */
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    uint64_t before = q->l1[index];
    if (rc == 0) {
        q->l1[index] = (uint64_t)offset | QCOW2_COPIED;
        q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + q->cluster_size);
        rc = qcow2_write_l1_entry(q, index);
    }
    if (rc < 0) {
        /* The entry may be on disk: the table's cluster is leaked rather than used again. */
        q->l1[index] = before;
        qcow2_cache_forget(&q->l2_cache, (uint64_t)offset);
        return rc;
    }
    if (old) {
        qcow2_free_later(q, old, q->cluster_size);
    }
    return 0;
}

int qcow2_l2_table(Qcow2 *q, uint64_t offset, bool make, Qcow2Table **out_table)
{
    uint64_t index = qcow2_cluster_of(q, offset) >> q->l2_bits;
    *out_table = NULL;
    if (index >= q->l1_size) {
        return make ? -EFBIG : 0;
    }
    uint64_t entry = q->l1[index];
    uint64_t table = entry & QCOW2_OFFSET_MASK;
    if (entry & QCOW2_L1_RESERVED || qcow2_in_cluster(q, table)) {
        return qcow2_corrupt(q, "L1 entry %" G_GUINT64_FORMAT " is invalid", index);
    }
    if (!table && !make) {
        return 0;
    }
    if (make && !(entry & QCOW2_COPIED)) {
        int rc = make_l2_table(q, (uint32_t)index, table);
        if (rc < 0) {
            return rc;
        }
        table = q->l1[index] & QCOW2_OFFSET_MASK;
    }
    if (make && table == 0) {
        return qcow2_corrupt(q, "L1 entry %" G_GUINT64_FORMAT " is invalid", index);
    }
    return qcow2_cache_get(&q->l2_cache, table, out_table);
}

void qcow2_compressed_place(const Qcow2 *q, uint64_t word, uint64_t *out_offset,
                            uint64_t *out_length)
{
    unsigned sector_bits = q->cluster_bits - 8;
    unsigned offset_bits = 62 - sector_bits;
    uint64_t offset = word & ((1ull << offset_bits) - 1);
    uint64_t sectors = ((word & (QCOW2_COMPRESSED - 1)) >> offset_bits) + 1;
    *out_offset = offset;
    *out_length = sectors * 512 - (offset & 511);
}

void qcow2_entry_free(Qcow2 *q, Qcow2Entry entry)
{
    if (qcow2_entry_is_compressed(entry)) {
        uint64_t offset, length;
        qcow2_compressed_place(q, entry.word, &offset, &length);
        qcow2_free_later(q, offset, length);
    } else if ((entry.word & QCOW2_OFFSET_MASK) && q->data == q->node->file) {
        qcow2_free_later(q, entry.word & QCOW2_OFFSET_MASK, q->cluster_size);
    }
}

/* The kind of subcluster @sub of @entry; -EIO: an entry that cannot be. */
static int kind_of(const Qcow2 *q, Qcow2Entry entry, unsigned sub, Qcow2Kind *out_kind)
{
    bool has_host = entry.word & QCOW2_OFFSET_MASK;
    if (qcow2_entry_is_compressed(entry)) {
        *out_kind = QCOW2_COMPRESSED_DATA;
        return entry.bits || q->data != q->node->file ? -EIO : 0;
    }
    if (q->data != q->node->file) {
        has_host =
            entry.word & (QCOW2_OFFSET_MASK | QCOW2_COPIED); /* offset 0 is a cluster there */
    }
    if (q->l2_entry_size == 16) {
        bool is_data = entry.bits >> sub & 1, is_zero = entry.bits >> (32 + sub) & 1;
        if ((is_data && is_zero) || (is_data && !has_host) || (entry.word & QCOW2_ZERO)) {
            return -EIO;
        }
        *out_kind = is_data ? QCOW2_NORMAL : is_zero ? QCOW2_ZEROES : QCOW2_UNALLOCATED;
        return 0;
    }
    if (entry.word & QCOW2_ZERO && q->header.version >= 3) {
        *out_kind = QCOW2_ZEROES;
    } else {
        *out_kind = has_host ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
    }
    return 0;
}

static bool host_is_sane(const Qcow2 *q, Qcow2Entry entry)
{
    uint64_t host = entry.word & QCOW2_OFFSET_MASK;
    return qcow2_entry_is_compressed(entry) ||
           (!(entry.word & QCOW2_L2_RESERVED) && qcow2_in_cluster(q, host) == 0);
}

bool qcow2_is_mapped_in_memory(Qcow2 *q, uint64_t offset)
{
    uint64_t index = qcow2_cluster_of(q, offset) >> q->l2_bits;
    uint64_t table = index < q->l1_size ? q->l1[index] & QCOW2_OFFSET_MASK : 0;
    return table == 0 || qcow2_cache_holds(&q->l2_cache, table);
}

int qcow2_map(Qcow2 *q, uint64_t offset, uint64_t length, Qcow2Mapping *out_mapping)
{
    Qcow2Table *table;
    uint64_t cover = 1ull << (q->cluster_bits + q->l2_bits);
    uint64_t limit = MIN(length, cover - (offset & (cover - 1)));
    *out_mapping = (Qcow2Mapping){ .kind = QCOW2_UNALLOCATED, .length = limit };
    int rc = qcow2_l2_table(q, offset, false, &table);
    if (rc < 0 || !table) {
        return rc;
    }
    unsigned index = qcow2_l2_index(q, offset);
    Qcow2Entry first = qcow2_entry_get(q, table, index);
    uint64_t inside = qcow2_in_cluster(q, offset);
    unsigned sub = (unsigned)(inside >> q->subcluster_bits);
    if (!host_is_sane(q, first) || kind_of(q, first, sub, &out_mapping->kind) < 0) {
        return qcow2_corrupt(q,
                             "L2 entry %#" G_GINT64_MODIFIER
                             "x for guest offset %#" G_GINT64_MODIFIER "x is invalid",
                             first.word, offset);
    }
    uint64_t host = first.word & QCOW2_OFFSET_MASK;
    bool is_compressed = out_mapping->kind == QCOW2_COMPRESSED_DATA;
    out_mapping->entry = first.word;
    out_mapping->has_host =
        !is_compressed && (host || (q->data != q->node->file && (first.word & QCOW2_COPIED)));
    out_mapping->is_exclusive = out_mapping->has_host && (first.word & QCOW2_COPIED);
    out_mapping->host = host + inside;
    uint64_t got = (1ull << q->subcluster_bits) - (inside & ((1ull << q->subcluster_bits) - 1));
    Qcow2Entry entry = first;
    while (got < limit && !is_compressed) {
        uint64_t at = inside + got;
        Qcow2Kind kind;
        if (qcow2_in_cluster(q, at) == 0) {
            entry = qcow2_entry_get(q, table, index + (unsigned)qcow2_cluster_of(q, at));
        }
        if (!host_is_sane(q, entry) || qcow2_entry_is_compressed(entry) ||
            kind_of(q, entry, (unsigned)(qcow2_in_cluster(q, at) >> q->subcluster_bits), &kind) <
                0 ||
            kind != out_mapping->kind ||
            (entry.word & QCOW2_COPIED) != (first.word & QCOW2_COPIED)) {
            break;
        }
        uint64_t here = entry.word & QCOW2_OFFSET_MASK;
        bool has_host = here || (q->data != q->node->file && (entry.word & QCOW2_COPIED));
        if (has_host != out_mapping->has_host ||
            (has_host && here != host + (qcow2_cluster_of(q, at) << q->cluster_bits))) {
            break;
        }
        got += 1ull << q->subcluster_bits;
    }
    if (is_compressed) {
        got = q->cluster_size - inside;
    }
    out_mapping->length = MIN(got, limit);
    return 0;
}
