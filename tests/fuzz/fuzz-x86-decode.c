/* Fuzz target: the decoder of guest code beside Zydis itself.
 *
 * Input: one byte of mode, then code. Lengths must agree wherever both take an instruction, and
 * what the decoder says of places in the bytes must lie in the instruction.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/accel/xlate/cpu.h"
#include "vmm/accel/xlate/decode.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_insn(const Insn *insn, unsigned available)
{
    lodge_assert(insn->length >= 1 && insn->length <= INSN_BYTES_MAX && insn->length <= available);
    lodge_assert(insn->opcode_at < insn->length);
    lodge_assert(insn->operand_count <= INSN_OPERANDS_MAX);
    lodge_assert(insn->imm_at <= insn->length);
    lodge_assert(insn->disp_size == 0 || insn->disp_at + insn->disp_size <= insn->length);
    lodge_assert(!(insn->prefixes & INSN_HAS_MODRM) || insn->modrm_at < insn->length);
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const InsnOperand *op = &insn->operand[i];
        lodge_assert(op->kind != OPERAND_GPR || (op->reg < 16 && op->offset / 8 < 16));
        lodge_assert(op->kind != OPERAND_VECTOR || op->reg < 16);
        lodge_assert(op->kind != OPERAND_SEGMENT || op->reg < CPU_SEGMENTS);
        lodge_assert(op->kind != OPERAND_MEM || insn->mem.segment < CPU_SEGMENTS);
    }
}

static void check_one(const uint8_t *code, unsigned size, uint32_t mode, ZydisMachineMode machine,
                      ZydisStackWidth stack)
{
    Insn insn;
    ZydisDecoder decoder;
    ZydisDecodedInstruction expected;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    unsigned available = size < INSN_BYTES_MAX ? size : INSN_BYTES_MAX;
    if (insn_decode(code, size, mode, &insn) != 0) {
        return;
    }
    check_insn(&insn, available);
    ZydisDecoderInit(&decoder, machine, stack);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, available, &expected, operands)) &&
        expected.mnemonic == insn.mnemonic) {
        lodge_assert(expected.length == insn.length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 64) {
        return 0;
    }
    const uint8_t *code = data + 1;
    unsigned length = (unsigned)size - 1;
    switch (data[0] % 3) {
    case 0:
        check_one(code, length, MODE_CS64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        break;
    case 1:
        check_one(code, length, MODE_CS32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
        break;
    default:
        check_one(code, length, 0, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
        break;
    }
    return 0;
}
