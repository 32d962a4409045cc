/* Limits of running guests through control groups.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_TUNING_H
#define LODGE_DAEMON_DOMAIN_TUNING_H

#include "daemon/domain/cgroup.h"
#include "daemon/domain/domain.h"

/* Puts all that the live definition limits into effect; without limits it does nothing. Context: a
 * worker thread with the job, without lock. */
bool tuning_apply(Domain *domain, QmpClient *monitor, GError **error);

/* Where the guest's groups are, or would be (transfer full). With lock. */
Cgroup *tuning_group_locked(const Domain *domain);

#endif
