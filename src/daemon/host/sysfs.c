/* Small files of the kernel's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/host/sysfs.h"

#include <string.h>

char *sysfs_text(const char *path)
{
    char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return NULL;
    }
    return g_strchomp(text);
}

bool sysfs_number(guint64 *out_value, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *path = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_autofree char *text = sysfs_text(path);
    return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, out_value, NULL);
}

/* Sets a bit for each number of a kernel list as "0-3,8"; returns the highest plus one. */
static unsigned parse_list(const char *text, uint8_t *bits, unsigned max)
{
    unsigned end = 0;
    while (text && *text) {
        char *after;
        guint64 first = g_ascii_strtoull(text, &after, 10);
        guint64 last = first;
        if (after == text) {
            break;
        }
        if (*after == '-') {
            last = g_ascii_strtoull(after + 1, &after, 10);
        }
        for (guint64 i = first; i <= last && i < max; i++) {
            bits[i / 8] |= (uint8_t)(1u << (i % 8));
            end = MAX(end, (unsigned)i + 1);
        }
        text = *after == ',' ? after + 1 : "";
    }
    return end;
}

unsigned sysfs_list(const char *path, uint8_t *bits, unsigned max)
{
    g_autofree char *text = sysfs_text(path);
    return parse_list(text, bits, max);
}

bool sysfs_has_bit(const uint8_t *bits, unsigned i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

bool sysfs_find_kib(const char *text, const char *name, guint64 *out_kib)
{
    const char *at = text ? strstr(text, name) : NULL;
    if (!at) {
        return false;
    }
    *out_kib = g_ascii_strtoull(at + strlen(name), NULL, 10);
    return true;
}
