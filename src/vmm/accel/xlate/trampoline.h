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

/* exit_info of JIT_EXIT_LINK: offset of a jump's displacement in the code memory, this bit if the
 * jump goes backwards, so that it must check for requests, and which page of code it is in. */
#define JIT_LINK_BACK (UINT64_C(1) << 31)
#define JIT_LINK_PAGE_SHIFT 32

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

/* What translated code does after it called C code. */
typedef enum JitGo {
    JIT_GO_ON,   /* goes on behind the call */
    JIT_GO_EXIT, /* leaves, at vcpu->rip */
    JIT_GO_JUMP, /* jumps to vcpu->rip */
} JitGo;

/* An instruction for the interpreter: offset in its page, bytes, and whether the translation goes
 * on behind it. */
#define JIT_INTERPRET(guest, length, more)                                                         \
    ((uint32_t)(guest) | (uint32_t)(length) << 12 | (uint32_t)(more) << 16)
#define JIT_INTERPRET_MORE 0x10000u

/* Called from translated code with the guest's state in @vcpu. Fills the TLB; what has no entry in
 * it is done by the interpreter. */
uint64_t jit_slow_access(Vcpu *vcpu, uint64_t linear, uint64_t what);

/* The same: interprets one instruction. */
uint64_t jit_interpret(Vcpu *vcpu, uint64_t unused, uint64_t what);

/* A jump to the linear address in SCRATCH_B through the jump cache; keeps flags. SCRATCH_A is then
 * the position of the entry in units of 8 bytes. */
void trampoline_emit_jump(const JitVm *jit, Emit *e);

/* Emits the common pieces at the start of the code memory. */
void trampoline_emit(JitVm *jit);

#endif
