/* The table of CPU features and set arithmetic on it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/feature.h"

#include "base/log.h"

#include <string.h>

typedef enum CpuidRegister { REG_EAX, REG_EBX, REG_ECX, REG_EDX } CpuidRegister;

typedef struct WordPlace {
    uint32_t function, index;
    bool has_index;
    CpuidRegister reg;
} WordPlace;

static const WordPlace word_place[CPU_WORDS] = {
    [CPU_WORD_1_ECX] = { 1, 0, false, REG_ECX },
    [CPU_WORD_1_EDX] = { 1, 0, false, REG_EDX },
    [CPU_WORD_6_EAX] = { 6, 0, false, REG_EAX },
    [CPU_WORD_7_EBX] = { 7, 0, true, REG_EBX },
    [CPU_WORD_7_ECX] = { 7, 0, true, REG_ECX },
    [CPU_WORD_7_EDX] = { 7, 0, true, REG_EDX },
    [CPU_WORD_7_1_EAX] = { 7, 1, true, REG_EAX },
    [CPU_WORD_7_1_EDX] = { 7, 1, true, REG_EDX },
    [CPU_WORD_7_2_EDX] = { 7, 2, true, REG_EDX },
    [CPU_WORD_D_1_EAX] = { 0xd, 1, true, REG_EAX },
    [CPU_WORD_KVM_EAX] = { 0x40000001, 0, false, REG_EAX },
    [CPU_WORD_8000_0001_ECX] = { 0x80000001, 0, false, REG_ECX },
    [CPU_WORD_8000_0001_EDX] = { 0x80000001, 0, false, REG_EDX },
    [CPU_WORD_8000_0007_EDX] = { 0x80000007, 0, false, REG_EDX },
    [CPU_WORD_8000_0008_EBX] = { 0x80000008, 0, false, REG_EBX },
    [CPU_WORD_8000_000A_EDX] = { 0x8000000a, 0, false, REG_EDX },
    [CPU_WORD_8000_0021_EAX] = { 0x80000021, 0, false, REG_EAX },
    [CPU_WORD_8000_0021_ECX] = { 0x80000021, 0, false, REG_ECX },
};

typedef struct FeatureRow {
    const char *name;
    const char *alias; /* or NULL */
    uint16_t number;
} FeatureRow;

#define ROW(word, bit, name)                                                                       \
    {                                                                                              \
        name, NULL, CPU_FEATURE(CPU_WORD_##word, bit)                                              \
    }
#define ROW2(word, bit, name, alias)                                                               \
    {                                                                                              \
        name, alias, CPU_FEATURE(CPU_WORD_##word, bit)                                             \
    }

static const FeatureRow feature_table[] = {
    ROW(1_EDX, 0, "fpu"),
    ROW(1_EDX, 1, "vme"),
    ROW(1_EDX, 2, "de"),
    ROW(1_EDX, 3, "pse"),
    ROW(1_EDX, 4, "tsc"),
    ROW(1_EDX, 5, "msr"),
    ROW(1_EDX, 6, "pae"),
    ROW(1_EDX, 7, "mce"),
    ROW2(1_EDX, 8, "cx8", "cmpxchg8b"),
    ROW(1_EDX, 9, "apic"),
    ROW(1_EDX, 11, "sep"),
    ROW(1_EDX, 12, "mtrr"),
    ROW(1_EDX, 13, "pge"),
    ROW(1_EDX, 14, "mca"),
    ROW(1_EDX, 15, "cmov"),
    ROW(1_EDX, 16, "pat"),
    ROW(1_EDX, 17, "pse36"),
    ROW2(1_EDX, 19, "clflush", "clfsh"),
    ROW(1_EDX, 23, "mmx"),
    ROW(1_EDX, 24, "fxsr"),
    ROW(1_EDX, 25, "sse"),
    ROW(1_EDX, 26, "sse2"),
    ROW(1_EDX, 27, "ss"),
    ROW(1_EDX, 28, "ht"),
    ROW2(1_ECX, 0, "pni", "sse3"),
    ROW2(1_ECX, 1, "pclmulqdq", "pclmuldq"),
    ROW(1_ECX, 5, "vmx"),
    ROW(1_ECX, 9, "ssse3"),
    ROW(1_ECX, 12, "fma"),
    ROW(1_ECX, 13, "cx16"),
    ROW(1_ECX, 17, "pcid"),
    ROW2(1_ECX, 19, "sse4.1", "sse4-1"),
    ROW2(1_ECX, 20, "sse4.2", "sse4-2"),
    ROW(1_ECX, 21, "x2apic"),
    ROW(1_ECX, 22, "movbe"),
    ROW(1_ECX, 23, "popcnt"),
    ROW(1_ECX, 24, "tsc-deadline"),
    ROW(1_ECX, 25, "aes"),
    ROW(1_ECX, 26, "xsave"),
    ROW(1_ECX, 28, "avx"),
    ROW(1_ECX, 29, "f16c"),
    ROW(1_ECX, 30, "rdrand"),
    ROW(1_ECX, 31, "hypervisor"),
    ROW(6_EAX, 2, "arat"),
    ROW(7_EBX, 0, "fsgsbase"),
    ROW(7_EBX, 1, "tsc-adjust"),
    ROW(7_EBX, 3, "bmi1"),
    ROW(7_EBX, 4, "hle"),
    ROW(7_EBX, 5, "avx2"),
    ROW(7_EBX, 7, "smep"),
    ROW(7_EBX, 8, "bmi2"),
    ROW(7_EBX, 9, "erms"),
    ROW(7_EBX, 10, "invpcid"),
    ROW(7_EBX, 11, "rtm"),
    ROW(7_EBX, 16, "avx512f"),
    ROW(7_EBX, 17, "avx512dq"),
    ROW(7_EBX, 18, "rdseed"),
    ROW(7_EBX, 19, "adx"),
    ROW(7_EBX, 20, "smap"),
    ROW(7_EBX, 21, "avx512ifma"),
    ROW(7_EBX, 23, "clflushopt"),
    ROW(7_EBX, 24, "clwb"),
    ROW(7_EBX, 28, "avx512cd"),
    ROW(7_EBX, 29, "sha-ni"),
    ROW(7_EBX, 30, "avx512bw"),
    ROW(7_EBX, 31, "avx512vl"),
    ROW(7_ECX, 1, "avx512vbmi"),
    ROW(7_ECX, 2, "umip"),
    ROW(7_ECX, 3, "pku"),
    ROW(7_ECX, 6, "avx512vbmi2"),
    ROW(7_ECX, 8, "gfni"),
    ROW(7_ECX, 9, "vaes"),
    ROW(7_ECX, 10, "vpclmulqdq"),
    ROW(7_ECX, 11, "avx512vnni"),
    ROW(7_ECX, 12, "avx512bitalg"),
    ROW(7_ECX, 14, "avx512-vpopcntdq"),
    ROW(7_ECX, 16, "la57"),
    ROW(7_ECX, 22, "rdpid"),
    ROW(7_ECX, 25, "cldemote"),
    ROW(7_ECX, 27, "movdiri"),
    ROW(7_ECX, 28, "movdir64b"),
    ROW(7_EDX, 4, "fsrm"),
    ROW(7_EDX, 8, "avx512-vp2intersect"),
    ROW(7_EDX, 10, "md-clear"),
    ROW(7_EDX, 14, "serialize"),
    ROW(7_EDX, 16, "tsx-ldtrk"),
    ROW(7_EDX, 23, "avx512-fp16"),
    ROW(7_EDX, 26, "spec-ctrl"),
    ROW(7_EDX, 27, "stibp"),
    ROW(7_EDX, 28, "flush-l1d"),
    ROW(7_EDX, 29, "arch-capabilities"),
    ROW(7_EDX, 31, "ssbd"),
    ROW(7_1_EAX, 4, "avx-vnni"),
    ROW(7_1_EAX, 5, "avx512-bf16"),
    ROW(7_1_EAX, 7, "cmpccxadd"),
    ROW(7_1_EAX, 10, "fzrm"),
    ROW(7_1_EAX, 11, "fsrs"),
    ROW(7_1_EAX, 12, "fsrc"),
    ROW(7_1_EAX, 23, "avx-ifma"),
    ROW(7_1_EDX, 4, "avx-vnni-int8"),
    ROW(7_1_EDX, 5, "avx-ne-convert"),
    ROW(7_1_EDX, 14, "prefetchiti"),
    ROW(7_2_EDX, 5, "mcdt-no"),
    ROW(D_1_EAX, 0, "xsaveopt"),
    ROW(D_1_EAX, 1, "xsavec"),
    ROW(D_1_EAX, 2, "xgetbv1"),
    ROW(D_1_EAX, 3, "xsaves"),
    ROW(KVM_EAX, 0, "kvmclock-old"),
    ROW(KVM_EAX, 1, "kvm-nopiodelay"),
    ROW(KVM_EAX, 3, "kvmclock"),
    ROW(KVM_EAX, 4, "kvm-asyncpf"),
    ROW(KVM_EAX, 5, "kvm-steal-time"),
    ROW(KVM_EAX, 6, "kvm-pv-eoi"),
    ROW(KVM_EAX, 7, "kvm-pv-unhalt"),
    ROW(KVM_EAX, 9, "kvm-pv-tlb-flush"),
    ROW(KVM_EAX, 10, "kvm-asyncpf-vmexit"),
    ROW(KVM_EAX, 11, "kvm-pv-ipi"),
    ROW(KVM_EAX, 12, "kvm-poll-control"),
    ROW(KVM_EAX, 13, "kvm-pv-sched-yield"),
    ROW(KVM_EAX, 14, "kvm-asyncpf-int"),
    ROW(KVM_EAX, 24, "kvmclock-stable-bit"),
    ROW(8000_0001_EDX, 11, "syscall"),
    ROW2(8000_0001_EDX, 20, "nx", "xd"),
    ROW(8000_0001_EDX, 22, "mmxext"),
    ROW2(8000_0001_EDX, 25, "fxsr-opt", "ffxsr"),
    ROW(8000_0001_EDX, 26, "pdpe1gb"),
    ROW(8000_0001_EDX, 27, "rdtscp"),
    ROW2(8000_0001_EDX, 29, "lm", "i64"),
    ROW(8000_0001_ECX, 0, "lahf-lm"),
    ROW(8000_0001_ECX, 1, "cmp-legacy"),
    ROW(8000_0001_ECX, 2, "svm"),
    ROW(8000_0001_ECX, 4, "cr8legacy"),
    ROW2(8000_0001_ECX, 5, "abm", "lzcnt"),
    ROW(8000_0001_ECX, 6, "sse4a"),
    ROW(8000_0001_ECX, 7, "misalignsse"),
    ROW(8000_0001_ECX, 8, "3dnowprefetch"),
    ROW(8000_0001_ECX, 9, "osvw"),
    ROW(8000_0001_ECX, 22, "topoext"),
    ROW(8000_0001_ECX, 23, "perfctr-core"),
    ROW(8000_0007_EDX, 8, "invtsc"),
    ROW(8000_0008_EBX, 0, "clzero"),
    ROW(8000_0008_EBX, 2, "xsaveerptr"),
    ROW(8000_0008_EBX, 9, "wbnoinvd"),
    ROW(8000_0008_EBX, 12, "ibpb"),
    ROW(8000_0008_EBX, 14, "ibrs"),
    ROW(8000_0008_EBX, 15, "amd-stibp"),
    ROW(8000_0008_EBX, 24, "amd-ssbd"),
    ROW(8000_0008_EBX, 25, "virt-ssbd"),
    ROW(8000_0008_EBX, 26, "amd-no-ssb"),
    ROW(8000_0008_EBX, 28, "amd-psfd"),
    ROW(8000_0008_EBX, 29, "btc-no"),
    ROW(8000_0008_EBX, 30, "ibpb-ret"),
    ROW(8000_000A_EDX, 0, "npt"),
    ROW(8000_000A_EDX, 1, "lbrv"),
    ROW(8000_000A_EDX, 3, "nrip-save"),
    ROW(8000_000A_EDX, 4, "tsc-scale"),
    ROW(8000_000A_EDX, 5, "vmcb-clean"),
    ROW(8000_000A_EDX, 6, "flushbyasid"),
    ROW(8000_000A_EDX, 7, "decodeassists"),
    ROW(8000_000A_EDX, 10, "pause-filter"),
    ROW(8000_000A_EDX, 12, "pfthreshold"),
    ROW(8000_000A_EDX, 15, "v-vmsave-vmload"),
    ROW(8000_000A_EDX, 16, "vgif"),
    ROW(8000_0021_EAX, 0, "no-nested-data-bp"),
    ROW(8000_0021_EAX, 2, "lfence-always-serializing"),
    ROW(8000_0021_EAX, 5, "verw-clear"),
    ROW(8000_0021_EAX, 6, "null-sel-clr-base"),
    ROW(8000_0021_EAX, 8, "auto-ibrs"),
    ROW(8000_0021_EAX, 27, "sbpb"),
    ROW(8000_0021_EAX, 28, "ibpb-brtype"),
    ROW(8000_0021_EAX, 29, "srso-no"),
    ROW(8000_0021_EAX, 30, "srso-user-kernel-no"),
    ROW(8000_0021_ECX, 1, "tsa-sq-no"),
    ROW(8000_0021_ECX, 2, "tsa-l1-no"),
};

/* A feature that no processor has without another. */
typedef struct FeatureNeed {
    const char *dependents; /* separated by blanks */
    const char *needs;
} FeatureNeed;

/* Ordered so that one pass removes whole chains. */
static const FeatureNeed feature_needs[] = {
    { "sse2", "sse" },
    { "pni", "sse2" },
    { "ssse3", "pni" },
    { "sse4.1", "ssse3" },
    { "sse4.2", "sse4.1" },
    { "aes pclmulqdq sha-ni gfni", "sse2" },
    { "xsaveopt xsavec xgetbv1 xsaves avx pku", "xsave" },
    { "avx2 fma f16c vaes vpclmulqdq", "avx" },
    { "avx512f avx-vnni avx-ifma avx-vnni-int8 avx-ne-convert", "avx2" },
    { "avx512dq avx512ifma avx512cd avx512bw avx512vl avx512-vpopcntdq avx512vnni "
      "avx512-vp2intersect",
      "avx512f" },
    { "avx512vbmi avx512vbmi2 avx512bitalg avx512-bf16 avx512-fp16", "avx512bw" },
    { "invpcid", "pcid" },
    { "la57 pdpe1gb syscall", "lm" },
    { "npt lbrv nrip-save tsc-scale vmcb-clean flushbyasid decodeassists pause-filter "
      "pfthreshold v-vmsave-vmload vgif",
      "svm" },
    { "x2apic tsc-deadline", "apic" },
};

void cpu_feature_set_or(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b)
{
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        out->word[i] = a->word[i] | b->word[i];
    }
}

void cpu_feature_set_and(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b)
{
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        out->word[i] = a->word[i] & b->word[i];
    }
}

void cpu_feature_set_without(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b)
{
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        out->word[i] = a->word[i] & ~b->word[i];
    }
}

bool cpu_feature_set_is_empty(const CpuFeatureSet *set)
{
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        if (set->word[i]) {
            return false;
        }
    }
    return true;
}

static bool name_equals(const char *name, const char *text, size_t length)
{
    if (!name || strlen(name) != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (name[i] != (text[i] == '_' ? '-' : text[i])) {
            return false;
        }
    }
    return true;
}

int cpu_feature_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(feature_table); i++) {
        const FeatureRow *row = &feature_table[i];
        if (name_equals(row->name, name, length) || name_equals(row->alias, name, length)) {
            return row->number;
        }
    }
    return -1;
}

static const char *const absent_features[] = {
    "acpi",
    "ds",
    "tm",
    "ia64",
    "pbe",
    "dtes64",
    "monitor",
    "ds-cpl",
    "smx",
    "est",
    "tm2",
    "cid",
    "xtpr",
    "pdcm",
    "dca",
    "osxsave",
    "mpx",
    "pcommit",
    "cqm",
    "intel-pt",
    "avx512pf",
    "avx512er",
    "pks",
    "ospke",
    "bus-lock-detect",
    "sgx",
    "sgxlc",
    "avx512-4vnniw",
    "avx512-4fmaps",
    "pconfig",
    "arch-lbr",
    "ibt",
    "shstk",
    "amx-bf16",
    "amx-tile",
    "amx-int8",
    "amx-fp16",
    "core-capability",
    "split-lock-detect",
    "3dnowext",
    "3dnow",
    "mp",
    "extapic",
    "ibs",
    "skinit",
    "wdt",
    "lwp",
    "tce",
    "nodeid-msr",
    "perfctr-nb",
    "svm-lock",
    "avic",
    "svme-addr-chk",
    "rdpru",
    "xcrypt",
    "xstore",
    "phe",
    "ace2",
    "pmm",
    "fma4",
    "xop",
    "tbm",
    "waitpkg",
    "kvm-hint-dedicated",
    "kvm-mmu",
};

int cpu_absent_feature_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(absent_features); i++) {
        if (name_equals(absent_features[i], name, strlen(name))) {
            return (int)i;
        }
    }
    return -1;
}

const char *cpu_absent_feature_name(unsigned index)
{
    return index < ARRAY_LENGTH(absent_features) ? absent_features[index] : NULL;
}

const char *cpu_feature_name(unsigned feature)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(feature_table); i++) {
        if (feature_table[i].number == (int)feature) {
            return feature_table[i].name;
        }
    }
    return NULL;
}

void cpu_feature_set_add_names(CpuFeatureSet *set, const char *names)
{
    for (const char *p = names; *p;) {
        size_t length = strcspn(p, " ");
        if (length) {
            int feature = cpu_feature_find(p, length);
            lodge_assert(feature >= 0);
            cpu_feature_add(set, (unsigned)feature);
        }
        p += length;
        p += *p == ' ';
    }
}

char *cpu_feature_set_format(const CpuFeatureSet *set)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < ARRAY_LENGTH(feature_table); i++) {
        if (cpu_feature_has(set, feature_table[i].number)) {
            g_string_append_printf(text, "%s%s", text->len ? " " : "", feature_table[i].name);
        }
    }
    return g_string_free(text, FALSE);
}

void cpu_feature_set_known(CpuFeatureSet *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < ARRAY_LENGTH(feature_table); i++) {
        cpu_feature_add(out, feature_table[i].number);
    }
}

static uint32_t *leaf_register(CpuidLeaf *leaf, CpuidRegister reg)
{
    switch (reg) {
    case REG_EAX:
        return &leaf->eax;
    case REG_EBX:
        return &leaf->ebx;
    case REG_ECX:
        return &leaf->ecx;
    case REG_EDX:
        return &leaf->edx;
    }
    return NULL;
}

void cpu_feature_set_from_cpuid(CpuFeatureSet *out, const CpuidTable *table)
{
    CpuFeatureSet known;
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        const WordPlace *place = &word_place[i];
        const CpuidLeaf *leaf = cpuid_table_find(table, place->function, place->index);
        if (leaf) {
            CpuidLeaf copy = *leaf;
            out->word[i] = *leaf_register(&copy, place->reg);
        }
    }
    cpu_feature_set_known(&known);
    cpu_feature_set_and(out, out, &known);
}

void cpu_feature_set_close(CpuFeatureSet *set)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(feature_needs); i++) {
        CpuFeatureSet needed = { 0 }, dependents = { 0 }, present;
        cpu_feature_set_add_names(&needed, feature_needs[i].needs);
        cpu_feature_set_and(&present, set, &needed);
        if (cpu_feature_set_is_empty(&present)) {
            cpu_feature_set_add_names(&dependents, feature_needs[i].dependents);
            cpu_feature_set_without(set, set, &dependents);
        }
    }
}

void cpu_feature_set_to_leaf(const CpuFeatureSet *set, CpuidLeaf *leaf)
{
    for (unsigned i = 0; i < CPU_WORDS; i++) {
        const WordPlace *place = &word_place[i];
        if (place->function == leaf->function &&
            (!place->has_index || place->index == leaf->index)) {
            *leaf_register(leaf, place->reg) |= set->word[i];
        }
    }
}
