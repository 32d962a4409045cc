/* libvirt-style URIs, the ways to a daemon, and who we are.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/dial.h"

#include "client/auth.h"

#include "base/cleanup.h"
#include "gbase/error.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLS_PORT "16514"
#define TCP_PORT "16509"
#define OPEN_READ_ONLY 1u

/* --- URIs --- */

static bool refuse(GError **error, const char *uri, const char *why)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "cannot connect to '%s': %s", uri,
                why);
    return false;
}

static bool parse_scheme(const char *scheme, DialTarget *target)
{
    g_auto(GStrv) parts = g_strsplit(scheme, "+", 2);
    static const char *const drivers[] = { "qemu", "lodge", "test", NULL };
    if (!g_strv_contains(drivers, parts[0])) {
        return false;
    }
    target->is_test = strcmp(parts[0], "test") == 0;
    if (!parts[1]) {
        target->transport = target->host ? DIAL_TLS : DIAL_UNIX;
        return true;
    }
    static const struct {
        const char *name;
        DialTransport transport;
    } known[] = {
        { "unix", DIAL_UNIX }, { "tls", DIAL_TLS }, { "tcp", DIAL_TCP }, { "ssh", DIAL_SSH }
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (strcmp(parts[1], known[i].name) == 0) {
            target->transport = known[i].transport;
            return true;
        }
    }
    return false;
}

static bool parse_query(const char *query, DialTarget *target)
{
    g_autoptr(GHashTable) values = query ? g_uri_parse_params(query, -1, "&;", 0, NULL) : NULL;
    if (!query) {
        return true;
    }
    if (!values) {
        return false;
    }
    target->socket = g_strdup(g_hash_table_lookup(values, "socket"));
    target->command = g_strdup(g_hash_table_lookup(values, "command"));
    target->keyfile = g_strdup(g_hash_table_lookup(values, "keyfile"));
    target->pki_path = g_strdup(g_hash_table_lookup(values, "pkipath"));
    target->auth_file = g_strdup(g_hash_table_lookup(values, "authfile"));
    const char *no_verify = g_hash_table_lookup(values, "no_verify");
    target->no_verify = no_verify && strcmp(no_verify, "0") != 0;
    return true;
}

bool dial_parse(const char *uri, DialTarget *out_target, GError **error)
{
    *out_target = (DialTarget){ .port = -1 };
    g_autoptr(GError) why = NULL;
    g_autoptr(GUri) parsed = g_uri_parse(uri, G_URI_FLAGS_NONE, &why);
    if (!parsed) {
        return refuse(error, uri, why->message);
    }
    const char *host = g_uri_get_host(parsed);
    out_target->host = host && *host ? g_strdup(host) : NULL;
    out_target->user = g_strdup(g_uri_get_userinfo(parsed));
    out_target->port = g_uri_get_port(parsed);
    bool ok = parse_scheme(g_uri_get_scheme(parsed), out_target);
    const char *path = g_uri_get_path(parsed);
    if (!ok) {
        refuse(error, uri, "only qemu: and lodge:, alone or with +unix, +tls, +tcp or +ssh");
    } else if (!out_target->is_test && strcmp(path, "/system") != 0 &&
               strcmp(path, "/session") != 0) {
        ok = refuse(error, uri, "the path is neither /system nor /session");
    } else if (out_target->transport != DIAL_UNIX && !out_target->host) {
        ok = refuse(error, uri, "no host is named");
    } else if (!parse_query(g_uri_get_query(parsed), out_target)) {
        ok = refuse(error, uri, "its parameters cannot be read");
    }
    if (!ok) {
        dial_clear(out_target);
        return false;
    }
    out_target->session = strcmp(path, "/session") == 0;
    out_target->name = g_strconcat(out_target->is_test ? "test" : "qemu", "://", path, NULL);
    return true;
}

void dial_clear(DialTarget *target)
{
    g_free(target->user);
    g_free(target->host);
    g_free(target->name);
    g_free(target->socket);
    g_free(target->command);
    g_free(target->keyfile);
    g_free(target->pki_path);
    g_free(target->auth_file);
    *target = (DialTarget){ 0 };
}

/* --- ways --- */

/* Where a local daemon listens: ours first, then libvirt's. Ends with NULL. (transfer full) */
static char **local_paths(const DialTarget *target)
{
    const char *end = target->read_only && !target->session ? "-ro" : "";
    const char *run = getenv("XDG_RUNTIME_DIR");
    g_autofree char *own_folder =
        run && *run ? g_build_filename(run, "lodge", NULL)
                    : g_build_filename(g_get_user_cache_dir(), "lodge", "run", NULL);
    g_autofree char *libvirt_folder =
        run && *run ? g_build_filename(run, "libvirt", NULL)
                    : g_build_filename(g_get_user_cache_dir(), "libvirt", NULL);
    char **paths = g_new0(char *, 4);
    if (target->socket) {
        paths[0] = g_strdup(target->socket);
        return paths;
    }
    paths[0] = g_strdup_printf("%s/lodge-sock%s", target->session ? own_folder : "/run/lodge", end);
    paths[1] = g_strdup_printf("%s/virtqemud-sock%s",
                               target->session ? libvirt_folder : "/run/libvirt", end);
    paths[2] = g_strdup_printf("%s/libvirt-sock%s",
                               target->session ? libvirt_folder : "/run/libvirt", end);
    return paths;
}

/* Returns: the socket, or -errno of the first path. */
static int connect_paths(char **paths)
{
    int first = 0;
    for (unsigned i = 0; paths[i]; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || g_strlcpy(address.sun_path, paths[i], sizeof(address.sun_path)) >=
                          sizeof(address.sun_path)) {
            first = first ? first : -ENAMETOOLONG;
        } else if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
            return steal_fd(&fd);
        } else {
            first = first ? first : -errno;
        }
    }
    return first;
}

/* Starts the user's own daemon, which goes into the background when it is ready. */
static bool start_session_daemon(void)
{
    const char *program = getenv("LODGED_PATH");
    char *argv[] = { (char *)(program ? program : "lodged"), (char *)"--session",
                     (char *)"--timeout=120", (char *)"--daemon", NULL };
    int status;
    return g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                        NULL, NULL, NULL, &status, NULL) &&
           g_spawn_check_wait_status(status, NULL);
}

int dial_local(const DialTarget *target, GError **error)
{
    g_auto(GStrv) paths = local_paths(target);
    int fd = connect_paths(paths);
    bool absent = fd == -ENOENT || fd == -ECONNREFUSED;
    if (absent && target->session && !target->socket && !target->no_start &&
        start_session_daemon()) {
        fd = connect_paths(paths);
    }
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "cannot connect to '%s'%s", paths[0],
                              absent ? "; is lodged running?" : "");
    }
    return fd;
}

static int dial_tcp(const char *host, const char *port, GError **error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "cannot find '%s': %s", host,
                    gai_strerror(rc));
        return -1;
    }
    int saved = ENOENT, on = 1;
    int found = -1;
    for (const struct addrinfo *a = list; a && found < 0; a = a->ai_next) {
        autofd fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            found = steal_fd(&fd);
        } else {
            saved = errno;
        }
    }
    freeaddrinfo(list);
    if (found < 0) {
        lodge_error_set_errno(error, saved, "cannot connect to '%s' port %s", host, port);
    }
    return found;
}

/* netcat, which must end when we do: by -q0 where it knows that. */
#define NETCAT                                                                                     \
    "if nc -q 2>&1 | grep -q 'requires an argument'; then set -- -q0; fi; exec nc \"$@\" -U"

/* What runs on the other host: the helper where it is, else netcat. For a socket that is named
 * netcat is first, as libvirt's own helper passes over the name. (transfer full) */
static char *remote_command(const DialTarget *target)
{
    const char *option = target->read_only ? "-r " : "";
    if (target->socket) {
        g_autofree char *path = g_uri_escape_string(target->socket, "/", TRUE);
        g_autofree char *uri = g_strdup_printf("%s?socket=%s", target->name, path);
        g_autofree char *quoted_uri = g_shell_quote(uri);
        g_autofree char *quoted = g_shell_quote(target->socket);
        return g_strdup_printf("set --; if command -v nc >/dev/null; then " NETCAT
                               " %s; else exec virt-ssh-helper %s%s; fi",
                               quoted, option, quoted_uri);
    }
    g_autofree char *uri = g_shell_quote(target->name);
    const char *path =
        target->session ? "$XDG_RUNTIME_DIR/lodge/lodge-sock" : "/run/lodge/lodge-sock";
    return g_strdup_printf("set --; if command -v virt-ssh-helper >/dev/null; then exec "
                           "virt-ssh-helper %s%s; else " NETCAT " \"%s\"; fi",
                           option, uri, path);
}

static void use_as_standard_io(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
}

static int dial_ssh(const DialTarget *target, GError **error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        lodge_error_set_errno(error, errno, "cannot make a socket pair");
        return -1;
    }
    autofd theirs = ends[1];
    autofd ours = ends[0];
    g_autofree char *command = remote_command(target);
    g_autofree char *port = target->port > 0 ? g_strdup_printf("%d", target->port) : NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, target->command ? target->command : (char *)"ssh");
    if (port) {
        g_ptr_array_add(argv, (char *)"-p");
        g_ptr_array_add(argv, port);
    }
    if (target->user) {
        g_ptr_array_add(argv, (char *)"-l");
        g_ptr_array_add(argv, target->user);
    }
    if (target->keyfile) {
        g_ptr_array_add(argv, (char *)"-i");
        g_ptr_array_add(argv, target->keyfile);
    }
    const char *const rest[] = { "-T", "-e", "none", "--", target->host, command, NULL };
    for (unsigned i = 0; i < G_N_ELEMENTS(rest); i++) {
        g_ptr_array_add(argv, (char *)rest[i]);
    }
    if (!g_spawn_async(NULL, (char **)argv->pdata, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_CHILD_INHERITS_STDIN, use_as_standard_io,
                       GINT_TO_POINTER(theirs), NULL, error)) {
        return -1;
    }
    return steal_fd(&ours);
}

/* --- opening --- */

/* A certificate's file: of the folder that the URI names, of the user's, of the system's, as
 * libvirt's clients look for them. (transfer full) */
static char *pki_file(const DialTarget *target, const char *name, const char *system_path)
{
    if (target->pki_path) {
        return g_build_filename(target->pki_path, name, NULL);
    }
    char *own = g_build_filename(g_get_home_dir(), ".pki", "libvirt", name, NULL);
    if (geteuid() != 0 && g_file_test(own, G_FILE_TEST_EXISTS)) {
        return own;
    }
    g_free(own);
    return g_strdup(system_path);
}

static RpcTlsContext *tls_context(const DialTarget *target, GError **error)
{
    g_autofree char *ca = pki_file(target, "cacert.pem", "/etc/pki/CA/cacert.pem");
    g_autofree char *cert = pki_file(target, "clientcert.pem", "/etc/pki/libvirt/clientcert.pem");
    g_autofree char *key =
        pki_file(target, "clientkey.pem", "/etc/pki/libvirt/private/clientkey.pem");
    bool has_key = g_file_test(key, G_FILE_TEST_EXISTS);
    RpcTlsFiles files = { .ca = ca, .cert = has_key ? cert : NULL, .key = has_key ? key : NULL };
    return rpc_tls_context_new(&files, false, error);
}

static RpcClient *connect_client(const DialTarget *target, RpcClientOptions *options,
                                 GError **error)
{
    int fd = -1;
    g_autofree char *port = target->port > 0 ? g_strdup_printf("%d", target->port) : NULL;
    switch (target->transport) {
    case DIAL_UNIX:
        fd = dial_local(target, error);
        options->passes_fds = true;
        break;
    case DIAL_SSH:
        fd = dial_ssh(target, error);
        break;
    case DIAL_TCP:
        fd = dial_tcp(target->host, port ? port : TCP_PORT, error);
        break;
    case DIAL_TLS:
        options->tls = tls_context(target, error);
        options->tls_host = target->no_verify ? NULL : target->host;
        options->tls_verify = !target->no_verify;
        fd = options->tls ? dial_tcp(target->host, port ? port : TLS_PORT, error) : -1;
        break;
    }
    RpcClient *client = fd >= 0 ? rpc_client_new(fd, options, error) : NULL;
    g_clear_pointer(&options->tls, rpc_tls_context_unref);
    return client;
}

/* Logs in. A user who was asked may have taken longer than the daemon waits: with what was said
 * there is a second connection. */
static RpcClient *log_in(const DialTarget *target, RpcClientOptions *options, AuthSource *source,
                         GError **error)
{
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) why = NULL;
        RpcClient *client = connect_client(target, options, error);
        if (!client || auth_log_in(client, source, &why)) {
            return client;
        }
        bool is_late = source->asked && source->password && !rpc_client_is_alive(client) &&
                       why->domain != RPC_CLIENT_ERROR;
        rpc_client_free(client);
        if (!is_late || i > 0) {
            g_propagate_error(error, g_steal_pointer(&why));
            return NULL;
        }
    }
    return NULL;
}

RpcClient *dial_open(const DialTarget *target, LodgeAskFunc ask, void *ask_opaque,
                     RpcClientEventFunc event, void *event_opaque, GError **error)
{
    RpcClientOptions options = { .event = event, .event_opaque = event_opaque };
    AuthSource source = { .file = target->auth_file,
                          .user = target->transport == DIAL_SSH ? NULL : target->user,
                          .host = target->transport == DIAL_UNIX ? NULL : target->host,
                          .ask = ask,
                          .opaque = ask_opaque };
    RpcClient *client = log_in(target, &options, &source, error);
    auth_source_clear(&source);
    if (!client) {
        return NULL;
    }
    RemoteConnectOpenArgs args = { .name = target->name,
                                   .flags = target->read_only ? OPEN_READ_ONLY : 0 };
    if (!remote_connect_open(client, &args, error)) {
        rpc_client_free(client);
        return NULL;
    }
    return client;
}
