/* Commands about definitions: XML shown, edited, converted; titles, metadata, what follows an end.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <stdio.h>
#include <string.h>

/* Bits of virDomainXMLFlags. */
static const CliBit xml_bits[] = {
    { "security-info", 1 }, { "inactive", 2 }, { "update-cpu", 4 }, { "migratable", 8 }, { NULL }
};

static char *domain_text(CliSession *session, const RemoteDomain *domain, uint32_t flags,
                         GError **error)
{
    RemoteDomainGetXmlDescArgs call = { *domain, flags };
    RemoteDomainGetXmlDescRet ret;
    bool ok = remote_domain_get_xml_desc(cli_client(session), &call, &session->arena, &ret, error);
    return ok ? g_strdup(ret.xml) : NULL;
}

static bool define(CliSession *session, const char *xml, uint32_t flags,
                   RemoteDomainDefineXmlFlagsRet *ret, GError **error)
{
    RemoteDomainDefineXmlFlagsArgs call = { xml, flags };
    return remote_domain_define_xml_flags(cli_client(session), &call, &session->arena, ret, error);
}

static const CliOption define_options[] = {
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "its XML; - for standard input" },
    { "validate", CLI_FLAG, 0, CLI_VALUE_ANY, "refuse XML with anything unknown in it" },
    CLI_OPTIONS_END,
};

static bool run_define(CliSession *session, const CliArgs *args, GError **error)
{
    g_autofree char *xml = cli_read_file(args, "file", error);
    RemoteDomainDefineXmlFlagsRet ret;
    if (!xml) {
        return false;
    }
    if (!define(session, xml, cli_args_flag(args, "validate"), &ret, error)) {
        return cli_fail(error, "Failed to define domain from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Domain '%s' defined from %s", ret.dom.name, cli_args_string(args, "file"));
    return true;
}

static const CliOption dumpxml_options[] = {
    CLI_DOMAIN_OPTION,
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "as it is from the next start on" },
    { "security-info", CLI_FLAG, 0, CLI_VALUE_ANY, "with passwords" },
    { "update-cpu", CLI_FLAG, 0, CLI_VALUE_ANY, "with the CPU that it gets on this host" },
    { "migratable", CLI_FLAG, 0, CLI_VALUE_ANY, "as another host can take it" },
    { "xpath", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY,
      "print only what this XPath expression finds" },
    { "wrap", CLI_FLAG, 0, CLI_VALUE_ANY, "put the finds of --xpath into one element" },
    CLI_OPTIONS_END,
};

static bool run_dumpxml(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autofree char *xml = domain_text(session, &domain, cli_args_bits(args, xml_bits), error);
    return xml && cli_show_xml(session, args, xml, error);
}

static const CliOption edit_options[] = {
    CLI_DOMAIN_OPTION,
    { "skip-validate", CLI_FLAG, 0, CLI_VALUE_ANY, "let unknown XML pass" },
    CLI_OPTIONS_END,
};

static bool run_edit(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    RemoteDomainDefineXmlFlagsRet ret;
    uint32_t flags = cli_args_flag(args, "skip-validate") ? 0 : 1;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autofree char *xml = domain_text(session, &domain, 1 | 2, error);
    GError *problem = NULL;
    g_autofree char *changed = xml ? cli_edit_text(xml, ".xml", &problem) : NULL;
    if (problem) {
        g_propagate_error(error, problem);
        return false;
    }
    if (!changed) {
        cli_note(session, "Domain '%s' XML configuration not changed.", domain.name);
        return xml != NULL;
    }
    g_autofree char *present = domain_text(session, &domain, 1 | 2, error);
    if (!present) {
        return false;
    }
    if (strcmp(present, xml) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "the definition of '%s' was changed by somebody else meanwhile; edit it again",
                    domain.name);
        return false;
    }
    if (!define(session, changed, flags, &ret, error)) {
        return false;
    }
    cli_note(session, "Domain '%s' XML configuration edited.", ret.dom.name);
    return true;
}

/* Texts of a domain */

enum { METADATA_DESCRIPTION, METADATA_TITLE, METADATA_ELEMENT };

static bool get_metadata(CliSession *session, const RemoteDomain *domain, int type, const char *uri,
                         uint32_t flags, const char **out_text, GError **error)
{
    RemoteDomainGetMetadataArgs call = { *domain, type, uri, flags };
    RemoteDomainGetMetadataRet ret;
    bool ok = remote_domain_get_metadata(cli_client(session), &call, &session->arena, &ret, error);
    *out_text = ok ? ret.metadata : NULL;
    return ok;
}

/* What changes where neither --live nor --config says it. */
static bool text_flags(const CliArgs *args, const RemoteDomain *domain, uint32_t *out_flags,
                       GError **error)
{
    guint flags;
    if (!cli_args_impact(args, &flags, error)) {
        return false;
    }
    *out_flags = flags;
    return true;
}

/* The description or title; "" where there is none. */
static bool read_text(CliSession *session, const RemoteDomain *domain, int type, uint32_t flags,
                      const char **out_text, GError **error)
{
    GError *problem = NULL;
    if (get_metadata(session, domain, type, NULL, flags, out_text, &problem)) {
        return true;
    }
    *out_text = "";
    /* 80: there is none */
    if (problem->domain == RPC_CLIENT_ERROR && problem->code == 80) {
        g_error_free(problem);
        return true;
    }
    g_propagate_error(error, problem);
    return false;
}

static const CliOption desc_options[] = {
    CLI_DOMAIN_OPTION,
    { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest" },
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },
    { "current", CLI_FLAG, 0, CLI_VALUE_ANY, "whichever it is in now (the default)" },
    { "title", CLI_FLAG, 0, CLI_VALUE_ANY, "the title instead" },
    { "edit", CLI_FLAG, 0, CLI_VALUE_ANY, "in an editor" },
    { "new-desc", CLI_REST, 0, CLI_VALUE_ANY, "the new text" },
    CLI_OPTIONS_END,
};

static bool write_text(CliSession *session, const RemoteDomain *domain, int type, uint32_t flags,
                       const char *text, GError **error)
{
    const char *what = type == METADATA_TITLE ? "title" : "description";
    RemoteDomainSetMetadataArgs call = {
        .dom = *domain, .type = type, .metadata = text && *text ? text : NULL, .flags = flags
    };
    if (!remote_domain_set_metadata(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to set new domain %s", what);
    }
    cli_note_open(session, "Domain %s updated successfully", what);
    return true;
}

static bool edit_text(CliSession *session, const RemoteDomain *domain, int type, uint32_t flags,
                      const char *begun, GError **error)
{
    const char *text = begun;
    GError *problem = NULL;
    if (!text && !read_text(session, domain, type, flags, &text, error)) {
        return false;
    }
    g_autofree char *changed = cli_edit_text(text, ".txt", &problem);
    if (problem) {
        g_propagate_error(error, problem);
        return false;
    }
    if (!changed) {
        cli_note_open(session, "Domain %s not changed",
                      type == METADATA_TITLE ? "title" : "description");
        return true;
    }
    g_strchomp(changed);
    return write_text(session, domain, type, flags, changed, error);
}

static bool run_desc(CliSession *session, const CliArgs *args, GError **error)
{
    int type = cli_args_flag(args, "title") ? METADATA_TITLE : METADATA_DESCRIPTION;
    RemoteDomain domain;
    uint32_t flags;
    const char *text;
    bool has_new = cli_args_string(args, "new-desc") != NULL;
    g_autofree char *given = g_strjoinv(" ", (char **)cli_args_rest(args));
    if (!cli_domain(session, args, &domain, error) || !text_flags(args, &domain, &flags, error)) {
        return false;
    }
    if (cli_args_flag(args, "edit")) {
        return edit_text(session, &domain, type, flags, has_new ? given : NULL, error);
    }
    if (has_new) {
        return write_text(session, &domain, type, flags, given, error);
    }
    if (!read_text(session, &domain, type, flags, &text, error)) {
        return false;
    }
    if (*text || session->is_json) {
        cli_print_open(session, "%s", text);
    } else {
        cli_note_open(session, "No %s for domain: %s",
                      type == METADATA_TITLE ? "title" : "description", domain.name);
    }
    return true;
}

static const CliOption metadata_options[] = {
    CLI_DOMAIN_OPTION,
    { "uri", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the namespace" },
    { "edit", CLI_FLAG, 0, CLI_VALUE_ANY, "in an editor" },
    { "key", CLI_STRING, 0, CLI_VALUE_ANY, "its prefix" },
    { "set", CLI_STRING, 0, CLI_VALUE_ANY, "the new XML" },
    { "remove", CLI_FLAG, 0, CLI_VALUE_ANY, "remove it" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool change_metadata(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                            uint32_t flags, const char *text, GError **error)
{
    RemoteDomainSetMetadataArgs call = {
        .dom = *domain,
        .type = METADATA_ELEMENT,
        .metadata = text,
        .key = cli_args_string(args, "key"),
        .uri = cli_args_string(args, "uri"),
        .flags = flags,
    };
    if (text && !call.key) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "namespace key is required when modifying metadata");
        return false;
    }
    if (!remote_domain_set_metadata(cli_client(session), &call, error)) {
        return false;
    }
    cli_note(session, text ? "Metadata modified" : "Metadata removed");
    return true;
}

static bool run_metadata(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    const char *text = NULL;
    const char *uri = cli_args_string(args, "uri");
    if (!cli_args_exclusive(args, "edit", "set", error) ||
        !cli_args_exclusive(args, "remove", "set", error) ||
        !cli_args_exclusive(args, "remove", "edit", error) ||
        !cli_domain(session, args, &domain, error) || !text_flags(args, &domain, &flags, error)) {
        return false;
    }
    if (cli_args_flag(args, "remove")) {
        return change_metadata(session, args, &domain, flags, NULL, error);
    }
    if (cli_args_string(args, "set")) {
        return change_metadata(session, args, &domain, flags, cli_args_string(args, "set"), error);
    }
    if (cli_args_flag(args, "edit")) {
        GError *problem = NULL;
        bool is_there = get_metadata(session, &domain, METADATA_ELEMENT, uri, flags, &text, NULL);
        g_autofree char *changed = cli_edit_text(is_there ? text : "\n", ".xml", &problem);
        if (problem) {
            g_propagate_error(error, problem);
            return false;
        }
        if (!changed) {
            cli_note(session, "Metadata not changed");
            return true;
        }
        return change_metadata(session, args, &domain, flags, changed, error);
    }
    if (!get_metadata(session, &domain, METADATA_ELEMENT, uri, flags, &text, error)) {
        return false;
    }
    cli_print(session, "%s", text);
    return true;
}

/* Other forms */

static const CliOption domxml_from_native_options[] = {
    { "format", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "qemu-argv" },
    { "config", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the file" },
    CLI_OPTIONS_END,
};

static bool run_from_native(CliSession *session, const CliArgs *args, GError **error)
{
    g_autofree char *text = cli_read_file(args, "config", error);
    RemoteConnectDomainXmlFromNativeArgs call = { cli_args_string(args, "format"), text, 0 };
    RemoteConnectDomainXmlFromNativeRet ret;
    if (!text || !remote_connect_domain_xml_from_native(cli_client(session), &call, &session->arena,
                                                        &ret, error)) {
        return false;
    }
    cli_print(session, "%s", ret.domain_xml);
    return true;
}

static const CliOption domxml_to_native_options[] = {
    { "format", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "qemu-argv" },
    { "domain", CLI_STRING, CLI_NAMED, CLI_VALUE_DOMAIN, "of a defined domain" },
    { "xml", CLI_STRING, 0, CLI_VALUE_FILE, "of a file" },
    CLI_OPTIONS_END,
};

static bool run_to_native(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    g_autofree char *xml = NULL;
    if (!cli_args_exclusive(args, "domain", "xml", error)) {
        return false;
    }
    if (cli_args_string(args, "domain")) {
        xml = cli_domain(session, args, &domain, error) ? domain_text(session, &domain, 8, error)
                                                        : NULL;
    } else if (cli_args_string(args, "xml")) {
        xml = cli_read_file(args, "xml", error);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "need either domain or domain XML");
    }
    RemoteConnectDomainXmlToNativeArgs call = { cli_args_string(args, "format"), xml, 0 };
    RemoteConnectDomainXmlToNativeRet ret;
    if (!xml || !remote_connect_domain_xml_to_native(cli_client(session), &call, &session->arena,
                                                     &ret, error)) {
        return false;
    }
    cli_print(session, "%s", ret.native_config);
    return true;
}

static const CliOption set_lifecycle_action_options[] = {
    CLI_DOMAIN_OPTION,
    { "type", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "poweroff, reboot or crash" },
    { "action", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "destroy, restart, preserve, ..." },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_set_action(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const types[] = { "poweroff", "reboot", "crash", NULL };
    static const char *const actions[] = { "destroy",  "restart",          "rename-restart",
                                           "preserve", "coredump-destroy", "coredump-restart",
                                           NULL };
    const char *type = cli_args_string(args, "type");
    const char *action = cli_args_string(args, "action");
    RemoteDomainSetLifecycleActionArgs call;
    if (!cli_args_impact(args, &call.flags, error)) {
        return false;
    }
    if (cli_word_index(type, types) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid lifecycle type '%s'.", type);
        return false;
    }
    if (cli_word_index(action, actions) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid lifecycle action '%s'.", action);
        return false;
    }
    call.type = (uint32_t)cli_word_index(type, types);
    call.action = (uint32_t)cli_word_index(action, actions);
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    return remote_domain_set_lifecycle_action(cli_client(session), &call, error) ||
           cli_fail(error, "Unable to change lifecycle action.");
}

const CliCommand cli_definition_commands[] = {
    { "define", "define a domain from XML, or change its definition", NULL, define_options, 0,
      run_define },
    { "desc", "show or change a domain's description or title", NULL, desc_options, 0, run_desc },
    { "domxml-from-native", "turn a command line of QEMU into XML", NULL,
      domxml_from_native_options, 0, run_from_native },
    { "domxml-to-native", "turn XML into the monitor's command line", NULL,
      domxml_to_native_options, 0, run_to_native },
    { "dumpxml", "print a domain's XML", NULL, dumpxml_options, 0, run_dumpxml },
    { "edit", "edit a domain's definition",
      "Starts $VISUAL or $EDITOR with the XML and takes what is saved.", edit_options, 0,
      run_edit },
    { "metadata", "show or change what programs note in a domain's definition", NULL,
      metadata_options, 0, run_metadata },
    { "set-lifecycle-action", "change what follows when a guest ends", NULL,
      set_lifecycle_action_options, 0, run_set_action },
    { NULL },
};
