/* What every accelerator shares: power-on state and CPUID look-up.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/accel.h"

#include <stddef.h>
#include <string.h>

#define CR0_AFTER_RESET 0x60000010u /* CD, NW, ET */
#define DR6_AFTER_RESET 0xffff0ff0u
#define DR7_AFTER_RESET 0x400u
#define FCW_AFTER_RESET 0x40
#define MXCSR_AFTER_RESET 0x1f80

static const CpuSegment data_segment = { .limit = 0xffff, .attributes = 0x93 };

void cpu_state_reset(CpuState *state, bool is_bsp)
{
    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        state->segment[i] = data_segment;
    }
    state->segment[CPU_CS] = (CpuSegment){
        .base = 0xffff0000u, .limit = 0xffff, .selector = 0xf000, .attributes = 0x9b
    };
    state->ldt = (CpuSegment){ .limit = 0xffff, .attributes = 0x82 };
    state->tr = (CpuSegment){ .limit = 0xffff, .attributes = 0x8b };
    state->gdt.limit = 0xffff;
    state->idt.limit = 0xffff;
    state->rip = 0xfff0;
    state->rflags = 0x2;
    state->gpr[CPU_RDX] = 0x600; /* overwritten by accelerators that know the model */
    state->cr0 = CR0_AFTER_RESET;
    state->dr[6] = DR6_AFTER_RESET;
    state->dr[7] = DR7_AFTER_RESET;
    state->xcr0 = 1;
    state->xsave[0] = FCW_AFTER_RESET;
    state->xsave[4] = 0xff; /* abridged tag word: every register valid (zero) */
    state->xsave[24] = MXCSR_AFTER_RESET & 0xff;
    state->xsave[25] = MXCSR_AFTER_RESET >> 8;
    state->run_state = is_bsp ? CPU_RUN_RUNNABLE : CPU_RUN_WAIT_FOR_SIPI;
}

const CpuidLeaf *cpuid_table_find(const CpuidTable *table, uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < table->count; i++) {
        const CpuidLeaf *leaf = &table->leaf[i];
        if (leaf->function == function && (!leaf->has_index || leaf->index == index)) {
            return leaf;
        }
    }
    return NULL;
}
