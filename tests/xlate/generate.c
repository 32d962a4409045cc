/* Encodings are found by trying all opcodes of all maps through Zydis, and then chosen by mnemonic,
 * so that rare instructions come as often as common ones. A part of the cases begins from random
 * bytes instead. Never generated: loads of segment registers, far branches, system calls, and what
 * left_out[] names with its reason.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/generate.h"

#include "xlate/flags.h"
#include "xlate/random.h"

#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INSTRUCTION_MAX 15u
#define SEQUENCE_MAX 8u
#define TRIES 64u
#define RFLAGS_AC 0x40000u
/* States for XRSTOR, in the page that cannot be written. */
#define IMAGES 3u
#define IMAGE_STEP 0x400u
#define INDEX_REGISTERS (1u << 1 | 1u << 6 | 1u << 7) /* RCX, RSI, RDI */

/* One encoding: what is fixed of it. */
typedef struct Encoding {
    uint16_t mnemonic;
    uint8_t map;    /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t prefix; /* mandatory or operand-size: 0, 66, F3, F2 */
    uint8_t opcode;
    uint8_t modrm; /* reg, and mod 3 or 0; rm where it selects the instruction */
    uint8_t vex;   /* 0: none, else 1 + L * 2 + W */
    uint8_t rex_w;
    uint8_t rm_is_fixed;
} Encoding;

typedef struct EncodingList {
    Encoding *encoding; /* sorted by mnemonic */
    unsigned count, room;
    unsigned first[ZYDIS_MNEMONIC_MAX_VALUE + 2];    /* in @encoding, by place in @mnemonic */
    uint16_t mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* those there are */
    unsigned mnemonic_count;
} EncodingList;

struct Generator {
    ZydisDecoder decoder[2]; /* 64 bit, 32 bit */
    EncodingList list[2];
    int instruction; /* mnemonic or -1 */
    bool has_fs;
};

typedef struct Decoded {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
} Decoded;

/* -- what may be executed -- */

static bool extension_allowed(unsigned isa_ext)
{
    static const uint8_t allowed[] = {
        ZYDIS_ISA_EXT_ADOX_ADCX, ZYDIS_ISA_EXT_AES,        ZYDIS_ISA_EXT_AVX,
        ZYDIS_ISA_EXT_AVX2,      ZYDIS_ISA_EXT_AVX2GATHER, ZYDIS_ISA_EXT_AVXAES,
        ZYDIS_ISA_EXT_BASE,      ZYDIS_ISA_EXT_BMI1,       ZYDIS_ISA_EXT_BMI2,
        ZYDIS_ISA_EXT_F16C,      ZYDIS_ISA_EXT_FMA,        ZYDIS_ISA_EXT_GFNI,
        ZYDIS_ISA_EXT_LONGMODE,  ZYDIS_ISA_EXT_LZCNT,      ZYDIS_ISA_EXT_MMX,
        ZYDIS_ISA_EXT_MOVBE,     ZYDIS_ISA_EXT_PAUSE,      ZYDIS_ISA_EXT_PCLMULQDQ,
        ZYDIS_ISA_EXT_SHA,       ZYDIS_ISA_EXT_SSE,        ZYDIS_ISA_EXT_SSE2,
        ZYDIS_ISA_EXT_SSE3,      ZYDIS_ISA_EXT_SSE4,       ZYDIS_ISA_EXT_SSSE3,
        ZYDIS_ISA_EXT_VAES,      ZYDIS_ISA_EXT_VPCLMULQDQ, ZYDIS_ISA_EXT_X87,
        ZYDIS_ISA_EXT_RDWRFSGS,  ZYDIS_ISA_EXT_XSAVE,      ZYDIS_ISA_EXT_XSAVEC,
        ZYDIS_ISA_EXT_XSAVEOPT,
    };
    return memchr(allowed, (int)isa_ext, sizeof(allowed)) != NULL;
}

typedef struct LeftOut {
    uint16_t mnemonic;
    const char *reason;
} LeftOut;

static const LeftOut left_out[] = {
    { ZYDIS_MNEMONIC_RDTSC, "its result is the time" },
    { ZYDIS_MNEMONIC_RDPMC, "its result is the time" },
    { ZYDIS_MNEMONIC_CPUID, "the guest's CPU is another one" },
    { ZYDIS_MNEMONIC_SYSCALL, "the child has another kernel than the guest" },
    { ZYDIS_MNEMONIC_SYSENTER, "the child has another kernel than the guest" },
    { ZYDIS_MNEMONIC_SYSRET, "privileged, and not valid on all vendors" },
    { ZYDIS_MNEMONIC_SYSEXIT, "privileged, and not valid on all vendors" },
    { ZYDIS_MNEMONIC_INT, "the child has another kernel than the guest" },
    { ZYDIS_MNEMONIC_INT1, "the child's kernel may take it for its own" },
    { ZYDIS_MNEMONIC_IRET, "loads segments" },
    { ZYDIS_MNEMONIC_IRETD, "loads segments" },
    { ZYDIS_MNEMONIC_IRETQ, "loads segments" },
    { ZYDIS_MNEMONIC_LDS, "loads a segment" },
    { ZYDIS_MNEMONIC_LES, "loads a segment" },
    { ZYDIS_MNEMONIC_LFS, "loads a segment" },
    { ZYDIS_MNEMONIC_LGS, "loads a segment" },
    { ZYDIS_MNEMONIC_LSS, "loads a segment" },
    { ZYDIS_MNEMONIC_LAR, "the child's descriptor table is another one" },
    { ZYDIS_MNEMONIC_LSL, "the child's descriptor table is another one" },
    { ZYDIS_MNEMONIC_VERR, "the child's descriptor table is another one" },
    { ZYDIS_MNEMONIC_VERW, "the child's descriptor table is another one" },
    { ZYDIS_MNEMONIC_SGDT, "Linux emulates it in spite of UMIP" },
    { ZYDIS_MNEMONIC_SIDT, "Linux emulates it in spite of UMIP" },
    { ZYDIS_MNEMONIC_SLDT, "Linux emulates it in spite of UMIP" },
    { ZYDIS_MNEMONIC_STR, "Linux emulates it in spite of UMIP" },
    { ZYDIS_MNEMONIC_SMSW, "Linux emulates it in spite of UMIP" },
    { ZYDIS_MNEMONIC_FDISI8087_NOP, "an 8087's; undocumented since" },
    { ZYDIS_MNEMONIC_FENI8087_NOP, "an 8087's; undocumented since" },
    { ZYDIS_MNEMONIC_FSETPM287_NOP, "a 80287's; undocumented since" },
    { ZYDIS_MNEMONIC_XGETBV, "the guest has fewer components" },
    { ZYDIS_MNEMONIC_UD0, "its length differs among processors" },
};

static bool is_far(const ZydisDecodedInstruction *insn)
{
    return insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static bool loads_segment(const Decoded *decoded)
{
    for (unsigned i = 0; i < decoded->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &decoded->operand[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
            ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_SEGMENT) {
            return true;
        }
    }
    return false;
}

static bool is_allowed(const Decoded *decoded)
{
    const ZydisDecodedInstruction *insn = &decoded->insn;
    if (!extension_allowed(insn->meta.isa_ext) || is_far(insn) || loads_segment(decoded) ||
        insn->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        (insn->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)) {
        return false;
    }
    switch (insn->meta.category) {
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
        return false;
    default:
        break;
    }
    for (unsigned i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (left_out[i].mnemonic == insn->mnemonic) {
            return false;
        }
    }
    return true;
}

static bool decode(const Generator *generator, bool is_32bit, const uint8_t *bytes, unsigned length,
                   Decoded *out)
{
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&generator->decoder[is_32bit], bytes, length,
                                               &out->insn, out->operand));
}

/* -- finding encodings -- */

/* What is not fixed of an encoding. */
typedef struct Freedom {
    uint8_t segment, rep, lock, address_size, extra_66;
    uint8_t rex_rxb; /* REX.R, X, B; 8: a REX prefix in any case */
    uint8_t vvvv;
    uint8_t modrm;    /* mod and rm bits of a memory form or rm of a register form */
    uint8_t tail[12]; /* SIB, displacement, immediate */
} Freedom;

static void put(uint8_t *bytes, unsigned *length, uint8_t byte)
{
    bytes[(*length)++] = byte;
}

static void put_legacy(const Encoding *e, const Freedom *f, bool is_32bit, uint8_t *bytes,
                       unsigned *length)
{
    if (e->prefix) {
        put(bytes, length, e->prefix);
    }
    uint8_t rex = (uint8_t)((e->rex_w ? 8 : 0) | (f->rex_rxb & 7));
    if (!is_32bit && (rex || f->rex_rxb & 8)) {
        put(bytes, length, 0x40 | rex);
    }
    if (e->map) {
        put(bytes, length, 0x0f);
    }
    if (e->map >= 2) {
        put(bytes, length, e->map == 2 ? 0x38 : 0x3a);
    }
}

static void put_vex(const Encoding *e, const Freedom *f, bool is_32bit, uint8_t *bytes,
                    unsigned *length)
{
    uint8_t code = e->prefix == 0 ? 0 : e->prefix == 0x66 ? 1 : e->prefix == 0xf3 ? 2 : 3;
    uint8_t rxb = is_32bit ? 7 : (uint8_t)(~f->rex_rxb & 7);
    uint8_t vvvv = is_32bit ? f->vvvv | 8 : f->vvvv;
    put(bytes, length, 0xc4);
    put(bytes, length, (uint8_t)(rxb << 5 | e->map));
    put(bytes, length,
        (uint8_t)(((e->vex - 1) & 1) << 7 | (vvvv & 15) << 3 | (((e->vex - 1) & 2) << 1) | code));
}

static unsigned encode(const Encoding *e, const Freedom *f, bool is_32bit, uint8_t *bytes)
{
    unsigned length = 0;
    const uint8_t prefixes[] = { f->segment, f->lock, f->rep, f->address_size, f->extra_66 };
    for (unsigned i = 0; i < sizeof(prefixes); i++) {
        if (prefixes[i]) {
            put(bytes, &length, prefixes[i]);
        }
    }
    if (e->vex) {
        put_vex(e, f, is_32bit, bytes, &length);
    } else {
        put_legacy(e, f, is_32bit, bytes, &length);
    }
    put(bytes, &length, e->opcode);
    uint8_t modrm = e->modrm;
    if (!e->rm_is_fixed) {
        modrm = (uint8_t)((modrm & 0x38) | ((modrm & 0xc0) == 0xc0 ? 0xc0 : f->modrm & 0xc0) |
                          (f->modrm & 7));
    }
    put(bytes, &length, modrm);
    memcpy(bytes + length, f->tail, sizeof(f->tail));
    return length + (unsigned)sizeof(f->tail);
}

static bool add_encoding(EncodingList *list, const Encoding *e)
{
    if (list->count == list->room) {
        unsigned room = list->room ? list->room * 2 : 4096;
        Encoding *bigger = realloc(list->encoding, room * sizeof(*bigger));
        if (!bigger) {
            return false;
        }
        list->encoding = bigger;
        list->room = room;
    }
    list->encoding[list->count++] = *e;
    return true;
}

static bool try_encoding(Generator *generator, bool is_32bit, Encoding *e)
{
    uint8_t bytes[40];
    Freedom freedom = { .vvvv = 15, .modrm = e->modrm };
    Decoded decoded;
    unsigned length = encode(e, &freedom, is_32bit, bytes);
    if (!decode(generator, is_32bit, bytes, length, &decoded)) {
        freedom.vvvv = 14;
        length = encode(e, &freedom, is_32bit, bytes);
        if (!e->vex || !decode(generator, is_32bit, bytes, length, &decoded)) {
            return true;
        }
    }
    if (!is_allowed(&decoded)) {
        return true;
    }
    e->mnemonic = (uint16_t)decoded.insn.mnemonic;
    return add_encoding(&generator->list[is_32bit], e);
}

static bool is_prefix_or_escape(bool is_32bit, const Encoding *e)
{
    static const uint8_t prefixes[] = { 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66,
                                        0x67, 0xf0, 0xf2, 0xf3, 0xc4, 0xc5, 0x62 };
    if (e->map == 1 && !e->vex && (e->opcode == 0x38 || e->opcode == 0x3a)) {
        return true;
    }
    return e->map == 0 && (memchr(prefixes, e->opcode, sizeof(prefixes)) ||
                           (!is_32bit && (e->opcode & 0xf0) == 0x40));
}

/* All ModRM bytes that make a difference. */
static bool find_modrm(Generator *generator, bool is_32bit, Encoding *e)
{
    bool is_x87 = e->map == 0 && !e->vex && (e->opcode & 0xf8) == 0xd8;
    for (unsigned reg = 0; reg < 8; reg++) {
        e->modrm = (uint8_t)(reg << 3);
        e->rm_is_fixed = 0;
        if (!try_encoding(generator, is_32bit, e)) {
            return false;
        }
        for (unsigned rm = 0; rm < (is_x87 ? 8u : 1u); rm++) {
            e->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
            e->rm_is_fixed = is_x87;
            if (!try_encoding(generator, is_32bit, e)) {
                return false;
            }
        }
    }
    return true;
}

static bool find_encodings(Generator *generator, bool is_32bit)
{
    static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
    for (unsigned i = 0; i < 4 * 4 * 6 * 256; i++) {
        Encoding e = { .opcode = (uint8_t)i,
                       .map = (uint8_t)(i >> 8 & 3),
                       .prefix = prefixes[i >> 10 & 3] };
        unsigned form = i >> 12;
        e.rex_w = form == 1;
        e.vex = form >= 2 ? (uint8_t)(form - 1) : 0;
        if ((e.rex_w && is_32bit) || (e.vex && e.map == 0) || is_prefix_or_escape(is_32bit, &e)) {
            continue;
        }
        if (!find_modrm(generator, is_32bit, &e)) {
            return false;
        }
    }
    return true;
}

static int by_mnemonic(const void *a, const void *b)
{
    const Encoding *x = a, *y = b;
    return x->mnemonic != y->mnemonic ? x->mnemonic - y->mnemonic : memcmp(x, y, sizeof(*x));
}

static void index_encodings(EncodingList *list)
{
    qsort(list->encoding, list->count, sizeof(*list->encoding), by_mnemonic);
    for (unsigned i = 0; i < list->count; i++) {
        if (i == 0 || list->encoding[i].mnemonic != list->encoding[i - 1].mnemonic) {
            list->first[list->mnemonic_count] = i;
            list->mnemonic[list->mnemonic_count++] = list->encoding[i].mnemonic;
        }
    }
    list->first[list->mnemonic_count] = list->count;
}

static int find_mnemonic(const char *name)
{
    for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++) {
        const char *text = ZydisMnemonicGetString((ZydisMnemonic)i);
        if (text && !strcasecmp(text, name)) {
            return (int)i;
        }
    }
    return -1;
}

static int place_of(const EncodingList *list, int mnemonic)
{
    for (unsigned i = 0; i < list->mnemonic_count; i++) {
        if (list->mnemonic[i] == mnemonic) {
            return (int)i;
        }
    }
    return -1;
}

Generator *generator_new(const char *instruction, bool has_fs)
{
    Generator *generator = calloc(1, sizeof(*generator));
    if (!generator) {
        return NULL;
    }
    ZydisDecoderInit(&generator->decoder[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&generator->decoder[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                     ZYDIS_STACK_WIDTH_32);
    generator->has_fs = has_fs;
    generator->instruction = instruction ? find_mnemonic(instruction) : -1;
    bool ok = find_encodings(generator, false) && find_encodings(generator, true);
    if (ok) {
        index_encodings(&generator->list[0]);
        index_encodings(&generator->list[1]);
        ok = !instruction || place_of(&generator->list[0], generator->instruction) >= 0 ||
             place_of(&generator->list[1], generator->instruction) >= 0;
    }
    if (!ok) {
        generator_free(generator);
        return NULL;
    }
    return generator;
}

void generator_free(Generator *generator)
{
    if (generator) {
        free(generator->list[0].encoding);
        free(generator->list[1].encoding);
        free(generator);
    }
}

/* -- values -- */

static uint64_t interesting_integer(Random *random)
{
    static const uint64_t values[] = {
        0,
        1,
        2,
        3,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7fff,
        0x8000,
        0xffff,
        0x10000,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        INT64_MAX,
        (uint64_t)INT64_MIN,
        UINT64_MAX,
        UINT64_MAX - 1,
        0x5555555555555555,
        0xaaaaaaaaaaaaaaaa,
        0xffffffff00000000,
        0xffffffff80000000,
        0xffffffffffff8000,
        0xffffffffffffff80,
    };
    return values[random_below(random, sizeof(values) / sizeof(values[0]))];
}

static uint64_t interesting_float(Random *random)
{
    static const uint64_t values[] = {
        0,
        UINT64_C(0x8000000000000000),
        0x3ff0000000000000,
        0xbff0000000000000,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0x7ff0000000000001,
        1,
        0x000fffffffffffff,
        0x0010000000000000,
        0x7fefffffffffffff,
        0x4330000000000000,
        0x43e0000000000000,
        0xc1e0000000000000,
        0x3fe0000000000000,
        0x3f8000003f800000,
        0x7f8000007f800001,
        0x0000000100800000,
        0xff7fffff7fc00000,
        0x4f0000003f000000,
        0x3c00bc007c00fc00,
        0x7e0000017bff03ff,
    };
    return values[random_below(random, sizeof(values) / sizeof(values[0]))];
}

static uint64_t random_value(Random *random)
{
    switch (random_below(random, 8)) {
    case 0:
    case 1:
        return interesting_integer(random);
    case 2:
    case 3:
        return interesting_float(random);
    case 4:
        return random_next(random) & 0xff;
    case 5:
        return random_next(random) >> random_below(random, 64);
    default:
        return random_next(random);
    }
}

/* Where an operand may lie: anywhere in the pages, at their ends, across, and beyond. */
static uint64_t data_address(Random *random)
{
    static const uint32_t edges[] = { 0, 0x1000, 0x2000, 0x3000 };
    unsigned kind = random_below(random, 100);
    if (kind < 50) {
        return CASE_DATA + 0x100 + (random_below(random, 0x1e00) & ~31u);
    }
    if (kind < 80) {
        return CASE_DATA + 0x100 + random_below(random, 0x1e00);
    }
    if (kind < 90) {
        return CASE_DATA + 0x1000 - random_below(random, 40);
    }
    if (kind < 98) {
        return CASE_DATA + edges[random_below(random, 4)] - 32 + random_below(random, 64);
    }
    return random_value(random);
}

static void random_x87(Random *random, uint8_t *xsave)
{
    static const uint8_t masks[] = { 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3e, 0x3b, 0x1f, 0x00 };
    uint16_t control = (uint16_t)(0x40 | masks[random_below(random, sizeof(masks))] |
                                  random_below(random, 16) << 8);
    uint16_t status = (uint16_t)(random_next(random) & 0x7f00);
    uint8_t tags = random_chance(random, 40)   ? 0xff
                   : random_chance(random, 40) ? 0
                                               : (uint8_t)random_next(random);
    if ((control >> 8 & 3) == 1) {
        control |= 0x300;
    }
    memcpy(xsave, &control, 2);
    memcpy(xsave + 2, &status, 2);
    xsave[4] = tags;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t mantissa = random_value(random);
        uint16_t exponent = (uint16_t)random_next(random);
        if (random_chance(random, 60)) {
            mantissa |= UINT64_C(1) << 63;
            exponent = (uint16_t)((exponent & 0x8000) | (0x3fff - 20 + exponent % 40));
        } else if (random_chance(random, 30)) {
            exponent |= 0x7fff;
        } else if (random_chance(random, 30)) {
            exponent &= 0x8000;
        }
        memcpy(xsave + 32 + i * 16, &mantissa, 8);
        memcpy(xsave + 40 + i * 16, &exponent, 2);
    }
}

static void random_vectors(Random *random, uint8_t *xsave)
{
    uint64_t present = 7;
    uint32_t mxcsr = 0x1f80 | random_below(random, 4) << 13;
    if (random_chance(random, 20)) {
        mxcsr |= (uint32_t)(random_next(random) & 0x8040);
    }
    if (random_chance(random, 20)) {
        mxcsr |= (uint32_t)(random_next(random) & 0x3f);
    }
    if (random_chance(random, 10)) {
        mxcsr &= (uint32_t)(random_next(random) | ~0x1f80u);
        mxcsr &= ~0x3fu;
        /* Unmasked overflow and underflow differ in when they are signalled from masked ones, which
         * the interpreter deduces them from. */
        mxcsr |= 0xc00;
    }
    memcpy(xsave + 24, &mxcsr, 4);
    memcpy(xsave + 512, &present, 8);
    for (unsigned i = 0; i < 32; i++) {
        uint64_t value = random_value(random);
        memcpy(xsave + 160 + i * 8, &value, 8);
        value = random_value(random);
        memcpy(xsave + 576 + i * 8, &value, 8);
    }
}

static void random_state(Random *random, bool is_32bit, CaseState *state)
{
    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < 16; i++) {
        state->gpr[i] = random_chance(random, 35) ? data_address(random) : random_value(random);
        if (is_32bit) {
            state->gpr[i] = i < 8 ? (uint32_t)state->gpr[i] : 0;
        }
    }
    state->gpr[4] = CASE_DATA + 0x800 + (random_below(random, 0x800) & ~7u);
    if (random_chance(random, 10)) {
        state->gpr[4] = (uint32_t)data_address(random);
    }
    state->rflags = 0x202 | (random_next(random) & 0x8d5);
    if (random_chance(random, 10)) {
        state->rflags |= 0x400;
    }
    if (random_chance(random, 3)) {
        state->rflags |= RFLAGS_AC;
    }
    random_x87(random, state->xsave);
    random_vectors(random, state->xsave);
}

/* A state to be loaded by XRSTOR: with all components, with some, compacted. */
static void fill_image(Random *random, unsigned kind, uint8_t *image)
{
    const uint64_t compacted = UINT64_C(1) << 63;
    uint64_t header[8] = { kind == 0 ? 7 : random_below(random, 8) };
    memset(image, 0, CASE_XSAVE_BYTES);
    random_x87(random, image);
    random_vectors(random, image);
    if (kind == 2) {
        header[1] = compacted | 7;
    }
    memcpy(image + 512, header, sizeof(header));
}

void generator_fill_data(uint8_t *templates, uint8_t *constant)
{
    Random random = { 1 };
    for (unsigned i = 0; i < CASE_TEMPLATES * CASE_DATA_BYTES; i += 8) {
        uint64_t value = random_value(&random);
        memcpy(templates + i, &value, 8);
    }
    for (unsigned i = 0; i < CASE_CONSTANT_BYTES; i += 8) {
        uint64_t value = random_value(&random);
        memcpy(constant + i, &value, 8);
    }
    for (unsigned i = 0; i < IMAGES; i++) {
        fill_image(&random, i, constant + i * IMAGE_STEP);
    }
}

/* -- operands that hit memory -- */

/* What a case's instructions have used so far. */
typedef struct Builder {
    const Generator *generator;
    Random random;
    Case *out;
    uint32_t touched; /* GPRs chosen for an address, or written */
    uint32_t flags_undefined;
    bool has_branch;
    bool has_pointers; /* x87's last instruction and operand may be other than none */
    bool has_no_upper; /* upper halves of vectors may be known to the processor as zero */
    struct {
        uint8_t at;      /* offset of the displacement */
        uint8_t size;    /* of it */
        uint8_t end;     /* of the instruction */
        uint8_t ordinal; /* of the instruction */
    } branch[SEQUENCE_MAX];
    unsigned branch_count;
    uint8_t start[SEQUENCE_MAX + 1]; /* offsets of instructions */
    unsigned count;
} Builder;

static int gpr_number(ZydisRegister reg)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    return ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64 ? ZydisRegisterGetId(whole) : -1;
}

static uint64_t segment_base(const Builder *builder, ZydisRegister segment)
{
    return builder->out->is_32bit         ? 0
           : segment == ZYDIS_REGISTER_FS ? CASE_FS_BASE
           : segment == ZYDIS_REGISTER_GS ? CASE_GS_BASE
                                          : 0;
}

static void pin(Builder *builder, int reg, uint64_t value)
{
    if (!(builder->touched & 1u << reg) && reg != 4) {
        builder->out->in.gpr[reg] = builder->out->is_32bit ? (uint32_t)value : value;
    }
    builder->touched |= 1u << reg;
}

/* Absolute and RIP-relative operands: the displacement itself is changed. */
static void aim_displacement(Builder *builder, const Decoded *decoded, uint8_t *bytes,
                             const ZydisDecodedOperand *operand, uint64_t target)
{
    const ZydisDecodedInstruction *insn = &decoded->insn;
    if (insn->raw.disp.size != 32) {
        return;
    }
    uint64_t end = CASE_CODE + builder->out->code_offset + (uint64_t)(bytes - builder->out->code) +
                   insn->length;
    uint32_t disp = (uint32_t)(target - (operand->mem.base == ZYDIS_REGISTER_RIP ? end : 0));
    memcpy(bytes + insn->raw.disp.offset, &disp, 4);
}

/* Small elements in a vector of indexes. */
static void aim_vector_index(Builder *builder, ZydisRegister index)
{
    uint8_t reg = (uint8_t)ZydisRegisterGetId(index);
    uint8_t *xsave = builder->out->in.xsave;
    for (unsigned i = 0; i < 16; i++) {
        bool zero = i & 1 && random_chance(&builder->random, 50);
        uint8_t value = zero ? 0 : (uint8_t)random_next(&builder->random);
        xsave[160 + reg * 16 + i] = i % 4 == 0 ? value : 0;
        xsave[576 + reg * 16 + i] = i % 8 == 0 ? value : 0;
    }
}

typedef enum StateUse {
    STATE_NO,      /* another instruction */
    STATE_SAVED,   /* FXSAVE, FNSAVE, FNSTENV */
    STATE_LOADED,  /* FXRSTOR, FRSTOR, FLDENV */
    STATE_XSAVED,  /* XSAVE .. */
    STATE_XLOADED, /* XRSTOR */
} StateUse;

static StateUse state_use(const Decoded *decoded)
{
    switch (decoded->insn.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
        return STATE_SAVED;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDENV:
        return STATE_LOADED;
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return STATE_XSAVED;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
        return STATE_XLOADED;
    default:
        return STATE_NO;
    }
}

static bool selects_components(const Decoded *decoded)
{
    return state_use(decoded) == STATE_XSAVED || state_use(decoded) == STATE_XLOADED;
}

/* EDX:EAX selects components: they are not free for an address then. */
static bool addresses_by_selection(const Decoded *decoded)
{
    const ZydisDecodedOperandMem *mem = &decoded->operand[0].mem;
    const ZydisRegister used[] = { mem->base, mem->index };
    for (unsigned i = 0; i < 2 && selects_components(decoded); i++) {
        int reg = used[i] == ZYDIS_REGISTER_NONE ? -1 : gpr_number(used[i]);
        if (reg == 0 || reg == 2) {
            return true;
        }
    }
    return false;
}

/* Translated code does not keep x87's pointers, and which components are in their initial state
 * only the processor knows: such states are not saved. */
static bool may_save_state(const Builder *builder, const Decoded *decoded)
{
    if (addresses_by_selection(decoded)) {
        return false;
    }
    switch (state_use(decoded)) {
    case STATE_SAVED:
        return !builder->has_pointers;
    case STATE_XSAVED:
        return !builder->has_pointers && !builder->has_no_upper && !(builder->touched & 5);
    case STATE_XLOADED:
        return !(builder->touched & 5);
    default:
        return true;
    }
}

static void note_state(Builder *builder, const Decoded *decoded)
{
    StateUse use = state_use(decoded);
    ZydisMnemonic mnemonic = decoded->insn.mnemonic;
    builder->has_pointers |= use == STATE_LOADED || use == STATE_XLOADED ||
                             mnemonic == ZYDIS_MNEMONIC_FISTTP || /* of SSE3 */
                             decoded->insn.meta.isa_ext == ZYDIS_ISA_EXT_X87;
    builder->has_no_upper |= use == STATE_XLOADED || mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
                             mnemonic == ZYDIS_MNEMONIC_VZEROALL;
}

static uint64_t operand_target(Builder *builder, const Decoded *decoded)
{
    Random *random = &builder->random;
    StateUse use = state_use(decoded);
    if (use != STATE_NO && random_chance(random, 85)) {
        return use == STATE_LOADED || use == STATE_XLOADED
                   ? CASE_CONSTANT + random_below(random, IMAGES) * IMAGE_STEP
                   : data_address(random) & ~UINT64_C(63);
    }
    return data_address(random);
}

static void aim_memory(Builder *builder, const Decoded *decoded, uint8_t *bytes,
                       const ZydisDecodedOperand *operand)
{
    Random *random = &builder->random;
    uint64_t target =
        operand_target(builder, decoded) - segment_base(builder, operand->mem.segment);
    int64_t disp = operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
    int base = operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_NONE
                   ? -1
                   : gpr_number(operand->mem.base);
    bool is_vsib = operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
    int index =
        operand->mem.index == ZYDIS_REGISTER_NONE || is_vsib ? -1 : gpr_number(operand->mem.index);
    if (is_vsib) {
        aim_vector_index(builder, operand->mem.index);
    }
    if (base < 0 && index < 0) {
        aim_displacement(builder, decoded, bytes, operand, target);
    } else if (index < 0) {
        pin(builder, base, target - (uint64_t)disp);
    } else if (base < 0) {
        pin(builder, index, (target - (uint64_t)disp) / (operand->mem.scale ?: 1));
    } else if (base != index) {
        if (random_chance(random, 70)) {
            pin(builder, index, random_below(random, 64));
        }
        uint64_t scaled = builder->out->in.gpr[index] * operand->mem.scale;
        pin(builder, base, target - (uint64_t)disp - scaled);
    }
}

static void aim_counts(Builder *builder, const Decoded *decoded)
{
    if (decoded->insn.attributes &
        (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        pin(builder, 1, random_below(&builder->random, 40));
    }
    if (decoded->insn.mnemonic == ZYDIS_MNEMONIC_LOOP) {
        pin(builder, 1, random_below(&builder->random, 3));
    }
}

/* A bit offset in a register reaches far away from its operand. */
static void aim_bit_offset(Builder *builder, const Decoded *decoded)
{
    const ZydisDecodedOperand *operand = decoded->operand;
    bool is_bit_test = decoded->insn.mnemonic == ZYDIS_MNEMONIC_BT ||
                       decoded->insn.mnemonic == ZYDIS_MNEMONIC_BTS ||
                       decoded->insn.mnemonic == ZYDIS_MNEMONIC_BTR ||
                       decoded->insn.mnemonic == ZYDIS_MNEMONIC_BTC;
    if (is_bit_test && operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER && random_chance(&builder->random, 80)) {
        pin(builder, gpr_number(operand[1].reg.value),
            random_below(&builder->random, 4096) - UINT64_C(2048));
    }
}

static void aim_components(Builder *builder, const Decoded *decoded)
{
    if (selects_components(decoded)) {
        pin(builder, 0, random_below(&builder->random, 8));
        pin(builder, 2, 0);
    }
}

static void aim(Builder *builder, const Decoded *decoded, uint8_t *bytes)
{
    aim_components(builder, decoded);
    aim_counts(builder, decoded);
    aim_bit_offset(builder, decoded);
    for (unsigned i = 0; i < decoded->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &decoded->operand[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operand->mem.type != ZYDIS_MEMOP_TYPE_AGEN && random_chance(&builder->random, 97)) {
            aim_memory(builder, decoded, bytes, operand);
        }
    }
}

/* -- instructions -- */

static const Encoding *choose(Builder *builder, bool is_first)
{
    const EncodingList *list = &builder->generator->list[builder->out->is_32bit];
    int place = is_first ? place_of(list, builder->generator->instruction) : -1;
    if (place < 0) {
        place = (int)random_below(&builder->random, list->mnemonic_count);
    }
    unsigned first = list->first[place], end = list->first[place + 1];
    return &list->encoding[first + random_below(&builder->random, end - first)];
}

static void random_freedom(Builder *builder, const Encoding *e, Freedom *freedom)
{
    static const uint8_t segments[] = { 0x64, 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26 };
    Random *random = &builder->random;
    memset(freedom, 0, sizeof(*freedom));
    if (random_chance(random, 8)) {
        freedom->segment = segments[random_below(random, sizeof(segments))];
        if (freedom->segment == 0x64 && !builder->generator->has_fs) {
            freedom->segment = 0x65;
        }
    }
    if (random_chance(random, 6)) {
        freedom->lock = 0xf0;
    }
    if (!e->prefix && random_chance(random, 8)) {
        freedom->rep = random_chance(random, 50) ? 0xf3 : 0xf2;
    }
    if (random_chance(random, 4)) {
        freedom->address_size = 0x67;
    }
    if (random_chance(random, 2)) {
        freedom->extra_66 = 0x66;
    }
    freedom->rex_rxb = (uint8_t)random_next(random) & 15;
    freedom->vvvv = random_chance(random, 25) ? 15 : (uint8_t)random_next(random) & 15;
    freedom->modrm = (uint8_t)random_next(random);
    for (unsigned i = 0; i < sizeof(freedom->tail); i += 4) {
        uint32_t value = (uint32_t)random_value(random);
        memcpy(freedom->tail + i, &value, 4);
    }
}

static void random_bytes(Builder *builder, uint8_t *bytes)
{
    static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x41, 0x0f,
                                        0x0f, 0x0f, 0xc4, 0xc5, 0x64, 0x65, 0x44, 0xd9 };
    Random *random = &builder->random;
    unsigned at = 0;
    while (at < 5 && random_chance(random, 40)) {
        bytes[at++] = prefixes[random_below(random, sizeof(prefixes))];
    }
    for (; at < INSTRUCTION_MAX; at++) {
        bytes[at] = (uint8_t)random_next(random);
    }
}

static bool has_fs_problem(const Builder *builder, const Decoded *decoded, const uint8_t *bytes)
{
    return !builder->generator->has_fs && (memchr(bytes, 0x64, decoded->insn.length) ||
                                           decoded->insn.meta.isa_ext == ZYDIS_ISA_EXT_RDWRFSGS);
}

/* Immediates of a shift; -1: none. */
static int64_t immediate_of(const Decoded *decoded)
{
    for (unsigned i = 0; i < decoded->insn.operand_count; i++) {
        if (decoded->operand[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            return (int64_t)(decoded->operand[i].imm.value.u & 0xff);
        }
    }
    return -1;
}

static void note_writes(Builder *builder, const Decoded *decoded)
{
    for (unsigned i = 0; i < decoded->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &decoded->operand[i];
        int reg =
            operand->type == ZYDIS_OPERAND_TYPE_REGISTER ? gpr_number(operand->reg.value) : -1;
        if (reg >= 0) {
            builder->touched |= 1u << reg;
        }
    }
    uint32_t undefined =
        flags_undefined_after(&decoded->insn, immediate_of(decoded), builder->flags_undefined);
    builder->flags_undefined =
        builder->has_branch ? builder->flags_undefined | undefined : undefined;
    builder->out->flags_undefined_ever |= undefined;
}

/* Results, not flags, of no defined value. */
static bool result_is_undefined(const Decoded *decoded)
{
    const ZydisDecodedInstruction *insn = &decoded->insn;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_BSWAP: /* of 16 bits */
        return insn->operand_width == 16;
    case ZYDIS_MNEMONIC_SHLD: /* of 16 bits by more */
    case ZYDIS_MNEMONIC_SHRD:
        return insn->operand_width == 16;
    case ZYDIS_MNEMONIC_PUSH: /* of a segment register: what is above 16 bits */
        return decoded->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(decoded->operand[0].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
               insn->operand_width != 16;
    default:
        return false;
    }
}

static bool note_branch(Builder *builder, const Decoded *decoded, unsigned at)
{
    const ZydisDecodedInstruction *insn = &decoded->insn;
    if (!insn->raw.imm[0].is_relative) {
        return true;
    }
    /* 66h cuts RIP down to 16 bits on some processors in 64-bit mode, and always in 32-bit code. */
    if (insn->raw.imm[0].size == 16 || insn->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) {
        return false;
    }
    unsigned i = builder->branch_count++;
    builder->branch[i].at = (uint8_t)(at + insn->raw.imm[0].offset);
    builder->branch[i].size = insn->raw.imm[0].size / 8;
    builder->branch[i].end = (uint8_t)(at + insn->length);
    builder->branch[i].ordinal = (uint8_t)builder->count;
    builder->has_branch = true;
    return true;
}

/* When REP with 32-bit addresses clears the upper halves of count and indexes differs by
 * instruction, count and processor: they are clear before. */
static bool cuts_indexes(const Decoded *decoded, bool is_32bit)
{
    return !is_32bit && decoded->insn.address_width == 32 &&
           decoded->insn.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

static void cut_indexes(Builder *builder)
{
    for (unsigned i = 0; i < 16; i++) {
        if (INDEX_REGISTERS >> i & 1) {
            builder->out->in.gpr[i] = (uint32_t)builder->out->in.gpr[i];
        }
    }
}

static bool try_instruction(Builder *builder, bool is_first)
{
    const Generator *generator = builder->generator;
    bool is_32bit = builder->out->is_32bit;
    uint8_t bytes[40];
    Decoded decoded;
    if (random_chance(&builder->random, 15) && generator->instruction < 0) {
        random_bytes(builder, bytes);
    } else {
        Freedom freedom;
        const Encoding *e = choose(builder, is_first);
        random_freedom(builder, e, &freedom);
        encode(e, &freedom, is_32bit, bytes);
    }
    if (!decode(generator, is_32bit, bytes, INSTRUCTION_MAX, &decoded) || !is_allowed(&decoded) ||
        result_is_undefined(&decoded) || has_fs_problem(builder, &decoded, bytes) ||
        (flags_read_by(&decoded.insn) & builder->flags_undefined)) {
        return false;
    }
    if (!may_save_state(builder, &decoded)) {
        return false;
    }
    unsigned at = builder->out->code_length;
    uint8_t *place = builder->out->code + at;
    if (!note_branch(builder, &decoded, at)) {
        return false;
    }
    if (cuts_indexes(&decoded, is_32bit) && builder->touched & INDEX_REGISTERS) {
        return false;
    }
    memcpy(place, bytes, decoded.insn.length);
    aim(builder, &decoded, place);
    if (cuts_indexes(&decoded, is_32bit)) {
        cut_indexes(builder);
    }
    note_writes(builder, &decoded);
    note_state(builder, &decoded);
    builder->start[builder->count++] = (uint8_t)at;
    builder->out->code_length = (uint16_t)(at + decoded.insn.length);
    return true;
}

/* Branches go to one of the instructions behind them, or the end. */
static void aim_branches(Builder *builder)
{
    builder->start[builder->count] = (uint8_t)builder->out->code_length;
    for (unsigned i = 0; i < builder->branch_count; i++) {
        unsigned next = builder->branch[i].ordinal + 1u;
        unsigned target = next + random_below(&builder->random, builder->count - next + 1);
        int32_t distance = builder->start[target] - builder->branch[i].end;
        memcpy(builder->out->code + builder->branch[i].at, &distance, builder->branch[i].size);
    }
}

void case_append_exit(Case *test)
{
    uint64_t end = CASE_CODE + test->code_offset + test->code_length + 5;
    uint32_t distance = (uint32_t)((test->is_32bit ? CASE_EXIT32 : CASE_EXIT) - end);
    test->code[test->code_length] = 0xe9;
    memcpy(test->code + test->code_length + 1, &distance, 4);
    test->code_length += 5;
}

void generate_state(uint64_t seed, bool is_32bit, Case *out)
{
    Random random = { seed };
    memset(out, 0, sizeof(*out));
    out->seed = seed;
    out->is_32bit = is_32bit;
    out->template = (uint8_t)random_below(&random, CASE_TEMPLATES);
    random_state(&random, is_32bit, &out->in);
}

void generate_case(const Generator *generator, uint64_t seed, Case *out)
{
    Builder builder = { .generator = generator, .random = { seed }, .out = out };
    Random *random = &builder.random;
    memset(out, 0, sizeof(*out));
    out->seed = seed;
    out->is_32bit = random_chance(random, 20);
    if (generator->instruction >= 0) {
        bool in_32 = place_of(&generator->list[1], generator->instruction) >= 0;
        bool in_64 = place_of(&generator->list[0], generator->instruction) >= 0;
        out->is_32bit = in_32 && (out->is_32bit || !in_64);
    }
    out->template = (uint8_t)random_below(random, CASE_TEMPLATES);
    out->code_offset = (uint16_t)(random_chance(random, 10) ? 0x1000 - random_below(random, 24)
                                                            : random_below(random, 0x200) * 8);
    random_state(random, out->is_32bit, &out->in);
    unsigned length = random_chance(random, 60) ? 1 : 2 + random_below(random, SEQUENCE_MAX - 1);
    for (unsigned i = 0; i < length; i++) {
        for (unsigned k = 0; k < TRIES && !try_instruction(&builder, i == 0); k++) {
        }
    }
    aim_branches(&builder);
    case_append_exit(out);
    out->flags_undefined = builder.flags_undefined;
}
