/* What a domain is and what it has.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"
#include "gbase/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What the daemon warns of. */
static void add_messages(CliSession *session, CliRecord *record, const RemoteDomain *domain)
{
    RemoteDomainGetMessagesArgs call = { *domain, 0 };
    RemoteDomainGetMessagesRet ret;
    if (!remote_domain_get_messages(cli_client(session), &call, &session->arena, &ret, NULL) ||
        ret.n_msgs == 0) {
        return;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; i < ret.n_msgs; i++) {
        g_string_append_printf(text, "%s%s", i > 0 ? "\n" : "", ret.msgs[i]);
    }
    cli_record_add(record, "Messages", "%s", text->str);
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
    add_messages(session, record, &domain);
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

/* What it has */

static const CliOption domblklist_options[] = {
    CLI_DOMAIN_OPTION,
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "as they are from the next start on" },
    { "details", CLI_FLAG, 0, CLI_VALUE_ANY, "with types" },
    CLI_OPTIONS_END,
};

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static bool run_domblklist(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const short_headings[] = { "Target", "Source", NULL };
    static const char *const headings[] = { "Type", "Device", "Target", "Source", NULL };
    bool is_detailed = cli_args_flag(args, "details");
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, cli_args_flag(args, "inactive") ? 2 : 0, error);
    if (!doc) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(is_detailed ? headings : short_headings);
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *disk = devices ? xml_first(devices) : NULL; disk; disk = xml_next(disk)) {
        static const char *const places[] = { "file", "dev", "dir", "name", "volume", "path" };
        g_autofree char *type = xml_attr(disk, "type");
        g_autofree char *device = xml_attr(disk, "device");
        g_autofree char *target = cli_child_attr(disk, "target", "dev");
        g_autofree char *source = NULL;
        for (unsigned i = 0; !source && i < G_N_ELEMENTS(places); i++) {
            source = cli_child_attr(disk, "source", places[i]);
        }
        if (!xml_is(disk, "disk")) {
            continue;
        }
        if (is_detailed) {
            cli_table_add(table, type, device ? device : "disk", target, or_dash(source));
        } else {
            cli_table_add(table, target, or_dash(source));
        }
    }
    cli_show_table(session, table);
    return true;
}

static const CliOption domiflist_options[] = {
    CLI_DOMAIN_OPTION,
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "as they are from the next start on" },
    CLI_OPTIONS_END,
};

static bool run_domiflist(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const headings[] = { "Interface", "Type", "Source", "Model", "MAC", NULL };
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, cli_args_flag(args, "inactive") ? 2 : 0, error);
    if (!doc) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        static const char *const places[] = { "network", "bridge", "dev", "name", "path", "dir" };
        g_autofree char *type = xml_attr(at, "type");
        g_autofree char *target = cli_child_attr(at, "target", "dev");
        g_autofree char *model = cli_child_attr(at, "model", "type");
        g_autofree char *mac = cli_child_attr(at, "mac", "address");
        g_autofree char *source = NULL;
        for (unsigned i = 0; !source && i < G_N_ELEMENTS(places); i++) {
            source = cli_child_attr(at, "source", places[i]);
        }
        if (xml_is(at, "interface")) {
            cli_table_add(table, target, type, source, model, mac);
        }
    }
    cli_show_table(session, table);
    return true;
}

static const CliOption domifaddr_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "interface", CLI_STRING, 0, CLI_VALUE_INTERFACE, "only this one" },
    { "full", CLI_FLAG, 0, CLI_VALUE_ANY, "repeat name and MAC on each line" },
    { "source", CLI_STRING, 0, CLI_VALUE_ANY, "lease, agent or arp" },
    CLI_OPTIONS_END,
};

static bool run_domifaddr(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const sources[] = { "lease", "agent", "arp", NULL };
    static const char *const headings[] = { "Name", "MAC address", "Protocol", "Address", NULL };
    const char *source = cli_args_string(args, "source");
    const char *only = cli_args_string(args, "interface");
    int index = source ? cli_word_index(source, sources) : 0;
    bool is_full = cli_args_flag(args, "full");
    RemoteDomainInterfaceAddressesArgs call = { .source = (uint32_t)index };
    RemoteDomainInterfaceAddressesRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (index < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Unknown data source '%s'",
                    source);
        return false;
    }
    if (!remote_domain_interface_addresses(cli_client(session), &call, &session->arena, &ret,
                                           error)) {
        return cli_fail(error, "Failed to query for interfaces addresses");
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    if (!session->is_json) {
        cli_note(session, " %-10s %-20s %-8s     %s\n%s%s", "Name", "MAC address", "Protocol",
                 "Address", "-------------------------------------------------",
                 "------------------------------");
    }
    for (uint32_t i = 0; i < ret.n_ifaces; i++) {
        const RemoteDomainInterface *face = &ret.ifaces[i];
        const char *mac = face->hwaddr ? face->hwaddr : "N/A";
        if (only && strcmp(only, face->name) != 0) {
            continue;
        }
        if (face->n_addrs == 0 && !session->is_json) {
            printf(" %-10s %-17s    %s\n", face->name, mac, "N/A          N/A");
        }
        for (uint32_t j = 0; j < face->n_addrs; j++) {
            const char *protocol = face->addrs[j].type == 0 ? "ipv4" : "ipv6";
            g_autofree char *address =
                g_strdup_printf("%s/%u", face->addrs[j].addr, face->addrs[j].prefix);
            bool repeats = j > 0 && !is_full;
            cli_table_add(table, face->name, mac, protocol, address);
            if (!session->is_json) {
                printf(" %-10s %-17s    %-12s %s\n", repeats ? "-" : face->name,
                       repeats ? "-" : mac, protocol, address);
            }
        }
    }
    if (session->is_json) {
        cli_show_table(session, table);
    }
    return true;
}

static bool run_domblkerror(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const names[] = { "no error", "unspecified error", "no space" };
    static const char *const headings[] = { "Target", "Error", NULL };
    RemoteDomainGetDiskErrorsArgs call = { .maxerrors = 0 };
    RemoteDomainGetDiskErrorsRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_disk_errors(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    call.maxerrors = (uint32_t)MAX(ret.nerrors, 0);
    if (call.maxerrors &&
        !remote_domain_get_disk_errors(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    if (ret.n_errors == 0 && !session->is_json) {
        cli_note(session, "No errors found");
        return true;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (uint32_t i = 0; i < ret.n_errors; i++) {
        int number = ret.errors[i].error;
        const char *name = names[number >= 0 && number < 3 ? number : 1];
        cli_table_add(table, ret.errors[i].disk, name);
        if (!session->is_json) {
            printf("%s: %s\n", ret.errors[i].disk, name);
        }
    }
    if (session->is_json) {
        cli_show_table(session, table);
    }
    return true;
}

const CliCommand cli_monitor_commands[] = {
    { "domblkerror", "disks of a domain that have failed", NULL, cli_domain_only, 0,
      run_domblkerror },
    { "domblklist", "list the disks of a domain", NULL, domblklist_options, 0, run_domblklist },
    { "domcontrol", "whether a domain's monitor answers", NULL, cli_domain_only, 0,
      run_domcontrol },
    { "domifaddr", "list the addresses of a domain", NULL, domifaddr_options, 0, run_domifaddr },
    { "domiflist", "list the interfaces of a domain", NULL, domiflist_options, 0, run_domiflist },
    { "dominfo", "what a domain is and how it does", NULL, cli_domain_only, 0, run_dominfo },
    { "domstate", "the state of a domain", NULL,
      (const CliOption[]){ CLI_DOMAIN_OPTION,
                           { "reason", CLI_FLAG, 0, CLI_VALUE_ANY, "and why it is in it" },
                           CLI_OPTIONS_END },
      0, run_domstate },
    { NULL },
};
