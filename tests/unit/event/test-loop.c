/* Event loop: timers in order, watches, calls from other threads.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "event/loop.h"
#include "lib/check.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

static char letters[] = "abc123";
static char trail[16];
static unsigned trail_used;

static void mark(void *opaque)
{
    trail[trail_used++] = *(char *)opaque;
    trail[trail_used] = 0;
}

static void timers_run_in_order_of_their_deadlines(void **state)
{
    EventLoop *loop = loop_new();
    LoopTimer *a = loop_timer_new(loop, mark, &letters[0]);
    LoopTimer *b = loop_timer_new(loop, mark, &letters[1]);
    LoopTimer *c = loop_timer_new(loop, mark, &letters[2]);
    int64_t now = clock_monotonic_ns();
    trail_used = 0;
    loop_timer_set(b, now + 2);
    loop_timer_set(a, now + 1);
    loop_timer_set(c, now + 3);
    loop_timer_cancel(c);
    while (trail_used < 2) {
        loop_run_once(loop, -1);
    }
    assert_string_equal(trail, "ab");
    loop_timer_free(a);
    loop_timer_free(b);
    loop_timer_free(c);
    loop_free(loop);
}

typedef struct Closing {
    EventLoop *loop;
    LoopWatch *watch[2];
    unsigned calls;
} Closing;

static void unwatch_all(void *opaque, uint32_t events)
{
    Closing *closing = opaque;
    closing->calls++;
    for (unsigned i = 0; i < 2; i++) {
        loop_unwatch(closing->watch[i]);
        closing->watch[i] = NULL;
    }
}

static void a_watch_ended_in_the_same_round_is_not_called(void **state)
{
    Closing closing = { .loop = loop_new() };
    int pipes[2][2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_int_equal(write(pipes[i][1], "x", 1), 1);
        closing.watch[i] = loop_watch(closing.loop, pipes[i][0], EPOLLIN, unwatch_all, &closing);
        assert_non_null(closing.watch[i]);
    }
    loop_run_once(closing.loop, 0);
    loop_run_once(closing.loop, 0);
    assert_int_equal(closing.calls, 1);
    loop_free(closing.loop);
    for (unsigned i = 0; i < 4; i++) {
        close(pipes[i / 2][i % 2]);
    }
}

static void *call_from_thread(void *opaque)
{
    EventLoop *loop = opaque;
    int rc = loop_call(loop, mark, &letters[3]);
    rc |= loop_call_wait(loop, mark, &letters[4]);
    mark(&letters[5]);
    loop_quit(loop);
    return rc ? loop : NULL;
}

typedef struct ThreadStart {
    EventLoop *loop;
    void *(*func)(void *);
    pthread_t thread;
} ThreadStart;

/* Posted, so that the loop runs when the thread does. */
static void start_thread(void *opaque)
{
    ThreadStart *start = opaque;
    assert_int_equal(pthread_create(&start->thread, NULL, start->func, start->loop), 0);
}

static void calls_from_another_thread_keep_their_order(void **state)
{
    EventLoop *loop = loop_new();
    ThreadStart start = { .loop = loop, .func = call_from_thread };
    void *failed;
    trail_used = 0;
    assert_int_equal(loop_call(loop, start_thread, &start), 0);
    loop_run(loop);
    pthread_join(start.thread, &failed);
    assert_null(failed);
    assert_int_equal(trail_used, 3);
    loop_free(loop);
}

static void *wait_from_thread(void *opaque)
{
    EventLoop *loop = opaque;
    int rc = loop_call_wait(loop, mark, &letters[3]);
    mark(&letters[4]);
    loop_wake(loop);
    return rc ? loop : NULL;
}

/* Waits on the loop's thread for a thread that waits for the loop. */
static void wait_for_waiter(void *opaque)
{
    EventLoop *loop = opaque;
    while (trail_used < 2) {
        loop_run_calls(loop);
    }
    loop_quit(loop);
}

static void a_handler_may_wait_for_a_thread_that_waits_for_the_loop(void **state)
{
    EventLoop *loop = loop_new();
    ThreadStart start = { .loop = loop, .func = wait_from_thread };
    void *failed;
    trail_used = 0;
    assert_int_equal(loop_call(loop, start_thread, &start), 0);
    assert_int_equal(loop_call(loop, wait_for_waiter, loop), 0);
    loop_run(loop);
    pthread_join(start.thread, &failed);
    assert_null(failed);
    assert_true(trail_used >= 2);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_order_of_their_deadlines),
        cmocka_unit_test(a_watch_ended_in_the_same_round_is_not_called),
        cmocka_unit_test(calls_from_another_thread_keep_their_order),
        cmocka_unit_test(a_handler_may_wait_for_a_thread_that_waits_for_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
