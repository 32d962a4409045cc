/* PCI Express root port with one slot (PCI Express Base 4.0): "pcie-root-port".
 *
 * The bus behind it is named by the port's id. Devices come and go while the guest runs: one that
 * came shows presence and an active link; one that is to go is announced by the attention button,
 * and leaves when the guest switches the slot's power and its indicator off. As long as the guest
 * has no driver for the slot, its power follows what is in it. Leaves out: power faults, command
 * completion (each takes effect at once), AER, PME messages.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/root-port.h"

#include "base/cleanup.h"
#include "gbase/error.h"
#include "vmm/bus/pci/pci-private.h"
#include "vmm/bus/pci/q35.h"

typedef struct RootPort {
    PciDevice pci;
    uint64_t chassis, slot;
    uint64_t port;      /* property without effect */
    bool is_signalling; /* an enabled event is pending, and was told */
    bool is_leaving;    /* what is in it was asked to go */
    bool is_off;        /* what is_switched_off() said after the last change */
} RootPort;

#define VENDOR_RED_HAT 0x1b36
#define DEVICE_PCIE_ROOT_PORT 0x000c

/* Events by their enable bits; status bits are the same but for the link's. */
#define SLOT_EVENTS (PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_DLLSCE)
#define SLOT_IS_OFF (PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF)
#define SLOT_EVENTS_STATUS (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC)

static void init_slot(RootPort *port, unsigned at)
{
    PciDevice *pci = &port->pci;
    uint16_t flags = pci_get16(pci, at + PCI_EXP_FLAGS);
    pci_put16(pci, at + PCI_EXP_FLAGS, flags | PCI_EXP_FLAGS_SLOT);
    pci_put32(pci, at + PCI_EXP_LNKCAP,
              pci_get32(pci, at + PCI_EXP_LNKCAP) | PCI_EXP_LNKCAP_DLLLARC);
    pci_put32(pci, at + PCI_EXP_SLTCAP,
              PCI_EXP_SLTCAP_ABP | PCI_EXP_SLTCAP_PCP | PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP |
                  PCI_EXP_SLTCAP_HPS | PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_NCCS |
                  (uint32_t)port->slot << 19);
    pci_set_writable(pci, at + PCI_EXP_SLTCTL, 2,
                     SLOT_EVENTS | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_AIC |
                         PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_PCC);
    pci_set_write_clear(pci, at + PCI_EXP_SLTSTA, 2, SLOT_EVENTS_STATUS);
    pci_set_writable(pci, at + PCI_EXP_RTCTL, 2,
                     PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE | PCI_EXP_RTCTL_SEFEE |
                         PCI_EXP_RTCTL_PMEIE);
}

/* Presence follows what is plugged; the machine plugs behind the port after its realize. */
static void refresh_slot(PciDevice *pci)
{
    unsigned at = pci->pcie_capability;
    bool is_present = pci->secondary && pci->secondary->function[0];
    uint16_t slot = pci_get16(pci, at + PCI_EXP_SLTSTA) & (uint16_t)~PCI_EXP_SLTSTA_PDS;
    pci_put16(pci, at + PCI_EXP_SLTSTA, slot | (is_present ? PCI_EXP_SLTSTA_PDS : 0));
    uint16_t link = pci_get16(pci, at + PCI_EXP_LNKSTA) & (uint16_t)~PCI_EXP_LNKSTA_DLLLA;
    pci_put16(pci, at + PCI_EXP_LNKSTA, link | (is_present ? PCI_EXP_LNKSTA_DLLLA : 0));
}

static bool is_switched_off(const PciDevice *pci)
{
    uint16_t control = pci_get16(pci, pci->pcie_capability + PCI_EXP_SLTCTL);
    return (control & (PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC)) == SLOT_IS_OFF;
}

/* Whether the guest has a driver for the slot: it wants to hear of events. */
static bool is_attended(const PciDevice *pci)
{
    uint16_t control = pci_get16(pci, pci->pcie_capability + PCI_EXP_SLTCTL);
    return control & (SLOT_EVENTS | PCI_EXP_SLTCTL_HPIE);
}

/* The power of an empty slot is off; a device that was there at power on has it. */
static void reset_power(RootPort *port)
{
    PciDevice *pci = &port->pci;
    unsigned at = pci->pcie_capability + PCI_EXP_SLTCTL;
    bool is_present = pci->secondary && pci->secondary->function[0];
    uint16_t control = pci_get16(pci, at) & (uint16_t) ~(PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC);
    pci_put16(pci, at, control | (is_present ? PCI_EXP_SLTCTL_PWR_IND_ON : SLOT_IS_OFF));
    port->is_off = is_switched_off(pci);
}

/* Whether an event is pending that the guest wants to hear of. */
static bool signals_event(const PciDevice *pci)
{
    uint16_t control = pci_get16(pci, pci->pcie_capability + PCI_EXP_SLTCTL);
    uint16_t status = pci_get16(pci, pci->pcie_capability + PCI_EXP_SLTSTA);
    bool is_pending = status & control & (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC) ||
                      (control & PCI_EXP_SLTCTL_DLLSCE && status & PCI_EXP_SLTSTA_DLLSC);
    return is_pending && control & PCI_EXP_SLTCTL_HPIE;
}

/* Raises or lowers the interrupt as events and their enable bits say. Context: lock held. */
static void update_interrupt(RootPort *port)
{
    PciDevice *pci = &port->pci;
    bool signals = signals_event(pci);
    bool is_new = signals && !port->is_signalling;
    port->is_signalling = signals;
    pci_set_irq(pci, signals && !pci_msi_is_enabled(pci));
    if (is_new && pci_msi_is_enabled(pci)) {
        pci_msi_notify(pci, 0);
    }
}

static void raise_events(RootPort *port, uint16_t events)
{
    unsigned at = port->pci.pcie_capability + PCI_EXP_SLTSTA;
    pci_put16(&port->pci, at, pci_get16(&port->pci, at) | events);
    update_interrupt(port);
}

/* When the guest switches the slot off the machine may take the device out. A slot that was off
 * stays as it is, whatever else is written: a device that just came is still to be switched on. */
static void slot_written(PciDevice *pci, unsigned offset, unsigned size)
{
    RootPort *port = (RootPort *)pci;
    unsigned at = pci->pcie_capability + PCI_EXP_SLTCTL;
    const DeviceHost *host = pci->device.host;
    bool is_present = pci_get16(pci, at + 2) & PCI_EXP_SLTSTA_PDS;
    if (pci_ranges_overlap(offset, size, at, 2)) {
        bool was_off = port->is_off;
        port->is_off = is_switched_off(pci);
        if (port->is_off && !was_off && is_present && host->slot_off) {
            host->slot_off(host->opaque);
        }
    }
    update_interrupt(port);
}

static RootPort *port_of(const PciBus *bus)
{
    return bus->bridge && bus->bridge->device.class == &pcie_root_port_class
               ? (RootPort *)bus->bridge
               : NULL;
}

bool pcie_slot_is_hotpluggable(const PciBus *bus)
{
    return port_of(bus) != NULL;
}

void pcie_slot_announce(PciBus *bus)
{
    RootPort *port = port_of(bus);
    LOCK_GUARD(&port->pci.device.lock);
    port->is_leaving = false;
    if (!is_attended(&port->pci)) {
        reset_power(port);
    }
    raise_events(port, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

bool pcie_slot_request_eject(PciBus *bus)
{
    RootPort *port = port_of(bus);
    LOCK_GUARD(&port->pci.device.lock);
    if (is_switched_off(&port->pci)) {
        return true;
    }
    port->is_leaving = true;
    raise_events(port, PCI_EXP_SLTSTA_ABP);
    return false;
}

bool pcie_slot_is_leaving(const PciBus *bus)
{
    RootPort *port = port_of(bus);
    if (!port) {
        return false;
    }
    LOCK_GUARD(&port->pci.device.lock);
    return port->is_leaving;
}

static bool root_port_realize(Device *dev, GError **error)
{
    RootPort *port = (RootPort *)dev;
    if (!dev->id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "needs an id: it names the bus behind the port");
        return false;
    }
    if (pci_bus_find(port->pci.bus->root, dev->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a bus '%s' already", dev->id);
        return false;
    }
    static const PciIdentity identity = { .vendor = VENDOR_RED_HAT,
                                          .device = DEVICE_PCIE_ROOT_PORT,
                                          /* PCI-to-PCI bridge */ .class_code = 0x060400,
                                          .interrupt_pin = 1,
                                          .is_bridge = true };
    pci_device_init(&port->pci, &identity);
    port->pci.slot_changed = refresh_slot;
    port->pci.config_written = slot_written;
    init_slot(port, pci_add_pcie_capability(&port->pci, PCI_EXP_TYPE_ROOT_PORT));
    pci_msi_init(&port->pci, 1);
    port->pci.secondary = pci_bus_new_secondary(&port->pci, dev->id);
    port->pci.secondary->has_one_slot = true;
    pci_device_seal(&port->pci);
    return true;
}

static void root_port_unrealize(Device *dev)
{
    pci_device_done((PciDevice *)dev);
}

static void root_port_reset(Device *dev, ResetKind kind)
{
    RootPort *port = (RootPort *)dev;
    pci_device_reset(&port->pci);
    port->is_signalling = false;
    refresh_slot(&port->pci);
    reset_power(port);
}

static bool root_port_post_load(Device *dev, GError **error)
{
    if (!pci_device_post_load((PciDevice *)dev, error)) {
        return false;
    }
    refresh_slot((PciDevice *)dev);
    RootPort *port = (RootPort *)dev;
    port->is_off = is_switched_off(&port->pci);
    port->is_signalling = signals_event(&port->pci); /* its message was sent */
    update_interrupt(port);
    return true;
}

static const Property properties[] = {
    PCI_PROPERTIES,
    { .name = "chassis",
      .kind = PROPERTY_UINT,
      .offset = offsetof(RootPort, chassis),
      .max = 255,
      .help = "number of the chassis; has no effect on the guest" },
    { .name = "port",
      .kind = PROPERTY_UINT,
      .offset = offsetof(RootPort, port),
      .max = 255,
      .help = "number of the port; has no effect on the guest" },
    { .name = "slot",
      .kind = PROPERTY_UINT,
      .offset = offsetof(RootPort, slot),
      .max = 8191,
      .help = "physical slot number that the guest shows" },
    { .name = NULL },
};

static const StateField fields[] = { STATE_STRUCT(RootPort, pci, &pci_device_state), STATE_END };
static const StateTable state = { .name = "pcie-root-port", .version = 1, .fields = fields };

const DeviceClass pcie_root_port_class = {
    .name = "pcie-root-port",
    .summary = "PCI Express port with one slot, for one device",
    .bus = DEVICE_BUS_PCI,
    .instance_size = sizeof(RootPort),
    .properties = properties,
    .state = &state,
    .realize = root_port_realize,
    .unrealize = root_port_unrealize,
    .reset = root_port_reset,
    .post_load = root_port_post_load,
};

const DeviceClass *const pci_classes[] = { &q35_host_class, &ich9_lpc_class, &pcie_root_port_class,
                                           NULL };
