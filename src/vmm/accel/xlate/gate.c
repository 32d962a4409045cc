/* Entry into interrupt and exception handlers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/gate.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/segment.h"

#include <string.h>

/* A stack being filled that the vCPU does not have yet. */
typedef struct NewStack {
    CpuSegment ss;
    uint64_t sp;
    uint64_t sp_mask;
    unsigned slot;  /* bytes pushed at once */
    bool is_system; /* pushed with supervisor rights */
    bool is_long;
    uint8_t fault; /* #SS, or #TS for a stack out of the TSS; here always #SS */
} NewStack;

static void stack_push(Vcpu *vcpu, NewStack *stack, uint64_t value)
{
    stack->sp = (stack->sp & ~stack->sp_mask) | ((stack->sp - stack->slot) & stack->sp_mask);
    uint64_t offset = stack->sp & stack->sp_mask;
    uint64_t linear = offset;
    if (stack->is_long) {
        if (!is_canonical(linear)) {
            raise_error(vcpu, EXCEPTION_SS, 0);
        }
    } else {
        bool down = stack->ss.attributes & TYPE_EXPAND_DOWN;
        uint64_t last = offset + stack->slot - 1;
        if (down ? offset <= stack->ss.limit : last > stack->ss.limit) {
            raise_error(vcpu, EXCEPTION_SS, 0);
        }
        linear = (uint32_t)(stack->ss.base + offset);
    }
    if (stack->is_system) {
        mem_write_system(vcpu, linear, value, stack->slot);
    } else {
        mem_write(vcpu, linear, value, stack->slot);
    }
}

static void enter_real(Vcpu *vcpu, const GateEvent *event)
{
    uint32_t at = event->vector * 4u;
    if (at + 3 > vcpu->idt.limit) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    uint32_t target = (uint32_t)mem_read(vcpu, (uint32_t)(vcpu->idt.base + at), 4);
    NewStack stack = { .ss = vcpu->segment[CPU_SS],
                       .sp = vcpu->gpr[CPU_RSP],
                       .sp_mask = vcpu->mode & MODE_SS32 ? 0xffffffff : 0xffff,
                       .slot = 2 };
    stack_push(vcpu, &stack, vcpu->rflags & 0xffff);
    stack_push(vcpu, &stack, vcpu->segment[CPU_CS].selector);
    stack_push(vcpu, &stack, event->return_rip & 0xffff);
    vcpu->gpr[CPU_RSP] = stack.sp;
    vcpu->segment[CPU_CS].selector = (uint16_t)(target >> 16);
    vcpu->segment[CPU_CS].base = target >> 16 << 4;
    vcpu->rip = vcpu->next_rip = target & 0xffff;
    vcpu->rflags &= ~(uint64_t)(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
    cpu_update_mode(vcpu);
}

void tss_stack(Vcpu *vcpu, unsigned cpl, uint16_t *out_ss, uint32_t *out_esp)
{
    bool is_32 = (vcpu->tr.attributes & SEGMENT_TYPE & ~2u) == TYPE_TSS32;
    uint32_t at = is_32 ? 4 + cpl * 8 : 2 + cpl * 4;
    if (at + (is_32 ? 5 : 3) > vcpu->tr.limit) {
        raise_error(vcpu, EXCEPTION_TS, vcpu->tr.selector & 0xfffcu);
    }
    uint32_t linear = (uint32_t)(vcpu->tr.base + at);
    if (is_32) {
        *out_esp = (uint32_t)mem_read_system(vcpu, linear, 4);
        *out_ss = (uint16_t)mem_read_system(vcpu, linear + 4, 2);
    } else {
        *out_esp = (uint32_t)mem_read_system(vcpu, linear, 2);
        *out_ss = (uint16_t)mem_read_system(vcpu, linear + 2, 2);
    }
}

static uint64_t long_stack(Vcpu *vcpu, unsigned cpl, unsigned ist)
{
    uint32_t at = ist ? 36 + (ist - 1) * 8 : 4 + cpl * 8;
    if (at + 7 > vcpu->tr.limit) {
        raise_error(vcpu, EXCEPTION_TS, vcpu->tr.selector & 0xfffcu);
    }
    return mem_read_system(vcpu, vcpu->tr.base + at, 8);
}

/* A gate, checked as far as it can be on its own. */
typedef struct Gate {
    unsigned type;
    unsigned ist;
    uint16_t selector;
    uint64_t offset;
    uint32_t error;    /* selector error code of this vector */
    uint32_t external; /* 1 unless a program asked for it */
} Gate;

static Gate read_gate(Vcpu *vcpu, const GateEvent *event)
{
    bool is_long = vcpu->mode & MODE_LMA;
    unsigned size = is_long ? 16 : 8;
    Gate gate = { .external = event->kind != EVENT_SOFTWARE };
    gate.error = event->vector * 8u + 2 + gate.external;
    if (event->vector * size + size - 1 > vcpu->idt.limit) {
        raise_error(vcpu, EXCEPTION_GP, gate.error);
    }
    uint64_t linear = vcpu->idt.base + event->vector * size;
    uint64_t low = mem_read_system(vcpu, is_long ? linear : (uint32_t)linear, 8);
    gate.type = low >> 40 & 0x1f;
    gate.selector = low >> 16 & 0xffff;
    gate.offset = (low & 0xffff) | (low >> 32 & 0xffff0000);
    bool is_known = gate.type == TYPE_INTERRUPT32 || gate.type == TYPE_TRAP32;
    if (is_long) {
        gate.offset |= mem_read_system(vcpu, linear + 8, 8) << 32;
        gate.ist = low >> 32 & 7;
    } else {
        is_known |=
            gate.type == TYPE_INTERRUPT16 || gate.type == TYPE_TRAP16 || gate.type == TYPE_TASK;
        if (gate.type == TYPE_INTERRUPT16 || gate.type == TYPE_TRAP16) {
            gate.offset &= 0xffff;
        }
    }
    if (!is_known) {
        raise_error(vcpu, EXCEPTION_GP, gate.error);
    }
    if (event->kind == EVENT_SOFTWARE && (low >> 45 & 3) < cpu_cpl(vcpu)) {
        raise_error(vcpu, EXCEPTION_GP, gate.error);
    }
    if (!(low >> 47 & 1)) {
        raise_error(vcpu, EXCEPTION_NP, gate.error);
    }
    return gate;
}

/* The handler's code segment; @out_cpl is the level it runs at. */
static CpuSegment check_code(Vcpu *vcpu, const Gate *gate, unsigned *out_cpl)
{
    Descriptor d;
    uint32_t error = (gate->selector & 0xfffcu) + gate->external;
    unsigned cpl = cpu_cpl(vcpu);
    if (!(gate->selector & 0xfffc)) {
        raise_error(vcpu, EXCEPTION_GP, gate->external);
    }
    if (!descriptor_read(vcpu, gate->selector, &d)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_segment(&d) || !(descriptor_type(&d) & TYPE_CODE) ||
        descriptor_dpl(&d) > cpl) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if ((vcpu->mode & MODE_LMA) && !(d.low >> 53 & 1)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    *out_cpl = descriptor_type(&d) & TYPE_CONFORMING ? cpl : descriptor_dpl(&d);
    if ((vcpu->mode & MODE_VM86) && *out_cpl != 0) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    descriptor_set_accessed(vcpu, &d);
    return descriptor_segment(&d, (uint16_t)((gate->selector & 0xfffc) | *out_cpl));
}

static uint64_t pushed_flags(const Vcpu *vcpu, const GateEvent *event)
{
    return event->is_fault ? vcpu->rflags | FLAG_RF : vcpu->rflags;
}

static void commit(Vcpu *vcpu, const Gate *gate, const CpuSegment *cs, const NewStack *stack)
{
    bool is_interrupt = gate->type == TYPE_INTERRUPT32 || gate->type == TYPE_INTERRUPT16;
    vcpu->segment[CPU_CS] = *cs;
    vcpu->segment[CPU_SS] = stack->ss;
    vcpu->gpr[CPU_RSP] = stack->sp;
    vcpu->rip = vcpu->next_rip = gate->offset;
    vcpu->rflags &= ~(uint64_t)(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
    if (is_interrupt) {
        vcpu->rflags &= ~(uint64_t)FLAG_IF;
    }
    cpu_update_mode(vcpu);
}

static void enter_long(Vcpu *vcpu, const GateEvent *event, const Gate *gate)
{
    unsigned cpl;
    CpuSegment cs = check_code(vcpu, gate, &cpl);
    NewStack stack = { .ss = vcpu->segment[CPU_SS],
                       .sp = vcpu->gpr[CPU_RSP],
                       .sp_mask = UINT64_MAX,
                       .slot = 8,
                       .is_system = cpl < 3,
                       .is_long = true };
    if (cpl != cpu_cpl(vcpu)) {
        stack.ss =
            (CpuSegment){ .selector = (uint16_t)cpl,
                          .attributes = (uint16_t)(SEGMENT_UNUSABLE | cpl << SEGMENT_DPL_SHIFT) };
    }
    if (cpl != cpu_cpl(vcpu) || gate->ist) {
        stack.sp = long_stack(vcpu, cpl, gate->ist);
    }
    if (!is_canonical(gate->offset)) {
        raise_error(vcpu, EXCEPTION_GP, gate->external);
    }
    stack.sp &= ~UINT64_C(0xf);
    stack_push(vcpu, &stack, vcpu->segment[CPU_SS].selector);
    stack_push(vcpu, &stack, vcpu->gpr[CPU_RSP]);
    stack_push(vcpu, &stack, pushed_flags(vcpu, event));
    stack_push(vcpu, &stack, vcpu->segment[CPU_CS].selector);
    stack_push(vcpu, &stack, event->return_rip);
    if (event->has_error) {
        stack_push(vcpu, &stack, event->error);
    }
    commit(vcpu, gate, &cs, &stack);
}

/* Data segments of virtual-8086 mode go to the stack and become null. */
static void push_vm86_segments(Vcpu *vcpu, NewStack *stack)
{
    static const uint8_t order[] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
    for (unsigned i = 0; i < sizeof(order); i++) {
        stack_push(vcpu, stack, vcpu->segment[order[i]].selector);
    }
}

static void clear_vm86_segments(Vcpu *vcpu)
{
    static const uint8_t order[] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
    for (unsigned i = 0; i < sizeof(order); i++) {
        vcpu->segment[order[i]] = (CpuSegment){ .attributes = SEGMENT_UNUSABLE };
    }
}

static void enter_legacy(Vcpu *vcpu, const GateEvent *event, const Gate *gate)
{
    unsigned cpl;
    CpuSegment cs = check_code(vcpu, gate, &cpl);
    bool from_vm86 = vcpu->mode & MODE_VM86;
    bool changes = cpl != cpu_cpl(vcpu);
    bool is_32 = gate->type == TYPE_INTERRUPT32 || gate->type == TYPE_TRAP32;
    NewStack stack = { .ss = vcpu->segment[CPU_SS],
                       .sp = vcpu->gpr[CPU_RSP],
                       .slot = is_32 ? 4 : 2,
                       .is_system = cpl < 3 };
    if (changes) {
        uint16_t selector;
        uint32_t esp;
        tss_stack(vcpu, cpl, &selector, &esp);
        stack.ss = segment_check_stack(vcpu, selector, cpl, EXCEPTION_TS);
        stack.sp = esp;
    }
    stack.sp_mask = stack.ss.attributes & SEGMENT_DB ? 0xffffffff : 0xffff;
    if ((gate->offset & 0xffffffff) > cs.limit) {
        raise_error(vcpu, EXCEPTION_GP, gate->external);
    }
    if (from_vm86) {
        push_vm86_segments(vcpu, &stack);
    }
    if (changes) {
        stack_push(vcpu, &stack, vcpu->segment[CPU_SS].selector);
        stack_push(vcpu, &stack, vcpu->gpr[CPU_RSP]);
    }
    stack_push(vcpu, &stack, pushed_flags(vcpu, event));
    stack_push(vcpu, &stack, vcpu->segment[CPU_CS].selector);
    stack_push(vcpu, &stack, event->return_rip);
    if (event->has_error) {
        stack_push(vcpu, &stack, event->error);
    }
    if (from_vm86) {
        clear_vm86_segments(vcpu);
    }
    commit(vcpu, gate, &cs, &stack);
}

void gate_enter(Vcpu *vcpu, const GateEvent *event)
{
    if (!(vcpu->mode & MODE_PE)) {
        enter_real(vcpu, event);
        return;
    }
    if ((vcpu->mode & MODE_VM86) && event->kind == EVENT_SOFTWARE && event->vector != 3 &&
        event->vector != 4 && (vcpu->rflags & FLAG_IOPL) != FLAG_IOPL) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    Gate gate = read_gate(vcpu, event);
    if (gate.type == TYPE_TASK) {
        task_switch(vcpu, gate.selector, TASK_GATE, event->return_rip, event->has_error,
                    event->error);
    } else if (vcpu->mode & MODE_LMA) {
        enter_long(vcpu, event, &gate);
    } else {
        enter_legacy(vcpu, event, &gate);
    }
}
