/* The kernel's interrupt chips: 8259s, IO-APIC, local APICs and PIT; lines, messages, ioeventfds.
 *
 * The saved state is one record: a header, the chips, the PIT, the clock, and each local APIC.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/accel/kvm/kvm.h"
#include "vmm/irq/i8259.h"
#include "vmm/irq/ioapic.h"

#include <errno.h>
#include <string.h>

#define PIC_PINS 16
#define PIT_GSI 0
#define PIT_PIN 2 /* where PCs wire the PIT, as the ACPI tables tell the guest */
#define STATE_MAGIC 0x514b444cu
#define STATE_VERSION 1

typedef struct ChipState {
    uint32_t magic, version;
    uint32_t vcpu_count, reserved;
    struct kvm_irqchip chip[3];
    struct kvm_pit_state2 pit;
    struct kvm_clock_data clock;
    /* followed by vcpu_count local APICs of KVM_LAPIC_BYTES */
} ChipState;

static void add_route(struct kvm_irq_routing *routing, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    struct kvm_irq_routing_entry *entry = &routing->entries[routing->nr++];
    entry->gsi = gsi;
    entry->type = KVM_IRQ_ROUTING_IRQCHIP;
    entry->u.irqchip.irqchip = chip;
    entry->u.irqchip.pin = pin;
}

static int set_routes(const Vm *vm)
{
    union {
        struct kvm_irq_routing routing;
        uint8_t bytes[sizeof(struct kvm_irq_routing) +
                      (PIC_PINS + IOAPIC_PINS) * sizeof(struct kvm_irq_routing_entry)];
    } table;
    memset(&table, 0, sizeof(table));
    for (uint32_t i = 0; i < IOAPIC_PINS; i++) {
        if (i < PIC_PINS && i != PIT_PIN) { /* the 8259's input 2 is its cascade */
            uint32_t chip = i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            add_route(&table.routing, i, chip, i % 8);
        }
        add_route(&table.routing, i, KVM_IRQCHIP_IOAPIC, i == PIT_GSI ? PIT_PIN : i);
    }
    return kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

static int read_chips(const Vm *vm, struct kvm_irqchip chip[3], struct kvm_pit_state2 *pit)
{
    for (uint32_t i = 0; i < 3; i++) {
        chip[i].chip_id = i; /* KVM_IRQCHIP_PIC_MASTER, _SLAVE, _IOAPIC */
        int rc = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip[i]);
        if (rc < 0) {
            return rc;
        }
    }
    return kvm_ioctl(vm->fd, KVM_GET_PIT2, pit);
}

static int write_chips(const Vm *vm, const struct kvm_irqchip chip[3],
                       const struct kvm_pit_state2 *pit)
{
    struct kvm_pit_state2 pit_copy = *pit;
    for (uint32_t i = 0; i < 3; i++) {
        struct kvm_irqchip copy = chip[i];
        copy.chip_id = i;
        int rc = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &copy);
        if (rc < 0) {
            return rc;
        }
    }
    return kvm_ioctl(vm->fd, KVM_SET_PIT2, &pit_copy);
}

int irqchip_create(Vm *vm, char *message)
{
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    int rc = kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot create the kernel's interrupt chips");
        return rc;
    }
    rc = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot create the kernel's PIT");
        return rc;
    }
    rc = set_routes(vm);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot set interrupt routes");
        return rc;
    }
    rc = read_chips(vm, vm->initial_chip, &vm->initial_pit);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot read the interrupt chips");
    }
    return rc;
}

void irqchip_set_line(Vm *vm, unsigned gsi, bool level)
{
    struct kvm_irq_level line = { .irq = gsi, .level = level };
    int rc = kvm_ioctl(vm->fd, KVM_IRQ_LINE, &line);
    lodge_assert(rc >= 0);
}

void irqchip_send_msi(Vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address,
        .address_hi = (uint32_t)(address >> 32),
        .data = data,
    };
    int rc = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
    if (rc < 0) { /* 0 and more: how many vCPUs took it */
        log_guest_error("KVM refuses the MSI 0x%x at 0x%llx", data, (unsigned long long)address);
    }
}

int irqchip_get_state(Vm *vm, void *buf, unsigned size)
{
    uint64_t needed = sizeof(ChipState) + (uint64_t)vm->host.vcpu_count * KVM_LAPIC_BYTES;
    ChipState *state = buf;
    if (size < needed) {
        return -ENOSPC;
    }
    memset(buf, 0, needed);
    state->magic = STATE_MAGIC;
    state->version = STATE_VERSION;
    state->vcpu_count = vm->host.vcpu_count;
    int rc = read_chips(vm, state->chip, &state->pit);
    if (rc >= 0) {
        rc = kvm_ioctl(vm->fd, KVM_GET_CLOCK, &state->clock);
    }
    for (unsigned i = 0; rc >= 0 && i < vm->host.vcpu_count; i++) {
        uint8_t *lapic = (uint8_t *)(state + 1) + (size_t)i * KVM_LAPIC_BYTES;
        if (vm->vcpu[i]) {
            rc = kvm_ioctl(vm->vcpu[i]->fd, KVM_GET_LAPIC, lapic);
        }
    }
    return rc < 0 ? rc : (int)needed;
}

int irqchip_set_state(Vm *vm, const void *buf, unsigned size)
{
    uint64_t needed = sizeof(ChipState) + (uint64_t)vm->host.vcpu_count * KVM_LAPIC_BYTES;
    const ChipState *state = buf;
    if (size != needed || state->magic != STATE_MAGIC || state->version != STATE_VERSION ||
        state->vcpu_count != vm->host.vcpu_count) {
        return -EINVAL;
    }
    struct kvm_clock_data clock = { .clock = state->clock.clock };
    int rc = write_chips(vm, state->chip, &state->pit);
    if (rc >= 0) {
        rc = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &clock);
    }
    for (unsigned i = 0; rc >= 0 && i < vm->host.vcpu_count; i++) {
        struct kvm_lapic_state lapic;
        memcpy(&lapic, (const uint8_t *)(state + 1) + (size_t)i * KVM_LAPIC_BYTES, sizeof(lapic));
        if (vm->vcpu[i]) {
            rc = kvm_ioctl(vm->vcpu[i]->fd, KVM_SET_LAPIC, &lapic);
        }
    }
    return rc < 0 ? -EINVAL : 0;
}

void irqchip_reset(Vm *vm)
{
    int rc = write_chips(vm, vm->initial_chip, &vm->initial_pit);
    for (unsigned i = 0; rc >= 0 && i < vm->host.vcpu_count; i++) {
        if (vm->vcpu[i]) {
            rc = kvm_ioctl(vm->vcpu[i]->fd, KVM_SET_LAPIC, &vm->vcpu[i]->initial_lapic);
        }
    }
    if (rc < 0) {
        log_error("KVM refuses to reset the interrupt chips: error %d", -rc);
    }
}

void irqchip_silence_pit(Vm *vm, bool is_silent)
{
    struct kvm_pit_state2 pit;
    int rc = kvm_ioctl(vm->fd, KVM_GET_PIT2, &pit);
    bool was_silent = rc >= 0 && pit.flags & KVM_PIT_FLAGS_HPET_LEGACY;
    if (rc >= 0 && was_silent != is_silent) {
        pit.flags ^= KVM_PIT_FLAGS_HPET_LEGACY;
        rc = kvm_ioctl(vm->fd, KVM_SET_PIT2, &pit);
    }
    if (rc < 0) {
        log_error("KVM refuses to switch the PIT: error %d", -rc);
    }
}

static I8259 neutral_8259(const struct kvm_pic_state *pic)
{
    return (I8259){ .irr = pic->irr,
                    .imr = pic->imr,
                    .isr = pic->isr,
                    .elcr = pic->elcr,
                    .first = pic->priority_add,
                    .vector_base = pic->irq_base,
                    .reads_isr = pic->read_reg_select,
                    .fully_nested = pic->special_fully_nested_mode };
}

void irqchip_describe(Vm *vm, char *buf, unsigned size)
{
    struct kvm_irqchip chip[3];
    struct kvm_pit_state2 pit;
    buf[0] = 0;
    if (read_chips(vm, chip, &pit) < 0) {
        return;
    }
    unsigned at = 0;
    for (unsigned i = 0; i < 2; i++) {
        const I8259 pic = neutral_8259(&chip[i].chip.pic);
        at += i8259_describe(&pic, i, buf + at, size - at);
    }
    const struct kvm_ioapic_state *ioapic = &chip[2].chip.ioapic;
    uint64_t entry[IOAPIC_PINS];
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        entry[i] = ioapic->redirtbl[i].bits;
    }
    ioapic_describe(entry, ioapic->irr, (uint8_t)ioapic->id, buf + at, size - at);
}

int irqchip_ioeventfd(Vm *vm, bool is_port, GuestAddr addr, unsigned size, bool has_match,
                      uint64_t match, int event_fd, bool assign)
{
    struct kvm_ioeventfd request = {
        .datamatch = match,
        .addr = addr,
        .len = size,
        .fd = event_fd,
        .flags = (is_port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (has_match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    int rc = kvm_ioctl(vm->fd, KVM_IOEVENTFD, &request);
    return rc < 0 ? rc : 0;
}
