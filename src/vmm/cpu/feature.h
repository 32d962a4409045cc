/* CPU features: the names users give, and where CPUID shows them.
 *
 * A feature is one bit of a CPUID register. Names are QEMU's. Sources: CPUID in the Intel SDM
 * (volume 2A, order number 253666) and in AMD's APM (volume 3, 24594); paravirtual features:
 * Linux' Documentation/virt/kvm/x86/cpuid.rst. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CPU_FEATURE_H
#define LODGE_VMM_CPU_FEATURE_H

#include "vmm/accel/accel.h"

#include <glib.h>

/* The CPUID registers that hold feature bits. */
typedef enum CpuWord {
    CPU_WORD_1_ECX,
    CPU_WORD_1_EDX,
    CPU_WORD_6_EAX,
    CPU_WORD_7_EBX,
    CPU_WORD_7_ECX,
    CPU_WORD_7_EDX,
    CPU_WORD_7_1_EAX,
    CPU_WORD_7_1_EDX,
    CPU_WORD_7_2_EDX,
    CPU_WORD_D_1_EAX,
    CPU_WORD_KVM_EAX,
    CPU_WORD_8000_0001_ECX,
    CPU_WORD_8000_0001_EDX,
    CPU_WORD_8000_0007_EDX,
    CPU_WORD_8000_0008_EBX,
    CPU_WORD_8000_000A_EDX,
    CPU_WORD_8000_0021_EAX,
    CPU_WORD_8000_0021_ECX,
} CpuWord;
#define CPU_WORDS 18

/* The number of a feature: its register and bit. */
#define CPU_FEATURE(word, bit) ((unsigned)(word)*32 + (bit))

/* Those that code asks for by number. */
#define CPU_FEATURE_SVM CPU_FEATURE(CPU_WORD_8000_0001_ECX, 2)
#define CPU_FEATURE_HTT CPU_FEATURE(CPU_WORD_1_EDX, 28)
#define CPU_FEATURE_APIC CPU_FEATURE(CPU_WORD_1_EDX, 9)
#define CPU_FEATURE_CMP_LEGACY CPU_FEATURE(CPU_WORD_8000_0001_ECX, 1)
#define CPU_FEATURE_TOPOEXT CPU_FEATURE(CPU_WORD_8000_0001_ECX, 22)
#define CPU_FEATURE_XSAVE CPU_FEATURE(CPU_WORD_1_ECX, 26)
#define CPU_FEATURE_XSAVEC CPU_FEATURE(CPU_WORD_D_1_EAX, 1)
#define CPU_FEATURE_HYPERVISOR CPU_FEATURE(CPU_WORD_1_ECX, 31)
#define CPU_FEATURE_LM CPU_FEATURE(CPU_WORD_8000_0001_EDX, 29)

typedef struct CpuFeatureSet {
    uint32_t word[CPU_WORDS];
} CpuFeatureSet;

static inline bool cpu_feature_has(const CpuFeatureSet *set, unsigned feature)
{
    return set->word[feature / 32] >> (feature % 32) & 1;
}

static inline void cpu_feature_add(CpuFeatureSet *set, unsigned feature)
{
    set->word[feature / 32] |= 1u << (feature % 32);
}

static inline void cpu_feature_remove(CpuFeatureSet *set, unsigned feature)
{
    set->word[feature / 32] &= ~(1u << (feature % 32));
}

/* out = a | b, a & b, a & ~b; @out may be @a or @b. */
void cpu_feature_set_or(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b);
void cpu_feature_set_and(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b);
void cpu_feature_set_without(CpuFeatureSet *out, const CpuFeatureSet *a, const CpuFeatureSet *b);
bool cpu_feature_set_is_empty(const CpuFeatureSet *set);

/* The number of the feature @name (length bytes; '_' and '-' are one), or -1. */
int cpu_feature_find(const char *name, size_t length);

/* Features that QEMU has a name for and no guest here can have: peers ask for them, or switch them
 * off, where they describe a model bit by bit. Number of @name or -1; name of number @index (below
 * 128), or NULL. */
int cpu_absent_feature_find(const char *name);
const char *cpu_absent_feature_name(unsigned index);

/* The name of a feature by its number, or NULL. */
const char *cpu_feature_name(unsigned feature);

/* Adds the features named in @names, separated by blanks. All are known: the text is ours. */
void cpu_feature_set_add_names(CpuFeatureSet *set, const char *names);

/* Names separated by blanks, in the table's order. (transfer full) */
char *cpu_feature_set_format(const CpuFeatureSet *set);

/* Every feature that has a name. */
void cpu_feature_set_known(CpuFeatureSet *out);

/* The feature bits of @table, those without a name left out. */
void cpu_feature_set_from_cpuid(CpuFeatureSet *out, const CpuidTable *table);

/* Removes what needs a feature that is not there (AVX without XSAVE, ...). */
void cpu_feature_set_close(CpuFeatureSet *set);

/* Writes the bits of @set into the registers of @leaf that hold features; other bits stay. */
void cpu_feature_set_to_leaf(const CpuFeatureSet *set, CpuidLeaf *leaf);

#endif
