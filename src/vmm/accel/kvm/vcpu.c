/* Life of a vCPU.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LEAF_FEATURES 1
#define LEAF_TOPOLOGY 0xb

static uint32_t apic_id_of(const CpuidTable *cpuid, unsigned index)
{
    const CpuidLeaf *leaf = cpuid_table_find(cpuid, LEAF_TOPOLOGY, 0);
    if (leaf) {
        return leaf->edx;
    }
    leaf = cpuid_table_find(cpuid, LEAF_FEATURES, 0);
    return leaf ? leaf->ebx >> 24 : index;
}

void kvm_vcpu_destroy(Vcpu *vcpu)
{
    if (!vcpu) {
        return;
    }
    if (vcpu->vm->vcpu[vcpu->index] == vcpu) {
        vcpu->vm->vcpu[vcpu->index] = NULL;
    }
    if (vcpu->run) {
        munmap(vcpu->run, vcpu->vm->run_bytes);
    }
    cleanup_close(&vcpu->fd);
    free(vcpu);
}

static int set_up(Vcpu *vcpu, const CpuidTable *cpuid, char *message)
{
    void *run = mmap(NULL, vcpu->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED) {
        int rc = -errno;
        kvm_fail(message, rc, "cannot map the shared page of vCPU %u", vcpu->index);
        return rc;
    }
    vcpu->run = run;
    int rc = kvm_cpuid_set(vcpu, cpuid);
    if (rc < 0) {
        kvm_fail(message, rc, "KVM refuses the CPU model for vCPU %u", vcpu->index);
        return rc;
    }
    msr_read_tracked(vcpu, vcpu->initial_msr);
    rc = kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &vcpu->initial_lapic);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot read the local APIC of vCPU %u", vcpu->index);
    }
    return rc;
}

Vcpu *kvm_vcpu_create(Vm *vm, unsigned index, const CpuidTable *cpuid, const LapicPort *lapic,
                      char *message)
{
    Vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (!vcpu) {
        kvm_fail(message, ENOMEM, "cannot create vCPU %u", index);
        return NULL;
    }
    vcpu->vm = vm;
    vcpu->index = index;
    vcpu->apic_id = apic_id_of(cpuid, index);
    vcpu->fd = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)vcpu->apic_id);
    if (vcpu->fd < 0) {
        kvm_fail(message, vcpu->fd, "cannot create vCPU %u with APIC id %u", index, vcpu->apic_id);
        kvm_vcpu_destroy(vcpu);
        return NULL;
    }
    if (set_up(vcpu, cpuid, message) < 0) {
        kvm_vcpu_destroy(vcpu);
        return NULL;
    }
    vm->vcpu[index] = vcpu;
    return vcpu;
}
