/* Local APIC: xAPIC registers in memory, x2APIC registers as MSRs, timer with TSC deadline.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, "Advanced Programmable
 * Interrupt Controller (APIC)". Left out: SMI delivery (there is no SMM), focus processor checking,
 * thermal and performance interrupts' sources, arbitration id. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_LAPIC_H
#define LODGE_VMM_IRQ_LAPIC_H

#include "vmm/irq/irqchip.h"

#include <pthread.h>

/* Frequency of the timer's input clock; CPUID should tell guests so. */
#define LAPIC_BUS_HZ UINT64_C(1000000000)
#define LAPIC_BASE_DEFAULT UINT64_C(0xfee00000)

enum {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERF,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVTS
};

typedef struct Lapic {
    IrqChip *chip; /* set when attached */
    unsigned vcpu; /* APIC id; set at init */

    /* Any thread. */
    _Atomic(uint64_t) base;   /* IA32_APIC_BASE */
    _Atomic(uint32_t) irr[8]; /* requested */
    _Atomic(uint32_t) tmr[8]; /* level-triggered */
    _Atomic(uint32_t) lvt[LAPIC_LVTS];
    _Atomic(uint32_t) ldr, dfr;     /* logical destination and its format; xAPIC layout */
    _Atomic(uint32_t) svr;          /* spurious vector and software enable */
    _Atomic(uint32_t) esr_gathered; /* errors since the last write of ESR */
    _Atomic(uint8_t) tpr;
    _Atomic(bool) extint; /* a message asked for the 8259's vector */

    /* The vCPU's thread only. */
    uint32_t isr[8]; /* in service */
    uint32_t esr;
    uint64_t icr;

    pthread_mutex_t timer_lock; /* leaf; over all below */
    uint32_t divide;            /* divide configuration register */
    uint32_t initial_count;
    int64_t deadline_ns; /* guest clock; IRQ_TIMER_OFF: not running */
    uint64_t tsc_deadline;
    bool is_paused; /* the guest's clock stands still: nothing is armed */

    uint64_t (*read_tsc)(void *opaque); /* set by bind_tsc; NULL: the deadline timer never fires */
    void *tsc_opaque;
    uint64_t tsc_hz;
} Lapic;

void lapic_init(Lapic *lapic, unsigned vcpu);
void lapic_done(Lapic *lapic);
/* As after power on. INIT (LapicPort.reset) keeps the base. No timer runs afterwards. */
void lapic_reset(Lapic *lapic);

/* Messages that matched. False: not taken (disabled). Context: any thread. */
bool lapic_accept(Lapic *lapic, uint8_t vector, bool is_level);

/* The 8259 pair's output went up. Context: any thread. */
void lapic_raise_lint0(Lapic *lapic);

/* Whether a message for @dest means this one. Context: any thread. */
bool lapic_matches(const Lapic *lapic, uint32_t dest, bool is_logical);

/* The timer may have run out. Context: any thread. */
void lapic_timer_due(Lapic *lapic);

/* Stops the timer's clock, and arms it again: when the guest pauses and resumes, or after a load.
 * Context: main thread, the vCPU does not run. */
void lapic_pause(Lapic *lapic);
void lapic_resume(Lapic *lapic);

/* After a load: false when no processor can have that state. */
bool lapic_check_loaded(Lapic *lapic);

LapicPort lapic_port(Lapic *lapic);

#endif
