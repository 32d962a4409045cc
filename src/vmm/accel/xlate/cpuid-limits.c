/* Features of translated guests: a table of CPUID bits, each either of the translator's own making
 * or passed on from the host.
 *
 * The identity is AMD family 19h with automatic IBRS and the "not affected" bits set: emitted code
 * is not open to the guest's speculation attacks on itself the way its kernel assumes, so page
 * table isolation, retpolines and buffer clearing would only cost time. Left out: AVX-512, AMX,
 * TSX, CET, PKU, LA57, MONITOR, XSAVES, nested virtualization. Source: AMD's APM volume 3 (24594),
 * appendix E; Linux' Documentation/virt/kvm/x86/cpuid.rst.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/cpuid-limits.h"

#include <cpuid.h>
#include <string.h>

#define BIT(n) (UINT32_C(1) << (n))
#define SIGNATURE 0x00a10f11u /* family 19h, model 11h, stepping 1 */
#define PHYSICAL_BITS 46
#define LINEAR_BITS 48
#define XCR0_AVX 0x7u

/* Bits of the four registers of one leaf. */
typedef struct LeafBits {
    uint32_t function, index;
    bool has_index;
    uint32_t emulated[4]; /* eax, ebx, ecx, edx: whatever the host has */
    uint32_t native[4];   /* as the host has them */
} LeafBits;

static const LeafBits leaf_bits[] = {
    { .function = 1,
      /* CX16's and the vector instructions' bits are the host's; PCID, x2APIC, TSC deadline and
       * "hypervisor" are ours. */
      .emulated = { [2] = BIT(17) | BIT(21) | BIT(24) | BIT(31),
                    /* FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36
                     * CLFLUSH MMX FXSR SSE SSE2 */
                    [3] = 0x078bfbfdu },
      /* SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND */
      .native = { [2] = BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) |
                        BIT(23) | BIT(25) | BIT(26) | BIT(28) | BIT(29) | BIT(30) } },
    { .function = 6, .emulated = { [0] = BIT(2) } }, /* ARAT */
    { .function = 7,
      .has_index = true,
      /* FSGSBASE TSC_ADJUST SMEP ERMS INVPCID SMAP; UMIP RDPID; FSRM */
      .emulated = { [1] = BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(10) | BIT(20),
                    [2] = BIT(2) | BIT(22),
                    [3] = BIT(4) },
      /* BMI1 AVX2 BMI2 RDSEED ADX CLFLUSHOPT CLWB SHA; GFNI VAES VPCLMULQDQ */
      .native = { [1] = BIT(3) | BIT(5) | BIT(8) | BIT(18) | BIT(19) | BIT(23) | BIT(24) | BIT(29),
                  [2] = BIT(8) | BIT(9) | BIT(10) } },
    /* XSAVEOPT XSAVEC */
    { .function = 0xd, .index = 1, .has_index = true, .native = { [0] = BIT(0) | BIT(1) } },
    /* The old clock MSRs, no delay for port 0x80, clock MSRs, stable clock */
    { .function = 0x40000001, .emulated = { [0] = BIT(0) | BIT(1) | BIT(3) | BIT(24) } },
    { .function = 0x80000001,
      /* LAHF 3DNOWPREFETCH; SYSCALL NX MMXEXT PDPE1GB RDTSCP LM */
      .emulated = { [2] = BIT(0) | BIT(8),
                    [3] = BIT(11) | BIT(20) | BIT(22) | BIT(26) | BIT(27) | BIT(29) },
      .native = { [2] = BIT(5) } },                         /* LZCNT */
    { .function = 0x80000007, .native = { [3] = BIT(8) } }, /* invariant TSC */
    /* IBPB IBRS STIBP, not affected by SSB, BTC */
    { .function = 0x80000008,
      .emulated = { [1] = BIT(12) | BIT(14) | BIT(15) | BIT(26) | BIT(29) } },
    /* NO_NESTED_DATA_BP LFENCE_SERIALIZING NULL_SEL_CLR_BASE AUTO_IBRS SRSO_NO; TSA_SQ_NO TSA_L1_NO
     */
    { .function = 0x80000021,
      .emulated = { [0] = BIT(0) | BIT(2) | BIT(6) | BIT(8) | BIT(29), [2] = BIT(1) | BIT(2) } },
};

static void host_cpuid(uint32_t function, uint32_t index, uint32_t out[4])
{
    uint32_t highest = __get_cpuid_max(function & 0x80000000u, NULL);
    memset(out, 0, 4 * sizeof(*out));
    if (highest >= function) {
        __cpuid_count(function, index, out[0], out[1], out[2], out[3]);
    }
}

static uint64_t host_xcr0(void)
{
    uint32_t regs[4], low, high;
    host_cpuid(1, 0, regs);
    if (!(regs[2] & bit_OSXSAVE)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

static void add_identity(CpuidTable *out)
{
    static const char brand[48] = "Lodge translated processor";
    CpuidLeaf leaf = { .function = 0 };
    memcpy(&leaf.ebx, "Auth", 4);
    memcpy(&leaf.edx, "enti", 4);
    memcpy(&leaf.ecx, "cAMD", 4);
    (void)cpuid_table_append(out, &leaf);
    for (uint32_t i = 0; i < 3; i++) {
        leaf = (CpuidLeaf){ .function = 0x80000002u + i };
        memcpy(&leaf.eax, brand + 16 * i, 4);
        memcpy(&leaf.ebx, brand + 16 * i + 4, 4);
        memcpy(&leaf.ecx, brand + 16 * i + 8, 4);
        memcpy(&leaf.edx, brand + 16 * i + 12, 4);
        (void)cpuid_table_append(out, &leaf);
    }
}

/* Returns whether vector registers wider than 128 bits can be saved. */
static bool add_xsave(CpuidTable *out)
{
    uint32_t regs[4];
    CpuidLeaf leaf = { .function = 0xd, .has_index = true, .eax = host_xcr0() & XCR0_AVX };
    if ((leaf.eax & XCR0_AVX) != XCR0_AVX) {
        return false;
    }
    (void)cpuid_table_append(out, &leaf);
    host_cpuid(0xd, 2, regs);
    leaf = (CpuidLeaf){
        .function = 0xd, .index = 2, .has_index = true, .eax = regs[0], .ebx = regs[1]
    };
    (void)cpuid_table_append(out, &leaf);
    return true;
}

int xlate_cpuid_limits(CpuidTable *out_limits, char *message)
{
    out_limits->count = 0;
    add_identity(out_limits);
    bool has_xsave = add_xsave(out_limits);
    for (unsigned i = 0; i < ARRAY_LENGTH(leaf_bits); i++) {
        const LeafBits *bits = &leaf_bits[i];
        uint32_t host[4], regs[4];
        host_cpuid(bits->function, bits->index, host);
        for (unsigned r = 0; r < 4; r++) {
            regs[r] = bits->emulated[r] | (bits->native[r] & host[r]);
        }
        if (bits->function == 1) {
            regs[0] = SIGNATURE;
            regs[2] &= has_xsave ? ~0u : ~BIT(26); /* no XSAVE: what needs it falls with it */
        }
        if (bits->function == 0x80000008) {
            regs[0] = PHYSICAL_BITS | LINEAR_BITS << 8;
        }
        CpuidLeaf leaf = { bits->function, bits->index, bits->has_index, regs[0],
                           regs[1],        regs[2],     regs[3] };
        (void)cpuid_table_append(out_limits, &leaf);
    }
    return 0;
}
