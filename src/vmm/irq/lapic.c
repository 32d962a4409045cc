/* Local APIC.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/lapic.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/irq/lapic-internal.h"

#include <stdatomic.h>
#include <string.h>

/* Six LVT entries, EOI broadcast can be suppressed. */
#define VERSION (0x14u | (LAPIC_LVTS - 1) << 16 | 1u << 24)

#define ICR_KNOWN UINT64_C(0xffffffff000ccfff)
#define ICR_STATUS 0x1000u
#define ICR_LOGICAL 0x800u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SHORTHAND_SHIFT 18
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

/* Bits of each LVT entry that a write changes. */
static const uint32_t lvt_writable[LAPIC_LVTS] = {
    [LAPIC_LVT_TIMER] = LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE,
    [LAPIC_LVT_THERMAL] = LVT_VECTOR | LVT_DELIVERY | LVT_MASKED,
    [LAPIC_LVT_PERF] = LVT_VECTOR | LVT_DELIVERY | LVT_MASKED,
    [LAPIC_LVT_LINT0] = LVT_VECTOR | LVT_DELIVERY | 0xa000u | LVT_MASKED,
    [LAPIC_LVT_LINT1] = LVT_VECTOR | LVT_DELIVERY | 0xa000u | LVT_MASKED,
    [LAPIC_LVT_ERROR] = LVT_VECTOR | LVT_MASKED,
};

static int highest_bit(const uint32_t *words)
{
    for (int i = 7; i >= 0; i--) {
        if (words[i]) {
            return i * 32 + 31 - __builtin_clz(words[i]);
        }
    }
    return -1;
}

static int highest_requested(const Lapic *lapic)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t word = atomic_load(&lapic->irr[i]);
        if (word) {
            return i * 32 + 31 - __builtin_clz(word);
        }
    }
    return -1;
}

static void request_interrupt(const Lapic *lapic)
{
    const IrqChipHost *host = irq_chip_host(lapic->chip);
    host->vcpu_request(host->opaque, lapic->vcpu, VCPU_REQUEST_INTERRUPT, 0);
}

static uint8_t processor_priority(const Lapic *lapic)
{
    uint8_t tpr = lapic->tpr;
    int served = highest_bit(lapic->isr);
    uint8_t served_class = served < 0 ? 0 : (uint8_t)(served & 0xf0);
    return (tpr & 0xf0) >= served_class ? tpr : served_class;
}

/* Whether this processor takes the vectors of the 8259s. */
static bool takes_extint(const Lapic *lapic)
{
    if (!lapic_is_enabled(lapic)) {
        return lapic->base & BASE_BSP;
    }
    uint32_t lint0 = lapic->lvt[LAPIC_LVT_LINT0];
    return lapic->extint || (lint0 & (LVT_MASKED | LVT_DELIVERY)) == IRQ_DELIVERY_EXTINT
                                                                         << LVT_DELIVERY_SHIFT;
}

static bool has_extint(const Lapic *lapic)
{
    return irq_chip_has_extint(lapic->chip) && takes_extint(lapic);
}

/* Vector of an own interrupt above the present priority, or -1. */
static int deliverable(const Lapic *lapic)
{
    int vector = highest_requested(lapic);
    if (vector < 0 || (lapic->base & BASE_ENABLE) == 0 || !(lapic->svr & SVR_ENABLE)) {
        return -1;
    }
    return (vector & 0xf0) > (processor_priority(lapic) & 0xf0) ? vector : -1;
}

static int lapic_pending(void *opaque)
{
    const Lapic *lapic = opaque;
    if (has_extint(lapic)) {
        int vector = irq_chip_peek_extint(lapic->chip);
        if (vector >= 0) {
            return vector;
        }
    }
    return deliverable(lapic);
}

/* Priority or masks changed on the vCPU's own thread: it looks again before the next instruction.
 */
static void check_self(Lapic *lapic)
{
    if (deliverable(lapic) >= 0 || has_extint(lapic)) {
        request_interrupt(lapic);
    }
}

static int lapic_acknowledge(void *opaque)
{
    Lapic *lapic = opaque;
    if (has_extint(lapic)) {
        int vector = irq_chip_acknowledge_extint(lapic->chip);
        if (vector >= 0) {
            lapic->extint = false;
            check_self(lapic);
            return vector;
        }
    }
    int vector = deliverable(lapic);
    if (vector >= 0) {
        uint32_t bit = 1u << (vector & 31);
        atomic_fetch_and(&lapic->irr[vector >> 5], ~bit);
        lapic->isr[vector >> 5] |= bit;
    }
    return vector;
}

static void gather_error(Lapic *lapic, uint32_t bit)
{
    uint32_t before = atomic_fetch_or(&lapic->esr_gathered, bit);
    uint32_t lvt = lapic->lvt[LAPIC_LVT_ERROR];
    /* An illegal vector here too would be an error about the error: it stays a bit. */
    if (!(before & bit) && !(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= 16) {
        lapic_accept(lapic, lvt & LVT_VECTOR, false);
    }
}

bool lapic_accept(Lapic *lapic, uint8_t vector, bool is_level)
{
    if (!lapic_is_enabled(lapic) || !(lapic->svr & SVR_ENABLE)) {
        return false;
    }
    if (vector < 16) {
        gather_error(lapic, ESR_RECEIVE_ILLEGAL);
        return false;
    }
    uint32_t bit = 1u << (vector & 31);
    if (is_level) {
        atomic_fetch_or(&lapic->tmr[vector >> 5], bit);
    } else if (atomic_load(&lapic->tmr[vector >> 5]) & bit) {
        atomic_fetch_and(&lapic->tmr[vector >> 5], ~bit);
    }
    if (!(atomic_fetch_or(&lapic->irr[vector >> 5], bit) & bit)) {
        request_interrupt(lapic);
    }
    return true;
}

void lapic_raise_lvt(Lapic *lapic, unsigned index)
{
    uint32_t lvt = lapic->lvt[index];
    if (lvt & LVT_MASKED || !lapic_is_enabled(lapic)) {
        return;
    }
    const IrqChipHost *host = irq_chip_host(lapic->chip);
    switch ((lvt & lvt_writable[index] & LVT_DELIVERY) >> LVT_DELIVERY_SHIFT) {
    case IRQ_DELIVERY_FIXED:
        lapic_accept(lapic, lvt & LVT_VECTOR, false);
        break;
    case IRQ_DELIVERY_NMI:
        host->vcpu_request(host->opaque, lapic->vcpu, VCPU_REQUEST_NMI, 0);
        break;
    default:
        break;
    }
}

void lapic_raise_lint0(Lapic *lapic)
{
    if (takes_extint(lapic)) {
        request_interrupt(lapic);
    } else {
        lapic_raise_lvt(lapic, LAPIC_LVT_LINT0);
    }
}

static uint32_t x2apic_ldr(const Lapic *lapic)
{
    return (lapic->vcpu >> 4) << 16 | 1u << (lapic->vcpu & 15);
}

bool lapic_matches(const Lapic *lapic, uint32_t dest, bool is_logical)
{
    if (!lapic_is_enabled(lapic)) {
        return false;
    }
    if (dest == IRQ_DEST_BROADCAST) {
        return true;
    }
    if (!is_logical) {
        return dest == lapic->vcpu;
    }
    if (lapic_is_x2apic(lapic)) {
        uint32_t ldr = x2apic_ldr(lapic);
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    uint32_t own = lapic->ldr >> 24;
    if (lapic->dfr >> 28 == 0xf) {
        return (own & dest) != 0;
    }
    return own >> 4 == dest >> 4 && (own & dest & 15);
}

static void end_of_interrupt(Lapic *lapic)
{
    int vector = highest_bit(lapic->isr);
    if (vector < 0) {
        return;
    }
    uint32_t bit = 1u << (vector & 31);
    lapic->isr[vector >> 5] &= ~bit;
    if ((lapic->tmr[vector >> 5] & bit) && !(lapic->svr & SVR_NO_EOI_BROADCAST)) {
        irq_chip_eoi(lapic->chip, (uint8_t)vector);
    }
    check_self(lapic);
}

static void send_command(Lapic *lapic, uint64_t icr)
{
    IrqMessage message = {
        .dest = (uint32_t)(icr >> 32),
        .is_logical = icr & ICR_LOGICAL,
        .delivery = (icr >> 8) & 7,
        .vector = (uint8_t)icr,
    };
    if (!lapic_is_x2apic(lapic)) {
        message.dest >>= 24;
        message.dest = message.dest == 0xff ? IRQ_DEST_BROADCAST : message.dest;
    }
    bool needs_vector =
        message.delivery == IRQ_DELIVERY_FIXED || message.delivery == IRQ_DELIVERY_LOWEST;
    if (needs_vector && message.vector < 16) {
        gather_error(lapic, ESR_SEND_ILLEGAL);
        return;
    }
    /* INIT de-assert only matters to arbitration on the APIC bus, which is not there. */
    if (message.delivery == IRQ_DELIVERY_INIT && (icr & ICR_LEVEL) && !(icr & ICR_ASSERT)) {
        return;
    }
    switch ((icr >> ICR_SHORTHAND_SHIFT) & 3) {
    case SHORTHAND_NONE:
        irq_chip_send(lapic->chip, &message);
        break;
    case SHORTHAND_SELF:
        /* Only fixed interrupts may be sent so. */
        lapic_accept(lapic, message.vector, false);
        break;
    case SHORTHAND_ALL:
        message.dest = IRQ_DEST_BROADCAST;
        irq_chip_send(lapic->chip, &message);
        break;
    case SHORTHAND_OTHERS:
        irq_chip_send_to_others(lapic->chip, &message, lapic->vcpu);
        break;
    }
}

static void write_svr(Lapic *lapic, uint32_t value)
{
    lapic->svr = value & SVR_KNOWN;
    if (!(value & SVR_ENABLE)) {
        for (unsigned i = 0; i < LAPIC_LVTS; i++) {
            lapic->lvt[i] |= LVT_MASKED;
        }
    }
    check_self(lapic);
}

static void write_lvt(Lapic *lapic, unsigned index, uint32_t value)
{
    uint32_t old = lapic->lvt[index];
    uint32_t fresh = value & lvt_writable[index];
    if (!(lapic->svr & SVR_ENABLE)) {
        fresh |= LVT_MASKED;
    }
    lapic->lvt[index] = fresh;
    if (index == LAPIC_LVT_TIMER) {
        lapic_timer_mode_changed(lapic, old, fresh);
    }
    check_self(lapic);
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
        return processor_priority(lapic);
    case LAPIC_REG_LDR:
        return lapic_is_x2apic(lapic) ? x2apic_ldr(lapic) : lapic->ldr;
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
        check_self(lapic);
        return true;
    case LAPIC_REG_EOI:
        end_of_interrupt(lapic);
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
        gather_error(lapic, ESR_REGISTER_ILLEGAL);
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
        send_command(lapic, lapic->icr);
        return;
    case LAPIC_REG_ICR_HIGH:
        lapic->icr = (lapic->icr & UINT32_MAX) | (uint64_t)(value & 0xff000000u) << 32;
        return;
    default:
        if (!write_register(lapic, reg, value)) {
            gather_error(lapic, ESR_REGISTER_ILLEGAL);
        }
    }
}

static bool is_in_page(const Lapic *lapic, GuestAddr addr)
{
    uint64_t base = lapic->base;
    return (base & (BASE_ENABLE | BASE_X2APIC)) == BASE_ENABLE &&
           (addr & ~UINT64_C(0xfff)) == (base & BASE_PAGE);
}

static bool lapic_read_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t *out_value)
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

static bool lapic_write_mmio(void *opaque, GuestAddr addr, unsigned size, uint64_t value)
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

/* Bits of an x2APIC register that may be set; others raise #GP. */
static uint64_t x2apic_writable(unsigned reg)
{
    if (reg >= LAPIC_REG_LVT && reg < LAPIC_REG_LVT + LAPIC_LVTS) {
        return lvt_writable[reg - LAPIC_REG_LVT];
    }
    switch (reg) {
    case LAPIC_REG_TPR:
    case LAPIC_REG_SELF_IPI:
        return 0xff;
    case LAPIC_REG_SVR:
        return SVR_KNOWN;
    case LAPIC_REG_ICR:
        return ICR_KNOWN & ~(uint64_t)ICR_STATUS;
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
        lapic->icr = value;
        send_command(lapic, value);
        return true;
    }
    if (reg == LAPIC_REG_SELF_IPI) {
        if (value < 16) {
            gather_error(lapic, ESR_SEND_ILLEGAL);
        } else {
            lapic_accept(lapic, (uint8_t)value, false);
        }
        return true;
    }
    return write_register(lapic, reg, (uint32_t)value);
}

/* Registers as after power on or INIT. */
static void reset_registers(Lapic *lapic)
{
    for (unsigned i = 0; i < 8; i++) {
        lapic->irr[i] = 0;
        lapic->tmr[i] = 0;
        lapic->isr[i] = 0;
    }
    for (unsigned i = 0; i < LAPIC_LVTS; i++) {
        lapic->lvt[i] = LVT_MASKED;
    }
    /* Virtual wire, as firmware sets it up on real boards: the boot processor hears the 8259s. */
    if (lapic->base & BASE_BSP) {
        lapic->lvt[LAPIC_LVT_LINT0] = IRQ_DELIVERY_EXTINT << LVT_DELIVERY_SHIFT;
    }
    lapic->ldr = 0;
    lapic->dfr = UINT32_MAX;
    lapic->svr = 0xff;
    lapic->esr_gathered = 0;
    lapic->tpr = 0;
    lapic->extint = false;
    lapic->esr = 0;
    lapic->icr = 0;
    lapic_timer_reset(lapic);
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
        reset_registers(lapic);
    }
    check_self(lapic);
    return true;
}

static bool lapic_read_msr(void *opaque, uint32_t msr, uint64_t *out_value)
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

static bool lapic_write_msr(void *opaque, uint32_t msr, uint64_t value)
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

static uint8_t lapic_get_cr8(void *opaque)
{
    const Lapic *lapic = opaque;
    return lapic->tpr >> 4;
}

static void lapic_set_cr8(void *opaque, uint8_t value)
{
    Lapic *lapic = opaque;
    lapic->tpr = (uint8_t)(value << 4);
    check_self(lapic);
}

static void lapic_bind_tsc(void *opaque, uint64_t (*read_tsc)(void *opaque), void *tsc_opaque,
                           uint64_t tsc_hz)
{
    Lapic *lapic = opaque;
    lodge_assert(tsc_hz);
    lapic->read_tsc = read_tsc;
    lapic->tsc_opaque = tsc_opaque;
    lapic->tsc_hz = tsc_hz;
}

static void lapic_port_reset(void *opaque)
{
    reset_registers(opaque);
}

LapicPort lapic_port(Lapic *lapic)
{
    return (LapicPort){
        .lapic = lapic,
        .pending = lapic_pending,
        .acknowledge = lapic_acknowledge,
        .get_cr8 = lapic_get_cr8,
        .set_cr8 = lapic_set_cr8,
        .read_msr = lapic_read_msr,
        .write_msr = lapic_write_msr,
        .read_mmio = lapic_read_mmio,
        .write_mmio = lapic_write_mmio,
        .bind_tsc = lapic_bind_tsc,
        .reset = lapic_port_reset,
    };
}

void lapic_init(Lapic *lapic, unsigned vcpu)
{
    memset(lapic, 0, sizeof(*lapic));
    pthread_mutex_init(&lapic->timer_lock, NULL);
    lapic->vcpu = vcpu;
    lapic->deadline_ns = IRQ_TIMER_OFF;
    lapic_reset(lapic);
}

void lapic_done(Lapic *lapic)
{
    pthread_mutex_destroy(&lapic->timer_lock);
}

void lapic_reset(Lapic *lapic)
{
    lapic->base = LAPIC_BASE_DEFAULT | BASE_ENABLE | (lapic->vcpu == 0 ? BASE_BSP : 0);
    reset_registers(lapic);
}

bool lapic_check_loaded(Lapic *lapic)
{
    uint64_t base = lapic->base;
    uint64_t known = BASE_BSP | BASE_X2APIC | BASE_ENABLE | BASE_PAGE;
    if (base & ~known || ((base & BASE_X2APIC) && !(base & BASE_ENABLE)) ||
        lapic->svr & ~SVR_KNOWN || lapic->divide & ~0xbu || lapic->icr & ~ICR_KNOWN ||
        lapic->deadline_ns < 0 ||
        (lapic->deadline_ns > DEADLINE_SANE_NS && lapic->deadline_ns != IRQ_TIMER_OFF) ||
        (lapic->irr[0] | lapic->isr[0]) & 0xffff) {
        return false;
    }
    for (unsigned i = 0; i < LAPIC_LVTS; i++) {
        if (lapic->lvt[i] & ~lvt_writable[i]) {
            return false;
        }
    }
    return true;
}
