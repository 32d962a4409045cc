/* What a guest's own end brings about: <on_poweroff>, <on_reboot>, <on_crash>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_END_ACTIONS_H
#define LODGE_DAEMON_DOMAIN_END_ACTIONS_H

#include "daemon/domain/domain.h"

/* The guest has powered off, or rebooted where its engine takes that for an end. With lock, on the
 * loop's thread. True: it starts again, and there is no end. */
bool end_actions_shutdown_locked(Domain *domain, bool is_reboot);

/* It panicked, and its engine has paused it. As above. */
void end_actions_panic_locked(Domain *domain);

/* Resets the guest and lets it run, on a thread of its own. Any thread, with or without lock. */
void end_actions_restart(Domain *domain);

#endif
