/* Between Vcpu and CpuState, and INIT.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/msr.h"
#include "vmm/accel/xlate/softmmu.h"
#include "vmm/accel/xlate/vm.h"

#include <errno.h>
#include <string.h>

void state_get(Vcpu *vcpu, CpuState *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->gpr, vcpu->gpr, sizeof(out->gpr));
    out->rip = vcpu->rip;
    out->rflags = vcpu->rflags;
    memcpy(out->segment, vcpu->segment, sizeof(out->segment));
    out->ldt = vcpu->ldt;
    out->tr = vcpu->tr;
    out->gdt = vcpu->gdt;
    out->idt = vcpu->idt;
    out->cr0 = vcpu->cr0;
    out->cr2 = vcpu->cr2;
    out->cr3 = vcpu->cr3;
    out->cr4 = vcpu->cr4;
    out->cr8 = vcpu->lapic ? vcpu->lapic->get_cr8(vcpu->lapic->lapic) : 0;
    memcpy(out->dr, vcpu->dr, sizeof(out->dr));
    out->efer = vcpu->efer;
    out->xcr0 = vcpu->xcr0;
    memcpy(out->xsave, vcpu->xsave, sizeof(out->xsave));
    uint64_t present = vcpu->xcr0;
    memcpy(out->xsave + XSAVE_HEADER, &present, sizeof(present));
    msr_save(vcpu, out);
    out->run_state = vcpu->run_state;
    out->nmi_masked = vcpu->nmi_masked;
    out->interrupt_shadow = vcpu->interrupt_shadow != 0;
}

static bool is_possible(const CpuState *state)
{
    bool paging = state->cr0 & CR0_PG;
    return !(state->cr0 & ~(uint64_t)CR0_VALID) && !(state->cr4 & ~(uint64_t)CR4_VALID) &&
           !(state->efer & ~(uint64_t)EFER_VALID) && (state->cr0 & CR0_PE || !paging) &&
           (!(state->efer & EFER_LMA) || (paging && (state->cr4 & CR4_PAE))) && (state->xcr0 & 1) &&
           !(state->xcr0 & ~(uint64_t)XCR0_SUPPORTED) && state->run_state <= CPU_RUN_WAIT_FOR_SIPI;
}

/* Components that XSTATE_BV leaves out are in their initial state. */
static void load_vectors(Vcpu *vcpu, const CpuState *state)
{
    uint64_t present;
    uint32_t mxcsr;
    memcpy(vcpu->xsave, state->xsave, sizeof(vcpu->xsave));
    memcpy(&present, state->xsave + XSAVE_HEADER, sizeof(present));
    if (!(present & 4)) {
        memset(vcpu->xsave + XSAVE_YMM_HIGH, 0, XSAVE_END - XSAVE_YMM_HIGH);
    }
    memset(vcpu->xsave + XSAVE_HEADER, 0, XSAVE_YMM_HIGH - XSAVE_HEADER);
    memcpy(&mxcsr, vcpu->xsave + XSAVE_MXCSR, sizeof(mxcsr));
    mxcsr &= MXCSR_VALID;
    memcpy(vcpu->xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
}

int state_set(Vcpu *vcpu, const CpuState *state)
{
    if (!is_possible(state)) {
        return -EINVAL;
    }
    memcpy(vcpu->gpr, state->gpr, sizeof(vcpu->gpr));
    vcpu->rip = state->rip;
    vcpu->rflags = (state->rflags & 0x3f7fd5) | FLAG_FIXED;
    memcpy(vcpu->segment, state->segment, sizeof(vcpu->segment));
    vcpu->ldt = state->ldt;
    vcpu->tr = state->tr;
    vcpu->gdt = state->gdt;
    vcpu->idt = state->idt;
    vcpu->cr0 = state->cr0 | CR0_ET;
    vcpu->cr2 = state->cr2;
    vcpu->cr3 = state->cr3;
    vcpu->cr4 = state->cr4;
    memcpy(vcpu->dr, state->dr, sizeof(vcpu->dr));
    vcpu->efer = state->efer;
    vcpu->xcr0 = state->xcr0;
    load_vectors(vcpu, state);
    vcpu->run_state = state->run_state;
    vcpu->nmi_masked = state->nmi_masked;
    vcpu->interrupt_shadow = state->interrupt_shadow ? SHADOW_STI : 0;
    vcpu->shutdown = false;
    vcpu->failure = NULL;
    vcpu->interrupt_pending = true;
    vcpu->fault_pending = state->exception_pending;
    vcpu->fault_vector = state->exception_vector;
    vcpu->fault_has_error = state->exception_has_error;
    vcpu->fault_error = state->exception_error;
    if (vcpu->lapic) {
        vcpu->lapic->set_cr8(vcpu->lapic->lapic, (uint8_t)(state->cr8 & 15));
    }
    /* First the paging mode, by which MSRs and the TLB go. */
    cpu_update_mode(vcpu);
    tlb_flush(vcpu);
    bool ok = msr_load(vcpu, state);
    atomic_fetch_or(&vcpu->requests, REQUEST_INTERRUPT);
    return ok ? 0 : -EINVAL;
}

void state_init(Vcpu *vcpu)
{
    CpuState state;
    uint8_t xsave[CPU_XSAVE_BYTES];
    uint64_t keep_cr0 = vcpu->cr0 & (CR0_CD | CR0_NW), xcr0 = vcpu->xcr0;
    memcpy(xsave, vcpu->xsave, sizeof(xsave));
    cpu_state_reset(&state, vcpu->index == 0);
    state.cr0 = CR0_ET | keep_cr0;
    state.xcr0 = xcr0;
    state_set(vcpu, &state);
    memcpy(vcpu->xsave, xsave, sizeof(xsave));
    vcpu->gpr[CPU_RDX] = 0;
    const CpuidLeaf *leaf = cpuid_table_find(vcpu->cpuid, 1, 0);
    if (leaf) {
        vcpu->gpr[CPU_RDX] = leaf->eax;
    }
    if (vcpu->lapic) {
        vcpu->lapic->reset(vcpu->lapic->lapic);
    }
}
