/* Registers of hardware-reduced ACPI (ACPI 6.4, 4.1): sleep control, reset, and the events of a
 * generic event device (5.6.9). One page of memory at ACPI_GED_BASE:
 *
 *   0x00  32 bits  events that happened: reading clears them; bit 0 the power button
 *   0x10   8 bits  sleep control, 0x11 sleep status: SLP_TYP 5 with SLP_EN powers off
 *   0x18   8 bits  reset: writing ACPI_GED_RESET_VALUE resets
 *
 * irq[0]: rises with an event. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICES_GED_H
#define LODGE_VMM_DEVICES_GED_H

#include "vmm/device/device.h"

#define ACPI_GED_BASE 0xfea00000u
#define ACPI_GED_SIZE 0x1000u
#define ACPI_GED_EVENTS 0x00
#define ACPI_GED_SLEEP 0x10
#define ACPI_GED_RESET 0x18
#define ACPI_GED_RESET_VALUE 0x42
#define ACPI_GED_SLEEP_S5 5
#define ACPI_GED_POWER_BUTTON 0x1u

extern const DeviceClass acpi_ged_class;

/* The user presses the power button. Context: any thread. */
void acpi_ged_power_button(Device *ged);

#endif
