/* The lesson device: what its specification says, and what a guest does wrong.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/bus/pci/pci-bus.h"
#include "vmm/devices/devices.h"

#include <string.h>

#define BASE UINT64_C(0xe0000000)

static FakeHost *fake;
static PciBus *root;
static Device *edu;
static unsigned line_level;

static void set_pirq(void *opaque, unsigned pirq, bool level)
{
    line_level = level;
}

static int setup(void **state)
{
    fake = fake_host_new();
    root = pci_root_new(PCI_ROOT_BUS_NAME);
    pci_root_set_pirq_sink(root, set_pirq, NULL);
    line_level = 0;
    edu = fake_pci_add(fake, root, &edu_class, NULL, NULL);
    uint8_t devfn = ((PciDevice *)edu)->devfn;
    pci_config_write(root, 0, devfn, PCI_BASE_ADDRESS_0, BASE, 4);
    pci_config_write(root, 0, devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return 0;
}

static int teardown(void **state)
{
    fake_pci_remove(edu);
    pci_root_free(root);
    fake_host_free(fake);
    return 0;
}

static uint64_t get(unsigned offset)
{
    return fake_mmio_read(fake, BASE + offset, 4);
}

static void put(unsigned offset, uint32_t value)
{
    fake_mmio_write(fake, BASE + offset, value, 4);
}

static void dma(uint64_t source, uint64_t destination, uint64_t count, uint32_t command)
{
    fake_mmio_write(fake, BASE + 0x80, source, 8);
    fake_mmio_write(fake, BASE + 0x88, destination, 8);
    fake_mmio_write(fake, BASE + 0x90, count, 8);
    fake_mmio_write(fake, BASE + 0x98, command, 8);
    fake_host_advance(fake, NS_PER_MS);
}

static void it_is_alive(void **state)
{
    assert_int_equal(get(0x00), 0x010000ed);
    put(0x04, 0x12345678);
    assert_int_equal(get(0x04), 0xedcba987);
    assert_int_equal(get(0x7c), 0xffffffff);
}

static void a_factorial_takes_its_time(void **state)
{
    put(0x08, 10);
    assert_int_equal(get(0x20), 1);
    put(0x08, 3); /* busy: ignored */
    fake_host_advance(fake, NS_PER_MS);
    assert_int_equal(get(0x20), 0);
    assert_int_equal(get(0x08), 3628800);
    put(0x08, UINT32_MAX);
    fake_host_advance(fake, NS_PER_MS);
    assert_int_equal(get(0x20), 0);
}

static void an_interrupt_stays_until_acknowledged(void **state)
{
    put(0x20, 0x80);
    put(0x08, 5);
    fake_host_advance(fake, NS_PER_MS);
    assert_int_equal(line_level, 1);
    assert_int_equal(get(0x24), 1);
    put(0x60, 0x10);
    put(0x64, 1);
    assert_int_equal(line_level, 1);
    put(0x64, 0x10);
    assert_int_equal(line_level, 0);
}

static void dma_goes_both_ways(void **state)
{
    memcpy(fake->ram->host + 0x1000, "lesson", 7);
    dma(0x1000, 0x40010, 7, 0x1);
    dma(0x40010, 0x2000, 7, 0x7);
    assert_string_equal((char *)fake->ram->host + 0x2000, "lesson");
    assert_int_equal(get(0x24), 0x100);
    assert_int_equal(get(0x98), 0x6);
}

static void dma_past_the_buffer_or_without_bus_mastering_does_nothing(void **state)
{
    memset(fake->ram->host + 0x2000, 0xcc, 16);
    dma(0x40ff9, 0x2000, 16, 0x3);
    dma(0x3ffff, 0x2000, 1, 0x3);
    dma(0x40000, 0x2000, UINT64_MAX, 0x3);
    dma(UINT64_MAX, 0x2000, 16, 0x3);
    pci_config_write(root, 0, ((PciDevice *)edu)->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    dma(0x40000, 0x2000, 16, 0x3);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(fake->ram->host[0x2000 + i], 0xcc);
    }
}

static void work_goes_on_after_a_load(void **state)
{
    put(0x20, 0x80);
    put(0x08, 4);
    fake_host_check_round_trip(edu);
    fake_host_advance(fake, NS_PER_MS);
    assert_int_equal(get(0x08), 24);
    assert_int_equal(line_level, 1);
    device_reset(edu, RESET_COLD);
    assert_int_equal(line_level, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_is_alive),
        CASE(a_factorial_takes_its_time),
        CASE(an_interrupt_stays_until_acknowledged),
        CASE(dma_goes_both_ways),
        CASE(dma_past_the_buffer_or_without_bus_mastering_does_nothing),
        CASE(work_goes_on_after_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
