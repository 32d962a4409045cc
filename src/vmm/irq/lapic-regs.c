/* Registers of the local APIC: its page, its MSRs.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/lapic-internal.h"

#include <stdatomic.h>

/* Six LVT entries, EOI broadcast can be suppressed. */
#define VERSION (0x14u | (LAPIC_LVTS - 1) << 16 | 1u << 24)

/* Bits of each LVT entry that a write changes. */
const uint32_t lapic_lvt_writable[LAPIC_LVTS] = {
    [LAPIC_LVT_TIMER] = LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE,
    [LAPIC_LVT_THERMAL] = LVT_VECTOR | LVT_DELIVERY | LVT_MASKED,
    [LAPIC_LVT_PERF] = LVT_VECTOR | LVT_DELIVERY | LVT_MASKED,
    [LAPIC_LVT_LINT0] = LVT_VECTOR | LVT_DELIVERY | 0xa000u | LVT_MASKED,
    [LAPIC_LVT_LINT1] = LVT_VECTOR | LVT_DELIVERY | 0xa000u | LVT_MASKED,
    [LAPIC_LVT_ERROR] = LVT_VECTOR | LVT_MASKED,
};

static void write_svr(Lapic *lapic, uint32_t value)
{
    lapic->svr = value & SVR_KNOWN;
    if (!(value & SVR_ENABLE)) {
        for (unsigned i = 0; i < LAPIC_LVTS; i++) {
            lapic->lvt[i] |= LVT_MASKED;
        }
    }
    lapic_check_self(lapic);
}

static void write_lvt(Lapic *lapic, unsigned index, uint32_t value)
{
    uint32_t old = lapic->lvt[index];
    uint32_t fresh = value & lapic_lvt_writable[index];
    if (!(lapic->svr & SVR_ENABLE)) {
        fresh |= LVT_MASKED;
    }
    lapic->lvt[index] = fresh;
    if (index == LAPIC_LVT_TIMER) {
        lapic_timer_mode_changed(lapic, old, fresh);
    }
    lapic_check_self(lapic);
}

/* One register, by its number; what both ways of access share. *out_known: there is one to read. */
static uint32_t read_register(Lapic *lapic, unsigned reg, bool *out_known)
{
    *out_known = true;
    if (reg >= LAPIC_REG_ISR && reg < LAPIC_REG_ISR + 8) {
        return lapic->isr[reg & 7];
    }
    if (reg >= LAPIC_REG_TMR && reg < LAPIC_REG_TMR + 8) {
        return lapic->tmr[reg & 7];
    }
    if (reg >= LAPIC_REG_IRR && reg < LAPIC_REG_IRR + 8) {
        return lapic->irr[reg & 7];
    }
    if (reg >= LAPIC_REG_LVT && reg < LAPIC_REG_LVT + LAPIC_LVTS) {
        return lapic->lvt[reg - LAPIC_REG_LVT];
    }
    switch (reg) {
    case LAPIC_REG_ID:
        return lapic_is_x2apic(lapic) ? lapic->vcpu : lapic->vcpu << 24;
    case LAPIC_REG_VERSION:
        return VERSION;
    case LAPIC_REG_TPR:
        return lapic->tpr;
    case LAPIC_REG_PPR:
        return lapic_priority(lapic);
    case LAPIC_REG_LDR:
        return lapic_is_x2apic(lapic) ? lapic_x2apic_ldr(lapic) : lapic->ldr;
    case LAPIC_REG_SVR:
        return lapic->svr;
    case LAPIC_REG_ESR:
        return lapic->esr;
    case LAPIC_REG_ICR:
        return (uint32_t)lapic->icr;
    case LAPIC_REG_INITIAL_COUNT:
        return lapic->initial_count;
    case LAPIC_REG_CURRENT_COUNT:
        return lapic_timer_read_current(lapic);
    case LAPIC_REG_DIVIDE:
        return lapic->divide;
    default:
        *out_known = false;
        return 0;
    }
}

/* False: there is no such register to write. */
static bool write_register(Lapic *lapic, unsigned reg, uint32_t value)
{
    if (reg >= LAPIC_REG_LVT && reg < LAPIC_REG_LVT + LAPIC_LVTS) {
        write_lvt(lapic, reg - LAPIC_REG_LVT, value);
        return true;
    }
    switch (reg) {
    case LAPIC_REG_TPR:
        lapic->tpr = (uint8_t)value;
        lapic_check_self(lapic);
        return true;
    case LAPIC_REG_EOI:
        lapic_end_of_interrupt(lapic);
        return true;
    case LAPIC_REG_SVR:
        write_svr(lapic, value);
        return true;
    case LAPIC_REG_ESR:
        lapic->esr = atomic_exchange(&lapic->esr_gathered, 0);
        return true;
    case LAPIC_REG_INITIAL_COUNT:
        lapic_timer_write_initial(lapic, value);
        return true;
    case LAPIC_REG_DIVIDE:
        lapic_timer_write_divide(lapic, value);
        return true;
    default:
        return false;
    }
}

static uint32_t read_page(Lapic *lapic, unsigned reg)
{
    if (reg == LAPIC_REG_ICR_HIGH) {
        return (uint32_t)(lapic->icr >> 32);
    }
    if (reg == LAPIC_REG_DFR) {
        return lapic->dfr;
    }
    bool is_known;
    uint32_t value = read_register(lapic, reg, &is_known);
    if (!is_known) {
        lapic_gather_error(lapic, ESR_REGISTER_ILLEGAL);
    }
    return value;
}

static void write_page(Lapic *lapic, unsigned reg, uint32_t value)
{
    switch (reg) {
    case LAPIC_REG_ID: /* fixed: it names the vCPU */
        return;
    case LAPIC_REG_LDR:
        lapic->ldr = value & 0xff000000u;
        return;
    case LAPIC_REG_DFR:
        lapic->dfr = value | 0x0fffffffu;
        return;
    case LAPIC_REG_ICR:
        lapic->icr =
            ((lapic->icr & ~(uint64_t)UINT32_MAX) | value) & ICR_KNOWN & ~(uint64_t)ICR_STATUS;
        lapic_send_command(lapic, lapic->icr);
        return;
    case LAPIC_REG_ICR_HIGH:
        lapic->icr = (lapic->icr & UINT32_MAX) | (uint64_t)(value & 0xff000000u) << 32;
        return;
    default:
        if (!write_register(lapic, reg, value)) {
            lapic_gather_error(lapic, ESR_REGISTER_ILLEGAL);
        }
    }
}

static bool is_in_page(const Lapic *lapic, GuestAddr addr)
{
    uint64_t base = lapic->base;
    return (base & (BASE_ENABLE | BASE_X2APIC)) == BASE_ENABLE &&
           (addr & ~UINT64_C(0xfff)) == (base & BASE_PAGE);
}

bool lapic_read_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t *out_value)
{
    Lapic *lapic = opaque;
    if (!is_in_page(lapic, addr)) {
        return false;
    }
    /* Registers are 32 bits wide at multiples of 16; what lies between reads as zero. */
    unsigned skipped = addr & 15;
    uint64_t value = 0;
    if (skipped < 4) {
        value = (uint64_t)read_page(lapic, (addr & 0xfff) >> 4) >> (8 * skipped);
    }
    *out_value = size >= 8 ? value : value & ((UINT64_C(1) << (8 * size)) - 1);
    return true;
}

bool lapic_write_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t value)
{
    Lapic *lapic = opaque;
    if (!is_in_page(lapic, addr)) {
        return false;
    }
    if ((addr & 15) == 0) {
        write_page(lapic, (addr & 0xfff) >> 4, (uint32_t)value);
    }
    return true;
}

static bool read_x2apic(Lapic *lapic, unsigned reg, uint64_t *out_value)
{
    if (!lapic_is_x2apic(lapic)) {
        return false;
    }
    if (reg == LAPIC_REG_ICR) {
        *out_value = lapic->icr;
        return true;
    }
    bool is_known;
    uint32_t value = read_register(lapic, reg, &is_known);
    if (is_known) {
        *out_value = value;
    }
    return is_known;
}

/* Bits of an x2APIC register that may be set; others raise #GP. Read-only bits are ignored. */
static uint64_t x2apic_writable(unsigned reg)
{
    if (reg >= LAPIC_REG_LVT && reg < LAPIC_REG_LVT + LAPIC_LVTS) {
        return lapic_lvt_writable[reg - LAPIC_REG_LVT] | LVT_READ_ONLY;
    }
    switch (reg) {
    case LAPIC_REG_TPR:
    case LAPIC_REG_SELF_IPI:
        return 0xff;
    case LAPIC_REG_SVR:
        return SVR_KNOWN;
    case LAPIC_REG_ICR:
        return ICR_KNOWN;
    case LAPIC_REG_INITIAL_COUNT:
        return UINT32_MAX;
    case LAPIC_REG_DIVIDE:
        return 0xb;
    default:
        return 0;
    }
}

static bool write_x2apic(Lapic *lapic, unsigned reg, uint64_t value)
{
    if (!lapic_is_x2apic(lapic) || value & ~x2apic_writable(reg)) {
        return false;
    }
    if (reg == LAPIC_REG_ICR) {
        lapic->icr = value & ~(uint64_t)ICR_STATUS;
        lapic_send_command(lapic, lapic->icr);
        return true;
    }
    if (reg == LAPIC_REG_SELF_IPI) {
        if (value < 16) {
            lapic_gather_error(lapic, ESR_SEND_ILLEGAL);
        } else {
            lapic_accept(lapic, (uint8_t)value, false);
        }
        return true;
    }
    return write_register(lapic, reg, (uint32_t)value);
}

static bool write_base(Lapic *lapic, uint64_t value)
{
    uint64_t old = lapic->base;
    uint64_t known = BASE_BSP | BASE_X2APIC | BASE_ENABLE | BASE_PAGE;
    bool was_x2apic = old & BASE_X2APIC;
    bool enable = value & BASE_ENABLE, x2apic = value & BASE_X2APIC;
    if (value & ~known || (x2apic && !enable) || (was_x2apic && enable && !x2apic) ||
        (!(old & BASE_ENABLE) && x2apic)) {
        return false;
    }
    lapic->base = (value & ~BASE_BSP) | (old & BASE_BSP);
    if (!enable && (old & BASE_ENABLE)) {
        lapic_reset_registers(lapic);
    }
    lapic_check_self(lapic);
    return true;
}

bool lapic_read_msr(void *opaque, uint32_t msr, uint64_t *out_value)
{
    Lapic *lapic = opaque;
    if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_LAST) {
        return read_x2apic(lapic, msr - MSR_X2APIC, out_value);
    }
    if (msr == MSR_APIC_BASE) {
        *out_value = lapic->base;
        return true;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *out_value = lapic_timer_read_deadline(lapic);
        return true;
    }
    return false;
}

bool lapic_write_msr(void *opaque, uint32_t msr, uint64_t value)
{
    Lapic *lapic = opaque;
    if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_LAST) {
        return write_x2apic(lapic, msr - MSR_X2APIC, value);
    }
    if (msr == MSR_APIC_BASE) {
        return write_base(lapic, value);
    }
    if (msr == MSR_TSC_DEADLINE) {
        lapic_timer_write_deadline(lapic, value);
        return true;
    }
    return false;
}
