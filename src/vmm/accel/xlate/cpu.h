/* The translator's vCPU and VM: guest state as the interpreter and emitted code use it.
 *
 * While translated code runs, GS base points at the Vcpu and parts of the guest state live in host
 * registers (see the register convention in translate.h); everywhere else the struct is the truth.
 * Hot fields come first: emitted code reaches them by gs:[disp]. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_CPU_H
#define LODGE_VMM_ACCEL_XLATE_CPU_H

#include "vmm/accel/accel.h"
#include "vmm/accel/xlate/count.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

/* Software TLB.
 *
 * Look-up value: t = (linear >> 12) + tlb_context. An entry at index t & (TLB_ENTRIES-1) hits when
 * its tag for the kind of access equals t; then host = linear + its addend. The context
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
#define TLB_PAGE_GLOBAL 1 /* stays over switches of the address space */
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

/* What the instruction before holds up until the end of the next: both interrupts, SS traps too. */
#define SHADOW_STI 1u
#define SHADOW_SS 2u

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
#define MODE_SSE_OFF 0x1000u    /* CR4.OSFXSR clear, or CR0.EM: SSE is #UD */
#define MODE_AVX_OFF 0x2000u    /* CR4.OSXSAVE or XCR0's bits 1 and 2 missing: AVX is #UD */
#define MODE_IOPL 0x4000u /* CPL <= IOPL: CLI, STI, POPF change IF; IN and OUT need no bitmap */

typedef struct TlbEntry {
    uint64_t read, write, fetch; /* tags */
    uint64_t addend;             /* of read and write */
} TlbEntry;

#define MODE_ALIGN 0x8000u /* CPL 3, CR0.AM, RFLAGS.AC: accesses that are not aligned are #AC */

#define TLB_MODE_SUPERVISOR 0 /* user pages are out of reach when CR4.SMAP is set */
#define TLB_MODE_USER 1
#define TLB_MODE_OVERRIDE 2 /* supervisor, RFLAGS.AC set or no SMAP: user pages too */
#define TLB_MODES 3

#define DEBUG_POINTS_MAX 32
#define RAM_CACHE_ENTRIES 16

/* Cache of indirect jump targets, per vCPU: entry i holds for one linear address the entry of its
 * translation; see translate.h. */
#define JUMP_BITS 15
#define JUMP_ENTRIES (1u << JUMP_BITS)

/* A page of code. */
typedef struct FetchEntry {
    uint64_t page; /* guest-physical page address, TLB_PAGE_* */
    RamBlock *ram; /* where it is .. */
    uint64_t offset;
    const void *code; /* CodePage that may be that of its translations; or NULL */
} FetchEntry;

typedef struct JumpEntry {
    uint64_t tag;  /* -(address + jump_key) */
    uint64_t code; /* host address; of a stub while the entry is empty */
} JumpEntry;

/* Emitted code counts on these sizes. */
_Static_assert(sizeof(TlbEntry) == 32 && sizeof(JumpEntry) == 16, "sizes of entries");

typedef struct XlateVm XlateVm;
typedef struct TlbSpaces TlbSpaces;
typedef struct InterpCache InterpCache;
typedef struct NativeCache NativeCache;

/* A look-up in the memory map, good while the map's generation is the same. */
typedef struct RamCacheEntry {
    uint64_t generation;
    AddressEntry entry;
} RamCacheEntry;

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
    uint64_t tlb_index; /* tlb_context * 4, for the index of an entry in units of 8 bytes */
    CpuSegment segment[CPU_SEGMENTS];
    uint64_t scratch[8]; /* spills of emitted code */
    /* Of the translator; see translate.h. */
    uint64_t code_base;   /* linear address of the page that the running block begins in */
    uint64_t jump_key;    /* added to addresses in tags of @jump */
    uint64_t exit_reason; /* JitExit of the last exit */
    uint64_t exit_info;   /* of that kind of exit */
    uint64_t host_stack;  /* stack pointer to go back to */
    uint64_t jump_from;   /* JIT_FROM() of the last indirect jump that is not a call */
    uint64_t high_mask;   /* bits that must be alike in an address, operand of PEXT */
    uint64_t page_mask;   /* operands of PEXT: ~0xfff .. */
    uint64_t index_mask;  /* .. TLB_ENTRIES - 1 .. */
    uint64_t jump_mask;   /* .. and JUMP_ENTRIES - 1 */
    uint64_t vector_away; /* 0: the vector state is in the host's registers, not in xsave */
    uint64_t
        segment_odd[2]; /* FS, GS outside 64-bit code: not a flat data segment (its base apart) */
    TlbEntry tlb[TLB_ENTRIES] LODGE_ALIGNED(32);
    JumpEntry jump[JUMP_ENTRIES];
    uint64_t tlb_host_page[TLB_ENTRIES]; /* host page behind the read and write tags */
    FetchEntry fetch[TLB_ENTRIES];       /* behind the fetch tags */

    /* -- vector state: standard XSAVE layout; the truth outside translated code (see fpu.h) -- */
    uint8_t xsave[CPU_XSAVE_BYTES] LODGE_ALIGNED(64);

    /* -- system registers -- */
    CpuSegment ldt, tr;
    CpuTable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, dr[8], efer, xcr0;
    uint64_t msr_star, msr_lstar, msr_cstar, msr_sfmask, msr_kernel_gs_base, msr_tsc_aux, msr_pat;
    uint64_t msr_spec_ctrl, msr_mtrr_def_type, msr_mtrr_fixed[11], msr_mtrr_variable[16];
    uint64_t msr_kvmclock, msr_wall_clock, msr_arch_capabilities;
    uint64_t msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip, msr_misc_enable, msr_tsc_adjust;
    uint64_t tsc_offset; /* guest TSC = host TSC + this */

    /* -- events -- */
    CpuRunState run_state;
    bool in_exclusive;        /* a locked access holds an exclusive section; unwinding ends it */
    uint8_t interrupt_shadow; /* SHADOW_*: the instruction before blocks interrupts */
    bool nmi_masked;
    bool interrupt_pending; /* the local APIC had something when IF was clear; see
                               cpu_recheck_interrupt() */
    _Atomic(uint8_t) sipi_vector;
    bool shutdown;       /* triple fault */
    const char *failure; /* the accelerator cannot go on, and why; NULL: it can */
    bool debug_stop;     /* the debugger's breakpoint, watchpoint or step was met */
    bool debug_is_watchpoint;
    uint64_t debug_address;
    bool steps_into_handler; /* the present instruction cleared TF on its way: no trap after it */
    uint64_t pending_db;     /* DR6 bits of a trap due after the present instruction */
    /* Where a fault inside a helper or the interpreter unwinds to; the exception is in the fields
     * below. */
    jmp_buf *unwind;
    uint8_t fault_vector;
    bool fault_has_error;
    uint32_t fault_error;
    uint64_t fault_debug; /* DR6 bits of a #DB */
    bool fault_pending;   /* to be delivered before the next instruction */
    bool nmi_pending;     /* came while NMIs were masked */
    uint64_t next_rip;    /* while the interpreter executes: where it goes on */

    /* -- address spaces of the TLB, see tlb.c -- */
    TlbSpaces *spaces;
    uint8_t access_mode; /* TLB_MODE_* behind tlb_context */
    uint64_t
        fetch_tag; /* the interpreter's page of instructions: t, host and guest-physical page */
    const uint8_t *fetch_host;
    GuestAddr fetch_page;
    RamCacheEntry ram_cache[RAM_CACHE_ENTRIES];
    unsigned physical_bits; /* MAXPHYADDR of the guest */

    /* -- debugger -- */
    DebugPoint debug_point[DEBUG_POINTS_MAX];
    unsigned debug_point_count;
    bool debug_single_step;
    uint64_t debug_resume_rip; /* breakpoint to pass once, when debug_resume is set */
    bool debug_resume;

    unsigned interp_budget; /* instructions left in this batch */
    uint64_t instructions;  /* interpreted so far */
    unsigned pauses;        /* PAUSE instructions so far */
    XlateCounters count;
    InterpCache *interp; /* decoded instructions */
    NativeCache *native; /* stubs of native.c */
    void *jit;           /* the translator's part of this vCPU */

    XlateVm *vm;
    unsigned index;
    const CpuidTable *cpuid;
    const LapicPort *lapic; /* &lapic_port or NULL */
    LapicPort lapic_port;
    pthread_t thread; /* that last called vcpu_run() */
    pthread_mutex_t halt_lock;
    pthread_cond_t halt_cond; /* signalled after a request bit was set */
    _Atomic(bool) halted;     /* waits on halt_cond, or is about to */
    _Atomic(bool) in_code;    /* runs guest code: an exclusive section must wait for it */
};

struct XlateVm {
    AccelHost host;
    unsigned vcpu_count;
    Vcpu **vcpu; /* by index; NULL: not created yet */
    bool use_jit;
    void *jit; /* the translator's part */

    pthread_mutex_t exclusive_lock;
    pthread_cond_t exclusive_cond; /* a vCPU left guest code, or the section ended */
    _Atomic(bool) exclusive;
    pthread_t exclusive_owner;
    unsigned exclusive_depth;
    Vcpu *exclusive_vcpu; /* the owner's, if it ran guest code */

    uint64_t tsc_khz;
    uint64_t tsc_offset;     /* of vCPUs as they are made: the guest's counter starts with the VM */
    int64_t clock_offset_ns; /* kvmclock = CLOCK_MONOTONIC + this */
};

/* Recomputes mode and tlb_context from CR0, CR4, EFER, CS, SS, segments and RFLAGS. Call after any
 * of them changed. */
void cpu_update_mode(Vcpu *vcpu);

static inline unsigned cpu_cpl(const Vcpu *vcpu)
{
    return vcpu->mode >> MODE_CPL_SHIFT & 3;
}

/* Asks for a look at the local APIC if one was put off and IF is set. Call after IF, CR8 or the
 * local APIC changed on the vCPU's thread. */
static inline void cpu_recheck_interrupt(Vcpu *vcpu)
{
    if (unlikely(vcpu->interrupt_pending) && (vcpu->rflags & 0x200)) {
        atomic_fetch_or_explicit(&vcpu->requests, REQUEST_INTERRUPT, memory_order_relaxed);
    }
}

/* Sets request bits and wakes the vCPU from HLT. Context: any thread. */
void cpu_request(Vcpu *vcpu, uint32_t requests);

/**
 * vm_exclusive_begin, vm_exclusive_end - stop all other vCPUs outside guest code
 * @self: the calling vCPU, or NULL for another thread
 *
 * Other vCPUs are then between two instructions, or inside a device access of the interpreter
 * (never of translated code). May wait for another section: whatever @self learned before about
 * shared state must be looked up again. Not to be nested.
 */
void vm_exclusive_begin(XlateVm *vm, Vcpu *self);
void vm_exclusive_end(XlateVm *vm, Vcpu *self);

/* Around guest code, and the other way round around device accesses. */
void vm_code_enter(Vcpu *vcpu);
void vm_code_leave(Vcpu *vcpu);

#endif
