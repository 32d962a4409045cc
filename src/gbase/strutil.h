/* Strings: the nearest known word, and lists for messages.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_GBASE_STRUTIL_H
#define LODGE_GBASE_STRUTIL_H

#include <glib.h>
#include <stdbool.h>

/* Insertions, deletions, replacements and swaps of neighbours that turn @a into @b; bytes, either
 * case. Strings past 63 bytes are as far as they are long. */
unsigned str_edit_distance(const char *a, const char *b);

/* The word of @choices (ends with NULL) that the user most likely meant, or NULL when none is
 * near. Borrowed from @choices. */
const char *str_closest(const char *word, const char *const *choices);

/* "; did you mean 'x'?" where a choice of @choices (ends with NULL) is near, else an empty string.
 * (transfer full) */
char *str_did_you_mean(const char *word, const char *const *choices);

/**
 * str_suggestion - the end of an error message about an unknown word
 * @choices: what is known; ends with NULL
 *
 * Returns: "; did you mean 'x'?" when a choice is near, else "; supported: a, b, c" for up to 24
 * choices, else an empty string. (transfer full)
 */
char *str_suggestion(const char *word, const char *const *choices);

/* "a, b, c" (transfer full). */
char *str_list_join(const char *const *words);

/* on/off, yes/no, true/false, 1/0. False: @text is none of them. */
bool str_parse_bool(const char *text, bool *out_value);

/* Whether @text is what QEMU takes as an id: a letter, then letters, digits, "-", "." and "_". */
bool str_is_id(const char *text);

/* Decimal, or hexadecimal with 0x; the whole text. False: no number, or past 2^64 - 1. */
bool str_parse_u64(const char *text, guint64 *out_value);

#endif
