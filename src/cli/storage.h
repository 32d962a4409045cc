/* Volumes that a domain's disks are on, for `undefine`.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_STORAGE_H
#define LODGE_CLI_STORAGE_H

#include "cli/session.h"

/* The volumes of the disks that --storage names, or of all with --remove-all-storage; those that
 * belong to no pool are named on standard error. NULL: @error. */
GPtrArray *cli_volumes_of(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                          GError **error);
/* Overwrites (--wipe-storage) and deletes them. */
bool cli_volumes_delete(CliSession *session, const CliArgs *args, const GPtrArray *volumes,
                        GError **error);

#endif
