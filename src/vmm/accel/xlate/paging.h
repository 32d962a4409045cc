/* Page tables of the guest: 32-bit, PAE and 4-level, from the Intel manual's chapter on paging.
 * Left out: 5-level paging, protection keys, and the PDPTE registers of PAE (entries are read from
 * memory at each walk, as AMD processors do).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_PAGING_H
#define LODGE_VMM_ACCEL_XLATE_PAGING_H

#include "vmm/accel/xlate/softmmu.h"

#define PHYSICAL_BITS_MAX 52

typedef struct PageWalk {
    GuestAddr physical;  /* of the byte asked for */
    unsigned page_shift; /* 12, 21, 22 or 30 */
    bool may_write;      /* in this mode, and the dirty bit is set */
    bool is_global;      /* stays over switches of the address space */
    uint32_t error;      /* of the page fault when the walk failed */
} PageWalk;

/**
 * page_walk - translate a linear address
 * @tlb_mode: TLB_MODE_*, the rights that count
 * @debug:    no rights are checked, no accessed or dirty bits set
 *
 * Returns: false with out_walk->error set when there is a page fault.
 */
bool page_walk(Vcpu *vcpu, uint64_t linear, MemAccess access, unsigned tlb_mode, bool debug,
               PageWalk *out_walk);

#endif
