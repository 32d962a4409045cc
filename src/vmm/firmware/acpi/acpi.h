/* ACPI tables for a machine: ACPI 6.4, MCFG of the PCI Firmware Specification 3.2, HPET of the
 * IA-PC HPET Specification 1.0a, WAET of Microsoft's "Windows ACPI Emulated Devices Table".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_ACPI_ACPI_H
#define LODGE_VMM_FIRMWARE_ACPI_ACPI_H

#include "vmm/memory/address-map.h"

#include <glib.h>

#define ACPI_SERIALS_MAX 4
#define ACPI_VIRTIO_MMIO_MAX 32
#define ACPI_PCI_SLOTS 32
#define ACPI_PCI_PINS 4

typedef struct AcpiSerial {
    uint16_t port; /* 0: no such port */
    uint8_t irq;
} AcpiSerial;

typedef struct AcpiVirtioMmio {
    GuestAddr base;
    uint32_t size_bytes;
    uint32_t gsi;
} AcpiVirtioMmio;

typedef struct AcpiRange {
    uint64_t first, last; /* empty when last < first or both are 0 */
} AcpiRange;

/* Root bus of PCI Express with configuration space at @ecam. */
typedef struct AcpiPci {
    GuestAddr ecam;
    AcpiRange window32, window64;
    uint8_t gsi[ACPI_PCI_SLOTS][ACPI_PCI_PINS]; /* of INTA-INTD of each slot */
} AcpiPci;

/* What the tables describe. */
typedef struct AcpiConfig {
    unsigned vcpu_count;
    const uint32_t *apic_ids; /* @vcpu_count */
    /* Legacy PC: 8259s, PM registers in ports, i8042, RTC; else hardware-reduced ACPI with the
     * sleep and reset registers and the event device of reduced.h. */
    bool is_pc;
    bool has_hpet, has_rtc, has_i8042;
    bool has_timer_override; /* IRQ 0 comes in on GSI 2 */
    const AcpiPci *pci;      /* NULL: none */
    AcpiSerial serial[ACPI_SERIALS_MAX];
    AcpiVirtioMmio virtio_mmio[ACPI_VIRTIO_MMIO_MAX];
    unsigned virtio_mmio_count;
    /* Hardware-reduced only: one register for sleep and reset, see AcpiReduced. */
    GuestAddr sleep_register, reset_register;
    uint8_t reset_value;
    GuestAddr event_register; /* of the generic event device, 0: none */
    uint32_t event_gsi;
} AcpiConfig;

/**
 * acpi_build - all tables in one piece
 * @base: where the piece will lie, a multiple of 16 within 0xe0000-0xfffff; the RSDP comes first
 *
 * (transfer full)
 */
GByteArray *acpi_build(const AcpiConfig *config, GuestAddr base);

#endif
