/* Exceptions and interrupts: raising them, and delivery through the interrupt vector table, task
 * gates left out in long mode as the processor does.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_EXCEPTION_H
#define LODGE_VMM_ACCEL_XLATE_EXCEPTION_H

#include "vmm/accel/xlate/cpu.h"

enum {
    EXCEPTION_DE = 0,
    EXCEPTION_DB = 1,
    EXCEPTION_NMI = 2,
    EXCEPTION_BP = 3,
    EXCEPTION_OF = 4,
    EXCEPTION_BR = 5,
    EXCEPTION_UD = 6,
    EXCEPTION_NM = 7,
    EXCEPTION_DF = 8,
    EXCEPTION_TS = 10,
    EXCEPTION_NP = 11,
    EXCEPTION_SS = 12,
    EXCEPTION_GP = 13,
    EXCEPTION_PF = 14,
    EXCEPTION_MF = 16,
    EXCEPTION_AC = 17,
    EXCEPTION_XM = 19,
};

/* Unwind to vcpu->unwind with an exception to be delivered for the instruction at vcpu->rip. */
LODGE_NORETURN void raise_exception(Vcpu *vcpu, uint8_t vector);
LODGE_NORETURN void raise_error(Vcpu *vcpu, uint8_t vector, uint32_t error);
/* Sets CR2 as well. */
LODGE_NORETURN void raise_page_fault(Vcpu *vcpu, uint64_t linear, uint32_t error);
/* A #DB with these bits to be set in DR6. */
LODGE_NORETURN void raise_debug(Vcpu *vcpu, uint64_t dr6_bits);

/* Delivers the fault that was unwound with, and what follows from faults in its delivery. Returns
 * false on a triple fault. Never unwinds. */
bool exception_deliver(Vcpu *vcpu);

typedef enum EventKind {
    EVENT_EXCEPTION, /* fault or trap; rip is what the handler returns to */
    EVENT_INTERRUPT, /* from the local APIC, or NMI */
    EVENT_SOFTWARE,  /* INT n, INT3, INTO: gate privileges are checked */
    EVENT_ICEBP,     /* INT1: a #DB without the privilege check */
} EventKind;

/**
 * event_deliver - enter the handler of a vector
 * @return_rip: what is pushed
 *
 * Returns false on a triple fault. Never unwinds: faults during delivery are delivered in turn.
 */
bool event_deliver(Vcpu *vcpu, uint8_t vector, EventKind kind, uint64_t return_rip);

/* INT n and its like from within an instruction: may unwind with vcpu->rip still at it. */
void software_interrupt(Vcpu *vcpu, uint8_t vector, EventKind kind, uint64_t return_rip);

#endif
