/* Execution of requests on raw images.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/raw-io.h"

#include "base/cleanup.h"
#include "base/int-math.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BOUNCE_BYTES (1 * MIB)

typedef struct IovCursor {
    struct iovec *iov;
    unsigned count;
} IovCursor;

static void advance(IovCursor *cursor, size_t bytes)
{
    while (cursor->count && bytes >= cursor->iov->iov_len) {
        bytes -= cursor->iov->iov_len;
        cursor->iov++;
        cursor->count--;
    }
    if (cursor->count) {
        cursor->iov->iov_base = (char *)cursor->iov->iov_base + bytes;
        cursor->iov->iov_len -= bytes;
    }
}

static void zero_rest(IovCursor *cursor)
{
    for (unsigned i = 0; i < cursor->count; i++) {
        memset(cursor->iov[i].iov_base, 0, cursor->iov[i].iov_len);
    }
}

/* Copies between the vector and @buf, at most @bytes; returns how many. */
static size_t gather(const IovCursor *cursor, uint8_t *buf, size_t bytes, bool to_vector)
{
    size_t copied = 0;
    for (unsigned i = 0; i < cursor->count && copied < bytes; i++) {
        size_t part = min_u64(cursor->iov[i].iov_len, bytes - copied);
        if (to_vector) {
            memcpy(cursor->iov[i].iov_base, buf + copied, part);
        } else {
            memcpy(buf + copied, cursor->iov[i].iov_base, part);
        }
        copied += part;
    }
    return copied;
}

static bool is_aligned(const RawImage *image, const struct iovec *iov, unsigned count)
{
    uintptr_t bits = 0;
    for (unsigned i = 0; i < count; i++) {
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    }
    return !image->is_direct || bits % image->alignment == 0;
}

static ssize_t transfer_once(const RawImage *image, const IovCursor *cursor, uint64_t offset,
                             bool is_write)
{
    int count = (int)min_u64(cursor->count, IOV_MAX);
    return is_write ? pwritev(image->fd, cursor->iov, count, (off_t)offset)
                    : preadv(image->fd, cursor->iov, count, (off_t)offset);
}

static int transfer(RawImage *image, IovCursor cursor, uint64_t offset, bool is_write)
{
    advance(&cursor, 0);
    while (cursor.count) {
        ssize_t done = transfer_once(image, &cursor, offset, is_write);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return -errno;
        }
        if (done == 0 && is_write) {
            return -EIO;
        }
        if (done == 0) {
            zero_rest(&cursor);
            return 0;
        }
        advance(&cursor, (size_t)done);
        offset += (uint64_t)done;
        if (!is_write && image->is_direct && (size_t)done % image->alignment) {
            zero_rest(&cursor); /* the file ends inside a sector */
            return 0;
        }
    }
    return 0;
}

/* Direct I/O from memory that is not aligned for it. */
static int transfer_bounced(RawImage *image, IovCursor cursor, uint64_t offset, bool is_write)
{
    void *memory;
    if (posix_memalign(&memory, 4096, BOUNCE_BYTES)) {
        return -ENOMEM;
    }
    autofree uint8_t *buf = memory;
    advance(&cursor, 0);
    while (cursor.count) {
        size_t total = 0;
        for (unsigned i = 0; i < cursor.count && total < BOUNCE_BYTES; i++) {
            total += min_u64(cursor.iov[i].iov_len, BOUNCE_BYTES - total);
        }
        if (is_write) {
            gather(&cursor, buf, total, false);
        }
        struct iovec whole = { .iov_base = buf, .iov_len = total };
        int rc = transfer(image, (IovCursor){ &whole, 1 }, offset, is_write);
        if (rc < 0) {
            return rc;
        }
        if (!is_write) {
            gather(&cursor, buf, total, true);
        }
        advance(&cursor, total);
        offset += total;
    }
    return 0;
}

static int read_or_write(RawImage *image, struct iovec *iov, unsigned count, uint64_t offset,
                         bool is_write)
{
    IovCursor cursor = { iov, count };
    return is_aligned(image, iov, count) ? transfer(image, cursor, offset, is_write)
                                         : transfer_bounced(image, cursor, offset, is_write);
}

int raw_read(RawImage *image, struct iovec *iov, unsigned iov_count, uint64_t offset)
{
    return read_or_write(image, iov, iov_count, offset, false);
}

int raw_write(RawImage *image, struct iovec *iov, unsigned iov_count, uint64_t offset)
{
    return read_or_write(image, iov, iov_count, offset, true);
}

int raw_flush(RawImage *image)
{
    if (image->flush_error) {
        return image->flush_error;
    }
    if (fdatasync(image->fd) < 0) {
        image->flush_error = -errno;
    }
    return image->flush_error;
}

static int file_allocate(const RawImage *image, int mode, uint64_t offset, uint64_t length)
{
    while (fallocate(image->fd, mode, (off_t)offset, (off_t)length) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int device_ioctl(const RawImage *image, unsigned long request, uint64_t offset,
                        uint64_t length)
{
    uint64_t range[2] = { offset, length };
    return ioctl(image->fd, request, range) < 0 ? -errno : 0;
}

static bool is_unsupported(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOTTY || rc == -ENOSYS || rc == -EINVAL;
}

int raw_discard(RawImage *image, uint64_t offset, uint64_t length)
{
    int rc = image->is_block_device
                 ? device_ioctl(image, BLKDISCARD, offset, length)
                 : file_allocate(image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    return is_unsupported(rc) ? 0 : rc;
}

static int write_zero_bytes(RawImage *image, uint64_t offset, uint64_t length)
{
    void *memory;
    if (posix_memalign(&memory, 4096, BOUNCE_BYTES)) {
        return -ENOMEM;
    }
    autofree uint8_t *zeroes = memory;
    memset(zeroes, 0, BOUNCE_BYTES);
    int rc = 0;
    while (rc == 0 && length) {
        struct iovec iov = { .iov_base = zeroes, .iov_len = min_u64(length, BOUNCE_BYTES) };
        size_t part = iov.iov_len;
        rc = raw_write(image, &iov, 1, offset);
        offset += part;
        length -= part;
    }
    return rc;
}

int raw_write_zeroes(RawImage *image, uint64_t offset, uint64_t length, bool may_unmap)
{
    int rc;
    if (image->is_block_device) {
        rc = device_ioctl(image, BLKZEROOUT, offset, length);
    } else if (may_unmap) {
        rc = file_allocate(image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    } else {
        rc = file_allocate(image, FALLOC_FL_ZERO_RANGE, offset, length);
    }
    return is_unsupported(rc) ? write_zero_bytes(image, offset, length) : rc;
}
