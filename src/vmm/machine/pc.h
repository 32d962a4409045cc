/* What PC-like machines have in common: chips, timers, serial ports, tables in low memory.
 * Within vmm/machine only. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MACHINE_PC_H
#define LODGE_VMM_MACHINE_PC_H

#include "vmm/firmware/acpi/acpi.h"
#include "vmm/machine/internal.h"

/* 8259s (with @has_8259), IO-APIC, local APICs; nothing with an accelerator that has its own. */
bool pc_add_irq_chips(Machine *machine, bool has_8259, GError **error);
/* HPET if wanted, PIT, RTC, in each other's way as on a PC. */
bool pc_add_timers(Machine *machine, GError **error);
bool pc_add_rtc(Machine *machine, IrqLine line, GError **error);
bool pc_add_acpi_pm(Machine *machine, GError **error);
bool pc_add_fw_cfg(Machine *machine, GError **error);
/* The ports of -serial. */
bool pc_add_serials(Machine *machine, GError **error);
/* Sets index, port and line of an isa-serial before it is realized. */
bool pc_place_serial(MachineDevice *md, GError **error);

/* RAM below 4 GiB with its holes. */
void pc_fill_low_e820(Machine *machine);
/* SMBIOS tables, to lie at @base. (transfer full) */
GByteArray *pc_build_smbios(const Machine *machine, GuestAddr base);
/* Completes @acpi by what the machine has, and makes the tables. */
bool pc_finish(Machine *machine, AcpiConfig *acpi, GError **error);

#endif
