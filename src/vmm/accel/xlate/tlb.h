/* Contexts of the software TLB: which of them belong to which address space.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_TLB_H
#define LODGE_VMM_ACCEL_XLATE_TLB_H

#include "vmm/accel/xlate/cpu.h"

/* False: no memory. */
bool tlb_init(Vcpu *vcpu) LODGE_MUST_CHECK;
void tlb_done(Vcpu *vcpu);

/* Remembers that entries of a page larger than 4 KiB may be in the TLB. */
void tlb_note_large_page(Vcpu *vcpu, uint64_t linear, unsigned page_shift);

/* Call before a translation that is not global is entered. May choose another context. */
void tlb_note_local(Vcpu *vcpu, uint64_t linear);

/* tlb_context for rights other than the present ones; select the old one again afterwards. */
void tlb_use_mode(Vcpu *vcpu, unsigned tlb_mode);

#endif
