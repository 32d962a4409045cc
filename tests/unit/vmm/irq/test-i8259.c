/* 8259 pair, with register scripts after the data sheet.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/irq/i8259.h"

#include <string.h>

static I8259Pair pair;

/* As the BIOS of a PC does: vectors 0x08 and 0x70, cascade on 2. */
static void program(uint8_t icw4)
{
    i8259_write(&pair, 0, 0, 0x11);
    i8259_write(&pair, 0, 1, 0x08);
    i8259_write(&pair, 0, 1, 0x04);
    i8259_write(&pair, 0, 1, icw4);
    i8259_write(&pair, 1, 0, 0x11);
    i8259_write(&pair, 1, 1, 0x70);
    i8259_write(&pair, 1, 1, 0x02);
    i8259_write(&pair, 1, 1, icw4);
}

static int setup(void **state)
{
    i8259_init(&pair);
    i8259_reset(&pair);
    program(0x01);
    return 0;
}

static int teardown(void **state)
{
    i8259_done(&pair);
    return 0;
}

static void pulse(unsigned input)
{
    i8259_set_input(&pair, input, true);
    i8259_set_input(&pair, input, false);
}

static void an_edge_is_latched_until_acknowledged(void **state)
{
    assert_false(pair.output);
    pulse(0);
    assert_true(pair.output);
    assert_int_equal(i8259_peek(&pair), 0x08);
    assert_int_equal(i8259_acknowledge(&pair), 0x08);
    assert_false(pair.output);
    assert_int_equal(i8259_acknowledge(&pair), -1);
    i8259_write(&pair, 0, 0, 0x0b); /* read ISR */
    assert_int_equal(i8259_read(&pair, 0, 0), 0x01);
    i8259_write(&pair, 0, 0, 0x20);
    assert_int_equal(i8259_read(&pair, 0, 0), 0x00);
}

static void lower_inputs_wait_for_the_end_of_higher_ones(void **state)
{
    pulse(1);
    assert_int_equal(i8259_acknowledge(&pair), 0x09);
    pulse(4);
    assert_false(pair.output);
    pulse(0);
    assert_true(pair.output);
    assert_int_equal(i8259_acknowledge(&pair), 0x08);
    i8259_write(&pair, 0, 0, 0x20); /* ends 0 */
    assert_false(pair.output);
    i8259_write(&pair, 0, 0, 0x61); /* specific, ends 1 */
    assert_int_equal(i8259_acknowledge(&pair), 0x0c);
}

static void masked_inputs_are_remembered(void **state)
{
    i8259_write(&pair, 0, 1, 0xff);
    assert_int_equal(i8259_read(&pair, 0, 1), 0xff);
    pulse(3);
    assert_false(pair.output);
    i8259_write(&pair, 0, 1, 0xf7);
    assert_int_equal(i8259_acknowledge(&pair), 0x0b);
}

static void the_slave_asks_through_input_2(void **state)
{
    pulse(12);
    assert_true(pair.output);
    i8259_write(&pair, 0, 0, 0x0a); /* read IRR */
    assert_int_equal(i8259_read(&pair, 0, 0), 0x04);
    assert_int_equal(i8259_acknowledge(&pair), 0x74);
    i8259_write(&pair, 0, 0, 0x0b);
    i8259_write(&pair, 1, 0, 0x0b);
    assert_int_equal(i8259_read(&pair, 0, 0), 0x04);
    assert_int_equal(i8259_read(&pair, 1, 0), 0x10);
    pulse(8);
    assert_false(pair.output); /* the master still serves input 2 */
    i8259_write(&pair, 1, 0, 0x20);
    i8259_write(&pair, 0, 0, 0x20);
    assert_int_equal(i8259_acknowledge(&pair), 0x70);
}

static void special_fully_nested_mode_lets_the_slave_nest(void **state)
{
    program(0x11);
    pulse(12);
    assert_int_equal(i8259_acknowledge(&pair), 0x74);
    pulse(8);
    assert_true(pair.output);
    assert_int_equal(i8259_acknowledge(&pair), 0x70);
}

static void level_inputs_ask_as_long_as_they_are_up(void **state)
{
    i8259_write_elcr(&pair, 1, 0x0e); /* 9, 10, 11 */
    i8259_write_elcr(&pair, 0, 0xff);
    assert_int_equal(i8259_read_elcr(&pair, 0), 0xf8);
    assert_int_equal(i8259_read_elcr(&pair, 1), 0x0e);
    i8259_set_input(&pair, 10, true);
    assert_int_equal(i8259_acknowledge(&pair), 0x72);
    i8259_write(&pair, 1, 0, 0x20);
    i8259_write(&pair, 0, 0, 0x20);
    assert_true(pair.output);
    i8259_set_input(&pair, 10, false);
    assert_false(pair.output);
}

static void automatic_end_of_interrupt_needs_no_command(void **state)
{
    program(0x03);
    pulse(0);
    pulse(5);
    assert_int_equal(i8259_acknowledge(&pair), 0x08);
    assert_int_equal(i8259_acknowledge(&pair), 0x0d);
    i8259_write(&pair, 0, 0, 0x0b);
    assert_int_equal(i8259_read(&pair, 0, 0), 0);
}

static void rotation_makes_the_served_input_the_lowest(void **state)
{
    pulse(3);
    assert_int_equal(i8259_acknowledge(&pair), 0x0b);
    i8259_write(&pair, 0, 0, 0xa0); /* rotate on non-specific EOI */
    pulse(3);
    pulse(4);
    assert_int_equal(i8259_acknowledge(&pair), 0x0c);
    i8259_write(&pair, 0, 0, 0x20);
    i8259_write(&pair, 0, 0, 0xc7); /* 7 lowest again */
    assert_int_equal(i8259_acknowledge(&pair), 0x0b);
}

static void special_mask_mode_opens_lower_inputs(void **state)
{
    pulse(1);
    assert_int_equal(i8259_acknowledge(&pair), 0x09);
    pulse(5);
    assert_false(pair.output);
    i8259_write(&pair, 0, 1, 0x02);
    i8259_write(&pair, 0, 0, 0x68);
    assert_int_equal(i8259_acknowledge(&pair), 0x0d);
}

static void a_poll_acknowledges(void **state)
{
    i8259_write(&pair, 0, 0, 0x0c);
    assert_int_equal(i8259_read(&pair, 0, 0), 0);
    pulse(6);
    i8259_write(&pair, 0, 0, 0x0c);
    assert_int_equal(i8259_read(&pair, 0, 0), 0x86);
    assert_false(pair.output);
}

static void the_probe_of_linux_finds_the_mask_register(void **state)
{
    i8259_write(&pair, 1, 1, 0xff);
    i8259_write(&pair, 0, 1, 0xfb);
    assert_int_equal(i8259_read(&pair, 0, 1), 0xfb);
}

static void impossible_loaded_state_is_refused(void **state)
{
    assert_true(i8259_check_loaded(&pair));
    pair.chip[0].first = 8;
    assert_false(i8259_check_loaded(&pair));
    pair.chip[0].first = 0;
    pair.chip[1].init_step = 5;
    assert_false(i8259_check_loaded(&pair));
    pair.chip[1].init_step = 0;
    pair.chip[0].elcr = 1;
    assert_false(i8259_check_loaded(&pair));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_edge_is_latched_until_acknowledged),
        CASE(lower_inputs_wait_for_the_end_of_higher_ones),
        CASE(masked_inputs_are_remembered),
        CASE(the_slave_asks_through_input_2),
        CASE(special_fully_nested_mode_lets_the_slave_nest),
        CASE(level_inputs_ask_as_long_as_they_are_up),
        CASE(automatic_end_of_interrupt_needs_no_command),
        CASE(rotation_makes_the_served_input_the_lowest),
        CASE(special_mask_mode_opens_lower_inputs),
        CASE(a_poll_acknowledges),
        CASE(the_probe_of_linux_finds_the_mask_register),
        CASE(impossible_loaded_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
