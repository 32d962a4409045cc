/* Drives one device at random.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"

#include "base/log.h"

#include <string.h>

#define STEPS_MAX 2000
#define FIRES_PER_STEP_MAX 300
/* No timer of a device may come more often than this, whatever the guest asks for. */
#define TIMER_PERIOD_MIN_NS 10000
#define TIMERS_MAX 8

typedef struct Script {
    const uint8_t *at, *end;
} Script;

static uint8_t take(Script *script)
{
    return script->at < script->end ? *script->at++ : 0;
}

static uint64_t take_bytes(Script *script, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        value |= (uint64_t)take(script) << (8 * i);
    }
    return value;
}

static void step_access(FakeHost *fake, Script *script, bool is_write)
{
    if (!fake->mapping_count) {
        return;
    }
    uint8_t how = take(script); /* region in the low bits, size in the top two */
    const FakeMapping *mapping = &fake->mapping[(how & 0x3f) % fake->mapping_count];
    unsigned size = 1u << (how >> 6);
    uint64_t region_bytes = mapping->region->size_bytes;
    uint64_t offset = take_bytes(script, region_bytes > 256 ? 2 : 1) % region_bytes;
    const AddressMap *map = mapping->space == DEVICE_SPACE_PORTS ? fake->ports : fake->map;
    if (mapping->space == DEVICE_SPACE_PORTS && size == 8) {
        size = 4;
    }
    if (is_write) {
        bus_write(map, mapping->base + offset, take_bytes(script, size), size);
    } else {
        bus_read(map, mapping->base + offset, size);
    }
}

static void step_ram(FakeHost *fake, Script *script)
{
    uint64_t addr = take_bytes(script, 2) * 4 % (FAKE_HOST_RAM_BYTES - 8);
    uint64_t value = take_bytes(script, 4);
    bus_write(fake->map, addr, value, 4);
}

static void step_time(FakeHost *fake, Script *script)
{
    /* Mantissa and exponent: 1 ns to about 4 s. */
    uint8_t how = take(script);
    int64_t ns = (int64_t)((how & 7) + 1) << (how >> 3);
    unsigned before = fake->timers_fired;
    fake_host_advance(fake, ns);
    lodge_assert(fake->timers_fired - before <= TIMERS_MAX * (2 + ns / TIMER_PERIOD_MIN_NS));
}

/* Loads the device's own state with one byte changed. */
static void step_hostile_load(Device *dev, Script *script)
{
    g_autoptr(GByteArray) good = g_byte_array_new();
    g_autoptr(GByteArray) bad = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    device_save(dev, good);
    g_byte_array_append(bad, good->data, good->len);
    uint64_t where = take_bytes(script, 2) % bad->len;
    bad->data[where] = take(script);
    if (device_load(dev, bad->data, bad->len, &error)) {
        device_resume(dev);
        return;
    }
    lodge_assert(error);
    g_clear_error(&error);
    bool restored = device_load(dev, good->data, good->len, &error);
    lodge_assert(restored);
    device_resume(dev);
}

static void play(const FuzzDevice *fuzz, FakeHost *fake, Device *dev, Script *script)
{
    for (unsigned steps = 0; steps < STEPS_MAX && script->at < script->end; steps++) {
        uint8_t op = take(script) & 15;
        if (op < 6) {
            step_access(fake, script, true);
        } else if (op < 10) {
            step_access(fake, script, false);
        } else if (op == 10) {
            step_time(fake, script);
        } else if (op == 11) {
            step_ram(fake, script);
        } else if (op == 12 && dev->class->state) {
            fake_host_check_round_trip(dev);
        } else if (op == 13 && dev->class->state) {
            step_hostile_load(dev, script);
        } else if (op == 14) {
            device_reset(dev, take(script) & 1 ? RESET_WARM : RESET_COLD);
        } else if (op == 15 && fuzz->poke) {
            uint8_t what = take(script);
            fuzz->poke(dev, what, (uint32_t)take_bytes(script, 4));
        }
    }
}

int fuzz_device_run(const FuzzDevice *fuzz, const uint8_t *data, size_t size)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    FakeHost *fake = fake_host_new();
    fake->fires_max = FIRES_PER_STEP_MAX;
    if (fuzz->prepare) {
        fuzz->prepare(fake);
    }
    Device *dev =
        fuzz->make ? fuzz->make(fake) : fake_host_add(fake, fuzz->class, fuzz->properties);
    Script script = { data, data + size };
    play(fuzz, fake, dev, &script);
    if (fuzz->remove) {
        fuzz->remove(dev);
    } else {
        device_free(dev);
    }
    if (fuzz->finish) {
        fuzz->finish(fake);
    }
    fake_host_free(fake);
    return 0;
}
