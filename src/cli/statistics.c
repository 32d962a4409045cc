/* What domains use.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"
#include "gbase/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Statistics */

static const CliOption domstats_options[] = {
    { "state", CLI_FLAG, 0, CLI_VALUE_ANY, "states" },
    { "cpu-total", CLI_FLAG, 0, CLI_VALUE_ANY, "time of the host's CPUs" },
    { "balloon", CLI_FLAG, 0, CLI_VALUE_ANY, "memory by the balloon" },
    { "vcpu", CLI_FLAG, 0, CLI_VALUE_ANY, "vCPUs" },
    { "interface", CLI_FLAG, 0, CLI_VALUE_ANY, "network interfaces" },
    { "block", CLI_FLAG, 0, CLI_VALUE_ANY, "disks" },
    { "perf", CLI_FLAG, 0, CLI_VALUE_ANY, "performance counters" },
    { "iothread", CLI_FLAG, 0, CLI_VALUE_ANY, "I/O threads" },
    { "memory", CLI_FLAG, 0, CLI_VALUE_ANY, "memory bandwidth" },
    { "dirtyrate", CLI_FLAG, 0, CLI_VALUE_ANY, "how fast memory changes" },
    { "vm", CLI_FLAG, 0, CLI_VALUE_ANY, "what the monitor counts" },
    { "list-active", CLI_FLAG, 0, CLI_VALUE_ANY, "of those that run" },
    { "list-inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "of those that do not" },
    { "list-persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "of those with a definition" },
    { "list-transient", CLI_FLAG, 0, CLI_VALUE_ANY, "of those without" },
    { "list-running", CLI_FLAG, 0, CLI_VALUE_ANY, "of those in state running" },
    { "list-paused", CLI_FLAG, 0, CLI_VALUE_ANY, "of those that are paused" },
    { "list-shutoff", CLI_FLAG, 0, CLI_VALUE_ANY, "of those that are off" },
    { "list-other", CLI_FLAG, 0, CLI_VALUE_ANY, "of those in another state" },
    { "raw", CLI_FLAG, 0, CLI_VALUE_ANY, "values as they come" },
    { "enforce", CLI_FLAG, 0, CLI_VALUE_ANY, "fail if a group is not known" },
    { "backing", CLI_FLAG, 0, CLI_VALUE_ANY, "disks with their backing chains" },
    { "nowait", CLI_FLAG, 0, CLI_VALUE_ANY, "leave out what has to be waited for" },
    { "domain", CLI_REST, 0, CLI_VALUE_DOMAIN, "these domains; all if none is named" },
    CLI_OPTIONS_END,
};

static uint32_t bits_of(const CliArgs *args, const char *const *names, uint32_t first)
{
    uint32_t bits = 0;
    for (unsigned i = 0; names[i]; i++) {
        bits |= cli_args_flag(args, names[i]) ? first << i : 0;
    }
    return bits;
}

static uint32_t stats_flags(const CliArgs *args)
{
    static const char *const lists[] = { "list-active",    "list-inactive", "list-persistent",
                                         "list-transient", "list-running",  "list-paused",
                                         "list-shutoff",   "list-other",    NULL };
    uint32_t flags = bits_of(args, lists, 1);
    flags |= cli_args_flag(args, "nowait") ? 1u << 29 : 0;
    flags |= cli_args_flag(args, "backing") ? 1u << 30 : 0;
    flags |= cli_args_flag(args, "enforce") ? 1u << 31 : 0;
    return flags;
}

static void show_stats(CliSession *session, const RemoteConnectGetAllDomainStatsRet *ret)
{
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)cli_record_free);
    for (uint32_t i = 0; i < ret->n_ret_stats; i++) {
        const RemoteDomainStatsRecord *stats = &ret->ret_stats[i];
        CliRecord *record = cli_record_new(0);
        cli_record_add(record, "name", "%s", stats->dom.name);
        g_ptr_array_add(records, record);
        if (!session->is_json) {
            printf("%sDomain: '%s'\n", i ? "\n" : "", stats->dom.name);
        }
        for (uint32_t j = 0; j < stats->n_params; j++) {
            g_autofree char *text = cli_param_text(&stats->params[j]);
            cli_record_add(record, stats->params[j].field, "%s", text);
            if (!session->is_json) {
                printf("  %s=%s\n", stats->params[j].field, text);
            }
        }
    }
    if (session->is_json) {
        cli_records_print_json((CliRecord *const *)records->pdata, records->len, stdout);
    }
}

static bool run_domstats(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const groups[] = { "state",     "cpu-total", "balloon", "vcpu",
                                          "interface", "block",     "perf",    "iothread",
                                          "memory",    "dirtyrate", "vm",      NULL };
    const char *const *names = cli_args_rest(args);
    unsigned count = g_strv_length((char **)names);
    g_autofree RemoteDomain *domains = g_new0(RemoteDomain, count + 1);
    for (unsigned i = 0; i < count; i++) {
        RemoteDomainLookupByNameArgs look = { names[i] };
        RemoteDomainLookupByNameRet found;
        if (!remote_domain_lookup_by_name(cli_client(session), &look, &session->arena, &found,
                                          NULL)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "failed to get domain '%s'",
                        names[i]);
            return false;
        }
        domains[i] = found.dom;
    }
    RemoteConnectGetAllDomainStatsArgs call = { .doms = domains,
                                                .n_doms = count,
                                                .stats = bits_of(args, groups, 1),
                                                .flags = stats_flags(args) };
    RemoteConnectGetAllDomainStatsRet ret;
    if (!remote_connect_get_all_domain_stats(cli_client(session), &call, &session->arena, &ret,
                                             error)) {
        return false;
    }
    show_stats(session, &ret);
    return true;
}

static const CliOption dommemstat_options[] = {
    CLI_DOMAIN_OPTION,
    { "period", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "seconds between the guest's reports" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool set_period(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                       GError **error)
{
    gint64 period = 0;
    RemoteDomainSetMemoryStatsPeriodArgs call = { .dom = *domain };
    if (!cli_args_impact(args, &call.flags, error) ||
        !cli_args_int(args, "period", 0, G_MAXINT32, &period, error)) {
        return false;
    }
    call.period = (int32_t)period;
    return remote_domain_set_memory_stats_period(cli_client(session), &call, error) ||
           cli_fail(error, "Unable to change balloon collection period.");
}

static bool run_dommemstat(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const names[] = { "swap_in",       "swap_out",    "major_fault",
                                         "minor_fault",   "unused",      "available",
                                         "actual",        "rss",         "usable",
                                         "last_update",   "disk_caches", "hugetlb_pgalloc",
                                         "hugetlb_pgfail" };
    RemoteDomainMemoryStatsArgs call = { .max_stats = G_N_ELEMENTS(names) };
    RemoteDomainMemoryStatsRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (cli_args_string(args, "period")) {
        return set_period(session, args, &call.dom, error);
    }
    if (!remote_domain_memory_stats(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to get memory statistics for domain %s", call.dom.name);
    }
    g_autoptr(CliRecord) record = cli_record_new_plain("");
    for (uint32_t i = 0; i < ret.n_stats; i++) {
        if (ret.stats[i].tag >= 0 && ret.stats[i].tag < (int)G_N_ELEMENTS(names)) {
            cli_record_add(record, names[ret.stats[i].tag], "%" G_GUINT64_FORMAT, ret.stats[i].val);
        }
    }
    cli_show_record(session, record);
    return true;
}

static bool run_domifstat(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainInterfaceStatsArgs call = { .device = cli_args_string(args, "interface") };
    RemoteDomainInterfaceStatsRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_interface_stats(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to get interface stats %s %s", call.dom.name, call.device);
    }
    const CliNumber rows[] = {
        { "rx_bytes", ret.rx_bytes }, { "rx_packets", ret.rx_packets },
        { "rx_errs", ret.rx_errs },   { "rx_drop", ret.rx_drop },
        { "tx_bytes", ret.tx_bytes }, { "tx_packets", ret.tx_packets },
        { "tx_errs", ret.tx_errs },   { "tx_drop", ret.tx_drop },
    };
    g_autofree char *prefix = g_strconcat(call.device, " ", NULL);
    g_autoptr(CliRecord) record = cli_record_new_plain(prefix);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value >= 0) {
            cli_record_add(record, rows[i].name, "%" G_GINT64_FORMAT, rows[i].value);
        }
    }
    cli_show_record(session, record);
    return true;
}

/* Disks */

static const CliOption domblkstat_options[] = {
    CLI_DOMAIN_OPTION,
    { "device", CLI_STRING, 0, CLI_VALUE_DISK,
      "the disk: target or path; all together if left out" },
    { "human", CLI_FLAG, 0, CLI_VALUE_ANY, "with names for people" },
    CLI_OPTIONS_END,
};

static const struct {
    const char *field, *name, *human;
} disk_figures[] = {
    { "rd_operations", "rd_req", "number of read operations:" },
    { "rd_bytes", "rd_bytes", "number of bytes read:" },
    { "wr_operations", "wr_req", "number of write operations:" },
    { "wr_bytes", "wr_bytes", "number of bytes written:" },
    { "errs", "errs", "error count:" },
    { "flush_operations", "flush_operations", "number of flush operations:" },
    { "rd_total_times", "rd_total_times", "total duration of reads (ns):" },
    { "wr_total_times", "wr_total_times", "total duration of writes (ns):" },
    { "flush_total_times", "flush_total_times", "total duration of flushes (ns):" },
};

static void show_disk_stats(CliSession *session, const char *device, bool is_human,
                            const TypedParam *params, uint32_t count)
{
    g_autofree char *prefix = g_strconcat(device, " ", NULL);
    g_autoptr(CliRecord) record = cli_record_new_plain(prefix);
    if (is_human && !session->is_json) {
        printf("Device: %s\n", device);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(disk_figures); i++) {
        const TypedParam *param = cli_param_find(params, count, disk_figures[i].field);
        if (!param) {
            continue;
        }
        g_autofree char *text = cli_param_text(param);
        if (is_human && !session->is_json) {
            printf(" %-31s %s\n", disk_figures[i].human, text);
        } else {
            cli_record_add(record, disk_figures[i].name, "%s", text);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        bool is_known = false;
        for (unsigned j = 0; j < G_N_ELEMENTS(disk_figures); j++) {
            is_known = is_known || strcmp(params[i].field, disk_figures[j].field) == 0;
        }
        g_autofree char *text = cli_param_text(&params[i]);
        if (!is_known) {
            cli_record_add(record, params[i].field, "%s", text);
        }
    }
    if (!is_human || session->is_json) {
        cli_show_record(session, record);
    }
}

/* Servers without the newer call know five figures. */
static bool old_disk_stats(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                           const char *device, GError **error)
{
    RemoteDomainBlockStatsArgs call = { *domain, device };
    RemoteDomainBlockStatsRet ret;
    if (!remote_domain_block_stats(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to get block stats %s %s", domain->name, device);
    }
    const CliNumber rows[] = { { "rd_operations", ret.rd_req },
                               { "rd_bytes", ret.rd_bytes },
                               { "wr_operations", ret.wr_req },
                               { "wr_bytes", ret.wr_bytes },
                               { "errs", ret.errs } };
    TypedParam params[G_N_ELEMENTS(rows)];
    uint32_t count = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value >= 0) {
            params[count++] = (TypedParam){ .field = rows[i].name,
                                            .type = TYPED_PARAM_LLONG,
                                            .value.l = rows[i].value };
        }
    }
    show_disk_stats(session, device, cli_args_flag(args, "human"), params, count);
    return true;
}

static bool run_domblkstat(CliSession *session, const CliArgs *args, GError **error)
{
    const char *device = cli_args_string(args, "device");
    RemoteDomainBlockStatsFlagsArgs call = { .path = device ? device : "" };
    RemoteDomainBlockStatsFlagsRet ret;
    GError *problem = NULL;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    bool ok = remote_domain_block_stats_flags(cli_client(session), &call, &session->arena, &ret,
                                              &problem);
    if (ok && ret.nparams > 0) {
        call.nparams = ret.nparams;
        ok = remote_domain_block_stats_flags(cli_client(session), &call, &session->arena, &ret,
                                             &problem);
    }
    if (ok) {
        show_disk_stats(session, call.path, cli_args_flag(args, "human"), ret.params, ret.n_params);
        return true;
    }
    if (problem->domain == RPC_CLIENT_ERROR && problem->code == 3) { /* not supported */
        g_error_free(problem);
        return old_disk_stats(session, args, &call.dom, call.path, error);
    }
    g_propagate_error(error, problem);
    return false;
}

static const CliOption domblkinfo_options[] = {
    CLI_DOMAIN_OPTION,
    { "device", CLI_STRING, 0, CLI_VALUE_DISK, "the disk: target or path" },
    { "human", CLI_FLAG, 0, CLI_VALUE_ANY, "with units" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "all disks" },
    CLI_OPTIONS_END,
};

static bool disk_size(CliSession *session, const RemoteDomain *domain, const char *path,
                      RemoteDomainGetBlockInfoRet *ret, GError **error)
{
    RemoteDomainGetBlockInfoArgs call = { *domain, path, 0 };
    return remote_domain_get_block_info(cli_client(session), &call, &session->arena, ret, error);
}

static char *size_text(guint64 value, bool is_human)
{
    return is_human ? cli_size_text(value) : g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

static bool show_disk_sizes(CliSession *session, const RemoteDomain *domain, bool is_human,
                            GError **error)
{
    static const char *const headings[] = { "Target", "Capacity", "Allocation", "Physical", NULL };
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, domain, 0, error);
    if (!doc) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *disk = devices ? xml_first(devices) : NULL; disk; disk = xml_next(disk)) {
        g_autofree char *target = cli_child_attr(disk, "target", "dev");
        RemoteDomainGetBlockInfoRet ret;
        if (!xml_is(disk, "disk") || !target) {
            continue;
        }
        if (!xml_child(disk, "source") || !disk_size(session, domain, target, &ret, NULL)) {
            cli_table_add(table, target, "-", "-", "-");
            continue;
        }
        g_autofree char *capacity = size_text(ret.capacity, is_human);
        g_autofree char *allocation = size_text(ret.allocation, is_human);
        g_autofree char *physical = size_text(ret.physical, is_human);
        cli_table_add(table, target, capacity, allocation, physical);
    }
    cli_show_table(session, table);
    return true;
}

static bool run_domblkinfo(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const names[] = { "Capacity", "Allocation", "Physical" };
    const char *device = cli_args_string(args, "device");
    bool is_human = cli_args_flag(args, "human");
    RemoteDomain domain;
    RemoteDomainGetBlockInfoRet ret;
    if (!cli_args_exclusive(args, "all", "device", error)) {
        return false;
    }
    if (!device && !cli_args_flag(args, "all")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "command 'domblkinfo' requires <device> option");
        return false;
    }
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (!device) {
        return show_disk_sizes(session, &domain, is_human, error);
    }
    if (!disk_size(session, &domain, device, &ret, error)) {
        return false;
    }
    const uint64_t values[] = { ret.capacity, ret.allocation, ret.physical };
    g_autoptr(CliRecord) record = cli_record_new(16);
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autofree char *text = size_text(values[i], is_human);
        cli_record_add(record, names[i], "%s", text);
    }
    cli_show_record(session, record);
    return true;
}

const CliCommand cli_statistics_commands[] = {
    { "domblkinfo", "sizes of a domain's disks", NULL, domblkinfo_options, 0, run_domblkinfo },
    { "domblkstat", "what a domain reads and writes of a disk", NULL, domblkstat_options, 0,
      run_domblkstat },
    { "domifstat", "traffic of a domain's interface", NULL,
      (const CliOption[]){
          CLI_DOMAIN_OPTION,
          { "interface", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INTERFACE, "the interface: target" },
          CLI_OPTIONS_END },
      0, run_domifstat },
    { "dommemstat", "memory of a domain", NULL, dommemstat_options, 0, run_dommemstat },
    { "domstats", "statistics of domains", NULL, domstats_options, 0, run_domstats },
    { NULL },
};
