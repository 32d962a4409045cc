/* QMP: descriptors that peers pass over the monitor's socket.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/monitor/internal.h"

#include <limits.h>
#include <unistd.h>

/* The descriptor that came with the command, or -1 with @error. */
static int take_fd(MonitorSession *session, GError **error)
{
    int fd = char_take_fd(session->backend);
    if (fd < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "No file descriptor supplied via SCM_RIGHTS");
    }
    return fd;
}

static const char *text_or_null(JsonObject *arguments, const char *name)
{
    return json_object_has_member(arguments, name) ? json_object_get_string_member(arguments, name)
                                                   : NULL;
}

JsonNode *qmp_run_add_fd(MonitorSession *session, JsonObject *arguments, GError **error)
{
    bool has_id = json_object_has_member(arguments, "fdset-id");
    gint64 id = has_id ? json_object_get_int_member(arguments, "fdset-id") : FD_SET_NEXT;
    if (has_id && id < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'fdset-id' expects a non-negative value");
        return NULL;
    }
    int fd = take_fd(session, error);
    if (fd < 0) {
        return NULL;
    }
    id = fd_sets_add(session->set->target.fds, id, fd, text_or_null(arguments, "opaque"), error);
    if (id < 0) {
        return NULL;
    }
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "fd", fd);
    json_object_set_int_member(object, "fdset-id", id);
    return qmp_take_object(object);
}

JsonNode *qmp_run_remove_fd(MonitorSession *session, JsonObject *arguments, GError **error)
{
    gint64 fd = -1;
    if (json_object_has_member(arguments, "fd")) {
        fd = json_object_get_int_member(arguments, "fd");
        if (fd < 0 || fd > INT_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Parameter 'fd' expects a descriptor");
            return NULL;
        }
    }
    fd_sets_remove(session->set->target.fds, json_object_get_int_member(arguments, "fdset-id"),
                   (int)fd, error);
    return NULL;
}

static JsonArray *fds_of(const PassedFdSet *set)
{
    JsonArray *fds = json_array_new();
    for (guint i = 0; i < set->fds->len; i++) {
        const PassedFd *passed = g_ptr_array_index(set->fds, i);
        JsonObject *object = json_object_new();
        json_object_set_int_member(object, "fd", passed->fd);
        if (passed->note) {
            json_object_set_string_member(object, "opaque", passed->note);
        }
        json_array_add_object_element(fds, object);
    }
    return fds;
}

JsonNode *qmp_query_fdsets(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    const PassedFdSet *set;
    for (unsigned i = 0; (set = fd_sets_at(session->set->target.fds, i)); i++) {
        JsonObject *object = json_object_new();
        json_object_set_array_member(object, "fds", fds_of(set));
        json_object_set_int_member(object, "fdset-id", set->id);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_run_getfd(MonitorSession *session, JsonObject *arguments, GError **error)
{
    int fd = take_fd(session, error);
    if (fd >= 0) {
        fd_sets_set_name(session->set->target.fds,
                         json_object_get_string_member(arguments, "fdname"), fd, error);
    }
    return NULL;
}

JsonNode *qmp_run_closefd(MonitorSession *session, JsonObject *arguments, GError **error)
{
    int fd = fd_sets_take_name(session->set->target.fds,
                               json_object_get_string_member(arguments, "fdname"), error);
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}
