/* The block translator: guest code to host code of the same architecture.
 *
 * Register convention of emitted code: GS base is the Vcpu. Guest RAX, RCX, RDX, RBX, RBP, RSI, RDI
 * and R8-R12 live in the host registers of the same names, guest RSP in host R13; guest R13-R15
 * stay in the Vcpu, host R14 and R15 are scratch, host RSP is the host's stack. The arithmetic
 * flags are the host's; DF and the others stay in Vcpu.rflags (host DF is 0). The x87, SSE and AVX
 * state is in the host's registers from the first vector instruction (vector_away becomes 0) to
 * the next exit.
 *
 * Translations do not contain guest addresses but offsets from code_base, so they serve every
 * linear address and every vCPU that reaches their page of RAM. 16-bit code, segments that are not
 * flat and single steps are left to the interpreter, and so are all instructions that the
 * translator does not know.
 *
 * A fault leaves all state as before the instruction, with one exception: arithmetic flags that
 * the code following the instruction overwrites before anything reads them may be wrong in the
 * exception frame. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_TRANSLATE_H
#define LODGE_VMM_ACCEL_XLATE_TRANSLATE_H

#include "vmm/accel/xlate/cpu.h"

#define JIT_CACHE_BYTES_DEFAULT (UINT64_C(128) << 20)
#define JIT_CACHE_BYTES_MIN (UINT64_C(1) << 20)

/**
 * jit_vm_init - make the code cache of a VM and watch for writes to code
 * @cache_bytes: host code; a multiple of 4096, at least JIT_CACHE_BYTES_MIN
 *
 * Call before vCPUs exist, with vm->host filled in. Returns: 0, -ENOMEM, or the error of
 * memfd_create() or mmap(), when the host forbids executable memory.
 */
int jit_vm_init(XlateVm *vm, uint64_t cache_bytes) LODGE_MUST_CHECK;
/* After all vCPUs are gone. Accepts a VM without a cache. */
void jit_vm_done(XlateVm *vm);

/* Call when the TLB is set up. Without a cache both do nothing. Returns 0 or -ENOMEM. */
int jit_vcpu_init(Vcpu *vcpu) LODGE_MUST_CHECK;
void jit_vcpu_done(Vcpu *vcpu);

/* Whether jit_run() can make progress in the vCPU's mode. */
bool jit_can_run(const Vcpu *vcpu);

/**
 * jit_run - run guest code from vcpu->rip
 *
 * Returns when a request bit is set, the vCPU halts or shuts down, or jit_can_run() no longer
 * holds. Delivers exceptions itself, not interrupts. The Vcpu is the truth before and after.
 */
void jit_run(Vcpu *vcpu);

/* Bytes of RAM changed that translated code may have come from. Set as GuestMemory.code_written by
 * jit_vm_init(). Context: any thread; may wait for an exclusive section. */
void jit_invalidate(XlateVm *vm, RamBlock *ram, uint64_t offset, uint64_t length);

/* RAM went away: drops all translations. Context: inside an exclusive section. */
void jit_forget_all(XlateVm *vm);

/* Linear addresses may mean other pages than before: all of them, those of an address space (but
 * for global pages), or those in one page of any. Context: the vCPU's thread. */
void jit_flush_jumps(Vcpu *vcpu);
void jit_flush_jumps_space(Vcpu *vcpu, unsigned pcid);
/* All of them, but control registers did not change: what the kernel's global pages of code mean is
 * looked up, and if that is what it was, jumps to them stay. */
void jit_recheck_jumps(Vcpu *vcpu);
/* The kernel can run code from a global page, of so many bits. */
void jit_note_global_code(Vcpu *vcpu, uint64_t linear, uint64_t physical, unsigned shift);
void jit_flush_jumps_page(Vcpu *vcpu, uint64_t linear);

/* Has each translation checked for what it may touch (see verify.h); aborts on a finding. For
 * tests; builds without optimization do it anyway. */
void jit_verify(XlateVm *vm);

/* "name value" lines for the monitor. */
void jit_describe(XlateVm *vm, char *buf, unsigned size);

#endif
