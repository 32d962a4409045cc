/* Integer instructions: moves, addition, logic, exchange.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

#include <sched.h>

#define PAUSES_PER_YIELD 64

typedef enum AluOp { ALU_ADD, ALU_ADC, ALU_SUB, ALU_SBB, ALU_AND, ALU_OR, ALU_XOR } AluOp;

/* @a and @b are masked to @size; the result too. */
static inline uint64_t alu(AluOp op, uint64_t a, uint64_t b, bool carry, unsigned size,
                           uint64_t *out_flags)
{
    uint64_t mask = size_mask(size), result;
    bool carry_out = false;
    unsigned top = size * 8 - 1;
    uint64_t overflow = 0, half = 0;
    switch (op) {
    case ALU_ADD:
    case ALU_ADC:
        result = (a + b + carry) & mask;
        carry_out = carry ? result <= a : result < a;
        overflow = (a ^ result) & (b ^ result);
        half = a ^ b ^ result;
        break;
    case ALU_SUB:
    case ALU_SBB:
        result = (a - b - carry) & mask;
        carry_out = carry ? a <= b : a < b;
        overflow = (a ^ b) & (a ^ result);
        half = a ^ b ^ result;
        break;
    case ALU_AND:
        result = a & b;
        break;
    case ALU_OR:
        result = a | b;
        break;
    default:
        result = a ^ b;
        break;
    }
    *out_flags = result_flags(result, size) | (carry_out ? FLAG_CF : 0) | (half & FLAG_AF) |
                 (overflow >> top & 1 ? FLAG_OF : 0);
    return result;
}

static inline void binary(Vcpu *vcpu, const Insn *insn, AluOp op)
{
    unsigned size = insn->operand[0].size;
    uint64_t flags;
    bool carry = (op == ALU_ADC || op == ALU_SBB) && (vcpu->rflags & FLAG_CF);
    uint64_t b = op_read(vcpu, insn, 1) & size_mask(size), a, result;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    do {
        a = rmw_load(vcpu, &rmw);
        result = alu(op, a, b, carry, size, &flags);
    } while (!rmw_store(vcpu, &rmw, a, result));
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

static inline void compare(Vcpu *vcpu, const Insn *insn, AluOp op)
{
    unsigned size = insn->operand[0].size;
    uint64_t flags;
    uint64_t a = op_read(vcpu, insn, 0), b = op_read(vcpu, insn, 1) & size_mask(size);
    alu(op, a, b, false, size, &flags);
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

void op_add(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_ADD);
}

void op_adc(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_ADC);
}

void op_sub(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_SUB);
}

void op_sbb(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_SBB);
}

void op_and(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_AND);
}

void op_or(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_OR);
}

void op_xor(Vcpu *vcpu, const Insn *insn)
{
    binary(vcpu, insn, ALU_XOR);
}

void op_cmp(Vcpu *vcpu, const Insn *insn)
{
    compare(vcpu, insn, ALU_SUB);
}

void op_test(Vcpu *vcpu, const Insn *insn)
{
    compare(vcpu, insn, ALU_AND);
}

static inline void step_by_one(Vcpu *vcpu, const Insn *insn, AluOp op)
{
    unsigned size = insn->operand[0].size;
    uint64_t flags, a, result;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    do {
        a = rmw_load(vcpu, &rmw);
        result = alu(op, a, 1, false, size, &flags);
    } while (!rmw_store(vcpu, &rmw, a, result));
    set_flags(vcpu, FLAGS_ARITHMETIC & ~FLAG_CF, flags & ~(uint64_t)FLAG_CF);
}

void op_inc(Vcpu *vcpu, const Insn *insn)
{
    step_by_one(vcpu, insn, ALU_ADD);
}

void op_dec(Vcpu *vcpu, const Insn *insn)
{
    step_by_one(vcpu, insn, ALU_SUB);
}

void op_neg(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint64_t flags, a, result;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    do {
        a = rmw_load(vcpu, &rmw);
        result = alu(ALU_SUB, 0, a, false, size, &flags);
    } while (!rmw_store(vcpu, &rmw, a, result));
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

void op_not(Vcpu *vcpu, const Insn *insn)
{
    uint64_t a;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    do {
        a = rmw_load(vcpu, &rmw);
    } while (!rmw_store(vcpu, &rmw, a, ~a & size_mask(rmw.op->size)));
}

/* MOV with control and debug registers has its own handlers. */
void op_mov(Vcpu *vcpu, const Insn *insn)
{
    const InsnOperand *to = &insn->operand[0], *from = &insn->operand[1];
    if (unlikely(to->kind == OPERAND_SEGMENT)) {
        uint16_t selector = from->kind == OPERAND_MEM
                                ? (uint16_t)mem_read(vcpu, insn_linear(vcpu, insn, 2, false), 2)
                                : (uint16_t)vcpu->gpr[from->reg];
        if (to->reg == CPU_CS) {
            raise_exception(vcpu, EXCEPTION_UD);
        }
        segment_load(vcpu, to->reg, selector);
        vcpu->interrupt_shadow = to->reg == CPU_SS ? SHADOW_SS : 0;
    } else if (unlikely(from->kind == OPERAND_SEGMENT)) {
        uint64_t selector = vcpu->segment[from->reg].selector;
        if (to->kind == OPERAND_MEM) {
            mem_write(vcpu, insn_linear(vcpu, insn, 2, true), selector, 2);
        } else {
            gpr_write(vcpu, to->reg, selector, insn->operand_size);
        }
    } else {
        op_write(vcpu, insn, 0, op_read(vcpu, insn, 1));
    }
}

void op_movzx(Vcpu *vcpu, const Insn *insn)
{
    reg_write(vcpu, &insn->operand[0], op_read(vcpu, insn, 1));
}

void op_movsx(Vcpu *vcpu, const Insn *insn)
{
    reg_write(vcpu, &insn->operand[0], sign_extend(op_read(vcpu, insn, 1), insn->operand[1].size));
}

void op_lea(Vcpu *vcpu, const Insn *insn)
{
    reg_write(vcpu, &insn->operand[0], insn_ea(vcpu, insn));
}

void op_xchg(Vcpu *vcpu, const Insn *insn)
{
    /* The operand in memory comes first or second; exchanges with memory are always locked. */
    unsigned to = insn->operand[1].kind == OPERAND_MEM;
    const InsnOperand *reg = &insn->operand[!to];
    uint64_t value = reg_read(vcpu, reg), old;
    Rmw rmw = rmw_begin_op(vcpu, insn, to, true);
    do {
        old = rmw_load(vcpu, &rmw);
    } while (!rmw_store(vcpu, &rmw, old, value));
    reg_write(vcpu, reg, old);
}

void op_xadd(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint64_t add = reg_read(vcpu, &insn->operand[1]), old, result, flags;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    do {
        old = rmw_load(vcpu, &rmw);
        result = alu(ALU_ADD, old, add, false, size, &flags);
        if (rmw.op->kind == OPERAND_GPR) {
            reg_write(vcpu, &insn->operand[1], old);
        }
    } while (!rmw_store(vcpu, &rmw, old, result));
    if (rmw.op->kind != OPERAND_GPR) {
        reg_write(vcpu, &insn->operand[1], old);
    }
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

void op_cmpxchg(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint64_t accumulator = gpr_read(vcpu, CPU_RAX, size), value = reg_read(vcpu, &insn->operand[1]);
    uint64_t old, flags;
    Rmw rmw = rmw_begin(vcpu, insn, 0);
    bool is_register = rmw.op->kind == OPERAND_GPR;
    do {
        old = rmw_load(vcpu, &rmw);
        /* Memory is written in any case; a register keeps its upper half if it is not exchanged. */
    } while (!(is_register && old != accumulator) &&
             !rmw_store(vcpu, &rmw, old, old == accumulator ? value : old));
    alu(ALU_SUB, accumulator, old, false, size, &flags);
    if (old != accumulator) {
        gpr_write(vcpu, CPU_RAX, old, size);
    }
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

void op_bswap(Vcpu *vcpu, const Insn *insn)
{
    const InsnOperand *op = &insn->operand[0];
    uint64_t value = reg_read(vcpu, op);
    if (op->size == 8) {
        reg_write(vcpu, op, __builtin_bswap64(value));
    } else {
        /* With 16 bits the result is undefined; processors give zero. */
        reg_write(vcpu, op, op->size == 2 ? 0 : __builtin_bswap32((uint32_t)value));
    }
}

void op_cbw(Vcpu *vcpu, const Insn *insn)
{
    gpr_write(vcpu, CPU_RAX, sign_extend(vcpu->gpr[CPU_RAX], 1), 2);
}

void op_cwde(Vcpu *vcpu, const Insn *insn)
{
    gpr_write(vcpu, CPU_RAX, sign_extend(vcpu->gpr[CPU_RAX], 2), 4);
}

void op_cdqe(Vcpu *vcpu, const Insn *insn)
{
    gpr_write(vcpu, CPU_RAX, sign_extend(vcpu->gpr[CPU_RAX], 4), 8);
}

static void spread_sign(Vcpu *vcpu, unsigned size)
{
    bool negative = vcpu->gpr[CPU_RAX] >> (size * 8 - 1) & 1;
    gpr_write(vcpu, CPU_RDX, negative ? UINT64_MAX : 0, size);
}

void op_cwd(Vcpu *vcpu, const Insn *insn)
{
    spread_sign(vcpu, 2);
}

void op_cdq(Vcpu *vcpu, const Insn *insn)
{
    spread_sign(vcpu, 4);
}

void op_cqo(Vcpu *vcpu, const Insn *insn)
{
    spread_sign(vcpu, 8);
}

#define AH_FLAGS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)

void op_lahf(Vcpu *vcpu, const Insn *insn)
{
    uint64_t ah = (vcpu->rflags & AH_FLAGS) | FLAG_FIXED;
    vcpu->gpr[CPU_RAX] = (vcpu->gpr[CPU_RAX] & ~UINT64_C(0xff00)) | ah << 8;
}

void op_sahf(Vcpu *vcpu, const Insn *insn)
{
    set_flags(vcpu, AH_FLAGS, vcpu->gpr[CPU_RAX] >> 8 & AH_FLAGS);
}

void op_clc(Vcpu *vcpu, const Insn *insn)
{
    set_flags(vcpu, FLAG_CF, 0);
}

void op_stc(Vcpu *vcpu, const Insn *insn)
{
    set_flags(vcpu, FLAG_CF, FLAG_CF);
}

void op_cmc(Vcpu *vcpu, const Insn *insn)
{
    vcpu->rflags ^= FLAG_CF;
}

void op_cld(Vcpu *vcpu, const Insn *insn)
{
    set_flags(vcpu, FLAG_DF, 0);
}

void op_std(Vcpu *vcpu, const Insn *insn)
{
    set_flags(vcpu, FLAG_DF, FLAG_DF);
}

void op_movbe(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint64_t value = op_read(vcpu, insn, 1);
    op_write(vcpu, insn, 0, __builtin_bswap64(value) >> (64 - size * 8));
}

/* A guest that waits for another vCPU must not keep the processor from it for long. */
void op_pause(Vcpu *vcpu, const Insn *insn)
{
    __builtin_ia32_pause();
    if (++vcpu->pauses % PAUSES_PER_YIELD == 0) {
        sched_yield();
    }
}

void op_nop(Vcpu *vcpu, const Insn *insn)
{
}

void op_ud(Vcpu *vcpu, const Insn *insn)
{
    raise_exception(vcpu, EXCEPTION_UD);
}

void op_xlat(Vcpu *vcpu, const Insn *insn)
{
    uint64_t offset =
        (vcpu->gpr[CPU_RBX] + (vcpu->gpr[CPU_RAX] & 0xff)) & size_mask(insn->address_size);
    uint64_t value = mem_read(vcpu, segment_linear(vcpu, insn->segment, offset, 1, false), 1);
    gpr_write(vcpu, CPU_RAX, value, 1);
}

void op_salc(Vcpu *vcpu, const Insn *insn)
{
    gpr_write(vcpu, CPU_RAX, vcpu->rflags & FLAG_CF ? 0xff : 0, 1);
}

void op_setcc(Vcpu *vcpu, const Insn *insn)
{
    op_write(vcpu, insn, 0, condition(vcpu->rflags, insn->opcode & 15));
}

void op_cmovcc(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value = op_read(vcpu, insn, 1);
    if (!condition(vcpu->rflags, insn->opcode & 15)) {
        value = reg_read(vcpu, &insn->operand[0]);
    }
    reg_write(vcpu, &insn->operand[0], value);
}
