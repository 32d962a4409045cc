/* ACPI: Multiple APIC Description Table (5.2.12).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/acpi-pm.h"
#include "vmm/firmware/acpi/internal.h"

#define LAPIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u
#define IOAPIC_ID 0

#define TYPE_LAPIC 0
#define TYPE_IOAPIC 1
#define TYPE_OVERRIDE 2
#define TYPE_LAPIC_NMI 4
#define TYPE_X2APIC 9
#define ENABLED 1
#define PCAT_COMPAT 1
#define XAPIC_ID_MAX 254

/* MPS INTI flags */
#define BUS_DEFAULT 0
#define ACTIVE_HIGH_LEVEL 0x0d
#define ACTIVE_HIGH_EDGE 0x05

static void put_processor(AcpiTables *t, unsigned index, uint32_t apic_id)
{
    if (apic_id <= XAPIC_ID_MAX) {
        acpi_put8(t, TYPE_LAPIC);
        acpi_put8(t, 8);
        acpi_put8(t, (uint8_t)index);
        acpi_put8(t, (uint8_t)apic_id);
        acpi_put32(t, ENABLED);
    } else {
        acpi_put8(t, TYPE_X2APIC);
        acpi_put8(t, 16);
        acpi_put16(t, 0);
        acpi_put32(t, apic_id);
        acpi_put32(t, ENABLED);
        acpi_put32(t, index);
    }
}

static void put_override(AcpiTables *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    acpi_put8(t, TYPE_OVERRIDE);
    acpi_put8(t, 10);
    acpi_put8(t, 0); /* ISA */
    acpi_put8(t, irq);
    acpi_put32(t, gsi);
    acpi_put16(t, flags);
}

GuestAddr acpi_add_madt(AcpiTables *t, const AcpiConfig *config)
{
    guint start = acpi_begin_table(t, "APIC", 4);
    acpi_put32(t, LAPIC_ADDRESS);
    acpi_put32(t, config->is_pc ? PCAT_COMPAT : 0);
    for (unsigned i = 0; i < config->vcpu_count; i++) {
        put_processor(t, i, config->apic_ids[i]);
    }
    acpi_put8(t, TYPE_IOAPIC);
    acpi_put8(t, 12);
    acpi_put8(t, IOAPIC_ID);
    acpi_put8(t, 0);
    acpi_put32(t, IOAPIC_ADDRESS);
    acpi_put32(t, 0); /* first GSI */
    if (config->has_timer_override) {
        put_override(t, 0, 2, BUS_DEFAULT);
    }
    if (config->is_pc) {
        put_override(t, ACPI_SCI_GSI, ACPI_SCI_GSI, ACTIVE_HIGH_LEVEL);
        acpi_put8(t, TYPE_LAPIC_NMI);
        acpi_put8(t, 6);
        acpi_put8(t, 0xff); /* every processor */
        acpi_put16(t, ACTIVE_HIGH_EDGE);
        acpi_put8(t, 1); /* LINT1 */
    }
    return acpi_end_table(t, start);
}
