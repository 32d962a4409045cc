/* 8254 and port 0x61: register scripts after the data sheet.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/devices.h"

#define TICK_NS 838.0953

static FakeHost *fake;
static Device *pit;

static int setup(void **state)
{
    fake = fake_host_new();
    pit = fake_host_add(fake, &pit_class, NULL);
    return 0;
}

static int teardown(void **state)
{
    device_free(pit);
    fake_host_free(fake);
    return 0;
}

static void advance_ticks(double ticks)
{
    fake_host_advance(fake, (int64_t)(ticks * TICK_NS));
}

static void mode_2_ticks_at_100_hz(void **state)
{
    fake_out8(fake, 0x43, 0x34); /* channel 0, both bytes, mode 2 */
    fake_out8(fake, 0x40, 0x9c); /* 11932 */
    fake_out8(fake, 0x40, 0x2e);
    unsigned before = fake->irq[0].raised;
    fake_host_advance(fake, 1000500000);
    assert_int_equal(fake->irq[0].raised - before, 100);
}

static void mode_0_interrupts_once(void **state)
{
    fake_out8(fake, 0x43, 0x30);
    assert_false(fake->irq[0].level);
    fake_out8(fake, 0x40, 0xe8); /* 1000 */
    fake_out8(fake, 0x40, 0x03);
    advance_ticks(999);
    assert_false(fake->irq[0].level);
    advance_ticks(2);
    assert_true(fake->irq[0].level);
    unsigned before = fake->irq[0].raised;
    fake_host_advance(fake, 1000000000);
    assert_int_equal(fake->irq[0].raised, before);
}

static void the_counter_latch_holds_both_bytes(void **state)
{
    fake_out8(fake, 0x43, 0x34);
    fake_out8(fake, 0x40, 0x00);
    fake_out8(fake, 0x40, 0x10); /* 4096 */
    advance_ticks(96.5);
    fake_out8(fake, 0x43, 0x00); /* latch */
    advance_ticks(500);
    unsigned low = fake_in8(fake, 0x40);
    unsigned high = fake_in8(fake, 0x40);
    assert_int_equal(high << 8 | low, 4000);
    low = fake_in8(fake, 0x40);
    high = fake_in8(fake, 0x40);
    assert_int_equal(high << 8 | low, 3500);
}

static void read_back_gives_status_then_count(void **state)
{
    fake_out8(fake, 0x43, 0x34);
    fake_out8(fake, 0x43, 0xe2);                  /* status of channel 0 */
    assert_int_equal(fake_in8(fake, 0x40), 0xf4); /* OUT, null count, both, mode 2 */
    fake_out8(fake, 0x40, 0x00);
    fake_out8(fake, 0x40, 0x10);
    fake_out8(fake, 0x43, 0xc2); /* both of channel 0 */
    assert_int_equal(fake_in8(fake, 0x40), 0xb4);
    assert_int_equal(fake_in8(fake, 0x40), 0x00);
    assert_int_equal(fake_in8(fake, 0x40), 0x10);
}

static void bcd_counts_in_decimal(void **state)
{
    fake_out8(fake, 0x43, 0x35); /* mode 2, BCD */
    fake_out8(fake, 0x40, 0x00);
    fake_out8(fake, 0x40, 0x20); /* 2000 */
    advance_ticks(1.5);
    fake_out8(fake, 0x43, 0x00);
    assert_int_equal(fake_in8(fake, 0x40), 0x99);
    assert_int_equal(fake_in8(fake, 0x40), 0x19);
}

/* As Linux measures the TSC: mode 0 on channel 2, wait for OUT at port 0x61. */
static void channel_2_counts_behind_its_gate(void **state)
{
    fake_out8(fake, 0x61, (fake_in8(fake, 0x61) & ~0x02) | 0x01);
    fake_out8(fake, 0x43, 0xb0);
    fake_out8(fake, 0x42, 0xe8);
    fake_out8(fake, 0x42, 0x03);
    assert_int_equal(fake_in8(fake, 0x61) & 0x21, 0x01);
    advance_ticks(999);
    assert_int_equal(fake_in8(fake, 0x61) & 0x20, 0);
    advance_ticks(2);
    assert_int_equal(fake_in8(fake, 0x61) & 0x20, 0x20);
    fake_out8(fake, 0x61, 0);
    assert_int_equal(fake_in8(fake, 0x61) & 0x20, 0);
}

static void the_refresh_bit_toggles(void **state)
{
    unsigned changes = 0;
    uint8_t last = fake_in8(fake, 0x61) & 0x10;
    for (unsigned i = 0; i < 100; i++) {
        fake_host_advance(fake, 15085);
        uint8_t bit = fake_in8(fake, 0x61) & 0x10;
        changes += bit != last;
        last = bit;
    }
    assert_int_equal(changes, 100);
}

static void tiny_periods_do_not_storm_the_host(void **state)
{
    fake_out8(fake, 0x43, 0x14); /* low byte, mode 2 */
    fake_out8(fake, 0x40, 0x02);
    unsigned before = fake->timers_fired;
    fake_host_advance(fake, 1000000);
    assert_in_range(fake->timers_fired - before, 10, 50);
}

static void state_survives_and_hostile_state_is_refused(void **state)
{
    fake_out8(fake, 0x43, 0x34);
    fake_out8(fake, 0x40, 0x9c);
    fake_out8(fake, 0x40, 0x2e);
    fake_host_advance(fake, 5000000);
    fake_host_check_round_trip(pit);
    unsigned before = fake->irq[0].raised;
    fake_host_advance(fake, 100000000);
    assert_int_equal(fake->irq[0].raised - before, 10);
    device_reset(pit, RESET_COLD);
    before = fake->irq[0].raised;
    fake_host_advance(fake, 100000000);
    assert_int_equal(fake->irq[0].raised, before);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(mode_2_ticks_at_100_hz),
        CASE(mode_0_interrupts_once),
        CASE(the_counter_latch_holds_both_bytes),
        CASE(read_back_gives_status_then_count),
        CASE(bcd_counts_in_decimal),
        CASE(channel_2_counts_behind_its_gate),
        CASE(the_refresh_bit_toggles),
        CASE(tiny_periods_do_not_storm_the_host),
        CASE(state_survives_and_hostile_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
