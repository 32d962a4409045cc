/* Procedures on disks: counters, sizes, limits, errors, thresholds.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/blocks.h"

#include "daemon/domain/change.h"
#include "daemon/domain/image-size.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"
#include "daemon/domain/runtime.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATS_TIMEOUT_MS 5000

/* Whether a QOM path has @alias among its words. */
static bool path_has(const char *path, const char *alias)
{
    g_auto(GStrv) words = g_strsplit(path, "/", -1);
    return g_strv_contains((const char *const *)words, alias);
}

JsonObject *block_find(JsonNode *node, const char *alias)
{
    JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_peer_element(array, i);
        const char *device = json_peer_string(object, "device");
        const char *qdev = json_peer_string(object, "qdev");
        if ((device && g_str_has_prefix(device, "drive-") && strcmp(device + 6, alias) == 0) ||
            (qdev && path_has(qdev, alias))) {
            return object;
        }
    }
    return NULL;
}

void block_read_counters(JsonNode *stats, JsonNode *blocks, const char *alias, DiskCounters *out)
{
    JsonObject *s = json_peer_object(block_find(stats, alias), "stats");
    JsonObject *inserted = json_peer_object(block_find(blocks, alias), "inserted");
    JsonObject *image = json_peer_object(inserted, "image");
    *out = (DiskCounters){
        .rd_ops = json_peer_int(s, "rd_operations", 0),
        .rd_bytes = json_peer_int(s, "rd_bytes", 0),
        .rd_ns = json_peer_int(s, "rd_total_time_ns", 0),
        .wr_ops = json_peer_int(s, "wr_operations", 0),
        .wr_bytes = json_peer_int(s, "wr_bytes", 0),
        .wr_ns = json_peer_int(s, "wr_total_time_ns", 0),
        .flush_ops = json_peer_int(s, "flush_operations", 0),
        .flush_ns = json_peer_int(s, "flush_total_time_ns", 0),
        .capacity = json_peer_int(image, "virtual-size", 0),
        .allocation = json_peer_int(s, "wr_highest_offset", 0),
    };
}

static JsonNode *ask(QmpClient *monitor, const char *command, GError **error)
{
    return qmp_client_call(monitor, command, NULL, -1, STATS_TIMEOUT_MS, error);
}

bool block_find_disk(Domain *domain, const char *name, char **out_alias, char **out_path,
                     GError **error)
{
    g_mutex_lock(&domain->lock);
    DomainDef *def = domain_def_locked(domain, error);
    DomainDisk *disk = def ? domain_def_find_disk(def, name) : NULL;
    if (disk) {
        *out_alias = g_strdup(disk->device.alias ?: "");
        *out_path = g_strdup(disk->source.path);
    } else if (def) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: invalid path %s not assigned to domain", name);
    }
    g_mutex_unlock(&domain->lock);
    return disk != NULL;
}

/* What all disks did together. */
static void sum_counters(Domain *domain, JsonNode *stats, DiskCounters *out)
{
    *out = (DiskCounters){ 0 };
    g_mutex_lock(&domain->lock);
    const XmlList *disks = domain->live ? &domain->live->devices[DEVICE_DISK] : NULL;
    for (unsigned i = 0; disks && i < disks->count; i++) {
        const DomainDisk *disk = disks->item[i];
        DiskCounters one;
        block_read_counters(stats, NULL, disk->device.alias, &one);
        out->rd_ops += one.rd_ops;
        out->rd_bytes += one.rd_bytes;
        out->rd_ns += one.rd_ns;
        out->wr_ops += one.wr_ops;
        out->wr_bytes += one.wr_bytes;
        out->wr_ns += one.wr_ns;
        out->flush_ops += one.flush_ops;
        out->flush_ns += one.flush_ns;
    }
    g_mutex_unlock(&domain->lock);
}

/* @name: a disk, or "" for all of them. */
static bool disk_counters(Domain *domain, const char *name, DiskCounters *out, GError **error)
{
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, error);
    if (!monitor || (*name && !block_find_disk(domain, name, &alias, &path, error))) {
        return false;
    }
    g_autoptr(JsonNode) stats = ask(monitor, "query-blockstats", error);
    if (!stats) {
        return false;
    }
    if (alias) {
        block_read_counters(stats, NULL, alias, out);
    } else {
        sum_counters(domain, stats, out);
    }
    return true;
}

bool handle_domain_block_stats(DaemonCall *call, const RemoteDomainBlockStatsArgs *args,
                               RemoteDomainBlockStatsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    DiskCounters counters;
    if (!domain || !disk_counters(domain, args->path, &counters, error)) {
        return false;
    }
    ret->rd_req = counters.rd_ops;
    ret->rd_bytes = counters.rd_bytes;
    ret->wr_req = counters.wr_ops;
    ret->wr_bytes = counters.wr_bytes;
    ret->errs = -1;
    return true;
}

bool handle_domain_block_stats_flags(DaemonCall *call, const RemoteDomainBlockStatsFlagsArgs *args,
                                     RemoteDomainBlockStatsFlagsRet *ret, GError **error)
{
    enum { FIELDS = 8 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    DiskCounters c;
    if (!domain || !daemon_check_flags(args->flags, 4, error) ||
        !disk_counters(domain, args->path, &c, error)) {
        return false;
    }
    ParamList list = { .arena = call_arena(call) };
    params_llong(&list, "wr_bytes", c.wr_bytes);
    params_llong(&list, "wr_operations", c.wr_ops);
    params_llong(&list, "rd_bytes", c.rd_bytes);
    params_llong(&list, "rd_operations", c.rd_ops);
    params_llong(&list, "flush_operations", c.flush_ops);
    params_llong(&list, "wr_total_times", c.wr_ns);
    params_llong(&list, "rd_total_times", c.rd_ns);
    params_llong(&list, "flush_total_times", c.flush_ns);
    ret->nparams = FIELDS;
    if (args->nparams > 0) {
        ret->params = list.items;
        ret->n_params = MIN(list.count, (uint32_t)args->nparams);
        ret->nparams = (int32_t)ret->n_params;
    }
    return true;
}

static DomainImageFormat format_of(Domain *domain, const char *name)
{
    g_mutex_lock(&domain->lock);
    DomainDef *def = domain_def_locked(domain, NULL);
    const DomainDisk *disk = def ? domain_def_find_disk(def, name) : NULL;
    DomainImageFormat format = disk ? disk->driver.format : 0;
    g_mutex_unlock(&domain->lock);
    return format;
}

bool handle_domain_get_block_info(DaemonCall *call, const RemoteDomainGetBlockInfoArgs *args,
                                  RemoteDomainGetBlockInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    if (!domain || !daemon_check_flags(args->flags, 0, error) ||
        !block_find_disk(domain, args->path, &alias, &path, error)) {
        return false;
    }
    ImageSizes sizes;
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: disk '%s' has no image: its drive is empty",
                         args->path);
        return false;
    }
    if (!image_size_physical(path, &sizes)) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot look at the image '%s': %s", path,
                         g_strerror(errno));
        return false;
    }
    bool is_active = domain_is_active(domain);
    g_autoptr(QmpClient) monitor = is_active ? domain_get_monitor(domain, NULL) : NULL;
    g_autoptr(JsonNode) blocks = monitor ? ask(monitor, "query-block", NULL) : NULL;
    DiskCounters counters = { 0 };
    if (blocks) {
        block_read_counters(NULL, blocks, alias, &counters);
    }
    if (counters.capacity > 0) {
        sizes.capacity = (uint64_t)counters.capacity;
    } else {
        image_size_look(path, domain_name(image_format, format_of(domain, args->path)), &sizes);
    }
    ret->physical = sizes.physical;
    ret->allocation = sizes.allocation;
    ret->capacity = sizes.capacity;
    return true;
}

bool handle_domain_get_disk_errors(DaemonCall *call, const RemoteDomainGetDiskErrorsArgs *args,
                                   RemoteDomainGetDiskErrorsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(QmpClient) monitor = domain ? domain_get_monitor(domain, error) : NULL;
    g_autoptr(JsonNode) blocks = monitor ? ask(monitor, "query-block", error) : NULL;
    if (!blocks) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    const XmlList *disks = domain->live ? &domain->live->devices[DEVICE_DISK] : NULL;
    unsigned count = disks ? disks->count : 0;
    ret->errors = arena_alloc_array(call_arena(call), count + 1, sizeof(*ret->errors));
    ret->nerrors = args->maxerrors == 0 ? (int32_t)count : 0;
    for (unsigned i = 0; ret->errors && i < count && ret->n_errors < args->maxerrors; i++) {
        const DomainDisk *disk = disks->item[i];
        JsonObject *block = block_find(blocks, disk->device.alias ?: "none");
        const char *status = json_peer_string(block, "io-status");
        if (status && strcmp(status, "ok") != 0) {
            RemoteDomainDiskError *item = &ret->errors[ret->n_errors++];
            item->disk = arena_strdup(call_arena(call), disk->target_dev);
            item->error = strcmp(status, "nospace") == 0 ? 2 : 1;
            ret->nerrors++;
        }
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

/* --- sizes --- */

enum { RESIZE_BYTES = 1 };

bool handle_domain_block_resize(DaemonCall *call, const RemoteDomainBlockResizeArgs *args,
                                GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    if (!domain || !daemon_check_flags(args->flags, RESIZE_BYTES, error)) {
        return false;
    }
    guint64 size = args->size;
    if (!(args->flags & RESIZE_BYTES)) {
        size = size > G_MAXINT64 / 1024 ? G_MAXUINT64 : size * 1024;
    }
    if (size == 0 || size > G_MAXINT64) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: size must be more than 0 and less than 8 EiB");
        return false;
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "resize", error);
    if (!monitor) {
        return false;
    }
    bool ok = block_find_disk(domain, args->disk, &alias, &path, error);
    if (ok) {
        g_autofree char *drive = g_strconcat("drive-", alias, NULL);
        /* Images are whole sectors. */
        ok = qmp_client_run(
            monitor, "block_resize",
            qmp_object("s:device", drive, "i:size", (gint64)((size + 511) & ~UINT64_C(511)), NULL),
            error);
    }
    domain_end_job(domain);
    return ok;
}

/* --- limits --- */

/* One limit. Those of a set replace each other: a total goes with no limit of reads or writes. */
typedef struct Limit {
    const char *field;  /* libvirt's name */
    const char *member; /* the monitor's */
    size_t offset;      /* in DomainIotune */
    unsigned set;
} Limit;

#define LIMIT(field, member, set)                                                                  \
    {                                                                                              \
#field, member, offsetof(DomainIotune, field), set                                         \
    }

static const Limit limits[] = {
    LIMIT(total_bytes_sec, "bps", 0),
    LIMIT(read_bytes_sec, "bps_rd", 0),
    LIMIT(write_bytes_sec, "bps_wr", 0),
    LIMIT(total_iops_sec, "iops", 1),
    LIMIT(read_iops_sec, "iops_rd", 1),
    LIMIT(write_iops_sec, "iops_wr", 1),
    LIMIT(total_bytes_sec_max, "bps_max", 2),
    LIMIT(read_bytes_sec_max, "bps_rd_max", 2),
    LIMIT(write_bytes_sec_max, "bps_wr_max", 2),
    LIMIT(total_iops_sec_max, "iops_max", 3),
    LIMIT(read_iops_sec_max, "iops_rd_max", 3),
    LIMIT(write_iops_sec_max, "iops_wr_max", 3),
    LIMIT(size_iops_sec, "iops_size", 4),
    LIMIT(total_bytes_sec_max_length, "bps_max_length", 5),
    LIMIT(read_bytes_sec_max_length, "bps_rd_max_length", 5),
    LIMIT(write_bytes_sec_max_length, "bps_wr_max_length", 5),
    LIMIT(total_iops_sec_max_length, "iops_max_length", 6),
    LIMIT(read_iops_sec_max_length, "iops_rd_max_length", 6),
    LIMIT(write_iops_sec_max_length, "iops_wr_max_length", 6),
};

enum { LIMIT_SETS = 7, LENGTH_SET = 5 };
enum { GROUP_NAME_PLACE = 13 }; /* the order that clients know: before the lengths */

static uint64_t *limit_value(DomainIotune *tune, const Limit *limit)
{
    return (uint64_t *)(void *)((char *)tune + limit->offset);
}

static bool has_limits(const DomainIotune *tune)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (*limit_value((DomainIotune *)(uintptr_t)tune, &limits[i])) {
            return true;
        }
    }
    return false;
}

static bool send_limits(QmpClient *monitor, const char *alias, const DomainIotune *tune,
                        GError **error)
{
    g_autofree char *drive = g_strconcat("drive-", alias, NULL);
    JsonObject *arguments = qmp_object("s:device", drive, "s:group", tune->group_name, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        uint64_t value = *limit_value((DomainIotune *)(uintptr_t)tune, &limits[i]);
        /* Rates must be told even where there is none; the rest must not. */
        if (value || limits[i].set < 2) {
            json_object_set_int_member(arguments, limits[i].member, (gint64)MIN(value, G_MAXINT64));
        }
    }
    return qmp_client_run(monitor, "block_set_io_throttle", arguments, error);
}

bool block_apply_limits(QmpClient *monitor, const DomainDisk *disk, GError **error)
{
    return !has_limits(&disk->iotune) ||
           send_limits(monitor, disk->device.alias, &disk->iotune, error);
}

static const Limit *find_limit(const char *field)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (strcmp(limits[i].field, field) == 0) {
            return &limits[i];
        }
    }
    return NULL;
}

static bool check_limits(DomainIotune *tune, GError **error)
{
    for (unsigned i = 0; i + 2 < LENGTH_SET * 3; i += 3) {
        if (limits[i].set == 4) {
            break;
        }
        if (*limit_value(tune, &limits[i]) &&
            (*limit_value(tune, &limits[i + 1]) || *limit_value(tune, &limits[i + 2]))) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: total and read/write of %s cannot be set at the "
                             "same time",
                             limits[i].field + strlen("total_"));
            return false;
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        if (*limit_value(tune, &limits[i + 6]) && !*limit_value(tune, &limits[i])) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: value '%s' cannot be set if '%s' is not "
                             "set",
                             limits[i + 6].field, limits[i].field);
            return false;
        }
    }
    return true;
}

/* Bursts below the rate: the guest's engine takes none. */
static bool check_bursts(DomainIotune *tune, GError **error)
{
    for (unsigned i = 0; i < 6; i++) {
        uint64_t burst = *limit_value(tune, &limits[i + 6]);
        if (burst && burst < *limit_value(tune, &limits[i])) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: value '%s' cannot be smaller than '%s'",
                             limits[i + 6].field, limits[i].field);
            return false;
        }
    }
    return true;
}

/* What QEMU takes. */
#define LIMIT_MAX G_GINT64_CONSTANT(1000000000000000)

/* Puts the parameters into @tune: a set of which one is named loses its others. */
static bool apply_params(DomainIotune *tune, const TypedParam *params, uint32_t n, GError **error)
{
    bool is_named[LIMIT_SETS] = { false };
    for (uint32_t p = 0; p < n; p++) {
        const Limit *limit = find_limit(params[p].field);
        int64_t value;
        bool is_group = strcmp(params[p].field, "group_name") == 0;
        if (is_group ? params[p].type != TYPED_PARAM_STRING
                     : !limit || !params_get_number(&params[p], &value) || value < 0) {
            return params_refuse(&params[p], limit || is_group, error);
        }
        if (!is_group && value > LIMIT_MAX) {
            daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                             "argument unsupported: block I/O throttle limit value must be no "
                             "more than %" G_GINT64_FORMAT " ('%s')",
                             LIMIT_MAX, params[p].field);
            return false;
        }
        if (limit) {
            is_named[limit->set] = true;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (is_named[limits[i].set]) {
            *limit_value(tune, &limits[i]) = 0;
        }
    }
    for (uint32_t p = 0; p < n; p++) {
        const Limit *limit = find_limit(params[p].field);
        int64_t value = 0;
        if (limit && params_get_number(&params[p], &value)) {
            *limit_value(tune, limit) = (uint64_t)value;
        } else {
            g_free(tune->group_name);
            tune->group_name = g_strdup(params[p].value.s);
        }
    }
    return check_limits(tune, error);
}

static DomainDisk *find_in(DomainDef *def, const char *name, GError **error)
{
    DomainDisk *disk = def ? domain_def_find_disk(def, name) : NULL;
    if (!disk) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: disk '%s' was not found in the domain's definition",
                         name);
    }
    return disk;
}

static bool tune_live(DomainChange *change, const RemoteDomainSetBlockIoTuneArgs *args,
                      GError **error)
{
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    DomainDisk *disk = find_in(domain->live, args->disk, error);
    g_autoptr(DomainDevice) copy = disk ? domain_device_copy(&disk->device) : NULL;
    g_mutex_unlock(&domain->lock);
    DomainDisk *wanted = (DomainDisk *)copy;
    if (!wanted || !apply_params(&wanted->iotune, args->params, args->n_params, error) ||
        !check_bursts(&wanted->iotune, error)) {
        return false;
    }
    if (!wanted->iotune.group_name && has_limits(&wanted->iotune)) {
        wanted->iotune.group_name = g_strconcat("drive-", wanted->device.alias, NULL);
    }
    if (!send_limits(change->monitor, wanted->device.alias, &wanted->iotune, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    disk = domain->live ? domain_def_find_disk(domain->live, wanted->target_dev) : NULL;
    if (disk) {
        g_free(disk->iotune.group_name);
        disk->iotune = wanted->iotune;
        wanted->iotune.group_name = NULL;
        domain_emit_tunables_locked(domain, "blkdeviotune.", disk->target_dev, args->params,
                                    args->n_params);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

bool handle_domain_set_block_io_tune(DaemonCall *call, const RemoteDomainSetBlockIoTuneArgs *args,
                                     GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error) ||
        !change_begin(&change, call, &args->dom, "iotune", args->flags, error)) {
        return false;
    }
    DomainDisk *kept = change.config ? find_in(change.config, args->disk, error) : NULL;
    bool ok = !change.config ||
              (kept && apply_params(&kept->iotune, args->params, args->n_params, error));
    ok = ok && change_store(&change, error) && (!change.monitor || tune_live(&change, args, error));
    return change_end(&change, ok);
}

/* Of the disk @name, or, where none is named, what a disk without limits has. */
static bool fill_limits(ParamList *list, DomainDef *def, const char *name, GError **error)
{
    DomainIotune none = { 0 };
    DomainDisk *disk = name ? find_in(def, name, error) : NULL;
    if (name && !disk) {
        return false;
    }
    DomainIotune *iotune = disk ? &disk->iotune : &none;
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (i == GROUP_NAME_PLACE) {
            params_string(list, "group_name", iotune->group_name ?: "");
        }
        params_ullong(list, limits[i].field, *limit_value(iotune, &limits[i]));
    }
    return true;
}

bool handle_domain_get_block_io_tune(DaemonCall *call, const RemoteDomainGetBlockIoTuneArgs *args,
                                     RemoteDomainGetBlockIoTuneRet *ret, GError **error)
{
    ParamList list;
    return domain_get_params(call, &args->dom, args->flags, fill_limits, args->disk, &list,
                             error) &&
           params_return(&list, args->nparams, &ret->params, &ret->n_params, &ret->nparams);
}

/* --- thresholds --- */

/* The name of the node whose file grows; NULL: the monitor does not name it. Borrowed. */
static const char *lowest_node(JsonObject *stats)
{
    const char *node = json_peer_string(json_peer_object(stats, "parent"), "node-name");
    return node ?: json_peer_string(stats, "node-name");
}

/* The name of the disk's node in the monitor (transfer full). */
static char *find_node(QmpClient *monitor, const char *alias, GError **error)
{
    g_autoptr(JsonNode) stats = ask(monitor, "query-blockstats", error);
    const char *node = stats ? lowest_node(block_find(stats, alias)) : NULL;
    if (stats && !node) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: the disk has no image, or its emulator no "
                         "thresholds");
    }
    return g_strdup(node);
}

static void emit_threshold_locked(Domain *domain, const DomainDisk *disk, guint64 threshold,
                                  guint64 excess)
{
    EventSubject subject = { domain->name, domain->uuid };
    RemoteDomainEventBlockThresholdMsg message = {
        .dev = disk->target_dev,
        .path = disk->source.path,
        .threshold = threshold,
        .excess = excess,
    };
    domain_to_wire_locked(domain, NULL, &message.dom);
    event_queue_emit(domain->service->daemon->events, REMOTE_PROC_DOMAIN_EVENT_BLOCK_THRESHOLD,
                     &subject, &message);
}

void block_threshold_passed(Domain *domain, const char *text)
{
    char *end;
    guint64 threshold = g_ascii_strtoull(text, &end, 10);
    guint64 excess = g_ascii_strtoull(end, &end, 10);
    const char *node = *end ? end + 1 : "";
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, NULL);
    g_autoptr(JsonNode) stats = monitor ? ask(monitor, "query-blockstats", NULL) : NULL;
    g_mutex_lock(&domain->lock);
    const XmlList *disks = stats && domain->live ? &domain->live->devices[DEVICE_DISK] : NULL;
    for (unsigned i = 0; disks && i < disks->count; i++) {
        const DomainDisk *disk = disks->item[i];
        JsonObject *found = block_find(stats, disk->device.alias ?: "none");
        if (g_strcmp0(lowest_node(found), node) == 0 ||
            g_strcmp0(json_peer_string(found, "node-name"), node) == 0) {
            emit_threshold_locked(domain, disk, threshold, excess);
        }
    }
    g_mutex_unlock(&domain->lock);
}

bool handle_domain_set_block_threshold(DaemonCall *call,
                                       const RemoteDomainSetBlockThresholdArgs *args,
                                       GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    g_autoptr(QmpClient) monitor = domain && daemon_check_flags(args->flags, 0, error)
                                       ? domain_begin_monitor_job(domain, "threshold", error)
                                       : NULL;
    if (!monitor) {
        return false;
    }
    g_autofree char *node = block_find_disk(domain, args->dev, &alias, &path, error)
                                ? find_node(monitor, alias, error)
                                : NULL;
    bool ok = node && qmp_client_run(monitor, "block-set-write-threshold",
                                     qmp_object("s:node-name", node, "i:write-threshold",
                                                (gint64)MIN(args->threshold, G_MAXINT64), NULL),
                                     error);
    domain_end_job(domain);
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_block_resize),
    HANDLER(domain_block_stats),
    HANDLER(domain_block_stats_flags),
    HANDLER(domain_get_block_info),
    HANDLER_INLINE(domain_get_block_io_tune),
    HANDLER(domain_get_disk_errors),
    HANDLER(domain_set_block_io_tune),
    HANDLER(domain_set_block_threshold),
};

const DaemonModule domain_blocks_module = {
    .name = "domain-blocks",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
