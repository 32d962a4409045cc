/* The table of modules.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/modules.h"

#include "daemon/domain/module.h"

const DaemonModule *const daemon_modules[] = {
    &connect_module,
    &sasl_module,
    &polkit_module,
    &admin_module,
    &host_module,
    &host_node_module,
    &host_cpu_module,
    &host_memory_module,
    &absent_module,
    &storage_by_path_module,
    &domain_module,
    &domain_query_module,
    &domain_define_module,
    &domain_lifecycle_module,
    &domain_guest_module,
    &domain_graphics_module,
    &domain_keys_module,
    &domain_perf_module,
    &domain_fd_groups_module,
    &domain_end_module,
    &domain_stats_module,
    &domain_devices_module,
    &domain_interfaces_module,
    &domain_vcpus_module,
    &domain_iothreads_module,
    &domain_memory_module,
    &domain_blocks_module,
    &domain_peek_module,
    &domain_agent_module,
    &domain_tuning_module,
    &domain_metadata_module,
    &domain_guest_info_module,
    NULL,
};
