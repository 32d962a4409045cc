/* The write log: what a program did to files, and any state that a power cut could leave.
 *
 * Model: a flush has on disk what was complete when it began. Of the other entries any subset may
 * be; a write that is there may be torn: any of its 512-byte sectors, a sector being whole or not
 * there. Sizes, zeroes and discards are there whole or not at all.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/file/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

typedef enum EntryKind { ENTRY_WRITE, ENTRY_ZERO, ENTRY_SIZE, ENTRY_FLUSH } EntryKind;

typedef struct Entry {
    EntryKind kind;
    unsigned file;
    uint64_t offset, length;
    uint8_t *data; /* ENTRY_WRITE */
    /* Times: when it was done (UINT64_MAX: not yet, or it failed); when a flush began. */
    uint64_t done, begun;
} Entry;

struct WriteLog {
    pthread_mutex_t lock;
    Entry *entries;
    size_t count, room;
    uint64_t clock;
    bool has_failed; /* memory was short: the log is of no use */
};

typedef struct RecordFile {
    File base;
    File *below;
    WriteLog *log;
    unsigned number;
} RecordFile;

WriteLog *write_log_new(void)
{
    WriteLog *log = calloc(1, sizeof(*log));
    if (log) {
        pthread_mutex_init(&log->lock, NULL);
    }
    return log;
}

void write_log_free(WriteLog *log)
{
    if (!log) {
        return;
    }
    for (size_t i = 0; i < log->count; i++) {
        free(log->entries[i].data);
    }
    free(log->entries);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

size_t write_log_length(const WriteLog *log)
{
    return log->count;
}

bool write_log_is_flush(const WriteLog *log, size_t index)
{
    return log->entries[index].kind == ENTRY_FLUSH;
}

void write_log_drop(WriteLog *log, size_t index)
{
    Entry *entry = &log->entries[index];
    free(entry->data);
    *entry = (Entry){ .kind = ENTRY_WRITE, .file = entry->file };
}

static RecordFile *record_of(File *file)
{
    return (RecordFile *)file;
}

static uint64_t tell_time(WriteLog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t now = log->clock++;
    pthread_mutex_unlock(&log->lock);
    return now;
}

/* Returns: the number of the entry, SIZE_MAX when memory is short. */
static size_t note(const RecordFile *record, Entry entry)
{
    WriteLog *log = record->log;
    size_t index = SIZE_MAX;
    entry.file = record->number;
    entry.done = UINT64_MAX;
    pthread_mutex_lock(&log->lock);
    if (log->count == log->room) {
        size_t room = log->room ? log->room * 2 : 64;
        Entry *entries = realloc(log->entries, room * sizeof(*entries));
        if (entries) {
            log->entries = entries;
            log->room = room;
        }
    }
    if (log->count < log->room) {
        index = log->count++;
        log->entries[index] = entry;
    } else {
        log->has_failed = true;
        free(entry.data);
    }
    pthread_mutex_unlock(&log->lock);
    return index;
}

/* Entry @index was carried out if @rc says so; one that failed may be there in part for ever. */
static void note_end(const RecordFile *record, size_t index, ssize_t rc)
{
    WriteLog *log = record->log;
    pthread_mutex_lock(&log->lock);
    if (rc >= 0 && index != SIZE_MAX) {
        log->entries[index].done = log->clock++;
    }
    pthread_mutex_unlock(&log->lock);
}

static ssize_t record_preadv(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    File *below = record_of(file)->below;
    return below->ops->preadv(below, iov, count, offset);
}

static ssize_t record_pwritev(File *file, const struct iovec *iov, unsigned count, uint64_t offset)
{
    RecordFile *record = record_of(file);
    size_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    uint8_t *data = malloc(total + 1);
    if (!data) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    /* Noted before it is done: a cut during the write may leave some of it. */
    size_t index =
        note(record, (Entry){ ENTRY_WRITE, .offset = offset, .length = total, .data = data });
    ssize_t rc = record->below->ops->pwritev(record->below, iov, count, offset);
    note_end(record, index, rc);
    return rc;
}

static int record_flush(File *file)
{
    RecordFile *record = record_of(file);
    uint64_t begun = tell_time(record->log);
    int rc = record->below->ops->flush(record->below);
    if (rc == 0) {
        note(record, (Entry){ .kind = ENTRY_FLUSH, .begun = begun });
    }
    return rc;
}

static int record_truncate(File *file, uint64_t size)
{
    RecordFile *record = record_of(file);
    size_t index = note(record, (Entry){ .kind = ENTRY_SIZE, .offset = size });
    int rc = record->below->ops->truncate(record->below, size);
    note_end(record, index, rc);
    return rc;
}

static int record_allocate(File *file, uint64_t offset, uint64_t length)
{
    RecordFile *record = record_of(file);
    uint64_t size;
    size_t index = SIZE_MAX;
    int rc = record->below->ops->size(record->below, &size);
    if (rc == 0 && offset + length > size) {
        index = note(record, (Entry){ .kind = ENTRY_SIZE, .offset = offset + length });
    }
    if (rc == 0) {
        rc = record->below->ops->allocate(record->below, offset, length);
        note_end(record, index, rc);
    }
    return rc;
}

static int record_zero(File *file, uint64_t offset, uint64_t length, unsigned flags)
{
    RecordFile *record = record_of(file);
    size_t index = note(record, (Entry){ ENTRY_ZERO, .offset = offset, .length = length });
    int rc = record->below->ops->zero(record->below, offset, length, flags);
    note_end(record, index, rc);
    return rc;
}

static int record_discard(File *file, uint64_t offset, uint64_t length)
{
    RecordFile *record = record_of(file);
    size_t index = note(record, (Entry){ ENTRY_ZERO, .offset = offset, .length = length });
    int rc = record->below->ops->discard(record->below, offset, length);
    note_end(record, index, rc);
    return rc;
}

static int record_extent(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                         uint64_t *out_length)
{
    File *below = record_of(file)->below;
    return below->ops->extent(below, offset, length, out_kind, out_length);
}

static int record_size(File *file, uint64_t *out_size)
{
    File *below = record_of(file)->below;
    return below->ops->size(below, out_size);
}

static int record_disk_usage(File *file, uint64_t *out_bytes)
{
    File *below = record_of(file)->below;
    return below->ops->disk_usage(below, out_bytes);
}

static void record_close(File *file)
{
    file_close(record_of(file)->below);
    file_done(file);
    free(file);
}

static const FileOps record_ops = {
    .name = "record",
    .preadv = record_preadv,
    .pwritev = record_pwritev,
    .flush = record_flush,
    .truncate = record_truncate,
    .allocate = record_allocate,
    .zero = record_zero,
    .discard = record_discard,
    .extent = record_extent,
    .size = record_size,
    .disk_usage = record_disk_usage,
    .close = record_close,
};

File *file_record_new(File *below, WriteLog *log, unsigned number)
{
    RecordFile *record = calloc(1, sizeof(*record));
    if (record) {
        file_init(&record->base, &record_ops);
        record->base.alignment = below->alignment;
        record->base.is_block_device = below->is_block_device;
        record->below = below;
        record->log = log;
        record->number = number;
    }
    return &record->base;
}

/* Replay */

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Some of the sectors of a write. */
static int apply_torn(File *file, const Entry *entry, uint64_t *random)
{
    int rc = 0;
    for (uint64_t at = 0; at < entry->length && rc == 0;) {
        uint64_t part = SECTOR - (entry->offset + at) % SECTOR;
        part = min_u64(part, entry->length - at);
        if (next_random(random) & 1) {
            rc = file_write(file, entry->offset + at, entry->data + at, part);
        }
        at += part;
    }
    return rc;
}

/* The part of a write that lies in its first @sectors sectors. */
static uint64_t prefix_length(const Entry *entry, uint64_t sectors)
{
    uint64_t end = (entry->offset / SECTOR + sectors) * SECTOR;
    return min_u64(entry->length, end > entry->offset ? end - entry->offset : 0);
}

static int apply(File *file, const Entry *entry)
{
    switch (entry->kind) {
    case ENTRY_WRITE:
        return entry->length ? file_write(file, entry->offset, entry->data, entry->length) : 0;
    case ENTRY_ZERO:
        return file->ops->zero(file, entry->offset, entry->length, 0);
    case ENTRY_SIZE:
        return file->ops->truncate(file, entry->offset);
    default:
        return 0;
    }
}

static int apply_maybe(File *file, const Entry *entry, uint64_t *random)
{
    unsigned fate = (unsigned)(next_random(random) % 4); /* 0: lost, 1: torn, else whole */
    if (fate == 0) {
        return 0;
    }
    return fate == 1 && entry->kind == ENTRY_WRITE ? apply_torn(file, entry, random)
                                                   : apply(file, entry);
}

/* All that was done before this time is on disk. */
static uint64_t flushed_before(const WriteLog *log, unsigned number, size_t length)
{
    uint64_t time = 0;
    for (size_t i = 0; i < length; i++) {
        const Entry *entry = &log->entries[i];
        if (entry->kind == ENTRY_FLUSH && entry->file == number && entry->begun > time) {
            time = entry->begun;
        }
    }
    return time;
}

File *write_log_replay(const WriteLog *log, unsigned number, const void *base, size_t base_size,
                       size_t length, uint64_t seed)
{
    File *file = log->has_failed ? NULL : file_memory_new(base, base_size, SIZE_MAX / 2);
    uint64_t random = seed;
    length = min_u64(length, log->count);
    uint64_t flushed = flushed_before(log, number, length);
    for (size_t i = 0; file && i < length; i++) {
        const Entry *entry = &log->entries[i];
        if (entry->file != number) {
            continue;
        }
        int rc = entry->done < flushed || seed == 0 ? apply(file, entry)
                                                    : apply_maybe(file, entry, &random);
        if (rc < 0) {
            file_close(file);
            file = NULL;
        }
    }
    return file;
}

uint64_t write_log_sectors(const WriteLog *log, size_t index)
{
    const Entry *entry = &log->entries[index];
    if (entry->kind != ENTRY_WRITE || entry->length == 0) {
        return 0;
    }
    return div_round_up(entry->offset + entry->length, SECTOR) - entry->offset / SECTOR;
}

File *write_log_replay_prefix(const WriteLog *log, unsigned number, const void *base,
                              size_t base_size, size_t length, uint64_t sectors)
{
    File *file = write_log_replay(log, number, base, base_size, length ? length - 1 : 0, 0);
    if (!file || length == 0 || log->entries[length - 1].file != number) {
        return file;
    }
    Entry last = log->entries[length - 1];
    if (last.kind == ENTRY_WRITE) {
        last.length = prefix_length(&last, sectors);
    }
    if (apply(file, &last) < 0) {
        file_close(file);
        return NULL;
    }
    return file;
}
