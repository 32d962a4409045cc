/* QMP: what disks and nodes are, and what was done with them: query-block, query-blockstats and the
 * objects that other replies share with them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "gbase/error.h"
#include "vmm/monitor/block.h"

#include <errno.h>
#include <string.h>

static void set_optional_text(JsonObject *object, const char *name, const char *text)
{
    if (text) {
        json_object_set_string_member(object, name, text);
    }
}

/* Images */

static JsonObject *facts_object(const GArray *facts);

/* An element of a list: an object, or the only value of one. */
static void add_item(JsonArray *array, const GArray *facts)
{
    const BlockFact *first = facts->len ? &g_array_index(facts, BlockFact, 0) : NULL;
    if (first && !first->name) {
        json_array_add_string_element(array, first->text);
    } else {
        json_array_add_object_element(array, facts_object(facts));
    }
}

static JsonArray *facts_array(const GPtrArray *list)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < list->len; i++) {
        add_item(array, g_ptr_array_index(list, i));
    }
    return array;
}

/* What a format says of itself. */
static JsonObject *facts_object(const GArray *facts)
{
    JsonObject *object = json_object_new();
    for (guint i = 0; i < facts->len; i++) {
        const BlockFact *fact = &g_array_index(facts, BlockFact, i);
        switch (fact->kind) {
        case BLOCK_FACT_TEXT:
            json_object_set_string_member(object, fact->name, fact->text);
            break;
        case BLOCK_FACT_NUMBER:
            json_object_set_int_member(object, fact->name, fact->number);
            break;
        case BLOCK_FACT_BOOL:
            json_object_set_boolean_member(object, fact->name, fact->number != 0);
            break;
        case BLOCK_FACT_LIST:
            json_object_set_array_member(object, fact->name, facts_array(fact->list));
            break;
        case BLOCK_FACT_OBJECT:
            json_object_set_object_member(object, fact->name,
                                          facts_object(g_ptr_array_index(fact->list, 0)));
            break;
        }
    }
    return object;
}

static JsonArray *snapshots_array(const GArray *snapshots)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < snapshots->len; i++) {
        const BlockSnapshot *snapshot = &g_array_index(snapshots, BlockSnapshot, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", snapshot->id);
        json_object_set_string_member(object, "name", snapshot->name);
        json_object_set_int_member(object, "vm-state-size", (gint64)snapshot->vm_state_size);
        json_object_set_int_member(object, "date-sec", (gint64)snapshot->date_seconds);
        json_object_set_int_member(object, "date-nsec", snapshot->date_nanoseconds);
        json_object_set_int_member(object, "vm-clock-sec",
                                   (gint64)(snapshot->vm_clock_ns / NS_PER_SEC));
        json_object_set_int_member(object, "vm-clock-nsec",
                                   (gint64)(snapshot->vm_clock_ns % NS_PER_SEC));
        if (snapshot->icount != UINT64_MAX) {
            json_object_set_int_member(object, "icount", (gint64)snapshot->icount);
        }
        json_array_add_object_element(array, object);
    }
    return array;
}

static void put_info(JsonObject *image, const BlockInfo *info)
{
    if (info->cluster_size) {
        json_object_set_int_member(image, "cluster-size", (gint64)info->cluster_size);
    }
    if (info->is_encrypted) {
        json_object_set_boolean_member(image, "encrypted", TRUE);
    }
    json_object_set_boolean_member(image, "dirty-flag", info->is_dirty);
    set_optional_text(image, "backing-filename", info->backing_filename);
    set_optional_text(image, "full-backing-filename", info->full_backing_filename);
    set_optional_text(image, "backing-filename-format", info->backing_format);
    if (info->snapshots->len) {
        json_object_set_array_member(image, "snapshots", snapshots_array(info->snapshots));
    }
    if (info->facts->len) {
        JsonObject *specific = json_object_new();
        json_object_set_string_member(specific, "type", info->format);
        json_object_set_object_member(specific, "data", facts_object(info->facts));
        json_object_set_object_member(image, "format-specific", specific);
    }
}

/* An image and those behind it. */
static JsonObject *image_object(BlockNode *node)
{
    JsonObject *image = json_object_new();
    BlockInfo info;
    uint64_t usage;
    json_object_set_string_member(image, "filename", block_node_filename(node));
    json_object_set_string_member(image, "format", block_node_driver(node));
    json_object_set_int_member(image, "virtual-size", (gint64)block_node_size(node));
    if (block_node_disk_usage(node, &usage) == 0) {
        json_object_set_int_member(image, "actual-size", (gint64)usage);
    }
    if (block_get_info(node, &info, NULL)) {
        put_info(image, &info);
        block_info_clear(&info);
    }
    if (block_node_backing(node)) {
        json_object_set_object_member(image, "backing-image",
                                      image_object(block_node_backing(node)));
    }
    return image;
}

/* Nodes */

static int backing_depth(const BlockNode *node)
{
    int depth = 0;
    while ((node = block_node_backing(node))) {
        depth++;
    }
    return depth;
}

static JsonObject *cache_object(BlockCache cache)
{
    JsonObject *object = json_object_new();
    json_object_set_boolean_member(
        object, "writeback", cache != BLOCK_CACHE_WRITETHROUGH && cache != BLOCK_CACHE_DIRECTSYNC);
    json_object_set_boolean_member(object, "direct",
                                   cache == BLOCK_CACHE_NONE || cache == BLOCK_CACHE_DIRECTSYNC);
    json_object_set_boolean_member(object, "no-flush", cache == BLOCK_CACHE_UNSAFE);
    return object;
}

static void set_limits(JsonObject *object, BlockBackend *backend)
{
    ThrottleConfig config;
    throttle_config_init(&config);
    const char *group = backend ? block_backend_get_throttle(backend, &config) : NULL;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const char *name = qmp_limit_names[i];
        const ThrottleLimit *limit = &config.limits[i];
        json_object_set_int_member(object, name, (gint64)limit->average);
        if (limit->burst) {
            g_autofree char *burst = g_strconcat(name, "_max", NULL);
            g_autofree char *time = g_strconcat(name, "_max_length", NULL);
            json_object_set_int_member(object, burst, (gint64)limit->burst);
            json_object_set_int_member(object, time, (gint64)limit->burst_time);
        }
    }
    set_optional_text(object, "group", group);
    if (config.operation_size) {
        json_object_set_int_member(object, "iops_size", (gint64)config.operation_size);
    }
}

static BlockCache cache_of(const BlockNode *node)
{
    unsigned flags = block_node_flags(node);
    return flags & BLOCK_OPEN_NO_FLUSH ? BLOCK_CACHE_UNSAFE
           : flags & BLOCK_OPEN_DIRECT ? BLOCK_CACHE_NONE
                                       : BLOCK_CACHE_WRITEBACK;
}

JsonObject *qmp_block_device_object(BlockNode *node, BlockBackend *backend)
{
    static const char *const detect_zeroes[] = { "off", "on", "unmap" };
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "file", block_node_filename(node));
    json_object_set_boolean_member(object, "ro", !block_node_is_writable(node));
    set_optional_text(object, "node-name", block_node_name(node));
    json_object_set_string_member(object, "drv", block_node_driver(node));
    if (block_node_backing(node)) {
        json_object_set_string_member(object, "backing_file",
                                      block_node_filename(block_node_backing(node)));
    }
    json_object_set_int_member(object, "backing_file_depth", backing_depth(node));
    json_object_set_boolean_member(object, "encrypted", FALSE);
    json_object_set_string_member(object, "detect_zeroes", detect_zeroes[node->detect_zeroes]);
    json_object_set_int_member(object, "write_threshold", (gint64)block_node_write_threshold(node));
    set_limits(object, backend);
    json_object_set_object_member(object, "image", image_object(node));
    BlockCache cache = backend ? block_backend_cache(backend) : cache_of(node);
    json_object_set_object_member(object, "cache", cache_object(cache));
    qmp_put_bitmaps(object, node);
    return object;
}

/* Disks */

/* Of a disk: the topmost image, whatever works above it unseen. */
static JsonObject *inserted_object(BlockBackend *backend)
{
    JsonObject *object =
        qmp_block_device_object(block_skip_implicit(block_backend_node(backend)), backend);
    json_object_set_boolean_member(object, "ro", block_backend_is_readonly(backend));
    return object;
}

static const char *io_status(const BlockBackend *backend)
{
    int error = block_backend_io_error(backend);
    return error == 0 ? "ok" : error == ENOSPC || error == EDQUOT ? "nospace" : "failed";
}

static void set_user(JsonObject *object, const MonitorTarget *target, const MonitorDisk *disk)
{
    g_autofree char *path = disk->user ? qmp_disk_path(target, disk->user) : NULL;
    json_object_set_string_member(object, "device", disk->device);
    set_optional_text(object, "qdev", path);
}

JsonNode *qmp_query_block(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        JsonObject *object = json_object_new();
        set_user(object, target, &disk);
        json_object_set_string_member(object, "type", "unknown");
        json_object_set_boolean_member(object, "removable", disk.is_removable);
        json_object_set_boolean_member(object, "locked", FALSE);
        if (disk.backend) {
            json_object_set_string_member(object, "io-status", io_status(disk.backend));
            json_object_set_object_member(object, "inserted", inserted_object(disk.backend));
        }
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Statistics */

static void put_count(JsonObject *object, const char *before, const char *name, const char *after,
                      uint64_t value)
{
    g_autofree char *member = g_strconcat(before, name, after, NULL);
    json_object_set_int_member(object, member, (gint64)value);
}

static void put_operations(JsonObject *object, const BlockStats *stats)
{
    static const struct {
        BlockOp op;
        const char *name;
    } rows[] = {
        { BLOCK_OP_READ, "rd" },
        { BLOCK_OP_WRITE, "wr" },
        { BLOCK_OP_DISCARD, "unmap" },
        { BLOCK_OP_FLUSH, "flush" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        BlockOp op = rows[i].op;
        const char *name = rows[i].name;
        if (op != BLOCK_OP_FLUSH) {
            put_count(object, "", name, "_bytes", stats->bytes[op]);
            put_count(object, "", name, "_merged", 0);
        }
        put_count(object, "", name, "_operations", stats->operations[op]);
        put_count(object, "failed_", name, "_operations", stats->failed[op]);
        put_count(object, "invalid_", name, "_operations", stats->invalid[op]);
        put_count(object, "", name, "_total_time_ns", stats->time_ns[op]);
    }
}

/* Of a node alone: nobody counts its requests, they are those of the disk above. */
static JsonObject *counters_object(const BlockNode *node, const BlockStats *stats)
{
    static const BlockStats none = { .operations = { 0 } };
    JsonObject *object = json_object_new();
    put_operations(object, stats ? stats : &none);
    json_object_set_int_member(object, "wr_highest_offset",
                               (gint64)block_node_highest_offset(node));
    json_object_set_boolean_member(object, "account_invalid", stats != NULL);
    json_object_set_boolean_member(object, "account_failed", stats != NULL);
    json_object_set_array_member(object, "timed_stats", json_array_new());
    if (stats && stats->last_ns) {
        json_object_set_int_member(object, "idle_time_ns", clock_monotonic_ns() - stats->last_ns);
    }
    return object;
}

static void put_driver_counters(JsonObject *object, const BlockNode *node)
{
    BlockDiscards discards;
    if (!block_node_get_discards(node, &discards)) {
        return;
    }
    JsonObject *specific = json_object_new();
    json_object_set_string_member(specific, "driver", block_node_driver(node));
    json_object_set_int_member(specific, "discard-nb-ok", (gint64)discards.done);
    json_object_set_int_member(specific, "discard-nb-failed", (gint64)discards.failed);
    json_object_set_int_member(specific, "discard-bytes-ok", (gint64)discards.bytes);
    json_object_set_object_member(object, "driver-specific", specific);
}

/* A node with what is below it. @stats: of the disk, or NULL. */
static void put_node_stats(JsonObject *object, BlockNode *node, const BlockStats *stats,
                           bool with_backing)
{
    set_optional_text(object, "node-name", block_node_name(node));
    json_object_set_object_member(object, "stats", counters_object(node, stats));
    put_driver_counters(object, node);
    if (block_node_file(node)) {
        JsonObject *parent = json_object_new();
        put_node_stats(parent, block_node_file(node), NULL, with_backing);
        json_object_set_object_member(object, "parent", parent);
    }
    BlockNode *below = block_node_backing(node);
    if (with_backing && below) {
        JsonObject *backing = json_object_new();
        put_node_stats(backing, block_skip_implicit(below), NULL, true);
        json_object_set_object_member(object, "backing", backing);
    }
}

static JsonNode *query_node_stats(BlockGraph *graph)
{
    JsonArray *array = json_array_new();
    g_autoptr(GPtrArray) nodes = graph ? block_graph_nodes(graph) : g_ptr_array_new();
    for (guint i = 0; i < nodes->len; i++) {
        JsonObject *object = json_object_new();
        put_node_stats(object, g_ptr_array_index(nodes, i), NULL, false);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_blockstats(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    if (qmp_flag(arguments, "query-nodes", false)) {
        return query_node_stats(target->graph);
    }
    if (target->graph) {
        g_ptr_array_unref(block_graph_nodes(target->graph)); /* all have names after it */
    }
    JsonArray *array = json_array_new();
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (!disk.backend) {
            continue;
        }
        BlockStats stats;
        block_backend_get_stats(disk.backend, &stats);
        JsonObject *object = json_object_new();
        set_user(object, target, &disk);
        put_node_stats(object, block_skip_implicit(block_backend_node(disk.backend)), &stats, true);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}
