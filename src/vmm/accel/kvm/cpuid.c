/* CPUID: what KVM can show, and what a vCPU is to show.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "vmm/accel/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#define ENTRIES_FIRST 128
#define ENTRIES_MAX 1024
#define BIT(n) (UINT32_C(1) << (n))
#define LEAF_1_ECX_MONITOR BIT(3) /* KVM runs MWAIT as a no-op that burns the host's time */
#define LEAF_1_ECX_X2APIC BIT(21)
#define LEAF_1_ECX_TSC_DEADLINE BIT(24)
#define LEAF_1_ECX_HYPERVISOR BIT(31)
#define LEAF_6_EAX_ARAT BIT(2)
/* Components whose state fits CpuState: x87, SSE, AVX, AVX-512, PKRU. */
#define XCR0_KEPT 0x2e7u
#define KVM_FREQUENCY_LEAF 0x40000010u

/* Leaves that say what can be had; the others are made by vmm/cpu alone. */
static const struct {
    uint32_t first, last;
} kept[] = {
    { 0, 1 },
    { 6, 7 },
    { 0xd, 0xd },
    { 0x40000001, 0x40000001 },
    { 0x80000000, 0x80000004 },
    { 0x80000007, 0x80000008 },
    { 0x8000000a, 0x8000000a },
    { 0x80000021, 0x80000021 },
};

static bool is_kept(const struct kvm_cpuid_entry2 *entry)
{
    if (entry->function == 7 && entry->index > 2) {
        return false;
    }
    if (entry->function == 0xd && entry->index > 1 &&
        (entry->index > 31 || !(XCR0_KEPT >> entry->index & 1))) {
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(kept); i++) {
        if (entry->function >= kept[i].first && entry->function <= kept[i].last) {
            return true;
        }
    }
    return false;
}

/* The kernel's list. Returns it, or NULL with *out_rc set. Freed by the caller. */
static struct kvm_cpuid2 *read_supported(int kvm_fd, int *out_rc)
{
    for (uint32_t count = ENTRIES_FIRST; count <= ENTRIES_MAX; count *= 2) {
        struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + count * sizeof(list->entries[0]));
        if (!list) {
            *out_rc = -ENOMEM;
            return NULL;
        }
        list->nent = count;
        int rc = kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, list);
        if (rc >= 0) {
            return list;
        }
        free(list);
        *out_rc = rc;
        if (rc != -E2BIG) {
            return NULL;
        }
    }
    return NULL;
}

static CpuidLeaf leaf_from_entry(const struct kvm_cpuid_entry2 *entry, bool has_deadline_timer)
{
    CpuidLeaf leaf = {
        .function = entry->function,
        .index = entry->index,
        .has_index = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        .eax = entry->eax,
        .ebx = entry->ebx,
        .ecx = entry->ecx,
        .edx = entry->edx,
    };
    if (leaf.function == 1) {
        leaf.ecx &= ~LEAF_1_ECX_MONITOR;
        leaf.ecx |= LEAF_1_ECX_X2APIC | LEAF_1_ECX_HYPERVISOR;
        leaf.ecx |= has_deadline_timer ? LEAF_1_ECX_TSC_DEADLINE : 0;
    } else if (leaf.function == 6) {
        leaf.eax |= LEAF_6_EAX_ARAT; /* the kernel's timer never stops */
    } else if (leaf.function == 0xd && leaf.index == 0) {
        leaf.eax &= XCR0_KEPT;
    }
    return leaf;
}

/* The kernel leaves the brand string out; the host's own is right. */
static void add_brand(CpuidTable *limits)
{
    for (uint32_t function = 0x80000002u; function <= 0x80000004u; function++) {
        CpuidLeaf leaf = { .function = function };
        __cpuid(function, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
        (void)cpuid_table_append(limits, &leaf);
    }
}

int kvm_cpuid_limits(CpuidTable *out_limits, char *message)
{
    int rc = 0;
    autofd fd = kvm_open(message);
    if (fd < 0) {
        return fd;
    }
    autofree struct kvm_cpuid2 *list = read_supported(fd, &rc);
    if (!list) {
        kvm_fail(message, rc, "cannot learn which CPU features KVM supports");
        return rc;
    }
    bool has_deadline_timer =
        kvm_ioctl(fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    bool has_brand = false;
    out_limits->count = 0;
    for (uint32_t i = 0; i < list->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &list->entries[i];
        bool is_brand = entry->function >= 0x80000002u && entry->function <= 0x80000004u;
        if (is_kept(entry) && (!is_brand || entry->eax)) {
            CpuidLeaf leaf = leaf_from_entry(entry, has_deadline_timer);
            (void)cpuid_table_append(out_limits, &leaf);
            has_brand |= is_brand;
        }
    }
    if (!has_brand) {
        add_brand(out_limits);
    }
    return 0;
}

int kvm_cpuid_set(Vcpu *vcpu, const CpuidTable *table)
{
    autofree struct kvm_cpuid2 *list =
        calloc(1, sizeof(*list) + CPUID_LEAVES_MAX * sizeof(list->entries[0]));
    int tsc_khz = kvm_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
    if (!list) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < table->count; i++) {
        const CpuidLeaf *leaf = &table->leaf[i];
        struct kvm_cpuid_entry2 *entry = &list->entries[list->nent++];
        *entry = (struct kvm_cpuid_entry2){
            .function = leaf->function,
            .index = leaf->index,
            .flags = leaf->has_index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = leaf->eax,
            .ebx = leaf->ebx,
            .ecx = leaf->ecx,
            .edx = leaf->edx,
        };
        if (leaf->function == KVM_FREQUENCY_LEAF && tsc_khz > 0) {
            entry->eax = (uint32_t)tsc_khz;
        }
    }
    return kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, list);
}
