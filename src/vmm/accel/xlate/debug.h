/* Breakpoints, watchpoints and single steps: the guest's own (debug registers, TF) and the
 * debugger's. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_DEBUG_H
#define LODGE_VMM_ACCEL_XLATE_DEBUG_H

#include "vmm/accel/xlate/cpu.h"

/* Before the instruction at vcpu->rip. Raises #DB for the guest; false: stopped for the debugger.
 */
bool debug_before(Vcpu *vcpu);

/* After it. @rip: where it was; @traps: TF was set when it began. */
void debug_after(Vcpu *vcpu, uint64_t rip, bool traps);

#endif
