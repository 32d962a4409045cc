/* Local APIC.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/lapic.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/irq/lapic-internal.h"

#include <stdatomic.h>
#include <string.h>

#define ICR_LOGICAL 0x800u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SHORTHAND_SHIFT 18
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

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
    irq_chip_request(lapic->chip, lapic->vcpu, VCPU_REQUEST_INTERRUPT, 0);
}

uint8_t lapic_priority(const Lapic *lapic)
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
    return (vector & 0xf0) > (lapic_priority(lapic) & 0xf0) ? vector : -1;
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

void lapic_check_self(Lapic *lapic)
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
            lapic_check_self(lapic);
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

void lapic_gather_error(Lapic *lapic, uint32_t bit)
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
        lapic_gather_error(lapic, ESR_RECEIVE_ILLEGAL);
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
    switch ((lvt & lapic_lvt_writable[index] & LVT_DELIVERY) >> LVT_DELIVERY_SHIFT) {
    case IRQ_DELIVERY_FIXED:
        lapic_accept(lapic, lvt & LVT_VECTOR, false);
        break;
    case IRQ_DELIVERY_NMI:
        irq_chip_request(lapic->chip, lapic->vcpu, VCPU_REQUEST_NMI, 0);
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

uint32_t lapic_x2apic_ldr(const Lapic *lapic)
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
        uint32_t ldr = lapic_x2apic_ldr(lapic);
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    uint32_t own = lapic->ldr >> 24;
    if (lapic->dfr >> 28 == 0xf) {
        return (own & dest) != 0;
    }
    return own >> 4 == dest >> 4 && (own & dest & 15);
}

void lapic_end_of_interrupt(Lapic *lapic)
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
    lapic_check_self(lapic);
}

void lapic_send_command(Lapic *lapic, uint64_t icr)
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
        lapic_gather_error(lapic, ESR_SEND_ILLEGAL);
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

void lapic_reset_registers(Lapic *lapic)
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

static uint8_t lapic_get_cr8(void *opaque)
{
    const Lapic *lapic = opaque;
    return lapic->tpr >> 4;
}

static void lapic_set_cr8(void *opaque, uint8_t value)
{
    Lapic *lapic = opaque;
    lapic->tpr = (uint8_t)(value << 4);
    lapic_check_self(lapic);
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
    lapic_reset_registers(opaque);
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
    lapic_reset_registers(lapic);
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
        if (lapic->lvt[i] & ~lapic_lvt_writable[i]) {
            return false;
        }
    }
    return true;
}
