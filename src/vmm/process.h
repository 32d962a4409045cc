/* The process around a machine: background, pid file. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_PROCESS_H
#define LODGE_VMM_PROCESS_H

#include <glib.h>
#include <stdbool.h>

/**
 * process_daemonize - go on in a child process without a terminal
 * @out_ready_fd: for process_ready()
 *
 * Returns in the child only; the parent exits with 0 once the child is ready, with 1 when it ends
 * before that. Context: before any thread starts. False: @error, still in the parent.
 */
bool process_daemonize(int *out_ready_fd, GError **error);

/* The child is ready: its standard streams are closed and the parent is let go. */
void process_ready(int ready_fd);

/**
 * process_write_pidfile - write the process id to @path and lock it
 *
 * Returns: a descriptor that holds the lock as long as it is open, or -1 with @error: another
 * process holds it.
 */
int process_write_pidfile(const char *path, GError **error);

#endif
