/* HPET: counter, one-shot and periodic timers, routes, legacy replacement.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/devices.h"

#define BASE UINT64_C(0xfed00000)

static FakeHost *fake;
static Device *hpet;

static int setup(void **state)
{
    static const char *const properties[] = { "msi", "on", NULL };
    fake = fake_host_new();
    hpet = fake_host_add(fake, &hpet_class, properties);
    return 0;
}

static int teardown(void **state)
{
    device_free(hpet);
    fake_host_free(fake);
    return 0;
}

static uint32_t get(unsigned offset)
{
    return (uint32_t)fake_mmio_read(fake, BASE + offset, 4);
}

static uint64_t get64(unsigned offset)
{
    return fake_mmio_read(fake, BASE + offset, 8);
}

static void put(unsigned offset, uint32_t value)
{
    fake_mmio_write(fake, BASE + offset, value, 4);
}

static void put64(unsigned offset, uint64_t value)
{
    fake_mmio_write(fake, BASE + offset, value, 8);
}

static void capabilities_tell_period_and_timers(void **state)
{
    assert_int_equal(get(0x004), 10000000); /* fs */
    assert_int_equal(get(0x000), 0x8086a201);
    assert_true(get64(0x000) == UINT64_C(0x009896808086a201));
    assert_int_equal(get(0x104), 0x00f00104);
    assert_int_equal(get(0x100) & 0x8030, 0x8030);
    assert_int_equal(get(0x160), 0); /* there is no fourth timer */
}

static void the_counter_runs_while_enabled(void **state)
{
    assert_true(get64(0x0f0) == 0);
    fake_host_advance(fake, 1000);
    assert_true(get64(0x0f0) == 0);
    put(0x010, 1);
    fake_host_advance(fake, 12340);
    assert_true(get64(0x0f0) == 1234);
    put(0x010, 0);
    fake_host_advance(fake, 1000);
    assert_int_equal(get(0x0f0), 1234);
    put64(0x0f0, UINT64_C(0xffffffff));
    put(0x010, 1);
    fake_host_advance(fake, 10);
    assert_int_equal(get(0x0f4), 1);
    assert_int_equal(get(0x0f0), 0);
}

static void a_one_shot_interrupts_at_its_comparator(void **state)
{
    put(0x010, 1);
    put(0x100 + 0x40, 0x0004 | 21 << 9); /* timer 2, edge, pin 21 */
    put64(0x108 + 0x40, 500);
    fake_host_advance(fake, 4990);
    assert_int_equal(fake->irq[3].raised, 0);
    fake_host_advance(fake, 10);
    assert_int_equal(fake->irq[3].raised, 1);
    assert_false(fake->irq[3].level);
    assert_int_equal(get(0x020), 0);
    fake_host_advance(fake, 1000000000);
    assert_int_equal(fake->irq[3].raised, 1);
}

static void a_level_interrupt_stays_until_acknowledged(void **state)
{
    put(0x010, 1);
    put(0x100, 0x0006 | 20 << 9);
    put64(0x108, 500);
    fake_host_advance(fake, 5000);
    assert_true(fake->irq[2].level);
    assert_int_equal(get(0x020), 1);
    put(0x020, 6);
    assert_true(fake->irq[2].level);
    put(0x020, 1);
    assert_false(fake->irq[2].level);
    assert_int_equal(get(0x020), 0);
}

/* As Linux sets up its tick: 32 bits, comparator by VAL_SET, then the period. */
static void a_periodic_timer_ticks_in_legacy_mode(void **state)
{
    put(0x010, 3);
    put(0x100, 0x014c);
    put(0x108, 100000 + get(0x0f0));
    put(0x108, 100000);
    fake_host_advance(fake, 10 * 1000000);
    assert_int_equal(fake->irq[0].raised, 10);
    put(0x010, 0);
    fake_host_advance(fake, 10 * 1000000);
    assert_int_equal(fake->irq[0].raised, 10);
}

static void legacy_mode_cuts_off_pit_and_rtc(void **state)
{
    IrqLine pit = hpet_legacy_input(hpet, 0), rtc = hpet_legacy_input(hpet, 1);
    irq_line_pulse(&pit);
    irq_line_pulse(&rtc);
    assert_int_equal(fake->irq[0].raised, 1);
    assert_int_equal(fake->irq[1].raised, 1);
    assert_false(fake->irq[HPET_LEGACY_LINE].level);
    put(0x010, 2);
    assert_true(fake->irq[HPET_LEGACY_LINE].level);
    irq_line_pulse(&pit);
    irq_line_pulse(&rtc);
    assert_int_equal(fake->irq[0].raised, 1);
    assert_int_equal(fake->irq[1].raised, 1);
    device_reset(hpet, RESET_COLD);
    irq_line_pulse(&pit);
    assert_int_equal(fake->irq[0].raised, 2);
}

static void a_message_is_sent_where_it_is_told(void **state)
{
    put(0x010, 1);
    put(0x110, 0x41);
    put(0x114, 0xfee01000);
    put(0x100, 0x4004);
    put64(0x108, 10);
    fake_host_advance(fake, 100);
    assert_int_equal(fake->msi_count, 1);
    assert_int_equal(fake->msi[0].address, 0xfee01000);
    assert_int_equal(fake->msi[0].data, 0x41);
}

static void tiny_periods_do_not_storm_the_host(void **state)
{
    put(0x010, 1);
    put(0x100, 0x004c);
    put64(0x108, 1);
    unsigned before = fake->timers_fired;
    fake_host_advance(fake, 1000000);
    assert_in_range(fake->timers_fired - before, 10, 51);
}

static void state_survives(void **state)
{
    put(0x010, 3);
    put(0x100, 0x014c);
    put(0x108, 100000 + get(0x0f0));
    put(0x108, 100000);
    fake_host_advance(fake, 500000);
    fake_host_check_round_trip(hpet);
    fake_host_advance(fake, 10000000);
    assert_int_equal(fake->irq[0].raised, 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(capabilities_tell_period_and_timers),
        CASE(the_counter_runs_while_enabled),
        CASE(a_one_shot_interrupts_at_its_comparator),
        CASE(a_level_interrupt_stays_until_acknowledged),
        CASE(a_periodic_timer_ticks_in_legacy_mode),
        CASE(legacy_mode_cuts_off_pit_and_rtc),
        CASE(a_message_is_sent_where_it_is_told),
        CASE(tiny_periods_do_not_storm_the_host),
        CASE(state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
