/* Descriptors that a client hands over for a guest's disks: <source file='...' fdgroup='NAME'/>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_FD_GROUPS_H
#define LODGE_DAEMON_DOMAIN_FD_GROUPS_H

#include "daemon/domain/domain.h"

/* A copy of the group's descriptor for reading, or for both (transfer full); -1 with @error: no
 * client has given one. Any thread, without lock. */
int fd_groups_open(Domain *domain, const char *name, bool for_writing, GError **error);

#endif
