/* Virtio console: the handshake of its ports, bytes both ways, back pressure, bad messages, saved
 * state. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/char/simple.h"
#include "vmm/virtio/console/console.h"

#include <fcntl.h>
#include <linux/virtio_console.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_RX 2
#define CONTROL_TX 3
#define PORT1_RX 4
#define PORT1_TX 5
#define MESSAGES 6
#define MESSAGE_BYTES 64
#define ALL_FEATURES                                                                               \
    (VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT))

typedef struct Rig {
    FakeHost *fake;
    VirtDriver *driver;
    Device *console, *channel;
    CharBackend *ring, *socket;
    int peer;
} Rig;

static Device *add_port(Rig *rig, const DeviceClass *class, const char *const *properties)
{
    Device *dev = device_new(class, NULL);
    for (; properties[0]; properties += 2) {
        assert_true(device_set_property(dev, properties[0], properties[1], NULL));
    }
    assert_true(device_realize(dev, &rig->fake->host, NULL));
    return dev;
}

static void open_socket(Rig *rig)
{
    int pair[2];
    char number[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(number, sizeof(number), "%d", pair[0]);
    rig->peer = pair[1];
    rig->socket = char_new(char_class_find("socket", NULL), "s");
    assert_true(char_set_property(rig->socket, "fd", number, NULL));
    assert_true(char_open(rig->socket, rig->fake->host.loop, NULL));
}

/* Console on port 0 (a ring), channel "org.test" on port 1 (a socket). */
static Rig start(uint64_t features)
{
    static const char *const serial_properties[] = { "max_ports", "4", NULL };
    static const char *const console_properties[] = { "chardev", "r", NULL };
    static const char *const channel_properties[] = { "chardev", "s", "name", "org.test", NULL };
    Rig rig = { .fake = fake_host_new() };
    open_socket(&rig);
    rig.ring = char_new(&char_ringbuf_class, "r");
    assert_true(char_open(rig.ring, rig.fake->host.loop, NULL));
    rig.driver = virt_driver_new(rig.fake, &virtio_serial_pci_class, serial_properties);
    fake_host_add_backend(rig.fake, VIRTIO_SERIAL_BACKEND, "r", rig.ring);
    fake_host_add_backend(rig.fake, VIRTIO_SERIAL_BACKEND, "s", rig.socket);
    fake_host_add_backend(rig.fake, VIRTIO_SERIAL_BUS, "", &rig.driver->dev->device);
    rig.console = add_port(&rig, &virtconsole_class, console_properties);
    rig.channel = add_port(&rig, &virtserialport_class, channel_properties);
    virt_driver_start(rig.driver, features);
    return rig;
}

static void stop(Rig *rig)
{
    device_free(rig->channel);
    device_free(rig->console);
    close(rig->peer);
    char_free(rig->socket);
    char_free(rig->ring);
    virt_driver_free(rig->driver);
}

static void send_control(Rig *rig, uint32_t id, uint16_t event, uint16_t value)
{
    VirtBuffer buffer = { VIRT_BUFFER_BASE, 8, false };
    uint8_t *ram = virt_ram(rig->driver, VIRT_BUFFER_BASE);
    le32_put(ram, id);
    le16_put(ram + 4, event);
    le16_put(ram + 6, value);
    virtq_add(rig->driver, CONTROL_TX, &buffer, 1);
    virtq_kick(rig->driver, CONTROL_TX);
    virtq_wait_used(rig->driver, CONTROL_TX, NULL);
}

static void add_control_buffers(Rig *rig)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        VirtBuffer buffer = { VIRT_BUFFER_BASE + 0x1000 + i * MESSAGE_BYTES, MESSAGE_BYTES, true };
        virtq_add(rig->driver, CONTROL_RX, &buffer, 1);
    }
    virtq_kick(rig->driver, CONTROL_RX);
}

/* The next message is (id, event, value); *at counts the buffers. */
static void expect_control(Rig *rig, unsigned *at, uint32_t id, uint16_t event, uint16_t value)
{
    uint8_t *ram = virt_ram(rig->driver, VIRT_BUFFER_BASE + 0x1000 + *at * MESSAGE_BYTES);
    virtq_wait_used(rig->driver, CONTROL_RX, NULL);
    assert_int_equal(le32_get(ram), id);
    assert_int_equal(le16_get(ram + 4), event);
    assert_int_equal(le16_get(ram + 6), value);
    (*at)++;
}

static void open_channel(Rig *rig)
{
    send_control(rig, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    send_control(rig, 1, VIRTIO_CONSOLE_PORT_READY, 1);
    send_control(rig, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void ports_are_announced_and_named(void **state)
{
    Rig rig = start(ALL_FEATURES);
    unsigned at = 0;
    add_control_buffers(&rig);
    send_control(&rig, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect_control(&rig, &at, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    send_control(&rig, 1, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_NAME, 1);
    const char *name = virt_ram(rig.driver, VIRT_BUFFER_BASE + 0x1000 + 2 * MESSAGE_BYTES + 8);
    assert_memory_equal(name, "org.test", 8);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    send_control(&rig, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(&rig, &at, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    stop(&rig);
}

static void messages_wait_for_buffers(void **state)
{
    Rig rig = start(ALL_FEATURES);
    unsigned at = 0;
    send_control(&rig, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    assert_false(virtq_has_used(rig.driver, CONTROL_RX));
    add_control_buffers(&rig);
    expect_control(&rig, &at, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    stop(&rig);
}

static void the_peer_that_leaves_is_told(void **state)
{
    Rig rig = start(ALL_FEATURES);
    unsigned at = 0;
    open_channel(&rig);
    add_control_buffers(&rig);
    expect_control(&rig, &at, 0, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_ADD, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_NAME, 1);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    shutdown(rig.peer, SHUT_RDWR);
    virt_driver_run(rig.driver);
    expect_control(&rig, &at, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    stop(&rig);
}

static void bytes_go_both_ways(void **state)
{
    Rig rig = start(ALL_FEATURES);
    char got[8];
    uint32_t length;
    open_channel(&rig);
    VirtBuffer out = { VIRT_BUFFER_BASE + 0x3000, 5, false };
    VirtBuffer in[] = { { VIRT_BUFFER_BASE + 0x4000, 4, true } };
    memcpy(virt_ram(rig.driver, out.addr), "guest", 5);
    virtq_add(rig.driver, PORT1_TX, &out, 1);
    virtq_kick(rig.driver, PORT1_TX);
    assert_int_equal(read(rig.peer, got, sizeof(got)), 5);
    assert_memory_equal(got, "guest", 5);
    assert_int_equal(write(rig.peer, "hostile", 7), 7);
    virtq_add(rig.driver, PORT1_RX, in, 1);
    in[0].addr += 0x100;
    virtq_add(rig.driver, PORT1_RX, in, 1);
    virtq_kick(rig.driver, PORT1_RX);
    virt_driver_run(rig.driver);
    virtq_wait_used(rig.driver, PORT1_RX, &length);
    assert_int_equal(length, 4);
    virtq_wait_used(rig.driver, PORT1_RX, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(virt_ram(rig.driver, VIRT_BUFFER_BASE + 0x4000), "host", 4);
    assert_memory_equal(virt_ram(rig.driver, VIRT_BUFFER_BASE + 0x4100), "ile", 3);
    stop(&rig);
}

static void input_waits_until_the_guest_opens_the_port(void **state)
{
    Rig rig = start(ALL_FEATURES);
    uint32_t length;
    VirtBuffer in = { VIRT_BUFFER_BASE + 0x4000, 64, true };
    virtq_add(rig.driver, PORT1_RX, &in, 1);
    virtq_kick(rig.driver, PORT1_RX);
    assert_int_equal(write(rig.peer, "x", 1), 1);
    virt_driver_run(rig.driver);
    assert_false(virtq_has_used(rig.driver, PORT1_RX));
    open_channel(&rig);
    virtq_wait_used(rig.driver, PORT1_RX, &length);
    assert_int_equal(length, 1);
    stop(&rig);
}

static void output_to_a_slow_peer_waits_in_the_guest(void **state)
{
    enum { BLOCK = 0x8000, BLOCKS = 64 };
    Rig rig = start(ALL_FEATURES);
    static char sink[BLOCK];
    open_channel(&rig);
    VirtBuffer out = { VIRT_BUFFER_BASE + 0x8000, BLOCK, false };
    unsigned given_back = 0;
    size_t got = 0;
    assert_int_equal(fcntl(rig.peer, F_SETFL, O_NONBLOCK), 0);
    for (unsigned sent = 0, idle = 0; idle < 20;) {
        if (sent - given_back < 4 && sent < BLOCKS) {
            virtq_add(rig.driver, PORT1_TX, &out, 1);
            virtq_kick(rig.driver, PORT1_TX);
            sent++;
        } else {
            ssize_t n = read(rig.peer, sink, sizeof(sink));
            idle = n > 0 ? 0 : idle + 1;
            got += n > 0 ? (size_t)n : 0;
        }
        virt_driver_run(rig.driver);
        while (virtq_has_used(rig.driver, PORT1_TX)) {
            virtq_wait_used(rig.driver, PORT1_TX, NULL);
            given_back++;
        }
    }
    assert_int_equal(given_back, BLOCKS);
    assert_int_equal(got, (size_t)BLOCK * BLOCKS);
    assert_int_equal(rig.socket->dropped, 0);
    stop(&rig);
}

static void a_driver_without_several_ports_has_its_console(void **state)
{
    Rig rig = start(VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    VirtBuffer out = { VIRT_BUFFER_BASE, 3, false };
    memcpy(virt_ram(rig.driver, VIRT_BUFFER_BASE), "abc", 3);
    virtq_add(rig.driver, 1, &out, 1);
    virtq_kick(rig.driver, 1);
    g_autoptr(GByteArray) bytes = char_ringbuf_read(rig.ring, 10);
    assert_int_equal(bytes->len, 3);
    assert_memory_equal(bytes->data, "abc", 3);
    stop(&rig);
}

static void bad_control_messages_do_no_harm(void **state)
{
    Rig rig = start(ALL_FEATURES);
    send_control(&rig, 77, VIRTIO_CONSOLE_PORT_READY, 1);
    send_control(&rig, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
    send_control(&rig, 3, VIRTIO_CONSOLE_PORT_READY, 1);
    send_control(&rig, 3, VIRTIO_CONSOLE_PORT_OPEN, 1);
    send_control(&rig, 0, 999, 1);
    assert_false(virt_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    VirtBuffer runt = { VIRT_BUFFER_BASE, 3, false };
    virtq_add(rig.driver, CONTROL_TX, &runt, 1);
    virtq_kick(rig.driver, CONTROL_TX);
    assert_true(virt_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    stop(&rig);
}

static void a_port_number_is_given_once(void **state)
{
    static const char *const bad[][2] = { { "1", "taken" },
                                          { "0", "taken" },
                                          { "4", "max_ports" } };
    Rig rig = start(ALL_FEATURES);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Device) port = device_new(&virtserialport_class, "p");
        assert_true(device_set_property(port, "nr", bad[i][0], NULL));
        assert_false(device_realize(port, &rig.fake->host, &error));
        assert_non_null(strstr(error->message, bad[i][1]));
    }
    stop(&rig);
}

static void saved_state_loads_and_saves_the_same(void **state)
{
    Rig rig = start(ALL_FEATURES);
    open_channel(&rig);
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
        cmocka_unit_test(ports_are_announced_and_named),
        cmocka_unit_test(messages_wait_for_buffers),
        cmocka_unit_test(the_peer_that_leaves_is_told),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(input_waits_until_the_guest_opens_the_port),
        cmocka_unit_test(output_to_a_slow_peer_waits_in_the_guest),
        cmocka_unit_test(a_driver_without_several_ports_has_its_console),
        cmocka_unit_test(bad_control_messages_do_no_harm),
        cmocka_unit_test(a_port_number_is_given_once),
        cmocka_unit_test(saved_state_loads_and_saves_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
