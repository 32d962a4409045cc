/* Encoder of host instructions (x86-64), for the translator. Leaves out what the translator does
 * not emit. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_EMIT_H
#define LODGE_VMM_ACCEL_XLATE_EMIT_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define HOST_RAX 0
#define HOST_RCX 1
#define HOST_RDX 2
#define HOST_RBX 3
#define HOST_RSP 4
#define HOST_RBP 5
#define HOST_RSI 6
#define HOST_RDI 7
#define HOST_NONE 0xff

/* Where code is written. Positions are kept in the writable mapping; code is executed through
 * another, so everything emitted is relative. */
typedef struct Emit {
    uint8_t *at;  /* next byte */
    uint8_t *end; /* nothing is written from here on */
    bool full;    /* something did not fit: what was emitted is of no use */
} Emit;

typedef enum HostRmKind { RM_REG, RM_STATE, RM_MEM } HostRmKind;

/* What a ModRM byte can name. */
typedef struct HostRm {
    uint8_t kind;  /* HostRmKind */
    uint8_t base;  /* the register itself for RM_REG; HOST_NONE for RM_STATE */
    uint8_t index; /* or HOST_NONE */
    uint8_t scale; /* shift: 0-3 */
    int32_t disp;  /* RM_STATE: offset in Vcpu */
} HostRm;

static inline HostRm rm_reg(unsigned reg)
{
    return (HostRm){ .kind = RM_REG, .base = (uint8_t)reg, .index = HOST_NONE };
}

/* gs:[offset] */
static inline HostRm rm_state(size_t offset)
{
    return (
        HostRm){ .kind = RM_STATE, .base = HOST_NONE, .index = HOST_NONE, .disp = (int32_t)offset };
}

/* gs:[offset + index * 8] */
static inline HostRm rm_table(size_t offset, unsigned index)
{
    return (HostRm){ .kind = RM_STATE,
                     .base = HOST_NONE,
                     .index = (uint8_t)index,
                     .scale = 3,
                     .disp = (int32_t)offset };
}

static inline HostRm rm_mem(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (HostRm){ .kind = RM_MEM,
                     .base = (uint8_t)base,
                     .index = (uint8_t)index,
                     .scale = (uint8_t)scale,
                     .disp = disp };
}

/* One instruction to encode. */
typedef struct HostInsn {
    uint8_t prefix[4]; /* LOCK, 66, F2, F3 */
    uint8_t prefix_count;
    bool rex_w;     /* REX.W or VEX.W */
    bool needs_rex; /* registers 4-7 mean SPL..DIL */
    bool vex;
    uint8_t map; /* 0: one-byte opcodes, 1: 0F, 2: 0F 38, 3: 0F 3A */
    uint8_t opcode;
    bool has_modrm; /* else @rm is a register in the opcode's low bits, if @in_opcode */
    bool in_opcode;
    uint8_t reg;      /* ModRM.reg, 0-15 */
    uint8_t vvvv;     /* VEX.vvvv, 0-15, not inverted */
    uint8_t vex_l_pp; /* bits 0-2 of the last VEX byte */
    HostRm rm;
    const uint8_t *imm;
    uint8_t imm_size;
} HostInsn;

void emit_insn(Emit *e, const HostInsn *insn);
void emit_byte(Emit *e, uint8_t byte);
void emit_bytes(Emit *e, const void *bytes, unsigned count);
void emit_u32(Emit *e, uint32_t value);
void emit_u64(Emit *e, uint64_t value);

/* @size: 1, 2, 4 or 8 bytes. @opcode: of the form for 4 bytes; the byte form is the one below. */
void emit_op(Emit *e, uint8_t opcode, unsigned size, unsigned reg, HostRm rm);
/* As emit_op() with two-byte opcodes (0F xx), without byte forms. */
void emit_op_0f(Emit *e, uint8_t opcode, unsigned size, unsigned reg, HostRm rm);

static inline void emit_load(Emit *e, unsigned size, unsigned reg, HostRm from)
{
    emit_op(e, 0x8b, size, reg, from);
}

static inline void emit_store(Emit *e, unsigned size, HostRm to, unsigned reg)
{
    emit_op(e, 0x89, size, reg, to);
}

/* mov to, sign-extended imm */
void emit_store_imm(Emit *e, unsigned size, HostRm to, int32_t imm);
/* Shortest form that leaves flags alone. */
void emit_mov_imm64(Emit *e, unsigned reg, uint64_t value);
void emit_lea(Emit *e, unsigned size, unsigned reg, HostRm from);

enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

/* reg op= rm */
static inline void emit_alu(Emit *e, unsigned op, unsigned size, unsigned reg, HostRm rm)
{
    emit_op(e, (uint8_t)(op << 3 | 3), size, reg, rm);
}

void emit_alu_imm(Emit *e, unsigned op, unsigned size, HostRm rm, int32_t imm);
void emit_shift_right(Emit *e, unsigned reg, unsigned count); /* 64 bits, logical */
void emit_not(Emit *e, unsigned reg);                         /* 64 bits; leaves flags alone */
/* BMI2; leave flags alone. */
void emit_pext(Emit *e, unsigned to, unsigned from, HostRm mask);
void emit_rorx(Emit *e, unsigned to, unsigned from, unsigned count);

/* Jumps return their 32-bit displacement, to be set by emit_patch(). */
uint8_t *emit_jmp(Emit *e);
uint8_t *emit_jcc(Emit *e, unsigned condition);
uint8_t *emit_call(Emit *e);
/* The same with the displacement at an address divisible by four, so that it can be changed while
 * other threads execute it. */
uint8_t *emit_jmp_aligned(Emit *e);
uint8_t *emit_jcc_aligned(Emit *e, unsigned condition);
/* Short jump if RCX (@size 8) or ECX (4) is zero; returns the 8-bit displacement. */
uint8_t *emit_jrcxz(Emit *e, unsigned size);
void emit_jmp_state(Emit *e, HostRm target);

/* @site: from one of the above; @target: position in the same mapping as @site. */
void emit_patch(Emit *e, uint8_t *site, const uint8_t *target);
void emit_patch8(Emit *e, uint8_t *site, const uint8_t *target);
void emit_jmp_to(Emit *e, const uint8_t *target);
void emit_call_to(Emit *e, const uint8_t *target);

#endif
