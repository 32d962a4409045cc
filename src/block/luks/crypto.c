/* Encryption of disks by libgcrypt. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/luks/crypto.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <gcrypt.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK_MAX 16u

static const CryptoCipher ciphers[] = {
    { "aes-128", "aes", GCRY_CIPHER_AES128, 16, 16 },
    { "aes-192", "aes", GCRY_CIPHER_AES192, 24, 16 },
    { "aes-256", "aes", GCRY_CIPHER_AES256, 32, 16 },
    { "cast5-128", "cast5", GCRY_CIPHER_CAST5, 16, 8 },
    { "serpent-128", "serpent", GCRY_CIPHER_SERPENT128, 16, 16 },
    { "serpent-192", "serpent", GCRY_CIPHER_SERPENT192, 24, 16 },
    { "serpent-256", "serpent", GCRY_CIPHER_SERPENT256, 32, 16 },
    { "twofish-128", "twofish", GCRY_CIPHER_TWOFISH128, 16, 16 },
    { "twofish-256", "twofish", GCRY_CIPHER_TWOFISH, 32, 16 },
};

static const CryptoHash hashes[] = {
    { "md5", GCRY_MD_MD5, 16 },          { "sha1", GCRY_MD_SHA1, 20 },
    { "sha224", GCRY_MD_SHA224, 28 },    { "sha256", GCRY_MD_SHA256, 32 },
    { "sha384", GCRY_MD_SHA384, 48 },    { "sha512", GCRY_MD_SHA512, 64 },
    { "ripemd160", GCRY_MD_RMD160, 20 },
};

static const char *const modes[] = { "ecb", "cbc", "xts", "ctr" };
static const int library_modes[] = { GCRY_CIPHER_MODE_ECB, GCRY_CIPHER_MODE_CBC,
                                     GCRY_CIPHER_MODE_XTS, GCRY_CIPHER_MODE_CTR };
static const char *const ivgens[] = { "plain", "plain64", "essiv" };

const CryptoCipher *crypto_cipher_find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        if (strcmp(ciphers[i].name, name) == 0) {
            return &ciphers[i];
        }
    }
    return NULL;
}

const CryptoCipher *crypto_cipher_find_base(const char *base, unsigned key_bytes)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        if (strcmp(ciphers[i].base, base) == 0 && ciphers[i].key_bytes == key_bytes) {
            return &ciphers[i];
        }
    }
    return NULL;
}

const CryptoHash *crypto_hash_find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(hashes); i++) {
        if (strcmp(hashes[i].name, name) == 0) {
            return &hashes[i];
        }
    }
    return NULL;
}

static bool find_word(const char *const *words, unsigned count, const char *name,
                      unsigned *out_index)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(words[i], name) == 0) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

bool crypto_mode_find(const char *name, CryptoMode *out_mode)
{
    unsigned index;
    bool ok = find_word(modes, G_N_ELEMENTS(modes), name, &index);
    if (ok) {
        *out_mode = (CryptoMode)index;
    }
    return ok;
}

bool crypto_ivgen_find(const char *name, CryptoIvgen *out_ivgen)
{
    unsigned index;
    bool ok = find_word(ivgens, G_N_ELEMENTS(ivgens), name, &index);
    if (ok) {
        *out_ivgen = (CryptoIvgen)index;
    }
    return ok;
}

const char *crypto_mode_name(CryptoMode mode)
{
    return modes[mode];
}

const char *crypto_ivgen_name(CryptoIvgen ivgen)
{
    return ivgens[ivgen];
}

unsigned crypto_key_bytes(const CryptoSpec *spec)
{
    return spec->cipher->key_bytes * (spec->mode == CRYPTO_MODE_XTS ? 2 : 1);
}

bool crypto_spec_check(const CryptoSpec *spec, GError **error)
{
    bool is_essiv = spec->ivgen == CRYPTO_IVGEN_ESSIV;
    if (spec->mode == CRYPTO_MODE_XTS && spec->cipher->block_bytes != 16) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Cipher '%s' does not go with mode 'xts', which needs blocks of 16 bytes",
                    spec->cipher->name);
        return false;
    }
    if (is_essiv && !spec->ivgen_hash) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "IV generator 'essiv' needs a hash (ivgen-hash-alg)");
        return false;
    }
    if (is_essiv && !crypto_cipher_find_base(spec->cipher->base, spec->ivgen_hash->bytes)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "IV generator 'essiv' with hash '%s' does not go with cipher '%s', which has "
                    "no keys of %u bytes",
                    spec->ivgen_hash->name, spec->cipher->base, spec->ivgen_hash->bytes);
        return false;
    }
    return true;
}

/* Hashes */

bool crypto_hash(const CryptoHash *hash, const void *data, size_t length, uint8_t *out_digest)
{
    gcry_md_hash_buffer(hash->algorithm, out_digest, data, length);
    return true;
}

bool crypto_pbkdf2(const CryptoHash *hash, const void *password, size_t password_length,
                   const uint8_t *salt, size_t salt_length, uint32_t iterations, uint8_t *out_key,
                   size_t key_length)
{
    return gcry_kdf_derive(password, password_length, GCRY_KDF_PBKDF2, hash->algorithm, salt,
                           salt_length, iterations, key_length, out_key) == 0;
}

uint32_t crypto_pbkdf2_calibrate(const CryptoHash *hash, size_t key_length, unsigned ms)
{
    uint8_t key[CRYPTO_KEY_MAX], salt[32] = { 0 };
    uint64_t count = 1 << 12;
    for (;;) {
        int64_t start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
        bool ok = crypto_pbkdf2(hash, "password", 8, salt, sizeof(salt), (uint32_t)count, key,
                                key_length);
        int64_t spent_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns;
        if (!ok || spent_ns >= 50 * NS_PER_MS || count >= 1u << 26) {
            double rate = (double)count / (double)MAX(spent_ns, 1);
            return (uint32_t)MIN(rate * ms * NS_PER_MS, (double)(1u << 26));
        }
        count *= 2;
    }
}

void crypto_random(void *buf, size_t length)
{
    uint8_t *at = buf;
    while (length > 0) {
        ssize_t done = getrandom(at, MIN(length, 256), 0);
        /* Up to 256 bytes the call neither fails nor stops half-way once the kernel is seeded. */
        lodge_assert(done > 0 || errno == EINTR);
        at += MAX(done, 0);
        length -= (size_t)MAX(done, 0);
    }
}

void crypto_forget(void *buf, size_t length)
{
    explicit_bzero(buf, length);
}

/* Volumes */

/* The library's handles serve one thread at a time: each thread borrows a set. */
typedef struct Handles {
    struct Handles *next;
    gcry_cipher_hd_t cipher, essiv; /* essiv NULL: none */
} Handles;

struct CryptoVolume {
    CryptoSpec spec;
    uint8_t key[CRYPTO_KEY_MAX], essiv_key[CRYPTO_DIGEST_MAX];
    pthread_mutex_t lock;
    Handles *free; /* under lock */
};

static void handles_free(Handles *handles)
{
    if (handles->cipher) {
        gcry_cipher_close(handles->cipher);
    }
    if (handles->essiv) {
        gcry_cipher_close(handles->essiv);
    }
    g_free(handles);
}

static Handles *handles_new(const CryptoVolume *volume)
{
    const CryptoSpec *spec = &volume->spec;
    Handles *handles = g_new0(Handles, 1);
    gcry_error_t rc =
        gcry_cipher_open(&handles->cipher, spec->cipher->algorithm, library_modes[spec->mode], 0);
    rc = rc ? rc : gcry_cipher_setkey(handles->cipher, volume->key, crypto_key_bytes(spec));
    if (!rc && spec->ivgen == CRYPTO_IVGEN_ESSIV) {
        const CryptoCipher *essiv =
            crypto_cipher_find_base(spec->cipher->base, spec->ivgen_hash->bytes);
        rc = gcry_cipher_open(&handles->essiv, essiv->algorithm, GCRY_CIPHER_MODE_ECB, 0);
        rc = rc ? rc : gcry_cipher_setkey(handles->essiv, volume->essiv_key, essiv->key_bytes);
    }
    if (rc) {
        handles_free(handles);
        return NULL;
    }
    return handles;
}

static Handles *borrow(CryptoVolume *volume)
{
    pthread_mutex_lock(&volume->lock);
    Handles *handles = volume->free;
    if (handles) {
        volume->free = handles->next;
    }
    pthread_mutex_unlock(&volume->lock);
    return handles ? handles : handles_new(volume);
}

static void give_back(CryptoVolume *volume, Handles *handles)
{
    pthread_mutex_lock(&volume->lock);
    handles->next = volume->free;
    volume->free = handles;
    pthread_mutex_unlock(&volume->lock);
}

CryptoVolume *crypto_volume_new(const CryptoSpec *spec, const uint8_t *key, GError **error)
{
    if (!gcry_check_version(NULL) || !crypto_spec_check(spec, error)) {
        return NULL;
    }
    g_autoptr(CryptoVolume) volume = g_new0(CryptoVolume, 1);
    volume->spec = *spec;
    pthread_mutex_init(&volume->lock, NULL);
    memcpy(volume->key, key, crypto_key_bytes(spec));
    if (spec->ivgen == CRYPTO_IVGEN_ESSIV) {
        crypto_hash(spec->ivgen_hash, key, crypto_key_bytes(spec), volume->essiv_key);
    }
    volume->free = handles_new(volume);
    if (!volume->free) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Cipher '%s' cannot be used with this key and this library",
                    spec->cipher->name);
        return NULL;
    }
    return g_steal_pointer(&volume);
}

void crypto_volume_free(CryptoVolume *volume)
{
    if (!volume) {
        return;
    }
    while (volume->free) {
        Handles *handles = volume->free;
        volume->free = handles->next;
        handles_free(handles);
    }
    pthread_mutex_destroy(&volume->lock);
    crypto_forget(volume->key, sizeof(volume->key));
    crypto_forget(volume->essiv_key, sizeof(volume->essiv_key));
    g_free(volume);
}

static gcry_error_t set_iv(const CryptoSpec *spec, Handles *handles, uint64_t sector)
{
    uint8_t iv[BLOCK_MAX] = { 0 };
    unsigned length = spec->cipher->block_bytes;
    if (spec->mode == CRYPTO_MODE_ECB) {
        return 0;
    }
    if (spec->ivgen == CRYPTO_IVGEN_PLAIN) {
        le32_put(iv, (uint32_t)sector);
    } else {
        le64_put(iv, sector);
    }
    gcry_error_t rc = handles->essiv ? gcry_cipher_encrypt(handles->essiv, iv, length, NULL, 0) : 0;
    if (rc) {
        return rc;
    }
    return spec->mode == CRYPTO_MODE_CTR ? gcry_cipher_setctr(handles->cipher, iv, length)
                                         : gcry_cipher_setiv(handles->cipher, iv, length);
}

int crypto_volume_run(CryptoVolume *volume, bool is_encrypt, uint64_t sector, uint8_t *buf,
                      size_t length)
{
    Handles *handles = borrow(volume);
    gcry_error_t rc = 0;
    if (!handles) {
        return -ENOMEM;
    }
    for (size_t at = 0; at < length && !rc; at += CRYPTO_SECTOR, sector++) {
        rc = set_iv(&volume->spec, handles, sector);
        if (!rc) {
            rc = is_encrypt
                     ? gcry_cipher_encrypt(handles->cipher, buf + at, CRYPTO_SECTOR, NULL, 0)
                     : gcry_cipher_decrypt(handles->cipher, buf + at, CRYPTO_SECTOR, NULL, 0);
        }
    }
    give_back(volume, handles);
    return rc ? -EIO : 0;
}
