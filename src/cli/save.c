/* Commands that save a guest's state to a file and restore it, and write its memory out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/progress.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <string.h>

/* Bits of virDomainSaveRestoreFlags. */
static const CliBit save_bits[] = {
    { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, { "reset-nvram", 8 }, { NULL }
};

static bool save_flags(const CliArgs *args, uint32_t *out_flags, GError **error)
{
    *out_flags = cli_args_bits(args, save_bits);
    return cli_args_exclusive(args, "running", "paused", error);
}

static const CliOption save_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "where to" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the host's file cache" },
    { "xml", CLI_STRING, 0, CLI_VALUE_FILE, "a file with changed XML" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    CLI_OPTIONS_END,
};

static bool run_save(CliSession *session, const CliArgs *args, GError **error)
{
    const char *to = cli_args_string(args, "file");
    g_autofree char *xml = NULL;
    RemoteDomain domain;
    uint32_t flags;
    if (!save_flags(args, &flags, error) ||
        (cli_args_string(args, "xml") && !(xml = cli_read_file(args, "xml", error))) ||
        !cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autofree char *path = g_canonicalize_filename(to, NULL);
    RemoteDomainSaveArgs plain = { domain, path };
    RemoteDomainSaveFlagsArgs call = { domain, path, xml, flags };
    CliProgress *progress = cli_progress_start(session, &domain, "Save", args);
    bool ok = flags || xml ? remote_domain_save_flags(cli_client(session), &call, error)
                           : remote_domain_save(cli_client(session), &plain, error);
    cli_progress_end(progress, ok);
    if (!ok) {
        return cli_fail(error, "Failed to save domain '%s' to %s", domain.name, to);
    }
    cli_note(session, "\nDomain '%s' saved to %s", domain.name, to);
    return true;
}

static const CliOption restore_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the saved state" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the host's file cache" },
    { "xml", CLI_STRING, 0, CLI_VALUE_FILE, "a file with changed XML" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    { "reset-nvram", CLI_FLAG, 0, CLI_VALUE_ANY, "begin with a fresh copy of the NVRAM" },
    CLI_OPTIONS_END,
};

static bool run_restore(CliSession *session, const CliArgs *args, GError **error)
{
    const char *from = cli_args_string(args, "file");
    g_autofree char *xml = NULL;
    uint32_t flags;
    if (!save_flags(args, &flags, error) ||
        (cli_args_string(args, "xml") && !(xml = cli_read_file(args, "xml", error)))) {
        return false;
    }
    g_autofree char *path = g_canonicalize_filename(from, NULL);
    RemoteDomainRestoreArgs plain = { path };
    RemoteDomainRestoreFlagsArgs call = { path, xml, flags };
    bool ok = flags || xml ? remote_domain_restore_flags(cli_client(session), &call, error)
                           : remote_domain_restore(cli_client(session), &plain, error);
    if (!ok) {
        return cli_fail(error, "Failed to restore domain from %s", from);
    }
    cli_note(session, "Domain restored from %s", from);
    return true;
}

/* Saved states in files */

static char *image_xml(CliSession *session, const char *file, uint32_t flags, GError **error)
{
    g_autofree char *path = g_canonicalize_filename(file, NULL);
    RemoteDomainSaveImageGetXmlDescArgs call = { path, flags };
    RemoteDomainSaveImageGetXmlDescRet ret;
    bool ok = remote_domain_save_image_get_xml_desc(cli_client(session), &call, &session->arena,
                                                    &ret, error);
    return ok ? g_strdup(ret.xml) : NULL;
}

static bool define_image(CliSession *session, const char *file, const char *xml, uint32_t flags,
                         GError **error)
{
    g_autofree char *path = g_canonicalize_filename(file, NULL);
    RemoteDomainSaveImageDefineXmlArgs call = { path, xml, flags };
    return remote_domain_save_image_define_xml(cli_client(session), &call, error) ||
           cli_fail(error, "Failed to update %s", file);
}

static const CliOption save_image_dumpxml_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the saved state" },
    { "security-info", CLI_FLAG, 0, CLI_VALUE_ANY, "with passwords" },
    { "xpath", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY,
      "print only what this XPath expression finds" },
    { "wrap", CLI_FLAG, 0, CLI_VALUE_ANY, "put the finds of --xpath into one element" },
    CLI_OPTIONS_END,
};

static bool run_image_dumpxml(CliSession *session, const CliArgs *args, GError **error)
{
    g_autofree char *xml = image_xml(session, cli_args_string(args, "file"),
                                     cli_args_flag(args, "security-info"), error);
    return xml && cli_show_xml(session, args, xml, error);
}

static const CliOption save_image_define_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the saved state" },
    { "xml", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "a file with changed XML" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    CLI_OPTIONS_END,
};

static bool run_image_define(CliSession *session, const CliArgs *args, GError **error)
{
    const char *file = cli_args_string(args, "file");
    uint32_t flags;
    g_autofree char *xml = NULL;
    if (!save_flags(args, &flags, error) || !(xml = cli_read_file(args, "xml", error)) ||
        !define_image(session, file, xml, flags, error)) {
        return false;
    }
    cli_note(session, "State file %s updated.", file);
    return true;
}

static const CliOption save_image_edit_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the saved state" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    CLI_OPTIONS_END,
};

static bool run_image_edit(CliSession *session, const CliArgs *args, GError **error)
{
    const char *file = cli_args_string(args, "file");
    uint32_t flags;
    GError *problem = NULL;
    g_autofree char *xml = NULL;
    if (!save_flags(args, &flags, error) || !(xml = image_xml(session, file, 1, error))) {
        return false;
    }
    g_autofree char *changed = cli_edit_text(xml, ".xml", &problem);
    if (problem) {
        g_propagate_error(error, problem);
        return false;
    }
    if (!changed && !flags) {
        cli_note(session, "Saved image %s XML configuration not changed.", file);
        return true;
    }
    if (!define_image(session, file, changed ? changed : xml, flags, error)) {
        return false;
    }
    cli_note(session, "State file %s edited.", file);
    return true;
}

/* Saved states that lodged keeps */

static const CliOption managedsave_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the host's file cache" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    CLI_OPTIONS_END,
};

static bool run_managedsave(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainManagedSaveArgs call;
    if (!save_flags(args, &call.flags, error) || !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    CliProgress *progress = cli_progress_start(session, &call.dom, "Managedsave", args);
    bool ok = remote_domain_managed_save(cli_client(session), &call, error);
    cli_progress_end(progress, ok);
    if (!ok) {
        return cli_fail(error, "Failed to save domain '%s' state", call.dom.name);
    }
    cli_note(session, "\nDomain '%s' state saved by libvirt", call.dom.name);
    return true;
}

static const CliOption managedsave_remove_options[] = {
    CLI_DOMAIN_OPTION,
    CLI_OPTIONS_END,
};

static bool run_managedsave_remove(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainHasManagedSaveImageArgs ask = { .flags = 0 };
    RemoteDomainHasManagedSaveImageRet has;
    if (!cli_domain(session, args, &ask.dom, error)) {
        return false;
    }
    if (!remote_domain_has_managed_save_image(cli_client(session), &ask, &session->arena, &has,
                                              error)) {
        return cli_fail(error, "Failed to check for domain managed save image");
    }
    if (!has.result) {
        cli_note_open(session, "Domain '%s' has no manage save image; removal skipped",
                      ask.dom.name);
        return true;
    }
    RemoteDomainManagedSaveRemoveArgs call = { ask.dom, 0 };
    if (!remote_domain_managed_save_remove(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to remove managed save image for domain '%s'", ask.dom.name);
    }
    cli_note_open(session, "Removed managedsave image for domain '%s'", ask.dom.name);
    return true;
}

static char *managed_xml(CliSession *session, const RemoteDomain *domain, uint32_t flags,
                         GError **error)
{
    RemoteDomainManagedSaveGetXmlDescArgs call = { *domain, flags };
    RemoteDomainManagedSaveGetXmlDescRet ret;
    bool ok = remote_domain_managed_save_get_xml_desc(cli_client(session), &call, &session->arena,
                                                      &ret, error);
    return ok ? g_strdup(ret.xml) : NULL;
}

static bool define_managed(CliSession *session, const RemoteDomain *domain, const char *xml,
                           uint32_t flags, GError **error)
{
    RemoteDomainManagedSaveDefineXmlArgs call = { *domain, xml, flags };
    return remote_domain_managed_save_define_xml(cli_client(session), &call, error) ||
           cli_fail(error, "Failed to update %s XML configuration", domain->name);
}

static const CliOption managedsave_dumpxml_options[] = {
    CLI_DOMAIN_OPTION,
    { "security-info", CLI_FLAG, 0, CLI_VALUE_ANY, "with passwords" },
    { "xpath", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY,
      "print only what this XPath expression finds" },
    { "wrap", CLI_FLAG, 0, CLI_VALUE_ANY, "put the finds of --xpath into one element" },
    CLI_OPTIONS_END,
};

static bool run_managedsave_dumpxml(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    g_autofree char *xml = NULL;
    return cli_domain(session, args, &domain, error) &&
           (xml = managed_xml(session, &domain, cli_args_flag(args, "security-info"), error)) &&
           cli_show_xml(session, args, xml, error);
}

static const CliOption managedsave_define_options[] = {
    CLI_DOMAIN_OPTION,
    { "xml", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "a file with changed XML" },
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    CLI_OPTIONS_END,
};

static bool run_managedsave_define(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    g_autofree char *xml = NULL;
    if (!save_flags(args, &flags, error) || !(xml = cli_read_file(args, "xml", error)) ||
        !cli_domain(session, args, &domain, error) ||
        !define_managed(session, &domain, xml, flags, error)) {
        return false;
    }
    cli_note(session, "Managed save state file of domain '%s' updated.", domain.name);
    return true;
}

static const CliOption managedsave_edit_options[] = {
    CLI_DOMAIN_OPTION,
    { "running", CLI_FLAG, 0, CLI_VALUE_ANY, "it runs when it is restored" },
    { "paused", CLI_FLAG, 0, CLI_VALUE_ANY, "it is paused when it is restored" },
    CLI_OPTIONS_END,
};

static bool run_managedsave_edit(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    GError *problem = NULL;
    g_autofree char *xml = NULL;
    if (!save_flags(args, &flags, error) || !cli_domain(session, args, &domain, error) ||
        !(xml = managed_xml(session, &domain, 1, error))) {
        return false;
    }
    g_autofree char *changed = cli_edit_text(xml, ".xml", &problem);
    if (problem) {
        g_propagate_error(error, problem);
        return false;
    }
    if (!changed && !flags) {
        cli_note(session, "Managed save image of domain '%s' XML configuration not changed.",
                 domain.name);
        return true;
    }
    if (!define_managed(session, &domain, changed ? changed : xml, flags, error)) {
        return false;
    }
    cli_note(session, "Managed save image of Domain '%s' XML configuration edited.", domain.name);
    return true;
}

/* Memory dumps */

static const CliOption dump_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "where to" },
    { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "let it run meanwhile" },
    { "crash", CLI_FLAG, 0, CLI_VALUE_ANY, "end it afterwards" },
    { "bypass-cache", CLI_FLAG, 0, CLI_VALUE_ANY, "do not fill the host's file cache" },
    { "reset", CLI_FLAG, 0, CLI_VALUE_ANY, "reset it afterwards" },
    { "verbose", CLI_FLAG, 0, CLI_VALUE_ANY, "show how far it is" },
    { "memory-only", CLI_FLAG, 0, CLI_VALUE_ANY, "without the devices' state" },
    { "format", CLI_STRING, 0, CLI_VALUE_ANY,
      "elf, kdump-zlib, kdump-lzo, kdump-snappy or win-dmp" },
    CLI_OPTIONS_END,
};

static bool run_dump(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "crash", 1 }, { "live", 2 },         { "bypass-cache", 4 },
                                   { "reset", 8 }, { "memory-only", 16 }, { NULL } };
    static const char *const formats[] = { "elf",          "kdump-zlib", "kdump-lzo",
                                           "kdump-snappy", "win-dmp",    NULL };
    const char *to = cli_args_string(args, "file");
    const char *format = cli_args_string(args, "format");
    int index = format ? cli_word_index(format, formats) : 0;
    RemoteDomain domain;
    uint32_t flags = cli_args_bits(args, bits);
    if (!cli_args_exclusive(args, "live", "crash", error) ||
        !cli_args_exclusive(args, "live", "reset", error) ||
        !cli_args_exclusive(args, "crash", "reset", error) ||
        !cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (format && !cli_args_flag(args, "memory-only")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "--format only works with --memory-only");
        return false;
    }
    if (index < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "format '%s' is not supported, expecting 'kdump-zlib', 'kdump-lzo', "
                    "'kdump-snappy', 'win-dmp' or 'elf'",
                    format);
        return false;
    }
    g_autofree char *path = g_canonicalize_filename(to, NULL);
    RemoteDomainCoreDumpArgs plain = { domain, path, flags };
    RemoteDomainCoreDumpWithFormatArgs call = { domain, path, (uint32_t)index, flags };
    CliProgress *progress = cli_progress_start(session, &domain, "Dump", args);
    bool ok = index > 0 ? remote_domain_core_dump_with_format(cli_client(session), &call, error)
                        : remote_domain_core_dump(cli_client(session), &plain, error);
    cli_progress_end(progress, ok);
    if (!ok) {
        return cli_fail(error, "Failed to core dump domain '%s' to %s", domain.name, to);
    }
    cli_note(session, "\nDomain '%s' dumped to %s", domain.name, to);
    return true;
}

const CliCommand cli_save_commands[] = {
    { "dump", "write a guest's memory to a file", NULL, dump_options, 0, run_dump },
    { "managedsave", "save a guest's state and end it; its next start goes on from there", NULL,
      managedsave_options, 0, run_managedsave },
    { "managedsave-define", "change the XML of a saved state that lodged keeps", NULL,
      managedsave_define_options, 0, run_managedsave_define },
    { "managedsave-dumpxml", "print the XML of a saved state that lodged keeps", NULL,
      managedsave_dumpxml_options, 0, run_managedsave_dumpxml },
    { "managedsave-edit", "edit the XML of a saved state that lodged keeps", NULL,
      managedsave_edit_options, 0, run_managedsave_edit },
    { "managedsave-remove", "forget a saved state that lodged keeps", NULL,
      managedsave_remove_options, 0, run_managedsave_remove },
    { "restore", "go on from a saved state in a file", NULL, restore_options, 0, run_restore },
    { "save", "save a guest's state to a file and end it", NULL, save_options, 0, run_save },
    { "save-image-define", "change the XML of a saved state in a file", NULL,
      save_image_define_options, 0, run_image_define },
    { "save-image-dumpxml", "print the XML of a saved state in a file", NULL,
      save_image_dumpxml_options, 0, run_image_dumpxml },
    { "save-image-edit", "edit the XML of a saved state in a file", NULL, save_image_edit_options,
      0, run_image_edit },
    { NULL },
};
