/* Shifts, rotations, bit tests and scans.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

typedef enum ShiftOp {
    SHIFT_SHL,
    SHIFT_SHR,
    SHIFT_SAR,
    SHIFT_ROL,
    SHIFT_ROR,
    SHIFT_RCL,
    SHIFT_RCR
} ShiftOp;

static inline bool bit(uint64_t value, unsigned n)
{
    return value >> n & 1;
}

/* 1 <= @count <= 63; flags that are undefined are given as processors leave them. */
static uint64_t shift_flags(uint64_t result, unsigned size, bool carry, bool overflow)
{
    return result_flags(result, size) | (carry ? FLAG_CF : 0) | (overflow ? FLAG_OF : 0);
}

static uint64_t shift(ShiftOp op, uint64_t a, unsigned count, unsigned size, uint64_t *flags)
{
    unsigned bits = size * 8;
    uint64_t mask = size_mask(size), result;
    bool carry;
    switch (op) {
    case SHIFT_SHL:
        result = count < 64 ? a << count & mask : 0;
        carry = count <= bits && bit(a, bits - count);
        *flags = shift_flags(result, size, carry, bit(result, bits - 1) != carry);
        return result;
    case SHIFT_SHR:
        result = a >> count;
        carry = bit(a, count - 1);
        *flags = shift_flags(result, size, carry, bit(a, bits - 1) && count == 1);
        return result;
    default: {
        int64_t wide = (int64_t)sign_extend(a, size);
        result = (uint64_t)(wide >> count) & mask;
        carry = bit((uint64_t)wide, count - 1);
        *flags = shift_flags(result, size, carry, false);
        return result;
    }
    }
}

/* @count is reduced already; @carry in and out. */
static uint64_t rotate(ShiftOp op, uint64_t a, unsigned count, unsigned size, bool *carry)
{
    unsigned bits = size * 8;
    uint64_t mask = size_mask(size);
    switch (op) {
    case SHIFT_ROL:
        count %= bits;
        a = count ? (a << count | a >> (bits - count)) & mask : a;
        *carry = a & 1;
        return a;
    case SHIFT_ROR:
        count %= bits;
        a = count ? (a >> count | a << (bits - count)) & mask : a;
        *carry = bit(a, bits - 1);
        return a;
    case SHIFT_RCL:
        for (; count > 0; count--) {
            bool out = bit(a, bits - 1);
            a = (a << 1 | *carry) & mask;
            *carry = out;
        }
        return a;
    default:
        for (; count > 0; count--) {
            bool out = a & 1;
            a = a >> 1 | (uint64_t)*carry << (bits - 1);
            *carry = out;
        }
        return a;
    }
}

static uint64_t rotate_overflow(ShiftOp op, uint64_t result, unsigned size, bool carry)
{
    unsigned top = size * 8 - 1;
    bool overflow = op == SHIFT_ROL || op == SHIFT_RCL ? bit(result, top) != carry
                                                       : bit(result, top) != bit(result, top - 1);
    return overflow ? FLAG_OF : 0;
}

static inline void do_shift(Vcpu *vcpu, const Insn *insn, ShiftOp op)
{
    unsigned size = insn->operand[0].size;
    unsigned count = op_read(vcpu, insn, 1) & (size == 8 ? 63 : 31);
    uint64_t a = op_read_for_write(vcpu, insn, 0), flags;
    if (count == 0) {
        /* A 32-bit register is still zero-extended. */
        op_write(vcpu, insn, 0, a);
        return;
    }
    uint64_t result = shift(op, a, count, size, &flags);
    op_write(vcpu, insn, 0, result);
    set_flags(vcpu, FLAGS_ARITHMETIC, flags);
}

static inline void do_rotate(Vcpu *vcpu, const Insn *insn, ShiftOp op)
{
    unsigned size = insn->operand[0].size;
    unsigned count = op_read(vcpu, insn, 1) & (size == 8 ? 63 : 31);
    uint64_t a = op_read_for_write(vcpu, insn, 0);
    bool carry = vcpu->rflags & FLAG_CF;
    if (op == SHIFT_RCL || op == SHIFT_RCR) {
        count = size < 4 ? count % (size * 8 + 1) : count;
    }
    if (count == 0) {
        op_write(vcpu, insn, 0, a);
        return;
    }
    uint64_t result = rotate(op, a, count, size, &carry);
    op_write(vcpu, insn, 0, result);
    set_flags(vcpu, FLAG_CF | FLAG_OF,
              (carry ? FLAG_CF : 0) | rotate_overflow(op, result, size, carry));
}

void op_shl(Vcpu *vcpu, const Insn *insn)
{
    do_shift(vcpu, insn, SHIFT_SHL);
}

void op_shr(Vcpu *vcpu, const Insn *insn)
{
    do_shift(vcpu, insn, SHIFT_SHR);
}

void op_sar(Vcpu *vcpu, const Insn *insn)
{
    do_shift(vcpu, insn, SHIFT_SAR);
}

void op_rol(Vcpu *vcpu, const Insn *insn)
{
    do_rotate(vcpu, insn, SHIFT_ROL);
}

void op_ror(Vcpu *vcpu, const Insn *insn)
{
    do_rotate(vcpu, insn, SHIFT_ROR);
}

void op_rcl(Vcpu *vcpu, const Insn *insn)
{
    do_rotate(vcpu, insn, SHIFT_RCL);
}

void op_rcr(Vcpu *vcpu, const Insn *insn)
{
    do_rotate(vcpu, insn, SHIFT_RCR);
}

static inline void double_shift(Vcpu *vcpu, const Insn *insn, bool left)
{
    unsigned size = insn->operand[0].size, bits = size * 8;
    unsigned count = op_read(vcpu, insn, 2) & (size == 8 ? 63 : 31);
    uint64_t a = op_read_for_write(vcpu, insn, 0), b = reg_read(vcpu, &insn->operand[1]);
    uint64_t mask = size_mask(size), result;
    bool carry;
    if (count == 0) {
        op_write(vcpu, insn, 0, a);
        return;
    }
    if (count > bits) {
        /* Undefined for 16 bits; as Intel processors do: the pair rotates on. */
        uint64_t wide = left ? a << 32 | b << 16 | a : b << 32 | a << 16 | b;
        wide = left ? wide : (a << 32 | b << 16 | a);
        result = left ? wide << count >> 32 & mask : wide >> count & mask;
        carry = left ? bit(wide, 48 - count) : bit(wide, count - 1);
    } else if (left) {
        result = (count < 64 ? a << count : 0) | (count ? b >> (bits - count) : 0);
        result &= mask;
        carry = bit(a, bits - count);
    } else {
        result = ((count < 64 ? a >> count : 0) | (count == bits ? b : b << (bits - count))) & mask;
        carry = bit(a, count - 1);
    }
    op_write(vcpu, insn, 0, result);
    set_flags(vcpu, FLAGS_ARITHMETIC,
              shift_flags(result, size, carry, bit(result, bits - 1) != bit(a, bits - 1)));
}

void op_shld(Vcpu *vcpu, const Insn *insn)
{
    double_shift(vcpu, insn, true);
}

void op_shrd(Vcpu *vcpu, const Insn *insn)
{
    double_shift(vcpu, insn, false);
}

typedef enum BitOp { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT } BitOp;

static uint64_t change_bit(BitOp op, uint64_t value, uint64_t mask)
{
    return op == BIT_SET ? value | mask : op == BIT_RESET ? value & ~mask : value ^ mask;
}

/* A bit offset in a register reaches beyond the operand in memory. */
static uint64_t bit_linear(Vcpu *vcpu, const Insn *insn, int64_t offset, bool is_write)
{
    unsigned size = insn->operand[0].size;
    uint64_t ea = insn_ea(vcpu, insn);
    if (insn->operand[1].kind == OPERAND_GPR) {
        offset = (int64_t)sign_extend((uint64_t)offset, size);
        ea += (uint64_t)((offset >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * (int64_t)size);
        ea &= size_mask(insn->address_size);
    }
    return segment_linear(vcpu, insn->mem.segment, ea, size, is_write);
}

static inline void bit_test(Vcpu *vcpu, const Insn *insn, BitOp op)
{
    unsigned size = insn->operand[0].size;
    uint64_t offset = op_read(vcpu, insn, 1), value;
    uint64_t mask = UINT64_C(1) << (offset & (size * 8 - 1));
    Rmw rmw = { .op = &insn->operand[0] };
    if (rmw.op->kind == OPERAND_MEM) {
        rmw.linear = bit_linear(vcpu, insn, (int64_t)offset, op != BIT_TEST);
        rmw.locked = insn->prefixes & INSN_LOCK;
        if (rmw.locked) {
            rmw_begin_locked(vcpu, &rmw);
        }
    }
    if (op == BIT_TEST && rmw.op->kind == OPERAND_MEM) {
        value = mem_read(vcpu, rmw.linear, size);
        set_flags(vcpu, FLAG_CF, value & mask ? FLAG_CF : 0);
        return;
    }
    do {
        value = rmw_load(vcpu, &rmw);
    } while (op != BIT_TEST && !rmw_store(vcpu, &rmw, value, change_bit(op, value, mask)));
    set_flags(vcpu, FLAG_CF, value & mask ? FLAG_CF : 0);
}

void op_bt(Vcpu *vcpu, const Insn *insn)
{
    bit_test(vcpu, insn, BIT_TEST);
}

void op_bts(Vcpu *vcpu, const Insn *insn)
{
    bit_test(vcpu, insn, BIT_SET);
}

void op_btr(Vcpu *vcpu, const Insn *insn)
{
    bit_test(vcpu, insn, BIT_RESET);
}

void op_btc(Vcpu *vcpu, const Insn *insn)
{
    bit_test(vcpu, insn, BIT_COMPLEMENT);
}

/* With zero the destination keeps its value, and only ZF is defined. */
static void scan(Vcpu *vcpu, const Insn *insn, bool forward)
{
    uint64_t value = op_read(vcpu, insn, 1);
    if (value == 0) {
        set_flags(vcpu, FLAGS_ARITHMETIC, FLAG_ZF | FLAG_PF);
        return;
    }
    uint64_t result = (uint64_t)(forward ? __builtin_ctzll(value) : 63 - __builtin_clzll(value));
    reg_write(vcpu, &insn->operand[0], result);
    set_flags(vcpu, FLAGS_ARITHMETIC, __builtin_parity((unsigned)result) ? 0 : FLAG_PF);
}

void op_bsf(Vcpu *vcpu, const Insn *insn)
{
    scan(vcpu, insn, true);
}

void op_bsr(Vcpu *vcpu, const Insn *insn)
{
    scan(vcpu, insn, false);
}

static void count_zeroes(Vcpu *vcpu, const Insn *insn, bool trailing)
{
    unsigned size = insn->operand[0].size;
    uint64_t value = op_read(vcpu, insn, 1), result = size * 8;
    if (value != 0) {
        result = (uint64_t)(trailing ? __builtin_ctzll(value)
                                     : __builtin_clzll(value) - (64 - (int)size * 8));
    }
    reg_write(vcpu, &insn->operand[0], result);
    set_flags(vcpu, FLAGS_ARITHMETIC, (value == 0 ? FLAG_CF : 0) | (result == 0 ? FLAG_ZF : 0));
}

void op_tzcnt(Vcpu *vcpu, const Insn *insn)
{
    count_zeroes(vcpu, insn, true);
}

void op_lzcnt(Vcpu *vcpu, const Insn *insn)
{
    count_zeroes(vcpu, insn, false);
}

void op_popcnt(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value = op_read(vcpu, insn, 1);
    reg_write(vcpu, &insn->operand[0], (uint64_t)__builtin_popcountll(value));
    set_flags(vcpu, FLAGS_ARITHMETIC, value == 0 ? FLAG_ZF : 0);
}
