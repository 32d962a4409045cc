/* A count of what other threads do for the daemon.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/threads.h"

#include "daemon/daemon.h"

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

static bool has_work(Daemon *daemon)
{
    g_mutex_lock(&daemon->work_lock);
    bool has = daemon->n_work > 0;
    g_mutex_unlock(&daemon->work_lock);
    return has;
}

void daemon_finish_work(Daemon *daemon)
{
    g_atomic_int_set(&daemon->is_stopping, 1);
    while (has_work(daemon)) {
        loop_run_once(daemon->loop, -1);
    }
}
