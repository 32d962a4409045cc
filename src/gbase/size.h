/* Sizes as people write them: "4G", "512M", "1.5G", "64KiB".
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_GBASE_SIZE_H
#define LODGE_GBASE_SIZE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * size_parse - text to bytes
 * @text:         decimal number, may have a fraction, then B, K, M, G, T, P or E (either case; "iB"
 *                may follow); powers of 1024
 * @default_unit: bytes that a number without a suffix counts; 1 for bytes
 * @out_bytes:    the size, rounded down to a whole byte
 *
 * Returns: false for anything else, negative or past 2^64 - 1, with @error quoting @text.
 */
bool size_parse(const char *text, uint64_t default_unit, uint64_t *out_bytes, GError **error);

/* The shortest exact text that size_parse() with unit 1 reads back: "4G", "1536M", "513". */
char *size_format(uint64_t bytes);

#endif
