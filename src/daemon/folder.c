/* Removing folders that others may write into.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/folder.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much is removed before a wish to stop is heard: what most folders have. */
#define STOP_AFTER 2000u
#define NAMES_TRIED 100000u

typedef struct Removal {
    int top; /* the folder itself */
    dev_t device;
    const gint *stop;
    guint64 removed;
    guint64 moved; /* numbers the names of folders that are moved up */
    int err;       /* why something stays: the last reason */
} Removal;

typedef bool (*EntryFunc)(Removal *r, int folder, const char *name);

static bool is_stopped(const Removal *r)
{
    return r->stop && r->removed >= STOP_AFTER && g_atomic_int_get(r->stop);
}

/* One that its owner has closed is opened by who may change that. */
static void make_readable(int parent, const char *name)
{
    char path[64];
    autofd fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (chmod(path, 0700) < 0) {
            log_write(LOG_LEVEL_DEBUG, "cannot open the folder '%s': %s", name, strerror(errno));
        }
    }
}

/* Nobody else enters or changes it from then on, but for who has it open already and its rights. */
static void take_over(int fd)
{
    if (fchown(fd, geteuid(), getegid()) < 0 || fchmod(fd, 0700) < 0) {
        log_write(LOG_LEVEL_DEBUG, "cannot take a folder over: %s", strerror(errno));
    }
}

/* @device: 0: any. Returns: a descriptor, or -errno. */
static int open_folder(int parent, const char *name, dev_t device)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    autofd fd = openat(parent, name, flags);
    if (fd < 0 && errno == EACCES) {
        make_readable(parent, name);
        fd = openat(parent, name, flags);
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (device && st.st_dev != device) {
        return -EBUSY; /* a mount point */
    }
    take_over(fd);
    return steal_fd(&fd);
}

/* Calls @func for each entry, until a pass changes nothing or leaves nothing. Returns: whether
 * something changed. */
static bool for_each(Removal *r, int folder, EntryFunc func)
{
    int copy = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    bool has_changed = false, is_pass = dir != NULL;
    if (!dir) {
        r->err = errno;
        cleanup_close(&copy);
        return false;
    }
    while (is_pass) {
        const struct dirent *entry;
        is_pass = false;
        rewinddir(dir);
        while (!is_stopped(r) && (entry = readdir(dir))) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                func(r, folder, entry->d_name)) {
                is_pass = true;
            }
        }
        has_changed = has_changed || is_pass;
    }
    closedir(dir);
    return has_changed;
}

/* A file, or a folder without entries. False: errno is ENOTEMPTY for a folder that has some. */
static bool remove_plain(Removal *r, int folder, const char *name)
{
    bool is_removed = unlinkat(folder, name, 0) == 0;
    if (!is_removed && (errno == EISDIR || errno == EPERM)) {
        is_removed = unlinkat(folder, name, AT_REMOVEDIR) == 0;
        if (!is_removed && errno == EEXIST) {
            errno = ENOTEMPTY;
        }
    }
    r->removed += is_removed;
    return is_removed;
}

/* Keeps errno of what failed, but of what went by itself. */
static bool stays(Removal *r)
{
    if (errno != ENOENT) {
        r->err = errno;
    }
    return false;
}

/* Of a folder below the top. */
static bool remove_or_move_up(Removal *r, int folder, const char *name)
{
    char above[32];
    if (remove_plain(r, folder, name)) {
        return true;
    }
    for (unsigned i = 0; errno == ENOTEMPTY && i < NAMES_TRIED; i++) {
        /* Over another's name it does nothing, or replaces a folder that is empty. */
        snprintf(above, sizeof(above), "%llu", (unsigned long long)r->moved++);
        if (renameat(folder, name, r->top, above) == 0) {
            return true;
        }
        if (errno == EEXIST || errno == ENOTDIR) {
            errno = ENOTEMPTY;
        }
    }
    if (errno == EACCES) {
        /* Moving writes its "..": one that its owner has closed needs to be writable. */
        int rc = open_folder(folder, name, r->device);
        if (rc >= 0) {
            close(rc);
            snprintf(above, sizeof(above), "%llu", (unsigned long long)r->moved++);
            if (renameat(folder, name, r->top, above) == 0) {
                return true;
            }
        }
    }
    return stays(r);
}

/* Of the top: its folders are emptied. */
static bool remove_or_empty(Removal *r, int top, const char *name)
{
    if (remove_plain(r, top, name)) {
        return true;
    }
    if (errno != ENOTEMPTY) {
        return stays(r);
    }
    autofd fd = open_folder(top, name, r->device);
    if (fd < 0) {
        errno = -fd;
        return stays(r);
    }
    bool has_changed = for_each(r, fd, remove_or_move_up);
    return remove_plain(r, top, name) || stays(r) || has_changed;
}

bool folder_remove(const char *path, const gint *stop)
{
    struct stat st;
    failpoint("folder-remove");
    autofd top = open_folder(AT_FDCWD, path, 0);
    Removal r = { .top = top, .stop = stop };
    if (top == -ENOENT) {
        return true;
    }
    if (top < 0 || fstat(top, &st) < 0) {
        r.err = top < 0 ? -top : errno;
    } else {
        r.device = st.st_dev;
        for_each(&r, top, remove_or_empty);
    }
    if (unlinkat(AT_FDCWD, path, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        return true;
    }
    if (!is_stopped(&r)) {
        log_write(LOG_LEVEL_WARN, "cannot remove the folder '%s': %s", path,
                  strerror(r.err ? r.err : errno));
    }
    return false;
}
