/* Transfers by io_uring (liburing).
 *
 * Leaves out: polled I/O, registered files and buffers, kernel-side submission threads.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/file/ring.h"

#include "base/log.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES 128u /* transfers in flight */
#define RING_PIECES 1024u /* of a vector: IOV_MAX of Linux */
#define REAP_BATCH 32u
#define SUBMIT_BATCH 4u /* queued transfers are handed over at this number at the latest */

struct FileRing {
    EventLoop *loop;
    struct io_uring uring;
    LoopWatch *watch;
    LoopHook hook;
    unsigned in_flight; /* each has at most one entry in the submission queue */
    List finished;      /* of FileTransfer: done is to be called */
    FileRing *next;     /* of the thread's rings that have transfers in flight */
};

/* Rings of this thread with transfers in flight. */
static _Thread_local FileRing *busy_rings;

/* Making one */

/* liburing 2.3 declares functions for these two that its shared library does not have. */
static int register_with(struct io_uring *uring, unsigned what, const void *arg, unsigned count)
{
    long rc = syscall(__NR_io_uring_register, uring->ring_fd, what, arg, count);
    return rc < 0 ? -errno : 0;
}

/* The ring may only read and write: whoever gets hold of it can make it do nothing else. */
static int restrict_ring(struct io_uring *uring)
{
    static const uint8_t allowed[] = { IORING_OP_READV, IORING_OP_WRITEV };
    struct io_uring_restriction rules[sizeof(allowed)];
    memset(rules, 0, sizeof(rules));
    for (unsigned i = 0; i < sizeof(allowed); i++) {
        rules[i].opcode = IORING_RESTRICTION_SQE_OP;
        rules[i].sqe_op = allowed[i];
    }
    int rc = register_with(uring, IORING_REGISTER_RESTRICTIONS, rules, sizeof(allowed));
    return rc < 0 ? rc : register_with(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int open_ring(struct io_uring *uring)
{
    int rc = io_uring_queue_init(RING_ENTRIES, uring,
                                 IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN);
    if (rc == -EINVAL) { /* before Linux 5.19 */
        rc = io_uring_queue_init(RING_ENTRIES, uring, IORING_SETUP_R_DISABLED);
    }
    if (rc < 0) {
        return rc;
    }
    rc = restrict_ring(uring);
    if (rc < 0) {
        io_uring_queue_exit(uring);
    }
    return rc;
}

static void flush(FileRing *ring);

static void on_hook(void *opaque)
{
    FileRing *ring = opaque;
    flush(ring);
    file_ring_poll(ring);
}

static void on_completed(void *opaque, uint32_t events)
{
    on_hook(opaque);
}

FileRing *file_ring_new(EventLoop *loop)
{
    FileRing *ring = calloc(1, sizeof(*ring));
    if (!ring) {
        return NULL;
    }
    ring->loop = loop;
    list_init(&ring->finished);
    loop_hook_init(&ring->hook, on_hook, ring);
    int rc = open_ring(&ring->uring);
    if (rc < 0) {
        free(ring);
        errno = -rc;
        return NULL;
    }
    ring->watch = loop_watch(loop, ring->uring.ring_fd, EPOLLIN, on_completed, ring);
    if (!ring->watch) {
        int saved = errno;
        io_uring_queue_exit(&ring->uring);
        free(ring);
        errno = saved;
        return NULL;
    }
    return ring;
}

void file_ring_free(FileRing *ring)
{
    if (!ring) {
        return;
    }
    do {
        file_ring_finish(ring);
        file_ring_poll(ring);
    } while (ring->in_flight);
    loop_hook_cancel(&ring->hook);
    loop_unwatch(ring->watch);
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

/* Transfers */

static void note_busy(FileRing *ring)
{
    if (ring->in_flight++ == 0) {
        ring->next = busy_rings;
        busy_rings = ring;
    }
}

static void note_finished(FileRing *ring)
{
    if (--ring->in_flight > 0) {
        return;
    }
    FileRing **link = &busy_rings;
    while (*link != ring) {
        link = &(*link)->next;
    }
    *link = ring->next;
}

/* Every transfer in flight has one entry at most, and there are as many: one is always free. */
static void queue(FileRing *ring, FileTransfer *transfer)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    lodge_assert(sqe);
    int fd = file_posix_fd(transfer->file);
    if (transfer->is_write) {
        io_uring_prep_writev(sqe, fd, transfer->iov, transfer->count, transfer->offset);
    } else {
        io_uring_prep_readv(sqe, fd, transfer->iov, transfer->count, transfer->offset);
    }
    io_uring_sqe_set_data(sqe, transfer);
    loop_hook_set(ring->loop, &ring->hook);
    /* The device begins with these while the caller prepares more: all of a round at once would
     * let the two wait for each other in turn. The hook tries again what fails here. */
    if (io_uring_sq_ready(&ring->uring) >= SUBMIT_BATCH) {
        (void)io_uring_submit(&ring->uring);
    }
}

static bool is_possible(const FileTransfer *transfer)
{
    uint64_t bits = transfer->offset;
    for (unsigned i = 0; i < transfer->count; i++) {
        bits |= (uintptr_t)transfer->iov[i].iov_base | transfer->iov[i].iov_len;
    }
    return transfer->count > 0 && transfer->count <= RING_PIECES &&
           bits % transfer->file->alignment == 0 && file_posix_fd(transfer->file) >= 0;
}

bool file_ring_submit(FileRing *ring, FileTransfer *transfer)
{
    if (ring->in_flight >= RING_ENTRIES || !is_possible(transfer)) {
        return false;
    }
    transfer->ring = ring;
    list_init(&transfer->node);
    note_busy(ring);
    queue(ring, transfer);
    return true;
}

static void finish(FileTransfer *transfer, int result)
{
    FileRing *ring = transfer->ring;
    note_finished(ring);
    list_append(&ring->finished, &transfer->node);
    loop_hook_set(ring->loop, &ring->hook);
    transfer->finished(transfer, result);
}

static void skip(FileTransfer *transfer, size_t bytes)
{
    transfer->offset += bytes;
    while (transfer->count && bytes >= transfer->iov->iov_len) {
        bytes -= transfer->iov->iov_len;
        transfer->iov++;
        transfer->count--;
    }
    if (transfer->count) {
        transfer->iov->iov_base = (char *)transfer->iov->iov_base + bytes;
        transfer->iov->iov_len -= bytes;
    }
}

static void zero_rest(const FileTransfer *transfer)
{
    for (unsigned i = 0; i < transfer->count; i++) {
        memset(transfer->iov[i].iov_base, 0, transfer->iov[i].iov_len);
    }
}

/* The kernel answered @result: bytes or -errno. What is short goes on behind what was moved. */
static void take(FileTransfer *transfer, int result)
{
    if (result == -EINTR || result == -EAGAIN) {
        queue(transfer->ring, transfer);
        return;
    }
    if (result < 0 || (result == 0 && transfer->is_write)) {
        finish(transfer, result < 0 ? result : -EIO);
        return;
    }
    skip(transfer, (size_t)result);
    bool is_end =
        !transfer->is_write && (result == 0 || (unsigned)result % transfer->file->alignment != 0);
    if (is_end) {
        zero_rest(transfer);
    }
    if (is_end || transfer->count == 0) {
        finish(transfer, 0);
    } else {
        queue(transfer->ring, transfer);
    }
}

static void reap(FileRing *ring)
{
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned count;
    while ((count = io_uring_peek_batch_cqe(&ring->uring, cqes, REAP_BATCH)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            FileTransfer *transfer = io_uring_cqe_get_data(cqes[i]);
            int result = cqes[i]->res;
            io_uring_cqe_seen(&ring->uring, cqes[i]);
            take(transfer, result);
        }
    }
}

/* Hands over what was queued, and takes what is completed already (as pages of the host's cache
 * are). The kernel may be short of memory: tried again in the next round. */
static void flush(FileRing *ring)
{
    if (io_uring_sq_ready(&ring->uring) && io_uring_submit(&ring->uring) < 0) {
        loop_hook_set(ring->loop, &ring->hook);
    }
    reap(ring);
}

void file_ring_finish(FileRing *ring)
{
    while (ring->in_flight) {
        int rc = io_uring_submit_and_wait(&ring->uring, 1);
        lodge_assert(rc >= 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM);
        reap(ring);
    }
}

void file_ring_poll(FileRing *ring)
{
    unsigned left = 0;
    FileTransfer *transfer;
    list_for_each(&ring->finished, item, FileTransfer, node) {
        left++;
        (void)item;
    }
    /* One by one, no more than are there: done may poll too, and may submit. */
    while (left-- > 0 && (transfer = list_first(&ring->finished, FileTransfer, node))) {
        list_remove(&transfer->node);
        transfer->done(transfer);
    }
}

void file_rings_settle(void)
{
    while (busy_rings) {
        file_ring_finish(busy_rings);
    }
}
