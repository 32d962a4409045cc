/* Power registers of hardware-reduced ACPI.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/ged.h"

static void the_power_button_is_an_event_that_reading_clears(void **state)
{
    FakeHost *fake = fake_host_new();
    Device *ged = fake_host_add(fake, &acpi_ged_class, NULL);
    acpi_ged_power_button(ged);
    assert_true(fake->irq[0].level);
    fake_host_check_round_trip(ged);
    assert_int_equal(fake_mmio_read(fake, ACPI_GED_BASE, 4), ACPI_GED_POWER_BUTTON);
    assert_false(fake->irq[0].level);
    assert_int_equal(fake_mmio_read(fake, ACPI_GED_BASE, 4), 0);
    acpi_ged_power_button(ged);
    device_reset(ged, RESET_WARM);
    assert_false(fake->irq[0].level);
    device_free(ged);
    fake_host_free(fake);
}

static void only_the_right_values_power_off_and_reset(void **state)
{
    FakeHost *fake = fake_host_new();
    Device *ged = fake_host_add(fake, &acpi_ged_class, NULL);
    fake_mmio_write(fake, ACPI_GED_BASE + ACPI_GED_SLEEP, ACPI_GED_SLEEP_S5 << 2, 1);
    fake_mmio_write(fake, ACPI_GED_BASE + ACPI_GED_RESET, 1, 1);
    assert_int_equal(fake->power_count, 0);
    fake_mmio_write(fake, ACPI_GED_BASE + ACPI_GED_SLEEP, 0x20 | ACPI_GED_SLEEP_S5 << 2, 1);
    fake_mmio_write(fake, ACPI_GED_BASE + ACPI_GED_RESET, ACPI_GED_RESET_VALUE, 1);
    assert_int_equal(fake->power_count, 2);
    assert_int_equal(fake->power[0].event, POWER_SHUTDOWN);
    assert_int_equal(fake->power[1].event, POWER_RESET);
    device_free(ged);
    fake_host_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_power_button_is_an_event_that_reading_clears),
        cmocka_unit_test(only_the_right_values_power_off_and_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
