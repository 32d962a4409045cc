/* Throttle groups: whose turn it is, and the timer.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/throttle-group.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>

struct ThrottleGroup {
    unsigned refs; /* atomic */
    EventLoop *loop;
    LoopTimer *timer;
    ThrottleClock clock;
    pthread_mutex_t lock;
    Throttle throttle;
    List members;
    ThrottleMember *turn[2]; /* the member served last; by is_write */
    unsigned waiting[2];     /* requests */
};

static void on_timer(void *opaque)
{
    ThrottleGroup *group = opaque;
    throttle_group_run(group);
}

ThrottleGroup *throttle_group_new(EventLoop *loop, const ThrottleConfig *config,
                                  ThrottleClock clock)
{
    ThrottleGroup *group = calloc(1, sizeof(*group));
    if (!group) {
        return NULL;
    }
    group->refs = 1;
    group->loop = loop;
    group->clock = clock;
    group->timer = loop ? loop_timer_new(loop, on_timer, group) : NULL;
    if (loop && !group->timer) {
        free(group);
        return NULL;
    }
    pthread_mutex_init(&group->lock, NULL);
    throttle_init(&group->throttle, config, clock());
    list_init(&group->members);
    return group;
}

ThrottleGroup *throttle_group_ref(ThrottleGroup *group)
{
    __atomic_add_fetch(&group->refs, 1, __ATOMIC_RELAXED);
    return group;
}

void throttle_group_unref(ThrottleGroup *group)
{
    if (group && __atomic_sub_fetch(&group->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        if (group->loop) {
            loop_timer_free(group->timer);
            loop_cancel_calls(group->loop, group);
        }
        pthread_mutex_destroy(&group->lock);
        free(group);
    }
}

bool throttle_group_has_members(ThrottleGroup *group)
{
    pthread_mutex_lock(&group->lock);
    bool has_members = !list_is_empty(&group->members);
    pthread_mutex_unlock(&group->lock);
    return has_members;
}

void throttle_group_get_config(ThrottleGroup *group, ThrottleConfig *out_config)
{
    pthread_mutex_lock(&group->lock);
    *out_config = group->throttle.config;
    pthread_mutex_unlock(&group->lock);
}

/* Has the loop look at the group; without memory for the call the timer that is set does it later.
 */
static void wake(ThrottleGroup *group)
{
    if (!group->loop) {
        return; /* who waits looks itself */
    }
    if (loop_is_current(group->loop)) {
        throttle_group_run(group);
    } else if (loop_call(group->loop, on_timer, group) < 0) {
        loop_wake(group->loop);
    }
}

void throttle_group_set_config(ThrottleGroup *group, const ThrottleConfig *config)
{
    pthread_mutex_lock(&group->lock);
    throttle_set_config(&group->throttle, config, group->clock());
    pthread_mutex_unlock(&group->lock);
    wake(group);
}

void throttle_group_join(ThrottleGroup *group, ThrottleMember *member)
{
    member->group = group;
    list_init(&member->waiting[0]);
    list_init(&member->waiting[1]);
    member->hurries = 0;
    pthread_mutex_lock(&group->lock);
    list_append(&group->members, &member->node);
    pthread_mutex_unlock(&group->lock);
}

/* Moves all waiting requests of @member to @ready. The group's lock is held. */
static void take_all(ThrottleMember *member, List *ready, bool is_accounted)
{
    ThrottleGroup *group = member->group;
    for (unsigned write = 0; write < 2; write++) {
        list_for_each(&member->waiting[write], request, ThrottleRequest, node) {
            list_remove(&request->node);
            list_append(ready, &request->node);
            group->waiting[write]--;
            if (is_accounted) {
                throttle_account(&group->throttle, write, request->bytes);
            }
        }
    }
}

/* Lets the requests of @ready go; no lock is held. */
static void go_all(List *ready)
{
    ThrottleRequest *request;
    while ((request = list_first(ready, ThrottleRequest, node))) {
        list_remove(&request->node);
        request->go(request);
    }
}

void throttle_group_release(ThrottleMember *member)
{
    List ready;
    list_init(&ready);
    pthread_mutex_lock(&member->group->lock);
    take_all(member, &ready, true);
    pthread_mutex_unlock(&member->group->lock);
    go_all(&ready);
}

void throttle_group_hurry(ThrottleMember *member, bool on)
{
    List ready;
    list_init(&ready);
    pthread_mutex_lock(&member->group->lock);
    member->hurries += on ? 1 : -1u;
    if (on) {
        take_all(member, &ready, true);
    }
    pthread_mutex_unlock(&member->group->lock);
    go_all(&ready);
}

void throttle_group_leave(ThrottleMember *member)
{
    ThrottleGroup *group = member->group;
    List ready;
    list_init(&ready);
    pthread_mutex_lock(&group->lock);
    take_all(member, &ready, false);
    for (unsigned write = 0; write < 2; write++) {
        if (group->turn[write] == member) {
            group->turn[write] = NULL;
        }
    }
    list_remove(&member->node);
    member->group = NULL;
    pthread_mutex_unlock(&group->lock);
    go_all(&ready);
}

void throttle_group_submit(ThrottleMember *member, ThrottleRequest *request)
{
    ThrottleGroup *group = member->group;
    bool write = request->is_write;
    list_init(&request->node);
    pthread_mutex_lock(&group->lock);
    bool may_go =
        member->hurries > 0 || (group->waiting[write] == 0 &&
                                throttle_wait_ns(&group->throttle, write, group->clock()) == 0);
    bool is_first = false;
    if (may_go) {
        throttle_account(&group->throttle, write, request->bytes);
    } else {
        is_first = group->waiting[write]++ == 0;
        list_append(&member->waiting[write], &request->node);
    }
    pthread_mutex_unlock(&group->lock);
    if (may_go) {
        request->go(request);
    } else if (is_first) {
        wake(group);
    }
}

/* The member after @last with a waiting request. There is one. */
static ThrottleMember *next_member(ThrottleGroup *group, bool write)
{
    List *node = group->turn[write] ? &group->turn[write]->node : &group->members;
    for (;;) {
        node = node->next;
        if (node != &group->members) {
            ThrottleMember *member = list_entry(node, ThrottleMember, node);
            if (!list_is_empty(&member->waiting[write])) {
                return member;
            }
        }
    }
}

/* Moves what may go to @ready. Returns: ns until the next of that direction may, INT64_MAX: none
 * waits. The lock is held. */
static int64_t collect(ThrottleGroup *group, bool write, int64_t now, List *ready)
{
    while (group->waiting[write] > 0) {
        int64_t wait = throttle_wait_ns(&group->throttle, write, now);
        if (wait > 0) {
            return wait;
        }
        ThrottleMember *member = next_member(group, write);
        ThrottleRequest *request = list_first(&member->waiting[write], ThrottleRequest, node);
        list_remove(&request->node);
        list_append(ready, &request->node);
        group->turn[write] = member;
        group->waiting[write]--;
        throttle_account(&group->throttle, write, request->bytes);
    }
    return INT64_MAX;
}

/* Of both directions. Returns: when the next may go, INT64_MAX: none waits. The lock is held. */
static int64_t collect_all(ThrottleGroup *group, List *ready)
{
    int64_t next = INT64_MAX, now = group->clock();
    list_init(ready);
    for (unsigned write = 0; write < 2; write++) {
        int64_t wait = collect(group, write, now, ready);
        if (wait < next) {
            next = wait;
        }
    }
    return next == INT64_MAX ? next : now + next;
}

int64_t throttle_group_run(ThrottleGroup *group)
{
    List ready;
    pthread_mutex_lock(&group->lock);
    int64_t next = collect_all(group, &ready);
    if (next != INT64_MAX && group->timer) {
        loop_timer_set(group->timer, next);
    }
    pthread_mutex_unlock(&group->lock);
    go_all(&ready);
    return next;
}

/* Threads that wait */

typedef struct Waiter {
    ThrottleRequest request;
    ThrottleGroup *group;
    pthread_cond_t changed;
    bool may_go; /* under the group's lock */
} Waiter;

/* The thread may leave, and the waiter with it, as soon as the lock is given back. */
static void let_go(ThrottleRequest *request)
{
    Waiter *waiter = container_of(request, Waiter, request);
    ThrottleGroup *group = waiter->group;
    pthread_mutex_lock(&group->lock);
    waiter->may_go = true;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&group->lock);
}

void throttle_group_wait(ThrottleMember *member, bool is_write, uint64_t bytes)
{
    ThrottleGroup *group = member->group;
    Waiter waiter = { .request = { .is_write = is_write, .bytes = bytes, .go = let_go },
                      .group = group };
    pthread_cond_init(&waiter.changed, NULL);
    throttle_group_submit(member, &waiter.request);
    pthread_mutex_lock(&group->lock);
    while (!waiter.may_go) {
        List ready;
        int64_t next = collect_all(group, &ready);
        if (!list_is_empty(&ready)) {
            pthread_mutex_unlock(&group->lock);
            go_all(&ready);
            pthread_mutex_lock(&group->lock);
        } else if (next == INT64_MAX) { /* it was taken and is about to be let go */
            pthread_cond_wait(&waiter.changed, &group->lock);
        } else {
            struct timespec until = clock_to_timespec(next);
            pthread_cond_clockwait(&waiter.changed, &group->lock, CLOCK_MONOTONIC, &until);
        }
    }
    pthread_mutex_unlock(&group->lock);
    pthread_cond_destroy(&waiter.changed);
}
