/* The chips of a q35 machine that are PCI functions: the 82G33/Q35-class host bridge with PCI
 * Express configuration space, and the ICH9 LPC bridge with interrupt routing.
 *
 * Port 0xcf9 (reset control) belongs to q35-host. Classes "q35-host" (plug at address 0) and
 * "ich9-lpc" (plug at address 1f, as first of slot 31), both made by the machine. Interrupt outputs
 * host->irq[n] of ich9-lpc: n = 0-15 inputs of the 8259s, level-triggered, for lines routed by
 * PIRQx_ROUT; host->irq[16 + n]: IO-APIC input 16 + n for PIRQA + n. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_PCI_Q35_H
#define LODGE_VMM_BUS_PCI_Q35_H

#include "vmm/bus/pci/pci-bus.h"

/* Properties of q35-host:
 *   ecam-base  where ECAM is after reset; 0: the guest's firmware enables it (register 0x60)
 * Properties of ich9-lpc:
 *   pm-base    PMBASE after reset with ACPI enabled; 0: the guest's firmware sets it
 */
extern const DeviceClass q35_host_class;
extern const DeviceClass ich9_lpc_class;
extern const DeviceClass pcie_root_port_class;

/* The three of them, for the registry; ends with NULL. */
extern const DeviceClass *const pci_classes[];

/* What the segments of 0xc0000-0xfffff show: called on the loop for each segment of 16 KiB
 * (0xf0000: 64 KiB) that changed, and at realize and reset. @readable, @writable: RAM; else what
 * lies below (ROM, PCI). Set before realize; optional. */
typedef void (*Q35PamFunc)(void *opaque, GuestAddr base, uint64_t size_bytes, bool readable,
                           bool writable);
void q35_host_set_pam_hook(Device *host_bridge, Q35PamFunc func, void *opaque);

/* The ACPI power management block, mapped at PMBASE while ACPI_CNTL enables it. @region: borrowed;
 * set before realize; optional. */
void ich9_lpc_set_pm_region(Device *lpc, Region *region);

/* Where PMBASE is, or 0 while it is disabled. */
uint16_t ich9_lpc_pm_base(const Device *lpc);

#endif
