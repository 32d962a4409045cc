/* Memory types as firmware leaves them: RAM is cached, what lies in the hole below 4 GiB is not.
 *
 * A kernel that is booted without firmware finds them set; else it takes the processor's memory
 * type registers for unusable, and the page attribute table with them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/machine/internal.h"

/* Source: "Memory Type Range Registers" of the Intel SDM, volume 3A. */
enum {
    MSR_VARIABLE = 0x200, /* base and mask of range n at 2n and 2n + 1 */
    MSR_FIXED_64K = 0x250,
    MSR_FIXED_16K_80000 = 0x258,
    MSR_FIXED_16K_A0000 = 0x259,
    MSR_FIXED_4K = 0x268, /* to 0x26f: from 0xc0000 */
    MSR_DEFAULT_TYPE = 0x2ff,
};

#define TYPE_UNCACHED 0u
#define TYPE_WRITE_BACK 6u
#define ALL_WRITE_BACK UINT64_C(0x0606060606060606)
#define MASK_VALID (UINT64_C(1) << 11)
#define ENABLE_FIXED 0x400u
#define ENABLE 0x800u
#define RANGES_MAX 8

static void add(CpuState *state, uint32_t index, uint64_t value)
{
    lodge_assert(state->msr_count < CPU_MSRS_MAX);
    state->msr[state->msr_count++] = (CpuMsr){ .index = index, .value = value };
}

/* The hole, from below: each piece is as large as its start is aligned. */
static void add_hole(CpuState *state, GuestAddr start, unsigned phys_bits)
{
    uint64_t space = UINT64_C(1) << phys_bits;
    for (uint32_t n = 0; start < 4 * GIB && n < RANGES_MAX; n++) {
        uint64_t size = start & -start;
        add(state, MSR_VARIABLE + 2 * n, start | TYPE_UNCACHED);
        add(state, MSR_VARIABLE + 2 * n + 1, ((space - 1) & ~(size - 1)) | MASK_VALID);
        start += size;
    }
}

void machine_set_memory_types(const Machine *machine, CpuState *state)
{
    add(state, MSR_FIXED_64K, ALL_WRITE_BACK);
    add(state, MSR_FIXED_16K_80000, ALL_WRITE_BACK);
    add(state, MSR_FIXED_16K_A0000, TYPE_UNCACHED); /* where VGA is */
    for (uint32_t i = 0; i < 8; i++) {
        add(state, MSR_FIXED_4K + i, ALL_WRITE_BACK);
    }
    add_hole(state, machine->type->hole_base, machine->phys_bits);
    add(state, MSR_DEFAULT_TYPE, ENABLE | ENABLE_FIXED | TYPE_WRITE_BACK);
}
