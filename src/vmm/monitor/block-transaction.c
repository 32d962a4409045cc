/* QMP "transaction": actions on disks that are done at one moment, all or none.
 *
 * No request of any disk is executed meanwhile. An action is done when it is prepared and can be
 * undone; what cannot (a job's start, freeing) is left to the commit.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/driver.h"
#include "gbase/error.h"
#include "vmm/monitor/block-action.h"

#include <string.h>

struct ActionClass {
    const char *type;
    const char *members; /* as in the table of commands */
    /* On failure nothing is left behind. */
    bool (*prepare)(MonitorSession *session, Action *action, JsonObject *data, GError **error);
    void (*commit)(MonitorSession *session, Action *action); /* NULL: nothing */
    void (*undo)(MonitorSession *session, Action *action);
};

/* Snapshots */

static bool put_overlay(MonitorSession *session, Action *action, BlockNode *node,
                        BlockNode *overlay, GError **error)
{
    if (!block_graph_snapshot(session->set->target.graph, node, overlay, error)) {
        return false;
    }
    action->node = block_node_ref(node);
    action->overlay = block_node_ref(overlay);
    return true;
}

static bool snapshot(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    BlockNode *node =
        graph ? block_skip_implicit(block_graph_find_device(graph, qmp_text(data, "node"), error))
              : NULL;
    BlockNode *overlay =
        node ? block_graph_find_device(graph, qmp_text(data, "overlay"), error) : NULL;
    return overlay && block_node_check_unclaimed(node, error) &&
           put_overlay(session, action, node, overlay, error);
}

static bool snapshot_sync(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    BlockNode *node = NULL;
    BlockNode *overlay = qmp_make_overlay(session, data, &node, error);
    bool ok = overlay && put_overlay(session, action, node, overlay, error);
    block_node_unref(overlay);
    return ok;
}

/* What is a backing file from here on is written by nobody, and others may use it as theirs. */
static void commit_snapshot(MonitorSession *session, Action *action)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = action->node;
    if (qmp_check_no_writers(session->set->target.graph, node, NULL) &&
        !block_reopen(node, block_node_flags(node) & ~(unsigned)BLOCK_OPEN_WRITABLE, &error)) {
        log_warn("'%s' stays open for writing: %s", block_node_filename(node), error->message);
    }
}

static void undo_snapshot(MonitorSession *session, Action *action)
{
    block_graph_undo_snapshot(session->set->target.graph, action->node, action->overlay);
}

/* Backups */

static bool backup(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    action->job = qmp_new_backup(session, data, error);
    return action->job != NULL;
}

static bool drive_backup(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    action->job = qmp_new_drive_backup(session, data, error);
    return action->job != NULL;
}

static void start_backup(MonitorSession *session, Action *action)
{
    job_start(action->job);
}

static void undo_backup(MonitorSession *session, Action *action)
{
    job_abandon(action->job);
}

static bool fail(MonitorSession *session, Action *action, JsonObject *data, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CANCELLED,
                "Transaction aborted using Abort action");
    return false;
}

#define BACKUP_MEMBERS                                                                             \
    "?job-id:str,device:str,target:str,sync:MirrorSyncMode,?speed:int,?bitmap:str,"                \
    "?bitmap-mode:BitmapSyncMode,?compress:bool,?on-source-error:BlockdevOnError,"                 \
    "?on-target-error:BlockdevOnError,?auto-finalize:bool,?auto-dismiss:bool,"                     \
    "?filter-node-name:str,?x-perf:any"

static const ActionClass classes[] = {
    { "abort", "", fail, NULL, NULL },
    { "block-dirty-bitmap-add",
      "node:str,name:str,?granularity:int,?persistent:bool,?disabled:bool", bitmap_action_add, NULL,
      bitmap_action_undo_add },
    { "block-dirty-bitmap-clear", "node:str,name:str", bitmap_action_clear, NULL,
      bitmap_action_undo_content },
    { "block-dirty-bitmap-disable", "node:str,name:str", bitmap_action_disable, NULL,
      bitmap_action_undo_recording },
    { "block-dirty-bitmap-enable", "node:str,name:str", bitmap_action_enable, NULL,
      bitmap_action_undo_recording },
    { "block-dirty-bitmap-merge", "node:str,target:str,bitmaps:[any]", bitmap_action_merge, NULL,
      bitmap_action_undo_content },
    { "block-dirty-bitmap-remove", "node:str,name:str", bitmap_action_remove,
      bitmap_action_commit_remove, bitmap_action_undo_remove },
    { "blockdev-backup", BACKUP_MEMBERS, backup, start_backup, undo_backup },
    { "blockdev-snapshot", "node:str,overlay:str", snapshot, commit_snapshot, undo_snapshot },
    { "blockdev-snapshot-sync",
      "?device:str,?node-name:str,snapshot-file:str,?snapshot-node-name:str,?format:str,"
      "?mode:NewImageMode",
      snapshot_sync, commit_snapshot, undo_snapshot },
    { "drive-backup", BACKUP_MEMBERS ",?format:str,?mode:NewImageMode", drive_backup, start_backup,
      undo_backup },
};

static const ActionClass *find_class(const char *type, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (g_strcmp0(classes[i].type, type) == 0) {
            return &classes[i];
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Parameter 'type' does not accept value '%s'", type ? type : "");
    return NULL;
}

static void clear_action(gpointer object)
{
    Action *action = object;
    block_node_unref(action->node);
    block_node_unref(action->overlay);
    dirty_bitmap_unref(action->bitmap);
    dirty_bitmap_unref(action->content);
}

static bool prepare(MonitorSession *session, GArray *actions, const char *type, JsonObject *data,
                    GError **error)
{
    const ActionClass *class = find_class(type, error);
    Action action = { .class = class };
    if (!class || !schema_check(class->members, data, error) ||
        !class->prepare(session, &action, data, error)) {
        clear_action(&action);
        return false;
    }
    g_array_append_val(actions, action);
    return true;
}

static GPtrArray *drain_all(BlockGraph *graph)
{
    GPtrArray *drained = g_ptr_array_new();
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        block_backend_drain_begin(backend);
        g_ptr_array_add(drained, backend);
    }
    return drained;
}

static void finish(MonitorSession *session, GArray *actions, bool ok)
{
    for (guint i = actions->len; !ok && i > 0; i--) {
        Action *action = &g_array_index(actions, Action, i - 1);
        action->class->undo(session, action);
    }
    for (guint i = 0; ok && i < actions->len; i++) {
        Action *action = &g_array_index(actions, Action, i);
        if (action->class->commit) {
            action->class->commit(session, action);
        }
    }
}

/* One element of the list: "type" and "data". */
static bool read_element(JsonNode *element, const char **out_type, JsonObject **out_data,
                         GError **error)
{
    if (!JSON_NODE_HOLDS_OBJECT(element)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'actions', expected: object");
        return false;
    }
    JsonObject *object = json_node_get_object(element);
    if (!schema_check("type:str,data:any", object, error)) {
        return false;
    }
    JsonNode *data = json_object_get_member(object, "data");
    if (!JSON_NODE_HOLDS_OBJECT(data)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid parameter type for 'data', expected: object");
        return false;
    }
    *out_type = json_object_get_string_member(object, "type");
    *out_data = json_node_get_object(data);
    return true;
}

typedef struct Elements {
    JsonArray *array; /* or: */
    const char *type; /* one action */
    JsonObject *data;
    bool is_grouped; /* jobs end together */
} Elements;

static void group_jobs(const GArray *actions)
{
    g_autoptr(GPtrArray) jobs = g_ptr_array_new();
    for (guint i = 0; i < actions->len; i++) {
        const Action *action = &g_array_index(actions, Action, i);
        if (action->job) {
            g_ptr_array_add(jobs, action->job);
        }
    }
    job_group((Job *const *)jobs->pdata, jobs->len);
}

/* What happens at once cannot be taken back when a job fails much later. */
static bool check_grouped(const Elements *elements, const char *type, GError **error)
{
    bool is_late =
        !strcmp(type, "blockdev-backup") || !strcmp(type, "drive-backup") || !strcmp(type, "abort");
    if (elements->is_grouped && !is_late && find_class(type, NULL)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Action '%s' does not support Transaction property completion-mode = grouped",
                    type);
        return false;
    }
    return true;
}

static bool run_all(MonitorSession *session, const Elements *elements, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    if (!graph) {
        return false;
    }
    g_autoptr(GArray) actions = g_array_new(FALSE, TRUE, sizeof(Action));
    g_array_set_clear_func(actions, clear_action);
    g_autoptr(GPtrArray) drained = drain_all(graph);
    guint count = elements->array ? json_array_get_length(elements->array) : 1;
    bool ok = true;
    for (guint i = 0; ok && i < count; i++) {
        const char *type = elements->type;
        JsonObject *data = elements->data;
        ok = (!elements->array ||
              read_element(json_array_get_element(elements->array, i), &type, &data, error)) &&
             check_grouped(elements, type, error) && prepare(session, actions, type, data, error);
    }
    if (ok && elements->is_grouped) {
        group_jobs(actions);
    }
    finish(session, actions, ok);
    for (guint i = 0; i < drained->len; i++) {
        block_backend_drain_end(g_ptr_array_index(drained, i));
    }
    return ok;
}

bool qmp_run_action(MonitorSession *session, const char *type, JsonObject *data, GError **error)
{
    return run_all(session, &(Elements){ .type = type, .data = data }, error);
}

JsonNode *qmp_run_transaction(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonNode *properties = json_object_get_member(arguments, "properties");
    if (properties && (!JSON_NODE_HOLDS_OBJECT(properties) ||
                       !schema_check("?completion-mode:ActionCompletionMode",
                                     json_node_get_object(properties), error))) {
        if (error && !*error) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Invalid parameter type for 'properties', expected: object");
        }
        return NULL;
    }
    const char *mode =
        properties ? qmp_text(json_node_get_object(properties), "completion-mode") : NULL;
    const Elements elements = { .array = json_object_get_array_member(arguments, "actions"),
                                .is_grouped = g_strcmp0(mode, "grouped") == 0 };
    run_all(session, &elements, error);
    return NULL;
}
