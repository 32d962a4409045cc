/* Facts about the host: processors, memory, firmware's names for it.
 *
 * From /proc and /sys. NUMA nodes are counted; memory is reported for each.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/error.h"
#include "daemon/host/host.h"
#include "daemon/host/sysfs.h"
#include "daemon/modules.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define MAX_VCPUS 255
#define ALL_CPUS (-1)
#define ALL_CELLS (-1)

static guint64 memory_total_kib(void)
{
    g_autofree char *text = sysfs_text("/proc/meminfo");
    guint64 kib = 0;
    sysfs_find_kib(text, "MemTotal:", &kib);
    return kib;
}

unsigned host_count_nodes(void)
{
    uint8_t bits[NODES_MAX / 8] = { 0 };
    unsigned end = sysfs_list(NODE_DIR "/online", bits, NODES_MAX);
    unsigned n = 0;
    for (unsigned i = 0; i < end; i++) {
        n += sysfs_has_bit(bits, i);
    }
    return MAX(n, 1);
}

char *host_nodes_text(void)
{
    g_autofree char *text = sysfs_text(NODE_DIR "/online");
    return g_strdup(text && *g_strstrip(text) ? text : "0");
}

static uint32_t cpu_mhz(void)
{
    guint64 khz;
    if (sysfs_number(&khz, CPU_DIR "/cpu0/cpufreq/cpuinfo_max_freq")) {
        return (uint32_t)(khz / 1000);
    }
    g_autofree char *text = sysfs_text("/proc/cpuinfo");
    const char *at = text ? strstr(text, "cpu MHz") : NULL;
    at = at ? strchr(at, ':') : NULL;
    return at ? (uint32_t)g_ascii_strtod(at + 1, NULL) : 0;
}

/* Sockets, cores of a socket, threads of a core; all processors in one socket when the numbers do
 * not multiply. */
void host_read_topology(HostTopology *out)
{
    uint8_t online[CPUS_MAX / 8] = { 0 };
    unsigned end = sysfs_list(CPU_DIR "/online", online, CPUS_MAX);
    g_autoptr(GHashTable) sockets = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) cores = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    *out = (HostTopology){ 0 };
    for (unsigned i = 0; i < end; i++) {
        guint64 package = 0, core = i;
        if (!sysfs_has_bit(online, i)) {
            continue;
        }
        out->cpus++;
        sysfs_number(&package, CPU_DIR "/cpu%u/topology/physical_package_id", i);
        sysfs_number(&core, CPU_DIR "/cpu%u/topology/core_id", i);
        gint64 *key = g_new(gint64, 1);
        *key = (gint64)(package << 32 | core);
        g_hash_table_add(cores, key);
        g_hash_table_add(sockets, GUINT_TO_POINTER((unsigned)package + 1));
    }
    out->sockets = MAX(g_hash_table_size(sockets), 1);
    out->cores = MAX(g_hash_table_size(cores) / out->sockets, 1);
    out->threads = MAX(out->cpus / (out->sockets * out->cores), 1);
    if (out->sockets * out->cores * out->threads != out->cpus) {
        *out = (HostTopology){ out->cpus, 1, out->cpus, 1 };
    }
}

bool handle_node_get_info(DaemonCall *call, RemoteNodeGetInfoRet *ret, GError **error)
{
    (void)call;
    (void)error;
    HostTopology topology;
    struct utsname name;
    host_read_topology(&topology);
    if (uname(&name) == 0) {
        g_strlcpy(ret->model, name.machine, sizeof(ret->model));
    }
    unsigned nodes = host_count_nodes();
    ret->memory = memory_total_kib();
    ret->cpus = (int32_t)topology.cpus;
    ret->mhz = (int32_t)cpu_mhz();
    ret->nodes = (int32_t)nodes;
    /* For each node, where they divide. */
    ret->sockets =
        (int32_t)(topology.sockets % nodes == 0 ? topology.sockets / nodes : topology.sockets);
    ret->nodes = topology.sockets % nodes == 0 ? ret->nodes : 1;
    ret->cores = (int32_t)topology.cores;
    ret->threads = (int32_t)topology.threads;
    return true;
}

bool handle_connect_get_max_vcpus(DaemonCall *call, const RemoteConnectGetMaxVcpusArgs *args,
                                  RemoteConnectGetMaxVcpusRet *ret, GError **error)
{
    (void)call;
    if (args->type && g_ascii_strcasecmp(args->type, "qemu") != 0 &&
        g_ascii_strcasecmp(args->type, "kvm") != 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "unknown type '%s'; there are: qemu, kvm",
                         args->type);
        return false;
    }
    ret->max_vcpus = MAX_VCPUS;
    return true;
}

bool handle_node_get_free_memory(DaemonCall *call, RemoteNodeGetFreeMemoryRet *ret, GError **error)
{
    (void)call;
    g_autofree char *text = sysfs_text("/proc/meminfo");
    guint64 kib;
    if (!sysfs_find_kib(text, "MemFree:", &kib)) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot read '/proc/meminfo'");
        return false;
    }
    ret->free_mem = kib * 1024;
    return true;
}

char *host_node_meminfo(int cell)
{
    g_autofree char *path = g_strdup_printf(NODE_DIR "/node%d/meminfo", cell);
    char *text = sysfs_text(path);
    /* Hosts without NUMA have one node, which is all memory. */
    return text || cell > 0 ? text : sysfs_text("/proc/meminfo");
}

bool handle_node_get_cells_free_memory(DaemonCall *call,
                                       const RemoteNodeGetCellsFreeMemoryArgs *args,
                                       RemoteNodeGetCellsFreeMemoryRet *ret, GError **error)
{
    unsigned nodes = host_count_nodes();
    if (args->start_cell < 0 || (unsigned)args->start_cell >= nodes) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: start cell %d out of range (0-%u)", args->start_cell,
                         nodes - 1);
        return false;
    }
    if (args->maxcells <= 0 || args->maxcells > NODES_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "NUMA cells %d and the %d after it are not all there; the host has %u",
                         args->start_cell, args->maxcells, nodes);
        return false;
    }
    unsigned n = MIN((unsigned)args->maxcells, nodes - (unsigned)args->start_cell);
    ret->cells = arena_alloc_array(call_arena(call), n, sizeof(*ret->cells));
    for (unsigned i = 0; ret->cells && i < n; i++) {
        g_autofree char *text = host_node_meminfo(args->start_cell + (int)i);
        guint64 kib = 0;
        sysfs_find_kib(text, "MemFree:", &kib);
        ret->cells[i] = kib * 1024;
        ret->n_cells = i + 1;
    }
    return true;
}

bool handle_node_get_memory_stats(DaemonCall *call, const RemoteNodeGetMemoryStatsArgs *args,
                                  RemoteNodeGetMemoryStatsRet *ret, GError **error)
{
    static const struct {
        const char *field, *line;
        bool whole_host_only;
    } rows[] = {
        { "total", "MemTotal:", false },
        { "free", "MemFree:", false },
        { "buffers", "Buffers:", true },
        { "cached", "Cached:", true },
    };
    unsigned n = args->cell_num == ALL_CELLS ? 4 : 2;
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->cell_num < ALL_CELLS || args->cell_num >= (int)host_count_nodes()) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "the host has no NUMA cell %d",
                         args->cell_num);
        return false;
    }
    if (args->nparams == 0) {
        ret->nparams = (int32_t)n;
        return true;
    }
    g_autofree char *text = args->cell_num == ALL_CELLS ? sysfs_text("/proc/meminfo")
                                                        : host_node_meminfo(args->cell_num);
    n = MIN(n, (unsigned)MAX(args->nparams, 0));
    ret->params = arena_alloc_array(call_arena(call), n, sizeof(*ret->params));
    for (unsigned i = 0; ret->params && i < n; i++) {
        guint64 kib = 0;
        sysfs_find_kib(text, rows[i].line, &kib);
        ret->params[i] = (RemoteNodeGetMemoryStats){ rows[i].field, kib };
        ret->n_params = i + 1;
    }
    return true;
}

/* The line of @cpu in /proc/stat: user nice system idle iowait irq softirq, in ticks. */
static bool read_cpu_ticks(int cpu, guint64 ticks[7])
{
    g_autofree char *text = sysfs_text("/proc/stat");
    g_autofree char *label = cpu == ALL_CPUS ? g_strdup("cpu ") : g_strdup_printf("cpu%d ", cpu);
    const char *at = text ? strstr(text, label) : NULL;
    if (!at) {
        return false;
    }
    at += strlen(label);
    for (int i = 0; i < 7; i++) {
        char *after;
        ticks[i] = g_ascii_strtoull(at, &after, 10);
        at = after;
    }
    return true;
}

bool handle_node_get_cpu_stats(DaemonCall *call, const RemoteNodeGetCpuStatsArgs *args,
                               RemoteNodeGetCpuStatsRet *ret, GError **error)
{
    enum { FIELDS = 4 };
    guint64 t[7];
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->cpu_num < ALL_CPUS || !read_cpu_ticks(args->cpu_num, t)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "the host has no processor %d",
                         args->cpu_num);
        return false;
    }
    if (args->nparams == 0) {
        ret->nparams = FIELDS;
        return true;
    }
    guint64 ns = 1000000000u / (guint64)sysconf(_SC_CLK_TCK);
    const RemoteNodeGetCpuStats all[FIELDS] = {
        { "kernel", (t[2] + t[5] + t[6]) * ns },
        { "user", (t[0] + t[1]) * ns },
        { "idle", t[3] * ns },
        { "iowait", t[4] * ns },
    };
    unsigned n = (unsigned)CLAMP(args->nparams, 0, FIELDS);
    ret->params = arena_alloc_array(call_arena(call), n, sizeof(*ret->params));
    if (ret->params) {
        memcpy(ret->params, all, n * sizeof(*all));
        ret->n_params = n;
    }
    return true;
}

bool handle_node_get_cpu_map(DaemonCall *call, const RemoteNodeGetCpuMapArgs *args,
                             RemoteNodeGetCpuMapRet *ret, GError **error)
{
    uint8_t present[CPUS_MAX / 8] = { 0 };
    uint8_t online[CPUS_MAX / 8] = { 0 };
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    unsigned n = sysfs_list(CPU_DIR "/present", present, CPUS_MAX);
    sysfs_list(CPU_DIR "/online", online, CPUS_MAX);
    for (unsigned i = 0; args->need_online && i < n; i++) {
        ret->online += sysfs_has_bit(online, i);
    }
    if (args->need_map) {
        ret->n_cpumap = (n + 7) / 8;
        ret->cpumap = arena_alloc(call_arena(call), ret->n_cpumap);
        if (!ret->cpumap) {
            ret->n_cpumap = 0;
            return true;
        }
        memcpy(ret->cpumap, online, ret->n_cpumap);
    }
    ret->ret = (int32_t)n;
    return true;
}

static void append_dmi(GString *xml, const char *entry, const char *file)
{
    g_autofree char *path = g_strconcat("/sys/class/dmi/id/", file, NULL);
    g_autofree char *text = sysfs_text(path);
    if (text && *text) {
        g_autofree char *escaped = g_markup_escape_text(text, -1);
        g_string_append_printf(xml, "    <entry name='%s'>%s</entry>\n", entry, escaped);
    }
}

bool handle_connect_get_sysinfo(DaemonCall *call, const RemoteConnectGetSysinfoArgs *args,
                                RemoteConnectGetSysinfoRet *ret, GError **error)
{
    static const struct {
        const char *group, *entry, *file;
    } rows[] = {
        { "bios", "vendor", "bios_vendor" },
        { "bios", "version", "bios_version" },
        { "bios", "date", "bios_date" },
        { "bios", "release", "bios_release" },
        { "system", "manufacturer", "sys_vendor" },
        { "system", "product", "product_name" },
        { "system", "version", "product_version" },
        { "system", "serial", "product_serial" },
        { "system", "uuid", "product_uuid" },
        { "system", "sku", "product_sku" },
        { "system", "family", "product_family" },
        { "baseBoard", "manufacturer", "board_vendor" },
        { "baseBoard", "product", "board_name" },
        { "baseBoard", "version", "board_version" },
        { "baseBoard", "serial", "board_serial" },
        { "baseBoard", "asset", "board_asset_tag" },
        { "chassis", "manufacturer", "chassis_vendor" },
        { "chassis", "version", "chassis_version" },
        { "chassis", "serial", "chassis_serial" },
        { "chassis", "asset", "chassis_asset_tag" },
    };
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (access("/sys/class/dmi/id", R_OK) < 0) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: Host SMBIOS information is not available");
        return false;
    }
    GString *xml = g_string_new("<sysinfo type='smbios'>\n");
    GString *group = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        append_dmi(group, rows[i].entry, rows[i].file);
        bool is_last = i + 1 == G_N_ELEMENTS(rows) || strcmp(rows[i].group, rows[i + 1].group) != 0;
        if (is_last && group->len) {
            g_string_append_printf(xml, "  <%s>\n%s  </%s>\n", rows[i].group, group->str,
                                   rows[i].group);
        }
        if (is_last) {
            g_string_truncate(group, 0);
        }
    }
    g_string_free(group, TRUE);
    g_string_append(xml, "</sysinfo>\n");
    ret->sysinfo = arena_take(call_arena(call), g_string_free(xml, FALSE), NULL);
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER_INLINE(connect_get_max_vcpus),
    HANDLER_INLINE(connect_get_sysinfo),
    HANDLER_INLINE(node_get_cells_free_memory),
    HANDLER_INLINE(node_get_cpu_map),
    HANDLER_INLINE(node_get_cpu_stats),
    HANDLER_INLINE(node_get_free_memory),
    HANDLER_INLINE(node_get_info),
    HANDLER_INLINE(node_get_memory_stats),
};

const DaemonModule host_node_module = {
    .name = "host-node",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
