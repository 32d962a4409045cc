/* Folders of the host in guests by virtiofs: virtiofsd as a helper process.
 *
 * It does what a file server does: it opens files of any user, as root, shut into the folder by
 * namespaces of its own. So a daemon that is not root cannot start it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_VIRTIOFS_H
#define LODGE_DAEMON_DOMAIN_VIRTIOFS_H

#include "daemon/domain/domain.h"

/* Starts the server of @fs, whose <binary path> gets filled in; the engine's end of the connection
 * (transfer full), or -1 with @error. A worker thread. */
int virtiofs_start(Domain *domain, DomainFilesystem *fs, GError **error);

/* Whether this daemon can start what @def asks for. */
bool virtiofs_check(const DomainDef *def, GError **error);

/* The server's program (transfer full), or NULL: not installed. */
char *virtiofs_find_program(void);

#endif
