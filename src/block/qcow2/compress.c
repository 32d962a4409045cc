/* qcow2 compressed clusters: where they go, and writing them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

static uint64_t compressed_word(const Qcow2 *q, uint64_t offset, uint64_t length)
{
    unsigned offset_bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = ((offset + length - 1) >> 9) - (offset >> 9);
    return QCOW2_COMPRESSED | sectors << offset_bits | offset;
}

/* Compressed clusters that are written together. */
typedef struct Packed {
    uint64_t offset, host; /* of the guest; of the file */
    size_t length;
} Packed;

typedef struct Batch {
    Qcow2Codec *codec;
    size_t used; /* bytes of the codec's packed data, which lie there one after another */
    unsigned count;
    Packed clusters[32];
} Batch;

/* Finds places. Returns: 0 or -errno; *out_placed: how many have one. The lock is held. */
static int place(Qcow2 *q, Batch *batch, unsigned *out_placed)
{
    int rc = q->is_corrupt ? -EIO : 0;
    *out_placed = 0;
    for (unsigned i = 0; i < batch->count && rc == 0; i++) {
        Packed *cluster = &batch->clusters[i];
        Qcow2Table *table;
        rc = qcow2_l2_table(q, cluster->offset, true, &table);
        int64_t at = rc < 0 ? rc : qcow2_alloc_bytes(q, cluster->length);
        if (at < 0) {
            return (int)at;
        }
        cluster->host = (uint64_t)at;
        uint64_t end = round_up(cluster->host + cluster->length, q->cluster_size);
        q->fresh_from = MAX(q->fresh_from, end);
        *out_placed = i + 1;
    }
    return rc;
}

/* Neighbours in the file go in one request. */
static int write_placed(Qcow2 *q, const Batch *batch)
{
    const uint8_t *data = qcow2_codec_packed(batch->codec);
    int rc = 0;
    for (unsigned i = 0; i < batch->count && rc == 0;) {
        const Packed *first = &batch->clusters[i];
        uint64_t length = 0;
        while (i < batch->count && batch->clusters[i].host == first->host + length) {
            length += batch->clusters[i++].length;
        }
        rc = block_child_write(q->node->file, first->host, data, length);
        data += length;
    }
    return rc;
}

/* Points the entry of @cluster to its data. The lock is held. */
static int link_cluster(Qcow2 *q, const Packed *cluster)
{
    Qcow2Table *table;
    int rc = qcow2_l2_table(q, cluster->offset, true, &table);
    if (rc == 0) {
        unsigned index = qcow2_l2_index(q, cluster->offset);
        Qcow2Entry entry = { compressed_word(q, cluster->host, cluster->length), 0 };
        qcow2_entry_free(q, qcow2_entry_get(q, table, index));
        qcow2_entry_set(q, table, index, entry);
        q->needs_barrier = true;
    }
    return rc;
}

/* in_flight is held. */
static int store(Qcow2 *q, Batch *batch)
{
    unsigned placed, linked = 0;
    pthread_mutex_lock(&q->lock);
    int rc = place(q, batch, &placed);
    pthread_mutex_unlock(&q->lock);
    if (rc == 0) {
        rc = write_placed(q, batch);
    }
    pthread_mutex_lock(&q->lock);
    while (rc == 0 && linked < placed) {
        rc = link_cluster(q, &batch->clusters[linked]);
        linked += rc == 0;
    }
    for (; linked < placed; linked++) {
        qcow2_free_now(q, batch->clusters[linked].host, batch->clusters[linked].length);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int flush_batch(Qcow2 *q, Batch *batch)
{
    int rc = 0;
    if (batch->count) {
        pthread_rwlock_rdlock(&q->in_flight);
        rc = store(q, batch);
        pthread_rwlock_unlock(&q->in_flight);
    }
    batch->count = 0;
    batch->used = 0;
    return rc;
}

static int write_plain(BlockNode *node, uint64_t offset, const uint8_t *data, size_t length)
{
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    return qcow2_write(node, offset, length, &vec, 0);
}

/* One cluster, filled up with zeroes at the image's end. */
static int add_cluster(Qcow2 *q, Batch *batch, uint64_t offset, const uint8_t *data, size_t length)
{
    const uint8_t *in = data;
    if (length < q->cluster_size) {
        uint8_t *whole = qcow2_codec_cluster(batch->codec);
        memcpy(whole, data, length);
        memset(whole + length, 0, q->cluster_size - length);
        in = whole;
    }
    bool is_full = batch->used + q->cluster_size > qcow2_codec_packed_size(&q->codecs);
    int rc = is_full || batch->count == G_N_ELEMENTS(batch->clusters) ? flush_batch(q, batch) : 0;
    if (rc < 0) {
        return rc;
    }
    uint8_t *out = qcow2_codec_packed(batch->codec) + batch->used;
    int64_t used = qcow2_codec_compress(&q->codecs, batch->codec, in, out);
    if (used <= 0) {
        return used < 0 ? (int)used : write_plain(q->node, offset, data, length);
    }
    batch->clusters[batch->count++] = (Packed){ .offset = offset, .length = (size_t)used };
    batch->used += (size_t)used;
    return 0;
}

int qcow2_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    Qcow2 *q = qcow2_of(node);
    const uint8_t *data = buf;
    if (q->data != node->file || q->crypt) {
        return -ENOTSUP;
    }
    bool is_tail = offset + length == node->size;
    if (qcow2_in_cluster(q, offset) || (qcow2_in_cluster(q, length) && !is_tail)) {
        return -EINVAL;
    }
    Batch batch = { .codec = qcow2_codec_take(&q->codecs) };
    int rc = batch.codec ? 0 : -ENOMEM;
    while (length > 0 && rc == 0) {
        size_t part = MIN(length, q->cluster_size);
        rc = add_cluster(q, &batch, offset, data, part);
        offset += part;
        data += part;
        length -= part;
    }
    if (rc == 0) {
        rc = flush_batch(q, &batch);
    }
    if (batch.codec) {
        qcow2_codec_put(&q->codecs, batch.codec);
    }
    return rc;
}
