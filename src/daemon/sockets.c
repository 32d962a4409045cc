/* The daemon's sockets: its own, libvirt's where asked for, TLS.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sockets.h"

#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_ACTIVATED_FD 3

typedef struct SocketName {
    const char *name;
    bool read_only, admin;
} SocketName;

static const SocketName own_names[] = {
    { "lodge-sock", false, false },
    { "lodge-sock-ro", true, false },
    { "lodge-sock-admin", false, true },
};

/* Clients without a URI look for these. */
static const SocketName libvirt_names[] = {
    { "libvirt-sock", false, false },      { "libvirt-sock-ro", true, false },
    { "libvirt-admin-sock", false, true }, { "virtqemud-sock", false, false },
    { "virtqemud-sock-ro", true, false },
};

static ListenOptions options_of(const Daemon *daemon, const DaemonConfig *config,
                                const SocketName *name)
{
    return (ListenOptions){ .read_only = name->read_only,
                            .admin = name->admin,
                            .auth = name->admin       ? AUTH_METHOD_NONE
                                    : name->read_only ? config->auth_unix_ro
                                                      : config->auth_unix_rw,
                            .same_user_only = daemon->session || name->admin };
}

static bool find_group(const char *name, gid_t *out, GError **error)
{
    enum { ENTRY_BYTES = 65536 }; /* with all its members */
    g_autofree char *buffer = g_malloc(ENTRY_BYTES);
    struct group entry, *found = NULL;
    if (getgrnam_r(name, &entry, buffer, ENTRY_BYTES, &found) != 0 || !found) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "unix_sock_group: there is no group '%s'", name);
        return false;
    }
    *out = entry.gr_gid;
    return true;
}

static bool listen_on(Daemon *daemon, const DaemonConfig *config, const char *folder,
                      const SocketName *name, GError **error)
{
    g_autofree char *path = g_build_filename(folder, name->name, NULL);
    mode_t mode = name->admin       ? 0700
                  : name->read_only ? config->unix_sock_ro_perms
                                    : config->unix_sock_rw_perms;
    ListenOptions options = options_of(daemon, config, name);
    gid_t group = (gid_t)-1;
    if (!name->admin && config->unix_sock_group &&
        !find_group(config->unix_sock_group, &group, error)) {
        return false;
    }
    int fd = server_bind_unix(path, mode, group, error);
    if (fd < 0) {
        return false;
    }
    struct stat info;
    if (lstat(path, &info) == 0) {
        SocketFile file = { g_steal_pointer(&path), info.st_dev, info.st_ino };
        g_array_append_val(daemon->server->socket_files, file);
    }
    return server_listen(daemon->server, fd, &options, error);
}

/* Where libvirt's clients look. NULL: nowhere, without XDG_RUNTIME_DIR. (transfer full) */
static char *libvirt_folder(const Daemon *daemon)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (!daemon->session) {
        return g_strdup("/run/libvirt");
    }
    return run && *run ? g_build_filename(run, "libvirt", NULL)
                       : g_build_filename(g_get_user_cache_dir(), "libvirt", NULL);
}

static bool listen_on_libvirts(Daemon *daemon, const DaemonConfig *config, GError **error)
{
    g_autofree char *folder = libvirt_folder(daemon);
    if (g_mkdir_with_parents(folder, daemon->session ? 0700 : 0755) < 0) {
        lodge_error_set_errno(error, errno, "cannot make the folder '%s'", folder);
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(libvirt_names); i++) {
        if (!listen_on(daemon, config, folder, &libvirt_names[i], error)) {
            return false;
        }
    }
    return true;
}

static bool listen_tls(Daemon *daemon, const DaemonConfig *config, GError **error)
{
    RpcTlsFiles files = { config->ca_file, config->cert_file, config->key_file, config->crl_file };
    RpcTlsContext *tls = rpc_tls_context_new(&files, true, error);
    if (!tls) {
        return false;
    }
    ListenOptions options = { .auth = config->auth_tls,
                              .tls = tls,
                              .tls_verify = !config->tls_no_verify_certificate };
    bool ok =
        server_listen_tcp(daemon->server, config->listen_addr, config->tls_port, &options, error);
    rpc_tls_context_unref(tls);
    return ok;
}

static bool listen_tcp(Daemon *daemon, const DaemonConfig *config, GError **error)
{
    ListenOptions options = { .auth = config->auth_tcp };
    if (config->auth_tcp == AUTH_METHOD_NONE) {
        log_warn("anybody who reaches port %s may do everything: auth_tcp is \"none\"",
                 config->tcp_port);
    }
    return server_listen_tcp(daemon->server, config->listen_addr, config->tcp_port, &options,
                             error);
}

/* polkit asks for the process of a client, which is known on sockets of this host alone. */
static bool check_methods(const DaemonConfig *config, GError **error)
{
    bool tls = config->listen_tls && config->auth_tls == AUTH_METHOD_POLKIT;
    if (!tls && !(config->listen_tcp && config->auth_tcp == AUTH_METHOD_POLKIT)) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "auth_%s cannot be \"polkit\": use \"sasl\" or \"none\"", tls ? "tls" : "tcp");
    return false;
}

/* What kind of client comes by a socket handed over is told by its file's name. */
static bool take_activated(Daemon *daemon, const DaemonConfig *config, int fd, GError **error)
{
    struct sockaddr_un address = { 0 };
    socklen_t size = sizeof(address);
    SocketName name = own_names[0];
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX) {
        g_autofree char *base = g_path_get_basename(address.sun_path);
        name.read_only = g_str_has_suffix(base, "-ro");
        name.admin = strstr(base, "admin") != NULL;
    }
    ListenOptions options = options_of(daemon, config, &name);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return server_listen(daemon->server, fd, &options, error);
}

/* The number of sockets that systemd hands over, 0 when it does not. */
static unsigned activated_count(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    guint64 pid_value, n;
    if (!pid || !fds || !g_ascii_string_to_unsigned(pid, 10, 1, G_MAXINT32, &pid_value, NULL) ||
        (pid_t)pid_value != getpid() || !g_ascii_string_to_unsigned(fds, 10, 0, 64, &n, NULL)) {
        return 0;
    }
    return (unsigned)n;
}

bool daemon_sockets_open(Daemon *daemon, const DaemonConfig *config, GError **error)
{
    if (!check_methods(config, error)) {
        return false;
    }
    if (config->sasl_file &&
        !(daemon->server->scram_store = scram_store_load(config->sasl_file, error))) {
        return false;
    }
    daemon->server->sasl_users = (const char *const *)config->sasl_allowed_username_list;
    daemon->server->tls_names = (const char *const *)config->tls_allowed_dn_list;
    unsigned n = activated_count();
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    for (unsigned i = 0; i < n; i++) {
        if (!take_activated(daemon, config, FIRST_ACTIVATED_FD + (int)i, error)) {
            return false;
        }
    }
    for (unsigned i = 0; n == 0 && i < G_N_ELEMENTS(own_names); i++) {
        if (!listen_on(daemon, config, daemon->paths.run_dir, &own_names[i], error)) {
            return false;
        }
    }
    if (n == 0 && config->libvirt_sockets && !listen_on_libvirts(daemon, config, error)) {
        return false;
    }
    return (!config->listen_tls || listen_tls(daemon, config, error)) &&
           (!config->listen_tcp || listen_tcp(daemon, config, error));
}

void daemon_sockets_unlink(Daemon *daemon)
{
    const GArray *files = daemon->server->socket_files;
    for (guint i = 0; i < files->len; i++) {
        const SocketFile *file = &g_array_index(files, SocketFile, i);
        struct stat info;
        if (lstat(file->path, &info) == 0 && info.st_dev == file->device &&
            info.st_ino == file->inode) {
            unlink(file->path);
        }
    }
}
