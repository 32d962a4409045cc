/* Power-on state and CPUID look-up.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/accel/accel.h"

static void reset_starts_at_the_top_of_the_first_four_gib(void **state)
{
    CpuState cpu;
    cpu_state_reset(&cpu, true);
    assert_int_equal(cpu.segment[CPU_CS].base + cpu.rip, 0xfffffff0);
    assert_int_equal(cpu.cr0, 0x60000010);
    assert_int_equal(cpu.rflags, 2);
    assert_int_equal(cpu.run_state, CPU_RUN_RUNNABLE);
    cpu_state_reset(&cpu, false);
    assert_int_equal(cpu.run_state, CPU_RUN_WAIT_FOR_SIPI);
}

static void cpuid_index_matters_only_where_the_leaf_has_one(void **state)
{
    CpuidTable table = { .count = 3,
                         .leaf = { { .function = 1, .eax = 10 },
                                   { .function = 4, .index = 0, .has_index = true, .eax = 40 },
                                   { .function = 4, .index = 1, .has_index = true, .eax = 41 } } };
    assert_int_equal(cpuid_table_find(&table, 1, 77)->eax, 10);
    assert_int_equal(cpuid_table_find(&table, 4, 1)->eax, 41);
    assert_null(cpuid_table_find(&table, 4, 2));
    assert_null(cpuid_table_find(&table, 2, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_starts_at_the_top_of_the_first_four_gib),
        cmocka_unit_test(cpuid_index_matters_only_where_the_leaf_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
