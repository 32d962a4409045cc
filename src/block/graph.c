/* The graph: roots, names, links. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/graph.h"

#include "base/log.h"
#include "block/drivers.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

#define NAME_BYTES_MAX 31

struct BlockGraph {
    GPtrArray *backends; /* of BlockBackend, borrowed */
    GPtrArray *owned;    /* of BlockNode: the monitor's */
    GPtrArray *held;     /* of BlockNode: jobs' */
    unsigned next_name;
};

static void unref_node(gpointer node)
{
    block_node_unref(node);
}

BlockGraph *block_graph_new(void)
{
    BlockGraph *graph = g_new0(BlockGraph, 1);
    graph->backends = g_ptr_array_new();
    graph->owned = g_ptr_array_new_with_free_func(unref_node);
    graph->held = g_ptr_array_new_with_free_func(unref_node);
    return graph;
}

void block_graph_free(BlockGraph *graph)
{
    if (graph) {
        g_ptr_array_unref(graph->backends);
        g_ptr_array_unref(graph->held);
        g_ptr_array_unref(graph->owned);
        g_free(graph);
    }
}

/* Roots */

void block_graph_remove_backend(BlockGraph *graph, const BlockBackend *backend)
{
    g_ptr_array_remove(graph->backends, (gpointer)backend);
    block_graph_settle_access(graph);
}

BlockBackend *block_graph_backend(const BlockGraph *graph, unsigned index)
{
    return index < graph->backends->len ? g_ptr_array_index(graph->backends, index) : NULL;
}

BlockBackend *block_graph_find_backend(const BlockGraph *graph, const char *id)
{
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        if (!block_backend_is_anonymous(backend) && strcmp(block_backend_id(backend), id) == 0) {
            return backend;
        }
    }
    return NULL;
}

void block_graph_hold(BlockGraph *graph, BlockNode *node)
{
    g_ptr_array_add(graph->held, block_node_ref(node));
}

void block_graph_release(BlockGraph *graph, BlockNode *node)
{
    g_ptr_array_remove(graph->held, node);
    block_graph_settle_access(graph);
}

/* Looking */

static void visit(BlockGraph *graph, GPtrArray *nodes, GHashTable *seen, BlockNode *node)
{
    if (!node || !g_hash_table_add(seen, node)) {
        return;
    }
    if (!node->name) {
        node->name =
            g_strdup_printf("#block%u%02d", graph->next_name++, g_random_int_range(0, 100));
    }
    g_ptr_array_add(nodes, node);
    visit(graph, nodes, seen, node->file);
    visit(graph, nodes, seen, node->data_file);
    visit(graph, nodes, seen, node->backing);
}

static void give_names(BlockGraph *graph, BlockNode *node)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    visit(graph, nodes, seen, node);
}

void block_graph_add_backend(BlockGraph *graph, BlockBackend *backend)
{
    g_ptr_array_add(graph->backends, backend);
    give_names(graph, block_backend_node(backend));
}

GPtrArray *block_graph_nodes(BlockGraph *graph)
{
    GPtrArray *nodes = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (guint i = 0; i < graph->backends->len; i++) {
        visit(graph, nodes, seen, block_backend_node(g_ptr_array_index(graph->backends, i)));
    }
    for (guint i = 0; i < graph->owned->len; i++) {
        visit(graph, nodes, seen, g_ptr_array_index(graph->owned, i));
    }
    for (guint i = 0; i < graph->held->len; i++) {
        visit(graph, nodes, seen, g_ptr_array_index(graph->held, i));
    }
    return nodes;
}

static BlockNode *find(BlockGraph *graph, const char *name)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    for (guint i = 0; i < nodes->len; i++) {
        BlockNode *node = g_ptr_array_index(nodes, i);
        if (strcmp(node->name, name) == 0) {
            return node;
        }
    }
    return NULL;
}

BlockNode *block_graph_find(BlockGraph *graph, const char *name, GError **error)
{
    BlockNode *node = find(graph, name);
    if (!node) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Cannot find device='' nor node-name='%s'", name);
    }
    return node;
}

BlockNode *block_graph_find_device(BlockGraph *graph, const char *name, GError **error)
{
    BlockBackend *backend = block_graph_find_backend(graph, name);
    BlockNode *node = backend ? block_backend_node(backend) : find(graph, name);
    if (backend) {
        give_names(graph, node); /* a filter may have come since */
    }
    if (!node) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return node;
}

BlockNode *block_skip_implicit(BlockNode *node)
{
    while (node && node->is_implicit) {
        node = node->file;
    }
    return node;
}

BlockNode *block_chain_next(BlockNode *node)
{
    node = block_skip_filters(node);
    return node ? block_skip_filters(node->backing) : NULL;
}

bool block_chain_contains(BlockNode *node, const BlockNode *below)
{
    while (node && node != below) {
        node = node->driver->is_filter ? node->file : node->backing;
    }
    return node != NULL;
}

const BlockNode *block_graph_parent(BlockGraph *graph, const BlockNode *node)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    for (guint i = 0; i < nodes->len; i++) {
        const BlockNode *parent = g_ptr_array_index(nodes, i);
        if (parent->file == node || parent->data_file == node || parent->backing == node) {
            return parent;
        }
    }
    return NULL;
}

BlockBackend *block_graph_backend_of(const BlockGraph *graph, const BlockNode *node)
{
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        if (block_chain_contains(block_backend_node(backend), node)) {
            return backend;
        }
    }
    return NULL;
}

bool block_graph_is_free_name(BlockGraph *graph, const char *name, GError **error)
{
    if (!str_is_id(name) || strlen(name) > NAME_BYTES_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid node-name: '%s'",
                    name);
    } else if (block_graph_find_backend(graph, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "node-name=%s is conflicting with a device id", name);
    } else if (find(graph, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "Duplicate nodes with node-name='%s'",
                    name);
    } else {
        return true;
    }
    return false;
}

/* Coming and going */

bool block_graph_check_resize(BlockGraph *graph, const BlockNode *node, GError **error)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    for (guint i = 0; i < nodes->len; i++) {
        const BlockNode *parent = g_ptr_array_index(nodes, i);
        const char *role = parent->file == node        ? "file"
                           : parent->data_file == node ? "data-file"
                                                       : NULL;
        if (role && parent->driver->is_filter) {
            if (!block_graph_check_resize(graph, parent, error)) {
                return false;
            }
        } else if (role) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                        "Node '%s' cannot be resized: it is the %s of '%s'; resize that one",
                        node->name, role, parent->name);
            return false;
        }
    }
    return true;
}

static BlockNode *look_up(void *opaque, const char *name, GError **error)
{
    BlockNode *node = find(opaque, name);
    if (!node) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return node;
}

static bool may_use(void *opaque, const BlockNode *node, GError **error)
{
    return block_graph_check_new(opaque, node, error);
}

typedef struct NameCheck {
    BlockGraph *graph;
    GHashTable *names; /* of this specification */
    GError **error;
    bool ok;
} NameCheck;

static void check_name(const char *key, const char *value, void *opaque)
{
    NameCheck *check = opaque;
    if (!check->ok || (strcmp(key, "node-name") != 0 && !g_str_has_suffix(key, ".node-name"))) {
        return;
    }
    check->ok = block_graph_is_free_name(check->graph, value, check->error);
    if (check->ok && !g_hash_table_add(check->names, g_strdup(value))) {
        g_set_error(check->error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "Duplicate nodes with node-name='%s'", value);
        check->ok = false;
    }
}

BlockNode *block_graph_open(BlockGraph *graph, const BlockSpec *spec, unsigned flags,
                            GError **error)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    NameCheck check = { graph, names, error, true };
    block_spec_foreach(spec, check_name, &check);
    const BlockLookup lookup = { look_up, may_use, graph };
    BlockNode *node = check.ok ? block_open_with(spec, flags, &lookup, error) : NULL;
    if (node) {
        give_names(graph, node);
    } else {
        block_graph_settle_access(graph); /* of a file that was to be a new format's */
    }
    return node;
}

BlockNode *block_graph_add(BlockGraph *graph, const BlockSpec *spec, GError **error)
{
    if (!block_spec_get(spec, "node-name")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'node-name' must be specified for the root node");
        return NULL;
    }
    BlockNode *node =
        block_graph_open(graph, spec, BLOCK_OPEN_WRITABLE | BLOCK_OPEN_BY_USERS, error);
    if (node) {
        g_ptr_array_add(graph->owned, node);
        block_graph_settle_access(graph);
    }
    return node;
}

bool block_graph_del(BlockGraph *graph, const char *name, GError **error)
{
    BlockNode *node = find(graph, name);
    if (!node) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Failed to find node with node-name='%s'", name);
        return false;
    }
    if (!block_node_check_unclaimed(node, error)) {
        return false;
    }
    if (__atomic_load_n(&node->refs, __ATOMIC_RELAXED) > 1) {
        g_autofree char *user = block_graph_describe_user(graph, node);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Block device %s is in use by %s", name,
                    user);
        return false;
    }
    if (!g_ptr_array_remove(graph->owned, node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Node %s is not owned by the monitor",
                    name);
        return false;
    }
    block_graph_settle_access(graph);
    return true;
}

/* Claims */

bool block_node_check_unclaimed(const BlockNode *node, GError **error)
{
    if (node->claim) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Node '%s' is busy: %s",
                    node->name ? node->name : "", node->claim);
    }
    return !node->claim;
}

bool block_node_claim(BlockNode *node, const char *user, GError **error)
{
    if (!block_node_check_unclaimed(node, error)) {
        return false;
    }
    node->claim = g_strdup(user);
    return true;
}

void block_node_unclaim(BlockNode *node)
{
    g_clear_pointer(&node->claim, g_free);
    g_clear_pointer(&node->job, g_free);
    node->is_hollow = node->is_target = node->is_of_backup = false;
}

/* Changes */

/* Through any link: also a request of a format that @node is the file of. */
static bool reaches(const BlockNode *from, const BlockNode *node)
{
    for (; from; from = from->backing) {
        if (from == node || (from->file && reaches(from->file, node)) ||
            (from->data_file && reaches(from->data_file, node))) {
            return true;
        }
    }
    return false;
}

struct BlockDrain {
    GPtrArray *backends;
};

BlockDrain *block_graph_drain_begin(BlockGraph *graph, const BlockNode *node)
{
    BlockDrain *drain = g_new0(BlockDrain, 1);
    BlockBackend *backend;
    drain->backends = g_ptr_array_new();
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        if (reaches(block_backend_node(backend), node)) {
            block_backend_drain_begin(backend);
            g_ptr_array_add(drain->backends, backend);
        }
    }
    return drain;
}

void block_graph_drain_end(BlockDrain *drain)
{
    for (guint i = 0; i < drain->backends->len; i++) {
        block_backend_drain_end(g_ptr_array_index(drain->backends, i));
    }
    g_ptr_array_unref(drain->backends);
    g_free(drain);
}

bool block_graph_check_replace(BlockGraph *graph, BlockNode *from, const BlockNode *to,
                               GError **error)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    for (guint i = 0; i < nodes->len; i++) {
        const BlockNode *parent = g_ptr_array_index(nodes, i);
        bool is_file = parent->file == from && !parent->driver->is_filter;
        if (parent != to && (is_file || parent->data_file == from)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                        "Node '%s' cannot be replaced: it is the file of '%s'", from->name,
                        parent->name);
            return false;
        }
    }
    return true;
}

/* Puts a reference of @to into @slot, a link of @parent. */
static void exchange(BlockNode *parent, BlockNode **slot, BlockNode *to)
{
    BlockNode *before = *slot;
    block_node_lock_alone(parent);
    *slot = to ? block_node_ref(to) : NULL;
    pthread_rwlock_unlock(&parent->lock);
    block_node_unref(before);
}

void block_graph_set_backing(BlockNode *node, BlockNode *backing)
{
    exchange(node, &node->backing, backing);
}

void block_graph_replace(BlockGraph *graph, BlockNode *from, BlockNode *to)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    BlockBackend *backend;
    block_node_ref(from);
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        if (block_backend_node(backend) == from) {
            block_backend_drain_begin(backend);
            block_node_unref(block_backend_replace_node(backend, block_node_ref(to)));
            block_backend_drain_end(backend);
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        BlockNode *parent = g_ptr_array_index(nodes, i);
        if (parent != to && parent->file == from) {
            exchange(parent, &parent->file, to);
        }
        if (parent != to && parent->backing == from) {
            exchange(parent, &parent->backing, to);
        }
    }
    block_node_unref(from);
    block_graph_settle_access(graph);
}

bool block_graph_snapshot(BlockGraph *graph, BlockNode *node, BlockNode *overlay, GError **error)
{
    if (!overlay->driver->has_backing) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "The overlay '%s' does not support backing images", overlay->name);
        return false;
    }
    if (overlay->backing) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "The overlay '%s' already has a backing "
                    "image",
                    overlay->name);
        return false;
    }
    if (block_graph_backend_of(graph, overlay) && !overlay->claim) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "The overlay '%s' is already in use",
                    overlay->name);
        return false;
    }
    if (reaches(node, overlay) || reaches(overlay, node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Making '%s' a backing child of '%s' would create a cycle", node->name,
                    overlay->name);
        return false;
    }
    if (!block_graph_check_replace(graph, node, overlay, error)) {
        return false;
    }
    /* What requests wrote is in @node before readers of the overlay look for it there. */
    BlockDrain *drain = block_graph_drain_begin(graph, node);
    exchange(overlay, &overlay->backing, node);
    block_graph_replace(graph, node, overlay);
    bool ok = block_graph_check_access(graph, overlay, error);
    if (!ok) {
        block_graph_undo_snapshot(graph, node, overlay);
    }
    block_graph_drain_end(drain);
    return ok;
}

void block_graph_undo_snapshot(BlockGraph *graph, BlockNode *node, BlockNode *overlay)
{
    BlockDrain *drain = block_graph_drain_begin(graph, node);
    block_graph_replace(graph, overlay, node);
    block_graph_drain_end(drain);
    exchange(overlay, &overlay->backing, NULL);
}
