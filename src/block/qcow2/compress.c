/* qcow2 compressed clusters: zlib (raw deflate, window of 4 KiB) and zstd.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define WINDOW_BITS (-12)

static int inflate_cluster(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_length)
{
    z_stream stream = {
        .next_in = (uint8_t *)in,
        .avail_in = (unsigned)in_length,
        .next_out = out,
        .avail_out = (unsigned)out_length,
    };
    if (inflateInit2(&stream, WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    int rc = inflate(&stream, Z_FINISH);
    bool ok = (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && stream.avail_out == 0;
    inflateEnd(&stream);
    return ok ? 0 : -EIO;
}

/* The sectors may hold more than the frame: it is read until the cluster is full. */
static int unzstd_cluster(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_length)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer input = { in, in_length, 0 };
    ZSTD_outBuffer output = { out, out_length, 0 };
    if (!context) {
        return -ENOMEM;
    }
    while (output.pos < output.size) {
        size_t before = output.pos + input.pos;
        size_t rc = ZSTD_decompressStream(context, &output, &input);
        if (ZSTD_isError(rc) || output.pos + input.pos == before) {
            break;
        }
    }
    ZSTD_freeDCtx(context);
    return output.pos == output.size ? 0 : -EIO;
}

int qcow2_decompress(const Qcow2 *q, const uint8_t *in, size_t in_length, uint8_t *out)
{
    return q->header.compression == QCOW2_COMPRESSION_ZSTD
               ? unzstd_cluster(in, in_length, out, q->cluster_size)
               : inflate_cluster(in, in_length, out, q->cluster_size);
}

/* Returns: the length, 0: it does not get smaller, or -errno. */
static int64_t deflate_cluster(const uint8_t *in, size_t length, uint8_t *out)
{
    z_stream stream = {
        .next_in = (uint8_t *)in,
        .avail_in = (unsigned)length,
        .next_out = out,
        .avail_out = (unsigned)length - 1,
    };
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, 9,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return -ENOMEM;
    }
    int rc = deflate(&stream, Z_FINISH);
    int64_t used = (int64_t)stream.total_out;
    deflateEnd(&stream);
    return rc == Z_STREAM_END ? used : 0;
}

static int64_t zstd_cluster(const uint8_t *in, size_t length, uint8_t *out)
{
    size_t used = ZSTD_compress(out, length - 1, in, length, ZSTD_CLEVEL_DEFAULT);
    return ZSTD_isError(used) ? 0 : (int64_t)used;
}

static uint64_t compressed_word(const Qcow2 *q, uint64_t offset, uint64_t length)
{
    unsigned offset_bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = ((offset + length - 1) >> 9) - (offset >> 9);
    return QCOW2_COMPRESSED | sectors << offset_bits | offset;
}

/* Finds a place, writes there and links. in_flight is held. */
static int store(Qcow2 *q, uint64_t offset, const uint8_t *data, uint64_t length)
{
    Qcow2Table *table;
    pthread_mutex_lock(&q->lock);
    int rc = q->is_corrupt ? -EIO : qcow2_l2_table(q, offset, true, &table);
    int64_t at = rc < 0 ? rc : qcow2_alloc_bytes(q, length);
    if (at >= 0) {
        uint64_t end = round_up((uint64_t)at + length, q->cluster_size);
        q->fresh_from = MAX(q->fresh_from, end);
    }
    pthread_mutex_unlock(&q->lock);
    if (at < 0) {
        return (int)at;
    }
    rc = block_child_write(q->node->file, (uint64_t)at, data, length);
    pthread_mutex_lock(&q->lock);
    if (rc == 0) {
        rc = qcow2_l2_table(q, offset, true, &table);
    }
    if (rc == 0) {
        unsigned index = qcow2_l2_index(q, offset);
        Qcow2Entry entry = { compressed_word(q, (uint64_t)at, length), 0 };
        qcow2_entry_free(q, qcow2_entry_get(q, table, index));
        qcow2_entry_set(q, table, index, entry);
        q->needs_barrier = true;
    } else {
        qcow2_free_now(q, (uint64_t)at, length);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static int write_plain(BlockNode *node, uint64_t offset, const uint8_t *data, size_t length)
{
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    return qcow2_write(node, offset, length, &vec, 0);
}

/* One cluster, filled up with zeroes at the image's end. */
static int write_cluster(BlockNode *node, uint64_t offset, const uint8_t *data, size_t length)
{
    Qcow2 *q = qcow2_of(node);
    g_autofree uint8_t *whole = NULL;
    g_autofree uint8_t *out = g_try_malloc(q->cluster_size);
    const uint8_t *in = data;
    if (length < q->cluster_size) {
        whole = g_try_malloc0(q->cluster_size);
        in = whole;
        if (whole) {
            memcpy(whole, data, length);
        }
    }
    if (!out || !in) {
        return -ENOMEM;
    }
    int64_t used = q->header.compression == QCOW2_COMPRESSION_ZSTD
                       ? zstd_cluster(in, q->cluster_size, out)
                       : deflate_cluster(in, q->cluster_size, out);
    if (used < 0) {
        return (int)used;
    }
    if (used == 0) {
        return write_plain(node, offset, data, length);
    }
    pthread_rwlock_rdlock(&q->in_flight);
    int rc = store(q, offset, out, (uint64_t)used);
    pthread_rwlock_unlock(&q->in_flight);
    return rc;
}

int qcow2_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    Qcow2 *q = qcow2_of(node);
    const uint8_t *data = buf;
    if (q->data != node->file) {
        return -ENOTSUP;
    }
    bool is_tail = offset + length == node->size;
    if (qcow2_in_cluster(q, offset) || (qcow2_in_cluster(q, length) && !is_tail)) {
        return -EINVAL;
    }
    while (length > 0) {
        size_t part = MIN(length, q->cluster_size);
        int rc = write_cluster(node, offset, data, part);
        if (rc < 0) {
            return rc;
        }
        offset += part;
        data += part;
        length -= part;
    }
    return 0;
}
