/* Branches, calls, returns, software interrupts, far pointer loads.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/far.h"
#include "vmm/accel/xlate/interp-ops.h"

#define OPCODE_GROUP5 0xffu
#define GROUP5_FAR_CALL 3u
#define GROUP5_FAR_JUMP 5u

static bool is_far_memory(const Insn *insn)
{
    unsigned reg = insn->modrm >> 3 & 7;
    return insn->opcode == OPCODE_GROUP5 && (reg == GROUP5_FAR_CALL || reg == GROUP5_FAR_JUMP);
}

/* m16:16, m16:32 or m16:64. */
static void read_far(Vcpu *vcpu, const Insn *insn, uint64_t *out_offset, uint16_t *out_selector)
{
    unsigned size = insn->operand_size;
    uint64_t linear = insn_linear(vcpu, insn, size + 2, false);
    *out_offset = mem_read(vcpu, linear, size);
    *out_selector = (uint16_t)mem_read(vcpu, linear + size, 2);
}

static uint64_t near_target(Vcpu *vcpu, const Insn *insn)
{
    if (insn->operand[0].kind == OPERAND_REL) {
        return vcpu->next_rip + (uint64_t)insn->imm;
    }
    return op_read(vcpu, insn, 0);
}

void op_jmp(Vcpu *vcpu, const Insn *insn)
{
    if (insn->operand[0].kind == OPERAND_FAR) {
        far_jump(vcpu, (uint16_t)insn->imm2, (uint64_t)insn->imm, insn->operand_size);
    } else if (is_far_memory(insn)) {
        uint64_t offset;
        uint16_t selector;
        read_far(vcpu, insn, &offset, &selector);
        far_jump(vcpu, selector, offset, insn->operand_size);
    } else {
        branch_to(vcpu, near_target(vcpu, insn), insn->operand_size);
    }
}

void op_call(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    if (insn->operand[0].kind == OPERAND_FAR) {
        far_call(vcpu, (uint16_t)insn->imm2, (uint64_t)insn->imm, size);
    } else if (is_far_memory(insn)) {
        uint64_t offset;
        uint16_t selector;
        read_far(vcpu, insn, &offset, &selector);
        far_call(vcpu, selector, offset, size);
    } else {
        uint64_t behind = vcpu->next_rip, target = near_target(vcpu, insn);
        /* The stack's faults come first; the pointer moves last. */
        stack_poke(vcpu, size, behind, size);
        branch_to(vcpu, target, size);
        stack_set(vcpu, vcpu->gpr[CPU_RSP] - size);
    }
}

void op_ret(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    unsigned release = insn->operand_count ? (unsigned)insn->imm & 0xffff : 0;
    if (insn->opcode == 0xca || insn->opcode == 0xcb) {
        far_return(vcpu, size, release);
        return;
    }
    branch_to(vcpu, stack_peek(vcpu, 0, size), size);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] + size + release);
}

void op_jcc(Vcpu *vcpu, const Insn *insn)
{
    if (condition(vcpu->rflags, insn->opcode & 15)) {
        branch_to(vcpu, vcpu->next_rip + (uint64_t)insn->imm, insn->operand_size);
    }
}

/* @wanted: 1 or 0 of ZF, -1: any. */
static void loop(Vcpu *vcpu, const Insn *insn, int wanted)
{
    unsigned size = insn->address_size;
    uint64_t count = (gpr_read(vcpu, CPU_RCX, size) - 1) & size_mask(size);
    bool zero = vcpu->rflags & FLAG_ZF;
    if (count != 0 && (wanted < 0 || zero == (bool)wanted)) {
        branch_to(vcpu, vcpu->next_rip + (uint64_t)insn->imm, insn->operand_size);
    }
    gpr_write(vcpu, CPU_RCX, count, size);
}

void op_loop(Vcpu *vcpu, const Insn *insn)
{
    loop(vcpu, insn, -1);
}

void op_loope(Vcpu *vcpu, const Insn *insn)
{
    loop(vcpu, insn, 1);
}

void op_loopne(Vcpu *vcpu, const Insn *insn)
{
    loop(vcpu, insn, 0);
}

void op_jcxz(Vcpu *vcpu, const Insn *insn)
{
    if (gpr_read(vcpu, CPU_RCX, insn->address_size) == 0) {
        branch_to(vcpu, vcpu->next_rip + (uint64_t)insn->imm, insn->operand_size);
    }
}

void op_bound(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    uint64_t linear =
        segment_linear_any(vcpu, insn->mem.segment, insn_ea(vcpu, insn), size * 2, false);
    if (vcpu->mode & MODE_ALIGN) {
        segment_check_alignment(vcpu, linear, size); /* of each half */
    }
    int64_t index = (int64_t)sign_extend(reg_read(vcpu, &insn->operand[0]), size);
    int64_t low = (int64_t)sign_extend(mem_read(vcpu, linear, size), size);
    if (index < low) { /* found before a fault of the other half */
        raise_exception(vcpu, EXCEPTION_BR);
    }
    int64_t high = (int64_t)sign_extend(mem_read(vcpu, linear + size, size), size);
    if (index > high) {
        raise_exception(vcpu, EXCEPTION_BR);
    }
}

void op_int(Vcpu *vcpu, const Insn *insn)
{
    software_interrupt(vcpu, (uint8_t)insn->imm, EVENT_SOFTWARE, vcpu->next_rip);
}

void op_int3(Vcpu *vcpu, const Insn *insn)
{
    software_interrupt(vcpu, EXCEPTION_BP, EVENT_SOFTWARE, vcpu->next_rip);
}

void op_into(Vcpu *vcpu, const Insn *insn)
{
    if (vcpu->rflags & FLAG_OF) {
        software_interrupt(vcpu, EXCEPTION_OF, EVENT_SOFTWARE, vcpu->next_rip);
    }
}

void op_icebp(Vcpu *vcpu, const Insn *insn)
{
    software_interrupt(vcpu, EXCEPTION_DB, EVENT_ICEBP, vcpu->next_rip);
}

void op_iret(Vcpu *vcpu, const Insn *insn)
{
    interrupt_return(vcpu, insn->operand_size);
}

static void load_far_pointer(Vcpu *vcpu, const Insn *insn, unsigned reg)
{
    uint64_t offset;
    uint16_t selector;
    read_far(vcpu, insn, &offset, &selector);
    segment_load(vcpu, reg, selector);
    reg_write(vcpu, &insn->operand[0], offset);
    vcpu->interrupt_shadow = reg == CPU_SS ? SHADOW_SS : 0;
}

void op_lds(Vcpu *vcpu, const Insn *insn)
{
    load_far_pointer(vcpu, insn, CPU_DS);
}

void op_les(Vcpu *vcpu, const Insn *insn)
{
    load_far_pointer(vcpu, insn, CPU_ES);
}

void op_lss(Vcpu *vcpu, const Insn *insn)
{
    load_far_pointer(vcpu, insn, CPU_SS);
}

void op_lfs(Vcpu *vcpu, const Insn *insn)
{
    load_far_pointer(vcpu, insn, CPU_FS);
}

void op_lgs(Vcpu *vcpu, const Insn *insn)
{
    load_far_pointer(vcpu, insn, CPU_GS);
}
