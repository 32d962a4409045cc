/* CPUID: the table of the machine, with the bits that follow the vCPU's state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/msr.h"

#define LEAF1_EDX_APIC 0x200u
#define LEAF1_ECX_OSXSAVE 0x8000000u
#define APIC_BASE_ENABLE 0x800u
#define AVX_OFFSET 576u
#define AVX_BYTES 256u

unsigned xsave_bytes(uint64_t components, bool compacted)
{
    /* With three components both layouts are the same: AVX follows the header. */
    return AVX_OFFSET + (components & 4 ? AVX_BYTES : 0);
}

static const CpuidLeaf *find_leaf(const CpuidTable *table, uint32_t function, uint32_t index)
{
    const CpuidLeaf *leaf = cpuid_table_find(table, function, index);
    const CpuidLeaf *highest = cpuid_table_find(table, function & 0xf0000000, 0);
    if (leaf || (highest && function <= highest->eax)) {
        return leaf;
    }
    /* Intel processors answer functions past the last with the highest basic one. */
    highest = cpuid_table_find(table, 0, 0);
    return highest && highest->ebx == 0x756e6547 && function < 0x40000000
               ? cpuid_table_find(table, highest->eax, index)
               : NULL;
}

static bool apic_enabled(Vcpu *vcpu)
{
    uint64_t base = 0;
    return !vcpu->lapic || !vcpu->lapic->read_msr(vcpu->lapic->lapic, 0x1b, &base) ||
           (base & APIC_BASE_ENABLE);
}

void cpuid_answer(Vcpu *vcpu, uint32_t function, uint32_t index, CpuidLeaf *out)
{
    const CpuidLeaf *leaf = find_leaf(vcpu->cpuid, function, index);
    *out = leaf ? *leaf : (CpuidLeaf){ 0 };
    switch (function) {
    case 1:
        out->ecx &= ~LEAF1_ECX_OSXSAVE;
        if (vcpu->cr4 & CR4_OSXSAVE) {
            out->ecx |= LEAF1_ECX_OSXSAVE;
        }
        if (!apic_enabled(vcpu)) {
            out->edx &= ~LEAF1_EDX_APIC;
        }
        break;
    case 0xd:
        if (index == 0) {
            out->ebx = xsave_bytes(vcpu->xcr0, false);
        } else if (index == 1) {
            out->ebx = xsave_bytes(vcpu->xcr0, true);
        }
        break;
    default:
        break;
    }
}

bool cpuid_has(Vcpu *vcpu, uint32_t function, uint32_t index, unsigned reg, unsigned bit)
{
    const CpuidLeaf *leaf = cpuid_table_find(vcpu->cpuid, function, index);
    if (!leaf) {
        return false;
    }
    uint32_t value = reg == 0 ? leaf->eax : reg == 1 ? leaf->ebx : reg == 2 ? leaf->ecx : leaf->edx;
    return value >> bit & 1;
}
