/* Secrets and TLS credentials by id. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/objects.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "block/throttle-spec.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <fcntl.h>
#include <gcrypt.h>
#include <string.h>

#define SECRET_BYTES_MAX (64u << 10)
#define AES_KEY_BYTES 32u
#define AES_BLOCK_BYTES 16u

struct BlockObjects {
    gint refs;
    pthread_mutex_t lock; /* for all below */
    GHashTable *secrets;  /* id -> GBytes */
    GHashTable *tls;      /* id -> NbdTls */
    GHashTable *limits;   /* id -> ThrottleGroup */
};

BlockObjects *block_objects_new(void)
{
    BlockObjects *objects = g_new0(BlockObjects, 1);
    objects->refs = 1;
    pthread_mutex_init(&objects->lock, NULL);
    objects->secrets =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    objects->tls =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)nbd_tls_unref);
    objects->limits = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                            (GDestroyNotify)throttle_group_unref);
    return objects;
}

BlockObjects *block_objects_ref(BlockObjects *objects)
{
    g_atomic_int_inc(&objects->refs);
    return objects;
}

void block_objects_unref(BlockObjects *objects)
{
    if (objects && g_atomic_int_dec_and_test(&objects->refs)) {
        g_hash_table_unref(objects->secrets);
        g_hash_table_unref(objects->tls);
        g_hash_table_unref(objects->limits);
        pthread_mutex_destroy(&objects->lock);
        g_free(objects);
    }
}

/* Puts @value (taken, also on failure) into @table. */
static bool insert(BlockObjects *objects, GHashTable *table, const char *id, gpointer value,
                   GDestroyNotify unref, GError **error)
{
    LOCK_GUARD(&objects->lock);
    if (g_hash_table_contains(objects->secrets, id) || g_hash_table_contains(objects->tls, id) ||
        g_hash_table_contains(objects->limits, id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is an object '%s' already", id);
        unref(value);
        return false;
    }
    g_hash_table_insert(table, g_strdup(id), value);
    return true;
}

bool block_objects_add_secret(BlockObjects *objects, const char *id, GBytes *secret, GError **error)
{
    return insert(objects, objects->secrets, id, g_bytes_ref(secret), (GDestroyNotify)g_bytes_unref,
                  error);
}

bool block_objects_add_limits(BlockObjects *objects, const char *id, ThrottleGroup *group,
                              GError **error)
{
    return insert(objects, objects->limits, id, throttle_group_ref(group),
                  (GDestroyNotify)throttle_group_unref, error);
}

bool block_objects_remove(BlockObjects *objects, const char *id)
{
    LOCK_GUARD(&objects->lock);
    return g_hash_table_remove(objects->secrets, id) || g_hash_table_remove(objects->tls, id) ||
           g_hash_table_remove(objects->limits, id);
}

static GBytes *read_file(const char *path, GError **error)
{
    g_autofree char *data = g_malloc(SECRET_BYTES_MAX + 1);
    autofd fd = fd_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    ssize_t length = fd < 0 ? fd : fd_read_full(fd, data, SECRET_BYTES_MAX + 1);
    if (length < 0) {
        lodge_error_set_errno(error, (int)length, "Unable to read '%s'", path);
        return NULL;
    }
    if (length > SECRET_BYTES_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "'%s' is too long for a secret", path);
        return NULL;
    }
    return g_bytes_new(data, (gsize)length);
}

static GBytes *decode_base64(GBytes *text, GError **error)
{
    gsize length = 0;
    g_autofree char *copy = g_strndup(g_bytes_get_data(text, NULL), g_bytes_get_size(text));
    g_strstrip(copy);
    for (const char *at = copy; *at; at++) {
        if (!g_ascii_isalnum(*at) && !strchr("+/=\r\n", *at)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "it is no valid base64 text");
            return NULL;
        }
    }
    guchar *plain = g_base64_decode(copy, &length);
    return g_bytes_new_take(plain, length);
}

/* The text of @cipher (base64 decoded) by AES-256-CBC with PKCS#7's padding. */
static GBytes *decrypt(GBytes *cipher, GBytes *key, GBytes *iv, GError **error)
{
    gsize length = g_bytes_get_size(cipher);
    const char *problem = NULL;
    gcry_cipher_hd_t handle = NULL;
    g_autofree guchar *plain = g_memdup2(g_bytes_get_data(cipher, NULL), length);
    if (g_bytes_get_size(key) != AES_KEY_BYTES) {
        problem = "its key has not 32 bytes";
    } else if (g_bytes_get_size(iv) != AES_BLOCK_BYTES) {
        problem = "'iv' has not 16 bytes";
    } else if (length == 0 || length % AES_BLOCK_BYTES) {
        problem = "its length is not one of encrypted data";
    } else if (gcry_cipher_open(&handle, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_CBC, 0) ||
               gcry_cipher_setkey(handle, g_bytes_get_data(key, NULL), AES_KEY_BYTES) ||
               gcry_cipher_setiv(handle, g_bytes_get_data(iv, NULL), AES_BLOCK_BYTES) ||
               gcry_cipher_decrypt(handle, plain, length, NULL, 0)) {
        problem = "the cipher does not work";
    }
    gcry_cipher_close(handle);
    guchar padding = problem ? 0 : plain[length - 1];
    if (!problem && (padding == 0 || padding > AES_BLOCK_BYTES)) {
        problem = "it was encrypted with another key";
    }
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "the secret cannot be decrypted: %s",
                    problem);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&plain), length - padding);
}

static GBytes *decrypt_by(BlockObjects *objects, GBytes *cipher, const char *key_id,
                          const char *iv_text, GError **error)
{
    g_autoptr(GBytes) key = block_objects_secret(objects, key_id, error);
    g_autoptr(GBytes) iv_base64 = g_bytes_new(iv_text, strlen(iv_text));
    g_autoptr(GBytes) iv = key ? decode_base64(iv_base64, error) : NULL;
    return iv ? decrypt(cipher, key, iv, error) : NULL;
}

static bool add_secret(BlockObjects *objects, const char *id, const BlockSpec *spec, GError **error)
{
    const char *data = block_spec_get(spec, "data"), *file = block_spec_get(spec, "file");
    const char *format = block_spec_get(spec, "format"), *iv = block_spec_get(spec, "iv");
    const char *key = block_spec_get(spec, "keyid");
    bool is_base64 = format && strcmp(format, "base64") == 0;
    if (!data == !file || (format && !is_base64 && strcmp(format, "raw") != 0) || !key != !iv) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "either 'data' or 'file' is needed, 'format' is raw or base64, and 'keyid' "
                    "and 'iv' go together");
        return false;
    }
    GBytes *secret = data ? g_bytes_new(data, strlen(data)) : read_file(file, error);
    if (secret && is_base64) {
        g_autoptr(GBytes) text = secret;
        secret = decode_base64(text, error);
    }
    if (secret && key) {
        g_autoptr(GBytes) cipher = secret;
        secret = decrypt_by(objects, cipher, key, iv, error);
    }
    return secret &&
           insert(objects, objects->secrets, id, secret, (GDestroyNotify)g_bytes_unref, error);
}

static bool add_tls(BlockObjects *objects, const char *id, const BlockSpec *spec, bool is_psk,
                    GError **error)
{
    const char *endpoint = block_spec_get(spec, "endpoint");
    bool verifies = true;
    NbdTlsOptions options = {
        .folder = block_spec_get(spec, "dir"),
        .is_psk = is_psk,
        .is_server = endpoint && strcmp(endpoint, "server") == 0,
        .username = block_spec_get(spec, "username"),
        .priority = block_spec_get(spec, "priority"),
    };
    if (!options.folder || (endpoint && !options.is_server && strcmp(endpoint, "client") != 0)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'dir' is needed, and 'endpoint' is client or server");
        return false;
    }
    if (!block_spec_get_bool(spec, "verify-peer", &verifies, error)) {
        return false;
    }
    options.accepts_anybody = !verifies;
    NbdTls *tls = nbd_tls_new(&options, error);
    return tls && insert(objects, objects->tls, id, tls, (GDestroyNotify)nbd_tls_unref, error);
}

static bool add_x509(BlockObjects *objects, const char *id, const BlockSpec *spec, GError **error)
{
    return add_tls(objects, id, spec, false, error);
}

static bool add_psk(BlockObjects *objects, const char *id, const BlockSpec *spec, GError **error)
{
    return add_tls(objects, id, spec, true, error);
}

typedef struct ObjectType {
    const char *name;
    const char *keys; /* with a comma after each; NULL: add() looks at them */
    bool (*add)(BlockObjects *objects, const char *id, const BlockSpec *spec, GError **error);
} ObjectType;

static bool add_throttle_group(BlockObjects *objects, const char *id, const BlockSpec *spec,
                               GError **error)
{
    ThrottleConfig config;
    if (!throttle_config_from_spec(spec, &config, error)) {
        return false;
    }
    ThrottleGroup *group = throttle_group_new(NULL, &config, clock_monotonic_ns);
    if (!group) {
        lodge_error_set_errno(error, ENOMEM, "cannot make a throttle group");
        return false;
    }
    bool ok = block_objects_add_limits(objects, id, group, error);
    throttle_group_unref(group);
    return ok;
}

static const ObjectType types[] = {
    { "secret", "data,file,format,keyid,iv,", add_secret },
    { "throttle-group", NULL, add_throttle_group },
    { "tls-creds-psk", "dir,endpoint,verify-peer,priority,username,", add_psk },
    { "tls-creds-x509", "dir,endpoint,verify-peer,priority,sanity-check,", add_x509 },
};

typedef struct KeyCheck {
    const ObjectType *type;
    char *unknown; /* the first */
} KeyCheck;

static void check_key(const char *key, const char *value, void *opaque)
{
    KeyCheck *check = opaque;
    g_autofree char *word = g_strconcat(key, ",", NULL);
    const char *found = strstr(check->type->keys, word);
    bool is_known = strcmp(key, "id") == 0 || strcmp(key, "qom-type") == 0 ||
                    (found && (found == check->type->keys || found[-1] == ','));
    if (!is_known && !check->unknown) {
        check->unknown = g_strdup(key);
    }
}

bool block_objects_add_spec(BlockObjects *objects, const char *type, const char *id,
                            const BlockSpec *spec, GError **error)
{
    const char *names[G_N_ELEMENTS(types) + 1] = { NULL };
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        names[i] = types[i].name;
        if (strcmp(types[i].name, type) != 0) {
            continue;
        }
        KeyCheck check = { &types[i], NULL };
        if (types[i].keys) {
            block_spec_foreach(spec, check_key, &check);
        }
        g_autofree char *unknown = check.unknown;
        if (unknown) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Property '%s.%s' not found", type, unknown);
            return false;
        }
        return types[i].add(objects, id, spec, error);
    }
    g_autofree char *hint = str_suggestion(type, names);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "unknown type '%s'%s", type,
                hint);
    return false;
}

/* Letters, digits, '-', '.' and '_', and a letter first. */
static bool is_identifier(const char *id)
{
    bool fits = g_ascii_isalpha(*id);
    for (; *id && fits; id++) {
        fits = g_ascii_isalnum(*id) || strchr("-._", *id);
    }
    return fits;
}

static BlockSpec *parse(const char *text, GError **error)
{
    if (*text == '{') {
        g_autofree char *json = g_strconcat("json:", text, NULL);
        return block_spec_from_name(json, NULL, error);
    }
    g_autofree char *full =
        strchr(text, '=') < strchr(text, ',') || g_str_has_prefix(text, "qom-type=")
            ? g_strdup(text)
            : g_strconcat("qom-type=", text, NULL);
    return block_spec_from_text(full, error);
}

bool block_objects_add(BlockObjects *objects, const char *text, GError **error)
{
    g_autoptr(BlockSpec) spec = parse(text, error);
    const char *type = spec ? block_spec_get(spec, "qom-type") : NULL;
    const char *id = spec ? block_spec_get(spec, "id") : NULL;
    if (!spec) {
        return false;
    }
    if (!type || !id || !*id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "--object: 'TYPE,id=ID,...' is needed");
        return false;
    }
    if (!is_identifier(id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "--object: the id '%s' is no identifier: letters, digits, '-', '.' and '_', "
                    "with a letter first",
                    id);
        return false;
    }
    if (!block_objects_add_spec(objects, type, id, spec, error)) {
        g_prefix_error(error, "--object '%s': ", id);
        return false;
    }
    return true;
}

/* Finding */

GBytes *block_objects_secret(BlockObjects *objects, const char *id, GError **error)
{
    GBytes *secret = NULL;
    if (objects) {
        LOCK_GUARD(&objects->lock);
        secret = g_hash_table_lookup(objects->secrets, id);
        secret = secret ? g_bytes_ref(secret) : NULL;
    }
    if (!secret) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "there is no secret '%s'; make it by --object secret,id=%s,file=PATH", id, id);
    }
    return secret;
}

ThrottleGroup *block_objects_limits(BlockObjects *objects, const char *id, GError **error)
{
    ThrottleGroup *group = NULL;
    if (objects) {
        LOCK_GUARD(&objects->lock);
        group = g_hash_table_lookup(objects->limits, id);
        group = group ? throttle_group_ref(group) : NULL;
    }
    if (!group) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Throttle group '%s' does not exist", id);
    }
    return group;
}

static NbdTls *find_tls(BlockObjects *objects, const char *id)
{
    LOCK_GUARD(&objects->lock);
    NbdTls *tls = g_hash_table_lookup(objects->tls, id);
    return tls ? nbd_tls_ref(tls) : NULL;
}

NbdTls *block_objects_tls(BlockObjects *objects, const char *id, bool is_server, GError **error)
{
    g_autoptr(NbdTls) tls = objects ? find_tls(objects, id) : NULL;
    const char *side = is_server ? "server" : "client";
    if (!tls) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "there are no TLS credentials '%s'; make them by --object "
                    "tls-creds-x509,id=%s,dir=PATH,endpoint=%s",
                    id, id, side);
        return NULL;
    }
    if (nbd_tls_is_server(tls) != is_server) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "the TLS credentials '%s' are not those of a %s (endpoint=%s)", id, side, side);
        return NULL;
    }
    return g_steal_pointer(&tls);
}
