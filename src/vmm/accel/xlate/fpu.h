/* Where vector and x87 state lies in Vcpu.xsave, and checks before it is used.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_FPU_H
#define LODGE_VMM_ACCEL_XLATE_FPU_H

#include "vmm/accel/xlate/decode.h"
#include "vmm/accel/xlate/softmmu.h"

#define XSAVE_FCW 0
#define XSAVE_FSW 2
#define XSAVE_FTW 4
#define XSAVE_FIP 8
#define XSAVE_FDP 16
#define XSAVE_MXCSR 24
#define XSAVE_MXCSR_MASK 28
#define XSAVE_ST 32
#define XSAVE_XMM 160
#define XSAVE_HEADER 512
#define XSAVE_YMM_HIGH 576
#define XSAVE_END 832

#define MXCSR_VALID 0xffffu
#define MXCSR_MASKS 0x1f80u
#define MXCSR_FLAGS 0x3fu
#define MXCSR_OPERAND_FLAGS 0x07u /* invalid, denormal, division by zero */
#define MXCSR_DEFAULT 0x1f80u
#define FCW_DEFAULT 0x37f
#define FSW_ERROR 0x80
#define FSW_BUSY 0x8000
#define FSW_FLAGS 0x3f
#define FSW_STORE_FLAGS 0x1b /* all but division by zero and loss of precision */
#define FCW_VALID 0x1f3f
#define FCW_ALWAYS 0x40

static inline uint8_t *xmm_at(Vcpu *vcpu, unsigned reg)
{
    return vcpu->xsave + XSAVE_XMM + reg * 16;
}

static inline uint8_t *ymm_high_at(Vcpu *vcpu, unsigned reg)
{
    return vcpu->xsave + XSAVE_YMM_HIGH + reg * 16;
}

/* Raises #UD, #NM or #MF if the instruction may not use its registers now. */
void fpu_check(Vcpu *vcpu, const Insn *insn);

/* Empty code cache for op_native(). False: no memory. */
bool native_init(Vcpu *vcpu) LODGE_MUST_CHECK;
void native_done(Vcpu *vcpu);
/* Whether the host has an ISA extension (ZYDIS_ISA_EXT_*). */
bool native_has(const Vcpu *vcpu, uint8_t isa_ext);

#endif
