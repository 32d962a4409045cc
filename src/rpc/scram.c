/* SCRAM-SHA-256. Messages are lists of "letter=value" parted by commas.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/scram.h"

#include "gbase/error.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_BYTES 32u
#define SALT_BYTES 16u
#define SALT_MAX 64u
#define NONCE_BYTES 18u
#define NONCE_TEXT_MAX 256u
#define ITERATIONS_MIN 4096u
#define ITERATIONS_MAX 10000000u
#define NAME_MAX_BYTES 256u

typedef struct ScramKeys {
    unsigned iterations;
    uint8_t salt[SALT_MAX];
    gsize salt_size;
    uint8_t stored_key[KEY_BYTES];
    uint8_t server_key[KEY_BYTES];
} ScramKeys;

struct ScramStore {
    GHashTable *users;         /* name to ScramKeys */
    uint8_t secret[KEY_BYTES]; /* makes the same salt for the same unknown user */
};

typedef enum ServerState { SERVER_FIRST, SERVER_FINAL, SERVER_OVER } ServerState;

struct ScramServer {
    const ScramStore *store;
    ServerState state;
    char *user;
    bool known;
    ScramKeys keys;
    char *nonce;       /* both parts */
    char *header;      /* the client's gs2 header */
    char *client_bare; /* its first message without the header */
    char *first_reply;
};

struct ScramClient {
    char *user, *password;
    char *nonce, *bare;
    uint8_t server_signature[KEY_BYTES];
    bool proof_sent;
};

/* --- primitives --- */

static bool hmac(const void *key, gsize key_size, const void *data, gsize size,
                 uint8_t out[KEY_BYTES])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_size, data, size, out) == 0;
}

static bool hash(const void *data, gsize size, uint8_t out[KEY_BYTES])
{
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, data, size, out) == 0;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b)
{
    return gnutls_memcmp(a, b, KEY_BYTES) == 0;
}

static bool salted_password(const char *password, const uint8_t *salt, gsize salt_size,
                            unsigned iterations, uint8_t out[KEY_BYTES])
{
    gnutls_datum_t key = { (unsigned char *)password, (unsigned)strlen(password) };
    gnutls_datum_t salt_datum = { (unsigned char *)salt, (unsigned)salt_size };
    return gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &salt_datum, iterations, out, KEY_BYTES) == 0;
}

/* ClientKey, StoredKey and ServerKey of a salted password. */
static bool derive(const uint8_t salted[KEY_BYTES], uint8_t client_key[KEY_BYTES],
                   uint8_t stored_key[KEY_BYTES], uint8_t server_key[KEY_BYTES])
{
    return hmac(salted, KEY_BYTES, "Client Key", 10, client_key) &&
           hash(client_key, KEY_BYTES, stored_key) &&
           hmac(salted, KEY_BYTES, "Server Key", 10, server_key);
}

static char *make_nonce(void)
{
    uint8_t bytes[NONCE_BYTES];
    if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof(bytes)) < 0) {
        return NULL;
    }
    return g_base64_encode(bytes, sizeof(bytes));
}

/* Strict base64 of exactly @size bytes (@size 0: 1..@max, told by @out_size). */
static bool decode_base64(const char *text, uint8_t *out, gsize max, gsize *out_size)
{
    gsize length = strlen(text);
    if (length == 0 || length % 4 != 0 || length > (max + 2) / 3 * 4 ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") !=
            length) {
        return false;
    }
    gsize size;
    g_autofree guchar *bytes = g_base64_decode(text, &size);
    if (size == 0 || size > max) {
        return false;
    }
    memcpy(out, bytes, size);
    *out_size = size;
    return true;
}

static bool decode_key(const char *text, uint8_t out[KEY_BYTES])
{
    gsize size;
    return decode_base64(text, out, KEY_BYTES, &size) && size == KEY_BYTES;
}

/* --- the store --- */

static bool read_entry(ScramStore *store, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 6);
    guint64 iterations;
    if (g_strv_length(words) != 5 ||
        !g_ascii_string_to_unsigned(words[1], 10, ITERATIONS_MIN, ITERATIONS_MAX, &iterations,
                                    NULL)) {
        return false;
    }
    g_autofree ScramKeys *keys = g_new0(ScramKeys, 1);
    keys->iterations = (unsigned)iterations;
    if (!decode_base64(words[2], keys->salt, SALT_MAX, &keys->salt_size) ||
        !decode_key(words[3], keys->stored_key) || !decode_key(words[4], keys->server_key)) {
        return false;
    }
    g_hash_table_insert(store->users, g_strdup(words[0]), g_steal_pointer(&keys));
    return true;
}

ScramStore *scram_store_load(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    struct stat info;
    if (stat(path, &info) == 0 && (info.st_mode & 0027)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "the credentials '%s' can be read by others (mode %04o); chmod it to 0600",
                    path, (unsigned)(info.st_mode & 07777));
        return NULL;
    }
    if (!g_file_get_contents(path, &text, NULL, error)) {
        return NULL;
    }
    ScramStore *store = g_new0(ScramStore, 1);
    store->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    bool ok = gnutls_rnd(GNUTLS_RND_KEY, store->secret, sizeof(store->secret)) >= 0;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; ok && lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        if (*line && *line != '#' && !read_entry(store, line)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                        "%s:%u: not 'USER ITERATIONS SALT STOREDKEY SERVERKEY'", path, i + 1);
            scram_store_free(store);
            return NULL;
        }
    }
    return store;
}

void scram_store_free(ScramStore *store)
{
    if (store) {
        g_hash_table_destroy(store->users);
        g_free(store);
    }
}

char *scram_make_entry(const char *user, const char *password, unsigned iterations, GError **error)
{
    uint8_t salt[SALT_BYTES], salted[KEY_BYTES], client_key[KEY_BYTES];
    uint8_t stored_key[KEY_BYTES], server_key[KEY_BYTES];
    if (!*user || strpbrk(user, " \t\r\n#") || strlen(user) > NAME_MAX_BYTES) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "a user's name cannot be '%s'", user);
        return NULL;
    }
    if (gnutls_rnd(GNUTLS_RND_KEY, salt, sizeof(salt)) < 0 ||
        !salted_password(password, salt, sizeof(salt), iterations, salted) ||
        !derive(salted, client_key, stored_key, server_key)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INTERNAL, "cannot compute the keys");
        return NULL;
    }
    g_autofree char *salt_text = g_base64_encode(salt, sizeof(salt));
    g_autofree char *stored_text = g_base64_encode(stored_key, KEY_BYTES);
    g_autofree char *server_text = g_base64_encode(server_key, KEY_BYTES);
    return g_strdup_printf("%s %u %s %s %s", user, iterations, salt_text, stored_text, server_text);
}

/* --- messages --- */

static bool refuse(GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "authentication failed");
    return false;
}

/* A copy of the bytes as text; NULL when they are none or too many. */
static char *as_text(const char *in, gsize size)
{
    /* Some clients count a zero at the end. */
    if (size > 0 && in[size - 1] == '\0') {
        size--;
    }
    if (size > SCRAM_MESSAGE_MAX || memchr(in, 0, size)) {
        return NULL;
    }
    return g_strndup(in, size);
}

/* The value of "@letter=..." when @field is that. */
static const char *value_of(const char *field, char letter)
{
    return field && field[0] == letter && field[1] == '=' ? field + 2 : NULL;
}

/* A saslname: "=2C" is a comma, "=3D" an equals sign. NULL: malformed. (transfer full) */
static char *decode_name(const char *text)
{
    GString *name = g_string_new(NULL);
    for (; *text; text++) {
        if (*text != '=') {
            g_string_append_c(name, *text);
        } else if (g_str_has_prefix(text, "=2C")) {
            g_string_append_c(name, ',');
            text += 2;
        } else if (g_str_has_prefix(text, "=3D")) {
            g_string_append_c(name, '=');
            text += 2;
        } else {
            g_string_free(name, TRUE);
            return NULL;
        }
    }
    bool ok = name->len > 0 && name->len <= NAME_MAX_BYTES;
    return g_string_free(name, !ok);
}

static char *encode_name(const char *name)
{
    g_autofree char *once = NULL;
    g_auto(GStrv) equals = g_strsplit(name, "=", -1);
    once = g_strjoinv("=3D", equals);
    g_auto(GStrv) commas = g_strsplit(once, ",", -1);
    return g_strjoinv("=2C", commas);
}

/* --- the server --- */

ScramServer *scram_server_new(const ScramStore *store)
{
    ScramServer *server = g_new0(ScramServer, 1);
    server->store = store;
    return server;
}

void scram_server_free(ScramServer *server)
{
    if (server) {
        g_free(server->user);
        g_free(server->nonce);
        g_free(server->header);
        g_free(server->client_bare);
        g_free(server->first_reply);
        g_free(server);
    }
}

const char *scram_server_user(const ScramServer *server)
{
    return server->user;
}

/* Keys of the user; invented ones, the same each time, where there is no such user. */
static bool look_up(ScramServer *server)
{
    const ScramKeys *keys = g_hash_table_lookup(server->store->users, server->user);
    server->known = keys != NULL;
    if (keys) {
        server->keys = *keys;
        return true;
    }
    server->keys = (ScramKeys){ .iterations = SCRAM_ITERATIONS, .salt_size = SALT_BYTES };
    uint8_t digest[KEY_BYTES];
    if (!hmac(server->store->secret, KEY_BYTES, server->user, strlen(server->user), digest)) {
        return false;
    }
    memcpy(server->keys.salt, digest, SALT_BYTES);
    return true;
}

/* "n,a=authzid,n=user,r=nonce": the header may also begin with y. */
static bool read_first(ScramServer *server, const char *text, const char **out_nonce)
{
    g_auto(GStrv) fields = g_strsplit(text, ",", 6);
    if (g_strv_length(fields) < 4 || (strcmp(fields[0], "n") != 0 && strcmp(fields[0], "y") != 0)) {
        return false;
    }
    const char *name = value_of(fields[2], 'n');
    const char *nonce = value_of(fields[3], 'r');
    const char *authzid = value_of(fields[1], 'a');
    if (!name || !nonce || !*nonce || strlen(nonce) > NONCE_TEXT_MAX || (*fields[1] && !authzid)) {
        return false;
    }
    server->user = decode_name(name);
    if (!server->user || (authzid && strcmp(authzid, name) != 0)) {
        return false;
    }
    server->header = g_strdup_printf("%s,%s,", fields[0], fields[1]);
    server->client_bare = g_strdup(text + strlen(server->header));
    *out_nonce = strstr(server->client_bare, ",r=") + 3;
    return true;
}

static bool step_first(ScramServer *server, const char *text, char **out_reply)
{
    const char *client_nonce;
    g_autofree char *own = make_nonce();
    if (!own || !read_first(server, text, &client_nonce) || !look_up(server)) {
        return false;
    }
    gsize length = strcspn(client_nonce, ",");
    server->nonce = g_strdup_printf("%.*s%s", (int)length, client_nonce, own);
    g_autofree char *salt = g_base64_encode(server->keys.salt, server->keys.salt_size);
    server->first_reply =
        g_strdup_printf("r=%s,s=%s,i=%u", server->nonce, salt, server->keys.iterations);
    *out_reply = g_strdup(server->first_reply);
    return true;
}

/* "c=header,r=nonce,p=proof" */
static bool step_final(ScramServer *server, const char *text, char **out_reply)
{
    const char *proof_field = g_strrstr(text, ",p=");
    if (!proof_field) {
        return false;
    }
    g_autofree char *without_proof = g_strndup(text, (gsize)(proof_field - text));
    g_autofree char *header =
        g_base64_encode((const guchar *)server->header, strlen(server->header));
    g_autofree char *expected = g_strdup_printf("c=%s,r=%s", header, server->nonce);
    uint8_t proof[KEY_BYTES], signature[KEY_BYTES], client_key[KEY_BYTES], digest[KEY_BYTES];
    if (strcmp(without_proof, expected) != 0 || !decode_key(proof_field + 3, proof)) {
        return false;
    }
    g_autofree char *message =
        g_strdup_printf("%s,%s,%s", server->client_bare, server->first_reply, without_proof);
    if (!hmac(server->keys.stored_key, KEY_BYTES, message, strlen(message), signature)) {
        return false;
    }
    for (unsigned i = 0; i < KEY_BYTES; i++) {
        client_key[i] = proof[i] ^ signature[i];
    }
    if (!hash(client_key, KEY_BYTES, digest) || !same_bytes(digest, server->keys.stored_key) ||
        !server->known ||
        !hmac(server->keys.server_key, KEY_BYTES, message, strlen(message), signature)) {
        return false;
    }
    g_autofree char *verifier = g_base64_encode(signature, KEY_BYTES);
    *out_reply = g_strdup_printf("v=%s", verifier);
    return true;
}

bool scram_server_step(ScramServer *server, const char *in, gsize size, char **out_reply,
                       bool *out_complete, GError **error)
{
    g_autofree char *text = as_text(in, size);
    ServerState state = server->state;
    server->state = SERVER_OVER;
    if (!text || state == SERVER_OVER) {
        return refuse(error);
    }
    if (state == SERVER_FIRST) {
        if (!step_first(server, text, out_reply)) {
            return refuse(error);
        }
        server->state = SERVER_FINAL;
        *out_complete = false;
        return true;
    }
    if (!step_final(server, text, out_reply)) {
        return refuse(error);
    }
    *out_complete = true;
    return true;
}

/* --- the client --- */

ScramClient *scram_client_new(const char *user, const char *password)
{
    ScramClient *client = g_new0(ScramClient, 1);
    client->user = g_strdup(user);
    client->password = g_strdup(password);
    return client;
}

void scram_client_free(ScramClient *client)
{
    if (client) {
        g_free(client->user);
        gnutls_memset(client->password, 0, strlen(client->password));
        g_free(client->password);
        g_free(client->nonce);
        g_free(client->bare);
        g_free(client);
    }
}

char *scram_client_first(ScramClient *client, GError **error)
{
    client->nonce = make_nonce();
    if (!client->nonce) {
        refuse(error);
        return NULL;
    }
    g_autofree char *name = encode_name(client->user);
    client->bare = g_strdup_printf("n=%s,r=%s", name, client->nonce);
    return g_strdup_printf("n,,%s", client->bare);
}

static bool answer_challenge(ScramClient *client, const char *text, char **out_reply)
{
    g_auto(GStrv) fields = g_strsplit(text, ",", 4);
    if (g_strv_length(fields) < 3) {
        return false;
    }
    const char *nonce = value_of(fields[0], 'r');
    const char *salt_text = value_of(fields[1], 's');
    const char *count = value_of(fields[2], 'i');
    uint8_t salt[SALT_MAX], salted[KEY_BYTES], client_key[KEY_BYTES];
    uint8_t stored_key[KEY_BYTES], server_key[KEY_BYTES], signature[KEY_BYTES];
    gsize salt_size;
    guint64 iterations;
    if (!nonce || !salt_text || !count || !g_str_has_prefix(nonce, client->nonce) ||
        !decode_base64(salt_text, salt, SALT_MAX, &salt_size) ||
        !g_ascii_string_to_unsigned(count, 10, ITERATIONS_MIN, ITERATIONS_MAX, &iterations, NULL) ||
        !salted_password(client->password, salt, salt_size, (unsigned)iterations, salted) ||
        !derive(salted, client_key, stored_key, server_key)) {
        return false;
    }
    g_autofree char *without_proof = g_strdup_printf("c=biws,r=%s", nonce);
    g_autofree char *message = g_strdup_printf("%s,%s,%s", client->bare, text, without_proof);
    if (!hmac(stored_key, KEY_BYTES, message, strlen(message), signature) ||
        !hmac(server_key, KEY_BYTES, message, strlen(message), client->server_signature)) {
        return false;
    }
    for (unsigned i = 0; i < KEY_BYTES; i++) {
        client_key[i] ^= signature[i];
    }
    g_autofree char *proof = g_base64_encode(client_key, KEY_BYTES);
    *out_reply = g_strdup_printf("%s,p=%s", without_proof, proof);
    client->proof_sent = true;
    return true;
}

bool scram_client_step(ScramClient *client, const char *in, gsize size, char **out_reply,
                       GError **error)
{
    g_autofree char *text = as_text(in, size);
    if (!text || !client->nonce) {
        return refuse(error);
    }
    if (!client->proof_sent) {
        return answer_challenge(client, text, out_reply) || refuse(error);
    }
    const char *verifier = value_of(text, 'v');
    uint8_t signature[KEY_BYTES];
    if (!verifier || !decode_key(verifier, signature) ||
        !same_bytes(signature, client->server_signature)) {
        return refuse(error);
    }
    *out_reply = NULL;
    return true;
}
