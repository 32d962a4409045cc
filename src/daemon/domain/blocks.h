/* Disks of guests: counters and limits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_BLOCKS_H
#define LODGE_DAEMON_DOMAIN_BLOCKS_H

#include "daemon/domain/domain.h"

typedef struct DiskCounters {
    gint64 rd_ops, rd_bytes, rd_ns, wr_ops, wr_bytes, wr_ns, flush_ops, flush_ns;
    gint64 capacity, allocation;
} DiskCounters;

/* Alias and path (each transfer full) of a disk by what a client calls it. False with @error. */
bool block_find_disk(Domain *domain, const char *name, char **out_alias, char **out_path,
                     GError **error);

/* The element of that device in answers to query-block and query-blockstats; borrowed, or NULL. */
JsonObject *block_find(JsonNode *node, const char *alias);

/* From answers to query-blockstats and query-block (each nullable). */
void block_read_counters(JsonNode *stats, JsonNode *blocks, const char *alias, DiskCounters *out);

/* The monitor told of "THRESHOLD EXCESS NODE"; clients are told by the disk's name. Context: a
 * worker thread. */
void block_threshold_passed(Domain *domain, const char *text);

/* Sets the limits that @disk says; with none it does nothing. Context: a worker thread. */
bool block_apply_limits(QmpClient *monitor, const DomainDisk *disk, GError **error);

#endif
