/* Address map: priorities, clipping, readers beside a writer.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/memory/address-map.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* The map only compares these addresses. */
static struct Region *const region_a = (struct Region *)0x100, *const region_b = (void *)0x200;
static struct RamBlock *const ram_a = (struct RamBlock *)0x300;

static AddressEntry device(GuestAddr base, uint64_t size, struct Region *region)
{
    return (AddressEntry){ .base = base, .size_bytes = size, .region = region };
}

static AddressEntry ram(GuestAddr base, uint64_t size, uint64_t offset)
{
    return (AddressEntry){ .base = base, .size_bytes = size, .ram = ram_a, .ram_offset = offset };
}

static int add(AddressMap *map, AddressEntry entry, int priority)
{
    return address_map_add(map, &entry, priority);
}

static void the_higher_priority_hides_the_lower(void **state)
{
    AddressMap *map = address_map_new(0);
    AddressEntry found;
    assert_int_equal(add(map, ram(0x1000, 0x3000, 0x10000), 0), 0);
    assert_int_equal(add(map, device(0x2000, 0x1000, region_a), 1), 0);
    assert_true(address_map_find(map, 0x1fff, &found));
    assert_ptr_equal(found.ram, ram_a);
    assert_int_equal(found.size_bytes, 0x1000);
    assert_true(address_map_find(map, 0x2000, &found));
    assert_ptr_equal(found.region, region_a);
    assert_true(address_map_find(map, 0x3000, &found));
    assert_int_equal(found.base, 0x3000);
    assert_int_equal(found.ram_offset, 0x12000);
    assert_false(address_map_find(map, 0xfff, &found));
    assert_false(address_map_find(map, 0x4000, &found));
    assert_int_equal(address_map_remove(map, 0x2000, 1), 0);
    assert_true(address_map_find(map, 0x2000, &found));
    assert_int_equal(found.base, 0x1000);
    assert_int_equal(found.size_bytes, 0x3000);
    address_map_free(map);
}

static void overlap_of_one_priority_is_refused(void **state)
{
    AddressMap *map = address_map_new(0x10000);
    assert_int_equal(add(map, device(0x10, 8, region_a), 0), 0);
    assert_int_equal(add(map, device(0x17, 8, region_b), 0), -EBUSY);
    assert_int_equal(add(map, device(0x18, 8, region_b), 0), 0);
    assert_int_equal(address_map_remove(map, 0x17, 0), -ENOENT);
    address_map_free(map);
}

static void empty_or_out_of_space_entries_are_refused(void **state)
{
    AddressMap *map = address_map_new(0x10000);
    assert_int_equal(add(map, device(0x10, 0, region_a), 0), -EINVAL);
    assert_int_equal(add(map, device(0xffff, 2, region_a), 0), -EINVAL);
    assert_int_equal(add(map, device(0x10000, 1, region_a), 0), -EINVAL);
    assert_int_equal(add(map, device(0xffff, 1, region_a), 0), 0);
    address_map_free(map);
}

static void an_entry_may_end_at_the_top_of_the_space(void **state)
{
    AddressMap *map = address_map_new(0);
    AddressEntry found;
    assert_int_equal(add(map, device(UINT64_MAX - 0xfff, 0x1000, region_a), 0), 0);
    assert_true(address_map_find(map, UINT64_MAX, &found));
    assert_int_equal(found.size_bytes, 0x1000);
    address_map_free(map);
}

static void too_many_entries_are_refused(void **state)
{
    AddressMap *map = address_map_new(0);
    int result = 0;
    uint64_t count = 0;
    /* The limit is the map's own affair; that there is one, and that it is generous, is not. */
    for (; count < 100000 && result == 0; count++) {
        result = add(map, device(0, 8, region_a), -(int)count);
    }
    assert_int_equal(result, -ENOSPC);
    assert_true(count > 1000);
    address_map_free(map);
}

typedef struct Heard {
    unsigned added, removed;
    AddressEntry last;
} Heard;

static void hear(void *opaque, const AddressEntry *entry, bool added)
{
    Heard *heard = opaque;
    heard->last = *entry;
    if (added) {
        heard->added++;
    } else {
        heard->removed++;
    }
}

static void the_listener_hears_ram_appear_split_and_vanish(void **state)
{
    AddressMap *map = address_map_new(0);
    Heard heard = { 0 };
    assert_int_equal(add(map, ram(0, 0x10000, 0), 0), 0);
    address_map_set_listener(map, hear, &heard);
    assert_int_equal(heard.added, 1);
    assert_int_equal(add(map, device(0x4000, 0x1000, region_a), 1), 0);
    assert_int_equal(heard.removed, 1);
    assert_int_equal(heard.added, 3);
    assert_int_equal(heard.last.base, 0x5000);
    assert_int_equal(add(map, device(0x20000, 0x1000, region_b), 1), 0);
    assert_int_equal(heard.added, 3);
    assert_int_equal(address_map_remove(map, 0, 0), 0);
    assert_int_equal(heard.removed, 3);
    address_map_free(map);
}

static _Atomic(bool) stop_readers;

static void *read_until_stopped(void *opaque)
{
    const AddressMap *map = opaque;
    while (!atomic_load(&stop_readers)) {
        AddressEntry found;
        if (!address_map_find(map, 0x5000, &found)) {
            return (void *)"nothing found";
        }
        if (found.region ? found.ram || found.base != 0x5000 : found.ram != ram_a) {
            return (void *)"torn entry";
        }
    }
    return NULL;
}

static void a_reader_never_sees_a_torn_entry(void **state)
{
    AddressMap *map = address_map_new(0);
    pthread_t thread;
    void *complaint = NULL;
    assert_int_equal(add(map, ram(0, 0x10000, 0), 0), 0);
    atomic_store(&stop_readers, false);
    assert_int_equal(pthread_create(&thread, NULL, read_until_stopped, map), 0);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(add(map, device(0x5000, 0x1000, region_a), 1), 0);
        assert_int_equal(address_map_remove(map, 0x5000, 1), 0);
    }
    atomic_store(&stop_readers, true);
    pthread_join(thread, &complaint);
    assert_null(complaint);
    address_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_higher_priority_hides_the_lower),
        cmocka_unit_test(overlap_of_one_priority_is_refused),
        cmocka_unit_test(empty_or_out_of_space_entries_are_refused),
        cmocka_unit_test(an_entry_may_end_at_the_top_of_the_space),
        cmocka_unit_test(too_many_entries_are_refused),
        cmocka_unit_test(the_listener_hears_ram_appear_split_and_vanish),
        cmocka_unit_test(a_reader_never_sees_a_torn_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
