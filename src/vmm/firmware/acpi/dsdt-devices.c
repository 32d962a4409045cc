/* ACPI: devices of the DSDT at fixed places: ports of a PC, virtio-mmio, the generic event device.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/acpi-pm.h"
#include "vmm/firmware/acpi/internal.h"

#include <stdio.h>

static void begin_device(Aml *aml, const char *name, const char *hid)
{
    aml_begin_device(aml, name);
    aml_name_eisa_id(aml, "_HID", hid);
}

static void add_serial(Aml *aml, unsigned index, const AcpiSerial *serial)
{
    char name[5];
    snprintf(name, sizeof(name), "COM%u", (index + 1) % 10);
    begin_device(aml, name, "PNP0501");
    aml_name_integer(aml, "_UID", index + 1);
    aml_name_integer(aml, "_STA", 0x0f);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_io(aml, serial->port, 8);
    aml_resource_irq(aml, serial->irq);
    aml_end(aml);
    aml_end(aml);
}

static void add_i8042(Aml *aml)
{
    begin_device(aml, "KBD", "PNP0303");
    aml_name_integer(aml, "_STA", 0x0f);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_io(aml, 0x60, 1);
    aml_resource_io(aml, 0x64, 1);
    aml_resource_irq(aml, 1);
    aml_end(aml);
    aml_end(aml);
    begin_device(aml, "MOU", "PNP0F13");
    aml_name_integer(aml, "_STA", 0x0f);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_irq(aml, 12);
    aml_end(aml);
    aml_end(aml);
}

static void add_rtc(Aml *aml)
{
    begin_device(aml, "RTC", "PNP0B00");
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_io(aml, 0x70, 8);
    aml_resource_irq(aml, 8);
    aml_end(aml);
    aml_end(aml);
}

static void add_hpet(Aml *aml)
{
    begin_device(aml, "HPET", "PNP0103");
    aml_name_integer(aml, "_UID", 0);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_memory32(aml, 0xfed00000u, 0x400, false);
    aml_end(aml);
    aml_end(aml);
}

/* Ports and memory of the board itself, so that no device is put there. */
static void add_board(Aml *aml, const AcpiConfig *config)
{
    begin_device(aml, "MBRD", "PNP0C02");
    aml_name_integer(aml, "_UID", 1);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_io(aml, 0x4d0, 2);
    aml_resource_io(aml, ACPI_PM_BASE, ACPI_PM_SIZE);
    if (config->pci) {
        aml_resource_memory32(aml, (uint32_t)config->pci->ecam, 0x10000000, true);
    }
    aml_end(aml);
    aml_end(aml);
}

void dsdt_add_legacy(Aml *aml, const AcpiConfig *config)
{
    for (unsigned i = 0; i < ACPI_SERIALS_MAX; i++) {
        if (config->serial[i].port) {
            add_serial(aml, i, &config->serial[i]);
        }
    }
    if (config->has_i8042) {
        add_i8042(aml);
    }
    if (config->has_rtc) {
        add_rtc(aml);
    }
    if (config->has_hpet) {
        add_hpet(aml);
    }
    if (config->is_pc) {
        add_board(aml, config);
    }
}

void dsdt_add_virtio_mmio(Aml *aml, const AcpiConfig *config)
{
    for (unsigned i = 0; i < config->virtio_mmio_count; i++) {
        const AcpiVirtioMmio *v = &config->virtio_mmio[i];
        char name[5];
        snprintf(name, sizeof(name), "VR%02X", i & 0xff);
        aml_begin_device(aml, name);
        aml_name_string(aml, "_HID", "LNRO0005");
        aml_name_integer(aml, "_UID", i);
        aml_name_integer(aml, "_CCA", 1);
        aml_name(aml, "_CRS");
        aml_begin_resources(aml);
        aml_resource_memory32(aml, (uint32_t)v->base, v->size_bytes, true);
        aml_resource_interrupt(aml, v->gsi, false, false);
        aml_end(aml);
        aml_end(aml);
    }
}

/* Generic event device (ACPI 5.6.9) with one event, the power button. Reading its register tells
 * what happened and clears it. */
void dsdt_add_event_device(Aml *aml, const AcpiConfig *config)
{
    if (!config->event_register) {
        return;
    }
    aml_begin_device(aml, "PWRB");
    aml_name_eisa_id(aml, "_HID", "PNP0C0C");
    aml_name_integer(aml, "_UID", 0);
    aml_end(aml);
    aml_begin_device(aml, "GED");
    aml_name_string(aml, "_HID", "ACPI0013");
    aml_name_integer(aml, "_UID", 0);
    aml_name(aml, "_CRS");
    aml_begin_resources(aml);
    aml_resource_interrupt(aml, config->event_gsi, true, false);
    aml_end(aml);
    aml_operation_region(aml, "EREG", AML_SPACE_MEMORY, config->event_register, 4);
    aml_field(aml, "EREG", 4, "ESEL", 32);
    aml_begin_method(aml, "_EVT", 1);
    aml_store(aml);
    aml_path(aml, "ESEL");
    aml_local(aml, 0);
    aml_begin_if(aml);
    aml_and(aml);
    aml_local(aml, 0);
    aml_integer(aml, 1);
    aml_no_target(aml);
    aml_notify(aml, "PWRB", 0x80);
    aml_end(aml);
    aml_end(aml);
    aml_end(aml);
}
