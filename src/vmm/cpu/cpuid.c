/* The CPUID table of one vCPU: identity, features, topology, caches, XSAVE, paravirtual leaves.
 *
 * Sources: CPUID in the Intel SDM (volume 2A) and AMD's APM (volume 3, appendix E). Left out: leaf
 * 2 descriptors but "see leaf 4", performance counters, power management, leaves 0x15 and 0x16 (the
 * guest clock's rate comes from kvmclock and leaf 0x40000010).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/cpu/identity.h"

#include <string.h>

#define CACHE_LINE 64
#define CLFLUSH_UNITS (CACHE_LINE / 8)
#define APIC_BUS_KHZ 1000000 /* local APIC timers count nanoseconds */
#define KVM_LEAF 0x40000000u
#define KVM_FREQUENCY_LEAF 0x40000010u
#define PHYS_BITS_FALLBACK 40
#define LINEAR_BITS 48
#define LINEAR_BITS_LA57 57

#define XFEATURE_X87_SSE 0x3u
#define XFEATURE_AVX 0x4u
#define XFEATURE_AVX512 0xe0u
#define XFEATURE_PKRU 0x200u
#define XSAVE_HEADER_END 576

typedef struct Builder {
    CpuidTable *table;
    const CpuFeatureSet *features;
    const CpuidTable *limits;
    const CpuTopology *topology;
    CpuIdentity identity;
    bool is_amd;
    uint32_t apic_id;
    unsigned index;
} Builder;

static bool has(const Builder *b, const char *name)
{
    int feature = cpu_feature_find(name, strlen(name));
    lodge_assert(feature >= 0);
    return cpu_feature_has(b->features, (unsigned)feature);
}

static void add(Builder *b, CpuidLeaf leaf)
{
    cpu_feature_set_to_leaf(b->features, &leaf);
    bool fits = cpuid_table_append(b->table, &leaf);
    lodge_assert(fits);
}

static unsigned threads_per_socket(const Builder *b)
{
    return cpu_topology_count(b->topology) / b->topology->sockets;
}

static unsigned min_unsigned(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void add_vendor(Builder *b, uint32_t function)
{
    CpuidLeaf leaf = { .function = function };
    memcpy(&leaf.ebx, b->identity.vendor, 4);
    memcpy(&leaf.edx, b->identity.vendor + 4, 4);
    memcpy(&leaf.ecx, b->identity.vendor + 8, 4);
    if (function && !b->is_amd) {
        leaf.ebx = leaf.ecx = leaf.edx = 0; /* Intel leaves them zero there */
    }
    add(b, leaf); /* eax, the highest leaf, is filled in at the end */
}

static void add_basic(Builder *b)
{
    add_vendor(b, 0);
    add(b,
        (CpuidLeaf){ .function = 1,
                     .eax = cpu_identity_signature(&b->identity),
                     .ebx = (b->apic_id & 0xff) << 24 |
                            min_unsigned(threads_per_socket(b), 255) << 16 | CLFLUSH_UNITS << 8 });
    if (!b->is_amd) {
        /* One descriptor, 0xff: the caches are in leaf 4. */
        add(b, (CpuidLeaf){ .function = 2, .eax = 0x00feff01 });
    }
    add(b, (CpuidLeaf){ .function = 5 });
    add(b, (CpuidLeaf){ .function = 6 });
}

typedef struct Cache {
    unsigned type; /* 1 data, 2 instructions, 3 both */
    unsigned level;
    unsigned ways, sets;
} Cache;

/* The same for every model: what programs tune for, not a promise. */
static const Cache caches[] = {
    { 1, 1, 8, 64 },
    { 2, 1, 8, 64 },
    { 3, 2, 8, 1024 },
    { 3, 3, 16, 16384 },
};

static void add_caches(Builder *b, uint32_t function)
{
    unsigned core_shift = cpu_topology_core_shift(b->topology);
    unsigned cores_in_socket = 1u << (cpu_topology_socket_shift(b->topology) - core_shift);
    for (unsigned i = 0; i < ARRAY_LENGTH(caches); i++) {
        const Cache *cache = &caches[i];
        unsigned shift = cache->level < 3 ? core_shift : cpu_topology_die_shift(b->topology);
        CpuidLeaf leaf = { .function = function, .index = i, .has_index = true };
        leaf.eax = cache->type | cache->level << 5 | 1u << 8 |
                   min_unsigned((1u << shift) - 1, 0xfff) << 14;
        if (!b->is_amd) {
            leaf.eax |= min_unsigned(cores_in_socket - 1, 63) << 26;
        }
        leaf.ebx = (CACHE_LINE - 1) | (cache->ways - 1) << 22;
        leaf.ecx = cache->sets - 1;
        add(b, leaf);
    }
    add(b, (CpuidLeaf){ .function = function, .index = ARRAY_LENGTH(caches), .has_index = true });
}

static void add_extended_features(Builder *b)
{
    const uint32_t *word = b->features->word;
    uint32_t last = word[CPU_WORD_7_2_EDX]                             ? 2
                    : word[CPU_WORD_7_1_EAX] || word[CPU_WORD_7_1_EDX] ? 1
                                                                       : 0;
    for (uint32_t i = 0; i <= last; i++) {
        add(b, (CpuidLeaf){ .function = 7, .index = i, .has_index = true, .eax = i ? 0 : last });
    }
}

/* Leaves 0xB and 0x1F: one sub-leaf for each level, then an invalid one. */
static void add_topology(Builder *b, uint32_t function, bool with_dies)
{
    static const uint32_t level_type_thread = 1, level_type_core = 2, level_type_die = 5;
    const CpuTopology *t = b->topology;
    struct {
        uint32_t type, shift, count;
    } level[3] = {
        { level_type_thread, cpu_topology_core_shift(t), t->threads },
        { level_type_core, cpu_topology_die_shift(t), t->threads * t->cores },
        { level_type_die, cpu_topology_socket_shift(t), t->threads * t->cores * t->dies },
    };
    if (!with_dies) {
        level[1].shift = level[2].shift;
        level[1].count = level[2].count;
    }
    unsigned levels = with_dies ? 3 : 2;
    for (unsigned i = 0; i <= levels; i++) {
        CpuidLeaf leaf = { .function = function, .index = i, .has_index = true, .ecx = i };
        if (i < levels) {
            leaf.eax = level[i].shift;
            leaf.ebx = level[i].count & 0xffff;
            leaf.ecx |= level[i].type << 8;
        }
        leaf.edx = b->apic_id;
        add(b, leaf);
    }
}

static uint32_t xsave_components(const Builder *b)
{
    uint32_t components = XFEATURE_X87_SSE;
    components |= has(b, "avx") ? XFEATURE_AVX : 0;
    components |= has(b, "avx512f") ? XFEATURE_AVX512 : 0;
    components |= has(b, "pku") ? XFEATURE_PKRU : 0;
    return components;
}

static void add_xsave(Builder *b)
{
    const CpuidLeaf *limit = cpuid_table_find(b->limits, 0xd, 0);
    uint32_t components = xsave_components(b) & (limit ? limit->eax : XFEATURE_X87_SSE);
    CpuidLeaf whole = { .function = 0xd, .has_index = true, .eax = components };
    CpuidLeaf parts[32];
    unsigned count = 0;

    whole.ebx = whole.ecx = XSAVE_HEADER_END;
    for (uint32_t i = 2; i < 32; i++) {
        const CpuidLeaf *part = cpuid_table_find(b->limits, 0xd, i);
        if (!(components >> i & 1) || !part || !part->has_index) {
            continue;
        }
        parts[count] = *part;
        parts[count].edx = 0;
        whole.ecx = whole.ecx > part->eax + part->ebx ? whole.ecx : part->eax + part->ebx;
        count++;
    }
    add(b, whole);
    add(b, (CpuidLeaf){ .function = 0xd, .index = 1, .has_index = true, .ebx = XSAVE_HEADER_END });
    for (unsigned i = 0; i < count; i++) {
        add(b, parts[i]);
    }
}

static void add_paravirtual(Builder *b)
{
    static const char signature[12] = "KVMKVMKVM\0\0";
    const CpuidLeaf *frequency = cpuid_table_find(b->limits, KVM_FREQUENCY_LEAF, 0);
    CpuidLeaf leaf = { .function = KVM_LEAF, .eax = KVM_FREQUENCY_LEAF };
    memcpy(&leaf.ebx, signature, 4);
    memcpy(&leaf.ecx, signature + 4, 4);
    memcpy(&leaf.edx, signature + 8, 4);
    add(b, leaf);
    add(b, (CpuidLeaf){ .function = KVM_LEAF + 1 });
    add(b, (CpuidLeaf){ .function = KVM_FREQUENCY_LEAF,
                        .eax = frequency ? frequency->eax : 0,
                        .ebx = APIC_BUS_KHZ });
}

static void add_brand(Builder *b)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t regs[4];
        memcpy(regs, b->identity.model_id + 16 * i, sizeof(regs));
        add(b, (CpuidLeaf){ .function = 0x80000002u + i,
                            .eax = regs[0],
                            .ebx = regs[1],
                            .ecx = regs[2],
                            .edx = regs[3] });
    }
}

/* AMD's older description of the caches; Intel fills in only the second level's. */
static void add_amd_caches(Builder *b)
{
    static const uint32_t l1 = 32u << 24 | 8u << 16 | 1u << 8 | CACHE_LINE;
    static const uint32_t l2 = 512u << 16 | 6u << 12 | 1u << 8 | CACHE_LINE;
    static const uint32_t l3 = 32u << 18 | 8u << 12 | 1u << 8 | CACHE_LINE;
    CpuidLeaf first = { .function = 0x80000005u };
    CpuidLeaf second = { .function = 0x80000006u, .ecx = l2 };
    if (b->is_amd) {
        first.ecx = first.edx = l1;
        second.edx = l3;
    }
    add(b, first);
    add(b, second);
}

static void add_address_sizes(Builder *b, unsigned phys_bits)
{
    const CpuidLeaf *limit = cpuid_table_find(b->limits, 0x80000008u, 0);
    uint32_t physical = limit && limit->eax & 0xff ? limit->eax & 0xff : PHYS_BITS_FALLBACK;
    uint32_t linear = has(b, "la57") ? LINEAR_BITS_LA57 : LINEAR_BITS;
    CpuidLeaf leaf = { .function = 0x80000008u };
    if (phys_bits && phys_bits < physical) {
        physical = phys_bits;
    }
    leaf.eax = physical | linear << 8;
    if (b->is_amd) {
        leaf.ecx = min_unsigned(threads_per_socket(b) - 1, 255) |
                   cpu_topology_socket_shift(b->topology) << 12;
    }
    add(b, leaf);
}

static void add_amd_topology(Builder *b)
{
    const CpuTopology *t = b->topology;
    unsigned core = b->index / t->threads % (t->cores * t->dies);
    unsigned node = b->index / (t->threads * t->cores);
    add_caches(b, 0x8000001du);
    add(b, (CpuidLeaf){ .function = 0x8000001eu,
                        .eax = b->apic_id,
                        .ebx = (core & 0xff) | (t->threads - 1) << 8,
                        .ecx = (node & 0xff) | (t->dies - 1) << 8 });
}

static void add_extended(Builder *b, unsigned phys_bits)
{
    const CpuidLeaf *svm = cpuid_table_find(b->limits, 0x8000000au, 0);
    add_vendor(b, 0x80000000u);
    add(b, (CpuidLeaf){ .function = 0x80000001u,
                        .eax = b->is_amd ? cpu_identity_signature(&b->identity) : 0 });
    add_brand(b);
    add_amd_caches(b);
    add(b, (CpuidLeaf){ .function = 0x80000007u });
    add_address_sizes(b, phys_bits);
    if (cpu_feature_has(b->features, CPU_FEATURE_SVM) && svm) {
        add(b, (CpuidLeaf){ .function = 0x8000000au, .eax = svm->eax, .ebx = svm->ebx });
    }
    if (cpu_feature_has(b->features, CPU_FEATURE_TOPOEXT)) {
        add_amd_topology(b);
    }
    if (b->is_amd) {
        add(b, (CpuidLeaf){ .function = 0x80000021u });
    }
}

/* Leaves 0, 0x80000000: the highest leaf of their range. */
static void fill_highest(CpuidTable *table)
{
    uint32_t basic = 0, extended = 0x80000000u;
    for (unsigned i = 0; i < table->count; i++) {
        uint32_t function = table->leaf[i].function;
        if (function < KVM_LEAF && function > basic) {
            basic = function;
        }
        if (function > extended) {
            extended = function;
        }
    }
    for (unsigned i = 0; i < table->count; i++) {
        if (table->leaf[i].function == 0) {
            table->leaf[i].eax = basic;
        } else if (table->leaf[i].function == 0x80000000u) {
            table->leaf[i].eax = extended;
        }
    }
}

/* Features that say what the topology is. */
static void adjust_features(const Builder *b, CpuFeatureSet *features)
{
    cpu_feature_remove(features, CPU_FEATURE_HTT);
    cpu_feature_remove(features, CPU_FEATURE_CMP_LEGACY);
    if (threads_per_socket(b) > 1) {
        cpu_feature_add(features, CPU_FEATURE_HTT);
        if (b->is_amd) {
            cpu_feature_add(features, CPU_FEATURE_CMP_LEGACY);
        }
    }
}

void cpu_config_build(const CpuConfig *config, const CpuFeatureSet *features,
                      const CpuidTable *limits, const CpuTopology *topology, unsigned index,
                      CpuidTable *out)
{
    CpuFeatureSet final = *features;
    Builder b = { .table = out,
                  .features = &final,
                  .limits = limits,
                  .topology = topology,
                  .index = index,
                  .apic_id = cpu_topology_apic_id(topology, index) };

    out->count = 0;
    cpu_identity_resolve(config, limits, &b.identity);
    b.is_amd = cpu_identity_is_amd(&b.identity);
    adjust_features(&b, &final);
    add_basic(&b);
    if (!b.is_amd) {
        add_caches(&b, 4);
    }
    add_extended_features(&b);
    add_topology(&b, 0xb, false);
    if (cpu_feature_has(&final, CPU_FEATURE_XSAVE)) {
        add_xsave(&b);
    }
    if (!b.is_amd && topology->dies > 1) {
        add_topology(&b, 0x1f, true);
    }
    if (!config->hide_kvm && cpu_feature_has(&final, CPU_FEATURE_HYPERVISOR) &&
        final.word[CPU_WORD_KVM_EAX]) {
        add_paravirtual(&b);
    }
    add_extended(&b, config->phys_bits);
    fill_highest(out);
}
