/* QMP: devices and back ends that come and go.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/monitor/internal.h"
#include "vmm/options/json.h"

#include <string.h>
#include <unistd.h>

/* -- devices -- */

JsonNode *qmp_run_device_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    g_autoptr(KeyvalList) properties = keyval_from_json(arguments, error);
    if (!properties) {
        return NULL;
    }
    g_autofree char *driver = keyval_take(properties, "driver");
    g_autofree char *id = keyval_take(properties, "id");
    target->device_add(target->opaque, driver, id, properties, error);
    return NULL;
}

JsonNode *qmp_run_device_del(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *id = json_object_get_string_member(arguments, "id");
    const char *name = g_str_has_prefix(id, QOM_PERIPHERAL) ? id + strlen(QOM_PERIPHERAL) : id;
    target->device_del(target->opaque, name, error);
    return NULL;
}

/* -- back ends -- */

/* A named descriptor is handed over: its number takes the place of the name. */
static bool resolve_fd(const MonitorTarget *target, KeyvalList *options, int *out_fd,
                       GError **error)
{
    guint64 number;
    *out_fd = -1;
    g_autofree char *name = keyval_take(options, "fd");
    if (!name || str_parse_u64(name, &number)) {
        if (name) {
            keyval_add(options, "fd", name);
        }
        return true;
    }
    *out_fd = fd_sets_take_name(target->fds, name, error);
    g_autofree char *text = g_strdup_printf("%d", *out_fd);
    keyval_add(options, "fd", text);
    return *out_fd >= 0;
}

static bool add_backend(MonitorSession *session, const char *kind, const char *type, const char *id,
                        KeyvalList *options, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    int fd;
    if (!resolve_fd(target, options, &fd, error)) {
        return false;
    }
    if (!target->backend_add(target->opaque, kind, type, id, options, error)) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    return true;
}

static JsonNode *run_add(MonitorSession *session, const char *kind, const char *type_key,
                         JsonObject *arguments, GError **error)
{
    g_autoptr(KeyvalList) options = keyval_from_json(arguments, error);
    if (options) {
        g_autofree char *type = keyval_take(options, type_key);
        g_autofree char *id = keyval_take(options, "id");
        add_backend(session, kind, type, id, options, error);
    }
    return NULL;
}

static JsonNode *run_del(MonitorSession *session, const char *kind, JsonObject *arguments,
                         GError **error)
{
    const MonitorTarget *target = &session->set->target;
    target->backend_del(target->opaque, kind, json_object_get_string_member(arguments, "id"),
                        error);
    return NULL;
}

JsonNode *qmp_run_netdev_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_add(session, "netdev", "type", arguments, error);
}

JsonNode *qmp_run_netdev_del(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_del(session, "netdev", arguments, error);
}

JsonNode *qmp_run_object_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_add(session, "object", "qom-type", arguments, error);
}

JsonNode *qmp_run_object_del(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_del(session, "object", arguments, error);
}

/* -- character devices: QAPI's ChardevBackend to the options of -chardev -- */

static const struct {
    const char *qapi, *option;
} chardev_members[] = {
    { "addr.data.path", "path" },
    { "addr.data.host", "host" },
    { "addr.data.port", "port" },
    { "addr.data.str", "fd" },
    { "out", "path" },
    { "in", "input-path" },
    { "device", "path" },
    { "addr.type", NULL },
    { "addr.data.type", NULL },
};

static void move_chardev_members(KeyvalList *list)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(chardev_members); i++) {
        g_autofree char *value = keyval_take(list, chardev_members[i].qapi);
        if (value && chardev_members[i].option) {
            keyval_add(list, chardev_members[i].option, value);
        }
    }
}

static CharBackend *find_chardev(const MonitorTarget *target, const char *id)
{
    CharBackend *backend;
    for (unsigned i = 0; (backend = target->chardev(target->opaque, i)); i++) {
        if (!strcmp(backend->id, id)) {
            return backend;
        }
    }
    return NULL;
}

JsonNode *qmp_run_chardev_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *id = json_object_get_string_member(arguments, "id");
    JsonObject *description = json_object_get_object_member(arguments, "backend");
    const char *type = json_object_get_string_member(description, "type");
    JsonNode *data = json_object_get_member(description, "data");
    if (!JSON_NODE_HOLDS_OBJECT(data)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'backend.data', expected: object");
        return NULL;
    }
    g_autoptr(KeyvalList) options = keyval_from_json(json_node_get_object(data), error);
    if (!options) {
        return NULL;
    }
    move_chardev_members(options);
    if (!add_backend(session, "chardev", type, id, options, error)) {
        return NULL;
    }
    JsonObject *object = json_object_new();
    CharBackend *backend = find_chardev(target, id);
    g_autofree char *where = backend ? char_describe(backend) : NULL;
    if (where && g_str_has_prefix(where, "pty:")) {
        json_object_set_string_member(object, "pty", where + strlen("pty:"));
    }
    return qmp_take_object(object);
}

static bool require_chardev(MonitorSession *session, JsonObject *arguments,
                            CharBackend **out_backend, GError **error)
{
    const char *id = json_object_get_string_member(arguments, "id");
    *out_backend = find_chardev(&session->set->target, id);
    if (!*out_backend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Chardev '%s' not found", id);
    }
    return *out_backend != NULL;
}

JsonNode *qmp_run_chardev_remove(MonitorSession *session, JsonObject *arguments, GError **error)
{
    CharBackend *backend;
    if (!require_chardev(session, arguments, &backend, error)) {
        return NULL;
    }
    if (backend->has_frontend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Chardev '%s' is busy", backend->id);
        return NULL;
    }
    return run_del(session, "chardev", arguments, error);
}

JsonNode *qmp_run_chardev_send_break(MonitorSession *session, JsonObject *arguments, GError **error)
{
    CharBackend *backend;
    if (require_chardev(session, arguments, &backend, error)) {
        char_event(backend, CHAR_EVENT_BREAK);
    }
    return NULL;
}

JsonNode *qmp_run_screendump(MonitorSession *session, JsonObject *arguments, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "There is no console to take a screendump from");
    return NULL;
}
