/* What the translator can show a guest in CPUID on this host.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_CPUID_LIMITS_H
#define LODGE_VMM_ACCEL_XLATE_CPUID_LIMITS_H

#include "vmm/accel/accel.h"

/* AccelOps.cpuid_limits: instructions that run natively as the host has them, system features as
 * the translator emulates them, under an AMD family 19h identity. Never fails. */
int xlate_cpuid_limits(CpuidTable *out_limits, char *message);

#endif
