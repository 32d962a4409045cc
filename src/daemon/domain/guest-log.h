/* What guests' processes say: LOG/qemu/NAME.log, LOG/qemu/NAME-HELPER.log.
 *
 * A process appends to its file itself, also while no daemon runs. One that has become longer than
 * Daemon.guest_log_max_size is copied to NAME.log.0 and emptied, when a guest starts and within
 * moments while it runs; older ones are NAME.log.1 and so on, Daemon.guest_log_max_backups of them.
 * What is written during the copy is lost.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_GUEST_LOG_H
#define LODGE_DAEMON_DOMAIN_GUEST_LOG_H

#include "daemon/domain/service.h"

/* Looks at the files there are, and from then on at those that grow. Context: start and end of the
 * daemon, the loop's thread. */
void guest_logs_start(DomainService *service);
void guest_logs_stop(DomainService *service);

/**
 * guest_log_open - the log of a guest's process, to append to
 * @kind: of a helper beside it, or NULL
 *
 * Context: a worker thread. Returns: a descriptor (transfer full), or -1 with @error.
 */
int guest_log_open(const Domain *domain, const char *kind, GError **error);

#endif
