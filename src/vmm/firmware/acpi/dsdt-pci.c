/* ACPI: the PCI Express root of the DSDT: windows, interrupt routing, operating system control.
 * Source: PCI Firmware Specification 3.2, "_OSC"; ACPI 6.4, "_PRT".
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/acpi/internal.h"

#define OSC_UUID "33db4d5b-1ff7-401c-9657-7441c03dd766"
/* Control that the guest gets: native hot plug, PME, AER, capability structure; no SHPC. */
#define OSC_GRANTED 0x1d
#define OSC_UNKNOWN_UUID 4

static void add_windows(Aml *aml, const AcpiPci *pci)
{
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_bus_numbers(aml, 0, 255);
    aml_resource_io(aml, 0xcf8, 8);
    aml_resource_io_window(aml, 0x0000, 0x0cf7);
    aml_resource_io_window(aml, 0x0d00, 0xffff);
    aml_resource_memory_window(aml, 0xa0000, 0xbffff, true);
    if (pci->window32.last > pci->window32.first) {
        aml_resource_memory_window(aml, pci->window32.first, pci->window32.last, false);
    }
    if (pci->window64.last > pci->window64.first) {
        aml_resource_memory_window(aml, pci->window64.first, pci->window64.last, true);
    }
    aml_end(aml);
}

/* Each pin of each slot leads to an IO-APIC input of its own choice: no link devices. */
static void add_routing(Aml *aml, const AcpiPci *pci)
{
    aml_name(aml, "_PRT");
    aml_begin_package(aml);
    for (unsigned slot = 0; slot < ACPI_PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < ACPI_PCI_PINS; pin++) {
            aml_begin_package(aml);
            aml_integer(aml, (uint64_t)slot << 16 | 0xffff);
            aml_integer(aml, pin);
            aml_integer(aml, 0);
            aml_integer(aml, pci->gsi[slot][pin]);
            aml_end(aml);
        }
    }
    aml_end(aml);
}

static void capability_field(Aml *aml, unsigned offset, const char *name)
{
    aml_create_dword_field(aml);
    aml_arg(aml, 3);
    aml_integer(aml, offset);
    aml_path(aml, name);
}

static void add_osc(Aml *aml)
{
    aml_begin_method(aml, "_OSC", 4);
    capability_field(aml, 0, "CDW1");
    aml_begin_if(aml);
    aml_equal(aml);
    aml_arg(aml, 0);
    aml_uuid(aml, OSC_UUID);
    capability_field(aml, 8, "CDW3");
    aml_and(aml);
    aml_path(aml, "CDW3");
    aml_integer(aml, OSC_GRANTED);
    aml_path(aml, "CDW3");
    aml_end(aml);
    aml_begin_else(aml);
    aml_or(aml);
    aml_path(aml, "CDW1");
    aml_integer(aml, OSC_UNKNOWN_UUID);
    aml_path(aml, "CDW1");
    aml_end(aml);
    aml_return(aml);
    aml_arg(aml, 3);
    aml_end(aml);
}

void dsdt_add_pci(Aml *aml, const AcpiPci *pci)
{
    aml_begin_device(aml, "PCI0");
    aml_name_eisa_id(aml, "_HID", "PNP0A08");
    aml_name_eisa_id(aml, "_CID", "PNP0A03");
    aml_name_integer(aml, "_UID", 0);
    aml_name_integer(aml, "_SEG", 0);
    aml_name_integer(aml, "_BBN", 0);
    aml_name_integer(aml, "_CCA", 1);
    add_windows(aml, pci);
    add_routing(aml, pci);
    add_osc(aml);
    aml_end(aml);
}
