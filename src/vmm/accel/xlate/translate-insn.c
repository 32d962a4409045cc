/* Instructions that run on the host as they are, after their registers and memory operand were put
 * in place. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/translator.h"

#define FIELD_NONE 0xff

typedef enum Plain {
    PLAIN_NO,   /* leave it to the interpreter */
    PLAIN_COPY, /* run it */
    PLAIN_NOP,  /* nothing to do */
    PLAIN_LEA,
} Plain;

static Plain plain_integer(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
        return PLAIN_LEA;
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
        return PLAIN_NOP;
    case ZYDIS_MNEMONIC_ADCX:
    case ZYDIS_MNEMONIC_ADOX:
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_ANDN:
    case ZYDIS_MNEMONIC_BEXTR:
    case ZYDIS_MNEMONIC_BLSI:
    case ZYDIS_MNEMONIC_BLSMSK:
    case ZYDIS_MNEMONIC_BLSR:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BZHI:
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_CRC32:
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVBE:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_MULX:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_PDEP:
    case ZYDIS_MNEMONIC_PEXT:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RORX:
    case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SARX:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHLX:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_SHRX:
    case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_XOR:
        return PLAIN_COPY;
    default:
        break;
    }
    if ((insn->mnemonic >= ZYDIS_MNEMONIC_CMOVB && insn->mnemonic <= ZYDIS_MNEMONIC_CMOVZ) ||
        (insn->mnemonic >= ZYDIS_MNEMONIC_SETB && insn->mnemonic <= ZYDIS_MNEMONIC_SETZ &&
         insn->map == ZYDIS_OPCODE_MAP_0F && (insn->opcode & 0xf0) == 0x90)) {
        return PLAIN_COPY;
    }
    return PLAIN_NO;
}

/* Where AMD's processors do not raise the #GP that Intel's and the guest's do: operands of these at
 * any address; MXCSR's bit 17, which allows the same of others. */
static bool is_host_lenient(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
        return true;
    case ZYDIS_MNEMONIC_SHA1MSG1:
    case ZYDIS_MNEMONIC_SHA1MSG2:
    case ZYDIS_MNEMONIC_SHA1NEXTE:
    case ZYDIS_MNEMONIC_SHA1RNDS4:
    case ZYDIS_MNEMONIC_SHA256MSG1:
    case ZYDIS_MNEMONIC_SHA256MSG2:
    case ZYDIS_MNEMONIC_SHA256RNDS2:
        return insn->operand[1].kind == OPERAND_MEM;
    default:
        return false;
    }
}

/* Vector instructions with implicit memory, partial accesses or state that names host addresses. */
static Plain plain_vector(const Translator *t, const Insn *insn)
{
    uint32_t off = 0;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FRSTOR:
        return PLAIN_NO;
    default:
        break;
    }
    off |= insn->kind & (INSN_X87 | INSN_MMX) ? MODE_FPU_OFF : 0;
    off |= insn->kind & INSN_SSE ? MODE_FPU_OFF | MODE_SSE_OFF : 0;
    off |= insn->kind & INSN_AVX ? MODE_FPU_OFF | MODE_AVX_OFF : 0;
    return (t->mode & off) || (insn->prefixes & INSN_VSIB) || is_host_lenient(insn) ? PLAIN_NO
                                                                                    : PLAIN_COPY;
}

static Plain classify(const Translator *t, const Insn *insn)
{
    if (insn->kind & (INSN_SYSTEM | INSN_STRING | INSN_BRANCH)) {
        return PLAIN_NO;
    }
    return insn->kind & INSN_VECTOR ? plain_vector(t, insn) : plain_integer(insn);
}

/* Outside 64-bit code VEX.W does not make an integer operand larger. */
static bool has_integer_operand(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPINSRD:
        return true;
    default:
        break;
    }
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].kind == OPERAND_GPR) {
            return true;
        }
    }
    return false;
}

/* A register named by an immediate has three bits there. */
static bool has_register_in_immediate(const Insn *insn)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].place == PLACE_IMM) {
            return true;
        }
    }
    return false;
}

/* The register fields of the original encoding. */
static void read_fields(const Insn *insn, bool is_64, HostInsn *out)
{
    const uint8_t *bytes = insn->bytes;
    uint8_t rex = 0;
    *out = (HostInsn){ .map = insn->map,
                       .opcode = insn->opcode,
                       .has_modrm = insn->prefixes & INSN_HAS_MODRM,
                       .rex_w = insn->prefixes & INSN_REX_W };
    if (insn->prefixes & INSN_VEX) {
        const uint8_t *vex = bytes + insn->rex_vex;
        bool is_long = vex[0] == 0xc4;
        uint8_t last = vex[is_long ? 2 : 1];
        rex = (uint8_t)(~vex[1] >> 5 & (is_long ? 7 : 4));
        out->vex = true;
        out->vvvv = (uint8_t)(~last >> 3 & 15);
        out->vex_l_pp = last & 7;
        if (!is_64) {
            rex = 0;
            out->vvvv &= 7;
            out->rex_w &= !has_integer_operand(insn);
        }
    } else if (insn->rex_vex != 0xff) {
        rex = bytes[insn->rex_vex];
        out->needs_rex = true;
    }
    out->reg = (uint8_t)((insn->modrm >> 3 & 7) | (rex & 4) << 1);
    out->rm = rm_reg((insn->modrm & 7) | (rex & 1) << 3);
    if (!out->has_modrm) {
        out->reg = 0;
        out->rm = rm_reg((insn->opcode & 7) | (rex & 1) << 3);
    }
    out->imm = bytes + insn->imm_at;
    out->imm_size = (uint8_t)(insn->length - insn->imm_at);
}

static void read_prefixes(const Insn *insn, HostInsn *out)
{
    bool is_swap = insn->mnemonic == ZYDIS_MNEMONIC_XCHG || insn->mnemonic == ZYDIS_MNEMONIC_MOV;
    bool no_repeat = (insn->prefixes & INSN_LOCK) || is_swap;
    uint8_t repeat = 0;
    bool has_66 = false;
    for (unsigned i = 0; i < insn->opcode_at && i != insn->rex_vex; i++) {
        uint8_t byte = insn->bytes[i];
        if (byte == 0x0f) {
            break;
        }
        repeat = byte == 0xf2 || byte == 0xf3 ? byte : repeat;
        has_66 |= byte == 0x66;
    }
    if (insn->prefixes & INSN_LOCK) {
        out->prefix[out->prefix_count++] = 0xf0;
    }
    if (has_66) {
        out->prefix[out->prefix_count++] = 0x66;
    }
    /* Without meaning here, or a lock elision hint. */
    if (repeat && !no_repeat) {
        out->prefix[out->prefix_count++] = repeat;
    }
}

/* What one instruction's operands need. */
typedef struct Operands {
    const InsnOperand *mem;
    bool has_high_byte;
    unsigned homeless; /* GPR operands that live in the Vcpu */
    bool is_moved;     /* some register field changes */
    bool is_odd;       /* something the translator does not handle */
} Operands;

static Operands look_at_operands(const Insn *insn)
{
    Operands out = { 0 };
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const InsnOperand *op = &insn->operand[i];
        if (op->kind == OPERAND_MEM) {
            out.is_odd |= out.mem != NULL;
            out.mem = op;
        } else if (op->kind == OPERAND_GPR) {
            bool is_high = op->offset & 1;
            unsigned home = home_of(op->reg);
            out.has_high_byte |= is_high;
            if (!is_high && home != op->reg) {
                out.is_moved = true;
                out.homeless += home == HOST_NONE;
                out.is_odd |= op->place == PLACE_NONE || op->place == PLACE_IMM;
            }
        }
    }
    return out;
}

static uint8_t *field_of(HostInsn *host, uint8_t place)
{
    switch (place) {
    case PLACE_MODRM_REG:
        return &host->reg;
    case PLACE_VEX:
        return &host->vvvv;
    default:
        return &host->rm.base;
    }
}

/* Whole registers are written, whatever they held. */
static bool overwrites(const Insn *insn, const InsnOperand *op)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
        return op->size >= 4 && !(op->access & OPERAND_READ);
    default:
        return false;
    }
}

/* Puts operands that live in the Vcpu into scratch registers; @taken: the first free one. Two
 * operands that are one register share one. */
static void load_homeless(Translator *t, const Insn *insn, HostInsn *host, unsigned taken)
{
    unsigned guest[2] = { 0xff, 0xff }, scratch = taken;
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const InsnOperand *op = &insn->operand[i];
        if (op->kind != OPERAND_GPR || (op->offset & 1)) {
            continue;
        }
        unsigned home = home_of(op->reg);
        if (home != HOST_NONE) {
            if (op->place != PLACE_NONE) {
                *field_of(host, op->place) = (uint8_t)home;
            }
            continue;
        }
        unsigned slot = guest[0] == 0xff || guest[0] == op->reg ? 0 : 1;
        if (guest[slot] != op->reg) {
            guest[slot] = op->reg;
            if (!overwrites(insn, op) || slot == 1) {
                emit_load(&t->e, 8, scratch + slot, gpr_state(op->reg));
            }
        } else if (op->access & OPERAND_READ) {
            /* The first of the two may have been one that is only written. */
            emit_load(&t->e, 8, scratch + slot, gpr_state(op->reg));
        }
        *field_of(host, op->place) = (uint8_t)(scratch + slot);
    }
}

static void store_homeless(Translator *t, const Insn *insn, const HostInsn *host)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const InsnOperand *op = &insn->operand[i];
        if (op->kind == OPERAND_GPR && !(op->offset & 1) && home_of(op->reg) == HOST_NONE &&
            (op->access & OPERAND_WRITTEN)) {
            HostInsn copy = *host;
            emit_store(&t->e, 8, gpr_state(op->reg), *field_of(&copy, op->place));
        }
    }
}

static bool is_bit_test(const Insn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_BT || insn->mnemonic == ZYDIS_MNEMONIC_BTS ||
           insn->mnemonic == ZYDIS_MNEMONIC_BTR || insn->mnemonic == ZYDIS_MNEMONIC_BTC;
}

/* Encodings that 64-bit code lacks or that name an address directly. */
static bool fix_encoding(const Translator *t, const Insn *insn, HostInsn *host)
{
    if (host->has_modrm) {
        /* 82 is a second 80 outside 64-bit code. */
        if (host->map == 0 && !host->vex && host->opcode == 0x82) {
            host->opcode = 0x80;
        }
        return true;
    }
    if (host->map == 0 && !host->vex && host->opcode >= 0xa0 && host->opcode <= 0xa3) {
        bool is_store = host->opcode >= 0xa2;
        host->opcode = (uint8_t)((is_store ? 0x88 : 0x8a) | (host->opcode & 1));
        host->has_modrm = true;
        host->imm_size = 0;
        return true;
    }
    if (host->map == 0 && host->opcode >= 0x40 && host->opcode < 0x50) {
        if (t->is_64) {
            return false;
        }
        host->reg = host->opcode >> 3 & 1;
        host->opcode = 0xff;
        host->has_modrm = true;
        return true;
    }
    for (unsigned i = 0; i < insn->operand_count; i++) {
        host->in_opcode |= insn->operand[i].place == PLACE_OPCODE;
    }
    return true;
}

static Translated translate_lea(Translator *t, const Insn *insn)
{
    Emit *e = &t->e;
    const InsnOperand *to = &insn->operand[0];
    if (!can_access(t, &insn->mem, insn->address_size, 1) || to->offset % 8) {
        return TRANSLATE_INTERP;
    }
    unsigned home = home_of(to->reg);
    emit_address(t, &insn->mem, insn->address_size, false);
    if (home != HOST_NONE) {
        emit_load(e, to->size, home, rm_reg(SCRATCH_A));
    } else if (to->size == 2) {
        emit_store(e, 2, gpr_state(to->reg), SCRATCH_A);
    } else {
        emit_load(e, to->size, SCRATCH_A, rm_reg(SCRATCH_A));
        emit_store(e, 8, gpr_state(to->reg), SCRATCH_A);
    }
    return TRANSLATED;
}

/* LEA of registers in their homes: one instruction. */
static bool lea_directly(Translator *t, const Insn *insn)
{
    const InsnMemory *mem = &insn->mem;
    const InsnOperand *to = &insn->operand[0];
    bool is_base = mem->base < 16 && home_of(mem->base) != HOST_NONE;
    bool is_index = mem->index < 16 && home_of(mem->index) != HOST_NONE;
    if (!is_base || (!is_index && mem->index != INSN_NO_REG) || home_of(to->reg) == HOST_NONE ||
        insn->address_size == 2 || mem->disp != (int32_t)mem->disp) {
        return false;
    }
    unsigned size = to->size == 8 && insn->address_size == 4 ? 4 : to->size;
    emit_lea(&t->e, size, home_of(to->reg),
             rm_mem(home_of(mem->base), is_index ? home_of(mem->index) : HOST_NONE, mem->scale,
                    (int32_t)mem->disp));
    return true;
}

static Translated translate_copy(Translator *t, const Insn *insn)
{
    HostInsn host;
    Operands operands = look_at_operands(insn);
    const InsnOperand *mem = operands.mem;
    read_fields(insn, t->is_64, &host);
    read_prefixes(insn, &host);
    if (operands.is_odd || !fix_encoding(t, insn, &host) || operands.homeless > (mem ? 1u : 2u) ||
        (operands.has_high_byte && (mem || operands.is_moved))) {
        return TRANSLATE_INTERP;
    }
    if (mem && (!can_access(t, &insn->mem, insn->address_size, mem->size) ||
                (is_bit_test(insn) && insn->operand[1].kind == OPERAND_GPR))) {
        return TRANSLATE_INTERP;
    }
    uint8_t imm;
    if (!t->is_64 && has_register_in_immediate(insn)) {
        imm = *host.imm & 0x7f;
        host.imm = &imm;
    }
    if (insn->kind & INSN_VECTOR) {
        emit_need_vectors(t);
    }
    if (mem) {
        HostRm at = emit_access(t, &insn->mem, insn->address_size, mem->size,
                                mem->access & OPERAND_WRITTEN);
        if (operands.homeless && at.base != SCRATCH_A) {
            emit_lea(&t->e, 8, SCRATCH_A, at);
            at = rm_mem(SCRATCH_A, HOST_NONE, 0, 0);
        }
        host.rm = at;
        load_homeless(t, insn, &host, SCRATCH_B);
    } else {
        load_homeless(t, insn, &host, SCRATCH_A);
    }
    emit_insn(&t->e, &host);
    store_homeless(t, insn, &host);
    return TRANSLATED;
}

Translated translate_plain(Translator *t, const Insn *insn)
{
    switch (classify(t, insn)) {
    case PLAIN_COPY:
        return translate_copy(t, insn);
    case PLAIN_LEA:
        return lea_directly(t, insn) ? TRANSLATED : translate_lea(t, insn);
    case PLAIN_NOP:
        return TRANSLATED;
    default:
        return TRANSLATE_INTERP;
    }
}
