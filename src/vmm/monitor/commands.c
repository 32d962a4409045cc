/* QMP: commands that change something.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/monitor/internal.h"

#include <string.h>

bool monitor_wakeup(const MonitorTarget *target, GError **error)
{
    if (!target->wakeup) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "wake-up from suspend is not supported by this guest");
        return false;
    }
    return target->wakeup(target->opaque, error);
}

bool monitor_nmi(const MonitorTarget *target, GError **error)
{
    if (!target->nmi) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "machine does not provide NMIs");
        return false;
    }
    return target->nmi(target->opaque, error);
}

static bool fail_no_balloon(GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INACTIVE, "No balloon device has been activated");
    return false;
}

bool monitor_get_balloon(const MonitorTarget *target, uint64_t *out_bytes, GError **error)
{
    return target->get_balloon ? target->get_balloon(target->opaque, out_bytes, error)
                               : fail_no_balloon(error);
}

bool monitor_set_balloon(const MonitorTarget *target, uint64_t bytes, GError **error)
{
    return target->set_balloon ? target->set_balloon(target->opaque, bytes, error)
                               : fail_no_balloon(error);
}

bool monitor_set_link(const MonitorTarget *target, const char *name, bool is_up, GError **error)
{
    NetBackend *backend;
    for (unsigned i = 0; (backend = target->netdev(target->opaque, i)); i++) {
        if (!strcmp(backend->id, name)) {
            net_set_link(backend, is_up);
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Device '%s' not found", name);
    return false;
}

JsonNode *qmp_run_capabilities(MonitorSession *session, JsonObject *arguments, GError **error)
{
    if (json_object_has_member(arguments, "enable") &&
        json_array_get_length(json_object_get_array_member(arguments, "enable"))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "no capabilities can be enabled on this monitor");
        return NULL;
    }
    session->is_negotiated = true;
    return NULL;
}

JsonNode *qmp_run_query_commands(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return schema_list_commands();
}

JsonNode *qmp_run_query_schema(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return schema_introspect();
}

JsonNode *qmp_run_stop(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->pause(target->opaque);
    return NULL;
}

JsonNode *qmp_run_cont(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->resume(target->opaque, error);
    return NULL;
}

JsonNode *qmp_run_quit(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->quit(target->opaque);
    return NULL;
}

JsonNode *qmp_run_reset(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->reset(target->opaque);
    return NULL;
}

JsonNode *qmp_run_powerdown(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->powerdown(target->opaque);
    return NULL;
}

JsonNode *qmp_run_wakeup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_wakeup(&session->set->target, error);
    return NULL;
}

JsonNode *qmp_run_nmi(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_nmi(&session->set->target, error);
    return NULL;
}

JsonNode *qmp_run_balloon(MonitorSession *session, JsonObject *arguments, GError **error)
{
    gint64 bytes = json_object_get_int_member(arguments, "value");
    if (bytes <= 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'target' expects a size");
        return NULL;
    }
    monitor_set_balloon(&session->set->target, (uint64_t)bytes, error);
    return NULL;
}

JsonNode *qmp_run_set_link(MonitorSession *session, JsonObject *arguments, GError **error)
{
    monitor_set_link(&session->set->target, json_object_get_string_member(arguments, "name"),
                     json_object_get_boolean_member(arguments, "up"), error);
    return NULL;
}

JsonNode *qmp_run_set_action(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    if (!target->get_actions || !target->set_actions) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "actions cannot be changed");
        return NULL;
    }
    MonitorActions actions;
    target->get_actions(target->opaque, &actions);
    if (json_object_has_member(arguments, "reboot")) {
        const char *action = json_object_get_string_member(arguments, "reboot");
        actions.reboot_is_shutdown = !strcmp(action, "shutdown");
    }
    if (json_object_has_member(arguments, "shutdown")) {
        const char *action = json_object_get_string_member(arguments, "shutdown");
        actions.shutdown_is_pause = !strcmp(action, "pause");
    }
    target->set_actions(target->opaque, &actions);
    return NULL;
}

JsonNode *qmp_run_human(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    unsigned before = session->current_vcpu;
    if (json_object_has_member(arguments, "cpu-index")) {
        gint64 index = json_object_get_int_member(arguments, "cpu-index");
        if (index < 0 || index >= target->vcpu_count) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Parameter 'cpu-index' expects a CPU number");
            return NULL;
        }
        session->current_vcpu = (unsigned)index;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    hmp_execute(session, json_object_get_string_member(arguments, "command-line"), out);
    if (json_object_has_member(arguments, "cpu-index")) {
        session->current_vcpu = before; /* it was for this line only */
    }
    /* Bytes of the guest's memory may be in it. */
    g_autofree char *text = g_utf8_make_valid(out->str, (gssize)out->len);
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(node, text);
    return node;
}
