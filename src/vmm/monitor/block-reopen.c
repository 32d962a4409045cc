/* QMP: blockdev-reopen. All that a node's options do not say is as for a new node; what cannot
 * change in an open node may only be said as it is. Either all nodes change or none does.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "gbase/error.h"
#include "vmm/monitor/block.h"

#include <string.h>

/* A node as it was. */
typedef struct Before {
    BlockNode *node;    /* referenced */
    BlockNode *backing; /* the same; NULL: none */
    unsigned flags;
    BlockDetectZeroes detect_zeroes;
    char *group; /* of the driver "throttle" */
} Before;

static void before_clear(gpointer opaque)
{
    Before *before = opaque;
    block_node_unref(before->node);
    block_node_unref(before->backing);
    g_free(before->group);
}

static bool is_throttle(const BlockNode *node)
{
    return node->driver == &block_driver_throttle;
}

static void note_before(GArray *changed, BlockNode *node)
{
    Before before = {
        .node = block_node_ref(node),
        .backing = node->backing ? block_node_ref(node->backing) : NULL,
        .flags = block_node_flags(node),
        .detect_zeroes = node->detect_zeroes,
        .group = is_throttle(node) ? g_strdup(block_throttle_group(node)) : NULL,
    };
    g_array_append_val(changed, before);
}

static void undo(GArray *changed)
{
    for (guint i = changed->len; i > 0; i--) {
        Before *before = &g_array_index(changed, Before, i - 1);
        g_autoptr(GError) ignored = NULL;
        block_node_set_detect_zeroes(before->node, before->detect_zeroes);
        (void)!block_reopen(before->node, before->flags, &ignored);
        if (before->group) {
            (void)!block_throttle_set_group(before->node, before->group, &ignored);
        }
        if (before->node->backing != before->backing) {
            block_graph_set_backing(before->node, before->backing);
        }
    }
}

/* Options that stay */

typedef struct OptionCheck {
    const BlockNode *node;
    const char *changed; /* the first that is another than the node's; borrowed */
} OptionCheck;

/* What reopening changes, and links, which are looked at on their own. */
static bool is_changeable(const BlockNode *node, const char *key)
{
    static const char *const common[] = { "driver",       "node-name",      "read-only",
                                          "cache.direct", "cache.no-flush", "discard",
                                          "file",         "auto-read-only", "detect-zeroes",
                                          "backing",      "force-share",    NULL };
    static const char *const tuning[] = { "lazy-refcounts",
                                          "pass-discard-request",
                                          "pass-discard-snapshot",
                                          "pass-discard-other",
                                          "overlap-check",
                                          "cache-size",
                                          "l2-cache-size",
                                          "l2-cache-entry-size",
                                          "refcount-cache-size",
                                          "cache-clean-interval",
                                          NULL };
    return g_strv_contains(common, key) || g_str_has_prefix(key, "file.") ||
           g_str_has_prefix(key, "backing.") ||
           (is_throttle(node) && strcmp(key, "throttle-group") == 0) ||
           (strcmp(node->driver->name, "qcow2") == 0 &&
            (g_strv_contains(tuning, key) || g_str_has_prefix(key, "overlap-check.")));
}

static void check_option(const char *key, const char *value, void *opaque)
{
    OptionCheck *check = opaque;
    const char *present = check->node->spec ? block_spec_get(check->node->spec, key) : NULL;
    bool is_name = strcmp(key, "filename") == 0 && !check->node->file;
    if (is_name) {
        present = block_node_filename(check->node);
    }
    if (!check->changed && !is_changeable(check->node, key) && g_strcmp0(value, present) != 0) {
        check->changed = key;
    }
}

static bool check_options(const BlockNode *node, const BlockSpec *spec, GError **error)
{
    OptionCheck check = { node, NULL };
    block_spec_foreach(spec, check_option, &check);
    if (check.changed) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Cannot change the option '%s' of '%s'", check.changed, block_node_name(node));
    }
    return !check.changed;
}

/* The node below a format, by reference or described once more. */
static bool check_file(const BlockNode *node, const BlockSpec *spec, GError **error)
{
    const char *file = block_spec_get(spec, "file");
    const BlockNode *below = block_node_file(node);
    if (file && below && strcmp(file, block_node_name(below)) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Cannot change the option 'file' of '%s' from '%s' to '%s'",
                    block_node_name(node), block_node_name(below), file);
        return false;
    }
    if (file || !below || !block_spec_has_sub(spec, "file")) {
        return true;
    }
    g_autoptr(BlockSpec) sub = block_spec_sub(spec, "file");
    return check_options(below, sub, error);
}

/* Flags */

bool qmp_check_no_writers(BlockGraph *graph, const BlockNode *node, GError **error)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    bool has_writer = false;
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        has_writer |= block_backend_node(backend) == node && !block_backend_is_readonly(backend);
    }
    for (guint i = 0; i < nodes->len; i++) {
        const BlockNode *parent = g_ptr_array_index(nodes, i);
        has_writer |=
            (parent->file == node || parent->data_file == node) && block_node_is_writable(parent);
    }
    if (has_writer) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "Read-only block node '%s' cannot support read-write users",
                    block_node_name(node));
    }
    return !has_writer;
}

static bool wanted_flags(BlockGraph *graph, const BlockNode *node, const BlockSpec *spec,
                         unsigned *out_flags, GError **error)
{
    bool is_readonly = false, is_direct = false, ignores_flush = false;
    const char *discard = block_spec_get(spec, "discard");
    unsigned flags = block_node_flags(node);
    if (!block_spec_get_bool(spec, "read-only", &is_readonly, error) ||
        !block_spec_get_bool(spec, "cache.direct", &is_direct, error) ||
        !block_spec_get_bool(spec, "cache.no-flush", &ignores_flush, error)) {
        return false;
    }
    flags &= ~(unsigned)(BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DIRECT | BLOCK_OPEN_NO_FLUSH |
                         BLOCK_OPEN_DISCARD);
    flags |= (is_readonly ? 0 : BLOCK_OPEN_WRITABLE) | (is_direct ? BLOCK_OPEN_DIRECT : 0) |
             (ignores_flush ? BLOCK_OPEN_NO_FLUSH : 0);
    if (discard && (strcmp(discard, "unmap") == 0 || strcmp(discard, "on") == 0)) {
        flags |= BLOCK_OPEN_DISCARD;
    }
    *out_flags = flags;
    return !is_readonly || !block_node_is_writable(node) ||
           qmp_check_no_writers(graph, node, error);
}

/* A reference may only say what is there, but for "backing". */
static bool reopen_backing(BlockGraph *graph, BlockNode *node, const BlockSpec *spec,
                           GError **error)
{
    const char *backing = block_spec_get(spec, "backing");
    if (!backing || !g_strcmp0(backing, node->backing ? block_node_name(node->backing) : "")) {
        return true;
    }
    BlockNode *below = *backing ? block_graph_find(graph, backing, error) : NULL;
    if (*backing && !below) {
        return false;
    }
    if (below && block_chain_contains(below, node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Making '%s' a backing child of '%s' would create a cycle", backing,
                    block_node_name(node));
        return false;
    }
    block_graph_set_backing(node, below);
    return true;
}

/* A file that was described with its format is cached as that one. */
static bool reopen_file(BlockNode *node, unsigned flags, GArray *changed, GError **error)
{
    const unsigned follows = BLOCK_OPEN_DIRECT | BLOCK_OPEN_NO_FLUSH;
    BlockNode *file = block_node_file(node);
    if (!file || !node->spec || !block_spec_has_sub(node->spec, "file")) {
        return true;
    }
    note_before(changed, file);
    return block_reopen(file, (block_node_flags(file) & ~follows) | (flags & follows), error);
}

/* The group of a node "throttle", which is always said. */
static bool reopen_limits(BlockNode *node, const BlockSpec *spec, GError **error)
{
    const char *group = block_spec_get(spec, "throttle-group");
    if (!is_throttle(node) || !g_strcmp0(group, block_throttle_group(node))) {
        return true;
    }
    if (!group) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Parameter 'throttle-group' is missing");
        return false;
    }
    return block_throttle_set_group(node, group, error);
}

static BlockNode *find_node(BlockGraph *graph, const BlockSpec *spec, GError **error)
{
    const char *name = block_spec_get(spec, "node-name"), *driver = block_spec_get(spec, "driver");
    BlockNode *node = name ? block_graph_find(graph, name, NULL) : NULL;
    if (!name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "node-name not specified");
    } else if (!node) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Failed to find node with node-name='%s'", name);
    } else if (driver && strcmp(driver, block_node_driver(node)) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Cannot change the option 'driver'");
    } else {
        return node;
    }
    return NULL;
}

static bool reopen_node(const MonitorSession *session, BlockGraph *graph, JsonObject *options,
                        GArray *changed, GError **error)
{
    g_autoptr(BlockSpec) spec = qmp_block_spec(session, options, error);
    BlockNode *node = spec ? find_node(graph, spec, error) : NULL;
    BlockDetectZeroes detect_zeroes;
    unsigned flags;
    if (!node || !block_spec_check_keys(spec, node->driver, error) ||
        !block_node_check_unclaimed(node, error) || !check_options(node, spec, error) ||
        !check_file(node, spec, error) || !wanted_flags(graph, node, spec, &flags, error) ||
        !block_detect_zeroes_from(spec, flags, &detect_zeroes, error)) {
        return false;
    }
    note_before(changed, node);
    block_node_set_detect_zeroes(node, detect_zeroes);
    return reopen_limits(node, spec, error) && block_graph_reopen(graph, node, flags, error) &&
           reopen_file(node, flags, changed, error) && reopen_backing(graph, node, spec, error);
}

JsonNode *qmp_run_blockdev_reopen(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    JsonArray *options = json_object_get_array_member(arguments, "options");
    g_autoptr(GArray) changed = g_array_new(FALSE, FALSE, sizeof(Before));
    g_array_set_clear_func(changed, before_clear);
    for (guint i = 0; graph && i < json_array_get_length(options); i++) {
        JsonNode *element = json_array_get_element(options, i);
        bool is_object = JSON_NODE_HOLDS_OBJECT(element);
        if (!is_object) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Invalid parameter type for 'options[%u]', expected: object", i);
        }
        if (!is_object ||
            !reopen_node(session, graph, json_node_get_object(element), changed, error)) {
            undo(changed);
            g_array_set_size(changed, 0);
            break;
        }
    }
    for (guint i = 0; i < changed->len; i++) {
        if (!block_graph_update_access(graph, g_array_index(changed, Before, i).node, error)) {
            undo(changed);
            break;
        }
    }
    if (graph) {
        block_graph_settle_access(graph);
    }
    return NULL;
}
