/* Descriptors and segment registers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/segment.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/exception.h"

#include <string.h>

#define SELECTOR_ERROR(selector) ((selector)&0xfffcu)

CpuSegment descriptor_segment(const Descriptor *d, uint16_t selector)
{
    uint64_t low = d->low;
    uint32_t limit = (uint32_t)((low & 0xffff) | (low >> 32 & 0xf0000));
    uint16_t attributes = (uint16_t)((low >> 40 & 0xff) | (low >> 44 & 0xf00));
    if (attributes & SEGMENT_G) {
        limit = limit << 12 | 0xfff;
    }
    return (CpuSegment){
        .base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | (d->high & 0xffffffff) << 32,
        .limit = limit,
        .selector = selector,
        .attributes = attributes,
    };
}

/* The table a selector points into; false for an unusable LDT. */
static bool table_of(const Vcpu *vcpu, uint16_t selector, uint64_t *base, uint32_t *limit)
{
    if (selector & 4) {
        *base = vcpu->ldt.base;
        *limit = vcpu->ldt.limit;
        return (vcpu->ldt.attributes & SEGMENT_P) && !(vcpu->ldt.attributes & SEGMENT_UNUSABLE);
    }
    *base = vcpu->gdt.base;
    *limit = vcpu->gdt.limit;
    return true;
}

bool descriptor_read(Vcpu *vcpu, uint16_t selector, Descriptor *out)
{
    uint64_t base;
    uint32_t limit, offset = selector & 0xfff8u;
    if (!table_of(vcpu, selector, &base, &limit) || offset + 7 > limit) {
        return false;
    }
    out->linear = base + offset;
    if (!(vcpu->mode & MODE_LMA)) {
        out->linear = (uint32_t)out->linear;
    }
    out->low = mem_read_system(vcpu, out->linear, 8);
    out->high = 0;
    return true;
}

void descriptor_read_or_raise(Vcpu *vcpu, uint16_t selector, uint8_t vector, Descriptor *out)
{
    if (!descriptor_read(vcpu, selector, out)) {
        raise_error(vcpu, vector, SELECTOR_ERROR(selector));
    }
}

void descriptor_read_high(Vcpu *vcpu, uint16_t selector, uint8_t vector, Descriptor *d)
{
    uint64_t base;
    uint32_t limit;
    if (!table_of(vcpu, selector, &base, &limit) || (selector & 0xfff8u) + 15 > limit) {
        raise_error(vcpu, vector, SELECTOR_ERROR(selector));
    }
    d->high = mem_read_system(vcpu, d->linear + 8, 8);
}

void descriptor_set_accessed(Vcpu *vcpu, Descriptor *d)
{
    if (!(d->low >> 40 & TYPE_ACCESSED)) {
        d->low |= UINT64_C(1) << 40;
        mem_write_system(vcpu, d->linear + 5, d->low >> 40 & 0xff, 1);
    }
}

void descriptor_set_busy(Vcpu *vcpu, Descriptor *d, bool busy)
{
    d->low = busy ? d->low | UINT64_C(2) << 40 : d->low & ~(UINT64_C(2) << 40);
    mem_write_system(vcpu, d->linear + 5, d->low >> 40 & 0xff, 1);
}

void segment_load_real(Vcpu *vcpu, unsigned reg, uint16_t selector)
{
    CpuSegment *segment = &vcpu->segment[reg];
    segment->selector = selector;
    segment->base = (uint32_t)selector << 4;
    if (vcpu->rflags & FLAG_VM) {
        segment->limit = 0xffff;
        segment->attributes = 0xf3;
    } else {
        /* Real mode keeps limit and attributes of protected mode ("unreal"), apart from these. */
        segment->attributes =
            (uint16_t)((segment->attributes & ~(SEGMENT_DPL | SEGMENT_UNUSABLE | SEGMENT_TYPE)) |
                       0x93);
    }
}

static CpuSegment null_segment(uint16_t selector, unsigned dpl)
{
    return (CpuSegment){ .selector = selector,
                         .attributes = (uint16_t)(SEGMENT_UNUSABLE | dpl << SEGMENT_DPL_SHIFT) };
}

CpuSegment segment_check_stack(Vcpu *vcpu, uint16_t selector, unsigned cpl, uint8_t vector)
{
    Descriptor d;
    uint32_t error = SELECTOR_ERROR(selector);
    if (!(selector & 0xfffc)) {
        raise_error(vcpu, vector, 0);
    }
    descriptor_read_or_raise(vcpu, selector, vector, &d);
    unsigned type = descriptor_type(&d);
    if ((selector & 3) != cpl || descriptor_dpl(&d) != cpl || !descriptor_is_segment(&d) ||
        (type & TYPE_CODE) || !(type & TYPE_WRITABLE)) {
        raise_error(vcpu, vector, error);
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_SS, error);
    }
    descriptor_set_accessed(vcpu, &d);
    return descriptor_segment(&d, selector);
}

static CpuSegment check_data(Vcpu *vcpu, uint16_t selector)
{
    Descriptor d;
    uint32_t error = SELECTOR_ERROR(selector);
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, &d);
    unsigned type = descriptor_type(&d);
    bool is_code = type & TYPE_CODE;
    if (!descriptor_is_segment(&d) || (is_code && !(type & TYPE_WRITABLE))) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    unsigned rpl = selector & 3, cpl = cpu_cpl(vcpu);
    if ((!is_code || !(type & TYPE_CONFORMING)) && descriptor_dpl(&d) < (rpl > cpl ? rpl : cpl)) {
        raise_error(vcpu, EXCEPTION_GP, error);
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    descriptor_set_accessed(vcpu, &d);
    return descriptor_segment(&d, selector);
}

void segment_load(Vcpu *vcpu, unsigned reg, uint16_t selector)
{
    if (!(vcpu->mode & MODE_PE) || (vcpu->mode & MODE_VM86)) {
        segment_load_real(vcpu, reg, selector);
    } else if (reg == CPU_SS) {
        unsigned cpl = cpu_cpl(vcpu);
        if (!(selector & 0xfffc) && (vcpu->mode & MODE_CS64) && cpl != 3 && (selector & 3) == cpl) {
            vcpu->segment[reg] = null_segment(selector, cpl);
        } else {
            vcpu->segment[reg] = segment_check_stack(vcpu, selector, cpl, EXCEPTION_GP);
        }
    } else if (!(selector & 0xfffc)) {
        vcpu->segment[reg] = null_segment(selector, 0);
    } else {
        vcpu->segment[reg] = check_data(vcpu, selector);
    }
    cpu_update_mode(vcpu);
}

void segment_drop_inner(Vcpu *vcpu, unsigned cpl)
{
    static const uint8_t registers[] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
    for (unsigned i = 0; i < sizeof(registers); i++) {
        CpuSegment *segment = &vcpu->segment[registers[i]];
        unsigned dpl = (segment->attributes & SEGMENT_DPL) >> SEGMENT_DPL_SHIFT;
        bool is_conforming =
            (segment->attributes & (TYPE_CODE | TYPE_CONFORMING)) == (TYPE_CODE | TYPE_CONFORMING);
        if (!(segment->attributes & SEGMENT_UNUSABLE) && dpl < cpl && !is_conforming) {
            *segment = null_segment(0, 0);
        }
    }
}

void segment_load_ldt(Vcpu *vcpu, uint16_t selector)
{
    Descriptor d;
    if (!(selector & 0xfffc)) {
        vcpu->ldt = null_segment(selector, 0);
        return;
    }
    if (selector & 4) {
        raise_error(vcpu, EXCEPTION_GP, SELECTOR_ERROR(selector));
    }
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, &d);
    if (descriptor_is_segment(&d) || descriptor_type(&d) != TYPE_LDT) {
        raise_error(vcpu, EXCEPTION_GP, SELECTOR_ERROR(selector));
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_NP, SELECTOR_ERROR(selector));
    }
    if (vcpu->mode & MODE_LMA) {
        descriptor_read_high(vcpu, selector, EXCEPTION_GP, &d);
    }
    vcpu->ldt = descriptor_segment(&d, selector);
}

void segment_load_tr(Vcpu *vcpu, uint16_t selector)
{
    Descriptor d;
    if (!(selector & 0xfffc)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    if (selector & 4) {
        raise_error(vcpu, EXCEPTION_GP, SELECTOR_ERROR(selector));
    }
    descriptor_read_or_raise(vcpu, selector, EXCEPTION_GP, &d);
    unsigned type = descriptor_type(&d);
    if (descriptor_is_segment(&d) || (type != TYPE_TSS16 && type != TYPE_TSS32) ||
        (type == TYPE_TSS16 && (vcpu->mode & MODE_LMA))) {
        raise_error(vcpu, EXCEPTION_GP, SELECTOR_ERROR(selector));
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_NP, SELECTOR_ERROR(selector));
    }
    if (vcpu->mode & MODE_LMA) {
        descriptor_read_high(vcpu, selector, EXCEPTION_GP, &d);
    }
    descriptor_set_busy(vcpu, &d, true);
    vcpu->tr = descriptor_segment(&d, selector);
}

static bool type_allows(const CpuSegment *segment, bool is_write)
{
    unsigned type = segment->attributes & SEGMENT_TYPE;
    if (type & TYPE_CODE) {
        return !is_write && (type & TYPE_WRITABLE);
    }
    return !is_write || (type & TYPE_WRITABLE);
}

static bool limit_allows(const CpuSegment *segment, uint32_t offset, unsigned size)
{
    unsigned type = segment->attributes & (TYPE_CODE | TYPE_EXPAND_DOWN);
    uint64_t last = (uint64_t)offset + size - 1;
    if (type == TYPE_EXPAND_DOWN) {
        uint64_t top = segment->attributes & SEGMENT_DB ? 0xffffffff : 0xffff;
        return offset > segment->limit && last <= top;
    }
    return last <= segment->limit;
}

uint64_t segment_linear_slow(Vcpu *vcpu, unsigned reg, uint64_t offset, unsigned size,
                             bool is_write)
{
    const CpuSegment *segment = &vcpu->segment[reg];
    bool is_checked = (vcpu->mode & MODE_PE) && !(vcpu->mode & MODE_VM86);
    if ((vcpu->mode & MODE_CS64) ||
        (is_checked &&
         ((segment->attributes & SEGMENT_UNUSABLE) || !type_allows(segment, is_write))) ||
        !limit_allows(segment, (uint32_t)offset, size)) {
        raise_error(vcpu, reg == CPU_SS ? EXCEPTION_SS : EXCEPTION_GP, 0);
    }
    return (uint32_t)(segment->base + offset);
}

void segment_check_alignment(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    unsigned to = 1;
    switch (size) {
    case 2:
    case 4:
    case 8:
        to = size;
        break;
    case 10: /* of x87 */
        to = 8;
        break;
    case 28: /* x87 environments and states */
    case 108:
        to = 4;
        break;
    case 14:
    case 94:
        to = 2;
        break;
    }
    if (linear % to != 0) {
        raise_error(vcpu, EXCEPTION_AC, 0);
    }
}
