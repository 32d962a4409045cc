/* One thread that serves a fixed number of deadlines.
 *
 * Armers store a deadline, then look at when the thread will wake; the thread stores when it will
 * wake, then looks at the deadlines again. So one of them sees the other, and only then is there a
 * futex call. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/timer-thread.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct TimerThread {
    void (*func)(void *opaque, unsigned index);
    void *opaque;
    pthread_t thread;
    _Atomic(int64_t) wakes_at_ns;
    _Atomic(uint32_t) wake_count; /* futex: changes with every wake */
    atomic_bool quit;
    unsigned count;
    _Atomic(int64_t) deadline_ns[];
};

static int64_t earliest(TimerThread *timers)
{
    int64_t first = TIMER_THREAD_OFF;
    for (unsigned i = 0; i < timers->count; i++) {
        int64_t deadline = atomic_load(&timers->deadline_ns[i]);
        first = deadline < first ? deadline : first;
    }
    return first;
}

static void wait_until(TimerThread *timers, uint32_t seen, int64_t deadline_ns)
{
    struct timespec when = { .tv_sec = deadline_ns / NS_PER_SEC,
                             .tv_nsec = deadline_ns % NS_PER_SEC };
    syscall(SYS_futex, &timers->wake_count, FUTEX_WAIT_BITSET_PRIVATE, seen,
            deadline_ns == TIMER_THREAD_OFF ? NULL : &when, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void wake(TimerThread *timers)
{
    atomic_fetch_add(&timers->wake_count, 1);
    syscall(SYS_futex, &timers->wake_count, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void serve_due(TimerThread *timers, int64_t now)
{
    for (unsigned i = 0; i < timers->count; i++) {
        int64_t deadline = atomic_load(&timers->deadline_ns[i]);
        /* A deadline that was moved meanwhile is looked at again in the next round. */
        if (deadline <= now &&
            atomic_compare_exchange_strong(&timers->deadline_ns[i], &deadline, TIMER_THREAD_OFF)) {
            timers->func(timers->opaque, i);
        }
    }
}

static void *timer_thread_main(void *opaque)
{
    TimerThread *timers = opaque;
    prctl(PR_SET_NAME, "lapic-timers");
    prctl(PR_SET_TIMERSLACK, 1);
    while (!atomic_load(&timers->quit)) {
        uint32_t seen = atomic_load(&timers->wake_count);
        int64_t first = earliest(timers);
        atomic_store(&timers->wakes_at_ns, first);
        /* A deadline stored before the store above, but not seen before it. */
        int64_t again = earliest(timers);
        first = again < first ? again : first;
        if (first > clock_monotonic_ns() && !atomic_load(&timers->quit)) {
            wait_until(timers, seen, first);
        }
        serve_due(timers, clock_monotonic_ns());
    }
    return NULL;
}

TimerThread *timer_thread_new(unsigned count, void (*func)(void *opaque, unsigned index),
                              void *opaque)
{
    TimerThread *timers = calloc(1, sizeof(*timers) + count * sizeof(timers->deadline_ns[0]));
    if (!timers) {
        return NULL;
    }
    timers->func = func;
    timers->opaque = opaque;
    timers->count = count;
    timers->wakes_at_ns = TIMER_THREAD_OFF;
    for (unsigned i = 0; i < count; i++) {
        timers->deadline_ns[i] = TIMER_THREAD_OFF;
    }
    /* Signals are for the threads that expect them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&timers->thread, NULL, timer_thread_main, timers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r) {
        free(timers);
        errno = r;
        return NULL;
    }
    return timers;
}

void timer_thread_free(TimerThread *timers)
{
    if (!timers) {
        return;
    }
    atomic_store(&timers->quit, true);
    wake(timers);
    pthread_join(timers->thread, NULL);
    free(timers);
}

void timer_thread_set(TimerThread *timers, unsigned index, int64_t deadline_ns)
{
    atomic_store(&timers->deadline_ns[index], deadline_ns);
    if (deadline_ns < atomic_load(&timers->wakes_at_ns)) {
        wake(timers);
    }
}
