/* Worker threads.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "event/workpool.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define THREADS_LIMIT 64

struct WorkPool {
    EventLoop *loop;
    LoopWatch *watch;
    int done_fd;
    unsigned max_threads;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a job came, or the pool ends */
    List waiting;        /* under lock */
    List done;           /* under lock */
    unsigned idle;       /* threads that wait; under lock */
    unsigned queued;     /* length of waiting; under lock */
    bool is_ending;      /* under lock */
    unsigned threads;    /* under lock */
    pthread_t thread[THREADS_LIMIT];
};

static void announce(WorkPool *pool)
{
    uint64_t one = 1;
    ssize_t rc = write(pool->done_fd, &one, sizeof(one));
    (void)rc; /* EAGAIN: the counter is full, so the loop is awake already */
}

/* The loop takes all that are there, so it is told of the first alone. */
static void finish(WorkPool *pool, Work *work)
{
    bool is_first = list_is_empty(&pool->done);
    list_append(&pool->done, &work->node);
    if (is_first) {
        announce(pool);
    }
}

static void *worker(void *opaque)
{
    WorkPool *pool = opaque;
    LOCK_GUARD(&pool->lock);
    for (;;) {
        pool->idle++;
        while (list_is_empty(&pool->waiting) && !pool->is_ending) {
            pthread_cond_wait(&pool->wake, &pool->lock);
        }
        pool->idle--;
        Work *work = list_first(&pool->waiting, Work, node);
        if (!work) {
            return NULL;
        }
        list_remove(&work->node);
        pool->queued--;
        pthread_mutex_unlock(&pool->lock);
        work->run(work);
        pthread_mutex_lock(&pool->lock);
        finish(pool, work);
    }
}

/* Signals are for the threads that expect them. */
static bool start_thread(WorkPool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&pool->thread[pool->threads], NULL, worker, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(pool->thread[pool->threads], "worker");
        pool->threads++;
    }
    return rc == 0;
}

static void on_done(void *opaque, uint32_t events)
{
    workpool_poll(opaque);
}

WorkPool *workpool_new(EventLoop *loop, unsigned max_threads)
{
    lodge_assert(max_threads >= 1);
    WorkPool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        return NULL;
    }
    pool->loop = loop;
    pool->max_threads = max_threads < THREADS_LIMIT ? max_threads : THREADS_LIMIT;
    list_init(&pool->waiting);
    list_init(&pool->done);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool->done_fd >= 0) {
        pool->watch = loop_watch(loop, pool->done_fd, EPOLLIN, on_done, pool);
    }
    if (!pool->watch) {
        int saved = errno;
        workpool_free(pool);
        errno = saved;
        return NULL;
    }
    return pool;
}

void workpool_free(WorkPool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++) {
        pthread_join(pool->thread[i], NULL);
    }
    workpool_poll(pool);
    lodge_assert(list_is_empty(&pool->waiting) && list_is_empty(&pool->done));
    loop_unwatch(pool->watch);
    cleanup_close(&pool->done_fd);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void workpool_submit(WorkPool *pool, Work *work)
{
    pthread_mutex_lock(&pool->lock);
    lodge_assert(!pool->is_ending);
    bool wants_thread = pool->idle <= pool->queued && pool->threads < pool->max_threads;
    if (wants_thread && !start_thread(pool) && pool->threads == 0) {
        pthread_mutex_unlock(&pool->lock);
        work->run(work);
        pthread_mutex_lock(&pool->lock);
        finish(pool, work);
    } else {
        list_append(&pool->waiting, &work->node);
        pool->queued++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
}

static unsigned count_done(WorkPool *pool)
{
    LOCK_GUARD(&pool->lock);
    unsigned count = 0;
    list_for_each(&pool->done, work, Work, node) {
        count++;
    }
    return count;
}

/* @is_last: of this round; the loop is told of those that came meanwhile. */
static Work *take_done(WorkPool *pool, bool is_last)
{
    LOCK_GUARD(&pool->lock);
    Work *work = list_first(&pool->done, Work, node);
    if (work) {
        list_remove(&work->node);
    }
    if (is_last && !list_is_empty(&pool->done)) {
        announce(pool);
    }
    return work;
}

void workpool_poll(WorkPool *pool)
{
    uint64_t count;
    ssize_t rc = read(pool->done_fd, &count, sizeof(count));
    (void)rc; /* EAGAIN: nothing ran since the last look */
    Work *work;
    /* No more than are there: what done() submits may be done at once, again and again. One by one:
     * done() may poll too, and then finds the others. */
    for (unsigned left = count_done(pool); left > 0 && (work = take_done(pool, left == 1));
         left--) {
        work->done(work);
    }
}
