/* Far jumps, calls and returns; call gates; IRET.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/far.h"

#include "vmm/accel/xlate/gate.h"
#include "vmm/accel/xlate/interp-ops.h"

static bool is_real(const Vcpu *vcpu)
{
    return !(vcpu->mode & MODE_PE) || (vcpu->mode & MODE_VM86);
}

static void set_code_real(Vcpu *vcpu, uint16_t selector, uint64_t offset)
{
    if (offset > vcpu->segment[CPU_CS].limit) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    vcpu->segment[CPU_CS].selector = selector;
    vcpu->segment[CPU_CS].base = (uint32_t)selector << 4;
    vcpu->next_rip = offset;
}

static void check_target(Vcpu *vcpu, const CpuSegment *cs, uint64_t offset)
{
    bool is_long = (vcpu->mode & MODE_LMA) && (cs->attributes & SEGMENT_L);
    if (is_long ? !is_canonical(offset) : offset > cs->limit) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

/* Code segment of a transfer without change of level. */
static CpuSegment check_code(Vcpu *vcpu, uint16_t selector, Descriptor *d, unsigned rpl)
{
    unsigned cpl = cpu_cpl(vcpu), dpl = descriptor_dpl(d);
    uint32_t error = selector & 0xfffcu;
    bool conforming = descriptor_type(d) & TYPE_CONFORMING;
    if (conforming ? dpl > cpl : rpl > cpl || dpl != cpl) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if ((vcpu->mode & MODE_LMA) && (d->low >> 53 & 3) == 3) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    return descriptor_segment(d, (uint16_t)((selector & 0xfffc) | cpl));
}

typedef struct CallGate {
    uint16_t selector;
    uint64_t offset;
    unsigned size;   /* 2, 4 or 8 */
    unsigned copied; /* words of arguments */
} CallGate;

static CallGate read_call_gate(Vcpu *vcpu, uint16_t selector, Descriptor *d)
{
    uint32_t error = selector & 0xfffcu;
    CallGate gate = { .selector = d->low >> 16 & 0xffff, .size = 2, .copied = d->low >> 32 & 31 };
    if (descriptor_dpl(d) < cpu_cpl(vcpu) || descriptor_dpl(d) < (selector & 3u)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    gate.offset = d->low & 0xffff;
    if (descriptor_type(d) == TYPE_CALL32) {
        gate.offset |= d->low >> 32 & 0xffff0000;
        gate.size = 4;
    }
    if (vcpu->mode & MODE_LMA) {
        descriptor_read_high(vcpu, selector, EXCEPTION_GP, d);
        gate.offset |= d->high << 32;
        gate.size = 8;
        gate.copied = 0;
    }
    return gate;
}

static void read_gate_code(Vcpu *vcpu, const CallGate *gate, Descriptor *d)
{
    uint32_t error = gate->selector & 0xfffcu;
    if (!error) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    descriptor_read_or_raise(vcpu, gate->selector, EXCEPTION_GP, d);
    if (!descriptor_is_segment(d) || !(descriptor_type(d) & TYPE_CODE) ||
        descriptor_dpl(d) > cpu_cpl(vcpu) || ((vcpu->mode & MODE_LMA) && (d->low >> 53 & 3) != 1)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
}

static void jump_gate(Vcpu *vcpu, uint16_t selector, Descriptor *d)
{
    Descriptor code;
    CallGate gate = read_call_gate(vcpu, selector, d);
    read_gate_code(vcpu, &gate, &code);
    CpuSegment cs = check_code(vcpu, gate.selector, &code, 0);
    check_target(vcpu, &cs, gate.offset);
    descriptor_set_accessed(vcpu, &code);
    vcpu->segment[CPU_CS] = cs;
    vcpu->next_rip = gate.offset;
    cpu_update_mode(vcpu);
}

/* What a far jump or call leads to when it is no code segment. */
static void system_target(Vcpu *vcpu, uint16_t selector, Descriptor *d, bool is_call,
                          void (*through_gate)(Vcpu *, uint16_t, Descriptor *))
{
    uint32_t error = selector & 0xfffcu;
    bool is_long = vcpu->mode & MODE_LMA;
    unsigned type = descriptor_type(d);
    if (type == TYPE_CALL32 || (type == TYPE_CALL16 && !is_long)) {
        through_gate(vcpu, selector, d);
        return;
    }
    if (is_long || (type != TYPE_TSS32 && type != TYPE_TSS16 && type != TYPE_TASK) ||
        descriptor_dpl(d) < cpu_cpl(vcpu) || descriptor_dpl(d) < (selector & 3u)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    task_switch(vcpu, type == TYPE_TASK ? d->low >> 16 & 0xffff : selector,
                is_call ? TASK_CALL : TASK_JUMP, vcpu->next_rip, false, 0);
}

void far_jump(Vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned size)
{
    Descriptor d;
    offset &= size_mask(size);
    if (is_real(vcpu)) {
        set_code_real(vcpu, selector, offset);
        cpu_update_mode(vcpu);
        return;
    }
    if (!(selector & 0xfffc)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, &d);
    if (!descriptor_is_segment(&d)) {
        system_target(vcpu, selector, &d, false, jump_gate);
        return;
    }
    if (!(descriptor_type(&d) & TYPE_CODE)) {
        raise_error(vcpu, EXCEPTION_GP, selector & 0xfffcu);
    }
    CpuSegment cs = check_code(vcpu, selector, &d, selector & 3);
    check_target(vcpu, &cs, offset);
    descriptor_set_accessed(vcpu, &d);
    vcpu->segment[CPU_CS] = cs;
    vcpu->next_rip = offset;
    cpu_update_mode(vcpu);
}

/* A call through a gate into an inner level: new stack, copied arguments. */
static void call_inner(Vcpu *vcpu, const CallGate *gate, Descriptor *code)
{
    unsigned cpl = descriptor_dpl(code), size = gate->size;
    bool is_long = size == 8;
    CpuSegment cs = descriptor_segment(code, (uint16_t)((gate->selector & 0xfffc) | cpl));
    CpuSegment ss = { .selector = (uint16_t)cpl,
                      .attributes = (uint16_t)(SEGMENT_UNUSABLE | cpl << SEGMENT_DPL_SHIFT) };
    uint64_t sp, mask = UINT64_MAX;
    if (is_long) {
        sp = mem_read_system(vcpu, vcpu->tr.base + 4 + cpl * 8, 8);
    } else {
        uint16_t selector;
        uint32_t esp;
        tss_stack(vcpu, cpl, &selector, &esp);
        ss = segment_check_stack(vcpu, selector, cpl, EXCEPTION_TS);
        sp = esp;
        mask = ss.attributes & SEGMENT_DB ? 0xffffffff : 0xffff;
    }
    check_target(vcpu, &cs, gate->offset);
    uint64_t words[4 + 32];
    unsigned count = 0;
    words[count++] = vcpu->segment[CPU_SS].selector;
    words[count++] = vcpu->gpr[CPU_RSP];
    for (unsigned i = gate->copied; i > 0; i--) {
        words[count++] = stack_peek(vcpu, (i - 1) * size, size);
    }
    words[count++] = vcpu->segment[CPU_CS].selector;
    words[count++] = vcpu->next_rip;
    for (unsigned i = 0; i < count; i++) {
        uint64_t linear = ((sp - (i + 1) * size) & mask) + ss.base;
        mem_write_system(vcpu, is_long ? linear : (uint32_t)linear, words[i], size);
    }
    descriptor_set_accessed(vcpu, code);
    vcpu->segment[CPU_CS] = cs;
    vcpu->segment[CPU_SS] = ss;
    vcpu->gpr[CPU_RSP] = (sp & ~mask) | ((sp - count * size) & mask);
    vcpu->next_rip = gate->offset;
    cpu_update_mode(vcpu);
}

static void call_same(Vcpu *vcpu, const CpuSegment *cs, uint64_t offset, unsigned size)
{
    check_target(vcpu, cs, offset);
    stack_poke(vcpu, size, vcpu->segment[CPU_CS].selector, size);
    stack_poke(vcpu, size * 2, vcpu->next_rip, size);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] - size * 2);
    vcpu->segment[CPU_CS] = *cs;
    vcpu->next_rip = offset;
    cpu_update_mode(vcpu);
}

static void call_gate(Vcpu *vcpu, uint16_t selector, Descriptor *d)
{
    Descriptor code;
    CallGate gate = read_call_gate(vcpu, selector, d);
    read_gate_code(vcpu, &gate, &code);
    if (!(descriptor_type(&code) & TYPE_CONFORMING) && descriptor_dpl(&code) < cpu_cpl(vcpu)) {
        call_inner(vcpu, &gate, &code);
        return;
    }
    CpuSegment cs = check_code(vcpu, gate.selector, &code, 0);
    descriptor_set_accessed(vcpu, &code);
    call_same(vcpu, &cs, gate.offset, gate.size);
}

void far_call(Vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned size)
{
    Descriptor d;
    offset &= size_mask(size);
    if (is_real(vcpu)) {
        uint64_t return_rip = vcpu->next_rip;
        uint16_t old = vcpu->segment[CPU_CS].selector;
        stack_poke(vcpu, size, old, size);
        stack_poke(vcpu, size * 2, return_rip, size);
        set_code_real(vcpu, selector, offset);
        stack_set(vcpu, vcpu->gpr[CPU_RSP] - size * 2);
        cpu_update_mode(vcpu);
        return;
    }
    if (!(selector & 0xfffc)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, &d);
    if (!descriptor_is_segment(&d)) {
        system_target(vcpu, selector, &d, true, call_gate);
        return;
    }
    if (!(descriptor_type(&d) & TYPE_CODE)) {
        raise_error(vcpu, EXCEPTION_GP, selector & 0xfffcu);
    }
    CpuSegment cs = check_code(vcpu, selector, &d, selector & 3);
    descriptor_set_accessed(vcpu, &d);
    call_same(vcpu, &cs, offset, size);
}

/* Code segment a return leads to; it never gains privilege. */
static CpuSegment return_code(Vcpu *vcpu, uint16_t selector, Descriptor *d)
{
    uint32_t error = selector & 0xfffcu;
    unsigned rpl = selector & 3;
    if (!error) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, d);
    if (!descriptor_is_segment(d) || !(descriptor_type(d) & TYPE_CODE) || rpl < cpu_cpl(vcpu)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (descriptor_type(d) & TYPE_CONFORMING ? descriptor_dpl(d) > rpl : descriptor_dpl(d) != rpl) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if ((vcpu->mode & MODE_LMA) && (d->low >> 53 & 3) == 3) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    return descriptor_segment(d, selector);
}

static CpuSegment return_stack(Vcpu *vcpu, uint16_t selector, const CpuSegment *cs)
{
    unsigned cpl = cs->selector & 3;
    bool to_long = (vcpu->mode & MODE_LMA) && (cs->attributes & SEGMENT_L);
    if (!(selector & 0xfffc) && to_long && cpl != 3 && (selector & 3) == cpl) {
        return (CpuSegment){ .selector = selector,
                             .attributes =
                                 (uint16_t)(SEGMENT_UNUSABLE | cpl << SEGMENT_DPL_SHIFT) };
    }
    return segment_check_stack(vcpu, selector, cpl, EXCEPTION_GP);
}

/* New stack pointer value, by the new stack segment. */
static void set_sp(Vcpu *vcpu, uint64_t sp, unsigned size)
{
    if (!(vcpu->mode & (MODE_CS64 | MODE_SS32)) && size < 8) {
        vcpu->gpr[CPU_RSP] = (vcpu->gpr[CPU_RSP] & ~UINT64_C(0xffff)) | (sp & 0xffff);
    } else {
        vcpu->gpr[CPU_RSP] = sp & size_mask(size == 2 ? 4 : size);
    }
}

void far_return(Vcpu *vcpu, unsigned size, unsigned release)
{
    Descriptor d;
    uint64_t rip = stack_peek(vcpu, 0, size);
    uint16_t selector = (uint16_t)stack_peek(vcpu, size, size);
    if (is_real(vcpu)) {
        set_code_real(vcpu, selector, rip);
        stack_set(vcpu, vcpu->gpr[CPU_RSP] + size * 2 + release);
        cpu_update_mode(vcpu);
        return;
    }
    unsigned old_cpl = cpu_cpl(vcpu);
    CpuSegment cs = return_code(vcpu, selector, &d);
    check_target(vcpu, &cs, rip);
    if ((selector & 3u) == old_cpl) {
        descriptor_set_accessed(vcpu, &d);
        stack_set(vcpu, vcpu->gpr[CPU_RSP] + size * 2 + release);
        vcpu->segment[CPU_CS] = cs;
    } else {
        uint64_t sp = stack_peek(vcpu, size * 2 + release, size);
        uint16_t ss_selector = (uint16_t)stack_peek(vcpu, size * 3 + release, size);
        CpuSegment ss = return_stack(vcpu, ss_selector, &cs);
        descriptor_set_accessed(vcpu, &d);
        vcpu->segment[CPU_CS] = cs;
        vcpu->segment[CPU_SS] = ss;
        cpu_update_mode(vcpu);
        set_sp(vcpu, sp + release, size);
        segment_drop_inner(vcpu, selector & 3);
    }
    vcpu->next_rip = rip;
    cpu_update_mode(vcpu);
}

static void set_returned_flags(Vcpu *vcpu, uint64_t value, unsigned size, unsigned old_cpl,
                               bool may_change_if)
{
    uint64_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID;
    if (may_change_if) {
        mask |= FLAG_IF;
    }
    if (old_cpl == 0) {
        mask |= FLAG_IOPL | FLAG_VIF | FLAG_VIP;
    }
    mask &= size_mask(size);
    set_flags(vcpu, mask, value & mask);
}

static void return_real(Vcpu *vcpu, unsigned size)
{
    if ((vcpu->mode & MODE_VM86) && !(vcpu->mode & MODE_IOPL)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    uint64_t rip = stack_peek(vcpu, 0, size);
    uint16_t selector = (uint16_t)stack_peek(vcpu, size, size);
    uint64_t flags = stack_peek(vcpu, size * 2, size);
    set_code_real(vcpu, selector, rip);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] + size * 3);
    set_returned_flags(vcpu, flags, size, vcpu->mode & MODE_VM86 ? 3 : 0, true);
    cpu_update_mode(vcpu);
}

static void return_vm86(Vcpu *vcpu, uint64_t rip, uint16_t cs, uint64_t flags)
{
    static const uint8_t order[] = { CPU_SS, CPU_ES, CPU_DS, CPU_FS, CPU_GS };
    uint16_t selector[sizeof(order)];
    uint64_t sp = stack_peek(vcpu, 12, 4);
    for (unsigned i = 0; i < sizeof(order); i++) {
        selector[i] = (uint16_t)stack_peek(vcpu, 16 + i * 4, 4);
    }
    vcpu->rflags = (flags & 0x3f7fd5) | FLAG_FIXED;
    segment_load_real(vcpu, CPU_CS, cs);
    for (unsigned i = 0; i < sizeof(order); i++) {
        segment_load_real(vcpu, order[i], selector[i]);
    }
    vcpu->gpr[CPU_RSP] = sp;
    vcpu->next_rip = rip & 0xffff;
    cpu_update_mode(vcpu);
}

static void return_task(Vcpu *vcpu)
{
    uint16_t link = (uint16_t)mem_read_system(vcpu, (uint32_t)vcpu->tr.base, 2);
    if (link & 4) {
        raise_error(vcpu, EXCEPTION_TS, link & 0xfffcu);
    }
    task_switch(vcpu, link, TASK_IRET, vcpu->next_rip, false, 0);
}

static void return_protected(Vcpu *vcpu, unsigned size)
{
    Descriptor d;
    unsigned old_cpl = cpu_cpl(vcpu);
    bool may_change_if = vcpu->mode & MODE_IOPL, was_long = vcpu->mode & MODE_CS64;
    uint64_t rip = stack_peek(vcpu, 0, size);
    uint16_t selector = (uint16_t)stack_peek(vcpu, size, size);
    uint64_t flags = stack_peek(vcpu, size * 2, size);
    if ((flags & FLAG_VM) && size == 4 && old_cpl == 0 && !(vcpu->mode & MODE_LMA)) {
        return_vm86(vcpu, rip, (uint16_t)selector, flags);
        return;
    }
    CpuSegment cs = return_code(vcpu, selector, &d), ss = vcpu->segment[CPU_SS];
    bool pops_stack = was_long || (selector & 3u) != old_cpl;
    uint64_t sp = 0;
    check_target(vcpu, &cs, rip);
    if (pops_stack) {
        sp = stack_peek(vcpu, size * 3, size);
        ss = return_stack(vcpu, (uint16_t)stack_peek(vcpu, size * 4, size), &cs);
    }
    descriptor_set_accessed(vcpu, &d);
    if (!pops_stack) {
        stack_set(vcpu, vcpu->gpr[CPU_RSP] + size * 3);
    }
    vcpu->segment[CPU_CS] = cs;
    vcpu->segment[CPU_SS] = ss;
    set_returned_flags(vcpu, flags, size, old_cpl, may_change_if);
    cpu_update_mode(vcpu);
    if (pops_stack) {
        set_sp(vcpu, sp, size);
    }
    if ((selector & 3u) != old_cpl) {
        segment_drop_inner(vcpu, selector & 3);
    }
    vcpu->next_rip = rip;
    cpu_update_mode(vcpu);
}

void interrupt_return(Vcpu *vcpu, unsigned size)
{
    if (is_real(vcpu)) {
        return_real(vcpu, size);
    } else if (vcpu->rflags & FLAG_NT) {
        if (vcpu->mode & MODE_LMA) {
            raise_error(vcpu, EXCEPTION_GP, 0);
        }
        return_task(vcpu);
    } else {
        return_protected(vcpu, size);
    }
    vcpu->nmi_masked = false;
}
