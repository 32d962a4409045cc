/* Commands about vCPUs and the threads of a domain: how many, where they run, what they use.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "conf/cpuset.h"
#include "gbase/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bits of virDomainVcpuFlags. */
enum { VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16 };

static const CliOption setvcpus_options[] = {
    CLI_DOMAIN_OPTION,
    { "count", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "how many" },
    { "maximum", CLI_FLAG, 0, CLI_VALUE_ANY, "the highest number, from the next start on" },
    { "guest", CLI_FLAG, 0, CLI_VALUE_ANY, "by the guest's agent" },
    { "hotpluggable", CLI_FLAG, 0, CLI_VALUE_ANY, "added ones can be taken away again" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_setvcpus(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit more[] = { { "maximum", VCPU_MAXIMUM },
                                   { "guest", VCPU_GUEST },
                                   { "hotpluggable", VCPU_HOTPLUGGABLE },
                                   { NULL } };
    guint flags;
    gint64 count = 0;
    RemoteDomainSetVcpusFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_exclusive(args, "guest", "config", error) ||
        !cli_args_int(args, "count", 0, G_MAXINT32, &count, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (cli_args_flag(args, "maximum") && !cli_args_flag(args, "config")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Option --config is required by option --maximum");
        return false;
    }
    if (count == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Can't set 0 processors for a VM");
        return false;
    }
    call.nvcpus = (uint32_t)count;
    call.flags = flags | cli_args_bits(args, more);
    if (call.flags == 0 && !cli_args_flag(args, "current")) {
        RemoteDomainSetVcpusArgs live = { call.dom, call.nvcpus };
        return remote_domain_set_vcpus(cli_client(session), &live, error);
    }
    return remote_domain_set_vcpus_flags(cli_client(session), &call, error);
}

static const CliOption vcpucount_options[] = {
    CLI_DOMAIN_OPTION,
    { "maximum", CLI_FLAG, 0, CLI_VALUE_ANY, "the most there can be" },
    { "active", CLI_FLAG, 0, CLI_VALUE_ANY, "those there are" },
    { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest" },
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },
    { "current", CLI_FLAG, 0, CLI_VALUE_ANY, "whichever it is in now (the default)" },
    { "guest", CLI_FLAG, 0, CLI_VALUE_ANY, "as the guest's agent says" },
    CLI_OPTIONS_END,
};

static bool count_vcpus(CliSession *session, const RemoteDomain *domain, uint32_t flags, int *out,
                        GError **error)
{
    RemoteDomainGetVcpusFlagsArgs call = { *domain, flags };
    RemoteDomainGetVcpusFlagsRet ret;
    bool ok =
        remote_domain_get_vcpus_flags(cli_client(session), &call, &session->arena, &ret, error);
    *out = ok ? ret.num : -1;
    return ok;
}

/* All four numbers, where there are any. */
static bool show_all_counts(CliSession *session, const RemoteDomain *domain, GError **error)
{
    static const struct {
        const char *what, *where, *key;
        uint32_t flags;
    } rows[] = {
        { "maximum", "config", "maximum_config", VCPU_MAXIMUM | CLI_IMPACT_CONFIG },
        { "maximum", "live", "maximum_live", VCPU_MAXIMUM | CLI_IMPACT_LIVE },
        { "current", "config", "current_config", CLI_IMPACT_CONFIG },
        { "current", "live", "current_live", CLI_IMPACT_LIVE },
    };
    g_autoptr(CliRecord) record = cli_record_new(0);
    g_autoptr(GError) problem = NULL;
    unsigned known = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        int count;
        g_clear_error(&problem);
        if (!count_vcpus(session, domain, rows[i].flags, &count, &problem)) {
            continue;
        }
        known++;
        if (session->is_json) {
            cli_record_add(record, rows[i].key, "%d", count);
        } else {
            printf("%-12s %-12s %3d\n", rows[i].what, rows[i].where, count);
        }
    }
    if (session->is_json) {
        cli_show_record(session, record);
    }
    if (known == 0) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return cli_fail(error, "Failed to retrieve current vcpu count");
    }
    return true;
}

static bool run_vcpucount(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "maximum", VCPU_MAXIMUM }, { "guest", VCPU_GUEST }, { NULL } };
    guint impact;
    int count;
    RemoteDomain domain;
    bool is_plain = !cli_args_flag(args, "maximum") && !cli_args_flag(args, "active") &&
                    !cli_args_flag(args, "guest") && !cli_args_flag(args, "live") &&
                    !cli_args_flag(args, "config") && !cli_args_flag(args, "current");
    if (!cli_args_exclusive(args, "live", "config", error) ||
        !cli_args_exclusive(args, "guest", "config", error) ||
        !cli_args_exclusive(args, "maximum", "active", error) ||
        !cli_args_impact(args, &impact, error) || !cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (is_plain) {
        return show_all_counts(session, &domain, error);
    }
    if (!count_vcpus(session, &domain, impact | cli_args_bits(args, bits), &count, error)) {
        return false;
    }
    cli_print(session, "%d", count);
    return true;
}

static const CliOption vcpuinfo_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "for people" },
    CLI_OPTIONS_END,
};

/* "0-3 (out of 8)", or a letter for each CPU of the host. (transfer full) */
static char *affinity_text(const uint8_t *map, size_t size, unsigned cpus, bool is_pretty)
{
    if (is_pretty) {
        g_autofree char *text = cli_cpumap_text(map, size, cpus);
        return g_strdup_printf("%s (out of %u)", text, cpus);
    }
    GString *text = g_string_new(NULL);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        bool is_set = cpu / 8 < size && (map[cpu / 8] >> (cpu % 8) & 1);
        g_string_append_c(text, is_set ? 'y' : '-');
    }
    return g_string_free(text, FALSE);
}

static void add_running_vcpu(CliRecord *record, const RemoteVcpuInfo *info)
{
    static const char *const states[] = { "offline", "running", "blocked" };
    cli_record_add(record, "VCPU", "%u", info->number);
    cli_record_add(record, "CPU", "%d", info->cpu);
    cli_record_add(record, "State", "%s",
                   info->state >= 0 && info->state < 3 ? states[info->state] : "no state");
    cli_record_add(record, "CPU time", "%.1fs", (double)info->cpu_time / 1e9);
}

static void show_records(CliSession *session, GPtrArray *records)
{
    if (session->is_json) {
        cli_records_print_json((CliRecord *const *)records->pdata, records->len, stdout);
        return;
    }
    for (unsigned i = 0; i < records->len; i++) {
        printf("%s", i ? "\n" : "");
        cli_record_print(records->pdata[i], stdout);
    }
}

/* Of a domain that does not run: where its vCPUs may run. */
static bool show_planned_vcpus(CliSession *session, const RemoteDomain *domain, unsigned cpus,
                               bool is_pretty, GError **error)
{
    int count;
    if (!count_vcpus(session, domain, CLI_IMPACT_CONFIG, &count, error)) {
        return false;
    }
    RemoteDomainGetVcpuPinInfoArgs call = { *domain, count, (int32_t)(cpus + 7) / 8,
                                            CLI_IMPACT_CONFIG };
    RemoteDomainGetVcpuPinInfoRet ret;
    if (!remote_domain_get_vcpu_pin_info(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return false;
    }
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)cli_record_free);
    size_t size = (size_t)call.maplen;
    for (int i = 0; i < ret.num && (size_t)(i + 1) * size <= ret.n_cpumaps; i++) {
        CliRecord *record = cli_record_new(16);
        g_autofree char *text =
            affinity_text(ret.cpumaps + (size_t)i * size, size, cpus, is_pretty);
        cli_record_add(record, "VCPU", "%d", i);
        cli_record_add(record, "CPU", "N/A");
        cli_record_add(record, "State", "N/A");
        cli_record_add(record, "CPU time", "N/A");
        cli_record_add(record, "CPU Affinity", "%s", text);
        g_ptr_array_add(records, record);
    }
    show_records(session, records);
    return true;
}

static bool run_vcpuinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    RemoteDomainGetInfoRet info;
    unsigned cpus;
    bool is_pretty = cli_args_flag(args, "pretty");
    if (!cli_domain(session, args, &domain, error) || !(cpus = cli_host_cpus(session, error))) {
        return false;
    }
    RemoteDomainGetInfoArgs info_call = { domain };
    if (!remote_domain_get_info(cli_client(session), &info_call, &session->arena, &info, error)) {
        return false;
    }
    if (domain.id < 0) {
        return show_planned_vcpus(session, &domain, cpus, is_pretty, error);
    }
    RemoteDomainGetVcpusArgs call = { domain, info.nr_virt_cpu, (int32_t)(cpus + 7) / 8 };
    RemoteDomainGetVcpusRet ret;
    if (!remote_domain_get_vcpus(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)cli_record_free);
    size_t size = (size_t)call.maplen;
    for (uint32_t i = 0; i < ret.n_info && (i + 1) * size <= ret.n_cpumaps; i++) {
        CliRecord *record = cli_record_new(16);
        g_autofree char *text = affinity_text(ret.cpumaps + i * size, size, cpus, is_pretty);
        add_running_vcpu(record, &ret.info[i]);
        cli_record_add(record, "CPU Affinity", "%s", text);
        g_ptr_array_add(records, record);
    }
    show_records(session, records);
    return true;
}

/* Pinning */

static const CliOption vcpupin_options[] = {
    CLI_DOMAIN_OPTION,
    { "vcpu", CLI_NUMBER, 0, CLI_VALUE_ANY, "its number" },
    { "cpulist", CLI_STRING, 0, CLI_VALUE_ANY, "CPUs, as 0-3,^2 or r for all" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool show_vcpu_pins(CliSession *session, const RemoteDomain *domain, uint32_t flags,
                           gint64 only, GError **error)
{
    static const char *const headings[] = { "VCPU", "CPU Affinity", NULL };
    unsigned cpus = cli_host_cpus(session, error);
    int count;
    if (cpus == 0 ||
        (!count_vcpus(session, domain, flags | VCPU_MAXIMUM, &count, NULL) &&
         !count_vcpus(session, domain, CLI_IMPACT_CONFIG | VCPU_MAXIMUM, &count, error))) {
        return false;
    }
    if (only >= count) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "vcpu %" G_GINT64_FORMAT " is out of range of %s cpu count %d", only,
                    flags & CLI_IMPACT_CONFIG || domain->id < 0 ? "persistent" : "live", count);
        return false;
    }
    RemoteDomainGetVcpuPinInfoArgs call = { *domain, count, (int32_t)(cpus + 7) / 8, flags };
    RemoteDomainGetVcpuPinInfoRet ret;
    if (!remote_domain_get_vcpu_pin_info(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    size_t size = (size_t)call.maplen;
    for (int i = 0; i < ret.num && (size_t)(i + 1) * size <= ret.n_cpumaps; i++) {
        g_autofree char *number = g_strdup_printf("%d", i);
        g_autofree char *text = cli_cpumap_text(ret.cpumaps + (size_t)i * size, size, cpus);
        if (only < 0 || only == i) {
            cli_table_add(table, number, text);
        }
    }
    cli_show_table(session, table);
    return true;
}

static bool run_vcpupin(CliSession *session, const CliArgs *args, GError **error)
{
    guint flags;
    gint64 vcpu = -1;
    const char *list = cli_args_string(args, "cpulist");
    RemoteDomainPinVcpuFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_int(args, "vcpu", 0, G_MAXINT32, &vcpu, error)) {
        return false;
    }
    if (list && vcpu < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "vcpupin: Missing vCPU number in pin mode.");
        return false;
    }
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!list) {
        return show_vcpu_pins(session, &call.dom, flags, vcpu, error);
    }
    call.vcpu = (uint32_t)vcpu;
    call.flags = flags;
    return cli_cpumap_parse(session, list, &call.cpumap, &call.n_cpumap, error) &&
           remote_domain_pin_vcpu_flags(cli_client(session), &call, error);
}

static const CliOption emulatorpin_options[] = {
    CLI_DOMAIN_OPTION,
    { "cpulist", CLI_STRING, 0, CLI_VALUE_ANY, "CPUs, as 0-3,^2 or r for all" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_emulatorpin(CliSession *session, const CliArgs *args, GError **error)
{
    guint flags;
    const char *list = cli_args_string(args, "cpulist");
    RemoteDomain domain;
    unsigned cpus;
    if (!cli_args_impact(args, &flags, error) || !cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (list) {
        RemoteDomainPinEmulatorArgs call = { .dom = domain, .flags = flags };
        return cli_cpumap_parse(session, list, &call.cpumap, &call.n_cpumap, error) &&
               remote_domain_pin_emulator(cli_client(session), &call, error);
    }
    if (!(cpus = cli_host_cpus(session, error))) {
        return false;
    }
    RemoteDomainGetEmulatorPinInfoArgs call = { domain, (int32_t)(cpus + 7) / 8, flags };
    RemoteDomainGetEmulatorPinInfoRet ret;
    if (!remote_domain_get_emulator_pin_info(cli_client(session), &call, &session->arena, &ret,
                                             error)) {
        return false;
    }
    g_autofree char *text = cli_cpumap_text(ret.cpumaps, ret.n_cpumaps, cpus);
    if (session->is_json) {
        cli_print(session, "%s", text);
        return true;
    }
    cli_note(session, "emulator: CPU Affinity\n----------------------------------");
    printf("       *: %s\n", text);
    return true;
}

/* I/O threads */

static const CliOption iothreadinfo_options[] = {
    CLI_DOMAIN_OPTION,
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_iothreadinfo(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const headings[] = { "IOThread ID", "CPU Affinity", NULL };
    RemoteDomainGetIothreadInfoArgs call;
    RemoteDomainGetIothreadInfoRet ret;
    unsigned cpus;
    if (!cli_args_impact(args, &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_get_iothread_info(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return cli_fail(error, "Unable to get domain IOThreads information");
    }
    if (ret.n_info == 0 && !session->is_json) {
        cli_note_open(session, "No IOThreads found for the domain");
        return true;
    }
    if (!(cpus = cli_host_cpus(session, error))) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (uint32_t i = 0; i < ret.n_info; i++) {
        g_autofree char *number = g_strdup_printf("%u", ret.info[i].iothread_id);
        g_autofree char *text = cli_cpumap_text(ret.info[i].cpumap, ret.info[i].n_cpumap, cpus);
        cli_table_add(table, number, text);
    }
    cli_show_table(session, table);
    return true;
}

/* The number of an I/O thread. */
static bool thread_number(const CliArgs *args, const char *option, uint32_t *out_number,
                          GError **error)
{
    gint64 number = 0;
    if (!cli_args_int(args, option, 0, G_MAXUINT32, &number, error)) {
        return false;
    }
    if (number == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid IOThread id value: '%s'", cli_args_string(args, option));
        return false;
    }
    *out_number = (uint32_t)number;
    return true;
}

static const CliOption iothreadpin_options[] = {
    CLI_DOMAIN_OPTION,
    { "iothread", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "its number" },
    { "cpulist", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "CPUs, as 0-3,^2 or r for all" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_iothreadpin(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainPinIothreadArgs call;
    return cli_args_impact(args, &call.flags, error) &&
           cli_domain(session, args, &call.dom, error) &&
           thread_number(args, "iothread", &call.iothreads_id, error) &&
           cli_cpumap_parse(session, cli_args_string(args, "cpulist"), &call.cpumap, &call.n_cpumap,
                            error) &&
           remote_domain_pin_iothread(cli_client(session), &call, error);
}

static const CliOption iothreadadd_options[] = {
    CLI_DOMAIN_OPTION,
    { "id", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "its number" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_iothreadadd(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainAddIothreadArgs call;
    return cli_args_impact(args, &call.flags, error) &&
           cli_domain(session, args, &call.dom, error) &&
           thread_number(args, "id", &call.iothread_id, error) &&
           remote_domain_add_iothread(cli_client(session), &call, error);
}

static const CliOption iothreaddel_options[] = {
    CLI_DOMAIN_OPTION,
    { "id", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "its number" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_iothreaddel(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainDelIothreadArgs call;
    return cli_args_impact(args, &call.flags, error) &&
           cli_domain(session, args, &call.dom, error) &&
           thread_number(args, "id", &call.iothread_id, error) &&
           remote_domain_del_iothread(cli_client(session), &call, error);
}

static const CliOption iothreadset_options[] = {
    CLI_DOMAIN_OPTION,
    { "id", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "its number" },
    { "poll-max-ns", CLI_NUMBER, 0, CLI_VALUE_ANY, "the longest time to poll: ns" },
    { "poll-grow", CLI_NUMBER, 0, CLI_VALUE_ANY, "how polling grows" },
    { "poll-shrink", CLI_NUMBER, 0, CLI_VALUE_ANY, "how polling shrinks" },
    { "thread-pool-min", CLI_NUMBER, 0, CLI_VALUE_ANY, "workers that always wait" },
    { "thread-pool-max", CLI_NUMBER, 0, CLI_VALUE_ANY, "workers at most" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_iothreadset(CliSession *session, const CliArgs *args, GError **error)
{
    static const struct {
        const char *option, *field;
        TypedParamType type;
    } rows[] = {
        { "poll-max-ns", "poll_max_ns", TYPED_PARAM_ULLONG },
        { "poll-grow", "poll_grow", TYPED_PARAM_UINT },
        { "poll-shrink", "poll_shrink", TYPED_PARAM_UINT },
        { "thread-pool-min", "thread_pool_min", TYPED_PARAM_INT },
        { "thread-pool-max", "thread_pool_max", TYPED_PARAM_INT },
    };
    TypedParam params[G_N_ELEMENTS(rows)];
    RemoteDomainSetIothreadParamsArgs call = { .params = params };
    if (!cli_args_impact(args, &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error) ||
        !thread_number(args, "id", &call.iothread_id, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        gint64 value = 0;
        TypedParam param = { .field = rows[i].field, .type = rows[i].type };
        bool is_signed = rows[i].type == TYPED_PARAM_INT;
        if (!cli_args_string(args, rows[i].option)) {
            continue;
        }
        if (!cli_args_int(args, rows[i].option, is_signed ? G_MININT32 : 0,
                          is_signed                            ? G_MAXINT32
                          : rows[i].type == TYPED_PARAM_ULLONG ? G_MAXINT64
                                                               : G_MAXUINT32,
                          &value, error)) {
            return false;
        }
        if (rows[i].type == TYPED_PARAM_ULLONG) {
            param.value.ul = (uint64_t)value;
        } else {
            param.value.i = (int32_t)value;
        }
        params[call.n_params++] = param;
    }
    if (call.n_params == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Not enough arguments passed, nothing to set");
        return false;
    }
    return remote_domain_set_iothread_params(cli_client(session), &call, error);
}

/* Single vCPUs */

static bool one_way(const CliArgs *args, GError **error)
{
    if (!cli_args_exclusive(args, "enable", "disable", error)) {
        return false;
    }
    if (!cli_args_flag(args, "enable") && !cli_args_flag(args, "disable")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "option --enable or --disable is required");
        return false;
    }
    return true;
}

static const CliOption setvcpu_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "vcpulist", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "vCPUs, as 2,3" },
    { "enable", CLI_FLAG, 0, CLI_VALUE_ANY, "plug them in" },
    { "disable", CLI_FLAG, 0, CLI_VALUE_ANY, "take them out" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_setvcpu(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainSetVcpuArgs call = { .cpumap = cli_args_string(args, "vcpulist"),
                                     .state = cli_args_flag(args, "enable") };
    return cli_args_impact(args, &call.flags, error) && one_way(args, error) &&
           cli_domain(session, args, &call.dom, error) &&
           remote_domain_set_vcpu(cli_client(session), &call, error);
}

static const CliOption guestvcpus_options[] = {
    CLI_DOMAIN_OPTION,
    { "cpulist", CLI_STRING, 0, CLI_VALUE_ANY, "vCPUs, as 0-3,^2" },
    { "enable", CLI_FLAG, 0, CLI_VALUE_ANY, "switch them on" },
    { "disable", CLI_FLAG, 0, CLI_VALUE_ANY, "switch them off" },
    CLI_OPTIONS_END,
};

static bool run_guestvcpus(CliSession *session, const CliArgs *args, GError **error)
{
    const char *list = cli_args_string(args, "cpulist");
    bool changes = cli_args_flag(args, "enable") || cli_args_flag(args, "disable");
    RemoteDomain domain;
    if (!cli_args_exclusive(args, "enable", "disable", error)) {
        return false;
    }
    if ((list != NULL) != changes) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s",
                    list ? "One of options --enable or --disable is required by option --cpulist"
                         : "options --enable and --disable require option --cpulist");
        return false;
    }
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (list) {
        RemoteDomainSetGuestVcpusArgs set = { domain, list, cli_args_flag(args, "enable"), 0 };
        return remote_domain_set_guest_vcpus(cli_client(session), &set, error);
    }
    RemoteDomainGetGuestVcpusArgs call = { domain, 0 };
    RemoteDomainGetGuestVcpusRet ret;
    if (!remote_domain_get_guest_vcpus(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(15);
    for (uint32_t i = 0; i < ret.n_params; i++) {
        g_autofree char *text = cli_param_text(&ret.params[i]);
        cli_record_add(record, ret.params[i].field, "%s", text);
    }
    cli_show_record(session, record);
    return true;
}

/* Time used */

static const CliOption cpu_stats_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "total", CLI_FLAG, 0, CLI_VALUE_ANY, "the sum only" },
    { "start", CLI_NUMBER, 0, CLI_VALUE_ANY, "from this CPU of the host on" },
    { "count", CLI_NUMBER, 0, CLI_VALUE_ANY, "so many CPUs" },
    CLI_OPTIONS_END,
};

/* Of one CPU of the host, or of all. As JSON it waits in @records for the others. */
static void show_cpu_times(CliSession *session, GPtrArray *records, const char *which,
                           const RemoteDomainGetCpuStatsRet *ret)
{
    const TypedParam *params = ret->params;
    if (session->is_json) {
        CliRecord *record = cli_record_new(0);
        cli_record_add(record, "cpu", "%s", which);
        for (uint32_t i = 0; i < ret->n_params; i++) {
            g_autofree char *text = cli_param_text(&params[i]);
            cli_record_add(record, params[i].field, "%s", text);
        }
        g_ptr_array_add(records, record);
        return;
    }
    printf("%s:\n", which);
    for (uint32_t i = 0; i < ret->n_params; i++) {
        guint64 ns = cli_param_number(&params[i], 0);
        bool is_time = strcmp(params[i].field, "cpu_time") == 0 ||
                       strcmp(params[i].field, "vcpu_time") == 0 ||
                       strcmp(params[i].field, "user_time") == 0 ||
                       strcmp(params[i].field, "system_time") == 0;
        g_autofree char *text = cli_param_text(&params[i]);
        if (is_time && params[i].type == TYPED_PARAM_ULLONG) {
            printf("\t%-12s %9" G_GUINT64_FORMAT ".%09" G_GUINT64_FORMAT " seconds\n",
                   params[i].field, ns / 1000000000, ns % 1000000000);
        } else {
            printf("\t%-12s %s\n", params[i].field, text);
        }
    }
}

/* Asks for the CPUs from @first on; -1: the sum. */
static bool read_cpu_times(CliSession *session, const RemoteDomain *domain, int32_t first,
                           uint32_t cpus, RemoteDomainGetCpuStatsRet *ret, GError **error)
{
    RemoteDomainGetCpuStatsArgs call = { *domain, 0, first, cpus, 0 };
    if (!remote_domain_get_cpu_stats(cli_client(session), &call, &session->arena, ret, error)) {
        return false;
    }
    call.nparams = (uint32_t)MAX(ret->nparams, 0);
    if (call.nparams == 0) {
        ret->n_params = 0;
        return true;
    }
    return remote_domain_get_cpu_stats(cli_client(session), &call, &session->arena, ret, error);
}

static bool show_cpus(CliSession *session, const RemoteDomain *domain, gint64 first, gint64 count,
                      GPtrArray *records, GError **error)
{
    RemoteDomainGetCpuStatsArgs ask = { *domain, 0, 0, 0, 0 };
    RemoteDomainGetCpuStatsRet ret;
    if (!remote_domain_get_cpu_stats(cli_client(session), &ask, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to retrieve CPU statistics for domain '%s'", domain->name);
    }
    gint64 present = ret.nparams;
    if (first >= present) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Start CPU %" G_GINT64_FORMAT " is out of range (min: 0, max: %" G_GINT64_FORMAT
                    ")",
                    first, present - 1);
        return false;
    }
    gint64 end = MIN(present, count < 0 ? present : first + count);
    for (gint64 cpu = first; cpu < end; cpu++) {
        if (!read_cpu_times(session, domain, (int32_t)cpu, 1, &ret, error)) {
            return false;
        }
        if (ret.n_params > 0) {
            g_autofree char *which = g_strdup_printf("CPU%" G_GINT64_FORMAT, cpu);
            show_cpu_times(session, records, which, &ret);
        }
    }
    return true;
}

static bool show_cpu_stats(CliSession *session, const CliArgs *args, GPtrArray *records,
                           GError **error)
{
    gint64 first = 0, count = -1;
    RemoteDomain domain;
    RemoteDomainGetCpuStatsRet ret;
    bool chooses = cli_args_string(args, "start") || cli_args_string(args, "count");
    if (!cli_args_int(args, "start", 0, G_MAXINT32, &first, error) ||
        !cli_args_int(args, "count", 0, G_MAXINT32, &count, error) ||
        !cli_domain(session, args, &domain, error)) {
        return false;
    }
    bool shows_cpus = chooses || !cli_args_flag(args, "total");
    if (shows_cpus && !show_cpus(session, &domain, first, count, records, error)) {
        return false;
    }
    if (chooses && !cli_args_flag(args, "total")) {
        return true;
    }
    if (!read_cpu_times(session, &domain, -1, 1, &ret, error)) {
        return cli_fail(error, "Failed to retrieve CPU statistics for domain '%s'", domain.name);
    }
    if (ret.n_params > 0) {
        show_cpu_times(session, records, "Total", &ret);
    } else {
        cli_note(session, "No total stats available");
    }
    return true;
}

static bool run_cpu_stats(CliSession *session, const CliArgs *args, GError **error)
{
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)cli_record_free);
    if (!show_cpu_stats(session, args, records, error)) {
        return false;
    }
    if (session->is_json) {
        cli_records_print_json((CliRecord *const *)records->pdata, records->len, stdout);
    }
    return true;
}

const CliCommand cli_vcpu_commands[] = {
    { "cpu-stats", "CPU time that a domain took of the host's CPUs", NULL, cpu_stats_options, 0,
      run_cpu_stats },
    { "emulatorpin", "show or choose where a monitor's own threads run", NULL, emulatorpin_options,
      0, run_emulatorpin },
    { "guestvcpus", "show vCPUs or switch them on and off in the guest", "Asks the guest's agent.",
      guestvcpus_options, 0, run_guestvcpus },
    { "iothreadadd", "give a domain another I/O thread", NULL, iothreadadd_options, 0,
      run_iothreadadd },
    { "iothreaddel", "take an I/O thread away", NULL, iothreaddel_options, 0, run_iothreaddel },
    { "iothreadinfo", "list a domain's I/O threads", NULL, iothreadinfo_options, 0,
      run_iothreadinfo },
    { "iothreadpin", "choose where an I/O thread runs", NULL, iothreadpin_options, 0,
      run_iothreadpin },
    { "iothreadset", "change how an I/O thread polls", NULL, iothreadset_options, 0,
      run_iothreadset },
    { "setvcpu", "plug single vCPUs in or out", NULL, setvcpu_options, 0, run_setvcpu },
    { "setvcpus", "change a domain's number of vCPUs", NULL, setvcpus_options, 0, run_setvcpus },
    { "vcpucount", "how many vCPUs a domain has", NULL, vcpucount_options, 0, run_vcpucount },
    { "vcpuinfo", "what a domain's vCPUs do and where", NULL, vcpuinfo_options, 0, run_vcpuinfo },
    { "vcpupin", "show or choose where vCPUs run", NULL, vcpupin_options, 0, run_vcpupin },
    { NULL },
};
