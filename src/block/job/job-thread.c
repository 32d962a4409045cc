/* Jobs, their thread's side: pauses, limits, errors, copying.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "block/job/job-private.h"

#include <errno.h>
#include <string.h>

#define RETRY_NS (50 * NS_PER_MS)
#define ACCOUNT_NS (2 * NS_PER_SEC) /* longest wait for the limit at once */

static void wait_until(Job *job, int64_t deadline_ns)
{
    struct timespec until = { deadline_ns / NS_PER_SEC, deadline_ns % NS_PER_SEC };
    job->is_waiting = true;
    pthread_cond_timedwait(&job->changed, &job->lock, &until);
    job->is_waiting = false;
}

bool job_go_on(Job *job)
{
    LOCK_GUARD(&job->lock);
    if (job->is_user_paused && !job->is_force_cancelled) {
        job_post(job, JOB_NOTE_PAUSED);
        job->is_waiting = true;
        while (job->is_user_paused && !job->is_force_cancelled) {
            pthread_cond_wait(&job->changed, &job->lock);
        }
        job->is_waiting = false;
        job_post(job, JOB_NOTE_RESUMED);
    }
    return !job->is_force_cancelled;
}

static bool is_disturbed(const Job *job)
{
    return job->is_user_paused || job->is_cancelled || job->is_completing;
}

void job_account(Job *job, uint64_t bytes)
{
    LOCK_GUARD(&job->lock);
    int64_t now = clock_monotonic_ns();
    if (!job->speed) {
        return;
    }
    double wait = (double)bytes / (double)job->speed * (double)NS_PER_SEC;
    job->next_ns = MAX(job->next_ns, now) + (int64_t)MIN(wait, 1e18);
    while (job->speed && job->next_ns > now && !is_disturbed(job)) {
        wait_until(job, MIN(job->next_ns, now + ACCOUNT_NS));
        now = clock_monotonic_ns();
    }
}

void job_sleep(Job *job, unsigned ms)
{
    LOCK_GUARD(&job->lock);
    if (!is_disturbed(job)) {
        wait_until(job, clock_monotonic_ns() + (int64_t)ms * NS_PER_MS);
    }
}

void job_say_ready(Job *job)
{
    LOCK_GUARD(&job->lock);
    if (!job->is_ready) {
        job->is_ready = true;
        job_post(job, JOB_NOTE_READY);
    }
}

bool job_is_ending(Job *job)
{
    LOCK_GUARD(&job->lock);
    return job->is_completing || job->is_cancelled;
}

bool job_is_completing(Job *job)
{
    LOCK_GUARD(&job->lock);
    return job->is_completing && !job->is_cancelled;
}

void job_set_total(Job *job, uint64_t bytes)
{
    __atomic_store_n(&job->total, bytes, __ATOMIC_RELAXED);
}

void job_add_progress(Job *job, uint64_t bytes)
{
    __atomic_add_fetch(&job->current, bytes, __ATOMIC_RELAXED);
}

void job_fail(Job *job, const char *format, ...)
{
    va_list arguments;
    LOCK_GUARD(&job->lock);
    if (!job->error) {
        va_start(arguments, format);
        job->error = g_strdup_vprintf(format, arguments);
        va_end(arguments);
    }
}

/* Whoever ignores errors is not told of more than a few a second. */
static void wait_before_retry(Job *job)
{
    LOCK_GUARD(&job->lock);
    int64_t until = clock_monotonic_ns() + RETRY_NS;
    while (!job->is_force_cancelled && clock_monotonic_ns() < until) {
        wait_until(job, until);
    }
}

bool job_handle_error(Job *job, bool is_read, int rc)
{
    JobErrorPolicy policy = is_read ? job->on_source_error : job->on_target_error;
    bool is_full = rc == -ENOSPC || rc == -EDQUOT;
    bool stops = policy == JOB_ERROR_STOP || (policy == JOB_ERROR_ENOSPC && is_full);
    pthread_mutex_lock(&job->lock);
    job->error_is_read = is_read;
    job->error_action = stops ? "stop" : policy == JOB_ERROR_IGNORE ? "ignore" : "report";
    if (stops) {
        job->is_user_paused = true;
        job->io_error = -rc;
    }
    pthread_mutex_unlock(&job->lock);
    job_post(job, JOB_NOTE_ERROR);
    if (policy == JOB_ERROR_IGNORE) {
        wait_before_retry(job);
    }
    return (stops || policy == JOB_ERROR_IGNORE) && job_go_on(job);
}

static int copy_zeroes(const JobCopy *copy, uint64_t offset, uint64_t length)
{
    return block_write_zeroes(copy->target, offset, length, copy->unmaps ? BLOCK_IO_MAY_UNMAP : 0);
}

/* Whole clusters. */
static int copy_compressed(const JobCopy *copy, uint64_t offset, size_t length, bool *out_is_read)
{
    *out_is_read = true;
    int rc = block_pread(copy->source, offset, copy->buf, length);
    if (rc == 0) {
        *out_is_read = false;
        rc = block_is_zero(copy->buf, length)
                 ? copy_zeroes(copy, offset, length)
                 : block_write_compressed(copy->target, offset, copy->buf, length);
    }
    return rc;
}

int job_try_copy(const JobCopy *copy, uint64_t offset, size_t length, bool *out_is_read)
{
    BlockStatus status;
    BlockNode *where;
    unsigned depth;
    int rc = 0;
    if (copy->is_compressed) {
        return copy_compressed(copy, offset, length, out_is_read);
    }
    for (size_t done = 0; rc == 0 && done < length; done += status.length) {
        *out_is_read = true;
        rc = block_status_chain(copy->source, NULL, offset + done, length - done, &status, &where,
                                &depth);
        bool is_zero = rc == 0 && (status.flags & BLOCK_STATUS_ZERO);
        if (rc == 0 && status.length == 0) {
            break;
        }
        if (rc == 0 && !is_zero) {
            rc = block_pread(copy->source, offset + done, copy->buf, status.length);
        }
        if (rc == 0) {
            *out_is_read = false;
            rc = is_zero ? copy_zeroes(copy, offset + done, status.length)
                         : block_pwrite(copy->target, offset + done, copy->buf, status.length, 0);
        }
    }
    return rc;
}

int job_copy_part(Job *job, const JobCopy *copy, uint64_t offset, size_t length)
{
    bool is_read;
    int rc;
    while ((rc = job_try_copy(copy, offset, length, &is_read)) < 0) {
        if (!job_handle_error(job, is_read, rc)) {
            return rc;
        }
    }
    return 0;
}
