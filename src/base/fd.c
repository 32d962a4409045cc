/* Whole reads and writes on descriptors.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Waits while @fd would block. True: try the call again; errno is what the call left. */
static int may_retry(int fd, short events)
{
    if (errno == EINTR) {
        return 1;
    }
    if (errno != EAGAIN) {
        return 0;
    }
    struct pollfd p = { .fd = fd, .events = events };
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

ssize_t fd_pread_full(int fd, void *buf, size_t count, off_t offset)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = pread(fd, (char *)buf + done, count - done, offset + (off_t)done);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            done += (size_t)n;
        } else if (!may_retry(fd, POLLIN)) {
            return -errno;
        }
    }
    return (ssize_t)done;
}

int fd_pwrite_full(int fd, const void *buf, size_t count, off_t offset)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = pwrite(fd, (const char *)buf + done, count - done, offset + (off_t)done);
        if (n == 0) {
            return -EIO;
        }
        if (n > 0) {
            done += (size_t)n;
        } else if (!may_retry(fd, POLLOUT)) {
            return -errno;
        }
    }
    return 0;
}

ssize_t fd_read_full(int fd, void *buf, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = read(fd, (char *)buf + done, count - done);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            done += (size_t)n;
        } else if (!may_retry(fd, POLLIN)) {
            return -errno;
        }
    }
    return (ssize_t)done;
}

int fd_write_full(int fd, const void *buf, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = write(fd, (const char *)buf + done, count - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (!may_retry(fd, POLLOUT)) {
            return -errno;
        }
    }
    return 0;
}

int fd_set_nonblocking(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0) {
        return -errno;
    }
    return 0;
}

/* The N of "/proc/self/fd/N", or -1. */
static int named_descriptor(const char *path)
{
    static const char prefix[] = "/proc/self/fd/";
    if (strncmp(path, prefix, sizeof(prefix) - 1) != 0) {
        return -1;
    }
    const char *digits = path + sizeof(prefix) - 1;
    char *end;
    long fd = strtol(digits, &end, 10);
    bool is_number = *digits >= '0' && *digits <= '9' && !*end;
    return is_number && fd <= INT_MAX ? (int)fd : -1;
}

static int duplicate(int fd, int flags)
{
    const int adjustable = O_APPEND | O_DIRECT | O_NONBLOCK;
    int present = fcntl(fd, F_GETFL);
    if (present < 0) {
        return -errno;
    }
    int has = present & O_ACCMODE;
    if (has != O_RDWR && has != (flags & O_ACCMODE)) {
        return -EACCES;
    }
    int copy = fcntl(fd, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    if (copy < 0) {
        return -errno;
    }
    if ((present ^ flags) & adjustable &&
        fcntl(copy, F_SETFL, (present & ~adjustable) | (flags & adjustable)) < 0) {
        int r = -errno;
        close(copy);
        return r;
    }
    return copy;
}

int fd_open(const char *path, int flags, mode_t mode)
{
    int named = named_descriptor(path);
    if (named >= 0) {
        return duplicate(named, flags);
    }
    int fd = open(path, flags, mode);
    return fd < 0 ? -errno : fd;
}

bool fd_is_same_path(const char *a, const char *b)
{
    struct stat of_a, of_b;
    return a && b &&
           (strcmp(a, b) == 0 || (stat(a, &of_a) == 0 && stat(b, &of_b) == 0 &&
                                  of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino));
}

int fd_copy(int from, int to, off_t most)
{
    char buffer[16384];
    for (off_t done = 0;;) {
        ssize_t n = fd_read_full(from, buffer, sizeof(buffer));
        if (n <= 0) {
            return (int)n;
        }
        done += n;
        int rc = done > most ? -EFBIG : fd_write_full(to, buffer, (size_t)n);
        if (rc < 0) {
            return rc;
        }
    }
}

int fd_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}
