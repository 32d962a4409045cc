/* QCOW version 1, QEMU's first own format: reading.
 *
 * Layout: header, L1 table, L2 tables and clusters in any order; big-endian. docs/formats/qcow.md.
 * Left out: writing (qcow2 replaced it long ago).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/luks/disk.h"
#include "block/mapped.h"
#include "block/table-cache.h"
#include "gbase/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#define HEADER_BYTES 48
#define CRYPT_AES 1u
#define MAGIC 0x514649fbu /* "QFI\xfb" */
#define NAME_BYTES_MAX 1023
#define COMPRESSED (UINT64_C(1) << 63)
#define WINDOW_BITS (-12) /* a raw deflate stream */
#define L1_BYTES_MAX (256 * MIB)

enum {
    H_MAGIC = 0,
    H_VERSION = 4,
    H_BACKING_OFFSET = 8,
    H_BACKING_BYTES = 16,
    H_SIZE = 24,
    H_CLUSTER_BITS = 32,
    H_L2_BITS = 33,
    H_CRYPT = 36,
    H_L1_OFFSET = 40,
};

typedef struct Qcow {
    Mapped mapped;
    TableCache *tables; /* under mapped.lock */
    uint64_t l1_offset;
    unsigned cluster_bits, l2_bits;
    CryptoDisk *crypt; /* NULL: not encrypted */
} Qcow;

static int qcow_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    return length >= HEADER_BYTES && be32_get(bytes) == MAGIC && be32_get(bytes + H_VERSION) == 1
               ? BLOCK_PROBE_SURE
               : BLOCK_PROBE_NO;
}

static int get_entry(Qcow *qcow, uint64_t offset, uint64_t *out_entry)
{
    uint8_t raw[sizeof(uint64_t)];
    int result = table_cache_get(qcow->tables, offset, raw, sizeof(raw));
    *out_entry = be64_get(raw);
    return result;
}

static int lookup(BlockNode *node, uint64_t offset, MappedPiece *piece)
{
    Qcow *qcow = node->state;
    uint64_t cluster = offset >> qcow->cluster_bits, within = offset % qcow->mapped.block_bytes;
    uint64_t table, entry, entries = UINT64_C(1) << qcow->l2_bits;
    int result = get_entry(qcow, qcow->l1_offset + (cluster >> qcow->l2_bits) * 8, &table);
    piece->kind = MAPPED_HOLE;
    if (result < 0 || !table) {
        piece->length = ((entries - cluster % entries) << qcow->cluster_bits) - within;
        return result;
    }
    if (table > INT64_MAX) {
        return -EIO;
    }
    result = get_entry(qcow, table + cluster % entries * 8, &entry);
    piece->length = qcow->mapped.block_bytes - within;
    piece->host = entry;
    if (entry & COMPRESSED) {
        piece->kind = MAPPED_PACKED;
    } else if (entry) {
        piece->kind = MAPPED_DATA;
        piece->host += within;
    }
    return result < 0 ? result : piece->kind == MAPPED_DATA && entry > INT64_MAX ? -EIO : 0;
}

/* The entry holds offset and length of the stream. */
static int unpack(BlockNode *node, const MappedPiece *piece, uint64_t offset, void *buf)
{
    const Qcow *qcow = node->state;
    unsigned shift = 63 - qcow->cluster_bits;
    uint64_t entry = piece->host & ~COMPRESSED;
    size_t length = entry >> shift;
    uint64_t host = entry & ((UINT64_C(1) << shift) - 1);
    autofree uint8_t *packed = malloc(length ? length : 1);
    int result = packed ? block_child_read(node->file, host, packed, length) : -ENOMEM;
    if (result < 0) {
        return result;
    }
    z_stream stream = { .next_in = packed,
                        .avail_in = (uInt)length,
                        .next_out = buf,
                        .avail_out = (uInt)qcow->mapped.block_bytes };
    if (inflateInit2(&stream, WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    int status = inflate(&stream, Z_FINISH);
    bool is_whole = stream.avail_out == 0 && (status == Z_STREAM_END || status == Z_BUF_ERROR);
    inflateEnd(&stream);
    return is_whole ? 0 : -EIO;
}

/* Sectors are numbered from the begin of the disk. */
static int decrypt(BlockNode *node, const MappedPiece *piece, uint64_t offset, const BlockVec *vec,
                   uint64_t skip)
{
    const Qcow *qcow = node->state;
    return crypto_disk_readv(qcow->crypt, piece->child, piece->host - offset, offset, piece->length,
                             vec, skip);
}

static const MappedOps mapped_ops = { .lookup = lookup, .unpack = unpack };
static const MappedOps encrypted_ops = { .lookup = lookup, .unpack = unpack, .read_data = decrypt };

static bool corrupt(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "invalid qcow image: %s", what);
    return false;
}

static bool check_header(const uint8_t *header, uint64_t file_bytes, GError **error)
{
    uint64_t size = be64_get(header + H_SIZE);
    unsigned cluster_bits = header[H_CLUSTER_BITS], l2_bits = header[H_L2_BITS];
    if (be32_get(header) != MAGIC || be32_get(header + H_VERSION) != 1) {
        return corrupt(error, "not in qcow format version 1");
    }
    if (be32_get(header + H_CRYPT) > CRYPT_AES) {
        return corrupt(error, "invalid encryption method in qcow header");
    }
    if (cluster_bits < 9 || cluster_bits > 16) {
        return corrupt(error, "Cluster size must be between 512 and 64k");
    }
    if (l2_bits < 9 - 3 || l2_bits > 16 - 3) {
        return corrupt(error, "L2 table size must be between 512 and 64k");
    }
    if (size <= 1 || size > INT64_MAX - (UINT64_C(1) << (cluster_bits + l2_bits))) {
        return corrupt(error, size <= 1 ? "Image size is too small (must be at least 2 bytes)"
                                        : "Image too large");
    }
    uint64_t l1_bytes = div_round_up(size, UINT64_C(1) << (cluster_bits + l2_bits)) * 8;
    if (l1_bytes > L1_BYTES_MAX ||
        !range_fits(be64_get(header + H_L1_OFFSET), l1_bytes, round_up(file_bytes, 512))) {
        return corrupt(error, "Image too large: the L1 table is not within the file");
    }
    if (be32_get(header + H_BACKING_BYTES) > NAME_BYTES_MAX) {
        return corrupt(error, "Backing file name too long");
    }
    return true;
}

/* The backing file's name, or NULL. (transfer full) */
static int read_backing_name(BlockNode *node, const uint8_t *header, char **out_name)
{
    uint64_t offset = be64_get(header + H_BACKING_OFFSET);
    uint32_t length = be32_get(header + H_BACKING_BYTES);
    *out_name = NULL;
    if (!offset || !length || offset > INT64_MAX) {
        return 0;
    }
    *out_name = g_malloc0(length + 1);
    return block_child_read(node->file, offset, *out_name, length);
}

/* *out_crypt: NULL if the image is not encrypted. */
static bool open_crypt(const uint8_t *header, const BlockSpec *spec, unsigned flags,
                       CryptoDisk **out_crypt, GError **error)
{
    const char *format = spec ? block_spec_get(spec, "encrypt.format") : NULL;
    bool is_encrypted = be32_get(header + H_CRYPT) == CRYPT_AES;
    if (format && (!is_encrypted || strcmp(format, "aes") != 0)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "qcow: the image is %s, and encrypt.format=%s was given",
                    is_encrypted ? "encrypted by 'aes'" : "not encrypted", format);
        return false;
    }
    if (!is_encrypted) {
        return true;
    }
    const char *key = flags & BLOCK_OPEN_NO_DATA ? NULL : "encrypt.key-secret";
    *out_crypt = crypto_disk_open_aes(spec, key, error);
    return *out_crypt != NULL;
}

static bool qcow_open(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    uint8_t header[HEADER_BYTES];
    uint64_t file_bytes = 0;
    g_autofree char *backing = NULL;
    CryptoDisk *crypt = NULL;
    int result = block_child_read(node->file, 0, header, sizeof(header));
    if (result == 0) {
        result = block_child_size(node->file, &file_bytes);
    }
    if (result == 0 && (!check_header(header, file_bytes, error) ||
                        !open_crypt(header, spec, flags, &crypt, error))) {
        return false;
    }
    if (result == 0) {
        result = read_backing_name(node, header, &backing);
    }
    TableCache *tables = result == 0 ? table_cache_new(node->file) : NULL;
    if (!tables) {
        crypto_disk_free(crypt);
        lodge_error_set_errno(error, result ? result : ENOMEM, "cannot read the qcow header");
        return false;
    }
    Qcow *qcow = g_new0(Qcow, 1);
    qcow->tables = tables;
    qcow->cluster_bits = header[H_CLUSTER_BITS];
    qcow->l2_bits = header[H_L2_BITS];
    qcow->l1_offset = be64_get(header + H_L1_OFFSET);
    qcow->crypt = crypt;
    mapped_init(&qcow->mapped, crypt ? &encrypted_ops : &mapped_ops,
                UINT64_C(1) << qcow->cluster_bits);
    node->backing_name = g_steal_pointer(&backing);
    node->size = be64_get(header + H_SIZE);
    node->state = qcow;
    return true;
}

static int qcow_close(BlockNode *node)
{
    Qcow *qcow = node->state;
    table_cache_free(qcow->tables);
    crypto_disk_free(qcow->crypt);
    mapped_done(&qcow->mapped);
    g_free(qcow);
    return 0;
}

static bool qcow_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    const Qcow *qcow = node->state;
    info->cluster_size = qcow->mapped.block_bytes;
    info->is_encrypted = qcow->crypt != NULL;
    return true;
}

const BlockDriver block_driver_qcow = {
    .name = "qcow",
    .has_backing = true,
    .probe = qcow_probe,
    .open = qcow_open,
    .close = qcow_close,
    .read = mapped_read,
    .status = mapped_status,
    .get_info = qcow_get_info,
};
