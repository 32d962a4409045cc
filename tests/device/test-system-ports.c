/* Ports 0x92 and 0xcf9, debug exit, pvpanic, and the class table.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/device/registry.h"
#include "vmm/devices/devices.h"

#include <string.h>

static FakeHost *fake;

static int setup(void **state)
{
    fake = fake_host_new();
    return 0;
}

static int teardown(void **state)
{
    fake_host_free(fake);
    return 0;
}

static void port_92_resets_on_a_rising_bit(void **state)
{
    Device *dev = fake_host_add(fake, &port92_class, NULL);
    assert_int_equal(fake_in8(fake, 0x92), 0x02);
    fake_out8(fake, 0x92, 0x00);
    assert_int_equal(fake_in8(fake, 0x92), 0x00);
    fake_out8(fake, 0x92, 0x03);
    fake_out8(fake, 0x92, 0x03);
    assert_int_equal(fake->power_count, 1);
    assert_int_equal(fake->power[0].event, POWER_RESET);
    fake_host_check_round_trip(dev);
    device_free(dev);
}

static void port_cf9_resets_the_processor(void **state)
{
    Device *dev = fake_host_add(fake, &reset_port_class, NULL);
    fake_out8(fake, 0xcf9, 0x02);
    assert_int_equal(fake_in8(fake, 0xcf9), 0x02);
    assert_int_equal(fake->power_count, 0);
    fake_out8(fake, 0xcf9, 0x06);
    assert_int_equal(fake->power_count, 1);
    fake_host_check_round_trip(dev);
    device_free(dev);
}

static void debug_exit_gives_an_odd_status(void **state)
{
    static const char *const properties[] = { "iobase", "0xf4", "iosize", "4", NULL };
    Device *dev = fake_host_add(fake, &isa_debug_exit_class, properties);
    fake_out32(fake, 0xf4, 0x10);
    assert_int_equal(fake->power[0].event, POWER_DEBUG_EXIT);
    assert_int_equal(fake->power[0].code, 33);
    fake_host_check_round_trip(dev);
    device_free(dev);
}

static void pvpanic_tells_of_a_crash(void **state)
{
    Device *dev = fake_host_add(fake, &pvpanic_class, NULL);
    assert_int_equal(fake_in8(fake, 0x505), 1);
    fake_out8(fake, 0x505, 2);
    assert_int_equal(fake->power_count, 0);
    fake_out8(fake, 0x505, 1);
    assert_int_equal(fake->power[0].event, POWER_PANIC);
    fake_host_check_round_trip(dev);
    device_free(dev);
}

static void classes_are_sorted_and_can_be_listed(void **state)
{
    static DeviceFamily *const families[] = { legacy_classes, NULL };
    for (unsigned i = 1; legacy_classes[i]; i++) {
        assert_true(strcmp(legacy_classes[i - 1]->name, legacy_classes[i]->name) < 0);
    }
    assert_ptr_equal(device_registry_find(families, "isa-serial", NULL), &isa_serial_class);
    g_autoptr(GString) help = g_string_new(NULL);
    device_registry_format_help(families, help);
    assert_non_null(strstr(help->str, "pvpanic"));
    assert_null(strstr(help->str, "ioapic"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(port_92_resets_on_a_rising_bit),       CASE(port_cf9_resets_the_processor),
        CASE(debug_exit_gives_an_odd_status),       CASE(pvpanic_tells_of_a_crash),
        CASE(classes_are_sorted_and_can_be_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
