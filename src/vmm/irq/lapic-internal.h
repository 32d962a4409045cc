/* Registers of the local APIC, and what its files share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_LAPIC_INTERNAL_H
#define LODGE_VMM_IRQ_LAPIC_INTERNAL_H

#include "vmm/irq/lapic.h"

/* Register numbers: offset / 16 in the page, or MSR - 0x800. */
enum {
    LAPIC_REG_ID = 0x02,
    LAPIC_REG_VERSION = 0x03,
    LAPIC_REG_TPR = 0x08,
    LAPIC_REG_PPR = 0x0a,
    LAPIC_REG_EOI = 0x0b,
    LAPIC_REG_LDR = 0x0d,
    LAPIC_REG_DFR = 0x0e,
    LAPIC_REG_SVR = 0x0f,
    LAPIC_REG_ISR = 0x10,
    LAPIC_REG_TMR = 0x18,
    LAPIC_REG_IRR = 0x20,
    LAPIC_REG_ESR = 0x28,
    LAPIC_REG_ICR = 0x30,
    LAPIC_REG_ICR_HIGH = 0x31,
    LAPIC_REG_LVT = 0x32,
    LAPIC_REG_INITIAL_COUNT = 0x38,
    LAPIC_REG_CURRENT_COUNT = 0x39,
    LAPIC_REG_DIVIDE = 0x3e,
    LAPIC_REG_SELF_IPI = 0x3f,
};

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u
#define MSR_X2APIC_LAST 0x8ffu

#define BASE_BSP (UINT64_C(1) << 8)
#define BASE_X2APIC (UINT64_C(1) << 10)
#define BASE_ENABLE (UINT64_C(1) << 11)
#define BASE_PAGE UINT64_C(0x000ffffffffff000)

#define SVR_ENABLE 0x100u
#define SVR_NO_EOI_BROADCAST 0x1000u
#define SVR_KNOWN 0x13ffu

#define LVT_VECTOR 0xffu
#define LVT_DELIVERY_SHIFT 8
#define LVT_DELIVERY 0x700u
#define LVT_READ_ONLY 0x5000u /* delivery status, remote IRR */
#define LVT_MASKED 0x10000u
#define LVT_TIMER_MODE 0x60000u
#define LVT_TIMER_ONE_SHOT 0x00000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_DEADLINE 0x40000u

#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER_ILLEGAL 0x80u

#define ICR_KNOWN UINT64_C(0xffffffff000ccfff)
#define ICR_STATUS 0x1000u

/* Bits of each LVT entry that a write changes. */
extern const uint32_t lapic_lvt_writable[LAPIC_LVTS];

/* On the vCPU's thread. */
uint8_t lapic_priority(const Lapic *lapic);
void lapic_end_of_interrupt(Lapic *lapic);
void lapic_send_command(Lapic *lapic, uint64_t icr);
/* Registers as after power on or INIT. */
void lapic_reset_registers(Lapic *lapic);
/* Priority or masks changed: the vCPU looks again before its next instruction. */
void lapic_check_self(Lapic *lapic);

/* Context: any thread. */
void lapic_gather_error(Lapic *lapic, uint32_t bit);
uint32_t lapic_x2apic_ldr(const Lapic *lapic);

/* For the LapicPort. */
bool lapic_read_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t *out_value);
bool lapic_write_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t value);
bool lapic_read_msr(void *opaque, uint32_t msr, uint64_t *out_value);
bool lapic_write_msr(void *opaque, uint32_t msr, uint64_t value);

/* Writes of the timer's registers, on the vCPU's thread. */
void lapic_timer_write_initial(Lapic *lapic, uint32_t value);
void lapic_timer_write_divide(Lapic *lapic, uint32_t value);
/* @old, @value: of the timer's LVT, after it changed. */
void lapic_timer_mode_changed(Lapic *lapic, uint32_t old, uint32_t value);
void lapic_timer_write_deadline(Lapic *lapic, uint64_t tsc);
uint64_t lapic_timer_read_deadline(Lapic *lapic);
uint32_t lapic_timer_read_current(Lapic *lapic);
void lapic_timer_reset(Lapic *lapic);

/* Longest deadline that is armed; further ones never come. */
#define DEADLINE_SANE_NS (INT64_MAX / 4)

/* Raises what an LVT entry says, unless it is masked. Context: any thread. */
void lapic_raise_lvt(Lapic *lapic, unsigned index);

static inline bool lapic_is_enabled(const Lapic *lapic)
{
    return lapic->base & BASE_ENABLE;
}

static inline bool lapic_is_x2apic(const Lapic *lapic)
{
    return lapic->base & BASE_X2APIC;
}

#endif
