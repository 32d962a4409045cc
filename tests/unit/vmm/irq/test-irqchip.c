/* Local APICs, IO-APIC and messages together, on a clock moved by hand.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/irq/i8259.h"
#include "vmm/irq/ioapic.h"
#include "vmm/irq/irqchip.h"
#include "vmm/irq/lapic.h"

#include <string.h>

#define VCPUS 4
#define PAGE UINT64_C(0xfee00000)

typedef struct Requests {
    unsigned interrupts, nmis, inits, sipis;
    uint8_t sipi_vector;
} Requests;

static Requests requests[VCPUS];
static int64_t now_ns;
static int64_t deadline_ns[VCPUS];
static IrqChip *chip;
static I8259Pair pair;
static IoApic ioapic;
static Lapic lapic[VCPUS];
static LapicPort port[VCPUS];

static void request(void *opaque, unsigned vcpu, VcpuRequest what, uint8_t vector)
{
    requests[vcpu].interrupts += what == VCPU_REQUEST_INTERRUPT;
    requests[vcpu].nmis += what == VCPU_REQUEST_NMI;
    requests[vcpu].inits += what == VCPU_REQUEST_INIT;
    requests[vcpu].sipis += what == VCPU_REQUEST_SIPI;
    requests[vcpu].sipi_vector = vector;
}

static int64_t clock_ns(void *opaque)
{
    return now_ns;
}

static void timer_set(void *opaque, unsigned vcpu, int64_t deadline)
{
    deadline_ns[vcpu] = deadline;
}

static uint64_t read_tsc(void *opaque)
{
    return (uint64_t)now_ns * 3 + 500; /* 3 GHz */
}

static uint32_t get(unsigned vcpu, unsigned offset)
{
    uint64_t value = 0;
    assert_true(port[vcpu].read_mmio(&lapic[vcpu], PAGE + offset, 4, &value));
    return (uint32_t)value;
}

static void put(unsigned vcpu, unsigned offset, uint32_t value)
{
    assert_true(port[vcpu].write_mmio(&lapic[vcpu], PAGE + offset, 4, value));
}

static bool get_msr(unsigned vcpu, uint32_t msr, uint64_t *value)
{
    return port[vcpu].read_msr(&lapic[vcpu], msr, value);
}

static bool put_msr(unsigned vcpu, uint32_t msr, uint64_t value)
{
    return port[vcpu].write_msr(&lapic[vcpu], msr, value);
}

static int pending(unsigned vcpu)
{
    return port[vcpu].pending(&lapic[vcpu]);
}

static int acknowledge(unsigned vcpu)
{
    return port[vcpu].acknowledge(&lapic[vcpu]);
}

static void to_x2apic(unsigned vcpu)
{
    uint64_t base;
    assert_true(get_msr(vcpu, 0x1b, &base));
    assert_true(put_msr(vcpu, 0x1b, base | 0x400));
}

static void put_ioapic(unsigned index, uint32_t value)
{
    ioapic_write(&ioapic, 0x00, index);
    ioapic_write(&ioapic, 0x10, value);
}

static uint32_t get_ioapic(unsigned index)
{
    ioapic_write(&ioapic, 0x00, index);
    return ioapic_read(&ioapic, 0x10);
}

static int setup(void **state)
{
    memset(requests, 0, sizeof(requests));
    now_ns = 1000000;
    const IrqChipHost host = {
        .vcpu_count = VCPUS, .vcpu_request = request, .clock_ns = clock_ns, .timer_set = timer_set
    };
    chip = irq_chip_new(&host);
    i8259_init(&pair);
    i8259_reset(&pair);
    irq_chip_attach_i8259(chip, &pair);
    ioapic_init(&ioapic);
    ioapic_reset(&ioapic);
    irq_chip_attach_ioapic(chip, &ioapic);
    for (unsigned i = 0; i < VCPUS; i++) {
        deadline_ns[i] = IRQ_TIMER_OFF;
        lapic_init(&lapic[i], i);
        irq_chip_attach_lapic(chip, i, &lapic[i]);
        port[i] = irq_chip_lapic_port(chip, i);
        port[i].bind_tsc(&lapic[i], read_tsc, NULL, UINT64_C(3000000000));
        put(i, 0xf0, 0x1ff); /* enable by software */
    }
    memset(requests, 0, sizeof(requests));
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        irq_chip_attach_lapic(chip, i, NULL);
        lapic_done(&lapic[i]);
    }
    irq_chip_attach_ioapic(chip, NULL);
    irq_chip_attach_i8259(chip, NULL);
    irq_chip_free(chip);
    ioapic_done(&ioapic);
    i8259_done(&pair);
    return 0;
}

static void the_page_shows_id_version_and_reset_values(void **state)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        assert_int_equal(get(i, 0x20), i << 24);
        assert_int_equal(get(i, 0x30), 0x01050014);
        assert_int_equal(get(i, 0xe0), 0xffffffff);
        assert_int_equal(get(i, 0x320), 0x10000);
    }
    uint64_t base;
    assert_true(get_msr(0, 0x1b, &base));
    assert_int_equal(base, 0xfee00900);
    assert_true(get_msr(1, 0x1b, &base));
    assert_int_equal(base, 0xfee00800);
    uint64_t value;
    assert_false(port[0].read_mmio(&lapic[0], PAGE + 0x1000, 4, &value));
    assert_false(port[0].write_mmio(&lapic[0], PAGE - 4, 4, 0));
}

static void an_ipi_reaches_its_processor_only(void **state)
{
    put(0, 0x310, 2u << 24);
    put(0, 0x300, 0x4041);
    assert_int_equal(requests[2].interrupts, 1);
    assert_int_equal(requests[1].interrupts + requests[3].interrupts + requests[0].interrupts, 0);
    assert_int_equal(pending(2), 0x41);
    assert_int_equal(pending(2), 0x41);
    assert_int_equal(acknowledge(2), 0x41);
    assert_int_equal(pending(2), -1);
    assert_int_equal(get(2, 0x120), 1u << 1); /* ISR of 0x40-0x5f */
    put(2, 0xb0, 0);
    assert_int_equal(get(2, 0x120), 0);
    assert_int_equal(get(0, 0x300) & 0x1000, 0);
}

static void shorthands_reach_self_all_or_others(void **state)
{
    put(1, 0x300, 0x44050);
    assert_int_equal(pending(1), 0x50);
    assert_int_equal(pending(0), -1);
    put(1, 0x300, 0xc4051);
    assert_int_equal(pending(0), 0x51);
    assert_int_equal(pending(1), 0x50);
    assert_int_equal(pending(3), 0x51);
    put(1, 0x300, 0x84052);
    assert_int_equal(pending(1), 0x52);
    assert_int_equal(pending(2), 0x52);
}

static void init_and_sipi_start_a_processor(void **state)
{
    put(0, 0x310, 1u << 24);
    put(0, 0x300, 0xc500); /* INIT, assert */
    put(0, 0x300, 0x8500); /* de-assert: nothing */
    put(0, 0x300, 0x469a);
    assert_int_equal(requests[1].inits, 1);
    assert_int_equal(requests[1].sipis, 1);
    assert_int_equal(requests[1].sipi_vector, 0x9a);
    put(0, 0x300, 0x4400);
    assert_int_equal(requests[1].nmis, 1);
    put(1, 0x80, 0x70);
    port[1].reset(&lapic[1]);
    assert_int_equal(get(1, 0x80), 0);
    assert_int_equal(get(1, 0x20), 1u << 24);
}

static void priorities_hold_lower_vectors_back(void **state)
{
    put(0, 0x80, 0x60);
    put(0, 0x300, 0x44055);
    put(0, 0x300, 0x4406f);
    assert_int_equal(pending(0), -1);
    requests[0].interrupts = 0;
    put(0, 0x80, 0x50);
    assert_int_equal(requests[0].interrupts, 1);
    assert_int_equal(acknowledge(0), 0x6f);
    assert_int_equal(get(0, 0xa0), 0x60);
    put(0, 0x300, 0x44068); /* the same class waits */
    assert_int_equal(pending(0), -1);
    put(0, 0x300, 0x44071);
    assert_int_equal(acknowledge(0), 0x71);
    put(0, 0xb0, 0);
    put(0, 0xb0, 0);
    assert_int_equal(acknowledge(0), 0x68);
    put(0, 0xb0, 0);
    assert_int_equal(pending(0), -1);
    port[0].set_cr8(&lapic[0], 4);
    assert_int_equal(get(0, 0x80), 0x40);
    assert_int_equal(port[0].get_cr8(&lapic[0]), 4);
    assert_int_equal(acknowledge(0), 0x55);
}

static void logical_destinations_match_flat_and_cluster(void **state)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        put(i, 0xd0, 1u << (24 + i));
    }
    put(0, 0x310, 0x0au << 24);
    put(0, 0x300, 0x4861);
    assert_int_equal(pending(0), -1);
    assert_int_equal(pending(1), 0x61);
    assert_int_equal(pending(2), -1);
    assert_int_equal(pending(3), 0x61);
    for (unsigned i = 0; i < VCPUS; i++) {
        put(i, 0xe0, 0x0fffffff);
        put(i, 0xd0, (i / 2 << 4 | 1u << (i & 1)) << 24); /* clusters 0 and 1 */
    }
    put(0, 0x310, 0x13u << 24);
    put(0, 0x300, 0x4862);
    assert_int_equal(pending(1), 0x61);
    assert_int_equal(pending(2), 0x62);
    assert_int_equal(pending(3), 0x62);
}

static void lowest_priority_picks_one(void **state)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        put(i, 0xd0, 1u << (24 + i));
        put(i, 0x80, i == 2 ? 0x10 : 0x20);
    }
    put(0, 0x310, 0xffu << 24);
    put(0, 0x300, 0x4963);
    assert_int_equal(pending(2), 0x63);
    assert_int_equal(pending(0) + pending(1) + pending(3), -3);
}

static void x2apic_registers_are_msrs_and_refuse_reserved_bits(void **state)
{
    uint64_t value = 0;
    assert_false(get_msr(1, 0x802, &value));
    to_x2apic(1);
    assert_true(get_msr(1, 0x802, &value));
    assert_int_equal(value, 1);
    assert_true(get_msr(1, 0x80d, &value));
    assert_int_equal(value, 2);
    assert_false(port[1].read_mmio(&lapic[1], PAGE + 0x20, 4, &value));
    assert_true(put_msr(1, 0x830, UINT64_C(0x300000041)));
    assert_int_equal(pending(3), 0x41);
    assert_true(get_msr(1, 0x830, &value));
    assert_true(value == UINT64_C(0x300000041));
    assert_true(put_msr(1, 0x83f, 0x42));
    assert_int_equal(acknowledge(1), 0x42);
    assert_true(put_msr(1, 0x80b, 0));
    static const uint32_t unwritable[] = { 0x802, 0x803, 0x80a, 0x80d, 0x80e,
                                           0x810, 0x820, 0x831, 0x839, 0x8ff };
    for (unsigned i = 0; i < sizeof(unwritable) / sizeof(unwritable[0]); i++) {
        assert_false(put_msr(1, unwritable[i], 0x20));
    }
    /* Linux, powering off: read-only bits are no reserved ones. */
    assert_true(put_msr(1, 0x835, 0x5700));
    assert_true(get_msr(1, 0x835, &value));
    assert_int_equal(value & 0xffff, 0x700);
    assert_false(put_msr(1, 0x80b, 1));
    assert_false(put_msr(1, 0x828, 1));
    assert_true(put_msr(1, 0x828, 0));
    assert_false(put_msr(1, 0x808, 0x100));
    assert_false(put_msr(1, 0x838, UINT64_C(0x100000000)));
    assert_false(put_msr(1, 0x835, 0x80700));
    assert_false(put_msr(1, 0x830, 0x2041));
    assert_false(get_msr(1, 0x80b, &value));
    assert_false(get_msr(1, 0x80e, &value));
    assert_false(get_msr(1, 0x831, &value));
    assert_false(put_msr(1, 0x1b, 0xfee00800)); /* back to xAPIC only by off */
    assert_false(put_msr(1, 0x1b, 0xfee00400));
    assert_true(put_msr(1, 0x1b, 0xfee00000));
    assert_false(put_msr(1, 0x1b, 0xfee00c00)); /* and from off to x2APIC neither */
    assert_true(put_msr(1, 0x1b, 0xfee00800));
}

static void a_disabled_processor_takes_no_interrupt(void **state)
{
    put(2, 0xf0, 0xff);
    put(0, 0x310, 2u << 24);
    put(0, 0x300, 0x4041);
    assert_int_equal(pending(2), -1);
    assert_int_equal(requests[2].interrupts, 0);
    assert_int_equal(get(2, 0x350), 0x10000); /* masked by the switch */
    put(0, 0x300, 0x4400);
    assert_int_equal(requests[2].nmis, 1);
}

static void illegal_vectors_are_told_in_the_error_register(void **state)
{
    put(0, 0x370, 0x3e);
    put(0, 0x310, 1u << 24);
    put(0, 0x300, 0x4005);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x20);
    assert_int_equal(acknowledge(0), 0x3e);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0);
    put(0, 0x3f0, 1);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x80);
    put(0, 0x370, 0x01); /* an illegal vector for errors must not recurse */
    put(0, 0x300, 0x44002);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x20);
}

static void pass_time(int64_t ns)
{
    int64_t target = now_ns + ns;
    while (deadline_ns[0] <= target) {
        now_ns = deadline_ns[0];
        deadline_ns[0] = IRQ_TIMER_OFF;
        irq_chip_timer_due(chip, 0);
    }
    now_ns = target;
}

static void the_timer_counts_down_once(void **state)
{
    put(0, 0x3e0, 0x3); /* divide by 16 */
    put(0, 0x320, 0xec);
    put(0, 0x380, 1000);
    assert_int_equal(get(0, 0x390), 1000);
    pass_time(8000);
    assert_int_equal(get(0, 0x390), 500);
    assert_int_equal(pending(0), -1);
    pass_time(8000);
    assert_int_equal(acknowledge(0), 0xec);
    assert_int_equal(get(0, 0x390), 0);
    put(0, 0xb0, 0);
    pass_time(1000000);
    assert_int_equal(pending(0), -1);
    irq_chip_timer_due(chip, 0); /* a call too many does nothing */
    assert_int_equal(pending(0), -1);
}

static void the_periodic_timer_goes_on_until_stopped(void **state)
{
    put(0, 0x3e0, 0xb); /* divide by 1 */
    put(0, 0x320, 0x200ec);
    put(0, 0x380, 100000);
    for (unsigned i = 0; i < 3; i++) {
        pass_time(99999);
        assert_int_equal(pending(0), -1);
        pass_time(1);
        assert_int_equal(acknowledge(0), 0xec);
        put(0, 0xb0, 0);
    }
    pass_time(40000);
    assert_int_equal(get(0, 0x390), 60000);
    put(0, 0x380, 0);
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
    put(0, 0x380, 1); /* a period of 1 ns may not call the host at that rate */
    pass_time(1);
    assert_true(deadline_ns[0] >= now_ns + 10000);
}

static void the_deadline_timer_follows_the_tsc(void **state)
{
    uint64_t value;
    assert_true(put_msr(0, 0x6e0, 123456789)); /* ignored in other modes */
    put(0, 0x320, 0x400ee);
    assert_true(get_msr(0, 0x6e0, &value));
    assert_int_equal(value, 0);
    uint64_t tsc = read_tsc(NULL);
    assert_true(put_msr(0, 0x6e0, tsc + 30000));
    assert_true(get_msr(0, 0x6e0, &value));
    assert_true(value == tsc + 30000);
    pass_time(9999);
    assert_int_equal(pending(0), -1);
    pass_time(2);
    assert_int_equal(acknowledge(0), 0xee);
    put(0, 0xb0, 0);
    assert_true(get_msr(0, 0x6e0, &value));
    assert_int_equal(value, 0);
    assert_true(put_msr(0, 0x6e0, 1)); /* past: at once */
    assert_int_equal(acknowledge(0), 0xee);
    put(0, 0xb0, 0);
    assert_true(put_msr(0, 0x6e0, read_tsc(NULL) + 3000));
    assert_true(put_msr(0, 0x6e0, 0)); /* disarmed */
    pass_time(2000);
    assert_int_equal(pending(0), -1);
    assert_true(put_msr(0, 0x6e0, UINT64_MAX));
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
}

static void a_paused_timer_waits_for_resume(void **state)
{
    put(0, 0x3e0, 0xb);
    put(0, 0x320, 0xec);
    put(0, 0x380, 50000);
    lapic_pause(&lapic[0]);
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
    irq_chip_timer_due(chip, 0);
    assert_true(deadline_ns[0] == IRQ_TIMER_OFF);
    lapic_resume(&lapic[0]);
    pass_time(50000);
    assert_int_equal(pending(0), 0xec);
}

static void an_edge_pin_sends_one_message(void **state)
{
    put_ioapic(0x10 + 2 * 4, 0x34);
    put_ioapic(0x11 + 2 * 4, 1u << 24);
    IrqLine line = irq_chip_line(chip, 4);
    irq_line_set(&line, true);
    irq_line_set(&line, true);
    assert_int_equal(acknowledge(1), 0x34);
    put(1, 0xb0, 0);
    assert_int_equal(pending(1), -1);
    irq_line_set(&line, false);
    put_ioapic(0x10 + 2 * 4, 0x10034);
    irq_line_set(&line, true); /* lost while masked */
    put_ioapic(0x10 + 2 * 4, 0x34);
    assert_int_equal(pending(1), -1);
}

static void a_level_pin_asks_again_after_eoi(void **state)
{
    put_ioapic(0x10 + 2 * 20, 0xa05a); /* level, active low is only polarity */
    put_ioapic(0x11 + 2 * 20, 3u << 24);
    IrqLine line = irq_chip_line(chip, 20);
    irq_line_set(&line, true);
    assert_int_equal(get_ioapic(0x10 + 2 * 20), 0xe05a); /* remote IRR */
    assert_int_equal(acknowledge(3), 0x5a);
    assert_int_equal(get(3, 0x1a0), 1u << 26); /* TMR */
    put(3, 0xb0, 0);
    assert_int_equal(acknowledge(3), 0x5a);
    irq_line_set(&line, false);
    put(3, 0xb0, 0);
    assert_int_equal(pending(3), -1);
    assert_int_equal(get_ioapic(0x10 + 2 * 20), 0xa05a);
}

static void directed_eoi_goes_to_the_io_apic_register(void **state)
{
    put(3, 0xf0, 0x11ff); /* no EOI broadcast */
    put_ioapic(0x10 + 2 * 20, 0x805a);
    put_ioapic(0x11 + 2 * 20, 3u << 24);
    IrqLine line = irq_chip_line(chip, 20);
    irq_line_set(&line, true);
    irq_line_set(&line, false);
    assert_int_equal(acknowledge(3), 0x5a);
    put(3, 0xb0, 0);
    assert_int_equal(get_ioapic(0x10 + 2 * 20), 0xc05a);
    ioapic_write(&ioapic, 0x40, 0x5a);
    assert_int_equal(get_ioapic(0x10 + 2 * 20), 0x805a);
}

static void gsi_0_arrives_at_pin_2(void **state)
{
    i8259_write(&pair, 0, 1, 0xff);
    put_ioapic(0x10 + 2 * 2, 0x30);
    IrqLine line = irq_chip_line(chip, 0);
    irq_line_pulse(&line);
    assert_int_equal(pending(0), 0x30);
}

static void io_apic_registers_read_as_the_data_sheet_says(void **state)
{
    assert_int_equal(get_ioapic(1), 0x00170020);
    put_ioapic(0, 0x0f000000);
    assert_int_equal(get_ioapic(0), 0x0f000000);
    assert_int_equal(get_ioapic(0x10), 0x10000);
    put_ioapic(0x10, 0xffffffff);
    assert_int_equal(get_ioapic(0x10), 0x1afff); /* no status, no remote IRR */
    assert_int_equal(get_ioapic(0x40), 0);
    assert_int_equal(get_ioapic(0xff), 0);
}

static void a_message_of_a_device_is_routed(void **state)
{
    MsiSink sink = irq_chip_msi_sink(chip);
    msi_send(&sink, 0xfee02000, 0x4055);
    assert_int_equal(pending(2), 0x55);
    msi_send(&sink, 0xfeeff000, 0x0056);
    assert_int_equal(pending(0), 0x56);
    assert_int_equal(pending(2), 0x56);
    msi_send(&sink, 0x1000, 0x0057); /* no interrupt address */
    assert_int_equal(pending(0), 0x56);
    msi_send(&sink, 0xfee01000, 0x0300); /* reserved mode */
    msi_send(&sink, 0xfee01000, 0x0400);
    assert_int_equal(requests[1].nmis, 1);
}

static void the_8259s_reach_the_boot_processor(void **state)
{
    lapic_reset(&lapic[0]);
    i8259_write(&pair, 0, 0, 0x11);
    i8259_write(&pair, 0, 1, 0x08);
    i8259_write(&pair, 0, 1, 0x04);
    i8259_write(&pair, 0, 1, 0x01);
    IrqLine line = irq_chip_line(chip, 1);
    irq_line_pulse(&line);
    assert_int_equal(requests[0].interrupts, 1);
    assert_int_equal(pending(0), 0x09);
    assert_int_equal(pending(1), -1);
    assert_int_equal(acknowledge(0), 0x09);
    assert_int_equal(pending(0), -1);
    i8259_write(&pair, 0, 0, 0x20);
    put(0, 0xf0, 0x1ff);
    put(0, 0x350, 0x10700); /* masked: Linux runs with the IO-APIC */
    irq_line_pulse(&line);
    assert_int_equal(pending(0), -1);
    put(0, 0x350, 0x00700);
    assert_int_equal(acknowledge(0), 0x09);
}

static void nothing_is_requested_after_stop(void **state)
{
    put(0, 0x320, 0xec);
    put(0, 0x380, 1000);
    irq_chip_stop(chip);
    MsiSink sink = irq_chip_msi_sink(chip);
    msi_send(&sink, 0xfee02000, 0x4055);
    msi_send(&sink, 0xfee02000, 0x4400);
    now_ns += 1000000;
    irq_chip_timer_due(chip, 0);
    assert_int_equal(requests[0].interrupts + requests[2].interrupts + requests[2].nmis, 0);
}

static void impossible_loaded_state_is_refused(void **state)
{
    assert_true(lapic_check_loaded(&lapic[0]));
    lapic[0].svr = 0xffffffff;
    assert_false(lapic_check_loaded(&lapic[0]));
    lapic[0].svr = 0x1ff;
    lapic[0].lvt[0] = 0x80000000;
    assert_false(lapic_check_loaded(&lapic[0]));
    lapic[0].lvt[0] = 0;
    lapic[0].base = 0x400;
    assert_false(lapic_check_loaded(&lapic[0]));
    assert_true(ioapic_check_loaded(&ioapic));
    ioapic.entry[3] = 0x4000;
    assert_false(ioapic_check_loaded(&ioapic));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_page_shows_id_version_and_reset_values),
        CASE(an_ipi_reaches_its_processor_only),
        CASE(shorthands_reach_self_all_or_others),
        CASE(init_and_sipi_start_a_processor),
        CASE(priorities_hold_lower_vectors_back),
        CASE(logical_destinations_match_flat_and_cluster),
        CASE(lowest_priority_picks_one),
        CASE(x2apic_registers_are_msrs_and_refuse_reserved_bits),
        CASE(a_disabled_processor_takes_no_interrupt),
        CASE(illegal_vectors_are_told_in_the_error_register),
        CASE(the_timer_counts_down_once),
        CASE(the_periodic_timer_goes_on_until_stopped),
        CASE(the_deadline_timer_follows_the_tsc),
        CASE(a_paused_timer_waits_for_resume),
        CASE(an_edge_pin_sends_one_message),
        CASE(a_level_pin_asks_again_after_eoi),
        CASE(directed_eoi_goes_to_the_io_apic_register),
        CASE(gsi_0_arrives_at_pin_2),
        CASE(io_apic_registers_read_as_the_data_sheet_says),
        CASE(a_message_of_a_device_is_routed),
        CASE(the_8259s_reach_the_boot_processor),
        CASE(nothing_is_requested_after_stop),
        CASE(impossible_loaded_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
