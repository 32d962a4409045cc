/* Access dispatch: splitting, widening, ends of regions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/bus/region.h"
#include "vmm/memory/guest-memory.h"

#include <stdio.h>
#include <string.h>

static char trail[256];

static uint64_t note_read(void *opaque, uint64_t offset, unsigned size)
{
    char line[32];
    snprintf(line, sizeof(line), "r%x:%u ", (unsigned)offset, size);
    strncat(trail, line, sizeof(trail) - strlen(trail) - 1);
    return UINT64_C(0x0706050403020100) + offset * UINT64_C(0x0101010101010101);
}

static void note_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    char line[64];
    snprintf(line, sizeof(line), "w%x:%u=%llx ", (unsigned)offset, size, (unsigned long long)value);
    strncat(trail, line, sizeof(trail) - strlen(trail) - 1);
}

static Region make_region(RegionOps *ops, uint8_t min, uint8_t max)
{
    *ops = (RegionOps){ .read = note_read, .write = note_write, .min_size = min, .max_size = max };
    trail[0] = 0;
    return (Region){ .name = "test", .size_bytes = 16, .ops = ops };
}

static void large_accesses_are_split_low_part_first(void **state)
{
    RegionOps ops;
    Region region = make_region(&ops, 1, 2);
    region_write(&region, 4, 0x44332211, 4);
    assert_string_equal(trail, "w4:2=2211 w6:2=4433 ");
    assert_int_equal(region_read(&region, 4, 4), 0x07060504);
}

static void small_accesses_are_widened(void **state)
{
    RegionOps ops;
    Region region = make_region(&ops, 4, 4);
    assert_int_equal(region_read(&region, 6, 1), 0x06);
    region_write(&region, 5, 0xab, 1);
    assert_string_equal(trail, "r4:4 w4:4=ab00 ");
}

static void unaligned_accesses_become_aligned_ones(void **state)
{
    RegionOps ops;
    Region region = make_region(&ops, 1, 4);
    assert_int_equal(region_read(&region, 3, 4), 0x06050403);
    assert_string_equal(trail, "r3:1 r4:2 r6:1 ");
}

static void past_the_end_are_ones(void **state)
{
    RegionOps ops;
    Region region = make_region(&ops, 1, 4);
    assert_int_equal(region_read(&region, 14, 4), 0xffff0f0e);
    region_write(&region, 14, 0x44332211, 4);
    assert_string_equal(trail, "re:2 we:2=2211 ");
}

static void a_bus_access_spans_ram_and_region(void **state)
{
    RegionOps ops;
    Region region = make_region(&ops, 1, 8);
    RamBlock *block = ram_block_new("ram", 4096);
    AddressMap *map = address_map_new(0);
    AddressEntry ram = { .size_bytes = 4096, .ram = block };
    AddressEntry device = { .base = 4096, .size_bytes = 16, .region = &region };
    assert_int_equal(address_map_add(map, &ram, 0), 0);
    assert_int_equal(address_map_add(map, &device, 0), 0);
    bus_write(map, 4094, 0x44332211, 4);
    assert_int_equal(block->host[4094], 0x11);
    assert_int_equal(block->host[4095], 0x22);
    assert_string_equal(trail, "w0:2=4433 ");
    assert_int_equal(bus_read(map, 4094, 4), 0x01002211);
    assert_int_equal(bus_read(map, 0x8000, 8), UINT64_MAX);
    address_map_free(map);
    ram_block_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_accesses_are_split_low_part_first),
        cmocka_unit_test(small_accesses_are_widened),
        cmocka_unit_test(unaligned_accesses_become_aligned_ones),
        cmocka_unit_test(past_the_end_are_ones),
        cmocka_unit_test(a_bus_access_spans_ram_and_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
