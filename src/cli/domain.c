/* Commands that change domains.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/session.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <string.h>

#define DOMAIN_OPTION                                                                              \
    {                                                                                              \
        "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "its name, id or UUID"               \
    }
#define IMPACT_OPTIONS                                                                             \
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },                            \
        { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest" },                               \
    {                                                                                              \
        "current", CLI_FLAG, 0, CLI_VALUE_ANY, "whichever it is in now (the default)"              \
    }

static const CliOption domain_only[] = { DOMAIN_OPTION, CLI_OPTIONS_END };

/* The bits of flags whose options were given. */
typedef struct FlagOption {
    const char *name;
    uint32_t bit;
} FlagOption;

static uint32_t flags_of(const CliArgs *args, const FlagOption *options)
{
    uint32_t flags = 0;
    for (; options->name; options++) {
        flags |= cli_args_flag(args, options->name) ? options->bit : 0;
    }
    return flags;
}

/* Starting */

static const CliOption start_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INACTIVE_DOMAIN, "its name or UUID" },
    { "console", CLI_FLAG, 0, CLI_VALUE_ANY, "attach to its console" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "do not let it run yet" },
    { "autodestroy", CLI_FLAG, 0, CLI_VALUE_ANY, "stop it when this connection ends" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the file cache when restoring" },
    { "force-boot", CLI_FLAG, 0, CLI_VALUE_ANY, "drop a saved state" },
    { "reset-nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "begin with a fresh copy of the NVRAM" },
    CLI_OPTIONS_END,
};

static const FlagOption start_flags[] = {
    { "paused", 1 },     { "autodestroy", 2 },  { "bypass-cache", 4 },
    { "force-boot", 8 }, { "reset-nvram", 32 }, { NULL },
};

static bool run_start(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainCreateWithFlagsArgs call = { .flags = flags_of(args, start_flags) };
    RemoteDomainCreateWithFlagsRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (call.dom.id >= 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "Domain is already active");
        return false;
    }
    if (!remote_domain_create_with_flags(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return cli_fail(error, "Failed to start domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' started", call.dom.name);
    return !cli_args_flag(args, "console") || cli_run_console(session, &ret.dom, NULL, 0, error);
}

static const CliOption create_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "its XML; - for standard input" },
    { "console", CLI_FLAG, 0, CLI_VALUE_ANY, "attach to its console" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "do not let it run yet" },
    { "autodestroy", CLI_FLAG, 0, CLI_VALUE_ANY, "stop it when this connection ends" },
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    CLI_OPTIONS_END,
};

static bool run_create(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = {
        { "paused", 1 }, { "autodestroy", 2 }, { "validate", 16 }, { NULL }
    };
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml) {
        return false;
    }
    RemoteDomainCreateXmlArgs call = { .xml_desc = xml, .flags = flags_of(args, flags) };
    RemoteDomainCreateXmlRet ret;
    if (!remote_domain_create_xml(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to create domain from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Domain '%s' created from %s", ret.dom.name, cli_args_string(args, "file"));
    return !cli_args_flag(args, "console") || cli_run_console(session, &ret.dom, NULL, 0, error);
}

/* Definitions */

static const CliOption define_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "its XML; - for standard input" },
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    CLI_OPTIONS_END,
};

static bool run_define(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = { { "validate", 1 }, { NULL } };
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml) {
        return false;
    }
    RemoteDomainDefineXmlFlagsArgs call = { .xml = xml, .flags = flags_of(args, flags) };
    RemoteDomainDefineXmlFlagsRet ret;
    if (!remote_domain_define_xml_flags(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to define domain from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Domain '%s' defined from %s", ret.dom.name, cli_args_string(args, "file"));
    return true;
}

static const CliOption undefine_options[] = {
    DOMAIN_OPTION,
    { "managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "with its saved state" },
    { "snapshots-metadata", CLI_FLAG, 0, CLI_VALUE_ANY, "with what is known of its snapshots" },
    { "checkpoints-metadata", CLI_FLAG, 0, CLI_VALUE_ANY, "with what is known of its checkpoints" },
    { "nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "with its NVRAM" },
    { "keep-nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "leave its NVRAM" },
    { "tpm", CLI_FLAG, 0, CLI_VALUE_ANY, "with its TPM's state" },
    { "keep-tpm", CLI_FLAG, 0, CLI_VALUE_ANY, "leave its TPM's state" },
    CLI_OPTIONS_END,
};

static bool run_undefine(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = {
        { "managed-save", 1 },
        { "snapshots-metadata", 2 },
        { "nvram", 4 },
        { "keep-nvram", 8 },
        { "checkpoints-metadata", 16 },
        { "tpm", 32 },
        { "keep-tpm", 64 },
        { NULL },
    };
    RemoteDomainUndefineFlagsArgs call = { .flags = flags_of(args, flags) };
    if (!cli_args_exclusive(args, "nvram", "keep-nvram", error) ||
        !cli_args_exclusive(args, "tpm", "keep-tpm", error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_undefine_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to undefine domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' has been undefined", call.dom.name);
    return true;
}

static bool run_rename(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainRenameArgs call = { .new_name = cli_args_string(args, "new-name") };
    RemoteDomainRenameRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_rename(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to rename domain '%s' to '%s'", call.dom.name,
                        call.new_name);
    }
    cli_note(session, "Domain successfully renamed");
    return true;
}

static bool run_autostart(CliSession *session, const CliArgs *args, GError **error)
{
    bool off = cli_args_flag(args, "disable");
    RemoteDomainSetAutostartArgs call = { .autostart = !off };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_set_autostart(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to %smark domain '%s' as autostarted", off ? "un" : "",
                        call.dom.name);
    }
    cli_note(session, "Domain '%s' %smarked as autostarted", call.dom.name, off ? "un" : "");
    return true;
}

/* Ends and pauses */

static const CliOption destroy_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "graceful", CLI_FLAG, 0, CLI_VALUE_ANY, "only if its monitor ends by itself when asked" },
    { "remove-logs", CLI_FLAG, 0, CLI_VALUE_ANY, "with its log" },
    CLI_OPTIONS_END,
};

static bool run_destroy(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = { { "graceful", 1 }, { "remove-logs", 2 }, { NULL } };
    RemoteDomainDestroyFlagsArgs call = { .flags = flags_of(args, flags) };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_destroy_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to destroy domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' destroyed", call.dom.name);
    return true;
}

/* "acpi,agent" into bits. */
static bool parse_mode(const char *text, uint32_t *out_flags, GError **error)
{
    static const FlagOption modes[] = { { "acpi", 1 },   { "agent", 2 },     { "initctl", 4 },
                                        { "signal", 8 }, { "paravirt", 16 }, { NULL } };
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    *out_flags = 0;
    for (char **word = words; *word; word++) {
        const FlagOption *mode = modes;
        while (mode->name && strcmp(mode->name, *word) != 0) {
            mode++;
        }
        if (!mode->name) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Unknown mode %s value, expecting 'acpi', 'agent', 'initctl', 'signal', or "
                        "'paravirt'",
                        *word);
            return false;
        }
        *out_flags |= mode->bit;
    }
    return true;
}

static const CliOption shutdown_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "mode", CLI_STRING, 0, CLI_VALUE_ANY, "how to ask it: acpi, agent, ... with commas" },
    CLI_OPTIONS_END,
};

static bool run_shutdown(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainShutdownFlagsArgs call;
    if (!parse_mode(cli_args_string(args, "mode"), &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_shutdown_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to shutdown domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' is being shutdown", call.dom.name);
    return true;
}

static bool run_reboot(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainRebootArgs call;
    if (!parse_mode(cli_args_string(args, "mode"), &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_reboot(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to reboot domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' is being rebooted", call.dom.name);
    return true;
}

static bool run_reset(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainResetArgs call = { .flags = 0 };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_reset(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to reset domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' was reset", call.dom.name);
    return true;
}

static bool run_suspend(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainSuspendArgs call;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_suspend(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to suspend domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' suspended", call.dom.name);
    return true;
}

static bool run_resume(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainResumeArgs call;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_resume(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to resume domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' resumed", call.dom.name);
    return true;
}

static bool run_nmi(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainInjectNmiArgs call = { .flags = 0 };
    return cli_domain(session, args, &call.dom, error) &&
           remote_domain_inject_nmi(cli_client(session), &call, error);
}

/* Devices */

static const CliOption device_options[] = {
    DOMAIN_OPTION,
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the device's XML; - for standard input" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool device_flags(const CliArgs *args, const RemoteDomain *domain, uint32_t *out_flags,
                         GError **error)
{
    guint flags;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_exclusive(args, "persistent", "current", error)) {
        return false;
    }
    if (cli_args_flag(args, "persistent")) {
        flags |= CLI_IMPACT_CONFIG | (domain->id >= 0 ? CLI_IMPACT_LIVE : 0);
    }
    *out_flags = flags;
    return true;
}

static bool run_attach(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainAttachDeviceFlagsArgs call;
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml || !cli_domain(session, args, &call.dom, error) ||
        !device_flags(args, &call.dom, &call.flags, error)) {
        return false;
    }
    call.xml = xml;
    if (!remote_domain_attach_device_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to attach device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device attached successfully");
    return true;
}

static bool run_detach(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainDetachDeviceFlagsArgs call;
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml || !cli_domain(session, args, &call.dom, error) ||
        !device_flags(args, &call.dom, &call.flags, error)) {
        return false;
    }
    call.xml = xml;
    if (!remote_domain_detach_device_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to detach device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device detached successfully");
    return true;
}

static bool run_update(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainUpdateDeviceFlagsArgs call;
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml || !cli_domain(session, args, &call.dom, error) ||
        !device_flags(args, &call.dom, &call.flags, error)) {
        return false;
    }
    call.xml = xml;
    if (!remote_domain_update_device_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to update device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device updated successfully");
    return true;
}

/* Memory and vCPUs */

static bool run_setmem(CliSession *session, const CliArgs *args, GError **error)
{
    guint flags;
    guint64 bytes = 0;
    RemoteDomainSetMemoryFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_size(args, "size", 1024, &bytes, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.memory = (bytes + 1023) / 1024;
    call.flags = flags;
    return remote_domain_set_memory_flags(cli_client(session), &call, error);
}

static bool run_setmaxmem(CliSession *session, const CliArgs *args, GError **error)
{
    guint flags;
    guint64 bytes = 0;
    RemoteDomainSetMemoryFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_size(args, "size", 1024, &bytes, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.memory = (bytes + 1023) / 1024;
    call.flags = flags | 4; /* the maximum */
    if (!remote_domain_set_memory_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Unable to change MaxMemorySize");
    }
    return true;
}

static const CliOption size_options[] = {
    DOMAIN_OPTION,
    { "size", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "KiB, or with a suffix (512M, 2G)" },
    IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static const CliOption setvcpus_options[] = {
    DOMAIN_OPTION,
    { "count", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "how many" },
    { "maximum", CLI_FLAG, 0, CLI_VALUE_ANY, "the highest number, from the next start on" },
    { "guest", CLI_FLAG, 0, CLI_VALUE_ANY, "by the guest's agent" },
    { "hotpluggable", CLI_FLAG, 0, CLI_VALUE_ANY, "added ones can be taken away again" },
    IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_setvcpus(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption more[] = {
        { "maximum", 4 }, { "guest", 8 }, { "hotpluggable", 16 }, { NULL }
    };
    guint flags;
    gint64 count = 0;
    RemoteDomainSetVcpusFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_int(args, "count", 1, G_MAXINT32, &count, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.nvcpus = (uint32_t)count;
    call.flags = flags | flags_of(args, more);
    return remote_domain_set_vcpus_flags(cli_client(session), &call, error);
}

/* Names and XML */

static bool run_dumpxml(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = { { "security-info", 1 },
                                        { "inactive", 2 },
                                        { "update-cpu", 4 },
                                        { "migratable", 8 },
                                        { NULL } };
    RemoteDomainGetXmlDescArgs call = { .flags = flags_of(args, flags) };
    RemoteDomainGetXmlDescRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_xml_desc(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    cli_print_xml(session, ret.xml);
    return true;
}

static const CliOption dumpxml_options[] = {
    DOMAIN_OPTION,
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "as it is from the next start on" },
    { "security-info", CLI_FLAG, 0, CLI_VALUE_ANY, "with passwords" },
    { "update-cpu", CLI_FLAG, 0, CLI_VALUE_ANY, "with the CPU that it gets on this host" },
    { "migratable", CLI_FLAG, 0, CLI_VALUE_ANY, "as another host can take it" },
    CLI_OPTIONS_END,
};

static bool run_domid(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (domain.id < 0) {
        cli_print(session, "-");
    } else {
        cli_print(session, "%d", domain.id);
    }
    return true;
}

static bool run_domuuid(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    char text[UUID_TEXT_SIZE];
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    uuid_format(&domain.uuid, text);
    cli_print(session, "%s", text);
    return true;
}

static bool run_domname(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    cli_print(session, "%s", domain.name);
    return true;
}

static bool run_console(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = { { "force", 1 }, { "safe", 2 }, { NULL } };
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (domain.id < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "The domain is not running");
        return false;
    }
    return cli_run_console(session, &domain, cli_args_string(args, "devname"),
                           flags_of(args, flags), error);
}

static bool run_monitor(CliSession *session, const CliArgs *args, GError **error)
{
    static const FlagOption flags[] = { { "hmp", 1 }, { NULL } };
    QemuDomainMonitorCommandArgs call = { .flags = flags_of(args, flags) };
    QemuDomainMonitorCommandRet ret;
    g_autofree char *command = g_strjoinv(" ", (char **)cli_args_rest(args));
    call.cmd = command;
    if (!cli_domain(session, args, &call.dom, error) ||
        !qemu_domain_monitor_command(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    cli_print(session, "%s", ret.result);
    return true;
}

const CliCommand cli_domain_commands[] = {
    { "attach-device", "attach a device described by XML", NULL, device_options, 0, run_attach },
    { "autostart", "start a domain with the host, or no longer", NULL,
      (const CliOption[]){
          DOMAIN_OPTION, { "disable", CLI_FLAG, 0, CLI_VALUE_ANY, "no longer" }, CLI_OPTIONS_END },
      0, run_autostart },
    { "console", "attach the terminal to a guest's console",
      "The escape character (^], or that of -e) leaves it.",
      (const CliOption[]){
          { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
          { "devname", CLI_STRING, 0, CLI_VALUE_ANY, "alias of the device" },
          { "force", CLI_FLAG, 0, CLI_VALUE_ANY, "send away who is attached" },
          { "safe", CLI_FLAG, 0, CLI_VALUE_ANY, "only where that is done safely" },
          CLI_OPTIONS_END },
      CLI_BARE, run_console },
    { "create", "start a domain that is forgotten when it ends", NULL, create_options, 0,
      run_create },
    { "define", "define a domain from XML, or change its definition", NULL, define_options, 0,
      run_define },
    { "destroy", "stop a domain at once, as by pulling the plug", NULL, destroy_options, 0,
      run_destroy },
    { "detach-device", "detach the device that XML describes", NULL, device_options, 0,
      run_detach },
    { "domid", "print a domain's id", NULL, domain_only, 0, run_domid },
    { "domname", "print a domain's name", NULL, domain_only, 0, run_domname },
    { "domrename", "give an inactive domain another name", NULL,
      (const CliOption[]){ DOMAIN_OPTION,
                           { "new-name", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the new name" },
                           CLI_OPTIONS_END },
      0, run_rename },
    { "domuuid", "print a domain's UUID", NULL, domain_only, 0, run_domuuid },
    { "dumpxml", "print a domain's XML", NULL, dumpxml_options, 0, run_dumpxml },
    { "inject-nmi", "send a non-maskable interrupt to a guest", NULL, domain_only, 0, run_nmi },
    { "qemu-monitor-command", "send a command to a guest's monitor",
      "JSON of QMP, or a line of the human monitor with --hmp. For experts: lodged does not know "
      "what "
      "it changes.",
      (const CliOption[]){ DOMAIN_OPTION,
                           { "hmp", CLI_FLAG, 0, CLI_VALUE_ANY, "a line of the human monitor" },
                           { "cmd", CLI_REST, CLI_REQUIRED, CLI_VALUE_ANY, "the command" },
                           CLI_OPTIONS_END },
      0, run_monitor },
    { "reboot", "ask a guest to reboot", NULL, shutdown_options, 0, run_reboot },
    { "reset", "reset a guest at once, as by its button", NULL, domain_only, 0, run_reset },
    { "resume", "let a paused domain run", NULL, domain_only, 0, run_resume },
    { "setmaxmem", "change the memory that a domain may have at most", NULL, size_options, 0,
      run_setmaxmem },
    { "setmem", "change a domain's memory", NULL, size_options, 0, run_setmem },
    { "setvcpus", "change a domain's number of vCPUs", NULL, setvcpus_options, 0, run_setvcpus },
    { "shutdown", "ask a guest to shut down", NULL, shutdown_options, 0, run_shutdown },
    { "start", "start a defined domain", NULL, start_options, 0, run_start },
    { "suspend", "pause a domain", NULL, domain_only, 0, run_suspend },
    { "undefine", "forget a domain's definition",
      "A running domain runs on and is forgotten when it "
      "ends.",
      undefine_options, 0, run_undefine },
    { "update-device", "change a device of a domain", NULL, device_options, 0, run_update },
    { NULL },
};
