/* Logging in. The file of credentials has libvirt's form (auth.conf): a section
 * [auth-libvirt-HOST] names a section [credentials-NAME], which has authname (or username) and
 * password. Leaves out: Kerberos and the other mechanisms of SASL.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/auth.h"

#include "gbase/error.h"
#include "rpc/scram.h"

#include <stdlib.h>
#include <string.h>

#define AUTH_SASL 1
#define AUTH_POLKIT 2
#define SERVICE "libvirt"

static void forget(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        g_free(secret);
    }
}

void auth_source_clear(AuthSource *source)
{
    g_clear_pointer(&source->name, g_free);
    g_clear_pointer(&source->password, forget);
}

/* --- the file --- */

/* Where credentials may be when nothing names a file: ours, then libvirt's. (transfer full) */
static char *usual_file(void)
{
    g_autofree char *own = g_build_filename(g_get_user_config_dir(), "lodge", "auth.conf", NULL);
    g_autofree char *libvirts =
        g_build_filename(g_get_user_config_dir(), "libvirt", "auth.conf", NULL);
    const char *paths[] = { own, libvirts, "/etc/lodge/auth.conf", "/etc/libvirt/auth.conf" };
    const char *named = g_getenv("LIBVIRT_AUTH_FILE");
    if (named && *named) {
        return g_strdup(named);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (g_file_test(paths[i], G_FILE_TEST_EXISTS)) {
            return g_strdup(paths[i]);
        }
    }
    return NULL;
}

/* The section with the credentials for @host. (transfer full) NULL: none, or @error. */
static char *find_section(GKeyFile *file, const char *host, GError **error)
{
    const char *const hosts[] = { host, "default" };
    for (unsigned i = 0; i < G_N_ELEMENTS(hosts); i++) {
        g_autofree char *section = g_strdup_printf("auth-" SERVICE "-%s", hosts[i]);
        if (g_key_file_has_group(file, section)) {
            g_autofree char *name = g_key_file_get_string(file, section, "credentials", error);
            char *found = name ? g_strconcat("credentials-", name, NULL) : NULL;
            if (found && !g_key_file_has_group(file, found)) {
                g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH,
                            "section [%s] names [%s], which is not there", section, found);
                g_clear_pointer(&found, g_free);
            }
            return found;
        }
    }
    return NULL;
}

/* What the file says; what it does not stays NULL. False: @error names the file. */
static bool read_file(AuthSource *source, GError **error)
{
    g_autofree char *path = source->file ? g_strdup(source->file) : usual_file();
    if (!path) {
        return true;
    }
    g_autoptr(GKeyFile) file = g_key_file_new();
    GError *why = NULL;
    g_autofree char *section = NULL;
    if (g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &why)) {
        section = find_section(file, source->host ? source->host : "localhost", &why);
    }
    if (why) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "cannot use the credentials in '%s': %s",
                    path, why->message);
        g_error_free(why);
        return false;
    }
    if (section) {
        source->name = g_key_file_get_string(file, section, "authname", NULL);
        if (!source->name) {
            source->name = g_key_file_get_string(file, section, "username", NULL);
        }
        source->password = g_key_file_get_string(file, section, "password", NULL);
    }
    return true;
}

/* --- SASL --- */

/* An answer of the program's. (transfer full) NULL: there is none. */
static char *ask(AuthSource *source, LodgeQuestion question)
{
    source->asked = true;
    const char *host = source->host ? source->host : "localhost";
    char *answer = source->ask ? source->ask(question, host, source->opaque) : NULL;
    char *own = g_strdup(answer);
    if (answer) {
        explicit_bzero(answer, strlen(answer));
        free(answer);
    }
    return own;
}

static bool find_credentials(AuthSource *source, GError **error)
{
    if (source->name && source->password) {
        return true;
    }
    if (!read_file(source, error)) {
        return false;
    }
    if (source->user && g_strcmp0(source->user, source->name) != 0) {
        /* The file's password is of another user. */
        auth_source_clear(source);
        source->name = g_strdup(source->user);
    }
    if (!source->name) {
        source->name = ask(source, LODGE_ASK_USER);
    }
    if (source->name && !source->password) {
        source->password = ask(source, LODGE_ASK_PASSWORD);
    }
    if (!source->name || !source->password) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH,
                    "the daemon asks for a user's name and password: put them into "
                    "~/.config/lodge/auth.conf, or name a file by the URI's authfile=");
        return false;
    }
    return true;
}

/* Whether the daemon knows the one mechanism that we do. */
static bool check_mechanisms(RpcClient *client, GError **error)
{
    Arena arena;
    RemoteAuthSaslInitRet ret;
    arena_init(&arena, 1 << 16);
    bool ok = remote_auth_sasl_init(client, &arena, &ret, error);
    if (ok) {
        g_auto(GStrv) known = g_strsplit_set(ret.mechlist, " ,", -1);
        ok = g_strv_contains((const char *const *)known, SCRAM_MECHANISM);
        if (!ok) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH,
                        "the daemon authenticates by '%s' and not by " SCRAM_MECHANISM
                        "; mech_list in its /etc/sasl2/libvirt.conf says so",
                        ret.mechlist);
        }
    }
    arena_clear(&arena);
    return ok;
}

static bool run_scram(RpcClient *client, const AuthSource *source, GError **error)
{
    Arena arena;
    arena_init(&arena, 1 << 20);
    ScramClient *scram = scram_client_new(source->name, source->password);
    g_autofree char *out = scram_client_first(scram, error);
    RemoteAuthSaslStartArgs start = { .mech = SCRAM_MECHANISM, .data = out };
    RemoteAuthSaslStartRet reply = { 0 };
    start.n_data = out ? (uint32_t)strlen(out) : 0;
    bool ok = out && remote_auth_sasl_start(client, &start, &arena, &reply, error);
    while (ok) {
        char *next = NULL;
        ok = scram_client_step(scram, reply.data, reply.n_data, &next, error);
        if (!ok || !next) {
            break;
        }
        g_free(out);
        out = next;
        RemoteAuthSaslStepArgs step = { .data = out, .n_data = (uint32_t)strlen(out) };
        RemoteAuthSaslStepRet step_reply;
        ok = remote_auth_sasl_step(client, &step, &arena, &step_reply, error);
        if (ok) {
            reply = (RemoteAuthSaslStartRet){ step_reply.complete, step_reply.nil, step_reply.data,
                                              step_reply.n_data };
        }
    }
    scram_client_free(scram);
    arena_clear(&arena);
    return ok;
}

bool auth_log_in(RpcClient *client, AuthSource *source, GError **error)
{
    Arena arena;
    RemoteAuthListRet list;
    arena_init(&arena, 1 << 16);
    bool ok = remote_auth_list(client, &arena, &list, error);
    int method = ok && list.n_types > 0 ? list.types[0] : 0;
    if (ok && method == AUTH_SASL) {
        ok = check_mechanisms(client, error) && find_credentials(source, error) &&
             run_scram(client, source, error);
    } else if (ok && method == AUTH_POLKIT) {
        RemoteAuthPolkitRet ret;
        ok = remote_auth_polkit(client, &arena, &ret, error);
    }
    arena_clear(&arena);
    return ok;
}
