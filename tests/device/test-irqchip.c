/* The interrupt chips as devices: where they are mapped, reset, state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/devices.h"
#include "vmm/irq/irqchip.h"

#include <string.h>

static FakeHost *fake;
static IrqChip *chip;
static unsigned requests[2];
static int64_t deadline_ns[2];

static void vcpu_request(void *opaque, unsigned vcpu, VcpuRequest request, uint8_t vector)
{
    requests[vcpu]++;
}

static int64_t clock_ns(void *opaque)
{
    return fake->now_ns;
}

static void timer_set(void *opaque, unsigned vcpu, int64_t deadline)
{
    deadline_ns[vcpu] = deadline;
}

static int setup(void **state)
{
    const IrqChipHost host = {
        .vcpu_count = 2, .vcpu_request = vcpu_request, .clock_ns = clock_ns, .timer_set = timer_set
    };
    fake = fake_host_new();
    chip = irq_chip_new(&host);
    fake_host_add_backend(fake, "irqchip", "irqchip", chip);
    return 0;
}

static int teardown(void **state)
{
    irq_chip_free(chip);
    fake_host_free(fake);
    return 0;
}

static void put_ioapic(unsigned index, uint32_t value)
{
    fake_mmio_write(fake, 0xfec00000, index, 4);
    fake_mmio_write(fake, 0xfec00010, value, 4);
}

static void a_pending_interrupt_survives_save_and_load(void **state)
{
    static const char *const second[] = { "vcpu", "1", NULL };
    Device *apics[] = { fake_host_add(fake, &apic_class, NULL),
                        fake_host_add(fake, &apic_class, second) };
    Device *ioapic = fake_host_add(fake, &ioapic_class, NULL);
    LapicPort port = irq_chip_lapic_port(chip, 1);
    port.write_mmio(port.lapic, 0xfee000f0, 4, 0x1ff);
    put_ioapic(0x11 + 2 * 5, 1u << 24);
    put_ioapic(0x10 + 2 * 5, 0x8045);
    IrqLine line = irq_chip_line(chip, 5);
    irq_line_set(&line, true);
    assert_true(requests[1] > 0);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    device_save(apics[1], saved);
    fake_host_check_round_trip(ioapic);
    device_reset(apics[1], RESET_COLD);
    assert_int_equal(port.pending(port.lapic), -1);
    assert_true(device_load(apics[1], saved->data, saved->len, NULL));
    assert_int_equal(port.pending(port.lapic), 0x45);
    device_free(ioapic);
    device_free(apics[0]);
    device_free(apics[1]);
}

static void a_timer_is_stopped_and_started_with_the_guest(void **state)
{
    Device *apic = fake_host_add(fake, &apic_class, NULL);
    LapicPort port = irq_chip_lapic_port(chip, 0);
    port.write_mmio(port.lapic, 0xfee003e0, 4, 0xb);
    port.write_mmio(port.lapic, 0xfee00380, 4, 1000);
    assert_true(deadline_ns[0] == fake->now_ns + 1000);
    device_quiesce(apic);
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
    device_resume(apic);
    assert_true(deadline_ns[0] == fake->now_ns + 1000);
    device_free(apic);
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
}

static void the_8259s_are_at_their_ports(void **state)
{
    Device *pair = fake_host_add(fake, &i8259_class, NULL);
    fake_out8(fake, 0x21, 0xfb);
    fake_out8(fake, 0xa1, 0xff);
    fake_out8(fake, 0x4d1, 0x0e);
    assert_int_equal(fake_in8(fake, 0x21), 0xfb);
    assert_int_equal(fake_in8(fake, 0xa1), 0xff);
    assert_int_equal(fake_in8(fake, 0x4d1), 0x0e);
    fake_host_check_round_trip(pair);
    device_reset(pair, RESET_COLD);
    assert_int_equal(fake_in8(fake, 0x21), 0x00);
    device_free(pair);
}

static void a_processor_that_is_not_there_is_refused(void **state)
{
    g_autoptr(GError) error = NULL;
    Device *apic = device_new(&apic_class, NULL);
    assert_true(device_set_property(apic, "vcpu", "2", NULL));
    assert_false(device_realize(apic, &fake->host, &error));
    assert_non_null(strstr(error->message, "2 vCPUs"));
    device_free(apic);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_pending_interrupt_survives_save_and_load),
        CASE(a_timer_is_stopped_and_started_with_the_guest),
        CASE(the_8259s_are_at_their_ports),
        CASE(a_processor_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
