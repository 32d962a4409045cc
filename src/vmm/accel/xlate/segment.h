/* Segmentation: descriptors, segment registers, limit and type checks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_SEGMENT_H
#define LODGE_VMM_ACCEL_XLATE_SEGMENT_H

#include "vmm/accel/xlate/softmmu.h"

/* Descriptor types: S set. */
#define TYPE_CODE 0x8u
#define TYPE_CONFORMING 0x4u  /* of code */
#define TYPE_EXPAND_DOWN 0x4u /* of data */
#define TYPE_WRITABLE 0x2u    /* of data; readable for code */
#define TYPE_ACCESSED 0x1u
/* S clear. */
#define TYPE_TSS16 0x1u
#define TYPE_LDT 0x2u
#define TYPE_TSS16_BUSY 0x3u
#define TYPE_CALL16 0x4u
#define TYPE_TASK 0x5u
#define TYPE_INTERRUPT16 0x6u
#define TYPE_TRAP16 0x7u
#define TYPE_TSS32 0x9u
#define TYPE_TSS32_BUSY 0xbu
#define TYPE_CALL32 0xcu
#define TYPE_INTERRUPT32 0xeu
#define TYPE_TRAP32 0xfu

typedef struct Descriptor {
    uint64_t low;    /* the eight bytes every descriptor has */
    uint64_t high;   /* system descriptors of long mode: the next eight */
    uint64_t linear; /* where it lies */
} Descriptor;

static inline unsigned descriptor_type(const Descriptor *d)
{
    return d->low >> 40 & 0xf;
}

static inline bool descriptor_is_segment(const Descriptor *d)
{
    return d->low >> 44 & 1;
}

static inline unsigned descriptor_dpl(const Descriptor *d)
{
    return d->low >> 45 & 3;
}

static inline bool descriptor_is_present(const Descriptor *d)
{
    return d->low >> 47 & 1;
}

/* Hidden part as the descriptor says, with @selector. */
CpuSegment descriptor_segment(const Descriptor *d, uint16_t selector);

/* False: outside its table. Raises only what the memory access raises. */
bool descriptor_read(Vcpu *vcpu, uint16_t selector, Descriptor *out);

/* As descriptor_read(); raises @vector with the selector outside the table. */
void descriptor_read_or_raise(Vcpu *vcpu, uint16_t selector, uint8_t vector, Descriptor *out);

/* Second half of a system descriptor of long mode; raises @vector when it lies outside. */
void descriptor_read_high(Vcpu *vcpu, uint16_t selector, uint8_t vector, Descriptor *d);

void descriptor_set_accessed(Vcpu *vcpu, Descriptor *d);
/* Busy bit of a TSS descriptor. */
void descriptor_set_busy(Vcpu *vcpu, Descriptor *d, bool busy);

/* MOV, POP, LxS to ES, SS, DS, FS or GS: all checks, in every mode. Updates the mode. */
void segment_load(Vcpu *vcpu, unsigned reg, uint16_t selector);

/* What real and virtual-8086 mode do. */
void segment_load_real(Vcpu *vcpu, unsigned reg, uint16_t selector);

/* Loads of SS for a new privilege level: @vector is #TS or #GP. Only checks, changes nothing. */
CpuSegment segment_check_stack(Vcpu *vcpu, uint16_t selector, unsigned cpl, uint8_t vector);

/* After a return to an outer level: data segments it may not see become null. */
void segment_drop_inner(Vcpu *vcpu, unsigned cpl);

void segment_load_ldt(Vcpu *vcpu, uint16_t selector);
void segment_load_tr(Vcpu *vcpu, uint16_t selector);

/* Checked linear address where FLAT does not hold; may raise #GP or #SS. */
uint64_t segment_linear_slow(Vcpu *vcpu, unsigned reg, uint64_t offset, unsigned size,
                             bool is_write);

static inline bool is_canonical(uint64_t linear)
{
    return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

/* Under MODE_ALIGN: raises #AC if an operand of @size bytes may not lie at @linear. */
void segment_check_alignment(Vcpu *vcpu, uint64_t linear, unsigned size);

/* Linear address of @offset in segment @reg without any check: for what comes before segment
 * faults. */
static inline uint64_t segment_linear_unchecked(const Vcpu *vcpu, unsigned reg, uint64_t offset)
{
    if (vcpu->mode & MODE_CS64) {
        return reg >= CPU_FS ? vcpu->segment[reg].base + offset : offset;
    }
    return (uint32_t)(vcpu->segment[reg].base + offset);
}

static inline uint64_t segment_linear_any(Vcpu *vcpu, unsigned reg, uint64_t offset, unsigned size,
                                          bool is_write)
{
    if (likely(vcpu->mode & MODE_CS64)) {
        uint64_t linear = reg >= CPU_FS ? vcpu->segment[reg].base + offset : offset;
        if (likely(is_canonical(linear) && is_canonical(linear + size - 1))) {
            return linear;
        }
    } else if ((vcpu->mode & MODE_FLAT) && reg < CPU_FS && !(reg == CPU_CS && is_write)) {
        return (uint32_t)offset;
    }
    return segment_linear_slow(vcpu, reg, offset, size, is_write);
}

/* Linear address of @size bytes at @offset in a segment, all checks done. */
static inline uint64_t segment_linear(Vcpu *vcpu, unsigned reg, uint64_t offset, unsigned size,
                                      bool is_write)
{
    uint64_t linear = segment_linear_any(vcpu, reg, offset, size, is_write);
    if (unlikely(vcpu->mode & MODE_ALIGN)) {
        segment_check_alignment(vcpu, linear, size);
    }
    return linear;
}

#endif
