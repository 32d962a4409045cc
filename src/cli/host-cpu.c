/* Commands about CPUs: the host's, models, comparisons.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "conf/cpuset.h"
#include "gbase/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const CliOption nodecpumap_options[] = {
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "for people" },
    CLI_OPTIONS_END,
};

static bool run_cpumap(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteNodeGetCpuMapArgs call = { .need_map = 1, .need_online = 1 };
    RemoteNodeGetCpuMapRet ret;
    if (!remote_node_get_cpu_map(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to get cpu map");
    }
    unsigned cpus = (unsigned)MAX(ret.ret, 0);
    g_autoptr(CliRecord) record = cli_record_new(16);
    g_autoptr(GString) letters = g_string_new(NULL);
    g_autofree char *text = cli_cpumap_text(ret.cpumap, ret.n_cpumap, cpus);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        bool is_on = cpu / 8 < ret.n_cpumap && (ret.cpumap[cpu / 8] >> (cpu % 8) & 1);
        g_string_append_c(letters, is_on ? 'y' : '-');
    }
    cli_record_add(record, "CPUs present", "%u", cpus);
    cli_record_add(record, "CPUs online", "%u", ret.online);
    cli_record_add(record, "CPU map", "%s", cli_args_flag(args, "pretty") ? text : letters->str);
    cli_show_record(session, record);
    return true;
}

static const CliOption nodecpustats_options[] = {
    { "cpu", CLI_NUMBER, 0, CLI_VALUE_ANY, "of one CPU" },
    { "percent", CLI_FLAG, 0, CLI_VALUE_ANY, "per cent over a second" },
    CLI_OPTIONS_END,
};

/* Times of the host, in the order of output. */
static const char *const time_names[] = {
    "user", "kernel", "idle", "iowait", "intr", "utilization"
};
enum { TIME_USER, TIME_SYSTEM, TIME_IDLE, TIME_IOWAIT, TIME_INTR, TIME_USAGE, TIMES };

typedef struct CpuTimes {
    guint64 ns[TIMES];
    bool present[TIMES];
} CpuTimes;

static bool read_times(CliSession *session, gint64 cpu, CpuTimes *out, GError **error)
{
    RemoteNodeGetCpuStatsArgs call = { (int32_t)cpu, 0, 0 };
    RemoteNodeGetCpuStatsRet ret;
    *out = (CpuTimes){ .ns = { 0 } };
    bool ok = remote_node_get_cpu_stats(cli_client(session), &call, &session->arena, &ret, error);
    if (ok && ret.nparams > 0) {
        call.nparams = ret.nparams;
        ok = remote_node_get_cpu_stats(cli_client(session), &call, &session->arena, &ret, error);
    }
    for (uint32_t i = 0; ok && i < ret.n_params; i++) {
        for (unsigned j = 0; j < TIMES; j++) {
            if (strcmp(ret.params[i].field, time_names[j]) == 0) {
                out->ns[j] = ret.params[i].value;
                out->present[j] = true;
            }
        }
    }
    return ok || cli_fail(error, "Unable to get node cpu stats");
}

static void show_shares(CliSession *session, const CpuTimes *before, const CpuTimes *after)
{
    static const struct {
        const char *label;
        unsigned time;
    } rows[] = { { "user:", TIME_USER },
                 { "system:", TIME_SYSTEM },
                 { "idle:", TIME_IDLE },
                 { "iowait:", TIME_IOWAIT },
                 { "intr:", TIME_INTR } };
    double total = 0, part[TIMES] = { 0 };
    if (after->present[TIME_USAGE]) {
        printf("%-15s %5.1" PRIu64 "%%\n", "usage:", after->ns[TIME_USAGE]);
        return;
    }
    for (unsigned i = 0; i < TIME_USAGE; i++) {
        part[i] = (double)(after->ns[i] - before->ns[i]);
        total += part[i];
    }
    g_autoptr(CliRecord) record = cli_record_new(0);
    double usage = (part[TIME_USER] + part[TIME_SYSTEM]) / total * 100;
    cli_record_add(record, "usage", "%.1f", usage);
    if (!session->is_json) {
        printf("%-15s %5.1f%%\n", "usage:", usage);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        double share = part[rows[i].time] / total * 100;
        if (!after->present[rows[i].time]) {
            continue;
        }
        cli_record_add(record, rows[i].label, "%.1f", share);
        if (!session->is_json) {
            printf("%-15s %5.1f%%\n", rows[i].label, share);
        }
    }
    if (session->is_json) {
        cli_show_record(session, record);
    }
}

static bool run_cpustats(CliSession *session, const CliArgs *args, GError **error)
{
    static const struct {
        const char *label;
        unsigned time;
    } rows[] = { { "user:", TIME_USER },
                 { "system:", TIME_SYSTEM },
                 { "idle:", TIME_IDLE },
                 { "iowait:", TIME_IOWAIT },
                 { "intr:", TIME_INTR } };
    gint64 cpu = -1;
    CpuTimes times, later;
    if (!cli_args_int(args, "cpu", -1, G_MAXINT32, &cpu, error) ||
        !read_times(session, cpu, &times, error)) {
        return false;
    }
    if (cli_args_flag(args, "percent")) {
        g_usleep(G_USEC_PER_SEC);
        if (!read_times(session, cpu, &later, error)) {
            return false;
        }
        show_shares(session, &times, &later);
        return true;
    }
    g_autoptr(CliRecord) record = cli_record_new(0);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (!times.present[rows[i].time]) {
            continue;
        }
        cli_record_add(record, rows[i].label, "%" G_GUINT64_FORMAT, times.ns[rows[i].time]);
        if (!session->is_json) {
            printf("%-15s %20" G_GUINT64_FORMAT "\n", rows[i].label, times.ns[rows[i].time]);
        }
    }
    if (session->is_json) {
        cli_show_record(session, record);
    }
    return true;
}

/* Models */

static const CliOption cpu_models_options[] = {
    { "arch", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "as x86_64" },
    CLI_OPTIONS_END,
};

static bool run_models(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const headings[] = { "Model", NULL };
    RemoteConnectGetCpuModelNamesArgs call = { .arch = cli_args_string(args, "arch"),
                                               .need_results = 1 };
    RemoteConnectGetCpuModelNamesRet ret;
    if (!remote_connect_get_cpu_model_names(cli_client(session), &call, &session->arena, &ret,
                                            error)) {
        return cli_fail(error, "failed to get CPU model names");
    }
    if (ret.ret == 0 && !session->is_json) {
        cli_print(session, "all CPU models are accepted");
        return true;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (uint32_t i = 0; i < ret.n_models; i++) {
        cli_table_add(table, ret.models[i]);
        if (!session->is_json) {
            cli_print(session, "%s", ret.models[i]);
        }
    }
    if (session->is_json) {
        cli_show_table(session, table);
    }
    return true;
}

/* Collects the <cpu> of domains, the host's of capabilities, the host-model's of domain
 * capabilities, and bare ones; the file may hold several documents. */
static void collect_cpus(xmlNode *node, bool is_wanted, GPtrArray *cpus)
{
    for (; node; node = xml_next(node)) {
        g_autofree char *mode = xml_attr(node, "name");
        bool is_host_model = xml_is(node, "mode") && g_strcmp0(mode, "host-model") == 0;
        bool is_cpu = xml_is(node, "cpu");
        bool in_domcaps = is_cpu && node->parent && xml_is(node->parent, "domainCapabilities");
        if (is_cpu && !in_domcaps && is_wanted) {
            g_ptr_array_add(cpus, xml_node_to_text(node, 0));
        } else if (is_host_model) {
            xmlNode *copy = xmlCopyNode(node, 1);
            xmlNodeSetName(copy, BAD_CAST "cpu");
            xmlUnsetProp(copy, BAD_CAST "name");
            xmlUnsetProp(copy, BAD_CAST "supported");
            g_ptr_array_add(cpus, xml_node_to_text(copy, 0));
            xmlFreeNode(copy);
        } else if (!xml_is(node, "guest")) {
            collect_cpus(xml_first(node), is_wanted, cpus);
        }
    }
}

/* The CPUs that a file describes. NULL: @error. */
static GPtrArray *read_cpus(const CliArgs *args, GError **error)
{
    g_autofree char *text = cli_read_file(args, "file", error);
    if (!text) {
        return NULL;
    }
    /* Declarations in the middle would not parse; the wrapper makes several documents one. */
    GPtrArray *cpus = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GRegex) declaration = g_regex_new("<\\?xml[^>]*\\?>", 0, 0, NULL);
    g_autofree char *bare = g_regex_replace_literal(declaration, text, -1, 0, "", 0, NULL);
    g_autofree char *wrapped = g_strconcat("<container>", bare ? bare : "", "</container>", NULL);
    g_autoptr(XmlDoc) doc = xml_doc_parse(wrapped, "cpu", NULL);
    if (doc) {
        collect_cpus(xml_first(xml_doc_root(doc)), true, cpus);
    }
    if (cpus->len == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "File '%s' does not contain any <cpu> element or valid domain XML, host "
                    "capabilities XML, or domain capabilities XML",
                    cli_args_string(args, "file"));
        g_ptr_array_free(cpus, TRUE);
        return NULL;
    }
    return cpus;
}

static const CliOption cpu_compare_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "XML of the CPU" },
    { "error", CLI_FLAG, 0, CLI_VALUE_ANY, "fail unless the CPUs fit" },
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    CLI_OPTIONS_END,
};
static const CliOption hypervisor_cpu_compare_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "XML of the CPU" },
    { "virttype", CLI_STRING, 0, CLI_VALUE_ANY, "kvm or qemu" },
    { "emulator", CLI_STRING, 0, CLI_VALUE_FILE, "the emulator's path" },
    { "arch", CLI_STRING, 0, CLI_VALUE_ANY, "the architecture" },
    { "machine", CLI_STRING, 0, CLI_VALUE_ANY, "the machine type" },
    { "error", CLI_FLAG, 0, CLI_VALUE_ANY, "fail unless the CPUs fit" },
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    CLI_OPTIONS_END,
};

static bool show_comparison(CliSession *session, const CliArgs *args, int result, const char *what,
                            GError **error)
{
    const char *file = cli_args_string(args, "file");
    if (session->is_json) {
        cli_print(session, "%s",
                  result == 0   ? "incompatible"
                  : result == 1 ? "identical"
                                : "superset");
        return result != 0;
    }
    switch (result) {
    case 0:
        cli_print(session, "CPU described in %s is incompatible with %s", file, what);
        return false;
    case 1:
        cli_print(session, "CPU described in %s is identical to %s", file, what);
        return true;
    default:
        cli_print(session, "The CPU provided by %s is a superset of CPU described in %s",
                  strstr(what, "hypervisor") ? "hypervisor on the host" : "host", file);
        return true;
    }
}

static bool run_compare(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "error", 1 }, { "validate", 2 }, { NULL } };
    g_autoptr(GPtrArray) cpus = read_cpus(args, error);
    if (!cpus) {
        return false;
    }
    RemoteConnectCompareCpuArgs call = { cpus->pdata[0], cli_args_bits(args, bits) };
    RemoteConnectCompareCpuRet ret;
    if (!remote_connect_compare_cpu(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to compare host CPU with %s", cli_args_string(args, "file"));
    }
    return show_comparison(session, args, ret.result, "host CPU", error);
}

static bool run_hypervisor_compare(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "error", 1 }, { "validate", 2 }, { NULL } };
    g_autoptr(GPtrArray) cpus = read_cpus(args, error);
    if (!cpus) {
        return false;
    }
    RemoteConnectCompareHypervisorCpuArgs call = {
        .emulator = cli_args_string(args, "emulator"),
        .arch = cli_args_string(args, "arch"),
        .machine = cli_args_string(args, "machine"),
        .virttype = cli_args_string(args, "virttype"),
        .xml_cpu = cpus->pdata[0],
        .flags = cli_args_bits(args, bits),
    };
    RemoteConnectCompareHypervisorCpuRet ret;
    if (!remote_connect_compare_hypervisor_cpu(cli_client(session), &call, &session->arena, &ret,
                                               error)) {
        return cli_fail(error, "Failed to compare hypervisor CPU with %s",
                        cli_args_string(args, "file"));
    }
    return show_comparison(session, args, ret.result, "the CPU provided by hypervisor on the host",
                           error);
}

static const CliOption cpu_baseline_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "XML of the CPUs" },
    { "features", CLI_FLAG, 0, CLI_VALUE_ANY, "list the features too" },
    { "migratable", CLI_FLAG, 0, CLI_VALUE_ANY, "leave out what keeps a guest on this host" },
    CLI_OPTIONS_END,
};
static const CliOption hypervisor_cpu_baseline_options[] = {
    { "file", CLI_STRING, 0, CLI_VALUE_FILE, "XML of the CPUs" },
    { "virttype", CLI_STRING, 0, CLI_VALUE_ANY, "kvm or qemu" },
    { "emulator", CLI_STRING, 0, CLI_VALUE_FILE, "the emulator's path" },
    { "arch", CLI_STRING, 0, CLI_VALUE_ANY, "the architecture" },
    { "machine", CLI_STRING, 0, CLI_VALUE_ANY, "the machine type" },
    { "features", CLI_FLAG, 0, CLI_VALUE_ANY, "list the features too" },
    { "migratable", CLI_FLAG, 0, CLI_VALUE_ANY, "leave out what keeps a guest on this host" },
    { "model", CLI_STRING, 0, CLI_VALUE_ANY, "a CPU model instead of a file" },
    CLI_OPTIONS_END,
};

static const CliBit baseline_bits[] = { { "features", 1 }, { "migratable", 2 }, { NULL } };

static bool run_baseline(CliSession *session, const CliArgs *args, GError **error)
{
    g_autoptr(GPtrArray) cpus = read_cpus(args, error);
    if (!cpus) {
        return false;
    }
    RemoteConnectBaselineCpuArgs call = { (const char **)cpus->pdata, cpus->len,
                                          cli_args_bits(args, baseline_bits) };
    RemoteConnectBaselineCpuRet ret;
    if (!remote_connect_baseline_cpu(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    cli_print_open(session, "%s", ret.cpu);
    return true;
}

static bool run_hypervisor_baseline(CliSession *session, const CliArgs *args, GError **error)
{
    const char *model = cli_args_string(args, "model");
    g_autoptr(GPtrArray) cpus = NULL;
    if (!cli_args_exclusive(args, "file", "model", error)) {
        return false;
    }
    if (!model && !cli_args_string(args, "file")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "one of --file and --model is required");
        return false;
    }
    if (model) {
        g_autofree char *escaped = g_markup_escape_text(model, -1);
        cpus = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(cpus, g_strdup_printf("<cpu><model>%s</model></cpu>", escaped));
    } else if (!(cpus = read_cpus(args, error))) {
        return false;
    }
    RemoteConnectBaselineHypervisorCpuArgs call = {
        .emulator = cli_args_string(args, "emulator"),
        .arch = cli_args_string(args, "arch"),
        .machine = cli_args_string(args, "machine"),
        .virttype = cli_args_string(args, "virttype"),
        .xml_cpus = (const char **)cpus->pdata,
        .n_xml_cpus = cpus->len,
        .flags = cli_args_bits(args, baseline_bits),
    };
    RemoteConnectBaselineHypervisorCpuRet ret;
    if (!remote_connect_baseline_hypervisor_cpu(cli_client(session), &call, &session->arena, &ret,
                                                error)) {
        return false;
    }
    cli_print_open(session, "%s", ret.cpu);
    return true;
}

const CliCommand cli_host_cpu_commands[] = {
    { "cpu-baseline", "the CPU that several hosts can provide", NULL, cpu_baseline_options, 0,
      run_baseline },
    { "cpu-compare", "whether the host's CPU has what another has", NULL, cpu_compare_options, 0,
      run_compare },
    { "cpu-models", "list the CPU models of an architecture", NULL, cpu_models_options, 0,
      run_models },
    { "hypervisor-cpu-baseline", "the CPU that an emulator provides on several hosts", NULL,
      hypervisor_cpu_baseline_options, 0, run_hypervisor_baseline },
    { "hypervisor-cpu-compare", "whether an emulator can provide a CPU", NULL,
      hypervisor_cpu_compare_options, 0, run_hypervisor_compare },
    { "nodecpumap", "which CPUs the host has and which are online", NULL, nodecpumap_options, 0,
      run_cpumap },
    { "nodecpustats", "what the host's CPUs do", NULL, nodecpustats_options, 0, run_cpustats },
    { NULL },
};
