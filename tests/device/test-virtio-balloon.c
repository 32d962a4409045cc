/* Memory balloon. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/virtio/balloon/balloon.h"

#include <linux/virtio_balloon.h>
#include <string.h>

#define ALL UINT64_MAX
#define INFLATE 0
#define DEFLATE 1
#define STATS 2
#define PFNS VIRT_BUFFER_BASE
#define PAGE 0x80000

static int set_up(void **state)
{
    VirtDriver *d = virt_driver_new(fake_host_new(), &virtio_balloon_pci_class, NULL);
    virt_driver_start(d, ALL);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    virt_driver_free(*state);
    return 0;
}

static void send_pfns(VirtDriver *d, unsigned queue, uint32_t first, uint32_t second)
{
    uint32_t length;
    le32_put(virt_ram(d, PFNS), first);
    le32_put(virt_ram(d, PFNS + 4), second);
    const VirtBuffer buffer = { PFNS, 8, false };
    virtq_add(d, queue, &buffer, 1);
    virtq_kick(d, queue);
    virtq_wait_used(d, queue, &length);
    assert_int_equal(length, 0);
}

static void given_up_pages_become_zero(void **state)
{
    VirtDriver *d = *state;
    memset(virt_ram(d, PAGE), 'p', 4 * 4096);
    send_pfns(d, INFLATE, PAGE / 4096, PAGE / 4096 + 2);
    assert_int_equal(*(char *)virt_ram(d, PAGE), 0);
    assert_int_equal(*(char *)virt_ram(d, PAGE + 4096), 'p');
    assert_int_equal(*(char *)virt_ram(d, PAGE + 2 * 4096), 0);
    send_pfns(d, DEFLATE, PAGE / 4096, PAGE / 4096 + 2);
    *(char *)virt_ram(d, PAGE) = 'q';
    assert_int_equal(*(char *)virt_ram(d, PAGE), 'q');
}

static void pages_that_are_no_memory_are_skipped(void **state)
{
    VirtDriver *d = *state;
    memset(virt_ram(d, PAGE), 'p', 4096);
    send_pfns(d, INFLATE, UINT32_MAX, PAGE / 4096);
    assert_int_equal(*(char *)virt_ram(d, PAGE), 0);
    assert_int_equal(virt_driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void a_request_outside_memory_needs_a_reset(void **state)
{
    VirtDriver *d = *state;
    const VirtBuffer buffer = { FAKE_HOST_RAM_BYTES, 8, false };
    virtq_add(d, INFLATE, &buffer, 1);
    virtq_kick(d, INFLATE);
    assert_true(virt_driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void too_many_pages_at_once_need_a_reset(void **state)
{
    VirtDriver *d = *state;
    const VirtBuffer buffer = { 0, UINT32_MAX, false };
    virtq_add(d, INFLATE, &buffer, 1);
    virtq_kick(d, INFLATE);
    assert_true(virt_driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void the_target_reaches_the_guest(void **state)
{
    VirtDriver *d = *state;
    uint64_t before = fake_mmio_read(d->fake, VIRT_COMMON + 21, 1);
    virtio_balloon_set_target(&d->dev->device, 1000);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_CONFIG, 4), 1000);
    assert_int_not_equal(fake_mmio_read(d->fake, VIRT_COMMON + 21, 1), before);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_ISR, 1), 2);
    fake_mmio_write(d->fake, VIRT_CONFIG + 4, 800, 4);
    assert_int_equal(virtio_balloon_actual(&d->dev->device), 800);
    fake_mmio_write(d->fake, VIRT_CONFIG, 5, 4);
    assert_int_equal(fake_mmio_read(d->fake, VIRT_CONFIG, 4), 1000);
}

static void offer_stats(VirtDriver *d, uint64_t free_bytes)
{
    uint8_t *stat = virt_ram(d, PFNS);
    le16_put(stat, VIRTIO_BALLOON_S_MEMFREE);
    le64_put(stat + 2, free_bytes);
    le16_put(stat + 10, 0xffff); /* a kind that does not exist */
    le64_put(stat + 12, 1);
    const VirtBuffer buffer = { PFNS, 25, false }; /* the last one is cut off */
    virtq_add(d, STATS, &buffer, 1);
    virtq_kick(d, STATS);
}

static void statistics_come_when_polled(void **state)
{
    VirtDriver *d = *state;
    BalloonStats stats;
    virtio_balloon_get_stats(&d->dev->device, &stats);
    assert_int_equal(stats.updated_ns, 0);
    offer_stats(d, 12345);
    virtio_balloon_get_stats(&d->dev->device, &stats);
    assert_int_equal(stats.value[VIRTIO_BALLOON_S_MEMFREE], 12345);
    assert_true(stats.value[VIRTIO_BALLOON_S_MEMTOT] == BALLOON_NO_STAT);
    assert_false(virtq_has_used(d, STATS));
    virtio_balloon_set_polling(&d->dev->device, 2);
    fake_host_check_round_trip(&d->dev->device);
    fake_host_advance(d->fake, INT64_C(1900000000));
    assert_false(virtq_has_used(d, STATS));
    fake_host_advance(d->fake, INT64_C(200000000));
    virtq_wait_used(d, STATS, NULL);
    offer_stats(d, 777);
    virtio_balloon_get_stats(&d->dev->device, &stats);
    assert_int_equal(stats.value[VIRTIO_BALLOON_S_MEMFREE], 777);
}

static void a_second_statistics_buffer_returns_the_first(void **state)
{
    VirtDriver *d = *state;
    offer_stats(d, 1);
    offer_stats(d, 2);
    virtq_wait_used(d, STATS, NULL);
    assert_false(virtq_has_used(d, STATS));
    virt_driver_start(d, ALL); /* drops the other */
    offer_stats(d, 3);
    assert_false(virtq_has_used(d, STATS));
}

static void reported_pages_become_zero(void **state)
{
    const char *properties[] = { "free-page-reporting", "on", NULL };
    VirtDriver *d = virt_driver_new(fake_host_new(), &virtio_balloon_pci_class, properties);
    virt_driver_start(d, ALL);
    memset(virt_ram(d, PAGE), 'p', 4 * 4096);
    const VirtBuffer buffer = { PAGE + 1, 2 * 4096, true };
    virtq_add(d, 3, &buffer, 1);
    virtq_kick(d, 3);
    virtq_wait_used(d, 3, NULL);
    assert_int_equal(*(char *)virt_ram(d, PAGE), 'p');
    assert_int_equal(*(char *)virt_ram(d, PAGE + 4096), 0);
    assert_int_equal(*(char *)virt_ram(d, PAGE + 2 * 4096), 'p');
    virt_driver_free(d);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(given_up_pages_become_zero),
        CASE(pages_that_are_no_memory_are_skipped),
        CASE(a_request_outside_memory_needs_a_reset),
        CASE(too_many_pages_at_once_need_a_reset),
        CASE(the_target_reaches_the_guest),
        CASE(statistics_come_when_polled),
        CASE(a_second_statistics_buffer_returns_the_first),
        cmocka_unit_test(reported_pages_become_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
