/* Interrupt, trap and task gates, and the vector table of real mode.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_GATE_H
#define LODGE_VMM_ACCEL_XLATE_GATE_H

#include "vmm/accel/xlate/exception.h"

typedef struct GateEvent {
    uint8_t vector;
    EventKind kind;
    bool has_error;
    bool is_fault; /* RF is set in the flags pushed */
    uint32_t error;
    uint64_t return_rip;
} GateEvent;

/* Enters the handler. Raises what goes wrong, with nothing but the stack's memory changed. */
void gate_enter(Vcpu *vcpu, const GateEvent *event);

/* Stack of privilege level @cpl from the task-state segment: 16- or 32-bit. */
void tss_stack(Vcpu *vcpu, unsigned cpl, uint16_t *out_ss, uint32_t *out_esp);

typedef enum TaskSwitch { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_GATE } TaskSwitch;

/**
 * task_switch - leave the present task for another, 32-bit task-state segments only
 * @selector: of the new TSS; @return_rip is saved in the old one
 *
 * Raises #TS, #NP, #GP; after the point of no return in the new task. A 16-bit TSS raises #TS.
 */
void task_switch(Vcpu *vcpu, uint16_t selector, TaskSwitch kind, uint64_t return_rip,
                 bool has_error, uint32_t error);

#endif
