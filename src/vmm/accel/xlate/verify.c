/* Checks emitted code: what it may touch.
 *
 * One pass over the block in order. The scratch register that the TLB's addend is loaded into is
 * trusted from the load (which must follow a check of the tags) until something else is written to
 * it; LEA from itself keeps it. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/verify.h"

#include "vmm/accel/xlate/trampoline.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>

#define TRUSTED_REGISTER (ZYDIS_REGISTER_RAX + SCRATCH_A)

typedef struct Verifier {
    const JitVm *jit;
    const Block *block;
    uint32_t at;
    bool is_checked; /* tags were compared, and nothing jumped to here since */
    bool is_trusted;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
} Verifier;

static LODGE_NORETURN void refuse(const Verifier *v, const char *what)
{
    fprintf(stderr, "translated code at offset %#x of block %#x: %s\n",
            v->at - v->block->entry_jump, v->block->offset, what);
    for (uint32_t i = v->block->entry_jump; i < v->block->end; i++) {
        fprintf(stderr, "%02x%s", v->jit->write[i], i + 1 == v->at ? " | " : "");
    }
    fputc('\n', stderr);
    abort();
}

static bool is_state(const ZydisDecodedOperandMem *mem)
{
    bool is_table = mem->index != ZYDIS_REGISTER_NONE;
    return mem->segment == ZYDIS_REGISTER_GS && mem->base == ZYDIS_REGISTER_NONE &&
           mem->disp.value >= 0 && (uint64_t)mem->disp.value < sizeof(Vcpu) &&
           (!is_table || (mem->index == TRUSTED_REGISTER && mem->scale == 8));
}

static bool is_table(const ZydisDecodedOperandMem *mem, size_t offset)
{
    return is_state(mem) && mem->index != ZYDIS_REGISTER_NONE &&
           (uint64_t)mem->disp.value == offset;
}

static void check_memory(Verifier *v, const ZydisDecodedOperandMem *mem)
{
    if (is_table(mem, offsetof(Vcpu, tlb[0].read)) || is_table(mem, offsetof(Vcpu, tlb[0].write))) {
        v->is_checked = true;
    }
    if (is_state(mem)) {
        return;
    }
    bool uses_it = mem->base == TRUSTED_REGISTER || mem->index == TRUSTED_REGISTER;
    bool has_scale = mem->index == TRUSTED_REGISTER && mem->scale > 1;
    if (mem->segment == ZYDIS_REGISTER_GS || mem->segment == ZYDIS_REGISTER_FS || !uses_it ||
        has_scale || !v->is_trusted) {
        refuse(v, "memory operand that did not come from the TLB path");
    }
}

static bool is_entry(const Verifier *v, uint32_t target)
{
    const Block *block = v->block->page->blocks;
    while (block && target != block->entry_poll && target != block->entry_direct) {
        block = block->page_next;
    }
    return block != NULL;
}

static void check_branch(const Verifier *v, const ZydisDecodedOperand *operand)
{
    uint32_t target = v->at + v->insn.length + (uint32_t)operand->imm.value.s;
    bool is_inside = (target >= v->block->entry_jump && target < v->block->end) ||
                     (target >= v->block->cold && target < v->block->cold_end);
    if (!is_inside && target >= v->jit->stubs.end && !is_entry(v, target)) {
        refuse(v, "branch to nowhere");
    }
}

static bool is_addend_load(const Verifier *v)
{
    return v->insn.mnemonic == ZYDIS_MNEMONIC_MOV &&
           v->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           v->operand[0].reg.value == TRUSTED_REGISTER &&
           v->operand[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
           is_table(&v->operand[1].mem, offsetof(Vcpu, tlb[0].addend));
}

/* LEA that adds to the trusted register. */
static bool keeps_trust(const Verifier *v)
{
    const ZydisDecodedOperandMem *mem = &v->operand[1].mem;
    return v->insn.mnemonic == ZYDIS_MNEMONIC_LEA &&
           (mem->base == TRUSTED_REGISTER || (mem->index == TRUSTED_REGISTER && mem->scale == 1));
}

static void track(Verifier *v)
{
    if (is_addend_load(v)) {
        if (!v->is_checked) {
            refuse(v, "addend of an unchecked entry");
        }
        v->is_trusted = true;
        v->is_checked = false;
        return;
    }
    for (unsigned i = 0; i < v->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &v->operand[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand->reg.value) ==
                TRUSTED_REGISTER &&
            !keeps_trust(v)) {
            v->is_trusted = false;
        }
    }
}

static void check_operands(Verifier *v)
{
    for (unsigned i = 0; i < v->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &v->operand[i];
        bool is_hidden = operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operand->mem.type != ZYDIS_MEMOP_TYPE_AGEN && !is_hidden) {
            check_memory(v, &operand->mem);
        }
        if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand->imm.is_relative) {
            check_branch(v, operand);
        }
    }
}

static void verify_range(const JitVm *jit, const Block *block, uint32_t from, uint32_t to)
{
    Verifier v = { .jit = jit, .block = block, .at = from };
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    while (v.at < to) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, jit->write + v.at, to - v.at, &v.insn,
                                                 v.operand))) {
            refuse(&v, "no instruction");
        }
        check_operands(&v);
        track(&v);
        v.at += v.insn.length;
    }
}

void verify_block(const JitVm *jit, const Block *block)
{
    if (jit->is_verified) {
        verify_range(jit, block, block->entry_jump, block->end);
        verify_range(jit, block, block->cold, block->cold_end);
    }
}
