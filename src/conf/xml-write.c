/* Writing XML as libvirt does: two spaces a level, single quotes, "<x/>" for empty elements.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/xml.h"

#include "base/log.h"

#include <stdarg.h>
#include <string.h>

typedef struct OpenElement {
    const char *name;
    size_t start;       /* in the text, of what xml_write_start() wrote */
    bool opened_parent; /* it was the first child */
    bool has_attrs;
    bool has_content; /* ">" is written */
    bool has_text;    /* the end tag follows on the same line */
} OpenElement;

struct XmlWriter {
    GString *text;
    unsigned depth;
    OpenElement open[XML_MAX_DEPTH];
};

XmlWriter *xml_writer_new(void)
{
    XmlWriter *writer = g_new0(XmlWriter, 1);
    writer->text = g_string_new(NULL);
    return writer;
}

void xml_writer_free(XmlWriter *writer)
{
    if (writer != NULL) {
        g_string_free(writer->text, TRUE);
        g_free(writer);
    }
}

char *xml_writer_finish(XmlWriter *writer)
{
    lodge_assert(writer->depth == 0);
    char *text = g_string_free(writer->text, FALSE);
    g_free(writer);
    return text;
}

static void write_indent(XmlWriter *writer)
{
    for (unsigned i = 0; i < writer->depth; i++) {
        g_string_append(writer->text, "  ");
    }
}

static OpenElement *innermost(XmlWriter *writer)
{
    lodge_assert(writer->depth > 0);
    return &writer->open[writer->depth - 1];
}

/* Ends the start tag of the innermost element, whose first child begins on a line of its own. */
static void begin_children(XmlWriter *writer)
{
    if (writer->depth > 0) {
        OpenElement *element = innermost(writer);
        if (!element->has_content) {
            g_string_append(writer->text, ">\n");
            element->has_content = true;
        }
    }
}

void xml_write_start(XmlWriter *writer, const char *name)
{
    lodge_assert(writer->depth < XML_MAX_DEPTH);
    OpenElement *element = &writer->open[writer->depth];
    *element = (OpenElement){ .name = name, .start = writer->text->len };
    element->opened_parent = writer->depth > 0 && !innermost(writer)->has_content;
    begin_children(writer);
    write_indent(writer);
    g_string_append_printf(writer->text, "<%s", name);
    writer->depth++;
}

static void append_escaped(GString *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        switch (byte) {
        case '<':
            g_string_append(out, "&lt;");
            break;
        case '>':
            g_string_append(out, "&gt;");
            break;
        case '&':
            g_string_append(out, "&amp;");
            break;
        case '"':
            g_string_append(out, "&quot;");
            break;
        case '\'':
            g_string_append(out, "&apos;");
            break;
        case '\r':
            g_string_append(out, "&#13;");
            break;
        default:
            if (byte >= 0x20 || byte == '\n' || byte == '\t') {
                g_string_append_c(out, (char)byte);
            }
        }
    }
}

void xml_write_attr(XmlWriter *writer, const char *name, const char *value)
{
    OpenElement *element = innermost(writer);
    lodge_assert(!element->has_content);
    g_string_append_printf(writer->text, " %s='", name);
    append_escaped(writer->text, value);
    g_string_append_c(writer->text, '\'');
    element->has_attrs = true;
}

void xml_write_attr_fmt(XmlWriter *writer, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *value = g_strdup_vprintf(fmt, args);
    va_end(args);
    xml_write_attr(writer, name, value);
}

void xml_write_text(XmlWriter *writer, const char *text)
{
    OpenElement *element = innermost(writer);
    if (!element->has_content) {
        g_string_append_c(writer->text, '>');
        element->has_content = true;
        element->has_text = true;
    }
    append_escaped(writer->text, text);
}

void xml_write_end(XmlWriter *writer)
{
    OpenElement *element = innermost(writer);
    writer->depth--;
    if (!element->has_content) {
        g_string_append(writer->text, "/>\n");
        return;
    }
    if (!element->has_text) {
        write_indent(writer);
    }
    g_string_append_printf(writer->text, "</%s>\n", element->name);
}

void xml_write_end_if_any(XmlWriter *writer)
{
    OpenElement *element = innermost(writer);
    if (element->has_attrs || element->has_content) {
        xml_write_end(writer);
        return;
    }
    writer->depth--;
    g_string_truncate(writer->text, element->start);
    if (element->opened_parent) {
        innermost(writer)->has_content = false;
    }
}

void xml_write_leaf(XmlWriter *writer, const char *name, const char *text)
{
    if (text != NULL) {
        xml_write_start(writer, name);
        xml_write_text(writer, text);
        xml_write_end(writer);
    }
}

void xml_write_leaf_fmt(XmlWriter *writer, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *value = g_strdup_vprintf(fmt, args);
    va_end(args);
    xml_write_leaf(writer, name, value);
}

void xml_write_raw(XmlWriter *writer, const char *text)
{
    begin_children(writer);
    write_indent(writer);
    g_string_append(writer->text, text);
    g_string_append_c(writer->text, '\n');
}
