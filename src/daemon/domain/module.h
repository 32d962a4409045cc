/* The domain group's modules: the first keeps the guests, the others hold procedures.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MODULE_H
#define LODGE_DAEMON_DOMAIN_MODULE_H

#include "daemon/daemon.h"

extern const DaemonModule domain_module;
extern const DaemonModule domain_query_module;    /* lists, states */
extern const DaemonModule domain_define_module;   /* definitions */
extern const DaemonModule domain_guest_module;    /* consoles, the monitor */
extern const DaemonModule domain_graphics_module; /* screens */
extern const DaemonModule domain_keys_module;
extern const DaemonModule domain_perf_module;       /* counters of the host's processors */
extern const DaemonModule domain_fd_groups_module;  /* descriptors instead of paths */
extern const DaemonModule domain_end_module;        /* what a guest's own end brings about */
extern const DaemonModule domain_stats_module;      /* counters */
extern const DaemonModule domain_devices_module;    /* devices in and out */
extern const DaemonModule domain_interfaces_module; /* counters, limits, addresses of interfaces */
extern const DaemonModule domain_vcpus_module;      /* vCPUs: number, places */
extern const DaemonModule domain_iothreads_module;
extern const DaemonModule domain_memory_module;
extern const DaemonModule domain_blocks_module; /* disks */
extern const DaemonModule domain_peek_module;   /* contents */
extern const DaemonModule domain_agent_module;  /* the agent in the guest */
extern const DaemonModule domain_guest_info_module;
extern const DaemonModule domain_metadata_module;  /* title, description, applications' elements */
extern const DaemonModule domain_tuning_module;    /* control groups */
extern const DaemonModule domain_lifecycle_module; /* start, stop, pause */

#endif
