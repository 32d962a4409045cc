/* Locks of ranges. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/range-lock.h"

#include "base/cleanup.h"

#include <stdbool.h>

void range_lock_init(RangeLock *lock)
{
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_cond_init(&lock->released, NULL);
    list_init(&lock->held);
}

void range_lock_done(RangeLock *lock)
{
    pthread_cond_destroy(&lock->released);
    pthread_mutex_destroy(&lock->mutex);
}

static bool is_held(RangeLock *lock, uint64_t offset, uint64_t length)
{
    list_for_each(&lock->held, hold, RangeHold, node) {
        if (offset < hold->offset + hold->length && hold->offset < offset + length) {
            return true;
        }
    }
    return false;
}

void range_lock_take(RangeLock *lock, RangeHold *hold, uint64_t offset, uint64_t length)
{
    LOCK_GUARD(&lock->mutex);
    while (is_held(lock, offset, length)) {
        pthread_cond_wait(&lock->released, &lock->mutex);
    }
    hold->offset = offset;
    hold->length = length;
    list_append(&lock->held, &hold->node);
}

void range_lock_release(RangeLock *lock, RangeHold *hold)
{
    LOCK_GUARD(&lock->mutex);
    list_remove(&hold->node);
    pthread_cond_broadcast(&lock->released);
}
