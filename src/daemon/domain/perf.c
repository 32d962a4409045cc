/* Counters of the host's kernel for the threads of a guest.
 *
 * Each thread that the guest has when counting begins is counted, with those that it makes later.
 * Left out: Intel RDT (cmt, mbmt, mbml), which Linux no longer offers in this way.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/perf.h"

#include "daemon/domain/change.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct PerfEvent {
    const char *name;
    const char *stat;
    uint32_t type; /* PERF_TYPE_; PERF_TYPE_MAX: none of this kernel's */
    uint64_t config;
} PerfEvent;

#define EVENT(name, type, config)                                                                  \
    {                                                                                              \
#name, "perf." #name, PERF_TYPE_##type, config                                             \
    }
#define HARDWARE(name, config) EVENT(name, HARDWARE, PERF_COUNT_HW_##config)
#define SOFTWARE(name, config) EVENT(name, SOFTWARE, PERF_COUNT_SW_##config)

static const PerfEvent events[] = {
    EVENT(cmt, MAX, 0),
    EVENT(mbmt, MAX, 0),
    EVENT(mbml, MAX, 0),
    HARDWARE(cpu_cycles, CPU_CYCLES),
    HARDWARE(instructions, INSTRUCTIONS),
    HARDWARE(cache_references, CACHE_REFERENCES),
    HARDWARE(cache_misses, CACHE_MISSES),
    HARDWARE(branch_instructions, BRANCH_INSTRUCTIONS),
    HARDWARE(branch_misses, BRANCH_MISSES),
    HARDWARE(bus_cycles, BUS_CYCLES),
    HARDWARE(stalled_cycles_frontend, STALLED_CYCLES_FRONTEND),
    HARDWARE(stalled_cycles_backend, STALLED_CYCLES_BACKEND),
    HARDWARE(ref_cpu_cycles, REF_CPU_CYCLES),
    SOFTWARE(cpu_clock, CPU_CLOCK),
    SOFTWARE(task_clock, TASK_CLOCK),
    SOFTWARE(page_faults, PAGE_FAULTS),
    SOFTWARE(context_switches, CONTEXT_SWITCHES),
    SOFTWARE(cpu_migrations, CPU_MIGRATIONS),
    SOFTWARE(page_faults_min, PAGE_FAULTS_MIN),
    SOFTWARE(page_faults_maj, PAGE_FAULTS_MAJ),
    SOFTWARE(alignment_faults, ALIGNMENT_FAULTS),
    SOFTWARE(emulation_faults, EMULATION_FAULTS),
};

struct PerfCounters {
    GArray *fds[G_N_ELEMENTS(events)]; /* of int, one for each thread; NULL: not counted */
};

static void close_fds(GArray *fds)
{
    for (guint i = 0; fds && i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_clear_pointer(&fds, g_array_unref);
}

void perf_free(PerfCounters *counters)
{
    for (unsigned i = 0; counters && i < G_N_ELEMENTS(events); i++) {
        close_fds(counters->fds[i]);
    }
    g_free(counters);
}

static int open_counter(const PerfEvent *event, pid_t tid)
{
    struct perf_event_attr attr = {
        .type = event->type,
        .size = sizeof(attr),
        .config = event->config,
        .inherit = 1,
    };
    return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Counters of all threads (transfer full), or NULL with @error. */
static GArray *open_counters(const PerfEvent *event, pid_t pid, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) dir = event->type == PERF_TYPE_MAX ? NULL : g_dir_open(path, 0, NULL);
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    int reason = dir ? 0 : ENOENT;
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        int fd = open_counter(event, (pid_t)g_ascii_strtoll(name, NULL, 10));
        if (fd >= 0) {
            g_array_append_val(fds, fd);
        } else if (errno != ESRCH) { /* that thread ended meanwhile */
            reason = errno;
            break;
        }
    }
    if (reason) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "Failed to enable the perf event '%s': %s",
                         event->name,
                         reason == ENOENT || reason == EOPNOTSUPP ? "this host has no such counter"
                                                                  : g_strerror(reason));
        close_fds(fds);
        return NULL;
    }
    return fds;
}

static guint64 read_counters(const GArray *fds)
{
    guint64 sum = 0;
    for (guint i = 0; i < fds->len; i++) {
        guint64 value;
        if (read(g_array_index(fds, int, i), &value, sizeof(value)) == sizeof(value)) {
            sum += value;
        }
    }
    return sum;
}

void perf_add_stats_locked(ParamList *list, Domain *domain)
{
    const PerfCounters *counters = domain->runtime->perf;
    for (unsigned i = 0; counters && i < G_N_ELEMENTS(events); i++) {
        if (counters->fds[i]) {
            params_ullong(list, events[i].stat, read_counters(counters->fds[i]));
        }
    }
}

/* --- definitions --- */

static DomainPerfEvent *find_in(const DomainDef *def, const char *name)
{
    for (unsigned i = 0; i < def->perf_events.count; i++) {
        DomainPerfEvent *event = def->perf_events.item[i];
        if (strcmp(event->name, name) == 0) {
            return event;
        }
    }
    return NULL;
}

static bool is_enabled(const DomainDef *def, const char *name)
{
    const DomainPerfEvent *event = find_in(def, name);
    return event && event->enabled == TRI_YES;
}

static void set_in(DomainDef *def, const char *name, bool on)
{
    DomainPerfEvent *event = find_in(def, name);
    if (!event) {
        event = g_new0(DomainPerfEvent, 1);
        event->name = g_strdup(name);
        xml_list_append(&def->perf_events, event);
    }
    event->enabled = on ? TRI_YES : TRI_NO;
}

/* --- of a running guest --- */

/* Begins or ends counting. With the domain's job, or while it starts. */
static bool set_live(Domain *domain, unsigned number, bool on, GError **error)
{
    g_mutex_lock(&domain->lock);
    pid_t pid = domain->runtime ? domain->runtime->process.pid : 0;
    g_mutex_unlock(&domain->lock);
    GArray *fds = on ? open_counters(&events[number], pid, error) : NULL;
    if (on && !fds) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    if (runtime && domain->live) {
        if (!runtime->perf) {
            runtime->perf = g_new0(PerfCounters, 1);
        }
        GArray *before = runtime->perf->fds[number];
        runtime->perf->fds[number] = fds;
        fds = before;
        set_in(domain->live, events[number].name, on);
    }
    g_mutex_unlock(&domain->lock);
    close_fds(fds);
    return true;
}

bool perf_apply(Domain *domain, GError **error)
{
    bool ok = true;
    for (unsigned i = 0; ok && i < G_N_ELEMENTS(events); i++) {
        g_mutex_lock(&domain->lock);
        bool wanted = domain->live && is_enabled(domain->live, events[i].name);
        g_mutex_unlock(&domain->lock);
        ok = !wanted || set_live(domain, i, true, error);
    }
    return ok;
}

static int find_event(const TypedParam *param, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        if (strcmp(events[i].name, param->field) == 0 && param->type == TYPED_PARAM_BOOLEAN) {
            return (int)i;
        }
    }
    daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                     "argument unsupported: '%s' is no perf event to be switched on or off",
                     param->field);
    return -1;
}

bool handle_domain_set_perf_events(DaemonCall *call, const RemoteDomainSetPerfEventsArgs *args,
                                   GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error) ||
        !params_check_once(args->params, args->n_params, error)) {
        return false;
    }
    for (unsigned i = 0; i < args->n_params; i++) {
        if (find_event(&args->params[i], error) < 0) {
            return false;
        }
    }
    if (!change_begin(&change, call, &args->dom, "perf", args->flags, error)) {
        return false;
    }
    for (unsigned i = 0; change.config && i < args->n_params; i++) {
        set_in(change.config, args->params[i].field, args->params[i].value.b);
    }
    bool ok = change_store(&change, error);
    for (unsigned i = 0; ok && change.monitor && i < args->n_params; i++) {
        int number = find_event(&args->params[i], error);
        ok = number >= 0 &&
             set_live(change.domain, (unsigned)number, args->params[i].value.b, error);
    }
    return change_end(&change, ok);
}

static bool fill_events(ParamList *list, DomainDef *def, const char *what, GError **error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        params_bool(list, events[i].name, is_enabled(def, events[i].name));
    }
    return true;
}

bool handle_domain_get_perf_events(DaemonCall *call, const RemoteDomainGetPerfEventsArgs *args,
                                   RemoteDomainGetPerfEventsRet *ret, GError **error)
{
    ParamList list;
    if (!domain_get_params(call, &args->dom, args->flags, fill_events, NULL, &list, error)) {
        return false;
    }
    ret->params = list.items;
    ret->n_params = list.count;
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER_INLINE(domain_get_perf_events),
    HANDLER(domain_set_perf_events),
};

const DaemonModule domain_perf_module = {
    .name = "domain-perf",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
