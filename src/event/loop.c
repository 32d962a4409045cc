/* Event loop on epoll.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "event/loop.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define EVENTS_PER_ROUND 64
/* Of the waits that could begin with a busy one, at least one in 2^this does. */
#define BUSY_SHIFT_MAX 9u

struct LoopWatch {
    List node; /* in loop->watches, or loop->dead_watches after loop_unwatch() */
    EventLoop *loop;
    int fd;
    bool dead;
    LoopWatchFunc func;
    void *opaque;
};

struct LoopTimer {
    List node; /* in loop->timers sorted by deadline; unlinked when not armed */
    EventLoop *loop;
    int64_t deadline_ns;
    LoopFunc func;
    void *opaque;
};

typedef struct PostedCall {
    List node;
    LoopFunc func;
    void *opaque;
    struct CallWaiter *waiter; /* NULL: nobody waits; the call is freed after it ran */
} PostedCall;

typedef struct CallWaiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done; /* under lock */
} CallWaiter;

/* See loop_set_busy_wait(). */
typedef struct BusyWait {
    int64_t max_ns; /* 0: never */
    bool is_likely; /* the last wait was shorter than that */
    unsigned shift; /* how often it was in vain of late: one wait in 2^shift begins busy */
    unsigned skip;  /* waits until the next that does */
} BusyWait;

struct EventLoop {
    int epoll_fd;
    int wake_fd;
    List watches;
    List dead_watches; /* freed between rounds: an event of this round may still name them */
    List timers;
    List hooks;
    pthread_mutex_t lock;
    List calls; /* under lock */
    atomic_bool quit;
    _Atomic(unsigned long) runner; /* thread inside the loop, or its owner; 0: none */
    unsigned depth;                /* rounds inside rounds; of the runner */
    BusyWait busy;                 /* of the runner */
};

EventLoop *loop_new(void)
{
    EventLoop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        return NULL;
    }
    list_init(&loop->watches);
    list_init(&loop->dead_watches);
    list_init(&loop->timers);
    list_init(&loop->hooks);
    list_init(&loop->calls);
    pthread_mutex_init(&loop->lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
        int saved = errno;
        loop_free(loop);
        errno = saved;
        return NULL;
    }
    return loop;
}

static void free_watches(List *watches)
{
    list_for_each(watches, watch, LoopWatch, node) {
        list_remove(&watch->node);
        free(watch);
    }
}

void loop_free(EventLoop *loop)
{
    if (!loop) {
        return;
    }
    free_watches(&loop->watches);
    free_watches(&loop->dead_watches);
    list_for_each(&loop->timers, timer, LoopTimer, node) {
        list_remove(&timer->node);
    }
    list_for_each(&loop->hooks, hook, LoopHook, node) {
        list_remove(&hook->node);
    }
    list_for_each(&loop->calls, call, PostedCall, node) {
        list_remove(&call->node);
        if (!call->waiter) {
            free(call);
        }
    }
    cleanup_close(&loop->epoll_fd);
    cleanup_close(&loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

LoopWatch *loop_watch(EventLoop *loop, int fd, uint32_t events, LoopWatchFunc func, void *opaque)
{
    LoopWatch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        return NULL;
    }
    *watch = (LoopWatch){ .loop = loop, .fd = fd, .func = func, .opaque = opaque };
    struct epoll_event event = { .events = events, .data.ptr = watch };
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(watch);
        return NULL;
    }
    list_append(&loop->watches, &watch->node);
    return watch;
}

void loop_watch_set_events(LoopWatch *watch, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };
    int rc = epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
    lodge_assert(rc == 0);
}

void loop_unwatch(LoopWatch *watch)
{
    if (!watch) {
        return;
    }
    epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->dead = true;
    list_remove(&watch->node);
    list_append(&watch->loop->dead_watches, &watch->node);
}

LoopTimer *loop_timer_new(EventLoop *loop, LoopFunc func, void *opaque)
{
    LoopTimer *timer = calloc(1, sizeof(*timer));
    if (timer) {
        *timer = (LoopTimer){ .loop = loop, .func = func, .opaque = opaque };
        list_init(&timer->node);
    }
    return timer;
}

void loop_timer_set(LoopTimer *timer, int64_t deadline_ns)
{
    List *timers = &timer->loop->timers;
    list_remove(&timer->node);
    timer->deadline_ns = deadline_ns;
    List *where = timers;
    while (where->prev != timers &&
           list_entry(where->prev, LoopTimer, node)->deadline_ns > deadline_ns) {
        where = where->prev;
    }
    list_insert_before(where, &timer->node);
}

void loop_timer_cancel(LoopTimer *timer)
{
    if (timer) {
        list_remove(&timer->node);
    }
}

void loop_timer_free(LoopTimer *timer)
{
    loop_timer_cancel(timer);
    free(timer);
}

void loop_set_busy_wait(EventLoop *loop, int64_t max_ns)
{
    loop->busy = (BusyWait){ .max_ns = max_ns };
}

void loop_hook_init(LoopHook *hook, LoopFunc func, void *opaque)
{
    *hook = (LoopHook){ .func = func, .opaque = opaque };
    list_init(&hook->node);
}

void loop_hook_set(EventLoop *loop, LoopHook *hook)
{
    if (list_is_empty(&hook->node)) {
        list_append(&loop->hooks, &hook->node);
    }
}

void loop_hook_cancel(LoopHook *hook)
{
    list_remove(&hook->node);
}

static int post(EventLoop *loop, LoopFunc func, void *opaque, CallWaiter *waiter)
{
    PostedCall *call = malloc(sizeof(*call));
    if (!call) {
        return -ENOMEM;
    }
    *call = (PostedCall){ .func = func, .opaque = opaque, .waiter = waiter };
    pthread_mutex_lock(&loop->lock);
    list_append(&loop->calls, &call->node);
    pthread_mutex_unlock(&loop->lock);
    loop_wake(loop);
    return 0;
}

int loop_call(EventLoop *loop, LoopFunc func, void *opaque)
{
    return post(loop, func, opaque, NULL);
}

int loop_call_wait(EventLoop *loop, LoopFunc func, void *opaque)
{
    if (loop_is_current(loop) || !loop->runner) {
        func(opaque);
        return 0;
    }
    CallWaiter waiter = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
    int rc = post(loop, func, opaque, &waiter);
    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done) {
        pthread_cond_wait(&waiter.cond, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    return 0;
}

void loop_cancel_calls(EventLoop *loop, void *opaque)
{
    LOCK_GUARD(&loop->lock);
    list_for_each(&loop->calls, call, PostedCall, node) {
        if (call->opaque == opaque) {
            lodge_assert(!call->waiter);
            list_remove(&call->node);
            free(call);
        }
    }
}

void loop_wake(EventLoop *loop)
{
    uint64_t one = 1;
    ssize_t rc = write(loop->wake_fd, &one, sizeof(one));
    (void)rc; /* EAGAIN: the counter is full, so the loop is awake already */
}

static void run_call(PostedCall *call)
{
    CallWaiter *waiter = call->waiter;
    call->func(call->opaque);
    free(call);
    if (waiter) {
        pthread_mutex_lock(&waiter->lock);
        waiter->done = true;
        pthread_cond_signal(&waiter->cond);
        pthread_mutex_unlock(&waiter->lock);
    }
}

static PostedCall *take_call(EventLoop *loop)
{
    LOCK_GUARD(&loop->lock);
    if (list_is_empty(&loop->calls)) {
        return NULL;
    }
    PostedCall *call = list_first(&loop->calls, PostedCall, node);
    list_remove(&call->node);
    return call;
}

static unsigned count_calls(EventLoop *loop)
{
    LOCK_GUARD(&loop->lock);
    unsigned count = 0;
    list_for_each(&loop->calls, call, PostedCall, node) {
        count++;
    }
    return count;
}

/* Runs what was posted before the round; a call that posts itself again waits for the next one.
 * Calls are taken one by one, so that one of them may run the others by loop_run_calls(). */
static void run_calls(EventLoop *loop)
{
    uint64_t count;
    ssize_t rc = read(loop->wake_fd, &count, sizeof(count));
    (void)rc; /* EAGAIN: nobody woke the loop */
    for (unsigned left = count_calls(loop); left; left--) {
        PostedCall *call = take_call(loop);
        if (!call) {
            return;
        }
        run_call(call);
    }
}

/* Runs the timers that are due now; one that arms itself for the past waits for the next round. */
static void run_timers(EventLoop *loop)
{
    if (list_is_empty(&loop->timers)) {
        return;
    }
    int64_t now = clock_monotonic_ns();
    List due;
    list_init(&due);
    list_for_each(&loop->timers, timer, LoopTimer, node) {
        if (timer->deadline_ns > now) {
            break;
        }
        list_remove(&timer->node);
        list_append(&due, &timer->node);
    }
    while (!list_is_empty(&due)) {
        LoopTimer *timer = list_first(&due, LoopTimer, node);
        list_remove(&timer->node);
        timer->func(timer->opaque);
    }
}

/* Runs the hooks that are armed now. */
static void run_hooks(EventLoop *loop)
{
    List armed;
    list_init(&armed);
    list_for_each(&loop->hooks, hook, LoopHook, node) {
        list_remove(&hook->node);
        list_append(&armed, &hook->node);
    }
    while (!list_is_empty(&armed)) {
        LoopHook *hook = list_first(&armed, LoopHook, node);
        list_remove(&hook->node);
        hook->func(hook->opaque);
    }
}

static struct timespec wait_time(const EventLoop *loop, int timeout_ms)
{
    int64_t wait_ns = timeout_ms < 0 ? INT64_MAX : timeout_ms * NS_PER_MS;
    if (!list_is_empty(&loop->hooks)) {
        return (struct timespec){ 0 };
    }
    if (!list_is_empty(&loop->timers)) {
        int64_t left =
            list_first(&loop->timers, LoopTimer, node)->deadline_ns - clock_monotonic_ns();
        wait_ns = left < 0 ? 0 : left < wait_ns ? left : wait_ns;
    }
    return (struct timespec){ .tv_sec = wait_ns / NS_PER_SEC, .tv_nsec = wait_ns % NS_PER_SEC };
}

static int take_events(EventLoop *loop, struct epoll_event *events, const struct timespec *wait)
{
    int n = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_ROUND, wait, NULL);
    return n >= 0 ? n : errno == EINTR ? 0 : -errno;
}

/* Looks until there is an event or @until_ns; the events, 0, or -errno. */
static int look_for_events(EventLoop *loop, struct epoll_event *events, int64_t until_ns)
{
    static const struct timespec no_wait;
    int n;
    do {
        n = take_events(loop, events, &no_wait);
    } while (n == 0 && clock_monotonic_ns() < until_ns);
    return n;
}

/* Whether this wait, of @wait (NULL: for ever), begins busy. */
static bool begins_busy(BusyWait *busy, const struct timespec *wait)
{
    if (!busy->is_likely || (wait && wait->tv_sec == 0 && wait->tv_nsec <= busy->max_ns)) {
        return false;
    }
    if (busy->skip) {
        busy->skip--;
        return false;
    }
    return true;
}

static void note_busy_wait(BusyWait *busy, bool was_worth_it)
{
    if (was_worth_it) {
        busy->shift /= 2;
    } else if (busy->shift < BUSY_SHIFT_MAX) {
        busy->shift++;
    }
    busy->skip = (1u << busy->shift) - 1;
}

static int wait_events(EventLoop *loop, struct epoll_event *events, int timeout_ms)
{
    struct timespec limit = wait_time(loop, timeout_ms);
    bool forever = timeout_ms < 0 && list_is_empty(&loop->timers) && list_is_empty(&loop->hooks);
    const struct timespec *wait = forever ? NULL : &limit;
    BusyWait *busy = &loop->busy;
    if (!busy->max_ns || (wait && wait->tv_sec == 0 && wait->tv_nsec == 0)) {
        return take_events(loop, events, wait);
    }
    int64_t busy_end = clock_monotonic_ns() + busy->max_ns;
    int n = 0;
    if (begins_busy(busy, wait)) {
        n = look_for_events(loop, events, busy_end);
        note_busy_wait(busy, n > 0);
        limit = wait_time(loop, timeout_ms);
    }
    if (n == 0) {
        n = take_events(loop, events, wait);
        busy->is_likely = n > 0 && clock_monotonic_ns() < busy_end;
    }
    return n;
}

/* Makes the calling thread the runner; false if it was already. */
static bool enter(EventLoop *loop)
{
    if (loop_is_current(loop)) {
        return false;
    }
    lodge_assert(atomic_exchange(&loop->runner, (unsigned long)pthread_self()) == 0);
    return true;
}

/* Whether calls may have been posted: the event without a watch. */
static bool was_woken(const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr) {
            return true;
        }
    }
    return false;
}

void loop_own(EventLoop *loop)
{
    bool entered = enter(loop);
    lodge_assert(entered);
}

int loop_run_once(EventLoop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    bool entered = enter(loop);
    loop->depth++;
    run_hooks(loop);
    int n = wait_events(loop, events, timeout_ms);
    if (was_woken(events, n)) {
        run_calls(loop);
    }
    run_timers(loop);
    for (int i = 0; i < n; i++) {
        LoopWatch *watch = events[i].data.ptr;
        if (watch && !watch->dead) {
            watch->func(watch->opaque, events[i].events);
        }
    }
    if (--loop->depth == 0) {
        free_watches(&loop->dead_watches);
    }
    if (entered) {
        atomic_store(&loop->runner, 0);
    }
    return n < 0 ? n : 0;
}

void loop_run_calls(EventLoop *loop)
{
    lodge_assert(loop_is_current(loop) || !loop->runner);
    struct pollfd wake = { .fd = loop->wake_fd, .events = POLLIN };
    int rc = poll(&wake, 1, -1);
    (void)rc; /* EINTR: the caller looks again at what it waits for */
    bool entered = enter(loop);
    run_calls(loop);
    if (entered) {
        atomic_store(&loop->runner, 0);
    }
}

void loop_run(EventLoop *loop)
{
    bool entered = enter(loop);
    while (!atomic_load(&loop->quit)) {
        int rc = loop_run_once(loop, -1);
        lodge_assert(rc == 0);
    }
    atomic_store(&loop->quit, false);
    if (entered) {
        atomic_store(&loop->runner, 0);
    }
}

void loop_quit(EventLoop *loop)
{
    atomic_store(&loop->quit, true);
    loop_wake(loop);
}

bool loop_is_current(const EventLoop *loop)
{
    return loop->runner == (unsigned long)pthread_self();
}
