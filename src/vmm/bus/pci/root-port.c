/* PCI Express root port with one slot (PCI Express Base 4.0): "pcie-root-port".
 *
 * The bus behind it is named by the port's id. The slot reports presence and an active link; its
 * control bits are stored. Leaves out: power fault and attention buttons, AER, PME messages, and
 * devices that come or go while the guest runs.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/bus/pci/pci-private.h"
#include "vmm/bus/pci/q35.h"

typedef struct RootPort {
    PciDevice pci;
    uint64_t chassis, slot;
} RootPort;

#define VENDOR_RED_HAT 0x1b36
#define DEVICE_PCIE_ROOT_PORT 0x000c

static void init_slot(RootPort *port, unsigned at)
{
    PciDevice *pci = &port->pci;
    uint16_t flags = pci_get16(pci, at + PCI_EXP_FLAGS);
    pci_put16(pci, at + PCI_EXP_FLAGS, flags | PCI_EXP_FLAGS_SLOT);
    pci_put32(pci, at + PCI_EXP_LNKCAP,
              pci_get32(pci, at + PCI_EXP_LNKCAP) | PCI_EXP_LNKCAP_DLLLARC);
    pci_put32(pci, at + PCI_EXP_SLTCAP,
              PCI_EXP_SLTCAP_HPS | PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_NCCS |
                  (uint32_t)port->slot << 19);
    pci_set_writable(pci, at + PCI_EXP_SLTCTL, 2,
                     PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_DLLSCE);
    pci_set_write_clear(pci, at + PCI_EXP_SLTSTA, 2, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
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
    pci_device_reset((PciDevice *)dev);
    refresh_slot((PciDevice *)dev);
}

static bool root_port_post_load(Device *dev, GError **error)
{
    if (!pci_device_post_load((PciDevice *)dev, error)) {
        return false;
    }
    refresh_slot((PciDevice *)dev);
    return true;
}

static const Property properties[] = {
    PCI_PROPERTIES,
    { .name = "chassis",
      .kind = PROPERTY_UINT,
      .offset = offsetof(RootPort, chassis),
      .max = 255,
      .help = "number of the chassis; has no effect on the guest" },
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
