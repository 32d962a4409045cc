/* LUKS version 1: a header with up to eight key slots that unlock the key of a disk.
 *
 * Source: "LUKS On-Disk Format Specification" 1.2.3. Independent of where the header lies: the luks
 * format keeps it before the data, qcow2 in clusters of its own. Leaves out: version 2, detached
 * headers, initialization vectors counted in large sectors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_LUKS_LUKS_H
#define LODGE_BLOCK_LUKS_LUKS_H

#include "block/block.h"
#include "block/luks/crypto.h"
#include "block/objects.h"

#define LUKS_SLOTS 8
#define LUKS_SECTOR 512u
#define LUKS_STRIPES 4000u
#define LUKS_HEADER_BYTES 592u
#define LUKS_SALT_BYTES 32u
#define LUKS_DIGEST_BYTES 20u
#define LUKS_UUID_BYTES 40u

typedef struct LuksSlot {
    bool is_active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    uint64_t offset; /* bytes, of the key material */
    uint32_t stripes;
} LuksSlot;

typedef struct LuksHeader {
    CryptoSpec spec;
    const CryptoHash *hash;
    uint64_t payload_offset; /* bytes */
    uint32_t key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES], digest_salt[LUKS_SALT_BYTES];
    uint32_t digest_iterations;
    char uuid[LUKS_UUID_BYTES];
    LuksSlot slots[LUKS_SLOTS];
} LuksHeader;

/* Where a header lies: offsets count from its begin. Return 0 or -errno. */
typedef struct LuksStore {
    int (*read)(void *opaque, uint64_t offset, void *buf, size_t length);
    int (*write)(void *opaque, uint64_t offset, const void *buf, size_t length);
    int (*flush)(void *opaque);
    void *opaque;
} LuksStore;

/* Reads and checks a header of @room bytes at most, key material and all. */
bool luks_read(const LuksStore *store, uint64_t room, LuksHeader *out_header, GError **error);

/* Unlocks with @secret, trying all active slots. @out_key: CRYPTO_KEY_MAX bytes. Takes seconds. */
bool luks_unlock(const LuksStore *store, const LuksHeader *header, GBytes *secret, uint8_t *out_key,
                 GError **error);

/* What a new header shall be; of the options "cipher-alg", "cipher-mode", "ivgen-alg",
 * "ivgen-hash-alg", "hash-alg", "iter-time". */
typedef struct LuksWish {
    CryptoSpec spec;
    const CryptoHash *hash;
    unsigned iter_ms;
} LuksWish;

/* @prefix: before the options' names: "" or "encrypt.". */
bool luks_wish_parse(const BlockSpec *options, const char *prefix, LuksWish *out_wish,
                     GError **error);
/* Bytes before the payload. */
uint64_t luks_room(const LuksWish *wish);
/* Writes a header with a new key that @secret unlocks by slot 0. @out_key: as luks_unlock(). */
bool luks_create(const LuksStore *store, const LuksWish *wish, GBytes *secret, uint8_t *out_key,
                 GError **error);

/* Changes of slots: "state" (active, inactive), "new-secret", "old-secret", "keyslot", "iter-time".
 * @unlocking: the secret that opened the image. The last slot goes, and an active one is
 * overwritten, only if @is_forced. */
bool luks_amend(const LuksStore *store, LuksHeader *header, const BlockSpec *options,
                const char *prefix, GBytes *unlocking, bool is_forced, GError **error);

/* What `info` tells. */
void luks_add_facts(const LuksHeader *header, GArray *facts, bool is_nested);

/* The secret that @key of @spec names (transfer full), or NULL with @error. */
GBytes *luks_secret(const BlockSpec *spec, const char *key, GError **error);

/* Rows of option tables. */
#define LUKS_OPTIONS(prefix)                                                                       \
    { prefix "key-secret", BLOCK_OPTION_TEXT, "ID of secret that unlocks the image", false,        \
      false },                                                                                     \
        { prefix "cipher-alg", BLOCK_OPTION_TEXT, "Name of cipher algorithm (aes-256)", false,     \
          false },                                                                                 \
        { prefix "cipher-mode", BLOCK_OPTION_TEXT, "Name of cipher mode (xts)", false, false },    \
        { prefix "ivgen-alg", BLOCK_OPTION_TEXT, "Name of IV generator algorithm (plain64)",       \
          false, false },                                                                          \
        { prefix "ivgen-hash-alg", BLOCK_OPTION_TEXT, "Name of IV generator hash algorithm",       \
          false, false },                                                                          \
        { prefix "hash-alg", BLOCK_OPTION_TEXT, "Name of hash algorithm (sha256)", false, false }, \
        { prefix "iter-time", BLOCK_OPTION_NUMBER,                                                 \
          "Time to spend in PBKDF in milliseconds (2000)", true, false },                          \
        { prefix "state", BLOCK_OPTION_TEXT,                                                       \
          "New state of the key slots meant (active, inactive)", true, true },                     \
        { prefix "new-secret", BLOCK_OPTION_TEXT, "ID of the secret that a slot made active gets", \
          true, true },                                                                            \
        { prefix "old-secret", BLOCK_OPTION_TEXT, "ID of the secret whose slots become inactive",  \
          true, true },                                                                            \
    {                                                                                              \
        prefix "keyslot", BLOCK_OPTION_NUMBER, "The slot meant (0 to 7)", true, true               \
    }

#endif
