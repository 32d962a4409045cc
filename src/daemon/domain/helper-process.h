/* Processes beside a guest's: a TPM emulator, servers of shared folders.
 *
 * They are started before the guest's engine, which gets its end of a connection as a descriptor,
 * and are written into the status file, so that a later daemon finds them. They end when that
 * connection does; those that do not are killed. None outlives its guest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_HELPER_PROCESS_H
#define LODGE_DAEMON_DOMAIN_HELPER_PROCESS_H

#include "daemon/domain/domain.h"

typedef struct HelperProcess HelperProcess;

/* A list of them (of HelperProcess, owned), as DomainRuntime has it. */
GPtrArray *helper_list_new(void);

/**
 * helper_start - start what the device @alias needs, and note it in the status file
 *
 * Context: a worker thread, without lock. False with @error: nothing of it runs.
 */
bool helper_start(Domain *domain, const char *alias, const ProcessSpec *spec, GError **error);

/* Ends what was started for the device @alias, which has left the guest or not reached it. A worker
 * thread, without lock. */
void helper_stop(Domain *domain, const char *alias);

/* Kills all of them at once: their guest did not begin to run. A worker thread, without lock. */
void helpers_kill(Domain *domain);

/* Begins to watch those that are not watched. The loop's thread, with lock. */
void helpers_watch_locked(Domain *domain);

/**
 * helpers_await_end - whether some still run although the guest's engine has ended
 *
 * True: runtime_ended() is called once they are gone, which is seen to within seconds. Context: the
 * loop's thread, without lock.
 */
bool helpers_await_end(Domain *domain);

/* Forgets them all. The loop's thread, or before any is watched. */
void helpers_clear(DomainRuntime *runtime);

/* The lines of a status file on them. */
void helpers_format(const DomainRuntime *runtime, GString *out);

/* Reads such lines at @text, and finds again those that run; returns what is behind them. NULL:
 * they are no such lines. */
const char *helpers_parse(const char *text, bool is_this_boot, GPtrArray *list);

/* Ends those of a guest that ended while no daemon ran. */
void helpers_end_found(GPtrArray *list);

/* Absolute path of the program (transfer full), or NULL: of @name in $PATH, else the first of
 * @known (ends with NULL) that is there. */
char *helper_find_program(const char *name, const char *const *known);

#endif
