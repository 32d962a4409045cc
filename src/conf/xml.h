/* A small safe layer over libxml2, and a writer in libvirt's layout.
 *
 * Reading: no network, no external entities, no document type at all, 64 levels, 10 MiB. Every
 * error names the line and the element. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_XML_H
#define LODGE_CONF_XML_H

#include "conf/error.h"

#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

#define XML_MAX_BYTES (10u << 20)
#define XML_MAX_DEPTH 64

typedef struct XmlDoc XmlDoc;

/**
 * xml_doc_parse - read a text
 * @what: kind of text for messages, as "domain"
 *
 * Returns: NULL with CONF_ERROR_XML_DETAIL for malformed or too deep texts and those with a
 * document type, CONF_ERROR_XML for too long ones. Any thread.
 */
XmlDoc *xml_doc_parse(const char *text, const char *what, GError **error);
xmlNode *xml_doc_root(const XmlDoc *doc);
void xml_doc_free(XmlDoc *doc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XmlDoc, xml_doc_free)

/* CONF_ERROR_* with "line N: element 'NAME': " before the message. */
void xml_error(const xmlNode *node, ConfErrorCode code, GError **error, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);

bool xml_is(const xmlNode *node, const char *name);
/* First child element of that name in no namespace, or NULL. */
xmlNode *xml_child(const xmlNode *node, const char *name);
/* First child element, next sibling element; any name. */
xmlNode *xml_first(const xmlNode *node);
xmlNode *xml_next(const xmlNode *node);
/* Attribute or text of an element; NULL when absent. (transfer full) */
char *xml_attr(const xmlNode *node, const char *name);
char *xml_text(const xmlNode *node);

/* An element with all below it as text that needs no outer namespace declaration; lines after the
 * first are indented for an element at @level. (transfer full) */
char *xml_node_to_text(xmlNode *node, unsigned level);

/* The nodes that an XPath expression finds in a text, a line each, or with @wrap as children of
 * <nodes>. For texts of our own. (transfer full) NULL: @error names the expression. */
char *xml_find(const char *text, const char *xpath, bool wrap, GError **error);

/* --- writing --- */

typedef struct XmlWriter XmlWriter;

XmlWriter *xml_writer_new(void);
void xml_writer_free(XmlWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XmlWriter, xml_writer_free)
/* Ends the writer; gives its text. (transfer full) */
char *xml_writer_finish(XmlWriter *writer);

/* "<name", children and attributes follow. @name must live until xml_write_end(). */
void xml_write_start(XmlWriter *writer, const char *name);
/* Escapes @value and drops characters that XML 1.0 forbids. Only before text and children. */
void xml_write_attr(XmlWriter *writer, const char *name, const char *value);
void xml_write_attr_fmt(XmlWriter *writer, const char *name, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);
void xml_write_text(XmlWriter *writer, const char *text);
void xml_write_end(XmlWriter *writer);
/* As xml_write_end(), but an element without attributes and content is as if never started. */
void xml_write_end_if_any(XmlWriter *writer);
/* <name>text</name>; nothing for NULL. */
void xml_write_leaf(XmlWriter *writer, const char *name, const char *text);
void xml_write_leaf_fmt(XmlWriter *writer, const char *name, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);
/* An element from xml_node_to_text() for the level that is written. */
void xml_write_raw(XmlWriter *writer, const char *text);

#endif
