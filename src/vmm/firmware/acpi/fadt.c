/* ACPI: Fixed ACPI Description Table (5.2.9), revision 6.3.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/devices/acpi-pm.h"
#include "vmm/firmware/acpi/internal.h"

#define SPACE_MEMORY 0
#define SPACE_IO 1

#define FLAG_WBINVD (1u << 0)
#define FLAG_PROC_C1 (1u << 2)
#define FLAG_SLP_BUTTON (1u << 5) /* no fixed sleep button */
#define FLAG_PWR_BUTTON (1u << 4) /* no fixed power button */
#define FLAG_RTC_S4 (1u << 7)
#define FLAG_TMR_VAL_EXT (1u << 8)
#define FLAG_RESET_REG_SUP (1u << 10)
#define FLAG_HW_REDUCED (1u << 20)

#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042 (1u << 1)
#define BOOT_VGA_NOT_PRESENT (1u << 2)
#define BOOT_NO_ASPM (1u << 4)
#define BOOT_CMOS_RTC_NOT_PRESENT (1u << 5)

#define RESET_PORT 0xcf9
#define RESET_PORT_VALUE 0x0f
#define RTC_CENTURY 0x32

static void put_pc_registers(AcpiTables *t)
{
    acpi_put32(t, ACPI_PM_BASE + ACPI_PM1_EVENT);
    acpi_put32(t, 0); /* PM1b */
    acpi_put32(t, ACPI_PM_BASE + ACPI_PM1_CONTROL);
    acpi_put32(t, 0); /* PM1b */
    acpi_put32(t, 0); /* PM2 */
    acpi_put32(t, ACPI_PM_BASE + ACPI_PM_TIMER);
    acpi_put32(t, ACPI_PM_BASE + ACPI_GPE0);
    acpi_put32(t, 0); /* GPE1 */
    acpi_put8(t, 4);  /* bytes of PM1 event */
    acpi_put8(t, 2);  /* of PM1 control */
    acpi_put8(t, 0);
    acpi_put8(t, 4); /* of the timer */
    acpi_put8(t, ACPI_GPE0_BYTES);
    acpi_put8(t, 0);
    acpi_put8(t, 0); /* GPE1 base */
    acpi_put8(t, 0);
}

static void put_boot_flags(AcpiTables *t, const AcpiConfig *config)
{
    unsigned boot = BOOT_VGA_NOT_PRESENT;
    boot |= config->is_pc ? BOOT_LEGACY_DEVICES : 0;
    boot |= config->has_i8042 ? BOOT_8042 : 0;
    boot |= config->has_rtc ? 0 : BOOT_CMOS_RTC_NOT_PRESENT;
    acpi_put16(t, (uint16_t)boot);
    acpi_put8(t, 0);
    unsigned flags = FLAG_WBINVD | FLAG_PROC_C1 | FLAG_SLP_BUTTON | FLAG_RESET_REG_SUP;
    flags |= config->is_pc ? FLAG_RTC_S4 | FLAG_TMR_VAL_EXT : FLAG_HW_REDUCED | FLAG_PWR_BUTTON;
    acpi_put32(t, flags);
}

/* Extended addresses, from X_FIRMWARE_CTRL on. */
static void put_extended(AcpiTables *t, const AcpiConfig *config, GuestAddr dsdt)
{
    acpi_put64(t, 0); /* FACS */
    acpi_put64(t, dsdt);
    if (config->is_pc) {
        acpi_put_address(t, SPACE_IO, 32, 2, ACPI_PM_BASE + ACPI_PM1_EVENT);
        acpi_put_address(t, SPACE_IO, 0, 0, 0);
        acpi_put_address(t, SPACE_IO, 16, 2, ACPI_PM_BASE + ACPI_PM1_CONTROL);
        acpi_put_address(t, SPACE_IO, 0, 0, 0);
        acpi_put_address(t, SPACE_IO, 0, 0, 0);
        acpi_put_address(t, SPACE_IO, 32, 3, ACPI_PM_BASE + ACPI_PM_TIMER);
        acpi_put_address(t, SPACE_IO, ACPI_GPE0_BYTES * 8, 1, ACPI_PM_BASE + ACPI_GPE0);
        acpi_put_address(t, SPACE_IO, 0, 0, 0);
        acpi_zeroes(t, 24); /* sleep control and status */
    } else {
        acpi_zeroes(t, 8 * 12);
        acpi_put_address(t, SPACE_MEMORY, 8, 1, config->sleep_register);
        acpi_put_address(t, SPACE_MEMORY, 8, 1, config->sleep_register + 1);
    }
    acpi_put64(t, 0); /* hypervisor vendor */
}

GuestAddr acpi_add_fadt(AcpiTables *t, const AcpiConfig *config, GuestAddr dsdt)
{
    guint start = acpi_begin_table(t, "FACP", 6);
    acpi_put32(t, 0); /* FACS */
    acpi_put32(t, (uint32_t)dsdt);
    acpi_put8(t, 0);
    acpi_put8(t, 0); /* profile: unspecified */
    acpi_put16(t, config->is_pc ? ACPI_SCI_GSI : 0);
    acpi_put32(t, config->is_pc ? ACPI_SMI_COMMAND : 0);
    acpi_put8(t, config->is_pc ? ACPI_SMI_ENABLE : 0);
    acpi_put8(t, config->is_pc ? ACPI_SMI_DISABLE : 0);
    acpi_put16(t, 0);
    if (config->is_pc) {
        put_pc_registers(t);
    } else {
        acpi_zeroes(t, 40);
    }
    acpi_put16(t, 0xfff); /* C2 latency: not supported */
    acpi_put16(t, 0xfff); /* C3 latency: not supported */
    acpi_zeroes(t, 6);    /* cache flush, duty cycle */
    acpi_put8(t, 0);      /* day alarm */
    acpi_put8(t, 0);      /* month alarm */
    acpi_put8(t, config->has_rtc ? RTC_CENTURY : 0);
    put_boot_flags(t, config);
    if (config->is_pc) {
        acpi_put_address(t, SPACE_IO, 8, 1, RESET_PORT);
        acpi_put8(t, RESET_PORT_VALUE);
    } else {
        acpi_put_address(t, SPACE_MEMORY, 8, 1, config->reset_register);
        acpi_put8(t, config->reset_value);
    }
    acpi_put16(t, 0);
    acpi_put8(t, 3); /* minor revision */
    put_extended(t, config, dsdt);
    lodge_assert(t->bytes->len - start == 276);
    return acpi_end_table(t, start);
}
