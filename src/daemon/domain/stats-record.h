/* What bulk statistics tell of one domain, group by group.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_STATS_RECORD_H
#define LODGE_DAEMON_DOMAIN_STATS_RECORD_H

#include "daemon/domain/domain.h"
#include "daemon/domain/image-size.h"
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

/* Whose record it is, and its first group. */
typedef struct StatsHead {
    char *name;
    Uuid uuid;
    int id;
    DomainState state;
    int reason;
} StatsHead;

/* What is told of a domain, but for its state and the sizes of images that no guest has open: those
 * are looked at each time the record is sent. Of a domain that is off it depends on the definition
 * alone. Any thread. */
typedef struct StatsRecord StatsRecord;

/**
 * stats_record_new - what there is to tell
 * @with_backing: images below those of disks of running guests, too
 * @head: filled in from the same moment; for stats_head_clear()
 *
 * Context: a worker thread, without lock: it asks the guest's monitor and, with @with_backing,
 * reads its images. Returns: NULL, @head as it was: the domain went meanwhile, or cannot be read.
 */
StatsRecord *stats_record_new(Domain *domain, unsigned groups, bool with_backing, StatsHead *head);

/**
 * stats_record_put - append it as libvirt's domain_stats_record
 * @with_state: the group "state" is wanted
 * @folder: of the pass over many records
 *
 * Context: a worker thread, without lock: it reads headers of images.
 */
void stats_record_put(StatsRecord *record, const StatsHead *head, bool with_state,
                      ImageFolder *folder, XdrWriter *writer);

StatsRecord *stats_record_ref(StatsRecord *record);
void stats_record_unref(StatsRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StatsRecord, stats_record_unref)

void stats_head_locked(const Domain *domain, StatsHead *out);
void stats_head_clear(StatsHead *head);

#endif
