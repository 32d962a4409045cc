/* Throttling on a virtual clock: rates, bursts, fairness, no waiting for ever.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "block/throttle-group.h"
#include "lib/check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define SECOND 1000000000ll

static int64_t virtual_now;

static int64_t virtual_clock(void)
{
    return virtual_now;
}

static ThrottleConfig config_of(ThrottleBucketKind kind, uint64_t average, uint64_t burst,
                                uint64_t burst_time)
{
    ThrottleConfig config;
    throttle_config_init(&config);
    config.limits[kind] = (ThrottleLimit){ average, burst, burst_time };
    assert_null(throttle_config_problem(&config));
    return config;
}

/* Bytes that requests of @bytes each move in @seconds when always one is ready. */
static double moved(const ThrottleConfig *config, bool is_write, uint64_t bytes, double seconds)
{
    Throttle throttle;
    int64_t now = 12345, end = now + (int64_t)(seconds * SECOND);
    double total = 0;
    throttle_init(&throttle, config, now);
    for (;;) {
        int64_t wait = throttle_wait_ns(&throttle, is_write, now);
        now += wait;
        if (now >= end) {
            return total;
        }
        if (wait == 0) {
            throttle_account(&throttle, is_write, bytes);
            total += (double)bytes;
            now += 1000; /* the host is not infinitely fast */
        }
    }
}

static void rates_hold_within_two_percent_over_ten_seconds(void **state)
{
    static const uint64_t rates[] = { 10, 100, 1000, 100000 };
    for (unsigned i = 0; i < 4; i++) {
        ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, rates[i], 0, 1);
        double operations = moved(&config, i & 1, 4096, 10) / 4096;
        /* One tenth of a second's worth may pass at the start. */
        assert_true(fabs(operations - 10.1 * (double)rates[i]) <= 0.02 * 10 * (double)rates[i] + 1);
    }
    for (uint64_t rate = 65536; rate <= 1ull << 31; rate *= 8) {
        ThrottleConfig config = config_of(THROTTLE_BPS_WRITE, rate, 0, 1);
        double bytes = moved(&config, true, 4096, 10);
        assert_true(fabs(bytes - 10.1 * (double)rate) <= 0.02 * 10 * (double)rate + 4096);
    }
}

static void the_other_direction_is_free(void **state)
{
    ThrottleConfig config = config_of(THROTTLE_OPS_WRITE, 10, 0, 1);
    assert_true(moved(&config, false, 4096, 0.1) > 4096 * 1000);
}

static void a_burst_lasts_as_long_as_it_may(void **state)
{
    /* 100/s, 1000/s for 3 s: 3000 operations, then 100 a second; meanwhile 100 a second drain. */
    ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, 100, 1000, 3);
    double after_two = moved(&config, false, 512, 2) / 512;
    double after_thirteen = moved(&config, false, 512, 13) / 512;
    assert_true(fabs(after_two - 2000) <= 0.02 * 2000 + 100);
    assert_true(fabs(after_thirteen - (3000 + 1300)) <= 0.02 * 4300 + 1);
}

static void large_requests_count_as_several_operations(void **state)
{
    ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, 100, 0, 1);
    config.operation_size = 4096;
    double operations = moved(&config, false, 65536, 10) / 65536;
    assert_true(fabs(operations - 1010.0 / 16) <= 2);
}

static void senseless_limits_are_refused(void **state)
{
    ThrottleConfig config;
    throttle_config_init(&config);
    config.limits[THROTTLE_BPS_TOTAL].average = 1;
    config.limits[THROTTLE_BPS_READ].average = 1;
    assert_non_null(throttle_config_problem(&config));
    throttle_config_init(&config);
    config.limits[THROTTLE_OPS_READ].burst = 10;
    assert_non_null(throttle_config_problem(&config));
    config.limits[THROTTLE_OPS_READ].average = 11;
    assert_non_null(throttle_config_problem(&config));
    config.limits[THROTTLE_OPS_READ].average = 10;
    assert_null(throttle_config_problem(&config));
    config.limits[THROTTLE_OPS_READ].burst_time = UINT64_MAX;
    assert_non_null(throttle_config_problem(&config));
    throttle_config_init(&config);
    config.operation_size = 1;
    assert_non_null(throttle_config_problem(&config));
    config.limits[THROTTLE_OPS_READ].average = THROTTLE_RATE_MAX + 1;
    assert_non_null(throttle_config_problem(&config));
}

static void a_laxer_past_does_not_hold_up_requests(void **state)
{
    ThrottleConfig lax = config_of(THROTTLE_BPS_TOTAL, 1ull << 30, 0, 1);
    ThrottleConfig strict = config_of(THROTTLE_BPS_TOTAL, 1000, 0, 1);
    Throttle throttle;
    throttle_init(&throttle, &lax, 0);
    throttle_account(&throttle, false, 1 << 30);
    throttle_set_config(&throttle, &strict, 0);
    assert_int_equal(throttle_wait_ns(&throttle, false, 0), 0);
}

#define MEMBERS 8

typedef struct Disk {
    ThrottleMember member;
    struct {
        ThrottleRequest request;
        struct Disk *disk;
    } slots[64];
    unsigned depth; /* requests that it keeps waiting */
    uint64_t bytes;
    uint64_t done;
} Disk;

static void gone(ThrottleRequest *request)
{
    Disk *disk = *(Disk **)(request + 1);
    disk->done += request->bytes;
    request->bytes = 0;
}

/* Keeps the queues full on the virtual clock for @seconds. */
static void run_disks(ThrottleGroup *group, Disk *disks, double seconds)
{
    int64_t end = virtual_now + (int64_t)(seconds * SECOND);
    while (virtual_now < end) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            for (unsigned slot = 0; slot < disks[i].depth; slot++) {
                ThrottleRequest *request = &disks[i].slots[slot].request;
                if (request->bytes == 0) {
                    request->bytes = disks[i].bytes;
                    throttle_group_submit(&disks[i].member, request);
                }
            }
        }
        int64_t next = throttle_group_run(group);
        virtual_now = next != INT64_MAX && next > virtual_now ? next : virtual_now + 1000;
    }
}

static void members_share_fairly_whatever_their_depth(void **state)
{
    static Disk disks[MEMBERS];
    EventLoop *loop = loop_new();
    ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, 1000, 0, 1);
    ThrottleGroup *group = throttle_group_new(loop, &config, virtual_clock);
    for (unsigned i = 0; i < MEMBERS; i++) {
        disks[i].depth = i == 0 ? 64 : 1 + i;
        disks[i].bytes = 4096;
        throttle_group_join(group, &disks[i].member);
        for (unsigned slot = 0; slot < 64; slot++) {
            disks[i].slots[slot].request.go = gone;
            disks[i].slots[slot].disk = &disks[i];
        }
    }
    run_disks(group, disks, 10);
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        sum += (double)disks[i].done;
        squares += (double)disks[i].done * (double)disks[i].done;
    }
    assert_true(sum * sum / (MEMBERS * squares) >= 0.99); /* Jain's index */
    assert_true(fabs(sum / 4096 - 10100) <= 200);

    for (unsigned i = 0; i < MEMBERS; i++) {
        throttle_group_leave(&disks[i].member);
        for (unsigned slot = 0; slot < disks[i].depth; slot++) {
            assert_int_equal(disks[i].slots[slot].request.bytes, 0);
        }
    }
    throttle_group_unref(group);
    loop_free(loop);
}

static void release_lets_everything_go(void **state)
{
    static Disk disk;
    EventLoop *loop = loop_new();
    ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, 1, 0, 1);
    ThrottleGroup *group = throttle_group_new(loop, &config, virtual_clock);
    throttle_group_join(group, &disk.member);
    for (unsigned slot = 0; slot < 16; slot++) {
        disk.slots[slot].disk = &disk;
        disk.slots[slot].request =
            (ThrottleRequest){ .is_write = slot & 1, .bytes = 1, .go = gone };
        throttle_group_submit(&disk.member, &disk.slots[slot].request);
    }
    assert_true(disk.done < 16);
    throttle_group_release(&disk.member);
    assert_int_equal(disk.done, 16);
    throttle_group_leave(&disk.member);
    throttle_group_unref(group);
    loop_free(loop);
}

#define THREADS 8
#define WAITS 5

static void *wait_often(void *member)
{
    for (unsigned i = 0; i < WAITS; i++) {
        throttle_group_wait(member, i & 1, 512);
    }
    return NULL;
}

/* Each thread watches the limits itself. */
static void threads_get_through_without_a_loop(void **state)
{
    ThrottleMember member;
    pthread_t threads[THREADS];
    ThrottleConfig config = config_of(THROTTLE_OPS_TOTAL, 1000, 0, 1);
    ThrottleGroup *group = throttle_group_new(NULL, &config, clock_monotonic_ns);
    throttle_group_join(group, &member);
    assert_true(throttle_group_has_members(group));
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_often, &member), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    throttle_group_leave(&member);
    assert_false(throttle_group_has_members(group));
    throttle_group_unref(group);
}

/* At one operation in 17 minutes they would not. */
static void a_hurried_member_holds_no_thread(void **state)
{
    ThrottleMember member;
    pthread_t threads[THREADS];
    ThrottleConfig config = config_of(THROTTLE_BPS_TOTAL, 1, 0, 1);
    ThrottleGroup *group = throttle_group_new(NULL, &config, clock_monotonic_ns);
    throttle_group_join(group, &member);
    throttle_group_wait(&member, true, 1024);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_often, &member), 0);
    }
    throttle_group_hurry(&member, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    throttle_group_hurry(&member, false);
    throttle_group_leave(&member);
    throttle_group_unref(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_hold_within_two_percent_over_ten_seconds),
        cmocka_unit_test(the_other_direction_is_free),
        cmocka_unit_test(a_burst_lasts_as_long_as_it_may),
        cmocka_unit_test(large_requests_count_as_several_operations),
        cmocka_unit_test(senseless_limits_are_refused),
        cmocka_unit_test(a_laxer_past_does_not_hold_up_requests),
        cmocka_unit_test(members_share_fairly_whatever_their_depth),
        cmocka_unit_test(release_lets_everything_go),
        cmocka_unit_test(threads_get_through_without_a_loop),
        cmocka_unit_test(a_hurried_member_holds_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
