/* vCPUs of running guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_VCPUS_H
#define LODGE_DAEMON_DOMAIN_VCPUS_H

#include "daemon/domain/affinity.h"
#include "daemon/domain/domain.h"

#define VCPUS_MAX 4096u

/* Asks the monitor which vCPUs there are: one came or went without a call waiting for it. Context:
 * a worker thread without the domain's lock or job. */
void vcpus_note(Domain *domain, const char *unused);

/* For these the caller holds the domain's job, not its lock. False with @error: TIMEOUT where the
 * guest does not let go of one. What did change is in the live definition in any case. */

/* Plugs the lowest ones, or takes out the highest, until @wanted are there. */
bool vcpus_set_live_count(Domain *domain, QmpClient *monitor, unsigned wanted, GError **error);

/* Plugs or takes out the only one of @which. */
bool vcpus_switch_live(Domain *domain, QmpClient *monitor, const CpuSet *which, bool on,
                       GError **error);

/* Plugs what <vcpus> wants plugged before the guest runs. */
bool vcpus_plug_at_start(Domain *domain, QmpClient *monitor, GError **error);

#endif
