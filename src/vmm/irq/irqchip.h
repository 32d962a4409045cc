/* The interrupt chips of a PC as one aggregate, for accelerators without their own.
 *
 *   device line -> gsi --+-> 8259 pair --- LINT0/ExtINT --+
 *                        +-> IO-APIC ---- message --------+--> local APIC -> vcpu_request()
 *   MSI write ------------------------- message ----------+
 *   ICR of a local APIC --------------- message ----------+
 *
 * Messages take no lock: pending vectors are atomic bits, all else of a local APIC belongs to its
 * vCPU's thread. The 8259 pair and the IO-APIC have one leaf lock each. The chips themselves live
 * in devices (vmm/devices: "i8259", "ioapic", "apic"), which register here, so that they migrate.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_IRQ_IRQCHIP_H
#define LODGE_VMM_IRQ_IRQCHIP_H

#include "vmm/accel/accel.h"
#include "vmm/irq/line.h"

#define IRQCHIP_VCPUS_MAX 255
#define IRQCHIP_GSIS 24

typedef struct IrqChip IrqChip;
struct I8259;
struct I8259Pair;
struct IoApic;
struct Lapic;

/* What the chips use of the machine. Copied; @opaque outlives the chip. */
typedef struct IrqChipHost {
    unsigned vcpu_count; /* 1..IRQCHIP_VCPUS_MAX; vCPU n has APIC id n */
    /* Leads to AccelOps.vcpu_request. Context: any thread, with chip and device locks held. */
    void (*vcpu_request)(void *opaque, unsigned vcpu, VcpuRequest request, uint8_t vector);
    /* Guest clock in ns, as DeviceHost.clock_ns. Context: any thread. */
    int64_t (*clock_ns)(void *opaque);
    /* Calls irq_chip_timer_due(@vcpu) at guest time @deadline_ns, or never (IRQ_TIMER_OFF).
     * Context: any thread. NULL: the chip runs a timer thread of its own. */
    void (*timer_set)(void *opaque, unsigned vcpu, int64_t deadline_ns);
    void *opaque;
} IrqChipHost;

#define IRQ_TIMER_OFF INT64_MAX

/* Returns: a chip set without chips, or NULL with errno set. */
IrqChip *irq_chip_new(const IrqChipHost *host) LODGE_MUST_CHECK;
/* Every chip was detached before; NULL is accepted. */
void irq_chip_free(IrqChip *chip);

/* Ends the timer thread and all requests to vCPUs: before these are destroyed, which may be before
 * the chips are detached. NULL is accepted. Context: main thread, no vCPU runs. */
void irq_chip_stop(IrqChip *chip);

/* Puts chips in, or takes them out with NULL. Context: main thread, no vCPU runs. */
void irq_chip_attach_i8259(IrqChip *chip, struct I8259Pair *pair);
void irq_chip_attach_ioapic(IrqChip *chip, struct IoApic *ioapic);
void irq_chip_attach_lapic(IrqChip *chip, unsigned vcpu, struct Lapic *lapic);

/**
 * irq_chip_line - the line that leads to a global system interrupt
 * @gsi: 0..23. 0-15 reach the 8259 input and the IO-APIC pin of that number, but for 0, which
 *       reaches pin 2 (as the MADT override says), and 2, which is the cascade and leads nowhere
 */
IrqLine irq_chip_line(IrqChip *chip, unsigned gsi);

/* Where message-signalled interrupts of devices go. */
MsiSink irq_chip_msi_sink(IrqChip *chip);

/* The port of a vCPU's local APIC, for AccelOps.vcpu_create. Valid while that is attached. */
LapicPort irq_chip_lapic_port(IrqChip *chip, unsigned vcpu);

/* Registers of the 8259s and the IO-APIC as text for people, cut to @size bytes. Main thread. */
void irq_chip_describe(IrqChip *chip, char *buf, unsigned size);
void irq_chip_describe_chips(struct I8259Pair *pair, struct IoApic *ioapic, char *buf,
                             unsigned size);
/* The same of chips that are elsewhere: one line of an 8259, the lines of an IO-APIC. */
unsigned i8259_describe(const struct I8259 *chip, unsigned number, char *buf, unsigned size);
unsigned ioapic_describe(const uint64_t *entry, uint32_t lines, uint8_t id, char *buf,
                         unsigned size);

/* The timer of @vcpu may have run out. Context: any thread. */
void irq_chip_timer_due(IrqChip *chip, unsigned vcpu);

/* An interrupt message, wherever it comes from. */
typedef enum IrqDelivery {
    IRQ_DELIVERY_FIXED = 0,
    IRQ_DELIVERY_LOWEST = 1,
    IRQ_DELIVERY_SMI = 2,
    IRQ_DELIVERY_NMI = 4,
    IRQ_DELIVERY_INIT = 5,
    IRQ_DELIVERY_SIPI = 6,
    IRQ_DELIVERY_EXTINT = 7,
} IrqDelivery;

#define IRQ_DEST_BROADCAST UINT32_MAX

typedef struct IrqMessage {
    uint32_t dest; /* APIC id or logical destination; IRQ_DEST_BROADCAST for all */
    bool is_logical;
    bool is_level;
    uint8_t delivery; /* IrqDelivery, may be hostile */
    uint8_t vector;
} IrqMessage;

/* Context: any thread; lock-free but for vcpu_request. Returns how many local APICs took it. */
unsigned irq_chip_send(IrqChip *chip, const IrqMessage *message);

/* Between the chips. */
void irq_chip_eoi(IrqChip *chip, uint8_t vector); /* broadcast to the IO-APIC */
bool irq_chip_has_extint(const IrqChip *chip);    /* the 8259s ask; lock-free */
int irq_chip_acknowledge_extint(IrqChip *chip);   /* vector or -1 */
int irq_chip_peek_extint(IrqChip *chip);
const IrqChipHost *irq_chip_host(const IrqChip *chip);
void irq_chip_request(const IrqChip *chip, unsigned vcpu, VcpuRequest request, uint8_t vector);
void irq_chip_timer_set(IrqChip *chip, unsigned vcpu, int64_t deadline_ns);
void irq_chip_send_to_others(IrqChip *chip, const IrqMessage *message, unsigned self);

#endif
