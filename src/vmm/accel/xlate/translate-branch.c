/* Translation of jumps, calls, returns and stack instructions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/translator.h"

void emit_rip(Translator *t, unsigned reg, int32_t guest)
{
    emit_load(&t->e, 8, reg, STATE(code_base));
    emit_lea(&t->e, t->is_64 ? 8 : 4, reg, rm_mem(reg, HOST_NONE, 0, guest));
}

/* To the linear address in SCRATCH_B, through the jump cache; keeps flags. */
static void emit_indirect(Translator *t)
{
    trampoline_emit_jump(t->jit, &t->e);
}

/* JMP and RET; @stack: what was added to RSP. */
static void emit_indirect_from(Translator *t, unsigned stack)
{
    if (t->is_64) {
        emit_store_imm(&t->e, 8, STATE(jump_from), JIT_FROM(t->at[t->now], stack));
    }
    emit_indirect(t);
}

/* Leaves a call whose target in SCRATCH_B is not canonical to the interpreter, before anything is
 * pushed. Keeps flags. */
static void emit_canonical_check(Translator *t)
{
    static const uint8_t pushfq = 0x9c, popfq = 0x9d;
    const int32_t all_ones = 0x1ffff;
    Emit *e = &t->e;
    if (!t->is_64) {
        return;
    }
    emit_store(e, 8, STATE(scratch[0]), HOST_RCX);
    if (t->has_bmi2) {
        emit_pext(e, HOST_RCX, SCRATCH_B, STATE(high_mask));
    } else {
        emit_byte(e, pushfq);
        emit_load(e, 8, HOST_RCX, rm_reg(SCRATCH_B));
        emit_shift_right(e, HOST_RCX, 47);
        emit_byte(e, popfq);
    }
    uint8_t *low = emit_jrcxz(e, 8);
    emit_lea(e, 8, HOST_RCX, rm_mem(HOST_RCX, HOST_NONE, 0, -all_ones));
    uint8_t *high = emit_jrcxz(e, 8);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    add_cold(t, COLD_INTERP, emit_jmp(e));
    emit_patch8(e, low, e->at);
    emit_patch8(e, high, e->at);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
}

static bool in_page(int32_t guest)
{
    return guest >= 0 && guest < 4096;
}

/* A block of this page that can be jumped to. */
static const uint8_t *known_entry(Translator *t, int32_t guest, bool is_back)
{
    uint64_t ram_offset = (t->page->ram_page << 12) + (uint64_t)guest;
    const Block *block = code_cache_find(t->jit, t->page->ram, ram_offset, t->mode);
    return block ? t->jit->write + (is_back ? block->entry_poll : block->entry_direct) : NULL;
}

static void link_or_defer(Translator *t, uint8_t *site, int32_t guest)
{
    bool is_back = guest <= t->at[t->now];
    const uint8_t *entry = known_entry(t, guest, is_back);
    if (entry) {
        emit_patch(&t->e, site, entry);
        return;
    }
    Cold *cold = add_cold(t, COLD_LINK, site);
    cold->guest = guest;
    cold->is_back = is_back;
}

void emit_go_to(Translator *t, int32_t guest)
{
    if (in_page(guest)) {
        link_or_defer(t, emit_jmp_aligned(&t->e), guest);
        return;
    }
    emit_rip(t, SCRATCH_B, guest);
    if (t->is_64) {
        emit_store_imm(&t->e, 8, STATE(jump_from), JIT_FROM_NOWHERE);
    }
    emit_indirect(t);
}

/* Target of a relative branch as offset from code_base; false: too far to be one. */
static bool relative_target(const Translator *t, const Insn *insn, int32_t *out)
{
    int64_t target = t->at[t->now] + insn->length + insn->imm;
    *out = (int32_t)target;
    return target == *out;
}

static Translated translate_jcc(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    int32_t target, next = t->at[t->now] + insn->length;
    if (!relative_target(t, insn, &target)) {
        return TRANSLATE_INTERP;
    }
    unsigned condition = insn->opcode & 15;
    if (in_page(target)) {
        link_or_defer(t, emit_jcc_aligned(e, condition), target);
    } else {
        uint8_t *skip = emit_jcc(e, condition ^ 1);
        emit_go_to(t, target);
        emit_patch(e, skip, e->at);
    }
    emit_go_to(t, next);
    return TRANSLATED_END;
}

/* LOOP and JRCXZ. */
static Translated translate_counted(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    int32_t target, next = t->at[t->now] + insn->length;
    unsigned size = insn->address_size;
    bool is_loop = insn->mnemonic == ZYDIS_MNEMONIC_LOOP;
    if (size == 2 || !relative_target(t, insn, &target)) {
        return TRANSLATE_INTERP;
    }
    if (is_loop) {
        emit_lea(e, size, HOST_RCX, rm_mem(HOST_RCX, HOST_NONE, 0, -1));
    }
    uint8_t *zero = emit_jrcxz(e, size);
    emit_go_to(t, is_loop ? target : next);
    emit_patch8(e, zero, e->at);
    emit_go_to(t, is_loop ? next : target);
    return TRANSLATED_END;
}

static InsnMemory stack_at(int64_t disp)
{
    return (InsnMemory){ .segment = CPU_SS, .base = CPU_RSP, .index = INSN_NO_REG, .disp = disp };
}

static void move_stack(Translator *t, int32_t by)
{
    emit_lea(&t->e, t->is_64 ? 8 : 4, HOST_GUEST_RSP, rm_mem(HOST_GUEST_RSP, HOST_NONE, 0, by));
}

/* Size of stack slots and addresses. */
static unsigned word(const Translator *t)
{
    return t->is_64 ? 8 : 4;
}

static bool has_operand_prefix(const Insn *insn)
{
    for (unsigned i = 0; i < insn->opcode_at; i++) {
        if (insn->bytes[i] == 0x66) {
            return true;
        }
    }
    return false;
}

/* An operand whose slot is of another size is left to the interpreter. */
static bool is_plain_stack(const Translator *t, const Insn *insn)
{
    return !has_operand_prefix(insn) && (t->is_64 || (t->mode & MODE_SS32)) &&
           (insn->operand_size == word(t) || (t->is_64 && insn->operand_size == 4));
}

static HostRm push_slot(Translator *t)
{
    InsnMemory mem = stack_at(-(int64_t)word(t));
    return emit_access(t, &mem, word(t), word(t), true);
}

/* Loads a near branch's target operand: from memory into scratch[1], else nothing. */
static bool load_target(Translator *t, const Insn *insn)
{
    const InsnOperand *operand = &insn->operand[0];
    if (operand->kind != OPERAND_MEM) {
        return operand->kind == OPERAND_GPR && operand->size == word(t);
    }
    if (operand->size != word(t) || !can_access(t, &insn->mem, insn->address_size, word(t))) {
        return false;
    }
    HostRm from = emit_access(t, &insn->mem, insn->address_size, word(t), false);
    emit_load(&t->e, word(t), SCRATCH_B, from);
    emit_store(&t->e, 8, STATE(scratch[1]), SCRATCH_B);
    return true;
}

static void target_to_scratch(Translator *t, const Insn *insn)
{
    const InsnOperand *operand = &insn->operand[0];
    if (operand->kind == OPERAND_MEM) {
        emit_load(&t->e, 8, SCRATCH_B, STATE(scratch[1]));
    } else {
        unsigned home = home_of(operand->reg);
        emit_load(&t->e, 8, SCRATCH_B, home == HOST_NONE ? gpr_state(operand->reg) : rm_reg(home));
    }
}

static Translated translate_jmp(Translator *t, const Insn *insn)
{
    int32_t target;
    if (insn->operand[0].kind == OPERAND_REL) {
        if (!relative_target(t, insn, &target)) {
            return TRANSLATE_INTERP;
        }
        emit_go_to(t, target);
        return TRANSLATED_END;
    }
    if (!load_target(t, insn)) {
        return TRANSLATE_INTERP;
    }
    target_to_scratch(t, insn);
    emit_indirect_from(t, 0);
    return TRANSLATED_END;
}

static Translated translate_call(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    bool is_relative = insn->operand[0].kind == OPERAND_REL;
    int32_t target = 0, next = t->at[t->now] + insn->length;
    if (!is_plain_stack(t, insn) || (is_relative && !relative_target(t, insn, &target))) {
        return TRANSLATE_INTERP;
    }
    if (!is_relative) {
        if (!load_target(t, insn)) {
            return TRANSLATE_INTERP;
        }
        target_to_scratch(t, insn);
        emit_canonical_check(t);
    }
    HostRm slot = push_slot(t);
    emit_rip(t, SCRATCH_B, next);
    emit_store(e, word(t), slot, SCRATCH_B);
    if (!is_relative) {
        target_to_scratch(t, insn);
    }
    move_stack(t, -(int32_t)word(t));
    if (is_relative) {
        emit_go_to(t, target);
    } else {
        emit_indirect(t);
    }
    return TRANSLATED_END;
}

static Translated translate_ret(Translator *t, const Insn *insn)
{
    bool has_imm = insn->operand_count && insn->operand[0].kind == OPERAND_IMM;
    if (!is_plain_stack(t, insn)) {
        return TRANSLATE_INTERP;
    }
    InsnMemory mem = stack_at(0);
    HostRm slot = emit_access(t, &mem, word(t), word(t), false);
    emit_load(&t->e, word(t), SCRATCH_B, slot);
    unsigned popped = word(t) + (has_imm ? (uint16_t)insn->imm : 0);
    move_stack(t, (int32_t)popped);
    emit_indirect_from(t, popped);
    return TRANSLATED_END;
}

Translated translate_branch(Translator *t, const Insn *insn)
{
    if (insn->kind & INSN_SYSTEM) {
        return TRANSLATE_INTERP;
    }
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return is_plain_stack(t, insn) ? translate_jmp(t, insn) : TRANSLATE_INTERP;
    case ZYDIS_MNEMONIC_CALL:
        return translate_call(t, insn);
    case ZYDIS_MNEMONIC_RET:
        return translate_ret(t, insn);
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        return translate_counted(t, insn);
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JCXZ:
        return TRANSLATE_INTERP;
    default:
        return (insn->kind & INSN_CONDITIONAL) && !has_operand_prefix(insn) ? translate_jcc(t, insn)
                                                                            : TRANSLATE_INTERP;
    }
}

static Translated translate_push(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    const InsnOperand *operand = &insn->operand[0];
    HostRm slot;
    switch (operand->kind) {
    case OPERAND_GPR:
        slot = push_slot(t);
        if (home_of(operand->reg) != HOST_NONE) {
            emit_store(e, word(t), slot, home_of(operand->reg));
        } else {
            emit_load(e, 8, SCRATCH_B, gpr_state(operand->reg));
            emit_store(e, word(t), slot, SCRATCH_B);
        }
        break;
    case OPERAND_IMM:
        slot = push_slot(t);
        emit_store_imm(e, word(t), slot, (int32_t)insn->imm);
        break;
    case OPERAND_MEM:
        if (!load_target(t, insn)) {
            return TRANSLATE_INTERP;
        }
        slot = push_slot(t);
        emit_load(e, 8, SCRATCH_B, STATE(scratch[1]));
        emit_store(e, word(t), slot, SCRATCH_B);
        break;
    default:
        return TRANSLATE_INTERP;
    }
    move_stack(t, -(int32_t)word(t));
    return TRANSLATED;
}

static Translated translate_pop(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    const InsnOperand *operand = &insn->operand[0];
    if (operand->kind != OPERAND_GPR) {
        return TRANSLATE_INTERP;
    }
    InsnMemory mem = stack_at(0);
    HostRm slot = emit_access(t, &mem, word(t), word(t), false);
    unsigned home = home_of(operand->reg);
    unsigned to = home == HOST_NONE ? SCRATCH_B : home;
    emit_load(e, word(t), to, slot);
    if (operand->reg != CPU_RSP) {
        move_stack(t, (int32_t)word(t));
    }
    if (home == HOST_NONE) {
        emit_store(e, 8, gpr_state(operand->reg), SCRATCH_B);
    }
    return TRANSLATED;
}

static Translated translate_leave(Translator *t)
{
    Emit *e = &t->e;
    InsnMemory mem = { .segment = CPU_SS, .base = CPU_RBP, .index = INSN_NO_REG };
    HostRm slot = emit_access(t, &mem, word(t), word(t), false);
    emit_load(e, word(t), SCRATCH_B, slot);
    emit_lea(e, word(t), HOST_GUEST_RSP, rm_mem(HOST_RBP, HOST_NONE, 0, (int32_t)word(t)));
    emit_load(e, 8, HOST_RBP, rm_reg(SCRATCH_B));
    return TRANSLATED;
}

Translated translate_stack(Translator *t, const Insn *insn)
{
    if (!is_plain_stack(t, insn)) {
        return TRANSLATE_INTERP;
    }
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        return translate_push(t, insn);
    case ZYDIS_MNEMONIC_POP:
        return translate_pop(t, insn);
    default:
        return translate_leave(t);
    }
}
