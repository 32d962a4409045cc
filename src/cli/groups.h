/* The groups of commands, one file each.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_GROUPS_H
#define LODGE_CLI_GROUPS_H

#include "cli/command.h"

extern const CliCommand cli_domain_commands[];
extern const CliCommand cli_monitor_commands[];
extern const CliCommand cli_host_commands[];
extern const CliCommand cli_self_commands[];

#endif
