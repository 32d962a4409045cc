/* Guest memory accesses in emitted code: addresses, the software TLB's check, cold pieces.
 *
 * The check looks the page of the first byte up and compares with the page of the last, so that an
 * access over a page end misses. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/translator.h"

static const uint8_t pushfq = 0x9c, popfq = 0x9d;

unsigned home_of(unsigned guest_reg)
{
    return guest_reg == CPU_RSP ? HOST_GUEST_RSP : guest_reg < 13 ? guest_reg : HOST_NONE;
}

HostRm gpr_state(unsigned guest_reg)
{
    return rm_state(offsetof(Vcpu, gpr) + guest_reg * 8);
}

static bool has_segment_base(const InsnMemory *mem)
{
    return mem->segment == CPU_FS || mem->segment == CPU_GS;
}

static HostRm segment_base(const InsnMemory *mem)
{
    return rm_state(offsetof(Vcpu, segment) + mem->segment * sizeof(CpuSegment) +
                    offsetof(CpuSegment, base));
}

static bool fits(int64_t disp)
{
    return disp == (int32_t)disp;
}

static bool in_register(uint8_t reg)
{
    return reg != INSN_NO_REG && reg != INSN_REG_RIP && home_of(reg) != HOST_NONE;
}

/* Offset that goes with the base: RIP means the next instruction. */
static int64_t disp_of(const Translator *t, const InsnMemory *mem)
{
    if (mem->base != INSN_REG_RIP) {
        return mem->disp;
    }
    return mem->disp + t->at[t->now] + t->insn[t->now].length;
}

bool can_access(const Translator *t, const InsnMemory *mem, unsigned address_size, unsigned size)
{
    bool is_plain = (mem->base == INSN_NO_REG || in_register(mem->base)) &&
                    (mem->index == INSN_NO_REG || in_register(mem->index));
    /* Outside 64-bit code, code segments are not to be written. */
    if (size == 0 || size > 64 || address_size == 2 || (!t->is_64 && mem->segment == CPU_CS)) {
        return false;
    }
    if (address_size == 4 && (!is_plain || (t->is_64 && has_segment_base(mem)))) {
        return false;
    }
    return fits(disp_of(t, mem)) ||
           (mem->base == INSN_NO_REG && mem->index == INSN_NO_REG && !has_segment_base(mem));
}

/* What an address is added up in: up to four terms, one of them with a scale. */
typedef struct Sum {
    uint8_t to;   /* register that collects */
    uint8_t temp; /* another, or @to while it is empty */
    uint8_t size; /* 4: cut to 32 bits */
    bool empty;
} Sum;

static void sum_add(Emit *e, Sum *sum, unsigned reg, unsigned scale, int32_t disp)
{
    if (!sum->empty) {
        emit_lea(e, sum->size, sum->to, rm_mem(sum->to, reg, scale, disp));
    } else if (scale == 0) {
        emit_lea(e, sum->size, sum->to, rm_mem(reg, HOST_NONE, 0, disp));
    } else {
        emit_lea(e, sum->size, sum->to, rm_mem(HOST_NONE, reg, scale, disp));
    }
    sum->empty = false;
}

static void sum_add_state(Emit *e, Sum *sum, HostRm state, unsigned scale, int32_t disp)
{
    unsigned reg = sum->empty ? sum->to : sum->temp;
    emit_load(e, 8, reg, state);
    if (reg == sum->temp || scale || disp || sum->size == 4) {
        sum_add(e, sum, reg, scale, disp);
    }
    sum->empty = false;
}

static void sum_terms(Translator *t, Sum *sum, const InsnMemory *mem, bool with_segment)
{
    Emit *e = &t->e;
    int64_t disp = disp_of(t, mem);
    if (with_segment && has_segment_base(mem)) {
        sum_add_state(e, sum, segment_base(mem), 0, 0);
    }
    if (mem->base == INSN_REG_RIP) {
        sum_add_state(e, sum, STATE(code_base), 0, (int32_t)disp);
        disp = 0;
    } else if (mem->base != INSN_NO_REG && in_register(mem->base)) {
        if (sum->empty && in_register(mem->index)) {
            emit_lea(e, sum->size, sum->to,
                     rm_mem(home_of(mem->base), home_of(mem->index), mem->scale, (int32_t)disp));
            sum->empty = false;
            return;
        }
        sum_add(e, sum, home_of(mem->base), 0, (int32_t)disp);
        disp = 0;
    } else if (mem->base != INSN_NO_REG) {
        sum_add_state(e, sum, gpr_state(mem->base), 0, (int32_t)disp);
        disp = 0;
    }
    if (mem->index != INSN_NO_REG && in_register(mem->index)) {
        sum_add(e, sum, home_of(mem->index), mem->scale, (int32_t)disp);
    } else if (mem->index != INSN_NO_REG) {
        sum_add_state(e, sum, gpr_state(mem->index), mem->scale, (int32_t)disp);
    } else if (mem->base == INSN_NO_REG) {
        if (sum->empty) {
            emit_mov_imm64(e, sum->to, sum->size == 4 ? (uint32_t)disp : (uint64_t)disp);
        } else {
            emit_lea(e, sum->size, sum->to, rm_mem(sum->to, HOST_NONE, 0, (int32_t)disp));
        }
        sum->empty = false;
    }
}

void emit_address(Translator *t, const InsnMemory *mem, unsigned address_size, bool with_segment)
{
    Sum sum = { SCRATCH_A, SCRATCH_B, (uint8_t)address_size, true };
    sum_terms(t, &sum, mem, with_segment);
}

Cold *add_cold(Translator *t, ColdKind kind, uint8_t *site)
{
    if (t->cold_count == COLD_MAX) {
        t->e.full = true;
        t->cold_count--;
    }
    Cold *cold = &t->cold[t->cold_count++];
    *cold = (Cold){ .kind = (uint8_t)kind, .site = site, .guest = t->at[t->now] };
    return cold;
}

Cold *emit_cold_if_state(Translator *t, HostRm state, ColdKind kind)
{
    Emit *e = &t->e;
    if (!flags_live(t)) {
        emit_alu_imm(e, ALU_CMP, 4, state, 0);
        return add_cold(t, kind, emit_jcc(e, 5));
    }
    emit_store(e, 8, STATE(scratch[0]), HOST_RCX);
    emit_load(e, 4, HOST_RCX, state);
    uint8_t *zero = emit_jrcxz(e, 8);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    Cold *cold = add_cold(t, kind, emit_jmp(e));
    emit_patch8(e, zero, e->at);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    return cold;
}

void emit_need_vectors(Translator *t)
{
    if (!t->vectors_loaded) {
        Cold *cold = emit_cold_if_state(t, STATE(vector_away), COLD_VECTOR);
        cold->back = t->e.at;
        t->vectors_loaded = true;
    }
}

/* From the address in SCRATCH_A: SCRATCH_A the entry's position in units of 8 bytes, SCRATCH_B the
 * value to compare. */
static void emit_look_up(Translator *t, unsigned size)
{
    Emit *e = &t->e;
    emit_lea(e, 8, SCRATCH_B, rm_mem(SCRATCH_A, HOST_NONE, 0, (int32_t)size - 1));
    emit_shift_right(e, SCRATCH_A, 10);
    emit_alu(e, ALU_ADD, 4, SCRATCH_A, STATE(tlb_index));
    emit_shift_right(e, SCRATCH_B, 12);
    emit_alu(e, ALU_ADD, 8, SCRATCH_B, STATE(tlb_context));
    emit_alu_imm(e, ALU_AND, 4, rm_reg(SCRATCH_A), (TLB_ENTRIES - 1) * 4);
}

/* The three forms of the check return the jump taken on a miss. */
static uint8_t *emit_check(Translator *t, unsigned size, size_t tags)
{
    Emit *e = &t->e;
    emit_look_up(t, size);
    emit_alu(e, ALU_CMP, 8, SCRATCH_B, rm_table(tags, SCRATCH_A));
    return emit_jcc(e, 5);
}

static uint8_t *emit_check_pushing_flags(Translator *t, unsigned size, size_t tags)
{
    Emit *e = &t->e;
    emit_byte(e, pushfq);
    emit_look_up(t, size);
    emit_alu(e, ALU_CMP, 8, SCRATCH_B, rm_table(tags, SCRATCH_A));
    uint8_t *hit = emit_jcc(e, 4);
    emit_byte(e, popfq);
    uint8_t *miss = emit_jmp(e);
    emit_patch(e, hit, e->at);
    emit_byte(e, popfq);
    return miss;
}

/* Without touching flags: shifts and masks by PEXT, comparison by NOT, LEA and JRCXZ. */
static uint8_t *emit_check_keeping_flags(Translator *t, unsigned size, size_t tags)
{
    Emit *e = &t->e;
    emit_lea(e, 8, SCRATCH_B, rm_mem(SCRATCH_A, HOST_NONE, 0, (int32_t)size - 1));
    emit_store(e, 8, STATE(scratch[0]), HOST_RCX);
    emit_load(e, 8, HOST_RCX, STATE(tlb_context));
    emit_pext(e, SCRATCH_A, SCRATCH_A, STATE(page_mask));
    emit_pext(e, SCRATCH_B, SCRATCH_B, STATE(page_mask));
    emit_lea(e, 8, SCRATCH_A, rm_mem(SCRATCH_A, HOST_RCX, 0, 0));
    emit_lea(e, 8, SCRATCH_B, rm_mem(SCRATCH_B, HOST_RCX, 0, 0));
    emit_pext(e, SCRATCH_A, SCRATCH_A, STATE(index_mask));
    emit_lea(e, 8, SCRATCH_A, rm_mem(HOST_NONE, SCRATCH_A, 2, 0));
    emit_load(e, 8, HOST_RCX, rm_table(tags, SCRATCH_A));
    emit_not(e, HOST_RCX);
    emit_lea(e, 8, HOST_RCX, rm_mem(HOST_RCX, SCRATCH_B, 0, 1));
    uint8_t *hit = emit_jrcxz(e, 8);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    uint8_t *miss = emit_jmp(e);
    emit_patch8(e, hit, e->at);
    emit_load(e, 8, HOST_RCX, STATE(scratch[0]));
    return miss;
}

/* SCRATCH_A holds what to add to the linear address. */
static HostRm host_operand(Translator *t, const InsnMemory *mem, unsigned address_size)
{
    Emit *e = &t->e;
    int64_t disp = disp_of(t, mem);
    if (address_size == 4 || !fits(disp)) {
        Sum sum = { SCRATCH_B, SCRATCH_B, (uint8_t)address_size, true };
        sum_terms(t, &sum, mem, true);
        emit_lea(e, 8, SCRATCH_A, rm_mem(SCRATCH_A, SCRATCH_B, 0, 0));
        return rm_mem(SCRATCH_A, HOST_NONE, 0, 0);
    }
    if (!has_segment_base(mem) && mem->index == INSN_NO_REG && in_register(mem->base)) {
        return rm_mem(home_of(mem->base), SCRATCH_A, 0, (int32_t)disp);
    }
    Sum sum = { SCRATCH_A, SCRATCH_B, 8, false };
    sum_terms(t, &sum, mem, true);
    return rm_mem(SCRATCH_A, HOST_NONE, 0, 0);
}

HostRm emit_access(Translator *t, const InsnMemory *mem, unsigned address_size, unsigned size,
                   bool is_write)
{
    Emit *e = &t->e;
    size_t tags = is_write ? offsetof(Vcpu, tlb[0].write) : offsetof(Vcpu, tlb[0].read);
    if (!t->is_64 && has_segment_base(mem)) {
        unsigned which = mem->segment == CPU_GS;
        emit_cold_if_state(t, rm_state(offsetof(Vcpu, segment_odd) + which * 8), COLD_INTERP);
    }
    uint8_t *back = e->at;
    emit_address(t, mem, address_size, true);
    uint8_t *miss = !flags_live(t) ? emit_check(t, size, tags)
                    : t->has_bmi2  ? emit_check_keeping_flags(t, size, tags)
                                   : emit_check_pushing_flags(t, size, tags);
    Cold *cold = add_cold(t, COLD_SLOW, miss);
    cold->back = back;
    cold->mem = *mem;
    cold->address_size = (uint8_t)address_size;
    cold->size = (uint8_t)size;
    cold->is_write = is_write;
    cold->insn = t->now;
    emit_load(e, 8, SCRATCH_A, rm_table(offsetof(Vcpu, tlb[0].addend), SCRATCH_A));
    return host_operand(t, mem, address_size);
}

static void emit_one_cold(Translator *t, const Cold *cold)
{
    Emit *e = &t->e;
    const JitStubs *stubs = &t->jit->stubs;
    emit_patch(e, cold->site, e->at);
    switch ((ColdKind)cold->kind) {
    case COLD_SLOW:
        t->now = cold->insn;
        emit_address(t, &cold->mem, cold->address_size, true);
        emit_load(e, 8, SCRATCH_B, rm_reg(SCRATCH_A));
        emit_store_imm(e, 4, rm_reg(SCRATCH_A),
                       (int32_t)JIT_SLOW(cold->size, cold->is_write, cold->guest));
        emit_call_to(e, stub_at(t, stubs->slow));
        emit_jmp_to(e, cold->back);
        break;
    case COLD_INTERP:
        emit_rip(t, SCRATCH_A, cold->guest);
        emit_jmp_to(e, stub_at(t, stubs->exit_interp));
        break;
    case COLD_POLL:
        emit_rip(t, SCRATCH_A, cold->guest);
        emit_jmp_to(e, stub_at(t, stubs->exit_poll));
        break;
    case COLD_LINK:
        emit_rip(t, SCRATCH_A, cold->guest);
        emit_mov_imm64(e, SCRATCH_B,
                       (uint64_t)(cold->site - t->jit->write) |
                           (cold->is_back ? JIT_LINK_BACK : 0) |
                           (uint64_t)(t->page - t->jit->page) << JIT_LINK_PAGE_SHIFT);
        emit_jmp_to(e, stub_at(t, stubs->exit_link));
        break;
    case COLD_VECTOR:
        emit_call_to(e, stub_at(t, stubs->vector_load));
        emit_jmp_to(e, cold->back);
        break;
    }
}

void emit_cold(Translator *t)
{
    for (unsigned i = 0; i < t->cold_count; i++) {
        emit_one_cold(t, &t->cold[i]);
    }
}
