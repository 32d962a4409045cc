/* Guest memory: copies across entries, ROM, page marks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/memory/guest-memory.h"

#include <errno.h>
#include <string.h>

typedef struct Fixture {
    GuestMemory memory;
    RamBlock *low, *high, *rom;
    unsigned code_writes;
    uint64_t code_offset, code_length;
} Fixture;

static void note_code_write(void *opaque, RamBlock *block, uint64_t offset, uint64_t length)
{
    Fixture *f = opaque;
    f->code_writes++;
    f->code_offset = offset;
    f->code_length = length;
}

static int put(Fixture *f, RamBlock *block, GuestAddr base, bool readonly)
{
    AddressEntry entry = {
        .base = base, .size_bytes = block->size_bytes, .ram = block, .readonly = readonly
    };
    return address_map_add(f->memory.map, &entry, 0);
}

static int set_up(void **state)
{
    static Fixture f;
    f = (Fixture){ .memory = { .map = address_map_new(0), .code_written = note_code_write } };
    f.memory.code_opaque = &f;
    f.low = ram_block_new("low", 0x2000);
    f.high = ram_block_new("a name that is much longer than the field holds", 0x2000);
    f.rom = ram_block_new("rom", 0x1000);
    if (!f.low || !f.high || !f.rom || put(&f, f.low, 0, false) || put(&f, f.high, 0x2000, false) ||
        put(&f, f.rom, 0x10000, true)) {
        return -1;
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    address_map_free(f->memory.map);
    ram_block_free(f->low);
    ram_block_free(f->high);
    ram_block_free(f->rom);
    return 0;
}

static void a_copy_spans_two_blocks(void **state)
{
    Fixture *f = *state;
    uint8_t out[16] = { 0 };
    assert_int_equal(guest_memory_write(&f->memory, 0x1ff8, "0123456789abcdef", 16), 0);
    assert_memory_equal(f->low->host + 0x1ff8, "01234567", 8);
    assert_memory_equal(f->high->host, "89abcdef", 8);
    assert_int_equal(guest_memory_read(&f->memory, 0x1ff8, out, 16), 0);
    assert_memory_equal(out, "0123456789abcdef", 16);
}

static void a_copy_past_the_end_of_ram_is_refused(void **state)
{
    Fixture *f = *state;
    uint8_t out[16];
    assert_int_equal(guest_memory_read(&f->memory, 0x3ff8, out, 16), -EFAULT);
    assert_int_equal(guest_memory_write(&f->memory, UINT64_MAX, out, 16), -EFAULT);
    assert_int_equal(guest_memory_read(&f->memory, 0x3ff8, out, 8), 0);
}

static void rom_is_read_but_not_written(void **state)
{
    Fixture *f = *state;
    uint8_t byte = 1;
    uint64_t length = 1;
    assert_int_equal(guest_memory_read(&f->memory, 0x10000, &byte, 1), 0);
    assert_int_equal(guest_memory_write(&f->memory, 0x10000, &byte, 1), -EFAULT);
    assert_null(guest_memory_map(&f->memory, 0x10000, &length, true));
    assert_non_null(guest_memory_map(&f->memory, 0x10000, &length, false));
}

static void a_mapping_is_clipped_to_the_block(void **state)
{
    Fixture *f = *state;
    uint64_t length = 0x10000;
    uint8_t *at = guest_memory_map(&f->memory, 0x1800, &length, true);
    assert_ptr_equal(at, f->low->host + 0x1800);
    assert_int_equal(length, 0x800);
}

static void writes_to_code_pages_are_announced(void **state)
{
    Fixture *f = *state;
    f->low->page_flags[1] = RAM_PAGE_CODE;
    f->code_writes = 0;
    assert_int_equal(guest_memory_write(&f->memory, 0x10, "x", 1), 0);
    assert_int_equal(f->code_writes, 0);
    assert_int_equal(guest_memory_write(&f->memory, 0xffe, "four", 4), 0);
    assert_int_equal(f->code_writes, 1);
    assert_int_equal(f->code_offset, 0xffe);
    assert_int_equal(f->code_length, 4);
    f->low->page_flags[1] = 0;
}

static void pages_become_dirty_only_while_logging(void **state)
{
    Fixture *f = *state;
    assert_int_equal(guest_memory_write(&f->memory, 0x2000, "x", 1), 0);
    assert_int_equal(f->high->page_flags[0], 0);
    f->memory.dirty_logging = true;
    guest_memory_written(&f->memory, 0x2fff, 2);
    assert_int_equal(f->high->page_flags[0], RAM_PAGE_DIRTY);
    assert_int_equal(f->high->page_flags[1], RAM_PAGE_DIRTY);
    assert_int_equal(f->low->page_flags[1], 0);
    f->memory.dirty_logging = false;
}

static void odd_sizes_make_no_block(void **state)
{
    assert_null(ram_block_new("x", 0));
    assert_int_equal(errno, EINVAL);
    assert_null(ram_block_new("x", 4097));
    assert_null(ram_block_new("x", UINT64_C(1) << 63));
    ram_block_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_spans_two_blocks),
        cmocka_unit_test(a_copy_past_the_end_of_ram_is_refused),
        cmocka_unit_test(rom_is_read_but_not_written),
        cmocka_unit_test(a_mapping_is_clipped_to_the_block),
        cmocka_unit_test(writes_to_code_pages_are_announced),
        cmocka_unit_test(pages_become_dirty_only_while_logging),
        cmocka_unit_test(odd_sizes_make_no_block),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
