/* Looking at the state of a daemon that does not run, and mending it: what `lodged --recover-check`
 * and `--recover` do. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_RECOVER_H
#define LODGE_DAEMON_DOMAIN_RECOVER_H

#include "daemon/daemon.h"

typedef struct RecoverCounts {
    unsigned definitions, statuses, journal_records;
    unsigned found;  /* findings that need mending */
    unsigned mended; /* of these */
} RecoverCounts;

/**
 * recover_state - check the journal, every definition, every autostart mark, every status file
 * @mend: change what is wrong, else only look; without it nothing is written at all
 *
 * Each finding is a line on standard output: the file, what it is, and what is done about it.
 * Doing it again after a crash finishes it.
 *
 * Returns: false with @error where nothing could be examined (BUSY: a daemon runs on this state).
 */
bool recover_state(const DaemonPaths *paths, bool mend, RecoverCounts *out, GError **error);

#endif
