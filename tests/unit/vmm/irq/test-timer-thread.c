/* Timer thread: every deadline is served, whoever arms it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "lib/check.h"
#include "vmm/irq/timer-thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define TIMERS 8
#define ROUNDS 2000

typedef struct Served {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned count[TIMERS];
    unsigned order[TIMERS];
    unsigned total;
} Served;

static Served served = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void serve(void *opaque, unsigned index)
{
    pthread_mutex_lock(&served.lock);
    served.count[index]++;
    if (served.total < TIMERS) {
        served.order[served.total] = index;
    }
    served.total++;
    pthread_cond_broadcast(&served.cond);
    pthread_mutex_unlock(&served.lock);
}

static void wait_for(const unsigned *counter, unsigned value)
{
    pthread_mutex_lock(&served.lock);
    while (*counter < value) {
        pthread_cond_wait(&served.cond, &served.lock);
    }
    pthread_mutex_unlock(&served.lock);
}

static void deadlines_are_served_in_order(void **state)
{
    memset(served.count, 0, sizeof(served.count));
    served.total = 0;
    TimerThread *timers = timer_thread_new(TIMERS, serve, NULL);
    int64_t now = clock_monotonic_ns();
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_thread_set(timers, i, now + (int64_t)(TIMERS - i) * NS_PER_MS * 4);
    }
    timer_thread_set(timers, 3, TIMER_THREAD_OFF);
    wait_for(&served.total, TIMERS - 1);
    timer_thread_free(timers);
    assert_int_equal(served.total, TIMERS - 1);
    assert_int_equal(served.count[3], 0);
}

static void *arm_often(void *opaque)
{
    void **args = opaque;
    TimerThread *timers = args[0];
    unsigned index = (unsigned)(uintptr_t)args[1];
    for (unsigned i = 1; i <= ROUNDS; i++) {
        timer_thread_set(timers, index, clock_monotonic_ns() + (i % 7) * 1000);
        wait_for(&served.count[index], i); /* hangs if a deadline is lost */
    }
    return NULL;
}

static void no_deadline_is_lost_between_threads(void **state)
{
    memset(served.count, 0, sizeof(served.count));
    TimerThread *timers = timer_thread_new(2, serve, NULL);
    void *args[2][2] = { { timers, (void *)0 }, { timers, (void *)1 } };
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, arm_often, args[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    timer_thread_free(timers);
    assert_int_equal(served.count[0], ROUNDS);
    assert_int_equal(served.count[1], ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_are_served_in_order),
        cmocka_unit_test(no_deadline_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
