/* Intel 82093AA IO-APIC.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/ioapic.h"

#include "base/cleanup.h"

#include <string.h>

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI 0x40

#define INDEX_ID 0x00
#define INDEX_VERSION 0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_ENTRIES 0x10

#define VERSION (0x20u | (IOAPIC_PINS - 1) << 16)

/* Redirection entry. */
#define ENTRY_VECTOR 0xffu
#define ENTRY_DELIVERY_SHIFT 8
#define ENTRY_LOGICAL (UINT64_C(1) << 11)
#define ENTRY_STATUS (UINT64_C(1) << 12)
#define ENTRY_REMOTE_IRR (UINT64_C(1) << 14)
#define ENTRY_LEVEL (UINT64_C(1) << 15)
#define ENTRY_MASKED (UINT64_C(1) << 16)
#define ENTRY_DEST_SHIFT 56
#define ENTRY_READ_ONLY (ENTRY_STATUS | ENTRY_REMOTE_IRR)
#define ENTRY_KNOWN (UINT64_C(0xff00000000000000) | 0x1ffffu)

void ioapic_init(IoApic *ioapic)
{
    memset(ioapic, 0, sizeof(*ioapic));
    pthread_mutex_init(&ioapic->lock, NULL);
}

void ioapic_done(IoApic *ioapic)
{
    pthread_mutex_destroy(&ioapic->lock);
}

void ioapic_reset(IoApic *ioapic)
{
    LOCK_GUARD(&ioapic->lock);
    ioapic->id = 0;
    ioapic->select = 0;
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        ioapic->entry[i] = ENTRY_MASKED;
    }
}

static bool send_entry(IoApic *ioapic, uint64_t entry)
{
    uint32_t dest = (uint32_t)(entry >> ENTRY_DEST_SHIFT);
    IrqMessage message = {
        .dest = dest == 0xff ? IRQ_DEST_BROADCAST : dest,
        .is_logical = entry & ENTRY_LOGICAL,
        .is_level = entry & ENTRY_LEVEL,
        .delivery = (entry >> ENTRY_DELIVERY_SHIFT) & 7,
        .vector = entry & ENTRY_VECTOR,
    };
    return ioapic->chip && irq_chip_send(ioapic->chip, &message) > 0;
}

/* Only fixed and lowest-priority interrupts are answered by an EOI. */
static bool waits_for_eoi(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) && ((entry >> ENTRY_DELIVERY_SHIFT) & 7) <= IRQ_DELIVERY_LOWEST;
}

/* Sends a level-triggered pin that is up, open, and not in service already. */
static void serve_level(IoApic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->entry[pin];
    if (!(entry & ENTRY_LEVEL) || !(ioapic->lines & (1u << pin)) ||
        (entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR))) {
        return;
    }
    if (send_entry(ioapic, entry) && waits_for_eoi(entry)) {
        ioapic->entry[pin] |= ENTRY_REMOTE_IRR;
    }
}

void ioapic_set_pin(IoApic *ioapic, unsigned pin, bool level)
{
    LOCK_GUARD(&ioapic->lock);
    uint32_t bit = 1u << pin;
    bool was = ioapic->lines & bit;
    ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (!level || was) {
        return;
    }
    uint64_t entry = ioapic->entry[pin];
    if (entry & ENTRY_LEVEL) {
        serve_level(ioapic, pin);
    } else if (!(entry & ENTRY_MASKED)) {
        send_entry(ioapic, entry); /* an edge on a masked pin is lost, as the data sheet says */
    }
}

void ioapic_eoi(IoApic *ioapic, uint8_t vector)
{
    LOCK_GUARD(&ioapic->lock);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        uint64_t entry = ioapic->entry[i];
        if ((entry & ENTRY_VECTOR) == vector && (entry & ENTRY_REMOTE_IRR)) {
            ioapic->entry[i] &= ~ENTRY_REMOTE_IRR;
            serve_level(ioapic, i);
        }
    }
}

static uint32_t read_window(const IoApic *ioapic)
{
    unsigned index = ioapic->select;
    if (index == INDEX_ID || index == INDEX_ARBITRATION) {
        return (uint32_t)ioapic->id << 24;
    }
    if (index == INDEX_VERSION) {
        return VERSION;
    }
    unsigned pin = (index - INDEX_ENTRIES) / 2;
    if (index >= INDEX_ENTRIES && pin < IOAPIC_PINS) {
        return (uint32_t)(ioapic->entry[pin] >> (index & 1 ? 32 : 0));
    }
    return 0;
}

static void write_entry(IoApic *ioapic, unsigned pin, bool high, uint32_t value)
{
    uint64_t old = ioapic->entry[pin];
    uint64_t entry =
        high ? (old & UINT32_MAX) | (uint64_t)value << 32 : (old & ~(uint64_t)UINT32_MAX) | value;
    entry = (entry & ENTRY_KNOWN & ~ENTRY_READ_ONLY) | (old & ENTRY_READ_ONLY);
    if (!(entry & ENTRY_LEVEL)) {
        /* How systems without the EOI register drop a stuck remote IRR. */
        entry &= ~ENTRY_REMOTE_IRR;
    }
    ioapic->entry[pin] = entry;
    serve_level(ioapic, pin);
}

static void write_window(IoApic *ioapic, uint32_t value)
{
    unsigned index = ioapic->select;
    unsigned pin = (index - INDEX_ENTRIES) / 2;
    if (index == INDEX_ID) {
        ioapic->id = (value >> 24) & 15;
    } else if (index >= INDEX_ENTRIES && pin < IOAPIC_PINS) {
        write_entry(ioapic, pin, index & 1, value);
    }
}

uint32_t ioapic_read(IoApic *ioapic, uint64_t offset)
{
    LOCK_GUARD(&ioapic->lock);
    switch (offset) {
    case REG_SELECT:
        return ioapic->select;
    case REG_WINDOW:
        return read_window(ioapic);
    default:
        return 0;
    }
}

void ioapic_write(IoApic *ioapic, uint64_t offset, uint32_t value)
{
    if (offset == REG_EOI) {
        ioapic_eoi(ioapic, (uint8_t)value);
        return;
    }
    LOCK_GUARD(&ioapic->lock);
    if (offset == REG_SELECT) {
        ioapic->select = (uint8_t)value;
    } else if (offset == REG_WINDOW) {
        write_window(ioapic, value);
    }
}

bool ioapic_check_loaded(IoApic *ioapic)
{
    LOCK_GUARD(&ioapic->lock);
    if (ioapic->id > 15 || ioapic->lines >> IOAPIC_PINS) {
        return false;
    }
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        uint64_t entry = ioapic->entry[i];
        if (entry & ~ENTRY_KNOWN || ((entry & ENTRY_REMOTE_IRR) && !(entry & ENTRY_LEVEL))) {
            return false;
        }
    }
    return true;
}
