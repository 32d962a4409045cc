/* QMP: nodes of the block graph.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "block/lock.h"
#include "gbase/error.h"
#include "vmm/monitor/block.h"

#include <string.h>

const char *qmp_text(JsonObject *arguments, const char *name)
{
    return json_object_get_string_member_with_default(arguments, name, NULL);
}

bool qmp_flag(JsonObject *arguments, const char *name, bool fallback)
{
    return json_object_get_boolean_member_with_default(arguments, name, fallback);
}

bool qmp_size(JsonObject *arguments, const char *name, uint64_t *out_value, GError **error)
{
    if (!json_object_has_member(arguments, name)) {
        return true;
    }
    gint64 value = json_object_get_int_member(arguments, name);
    if (value < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' expects a non-negative value", name);
        return false;
    }
    *out_value = (uint64_t)value;
    return true;
}

unsigned qmp_choice(JsonObject *arguments, const char *name, const char *const *names,
                    unsigned fallback)
{
    const char *value = qmp_text(arguments, name);
    for (unsigned i = 0; value && names[i]; i++) {
        if (strcmp(names[i], value) == 0) {
            return i;
        }
    }
    return fallback;
}

BlockGraph *qmp_graph(const MonitorSession *session, GError **error)
{
    BlockGraph *graph = session->set->target.graph;
    if (!graph) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "this machine has no block nodes");
    }
    return graph;
}

BlockSpec *qmp_block_spec(const MonitorSession *session, JsonObject *object, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    json_node_set_object(node, object);
    g_autofree char *text = json_to_string(node, FALSE);
    g_autofree char *name = g_strconcat("json:", text, NULL);
    BlockSpec *spec = block_spec_from_name(name, NULL, error);
    if (spec && target->resolve_spec) {
        g_autoptr(BlockSpec) given = spec;
        spec = target->resolve_spec(target->opaque, given, error);
    }
    return spec;
}

JsonNode *qmp_run_blockdev_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    g_autoptr(BlockSpec) spec = graph ? qmp_block_spec(session, arguments, error) : NULL;
    if (spec) {
        block_graph_add(graph, spec, error);
    }
    return NULL;
}

JsonNode *qmp_run_blockdev_del(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    if (graph) {
        block_graph_del(graph, qmp_text(arguments, "node-name"), error);
    }
    return NULL;
}

JsonNode *qmp_run_blockdev_create(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonNode *options = json_object_get_member(arguments, "options");
    if (!qmp_graph(session, error)) {
        return NULL;
    }
    if (!JSON_NODE_HOLDS_OBJECT(options)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'options', expected: object");
        return NULL;
    }
    g_autoptr(BlockSpec) spec = qmp_block_spec(session, json_node_get_object(options), error);
    /* QEMU keeps these until they are dismissed. */
    const JobOptions job = { .id = qmp_text(arguments, "job-id"), .keeps_concluded = true };
    Job *created = spec ? job_create_new(session->set->jobs, &job, spec, error) : NULL;
    if (created) {
        job_start(created);
    }
    return NULL;
}

JsonNode *qmp_run_change_backing(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    const char *device = qmp_text(arguments, "device");
    BlockNode *root = graph ? block_graph_find_device(graph, device, error) : NULL;
    BlockNode *image =
        root ? block_graph_find(graph, qmp_text(arguments, "image-node-name"), error) : NULL;
    if (!image || !block_node_check_unclaimed(image, error)) {
        return NULL;
    }
    if (!block_chain_contains(root, image) || !image->backing) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    image->backing ? "'%s' and image file are not in the same chain"
                                   : "'%s': not allowing backing file change on an image without a "
                                     "backing file",
                    device);
        return NULL;
    }
    bool was_readonly = !block_node_is_writable(image);
    unsigned flags = block_node_flags(image);
    if (block_graph_reopen(graph, image, flags | BLOCK_OPEN_WRITABLE, error)) {
        block_change_backing(image, qmp_text(arguments, "backing-file"),
                             block_node_driver(block_skip_filters(image->backing)), error);
        if (was_readonly) {
            block_reopen(image, flags, NULL);
        }
    }
    return NULL;
}

JsonNode *qmp_run_snapshot(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "blockdev-snapshot", arguments, error);
    return NULL;
}

JsonNode *qmp_run_snapshot_sync(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "blockdev-snapshot-sync", arguments, error);
    return NULL;
}

JsonNode *qmp_query_named_nodes(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    if (!graph) {
        return NULL;
    }
    JsonArray *array = json_array_new();
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    for (guint i = 0; i < nodes->len; i++) {
        JsonObject *object = qmp_block_device_object(g_ptr_array_index(nodes, i), NULL);
        if (qmp_flag(arguments, "flat", false)) {
            json_object_remove_member(json_object_get_object_member(object, "image"),
                                      "backing-image");
        }
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* x-debug-query-block-graph */

typedef struct Edges {
    BlockGraph *graph;
    GPtrArray *nodes;
    JsonArray *array;
} Edges;

static void add_edge(const Edges *edges, gint64 id, const BlockNode *parent,
                     const BlockBackend *backend, BlockNode *child, const char *name)
{
    static const struct {
        const char *name;
        unsigned used, refused;
    } permissions[] = {
        { "resize", BLOCK_ACCESS_RESIZE, BLOCK_ACCESS_SIZE },
        { "write-unchanged", BLOCK_ACCESS_SAME, 0 },
        { "write", BLOCK_ACCESS_WRITE, BLOCK_ACCESS_ALONE },
        { "consistent-read", BLOCK_ACCESS_READ, BLOCK_ACCESS_HIDDEN },
    };
    guint index;
    if (!child || !g_ptr_array_find(edges->nodes, child, &index)) {
        return;
    }
    unsigned access = block_graph_access_of(edges->graph, child, parent, backend, name);
    JsonObject *edge = json_object_new();
    JsonArray *used = json_array_new(), *shared = json_array_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(permissions); i++) {
        if (access & permissions[i].used) {
            json_array_add_string_element(used, permissions[i].name);
        }
        if (!(access & permissions[i].refused)) {
            json_array_add_string_element(shared, permissions[i].name);
        }
    }
    json_object_set_int_member(edge, "parent", id);
    json_object_set_int_member(edge, "child", index + 1);
    json_object_set_string_member(edge, "name", name);
    json_object_set_array_member(edge, "perm", used);
    json_object_set_array_member(edge, "shared-perm", shared);
    json_array_add_object_element(edges->array, edge);
}

static void add_vertex(JsonArray *vertices, gint64 id, const char *type, const char *name)
{
    JsonObject *vertex = json_object_new();
    json_object_set_int_member(vertex, "id", id);
    json_object_set_string_member(vertex, "type", type);
    json_object_set_string_member(vertex, "name", name);
    json_array_add_object_element(vertices, vertex);
}

/* The id of a drive, or where its device is; "" for exports. (transfer full) */
static char *backend_name(const MonitorTarget *target, const BlockBackend *backend)
{
    MonitorDisk disk;
    if (!block_backend_is_anonymous(backend)) {
        return g_strdup(block_backend_id(backend));
    }
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (disk.backend == backend && disk.user) {
            return qmp_disk_path(target, disk.user);
        }
    }
    return g_strdup("");
}

JsonNode *qmp_query_block_graph(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    if (!graph) {
        return NULL;
    }
    JsonArray *vertices = json_array_new();
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    const Edges edges = { graph, nodes, json_array_new() };
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        g_autofree char *name = backend_name(&session->set->target, backend);
        gint64 id = (gint64)nodes->len + 1 + i;
        add_vertex(vertices, id, "block-backend", name);
        add_edge(&edges, id, NULL, backend, block_backend_node(backend), "root");
    }
    for (guint i = 0; i < nodes->len; i++) {
        const BlockNode *node = g_ptr_array_index(nodes, i);
        add_vertex(vertices, i + 1, "block-driver", block_node_name(node));
        add_edge(&edges, i + 1, node, NULL, node->file, "file");
        add_edge(&edges, i + 1, node, NULL, node->backing, "backing");
        add_edge(&edges, i + 1, node, NULL, node->data_file, "data-file");
    }
    JsonObject *object = json_object_new();
    json_object_set_array_member(object, "nodes", vertices);
    json_object_set_array_member(object, "edges", edges.array);
    return qmp_take_object(object);
}
