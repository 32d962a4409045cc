/* Virtio transports: negotiation, interrupts, the legacy interface, MMIO, state; with the entropy
 * device as the simplest one. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/endian.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/bus/pci/q35.h"
#include "vmm/virtio/rng/rng.h"

#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <unistd.h>

#define ALL UINT64_MAX
#define READY                                                                                      \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |          \
     VIRTIO_CONFIG_S_DRIVER_OK)

static const VirtBuffer entropy = { VIRT_BUFFER_BASE, 64, true };

static int set_up(void **state)
{
    *state = virt_driver_new(fake_host_new(), &virtio_rng_pci_class, NULL);
    return 0;
}

static int tear_down(void **state)
{
    virt_driver_free(*state);
    return 0;
}

static bool is_filled(VirtDriver *d, GuestAddr addr, uint32_t length)
{
    const uint8_t *bytes = virt_ram(d, addr);
    for (uint32_t i = 0; i < length; i++) {
        if (bytes[i]) {
            return true;
        }
    }
    return false;
}

static uint32_t cfg_read(VirtDriver *d, unsigned offset, unsigned size)
{
    return pci_config_read(d->root, 0, d->dev->pci.devfn, offset, size);
}

static void cfg_write(VirtDriver *d, unsigned offset, uint32_t value, unsigned size)
{
    pci_config_write(d->root, 0, d->dev->pci.devfn, offset, value, size);
}

static void a_transitional_device_is_found_as_drivers_expect(void **state)
{
    VirtDriver *d = *state;
    assert_int_equal(cfg_read(d, PCI_VENDOR_ID, 4), 0x10051af4);
    assert_int_equal(cfg_read(d, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x00041af4);
    assert_int_equal(cfg_read(d, PCI_REVISION_ID, 1), 0);
    unsigned seen = 0;
    for (unsigned at = cfg_read(d, PCI_CAPABILITY_LIST, 1); at; at = cfg_read(d, at + 1, 1)) {
        if (cfg_read(d, at, 1) == PCI_CAP_ID_VNDR) {
            unsigned kind = cfg_read(d, at + VIRTIO_PCI_CAP_CFG_TYPE, 1);
            seen |= 1u << kind;
            assert_true(kind == VIRTIO_PCI_CAP_PCI_CFG ||
                        cfg_read(d, at + VIRTIO_PCI_CAP_BAR, 1) == 4);
        }
    }
    /* Without config bytes there is no device structure. */
    assert_int_equal(seen, 1u << VIRTIO_PCI_CAP_COMMON_CFG | 1u << VIRTIO_PCI_CAP_NOTIFY_CFG |
                               1u << VIRTIO_PCI_CAP_ISR_CFG | 1u << VIRTIO_PCI_CAP_PCI_CFG);
}

static void a_modern_device_sits_behind_a_port(void **state)
{
    VirtDriver *d = *state;
    Device *port = fake_pci_add(d->fake, d->root, &pcie_root_port_class, "p", NULL);
    const char *behind[] = { "bus", "p", NULL };
    Device *rng = fake_pci_add(d->fake, d->root, &virtio_rng_pci_class, "r", behind);
    pci_config_write(d->root, 0, ((PciDevice *)port)->devfn, PCI_PRIMARY_BUS, 0x00010100, 4);
    assert_int_equal(pci_config_read(d->root, 1, 0, 0, 4), 0x10441af4);
    assert_int_equal(pci_config_read(d->root, 1, 0, PCI_REVISION_ID, 1), 1);
    assert_int_equal(pci_config_read(d->root, 1, 0, PCI_BASE_ADDRESS_0, 4), 0);
    fake_pci_remove(rng);
    fake_pci_remove(port);
}

static void a_request_is_answered_with_an_interrupt(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    assert_int_equal(virt_driver_status(d), READY);
    uint16_t head = virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    uint32_t length;
    assert_int_equal(virtq_wait_used(d, 0, &length), head);
    assert_int_equal(length, 64);
    assert_true(is_filled(d, VIRT_BUFFER_BASE, 64));
    assert_true(d->dev->pci.intx_level);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_ISR, 1), 1);
    assert_false(d->dev->pci.intx_level);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_ISR, 1), 0);
}

static void use_msix(VirtDriver *d)
{
    fake_mmio_write(d->fake, VIRT_MSIX_BAR + 16, 0xfee00000, 8);
    fake_mmio_write(d->fake, VIRT_MSIX_BAR + 24, 0x55, 4);
    fake_mmio_write(d->fake, VIRT_MSIX_BAR + 28, 0, 4);
    cfg_write(d, d->dev->pci.msix.capability + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    fake_mmio_write(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
    fake_mmio_write(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
}

static void msix_messages_wait_while_masked(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    use_msix(d);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    assert_int_equal(d->fake->msi_count, 1);
    assert_int_equal(d->fake->msi[0].address, 0xfee00000);
    assert_int_equal(d->fake->msi[0].data, 0x55);
    assert_false(d->dev->pci.intx_level);
    fake_mmio_write(d->fake, VIRT_MSIX_BAR + 28, 1, 4);
    le16_put(virt_ram(d, d->queue[0].avail + 4 + 2 * d->queue[0].size), 1); /* used_event */
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    assert_int_equal(d->fake->msi_count, 1);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_MSIX_BAR + 2048, 8), 2);
    fake_mmio_write(d->fake, VIRT_MSIX_BAR + 28, 0, 4);
    assert_int_equal(d->fake->msi_count, 2);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_MSIX_BAR + 2048, 8), 0);
    fake_mmio_write(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 7, 2);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
}

static void a_bad_ring_asks_for_a_reset_and_a_reset_heals(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    virtq_publish(d, 0, 0xffff);
    virtq_kick(d, 0);
    assert_int_equal(virt_driver_status(d), READY | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_ISR, 1), VIRTIO_PCI_ISR_CONFIG);
    virtq_kick(d, 0);
    virt_driver_start(d, ALL);
    assert_int_equal(virt_driver_status(d), READY);
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    virtq_wait_used(d, 0, NULL);
}

static void features_that_were_not_offered_are_not_ok(void **state)
{
    VirtDriver *d = *state;
    virt_driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    fake_mmio_write(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
    fake_mmio_write(d->fake, VIRT_COMMON + VIRTIO_PCI_COMMON_GF, 0x80000001, 4);
    virt_driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                  VIRTIO_CONFIG_S_FEATURES_OK);
    assert_false(virt_driver_status(d) & VIRTIO_CONFIG_S_FEATURES_OK);
}

static void nothing_moves_without_bus_mastering(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    cfg_write(d, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    assert_false(virtq_has_used(d, 0));
    cfg_write(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    virt_driver_run(d);
    assert_true(virtq_has_used(d, 0));
}

static void a_quiesced_device_takes_nothing_until_it_goes_on(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    device_quiesce(&d->dev->device);
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    assert_false(virtq_has_used(d, 0));
    assert_true(device_is_drained(&d->dev->device));
    device_resume(&d->dev->device);
    virt_driver_run(d);
    assert_true(virtq_has_used(d, 0));
}

static void state_moves_to_another_device(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    use_msix(d);
    virtq_add(d, 0, &entropy, 1);
    virtq_kick(d, 0);
    virtq_wait_used(d, 0, NULL);
    fake_host_check_round_trip(&d->dev->device);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    device_save(&d->dev->device, bytes);
    /* The same machine without its device, then with a fresh one that loads the state. */
    fake_pci_remove(&d->dev->device);
    const char *properties[] = { "addr", "1", NULL };
    d->dev =
        (VirtioDevice *)fake_pci_add(d->fake, d->root, &virtio_rng_pci_class, "dev0", properties);
    assert_true(device_load(&d->dev->device, bytes->data, bytes->len, NULL));
    device_resume(&d->dev->device);
    virtq_add(d, 0, &entropy, 1);
    le16_put(virt_ram(d, d->queue[0].avail + 4 + 2 * d->queue[0].size), 1);
    virtq_kick(d, 0);
    virtq_wait_used(d, 0, NULL);
    assert_int_equal(d->fake->msi_count, 2);
}

static void hostile_states_are_refused(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    d->dev->queue[0].ring.size = 3;
    device_save(&d->dev->device, bytes);
    assert_false(device_load(&d->dev->device, bytes->data, bytes->len, &error));
    assert_non_null(strstr(error->message, "impossible queue"));
    d->dev->queue[0].ring.size = 8;
    g_byte_array_set_size(bytes, 0);
    d->dev->accepted |= UINT64_C(1) << 63;
    device_save(&d->dev->device, bytes);
    assert_false(device_load(&d->dev->device, bytes->data, bytes->len, NULL));
}

static void the_config_window_reaches_the_structures(void **state)
{
    VirtDriver *d = *state;
    unsigned at = d->dev->window_capability;
    cfg_write(d, at + 4, 4, 1);
    cfg_write(d, at + 8, VIRTIO_PCI_COMMON_STATUS, 4);
    cfg_write(d, at + 12, 1, 4);
    cfg_write(d, at + 16, VIRTIO_CONFIG_S_ACKNOWLEDGE, 4);
    assert_int_equal(virt_driver_status(d), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(cfg_read(d, at + 16, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    cfg_write(d, at + 8, VIRTIO_PCI_COMMON_NUMQ, 4);
    cfg_write(d, at + 12, 2, 4);
    assert_int_equal(cfg_read(d, at + 16, 4), 1);
    cfg_write(d, at + 8, 0xfffffffc, 4); /* outside: nothing happens */
    cfg_write(d, at + 16, 1, 4);
    cfg_write(d, at + 12, 3, 4);
    cfg_read(d, at + 16, 4);
}

static void a_legacy_driver_works_through_ports(void **state)
{
    VirtDriver *d = *state;
    fake_out8(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_STATUS, 0);
    fake_out8(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_STATUS, 3);
    assert_true(fake_in32(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_HOST_FEATURES) &
                1u << VIRTIO_RING_F_INDIRECT_DESC);
    fake_out32(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_GUEST_FEATURES, 0);
    fake_out16(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_SEL, 0);
    uint16_t size = fake_in16(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_NUM);
    assert_int_equal(size, 8);
    fake_out32(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_PFN, 2);
    assert_int_equal(fake_in32(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_PFN), 2);
    d->queue[0] =
        (VirtQ){ .desc = 0x2000, .avail = 0x2000 + 16 * size, .used = 0x3000, .size = size };
    fake_out8(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_STATUS, 7);
    virtq_add(d, 0, &entropy, 1);
    fake_out16(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_NOTIFY, 0);
    virt_driver_run(d);
    virtq_wait_used(d, 0, NULL);
    assert_int_equal(fake_in8(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_ISR), 1);
    fake_out32(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_PFN, 0);
    assert_false(d->dev->queue[0].ring.is_ready);
    fake_out16(d->fake, VIRT_LEGACY_PORTS + VIRTIO_PCI_QUEUE_NOTIFY, 0xffff);
    virt_driver_run(d);
}

static void a_limited_rate_makes_the_guest_wait(void **state)
{
    const char *properties[] = { "max-bytes", "100", "period", "1000", NULL };
    VirtDriver *d = virt_driver_new(fake_host_new(), &virtio_rng_pci_class, properties);
    virt_driver_start(d, ALL);
    for (unsigned i = 0; i < 4; i++) {
        virtq_add(d, 0, &entropy, 1);
    }
    virtq_kick(d, 0);
    uint32_t length;
    virtq_wait_used(d, 0, &length);
    assert_int_equal(length, 64);
    virtq_wait_used(d, 0, &length);
    assert_int_equal(length, 36);
    assert_false(virtq_has_used(d, 0));
    fake_host_advance(d->fake, 999 * 1000000);
    assert_false(virtq_has_used(d, 0));
    fake_host_advance(d->fake, 2 * 1000000);
    virt_driver_run(d);
    assert_true(virtq_has_used(d, 0));
    fake_host_check_round_trip(&d->dev->device);
    virt_driver_free(d);
}

static void a_source_that_is_missing_is_named(void **state)
{
    VirtDriver *d = *state;
    g_autoptr(GError) error = NULL;
    Device *dev = device_new(&virtio_rng_pci_class, "r");
    assert_true(device_set_property(dev, "rng", "o1", NULL));
    assert_true(pci_bus_plug(d->root, (PciDevice *)dev, NULL));
    assert_false(device_realize(dev, &d->fake->host, &error));
    assert_non_null(strstr(error->message, "no rng 'o1'"));
    RngSource source = { .fd = -1 };
    fake_host_add_backend(d->fake, "rng", "o1", &source);
    assert_true(device_realize(dev, &d->fake->host, NULL));
    fake_pci_remove(dev);
}

/* A file that has nothing at the moment is asked again; until then the request is the device's. */
static void a_request_waits_for_a_slow_source(void **state)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
    RngSource source = { .fd = pipes[0] };
    FakeHost *fake = fake_host_new();
    fake_host_add_backend(fake, "rng", "slow", &source);
    const char *properties[] = { "rng", "slow", NULL };
    VirtDriver *d = virt_driver_new(fake, &virtio_rng_pci_class, properties);
    const VirtBuffer buffer = { VIRT_BUFFER_BASE, 64, true };
    uint32_t length;
    virt_driver_start(d, ALL);
    virtq_add(d, 0, &buffer, 1);
    virtq_kick(d, 0);
    loop_run_once(fake->loop, 0);
    assert_false(virtq_has_used(d, 0));
    assert_int_equal(write(pipes[1], "random", 6), 6);
    fake_host_advance(fake, 200 * NS_PER_MS);
    virtq_wait_used(d, 0, &length);
    assert_int_equal(length, 6);
    assert_memory_equal(virt_ram(d, VIRT_BUFFER_BASE), "random", 6);
    virt_driver_free(d);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_request_with_nothing_to_write_is_given_back(void **state)
{
    VirtDriver *d = *state;
    virt_driver_start(d, ALL);
    const VirtBuffer readable = { VIRT_BUFFER_BASE, 64, false };
    uint32_t length;
    virtq_add(d, 0, &readable, 1);
    virtq_kick(d, 0);
    virtq_wait_used(d, 0, &length);
    assert_int_equal(length, 0);
    const VirtBuffer outside = { FAKE_HOST_RAM_BYTES, 64, true };
    virtq_add(d, 0, &outside, 1);
    virtq_kick(d, 0);
    assert_true(virt_driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

#define MMIO 0xfeb00000

static void mmio_write(FakeHost *fake, unsigned offset, uint32_t value)
{
    fake_mmio_write(fake, MMIO + offset, value, 4);
}

static uint32_t mmio_read(FakeHost *fake, unsigned offset)
{
    return (uint32_t)fake_mmio_read(fake, MMIO + offset, 4);
}

static void mmio_start(FakeHost *fake)
{
    mmio_write(fake, VIRTIO_MMIO_STATUS, 0);
    mmio_write(fake, VIRTIO_MMIO_STATUS, 3);
    mmio_write(fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    mmio_write(fake, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    mmio_write(fake, VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_STATUS), 11);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_SEL, 0);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_QUEUE_NUM_MAX), 8);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_NUM, 8);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x2000);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_USED_LOW, 0x3000);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_QUEUE_READY), 1);
    mmio_write(fake, VIRTIO_MMIO_STATUS, 15);
}

static void mmio_carries_a_request(void **state)
{
    FakeHost *fake = fake_host_new();
    const char *properties[] = { "mmio-base", "0xfeb00000", NULL };
    Device *dev = fake_host_add(fake, &virtio_rng_device_class, properties);
    VirtDriver d = { .fake = fake, .dev = (VirtioDevice *)dev };
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_DEVICE_ID), 4);
    assert_int_equal(fake_mmio_read(fake, MMIO, 1), 0);
    mmio_start(fake);
    d.queue[0] = (VirtQ){ .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .size = 8 };
    virtq_add(&d, 0, &entropy, 1);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_NOTIFY, 99);
    virt_driver_run(&d);
    virtq_wait_used(&d, 0, NULL);
    assert_true(fake->irq[0].level);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
    mmio_write(fake, VIRTIO_MMIO_INTERRUPT_ACK, 1);
    assert_false(fake->irq[0].level);
    fake_host_check_round_trip(dev);
    mmio_write(fake, VIRTIO_MMIO_QUEUE_READY, 0);
    assert_int_equal(mmio_read(fake, VIRTIO_MMIO_QUEUE_READY), 0);
    device_free(dev);
    fake_host_free(fake);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_transitional_device_is_found_as_drivers_expect),
        CASE(a_modern_device_sits_behind_a_port),
        CASE(a_request_is_answered_with_an_interrupt),
        CASE(msix_messages_wait_while_masked),
        CASE(a_bad_ring_asks_for_a_reset_and_a_reset_heals),
        CASE(features_that_were_not_offered_are_not_ok),
        CASE(nothing_moves_without_bus_mastering),
        CASE(a_quiesced_device_takes_nothing_until_it_goes_on),
        CASE(state_moves_to_another_device),
        CASE(hostile_states_are_refused),
        CASE(the_config_window_reaches_the_structures),
        CASE(a_legacy_driver_works_through_ports),
        CASE(a_source_that_is_missing_is_named),
        CASE(a_request_with_nothing_to_write_is_given_back),
        cmocka_unit_test(a_limited_rate_makes_the_guest_wait),
        cmocka_unit_test(a_request_waits_for_a_slow_source),
        cmocka_unit_test(mmio_carries_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
