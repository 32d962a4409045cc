/* Ways into and out of translated code: emitted once for each VM.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/trampoline.h"

#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/jump-cache.h"

#define STATE(field) rm_state(offsetof(Vcpu, field))
#define XSAVE_ALL 7 /* x87, SSE, AVX */

/* Guest registers that live in host registers, and in which. */
static const struct {
    uint8_t guest, host;
} homes[] = {
    { 0, 0 },   { 1, 1 },   { 2, 2 },   { 3, 3 }, { 4, HOST_GUEST_RSP },
    { 5, 5 },   { 6, 6 },   { 7, 7 },   { 8, 8 }, { 9, 9 },
    { 10, 10 }, { 11, 11 }, { 12, 12 },
};

static HostRm gpr_home(unsigned guest)
{
    return rm_state(offsetof(Vcpu, gpr) + guest * 8);
}

static void load_registers(Emit *e)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(homes); i++) {
        emit_load(e, 8, homes[i].host, gpr_home(homes[i].guest));
    }
}

static void store_registers(Emit *e)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(homes); i++) {
        emit_store(e, 8, gpr_home(homes[i].guest), homes[i].host);
    }
}

static void push_state(Emit *e, HostRm what)
{
    emit_op(e, 0xff, 4, 6, what);
}

static void pop_state(Emit *e, HostRm what)
{
    emit_op(e, 0x8f, 4, 0, what);
}

/* Callee-saved registers and the vCPU below them; the stack is then aligned to 16 bytes. */
static const uint8_t push_saved[] = { 0x53, 0x55, 0x41, 0x54, 0x41, 0x55,
                                      0x41, 0x56, 0x41, 0x57, 0x57 };
static const uint8_t pop_saved[] = { 0x5f, 0x41, 0x5f, 0x41, 0x5e, 0x41,
                                     0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3 };
static const uint8_t pushfq = 0x9c, popfq = 0x9d, ret = 0xc3;

static void emit_enter(Emit *e)
{
    emit_bytes(e, push_saved, sizeof(push_saved));
    emit_store(e, 8, STATE(host_stack), HOST_RSP);
    emit_store(e, 8, STATE(scratch[7]), HOST_RSI);
    emit_load(e, 8, HOST_RAX, STATE(rflags));
    emit_alu_imm(e, ALU_AND, 4, rm_reg(HOST_RAX), JIT_FLAGS);
    emit_byte(e, 0x50); /* push rax */
    emit_byte(e, popfq);
    load_registers(e);
    emit_jmp_state(e, STATE(scratch[7]));
}

/* Memory holds the whole state then, whatever the processor says of its parts. */
static void mark_valid(Emit *e)
{
    emit_store_imm(e, 8, rm_state(offsetof(Vcpu, xsave) + XSAVE_HEADER), XSAVE_ALL);
    emit_store_imm(e, 8, rm_state(offsetof(Vcpu, xsave) + XSAVE_HEADER + 8), 0);
}

static void select_all(Emit *e)
{
    emit_store_imm(e, 4, rm_reg(HOST_RAX), XSAVE_ALL);
    emit_store_imm(e, 4, rm_reg(HOST_RDX), 0);
}

/* Changes RAX, RDX and flags. C code then finds the control words that it expects. */
static void save_vectors(Emit *e, bool has_avx)
{
    static const uint8_t fninit[] = { 0xdb, 0xe3 }, vzeroupper[] = { 0xc5, 0xf8, 0x77 };
    emit_alu_imm(e, ALU_CMP, 4, STATE(vector_away), 0);
    uint8_t *skip = emit_jcc(e, 5);
    select_all(e);
    emit_op_0f(e, 0xae, 8, 4, STATE(xsave)); /* xsave64 */
    mark_valid(e);
    /* The last x87 instruction was at a host address, which the guest must not see. */
    emit_store_imm(e, 8, rm_state(offsetof(Vcpu, xsave) + XSAVE_FIP), 0);
    emit_store_imm(e, 8, rm_state(offsetof(Vcpu, xsave) + XSAVE_FDP), 0);
    emit_bytes(e, fninit, sizeof(fninit));
    emit_store_imm(e, 4, STATE(scratch[5]), MXCSR_DEFAULT);
    emit_op_0f(e, 0xae, 4, 2, STATE(scratch[5])); /* ldmxcsr */
    if (has_avx) {
        emit_bytes(e, vzeroupper, sizeof(vzeroupper));
    }
    emit_patch(e, skip, e->at);
}

static void emit_exit_tail(Emit *e)
{
    emit_load(e, 8, HOST_RAX, STATE(scratch[6]));
    emit_alu_imm(e, ALU_AND, 4, rm_reg(HOST_RAX), JIT_FLAGS);
    emit_alu_imm(e, ALU_AND, 8, STATE(rflags), ~JIT_FLAGS);
    emit_op(e, 0x09, 8, HOST_RAX, STATE(rflags)); /* or */
    emit_store_imm(e, 8, STATE(vector_away), 1);
    emit_load(e, 8, HOST_RSP, STATE(host_stack));
    emit_bytes(e, pop_saved, sizeof(pop_saved));
}

static void save_state(Emit *e, bool has_avx)
{
    store_registers(e);
    emit_byte(e, pushfq);
    pop_state(e, STATE(scratch[6]));
    save_vectors(e, has_avx);
}

void trampoline_emit_jump(const JitVm *jit, Emit *e)
{
    if (jit->has_bmi2) {
        emit_rorx(e, SCRATCH_A, SCRATCH_B, JUMP_BITS);
        emit_lea(e, 8, SCRATCH_A, rm_mem(SCRATCH_A, SCRATCH_B, 0, 0));
        emit_pext(e, SCRATCH_A, SCRATCH_A, STATE(jump_mask));
    } else {
        emit_op_0f(e, 0xb6, 4, SCRATCH_A, rm_reg(SCRATCH_B)); /* movzx */
    }
    emit_lea(e, 8, SCRATCH_A, rm_mem(SCRATCH_A, SCRATCH_A, 0, 0));
    emit_jmp_state(e, rm_table(offsetof(Vcpu, jump[0].code), SCRATCH_A));
}

static void load_state(Emit *e)
{
    push_state(e, STATE(scratch[6]));
    emit_byte(e, popfq);
    load_registers(e);
}

/* Calls C code that finds the whole state in the Vcpu; see JitGo. */
static void emit_helper(JitVm *jit, Emit *e, uintptr_t function, uint8_t *exit_tail)
{
    static const uint8_t call_rax[] = { 0xff, 0xd0 };
    save_state(e, jit->has_avx);
    emit_load(e, 8, HOST_RAX, STATE(host_stack));
    emit_load(e, 8, HOST_RDI, rm_mem(HOST_RAX, HOST_NONE, 0, 0));
    emit_load(e, 8, HOST_RSI, rm_reg(SCRATCH_B));
    emit_load(e, 4, HOST_RDX, rm_reg(SCRATCH_A));
    emit_mov_imm64(e, HOST_RAX, function);
    emit_lea(e, 8, HOST_RSP, rm_mem(HOST_RSP, HOST_NONE, 0, -8));
    emit_bytes(e, call_rax, sizeof(call_rax));
    emit_lea(e, 8, HOST_RSP, rm_mem(HOST_RSP, HOST_NONE, 0, 8));
    emit_alu_imm(e, ALU_CMP, 4, rm_reg(HOST_RAX), JIT_GO_EXIT);
    uint8_t *on = emit_jcc(e, 2);
    emit_patch(e, emit_jcc(e, 4), exit_tail);

    emit_load(e, 8, HOST_RSP, STATE(host_stack));
    load_state(e);
    emit_load(e, 8, SCRATCH_B, STATE(rip));
    trampoline_emit_jump(jit, e);

    emit_patch(e, on, e->at);
    emit_alu_imm(e, ALU_CMP, 4, STATE(vector_away), 0);
    uint8_t *skip = emit_jcc(e, 5);
    select_all(e);
    emit_op_0f(e, 0xae, 8, 5, STATE(xsave)); /* xrstor64 */
    emit_patch(e, skip, e->at);
    load_state(e);
    emit_byte(e, ret);
}

/* Changes scratch registers only. */
static void emit_vector_load(Emit *e)
{
    emit_load(e, 8, SCRATCH_A, rm_reg(HOST_RAX));
    emit_load(e, 8, SCRATCH_B, rm_reg(HOST_RDX));
    select_all(e);
    mark_valid(e);
    emit_op_0f(e, 0xae, 8, 5, STATE(xsave)); /* xrstor64 */
    emit_store_imm(e, 8, STATE(vector_away), 0);
    emit_load(e, 8, HOST_RAX, rm_reg(SCRATCH_A));
    emit_load(e, 8, HOST_RDX, rm_reg(SCRATCH_B));
    emit_byte(e, ret);
}

static uint32_t here(const JitVm *jit, const Emit *e)
{
    return (uint32_t)(e->at - jit->write);
}

/* An exit with its reason; @rip: register that holds the address to go on at. */
static uint32_t emit_exit(JitVm *jit, Emit *e, JitExit reason, unsigned rip, const uint8_t *common)
{
    uint32_t at = here(jit, e);
    if (rip != HOST_NONE) {
        emit_store(e, 8, STATE(rip), rip);
    }
    if (reason == JIT_EXIT_LINK) {
        emit_store(e, 8, STATE(exit_info), SCRATCH_B);
    }
    emit_store_imm(e, 8, STATE(exit_reason), (int32_t)reason);
    emit_jmp_to(e, common);
    return at;
}

/* Registers that C code may change. */
static const uint8_t caller_saved[] = { 0, 1, 2, 6, 7, 8, 9, 10, 11 };

/* Calls C code that leaves vector registers alone, with the vCPU as first argument and the others
 * as they are. RAX is the result; the guest's registers and flags are to be reloaded. */
static void emit_light_call(Emit *e, uintptr_t function)
{
    static const uint8_t call_rax[] = { 0xff, 0xd0 };
    emit_load(e, 8, HOST_RDI, rm_mem(HOST_RSP, HOST_NONE, 0, 0));
    emit_mov_imm64(e, HOST_RAX, function);
    emit_bytes(e, call_rax, sizeof(call_rax));
}

static void save_caller_saved(Emit *e)
{
    for (unsigned i = 0; i < sizeof(caller_saved); i++) {
        emit_store(e, 8, gpr_home(caller_saved[i]), caller_saved[i]);
    }
    emit_byte(e, pushfq);
    pop_state(e, STATE(scratch[6]));
}

static void load_caller_saved(Emit *e)
{
    push_state(e, STATE(scratch[6]));
    emit_byte(e, popfq);
    for (unsigned i = 0; i < sizeof(caller_saved); i++) {
        emit_load(e, 8, caller_saved[i], gpr_home(caller_saved[i]));
    }
}

/* The jump cache has no entry for the address in SCRATCH_B. */
static void emit_find(JitVm *jit, Emit *e, const uint8_t *common)
{
    jit->stubs.exit_jump = here(jit, e);
    save_caller_saved(e);
    emit_store(e, 8, STATE(scratch[4]), SCRATCH_B);
    emit_load(e, 8, HOST_RSI, rm_reg(SCRATCH_B));
    emit_light_call(e, (uintptr_t)jump_cache_find);
    emit_op(e, 0x85, 4, HOST_RAX, rm_reg(HOST_RAX)); /* test */
    uint8_t *missing = emit_jcc(e, 4);
    load_caller_saved(e);
    emit_load(e, 8, SCRATCH_B, STATE(scratch[4]));
    trampoline_emit_jump(jit, e);
    emit_patch(e, missing, e->at);
    load_caller_saved(e);
    emit_load(e, 8, SCRATCH_B, STATE(scratch[4]));
    emit_exit(jit, e, JIT_EXIT_JUMP, SCRATCH_B, common);
}

/* A direct jump is not linked. */
static void emit_link(JitVm *jit, Emit *e, const uint8_t *common)
{
    jit->stubs.exit_link = here(jit, e);
    save_caller_saved(e);
    emit_store(e, 8, STATE(scratch[3]), SCRATCH_A);
    emit_store(e, 8, STATE(scratch[4]), SCRATCH_B);
    emit_load(e, 8, HOST_RSI, rm_reg(SCRATCH_A));
    emit_load(e, 8, HOST_RDX, rm_reg(SCRATCH_B));
    emit_light_call(e, (uintptr_t)jump_cache_link);
    emit_op(e, 0x85, 8, HOST_RAX, rm_reg(HOST_RAX)); /* test */
    uint8_t *missing = emit_jcc(e, 4);
    emit_store(e, 8, STATE(scratch[3]), HOST_RAX);
    load_caller_saved(e);
    emit_jmp_state(e, STATE(scratch[3]));
    emit_patch(e, missing, e->at);
    load_caller_saved(e);
    emit_load(e, 8, SCRATCH_A, STATE(scratch[3]));
    emit_load(e, 8, SCRATCH_B, STATE(scratch[4]));
    emit_exit(jit, e, JIT_EXIT_LINK, SCRATCH_A, common);
}

void trampoline_emit(JitVm *jit)
{
    Emit e = { .at = jit->write, .end = jit->write + jit->bytes };
    JitStubs *stubs = &jit->stubs;
    emit_enter(&e);
    uint8_t *exit_common = e.at;
    save_state(&e, jit->has_avx);
    uint8_t *exit_tail = e.at;
    emit_exit_tail(&e);

    emit_find(jit, &e, exit_common);
    emit_link(jit, &e, exit_common);
    stubs->exit_interp = emit_exit(jit, &e, JIT_EXIT_INTERP, SCRATCH_A, exit_common);
    stubs->exit_poll = emit_exit(jit, &e, JIT_EXIT_POLL, SCRATCH_A, exit_common);
    stubs->exit_fault = emit_exit(jit, &e, JIT_EXIT_FAULT, HOST_NONE, exit_common);
    stubs->slow = here(jit, &e);
    emit_helper(jit, &e, (uintptr_t)jit_slow_access, exit_tail);
    stubs->interpret = here(jit, &e);
    emit_helper(jit, &e, (uintptr_t)jit_interpret, exit_tail);
    stubs->vector_load = here(jit, &e);
    emit_vector_load(&e);
    while ((uintptr_t)e.at & 63) {
        emit_byte(&e, 0xcc);
    }
    stubs->end = here(jit, &e);
    /* A function pointer made from the executable mapping. */
    union {
        const uint8_t *bytes;
        void (*enter)(Vcpu *vcpu, const void *code);
    } start = { .bytes = jit->exec };
    stubs->enter = start.enter;
    jit->next = e.at;
}
