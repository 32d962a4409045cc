/* Counting references to clusters: exact beyond the narrow counts, in memory where there are any.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/counts.h"

#include "lib/check.h"

#include <errno.h>

static void counts_of_any_height_are_exact(void **state)
{
    static const struct {
        uint64_t cluster, count;
    } rows[] = { { 0, 1 },      { 1, 253 },      { 2, 254 },      { 3, 255 },      { 4, 256 },
                 { 4095, 257 }, { 4096, 65535 }, { 4097, 65536 }, { 9999, 200000 } };
    Qcow2Counts counts;
    assert_int_equal(qcow2_counts_init(&counts, 10000), 0);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            for (uint64_t j = 1; j <= rows[i].count; j++) {
                assert_int_equal(qcow2_counts_add(&counts, rows[i].cluster), 0);
                assert_int_equal(qcow2_counts_get(&counts, rows[i].cluster), j);
            }
        }
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            assert_int_equal(qcow2_counts_get(&counts, rows[i].cluster), rows[i].count);
        }
        assert_int_equal(qcow2_counts_get(&counts, 5), 0);
        qcow2_counts_clear(&counts);
        assert_int_equal(qcow2_counts_get(&counts, 3), 0);
    }
    qcow2_counts_done(&counts);
}

static void holes_take_no_memory(void **state)
{
    Qcow2Counts counts;
    uint64_t clusters = 1ull << 30;
    assert_int_equal(qcow2_counts_init(&counts, clusters), 0);
    assert_int_equal(qcow2_counts_add(&counts, clusters - 1), 0);
    assert_int_equal(qcow2_counts_add(&counts, 70), 0);
    assert_true(counts.bytes < 16384);
    assert_false(qcow2_counts_is_hole(&counts, clusters - 1));
    assert_false(qcow2_counts_is_hole(&counts, 64));
    assert_true(qcow2_counts_is_hole(&counts, clusters / 2));
    assert_true(qcow2_counts_is_hole(&counts, clusters));
    assert_int_equal(qcow2_counts_get(&counts, clusters), 0);
    assert_int_equal(qcow2_counts_get(&counts, UINT64_MAX), 0);
    qcow2_counts_done(&counts);
    assert_int_equal(qcow2_counts_init(&counts, clusters + 1), -EFBIG);
    qcow2_counts_done(&counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_any_height_are_exact),
        cmocka_unit_test(holes_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
