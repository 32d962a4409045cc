/* x86 processors as sets of named features: what a model has, and which model fits a set best.
 *
 * Names are those of libvirt's XML; '_' and '-' are one, and QEMU's other names are understood.
 * Tables: src/schema/x86-cpu.tsv. Pure; any thread. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_CPU_X86_H
#define LODGE_CONF_CPU_X86_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define X86_FEATURE_WORDS 4

typedef struct X86Set {
    uint64_t word[X86_FEATURE_WORDS];
} X86Set;

typedef enum X86Register { X86_EAX, X86_EBX, X86_ECX, X86_EDX, X86_MSR } X86Register;

typedef struct X86Feature {
    const char *name;
    const char *aliases; /* separated by blanks, or NULL */
    X86Register source;
    uint32_t leaf; /* or number of the model-specific register */
    uint32_t subleaf;
    unsigned bit;
} X86Feature;

typedef struct X86Model {
    const char *name;
    const char *vendor; /* "Intel", "AMD", "Hygon"; NULL: any */
    unsigned family, model, stepping;
    X86Set features;
} X86Model;

extern const X86Feature x86_features[];
extern const unsigned x86_n_features;
/* By the number of their features. */
extern const X86Model x86_models[];
extern const unsigned x86_n_models;

/* Number of the feature, or -1. */
int x86_feature_find(const char *name);
/* NULL: there is no model of that name. */
const X86Model *x86_model_find(const char *name);

static inline bool x86_set_has(const X86Set *set, unsigned feature)
{
    return set->word[feature / 64] >> (feature % 64) & 1;
}

static inline void x86_set_put(X86Set *set, unsigned feature, bool on)
{
    uint64_t bit = UINT64_C(1) << (feature % 64);
    set->word[feature / 64] = on ? set->word[feature / 64] | bit : set->word[feature / 64] & ~bit;
}

/* a & b, a & ~b. */
X86Set x86_set_and(const X86Set *a, const X86Set *b);
X86Set x86_set_without(const X86Set *a, const X86Set *b);
unsigned x86_set_count(const X86Set *set);
static inline bool x86_set_is_empty(const X86Set *set)
{
    return x86_set_count(set) == 0;
}
/* "a, b, c" (transfer full). */
char *x86_set_join(const X86Set *set);

/* Answers CPUID: @out is EAX, EBX, ECX, EDX, zero for leaves that are not there. */
typedef void (*X86Cpuid)(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* The features that @cpuid shows; those of model-specific registers stay out. */
void x86_set_from_cpuid(X86Set *set, X86Cpuid cpuid, void *opaque);

/**
 * x86_decode - the model that describes @features with the fewest words
 * @vendor:       of the processor; models of others are passed over. NULL: any
 * @may_disable:  models that have more than @features count too
 * @is_candidate: (nullable) which models may be chosen
 *
 * Returns: NULL when no model is left.
 */
const X86Model *x86_decode(const X86Set *features, const char *vendor, bool may_disable,
                           bool (*is_candidate)(void *opaque, const X86Model *model), void *opaque);

#endif
