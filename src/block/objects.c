/* Secrets and TLS credentials by id. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/objects.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <fcntl.h>
#include <string.h>

#define SECRET_BYTES_MAX (64u << 10)

struct BlockObjects {
    gint refs;
    GHashTable *secrets; /* id -> GBytes */
    GHashTable *tls;     /* id -> NbdTls */
};

BlockObjects *block_objects_new(void)
{
    BlockObjects *objects = g_new0(BlockObjects, 1);
    objects->refs = 1;
    objects->secrets =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    objects->tls =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)nbd_tls_unref);
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
        g_free(objects);
    }
}

static bool is_free(const BlockObjects *objects, const char *id, GError **error)
{
    if (g_hash_table_contains(objects->secrets, id) || g_hash_table_contains(objects->tls, id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is an object '%s' already", id);
        return false;
    }
    return true;
}

bool block_objects_add_secret(BlockObjects *objects, const char *id, GBytes *secret, GError **error)
{
    if (!is_free(objects, id, error)) {
        return false;
    }
    g_hash_table_insert(objects->secrets, g_strdup(id), g_bytes_ref(secret));
    return true;
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

static bool add_secret(BlockObjects *objects, const char *id, const BlockSpec *spec, GError **error)
{
    const char *data = block_spec_get(spec, "data"), *file = block_spec_get(spec, "file");
    const char *format = block_spec_get(spec, "format");
    bool is_base64 = format && strcmp(format, "base64") == 0;
    if (!data == !file || (format && !is_base64 && strcmp(format, "raw") != 0) ||
        block_spec_get(spec, "keyid")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "either 'data' or 'file' is needed, 'format' is raw or base64, and secrets "
                    "encrypted with another ('keyid') are not supported");
        return false;
    }
    g_autoptr(GBytes) secret = data ? g_bytes_new(data, strlen(data)) : read_file(file, error);
    if (secret && is_base64) {
        GBytes *plain = decode_base64(secret, error);
        g_bytes_unref(secret);
        secret = plain;
    }
    return secret && block_objects_add_secret(objects, id, secret, error);
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
    if (!block_spec_get_bool(spec, "verify-peer", &verifies, error) ||
        !is_free(objects, id, error)) {
        return false;
    }
    options.accepts_anybody = !verifies;
    NbdTls *tls = nbd_tls_new(&options, error);
    if (tls) {
        g_hash_table_insert(objects->tls, g_strdup(id), tls);
    }
    return tls != NULL;
}

static bool add_of_type(BlockObjects *objects, const char *type, const char *id,
                        const BlockSpec *spec, GError **error)
{
    static const char *const types[] = { "secret", "tls-creds-psk", "tls-creds-x509", NULL };
    if (strcmp(type, "secret") == 0) {
        return add_secret(objects, id, spec, error);
    }
    if (strcmp(type, "tls-creds-psk") == 0 || strcmp(type, "tls-creds-x509") == 0) {
        return add_tls(objects, id, spec, strcmp(type, "tls-creds-psk") == 0, error);
    }
    g_autofree char *hint = str_suggestion(type, types);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "unknown type '%s'%s", type,
                hint);
    return false;
}

bool block_objects_add(BlockObjects *objects, const char *text, GError **error)
{
    g_autofree char *full =
        strchr(text, '=') < strchr(text, ',') || g_str_has_prefix(text, "qom-type=")
            ? g_strdup(text)
            : g_strconcat("qom-type=", text, NULL);
    g_autoptr(BlockSpec) spec = block_spec_from_text(full, error);
    const char *type = spec ? block_spec_get(spec, "qom-type") : NULL;
    const char *id = spec ? block_spec_get(spec, "id") : NULL;
    if (!spec) {
        return false;
    }
    if (!type || !id || !*id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "--object: 'TYPE,id=ID,...' is needed");
        return false;
    }
    if (!add_of_type(objects, type, id, spec, error)) {
        g_prefix_error(error, "--object '%s': ", id);
        return false;
    }
    return true;
}

/* Finding */

GBytes *block_objects_secret(const BlockObjects *objects, const char *id, GError **error)
{
    GBytes *secret = objects ? g_hash_table_lookup(objects->secrets, id) : NULL;
    if (!secret) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "there is no secret '%s'; make it by --object secret,id=%s,file=PATH", id, id);
    }
    return secret;
}

NbdTls *block_objects_tls(const BlockObjects *objects, const char *id, bool is_server,
                          GError **error)
{
    NbdTls *tls = objects ? g_hash_table_lookup(objects->tls, id) : NULL;
    const char *side = is_server ? "server" : "client";
    if (!tls) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
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
    return tls;
}
