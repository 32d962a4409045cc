/* Sets of CPUs as text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpuset.h"

#include <string.h>

static bool parse_number(const char **text, unsigned *out_number)
{
    if (!g_ascii_isdigit(**text)) {
        return false;
    }
    unsigned number = 0;
    while (g_ascii_isdigit(**text)) {
        number = number * 10 + (unsigned)(**text - '0');
        if (number >= CPUSET_MAX) {
            return false;
        }
        (*text)++;
    }
    *out_number = number;
    return true;
}

static void skip_space(const char **text)
{
    while (g_ascii_isspace(**text)) {
        (*text)++;
    }
}

bool cpuset_parse(const char *text, CpuSet *out_set)
{
    CpuSet set = { 0 };
    skip_space(&text);
    while (*text != '\0') {
        bool is_excluded = *text == '^';
        text += is_excluded;
        unsigned first, last;
        if (!parse_number(&text, &first)) {
            return false;
        }
        last = first;
        skip_space(&text);
        if (*text == '-') {
            text++;
            skip_space(&text);
            if (is_excluded || !parse_number(&text, &last) || last < first) {
                return false;
            }
            skip_space(&text);
        }
        for (unsigned cpu = first; cpu <= last; cpu++) {
            (is_excluded ? cpuset_remove : cpuset_add)(&set, cpu);
        }
        if (*text == ',') {
            text++;
            skip_space(&text);
        } else if (*text != '\0') {
            return false;
        }
    }
    *out_set = set;
    return true;
}

char *cpuset_format(const CpuSet *set)
{
    GString *text = g_string_new(NULL);
    for (unsigned cpu = 0; cpu < CPUSET_MAX; cpu++) {
        if (!cpuset_has(set, cpu)) {
            continue;
        }
        unsigned last = cpu;
        while (cpuset_has(set, last + 1)) {
            last++;
        }
        g_string_append_printf(text, "%s%u", text->len > 0 ? "," : "", cpu);
        if (last > cpu) {
            g_string_append_printf(text, "-%u", last);
        }
        cpu = last;
    }
    return g_string_free(text, FALSE);
}

unsigned cpuset_count(const CpuSet *set)
{
    unsigned count = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(set->word); i++) {
        count += (unsigned)__builtin_popcountll(set->word[i]);
    }
    return count;
}

int cpuset_last(const CpuSet *set)
{
    for (int cpu = CPUSET_MAX - 1; cpu >= 0; cpu--) {
        if (cpuset_has(set, (unsigned)cpu)) {
            return cpu;
        }
    }
    return -1;
}
