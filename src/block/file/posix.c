/* Files and block devices of the host.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LARGE_WRITE_BYTES MIB

typedef struct PosixFile {
    File base;
    int fd;
    bool ignores_flush, is_direct;
    bool wants_blocks;        /* large writes into the page cache get their blocks first */
    _Atomic(int) flush_error; /* of the first flush that failed: all later ones fail too, as the
                                 kernel may have dropped what it could not write */
    _Atomic(bool) has_no_zero, has_no_punch;
} PosixFile;

static PosixFile *posix_of(File *file)
{
    return (PosixFile *)file;
}

static ssize_t posix_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    ssize_t done = preadv(posix_of(file)->fd, iov, (int)count, (off_t)offset);
    return done < 0 ? -errno : done;
}

/* ext4 takes a large write by 2/3 of the time where its blocks are there already (measured; xfs,
 * btrfs and tmpfs gain nothing). Where it fails the write itself tells why. */
static void allocate_first(const PosixFile *posix, const struct iovec *iov, unsigned count,
                           uint64_t offset)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    if (posix->wants_blocks && bytes >= LARGE_WRITE_BYTES) {
        (void)!fallocate(posix->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
    }
}

static ssize_t posix_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    allocate_first(posix_of(file), iov, count, offset);
    ssize_t done = pwritev(posix_of(file)->fd, iov, (int)count, (off_t)offset);
    return done < 0 ? -errno : done;
}

static int posix_flush(File *file)
{
    PosixFile *posix = posix_of(file);
    int rc = atomic_load(&posix->flush_error);
    if (rc < 0 || posix->ignores_flush) {
        return rc;
    }
    while (fdatasync(posix->fd) < 0) {
        if (errno != EINTR) {
            rc = -errno;
            if (!posix->is_direct) {
                atomic_store(&posix->flush_error, rc);
            }
            break;
        }
    }
    return rc;
}

static int posix_truncate(File *file, uint64_t size)
{
    return ftruncate(posix_of(file)->fd, (off_t)size) < 0 ? -errno : 0;
}

static int do_fallocate(const PosixFile *posix, int mode, uint64_t offset, uint64_t length)
{
    while (fallocate(posix->fd, mode, (off_t)offset, (off_t)length) < 0) {
        if (errno != EINTR) {
            return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV ? -ENOTSUP : -errno;
        }
    }
    return 0;
}

static int posix_allocate(File *file, uint64_t offset, uint64_t length)
{
    return do_fallocate(posix_of(file), 0, offset, length);
}

static int posix_size(File *file, uint64_t *out_size)
{
    PosixFile *posix = posix_of(file);
    struct stat st;
    if (file->is_block_device) {
        return ioctl(posix->fd, BLKGETSIZE64, out_size) < 0 ? -errno : 0;
    }
    if (fstat(posix->fd, &st) < 0) {
        return -errno;
    }
    *out_size = (uint64_t)st.st_size;
    return 0;
}

/* Zeroes past the end of a file: it is lengthened. */
static int extend(File *file, uint64_t end)
{
    uint64_t size;
    int rc = posix_size(file, &size);
    return rc < 0 || size >= end ? rc : posix_truncate(file, end);
}

static int zero_device(PosixFile *posix, uint64_t offset, uint64_t length)
{
    uint64_t range[2] = { offset, length };
    if ((offset | length) % 512) {
        return -ENOTSUP;
    }
    if (ioctl(posix->fd, BLKZEROOUT, range) == 0) {
        return 0;
    }
    return errno == ENOTTY || errno == EOPNOTSUPP || errno == EINVAL ? -ENOTSUP : -errno;
}

static int posix_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    PosixFile *posix = posix_of(file);
    int rc = -ENOTSUP;
    if (file->is_block_device) {
        return zero_device(posix, offset, length);
    }
    if ((flags & FILE_ZERO_MAY_PUNCH) && !atomic_load(&posix->has_no_punch)) {
        rc = do_fallocate(posix, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
        atomic_store(&posix->has_no_punch, rc == -ENOTSUP);
        if (rc == 0) {
            return extend(file, offset + length);
        }
    }
    if (rc == -ENOTSUP && !atomic_load(&posix->has_no_zero)) {
        rc = do_fallocate(posix, FALLOC_FL_ZERO_RANGE, offset, length);
        atomic_store(&posix->has_no_zero, rc == -ENOTSUP);
    }
    return rc;
}

static int posix_discard(File *file, uint64_t offset, uint64_t length)
{
    PosixFile *posix = posix_of(file);
    if (file->is_block_device) {
        uint64_t from = round_up(offset, 512), to = round_down(offset + length, 512);
        uint64_t range[2] = { from, to - from };
        if (from >= to || ioctl(posix->fd, BLKDISCARD, range) == 0) {
            return 0;
        }
        return errno == ENOTTY || errno == EOPNOTSUPP ? -ENOTSUP : -errno;
    }
    return do_fallocate(posix, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

static int posix_extent(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                        uint64_t *out_length)
{
    PosixFile *posix = posix_of(file);
    *out_kind = FILE_EXTENT_DATA;
    *out_length = length;
    if (file->is_block_device) {
        return 0;
    }
    off_t data = lseek(posix->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        *out_kind = FILE_EXTENT_HOLE;
        return 0;
    }
    if (data < 0) {
        return 0; /* a file system that cannot tell: all is data */
    }
    if ((uint64_t)data > offset) {
        *out_kind = FILE_EXTENT_HOLE;
        *out_length = min_u64(length, (uint64_t)data - offset);
        return 0;
    }
    off_t hole = lseek(posix->fd, (off_t)offset, SEEK_HOLE);
    if (hole > (off_t)offset) {
        *out_length = min_u64(length, (uint64_t)hole - offset);
    }
    return 0;
}

static int posix_disk_usage(File *file, uint64_t *out_bytes)
{
    struct stat st;
    if (fstat(posix_of(file)->fd, &st) < 0) {
        return -errno;
    }
    *out_bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

static void posix_close(File *file)
{
    close(posix_of(file)->fd);
    file_done(file);
    free(file);
}

static const FileOps posix_ops = {
    .name = "posix",
    .preadv = posix_preadv,
    .pwritev = posix_pwritev,
    .flush = posix_flush,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .zero = posix_zero,
    .discard = posix_discard,
    .extent = posix_extent,
    .size = posix_size,
    .disk_usage = posix_disk_usage,
    .close = posix_close,
};

/* What direct I/O needs, found by trying: 512 bytes where the device takes them. */
static unsigned direct_alignment(int fd)
{
    void *memory;
    unsigned alignment = 4096;
    if (posix_memalign(&memory, 4096, 8192) == 0) {
        if (pread(fd, (char *)memory + 512, 512, 0) >= 0) {
            alignment = 512;
        }
        free(memory);
    }
    return alignment;
}

static bool is_on_ext4(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
}

int file_posix_new(int fd, const FilePosixOptions *options, File **out_file)
{
    struct stat st;
    PosixFile *posix = calloc(1, sizeof(*posix));
    int rc = posix ? 0 : -ENOMEM;
    if (rc == 0 && fstat(fd, &st) < 0) {
        rc = -errno;
    }
    if (rc == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        rc = -EINVAL;
    }
    if (rc < 0) {
        free(posix);
        close(fd);
        return rc;
    }
    file_init(&posix->base, &posix_ops);
    posix->base.alignment = options->is_direct ? direct_alignment(fd) : 1;
    posix->base.is_block_device = S_ISBLK(st.st_mode);
    posix->fd = fd;
    posix->ignores_flush = options->ignores_flush;
    posix->is_direct = options->is_direct;
    posix->wants_blocks = !options->is_direct && is_on_ext4(fd);
    *out_file = &posix->base;
    return 0;
}

int file_posix_fd(const File *file)
{
    return file->ops == &posix_ops ? ((const PosixFile *)file)->fd : -1;
}
