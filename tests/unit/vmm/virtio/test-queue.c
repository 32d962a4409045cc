/* Virtqueues: good chains, and drivers that break every rule.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BYTES 0x40000
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define TABLE 0x4000
#define DATA 0x10000
#define SIZE 8

typedef struct Bench {
    AddressMap *map;
    RamBlock *ram;
    GuestMemory memory;
    VirtQueue queue;
    uint16_t avail_index;
} Bench;

static int set_up(void **state)
{
    Bench *b = calloc(1, sizeof(*b));
    b->map = address_map_new(0);
    b->ram = ram_block_new("ram", RAM_BYTES);
    AddressEntry entry = { .base = 0, .size_bytes = RAM_BYTES, .ram = b->ram };
    assert_int_equal(address_map_add(b->map, &entry, 0), 0);
    b->memory.map = b->map;
    virtq_init(&b->queue, &b->memory, SIZE);
    b->queue.address[VIRTQ_DESC] = DESC;
    b->queue.address[VIRTQ_AVAIL] = AVAIL;
    b->queue.address[VIRTQ_USED] = USED;
    b->queue.has_indirect = true;
    assert_int_equal(virtq_start(&b->queue), 0);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    Bench *b = *state;
    address_map_free(b->map);
    ram_block_free(b->ram);
    free(b);
    return 0;
}

static void put_desc(Bench *b, GuestAddr table, unsigned index, GuestAddr addr, uint32_t length,
                     uint16_t flags, uint16_t next)
{
    uint8_t *at = b->ram->host + table + 16 * index;
    le64_put(at, addr);
    le32_put(at + 8, length);
    le16_put(at + 12, flags);
    le16_put(at + 14, next);
}

static void publish(Bench *b, uint16_t head)
{
    le16_put(b->ram->host + AVAIL + 4 + 2 * (b->avail_index % SIZE), head);
    le16_put(b->ram->host + AVAIL + 2, ++b->avail_index);
}

static uint16_t used_index(Bench *b)
{
    return le16_get(b->ram->host + USED + 2);
}

static void assert_broken(Bench *b, const char *why)
{
    assert_null(virtq_pop(&b->queue));
    assert_non_null(b->queue.broken);
    assert_string_equal(b->queue.broken, why);
    assert_null(virtq_pop(&b->queue));
    assert_false(virtq_has_work(&b->queue));
    assert_false(virtq_should_interrupt(&b->queue));
}

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static void a_chain_is_read_answered_and_given_back(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 3, DATA, 4, NEXT, 5);
    put_desc(b, DESC, 5, DATA + 0x100, 2, NEXT, 1);
    put_desc(b, DESC, 1, DATA + 0x200, 3, WRITE | NEXT, 7);
    put_desc(b, DESC, 7, DATA + 0x300, 5, WRITE, 0);
    memcpy(b->ram->host + DATA, "abcd", 4);
    memcpy(b->ram->host + DATA + 0x100, "ef", 2);
    assert_false(virtq_has_work(&b->queue));
    publish(b, 3);
    assert_true(virtq_has_work(&b->queue));
    VirtqChain *chain = virtq_pop(&b->queue);
    assert_non_null(chain);
    assert_int_equal(chain->head, 3);
    assert_int_equal(chain->out_bytes, 6);
    assert_int_equal(chain->in_bytes, 8);
    char text[7] = "";
    assert_int_equal(virtq_chain_read(chain, 0, text, 6), 0);
    assert_string_equal(text, "abcdef");
    assert_int_equal(virtq_chain_read(chain, 3, text, 2), 0);
    assert_memory_equal(text, "de", 2);
    assert_int_equal(virtq_chain_read(chain, 5, text, 2), -EFAULT);
    assert_int_equal(virtq_chain_write(chain, 1, "123456", 6), 0);
    assert_memory_equal(b->ram->host + DATA + 0x201, "12", 2);
    assert_memory_equal(b->ram->host + DATA + 0x300, "3456", 4);
    assert_int_equal(virtq_chain_write(chain, 8, "x", 1), -EFAULT);
    virtq_push(chain, 7);
    assert_int_equal(used_index(b), 1);
    assert_int_equal(le32_get(b->ram->host + USED + 4), 3);
    assert_int_equal(le32_get(b->ram->host + USED + 8), 7);
    assert_true(virtq_should_interrupt(&b->queue));
    assert_false(virtq_should_interrupt(&b->queue));
    assert_null(virtq_pop(&b->queue));
    assert_null(b->queue.broken);
}

static void mapping_gives_the_same_bytes(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, NEXT, 1);
    put_desc(b, DESC, 1, DATA + 0x100, 8, WRITE | NEXT, 2);
    put_desc(b, DESC, 2, DATA + 0x200, 8, WRITE, 0);
    publish(b, 0);
    VirtqChain *chain = virtq_pop(&b->queue);
    struct iovec iov[4];
    assert_int_equal(virtq_chain_map(chain, true, 6, 4, iov, 4), 2);
    assert_ptr_equal(iov[0].iov_base, b->ram->host + DATA + 0x106);
    assert_int_equal(iov[0].iov_len, 2);
    assert_ptr_equal(iov[1].iov_base, b->ram->host + DATA + 0x200);
    assert_int_equal(virtq_chain_map(chain, true, 6, 4, iov, 1), -E2BIG);
    assert_int_equal(virtq_chain_map(chain, true, 6, 11, iov, 4), -EFAULT);
    assert_int_equal(virtq_chain_map(chain, false, 0, 4, iov, 4), 1);
    virtq_chain_free(chain);
}

static void an_indirect_table_is_a_chain(void **state)
{
    Bench *b = *state;
    put_desc(b, TABLE, 0, DATA, 4, NEXT, 2);
    put_desc(b, TABLE, 2, DATA + 0x100, 8, WRITE, 0);
    put_desc(b, DESC, 6, TABLE, 48, INDIRECT, 0);
    publish(b, 6);
    VirtqChain *chain = virtq_pop(&b->queue);
    assert_non_null(chain);
    assert_int_equal(chain->out_bytes, 4);
    assert_int_equal(chain->in_bytes, 8);
    virtq_chain_free(chain);
}

static void a_loop_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, NEXT, 1);
    put_desc(b, DESC, 1, DATA, 4, NEXT, 0);
    publish(b, 0);
    assert_broken(b, "descriptor chain has a loop");
}

static void a_loop_in_a_table_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, TABLE, 0, DATA, 4, NEXT, 1);
    put_desc(b, TABLE, 1, DATA, 4, NEXT, 1);
    put_desc(b, DESC, 0, TABLE, 32, INDIRECT, 0);
    publish(b, 0);
    assert_broken(b, "descriptor chain has a loop");
}

static void too_many_descriptors_break_the_ring(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < 1025; i++) {
        put_desc(b, TABLE, i, DATA, 4, i < 1024 ? NEXT : 0, (uint16_t)(i + 1));
    }
    put_desc(b, DESC, 0, TABLE, 1025 * 16, INDIRECT, 0);
    publish(b, 0);
    assert_broken(b, "descriptor chain is too long");
}

static void indirect_in_indirect_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, TABLE, 0, TABLE, 16, INDIRECT, 0);
    put_desc(b, DESC, 0, TABLE, 16, INDIRECT, 0);
    publish(b, 0);
    assert_broken(b, "indirect descriptor in an indirect table");
}

static void indirect_that_was_not_negotiated_breaks_the_ring(void **state)
{
    Bench *b = *state;
    b->queue.has_indirect = false;
    put_desc(b, TABLE, 0, DATA, 16, 0, 0);
    put_desc(b, DESC, 0, TABLE, 16, INDIRECT, 0);
    publish(b, 0);
    assert_broken(b, "indirect descriptor was not negotiated");
}

static void bad_indirect_tables_break_the_ring(void **state)
{
    Bench *b = *state;
    const struct {
        GuestAddr addr;
        uint32_t length;
        uint16_t flags;
        const char *why;
    } cases[] = {
        { TABLE, 0, INDIRECT, "indirect table has a bad length" },
        { TABLE, 17, INDIRECT, "indirect table has a bad length" },
        { TABLE, 16, INDIRECT | NEXT, "indirect descriptor with other flags" },
        { TABLE, 16, INDIRECT | WRITE, "indirect descriptor with other flags" },
        { RAM_BYTES, 16, INDIRECT, "indirect table is not in memory" },
        { UINT64_MAX - 15, 16, INDIRECT, "indirect table is not in memory" },
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(virtq_start(&b->queue), 0);
        b->avail_index = 0;
        put_desc(b, DESC, 0, cases[i].addr, cases[i].length, cases[i].flags, 0);
        publish(b, 0);
        assert_broken(b, cases[i].why);
    }
}

static void a_next_entry_past_the_table_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, TABLE, 0, DATA, 4, NEXT, 2);
    put_desc(b, DESC, 0, TABLE, 32, INDIRECT, 0);
    publish(b, 0);
    assert_broken(b, "next descriptor is out of range");
    assert_int_equal(virtq_start(&b->queue), 0);
    b->avail_index = 0;
    put_desc(b, DESC, 0, DATA, 4, NEXT, SIZE);
    publish(b, 0);
    assert_broken(b, "next descriptor is out of range");
}

static void a_head_past_the_table_breaks_the_ring(void **state)
{
    Bench *b = *state;
    publish(b, SIZE);
    assert_broken(b, "head descriptor is out of range");
}

static void readable_after_writable_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, NEXT | WRITE, 1);
    put_desc(b, DESC, 1, DATA, 4, 0, 0);
    publish(b, 0);
    assert_broken(b, "readable descriptor follows a writable one");
}

static void lengths_that_cannot_be_break_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 0, 0, 0);
    publish(b, 0);
    assert_broken(b, "descriptor of length zero");
    assert_int_equal(virtq_start(&b->queue), 0);
    b->avail_index = 0;
    put_desc(b, DESC, 0, UINT64_MAX - 2, 4, 0, 0);
    publish(b, 0);
    assert_broken(b, "descriptor runs past the end of memory");
}

static void an_index_that_jumps_breaks_the_ring(void **state)
{
    Bench *b = *state;
    le16_put(b->ram->host + AVAIL + 2, SIZE + 1);
    assert_broken(b, "available index runs past the ring");
}

static void an_index_that_goes_back_breaks_the_ring(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    publish(b, 0);
    virtq_chain_free(virtq_pop(&b->queue));
    le16_put(b->ram->host + AVAIL + 2, 0);
    assert_broken(b, "available index runs past the ring");
}

static void more_requests_than_entries_break_the_ring(void **state)
{
    Bench *b = *state;
    VirtqChain *chains[SIZE];
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    for (unsigned i = 0; i < SIZE; i++) {
        publish(b, 0);
        chains[i] = virtq_pop(&b->queue);
        assert_non_null(chains[i]);
    }
    publish(b, 0);
    assert_broken(b, "more requests than the ring has entries");
    for (unsigned i = 0; i < SIZE; i++) {
        virtq_push(chains[i], 0);
    }
    assert_int_equal(used_index(b), 0);
}

static void data_outside_memory_is_an_error_of_the_copy(void **state)
{
    Bench *b = *state;
    char byte;
    struct iovec iov[4];
    put_desc(b, DESC, 0, RAM_BYTES - 1, 2, NEXT, 1);
    put_desc(b, DESC, 1, RAM_BYTES + 0x1000, UINT32_MAX, WRITE, 0);
    publish(b, 0);
    VirtqChain *chain = virtq_pop(&b->queue);
    assert_non_null(chain);
    assert_int_equal(virtq_chain_read(chain, 0, &byte, 1), 0);
    assert_int_equal(virtq_chain_read(chain, 1, &byte, 1), -EFAULT);
    assert_int_equal(virtq_chain_write(chain, 0, &byte, 1), -EFAULT);
    assert_int_equal(virtq_chain_map(chain, false, 0, 2, iov, 4), -EFAULT);
    assert_int_equal(virtq_chain_map(chain, true, 0, UINT32_MAX, iov, 4), -EFAULT);
    virtq_push(chain, 0);
    assert_null(b->queue.broken);
}

static void set_ups_that_cannot_be_are_refused(void **state)
{
    Bench *b = *state;
    const struct {
        unsigned part;
        GuestAddr address;
        uint16_t size;
    } cases[] = {
        { VIRTQ_DESC, DESC + 8, SIZE },
        { VIRTQ_AVAIL, AVAIL + 1, SIZE },
        { VIRTQ_USED, USED + 2, SIZE },
        { VIRTQ_DESC, DESC, 0 },
        { VIRTQ_DESC, DESC, 3 },
        { VIRTQ_DESC, DESC, 2 * SIZE },
        { VIRTQ_USED, UINT64_MAX - 3, SIZE },
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        virtq_reset(&b->queue);
        b->queue.address[VIRTQ_DESC] = DESC;
        b->queue.address[VIRTQ_AVAIL] = AVAIL;
        b->queue.address[VIRTQ_USED] = USED;
        b->queue.address[cases[i].part] = cases[i].address;
        b->queue.size = cases[i].size;
        assert_int_equal(virtq_start(&b->queue), -EINVAL);
        assert_null(virtq_pop(&b->queue));
    }
}

static void rings_outside_memory_break_at_first_use(void **state)
{
    Bench *b = *state;
    b->queue.address[VIRTQ_AVAIL] = RAM_BYTES;
    assert_int_equal(virtq_start(&b->queue), 0);
    assert_broken(b, "ring is not in memory");
}

static void rings_may_span_pieces_of_memory(void **state)
{
    Bench *b = *state;
    /* Another block takes the place of one page, so the used ring lies in two blocks. */
    RamBlock *page = ram_block_new("page", 4096);
    AddressEntry entry = { .base = 0x8000, .size_bytes = 4096, .ram = page };
    assert_int_equal(address_map_add(b->map, &entry, 1), 0);
    b->queue.address[VIRTQ_USED] = 0x8000 - 8;
    assert_int_equal(virtq_start(&b->queue), 0);
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    publish(b, 0);
    publish(b, 0);
    virtq_push(virtq_pop(&b->queue), 0);
    virtq_push(virtq_pop(&b->queue), 0);
    assert_null(b->queue.broken);
    assert_int_equal(le16_get(b->ram->host + 0x8000 - 6), 2);
    assert_int_equal(address_map_remove(b->map, 0x8000, 1), 0);
    ram_block_free(page);
}

static void memory_that_moves_is_looked_up_again(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    publish(b, 0);
    virtq_push(virtq_pop(&b->queue), 0);
    RamBlock *page = ram_block_new("page", 4096);
    AddressEntry entry = { .base = USED, .size_bytes = 4096, .ram = page };
    assert_int_equal(address_map_add(b->map, &entry, 1), 0);
    publish(b, 0);
    virtq_push(virtq_pop(&b->queue), 0);
    assert_int_equal(le16_get(page->host + 2), 2);
    assert_int_equal(used_index(b), 1);
    assert_int_equal(address_map_remove(b->map, USED, 1), 0);
    ram_block_free(page);
}

static void event_indexes_hold_back_interrupts_and_notifications(void **state)
{
    Bench *b = *state;
    b->queue.has_event_index = true;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    uint8_t *used_event = b->ram->host + AVAIL + 4 + 2 * SIZE;
    const uint8_t *avail_event = b->ram->host + USED + 4 + 8 * SIZE;
    le16_put(used_event, 1); /* tell me of the second one */
    publish(b, 0);
    publish(b, 0);
    virtq_push(virtq_pop(&b->queue), 0);
    assert_false(virtq_should_interrupt(&b->queue));
    virtq_push(virtq_pop(&b->queue), 0);
    assert_true(virtq_should_interrupt(&b->queue));
    assert_null(virtq_pop(&b->queue));
    assert_int_equal(le16_get(avail_event), 2);
}

static void the_interrupt_flag_is_obeyed(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    le16_put(b->ram->host + AVAIL, VRING_AVAIL_F_NO_INTERRUPT);
    publish(b, 0);
    virtq_push(virtq_pop(&b->queue), 0);
    assert_false(virtq_should_interrupt(&b->queue));
}

static void indexes_wrap(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    for (unsigned i = 0; i < 70000; i++) {
        publish(b, 0);
        VirtqChain *chain = virtq_pop(&b->queue);
        assert_non_null(chain);
        virtq_push(chain, 0);
    }
    assert_int_equal(used_index(b), (uint16_t)70000);
}

static void a_stale_chain_is_only_freed(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 0, DATA, 4, 0, 0);
    publish(b, 0);
    VirtqChain *chain = virtq_pop(&b->queue);
    virtq_reset(&b->queue);
    assert_true(virtq_chain_is_stale(chain));
    virtq_push(chain, 0);
    assert_int_equal(used_index(b), 0);
    assert_int_equal(b->queue.in_flight, 0);
}

static void a_chain_can_be_put_back_and_reloaded(void **state)
{
    Bench *b = *state;
    put_desc(b, DESC, 2, DATA, 4, 0, 0);
    publish(b, 2);
    virtq_unpop(virtq_pop(&b->queue));
    assert_int_equal(b->queue.in_flight, 0);
    VirtqChain *chain = virtq_pop(&b->queue);
    assert_int_equal(chain->head, 2);
    assert_int_equal(virtq_check_loaded(&b->queue), 0);
    assert_true(virtq_chain_is_stale(chain));
    virtq_chain_free(chain);
    chain = virtq_reload(&b->queue, 2);
    assert_int_equal(chain->out_bytes, 4);
    virtq_push(chain, 0);
    assert_int_equal(used_index(b), 1);
    assert_null(virtq_reload(&b->queue, SIZE));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_chain_is_read_answered_and_given_back),
        CASE(mapping_gives_the_same_bytes),
        CASE(an_indirect_table_is_a_chain),
        CASE(a_loop_breaks_the_ring),
        CASE(a_loop_in_a_table_breaks_the_ring),
        CASE(too_many_descriptors_break_the_ring),
        CASE(indirect_in_indirect_breaks_the_ring),
        CASE(indirect_that_was_not_negotiated_breaks_the_ring),
        CASE(bad_indirect_tables_break_the_ring),
        CASE(a_next_entry_past_the_table_breaks_the_ring),
        CASE(a_head_past_the_table_breaks_the_ring),
        CASE(readable_after_writable_breaks_the_ring),
        CASE(lengths_that_cannot_be_break_the_ring),
        CASE(an_index_that_jumps_breaks_the_ring),
        CASE(an_index_that_goes_back_breaks_the_ring),
        CASE(more_requests_than_entries_break_the_ring),
        CASE(data_outside_memory_is_an_error_of_the_copy),
        CASE(set_ups_that_cannot_be_are_refused),
        CASE(rings_outside_memory_break_at_first_use),
        CASE(rings_may_span_pieces_of_memory),
        CASE(memory_that_moves_is_looked_up_again),
        CASE(event_indexes_hold_back_interrupts_and_notifications),
        CASE(the_interrupt_flag_is_obeyed),
        CASE(indexes_wrap),
        CASE(a_stale_chain_is_only_freed),
        CASE(a_chain_can_be_put_back_and_reloaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
