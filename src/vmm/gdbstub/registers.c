/* Register table and target description, by "Standard Target Features" of GDB's manual: the names
 * and sizes of i386.core, i386.sse, i386.segments and i386.avx are GDB's, the order is ours;
 * control registers are in a feature of our own. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/gdbstub/registers.h"

#include "base/compiler.h"
#include "base/endian.h"

#include <string.h>

/* Offsets in the XSAVE area's legacy part. */
#define XSAVE_FCW 0
#define XSAVE_FSW 2
#define XSAVE_FTW 4
#define XSAVE_FOP 6
#define XSAVE_FIP 8
#define XSAVE_FDP 16
#define XSAVE_MXCSR 24
#define XSAVE_ST 32
#define XSAVE_XMM 160
#define XSAVE_HEADER 512
#define XSAVE_YMM_HIGH 576
#define XSTATE_YMM 4u

typedef enum RegisterKind {
    REGISTER_PLAIN,    /* @stored bytes at @offset, zero-extended */
    REGISTER_READONLY, /* the same, writes are ignored */
    REGISTER_TAGS,     /* x87 tag word, two bits for each register; stored as one bit */
    REGISTER_YMM_HIGH, /* valid only if the area's header says so */
    REGISTER_ZERO,
} RegisterKind;

typedef enum RegisterFeature {
    FEATURE_CORE,
    FEATURE_SSE,
    FEATURE_SEGMENTS,
    FEATURE_AVX,
    FEATURE_SYSTEM
} RegisterFeature;

typedef struct RegisterGroup {
    const char *name; /* with %u: a group of @count, numbered */
    const char *type;
    RegisterFeature feature;
    RegisterKind kind;
    uint8_t size;   /* bytes that GDB sees */
    uint8_t stored; /* bytes in the CpuState */
    uint16_t offset;
    uint8_t count;
    uint16_t stride;
} RegisterGroup;

#define STATE(member) offsetof(CpuState, member)
#define GPR(text, index)                                                                           \
    {                                                                                              \
        .name = text, .type = "int64", .size = 8, .stored = 8, .offset = STATE(gpr[index]),        \
        .count = 1                                                                                 \
    }
#define SELECTOR(text, index)                                                                      \
    {                                                                                              \
        .name = text, .type = "int32", .kind = REGISTER_READONLY, .size = 4, .stored = 2,          \
        .offset = STATE(segment[index].selector), .count = 1                                       \
    }
#define X87(text, at, bytes)                                                                       \
    {                                                                                              \
        .name = text, .type = "int", .size = 4, .stored = bytes, .offset = STATE(xsave[at]),       \
        .count = 1                                                                                 \
    }
#define SYSTEM(text, member)                                                                       \
    {                                                                                              \
        .name = text, .type = "int64", .feature = FEATURE_SYSTEM, .size = 8, .stored = 8,          \
        .offset = STATE(member), .count = 1                                                        \
    }

static const RegisterGroup groups[] = {
    GPR("rax", CPU_RAX),
    GPR("rbx", CPU_RBX),
    GPR("rcx", CPU_RCX),
    GPR("rdx", CPU_RDX),
    GPR("rsi", CPU_RSI),
    GPR("rdi", CPU_RDI),
    { .name = "rbp",
      .type = "data_ptr",
      .size = 8,
      .stored = 8,
      .offset = STATE(gpr[CPU_RBP]),
      .count = 1 },
    { .name = "rsp",
      .type = "data_ptr",
      .size = 8,
      .stored = 8,
      .offset = STATE(gpr[CPU_RSP]),
      .count = 1 },
    GPR("r8", 8),
    GPR("r9", 9),
    GPR("r10", 10),
    GPR("r11", 11),
    GPR("r12", 12),
    GPR("r13", 13),
    GPR("r14", 14),
    GPR("r15", 15),
    { .name = "rip", .type = "code_ptr", .size = 8, .stored = 8, .offset = STATE(rip), .count = 1 },
    { .name = "eflags",
      .type = "i386_eflags",
      .size = 4,
      .stored = 4,
      .offset = STATE(rflags),
      .count = 1 },
    SELECTOR("cs", CPU_CS),
    SELECTOR("ss", CPU_SS),
    SELECTOR("ds", CPU_DS),
    SELECTOR("es", CPU_ES),
    SELECTOR("fs", CPU_FS),
    SELECTOR("gs", CPU_GS),
    { .name = "st%u",
      .type = "i387_ext",
      .size = 10,
      .stored = 10,
      .offset = STATE(xsave[XSAVE_ST]),
      .count = 8,
      .stride = 16 },
    X87("fctrl", XSAVE_FCW, 2),
    X87("fstat", XSAVE_FSW, 2),
    { .name = "ftag",
      .type = "int",
      .kind = REGISTER_TAGS,
      .size = 4,
      .stored = 1,
      .offset = STATE(xsave[XSAVE_FTW]),
      .count = 1 },
    { .name = "fiseg", .type = "int", .kind = REGISTER_ZERO, .size = 4, .count = 1 },
    X87("fioff", XSAVE_FIP, 4),
    { .name = "foseg", .type = "int", .kind = REGISTER_ZERO, .size = 4, .count = 1 },
    X87("fooff", XSAVE_FDP, 4),
    X87("fop", XSAVE_FOP, 2),
    { .name = "xmm%u",
      .type = "vec128",
      .feature = FEATURE_SSE,
      .size = 16,
      .stored = 16,
      .offset = STATE(xsave[XSAVE_XMM]),
      .count = 16,
      .stride = 16 },
    { .name = "mxcsr",
      .type = "int",
      .feature = FEATURE_SSE,
      .size = 4,
      .stored = 4,
      .offset = STATE(xsave[XSAVE_MXCSR]),
      .count = 1 },
    { .name = "fs_base",
      .type = "int",
      .feature = FEATURE_SEGMENTS,
      .size = 8,
      .stored = 8,
      .offset = STATE(segment[CPU_FS].base),
      .count = 1 },
    { .name = "gs_base",
      .type = "int",
      .feature = FEATURE_SEGMENTS,
      .size = 8,
      .stored = 8,
      .offset = STATE(segment[CPU_GS].base),
      .count = 1 },
    { .name = "ymm%uh",
      .type = "uint128",
      .feature = FEATURE_AVX,
      .kind = REGISTER_YMM_HIGH,
      .size = 16,
      .stored = 16,
      .offset = STATE(xsave[XSAVE_YMM_HIGH]),
      .count = 16,
      .stride = 16 },
    SYSTEM("cr0", cr0),
    SYSTEM("cr2", cr2),
    SYSTEM("cr3", cr3),
    SYSTEM("cr4", cr4),
    SYSTEM("cr8", cr8),
    SYSTEM("efer", efer),
};

static const char *const feature_names[] = {
    [FEATURE_CORE] = "org.gnu.gdb.i386.core",
    [FEATURE_SSE] = "org.gnu.gdb.i386.sse",
    [FEATURE_SEGMENTS] = "org.gnu.gdb.i386.segments",
    [FEATURE_AVX] = "org.gnu.gdb.i386.avx",
    [FEATURE_SYSTEM] = "org.lodge.system",
};

/* Types that the features use and GDB does not know by itself. */
static const char eflags_type[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
static const char vector_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\">"
    "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>";

/* The group that holds register @number, and its place there; NULL: none. */
static const RegisterGroup *find(unsigned number, unsigned *out_index)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(groups); i++) {
        if (number < groups[i].count) {
            *out_index = number;
            return &groups[i];
        }
        number -= groups[i].count;
    }
    return NULL;
}

unsigned gdb_register_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(groups); i++) {
        count += groups[i].count;
    }
    return count;
}

unsigned gdb_register_size(unsigned number)
{
    unsigned index;
    const RegisterGroup *group = find(number, &index);
    return group ? group->size : 0;
}

/* Two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty. */
static uint16_t expand_tags(const CpuState *state)
{
    uint8_t present = state->xsave[XSAVE_FTW];
    unsigned top = le16_get(state->xsave + XSAVE_FSW) >> 11 & 7;
    uint16_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = state->xsave + XSAVE_ST + 16 * ((i - top) & 7);
        uint64_t mantissa = le64_get(st);
        unsigned exponent = le16_get(st + 8) & 0x7fff;
        unsigned tag = 0;
        if (!(present >> i & 1)) {
            tag = 3;
        } else if (exponent == 0 && mantissa == 0) {
            tag = 1;
        } else if (exponent == 0 || exponent == 0x7fff || !(mantissa >> 63)) {
            tag = 2;
        }
        tags |= (uint16_t)(tag << (2 * i));
    }
    return tags;
}

static bool has_ymm(const CpuState *state)
{
    return le64_get(state->xsave + XSAVE_HEADER) & XSTATE_YMM;
}

unsigned gdb_register_read(const CpuState *state, unsigned number, uint8_t *out)
{
    unsigned index;
    const RegisterGroup *group = find(number, &index);
    if (!group) {
        return 0;
    }
    const uint8_t *stored = (const uint8_t *)state + group->offset + (size_t)index * group->stride;
    memset(out, 0, GDB_REGISTER_BYTES_MAX);
    switch (group->kind) {
    case REGISTER_PLAIN:
    case REGISTER_READONLY:
        memcpy(out, stored, group->stored);
        break;
    case REGISTER_TAGS:
        le16_put(out, expand_tags(state));
        break;
    case REGISTER_YMM_HIGH:
        if (has_ymm(state)) {
            memcpy(out, stored, group->stored);
        }
        break;
    case REGISTER_ZERO:
        break;
    }
    return group->size;
}

void gdb_register_write(CpuState *state, unsigned number, const uint8_t *value)
{
    unsigned index;
    const RegisterGroup *group = find(number, &index);
    if (!group) {
        return;
    }
    uint8_t *stored = (uint8_t *)state + group->offset + (size_t)index * group->stride;
    switch (group->kind) {
    case REGISTER_PLAIN:
        memcpy(stored, value, group->stored);
        break;
    case REGISTER_TAGS:
        *stored = 0;
        for (unsigned i = 0; i < 8; i++) {
            *stored |= (uint8_t)((le16_get(value) >> (2 * i) & 3) != 3) << i;
        }
        break;
    case REGISTER_YMM_HIGH:
        if (!has_ymm(state)) {
            memset(state->xsave + XSAVE_YMM_HIGH, 0, (size_t)group->count * group->stride);
            state->xsave[XSAVE_HEADER] |= XSTATE_YMM;
        }
        memcpy(stored, value, group->stored);
        break;
    case REGISTER_READONLY:
    case REGISTER_ZERO:
        break;
    }
}

static void append_register(GString *xml, const char *name, const RegisterGroup *group)
{
    g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>", name,
                           group->size * 8u, group->type);
}

char *gdb_target_xml(void)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                                "<target><architecture>i386:x86-64</architecture>");
    for (unsigned i = 0; i < ARRAY_LENGTH(groups); i++) {
        const RegisterGroup *group = &groups[i];
        if (i == 0 || group->feature != groups[i - 1].feature) {
            g_string_append_printf(xml, "%s<feature name=\"%s\">", i ? "</feature>" : "",
                                   feature_names[group->feature]);
            g_string_append(xml, group->feature == FEATURE_CORE  ? eflags_type
                                 : group->feature == FEATURE_SSE ? vector_types
                                                                 : "");
        }
        const char *number = strstr(group->name, "%u");
        for (unsigned k = 0; k < group->count; k++) {
            char name[16];
            if (number) {
                g_snprintf(name, sizeof(name), "%.*s%u%s", (int)(number - group->name), group->name,
                           k, number + 2);
            } else {
                g_strlcpy(name, group->name, sizeof(name));
            }
            append_register(xml, name, group);
        }
    }
    g_string_append(xml, "</feature></target>");
    return g_string_free(xml, FALSE);
}
