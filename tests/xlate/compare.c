/* Comparison of results. What is left out, and why:
 * - arithmetic flags that are undefined (flags.c); RF, which the host's kernel need not show;
 * - the x87 instruction and operand pointers and opcode: native code has them where it executes,
 *   which for a translator is elsewhere;
 * - in 32-bit cases the upper halves of registers and R8-R15, which 32-bit code cannot reach;
 * - the x87 state where an MMX instruction faults;
 * - memory where a CALL, FBSTP or FSTP faults, which some processors have written to by then;
 * - the error code's P bit for addresses of the kernel's half: Linux sets it always.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/compare.h"

#include <Zydis/Zydis.h>
#include <string.h>

#define FLAGS_ARITHMETIC 0x8d5u
#define FLAGS_COMPARED 0x244cd5u             /* arithmetic, DF, NT, AC, ID */
#define KERNEL_HALF UINT64_C(0x7ffffffff000) /* with the page below, which Linux leaves free */

static const char *const gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

static bool differ(FILE *file, const char *what, const char *name, uint64_t native, uint64_t other)
{
    if (native == other) {
        return false;
    }
    if (file) {
        fprintf(file, "  %-8s native %016llx  %s %016llx\n", what, (unsigned long long)native, name,
                (unsigned long long)other);
    }
    return true;
}

static bool disassemble_fault(const Case *test, const CaseResult *result,
                              ZydisDisassembledInstruction *out)
{
    uint64_t at = result->out.rip - CASE_CODE - test->code_offset;
    ZydisMachineMode mode =
        test->is_32bit ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64;
    return result->end == CASE_FAULTED && at < test->code_length &&
           ZYAN_SUCCESS(ZydisDisassembleIntel(mode, result->out.rip, test->code + at,
                                              test->code_length - at, out));
}

/* Masked and large accesses: which of their bytes faults first is the processor's affair. */
static bool accesses_in_any_order(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    if (!disassemble_fault(test, result, &insn)) {
        return false;
    }
    switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
        return true;
    default:
        return false;
    }
}

/* An unmasked exception of VCVTPS2PH comes before faults of its store in some processors. */
static bool is_rounding_fault(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    return result->vector == 19 && disassemble_fault(test, result, &insn) &&
           insn.info.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH;
}

/* XRSTOR: whether an invalid header or a page that another part lacks is found first. */
static bool faults_in_any_order(const Case *test, const CaseResult *a, const CaseResult *b)
{
    ZydisDisassembledInstruction insn;
    return a->vector + b->vector == 13 + 14 && (a->vector == 13 || a->vector == 14) &&
           disassemble_fault(test, a, &insn) &&
           (insn.info.mnemonic == ZYDIS_MNEMONIC_XRSTOR ||
            insn.info.mnemonic == ZYDIS_MNEMONIC_XRSTOR64);
}

/* With an empty mask a processor may fault or not. */
static bool is_masked_store(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    return disassemble_fault(test, result, &insn) &&
           (insn.info.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
            insn.info.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
            insn.info.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU);
}

/* REP CMPS and SCAS may be interrupted, and then have set flags before a later fault. */
static bool is_string_instruction(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    return disassemble_fault(test, result, &insn) &&
           insn.info.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

static uint32_t error_mask(const CaseResult *native)
{
    return native->vector == 14 && native->cr2 >= KERNEL_HALF ? ~1u : ~0u;
}

static bool differ_in_end(const Case *test, const CaseResult *a, const CaseResult *b,
                          const char *name, FILE *file)
{
    bool result = differ(file, "end", name, a->end, b->end);
    if (a->end == CASE_FAULTED && b->end == CASE_FAULTED) {
        uint32_t mask = error_mask(a);
        if (!faults_in_any_order(test, a, b)) {
            result |= differ(file, "vector", name, a->vector, b->vector);
        }
        if (!accesses_in_any_order(test, a)) {
            result |= differ(file, "error", name, a->error & mask, b->error & mask);
        }
        if (a->vector == 14 && !accesses_in_any_order(test, a)) {
            result |= differ(file, "cr2", name, a->cr2, b->cr2);
        }
    } else if (a->end == CASE_FAULTED || b->end == CASE_FAULTED) {
        result |= differ(file, "vector", name, a->vector, b->vector);
    }
    return result | differ(file, "rip", name, a->out.rip, b->out.rip);
}

static bool differ_in_integer(const Case *test, const CaseResult *a, const CaseResult *b,
                              bool is_translated, const char *name, FILE *file)
{
    bool result = false;
    uint64_t mask = test->is_32bit ? UINT32_MAX : UINT64_MAX;
    for (unsigned i = 0; i < (test->is_32bit ? 8u : 16u); i++) {
        /* With 32-bit addresses, when the upper halves of count and indexes go is not defined. */
        bool is_index = i == 1 || i == 6 || i == 7;
        uint64_t part = is_index && is_string_instruction(test, a) ? UINT32_MAX : mask;
        result |= differ(file, gpr_names[i], name, a->out.gpr[i] & part, b->out.gpr[i] & part);
    }
    uint32_t undefined =
        a->end == CASE_FAULTED ? test->flags_undefined_ever : test->flags_undefined;
    if (is_string_instruction(test, a) || (is_translated && a->end == CASE_FAULTED)) {
        undefined |= FLAGS_ARITHMETIC;
    }
    uint64_t flags = FLAGS_COMPARED & ~(uint64_t)undefined;
    return result | differ(file, "flags", name, a->out.rflags & flags, b->out.rflags & flags);
}

static bool differ_in_bytes(const char *what, unsigned index, const char *name, const uint8_t *a,
                            const uint8_t *b, unsigned size, FILE *file)
{
    if (memcmp(a, b, size) == 0) {
        return false;
    }
    if (file) {
        fprintf(file, "  %s%u\n    native ", what, index);
        for (unsigned i = size; i-- > 0;) {
            fprintf(file, "%02x", a[i]);
        }
        fprintf(file, "\n    %6s ", name);
        for (unsigned i = size; i-- > 0;) {
            fprintf(file, "%02x", b[i]);
        }
        fprintf(file, "\n");
    }
    return true;
}

/* Whether the instruction that faulted uses MMX registers: processors may have set the top of the
 * x87 stack to 0 by then. */
static bool faulted_in_mmx(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    if (!disassemble_fault(test, result, &insn)) {
        return false;
    }
    for (unsigned i = 0; i < insn.info.operand_count; i++) {
        if (insn.operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(insn.operands[i].reg.value) == ZYDIS_REGCLASS_MMX) {
            return true;
        }
    }
    return false;
}

/* Memory that is written before a fault is found: by a CALL to a non-canonical address below the
 * stack pointer; by FBSTP, FSTP and PUSHA up to the end of a page. */
static bool faulted_after_writing(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    if (!disassemble_fault(test, result, &insn)) {
        return false;
    }
    switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_FBSTP:
    case ZYDIS_MNEMONIC_FSTP: /* of ten bytes */
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
        return true;
    default:
        return false;
    }
}

/* POPA has loaded the registers that it could read. */
static bool faulted_after_loading(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    return disassemble_fault(test, result, &insn) && (insn.info.mnemonic == ZYDIS_MNEMONIC_POPA ||
                                                      insn.info.mnemonic == ZYDIS_MNEMONIC_POPAD);
}

/* Unmasked overflow and underflow are signalled at other results than masked ones, from which the
 * engines deduce them: see generate.c. Code may unmask them by loading MXCSR. */
static bool unmasks_range_exceptions(const CaseResult *result)
{
    uint32_t mxcsr;
    memcpy(&mxcsr, result->out.xsave + 24, 4);
    return ~mxcsr & 0xc00;
}

static bool is_dot_product(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_DPPS || mnemonic == ZYDIS_MNEMONIC_DPPD ||
           mnemonic == ZYDIS_MNEMONIC_VDPPS || mnemonic == ZYDIS_MNEMONIC_VDPPD;
}

/* VCVTPS2PH rounds, and sets the flags of that, before it finds that it cannot store; dot products
 * stop at the first of their steps that has an unmasked exception. */
static bool faulted_in_rounding(const Case *test, const CaseResult *result)
{
    ZydisDisassembledInstruction insn;
    return disassemble_fault(test, result, &insn) &&
           (insn.info.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH || is_dot_product(insn.info.mnemonic));
}

static bool differ_in_x87(const uint8_t *a, const uint8_t *b, const char *name, FILE *file)
{
    bool result = differ_in_bytes("fsw ", 0, name, a + 2, b + 2, 2, file);
    result |= differ_in_bytes("ftw ", 0, name, a + 4, b + 4, 1, file);
    for (unsigned i = 0; i < 8; i++) {
        result |= differ_in_bytes("st", i, name, a + 32 + i * 16, b + 32 + i * 16, 10, file);
    }
    return result;
}

static bool differ_in_vectors(const Case *test, const uint8_t *a, const uint8_t *b,
                              const char *name, FILE *file)
{
    bool result = differ_in_bytes("fcw ", 0, name, a, b, 2, file);
    for (unsigned i = 0; i < (test->is_32bit ? 8u : 16u); i++) {
        result |= differ_in_bytes("xmm", i, name, a + 160 + i * 16, b + 160 + i * 16, 16, file);
        result |=
            differ_in_bytes("ymm high ", i, name, a + 576 + i * 16, b + 576 + i * 16, 16, file);
    }
    return result;
}

static bool differ_in_memory(const CaseResult *a, const CaseResult *b, const char *name, FILE *file)
{
    if (!a->memory_changed && !b->memory_changed) {
        return false;
    }
    if (a->memory_changed != b->memory_changed) {
        return differ(file, "memory", name, a->memory_changed, b->memory_changed) || true;
    }
    bool result = false;
    for (unsigned i = 0; i < CASE_DATA_BYTES; i += 8) {
        uint64_t x, y;
        memcpy(&x, a->memory + i, 8);
        memcpy(&y, b->memory + i, 8);
        if (x != y && file) {
            fprintf(file, "  at %llx\n", (unsigned long long)(CASE_DATA + i));
        }
        result |= differ(file, "memory", name, x, y);
    }
    return result;
}

bool compare_results(const Case *test, const CaseResult *native, const CaseResult *other,
                     bool is_translated, const char *name, FILE *file)
{
    if (native->end == CASE_FAULTED &&
        (is_masked_store(test, native) || is_rounding_fault(test, native) ||
         faulted_after_loading(test, native))) {
        return true;
    }
    if (unmasks_range_exceptions(native)) {
        return true;
    }
    bool result = differ_in_end(test, native, other, name, file);
    if (native->end != CASE_REACHED_EXIT && native->end != CASE_FAULTED) {
        return !result;
    }
    result |= differ_in_integer(test, native, other, is_translated, name, file);
    if (!faulted_in_mmx(test, native)) {
        result |= differ_in_x87(native->out.xsave, other->out.xsave, name, file);
    }
    result |= differ_in_vectors(test, native->out.xsave, other->out.xsave, name, file);
    if (!faulted_in_rounding(test, native)) {
        result |= differ_in_bytes("mxcsr ", 0, name, native->out.xsave + 24, other->out.xsave + 24,
                                  4, file);
    }
    if (!faulted_after_writing(test, native)) {
        result |= differ_in_memory(native, other, name, file);
    }
    return !result;
}

void print_case(const Case *test, FILE *file)
{
    unsigned at = 0;
    uint64_t rip = CASE_CODE + test->code_offset;
    fprintf(file, "seed %#llx, %s, template %u\n", (unsigned long long)test->seed,
            test->is_32bit ? "32-bit" : "64-bit", test->template);
    while (at + 5 < test->code_length) {
        ZydisDisassembledInstruction insn;
        ZydisMachineMode mode =
            test->is_32bit ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64;
        if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, rip + at, test->code + at,
                                                test->code_length - at, &insn))) {
            break;
        }
        fprintf(file, "  %llx ", (unsigned long long)(rip + at));
        for (unsigned i = 0; i < insn.info.length; i++) {
            fprintf(file, "%02x", test->code[at + i]);
        }
        fprintf(file, "  %s\n", insn.text);
        at += insn.info.length;
    }
    for (unsigned i = 0; i < 16; i++) {
        fprintf(file, "%s%-3s %016llx%s", i % 4 ? "  " : "  ", gpr_names[i],
                (unsigned long long)test->in.gpr[i], i % 4 == 3 ? "\n" : "");
    }
    uint16_t fcw, fsw;
    uint32_t mxcsr;
    memcpy(&fcw, test->in.xsave, 2);
    memcpy(&fsw, test->in.xsave + 2, 2);
    memcpy(&mxcsr, test->in.xsave + 24, 4);
    fprintf(file, "  rflags %llx  fcw %x fsw %x ftw %x  mxcsr %x  undefined flags %x\n",
            (unsigned long long)test->in.rflags, fcw, fsw, test->in.xsave[4], mxcsr,
            test->flags_undefined);
}
