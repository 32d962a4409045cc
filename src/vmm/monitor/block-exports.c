/* QMP: the NBD server and the exports of nodes.
 *
 * Leaves out: vhost-user and FUSE exports, tls-authz, iothread (an export's requests are executed
 * by threads of its own).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/exports.h"

#include "block/driver.h"
#include "block/export/server.h"
#include "block/nbd/proto.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/monitor/block.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static BlockExports *get_exports(const MonitorSession *session, GError **error)
{
    return qmp_graph(session, error) ? session->set->exports : NULL;
}

void qmp_on_export_deleted(void *opaque, const char *id)
{
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "id", id);
    monitor_emit_data(opaque, "BLOCK_EXPORT_DELETED", data);
}

/* The server */

static int take_listener(const MonitorSession *session, const char *name, GError **error)
{
    guint64 number;
    int value = 0;
    socklen_t length = sizeof(value);
    int fd = str_parse_u64(name, &number)
                 ? -1
                 : fd_sets_take_name(session->set->target.fds, name, error);
    if (fd < 0) {
        if (error && !*error) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "'%s' is no descriptor that getfd received", name);
        }
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) < 0 || !value) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "descriptor '%s' is no listening socket", name);
        close(fd);
        return -1;
    }
    return fd;
}

/* @out_path: of the socket's file; borrowed. */
static int listen_at(const MonitorSession *session, JsonObject *address, const char **out_path,
                     GError **error)
{
    static const struct {
        const char *type, *members;
    } kinds[] = {
        { "inet", "host:str,port:str,?numeric:bool,?to:int,?ipv4:bool,?ipv6:bool,?keep-alive:bool,"
                  "?mptcp:bool" },
        { "unix", "path:str,?abstract:bool,?tight:bool" },
        { "fd", "str:str" },
    };
    const char *type = qmp_text(address, "type");
    JsonNode *node = json_object_get_member(address, "data");
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'data', expected: object");
        return -1;
    }
    JsonObject *data = json_node_get_object(node);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(kinds[i].type, type) == 0 && !schema_check(kinds[i].members, data, error)) {
            return -1;
        }
    }
    if (strcmp(type, "fd") == 0) {
        return take_listener(session, qmp_text(data, "str"), error);
    }
    if (strcmp(type, "unix") == 0) {
        if (qmp_flag(data, "abstract", false)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                        "abstract sockets are not supported: anybody on the host could connect");
            return -1;
        }
        *out_path = qmp_text(data, "path");
        return nbd_listen_unix(*out_path, error);
    }
    if (json_object_has_member(data, "to") || json_object_has_member(data, "ipv4") ||
        json_object_has_member(data, "ipv6")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "'to', 'ipv4' and 'ipv6' are not supported; name the address by 'host'");
        return -1;
    }
    const char *host = qmp_text(data, "host");
    return nbd_listen_tcp(*host ? host : NULL, qmp_text(data, "port"), error);
}

JsonNode *qmp_run_nbd_server_start(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockExports *exports = get_exports(session, error);
    const char *creds = qmp_text(arguments, "tls-creds"), *path = NULL;
    uint64_t clients = 100; /* QEMU's default */
    if (!exports || !block_exports_check_no_server(exports, error) ||
        !qmp_size(arguments, "max-connections", &clients, error)) {
        return NULL;
    }
    if (qmp_text(arguments, "tls-authz")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "'tls-authz' is not supported: whoever has a certificate of the authority may "
                    "connect");
        return NULL;
    }
    g_autoptr(NbdTls) tls =
        creds ? block_objects_tls(session->set->target.block_objects, creds, true, error) : NULL;
    if (creds && !tls) {
        return NULL;
    }
    JsonObject *address = json_object_get_object_member(arguments, "addr");
    int fd = listen_at(session, address, &path, error);
    if (fd >= 0) {
        block_exports_start_server(exports, fd, path, tls, (unsigned)MIN(clients, UINT_MAX), error);
    }
    return NULL;
}

JsonNode *qmp_run_nbd_server_stop(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockExports *exports = get_exports(session, error);
    if (exports) {
        block_exports_stop_server(exports, error);
    }
    return NULL;
}

/* Exports */

static bool check_name(const char *what, const char *text, GError **error)
{
    if (text && strlen(text) > NBD_NAME_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "%s '%s' too long", what, text);
        return false;
    }
    return true;
}

/* A bitmap by its name, or by "node" and "name". */
static bool read_bitmap(JsonNode *element, BlockExportBitmap *out, GError **error)
{
    if (JSON_NODE_HOLDS_VALUE(element) && json_node_get_value_type(element) == G_TYPE_STRING) {
        out->name = json_node_get_string(element);
        return true;
    }
    if (!JSON_NODE_HOLDS_OBJECT(element)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'bitmaps', expected: string or object");
        return false;
    }
    JsonObject *object = json_node_get_object(element);
    if (!schema_check("node:str,name:str", object, error)) {
        return false;
    }
    *out = (BlockExportBitmap){ qmp_text(object, "node"), qmp_text(object, "name") };
    return true;
}

static GArray *read_bitmaps(JsonObject *arguments, GError **error)
{
    g_autoptr(GArray) bitmaps = g_array_new(FALSE, TRUE, sizeof(BlockExportBitmap));
    JsonArray *list = json_object_has_member(arguments, "bitmaps")
                          ? json_object_get_array_member(arguments, "bitmaps")
                          : NULL;
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        BlockExportBitmap bitmap = { NULL, NULL };
        if (!read_bitmap(json_array_get_element(list, i), &bitmap, error)) {
            return NULL;
        }
        g_array_append_val(bitmaps, bitmap);
    }
    return g_steal_pointer(&bitmaps);
}

JsonNode *qmp_run_block_export_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockExports *exports = get_exports(session, error);
    BlockExportOptions options = {
        .id = qmp_text(arguments, "id"),
        .node = qmp_text(arguments, "node-name"),
        .name = qmp_text(arguments, "name"),
        .description = qmp_text(arguments, "description"),
        .is_writable = qmp_flag(arguments, "writable", false),
        .is_through = qmp_flag(arguments, "writethrough", false),
        .has_depth = qmp_flag(arguments, "allocation-depth", false),
    };
    if (!exports || !check_name("export name", options.name, error) ||
        !check_name("description", options.description, error)) {
        return NULL;
    }
    if (qmp_text(arguments, "iothread")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "'iothread' is not supported: exports have threads of their own");
        return NULL;
    }
    g_autoptr(GArray) bitmaps = read_bitmaps(arguments, error);
    if (bitmaps) {
        options.bitmaps = (const BlockExportBitmap *)bitmaps->data;
        options.bitmap_count = bitmaps->len;
        block_exports_add(exports, &options, error);
    }
    return NULL;
}

static void remove_export(const MonitorSession *session, const char *id, JsonObject *arguments,
                          GError **error)
{
    BlockExports *exports = get_exports(session, error);
    if (exports) {
        bool is_hard = g_strcmp0(qmp_text(arguments, "mode"), "hard") == 0;
        block_exports_remove(exports, id, is_hard, error);
    }
}

JsonNode *qmp_run_block_export_del(MonitorSession *session, JsonObject *arguments, GError **error)
{
    remove_export(session, qmp_text(arguments, "id"), arguments, error);
    return NULL;
}

JsonNode *qmp_query_block_exports(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    BlockExportInfo info;
    for (unsigned i = 0;
         session->set->exports && block_exports_get(session->set->exports, i, &info); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", info.id);
        json_object_set_string_member(object, "type", "nbd");
        json_object_set_string_member(object, "node-name", info.node);
        json_object_set_boolean_member(object, "shutting-down", info.is_shutting_down);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Of the time when NBD was all that there was: the export's id is its name; a read-only disk is
 * offered read-only, whatever is asked for. */
JsonNode *qmp_run_nbd_server_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockExports *exports = get_exports(session, error);
    const char *device = qmp_text(arguments, "device"), *name = qmp_text(arguments, "name");
    BlockNode *node =
        exports ? block_graph_find_device(qmp_graph(session, error), device, error) : NULL;
    if (!node) {
        return NULL;
    }
    const BlockExportBitmap bitmap = { NULL, qmp_text(arguments, "bitmap") };
    const BlockExportOptions options = {
        .id = name ? name : device,
        .node = block_node_name(node),
        .name = name ? name : device,
        .description = qmp_text(arguments, "description"),
        .is_writable = qmp_flag(arguments, "writable", false) && block_node_is_writable(node),
        .bitmaps = &bitmap,
        .bitmap_count = bitmap.name != NULL,
    };
    if (check_name("export name", options.name, error) &&
        check_name("description", options.description, error)) {
        block_exports_add(exports, &options, error);
    }
    return NULL;
}

JsonNode *qmp_run_nbd_server_remove(MonitorSession *session, JsonObject *arguments, GError **error)
{
    remove_export(session, qmp_text(arguments, "name"), arguments, error);
    return NULL;
}
