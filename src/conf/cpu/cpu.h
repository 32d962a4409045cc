/* <cpu> elements that describe processors: read, compared, and made into one that fits all.
 *
 * For virConnectCompareCPU() and virConnectBaselineCPU(). Domains' <cpu> with its topology and NUMA
 * cells is conf/domain's. Left out: processors other than x86, whose features have no names.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_CPU_CPU_H
#define LODGE_CONF_CPU_CPU_H

#include "conf/cpu/x86.h"
#include "conf/error.h"

typedef enum CpuMatch { CPU_SPEC_EXACT, CPU_SPEC_MINIMUM, CPU_SPEC_STRICT } CpuMatch;

/* What one <cpu> asks for. */
typedef struct CpuSpec {
    bool is_guest;  /* it has mode or match */
    bool has_model; /* false: modes that are whatever the host is */
    CpuMatch match;
    char *vendor; /* or NULL */
    const X86Model *model;
    X86Set required;  /* the model's and what is required by name, without what is disabled */
    X86Set forbidden; /* by policy "forbid" */
} CpuSpec;

/* A processor that there is. */
typedef struct CpuHave {
    const char *vendor; /* or NULL */
    X86Set features;
} CpuHave;

typedef enum CpuComparison {
    CPU_COMPARE_INCOMPATIBLE = 0,
    CPU_COMPARE_IDENTICAL = 1,
    CPU_COMPARE_SUPERSET = 2,
} CpuComparison;

/* False with CONF_ERROR as libvirt's: XML_ERROR, INTERNAL for unknown models and features. */
bool cpu_spec_parse(const char *xml, CpuSpec *out, GError **error);
void cpu_spec_clear(CpuSpec *spec);
/* Whether all elements are known ones; else CONF_ERROR_INVALID_SCHEMA. */
bool cpu_spec_validate(const char *xml, GError **error);

/* @out_reason: (transfer full, nullable) what is missing, when incompatible. */
CpuComparison cpu_compare(const CpuHave *have, const CpuSpec *spec, char **out_reason);

typedef enum CpuBaselineFlags {
    CPU_BASELINE_EXPAND = 1 << 0,     /* list the model's own features too */
    CPU_BASELINE_MIGRATABLE = 1 << 1, /* leave out what cannot move to another host */
} CpuBaselineFlags;

/**
 * cpu_baseline - a <cpu> that a guest can have on all of the processors
 * @xmls:        @n of them, 1 or more
 * @limit:       (nullable) what the hypervisor can give; models with more may be chosen then, and
 *               features be disabled
 * @is_candidate: as for x86_decode()
 *
 * Returns: its XML (transfer full), or NULL with @error.
 */
char *cpu_baseline(const char *const *xmls, unsigned n, unsigned flags, const CpuHave *limit,
                   bool (*is_candidate)(void *opaque, const X86Model *model), void *opaque,
                   GError **error);

#endif
