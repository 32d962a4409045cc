/* QMP: disks by the name of their drive or device; their size and limits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/monitor/block.h"

#include <string.h>

/* Names */

char *qmp_disk_path(const MonitorTarget *target, const Device *user)
{
    g_autofree char *path = qmp_device_path(target, user);
    bool is_proxy = g_str_has_suffix(user->class->name, "-pci");
    return is_proxy ? g_strconcat(path, "/virtio-backend", NULL) : g_steal_pointer(&path);
}

/* Of a device: its id, or a path in QMP's tree of objects. */
static bool is_named(const MonitorTarget *target, const MonitorDisk *disk, const char *name)
{
    if (!disk->backend || !disk->user) {
        return false;
    }
    g_autofree char *path = qmp_device_path(target, disk->user);
    g_autofree char *inner = qmp_disk_path(target, disk->user);
    return !g_strcmp0(disk->user->id, name) || !strcmp(path, name) || !strcmp(inner, name);
}

/* Exactly one of @device (a drive) and @id (a device) is given. */
static bool find_disk(const MonitorTarget *target, const char *device, const char *id,
                      MonitorDisk *out, GError **error)
{
    if (!device == !id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Need exactly one of 'device' and 'id'");
        return false;
    }
    for (unsigned i = 0; target->disk(target->opaque, i, out); i++) {
        if (device ? *device && out->backend && !strcmp(out->device, device)
                   : is_named(target, out, id)) {
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Device '%s' not found",
                device ? device : id);
    return false;
}

/* Limits */

const char *const qmp_limit_names[THROTTLE_BUCKETS] = {
    [THROTTLE_BPS_TOTAL] = "bps",    [THROTTLE_BPS_READ] = "bps_rd",
    [THROTTLE_BPS_WRITE] = "bps_wr", [THROTTLE_OPS_TOTAL] = "iops",
    [THROTTLE_OPS_READ] = "iops_rd", [THROTTLE_OPS_WRITE] = "iops_wr",
};

static uint64_t number(JsonObject *arguments, const char *name, const char *suffix, gint64 fallback)
{
    g_autofree char *member = g_strconcat(name, suffix, NULL);
    return (uint64_t)json_object_get_int_member_with_default(arguments, member, fallback);
}

static bool read_limits(JsonObject *arguments, ThrottleConfig *out, GError **error)
{
    throttle_config_init(out);
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const char *name = qmp_limit_names[i];
        out->limits[i] =
            (ThrottleLimit){ number(arguments, name, "", 0), number(arguments, name, "_max", 0),
                             number(arguments, name, "_max_length", 1) };
    }
    out->operation_size = number(arguments, "iops_size", "", 0);
    const char *problem = throttle_config_problem(out);
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
    }
    return !problem;
}

/* The group whose limits the disk gets; it keeps the one that it has unless another is named. */
static bool set_limits(const MonitorTarget *target, const MonitorDisk *disk, const char *group,
                       const char *fallback, const ThrottleConfig *config, GError **error)
{
    ThrottleConfig before;
    const char *present = block_backend_get_throttle(disk->backend, &before);
    if (!throttle_config_is_active(config)) {
        return target->join_limits(target->opaque, disk, NULL, error);
    }
    const char *wanted = group ? group : present ? present : fallback;
    if (!target->join_limits(target->opaque, disk, wanted, error)) {
        return false;
    }
    block_backend_set_throttle(disk->backend, config);
    return true;
}

JsonNode *qmp_run_block_set_io_throttle(MonitorSession *session, JsonObject *arguments,
                                        GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *device = qmp_text(arguments, "device"), *id = qmp_text(arguments, "id");
    const char *group = qmp_text(arguments, "group");
    ThrottleConfig config;
    MonitorDisk disk;
    if (find_disk(target, device, id, &disk, error) && read_limits(arguments, &config, error)) {
        set_limits(target, &disk, group, device ? device : id, &config, error);
    }
    return NULL;
}

/* Sizes */

/* The disk that shows @node, through filters if there are any; NULL: none. */
static BlockBackend *find_disk_of(const MonitorTarget *target, const BlockNode *node)
{
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (disk.backend && block_skip_filters(block_backend_node(disk.backend)) == node) {
            return disk.backend;
        }
    }
    return NULL;
}

static void resize_node(const MonitorTarget *target, const char *name, uint64_t bytes,
                        GError **error)
{
    BlockNode *node = block_graph_find(target->graph, name, error);
    BlockBackend *backend = node ? find_disk_of(target, block_skip_filters(node)) : NULL;
    if (backend) {
        block_backend_resize(backend, bytes, error);
    } else if (node && block_node_check_unclaimed(node, error) &&
               block_graph_check_resize(target->graph, node, error)) {
        block_truncate(node, bytes, BLOCK_PREALLOCATION_OFF, error);
    }
}

JsonNode *qmp_run_block_resize(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = qmp_text(arguments, "device"), *name = qmp_text(arguments, "node-name");
    gint64 bytes = json_object_get_int_member(arguments, "size");
    const MonitorTarget *target = &session->set->target;
    MonitorDisk disk;
    if (bytes < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'size' expects a >0 size");
    } else if (!device && name && target->graph) {
        resize_node(target, name, (uint64_t)bytes, error);
    } else if (!device || name || !find_disk(target, device, NULL, &disk, NULL)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Cannot find device='%s' nor node-name='%s'", device ? device : "",
                    name ? name : "");
    } else {
        block_backend_resize(disk.backend, (uint64_t)bytes, error);
    }
    return NULL;
}
