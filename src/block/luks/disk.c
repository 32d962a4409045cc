/* Requests on encrypted sectors. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/luks/disk.h"

#include "base/int-math.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define PIECE_BYTES (256u << 10) /* encrypted at a time */

static bool unlock(CryptoDisk *disk, const LuksStore *store, const BlockSpec *spec,
                   const char *name, GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    g_autoptr(GBytes) secret = luks_secret(spec, name, error);
    if (!secret || !luks_unlock(store, &disk->header, secret, key, error)) {
        return false;
    }
    disk->volume = crypto_volume_new(&disk->header.spec, key, error);
    disk->secret = g_steal_pointer(&secret);
    crypto_forget(key, sizeof(key));
    return disk->volume != NULL;
}

CryptoDisk *crypto_disk_open(const LuksStore *store, uint64_t room, const BlockSpec *spec,
                             const char *key, GError **error)
{
    CryptoDisk *disk = g_new0(CryptoDisk, 1);
    pthread_rwlock_init(&disk->sectors, NULL);
    if (!luks_read(store, room, &disk->header, error) ||
        (key && !unlock(disk, store, spec, key, error))) {
        crypto_disk_free(disk);
        return NULL;
    }
    return disk;
}

static bool take_password(CryptoDisk *disk, const BlockSpec *spec, const char *name, GError **error)
{
    CryptoSpec cipher = { .cipher = crypto_cipher_find("aes-128"),
                          .mode = CRYPTO_MODE_CBC,
                          .ivgen = CRYPTO_IVGEN_PLAIN64 };
    uint8_t key[CRYPTO_KEY_MAX] = { 0 };
    size_t length;
    g_autoptr(GBytes) secret = luks_secret(spec, name, error);
    const char *password = secret ? g_bytes_get_data(secret, &length) : NULL;
    if (!secret) {
        return false;
    }
    if (!g_utf8_validate(password, (gssize)length, NULL)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "The password of an image that is encrypted by 'aes' is not valid UTF-8");
        return false;
    }
    if (length > 0) {
        memcpy(key, password, min_u64(length, cipher.cipher->key_bytes));
    }
    disk->volume = crypto_volume_new(&cipher, key, error);
    disk->secret = g_steal_pointer(&secret);
    crypto_forget(key, sizeof(key));
    return disk->volume != NULL;
}

CryptoDisk *crypto_disk_open_aes(const BlockSpec *spec, const char *key, GError **error)
{
    CryptoDisk *disk = g_new0(CryptoDisk, 1);
    disk->is_aes = true;
    pthread_rwlock_init(&disk->sectors, NULL);
    if (key && !take_password(disk, spec, key, error)) {
        crypto_disk_free(disk);
        return NULL;
    }
    return disk;
}

void crypto_disk_free(CryptoDisk *disk)
{
    if (disk) {
        crypto_volume_free(disk->volume);
        g_clear_pointer(&disk->secret, g_bytes_unref);
        pthread_rwlock_destroy(&disk->sectors);
        g_free(disk);
    }
}

/* Where the sectors are. */
typedef struct Place {
    CryptoDisk *disk;
    BlockNode *child;
    uint64_t shift;
} Place;

/* Whole sectors, decrypted in a buffer of their own, or encrypted from it. */
static int move_sectors(const Place *place, uint64_t offset, uint8_t *buf, size_t length,
                        bool is_write)
{
    CryptoVolume *volume = place->disk->volume;
    uint64_t below = place->shift + offset, sector = offset / LUKS_SECTOR;
    if (is_write) {
        int rc = crypto_volume_run(volume, true, sector, buf, length);
        return rc < 0 ? rc : block_child_write(place->child, below, buf, length);
    }
    int rc = block_child_read(place->child, below, buf, length);
    return rc < 0 ? rc : crypto_volume_run(volume, false, sector, buf, length);
}

typedef struct Piece {
    uint64_t start, end; /* whole sectors around ... */
    uint64_t offset;     /* ... what is wanted */
    size_t length;
} Piece;

static Piece next_piece(uint64_t offset, uint64_t length)
{
    Piece piece = { .start = round_down(offset, LUKS_SECTOR), .offset = offset };
    piece.end = min_u64(round_up(offset + length, LUKS_SECTOR), piece.start + PIECE_BYTES);
    piece.length = min_u64(length, piece.end - offset);
    return piece;
}

static int write_piece(const Place *place, const Piece *piece, uint8_t *buf, const BlockVec *vec,
                       uint64_t skip)
{
    uint64_t stop = piece->offset + piece->length;
    int rc = 0;
    if (piece->offset > piece->start) {
        rc = move_sectors(place, piece->start, buf, LUKS_SECTOR, false);
    }
    if (rc == 0 && stop < piece->end &&
        (piece->offset == piece->start || piece->end - piece->start > LUKS_SECTOR)) {
        rc = move_sectors(place, piece->end - LUKS_SECTOR,
                          buf + (piece->end - LUKS_SECTOR - piece->start), LUKS_SECTOR, false);
    }
    if (rc < 0) {
        return rc;
    }
    block_vec_read(vec, skip, buf + (piece->offset - piece->start), piece->length);
    return move_sectors(place, piece->start, buf, piece->end - piece->start, true);
}

static int transfer(const Place *place, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip, bool is_write)
{
    g_autofree uint8_t *buf = g_try_malloc(min_u64(PIECE_BYTES, length + 2 * LUKS_SECTOR));
    int rc = !buf ? -ENOMEM : place->disk->volume ? 0 : -EPERM;
    while (length > 0 && rc == 0) {
        Piece piece = next_piece(offset, length);
        if (is_write) {
            rc = write_piece(place, &piece, buf, vec, skip);
        } else {
            rc = move_sectors(place, piece.start, buf, piece.end - piece.start, false);
            if (rc == 0) {
                block_vec_write(vec, skip, buf + (piece.offset - piece.start), piece.length);
            }
        }
        offset += piece.length;
        length -= piece.length;
        skip += piece.length;
    }
    return rc;
}

int crypto_disk_readv(CryptoDisk *disk, BlockNode *child, uint64_t shift, uint64_t offset,
                      uint64_t length, const BlockVec *vec, uint64_t skip)
{
    Place place = { disk, child, shift };
    return transfer(&place, offset, length, vec, skip, false);
}

int crypto_disk_writev(CryptoDisk *disk, BlockNode *child, uint64_t shift, uint64_t offset,
                       uint64_t length, const BlockVec *vec, uint64_t skip)
{
    Place place = { disk, child, shift };
    if (offset % LUKS_SECTOR || length % LUKS_SECTOR) {
        pthread_rwlock_wrlock(&disk->sectors);
    } else {
        pthread_rwlock_rdlock(&disk->sectors);
    }
    int rc = transfer(&place, offset, length, vec, skip, true);
    pthread_rwlock_unlock(&disk->sectors);
    return rc;
}
