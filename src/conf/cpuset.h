/* Sets of CPUs and memory nodes as text: "0-3,8,^2".
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_CPUSET_H
#define LODGE_CONF_CPUSET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CPUSET_MAX 1024

typedef struct CpuSet {
    uint64_t word[CPUSET_MAX / 64];
} CpuSet;

/* False: not a set, or a number past CPUSET_MAX - 1. "" is the empty set. */
bool cpuset_parse(const char *text, CpuSet *out_set);
/* "0-3,8": the one text for the set. (transfer full) */
char *cpuset_format(const CpuSet *set);

static inline bool cpuset_has(const CpuSet *set, unsigned cpu)
{
    return cpu < CPUSET_MAX && (set->word[cpu / 64] >> (cpu % 64) & 1) != 0;
}
static inline void cpuset_add(CpuSet *set, unsigned cpu)
{
    if (cpu < CPUSET_MAX) {
        set->word[cpu / 64] |= UINT64_C(1) << (cpu % 64);
    }
}
static inline void cpuset_remove(CpuSet *set, unsigned cpu)
{
    if (cpu < CPUSET_MAX) {
        set->word[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
    }
}
unsigned cpuset_count(const CpuSet *set);
/* The highest member, -1 when empty. */
int cpuset_last(const CpuSet *set);

#endif
