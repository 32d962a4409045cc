/* Multiplication, division, decimal adjustment.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

/* AX, or rDX:rAX. */
static void write_wide(Vcpu *vcpu, unsigned size, uint64_t low, uint64_t high)
{
    if (size == 1) {
        gpr_write(vcpu, CPU_RAX, (low & 0xff) | (high & 0xff) << 8, 2);
    } else {
        gpr_write(vcpu, CPU_RAX, low, size);
        gpr_write(vcpu, CPU_RDX, high, size);
    }
}

/* SF, ZF, AF and PF are undefined after multiplications; they are given from the low half. */
static void multiply_flags(Vcpu *vcpu, uint64_t low, unsigned size, bool overflow)
{
    uint64_t flags = result_flags(low & size_mask(size), size) & ~(uint64_t)FLAG_ZF;
    set_flags(vcpu, FLAGS_ARITHMETIC, flags | (overflow ? FLAG_CF | FLAG_OF : 0));
}

void op_mul(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size, bits = size * 8;
    unsigned __int128 product =
        (unsigned __int128)gpr_read(vcpu, CPU_RAX, size) * op_read(vcpu, insn, 0);
    uint64_t low = (uint64_t)product & size_mask(size), high = (uint64_t)(product >> bits);
    write_wide(vcpu, size, low, high);
    multiply_flags(vcpu, low, size, high != 0);
}

static __int128 multiply_signed(uint64_t a, uint64_t b, unsigned size)
{
    return (__int128)(int64_t)sign_extend(a, size) * (int64_t)sign_extend(b, size);
}

void op_imul(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    __int128 product;
    if (insn->operand_count == 1) {
        product = multiply_signed(vcpu->gpr[CPU_RAX], op_read(vcpu, insn, 0), size);
        write_wide(vcpu, size, (uint64_t)product & size_mask(size),
                   (uint64_t)(product >> (size * 8)));
    } else {
        unsigned first = insn->operand_count == 2 ? 0 : 1;
        product = multiply_signed(op_read(vcpu, insn, first), op_read(vcpu, insn, first + 1), size);
        reg_write(vcpu, &insn->operand[0], (uint64_t)product);
    }
    bool overflow = product != (__int128)(int64_t)sign_extend((uint64_t)product, size);
    multiply_flags(vcpu, (uint64_t)product, size, overflow);
}

static unsigned __int128 dividend(const Vcpu *vcpu, unsigned size)
{
    if (size == 1) {
        return vcpu->gpr[CPU_RAX] & 0xffff;
    }
    return (unsigned __int128)gpr_read(vcpu, CPU_RDX, size) << (size * 8) |
           gpr_read(vcpu, CPU_RAX, size);
}

void op_div(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint64_t divisor = op_read(vcpu, insn, 0);
    unsigned __int128 n = dividend(vcpu, size);
    if (divisor == 0 || n >> (size * 8) >= divisor) {
        raise_exception(vcpu, EXCEPTION_DE);
    }
    write_wide(vcpu, size, (uint64_t)(n / divisor), (uint64_t)(n % divisor));
}

void op_idiv(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size, unused = 128 - size * 16;
    __int128 divisor = (int64_t)sign_extend(op_read(vcpu, insn, 0), size);
    __int128 n = (__int128)(dividend(vcpu, size) << unused) >> unused;
    __int128 lowest = -((__int128)1 << 126) * 2;
    if (divisor == 0 || (n == lowest && divisor == -1)) {
        raise_exception(vcpu, EXCEPTION_DE);
    }
    __int128 quotient = n / divisor;
    if (quotient != (__int128)(int64_t)sign_extend((uint64_t)quotient, size)) {
        raise_exception(vcpu, EXCEPTION_DE);
    }
    write_wide(vcpu, size, (uint64_t)quotient, (uint64_t)(n % divisor));
}

static void adjust_ascii(Vcpu *vcpu, int direction)
{
    uint64_t ax = vcpu->gpr[CPU_RAX] & 0xffff;
    bool adjust = (ax & 0xf) > 9 || (vcpu->rflags & FLAG_AF);
    if (adjust) {
        ax = direction > 0 ? ax + 0x106 : ax - 0x106;
    }
    gpr_write(vcpu, CPU_RAX, ax & 0xff0f, 2);
    set_flags(vcpu, FLAGS_ARITHMETIC, result_flags(ax & 0xf, 1) | (adjust ? FLAG_AF | FLAG_CF : 0));
}

void op_aaa(Vcpu *vcpu, const Insn *insn)
{
    adjust_ascii(vcpu, 1);
}

void op_aas(Vcpu *vcpu, const Insn *insn)
{
    adjust_ascii(vcpu, -1);
}

void op_aam(Vcpu *vcpu, const Insn *insn)
{
    uint64_t al = vcpu->gpr[CPU_RAX] & 0xff, base = (uint64_t)insn->imm & 0xff;
    if (base == 0) {
        raise_exception(vcpu, EXCEPTION_DE);
    }
    gpr_write(vcpu, CPU_RAX, al / base << 8 | al % base, 2);
    set_flags(vcpu, FLAGS_ARITHMETIC, result_flags(al % base, 1));
}

void op_aad(Vcpu *vcpu, const Insn *insn)
{
    uint64_t ax = vcpu->gpr[CPU_RAX], base = (uint64_t)insn->imm & 0xff;
    uint64_t al = ((ax & 0xff) + (ax >> 8 & 0xff) * base) & 0xff;
    gpr_write(vcpu, CPU_RAX, al, 2);
    set_flags(vcpu, FLAGS_ARITHMETIC, result_flags(al, 1));
}

static void adjust_decimal(Vcpu *vcpu, int direction)
{
    uint64_t old = vcpu->gpr[CPU_RAX] & 0xff, al = old, flags = 0;
    bool carry = vcpu->rflags & FLAG_CF;
    if ((al & 0xf) > 9 || (vcpu->rflags & FLAG_AF)) {
        uint64_t wide = direction > 0 ? al + 6 : al - 6;
        flags |= FLAG_AF | (carry || wide > 0xff ? FLAG_CF : 0);
        al = wide & 0xff;
    }
    if (old > 0x99 || carry) {
        al = (direction > 0 ? al + 0x60 : al - 0x60) & 0xff;
        flags |= FLAG_CF;
    } else if (direction > 0) {
        flags &= ~(uint64_t)FLAG_CF;
    }
    gpr_write(vcpu, CPU_RAX, al, 1);
    set_flags(vcpu, FLAGS_ARITHMETIC, flags | result_flags(al, 1));
}

void op_daa(Vcpu *vcpu, const Insn *insn)
{
    adjust_decimal(vcpu, 1);
}

void op_das(Vcpu *vcpu, const Insn *insn)
{
    adjust_decimal(vcpu, -1);
}
