/* Files by descriptor and by path: whole reads and writes, and what files are.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_FD_H
#define LODGE_BASE_FD_H

#include "base/compiler.h"

#include <stdbool.h>
#include <sys/types.h>

/**
 * fd_pread_full - read until @count bytes or the end of the file
 *
 * Interrupted calls go on. Returns: bytes read (less than @count only at the end of the file), or
 * -errno.
 */
ssize_t fd_pread_full(int fd, void *buf, size_t count, off_t offset) LODGE_MUST_CHECK;

/* Returns: 0 when all @count bytes are written, or -errno (-EIO when the file takes no more). */
int fd_pwrite_full(int fd, const void *buf, size_t count, off_t offset) LODGE_MUST_CHECK;

/* As fd_pread_full(), at the descriptor's own position; for pipes and sockets too. */
ssize_t fd_read_full(int fd, void *buf, size_t count) LODGE_MUST_CHECK;

/* As fd_pwrite_full(), at the descriptor's own position; a non-blocking descriptor is waited for.
 */
int fd_write_full(int fd, const void *buf, size_t count) LODGE_MUST_CHECK;

/**
 * fd_open - open(2), where a path may name a descriptor of this process
 * @path: "/proc/self/fd/N" gives a duplicate of descriptor N, so that a file is usable which the
 *        process could not open by itself; everything else is opened
 *
 * Of @flags a duplicate heeds O_CLOEXEC, O_APPEND, O_DIRECT and O_NONBLOCK, which hold for all
 * duplicates of one description, and the access mode, which the descriptor must allow (-EACCES).
 * Returns: the descriptor or -errno.
 */
int fd_open(const char *path, int flags, mode_t mode) LODGE_MUST_CHECK;

/* Whether both paths name one file, by other names too; NULL names none. */
bool fd_is_same_path(const char *a, const char *b);

/* Copies @from, from its position to its end, to @to. Returns: 0, -EFBIG when there are more than
 * @most bytes, or -errno. */
int fd_copy(int from, int to, off_t most) LODGE_MUST_CHECK;

/* Brings the names in the folder @path to disk. Returns: 0 or -errno. */
int fd_sync_folder(const char *path) LODGE_MUST_CHECK;

/* Returns: 0 or -errno. */
int fd_set_nonblocking(int fd, int on) LODGE_MUST_CHECK;

#endif
