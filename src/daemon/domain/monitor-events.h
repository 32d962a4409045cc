/* What events of a guest's monitor mean for the domain.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_MONITOR_EVENTS_H
#define LODGE_DAEMON_DOMAIN_MONITOR_EVENTS_H

#include "daemon/domain/domain.h"

#include <glib.h>
#include <json-glib/json-glib.h>

/* As QmpClientOps; @opaque is the Domain. On the loop's thread. */
void monitor_on_event(void *opaque, const char *name, JsonObject *data, gint64 seconds,
                      unsigned microseconds);
void monitor_on_closed(void *opaque, const GError *reason);

/* Tells that the guest agent came (@is_open) or went. With lock. */
enum { AGENT_REASON_STARTED = 1, AGENT_REASON_CHANNEL = 2 };
void monitor_emit_agent_locked(Domain *domain, bool is_open, int reason);

#endif
