/* Locks of ranges of a disk: who holds a range keeps out those that want bytes of it.
 * Context: any thread. libc only. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_RANGE_LOCK_H
#define LODGE_BLOCK_RANGE_LOCK_H

#include "base/list.h"

#include <pthread.h>
#include <stdint.h>

typedef struct RangeLock {
    pthread_mutex_t mutex;
    pthread_cond_t released;
    List held; /* of RangeHold */
} RangeLock;

/* On the stack of who holds it. */
typedef struct RangeHold {
    List node;
    uint64_t offset, length;
} RangeHold;

void range_lock_init(RangeLock *lock);
void range_lock_done(RangeLock *lock);
/* Waits for those that hold bytes of the range. */
void range_lock_take(RangeLock *lock, RangeHold *hold, uint64_t offset, uint64_t length);
void range_lock_release(RangeLock *lock, RangeHold *hold);

#endif
