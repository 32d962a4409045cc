/* QMP: commands that look and change nothing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/cpu/model.h"
#include "vmm/monitor/block.h"

#include <errno.h>
#include <string.h>

/* The QEMU release whose QMP this one is like: peers choose what they say by it. */
#define QMP_MAJOR 7
#define QMP_MINOR 2
#define QMP_MICRO 0

JsonNode *qmp_take_object(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, object);
    return node;
}

JsonNode *qmp_take_array(JsonArray *array)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, array);
    return node;
}

JsonNode *qmp_string(const char *text)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(node, text);
    return node;
}

JsonObject *qmp_version_object(void)
{
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "major", QMP_MAJOR);
    json_object_set_int_member(object, "minor", QMP_MINOR);
    json_object_set_int_member(object, "micro", QMP_MICRO);
    return object;
}

JsonNode *qmp_query_version(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_object_member(object, "qemu", qmp_version_object());
    json_object_set_string_member(object, "package", "lodge-" LODGE_VERSION);
    return qmp_take_object(object);
}

JsonNode *qmp_query_status(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    const char *status = target->status(target->opaque);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "status", status);
    json_object_set_boolean_member(object, "singlestep", FALSE);
    json_object_set_boolean_member(object, "running", !strcmp(status, "running"));
    return qmp_take_object(object);
}

JsonNode *qmp_query_name(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    if (session->set->target.name) {
        json_object_set_string_member(object, "name", session->set->target.name);
    }
    return qmp_take_object(object);
}

JsonNode *qmp_query_uuid(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *uuid = session->set->target.uuid;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "UUID",
                                  uuid ? uuid : "00000000-0000-0000-0000-000000000000");
    return qmp_take_object(object);
}

JsonNode *qmp_query_kvm(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_boolean_member(object, "enabled", session->set->target.is_kvm);
    json_object_set_boolean_member(object, "present", session->set->target.has_kvm);
    return qmp_take_object(object);
}

JsonNode *qmp_query_target(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "arch", "x86_64");
    return qmp_take_object(object);
}

static JsonObject *cpu_props(const MonitorVcpu *vcpu)
{
    JsonObject *props = json_object_new();
    json_object_set_int_member(props, "core-id", vcpu->core);
    json_object_set_int_member(props, "thread-id", vcpu->thread);
    json_object_set_int_member(props, "die-id", vcpu->die);
    json_object_set_int_member(props, "socket-id", vcpu->socket);
    return props;
}

JsonNode *qmp_query_cpus_fast(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorVcpu vcpu;
    for (unsigned i = 0; target->vcpu(target->opaque, i, &vcpu); i++) {
        g_autofree char *path = g_strdup_printf("/machine/unattached/device[%u]", i);
        JsonObject *object = json_object_new();
        json_object_set_int_member(object, "thread-id", vcpu.thread_id);
        json_object_set_object_member(object, "props", cpu_props(&vcpu));
        json_object_set_string_member(object, "qom-path", path);
        json_object_set_int_member(object, "cpu-index", i);
        json_object_set_string_member(object, "target", "x86_64");
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

static void set_optional_text(JsonObject *object, const char *name, const char *text)
{
    if (text) {
        json_object_set_string_member(object, name, text);
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
        if (info.cluster_size) {
            json_object_set_int_member(image, "cluster-size", (gint64)info.cluster_size);
        }
        json_object_set_boolean_member(image, "dirty-flag", info.is_dirty);
        set_optional_text(image, "backing-filename", info.backing_filename);
        set_optional_text(image, "full-backing-filename", info.full_backing_filename);
        set_optional_text(image, "backing-filename-format", info.backing_format);
        block_info_clear(&info);
    }
    if (block_node_backing(node)) {
        json_object_set_object_member(image, "backing-image",
                                      image_object(block_node_backing(node)));
    }
    return image;
}

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

/* In the order of ThrottleBucketKind. */
static const char *const limit_names[] = {
    "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"
};

static void set_limits(JsonObject *object, BlockBackend *backend)
{
    ThrottleConfig config;
    throttle_config_init(&config);
    if (backend) {
        block_backend_get_throttle(backend, &config);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(limit_names); i++) {
        const ThrottleLimit *limit = &config.limits[i];
        json_object_set_int_member(object, limit_names[i], (gint64)limit->average);
        if (limit->burst) {
            g_autofree char *burst = g_strconcat(limit_names[i], "_max", NULL);
            g_autofree char *time = g_strconcat(limit_names[i], "_max_length", NULL);
            json_object_set_int_member(object, burst, (gint64)limit->burst);
            json_object_set_int_member(object, time, (gint64)limit->burst_time);
        }
    }
    if (backend && block_backend_limits_name(backend)) {
        json_object_set_string_member(object, "group", block_backend_limits_name(backend));
    }
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
    json_object_set_string_member(object, "detect_zeroes", "off");
    json_object_set_int_member(object, "write_threshold", (gint64)block_node_write_threshold(node));
    set_limits(object, backend);
    json_object_set_object_member(object, "image", image_object(node));
    BlockCache cache = backend ? block_backend_cache(backend) : cache_of(node);
    json_object_set_object_member(object, "cache", cache_object(cache));
    qmp_put_bitmaps(object, node);
    return object;
}

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

JsonNode *qmp_query_block(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "device", disk.device);
        if (disk.qdev) {
            json_object_set_string_member(object, "qdev", disk.qdev);
        }
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

static BlockBackend *find_disk(const MonitorTarget *target, const char *name)
{
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (disk.backend && (!g_strcmp0(disk.device, name) || !g_strcmp0(disk.qdev, name) ||
                             !g_strcmp0(block_backend_id(disk.backend), name))) {
            return disk.backend;
        }
    }
    return NULL;
}

static void read_limits(JsonObject *arguments, ThrottleConfig *out)
{
    throttle_config_init(out);
    for (unsigned i = 0; i < G_N_ELEMENTS(limit_names); i++) {
        g_autofree char *burst = g_strconcat(limit_names[i], "_max", NULL);
        g_autofree char *time = g_strconcat(limit_names[i], "_max_length", NULL);
        ThrottleLimit *limit = &out->limits[i];
        limit->average =
            (uint64_t)json_object_get_int_member_with_default(arguments, limit_names[i], 0);
        limit->burst = (uint64_t)json_object_get_int_member_with_default(arguments, burst, 0);
        limit->burst_time = (uint64_t)json_object_get_int_member_with_default(arguments, time, 1);
    }
    out->operation_size =
        (uint64_t)json_object_get_int_member_with_default(arguments, "iops_size", 0);
}

JsonNode *qmp_run_block_set_io_throttle(MonitorSession *session, JsonObject *arguments,
                                        GError **error)
{
    const char *device = json_object_get_string_member_with_default(arguments, "device", NULL);
    const char *name = json_object_get_string_member_with_default(arguments, "id", device);
    BlockBackend *backend = name ? find_disk(&session->set->target, name) : NULL;
    const char *group = json_object_get_string_member_with_default(arguments, "group", name);
    ThrottleConfig config;
    read_limits(arguments, &config);
    const char *problem = throttle_config_problem(&config);
    if (!backend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "Device '%s' not found",
                    name ? name : "");
    } else if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
    } else if (strcmp(group, name) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Disk '%s' cannot share the limits of group '%s': only a throttle-group "
                    "object and the driver 'throttle' have groups",
                    name, group);
    } else {
        block_backend_set_throttle(backend, &config);
    }
    return NULL;
}

/* The disk whose image is @node; NULL: none. */
static BlockBackend *find_disk_of(const MonitorTarget *target, const BlockNode *node)
{
    MonitorDisk disk;
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (disk.backend && block_skip_implicit(block_backend_node(disk.backend)) == node) {
            return disk.backend;
        }
    }
    return NULL;
}

static void resize_node(const MonitorTarget *target, const char *name, uint64_t bytes,
                        GError **error)
{
    BlockNode *node = block_graph_find(target->graph, name, error);
    BlockBackend *backend = node ? find_disk_of(target, node) : NULL;
    if (backend) {
        block_backend_resize(backend, bytes, error);
    } else if (node && block_node_check_unclaimed(node, error)) {
        block_truncate(node, bytes, BLOCK_PREALLOCATION_OFF, error);
    }
}

JsonNode *qmp_run_block_resize(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *device = json_object_get_string_member_with_default(arguments, "device", NULL);
    const char *name = json_object_get_string_member_with_default(arguments, "node-name", NULL);
    gint64 bytes = json_object_get_int_member(arguments, "size");
    const MonitorTarget *target = &session->set->target;
    BlockBackend *backend = device ? find_disk(target, device) : NULL;
    if (bytes < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'size' expects a >0 size");
    } else if (!device && name && target->graph) {
        resize_node(target, name, (uint64_t)bytes, error);
    } else if (!backend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "Cannot find device='%s' nor node-name='%s'", device ? device : "",
                    name ? name : "");
    } else {
        block_backend_resize(backend, (uint64_t)bytes, error);
    }
    return NULL;
}

static JsonObject *stats_object(BlockBackend *backend)
{
    static const struct {
        BlockOp op;
        const char *bytes, *operations, *failed;
    } rows[] = {
        { BLOCK_OP_READ, "rd_bytes", "rd_operations", "failed_rd_operations" },
        { BLOCK_OP_WRITE, "wr_bytes", "wr_operations", "failed_wr_operations" },
        { BLOCK_OP_FLUSH, NULL, "flush_operations", "failed_flush_operations" },
        { BLOCK_OP_DISCARD, "unmap_bytes", "unmap_operations", "failed_unmap_operations" },
    };
    BlockStats stats;
    block_backend_get_stats(backend, &stats);
    JsonObject *object = json_object_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        BlockOp op = rows[i].op;
        if (rows[i].bytes) {
            json_object_set_int_member(object, rows[i].bytes, (gint64)stats.bytes[op]);
        }
        json_object_set_int_member(object, rows[i].operations, (gint64)stats.operations[op]);
        json_object_set_int_member(object, rows[i].failed, (gint64)stats.failed[op]);
    }
    return object;
}

JsonNode *qmp_query_blockstats(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorDisk disk;
    if (target->graph) {
        g_ptr_array_unref(block_graph_nodes(target->graph)); /* all have names after it */
    }
    for (unsigned i = 0; target->disk(target->opaque, i, &disk); i++) {
        if (!disk.backend) {
            continue;
        }
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "device", disk.device);
        if (disk.qdev) {
            json_object_set_string_member(object, "qdev", disk.qdev);
        }
        const BlockNode *node = block_skip_implicit(block_backend_node(disk.backend));
        const BlockNode *file = block_node_file(node);
        set_optional_text(object, "node-name", block_node_name(node));
        json_object_set_object_member(object, "stats", stats_object(disk.backend));
        if (file) {
            JsonObject *parent = json_object_new();
            set_optional_text(parent, "node-name", block_node_name(file));
            json_object_set_object_member(object, "parent", parent);
        }
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_chardev(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    CharBackend *backend;
    for (unsigned i = 0; (backend = target->chardev(target->opaque, i)); i++) {
        g_autofree char *where = char_describe(backend);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "label", backend->id);
        json_object_set_string_member(object, "filename", where);
        json_object_set_boolean_member(object, "frontend-open", backend->has_frontend);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_machines(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorMachineType type;
    for (unsigned i = 0; target->machine(target->opaque, i, &type); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", type.name);
        if (type.alias) {
            json_object_set_string_member(object, "alias", type.alias);
        }
        if (type.is_default) {
            json_object_set_boolean_member(object, "is-default", TRUE);
        }
        json_object_set_int_member(object, "cpu-max", type.vcpus_max);
        json_object_set_boolean_member(object, "hotpluggable-cpus", FALSE);
        json_object_set_boolean_member(object, "numa-mem-supported", FALSE);
        json_object_set_boolean_member(object, "deprecated", FALSE);
        json_object_set_boolean_member(object, "acpi", TRUE);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Names of what the model asks for and cannot have here. */
static JsonArray *unavailable_features(const MonitorTarget *target, const char *name)
{
    CpuFeatureSet features, missing;
    JsonArray *array = json_array_new();
    if (target->cpu_features(target->opaque, name, &features, &missing, NULL)) {
        for (unsigned i = 0; i < CPU_WORDS * 32; i++) {
            if (cpu_feature_has(&missing, i) && cpu_feature_name(i)) {
                json_array_add_string_element(array, cpu_feature_name(i));
            }
        }
    }
    return array;
}

JsonNode *qmp_query_cpu_definitions(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    const CpuModel *model;
    for (unsigned i = 0; (model = cpu_model_at(i)); i++) {
        const char *name = cpu_model_name(model);
        g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", name);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", name);
        json_object_set_string_member(object, "typename", type);
        json_object_set_array_member(object, "unavailable-features",
                                     unavailable_features(&session->set->target, name));
        json_object_set_boolean_member(object, "static", FALSE);
        json_object_set_boolean_member(object, "deprecated", FALSE);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_qom_list_types(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    bool wants_devices = true;
    if (json_object_has_member(arguments, "implements")) {
        const char *parent = json_object_get_string_member(arguments, "implements");
        wants_devices = !strcmp(parent, "device") || !strcmp(parent, "object");
    }
    for (DeviceFamily *const *family = session->set->target.device_families;
         wants_devices && *family; family++) {
        for (DeviceFamily *class = *family; *class; class ++) {
            JsonObject *object = json_object_new();
            json_object_set_string_member(object, "name", (*class)->name);
            json_object_set_string_member(object, "parent", "device");
            json_array_add_object_element(array, object);
        }
    }
    return qmp_take_array(array);
}

static const char *property_type(PropertyKind kind)
{
    switch (kind) {
    case PROPERTY_BOOL:
        return "bool";
    case PROPERTY_UINT:
        return "uint64";
    case PROPERTY_SIZE:
        return "size";
    case PROPERTY_ENUM:
    case PROPERTY_LINK:
    case PROPERTY_MAC:
    case PROPERTY_STRING:
        break;
    }
    return "str";
}

void qmp_append_property(JsonArray *array, const char *name, const char *type,
                         const char *description)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", name);
    json_object_set_string_member(object, "type", type);
    if (description) {
        json_object_set_string_member(object, "description", description);
    }
    json_array_add_object_element(array, object);
}

void qmp_append_class_properties(JsonArray *array, const Property *table)
{
    for (const Property *row = table; row && row->name; row++) {
        qmp_append_property(array, row->name, property_type(row->kind), row->help);
        if (row->fallback) {
            guint last = json_array_get_length(array) - 1;
            json_object_set_string_member(json_array_get_object_element(array, last),
                                          "default-value", row->fallback);
        }
    }
}

JsonNode *qmp_device_list_properties(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *name = json_object_get_string_member(arguments, "typename");
    const DeviceClass *class =
        device_registry_find(session->set->target.device_families, name, NULL);
    if (!class) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "Device '%s' not found", name);
        return NULL;
    }
    JsonArray *array = json_array_new();
    qmp_append_class_properties(array, class->properties);
    return qmp_take_array(array);
}

JsonNode *qmp_query_balloon(MonitorSession *session, JsonObject *arguments, GError **error)
{
    uint64_t bytes;
    if (!monitor_get_balloon(&session->set->target, &bytes, error)) {
        return NULL;
    }
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "actual", (gint64)bytes);
    return qmp_take_object(object);
}

/* All vCPUs are there from the start. */
JsonNode *qmp_query_hotpluggable_cpus(MonitorSession *session, JsonObject *arguments,
                                      GError **error)
{
    const MonitorTarget *target = &session->set->target;
    g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", target->cpu_model);
    JsonArray *array = json_array_new();
    MonitorVcpu vcpu;
    for (unsigned i = target->vcpu_count; i; i--) {
        target->vcpu(target->opaque, i - 1, &vcpu);
        g_autofree char *path = g_strdup_printf("/machine/unattached/device[%u]", i - 1);
        JsonObject *object = json_object_new();
        json_object_set_object_member(object, "props", cpu_props(&vcpu));
        json_object_set_int_member(object, "vcpus-count", 1);
        json_object_set_string_member(object, "qom-path", path);
        json_object_set_string_member(object, "type", type);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Disks are served by the main thread and the workers behind it. */
JsonNode *qmp_query_iothreads(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonArray *array = json_array_new();
    MonitorIothread thread;
    for (unsigned i = 0; target->iothread && target->iothread(target->opaque, i, &thread); i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", thread.id);
        json_object_set_int_member(object, "thread-id", thread.thread_id);
        json_object_set_int_member(object, "poll-max-ns", (gint64)thread.poll_max_ns);
        json_object_set_int_member(object, "poll-grow", (gint64)thread.poll_grow);
        json_object_set_int_member(object, "poll-shrink", (gint64)thread.poll_shrink);
        json_object_set_int_member(object, "aio-max-batch", (gint64)thread.batch);
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_memory_size(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "base-memory", (gint64)session->set->target.ram_bytes);
    json_object_set_int_member(object, "plugged-memory", 0);
    return qmp_take_object(object);
}

/* The properties of a model are the features that it gets here; "static" has no other answer. */
JsonNode *qmp_query_cpu_model_expansion(MonitorSession *session, JsonObject *arguments,
                                        GError **error)
{
    const MonitorTarget *target = &session->set->target;
    JsonObject *wanted = json_object_get_object_member(arguments, "model");
    const char *name = json_object_get_string_member(wanted, "name");
    CpuFeatureSet features, missing;
    if (!target->cpu_features(target->opaque, name, &features, &missing, error)) {
        return NULL;
    }
    JsonObject *props = json_object_new();
    const char *feature;
    for (unsigned i = 0; i < CPU_WORDS * 32; i++) {
        feature = cpu_feature_name(i);
        if (feature) {
            json_object_set_boolean_member(props, feature, cpu_feature_has(&features, i));
        }
    }
    JsonObject *model = json_object_new();
    json_object_set_string_member(model, "name", name);
    json_object_set_object_member(model, "props", props);
    JsonObject *object = json_object_new();
    json_object_set_object_member(object, "model", model);
    return qmp_take_object(object);
}
