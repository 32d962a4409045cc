/* Names of keys for send-key.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_KEYCODES_H
#define LODGE_CLI_KEYCODES_H

#include <stdbool.h>
#include <stdint.h>

/* The protocol's number of a set of codes, as "linux"; -1: there is none of that name. */
int cli_codeset_find(const char *name);

/* The code of "KEY_A" (in the set of Linux's input events) or of a number. */
bool cli_keycode_find(unsigned codeset, const char *word, uint32_t *out_code);

#endif
