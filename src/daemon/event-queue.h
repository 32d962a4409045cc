/* Events: what clients registered for, and the one way to tell them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_EVENT_QUEUE_H
#define LODGE_DAEMON_EVENT_QUEUE_H

#include "gbase/uuid.h"
#include "schema/remote.h"

typedef struct EventQueue EventQueue;

/* A name and, where the object has one, a UUID; what a registration for one object compares. */
typedef struct EventSubject {
    const char *name;
    Uuid uuid; /* zero where the object has none (node devices) */
} EventSubject;

/**
 * event_queue_emit - send an event to every client that registered for it
 * @procedure: REMOTE_PROC_..._EVENT_... of a message whose first member is callback_id
 * @subject:   the object it is about
 * @message:   the generated struct, as RemoteDomainEventCallbackLifecycleMsg; callback_id is
 *             filled in for each client. Borrowed; encoded before it returns
 *
 * Events of one thread reach each client in the order emitted. It neither blocks nor fails: a
 * client that does not read is cut off when its queue is full. Context: any thread, with any lock
 * of a module held.
 */
void event_queue_emit(EventQueue *queue, uint32_t procedure, const EventSubject *subject,
                      const void *message);

/* As event_queue_emit() for events of the QEMU program (@message: QemuDomainMonitorEventMsg). */
void event_queue_emit_monitor(EventQueue *queue, const EventSubject *subject, const void *message);

/* Whether any client registered for it: saves building costly messages. Any thread. */
bool event_queue_is_wanted(EventQueue *queue, uint32_t procedure);

#endif
