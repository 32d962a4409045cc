/* What the handlers of instructions share: operands, flags, the stack, read-modify-write.
 *
 * A handler runs with vcpu->rip at its instruction and vcpu->next_rip behind it; it may change
 * next_rip. Whatever may fault comes before the first change of registers and flags.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_INTERP_OPS_H
#define LODGE_VMM_ACCEL_XLATE_INTERP_OPS_H

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/decode.h"
#include "vmm/accel/xlate/exception.h"
#include "vmm/accel/xlate/segment.h"
#include "vmm/accel/xlate/softmmu.h"

typedef void InterpFunc(Vcpu *vcpu, const Insn *insn);

/* Handlers by group; see interp-table.c. */
InterpFunc op_add, op_adc, op_sub, op_sbb, op_cmp, op_and, op_or, op_xor, op_test, op_inc, op_dec,
    op_neg, op_not, op_mov, op_movzx, op_movsx, op_lea, op_xchg, op_xadd, op_cmpxchg, op_cmpxchg8b,
    op_cmpxchg16b, op_bswap, op_cbw, op_cwde, op_cdqe, op_cwd, op_cdq, op_cqo, op_lahf, op_sahf,
    op_clc, op_stc, op_cmc, op_cld, op_std, op_movbe, op_nop, op_xlat, op_salc, op_setcc, op_cmovcc,
    op_pause, op_ud;
InterpFunc op_shl, op_shr, op_sar, op_rol, op_ror, op_rcl, op_rcr, op_shld, op_shrd, op_bt, op_bts,
    op_btr, op_btc, op_bsf, op_bsr, op_tzcnt, op_lzcnt, op_popcnt;
InterpFunc op_mul, op_imul, op_div, op_idiv, op_aaa, op_aas, op_aam, op_aad, op_daa, op_das;
InterpFunc op_push, op_pop, op_pusha, op_popa, op_pushf, op_popf, op_enter, op_leave;
InterpFunc op_jmp, op_call, op_ret, op_jcc, op_loop, op_loope, op_loopne, op_jcxz, op_bound, op_int,
    op_int3, op_into, op_icebp, op_iret, op_lds, op_les, op_lss, op_lfs, op_lgs;
InterpFunc op_movs, op_stos, op_lods, op_cmps, op_scas, op_ins, op_outs, op_in, op_out;
InterpFunc op_mov_cr, op_mov_dr, op_cli, op_sti, op_hlt, op_clts, op_lmsw, op_smsw, op_lgdt,
    op_lidt, op_sgdt, op_sidt, op_lldt, op_ltr, op_sldt, op_str, op_verr, op_verw, op_lar, op_lsl,
    op_arpl, op_invlpg, op_invpcid, op_wbinvd, op_cpuid, op_rdtsc, op_rdtscp, op_rdpid, op_rdpmc,
    op_rdmsr, op_wrmsr, op_syscall, op_sysret, op_sysenter, op_sysexit, op_swapgs, op_rdfsbase,
    op_rdgsbase, op_wrfsbase, op_wrgsbase, op_stac, op_clac, op_xgetbv, op_xsetbv, op_rdrand,
    op_rdseed, op_clflush;
InterpFunc op_fxsave, op_fxrstor, op_xsave, op_xsaveopt, op_xsavec, op_xrstor, op_ldmxcsr,
    op_stmxcsr;
InterpFunc op_native, op_vmaskmov, op_maskmov, op_gather, op_vzero, op_fwait;

/* The handler of a decoded instruction; never NULL. */
InterpFunc *interp_find(const Insn *insn);

static inline uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}

static inline uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - size * 8;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

static inline uint64_t reg_read(const Vcpu *vcpu, const InsnOperand *op)
{
    const void *at = (const uint8_t *)vcpu->gpr + op->offset;
    switch (op->size) {
    case 1:
        return *(const uint8_t *)at;
    case 2:
        return *(const uint16_t *)at;
    case 4:
        return *(const uint32_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}

/* Writes of 32 bits clear the upper half. */
static inline void reg_write(Vcpu *vcpu, const InsnOperand *op, uint64_t value)
{
    void *at = (uint8_t *)vcpu->gpr + op->offset;
    switch (op->size) {
    case 1:
        *(uint8_t *)at = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)at = (uint16_t)value;
        break;
    case 4:
        *(uint64_t *)at = (uint32_t)value;
        break;
    default:
        *(uint64_t *)at = value;
        break;
    }
}

/* The same by number, for implicit registers. */
static inline uint64_t gpr_read(const Vcpu *vcpu, unsigned reg, unsigned size)
{
    return vcpu->gpr[reg] & size_mask(size);
}

static inline void gpr_write(Vcpu *vcpu, unsigned reg, uint64_t value, unsigned size)
{
    InsnOperand op = { .offset = (uint8_t)(reg * 8), .size = (uint16_t)size };
    reg_write(vcpu, &op, value);
}

/* Offset of the memory operand in its segment. */
static inline uint64_t insn_ea(const Vcpu *vcpu, const Insn *insn)
{
    const InsnMemory *mem = &insn->mem;
    uint64_t ea = (uint64_t)mem->disp;
    if (mem->base < 16) {
        ea += vcpu->gpr[mem->base];
    } else if (mem->base == INSN_REG_RIP) {
        ea += vcpu->rip + insn->length;
    }
    if (mem->index < 16) {
        ea += vcpu->gpr[mem->index] << mem->scale;
    }
    return ea & size_mask(insn->address_size);
}

static inline uint64_t insn_linear(Vcpu *vcpu, const Insn *insn, unsigned size, bool is_write)
{
    return segment_linear(vcpu, insn->mem.segment, insn_ea(vcpu, insn), size, is_write);
}

/* Value of operand @i, zero-extended from its size; immediates sign-extended. */
static inline uint64_t op_read(Vcpu *vcpu, const Insn *insn, unsigned i)
{
    const InsnOperand *op = &insn->operand[i];
    switch (op->kind) {
    case OPERAND_GPR:
        return reg_read(vcpu, op);
    case OPERAND_MEM:
        return mem_read(vcpu, insn_linear(vcpu, insn, op->size, false), op->size);
    default:
        return (uint64_t)(op->reg ? insn->imm2 : insn->imm);
    }
}

/* As mem_read(), where the same bytes are written next: a fault is that of a write. */
static inline uint64_t mem_read_for_write(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if (unlikely(vcpu->tlb[t % TLB_ENTRIES].write != t || (linear & 0xfff) + size > 0x1000)) {
        mem_probe_write(vcpu, linear, size);
    }
    return mem_read(vcpu, linear, size);
}

static inline uint64_t op_read_for_write(Vcpu *vcpu, const Insn *insn, unsigned i)
{
    const InsnOperand *op = &insn->operand[i];
    if (op->kind == OPERAND_GPR) {
        return reg_read(vcpu, op);
    }
    return mem_read_for_write(vcpu, insn_linear(vcpu, insn, op->size, true), op->size);
}

static inline void op_write(Vcpu *vcpu, const Insn *insn, unsigned i, uint64_t value)
{
    const InsnOperand *op = &insn->operand[i];
    if (op->kind == OPERAND_GPR) {
        reg_write(vcpu, op, value);
    } else {
        mem_write(vcpu, insn_linear(vcpu, insn, op->size, true), value, op->size);
    }
}

static inline void set_flags(Vcpu *vcpu, uint64_t mask, uint64_t flags)
{
    vcpu->rflags = (vcpu->rflags & ~mask) | flags;
}

/* SF, ZF and PF of a result that is masked to @size. */
static inline uint64_t result_flags(uint64_t result, unsigned size)
{
    return (result == 0 ? FLAG_ZF : 0) | (result >> (size * 8 - 1) ? FLAG_SF : 0) |
           (__builtin_parity((unsigned)result & 0xff) ? 0 : FLAG_PF);
}

/* Condition code 0-15, as in the low bits of Jcc's opcode. */
static inline bool condition(uint64_t flags, unsigned code)
{
    bool is_true;
    switch (code >> 1) {
    case 0:
        is_true = flags & FLAG_OF;
        break;
    case 1:
        is_true = flags & FLAG_CF;
        break;
    case 2:
        is_true = flags & FLAG_ZF;
        break;
    case 3:
        is_true = flags & (FLAG_CF | FLAG_ZF);
        break;
    case 4:
        is_true = flags & FLAG_SF;
        break;
    case 5:
        is_true = flags & FLAG_PF;
        break;
    case 6:
        is_true = !(flags & FLAG_SF) != !(flags & FLAG_OF);
        break;
    default:
        is_true = (flags & FLAG_ZF) || !(flags & FLAG_SF) != !(flags & FLAG_OF);
        break;
    }
    return is_true != (code & 1);
}

/* A memory operand or register that is read, changed and written; atomically with LOCK. */
typedef struct Rmw {
    const InsnOperand *op;
    uint64_t linear;
    void *host; /* locked: where to exchange; NULL: by mem_read() and mem_write() */
    bool locked;
    bool exclusive; /* a section is held */
} Rmw;

void rmw_begin_locked(Vcpu *vcpu, Rmw *rmw);
bool rmw_store_locked(Vcpu *vcpu, Rmw *rmw, uint64_t old, uint64_t value);

static inline Rmw rmw_begin_op(Vcpu *vcpu, const Insn *insn, unsigned i, bool locked)
{
    Rmw rmw = { .op = &insn->operand[i] };
    if (rmw.op->kind == OPERAND_MEM) {
        rmw.linear = insn_linear(vcpu, insn, rmw.op->size, true);
        if (unlikely(locked)) {
            rmw.locked = true;
            rmw_begin_locked(vcpu, &rmw);
        }
    }
    return rmw;
}

static inline Rmw rmw_begin(Vcpu *vcpu, const Insn *insn, unsigned i)
{
    return rmw_begin_op(vcpu, insn, i, insn->prefixes & INSN_LOCK);
}

uint64_t rmw_load_locked(Vcpu *vcpu, const Rmw *rmw);

static inline uint64_t rmw_load(Vcpu *vcpu, const Rmw *rmw)
{
    if (rmw->op->kind == OPERAND_GPR) {
        return reg_read(vcpu, rmw->op);
    }
    if (unlikely(rmw->locked)) {
        return rmw_load_locked(vcpu, rmw);
    }
    return mem_read_for_write(vcpu, rmw->linear, rmw->op->size);
}

/* False: another processor was faster; load again. */
static inline bool rmw_store(Vcpu *vcpu, Rmw *rmw, uint64_t old, uint64_t value)
{
    if (rmw->op->kind == OPERAND_GPR) {
        reg_write(vcpu, rmw->op, value);
        return true;
    }
    if (unlikely(rmw->locked)) {
        return rmw_store_locked(vcpu, rmw, old, value);
    }
    mem_write(vcpu, rmw->linear, value, rmw->op->size);
    return true;
}

/* Bits of the stack pointer that count. */
static inline uint64_t stack_mask(const Vcpu *vcpu)
{
    return vcpu->mode & MODE_CS64   ? UINT64_MAX
           : vcpu->mode & MODE_SS32 ? UINT64_C(0xffffffff)
                                    : UINT64_C(0xffff);
}

static inline void stack_set(Vcpu *vcpu, uint64_t sp)
{
    uint64_t mask = stack_mask(vcpu);
    vcpu->gpr[CPU_RSP] = (mask == 0xffff ? vcpu->gpr[CPU_RSP] & ~mask : 0) | (sp & mask);
}

/* Writes @value @depth bytes below the stack pointer, which stays. */
static inline void stack_poke(Vcpu *vcpu, uint64_t depth, uint64_t value, unsigned size)
{
    uint64_t offset = (vcpu->gpr[CPU_RSP] - depth) & stack_mask(vcpu);
    mem_write(vcpu, segment_linear(vcpu, CPU_SS, offset, size, true), value, size);
}

static inline uint64_t stack_peek(Vcpu *vcpu, uint64_t above, unsigned size)
{
    uint64_t offset = (vcpu->gpr[CPU_RSP] + above) & stack_mask(vcpu);
    return mem_read(vcpu, segment_linear(vcpu, CPU_SS, offset, size, false), size);
}

static inline void push_value(Vcpu *vcpu, uint64_t value, unsigned size)
{
    stack_poke(vcpu, size, value, size);
    stack_set(vcpu, vcpu->gpr[CPU_RSP] - size);
}

/* Near branch; raises #GP for a target outside the code segment. */
static inline void branch_to(Vcpu *vcpu, uint64_t target, unsigned size)
{
    target &= size_mask(size);
    if (vcpu->mode & MODE_CS64) {
        if (unlikely(!is_canonical(target))) {
            raise_error(vcpu, EXCEPTION_GP, 0);
        }
    } else if (unlikely(target > vcpu->segment[CPU_CS].limit)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    vcpu->next_rip = target;
}

static inline void require_cpl0(Vcpu *vcpu)
{
    if (cpu_cpl(vcpu) != 0) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

#endif
