/* The list of groups.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"

const CliGroup cli_groups[] = {
    { "domain", "Domain Management", cli_domain_commands },
    { "monitor", "Domain Monitoring", cli_monitor_commands },
    { "host", "Host and Hypervisor", cli_host_commands },
    { "lodge", "Lodge itself", cli_self_commands },
    { NULL },
};
