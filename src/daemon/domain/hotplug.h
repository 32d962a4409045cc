/* Devices of running guests: added, taken out, changed.
 *
 * A device is added by the very arguments that the guest would have been started with, each run as
 * the monitor command that does the same; when one fails, those before it are undone.
 *
 * Context, if not said otherwise: a worker thread with the domain's job, without its lock.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_HOTPLUG_H
#define LODGE_DAEMON_DOMAIN_HOTPLUG_H

#include "daemon/domain/service.h"

/**
 * hotplug_attach - add a device
 * @device: copied
 *
 * Chooses its alias and address. False with @error: the guest is as before.
 */
bool hotplug_attach(Domain *domain, QmpClient *monitor, const DomainDevice *device, GError **error);

/* Whether devices of this kind come and go while a guest runs; else OPERATION_UNSUPPORTED. */
bool hotplug_check(const DomainDevice *device, GError **error);

/**
 * hotplug_detach - take out the device of that alias
 * @wait: until the guest has let go of it, some seconds at most; else it is only asked
 *
 * False with @error, TIMEOUT when the guest did not let go: the device is still there, and goes
 * when the guest does.
 */
bool hotplug_detach(Domain *domain, QmpClient *monitor, const char *alias, bool wait,
                    GError **error);

/* Takes out what is no device of the definition, as a vCPU; waits. */
bool hotplug_remove(Domain *domain, QmpClient *monitor, const char *id, GError **error);

/* The guest let go of a device that no call waits for. Takes the job itself. */
void hotplug_device_left(Domain *domain, const char *alias);

/* With lock; any thread. */
void hotplug_emit_removal_failed_locked(Domain *domain, const char *alias);

/* Changes the live device that @wanted describes: media, links, passwords. */
bool hotplug_update(Domain *domain, QmpClient *monitor, const DomainDevice *wanted, bool force,
                    GError **error);

/* Pulls the cable, or puts it in. */
bool hotplug_set_link(QmpClient *monitor, const DomainInterface *interface, bool is_up,
                      GError **error);

/* What devices get beyond their arguments, for all of a guest that is being started. */
bool hotplug_finish_start(Domain *domain, QmpClient *monitor, GError **error);

/* Passes @fd (transfer full) to the guest as a set of its own, for "/dev/fdset/N". The sets of
 * @owner go with hotplug_drop_fds(). -1 with @error. */
int hotplug_pass_fd(QmpClient *monitor, int fd, int set, const char *owner, GError **error);
void hotplug_drop_fds(QmpClient *monitor, const char *owner, int except_set);

#endif
