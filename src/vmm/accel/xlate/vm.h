/* Parts of accel_xlate.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_VM_H
#define LODGE_VMM_ACCEL_XLATE_VM_H

#include "vmm/accel/xlate/cpu.h"

/* IA32_ARCH_CAPABILITIES, for identities that have it: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO,
 * MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO,
 * RFDS_NO. The guest's code never runs as the guest wrote it. */
#define ARCH_CAPABILITIES UINT64_C(0x0d10e17b)

/* AccelOps.vcpu_run, vcpu_get_state and vcpu_set_state. */
void vcpu_run(Vcpu *vcpu, VcpuExit *out_exit);
void state_get(Vcpu *vcpu, CpuState *out_state);
int state_set(Vcpu *vcpu, const CpuState *state);

/* INIT: all but what the manual says survives. */
void state_init(Vcpu *vcpu);

#endif
