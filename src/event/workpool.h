/* Worker threads for system calls that may block: a job runs on any of them, then its owner hears
 * of it on the loop.
 *
 * Threads are started as jobs come, up to a limit. Jobs start in the order submitted and may finish
 * in any. SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_EVENT_WORKPOOL_H
#define LODGE_EVENT_WORKPOOL_H

#include "base/list.h"
#include "event/loop.h"

typedef struct WorkPool WorkPool;
typedef struct Work Work;

/* A job; embedded in what it works on. */
struct Work {
    void (*run)(Work *work);  /* on a worker thread */
    void (*done)(Work *work); /* on the loop, after run; may submit or free the job */
    List node;                /* of the pool */
};

/**
 * workpool_new - a pool whose jobs report to @loop
 * @max_threads: at least 1
 *
 * Context: the loop. Returns: the pool, or NULL with errno set.
 */
WorkPool *workpool_new(EventLoop *loop, unsigned max_threads) LODGE_MUST_CHECK;

/* Waits for all jobs, calls their done, and ends the threads. NULL is accepted. Context: the loop.
 */
void workpool_free(WorkPool *pool);

/* Hands @work over until its done is called. If no thread can be started and none runs, the job
 * runs at once; its done still comes later. Context: any thread. */
void workpool_submit(WorkPool *pool, Work *work);

/* Calls done of what has run. Context: the loop. */
void workpool_poll(WorkPool *pool);

#endif
