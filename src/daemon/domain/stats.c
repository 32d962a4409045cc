/* Procedures that count: CPU time, written memory; and bulk statistics.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/handlers.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/stats-record.h"
#include "daemon/domain/tuning.h"

enum { STATS_NOWAIT = 1 << 29, STATS_BACKING = 1 << 30 };
#define STATS_ENFORCE (1u << 31)

/* --- CPUs --- */

/* Of the whole guest. */
static void add_total(ParamList *list, pid_t pid)
{
    ProcessUsage usage = { 0 };
    process_usage(pid, &usage);
    params_ullong(list, "cpu_time", usage.user_ns + usage.system_ns);
    params_ullong(list, "user_time", usage.user_ns);
    params_ullong(list, "system_time", usage.system_ns);
}

/* Of single CPUs of the host in turn. Only control groups of version 1 count that: entering one
 * starts the count. False with @error. */
static bool add_single(ParamList *list, const RemoteDomainGetCpuStatsArgs *args, Domain *domain,
                       int32_t *out_n, GError **error)
{
    enum { FIELDS = 1 };
    g_mutex_lock(&domain->lock);
    g_autoptr(Cgroup) group = domain->runtime ? tuning_group_locked(domain) : NULL;
    pid_t pid = domain->runtime ? domain->runtime->process.pid : 0;
    g_mutex_unlock(&domain->lock);
    if (!group || !cgroup_enter(group, CGROUP_CPUACCT, pid, error)) {
        g_prefix_error(error, "times of single host CPUs are not counted: ");
        return false;
    }
    g_autoptr(GArray) times = cgroup_cpu_times(group);
    if (!times) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "the host does not count the times of single CPUs; ask for --total");
        return false;
    }
    if (!args->ncpus) {
        *out_n = (int32_t)times->len; /* how many there are */
        return true;
    }
    if ((guint)args->start_cpu >= times->len) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: start_cpu %d larger than maximum of %u",
                         args->start_cpu, times->len - 1);
        return false;
    }
    *out_n = FIELDS;
    guint end = (guint)MIN((guint64)args->start_cpu + args->ncpus, times->len);
    for (guint i = (guint)args->start_cpu; args->nparams && i < end; i++) {
        params_ullong(list, "cpu_time", g_array_index(times, guint64, i));
    }
    return true;
}

bool handle_domain_get_cpu_stats(DaemonCall *call, const RemoteDomainGetCpuStatsArgs *args,
                                 RemoteDomainGetCpuStatsRet *ret, GError **error)
{
    enum { TOTAL = -1, TOTAL_FIELDS = 3 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, PARAMS_STRING_OKAY, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool active = domain_check_active_locked(domain, error);
    pid_t pid = active && domain->runtime ? domain->runtime->process.pid : 0;
    g_mutex_unlock(&domain->lock);
    ParamList list = { .arena = call_arena(call) };
    if (!active ||
        (args->start_cpu != TOTAL && !add_single(&list, args, domain, &ret->nparams, error))) {
        return false;
    }
    if (args->start_cpu == TOTAL) {
        add_total(&list, pid);
        ret->nparams = TOTAL_FIELDS;
        list.count = MIN(list.count, args->nparams);
    }
    ret->params = list.items;
    ret->n_params = list.count;
    return true;
}

/* --- in bulk --- */

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

/* Keeps a record of all groups of an inactive domain. */
static void keep_record(Domain *domain, const Moment *before, StatsRecord *record)
{
    g_mutex_lock(&domain->lock);
    Moment after = moment_locked(domain);
    if (after.is_inactive && after.config_version == before->config_version &&
        after.state_since == before->state_since) {
        g_clear_pointer(&domain->config_stats, stats_record_unref);
        domain->config_stats = stats_record_ref(record);
    }
    g_mutex_unlock(&domain->lock);
}

/* The record of a domain that is on the list, made or kept. NULL: it is not wanted, or went. */
static StatsRecord *find_record(Domain *domain, uint32_t flags, unsigned groups, StatsHead *head)
{
    bool is_full = (groups & STATS_ALL) == STATS_ALL && !(flags & STATS_BACKING);
    g_mutex_lock(&domain->lock);
    bool is_wanted = !domain->is_removed && domain_matches_list_locked(domain, flags & 0xff);
    Moment before = moment_locked(domain);
    StatsRecord *record = NULL;
    if (is_wanted && is_full && before.is_inactive && domain->config_stats) {
        record = stats_record_ref(domain->config_stats);
        stats_head_locked(domain, head);
    }
    g_mutex_unlock(&domain->lock);
    if (record || !is_wanted) {
        return record;
    }
    record = stats_record_new(domain, groups, flags & STATS_BACKING, head);
    if (record && is_full && before.is_inactive) {
        keep_record(domain, &before, record);
    }
    return record;
}

/* Appends one domain's record. False: it is not wanted, or went. */
static bool put_record(XdrWriter *writer, Domain *domain, uint32_t flags, unsigned groups,
                       ImageFolder *folder)
{
    StatsHead head;
    g_autoptr(StatsRecord) record = find_record(domain, flags, groups, &head);
    if (record) {
        stats_record_put(record, &head, groups & STATS_STATE, folder, writer);
        stats_head_clear(&head);
    }
    return record != NULL;
}

void domain_stats_prepare(Domain *domain)
{
    StatsHead head;
    g_autoptr(StatsRecord) record = find_record(domain, 0, STATS_ALL, &head);
    if (record) {
        stats_head_clear(&head);
    }
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
    ImageFolder folder = IMAGE_FOLDER_INIT;
    xdr_put_u32(writer, 0);
    for (guint i = 0; i < chosen->len && !writer->failed; i++) {
        count += put_record(writer, g_ptr_array_index(chosen, i), args->flags, groups, &folder);
    }
    image_folder_clear(&folder);
    xdr_patch_u32(writer, count_at, count);
    return true;
}

/* --- how fast memory is written to --- */

bool handle_domain_start_dirty_rate_calc(DaemonCall *call,
                                         const RemoteDomainStartDirtyRateCalcArgs *args,
                                         GError **error)
{
    enum { MODE_PAGE_SAMPLING = 0, MODE_BITMAP = 1, MODE_RING = 2, SECONDS_MAX = 60 };
    static const char *const modes[] = { "page-sampling", "dirty-bitmap", "dirty-ring" };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, MODE_BITMAP | MODE_RING, error)) {
        return false;
    }
    if (args->seconds < 1 || args->seconds > SECONDS_MAX || args->flags > MODE_RING) {
        daemon_error_set(
            error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
            "unsupported configuration: seconds=%d is invalid, please choose value within "
            "[1, %d], and one mode",
            args->seconds, SECONDS_MAX);
        return false;
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "dirty rate", error);
    if (!monitor) {
        return false;
    }
    bool ok = qmp_client_run(
        monitor, "calc-dirty-rate",
        qmp_object("i:calc-time", (gint64)args->seconds, "s:mode", modes[args->flags], NULL),
        error);
    domain_end_job(domain);
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(connect_get_all_domain_stats),
    HANDLER(domain_get_cpu_stats),
    HANDLER(domain_start_dirty_rate_calc),
};

const DaemonModule domain_stats_module = {
    .name = "domain-stats",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
