/* What follows from control registers, segments and flags.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/cpu.h"
#include "vmm/accel/xlate/segment.h"
#include "vmm/accel/xlate/softmmu.h"

static bool is_flat(const CpuSegment *segment, unsigned type)
{
    return segment->base == 0 && segment->limit == 0xffffffff &&
           (segment->attributes & (SEGMENT_P | SEGMENT_UNUSABLE)) == SEGMENT_P &&
           (segment->attributes & type) == type;
}

static uint32_t flat_mode(const Vcpu *vcpu)
{
    static const uint8_t data[] = { CPU_DS, CPU_ES, CPU_SS };
    if (!is_flat(&vcpu->segment[CPU_CS], TYPE_WRITABLE)) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(data); i++) {
        const CpuSegment *segment = &vcpu->segment[data[i]];
        if (!is_flat(segment, TYPE_WRITABLE) ||
            (segment->attributes & (TYPE_CODE | TYPE_EXPAND_DOWN))) {
            return 0;
        }
    }
    return MODE_FLAT;
}

static uint32_t privilege_mode(const Vcpu *vcpu)
{
    if (!(vcpu->cr0 & CR0_PE)) {
        return MODE_IOPL;
    }
    unsigned iopl = (unsigned)(vcpu->rflags >> FLAG_IOPL_SHIFT) & 3;
    if ((vcpu->rflags & FLAG_VM) && !(vcpu->efer & EFER_LMA)) {
        return MODE_PE | MODE_VM86 | MODE_USER | 3u << MODE_CPL_SHIFT | (iopl == 3 ? MODE_IOPL : 0);
    }
    unsigned cpl = (vcpu->segment[CPU_SS].attributes & SEGMENT_DPL) >> SEGMENT_DPL_SHIFT;
    return MODE_PE | cpl << MODE_CPL_SHIFT | (cpl == 3 ? MODE_USER : 0) |
           (cpl <= iopl ? MODE_IOPL : 0);
}

static uint32_t vector_mode(const Vcpu *vcpu)
{
    uint32_t mode = 0;
    if (vcpu->cr0 & (CR0_EM | CR0_TS)) {
        mode |= MODE_FPU_OFF;
    }
    if ((vcpu->cr0 & CR0_EM) || !(vcpu->cr4 & CR4_OSFXSR)) {
        mode |= MODE_SSE_OFF;
    }
    if (!(vcpu->cr4 & CR4_OSXSAVE) || (vcpu->xcr0 & 6) != 6 || !(vcpu->cr0 & CR0_PE) ||
        (vcpu->rflags & FLAG_VM)) {
        mode |= MODE_AVX_OFF;
    }
    return mode;
}

void cpu_update_mode(Vcpu *vcpu)
{
    uint32_t mode = privilege_mode(vcpu) | vector_mode(vcpu);
    uint16_t code = vcpu->segment[CPU_CS].attributes;
    if (vcpu->efer & EFER_LMA) {
        mode |= MODE_LMA;
    }
    if ((mode & MODE_LMA) && (code & SEGMENT_L)) {
        mode |= MODE_CS64;
    } else if (code & SEGMENT_DB) {
        mode |= MODE_CS32;
    }
    if (vcpu->segment[CPU_SS].attributes & SEGMENT_DB) {
        mode |= MODE_SS32;
    }
    if (mode & MODE_CS64) {
        mode |= MODE_FLAT;
    } else if ((mode & (MODE_PE | MODE_VM86)) == MODE_PE) {
        mode |= flat_mode(vcpu);
    }
    if ((vcpu->rflags & FLAG_TF) || vcpu->debug_single_step || vcpu->debug_point_count ||
        (vcpu->dr[7] & 0xff)) {
        mode |= MODE_SINGLE_STEP;
    }
    if ((mode & MODE_USER) && (vcpu->cr0 & CR0_AM) && (vcpu->rflags & FLAG_AC)) {
        mode |= MODE_ALIGN;
    }
    vcpu->mode = mode;
    tlb_select_context(vcpu);
    cpu_recheck_interrupt(vcpu);
}
