/* Identities to and from CPUID.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/identity.h"

#include <cpuid.h>
#include <string.h>

#define BRAND_FIRST 0x80000002u
#define BRAND_LEAVES 3
#define FAMILY_WITH_TOPOEXT 0x15

static void put_signature(CpuIdentity *out, uint32_t signature)
{
    out->stepping = signature & 0xf;
    out->model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    out->family = signature >> 8 & 0xf;
    if (out->family == 0xf) {
        out->family += signature >> 20 & 0xff;
    }
}

static void put_vendor(CpuIdentity *out, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    memcpy(out->vendor, &ebx, 4);
    memcpy(out->vendor + 4, &edx, 4);
    memcpy(out->vendor + 8, &ecx, 4);
    out->vendor[12] = 0;
}

static void put_brand(CpuIdentity *out, unsigned i, const uint32_t regs[4])
{
    memcpy(out->model_id + 16 * i, regs, 16);
    out->model_id[48] = 0;
}

void cpu_identity_from_cpuid(CpuIdentity *out, const CpuidTable *table)
{
    const CpuidLeaf *leaf = cpuid_table_find(table, 0, 0);
    memset(out, 0, sizeof(*out));
    if (leaf) {
        put_vendor(out, leaf->ebx, leaf->ecx, leaf->edx);
    }
    leaf = cpuid_table_find(table, 1, 0);
    if (leaf) {
        put_signature(out, leaf->eax);
    }
    for (unsigned i = 0; i < BRAND_LEAVES; i++) {
        leaf = cpuid_table_find(table, BRAND_FIRST + i, 0);
        if (leaf) {
            put_brand(out, i, (uint32_t[4]){ leaf->eax, leaf->ebx, leaf->ecx, leaf->edx });
        }
    }
}

void cpu_identity_of_host(CpuIdentity *out)
{
    uint32_t eax, ebx, ecx, edx;
    memset(out, 0, sizeof(*out));
    __cpuid(0, eax, ebx, ecx, edx);
    put_vendor(out, ebx, ecx, edx);
    __cpuid(1, eax, ebx, ecx, edx);
    put_signature(out, eax);
    for (unsigned i = 0; i < BRAND_LEAVES; i++) {
        __cpuid(BRAND_FIRST + i, eax, ebx, ecx, edx);
        put_brand(out, i, (uint32_t[4]){ eax, ebx, ecx, edx });
    }
}

uint32_t cpu_identity_signature(const CpuIdentity *identity)
{
    uint32_t family = identity->family < 0xf ? identity->family : 0xf;
    uint32_t more = identity->family - family;
    return identity->stepping | (identity->model & 0xf) << 4 | family << 8 |
           (identity->model >> 4) << 16 | more << 20;
}

bool cpu_identity_is_amd(const CpuIdentity *identity)
{
    return !strcmp(identity->vendor, "AuthenticAMD") || !strcmp(identity->vendor, "HygonGenuine");
}

bool cpu_identity_has_topoext(const CpuConfig *config, const CpuidTable *limits)
{
    CpuIdentity identity;
    cpu_identity_resolve(config, limits, &identity);
    return cpu_identity_is_amd(&identity) && identity.family >= FAMILY_WITH_TOPOEXT;
}
