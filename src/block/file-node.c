/* The protocols "file" (files and block devices of the host) and "host_device" (block devices
 * alone), locked as QEMU locks them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/fd.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/lock.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static File *file_of(const BlockNode *node)
{
    return node->state;
}

/* Without a choice of the user's, too: it costs less of the processor in every case measured
 * (docs/figures.md). */
static bool wants_ring(unsigned flags)
{
    return !(flags & BLOCK_OPEN_THREADS);
}

/* What is locked as soon as the file is open; who is above says the rest (graph.h,
 * block_node_add_access()). */
static unsigned first_access(unsigned flags)
{
    if (flags & (BLOCK_OPEN_BY_USERS | BLOCK_OPEN_UNLOCKED)) {
        return 0;
    }
    return BLOCK_ACCESS_READ | (flags & BLOCK_OPEN_WRITABLE ? BLOCK_ACCESS_WRITE : 0);
}

static File *open_fd(const char *path, unsigned flags, unsigned access, GError **error)
{
    bool is_writable = flags & BLOCK_OPEN_WRITABLE;
    FilePosixOptions options = {
        .is_writable = is_writable,
        .is_direct = flags & BLOCK_OPEN_DIRECT,
        .ignores_flush = flags & BLOCK_OPEN_NO_FLUSH,
    };
    File *file = NULL;
    if (flags & BLOCK_OPEN_NATIVE && !options.is_direct) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'%s': aio=native was specified, but it requires cache.direct=on (cache=none "
                    "or directsync), which was not specified",
                    path);
        return NULL;
    }
    int mode = (is_writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = fd_open(path, mode | (options.is_direct ? O_DIRECT : 0), 0);
    if (fd == -EINVAL && options.is_direct) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Could not open '%s': its file system does not support O_DIRECT; use another "
                    "cache mode than none and directsync",
                    path);
        return NULL;
    }
    if (fd < 0) {
        lodge_error_set_errno(error, -fd, "Could not open '%s'", path);
        return NULL;
    }
    if (access && !block_change_locks(fd, path, 0, access, error)) {
        close(fd);
        return NULL;
    }
    int rc = file_posix_new(fd, &options, &file);
    if (rc == -EINVAL) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Could not open '%s': it is neither a regular file nor a block device", path);
    } else if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not open '%s'", path);
    } else {
        file->uses_ring = wants_ring(flags);
    }
    return file;
}

static bool set_size(BlockNode *node, GError **error)
{
    int rc = file_size(file_of(node), &node->size);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not get the size of '%s'", node->filename);
    }
    return rc == 0;
}

static bool is_of_driver(const BlockNode *node, GError **error)
{
    if (node->driver != &block_driver_host_device || file_of(node)->is_block_device) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                "'%s' driver requires '%s' to be a block device; the driver 'file' opens files",
                node->driver->name, node->filename);
    return false;
}

static bool open_node(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    const char *path = block_spec_get(spec, "filename");
    if (!path || !*path) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "The '%s' driver needs 'filename'",
                    node->driver->name);
        return false;
    }
    g_free(node->filename);
    node->filename = g_strdup(path);
    node->access = first_access(flags);
    node->state = open_fd(path, flags, node->access, error);
    if (!node->state) {
        return false;
    }
    if (!is_of_driver(node, error) || !set_size(node, error)) {
        file_close(file_of(node));
        node->state = NULL;
        return false;
    }
    return true;
}

static bool is_same_file(int fd, int other)
{
    struct stat one, two;
    return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

/* @node's file once more, locked for @access as well as @fd, which holds that. */
static File *open_beside(const BlockNode *node, int fd, unsigned flags, unsigned access,
                         GError **error)
{
    File *after = open_fd(node->filename, flags, 0, error);
    if (!after) {
        return NULL;
    }
    if (!is_same_file(fd, file_posix_fd(after))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "'%s' is another file by now than the one that is in use", node->filename);
        file_close(after);
        return NULL;
    }
    int rc = block_copy_locks(file_posix_fd(after), access);
    if (rc < 0) {
        log_warn("image '%s' cannot be locked: %s", node->filename, g_strerror(-rc));
    }
    return after;
}

/* An open description keeps its access mode: it is exchanged for a fresh one. The file is locked at
 * every moment. */
static bool reopen_node(BlockNode *node, unsigned flags, GError **error)
{
    const unsigned changes = BLOCK_ACCESS_WRITE | BLOCK_ACCESS_RESIZE;
    const unsigned of_format = BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE;
    File *before = file_of(node);
    int fd = file_posix_fd(before);
    unsigned access = node->access;
    if (fd < 0) {
        return true;
    }
    if (access) {
        /* Who has the file alone, a format, changes its size. */
        access = !(flags & BLOCK_OPEN_WRITABLE)      ? access & ~changes
                 : (access & of_format) == of_format ? access | changes
                                                     : access | BLOCK_ACCESS_WRITE;
    }
    if (!block_change_locks(fd, node->filename, node->access, node->access | access, error)) {
        return false;
    }
    File *after = open_beside(node, fd, flags, access, error);
    if (!after) {
        (void)block_change_locks(fd, node->filename, node->access | access, node->access, NULL);
        return false;
    }
    file_close(before);
    node->state = after;
    node->access = access;
    return true;
}

static bool set_access(BlockNode *node, unsigned access, GError **error)
{
    int fd = file_posix_fd(file_of(node));
    if (fd < 0 || node->flags & BLOCK_OPEN_UNLOCKED) {
        return true;
    }
    if (node->flags & BLOCK_OPEN_SHARED) {
        access &= ~(unsigned)(BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE | BLOCK_ACCESS_HIDDEN);
    }
    if (access != node->access &&
        !block_change_locks(fd, node->filename, node->access, access, error)) {
        return false;
    }
    node->access = access;
    return true;
}

static int close_node(BlockNode *node)
{
    file_close(file_of(node));
    return 0;
}

static unsigned slice(const BlockVec *vec, uint64_t skip, uint64_t length, struct iovec *parts)
{
    unsigned count = 0;
    for (unsigned i = 0; i < vec->count && length > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        size_t part = min_u64(vec->iov[i].iov_len - skip, length);
        parts[count++] = (struct iovec){ (char *)vec->iov[i].iov_base + skip, part };
        length -= part;
        skip = 0;
    }
    return count;
}

static int transfer(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip, bool is_write)
{
    struct iovec few[16];
    g_autofree struct iovec *many = NULL;
    struct iovec *parts = few;
    if (vec->count > G_N_ELEMENTS(few)) {
        parts = many = g_try_new(struct iovec, vec->count);
        if (!many) {
            return -ENOMEM;
        }
    }
    unsigned count = slice(vec, skip, length, parts);
    return is_write ? file_writev(file_of(node), offset, parts, count)
                    : file_readv(file_of(node), offset, parts, count);
}

static int read_node(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    return transfer(node, offset, length, vec, skip, false);
}

static int write_node(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    return transfer(node, offset, length, vec, skip, true);
}

static bool place_node(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                       BlockPlace *place)
{
    place->file = file_of(node);
    place->offset = offset;
    return place->file->uses_ring;
}

static int zero_node(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    bool may_punch = (flags & BLOCK_IO_MAY_UNMAP) && (node->flags & BLOCK_OPEN_DISCARD);
    File *file = file_of(node);
    return file->ops->zero(file, offset, length, may_punch ? FILE_ZERO_MAY_PUNCH : 0);
}

static int discard_node(BlockNode *node, uint64_t offset, uint64_t length)
{
    File *file = file_of(node);
    if (!(node->flags & BLOCK_OPEN_DISCARD)) {
        return 0;
    }
    int rc = file->ops->discard(file, offset, length);
    __atomic_add_fetch(rc < 0 ? &node->discards.failed : &node->discards.done, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&node->discards.bytes, rc < 0 ? 0 : length, __ATOMIC_RELAXED);
    return rc == -ENOTSUP ? 0 : rc;
}

static int flush_node(BlockNode *node)
{
    return file_flush(file_of(node));
}

static int status_node(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    FileExtentKind kind;
    File *file = file_of(node);
    int rc = file->ops->extent(file, offset, length, &kind, &out_status->length);
    out_status->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                        (kind == FILE_EXTENT_HOLE ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA);
    out_status->offset = offset;
    return rc;
}

/* A device has the size it has, which its owner may have changed: a logical volume. A larger one
 * than asked for will do. */
static bool follow_device(BlockNode *node, uint64_t size, GError **error)
{
    uint64_t there;
    int rc = file_size(file_of(node), &there);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not get the size of '%s'", node->filename);
        return false;
    }
    if (size > there) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Cannot grow device files: '%s' has %" G_GUINT64_FORMAT " bytes",
                    node->filename, there);
        return false;
    }
    node->size = there;
    return true;
}

static bool change_size(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                        GError **error)
{
    File *file = file_of(node);
    uint64_t old = node->size;
    int rc = 0;
    if (file->is_block_device) {
        return follow_device(node, size, error);
    }
    rc = file_truncate(file, size);
    if (rc == 0 && size > old && preallocation == BLOCK_PREALLOCATION_FALLOC) {
        rc = file->ops->allocate(file, old, size - old);
    } else if (rc == 0 && size > old && preallocation == BLOCK_PREALLOCATION_FULL) {
        rc = file->ops->allocate(file, old, size - old);
        rc = rc == -ENOTSUP ? 0 : rc;
        g_autofree uint8_t *zeroes = g_malloc0(1 << 20);
        for (uint64_t at = old; at < size && rc == 0; at += 1 << 20) {
            rc = file_write(file, at, zeroes, min_u64(size - at, 1 << 20));
        }
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not resize '%s'", node->filename);
        if (size > old) {
            (void)!file_truncate(file, old);
        }
        return false;
    }
    node->size = size;
    return true;
}

/* Those who rely on the size are asked. */
static bool truncate_node(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                          GError **error)
{
    unsigned held = node->access;
    if (held && !set_access(node, held | BLOCK_ACCESS_RESIZE, error)) {
        return false;
    }
    bool ok = change_size(node, size, preallocation, error);
    if (held) {
        (void)set_access(node, held, NULL);
    }
    return ok;
}

static int disk_usage_node(BlockNode *node, uint64_t *out_bytes)
{
    return file_of(node)->ops->disk_usage(file_of(node), out_bytes);
}

static unsigned granularity(const BlockNode *node)
{
    return MAX(file_of(node)->alignment, 512);
}

#define FILE_DRIVER                                                                                \
    .is_protocol = true, .open = open_node, .reopen = reopen_node, .set_access = set_access,       \
    .close = close_node, .read = read_node, .write = write_node, .place = place_node,              \
    .write_zeroes = zero_node, .discard = discard_node, .flush = flush_node,                       \
    .status = status_node, .truncate = truncate_node, .disk_usage = disk_usage_node,               \
    .granularity = granularity

const BlockDriver block_driver_file = { .name = "file", FILE_DRIVER };
const BlockDriver block_driver_host_device = { .name = "host_device", FILE_DRIVER };

bool block_driver_is_file(const BlockDriver *driver)
{
    return driver == &block_driver_file || driver == &block_driver_host_device;
}

bool block_node_get_discards(const BlockNode *node, BlockDiscards *out_discards)
{
    if (!block_driver_is_file(node->driver)) {
        return false;
    }
    *out_discards = (BlockDiscards){
        .done = __atomic_load_n(&node->discards.done, __ATOMIC_RELAXED),
        .failed = __atomic_load_n(&node->discards.failed, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&node->discards.bytes, __ATOMIC_RELAXED),
    };
    return true;
}

File *block_node_below_file(const BlockNode *node)
{
    const BlockNode *file = node->file;
    return file && block_driver_is_file(file->driver) ? file_of(file) : NULL;
}

BlockNode *block_file_node(File *file, const char *name, unsigned flags, GError **error)
{
    BlockNode *node = block_node_new(&block_driver_file, name, flags);
    node->state = file;
    if (!set_size(node, error)) {
        block_node_free(node);
        return NULL;
    }
    return node;
}

File *block_file_create(const char *filename, bool *out_is_new, GError **error)
{
    *out_is_new = true;
    int fd = fd_open(filename, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd == -EEXIST) {
        *out_is_new = false;
        fd = fd_open(filename, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    }
    if (fd < 0) {
        lodge_error_set_errno(error, -fd, "Could not create '%s'", filename);
        return NULL;
    }
    File *file = NULL;
    const unsigned access = BLOCK_ACCESS_READ | BLOCK_ACCESS_WRITE | BLOCK_ACCESS_ALONE |
                            BLOCK_ACCESS_RESIZE | BLOCK_ACCESS_SIZE;
    if (!block_change_locks(fd, filename, 0, access, error)) {
        close(fd);
        return NULL;
    }
    FilePosixOptions options = { .is_writable = true };
    int rc = file_posix_new(fd, &options, &file);
    if (rc == 0 && !file->is_block_device) {
        rc = file_truncate(file, 0);
    }
    if (rc < 0) {
        file_close(file);
        lodge_error_set_errno(error, rc, "Could not create '%s'", filename);
        return NULL;
    }
    return file;
}

/* Other file systems than btrfs refuse: they do not copy on write, or cannot do without. */
static void set_nocow(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        (void)!ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

static int set_extent_hint(int fd, uint64_t bytes)
{
    struct fsxattr attributes;
    if (bytes > UINT32_MAX) {
        return -EINVAL;
    }
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0) {
        return -errno;
    }
    attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attributes.fsx_extsize = (uint32_t)bytes;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

bool block_file_prepare(File *file, const char *filename, const BlockSpec *options, GError **error)
{
    bool has_no_cow = false;
    uint64_t hint = 0;
    int fd = file_posix_fd(file);
    if (!block_spec_get_bool(options, "nocow", &has_no_cow, error) ||
        !block_spec_get_size(options, "extent_size_hint", &hint, error)) {
        return false;
    }
    if (fd >= 0 && has_no_cow) {
        set_nocow(fd);
    }
    int rc = fd >= 0 && hint ? set_extent_hint(fd, hint) : 0;
    if (rc < 0) {
        log_warn("cannot set the extent size hint of '%s': %s", filename, g_strerror(-rc));
    }
    return true;
}

void block_file_remove(const char *filename)
{
    (void)!unlink(filename);
}
