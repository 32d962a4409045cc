/* Host faults in translated code: division errors, misaligned SSE operands, unmasked floating-point
 * exceptions. The interpreter then executes the instruction and finds the guest's exception.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_FAULT_H
#define LODGE_VMM_ACCEL_XLATE_FAULT_H

#include "vmm/accel/xlate/code-cache.h"

/* Installs handlers of SIGFPE, SIGSEGV, SIGBUS and SIGILL for the process, once. Faults elsewhere
 * go to the handlers that were there before. */
void fault_init(void);

/* From here on the calling thread runs @vcpu's translated code; sets its GS base. */
void fault_attach(Vcpu *vcpu, const JitVm *jit);
void fault_detach(const Vcpu *vcpu);

#endif
