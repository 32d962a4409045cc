/* Commands about the host.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/session.h"

#include <stdio.h>

static bool run_nodeinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteNodeGetInfoRet info;
    if (!remote_node_get_info(cli_client(session), &session->arena, &info, error)) {
        return cli_fail(error, "failed to get node information");
    }
    g_autoptr(CliRecord) record = cli_record_new(21);
    cli_record_add(record, "CPU model", "%.32s", info.model);
    cli_record_add(record, "CPU(s)", "%d", info.cpus);
    if (info.mhz) {
        cli_record_add(record, "CPU frequency", "%d MHz", info.mhz);
    }
    cli_record_add(record, "CPU socket(s)", "%d", info.sockets);
    cli_record_add(record, "Core(s) per socket", "%d", info.cores);
    cli_record_add(record, "Thread(s) per core", "%d", info.threads);
    cli_record_add(record, "NUMA cell(s)", "%d", info.nodes);
    cli_record_add(record, "Memory size", "%" G_GUINT64_FORMAT " KiB", info.memory);
    cli_show_record(session, record);
    return true;
}

static bool run_hostname(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetHostnameRet ret;
    if (!remote_connect_get_hostname(cli_client(session), &session->arena, &ret, error)) {
        return cli_fail(error, "failed to get hostname");
    }
    cli_print(session, "%s", ret.hostname);
    return true;
}

static bool run_uri(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetUriRet ret;
    if (session->uri) {
        cli_print(session, "%s", session->uri);
        return true;
    }
    if (!remote_connect_get_uri(cli_client(session), &session->arena, &ret, error)) {
        return cli_fail(error, "failed to get URI");
    }
    cli_print(session, "%s", ret.uri);
    return true;
}

static void add_version(CliRecord *record, const char *what, const char *name, uint64_t version)
{
    cli_record_add(record, what, "%s%s%u.%u.%u", name, *name ? " " : "",
                   (unsigned)(version / 1000000), (unsigned)(version / 1000 % 1000),
                   (unsigned)(version % 1000));
}

static bool run_version(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetTypeRet type;
    RemoteConnectGetVersionRet version;
    RemoteConnectGetLibVersionRet library;
    RpcClient *client = cli_client(session);
    if (!remote_connect_get_type(client, &session->arena, &type, error)) {
        return cli_fail(error, "failed to get hypervisor type");
    }
    g_autoptr(CliRecord) record = cli_record_new(0);
    cli_record_add(record, "Compiled against library", "lodge %s", LODGE_VERSION);
    cli_record_add(record, "Using library", "lodge %s", LODGE_VERSION);
    if (remote_connect_get_lib_version(client, &session->arena, &library, NULL)) {
        add_version(record, "Using API", type.type, library.lib_ver);
    }
    if (!remote_connect_get_version(client, &session->arena, &version, error)) {
        return cli_fail(error, "failed to get the hypervisor version");
    }
    if (version.hv_ver) {
        add_version(record, "Running hypervisor", type.type, version.hv_ver);
    } else {
        cli_note(session, "Cannot extract running %s hypervisor version", type.type);
    }
    if (cli_args_flag(args, "daemon") &&
        remote_connect_get_lib_version(client, &session->arena, &library, NULL)) {
        add_version(record, "Running against daemon", "", library.lib_ver);
    }
    (session->is_json ? cli_record_print_json : cli_record_print)(record, stdout);
    return true;
}

static bool run_capabilities(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetCapabilitiesRet ret;
    if (!remote_connect_get_capabilities(cli_client(session), &session->arena, &ret, error)) {
        return cli_fail(error, "failed to get capabilities");
    }
    cli_print(session, "%s", ret.capabilities);
    return true;
}

static bool run_domcapabilities(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetDomainCapabilitiesArgs call = {
        .emulatorbin = cli_args_string(args, "emulatorbin"),
        .arch = cli_args_string(args, "arch"),
        .machine = cli_args_string(args, "machine"),
        .virttype = cli_args_string(args, "virttype"),
    };
    RemoteConnectGetDomainCapabilitiesRet ret;
    if (!remote_connect_get_domain_capabilities(cli_client(session), &call, &session->arena, &ret,
                                                error)) {
        return cli_fail(error, "failed to get emulator capabilities");
    }
    cli_print(session, "%s", ret.capabilities);
    return true;
}

static bool run_maxvcpus(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetMaxVcpusArgs call = { cli_args_string(args, "type") };
    RemoteConnectGetMaxVcpusRet ret;
    if (!remote_connect_get_max_vcpus(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    cli_print(session, "%d", ret.max_vcpus);
    return true;
}

static bool run_nodememstats(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 cell = -1;
    RemoteNodeGetMemoryStatsRet ret;
    if (!cli_args_int(args, "cell", -1, G_MAXINT32, &cell, error)) {
        return false;
    }
    RemoteNodeGetMemoryStatsArgs call = { .cell_num = (int32_t)cell };
    bool ok =
        remote_node_get_memory_stats(cli_client(session), &call, &session->arena, &ret, error);
    if (ok) {
        call.nparams = ret.nparams;
        ok = remote_node_get_memory_stats(cli_client(session), &call, &session->arena, &ret, error);
    }
    if (!ok) {
        return cli_fail(error, "Unable to get number of memory stats");
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(7);
    for (uint32_t i = 0; i < ret.n_params; i++) {
        guint64 kib = ret.params[i].value;
        g_autofree char *text = session->is_json
                                    ? g_strdup_printf("%" G_GUINT64_FORMAT, kib)
                                    : g_strdup_printf("%20" G_GUINT64_FORMAT " KiB", kib);
        cli_record_add(record, ret.params[i].field, "%s", text);
    }
    cli_show_record(session, record);
    return true;
}

const CliCommand cli_host_commands[] = {
    { "capabilities", "what the host and its emulators can do, as XML", NULL, NULL, 0,
      run_capabilities },
    { "domcapabilities", "what a domain on an emulator can have, as XML", NULL,
      (const CliOption[]){ { "virttype", CLI_STRING, 0, CLI_VALUE_ANY, "kvm or qemu" },
                           { "emulatorbin", CLI_STRING, 0, CLI_VALUE_FILE, "the emulator's path" },
                           { "arch", CLI_STRING, 0, CLI_VALUE_ANY, "the guest's architecture" },
                           { "machine", CLI_STRING, 0, CLI_VALUE_ANY, "the machine type" },
                           CLI_OPTIONS_END },
      0, run_domcapabilities },
    { "hostname", "the host's name", NULL, NULL, 0, run_hostname },
    { "maxvcpus", "the most vCPUs that a domain can have", NULL,
      (const CliOption[]){ { "type", CLI_STRING, 0, CLI_VALUE_ANY, "kvm or qemu" },
                           CLI_OPTIONS_END },
      0, run_maxvcpus },
    { "nodeinfo", "the host's CPUs and memory", NULL, NULL, 0, run_nodeinfo },
    { "nodememstats", "use of the host's memory", NULL,
      (const CliOption[]){ { "cell", CLI_NUMBER, 0, CLI_VALUE_ANY, "a NUMA cell" },
                           CLI_OPTIONS_END },
      0, run_nodememstats },
    { "uri", "the URI of the connection", NULL, NULL, 0, run_uri },
    { "version", "versions of program, daemon and hypervisor", NULL,
      (const CliOption[]){ { "daemon", CLI_FLAG, 0, CLI_VALUE_ANY, "the daemon's too" },
                           CLI_OPTIONS_END },
      0, run_version },
    { NULL },
};
