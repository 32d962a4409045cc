/* Files: whole reads and writes over any kind of file.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/file/file.h"

#include "base/cleanup.h"
#include "base/int-math.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void file_init(File *file, const FileOps *ops)
{
    file->ops = ops;
    file->alignment = 1;
    file->is_block_device = false;
    file->uses_ring = false;
    pthread_mutex_init(&file->edge_lock, NULL);
}

void file_done(File *file)
{
    pthread_mutex_destroy(&file->edge_lock);
}

#define PARTS_MAX 1024u /* of a vector at once: IOV_MAX of Linux */
#define BOUNCE_BYTES (1u << 20)

/* A walk through a vector that stays as it is: the parts are copied a batch at a time. */
typedef struct Walk {
    const struct iovec *iov;
    unsigned count;
    size_t skip; /* bytes of iov[0] that are done */
} Walk;

static void walk_on(Walk *walk, size_t bytes)
{
    walk->skip += bytes;
    while (walk->count && walk->skip >= walk->iov->iov_len) {
        walk->skip -= walk->iov->iov_len;
        walk->iov++;
        walk->count--;
    }
}

static unsigned walk_batch(const Walk *walk, struct iovec *parts, unsigned most)
{
    unsigned count = (unsigned)min_u64(walk->count, most);
    memcpy(parts, walk->iov, count * sizeof(*parts));
    if (count) {
        parts[0].iov_base = (char *)parts[0].iov_base + walk->skip;
        parts[0].iov_len -= walk->skip;
    }
    return count;
}

static size_t walk_copy(const Walk *walk, uint8_t *buf, size_t most, bool to_vector)
{
    size_t done = 0, skip = walk->skip;
    for (unsigned i = 0; i < walk->count && done < most; i++) {
        size_t part = min_u64(walk->iov[i].iov_len - skip, most - done);
        uint8_t *memory = (uint8_t *)walk->iov[i].iov_base + skip;
        if (to_vector) {
            memcpy(memory, buf + done, part);
        } else {
            memcpy(buf + done, memory, part);
        }
        done += part;
        skip = 0;
    }
    return done;
}

static void walk_zero(Walk *walk)
{
    for (unsigned i = 0; i < walk->count; i++) {
        size_t skip = i == 0 ? walk->skip : 0;
        memset((char *)walk->iov[i].iov_base + skip, 0, walk->iov[i].iov_len - skip);
    }
}

static int transfer(File *file, uint64_t offset, Walk walk, bool is_write)
{
    struct iovec few[8];
    struct iovec *parts = few;
    unsigned most = sizeof(few) / sizeof(few[0]);
    int rc = 0;
    walk_on(&walk, 0);
    if (walk.count > most) {
        most = (unsigned)min_u64(walk.count, PARTS_MAX);
        parts = malloc(most * sizeof(*parts));
        if (!parts) {
            return -ENOMEM;
        }
    }
    while (walk.count) {
        unsigned count = walk_batch(&walk, parts, most);
        ssize_t done = is_write ? file->ops->pwritev(file, parts, count, offset)
                                : file->ops->preadv(file, parts, count, offset);
        if (done == -EINTR) {
            continue;
        }
        if (done < 0 || (done == 0 && is_write)) {
            rc = done < 0 ? (int)done : -EIO;
            break;
        }
        walk_on(&walk, (size_t)done);
        offset += (uint64_t)done;
        if (!is_write && (done == 0 || (size_t)done % file->alignment)) {
            walk_zero(&walk); /* the end of the file */
            break;
        }
    }
    if (parts != few) {
        free(parts);
    }
    return rc;
}

static bool is_aligned(const File *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
    uint64_t bits = offset;
    for (unsigned i = 0; i < count; i++) {
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    }
    return bits % file->alignment == 0;
}

/* One piece through @buf: the blocks around [offset, offset + total). Those that a write covers in
 * part are read first; the file is not left longer than asked for. */
static int write_piece(File *file, uint64_t offset, const Walk *walk, uint64_t total, uint8_t *buf)
{
    uint64_t head = offset % file->alignment, size = 0;
    uint64_t whole = round_up(head + total, file->alignment);
    bool has_edges = head || whole != head + total;
    struct iovec iov = { buf, whole };
    LOCK_GUARD(has_edges ? &file->edge_lock : NULL);
    int rc = has_edges ? file->ops->size(file, &size) : 0;
    if (rc == 0 && has_edges) {
        rc = transfer(file, offset - head, (Walk){ &iov, 1, 0 }, false);
    }
    if (rc < 0) {
        return rc;
    }
    walk_copy(walk, buf + head, total, false);
    rc = transfer(file, offset - head, (Walk){ &iov, 1, 0 }, true);
    uint64_t wanted = max_u64(size, offset + total);
    if (rc == 0 && has_edges && !file->is_block_device && offset - head + whole > wanted) {
        rc = file->ops->truncate(file, wanted);
    }
    return rc;
}

static int read_piece(File *file, uint64_t offset, const Walk *walk, uint64_t total, uint8_t *buf)
{
    uint64_t head = offset % file->alignment;
    struct iovec iov = { buf, round_up(head + total, file->alignment) };
    int rc = transfer(file, offset - head, (Walk){ &iov, 1, 0 }, false);
    if (rc == 0) {
        walk_copy(walk, buf + head, total, true);
    }
    return rc;
}

/* Direct I/O of what is not aligned. */
static int transfer_bounced(File *file, uint64_t offset, Walk walk, bool is_write)
{
    void *memory;
    unsigned align = file->alignment;
    int rc = 0;
    if (posix_memalign(&memory, 4096, BOUNCE_BYTES)) {
        return -ENOMEM;
    }
    uint8_t *buf = memory;
    walk_on(&walk, 0);
    while (walk.count && rc == 0) {
        uint64_t head = offset % align;
        uint64_t total = 0;
        for (unsigned i = 0; i < walk.count && total < BOUNCE_BYTES - head; i++) {
            total += walk.iov[i].iov_len - (i == 0 ? walk.skip : 0);
        }
        total = min_u64(total, BOUNCE_BYTES - head);
        rc = is_write ? write_piece(file, offset, &walk, total, buf)
                      : read_piece(file, offset, &walk, total, buf);
        walk_on(&walk, total);
        offset += total;
    }
    free(memory);
    return rc;
}

int file_readv(File *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
    Walk walk = { iov, count, 0 };
    return is_aligned(file, offset, iov, count) ? transfer(file, offset, walk, false)
                                                : transfer_bounced(file, offset, walk, false);
}

int file_writev(File *file, uint64_t offset, const struct iovec *iov, unsigned count)
{
    Walk walk = { iov, count, 0 };
    return is_aligned(file, offset, iov, count) ? transfer(file, offset, walk, true)
                                                : transfer_bounced(file, offset, walk, true);
}

int file_read(File *file, uint64_t offset, void *buf, size_t length)
{
    struct iovec iov = { buf, length };
    return file_readv(file, offset, &iov, 1);
}

int file_write(File *file, uint64_t offset, const void *buf, size_t length)
{
    struct iovec iov = { (void *)buf, length };
    return file_writev(file, offset, &iov, 1);
}

int file_write_zeroes(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    int rc = file->ops->zero(file, offset, length, flags);
    if (rc != -ENOTSUP) {
        return rc;
    }
    void *memory;
    size_t size = min_u64(length, BOUNCE_BYTES);
    if (posix_memalign(&memory, 4096, round_up(size, 4096))) {
        return -ENOMEM;
    }
    memset(memory, 0, size);
    rc = 0;
    while (length > 0 && rc == 0) {
        size_t part = min_u64(length, size);
        rc = file_write(file, offset, memory, part);
        offset += part;
        length -= part;
    }
    free(memory);
    return rc;
}

void file_close(File *file)
{
    if (file) {
        file->ops->close(file);
    }
}
