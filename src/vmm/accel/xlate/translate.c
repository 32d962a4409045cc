/* Translation of one block: decoding, entries, instructions in turn, cold pieces.
 *
 * A block ends at a branch, at a system instruction that may change where code goes on or what it
 * means, at the end of its page or after BLOCK_INSNS_MAX instructions. Instructions that are not
 * translated are calls of the interpreter. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"
#include "vmm/accel/xlate/translator.h"

#include <string.h>

/* System instructions that change neither rip nor what the code behind them is. */
static bool is_local_system(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_XGETBV:
        return true;
    default:
        return false;
    }
}

static bool ends_block(const Insn *insn)
{
    return (insn->kind & INSN_BRANCH) || ((insn->kind & INSN_SYSTEM) && !is_local_system(insn));
}

static void decode_block(Translator *t, const uint8_t *page)
{
    unsigned at = t->start;
    uint8_t bytes[16];
    t->count = 0;
    t->end = 0;
    while (t->count < BLOCK_INSNS_MAX && at < 4096) {
        unsigned length = 4096 - at < 15 ? 4096 - at : 15;
        memcpy(bytes, page + at, length);
        Insn *insn = &t->insn[t->count];
        /* Also an instruction that runs over the page's end: the interpreter's. */
        if (insn_decode(bytes, length, t->mode, insn) != 0) {
            t->end = at + length;
            break;
        }
        t->at[t->count++] = (uint16_t)at;
        at += insn->length;
        if (ends_block(insn)) {
            break;
        }
    }
    t->at[t->count] = (uint16_t)at;
    t->end = t->end ? t->end : at;
}

/* From an indirect jump: SCRATCH_B is its target, SCRATCH_A its entry in the jump cache. Keeps
 * flags even where this block needs none: the jump may be for another block. */
static void emit_jump_entry(Translator *t)
{
    Emit *e = &t->e;
    emit_store(e, 8, STATE(scratch[0]), HOST_RCX);
    emit_load(e, 8, HOST_RCX, rm_table(offsetof(Vcpu, jump[0].tag), SCRATCH_A));
    emit_lea(e, 8, HOST_RCX, rm_mem(HOST_RCX, SCRATCH_B, 0, 0));
    emit_load(e, 8, SCRATCH_A, STATE(jump_key));
    emit_lea(e, 8, HOST_RCX, rm_mem(HOST_RCX, SCRATCH_A, 0, 0));
    uint8_t *hit = emit_jrcxz(e, 8);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    emit_jmp_to(e, stub_at(t, t->jit->stubs.exit_jump));
    emit_patch8(e, hit, e->at);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    emit_lea(e, 8, SCRATCH_B, rm_mem(SCRATCH_B, HOST_NONE, 0, -(int32_t)t->start));
    emit_store(e, 8, STATE(code_base), SCRATCH_B);
}

static uint32_t here(const Translator *t)
{
    return (uint32_t)(t->e.at - t->jit->write);
}

static void emit_entries(Translator *t, Block *block)
{
    t->now = 0;
    block->entry_jump = here(t);
    emit_jump_entry(t);
    block->entry_poll = here(t);
    emit_cold_if_state(t, STATE(requests), COLD_POLL);
    block->entry_direct = here(t);
}

static void note_site(Translator *t)
{
    JitVm *jit = t->jit;
    jit->site[jit->site_count++] = (CodeSite){ here(t), t->at[t->now] };
}

static Translated translate_one(Translator *t, const Insn *insn)
{
    if (interp_find(insn) == op_ud) {
        /* Also what the host may have, but the guest CPU lacks, as XEND and AVX-VNNI. */
        return TRANSLATE_INTERP;
    }
    if (insn->kind & INSN_BRANCH) {
        return translate_branch(t, insn);
    }
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_LEAVE:
        return translate_stack(t, insn);
    default:
        return translate_plain(t, insn);
    }
}

/* Has the interpreter execute the instruction at @guest; @more: the block goes on behind it. */
static void emit_interpret(Translator *t, unsigned guest, unsigned length, bool more)
{
    emit_store_imm(&t->e, 4, rm_reg(SCRATCH_A), (int32_t)JIT_INTERPRET(guest, length, more));
    emit_call_to(&t->e, stub_at(t, t->jit->stubs.interpret));
    t->vectors_loaded = false;
}

static void emit_body(Translator *t)
{
    for (t->now = 0; t->now < t->count; t->now++) {
        const Insn *insn = &t->insn[t->now];
        uint8_t *before = t->e.at;
        unsigned colds = t->cold_count;
        bool loaded = t->vectors_loaded;
        note_site(t);
        Translated result = translate_one(t, insn);
        if (result == TRANSLATE_INTERP) {
            bool more = !ends_block(insn) && t->now + 1 < t->count;
            t->e.at = before;
            t->cold_count = colds;
            t->vectors_loaded = loaded;
            emit_interpret(t, t->at[t->now], insn->length, more);
            result = more ? TRANSLATED : TRANSLATED_END;
        }
        if (result == TRANSLATED_END) {
            return;
        }
    }
    if (t->end != t->at[t->count]) {
        emit_interpret(t, t->at[t->count], 0, false);
    } else {
        t->now = t->count - 1;
        emit_go_to(t, t->at[t->count]);
    }
}

Block *translate_block(JitVm *jit, CodePage *page, unsigned offset, uint32_t mode)
{
    Translator t;
    t.jit = jit;
    t.mode = mode;
    t.is_64 = mode & MODE_CS64;
    t.has_bmi2 = jit->has_bmi2;
    t.vectors_loaded = false;
    t.start = offset;
    t.cold_count = 0;
    t.page = page;
    t.e = (Emit){ .at = jit->next, .end = jit->next + BLOCK_BYTES_MAX };
    decode_block(&t, page->ram->host + (page->ram_page << 12));
    liveness_find(&t);
    unsigned sites = jit->site_count;
    Block *block = code_cache_new_block(jit);
    block->page = page;
    block->offset = (uint16_t)offset;
    block->mode = mode;
    emit_entries(&t, block);
    emit_body(&t);
    Emit hot = t.e;
    t.e = (Emit){ .at = jit->next_cold, .end = jit->next_cold + BLOCK_BYTES_MAX };
    block->cold = here(&t);
    emit_cold(&t);
    if (hot.full || t.e.full) {
        jit->site_count = sites;
        jit->block_count--;
        return NULL;
    }
    /* Flags were found dead by looking at all that was decoded. */
    block->length = (uint16_t)(t.end - offset);
    block->end = (uint32_t)(hot.at - jit->write);
    block->cold_end = here(&t);
    jit->next = hot.at;
    jit->next_cold = t.e.at;
    jit->translations++;
    code_cache_insert(jit, block);
    return block;
}
