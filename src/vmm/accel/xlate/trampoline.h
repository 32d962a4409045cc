/* Ways into and out of translated code. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_TRAMPOLINE_H
#define LODGE_VMM_ACCEL_XLATE_TRAMPOLINE_H

#include "vmm/accel/xlate/code-cache.h"

#define HOST_GUEST_RSP 13
#define SCRATCH_A 14
#define SCRATCH_B 15

/* Why translated code ended; in Vcpu.exit_reason. Vcpu.rip is where to go on. */
typedef enum JitExit {
    JIT_EXIT_JUMP,   /* an indirect jump found no translation */
    JIT_EXIT_LINK,   /* a direct jump has none yet; exit_info: JIT_LINK_* and the jump's position */
    JIT_EXIT_INTERP, /* an instruction for the interpreter */
    JIT_EXIT_POLL,   /* a request is pending */
    JIT_EXIT_FAULT,  /* the host refused an instruction at exit_info; rip is not set */
} JitExit;

/* exit_info of JIT_EXIT_LINK: offset of a jump's displacement in the code memory, and this bit if
 * the jump goes backwards, so that it must check for requests. */
#define JIT_LINK_BACK (UINT64_C(1) << 31)

/* Where an indirect jump is (offset in its page) and what it has added to RSP, so that a jump to
 * an address that is not canonical can be undone: the processor faults at the jump. */
#define JIT_FROM(guest, stack) ((int32_t)((uint32_t)(stack) << 12 | (uint32_t)(guest)))

/* A direct jump to another page, or simply the next one: nothing to undo. */
#define JIT_FROM_NOWHERE (-1)

/* What the slow path of a memory access must know, in SCRATCH_A. */
#define JIT_SLOW(size, is_write, guest)                                                            \
    ((uint32_t)(size) | (is_write) << 8 | (uint32_t)(guest) << 16)

/* Flags that translated code keeps in the host's register. */
#define JIT_FLAGS 0x8d5

/* Called from translated code with the guest's state in @vcpu, vector state apart. Returns 0: look
 * the address up again; 1: let the interpreter execute the instruction (rip is set). */
uint64_t jit_slow_access(Vcpu *vcpu, uint64_t linear, uint64_t what);

/* Emits the common pieces at the start of the code memory. */
void trampoline_emit(JitVm *jit);

#endif
