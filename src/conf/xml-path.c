/* What an XPath expression finds in a text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/xml.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

/* Appends a node's text with its lines moved to @indent: as libxml2 gives them, those after the
 * first stand as far right as in the document, the last as far as the node itself. */
static void append_node(GString *out, const char *text, const char *indent)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned count = g_strv_length(lines);
    size_t depth = count > 1 ? strspn(lines[count - 1], " ") : 0;
    for (unsigned i = 0; i < count; i++) {
        size_t skipped = i > 0 ? MIN(depth, strspn(lines[i], " ")) : 0;
        g_string_append_printf(out, "%s%s\n", indent, lines[i] + skipped);
    }
}

/* The nodes of a set, one after the other, or as children of <nodes>. */
static char *nodes_text(const xmlNodeSet *set, xmlDoc *doc, bool wrap)
{
    GString *text = g_string_new(wrap ? "<nodes>\n" : NULL);
    xmlBuffer *buffer = xmlBufferCreate();
    for (int i = 0; set && i < set->nodeNr; i++) {
        xmlBufferEmpty(buffer);
        xmlNodeDump(buffer, doc, set->nodeTab[i], 0, 1);
        append_node(text, (const char *)xmlBufferContent(buffer), wrap ? "  " : "");
    }
    xmlBufferFree(buffer);
    g_string_append(text, wrap ? "</nodes>\n" : "");
    return g_string_free(text, FALSE);
}

char *xml_find(const char *text, const char *xpath, bool wrap, GError **error)
{
    xmlDoc *doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlXPathContext *context = doc ? xmlXPathNewContext(doc) : NULL;
    xmlXPathObject *found = context ? xmlXPathEval(BAD_CAST xpath, context) : NULL;
    bool ok = found && found->type == XPATH_NODESET;
    char *result = ok ? nodes_text(found->nodesetval, doc, wrap) : NULL;
    if (!ok) {
        g_set_error(error, CONF_ERROR, CONF_ERROR_XML,
                    "'%s' is no XPath expression that finds nodes", xpath);
    }
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    xmlFreeDoc(doc);
    return result;
}
