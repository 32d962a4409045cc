/* Codecs of qcow2's compressed clusters: raw deflate (RFC 1951) by libdeflate, zstd (RFC 8878).
 *
 * The format's other writer keeps to a deflate window of 4 KiB, and its readers ask zlib for that
 * window. They inflate a cluster in one call, where zlib takes matches from the output itself and
 * never looks at the window; so distances of up to 32 KiB are read by all of them. libdeflate's are
 * that long: at its level 3 it takes a third of zlib's time at level 6 and the output is not
 * larger.
 *
 * What libdeflate refuses is given to zlib: streams without an end, of which only as much is wanted
 * as a cluster holds. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/codec.h"

#include "base/cleanup.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define DEFLATE_LEVEL 3
#define WINDOW_BITS (-15)
/* Clusters from this size on are looked at before the slow way is taken. */
#define SAMPLED_BYTES 16384u
#define SAMPLE_STEP 4u
/* What is written together takes so many bytes, or is one cluster. */
#define BATCH_BYTES (256u << 10)

struct Qcow2Codec {
    Qcow2Codec *next; /* of the idle ones */
    uint8_t *packed, *cluster;
    /* Made when first needed */
    struct libdeflate_compressor *deflate;
    struct libdeflate_decompressor *inflate;
    ZSTD_CCtx *zstd;
    ZSTD_DCtx *unzstd;
};

void qcow2_codec_pool_init(Qcow2CodecPool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pool->idle = NULL;
}

static void codec_free(Qcow2Codec *codec)
{
    libdeflate_free_compressor(codec->deflate);
    libdeflate_free_decompressor(codec->inflate);
    ZSTD_freeCCtx(codec->zstd);
    ZSTD_freeDCtx(codec->unzstd);
    free(codec->packed);
    free(codec->cluster);
    free(codec);
}

void qcow2_codec_pool_done(Qcow2CodecPool *pool)
{
    while (pool->idle) {
        Qcow2Codec *codec = pool->idle;
        pool->idle = codec->next;
        codec_free(codec);
    }
    pthread_mutex_destroy(&pool->lock);
}

Qcow2Codec *qcow2_codec_take(Qcow2CodecPool *pool)
{
    pthread_mutex_lock(&pool->lock);
    Qcow2Codec *codec = pool->idle;
    if (codec) {
        pool->idle = codec->next;
    }
    pthread_mutex_unlock(&pool->lock);
    if (codec) {
        return codec;
    }
    codec = calloc(1, sizeof(*codec));
    if (!codec) {
        return NULL;
    }
    codec->packed = aligned_alloc(512, qcow2_codec_packed_size(pool));
    codec->cluster = aligned_alloc(512, pool->cluster_size);
    if (!codec->packed || !codec->cluster) {
        codec_free(codec);
        return NULL;
    }
    return codec;
}

void qcow2_codec_put(Qcow2CodecPool *pool, Qcow2Codec *codec)
{
    LOCK_GUARD(&pool->lock);
    codec->next = pool->idle;
    pool->idle = codec;
}

uint8_t *qcow2_codec_packed(Qcow2Codec *codec)
{
    return codec->packed;
}

size_t qcow2_codec_packed_size(const Qcow2CodecPool *pool)
{
    return 2 * pool->cluster_size + BATCH_BYTES;
}

uint8_t *qcow2_codec_cluster(Qcow2Codec *codec)
{
    return codec->cluster;
}

/* Compressing */

static int64_t compress_zstd(Qcow2Codec *codec, const uint8_t *in, size_t length, uint8_t *out,
                             int level)
{
    if (!codec->zstd) {
        codec->zstd = ZSTD_createCCtx();
        if (!codec->zstd) {
            return -ENOMEM;
        }
    }
    size_t used = ZSTD_compressCCtx(codec->zstd, out, length - 1, in, length, level);
    return ZSTD_isError(used) ? 0 : (int64_t)used;
}

/* Whether every value is about as frequent as any other. A chi-squared test: random bytes stay
 * below the limit but for one time in 10^8, text and programs are far above it. */
static bool looks_random(const uint8_t *in, size_t length)
{
    uint32_t counts[256] = { 0 };
    for (size_t i = 0; i < length; i += SAMPLE_STEP) {
        counts[in[i]]++;
    }
    double expected = (double)length / SAMPLE_STEP / 256, sum = 0;
    for (unsigned i = 0; i < 256; i++) {
        double distance = counts[i] - expected;
        sum += distance * distance / expected;
    }
    return sum < 400;
}

static int64_t compress_deflate(Qcow2Codec *codec, const uint8_t *in, size_t length, uint8_t *out)
{
    /* What looks random may still repeat itself; zstd finds that out at some GB/s. */
    if (length >= SAMPLED_BYTES && looks_random(in, length) &&
        compress_zstd(codec, in, length, out, 1) == 0) {
        return 0;
    }
    if (!codec->deflate) {
        codec->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
        if (!codec->deflate) {
            return -ENOMEM;
        }
    }
    return (int64_t)libdeflate_deflate_compress(codec->deflate, in, length, out, length - 1);
}

int64_t qcow2_codec_compress(const Qcow2CodecPool *pool, Qcow2Codec *codec, const uint8_t *in,
                             uint8_t *out)
{
    size_t length = pool->cluster_size;
    return pool->is_zstd ? compress_zstd(codec, in, length, out, ZSTD_CLEVEL_DEFAULT)
                         : compress_deflate(codec, in, length, out);
}

/* Decompressing */

static int inflate_by_zlib(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_length)
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

static int decompress_deflate(Qcow2Codec *codec, const uint8_t *in, size_t in_length, uint8_t *out,
                              size_t out_length)
{
    size_t in_used, out_used;
    if (!codec->inflate) {
        codec->inflate = libdeflate_alloc_decompressor();
        if (!codec->inflate) {
            return -ENOMEM;
        }
    }
    if (libdeflate_deflate_decompress_ex(codec->inflate, in, in_length, out, out_length, &in_used,
                                         &out_used) == LIBDEFLATE_SUCCESS &&
        out_used == out_length) {
        return 0;
    }
    return inflate_by_zlib(in, in_length, out, out_length);
}

/* The sectors hold more than the frame. */
static int decompress_zstd(Qcow2Codec *codec, const uint8_t *in, size_t in_length, uint8_t *out,
                           size_t out_length)
{
    ZSTD_inBuffer input = { in, in_length, 0 };
    ZSTD_outBuffer output = { out, out_length, 0 };
    if (!codec->unzstd) {
        codec->unzstd = ZSTD_createDCtx();
        if (!codec->unzstd) {
            return -ENOMEM;
        }
    }
    size_t frame = ZSTD_findFrameCompressedSize(in, in_length);
    if (!ZSTD_isError(frame) &&
        ZSTD_decompressDCtx(codec->unzstd, out, out_length, in, frame) == out_length) {
        return 0;
    }
    /* Several frames, or one that goes on: it is read until the cluster is full. */
    ZSTD_DCtx_reset(codec->unzstd, ZSTD_reset_session_only);
    while (output.pos < output.size) {
        size_t before = output.pos + input.pos;
        size_t rc = ZSTD_decompressStream(codec->unzstd, &output, &input);
        if (ZSTD_isError(rc) || output.pos + input.pos == before) {
            break;
        }
    }
    return output.pos == output.size ? 0 : -EIO;
}

int qcow2_codec_decompress(const Qcow2CodecPool *pool, Qcow2Codec *codec, const uint8_t *in,
                           size_t in_length, uint8_t *out)
{
    return pool->is_zstd ? decompress_zstd(codec, in, in_length, out, pool->cluster_size)
                         : decompress_deflate(codec, in, in_length, out, pool->cluster_size);
}
