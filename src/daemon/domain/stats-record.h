/* What bulk statistics tell of one domain, group by group.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_STATS_RECORD_H
#define LODGE_DAEMON_DOMAIN_STATS_RECORD_H

#include "daemon/domain/domain.h"
#include "daemon/domain/params.h"

/* Groups of virConnectGetAllDomainStats. Nothing here tells of STATS_MEMORY (bandwidth that Intel
 * RDT counts) and STATS_VM (KVM's own counters). */
enum {
    STATS_STATE = 1 << 0,
    STATS_CPU = 1 << 1,
    STATS_BALLOON = 1 << 2,
    STATS_VCPU = 1 << 3,
    STATS_INTERFACE = 1 << 4,
    STATS_BLOCK = 1 << 5,
    STATS_PERF = 1 << 6,
    STATS_IOTHREAD = 1 << 7,
    STATS_MEMORY = 1 << 8,
    STATS_DIRTYRATE = 1 << 9,
    STATS_VM = 1 << 10,
    STATS_ALL = (1 << 11) - 1,
};

/* Parameters that begin a record with the group "state". */
#define STATE_PARAMS 2u

/**
 * stats_record_add - fill in a record
 * @with_backing: images below those of disks, too
 *
 * Context: a worker thread, without lock. Returns: false: the domain went meanwhile, or cannot be
 * read.
 */
bool stats_record_add(Domain *domain, unsigned groups, bool with_backing, ParamList *list,
                      RemoteDomain *out);

#endif
