/* Procedures that count: CPU time, memory, blocks, packets; one by one and in bulk.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"
#include "daemon/domain/runtime.h"

#include <ifaddrs.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#define STATS_TIMEOUT_MS 5000

/* Groups of virConnectGetAllDomainStats. */
enum {
    STATS_STATE = 1 << 0,
    STATS_CPU = 1 << 1,
    STATS_BALLOON = 1 << 2,
    STATS_VCPU = 1 << 3,
    STATS_INTERFACE = 1 << 4,
    STATS_BLOCK = 1 << 5,
    STATS_ALL = (1 << 11) - 1,
};
enum { STATS_NOWAIT = 1 << 29, STATS_BACKING = 1 << 30 };
#define STATS_ENFORCE (1u << 31)

/* --- disks --- */

typedef struct DiskCounters {
    gint64 rd_ops, rd_bytes, rd_ns, wr_ops, wr_bytes, wr_ns, flush_ops, flush_ns;
    gint64 capacity, allocation;
} DiskCounters;

/* The device's element of query-block or query-blockstats: by its drive's id or its own. */
static JsonObject *find_block(JsonNode *node, const char *alias)
{
    JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_peer_element(array, i);
        const char *device = json_peer_string(object, "device");
        const char *qdev = json_peer_string(object, "qdev");
        if ((device && g_str_has_prefix(device, "drive-") && strcmp(device + 6, alias) == 0) ||
            (qdev && g_strrstr(qdev, alias))) {
            return object;
        }
    }
    return NULL;
}

static void read_counters(JsonNode *stats, JsonNode *blocks, const char *alias, DiskCounters *out)
{
    JsonObject *s = json_peer_object(find_block(stats, alias), "stats");
    JsonObject *inserted = json_peer_object(find_block(blocks, alias), "inserted");
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

/* Alias and path of a disk by what a client calls it. False with @error. */
static bool find_disk(Domain *domain, const char *name, char **out_alias, char **out_path,
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

static bool disk_counters(Domain *domain, const char *name, DiskCounters *out, GError **error)
{
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, error);
    if (!monitor || !find_disk(domain, name, &alias, &path, error)) {
        return false;
    }
    g_autoptr(JsonNode) stats = ask(monitor, "query-blockstats", error);
    if (!stats) {
        return false;
    }
    read_counters(stats, NULL, alias, out);
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

bool handle_domain_get_block_info(DaemonCall *call, const RemoteDomainGetBlockInfoArgs *args,
                                  RemoteDomainGetBlockInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *alias = NULL;
    g_autofree char *path = NULL;
    if (!domain || !daemon_check_flags(args->flags, 0, error) ||
        !find_disk(domain, args->path, &alias, &path, error)) {
        return false;
    }
    struct stat st;
    if (!path || stat(path, &st) < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot look at the image '%s'",
                         path ?: "(none)");
        return false;
    }
    ret->physical = (uint64_t)st.st_size;
    ret->capacity = (uint64_t)st.st_size;
    ret->allocation = (uint64_t)st.st_blocks * 512;
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, NULL);
    g_autoptr(JsonNode) blocks = monitor ? ask(monitor, "query-block", NULL) : NULL;
    if (blocks) {
        DiskCounters counters;
        read_counters(NULL, blocks, alias, &counters);
        ret->capacity = counters.capacity ? (uint64_t)counters.capacity : ret->capacity;
    }
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
        JsonObject *block = find_block(blocks, disk->device.alias ?: "none");
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

/* --- interfaces --- */

/* Counters of a host interface; the guest's receive is the tap's transmit. */
static bool link_counters(const char *name, struct rtnl_link_stats *out)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (!name || getifaddrs(&all) < 0) {
        return false;
    }
    for (struct ifaddrs *one = all; one && !found; one = one->ifa_next) {
        if (one->ifa_addr && one->ifa_addr->sa_family == AF_PACKET && one->ifa_data &&
            strcmp(one->ifa_name, name) == 0) {
            memcpy(out, one->ifa_data, sizeof(*out));
            found = true;
        }
    }
    freeifaddrs(all);
    return found;
}

bool handle_domain_interface_stats(DaemonCall *call, const RemoteDomainInterfaceStatsArgs *args,
                                   RemoteDomainInterfaceStatsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool active = domain_check_active_locked(domain, error);
    const DomainInterface *interface =
        active && domain->live ? domain_def_find_interface(domain->live, args->device) : NULL;
    g_autofree char *tap = interface ? g_strdup(interface->target_dev) : NULL;
    bool found = interface != NULL;
    g_mutex_unlock(&domain->lock);
    struct rtnl_link_stats stats;
    if (!active) {
        return false;
    }
    if (!found || !link_counters(tap, &stats)) {
        daemon_error_set(error,
                         found ? DAEMON_ERROR_OPERATION_UNSUPPORTED : DAEMON_ERROR_INVALID_ARG,
                         found ? "interface '%s' has no counters on the host"
                               : "invalid argument: '%s' is not a known interface",
                         args->device);
        return false;
    }
    ret->rx_bytes = stats.tx_bytes;
    ret->rx_packets = stats.tx_packets;
    ret->rx_errs = stats.tx_errors;
    ret->rx_drop = stats.tx_dropped;
    ret->tx_bytes = stats.rx_bytes;
    ret->tx_packets = stats.rx_packets;
    ret->tx_errs = stats.rx_errors;
    ret->tx_drop = stats.rx_dropped;
    return true;
}

/* --- memory --- */

enum {
    MEMORY_SWAP_IN,
    MEMORY_SWAP_OUT,
    MEMORY_MAJOR_FAULT,
    MEMORY_MINOR_FAULT,
    MEMORY_UNUSED,
    MEMORY_AVAILABLE,
    MEMORY_ACTUAL,
    MEMORY_RSS,
    MEMORY_USABLE,
    MEMORY_LAST_UPDATE,
    MEMORY_DISK_CACHES,
};

bool handle_domain_memory_stats(DaemonCall *call, const RemoteDomainMemoryStatsArgs *args,
                                RemoteDomainMemoryStatsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool active = domain_check_active_locked(domain, error);
    pid_t pid = active && domain->runtime ? domain->runtime->process.pid : 0;
    guint64 balloon = active && domain->runtime ? domain->runtime->balloon_kib : 0;
    g_mutex_unlock(&domain->lock);
    if (!active) {
        return false;
    }
    ProcessUsage usage = { 0 };
    const RemoteDomainMemoryStat stats[] = {
        { MEMORY_ACTUAL, balloon },
        { MEMORY_RSS, process_usage(pid, &usage) ? usage.resident_kib : 0 },
    };
    ret->stats = arena_alloc(call_arena(call), sizeof(stats));
    if (ret->stats) {
        memcpy(ret->stats, stats, sizeof(stats));
        ret->n_stats = MIN(G_N_ELEMENTS(stats), args->max_stats);
    }
    return true;
}

/* --- CPUs --- */

bool handle_domain_get_vcpus(DaemonCall *call, const RemoteDomainGetVcpusArgs *args,
                             RemoteDomainGetVcpusRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    DomainFacts facts = { 0 };
    bool ok =
        domain_check_active_locked(domain, error) && domain_facts_locked(domain, &facts, error);
    unsigned count = ok ? MIN(facts.vcpus, (unsigned)MAX(args->maxinfo, 0)) : 0;
    pid_t pid = ok && domain->runtime ? domain->runtime->process.pid : 0;
    g_autofree pid_t *tids = g_new0(pid_t, count + 1);
    for (unsigned i = 0; pid && i < count && i < domain->runtime->vcpu_tids->len; i++) {
        tids[i] = g_array_index(domain->runtime->vcpu_tids, pid_t, i);
    }
    g_mutex_unlock(&domain->lock);
    if (!ok) {
        return false;
    }
    ret->info = arena_alloc_array(call_arena(call), count + 1, sizeof(*ret->info));
    size_t map = (size_t)count * (size_t)MAX(args->maplen, 0);
    ret->cpumaps = arena_alloc(call_arena(call), map + 1);
    if (!ret->info || !ret->cpumaps) {
        daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "the reply would be too large");
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        guint64 ns = 0, delay;
        int cpu = 0;
        process_thread_usage(pid, tids[i], &ns, &cpu, &delay);
        ret->info[i] = (RemoteVcpuInfo){ i, 1, ns, cpu };
    }
    for (int cpu = 0; args->maplen > 0 && cpu < get_nprocs() && cpu / 8 < args->maplen; cpu++) {
        for (unsigned i = 0; i < count; i++) {
            ret->cpumaps[i * (unsigned)args->maplen + (unsigned)cpu / 8] |=
                (uint8_t)(1u << (cpu % 8));
        }
    }
    ret->n_info = count;
    ret->n_cpumaps = (uint32_t)map;
    return true;
}

bool handle_domain_get_cpu_stats(DaemonCall *call, const RemoteDomainGetCpuStatsArgs *args,
                                 RemoteDomainGetCpuStatsRet *ret, GError **error)
{
    enum { FIELDS = 3 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 1, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool active = domain_check_active_locked(domain, error);
    pid_t pid = active && domain->runtime ? domain->runtime->process.pid : 0;
    g_mutex_unlock(&domain->lock);
    if (!active) {
        return false;
    }
    if (args->start_cpu != -1) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "times of single host CPUs are not counted; ask for --total");
        return false;
    }
    ProcessUsage usage = { 0 };
    process_usage(pid, &usage);
    ParamList list = { .arena = call_arena(call) };
    params_ullong(&list, "cpu_time", usage.user_ns + usage.system_ns);
    params_ullong(&list, "user_time", usage.user_ns);
    params_ullong(&list, "system_time", usage.system_ns);
    ret->nparams = FIELDS;
    if (args->nparams) {
        ret->params = list.items;
        ret->n_params = MIN(list.count, args->nparams);
    }
    return true;
}

/* --- in bulk --- */

#define STATS_RECORD_MAX ((size_t)1 << 20)
/* Parameters that begin a record with the group "state". */
#define STATE_PARAMS 2u

/* What one domain's record is made of, taken under its lock. */
typedef struct Snapshot {
    int state, reason;
    bool active;
    pid_t pid;
    guint64 balloon;
    DomainFacts facts;
} Snapshot;

static void add_cpu(ParamList *list, const Snapshot *shot)
{
    ProcessUsage usage;
    if (shot->active && process_usage(shot->pid, &usage)) {
        params_ullong(list, "cpu.time", usage.user_ns + usage.system_ns);
        params_ullong(list, "cpu.user", usage.user_ns);
        params_ullong(list, "cpu.system", usage.system_ns);
    }
}

static void add_balloon(ParamList *list, const Snapshot *shot)
{
    ProcessUsage usage;
    params_ullong(list, "balloon.current", shot->balloon ? shot->balloon : shot->facts.current_kib);
    params_ullong(list, "balloon.maximum", shot->facts.max_kib);
    if (shot->active && process_usage(shot->pid, &usage)) {
        params_ullong(list, "balloon.rss", usage.resident_kib);
    }
}

/* With lock. */
static void add_vcpus_locked(ParamList *list, Domain *domain, const Snapshot *shot)
{
    params_uint(list, "vcpu.current", shot->facts.vcpus);
    params_uint(list, "vcpu.maximum", shot->facts.max_vcpus);
    for (unsigned i = 0; shot->active && i < domain->runtime->vcpu_tids->len; i++) {
        guint64 ns, delay;
        int cpu;
        pid_t tid = g_array_index(domain->runtime->vcpu_tids, pid_t, i);
        if (process_thread_usage(shot->pid, tid, &ns, &cpu, &delay)) {
            params_int(list, params_name(list, "vcpu", i, "state"), 1);
            params_ullong(list, params_name(list, "vcpu", i, "time"), ns);
            params_ullong(list, params_name(list, "vcpu", i, "wait"), 0);
            params_ullong(list, params_name(list, "vcpu", i, "delay"), delay);
        }
    }
}

static void add_interfaces_locked(ParamList *list, const DomainDef *def)
{
    const XmlList *all = &def->devices[DEVICE_INTERFACE];
    params_uint(list, "net.count", all->count);
    for (unsigned i = 0; i < all->count; i++) {
        const DomainInterface *interface = all->item[i];
        struct rtnl_link_stats stats;
        if (!link_counters(interface->target_dev, &stats)) {
            continue;
        }
        params_string(list, params_name(list, "net", i, "name"), interface->target_dev);
        params_ullong(list, params_name(list, "net", i, "rx.bytes"), stats.tx_bytes);
        params_ullong(list, params_name(list, "net", i, "rx.pkts"), stats.tx_packets);
        params_ullong(list, params_name(list, "net", i, "rx.errs"), stats.tx_errors);
        params_ullong(list, params_name(list, "net", i, "rx.drop"), stats.tx_dropped);
        params_ullong(list, params_name(list, "net", i, "tx.bytes"), stats.rx_bytes);
        params_ullong(list, params_name(list, "net", i, "tx.pkts"), stats.rx_packets);
        params_ullong(list, params_name(list, "net", i, "tx.errs"), stats.rx_errors);
        params_ullong(list, params_name(list, "net", i, "tx.drop"), stats.rx_dropped);
    }
}

static void add_blocks_locked(ParamList *list, const DomainDef *def, JsonNode *stats,
                              JsonNode *blocks)
{
    const XmlList *all = &def->devices[DEVICE_DISK];
    params_uint(list, "block.count", all->count);
    for (unsigned i = 0; i < all->count; i++) {
        const DomainDisk *disk = all->item[i];
        params_string(list, params_name(list, "block", i, "name"), disk->target_dev);
        if (disk->source.path) {
            params_string(list, params_name(list, "block", i, "path"), disk->source.path);
        }
        if (!stats) {
            continue;
        }
        DiskCounters c;
        struct stat st;
        read_counters(stats, blocks, disk->device.alias ?: "none", &c);
        params_ullong(list, params_name(list, "block", i, "rd.reqs"), (uint64_t)c.rd_ops);
        params_ullong(list, params_name(list, "block", i, "rd.bytes"), (uint64_t)c.rd_bytes);
        params_ullong(list, params_name(list, "block", i, "rd.times"), (uint64_t)c.rd_ns);
        params_ullong(list, params_name(list, "block", i, "wr.reqs"), (uint64_t)c.wr_ops);
        params_ullong(list, params_name(list, "block", i, "wr.bytes"), (uint64_t)c.wr_bytes);
        params_ullong(list, params_name(list, "block", i, "wr.times"), (uint64_t)c.wr_ns);
        params_ullong(list, params_name(list, "block", i, "fl.reqs"), (uint64_t)c.flush_ops);
        params_ullong(list, params_name(list, "block", i, "fl.times"), (uint64_t)c.flush_ns);
        params_ullong(list, params_name(list, "block", i, "allocation"), (uint64_t)c.allocation);
        if (c.capacity) {
            params_ullong(list, params_name(list, "block", i, "capacity"), (uint64_t)c.capacity);
        }
        if (disk->source.path && stat(disk->source.path, &st) == 0) {
            params_ullong(list, params_name(list, "block", i, "physical"), (uint64_t)st.st_size);
        }
    }
}

/* False: it went meanwhile, or cannot be read. */
static bool add_record(Domain *domain, unsigned groups, ParamList *list, RemoteDomain *out)
{
    g_autoptr(QmpClient) monitor =
        groups & STATS_BLOCK && domain_is_active(domain) ? domain_get_monitor(domain, NULL) : NULL;
    g_autoptr(JsonNode) stats = monitor ? ask(monitor, "query-blockstats", NULL) : NULL;
    g_autoptr(JsonNode) blocks = stats ? ask(monitor, "query-block", NULL) : NULL;
    g_mutex_lock(&domain->lock);
    Snapshot shot = { .state = domain->state, .reason = domain->reason };
    DomainDef *def = domain->is_removed ? NULL : domain_def_locked(domain, NULL);
    if (!def || !domain_facts_locked(domain, &shot.facts, NULL)) {
        g_mutex_unlock(&domain->lock);
        return false;
    }
    shot.active = domain->runtime != NULL;
    shot.pid = shot.active ? domain->runtime->process.pid : 0;
    shot.balloon = shot.active ? domain->runtime->balloon_kib : 0;
    domain_to_wire_locked(domain, list->arena, out);
    if (groups & STATS_STATE) {
        params_int(list, "state.state", shot.state);
        params_int(list, "state.reason", shot.reason);
    }
    if (groups & STATS_CPU) {
        add_cpu(list, &shot);
    }
    if (groups & STATS_BALLOON) {
        add_balloon(list, &shot);
    }
    if (groups & STATS_VCPU) {
        add_vcpus_locked(list, domain, &shot);
    }
    if ((groups & STATS_INTERFACE) && shot.active) {
        add_interfaces_locked(list, def);
    }
    if (groups & STATS_BLOCK) {
        add_blocks_locked(list, def, stats, blocks);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

/* What tells whether a record that was made without the lock is of a domain that has not changed.
 */
typedef struct Moment {
    bool is_inactive;
    unsigned config_version;
    gint64 state_since;
} Moment;

static Moment moment_locked(const Domain *domain)
{
    return (Moment){ !domain->runtime && !domain->live && !domain->is_removed,
                     domain->config_version, domain->state_since };
}

/* Keeps what follows the state in a record of all groups, its count first: of an inactive domain
 * that depends on the definition alone. */
static void keep_record(Domain *domain, const Moment *before, const ParamList *list)
{
    XdrWriter writer;
    xdr_writer_init(&writer, STATS_RECORD_MAX);
    xdr_put_u32(&writer, list->count);
    for (uint32_t i = STATE_PARAMS; i < list->count; i++) {
        xdr_put_param(&writer, &list->items[i]);
    }
    g_mutex_lock(&domain->lock);
    Moment after = moment_locked(domain);
    if (!writer.failed && after.is_inactive && after.config_version == before->config_version &&
        after.state_since == before->state_since) {
        g_clear_pointer(&domain->config_stats, g_bytes_unref);
        domain->config_stats = g_bytes_new(writer.data, writer.size);
    }
    g_mutex_unlock(&domain->lock);
    xdr_writer_clear(&writer);
}

/* False: there is none kept. */
static bool put_kept_locked(XdrWriter *writer, const Domain *domain)
{
    if (!domain->config_stats || !moment_locked(domain).is_inactive) {
        return false;
    }
    gsize size;
    const uint8_t *kept = g_bytes_get_data(domain->config_stats, &size);
    TypedParam state = { "state.state", TYPED_PARAM_INT, { .i = domain->state } };
    TypedParam reason = { "state.reason", TYPED_PARAM_INT, { .i = domain->reason } };
    domain_put_wire_locked(domain, writer);
    xdr_put_raw(writer, kept, sizeof(uint32_t));
    xdr_put_param(writer, &state);
    xdr_put_param(writer, &reason);
    xdr_put_raw(writer, kept + sizeof(uint32_t), size - sizeof(uint32_t));
    return true;
}

/* Appends one domain's record. False: it is not wanted, or went. */
static bool put_record(XdrWriter *writer, Domain *domain, uint32_t flags, unsigned groups)
{
    bool is_full = (groups & STATS_ALL) == STATS_ALL;
    g_mutex_lock(&domain->lock);
    bool is_wanted = !domain->is_removed && domain_matches_list_locked(domain, flags & 0xff);
    bool is_done = is_wanted && is_full && put_kept_locked(writer, domain);
    Moment before = moment_locked(domain);
    g_mutex_unlock(&domain->lock);
    if (!is_wanted || is_done) {
        return is_wanted;
    }
    Arena arena;
    arena_init(&arena, STATS_RECORD_MAX);
    ParamList list = { .arena = &arena };
    RemoteDomainStatsRecord record;
    bool ok = add_record(domain, groups, &list, &record.dom);
    if (ok) {
        record.params = list.items;
        record.n_params = list.count;
        ok = xdr_encode(writer, &type_remote_domain_stats_record, &record, NULL);
        writer->failed = writer->failed || !ok;
    }
    if (ok && is_full && before.is_inactive) {
        keep_record(domain, &before, &list);
    }
    arena_clear(&arena);
    return ok;
}

void domain_stats_prepare(Domain *domain)
{
    XdrWriter writer;
    xdr_writer_init(&writer, STATS_RECORD_MAX);
    put_record(&writer, domain, 0, STATS_ALL);
    xdr_writer_clear(&writer);
}

/* The domains that a client names, or all. */
static GPtrArray *choose(DaemonCall *call, const RemoteConnectGetAllDomainStatsArgs *args)
{
    DomainService *service = call_daemon(call)->domains;
    if (!args->n_doms) {
        return service_all(service);
    }
    GPtrArray *chosen = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
    for (uint32_t i = 0; i < args->n_doms; i++) {
        Domain *domain = service_find_uuid(service, &args->doms[i].uuid);
        if (domain) {
            g_ptr_array_add(chosen, domain);
        }
    }
    return chosen;
}

bool handle_connect_get_all_domain_stats(DaemonCall *call,
                                         const RemoteConnectGetAllDomainStatsArgs *args,
                                         RemoteConnectGetAllDomainStatsRet *ret, GError **error)
{
    uint32_t known = 0xff | STATS_NOWAIT | STATS_BACKING | STATS_ENFORCE;
    if (!daemon_check_flags(args->flags, known, error)) {
        return false;
    }
    if ((args->flags & STATS_ENFORCE) && (args->stats & ~(uint32_t)STATS_ALL)) {
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         "Stats types bits 0x%x are not supported by this daemon",
                         args->stats & ~(uint32_t)STATS_ALL);
        return false;
    }
    unsigned groups = args->stats ? args->stats : STATS_ALL;
    g_autoptr(GPtrArray) chosen = choose(call, args);
    XdrWriter *writer = call_raw_reply(call);
    size_t count_at = writer->size;
    uint32_t count = 0;
    xdr_put_u32(writer, 0);
    for (guint i = 0; i < chosen->len && !writer->failed; i++) {
        count += put_record(writer, g_ptr_array_index(chosen, i), args->flags, groups);
    }
    xdr_patch_u32(writer, count_at, count);
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER(connect_get_all_domain_stats), HANDLER(domain_block_stats),
    HANDLER(domain_block_stats_flags),     HANDLER(domain_get_block_info),
    HANDLER_INLINE(domain_get_cpu_stats),  HANDLER(domain_get_disk_errors),
    HANDLER_INLINE(domain_get_vcpus),      HANDLER_INLINE(domain_interface_stats),
    HANDLER_INLINE(domain_memory_stats),
};

const DaemonModule domain_stats_module = {
    .name = "domain-stats",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
