/* Far transfers of control.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_FAR_H
#define LODGE_VMM_ACCEL_XLATE_FAR_H

#include "vmm/accel/xlate/cpu.h"

/* @size: operand size, 2, 4 or 8. They set next_rip, and raise what goes wrong. */
void far_jump(Vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned size);
void far_call(Vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned size);
/* @release: bytes of arguments dropped from the stack. */
void far_return(Vcpu *vcpu, unsigned size, unsigned release);
void interrupt_return(Vcpu *vcpu, unsigned size);

#endif
