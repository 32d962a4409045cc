/* Monitors of a machine: sessions on character back ends, and events to those who speak QMP.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "vmm/monitor/block.h"

#include <string.h>

#define RTC_INTERVAL_NS NS_PER_SEC
/* While more than this waits to be written, no commands are run. */
#define OUTPUT_PAUSE_BYTES (CHAR_PENDING_MAX / 2)
/* While more than this waits, events are dropped. */
#define EVENTS_WAIT_BYTES ((guint)1 << 20)
#define INPUT_BYTES 4096

static void session_done(MonitorSession *session)
{
    json_frame_done(&session->frame);
    readline_free(session->readline);
    g_byte_array_unref(session->output);
    g_byte_array_unref(session->input);
    g_free(session);
}

static void session_free(gpointer object)
{
    MonitorSession *session = object;
    char_detach(session->backend);
    session_done(session);
}

/* -- a session's back end -- */

/* Hands on what the back end keeps; the rest follows when that is drained. */
static void hand_on(MonitorSession *session)
{
    size_t room;
    while (session->output->len && (room = char_write_room(session->backend)) > 0) {
        guint part = MIN(session->output->len, (guint)room);
        char_write(session->backend, session->output->data, part);
        g_byte_array_remove_range(session->output, 0, part);
    }
}

void monitor_write(MonitorSession *session, const void *bytes, size_t length)
{
    g_byte_array_append(session->output, bytes, (guint)length);
    hand_on(session);
}

static bool is_held_up(const MonitorSession *session)
{
    return session->output->len || char_write_room(session->backend) < OUTPUT_PAUSE_BYTES;
}

static size_t on_can_receive(void *opaque)
{
    MonitorSession *session = opaque;
    return is_held_up(session) || session->input->len ? 0 : INPUT_BYTES;
}

static void on_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    MonitorSession *session = opaque;
    size_t i = 0;
    for (; i < length && !is_held_up(session); i++) {
        (session->mode == MONITOR_READLINE ? hmp_receive : qmp_receive)(session, bytes[i]);
    }
    g_byte_array_append(session->input, bytes + i, (guint)(length - i));
}

static void on_drained(MonitorSession *session)
{
    hand_on(session);
    g_autoptr(GByteArray) waiting = session->input;
    session->input = g_byte_array_new();
    on_receive(session, waiting->data, waiting->len);
    char_accept_input(session->backend);
}

static void on_event(void *opaque, CharEvent event)
{
    MonitorSession *session = opaque;
    bool is_human = session->mode == MONITOR_READLINE;
    switch (event) {
    case CHAR_EVENT_OPENED:
        (is_human ? hmp_open : qmp_open)(session);
        break;
    case CHAR_EVENT_CLOSED:
        session->is_negotiated = false;
        json_frame_reset(&session->frame);
        g_byte_array_set_size(session->output, 0);
        g_byte_array_set_size(session->input, 0);
        break;
    case CHAR_EVENT_FOCUS:
        if (is_human) {
            hmp_show(session);
        }
        break;
    case CHAR_EVENT_DRAINED:
        on_drained(session);
        break;
    case CHAR_EVENT_BREAK:
        break;
    }
}

/* -- HMP's line -- */

static void on_line_write(void *opaque, const char *text, size_t length)
{
    monitor_write(opaque, text, length);
}

/* Terminals want a carriage return before each newline. */
static void on_line(void *opaque, const char *line)
{
    MonitorSession *session = opaque;
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    hmp_execute(session, line, out);
    for (gsize i = 0; i < out->len; i++) {
        if (out->str[i] == '\n') {
            g_string_append_c(text, '\r');
        }
        g_string_append_c(text, out->str[i]);
    }
    monitor_write(session, text->str, text->len);
}

static void on_complete(void *opaque, const char *line, GPtrArray *words)
{
    hmp_complete(line, words);
}

bool monitor_set_add(MonitorSet *set, CharBackend *backend, MonitorMode mode, GError **error)
{
    MonitorSession *session = g_new0(MonitorSession, 1);
    session->set = set;
    session->backend = backend;
    session->mode = mode;
    session->output = g_byte_array_new();
    session->input = g_byte_array_new();
    json_frame_init(&session->frame);
    if (mode == MONITOR_READLINE) {
        ReadlineUser user = {
            .write = on_line_write, .run = on_line, .complete = on_complete, .opaque = session
        };
        session->readline = readline_new(HMP_PROMPT, &user);
    }
    CharFrontend front = {
        .can_receive = on_can_receive, .receive = on_receive, .event = on_event, .opaque = session
    };
    if (!char_attach(backend, &front, error)) {
        session_done(session);
        return false;
    }
    g_ptr_array_add(set->sessions, session);
    return true;
}

/* -- events -- */

static const char *const event_names[] = {
    [MONITOR_EVENT_RESUME] = "RESUME",
    [MONITOR_EVENT_STOP] = "STOP",
    [MONITOR_EVENT_SHUTDOWN] = "SHUTDOWN",
    [MONITOR_EVENT_RESET] = "RESET",
    [MONITOR_EVENT_POWERDOWN] = "POWERDOWN",
    [MONITOR_EVENT_GUEST_PANICKED] = "GUEST_PANICKED",
    [MONITOR_EVENT_VSERPORT_CHANGE] = "VSERPORT_CHANGE",
    [MONITOR_EVENT_BALLOON_CHANGE] = "BALLOON_CHANGE",
    [MONITOR_EVENT_DEVICE_DELETED] = "DEVICE_DELETED",
    [MONITOR_EVENT_BLOCK_IO_ERROR] = "BLOCK_IO_ERROR",
    [MONITOR_EVENT_RTC_CHANGE] = "RTC_CHANGE",
};

/* NULL: the event carries no data. */
static JsonObject *event_data(const MonitorEvent *event)
{
    if (event->kind == MONITOR_EVENT_RESUME || event->kind == MONITOR_EVENT_STOP ||
        event->kind == MONITOR_EVENT_POWERDOWN) {
        return NULL;
    }
    g_autofree char *path = NULL;
    JsonObject *data = json_object_new();
    switch (event->kind) {
    case MONITOR_EVENT_SHUTDOWN:
    case MONITOR_EVENT_RESET:
        json_object_set_boolean_member(data, "guest", event->by_guest);
        json_object_set_string_member(data, "reason", event->reason);
        break;
    case MONITOR_EVENT_GUEST_PANICKED:
        json_object_set_string_member(data, "action", event->action);
        break;
    case MONITOR_EVENT_BLOCK_IO_ERROR:
        /* A drive that is a named node has no name of its own. */
        json_object_set_string_member(data, "device",
                                      g_strcmp0(event->device, event->node) ? event->device : "");
        if (event->node) {
            json_object_set_string_member(data, "node-name", event->node);
        }
        json_object_set_string_member(data, "operation", event->is_write ? "write" : "read");
        json_object_set_string_member(data, "action", event->action);
        json_object_set_boolean_member(data, "nospace", event->no_space);
        json_object_set_string_member(data, "reason", event->reason);
        break;
    case MONITOR_EVENT_RTC_CHANGE:
        json_object_set_int_member(data, "offset", event->offset_s);
        break;
    case MONITOR_EVENT_DEVICE_DELETED:
        path = g_strdup_printf("/machine/peripheral/%s", event->device);
        json_object_set_string_member(data, "device", event->device);
        json_object_set_string_member(data, "path", path);
        break;
    case MONITOR_EVENT_VSERPORT_CHANGE:
        json_object_set_boolean_member(data, "open", event->is_open);
        json_object_set_string_member(data, "id", event->device);
        break;
    case MONITOR_EVENT_BALLOON_CHANGE:
        json_object_set_int_member(data, "actual", (gint64)event->bytes);
        break;
    case MONITOR_EVENT_RESUME:
    case MONITOR_EVENT_STOP:
    case MONITOR_EVENT_POWERDOWN:
        break;
    }
    return data;
}

void monitor_emit_data(MonitorSet *set, const char *name, JsonObject *data)
{
    for (guint i = 0; i < set->sessions->len; i++) {
        MonitorSession *session = g_ptr_array_index(set->sessions, i);
        if (session->mode == MONITOR_READLINE || !session->is_negotiated ||
            session->output->len > EVENTS_WAIT_BYTES) {
            continue;
        }
        JsonObject *message = json_object_new();
        json_object_set_object_member(message, "timestamp", qmp_timestamp());
        json_object_set_string_member(message, "event", name);
        if (data) {
            json_object_set_object_member(message, "data", json_object_ref(data));
        }
        qmp_send(session, message);
    }
    g_clear_pointer(&data, json_object_unref);
}

static void emit(MonitorSet *set, const MonitorEvent *event)
{
    monitor_emit_data(set, event_names[event->kind], event_data(event));
}

static void emit_rtc(void *opaque)
{
    MonitorSet *set = opaque;
    set->rtc_is_pending = false;
    set->rtc_last_ns = clock_monotonic_ns();
    emit(set, &(MonitorEvent){ .kind = MONITOR_EVENT_RTC_CHANGE, .offset_s = set->rtc_offset_s });
}

void monitor_set_emit(MonitorSet *set, const MonitorEvent *event)
{
    if (event->kind != MONITOR_EVENT_RTC_CHANGE || !set->rtc_timer) {
        emit(set, event);
        return;
    }
    set->rtc_offset_s = event->offset_s;
    if (set->rtc_is_pending) {
        return;
    }
    int64_t due = set->rtc_last_ns ? set->rtc_last_ns + RTC_INTERVAL_NS : 0;
    if (due <= clock_monotonic_ns()) {
        emit_rtc(set);
    } else {
        set->rtc_is_pending = true;
        loop_timer_set(set->rtc_timer, due);
    }
}

MonitorSet *monitor_set_new(const MonitorTarget *target, EventLoop *loop)
{
    MonitorSet *set = g_new0(MonitorSet, 1);
    set->target = *target;
    set->loop = loop;
    set->sessions = g_ptr_array_new_with_free_func(session_free);
    if (target->graph) {
        set->jobs = job_set_new(loop, target->graph, qmp_on_job_event, set);
        set->exports = block_exports_new(loop, target->graph, qmp_on_export_deleted, set);
    }
    set->rtc_timer = loop_timer_new(loop, emit_rtc, set);
    if (!set->rtc_timer) {
        log_warn("no memory for the monitor's timer: RTC_CHANGE comes unlimited");
    }
    return set;
}

void monitor_set_free(MonitorSet *set)
{
    if (set) {
        block_exports_free(set->exports);
        job_set_free(set->jobs);
        g_ptr_array_unref(set->sessions);
        loop_timer_free(set->rtc_timer);
        g_free(set);
    }
}
