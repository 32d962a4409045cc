/* Folders of guests that have ended, removed by a thread of their own: a guest may have filled
 * them.
 *
 * They are moved to RUN/removed or STATE/removed at once, where no guest's user gets, and are gone
 * some time after. What a daemon leaves there when it ends, the next one removes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_REMOVAL_H
#define LODGE_DAEMON_DOMAIN_REMOVAL_H

#include "daemon/domain/service.h"

/* The folder below the run or state directory. */
#define REMOVAL_FOLDER "removed"

/* Begins with what daemons before left. Context: start of the daemon, before there are guests. */
void removal_start(DomainService *service);

/* Ends what is being removed, soon. Context: end of the daemon. */
void removal_stop(DomainService *service);

/**
 * removal_take - the folder @path is no more, or soon will be
 * @base: the run or the state directory, on the same file system
 *
 * Does not wait for the removal. Nothing happens where there is none. Context: any thread.
 */
void removal_take(DomainService *service, const char *base, const char *path);

/* Removes what is below @base/removed, and waits for it: for the recovery tool. Returns: how many
 * there were; @mend false: only that. */
unsigned removal_of_leftovers(const char *base, bool mend);

#endif
