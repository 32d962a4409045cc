/* Who a processor says it is: vendor, family, model, stepping, brand. Used by model.c and cpuid.c.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CPU_IDENTITY_H
#define LODGE_VMM_CPU_IDENTITY_H

#include "vmm/cpu/model.h"

typedef struct CpuIdentity {
    char vendor[13];
    unsigned family, model, stepping; /* with the extended parts; 0..270, 0..255, 0..15 */
    char model_id[49];
} CpuIdentity;

/* What @config says, or else its model, or else the accelerator. Defined in model.c. */
void cpu_identity_resolve(const CpuConfig *config, const CpuidTable *limits, CpuIdentity *out);

/* The identity in leaves 0, 1 and 0x80000002 to 4 of @table; missing ones count as zero. */
void cpu_identity_from_cpuid(CpuIdentity *out, const CpuidTable *table);
void cpu_identity_of_host(CpuIdentity *out);

/* Leaf 1 eax. */
uint32_t cpu_identity_signature(const CpuIdentity *identity);

bool cpu_identity_is_amd(const CpuIdentity *identity);

/* Whether such a processor has leaf 0x8000001E, without which Linux finds no cores on AMD's. */
bool cpu_identity_has_topoext(const CpuConfig *config, const CpuidTable *limits);

#endif
