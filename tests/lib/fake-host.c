/* A DeviceHost of fakes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-host.h"

#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define FIRES_PER_ADVANCE_MAX 20000

static void fake_irq_set(void *opaque, unsigned number, bool level)
{
    FakeHost *fake = opaque;
    fake->irq[number].raised += level && !fake->irq[number].level;
    fake->irq[number].level = level;
}

static void fake_msi_send(void *opaque, uint64_t address, uint32_t data)
{
    FakeHost *fake = opaque;
    if (fake->msi_count < FAKE_HOST_MSIS_MAX) {
        fake->msi[fake->msi_count] = (FakeMsi){ address, data };
    }
    fake->msi_count++;
}

static int64_t fake_clock_ns(void *opaque)
{
    const FakeHost *fake = opaque;
    return fake->now_ns;
}

static void fake_timer_set(void *opaque, LoopTimer *timer, int64_t deadline_ns)
{
    FakeHost *fake = opaque;
    unsigned i = 0;
    while (i < fake->timer_count && fake->timer[i].timer != timer) {
        i++;
    }
    if (deadline_ns == DEVICE_TIMER_OFF) {
        if (i < fake->timer_count) {
            fake->timer[i] = fake->timer[--fake->timer_count];
        }
        return;
    }
    lodge_assert(i < G_N_ELEMENTS(fake->timer));
    fake->timer[i] = (FakeTimer){ timer, deadline_ns };
    fake->timer_count += i == fake->timer_count;
}

static AddressMap *fake_map(FakeHost *fake, DeviceSpace space)
{
    return space == DEVICE_SPACE_PORTS ? fake->ports : fake->map;
}

static bool fake_map_region(void *opaque, DeviceSpace space, GuestAddr base, Region *region,
                            int priority, GError **error)
{
    FakeHost *fake = opaque;
    AddressEntry entry = { .base = base, .size_bytes = region->size_bytes, .region = region };
    int r = fake->mapping_count < FAKE_HOST_REGIONS_MAX
                ? address_map_add(fake_map(fake, space), &entry, priority)
                : -ENOSPC;
    if (r < 0) {
        lodge_error_set_errno(error, r, "cannot map '%s'", region->name);
        return false;
    }
    fake->mapping[fake->mapping_count++] = (FakeMapping){ space, base, region, priority };
    return true;
}

static void fake_unmap_region(void *opaque, DeviceSpace space, GuestAddr base, int priority)
{
    FakeHost *fake = opaque;
    int r = address_map_remove(fake_map(fake, space), base, priority);
    lodge_assert(r == 0);
    for (unsigned i = 0; i < fake->mapping_count; i++) {
        FakeMapping *m = &fake->mapping[i];
        if (m->space == space && m->base == base && m->priority == priority) {
            *m = fake->mapping[--fake->mapping_count];
            return;
        }
    }
}

static bool fake_map_ram(void *opaque, GuestAddr base, RamBlock *block, bool readonly, int priority,
                         GError **error)
{
    FakeHost *fake = opaque;
    AddressEntry entry = {
        .base = base, .size_bytes = block->size_bytes, .ram = block, .readonly = readonly
    };
    int r = address_map_add(fake->map, &entry, priority);
    if (r < 0) {
        lodge_error_set_errno(error, r, "cannot map '%s'", block->name);
        return false;
    }
    return true;
}

static void fake_unmap_ram(void *opaque, GuestAddr base, int priority)
{
    FakeHost *fake = opaque;
    int r = address_map_remove(fake->map, base, priority);
    lodge_assert(r == 0);
}

static void fake_power_event(void *opaque, PowerEvent event, int code)
{
    FakeHost *fake = opaque;
    if (fake->power_count < FAKE_HOST_EVENTS_MAX) {
        fake->power[fake->power_count] = (FakePower){ event, code };
    }
    fake->power_count++;
}

static void fake_slot_off(void *opaque)
{
    ((FakeHost *)opaque)->slots_off++;
}

static void fake_notify(void *opaque, DeviceNotice notice, int64_t value)
{
    FakeHost *fake = opaque;
    fake->notices[notice]++;
    fake->notice[notice] = value;
}

static void fake_claim_mac(void *opaque, uint8_t mac[6])
{
    static const uint8_t none[6], first[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
    if (!memcmp(mac, none, sizeof(none))) {
        memcpy(mac, first, sizeof(first));
    }
}

static void *fake_find_backend(void *opaque, const char *kind, const char *name, GError **error)
{
    const FakeHost *fake = opaque;
    for (unsigned i = 0; i < fake->backend_count; i++) {
        if (!strcmp(fake->backend[i].kind, kind) && !strcmp(fake->backend[i].name, name)) {
            return fake->backend[i].object;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "no %s '%s'", kind, name);
    return NULL;
}

FakeHost *fake_host_new(void)
{
    FakeHost *fake = g_new0(FakeHost, 1);
    fake->loop = loop_new();
    fake->map = address_map_new(0);
    fake->ports = address_map_new(0x10000);
    fake->ram = ram_block_new("fake-ram", FAKE_HOST_RAM_BYTES);
    lodge_assert(fake->loop && fake->map && fake->ports && fake->ram);
    AddressEntry ram = { .base = 0, .size_bytes = FAKE_HOST_RAM_BYTES, .ram = fake->ram };
    int r = address_map_add(fake->map, &ram, 0);
    lodge_assert(r == 0);
    fake->memory.map = fake->map;
    fake->now_ns = 1000;
    fake->fires_max = FIRES_PER_ADVANCE_MAX;
    DeviceHost *host = &fake->host;
    host->memory = &fake->memory;
    host->loop = fake->loop;
    for (unsigned i = 0; i < DEVICE_IRQS_MAX; i++) {
        host->irq[i] = (IrqLine){ fake_irq_set, fake, i };
    }
    host->msi = (MsiSink){ fake_msi_send, fake };
    host->clock_ns = fake_clock_ns;
    host->timer_set = fake_timer_set;
    host->map_region = fake_map_region;
    host->unmap_region = fake_unmap_region;
    host->map_ram = fake_map_ram;
    host->unmap_ram = fake_unmap_ram;
    host->power_event = fake_power_event;
    host->find_backend = fake_find_backend;
    host->claim_mac = fake_claim_mac;
    host->slot_off = fake_slot_off;
    host->notify = fake_notify;
    host->opaque = fake;
    return fake;
}

void fake_host_free(FakeHost *fake)
{
    lodge_assert(fake->mapping_count == 0 && fake->timer_count == 0);
    address_map_free(fake->map);
    address_map_free(fake->ports);
    ram_block_free(fake->ram);
    loop_free(fake->loop);
    g_free(fake);
}

static void must(bool ok, GError *error)
{
    if (!ok) {
        log_error("%s", error ? error->message : "failed without an error");
    }
    lodge_assert(ok && !error);
}

Device *fake_host_add(FakeHost *fake, const DeviceClass *class, const char *const *properties)
{
    GError *error = NULL;
    Device *dev = device_new(class, NULL);
    for (; properties && *properties; properties += 2) {
        must(device_set_property(dev, properties[0], properties[1], &error), error);
    }
    must(device_realize(dev, &fake->host, &error), error);
    device_reset(dev, RESET_COLD);
    return dev;
}

void fake_host_add_backend(FakeHost *fake, const char *kind, const char *name, void *object)
{
    lodge_assert(fake->backend_count < G_N_ELEMENTS(fake->backend));
    fake->backend[fake->backend_count++] = (FakeBackend){ kind, name, object };
}

int64_t fake_host_next_deadline(const FakeHost *fake)
{
    int64_t next = DEVICE_TIMER_OFF;
    for (unsigned i = 0; i < fake->timer_count; i++) {
        next = MIN(next, fake->timer[i].deadline_ns);
    }
    return next;
}

static void fire_due_timers(FakeHost *fake)
{
    unsigned i = 0;
    while (i < fake->timer_count) {
        if (fake->timer[i].deadline_ns > fake->now_ns) {
            i++;
            continue;
        }
        loop_timer_set(fake->timer[i].timer, 0); /* long past: due in the next round */
        fake->timer[i] = fake->timer[--fake->timer_count];
        fake->timers_fired++;
    }
    loop_run_once(fake->loop, 0);
}

void fake_host_advance(FakeHost *fake, int64_t ns)
{
    int64_t target = fake->now_ns + ns;
    for (unsigned fires = 0; fires < fake->fires_max; fires++) {
        int64_t next = fake_host_next_deadline(fake);
        if (next > target) {
            break;
        }
        fake->now_ns = MAX(fake->now_ns, next);
        fire_due_timers(fake);
    }
    fake->now_ns = target;
    loop_run_once(fake->loop, 0);
}

uint8_t fake_in8(FakeHost *fake, uint16_t port)
{
    return (uint8_t)bus_read(fake->ports, port, 1);
}

uint16_t fake_in16(FakeHost *fake, uint16_t port)
{
    return (uint16_t)bus_read(fake->ports, port, 2);
}

uint32_t fake_in32(FakeHost *fake, uint16_t port)
{
    return (uint32_t)bus_read(fake->ports, port, 4);
}

void fake_out8(FakeHost *fake, uint16_t port, uint8_t value)
{
    bus_write(fake->ports, port, value, 1);
}

void fake_out16(FakeHost *fake, uint16_t port, uint16_t value)
{
    bus_write(fake->ports, port, value, 2);
}

void fake_out32(FakeHost *fake, uint16_t port, uint32_t value)
{
    bus_write(fake->ports, port, value, 4);
}

uint64_t fake_mmio_read(FakeHost *fake, GuestAddr addr, unsigned size)
{
    return bus_read(fake->map, addr, size);
}

void fake_mmio_write(FakeHost *fake, GuestAddr addr, uint64_t value, unsigned size)
{
    bus_write(fake->map, addr, value, size);
}

void fake_host_check_round_trip(Device *dev)
{
    g_autoptr(GByteArray) first = g_byte_array_new();
    g_autoptr(GByteArray) second = g_byte_array_new();
    GError *error = NULL;
    device_save(dev, first);
    must(device_load(dev, first->data, first->len, &error), error);
    device_save(dev, second);
    lodge_assert(first->len == second->len);
    lodge_assert(!memcmp(first->data, second->data, first->len));
    device_resume(dev);
}
