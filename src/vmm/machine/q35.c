/* The q35 machine: chips, buses and tables.
 *
 *   0xb0000000  PCI Express configuration space, 256 MiB
 *   0xc0000000  PCI memory, to the chips at 0xfec00000
 *   above RAM   64-bit PCI memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/q35.h"

#include "base/int-math.h"
#include "base/log.h"
#include "vmm/devices/acpi-pm.h"
#include "vmm/devices/devices.h"
#include "vmm/devices/fw-cfg.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/pc.h"

#include <stdio.h>

#define ECAM_BASE 0xb0000000u
#define ECAM_SIZE 0x10000000u
#define PCI_WINDOW32 (ECAM_BASE + ECAM_SIZE)
#define PCI_WINDOW32_LAST 0xfebfffffu
#define PCI_WINDOW64_BYTES (64 * GIB)
#define PIRQ_GSI 16

/* PCI root, host bridge and LPC bridge, which leads PIRQ lines to interrupt inputs. */
static bool add_pci(Machine *machine, GError **error)
{
    machine->pci_root = pci_root_new(PCI_ROOT_BUS_NAME);
    g_autofree char *ecam = g_strdup_printf("%u", ECAM_BASE);
    const char *const host_properties[] = { "addr", "0", "ecam-base", ecam, NULL };
    if (!machine_add(machine, &q35_host_class, host_properties, NULL, 0, error)) {
        return false;
    }
    IrqLine lines[PIRQ_GSI + PCI_PIRQS];
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        lines[i] = i == 2 ? (IrqLine){ 0 } : machine_gsi_line(machine, i);
    }
    g_autofree char *pm = g_strdup_printf("%u", ACPI_PM_BASE);
    const char *const lpc_properties[] = {
        "addr", "1f", "multifunction", "on", "pm-base", pm, NULL
    };
    MachineDevice *lpc = machine_device_prepare(machine, &ich9_lpc_class, lpc_properties, lines,
                                                G_N_ELEMENTS(lines), error);
    if (!lpc) {
        return false;
    }
    ich9_lpc_set_pm_region(lpc->device, acpi_pm_region(machine->acpi_pm));
    return machine_device_realize(lpc, error);
}

bool q35_build(Machine *machine, GError **error)
{
    return pc_add_irq_chips(machine, true, error) && pc_add_timers(machine, error) &&
           pc_add_acpi_pm(machine, error) && add_pci(machine, error) &&
           machine_add(machine, &i8042_class, NULL,
                       (IrqLine[]){ machine_gsi_line(machine, 1), machine_gsi_line(machine, 12) },
                       2, error) &&
           machine_add(machine, &port92_class, NULL, NULL, 0, error) &&
           pc_add_fw_cfg(machine, error);
}

static void fill_e820(Machine *machine)
{
    E820Map *map = &machine->e820;
    pc_fill_low_e820(machine);
    e820_add(map, ECAM_BASE, ECAM_SIZE, E820_RESERVED);
    e820_add(map, 0xfed1c000u, 0x4000, E820_RESERVED); /* chip registers of an ICH9 */
    e820_add(map, 4 * GIB, machine->high_ram_bytes, E820_RAM);
}

/* 64-bit PCI memory above RAM, as far as the processor's addresses reach. */
static AcpiRange window64(const Machine *machine)
{
    GuestAddr base = round_up(4 * GIB + machine->high_ram_bytes, GIB);
    GuestAddr limit = UINT64_C(1) << machine->phys_bits;
    GuestAddr end = min_u64(base + PCI_WINDOW64_BYTES, limit);
    return end > base ? (AcpiRange){ base, end - 1 } : (AcpiRange){ 0, 0 };
}

bool q35_finish(Machine *machine, GError **error)
{
    AcpiPci pci = {
        .ecam = ECAM_BASE,
        .window32 = { PCI_WINDOW32, PCI_WINDOW32_LAST },
        .window64 = window64(machine),
    };
    for (unsigned slot = 0; slot < ACPI_PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < ACPI_PCI_PINS; pin++) {
            unsigned pirq = pci_pirq_of(machine->pci_root, PCI_DEVFN_OF(slot, 0), pin + 1);
            pci.gsi[slot][pin] = (uint8_t)(PIRQ_GSI + pirq);
        }
    }
    AcpiConfig acpi = {
        .is_pc = true,
        .has_i8042 = true,
        .has_rtc = true,
        .has_hpet = machine->config->machine.has_hpet,
        .has_timer_override = true,
        .pci = &pci,
    };
    fill_e820(machine);
    return pc_add_serials(machine, error) && pc_finish(machine, &acpi, error);
}
