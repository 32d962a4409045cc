/* Metadata of applications: one element for each namespace.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/metadata.h"

#include "conf/error.h"
#include "conf/xml.h"

#include <string.h>

static bool is_in_namespace(const xmlNode *node, const char *uri)
{
    return node->ns && node->ns->href && strcmp((const char *)node->ns->href, uri) == 0;
}

static XmlDoc *parse_metadata(const DomainDef *def)
{
    return def->metadata ? xml_doc_parse(def->metadata, "metadata", NULL) : NULL;
}

char *domain_def_get_metadata(const DomainDef *def, const char *uri)
{
    g_autoptr(XmlDoc) doc = parse_metadata(def);
    xmlNode *node = doc ? xml_first(xml_doc_root(doc)) : NULL;
    while (node && !is_in_namespace(node, uri)) {
        node = xml_next(node);
    }
    return node ? xml_node_to_text(node, 0) : NULL;
}

/* The client's element with its namespace said on it, as the text of a child of <metadata>. */
static char *bind_namespace(const char *uri, const char *prefix, const char *xml, GError **error)
{
    if (!*uri || !prefix || xmlValidateNCName((const xmlChar *)prefix, 0) != 0) {
        conf_error_set(error, CONF_ERROR_INTERNAL,
                       "metadata: '%s' cannot be a prefix for the namespace '%s'", prefix ?: "",
                       uri);
        return NULL;
    }
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "metadata_xml", error);
    xmlNode *root = doc ? xml_doc_root(doc) : NULL;
    if (!root) {
        return NULL;
    }
    xmlNs *space = xmlNewNs(root, (const xmlChar *)uri, (const xmlChar *)prefix);
    if (!space) {
        space = xmlSearchNs(root->doc, root, (const xmlChar *)prefix);
    }
    if (!space || strcmp((const char *)space->href, uri) != 0) {
        conf_error_set(error, CONF_ERROR_INVALID_ARG,
                       "metadata: the element uses the prefix '%s' for another namespace than '%s'",
                       prefix, uri);
        return NULL;
    }
    xmlSetNs(root, space);
    return xml_node_to_text(root, 2);
}

bool domain_def_set_metadata(DomainDef *def, const char *uri, const char *prefix, const char *xml,
                             GError **error)
{
    g_autofree char *element = xml ? bind_namespace(uri, prefix, xml, error) : NULL;
    if (xml && !element) {
        return false;
    }
    g_autoptr(XmlDoc) doc = parse_metadata(def);
    g_autoptr(GString) text = g_string_new("<metadata>\n");
    bool is_empty = true;
    for (xmlNode *node = doc ? xml_first(xml_doc_root(doc)) : NULL; node; node = xml_next(node)) {
        if (!is_in_namespace(node, uri)) {
            g_autofree char *kept = xml_node_to_text(node, 2);
            g_string_append_printf(text, "    %s\n", kept);
            is_empty = false;
        }
    }
    if (element) {
        g_string_append_printf(text, "    %s\n", element);
        is_empty = false;
    }
    g_string_append(text, "  </metadata>");
    /* A namespace may hold what no XML can. */
    g_autoptr(XmlDoc) whole = xml_doc_parse(text->str, "metadata", error);
    if (!whole) {
        return false;
    }
    g_free(def->metadata);
    def->metadata = is_empty ? NULL : g_strdup(text->str);
    return true;
}
