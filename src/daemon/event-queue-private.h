/* Events, the server's side: clients register and leave.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_EVENT_QUEUE_PRIVATE_H
#define LODGE_DAEMON_EVENT_QUEUE_PRIVATE_H

#include "daemon/client.h"
#include "daemon/event-queue.h"

EventQueue *event_queue_new(void);
void event_queue_free(EventQueue *queue);

/**
 * event_queue_register - send events to the client of @call, from after its reply on
 * @subject:      only those of this object; NULL: of all
 * @monitor_name: only monitor events of this name; NULL: all
 * @monitor_pattern: only those whose name matches; NULL: all. Referenced
 *
 * Returns: the callback id, or -1 with @error when there is no such event.
 */
int32_t event_queue_register(EventQueue *queue, DaemonCall *call, RpcEventObject object,
                             int event_id, const EventSubject *subject, const char *monitor_name,
                             GRegex *monitor_pattern, GError **error);
bool event_queue_deregister(EventQueue *queue, DaemonClient *client, RpcEventObject object,
                            int32_t callback_id, GError **error);
void event_queue_drop_client(EventQueue *queue, DaemonClient *client);

#endif
