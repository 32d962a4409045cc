/* UUIDs (RFC 4122), as 16 bytes in text order.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_GBASE_UUID_H
#define LODGE_GBASE_UUID_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define UUID_BYTES 16
#define UUID_TEXT_SIZE 37 /* with the terminating zero */

typedef struct Uuid {
    uint8_t byte[UUID_BYTES];
} Uuid;

/* A random (version 4) UUID. */
bool uuid_generate(Uuid *out_uuid, GError **error);

/* Reads 32 hex digits, either case, dashes ignored between bytes. False: @error quotes @text. */
bool uuid_parse(const char *text, Uuid *out_uuid, GError **error);

/* Lower case with dashes. @text: UUID_TEXT_SIZE bytes. */
void uuid_format(const Uuid *uuid, char *text);

#endif
