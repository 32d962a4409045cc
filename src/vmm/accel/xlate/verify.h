/* Checks emitted code: what it may touch. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_VERIFY_H
#define LODGE_VMM_ACCEL_XLATE_VERIFY_H

#include "vmm/accel/xlate/code-cache.h"

/* Whether blocks are verified from the start: in builds without optimization. */
#ifdef __OPTIMIZE__
#define VERIFY_DEFAULT false
#else
#define VERIFY_DEFAULT true
#endif

/**
 * verify_block - abort the process if a block could touch memory it must not
 *
 * Each memory operand must lie in the Vcpu (gs:) or be based on a register that holds an address
 * or addend of the TLB path; each direct branch must stay in the block, or lead to a stub or an
 * entry of another block. Does nothing unless jit->is_verified.
 */
void verify_block(const JitVm *jit, const Block *block);

#endif
