/* PCI buses: which function sits where, configuration accesses, interrupt routing, and where BARs
 * are mapped.
 *
 * One root bus of a machine ("pcie.0"), and one bus behind each bridge, named by the bridge's id.
 * Functions are plugged and unplugged on the main thread while no vCPU runs.
 *
 * Interrupts: pin INTA-INTD of a function is swizzled through bridges to one of the root's eight
 * lines PIRQA-PIRQH (0-7), wired as on a q35: slots 0-24 use E-H by (slot + pin) mod 4, slots 25-31
 * use A-D by pin. The root's sink (the LPC bridge) leads each line to IO-APIC input 16 + n and, as
 * its registers say, to an 8259 input.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_PCI_PCI_BUS_H
#define LODGE_VMM_BUS_PCI_PCI_BUS_H

#include "vmm/bus/pci/pci-device.h"

#define PCI_PIRQS 8
#define PCI_ROOT_BUS_NAME "pcie.0"

/* BARs are seen below everything that is mapped with a priority of 0 or more. */
#define PCI_BAR_PRIORITY (-1)

struct PciBus {
    char *name;
    PciDevice *bridge; /* whose secondary bus this is; NULL: a root bus */
    PciBus *root;
    PciDevice *function[256]; /* by devfn; NULL: empty. Borrowed. */
    bool has_one_slot;        /* behind a PCI Express port: slot 0 only */

    /* of a root bus */
    pthread_mutex_t lock;
    unsigned pirq_count[PCI_PIRQS]; /* functions that hold the line; under lock */
    void (*pirq_set)(void *opaque, unsigned pirq, bool level);
    void *pirq_opaque;
};

/* A root bus without devices. Free it after all of them are unplugged. */
PciBus *pci_root_new(const char *name);
void pci_root_free(PciBus *root);

/**
 * pci_bus_plug - give a function its place
 * @root: of the machine
 * @dev:  not realized yet; its properties bus and addr say where it wants to be
 *
 * Without an address the first empty slot is taken. Returns: false, @error says what is wrong: no
 * such bus (those that exist are named), bad address, place taken, no slot left.
 */
bool pci_bus_plug(PciBus *root, PciDevice *dev, GError **error);
/* Takes @dev (may be unplugged already) from its bus. Not while it is realized. */
void pci_bus_unplug(PciDevice *dev);

/* The bus called @name below @root, or NULL. */
PciBus *pci_bus_find(PciBus *root, const char *name);

/* Visits every function below @root: by rising devfn, a bridge before what is behind it. */
void pci_for_each(PciBus *root, void (*func)(void *opaque, PciDevice *dev), void *opaque);

/* Bus number as the guest programmed it into the bridges; 0 for the root bus. */
unsigned pci_bus_number(const PciBus *bus);

/* Root line (0-7) to which @pin (1-4) of a function leads. */
unsigned pci_pirq_of(const PciBus *bus, uint8_t devfn, unsigned pin);
/* Where the root lines end. @set is called with the root's lock held: any thread, leaf locks only.
 */
void pci_root_set_pirq_sink(PciBus *root, void (*set)(void *opaque, unsigned pirq, bool level),
                            void *opaque);

/* Calls the sink for each line with its present level. Context: any thread. */
void pci_root_refresh_pirqs(PciBus *root);

/**
 * pci_config_read, pci_config_write - configuration access of a guest
 * @bus, @devfn: target; nothing there: reads give ones, writes are dropped
 * @offset:      0 to 4095, aligned to @size
 * @size:        1, 2 or 4
 *
 * Context: any thread that holds no device lock and that the loop's thread does not wait for: a
 * write that moves a BAR returns when the BAR is mapped.
 */
uint32_t pci_config_read(PciBus *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size);
void pci_config_write(PciBus *root, unsigned bus, uint8_t devfn, unsigned offset, uint32_t value,
                      unsigned size);

/* Maps and unmaps BARs as registers and bridges' windows say. Context: the loop. */
void pci_sync_mappings(PciBus *root);

#endif
