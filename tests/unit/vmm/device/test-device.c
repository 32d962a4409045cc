/* The life of a device, and look-up of classes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/device/registry.h"

#include <string.h>

typedef struct Lamp {
    Device dev;
    uint64_t port;
    uint8_t value;
    Region region;
    bool refuses;
    unsigned resets;
} Lamp;

static uint64_t lamp_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Lamp *)opaque)->value;
}

static void lamp_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Lamp *lamp = opaque;
    lamp->value = (uint8_t)value;
    irq_line_set(&lamp->dev.host->irq[3], value & 1);
    msi_send(&lamp->dev.host->msi, 0xfee00000, (uint32_t)value);
}

static const RegionOps lamp_ops = { lamp_read, lamp_write, 1, 1 };

static bool lamp_realize(Device *dev, GError **error)
{
    Lamp *lamp = (Lamp *)dev;
    if (lamp->refuses) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "no bulb");
        return false;
    }
    lamp->region = (Region){ "lamp", 1, &lamp_ops, lamp, &dev->lock };
    return dev->host->map_region(dev->host->opaque, DEVICE_SPACE_PORTS, lamp->port, &lamp->region,
                                 0, error);
}

static void lamp_unrealize(Device *dev)
{
    Lamp *lamp = (Lamp *)dev;
    dev->host->unmap_region(dev->host->opaque, DEVICE_SPACE_PORTS, lamp->port, 0);
}

static void lamp_reset(Device *dev, ResetKind kind)
{
    Lamp *lamp = (Lamp *)dev;
    lamp->value = 0;
    lamp->resets++;
}

static bool lamp_post_load(Device *dev, GError **error)
{
    if (((Lamp *)dev)->value == 0xee) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible value");
        return false;
    }
    return true;
}

static const Property lamp_properties[] = {
    { "iobase", PROPERTY_UINT, offsetof(Lamp, port), "0x70", .max = 0xffff, .help = "port" },
    { "refuses", PROPERTY_BOOL, offsetof(Lamp, refuses), NULL, .help = "fail" },
    { NULL },
};
static const StateField lamp_fields[] = { STATE_FIELD(Lamp, STATE_U8, value), STATE_END };
static const StateTable lamp_state = { .name = "lamp", .fields = lamp_fields };
static const DeviceClass lamp_class = {
    .name = "isa-lamp",
    .alias = "lamp",
    .summary = "a lamp",
    .bus = DEVICE_BUS_ISA,
    .instance_size = sizeof(Lamp),
    .properties = lamp_properties,
    .state = &lamp_state,
    .realize = lamp_realize,
    .unrealize = lamp_unrealize,
    .reset = lamp_reset,
    .post_load = lamp_post_load,
};
static const DeviceClass hidden_class = { .name = "hidden", .is_internal = true };
static DeviceFamily family[] = { &lamp_class, &hidden_class, NULL };
static DeviceFamily *const families[] = { family, NULL };

static void a_device_lives_from_properties_to_free(void **state)
{
    static const char *const properties[] = { "iobase", "0x80", NULL };
    FakeHost *fake = fake_host_new();
    Device *dev = fake_host_add(fake, &lamp_class, properties);
    assert_int_equal(((Lamp *)dev)->resets, 1);
    fake_out8(fake, 0x80, 0x31);
    assert_int_equal(fake_in8(fake, 0x80), 0x31);
    assert_int_equal(fake->irq[3].raised, 1);
    assert_int_equal(fake->msi_count, 1);
    assert_int_equal(fake->msi[0].data, 0x31);
    fake_host_check_round_trip(dev);
    device_free(dev);
    assert_int_equal(fake->mapping_count, 0);
    fake_host_free(fake);
}

static void errors_name_the_device(void **state)
{
    FakeHost *fake = fake_host_new();
    g_autoptr(GError) error = NULL;
    Device *dev = device_new(&lamp_class, "l0");
    assert_false(device_set_property(dev, "iobass", "1", &error));
    assert_string_equal(error->message, "device 'isa-lamp' has no property 'iobass'; did you mean "
                                        "'iobase'? it has: iobase, refuses");
    g_clear_error(&error);
    assert_false(device_set_property(dev, "iobase", "1G", &error));
    assert_true(g_str_has_prefix(error->message, "device 'l0': property 'iobase'"));
    g_clear_error(&error);
    assert_true(device_set_property(dev, "refuses", "on", NULL));
    assert_false(device_realize(dev, &fake->host, &error));
    assert_string_equal(error->message, "device 'l0': no bulb");
    device_free(dev);
    fake_host_free(fake);
}

static void two_devices_at_one_port_are_refused(void **state)
{
    FakeHost *fake = fake_host_new();
    Device *first = fake_host_add(fake, &lamp_class, NULL);
    Device *second = device_new(&lamp_class, NULL);
    g_autoptr(GError) error = NULL;
    assert_false(device_realize(second, &fake->host, &error));
    assert_non_null(error);
    device_free(second);
    device_free(first);
    fake_host_free(fake);
}

static void loaded_state_is_checked_by_the_class(void **state)
{
    FakeHost *fake = fake_host_new();
    Device *dev = fake_host_add(fake, &lamp_class, NULL);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ((Lamp *)dev)->value = 0xee;
    device_save(dev, stream);
    g_autoptr(GError) error = NULL;
    assert_false(device_load(dev, stream->data, stream->len, &error));
    assert_string_equal(error->message, "device 'isa-lamp': impossible value");
    device_free(dev);
    fake_host_free(fake);
}

static void classes_are_found_by_name_and_alias(void **state)
{
    g_autoptr(GError) error = NULL;
    assert_ptr_equal(device_registry_find(families, "isa-lamp", NULL), &lamp_class);
    assert_ptr_equal(device_registry_find(families, "lamp", NULL), &lamp_class);
    assert_null(device_registry_find(families, "isa-lmap", &error));
    assert_string_equal(error->message, "no device is called 'isa-lmap'; did you mean 'isa-lamp'?");
    g_autoptr(GString) help = g_string_new(NULL);
    device_registry_format_help(families, help);
    assert_string_equal(help->str, "  isa-lamp             a lamp (alias: lamp)\n");
}

static LoopTimer *ticker;
static unsigned ticks;

static void tick(void *opaque)
{
    FakeHost *fake = opaque;
    ticks++;
    fake->host.timer_set(fake->host.opaque, ticker, fake->now_ns + 10);
}

static void fake_time_stops_at_each_deadline(void **state)
{
    FakeHost *fake = fake_host_new();
    ticker = loop_timer_new(fake->loop, tick, fake);
    fake->host.timer_set(fake->host.opaque, ticker, fake->now_ns + 10);
    fake_host_advance(fake, 9);
    assert_int_equal(ticks, 0);
    fake_host_advance(fake, 91);
    assert_int_equal(ticks, 10);
    fake->host.timer_set(fake->host.opaque, ticker, DEVICE_TIMER_OFF);
    fake_host_advance(fake, 100);
    assert_int_equal(ticks, 10);
    loop_timer_free(ticker);
    fake_host_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_lives_from_properties_to_free),
        cmocka_unit_test(errors_name_the_device),
        cmocka_unit_test(two_devices_at_one_port_are_refused),
        cmocka_unit_test(loaded_state_is_checked_by_the_class),
        cmocka_unit_test(classes_are_found_by_name_and_alias),
        cmocka_unit_test(fake_time_stops_at_each_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
