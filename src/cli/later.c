/* virsh's commands that lodge lacks, and what they are about.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/command.h"

#include <string.h>

typedef struct LaterGroup {
    const char *prefix;
    const char *subject;
    const char *names; /* what follows the prefix, each with a blank before and behind */
} LaterGroup;

static const LaterGroup groups[] = {
    { "backup-", "backups", " begin dumpxml " },
    { "checkpoint-", "checkpoints", " create create-as delete dumpxml edit info list parent " },
    { "find-storage-pool-", "storage pools", " sources sources-as " },
    { "iface-", "the host's network interfaces",
      " begin bridge commit define destroy dumpxml edit list mac name rollback start unbridge "
      "undefine " },
    { "lxc-", "containers", " enter-namespace " },
    { "net-", "networks",
      " autostart create define desc destroy dhcp-leases dumpxml edit event info list metadata "
      "name port-create port-delete port-dumpxml port-list start undefine update uuid " },
    { "nodedev-", "the host's devices",
      " autostart create define destroy detach dettach dumpxml event info list reattach reset "
      "start undefine update " },
    { "nwfilter-", "network filters",
      " binding-create binding-delete binding-dumpxml binding-list define dumpxml edit list "
      "undefine " },
    { "pool-", "storage pools",
      " autostart build capabilities create create-as define define-as delete destroy dumpxml "
      "edit event info list name refresh start undefine uuid " },
    { "secret-", "secrets", " define dumpxml event get-value list set-value undefine " },
    { "snapshot-", "snapshots",
      " create create-as current delete dumpxml edit info list parent revert " },
    { "vol-", "storage volumes",
      " clone create create-as create-from delete download dumpxml info key list name path pool "
      "resize upload wipe " },
};

const char *cli_later_subject(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (!g_str_has_prefix(name, groups[i].prefix)) {
            continue;
        }
        g_autofree char *word = g_strdup_printf(" %s ", name + strlen(groups[i].prefix));
        if (strstr(groups[i].names, word)) {
            return groups[i].subject;
        }
    }
    return NULL;
}
