/* The daemon's own state: where its files are, and what modules share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DAEMON_H
#define LODGE_DAEMON_DAEMON_H

#include "daemon/dispatch.h"
#include "daemon/event-queue.h"
#include "event/loop.h"

/* Absolute, without a slash at the end; the folders exist when modules start. */
typedef struct DaemonPaths {
    char *config_dir; /* /etc/lodge: definitions */
    char *state_dir;  /* /var/lib/lodge: saved guests, snapshots, NVRAM */
    char *run_dir;    /* /run/lodge: sockets, status files; gone after a reboot */
    char *cache_dir;  /* /var/cache/lodge */
    char *log_dir;    /* /var/log/lodge */
} DaemonPaths;

struct Daemon {
    bool session; /* one user's daemon; else the host's */
    DaemonPaths paths;
    char *uri;                /* what CONNECT_GET_URI answers: qemu:///system or qemu:///session */
    uid_t guest_uid_first;    /* users of guests, each one's own */
    unsigned guest_uid_count; /* 0: guests run as the daemon's user */
    char *const *lease_files; /* globs, borrowed; NULL: the usual ones */
    gint guest_log_max_size;  /* bytes; 0: no limit; atomic */
    gint guest_log_max_backups; /* atomic */
    EventLoop *loop;            /* runs on the main thread */
    gint is_stopping;           /* atomic */
    gint gives_up;              /* atomic; see threads.h */
    GMutex work_lock;
    unsigned n_work; /* under the lock; see threads.h */
    /* Ends what work waits for, see daemon_finish_work(); by the domain module, or NULL. */
    void (*give_up)(Daemon *daemon);
    EventQueue *events;
    struct DaemonServer *server;
    struct EngineSet *engines;     /* set by the host module, which starts before it */
    struct DomainService *domains; /* set by the domain module; NULL until it has started */
};

/**
 * A part of the daemon: procedures and what keeps them going. Modules start in the order of the
 * table in main.c, before any client is accepted, and stop in reverse.
 */
typedef struct DaemonModule {
    const char *name;
    const DispatchEntry *handlers;
    unsigned n_handlers;
    /* Any of them may be NULL. */
    bool (*start)(Daemon *daemon, GError **error);
    /* Guests keep running. Called when no handler runs any more. */
    void (*stop)(Daemon *daemon);
    /* SIGHUP: reads its files again, as far as that can be done while it runs. On the loop. */
    void (*reload)(Daemon *daemon);
    /* Whether a session daemon must stay although no client is connected: guests run. */
    bool (*is_busy)(Daemon *daemon);
} DaemonModule;

#endif
