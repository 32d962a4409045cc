/* CPU models: what "-cpu" names, and the CPUID answers of each vCPU.
 *
 * A model is an identity (vendor, family, ...) and features; "max", "host" and the level models
 * take their identity from the accelerator. What the accelerator cannot give is left out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CPU_MODEL_H
#define LODGE_VMM_CPU_MODEL_H

#include "vmm/cpu/feature.h"
#include "vmm/cpu/topology.h"

#define CPU_MODEL_DEFAULT "x86-64-v3"

typedef struct CpuModel CpuModel;

/* What the user asked for. Plain data; copying is fine. */
typedef struct CpuConfig {
    const CpuModel *model;
    CpuFeatureSet plus, minus;
    uint64_t absent[2];           /* asked for though no guest can have them; see feature.h */
    bool check;                   /* warn of features that are missing (the default) */
    bool enforce;                 /* they are an error */
    bool hide_kvm;                /* "kvm=off": no paravirtual leaves */
    uint8_t phys_bits;            /* 0: as the accelerator has */
    char vendor[13];              /* empty: the model's */
    char model_id[49];            /* empty: the model's */
    int family, number, stepping; /* -1: the model's */
} CpuConfig;

/**
 * cpu_config_parse - the argument of -cpu
 * @text: "MODEL[,+feature][,-feature][,feature=on|off][,property=value]...", NULL: the default
 *
 * Properties: check, enforce, kvm, phys-bits, vendor, family, model, stepping, model-id. Errors
 * name the unknown model, feature or value.
 */
bool cpu_config_parse(const char *text, CpuConfig *out, GError **error);

/* The text of "-cpu help". (transfer full) */
char *cpu_model_help(void);

/* "name, name": features asked for that no guest can have, or NULL. (transfer full) */
char *cpu_config_format_absent(const CpuConfig *config);

/* For QMP: the name of the model, and of model number @i (NULL past the last). */
const char *cpu_model_name(const CpuModel *model);
const CpuModel *cpu_model_at(unsigned i);
const char *cpu_model_summary(const CpuModel *model);

/**
 * cpu_config_resolve - the features a guest gets
 * @limits:      what the accelerator can give (AccelOps.cpuid_limits)
 * @out_missing: (nullable) asked for by the model or the user, but not to be had
 *
 * Returns: false with @error set when @config enforces and something is missing, or the guest could
 * not run 64-bit code.
 */
bool cpu_config_resolve(const CpuConfig *config, const CpuidTable *limits,
                        CpuFeatureSet *out_features, CpuFeatureSet *out_missing, GError **error);

/**
 * cpu_config_build - what CPUID answers on one vCPU
 * @features: from cpu_config_resolve()
 * @index:    of the vCPU, below cpu_topology_count()
 *
 * The APIC id in leaves 1, 0xB, 0x1F and 8000_001E is cpu_topology_apic_id(@topology, @index).
 */
void cpu_config_build(const CpuConfig *config, const CpuFeatureSet *features,
                      const CpuidTable *limits, const CpuTopology *topology, unsigned index,
                      CpuidTable *out);

#endif
