/* Limits of running guests through control groups.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_TUNING_H
#define LODGE_DAEMON_DOMAIN_TUNING_H

#include "daemon/domain/cgroup.h"
#include "daemon/domain/domain.h"

/* Puts all that the live definition limits into effect, and pins; without any it does nothing.
 * Context: a worker thread with the job, without lock. */
bool tuning_apply(Domain *domain, QmpClient *monitor, GError **error);

/* Where the guest's groups are, or would be (transfer full). With lock. */
Cgroup *tuning_group_locked(const Domain *domain);

/* Removes the groups of guests that ended while no daemon ran. Context: no call runs yet. */
void tuning_remove_left(DomainService *service);

#endif
