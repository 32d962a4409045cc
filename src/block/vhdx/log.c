/* The log of a VHDX file: found, checked and replayed.
 *
 * Entries form a ring of 4 KiB sectors; an entry is a header, descriptors and data sectors, each
 * marked with its sequence number. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "block/vhdx/vhdx.h"

#include <errno.h>
#include <string.h>

#define LOG_BYTES_MAX (64 * MIB)
#define DESCRIPTOR_BYTES 32
#define ENTRY_HEADER_BYTES 64
#define FILE_BYTES_MAX (1ull << 50)

/* Offsets in an entry's header. */
enum {
    E_SIGNATURE = 0,
    E_CHECKSUM = 4,
    E_LENGTH = 8,
    E_TAIL = 12,
    E_SEQUENCE = 16,
    E_DESCRIPTORS = 24,
    E_LOG_GUID = 32,
    E_FLUSHED_BYTES = 48,
    E_LAST_BYTES = 56,
};

/* A valid entry that begins in a sector; .sequence 0: there is none. */
typedef struct LogEntry {
    uint64_t sequence;
    uint32_t length, tail;
} LogEntry;

typedef struct Log {
    uint8_t *bytes; /* all of the ring */
    uint32_t length;
    const uint8_t *guid;
    LogEntry *entries; /* by sector */
    uint64_t budget;   /* bytes that may still be checked: entries of a sound log do not overlap */
} Log;

/* The entry at @offset put in one piece, or NULL if there is no valid one. (malloc'ed) */
static uint8_t *read_entry(Log *log, uint32_t offset)
{
    const uint8_t *at = log->bytes + offset;
    uint32_t length = le32_get(at + E_LENGTH);
    if (memcmp(at, "loge", 4) != 0 || length < VHDX_LOG_SECTOR || length > log->length ||
        length % VHDX_LOG_SECTOR || memcmp(at + E_LOG_GUID, log->guid, VHDX_GUID_BYTES) != 0 ||
        !le64_get(at + E_SEQUENCE) || length > log->budget) {
        return NULL;
    }
    log->budget -= length;
    autofree uint8_t *entry = malloc(length);
    if (!entry) {
        return NULL;
    }
    uint32_t first = (uint32_t)min_u64(length, log->length - offset);
    memcpy(entry, at, first);
    memcpy(entry + first, log->bytes, length - first);
    if (vhdx_checksum(entry, length, E_CHECKSUM) != le32_get(entry + E_CHECKSUM)) {
        return NULL;
    }
    return steal_ptr(&entry);
}

static uint32_t entry_sectors(const uint8_t *entry)
{
    return le32_get(entry + E_LENGTH) / VHDX_LOG_SECTOR;
}

/* Sectors that hold the header and descriptors. */
static uint32_t head_sectors(const uint8_t *entry)
{
    uint64_t bytes =
        ENTRY_HEADER_BYTES + (uint64_t)le32_get(entry + E_DESCRIPTORS) * DESCRIPTOR_BYTES;
    return (uint32_t)min_u64(div_round_up(bytes, VHDX_LOG_SECTOR), UINT32_MAX);
}

/* Whether every descriptor and data sector carries the entry's sequence number. */
static bool is_entry_complete(const uint8_t *entry)
{
    uint64_t sequence = le64_get(entry + E_SEQUENCE);
    uint32_t count = le32_get(entry + E_DESCRIPTORS), data = head_sectors(entry);
    if (data > entry_sectors(entry)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *descriptor = entry + ENTRY_HEADER_BYTES + (size_t)i * DESCRIPTOR_BYTES;
        if (le64_get(descriptor + 24) != sequence) {
            return false;
        }
        if (memcmp(descriptor, "zero", 4) == 0) {
            continue;
        }
        if (memcmp(descriptor, "desc", 4) != 0 || data >= entry_sectors(entry)) {
            return false;
        }
        const uint8_t *sector = entry + (size_t)data++ * VHDX_LOG_SECTOR;
        if (memcmp(sector, "data", 4) != 0 || le32_get(sector + 4) != sequence >> 32 ||
            le32_get(sector + VHDX_LOG_SECTOR - 4) != (uint32_t)sequence) {
            return false;
        }
    }
    return true;
}

/* Looks for an entry in every sector, once. */
static void scan(Log *log)
{
    for (uint32_t at = 0; at < log->length; at += VHDX_LOG_SECTOR) {
        autofree uint8_t *entry = read_entry(log, at);
        if (entry && is_entry_complete(entry)) {
            log->entries[at / VHDX_LOG_SECTOR] =
                (LogEntry){ .sequence = le64_get(entry + E_SEQUENCE),
                            .length = le32_get(entry + E_LENGTH),
                            .tail = le32_get(entry + E_TAIL) };
        }
    }
}

/* Follows entries from @start while their numbers rise by one. Returns: the sequence number of the
 * last, 0 if there is none or its tail is not in the run. */
static uint64_t follow(const Log *log, uint32_t start, uint32_t *out_last)
{
    uint64_t sequence = 0, best = 0;
    for (uint32_t offset = start, walked = 0; walked < log->length;) {
        const LogEntry *entry = &log->entries[offset / VHDX_LOG_SECTOR];
        if (!entry->sequence || (sequence && entry->sequence != sequence + 1)) {
            break;
        }
        sequence = entry->sequence;
        if (entry->tail == start) {
            best = sequence;
            *out_last = offset;
        }
        walked += entry->length;
        offset = (offset + entry->length) % log->length;
    }
    return best == sequence ? best : 0;
}

static int write_zeroes(BlockNode *child, uint64_t offset, uint64_t length)
{
    if (!range_fits(offset, length, FILE_BYTES_MAX)) {
        return -EINVAL;
    }
    /* A file grows by holes; what is there is overwritten. */
    uint64_t size;
    int result = block_child_size(child, &size);
    if (result == 0 && offset < size) {
        result = block_child_zero(child, offset, min_u64(length, size - offset), 0);
    }
    return result;
}

static int apply_entry(BlockNode *child, const uint8_t *entry)
{
    uint32_t count = le32_get(entry + E_DESCRIPTORS), data = head_sectors(entry);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *descriptor = entry + ENTRY_HEADER_BYTES + (size_t)i * DESCRIPTOR_BYTES;
        uint64_t offset = le64_get(descriptor + 16);
        int result;
        if (offset % VHDX_LOG_SECTOR || offset > FILE_BYTES_MAX) {
            return -EINVAL;
        }
        if (memcmp(descriptor, "zero", 4) == 0) {
            result = write_zeroes(child, offset, le64_get(descriptor + 8));
        } else {
            /* The sector's first 8 and last 4 bytes are kept in the descriptor. */
            uint8_t sector[VHDX_LOG_SECTOR];
            memcpy(sector, entry + (size_t)data++ * VHDX_LOG_SECTOR, sizeof(sector));
            memcpy(sector, descriptor + 8, 8);
            memcpy(sector + sizeof(sector) - 4, descriptor + 4, 4);
            result = block_child_write(child, offset, sector, sizeof(sector));
        }
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

static int apply(BlockNode *child, Log *log, uint32_t start, uint32_t last, uint64_t *out_bytes)
{
    for (uint32_t offset = start;;) {
        autofree uint8_t *entry = read_entry(log, offset);
        int result = entry ? apply_entry(child, entry) : -EINVAL;
        if (result < 0) {
            return result;
        }
        *out_bytes = le64_get(entry + E_LAST_BYTES);
        if (offset == last) {
            return *out_bytes > FILE_BYTES_MAX ? -EINVAL : 0;
        }
        offset = (offset + le32_get(entry + E_LENGTH)) % log->length;
    }
}

int vhdx_log_replay(BlockNode *child, const uint8_t *header, uint64_t *out_bytes)
{
    Log log = { .length = le32_get(header + VHDX_H_LOG_BYTES), .guid = header + VHDX_H_LOG_GUID };
    uint64_t offset = le64_get(header + VHDX_H_LOG_OFFSET), best = 0, size;
    uint32_t start = 0, last = 0;
    int result = block_child_size(child, &size);
    if (result < 0) {
        return result;
    }
    if (log.length < VHDX_LOG_MIN || log.length > LOG_BYTES_MAX || log.length % VHDX_LOG_MIN ||
        !range_fits(offset, log.length, size)) {
        return -EINVAL;
    }
    autofree uint8_t *bytes = malloc(log.length);
    result = bytes ? block_child_read(child, offset, bytes, log.length) : -ENOMEM;
    if (result < 0) {
        return result;
    }
    autofree LogEntry *entries = calloc(log.length / VHDX_LOG_SECTOR, sizeof(*entries));
    if (!entries) {
        return -ENOMEM;
    }
    log.bytes = bytes;
    log.entries = entries;
    log.budget = 2 * (uint64_t)log.length;
    scan(&log);
    log.budget = log.length;
    for (uint32_t at = 0; at < log.length; at += VHDX_LOG_SECTOR) {
        uint32_t end = 0;
        uint64_t sequence = follow(&log, at, &end);
        if (sequence > best) {
            best = sequence;
            start = at;
            last = end;
        }
    }
    return best ? apply(child, &log, start, last, out_bytes) : -EINVAL;
}
