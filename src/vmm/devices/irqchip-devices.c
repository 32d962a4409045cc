/* The interrupt chips of vmm/irq as devices: registers, reset, state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"
#include "vmm/irq/i8259.h"
#include "vmm/irq/ioapic.h"
#include "vmm/irq/irqchip.h"
#include "vmm/irq/lapic.h"

static IrqChip *find_chip(Device *dev, GError **error)
{
    return dev->host->find_backend(dev->host->opaque, "irqchip", "irqchip", error);
}

static bool refuse_state(GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "saved registers no chip can have");
    return false;
}

/* 8259 pair ------------------------------------------------------------------------------------ */

typedef struct I8259Device {
    Device dev;
    I8259Pair pair;
    IrqChip *chip;
    Region ports[2], elcr;
} I8259Device;

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return i8259_read(opaque, 0, (unsigned)offset);
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    i8259_write(opaque, 0, (unsigned)offset, (uint8_t)value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return i8259_read(opaque, 1, (unsigned)offset);
}

static void slave_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    i8259_write(opaque, 1, (unsigned)offset, (uint8_t)value);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    return i8259_read_elcr(opaque, (unsigned)offset);
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    i8259_write_elcr(opaque, (unsigned)offset, (uint8_t)value);
}

static const RegionOps master_ops = { master_read, master_write, 1, 1 };
static const RegionOps slave_ops = { slave_read, slave_write, 1, 1 };
static const RegionOps elcr_ops = { elcr_read, elcr_write, 1, 1 };

static void i8259_unrealize(Device *dev)
{
    I8259Device *self = (I8259Device *)dev;
    device_unmap_ports(dev, 0x20);
    device_unmap_ports(dev, 0xa0);
    device_unmap_ports(dev, 0x4d0);
    irq_chip_attach_i8259(self->chip, NULL);
    i8259_done(&self->pair);
}

static bool i8259_realize(Device *dev, GError **error)
{
    I8259Device *self = (I8259Device *)dev;
    self->chip = find_chip(dev, error);
    if (!self->chip) {
        return false;
    }
    i8259_init(&self->pair);
    /* The chip has its own leaf lock. */
    self->ports[0] = (Region){ "i8259-master", 2, &master_ops, &self->pair, NULL };
    self->ports[1] = (Region){ "i8259-slave", 2, &slave_ops, &self->pair, NULL };
    self->elcr = (Region){ "elcr", 2, &elcr_ops, &self->pair, NULL };
    if (!device_map_ports(dev, 0x20, &self->ports[0], error)) {
        return false;
    }
    if (!device_map_ports(dev, 0xa0, &self->ports[1], error)) {
        device_unmap_ports(dev, 0x20);
        return false;
    }
    if (!device_map_ports(dev, 0x4d0, &self->elcr, error)) {
        device_unmap_ports(dev, 0x20);
        device_unmap_ports(dev, 0xa0);
        return false;
    }
    irq_chip_attach_i8259(self->chip, &self->pair);
    return true;
}

static void i8259_device_reset(Device *dev, ResetKind kind)
{
    i8259_reset(&((I8259Device *)dev)->pair);
}

static bool i8259_post_load(Device *dev, GError **error)
{
    return i8259_check_loaded(&((I8259Device *)dev)->pair) || refuse_state(error);
}

static const StateField i8259_chip_fields[] = {
    STATE_FIELD(I8259, STATE_U8, irr),
    STATE_FIELD(I8259, STATE_U8, imr),
    STATE_FIELD(I8259, STATE_U8, isr),
    STATE_FIELD(I8259, STATE_U8, lines),
    STATE_FIELD(I8259, STATE_U8, elcr),
    STATE_FIELD(I8259, STATE_U8, first),
    STATE_FIELD(I8259, STATE_U8, vector_base),
    STATE_FIELD(I8259, STATE_U8, init_step),
    STATE_FIELD(I8259, STATE_BOOL, wants_icw4),
    STATE_FIELD(I8259, STATE_BOOL, is_single),
    STATE_FIELD(I8259, STATE_BOOL, reads_isr),
    STATE_FIELD(I8259, STATE_BOOL, is_polled),
    STATE_FIELD(I8259, STATE_BOOL, special_mask),
    STATE_FIELD(I8259, STATE_BOOL, auto_eoi),
    STATE_FIELD(I8259, STATE_BOOL, rotates_auto_eoi),
    STATE_FIELD(I8259, STATE_BOOL, fully_nested),
    STATE_END,
};
static const StateTable i8259_chip_state = { .name = "chip", .fields = i8259_chip_fields };
static const StateField i8259_fields[] = {
    { .name = "chip",
      .kind = STATE_TABLE,
      .offset = offsetof(I8259Device, pair.chip),
      .size = sizeof(I8259),
      .count = 2,
      .table = &i8259_chip_state },
    STATE_END,
};
static const StateTable i8259_state = { .name = "i8259", .fields = i8259_fields };

const DeviceClass i8259_class = {
    .name = "i8259",
    .summary = "pair of 8259A interrupt controllers",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(I8259Device),
    .state = &i8259_state,
    .realize = i8259_realize,
    .unrealize = i8259_unrealize,
    .reset = i8259_device_reset,
    .post_load = i8259_post_load,
};

/* IO-APIC -------------------------------------------------------------------------------------- */

typedef struct IoApicDevice {
    Device dev;
    IoApic ioapic;
    IrqChip *chip;
    Region region;
} IoApicDevice;

static uint64_t ioapic_region_read(void *opaque, uint64_t offset, unsigned size)
{
    return ioapic_read(opaque, offset);
}

static void ioapic_region_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ioapic_write(opaque, offset, (uint32_t)value);
}

static const RegionOps ioapic_ops = { ioapic_region_read, ioapic_region_write, 4, 4 };

static bool ioapic_realize(Device *dev, GError **error)
{
    IoApicDevice *self = (IoApicDevice *)dev;
    self->chip = find_chip(dev, error);
    if (!self->chip) {
        return false;
    }
    ioapic_init(&self->ioapic);
    self->region = (Region){ "ioapic", IOAPIC_SIZE, &ioapic_ops, &self->ioapic, NULL };
    if (!device_map_memory(dev, IOAPIC_BASE, &self->region, error)) {
        ioapic_done(&self->ioapic);
        return false;
    }
    irq_chip_attach_ioapic(self->chip, &self->ioapic);
    return true;
}

static void ioapic_unrealize(Device *dev)
{
    IoApicDevice *self = (IoApicDevice *)dev;
    device_unmap_memory(dev, IOAPIC_BASE);
    irq_chip_attach_ioapic(self->chip, NULL);
    ioapic_done(&self->ioapic);
}

static void ioapic_device_reset(Device *dev, ResetKind kind)
{
    ioapic_reset(&((IoApicDevice *)dev)->ioapic);
}

static bool ioapic_post_load(Device *dev, GError **error)
{
    return ioapic_check_loaded(&((IoApicDevice *)dev)->ioapic) || refuse_state(error);
}

#define IOAPIC_FIELD(name_, kind_, member, count_)                                                 \
    {                                                                                              \
        .name = name_, .kind = kind_, .offset = offsetof(IoApicDevice, ioapic.member),             \
        .size = sizeof(((IoApicDevice *)0)->ioapic.member) / (count_), .count = (count_)           \
    }
static const StateField ioapic_fields[] = {
    IOAPIC_FIELD("id", STATE_U8, id, 1),
    IOAPIC_FIELD("select", STATE_U8, select, 1),
    IOAPIC_FIELD("lines", STATE_U32, lines, 1),
    IOAPIC_FIELD("entry", STATE_U64, entry, IOAPIC_PINS),
    STATE_END,
};
static const StateTable ioapic_state = { .name = "ioapic", .fields = ioapic_fields };

const DeviceClass ioapic_class = {
    .name = "ioapic",
    .summary = "82093AA IO-APIC with 24 pins",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(IoApicDevice),
    .state = &ioapic_state,
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset = ioapic_device_reset,
    .post_load = ioapic_post_load,
};

/* Local APIC ----------------------------------------------------------------------------------- */

typedef struct ApicDevice {
    Device dev;
    uint64_t vcpu; /* property */
    Lapic lapic;
    IrqChip *chip;
} ApicDevice;

static bool apic_realize(Device *dev, GError **error)
{
    ApicDevice *self = (ApicDevice *)dev;
    self->chip = find_chip(dev, error);
    if (!self->chip) {
        return false;
    }
    unsigned count = irq_chip_host(self->chip)->vcpu_count;
    if (self->vcpu >= count) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "the machine has %u vCPUs only", count);
        return false;
    }
    lapic_init(&self->lapic, (unsigned)self->vcpu);
    irq_chip_attach_lapic(self->chip, (unsigned)self->vcpu, &self->lapic);
    return true;
}

static void apic_unrealize(Device *dev)
{
    ApicDevice *self = (ApicDevice *)dev;
    irq_chip_attach_lapic(self->chip, (unsigned)self->vcpu, NULL);
    lapic_done(&self->lapic);
}

static void apic_reset(Device *dev, ResetKind kind)
{
    lapic_reset(&((ApicDevice *)dev)->lapic);
}

static void apic_quiesce(Device *dev)
{
    lapic_pause(&((ApicDevice *)dev)->lapic);
}

static void apic_resume(Device *dev)
{
    lapic_resume(&((ApicDevice *)dev)->lapic);
}

static bool apic_post_load(Device *dev, GError **error)
{
    return lapic_check_loaded(&((ApicDevice *)dev)->lapic) || refuse_state(error);
}

static const Property apic_properties[] = {
    { "vcpu", PROPERTY_UINT, offsetof(ApicDevice, vcpu), "0", .max = IRQCHIP_VCPUS_MAX - 1,
      .help = "vCPU that it belongs to" },
    { NULL },
};

#define LAPIC_FIELD(name_, kind_, member, count_)                                                  \
    {                                                                                              \
        .name = name_, .kind = kind_, .offset = offsetof(ApicDevice, lapic.member),                \
        .size = sizeof(((ApicDevice *)0)->lapic.member) / (count_), .count = (count_)              \
    }
static const StateField apic_fields[] = {
    LAPIC_FIELD("base", STATE_U64, base, 1),
    LAPIC_FIELD("irr", STATE_U32, irr, 8),
    LAPIC_FIELD("tmr", STATE_U32, tmr, 8),
    LAPIC_FIELD("isr", STATE_U32, isr, 8),
    LAPIC_FIELD("lvt", STATE_U32, lvt, LAPIC_LVTS),
    LAPIC_FIELD("ldr", STATE_U32, ldr, 1),
    LAPIC_FIELD("dfr", STATE_U32, dfr, 1),
    LAPIC_FIELD("svr", STATE_U32, svr, 1),
    LAPIC_FIELD("esr_gathered", STATE_U32, esr_gathered, 1),
    LAPIC_FIELD("esr", STATE_U32, esr, 1),
    LAPIC_FIELD("tpr", STATE_U8, tpr, 1),
    LAPIC_FIELD("extint", STATE_BOOL, extint, 1),
    LAPIC_FIELD("icr", STATE_U64, icr, 1),
    LAPIC_FIELD("divide", STATE_U32, divide, 1),
    LAPIC_FIELD("initial_count", STATE_U32, initial_count, 1),
    LAPIC_FIELD("deadline_ns", STATE_U64, deadline_ns, 1),
    LAPIC_FIELD("tsc_deadline", STATE_U64, tsc_deadline, 1),
    STATE_END,
};
static const StateTable apic_state = { .name = "apic", .fields = apic_fields };

const DeviceClass apic_class = {
    .name = "apic",
    .summary = "local APIC of one vCPU",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(ApicDevice),
    .properties = apic_properties,
    .state = &apic_state,
    .realize = apic_realize,
    .unrealize = apic_unrealize,
    .reset = apic_reset,
    .quiesce = apic_quiesce,
    .resume = apic_resume,
    .post_load = apic_post_load,
};
