/* System calls and io_uring transfers that fail.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fault-calls.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#define BROKEN_MAX 1024u

static struct {
    pthread_mutex_t lock;
    dev_t device;
    ino_t inode;
    FaultPlan plan;
    uint64_t seen_by_ring, failed, failed_by_ring;
    uint64_t broken[BROKEN_MAX]; /* user data of transfers that shall fail */
    unsigned broken_count;
} calls = { .lock = PTHREAD_MUTEX_INITIALIZER };

void fault_calls_watch(const char *path)
{
    struct stat st;
    int rc = stat(path, &st);
    lodge_assert(rc == 0);
    pthread_mutex_lock(&calls.lock);
    calls.device = st.st_dev;
    calls.inode = st.st_ino;
    pthread_mutex_unlock(&calls.lock);
}

void fault_calls_arm(const FaultPlan *plan)
{
    pthread_mutex_lock(&calls.lock);
    calls.plan = *plan;
    calls.plan.seen = 0;
    calls.seen_by_ring = calls.failed = calls.failed_by_ring = 0;
    pthread_mutex_unlock(&calls.lock);
}

void fault_calls_mend(void)
{
    pthread_mutex_lock(&calls.lock);
    calls.plan.at = 0;
    pthread_mutex_unlock(&calls.lock);
}

uint64_t fault_calls_seen(uint64_t *out_by_ring)
{
    pthread_mutex_lock(&calls.lock);
    uint64_t seen = calls.plan.seen;
    *out_by_ring = calls.seen_by_ring;
    pthread_mutex_unlock(&calls.lock);
    return seen;
}

uint64_t fault_calls_failed(uint64_t *out_by_ring)
{
    pthread_mutex_lock(&calls.lock);
    uint64_t failed = calls.failed;
    *out_by_ring = calls.failed_by_ring;
    pthread_mutex_unlock(&calls.lock);
    return failed;
}

static bool is_watched(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == calls.device && st.st_ino == calls.inode;
}

/* Counts one operation; the lock is held. Returns: 0, or the errno with which it fails. */
static int count(FaultOp op, bool is_by_ring)
{
    FaultPlan *plan = &calls.plan;
    if (!(plan->ops & op)) {
        return 0;
    }
    plan->seen++;
    calls.seen_by_ring += is_by_ring;
    bool is_hit = plan->at && (plan->is_sticky ? plan->seen >= plan->at : plan->seen == plan->at);
    calls.failed += is_hit;
    calls.failed_by_ring += is_hit && is_by_ring;
    return is_hit ? plan->error : 0;
}

/* Returns: 0, or the errno with which the call fails; *@out_is_done: it is done all the same. */
static int strike(int fd, FaultOp op, bool *out_is_done)
{
    int error = 0;
    pthread_mutex_lock(&calls.lock);
    if (calls.plan.ops && is_watched(fd)) {
        error = count(op, false);
    }
    *out_is_done = error && op == FAULT_WRITE && calls.plan.is_torn;
    pthread_mutex_unlock(&calls.lock);
    return error;
}

/* Calls: __real_NAME is the C library's, __wrap_NAME what the program calls as NAME. */

ssize_t __real_preadv64(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __real_pwritev64(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wanted);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wanted);
unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count);

ssize_t __wrap_preadv64(int fd, const struct iovec *iov, int count, off_t offset)
{
    bool is_done;
    int error = strike(fd, FAULT_READ, &is_done);
    if (error) {
        errno = error;
        return -1;
    }
    return __real_preadv64(fd, iov, count, offset);
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
    bool is_done;
    int error = strike(fd, FAULT_WRITE, &is_done);
    ssize_t rc = !error || is_done ? __real_pwritev64(fd, iov, count, offset) : -1;
    if (error) {
        errno = error;
        return -1;
    }
    return rc;
}

int __wrap_fdatasync(int fd)
{
    bool is_done;
    int error = strike(fd, FAULT_FLUSH, &is_done);
    if (error) {
        errno = error;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    bool is_done;
    int error = strike(fd, FAULT_RESIZE, &is_done);
    if (error) {
        errno = error;
        return -1;
    }
    return __real_ftruncate64(fd, size);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
    bool is_done;
    int error = strike(fd, FAULT_RESIZE, &is_done);
    if (error) {
        errno = error;
        return -1;
    }
    return __real_fallocate64(fd, mode, offset, length);
}

/* io_uring */

static void break_entry(struct io_uring_sqe *entry)
{
    FaultOp op = entry->opcode == IORING_OP_WRITEV ? FAULT_WRITE : FAULT_READ;
    if (calls.plan.ops && is_watched(entry->fd) && count(op, true)) {
        lodge_assert(calls.broken_count < BROKEN_MAX);
        calls.broken[calls.broken_count++] = entry->user_data;
        entry->fd = op == FAULT_WRITE && calls.plan.is_torn ? entry->fd : -1;
    }
}

static void break_queued(struct io_uring *ring)
{
    pthread_mutex_lock(&calls.lock);
    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
        break_entry(&ring->sq.sqes[i & ring->sq.ring_mask]);
    }
    pthread_mutex_unlock(&calls.lock);
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
    break_queued(ring);
    return __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wanted)
{
    break_queued(ring);
    return __real_io_uring_submit_and_wait(ring, wanted);
}

static void break_completion(struct io_uring_cqe *cqe)
{
    for (unsigned i = 0; i < calls.broken_count; i++) {
        if (calls.broken[i] == cqe->user_data) {
            calls.broken[i] = calls.broken[--calls.broken_count];
            cqe->res = -calls.plan.error;
            return;
        }
    }
}

unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count)
{
    unsigned got = __real_io_uring_peek_batch_cqe(ring, cqes, count);
    pthread_mutex_lock(&calls.lock);
    for (unsigned i = 0; i < got; i++) {
        break_completion(cqes[i]);
    }
    pthread_mutex_unlock(&calls.lock);
    return got;
}
