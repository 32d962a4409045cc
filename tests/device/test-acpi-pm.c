/* ACPI power management block: timer, sleep, button, general purpose events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/acpi-pm.h"

#define BASE 0x600

static FakeHost *fake;
static Device *pm;

static int setup(void **state)
{
    static const char *const properties[] = { "iobase", "0x600", NULL };
    fake = fake_host_new();
    pm = fake_host_add(fake, &acpi_pm_class, properties);
    return 0;
}

static int teardown(void **state)
{
    device_free(pm);
    fake_host_free(fake);
    return 0;
}

static void the_timer_counts_24_bits_at_its_rate(void **state)
{
    uint32_t before = fake_in32(fake, BASE + 8);
    fake_host_advance(fake, NS_PER_SEC);
    uint32_t ticks = (fake_in32(fake, BASE + 8) - before) & 0xffffff;
    assert_in_range(ticks, 3579544, 3579546);
    fake_host_advance(fake, 10 * NS_PER_SEC);
    assert_int_equal(fake_in32(fake, BASE + 8) >> 24, 0);
    uint32_t whole = fake_in32(fake, BASE + 8);
    assert_int_equal(fake_in8(fake, BASE + 9), whole >> 8 & 0xff);
}

static void the_timer_carry_interrupts_when_asked(void **state)
{
    fake_out8(fake, 0xb2, 2);
    fake_out16(fake, BASE + 2, 0x0001);
    fake_host_advance(fake, 2 * NS_PER_SEC);
    assert_false(fake->irq[0].level);
    fake_host_advance(fake, NS_PER_SEC); /* 2^23 ticks are 2.34 s */
    assert_true(fake->irq[0].level);
    assert_int_equal(fake_in16(fake, BASE), 0x0001);
    fake_out16(fake, BASE, 0x0001);
    assert_false(fake->irq[0].level);
}

static void smi_command_switches_acpi_mode(void **state)
{
    assert_int_equal(fake_in16(fake, BASE + 4), 0);
    fake_out8(fake, ACPI_SMI_COMMAND, ACPI_SMI_ENABLE);
    assert_int_equal(fake_in16(fake, BASE + 4), 1);
    fake_out8(fake, ACPI_SMI_COMMAND, ACPI_SMI_DISABLE);
    assert_int_equal(fake_in16(fake, BASE + 4), 0);
    fake_out8(fake, 0xb3, 0x77);
    assert_int_equal(fake_in8(fake, 0xb3), 0x77);
}

static void sleep_states_power_off_or_suspend(void **state)
{
    fake_out16(fake, BASE + 4, ACPI_SLEEP_S5 << 10);
    assert_int_equal(fake->power_count, 0);
    fake_out16(fake, BASE + 4, ACPI_SLEEP_S5 << 10 | 0x2000);
    assert_int_equal(fake->power_count, 1);
    assert_int_equal(fake->power[0].event, POWER_SHUTDOWN);
    fake_out16(fake, BASE + 4, ACPI_SLEEP_S3 << 10 | 0x2000);
    assert_int_equal(fake->power[1].event, POWER_SUSPEND);
    fake_out16(fake, BASE + 4, 7 << 10 | 0x2000); /* no such state */
    assert_int_equal(fake->power_count, 2);
    fake_out8(fake, BASE + 5, 0x20); /* the high byte alone */
    assert_int_equal(fake->power_count, 3);
}

static void the_power_button_raises_the_sci(void **state)
{
    acpi_pm_power_button(pm);
    assert_false(fake->irq[0].level); /* not in ACPI mode */
    fake_out16(fake, BASE + 2, 0x0100);
    fake_out8(fake, 0xb2, 2);
    assert_true(fake->irq[0].level);
    assert_int_equal(fake_in16(fake, BASE) & 0x0100, 0x0100);
    fake_out16(fake, BASE, 0x0100);
    assert_false(fake->irq[0].level);
    acpi_pm_power_button(pm);
    assert_int_equal(fake->irq[0].raised, 2);
}

static void general_purpose_events_are_enabled_one_by_one(void **state)
{
    fake_out8(fake, 0xb2, 2);
    acpi_pm_raise_gpe(pm, 9);
    assert_int_equal(fake_in8(fake, BASE + 0x21), 0x02);
    assert_false(fake->irq[0].level);
    fake_out8(fake, BASE + 0x29, 0x02);
    assert_true(fake->irq[0].level);
    fake_out8(fake, BASE + 0x21, 0x02);
    assert_false(fake->irq[0].level);
    assert_int_equal(fake_in32(fake, BASE + 0x20), 0);
    assert_int_equal(fake_in32(fake, BASE + 0x28), 0x0200);
}

static void state_survives_and_reset_clears(void **state)
{
    fake_out16(fake, BASE + 2, 0x0100);
    fake_out8(fake, 0xb2, 2);
    acpi_pm_power_button(pm);
    fake_host_check_round_trip(pm);
    assert_true(fake->irq[0].level);
    device_reset(pm, RESET_COLD);
    assert_false(fake->irq[0].level);
    assert_int_equal(fake_in16(fake, BASE + 2), 0);
}

static void a_bridge_can_map_the_block(void **state)
{
    Device *other = device_new(&acpi_pm_class, NULL);
    Region *region = acpi_pm_region(other);
    assert_int_equal(region->size_bytes, ACPI_PM_SIZE);
    device_free(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_timer_counts_24_bits_at_its_rate),
        CASE(the_timer_carry_interrupts_when_asked),
        CASE(smi_command_switches_acpi_mode),
        CASE(sleep_states_power_off_or_suspend),
        CASE(the_power_button_raises_the_sci),
        CASE(general_purpose_events_are_enabled_one_by_one),
        CASE(state_survives_and_reset_clears),
        CASE(a_bridge_can_map_the_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
