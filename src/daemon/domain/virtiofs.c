/* Folders of the host in guests by virtiofs.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/virtiofs.h"

#include "base/cleanup.h"
#include "daemon/domain/guest-log.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/runtime.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *virtiofs_find_program(void)
{
    /* Distributions keep it out of $PATH. */
    static const char *const known[] = { "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd",
                                         "/usr/lib/virtiofsd", NULL };
    return helper_find_program("virtiofsd", known);
}

static bool is_served_here(const DomainFilesystem *fs)
{
    return fs->driver == FS_DRIVER_VIRTIOFS && !fs->source_socket;
}

static bool check_rights(const DomainFilesystem *fs, GError **error)
{
    if (!is_served_here(fs) || geteuid() == 0) {
        return true;
    }
    daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                     "unsupported configuration: filesystem '%s': virtiofsd needs root, which the "
                     "daemon of a session is not; use the host's daemon (qemu:///system), "
                     "<driver type='path'/>, or start virtiofsd yourself and name its socket by "
                     "<source socket='PATH'/>",
                     fs->target_dir);
    return false;
}

bool virtiofs_check(const DomainDef *def, GError **error)
{
    const XmlList *list = &def->devices[DEVICE_FILESYSTEM];
    for (unsigned i = 0; i < list->count; i++) {
        if (!check_rights(list->item[i], error)) {
            return false;
        }
    }
    return true;
}

static void append_switch(GString *text, TriState value, const char *name)
{
    if (value) {
        g_string_append_printf(text, ",%s%s", value == TRI_YES ? "" : "no_", name);
    }
}

/* The value of -o (transfer full). */
static char *options_of(const DomainFilesystem *fs)
{
    GString *text = g_string_new("source=");
    for (const char *at = fs->source_dir; *at; at++) {
        if (*at == ',' || *at == '\\') {
            g_string_append_c(text, '\\');
        }
        g_string_append_c(text, *at);
    }
    if (fs->cache) {
        g_string_append_printf(text, ",cache=%s", domain_name(fs_cache, fs->cache));
    }
    if (fs->sandbox) {
        g_string_append_printf(text, ",sandbox=%s", domain_name(fs_sandbox, fs->sandbox));
    }
    append_switch(text, fs->binary_xattr, "xattr");
    append_switch(text, fs->lock_flock, "flock");
    append_switch(text, fs->lock_posix, "posix_lock");
    return g_string_free(text, FALSE);
}

static bool check_source(DomainFilesystem *fs, GError **error)
{
    struct stat st;
    if (!check_rights(fs, error)) {
        return false;
    }
    if (stat(fs->source_dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: filesystem '%s': the folder '%s' does not exist",
                         fs->target_dir, fs->source_dir);
        return false;
    }
    if (!fs->binary_path) {
        fs->binary_path = virtiofs_find_program();
    }
    if (!fs->binary_path || access(fs->binary_path, X_OK) < 0) {
        daemon_error_set(
            error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
            "unsupported configuration: filesystem '%s' needs the program virtiofsd, "
            "which is not %s%s; install qemu-system-common or virtiofsd, or name it by "
            "<binary path>",
            fs->target_dir, fs->binary_path ? "at " : "there", fs->binary_path ?: "");
        return false;
    }
    return true;
}

static bool run_server(Domain *domain, const DomainFilesystem *fs, int listen_fd, GError **error)
{
    g_autofree char *kind = g_strdup_printf("%s-virtiofsd", fs->device.alias);
    autofd log_fd = guest_log_open(domain, kind, error);
    if (log_fd < 0) {
        return false;
    }
    g_autofree char *fd_option = g_strdup_printf("--fd=%d", listen_fd);
    g_autofree char *options = options_of(fs);
    g_autofree char *pool = fs->thread_pool_size
                                ? g_strdup_printf("--thread-pool-size=%u", fs->thread_pool_size)
                                : NULL;
    const char *argv[] = { fs->binary_path, fd_option, "-o", options, pool, NULL };
    ProcessSpec spec = { .argv = (char *const *)argv,
                         .fds = &listen_fd,
                         .n_fds = 1,
                         .log_fd = log_fd,
                         .uid = (uid_t)-1 };
    return helper_start(domain, fs->device.alias, &spec, error);
}

int virtiofs_start(Domain *domain, DomainFilesystem *fs, GError **error)
{
    if (!check_source(fs, error)) {
        return -1;
    }
    /* It takes a listening socket alone, and one connection: the engine's, made here, after which
     * nobody else finds the socket. */
    g_autofree char *path = g_strdup_printf("%s/fs-%.40s.sock", domain->dir, fs->device.alias);
    autofd listen_fd = domain_resources.listen_unix(domain, path, error);
    if (listen_fd < 0) {
        return -1;
    }
    autofd own = runtime_connect_unix(path);
    int err = own < 0 ? -own : 0;
    g_unlink(path);
    if (err) {
        lodge_error_set_errno(error, err, "cannot connect to '%s'", path);
        return -1;
    }
    return run_server(domain, fs, listen_fd, error) ? steal_fd(&own) : -1;
}
