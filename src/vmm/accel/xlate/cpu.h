/* The translator's vCPU and VM: guest state as the interpreter and emitted code use it.
 *
 * While translated code runs, GS base points at the Vcpu and parts of the guest state live in host
 * registers (see the register convention in translate.h); everywhere else the struct is the truth.
 * Hot fields come first: emitted code reaches them by gs:[disp]. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_CPU_H
#define LODGE_VMM_ACCEL_XLATE_CPU_H

#include "vmm/accel/accel.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

/* Software TLB.
 *
 * Look-up value: t = (linear >> 12) + tlb_context. An entry at index t & (TLB_ENTRIES-1) hits when
 * its tag for the kind of access equals t; then host = linear + tlb_addend[index]. The context
 * holds what selects a translation apart from the address: (address space of CR3/PCID, user or
 * supervisor, SMAP override); contexts are context_id * TLB_CONTEXT_STEP, so that no two contexts
 * share a t. Switching is one store; a recycled id flushes. Tags are set only for plain RAM: MMIO,
 * pages with translated code (write tag), ROM and pages whose dirty bit is still to be set never
 * hit, so the slow path sees each such access. The read and write tags of one index share the
 * addend: filling one for another t clears the other. */
#define TLB_BITS 12
#define TLB_ENTRIES (1u << TLB_BITS)
#define TLB_INVALID UINT64_MAX
#define TLB_CONTEXTS 256
#define TLB_CONTEXT_STEP ((UINT64_C(1) << 52) + 0x95)

/* Bits of Vcpu.requests: anything set makes translated code leave at its next poll. */
#define REQUEST_KICK 0x01u
#define REQUEST_INTERRUPT 0x02u
#define REQUEST_NMI 0x04u
#define REQUEST_INIT 0x08u
#define REQUEST_SIPI 0x10u
#define REQUEST_SAFEPOINT                                                                          \
    0x20u /* another vCPU wants exclusive access to shared translation state */
#define REQUEST_FLUSH_TLB 0x40u

typedef struct XlateVm XlateVm;

struct Vcpu {
    /* -- hot: reached from emitted code -- */
    uint64_t gpr[16];
    uint64_t rip;
    /* Whole RFLAGS. In translated code the arithmetic flags and DF are the host's; the rest here
     * stays valid. */
    uint64_t rflags;
    _Atomic(uint32_t) requests; /* REQUEST_*, set by any thread */
    uint32_t mode;              /* MODE_*: what a translation depends on besides its bytes; kept by
                                   cpu_update_mode() */
    uint64_t tlb_context;
    CpuSegment segment[CPU_SEGMENTS];
    uint64_t scratch[8]; /* spills of emitted code */
    uint64_t tlb_read[TLB_ENTRIES];
    uint64_t tlb_write[TLB_ENTRIES];
    uint64_t tlb_addend[TLB_ENTRIES];
    uint64_t tlb_fetch[TLB_ENTRIES]; /* tag only: the page may be executed; the physical page is in
                                        tlb_fetch_page */
    uint64_t tlb_fetch_page[TLB_ENTRIES]; /* guest-physical page address */

    /* -- vector state: standard XSAVE layout; the truth outside translated code (see fpu.h) -- */
    uint8_t xsave[CPU_XSAVE_BYTES] LODGE_ALIGNED(64);

    /* -- system registers -- */
    CpuSegment ldt, tr;
    CpuTable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, dr[8], efer, xcr0;
    uint64_t msr_star, msr_lstar, msr_cstar, msr_sfmask, msr_kernel_gs_base, msr_tsc_aux, msr_pat;
    uint64_t msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip, msr_misc_enable, msr_tsc_adjust;
    uint64_t tsc_offset; /* guest TSC = host TSC + this */

    /* -- events -- */
    CpuRunState run_state;
    bool interrupt_shadow; /* the instruction before blocks interrupts (STI, MOV SS, POP SS) */
    bool nmi_masked;
    uint8_t sipi_vector;
    /* Where a fault inside a helper or the interpreter unwinds to; the exception is in the fields
     * below. */
    jmp_buf *unwind;
    uint8_t fault_vector;
    bool fault_has_error;
    uint32_t fault_error;

    XlateVm *vm;
    unsigned index;
    const CpuidTable *cpuid;
    const LapicPort *lapic;
    pthread_mutex_t halt_lock;
    pthread_cond_t halt_cond; /* signalled after a request bit was set */
};

struct XlateVm {
    AccelHost host;
    unsigned vcpu_count;
    Vcpu **vcpu;
};

/* Vcpu.mode bits. */
#define MODE_CS64 0x001u /* 64-bit code segment */
#define MODE_CS32 0x002u /* default operand size 32 bit; neither: 16 bit */
#define MODE_SS32 0x004u /* stack pointer is ESP (else SP); without meaning under MODE_CS64 */
#define MODE_USER 0x008u /* CPL 3 */
#define MODE_FLAT 0x010u /* CS, DS, ES, SS base 0 and limit 4 GiB: no segment checks needed */
#define MODE_PE 0x020u   /* protected mode */
#define MODE_VM86 0x040u
#define MODE_LMA 0x080u
#define MODE_CPL_SHIFT 8        /* CPL in bits 8-9 */
#define MODE_SINGLE_STEP 0x400u /* TF or debugger: interpret one instruction at a time */
#define MODE_FPU_OFF 0x800u     /* CR0.EM or CR0.TS: vector and x87 instructions trap */

#endif
