/* Architectural state of one x86-64 vCPU, the same for every accelerator: what debuggers see and
 * what migrates. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_CPU_STATE_H
#define LODGE_VMM_ACCEL_CPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CPU_RAX,
    CPU_RCX,
    CPU_RDX,
    CPU_RBX,
    CPU_RSP,
    CPU_RBP,
    CPU_RSI,
    CPU_RDI
}; /* 8..15: r8..r15 */
enum { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_SEGMENTS };

/* Segment register with its hidden part. @attributes: access byte in bits 0-7, AVL L D/B G in bits
 * 8-11 (as VMCB, not as the descriptor). */
typedef struct CpuSegment {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint16_t selector;
    uint16_t attributes;
} CpuSegment;

#define SEGMENT_TYPE 0x000fu
#define SEGMENT_S 0x0010u
#define SEGMENT_DPL_SHIFT 5
#define SEGMENT_DPL 0x0060u
#define SEGMENT_P 0x0080u
#define SEGMENT_AVL 0x0100u
#define SEGMENT_L 0x0200u
#define SEGMENT_DB 0x0400u
#define SEGMENT_G 0x0800u
#define SEGMENT_UNUSABLE 0x1000u /* a null selector was loaded */

typedef struct CpuTable {
    uint64_t base;
    uint16_t limit;
} CpuTable;

typedef enum CpuRunState {
    CPU_RUN_RUNNABLE,
    CPU_RUN_HALTED,        /* in HLT, waiting for an interrupt */
    CPU_RUN_WAIT_FOR_SIPI, /* after INIT, an application processor */
} CpuRunState;

typedef struct CpuMsr {
    uint32_t index;
    uint64_t value;
} CpuMsr;

#define CPU_XSAVE_BYTES 4096
#define CPU_MSRS_MAX 64

typedef struct CpuState {
    uint64_t gpr[16]; /* by CPU_RAX.. */
    uint64_t rip;
    uint64_t rflags;
    CpuSegment segment[CPU_SEGMENTS];
    CpuSegment ldt, tr;
    CpuTable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t dr[8]; /* 0-3, 6, 7 used */
    uint64_t efer;
    uint64_t xcr0;
    /* Vector state in the standard (not compacted) XSAVE layout; the legacy area is valid whatever
     * XSTATE_BV says. */
    uint8_t xsave[CPU_XSAVE_BYTES];
    CpuMsr msr[CPU_MSRS_MAX]; /* STAR.., PAT, MTRRs, TSC, kvmclock ...: each accelerator fills in
                                 those it has */
    uint32_t msr_count;
    CpuRunState run_state;
    bool nmi_masked;        /* an NMI handler runs */
    bool interrupt_shadow;  /* the instruction before was STI or MOV SS */
    bool exception_pending; /* event that is to be delivered before the next instruction */
    uint8_t exception_vector;
    bool exception_has_error;
    uint32_t exception_error;
} CpuState;

/* Power-on state of a processor, from "Processor State After Reset" of the Intel manual. @is_bsp:
 * boot processor (runs at once). */
void cpu_state_reset(CpuState *state, bool is_bsp);

#endif
