/* CpuState to and from the kernel's structures.
 *
 * A hardware interrupt that the kernel took from its local APIC but has not delivered appears as a
 * pending exception with its vector (32 and above). SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_RESET UINT64_C(0xfee00800)
#define APIC_BASE_BSP UINT64_C(0x100)
#define XSTATE_BV_OFFSET 512
#define XSTATE_X87_SSE 3
#define FIRST_INTERRUPT_VECTOR 32

static CpuSegment segment_from_kvm(const struct kvm_segment *from)
{
    CpuSegment to = { .base = from->base, .limit = from->limit, .selector = from->selector };
    to.attributes =
        (uint16_t)(from->type | from->s << 4 | from->dpl << SEGMENT_DPL_SHIFT | from->present << 7 |
                   from->avl << 8 | from->l << 9 | from->db << 10 | from->g << 11);
    if (from->unusable) {
        to.attributes |= SEGMENT_UNUSABLE;
    }
    return to;
}

static struct kvm_segment segment_to_kvm(const CpuSegment *from)
{
    uint16_t a = from->attributes;
    return (struct kvm_segment){
        .base = from->base,
        .limit = from->limit,
        .selector = from->selector,
        .type = a & SEGMENT_TYPE,
        .s = !!(a & SEGMENT_S),
        .dpl = (a & SEGMENT_DPL) >> SEGMENT_DPL_SHIFT,
        .present = !!(a & SEGMENT_P),
        .avl = !!(a & SEGMENT_AVL),
        .l = !!(a & SEGMENT_L),
        .db = !!(a & SEGMENT_DB),
        .g = !!(a & SEGMENT_G),
        .unusable = !!(a & SEGMENT_UNUSABLE),
    };
}

static struct kvm_segment *segment_slot(struct kvm_sregs *sregs, unsigned i)
{
    struct kvm_segment *const slot[CPU_SEGMENTS] = { &sregs->es, &sregs->cs, &sregs->ss,
                                                     &sregs->ds, &sregs->fs, &sregs->gs };
    return slot[i];
}

static void get_general(const Vcpu *vcpu, CpuState *state)
{
    struct kvm_regs regs;
    int rc = kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    lodge_assert(rc >= 0);
    const uint64_t gpr[16] = { regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp,
                               regs.rsi, regs.rdi, regs.r8,  regs.r9,  regs.r10, regs.r11,
                               regs.r12, regs.r13, regs.r14, regs.r15 };
    memcpy(state->gpr, gpr, sizeof(gpr));
    state->rip = regs.rip;
    state->rflags = regs.rflags;
}

static int set_general(const Vcpu *vcpu, const CpuState *state)
{
    const uint64_t *g = state->gpr;
    struct kvm_regs regs = {
        .rax = g[CPU_RAX],
        .rcx = g[CPU_RCX],
        .rdx = g[CPU_RDX],
        .rbx = g[CPU_RBX],
        .rsp = g[CPU_RSP],
        .rbp = g[CPU_RBP],
        .rsi = g[CPU_RSI],
        .rdi = g[CPU_RDI],
        .r8 = g[8],
        .r9 = g[9],
        .r10 = g[10],
        .r11 = g[11],
        .r12 = g[12],
        .r13 = g[13],
        .r14 = g[14],
        .r15 = g[15],
        .rip = state->rip,
        .rflags = state->rflags,
    };
    return kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

static void get_special(const Vcpu *vcpu, CpuState *state)
{
    struct kvm_sregs sregs;
    int rc = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
    lodge_assert(rc >= 0);
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        state->segment[i] = segment_from_kvm(segment_slot(&sregs, i));
    }
    state->ldt = segment_from_kvm(&sregs.ldt);
    state->tr = segment_from_kvm(&sregs.tr);
    state->gdt = (CpuTable){ .base = sregs.gdt.base, .limit = sregs.gdt.limit };
    state->idt = (CpuTable){ .base = sregs.idt.base, .limit = sregs.idt.limit };
    state->cr0 = sregs.cr0;
    state->cr2 = sregs.cr2;
    state->cr3 = sregs.cr3;
    state->cr4 = sregs.cr4;
    state->cr8 = sregs.cr8;
    state->efer = sregs.efer;
    state->msr[0] = (CpuMsr){ .index = MSR_APIC_BASE, .value = sregs.apic_base };
    state->msr_count = 1;
}

static uint64_t apic_base_of(const Vcpu *vcpu, const CpuState *state)
{
    for (uint32_t i = 0; i < state->msr_count && i < CPU_MSRS_MAX; i++) {
        if (state->msr[i].index == MSR_APIC_BASE) {
            return state->msr[i].value;
        }
    }
    return APIC_BASE_RESET | (vcpu->apic_id == 0 ? APIC_BASE_BSP : 0);
}

static int set_special(const Vcpu *vcpu, const CpuState *state)
{
    struct kvm_sregs sregs;
    memset(&sregs, 0, sizeof(sregs)); /* no pending interrupt: it is among the events */
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        *segment_slot(&sregs, i) = segment_to_kvm(&state->segment[i]);
    }
    sregs.ldt = segment_to_kvm(&state->ldt);
    sregs.tr = segment_to_kvm(&state->tr);
    sregs.gdt = (struct kvm_dtable){ .base = state->gdt.base, .limit = state->gdt.limit };
    sregs.idt = (struct kvm_dtable){ .base = state->idt.base, .limit = state->idt.limit };
    sregs.cr0 = state->cr0;
    sregs.cr2 = state->cr2;
    sregs.cr3 = state->cr3;
    sregs.cr4 = state->cr4;
    sregs.cr8 = state->cr8;
    sregs.efer = state->efer;
    sregs.apic_base = apic_base_of(vcpu, state);
    return kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

static void get_vector(const Vcpu *vcpu, CpuState *state)
{
    struct kvm_xsave xsave;
    struct kvm_xcrs xcrs;
    int rc = kvm_ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave);
    lodge_assert(rc >= 0);
    _Static_assert(sizeof(xsave) == CPU_XSAVE_BYTES, "the same area");
    memcpy(state->xsave, &xsave, sizeof(xsave));
    state->xcr0 = 1;
    if (vcpu->vm->has_xcrs && kvm_ioctl(vcpu->fd, KVM_GET_XCRS, &xcrs) >= 0) {
        for (uint32_t i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++) {
            if (xcrs.xcrs[i].xcr == 0) {
                state->xcr0 = xcrs.xcrs[i].value;
            }
        }
    }
}

static int set_vector(const Vcpu *vcpu, const CpuState *state)
{
    struct kvm_xsave xsave;
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = state->xcr0 } } };
    memcpy(&xsave, state->xsave, sizeof(xsave));
    uint8_t *header = (uint8_t *)&xsave + XSTATE_BV_OFFSET;
    le64_put(header, le64_get(header) | XSTATE_X87_SSE);
    if (vcpu->vm->has_xcrs) {
        int rc = kvm_ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
        if (rc < 0) {
            return rc;
        }
    }
    return kvm_ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
}

static void get_debug_registers(const Vcpu *vcpu, CpuState *state)
{
    struct kvm_debugregs regs;
    if (vcpu->vm->has_debugregs && kvm_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &regs) >= 0) {
        memcpy(state->dr, regs.db, sizeof(regs.db));
        state->dr[6] = regs.dr6;
        state->dr[7] = regs.dr7;
    }
}

static int set_debug_registers(const Vcpu *vcpu, const CpuState *state)
{
    struct kvm_debugregs regs;
    if (!vcpu->vm->has_debugregs) {
        return 0;
    }
    memset(&regs, 0, sizeof(regs));
    memcpy(regs.db, state->dr, sizeof(regs.db));
    regs.dr6 = state->dr[6];
    regs.dr7 = state->dr[7];
    return kvm_ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &regs);
}

static void get_events(const Vcpu *vcpu, CpuState *state)
{
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
    int rc = kvm_ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
    lodge_assert(rc >= 0);
    state->nmi_masked = events.nmi.masked;
    state->interrupt_shadow = events.interrupt.shadow;
    if (events.exception.injected) {
        state->exception_pending = true;
        state->exception_vector = events.exception.nr;
        state->exception_has_error = events.exception.has_error_code;
        state->exception_error = events.exception.error_code;
    } else if (events.interrupt.injected && !events.interrupt.soft) {
        state->exception_pending = true;
        state->exception_vector = events.interrupt.nr;
    }
    rc = kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
    lodge_assert(rc >= 0);
    state->run_state =
        mp.mp_state == KVM_MP_STATE_HALTED ? CPU_RUN_HALTED
        : mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED
            ? CPU_RUN_WAIT_FOR_SIPI
            : CPU_RUN_RUNNABLE;
}

static int set_events(const Vcpu *vcpu, const CpuState *state)
{
    static const uint32_t mp_states[] = {
        [CPU_RUN_RUNNABLE] = KVM_MP_STATE_RUNNABLE,
        [CPU_RUN_HALTED] = KVM_MP_STATE_HALTED,
        [CPU_RUN_WAIT_FOR_SIPI] = KVM_MP_STATE_UNINITIALIZED,
    };
    struct kvm_vcpu_events events = {
        .nmi.masked = state->nmi_masked,
        .interrupt.shadow = state->interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW
    };
    if ((unsigned)state->run_state >= ARRAY_LENGTH(mp_states)) {
        return -EINVAL;
    }
    if (state->exception_pending && state->exception_vector < FIRST_INTERRUPT_VECTOR) {
        events.exception.injected = 1;
        events.exception.nr = state->exception_vector;
        events.exception.has_error_code = state->exception_has_error;
        events.exception.error_code = state->exception_error;
    } else if (state->exception_pending) {
        events.interrupt.injected = 1;
        events.interrupt.nr = state->exception_vector;
    }
    int rc = kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
    if (rc < 0) {
        return rc;
    }
    struct kvm_mp_state mp = { .mp_state = mp_states[state->run_state] };
    return kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
}

void kvm_vcpu_get_state(Vcpu *vcpu, CpuState *out_state)
{
    memset(out_state, 0, sizeof(*out_state));
    get_general(vcpu, out_state);
    get_special(vcpu, out_state);
    get_vector(vcpu, out_state);
    get_debug_registers(vcpu, out_state);
    get_events(vcpu, out_state);
    kvm_msr_save(vcpu, out_state);
}

int kvm_vcpu_set_state(Vcpu *vcpu, const CpuState *state)
{
    int rc = set_special(vcpu, state);
    if (rc >= 0) {
        rc = set_vector(vcpu, state);
    }
    if (rc >= 0) {
        rc = set_general(vcpu, state);
    }
    if (rc >= 0) {
        kvm_msr_load(vcpu, state);
        rc = set_events(vcpu, state);
    }
    if (rc >= 0) {
        rc = set_debug_registers(vcpu, state);
    }
    return rc < 0 ? -EINVAL : 0;
}

bool kvm_vcpu_translate(Vcpu *vcpu, uint64_t guest_virtual, GuestAddr *out_physical)
{
    struct kvm_translation translation = { .linear_address = guest_virtual };
    if (kvm_ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid) {
        return false;
    }
    *out_physical = translation.physical_address;
    return true;
}
