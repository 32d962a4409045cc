/* Small tables: MCFG (PCI Firmware Specification 3.2), HPET (IA-PC HPET Specification 1.0a), WAET.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/acpi/internal.h"

#define HPET_ADDRESS 0xfed00000u
/* Vendor 8086h, legacy replacement, 64-bit counter, 3 timers, revision 1: as its register 0. */
#define HPET_ID 0x8086a201u
#define WAET_RTC_GOOD (1u << 0)
#define WAET_PM_TIMER_GOOD (1u << 1)

GuestAddr acpi_add_mcfg(AcpiTables *t, const AcpiConfig *config)
{
    guint start = acpi_begin_table(t, "MCFG", 1);
    acpi_put64(t, 0);
    acpi_put64(t, config->pci->ecam);
    acpi_put16(t, 0); /* segment */
    acpi_put8(t, 0);  /* first bus */
    acpi_put8(t, 255);
    acpi_put32(t, 0);
    return acpi_end_table(t, start);
}

GuestAddr acpi_add_hpet(AcpiTables *t)
{
    guint start = acpi_begin_table(t, "HPET", 1);
    acpi_put32(t, HPET_ID);
    acpi_put_address(t, 0, 0, 0, HPET_ADDRESS);
    acpi_put8(t, 0);  /* number */
    acpi_put16(t, 0); /* least tick without lost interrupts: unspecified */
    acpi_put8(t, 0);
    return acpi_end_table(t, start);
}

/* Tells guests that one read of the PM timer is enough, and that RTC interrupts need no second
 * acknowledge. */
GuestAddr acpi_add_waet(AcpiTables *t)
{
    guint start = acpi_begin_table(t, "WAET", 1);
    acpi_put32(t, WAET_RTC_GOOD | WAET_PM_TIMER_GOOD);
    return acpi_end_table(t, start);
}
