/* qcow2 input and output: reads, writes in place, and writes that allocate and copy.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reading */

static int read_compressed(Qcow2 *q, uint64_t offset, const Qcow2Mapping *mapping,
                           const BlockVec *vec, uint64_t skip)
{
    uint64_t host, length;
    qcow2_compressed_place(q, mapping->entry, &host, &length);
    Qcow2Codec *codec = qcow2_codec_take(&q->codecs);
    if (!codec) {
        return -ENOMEM;
    }
    uint8_t *in = qcow2_codec_packed(codec), *cluster = qcow2_codec_cluster(codec);
    int rc = block_child_read(q->node->file, host, in, length);
    if (rc == 0) {
        rc = qcow2_codec_decompress(&q->codecs, codec, in, length, cluster);
    }
    if (rc == 0) {
        block_vec_write(vec, skip, cluster + qcow2_in_cluster(q, offset), mapping->length);
    }
    qcow2_codec_put(&q->codecs, codec);
    return rc;
}

static int read_backing(const Qcow2 *q, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    BlockNode *backing = q->node->backing;
    uint64_t there = 0;
    int rc = 0;
    if (backing && offset < backing->size) {
        there = MIN(length, backing->size - offset);
        rc = block_preadv(backing, offset, there, vec, skip);
    }
    block_vec_zero(vec, skip + there, length - there);
    return rc;
}

static int read_mapped(Qcow2 *q, uint64_t offset, const Qcow2Mapping *mapping, const BlockVec *vec,
                       uint64_t skip)
{
    switch (mapping->kind) {
    case QCOW2_NORMAL:
        return qcow2_data_readv(q, offset, mapping->host, mapping->length, vec, skip);
    case QCOW2_COMPRESSED_DATA:
        return read_compressed(q, offset, mapping, vec, skip);
    case QCOW2_UNALLOCATED:
        return read_backing(q, offset, mapping->length, vec, skip);
    default:
        block_vec_zero(vec, skip, mapping->length);
        return 0;
    }
}

/* in_flight is held. */
static int read_range(Qcow2 *q, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    while (length > 0) {
        Qcow2Mapping mapping;
        pthread_mutex_lock(&q->lock);
        int rc = qcow2_map(q, offset, length, &mapping);
        pthread_mutex_unlock(&q->lock);
        if (rc == 0) {
            rc = read_mapped(q, offset, &mapping, vec, skip);
        }
        if (rc < 0) {
            return rc;
        }
        offset += mapping.length;
        skip += mapping.length;
        length -= mapping.length;
    }
    return 0;
}

int qcow2_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
               uint64_t skip)
{
    Qcow2 *q = qcow2_of(node);
    pthread_rwlock_rdlock(&q->in_flight);
    int rc = read_range(q, offset, length, vec, skip);
    pthread_rwlock_unlock(&q->in_flight);
    return rc;
}

/* Whether clusters may lie in holes of the file, as those of images with preallocated metadata do:
 * it takes clearly less space than it has bytes. Looked up once, as all others would ask in vain.
 */
static bool is_sparse(Qcow2 *q)
{
    int known = __atomic_load_n(&q->sparseness, __ATOMIC_RELAXED);
    if (known == QCOW2_SPARSE_UNKNOWN) {
        uint64_t used, size;
        bool is_told =
            block_node_disk_usage(q->data, &used) == 0 && block_child_size(q->data, &size) == 0;
        known = is_told && used + used / 10 + 2 * q->cluster_size < size ? QCOW2_SPARSE
                                                                         : QCOW2_NOT_SPARSE;
        __atomic_store_n(&q->sparseness, known, __ATOMIC_RELAXED);
    }
    return known == QCOW2_SPARSE;
}

/* Of data clusters: those in a hole of the file are zeroes. */
static void look_below(Qcow2 *q, BlockStatus *status)
{
    BlockStatus below;
    if (!q->crypt && is_sparse(q) &&
        block_status(q->data, status->offset, status->length, &below) == 0 && below.length > 0) {
        status->length = MIN(status->length, below.length);
        status->flags |= below.flags & BLOCK_STATUS_ZERO;
    }
}

int qcow2_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    Qcow2 *q = qcow2_of(node);
    Qcow2Mapping mapping;
    pthread_mutex_lock(&q->lock);
    int rc = qcow2_map(q, offset, length, &mapping);
    pthread_mutex_unlock(&q->lock);
    if (rc < 0) {
        return rc;
    }
    *out_status = (BlockStatus){ .length = mapping.length, .offset = mapping.host };
    switch (mapping.kind) {
    case QCOW2_NORMAL:
        out_status->flags =
            BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | (q->crypt ? 0 : BLOCK_STATUS_OFFSET);
        look_below(q, out_status);
        break;
    case QCOW2_COMPRESSED_DATA:
        out_status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
        break;
    case QCOW2_ZEROES:
        out_status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED |
                            (mapping.has_host ? BLOCK_STATUS_OFFSET : 0);
        break;
    default:
        out_status->flags = 0;
    }
    return 0;
}

/* Writing */

/* One step of a write that changes the mapping: clusters in a row of one L2 table. */
typedef struct Step {
    Qcow2Allocation allocation;
    uint64_t offset, length;     /* what the guest writes */
    uint64_t copy_from, copy_to; /* the range that the new clusters must hold */
    uint64_t host;               /* of copy_from's cluster's first byte */
    bool is_reused;              /* the host cluster was there and stays */
    bool is_fresh;               /* the host clusters read as zeroes */
    Qcow2Entry old[];            /* of the clusters, in order */
} Step;

/* Waits until nobody else allocates @offset's cluster; then limits *length to what nobody
 * allocates. */
static void wait_for_others(Qcow2 *q, uint64_t offset, uint64_t *length)
{
    uint64_t first = qcow2_cluster_of(q, offset);
again:
    list_for_each(&q->allocations, other, Qcow2Allocation, node) {
        if (first >= other->first && first < other->first + other->count) {
            pthread_cond_wait(&q->allocated, &q->lock);
            goto again;
        }
        if (other->first > first) {
            *length = MIN(*length, (other->first << q->cluster_bits) - offset);
        }
    }
}

/* Whether a write to the cluster of @entry needs a host cluster of its own. */
static bool needs_cluster(const Qcow2 *q, Qcow2Entry entry)
{
    if (q->data != q->node->file) {
        return !(entry.word & (QCOW2_OFFSET_MASK | QCOW2_COPIED));
    }
    return qcow2_entry_is_compressed(entry) || !(entry.word & QCOW2_OFFSET_MASK) ||
           !(entry.word & QCOW2_COPIED);
}

/* The subcluster range only, where nothing of the old cluster has to be kept. */
static bool copies_subclusters(const Qcow2 *q, const Step *step)
{
    if (q->l2_entry_size != 16) {
        return false;
    }
    for (uint64_t i = 0; i < step->allocation.count; i++) {
        if (step->old[i].word) {
            return step->is_reused;
        }
    }
    return true;
}

static void set_copy_range(const Qcow2 *q, Step *step)
{
    unsigned bits = copies_subclusters(q, step) ? q->subcluster_bits : q->cluster_bits;
    step->copy_from = round_down(step->offset, 1ull << bits);
    step->copy_to = round_up(step->offset + step->length, 1ull << bits);
}

static int allocate_host(Qcow2 *q, Step *step)
{
    uint64_t got;
    if (q->data != q->node->file) {
        step->host = step->allocation.first << q->cluster_bits;
        return 0;
    }
    int64_t host = qcow2_alloc_clusters(q, step->allocation.count, &got);
    if (host < 0) {
        return (int)host;
    }
    step->allocation.count = got;
    uint64_t end = (step->allocation.first + got) << q->cluster_bits;
    step->length = MIN(step->length, end - step->offset);
    step->host = (uint64_t)host;
    /* Zeroes that were never encrypted do not read as zeroes. */
    step->is_fresh = step->host >= q->fresh_from && !q->crypt;
    q->fresh_from = MAX(q->fresh_from, step->host + (got << q->cluster_bits));
    return 0;
}

/* Prepares a step for at most @length bytes at @offset. The lock is held; others that allocate the
 * first cluster have been waited for. */
static int begin_step(Qcow2 *q, uint64_t offset, uint64_t length, Step **out_step)
{
    Qcow2Table *table;
    int rc = qcow2_l2_table(q, offset, true, &table);
    if (rc < 0) {
        return rc;
    }
    unsigned index = qcow2_l2_index(q, offset);
    uint64_t wanted = qcow2_cluster_of(q, offset + length - 1) - qcow2_cluster_of(q, offset) + 1;
    uint64_t count = 0, most = MIN(wanted, (1ull << q->l2_bits) - index);
    Step *step = g_try_malloc0(sizeof(*step) + most * sizeof(step->old[0]));
    if (!step) {
        return -ENOMEM;
    }
    do {
        step->old[count] = qcow2_entry_get(q, table, index + (unsigned)count);
        if (!needs_cluster(q, step->old[count])) {
            break;
        }
        count++;
    } while (count < most);
    step->is_reused = count == 0;
    step->allocation.first = qcow2_cluster_of(q, offset);
    step->allocation.count = MAX(count, 1);
    step->offset = offset;
    uint64_t end = (step->allocation.first + step->allocation.count) << q->cluster_bits;
    step->length = MIN(length, end - offset);
    if (step->is_reused) {
        step->host = step->old[0].word & QCOW2_OFFSET_MASK;
    } else {
        rc = allocate_host(q, step);
    }
    if (rc < 0) {
        g_free(step);
        return rc;
    }
    set_copy_range(q, step);
    list_append(&q->allocations, &step->allocation.node);
    *out_step = step;
    return 0;
}

/* Reads what the guest does not write of the step's range. *out_data is NULL if that is nothing. */
static int read_around(Qcow2 *q, uint64_t from, uint64_t to, uint8_t **out_data)
{
    *out_data = NULL;
    if (from == to) {
        return 0;
    }
    g_autofree uint8_t *data = g_try_malloc(to - from);
    if (!data) {
        return -ENOMEM;
    }
    struct iovec iov = { data, to - from };
    BlockVec vec = { &iov, 1 };
    int rc = read_range(q, from, to - from, &vec, 0);
    if (rc == 0) {
        *out_data = g_steal_pointer(&data);
    }
    return rc;
}

static int write_joined(Qcow2 *q, const Step *step, const uint8_t *head, const uint8_t *tail,
                        const BlockVec *vec, uint64_t skip)
{
    uint64_t head_length = step->offset - step->copy_from;
    uint64_t tail_length = step->copy_to - (step->offset + step->length);
    g_autofree struct iovec *iov = g_try_new(struct iovec, vec->count + 2);
    if (!iov) {
        return -ENOMEM;
    }
    unsigned count = 0;
    if (head) {
        iov[count++] = (struct iovec){ (void *)head, head_length };
    }
    uint64_t left = step->length;
    for (unsigned i = 0; i < vec->count && left > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        size_t part = MIN(vec->iov[i].iov_len - skip, left);
        iov[count++] = (struct iovec){ (char *)vec->iov[i].iov_base + skip, part };
        left -= part;
        skip = 0;
    }
    if (tail) {
        iov[count++] = (struct iovec){ (void *)tail, tail_length };
    }
    BlockVec joined = { iov, count };
    uint64_t from = head ? step->copy_from : step->offset;
    uint64_t host = step->host + (from - (step->allocation.first << q->cluster_bits));
    uint64_t length = step->length + (head ? head_length : 0) + (tail ? tail_length : 0);
    return qcow2_data_writev(q, from, host, length, &joined, 0);
}

/* Writes the guest's data and what surrounds them. No lock is held. */
static int write_step(Qcow2 *q, const Step *step, const BlockVec *vec, uint64_t skip)
{
    g_autofree uint8_t *head = NULL, *tail = NULL;
    uint64_t end = step->offset + step->length;
    int rc = read_around(q, step->copy_from, step->offset, &head);
    if (rc == 0) {
        rc = read_around(q, end, step->copy_to, &tail);
    }
    if (rc < 0) {
        return rc;
    }
    if (step->is_fresh && head && block_is_zero(head, step->offset - step->copy_from)) {
        g_clear_pointer(&head, g_free);
    }
    if (step->is_fresh && tail && block_is_zero(tail, step->copy_to - end)) {
        g_clear_pointer(&tail, g_free);
    }
    return write_joined(q, step, head, tail, vec, skip);
}

static Qcow2Entry linked_entry(const Qcow2 *q, const Step *step, uint64_t i)
{
    uint64_t start = (step->allocation.first + i) << q->cluster_bits;
    Qcow2Entry entry = step->old[i];
    bool keeps_bits = step->is_reused || entry.word == 0;
    entry.word = (step->host + (i << q->cluster_bits)) | QCOW2_COPIED;
    if (q->l2_entry_size != 16) {
        return entry;
    }
    entry.bits = keeps_bits ? entry.bits : 0;
    for (unsigned sub = 0; sub < QCOW2_SUBCLUSTERS; sub++) {
        uint64_t at = start + ((uint64_t)sub << q->subcluster_bits);
        if (at >= step->copy_from && at < step->copy_to) {
            entry.bits = (entry.bits | 1ull << sub) & ~(1ull << (32 + sub));
        }
    }
    return entry;
}

/* Points the L2 entries to the new clusters. The lock is held. */
static int link_step(Qcow2 *q, const Step *step)
{
    Qcow2Table *table;
    int rc = qcow2_l2_table(q, step->offset, true, &table);
    if (rc < 0) {
        return rc;
    }
    unsigned index = qcow2_l2_index(q, step->offset);
    for (uint64_t i = 0; i < step->allocation.count; i++) {
        qcow2_entry_set(q, table, index + (unsigned)i, linked_entry(q, step, i));
        if (!step->is_reused) {
            qcow2_entry_free(q, step->old[i]);
        }
    }
    q->needs_barrier = true;
    return 0;
}

static void end_step(Qcow2 *q, Step *step, int rc)
{
    if (rc < 0 && !step->is_reused && q->data == q->node->file) {
        qcow2_free_now(q, step->host, step->allocation.count << q->cluster_bits);
    }
    list_remove(&step->allocation.node);
    pthread_cond_broadcast(&q->allocated);
    g_free(step);
}

/* The first @done of the last @length bytes have their clusters. */
static void tell_settled(const BlockSettled *settled, uint64_t done, uint64_t length)
{
    if (settled && done == length) {
        settled->tell(settled->opaque);
    }
}

/* Writes the first part of the range; *out_done: how many bytes. in_flight is held. */
static int write_some(Qcow2 *q, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip, const BlockSettled *settled, uint64_t *out_done)
{
    Qcow2Mapping mapping;
    Step *step = NULL;
    uint64_t all = length;
    pthread_mutex_lock(&q->lock);
    wait_for_others(q, offset, &length);
    int rc = q->is_corrupt ? -EIO : qcow2_map(q, offset, length, &mapping);
    if (rc == 0 && mapping.kind == QCOW2_NORMAL && mapping.is_exclusive) {
        rc = q->data == q->node->file ? qcow2_check_overlap(q, mapping.host, mapping.length) : 0;
        pthread_mutex_unlock(&q->lock);
        *out_done = mapping.length;
        tell_settled(settled, mapping.length, all);
        return rc < 0 ? rc : qcow2_data_writev(q, offset, mapping.host, mapping.length, vec, skip);
    }
    if (rc == 0) {
        rc = begin_step(q, offset, length, &step);
    }
    pthread_mutex_unlock(&q->lock);
    if (rc < 0) {
        return rc;
    }
    tell_settled(settled, step->length, all);
    rc = write_step(q, step, vec, skip);
    *out_done = step->length;
    pthread_mutex_lock(&q->lock);
    if (rc == 0) {
        rc = link_step(q, step);
    }
    end_step(q, step, rc);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int qcow2_write_settled(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip, const BlockSettled *settled)
{
    Qcow2 *q = qcow2_of(node);
    int rc = 0;
    pthread_rwlock_rdlock(&q->in_flight);
    while (length > 0 && rc == 0) {
        uint64_t done = 0;
        rc = write_some(q, offset, length, vec, skip, settled, &done);
        offset += done;
        skip += done;
        length -= done;
    }
    pthread_rwlock_unlock(&q->in_flight);
    return rc;
}

int qcow2_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                uint64_t skip)
{
    return qcow2_write_settled(node, offset, length, vec, skip, NULL);
}

/* Requests without a thread */

static bool is_being_allocated(Qcow2 *q, uint64_t offset, uint64_t length)
{
    uint64_t first = qcow2_cluster_of(q, offset), last = qcow2_cluster_of(q, offset + length - 1);
    list_for_each(&q->allocations, other, Qcow2Allocation, node) {
        if (last >= other->first && first < other->first + other->count) {
            return true;
        }
    }
    return false;
}

/* What is in one run of data clusters, this image's own if it is to be written, with an L2 table
 * that is in memory. The lock is held. */
static bool find_run(Qcow2 *q, uint64_t offset, uint64_t length, bool is_write,
                     Qcow2Mapping *mapping)
{
    if (q->is_corrupt || q->crypt || !qcow2_is_mapped_in_memory(q, offset) ||
        qcow2_map(q, offset, length, mapping) < 0 || mapping->length < length) {
        return false;
    }
    if (!is_write) {
        return mapping->kind == QCOW2_NORMAL || mapping->kind == QCOW2_UNALLOCATED;
    }
    return mapping->kind == QCOW2_NORMAL && mapping->is_exclusive &&
           !is_being_allocated(q, offset, length) &&
           (q->data != q->node->file || qcow2_check_overlap(q, mapping->host, length) == 0);
}

static bool place_in(Qcow2 *q, uint64_t offset, uint64_t length, bool is_write, BlockPlace *place)
{
    Qcow2Mapping mapping;
    if (pthread_mutex_trylock(&q->lock) != 0) {
        return false;
    }
    bool is_found = find_run(q, offset, length, is_write, &mapping);
    pthread_mutex_unlock(&q->lock);
    if (!is_found) {
        return false;
    }
    BlockNode *backing = q->node->backing;
    return mapping.kind == QCOW2_NORMAL
               ? block_child_place(q->data, mapping.host, length, is_write, place)
               : backing && block_place(backing, offset, length, false, place);
}

bool qcow2_place(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                 BlockPlace *place)
{
    Qcow2 *q = qcow2_of(node);
    if (pthread_rwlock_tryrdlock(&q->in_flight) != 0) {
        return false;
    }
    bool is_found = place_in(q, offset, length, is_write, place);
    if (!is_found) {
        pthread_rwlock_unlock(&q->in_flight);
    }
    return is_found;
}

void qcow2_leave(BlockNode *node)
{
    pthread_rwlock_unlock(&qcow2_of(node)->in_flight);
}

/* Flushing */

int qcow2_flush_alone(Qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    int rc = qcow2_write_metadata(q);
    if (rc == 0) {
        rc = qcow2_release_freed(q);
    }
    if (rc == 0) {
        rc = qcow2_write_metadata(q);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int qcow2_flush(BlockNode *node)
{
    Qcow2 *q = qcow2_of(node);
    if (!q->is_writable) {
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    int rc = qcow2_write_metadata(q);
    bool has_freed = q->freed->len > 0;
    pthread_mutex_unlock(&q->lock);
    if (rc == 0 && has_freed) {
        pthread_rwlock_wrlock(&q->in_flight);
        rc = qcow2_flush_alone(q);
        pthread_rwlock_unlock(&q->in_flight);
    }
    if (rc == 0 && q->data != node->file) {
        rc = block_child_flush(q->data);
    }
    return rc;
}
