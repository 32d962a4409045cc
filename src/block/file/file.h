/* Files as the block layer sees them: one small table of operations that every byte of an image
 * goes through, so that tests can record, replay and break them.
 *
 * Kinds: posix (files and block devices of the host), memory, and the wrappers record (a log of all
 * writes with flush marks, of which any crash state can be made) and fault (the n-th operation
 * fails, is short or torn).
 *
 * Context: any thread, several at once. libc only. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_FILE_FILE_H
#define LODGE_BLOCK_FILE_FILE_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct File File;

typedef enum FileExtentKind {
    FILE_EXTENT_DATA,
    FILE_EXTENT_HOLE, /* reads as zeroes, takes no space */
} FileExtentKind;

enum {
    FILE_ZERO_MAY_PUNCH = 1u << 0, /* the space may be given back */
};

/* All return 0 (or a count) or -errno, and do not set errno. Offsets and lengths are bytes. */
typedef struct FileOps {
    const char *name;
    /* Bytes moved, fewer than asked for only at the end of the file (read) or on a short write. */
    ssize_t (*preadv)(File *file, const struct iovec *iov, unsigned count, uint64_t offset);
    ssize_t (*pwritev)(File *file, const struct iovec *iov, unsigned count, uint64_t offset);
    /* Everything written so far survives a power cut. */
    int (*flush)(File *file);
    int (*truncate)(File *file, uint64_t size);
    /* Reserves space of the range (and lengthens the file to its end); -ENOTSUP: cannot. */
    int (*allocate)(File *file, uint64_t offset, uint64_t length);
    /* Makes the range read as zeroes without writing them; -ENOTSUP: cannot. */
    int (*zero)(File *file, uint64_t offset, uint64_t length, unsigned flags);
    /* Gives the space of the range back; what is read there later is zeroes (files) or anything
     * (some devices). -ENOTSUP: cannot. */
    int (*discard)(File *file, uint64_t offset, uint64_t length);
    /* What lies at @offset, and how far; @length: at most. */
    int (*extent)(File *file, uint64_t offset, uint64_t length, FileExtentKind *out_kind,
                  uint64_t *out_length);
    int (*size)(File *file, uint64_t *out_size);
    /* Bytes of disk that the file takes. */
    int (*disk_usage)(File *file, uint64_t *out_bytes);
    void (*close)(File *file);
} FileOps;

struct File {
    const FileOps *ops;
    /* Offsets, lengths and memory of reads and writes are multiples of this; 1 without direct I/O.
     */
    unsigned alignment;
    bool uses_ring;       /* transfers may go by a FileRing (posix files alone) */
    bool is_block_device; /* cannot grow */
    /* Held over read-modify-write of what is not aligned, so that no neighbour's write is lost. */
    pthread_mutex_t edge_lock;
};

/* For kinds of files: the common part; file_done() before it is freed. */
void file_init(File *file, const FileOps *ops);
void file_done(File *file);

/* Reads exactly @length bytes; what lies behind the end of the file is zeroes. Returns: 0 or
 * -errno. */
int file_read(File *file, uint64_t offset, void *buf, size_t length) LODGE_MUST_CHECK;
/* Writes all of it. Returns: 0 or -errno; then any part may have been written. */
int file_write(File *file, uint64_t offset, const void *buf, size_t length) LODGE_MUST_CHECK;
/* The same with vectors, which stay as they are. */
int file_readv(File *file, uint64_t offset, const struct iovec *iov,
               unsigned count) LODGE_MUST_CHECK;
int file_writev(File *file, uint64_t offset, const struct iovec *iov,
                unsigned count) LODGE_MUST_CHECK;
/* Zeroes by the file system where it can, else by writing. */
int file_write_zeroes(File *file, uint64_t offset, uint64_t length,
                      unsigned flags) LODGE_MUST_CHECK;
static inline int file_flush(File *file)
{
    return file->ops->flush(file);
}
static inline int file_truncate(File *file, uint64_t size)
{
    return file->ops->truncate(file, size);
}
static inline int file_size(File *file, uint64_t *out_size)
{
    return file->ops->size(file, out_size);
}
/* NULL is accepted. */
void file_close(File *file);

/* posix.c */

typedef struct FilePosixOptions {
    bool is_writable;
    bool is_direct;     /* O_DIRECT */
    bool ignores_flush; /* cache=unsafe */
} FilePosixOptions;

/* Takes @fd, an open file or block device, also on failure. Returns: 0 or -errno (-EINVAL: neither
 * a regular file nor a block device). */
int file_posix_new(int fd, const FilePosixOptions *options, File **out_file) LODGE_MUST_CHECK;
/* The descriptor, for locks and ioctls; -1: @file is of another kind. Borrowed. */
int file_posix_fd(const File *file);

/* memory.c */

/* A file in memory that grows to at most @limit bytes (-ENOSPC past that). @data: copied. Returns:
 * NULL when memory is short. */
File *file_memory_new(const void *data, size_t size, size_t limit) LODGE_MUST_CHECK;
/* A copy of the content, which lasts until the next write. NULL when memory is short. */
const uint8_t *file_memory_data(File *file, size_t *out_size);

/* record.c */

typedef struct WriteLog WriteLog;

/* Passes everything on to @below (taken) and notes writes, zeroes, discards, sizes and flushes.
 * @number: of the file in the log, which may be of several. Threads: a flush covers what was
 * complete when it began. */
File *file_record_new(File *below, WriteLog *log, unsigned number) LODGE_MUST_CHECK;
WriteLog *write_log_new(void) LODGE_MUST_CHECK;
void write_log_free(WriteLog *log);
/* Entries so far; flushes count too. */
size_t write_log_length(const WriteLog *log);
/* Whether entry @index is a flush, and making it none: as if the program had left out a barrier. */
bool write_log_is_flush(const WriteLog *log, size_t index);
void write_log_drop(WriteLog *log, size_t index);
/**
 * write_log_replay - a file after a power cut
 * @number: which one
 * @base:   its content before the first entry
 * @length: entries, of all files, that had been submitted
 * @seed:   chooses which of the entries that no flush covers reached the disk, and which sectors of
 *          them; 0: all of them did, whole
 *
 * Entries that one of the first @length flushed are applied whole; all are applied in order.
 * Returns: a memory file, or NULL when memory is short.
 */
File *write_log_replay(const WriteLog *log, unsigned number, const void *base, size_t base_size,
                       size_t length, uint64_t seed);
/* The sectors that entry @index writes to; 0: it is no write. */
uint64_t write_log_sectors(const WriteLog *log, size_t index);
/* A file after a cut in the middle of a write: the first @length entries whole and in order, but of
 * the last of them no more than the first @sectors sectors. */
File *write_log_replay_prefix(const WriteLog *log, unsigned number, const void *base,
                              size_t base_size, size_t length, uint64_t sectors);

/* fault.c */

typedef enum FaultOp {
    FAULT_READ = 1u << 0,
    FAULT_WRITE = 1u << 1,
    FAULT_FLUSH = 1u << 2,
    FAULT_RESIZE = 1u << 3, /* truncate, allocate, zero, discard */
} FaultOp;

typedef struct FaultPlan {
    unsigned ops;   /* FaultOp: those counted */
    uint64_t at;    /* the n-th of them fails; counted from 1; 0: none */
    bool is_sticky; /* all later ones too */
    int error;      /* errno */
    bool is_torn;   /* half of a write, of whole sectors, reaches the file first */
    bool is_short;  /* reads and writes do not fail: half of the first buffer is moved */
    uint64_t seen;  /* counted so far */
} FaultPlan;

/* Passes everything on to @below (taken) but what @plan (borrowed) breaks. */
File *file_fault_new(File *below, FaultPlan *plan) LODGE_MUST_CHECK;

#endif
