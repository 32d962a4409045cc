/* GDB sessions against a fake machine: packets, registers, memory, points, threads, running.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-gdb-target.h"
#include "vmm/gdbstub/packet.h"
#include "vmm/gdbstub/registers.h"
#include "vmm/gdbstub/session.h"

#include <string.h>

typedef struct Talk {
    FakeGdbTarget fake;
    GdbSession *session;
    GString *out;
} Talk;

static void collect(void *opaque, const void *bytes, size_t length)
{
    Talk *talk = opaque;
    g_string_append_len(talk->out, bytes, (gssize)length);
}

static int set_up(void **state)
{
    Talk *talk = g_new0(Talk, 1);
    fake_gdb_target_init(&talk->fake);
    talk->out = g_string_new(NULL);
    talk->session = gdb_session_new(&talk->fake.target, collect, talk);
    *state = talk;
    return 0;
}

static int tear_down(void **state)
{
    Talk *talk = *state;
    gdb_session_free(talk->session);
    fake_gdb_target_done(&talk->fake);
    g_string_free(talk->out, TRUE);
    g_free(talk);
    return 0;
}

static void send_raw(Talk *talk, const char *bytes)
{
    g_string_truncate(talk->out, 0);
    gdb_session_receive(talk->session, (const uint8_t *)bytes, strlen(bytes));
}

static void send_packet(Talk *talk, const char *body)
{
    size_t length;
    g_autofree char *frame = gdb_packet_frame(body, strlen(body), &length);
    send_raw(talk, frame);
}

/* Sends @body and wants an acknowledgement and a packet with @answer. */
static void ask(Talk *talk, const char *body, const char *answer)
{
    size_t length;
    g_autofree char *frame = gdb_packet_frame(answer, strlen(answer), &length);
    g_autofree char *wanted = g_strconcat("+", frame, NULL);
    send_packet(talk, body);
    assert_string_equal(talk->out->str, wanted);
}

static void connecting_pauses_and_leaving_resumes(void **state)
{
    Talk *talk = *state;
    assert_false(talk->fake.is_running);
    ask(talk, "?", "T05thread:1;");
    ask(talk, "D", "OK");
    assert_true(talk->fake.is_running);
}

static void bad_checksums_are_asked_for_again(void **state)
{
    Talk *talk = *state;
    send_raw(talk, "$?#00");
    assert_string_equal(talk->out->str, "-");
    send_raw(talk, "$?#zz");
    assert_string_equal(talk->out->str, "-");
    send_raw(talk, "noise$half$?#3f");
    assert_string_equal(talk->out->str, "+$T05thread:1;#d7");
    send_raw(talk, "-");
    assert_string_equal(talk->out->str, "$T05thread:1;#d7");
}

static void a_packet_that_is_too_long_is_refused(void **state)
{
    Talk *talk = *state;
    g_autofree char *body = g_strnfill(GDB_PACKET_MAX + 1, 'm');
    send_packet(talk, body);
    assert_string_equal(talk->out->str, "-");
}

static void unknown_and_malformed_commands_are_harmless(void **state)
{
    static const char *const empty[] = { "", "!", "j", "vFoo", "qFoo", "QFoo", "vMustReplyEmpty" };
    static const char *const bad[] = {
        "m",
        "m1",
        "m1,",
        "mzz,1",
        "m1,1x",
        "M1,2:00",
        "M1,1:000",
        "X1,5:ab",
        "p",
        "pffff",
        "P0",
        "P0=",
        "P0=0",
        "Pffff=00",
        "G00",
        "H",
        "Hg9",
        "Hx1",
        "T3",
        "Z",
        "Z9,1,1",
        "Z2,1,0",
        "Z2,1,ffffff",
        "z0",
        "vCont;",
        "vCont;x",
        "cxx",
        "szz",
        "vCont;s:9",
        "C",
        "G0",
        "m11111111111111111,1",
        "qXfer:features:read:target.xml:1",
        "qThreadExtraInfo,7",
    };
    Talk *talk = *state;
    for (unsigned i = 0; i < G_N_ELEMENTS(empty); i++) {
        ask(talk, empty[i], "");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        send_packet(talk, bad[i]);
        if (!g_str_has_prefix(talk->out->str, "+$E")) {
            fail_msg("'%s' is answered '%s'", bad[i], talk->out->str);
        }
        assert_false(talk->fake.is_running);
    }
}

static void memory_is_read_and_written_by_virtual_address(void **state)
{
    Talk *talk = *state;
    talk->fake.ram->host[0x1ffe] = 0x12;
    talk->fake.ram->host[0x2001] = 0xab;
    ask(talk, "mffffffff80001ffe,4", "120000ab");
    ask(talk, "M2000,2:beef", "OK");
    assert_int_equal(talk->fake.ram->host[0x2001], 0xef);
    ask(talk, "X3000,3:a}\x03}]", "OK");
    assert_memory_equal(talk->fake.ram->host + 0x3000, "a#}", 3);
    ask(talk, "X3000,0:", "OK");
    /* The end of RAM: what can be read is; unmapped: an error. */
    ask(talk, "mfffe,4", "0000");
    ask(talk, "m10000,1", "E0e");
    ask(talk, "m123456789,1", "E0e");
    ask(talk, "Mffff,2:0011", "E0e");
    ask(talk, "m0,0", "");
}

static void registers_are_read_and_written(void **state)
{
    Talk *talk = *state;
    CpuState *cpu = &talk->fake.vcpu[0].state;
    cpu->gpr[CPU_RBX] = 0x1122334455667788;
    cpu->rip = 0xffffffff81000000;
    cpu->segment[CPU_CS].selector = 0x10;
    ask(talk, "p1", "8877665544332211");
    ask(talk, "p10", "00000081ffffffff");
    ask(talk, "p12", "10000000");
    ask(talk, "P0=efbeadde00000000", "OK");
    assert_int_equal(cpu->gpr[CPU_RAX], 0xdeadbeef);

    send_packet(talk, "g");
    g_autofree char *all = g_strndup(talk->out->str + 2, talk->out->len - 5);
    unsigned bytes = 0;
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        bytes += gdb_register_size(i);
    }
    assert_int_equal(strlen(all), 2 * bytes);
    all[0] = '0', all[1] = '1';
    g_autofree char *write = g_strconcat("G", all, NULL);
    ask(talk, write, "OK");
    assert_int_equal(cpu->gpr[CPU_RAX], 0xdeadbe01);
    assert_int_equal(cpu->rip, 0xffffffff81000000);

    /* A state that no processor can have. */
    g_autofree char *cr0 = g_strdup_printf("P%x=00000000ffffffff", gdb_register_count() - 6);
    ask(talk, cr0, "E16");
}

static void x87_tags_and_ymm_halves_are_converted(void **state)
{
    CpuState cpu;
    uint8_t value[GDB_REGISTER_BYTES_MAX];
    unsigned ftag = 24 + 8 + 2, ymm0h = 24 + 8 + 8 + 16 + 1 + 2;
    cpu_state_reset(&cpu, true);
    assert_int_equal(gdb_register_read(&cpu, ftag, value), 4);
    assert_int_equal(value[0] | value[1] << 8, 0x5555); /* all zero */
    memset(value, 0xff, sizeof(value));
    gdb_register_write(&cpu, ftag, value);
    assert_int_equal(cpu.xsave[4], 0);
    /* The high halves are invalid, that is zero, until one is written. */
    memset(cpu.xsave + 576, 0x77, 256);
    assert_int_equal(gdb_register_read(&cpu, ymm0h, value), 16);
    assert_int_equal(value[0], 0);
    memset(value, 0x42, sizeof(value));
    gdb_register_write(&cpu, ymm0h + 1, value);
    assert_int_equal(cpu.xsave[576], 0);
    assert_int_equal(cpu.xsave[576 + 16], 0x42);
    assert_int_equal(cpu.xsave[512] & 4, 4);
    assert_int_equal(gdb_register_size(gdb_register_count()), 0);
}

static void the_description_is_sent_in_parts(void **state)
{
    Talk *talk = *state;
    g_autofree char *xml = gdb_target_xml();
    g_autofree char *first = g_strdup_printf("m%.16s", xml);
    ask(talk, "qXfer:features:read:target.xml:0,10", first);
    ask(talk, "qXfer:features:read:target.xml:fffff,10", "l");
    ask(talk, "qXfer:features:read:other.xml:0,10", "E00");
    assert_non_null(strstr(xml, "<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\"/>"));
    assert_non_null(strstr(xml, "<reg name=\"ymm15h\""));
}

static void points_reach_every_vcpu(void **state)
{
    Talk *talk = *state;
    ask(talk, "Z0,ffffffff81000000,1", "OK");
    ask(talk, "Z0,ffffffff81000000,1", "OK");
    ask(talk, "Z2,2000,8", "OK");
    for (unsigned i = 0; i < FAKE_GDB_VCPUS; i++) {
        assert_int_equal(talk->fake.vcpu[i].points, 2);
        assert_int_equal(talk->fake.vcpu[i].point[0].address, 0xffffffff81000000);
        assert_int_equal(talk->fake.vcpu[i].point[1].kind, DEBUG_WATCH_WRITE);
        assert_int_equal(talk->fake.vcpu[i].point[1].length, 8);
    }
    ask(talk, "Z1,1,1", "OK");
    ask(talk, "Z1,2,1", "OK");
    ask(talk, "Z1,3,1", "E1c"); /* no more hardware points */
    assert_int_equal(talk->fake.vcpu[1].points, 4);
    ask(talk, "z0,ffffffff81000000,1", "OK");
    ask(talk, "z0,ffffffff81000000,1", "OK");
    assert_int_equal(talk->fake.vcpu[1].points, 3);
    ask(talk, "D", "OK");
    assert_int_equal(talk->fake.vcpu[1].points, 0);
}

static void stops_name_thread_and_reason(void **state)
{
    Talk *talk = *state;
    VcpuExit exit = { .reason = VCPU_EXIT_DEBUG, .debug_address = 0x1000 };
    send_packet(talk, "qSupported:swbreak+;hwbreak+;xmlRegisters=i386");
    ask(talk, "Z0,1000,1", "OK");
    ask(talk, "Z2,2000,4", "OK");
    send_packet(talk, "vCont;c");
    assert_true(talk->fake.is_running);
    assert_int_equal(talk->fake.only_vcpu, -1);
    g_string_truncate(talk->out, 0);
    gdb_session_stopped(talk->session, 1, &exit);
    assert_non_null(strstr(talk->out->str, "T05thread:2;swbreak:;"));
    ask(talk, "qC", "QC2");
    send_packet(talk, "c");
    g_string_truncate(talk->out, 0);
    exit.debug_is_watchpoint = true;
    exit.debug_address = 0x2002;
    gdb_session_stopped(talk->session, 0, &exit);
    assert_non_null(strstr(talk->out->str, "T05thread:1;watch:2002;"));
    /* Paused by another: a debugger that stands does not hear of it. */
    g_string_truncate(talk->out, 0);
    gdb_session_stopped(talk->session, 0, NULL);
    assert_int_equal(talk->out->len, 0);
    send_packet(talk, "c");
    g_string_truncate(talk->out, 0);
    gdb_session_exited(talk->session, 0);
    assert_non_null(strstr(talk->out->str, "$W00#"));
}

static void stepping_is_one_vcpus(void **state)
{
    Talk *talk = *state;
    send_packet(talk, "vCont;s:2");
    assert_int_equal(talk->fake.only_vcpu, 1);
    assert_true(talk->fake.vcpu[1].steps);
    assert_false(talk->fake.vcpu[0].steps);
    VcpuExit exit = { .reason = VCPU_EXIT_DEBUG };
    gdb_session_stopped(talk->session, 1, &exit);
    assert_false(talk->fake.vcpu[1].steps);
    send_packet(talk, "vCont;s:1;c");
    assert_int_equal(talk->fake.only_vcpu, -1);
    assert_true(talk->fake.vcpu[0].steps);
    /* While it runs only the interrupt is heard. */
    send_packet(talk, "g");
    assert_string_equal(talk->out->str, "+");
    send_raw(talk, "\x03");
    assert_string_equal(talk->out->str, "$T02thread:2;#d5");
    assert_false(talk->fake.is_running);
    send_packet(talk, "s1234");
    assert_int_equal(talk->fake.vcpu[1].state.rip, 0x1234);
}

static void threads_are_listed_and_chosen(void **state)
{
    Talk *talk = *state;
    talk->fake.vcpu[1].state.gpr[CPU_RAX] = 0x77;
    ask(talk, "qfThreadInfo", "m1,2");
    ask(talk, "qsThreadInfo", "l");
    ask(talk, "T2", "OK");
    ask(talk, "Hg2", "OK");
    ask(talk, "p0", "7700000000000000");
    ask(talk, "qThreadExtraInfo,1", "4350552030205b72756e6e61626c655d");
    ask(talk, "Hc-1", "OK");
}

static void killing_ends_the_conversation(void **state)
{
    Talk *talk = *state;
    send_packet(talk, "k");
    assert_true(talk->fake.is_killed);
    send_packet(talk, "?");
    assert_int_equal(talk->out->len, 0);
}

static void acknowledgements_can_be_switched_off(void **state)
{
    Talk *talk = *state;
    ask(talk, "QStartNoAckMode", "OK");
    send_packet(talk, "qsThreadInfo");
    assert_string_equal(talk->out->str, "$l#6c");
    send_raw(talk, "$?#00");
    assert_int_equal(talk->out->len, 0);
}

int main(void)
{
#define TALK_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TALK_TEST(connecting_pauses_and_leaving_resumes),
        TALK_TEST(bad_checksums_are_asked_for_again),
        TALK_TEST(a_packet_that_is_too_long_is_refused),
        TALK_TEST(unknown_and_malformed_commands_are_harmless),
        TALK_TEST(memory_is_read_and_written_by_virtual_address),
        TALK_TEST(registers_are_read_and_written),
        TALK_TEST(x87_tags_and_ymm_halves_are_converted),
        TALK_TEST(the_description_is_sent_in_parts),
        TALK_TEST(points_reach_every_vcpu),
        TALK_TEST(stops_name_thread_and_reason),
        TALK_TEST(stepping_is_one_vcpus),
        TALK_TEST(threads_are_listed_and_chosen),
        TALK_TEST(killing_ends_the_conversation),
        TALK_TEST(acknowledgements_can_be_switched_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
