/* Hardware task switches with 32-bit task-state segments. Left out: 16-bit segments (#TS or #GP as
 * for a bad descriptor), the debug trap of a task's T bit, and CR4.VME's redirection bitmap.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/gate.h"
#include "vmm/accel/xlate/segment.h"

#define TSS32_BYTES 0x68u
#define TSS_CR3 0x1c
#define TSS_EIP 0x20
#define TSS_EFLAGS 0x24
#define TSS_GPR 0x28
#define TSS_SELECTORS 0x48
#define TSS_LDT 0x60
#define TSS_TRAP 0x64

static uint32_t tss_read(Vcpu *vcpu, uint64_t base, unsigned at)
{
    return (uint32_t)mem_read_system(vcpu, (uint32_t)(base + at), 4);
}

static void save_task(Vcpu *vcpu, uint64_t return_rip, uint64_t flags)
{
    uint64_t base = vcpu->tr.base;
    mem_write_system(vcpu, (uint32_t)(base + TSS_EIP), return_rip, 4);
    mem_write_system(vcpu, (uint32_t)(base + TSS_EFLAGS), flags, 4);
    for (unsigned i = 0; i < 8; i++) {
        mem_write_system(vcpu, (uint32_t)(base + TSS_GPR + i * 4), vcpu->gpr[i], 4);
    }
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        mem_write_system(vcpu, (uint32_t)(base + TSS_SELECTORS + i * 4), vcpu->segment[i].selector,
                         2);
    }
}

static void check_new_task(Vcpu *vcpu, uint16_t selector, TaskSwitch kind, Descriptor *d)
{
    uint32_t error = selector & 0xfffcu;
    uint8_t vector = kind == TASK_IRET || kind == TASK_GATE ? EXCEPTION_TS : EXCEPTION_GP;
    if (!error || (selector & 4)) {
        raise_error(vcpu, vector, error);
    }
    descriptor_read_or_raise(vcpu, selector, vector, d);
    unsigned wanted = kind == TASK_IRET ? TYPE_TSS32_BUSY : TYPE_TSS32;
    if (descriptor_is_segment(d) || descriptor_type(d) != wanted) {
        raise_error(vcpu, vector, error);
    }
    if (!descriptor_is_present(d)) {
        raise_error(vcpu, EXCEPTION_NP, error);
    }
    if (descriptor_segment(d, selector).limit < TSS32_BYTES - 1) {
        raise_error(vcpu, EXCEPTION_TS, error);
    }
}

static void leave_old_task(Vcpu *vcpu, TaskSwitch kind, uint64_t return_rip)
{
    Descriptor old;
    uint64_t flags = vcpu->rflags;
    if (kind == TASK_IRET) {
        flags &= ~(uint64_t)FLAG_NT;
    }
    save_task(vcpu, return_rip, flags);
    if ((kind == TASK_JUMP || kind == TASK_IRET) &&
        descriptor_read(vcpu, vcpu->tr.selector, &old)) {
        descriptor_set_busy(vcpu, &old, false);
    }
}

static void load_segments(Vcpu *vcpu, const uint16_t selector[CPU_SEGMENTS])
{
    static const uint8_t data[] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
    unsigned cpl = selector[CPU_CS] & 3;
    if (vcpu->rflags & FLAG_VM) {
        for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
            segment_load_real(vcpu, i, selector[i]);
        }
        cpu_update_mode(vcpu);
        return;
    }
    /* The old hidden parts are gone; until all is checked nothing is usable, at the new level. */
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        vcpu->segment[i] =
            (CpuSegment){ .selector = selector[i],
                          .attributes = (uint16_t)(SEGMENT_UNUSABLE | cpl << SEGMENT_DPL_SHIFT) };
    }
    cpu_update_mode(vcpu);
    Descriptor d;
    descriptor_read_or_raise(vcpu, selector[CPU_CS], EXCEPTION_TS, &d);
    bool conforming = descriptor_type(&d) & TYPE_CONFORMING;
    if (!descriptor_is_segment(&d) || !(descriptor_type(&d) & TYPE_CODE) ||
        (conforming ? descriptor_dpl(&d) > cpl : descriptor_dpl(&d) != cpl)) {
        raise_error(vcpu, EXCEPTION_TS, selector[CPU_CS] & 0xfffcu);
    }
    if (!descriptor_is_present(&d)) {
        raise_error(vcpu, EXCEPTION_NP, selector[CPU_CS] & 0xfffcu);
    }
    descriptor_set_accessed(vcpu, &d);
    vcpu->segment[CPU_CS] = descriptor_segment(&d, selector[CPU_CS]);
    vcpu->segment[CPU_SS] = segment_check_stack(vcpu, selector[CPU_SS], cpl, EXCEPTION_TS);
    cpu_update_mode(vcpu);
    for (unsigned i = 0; i < sizeof(data); i++) {
        segment_load(vcpu, data[i], selector[data[i]]);
    }
}

static void load_task(Vcpu *vcpu, const CpuSegment *tss, TaskSwitch kind)
{
    uint16_t selector[CPU_SEGMENTS], ldt = (uint16_t)tss_read(vcpu, tss->base, TSS_LDT);
    uint32_t cr3 = tss_read(vcpu, tss->base, TSS_CR3);
    uint32_t eip = tss_read(vcpu, tss->base, TSS_EIP);
    uint32_t flags = tss_read(vcpu, tss->base, TSS_EFLAGS);
    for (unsigned i = 0; i < 8; i++) {
        vcpu->gpr[i] = tss_read(vcpu, tss->base, TSS_GPR + i * 4);
    }
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        selector[i] = (uint16_t)tss_read(vcpu, tss->base, TSS_SELECTORS + i * 4);
    }
    vcpu->rip = vcpu->next_rip = eip;
    vcpu->rflags = (flags & 0x3f7fd5) | FLAG_FIXED;
    if (kind == TASK_CALL || kind == TASK_GATE) {
        vcpu->rflags |= FLAG_NT;
    }
    if (vcpu->cr0 & CR0_PG) {
        vcpu->cr3 = cr3;
        tlb_flush_space(vcpu, 0);
    }
    vcpu->cr0 |= CR0_TS;
    vcpu->dr[7] &= ~UINT64_C(0x155);
    segment_load_ldt(vcpu, ldt);
    load_segments(vcpu, selector);
}

void task_switch(Vcpu *vcpu, uint16_t selector, TaskSwitch kind, uint64_t return_rip,
                 bool has_error, uint32_t error)
{
    Descriptor d;
    check_new_task(vcpu, selector, kind, &d);
    CpuSegment tss = descriptor_segment(&d, selector);
    uint16_t old_selector = vcpu->tr.selector;
    leave_old_task(vcpu, kind, return_rip);
    if (kind == TASK_CALL || kind == TASK_GATE) {
        mem_write_system(vcpu, (uint32_t)tss.base, old_selector, 2);
    }
    if (kind != TASK_IRET) {
        descriptor_set_busy(vcpu, &d, true);
    }
    vcpu->tr = descriptor_segment(&d, selector);
    load_task(vcpu, &tss, kind);
    if (has_error) {
        bool is_32 = vcpu->mode & MODE_SS32;
        uint64_t mask = is_32 ? 0xffffffff : 0xffff, sp = (vcpu->gpr[CPU_RSP] - 4) & mask;
        mem_write(vcpu, segment_linear(vcpu, CPU_SS, sp, 4, true), error, 4);
        vcpu->gpr[CPU_RSP] = (vcpu->gpr[CPU_RSP] & ~mask) | sp;
    }
    cpu_update_mode(vcpu);
}
