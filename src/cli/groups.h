/* The groups of commands, one file each.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_GROUPS_H
#define LODGE_CLI_GROUPS_H

#include "cli/command.h"

extern const CliCommand cli_agent_commands[];
extern const CliCommand cli_block_job_commands[];
extern const CliCommand cli_clock_commands[];
extern const CliCommand cli_definition_commands[];
extern const CliCommand cli_descriptors_commands[];
extern const CliCommand cli_device_commands[];
extern const CliCommand cli_display_commands[];
extern const CliCommand cli_domain_commands[];
extern const CliCommand cli_event_commands[];
extern const CliCommand cli_host_commands[];
extern const CliCommand cli_host_cpu_commands[];
extern const CliCommand cli_host_memory_commands[];
extern const CliCommand cli_import_commands[];
extern const CliCommand cli_link_commands[];
extern const CliCommand cli_list_commands[];
extern const CliCommand cli_memory_commands[];
extern const CliCommand cli_migrate_commands[];
extern const CliCommand cli_monitor_commands[];
extern const CliCommand cli_monitor_event_commands[];
extern const CliCommand cli_doctor_commands[];
extern const CliCommand cli_run_commands[];
extern const CliCommand cli_passwd_commands[];
extern const CliCommand cli_save_commands[];
extern const CliCommand cli_security_commands[];
extern const CliCommand cli_sev_commands[];
extern const CliCommand cli_top_commands[];
extern const CliCommand cli_self_commands[];
extern const CliCommand cli_statistics_commands[];
extern const CliCommand cli_tune_commands[];
extern const CliCommand cli_vcpu_commands[];

#endif
