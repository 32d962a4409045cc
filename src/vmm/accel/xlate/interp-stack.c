/* PUSH, POP and relatives.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

void op_push(Vcpu *vcpu, const Insn *insn)
{
    const InsnOperand *op = &insn->operand[0];
    uint64_t value =
        op->kind == OPERAND_SEGMENT ? vcpu->segment[op->reg].selector : op_read(vcpu, insn, 0);
    push_value(vcpu, value, insn->stack_size);
}

static void pop_memory(Vcpu *vcpu, const Insn *insn, uint64_t value)
{
    unsigned size = insn->stack_size;
    /* An address based on the stack pointer uses its value after the pop. */
    uint64_t ea = insn_ea(vcpu, insn) + (insn->mem.base == CPU_RSP ? size : 0);
    ea &= size_mask(insn->address_size);
    uint64_t linear = segment_linear(vcpu, insn->mem.segment, ea, size, true);
    mem_write(vcpu, linear, value, size);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] + size);
}

void op_pop(Vcpu *vcpu, const Insn *insn)
{
    const InsnOperand *op = &insn->operand[0];
    unsigned size = insn->stack_size;
    if (op->kind == OPERAND_SEGMENT) {
        uint16_t selector = (uint16_t)stack_peek(vcpu, 0, 2);
        uint64_t mask = stack_mask(vcpu), sp = vcpu->gpr[CPU_RSP];
        segment_load(vcpu, op->reg, selector);
        vcpu->gpr[CPU_RSP] = (mask == 0xffff ? sp & ~mask : 0) | ((sp + size) & mask);
        vcpu->interrupt_shadow = op->reg == CPU_SS ? SHADOW_SS : 0;
        return;
    }
    uint64_t value = stack_peek(vcpu, 0, size);
    if (op->kind == OPERAND_MEM) {
        pop_memory(vcpu, insn, value);
    } else {
        stack_set(vcpu, vcpu->gpr[CPU_RSP] + size);
        gpr_write(vcpu, op->reg, value, size);
    }
}

void op_pusha(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    stack_poke(vcpu, size * 8, vcpu->gpr[CPU_RDI], size);
    for (unsigned i = 0; i < 7; i++) {
        stack_poke(vcpu, size * (i + 1), vcpu->gpr[i], size);
    }
    stack_set(vcpu, vcpu->gpr[CPU_RSP] - size * 8);
}

void op_popa(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    uint64_t value[8];
    for (unsigned i = 0; i < 8; i++) {
        value[7 - i] = stack_peek(vcpu, i * size, size);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != CPU_RSP) {
            gpr_write(vcpu, i, value[i], size);
        }
    }
    stack_set(vcpu, vcpu->gpr[CPU_RSP] + size * 8);
}

static void require_vm86_iopl(Vcpu *vcpu)
{
    if ((vcpu->mode & MODE_VM86) && !(vcpu->mode & MODE_IOPL)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

void op_pushf(Vcpu *vcpu, const Insn *insn)
{
    require_vm86_iopl(vcpu);
    push_value(vcpu, vcpu->rflags & ~(uint64_t)(FLAG_VM | FLAG_RF), insn->operand_size);
}

void op_popf(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    uint64_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
    require_vm86_iopl(vcpu);
    if (vcpu->mode & MODE_IOPL) {
        mask |= FLAG_IF;
    }
    if (cpu_cpl(vcpu) == 0) {
        mask |= FLAG_IOPL;
    }
    mask &= size_mask(size);
    uint64_t value = stack_peek(vcpu, 0, size);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] + size);
    set_flags(vcpu, mask | (size > 2 ? FLAG_RF : 0), value & mask);
    cpu_update_mode(vcpu);
}

void op_enter(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->stack_size, level = (unsigned)insn->imm2 & 31;
    uint64_t mask = stack_mask(vcpu), room = (uint64_t)insn->imm & 0xffff;
    uint64_t frame = vcpu->gpr[CPU_RSP] - size, depth = size;
    stack_poke(vcpu, depth, vcpu->gpr[CPU_RBP], size);
    for (unsigned i = 1; i < level; i++) {
        uint64_t from = (vcpu->gpr[CPU_RBP] - i * size) & mask;
        uint64_t value = mem_read(vcpu, segment_linear(vcpu, CPU_SS, from, size, false), size);
        depth += size;
        stack_poke(vcpu, depth, value, size);
    }
    if (level > 0) {
        depth += size;
        stack_poke(vcpu, depth, frame, size);
    }
    /* The new top of the stack must be writable as well. */
    uint64_t top = (vcpu->gpr[CPU_RSP] - depth - room) & mask;
    mem_probe_write(vcpu, segment_linear(vcpu, CPU_SS, top, size, true), size);
    stack_set(vcpu, top);
    gpr_write(vcpu, CPU_RBP,
              mask == 0xffff ? (frame & 0xffff) | (vcpu->gpr[CPU_RBP] & ~mask) : frame,
              size == 2            ? 2
              : mask == UINT64_MAX ? 8
                                   : 4);
}

void op_leave(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->stack_size;
    uint64_t mask = stack_mask(vcpu), frame = vcpu->gpr[CPU_RBP] & mask;
    uint64_t value = mem_read(vcpu, segment_linear(vcpu, CPU_SS, frame, size, false), size);
    stack_set(vcpu, frame + size);
    gpr_write(vcpu, CPU_RBP, value, size);
}
