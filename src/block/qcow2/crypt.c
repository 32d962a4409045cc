/* qcow2 with LUKS: the header lies in clusters of its own, the data's sectors are numbered by their
 * place in the file. And by the AES method that was before it. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

static int read_header(void *opaque, uint64_t offset, void *buf, size_t length)
{
    const Qcow2 *q = opaque;
    return range_fits(offset, length, q->header.crypt_length)
               ? block_child_read(q->node->file, q->header.crypt_offset + offset, buf, length)
               : -EINVAL;
}

static int write_header(void *opaque, uint64_t offset, const void *buf, size_t length)
{
    const Qcow2 *q = opaque;
    return range_fits(offset, length, q->header.crypt_length)
               ? block_child_write(q->node->file, q->header.crypt_offset + offset, buf, length)
               : -EINVAL;
}

static int flush_header(void *opaque)
{
    return block_child_flush(((const Qcow2 *)opaque)->node->file);
}

static LuksStore header_store(Qcow2 *q)
{
    return (LuksStore){ read_header, write_header, flush_header, q };
}

bool qcow2_crypt_open(Qcow2 *q, const BlockSpec *spec, unsigned flags, GError **error)
{
    LuksStore store = header_store(q);
    const char *format = spec ? block_spec_get(spec, "encrypt.format") : NULL;
    const char *key = flags & BLOCK_OPEN_NO_DATA ? NULL : "encrypt.key-secret";
    if (q->header.crypt == QCOW2_CRYPT_NONE) {
        if (format) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "qcow2: the image is not encrypted, and encrypt.format=%s was given",
                        format);
        }
        return !format;
    }
    const char *method = q->header.crypt == QCOW2_CRYPT_LUKS ? "luks" : "aes";
    if (format && strcmp(format, method) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "qcow2: the image is encrypted by '%s', not by '%s' (encrypt.format)", method,
                    format);
        return false;
    }
    if (q->header.crypt == QCOW2_CRYPT_AES) {
        q->crypt = crypto_disk_open_aes(spec, key, error);
        return q->crypt != NULL;
    }
    if (!q->header.crypt_length) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "qcow2: the image is encrypted and has no encryption header");
        return false;
    }
    q->crypt = crypto_disk_open(&store, q->header.crypt_length, spec, key, error);
    return q->crypt != NULL;
}

bool qcow2_crypt_amend(Qcow2 *q, const BlockSpec *options, bool is_forced, GError **error)
{
    LuksStore store = header_store(q);
    if (!block_spec_has_sub(options, "encrypt")) {
        return true;
    }
    if (!q->crypt || !q->crypt->secret) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "qcow2: the image is not encrypted; convert it to one that is");
        return false;
    }
    if (q->crypt->is_aes) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "qcow2: the image is encrypted by 'aes', which has no key slots; convert it to "
                    "encrypt.format=luks");
        return false;
    }
    return luks_amend(&store, &q->crypt->header, options, "encrypt.", q->crypt->secret, is_forced,
                      error);
}

/* LUKS numbers the sectors of the file, AES those of the disk. */
static uint64_t numbered_from(const Qcow2 *q, uint64_t offset, uint64_t host)
{
    return q->crypt->is_aes ? offset : host;
}

int qcow2_data_readv(Qcow2 *q, uint64_t offset, uint64_t host, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    if (!q->crypt) {
        return block_child_readv(q->data, host, length, vec, skip);
    }
    uint64_t number = numbered_from(q, offset, host);
    return crypto_disk_readv(q->crypt, q->data, host - number, number, length, vec, skip);
}

int qcow2_data_writev(Qcow2 *q, uint64_t offset, uint64_t host, uint64_t length,
                      const BlockVec *vec, uint64_t skip)
{
    if (!q->crypt) {
        return block_child_writev(q->data, host, length, vec, skip);
    }
    uint64_t number = numbered_from(q, offset, host);
    return crypto_disk_writev(q->crypt, q->data, host - number, number, length, vec, skip);
}

/* Creating */

/* AES has no choices. */
static bool check_aes_options(const BlockSpec *options, GError **error)
{
    static const char *const luks_only[] = { "encrypt.cipher-alg", "encrypt.cipher-mode",
                                             "encrypt.ivgen-alg",  "encrypt.ivgen-hash-alg",
                                             "encrypt.hash-alg",   "encrypt.iter-time" };
    for (unsigned i = 0; i < G_N_ELEMENTS(luks_only); i++) {
        if (block_spec_get(options, luks_only[i])) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                        "Option '%s' needs encrypt.format=luks", luks_only[i]);
            return false;
        }
    }
    return true;
}

bool qcow2_crypt_wanted(const BlockSpec *options, LuksWish *out_wish, uint32_t *out_method,
                        GError **error)
{
    const char *format = block_spec_get(options, "encrypt.format");
    const char *mode = block_spec_get(options, "preallocation");
    bool is_aes = format && strcmp(format, "aes") == 0;
    *out_method = is_aes ? QCOW2_CRYPT_AES : format ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_NONE;
    if (!format && block_spec_has_sub(options, "encrypt")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Options of encryption need encrypt.format=luks");
        return false;
    }
    if (format && !is_aes && strcmp(format, "luks") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Unknown encryption format '%s'; supported: luks, aes", format);
        return false;
    }
    if (format && mode && strcmp(mode, "off") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Encrypted images cannot be preallocated");
        return false;
    }
    if (!format) {
        return true;
    }
    bool ok = is_aes ? check_aes_options(options, error)
                     : luks_wish_parse(options, "encrypt.", out_wish, error);
    g_autoptr(GBytes) secret = ok ? luks_secret(options, "encrypt.key-secret", error) : NULL;
    return secret != NULL;
}

/* Reserves the header's clusters, which read as zeroes. */
static int reserve_header(Qcow2 *q, uint64_t room)
{
    uint64_t wanted = div_round_up(room, q->cluster_size), got = 0;
    pthread_mutex_lock(&q->lock);
    int64_t host = qcow2_alloc_clusters(q, wanted, &got);
    pthread_mutex_unlock(&q->lock);
    if (host < 0 || got < wanted) {
        return host < 0 ? (int)host : -EFBIG;
    }
    q->header.crypt = QCOW2_CRYPT_LUKS;
    q->header.crypt_offset = (uint64_t)host;
    q->header.crypt_length = room;
    return block_child_zero(q->node->file, (uint64_t)host, wanted << q->cluster_bits, 0);
}

static bool add_header(Qcow2 *q, const LuksWish *wish, const BlockSpec *options, GError **error)
{
    LuksStore store = header_store(q);
    uint8_t key[CRYPTO_KEY_MAX];
    g_autoptr(GBytes) secret = luks_secret(options, "encrypt.key-secret", error);
    int rc = secret ? reserve_header(q, luks_room(wish)) : -EINVAL;
    bool ok = rc == 0 && luks_create(&store, wish, secret, key, error);
    crypto_forget(key, sizeof(key));
    if (ok) {
        rc = qcow2_flush_alone(q);
        rc = rc < 0 ? rc : qcow2_header_write(q, true);
    }
    if (rc < 0 && secret) {
        lodge_error_set_errno(error, rc, "Could not write the encryption header");
    }
    return ok && rc == 0;
}

bool qcow2_crypt_create(File *file, const char *name, const LuksWish *wish,
                        const BlockSpec *options, GError **error)
{
    const unsigned flags = BLOCK_OPEN_WRITABLE | BLOCK_OPEN_NO_DATA | BLOCK_OPEN_NO_BACKING;
    /* Only freed afterwards: @file stays the caller's. */
    BlockNode *below = block_file_node(file, name, BLOCK_OPEN_WRITABLE, error);
    if (!below) {
        return false;
    }
    BlockNode *node = block_node_new(&block_driver_qcow2, name, flags);
    node->file = below;
    bool ok = block_driver_qcow2.open(node, NULL, flags, error);
    if (ok) {
        ok = add_header(qcow2_of(node), wish, options, error);
        int rc = block_driver_qcow2.close(node);
        if (rc < 0 && ok) {
            lodge_error_set_errno(error, rc, "Could not write the image");
            ok = false;
        }
    }
    block_node_free(node);
    block_node_free(below);
    return ok;
}
