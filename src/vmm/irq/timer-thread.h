/* One thread that serves a fixed number of deadlines, made for local APIC timers: arming takes no
 * lock, and no system call unless the new deadline is the earliest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_TIMER_THREAD_H
#define LODGE_VMM_IRQ_TIMER_THREAD_H

#include "base/compiler.h"

#include <stdint.h>

#define TIMER_THREAD_OFF INT64_MAX

typedef struct TimerThread TimerThread;

/* @func: called on the thread with the index of a deadline that passed; it was disarmed before.
 * @count: > 0. Returns NULL with errno set. */
TimerThread *timer_thread_new(unsigned count, void (*func)(void *opaque, unsigned index),
                              void *opaque) LODGE_MUST_CHECK;

/* Ends the thread; @func is not called afterwards. NULL is accepted. Context: not from @func. */
void timer_thread_free(TimerThread *timers);

/* Arms deadline @index for @deadline_ns on CLOCK_MONOTONIC, or disarms it with TIMER_THREAD_OFF (a
 * call of @func may already be on its way). Context: any thread, also @func; no two at once for one
 * index. */
void timer_thread_set(TimerThread *timers, unsigned index, int64_t deadline_ns);

#endif
