/* The client of guests' monitors against one that is played: its ends, and what no honest one
 * sends. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/qmp-client.h"

#include "base/cleanup.h"
#include "daemon/domain/json-peer.h"
#include "gbase/error.h"
#include "lib/check.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 60000
#define HUGE_BYTES ((size_t)4 << 20)

typedef struct Played {
    EventLoop *loop;
    QmpClient *client;
    int peer;        /* the monitor's end */
    GThread *caller; /* of a command under way */
    unsigned events, closings;
    char *last_event;
    GError *error; /* of the command */
} Played;

static void on_event(void *opaque, const char *name, JsonObject *data, gint64 seconds,
                     unsigned microseconds)
{
    Played *p = opaque;
    p->events++;
    g_free(p->last_event);
    p->last_event = g_strdup(name);
}

static void on_closed(void *opaque, const GError *reason)
{
    Played *p = opaque;
    p->closings++;
}

static const QmpClientOps ops = { .event = on_event, .closed = on_closed };

static Played *play(const QmpClientOps *with)
{
    int ends[2];
    Played *p = g_new0(Played, 1);
    p->loop = loop_new();
    assert_non_null(p->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    p->peer = ends[1];
    p->client = qmp_client_new(p->loop, ends[0], with, p, NULL);
    assert_non_null(p->client);
    return p;
}

static void end_play(Played *p)
{
    if (p->client) {
        qmp_client_close(p->client);
        qmp_client_unref(p->client);
    }
    close(p->peer);
    loop_free(p->loop);
    g_clear_error(&p->error);
    g_free(p->last_event);
    g_free(p);
}

static void say(const Played *p, const char *text)
{
    assert_int_equal(send(p->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The command is on its way: its caller waits, or is about to. */
static void await_command(const Played *p)
{
    struct pollfd ready = { .fd = p->peer, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, TIMEOUT_MS), 1);
}

/* --- ends --- */

static gpointer send_much(gpointer data)
{
    Played *p = data;
    g_autoptr(QmpClient) client = qmp_client_ref(p->client);
    g_autofree char *much = g_malloc(HUGE_BYTES + 1);
    memset(much, 'x', HUGE_BYTES);
    much[HUGE_BYTES] = '\0';
    g_autoptr(JsonObject) message = qmp_object("s:execute", much, NULL);
    return qmp_client_raw(client, message, -1, TIMEOUT_MS, &p->error);
}

static void on_event_send(void *opaque, const char *name, JsonObject *data, gint64 seconds,
                          unsigned microseconds)
{
    Played *p = opaque;
    p->caller = g_thread_new("caller", send_much, p);
    await_command(p);
}

/* As the daemon does: the guest's reference goes, and the caller has the last. */
static void on_closed_unref(void *opaque, const GError *reason)
{
    Played *p = opaque;
    p->closings++;
    qmp_client_unref(g_steal_pointer(&p->client));
    assert_null(g_thread_join(g_steal_pointer(&p->caller)));
}

static void nothing_is_sent_for_a_client_that_is_gone(void **state)
{
    static const QmpClientOps sending = { .event = on_event_send, .closed = on_closed_unref };
    Played *p = play(&sending);
    /* While the event is handled a command is too long for the socket: the loop is to send the
     * rest, after it has found that what follows is no JSON. */
    say(p, "{\"event\":\"X\"}\nthis is none\n");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(loop_run_once(p->loop, 0), 0);
    }
    assert_int_equal(p->closings, 1);
    assert_true(g_error_matches(p->error, LODGE_ERROR, LODGE_ERROR_PROTOCOL));
    end_play(p);
}

/* --- answers --- */

static gpointer capture(gpointer data)
{
    Played *p = data;
    int fd = qmp_client_capture(p->client, "screendump", json_object_new(), &p->error);
    return GINT_TO_POINTER(fd);
}

static void a_descriptor_s_number_is_missing_in_no_silence(void **state)
{
    static const char *const answers[] = { "{\"return\":5,\"id\":1}\n",
                                           "{\"return\":{},\"id\":1}\n",
                                           "{\"return\":{\"fdset-id\":\"x\"},\"id\":1}\n" };
    for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++) {
        Played *p = play(&ops);
        p->caller = g_thread_new("caller", capture, p);
        await_command(p);
        say(p, answers[i]);
        assert_int_equal(loop_run_once(p->loop, TIMEOUT_MS), 0);
        assert_int_equal(GPOINTER_TO_INT(g_thread_join(p->caller)), -1);
        assert_true(g_error_matches(p->error, LODGE_ERROR, LODGE_ERROR_PROTOCOL));
        end_play(p);
    }
}

static void a_flood_hides_no_change_of_the_guest(void **state)
{
    static const char *const changes[] = { "SUSPEND", "WAKEUP", "SHUTDOWN",
                                           "DEVICE_UNPLUG_GUEST_ERROR" };
    Played *p = play(&ops);
    for (unsigned i = 0; i < 3000; i++) {
        qmp_client_receive(p->client, "{\"event\":\"X\"}\n", 14);
    }
    /* A second may begin in between. */
    assert_in_range(p->events, 500, 1500);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *line = g_strdup_printf("{\"event\":\"%s\"}\n", changes[i]);
        qmp_client_receive(p->client, line, strlen(line));
        assert_string_equal(p->last_event, changes[i]);
    }
    end_play(p);
}

/* --- lines --- */

static void lines_come_in_pieces_or_together(void **state)
{
    static const char text[] = "\r\n{\"a\":1}\r\n\n\n {} \n\n{\"b\"";
    for (gsize piece = 1; piece <= sizeof(text); piece++) {
        JsonLines lines;
        g_autoptr(GString) seen = g_string_new(NULL);
        json_lines_init(&lines, 16);
        for (gsize at = 0; at < strlen(text); at += piece) {
            gsize length;
            char *line;
            gsize size = MIN(piece, strlen(text) - at);
            if (!json_lines_add(&lines, text + at, size, NULL)) {
                break; /* more than two lines' worth at once */
            }
            while ((line = json_lines_take(&lines, &length))) {
                assert_int_equal(strlen(line), length);
                g_string_append_printf(seen, "%s|", line);
                g_free(line);
            }
        }
        if (piece <= 16) {
            assert_string_equal(seen->str, "{\"a\":1}\r| {} |");
        }
        json_lines_done(&lines);
    }
}

static void a_line_that_does_not_end_is_refused(void **state)
{
    JsonLines lines;
    gsize length;
    g_autoptr(GError) error = NULL;
    json_lines_init(&lines, 16);
    assert_true(json_lines_add(&lines, "{}\n{}\n01234567", 14, NULL));
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *line = json_lines_take(&lines, &length);
        assert_string_equal(line, "{}");
    }
    assert_null(json_lines_take(&lines, &length));
    assert_true(json_lines_add(&lines, "89abcdef", 8, NULL));
    assert_null(json_lines_take(&lines, &length));
    assert_false(json_lines_add(&lines, "g", 1, &error));
    assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_LIMIT));
    json_lines_done(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_sent_for_a_client_that_is_gone),
        cmocka_unit_test(a_descriptor_s_number_is_missing_in_no_silence),
        cmocka_unit_test(a_flood_hides_no_change_of_the_guest),
        cmocka_unit_test(lines_come_in_pieces_or_together),
        cmocka_unit_test(a_line_that_does_not_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
