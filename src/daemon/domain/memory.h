/* Memory of guests: what the balloon tells of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MEMORY_H
#define LODGE_DAEMON_DOMAIN_MEMORY_H

#include "daemon/domain/domain.h"

/* The balloon's names of statistics, libvirt's names in bulk statistics and its tags. Ends with
 * NULL. */
typedef struct MemoryStatName {
    const char *member, *field;
    int tag;
    bool is_bytes; /* told in KiB */
} MemoryStatName;

extern const MemoryStatName memory_stat_names[];

/* The guest's last statistics (transfer full), and when it sent them (seconds since 1970; 0:
 * never). NULL: it has no balloon. Context: a worker thread, without lock. */
JsonObject *memory_ask_guest(Domain *domain, QmpClient *monitor, gint64 *out_when);

/* Asks the guest for statistics as often as the live definition says. */
bool memory_apply_period(Domain *domain, QmpClient *monitor, GError **error);

#endif
