/* The system calls of the state store, as a table: so that tests can cut the power between any two
 * of them and make any of them fail. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STATE_FILE_OPS_H
#define LODGE_DAEMON_STATE_FILE_OPS_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct FileOps FileOps;

/* Paths are absolute. All return >= 0 or -errno. The last part of a path is never followed when it
 * is a symbolic link. Context: any thread. */
struct FileOps {
    int (*open)(const FileOps *ops, const char *path, int flags, mode_t mode);
    ssize_t (*pread)(const FileOps *ops, int fd, void *buf, size_t count, int64_t offset);
    /* All of @count or an error. */
    int (*pwrite)(const FileOps *ops, int fd, const void *buf, size_t count, int64_t offset);
    int (*sync)(const FileOps *ops, int fd); /* data and what is needed to read it */
    int (*close)(const FileOps *ops, int fd);
    int (*rename)(const FileOps *ops, const char *from, const char *to);
    int (*unlink)(const FileOps *ops, const char *path);
    int (*symlink)(const FileOps *ops, const char *target, const char *path);
    int (*mkdir)(const FileOps *ops, const char *path);    /* 0 when it is there; mode 0700 */
    int (*sync_dir)(const FileOps *ops, const char *path); /* names in it */
    int (*sync_all)(const FileOps *ops, const char *path); /* the file system it is on */
    /* Appends the names in a folder (char *, transfer full), without "." and "..". */
    int (*list)(const FileOps *ops, const char *path, GPtrArray *names);
    void *opaque;
};

/* The real ones. */
extern const FileOps file_ops_posix;

/**
 * file_ops_read - a whole file
 * @max:      bytes at most
 * @out_data: (transfer full) with a NUL byte after @out_size bytes
 *
 * Returns: 0, -EFBIG past @max, or another -errno.
 */
int file_ops_read(const FileOps *ops, const char *path, size_t max, char **out_data,
                  size_t *out_size);

/* Writes a file anew, without making it durable. Returns: 0 or -errno; then what it holds is open.
 */
int file_ops_write(const FileOps *ops, const char *path, const void *data, size_t size);

/* mkdir of @path and of all that is missing above it. */
int file_ops_mkdir_all(const FileOps *ops, const char *path);

#endif
