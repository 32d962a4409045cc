/* Sizes, UUIDs, words and errors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"
#include "gbase/uuid.h"
#include "lib/check.h"

#include <errno.h>
#include <string.h>

static uint64_t parsed(const char *text, uint64_t unit)
{
    uint64_t bytes = 0xdead;
    g_autoptr(GError) error = NULL;
    assert_true(size_parse(text, unit, &bytes, &error));
    assert_null(error);
    return bytes;
}

static void sizes_are_read_with_unit_fraction_and_suffix(void **state)
{
    assert_int_equal(parsed("512", MIB), 512 * MIB);
    assert_int_equal(parsed("4G", MIB), 4 * GIB);
    assert_int_equal(parsed("1.5G", 1), 3 * GIB / 2);
    assert_int_equal(parsed("64KiB", 1), 64 * KIB);
    assert_int_equal(parsed("0", 1), 0);
    assert_int_equal(parsed("7b", MIB), 7);
    assert_true(parsed("18446744073709551615", 1) == UINT64_MAX);
    assert_true(parsed("15.99999999999999999999E", 1) > 15 * (GIB << 30));
}

static void what_is_no_size_is_refused_and_quoted(void **state)
{
    static const char *const bad[] = { "",    "G",    "-1",  "1X",  "1GG", " 1",
                                       "1.",  ".5G",  "1e3", "16E", "1Bi", "18446744073709551616",
                                       "0x4", "1KiBx" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t bytes = 77;
        g_autoptr(GError) error = NULL;
        assert_false(size_parse(bad[i], 1, &bytes, &error));
        assert_int_equal(bytes, 77);
        g_autofree char *quoted = g_strdup_printf("'%s'", bad[i]);
        assert_non_null(strstr(error->message, quoted));
    }
}

static void formatted_sizes_read_back_the_same(void **state)
{
    static const uint64_t sizes[] = {
        0, 1, 513, 1024, 1536 * MIB, 4 * GIB, UINT64_MAX, 1ull << 63
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *text = size_format(sizes[i]);
        assert_true(parsed(text, 1) == sizes[i]);
    }
    g_autofree char *text = size_format(1536 * MIB);
    assert_string_equal(text, "1536M");
}

static void uuids_survive_text(void **state)
{
    Uuid uuid, again;
    char text[UUID_TEXT_SIZE];
    assert_true(uuid_generate(&uuid, NULL));
    assert_int_equal(uuid.byte[6] >> 4, 4);
    uuid_format(&uuid, text);
    assert_int_equal(strlen(text), 36);
    assert_true(uuid_parse(text, &again, NULL));
    assert_memory_equal(&uuid, &again, sizeof(uuid));
    assert_true(uuid_parse("00112233445566778899AABBCCDDEEFF", &again, NULL));
    assert_int_equal(again.byte[15], 0xff);
}

static void malformed_uuids_are_refused(void **state)
{
    static const char *const bad[] = { "",
                                       "-",
                                       "0011",
                                       "00112233-4455-6677-8899-aabbccddeef",
                                       "00112233-4455-6677-8899-aabbccddeeff0",
                                       "00112233--4455-6677-8899-aabbccddeeff",
                                       "0011223g-4455-6677-8899-aabbccddeeff" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Uuid uuid;
        g_autoptr(GError) error = NULL;
        assert_false(uuid_parse(bad[i], &uuid, &error));
        assert_non_null(error);
    }
}

static void a_mistyped_word_finds_its_neighbour(void **state)
{
    static const char *const words[] = { "virtio-blk-pci", "virtio-net-pci", "isa-serial", NULL };
    static const char *const none[] = { NULL };
    assert_int_equal(str_edit_distance("abc", "acb"), 1);
    assert_int_equal(str_edit_distance("", "abc"), 3);
    assert_int_equal(str_edit_distance("kitten", "Sitting"), 3);
    assert_string_equal(str_closest("virtio-blk", words), "virtio-blk-pci");
    assert_string_equal(str_closest("isa-serail", words), "isa-serial");
    assert_null(str_closest("nvme", words));
    g_autofree char *near = str_suggestion("isa-seral", words);
    assert_string_equal(near, "; did you mean 'isa-serial'?");
    g_autofree char *far = str_suggestion("nvme", words);
    assert_string_equal(far, "; supported: virtio-blk-pci, virtio-net-pci, isa-serial");
    g_autofree char *empty = str_suggestion("x", none);
    assert_string_equal(empty, "");
}

static void numbers_are_read_whole_or_not(void **state)
{
    guint64 value;
    assert_true(str_parse_u64("0x1F", &value));
    assert_int_equal(value, 31);
    assert_true(str_parse_u64("010", &value));
    assert_int_equal(value, 10);
    assert_false(str_parse_u64("", &value));
    assert_false(str_parse_u64("0x", &value));
    assert_false(str_parse_u64("-1", &value));
    assert_false(str_parse_u64("0x-1", &value));
    assert_false(str_parse_u64(" 1", &value));
    assert_false(str_parse_u64("1 ", &value));
    assert_false(str_parse_u64("18446744073709551616", &value));
}

static void errno_becomes_code_and_reason(void **state)
{
    g_autoptr(GError) error = NULL;
    lodge_error_set_errno(&error, -ENOENT, "cannot open '%s'", "/x");
    assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND));
    assert_string_equal(error->message, "cannot open '/x': No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read_with_unit_fraction_and_suffix),
        cmocka_unit_test(what_is_no_size_is_refused_and_quoted),
        cmocka_unit_test(formatted_sizes_read_back_the_same),
        cmocka_unit_test(uuids_survive_text),
        cmocka_unit_test(malformed_uuids_are_refused),
        cmocka_unit_test(a_mistyped_word_finds_its_neighbour),
        cmocka_unit_test(numbers_are_read_whole_or_not),
        cmocka_unit_test(errno_becomes_code_and_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
