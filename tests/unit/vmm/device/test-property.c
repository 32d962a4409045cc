/* Properties: good and bad values of every kind.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "lib/check.h"
#include "vmm/device/property.h"

#include <string.h>

typedef struct Gadget {
    bool fast;
    uint64_t port;
    uint64_t size;
    char *serial;
    char *drive;
    uint8_t mac[6];
    uint32_t mode;
} Gadget;

static const char *const modes[] = { "auto", "slow", "never", NULL };

#define AT(member) offsetof(Gadget, member)
static const Property table[] = {
    { "fast", PROPERTY_BOOL, AT(fast), "on", .help = "go fast" },
    { "port", PROPERTY_UINT, AT(port), "0x3f8", .min = 1, .max = 65535, .help = "I/O port" },
    { "size", PROPERTY_SIZE, AT(size), "4K", .max = 1 << 20, .help = "bytes" },
    { "serial", PROPERTY_STRING, AT(serial), "abc", .help = "text" },
    { "drive", PROPERTY_LINK, AT(drive), NULL, .help = "disk" },
    { "mac", PROPERTY_MAC, AT(mac), NULL, .help = "address" },
    { "mode", PROPERTY_ENUM, AT(mode), "slow", .choices = modes, .help = "how" },
    { NULL },
};

static void defaults_are_what_the_table_says(void **state)
{
    Gadget g = { 0 };
    properties_set_defaults(table, &g);
    assert_true(g.fast);
    assert_int_equal(g.port, 0x3f8);
    assert_int_equal(g.size, 4096);
    assert_string_equal(g.serial, "abc");
    assert_null(g.drive);
    assert_int_equal(g.mode, 1);
    properties_clear(table, &g);
    assert_null(g.serial);
    properties_set_defaults(NULL, &g);
}

static void good_values_are_stored(void **state)
{
    static const char *const good[][2] = {
        { "fast", "off" }, { "port", "65535" }, { "size", "1M" },    { "size", "0x10" },
        { "serial", "" },  { "drive", "d0" },   { "mode", "never" }, { "mac", "52:54:00:12:34:Fe" },
    };
    Gadget g = { 0 };
    properties_set_defaults(table, &g);
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        assert_true(property_set(property_find(table, good[i][0]), &g, good[i][1], &error));
        assert_null(error);
    }
    assert_false(g.fast);
    assert_int_equal(g.port, 65535);
    assert_int_equal(g.size, 16);
    assert_string_equal(g.serial, "");
    assert_string_equal(g.drive, "d0");
    assert_int_equal(g.mode, 2);
    assert_int_equal(g.mac[0], 0x52);
    assert_int_equal(g.mac[5], 0xfe);
    properties_clear(table, &g);
}

static void bad_values_are_refused_by_name_and_change_nothing(void **state)
{
    static const char *const bad[][2] = {
        { "fast", "" },
        { "fast", "maybe" },
        { "port", "0" },
        { "port", "65536" },
        { "port", "1x" },
        { "port", "" },
        { "size", "2M" },
        { "size", "big" },
        { "size", "-4K" },
        { "drive", "" },
        { "mode", "AUTO" },
        { "mode", "" },
        { "mac", "52:54:00" },
        { "mac", "525400123456" },
        { "mac", "52:54:00:12:34:56:78" },
        { "mac", "53:54:00:12:34:56" },
        { "mac", "52:54:00:12:34:5g" },
        { "mac", "" },
    };
    Gadget g = { 0 };
    properties_set_defaults(table, &g);
    Gadget before = g;
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        assert_false(property_set(property_find(table, bad[i][0]), &g, bad[i][1], &error));
        assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT));
        assert_non_null(strstr(error->message, bad[i][0]));
        assert_non_null(strstr(error->message, "allowed: "));
        assert_memory_equal(&g, &before, sizeof(g));
    }
    properties_clear(table, &g);
}

static void help_shows_kind_choices_and_default(void **state)
{
    g_autoptr(GString) text = g_string_new(NULL);
    properties_format_help(table, text);
    assert_non_null(strstr(text->str, "  port=<number>  - I/O port (default: 0x3f8)\n"));
    assert_non_null(strstr(text->str, "  mode=<auto|slow|never>  - how (default: slow)\n"));
    assert_non_null(strstr(text->str, "  drive=<name>  - disk\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_what_the_table_says),
        cmocka_unit_test(good_values_are_stored),
        cmocka_unit_test(bad_values_are_refused_by_name_and_change_nothing),
        cmocka_unit_test(help_shows_kind_choices_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
