/* LPC bridge of the ICH9 (Intel I/O Controller Hub 9 data sheet): where PCI interrupt lines lead,
 * where the ACPI power management block is, and the root complex register block.
 *
 * Leaves out: GPIO, decode ranges, TCO, and changes to the wiring of slots to lines (the registers
 * for it in the root complex block read as zero).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/bus/pci/pci-private.h"
#include "vmm/bus/pci/q35.h"

#include <string.h>

#define VENDOR_INTEL 0x8086
#define DEVICE_ICH9_LPC 0x2918

#define REG_PMBASE 0x40
#define PMBASE_BITS 0xff80u
#define REG_ACPI_CNTL 0x44
#define ACPI_CNTL_ENABLE 0x80
#define REG_PIRQ_A 0x60 /* A-D */
#define REG_PIRQ_E 0x68 /* E-H */
#define PIRQ_DISABLED 0x80
#define REG_GEN_PMCON_1 0xa0
#define REG_RCBA 0xf0
#define RCBA_ENABLE 1
#define RCBA_BITS 0xffffc001u
#define RCRB_SIZE (16 * KIB)

#define PM_PRIORITY 1
#define RCRB_PRIORITY 1
#define ISA_IRQS 16

typedef struct Ich9Lpc {
    PciDevice pci;
    uint64_t pm_base; /* property */
    Region *pm_region;
    Region rcrb_region;
    GuestAddr pm_mapped, rcrb_mapped; /* 0: nowhere; on the loop */
    _Atomic(uint8_t) route[PCI_PIRQS];
    /* Under the root bus's lock, as the sink is called: */
    bool pirq_level[PCI_PIRQS];
    bool isa_level[ISA_IRQS];
} Ich9Lpc;

/* Interrupts */

static void drive_isa_irqs(Ich9Lpc *lpc)
{
    bool level[ISA_IRQS] = { false };
    for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++) {
        uint8_t route = lpc->route[pirq];
        if (!(route & PIRQ_DISABLED) && lpc->pirq_level[pirq]) {
            level[route % ISA_IRQS] = true;
        }
    }
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        if (level[irq] != lpc->isa_level[irq]) {
            lpc->isa_level[irq] = level[irq];
            irq_line_set(&lpc->pci.device.host->irq[irq], level[irq]);
        }
    }
}

static void set_pirq(void *opaque, unsigned pirq, bool level)
{
    Ich9Lpc *lpc = opaque;
    if (level != lpc->pirq_level[pirq]) {
        lpc->pirq_level[pirq] = level;
        irq_line_set(&lpc->pci.device.host->irq[ISA_IRQS + pirq], level);
    }
    drive_isa_irqs(lpc);
}

static unsigned route_register(unsigned pirq)
{
    return pirq < 4 ? REG_PIRQ_A + pirq : REG_PIRQ_E + pirq - 4;
}

static void load_routes(Ich9Lpc *lpc)
{
    for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++) {
        lpc->route[pirq] = pci_get8(&lpc->pci, route_register(pirq));
    }
    pci_root_refresh_pirqs(lpc->pci.bus->root);
}

static void config_written(PciDevice *pci, unsigned offset, unsigned size)
{
    if (pci_ranges_overlap(offset, size, REG_PIRQ_A, REG_PIRQ_E + 4 - REG_PIRQ_A)) {
        load_routes((Ich9Lpc *)pci);
    }
}

/* Blocks that move */

static GuestAddr pm_wanted(const Ich9Lpc *lpc)
{
    bool is_enabled = pci_get8(&lpc->pci, REG_ACPI_CNTL) & ACPI_CNTL_ENABLE;
    return is_enabled ? pci_get32(&lpc->pci, REG_PMBASE) & PMBASE_BITS : 0;
}

static GuestAddr rcrb_wanted(const Ich9Lpc *lpc)
{
    uint32_t rcba = pci_get32(&lpc->pci, REG_RCBA);
    return rcba & RCBA_ENABLE ? rcba & ~(uint32_t)(RCRB_SIZE - 1) : 0;
}

static void move_region(const Ich9Lpc *lpc, DeviceSpace space, GuestAddr *mapped, GuestAddr wanted,
                        Region *region, int priority)
{
    const DeviceHost *host = lpc->pci.device.host;
    if (*mapped == wanted || !region) {
        return;
    }
    if (*mapped) {
        host->unmap_region(host->opaque, space, *mapped, priority);
        *mapped = 0;
    }
    g_autoptr(GError) error = NULL;
    if (!wanted) {
        return;
    }
    if (host->map_region(host->opaque, space, wanted, region, priority, &error)) {
        *mapped = wanted;
    } else {
        log_guest_error("ich9-lpc: cannot map %s: %s", region->name, error->message);
    }
}

static void sync_maps(void *opaque)
{
    Ich9Lpc *lpc = opaque;
    move_region(lpc, DEVICE_SPACE_PORTS, &lpc->pm_mapped, pm_wanted(lpc), lpc->pm_region,
                PM_PRIORITY);
    move_region(lpc, DEVICE_SPACE_MEMORY, &lpc->rcrb_mapped, rcrb_wanted(lpc), &lpc->rcrb_region,
                RCRB_PRIORITY);
}

static void config_settled(PciDevice *pci, unsigned offset, unsigned size)
{
    if ((pci_ranges_overlap(offset, size, REG_PMBASE, 8) ||
         pci_ranges_overlap(offset, size, REG_RCBA, 4)) &&
        loop_call_wait(pci->device.host->loop, sync_maps, pci) < 0) {
        log_warn("ich9-lpc: no memory to change the address maps");
    }
}

static uint64_t rcrb_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void rcrb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    /* The wiring is fixed. */
}

static const RegionOps rcrb_ops = { rcrb_read, rcrb_write, 1, 8 };

/* Life */

static void init_registers(Ich9Lpc *lpc)
{
    PciDevice *pci = &lpc->pci;
    pci_put32(pci, REG_PMBASE, (uint32_t)lpc->pm_base | 1);
    pci_set_writable(pci, REG_PMBASE, 4, PMBASE_BITS);
    pci_put8(pci, REG_ACPI_CNTL, lpc->pm_base ? ACPI_CNTL_ENABLE : 0);
    pci_set_writable(pci, REG_ACPI_CNTL, 1, ACPI_CNTL_ENABLE | 7);
    for (unsigned pirq = 0; pirq < PCI_PIRQS; pirq++) {
        pci_put8(pci, route_register(pirq), PIRQ_DISABLED);
        pci_set_writable(pci, route_register(pirq), 1, PIRQ_DISABLED | 0x0f);
    }
    pci_set_writable(pci, REG_GEN_PMCON_1, 2, 0xffff);
    pci_set_writable(pci, REG_RCBA, 4, RCBA_BITS);
}

static bool ich9_lpc_realize(Device *dev, GError **error)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    static const PciIdentity identity = {
        .vendor = VENDOR_INTEL, .device = DEVICE_ICH9_LPC, .revision = 2, .class_code = 0x060100
    };
    pci_device_init(&lpc->pci, &identity);
    lpc->pci.config_written = config_written;
    lpc->pci.config_settled = config_settled;
    init_registers(lpc);
    lpc->rcrb_region =
        (Region){ .name = "ich9-rcrb", .size_bytes = RCRB_SIZE, .ops = &rcrb_ops, .opaque = lpc };
    pci_device_seal(&lpc->pci);
    pci_root_set_pirq_sink(lpc->pci.bus->root, set_pirq, lpc);
    load_routes(lpc);
    sync_maps(lpc);
    return true;
}

static void ich9_lpc_unrealize(Device *dev)
{
    Ich9Lpc *lpc = (Ich9Lpc *)dev;
    pci_root_set_pirq_sink(lpc->pci.bus->root, NULL, NULL);
    move_region(lpc, DEVICE_SPACE_PORTS, &lpc->pm_mapped, 0, lpc->pm_region, PM_PRIORITY);
    move_region(lpc, DEVICE_SPACE_MEMORY, &lpc->rcrb_mapped, 0, &lpc->rcrb_region, RCRB_PRIORITY);
    pci_device_done(&lpc->pci);
}

static void ich9_lpc_reset(Device *dev, ResetKind kind)
{
    pci_device_reset((PciDevice *)dev);
    load_routes((Ich9Lpc *)dev);
    sync_maps(dev);
}

static bool ich9_lpc_post_load(Device *dev, GError **error)
{
    if (!pci_device_post_load((PciDevice *)dev, error)) {
        return false;
    }
    load_routes((Ich9Lpc *)dev);
    sync_maps(dev);
    return true;
}

void ich9_lpc_set_pm_region(Device *lpc, Region *region)
{
    lodge_assert(lpc->class == &ich9_lpc_class && !lpc->is_realized);
    ((Ich9Lpc *)lpc)->pm_region = region;
}

uint16_t ich9_lpc_pm_base(const Device *lpc)
{
    lodge_assert(lpc->class == &ich9_lpc_class);
    return (uint16_t)pm_wanted((const Ich9Lpc *)lpc);
}

static const Property properties[] = {
    PCI_PROPERTIES,
    { .name = "pm-base",
      .kind = PROPERTY_UINT,
      .offset = offsetof(Ich9Lpc, pm_base),
      .max = PMBASE_BITS,
      .help = "port of the power management block after reset; 0: the firmware says" },
    { .name = NULL },
};

static const StateField fields[] = { STATE_STRUCT(Ich9Lpc, pci, &pci_device_state), STATE_END };
static const StateTable state = { .name = "ich9-lpc", .version = 1, .fields = fields };

const DeviceClass ich9_lpc_class = {
    .name = "ich9-lpc",
    .summary = "LPC bridge with interrupt routing and power management",
    .bus = DEVICE_BUS_PCI,
    .is_internal = true,
    .instance_size = sizeof(Ich9Lpc),
    .properties = properties,
    .state = &state,
    .realize = ich9_lpc_realize,
    .unrealize = ich9_lpc_unrealize,
    .reset = ich9_lpc_reset,
    .post_load = ich9_lpc_post_load,
};
