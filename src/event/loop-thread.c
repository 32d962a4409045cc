/* Threads with a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "event/loop-thread.h"

#include "base/cleanup.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct LoopThread {
    EventLoop *loop;
    pthread_t thread;
    pid_t id;
    void (*settle)(void);
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned pauses; /* wanted; under lock */
    bool is_running; /* the loop, in a handler or waiting for events; under lock */
};

/* On the loop, between two handlers. */
static void rest(void *opaque)
{
    LoopThread *thread = opaque;
    if (thread->settle) {
        thread->settle();
    }
    LOCK_GUARD(&thread->lock);
    while (thread->pauses > 0) {
        thread->is_running = false;
        pthread_cond_broadcast(&thread->changed);
        pthread_cond_wait(&thread->changed, &thread->lock);
    }
    thread->is_running = true;
    pthread_cond_broadcast(&thread->changed);
}

static void *run(void *opaque)
{
    LoopThread *thread = opaque;
    thread->id = gettid();
    loop_run(thread->loop);
    return NULL;
}

/* Signals are for the threads that expect them. */
static int start(LoopThread *thread, const char *name)
{
    sigset_t all, before;
    char shown[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread->thread, NULL, run, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        snprintf(shown, sizeof(shown), "%s", name);
        pthread_setname_np(thread->thread, shown);
    }
    return rc;
}

LoopThread *loop_thread_new(const char *name, void (*settle)(void))
{
    LoopThread *thread = calloc(1, sizeof(*thread));
    if (!thread) {
        return NULL;
    }
    thread->settle = settle;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_cond_init(&thread->changed, NULL);
    thread->loop = loop_new();
    int rc = thread->loop ? -loop_call(thread->loop, rest, thread) : errno;
    rc = rc ? rc : start(thread, name);
    if (rc) {
        loop_free(thread->loop);
        pthread_cond_destroy(&thread->changed);
        pthread_mutex_destroy(&thread->lock);
        free(thread);
        errno = rc;
        return NULL;
    }
    LOCK_GUARD(&thread->lock);
    while (!thread->is_running) {
        pthread_cond_wait(&thread->changed, &thread->lock);
    }
    return thread;
}

void loop_thread_free(LoopThread *thread)
{
    if (!thread) {
        return;
    }
    loop_quit(thread->loop);
    pthread_join(thread->thread, NULL);
    loop_free(thread->loop);
    pthread_cond_destroy(&thread->changed);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

EventLoop *loop_thread_loop(const LoopThread *thread)
{
    return thread->loop;
}

pid_t loop_thread_id(const LoopThread *thread)
{
    return thread->id;
}

void loop_thread_pause(LoopThread *thread)
{
    if (!thread) {
        return;
    }
    pthread_mutex_lock(&thread->lock);
    bool is_first = thread->pauses++ == 0;
    pthread_mutex_unlock(&thread->lock);
    while (is_first && loop_call(thread->loop, rest, thread) < 0) {
        sched_yield(); /* memory is short: others give some back */
    }
    LOCK_GUARD(&thread->lock);
    while (thread->is_running) {
        pthread_cond_wait(&thread->changed, &thread->lock);
    }
}

/* The next pause begins after this one is over: it would take the thread for resting. */
void loop_thread_continue(LoopThread *thread)
{
    if (!thread) {
        return;
    }
    LOCK_GUARD(&thread->lock);
    if (--thread->pauses > 0) {
        return;
    }
    pthread_cond_broadcast(&thread->changed);
    while (!thread->is_running) {
        pthread_cond_wait(&thread->changed, &thread->lock);
    }
}
