/* Decoded instructions: a compact form of what Zydis finds out, made once and kept by the
 * interpreter and the translator. Leaves out what the guest CPU lacks (EVEX, XOP, 3DNow!, MPX and
 * CET forms, which decode as the NOPs they are on processors without them).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_DECODE_H
#define LODGE_VMM_ACCEL_XLATE_DECODE_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#define INSN_BYTES_MAX 15
#define INSN_OPERANDS_MAX 5

typedef enum InsnOperandKind {
    OPERAND_NONE,
    OPERAND_GPR,     /* @reg 0-15; AH, CH, DH, BH are reg 0-3 with @offset odd */
    OPERAND_MEM,     /* Insn.mem */
    OPERAND_IMM,     /* Insn.imm, extended to 64 bits as the instruction does; @reg 1: Insn.imm2 */
    OPERAND_REL,     /* Insn.imm, signed, relative to the next instruction */
    OPERAND_FAR,     /* ptr16:16/32: offset in Insn.imm, selector in Insn.imm2 */
    OPERAND_SEGMENT, /* @reg CPU_ES.. */
    OPERAND_CR,
    OPERAND_DR,
    OPERAND_VECTOR, /* xmm or ymm by @size */
    OPERAND_MMX,
    OPERAND_X87,
    OPERAND_OTHER, /* a register that only the handler of the instruction knows */
} InsnOperandKind;

typedef enum InsnPlace {
    PLACE_NONE, /* implicit, or no register */
    PLACE_MODRM_REG,
    PLACE_MODRM_RM,
    PLACE_OPCODE, /* low three bits of the opcode */
    PLACE_VEX,    /* VEX.vvvv */
    PLACE_IMM,    /* bits 4-7 of an immediate byte */
} InsnPlace;

#define OPERAND_READ 0x1u
#define OPERAND_WRITTEN 0x2u /* may be conditional: CMOVcc, CMPXCHG */

typedef struct InsnOperand {
    uint8_t kind; /* InsnOperandKind */
    uint8_t reg;
    uint8_t access; /* OPERAND_READ | OPERAND_WRITTEN */
    uint8_t offset; /* OPERAND_GPR: bytes from Vcpu.gpr to the operand */
    uint16_t size;  /* in bytes; 0: none, as for LEA's memory operand in some forms */
    uint8_t place;  /* InsnPlace: which field of the encoding names it */
} InsnOperand;

#define INSN_NO_REG 0xff
#define INSN_REG_RIP 0xfe

typedef struct InsnMemory {
    uint8_t segment; /* CPU_ES..CPU_GS, override and defaults resolved; in 64-bit mode only FS and
                        GS have a base */
    uint8_t base;    /* 0-15, INSN_NO_REG or INSN_REG_RIP (relative to the next instruction) */
    uint8_t index;   /* 0-15 or INSN_NO_REG; of a vector register with INSN_VSIB */
    uint8_t scale;   /* shift: 0-3 */
    int64_t disp;
} InsnMemory;

/* Insn.prefixes */
#define INSN_LOCK 0x01u
#define INSN_REP 0x02u /* REP or REPE as an instruction understands it, not a mandatory prefix */
#define INSN_REPNE 0x04u
#define INSN_SEGMENT 0x08u /* a segment override counts */
#define INSN_REX_W 0x10u
#define INSN_VEX 0x20u
#define INSN_VSIB 0x40u
#define INSN_HAS_MODRM 0x80u

/* Insn.kind: what translator and interpreter branch on first. */
#define INSN_BRANCH 0x0001u      /* writes RIP: JMP, Jcc, CALL, RET, LOOP .. */
#define INSN_CONDITIONAL 0x0002u /* and may fall through */
#define INSN_INDIRECT 0x0004u    /* target not in the instruction */
#define INSN_CALL 0x0008u        /* near or far call */
#define INSN_RETURN 0x0010u      /* near or far return, IRET */
#define INSN_SYSTEM 0x0020u      /* changes more than registers, flags and memory, or may do so */
#define INSN_SSE 0x0040u         /* legacy SSE and AES .. encoding of vector instructions */
#define INSN_AVX 0x0080u         /* VEX-coded vector instructions */
#define INSN_X87 0x0100u
#define INSN_MMX 0x0200u    /* reads or writes an MMX register */
#define INSN_STRING 0x0400u /* MOVS, STOS, CMPS, SCAS, LODS, INS, OUTS */
#define INSN_VECTOR (INSN_SSE | INSN_AVX | INSN_X87 | INSN_MMX)

typedef struct Insn {
    uint16_t mnemonic; /* ZYDIS_MNEMONIC_* */
    uint16_t kind;     /* INSN_BRANCH .. */
    uint8_t prefixes;
    uint8_t length;       /* in bytes, 1-15 */
    uint8_t operand_size; /* effective, in bytes: 2, 4 or 8 (1 for byte forms) */
    uint8_t address_size; /* effective: 2, 4 or 8 */
    uint8_t stack_size;   /* what PUSH, CALL .. move: 2, 4 or 8 */
    uint8_t segment;      /* for string instructions: of the source */
    uint8_t operand_count;
    uint8_t isa_ext;   /* ZYDIS_ISA_EXT_* */
    uint8_t map;       /* ZYDIS_OPCODE_MAP_* */
    uint8_t opcode;    /* its last byte */
    uint8_t modrm;     /* valid with INSN_HAS_MODRM */
    uint8_t rex_vex;   /* offset of the REX or VEX prefix in @bytes, 0xff: none */
    uint8_t opcode_at; /* offset in @bytes of the opcode's last byte */
    uint8_t modrm_at;  /* offset in @bytes */
    uint8_t disp_at;   /* offset of the displacement, @disp_size bytes; 0 bytes: none */
    uint8_t disp_size;
    uint8_t imm_at; /* offset of all immediates, to the end of the instruction */
    /* As they were given, but outside 64-bit mode with ignored bits of VEX made ineffective. */
    uint8_t bytes[INSN_BYTES_MAX + 1];
    InsnOperand operand[INSN_OPERANDS_MAX]; /* those that are written in assembly, also implicit
                                               ones (SHL r, CL; IN AL, DX), in Intel order */
    InsnMemory mem;
    int64_t imm, imm2;
    uint32_t flags_read;      /* RFLAGS bits; conditional ones too */
    uint32_t flags_written;   /* changed, set or cleared */
    uint32_t flags_undefined; /* of no defined value afterwards; also in @flags_written */
} Insn;

/**
 * insn_decode - decode one instruction
 * @bytes:  its bytes
 * @length: how many there are, at most 15 are looked at
 * @mode:   MODE_CS64 and MODE_CS32 of cpu.h matter, the rest does not
 *
 * Returns: 0; -EAGAIN: @length is too short to tell; -EINVAL: no instruction of the guest CPU (#UD;
 * #GP if longer than 15 bytes: -E2BIG). @out_insn is undefined unless 0 is returned. Pure function.
 */
int insn_decode(const uint8_t *bytes, unsigned length, uint32_t mode, Insn *out_insn);

#endif
