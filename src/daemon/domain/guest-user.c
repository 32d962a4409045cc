/* Users of guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/guest-user.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/domain/command-line.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COPY_MAX (1u << 30)

static bool has_users(const Domain *domain)
{
    return domain->service->daemon->guest_uid_count != 0;
}

uid_t guest_user_of_process(pid_t pid)
{
    char path[64];
    struct stat st;
    g_snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return stat(path, &st) == 0 && st.st_uid != geteuid() ? st.st_uid : 0;
}

/* With the service's lock of users. */
static bool is_taken(DomainService *service, const Domain *except, uid_t uid)
{
    g_autoptr(GPtrArray) all = service_all(service);
    bool taken = false;
    for (guint i = 0; i < all->len && !taken; i++) {
        Domain *domain = all->pdata[i];
        if (domain != except) {
            g_mutex_lock(&domain->lock);
            taken = domain->runtime && domain->uid == uid;
            g_mutex_unlock(&domain->lock);
        }
    }
    return taken;
}

/* A user that no other guest has, for this one; 0: each is taken. */
static uid_t choose_user(Domain *domain)
{
    DomainService *service = domain->service;
    const Daemon *daemon = service->daemon;
    uid_t chosen = 0;
    g_mutex_lock(&service->users);
    for (unsigned i = 0; i < daemon->guest_uid_count && !chosen; i++) {
        uid_t uid = daemon->guest_uid_first +
                    ((unsigned)MAX(domain->id, 1) - 1 + i) % daemon->guest_uid_count;
        chosen = is_taken(service, domain, uid) ? 0 : uid;
    }
    g_mutex_lock(&domain->lock);
    domain->uid = chosen;
    g_mutex_unlock(&domain->lock);
    g_mutex_unlock(&service->users);
    return chosen;
}

/* The group that may open /dev/kvm, where that is what it takes. */
static gid_t kvm_group(void)
{
    struct stat st;
    bool helps = stat("/dev/kvm", &st) == 0 && st.st_gid != 0 && (st.st_mode & 0060) == 0060;
    return helps ? st.st_gid : (gid_t)-1;
}

bool guest_user_prepare(Domain *domain, ProcessSpec *spec, GError **error)
{
    const Daemon *daemon = domain->service->daemon;
    spec->uid = (uid_t)-1;
    spec->kvm_gid = (gid_t)-1;
    if (!has_users(domain)) {
        return true;
    }
    /* Its helpers may have it already. */
    if (!domain->uid && !choose_user(domain)) {
        daemon_error_set(error, DAEMON_ERROR_RESOURCE_BUSY,
                         "each of the %u users for guests has one; see guest_uids in lodged.conf",
                         daemon->guest_uid_count);
        return false;
    }
    spec->uid = domain->uid;
    spec->gid = spec->uid;
    if (domain->live->virt == VIRT_KVM) {
        spec->kvm_gid = kvm_group();
    }
    /* What is beside it is for the daemon alone: a guest's notes on devices of the host are acted
     * upon by root. */
    g_autofree char *all = g_path_get_dirname(domain->dir);
    g_autofree char *own = g_build_filename(domain->dir, ENGINE_FOLDER, NULL);
    if (chmod(all, 0711) < 0 || chmod(domain->dir, 0711) < 0 ||
        chown(own, spec->uid, spec->gid) < 0) {
        lodge_error_set_errno(error, errno, "cannot give '%s' to the guest's user", own);
        return false;
    }
    return true;
}

/* By its mode and those of the folders above; access control lists are not looked at. */
static bool is_open_to_all(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(st.st_mode & S_IROTH)) {
        return false;
    }
    g_autofree char *folder = g_path_get_dirname(path);
    while (stat(folder, &st) == 0 && (st.st_mode & S_IXOTH)) {
        if (strcmp(folder, "/") == 0) {
            return true;
        }
        char *parent = g_path_get_dirname(folder);
        g_free(folder);
        folder = parent;
    }
    return false;
}

/* What is not known by modes alone counts as allowed: the engine tells then. */
static bool may_use(const char *path, const ProcessSpec *spec, mode_t wanted)
{
    struct stat st;
    if (spec->uid == (uid_t)-1) {
        return access(path, (int)wanted) == 0;
    }
    if (stat(path, &st) < 0 || getxattr(path, "system.posix_acl_access", NULL, 0) > 0) {
        return true;
    }
    unsigned shift = st.st_uid == spec->uid ? 6 : st.st_gid == spec->gid ? 3 : 0;
    return ((st.st_mode >> shift) & wanted) == wanted;
}

/* The highest folder on the way to @path, or that itself, that the guest may not use as @wanted
 * (transfer full), or NULL. */
static char *find_barrier(const char *path, mode_t wanted, const ProcessSpec *spec)
{
    for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        g_autofree char *folder = g_strndup(path, (gsize)(at - path));
        if (!may_use(folder, spec, X_OK)) {
            return g_steal_pointer(&folder);
        }
    }
    return may_use(path, spec, wanted) ? NULL : g_strdup(path);
}

/* A sentence's name of who runs the guest. (transfer full) */
static char *user_words(const ProcessSpec *spec)
{
    return spec->uid == (uid_t)-1 ? g_strdup("the user of this daemon")
                                  : g_strdup_printf("the guest's user (uid %u)", spec->uid);
}

static bool check_folder(const char *path, const ProcessSpec *spec, GError **error)
{
    struct stat st;
    bool is_there = path[0] == '/' && stat(path, &st) == 0;
    if (path[0] == '/' && !is_there && errno != EACCES) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "<filesystem>: cannot use the folder '%s': %s",
                         path, g_strerror(errno));
        return false;
    }
    if (path[0] != '/' || (is_there && !S_ISDIR(st.st_mode))) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "<filesystem>: '%s' is no %s", path,
                         path[0] == '/' ? "folder" : "absolute path");
        return false;
    }
    g_autofree char *barrier = find_barrier(path, R_OK | X_OK, spec);
    if (barrier) {
        g_autofree char *user = user_words(spec);
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "<filesystem> '%s': %s may not %s the folder '%s'; let others (chmod "
                         "o+rx), or share another folder",
                         path, user, strcmp(barrier, path) == 0 ? "read" : "search", barrier);
    }
    return !barrier;
}

/* A file that the engine opens for reading and writing, or makes where there is none. */
static bool check_memory_file(const DomainMemory *memory, const ProcessSpec *spec, GError **error)
{
    const char *path = memory->source_path;
    const char *model = domain_name(memory_model, memory->model);
    if (!g_path_is_absolute(path)) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "<memory model='%s'>: '%s' is no absolute path", model, path);
        return false;
    }
    bool is_there = access(path, F_OK) == 0 || errno != ENOENT;
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *barrier =
        is_there ? find_barrier(path, R_OK | W_OK, spec) : find_barrier(folder, W_OK | X_OK, spec);
    if (barrier) {
        bool is_on_way = strcmp(barrier, is_there ? path : folder) != 0;
        g_autofree char *user = user_words(spec);
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "<memory model='%s'> '%s': %s may not %s '%s'; let others (chmod o+%s)",
                         model, path, user,
                         is_on_way  ? "search the folder"
                         : is_there ? "read and write the file"
                                    : "make a file in the folder",
                         barrier,
                         is_on_way  ? "x"
                         : is_there ? "rw"
                                    : "wx");
    }
    return !barrier;
}

bool guest_user_check_paths(Domain *domain, const ProcessSpec *spec, GError **error)
{
    const XmlList *folders = &domain->live->devices[DEVICE_FILESYSTEM];
    for (unsigned i = 0; i < folders->count; i++) {
        const DomainFilesystem *fs = folders->item[i];
        bool is_own = fs->driver == FS_DRIVER_NONE || fs->driver == FS_DRIVER_PATH;
        if (is_own && !check_folder(fs->source_dir, spec, error)) {
            return false;
        }
    }
    const XmlList *modules = &domain->live->devices[DEVICE_MEMORY];
    for (unsigned i = 0; i < modules->count; i++) {
        const DomainMemory *memory = modules->item[i];
        if (memory->source_path && !check_memory_file(memory, spec, error)) {
            return false;
        }
    }
    return true;
}

static bool copy(int from, int to, off_t size)
{
    char buffer[65536];
    for (off_t done = 0; done < size;) {
        ssize_t n = read(from, buffer, sizeof(buffer));
        if (n <= 0 || fd_write_full(to, buffer, (size_t)n) < 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        done += n;
    }
    return true;
}

int guest_user_lend(Domain *domain, const char *path, GError **error)
{
    if (!has_users(domain) || is_open_to_all(path)) {
        return -1;
    }
    struct stat st;
    autofd from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0 || fstat(from, &st) < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        return -1;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)COPY_MAX) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "'%s' is no file of at most %u MiB, and the guest's user may not open it",
                         path, COPY_MAX >> 20);
        return -1;
    }
    g_autofree char *name = g_path_get_basename(path);
    autofd to = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0 || !copy(from, to, st.st_size) || lseek(to, 0, SEEK_SET) < 0 ||
        fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        lodge_error_set_errno(error, errno, "cannot copy '%s' for the guest", path);
        return -1;
    }
    return steal_fd(&to);
}

char *guest_user_label(const Domain *domain)
{
    bool has_own = has_users(domain) && domain->runtime && domain->uid;
    return has_own ? g_strdup_printf("+%u:+%u", domain->uid, domain->uid) : NULL;
}
