/* Counters of the host's kernel for the threads of a guest (perf_event_open(2)).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_PERF_H
#define LODGE_DAEMON_DOMAIN_PERF_H

#include "daemon/domain/domain.h"
#include "daemon/domain/params.h"

typedef struct PerfCounters PerfCounters;

void perf_free(PerfCounters *counters);

/* Counts what the live definition enables. False with @error. Any thread, without lock. */
bool perf_apply(Domain *domain, GError **error);

/* "perf.NAME" of what is counted. With lock, of an active domain. */
void perf_add_stats_locked(ParamList *list, Domain *domain);

#endif
