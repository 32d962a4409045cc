/* Line editing for a person at a terminal (VT100): history, Emacs' and arrow keys, completion.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_READLINE_H
#define LODGE_VMM_MONITOR_READLINE_H

#include <glib.h>
#include <stdint.h>

#define READLINE_BYTES_MAX 4096
#define READLINE_HISTORY_MAX 64

typedef struct Readline Readline;

typedef struct ReadlineUser {
    void (*write)(void *opaque, const char *text, size_t length);
    /* A line was ended, without its newline. */
    void (*run)(void *opaque, const char *line);
    /* Appends copies of the words that may stand where @line (up to the cursor) ends; its last word
     * is a prefix of each. */
    void (*complete)(void *opaque, const char *line, GPtrArray *words);
    void *opaque;
} ReadlineUser;

/* @user: copied. @prompt: static. */
Readline *readline_new(const char *prompt, const ReadlineUser *user);
void readline_free(Readline *readline);
/* Shows the prompt and what was typed of the line. */
void readline_show(Readline *readline);
/* Forgets the line; the history stays. */
void readline_reset(Readline *readline);
void readline_push(Readline *readline, uint8_t byte);

#endif
