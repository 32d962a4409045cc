/* JSON as qemu-img prints it: four blanks for each level, one element a line.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_JSON_OUT_H
#define LODGE_IMG_JSON_OUT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct JsonOut {
    GString *text;
    unsigned depth;
    bool has_element; /* of the open object or array */
} JsonOut;

/* Returns: an empty document; json_out_print() ends it. */
JsonOut *json_out_new(void);

/* @key: of an object's member; NULL in an array or at the top. Strings are escaped; what is no
 * UTF-8 becomes U+FFFD. */
void json_out_open(JsonOut *json, const char *key, char bracket);
void json_out_close(JsonOut *json, char bracket);
void json_out_string(JsonOut *json, const char *key, const char *value);
void json_out_uint(JsonOut *json, const char *key, uint64_t value);
void json_out_int(JsonOut *json, const char *key, int64_t value);
void json_out_bool(JsonOut *json, const char *key, bool value);

/* Appends @value in quotes to @text. */
void json_quote(GString *text, const char *value);

/* Writes the document to standard output and frees it. */
void json_out_print(JsonOut *json);
void json_out_free(JsonOut *json);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonOut, json_out_free)

#endif
