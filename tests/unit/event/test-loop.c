/* Event loop: timers in order, watches, calls from other threads, busy waits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "event/loop.h"
#include "lib/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char letters[] = "abc123";
static char trail[16];
static atomic_uint trail_used; /* looked at while a thread marks */

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

static void note_thread(void *opaque)
{
    *(pthread_t *)opaque = pthread_self();
}

typedef struct Asking {
    EventLoop *loop;
    pthread_t ran_on;
} Asking;

static void *ask_the_loop(void *opaque)
{
    Asking *asking = opaque;
    return loop_call_wait(asking->loop, note_thread, &asking->ran_on) ? asking : NULL;
}

static void calls_wait_for_the_owner_of_a_loop_that_does_not_run(void **state)
{
    Asking asking = { .loop = loop_new() };
    pthread_t thread;
    void *failed;
    loop_own(asking.loop);
    assert_int_equal(loop_call_wait(asking.loop, note_thread, &asking.ran_on), 0);
    assert_true(pthread_equal(asking.ran_on, pthread_self()));
    asking.ran_on = 0;
    assert_int_equal(pthread_create(&thread, NULL, ask_the_loop, &asking), 0);
    loop_run_calls(asking.loop);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_true(pthread_equal(asking.ran_on, pthread_self()));
    loop_free(asking.loop);
}

typedef struct Peer {
    EventLoop *loop;
    int fd;
    unsigned left;     /* bytes to exchange */
    unsigned pause_us; /* before each */
    pthread_t thread;
} Peer;

static void *send_and_wait_for_answers(void *opaque)
{
    Peer *peer = opaque;
    char byte = 'x';
    for (unsigned i = peer->left; i; i--) {
        usleep(peer->pause_us);
        if (write(peer->fd, &byte, 1) != 1 || read(peer->fd, &byte, 1) != 1) {
            return peer;
        }
    }
    loop_quit(peer->loop);
    return NULL;
}

static void answer(void *opaque, uint32_t events)
{
    char byte;
    int fd = *(int *)opaque;
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(write(fd, &byte, 1), 1);
}

/* The part of the wall clock's time that the loop's thread ran, in per cent. */
static unsigned exchange(unsigned count, unsigned pause_us)
{
    int ends[2];
    void *failed;
    EventLoop *loop = loop_new();
    Peer peer = { .loop = loop, .left = count, .pause_us = pause_us };
    struct timespec cpu[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer.fd = ends[1];
    LoopWatch *watch = loop_watch(loop, ends[0], EPOLLIN, answer, &ends[0]);
    loop_set_busy_wait(loop, NS_PER_MS);
    int64_t start = clock_monotonic_ns();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[0]);
    assert_int_equal(pthread_create(&peer.thread, NULL, send_and_wait_for_answers, &peer), 0);
    loop_run(loop);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[1]);
    int64_t wall_ns = clock_monotonic_ns() - start;
    pthread_join(peer.thread, &failed);
    assert_null(failed);
    loop_unwatch(watch);
    loop_free(loop);
    close(ends[0]);
    close(ends[1]);
    int64_t cpu_ns = (cpu[1].tv_sec - cpu[0].tv_sec) * NS_PER_SEC + cpu[1].tv_nsec - cpu[0].tv_nsec;
    return (unsigned)(cpu_ns * 100 / wall_ns);
}

static void a_busy_wait_answers_and_ends_with_loop_quit(void **state)
{
    exchange(2000, 0);
}

static void a_slow_peer_is_not_waited_for_busily(void **state)
{
    /* Busy all the time it would be a third. */
    assert_in_range(exchange(60, 3000), 0, 15);
}

static void a_timer_runs_after_a_busy_wait_in_vain(void **state)
{
    EventLoop *loop = loop_new();
    LoopTimer *timer = loop_timer_new(loop, mark, &letters[0]);
    loop_set_busy_wait(loop, NS_PER_MS);
    trail_used = 0;
    for (unsigned i = 1; i <= 8; i++) {
        loop_wake(loop);
        loop_run_once(loop, -1);
        int64_t deadline = clock_monotonic_ns() + NS_PER_MS + i;
        loop_timer_set(timer, deadline);
        while (trail_used < i) {
            loop_run_once(loop, -1);
        }
        assert_true(clock_monotonic_ns() >= deadline);
    }
    loop_timer_free(timer);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_order_of_their_deadlines),
        cmocka_unit_test(a_watch_ended_in_the_same_round_is_not_called),
        cmocka_unit_test(calls_from_another_thread_keep_their_order),
        cmocka_unit_test(a_handler_may_wait_for_a_thread_that_waits_for_the_loop),
        cmocka_unit_test(calls_wait_for_the_owner_of_a_loop_that_does_not_run),
        cmocka_unit_test(a_busy_wait_answers_and_ends_with_loop_quit),
        cmocka_unit_test(a_slow_peer_is_not_waited_for_busily),
        cmocka_unit_test(a_timer_runs_after_a_busy_wait_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
