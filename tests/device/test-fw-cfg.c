/* fw_cfg: ports, directory, DMA, and DMA that goes wrong.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "gbase/error.h"
#include "lib/check.h"
#include "lib/fake-host.h"
#include "vmm/devices/fw-cfg.h"

#include <string.h>

static FakeHost *fake;
static Device *fw;

static int setup(void **state)
{
    fake = fake_host_new();
    fw = fake_host_add(fake, &fw_cfg_class, NULL);
    return 0;
}

static int teardown(void **state)
{
    device_free(fw);
    fake_host_free(fake);
    return 0;
}

static void select_key(uint16_t key)
{
    fake_out16(fake, 0x510, key);
}

static void read_bytes(void *out, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)out)[i] = fake_in8(fake, 0x511);
    }
}

/* Runs a DMA command placed at 0x100; returns the control word it leaves. */
static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
    uint8_t *at = fake->ram->host + 0x100;
    be32_put(at, control);
    be32_put(at + 4, length);
    be64_put(at + 8, address);
    fake_out32(fake, 0x514, 0);
    fake_out32(fake, 0x518, htobe32(0x100));
    return be32_get(at);
}

static void signature_and_id_tell_of_dma(void **state)
{
    char text[5] = { 0 };
    select_key(FW_CFG_SIGNATURE);
    read_bytes(text, 4);
    assert_string_equal(text, "QEMU");
    assert_int_equal(fake_in8(fake, 0x511), 0); /* past the end */
    select_key(FW_CFG_ID);
    assert_int_equal(fake_in8(fake, 0x511), 3);
    assert_int_equal(fake_in32(fake, 0x514), be32toh(0x51454d55));
    assert_int_equal(fake_in32(fake, 0x518), be32toh(0x20434647));
    select_key(0x3fff);
    assert_int_equal(fake_in8(fake, 0x511), 0);
}

static void files_are_listed_by_name(void **state)
{
    assert_true(fw_cfg_set_file(fw, "opt/b", "bb", 2, NULL));
    assert_true(fw_cfg_set_file(fw, "etc/a", "a", 1, NULL));
    assert_true(fw_cfg_set_file(fw, "opt/c", "ccc", 3, NULL));
    assert_true(fw_cfg_set_file(fw, "opt/b", "BBBB", 4, NULL)); /* replaced */
    uint8_t head[4], entry[64];
    static const char *const names[] = { "etc/a", "opt/b", "opt/c" };
    static const uint32_t sizes[] = { 1, 4, 3 };
    select_key(FW_CFG_FILE_DIRECTORY);
    read_bytes(head, sizeof(head));
    assert_int_equal(be32_get(head), 3);
    for (unsigned i = 0; i < 3; i++) {
        read_bytes(entry, sizeof(entry));
        assert_int_equal(be32_get(entry), sizes[i]);
        assert_int_equal(be16_get(entry + 4), FW_CFG_FILE_FIRST + i);
        assert_string_equal((char *)entry + 8, names[i]);
    }
    char text[5] = { 0 };
    select_key(FW_CFG_FILE_FIRST + 1);
    read_bytes(text, 4);
    assert_string_equal(text, "BBBB");
}

static void too_many_files_and_long_names_are_refused(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *longest = g_strnfill(FW_CFG_NAME_MAX, 'x');
    g_autofree char *longer = g_strnfill(FW_CFG_NAME_MAX + 1, 'x');
    assert_true(fw_cfg_set_file(fw, longest, "", 0, NULL));
    assert_false(fw_cfg_set_file(fw, longer, "", 0, &error));
    g_clear_error(&error);
    assert_false(fw_cfg_set_file(fw, "", "", 0, &error));
    g_clear_error(&error);
    for (unsigned i = 1; i < FW_CFG_FILES_MAX; i++) {
        g_autofree char *name = g_strdup_printf("f%u", i);
        assert_true(fw_cfg_set_file(fw, name, "x", 1, NULL));
    }
    assert_false(fw_cfg_set_file(fw, "one-more", "x", 1, &error));
    assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_LIMIT));
    assert_true(fw_cfg_set_file(fw, "f1", "again", 5, NULL));
}

static void dma_reads_skips_and_pads(void **state)
{
    fw_cfg_set_item(fw, FW_CFG_CMDLINE_DATA, "console=ttyS0", 14);
    memset(fake->ram->host + 0x1000, 0xcc, 32);
    assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 0x08 | 0x02, 7, 0x1000), 0);
    assert_memory_equal(fake->ram->host + 0x1000, "console\xcc", 8);
    assert_int_equal(dma(0x04, 1, 0), 0);
    assert_int_equal(dma(0x02, 10, 0x1000), 0);
    assert_memory_equal(fake->ram->host + 0x1000, "ttyS0\0\0\0\0\0\xcc", 11);
}

static void dma_to_no_ram_fails_and_says_so(void **state)
{
    fw_cfg_set_item(fw, FW_CFG_CMDLINE_DATA, "x", 1);
    assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 0x0a, 1, UINT64_C(0xfffffffffffff000)), 1);
    assert_int_equal(dma(FW_CFG_CMDLINE_DATA << 16 | 0x0a, 1, FAKE_HOST_RAM_BYTES), 1);
    assert_int_equal(dma(0x02, UINT32_MAX, 0x1000), 1); /* no endless padding */
    assert_int_equal(dma(0x04, UINT32_MAX, 0x1000), 0); /* skipping is free */
    assert_int_equal(dma(0x10, 1, 0x1000), 1);          /* nothing can be written */
    fake_out32(fake, 0x514, 0xffffffff);
    fake_out32(fake, 0x518, 0xffffffff); /* the command itself is nowhere */
    select_key(FW_CFG_SIGNATURE);
    assert_int_equal(fake_in8(fake, 0x511), 'Q');
}

static void numbers_are_little_endian(void **state)
{
    fw_cfg_set_u16(fw, FW_CFG_NB_CPUS, 0x0102);
    fw_cfg_set_u32(fw, FW_CFG_ARCH + 2, 0x01020304);
    select_key(FW_CFG_NB_CPUS);
    assert_int_equal(fake_in8(fake, 0x511), 2);
    assert_int_equal(fake_in8(fake, 0x511), 1);
    select_key(FW_CFG_ARCH + 2);
    assert_int_equal(fake_in8(fake, 0x511), 4);
}

static void reading_goes_on_after_a_load(void **state)
{
    select_key(FW_CFG_SIGNATURE);
    fake_in8(fake, 0x511);
    fake_host_check_round_trip(fw);
    assert_int_equal(fake_in8(fake, 0x511), 'E');
    device_reset(fw, RESET_WARM);
    assert_int_equal(fake_in8(fake, 0x511), 'Q');
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(signature_and_id_tell_of_dma),
        CASE(files_are_listed_by_name),
        CASE(too_many_files_and_long_names_are_refused),
        CASE(dma_reads_skips_and_pads),
        CASE(dma_to_no_ram_fails_and_says_so),
        CASE(numbers_are_little_endian),
        CASE(reading_goes_on_after_a_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
