/* The slot of a PCI Express root port, as the machine uses it for devices that come and go.
 *
 * Main thread; no vCPU runs while a device is plugged or unplugged.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_PCI_ROOT_PORT_H
#define LODGE_VMM_BUS_PCI_ROOT_PORT_H

#include "vmm/bus/pci/pci-bus.h"

/* Whether @bus is behind a slot, which the functions below are for. */
bool pcie_slot_is_hotpluggable(const PciBus *bus);

/* Tells the guest that a device came or has gone: after its realize, or its unplug. */
void pcie_slot_announce(PciBus *bus);

/* Asks the guest to let the device go; DeviceHost.slot_off of the port follows when it does. True:
 * the slot is without power, so that it may go at once. */
bool pcie_slot_request_eject(PciBus *bus);
/* The guest was asked, and has not let it go yet. */
bool pcie_slot_is_leaving(const PciBus *bus);

#endif
