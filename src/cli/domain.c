/* Commands that change domains.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/descriptors.h"
#include "cli/groups.h"
#include "cli/storage.h"
#include "cli/tools.h"

#include "gbase/error.h"
#include "gbase/uuid.h"

#include <string.h>

/* Starting */

static const CliOption start_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INACTIVE_DOMAIN, "its name or UUID" },
    { "console", CLI_FLAG, 0, CLI_VALUE_ANY, "attach to its console" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "do not let it run yet" },
    { "autodestroy", CLI_FLAG, 0, CLI_VALUE_ANY, "stop it when this connection ends" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the file cache when restoring" },
    { "force-boot", CLI_FLAG, 0, CLI_VALUE_ANY, "drop a saved state" },
    CLI_PASS_FDS_OPTION,
    { "reset-nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "begin with a fresh copy of the NVRAM" },
    CLI_OPTIONS_END,
};

static const CliBit start_flags[] = {
    { "paused", 1 },     { "autodestroy", 2 },  { "bypass-cache", 4 },
    { "force-boot", 8 }, { "reset-nvram", 32 }, { NULL },
};

static bool run_start(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainCreateWithFlagsArgs call = { .flags = cli_args_bits(args, start_flags) };
    RemoteDomainCreateWithFlagsRet ret;
    CliDescriptors fds;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (call.dom.id >= 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "Domain is already active");
        return false;
    }
    if (!cli_descriptors_parse(args, &fds, error)) {
        return false;
    }
    RpcClient *client = cli_client(session);
    /* The same arguments and answer. */
    bool ok =
        fds.count
            ? cli_call_with_fds(session, &remote_program, REMOTE_PROC_DOMAIN_CREATE_WITH_FILES,
                                &call, &fds, &ret, error)
            : remote_domain_create_with_flags(client, &call, &session->arena, &ret, error);
    if (!ok) {
        return cli_fail(error, "Failed to start domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' started", call.dom.name);
    return !cli_args_flag(args, "console") ||
           cli_run_console(session, &ret.dom, NULL, 0, false, error);
}

static const CliOption create_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "its XML; - for standard input" },
    { "console", CLI_FLAG, 0, CLI_VALUE_ANY, "attach to its console" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "do not let it run yet" },
    { "autodestroy", CLI_FLAG, 0, CLI_VALUE_ANY, "stop it when this connection ends" },
    CLI_PASS_FDS_OPTION,
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    { "reset-nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "begin with a fresh copy of the NVRAM" },
    CLI_OPTIONS_END,
};

static bool run_create(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit flags[] = {
        { "paused", 1 }, { "autodestroy", 2 }, { "validate", 16 }, { "reset-nvram", 32 }, { NULL }
    };
    g_autofree char *xml = cli_read_file(args, "file", error);
    if (!xml) {
        return false;
    }
    RemoteDomainCreateXmlArgs call = { .xml_desc = xml, .flags = cli_args_bits(args, flags) };
    RemoteDomainCreateXmlRet ret;
    CliDescriptors fds;
    if (!cli_descriptors_parse(args, &fds, error)) {
        return false;
    }
    bool ok =
        fds.count
            ? cli_call_with_fds(session, &remote_program, REMOTE_PROC_DOMAIN_CREATE_XML_WITH_FILES,
                                &call, &fds, &ret, error)
            : remote_domain_create_xml(cli_client(session), &call, &session->arena, &ret, error);
    if (!ok) {
        return cli_fail(error, "Failed to create domain from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Domain '%s' created from %s", ret.dom.name, cli_args_string(args, "file"));
    return !cli_args_flag(args, "console") ||
           cli_run_console(session, &ret.dom, NULL, 0, false, error);
}

/* Definitions */

static const CliOption undefine_options[] = {
    CLI_DOMAIN_OPTION,
    { "managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "with its saved state" },
    { "storage", CLI_STRING, 0, CLI_VALUE_DISK, "with these disks: targets or paths, with commas" },
    { "remove-all-storage", CLI_FLAG, 0, CLI_VALUE_ANY, "with all its disks" },
    { "delete-storage-volume-snapshots", CLI_FLAG, 0, CLI_VALUE_ANY, "and their snapshots" },
    { "wipe-storage", CLI_FLAG, 0, CLI_VALUE_ANY, "overwrite the disks first" },
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
    static const CliBit flags[] = {
        { "managed-save", 1 },
        { "snapshots-metadata", 2 },
        { "nvram", 4 },
        { "keep-nvram", 8 },
        { "checkpoints-metadata", 16 },
        { "tpm", 32 },
        { "keep-tpm", 64 },
        { NULL },
    };
    RemoteDomainUndefineFlagsArgs call = { .flags = cli_args_bits(args, flags) };
    bool with_storage =
        cli_args_string(args, "storage") || cli_args_flag(args, "remove-all-storage");
    if (!cli_args_exclusive(args, "nvram", "keep-nvram", error) ||
        !cli_args_exclusive(args, "tpm", "keep-tpm", error) ||
        !cli_args_exclusive(args, "storage", "remove-all-storage", error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    g_autoptr(GPtrArray) volumes = NULL;
    if (with_storage && !(volumes = cli_volumes_of(session, args, &call.dom, error))) {
        return false;
    }
    if (!remote_domain_undefine_flags(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to undefine domain '%s'", call.dom.name);
    }
    cli_note(session, "Domain '%s' has been undefined", call.dom.name);
    return !volumes || cli_volumes_delete(session, args, volumes, error);
}

static bool run_rename(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainRenameArgs call = { .new_name = cli_args_string(args, "new-name") };
    RemoteDomainRenameRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_rename(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
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
    static const CliBit flags[] = { { "graceful", 1 }, { "remove-logs", 2 }, { NULL } };
    RemoteDomainDestroyFlagsArgs call = { .flags = cli_args_bits(args, flags) };
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
    static const CliBit modes[] = { { "acpi", 1 },   { "agent", 2 },     { "initctl", 4 },
                                    { "signal", 8 }, { "paravirt", 16 }, { NULL } };
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    *out_flags = 0;
    for (char **word = words; *word; word++) {
        const CliBit *mode = modes;
        while (mode->option && strcmp(mode->option, *word) != 0) {
            mode++;
        }
        if (!mode->option) {
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

/* Names */

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

const CliCommand cli_domain_commands[] = {
    { "autostart", "start a domain with the host, or no longer", NULL,
      (const CliOption[]){ CLI_DOMAIN_OPTION,
                           { "disable", CLI_FLAG, 0, CLI_VALUE_ANY, "no longer" },
                           CLI_OPTIONS_END },
      0, run_autostart },
    { "create", "start a domain that is forgotten when it ends", NULL, create_options, 0,
      run_create },
    { "destroy", "stop a domain at once, as by pulling the plug", NULL, destroy_options, 0,
      run_destroy },
    { "domid", "print a domain's id", NULL, cli_domain_only, 0, run_domid },
    { "domname", "print a domain's name", NULL, cli_domain_only, 0, run_domname },
    { "domrename", "give an inactive domain another name", NULL,
      (const CliOption[]){ CLI_DOMAIN_OPTION,
                           { "new-name", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the new name" },
                           CLI_OPTIONS_END },
      0, run_rename },
    { "domuuid", "print a domain's UUID", NULL, cli_domain_only, 0, run_domuuid },
    { "reboot", "ask a guest to reboot", NULL, shutdown_options, 0, run_reboot },
    { "reset", "reset a guest at once, as by its button", NULL, cli_domain_only, 0, run_reset },
    { "resume", "let a paused domain run", NULL, cli_domain_only, 0, run_resume },
    { "shutdown", "ask a guest to shut down", NULL, shutdown_options, 0, run_shutdown },
    { "start", "start a defined domain", NULL, start_options, 0, run_start },
    { "suspend", "pause a domain", NULL, cli_domain_only, 0, run_suspend },
    { "undefine", "forget a domain's definition",
      "A running domain runs on and is forgotten when it "
      "ends.",
      undefine_options, 0, run_undefine },
    { NULL },
};
