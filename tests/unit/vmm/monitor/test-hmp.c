/* HMP: lines typed at a fake machine. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "lib/fake-monitor-target.h"

#include <string.h>

#define UP "\033[A"
#define LEFT "\033[D"

static int set_up(void **state)
{
    *state = fake_monitor_target_new(MONITOR_READLINE);
    return 0;
}

static int tear_down(void **state)
{
    fake_monitor_target_free(*state);
    return 0;
}

static void assert_says(FakeMonitorTarget *t, const char *keys, const char *part)
{
    const char *text = fake_monitor_say(t, keys);
    if (!strstr(text, part)) {
        print_error("no '%s' in '%s'\n", part, text);
    }
    assert_non_null(strstr(text, part));
}

static void commands_work_by_name_and_alias(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_says(t, "stop\r", "(lodge) ");
    assert_string_equal(t->status, "paused");
    assert_says(t, "info status\r", "VM status: paused\r\n");
    assert_says(t, "c\r", "");
    assert_string_equal(t->status, "running");
    assert_says(t, "system_reset\r\nsystem_powerdown\nq\r", "");
    assert_int_equal(t->resets, 1);
    assert_int_equal(t->powerdowns, 1);
    assert_int_equal(t->quits, 1);
    assert_says(t, "frobnicate now\r", "unknown command: 'frobnicate'");
    assert_says(t, "help\r", "xp /FORMAT ADDRESS");
    assert_says(t, "info\r", "info registers");
}

static void keys_edit_the_line(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_says(t, "stxop" LEFT LEFT "\x7f\r", "(lodge) ");
    assert_string_equal(t->status, "paused");
    assert_says(t,
                "garbage\x15"
                "cont\r",
                "(lodge) ");
    assert_string_equal(t->status, "running");
    assert_says(t, UP UP "\r", "stop");
    assert_string_equal(t->status, "paused");
}

static void tab_completes_commands_and_topics(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_says(t, "system_re\t\r", "set ");
    assert_int_equal(t->resets, 1);
    assert_says(t, "system_\t\t", "system_powerdown  system_reset  system_wakeup");
    assert_says(t, "\x15info sta\t\r", "VM status: running");
}

static void registers_show_by_mode(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_says(t, "info registers\r", "EIP=0000fff0 RFL=00000002 [-------]");
    t->state.efer = 0x500;
    t->state.segment[CPU_CS].attributes |= SEGMENT_L;
    t->state.gpr[15] = 0x1234;
    assert_says(t, "info registers\r", "R15=0000000000001234");
}

static void memory_dumps_by_format(void **state)
{
    FakeMonitorTarget *t = *state;
    uint8_t *ram = t->fake->ram->host;
    le32_put(ram + 0x2000, 0xdeadbeef);
    ram[0x2004] = 'A';
    assert_says(t, "xp /2xw 0x2000\r", "0000000000002000: 0xdeadbeef 0x00000041\r\n");
    assert_says(t, "x /1dw 0x7000\r", "0000000000007000: -559038737\r\n");
    assert_says(t, "x/1cb 0x7004\r", " 'A'");
    assert_says(t, "x 0x8000\r", "Cannot access memory");
    assert_says(t, "xp 0xffffffffffffffff\r", "Cannot access memory");
    assert_says(t, "xp /1gx $rip\r", "000000000000fff0: 0x0000000000000000");
    assert_says(t, "xp /1gx $pc\r", "Cannot access memory");
    assert_says(t, "xp /z 0\r", "Error: ");
}

static void mappings_show_merged_and_circles_end(void **state)
{
    FakeMonitorTarget *t = *state;
    uint8_t *ram = t->fake->ram->host;
    assert_says(t, "info mem\r", "PG disabled");
    t->state.cr0 |= UINT64_C(1) << 31;
    t->state.cr4 |= 1u << 5;
    t->state.efer = 0x500;
    t->state.cr3 = 0x1000;
    le64_put(ram + 0x1000, 0x2007);
    le64_put(ram + 0x2000, 0x3007);
    le64_put(ram + 0x3000, 0x4007);
    le64_put(ram + 0x3008, 0x83); /* 2 MiB */
    le64_put(ram + 0x4000 + 8 * 5, 0x5007);
    le64_put(ram + 0x4000 + 8 * 6, 0x6007);
    assert_says(t, "info mem\r",
                "0000000000005000-0000000000007000 0000000000002000 urw\r\n"
                "0000000000200000-0000000000400000 0000000000200000 -rw\r\n");
    for (unsigned i = 0; i < 512; i++) {
        le64_put(ram + 0x1000 + 8 * (size_t)i, i % 2 ? 0x1003 : 0x1001);
    }
    assert_says(t, "info mem\r", "(there is more)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_work_by_name_and_alias, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_edit_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tab_completes_commands_and_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(registers_show_by_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_dumps_by_format, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mappings_show_merged_and_circles_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
