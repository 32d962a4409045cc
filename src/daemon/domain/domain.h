/* One guest as the daemon knows it: its definitions, its state and its process.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_DOMAIN_H
#define LODGE_DAEMON_DOMAIN_DOMAIN_H

#include "conf/domain/domain.h"
#include "daemon/daemon.h"
#include "daemon/domain/process.h"
#include "daemon/domain/qmp-client.h"
#include "gbase/uuid.h"

#include <stdbool.h>

typedef struct DomainService DomainService;

/* libvirt's numbers (virDomainState). */
typedef enum DomainState {
    DOMAIN_RUNNING = 1,
    DOMAIN_BLOCKED = 2,
    DOMAIN_PAUSED = 3,
    DOMAIN_SHUTDOWN = 4,
    DOMAIN_SHUTOFF = 5,
    DOMAIN_CRASHED = 6,
    DOMAIN_PMSUSPENDED = 7,
} DomainState;

/* Why, by state (virDomainRunningReason and so on). */
enum {
    RUNNING_BOOTED = 1,
    RUNNING_UNPAUSED = 5,
    RUNNING_WAKEUP = 8,
    PAUSED_UNKNOWN = 0,
    PAUSED_USER = 1,
    PAUSED_IOERROR = 5,
    PAUSED_WATCHDOG = 6,
    PAUSED_SHUTTING_DOWN = 8,
    PAUSED_CRASHED = 10,
    PAUSED_STARTING_UP = 11,
    SHUTDOWN_USER = 1,
    SHUTOFF_UNKNOWN = 0,
    SHUTOFF_SHUTDOWN = 1,
    SHUTOFF_DESTROYED = 2,
    SHUTOFF_CRASHED = 3,
    SHUTOFF_FAILED = 6,
    CRASHED_PANICKED = 1,
    PMSUSPENDED_UNKNOWN = 0,
};

/* Lifecycle events and their details (virDomainEventType). */
enum {
    EVENT_DEFINED = 0,
    EVENT_UNDEFINED = 1,
    EVENT_STARTED = 2,
    EVENT_SUSPENDED = 3,
    EVENT_RESUMED = 4,
    EVENT_STOPPED = 5,
    EVENT_SHUTDOWN = 6,
    EVENT_PMSUSPENDED = 7,
    EVENT_CRASHED = 8,
};
enum { DEFINED_ADDED = 0, DEFINED_UPDATED = 1, DEFINED_RENAMED = 2 };
enum { UNDEFINED_REMOVED = 0, UNDEFINED_RENAMED = 1 };
enum { STARTED_BOOTED = 0, STARTED_WAKEUP = 4 };
enum { SUSPENDED_PAUSED = 0, SUSPENDED_IOERROR = 2, SUSPENDED_WATCHDOG = 3 };
enum { RESUMED_UNPAUSED = 0 };
enum { STOPPED_SHUTDOWN = 0, STOPPED_DESTROYED = 1, STOPPED_CRASHED = 2, STOPPED_FAILED = 5 };
enum { PMSUSPENDED_MEMORY = 0, PMSUSPENDED_DISK = 1 };
enum { CRASHED_PANIC = 0, CRASHED_LOADED = 1 };
enum { SHUTDOWN_FINISHED = 0, SHUTDOWN_GUEST = 1, SHUTDOWN_HOST = 2 };

typedef enum GuestEngine { ENGINE_LODGE, ENGINE_QEMU } GuestEngine;

/* What is asked most, of the live definition when active, else of the persistent one. */
typedef struct DomainFacts {
    guint64 max_kib;
    guint64 current_kib;
    unsigned vcpus;
    unsigned max_vcpus;
} DomainFacts;

/* What exists while the guest's process does. */
typedef struct DomainRuntime {
    GuestProcess process;
    QmpClient *monitor; /* NULL until connected and after it closed */
    char *monitor_path; /* of the monitor's socket */
    LoopWatch *exit_watch;
    GHashTable *ptys;    /* device alias -> path */
    GArray *vcpu_tids;   /* of pid_t, by number; 0: not plugged; empty: unknown */
    guint64 balloon_kib; /* what the guest has now */
    bool is_reconnected; /* adopted, not started by this daemon */
    bool is_starting;    /* domain_start() uses it: an end is left to it to clean up */
    bool has_ended;      /* while starting */
    /* What its end will mean. */
    bool is_destroyed;   /* somebody ended it */
    bool has_shut_down;  /* it said so before */
    bool has_failed;     /* it did not start */
    bool has_crashed;    /* it panicked, and <on_crash> ends it */
    bool fake_reboot;    /* reset when it powers off */
    bool is_owned;       /* autodestroy */
    DaemonClient *owner; /* whose end ends it, with the hook on it; or NULL */
    unsigned owner_handle;
    bool has_foreign_commands; /* a client spoke to the monitor itself */
    struct PerfCounters *perf; /* or NULL */
    GPtrArray *helpers;        /* of HelperProcess: see helper-process.h */
    LoopTimer *helper_timer;   /* or NULL */
    bool awaits_helpers;       /* the process has ended, and they have not */
    bool has_killed_helpers;   /* while so */
} DomainRuntime;

/* What a guest does with a device that is to go. */
typedef enum DeviceLeave { DEVICE_STAYS, DEVICE_LEFT, DEVICE_REFUSED } DeviceLeave;

typedef struct Domain {
    gint refs;
    DomainService *service;
    Uuid uuid;

    /* A leaf lock, held for moments only: never while waiting for a guest, a disk or the loop. */
    GMutex lock;
    char *name;
    int id; /* -1: not active */
    bool is_persistent;
    bool is_autostart;
    bool is_removed; /* from the tables */
    bool is_edited;
    DomainState state;
    int reason;
    gint64 state_since; /* monotonic, us */
    DomainDef *live;    /* (nullable) while active */
    /* Of the persistent definition; see service_config_locked(). */
    DomainDef *parsed_config; /* NULL: none, or not in memory */
    DomainFacts config_facts; /* when @has_config_facts */
    bool has_config_facts;
    unsigned config_version;          /* counts changes */
    struct StatsRecord *config_stats; /* of bulk statistics while it is inactive, or NULL */
    DomainRuntime *runtime;
    /* Of the guest that runs or ran last; only a start changes them. So calls with the job read
     * them without the lock, whether the guest ends meanwhile or not. */
    GuestEngine engine;
    uid_t uid; /* of its own; 0: the daemon's */
    char *dir; /* RUN/qemu/domain-ID-NAME: sockets, notes */

    /* One change at a time. */
    GCond job_ended;
    const char *job;           /* its name, or NULL */
    gint64 job_since;          /* monotonic, us */
    GCond device_event;        /* the device that is waited for went, or refused to */
    const char *leaving;       /* alias of the device that a call waits for, or NULL */
    DeviceLeave leave;         /* what became of it */
    GHashTable *open_consoles; /* alias -> who has it open (borrowed) */
    GHashTable *fd_groups;     /* name -> FdGroup (owned), or NULL */
    GCond agent_free;
    bool is_agent_busy;  /* a call talks to the guest agent */
    GQueue tasks;        /* of service_run(), with the service's lock of tasks */
    bool has_worker;     /* one is at them; with that lock */
    bool has_dropped;    /* some of them, which is said once; with that lock */
    int agent_timeout_s; /* AGENT_TIMEOUT_ or seconds */
} Domain;

/* How long a call waits for another that changes the same guest. */
#define DOMAIN_JOB_WAIT_MS 30000

Domain *domain_new(DomainService *service, const Uuid *uuid, const char *name);
Domain *domain_ref(Domain *domain);
void domain_unref(Domain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Domain, domain_unref)

/* Any thread, with lock or without (as named). */
static inline bool domain_is_active_locked(const Domain *domain)
{
    return domain->id >= 0;
}
bool domain_is_active(Domain *domain);

/* "domain is not running" (OPERATION_INVALID). With lock. */
bool domain_check_active_locked(Domain *domain, GError **error);

/* Waits for its turn. False with @error (TIMEOUT naming the other). Without lock; not on the loop.
 */
bool domain_begin_job(Domain *domain, const char *job, GError **error);
void domain_end_job(Domain *domain);

/* begin_job and the guest is active, with its monitor (transfer full); ends the job on failure. */
QmpClient *domain_begin_monitor_job(Domain *domain, const char *job, GError **error);

/* The monitor without a job, for questions (transfer full). */
QmpClient *domain_get_monitor(Domain *domain, GError **error);

/* The live definition as it is (transfer full), or NULL with @error: the guest has ended. Where a
 * worker needs it for longer than a moment. */
DomainDef *domain_copy_live(Domain *domain, GError **error);

/* With lock. Notes the time. */
void domain_set_state_locked(Domain *domain, DomainState state, int reason);

/* Sends a lifecycle event. With lock or without, but not both at once. */
void domain_emit_locked(Domain *domain, int event, int detail);
void domain_emit(Domain *domain, int event, int detail);

/* Event "tunable": FIELD, with its number unless -1, got that value. With lock. */
void domain_emit_tunable_locked(Domain *domain, const char *field, int number, const char *text);
/* The same for all of @params at once, whose names follow @prefix; @disk (nullable) is told first,
 * as "disk". */
void domain_emit_tunables_locked(Domain *domain, const char *prefix, const char *disk,
                                 const TypedParam *params, unsigned n);

/* What replies and events carry; strings go to @arena (NULL: borrowed, with lock). */
void domain_to_wire_locked(Domain *domain, Arena *arena, RemoteDomain *out);

/* As RemoteDomain is encoded. With lock. */
void domain_put_wire_locked(const Domain *domain, XdrWriter *writer);

/* The definition that flags ask for. With lock. CURRENT (0): live when active. */
enum { AFFECT_CURRENT = 0, AFFECT_LIVE = 1, AFFECT_CONFIG = 2 };
bool domain_resolve_flags_locked(Domain *domain, unsigned *flags, GError **error);

#endif
