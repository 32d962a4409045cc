/* What PC-like machines have in common.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/pc.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/devices/acpi-pm.h"
#include "vmm/devices/devices.h"
#include "vmm/devices/fw-cfg.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define EBDA 0x9fc00u
#define EBDA_END 0xa0000u
#define TABLES_BASE 0xe0000u
#define SMBIOS_BASE 0xf0000u
#define TABLES_END 0x100000u

static const struct {
    uint16_t port;
    uint8_t irq;
} serial_places[ACPI_SERIALS_MAX] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

bool pc_add_irq_chips(Machine *machine, bool has_8259, GError **error)
{
    if (!machine->irq_chip) {
        return true;
    }
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        const char *const properties[] = { "vcpu", text, NULL };
        if (!machine_add(machine, &apic_class, properties, NULL, 0, error)) {
            return false;
        }
    }
    return (!has_8259 || machine_add(machine, &i8259_class, NULL, NULL, 0, error)) &&
           machine_add(machine, &ioapic_class, NULL, NULL, 0, error);
}

/* What -rtc base= asks for, in seconds since the epoch; 0: the host's time in UTC. */
static uint64_t rtc_base(const RtcConfig *rtc)
{
    if (rtc->base == RTC_BASE_DATETIME) {
        return (uint64_t)MAX(rtc->datetime_s, 1);
    }
    time_t now = (time_t)(clock_realtime_ns() / NS_PER_SEC);
    if (rtc->base == RTC_BASE_LOCALTIME) {
        struct tm local;
        localtime_r(&now, &local);
        return (uint64_t)MAX(now + local.tm_gmtoff, 1);
    }
    return rtc->clock == RTC_CLOCK_VM ? (uint64_t)now : 0;
}

bool pc_add_rtc(Machine *machine, IrqLine line, GError **error)
{
    char base[24];
    snprintf(base, sizeof(base), "%" PRIu64, rtc_base(&machine->config->rtc));
    const char *const properties[] = { "base", base, NULL };
    machine->rtc = machine_add(machine, &rtc_class, properties, &line, 1, error);
    if (!machine->rtc) {
        return false;
    }
    rtc_set_memory_size(machine->rtc, machine->low_ram_bytes, machine->high_ram_bytes);
    return true;
}

/* A PIT in the accelerator falls silent while the HPET stands for it. */
static void set_hpet_legacy(void *opaque, unsigned number, bool is_legacy)
{
    Machine *machine = opaque;
    machine->accel->pit_silence(machine->vm, is_legacy);
}

bool pc_add_timers(Machine *machine, GError **error)
{
    IrqLine pit_line = machine_gsi_line(machine, 0);
    IrqLine rtc_line = machine_gsi_line(machine, 8);
    if (machine->config->machine.has_hpet) {
        IrqLine lines[HPET_LEGACY_LINE + 1] = { pit_line, rtc_line };
        for (unsigned i = 2; i < HPET_LEGACY_LINE; i++) {
            lines[i] = machine_gsi_line(machine, 18 + i);
        }
        if (machine->accel->has_irqchip) {
            lines[HPET_LEGACY_LINE] = (IrqLine){ set_hpet_legacy, machine, 0 };
        }
        Device *hpet = machine_add(machine, &hpet_class, NULL, lines, G_N_ELEMENTS(lines), error);
        if (!hpet) {
            return false;
        }
        pit_line = hpet_legacy_input(hpet, 0);
        rtc_line = hpet_legacy_input(hpet, 1);
    }
    if (machine->irq_chip && !machine_add(machine, &pit_class, NULL, &pit_line, 1, error)) {
        return false;
    }
    return pc_add_rtc(machine, rtc_line, error);
}

bool pc_add_acpi_pm(Machine *machine, GError **error)
{
    IrqLine sci = machine_gsi_line(machine, ACPI_SCI_GSI);
    machine->acpi_pm = machine_add(machine, &acpi_pm_class, NULL, &sci, 1, error);
    return machine->acpi_pm != NULL;
}

bool pc_add_fw_cfg(Machine *machine, GError **error)
{
    machine->fw_cfg = machine_add(machine, &fw_cfg_class, NULL, NULL, 0, error);
    return machine->fw_cfg != NULL;
}

static bool is_port_used(const Machine *machine, uint64_t port)
{
    AddressEntry entry;
    return address_map_find(machine->port_map, port, &entry);
}

bool pc_place_serial(MachineDevice *md, GError **error)
{
    uint64_t index = machine_device_number(md->device, "index");
    bool is_given = index || machine_device_number(md->device, "iobase");
    while (!is_given && index < ACPI_SERIALS_MAX - 1 &&
           is_port_used(md->machine, serial_places[index].port)) {
        index++;
    }
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, index);
    if (!device_set_property(md->device, "index", text, error)) {
        return false;
    }
    uint64_t irq = machine_device_number(md->device, "irq");
    md->host.irq[0] = machine_gsi_line(md->machine, irq ? (unsigned)irq : serial_places[index].irq);
    return true;
}

bool pc_add_serials(Machine *machine, GError **error)
{
    const GPtrArray *serials = machine->config->serials;
    for (guint i = 0; i < serials->len; i++) {
        const char *chardev = g_ptr_array_index(serials, i);
        if (!chardev) {
            continue;
        }
        char index[16];
        snprintf(index, sizeof(index), "%u", i);
        const char *const properties[] = { "index", index, "chardev", chardev, NULL };
        IrqLine line = machine_gsi_line(machine, serial_places[i].irq);
        if (!machine_add(machine, &isa_serial_class, properties, &line, 1, error)) {
            return false;
        }
    }
    return true;
}

void pc_fill_low_e820(Machine *machine)
{
    E820Map *map = &machine->e820;
    e820_add(map, 0, EBDA, E820_RAM);
    e820_add(map, EBDA, EBDA_END - EBDA, E820_RESERVED);
    e820_add(map, TABLES_BASE, TABLES_END - TABLES_BASE, E820_RESERVED);
    e820_add(map, TABLES_END, machine->low_ram_bytes - TABLES_END, E820_RAM);
}

/* Ports of serial devices, wherever they come from. */
static void describe_serials(const Machine *machine, AcpiConfig *acpi)
{
    unsigned count = 0;
    for (guint i = 0; i < machine->devices->len && count < ACPI_SERIALS_MAX; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        if (md->device->class == &isa_serial_class) {
            acpi->serial[count].port = (uint16_t)machine_device_number(md->device, "iobase");
            acpi->serial[count++].irq = (uint8_t)machine_device_number(md->device, "irq");
        }
    }
}

static bool add_e820_file(const Machine *machine, GError **error)
{
    uint8_t bytes[E820_RANGES_MAX * 20];
    for (unsigned i = 0; i < machine->e820.count; i++) {
        const E820Range *range = &machine->e820.range[i];
        le64_put(bytes + i * 20, range->base);
        le64_put(bytes + i * 20 + 8, range->size_bytes);
        le32_put(bytes + i * 20 + 16, range->type);
    }
    return fw_cfg_set_file(machine->fw_cfg, "etc/e820", bytes, (size_t)machine->e820.count * 20,
                           error);
}

/* What firmware, and a guest's fw_cfg driver, may ask for. */
static bool fill_fw_cfg(Machine *machine, GError **error)
{
    Device *fw_cfg = machine->fw_cfg;
    if (!fw_cfg) {
        return true;
    }
    const MachineConfig *config = machine->config;
    uint8_t ram[8];
    le64_put(ram, config->ram_bytes);
    fw_cfg_set_item(fw_cfg, FW_CFG_RAM_SIZE, ram, sizeof(ram));
    fw_cfg_set_u16(fw_cfg, FW_CFG_NB_CPUS, (uint16_t)machine->vcpu_count);
    fw_cfg_set_u16(fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)machine->vcpu_count);
    fw_cfg_set_u16(fw_cfg, FW_CFG_NOGRAPHIC, 1);
    fw_cfg_set_u16(fw_cfg, FW_CFG_BOOT_MENU, config->boot_menu);
    fw_cfg_set_item(fw_cfg, FW_CFG_UUID, config->uuid.byte, UUID_BYTES);
    return add_e820_file(machine, error);
}

/* Puts @part at its place in the piece of firmware tables that begins at TABLES_BASE. */
static bool place_tables(GByteArray *tables, GByteArray *part, GuestAddr base, GuestAddr end,
                         GError **error)
{
    bool fits = part->len <= end - base;
    if (fits) {
        memcpy(tables->data + (base - TABLES_BASE), part->data, part->len);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the firmware tables do not fit below 1 MiB: %u bytes at 0x%" PRIx64, part->len,
                    base);
    }
    g_byte_array_unref(part);
    return fits;
}

static bool build_tables(Machine *machine, const AcpiConfig *acpi, GError **error)
{
    g_autoptr(GByteArray) tables = g_byte_array_new();
    g_byte_array_set_size(tables, TABLES_END - TABLES_BASE);
    memset(tables->data, 0, tables->len);
    if (!place_tables(tables, pc_build_smbios(machine, SMBIOS_BASE), SMBIOS_BASE, TABLES_END,
                      error)) {
        return false;
    }
    if (machine->config->machine.has_acpi) {
        if (!place_tables(tables, acpi_build(acpi, TABLES_BASE), TABLES_BASE, SMBIOS_BASE, error)) {
            return false;
        }
        machine->rsdp = TABLES_BASE;
    }
    machine->tables = g_bytes_new(tables->data, tables->len);
    machine->tables_address = TABLES_BASE;
    return true;
}

bool pc_finish(Machine *machine, AcpiConfig *acpi, GError **error)
{
    g_autofree uint32_t *ids = g_new(uint32_t, machine->vcpu_count);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        ids[i] = cpu_topology_apic_id(&machine->topology, i);
    }
    acpi->vcpu_count = machine->vcpu_count;
    acpi->apic_ids = ids;
    describe_serials(machine, acpi);
    return build_tables(machine, acpi, error) && fill_fw_cfg(machine, error);
}
