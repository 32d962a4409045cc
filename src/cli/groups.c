/* The list of groups.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"

#define TABLES(...)                                                                                \
    (const CliCommand *const[])                                                                    \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

const CliGroup cli_groups[] = {
    { "domain", "Domain Management",
      TABLES(cli_agent_commands, cli_block_job_commands, cli_definition_commands,
             cli_descriptors_commands, cli_device_commands, cli_display_commands,
             cli_domain_commands, cli_memory_commands, cli_migrate_commands,
             cli_monitor_event_commands, cli_save_commands, cli_security_commands,
             cli_tune_commands, cli_vcpu_commands) },
    { "monitor", "Domain Monitoring",
      TABLES(cli_clock_commands, cli_link_commands, cli_list_commands, cli_monitor_commands,
             cli_statistics_commands) },
    { "events", "Domain Events", TABLES(cli_event_commands) },
    { "host", "Host and Hypervisor",
      TABLES(cli_host_commands, cli_host_cpu_commands, cli_host_memory_commands,
             cli_sev_commands) },
    { "lodge", "Lodge itself",
      TABLES(cli_doctor_commands, cli_import_commands, cli_passwd_commands, cli_run_commands,
             cli_self_commands, cli_top_commands) },
    { NULL },
};
