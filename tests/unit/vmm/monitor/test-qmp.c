/* QMP: dialogues with a fake machine. SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/fake-monitor-target.h"
#include "vmm/monitor/json-frame.h"

#include <json-glib/json-glib.h>
#include <string.h>

#define NEGOTIATE "{\"execute\":\"qmp_capabilities\"}"

static int set_up(void **state)
{
    *state = fake_monitor_target_new(MONITOR_CONTROL);
    return 0;
}

static int tear_down(void **state)
{
    fake_monitor_target_free(*state);
    return 0;
}

static int set_up_negotiated(void **state)
{
    set_up(state);
    assert_string_equal(fake_monitor_say(*state, NEGOTIATE), "{\"return\":{}}\r\n");
    return 0;
}

static void the_greeting_names_the_protocol(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_string_equal(t->chr->written->str,
                        "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},"
                        "\"package\":\"lodge-" LODGE_VERSION "\"},\"capabilities\":[]}}\r\n");
}

static void commands_wait_for_the_negotiation(void **state)
{
    assert_string_equal(fake_monitor_say(*state, "{\"execute\":\"query-status\"}"),
                        "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"Expecting "
                        "capabilities negotiation with 'qmp_capabilities'\"}}\r\n");
    assert_string_equal(fake_monitor_say(*state, NEGOTIATE), "{\"return\":{}}\r\n");
    assert_non_null(strstr(fake_monitor_say(*state, NEGOTIATE), "already complete"));
}

static void a_peer_that_comes_anew_negotiates_anew(void **state)
{
    FakeMonitorTarget *t = *state;
    fake_monitor_say(t, "{\"execute\":"); /* half a message is forgotten */
    char_event(&t->chr->backend, CHAR_EVENT_CLOSED);
    char_event(&t->chr->backend, CHAR_EVENT_OPENED);
    assert_non_null(strstr(t->chr->written->str, "{\"QMP\":"));
    assert_non_null(strstr(fake_monitor_say(t, "{\"execute\":\"stop\"}"), "CommandNotFound"));
    assert_string_equal(t->status, "running");
}

typedef struct Dialogue {
    const char *request, *reply;
} Dialogue;

#define RETURN(value) "{\"return\":" value "}\r\n"
#define ERROR(text) "{\"error\":{\"class\":\"GenericError\",\"desc\":\"" text "\"}}\r\n"

static void replies_are_as_recorded(void **state)
{
    static const Dialogue dialogues[] = {
        { "{\"execute\":\"query-status\"}",
          RETURN("{\"status\":\"running\",\"singlestep\":false,\"running\":true}") },
        { "{\"execute\":\"query-name\",\"id\":{\"a\":[1,null]}}",
          "{\"return\":{\"name\":\"guest\"},\"id\":{\"a\":[1,null]}}\r\n" },
        { "{\"execute\":\"query-uuid\",\"arguments\":{}}",
          RETURN("{\"UUID\":\"00000000-0000-0000-0000-000000000000\"}") },
        { "{\"execute\":\"query-kvm\"}", RETURN("{\"enabled\":false,\"present\":false}") },
        { "{\"execute\":\"query-cpus-fast\"}",
          RETURN("[{\"thread-id\":100,\"props\":{\"core-id\":0,\"thread-id\":0,\"die-id\":0,"
                 "\"socket-id\":0},\"qom-path\":\"/machine/unattached/device[0]\","
                 "\"cpu-index\":0,\"target\":\"x86_64\"},"
                 "{\"thread-id\":101,\"props\":{\"core-id\":1,\"thread-id\":0,\"die-id\":0,"
                 "\"socket-id\":0},\"qom-path\":\"/machine/unattached/device[1]\","
                 "\"cpu-index\":1,\"target\":\"x86_64\"}]") },
        { "{\"execute\":\"query-block\"}",
          RETURN("[{\"device\":\"cd0\",\"type\":\"unknown\",\"removable\":true,"
                 "\"locked\":false}]") },
        { "{\"execute\":\"query-chardev\"}",
          RETURN("[{\"label\":\"mon0\",\"filename\":\"fake\",\"frontend-open\":true}]") },
        { "{\"execute\":\"query-machines\"}",
          RETURN("[{\"name\":\"box\",\"is-default\":true,\"cpu-max\":4,"
                 "\"hotpluggable-cpus\":false,\"numa-mem-supported\":false,"
                 "\"deprecated\":false,\"acpi\":true}]") },
        { "{\"execute\":\"qom-list-types\",\"arguments\":{\"implements\":\"device\"}}",
          RETURN("[{\"name\":\"fake-device\",\"parent\":\"device\"}]") },
        { "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"fake-device\"}}",
          RETURN("[{\"name\":\"level\",\"type\":\"uint64\",\"description\":\"how much\","
                 "\"default-value\":3}]") },
        { "{\"execute\":\"human-monitor-command\",\"arguments\":"
          "{\"command-line\":\"info status\"}}",
          RETURN("\"VM status: running\\n\"") },
        { "{\"execute\":\"balloon\",\"arguments\":{\"value\":4096}}", RETURN("{}") },
        { "{\"execute\":\"query-balloon\"}", RETURN("{\"actual\":4096}") },
        { "{\"execute\":\"inject-nmi\"}", RETURN("{}") },
        { "{\"execute\":\"system_wakeup\"}",
          ERROR("wake-up from suspend is not supported by this guest") },
        { "{\"execute\":\"nonsense\",\"id\":7}",
          "{\"id\":7,\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command nonsense has "
          "not been found\"}}\r\n" },
        { "{\"execute\":\"set_link\",\"arguments\":{\"name\":\"n\",\"up\":true}}",
          "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"Device 'n' not found\"}}\r\n" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(dialogues); i++) {
        assert_string_equal(fake_monitor_say(*state, dialogues[i].request), dialogues[i].reply);
    }
}

static void devices_and_back_ends_come_with_their_options(void **state)
{
    static const Dialogue dialogues[] = {
        { "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"d\",\"id\":\"x\","
          "\"bus\":\"pci.1\",\"on\":true,\"n\":-4,\"none\":null}}",
          "device_add d x bus=pci.1,on=on,n=-4\n" },
        { "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"d\"}}", "device_add d - \n" },
        { "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"/machine/peripheral/x\"}}",
          "device_del x\n" },
        { "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"user\",\"id\":\"n\","
          "\"hostfwd\":[{\"str\":\"tcp::1-:2\"},{\"str\":\"udp::3-:4\"}]}}",
          "netdev-add user n hostfwd=tcp::1-:2,hostfwd=udp::3-:4\n" },
        { "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"rng\",\"id\":\"r\"}}",
          "object-add rng r \n" },
        { "{\"execute\":\"object-del\",\"arguments\":{\"id\":\"r\"}}", "object-del r\n" },
        { "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"c\",\"backend\":{\"type\":"
          "\"socket\",\"data\":{\"addr\":{\"type\":\"unix\",\"data\":{\"path\":\"/s\"}},"
          "\"server\":true,\"wait\":false}}}}",
          "chardev-add socket c server=on,wait=off,path=/s\n" },
        { "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"c\",\"backend\":{\"type\":"
          "\"file\",\"data\":{\"out\":\"/o\",\"append\":true}}}}",
          "chardev-add file c append=on,path=/o\n" },
    };
    FakeMonitorTarget *t = *state;
    for (unsigned i = 0; i < G_N_ELEMENTS(dialogues); i++) {
        g_string_truncate(t->calls, 0);
        assert_string_equal(fake_monitor_say(t, dialogues[i].request), RETURN("{}"));
        assert_string_equal(t->calls->str, dialogues[i].reply);
    }
}

static void the_tree_of_objects_shows_devices_and_vcpus(void **state)
{
    static const Dialogue dialogues[] = {
        { "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/machine/peripheral\"}}",
          RETURN("[{\"name\":\"type\",\"type\":\"string\"},"
                 "{\"name\":\"dev0\",\"type\":\"child<fake-device>\"}]") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/peripheral/dev0\","
          "\"property\":\"level\"}}",
          RETURN("3") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/unattached/device[1]\","
          "\"property\":\"type\"}}",
          RETURN("\"fake-x86_64-cpu\"") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/unattached/device[2]\","
          "\"property\":\"type\"}}",
          "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"Device "
          "'/machine/unattached/device[2]' not found\"}}\r\n" },
        { "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"dev0\",\"property\":\"level\","
          "\"value\":4}}",
          ERROR("Attempt to set property 'level' on device 'dev0' (type 'fake-device') after it "
                "was realized") },
        { "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"dev0\",\"property\":\"type\","
          "\"value\":4}}",
          ERROR("Property 'fake-device.type' is not writable") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\",\"property\":\"nope\"}}",
          ERROR("Property 'box-machine.nope' not found") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/\",\"property\":\"machine\"}}",
          RETURN("\"/machine\"") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"//machine/peripheral/\","
          "\"property\":\"dev0\"}}",
          RETURN("\"/machine/peripheral/dev0\"") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/\",\"property\":"
          "\"machine/peripheral\"}}",
          ERROR("Property 'container.machine/peripheral' not found") },
        { "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"peripheral/dev0\",\"property\":"
          "\"realized\"}}",
          RETURN("true") },
        { "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"\"}}",
          ERROR("Path '' is ambiguous") },
        { "{\"execute\":\"qom-list-properties\",\"arguments\":{\"typename\":\"nope\"}}",
          "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"Class 'nope' not found\"}}\r\n" },
        { "{\"execute\":\"qom-list-properties\",\"arguments\":{\"typename\":\"box-machine\"}}",
          RETURN("[{\"name\":\"type\",\"type\":\"string\"}]") },
        { "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"box-machine\"}}",
          ERROR("Parameter 'typename' expects a non-abstract device type") },
        { "{\"execute\":\"qom-list-types\",\"arguments\":{\"implements\":\"machine\"}}",
          RETURN("[{\"name\":\"box-machine\",\"parent\":\"machine\"}]") },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(dialogues); i++) {
        assert_string_equal(fake_monitor_say(*state, dialogues[i].request), dialogues[i].reply);
    }
}

static void wrong_arguments_are_named(void **state)
{
    static const Dialogue dialogues[] = {
        { "{\"execute\":\"set_link\",\"arguments\":{\"name\":\"n\"}}",
          ERROR("Parameter 'up' is missing") },
        { "{\"execute\":\"add-fd\"}", ERROR("No file descriptor supplied via SCM_RIGHTS") },
        { "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"f\"}}",
          ERROR("File descriptor named 'f' not found") },
        { "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1,\"fd\":2}}",
          ERROR("File descriptor named 'fdset-id:1, fd:2' not found") },
        { "{\"execute\":\"chardev-remove\",\"arguments\":{\"id\":\"mon0\"}}",
          ERROR("Chardev 'mon0' is busy") },
        { "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"c\",\"backend\":{}}}",
          ERROR("Parameter 'type' is missing") },
        { "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"c\",\"backend\":\"null\"}}",
          ERROR("Invalid parameter type for 'backend', expected: object") },
        { "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"d\",\"x\":[[1]]}}",
          ERROR("element 0 of 'x' is no plain value") },
        { "{\"execute\":\"set_link\",\"arguments\":{\"name\":1,\"up\":true}}",
          ERROR("Invalid parameter type for 'name', expected: string") },
        { "{\"execute\":\"set_link\",\"arguments\":{\"name\":null,\"up\":true}}",
          ERROR("Invalid parameter type for 'name', expected: string") },
        { "{\"execute\":\"stop\",\"arguments\":{\"now\":true}}",
          ERROR("Parameter 'now' is unexpected") },
        { "{\"execute\":\"balloon\",\"arguments\":{\"value\":-1}}",
          ERROR("Parameter 'target' expects a size") },
        { "{\"execute\":\"balloon\",\"arguments\":{\"value\":1.5}}",
          ERROR("Invalid parameter type for 'value', expected: integer") },
        { "{\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"explode\"}}",
          ERROR("Parameter 'reboot' does not accept value 'explode'") },
        { "{\"execute\":\"human-monitor-command\",\"arguments\":"
          "{\"command-line\":\"help\",\"cpu-index\":2}}",
          ERROR("Parameter 'cpu-index' expects a CPU number") },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(dialogues); i++) {
        assert_string_equal(fake_monitor_say(*state, dialogues[i].request), dialogues[i].reply);
    }
}

static void malformed_input_gives_an_error_and_the_next_line_works(void **state)
{
    static const Dialogue dialogues[] = {
        { "hello\n", ERROR("JSON parse error, no object") },
        { "{\"execute\" \"stop\"}", ERROR("JSON parse error, the text is no JSON value") },
        { "{]\n", ERROR("JSON parse error, the text is no JSON value") },
        { "[]", ERROR("QMP input must be a JSON object") },
        { "{}", ERROR("QMP input lacks member 'execute'") },
        { "{\"execute\":1}", ERROR("QMP input member 'execute' must be a string") },
        { "{\"execute\":\"stop\",\"arguments\":[]}",
          ERROR("QMP input member 'arguments' must be an object") },
        { "{\"execute\":\"stop\",\"x\":1}", ERROR("QMP input member 'x' is unexpected") },
        { "{'execute':'stop'}\n", ERROR("JSON parse error, stray character") },
        { "{\"\\ud800\\u0041\":1}\n", ERROR("JSON parse error, escape that makes no character") },
        { "{\"\\ud800x\":1}\n", ERROR("JSON parse error, half a surrogate pair") },
        { "{\"\\u0000\":1}\n", ERROR("JSON parse error, escape that makes no character") },
        { "{\"\xff\xfe\":1}\n", ERROR("JSON parse error, the text is no JSON value") },
        { "{\"\x01\":1}\n", ERROR("JSON parse error, control character in a string") },
    };
    FakeMonitorTarget *t = *state;
    for (unsigned i = 0; i < G_N_ELEMENTS(dialogues); i++) {
        assert_string_equal(fake_monitor_say(t, dialogues[i].request), dialogues[i].reply);
        assert_string_equal(fake_monitor_say(t, "\n{\"execute\":\"query-kvm\"}\n"),
                            RETURN("{\"enabled\":false,\"present\":false}"));
    }
}

static void size_and_depth_have_limits(void **state)
{
    FakeMonitorTarget *t = *state;
    g_autoptr(GString) text = g_string_new(NULL);
    for (unsigned i = 0; i <= JSON_FRAME_DEPTH_MAX; i++) {
        g_string_append_c(text, '[');
    }
    g_string_append_c(text, '\n');
    assert_string_equal(fake_monitor_say(t, text->str),
                        ERROR("JSON parse error, nested too deeply"));
    g_string_assign(text, "{\"");
    for (unsigned i = 0; i < JSON_FRAME_BYTES_MAX; i++) {
        g_string_append_c(text, 'a');
    }
    g_string_append(text, "\":1}\n");
    assert_string_equal(fake_monitor_say(t, text->str), ERROR("JSON parse error, too long"));
}

static void messages_may_come_in_pieces_or_together(void **state)
{
    FakeMonitorTarget *t = *state;
    assert_string_equal(fake_monitor_say(t, "{\"exec"), "");
    assert_string_equal(fake_monitor_say(t, "ute\":\n\"query-kvm\"}{\"execute\":\"query-name\"}"),
                        RETURN("{\"enabled\":false,\"present\":false}")
                            RETURN("{\"name\":\"guest\"}"));
}

static void a_pause_is_told_before_its_reply(void **state)
{
    FakeMonitorTarget *t = *state;
    const char *text = fake_monitor_say(t, "{\"execute\":\"stop\"}");
    assert_true(
        g_regex_match_simple("^\\{\"timestamp\":\\{\"seconds\":[0-9]+,\"microseconds\":[0-9]+\\},"
                             "\"event\":\"STOP\"\\}\r\n\\{\"return\":\\{\\}\\}\r\n$",
                             text, 0, 0));
    t->refuses_resume = true;
    assert_string_equal(fake_monitor_say(t, "{\"execute\":\"cont\"}"), ERROR("a reset is needed"));
}

static void events_carry_their_data(void **state)
{
    FakeMonitorTarget *t = *state;
    static const struct {
        MonitorEvent event;
        const char *text;
    } rows[] = {
        { { .kind = MONITOR_EVENT_SHUTDOWN, .by_guest = true, .reason = "guest-shutdown" },
          "\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-shutdown\"}}\r\n" },
        { { .kind = MONITOR_EVENT_GUEST_PANICKED, .action = "poweroff" },
          "\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"poweroff\"}}\r\n" },
        { { .kind = MONITOR_EVENT_BLOCK_IO_ERROR,
            .device = "d",
            .action = "stop",
            .reason = "full",
            .is_write = true,
            .no_space = true },
          "\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"device\":\"d\",\"operation\":\"write\","
          "\"action\":\"stop\",\"nospace\":true,\"reason\":\"full\"}}\r\n" },
        { { .kind = MONITOR_EVENT_RTC_CHANGE, .offset_s = -5 },
          "\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":-5}}\r\n" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_string_truncate(t->chr->written, 0);
        monitor_set_emit(t->monitors, &rows[i].event);
        assert_non_null(strstr(t->chr->written->str, rows[i].text));
    }
    /* A clock that is set again at once is told later. */
    g_string_truncate(t->chr->written, 0);
    monitor_set_emit(t->monitors, &rows[3].event);
    assert_string_equal(t->chr->written->str, "");
}

static void a_peer_that_did_not_negotiate_gets_no_events(void **state)
{
    FakeMonitorTarget *t = *state;
    g_string_truncate(t->chr->written, 0);
    monitor_set_emit(t->monitors, &(MonitorEvent){ .kind = MONITOR_EVENT_RESUME });
    assert_string_equal(t->chr->written->str, "");
}

/* Takes a little after the other, until nothing waits. Returns: how many, each a whole object. */
static unsigned read_slowly(FakeMonitorTarget *t, unsigned *out_events)
{
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned replies = 0;
    *out_events = 0;
    do {
        g_string_truncate(t->chr->written, 0);
        t->chr->room = 10000;
        char_flush(&t->chr->backend);
        g_string_append(text, t->chr->written->str);
    } while (t->chr->written->len);
    g_auto(GStrv) lines = g_strsplit(text->str, "\r\n", -1);
    for (unsigned i = 0; *lines[i]; i++) {
        g_autoptr(JsonParser) parser = json_parser_new();
        assert_true(json_parser_load_from_data(parser, lines[i], -1, NULL));
        JsonObject *message = json_node_get_object(json_parser_get_root(parser));
        bool is_event = json_object_has_member(message, "event");
        *out_events += is_event;
        if (!is_event) {
            assert_int_equal(json_object_get_int_member(message, "id"), replies);
            replies++;
        }
    }
    return replies;
}

static void a_peer_that_reads_late_gets_every_reply_whole(void **state)
{
    enum { COMMANDS = 60 };
    FakeMonitorTarget *t = *state;
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned events;
    for (unsigned i = 0; i < COMMANDS; i++) {
        g_string_append_printf(text, "{\"execute\":\"query-qmp-schema\",\"id\":%u}", i);
    }
    t->chr->room = 0;
    assert_int_equal(fake_char_feed(t->chr, text->str, text->len), text->len);
    assert_int_equal(fake_char_feed(t->chr, "{", 1), 0);
    assert_int_equal(read_slowly(t, &events), COMMANDS);
    assert_int_equal(events, 0);
    t->chr->room = SIZE_MAX;
    assert_string_equal(fake_monitor_say(t, "{\"execute\":\"inject-nmi\"}"), RETURN("{}"));
}

static void events_that_nobody_reads_are_dropped_in_the_end(void **state)
{
    enum { EVENTS = 40000 };
    FakeMonitorTarget *t = *state;
    unsigned events;
    t->chr->room = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        monitor_set_emit(t->monitors, &(MonitorEvent){ .kind = MONITOR_EVENT_RESUME });
    }
    assert_int_equal(read_slowly(t, &events), 0);
    assert_in_range(events, 1000, EVENTS / 2);
}

static void what_waits_goes_with_its_peer(void **state)
{
    FakeMonitorTarget *t = *state;
    t->chr->room = 0;
    fake_char_feed(t->chr,
                   "{\"execute\":\"query-qmp-schema\"}{\"execute\":\"query-qmp-schema\"}"
                   "{\"execute\":\"query-qmp-schema\"}{\"execute\":\"quit\"}",
                   113);
    char_event(&t->chr->backend, CHAR_EVENT_CLOSED);
    t->chr->room = SIZE_MAX;
    g_string_truncate(t->chr->written, 0);
    char_event(&t->chr->backend, CHAR_EVENT_OPENED);
    assert_true(g_str_has_prefix(t->chr->written->str, "{\"QMP\":"));
    assert_true(g_str_has_suffix(t->chr->written->str, "\"capabilities\":[]}}\r\n"));
    assert_int_equal(t->quits, 0);
}

static void power_commands_reach_the_machine(void **state)
{
    FakeMonitorTarget *t = *state;
    fake_monitor_say(t, "{\"execute\":\"system_reset\"}{\"execute\":\"system_powerdown\"}"
                        "{\"execute\":\"inject-nmi\"}{\"execute\":\"quit\"}");
    assert_int_equal(t->resets, 1);
    assert_int_equal(t->powerdowns, 1);
    assert_int_equal(t->nmis, 1);
    assert_int_equal(t->quits, 1);
    fake_monitor_say(t, "{\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"shutdown\"}}");
    assert_true(t->actions.reboot_is_shutdown);
    assert_false(t->actions.shutdown_is_pause);
}

/* Every type that the schema names is described in it. */
static void the_schema_is_closed(void **state)
{
    const char *text = fake_monitor_say(*state, "{\"execute\":\"query-qmp-schema\"}");
    g_autoptr(JsonParser) parser = json_parser_new();
    assert_true(json_parser_load_from_data(parser, text, -1, NULL));
    JsonObject *reply = json_node_get_object(json_parser_get_root(parser));
    JsonArray *entities = json_object_get_array_member(reply, "return");
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < json_array_get_length(entities); i++) {
        JsonObject *entity = json_array_get_object_element(entities, i);
        assert_true(
            g_hash_table_add(names, (gpointer)json_object_get_string_member(entity, "name")));
    }
    for (guint i = 0; i < json_array_get_length(entities); i++) {
        static const char *const links[] = { "arg-type", "ret-type", "element-type" };
        JsonObject *entity = json_array_get_object_element(entities, i);
        for (unsigned k = 0; k < G_N_ELEMENTS(links); k++) {
            if (json_object_has_member(entity, links[k])) {
                const char *name = json_object_get_string_member(entity, links[k]);
                assert_true(g_hash_table_contains(names, name));
            }
        }
        if (!strcmp(json_object_get_string_member(entity, "meta-type"), "object")) {
            JsonArray *members = json_object_get_array_member(entity, "members");
            for (guint k = 0; k < json_array_get_length(members); k++) {
                JsonObject *member = json_array_get_object_element(members, k);
                const char *name = json_object_get_string_member(member, "type");
                assert_true(g_hash_table_contains(names, name));
            }
        }
    }
    text = fake_monitor_say(*state, "{\"execute\":\"query-commands\"}");
    assert_non_null(strstr(text, "{\"name\":\"query-commands\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_greeting_names_the_protocol, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands_wait_for_the_negotiation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_comes_anew_negotiates_anew, set_up_negotiated,
                                        tear_down),
        cmocka_unit_test_setup_teardown(replies_are_as_recorded, set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_named, set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(devices_and_back_ends_come_with_their_options,
                                        set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(the_tree_of_objects_shows_devices_and_vcpus,
                                        set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(malformed_input_gives_an_error_and_the_next_line_works,
                                        set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(size_and_depth_have_limits, set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(messages_may_come_in_pieces_or_together, set_up_negotiated,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pause_is_told_before_its_reply, set_up_negotiated,
                                        tear_down),
        cmocka_unit_test_setup_teardown(events_carry_their_data, set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_did_not_negotiate_gets_no_events, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_reads_late_gets_every_reply_whole,
                                        set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(events_that_nobody_reads_are_dropped_in_the_end,
                                        set_up_negotiated, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_goes_with_its_peer, set_up_negotiated,
                                        tear_down),
        cmocka_unit_test_setup_teardown(power_commands_reach_the_machine, set_up_negotiated,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_schema_is_closed, set_up_negotiated, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
