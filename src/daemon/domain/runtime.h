/* The running side of a guest: starting, ending, its monitor, finding it again.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_RUNTIME_H
#define LODGE_DAEMON_DOMAIN_RUNTIME_H

#include "daemon/domain/command-line.h"
#include "daemon/domain/service.h"

typedef enum StartFlags {
    START_PAUSED = 1 << 0,
    START_AUTODESTROY = 1 << 1,
    START_BYPASS_CACHE = 1 << 2,
    START_FORCE_BOOT = 1 << 3,
    START_VALIDATE = 1 << 4,
    START_RESET_NVRAM = 1 << 5,
} StartFlags;

/**
 * domain_start - start a guest by domain->live, which the caller put there
 * @client: whose end ends the guest (START_AUTODESTROY), or NULL
 *
 * Context: a worker thread, with the domain's job. On failure nothing of it is left and live is
 * gone.
 */
bool domain_start(Domain *domain, unsigned flags, DaemonClient *client, GError **error);

/**
 * domain_kill - end a guest's process
 * @graceful: SIGTERM alone, and 15 s for it
 *
 * Waits until it has ended and the domain is inactive. Context: a worker thread; no job needed.
 */
bool domain_kill(Domain *domain, bool graceful, GError **error);

/* How a guest's disks, files, sockets and taps are opened; their opaque is the Domain. */
extern const CommandLineOps domain_resources;

/* The runtime of a process that this daemon, or one before it, started (transfer full), whose
 * folder the domain has from then on. With lock. */
DomainRuntime *runtime_new(Domain *domain, const char *run_dir, int id);
void runtime_free(DomainRuntime *runtime);

/* Gives back what the notes in a runtime's folder name, and removes it: by removal_take(), or,
 * where there is no @service, at once. */
void runtime_remove_folder(DomainService *service, const char *path);

/* Begins to watch for the end of the process. Any thread, without locks. */
bool runtime_watch_exit(Domain *domain, GError **error);

/* A stream connected to the socket @path (transfer full), or -errno. */
int runtime_connect_unix(const char *path);

/* Connects the monitor by the runtime's path; runtime_refresh() comes next. False with @error. Not
 * on the loop. */
bool runtime_connect_monitor(Domain *domain, GError **error);

/* Cleans up after the process has ended and says so. On the loop's thread. */
void runtime_ended(Domain *domain);

/* Waits until runtime_ended() is through. False: it is not after @timeout_ms. Not on the loop. */
bool runtime_wait_ended(Domain *domain, int timeout_ms);

typedef enum RefreshKind {
    REFRESH_CONNECTED, /* in the course of things */
    REFRESH_STARTED,   /* the first words to a new guest, which waits to be let go */
    REFRESH_FOUND,     /* the first words to one that was found again */
} RefreshKind;

/* Asks the monitor for what the daemon keeps of it: status, vCPU threads, balloon, ptys. */
bool runtime_refresh(Domain *domain, RefreshKind kind, GError **error);

/* --- the status file: what a later daemon needs to find the guest again --- */

/* Writes it. With the domain's lock. False with @error. */
bool status_write_locked(Domain *domain, GError **error);
void status_remove(Domain *domain);

typedef enum StatusVerdict {
    STATUS_RUNS,   /* its process is there */
    STATUS_ENDED,  /* no longer */
    STATUS_BROKEN, /* it cannot be read */
} StatusVerdict;

/* What a status file says, without anything being done about it. @out_name (transfer full),
 * @out_id: of the guest, unless BROKEN, which sets @error. */
StatusVerdict status_examine(const char *path, char **out_name, int *out_id, GError **error);

/* Finds all guests again that still run. When the daemon starts. */
void status_adopt_all(DomainService *service);

#endif
