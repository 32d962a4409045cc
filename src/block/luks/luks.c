/* LUKS headers: reading, unlocking, creating. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/luks/slots.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <string.h>

#define MAGIC "LUKS\xba\xbe"
#define MAGIC_BYTES 6u
#define ACTIVE 0x00ac71f3u
#define INACTIVE 0x0000deadu
#define NAME_BYTES 32u
#define FIRST_SLOT 4096u /* bytes; material begins at multiples of this */
#define DEFAULT_ITER_MS 2000
#define ITER_MS_MAX (3600u * 1000)
#define ITERATIONS_MAX (1u << 27) /* half a minute a slot: a header cannot ask for more */

static bool corrupt(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "LUKS header: %s", what);
    return false;
}

/* Names */

static bool take_text(const uint8_t *bytes, char *out_text)
{
    memcpy(out_text, bytes, NAME_BYTES);
    out_text[NAME_BYTES] = '\0';
    return memchr(bytes, '\0', NAME_BYTES) != NULL;
}

/* "xts-plain64", "cbc-essiv:sha256", "ecb" */
static bool parse_mode(char *text, CryptoSpec *spec, GError **error)
{
    char *ivgen = strchr(text, '-');
    if (ivgen) {
        *ivgen++ = '\0';
    }
    char *hash = ivgen ? strchr(ivgen, ':') : NULL;
    if (hash) {
        *hash++ = '\0';
    }
    if (!crypto_mode_find(text, &spec->mode) ||
        (ivgen && !crypto_ivgen_find(ivgen, &spec->ivgen)) ||
        (!ivgen && spec->mode != CRYPTO_MODE_ECB)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "LUKS cipher mode '%s-%s' is not supported", text, ivgen ? ivgen : "");
        return false;
    }
    spec->ivgen_hash = hash ? crypto_hash_find(hash) : NULL;
    if (hash && !spec->ivgen_hash) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "LUKS hash '%s' of the IV generator is not supported", hash);
        return false;
    }
    return true;
}

static bool parse_names(const uint8_t *bytes, LuksHeader *header, GError **error)
{
    char cipher[NAME_BYTES + 1], mode[NAME_BYTES + 1], hash[NAME_BYTES + 1];
    if (!take_text(bytes + 8, cipher) || !take_text(bytes + 40, mode) ||
        !take_text(bytes + 72, hash)) {
        return corrupt(error, "a name has no end");
    }
    if (!parse_mode(mode, &header->spec, error)) {
        return false;
    }
    unsigned key_bytes = header->key_bytes / (header->spec.mode == CRYPTO_MODE_XTS ? 2 : 1);
    header->spec.cipher = crypto_cipher_find_base(cipher, key_bytes);
    header->hash = crypto_hash_find(hash);
    if (!header->spec.cipher || !header->hash) {
        g_autofree char *shown = g_utf8_make_valid(header->hash ? cipher : hash, -1);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    header->hash ? "LUKS cipher '%s' with a key of %u bytes is not supported"
                                 : "LUKS hash '%s' is not supported",
                    shown, header->key_bytes);
        return false;
    }
    return header->key_bytes == crypto_key_bytes(&header->spec)
               ? crypto_spec_check(&header->spec, error)
               : corrupt(error, "the key's length does not go with the cipher");
}

/* Reading */

static bool is_apart(const LuksHeader *header, unsigned a, unsigned b, uint64_t length)
{
    uint64_t start = header->slots[a].offset, other = header->slots[b].offset;
    return start + length <= other || other + length <= start;
}

static bool check_slots(const LuksHeader *header, uint64_t room, GError **error)
{
    uint64_t length = luks_material_bytes(header);
    if (header->payload_offset < LUKS_HEADER_BYTES || header->payload_offset > room) {
        return corrupt(error, "the payload does not begin within the file");
    }
    if (header->digest_iterations == 0 || header->digest_iterations > ITERATIONS_MAX) {
        return corrupt(error, "the iterations of the master key are out of range");
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *slot = &header->slots[i];
        if (slot->stripes != LUKS_STRIPES || slot->offset < LUKS_HEADER_BYTES ||
            slot->offset + length > header->payload_offset) {
            return corrupt(error, "the material of a key slot lies in the wrong place");
        }
        if (slot->is_active && (slot->iterations == 0 || slot->iterations > ITERATIONS_MAX)) {
            return corrupt(error, "the iterations of a key slot are out of range");
        }
        for (unsigned k = 0; k < i; k++) {
            if (!is_apart(header, i, k, length)) {
                return corrupt(error, "key slots overlap");
            }
        }
    }
    return true;
}

static bool parse_slot(const uint8_t *bytes, LuksSlot *slot, GError **error)
{
    uint32_t state = be32_get(bytes);
    if (state != ACTIVE && state != INACTIVE) {
        return corrupt(error, "a key slot is neither active nor inactive");
    }
    slot->is_active = state == ACTIVE;
    slot->iterations = be32_get(bytes + 4);
    memcpy(slot->salt, bytes + 8, LUKS_SALT_BYTES);
    slot->offset = (uint64_t)be32_get(bytes + 40) * LUKS_SECTOR;
    slot->stripes = be32_get(bytes + 44);
    return true;
}

bool luks_read(const LuksStore *store, uint64_t room, LuksHeader *out_header, GError **error)
{
    uint8_t bytes[LUKS_HEADER_BYTES];
    int rc = room < sizeof(bytes) ? 0 : store->read(store->opaque, 0, bytes, sizeof(bytes));
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not read the LUKS header");
        return false;
    }
    if (room < sizeof(bytes) || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0) {
        return corrupt(error, "there is none");
    }
    if (be16_get(bytes + 6) != 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "LUKS version %u is not supported; cryptsetup converts it to version 1",
                    be16_get(bytes + 6));
        return false;
    }
    LuksHeader header = {
        .payload_offset = (uint64_t)be32_get(bytes + 104) * LUKS_SECTOR,
        .key_bytes = be32_get(bytes + 108),
        .digest_iterations = be32_get(bytes + 164),
    };
    memcpy(header.digest, bytes + 112, LUKS_DIGEST_BYTES);
    memcpy(header.digest_salt, bytes + 132, LUKS_SALT_BYTES);
    memcpy(header.uuid, bytes + 168, LUKS_UUID_BYTES);
    header.uuid[LUKS_UUID_BYTES - 1] = '\0';
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!parse_slot(bytes + 208 + 48 * (size_t)i, &header.slots[i], error)) {
            return false;
        }
    }
    if (!parse_names(bytes, &header, error) || !check_slots(&header, room, error)) {
        return false;
    }
    *out_header = header;
    return true;
}

/* Writing */

int luks_write(const LuksStore *store, const LuksHeader *header)
{
    uint8_t bytes[LUKS_HEADER_BYTES] = { 0 };
    const CryptoSpec *spec = &header->spec;
    memcpy(bytes, MAGIC, MAGIC_BYTES);
    be16_put(bytes + 6, 1);
    g_strlcpy((char *)bytes + 8, spec->cipher->base, NAME_BYTES);
    g_snprintf((char *)bytes + 40, NAME_BYTES, "%s-%s%s%s", crypto_mode_name(spec->mode),
               crypto_ivgen_name(spec->ivgen), spec->ivgen_hash ? ":" : "",
               spec->ivgen_hash ? spec->ivgen_hash->name : "");
    g_strlcpy((char *)bytes + 72, header->hash->name, NAME_BYTES);
    be32_put(bytes + 104, (uint32_t)(header->payload_offset / LUKS_SECTOR));
    be32_put(bytes + 108, header->key_bytes);
    memcpy(bytes + 112, header->digest, LUKS_DIGEST_BYTES);
    memcpy(bytes + 132, header->digest_salt, LUKS_SALT_BYTES);
    be32_put(bytes + 164, header->digest_iterations);
    memcpy(bytes + 168, header->uuid, LUKS_UUID_BYTES);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *slot = &header->slots[i];
        uint8_t *at = bytes + 208 + 48 * (size_t)i;
        be32_put(at, slot->is_active ? ACTIVE : INACTIVE);
        be32_put(at + 4, slot->iterations);
        memcpy(at + 8, slot->salt, LUKS_SALT_BYTES);
        be32_put(at + 40, (uint32_t)(slot->offset / LUKS_SECTOR));
        be32_put(at + 44, slot->stripes);
    }
    int rc = store->write(store->opaque, 0, bytes, sizeof(bytes));
    return rc < 0 ? rc : store->flush(store->opaque);
}

uint64_t luks_material_bytes(const LuksHeader *header)
{
    return round_up((uint64_t)header->key_bytes * LUKS_STRIPES, LUKS_SECTOR);
}

static uint64_t slot_bytes(unsigned key_bytes)
{
    return round_up((uint64_t)key_bytes * LUKS_STRIPES, FIRST_SLOT);
}

uint64_t luks_room(const LuksWish *wish)
{
    return FIRST_SLOT + LUKS_SLOTS * slot_bytes(crypto_key_bytes(&wish->spec));
}

bool luks_create(const LuksStore *store, const LuksWish *wish, GBytes *secret, uint8_t *out_key,
                 GError **error)
{
    Uuid uuid;
    LuksHeader header = {
        .spec = wish->spec,
        .hash = wish->hash,
        .payload_offset = luks_room(wish),
        .key_bytes = crypto_key_bytes(&wish->spec),
    };
    if (!uuid_generate(&uuid, error)) {
        return false;
    }
    uuid_format(&uuid, header.uuid);
    crypto_random(out_key, header.key_bytes);
    crypto_random(header.digest_salt, sizeof(header.digest_salt));
    header.digest_iterations =
        MAX(crypto_pbkdf2_calibrate(wish->hash, LUKS_DIGEST_BYTES, wish->iter_ms) / 8, 1000);
    if (!crypto_pbkdf2(wish->hash, out_key, header.key_bytes, header.digest_salt, LUKS_SALT_BYTES,
                       header.digest_iterations, header.digest, LUKS_DIGEST_BYTES)) {
        return corrupt(error, "the key's digest cannot be made");
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        header.slots[i].stripes = LUKS_STRIPES;
        header.slots[i].offset = FIRST_SLOT + i * slot_bytes(header.key_bytes);
    }
    return luks_set_slot(store, &header, 0, out_key, secret, wish->iter_ms, error);
}

/* Options */

static const char *option(const BlockSpec *options, const char *prefix, const char *name)
{
    g_autofree char *key = g_strconcat(prefix, name, NULL);
    return block_spec_get(options, key);
}

static bool unknown(GError **error, const char *what, const char *value)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid %s '%s'", what, value);
    return false;
}

bool luks_iter_ms(const BlockSpec *options, const char *prefix, unsigned *out_ms, GError **error)
{
    g_autofree char *key = g_strconcat(prefix, "iter-time", NULL);
    uint64_t ms = DEFAULT_ITER_MS;
    if (!block_spec_get_size(options, key, &ms, error)) {
        return false;
    }
    if (ms == 0 || ms > ITER_MS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' expects milliseconds from 1 to %u", key, ITER_MS_MAX);
        return false;
    }
    *out_ms = (unsigned)ms;
    return true;
}

bool luks_wish_parse(const BlockSpec *options, const char *prefix, LuksWish *out_wish,
                     GError **error)
{
    const char *cipher = option(options, prefix, "cipher-alg");
    const char *mode = option(options, prefix, "cipher-mode");
    const char *ivgen = option(options, prefix, "ivgen-alg");
    const char *ivgen_hash = option(options, prefix, "ivgen-hash-alg");
    const char *hash = option(options, prefix, "hash-alg");
    LuksWish wish = { .spec = { .mode = CRYPTO_MODE_XTS, .ivgen = CRYPTO_IVGEN_PLAIN64 } };
    wish.spec.cipher = crypto_cipher_find(cipher ? cipher : "aes-256");
    wish.hash = crypto_hash_find(hash ? hash : "sha256");
    if (!wish.spec.cipher) {
        return unknown(error, "cipher-alg", cipher);
    }
    if (!wish.hash) {
        return unknown(error, "hash-alg", hash);
    }
    if (mode && !crypto_mode_find(mode, &wish.spec.mode)) {
        return unknown(error, "cipher-mode", mode);
    }
    if (ivgen && !crypto_ivgen_find(ivgen, &wish.spec.ivgen)) {
        return unknown(error, "ivgen-alg", ivgen);
    }
    bool is_essiv = wish.spec.ivgen == CRYPTO_IVGEN_ESSIV;
    if (ivgen_hash || is_essiv) {
        wish.spec.ivgen_hash = crypto_hash_find(ivgen_hash ? ivgen_hash : "sha256");
        if (!wish.spec.ivgen_hash) {
            return unknown(error, "ivgen-hash-alg", ivgen_hash);
        }
    }
    if (!is_essiv && ivgen_hash) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "ivgen-hash-alg goes with ivgen-alg=essiv only");
        return false;
    }
    if (!luks_iter_ms(options, prefix, &wish.iter_ms, error) ||
        !crypto_spec_check(&wish.spec, error)) {
        return false;
    }
    *out_wish = wish;
    return true;
}

GBytes *luks_secret(const BlockSpec *spec, const char *key, GError **error)
{
    const char *id = spec ? block_spec_get(spec, key) : NULL;
    if (!id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Parameter '%s' is required for cipher: it names the secret (--object "
                    "secret,id=...)",
                    key);
        return NULL;
    }
    return block_objects_secret(block_spec_objects(spec), id, error);
}
