/* Model-specific registers: those that Linux, GRUB and firmware touch; any other is #GP. Writes to
 * speculation controls are accepted and have no effect, since emitted code is not the guest's.
 * The kvmclock pages follow "KVM-specific MSRs" of the Linux documentation.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/msr.h"

#include "base/clock.h"
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/segment.h"
#include "vmm/accel/xlate/softmmu.h"

#include <string.h>
#include <x86intrin.h>

enum {
    MSR_APIC_BASE = 0x1b,
    MSR_FEATURE_CONTROL = 0x3a,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_BIOS_SIGN_ID = 0x8b,
    MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_FLUSH_CMD = 0x10b,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_VARIABLE = 0x200, /* to 0x20f */
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K_80000 = 0x258,
    MSR_MTRR_FIX16K_A0000 = 0x259,
    MSR_MTRR_FIX4K = 0x268, /* to 0x26f */
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
    MSR_KVM_WALL_CLOCK_OLD = 0x11,
    MSR_KVM_CLOCK_OLD = 0x12,
    MSR_KVM_WALL_CLOCK = 0x4b564d00,
    MSR_KVM_CLOCK = 0x4b564d01,
};

#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_AMD_SYSCFG 0xc0010010u
#define MSR_AMD_HWCR 0xc0010015u
#define MSR_AMD_PATCH_LEVEL 0x8bu
#define MSR_AMD_DE_CFG 0xc0011029u

#define MISC_ENABLE_FAST_STRING 0x1u
#define PAT_AFTER_RESET UINT64_C(0x0007040600070406)

uint64_t guest_tsc(const Vcpu *vcpu)
{
    return __rdtsc() + vcpu->tsc_offset;
}

/* -- kvmclock -- */

typedef struct PvClock {
    uint32_t version;
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
} PvClock;

#define PVCLOCK_TSC_STABLE 1

/* ns = (ticks << shift) * mul >> 32 */
static void scale_of(uint64_t khz, uint32_t *mul, int8_t *shift)
{
    uint64_t ticks = khz * 1000, wanted = NS_PER_SEC;
    *shift = 0;
    while (ticks > wanted * 2) {
        ticks >>= 1;
        --*shift;
    }
    while (ticks <= wanted) {
        ticks <<= 1;
        ++*shift;
    }
    *mul = (uint32_t)((wanted << 32) / ticks);
}

static void write_ram(Vcpu *vcpu, GuestAddr at, const void *bytes, unsigned size)
{
    /* A guest that puts its clock where no RAM is gets none. */
    if (guest_memory_write(vcpu->vm->host.memory, at, bytes, size) < 0) {
        return;
    }
}

static void write_clock_page(Vcpu *vcpu)
{
    GuestAddr at = vcpu->msr_kvmclock & ~UINT64_C(1);
    PvClock clock = { .version = 1, .flags = PVCLOCK_TSC_STABLE };
    if (!(vcpu->msr_kvmclock & 1)) {
        return;
    }
    clock.tsc_timestamp = guest_tsc(vcpu);
    clock.system_time = (uint64_t)(clock_monotonic_ns() + vcpu->vm->clock_offset_ns);
    scale_of(vcpu->vm->tsc_khz, &clock.tsc_to_system_mul, &clock.tsc_shift);
    write_ram(vcpu, at, &clock, sizeof(clock));
    clock.version = 2;
    write_ram(vcpu, at, &clock.version, sizeof(clock.version));
}

static void write_wall_clock(Vcpu *vcpu, GuestAddr at)
{
    int64_t boot = clock_realtime_ns() - (clock_monotonic_ns() + vcpu->vm->clock_offset_ns);
    uint32_t words[3] = { 2, (uint32_t)(boot / NS_PER_SEC), (uint32_t)(boot % NS_PER_SEC) };
    write_ram(vcpu, at, words, sizeof(words));
}

/* -- tables of plain registers -- */

typedef struct PlainMsr {
    uint32_t index;
    size_t offset; /* of a uint64_t in Vcpu */
    bool canonical;
} PlainMsr;

static const PlainMsr plain[] = {
    { MSR_STAR, offsetof(Vcpu, msr_star), false },
    { MSR_LSTAR, offsetof(Vcpu, msr_lstar), true },
    { MSR_CSTAR, offsetof(Vcpu, msr_cstar), true },
    { MSR_SFMASK, offsetof(Vcpu, msr_sfmask), false },
    { MSR_FS_BASE, offsetof(Vcpu, segment[CPU_FS].base), true },
    { MSR_GS_BASE, offsetof(Vcpu, segment[CPU_GS].base), true },
    { MSR_KERNEL_GS_BASE, offsetof(Vcpu, msr_kernel_gs_base), true },
    { MSR_TSC_AUX, offsetof(Vcpu, msr_tsc_aux), false },
    { MSR_SYSENTER_CS, offsetof(Vcpu, msr_sysenter_cs), false },
    { MSR_SYSENTER_ESP, offsetof(Vcpu, msr_sysenter_esp), true },
    { MSR_SYSENTER_EIP, offsetof(Vcpu, msr_sysenter_eip), true },
    { MSR_PAT, offsetof(Vcpu, msr_pat), false },
    { MSR_MISC_ENABLE, offsetof(Vcpu, msr_misc_enable), false },
    { MSR_SPEC_CTRL, offsetof(Vcpu, msr_spec_ctrl), false },
    { MSR_MTRR_DEF_TYPE, offsetof(Vcpu, msr_mtrr_def_type), false },
    { MSR_MTRR_FIX64K, offsetof(Vcpu, msr_mtrr_fixed[0]), false },
    { MSR_MTRR_FIX16K_80000, offsetof(Vcpu, msr_mtrr_fixed[1]), false },
    { MSR_MTRR_FIX16K_A0000, offsetof(Vcpu, msr_mtrr_fixed[2]), false },
};

/* Read as these values; writes are accepted and forgotten. */
static const struct {
    uint32_t index;
    uint64_t value;
} fixed[] = {
    { 0x0, 0 },
    { 0x1, 0 },  /* machine check of the Pentium */
    { 0x17, 0 }, /* platform id */
    { 0x2a, 0 }, /* EBL_CR_POWERON */
    { MSR_FEATURE_CONTROL, 1 },
    { MSR_BIOS_SIGN_ID, UINT64_C(1) << 32 },
    { 0xce, 0 }, /* platform info */
    { 0xcd, 3 }, /* FSB frequency */
    { 0xe7, 0 },
    { 0xe8, 0 },
    { MSR_MTRRCAP, 0x508 }, /* 8 variable ranges, fixed ranges, write combining */
    { MSR_MCG_STATUS, 0 },
    { 0x198, 0 },
    { 0x199, 0 },
    { 0x19a, 0 },
    { 0x19b, 0 },
    { 0x19c, 0 },
    { 0x140, 0 }, /* misc features */
    { MSR_DEBUGCTL, 0 },
    { 0x345, 0 }, /* PERF_CAPABILITIES */
    { 0x611, 0 },
    { 0x639, 0 },
    { 0x641, 0 },
    { 0x619, 0 },
    { 0x606, 0 },
    { MSR_AMD_SYSCFG, 0 },
    { MSR_AMD_HWCR, 0x1000000 }, /* TSC frequency is that of P0 */
    { MSR_AMD_DE_CFG, 0x2 },     /* LFENCE serializes */
    { 0xc001001f, 0 },           /* NB_CFG */
    { 0xc0011020, 0 },
    { 0xc0011021, 0 },
    { 0xc0011022, 0 },
    { 0xc0011023, 0 },
    { 0xc001102a, 0 },
    { 0xc0010055, 0 },
    { 0xc0010058, 0 },
    { 0xc0010140, 0 },
    { 0xc0010141, 0 },
};

static uint64_t *plain_slot(Vcpu *vcpu, uint32_t index, bool *out_canonical)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(plain); i++) {
        if (plain[i].index == index) {
            *out_canonical = plain[i].canonical;
            return (uint64_t *)((char *)vcpu + plain[i].offset);
        }
    }
    *out_canonical = false;
    if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8) {
        return &vcpu->msr_mtrr_fixed[3 + index - MSR_MTRR_FIX4K];
    }
    if (index >= MSR_MTRR_VARIABLE && index < MSR_MTRR_VARIABLE + 16) {
        return &vcpu->msr_mtrr_variable[index - MSR_MTRR_VARIABLE];
    }
    return NULL;
}

static bool is_lapic_msr(uint32_t index)
{
    return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
           (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

bool msr_read(Vcpu *vcpu, uint32_t index, uint64_t *out)
{
    bool canonical;
    const uint64_t *slot = plain_slot(vcpu, index, &canonical);
    if (slot) {
        *out = *slot;
        return true;
    }
    if (is_lapic_msr(index)) {
        return vcpu->lapic && vcpu->lapic->read_msr(vcpu->lapic->lapic, index, out);
    }
    switch (index) {
    case MSR_EFER:
        *out = vcpu->efer;
        return true;
    case MSR_TSC:
        *out = guest_tsc(vcpu);
        return true;
    case MSR_TSC_ADJUST:
        *out = vcpu->msr_tsc_adjust;
        return true;
    case MSR_ARCH_CAPABILITIES:
        *out = vcpu->msr_arch_capabilities;
        return cpuid_has(vcpu, 7, 0, 3, 29);
    case MSR_KVM_CLOCK:
    case MSR_KVM_CLOCK_OLD:
        *out = vcpu->msr_kvmclock;
        return true;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
        *out = vcpu->msr_wall_clock;
        return true;
    case MSR_MCG_CAP:
        *out = 0;
        return true;
    default:
        break;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(fixed); i++) {
        if (fixed[i].index == index) {
            *out = fixed[i].value;
            return true;
        }
    }
    return false;
}

static bool write_efer(Vcpu *vcpu, uint64_t value)
{
    if ((value & ~(uint64_t)EFER_VALID) ||
        (((value ^ vcpu->efer) & EFER_LME) && (vcpu->cr0 & CR0_PG))) {
        return false;
    }
    uint64_t changed = value ^ vcpu->efer;
    vcpu->efer = (value & ~(uint64_t)EFER_LMA) | (vcpu->efer & EFER_LMA);
    if (changed & EFER_NXE) {
        tlb_flush(vcpu);
    }
    cpu_update_mode(vcpu);
    return true;
}

static bool is_pat(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t type = value >> (i * 8) & 0xff;
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

static bool write_plain(Vcpu *vcpu, uint32_t index, uint64_t *slot, bool canonical, uint64_t value)
{
    if ((canonical && !is_canonical(value)) || (index == MSR_PAT && !is_pat(value)) ||
        ((index == MSR_TSC_AUX || index == MSR_SFMASK) && value >> 32)) {
        return false;
    }
    *slot = value;
    return true;
}

bool msr_write(Vcpu *vcpu, uint32_t index, uint64_t value)
{
    bool canonical;
    uint64_t *slot = plain_slot(vcpu, index, &canonical);
    if (slot) {
        return write_plain(vcpu, index, slot, canonical, value);
    }
    if (is_lapic_msr(index)) {
        return vcpu->lapic && vcpu->lapic->write_msr(vcpu->lapic->lapic, index, value);
    }
    switch (index) {
    case MSR_EFER:
        return write_efer(vcpu, value);
    case MSR_TSC:
        vcpu->msr_tsc_adjust += value - guest_tsc(vcpu);
        vcpu->tsc_offset = value - __rdtsc();
        write_clock_page(vcpu);
        return true;
    case MSR_TSC_ADJUST:
        vcpu->tsc_offset += value - vcpu->msr_tsc_adjust;
        vcpu->msr_tsc_adjust = value;
        write_clock_page(vcpu);
        return true;
    case MSR_PRED_CMD:
    case MSR_FLUSH_CMD:
        return true;
    case MSR_KVM_CLOCK:
    case MSR_KVM_CLOCK_OLD:
        vcpu->msr_kvmclock = value;
        write_clock_page(vcpu);
        return true;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
        vcpu->msr_wall_clock = value;
        write_wall_clock(vcpu, value);
        return true;
    case MSR_MTRRCAP:
    case MSR_ARCH_CAPABILITIES:
    case MSR_MCG_CAP:
        return false;
    default:
        break;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(fixed); i++) {
        if (fixed[i].index == index) {
            return true;
        }
    }
    return false;
}

static const uint32_t saved[] = {
    MSR_STAR,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_SFMASK,
    MSR_KERNEL_GS_BASE,
    MSR_TSC_AUX,
    MSR_SYSENTER_CS,
    MSR_SYSENTER_ESP,
    MSR_SYSENTER_EIP,
    MSR_PAT,
    MSR_MISC_ENABLE,
    MSR_SPEC_CTRL,
    MSR_MTRR_DEF_TYPE,
    MSR_TSC,
    MSR_TSC_ADJUST,
    MSR_KVM_CLOCK,
    MSR_KVM_WALL_CLOCK,
    MSR_MTRR_FIX64K,
    MSR_MTRR_FIX16K_80000,
    MSR_MTRR_FIX16K_A0000,
    0x268,
    0x269,
    0x26a,
    0x26b,
    0x26c,
    0x26d,
    0x26e,
    0x26f,
    0x200,
    0x201,
    0x202,
    0x203,
    0x204,
    0x205,
    0x206,
    0x207,
    0x208,
    0x209,
    0x20a,
    0x20b,
    0x20c,
    0x20d,
    0x20e,
    0x20f,
};

void msr_save(Vcpu *vcpu, CpuState *state)
{
    state->msr_count = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(saved) && state->msr_count < CPU_MSRS_MAX; i++) {
        CpuMsr *msr = &state->msr[state->msr_count];
        msr->index = saved[i];
        if (msr_read(vcpu, saved[i], &msr->value)) {
            state->msr_count++;
        }
    }
}

bool msr_load(Vcpu *vcpu, const CpuState *state)
{
    for (unsigned i = 0; i < state->msr_count && i < CPU_MSRS_MAX; i++) {
        const CpuMsr *msr = &state->msr[i];
        if (msr->index == MSR_TSC_ADJUST) {
            vcpu->msr_tsc_adjust = msr->value;
        } else if (msr->index == MSR_TSC) {
            vcpu->tsc_offset = msr->value - __rdtsc();
        } else if (msr->index == MSR_KVM_WALL_CLOCK) {
            vcpu->msr_wall_clock = msr->value;
        } else if (!msr_write(vcpu, msr->index, msr->value)) {
            return false;
        }
    }
    return true;
}

void msr_reset(Vcpu *vcpu)
{
    vcpu->msr_star = vcpu->msr_lstar = vcpu->msr_cstar = vcpu->msr_sfmask = 0;
    vcpu->msr_kernel_gs_base = vcpu->msr_tsc_aux = vcpu->msr_spec_ctrl = 0;
    vcpu->msr_sysenter_cs = vcpu->msr_sysenter_esp = vcpu->msr_sysenter_eip = 0;
    vcpu->msr_misc_enable = MISC_ENABLE_FAST_STRING;
    vcpu->msr_pat = PAT_AFTER_RESET;
    vcpu->msr_kvmclock = vcpu->msr_wall_clock = 0;
    vcpu->msr_mtrr_def_type = 0;
    memset(vcpu->msr_mtrr_fixed, 0, sizeof(vcpu->msr_mtrr_fixed));
    memset(vcpu->msr_mtrr_variable, 0, sizeof(vcpu->msr_mtrr_variable));
}
