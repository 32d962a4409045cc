/* 16550A under random accesses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "lib/fake-char.h"
#include "vmm/devices/devices.h"

static const char *const properties[] = { "chardev", "c0", NULL };

static void prepare(FakeHost *fake)
{
    fake_char_new(fake, "c0");
}

static void finish(FakeHost *fake)
{
    fake_char_free(fake->backend[0].object);
}

static void poke(Device *dev, uint8_t what, uint32_t value)
{
    FakeChar *chr = dev->host->find_backend(dev->host->opaque, "chardev", "c0", NULL);
    if (what == 0) {
        char_event(&chr->backend, CHAR_EVENT_BREAK);
    } else {
        fake_char_feed(chr, &value, what % 5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = { .class = &isa_serial_class,
                                     .properties = properties,
                                     .prepare = prepare,
                                     .finish = finish,
                                     .poke = poke };
    return fuzz_device_run(&fuzz, data, size);
}
