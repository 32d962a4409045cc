/* Event loop on epoll: descriptors, timers and calls posted from other threads.
 *
 * A loop belongs to the thread that runs it. Only loop_call(), loop_call_wait(), loop_wake() and
 * loop_quit() may come from another thread; everything else is called on the loop's thread, or
 * before it runs. SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_EVENT_LOOP_H
#define LODGE_EVENT_LOOP_H

#include "base/compiler.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct EventLoop EventLoop;
typedef struct LoopWatch LoopWatch;
typedef struct LoopTimer LoopTimer;

typedef void (*LoopFunc)(void *opaque);
/* @events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as epoll reports them. */
typedef void (*LoopWatchFunc)(void *opaque, uint32_t events);

/* Returns: a loop, or NULL with errno set. */
EventLoop *loop_new(void) LODGE_MUST_CHECK;

/* Frees @loop (may be NULL) with its watches and timers; calls that are still posted are dropped.
 */
void loop_free(EventLoop *loop);

/**
 * loop_watch - call @func when @fd becomes ready (level-triggered)
 * @fd:     borrowed; stays open until loop_unwatch()
 * @events: EPOLLIN and EPOLLOUT; 0 keeps the watch silent but for errors
 *
 * Returns: the watch, or NULL with errno set (EPERM: @fd cannot be polled, as a plain file).
 */
LoopWatch *loop_watch(EventLoop *loop, int fd, uint32_t events, LoopWatchFunc func,
                      void *opaque) LODGE_MUST_CHECK;

/* Changes what @watch waits for. */
void loop_watch_set_events(LoopWatch *watch, uint32_t events);

/* Ends @watch (may be NULL), also from inside its own function; it is not called again. */
void loop_unwatch(LoopWatch *watch);

/* A timer that is not armed. Returns NULL with errno set when memory is short. */
LoopTimer *loop_timer_new(EventLoop *loop, LoopFunc func, void *opaque) LODGE_MUST_CHECK;

/* Arms @timer for @deadline_ns on CLOCK_MONOTONIC, once; an earlier deadline is forgotten. */
void loop_timer_set(LoopTimer *timer, int64_t deadline_ns);

/* Disarms @timer (may be NULL). */
void loop_timer_cancel(LoopTimer *timer);

/* Disarms and frees @timer (may be NULL), also from inside its own function. */
void loop_timer_free(LoopTimer *timer);

/**
 * loop_call - run @func on the loop's thread, in the order posted
 *
 * Context: any thread. Returns: 0, or -ENOMEM.
 */
int loop_call(EventLoop *loop, LoopFunc func, void *opaque) LODGE_MUST_CHECK;

/**
 * loop_call_wait - run @func on the loop's thread and wait until it has returned
 *
 * On the loop's own thread, or while no thread runs the loop, it is called directly. Context: any
 * thread that the loop's thread does not wait for. Returns: 0, or -ENOMEM.
 */
int loop_call_wait(EventLoop *loop, LoopFunc func, void *opaque) LODGE_MUST_CHECK;

/* Drops the calls posted for @opaque that have not begun; nobody may wait for one. Context: the
 * loop's thread, or while none runs it. */
void loop_cancel_calls(EventLoop *loop, void *opaque);

/* A function to be called once, before the loop waits again: what piled up in a round is then
 * handed on together. Embedded in its owner. */
typedef struct LoopHook {
    LoopFunc func;
    void *opaque;
    List node; /* of the loop; unlinked when not armed */
} LoopHook;

void loop_hook_init(LoopHook *hook, LoopFunc func, void *opaque);
/* Arms @hook; twice counts once. One that arms itself runs again after the next events, for which
 * the loop then does not wait. */
void loop_hook_set(EventLoop *loop, LoopHook *hook);
void loop_hook_cancel(LoopHook *hook);

/**
 * loop_set_busy_wait - look for events for a while before the loop sleeps
 * @max_ns: for how long at most; 0 (as a new loop has it): not at all
 *
 * For loops that answer peers: waking a processor that sleeps takes longer than most answers. The
 * loop waits busily only after a wait that was shorter than @max_ns, and the rarer the more often
 * that was in vain (down to one such wait in 512): where the peer needs the very processor on which
 * this thread waits, as on a busy host, it soon sleeps at once. An idle loop is never busy.
 * Context: the loop's thread, or before it runs.
 */
void loop_set_busy_wait(EventLoop *loop, int64_t max_ns);

/* Makes a waiting loop_run_once() return. Context: any thread, also a signal handler. */
void loop_wake(EventLoop *loop);

/**
 * loop_run_once - wait for one round of events and handle them
 * @timeout_ms: longest wait; 0 only looks, -1 waits for ever
 *
 * Each ready descriptor and due timer is handled once. Returns: 0 or -errno of epoll_wait().
 */
int loop_run_once(EventLoop *loop, int timeout_ms);

/**
 * loop_run_calls - wait until the loop is woken, then run posted calls and nothing else
 *
 * For a handler that waits for another thread, which in turn may be waiting in loop_call_wait():
 * the other thread calls loop_wake() when it is done, the handler calls this until it sees that.
 * Context: the loop's thread.
 */
void loop_run_calls(EventLoop *loop);

/* Makes the calling thread the loop's for good, whether it runs it or not: then loop_call_wait() of
 * other threads always waits for it. For programs with threads that begin before the loop runs, or
 * outlast that; such a program waits for them by loop_run_calls(). */
void loop_own(EventLoop *loop);

/* Runs until loop_quit(). */
void loop_run(EventLoop *loop);

/* Ends loop_run() after the present round. Context: any thread. */
void loop_quit(EventLoop *loop);

/* Whether the calling thread is inside loop_run() or loop_run_once() of @loop, or owns it. */
bool loop_is_current(const EventLoop *loop);

#endif
