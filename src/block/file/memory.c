/* Files in memory, for tests and fuzzing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/file/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 4096u

/* Content in chunks, those that were never written missing: images are large and empty. */
typedef struct MemoryFile {
    File base;
    pthread_mutex_t lock;
    uint8_t **chunks; /* @room of them; NULL: zeroes */
    size_t room;
    size_t size, limit;
    uint8_t *flat; /* file_memory_data()'s copy; NULL: out of date */
} MemoryFile;

static MemoryFile *memory_of(File *file)
{
    return (MemoryFile *)file;
}

/* With the lock held, all below */

static int grow(MemoryFile *memory, uint64_t size)
{
    if (size > memory->limit) {
        return -ENOSPC;
    }
    uint64_t needed = div_round_up(size, CHUNK);
    if (needed > memory->room) {
        size_t room = max_u64(needed, memory->room * 2);
        uint8_t **chunks = reallocarray(memory->chunks, room, sizeof(*chunks));
        if (!chunks) {
            return -ENOMEM;
        }
        memset(chunks + memory->room, 0, (room - memory->room) * sizeof(*chunks));
        memory->chunks = chunks;
        memory->room = room;
    }
    memory->size = max_u64(memory->size, size);
    return 0;
}

/* The part of a range that lies in one chunk. */
static size_t part_at(uint64_t offset, uint64_t length)
{
    return min_u64(CHUNK - offset % CHUNK, length);
}

/* The range is within the size. */
static void get_bytes(const MemoryFile *memory, uint64_t offset, uint8_t *buf, size_t length)
{
    while (length) {
        size_t part = part_at(offset, length);
        const uint8_t *chunk = memory->chunks[offset / CHUNK];
        if (chunk) {
            memcpy(buf, chunk + offset % CHUNK, part);
        } else {
            memset(buf, 0, part);
        }
        buf += part;
        offset += part;
        length -= part;
    }
}

static int put_bytes(MemoryFile *memory, uint64_t offset, const uint8_t *buf, size_t length)
{
    while (length) {
        size_t part = part_at(offset, length);
        uint8_t **chunk = &memory->chunks[offset / CHUNK];
        if (!*chunk && !(*chunk = calloc(1, CHUNK))) {
            return -ENOMEM;
        }
        memcpy(*chunk + offset % CHUNK, buf, part);
        buf += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static void zero_bytes(MemoryFile *memory, uint64_t offset, uint64_t length)
{
    while (length) {
        size_t part = part_at(offset, length);
        uint8_t **chunk = &memory->chunks[offset / CHUNK];
        if (part == CHUNK) {
            free(*chunk);
            *chunk = NULL;
        } else if (*chunk) {
            memset(*chunk + offset % CHUNK, 0, part);
        }
        offset += part;
        length -= part;
    }
}

static void lock_to_change(MemoryFile *memory)
{
    pthread_mutex_lock(&memory->lock);
    free(memory->flat);
    memory->flat = NULL;
}

/* Operations */

static ssize_t memory_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    MemoryFile *memory = memory_of(file);
    ssize_t done = 0;
    pthread_mutex_lock(&memory->lock);
    for (unsigned i = 0; i < count && offset < memory->size; i++) {
        size_t part = min_u64(iov[i].iov_len, memory->size - offset);
        get_bytes(memory, offset, iov[i].iov_base, part);
        offset += part;
        done += (ssize_t)part;
    }
    pthread_mutex_unlock(&memory->lock);
    return done;
}

static ssize_t memory_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    MemoryFile *memory = memory_of(file);
    uint64_t at = offset, end = offset;
    for (unsigned i = 0; i < count; i++) {
        if (iov[i].iov_len > UINT64_MAX - end) {
            return -EFBIG;
        }
        end += iov[i].iov_len;
    }
    lock_to_change(memory);
    int rc = grow(memory, end);
    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = put_bytes(memory, at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    pthread_mutex_unlock(&memory->lock);
    return rc < 0 ? rc : (ssize_t)(end - offset);
}

static int memory_flush(File *file)
{
    return 0;
}

static int memory_truncate(File *file, uint64_t size)
{
    MemoryFile *memory = memory_of(file);
    lock_to_change(memory);
    if (size < memory->size) {
        zero_bytes(memory, size, memory->size - size);
    }
    int rc = grow(memory, size);
    if (rc == 0) {
        memory->size = size;
    }
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_allocate(File *file, uint64_t offset, uint64_t length)
{
    MemoryFile *memory = memory_of(file);
    lock_to_change(memory);
    int rc = length > UINT64_MAX - offset ? -EFBIG : grow(memory, offset + length);
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    MemoryFile *memory = memory_of(file);
    int rc = memory_allocate(file, offset, length);
    if (rc == 0) {
        lock_to_change(memory);
        zero_bytes(memory, offset, length);
        pthread_mutex_unlock(&memory->lock);
    }
    return rc;
}

static int memory_discard(File *file, uint64_t offset, uint64_t length)
{
    MemoryFile *memory = memory_of(file);
    lock_to_change(memory);
    if (offset < memory->size) {
        zero_bytes(memory, offset, min_u64(length, memory->size - offset));
    }
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

static int memory_extent(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                         uint64_t *out_length)
{
    *out_kind = FILE_EXTENT_DATA;
    *out_length = length;
    return 0;
}

static int memory_size(File *file, uint64_t *out_size)
{
    MemoryFile *memory = memory_of(file);
    pthread_mutex_lock(&memory->lock);
    *out_size = memory->size;
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

static void memory_close(File *file)
{
    MemoryFile *memory = memory_of(file);
    pthread_mutex_destroy(&memory->lock);
    for (size_t i = 0; i < memory->room; i++) {
        free(memory->chunks[i]);
    }
    free(memory->chunks);
    free(memory->flat);
    file_done(file);
    free(memory);
}

static const FileOps memory_ops = {
    .name = "memory",
    .preadv = memory_preadv,
    .pwritev = memory_pwritev,
    .flush = memory_flush,
    .truncate = memory_truncate,
    .allocate = memory_allocate,
    .zero = memory_zero,
    .discard = memory_discard,
    .extent = memory_extent,
    .size = memory_size,
    .disk_usage = memory_size,
    .close = memory_close,
};

File *file_memory_new(const void *data, size_t size, size_t limit)
{
    MemoryFile *memory = calloc(1, sizeof(*memory));
    if (!memory) {
        return NULL;
    }
    file_init(&memory->base, &memory_ops);
    memory->limit = limit;
    pthread_mutex_init(&memory->lock, NULL);
    if (grow(memory, size) < 0 || put_bytes(memory, 0, data, size) < 0) {
        memory_close(&memory->base);
        return NULL;
    }
    return &memory->base;
}

const uint8_t *file_memory_data(File *file, size_t *out_size)
{
    MemoryFile *memory = memory_of(file);
    pthread_mutex_lock(&memory->lock);
    if (!memory->flat) {
        memory->flat = malloc(memory->size + 1);
        if (memory->flat) {
            get_bytes(memory, 0, memory->flat, memory->size);
        }
    }
    *out_size = memory->flat ? memory->size : 0;
    pthread_mutex_unlock(&memory->lock);
    return memory->flat;
}
