/* What an XPath expression finds in a text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/xml.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

/* The nodes of a set, one after the other, or as children of <nodes>. */
static char *nodes_text(const xmlNodeSet *set, xmlDoc *doc, bool wrap)
{
    GString *text = g_string_new(wrap ? "<nodes>\n" : NULL);
    xmlBuffer *buffer = xmlBufferCreate();
    for (int i = 0; set && i < set->nodeNr; i++) {
        xmlBufferEmpty(buffer);
        xmlNodeDump(buffer, doc, set->nodeTab[i], wrap ? 1 : 0, 1);
        g_string_append_printf(text, "%s%s\n", wrap ? "  " : "",
                               (const char *)xmlBufferContent(buffer));
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
