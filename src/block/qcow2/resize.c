/* Resizing of qcow2 images.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/bitmap.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

static int write_l1_copy(Qcow2 *q, uint64_t offset, const uint64_t *l1, uint32_t entries)
{
    uint64_t bytes = round_up(MAX(entries, 1) * 8ull, q->cluster_size);
    g_autofree uint8_t *raw = g_try_malloc0(bytes);
    if (!raw) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < entries; i++) {
        be64_put(raw + i * 8ull, l1[i]);
    }
    return block_child_write(q->node->file, offset, raw, bytes);
}

int qcow2_store_l1(Qcow2 *q, const uint64_t *l1, uint32_t entries, uint64_t *out_offset)
{
    uint64_t clusters = MAX(div_round_up(entries * 8ull, q->cluster_size), 1);
    int64_t offset = qcow2_alloc_exact(q, clusters);
    if (offset < 0) {
        return (int)offset;
    }
    q->fresh_from = MAX(q->fresh_from, (uint64_t)offset + (clusters << q->cluster_bits));
    int rc = write_l1_copy(q, (uint64_t)offset, l1, entries);
    if (rc < 0) {
        qcow2_free_now(q, (uint64_t)offset, clusters << q->cluster_bits);
        return rc;
    }
    *out_offset = (uint64_t)offset;
    return 0;
}

/* Has header fields on disk; a failure leaves it open which ones are there. */
int qcow2_switch_header(Qcow2 *q)
{
    int rc = qcow2_write_metadata(q);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc == 0) {
        rc = qcow2_header_write_fields(q);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        q->is_corrupt = true;
    }
    return rc;
}

int qcow2_grow_l1(Qcow2 *q, uint32_t entries)
{
    if (entries <= q->l1_size) {
        return 0;
    }
    if (entries > QCOW2_L1_BYTES_MAX / 8) {
        return -EFBIG;
    }
    g_autofree uint64_t *l1 = g_try_malloc0(entries * 8ull);
    if (!l1) {
        return -ENOMEM;
    }
    memcpy(l1, q->l1, q->l1_size * 8ull);
    uint64_t offset, old_offset = q->header.l1_offset;
    uint64_t old_bytes = round_up(MAX(q->l1_size, 1) * 8ull, q->cluster_size);
    int rc = qcow2_store_l1(q, l1, entries, &offset);
    if (rc < 0) {
        return rc;
    }
    q->header.l1_offset = offset;
    q->header.l1_size = entries;
    rc = qcow2_switch_header(q);
    if (rc < 0) {
        return rc;
    }
    if (old_offset) {
        qcow2_free_later(q, old_offset, old_bytes);
    }
    g_free(q->l1);
    q->l1 = g_steal_pointer(&l1);
    q->l1_size = entries;
    return 0;
}

/* Clears the entries of clusters from @first on. */
static int cut_off(Qcow2 *q, uint64_t first)
{
    for (uint32_t i = (uint32_t)(first >> q->l2_bits); i < q->l1_size; i++) {
        uint64_t guest = ((uint64_t)i << q->l2_bits) << q->cluster_bits;
        Qcow2Table *table;
        int rc = qcow2_l2_table(q, guest, false, &table);
        if (rc == 0 && table) {
            rc = qcow2_l2_table(q, guest, true, &table);
        }
        if (rc < 0) {
            return rc;
        }
        for (uint64_t index = 0; table && index < 1ull << q->l2_bits; index++) {
            Qcow2Entry entry = qcow2_entry_get(q, table, (unsigned)index);
            bool is_kept = ((uint64_t)i << q->l2_bits) + index < first;
            if (!is_kept && (entry.word || entry.bits)) {
                qcow2_entry_free(q, entry);
                qcow2_entry_set(q, table, (unsigned)index, (Qcow2Entry){ 0 });
            }
        }
    }
    return 0;
}

static int set_size(Qcow2 *q, uint64_t size)
{
    uint64_t old = q->header.size;
    q->header.size = size;
    int rc = qcow2_switch_header(q);
    if (rc < 0) {
        q->header.size = old;
        return rc;
    }
    __atomic_store_n(&q->node->size, size, __ATOMIC_RELAXED);
    return 0;
}

/* What a shrunk image left in its last cluster, and what the backing has past the old end, must not
 * appear. The size is the new one. */
static int clear_grown(Qcow2 *q, uint64_t from, uint64_t to)
{
    BlockNode *backing = q->node->backing;
    uint64_t end = MIN(round_up(from, q->cluster_size), to);
    if (backing && backing->size > from) {
        end = MAX(end, MIN(backing->size, to));
    }
    if (end == from) {
        return 0;
    }
    int rc = qcow2_write_zeroes(q->node, from, end - from, 0);
    if (rc != -ENOTSUP) {
        return rc;
    }
    g_autofree uint8_t *zeroes = g_malloc0(q->cluster_size);
    rc = 0;
    for (uint64_t at = from; at < end && rc == 0;) {
        uint64_t part = MIN(q->cluster_size - qcow2_in_cluster(q, at), end - at);
        struct iovec iov = { zeroes, part };
        BlockVec vec = { &iov, 1 };
        rc = qcow2_write(q->node, at, part, &vec, 0);
        at += part;
    }
    return rc;
}

/* Maps the clusters of a range that are not mapped. The lock is held. */
static int map_some(Qcow2 *q, uint64_t *from, uint64_t to, BlockPreallocation mode)
{
    Qcow2Table *table;
    uint64_t got, wanted = 0;
    int rc = qcow2_l2_table(q, *from, true, &table);
    if (rc < 0) {
        return rc;
    }
    unsigned index = qcow2_l2_index(q, *from);
    uint64_t most =
        MIN(qcow2_cluster_of(q, to - *from + q->cluster_size - 1), (1ull << q->l2_bits) - index);
    while (wanted < most && qcow2_entry_get(q, table, index + (unsigned)wanted).word == 0) {
        wanted++;
    }
    if (wanted == 0) {
        *from = round_down(*from, q->cluster_size) + q->cluster_size;
        return 0;
    }
    int64_t host = qcow2_alloc_clusters(q, wanted, &got);
    if (host < 0) {
        return (int)host;
    }
    uint64_t bytes = got << q->cluster_bits;
    bool is_fresh = (uint64_t)host >= q->fresh_from;
    q->fresh_from = MAX(q->fresh_from, (uint64_t)host + bytes);
    if (mode == BLOCK_PREALLOCATION_FALLOC) {
        rc = block_child_allocate(q->data, (uint64_t)host, bytes);
        rc = rc == -ENOTSUP ? 0 : rc;
    }
    if (rc == 0 && (!is_fresh || mode == BLOCK_PREALLOCATION_FULL)) {
        rc = block_child_zero(q->data, (uint64_t)host, bytes, 0);
    }
    if (rc == 0 && mode == BLOCK_PREALLOCATION_METADATA) {
        uint64_t there;
        rc = block_child_size(q->node->file, &there);
        if (rc == 0 && there < (uint64_t)host + bytes) {
            rc = block_child_truncate(q->node->file, (uint64_t)host + bytes);
        }
    }
    if (rc == 0) {
        rc = qcow2_l2_table(q, *from, true, &table);
    }
    for (uint64_t i = 0; i < got && rc == 0; i++) {
        Qcow2Entry entry = { ((uint64_t)host + (i << q->cluster_bits)) | QCOW2_COPIED,
                             q->l2_entry_size == 16 ? UINT32_MAX : 0 };
        qcow2_entry_set(q, table, index + (unsigned)i, entry);
    }
    if (rc < 0) {
        qcow2_free_now(q, (uint64_t)host, bytes);
    }
    q->needs_barrier = true;
    *from = round_down(*from, q->cluster_size) + bytes;
    return rc;
}

static int preallocate(Qcow2 *q, uint64_t from, uint64_t to, BlockPreallocation mode)
{
    int rc = 0;
    if (mode == BLOCK_PREALLOCATION_OFF || q->data != q->node->file) {
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    while (from < to && rc == 0) {
        rc = map_some(q, &from, to, mode);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static bool can_resize(const Qcow2 *q, uint64_t size, BlockPreallocation preallocation,
                       GError **error)
{
    const char *why = NULL;
    if (q->is_corrupt) {
        why = "the image is corrupt";
    } else if (size % 512) {
        why = "The new size must be a multiple of 512";
    } else if (q->header.version < 3 && q->header.snapshot_count) {
        why = "Can't resize a v2 image which has snapshots";
    } else if (size < q->header.size && preallocation != BLOCK_PREALLOCATION_OFF) {
        why = "Preallocation can't be used for shrinking an image";
    }
    if (why) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "%s", why);
    }
    return !why && qcow2_bitmaps_can_resize(q, error);
}

static int shrink(Qcow2 *q, uint64_t size)
{
    pthread_mutex_lock(&q->lock);
    /* The size goes first: a cut in between leaves mapped clusters past the end, which do no harm.
     */
    int rc = set_size(q, size);
    if (rc == 0) {
        rc = cut_off(q, div_round_up(size, q->cluster_size));
    }
    pthread_mutex_unlock(&q->lock);
    return rc < 0 ? rc : qcow2_flush_alone(q);
}

static int grow(Qcow2 *q, uint64_t size, BlockPreallocation preallocation)
{
    uint64_t old = q->header.size;
    uint64_t entries = div_round_up(size, 1ull << (q->cluster_bits + q->l2_bits));
    if (entries > QCOW2_L1_BYTES_MAX / 8) {
        return -EFBIG;
    }
    pthread_mutex_lock(&q->lock);
    /* What a cut short shrink left past the end must not come back. */
    int rc = cut_off(q, div_round_up(old, q->cluster_size));
    if (rc == 0) {
        rc = qcow2_grow_l1(q, (uint32_t)entries);
    }
    pthread_mutex_unlock(&q->lock);
    /* Zeroed before the size says that it is there. */
    if (rc == 0) {
        uint64_t shown = q->node->size;
        __atomic_store_n(&q->node->size, size, __ATOMIC_RELAXED);
        rc = clear_grown(q, old, size);
        if (rc == 0) {
            rc = preallocate(q, round_up(old, q->cluster_size), size, preallocation);
        }
        __atomic_store_n(&q->node->size, shown, __ATOMIC_RELAXED);
    }
    if (rc == 0 && q->data != q->node->file) {
        rc = block_truncate(q->data, size,
                            preallocation == BLOCK_PREALLOCATION_METADATA ? BLOCK_PREALLOCATION_OFF
                                                                          : preallocation,
                            NULL)
                 ? 0
                 : -EIO;
    }
    if (rc == 0) {
        rc = qcow2_flush_alone(q);
    }
    pthread_mutex_lock(&q->lock);
    if (rc == 0) {
        rc = set_size(q, size);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

bool qcow2_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                    GError **error)
{
    Qcow2 *q = qcow2_of(node);
    if (!can_resize(q, size, preallocation, error)) {
        return false;
    }
    int rc = size < q->header.size ? shrink(q, size) : grow(q, size, preallocation);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Failed to resize '%s'", node->filename);
    }
    return rc == 0;
}
