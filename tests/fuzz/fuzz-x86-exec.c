/* Fuzz target: guest code in the interpreter beside translated code.
 *
 * Input: eight bytes of seed for the state, one of mode, then code. Neither engine may end the
 * process, and they must agree on the outcome. What differs among executions by its nature (time,
 * randomness) is left out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "xlate/compare.h"
#include "xlate/flags.h"
#include "xlate/generate.h"
#include "xlate/machine.h"

#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_BYTES 9u
#define CODE_MAX 96u

static uint8_t templates[CASE_TEMPLATES * CASE_DATA_BYTES];
static uint8_t constant[CASE_CONSTANT_BYTES];
static Machine *machine;

static bool set_up(void)
{
    if (!machine) {
        generator_fill_data(templates, constant);
        machine = machine_new(templates, constant);
    }
    return machine && machine_can_translate(machine);
}

static bool is_repeatable(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    /* The x87 instruction and operand pointers, which translated code does not keep. */
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return false;
    default:
        return true;
    }
}

/* A run through the code from its start; code that jumps elsewhere finds data or nothing. Backward
 * jumps are refused: both engines stop an endless loop, but not after the same instruction. */
static bool is_acceptable(Case *test)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (test->is_32bit) {
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    } else {
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }
    for (unsigned at = 0; at < test->code_length; at += insn.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, test->code + at, test->code_length - at,
                                                 &insn, operands))) {
            return true;
        }
        if (flags_read_by(&insn) & test->flags_undefined) {
            return false;
        }
        test->flags_undefined = flags_undefined_after(&insn, -1, test->flags_undefined);
        test->flags_undefined_ever |= test->flags_undefined;
        bool is_branch = insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
                         insn.meta.category == ZYDIS_CATEGORY_RET;
        if (is_branch || !is_repeatable(insn.mnemonic) ||
            insn.meta.category == ZYDIS_CATEGORY_INTERRUPT ||
            insn.meta.category == ZYDIS_CATEGORY_SYSTEM ||
            strstr(ZydisMnemonicGetString(insn.mnemonic), "pop")) {
            return at + insn.length == test->code_length && insn.mnemonic == ZYDIS_MNEMONIC_JMP;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static CaseResult interpreted, translated;
    Case test;
    uint64_t seed;
    if (size <= HEADER_BYTES || size > HEADER_BYTES + CODE_MAX || !set_up()) {
        return 0;
    }
    memcpy(&seed, data, sizeof(seed));
    generate_state(seed, data[8] & 1, &test);
    test.code_offset = (uint16_t)(data[8] & 2 ? 0x1000 - (size - HEADER_BYTES) / 2 : 0x100);
    test.code_length = (uint16_t)(size - HEADER_BYTES);
    memcpy(test.code, data + HEADER_BYTES, test.code_length);
    case_append_exit(&test);
    if (!is_acceptable(&test)) {
        return 0;
    }
    machine_run(machine, MACHINE_INTERPRETER, &test, &interpreted);
    machine_run(machine, MACHINE_TRANSLATOR, &test, &translated);
    if (!compare_results(&test, &interpreted, &translated, true, "jit", NULL)) {
        print_case(&test, stderr);
        compare_results(&test, &interpreted, &translated, true, "jit", stderr);
        lodge_assert(!"engines differ");
    }
    return 0;
}
