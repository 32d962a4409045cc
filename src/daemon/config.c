/* The configuration file, and the folders.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/config.h"

#include "base/log.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum ValueKind {
    VALUE_UINT,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_LIST, /* of strings, in brackets */
    VALUE_OCTAL,
    VALUE_AUTH,
} ValueKind;

#define LIST_MAX_BYTES 65536u

typedef struct ConfigKey {
    const char *name;
    ValueKind kind;
    size_t offset;
    bool is_live; /* can change while lodged runs */
} ConfigKey;

#define KEY(name, kind, member)                                                                    \
    {                                                                                              \
        name, kind, offsetof(DaemonConfig, member)                                                 \
    }

#define LIVE_KEY(name, kind, member)                                                               \
    {                                                                                              \
        name, kind, offsetof(DaemonConfig, member), true                                           \
    }

static const ConfigKey keys[] = {
    KEY("auth_tcp", VALUE_AUTH, auth_tcp),
    KEY("auth_tls", VALUE_AUTH, auth_tls),
    KEY("auth_unix_ro", VALUE_AUTH, auth_unix_ro),
    KEY("auth_unix_rw", VALUE_AUTH, auth_unix_rw),
    LIVE_KEY("busy_wait_us", VALUE_UINT, busy_wait_us),
    KEY("ca_file", VALUE_STRING, ca_file),
    KEY("cert_file", VALUE_STRING, cert_file),
    KEY("crl_file", VALUE_STRING, crl_file),
    LIVE_KEY("guest_log_max_backups", VALUE_UINT, guest_log_max_backups),
    LIVE_KEY("guest_log_max_size", VALUE_UINT, guest_log_max_size),
    KEY("guest_uids", VALUE_STRING, guest_uids),
    KEY("keepalive_count", VALUE_UINT, limits.keepalive_count),
    KEY("keepalive_interval", VALUE_UINT, limits.keepalive_interval_s),
    KEY("key_file", VALUE_STRING, key_file),
    KEY("lease_files", VALUE_LIST, lease_files),
    KEY("libvirt_sockets", VALUE_BOOL, libvirt_sockets),
    KEY("listen_addr", VALUE_STRING, listen_addr),
    KEY("listen_tcp", VALUE_BOOL, listen_tcp),
    KEY("listen_tls", VALUE_BOOL, listen_tls),
    KEY("login_timeout", VALUE_UINT, limits.login_s),
    KEY("max_anonymous_clients", VALUE_UINT, limits.max_anonymous_clients),
    KEY("max_client_requests", VALUE_UINT, limits.max_client_requests),
    KEY("max_clients", VALUE_UINT, limits.max_clients),
    KEY("max_workers", VALUE_UINT, limits.max_workers),
    KEY("sasl_allowed_username_list", VALUE_LIST, sasl_allowed_username_list),
    KEY("sasl_file", VALUE_STRING, sasl_file),
    KEY("tcp_port", VALUE_STRING, tcp_port),
    KEY("tls_allowed_dn_list", VALUE_LIST, tls_allowed_dn_list),
    KEY("tls_no_verify_certificate", VALUE_BOOL, tls_no_verify_certificate),
    KEY("tls_port", VALUE_STRING, tls_port),
    KEY("unix_sock_group", VALUE_STRING, unix_sock_group),
    KEY("unix_sock_ro_perms", VALUE_OCTAL, unix_sock_ro_perms),
    KEY("unix_sock_rw_perms", VALUE_OCTAL, unix_sock_rw_perms),
};

/* Of libvirtd.conf; without a meaning here. */
static const char *const passed_over[] = {
    "admin_max_clients", "admin_max_workers",     "audit_level",   "audit_logging",
    "host_uuid",         "host_uuid_source",      "log_filters",   "log_level",
    "log_outputs",       "max_queued_clients",    "mdns_adv",      "min_workers",
    "prio_workers",      "unix_sock_admin_perms", "unix_sock_dir", NULL,
};

/* Of no user of Debian's, systemd's or containers' ranges (systemd's UIDS-GIDS). */
#define GUEST_UIDS "1900000000-1900016383"

/* As of virtlogd. */
#define GUEST_LOG_MAX_SIZE (2u << 20)
#define GUEST_LOG_MAX_BACKUPS 3u

void daemon_config_init(DaemonConfig *config, bool session)
{
    *config = (DaemonConfig){
        .limits = { .max_clients = 5000,
                    .max_anonymous_clients = 20,
                    .max_client_requests = 5,
                    .max_workers = 64,
                    .keepalive_interval_s = 5,
                    .keepalive_count = 5,
                    .login_s = 10 },
        .busy_wait_us = 100,
        .guest_log_max_size = GUEST_LOG_MAX_SIZE,
        .guest_log_max_backups = GUEST_LOG_MAX_BACKUPS,
        .guest_uids = g_strdup(session ? "" : GUEST_UIDS),
        .auth_tcp = AUTH_METHOD_SASL,
        .tcp_port = g_strdup("16509"),
        .tls_port = g_strdup("16514"),
        .key_file = g_strdup("/etc/pki/libvirt/private/serverkey.pem"),
        .cert_file = g_strdup("/etc/pki/libvirt/servercert.pem"),
        .ca_file = g_strdup("/etc/pki/CA/cacert.pem"),
        .unix_sock_rw_perms = session ? 0700 : 0770,
        .unix_sock_ro_perms = session ? 0700 : 0777,
    };
}

void daemon_config_clear(DaemonConfig *config)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].kind == VALUE_STRING) {
            g_clear_pointer((char **)((char *)config + keys[i].offset), g_free);
        } else if (keys[i].kind == VALUE_LIST) {
            g_clear_pointer((GStrv *)((char *)config + keys[i].offset), g_strfreev);
        }
    }
}

static bool set_auth(AuthMethod *slot, const char *value)
{
    static const char *const names[] = { "none", "sasl", "polkit" };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *slot = (AuthMethod)i;
            return true;
        }
    }
    return false;
}

/* [ "one", "two" ]. NULL: it is none. (transfer full) */
static GStrv parse_list(const char *text)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    bool wants_word = true;
    if (*text++ != '[') {
        return NULL;
    }
    for (;;) {
        text += strspn(text, " \t\n");
        if (*text == ']') {
            break;
        }
        if (*text == ',' && !wants_word) {
            wants_word = true;
            text++;
            continue;
        }
        const char *end = *text == '"' && wants_word ? strchr(text + 1, '"') : NULL;
        if (!end) {
            return NULL;
        }
        g_ptr_array_add(words, g_strndup(text + 1, (gsize)(end - text) - 1));
        wants_word = false;
        text = end + 1;
    }
    if (text[1]) {
        return NULL;
    }
    g_ptr_array_add(words, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

/* False: the value is not of its kind. */
static bool set_value(DaemonConfig *config, const ConfigKey *key, const char *value)
{
    void *slot = (char *)config + key->offset;
    guint64 number;
    switch (key->kind) {
    case VALUE_STRING:
        g_free(*(char **)slot);
        *(char **)slot = g_strdup(value);
        return true;
    case VALUE_LIST:
        g_strfreev(*(GStrv *)slot);
        *(GStrv *)slot = parse_list(value);
        return *(GStrv *)slot != NULL;
    case VALUE_BOOL:
        return str_parse_bool(value, slot);
    case VALUE_UINT:
        if (!str_parse_u64(value, &number) || number > G_MAXINT32) {
            return false;
        }
        *(unsigned *)slot = (unsigned)number;
        return true;
    case VALUE_OCTAL:
        if (!g_ascii_string_to_unsigned(value, 8, 0, 0777, &number, NULL)) {
            return false;
        }
        *(mode_t *)slot = (mode_t)number;
        return true;
    case VALUE_AUTH:
        return set_auth(slot, value);
    }
    return false;
}

static bool apply_line(DaemonConfig *config, char *line, GError **error)
{
    g_strstrip(line);
    if (*line == '\0' || *line == '#') {
        return true;
    }
    char *equals = strchr(line, '=');
    if (!equals) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'%s' is not 'name = value'", line);
        return false;
    }
    *equals = '\0';
    g_strchomp(line);
    char *value = g_strchug(equals + 1);
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value[length - 1] = '\0';
        value++;
    }
    const char *names[G_N_ELEMENTS(keys) + 1] = { NULL };
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        names[i] = keys[i].name;
        if (strcmp(keys[i].name, line) != 0) {
            continue;
        }
        if (!set_value(config, &keys[i], value)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'%s' cannot be '%s'", line, value);
            return false;
        }
        return true;
    }
    if (g_strv_contains(passed_over, line)) {
        log_warn("setting '%s' has no meaning here and is passed over", line);
        return true;
    }
    g_autofree char *hint = str_suggestion(line, names);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "there is no setting '%s'%s", line, hint);
    return false;
}

static bool is_open_list(const char *line)
{
    const char *equals = strchr(line, '=');
    line += strspn(line, " \t");
    if (*line == '#' || !equals || equals[1 + strspn(equals + 1, " \t")] != '[') {
        return false;
    }
    bool is_quoted = false;
    for (const char *at = equals; *at; at++) {
        is_quoted ^= *at == '"';
        if (*at == ']' && !is_quoted) {
            return false;
        }
    }
    return true;
}

bool daemon_config_load(DaemonConfig *config, const char *path, bool must_exist, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    if (!g_file_get_contents(path, &text, NULL, &why)) {
        if (!must_exist && g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
            return true;
        }
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "cannot read the configuration: %s",
                    why->message);
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        unsigned first = i;
        g_autoptr(GString) line = g_string_new(lines[i]);
        /* A list ends with its bracket, maybe lines later. */
        while (is_open_list(line->str) && lines[i + 1] && line->len < LIST_MAX_BYTES) {
            g_string_append_printf(line, "\n%s", lines[++i]);
        }
        if (!apply_line(config, line->str, error)) {
            g_prefix_error(error, "%s:%u: ", path, first + 1);
            return false;
        }
    }
    return true;
}

static size_t size_of(ValueKind kind)
{
    return kind == VALUE_UINT    ? sizeof(unsigned)
           : kind == VALUE_BOOL  ? sizeof(bool)
           : kind == VALUE_OCTAL ? sizeof(mode_t)
                                 : sizeof(AuthMethod);
}

static bool is_same(const ConfigKey *key, const DaemonConfig *a, const DaemonConfig *b)
{
    const void *of_a = (const char *)a + key->offset;
    const void *of_b = (const char *)b + key->offset;
    if (key->kind == VALUE_STRING) {
        return g_strcmp0(*(char *const *)of_a, *(char *const *)of_b) == 0;
    }
    if (key->kind == VALUE_LIST) {
        const char *const *list_a = *(const char *const *const *)of_a;
        const char *const *list_b = *(const char *const *const *)of_b;
        return list_a && list_b ? g_strv_equal(list_a, list_b) : list_a == list_b;
    }
    return memcmp(of_a, of_b, size_of(key->kind)) == 0;
}

void daemon_config_take(DaemonConfig *config, const DaemonConfig *fresh)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        const ConfigKey *key = &keys[i];
        if (is_same(key, config, fresh)) {
            continue;
        }
        if (key->is_live) {
            memcpy((char *)config + key->offset, (const char *)fresh + key->offset,
                   size_of(key->kind));
        } else {
            log_warn("setting '%s' has another value now: it takes effect at the next start",
                     key->name);
        }
    }
}

bool daemon_config_guest_uids(const DaemonConfig *config, uid_t *out_first, unsigned *out_count,
                              GError **error)
{
    const char *text = config->guest_uids;
    guint64 first = 0, last = 0;
    *out_first = 0;
    *out_count = 0;
    if (!text || !*text || geteuid() != 0) {
        return true;
    }
    g_auto(GStrv) ends = g_strsplit(text, "-", 2);
    if (g_strv_length(ends) != 2 || !str_parse_u64(ends[0], &first) ||
        !str_parse_u64(ends[1], &last) || first == 0 || last < first || last >= G_MAXINT32) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "guest_uids: '%s' is not FIRST-LAST, as \"" GUEST_UIDS "\"; \"\" lets guests "
                    "run as the daemon's user",
                    text);
        return false;
    }
    *out_first = (uid_t)first;
    *out_count = (unsigned)(last - first) + 1;
    return true;
}

/* --- folders --- */

static bool make_folder(const char *path, GError **error)
{
    if (g_mkdir_with_parents(path, 0700) < 0) {
        lodge_error_set_errno(error, errno, "cannot make the folder '%s'", path);
        return false;
    }
    return true;
}

void daemon_paths_init(DaemonPaths *paths, bool session, const char *root)
{
    if (root) {
        g_autofree char *top = g_canonicalize_filename(root, NULL);
        *paths =
            (DaemonPaths){ g_build_filename(top, "etc", NULL), g_build_filename(top, "lib", NULL),
                           g_build_filename(top, "run", NULL), g_build_filename(top, "cache", NULL),
                           g_build_filename(top, "log", NULL) };
    } else if (session) {
        const char *run = getenv("XDG_RUNTIME_DIR");
        *paths = (DaemonPaths){ g_build_filename(g_get_user_config_dir(), "lodge", NULL),
                                g_build_filename(g_get_user_data_dir(), "lodge", NULL),
                                run && *run ? g_build_filename(run, "lodge", NULL)
                                            : g_build_filename(g_get_user_cache_dir(), "lodge",
                                                               "run", NULL),
                                g_build_filename(g_get_user_cache_dir(), "lodge", NULL),
                                g_build_filename(g_get_user_cache_dir(), "lodge", "log", NULL) };
    } else {
        *paths = (DaemonPaths){ g_strdup("/etc/lodge"), g_strdup("/var/lib/lodge"),
                                g_strdup("/run/lodge"), g_strdup("/var/cache/lodge"),
                                g_strdup("/var/log/lodge") };
    }
}

bool daemon_paths_make(const DaemonPaths *paths, bool session, GError **error)
{
    if (!make_folder(paths->config_dir, error) || !make_folder(paths->state_dir, error) ||
        !make_folder(paths->run_dir, error) || !make_folder(paths->cache_dir, error) ||
        !make_folder(paths->log_dir, error)) {
        return false;
    }
    /* Other users reach the sockets of the host's daemon; what they may do those decide. */
    if (!session && chmod(paths->run_dir, 0755) < 0) {
        lodge_error_set_errno(error, errno, "cannot open the folder '%s'", paths->run_dir);
        return false;
    }
    return true;
}

void daemon_paths_clear(DaemonPaths *paths)
{
    g_free(paths->config_dir);
    g_free(paths->state_dir);
    g_free(paths->run_dir);
    g_free(paths->cache_dir);
    g_free(paths->log_dir);
    *paths = (DaemonPaths){ 0 };
}
