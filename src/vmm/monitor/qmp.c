/* QMP, QEMU's machine protocol: greeting, negotiation, commands and replies on one connection.
 *
 * After the QEMU Machine Protocol Specification. Leaves out: out-of-band execution, strings in
 * single quotes. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "gbase/error.h"
#include "vmm/monitor/internal.h"

#include <string.h>

void qmp_send(MonitorSession *session, JsonObject *message)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, message);
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_root(generator, node);
    json_generator_set_pretty(generator, session->mode == MONITOR_CONTROL_PRETTY);
    json_generator_set_indent(generator, 4);
    gsize length;
    g_autofree char *text = json_generator_to_data(generator, &length);
    g_autoptr(GString) line = g_string_new_len(text, (gssize)length);
    g_string_append(line, "\r\n");
    monitor_write(session, line->str, line->len);
}

JsonObject *qmp_timestamp(void)
{
    int64_t now = clock_realtime_ns();
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "seconds", now / NS_PER_SEC);
    json_object_set_int_member(object, "microseconds", now % NS_PER_SEC / NS_PER_US);
    return object;
}

void qmp_open(MonitorSession *session)
{
    json_frame_reset(&session->frame);
    session->is_negotiated = false;
    JsonObject *version = json_object_new();
    json_object_set_object_member(version, "qemu", qmp_version_object());
    json_object_set_string_member(version, "package", "lodge-" LODGE_VERSION);
    JsonObject *qmp = json_object_new();
    json_object_set_object_member(qmp, "version", version);
    json_object_set_array_member(qmp, "capabilities", json_array_new());
    JsonObject *greeting = json_object_new();
    json_object_set_object_member(greeting, "QMP", qmp);
    qmp_send(session, greeting);
}

static void send_error(MonitorSession *session, JsonNode *id, const char *class, const char *text)
{
    JsonObject *error = json_object_new();
    json_object_set_string_member(error, "class", class);
    json_object_set_string_member(error, "desc", text);
    JsonObject *reply = json_object_new();
    if (id) {
        json_object_set_member(reply, "id", json_node_copy(id));
    }
    json_object_set_object_member(reply, "error", error);
    qmp_send(session, reply);
}

static void send_result(MonitorSession *session, JsonNode *id, JsonNode *result)
{
    JsonObject *reply = json_object_new();
    if (result) {
        json_object_set_member(reply, "return", result);
    } else {
        json_object_set_object_member(reply, "return", json_object_new());
    }
    if (id) {
        json_object_set_member(reply, "id", json_node_copy(id));
    }
    qmp_send(session, reply);
}

static const char *class_of(const GError *error)
{
    if (error->domain == LODGE_ERROR && error->code == LODGE_ERROR_NO_DEVICE) {
        return "DeviceNotFound";
    }
    bool is_inactive = error->domain == LODGE_ERROR && error->code == LODGE_ERROR_INACTIVE;
    return is_inactive ? "DeviceNotActive" : "GenericError";
}

/* What is wrong with the message's form; NULL: nothing. (transfer full) */
static char *check_request(JsonObject *request)
{
    g_autoptr(GList) names = json_object_get_members(request);
    for (GList *name = names; name; name = name->next) {
        static const char *const known[] = { "execute", "arguments", "id", NULL };
        if (!g_strv_contains(known, name->data)) {
            return g_strdup_printf("QMP input member '%s' is unexpected", (char *)name->data);
        }
    }
    JsonNode *execute = json_object_get_member(request, "execute");
    if (!execute) {
        return g_strdup("QMP input lacks member 'execute'");
    }
    if (!JSON_NODE_HOLDS_VALUE(execute) || json_node_get_value_type(execute) != G_TYPE_STRING) {
        return g_strdup("QMP input member 'execute' must be a string");
    }
    JsonNode *arguments = json_object_get_member(request, "arguments");
    if (arguments && !JSON_NODE_HOLDS_OBJECT(arguments)) {
        return g_strdup("QMP input member 'arguments' must be an object");
    }
    return NULL;
}

/* Until it is done, qmp_capabilities is the only command; afterwards it is none. */
static char *check_negotiation(const MonitorSession *session, const char *name)
{
    bool is_negotiation = !strcmp(name, "qmp_capabilities");
    if (session->is_negotiated && is_negotiation) {
        return g_strdup("Capabilities negotiation is already complete, command ignored");
    }
    if (!session->is_negotiated && !is_negotiation) {
        return g_strdup("Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    return qmp_command_find(name) ? NULL
                                  : g_strdup_printf("The command %s has not been found", name);
}

static void execute(MonitorSession *session, JsonObject *request)
{
    JsonNode *id = json_object_get_member(request, "id");
    g_autofree char *problem = check_request(request);
    if (problem) {
        send_error(session, id, "GenericError", problem);
        return;
    }
    const char *name = json_object_get_string_member(request, "execute");
    problem = check_negotiation(session, name);
    if (problem) {
        send_error(session, id, "CommandNotFound", problem);
        return;
    }
    g_autoptr(JsonObject) none = json_object_new();
    JsonObject *arguments = json_object_has_member(request, "arguments")
                                ? json_object_get_object_member(request, "arguments")
                                : none;
    const QmpCommand *command = qmp_command_find(name);
    g_autoptr(GError) error = NULL;
    if (!schema_check(command->arguments, arguments, &error)) {
        send_error(session, id, "GenericError", error->message);
        return;
    }
    JsonNode *result = command->run(session, arguments, &error);
    if (error) {
        send_error(session, id, class_of(error), error->message);
    } else {
        send_result(session, id, result);
    }
}

static void handle_text(MonitorSession *session, const GString *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonParser) parser = json_parser_new();
    if (!json_parser_load_from_data(parser, text->str, (gssize)text->len, &error)) {
        send_error(session, NULL, "GenericError", "JSON parse error, the text is no JSON value");
        return;
    }
    JsonNode *root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        send_error(session, NULL, "GenericError", "QMP input must be a JSON object");
        return;
    }
    execute(session, json_node_get_object(root));
}

void qmp_receive(MonitorSession *session, uint8_t byte)
{
    JsonFrame *frame = &session->frame;
    JsonFrameResult result = json_frame_push(frame, byte);
    if (result == JSON_FRAME_TEXT) {
        handle_text(session, frame->text);
    } else if (result == JSON_FRAME_BAD) {
        g_autofree char *text = g_strdup_printf("JSON parse error, %s", frame->problem);
        send_error(session, NULL, "GenericError", text);
    }
}
