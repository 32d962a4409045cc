/* QMP: dirty bitmaps of nodes, as actions of a transaction and as commands; lists of them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/monitor/block-action.h"

/* The node that "node" names, below filters that nobody asked for. */
static BlockNode *find_node(MonitorSession *session, JsonObject *data, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    BlockNode *node = graph ? block_graph_find_device(graph, qmp_text(data, "node"), error) : NULL;
    return node ? block_skip_implicit(node) : NULL;
}

/* The bitmap that "name" names. */
static DirtyBitmap *find_bitmap(Action *action, JsonObject *data, unsigned refused, GError **error)
{
    DirtyBitmap *bitmap = block_bitmap_get(action->node, qmp_text(data, "name"), refused, error);
    if (bitmap) {
        action->bitmap = dirty_bitmap_ref(bitmap);
    }
    return bitmap;
}

static bool take_node(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    BlockNode *node = find_node(session, data, error);
    action->node = node ? block_node_ref(node) : NULL;
    return node != NULL;
}

bool bitmap_action_add(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    uint64_t granularity = 0;
    if (!take_node(session, action, data, error) ||
        !qmp_size(data, "granularity", &granularity, error)) {
        return false;
    }
    if (json_object_has_member(data, "granularity") && !granularity) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Granularity must be power of 2 and at least 512");
        return false;
    }
    unsigned flags = qmp_flag(data, "persistent", false) ? BLOCK_BITMAP_PERSISTENT : 0;
    flags |= qmp_flag(data, "disabled", false) ? BLOCK_BITMAP_DISABLED : 0;
    DirtyBitmap *bitmap =
        block_bitmap_add(action->node, qmp_text(data, "name"), granularity, flags, error);
    action->bitmap = bitmap ? dirty_bitmap_ref(bitmap) : NULL;
    return bitmap != NULL;
}

/* It was never stored: memory alone knows it. */
void bitmap_action_undo_add(MonitorSession *session, Action *action)
{
    block_node_remove_bitmap(action->node, action->bitmap);
}

bool bitmap_action_remove(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    if (!take_node(session, action, data, error) ||
        !find_bitmap(action, data, DIRTY_BITMAP_BUSY | DIRTY_BITMAP_READONLY, error)) {
        return false;
    }
    /* Nobody else may use it until it is gone. */
    dirty_bitmap_set_flags(action->bitmap, DIRTY_BITMAP_BUSY, 0);
    return true;
}

void bitmap_action_undo_remove(MonitorSession *session, Action *action)
{
    dirty_bitmap_set_flags(action->bitmap, 0, DIRTY_BITMAP_BUSY);
}

void bitmap_action_commit_remove(MonitorSession *session, Action *action)
{
    g_autoptr(GError) error = NULL;
    dirty_bitmap_set_flags(action->bitmap, 0, DIRTY_BITMAP_BUSY);
    if (!block_bitmap_remove(action->node, dirty_bitmap_name(action->bitmap), &error)) {
        log_warn("%s", error->message);
    }
}

static bool keep_content(Action *action, GError **error)
{
    action->content = dirty_bitmap_copy(action->bitmap);
    if (!action->content) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "no memory for a copy of '%s'",
                    dirty_bitmap_name(action->bitmap));
    }
    return action->content != NULL;
}

void bitmap_action_undo_content(MonitorSession *session, Action *action)
{
    dirty_bitmap_restore(action->bitmap, action->content);
}

bool bitmap_action_clear(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    if (!take_node(session, action, data, error) ||
        !find_bitmap(action, data, BLOCK_BITMAP_REFUSE_CONST, error) ||
        !keep_content(action, error)) {
        return false;
    }
    dirty_bitmap_clear(action->bitmap);
    return true;
}

static bool set_recording(MonitorSession *session, Action *action, JsonObject *data, bool records,
                          GError **error)
{
    if (!take_node(session, action, data, error) ||
        !find_bitmap(action, data, BLOCK_BITMAP_REFUSE_UNSTABLE, error)) {
        return false;
    }
    action->was_recording = dirty_bitmap_flags(action->bitmap) & DIRTY_BITMAP_RECORDING;
    return block_bitmap_enable(action->node, qmp_text(data, "name"), records, error);
}

bool bitmap_action_enable(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    return set_recording(session, action, data, true, error);
}

bool bitmap_action_disable(MonitorSession *session, Action *action, JsonObject *data,
                           GError **error)
{
    return set_recording(session, action, data, false, error);
}

void bitmap_action_undo_recording(MonitorSession *session, Action *action)
{
    dirty_bitmap_set_flags(action->bitmap, action->was_recording ? DIRTY_BITMAP_RECORDING : 0,
                           action->was_recording ? 0 : DIRTY_BITMAP_RECORDING);
}

/* A source of a merge: the name of a bitmap of the same node, or "node" and "name". */
static bool merge_one(MonitorSession *session, Action *action, const char *target, JsonNode *source,
                      GError **error)
{
    BlockNode *from = action->node;
    if (json_node_get_value_type(source) == G_TYPE_STRING) {
        return block_bitmap_merge(from, target, from, json_node_get_string(source), error);
    }
    if (!JSON_NODE_HOLDS_OBJECT(source)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'bitmaps', expected: BlockDirtyBitmapOrStr");
        return false;
    }
    JsonObject *object = json_node_get_object(source);
    from =
        schema_check("node:str,name:str", object, error) ? find_node(session, object, error) : NULL;
    return from && block_bitmap_merge(action->node, target, from, qmp_text(object, "name"), error);
}

bool bitmap_action_merge(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    const char *target = qmp_text(data, "target");
    JsonArray *sources = json_object_get_array_member(data, "bitmaps");
    if (!take_node(session, action, data, error)) {
        return false;
    }
    DirtyBitmap *bitmap = block_bitmap_get(action->node, target, BLOCK_BITMAP_REFUSE_CONST, error);
    action->bitmap = bitmap ? dirty_bitmap_ref(bitmap) : NULL;
    bool ok = bitmap && keep_content(action, error);
    for (guint i = 0; ok && i < json_array_get_length(sources); i++) {
        ok = merge_one(session, action, target, json_array_get_element(sources, i), error);
    }
    if (!ok && action->content) {
        bitmap_action_undo_content(session, action);
    }
    return ok;
}

/* Commands: transactions of one action */

JsonNode *qmp_run_bitmap_add(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "block-dirty-bitmap-add", arguments, error);
    return NULL;
}

/* Not as an action, whose commit could only log an error. */
JsonNode *qmp_run_bitmap_remove(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockNode *node = find_node(session, arguments, error);
    if (node) {
        block_bitmap_remove(node, qmp_text(arguments, "name"), error);
    }
    return NULL;
}

JsonNode *qmp_run_bitmap_clear(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "block-dirty-bitmap-clear", arguments, error);
    return NULL;
}

JsonNode *qmp_run_bitmap_enable(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "block-dirty-bitmap-enable", arguments, error);
    return NULL;
}

JsonNode *qmp_run_bitmap_disable(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "block-dirty-bitmap-disable", arguments, error);
    return NULL;
}

JsonNode *qmp_run_bitmap_merge(MonitorSession *session, JsonObject *arguments, GError **error)
{
    qmp_run_action(session, "block-dirty-bitmap-merge", arguments, error);
    return NULL;
}

/* Lists */

static JsonObject *bitmap_object(DirtyBitmap *bitmap)
{
    unsigned flags = dirty_bitmap_flags(bitmap);
    JsonObject *object = json_object_new();
    if (dirty_bitmap_name(bitmap)) {
        json_object_set_string_member(object, "name", dirty_bitmap_name(bitmap));
    }
    json_object_set_boolean_member(object, "recording", (flags & DIRTY_BITMAP_RECORDING) != 0);
    json_object_set_boolean_member(object, "persistent", (flags & DIRTY_BITMAP_PERSISTENT) != 0);
    json_object_set_boolean_member(object, "busy", (flags & DIRTY_BITMAP_BUSY) != 0);
    if (flags & DIRTY_BITMAP_INCONSISTENT) {
        json_object_set_boolean_member(object, "inconsistent", TRUE);
    }
    json_object_set_int_member(object, "granularity", dirty_bitmap_granularity(bitmap));
    json_object_set_int_member(object, "count", (gint64)dirty_bitmap_count(bitmap));
    return object;
}

void qmp_put_bitmaps(JsonObject *object, const BlockNode *node)
{
    DirtyBitmap *bitmap;
    JsonArray *list = json_array_new();
    unsigned count = 0;
    while (block_node_bitmap(node, count)) {
        count++;
    }
    for (; count > 0 && (bitmap = block_node_bitmap(node, count - 1)); count--) {
        json_array_add_object_element(list, bitmap_object(bitmap)); /* the latest first */
    }
    if (json_array_get_length(list)) {
        json_object_set_array_member(object, "dirty-bitmaps", list);
    } else {
        json_array_unref(list);
    }
}
