/* Encoder of host instructions (x86-64), for the translator.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/emit.h"

#include <string.h>

#define PREFIX_GS 0x65
#define PREFIX_16 0x66

void emit_bytes(Emit *e, const void *bytes, unsigned count)
{
    if ((size_t)(e->end - e->at) < count) {
        e->full = true;
        return;
    }
    if (count) { /* @bytes may be NULL without any */
        memcpy(e->at, bytes, count);
        e->at += count;
    }
}

void emit_byte(Emit *e, uint8_t byte)
{
    emit_bytes(e, &byte, 1);
}

void emit_u32(Emit *e, uint32_t value)
{
    emit_bytes(e, &value, sizeof(value));
}

void emit_u64(Emit *e, uint64_t value)
{
    emit_bytes(e, &value, sizeof(value));
}

/* REX.R, .X and .B of an instruction, in bits 2, 1, 0. */
static uint8_t extension_bits(const HostInsn *insn)
{
    uint8_t bits = 0;
    if (insn->reg & 8) {
        bits |= 4;
    }
    if (insn->rm.index != HOST_NONE && (insn->rm.index & 8)) {
        bits |= 2;
    }
    if (insn->rm.base != HOST_NONE && (insn->rm.base & 8)) {
        bits |= 1;
    }
    return bits;
}

static void emit_vex(Emit *e, const HostInsn *insn, uint8_t extension)
{
    uint8_t last = (uint8_t)((~insn->vvvv & 15) << 3 | insn->vex_l_pp);
    if (insn->map == 1 && !insn->rex_w && !(extension & 3)) {
        emit_byte(e, 0xc5);
        emit_byte(e, (uint8_t)((extension & 4 ? 0 : 0x80) | last));
        return;
    }
    emit_byte(e, 0xc4);
    emit_byte(e, (uint8_t)((~extension & 7) << 5 | insn->map));
    emit_byte(e, (uint8_t)((insn->rex_w ? 0x80 : 0) | last));
}

static void emit_memory(Emit *e, uint8_t reg_field, HostRm rm)
{
    bool has_index = rm.index != HOST_NONE;
    uint8_t sib = (uint8_t)(rm.scale << 6 | (has_index ? (rm.index & 7) << 3 : 4 << 3));
    if (rm.base == HOST_NONE) {
        emit_byte(e, (uint8_t)(reg_field | 4));
        emit_byte(e, (uint8_t)(sib | 5));
        emit_u32(e, (uint32_t)rm.disp);
        return;
    }
    uint8_t base = rm.base & 7;
    bool needs_sib = has_index || base == 4;
    uint8_t mod = rm.disp == 0 && base != 5 ? 0 : rm.disp == (int8_t)rm.disp ? 0x40 : 0x80;
    emit_byte(e, (uint8_t)(mod | reg_field | (needs_sib ? 4 : base)));
    if (needs_sib) {
        emit_byte(e, (uint8_t)(sib | base));
    }
    if (mod == 0x40) {
        emit_byte(e, (uint8_t)rm.disp);
    } else if (mod == 0x80) {
        emit_u32(e, (uint32_t)rm.disp);
    }
}

void emit_insn(Emit *e, const HostInsn *insn)
{
    static const uint8_t escape[4][2] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };
    static const uint8_t escape_size[4] = { 0, 1, 2, 2 };
    uint8_t extension = insn->has_modrm || insn->in_opcode ? extension_bits(insn) : 0;
    uint8_t opcode = insn->opcode;
    if (insn->rm.kind == RM_STATE) {
        emit_byte(e, PREFIX_GS);
    }
    emit_bytes(e, insn->prefix, insn->prefix_count);
    if (insn->vex) {
        emit_vex(e, insn, extension);
    } else {
        if (extension || insn->rex_w || insn->needs_rex) {
            emit_byte(e, (uint8_t)(0x40 | (insn->rex_w ? 8 : 0) | extension));
        }
        emit_bytes(e, escape[insn->map], escape_size[insn->map]);
    }
    if (insn->in_opcode) {
        opcode = (uint8_t)((opcode & ~7) | (insn->rm.base & 7));
    }
    emit_byte(e, opcode);
    if (insn->has_modrm) {
        uint8_t reg_field = (uint8_t)((insn->reg & 7) << 3);
        if (insn->rm.kind == RM_REG) {
            emit_byte(e, (uint8_t)(0xc0 | reg_field | (insn->rm.base & 7)));
        } else {
            emit_memory(e, reg_field, insn->rm);
        }
    }
    emit_bytes(e, insn->imm, insn->imm_size);
}

static void emit_sized(Emit *e, unsigned map, uint8_t opcode, unsigned size, unsigned reg,
                       HostRm rm, const uint8_t *imm, unsigned imm_size)
{
    HostInsn insn = { .map = (uint8_t)map,
                      .opcode = size == 1 ? opcode & ~1 : opcode,
                      .has_modrm = true,
                      .reg = (uint8_t)reg,
                      .rm = rm,
                      .rex_w = size == 8,
                      .needs_rex = size == 1 &&
                                   ((reg >= 4 && reg < 8) || (rm.kind == RM_REG && rm.base >= 4)),
                      .imm = imm,
                      .imm_size = (uint8_t)imm_size };
    if (size == 2) {
        insn.prefix[insn.prefix_count++] = PREFIX_16;
    }
    emit_insn(e, &insn);
}

void emit_op(Emit *e, uint8_t opcode, unsigned size, unsigned reg, HostRm rm)
{
    emit_sized(e, 0, opcode, size, reg, rm, NULL, 0);
}

void emit_op_0f(Emit *e, uint8_t opcode, unsigned size, unsigned reg, HostRm rm)
{
    emit_sized(e, 1, opcode, size, reg, rm, NULL, 0);
}

void emit_store_imm(Emit *e, unsigned size, HostRm to, int32_t imm)
{
    uint8_t bytes[4];
    memcpy(bytes, &imm, 4);
    emit_sized(e, 0, 0xc7, size, 0, to, bytes, size < 4 ? size : 4);
}

void emit_mov_imm64(Emit *e, unsigned reg, uint64_t value)
{
    HostInsn insn = { .opcode = 0xb8, .in_opcode = true, .rm = rm_reg(reg) };
    if ((uint64_t)(int64_t)(int32_t)value == value && (int32_t)value < 0) {
        emit_store_imm(e, 8, rm_reg(reg), (int32_t)value);
        return;
    }
    insn.rex_w = value > UINT32_MAX;
    insn.imm = (const uint8_t *)&value;
    insn.imm_size = insn.rex_w ? 8 : 4;
    emit_insn(e, &insn);
}

void emit_lea(Emit *e, unsigned size, unsigned reg, HostRm from)
{
    emit_op(e, 0x8d, size, reg, from);
}

void emit_alu_imm(Emit *e, unsigned op, unsigned size, HostRm rm, int32_t imm)
{
    uint8_t bytes[4];
    memcpy(bytes, &imm, 4);
    if (size > 1 && imm == (int8_t)imm) {
        emit_sized(e, 0, 0x83, size, op, rm, bytes, 1);
    } else {
        emit_sized(e, 0, 0x81, size, op, rm, bytes, size < 4 ? size : 4);
    }
}

void emit_shift_right(Emit *e, unsigned reg, unsigned count)
{
    uint8_t imm = (uint8_t)count;
    emit_sized(e, 0, 0xc1, 8, 5, rm_reg(reg), &imm, 1);
}

void emit_not(Emit *e, unsigned reg)
{
    emit_op(e, 0xf7, 8, 2, rm_reg(reg));
}

void emit_pext(Emit *e, unsigned to, unsigned from, HostRm mask)
{
    HostInsn insn = { .vex = true,
                      .rex_w = true,
                      .map = 2,
                      .opcode = 0xf5,
                      .vex_l_pp = 2,
                      .has_modrm = true,
                      .reg = (uint8_t)to,
                      .vvvv = (uint8_t)from,
                      .rm = mask };
    emit_insn(e, &insn);
}

void emit_rorx(Emit *e, unsigned to, unsigned from, unsigned count)
{
    uint8_t imm = (uint8_t)count;
    HostInsn insn = { .vex = true,
                      .rex_w = true,
                      .map = 3,
                      .opcode = 0xf0,
                      .vex_l_pp = 3,
                      .has_modrm = true,
                      .reg = (uint8_t)to,
                      .rm = rm_reg(from),
                      .imm = &imm,
                      .imm_size = 1 };
    emit_insn(e, &insn);
}

/* NOPs until @bytes further is an address divisible by four. */
static void align(Emit *e, unsigned bytes)
{
    static const uint8_t nops[3][3] = { { 0x90 }, { 0x66, 0x90 }, { 0x66, 0x66, 0x90 } };
    unsigned short_by = -(unsigned)((uintptr_t)e->at + bytes) & 3;
    if (short_by) {
        emit_bytes(e, nops[short_by - 1], short_by);
    }
}

uint8_t *emit_jmp(Emit *e)
{
    emit_byte(e, 0xe9);
    emit_u32(e, 0);
    return e->at - 4;
}

uint8_t *emit_jcc(Emit *e, unsigned condition)
{
    emit_byte(e, 0x0f);
    emit_byte(e, (uint8_t)(0x80 | condition));
    emit_u32(e, 0);
    return e->at - 4;
}

uint8_t *emit_call(Emit *e)
{
    emit_byte(e, 0xe8);
    emit_u32(e, 0);
    return e->at - 4;
}

uint8_t *emit_jmp_aligned(Emit *e)
{
    align(e, 1);
    return emit_jmp(e);
}

uint8_t *emit_jcc_aligned(Emit *e, unsigned condition)
{
    align(e, 2);
    return emit_jcc(e, condition);
}

uint8_t *emit_jrcxz(Emit *e, unsigned size)
{
    if (size == 4) {
        emit_byte(e, 0x67);
    }
    emit_byte(e, 0xe3);
    emit_byte(e, 0);
    return e->at - 1;
}

void emit_jmp_state(Emit *e, HostRm target)
{
    emit_op(e, 0xff, 4, 4, target);
}

void emit_patch(Emit *e, uint8_t *site, const uint8_t *target)
{
    if (!e->full) {
        int32_t distance = (int32_t)(target - (site + 4));
        memcpy(site, &distance, sizeof(distance));
    }
}

void emit_patch8(Emit *e, uint8_t *site, const uint8_t *target)
{
    if (!e->full) {
        *site = (uint8_t)(target - (site + 1));
    }
}

void emit_jmp_to(Emit *e, const uint8_t *target)
{
    emit_patch(e, emit_jmp(e), target);
}

void emit_call_to(Emit *e, const uint8_t *target)
{
    emit_patch(e, emit_call(e), target);
}
