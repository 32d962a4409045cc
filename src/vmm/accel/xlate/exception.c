/* Raising exceptions; double and triple faults.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/exception.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/gate.h"

static LODGE_NORETURN void unwind(Vcpu *vcpu, uint8_t vector, bool has_error, uint32_t error)
{
    vcpu->fault_vector = vector;
    vcpu->fault_has_error = has_error;
    vcpu->fault_error = error;
    longjmp(*vcpu->unwind, 1);
}

void raise_exception(Vcpu *vcpu, uint8_t vector)
{
    unwind(vcpu, vector, false, 0);
}

void raise_error(Vcpu *vcpu, uint8_t vector, uint32_t error)
{
    unwind(vcpu, vector, true, error);
}

void raise_page_fault(Vcpu *vcpu, uint64_t linear, uint32_t error)
{
    vcpu->cr2 = linear;
    unwind(vcpu, EXCEPTION_PF, true, error);
}

void raise_debug(Vcpu *vcpu, uint64_t dr6_bits)
{
    vcpu->fault_debug = dr6_bits;
    unwind(vcpu, EXCEPTION_DB, false, 0);
}

static bool is_contributory(uint8_t vector)
{
    return vector == EXCEPTION_DE || (vector >= EXCEPTION_TS && vector <= EXCEPTION_GP);
}

static bool makes_double_fault(uint8_t first, uint8_t second)
{
    if (first == EXCEPTION_PF) {
        return second == EXCEPTION_PF || is_contributory(second);
    }
    return is_contributory(first) && is_contributory(second);
}

/* The event after @event, whose delivery raised the fault in @vcpu. False: triple fault. */
static bool next_event(Vcpu *vcpu, GateEvent *event)
{
    bool was_exception = event->kind == EVENT_EXCEPTION;
    uint8_t first = event->vector, second = vcpu->fault_vector;
    if (was_exception && first == EXCEPTION_DF) {
        return false;
    }
    *event = (GateEvent){ .vector = second,
                          .kind = EVENT_EXCEPTION,
                          .has_error = vcpu->fault_has_error,
                          .error = vcpu->fault_error,
                          .return_rip = vcpu->rip,
                          .is_fault = true };
    if (was_exception && makes_double_fault(first, second)) {
        event->vector = EXCEPTION_DF;
        event->has_error = true;
        event->error = 0;
        event->is_fault = false;
    }
    return true;
}

static bool deliver(Vcpu *vcpu, const GateEvent *first)
{
    jmp_buf here;
    jmp_buf *outer = vcpu->unwind;
    GateEvent event = *first;
    vcpu->interrupt_shadow = 0;
    vcpu->pending_db = 0;
    volatile bool going_on = true;
    GateEvent *volatile present = &event;
    vcpu->unwind = &here;
    if (setjmp(here) != 0) {
        cpu_update_mode(vcpu);
        going_on = next_event(vcpu, present);
    }
    if (going_on) {
        gate_enter(vcpu, present);
    } else {
        vcpu->shutdown = true;
    }
    vcpu->unwind = outer;
    return going_on;
}

bool exception_deliver(Vcpu *vcpu)
{
    uint8_t vector = vcpu->fault_vector;
    cpu_update_mode(vcpu);
    if (vector == EXCEPTION_DB) {
        vcpu->dr[6] = (vcpu->dr[6] & ~UINT64_C(0xf)) | vcpu->fault_debug;
        vcpu->dr[7] &= ~(uint64_t)DR7_GD;
        cpu_update_mode(vcpu);
    }
    GateEvent event = { .vector = vector,
                        .kind = EVENT_EXCEPTION,
                        .has_error = vcpu->fault_has_error,
                        .error = vcpu->fault_error,
                        .return_rip = vcpu->rip,
                        .is_fault = vector != EXCEPTION_DF && vector != EXCEPTION_DB };
    return deliver(vcpu, &event);
}

bool event_deliver(Vcpu *vcpu, uint8_t vector, EventKind kind, uint64_t return_rip)
{
    GateEvent event = { .vector = vector, .kind = kind, .return_rip = return_rip };
    return deliver(vcpu, &event);
}

void software_interrupt(Vcpu *vcpu, uint8_t vector, EventKind kind, uint64_t return_rip)
{
    GateEvent event = { .vector = vector, .kind = kind, .return_rip = return_rip };
    gate_enter(vcpu, &event);
    vcpu->steps_into_handler = true;
}
