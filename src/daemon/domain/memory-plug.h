/* Memory modules (DIMMs and NVDIMMs) that come and go while a guest runs: what may be plugged, and
 * what the engine made of it. hotplug.h plugs them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MEMORY_PLUG_H
#define LODGE_DAEMON_DOMAIN_MEMORY_PLUG_H

#include "daemon/domain/service.h"

/* The size that a module of a running guest gets: whole MiB, as libvirt's. */
void memory_plug_round(DomainMemory *memory);

/**
 * memory_plug_check - whether one more module fits beside those of a definition
 * @is_live: @def is a running guest's: its places count too, not only the amount
 *
 * <maxMemory>, room below it, slots, addresses; what else a definition may not say
 * domain_def_insert() finds. False with @error (libvirt's codes), which says what is in the way.
 */
bool memory_plug_check(const DomainDef *def, const DomainMemory *memory, bool is_live,
                       GError **error);

/* Fills in the slots and addresses that the engine chose for modules of @def. What it does not
 * tell stays as it was. Context: a worker thread, without a domain's lock. */
void memory_plug_note_places(QmpClient *monitor, DomainDef *def);

/* Notes how much memory the guest has, after modules came or went. Context: a worker thread with
 * the domain's job, without its lock. */
void memory_plug_note_amount(Domain *domain, QmpClient *monitor);

#endif
