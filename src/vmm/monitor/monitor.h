/* Monitors: how people (HMP) and programs (QMP) look at a running guest and steer it.
 *
 * Commands, errors and events of QMP are QEMU's by name and shape, those of schema.c; others are
 * refused as CommandNotFound. All functions run on the main thread.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_MONITOR_H
#define LODGE_VMM_MONITOR_MONITOR_H

#include "vmm/monitor/target.h"

/* All monitors of one machine. */
typedef struct MonitorSet MonitorSet;

typedef enum MonitorMode { MONITOR_READLINE, MONITOR_CONTROL, MONITOR_CONTROL_PRETTY } MonitorMode;

/* @target: copied. */
MonitorSet *monitor_set_new(const MonitorTarget *target, EventLoop *loop);
/* Detaches from the character back ends, which must still be there. NULL is accepted. */
void monitor_set_free(MonitorSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MonitorSet, monitor_set_free)

/* A monitor on @backend (borrowed, open; also a port of a multiplexer). False with @error: it
 * serves somebody else. */
bool monitor_set_add(MonitorSet *set, CharBackend *backend, MonitorMode mode, GError **error);

typedef enum MonitorEventKind {
    MONITOR_EVENT_RESUME,
    MONITOR_EVENT_STOP,
    MONITOR_EVENT_SHUTDOWN, /* by_guest, reason */
    MONITOR_EVENT_RESET,    /* by_guest, reason */
    MONITOR_EVENT_POWERDOWN,
    MONITOR_EVENT_GUEST_PANICKED,  /* action */
    MONITOR_EVENT_BLOCK_IO_ERROR,  /* device, is_write, action, no_space, reason */
    MONITOR_EVENT_RTC_CHANGE,      /* offset_s */
    MONITOR_EVENT_DEVICE_DELETED,  /* device */
    MONITOR_EVENT_VSERPORT_CHANGE, /* device, is_open */
    MONITOR_EVENT_BALLOON_CHANGE,  /* bytes */
} MonitorEventKind;

typedef struct MonitorEvent {
    MonitorEventKind kind;
    bool by_guest;
    const char *reason; /* SHUTDOWN, RESET: QMP's ShutdownCause, as "guest-shutdown";
                           BLOCK_IO_ERROR: text of the error */
    const char *action; /* GUEST_PANICKED: "pause", "poweroff", "run"; BLOCK_IO_ERROR: "ignore",
                           "report", "stop" */
    const char *node;   /* BLOCK_IO_ERROR: node-name, or NULL */
    const char *device; /* BLOCK_IO_ERROR: id of the drive; DEVICE_DELETED: of the device */
    bool is_write, no_space;
    bool is_open;
    uint64_t bytes;   /* BALLOON_CHANGE: RAM that the guest keeps */
    int64_t offset_s; /* RTC_CHANGE: guest's clock minus the host's */
} MonitorEvent;

/* Tells all QMP peers that negotiated. RTC_CHANGE comes at most once a second, the last one wins.
 */
void monitor_set_emit(MonitorSet *set, const MonitorEvent *event);

#endif
