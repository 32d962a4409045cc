/* Comma-separated key=value lists, as most options take them: "user,id=net0,hostfwd=tcp::22-:22".
 *
 * QEMU's rules: ",," is a comma in a value; the first item may leave out its key; a word without
 * "=" means "on", with "no" before it "off" where that makes a known key.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_OPTIONS_KEYVAL_H
#define LODGE_VMM_OPTIONS_KEYVAL_H

#include "vmm/device/property.h"

typedef struct Keyval {
    char *key, *value; /* owned */
    bool is_bare;      /* only the key was written; value is "on" */
} Keyval;

/* Pairs in the order written; a key may come twice. */
typedef struct KeyvalList {
    GPtrArray *pairs; /* of Keyval *, owned */
} KeyvalList;

KeyvalList *keyval_list_new(void);
void keyval_list_free(KeyvalList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KeyvalList, keyval_list_free)

/**
 * keyval_parse - read one list
 * @implied: key of a first item without "=", or NULL
 *
 * Returns: the list (transfer full), or NULL with @error: an empty item or key.
 */
KeyvalList *keyval_parse(const char *text, const char *implied, GError **error);

/* Appends copies. */
void keyval_add(KeyvalList *list, const char *key, const char *value);

/* The last value of @key, or NULL; borrowed. */
const char *keyval_get(const KeyvalList *list, const char *key);

/* Whether the word @key stands there alone, as "help" does. */
bool keyval_has_word(const KeyvalList *list, const char *key);

/* Removes every pair of @key and returns the last value, or NULL. (transfer full) */
char *keyval_take(KeyvalList *list, const char *key);

/* Sets every pair as a property of @object. False: unknown key, with those there are, or bad value.
 */
bool keyval_apply(const KeyvalList *list, const Property *table, void *object, GError **error);

/* The pairs as text that keyval_parse() reads back. (transfer full) */
char *keyval_format(const KeyvalList *list);

#endif
