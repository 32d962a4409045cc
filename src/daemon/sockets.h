/* Which sockets the daemon listens on.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_SOCKETS_H
#define LODGE_DAEMON_SOCKETS_H

#include "daemon/config.h"

/* Opens all that @config asks for, or takes those that systemd hands over (LISTEN_FDS). */
bool daemon_sockets_open(Daemon *daemon, const DaemonConfig *config, GError **error);

/* Removes the files of those that this daemon bound, and of no others. */
void daemon_sockets_unlink(Daemon *daemon);

#endif
