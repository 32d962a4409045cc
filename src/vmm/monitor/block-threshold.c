/* QMP: block-set-write-threshold and its event.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/monitor/block.h"

typedef struct Mark {
    MonitorSet *set;
    char *node;
    uint64_t offset, excess;
} Mark;

static void mark_free(void *opaque)
{
    Mark *mark = opaque;
    g_free(mark->node);
    g_free(mark);
}

/* The loop's thread. */
static void tell(void *opaque)
{
    const Mark *mark = opaque;
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "node-name", mark->node);
    json_object_set_int_member(data, "amount-exceeded", (gint64)mark->excess);
    json_object_set_int_member(data, "write-threshold", (gint64)mark->offset);
    monitor_emit_data(mark->set, "BLOCK_WRITE_THRESHOLD", data);
    mark_free(opaque);
}

/* Any thread. */
static void on_passed(void *opaque, uint64_t excess)
{
    Mark *mark = opaque;
    mark->excess = excess;
    if (loop_call(mark->set->loop, tell, mark) < 0) {
        log_error("out of memory: nobody hears that node '%s' passed its threshold", mark->node);
        mark_free(mark);
    }
}

JsonNode *qmp_run_write_threshold(MonitorSession *session, JsonObject *arguments, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    const char *name = qmp_text(arguments, "node-name");
    uint64_t offset = 0;
    BlockNode *node = graph && qmp_size(arguments, "write-threshold", &offset, error)
                          ? block_graph_find(graph, name, error)
                          : NULL;
    if (!node) {
        return NULL;
    }
    Mark *mark = g_new0(Mark, 1);
    *mark = (Mark){ session->set, g_strdup(name), offset, 0 };
    BlockThreshold threshold = { offset, on_passed, mark_free, mark };
    block_node_set_write_threshold(node, &threshold);
    return NULL;
}
