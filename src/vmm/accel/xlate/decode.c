/* From Zydis' description of an instruction to Insn.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/decode.h"

#include "vmm/accel/xlate/bits.h"

#include "base/compiler.h"
#include "vmm/accel/xlate/cpu.h"

#include <errno.h>
#include <string.h>

static void init_decoder(ZydisDecoder *decoder, uint32_t mode)
{
    if (mode & MODE_CS64) {
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    } else if (mode & MODE_CS32) {
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    } else {
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    }
    ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
    ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
}

static bool is_guest_instruction(const ZydisDecodedInstruction *from)
{
    switch (from->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
        return from->meta.isa_ext != ZYDIS_ISA_EXT_PADLOCK;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        switch (from->meta.isa_ext) {
        case ZYDIS_ISA_EXT_AVX:
        case ZYDIS_ISA_EXT_AVX2:
        case ZYDIS_ISA_EXT_AVX2GATHER:
        case ZYDIS_ISA_EXT_AVXAES:
        case ZYDIS_ISA_EXT_BMI1:
        case ZYDIS_ISA_EXT_BMI2:
        case ZYDIS_ISA_EXT_F16C:
        case ZYDIS_ISA_EXT_FMA:
        case ZYDIS_ISA_EXT_GFNI:
        case ZYDIS_ISA_EXT_VAES:
        case ZYDIS_ISA_EXT_VPCLMULQDQ:
            return true;
        default:
            return false;
        }
    default:
        return false;
    }
}

static uint8_t segment_number(ZydisRegister reg)
{
    switch (reg) {
    case ZYDIS_REGISTER_ES:
        return CPU_ES;
    case ZYDIS_REGISTER_CS:
        return CPU_CS;
    case ZYDIS_REGISTER_SS:
        return CPU_SS;
    case ZYDIS_REGISTER_FS:
        return CPU_FS;
    case ZYDIS_REGISTER_GS:
        return CPU_GS;
    default:
        return CPU_DS;
    }
}

static void set_byte_register(InsnOperand *out, ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
        out->reg = (uint8_t)(reg - ZYDIS_REGISTER_AH);
        out->offset = (uint8_t)(out->reg * 8 + 1);
        return;
    }
    if (reg <= ZYDIS_REGISTER_BL) {
        out->reg = (uint8_t)(reg - ZYDIS_REGISTER_AL);
    } else if (reg <= ZYDIS_REGISTER_DIL) {
        out->reg = (uint8_t)(4 + reg - ZYDIS_REGISTER_SPL);
    } else {
        out->reg = (uint8_t)(8 + reg - ZYDIS_REGISTER_R8B);
    }
    out->offset = (uint8_t)(out->reg * 8);
}

static void set_register(InsnOperand *out, ZydisRegister reg)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    out->reg = (uint8_t)ZydisRegisterGetId(reg);
    out->kind = OPERAND_OTHER;
    switch (class) {
    case ZYDIS_REGCLASS_GPR8:
        out->kind = OPERAND_GPR;
        set_byte_register(out, reg);
        break;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        out->kind = OPERAND_GPR;
        out->offset = (uint8_t)(out->reg * 8);
        break;
    case ZYDIS_REGCLASS_X87:
        out->kind = OPERAND_X87;
        break;
    case ZYDIS_REGCLASS_MMX:
        out->kind = OPERAND_MMX;
        break;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
        out->kind = OPERAND_VECTOR;
        break;
    case ZYDIS_REGCLASS_SEGMENT:
        out->kind = OPERAND_SEGMENT;
        out->reg = segment_number(reg);
        break;
    case ZYDIS_REGCLASS_CONTROL:
        out->kind = OPERAND_CR;
        break;
    case ZYDIS_REGCLASS_DEBUG:
        out->kind = OPERAND_DR;
        break;
    default:
        break;
    }
}

static uint8_t address_register(ZydisRegister reg)
{
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_IP:
        return INSN_REG_RIP;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
        return (uint8_t)ZydisRegisterGetId(reg);
    default:
        return INSN_NO_REG;
    }
}

static void set_memory(Insn *out, const ZydisDecodedOperandMem *from)
{
    out->mem.segment = segment_number(from->segment);
    out->mem.base = address_register(from->base);
    out->mem.index = address_register(from->index);
    out->mem.scale = from->scale > 1 ? (uint8_t)__builtin_ctz(from->scale) : 0;
    out->mem.disp = from->disp.has_displacement ? from->disp.value : 0;
    if (from->type == ZYDIS_MEMOP_TYPE_VSIB) {
        out->prefixes |= INSN_VSIB;
    }
}

static InsnPlace place_of(ZydisOperandEncoding encoding)
{
    switch (encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        return PLACE_MODRM_REG;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        return PLACE_MODRM_RM;
    case ZYDIS_OPERAND_ENCODING_OPCODE:
        return PLACE_OPCODE;
    case ZYDIS_OPERAND_ENCODING_NDSNDD:
        return PLACE_VEX;
    case ZYDIS_OPERAND_ENCODING_IS4:
        return PLACE_IMM;
    default:
        return PLACE_NONE;
    }
}

static void set_operand(Insn *out, InsnOperand *to, const ZydisDecodedOperand *from)
{
    memset(to, 0, sizeof(*to));
    to->size = (uint16_t)(from->size / 8);
    to->place = (uint8_t)place_of(from->encoding);
    if (from->actions & (ZYDIS_OPERAND_ACTION_READ | ZYDIS_OPERAND_ACTION_CONDREAD)) {
        to->access |= OPERAND_READ;
    }
    if (from->actions & (ZYDIS_OPERAND_ACTION_WRITE | ZYDIS_OPERAND_ACTION_CONDWRITE)) {
        to->access |= OPERAND_WRITTEN;
    }
    switch (from->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        set_register(to, from->reg.value);
        break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        to->kind = OPERAND_MEM;
        set_memory(out, &from->mem);
        break;
    case ZYDIS_OPERAND_TYPE_POINTER:
        to->kind = OPERAND_FAR;
        out->imm = from->ptr.offset;
        out->imm2 = from->ptr.segment;
        break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE: {
        bool is_second = to != &out->operand[0] && to[-1].kind == OPERAND_IMM;
        int64_t value = from->imm.is_signed ? from->imm.value.s : (int64_t)from->imm.value.u;
        to->kind = from->imm.is_relative ? OPERAND_REL : OPERAND_IMM;
        to->reg = is_second;
        *(is_second ? &out->imm2 : &out->imm) = value;
        break;
    }
    default:
        break;
    }
}

/* Kinds that follow from registers used, hidden ones included (EMMS, VZEROUPPER have none). */
static uint16_t register_kinds(const ZydisDecodedInstruction *from,
                               const ZydisDecodedOperand *operands)
{
    uint16_t kind = 0;
    bool is_vex = from->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    for (unsigned i = 0; i < from->operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) {
            continue;
        }
        switch (ZydisRegisterGetClass(operands[i].reg.value)) {
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM:
            kind |= is_vex ? INSN_AVX : INSN_SSE;
            break;
        case ZYDIS_REGCLASS_MMX:
            kind |= INSN_MMX;
            break;
        default:
            break;
        }
    }
    return kind;
}

static uint16_t category_kinds(const ZydisDecodedInstruction *from)
{
    switch (from->meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
        return INSN_BRANCH | INSN_CONDITIONAL;
    case ZYDIS_CATEGORY_UNCOND_BR:
        return INSN_BRANCH;
    case ZYDIS_CATEGORY_CALL:
        return INSN_BRANCH | INSN_CALL;
    case ZYDIS_CATEGORY_RET:
        return INSN_BRANCH | INSN_RETURN | INSN_INDIRECT;
    case ZYDIS_CATEGORY_STRINGOP:
        return INSN_STRING;
    case ZYDIS_CATEGORY_IOSTRINGOP:
        return INSN_STRING | INSN_SYSTEM;
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_SMAP:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_VTX:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
        return INSN_SYSTEM;
    default:
        return 0;
    }
}

static uint16_t mnemonic_kinds(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VZEROALL:
    case ZYDIS_MNEMONIC_VZEROUPPER:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
    case ZYDIS_MNEMONIC_VCVTSS2SI: /* with a memory operand these name no vector register */
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
        return INSN_AVX;
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_CVTSS2SI:
    case ZYDIS_MNEMONIC_CVTSD2SI:
    case ZYDIS_MNEMONIC_CVTTSS2SI:
    case ZYDIS_MNEMONIC_CVTTSD2SI:
        return INSN_SSE;
    case ZYDIS_MNEMONIC_FISTTP: /* counts as SSE3 */
        return INSN_X87;
    case ZYDIS_MNEMONIC_EMMS:
        return INSN_MMX;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_XSETBV:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_INVPCID:
    case ZYDIS_MNEMONIC_SERIALIZE:
        return INSN_SYSTEM;
    default:
        return 0;
    }
}

static uint16_t operand_kinds(const Insn *insn)
{
    uint16_t kind = 0;
    for (unsigned i = 0; i < insn->operand_count; i++) {
        uint8_t operand = insn->operand[i].kind;
        if (operand == OPERAND_SEGMENT || operand == OPERAND_CR || operand == OPERAND_DR ||
            operand == OPERAND_FAR) {
            kind |= INSN_SYSTEM;
        }
        if ((insn->kind & INSN_BRANCH) && operand != OPERAND_REL) {
            kind |= INSN_INDIRECT;
        }
    }
    return kind;
}

static void set_prefixes(Insn *out, const ZydisDecodedInstruction *from)
{
    const ZydisInstructionAttributes at = from->attributes;
    out->segment = CPU_DS;
    if (at & ZYDIS_ATTRIB_HAS_LOCK) {
        out->prefixes |= INSN_LOCK;
    }
    if (at & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) {
        out->prefixes |= INSN_REP;
    }
    if (at & ZYDIS_ATTRIB_HAS_REPNE) {
        out->prefixes |= INSN_REPNE;
    }
    if (at & ZYDIS_ATTRIB_HAS_SEGMENT) {
        out->prefixes |= INSN_SEGMENT;
        out->segment = at & ZYDIS_ATTRIB_HAS_SEGMENT_CS   ? CPU_CS
                       : at & ZYDIS_ATTRIB_HAS_SEGMENT_SS ? CPU_SS
                       : at & ZYDIS_ATTRIB_HAS_SEGMENT_ES ? CPU_ES
                       : at & ZYDIS_ATTRIB_HAS_SEGMENT_FS ? CPU_FS
                       : at & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? CPU_GS
                                                          : CPU_DS;
    }
    if (at & ZYDIS_ATTRIB_HAS_MODRM) {
        out->prefixes |= INSN_HAS_MODRM;
    }
    if (from->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        out->prefixes |= INSN_VEX;
        if (from->raw.vex.W) {
            out->prefixes |= INSN_REX_W;
        }
    } else if ((at & ZYDIS_ATTRIB_HAS_REX) && from->raw.rex.W) {
        out->prefixes |= INSN_REX_W;
    }
}

static void set_positions(Insn *out, const ZydisDecodedInstruction *from)
{
    bool has_modrm = out->prefixes & INSN_HAS_MODRM;
    out->rex_vex = from->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? from->raw.vex.offset
                   : from->attributes & ZYDIS_ATTRIB_HAS_REX        ? from->raw.rex.offset
                                                                    : 0xff;
    out->imm_at = from->raw.imm[0].size ? from->raw.imm[0].offset : from->length;
    out->disp_size = from->raw.disp.size / 8;
    out->disp_at = out->disp_size ? from->raw.disp.offset : 0;
    if (has_modrm) {
        out->modrm_at = from->raw.modrm.offset;
        out->modrm = out->bytes[out->modrm_at];
        out->opcode_at = out->modrm_at - 1;
    } else {
        out->opcode_at = (uint8_t)((out->disp_size ? out->disp_at : out->imm_at) - 1);
    }
}

static int decode_error(ZyanStatus status, unsigned length)
{
    switch (status) {
    case ZYDIS_STATUS_NO_MORE_DATA:
        return length >= INSN_BYTES_MAX ? -E2BIG : -EAGAIN;
    case ZYDIS_STATUS_INSTRUCTION_TOO_LONG:
        return -E2BIG;
    default:
        return -EINVAL;
    }
}

/* SIB with mod 0 and base 5 has a displacement in place of the base, also with REX.B: with 32-bit
 * addresses Zydis 4.0 takes R13 for the base then. */
static void mend_base(Insn *out, const ZydisDecodedInstruction *from)
{
    if (out->address_size == 4 && (out->prefixes & INSN_HAS_MODRM) && out->mem.base == 13 &&
        from->raw.modrm.mod == 0 && from->raw.modrm.rm == 4 && from->raw.sib.base == 5) {
        out->mem.base = INSN_NO_REG;
        out->mem.disp = from->raw.disp.value;
        if (out->mem.segment == CPU_SS) {
            out->mem.segment = CPU_DS;
        }
    }
}

/* Where VEX.W selects the size of a general register, or of memory in its place. */
static bool has_integer_size(const Insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VPCMPESTRI: /* of the lengths in EAX and EDX */
    case ZYDIS_MNEMONIC_VPCMPESTRM:
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

/* Outside 64-bit code some bits are ignored; what executes the bytes as 64-bit code must find them
 * without effect. */
static void clear_ignored_vex_bits(Insn *insn)
{
    uint8_t *vex = insn->bytes + insn->rex_vex;
    if (vex[0] == 0xc4) {
        vex[1] |= 0xe0;
        vex[2] |= 0x40;
        if (has_integer_size(insn)) {
            vex[2] &= 0x7f;
            insn->prefixes &= (uint8_t)~INSN_REX_W;
        }
    }
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].place == PLACE_IMM) {
            insn->bytes[insn->length - 1] &= 0x7f;
        }
    }
}

/* Those that Zydis does not know to clear the flags which they do not compute. */
static bool clears_other_flags(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_PTEST:
    case ZYDIS_MNEMONIC_VPTEST:
    case ZYDIS_MNEMONIC_VTESTPS:
    case ZYDIS_MNEMONIC_VTESTPD:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM:
    case ZYDIS_MNEMONIC_VPCMPISTRI:
    case ZYDIS_MNEMONIC_VPCMPISTRM:
        return true;
    default:
        return false;
    }
}

/* With 66h, MOVSXD moves 16 bits and reads no more than those. */
static void mend_movsxd(Insn *out)
{
    if (out->mnemonic == ZYDIS_MNEMONIC_MOVSXD && out->operand_size == 2) {
        out->operand[1].size = 2;
    }
}

int insn_decode(const uint8_t *bytes, unsigned length, uint32_t mode, Insn *out)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction from;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    length = length > INSN_BYTES_MAX ? INSN_BYTES_MAX : length;
    init_decoder(&decoder, mode);
    ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, length, &from, operands);
    if (!ZYAN_SUCCESS(status)) {
        return decode_error(status, length);
    }
    if (!is_guest_instruction(&from)) {
        return -EINVAL;
    }
    memset(out, 0, sizeof(*out));
    memcpy(out->bytes, bytes, from.length);
    out->mnemonic = (uint16_t)from.mnemonic;
    out->length = from.length;
    out->operand_size = from.operand_width / 8;
    out->address_size = from.address_width / 8;
    out->stack_size = out->operand_size;
    out->isa_ext = (uint8_t)from.meta.isa_ext;
    out->map = (uint8_t)from.opcode_map;
    out->opcode = from.opcode;
    out->mem.base = out->mem.index = INSN_NO_REG;
    set_prefixes(out, &from);
    set_positions(out, &from);
    for (unsigned i = 0; i < from.operand_count && out->operand_count < INSN_OPERANDS_MAX; i++) {
        if (operands[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            set_operand(out, &out->operand[out->operand_count++], &operands[i]);
        }
    }
    out->kind =
        register_kinds(&from, operands) | category_kinds(&from) | mnemonic_kinds(from.mnemonic);
    if (from.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        out->kind |= INSN_SYSTEM;
    }
    if (from.meta.isa_ext == ZYDIS_ISA_EXT_X87) {
        out->kind |= INSN_X87;
    }
    out->kind |= operand_kinds(out);
    if (from.cpu_flags) {
        out->flags_read = from.cpu_flags->tested;
        out->flags_undefined = from.cpu_flags->undefined;
        out->flags_written = from.cpu_flags->modified | from.cpu_flags->set_0 |
                             from.cpu_flags->set_1 | from.cpu_flags->undefined;
    }
    mend_base(out, &from);
    mend_movsxd(out);
    if (!(mode & MODE_CS64) && (out->prefixes & INSN_VEX)) {
        clear_ignored_vex_bits(out);
    }
    if (clears_other_flags(from.mnemonic)) {
        out->flags_written = FLAGS_ARITHMETIC;
    }
    return 0;
}
