/* Procedures on memory: how much a guest may have, has, and uses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/memory.h"

#include "daemon/domain/change.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/runtime.h"

#include <string.h>

enum { MEMORY_MAXIMUM = 4 };

#define ASK_TIMEOUT_MS 5000
/* Memory that a definition can say in bytes. */
#define KIB_MAX (G_MAXINT64 / 1024)

/* virDomainMemoryStatTags. */
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
    MEMORY_HUGETLB_PGALLOC,
    MEMORY_HUGETLB_PGFAIL,
};

const MemoryStatName memory_stat_names[] = {
    { "stat-swap-in", "balloon.swap_in", MEMORY_SWAP_IN, true },
    { "stat-swap-out", "balloon.swap_out", MEMORY_SWAP_OUT, true },
    { "stat-major-faults", "balloon.major_fault", MEMORY_MAJOR_FAULT, false },
    { "stat-minor-faults", "balloon.minor_fault", MEMORY_MINOR_FAULT, false },
    { "stat-free-memory", "balloon.unused", MEMORY_UNUSED, true },
    { "stat-total-memory", "balloon.available", MEMORY_AVAILABLE, true },
    { "stat-available-memory", "balloon.usable", MEMORY_USABLE, true },
    { "stat-disk-caches", "balloon.disk_caches", MEMORY_DISK_CACHES, true },
    { "stat-htlb-pgalloc", "balloon.hugetlb_pgalloc", MEMORY_HUGETLB_PGALLOC, false },
    { "stat-htlb-pgfail", "balloon.hugetlb_pgfail", MEMORY_HUGETLB_PGFAIL, false },
    { NULL, NULL, 0, false },
};

static DomainMemballoon *find_balloon(const DomainDef *def)
{
    DomainMemballoon *balloon =
        def->devices[DEVICE_MEMBALLOON].count ? def->devices[DEVICE_MEMBALLOON].item[0] : NULL;
    return balloon && balloon->model != BALLOON_NO ? balloon : NULL;
}

/* The balloon's path among the monitor's objects (transfer full); NULL: there is none. */
static char *balloon_path(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    const DomainMemballoon *balloon = domain->live ? find_balloon(domain->live) : NULL;
    char *path = balloon && balloon->device.alias
                     ? g_strdup_printf("/machine/peripheral/%s", balloon->device.alias)
                     : NULL;
    g_mutex_unlock(&domain->lock);
    return path;
}

static bool set_live(Domain *domain, QmpClient *monitor, guint64 kib, GError **error)
{
    g_autofree char *path = balloon_path(domain);
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: Unable to change memory of active "
                         "domain without the balloon device and guest OS balloon driver");
        return false;
    }
    if (!qmp_client_run(monitor, "balloon", qmp_object("i:value", (gint64)kib * 1024, NULL),
                        error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->live) {
        domain->live->current_memory = kib;
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

static bool set_maximum(DomainDef *def, guint64 kib, GError **error)
{
    if (def->max_memory && kib > def->max_memory) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: %" G_GUINT64_FORMAT " KiB are more than <maxMemory>",
                         kib);
        return false;
    }
    if (def->cpu && def->cpu->cells.count) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: initial memory size of a domain with "
                         "NUMA nodes cannot be modified with this API");
        return false;
    }
    def->memory = kib;
    def->current_memory = MIN(def->current_memory ? def->current_memory : kib, kib);
    return domain_def_validate(def, error);
}

static bool check_fits(const DomainDef *def, guint64 kib, GError **error)
{
    if (kib > def->memory) {
        daemon_error_set(
            error, DAEMON_ERROR_INVALID_ARG,
            "invalid argument: cannot set memory higher than max memory: %" G_GUINT64_FORMAT
            " KiB > %" G_GUINT64_FORMAT " KiB",
            kib, def->memory);
        return false;
    }
    return true;
}

static bool apply(DomainChange *change, guint64 kib, bool is_maximum, GError **error)
{
    Domain *domain = change->domain;
    if (change->monitor && is_maximum) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: cannot resize the maximum memory on an "
                         "active domain");
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = !change->monitor || !domain->live || check_fits(domain->live, kib, error);
    g_mutex_unlock(&domain->lock);
    if (ok && change->config && is_maximum) {
        ok = set_maximum(change->config, kib, error);
    } else if (ok && change->config) {
        ok = check_fits(change->config, kib, error);
        change->config->current_memory = kib;
    }
    return ok && change_store(change, error) &&
           (!change->monitor || set_live(domain, change->monitor, kib, error));
}

static bool set_memory(DaemonCall *call, const RemoteDomain *dom, guint64 kib, unsigned flags,
                       GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(flags, AFFECT_LIVE | AFFECT_CONFIG | MEMORY_MAXIMUM, error)) {
        return false;
    }
    if (kib == 0 || kib > KIB_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: %" G_GUINT64_FORMAT " KiB are no possible memory", kib);
        return false;
    }
    return change_begin(&change, call, dom, "memory", flags, error) &&
           change_end(&change, apply(&change, kib, flags & MEMORY_MAXIMUM, error));
}

bool handle_domain_set_memory(DaemonCall *call, const RemoteDomainSetMemoryArgs *args,
                              GError **error)
{
    return set_memory(call, &args->dom, args->memory, AFFECT_LIVE, error);
}

bool handle_domain_set_memory_flags(DaemonCall *call, const RemoteDomainSetMemoryFlagsArgs *args,
                                    GError **error)
{
    return set_memory(call, &args->dom, args->memory, args->flags, error);
}

bool handle_domain_set_max_memory(DaemonCall *call, const RemoteDomainSetMaxMemoryArgs *args,
                                  GError **error)
{
    return set_memory(call, &args->dom, args->memory, MEMORY_MAXIMUM, error);
}

/* --- what the guest tells --- */

static bool set_period_live(Domain *domain, QmpClient *monitor, int seconds, GError **error)
{
    g_autofree char *path = balloon_path(domain);
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: Memory balloon model must be virtio to "
                         "set the collection period");
        return false;
    }
    if (!qmp_client_run(monitor, "qom-set",
                        qmp_object("s:path", path, "s:property", "guest-stats-polling-interval",
                                   "i:value", (gint64)seconds, NULL),
                        error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    DomainMemballoon *balloon = domain->live ? find_balloon(domain->live) : NULL;
    if (balloon) {
        balloon->stats_period_s = (OptUint){ (uint64_t)seconds, seconds > 0 };
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

bool memory_apply_period(Domain *domain, QmpClient *monitor, GError **error)
{
    g_mutex_lock(&domain->lock);
    const DomainMemballoon *balloon = domain->live ? find_balloon(domain->live) : NULL;
    int period =
        balloon && balloon->stats_period_s.set ? (int)MIN(balloon->stats_period_s.value, 86400) : 0;
    g_mutex_unlock(&domain->lock);
    return !period || set_period_live(domain, monitor, period, error);
}

static bool apply_period(DomainChange *change, int seconds, GError **error)
{
    if (change->config) {
        DomainMemballoon *balloon = find_balloon(change->config);
        if (!balloon) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "Requested operation is not valid: the domain has no memory balloon");
            return false;
        }
        balloon->stats_period_s = (OptUint){ (uint64_t)seconds, seconds > 0 };
    }
    return change_store(change, error) &&
           (!change->monitor || set_period_live(change->domain, change->monitor, seconds, error));
}

bool handle_domain_set_memory_stats_period(DaemonCall *call,
                                           const RemoteDomainSetMemoryStatsPeriodArgs *args,
                                           GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error)) {
        return false;
    }
    if (args->period < 0 || args->period > 86400) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: a period is 0 to 86400 seconds, not %d", args->period);
        return false;
    }
    return change_begin(&change, call, &args->dom, "memory", args->flags, error) &&
           change_end(&change, apply_period(&change, args->period, error));
}

JsonObject *memory_ask_guest(Domain *domain, QmpClient *monitor, gint64 *out_when)
{
    g_autofree char *path = balloon_path(domain);
    if (!path) {
        return NULL;
    }
    g_autoptr(JsonNode) answer = qmp_client_call(
        monitor, "qom-get", qmp_object("s:path", path, "s:property", "guest-stats", NULL), -1,
        ASK_TIMEOUT_MS, NULL);
    JsonObject *object =
        answer && JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    JsonObject *stats = json_peer_object(object, "stats");
    *out_when = json_peer_int(object, "last-update", 0);
    return stats ? json_object_ref(stats) : NULL;
}

static void add(RemoteDomainMemoryStatsRet *ret, uint32_t most, int tag, guint64 value)
{
    if (ret->n_stats < most) {
        ret->stats[ret->n_stats++] = (RemoteDomainMemoryStat){ tag, value };
    }
}

bool handle_domain_memory_stats(DaemonCall *call, const RemoteDomainMemoryStatsArgs *args,
                                RemoteDomainMemoryStatsRet *ret, GError **error)
{
    enum { MOST = G_N_ELEMENTS(memory_stat_names) + 3 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool active = domain_check_active_locked(domain, error);
    pid_t pid = active && domain->runtime ? domain->runtime->process.pid : 0;
    guint64 balloon = active && domain->runtime ? domain->runtime->balloon_kib : 0;
    g_mutex_unlock(&domain->lock);
    ret->stats = active ? arena_alloc_array(call_arena(call), MOST, sizeof(*ret->stats)) : NULL;
    if (!ret->stats) {
        return false;
    }
    ProcessUsage usage = { 0 };
    uint32_t most = MIN(MOST, args->max_stats);
    gint64 when = 0;
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, NULL);
    g_autoptr(JsonObject) guest = monitor ? memory_ask_guest(domain, monitor, &when) : NULL;
    add(ret, most, MEMORY_ACTUAL, balloon);
    for (const MemoryStatName *name = memory_stat_names; guest && name->member; name++) {
        gint64 value = json_peer_int(guest, name->member, -1);
        if (value >= 0) {
            add(ret, most, name->tag, (guint64)value / (name->is_bytes ? 1024 : 1));
        }
    }
    if (guest) {
        add(ret, most, MEMORY_LAST_UPDATE, (guint64)MAX(when, 0));
    }
    add(ret, most, MEMORY_RSS, process_usage(pid, &usage) ? usage.resident_kib : 0);
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_memory_stats),
    HANDLER(domain_set_max_memory),
    HANDLER(domain_set_memory),
    HANDLER(domain_set_memory_flags),
    HANDLER(domain_set_memory_stats_period),
};

const DaemonModule domain_memory_module = {
    .name = "domain-memory",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
