/* Procedures that count: CPU time, memory, blocks, packets; one by one and in bulk.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/blocks.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/interfaces.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"
#include "daemon/domain/runtime.h"

#include <linux/if_link.h>
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

static JsonNode *ask(QmpClient *monitor, const char *command, GError **error)
{
    return qmp_client_call(monitor, command, NULL, -1, STATS_TIMEOUT_MS, error);
}

/* --- CPUs --- */

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
        if (!interface_counters(interface->target_dev, &stats)) {
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
        block_read_counters(stats, blocks, disk->device.alias ?: "none", &c);
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
    HANDLER(connect_get_all_domain_stats),
    HANDLER_INLINE(domain_get_cpu_stats),
};

const DaemonModule domain_stats_module = {
    .name = "domain-stats",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
