/* Clock and CMOS: time, alarms, periodic interrupts, memory sizes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/int-math.h"
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/devices.h"

#define BASE "1000000000" /* 2001-09-09 01:46:40 UTC, a Sunday */

static FakeHost *fake;
static Device *rtc;

static int setup(void **state)
{
    static const char *const properties[] = { "base", BASE, NULL };
    fake = fake_host_new();
    rtc = fake_host_add(fake, &rtc_class, properties);
    return 0;
}

static int teardown(void **state)
{
    device_free(rtc);
    fake_host_free(fake);
    return 0;
}

static uint8_t get(uint8_t index)
{
    fake_out8(fake, 0x70, index);
    return fake_in8(fake, 0x71);
}

static void put(uint8_t index, uint8_t value)
{
    fake_out8(fake, 0x70, index);
    fake_out8(fake, 0x71, value);
}

static void the_clock_shows_bcd_and_goes_on(void **state)
{
    assert_int_equal(get(0x00), 0x40);
    assert_int_equal(get(0x02), 0x46);
    assert_int_equal(get(0x04), 0x01);
    assert_int_equal(get(0x06), 0x01);
    assert_int_equal(get(0x07), 0x09);
    assert_int_equal(get(0x08), 0x09);
    assert_int_equal(get(0x09), 0x01);
    assert_int_equal(get(0x32), 0x20);
    fake_host_advance(fake, 25 * NS_PER_SEC);
    assert_int_equal(get(0x00), 0x05);
    assert_int_equal(get(0x02), 0x47);
}

static void binary_and_12_hour_formats_work(void **state)
{
    put(0x0b, 0x06);
    assert_int_equal(get(0x00), 40);
    assert_int_equal(get(0x02), 46);
    fake_host_advance(fake, 12 * 3600 * NS_PER_SEC);
    assert_int_equal(get(0x04), 13);
    put(0x0b, 0x00);
    assert_int_equal(get(0x04), 0x81); /* 1 pm */
}

static void a_guest_sets_the_time_as_linux_does(void **state)
{
    uint8_t control = get(0x0b), rate = get(0x0a);
    put(0x0b, control | 0x80);
    put(0x0a, rate | 0x70);
    put(0x09, 0x26);
    put(0x08, 0x02);
    put(0x07, 0x28);
    put(0x04, 0x23);
    put(0x02, 0x59);
    put(0x00, 0x58);
    assert_int_equal(get(0x00), 0x58); /* held */
    fake_host_advance(fake, 5 * NS_PER_SEC);
    assert_int_equal(get(0x00), 0x58);
    put(0x0b, control);
    put(0x0a, rate);
    fake_host_advance(fake, 2 * NS_PER_SEC);
    assert_int_equal(get(0x08), 0x03); /* 2026 has no leap day */
    assert_int_equal(get(0x07), 0x01);
    assert_int_equal(get(0x04), 0x00);
    assert_int_equal(get(0x32), 0x20);
}

static void the_update_bit_precedes_each_second(void **state)
{
    fake_host_advance(fake, NS_PER_SEC / 2);
    assert_int_equal(get(0x0a) & 0x80, 0);
    fake_host_advance(fake, NS_PER_SEC / 2 - 100 * NS_PER_US);
    assert_int_equal(get(0x0a) & 0x80, 0x80);
    fake_host_advance(fake, 100 * NS_PER_US);
    assert_int_equal(get(0x0a) & 0x80, 0);
}

static void an_alarm_interrupts_once_and_is_acknowledged(void **state)
{
    put(0x01, 0x45);
    put(0x03, 0xff);
    put(0x05, 0xff);
    put(0x0b, 0x22);
    fake_host_advance(fake, 4 * NS_PER_SEC);
    assert_false(fake->irq[0].level);
    fake_host_advance(fake, NS_PER_SEC);
    assert_true(fake->irq[0].level);
    assert_int_equal(get(0x0c), 0xf0); /* IRQ, alarm; update and periodic came along */
    assert_false(fake->irq[0].level);
    assert_int_equal(get(0x0c), 0x00);
    fake_host_advance(fake, 60 * NS_PER_SEC);
    assert_true(fake->irq[0].level);
}

static void update_interrupts_come_each_second(void **state)
{
    put(0x0b, 0x12);
    for (unsigned i = 0; i < 5; i++) {
        fake_host_advance(fake, NS_PER_SEC);
        assert_true(fake->irq[0].level);
        get(0x0c);
    }
    assert_int_equal(fake->irq[0].raised, 5);
}

static void periodic_interrupts_come_at_1024_hz(void **state)
{
    put(0x0a, 0x26);
    get(0x0c);
    put(0x0b, 0x42);
    unsigned count = 0;
    for (unsigned i = 0; i < 1000; i++) {
        fake_host_advance(fake, NS_PER_MS);
        if (fake->irq[0].level) {
            assert_int_equal(get(0x0c) & 0xc0, 0xc0);
            count++;
        }
    }
    assert_in_range(count, 995, 1000);
    unsigned fired = fake->timers_fired;
    fake_host_advance(fake, NS_PER_SEC); /* not acknowledged: no timer runs for nothing */
    assert_int_equal(fake->timers_fired - fired, 1);
}

static void flags_are_set_without_interrupts_too(void **state)
{
    get(0x0c);
    fake_host_advance(fake, NS_PER_SEC);
    assert_int_equal(get(0x0c) & 0x90, 0x10);
    assert_false(fake->irq[0].level);
}

static void cmos_memory_keeps_bytes_over_reset(void **state)
{
    put(0x40, 0x5a);
    put(0x0f, 0x0a);
    put(0x0b, 0x72);
    device_reset(rtc, RESET_COLD);
    assert_int_equal(get(0x40), 0x5a);
    assert_int_equal(get(0x0f), 0x0a);
    assert_int_equal(get(0x0b), 0x02);
    assert_int_equal(get(0x0d), 0x80);
    put(0x0d, 0);
    assert_int_equal(get(0x0d), 0x80);
    assert_int_equal(fake_in8(fake, 0x70), 0xff);
}

static void memory_sizes_are_in_their_places(void **state)
{
    rtc_set_memory_size(rtc, 3 * GIB, 5 * GIB);
    assert_int_equal(get(0x15) | get(0x16) << 8, 640);
    assert_int_equal(get(0x30) | get(0x31) << 8, 0xffff);
    assert_int_equal(get(0x34) | get(0x35) << 8, (3 * GIB - 16 * MIB) / 65536);
    assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 5 * GIB / 65536);
}

static void without_a_base_the_host_gives_the_time(void **state)
{
    device_free(rtc);
    rtc = fake_host_add(fake, &rtc_class, NULL);
    put(0x0b, 0x06);
    time_t before = (time_t)(clock_realtime_ns() / NS_PER_SEC);
    unsigned year = get(0x32) * 100u + get(0x09);
    time_t after = (time_t)(clock_realtime_ns() / NS_PER_SEC);
    struct tm first, last;
    gmtime_r(&before, &first);
    gmtime_r(&after, &last);
    assert_in_range(year, first.tm_year + 1900, last.tm_year + 1900);
}

static void state_survives(void **state)
{
    put(0x01, 0x45);
    put(0x03, 0xff);
    put(0x05, 0xff);
    put(0x0b, 0x22);
    fake_host_check_round_trip(rtc);
    fake_host_advance(fake, 5 * NS_PER_SEC);
    assert_true(fake->irq[0].level);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_clock_shows_bcd_and_goes_on),
        CASE(binary_and_12_hour_formats_work),
        CASE(a_guest_sets_the_time_as_linux_does),
        CASE(the_update_bit_precedes_each_second),
        CASE(an_alarm_interrupts_once_and_is_acknowledged),
        CASE(update_interrupts_come_each_second),
        CASE(periodic_interrupts_come_at_1024_hz),
        CASE(flags_are_set_without_interrupts_too),
        CASE(cmos_memory_keeps_bytes_over_reset),
        CASE(memory_sizes_are_in_their_places),
        CASE(without_a_base_the_host_gives_the_time),
        CASE(state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
