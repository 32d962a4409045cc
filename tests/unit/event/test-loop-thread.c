/* Threads with a loop, and their pauses. SPDX-License-Identifier: GPL-2.0-or-later */
#include "event/loop-thread.h"

#include "lib/check.h"

#include <sched.h>
#include <stdatomic.h>

#define ROUNDS 2000

typedef struct Counter {
    EventLoop *loop;
    atomic_uint count, settled;
    atomic_bool ends;
    bool is_inside; /* not atomic: a handler that ran in a pause would race with the test */
} Counter;

static Counter counter;

static void note_settled(void)
{
    counter.settled++;
}

/* Keeps the loop busy for ever. */
static void count(void *opaque)
{
    counter.is_inside = true;
    counter.count++;
    counter.is_inside = false;
    if (!counter.ends) {
        assert_int_equal(loop_call(counter.loop, count, NULL), 0);
    }
}

static void no_handler_runs_in_a_pause(void **state)
{
    LoopThread *thread = loop_thread_new("test", note_settled);
    assert_non_null(thread);
    assert_true(loop_thread_id(thread) > 0);
    counter.loop = loop_thread_loop(thread);
    assert_false(loop_is_current(counter.loop));
    assert_int_equal(loop_call(counter.loop, count, NULL), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        loop_thread_pause(thread);
        loop_thread_pause(thread);
        unsigned before = counter.count;
        assert_false(counter.is_inside);
        counter.is_inside = true;
        sched_yield();
        assert_true(counter.is_inside);
        counter.is_inside = false;
        loop_thread_continue(thread);
        assert_int_equal(counter.count, before);
        loop_thread_continue(thread);
    }
    assert_true(counter.settled >= ROUNDS);
    unsigned before = counter.count;
    while (counter.count == before) {
        sched_yield();
    }
    counter.ends = true;
    loop_thread_free(thread);
}

static void no_thread_needs_no_pause(void **state)
{
    loop_thread_pause(NULL);
    loop_thread_continue(NULL);
    loop_thread_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_handler_runs_in_a_pause),
        cmocka_unit_test(no_thread_needs_no_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
