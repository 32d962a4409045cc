/* Counters: memory, text. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/count.h"

#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MNEMONICS (ZYDIS_MNEMONIC_MAX_VALUE + 1)
#define MNEMONICS_SHOWN 40

static const char *const names[COUNTS] = {
    [COUNT_EXIT_JUMP] = "exits-jump",
    [COUNT_EXIT_LINK] = "exits-link",
    [COUNT_EXIT_INTERP] = "exits-interpreter",
    [COUNT_EXIT_POLL] = "exits-request",
    [COUNT_EXIT_FAULT] = "exits-host-fault",
    [COUNT_CALL_INTERP] = "calls-interpreter",
    [COUNT_NO_BLOCK] = "untranslatable",
    [COUNT_FILL_READ] = "tlb-fills-read",
    [COUNT_FILL_WRITE] = "tlb-fills-write",
    [COUNT_SLOW_ACCESS] = "accesses-interpreted",
    [COUNT_FLUSH_ALL] = "tlb-flushes-all",
    [COUNT_FLUSH_SPACE] = "tlb-flushes-space",
    [COUNT_FLUSH_PAGE] = "tlb-flushes-page",
    [COUNT_FLUSH_LARGE] = "tlb-flushes-large-page",
    [COUNT_JUMPS_FOUND] = "jumps-found",
    [COUNT_LINKED] = "jumps-linked",
    [COUNT_JUMPS_SEARCHED] = "jump-cache-searches",
    [COUNT_JUMPS_FLUSHED] = "jump-cache-flushes",
    [COUNT_JUMPS_RECHECKED] = "jump-cache-rechecks",
    [COUNT_JUMPS_CLEARED] = "jump-cache-clears",
    [COUNT_EXCEPTIONS] = "events-delivered",
};

int counters_init(XlateCounters *counters)
{
    *counters = (XlateCounters){ .interpreted = calloc(MNEMONICS, sizeof(uint64_t)) };
    return counters->interpreted ? 0 : -ENOMEM;
}

void counters_done(XlateCounters *counters)
{
    free(counters->interpreted);
    counters->interpreted = NULL;
}

void counters_add(XlateCounters *sum, const XlateCounters *from)
{
    for (unsigned i = 0; i < COUNTS; i++) {
        sum->value[i] += from->value[i];
    }
    for (unsigned i = 0; from->interpreted && i < MNEMONICS; i++) {
        sum->interpreted[i] += from->interpreted[i];
    }
}

static unsigned print_line(char *buf, unsigned used, unsigned size, const char *prefix,
                           const char *name, uint64_t value)
{
    int length =
        snprintf(buf + used, size - used, "%s%s %llu\n", prefix, name, (unsigned long long)value);
    return length < 0 || (unsigned)length >= size - used ? size - 1 : used + (unsigned)length;
}

/* The most frequent first. */
static unsigned print_interpreted(const uint64_t *counts, char *buf, unsigned used, unsigned size)
{
    uint64_t below = UINT64_MAX;
    for (unsigned shown = 0; shown < MNEMONICS_SHOWN; shown++) {
        unsigned best = 0;
        uint64_t most = 0;
        for (unsigned i = 0; i < MNEMONICS; i++) {
            if (counts[i] < below && counts[i] > most) {
                best = i;
                most = counts[i];
            }
        }
        if (most == 0) {
            break;
        }
        used = print_line(buf, used, size, "interpreted-",
                          ZydisMnemonicGetString((ZydisMnemonic)best), most);
        below = most;
    }
    return used;
}

unsigned counters_print(const XlateCounters *counters, char *buf, unsigned size)
{
    unsigned used = 0;
    for (unsigned i = 0; i < COUNTS; i++) {
        used = print_line(buf, used, size, "", names[i], counters->value[i]);
    }
    return counters->interpreted ? print_interpreted(counters->interpreted, buf, used, size) : used;
}
