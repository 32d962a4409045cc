/* On which of the host's CPUs a guest's threads run.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_AFFINITY_H
#define LODGE_DAEMON_DOMAIN_AFFINITY_H

#include "conf/cpuset.h"
#include "daemon/domain/domain.h"

/* A client's map: CPU 8 i + b is bit b of byte i. False with @error: it names none of the host's
 * CPUs. */
bool affinity_from_map(const uint8_t *map, uint32_t size, CpuSet *out, GError **error);
void affinity_to_map(const CpuSet *set, uint8_t *map, uint32_t size);

/* The set that a definition's text means, cut to the host's CPUs; all of them for NULL. */
void affinity_parse(const char *text, CpuSet *out);

/* The pin of that vCPU, or IOThread, in a list of DomainPin; NULL: none. Setting a NULL text takes
 * it out. */
const char *affinity_find_pin(const XmlList *pins, uint32_t id);
void affinity_set_pin(XmlList *pins, uint32_t id, const char *text);

/* Of a thread. False with @error. */
bool affinity_set(pid_t tid, const CpuSet *set, GError **error);
bool affinity_get(pid_t tid, CpuSet *out);

/* Of all threads of the process but those in @others (of pid_t). */
bool affinity_set_emulator(pid_t pid, const GArray *others, const CpuSet *set, GError **error);

/* The pins of the live definition, for all threads that there are. Any thread, without lock. */
bool affinity_apply(Domain *domain, QmpClient *monitor, GError **error);

/* Threads of IOThreads: id -> pid_t, from the monitor (transfer full); NULL with @error. */
GHashTable *affinity_iothreads(QmpClient *monitor, GError **error);

#endif
