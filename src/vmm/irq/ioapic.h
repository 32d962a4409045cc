/* Intel 82093AA IO-APIC with 24 pins, and the EOI register of its successors (version 0x20).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_IOAPIC_H
#define LODGE_VMM_IRQ_IOAPIC_H

#include "vmm/irq/irqchip.h"

#include <pthread.h>

#define IOAPIC_PINS 24
#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_SIZE 0x1000u

typedef struct IoApic {
    pthread_mutex_t lock; /* leaf; over all below */
    uint8_t id;           /* 0..15 */
    uint8_t select;       /* IOREGSEL */
    uint32_t lines;       /* input levels, one bit for each pin */
    uint64_t entry[IOAPIC_PINS];
    IrqChip *chip; /* set when attached */
} IoApic;

void ioapic_init(IoApic *ioapic);
void ioapic_done(IoApic *ioapic);
/* As after power on; input levels stay. */
void ioapic_reset(IoApic *ioapic);

/* Context: any thread. */
void ioapic_set_pin(IoApic *ioapic, unsigned pin, bool level);
void ioapic_eoi(IoApic *ioapic, uint8_t vector);

/* @offset within the register page; 32-bit registers. Context: any thread. */
uint32_t ioapic_read(IoApic *ioapic, uint64_t offset);
void ioapic_write(IoApic *ioapic, uint64_t offset, uint32_t value);

/* After a load: false when no chip can have that state. */
bool ioapic_check_loaded(IoApic *ioapic);

#endif
