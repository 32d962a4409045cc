/* A progress bar of a domain's job, drawn on standard error while a call waits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_PROGRESS_H
#define LODGE_CLI_PROGRESS_H

#include "cli/session.h"

typedef struct CliProgress CliProgress;

/* Draws on a thread of its own until cli_progress_end(); nothing (NULL) unless --verbose was given
 * or standard error is a terminal and output is for people. @label: "Save". */
CliProgress *cli_progress_start(CliSession *session, const RemoteDomain *domain, const char *label,
                                const CliArgs *args);
/* Ends it; draws 100 % if @done. NULL is fine. */
void cli_progress_end(CliProgress *progress, bool done);

/* Draws one state: @part of @whole. For callers that ask themselves. */
void cli_progress_draw(const CliSession *session, const char *label, guint64 part, guint64 whole);

#endif
