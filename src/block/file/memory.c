/* Files in memory, for tests and fuzzing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/file/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct MemoryFile {
    File base;
    pthread_mutex_t lock;
    uint8_t *data;
    size_t size, room, limit;
} MemoryFile;

static MemoryFile *memory_of(File *file)
{
    return (MemoryFile *)file;
}

/* The lock is held. */
static int grow(MemoryFile *memory, uint64_t size)
{
    if (size > memory->limit) {
        return -ENOSPC;
    }
    if (size > memory->room) {
        size_t room = min_u64(memory->limit, max_u64(size, memory->room * 2));
        uint8_t *data = realloc(memory->data, room);
        if (!data) {
            return -ENOMEM;
        }
        memory->data = data;
        memory->room = room;
    }
    if (size > memory->size) {
        memset(memory->data + memory->size, 0, size - memory->size);
        memory->size = size;
    }
    return 0;
}

static ssize_t memory_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    MemoryFile *memory = memory_of(file);
    ssize_t done = 0;
    pthread_mutex_lock(&memory->lock);
    for (unsigned i = 0; i < count && offset < memory->size; i++) {
        size_t part = min_u64(iov[i].iov_len, memory->size - offset);
        memcpy(iov[i].iov_base, memory->data + offset, part);
        offset += part;
        done += (ssize_t)part;
    }
    pthread_mutex_unlock(&memory->lock);
    return done;
}

static ssize_t memory_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    MemoryFile *memory = memory_of(file);
    uint64_t end = offset;
    for (unsigned i = 0; i < count; i++) {
        if (iov[i].iov_len > UINT64_MAX - end) {
            return -EFBIG;
        }
        end += iov[i].iov_len;
    }
    pthread_mutex_lock(&memory->lock);
    ssize_t rc = grow(memory, end);
    for (unsigned i = 0; i < count && rc >= 0; i++) {
        memcpy(memory->data + offset, iov[i].iov_base, iov[i].iov_len);
        offset += iov[i].iov_len;
        rc += (ssize_t)iov[i].iov_len;
    }
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_flush(File *file)
{
    return 0;
}

static int memory_truncate(File *file, uint64_t size)
{
    MemoryFile *memory = memory_of(file);
    pthread_mutex_lock(&memory->lock);
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
    pthread_mutex_lock(&memory->lock);
    int rc = length > UINT64_MAX - offset ? -EFBIG : grow(memory, offset + length);
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    MemoryFile *memory = memory_of(file);
    int rc = memory_allocate(file, offset, length);
    if (rc == 0) {
        pthread_mutex_lock(&memory->lock);
        memset(memory->data + offset, 0, length);
        pthread_mutex_unlock(&memory->lock);
    }
    return rc;
}

static int memory_discard(File *file, uint64_t offset, uint64_t length)
{
    MemoryFile *memory = memory_of(file);
    pthread_mutex_lock(&memory->lock);
    if (offset < memory->size) {
        memset(memory->data + offset, 0, min_u64(length, memory->size - offset));
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
    free(memory->data);
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
    if (grow(memory, size) < 0) {
        memory_close(&memory->base);
        return NULL;
    }
    if (size) {
        memcpy(memory->data, data, size);
    }
    return &memory->base;
}

const uint8_t *file_memory_data(const File *file, size_t *out_size)
{
    const MemoryFile *memory = (const MemoryFile *)file;
    *out_size = memory->size;
    return memory->data;
}
