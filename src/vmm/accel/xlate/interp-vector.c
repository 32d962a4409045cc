/* Vector instructions whose memory accesses depend on their registers: masked moves and gathers;
 * and those without operands. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/interp-ops.h"

#include <string.h>

#define YMM_BYTES 32u

static void read_vector(Vcpu *vcpu, unsigned reg, uint8_t out[YMM_BYTES])
{
    memcpy(out, xmm_at(vcpu, reg), 16);
    memcpy(out + 16, ymm_high_at(vcpu, reg), 16);
}

/* @size 16 clears the upper half, as VEX-coded instructions do. */
static void write_vector(Vcpu *vcpu, unsigned reg, uint8_t value[YMM_BYTES], unsigned size)
{
    if (size == 16) {
        memset(value + 16, 0, 16);
    }
    memcpy(xmm_at(vcpu, reg), value, 16);
    memcpy(ymm_high_at(vcpu, reg), value + 16, 16);
}

static bool mask_bit(const uint8_t *mask, unsigned element, unsigned size)
{
    return mask[(element + 1) * size - 1] >> 7;
}

static unsigned element_size(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
        return 8;
    default:
        return 4;
    }
}

/* Masked moves need no alignment, not even under MODE_ALIGN; gathers do. */
static uint64_t masked_linear(Vcpu *vcpu, const Insn *insn, uint64_t ea, unsigned size, bool write)
{
    return segment_linear_any(vcpu, insn->mem.segment, ea & size_mask(insn->address_size), size,
                              write);
}

static uint64_t element_linear(Vcpu *vcpu, const Insn *insn, uint64_t ea, unsigned size, bool write)
{
    return segment_linear(vcpu, insn->mem.segment, ea & size_mask(insn->address_size), size, write);
}

void op_vmaskmov(Vcpu *vcpu, const Insn *insn)
{
    uint8_t mask[YMM_BYTES], value[YMM_BYTES] = { 0 };
    bool is_store = insn->operand[0].kind == OPERAND_MEM;
    unsigned bytes = insn->operand[is_store ? 2 : 0].size, size = element_size(insn);
    fpu_check(vcpu, insn);
    uint64_t ea = insn_ea(vcpu, insn);
    read_vector(vcpu, insn->operand[1].reg, mask);
    if (is_store) {
        read_vector(vcpu, insn->operand[2].reg, value);
    }
    for (unsigned i = 0; i < bytes / size; i++) {
        if (!mask_bit(mask, i, size)) {
            continue;
        }
        uint64_t linear = masked_linear(vcpu, insn, ea + i * size, size, is_store);
        if (is_store) {
            mem_probe_write(vcpu, linear, size);
        } else {
            mem_read_bytes(vcpu, linear, value + i * size, size);
        }
    }
    for (unsigned i = 0; is_store && i < bytes / size; i++) {
        if (mask_bit(mask, i, size)) {
            uint64_t linear = masked_linear(vcpu, insn, ea + i * size, size, true);
            mem_write_bytes(vcpu, linear, value + i * size, size);
        }
    }
    if (!is_store) {
        write_vector(vcpu, insn->operand[0].reg, value, bytes);
    }
}

/* The state area holds the x87 stack from its top down; MMX registers are those below it. */
static uint8_t *mmx_at(Vcpu *vcpu, unsigned reg)
{
    unsigned top = vcpu->xsave[XSAVE_FSW + 1] >> 3 & 7;
    return vcpu->xsave + XSAVE_ST + ((reg - top) & 7) * 16;
}

/* As each MMX instruction leaves it: top of stack 0, all registers in use. */
static void enter_mmx(Vcpu *vcpu)
{
    uint8_t registers[8][16];
    for (unsigned i = 0; i < 8; i++) {
        memcpy(registers[i], mmx_at(vcpu, i), 16);
    }
    memcpy(vcpu->xsave + XSAVE_ST, registers, sizeof(registers));
    vcpu->xsave[XSAVE_FTW] = 0xff;
    vcpu->xsave[XSAVE_FSW + 1] &= (uint8_t)~0x38;
}

/* MASKMOVQ, MASKMOVDQU: bytes to DS:rDI. */
void op_maskmov(Vcpu *vcpu, const Insn *insn)
{
    bool is_mmx = insn->kind & INSN_MMX;
    unsigned bytes = is_mmx ? 8 : 16, last = insn->operand_count - 1u;
    fpu_check(vcpu, insn);
    const uint8_t *value = is_mmx ? mmx_at(vcpu, insn->operand[last - 1].reg)
                                  : xmm_at(vcpu, insn->operand[last - 1].reg);
    const uint8_t *mask =
        is_mmx ? mmx_at(vcpu, insn->operand[last].reg) : xmm_at(vcpu, insn->operand[last].reg);
    /* The segment is checked even if the mask is empty. */
    segment_linear(vcpu, insn->segment, vcpu->gpr[CPU_RDI] & size_mask(insn->address_size), 1,
                   true);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < bytes; i++) {
            if (!(mask[i] >> 7)) {
                continue;
            }
            uint64_t offset = (vcpu->gpr[CPU_RDI] + i) & size_mask(insn->address_size);
            uint64_t linear = segment_linear(vcpu, insn->segment, offset, 1, true);
            if (pass == 0) {
                mem_probe_write(vcpu, linear, 1);
            } else {
                mem_write(vcpu, linear, value[i], 1);
            }
        }
    }
    if (is_mmx) {
        enter_mmx(vcpu);
    }
}

static bool has_qword_index(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
        return true;
    default:
        return false;
    }
}

static uint64_t gather_ea(Vcpu *vcpu, const Insn *insn, const uint8_t *index, unsigned element)
{
    int32_t narrow;
    int64_t wide;
    uint64_t ea = (uint64_t)insn->mem.disp;
    if (insn->mem.base < 16) {
        ea += vcpu->gpr[insn->mem.base];
    }
    if (has_qword_index(insn)) {
        memcpy(&wide, index + element * 8, 8);
    } else {
        memcpy(&narrow, index + element * 4, 4);
        wide = narrow;
    }
    return ea + ((uint64_t)wide << insn->mem.scale);
}

/* Elements done are recorded in destination and mask, so a fault in a later one restarts there. */
void op_gather(Vcpu *vcpu, const Insn *insn)
{
    uint8_t value[YMM_BYTES], mask[YMM_BYTES], index[YMM_BYTES];
    unsigned to = insn->operand[0].reg, with = insn->operand[2].reg, by = insn->mem.index;
    unsigned size = element_size(insn), index_size = has_qword_index(insn) ? 8 : 4;
    bool is_256 = insn->bytes[insn->rex_vex + 2] & 4;
    unsigned vector = is_256 ? 32 : 16;
    unsigned count = vector / (size > index_size ? size : index_size);
    fpu_check(vcpu, insn);
    if (to == with || to == by || with == by) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    read_vector(vcpu, to, value);
    read_vector(vcpu, with, mask);
    read_vector(vcpu, by, index);
    for (unsigned i = 0; i < count; i++) {
        if (!mask_bit(mask, i, size)) {
            continue;
        }
        uint64_t ea = gather_ea(vcpu, insn, index, i);
        uint64_t linear = element_linear(vcpu, insn, ea, size, false);
        mem_read_bytes(vcpu, linear, value + i * size, size);
        memset(mask + i * size, 0, size);
        memcpy(i * size < 16 ? xmm_at(vcpu, to) + i * size : ymm_high_at(vcpu, to) + i * size - 16,
               value + i * size, size);
        memcpy(i * size < 16 ? xmm_at(vcpu, with) + i * size
                             : ymm_high_at(vcpu, with) + i * size - 16,
               mask + i * size, size);
    }
    memset(value + count * size, 0, YMM_BYTES - count * size);
    memset(mask, 0, sizeof(mask));
    write_vector(vcpu, to, value, YMM_BYTES);
    write_vector(vcpu, with, mask, YMM_BYTES);
}

void op_vzero(Vcpu *vcpu, const Insn *insn)
{
    unsigned count = vcpu->mode & MODE_CS64 ? 16 : 8;
    fpu_check(vcpu, insn);
    memset(ymm_high_at(vcpu, 0), 0, count * 16);
    if (insn->mnemonic == ZYDIS_MNEMONIC_VZEROALL) {
        memset(xmm_at(vcpu, 0), 0, count * 16);
    }
}

void op_fwait(Vcpu *vcpu, const Insn *insn)
{
    fpu_check(vcpu, insn);
}
