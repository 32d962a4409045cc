/* Saving and restoring vector state.
 *
 * The guest's state is kept in the standard layout, so this is copying and masking. Components are
 * always reported as in use. Left out: XSAVES and supervisor components.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/interp-ops.h"
#include "vmm/accel/xlate/msr.h"

#include <string.h>

#define COMPONENT_X87 UINT64_C(1)
#define COMPONENT_SSE UINT64_C(2)
#define COMPONENT_AVX UINT64_C(4)
#define COMPACTED (UINT64_C(1) << 63)
#define FXSAVE_BYTES 512u
#define X87_BYTES 160u /* up to the first XMM, with MXCSR in between */

static unsigned xmm_count(const Vcpu *vcpu)
{
    return vcpu->mode & MODE_CS64 ? 16 : 8;
}

/* Address of an area. The alignment check comes after the checks of limit and canonical form and
 * before that of writability; what alignment the instruction asks for comes last. */
static uint64_t area_linear(Vcpu *vcpu, const Insn *insn, unsigned size, unsigned to, bool is_write)
{
    uint64_t offset = insn_ea(vcpu, insn);
    uint64_t linear = segment_linear_any(vcpu, insn->mem.segment, offset, size, false);
    if (vcpu->mode & MODE_ALIGN) {
        segment_check_alignment(vcpu, linear, 4);
    }
    if (is_write) {
        segment_linear_any(vcpu, insn->mem.segment, offset, size, true);
    }
    if (linear % to != 0) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    return linear;
}

/* x87 part, apart from MXCSR. Without REX.W pointers are 32 bits and a selector, which is zero. */
static void put_x87(Vcpu *vcpu, const Insn *insn, uint8_t *area)
{
    memcpy(area, vcpu->xsave, XSAVE_MXCSR);
    memcpy(area + XSAVE_ST, vcpu->xsave + XSAVE_ST, X87_BYTES - XSAVE_ST);
    if (!(insn->prefixes & INSN_REX_W)) {
        memset(area + XSAVE_FIP + 4, 0, 4);
        memset(area + XSAVE_FDP + 4, 0, 4);
    }
}

static void get_x87(Vcpu *vcpu, const Insn *insn, const uint8_t *area)
{
    uint16_t fcw, fsw;
    memcpy(vcpu->xsave, area, XSAVE_MXCSR);
    memcpy(vcpu->xsave + XSAVE_ST, area + XSAVE_ST, X87_BYTES - XSAVE_ST);
    /* Reserved bits are fixed; the error summary follows from flags and masks. */
    memcpy(&fcw, area + XSAVE_FCW, 2);
    memcpy(&fsw, area + XSAVE_FSW, 2);
    fcw = (fcw & FCW_VALID) | FCW_ALWAYS;
    fsw = fsw & ~(FSW_BUSY | FSW_ERROR);
    if (fsw & ~fcw & FSW_FLAGS) {
        fsw |= FSW_BUSY | FSW_ERROR;
    }
    memcpy(vcpu->xsave + XSAVE_FCW, &fcw, 2);
    memcpy(vcpu->xsave + XSAVE_FSW, &fsw, 2);
    if (!(insn->prefixes & INSN_REX_W)) {
        memset(vcpu->xsave + XSAVE_FIP + 4, 0, 4);
        memset(vcpu->xsave + XSAVE_FDP + 4, 0, 4);
    }
}

static void put_mxcsr(Vcpu *vcpu, uint8_t *area)
{
    uint32_t mask = MXCSR_VALID;
    memcpy(area + XSAVE_MXCSR, vcpu->xsave + XSAVE_MXCSR, 4);
    memcpy(area + XSAVE_MXCSR_MASK, &mask, 4);
}

static uint32_t checked_mxcsr(Vcpu *vcpu, const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    if (value & ~MXCSR_VALID) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    return value;
}

static void set_mxcsr(Vcpu *vcpu, uint32_t value)
{
    memcpy(vcpu->xsave + XSAVE_MXCSR, &value, 4);
}

static void init_x87(Vcpu *vcpu)
{
    uint16_t fcw = FCW_DEFAULT;
    memset(vcpu->xsave, 0, XSAVE_MXCSR);
    memset(vcpu->xsave + XSAVE_ST, 0, X87_BYTES - XSAVE_ST);
    memcpy(vcpu->xsave + XSAVE_FCW, &fcw, 2);
}

static void require_fx(Vcpu *vcpu)
{
    if (vcpu->cr0 & (CR0_EM | CR0_TS)) {
        raise_exception(vcpu, EXCEPTION_NM);
    }
}

void op_fxsave(Vcpu *vcpu, const Insn *insn)
{
    uint8_t area[FXSAVE_BYTES];
    require_fx(vcpu);
    uint64_t linear = area_linear(vcpu, insn, FXSAVE_BYTES, 16, true);
    unsigned bytes = XSAVE_XMM + xmm_count(vcpu) * 16;
    mem_probe_write(vcpu, linear, FXSAVE_BYTES);
    put_x87(vcpu, insn, area);
    put_mxcsr(vcpu, area);
    memcpy(area + XSAVE_XMM, xmm_at(vcpu, 0), xmm_count(vcpu) * 16);
    mem_write_bytes(vcpu, linear, area, bytes);
}

void op_fxrstor(Vcpu *vcpu, const Insn *insn)
{
    uint8_t area[FXSAVE_BYTES];
    require_fx(vcpu);
    uint64_t linear = area_linear(vcpu, insn, FXSAVE_BYTES, 16, false);
    mem_read_bytes(vcpu, linear, area, FXSAVE_BYTES);
    uint32_t mxcsr = checked_mxcsr(vcpu, area + XSAVE_MXCSR);
    get_x87(vcpu, insn, area);
    set_mxcsr(vcpu, mxcsr);
    memcpy(xmm_at(vcpu, 0), area + XSAVE_XMM, xmm_count(vcpu) * 16);
}

static uint64_t requested(const Vcpu *vcpu)
{
    uint64_t mask = (uint32_t)vcpu->gpr[CPU_RAX] | vcpu->gpr[CPU_RDX] << 32;
    return mask & vcpu->xcr0;
}

static void require_xsave(Vcpu *vcpu)
{
    if (!(vcpu->cr4 & CR4_OSXSAVE)) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    if (vcpu->cr0 & CR0_TS) {
        raise_exception(vcpu, EXCEPTION_NM);
    }
}

/* What of an area an instruction touches: the components asked for, and the header. */
typedef struct AreaPart {
    unsigned at, bytes;
    uint64_t linear; /* set by place_parts() */
} AreaPart;

#define PARTS_MAX 7u /* one of them in two */

static unsigned find_parts(Vcpu *vcpu, uint64_t components, bool has_mxcsr, unsigned header_bytes,
                           AreaPart parts[PARTS_MAX])
{
    unsigned count = 0;
    if (components & COMPONENT_X87) {
        parts[count++] = (AreaPart){ 0, XSAVE_MXCSR, 0 };
        parts[count++] = (AreaPart){ XSAVE_ST, X87_BYTES - XSAVE_ST, 0 };
    }
    if (has_mxcsr) {
        parts[count++] = (AreaPart){ XSAVE_MXCSR, XSAVE_ST - XSAVE_MXCSR, 0 };
    }
    if (components & COMPONENT_SSE) {
        parts[count++] = (AreaPart){ XSAVE_XMM, xmm_count(vcpu) * 16, 0 };
    }
    if (components & COMPONENT_AVX) {
        parts[count++] = (AreaPart){ XSAVE_YMM_HIGH, xmm_count(vcpu) * 16, 0 };
    }
    parts[count++] = (AreaPart){ XSAVE_HEADER, header_bytes, 0 };
    return count;
}

/* Offsets wrap at 4 GiB with 32-bit addresses in 64-bit code, also within an area: what lies beyond
 * is a part of its own. Returns the count of parts. */
static unsigned place_parts(const Vcpu *vcpu, const Insn *insn, uint64_t linear,
                            AreaPart parts[PARTS_MAX], unsigned count)
{
    bool wraps = insn->address_size == 4 && (vcpu->mode & MODE_CS64);
    uint64_t left = wraps ? (UINT64_C(1) << 32) - insn_ea(vcpu, insn) : UINT64_MAX;
    for (unsigned i = 0; i < count; i++) {
        AreaPart *part = &parts[i];
        part->linear = linear + part->at - (part->at >= left ? UINT64_C(1) << 32 : 0);
        if (part->at < left && part->at + part->bytes > left) {
            unsigned first = (unsigned)left - part->at;
            parts[count++] = (AreaPart){ part->at + first, part->bytes - first, 0 };
            part->bytes = first;
        }
    }
    return count;
}

static void read_part(Vcpu *vcpu, const Insn *insn, uint64_t linear, uint8_t *area, AreaPart part)
{
    AreaPart parts[PARTS_MAX] = { part };
    unsigned count = place_parts(vcpu, insn, linear, parts, 1);
    for (unsigned i = 0; i < count; i++) {
        mem_read_bytes(vcpu, parts[i].linear, area + parts[i].at, parts[i].bytes);
    }
}

static void probe_part(Vcpu *vcpu, const Insn *insn, uint64_t linear, AreaPart part)
{
    AreaPart parts[PARTS_MAX] = { part };
    unsigned count = place_parts(vcpu, insn, linear, parts, 1);
    for (unsigned i = 0; i < count; i++) {
        mem_probe_write(vcpu, parts[i].linear, parts[i].bytes);
    }
}

static void save(Vcpu *vcpu, const Insn *insn, bool compacted)
{
    uint8_t area[XSAVE_END];
    AreaPart part[PARTS_MAX];
    uint64_t wanted = requested(vcpu), present = 0, layout = wanted | COMPACTED;
    bool has_mxcsr = wanted & (compacted ? COMPONENT_SSE : COMPONENT_SSE | COMPONENT_AVX);
    require_xsave(vcpu);
    uint64_t linear = area_linear(vcpu, insn, xsave_bytes(wanted, compacted), 64, true);
    unsigned count = find_parts(vcpu, wanted, has_mxcsr, compacted ? 16 : 8, part);
    count = place_parts(vcpu, insn, linear, part, count);
    for (unsigned i = 0; i < count; i++) {
        mem_probe_write(vcpu, part[i].linear, part[i].bytes);
    }
    if (wanted & COMPONENT_AVX) {
        /* All of the component must be there, even what 32-bit code does not write. */
        probe_part(vcpu, insn, linear, (AreaPart){ XSAVE_YMM_HIGH, XSAVE_END - XSAVE_YMM_HIGH, 0 });
    }
    put_x87(vcpu, insn, area);
    put_mxcsr(vcpu, area);
    memcpy(area + XSAVE_XMM, xmm_at(vcpu, 0), xmm_count(vcpu) * 16);
    memcpy(area + XSAVE_YMM_HIGH, ymm_high_at(vcpu, 0), xmm_count(vcpu) * 16);
    if (!compacted) {
        read_part(vcpu, insn, linear, area, (AreaPart){ XSAVE_HEADER, sizeof(present), 0 });
        memcpy(&present, area + XSAVE_HEADER, sizeof(present));
    }
    present |= wanted;
    memcpy(area + XSAVE_HEADER, &present, sizeof(present));
    memcpy(area + XSAVE_HEADER + 8, &layout, sizeof(layout));
    for (unsigned i = 0; i < count; i++) {
        mem_write_bytes(vcpu, part[i].linear, area + part[i].at, part[i].bytes);
    }
}

void op_xsave(Vcpu *vcpu, const Insn *insn)
{
    save(vcpu, insn, false);
}

void op_xsaveopt(Vcpu *vcpu, const Insn *insn)
{
    if (!cpuid_has(vcpu, 0xd, 1, 0, 0)) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    save(vcpu, insn, false);
}

void op_xsavec(Vcpu *vcpu, const Insn *insn)
{
    if (!cpuid_has(vcpu, 0xd, 1, 0, 1)) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    save(vcpu, insn, true);
}

static bool header_is_valid(const Vcpu *vcpu, const uint8_t *header)
{
    uint64_t present, layout;
    memcpy(&present, header, 8);
    memcpy(&layout, header + 8, 8);
    for (unsigned i = 16; i < (layout & COMPACTED ? 64 : 24); i++) {
        if (header[i] != 0) {
            return false;
        }
    }
    if (layout & COMPACTED) {
        return !(layout & ~COMPACTED & ~vcpu->xcr0) && !(present & ~layout);
    }
    return layout == 0 && !(present & ~vcpu->xcr0);
}

static void restore_sse(Vcpu *vcpu, const uint8_t *area, bool present)
{
    if (present) {
        memcpy(xmm_at(vcpu, 0), area + XSAVE_XMM, xmm_count(vcpu) * 16);
    } else {
        memset(xmm_at(vcpu, 0), 0, xmm_count(vcpu) * 16);
    }
}

static void restore_avx(Vcpu *vcpu, const uint8_t *area, bool present)
{
    if (present) {
        memcpy(ymm_high_at(vcpu, 0), area + XSAVE_YMM_HIGH, xmm_count(vcpu) * 16);
    } else {
        memset(ymm_high_at(vcpu, 0), 0, xmm_count(vcpu) * 16);
    }
}

void op_xrstor(Vcpu *vcpu, const Insn *insn)
{
    uint8_t area[XSAVE_END];
    uint64_t wanted = requested(vcpu), present, layout;
    require_xsave(vcpu);
    uint64_t linear = area_linear(vcpu, insn, XSAVE_YMM_HIGH, 64, false);
    read_part(vcpu, insn, linear, area,
              (AreaPart){ XSAVE_HEADER, XSAVE_YMM_HIGH - XSAVE_HEADER, 0 });
    if (!header_is_valid(vcpu, area + XSAVE_HEADER)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    read_part(vcpu, insn, linear, area, (AreaPart){ 0, XSAVE_HEADER, 0 });
    memcpy(&present, area + XSAVE_HEADER, 8);
    memcpy(&layout, area + XSAVE_HEADER + 8, 8);
    if (wanted & present & COMPONENT_AVX) {
        read_part(vcpu, insn, linear, area,
                  (AreaPart){ XSAVE_YMM_HIGH, XSAVE_END - XSAVE_YMM_HIGH, 0 });
    }
    bool loads_mxcsr = layout & COMPACTED ? wanted & present & COMPONENT_SSE
                                          : wanted & (COMPONENT_SSE | COMPONENT_AVX);
    uint32_t mxcsr = MXCSR_DEFAULT;
    if (loads_mxcsr) {
        mxcsr = checked_mxcsr(vcpu, area + XSAVE_MXCSR);
    }
    if (wanted & COMPONENT_X87) {
        if (present & COMPONENT_X87) {
            get_x87(vcpu, insn, area);
        } else {
            init_x87(vcpu);
        }
    }
    if (wanted & COMPONENT_SSE) {
        restore_sse(vcpu, area, present & COMPONENT_SSE);
    }
    if (wanted & COMPONENT_AVX) {
        restore_avx(vcpu, area, present & COMPONENT_AVX);
    }
    if (loads_mxcsr || (wanted & COMPONENT_SSE)) {
        set_mxcsr(vcpu, mxcsr);
    }
}

void op_ldmxcsr(Vcpu *vcpu, const Insn *insn)
{
    fpu_check(vcpu, insn);
    uint32_t value = (uint32_t)op_read(vcpu, insn, 0);
    set_mxcsr(vcpu, checked_mxcsr(vcpu, (const uint8_t *)&value));
}

void op_stmxcsr(Vcpu *vcpu, const Insn *insn)
{
    uint32_t value;
    fpu_check(vcpu, insn);
    memcpy(&value, vcpu->xsave + XSAVE_MXCSR, 4);
    op_write(vcpu, insn, 0, value);
}
