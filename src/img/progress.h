/* Progress of a long command on standard output.
 *
 * On a terminal: a bar with per cent, rate and time left. Elsewhere "    (12.34/100%)\r", the form
 * of qemu-img that scripts read. With and without -p, SIGUSR1 makes one such line on standard
 * error; main.c blocks that signal before any thread is started. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_IMG_PROGRESS_H
#define LODGE_IMG_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ImgProgress {
    bool is_enabled, is_terminal;
    uint64_t total;       /* units of work (bytes); 0 counts as done */
    uint64_t done;        /* of them */
    int64_t started_ns;   /* CLOCK_MONOTONIC */
    int64_t printed_ns;   /* 0: never */
    double printed_share; /* per cent of the last line */
} ImgProgress;

/* @is_enabled: -p without -q. */
void img_progress_init(ImgProgress *progress, bool is_enabled, uint64_t total);
/* @done of @progress->total; prints when it is worth it. Context: one thread at a time. */
void img_progress_set(ImgProgress *progress, uint64_t done);
/* Ends the line, with 100 % if @is_complete. */
void img_progress_end(ImgProgress *progress, bool is_complete);

#endif
