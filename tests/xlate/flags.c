/* Which flags have no defined value after an instruction, by Intel's manual, volume 2. Where a row
 * says less than the manual, all known processors and thus guests agree on the value.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/flags.h"

#include <stdbool.h>

#define CF 0x1u
#define PF 0x4u
#define AF 0x10u
#define ZF 0x40u
#define SF 0x80u
#define OF 0x800u

typedef struct UndefinedRow {
    uint16_t mnemonic;
    uint16_t flags;
    const char *reason;
} UndefinedRow;

static const UndefinedRow undefined_rows[] = {
    { ZYDIS_MNEMONIC_AND, AF, "AF is undefined after logic" },
    { ZYDIS_MNEMONIC_OR, AF, "AF is undefined after logic" },
    { ZYDIS_MNEMONIC_XOR, AF, "AF is undefined after logic" },
    { ZYDIS_MNEMONIC_TEST, AF, "AF is undefined after logic" },
    { ZYDIS_MNEMONIC_MUL, SF | ZF | AF | PF, "only CF and OF tell of the product" },
    { ZYDIS_MNEMONIC_IMUL, SF | ZF | AF | PF, "only CF and OF tell of the product" },
    { ZYDIS_MNEMONIC_DIV, CF | OF | SF | ZF | AF | PF, "no flag tells of a quotient" },
    { ZYDIS_MNEMONIC_IDIV, CF | OF | SF | ZF | AF | PF, "no flag tells of a quotient" },
    { ZYDIS_MNEMONIC_BSF, CF | OF | SF | AF | PF, "only ZF tells of the source" },
    { ZYDIS_MNEMONIC_BSR, CF | OF | SF | AF | PF, "only ZF tells of the source" },
    { ZYDIS_MNEMONIC_BT, OF | SF | AF | PF, "only CF has the bit; ZF is kept" },
    { ZYDIS_MNEMONIC_BTC, OF | SF | AF | PF, "only CF has the bit; ZF is kept" },
    { ZYDIS_MNEMONIC_BTR, OF | SF | AF | PF, "only CF has the bit; ZF is kept" },
    { ZYDIS_MNEMONIC_BTS, OF | SF | AF | PF, "only CF has the bit; ZF is kept" },
    { ZYDIS_MNEMONIC_LZCNT, OF | SF | AF | PF, "only CF and ZF are defined" },
    { ZYDIS_MNEMONIC_TZCNT, OF | SF | AF | PF, "only CF and ZF are defined" },
    { ZYDIS_MNEMONIC_ANDN, AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_BEXTR, SF | AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_BLSI, AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_BLSMSK, AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_BLSR, AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_BZHI, AF | PF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_AAA, OF | SF | ZF | PF, "only CF and AF are defined" },
    { ZYDIS_MNEMONIC_AAS, OF | SF | ZF | PF, "only CF and AF are defined" },
    { ZYDIS_MNEMONIC_AAD, OF | AF | CF, "only SF, ZF and PF are defined" },
    { ZYDIS_MNEMONIC_AAM, OF | AF | CF, "only SF, ZF and PF are defined" },
    { ZYDIS_MNEMONIC_DAA, OF, "undefined by the manual" },
    { ZYDIS_MNEMONIC_DAS, OF, "undefined by the manual" },
};

/* Of shifts and rotates, whose count decides what is defined; a count of zero keeps all flags. */
typedef struct ShiftRow {
    uint16_t mnemonic;
    uint16_t always;  /* undefined after any count but zero */
    uint16_t not_one; /* undefined as well unless the count is one */
    uint16_t large;   /* undefined as well if the count reaches the operand's size */
} ShiftRow;

static const ShiftRow shift_rows[] = {
    { ZYDIS_MNEMONIC_SHL, AF, OF, CF },
    { ZYDIS_MNEMONIC_SHR, AF, OF, CF },
    { ZYDIS_MNEMONIC_SAR, AF, OF, 0 },
    { ZYDIS_MNEMONIC_ROL, 0, OF, 0 },
    { ZYDIS_MNEMONIC_ROR, 0, OF, 0 },
    { ZYDIS_MNEMONIC_RCL, 0, OF, 0 },
    { ZYDIS_MNEMONIC_RCR, 0, OF, 0 },
    { ZYDIS_MNEMONIC_SHLD, AF, OF, CF | SF | ZF | PF },
    { ZYDIS_MNEMONIC_SHRD, AF, OF, CF | SF | ZF | PF },
};

static uint32_t after_shift(const ShiftRow *row, const ZydisDecodedInstruction *insn, int64_t imm,
                            uint32_t before)
{
    unsigned width = insn->operand_width;
    int64_t count = imm < 0 ? imm : imm & (width == 64 ? 63 : 31);
    uint32_t written = insn->cpu_flags->modified | insn->cpu_flags->undefined;
    uint32_t undefined = row->always;
    if (count == 0) {
        return before;
    }
    if (count != 1) {
        undefined |= row->not_one;
    }
    if (count < 0 || count >= width) {
        undefined |= row->large;
    }
    /* A count in CL may be zero. */
    return count < 0 ? before | undefined : (before & ~written) | undefined;
}

uint32_t flags_undefined_after(const ZydisDecodedInstruction *insn, int64_t imm, uint32_t before)
{
    if (!insn->cpu_flags || insn->meta.category == ZYDIS_CATEGORY_X87_ALU) {
        return before;
    }
    for (unsigned i = 0; i < sizeof(shift_rows) / sizeof(shift_rows[0]); i++) {
        if (shift_rows[i].mnemonic == insn->mnemonic) {
            return after_shift(&shift_rows[i], insn, imm, before);
        }
    }
    const ZydisAccessedFlags *flags = insn->cpu_flags;
    uint32_t written = flags->modified | flags->set_0 | flags->set_1 | flags->undefined;
    /* REP CMPS and SCAS with a count of zero keep all flags. */
    bool conditional = insn->meta.category == ZYDIS_CATEGORY_STRINGOP;
    uint32_t undefined = conditional ? before : before & ~written;
    for (unsigned i = 0; i < sizeof(undefined_rows) / sizeof(undefined_rows[0]); i++) {
        if (undefined_rows[i].mnemonic == insn->mnemonic) {
            undefined |= undefined_rows[i].flags;
        }
    }
    return undefined;
}

uint32_t flags_read_by(const ZydisDecodedInstruction *insn)
{
    return insn->cpu_flags ? insn->cpu_flags->tested : 0;
}
