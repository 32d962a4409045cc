/* What the table files share. Inside vmm/firmware/acpi only.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_ACPI_INTERNAL_H
#define LODGE_VMM_FIRMWARE_ACPI_INTERNAL_H

#include "base/endian.h"
#include "vmm/firmware/acpi/acpi.h"
#include "vmm/firmware/acpi/aml.h"

#define ACPI_HEADER_BYTES 36

/* Tables under construction, one after the other. */
typedef struct AcpiTables {
    GByteArray *bytes;
    GuestAddr base; /* of bytes[0] */
} AcpiTables;

void acpi_put8(AcpiTables *tables, uint8_t value);
void acpi_put16(AcpiTables *tables, uint16_t value);
void acpi_put32(AcpiTables *tables, uint32_t value);
void acpi_put64(AcpiTables *tables, uint64_t value);
void acpi_zeroes(AcpiTables *tables, unsigned count);
/* Generic Address Structure; @space 0 memory, 1 I/O; width in bits. */
void acpi_put_address(AcpiTables *tables, uint8_t space, uint8_t bits, uint8_t access,
                      uint64_t address);

/* Starts a table at a multiple of 16 and writes its header. Returns its offset. */
guint acpi_begin_table(AcpiTables *tables, const char *signature, uint8_t revision);
/* Fills in length and checksum. Returns the table's guest address. */
GuestAddr acpi_end_table(AcpiTables *tables, guint start);

GuestAddr acpi_add_fadt(AcpiTables *tables, const AcpiConfig *config, GuestAddr dsdt);
GuestAddr acpi_add_madt(AcpiTables *tables, const AcpiConfig *config);
GuestAddr acpi_add_mcfg(AcpiTables *tables, const AcpiConfig *config);
GuestAddr acpi_add_hpet(AcpiTables *tables);
GuestAddr acpi_add_waet(AcpiTables *tables);
GuestAddr acpi_add_dsdt(AcpiTables *tables, const AcpiConfig *config);

/* Parts of the DSDT. */
void dsdt_add_pci(Aml *aml, const AcpiPci *pci);
/* Devices with fixed ports: serial ports, keyboard, clock. */
void dsdt_add_legacy(Aml *aml, const AcpiConfig *config);
void dsdt_add_virtio_mmio(Aml *aml, const AcpiConfig *config);
void dsdt_add_event_device(Aml *aml, const AcpiConfig *config);

#endif
