/* Model-specific registers that are part of a vCPU's state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#define MSR_TSC 0x10u

/* In the order of restoring: control registers before what they enable. The local APIC's base is
 * not here, it goes with the special registers. */
static const uint32_t tracked[] = {
    0x3a,                                           /* feature control */
    0x48,                                           /* speculation control */
    0x174,      0x175,      0x176,                  /* SYSENTER */
    0x1a0,                                          /* misc enable */
    0x277,                                          /* PAT */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000102, 0xc0000103,                         /* kernel GS base, TSC aux */
    0xc001011f,                                     /* AMD's speculation control */
    0xda0,                                          /* XSS */
    0xe1,                                           /* UMWAIT control */
    0x17a,      0x17b,                              /* machine check status and control */
    0x2ff, /* MTRR default type, then fixed and variable ranges */
    0x250,      0x258,      0x259,      0x268,      0x269,   0x26a, 0x26b, 0x26c,
    0x26d,      0x26e,      0x26f,      0x200,      0x201,   0x202, 0x203, 0x204,
    0x205,      0x206,      0x207,      0x208,      0x209,   0x20a, 0x20b, 0x20c,
    0x20d,      0x20e,      0x20f,      0x3b,       MSR_TSC, 0x6e0, /* TSC adjust, TSC, TSC deadline
                                                                     */
    0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, /* KVM: wall and system clock, page faults, time
                                                     */
    0x4b564d04, 0x4b564d05, 0x4b564d06, /* KVM: end of interrupt, polling, page faults */
};
_Static_assert(ARRAY_LENGTH(tracked) <= KVM_TRACKED_MSRS, "a CpuState holds every tracked MSR");

/* One MSR in the form the ioctls take. */
typedef union MsrCall {
    struct kvm_msrs header;
    struct {
        uint8_t skip[sizeof(struct kvm_msrs)];
        struct kvm_msr_entry entry;
    };
} MsrCall;

static bool msr_read(const Vcpu *vcpu, uint32_t index, uint64_t *out_value)
{
    MsrCall call;
    memset(&call, 0, sizeof(call));
    call.header.nmsrs = 1;
    call.entry.index = index;
    if (kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &call) != 1) {
        return false;
    }
    *out_value = call.entry.data;
    return true;
}

static bool msr_write(const Vcpu *vcpu, uint32_t index, uint64_t value)
{
    MsrCall call;
    memset(&call, 0, sizeof(call));
    call.header.nmsrs = 1;
    call.entry.index = index;
    call.entry.data = value;
    return kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &call) == 1;
}

/* KVM's list lacks the MTRRs of older kernels, though it has them. */
static bool is_mtrr(uint32_t index)
{
    return (index >= 0x200 && index <= 0x20f) || (index >= 0x250 && index <= 0x26f) ||
           index == 0x2ff;
}

int msr_find_tracked(Vm *vm)
{
    struct kvm_msr_list probe = { 0 };
    int rc = kvm_ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &probe);
    if (rc < 0 && rc != -E2BIG) {
        return rc;
    }
    autofree struct kvm_msr_list *list =
        calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
    if (!list) {
        return -ENOMEM;
    }
    list->nmsrs = probe.nmsrs;
    rc = kvm_ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(tracked); i++) {
        bool is_there = is_mtrr(tracked[i]);
        for (uint32_t k = 0; k < list->nmsrs && !is_there; k++) {
            is_there = list->indices[k] == tracked[i];
        }
        if (is_there) {
            vm->msr[vm->msr_count++] = tracked[i];
        }
    }
    return 0;
}

void msr_read_tracked(Vcpu *vcpu, uint64_t *value)
{
    for (unsigned i = 0; i < vcpu->vm->msr_count; i++) {
        (void)msr_read(vcpu, vcpu->vm->msr[i], &value[i]);
    }
}

void kvm_msr_save(Vcpu *vcpu, CpuState *state)
{
    for (unsigned i = 0; i < vcpu->vm->msr_count && state->msr_count < CPU_MSRS_MAX; i++) {
        CpuMsr *msr = &state->msr[state->msr_count];
        msr->index = vcpu->vm->msr[i];
        if (msr_read(vcpu, msr->index, &msr->value)) {
            state->msr_count++;
            if (msr->index == MSR_TSC) {
                vcpu->last_tsc = msr->value;
            }
        }
    }
}

static const CpuMsr *find(const CpuState *state, uint32_t index)
{
    for (uint32_t i = 0; i < state->msr_count && i < CPU_MSRS_MAX; i++) {
        if (state->msr[i].index == index) {
            return &state->msr[i];
        }
    }
    return NULL;
}

void kvm_msr_load(Vcpu *vcpu, const CpuState *state)
{
    for (unsigned i = 0; i < vcpu->vm->msr_count; i++) {
        uint32_t index = vcpu->vm->msr[i];
        const CpuMsr *msr = find(state, index);
        uint64_t value = msr ? msr->value : vcpu->initial_msr[i];
        uint64_t present;
        if (index == MSR_TSC && (!msr || msr->value == vcpu->last_tsc)) {
            continue; /* time goes on */
        }
        /* What the guest's CPU model lacks cannot be written, nor is it missed. */
        if (!msr_read(vcpu, index, &present) || present != value) {
            (void)msr_write(vcpu, index, value);
        }
    }
}
