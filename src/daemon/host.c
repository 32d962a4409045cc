/* Facts about the host: processors, memory, firmware's names for it.
 *
 * From /proc and /sys. NUMA nodes are counted; memory is reported for each.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/error.h"
#include "daemon/modules.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define CPU_DIR "/sys/devices/system/cpu"
#define NODE_DIR "/sys/devices/system/node"
#define CPUS_MAX 8192u
#define NODES_MAX 1024
#define MAX_VCPUS 64
#define ALL_CPUS (-1)
#define ALL_CELLS (-1)

/* The file's text without its last newline, or NULL. (transfer full) */
static char *read_text(const char *path)
{
    char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return NULL;
    }
    return g_strchomp(text);
}

static G_GNUC_PRINTF(2, 3) bool read_number(guint64 *out_value, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *path = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_autofree char *text = read_text(path);
    return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, out_value, NULL);
}

/* Sets a bit for each number of a kernel list as "0-3,8"; returns the highest plus one. */
static unsigned parse_list(const char *text, uint8_t *bits, unsigned max)
{
    unsigned end = 0;
    while (text && *text) {
        char *after;
        guint64 first = g_ascii_strtoull(text, &after, 10);
        guint64 last = first;
        if (after == text) {
            break;
        }
        if (*after == '-') {
            last = g_ascii_strtoull(after + 1, &after, 10);
        }
        for (guint64 i = first; i <= last && i < max; i++) {
            bits[i / 8] |= (uint8_t)(1u << (i % 8));
            end = MAX(end, (unsigned)i + 1);
        }
        text = *after == ',' ? after + 1 : "";
    }
    return end;
}

static unsigned read_list(const char *path, uint8_t *bits, unsigned max)
{
    g_autofree char *text = read_text(path);
    return parse_list(text, bits, max);
}

static bool has_bit(const uint8_t *bits, unsigned i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

/* A line "NAME: N" (or NAME N) of a /proc file with sizes in KiB. */
static bool find_kib(const char *text, const char *name, guint64 *out_kib)
{
    const char *at = text ? strstr(text, name) : NULL;
    if (!at) {
        return false;
    }
    *out_kib = g_ascii_strtoull(at + strlen(name), NULL, 10);
    return true;
}

static guint64 memory_total_kib(void)
{
    g_autofree char *text = read_text("/proc/meminfo");
    guint64 kib = 0;
    find_kib(text, "MemTotal:", &kib);
    return kib;
}

static unsigned count_nodes(void)
{
    uint8_t bits[NODES_MAX / 8] = { 0 };
    unsigned end = read_list(NODE_DIR "/online", bits, NODES_MAX);
    unsigned n = 0;
    for (unsigned i = 0; i < end; i++) {
        n += has_bit(bits, i);
    }
    return MAX(n, 1);
}

static uint32_t cpu_mhz(void)
{
    guint64 khz;
    if (read_number(&khz, CPU_DIR "/cpu0/cpufreq/cpuinfo_max_freq")) {
        return (uint32_t)(khz / 1000);
    }
    g_autofree char *text = read_text("/proc/cpuinfo");
    const char *at = text ? strstr(text, "cpu MHz") : NULL;
    at = at ? strchr(at, ':') : NULL;
    return at ? (uint32_t)g_ascii_strtod(at + 1, NULL) : 0;
}

typedef struct Topology {
    unsigned cpus, sockets, cores, threads;
} Topology;

/* Sockets, cores of a socket, threads of a core; all processors in one socket when the numbers do
 * not multiply. */
static void read_topology(Topology *out)
{
    uint8_t online[CPUS_MAX / 8] = { 0 };
    unsigned end = read_list(CPU_DIR "/online", online, CPUS_MAX);
    g_autoptr(GHashTable) sockets = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) cores = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    *out = (Topology){ 0 };
    for (unsigned i = 0; i < end; i++) {
        guint64 package = 0, core = i;
        if (!has_bit(online, i)) {
            continue;
        }
        out->cpus++;
        read_number(&package, CPU_DIR "/cpu%u/topology/physical_package_id", i);
        read_number(&core, CPU_DIR "/cpu%u/topology/core_id", i);
        gint64 *key = g_new(gint64, 1);
        *key = (gint64)(package << 32 | core);
        g_hash_table_add(cores, key);
        g_hash_table_add(sockets, GUINT_TO_POINTER((unsigned)package + 1));
    }
    out->sockets = MAX(g_hash_table_size(sockets), 1);
    out->cores = MAX(g_hash_table_size(cores) / out->sockets, 1);
    out->threads = MAX(out->cpus / (out->sockets * out->cores), 1);
    if (out->sockets * out->cores * out->threads != out->cpus) {
        *out = (Topology){ out->cpus, 1, out->cpus, 1 };
    }
}

bool handle_node_get_info(DaemonCall *call, RemoteNodeGetInfoRet *ret, GError **error)
{
    (void)call;
    (void)error;
    Topology topology;
    struct utsname name;
    read_topology(&topology);
    if (uname(&name) == 0) {
        g_strlcpy(ret->model, name.machine, sizeof(ret->model));
    }
    unsigned nodes = count_nodes();
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
    g_autofree char *text = read_text("/proc/meminfo");
    guint64 kib;
    if (!find_kib(text, "MemFree:", &kib)) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot read '/proc/meminfo'");
        return false;
    }
    ret->free_mem = kib * 1024;
    return true;
}

static char *node_meminfo(int cell)
{
    g_autofree char *path = g_strdup_printf(NODE_DIR "/node%d/meminfo", cell);
    char *text = read_text(path);
    /* Hosts without NUMA have one node, which is all memory. */
    return text || cell > 0 ? text : read_text("/proc/meminfo");
}

bool handle_node_get_cells_free_memory(DaemonCall *call,
                                       const RemoteNodeGetCellsFreeMemoryArgs *args,
                                       RemoteNodeGetCellsFreeMemoryRet *ret, GError **error)
{
    unsigned nodes = count_nodes();
    if (args->start_cell < 0 || (unsigned)args->start_cell >= nodes || args->maxcells <= 0 ||
        args->maxcells > NODES_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "NUMA cells %d and the %d after it are not all there; the host has %u",
                         args->start_cell, args->maxcells, nodes);
        return false;
    }
    unsigned n = MIN((unsigned)args->maxcells, nodes - (unsigned)args->start_cell);
    ret->cells = arena_alloc_array(call_arena(call), n, sizeof(*ret->cells));
    for (unsigned i = 0; ret->cells && i < n; i++) {
        g_autofree char *text = node_meminfo(args->start_cell + (int)i);
        guint64 kib = 0;
        find_kib(text, "MemFree:", &kib);
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
    if (args->cell_num < ALL_CELLS || args->cell_num >= (int)count_nodes()) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "the host has no NUMA cell %d",
                         args->cell_num);
        return false;
    }
    if (args->nparams == 0) {
        ret->nparams = (int32_t)n;
        return true;
    }
    g_autofree char *text =
        args->cell_num == ALL_CELLS ? read_text("/proc/meminfo") : node_meminfo(args->cell_num);
    n = MIN(n, (unsigned)MAX(args->nparams, 0));
    ret->params = arena_alloc_array(call_arena(call), n, sizeof(*ret->params));
    for (unsigned i = 0; ret->params && i < n; i++) {
        guint64 kib = 0;
        find_kib(text, rows[i].line, &kib);
        ret->params[i] = (RemoteNodeGetMemoryStats){ rows[i].field, kib };
        ret->n_params = i + 1;
    }
    return true;
}

/* The line of @cpu in /proc/stat: user nice system idle iowait irq softirq, in ticks. */
static bool read_cpu_ticks(int cpu, guint64 ticks[7])
{
    g_autofree char *text = read_text("/proc/stat");
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
    enum { FIELDS = 5 };
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
        { "intr", 0 },
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
    unsigned n = read_list(CPU_DIR "/present", present, CPUS_MAX);
    read_list(CPU_DIR "/online", online, CPUS_MAX);
    for (unsigned i = 0; args->need_online && i < n; i++) {
        ret->online += has_bit(online, i);
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

bool handle_node_get_security_model(DaemonCall *call, RemoteNodeGetSecurityModelRet *ret,
                                    GError **error)
{
    (void)error;
    ret->model = arena_strdup(call_arena(call), "none");
    ret->n_model = sizeof("none");
    ret->doi = arena_strdup(call_arena(call), "0");
    ret->n_doi = sizeof("0");
    return true;
}

static void append_dmi(GString *xml, const char *entry, const char *file)
{
    g_autofree char *path = g_strconcat("/sys/class/dmi/id/", file, NULL);
    g_autofree char *text = read_text(path);
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
    };
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    GString *xml = g_string_new("<sysinfo type='smbios'>\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (i == 0 || strcmp(rows[i].group, rows[i - 1].group) != 0) {
            g_string_append_printf(xml, "  <%s>\n", rows[i].group);
        }
        append_dmi(xml, rows[i].entry, rows[i].file);
        if (i + 1 == G_N_ELEMENTS(rows) || strcmp(rows[i].group, rows[i + 1].group) != 0) {
            g_string_append_printf(xml, "  </%s>\n", rows[i].group);
        }
    }
    g_string_append(xml, "</sysinfo>\n");
    ret->sysinfo = arena_take(call_arena(call), g_string_free(xml, FALSE), NULL);
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER_INLINE(node_get_info),         HANDLER_INLINE(connect_get_max_vcpus),
    HANDLER_INLINE(node_get_free_memory),  HANDLER_INLINE(node_get_cells_free_memory),
    HANDLER_INLINE(node_get_memory_stats), HANDLER_INLINE(node_get_cpu_stats),
    HANDLER_INLINE(node_get_cpu_map),      HANDLER_INLINE(node_get_security_model),
    HANDLER_INLINE(connect_get_sysinfo),
};

const DaemonModule host_module = {
    .name = "host",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
