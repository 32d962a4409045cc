/* Drives one virtio device over PCI at random.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-virtio.h"

#include "base/endian.h"
#include "base/log.h"

#include <string.h>

#define STEPS_MAX 400
#define REQUEST_BYTES 64

typedef struct Script {
    const uint8_t *at, *end;
} Script;

typedef struct Play {
    const FuzzVirtio *fuzz;
    VirtDriver *driver;
    void *backend;
    Script script;
} Play;

static uint8_t take(Play *play)
{
    return play->script.at < play->script.end ? *play->script.at++ : 0;
}

static uint64_t take_bytes(Play *play, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        value |= (uint64_t)take(play) << (8 * i);
    }
    return value;
}

static Device *device_of(Play *play)
{
    return &play->driver->dev->device;
}

static void step_region(Play *play, bool is_write)
{
    FakeHost *fake = play->driver->fake;
    uint8_t how = take(play); /* region in the low bits, size in the top two */
    if (!fake->mapping_count) {
        return;
    }
    const FakeMapping *mapping = &fake->mapping[(how & 0x3f) % fake->mapping_count];
    unsigned size = 1u << (how >> 6);
    uint64_t bytes = mapping->region->size_bytes;
    uint64_t offset = take_bytes(play, bytes > 256 ? 2 : 1) % bytes;
    const AddressMap *map = mapping->space == DEVICE_SPACE_PORTS ? fake->ports : fake->map;
    if (is_write) {
        bus_write(map, mapping->base + offset, take_bytes(play, size), size);
    } else {
        bus_read(map, mapping->base + offset, size);
    }
}

static void step_config(Play *play)
{
    VirtDriver *driver = play->driver;
    uint16_t where = (uint16_t)take_bytes(play, 2);
    unsigned size = 1u << ((where >> 12) % 3);
    unsigned offset = (where & 0x3ff) & ~(size - 1);
    uint8_t devfn = driver->dev->pci.devfn;
    if (where & 0x8000) {
        pci_config_write(driver->root, 0, devfn, offset, (uint32_t)take_bytes(play, size), size);
    } else {
        pci_config_read(driver->root, 0, devfn, offset, size);
    }
}

static void step_ram(Play *play)
{
    uint64_t addr = take_bytes(play, 2) * 8 % (FAKE_HOST_RAM_BYTES - 8);
    bus_write(play->driver->fake->map, addr, take_bytes(play, 4), 4);
}

/* Lengths that matter: small ones, whole sectors and pages, huge ones. */
static uint32_t length_of(uint8_t code)
{
    switch (code >> 6) {
    case 0:
        return code & 63;
    case 1:
        return (code & 63) * 512u;
    case 2:
        return 1u << (code & 31);
    default:
        return UINT32_MAX - (code & 63);
    }
}

static unsigned pick_queue(Play *play, uint8_t how)
{
    return how % play->driver->dev->queue_count;
}

static void step_chain(Play *play)
{
    VirtDriver *driver = play->driver;
    uint8_t how = take(play);
    unsigned queue = pick_queue(play, how);
    unsigned count = 1 + (how >> 6);
    VirtBuffer buffers[4];
    if (!driver->queue[queue].size) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t length = take(play);
        uint16_t where = (uint16_t)take_bytes(play, 2);
        buffers[i] = (VirtBuffer){ .addr = VIRT_BUFFER_BASE + (where >> 1) * UINT64_C(32),
                                   .length = length_of(length),
                                   .writable = where & 1 };
    }
    if (play->fuzz->make_request) {
        uint8_t what = take(play);
        uint8_t bytes[REQUEST_BYTES] = { 0 };
        play->fuzz->make_request(bytes, sizeof(bytes), what, (uint32_t)take_bytes(play, 4));
        if (buffers[0].addr + sizeof(bytes) <= FAKE_HOST_RAM_BYTES) {
            memcpy(virt_ram(driver, buffers[0].addr), bytes, sizeof(bytes));
        }
    }
    virtq_add(driver, queue, buffers, MIN(count, driver->queue[queue].size));
    virtio_kick(driver->dev, queue);
}

/* One descriptor changed after the fact, or a head of its own. */
static void step_bend(Play *play)
{
    VirtDriver *driver = play->driver;
    uint8_t how = take(play);
    unsigned queue = pick_queue(play, how);
    const VirtQ *q = &driver->queue[queue];
    if (!q->size) {
        return;
    }
    if (how & 0x80) {
        virtq_publish(driver, queue, take(play));
        return;
    }
    uint16_t index = take(play) % q->size;
    uint64_t addr = take_bytes(play, 3);
    uint32_t length = length_of(take(play));
    uint16_t flags = take(play) & 7;
    virtq_set_desc(driver, queue, index, addr, length, flags, take(play) % (q->size + 1));
}

static void run(Play *play)
{
    for (unsigned i = 0; i < 3; i++) {
        virt_driver_run(play->driver);
        if (play->fuzz->settle) {
            play->fuzz->settle(play->backend);
        }
    }
}

static void step_load(Play *play)
{
    Device *dev = device_of(play);
    g_autoptr(GByteArray) good = g_byte_array_new();
    g_autoptr(GByteArray) bad = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    device_save(dev, good);
    g_byte_array_append(bad, good->data, good->len);
    uint64_t where = take_bytes(play, 3) % bad->len;
    bad->data[where] = take(play);
    if (!device_load(dev, bad->data, bad->len, &error)) {
        lodge_assert(error);
        device_reset(dev, RESET_COLD);
    }
    device_resume(dev);
}

static void step_round_trip(Play *play)
{
    /* Only where a driver may be: a broken ring is no state that comes back. */
    const VirtioDevice *dev = play->driver->dev;
    if (!(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        Device *device = device_of(play);
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        device_quiesce(device);
        run(play);
        device_save(device, bytes);
        device_load(device, bytes->data, bytes->len, NULL);
        device_resume(device);
    }
}

static void step(Play *play)
{
    VirtDriver *driver = play->driver;
    switch (take(play) & 15) {
    case 0:
    case 1:
        step_region(play, true);
        break;
    case 2:
        step_region(play, false);
        break;
    case 3:
        step_config(play);
        break;
    case 4:
        step_ram(play);
        break;
    case 5:
    case 6:
    case 7:
        step_chain(play);
        break;
    case 8:
        step_bend(play);
        break;
    case 9:
        run(play);
        break;
    case 10:
        fake_host_advance(driver->fake, (int64_t)take_bytes(play, 4));
        break;
    case 11:
        virt_driver_map(driver);
        virt_driver_start(driver, take_bytes(play, 8));
        break;
    case 12:
        step_round_trip(play);
        break;
    case 13:
        step_load(play);
        break;
    case 14:
        device_reset(device_of(play), take(play) & 1 ? RESET_WARM : RESET_COLD);
        virt_driver_map(driver);
        break;
    case 15:
        if (play->fuzz->poke) {
            uint8_t what = take(play);
            play->fuzz->poke(driver->dev, play->backend, what, (uint32_t)take_bytes(play, 4));
        }
        break;
    }
}

int fuzz_virtio_run(const FuzzVirtio *fuzz, const uint8_t *data, size_t size)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    FakeHost *fake = fake_host_new();
    void *backend = fuzz->prepare ? fuzz->prepare(fake) : NULL;
    VirtDriver *driver = virt_driver_new(fake, fuzz->class, fuzz->properties);
    Play play = { fuzz, driver, backend, { data, data + size } };
    if (fuzz->attach) {
        fuzz->attach(driver->dev, backend);
    }
    virt_driver_start(driver, UINT64_MAX);
    for (unsigned steps = 0; steps < STEPS_MAX && play.script.at < play.script.end; steps++) {
        step(&play);
    }
    run(&play);
    if (fuzz->detach) {
        fuzz->detach(driver->dev, backend);
    }
    virt_driver_remove(driver);
    if (fuzz->finish) {
        fuzz->finish(backend);
    }
    fake_host_free(fake);
    return 0;
}
