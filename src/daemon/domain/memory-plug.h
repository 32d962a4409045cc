/* Memory devices that come, go and change while a guest runs: what may be plugged, what the engine
 * made of it, and how much of its memory the guest has. hotplug.h plugs them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MEMORY_PLUG_H
#define LODGE_DAEMON_DOMAIN_MEMORY_PLUG_H

#include "daemon/domain/service.h"

/* The size that memory plugged into a running guest gets: whole MiB, as libvirt's. */
void memory_plug_round(DomainMemory *memory);

/**
 * memory_plug_check - whether one more memory device fits beside those of a definition
 * @is_live: @def is a running guest's: its places count too, not only the amount
 *
 * <maxMemory>, room below it, slots, addresses; what else a definition may not say
 * domain_def_insert() finds. False with @error (libvirt's codes), which says what is in the way.
 */
bool memory_plug_check(const DomainDef *def, const DomainMemory *memory, bool is_live,
                       GError **error);

/* Fills in what the engine tells of the memory devices of @def: the slots and addresses that it
 * chose for modules, and how much of a virtio-mem device the guest has. What it does not tell stays
 * as it was. Context: a worker thread, without a domain's lock. */
void memory_plug_note_places(QmpClient *monitor, DomainDef *def);

/* The same of a running guest's definition, and memory_plug_note_amount(); nothing where it has no
 * memory devices. Context: a worker thread with the domain's job, without its lock. */
void memory_plug_refresh(Domain *domain, QmpClient *monitor);

/* Notes how much memory the guest has, after some came or went. Context: a worker thread with
 * the domain's job, without its lock. */
void memory_plug_note_amount(Domain *domain, QmpClient *monitor);

/* The guest has @balloon_kib by its balloon, and what it took of virtio-mem devices, which the
 * balloon does not count. With the domain's lock. */
void memory_plug_set_amount_locked(Domain *domain, guint64 balloon_kib);

/* A guest took or gave back blocks of the virtio-mem device @alias; it has @bytes of it now. False:
 * it has no such device. With the domain's lock. */
bool memory_plug_size_changed_locked(Domain *domain, const char *alias, guint64 bytes);

/**
 * memory_plug_update - ask a running guest for another amount of a virtio-mem device
 * @old: the device as it is
 * @wanted: as it shall be; nothing but its <requested> may differ
 *
 * Context: a worker thread with the domain's job, without its lock. False with @error (libvirt's
 * codes): another kind of memory, another difference, or what the engine says.
 */
bool memory_plug_update(Domain *domain, QmpClient *monitor, const DomainMemory *old,
                        const DomainMemory *wanted, GError **error);

#endif
