/* What monitors may use of the machine; whoever knows both (beside main.c) fills it in.
 *
 * All functions run on the main thread and return soon. Those not marked optional are required.
 * Lists are read by index from 0; false or NULL: past the last. What they return is borrowed and
 * valid until the machine's loop goes on. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_TARGET_H
#define LODGE_VMM_MONITOR_TARGET_H

#include "block/graph.h"
#include "block/objects.h"
#include "gbase/fd-sets.h"
#include "vmm/accel/cpu-state.h"
#include "vmm/char/char.h"
#include "vmm/cpu/feature.h"
#include "vmm/device/registry.h"
#include "vmm/memory/guest-memory.h"
#include "vmm/net/net.h"
#include "vmm/options/keyval.h"
#include "vmm/virtio/balloon/balloon.h"

typedef struct MonitorVcpu {
    int64_t thread_id; /* of the host */
    uint32_t socket, die, core, thread;
} MonitorVcpu;

typedef struct MonitorDisk {
    const char *device; /* id of the drive */
    const Device *user; /* the device that shows it, or NULL */
    BlockBackend *backend;
    bool is_removable;
} MonitorDisk;

/* What -object made; all borrowed. */
typedef struct MonitorObject {
    const char *id, *type;
    ThrottleGroup *limits; /* of a throttle-group; else NULL */
} MonitorObject;

typedef struct MonitorMachineType {
    const char *name, *alias; /* alias: or NULL */
    unsigned vcpus_max;
    bool is_default;
} MonitorMachineType;

typedef struct MonitorBalloon {
    BalloonStats stats;
    int64_t updated_s;  /* since the epoch; 0: never */
    uint32_t polling_s; /* interval; 0: statistics are not asked for */
} MonitorBalloon;

/* What is done when the guest does something: set-action and -action. */
typedef struct MonitorActions {
    bool reboot_is_shutdown; /* reboot=shutdown, else reset */
    bool shutdown_is_pause;  /* shutdown=pause, else poweroff */
} MonitorActions;

/* A thread that serves disks (-object iothread). */
typedef struct MonitorIothread {
    const char *id;
    int64_t thread_id;
    uint64_t poll_max_ns, poll_grow, poll_shrink, batch; /* as they were given */
} MonitorIothread;

typedef struct MonitorTarget {
    /* Facts; strings are borrowed for the target's life. */
    const char *name; /* of the guest, or NULL */
    const char *uuid; /* text, or NULL: all zero */
    const char *accel, *machine_type;
    unsigned vcpu_count;
    bool is_kvm, has_kvm; /* in use; on this host */
    const char *cpu_model;
    uint64_t ram_bytes;
    FdSets *fds;                 /* where descriptors of peers go */
    BlockGraph *graph;           /* of the disks; NULL: nodes cannot be changed */
    BlockObjects *block_objects; /* what nodes and the NBD server name; NULL: none */
    DeviceFamily *const *device_families;

    /* Run state, by QMP's name: "running", "paused", "prelaunch", ... */
    const char *(*status)(void *opaque);
    void (*pause)(void *opaque); /* nothing happens unless it runs */
    bool (*resume)(void *opaque, GError **error);
    void (*reset)(void *opaque);
    void (*powerdown)(void *opaque);              /* presses the power button */
    bool (*wakeup)(void *opaque, GError **error); /* optional: from a sleep state */
    bool (*nmi)(void *opaque, GError **error);    /* optional: to all vCPUs */
    void (*quit)(void *opaque);                   /* the loop ends after the present round */
    void (*get_actions)(void *opaque, MonitorActions *out); /* optional with set_actions */
    void (*set_actions)(void *opaque, const MonitorActions *actions); /* optional */
    void (*flush_disks)(void *opaque);                                /* optional */

    bool (*vcpu)(void *opaque, unsigned index, MonitorVcpu *out);
    /* State of a vCPU, which is stopped for that moment. @index < vcpu_count. */
    void (*vcpu_state)(void *opaque, unsigned index, CpuState *out_state);
    /* Page walk of a vCPU without side effects; false: not mapped. */
    bool (*translate)(void *opaque, unsigned index, uint64_t guest_virtual,
                      GuestAddr *out_physical);
    /* Copies guest-physical memory, RAM only; false: some of it is none. */
    bool (*read_physical)(void *opaque, GuestAddr addr, void *buf, size_t length);

    /* optional: a node's options with file names as this process opens them. (transfer full) */
    BlockSpec *(*resolve_spec)(void *opaque, const BlockSpec *spec, GError **error);
    bool (*disk)(void *opaque, unsigned index, MonitorDisk *out);
    /* The disk shares the limits of the group @name from here on, which is made if there is none;
     * NULL: it has no limits. */
    bool (*join_limits)(void *opaque, const MonitorDisk *disk, const char *name, GError **error);
    CharBackend *(*chardev)(void *opaque, unsigned index);
    NetBackend *(*netdev)(void *opaque, unsigned index);
    bool (*machine)(void *opaque, unsigned index, MonitorMachineType *out); /* known types */
    bool (*object)(void *opaque, unsigned index, MonitorObject *out);       /* optional */
    const char *(*object_type)(void *opaque, unsigned index); /* optional: that -object knows */
    bool (*iothread)(void *opaque, unsigned index, MonitorIothread *out); /* optional */
    /* Optional, where iothread is. False with @error: it cannot be that. */
    bool (*set_iothread)(void *opaque, unsigned index, const char *property, const char *value,
                         GError **error);

    /* All devices of the guest. */
    const Device *(*device)(void *opaque, unsigned index);
    /* A device of the guest comes or goes; what goes leaves when the guest agrees, and is told of
     * by MONITOR_EVENT_DEVICE_DELETED. @properties: borrowed. */
    bool (*device_add)(void *opaque, const char *driver, const char *id,
                       const KeyvalList *properties, GError **error);
    bool (*device_del)(void *opaque, const char *id, GError **error);
    /* Back ends of @kind ("chardev", "netdev", "object"). */
    bool (*backend_add)(void *opaque, const char *kind, const char *type, const char *id,
                        const KeyvalList *options, GError **error);
    bool (*backend_del)(void *opaque, const char *kind, const char *id, GError **error);
    /* The features that a guest of model @name gets here, and those that the model lacks then; an
     * error names what is unknown. */
    bool (*cpu_features)(void *opaque, const char *name, CpuFeatureSet *out,
                         CpuFeatureSet *out_missing, GError **error);

    /* optional: what the balloon's driver told; false: there is no balloon. */
    bool (*get_balloon_stats)(void *opaque, MonitorBalloon *out);
    bool (*set_balloon_polling)(void *opaque, uint32_t seconds);
    /* optional: memory balloon. False with @error: there is none. Bytes of RAM the guest keeps. */
    bool (*get_balloon)(void *opaque, uint64_t *out_bytes, GError **error);
    bool (*set_balloon)(void *opaque, uint64_t bytes, GError **error);
    /* optional: text for `info pic` and `info irq`; (transfer full) */
    char *(*format_irq)(void *opaque);
    /* optional: "name value" lines for `info jit`; (transfer full) */
    char *(*format_accel)(void *opaque);
    void *opaque;
} MonitorTarget;

#endif
