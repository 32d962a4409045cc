/* qcow2 refcounts: look-up, change, allocation, and when clusters are released.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

uint64_t qcow2_refcount_read(const uint8_t *block, unsigned bits, uint64_t index)
{
    switch (bits) {
    case 8:
        return block[index];
    case 16:
        return be16_get(block + index * 2);
    case 32:
        return be32_get(block + index * 4);
    case 64:
        return be64_get(block + index * 8);
    default: {
        unsigned per_byte = 8 / bits;
        unsigned shift = (unsigned)(index % per_byte) * bits;
        return (block[index / per_byte] >> shift) & ((1u << bits) - 1);
    }
    }
}

void qcow2_refcount_store(uint8_t *block, unsigned bits, uint64_t index, uint64_t count)
{
    switch (bits) {
    case 8:
        block[index] = (uint8_t)count;
        break;
    case 16:
        be16_put(block + index * 2, (uint16_t)count);
        break;
    case 32:
        be32_put(block + index * 4, (uint32_t)count);
        break;
    case 64:
        be64_put(block + index * 8, count);
        break;
    default: {
        unsigned per_byte = 8 / bits;
        unsigned shift = (unsigned)(index % per_byte) * bits;
        uint8_t *byte = &block[index / per_byte];
        *byte = (uint8_t)((*byte & ~(((1u << bits) - 1) << shift)) | (unsigned)count << shift);
    }
    }
}

static uint64_t refcount_max(const Qcow2 *q)
{
    return q->refcount_bits == 64 ? UINT64_MAX : (1ull << q->refcount_bits) - 1;
}

bool qcow2_refcounts_load(Qcow2 *q, GError **error)
{
    uint64_t bytes = (uint64_t)q->header.reftable_clusters << q->cluster_bits;
    q->refcount_bits = 1u << q->header.refcount_order;
    q->refblock_bits = q->cluster_bits + 3 - q->header.refcount_order;
    q->reftable_entries = (uint32_t)(bytes / 8);
    q->reftable = g_try_malloc(MAX(bytes, 1)); /* 0: a repair's */
    int rc = q->reftable
                 ? block_child_read(q->node->file, q->header.reftable_offset, q->reftable, bytes)
                 : -ENOMEM;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot read the refcount table");
        return false;
    }
    for (uint32_t i = 0; i < q->reftable_entries; i++) {
        q->reftable[i] = be64_get(&q->reftable[i]);
    }
    return true;
}

/* The offset of the refcount block for @cluster; 0: there is none. */
static int block_offset(Qcow2 *q, uint64_t cluster, uint64_t *out_offset)
{
    uint64_t index = cluster >> q->refblock_bits;
    *out_offset = 0;
    if (index >= q->reftable_entries) {
        return 0;
    }
    uint64_t entry = q->reftable[index];
    if (entry & QCOW2_REFTABLE_RESERVED || qcow2_in_cluster(q, entry) || entry >> 56) {
        return qcow2_corrupt(q, "refcount block offset %#" G_GINT64_MODIFIER "x is invalid", entry);
    }
    *out_offset = entry;
    return 0;
}

int qcow2_refcount_get(Qcow2 *q, uint64_t cluster, uint64_t *out_count)
{
    uint64_t offset;
    Qcow2Table *block;
    *out_count = 0;
    int rc = block_offset(q, cluster, &offset);
    if (rc < 0 || offset == 0) {
        return rc;
    }
    rc = qcow2_cache_get(&q->refblock_cache, offset, &block);
    if (rc == 0) {
        uint64_t index = cluster & ((1ull << q->refblock_bits) - 1);
        *out_count = qcow2_refcount_read(block->data, q->refcount_bits, index);
    }
    return rc;
}

/* Growth of the structures themselves */

static int write_reftable_entry(Qcow2 *q, uint64_t index)
{
    uint8_t raw[8];
    be64_put(raw, q->reftable[index]);
    return block_child_write(q->node->file, q->header.reftable_offset + index * 8, raw,
                             sizeof(raw));
}

/* Looks on from *@cluster to the end of its refcount block, or until *@run free clusters in a row
 * are @count. */
static int look_in_block(Qcow2 *q, uint64_t count, uint64_t *cluster, uint64_t *run)
{
    uint64_t mask = (1ull << q->refblock_bits) - 1;
    uint64_t end = (*cluster | mask) + 1;
    uint64_t offset;
    Qcow2Table *block;
    int rc = block_offset(q, *cluster, &offset);
    if (rc < 0) {
        return rc;
    }
    if (offset == 0) {
        uint64_t more = MIN(end - *cluster, count - *run);
        *run += more;
        *cluster += more;
        return 0;
    }
    rc = qcow2_cache_get(&q->refblock_cache, offset, &block);
    for (; rc == 0 && *cluster < end && *run < count; (*cluster)++) {
        bool is_used = qcow2_refcount_read(block->data, q->refcount_bits, *cluster & mask) != 0;
        *run = is_used ? 0 : *run + 1;
    }
    return rc;
}

/* Finds @count clusters in a row that no refcount block covers or counts. */
static int64_t find_free(Qcow2 *q, uint64_t count)
{
    uint64_t run = 0;
    uint64_t cluster = q->free_hint;
    while (run < count) {
        int rc = look_in_block(q, count, &cluster, &run);
        if (rc < 0) {
            return rc;
        }
    }
    if (cluster > (1ull << 55) >> q->cluster_bits) {
        return -EFBIG;
    }
    return (int64_t)((cluster - count) << q->cluster_bits);
}

/* Moves the refcount table to a larger one, in clusters past all that the present blocks cover;
 * those clusters are covered by new blocks that lie there too. */
static int grow_reftable(Qcow2 *q, uint64_t needed)
{
    uint64_t entries = MAX(needed + needed / 2 + 1, (uint64_t)q->reftable_entries + 1);
    uint64_t clusters = div_round_up(entries * 8, q->cluster_size);
    entries = clusters * q->cluster_size / 8;
    if (entries * 8 > MAX(QCOW2_REFTABLE_BYTES_MAX, q->cluster_size)) {
        return -EFBIG;
    }
    /* The table starts at the first cluster that a block of the new range covers. */
    uint64_t first = needed << q->refblock_bits;
    uint64_t blocks = 1;
    while (blocks << q->refblock_bits < clusters + blocks) {
        blocks++;
    }
    if (needed + blocks > entries) {
        return -EFBIG;
    }
    int rc =
        qcow2_check_overlap(q, first << q->cluster_bits, (clusters + blocks) << q->cluster_bits);
    if (rc < 0) {
        return rc;
    }
    g_autofree uint64_t *table = g_try_malloc0(entries * 8);
    g_autofree uint8_t *raw = g_try_malloc0(entries * 8);
    g_autofree uint8_t *block = g_try_malloc(q->cluster_size);
    if (!table || !raw || !block) {
        return -ENOMEM;
    }
    memcpy(table, q->reftable, q->reftable_entries * 8ull);
    for (uint64_t i = 0; i < blocks && rc == 0; i++) {
        uint64_t offset = (first + clusters + i) << q->cluster_bits;
        memset(block, 0, q->cluster_size);
        for (uint64_t index = 0; index < 1ull << q->refblock_bits; index++) {
            if ((i << q->refblock_bits) + index < clusters + blocks) {
                qcow2_refcount_store(block, q->refcount_bits, index, 1);
            }
        }
        table[needed + i] = offset;
        rc = block_child_write(q->node->file, offset, block, q->cluster_size);
    }
    for (uint64_t i = 0; i < entries; i++) {
        be64_put(raw + i * 8, table[i]);
    }
    if (rc == 0) {
        rc = block_child_write(q->node->file, first << q->cluster_bits, raw, entries * 8);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        return rc;
    }
    uint64_t old_offset = q->header.reftable_offset;
    uint32_t old_clusters = q->header.reftable_clusters;
    q->header.reftable_offset = first << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)clusters;
    rc = qcow2_header_write_fields(q);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        /* What the header on disk says is not known: the image must not be written any more. */
        q->is_corrupt = true;
        return rc;
    }
    g_free(q->reftable);
    q->reftable = g_steal_pointer(&table);
    q->reftable_entries = (uint32_t)entries;
    q->fresh_from = MAX(q->fresh_from, (first + clusters + blocks) << q->cluster_bits);
    qcow2_free_later(q, old_offset, (uint64_t)old_clusters << q->cluster_bits);
    return 0;
}

/* Makes the refcount block that covers @cluster; it takes the first cluster of its own range that
 * is free, which is that range's first: nothing was ever allocated there. */
static int add_block(Qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> q->refblock_bits;
    if (index >= q->reftable_entries) {
        int rc = grow_reftable(q, index);
        if (rc < 0 || q->reftable[index]) {
            return rc;
        }
    }
    uint64_t offset = index << q->refblock_bits << q->cluster_bits;
    Qcow2Table *block;
    int rc = qcow2_check_overlap(q, offset, q->cluster_size);
    if (rc < 0) {
        return rc;
    }
    rc = qcow2_cache_get_empty(&q->refblock_cache, offset, &block);
    if (rc < 0) {
        return rc;
    }
    qcow2_refcount_store(block->data, q->refcount_bits, 0, 1);
    rc = block_child_write(q->node->file, offset, block->data, q->cluster_size);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        qcow2_cache_forget(&q->refblock_cache, offset);
        return rc;
    }
    q->reftable[index] = offset;
    q->fresh_from = MAX(q->fresh_from, offset + q->cluster_size);
    rc = write_reftable_entry(q, index);
    if (rc < 0) {
        q->reftable[index] = 0;
        qcow2_cache_forget(&q->refblock_cache, offset);
    }
    return rc;
}

/* The block for @cluster, made if there is none. */
static int get_block(Qcow2 *q, uint64_t cluster, Qcow2Table **out_block)
{
    uint64_t offset;
    int rc = block_offset(q, cluster, &offset);
    if (rc == 0 && offset == 0) {
        rc = add_block(q, cluster);
        if (rc == 0) {
            rc = block_offset(q, cluster, &offset);
        }
    }
    return rc < 0 ? rc : qcow2_cache_get(&q->refblock_cache, offset, out_block);
}

static int change_one(Qcow2 *q, uint64_t cluster, int delta)
{
    Qcow2Table *block;
    uint64_t offset;
    int rc = block_offset(q, cluster, &offset);
    if (rc == 0 && offset == 0 && (delta < 0 || q->is_switching)) {
        return qcow2_corrupt(q, "cluster %#" G_GINT64_MODIFIER "x has no refcount",
                             cluster << q->cluster_bits);
    }
    if (rc == 0) {
        rc = get_block(q, cluster, &block);
    }
    if (rc < 0) {
        return rc;
    }
    uint64_t index = cluster & ((1ull << q->refblock_bits) - 1);
    uint64_t count = qcow2_refcount_read(block->data, q->refcount_bits, index);
    if (delta < 0 && count == 0) {
        return qcow2_corrupt(q, "refcount of cluster %#" G_GINT64_MODIFIER "x is 0 already",
                             cluster << q->cluster_bits);
    }
    if (delta > 0 && count == refcount_max(q)) {
        return -EMFILE;
    }
    count = delta < 0 ? count - 1 : count + 1;
    qcow2_refcount_store(block->data, q->refcount_bits, index, count);
    qcow2_cache_mark(&q->refblock_cache, block);
    if (delta > 0) {
        q->needs_barrier = true;
    }
    if (count == 0) {
        q->free_hint = MIN(q->free_hint, cluster);
        qcow2_cache_forget(&q->l2_cache, cluster << q->cluster_bits);
        if (q->compressed_at && qcow2_cluster_of(q, q->compressed_at) == cluster) {
            q->compressed_at = 0;
        }
    }
    return 0;
}

int qcow2_refcount_change(Qcow2 *q, uint64_t offset, uint64_t length, int delta)
{
    uint64_t first = qcow2_cluster_of(q, offset);
    uint64_t last = qcow2_cluster_of(q, offset + length - 1);
    for (uint64_t cluster = first; cluster <= last; cluster++) {
        int rc = change_one(q, cluster, delta);
        if (rc < 0) {
            while (cluster-- > first) {
                change_one(q, cluster, -delta);
            }
            return rc;
        }
    }
    return 0;
}

/* Allocation */

/* A free cluster where metadata lie comes from refcounts that are wrong. */
static int64_t checked(Qcow2 *q, int64_t offset, uint64_t count)
{
    int rc = qcow2_check_overlap(q, (uint64_t)offset, count << q->cluster_bits);
    return rc < 0 ? rc : offset;
}

int64_t qcow2_alloc_clusters(Qcow2 *q, uint64_t count, uint64_t *out_count)
{
    int64_t offset = find_free(q, 1);
    if (offset < 0) {
        return offset;
    }
    uint64_t first = qcow2_cluster_of(q, (uint64_t)offset), got = 0;
    while (got < count) {
        uint64_t refcount, block;
        int rc = qcow2_refcount_get(q, first + got, &refcount);
        if (rc == 0) {
            rc = block_offset(q, first + got, &block);
        }
        if (rc < 0) {
            return rc;
        }
        if (refcount) {
            break;
        }
        if (block == 0) {
            /* A new block takes the cluster itself: what was found before it is used first. */
            if (got > 0) {
                break;
            }
            rc = add_block(q, first);
            if (rc < 0) {
                return rc;
            }
            q->free_hint = first;
            return qcow2_alloc_clusters(q, count, out_count);
        }
        rc = change_one(q, first + got, 1);
        if (rc < 0 && got == 0) {
            return rc;
        }
        if (rc < 0) {
            break;
        }
        got++;
    }
    q->free_hint = first + got;
    *out_count = got;
    return checked(q, offset, got);
}

int64_t qcow2_alloc_exact(Qcow2 *q, uint64_t count)
{
    for (;;) {
        int64_t offset = find_free(q, count);
        if (offset < 0) {
            return offset;
        }
        uint64_t first = qcow2_cluster_of(q, (uint64_t)offset);
        bool has_blocks = true;
        for (uint64_t i = 0; i < count && has_blocks;
             i = ((((first + i) >> q->refblock_bits) + 1) << q->refblock_bits) - first) {
            uint64_t block;
            int rc = block_offset(q, first + i, &block);
            if (rc == 0 && block == 0) {
                /* It takes a cluster of the run: look again afterwards. */
                has_blocks = false;
                rc = add_block(q, first + i);
            }
            if (rc < 0) {
                return rc;
            }
        }
        if (has_blocks) {
            int rc = qcow2_refcount_change(q, (uint64_t)offset, count << q->cluster_bits, 1);
            if (rc == 0 && count == 1) {
                q->free_hint = first + 1; /* it was the first that is free */
            }
            return rc < 0 ? rc : checked(q, offset, count);
        }
    }
}

/* Another reference to the cluster where the last compressed data ended; what they left of it is
 * used from there. Returns: whether there is one. */
static int continue_cluster(Qcow2 *q, uint64_t at, uint64_t end, int64_t *out_offset)
{
    int rc = qcow2_refcount_change(q, at, 1, 1);
    if (rc == -EMFILE) {
        return 0; /* as many as its refcount can count */
    }
    if (rc < 0) {
        return rc;
    }
    q->compressed_at = qcow2_in_cluster(q, end) ? end : 0;
    *out_offset = (int64_t)at;
    return 1;
}

int64_t qcow2_alloc_bytes(Qcow2 *q, uint64_t length)
{
    uint64_t at = q->compressed_at;
    int64_t found = 0;
    if (at && at + length <= round_up(at, q->cluster_size)) {
        int rc = continue_cluster(q, at, at + length, &found);
        if (rc) {
            return rc < 0 ? rc : found;
        }
        at = 0;
    }
    int64_t offset = qcow2_alloc_exact(q, 1);
    if (offset < 0) {
        return offset;
    }
    /* The next cluster of the file: the data begin in the last one. */
    if (at && at == q->compressed_at && (uint64_t)offset == round_up(at, q->cluster_size)) {
        int rc = continue_cluster(q, at, at + length, &found);
        if (rc < 0) {
            qcow2_free_now(q, (uint64_t)offset, q->cluster_size);
        }
        if (rc) {
            return rc < 0 ? rc : found;
        }
    }
    q->compressed_at = length < q->cluster_size ? (uint64_t)offset + length : 0;
    return offset;
}

/* Release */

void qcow2_free_later(Qcow2 *q, uint64_t offset, uint64_t length)
{
    if (q->freed->len) {
        Qcow2Freed *last = &g_array_index(q->freed, Qcow2Freed, q->freed->len - 1);
        if (last->offset + last->length == offset && qcow2_in_cluster(q, offset) == 0) {
            last->length += length;
            return;
        }
    }
    Qcow2Freed freed = { offset, length };
    g_array_append_val(q->freed, freed);
}

int qcow2_free_now(Qcow2 *q, uint64_t offset, uint64_t length)
{
    return qcow2_refcount_change(q, offset, length, -1);
}

int qcow2_before_l2(Qcow2 *q)
{
    int rc = qcow2_cache_write(&q->refblock_cache);
    if (rc < 0 || !q->needs_barrier) {
        return rc;
    }
    rc = q->data != q->node->file ? block_child_flush(q->data) : 0;
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc == 0) {
        q->needs_barrier = false;
    }
    return rc;
}

int qcow2_write_metadata(Qcow2 *q)
{
    if (!q->l2_cache.dirty) {
        return qcow2_cache_write(&q->refblock_cache);
    }
    int rc = qcow2_before_l2(q);
    return rc < 0 ? rc : qcow2_cache_write(&q->l2_cache);
}

int qcow2_release_freed(Qcow2 *q)
{
    int result = 0;
    if (q->freed->len == 0) {
        return 0;
    }
    int rc = block_child_flush(q->node->file);
    if (rc < 0) {
        return rc;
    }
    /* The list is taken over first: changes of refcounts may add to it. */
    GArray *freed = q->freed;
    q->freed = g_array_new(FALSE, FALSE, sizeof(Qcow2Freed));
    for (unsigned i = 0; i < freed->len; i++) {
        const Qcow2Freed *range = &g_array_index(freed, Qcow2Freed, i);
        rc = qcow2_free_now(q, range->offset, range->length);
        result = rc < 0 ? rc : result;
    }
    g_array_unref(freed);
    return result;
}
