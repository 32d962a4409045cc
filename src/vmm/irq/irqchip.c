/* The interrupt chips of a PC as one aggregate.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/irqchip.h"

#include "base/clock.h"
#include "base/log.h"
#include "vmm/irq/i8259.h"
#include "vmm/irq/ioapic.h"
#include "vmm/irq/lapic.h"
#include "vmm/irq/timer-thread.h"

#include <stdatomic.h>
#include <stdlib.h>

struct IrqChip {
    IrqChipHost host;
    TimerThread *timers; /* NULL: host.timer_set serves, or nobody any more */
    atomic_bool is_stopped;
    I8259Pair *pair;
    IoApic *ioapic;
    Lapic *lapic[IRQCHIP_VCPUS_MAX];
    _Atomic(unsigned) turn; /* spreads lowest-priority messages among equals */
};

static void timer_expired(void *opaque, unsigned vcpu)
{
    irq_chip_timer_due(opaque, vcpu);
}

IrqChip *irq_chip_new(const IrqChipHost *host)
{
    lodge_assert(host->vcpu_count > 0 && host->vcpu_count <= IRQCHIP_VCPUS_MAX);
    IrqChip *chip = calloc(1, sizeof(*chip));
    if (!chip) {
        return NULL;
    }
    chip->host = *host;
    if (!host->timer_set) {
        chip->timers = timer_thread_new(host->vcpu_count, timer_expired, chip);
        if (!chip->timers) {
            free(chip);
            return NULL;
        }
    }
    return chip;
}

void irq_chip_stop(IrqChip *chip)
{
    if (chip) {
        atomic_store(&chip->is_stopped, true);
        timer_thread_free(chip->timers);
        chip->timers = NULL;
    }
}

void irq_chip_describe(IrqChip *chip, char *buf, unsigned size)
{
    irq_chip_describe_chips(chip->pair, chip->ioapic, buf, size);
}

void irq_chip_free(IrqChip *chip)
{
    irq_chip_stop(chip);
    free(chip);
}

static void i8259_output_changed(void *opaque, bool level)
{
    IrqChip *chip = opaque;
    for (unsigned i = 0; level && i < chip->host.vcpu_count; i++) {
        if (chip->lapic[i]) {
            lapic_raise_lint0(chip->lapic[i]);
        }
    }
}

void irq_chip_attach_i8259(IrqChip *chip, I8259Pair *pair)
{
    if (chip->pair) {
        chip->pair->set_output = NULL;
    }
    chip->pair = pair;
    if (pair) {
        pair->opaque = chip;
        pair->set_output = i8259_output_changed;
    }
}

void irq_chip_attach_ioapic(IrqChip *chip, IoApic *ioapic)
{
    if (chip->ioapic) {
        chip->ioapic->chip = NULL;
    }
    chip->ioapic = ioapic;
    if (ioapic) {
        ioapic->chip = chip;
    }
}

void irq_chip_attach_lapic(IrqChip *chip, unsigned vcpu, Lapic *lapic)
{
    lodge_assert(vcpu < chip->host.vcpu_count);
    if (chip->lapic[vcpu]) {
        irq_chip_timer_set(chip, vcpu, IRQ_TIMER_OFF);
        chip->lapic[vcpu]->chip = NULL;
    }
    chip->lapic[vcpu] = lapic;
    if (lapic) {
        lapic->chip = chip;
    }
}

static void set_gsi(void *opaque, unsigned gsi, bool level)
{
    IrqChip *chip = opaque;
    if (gsi == 2) {
        return;
    }
    if (gsi < 16 && chip->pair) {
        i8259_set_input(chip->pair, gsi, level);
    }
    if (chip->ioapic) {
        ioapic_set_pin(chip->ioapic, gsi ? gsi : 2, level);
    }
}

IrqLine irq_chip_line(IrqChip *chip, unsigned gsi)
{
    lodge_assert(gsi < IRQCHIP_GSIS);
    return (IrqLine){ set_gsi, chip, gsi };
}

#define MSI_PREFIX UINT64_C(0xfee)
#define MSI_HINT 0x8u
#define MSI_LOGICAL 0x4u
#define MSI_ASSERT 0x4000u
#define MSI_LEVEL 0x8000u

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    if (address >> 20 != MSI_PREFIX) {
        log_guest_error("message interrupt to address 0x%llx dropped", (unsigned long long)address);
        return;
    }
    uint32_t dest = (address >> 12) & 0xff;
    IrqMessage message = {
        .dest = dest == 0xff ? IRQ_DEST_BROADCAST : dest,
        .is_logical = address & MSI_LOGICAL,
        .is_level = data & MSI_LEVEL,
        .delivery = (data >> 8) & 7,
        .vector = (uint8_t)data,
    };
    if (message.is_level && !(data & MSI_ASSERT)) {
        return;
    }
    /* The hint asks for one of the set; alone it is what "lowest priority" does. */
    if ((address & MSI_HINT) && message.is_logical && message.delivery == IRQ_DELIVERY_FIXED) {
        message.delivery = IRQ_DELIVERY_LOWEST;
    }
    irq_chip_send(opaque, &message);
}

MsiSink irq_chip_msi_sink(IrqChip *chip)
{
    return (MsiSink){ send_msi, chip };
}

LapicPort irq_chip_lapic_port(IrqChip *chip, unsigned vcpu)
{
    lodge_assert(vcpu < chip->host.vcpu_count && chip->lapic[vcpu]);
    return lapic_port(chip->lapic[vcpu]);
}

void irq_chip_timer_due(IrqChip *chip, unsigned vcpu)
{
    Lapic *lapic = chip->lapic[vcpu];
    if (lapic) {
        lapic_timer_due(lapic);
    }
}

/* Own thread: the guest's clock may run behind the host's by a constant while the guest runs. */
void irq_chip_timer_set(IrqChip *chip, unsigned vcpu, int64_t deadline_ns)
{
    if (atomic_load(&chip->is_stopped)) {
        return;
    }
    if (!chip->timers) {
        chip->host.timer_set(chip->host.opaque, vcpu, deadline_ns);
        return;
    }
    if (deadline_ns != IRQ_TIMER_OFF) {
        int64_t left = deadline_ns - chip->host.clock_ns(chip->host.opaque);
        deadline_ns = clock_monotonic_ns() + (left > 0 ? left : 0);
    }
    timer_thread_set(chip->timers, vcpu, deadline_ns);
}

static bool deliver(IrqChip *chip, Lapic *lapic, const IrqMessage *message)
{
    switch (message->delivery) {
    case IRQ_DELIVERY_FIXED:
    case IRQ_DELIVERY_LOWEST:
        return lapic_accept(lapic, message->vector, message->is_level);
    case IRQ_DELIVERY_NMI:
        irq_chip_request(chip, lapic->vcpu, VCPU_REQUEST_NMI, 0);
        return true;
    case IRQ_DELIVERY_INIT:
        irq_chip_request(chip, lapic->vcpu, VCPU_REQUEST_INIT, 0);
        return true;
    case IRQ_DELIVERY_SIPI:
        irq_chip_request(chip, lapic->vcpu, VCPU_REQUEST_SIPI, message->vector);
        return true;
    case IRQ_DELIVERY_EXTINT:
        atomic_store(&lapic->extint, true);
        irq_chip_request(chip, lapic->vcpu, VCPU_REQUEST_INTERRUPT, 0);
        return true;
    default: /* SMI: there is no SMM; 3 is reserved */
        return false;
    }
}

/* Among those that match, the one with the lowest task priority; equals in turn. */
static Lapic *choose_lowest(IrqChip *chip, const IrqMessage *message)
{
    unsigned count = chip->host.vcpu_count;
    unsigned first = atomic_fetch_add_explicit(&chip->turn, 1, memory_order_relaxed) % count;
    Lapic *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        Lapic *lapic = chip->lapic[(first + i) % count];
        if (lapic && lapic_matches(lapic, message->dest, message->is_logical) &&
            (!best || lapic->tpr < best->tpr)) {
            best = lapic;
        }
    }
    return best;
}

unsigned irq_chip_send(IrqChip *chip, const IrqMessage *message)
{
    if (message->delivery == IRQ_DELIVERY_LOWEST) {
        Lapic *lapic = choose_lowest(chip, message);
        return lapic && deliver(chip, lapic, message) ? 1 : 0;
    }
    if (!message->is_logical && message->dest < chip->host.vcpu_count) {
        Lapic *lapic = chip->lapic[message->dest];
        return lapic && lapic_matches(lapic, message->dest, false) && deliver(chip, lapic, message);
    }
    unsigned taken = 0;
    for (unsigned i = 0; i < chip->host.vcpu_count; i++) {
        Lapic *lapic = chip->lapic[i];
        if (lapic && lapic_matches(lapic, message->dest, message->is_logical)) {
            taken += deliver(chip, lapic, message);
        }
    }
    return taken;
}

void irq_chip_send_to_others(IrqChip *chip, const IrqMessage *message, unsigned self)
{
    for (unsigned i = 0; i < chip->host.vcpu_count; i++) {
        Lapic *lapic = chip->lapic[i];
        if (lapic && i != self && lapic_matches(lapic, IRQ_DEST_BROADCAST, false)) {
            deliver(chip, lapic, message);
        }
    }
}

void irq_chip_eoi(IrqChip *chip, uint8_t vector)
{
    if (chip->ioapic) {
        ioapic_eoi(chip->ioapic, vector);
    }
}

bool irq_chip_has_extint(const IrqChip *chip)
{
    return chip->pair && atomic_load(&chip->pair->output);
}

int irq_chip_acknowledge_extint(IrqChip *chip)
{
    return chip->pair ? i8259_acknowledge(chip->pair) : -1;
}

int irq_chip_peek_extint(IrqChip *chip)
{
    return chip->pair ? i8259_peek(chip->pair) : -1;
}

void irq_chip_request(const IrqChip *chip, unsigned vcpu, VcpuRequest request, uint8_t vector)
{
    if (!atomic_load(&chip->is_stopped)) {
        chip->host.vcpu_request(chip->host.opaque, vcpu, request, vector);
    }
}

const IrqChipHost *irq_chip_host(const IrqChip *chip)
{
    return &chip->host;
}
