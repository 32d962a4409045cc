/* Key slots of LUKS headers: unlocking, setting, erasing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/luks/slots.h"

#include "base/endian.h"
#include "block/driver.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

#define SLOT_ITERATIONS_MIN 1000u

/* Anti-forensic stripes: the key is lost with any bit of them */

static void xor_into(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        to[i] ^= from[i];
    }
}

/* Each digest-sized part becomes its hash, numbered. */
static void diffuse(const CryptoHash *hash, uint8_t *block, size_t length)
{
    uint8_t input[4 + CRYPTO_DIGEST_MAX], digest[CRYPTO_DIGEST_MAX];
    for (size_t at = 0; at < length; at += hash->bytes) {
        size_t part = MIN(hash->bytes, length - at);
        be32_put(input, (uint32_t)(at / hash->bytes));
        memcpy(input + 4, block + at, part);
        crypto_hash(hash, input, 4 + part, digest);
        memcpy(block + at, digest, part);
    }
    crypto_forget(input, sizeof(input));
    crypto_forget(digest, sizeof(digest));
}

/* All stripes but the last into @out. */
static void fold(const LuksHeader *header, const uint8_t *stripes, uint8_t *out)
{
    memset(out, 0, header->key_bytes);
    for (unsigned i = 0; i + 1 < LUKS_STRIPES; i++) {
        xor_into(out, stripes + (size_t)i * header->key_bytes, header->key_bytes);
        diffuse(header->hash, out, header->key_bytes);
    }
}

static void merge(const LuksHeader *header, const uint8_t *stripes, uint8_t *out_key)
{
    fold(header, stripes, out_key);
    xor_into(out_key, stripes + (size_t)(LUKS_STRIPES - 1) * header->key_bytes, header->key_bytes);
}

static void split(const LuksHeader *header, const uint8_t *key, uint8_t *stripes)
{
    uint8_t *last = stripes + (size_t)(LUKS_STRIPES - 1) * header->key_bytes;
    crypto_random(stripes, (size_t)(LUKS_STRIPES - 1) * header->key_bytes);
    fold(header, stripes, last);
    xor_into(last, key, header->key_bytes);
}

/* Unlocking */

static CryptoVolume *slot_volume(const LuksHeader *header, const LuksSlot *slot, GBytes *secret,
                                 GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    gsize length;
    const void *password = g_bytes_get_data(secret, &length);
    if (!crypto_pbkdf2(header->hash, password ? password : "", length, slot->salt, LUKS_SALT_BYTES,
                       slot->iterations, key, header->key_bytes)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED, "The secret cannot be made a key");
        return NULL;
    }
    CryptoVolume *volume = crypto_volume_new(&header->spec, key, error);
    crypto_forget(key, sizeof(key));
    return volume;
}

static bool is_master_key(const LuksHeader *header, const uint8_t *key)
{
    uint8_t digest[LUKS_DIGEST_BYTES];
    return crypto_pbkdf2(header->hash, key, header->key_bytes, header->digest_salt, LUKS_SALT_BYTES,
                         header->digest_iterations, digest, sizeof(digest)) &&
           memcmp(digest, header->digest, sizeof(digest)) == 0;
}

/* *out_fits: whether @secret is the slot's. False with @error: it could not be found out. */
static bool try_slot(const LuksStore *store, const LuksHeader *header, const LuksSlot *slot,
                     GBytes *secret, uint8_t *out_key, bool *out_fits, GError **error)
{
    size_t length = luks_material_bytes(header);
    g_autofree uint8_t *stripes = g_malloc(length);
    g_autoptr(CryptoVolume) volume = slot_volume(header, slot, secret, error);
    int rc = volume ? store->read(store->opaque, slot->offset, stripes, length) : 0;
    rc = rc == 0 && volume ? crypto_volume_run(volume, false, 0, stripes, length) : rc;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not read the key material");
    }
    if (rc < 0 || !volume) {
        return false;
    }
    merge(header, stripes, out_key);
    crypto_forget(stripes, length);
    *out_fits = is_master_key(header, out_key);
    return true;
}

bool luks_unlock(const LuksStore *store, const LuksHeader *header, GBytes *secret, uint8_t *out_key,
                 GError **error)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        bool fits = false;
        if (header->slots[i].is_active &&
            !try_slot(store, header, &header->slots[i], secret, out_key, &fits, error)) {
            return false;
        }
        if (fits) {
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH,
                "Invalid password, cannot unlock any keyslot");
    return false;
}

/* Changing */

bool luks_set_slot(const LuksStore *store, LuksHeader *header, unsigned index, const uint8_t *key,
                   GBytes *secret, unsigned iter_ms, GError **error)
{
    LuksSlot slot = header->slots[index];
    size_t length = luks_material_bytes(header);
    g_autofree uint8_t *stripes = g_malloc0(length);
    crypto_random(slot.salt, sizeof(slot.salt));
    slot.iterations = MAX(crypto_pbkdf2_calibrate(header->hash, header->key_bytes, iter_ms) / 2,
                          SLOT_ITERATIONS_MIN);
    slot.is_active = true;
    g_autoptr(CryptoVolume) volume = slot_volume(header, &slot, secret, error);
    if (!volume) {
        return false;
    }
    split(header, key, stripes);
    int rc = crypto_volume_run(volume, true, 0, stripes, length);
    /* The material is there before the slot says so. */
    rc = rc < 0 ? rc : store->write(store->opaque, slot.offset, stripes, length);
    rc = rc < 0 ? rc : store->flush(store->opaque);
    if (rc == 0) {
        header->slots[index] = slot;
        rc = luks_write(store, header);
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not write the key slot");
    }
    return rc == 0;
}

static bool erase_slot(const LuksStore *store, LuksHeader *header, unsigned index, GError **error)
{
    LuksSlot *slot = &header->slots[index];
    size_t length = luks_material_bytes(header);
    g_autofree uint8_t *noise = g_malloc(length);
    slot->is_active = false;
    slot->iterations = 0;
    memset(slot->salt, 0, sizeof(slot->salt));
    int rc = luks_write(store, header);
    crypto_random(noise, length);
    rc = rc < 0 ? rc : store->write(store->opaque, slot->offset, noise, length);
    rc = rc < 0 ? rc : store->flush(store->opaque);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not erase the key slot");
    }
    return rc == 0;
}

typedef struct Amendment {
    const LuksStore *store;
    LuksHeader *header;
    GBytes *new_secret, *old_secret; /* borrowed; NULL: not given */
    int slot;                        /* -1: not given */
    unsigned iter_ms;
    bool is_forced;
} Amendment;

static unsigned active_slots(const LuksHeader *header)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        count += header->slots[i].is_active;
    }
    return count;
}

static bool activate(const Amendment *a, GBytes *unlocking, GError **error)
{
    int slot = a->slot;
    uint8_t key[CRYPTO_KEY_MAX];
    if (!a->new_secret || a->old_secret) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'state=active' needs 'new-secret', and takes no 'old-secret'");
        return false;
    }
    for (int i = 0; slot < 0 && i < (int)LUKS_SLOTS; i++) {
        slot = a->header->slots[i].is_active ? -1 : i;
    }
    if (slot < 0 || (a->header->slots[slot].is_active && !a->is_forced)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    slot < 0
                        ? "Can't add a keyslot - all keyslots are in use"
                        : "Refusing to overwrite active keyslot %d - please erase it first, or "
                          "say --force",
                    slot);
        return false;
    }
    bool ok =
        luks_unlock(a->store, a->header, unlocking, key, error) &&
        luks_set_slot(a->store, a->header, (unsigned)slot, key, a->new_secret, a->iter_ms, error);
    crypto_forget(key, sizeof(key));
    return ok;
}

/* The slots that are meant, as bits. */
static bool choose_slots(const Amendment *a, unsigned *out_bits, GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    *out_bits = 0;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *slot = &a->header->slots[i];
        bool fits = true;
        if ((a->slot >= 0 && (unsigned)a->slot != i) || !slot->is_active) {
            continue;
        }
        if (a->old_secret &&
            !try_slot(a->store, a->header, slot, a->old_secret, key, &fits, error)) {
            return false;
        }
        *out_bits |= fits ? 1u << i : 0;
    }
    crypto_forget(key, sizeof(key));
    if (!*out_bits) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    a->old_secret ? "No keyslots match given (old) password for erase operation"
                                  : "Keyslot %d is not active",
                    a->slot);
    }
    return *out_bits != 0;
}

static bool deactivate(const Amendment *a, GError **error)
{
    unsigned bits = 0;
    if (a->new_secret || (!a->old_secret && a->slot < 0)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'state=inactive' needs 'old-secret' or 'keyslot', and takes no 'new-secret'");
        return false;
    }
    if (!choose_slots(a, &bits, error)) {
        return false;
    }
    if ((unsigned)__builtin_popcount(bits) == active_slots(a->header) && !a->is_forced) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Attempt to erase the only active keyslot, which would make all data "
                    "unreadable; activate another one first, or say --force");
        return false;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (bits & 1u << i && !erase_slot(a->store, a->header, i, error)) {
            return false;
        }
    }
    return true;
}

static bool find_secret(const BlockSpec *options, const char *prefix, const char *name,
                        GBytes **out_secret, GError **error)
{
    g_autofree char *key = g_strconcat(prefix, name, NULL);
    const char *id = block_spec_get(options, key);
    *out_secret = id ? block_objects_secret(block_spec_objects(options), id, error) : NULL;
    return !id || *out_secret;
}

bool luks_amend(const LuksStore *store, LuksHeader *header, const BlockSpec *options,
                const char *prefix, GBytes *unlocking, bool is_forced, GError **error)
{
    Amendment a = { .store = store, .header = header, .slot = -1, .is_forced = is_forced };
    g_autofree char *state_key = g_strconcat(prefix, "state", NULL);
    g_autofree char *slot_key = g_strconcat(prefix, "keyslot", NULL);
    const char *state = block_spec_get(options, state_key);
    const char *slot = block_spec_get(options, slot_key);
    guint64 number = 0;
    if (!state || (strcmp(state, "active") != 0 && strcmp(state, "inactive") != 0)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' is needed: active or inactive", state_key);
        return false;
    }
    if (slot && (!str_parse_u64(slot, &number) || number >= LUKS_SLOTS)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid keyslot '%s'; there are 0 to %u", slot, LUKS_SLOTS - 1);
        return false;
    }
    a.slot = slot ? (int)number : -1;
    g_autoptr(GBytes) new_secret = NULL;
    g_autoptr(GBytes) old_secret = NULL;
    if (!find_secret(options, prefix, "new-secret", &new_secret, error) ||
        !find_secret(options, prefix, "old-secret", &old_secret, error) ||
        !luks_iter_ms(options, prefix, &a.iter_ms, error)) {
        return false;
    }
    a.new_secret = new_secret;
    a.old_secret = old_secret;
    return strcmp(state, "active") == 0 ? activate(&a, unlocking, error) : deactivate(&a, error);
}

/* Telling */

static void add_slots(const LuksHeader *header, GArray *facts)
{
    GPtrArray *list = block_fact_list(facts, "slots");
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *slot = &header->slots[i];
        GArray *row = block_fact_list_add(list);
        block_fact_bool(row, "active", slot->is_active);
        if (slot->is_active) {
            block_fact_number(row, "iters", slot->iterations);
        }
        block_fact_number(row, "key-offset", (int64_t)slot->offset);
        if (slot->is_active) {
            block_fact_number(row, "stripes", slot->stripes);
        }
    }
}

void luks_add_facts(const LuksHeader *header, GArray *facts, bool is_nested)
{
    const CryptoSpec *spec = &header->spec;
    block_fact_text(facts, "ivgen-alg", crypto_ivgen_name(spec->ivgen));
    if (spec->ivgen_hash) {
        block_fact_text(facts, "ivgen-hash-alg", spec->ivgen_hash->name);
    }
    block_fact_text(facts, "hash-alg", header->hash->name);
    block_fact_text(facts, "cipher-alg", spec->cipher->name);
    block_fact_text(facts, "uuid", header->uuid);
    if (is_nested) {
        block_fact_text(facts, "format", "luks");
    }
    block_fact_text(facts, "cipher-mode", crypto_mode_name(spec->mode));
    add_slots(header, facts);
    block_fact_number(facts, "payload-offset", (int64_t)header->payload_offset);
    block_fact_number(facts, "master-key-iters", header->digest_iterations);
}
