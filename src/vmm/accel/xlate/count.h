/* Counters of what is slow, for `info jit`; each vCPU's thread counts its own.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_COUNT_H
#define LODGE_VMM_ACCEL_XLATE_COUNT_H

#include "base/compiler.h"

#include <stdint.h>

/* count.c names them. */
typedef enum XlateCount {
    COUNT_EXIT_JUMP,   /* translated code left: an indirect jump found nothing */
    COUNT_EXIT_LINK,   /* .. a direct jump was not linked */
    COUNT_EXIT_INTERP, /* .. for the interpreter */
    COUNT_EXIT_POLL,   /* .. for a request */
    COUNT_EXIT_FAULT,  /* .. the host refused an instruction */
    COUNT_CALL_INTERP, /* the interpreter called without leaving translated code */
    COUNT_NO_BLOCK,    /* interpreted because nothing could be translated */
    COUNT_FILL_READ,   /* TLB entries filled for translated code */
    COUNT_FILL_WRITE,
    COUNT_SLOW_ACCESS,     /* accesses of translated code that only the interpreter can do */
    COUNT_FLUSH_ALL,       /* TLB flushes: all */
    COUNT_FLUSH_SPACE,     /* .. one PCID, or all of a guest without PCIDs */
    COUNT_FLUSH_PAGE,      /* .. one page */
    COUNT_FLUSH_LARGE,     /* .. of the above: maybe a large one, so everything */
    COUNT_JUMPS_FOUND,     /* jump cache: entries filled without leaving translated code */
    COUNT_LINKED,          /* direct jumps linked so */
    COUNT_JUMPS_SEARCHED,  /* jump cache: searched for the entries of one page */
    COUNT_JUMPS_FLUSHED,   /* jump cache: emptied because addresses changed */
    COUNT_JUMPS_RECHECKED, /* .. found to hold after a flush, as far as the kernel's are concerned
                            */
    COUNT_JUMPS_CLEARED,   /* .. because code was dropped */
    COUNT_EXCEPTIONS,      /* faults and interrupts delivered */
    COUNTS
} XlateCount;

typedef struct XlateCounters {
    uint64_t value[COUNTS];
    uint64_t *interpreted; /* by mnemonic; NULL: not counted */
} XlateCounters;

/* Returns 0 or -ENOMEM. */
int counters_init(XlateCounters *counters) LODGE_MUST_CHECK;
void counters_done(XlateCounters *counters);

/* Adds @from to @sum, which counters_init() was called for. */
void counters_add(XlateCounters *sum, const XlateCounters *from);

/* "name value" lines. Returns bytes used, at most @size - 1. */
unsigned counters_print(const XlateCounters *counters, char *buf, unsigned size);

#endif
