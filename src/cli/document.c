/* Domains' XML for commands: read, looked through, edited.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/tools.h"

#include "gbase/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

XmlDoc *cli_domain_xml(CliSession *session, const RemoteDomain *domain, uint32_t flags,
                       GError **error)
{
    RemoteDomainGetXmlDescArgs call = { *domain, flags };
    RemoteDomainGetXmlDescRet ret;
    if (!remote_domain_get_xml_desc(cli_client(session), &call, &session->arena, &ret, error)) {
        return NULL;
    }
    return xml_doc_parse(ret.xml, "domain", error);
}

xmlNode *cli_devices(const XmlDoc *doc)
{
    return xml_child(xml_doc_root(doc), "devices");
}

char *cli_child_attr(const xmlNode *node, const char *child, const char *attr)
{
    const xmlNode *found = xml_child(node, child);
    return found ? xml_attr(found, attr) : NULL;
}

static bool run_editor(const char *path, GError **error)
{
    const char *editor = g_getenv("VISUAL");
    editor = editor && *editor ? editor : g_getenv("EDITOR");
    g_autofree char *quoted = g_shell_quote(path);
    g_autofree char *command =
        g_strconcat(editor && *editor ? editor : "sensible-editor", " ", quoted, NULL);
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    int status;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                      NULL, &status, error) ||
        !g_spawn_check_wait_status(status, error)) {
        cli_fail(error, "the editor failed: '%s'; choose another one by $EDITOR", command);
        return false;
    }
    return true;
}

char *cli_edit_text(const char *text, const char *suffix, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/lodge-XXXXXX%s", g_get_tmp_dir(), suffix);
    int fd = g_mkstemp_full(path, 0, 0600);
    char *changed = NULL;
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot make the file '%s'", path);
        return NULL;
    }
    close(fd);
    if (g_file_set_contents(path, text, -1, error) && run_editor(path, error) &&
        g_file_get_contents(path, &changed, NULL, error) && strcmp(changed, text) == 0) {
        g_clear_pointer(&changed, g_free);
    }
    g_unlink(path);
    return changed;
}

bool cli_show_xml(CliSession *session, const CliArgs *args, const char *xml, GError **error)
{
    const char *xpath = cli_args_string(args, "xpath");
    if (!xpath) {
        cli_print_xml(session, xml);
        return true;
    }
    g_autofree char *found = xml_find(xml, xpath, cli_args_flag(args, "wrap"), error);
    if (found) {
        cli_print_xml(session, found);
    }
    return found != NULL;
}
