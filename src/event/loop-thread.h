/* A thread that runs a loop of its own until it is freed, and that another thread can make pause.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_EVENT_LOOP_THREAD_H
#define LODGE_EVENT_LOOP_THREAD_H

#include "event/loop.h"

#include <sys/types.h>

typedef struct LoopThread LoopThread;

/**
 * loop_thread_new - start a thread with a loop
 * @name:   of the thread; at most 15 characters are shown
 * @settle: called on the thread before each pause, for what only it can finish; may be NULL
 *
 * The loop runs when this returns. Returns: the thread, or NULL with errno set.
 */
LoopThread *loop_thread_new(const char *name, void (*settle)(void)) LODGE_MUST_CHECK;
/* Ends the loop after the present round and frees it; nobody uses it any more. NULL is accepted.
 * Context: another thread. */
void loop_thread_free(LoopThread *thread);
EventLoop *loop_thread_loop(const LoopThread *thread);
/* The kernel's number of the thread. */
pid_t loop_thread_id(const LoopThread *thread);

/* Between the two, the thread is inside no handler of its loop: the caller may do what otherwise
 * only the loop's thread may (but not wait for it). Pauses may be nested. NULL: nothing happens.
 * Context: one other thread, which holds no lock that a handler takes. */
void loop_thread_pause(LoopThread *thread);
void loop_thread_continue(LoopThread *thread);

#endif
