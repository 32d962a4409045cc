/* Keyboard controller, keyboard and mouse: the probes of Linux, events, reset.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/devices.h"

static FakeHost *fake;
static Device *kbc;

static int setup(void **state)
{
    fake = fake_host_new();
    kbc = fake_host_add(fake, &i8042_class, NULL);
    return 0;
}

static int teardown(void **state)
{
    device_free(kbc);
    fake_host_free(fake);
    return 0;
}

static uint8_t status(void)
{
    return fake_in8(fake, 0x64);
}

static void command(uint8_t byte)
{
    fake_out8(fake, 0x64, byte);
}

static void data(uint8_t byte)
{
    fake_out8(fake, 0x60, byte);
}

/* The next byte; the test fails when there is none. @from_mouse: where it must come from. */
static uint8_t next(bool from_mouse)
{
    uint8_t now = status();
    assert_int_equal(now & 0x01, 0x01);
    assert_int_equal((now & 0x20) != 0, from_mouse);
    return fake_in8(fake, 0x60);
}

static void mouse(uint8_t byte)
{
    command(0xd4);
    data(byte);
}

static void assert_empty(void)
{
    assert_int_equal(status() & 0x01, 0);
}

static void the_controller_passes_its_tests(void **state)
{
    assert_empty();
    command(0xaa);
    assert_int_equal(next(false), 0x55);
    command(0xab);
    assert_int_equal(next(false), 0x00);
    command(0xa9);
    assert_int_equal(next(false), 0x00);
    command(0x20);
    assert_int_equal(next(false), 0x45);
    command(0x60);
    data(0x67);
    command(0x20);
    assert_int_equal(next(false), 0x67);
    assert_empty();
}

/* i8042_check_aux() of Linux. */
static void the_auxiliary_port_loops_back_and_can_be_switched(void **state)
{
    command(0xd3);
    data(0x5a);
    assert_int_equal(next(true), 0x5a);
    command(0xa7);
    command(0x20);
    assert_int_equal(next(false) & 0x20, 0x20);
    command(0xa8);
    command(0x20);
    assert_int_equal(next(false) & 0x20, 0);
    command(0x60);
    data(0x47);
    command(0xd3);
    data(0xa5);
    assert_true(fake->irq[1].level);
    assert_int_equal(next(true), 0xa5);
    assert_false(fake->irq[1].level);
}

/* atkbd_probe() of Linux. */
static void the_keyboard_identifies_itself(void **state)
{
    data(0xff);
    assert_int_equal(next(false), 0xfa);
    assert_int_equal(next(false), 0xaa);
    data(0xf2);
    assert_int_equal(next(false), 0xfa);
    assert_int_equal(next(false), 0xab);
    assert_int_equal(next(false), 0x83);
    data(0xed);
    assert_int_equal(next(false), 0xfa);
    data(0x02);
    assert_int_equal(next(false), 0xfa);
    data(0xf0);
    assert_int_equal(next(false), 0xfa);
    data(0x00);
    assert_int_equal(next(false), 0xfa);
    assert_int_equal(next(false), 0x02);
    data(0xee);
    assert_int_equal(next(false), 0xee);
    data(0x99);
    assert_int_equal(next(false), 0xfe);
    assert_empty();
}

static void keys_arrive_in_set_1_or_2(void **state)
{
    i8042_key_event(kbc, 0x1e, true); /* A */
    assert_true(fake->irq[0].level);
    assert_int_equal(next(false), 0x1e);
    i8042_key_event(kbc, 0x1e, false);
    i8042_key_event(kbc, 0xe04d, true); /* right */
    assert_int_equal(next(false), 0x9e);
    assert_int_equal(next(false), 0xe0);
    assert_int_equal(next(false), 0x4d);
    command(0x60);
    data(0x05); /* no translation */
    i8042_key_event(kbc, 0xe04d, false);
    assert_int_equal(next(false), 0xe0);
    assert_int_equal(next(false), 0xf0);
    assert_int_equal(next(false), 0x74);
    data(0xf5);
    assert_int_equal(next(false), 0xfa);
    i8042_key_event(kbc, 0x1e, true);
    assert_empty();
}

static void each_byte_interrupts_anew(void **state)
{
    i8042_key_event(kbc, 0xe04d, true);
    assert_int_equal(fake->irq[0].raised, 1);
    next(false);
    assert_int_equal(fake->irq[0].raised, 2);
    next(false);
    assert_false(fake->irq[0].level);
}

/* psmouse of Linux looks for the wheel by a knock of sample rates. */
static void the_mouse_identifies_itself_with_its_wheel(void **state)
{
    static const uint8_t knock[] = { 200, 100, 80 };
    mouse(0xff);
    assert_int_equal(next(true), 0xfa);
    assert_int_equal(next(true), 0xaa);
    assert_int_equal(next(true), 0x00);
    for (unsigned i = 0; i < sizeof(knock); i++) {
        mouse(0xf3);
        assert_int_equal(next(true), 0xfa);
        mouse(knock[i]);
        assert_int_equal(next(true), 0xfa);
    }
    mouse(0xf2);
    assert_int_equal(next(true), 0xfa);
    assert_int_equal(next(true), 0x03);
    mouse(0xe9);
    assert_int_equal(next(true), 0xfa);
    assert_int_equal(next(true), 0x00);
    assert_int_equal(next(true), 0x02);
    assert_int_equal(next(true), 80);
}

static void movement_is_reported_when_enabled(void **state)
{
    i8042_mouse_event(kbc, 5, 5, 0, 0);
    assert_empty();
    mouse(0xf6);
    assert_int_equal(next(true), 0xfa);
    mouse(0xf4);
    assert_int_equal(next(true), 0xfa);
    i8042_mouse_event(kbc, 5, -3, 0, 1);
    assert_int_equal(next(true), 0x09);
    assert_int_equal(next(true), 5);
    assert_int_equal(next(true), 3);
    i8042_mouse_event(kbc, -200, 0, 0, 1); /* more than one report holds */
    assert_int_equal(next(true), 0x19);
    assert_int_equal(next(true), (uint8_t)-127);
    assert_int_equal(next(true), 0);
    assert_int_equal(next(true), 0x19);
    assert_int_equal(next(true), (uint8_t)-73);
    assert_int_equal(next(true), 0);
    assert_empty();
}

static void a_flood_of_events_leaves_room_for_answers(void **state)
{
    for (unsigned i = 0; i < 1000; i++) {
        i8042_key_event(kbc, 0x1e, i & 1);
    }
    while (status() & 1) {
        assert_int_equal(fake_in8(fake, 0x60) & 0x7f, 0x1e);
    }
    for (unsigned i = 0; i < 1000; i++) {
        i8042_key_event(kbc, 0x1e, i & 1);
    }
    data(0xf5); /* clears what waits */
    next(false);
    assert_int_equal(next(false), 0xfa);
    assert_empty();
}

static void the_reset_commands_reset(void **state)
{
    command(0xfe);
    assert_int_equal(fake->power_count, 1);
    assert_int_equal(fake->power[0].event, POWER_RESET);
    command(0xff);
    assert_int_equal(fake->power_count, 1);
    command(0xd1);
    data(0xfe);
    assert_int_equal(fake->power_count, 2);
    command(0xd1);
    data(0x03);
    assert_int_equal(fake->power_count, 2);
    command(0xd0);
    assert_int_equal(next(false) & 0x03, 0x03);
}

static void state_survives(void **state)
{
    i8042_key_event(kbc, 0xe04d, true);
    i8042_key_event(kbc, 0xe04d, false);
    fake_host_check_round_trip(kbc);
    assert_int_equal(next(false), 0xe0);
    assert_int_equal(next(false), 0x4d);
    assert_int_equal(next(false), 0xe0);
    assert_int_equal(next(false), 0xcd);
    assert_empty();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_controller_passes_its_tests),
        CASE(the_auxiliary_port_loops_back_and_can_be_switched),
        CASE(the_keyboard_identifies_itself),
        CASE(keys_arrive_in_set_1_or_2),
        CASE(each_byte_interrupts_anew),
        CASE(the_mouse_identifies_itself_with_its_wheel),
        CASE(movement_is_reported_when_enabled),
        CASE(a_flood_of_events_leaves_room_for_answers),
        CASE(the_reset_commands_reset),
        CASE(state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
