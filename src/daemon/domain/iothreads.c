/* Procedures on IOThreads: threads that disks may be served by.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/iothreads.h"

#include "daemon/domain/affinity.h"
#include "daemon/domain/change.h"
#include "daemon/domain/params.h"
#include "daemon/domain/tuning.h"

#include <string.h>

#define IOTHREADS_MAX 1024u

static int find(const DomainDef *def, uint32_t id)
{
    for (unsigned i = 0; i < def->iothread_list.count; i++) {
        if (((DomainIothread *)def->iothread_list.item[i])->id == id) {
            return (int)i;
        }
    }
    return -1;
}

static void add(DomainDef *def, uint32_t id)
{
    DomainIothread *thread = g_new0(DomainIothread, 1);
    thread->id = id;
    xml_list_append(&def->iothread_list, thread);
}

void iothreads_fill(DomainDef *def)
{
    for (uint32_t id = 1; def->iothread_list.count < def->iothreads; id++) {
        if (find(def, id) < 0) {
            add(def, id);
        }
    }
}

static bool add_to(DomainDef *def, uint32_t id, GError **error)
{
    iothreads_fill(def);
    if (find(def, id) >= 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: an IOThread is already using iothread_id '%u'", id);
        return false;
    }
    if (def->iothreads >= IOTHREADS_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: a domain has %u IOThreads at most", IOTHREADS_MAX);
        return false;
    }
    add(def, id);
    def->iothreads++;
    return true;
}

static bool check_unused(const DomainDef *def, uint32_t id, GError **error)
{
    const XmlList *disks = &def->devices[DEVICE_DISK];
    for (unsigned i = 0; i < disks->count; i++) {
        const DomainDisk *disk = disks->item[i];
        if (disk->driver.iothread == id) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: cannot remove IOThread %u since it is being used "
                             "by disk '%s'",
                             id, disk->target_dev);
            return false;
        }
    }
    return true;
}

static bool remove_from(DomainDef *def, uint32_t id, GError **error)
{
    iothreads_fill(def);
    int index = find(def, id);
    if (index < 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: cannot find IOThread '%u' in iothreadids list", id);
        return false;
    }
    if (!check_unused(def, id, error)) {
        return false;
    }
    g_free(xml_list_steal(&def->iothread_list, (unsigned)index));
    def->iothreads--;
    affinity_set_pin(&def->cputune.iothread_pins, id, NULL);
    return true;
}

/* The same on the live definition, once the guest has it. */
static bool edit_live(Domain *domain, uint32_t id, bool is_new, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool ok = domain->live &&
              (is_new ? add_to(domain->live, id, error) : remove_from(domain->live, id, error));
    g_mutex_unlock(&domain->lock);
    return ok;
}

/* Whether the live definition would take it. */
static bool try_live(Domain *domain, uint32_t id, bool is_new, GError **error)
{
    g_autoptr(DomainDef) trial = domain_copy_live(domain, error);
    return trial && (is_new ? add_to(trial, id, error) : remove_from(trial, id, error));
}

static bool change_threads(DomainChange *change, uint32_t id, bool is_new, GError **error)
{
    g_autofree char *name = g_strdup_printf("iothread%u", id);
    if (change->config &&
        !(is_new ? add_to(change->config, id, error) : remove_from(change->config, id, error))) {
        return false;
    }
    if (change->monitor && !try_live(change->domain, id, is_new, error)) {
        return false;
    }
    if (!change_store(change, error)) {
        return false;
    }
    if (!change->monitor) {
        return true;
    }
    JsonObject *arguments = is_new ? qmp_object("s:qom-type", "iothread", "s:id", name, NULL)
                                   : qmp_object("s:id", name, NULL);
    return qmp_client_run(change->monitor, is_new ? "object-add" : "object-del", arguments,
                          error) &&
           edit_live(change->domain, id, is_new, error) &&
           (!is_new || tuning_apply(change->domain, change->monitor, error));
}

static bool handle_change(DaemonCall *call, const RemoteDomain *dom, uint32_t id, unsigned flags,
                          bool is_new, GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(flags, 3, error)) {
        return false;
    }
    if (id == 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: invalid value of 0 for iothread_id");
        return false;
    }
    return change_begin(&change, call, dom, "iothread", flags, error) &&
           change_end(&change, change_threads(&change, id, is_new, error));
}

bool handle_domain_add_iothread(DaemonCall *call, const RemoteDomainAddIothreadArgs *args,
                                GError **error)
{
    return handle_change(call, &args->dom, args->iothread_id, args->flags, true, error);
}

bool handle_domain_del_iothread(DaemonCall *call, const RemoteDomainDelIothreadArgs *args,
                                GError **error)
{
    return handle_change(call, &args->dom, args->iothread_id, args->flags, false, error);
}

static pid_t find_thread(QmpClient *monitor, uint32_t id, GError **error)
{
    g_autoptr(GHashTable) threads = affinity_iothreads(monitor, error);
    pid_t tid =
        threads ? GPOINTER_TO_INT(g_hash_table_lookup(threads, GINT_TO_POINTER((int)id))) : 0;
    if (threads && tid <= 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "invalid argument: iothread %u not found",
                         id);
    }
    return tid;
}

static bool pin(DomainChange *change, uint32_t id, const CpuSet *set, GError **error)
{
    Domain *domain = change->domain;
    g_autofree char *text = cpuset_format(set);
    if (change->config) {
        iothreads_fill(change->config);
        if (find(change->config, id) < 0) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: iothreadid %u not found", id);
            return false;
        }
        affinity_set_pin(&change->config->cputune.iothread_pins, id, text);
    }
    if (!change_store(change, error)) {
        return false;
    }
    if (!change->monitor) {
        return true;
    }
    pid_t tid = find_thread(change->monitor, id, error);
    if (tid <= 0 || !affinity_set(tid, set, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->live) {
        affinity_set_pin(&domain->live->cputune.iothread_pins, id, text);
    }
    domain_emit_tunable_locked(domain, "cputune.iothreadpin", (int)id, text);
    g_mutex_unlock(&domain->lock);
    return true;
}

bool handle_domain_pin_iothread(DaemonCall *call, const RemoteDomainPinIothreadArgs *args,
                                GError **error)
{
    DomainChange change;
    CpuSet set;
    return daemon_check_flags(args->flags, 3, error) &&
           affinity_from_map(args->cpumap, args->n_cpumap, &set, error) &&
           change_begin(&change, call, &args->dom, "pin", args->flags, error) &&
           change_end(&change, pin(&change, args->iothreads_id, &set, error));
}

/* --- telling --- */

typedef struct Report {
    DaemonCall *call;
    RemoteDomainGetIothreadInfoRet *ret;
} Report;

static void report(const Report *report, uint32_t id, const CpuSet *set)
{
    unsigned size = (unsigned)cpuset_last(set) / 8 + 1;
    uint8_t *map = arena_alloc(call_arena(report->call), size);
    if (map) {
        affinity_to_map(set, map, size);
        report->ret->info[report->ret->n_info++] = (RemoteDomainIothreadInfo){ id, map, size };
    }
}

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    return GPOINTER_TO_INT(a) - GPOINTER_TO_INT(b);
}

static bool report_live(const Report *to, Domain *domain, GError **error)
{
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, error);
    g_autoptr(GHashTable) threads = monitor ? affinity_iothreads(monitor, error) : NULL;
    if (!threads) {
        return false;
    }
    g_autoptr(GList) ids = g_list_sort(g_hash_table_get_keys(threads), compare_ids);
    to->ret->info = arena_alloc_array(call_arena(to->call), g_hash_table_size(threads) + 1,
                                      sizeof(*to->ret->info));
    for (GList *id = ids; to->ret->info && id; id = id->next) {
        CpuSet set;
        if (!affinity_get(GPOINTER_TO_INT(g_hash_table_lookup(threads, id->data)), &set)) {
            affinity_parse(NULL, &set);
        }
        report(to, (uint32_t)GPOINTER_TO_INT(id->data), &set);
    }
    return true;
}

bool handle_domain_get_iothread_info(DaemonCall *call, const RemoteDomainGetIothreadInfoArgs *args,
                                     RemoteDomainGetIothreadInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 3, error)) {
        return false;
    }
    Report to = { call, ret };
    g_mutex_lock(&domain->lock);
    DomainDef *def = domain_def_by_flags_locked(domain, args->flags, error);
    bool is_live = def && def == domain->live;
    g_autoptr(DomainDef) copy = def && !is_live ? domain_def_copy(def) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!def || (is_live && !report_live(&to, domain, error))) {
        return false;
    }
    if (copy) {
        iothreads_fill(copy);
        ret->info =
            arena_alloc_array(call_arena(call), copy->iothread_list.count + 1, sizeof(*ret->info));
        for (unsigned i = 0; ret->info && i < copy->iothread_list.count; i++) {
            uint32_t id = ((DomainIothread *)copy->iothread_list.item[i])->id;
            CpuSet set;
            affinity_parse(affinity_find_pin(&copy->cputune.iothread_pins, id) ?: copy->vcpu_cpuset,
                           &set);
            report(&to, id, &set);
        }
    }
    ret->ret = ret->n_info;
    return true;
}

/* --- polling --- */

/* What can be set; poll settings are ints in the guest's engine, whatever it says. */
static const struct {
    const char *field, *property;
    int64_t max;
} settings[] = {
    { "poll_max_ns", "poll-max-ns", INT32_MAX },
    { "poll_grow", "poll-grow", INT32_MAX },
    { "poll_shrink", "poll-shrink", INT32_MAX },
    { "thread_pool_min", "thread-pool-min", INT64_MAX },
    { "thread_pool_max", "thread-pool-max", INT64_MAX },
};

/* The setting's number, and its value; -1 with @error. */
static int read_setting(const TypedParam *param, int64_t *out_value, GError **error)
{
    unsigned i = 0;
    while (i < G_N_ELEMENTS(settings) && strcmp(settings[i].field, param->field) != 0) {
        i++;
    }
    if (i == G_N_ELEMENTS(settings) || !params_get_number(param, out_value)) {
        params_refuse(param, i < G_N_ELEMENTS(settings), error);
        return -1;
    }
    if (*out_value > settings[i].max) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: %s (%" G_GINT64_FORMAT
                         ") must be less than or equal to %" G_GINT64_FORMAT,
                         settings[i].property, *out_value, settings[i].max);
        return -1;
    }
    return (int)i;
}

/* All can be set, before any is. */
static bool check_settings(const TypedParam *params, uint32_t n, GError **error)
{
    int64_t value = 0;
    for (uint32_t p = 0; p < n; p++) {
        if (read_setting(&params[p], &value, error) < 0) {
            return false;
        }
        if (value < 0) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "Requested operation is not valid: %s (%" G_GINT64_FORMAT
                             ") must be 0 or more for a running guest",
                             params[p].field, value);
            return false;
        }
    }
    const TypedParam *min = params_find(params, n, "thread_pool_min");
    const TypedParam *max = params_find(params, n, "thread_pool_max");
    int64_t least = 0, most = 0;
    if (min && max && params_get_number(min, &least) && params_get_number(max, &most) &&
        least > most) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: thread_pool_min (%" G_GINT64_FORMAT
                         ") is greater than thread_pool_max (%" G_GINT64_FORMAT ")",
                         least, most);
        return false;
    }
    return true;
}

bool handle_domain_set_iothread_params(DaemonCall *call,
                                       const RemoteDomainSetIothreadParamsArgs *args,
                                       GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 3, error)) {
        return false;
    }
    if (args->flags & AFFECT_CONFIG) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: polling of IOThreads can be set for running "
                         "guests only");
        return false;
    }
    g_autofree char *path = g_strdup_printf("/objects/iothread%u", args->iothread_id);
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "iothread", error);
    bool ok = monitor && find_thread(monitor, args->iothread_id, error) > 0 &&
              check_settings(args->params, args->n_params, error);
    for (uint32_t p = 0; ok && p < args->n_params; p++) {
        int64_t value = 0;
        int number = read_setting(&args->params[p], &value, error);
        ok = number >= 0 &&
             qmp_client_run(monitor, "qom-set",
                            qmp_object("s:path", path, "s:property", settings[number].property,
                                       "i:value", (gint64)value, NULL),
                            error);
    }
    if (monitor) {
        domain_end_job(domain);
    }
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_add_iothread),        HANDLER(domain_del_iothread),
    HANDLER(domain_get_iothread_info),   HANDLER(domain_pin_iothread),
    HANDLER(domain_set_iothread_params),
};

const DaemonModule domain_iothreads_module = {
    .name = "domain-iothreads",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
