/* Whether KVM on this host runs guests at a usable speed.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_KVM_PROBE_H
#define LODGE_VMM_ACCEL_KVM_PROBE_H

#include <stdbool.h>

/**
 * kvm_probe - run a tiny guest with paging, in supervisor mode, against a clock
 * @reason: 160 bytes; one phrase when the answer is no
 *
 * A device that can be opened proves nothing: paravirtual nested KVM opens, makes virtual machines,
 * and then emulates each instruction of a kernel that does not know it. Takes at most 50 ms of CPU
 * time. Context: any thread; KVM_KICK_SIGNAL is unblocked in it. Returns: whether it is usable.
 */
bool kvm_probe(char *reason);

#endif
