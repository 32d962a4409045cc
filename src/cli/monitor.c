/* Commands that show domains.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/session.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const CliOption domain_only[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID" },
    CLI_OPTIONS_END,
};

/* Lists */

static const CliOption list_options[] = {
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "those that do not run" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "those that run and those that do not" },
    { "transient", CLI_FLAG, 0, CLI_VALUE_ANY, "those without a definition" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "those with a definition" },
    { "with-snapshot", CLI_FLAG, 0, CLI_VALUE_ANY, "those with snapshots" },
    { "without-snapshot", CLI_FLAG, 0, CLI_VALUE_ANY, "those without snapshots" },
    { "state-running", CLI_FLAG, 0, CLI_VALUE_ANY, "those that run" },
    { "state-paused", CLI_FLAG, 0, CLI_VALUE_ANY, "those that are paused" },
    { "state-shutoff", CLI_FLAG, 0, CLI_VALUE_ANY, "those that are off" },
    { "state-other", CLI_FLAG, 0, CLI_VALUE_ANY, "those in another state" },
    { "autostart", CLI_FLAG, 0, CLI_VALUE_ANY, "those that start with the host" },
    { "no-autostart", CLI_FLAG, 0, CLI_VALUE_ANY, "those that do not" },
    { "with-managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "those with a saved state" },
    { "without-managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "those without" },
    { "uuid", CLI_FLAG, 0, CLI_VALUE_ANY, "print UUIDs, a line each" },
    { "name", CLI_FLAG, 0, CLI_VALUE_ANY, "print names, a line each" },
    { "id", CLI_FLAG, 0, CLI_VALUE_ANY, "print ids, a line each" },
    { "table", CLI_FLAG, 0, CLI_VALUE_ANY, "print a table (the default)" },
    { "title", CLI_FLAG, 0, CLI_VALUE_ANY, "with titles" },
    CLI_OPTIONS_END,
};

static uint32_t list_flags(const CliArgs *args)
{
    static const struct {
        const char *option;
        uint32_t bit;
    } bits[] = {
        { "persistent", 4 },          { "transient", 8 },
        { "state-running", 16 },      { "state-paused", 32 },
        { "state-shutoff", 64 },      { "state-other", 128 },
        { "with-managed-save", 256 }, { "without-managed-save", 512 },
        { "autostart", 1024 },        { "no-autostart", 2048 },
        { "with-snapshot", 4096 },    { "without-snapshot", 8192 },
    };
    uint32_t flags = cli_args_flag(args, "all") ? 1 | 2 : cli_args_flag(args, "inactive") ? 2 : 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        flags |= cli_args_flag(args, bits[i].option) ? bits[i].bit : 0;
    }
    return flags;
}

/* Running ones by id, then the others by name. */
static int compare_domains(const void *a, const void *b)
{
    const RemoteDomain *x = a, *y = b;
    if (x->id != y->id) {
        return x->id < 0 ? 1 : y->id < 0 ? -1 : x->id < y->id ? -1 : 1;
    }
    return strcasecmp(x->name, y->name);
}

static char *title_of(CliSession *session, const RemoteDomain *domain)
{
    RemoteDomainGetMetadataArgs call = { .dom = *domain, .type = 1 };
    RemoteDomainGetMetadataRet ret;
    bool ok = remote_domain_get_metadata(cli_client(session), &call, &session->arena, &ret, NULL);
    return g_strdup(ok ? ret.metadata : "");
}

static int state_of(CliSession *session, const RemoteDomain *domain)
{
    RemoteDomainGetStateArgs call = { .dom = *domain };
    RemoteDomainGetStateRet ret;
    bool ok = remote_domain_get_state(cli_client(session), &call, &session->arena, &ret, NULL);
    return ok ? ret.state : 0;
}

static void print_list_lines(CliSession *session, const CliArgs *args, const RemoteDomain *domains,
                             uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char uuid[UUID_TEXT_SIZE];
        uuid_format(&domains[i].uuid, uuid);
        g_autoptr(GString) line = g_string_new(NULL);
        if (cli_args_flag(args, "uuid")) {
            g_string_append(line, uuid);
        }
        if (cli_args_flag(args, "name")) {
            g_string_append_printf(line, "%s%s", line->len ? " " : "", domains[i].name);
        }
        if (cli_args_flag(args, "id") && domains[i].id >= 0) {
            g_string_append_printf(line, "%s%d", line->len ? " " : "", domains[i].id);
        }
        if (cli_args_flag(args, "id") && domains[i].id < 0) {
            g_string_append_printf(line, "%s-", line->len ? " " : "");
        }
        cli_print(session, "%s", line->str);
    }
}

static void print_list_table(CliSession *session, bool has_titles, const RemoteDomain *domains,
                             uint32_t count)
{
    static const char *const plain[] = { "Id", "Name", "State", NULL };
    static const char *const titled[] = { "Id", "Name", "State", "Title", NULL };
    g_autoptr(CliTable) table = cli_table_new(has_titles ? titled : plain);
    for (uint32_t i = 0; i < count; i++) {
        g_autofree char *id =
            domains[i].id >= 0 ? g_strdup_printf("%d", domains[i].id) : g_strdup("-");
        g_autofree char *title = has_titles ? title_of(session, &domains[i]) : NULL;
        cli_table_add(table, id, domains[i].name, cli_state_name(state_of(session, &domains[i])),
                      title);
    }
    cli_show_table(session, table);
}

static bool run_list(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectListAllDomainsArgs call = { .need_results = 1, .flags = list_flags(args) };
    RemoteConnectListAllDomainsRet ret;
    if (!remote_connect_list_all_domains(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return cli_fail(error, "Failed to list domains");
    }
    qsort(ret.domains, ret.n_domains, sizeof(ret.domains[0]), compare_domains);
    bool is_lines =
        cli_args_flag(args, "name") || cli_args_flag(args, "uuid") || cli_args_flag(args, "id");
    if (is_lines && !session->is_json) {
        print_list_lines(session, args, ret.domains, ret.n_domains);
    } else {
        print_list_table(session, cli_args_flag(args, "title"), ret.domains, ret.n_domains);
    }
    return true;
}

/* One domain */

static void add_security(CliSession *session, CliRecord *record, const RemoteDomain *domain)
{
    RemoteNodeGetSecurityModelRet model;
    RemoteDomainGetSecurityLabelArgs call = { *domain };
    RemoteDomainGetSecurityLabelRet label;
    if (!remote_node_get_security_model(cli_client(session), &session->arena, &model, NULL) ||
        model.n_model <= 1) {
        return;
    }
    cli_record_add(record, "Security model", "%.*s", (int)model.n_model, model.model);
    cli_record_add(record, "Security DOI", "%.*s", (int)model.n_doi, model.doi);
    if (remote_domain_get_security_label(cli_client(session), &call, &session->arena, &label,
                                         NULL) &&
        label.n_label > 1) {
        cli_record_add(record, "Security label", "%.*s (%s)", (int)label.n_label, label.label,
                       label.enforcing ? "enforcing" : "permissive");
    }
}

static void add_flags(CliSession *session, CliRecord *record, const RemoteDomain *domain)
{
    RemoteDomainIsPersistentArgs persistent_call = { *domain };
    RemoteDomainIsPersistentRet persistent;
    RemoteDomainGetAutostartArgs autostart_call = { *domain };
    RemoteDomainGetAutostartRet autostart;
    RemoteDomainHasManagedSaveImageArgs save_call = { .dom = *domain };
    RemoteDomainHasManagedSaveImageRet save;
    RpcClient *client = cli_client(session);
    Arena *arena = &session->arena;
    bool ok = remote_domain_is_persistent(client, &persistent_call, arena, &persistent, NULL);
    cli_record_add(record, "Persistent", "%s",
                   !ok                     ? "unknown"
                   : persistent.persistent ? "yes"
                                           : "no");
    if (remote_domain_get_autostart(client, &autostart_call, arena, &autostart, NULL)) {
        cli_record_add(record, "Autostart", "%s", autostart.autostart ? "enable" : "disable");
    }
    ok = remote_domain_has_managed_save_image(client, &save_call, arena, &save, NULL);
    cli_record_add(record, "Managed save", "%s", !ok ? "unknown" : save.result ? "yes" : "no");
}

static bool run_dominfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(CliRecord) record = cli_record_new(16);
    RemoteDomainGetInfoArgs call = { domain };
    RemoteDomainGetInfoRet info;
    RemoteDomainGetOsTypeArgs os_call = { domain };
    RemoteDomainGetOsTypeRet os;
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&domain.uuid, uuid);
    if (domain.id >= 0) {
        cli_record_add(record, "Id", "%d", domain.id);
    } else {
        cli_record_add(record, "Id", "-");
    }
    cli_record_add(record, "Name", "%s", domain.name);
    cli_record_add(record, "UUID", "%s", uuid);
    if (remote_domain_get_os_type(cli_client(session), &os_call, &session->arena, &os, NULL)) {
        cli_record_add(record, "OS Type", "%s", os.type);
    }
    if (!remote_domain_get_info(cli_client(session), &call, &session->arena, &info, error)) {
        return false;
    }
    cli_record_add(record, "State", "%s", cli_state_name(info.state));
    cli_record_add(record, "CPU(s)", "%u", info.nr_virt_cpu);
    if (info.cpu_time) {
        cli_record_add(record, "CPU time", "%.1fs", (double)info.cpu_time / 1e9);
    }
    if (info.max_mem == UINT64_MAX) {
        cli_record_add(record, "Max memory", "no limit");
    } else {
        cli_record_add(record, "Max memory", "%" G_GUINT64_FORMAT " KiB", info.max_mem);
    }
    cli_record_add(record, "Used memory", "%" G_GUINT64_FORMAT " KiB", info.memory);
    add_flags(session, record, &domain);
    add_security(session, record, &domain);
    cli_show_record(session, record);
    return true;
}

static const char *reason_name(int state, int reason)
{
    static const char *const reasons[8][16] = {
        [1] = { "unknown", "booted", "migrated", "restored", "from snapshot", "unpaused",
                "migration canceled", "save canceled", "event wakeup", "crashed", "post-copy" },
        [3] = { "unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog",
                "from snapshot", "shutting down", "creating snapshot", "crashed", "starting up",
                "post-copy", "post-copy failed" },
        [4] = { "unknown", "user" },
        [5] = { "unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed",
                "from snapshot", "daemon" },
        [6] = { "unknown", "panicked" },
    };
    const char *name =
        state >= 0 && state < 8 && reason >= 0 && reason < 16 ? reasons[state][reason] : NULL;
    return name ? name : "unknown";
}

static bool run_domstate(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainGetStateArgs call = { .flags = 0 };
    RemoteDomainGetStateRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_state(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    if (cli_args_flag(args, "reason")) {
        cli_print(session, "%s (%s)", cli_state_name(ret.state),
                  reason_name(ret.state, ret.reason));
    } else {
        cli_print(session, "%s", cli_state_name(ret.state));
    }
    return true;
}

static bool run_domcontrol(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const states[] = { "ok", "background job", "occupied", "error" };
    RemoteDomainGetControlInfoArgs call = { .flags = 0 };
    RemoteDomainGetControlInfoRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_control_info(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    const char *state = states[MIN(ret.state, 3)];
    if (ret.state == 0 || ret.state == 3) {
        cli_print(session, "%s", state);
    } else {
        cli_print(session, "%s (%0.3fs)", state, (double)ret.state_time / 1000);
    }
    return true;
}

/* Statistics */

static char *param_text(const TypedParam *param)
{
    switch (param->type) {
    case TYPED_PARAM_INT:
        return g_strdup_printf("%d", param->value.i);
    case TYPED_PARAM_UINT:
        return g_strdup_printf("%u", param->value.ui);
    case TYPED_PARAM_LLONG:
        return g_strdup_printf("%" G_GINT64_FORMAT, param->value.l);
    case TYPED_PARAM_ULLONG:
        return g_strdup_printf("%" G_GUINT64_FORMAT, param->value.ul);
    case TYPED_PARAM_DOUBLE:
        return g_strdup_printf("%f", param->value.d);
    case TYPED_PARAM_BOOLEAN:
        return g_strdup(param->value.b ? "yes" : "no");
    default:
        return g_strdup(param->value.s);
    }
}

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
    for (uint32_t i = 0; i < ret.n_ret_stats; i++) {
        const RemoteDomainStatsRecord *record = &ret.ret_stats[i];
        printf("%sDomain: '%s'\n", i ? "\n" : "", record->dom.name);
        for (uint32_t j = 0; j < record->n_params; j++) {
            g_autofree char *text = param_text(&record->params[j]);
            printf("  %s=%s\n", record->params[j].field, text);
        }
    }
    return true;
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
    if (!remote_domain_memory_stats(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to get memory statistics for domain %s", call.dom.name);
    }
    for (uint32_t i = 0; i < ret.n_stats; i++) {
        if (ret.stats[i].tag >= 0 && ret.stats[i].tag < (int)G_N_ELEMENTS(names)) {
            printf("%s %" G_GUINT64_FORMAT "\n", names[ret.stats[i].tag], ret.stats[i].val);
        }
    }
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
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        { "rx_bytes", ret.rx_bytes }, { "rx_packets", ret.rx_packets },
        { "rx_errs", ret.rx_errs },   { "rx_drop", ret.rx_drop },
        { "tx_bytes", ret.tx_bytes }, { "tx_packets", ret.tx_packets },
        { "tx_errs", ret.tx_errs },   { "tx_drop", ret.tx_drop },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value >= 0) {
            printf("%s %s %" G_GINT64_FORMAT "\n", call.device, rows[i].name, rows[i].value);
        }
    }
    return true;
}

static bool run_domblkinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainGetBlockInfoArgs call = { .path = cli_args_string(args, "device") };
    RemoteDomainGetBlockInfoRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_block_info(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    const uint64_t values[] = { ret.capacity, ret.allocation, ret.physical };
    static const char *const names[] = { "Capacity", "Allocation", "Physical" };
    g_autoptr(CliRecord) record = cli_record_new(16);
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autofree char *human = cli_size_text(values[i]);
        if (cli_args_flag(args, "human")) {
            cli_record_add(record, names[i], "%s", human);
        } else {
            cli_record_add(record, names[i], "%" G_GUINT64_FORMAT, values[i]);
        }
    }
    cli_show_record(session, record);
    return true;
}

const CliCommand cli_monitor_commands[] = {
    { "domblkinfo", "sizes of a domain's disk", NULL,
      (const CliOption[]){
          { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID" },
          { "device", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the disk: target or path" },
          { "human", CLI_FLAG, 0, CLI_VALUE_ANY, "with units" },
          CLI_OPTIONS_END },
      0, run_domblkinfo },
    { "domcontrol", "whether a domain's monitor answers", NULL, domain_only, 0, run_domcontrol },
    { "domifstat", "traffic of a domain's interface", NULL,
      (const CliOption[]){
          { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID" },
          { "interface", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INTERFACE, "the interface: target" },
          CLI_OPTIONS_END },
      0, run_domifstat },
    { "dominfo", "what a domain is and how it does", NULL, domain_only, 0, run_dominfo },
    { "dommemstat", "memory of a domain", NULL, domain_only, 0, run_dommemstat },
    { "domstate", "the state of a domain", NULL,
      (const CliOption[]){
          { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID" },
          { "reason", CLI_FLAG, 0, CLI_VALUE_ANY, "and why it is in it" },
          CLI_OPTIONS_END },
      0, run_domstate },
    { "domstats", "statistics of domains", NULL, domstats_options, 0, run_domstats },
    { "list", "list domains", "Without an option: those that run.", list_options, 0, run_list },
    { "ls", "list domains", NULL, list_options, CLI_ALIAS, run_list },
    { NULL },
};
