/* What images say of themselves.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"

static GArray *facts_new(void);

static void clear_fact(gpointer opaque)
{
    BlockFact *fact = opaque;
    g_free(fact->text);
    g_clear_pointer(&fact->list, g_ptr_array_unref);
}

static void clear_snapshot(gpointer opaque)
{
    BlockSnapshot *snapshot = opaque;
    g_free(snapshot->id);
    g_free(snapshot->name);
}

static GArray *facts_new(void)
{
    GArray *facts = g_array_new(FALSE, TRUE, sizeof(BlockFact));
    g_array_set_clear_func(facts, clear_fact);
    return facts;
}

void block_fact_text(GArray *facts, const char *name, const char *text)
{
    BlockFact fact = { .name = name, .kind = BLOCK_FACT_TEXT, .text = g_strdup(text) };
    g_array_append_val(facts, fact);
}

void block_fact_number(GArray *facts, const char *name, int64_t number)
{
    BlockFact fact = { .name = name, .kind = BLOCK_FACT_NUMBER, .number = number };
    g_array_append_val(facts, fact);
}

void block_fact_bool(GArray *facts, const char *name, bool value)
{
    BlockFact fact = { .name = name, .kind = BLOCK_FACT_BOOL, .number = value };
    g_array_append_val(facts, fact);
}

GPtrArray *block_fact_list(GArray *facts, const char *name)
{
    BlockFact fact = { .name = name, .kind = BLOCK_FACT_LIST };
    fact.list = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
    g_array_append_val(facts, fact);
    return fact.list;
}

GArray *block_fact_list_add(GPtrArray *list)
{
    GArray *facts = facts_new();
    g_ptr_array_add(list, facts);
    return facts;
}

GArray *block_fact_object(GArray *facts, const char *name)
{
    GPtrArray *list = block_fact_list(facts, name);
    g_array_index(facts, BlockFact, facts->len - 1).kind = BLOCK_FACT_OBJECT;
    return block_fact_list_add(list);
}

bool block_get_info(BlockNode *node, BlockInfo *out_info, GError **error)
{
    *out_info = (BlockInfo){
        .format = node->driver->name,
        .virtual_size = block_node_size(node),
        .facts = facts_new(),
        .snapshots = g_array_new(FALSE, TRUE, sizeof(BlockSnapshot)),
    };
    g_array_set_clear_func(out_info->snapshots, clear_snapshot);
    block_node_lock_alone(node);
    bool ok = !node->driver->get_info || node->driver->get_info(node, out_info, error);
    pthread_rwlock_unlock(&node->lock);
    if (!ok) {
        block_info_clear(out_info);
        return false;
    }
    out_info->backing_filename = g_strdup(node->backing_name);
    out_info->backing_format = g_strdup(node->backing_format);
    if (node->backing_name) {
        out_info->full_backing_filename = block_backing_path(node->filename, node->backing_name);
    }
    return true;
}

void block_info_clear(BlockInfo *info)
{
    g_clear_pointer(&info->backing_filename, g_free);
    g_clear_pointer(&info->backing_format, g_free);
    g_clear_pointer(&info->full_backing_filename, g_free);
    g_clear_pointer(&info->facts, g_array_unref);
    g_clear_pointer(&info->snapshots, g_array_unref);
}

bool block_node_is_blank(BlockNode *node)
{
    const File *file = block_node_below_file(node);
    BlockInfo info = { 0 };
    uint64_t size = block_node_size(node);
    if (!block_get_info(node, &info, NULL)) {
        return false;
    }
    bool is_encrypted = info.is_encrypted;
    block_info_clear(&info);
    /* A file is new, whatever of it is allocated already. */
    if (file && !file->is_block_device && !is_encrypted) {
        return true;
    }
    for (uint64_t offset = 0; offset < size;) {
        BlockStatus status;
        BlockNode *layer;
        unsigned depth;
        int rc = block_status_chain(node, NULL, offset, size - offset, &status, &layer, &depth);
        if (rc < 0 || !status.length || !(status.flags & BLOCK_STATUS_ZERO)) {
            return false;
        }
        offset += status.length;
    }
    return true;
}
