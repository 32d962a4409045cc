/* 16550A and debug console: bytes, interrupts, FIFO, loop-back, modem lines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "lib/check.h"
#include "lib/fake-char.h"
#include "vmm/devices/devices.h"

#include <string.h>

#define BASE 0x3f8
#define LINE 0

static FakeHost *fake;
static FakeChar *chr;
static Device *serial;

static int setup(void **state)
{
    static const char *const properties[] = { "chardev", "c0", NULL };
    fake = fake_host_new();
    chr = fake_char_new(fake, "c0");
    serial = fake_host_add(fake, &isa_serial_class, properties);
    return 0;
}

static int teardown(void **state)
{
    device_free(serial);
    fake_char_free(chr);
    fake_host_free(fake);
    return 0;
}

static uint8_t get(unsigned reg)
{
    return fake_in8(fake, (uint16_t)(BASE + reg));
}

static void put(unsigned reg, uint8_t value)
{
    fake_out8(fake, (uint16_t)(BASE + reg), value);
}

/* autoconfig() of Linux' 8250 driver. */
static void the_probe_of_linux_finds_a_16550a(void **state)
{
    put(1, 0x00);
    assert_int_equal(get(1), 0x00);
    put(1, 0x0f);
    assert_int_equal(get(1), 0x0f);
    put(1, 0x00);
    put(4, 0x1a); /* loop, OUT2, RTS */
    assert_int_equal(get(6) & 0xf0, 0x90);
    put(4, 0x00);
    put(2, 0x01);
    assert_int_equal(get(2) >> 6, 3);
    put(7, 0xa5);
    assert_int_equal(get(7), 0xa5);
    put(3, 0x83);
    put(0, 0x01);
    put(1, 0x02);
    assert_int_equal(get(0), 0x01);
    assert_int_equal(get(1), 0x02);
    put(3, 0x03);
    assert_int_equal(get(1), 0x00);
}

static void written_bytes_reach_the_back_end(void **state)
{
    assert_int_equal(get(5), 0x60);
    for (const char *p = "hello"; *p; p++) {
        put(0, (uint8_t)*p);
        assert_int_equal(get(5) & 0x60, 0x60);
    }
    assert_string_equal(chr->written->str, "hello");
}

static void the_empty_transmitter_interrupts(void **state)
{
    put(1, 0x02);
    assert_true(fake->irq[LINE].level);
    assert_int_equal(get(2), 0x02);
    assert_false(fake->irq[LINE].level);
    assert_int_equal(get(2), 0x01);
    put(0, 'x');
    assert_true(fake->irq[LINE].level);
    put(1, 0x00);
    assert_false(fake->irq[LINE].level);
}

static void received_bytes_interrupt_without_fifo(void **state)
{
    put(1, 0x01);
    assert_int_equal(fake_char_feed(chr, "ab", 2), 1);
    assert_true(fake->irq[LINE].level);
    assert_int_equal(get(2), 0x04);
    assert_int_equal(get(5), 0x61);
    assert_int_equal(get(0), 'a');
    assert_false(fake->irq[LINE].level);
    assert_int_equal(get(5), 0x60);
    assert_int_equal(fake_char_feed(chr, "b", 1), 1);
    assert_int_equal(get(0), 'b');
}

static void the_fifo_takes_16_and_interrupts_at_its_trigger(void **state)
{
    put(2, 0x81); /* trigger at 8 */
    put(1, 0x01);
    assert_int_equal(fake_char_feed(chr, "0123456", 7), 7);
    assert_int_equal(get(2), 0xcc); /* timed out below the trigger */
    assert_int_equal(fake_char_feed(chr, "789abcdefgh", 11), 9);
    assert_int_equal(get(2), 0xc4);
    assert_int_equal(fake_char_feed(chr, "x", 1), 0);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(get(0), "0123456789abcdef"[i]);
    }
    assert_int_equal(get(5) & 0x01, 0);
    assert_false(fake->irq[LINE].level);
}

static void the_back_end_is_asked_again_once_there_is_room(void **state)
{
    while (fake_char_feed(chr, "x", 1)) {
    }
    loop_run_once(fake->loop, 0);
    unsigned before = chr->accepts;
    for (unsigned i = 0; i < 100; i++) {
        put(2, 0x03); /* clears the FIFO every time */
    }
    loop_run_once(fake->loop, 0);
    assert_int_equal(chr->accepts, before + 1);
}

static void clearing_the_fifo_drops_what_is_in_it(void **state)
{
    put(2, 0x01);
    put(1, 0x01);
    fake_char_feed(chr, "abc", 3);
    put(2, 0x03);
    assert_int_equal(get(5) & 0x01, 0);
    assert_false(fake->irq[LINE].level);
    assert_int_equal(get(0), 0);
}

static void loop_back_returns_bytes_and_modem_lines(void **state)
{
    put(2, 0x01);
    put(4, 0x1f);
    put(0, 'z');
    assert_int_equal(chr->written->len, 0);
    assert_int_equal(get(0), 'z');
    assert_int_equal(get(6) & 0xf0, 0xf0);
    assert_int_equal(fake_char_feed(chr, "x", 1), 0);
    for (unsigned i = 0; i < 17; i++) {
        put(0, (uint8_t)i);
    }
    assert_int_equal(get(5) & 0x02, 0x02); /* overrun */
    assert_int_equal(get(5) & 0x02, 0);
}

static void modem_changes_interrupt_until_read(void **state)
{
    assert_int_equal(get(6), 0xb0);
    put(1, 0x08);
    put(4, 0x10);
    assert_true(fake->irq[LINE].level);
    assert_int_equal(get(2), 0x00);
    assert_int_equal(get(6), 0x0b);
    assert_false(fake->irq[LINE].level);
    assert_int_equal(get(6), 0x00);
}

static void a_break_is_a_line_error(void **state)
{
    put(1, 0x04);
    char_event(&chr->backend, CHAR_EVENT_BREAK);
    assert_int_equal(get(2), 0x06);
    assert_int_equal(get(5), 0x71);
    assert_false(fake->irq[LINE].level);
    assert_int_equal(get(0), 0);
}

static void ports_and_lines_go_by_index(void **state)
{
    static const char *const second[] = { "index", "1", NULL };
    Device *com2 = fake_host_add(fake, &isa_serial_class, second);
    fake_out8(fake, 0x2f9, 0x02);
    assert_true(fake->irq[LINE].level);
    fake_out8(fake, 0x2f8, 'x'); /* to nowhere */
    device_free(com2);
    g_autoptr(GError) error = NULL;
    Device *other = device_new(&isa_serial_class, "s1");
    assert_true(device_set_property(other, "chardev", "nope", NULL));
    assert_true(device_set_property(other, "index", "1", NULL));
    assert_false(device_realize(other, &fake->host, &error));
    assert_non_null(strstr(error->message, "nope"));
    device_free(other);
}

static void state_survives(void **state)
{
    put(2, 0x81);
    put(1, 0x03);
    fake_char_feed(chr, "abcde", 5);
    fake_host_check_round_trip(serial);
    assert_true(fake->irq[LINE].level);
    assert_int_equal(get(0), 'a');
    assert_int_equal(get(0), 'b');
}

static void the_debug_console_prints(void **state)
{
    static const char *const properties[] = { "chardev", "c1", "iobase", "0x402", NULL };
    FakeChar *out = fake_char_new(fake, "c1");
    Device *con = fake_host_add(fake, &isa_debugcon_class, properties);
    assert_int_equal(fake_in8(fake, 0x402), 0xe9);
    fake_out8(fake, 0x402, 'o');
    fake_out8(fake, 0x402, 'k');
    assert_string_equal(out->written->str, "ok");
    fake_host_check_round_trip(con);
    device_free(con);
    fake_char_free(out);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_probe_of_linux_finds_a_16550a),
        CASE(written_bytes_reach_the_back_end),
        CASE(the_empty_transmitter_interrupts),
        CASE(received_bytes_interrupt_without_fifo),
        CASE(the_fifo_takes_16_and_interrupts_at_its_trigger),
        CASE(the_back_end_is_asked_again_once_there_is_room),
        CASE(clearing_the_fifo_drops_what_is_in_it),
        CASE(loop_back_returns_bytes_and_modem_lines),
        CASE(modem_changes_interrupt_until_read),
        CASE(a_break_is_a_line_error),
        CASE(ports_and_lines_go_by_index),
        CASE(state_survives),
        CASE(the_debug_console_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
