/* Transfers by io_uring: reads and writes of posix files that the thread of a loop hands to the
 * kernel and hears of later, many at once, without worker threads.
 *
 * A ring belongs to the thread of its loop. What is submitted in a round of the loop goes to the
 * kernel in one call before the loop waits. The ring may do nothing but read and write (the kernel
 * holds it to that). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_FILE_RING_H
#define LODGE_BLOCK_FILE_RING_H

#include "base/list.h"
#include "block/file/file.h"
#include "event/loop.h"

typedef struct FileRing FileRing;
typedef struct FileTransfer FileTransfer;

/* One read or write; embedded in the caller's. */
struct FileTransfer {
    File *file; /* stays open until finished */
    bool is_write;
    uint64_t offset;
    struct iovec *iov; /* borrowed until finished, and changed */
    unsigned count;
    /* The kernel is through with the memory; @result: 0 or -errno. Called on the ring's thread
     * from within any function here, so it only gives back what the transfer held. */
    void (*finished)(FileTransfer *transfer, int result);
    /* After that, from the loop or file_ring_poll(). */
    void (*done)(FileTransfer *transfer);

    /* private */
    FileRing *ring;
    List node;
};

/* Returns: a ring, or NULL with errno set: the kernel has no io_uring or refuses it (seccomp,
 * sysctl, limits). Context: the loop's thread. */
FileRing *file_ring_new(EventLoop *loop) LODGE_MUST_CHECK;
/* Waits for all transfers and calls their done. NULL is accepted. Context: the ring's thread. */
void file_ring_free(FileRing *ring);

/* Starts @transfer. False: it is not one for a ring (another kind of file, not aligned for direct
 * I/O, too many pieces) or there are too many in flight; nothing happened. Reads past the end of
 * the file give zeroes. Context: the ring's thread. */
bool file_ring_submit(FileRing *ring, FileTransfer *transfer);
/* Returns when all transfers are finished; done is still to be called. Context: the ring's thread.
 */
void file_ring_finish(FileRing *ring);
/* Calls done of what is finished. Context: the ring's thread. */
void file_ring_poll(FileRing *ring);
/* file_ring_finish() of all rings of the calling thread: before it waits for a lock that somebody
 * may hold until a transfer of its own is finished. Cheap where there is none. */
void file_rings_settle(void);

#endif
