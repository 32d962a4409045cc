/* Commands about a domain's memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <string.h>

#define MEMORY_MAXIMUM 4u /* of virDomainMemoryModFlags */

static const CliOption size_options[] = {
    CLI_DOMAIN_OPTION,
    { "size", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "KiB, or with a suffix (512M, 2G)" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool set_memory(CliSession *session, const CliArgs *args, guint more, GError **error)
{
    guint flags;
    guint64 bytes = 0;
    RemoteDomainSetMemoryFlagsArgs call;
    if (!cli_args_impact(args, &flags, error) ||
        !cli_args_size(args, "size", 1024, &bytes, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.memory = bytes / 1024 + (bytes % 1024 != 0);
    call.flags = flags | more;
    if (call.flags == 0 && !cli_args_flag(args, "current")) {
        RemoteDomainSetMemoryArgs live = { call.dom, call.memory };
        return remote_domain_set_memory(cli_client(session), &live, error);
    }
    return remote_domain_set_memory_flags(cli_client(session), &call, error) ||
           (more && cli_fail(error, "Unable to change MaxMemorySize"));
}

static bool run_setmem(CliSession *session, const CliArgs *args, GError **error)
{
    return set_memory(session, args, 0, error);
}

static bool run_setmaxmem(CliSession *session, const CliArgs *args, GError **error)
{
    return set_memory(session, args, MEMORY_MAXIMUM, error);
}

static const CliOption update_memory_device_options[] = {
    CLI_DOMAIN_OPTION,
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    { "alias", CLI_STRING, 0, CLI_VALUE_ANY, "its alias" },
    { "node", CLI_NUMBER, 0, CLI_VALUE_ANY, "of this NUMA cell of the guest" },
    { "requested-size", CLI_NUMBER, 0, CLI_VALUE_ANY, "KiB, or with a suffix" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool is_wanted(const xmlNode *memory, const char *alias, const char *node)
{
    g_autofree char *name = cli_child_attr(memory, "alias", "name");
    const xmlNode *target = xml_child(memory, "target");
    const xmlNode *node_tag = target ? xml_child(target, "node") : NULL;
    g_autofree char *number = node_tag ? xml_text(node_tag) : NULL;
    return (!alias || g_strcmp0(alias, name) == 0) && (!node || g_strcmp0(node, number) == 0);
}

/* The one <memory> device of that alias and node. */
static xmlNode *find_memory(const XmlDoc *doc, const char *alias, const char *node, GError **error)
{
    xmlNode *found = NULL;
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        if (!xml_is(at, "memory") || !is_wanted(at, alias, node)) {
            continue;
        }
        if (found) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "multiple memory devices found, use --alias or --node to select one");
            return NULL;
        }
        found = at;
    }
    if (!found) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "no memory device found");
    }
    return found;
}

static bool set_requested(xmlNode *memory, guint64 bytes, GError **error)
{
    xmlNode *target = xml_child(memory, "target");
    xmlNode *requested = target ? xml_child(target, "requested") : NULL;
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes / 1024);
    if (!requested) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "virtio-mem device is missing <requested/>");
        return false;
    }
    xmlNodeSetContent(requested, BAD_CAST text);
    xmlSetProp(requested, BAD_CAST "unit", BAD_CAST "KiB");
    return true;
}

static bool run_update_memory(CliSession *session, const CliArgs *args, GError **error)
{
    guint flags;
    guint64 size = 0;
    RemoteDomain domain;
    if (!cli_args_exclusive(args, "node", "alias", error) ||
        !cli_args_impact(args, &flags, error) || !cli_domain(session, args, &domain, error) ||
        !cli_args_size(args, "requested-size", 1024, &size, error)) {
        return false;
    }
    bool is_inactive = flags & CLI_IMPACT_CONFIG;
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, &domain, is_inactive ? 2 : 0, error);
    xmlNode *memory =
        doc ? find_memory(doc, cli_args_string(args, "alias"), cli_args_string(args, "node"), error)
            : NULL;
    bool is_set = cli_args_string(args, "requested-size") != NULL;
    if (!memory || (is_set && !set_requested(memory, size, error))) {
        return false;
    }
    g_autofree char *xml = xml_node_to_text(memory, 0);
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    RemoteDomainUpdateDeviceFlagsArgs call = { domain, xml, flags };
    return remote_domain_update_device_flags(cli_client(session), &call, error);
}

const CliCommand cli_memory_commands[] = {
    { "setmaxmem", "change the memory that a domain may have at most", NULL, size_options, 0,
      run_setmaxmem },
    { "setmem", "change a domain's memory", NULL, size_options, 0, run_setmem },
    { "update-memory-device", "change a memory device of a domain", NULL,
      update_memory_device_options, 0, run_update_memory },
    { NULL },
};
