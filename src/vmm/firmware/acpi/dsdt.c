/* ACPI: Differentiated System Description Table: processors, sleep, and devices without PCI.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/acpi-pm.h"
#include "vmm/firmware/acpi/internal.h"

#include <stdio.h>

/* Hardware-reduced sleep type of S5; written to the sleep control register. */
#define REDUCED_SLEEP_S5 5

static void add_sleep(Aml *aml, const AcpiConfig *config)
{
    unsigned type = config->is_pc ? ACPI_SLEEP_S5 : REDUCED_SLEEP_S5;
    aml_name(aml, "\\_S5");
    aml_begin_package(aml);
    aml_integer(aml, type);
    aml_integer(aml, type);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_end(aml);
}

static void add_processors(Aml *aml, const AcpiConfig *config)
{
    for (unsigned i = 0; i < config->vcpu_count; i++) {
        char name[5];
        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        aml_begin_device(aml, name);
        aml_name_string(aml, "_HID", "ACPI0007");
        aml_name_integer(aml, "_UID", i);
        aml_end(aml);
    }
}

GuestAddr acpi_add_dsdt(AcpiTables *tables, const AcpiConfig *config)
{
    g_autoptr(Aml) aml = aml_new();
    add_sleep(aml, config);
    aml_begin_scope(aml, "\\_SB");
    add_processors(aml, config);
    if (config->pci) {
        dsdt_add_pci(aml, config->pci);
    }
    dsdt_add_legacy(aml, config);
    dsdt_add_virtio_mmio(aml, config);
    dsdt_add_event_device(aml, config);
    aml_end(aml);
    guint start = acpi_begin_table(tables, "DSDT", 2);
    const GByteArray *code = aml_bytes(aml);
    g_byte_array_append(tables->bytes, code->data, code->len);
    return acpi_end_table(tables, start);
}
