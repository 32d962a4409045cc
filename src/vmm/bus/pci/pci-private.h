/* What the files of this folder share beyond their public headers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_PCI_PCI_PRIVATE_H
#define LODGE_VMM_BUS_PCI_PCI_PRIVATE_H

#include "vmm/bus/pci/pci-bus.h"

/* A guest's access to @dev's config space; offset + size within it. Context: as pci_config_read().
 */
uint32_t pci_device_config_read(PciDevice *dev, unsigned offset, unsigned size);
void pci_device_config_write(PciDevice *dev, unsigned offset, uint32_t value, unsigned size);

/* Recomputes where BARs and bridge windows are from the registers. Context: lock held. */
void pci_device_update_decode(PciDevice *dev);

/* Maps BARs of one device. Context: the loop. */
void pci_device_sync_bars(PciDevice *dev);

/* Tells the bus about a change of the function's line. Context: any thread. */
void pci_bus_set_intx(PciDevice *dev, bool level);

/* Makes the bus behind a bridge. @name: copied. */
PciBus *pci_bus_new_secondary(PciDevice *bridge, const char *name);
void pci_bus_free(PciBus *bus);

/* Message-signalled parts of a config write, reset and load. Context: lock held. */
void pci_msi_config_written(PciDevice *dev, unsigned offset, unsigned size);
void pci_msi_reset(PciDevice *dev);
uint32_t pci_msi_get_pending(const PciDevice *dev);
void pci_msi_post_load(PciDevice *dev, uint32_t msi_pending);

static inline bool pci_ranges_overlap(unsigned a, unsigned a_size, unsigned b, unsigned b_size)
{
    return a < b + b_size && b < a + a_size;
}

#endif
