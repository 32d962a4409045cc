/* Throttle groups: disks that share limits. Requests of one member and direction go in order;
 * members take turns, so that a busy one cannot starve the others.
 *
 * Context: any thread; a group has a lock of its own. Requests are released on the group's loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_THROTTLE_GROUP_H
#define LODGE_BLOCK_THROTTLE_GROUP_H

#include "base/compiler.h"
#include "base/list.h"
#include "block/throttle.h"
#include "event/loop.h"

typedef struct ThrottleGroup ThrottleGroup;

/* A request that waits for its turn; embedded in the caller's. */
typedef struct ThrottleRequest {
    bool is_write;
    uint64_t bytes;
    /* Called once, when the request may go: from within throttle_group_submit(), on the group's
     * loop, or on a thread that waits for a request of its own. No lock is held. */
    void (*go)(struct ThrottleRequest *request);

    /* private */
    List node;
} ThrottleRequest;

/* One disk. */
typedef struct ThrottleMember {
    /* private */
    ThrottleGroup *group;
    List node;
    List waiting[2];  /* of ThrottleRequest; by is_write */
    unsigned hurries; /* while there are any, its requests go at once; under the group's lock */
} ThrottleMember;

/* Returns the current time in ns; the same clock as the loop's timers. */
typedef int64_t (*ThrottleClock)(void);

/* Returns: a group, or NULL when memory is short. @config: passed throttle_config_problem().
 * @loop: NULL: without one, for members that throttle_group_wait() alone. */
ThrottleGroup *throttle_group_new(EventLoop *loop, const ThrottleConfig *config,
                                  ThrottleClock clock) LODGE_MUST_CHECK;
ThrottleGroup *throttle_group_ref(ThrottleGroup *group);
/* With the last one the group has no members any more. NULL is accepted. Context: the loop. */
void throttle_group_unref(ThrottleGroup *group);

/* Whether any disk or node is in it. */
bool throttle_group_has_members(ThrottleGroup *group);

void throttle_group_get_config(ThrottleGroup *group, ThrottleConfig *out_config);
/* Other limits from here on; waiting requests are looked at again. */
void throttle_group_set_config(ThrottleGroup *group, const ThrottleConfig *config);

void throttle_group_join(ThrottleGroup *group, ThrottleMember *member);
/* Lets the requests of @member that wait go at once, unaccounted: a drain must not take minutes. */
void throttle_group_leave(ThrottleMember *member);

/* Lets @request go when the limits allow; until then it belongs to the group. */
void throttle_group_submit(ThrottleMember *member, ThrottleRequest *request);

/* As throttle_group_submit(), and returns when it may go. The thread watches the limits itself
 * meanwhile: the loop may be blocked. */
void throttle_group_wait(ThrottleMember *member, bool is_write, uint64_t bytes);

/* Lets all waiting requests of @member go at once, accounted. Used before a drain. */
void throttle_group_release(ThrottleMember *member);

/* Between true and false, all requests of @member go at once, accounted. Nests. */
void throttle_group_hurry(ThrottleMember *member, bool on);

/* Handles what is due. Called by the group's timer; tests with a clock of their own call it.
 * Returns: when to call again, or INT64_MAX. Context: the loop. */
int64_t throttle_group_run(ThrottleGroup *group);

#endif
