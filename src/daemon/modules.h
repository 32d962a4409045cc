/* The daemon's modules, in the order they start; modules.c has the table.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_MODULES_H
#define LODGE_DAEMON_MODULES_H

#include "daemon/daemon.h"

/* Ends with NULL. */
extern const DaemonModule *const daemon_modules[];

extern const DaemonModule connect_module;     /* the connection itself */
extern const DaemonModule sasl_module;        /* authentication */
extern const DaemonModule polkit_module;      /* the same, of local users */
extern const DaemonModule admin_module;       /* the daemon itself, on the admin socket */
extern const DaemonModule host_module;        /* engines; what host and guests can do */
extern const DaemonModule host_node_module;   /* facts about the host */
extern const DaemonModule host_cpu_module;    /* comparing processors */
extern const DaemonModule host_memory_module; /* pages, merging, power */
extern const DaemonModule absent_module;      /* kinds of objects that there are none of */

extern const DaemonModule storage_by_path_module; /* images that no pool manages */

#endif
