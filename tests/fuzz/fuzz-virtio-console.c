/* Virtio console with two ports under a hostile driver.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "fuzz/fuzz-virtio.h"
#include "lib/fake-char.h"
#include "vmm/virtio/console/console.h"

#include <linux/virtio_console.h>

typedef struct FuzzConsole {
    FakeHost *fake;
    FakeChar *chr[2];
    Device *port[2];
} FuzzConsole;

static void *prepare(FakeHost *fake)
{
    FuzzConsole *console = g_new0(FuzzConsole, 1);
    console->fake = fake;
    console->chr[0] = fake_char_new(fake, "c0");
    console->chr[1] = fake_char_new(fake, "c1");
    return console;
}

static Device *add_port(FakeHost *fake, const DeviceClass *class, const char *chardev)
{
    Device *dev = device_new(class, NULL);
    bool ok = device_set_property(dev, "chardev", chardev, NULL) &&
              device_set_property(dev, "name", "org.fuzz", NULL) &&
              device_realize(dev, &fake->host, NULL);
    lodge_assert(ok);
    return dev;
}

static void attach(VirtioDevice *dev, void *backend)
{
    FuzzConsole *console = backend;
    fake_host_add_backend(console->fake, VIRTIO_SERIAL_BUS, "", &dev->device);
    console->port[0] = add_port(console->fake, &virtconsole_class, "c0");
    console->port[1] = add_port(console->fake, &virtserialport_class, "c1");
}

static void detach(VirtioDevice *dev, void *backend)
{
    FuzzConsole *console = backend;
    device_free(console->port[1]);
    device_free(console->port[0]);
}

static void finish(void *backend)
{
    FuzzConsole *console = backend;
    fake_char_free(console->chr[0]);
    fake_char_free(console->chr[1]);
    g_free(console);
}

static void poke(VirtioDevice *dev, void *backend, uint8_t what, uint32_t value)
{
    FuzzConsole *console = backend;
    FakeChar *chr = console->chr[what & 1];
    uint8_t bytes[64] = { 0 };
    switch (what >> 1 & 3) {
    case 0:
        char_event(&chr->backend, value & 1 ? CHAR_EVENT_OPENED : CHAR_EVENT_CLOSED);
        break;
    case 1:
        char_event(&chr->backend, CHAR_EVENT_DRAINED);
        break;
    default:
        le32_put(bytes, value);
        fake_char_feed(chr, bytes, value % sizeof(bytes));
        break;
    }
}

static void make_request(uint8_t *bytes, size_t size, uint8_t what, uint32_t value)
{
    le32_put(bytes, what & 0x80 ? value : what & 1); /* port */
    le16_put(bytes + 4, (uint16_t)(value % 9));      /* event */
    le16_put(bytes + 6, (uint16_t)(value >> 8 & 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "max_ports", "4", NULL };
    static const FuzzVirtio fuzz = { .class = &virtio_serial_pci_class,
                                     .properties = properties,
                                     .prepare = prepare,
                                     .attach = attach,
                                     .detach = detach,
                                     .finish = finish,
                                     .poke = poke,
                                     .make_request = make_request };
    return fuzz_virtio_run(&fuzz, data, size);
}
