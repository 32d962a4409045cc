/* The daemon's threads beside the loop's: the end of the daemon waits for them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_THREADS_H
#define LODGE_DAEMON_THREADS_H

#include "daemon/dispatch.h"

/* Work for another thread: the first before it is handed over, the second on the thread, when it
 * has ended. Context: any thread, locks may be held. */
void daemon_work_begins(Daemon *daemon);
void daemon_work_ended(Daemon *daemon);

/* Whether the daemon is to end; long work looks at it between its steps. Context: any thread. */
bool daemon_is_stopping(Daemon *daemon);

/**
 * daemon_finish_work - run the loop until all work has ended
 *
 * Work waits for the loop: for what it asks of it, for monitors' answers, for guests' ends. What
 * still goes on after a second is given up: from then on daemon_gives_up() is true, and
 * Daemon.give_up is called, every second. daemon_is_stopping() is true at once. Context: the loop's
 * thread, outside of handlers.
 */
void daemon_finish_work(Daemon *daemon);

/* Whether nothing is to be waited for any more, as the daemon ends. Who waits for a condition looks
 * at it too. Context: any thread. */
bool daemon_gives_up(Daemon *daemon);

/**
 * daemon_poll - wait for one descriptor, as poll(2), unless the daemon gives up
 * @timeout_ms: >= 0
 *
 * Returns: 1; 0, too late or daemon_gives_up(); -1 with errno, but for EINTR. Context: any
 * thread but the loop's.
 */
int daemon_poll(Daemon *daemon, int fd, short events, int timeout_ms);

#endif
