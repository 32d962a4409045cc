/* Sizes as people write them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gbase/size.h"

#include "base/int-math.h"
#include "gbase/error.h"

#include <string.h>

static const char suffixes[] = "BKMGTPE";

/* Digits after the point that are kept; more cannot change a byte that matters. */
#define FRACTION_DIGITS 15

static bool parse_suffix(const char *text, uint64_t default_unit, uint64_t *out_unit)
{
    if (!*text) {
        *out_unit = default_unit;
        return true;
    }
    const char *found = strchr(suffixes, g_ascii_toupper(*text));
    if (!found) {
        return false;
    }
    *out_unit = UINT64_C(1) << (10 * (found - suffixes));
    const char *rest = text + 1;
    return !*rest || (found != suffixes && !strcmp(rest, "iB"));
}

/* Reads "123.45"; *out_fraction is in units of 10^-digits. */
static const char *parse_number(const char *text, uint64_t *out_whole, uint64_t *out_fraction,
                                uint64_t *out_scale)
{
    uint64_t whole = 0, fraction = 0, scale = 1;
    const char *p = text;
    for (; g_ascii_isdigit(*p); p++) {
        if (!checked_mul(whole, UINT64_C(10), &whole) ||
            !checked_add(whole, (uint64_t)(*p - '0'), &whole)) {
            return NULL;
        }
    }
    if (p == text) {
        return NULL;
    }
    if (*p == '.') {
        p++;
        if (!g_ascii_isdigit(*p)) {
            return NULL;
        }
        for (unsigned digits = 0; g_ascii_isdigit(*p); p++, digits++) {
            if (digits < FRACTION_DIGITS) {
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
        }
    }
    *out_whole = whole;
    *out_fraction = fraction;
    *out_scale = scale;
    return p;
}

bool size_parse(const char *text, uint64_t default_unit, uint64_t *out_bytes, GError **error)
{
    uint64_t whole, fraction, scale, unit, bytes;
    const char *rest = parse_number(text, &whole, &fraction, &scale);
    if (!rest || !parse_suffix(rest, default_unit, &unit)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not a size; write a number and K, M, G or T, as in '512M'", text);
        return false;
    }
    uint64_t part = (uint64_t)((unsigned __int128)fraction * unit / scale);
    if (!checked_mul(whole, unit, &bytes) || !checked_add(bytes, part, &bytes)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "size '%s' is too large",
                    text);
        return false;
    }
    *out_bytes = bytes;
    return true;
}

char *size_format(uint64_t bytes)
{
    unsigned power = 0;
    while (bytes && bytes % 1024 == 0 && power + 1 < strlen(suffixes)) {
        bytes /= 1024;
        power++;
    }
    if (!power) {
        return g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT "%c", bytes, suffixes[power]);
}
