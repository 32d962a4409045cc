/* The microvm machine: vCPUs, IO-APIC, virtio-mmio, hardware-reduced ACPI; no PCI, 8259, 8254,
 * i8042.
 *
 *   0xfea00000  power and events (vmm/devices/ged.h)
 *   0xfeb00000  virtio-mmio devices, 512 bytes each
 *
 * Guests need a clock that does without calibration: kvmclock, or CPUID's TSC leaf.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/devices/devices.h"
#include "vmm/devices/ged.h"
#include "vmm/machine/pc.h"

#define VIRTIO_MMIO_BASE 0xfeb00000u
#define VIRTIO_MMIO_STRIDE 0x200u
#define GED_GSI 9
#define RTC_GSI 8

/* Interrupt inputs of virtio-mmio devices, in the order given out. */
static const uint8_t mmio_gsis[] = {
    16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15
};

bool microvm_build(Machine *machine, GError **error)
{
    IrqLine ged_line = machine_gsi_line(machine, GED_GSI);
    if (!pc_add_irq_chips(machine, false, error)) {
        return false;
    }
    machine->acpi_ged = machine_add(machine, &acpi_ged_class, NULL, &ged_line, 1, error);
    bool has_rtc = machine->config->machine.rtc == TRISTATE_ON;
    return machine->acpi_ged &&
           (!has_rtc || pc_add_rtc(machine, machine_gsi_line(machine, RTC_GSI), error));
}

/* Devices so far. */
static unsigned count_virtio_mmio(const Machine *machine)
{
    unsigned count = 0;
    for (guint i = 0; i < machine->devices->len; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        count += md->device->class->bus == DEVICE_BUS_VIRTIO_MMIO;
    }
    return count;
}

bool microvm_place_virtio_mmio(MachineDevice *md, GError **error)
{
    unsigned number = count_virtio_mmio(md->machine);
    if (number >= G_N_ELEMENTS(mmio_gsis)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "machine 'microvm' has room for %zu virtio devices", G_N_ELEMENTS(mmio_gsis));
        return false;
    }
    g_autofree char *base = g_strdup_printf("%u", VIRTIO_MMIO_BASE + number * VIRTIO_MMIO_STRIDE);
    md->host.irq[0] = machine_gsi_line(md->machine, mmio_gsis[number]);
    return device_set_property(md->device, "mmio-base", base, error);
}

static void describe_virtio(const Machine *machine, AcpiConfig *acpi)
{
    acpi->virtio_mmio_count = count_virtio_mmio(machine);
    for (unsigned i = 0; i < acpi->virtio_mmio_count; i++) {
        acpi->virtio_mmio[i] = (AcpiVirtioMmio){
            .base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_STRIDE,
            .size_bytes = VIRTIO_MMIO_STRIDE,
            .gsi = mmio_gsis[i],
        };
    }
}

/* Without ACPI the kernel learns of virtio devices by its command line. */
static void announce_on_command_line(Machine *machine, const AcpiConfig *acpi)
{
    if (machine->config->machine.has_acpi ||
        machine->config->machine.auto_kernel_cmdline == TRISTATE_OFF) {
        return;
    }
    GString *text = g_string_new(machine->command_line);
    for (unsigned i = 0; i < acpi->virtio_mmio_count; i++) {
        const AcpiVirtioMmio *v = &acpi->virtio_mmio[i];
        g_string_append_printf(text, " virtio_mmio.device=%u@0x%" PRIx64 ":%u", v->size_bytes,
                               v->base, v->gsi);
    }
    g_free(machine->command_line);
    machine->command_line = g_string_free(text, FALSE);
}

bool microvm_finish(Machine *machine, GError **error)
{
    AcpiConfig acpi = {
        .has_rtc = machine->rtc != NULL,
        .sleep_register = ACPI_GED_BASE + ACPI_GED_SLEEP,
        .reset_register = ACPI_GED_BASE + ACPI_GED_RESET,
        .reset_value = ACPI_GED_RESET_VALUE,
        .event_register = ACPI_GED_BASE + ACPI_GED_EVENTS,
        .event_gsi = GED_GSI,
    };
    pc_fill_low_e820(machine);
    e820_add(&machine->e820, 4 * GIB, machine->high_ram_bytes, E820_RAM);
    if (machine->config->machine.has_isa_serial && !pc_add_serials(machine, error)) {
        return false;
    }
    describe_virtio(machine, &acpi);
    announce_on_command_line(machine, &acpi);
    return pc_finish(machine, &acpi, error);
}
