/* Model-specific registers, CPUID and the guest's clocks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_MSR_H
#define LODGE_VMM_ACCEL_XLATE_MSR_H

#include "vmm/accel/xlate/cpu.h"

#define MSR_TSC 0x10u
#define MSR_EFER 0xc0000080u

/* False: #GP. */
bool msr_read(Vcpu *vcpu, uint32_t index, uint64_t *out_value);
bool msr_write(Vcpu *vcpu, uint32_t index, uint64_t value);

/* Registers that belong to CpuState; as many as fit CPU_MSRS_MAX. */
void msr_save(Vcpu *vcpu, CpuState *state);
/* False: a value no processor takes. */
bool msr_load(Vcpu *vcpu, const CpuState *state);
void msr_reset(Vcpu *vcpu);

/* What CPUID answers now. */
void cpuid_answer(Vcpu *vcpu, uint32_t function, uint32_t index, CpuidLeaf *out_leaf);
/* Whether a feature bit of leaf (function, index) is given to the guest; @reg 0-3: eax..edx. */
bool cpuid_has(Vcpu *vcpu, uint32_t function, uint32_t index, unsigned reg, unsigned bit);

uint64_t guest_tsc(const Vcpu *vcpu);

/* Bytes of an XSAVE area with these components, standard or compacted. */
unsigned xsave_bytes(uint64_t components, bool compacted);

#define XCR0_SUPPORTED 7u /* x87, SSE, AVX */

#endif
