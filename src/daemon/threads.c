/* A count of what other threads do for the daemon.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/threads.h"

#include "base/clock.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <poll.h>

/* How long work has to end by itself, and to end once it was given up. */
#define PATIENCE_NS NS_PER_SEC
#define SLICE_MS 200

void daemon_work_begins(Daemon *daemon)
{
    g_mutex_lock(&daemon->work_lock);
    daemon->n_work++;
    g_mutex_unlock(&daemon->work_lock);
}

void daemon_work_ended(Daemon *daemon)
{
    g_mutex_lock(&daemon->work_lock);
    daemon->n_work--;
    /* Under the lock: the loop may be freed as soon as the count is seen. */
    loop_wake(daemon->loop);
    g_mutex_unlock(&daemon->work_lock);
}

bool daemon_is_stopping(Daemon *daemon)
{
    return g_atomic_int_get(&daemon->is_stopping);
}

bool daemon_gives_up(Daemon *daemon)
{
    return g_atomic_int_get(&daemon->gives_up);
}

static bool has_work(Daemon *daemon)
{
    g_mutex_lock(&daemon->work_lock);
    bool has = daemon->n_work > 0;
    g_mutex_unlock(&daemon->work_lock);
    return has;
}

void daemon_finish_work(Daemon *daemon)
{
    int64_t give_up_at = clock_monotonic_ns() + PATIENCE_NS;
    g_atomic_int_set(&daemon->is_stopping, 1);
    while (has_work(daemon)) {
        int64_t left_ns = give_up_at - clock_monotonic_ns();
        if (left_ns <= 0) {
            /* Again and again: it may have gone on to wait for something else. */
            give_up_at += PATIENCE_NS;
            g_atomic_int_set(&daemon->gives_up, 1);
            if (daemon->give_up) {
                daemon->give_up(daemon);
            }
        }
        loop_run_once(daemon->loop, left_ns > 0 ? (int)(left_ns / NS_PER_MS) + 1 : 0);
    }
}

int daemon_poll(Daemon *daemon, int fd, short events, int timeout_ms)
{
    struct pollfd wait = { .fd = fd, .events = events };
    int64_t until = clock_monotonic_ns() + (int64_t)timeout_ms * NS_PER_MS;
    int ready = 0;
    int64_t left_ns = until - clock_monotonic_ns();
    do {
        ready = poll(&wait, 1, (int)CLAMP(left_ns / NS_PER_MS, 0, SLICE_MS));
        left_ns = until - clock_monotonic_ns();
    } while ((ready == 0 || (ready < 0 && errno == EINTR)) && left_ns > 0 &&
             !daemon_gives_up(daemon));
    return ready < 0 && errno == EINTR ? 0 : ready;
}
