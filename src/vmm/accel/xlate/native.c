/* Vector, x87 and bit-manipulation instructions, run by the host's own.
 *
 * A stub loads the guest registers that an instruction names, executes it with its memory operand
 * replaced by a buffer, and stores the registers back. Stubs are kept by the instruction's bytes,
 * in memory that is mapped twice: once to write, once to execute.
 *
 * Exceptions of SSE arithmetic are found by their sticky flags, with all of them masked; those of
 * x87 by the error summary, which the next waiting instruction turns into #MF. Left out: overflow
 * and underflow, when unmasked, are deduced from the masked result, so tiny results that are exact
 * do not signal underflow here.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/interp-ops.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STUB_BYTES_MAX 1024u
#define CACHE_BYTES (512u * 1024)
#define SLOTS 4096u
#define MEMORY_BYTES 512u

/* What a stub works on; rdi points here. */
typedef struct NativeContext {
    uint64_t gpr[16];
    uint64_t rflags;
    uint8_t *xsave;
    uint32_t host_mxcsr;
    uint32_t guest_mxcsr;
    uint16_t host_fcw;
} NativeContext;

typedef struct NativeSlot {
    uint8_t bytes[INSN_BYTES_MAX]; /* what the stub executes, all zero: free */
    uint8_t length;
    uint8_t kind;
    uint32_t entry;
} NativeSlot;

struct NativeCache {
    uint8_t *write, *execute;
    uint32_t used;
    bool has[128]; /* by ZYDIS_ISA_EXT_* */
    NativeSlot slot[SLOTS];
    uint8_t memory[MEMORY_BYTES] LODGE_ALIGNED(64);
    NativeContext context;
};

static bool host_has(uint8_t isa_ext);

bool native_init(Vcpu *vcpu)
{
    NativeCache *cache = aligned_alloc(64, (sizeof(*cache) + 63) & ~(size_t)63);
    int fd = memfd_create("lodge-native", MFD_CLOEXEC);
    if (!cache || fd < 0 || ftruncate(fd, CACHE_BYTES) < 0) {
        goto fail;
    }
    memset(cache, 0, sizeof(*cache));
    cache->write = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cache->execute = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (cache->write == MAP_FAILED || cache->execute == MAP_FAILED) {
        goto fail;
    }
    close(fd);
    for (unsigned i = 0; i < ARRAY_LENGTH(cache->has); i++) {
        cache->has[i] = host_has((uint8_t)i);
    }
    vcpu->native = cache;
    return true;
fail:
    if (fd >= 0) {
        close(fd);
    }
    free(cache);
    return false;
}

void native_done(Vcpu *vcpu)
{
    if (vcpu->native) {
        munmap(vcpu->native->write, CACHE_BYTES);
        munmap(vcpu->native->execute, CACHE_BYTES);
        free(vcpu->native);
        vcpu->native = NULL;
    }
}

/* -- the instruction, re-encoded -- */

/* How the host's instruction differs from the guest's. */
typedef struct Plan {
    uint8_t bytes[INSN_BYTES_MAX + 1];
    unsigned length;
    uint8_t memory_reg;   /* low register that holds the buffer's address; 0xff: none */
    uint8_t stack_reg;    /* low register in place of rsp; 0xff: rsp is not named */
    uint32_t vectors;     /* registers to load and store */
    bool avx, sse, whole; /* whole: x87 and MMX, all state by FXSAVE */
} Plan;

static bool names_gpr(const Insn *insn, unsigned reg)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].kind == OPERAND_GPR && insn->operand[i].reg == reg) {
            return true;
        }
    }
    return false;
}

/* rsi, rdi or rbx: none is implicit in an instruction that comes here. */
static uint8_t free_register(const Insn *insn, uint8_t taken)
{
    static const uint8_t candidates[] = { CPU_RSI, CPU_RDI, CPU_RBX, CPU_RBP };
    for (unsigned i = 0; i < sizeof(candidates); i++) {
        if (candidates[i] != taken && !names_gpr(insn, candidates[i])) {
            return candidates[i];
        }
    }
    return CPU_RSI;
}

static void put(Plan *plan, uint8_t byte)
{
    plan->bytes[plan->length++] = byte;
}

static void put_prefixes(Plan *plan, const Insn *insn, unsigned end)
{
    bool has_66 = false;
    for (unsigned i = 0; i < end; i++) {
        uint8_t byte = insn->bytes[i];
        if (byte == 0xf2 || byte == 0xf3 || (byte == 0x66 && !(insn->kind & INSN_X87))) {
            put(plan, byte);
            has_66 |= byte == 0x66;
        }
    }
    /* 16-bit operands of x87 environments, and of 16-bit code without a prefix. */
    if ((insn->kind & INSN_X87) && insn->operand_size == 2 && !has_66) {
        put(plan, 0x66);
    }
}

/* Where the opcode's first byte lies: behind prefixes and REX or VEX. */
static unsigned opcode_start(const Insn *insn)
{
    unsigned at = insn->opcode_at;
    if (insn->prefixes & INSN_VEX) {
        return at;
    }
    while (at > 0 && at > insn->opcode_at - 2u && insn->bytes[at - 1] != 0x0f) {
        if (insn->map != ZYDIS_OPCODE_MAP_0F38 && insn->map != ZYDIS_OPCODE_MAP_0F3A) {
            break;
        }
        at--;
    }
    return insn->map == ZYDIS_OPCODE_MAP_DEFAULT ? insn->opcode_at : at - 1;
}

/* Replaces rsp, where a field names it as a general register. */
static uint8_t patch_modrm(const Insn *insn, Plan *plan, uint8_t modrm)
{
    if (plan->memory_reg != 0xff) {
        modrm = (uint8_t)((modrm & 0x38) | plan->memory_reg);
        if (plan->memory_reg == CPU_RBP) {
            modrm |= 0x40; /* needs a displacement */
        }
    }
    for (unsigned i = 0; i < insn->operand_count && plan->stack_reg != 0xff; i++) {
        const InsnOperand *op = &insn->operand[i];
        if (op->kind != OPERAND_GPR || op->reg != CPU_RSP) {
            continue;
        }
        if (op->place == PLACE_MODRM_REG) {
            modrm = (uint8_t)((modrm & ~0x38) | plan->stack_reg << 3);
        } else if (op->place == PLACE_MODRM_RM) {
            modrm = (uint8_t)((modrm & ~7) | plan->stack_reg);
        }
    }
    return modrm;
}

static void put_vex(Plan *plan, const Insn *insn)
{
    const uint8_t *vex = insn->bytes + insn->rex_vex;
    unsigned length = vex[0] == 0xc5 ? 2 : 3;
    uint8_t last = vex[length - 1];
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const InsnOperand *op = &insn->operand[i];
        if (op->kind == OPERAND_GPR && op->reg == CPU_RSP && op->place == PLACE_VEX) {
            last = (uint8_t)((last & ~0x78) | (~plan->stack_reg & 15) << 3);
        }
    }
    put(plan, vex[0]);
    if (length == 3) {
        put(plan, plan->memory_reg != 0xff ? vex[1] | 0x60 : vex[1]);
    }
    put(plan, last);
}

static void reencode(Plan *plan, const Insn *insn, bool has_memory)
{
    bool is_vex = insn->prefixes & INSN_VEX;
    unsigned start = opcode_start(insn);
    plan->stack_reg = names_gpr(insn, CPU_RSP) ? free_register(insn, 0xff) : 0xff;
    plan->memory_reg = has_memory ? free_register(insn, plan->stack_reg) : 0xff;
    if (is_vex) {
        put_vex(plan, insn);
    } else {
        bool has_rex = insn->rex_vex != 0xff;
        put_prefixes(plan, insn, has_rex ? insn->rex_vex : start);
        if (has_rex) {
            uint8_t rex = insn->bytes[insn->rex_vex];
            put(plan, has_memory ? rex & ~3 : rex);
        }
    }
    for (unsigned i = start; i <= insn->opcode_at; i++) {
        put(plan, insn->bytes[i]);
    }
    if (insn->prefixes & INSN_HAS_MODRM) {
        put(plan, patch_modrm(insn, plan, insn->modrm));
        if (plan->memory_reg == CPU_RBP) {
            put(plan, 0);
        }
    }
    for (unsigned i = insn->imm_at; i < insn->length; i++) {
        put(plan, insn->bytes[i]);
    }
}

static Plan make_plan(const Insn *insn, bool has_memory)
{
    Plan plan = { .avx = insn->kind & INSN_AVX,
                  /* MMX instructions include conversions, which use MXCSR. */
                  .sse = insn->kind & (INSN_SSE | INSN_MMX),
                  .whole = insn->kind & (INSN_X87 | INSN_MMX) };
    reencode(&plan, insn, has_memory);
    if (plan.avx || plan.sse) {
        plan.vectors = 1; /* implicit in a few */
        for (unsigned i = 0; i < insn->operand_count; i++) {
            if (insn->operand[i].kind == OPERAND_VECTOR) {
                plan.vectors |= 1u << insn->operand[i].reg;
            }
        }
    }
    return plan;
}

/* -- the stub -- */

typedef struct Code {
    uint8_t *at;
} Code;

static void emit(Code *code, const char *bytes, unsigned count)
{
    memcpy(code->at, bytes, count);
    code->at += count;
}

#define EMIT(code, text) emit((code), (text), sizeof(text) - 1)

static void emit32(Code *code, uint32_t value)
{
    memcpy(code->at, &value, 4);
    code->at += 4;
}

/* REX.W 8b or 89 between a register and [rdi + disp32] */
static void emit_context_move(Code *code, uint8_t opcode, unsigned reg, size_t disp)
{
    *code->at++ = (uint8_t)(0x48 | (reg >> 3) << 2);
    *code->at++ = opcode;
    *code->at++ = (uint8_t)(0x87 | (reg & 7) << 3);
    emit32(code, (uint32_t)disp);
}

#define OPCODE_LOAD 0x8b
#define OPCODE_STORE 0x89

/* movups between xmm and [rax + disp32] */
static void emit_xmm_move(Code *code, bool store, unsigned reg, unsigned disp)
{
    if (reg >= 8) {
        *code->at++ = 0x44;
    }
    *code->at++ = 0x0f;
    *code->at++ = store ? 0x11 : 0x10;
    *code->at++ = (uint8_t)(0x80 | (reg & 7) << 3);
    emit32(code, disp);
}

/* vmovups xmm, [rax + disp32] */
static void emit_vmovups(Code *code, bool store, unsigned reg, unsigned disp)
{
    *code->at++ = 0xc5;
    *code->at++ = (uint8_t)((reg < 8 ? 0x80 : 0) | 0x78);
    *code->at++ = store ? 0x11 : 0x10;
    *code->at++ = (uint8_t)(0x80 | (reg & 7) << 3);
    emit32(code, disp);
}

/* vinsertf128 ymm, ymm, [rax + disp32], 1 or vextractf128 [rax + disp32], ymm, 1 */
static void emit_high_move(Code *code, bool store, unsigned reg, unsigned disp)
{
    unsigned vvvv = store ? 0 : reg;
    *code->at++ = 0xc4;
    *code->at++ = (uint8_t)((reg < 8 ? 0x80 : 0) | 0x63);
    *code->at++ = (uint8_t)((~vvvv & 15) << 3 | 0x05);
    *code->at++ = store ? 0x19 : 0x18;
    *code->at++ = (uint8_t)(0x80 | (reg & 7) << 3);
    emit32(code, disp);
    *code->at++ = 1;
}

static void emit_vectors(Code *code, const Plan *plan, bool store)
{
    for (unsigned reg = 0; reg < 16; reg++) {
        if (!(plan->vectors >> reg & 1) || plan->whole) {
            continue;
        }
        unsigned low = XSAVE_XMM + reg * 16, high = XSAVE_YMM_HIGH + reg * 16;
        if (plan->avx) {
            emit_vmovups(code, store, reg, low);
            emit_high_move(code, store, reg, high);
        } else {
            emit_xmm_move(code, store, reg, low);
        }
    }
}

static void emit_enter(Code *code, const Plan *plan, bool reads_flags)
{
    EMIT(code, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57\x57"); /* push rbx rbp r12-r15 rdi */
    emit_context_move(code, OPCODE_LOAD, CPU_RAX, offsetof(NativeContext, xsave));
    if (plan->whole) {
        EMIT(code, "\x48\x0f\xae\x08"); /* fxrstor64 [rax] */
    }
    if (plan->avx || plan->sse) {
        EMIT(code, "\x0f\xae\x97"); /* ldmxcsr [rdi + disp32] */
        emit32(code, offsetof(NativeContext, guest_mxcsr));
    }
    emit_vectors(code, plan, false);
    if (reads_flags) {
        EMIT(code, "\xff\xb7"); /* push [rdi + disp32]; popfq */
        emit32(code, offsetof(NativeContext, rflags));
        EMIT(code, "\x9d");
    }
    for (unsigned reg = 0; reg < 16; reg++) {
        if (reg != CPU_RSP && reg != CPU_RDI) {
            emit_context_move(code, OPCODE_LOAD, reg, reg * 8);
        }
    }
    emit_context_move(code, OPCODE_LOAD, CPU_RDI, CPU_RDI * 8);
}

static void emit_leave(Code *code, const Plan *plan)
{
    EMIT(code, "\x48\x87\x3c\x24"); /* xchg [rsp], rdi */
    for (unsigned reg = 0; reg < 16; reg++) {
        if (reg != CPU_RSP && reg != CPU_RDI) {
            emit_context_move(code, OPCODE_STORE, reg, reg * 8);
        }
    }
    EMIT(code, "\x9c\x58"); /* pushfq; pop rax */
    emit_context_move(code, OPCODE_STORE, CPU_RAX, offsetof(NativeContext, rflags));
    EMIT(code, "\x58"); /* pop rax: the guest's rdi */
    emit_context_move(code, OPCODE_STORE, CPU_RAX, CPU_RDI * 8);
    emit_context_move(code, OPCODE_LOAD, CPU_RAX, offsetof(NativeContext, xsave));
    emit_vectors(code, plan, true);
    if (plan->avx || plan->sse) {
        EMIT(code, "\x0f\xae\x9f"); /* stmxcsr [rdi + disp32] */
        emit32(code, offsetof(NativeContext, guest_mxcsr));
    }
    if (plan->whole) {
        EMIT(code,
             "\x48\x0f\xae\x00\xdb\xe3\xd9\xaf"); /* fxsave64 [rax]; fninit; fldcw [rdi + .] */
        emit32(code, offsetof(NativeContext, host_fcw));
    }
    EMIT(code, "\x0f\xae\x97"); /* ldmxcsr [rdi + disp32] */
    emit32(code, offsetof(NativeContext, host_mxcsr));
    if (plan->avx) {
        EMIT(code, "\xc5\xf8\x77"); /* vzeroupper */
    }
    EMIT(code, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3"); /* pop r15-r12 rbp rbx; ret */
}

static uint32_t make_stub(NativeCache *cache, const Plan *plan, bool reads_flags)
{
    if (cache->used + STUB_BYTES_MAX > CACHE_BYTES) {
        memset(cache->slot, 0, sizeof(cache->slot));
        cache->used = 0;
    }
    uint32_t entry = cache->used;
    Code code = { cache->write + entry };
    emit_enter(&code, plan, reads_flags);
    emit(&code, (const char *)plan->bytes, plan->length);
    emit_leave(&code, plan);
    cache->used = ((uint32_t)(code.at - cache->write) + 15) & ~15u;
    return entry;
}

static uint32_t find_stub(NativeCache *cache, const Plan *plan, bool reads_flags)
{
    uint8_t kind = (uint8_t)(1 | plan->avx << 1 | plan->sse << 2 | plan->whole << 3);
    uint32_t hash = 2166136261u;
    for (unsigned i = 0; i < plan->length; i++) {
        hash = (hash ^ plan->bytes[i]) * 16777619u;
    }
    NativeSlot *slot = &cache->slot[hash % SLOTS];
    if (slot->length != plan->length || slot->kind != kind ||
        memcmp(slot->bytes, plan->bytes, plan->length) != 0) {
        uint32_t entry = make_stub(cache, plan, reads_flags);
        slot->length = (uint8_t)plan->length;
        slot->kind = kind;
        slot->entry = entry;
        memcpy(slot->bytes, plan->bytes, plan->length);
    }
    return slot->entry;
}

/* -- checks -- */

static bool is_non_waiting(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
        return true;
    default:
        return false;
    }
}

static bool keeps_pointers(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FWAIT:
        return true;
    default:
        return is_non_waiting(insn);
    }
}

void fpu_check(Vcpu *vcpu, const Insn *insn)
{
    if (insn->kind & INSN_AVX) {
        if (vcpu->mode & MODE_AVX_OFF) {
            raise_exception(vcpu, EXCEPTION_UD);
        }
    } else if (insn->kind & INSN_SSE) {
        if (vcpu->mode & MODE_SSE_OFF) {
            raise_exception(vcpu, EXCEPTION_UD);
        }
    } else if ((insn->kind & INSN_MMX) && (vcpu->cr0 & CR0_EM)) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    if (insn->mnemonic == ZYDIS_MNEMONIC_FWAIT) {
        if ((vcpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
            raise_exception(vcpu, EXCEPTION_NM);
        }
    } else if ((vcpu->cr0 & CR0_TS) || ((insn->kind & INSN_X87) && (vcpu->cr0 & CR0_EM))) {
        raise_exception(vcpu, EXCEPTION_NM);
    }
    if ((insn->kind & (INSN_X87 | INSN_MMX)) && (vcpu->xsave[XSAVE_FSW] & FSW_ERROR) &&
        !is_non_waiting(insn)) {
        raise_exception(vcpu, EXCEPTION_MF);
    }
}

static bool allows_unaligned(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
        return true;
    default:
        return false;
    }
}

static bool needs_alignment_with_vex(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        return true;
    default:
        return false;
    }
}

static void check_alignment(Vcpu *vcpu, const Insn *insn, uint64_t linear, unsigned size)
{
    if (size < 16) {
        return;
    }
    bool matters = insn->kind & INSN_AVX
                       ? needs_alignment_with_vex(insn)
                       : (insn->kind & (INSN_SSE | INSN_MMX)) && !allows_unaligned(insn);
    if (matters && linear % size != 0) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

/* -- what the host has -- */

static bool cpuid_bit(uint32_t leaf, unsigned reg, unsigned bit)
{
    uint32_t r[4];
    if (!__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3])) {
        return false;
    }
    return r[reg] >> bit & 1;
}

/* An extension outside x86-64-v3 or the host's own would end the process. */
static bool host_has(uint8_t isa_ext)
{
    switch (isa_ext) {
    case ZYDIS_ISA_EXT_SSE3:
        return cpuid_bit(1, 2, 0);
    case ZYDIS_ISA_EXT_SSSE3:
        return cpuid_bit(1, 2, 9);
    case ZYDIS_ISA_EXT_SSE4:
        return cpuid_bit(1, 2, 20);
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_AVXAES:
        return cpuid_bit(1, 2, 25);
    case ZYDIS_ISA_EXT_PCLMULQDQ:
        return cpuid_bit(1, 2, 1);
    case ZYDIS_ISA_EXT_AVX:
        return cpuid_bit(1, 2, 28);
    case ZYDIS_ISA_EXT_F16C:
        return cpuid_bit(1, 2, 29);
    case ZYDIS_ISA_EXT_FMA:
        return cpuid_bit(1, 2, 12);
    case ZYDIS_ISA_EXT_BMI1:
        return cpuid_bit(7, 1, 3);
    case ZYDIS_ISA_EXT_AVX2:
        return cpuid_bit(7, 1, 5);
    case ZYDIS_ISA_EXT_BMI2:
        return cpuid_bit(7, 1, 8);
    case ZYDIS_ISA_EXT_ADOX_ADCX:
        return cpuid_bit(7, 1, 19);
    case ZYDIS_ISA_EXT_SHA:
        return cpuid_bit(7, 1, 29);
    case ZYDIS_ISA_EXT_GFNI:
        return cpuid_bit(7, 2, 8);
    case ZYDIS_ISA_EXT_VAES:
        return cpuid_bit(7, 2, 9);
    case ZYDIS_ISA_EXT_VPCLMULQDQ:
        return cpuid_bit(7, 2, 10);
    default:
        return true;
    }
}

bool native_has(const Vcpu *vcpu, uint8_t isa_ext)
{
    return isa_ext < 128 && vcpu->native->has[isa_ext];
}

/* -- execution -- */

static const InsnOperand *memory_operand(const Insn *insn)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].kind == OPERAND_MEM) {
            return &insn->operand[i];
        }
    }
    return NULL;
}

/* Even under MODE_ALIGN. */
static bool ignores_alignment(const Insn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS || insn->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH;
}

static void prepare_memory(Vcpu *vcpu, const Insn *insn, const InsnOperand *op, uint64_t *linear)
{
    bool writes = op->access & OPERAND_WRITTEN;
    if (op->size > MEMORY_BYTES) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    /* Comes before the segment's limit and canonical addresses. */
    check_alignment(vcpu, insn,
                    segment_linear_unchecked(vcpu, insn->mem.segment, insn_ea(vcpu, insn)),
                    op->size);
    *linear = ignores_alignment(insn) ? segment_linear_any(vcpu, insn->mem.segment,
                                                           insn_ea(vcpu, insn), op->size, writes)
                                      : insn_linear(vcpu, insn, op->size, writes);
    if (writes) {
        mem_probe_write(vcpu, *linear, op->size);
    }
    if (op->access & OPERAND_READ) {
        mem_read_bytes(vcpu, *linear, vcpu->native->memory, op->size);
    }
}

static void fill_context(Vcpu *vcpu, const Plan *plan)
{
    NativeContext *context = &vcpu->native->context;
    memcpy(context->gpr, vcpu->gpr, sizeof(context->gpr));
    if (plan->stack_reg != 0xff) {
        context->gpr[plan->stack_reg] = vcpu->gpr[CPU_RSP];
    }
    if (plan->memory_reg != 0xff) {
        context->gpr[plan->memory_reg] = (uintptr_t)vcpu->native->memory;
    }
    context->rflags = (vcpu->rflags & FLAGS_ARITHMETIC) | FLAG_FIXED | FLAG_IF;
    context->xsave = vcpu->xsave;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(context->host_mxcsr), "=m"(context->host_fcw));
}

static void take_registers(Vcpu *vcpu, const Plan *plan)
{
    const NativeContext *context = &vcpu->native->context;
    for (unsigned i = 0; i < 16; i++) {
        if (i != plan->memory_reg && i != plan->stack_reg && i != CPU_RSP) {
            vcpu->gpr[i] = context->gpr[i];
        }
    }
    if (plan->stack_reg != 0xff) {
        vcpu->gpr[CPU_RSP] = context->gpr[plan->stack_reg];
    }
}

/* Whether an unmasked SSE exception happened; its flags are then in MXCSR. */
static bool run_checked(Vcpu *vcpu, void (*stub)(NativeContext *))
{
    uint8_t saved[XSAVE_END];
    uint32_t mxcsr, after;
    NativeContext *context = &vcpu->native->context;
    memcpy(&mxcsr, vcpu->xsave + XSAVE_MXCSR, 4);
    context->guest_mxcsr = (mxcsr | MXCSR_MASKS) & ~MXCSR_FLAGS;
    memcpy(saved, vcpu->xsave, sizeof(saved));
    stub(context);
    after = context->guest_mxcsr & MXCSR_FLAGS;
    if (after & MXCSR_OPERAND_FLAGS & ~(mxcsr >> 7)) {
        /* Found before the result is computed: nothing is known of that. */
        after &= MXCSR_OPERAND_FLAGS;
    }
    mxcsr |= after;
    bool unmasked = after & ~(mxcsr >> 7);
    if (unmasked) {
        memcpy(vcpu->xsave, saved, sizeof(saved));
    }
    memcpy(vcpu->xsave + XSAVE_MXCSR, &mxcsr, 4);
    return unmasked;
}

static void run_stub(Vcpu *vcpu, const Plan *plan, const Insn *insn)
{
    NativeCache *cache = vcpu->native;
    NativeContext *context = &cache->context;
    uint32_t entry = find_stub(cache, plan, insn->flags_read & FLAGS_ARITHMETIC);
    void (*stub)(NativeContext *) = (void (*)(NativeContext *))(cache->execute + entry);
    uint32_t mxcsr;
    memcpy(&mxcsr, vcpu->xsave + XSAVE_MXCSR, 4);
    fill_context(vcpu, plan);
    if ((plan->avx || plan->sse) && (mxcsr & MXCSR_MASKS) != MXCSR_MASKS) {
        if (run_checked(vcpu, stub)) {
            raise_exception(vcpu, vcpu->cr4 & CR4_OSXMMEXCPT ? EXCEPTION_XM : EXCEPTION_UD);
        }
        return;
    }
    context->guest_mxcsr = mxcsr;
    stub(context);
    if (plan->avx || plan->sse) {
        memcpy(vcpu->xsave + XSAVE_MXCSR, &context->guest_mxcsr, 4);
    }
}

/* Last instruction and operand pointers are the guest's, not those of the stub. */
static void set_pointers(Vcpu *vcpu, const Insn *insn, const InsnOperand *memory, uint64_t linear)
{
    if (!(insn->kind & INSN_X87) || keeps_pointers(insn)) {
        return;
    }
    memcpy(vcpu->xsave + XSAVE_FIP, &vcpu->rip, 8);
    if (memory) {
        memcpy(vcpu->xsave + XSAVE_FDP, &linear, 8);
    }
}

/* Stores that an unmasked x87 exception keeps from being done. */
static bool is_x87_store(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FIST:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FISTTP:
    case ZYDIS_MNEMONIC_FBSTP:
        return true;
    default:
        return false;
    }
}

static uint16_t x87_word(const Vcpu *vcpu, unsigned at)
{
    uint16_t word;
    memcpy(&word, vcpu->xsave + at, sizeof(word));
    return word;
}

/* Executes the store without its access to memory; true: an exception suppressed that, and the
 * instruction is done. */
static bool store_is_suppressed(Vcpu *vcpu, const Plan *plan, const Insn *insn)
{
    uint8_t saved[XSAVE_XMM];
    if (!(~x87_word(vcpu, XSAVE_FCW) & FSW_STORE_FLAGS)) {
        return false;
    }
    memcpy(saved, vcpu->xsave, sizeof(saved));
    run_stub(vcpu, plan, insn);
    if (x87_word(vcpu, XSAVE_FSW) & ~x87_word(vcpu, XSAVE_FCW) & FSW_STORE_FLAGS) {
        return true;
    }
    memcpy(vcpu->xsave, saved, sizeof(saved));
    return false;
}

void op_native(Vcpu *vcpu, const Insn *insn)
{
    const InsnOperand *memory = memory_operand(insn);
    uint64_t linear = 0;
    uint8_t pointers[16];
    if (!native_has(vcpu, insn->isa_ext)) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    if (insn->kind & INSN_VECTOR) {
        fpu_check(vcpu, insn);
    }
    Plan plan = make_plan(insn, memory != NULL);
    if (memory && is_x87_store(insn)) {
        linear = segment_linear_unchecked(vcpu, insn->mem.segment, insn_ea(vcpu, insn));
        if (store_is_suppressed(vcpu, &plan, insn)) {
            set_pointers(vcpu, insn, memory, linear);
            return;
        }
    }
    if (memory) {
        prepare_memory(vcpu, insn, memory, &linear);
    }
    memcpy(pointers, vcpu->xsave + XSAVE_FIP, sizeof(pointers));
    run_stub(vcpu, &plan, insn);
    if (plan.whole && (insn->kind & INSN_MMX)) {
        memcpy(vcpu->xsave + XSAVE_FIP, pointers, sizeof(pointers));
    }
    set_pointers(vcpu, insn, memory, linear);
    if (memory && (memory->access & OPERAND_WRITTEN)) {
        mem_write_bytes(vcpu, linear, vcpu->native->memory, memory->size);
    }
    take_registers(vcpu, &plan);
    uint64_t written = insn->flags_written & FLAGS_ARITHMETIC;
    set_flags(vcpu, written, vcpu->native->context.rflags & written);
}
