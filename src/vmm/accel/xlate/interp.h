/* Interpreter: executes every instruction of the guest CPU, in every mode. It is the fallback of
 * the translator and the oracle it is tested against. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_INTERP_H
#define LODGE_VMM_ACCEL_XLATE_INTERP_H

#include "vmm/accel/xlate/cpu.h"
#include "vmm/accel/xlate/decode.h"

/* Cache of decoded instructions of one vCPU. False: no memory. */
bool interp_init(Vcpu *vcpu) LODGE_MUST_CHECK;
void interp_done(Vcpu *vcpu);

/**
 * interp_one - execute the instruction at vcpu->rip
 *
 * The struct is the truth before and after. A fault leaves all state as before the instruction (A
 * and D bits apart) and is delivered, so vcpu->rip is then its handler. A REP instruction may stop
 * after some of its iterations with vcpu->rip still at it. HLT sets run_state. A triple fault sets
 * vcpu->shutdown.
 */
void interp_one(Vcpu *vcpu);

/* Executes up to @limit instructions; stops early when a request bit is set, run_state changes or
 * a shutdown happens. */
void interp_run(Vcpu *vcpu, unsigned limit);

/* Only for testing handlers one by one: executes @insn as if it were at vcpu->rip; may unwind. */
void interp_insn(Vcpu *vcpu, const Insn *insn);

#endif
