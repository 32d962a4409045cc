/* QMP: commands that start jobs on nodes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/monitor/block.h"

#include <inttypes.h>
#include <string.h>

static const char *const on_errors[] = { "report", "ignore", "stop", "enospc", "auto", NULL };
static const char *const syncs[] = { "full", "top", "none", "incremental", "bitmap", NULL };

static JobErrorPolicy error_policy(JsonObject *arguments, const char *name)
{
    unsigned choice = qmp_choice(arguments, name, on_errors, JOB_ERROR_REPORT);
    return MIN(choice, JOB_ERROR_ENOSPC);
}

/* What all jobs take. @device: what the id is made of if none is given. */
static bool read_options(const MonitorSession *session, JsonObject *arguments, const char *device,
                         JobOptions *out, GError **error)
{
    BlockGraph *graph = qmp_graph(session, error);
    if (!graph) {
        return false;
    }
    *out = (JobOptions){
        .id = qmp_text(arguments, "job-id"),
        .keeps_pending = !qmp_flag(arguments, "auto-finalize", true),
        .keeps_concluded = !qmp_flag(arguments, "auto-dismiss", true),
    };
    const char *name = json_object_has_member(arguments, "on-error") ? "on-error" : NULL;
    out->on_source_error = error_policy(arguments, name ? name : "on-source-error");
    out->on_target_error = error_policy(arguments, name ? name : "on-target-error");
    if (!out->id && !block_graph_find_backend(graph, device)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "An explicit job ID is required for this node");
        return false;
    }
    out->id = out->id ? out->id : device;
    bool is_valid = str_is_id(out->id);
    if (!is_valid) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid job ID '%s'",
                    out->id);
    }
    return is_valid && qmp_size(arguments, "speed", &out->speed, error);
}

/* The image that a device shows, without filters that nobody asked for. */
static BlockNode *find_source(BlockGraph *graph, const char *device, GError **error)
{
    return block_skip_implicit(block_graph_find_device(graph, device, error));
}

/* In the chain of @root: a node by its name, or by the image's file name; *@out_node stays NULL if
 * neither is given. */
static bool find_in_chain(BlockGraph *graph, BlockNode *root, const char *name,
                          const char *filename, BlockNode **out_node, GError **error)
{
    *out_node = NULL;
    if (name && filename) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "a node ('%s') and its file name ('%s') cannot be specified at the same time",
                    name, filename);
        return false;
    }
    if (name) {
        *out_node = block_graph_find(graph, name, error);
        if (*out_node && !block_chain_contains(root, *out_node)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "'%s' is not in this backing file chain", name);
            *out_node = NULL;
        }
        return *out_node != NULL;
    }
    if (filename) {
        BlockNode *node = block_skip_filters(root);
        while (node && strcmp(block_node_filename(node), filename) != 0 &&
               g_strcmp0(node->backing_name, filename) != 0) {
            node = block_chain_next(node);
        }
        /* A name that an image gives its backing file means that one. */
        bool is_backing = node && strcmp(block_node_filename(node), filename) != 0;
        *out_node = is_backing ? block_chain_next(node) : node;
        if (!*out_node) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Can't find '%s' in the backing chain", filename);
        }
        return *out_node != NULL;
    }
    return true;
}

static JsonNode *start(Job *job)
{
    if (job) {
        job_start(job);
    }
    return NULL;
}

JsonNode *qmp_run_block_stream(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = qmp_text(arguments, "device");
    JobOptions options;
    BlockNode *base, *bottom;
    if (!read_options(session, arguments, device, &options, error)) {
        return NULL;
    }
    BlockGraph *graph = qmp_graph(session, error);
    BlockNode *node = block_skip_filters(find_source(graph, device, error));
    bool has_base = qmp_text(arguments, "base") || qmp_text(arguments, "base-node");
    if (node && has_base && qmp_text(arguments, "bottom")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'base' and 'bottom' cannot be specified at the same time");
        return NULL;
    }
    if (!node ||
        !find_in_chain(graph, node, qmp_text(arguments, "base-node"), qmp_text(arguments, "base"),
                       &base, error) ||
        !find_in_chain(graph, node, qmp_text(arguments, "bottom"), NULL, &bottom, error)) {
        return NULL;
    }
    base = bottom ? bottom->backing : base;
    if (!base && qmp_text(arguments, "backing-file")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "backing file specified, but streaming the entire chain");
        return NULL;
    }
    return start(job_stream_new(session->set->jobs, &options, node, base,
                                qmp_text(arguments, "backing-file"), error));
}

JsonNode *qmp_run_block_commit(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = qmp_text(arguments, "device");
    JobOptions options;
    BlockNode *top, *base;
    if (!read_options(session, arguments, device, &options, error)) {
        return NULL;
    }
    BlockGraph *graph = qmp_graph(session, error);
    GError *reason = NULL;
    BlockNode *root = find_source(graph, device, &reason);
    if (!root) {
        reason->code = LODGE_ERROR_NO_DEVICE; /* as its peers expect of this command */
        g_propagate_error(error, reason);
        return NULL;
    }
    if (!find_in_chain(graph, root, qmp_text(arguments, "top-node"), qmp_text(arguments, "top"),
                       &top, error) ||
        !find_in_chain(graph, root, qmp_text(arguments, "base-node"), qmp_text(arguments, "base"),
                       &base, error)) {
        return NULL;
    }
    top = top ? top : block_skip_filters(root); /* filters above the active image stay */
    for (BlockNode *node = base ? NULL : top; node; node = block_chain_next(node)) {
        base = node;
    }
    return start(job_commit_new(session->set->jobs, &options, top, base,
                                qmp_text(arguments, "backing-file"),
                                qmp_text(arguments, "filter-node-name"), error));
}

/* Mirrors */

static bool read_mirror(const MonitorSession *session, JsonObject *arguments, MirrorOptions *out,
                        GError **error)
{
    uint64_t granularity = 0, buffer = 0;
    const char *replaces = qmp_text(arguments, "replaces");
    const char *copy_mode = qmp_text(arguments, "copy-mode");
    out->sync = qmp_choice(arguments, "sync", syncs, JOB_SYNC_FULL);
    out->is_active = copy_mode && strcmp(copy_mode, "write-blocking") == 0;
    out->unmaps = qmp_flag(arguments, "unmap", true);
    out->filter_name = qmp_text(arguments, "filter-node-name");
    if (out->sync > JOB_SYNC_NONE) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "Sync mode '%s' not supported",
                    syncs[out->sync]);
        return false;
    }
    if (!qmp_size(arguments, "granularity", &granularity, error) ||
        !qmp_size(arguments, "buf-size", &buffer, error)) {
        return false;
    }
    if (granularity &&
        (granularity < 512 || granularity > 64 << 20 || (granularity & (granularity - 1)))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'granularity' expects a power of 2 in range [512B, 64MB]");
        return false;
    }
    out->granularity = (uint32_t)granularity;
    out->replaces = replaces ? block_graph_find(qmp_graph(session, error), replaces, error) : NULL;
    return !replaces || out->replaces;
}

JsonNode *qmp_run_blockdev_mirror(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = qmp_text(arguments, "device");
    JobOptions options;
    MirrorOptions mirror = { 0 };
    if (!read_options(session, arguments, device, &options, error) ||
        !read_mirror(session, arguments, &mirror, error)) {
        return NULL;
    }
    BlockGraph *graph = qmp_graph(session, error);
    BlockNode *source = find_source(graph, device, error);
    BlockNode *target =
        source ? block_graph_find_device(graph, qmp_text(arguments, "target"), error) : NULL;
    return start(target
                     ? job_mirror_new(session->set->jobs, &options, source, target, &mirror, error)
                     : NULL);
}

/* Targets of drive-... */

static bool create_image(const char *filename, const char *format, const BlockNode *source,
                         const BlockNode *backing, GError **error)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autofree char *size = g_strdup_printf("%" PRIu64, block_node_size(source));
    block_spec_set(options, "size", size);
    if (backing) {
        block_spec_set(options, "backing_file", block_node_filename(backing));
        block_spec_set(options, "backing_fmt", block_node_driver(backing));
    }
    return block_create(format, filename, options, error);
}

/* Makes the image if it is to be new, and opens it without its backing file. (transfer full) */
static BlockNode *open_image(const MonitorSession *session, const char *filename,
                             const char *format, bool is_new, const char *node_name,
                             const BlockNode *source, const BlockNode *backing, GError **error)
{
    if (is_new && !create_image(filename, format, source, backing, error)) {
        return NULL;
    }
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "filename", filename);
    json_object_set_string_member(object, "driver", "file");
    JsonObject *top = json_object_new();
    json_object_set_object_member(top, "file", object);
    json_object_set_string_member(top, "driver", format);
    if (block_node_flags(source) & BLOCK_OPEN_DISCARD) {
        json_object_set_string_member(top, "discard", "unmap");
    }
    if (node_name) {
        json_object_set_string_member(top, "node-name", node_name);
    }
    unsigned keeps = BLOCK_OPEN_DIRECT | BLOCK_OPEN_NO_FLUSH;
    unsigned flags =
        BLOCK_OPEN_WRITABLE | BLOCK_OPEN_NO_BACKING | (block_node_flags(source) & keeps);
    g_autoptr(BlockSpec) spec = qmp_block_spec(session, top, error);
    json_object_unref(top);
    return spec ? block_graph_open(qmp_graph(session, error), spec, flags, error) : NULL;
}

static bool is_new_image(JsonObject *arguments)
{
    return g_strcmp0(qmp_text(arguments, "mode"), "existing") != 0;
}

JsonNode *qmp_run_drive_mirror(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = qmp_text(arguments, "device");
    const char *format = qmp_text(arguments, "format");
    JobOptions options;
    MirrorOptions mirror = { 0 };
    if (!read_options(session, arguments, device, &options, error) ||
        !read_mirror(session, arguments, &mirror, error)) {
        return NULL;
    }
    BlockNode *source = find_source(qmp_graph(session, error), device, error);
    if (!source) {
        return NULL;
    }
    format = format ? format : is_new_image(arguments) ? block_node_driver(source) : "raw";
    mirror.backing = mirror.sync == JOB_SYNC_NONE  ? source
                     : mirror.sync == JOB_SYNC_TOP ? block_chain_next(source)
                                                   : NULL;
    BlockNode *target =
        open_image(session, qmp_text(arguments, "target"), format, is_new_image(arguments),
                   qmp_text(arguments, "node-name"), source, mirror.backing, error);
    Job *job = target ? job_mirror_new(session->set->jobs, &options, source, target, &mirror, error)
                      : NULL;
    block_node_unref(target);
    return start(job);
}

/* Backups */

static bool read_backup(JsonObject *arguments, BlockNode *source, BackupOptions *out,
                        GError **error)
{
    static const char *const modes[] = { "on-success", "never", "always", NULL };
    const char *name = qmp_text(arguments, "bitmap");
    out->sync = qmp_choice(arguments, "sync", syncs, JOB_SYNC_FULL);
    out->bitmap_mode = qmp_choice(arguments, "bitmap-mode", modes, JOB_BITMAP_ON_SUCCESS);
    out->is_compressed = qmp_flag(arguments, "compress", false);
    out->filter_name = qmp_text(arguments, "filter-node-name");
    bool wants_bitmap = out->sync == JOB_SYNC_INCREMENTAL || out->sync == JOB_SYNC_BITMAP;
    const char *sync = syncs[out->sync];
    if (wants_bitmap && !name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "must provide a valid bitmap name for '%s' sync mode", sync);
        return false;
    }
    if (name && !wants_bitmap) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "sync mode '%s' does not take a bitmap", sync);
        return false;
    }
    if (!name && qmp_text(arguments, "bitmap-mode")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Cannot specify bitmap sync mode without a bitmap");
        return false;
    }
    if ((out->sync == JOB_SYNC_BITMAP && !qmp_text(arguments, "bitmap-mode")) ||
        (out->sync == JOB_SYNC_INCREMENTAL && out->bitmap_mode != JOB_BITMAP_ON_SUCCESS)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Bitmap sync mode must be %s when using sync mode '%s'",
                    out->sync == JOB_SYNC_BITMAP ? "given" : "'on-success'", sync);
        return false;
    }
    for (BlockNode *node = name ? source : NULL; node && !out->bitmap;
         node = node->driver->is_filter ? node->file : NULL) {
        out->bitmap = block_node_find_bitmap(node, name);
    }
    if (name && !out->bitmap) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Bitmap '%s' could not be found", name);
    }
    return !name || out->bitmap;
}

static Job *new_backup(MonitorSession *session, JsonObject *arguments, bool is_drive,
                       GError **error)
{
    const char *device = qmp_text(arguments, "device"), *name = qmp_text(arguments, "target");
    const char *format = qmp_text(arguments, "format");
    JobOptions options;
    BackupOptions backup = { 0 };
    if (!read_options(session, arguments, device, &options, error)) {
        return NULL;
    }
    BlockGraph *graph = qmp_graph(session, error);
    BlockNode *source = find_source(graph, device, error);
    if (!source || !read_backup(arguments, source, &backup, error)) {
        return NULL;
    }
    BlockNode *target;
    if (is_drive) {
        BlockNode *backing = backup.sync == JOB_SYNC_NONE  ? source
                             : backup.sync == JOB_SYNC_TOP ? block_chain_next(source)
                                                           : NULL;
        format = format ? format : is_new_image(arguments) ? block_node_driver(source) : "raw";
        target = open_image(session, name, format, is_new_image(arguments), NULL, source, backing,
                            error);
        if (target && backing && target->driver->has_backing) {
            block_graph_set_backing(target, backing);
        }
    } else {
        target = block_graph_find_device(graph, name, error);
        target = target ? block_node_ref(target) : NULL;
    }
    Job *job = target ? job_backup_new(session->set->jobs, &options, source, target, &backup, error)
                      : NULL;
    block_node_unref(target);
    return job;
}

Job *qmp_new_backup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return new_backup(session, arguments, false, error);
}

Job *qmp_new_drive_backup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return new_backup(session, arguments, true, error);
}

JsonNode *qmp_run_blockdev_backup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return start(qmp_new_backup(session, arguments, error));
}

JsonNode *qmp_run_drive_backup(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return start(qmp_new_drive_backup(session, arguments, error));
}

/* blockdev-snapshot-sync */

BlockNode *qmp_make_overlay(MonitorSession *session, JsonObject *arguments, BlockNode **out_node,
                            GError **error)
{
    const char *device = qmp_text(arguments, "device");
    const char *name = qmp_text(arguments, "node-name");
    const char *format = qmp_text(arguments, "format");
    BlockGraph *graph = qmp_graph(session, error);
    if (!graph || (device != NULL) == (name != NULL)) {
        if (graph) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "either 'device' or 'node-name' is needed");
        }
        return NULL;
    }
    BlockNode *node =
        device ? find_source(graph, device, error) : block_graph_find(graph, name, error);
    const char *new_name = qmp_text(arguments, "snapshot-node-name");
    if (node && name && !new_name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "New overlay node-name missing");
        return NULL;
    }
    if (!node || !block_node_check_unclaimed(node, error) ||
        (new_name && !block_graph_is_free_name(graph, new_name, error))) {
        return NULL;
    }
    *out_node = node;
    return open_image(session, qmp_text(arguments, "snapshot-file"), format ? format : "qcow2",
                      is_new_image(arguments), new_name, node, block_skip_filters(node), error);
}
