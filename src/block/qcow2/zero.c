/* qcow2 zeroes and discards: whole clusters by their L2 entries, the edges by writing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* Freed ranges that may wait for a flush of the guest before one is made. */
#define FREED_MAX 4096

static bool is_gone(const Qcow2 *q, Qcow2Entry entry)
{
    bool is_zero =
        q->l2_entry_size == 16 ? entry.bits == UINT64_MAX << 32 : entry.word & QCOW2_ZERO;
    return !qcow2_entry_is_compressed(entry) && !(entry.word & QCOW2_OFFSET_MASK) && is_zero;
}

/* The entry of a cluster that reads as zeroes; @keeps_host: its space stays. */
static Qcow2Entry zero_entry(const Qcow2 *q, Qcow2Entry old, bool keeps_host)
{
    Qcow2Entry entry = { 0 };
    if (keeps_host) {
        entry.word = old.word & (QCOW2_OFFSET_MASK | QCOW2_COPIED);
    }
    if (q->l2_entry_size == 16) {
        entry.bits = UINT64_MAX << 32;
    } else {
        entry.word |= QCOW2_ZERO;
    }
    return entry;
}

typedef enum Wipe {
    WIPE_ZERO,       /* must read as zeroes, space stays */
    WIPE_ZERO_UNMAP, /* must read as zeroes, space is freed */
    WIPE_DISCARD,    /* space is freed; reads as zeroes where the format can say so */
    WIPE_EMPTY,      /* space is freed; reads as the backing */
} Wipe;

static bool keeps_host(const Qcow2 *q, Qcow2Entry old, Wipe wipe)
{
    if (qcow2_entry_is_compressed(old)) {
        return false;
    }
    if (q->data != q->node->file) {
        return old.word & (QCOW2_OFFSET_MASK | QCOW2_COPIED) && wipe == WIPE_ZERO;
    }
    return wipe == WIPE_ZERO && (old.word & QCOW2_OFFSET_MASK);
}

/* The new entry for a cluster. Returns: whether it changes. */
static bool wiped_entry(const Qcow2 *q, Qcow2Entry old, Wipe wipe, Qcow2Entry *out_entry)
{
    bool is_nothing = old.word == 0 && old.bits == 0;
    if (wipe == WIPE_EMPTY) {
        *out_entry = (Qcow2Entry){ 0 };
        return !is_nothing;
    }
    if (is_nothing && !q->node->backing) {
        return false; /* reads as zeroes already */
    }
    if (q->header.version < 3) {
        *out_entry = (Qcow2Entry){ 0 };
        return !is_nothing && !q->node->backing && wipe != WIPE_ZERO;
    }
    *out_entry = zero_entry(q, old, keeps_host(q, old, wipe));
    return !is_gone(q, old) && (out_entry->word != old.word || out_entry->bits != old.bits);
}

static int wipe_table(Qcow2 *q, uint64_t offset, uint64_t clusters, Wipe wipe)
{
    Qcow2Table *table;
    int rc = qcow2_l2_table(q, offset, false, &table);
    if (rc == 0 && !table && (!q->node->backing || wipe == WIPE_EMPTY)) {
        return 0;
    }
    if (rc == 0) {
        rc = qcow2_l2_table(q, offset, true, &table);
    }
    if (rc < 0) {
        return rc;
    }
    unsigned index = qcow2_l2_index(q, offset);
    for (uint64_t i = 0; i < clusters; i++) {
        Qcow2Entry old = qcow2_entry_get(q, table, index + (unsigned)i), entry;
        if (wiped_entry(q, old, wipe, &entry)) {
            qcow2_entry_set(q, table, index + (unsigned)i, entry);
            if ((entry.word & QCOW2_OFFSET_MASK) == 0) {
                qcow2_entry_free(q, old);
            }
            if (q->data != q->node->file && wipe != WIPE_ZERO) {
                /* Only a hint: what is there is not read any more. */
                int hint =
                    block_child_discard(q->data, offset + (i << q->cluster_bits), q->cluster_size);
                (void)hint;
            }
        }
    }
    return 0;
}

static bool is_allocating(const Qcow2 *q, uint64_t first, uint64_t count)
{
    list_for_each((List *)&q->allocations, other, Qcow2Allocation, node) {
        if (first < other->first + other->count && other->first < first + count) {
            return true;
        }
    }
    return false;
}

/* Whole clusters. in_flight is held shared. */
static int wipe_clusters(Qcow2 *q, uint64_t offset, uint64_t length, Wipe wipe)
{
    int rc = 0;
    while (length > 0 && rc == 0) {
        uint64_t cover = 1ull << (q->cluster_bits + q->l2_bits);
        uint64_t part = MIN(length, cover - (offset & (cover - 1)));
        uint64_t clusters = qcow2_cluster_of(q, part + q->cluster_size - 1);
        pthread_mutex_lock(&q->lock);
        while (is_allocating(q, qcow2_cluster_of(q, offset), clusters)) {
            pthread_cond_wait(&q->allocated, &q->lock);
        }
        rc = q->is_corrupt ? -EIO : wipe_table(q, offset, clusters, wipe);
        pthread_mutex_unlock(&q->lock);
        offset += part;
        length -= part;
    }
    return rc;
}

static bool reads_as_zeroes(Qcow2 *q, uint64_t offset, uint64_t length)
{
    Qcow2Mapping mapping;
    pthread_mutex_lock(&q->lock);
    int rc = qcow2_map(q, offset, length, &mapping);
    pthread_mutex_unlock(&q->lock);
    return rc == 0 && mapping.length >= length &&
           (mapping.kind == QCOW2_ZEROES ||
            (mapping.kind == QCOW2_UNALLOCATED && !q->node->backing));
}

/* Zeroes within one cluster, by writing. */
static int zero_part(BlockNode *node, uint64_t offset, uint64_t length)
{
    Qcow2 *q = qcow2_of(node);
    if (length == 0 || reads_as_zeroes(q, offset, length)) {
        return 0;
    }
    g_autofree uint8_t *zeroes = g_try_malloc0(length);
    if (!zeroes) {
        return -ENOMEM;
    }
    struct iovec iov = { zeroes, length };
    BlockVec vec = { &iov, 1 };
    return qcow2_write(node, offset, length, &vec, 0);
}

/* The whole clusters of a range; a last one that the image's end cuts counts as whole. */
static void whole_clusters(const Qcow2 *q, uint64_t offset, uint64_t length, uint64_t *out_from,
                           uint64_t *out_to)
{
    uint64_t end = offset + length;
    *out_from = round_up(offset, q->cluster_size);
    *out_to = end == q->node->size ? end : round_down(end, q->cluster_size);
    if (*out_from >= *out_to) {
        *out_from = *out_to = end;
    }
}

/* Makes a flush of its own when much waits to be freed: a guest that only discards would let the
 * list grow. */
static int release_some(BlockNode *node)
{
    Qcow2 *q = qcow2_of(node);
    pthread_mutex_lock(&q->lock);
    bool is_much = q->freed->len > FREED_MAX;
    pthread_mutex_unlock(&q->lock);
    return is_much ? qcow2_flush(node) : 0;
}

int qcow2_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    Qcow2 *q = qcow2_of(node);
    uint64_t from, to;
    Wipe wipe = flags & BLOCK_IO_MAY_UNMAP ? WIPE_ZERO_UNMAP : WIPE_ZERO;
    if (q->header.version < 3) {
        return -ENOTSUP; /* no zero clusters */
    }
    whole_clusters(q, offset, length, &from, &to);
    int rc = zero_part(node, offset, MIN(from, offset + length) - offset);
    if (rc == 0) {
        pthread_rwlock_rdlock(&q->in_flight);
        rc = wipe_clusters(q, from, to - from, wipe);
        pthread_rwlock_unlock(&q->in_flight);
    }
    if (rc == 0) {
        rc = zero_part(node, to, offset + length - to);
    }
    return rc < 0 ? rc : release_some(node);
}

int qcow2_discard(BlockNode *node, uint64_t offset, uint64_t length)
{
    Qcow2 *q = qcow2_of(node);
    uint64_t from, to;
    whole_clusters(q, offset, length, &from, &to);
    pthread_rwlock_rdlock(&q->in_flight);
    int rc = wipe_clusters(q, from, to - from, WIPE_DISCARD);
    pthread_rwlock_unlock(&q->in_flight);
    return rc < 0 ? rc : release_some(node);
}

int qcow2_make_empty(BlockNode *node)
{
    Qcow2 *q = qcow2_of(node);
    uint64_t cover = 1ull << (q->cluster_bits + q->l2_bits);
    int rc = 0;
    for (uint64_t at = 0; at < node->size && rc == 0; at += cover) {
        pthread_rwlock_rdlock(&q->in_flight);
        rc = wipe_clusters(q, at, MIN(cover, node->size - at), WIPE_EMPTY);
        pthread_rwlock_unlock(&q->in_flight);
        rc = rc < 0 ? rc : release_some(node);
    }
    return rc < 0 ? rc : qcow2_flush(node);
}
