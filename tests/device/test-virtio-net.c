/* Virtio network card on a fake back end: frames both ways, merged buffers, filters, bad requests,
 * saved state. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/net/net.h"
#include "vmm/virtio/net/virtio-net.h"

#include <linux/virtio_net.h>
#include <string.h>

#define RX 0
#define TX 1
#define CONTROL 2
#define HEADER 12

/* A back end that keeps the last frame. */
typedef struct FakeNet {
    NetBackend base;
    uint8_t sent[4096];
    size_t sent_bytes;
    unsigned sent_count, accepts;
    bool is_full;
} FakeNet;

static bool fake_open(NetBackend *backend, GError **error)
{
    return true;
}

static void fake_close(NetBackend *backend)
{
}

static ssize_t fake_send(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    FakeNet *net = (FakeNet *)backend;
    if (net->is_full) {
        return 0;
    }
    net->sent_bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(net->sent + net->sent_bytes, iov[i].iov_base, iov[i].iov_len);
        net->sent_bytes += iov[i].iov_len;
    }
    net->sent_count++;
    return (ssize_t)net->sent_bytes;
}

static void fake_accept(NetBackend *backend)
{
    ((FakeNet *)backend)->accepts++;
}

static const NetClass fake_net_class = {
    .name = "fake",
    .instance_size = sizeof(FakeNet),
    .open = fake_open,
    .close = fake_close,
    .send = fake_send,
    .accept_frames = fake_accept,
};

typedef struct Rig {
    VirtDriver *driver;
    FakeNet *net;
} Rig;

static const char *const properties[] = { "netdev", "n0", "mac", "52:54:00:aa:bb:cc", NULL };
static const uint8_t own_mac[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };

static Rig start(uint64_t features)
{
    FakeHost *fake = fake_host_new();
    FakeNet *net = (FakeNet *)net_new(&fake_net_class, "n0");
    assert_true(net_open(&net->base, fake->host.loop, NULL));
    fake_host_add_backend(fake, VIRTIO_NET_BACKEND, "n0", net);
    VirtDriver *driver = virt_driver_new(fake, &virtio_net_pci_class, properties);
    virt_driver_start(driver, features);
    return (Rig){ driver, net };
}

static void stop(Rig *rig)
{
    NetBackend *net = &rig->net->base;
    virt_driver_free(rig->driver);
    net->is_open = false; /* its loop is gone */
    net_free(net);
}

static ssize_t feed(Rig *rig, const uint8_t *frame, size_t length)
{
    struct iovec iov = { (void *)frame, length };
    return net_receive(&rig->net->base, &iov, 1);
}

static void frame_to(uint8_t *frame, const uint8_t *mac, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        frame[i] = (uint8_t)i;
    }
    memcpy(frame, mac, 6);
}

static void a_sent_frame_reaches_the_back_end_without_its_header(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    VirtBuffer buffers[] = { { VIRT_BUFFER_BASE, HEADER, false },
                             { VIRT_BUFFER_BASE + 0x100, 60, false } };
    memset(virt_ram(rig.driver, VIRT_BUFFER_BASE + 0x100), 0x5a, 60);
    virtq_add(rig.driver, TX, buffers, 2);
    virtq_kick(rig.driver, TX);
    assert_int_equal(rig.net->sent_bytes, 60);
    assert_int_equal(rig.net->sent[59], 0x5a);
    assert_true(virtq_has_used(rig.driver, TX));
    stop(&rig);
}

static void a_frame_without_room_waits_and_is_sent_once(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    VirtBuffer buffer = { VIRT_BUFFER_BASE, HEADER + 60, false };
    rig.net->is_full = true;
    virtq_add(rig.driver, TX, &buffer, 1);
    virtq_kick(rig.driver, TX);
    assert_false(virtq_has_used(rig.driver, TX));
    rig.net->is_full = false;
    net_can_send(&rig.net->base);
    virt_driver_run(rig.driver);
    assert_int_equal(rig.net->sent_count, 1);
    assert_true(virtq_has_used(rig.driver, TX));
    stop(&rig);
}

static void a_received_frame_lies_behind_its_header(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    uint8_t frame[100];
    uint32_t length;
    frame_to(frame, own_mac, sizeof(frame));
    assert_int_equal(feed(&rig, frame, sizeof(frame)), 0);
    VirtBuffer buffer = { VIRT_BUFFER_BASE, 2048, true };
    virtq_add(rig.driver, RX, &buffer, 1);
    virtq_kick(rig.driver, RX);
    assert_true(rig.net->accepts > 0);
    assert_int_equal(feed(&rig, frame, sizeof(frame)), sizeof(frame));
    virtq_wait_used(rig.driver, RX, &length);
    assert_int_equal(length, HEADER + sizeof(frame));
    const uint8_t *ram = virt_ram(rig.driver, VIRT_BUFFER_BASE);
    assert_int_equal(le16_get(ram + 10), 1);
    assert_memory_equal(ram + HEADER, frame, sizeof(frame));
    stop(&rig);
}

static void a_long_frame_fills_several_merged_buffers(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
    uint8_t frame[250];
    uint32_t length;
    frame_to(frame, own_mac, sizeof(frame));
    for (unsigned i = 0; i < 2; i++) {
        VirtBuffer buffer = { VIRT_BUFFER_BASE + i * 0x1000, 100, true };
        virtq_add(rig.driver, RX, &buffer, 1);
    }
    virtq_kick(rig.driver, RX);
    assert_int_equal(feed(&rig, frame, sizeof(frame)), 0);
    assert_false(virtq_has_used(rig.driver, RX));
    VirtBuffer third = { VIRT_BUFFER_BASE + 0x2000, 100, true };
    virtq_add(rig.driver, RX, &third, 1);
    virtq_kick(rig.driver, RX);
    assert_int_equal(feed(&rig, frame, sizeof(frame)), sizeof(frame));
    static const uint32_t lengths[] = { 100, 100, 62 };
    for (unsigned i = 0; i < 3; i++) {
        virtq_wait_used(rig.driver, RX, &length);
        assert_int_equal(length, lengths[i]);
    }
    assert_int_equal(le16_get((uint8_t *)virt_ram(rig.driver, VIRT_BUFFER_BASE) + 10), 3);
    assert_memory_equal(virt_ram(rig.driver, VIRT_BUFFER_BASE + 0x2000), frame + 188, 62);
    stop(&rig);
}

/* Runs one control command; returns its status byte. */
static uint8_t control(Rig *rig, const uint8_t *bytes, uint32_t length)
{
    VirtBuffer buffers[] = { { VIRT_BUFFER_BASE + 0x8000, length, false },
                             { VIRT_BUFFER_BASE + 0x9000, 1, true } };
    uint8_t *status = virt_ram(rig->driver, VIRT_BUFFER_BASE + 0x9000);
    memcpy(virt_ram(rig->driver, VIRT_BUFFER_BASE + 0x8000), bytes, length);
    *status = 0x77;
    virtq_add(rig->driver, CONTROL, buffers, 2);
    virtq_kick(rig->driver, CONTROL);
    virtq_wait_used(rig->driver, CONTROL, NULL);
    return *status;
}

/* Whether the card takes a frame for @mac off the back end and gives it to the driver. */
static bool takes(Rig *rig, const uint8_t *mac)
{
    uint8_t frame[64];
    VirtBuffer buffer = { VIRT_BUFFER_BASE, 2048, true };
    frame_to(frame, mac, sizeof(frame));
    virtq_add(rig->driver, RX, &buffer, 1);
    virtq_kick(rig->driver, RX);
    assert_int_equal(feed(rig, frame, sizeof(frame)), sizeof(frame));
    virt_driver_run(rig->driver);
    if (!virtq_has_used(rig->driver, RX)) {
        return false;
    }
    virtq_wait_used(rig->driver, RX, NULL);
    return true;
}

static void filters_let_in_what_the_driver_asked_for(void **state)
{
    static const uint8_t promiscuous_off[] = { VIRTIO_NET_CTRL_RX, 0, 0 };
    static const uint8_t all_multicast[] = { VIRTIO_NET_CTRL_RX, 1, 1 };
    static const uint8_t table[] = {
        VIRTIO_NET_CTRL_MAC, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0
    };
    static const uint8_t other[6] = { 2, 0, 0, 0, 0, 8 }, listed[6] = { 2, 0, 0, 0, 0, 9 };
    static const uint8_t multicast[6] = { 1, 0, 0x5e, 0, 0, 1 };
    static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                    VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_RX));
    assert_true(takes(&rig, other));
    assert_int_equal(control(&rig, promiscuous_off, sizeof(promiscuous_off)), VIRTIO_NET_OK);
    assert_false(takes(&rig, other));
    assert_false(takes(&rig, listed));
    assert_true(takes(&rig, own_mac));
    assert_true(takes(&rig, broadcast));
    assert_false(takes(&rig, multicast));
    assert_int_equal(control(&rig, table, sizeof(table)), VIRTIO_NET_OK);
    assert_true(takes(&rig, listed));
    assert_int_equal(control(&rig, all_multicast, sizeof(all_multicast)), VIRTIO_NET_OK);
    assert_true(takes(&rig, multicast));
    stop(&rig);
}

static void bad_control_commands_get_an_error_status(void **state)
{
    static const uint8_t rows[][12] = {
        { 0, 0, 2 },                      /* a mode of 2 */
        { 0, 9, 1 },                      /* no such mode */
        { 1, 0, 0xff, 0xff, 0xff, 0xff }, /* more addresses than the command holds */
        { 2, 0, 0xff, 0xff },             /* VLAN 65535 */
        { 3, 0 },                         /* nothing was announced */
        { 9, 9 },                         /* no such class */
    };
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ));
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        assert_int_equal(control(&rig, rows[i], sizeof(rows[i])), VIRTIO_NET_ERR);
    }
    static const uint8_t cut = 0;
    assert_int_equal(control(&rig, &cut, 1), VIRTIO_NET_ERR);
    stop(&rig);
}

static void a_control_command_without_status_fails_the_device(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ));
    VirtBuffer buffer = { VIRT_BUFFER_BASE, 3, false };
    virtq_add(rig.driver, CONTROL, &buffer, 1);
    virtq_kick(rig.driver, CONTROL);
    assert_true(virt_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    stop(&rig);
}

static void frames_too_short_or_long_are_given_back_unsent(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    static const uint32_t lengths[] = { 1, HEADER, HEADER + 3, 0x40000 };
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        VirtBuffer buffer = { VIRT_BUFFER_BASE, lengths[i], false };
        virtq_add(rig.driver, TX, &buffer, 1);
        virtq_kick(rig.driver, TX);
        assert_true(virtq_has_used(rig.driver, TX));
        virtq_wait_used(rig.driver, TX, NULL);
    }
    assert_int_equal(rig.net->sent_count, 0);
    stop(&rig);
}

static void the_link_shows_in_the_configuration(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_STATUS));
    uint8_t config[VIRTIO_CONFIG_MAX] = { 0 };
    rig.driver->dev->class->get_config(rig.driver->dev, config);
    assert_memory_equal(config, own_mac, 6);
    assert_int_equal(le16_get(config + 6), VIRTIO_NET_S_LINK_UP);
    net_set_link(&rig.net->base, false);
    rig.driver->dev->class->get_config(rig.driver->dev, config);
    assert_int_equal(le16_get(config + 6), 0);
    stop(&rig);
}

static void saved_state_loads_and_saves_the_same(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ));
    static const uint8_t vlan[] = { VIRTIO_NET_CTRL_VLAN, 0, 5, 0 };
    assert_int_equal(control(&rig, vlan, sizeof(vlan)), VIRTIO_NET_OK);
    g_autoptr(GByteArray) first = g_byte_array_new(), second = g_byte_array_new();
    Device *dev = &rig.driver->dev->device;
    device_save(dev, first);
    assert_true(device_load(dev, first->data, first->len, NULL));
    device_save(dev, second);
    assert_int_equal(first->len, second->len);
    assert_memory_equal(first->data, second->data, first->len);
    stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sent_frame_reaches_the_back_end_without_its_header),
        cmocka_unit_test(a_frame_without_room_waits_and_is_sent_once),
        cmocka_unit_test(a_received_frame_lies_behind_its_header),
        cmocka_unit_test(a_long_frame_fills_several_merged_buffers),
        cmocka_unit_test(filters_let_in_what_the_driver_asked_for),
        cmocka_unit_test(bad_control_commands_get_an_error_status),
        cmocka_unit_test(a_control_command_without_status_fails_the_device),
        cmocka_unit_test(frames_too_short_or_long_are_given_back_unsent),
        cmocka_unit_test(the_link_shows_in_the_configuration),
        cmocka_unit_test(saved_state_loads_and_saves_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
