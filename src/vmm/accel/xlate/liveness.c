/* Which arithmetic flags are read before they are written: where none is, memory accesses need not
 * keep them. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/translator.h"

/* Flags certainly written; shifts by zero write none. */
static uint32_t certain_flags(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
        const InsnOperand *count = &insn->operand[insn->operand_count - 1];
        uint8_t mask = insn->operand_size == 8 ? 63 : 31;
        return count->kind == OPERAND_IMM && (insn->imm & mask) ? insn->flags_written : 0;
    }
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return 0;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        return FLAG_ZF;
    default:
        return insn->kind & (INSN_STRING | INSN_SYSTEM) ? 0 : insn->flags_written;
    }
}

void liveness_find(Translator *t)
{
    uint32_t live = FLAGS_ARITHMETIC;
    t->live[t->count] = live;
    for (unsigned i = t->count; i-- > 0;) {
        const Insn *insn = &t->insn[i];
        if (insn->kind & INSN_SYSTEM) {
            live = FLAGS_ARITHMETIC;
        }
        live = (live & ~certain_flags(insn)) | (insn->flags_read & FLAGS_ARITHMETIC);
        t->live[i] = live & FLAGS_ARITHMETIC;
    }
}
