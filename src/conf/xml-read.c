/* Reading XML safely with libxml2's tree.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/xml.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

struct XmlDoc {
    xmlDoc *doc;
};

/* What the parser's callbacks found wrong. */
typedef struct ReadState {
    char *message;
    int line;
} ReadState;

static void read_fail(xmlParserCtxt *parser, const char *message)
{
    ReadState *state = parser->_private;

    if (state->message == NULL) {
        state->message = g_strdup(message);
        state->line = parser->input != NULL ? parser->input->line : 0;
    }
    xmlStopParser(parser);
}

static void on_internal_subset(void *opaque, const xmlChar *name, const xmlChar *external_id,
                               const xmlChar *system_id)
{
    read_fail(opaque, "a document type is not accepted");
}

static void on_start_element(void *opaque, const xmlChar *name, const xmlChar *prefix,
                             const xmlChar *uri, int n_namespaces, const xmlChar **namespaces,
                             int n_attributes, int n_defaulted, const xmlChar **attributes)
{
    xmlParserCtxt *parser = opaque;

    if (parser->nodeNr >= XML_MAX_DEPTH) {
        read_fail(parser, "elements are nested too deeply");
        return;
    }
    xmlSAX2StartElementNs(opaque, name, prefix, uri, n_namespaces, namespaces, n_attributes,
                          n_defaulted, attributes);
}

static void on_error(void *opaque, xmlErrorPtr problem)
{
    xmlParserCtxt *parser = opaque;
    ReadState *state = parser->_private;

    if (state->message == NULL && problem->level >= XML_ERR_ERROR) {
        state->message = g_strchomp(g_strdup(problem->message));
        state->line = problem->line;
    }
}

XmlDoc *xml_doc_parse(const char *text, const char *what, GError **error)
{
    size_t length = strlen(text);
    if (length > XML_MAX_BYTES) {
        conf_error_set(error, CONF_ERROR_XML, "%s XML is longer than %u MiB", what,
                       XML_MAX_BYTES >> 20);
        return NULL;
    }
    xmlInitParser();
    xmlParserCtxt *parser = xmlNewParserCtxt();
    if (parser == NULL || parser->sax == NULL) {
        xmlFreeParserCtxt(parser);
        conf_error_set(error, CONF_ERROR_INTERNAL, "no memory to read XML");
        return NULL;
    }
    ReadState state = { 0 };
    parser->_private = &state;
    parser->sax->internalSubset = on_internal_subset;
    parser->sax->startElementNs = on_start_element;
    parser->sax->serror = on_error;
    xmlDoc *tree = xmlCtxtReadMemory(parser, text, (int)length, NULL, NULL,
                                     XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOWARNING);
    bool good = tree != NULL && parser->wellFormed && state.message == NULL &&
                xmlDocGetRootElement(tree) != NULL;
    XmlDoc *doc = NULL;
    if (good) {
        doc = g_new0(XmlDoc, 1);
        doc->doc = tree;
    } else {
        conf_error_set(error, CONF_ERROR_XML_DETAIL, "%s XML, line %d: %s", what, state.line,
                       state.message != NULL ? state.message : "no element");
        xmlFreeDoc(tree);
    }
    g_free(state.message);
    xmlFreeParserCtxt(parser);
    return doc;
}

xmlNode *xml_doc_root(const XmlDoc *doc)
{
    return xmlDocGetRootElement(doc->doc);
}

void xml_doc_free(XmlDoc *doc)
{
    if (doc != NULL) {
        xmlFreeDoc(doc->doc);
        g_free(doc);
    }
}

void xml_error(const xmlNode *node, ConfErrorCode code, GError **error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *message = g_strdup_vprintf(fmt, args);
    va_end(args);
    conf_error_set(error, code, "line %ld: element '%s': %s", xmlGetLineNo(node),
                   (const char *)node->name, message);
}

bool xml_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns == NULL &&
           strcmp((const char *)node->name, name) == 0;
}

static xmlNode *element_from(xmlNode *node)
{
    while (node != NULL && node->type != XML_ELEMENT_NODE) {
        node = node->next;
    }
    return node;
}

xmlNode *xml_first(const xmlNode *node)
{
    return element_from(node->children);
}

xmlNode *xml_next(const xmlNode *node)
{
    return element_from(node->next);
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    xmlNode *child = xml_first(node);
    while (child != NULL && !xml_is(child, name)) {
        child = xml_next(child);
    }
    return child;
}

static char *take_xml_string(xmlChar *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *copy = g_strdup((const char *)text);
    xmlFree(text);
    return copy;
}

char *xml_attr(const xmlNode *node, const char *name)
{
    return take_xml_string(xmlGetNoNsProp((xmlNode *)node, (const xmlChar *)name));
}

char *xml_text(const xmlNode *node)
{
    return take_xml_string(xmlNodeGetContent(node));
}

char *xml_node_to_text(xmlNode *node, unsigned level)
{
    xmlNode *copy = xmlDocCopyNode(node, node->doc, 1);
    if (copy == NULL) {
        return g_strdup("");
    }
    xmlBuffer *buffer = xmlBufferCreate();
    xmlNodeDump(buffer, node->doc, copy, (int)level, 1);
    char *text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    xmlFreeNode(copy);
    return text;
}
