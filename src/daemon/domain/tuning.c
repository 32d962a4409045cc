/* Procedures on CPU time, memory and disk limits, and the nodes of memory.
 *
 * The live definition says what holds; control groups are made to follow it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/tuning.h"

#include "conf/cpuset.h"
#include "daemon/domain/affinity.h"
#include "daemon/domain/change.h"
#include "daemon/domain/params.h"
#include "daemon/host/host.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PERIOD_DEFAULT 100000u
#define QUOTA_NONE 17592186044415LL
#define MEMORY_UNLIMITED 9007199254740991ULL

/* Several daemons of one host number their guests alike. (transfer full) */
static char *group_suffix(const DomainService *service)
{
    return g_strdup_printf("-%08x", g_str_hash(service->daemon->paths.run_dir));
}

static char *group_name(const Domain *domain)
{
    g_autofree char *suffix = group_suffix(domain->service);
    return g_strdup_printf(CGROUP_PARENT "/lodge-%d-%.20s%s", domain->id, domain->name, suffix);
}

Cgroup *tuning_group_locked(const Domain *domain)
{
    g_autofree char *name = group_name(domain);
    return cgroup_find(CGROUP_ROOT, name);
}

void tuning_remove_left(DomainService *service)
{
    g_autoptr(GHashTable) kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *suffix = group_suffix(service);
    GHashTableIter iter;
    gpointer domain;
    g_hash_table_iter_init(&iter, service->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        g_hash_table_add(kept, group_name(domain));
    }
    cgroup_remove_others(CGROUP_ROOT, suffix, kept);
}

/* What is applied, taken under the lock. */
typedef struct Target {
    Cgroup *group;
    DomainDef *def;
    pid_t pid;
    GArray *vcpus; /* of pid_t */
} Target;

static bool target_take(Domain *domain, Target *target)
{
    g_mutex_lock(&domain->lock);
    bool ok = domain->runtime && domain->live;
    if (ok) {
        target->group = tuning_group_locked(domain);
        target->def = domain_def_copy(domain->live);
        target->pid = domain->runtime->process.pid;
        target->vcpus = g_array_new(FALSE, TRUE, sizeof(pid_t));
        g_array_append_vals(target->vcpus, domain->runtime->vcpu_tids->data,
                            domain->runtime->vcpu_tids->len);
    }
    g_mutex_unlock(&domain->lock);
    return ok;
}

static void target_drop(Target *target)
{
    cgroup_free(target->group);
    domain_def_free(target->def);
    g_clear_pointer(&target->vcpus, g_array_unref);
}

/* --- CPU time --- */

static bool limit_vcpus(const Target *target, GError **error)
{
    const DomainCputune *tune = &target->def->cputune;
    for (guint i = 0; i < target->vcpus->len; i++) {
        g_autofree char *name = g_strdup_printf("vcpu%u", i);
        g_autoptr(GArray) one = g_array_new(FALSE, FALSE, sizeof(pid_t));
        g_array_append_val(one, g_array_index(target->vcpus, pid_t, i));
        if (!cgroup_enter_threads(target->group, name, one, error) ||
            !cgroup_set_quota(target->group, name, tune->period, tune->quota, error)) {
            return false;
        }
    }
    return true;
}

static bool is_other(const Target *target, pid_t tid, GHashTable *iothreads)
{
    GHashTableIter iter;
    gpointer value;
    for (guint i = 0; i < target->vcpus->len; i++) {
        if (g_array_index(target->vcpus, pid_t, i) == tid) {
            return true;
        }
    }
    g_hash_table_iter_init(&iter, iothreads);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (GPOINTER_TO_INT(value) == tid) {
            return true;
        }
    }
    return false;
}

static bool limit_emulator(const Target *target, GHashTable *iothreads, GError **error)
{
    const DomainCputune *tune = &target->def->cputune;
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)target->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, error);
    g_autoptr(GArray) tids = g_array_new(FALSE, FALSE, sizeof(pid_t));
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        pid_t tid = (pid_t)g_ascii_strtoll(name, NULL, 10);
        if (tid > 0 && !is_other(target, tid, iothreads)) {
            g_array_append_val(tids, tid);
        }
    }
    return dir && cgroup_enter_threads(target->group, "emulator", tids, error) &&
           cgroup_set_quota(target->group, "emulator", tune->emulator_period, tune->emulator_quota,
                            error);
}

static bool limit_iothreads(const Target *target, GHashTable *iothreads, GError **error)
{
    const DomainCputune *tune = &target->def->cputune;
    GHashTableIter iter;
    gpointer id, tid;
    g_hash_table_iter_init(&iter, iothreads);
    while (g_hash_table_iter_next(&iter, &id, &tid)) {
        g_autofree char *name = g_strdup_printf("iothread%d", GPOINTER_TO_INT(id));
        g_autoptr(GArray) one = g_array_new(FALSE, FALSE, sizeof(pid_t));
        pid_t thread = GPOINTER_TO_INT(tid);
        g_array_append_val(one, thread);
        if (!cgroup_enter_threads(target->group, name, one, error) ||
            !cgroup_set_quota(target->group, name, tune->iothread_period, tune->iothread_quota,
                              error)) {
            return false;
        }
    }
    return true;
}

static bool has_group_of_iothreads(const Target *target, GHashTable *iothreads)
{
    GHashTableIter iter;
    gpointer id;
    g_hash_table_iter_init(&iter, iothreads);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        g_autofree char *name = g_strdup_printf("iothread%d", GPOINTER_TO_INT(id));
        if (cgroup_exists(target->group, CGROUP_CPU, name)) {
            return true;
        }
    }
    return false;
}

static bool has_cpu_limits(const DomainCputune *tune)
{
    return tune->shares.set || tune->period || tune->quota || tune->global_period ||
           tune->global_quota || tune->emulator_period || tune->emulator_quota ||
           tune->iothread_period || tune->iothread_quota;
}

static bool apply_cpu(const Target *target, QmpClient *monitor, GError **error)
{
    const DomainCputune *tune = &target->def->cputune;
    if (!has_cpu_limits(tune) && !cgroup_exists(target->group, CGROUP_CPU, NULL)) {
        return true;
    }
    if (!cgroup_enter(target->group, CGROUP_CPU, target->pid, error)) {
        return false;
    }
    cgroup_enter(target->group, CGROUP_CPUACCT, target->pid, NULL);
    guint64 shares =
        tune->shares.set ? tune->shares.value : cgroup_ranges(CGROUP_ROOT).shares_default;
    if (!cgroup_set_shares(target->group, shares, error) ||
        !cgroup_set_quota(target->group, NULL, tune->global_period, tune->global_quota, error)) {
        return false;
    }
    g_autoptr(GHashTable) iothreads = affinity_iothreads(monitor, NULL);
    iothreads = iothreads ? iothreads : g_hash_table_new(NULL, NULL);
    /* A group that is there has limits of before: they are replaced, by none too. Threads that the
     * engine makes later begin in the group of its main thread: they are taken out of it. */
    bool has_emulator = tune->emulator_period || tune->emulator_quota ||
                        cgroup_exists(target->group, CGROUP_CPU, "emulator");
    bool has_vcpu = tune->period || tune->quota || has_emulator ||
                    cgroup_exists(target->group, CGROUP_CPU, "vcpu0");
    bool has_iothread = tune->iothread_period || tune->iothread_quota || has_emulator ||
                        has_group_of_iothreads(target, iothreads);
    return (!has_vcpu || limit_vcpus(target, error)) &&
           (!has_emulator || limit_emulator(target, iothreads, error)) &&
           (!has_iothread || limit_iothreads(target, iothreads, error));
}

/* --- memory, disks, nodes --- */

static bool apply_memory(const Target *target, GError **error)
{
    const DomainDef *def = target->def;
    if (!def->mem_hard_limit && !def->mem_soft_limit && !def->mem_swap_hard_limit &&
        !cgroup_exists(target->group, CGROUP_MEMORY, NULL)) {
        return true;
    }
    return cgroup_enter(target->group, CGROUP_MEMORY, target->pid, error) &&
           cgroup_set_memory(target->group, def->mem_hard_limit ?: G_MAXUINT64,
                             def->mem_soft_limit ?: G_MAXUINT64,
                             def->mem_swap_hard_limit ?: G_MAXUINT64, error);
}

static bool apply_io(const Target *target, GError **error)
{
    const DomainDef *def = target->def;
    if (!def->blkio_weight && !def->blkio_devices.count) {
        return true;
    }
    if (!cgroup_enter(target->group, CGROUP_BLKIO, target->pid, error) ||
        (def->blkio_weight && !cgroup_set_io_weight(target->group, def->blkio_weight, error))) {
        return false;
    }
    for (unsigned i = 0; i < def->blkio_devices.count; i++) {
        const DomainBlkioDevice *device = def->blkio_devices.item[i];
        struct stat st;
        if (stat(device->path, &st) < 0 || !S_ISBLK(st.st_mode)) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: '%s' is no block device", device->path);
            return false;
        }
        CgroupIoLimit limit = { major(st.st_rdev),      minor(st.st_rdev),
                                device->read_bytes_sec, device->write_bytes_sec,
                                device->read_iops_sec,  device->write_iops_sec };
        if (!cgroup_set_io_limit(target->group, &limit, error) ||
            (device->weight && !cgroup_set_disk_weight(target->group, limit.major, limit.minor,
                                                       device->weight, error))) {
            return false;
        }
    }
    return true;
}

/* The kernel's refusal does not say which one it is. */
static bool check_nodes(const char *nodeset, GError **error)
{
    CpuSet wanted, there;
    g_autofree char *text = host_nodes_text();
    if (!cpuset_parse(nodeset, &wanted) || !cpuset_parse(text, &there)) {
        return true;
    }
    for (unsigned node = 0; node < CPUSET_MAX; node++) {
        if (cpuset_has(&wanted, node) && !cpuset_has(&there, node)) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: NUMA node %u is not there: this host has "
                             "%s",
                             node, text);
            return false;
        }
    }
    return true;
}

static bool apply_nodes(const Target *target, GError **error)
{
    const DomainDef *def = target->def;
    return !def->numatune_nodeset || def->numatune_mode == NUMATUNE_PREFERRED ||
           (check_nodes(def->numatune_nodeset, error) &&
            cgroup_enter(target->group, CGROUP_CPUSET, target->pid, error) &&
            cgroup_set_nodes(target->group, def->numatune_nodeset, error));
}

bool tuning_apply(Domain *domain, QmpClient *monitor, GError **error)
{
    Target target = { 0 };
    bool ok = !target_take(domain, &target) ||
              (apply_cpu(&target, monitor, error) && apply_memory(&target, error) &&
               apply_io(&target, error) && apply_nodes(&target, error));
    target_drop(&target);
    /* Last: a thread that comes into a group may run on all CPUs of the group again. */
    return ok && affinity_apply(domain, monitor, error);
}

/* --- procedures: one way for all groups --- */

/* Puts parameters into a definition. */
typedef bool (*ApplyParams)(DomainDef *def, const TypedParam *params, uint32_t n, GError **error);

static bool apply_scheduler(DomainDef *def, const TypedParam *params, uint32_t n, GError **error);

/* Memory is bound once, when a guest starts. */
static bool check_numa_mode_locked(const Domain *domain, const DomainDef *before, GError **error)
{
    if (before->numatune_mode != domain->live->numatune_mode) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: the numatune mode of domain '%s' "
                         "cannot be changed while it runs",
                         domain->name);
        return false;
    }
    return true;
}

static bool set_live(DomainChange *change, ApplyParams apply, const TypedParam *params, uint32_t n,
                     GError **error)
{
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    DomainDef *before = domain->live ? domain_def_copy(domain->live) : NULL;
    bool ok = before && apply(domain->live, params, n, error) &&
              check_numa_mode_locked(domain, before, error);
    g_mutex_unlock(&domain->lock);
    ok = ok && tuning_apply(domain, change->monitor, error);
    g_mutex_lock(&domain->lock);
    if (!ok && before && domain->live) {
        domain_def_free(domain->live);
        domain->live = g_steal_pointer(&before);
    }
    if (ok && apply == apply_scheduler) {
        domain_emit_tunables_locked(domain, "cputune.", NULL, params, n);
    }
    g_mutex_unlock(&domain->lock);
    domain_def_free(before);
    return ok;
}

static bool set_params(DaemonCall *call, const RemoteDomain *dom, const TypedParam *params,
                       uint32_t n, unsigned flags, ApplyParams apply, GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(flags, 3, error) || !params_check_once(params, n, error) ||
        !change_begin(&change, call, dom, "tuning", flags, error)) {
        return false;
    }
    bool ok = (!change.config || apply(change.config, params, n, error)) &&
              change_store(&change, error) &&
              (!change.monitor || set_live(&change, apply, params, n, error));
    return change_end(&change, ok);
}

/* --- CPU time --- */

static bool apply_scheduler(DomainDef *def, const TypedParam *params, uint32_t n, GError **error)
{
    DomainCputune *tune = &def->cputune;
    const struct {
        const char *field;
        uint64_t *period;
        int64_t *quota;
    } fields[] = {
        { "vcpu_period", &tune->period, NULL },
        { "vcpu_quota", NULL, &tune->quota },
        { "emulator_period", &tune->emulator_period, NULL },
        { "emulator_quota", NULL, &tune->emulator_quota },
        { "global_period", &tune->global_period, NULL },
        { "global_quota", NULL, &tune->global_quota },
        { "iothread_period", &tune->iothread_period, NULL },
        { "iothread_quota", NULL, &tune->iothread_quota },
    };
    for (uint32_t p = 0; p < n; p++) {
        int64_t value;
        bool ok = params_get_number(&params[p], &value);
        if (ok && strcmp(params[p].field, "cpu_shares") == 0) {
            CgroupRanges ranges = cgroup_ranges(CGROUP_ROOT);
            ok = value >= ranges.shares.least && value <= ranges.shares.most;
            tune->shares = (OptUint){ (uint64_t)value, true };
            if (!ok) {
                return params_refuse(&params[p], true, error);
            }
            continue;
        }
        unsigned i = 0;
        while (i < G_N_ELEMENTS(fields) && strcmp(fields[i].field, params[p].field) != 0) {
            i++;
        }
        if (!ok || i == G_N_ELEMENTS(fields)) {
            return params_refuse(&params[p], i < G_N_ELEMENTS(fields), error);
        }
        if (fields[i].period && value && (value < 1000 || value > 1000000)) {
            return params_refuse(&params[p], true, error);
        }
        if (fields[i].quota && value > 0 && (value < 1000 || value > QUOTA_NONE)) {
            return params_refuse(&params[p], true, error);
        }
        if (fields[i].period) {
            *fields[i].period = (uint64_t)value;
        } else {
            *fields[i].quota = value >= QUOTA_NONE ? -1 : value;
        }
    }
    return true;
}

bool handle_domain_set_scheduler_parameters(DaemonCall *call,
                                            const RemoteDomainSetSchedulerParametersArgs *args,
                                            GError **error)
{
    return set_params(call, &args->dom, args->params, args->n_params, 0, apply_scheduler, error);
}

bool handle_domain_set_scheduler_parameters_flags(
    DaemonCall *call, const RemoteDomainSetSchedulerParametersFlagsArgs *args, GError **error)
{
    return set_params(call, &args->dom, args->params, args->n_params, args->flags, apply_scheduler,
                      error);
}

enum { SCHEDULER_FIELDS = 9 };

bool handle_domain_get_scheduler_type(DaemonCall *call,
                                      const RemoteDomainGetSchedulerTypeArgs *args,
                                      RemoteDomainGetSchedulerTypeRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    ret->type = arena_strdup(call_arena(call), "posix");
    ret->nparams = SCHEDULER_FIELDS;
    return domain != NULL;
}

static void add_time(ParamList *list, const char *period_name, const char *quota_name,
                     uint64_t period, int64_t quota)
{
    params_ullong(list, period_name, period ? period : PERIOD_DEFAULT);
    params_llong(list, quota_name, quota > 0 ? quota : QUOTA_NONE);
}

static bool fill_scheduler(ParamList *list, DomainDef *def, const char *what, GError **error)
{
    const DomainCputune *tune = &def->cputune;
    params_ullong(list, "cpu_shares",
                  tune->shares.set ? tune->shares.value
                                   : cgroup_ranges(CGROUP_ROOT).shares_default);
    add_time(list, "vcpu_period", "vcpu_quota", tune->period, tune->quota);
    add_time(list, "emulator_period", "emulator_quota", tune->emulator_period,
             tune->emulator_quota);
    add_time(list, "global_period", "global_quota", tune->global_period, tune->global_quota);
    add_time(list, "iothread_period", "iothread_quota", tune->iothread_period,
             tune->iothread_quota);
    return true;
}

bool handle_domain_get_scheduler_parameters(DaemonCall *call,
                                            const RemoteDomainGetSchedulerParametersArgs *args,
                                            RemoteDomainGetSchedulerParametersRet *ret,
                                            GError **error)
{
    ParamList list;
    if (!domain_get_params(call, &args->dom, 0, fill_scheduler, NULL, &list, error)) {
        return false;
    }
    ret->params = list.items;
    ret->n_params = MIN(list.count, (uint32_t)MAX(args->nparams, 0));
    return true;
}

bool handle_domain_get_scheduler_parameters_flags(
    DaemonCall *call, const RemoteDomainGetSchedulerParametersFlagsArgs *args,
    RemoteDomainGetSchedulerParametersFlagsRet *ret, GError **error)
{
    ParamList list;
    if (!domain_get_params(call, &args->dom, args->flags, fill_scheduler, NULL, &list, error)) {
        return false;
    }
    ret->params = list.items;
    ret->n_params = MIN(list.count, (uint32_t)MAX(args->nparams, 0));
    return true;
}

/* --- memory --- */

static uint64_t *memory_limit(DomainDef *def, const char *field)
{
    return strcmp(field, "hard_limit") == 0        ? &def->mem_hard_limit
           : strcmp(field, "soft_limit") == 0      ? &def->mem_soft_limit
           : strcmp(field, "swap_hard_limit") == 0 ? &def->mem_swap_hard_limit
                                                   : NULL;
}

static bool apply_memory_params(DomainDef *def, const TypedParam *params, uint32_t n,
                                GError **error)
{
    for (uint32_t p = 0; p < n; p++) {
        int64_t value;
        uint64_t *limit = memory_limit(def, params[p].field);
        if (!limit || !params_get_number(&params[p], &value)) {
            return params_refuse(&params[p], limit != NULL, error);
        }
        bool is_limit = value >= 0 && (uint64_t)value < MEMORY_UNLIMITED;
        *limit = is_limit ? (uint64_t)value : 0;
    }
    if (def->mem_swap_hard_limit && def->mem_hard_limit > def->mem_swap_hard_limit) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: memory hard_limit tunable value must be lower than or "
                         "equal to swap_hard_limit");
        return false;
    }
    return true;
}

bool handle_domain_set_memory_parameters(DaemonCall *call,
                                         const RemoteDomainSetMemoryParametersArgs *args,
                                         GError **error)
{
    return set_params(call, &args->dom, args->params, args->n_params, args->flags,
                      apply_memory_params, error);
}

static bool fill_memory(ParamList *list, DomainDef *def, const char *what, GError **error)
{
    static const char *const fields[] = { "hard_limit", "soft_limit", "swap_hard_limit" };
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        params_ullong(list, fields[i], *memory_limit(def, fields[i]) ?: MEMORY_UNLIMITED);
    }
    return true;
}

bool handle_domain_get_memory_parameters(DaemonCall *call,
                                         const RemoteDomainGetMemoryParametersArgs *args,
                                         RemoteDomainGetMemoryParametersRet *ret, GError **error)
{
    ParamList list;
    return domain_get_params(call, &args->dom, args->flags, fill_memory, NULL, &list, error) &&
           params_return(&list, args->nparams, &ret->params, &ret->n_params, &ret->nparams);
}

/* --- disks of the host --- */

typedef struct BlkioField {
    const char *field;
    size_t offset;
    bool is_wide;
} BlkioField;

static const BlkioField blkio_fields[] = {
    { "device_weight", offsetof(DomainBlkioDevice, weight), false },
    { "device_read_iops_sec", offsetof(DomainBlkioDevice, read_iops_sec), false },
    { "device_write_iops_sec", offsetof(DomainBlkioDevice, write_iops_sec), false },
    { "device_read_bytes_sec", offsetof(DomainBlkioDevice, read_bytes_sec), true },
    { "device_write_bytes_sec", offsetof(DomainBlkioDevice, write_bytes_sec), true },
};

static uint64_t blkio_get(const DomainBlkioDevice *device, const BlkioField *field)
{
    const void *member = (const char *)device + field->offset;
    return field->is_wide ? *(const uint64_t *)member : *(const uint32_t *)member;
}

static void blkio_set(DomainBlkioDevice *device, const BlkioField *field, uint64_t value)
{
    void *member = (char *)device + field->offset;
    if (field->is_wide) {
        *(uint64_t *)member = value;
    } else {
        *(uint32_t *)member = (uint32_t)MIN(value, UINT32_MAX);
    }
}

static DomainBlkioDevice *blkio_device(DomainDef *def, const char *path)
{
    for (unsigned i = 0; i < def->blkio_devices.count; i++) {
        DomainBlkioDevice *device = def->blkio_devices.item[i];
        if (strcmp(device->path, path) == 0) {
            return device;
        }
    }
    DomainBlkioDevice *device = g_new0(DomainBlkioDevice, 1);
    device->path = g_strdup(path);
    xml_list_append(&def->blkio_devices, device);
    return device;
}

/* "PATH,VALUE,PATH,VALUE" */
static bool apply_blkio_text(DomainDef *def, const BlkioField *field, const TypedParam *param,
                             GError **error)
{
    g_auto(GStrv) words = g_strsplit(param->value.s, ",", -1);
    guint count = g_strv_length(words);
    if (count % 2) {
        return params_refuse(param, true, error);
    }
    for (guint i = 0; i < count; i += 2) {
        guint64 value;
        if (words[i][0] != '/' ||
            !g_ascii_string_to_unsigned(words[i + 1], 10, 0, G_MAXUINT64, &value, NULL)) {
            return params_refuse(param, true, error);
        }
        blkio_set(blkio_device(def, words[i]), field, value);
    }
    return true;
}

static bool apply_blkio_params(DomainDef *def, const TypedParam *params, uint32_t n, GError **error)
{
    CgroupRanges ranges = cgroup_ranges(CGROUP_ROOT);
    for (uint32_t p = 0; p < n; p++) {
        int64_t value;
        const BlkioField *field = NULL;
        for (unsigned i = 0; i < G_N_ELEMENTS(blkio_fields); i++) {
            field = strcmp(blkio_fields[i].field, params[p].field) == 0 ? &blkio_fields[i] : field;
        }
        if (field && params[p].type == TYPED_PARAM_STRING) {
            if (!apply_blkio_text(def, field, &params[p], error)) {
                return false;
            }
        } else if (strcmp(params[p].field, "weight") == 0 &&
                   params_get_number(&params[p], &value) && value >= ranges.io_weight.least &&
                   value <= ranges.io_weight.most) {
            def->blkio_weight = (uint32_t)value;
        } else {
            return params_refuse(&params[p], field || strcmp(params[p].field, "weight") == 0,
                                 error);
        }
    }
    return true;
}

bool handle_domain_set_blkio_parameters(DaemonCall *call,
                                        const RemoteDomainSetBlkioParametersArgs *args,
                                        GError **error)
{
    return set_params(call, &args->dom, args->params, args->n_params, args->flags,
                      apply_blkio_params, error);
}

/* "PATH,VALUE,PATH,VALUE" of the devices that have the value. */
static char *blkio_text(const DomainDef *def, const BlkioField *field)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < def->blkio_devices.count; i++) {
        const DomainBlkioDevice *device = def->blkio_devices.item[i];
        uint64_t value = blkio_get(device, field);
        if (value) {
            g_string_append_printf(text, "%s%s,%" G_GUINT64_FORMAT, text->len ? "," : "",
                                   device->path, value);
        }
    }
    return g_string_free(text, FALSE);
}

static bool fill_blkio(ParamList *list, DomainDef *def, const char *what, GError **error)
{
    params_uint(list, "weight", def->blkio_weight);
    for (unsigned i = 0; i < G_N_ELEMENTS(blkio_fields); i++) {
        g_autofree char *text = blkio_text(def, &blkio_fields[i]);
        params_string(list, blkio_fields[i].field, text);
    }
    return true;
}

bool handle_domain_get_blkio_parameters(DaemonCall *call,
                                        const RemoteDomainGetBlkioParametersArgs *args,
                                        RemoteDomainGetBlkioParametersRet *ret, GError **error)
{
    ParamList list;
    return domain_get_params(call, &args->dom, args->flags, fill_blkio, NULL, &list, error) &&
           params_return(&list, args->nparams, &ret->params, &ret->n_params, &ret->nparams);
}

/* --- nodes of memory --- */

/* libvirt's numbers: strict, preferred, interleave, restrictive. */
static const DomainNumatuneMode numa_modes[] = { NUMATUNE_STRICT, NUMATUNE_PREFERRED,
                                                 NUMATUNE_INTERLEAVE, NUMATUNE_RESTRICTIVE };

static bool apply_numa_params(DomainDef *def, const TypedParam *params, uint32_t n, GError **error)
{
    for (uint32_t p = 0; p < n; p++) {
        int64_t value;
        CpuSet nodes;
        if (strcmp(params[p].field, "numa_mode") == 0 && params_get_number(&params[p], &value) &&
            value >= 0 && value < (int64_t)G_N_ELEMENTS(numa_modes)) {
            def->numatune_mode = numa_modes[value];
        } else if (strcmp(params[p].field, "numa_nodeset") == 0 &&
                   params[p].type == TYPED_PARAM_STRING && params[p].value.s[0] &&
                   cpuset_parse(params[p].value.s, &nodes)) {
            g_free(def->numatune_nodeset);
            def->numatune_nodeset = cpuset_format(&nodes);
        } else {
            return params_refuse(&params[p], g_str_has_prefix(params[p].field, "numa_"), error);
        }
    }
    return true;
}

bool handle_domain_set_numa_parameters(DaemonCall *call,
                                       const RemoteDomainSetNumaParametersArgs *args,
                                       GError **error)
{
    return set_params(call, &args->dom, args->params, args->n_params, args->flags,
                      apply_numa_params, error);
}

static bool fill_numa(ParamList *list, DomainDef *def, const char *what, GError **error)
{
    int mode = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(numa_modes); i++) {
        mode = def->numatune_mode == numa_modes[i] ? (int)i : mode;
    }
    params_int(list, "numa_mode", mode);
    params_string(list, "numa_nodeset", def->numatune_nodeset ?: "");
    return true;
}

bool handle_domain_get_numa_parameters(DaemonCall *call,
                                       const RemoteDomainGetNumaParametersArgs *args,
                                       RemoteDomainGetNumaParametersRet *ret, GError **error)
{
    ParamList list;
    return domain_get_params(call, &args->dom, args->flags, fill_numa, NULL, &list, error) &&
           params_return(&list, args->nparams, &ret->params, &ret->n_params, &ret->nparams);
}

static const DispatchEntry entries[] = {
    HANDLER_INLINE(domain_get_blkio_parameters),
    HANDLER_INLINE(domain_get_memory_parameters),
    HANDLER_INLINE(domain_get_numa_parameters),
    HANDLER_INLINE(domain_get_scheduler_parameters),
    HANDLER_INLINE(domain_get_scheduler_parameters_flags),
    HANDLER_INLINE(domain_get_scheduler_type),
    HANDLER(domain_set_blkio_parameters),
    HANDLER(domain_set_memory_parameters),
    HANDLER(domain_set_numa_parameters),
    HANDLER(domain_set_scheduler_parameters),
    HANDLER(domain_set_scheduler_parameters_flags),
};

const DaemonModule domain_tuning_module = {
    .name = "domain-tuning",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
