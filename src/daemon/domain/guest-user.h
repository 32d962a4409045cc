/* Users of guests: in a host's daemon each guest's process has a uid of its own, no capabilities
 * and no way to gain any. What it uses it gets as descriptors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_GUEST_USER_H
#define LODGE_DAEMON_DOMAIN_GUEST_USER_H

#include "daemon/domain/process.h"
#include "daemon/domain/service.h"

/* Fills in uid and groups of @spec for a guest that starts, and gives it the engine's part of its
 * folder. Nothing where guests run as the daemon's user. False with @error: no uid is free. */
bool guest_user_prepare(Domain *domain, ProcessSpec *spec, GError **error);

/* Whether the guest's process, as @spec has it, may use what it opens itself: folders of 9P file
 * systems, files of persistent memory. False with @error, which names what is in the way. */
bool guest_user_check_paths(Domain *domain, const ProcessSpec *spec, GError **error);

/**
 * guest_user_lend - a copy of a file for a guest that could not open it by its path
 *
 * Returns: a descriptor that any user may open again through /proc/self/fd, read-only (transfer
 * full); -1 without @error when the guest can open the path itself; -1 with @error.
 */
int guest_user_lend(Domain *domain, const char *path, GError **error);

/* Whose a process is; 0: the daemon's own, or it is gone. */
uid_t guest_user_of_process(pid_t pid);

/* "+UID:+GID" of a running guest with a user of its own (transfer full), or NULL. */
char *guest_user_label(const Domain *domain);

#endif
