/* ACPI power management registers of the ICH9: events, control, timer, general purpose events.
 *
 * irq[0]: the SCI (GSI 9, level-triggered). Registers lie at PMBASE of the LPC bridge
 * (ich9_lpc_set_pm_region(lpc, acpi_pm_region(pm))), or at the property iobase.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICES_ACPI_PM_H
#define LODGE_VMM_DEVICES_ACPI_PM_H

#include "vmm/device/device.h"

#define ACPI_PM_BASE 0x600 /* where firmware and tables put the block */
#define ACPI_PM_SIZE 128
/* Offsets in the block, for the FADT. */
#define ACPI_PM1_EVENT 0x00
#define ACPI_PM1_CONTROL 0x04
#define ACPI_PM_TIMER 0x08
#define ACPI_GPE0 0x20
#define ACPI_GPE0_BYTES 16 /* status, then enable */
/* SMI_CMD and the values that switch ACPI mode on and off. */
#define ACPI_SMI_COMMAND 0xb2
#define ACPI_SMI_ENABLE 2
#define ACPI_SMI_DISABLE 3
/* SLP_TYP values, for the DSDT's _S3, _S4 and _S5. */
#define ACPI_SLEEP_S5 0
#define ACPI_SLEEP_S3 1
#define ACPI_SLEEP_S4 2
#define ACPI_SCI_GSI 9

extern const DeviceClass acpi_pm_class;

/* The register block, for a bridge that maps it. Valid from device_new() on. */
Region *acpi_pm_region(Device *pm);

/* The user presses the power button. Context: any thread. */
void acpi_pm_power_button(Device *pm);

/* General purpose event @bit (0..63) happens. Context: any thread. */
void acpi_pm_raise_gpe(Device *pm, unsigned bit);

#endif
