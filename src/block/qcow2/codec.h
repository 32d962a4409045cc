/* Compressed clusters: deflate and zstd, with contexts that are kept for the next cluster.
 *
 * A codec serves one thread at a time; a pool hands codecs out to any number of threads and makes
 * one where none is idle. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_CODEC_H
#define LODGE_BLOCK_QCOW2_CODEC_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Qcow2Codec Qcow2Codec;

typedef struct Qcow2CodecPool {
    pthread_mutex_t lock;
    Qcow2Codec *idle; /* under lock */
    size_t cluster_size;
    bool is_zstd;
} Qcow2CodecPool;

void qcow2_codec_pool_init(Qcow2CodecPool *pool);
/* No codec is out. */
void qcow2_codec_pool_done(Qcow2CodecPool *pool);
/* Returns: a codec for qcow2_codec_put(), or NULL when memory is short. */
Qcow2Codec *qcow2_codec_take(Qcow2CodecPool *pool) LODGE_MUST_CHECK;
void qcow2_codec_put(Qcow2CodecPool *pool, Qcow2Codec *codec);

/* Room for compressed data: of two clusters at least. Owned by the codec. */
uint8_t *qcow2_codec_packed(Qcow2Codec *codec);
size_t qcow2_codec_packed_size(const Qcow2CodecPool *pool);
/* Room for a cluster. Owned by the codec. */
uint8_t *qcow2_codec_cluster(Qcow2Codec *codec);

/* Compresses the cluster @in to @out, which has room for a cluster. Returns: the length; 0: it does
 * not get smaller; or -errno. */
int64_t qcow2_codec_compress(const Qcow2CodecPool *pool, Qcow2Codec *codec, const uint8_t *in,
                             uint8_t *out);
/* Decompresses a whole cluster to @out. @in may go on behind its end. Returns: 0 or -errno (-EIO:
 * it is no such stream, or too short). */
int qcow2_codec_decompress(const Qcow2CodecPool *pool, Qcow2Codec *codec, const uint8_t *in,
                           size_t in_length, uint8_t *out);

#endif
