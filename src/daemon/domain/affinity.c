/* CPU affinity by sched_setaffinity(2): it needs no control groups.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/affinity.h"

#include "conf/domain/enums.h"
#include "daemon/domain/json-peer.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/sysinfo.h>

/* Reads a file each time: to be asked once, not for each CPU. */
static unsigned host_cpus(void)
{
    return (unsigned)MIN(get_nprocs_conf(), CPUSET_MAX);
}

bool affinity_from_map(const uint8_t *map, uint32_t size, CpuSet *out, GError **error)
{
    unsigned count = host_cpus();
    *out = (CpuSet){ 0 };
    for (unsigned cpu = 0; cpu < count && cpu / 8 < size; cpu++) {
        if (map[cpu / 8] >> (cpu % 8) & 1) {
            cpuset_add(out, cpu);
        }
    }
    if (cpuset_count(out) == 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: Empty cpu list for pinning: the host has CPUs 0 to %u",
                         count - 1);
        return false;
    }
    return true;
}

void affinity_to_map(const CpuSet *set, uint8_t *map, uint32_t size)
{
    memset(map, 0, size);
    for (unsigned cpu = 0; cpu < CPUSET_MAX && cpu / 8 < size; cpu++) {
        map[cpu / 8] |= (uint8_t)(cpuset_has(set, cpu) << (cpu % 8));
    }
}

void affinity_parse(const char *text, CpuSet *out)
{
    bool is_set = text && cpuset_parse(text, out);
    unsigned count = host_cpus();
    if (!is_set) {
        *out = (CpuSet){ 0 };
    }
    for (unsigned cpu = 0; cpu < CPUSET_MAX; cpu++) {
        if (cpu >= count) {
            cpuset_remove(out, cpu);
        } else if (!is_set) {
            cpuset_add(out, cpu);
        }
    }
}

const char *affinity_find_pin(const XmlList *pins, uint32_t id)
{
    for (unsigned i = 0; i < pins->count; i++) {
        const DomainPin *pin = pins->item[i];
        if (pin->id == id) {
            return pin->cpuset;
        }
    }
    return NULL;
}

void affinity_set_pin(XmlList *pins, uint32_t id, const char *text)
{
    for (unsigned i = 0; i < pins->count; i++) {
        DomainPin *pin = pins->item[i];
        if (pin->id == id) {
            xml_list_steal(pins, i);
            g_free(pin->cpuset);
            g_free(pin);
            break;
        }
    }
    if (text) {
        DomainPin *pin = g_new0(DomainPin, 1);
        pin->id = id;
        pin->cpuset = g_strdup(text);
        xml_list_append(pins, pin);
    }
}

bool affinity_set(pid_t tid, const CpuSet *set, GError **error)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (unsigned cpu = 0; cpu < MIN(CPUSET_MAX, CPU_SETSIZE); cpu++) {
        if (cpuset_has(set, cpu)) {
            CPU_SET(cpu, &cpus);
        }
    }
    if (tid <= 0 || sched_setaffinity(tid, sizeof(cpus), &cpus) < 0) {
        g_autofree char *text = cpuset_format(set);
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot set CPU affinity of thread %d to '%s': %s", (int)tid, text,
                         tid <= 0 ? "it is not known" : g_strerror(errno));
        return false;
    }
    return true;
}

bool affinity_get(pid_t tid, CpuSet *out)
{
    cpu_set_t cpus;
    *out = (CpuSet){ 0 };
    if (tid <= 0 || sched_getaffinity(tid, sizeof(cpus), &cpus) < 0) {
        return false;
    }
    for (unsigned cpu = 0; cpu < MIN(CPUSET_MAX, CPU_SETSIZE); cpu++) {
        if (CPU_ISSET(cpu, &cpus)) {
            cpuset_add(out, cpu);
        }
    }
    return true;
}

static bool is_among(const GArray *threads, pid_t tid)
{
    for (guint i = 0; i < threads->len; i++) {
        if (g_array_index(threads, pid_t, i) == tid) {
            return true;
        }
    }
    return false;
}

bool affinity_set_emulator(pid_t pid, const GArray *others, const CpuSet *set, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, error);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        pid_t tid = (pid_t)g_ascii_strtoll(name, NULL, 10);
        g_autoptr(GError) reason = NULL;
        /* A thread may end meanwhile. */
        if (tid > 0 && !is_among(others, tid) && !affinity_set(tid, set, &reason) && tid == pid) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return false;
        }
    }
    return dir != NULL;
}

GHashTable *affinity_iothreads(QmpClient *monitor, GError **error)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-iothreads", NULL, -1, QMP_TIMEOUT_MS, error);
    if (!answer) {
        return NULL;
    }
    GHashTable *threads = g_hash_table_new(NULL, NULL);
    JsonArray *list = JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        JsonObject *thread = json_peer_element(list, i);
        const char *id = json_peer_string(thread, "id");
        if (id && g_str_has_prefix(id, "iothread")) {
            gint64 number = g_ascii_strtoll(id + strlen("iothread"), NULL, 10);
            gint64 tid = json_peer_int(thread, "thread-id", 0);
            g_hash_table_insert(threads, GINT_TO_POINTER((int)number), GINT_TO_POINTER((int)tid));
        }
    }
    return threads;
}

/* What affinity_apply() needs of the domain, taken under its lock. */
typedef struct Wanted {
    pid_t pid;
    GArray *others; /* threads that are not the emulator's */
    DomainDef *def;
} Wanted;

static bool has_pins(const DomainDef *def)
{
    return def->vcpu_cpuset || def->cputune.emulator_pin || def->cputune.vcpu_pins.count ||
           def->cputune.iothread_pins.count;
}

/* Threads that the engine made later have the affinity of its main thread. */
static bool is_bound(const Wanted *wanted)
{
    return wanted->def->cputune.emulator_pin != NULL;
}

static bool apply_vcpus(const Wanted *wanted, GError **error)
{
    for (guint i = 0; i < wanted->others->len; i++) {
        const char *pin =
            affinity_find_pin(&wanted->def->cputune.vcpu_pins, i) ?: wanted->def->vcpu_cpuset;
        pid_t tid = g_array_index(wanted->others, pid_t, i);
        CpuSet set;
        affinity_parse(pin, &set);
        if ((pin || is_bound(wanted)) && tid > 0 && !affinity_set(tid, &set, error)) {
            return false;
        }
    }
    return true;
}

static bool apply_iothreads(const Wanted *wanted, QmpClient *monitor, GError **error)
{
    g_autoptr(GHashTable) threads = affinity_iothreads(monitor, NULL);
    GHashTableIter iter;
    gpointer id, tid;
    if (!threads) {
        return true;
    }
    g_hash_table_iter_init(&iter, threads);
    while (g_hash_table_iter_next(&iter, &id, &tid)) {
        const char *pin =
            affinity_find_pin(&wanted->def->cputune.iothread_pins, (uint32_t)GPOINTER_TO_INT(id))
                ?: wanted->def->vcpu_cpuset;
        pid_t thread = GPOINTER_TO_INT(tid);
        CpuSet set;
        affinity_parse(pin, &set);
        if ((pin || is_bound(wanted)) && !affinity_set(thread, &set, error)) {
            return false;
        }
        g_array_append_val(wanted->others, thread);
    }
    return true;
}

bool affinity_apply(Domain *domain, QmpClient *monitor, GError **error)
{
    Wanted wanted = { 0 };
    g_mutex_lock(&domain->lock);
    if (domain->runtime && domain->live && has_pins(domain->live)) {
        wanted.pid = domain->runtime->process.pid;
        wanted.def = domain_def_copy(domain->live);
        wanted.others = g_array_new(FALSE, TRUE, sizeof(pid_t));
        g_array_append_vals(wanted.others, domain->runtime->vcpu_tids->data,
                            domain->runtime->vcpu_tids->len);
    }
    g_mutex_unlock(&domain->lock);
    if (!wanted.def) {
        return true;
    }
    bool ok = apply_vcpus(&wanted, error) && apply_iothreads(&wanted, monitor, error);
    const char *pin = wanted.def->cputune.emulator_pin ?: wanted.def->vcpu_cpuset;
    if (ok && pin) {
        CpuSet set;
        affinity_parse(pin, &set);
        ok = affinity_set_emulator(wanted.pid, wanted.others, &set, error);
    }
    g_array_unref(wanted.others);
    domain_def_free(wanted.def);
    return ok;
}
