/* The state store's system calls on Linux.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state/file-ops.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK (64u << 10)

static int posix_open(const FileOps *ops, const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    return fd < 0 ? -errno : fd;
}

static ssize_t posix_pread(const FileOps *ops, int fd, void *buf, size_t count, int64_t offset)
{
    return fd_pread_full(fd, buf, count, offset);
}

static int posix_pwrite(const FileOps *ops, int fd, const void *buf, size_t count, int64_t offset)
{
    return fd_pwrite_full(fd, buf, count, offset);
}

static int posix_sync(const FileOps *ops, int fd)
{
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_close(const FileOps *ops, int fd)
{
    return close(fd) < 0 ? -errno : 0;
}

static int posix_rename(const FileOps *ops, const char *from, const char *to)
{
    return rename(from, to) < 0 ? -errno : 0;
}

static int posix_unlink(const FileOps *ops, const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

static int posix_symlink(const FileOps *ops, const char *target, const char *path)
{
    return symlink(target, path) < 0 ? -errno : 0;
}

static int posix_mkdir(const FileOps *ops, const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) {
        return 0;
    }
    int err = errno;
    return err == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : -err;
}

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int posix_sync_dir(const FileOps *ops, const char *path)
{
    autofd fd = open_dir(path);
    if (fd < 0) {
        return fd;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int posix_sync_all(const FileOps *ops, const char *path)
{
    autofd fd = open_dir(path);
    if (fd < 0) {
        return fd;
    }
    return syncfs(fd) < 0 ? -errno : 0;
}

static int posix_list(const FileOps *ops, const char *path, GPtrArray *names)
{
    DIR *dir = opendir(path);
    if (!dir) {
        return -errno;
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            g_ptr_array_add(names, g_strdup(entry->d_name));
        }
    }
    int err = -errno;
    closedir(dir);
    return err;
}

const FileOps file_ops_posix = {
    .open = posix_open,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .sync = posix_sync,
    .close = posix_close,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .symlink = posix_symlink,
    .mkdir = posix_mkdir,
    .sync_dir = posix_sync_dir,
    .sync_all = posix_sync_all,
    .list = posix_list,
};

int file_ops_read(const FileOps *ops, const char *path, size_t max, char **out_data,
                  size_t *out_size)
{
    int fd = ops->open(ops, path, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    g_autoptr(GByteArray) all = g_byte_array_new();
    g_autofree guint8 *chunk = g_malloc(READ_CHUNK);
    ssize_t n;
    do {
        n = ops->pread(ops, fd, chunk, READ_CHUNK, all->len);
        if (n > 0) {
            g_byte_array_append(all, chunk, (guint)n);
        }
    } while (n == READ_CHUNK && all->len <= max);
    ops->close(ops, fd);
    if (n < 0) {
        return (int)n;
    }
    if (all->len > max) {
        return -EFBIG;
    }
    *out_size = all->len;
    g_byte_array_append(all, (const guint8 *)"", 1);
    *out_data = (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
    return 0;
}

int file_ops_write(const FileOps *ops, const char *path, const void *data, size_t size)
{
    int fd = ops->open(ops, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        return fd;
    }
    int err = ops->pwrite(ops, fd, data, size, 0);
    int close_err = ops->close(ops, fd);
    return err < 0 ? err : close_err;
}

int file_ops_mkdir_all(const FileOps *ops, const char *path)
{
    int err = ops->mkdir(ops, path);
    if (err != -ENOENT) {
        return err;
    }
    g_autofree char *parent = g_path_get_dirname(path);
    err = strcmp(parent, path) == 0 ? -ENOENT : file_ops_mkdir_all(ops, parent);
    if (err < 0) {
        return err;
    }
    err = ops->mkdir(ops, path);
    return err < 0 ? err : ops->sync_dir(ops, parent);
}
