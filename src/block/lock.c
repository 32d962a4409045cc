/* Image locks, compatible with QEMU: open-file-description locks on single bytes of the image.
 *
 * Byte 100 + n is read-locked by whoever uses permission n, byte 200 + n by whoever does not want
 * others to use it. All locks are shared ones; who wants to know asks whether an exclusive one
 * would be possible. Permissions are 0 (consistent read), 1 (write), 2 (write what is there
 * already) and 3 (resize). SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/lock.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "gbase/error.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define USED_BASE 100
#define UNSHARED_BASE 200

enum {
    PERMISSION_READ = 0,
    PERMISSION_WRITE = 1,
    PERMISSION_SAME = 2,
    PERMISSION_RESIZE = 3,
};

static int set_lock(int fd, off_t byte, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Whether another open description holds a lock on @byte; or -errno. */
static int is_held(int fd, off_t byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        return -errno;
    }
    return lock.l_type != F_UNLCK;
}

/* The kernel does not say who holds such a lock; each process's fdinfo files do. */

static bool line_is_lock(const char *line, const char *file_name, off_t byte)
{
    char lock_file[64];
    long long start, end;
    /* lock: N: OFDLCK  ADVISORY  READ -1 MAJOR:MINOR:INODE START END */
    if (sscanf(line, "lock: %*s OFDLCK %*s %*s %*s %63s %lld %lld", lock_file, &start, &end) != 3) {
        return false;
    }
    return !strcmp(lock_file, file_name) && start <= byte && byte <= end;
}

static bool fdinfo_has_lock(const char *path, const char *file_name, off_t byte)
{
    char line[256];
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        found = line_is_lock(line, file_name, byte);
    }
    if (file) {
        fclose(file);
    }
    return found;
}

static bool process_holds(const char *pid, const char *file_name, off_t byte, int own_fd)
{
    bool is_self = atoi(pid) == getpid();
    g_autofree char *folder = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (!(is_self && atoi(name) == own_fd) && fdinfo_has_lock(path, file_name, byte)) {
            return true;
        }
    }
    return false;
}

/* "process 123 (qemu-system-x86)", or that it is not known. */
static char *describe_holder(int fd, off_t byte)
{
    struct stat st;
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    if (!proc || fstat(fd, &st) < 0) {
        return g_strdup("another process");
    }
    g_autofree char *file_name = g_strdup_printf("%02x:%02x:%lu", major(st.st_dev),
                                                 minor(st.st_dev), (unsigned long)st.st_ino);
    const char *pid;
    while ((pid = g_dir_read_name(proc))) {
        if (!g_ascii_isdigit(pid[0]) || !process_holds(pid, file_name, byte, fd)) {
            continue;
        }
        g_autofree char *comm_path = g_strdup_printf("/proc/%s/comm", pid);
        g_autofree char *comm = NULL;
        g_file_get_contents(comm_path, &comm, NULL, NULL);
        return g_strdup_printf("process %s (%s)", pid, comm ? g_strchomp(comm) : "?");
    }
    return g_strdup("another process, which this one may not see");
}

static const struct {
    unsigned access;
    int own, other;       /* bytes: locked for it; locked by those who do not allow it */
    const char *who_does; /* for messages */
} rules[] = {
    { BLOCK_ACCESS_READ, USED_BASE + PERMISSION_READ, UNSHARED_BASE + PERMISSION_READ, "reads it" },
    { BLOCK_ACCESS_WRITE, USED_BASE + PERMISSION_WRITE, UNSHARED_BASE + PERMISSION_WRITE,
      "writes to it" },
    { BLOCK_ACCESS_ALONE, UNSHARED_BASE + PERMISSION_WRITE, USED_BASE + PERMISSION_WRITE,
      "allows no others to write to it" },
    { BLOCK_ACCESS_RESIZE, USED_BASE + PERMISSION_RESIZE, UNSHARED_BASE + PERMISSION_RESIZE,
      "changes its size" },
    { BLOCK_ACCESS_SIZE, UNSHARED_BASE + PERMISSION_RESIZE, USED_BASE + PERMISSION_RESIZE,
      "allows no others to change its size" },
    { BLOCK_ACCESS_HIDDEN, UNSHARED_BASE + PERMISSION_READ, USED_BASE + PERMISSION_READ,
      "allows no others to read it" },
    { BLOCK_ACCESS_SAME, USED_BASE + PERMISSION_SAME, UNSHARED_BASE + PERMISSION_SAME,
      "copies data into it" },
};

static bool refuse(int fd, const char *path, off_t byte, GError **error)
{
    g_autofree char *holder = describe_holder(fd, byte);
    const char *what = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(rules) && !what; i++) {
        what = rules[i].own == byte ? rules[i].who_does : NULL;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                "image '%s' is in use by %s, which %s; to use it at once, say so on both sides: "
                "share-rw=on of disks, force-share or -U for reading",
                path, holder, what);
    return false;
}

static void give_up(int fd, unsigned access)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (rules[i].access & access) {
            (void)set_lock(fd, rules[i].own, F_UNLCK);
        }
    }
}

int block_copy_locks(int fd, unsigned access)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
        int rc = rules[i].access & access ? set_lock(fd, rules[i].own, F_RDLCK) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* Negative: the file system cannot lock; 0: done; else the byte that is in the way. Both sides lock
 * first and look then: of two that come at once at least one sees the other. */
static int lock_and_check(int fd, unsigned access)
{
    int rc = block_copy_locks(fd, access);
    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
        rc = rules[i].access & access ? is_held(fd, rules[i].other) : 0;
        if (rc) {
            return rc < 0 ? rc : rules[i].other;
        }
    }
    return 0;
}

bool block_change_locks(int fd, const char *path, unsigned held, unsigned wanted, GError **error)
{
    unsigned added = wanted & ~held;
    int rc = lock_and_check(fd, added);
    if (rc < 0 && rc != -EAGAIN && rc != -EACCES) {
        log_warn("image '%s' cannot be locked: %s", path, g_strerror(-rc));
        return true;
    }
    if (rc == 0) {
        give_up(fd, held & ~wanted);
        return true;
    }
    give_up(fd, added);
    if (rc > 0) {
        return refuse(fd, path, rc, error);
    }
    /* An exclusive lock, which QEMU's rules do not know. */
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "image '%s' is locked by another process",
                path);
    return false;
}

bool block_lock_image(int fd, const char *path, bool writes, bool shares_write, GError **error)
{
    unsigned access = BLOCK_ACCESS_READ | (writes ? BLOCK_ACCESS_WRITE : 0) |
                      (shares_write ? 0 : BLOCK_ACCESS_ALONE);
    return block_change_locks(fd, path, 0, access, error);
}
