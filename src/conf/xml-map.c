/* The engine behind the tables of fields.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/xml-map.h"

#include <stdarg.h>
#include <string.h>

void xml_list_append(XmlList *list, void *item)
{
    xml_list_insert(list, list->count, item);
}

void xml_list_insert(XmlList *list, unsigned index, void *item)
{
    g_return_if_fail(index <= list->count);
    /* Room for the next power of two, so that long lists do not move for each item. */
    if ((list->count & (list->count - 1)) == 0) {
        list->item = g_renew(void *, list->item, MAX((gsize)list->count * 2, 1));
    }
    memmove(&list->item[index + 1], &list->item[index],
            (list->count - index) * sizeof(list->item[0]));
    list->item[index] = item;
    list->count++;
}

void *xml_list_steal(XmlList *list, unsigned index)
{
    g_return_val_if_fail(index < list->count, NULL);
    void *item = list->item[index];
    list->count--;
    memmove(&list->item[index], &list->item[index + 1],
            (list->count - index) * sizeof(list->item[0]));
    return item;
}

int xml_enum_find(const XmlEnum *names, const char *text)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (names->name[i] != NULL && strcmp(names->name[i], text) == 0) {
            return (int)i;
        }
    }
    return -1;
}

const char *xml_enum_name(const XmlEnum *names, int value)
{
    return value >= 0 && (unsigned)value < names->count ? names->name[value] : NULL;
}

void xml_parse_warn(XmlParse *parse, const xmlNode *node, const char *fmt, ...)
{
    if (parse->warnings == NULL || parse->warnings->len >= XML_MAX_WARNINGS) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    g_autofree char *message = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_ptr_array_add(parse->warnings, g_strdup_printf("line %ld: %s", xmlGetLineNo(node), message));
}

static void *member(const XmlField *field, const void *base)
{
    return (char *)base + field->offset;
}

/* The table of a variant that @base selects, or NULL. */
static const XmlField *selected(const XmlField *field, const void *base)
{
    int value;
    memcpy(&value, member(field, base), sizeof(value));
    return value >= 0 && (unsigned)value < field->n_variants ? field->variants[value] : NULL;
}

/* --- reading --- */

static bool parse_fields(XmlParse *parse, const XmlField *fields, xmlNode *node, void *base,
                         GError **error);

static bool parse_attr(const XmlField *field, xmlNode *node, void *base, GError **error)
{
    g_autofree char *text = xml_attr(node, field->name);
    if (text == NULL) {
        if ((field->flags & XML_REQUIRED) != 0) {
            xml_error(node, field->missing != 0 ? field->missing : CONF_ERROR_XML, error,
                      "attribute '%s' is missing", field->name);
            return false;
        }
        return true;
    }
    return field->scalar->parse(field, node, text, member(field, base), error);
}

static bool parse_text(const XmlField *field, xmlNode *node, void *base, GError **error)
{
    g_autofree char *text = xml_text(node);
    if (text == NULL || (*text == '\0' && (field->flags & XML_REQUIRED) == 0)) {
        return true;
    }
    return field->scalar->parse(field, node, text, member(field, base), error);
}

static bool parse_list(XmlParse *parse, const XmlField *field, xmlNode *node, void *base,
                       GError **error)
{
    for (xmlNode *child = xml_first(node); child != NULL; child = xml_next(child)) {
        if (xml_is(child, field->name)) {
            void *item = g_malloc0(field->size);
            xml_list_append(member(field, base), item);
            if (!xml_map_parse(parse, field->fields, child, item, error)) {
                return false;
            }
        }
    }
    return true;
}

static bool parse_child(XmlParse *parse, const XmlField *field, xmlNode *node, void *base,
                        GError **error)
{
    xmlNode *child = xml_child(node, field->name);
    if (child == NULL) {
        if ((field->flags & XML_REQUIRED) != 0) {
            xml_error(node, field->missing != 0 ? field->missing : CONF_ERROR_XML, error,
                      "element '%s' is missing", field->name);
            return false;
        }
        return true;
    }
    switch (field->kind) {
    case XML_KIND_LEAF:
        return parse_text(field, child, base, error);
    case XML_KIND_FLAG:
        *(bool *)member(field, base) = true;
        return true;
    case XML_KIND_SWITCH: {
        g_autofree char *state = xml_attr(child, "state");
        int value = state != NULL ? xml_enum_find(field->names, state) : 1;
        if (value < 0) {
            xml_error(child, CONF_ERROR_XML, error, "invalid value '%.64s' of attribute 'state'",
                      state);
            return false;
        }
        memcpy(member(field, base), &value, sizeof(value));
        return true;
    }
    case XML_KIND_NEST:
        if (field->present != 0) {
            *((bool *)base + field->present - 1) = true;
        }
        return xml_map_parse(parse, field->fields, child, member(field, base), error);
    case XML_KIND_PTR: {
        if (*(void **)member(field, base) != NULL) {
            return true;
        }
        void *item = g_malloc0(field->size);
        *(void **)member(field, base) = item;
        return xml_map_parse(parse, field->fields, child, item, error);
    }
    case XML_KIND_RAW:
        *(char **)member(field, base) = xml_node_to_text(child, field->width);
        return true;
    default:
        return true;
    }
}

static bool parse_hook(XmlParse *parse, const XmlField *field, xmlNode *node, void *base,
                       GError **error)
{
    for (xmlNode *child = xml_first(node); child != NULL; child = xml_next(child)) {
        if (xml_is(child, field->name) && !field->hook->parse(parse, child, base, error)) {
            return false;
        }
    }
    return true;
}

static bool parse_field(XmlParse *parse, const XmlField *field, xmlNode *node, void *base,
                        GError **error)
{
    switch (field->kind) {
    case XML_KIND_ATTR:
        return parse_attr(field, node, base, error);
    case XML_KIND_TEXT:
        return parse_text(field, node, base, error);
    case XML_KIND_LIST:
        return parse_list(parse, field, node, base, error);
    case XML_KIND_INLINE:
        return parse_fields(parse, field->fields, node, member(field, base), error);
    case XML_KIND_VARIANT: {
        const XmlField *fields = selected(field, base);
        return fields == NULL || parse_fields(parse, fields, node, base, error);
    }
    case XML_KIND_HOOK:
        return parse_hook(parse, field, node, base, error);
    case XML_KIND_OWNED:
        return true;
    default:
        return parse_child(parse, field, node, base, error);
    }
}

static bool parse_fields(XmlParse *parse, const XmlField *fields, xmlNode *node, void *base,
                         GError **error)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        bool is_left_out =
            (field->flags & XML_LIVE) != 0 && (parse->flags & XML_PARSE_INACTIVE) != 0;
        if (!is_left_out && !parse_field(parse, field, node, base, error)) {
            return false;
        }
    }
    return true;
}

/* Whether the value is scaled by the attribute "unit" beside it. */
static bool has_unit(const XmlField *field)
{
    return field->scalar == &xml_kib || field->scalar == &xml_bytes;
}

static bool knows(const XmlField *fields, const void *base, const char *name, bool is_attr)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        if (field->kind == XML_KIND_INLINE) {
            if (knows(field->fields, member(field, base), name, is_attr)) {
                return true;
            }
        } else if (field->kind == XML_KIND_VARIANT) {
            const XmlField *table = selected(field, base);
            if (table != NULL && knows(table, base, name, is_attr)) {
                return true;
            }
        } else if (is_attr && (field->kind == XML_KIND_ATTR || field->kind == XML_KIND_TEXT) &&
                   has_unit(field) && strcmp(name, "unit") == 0) {
            return true;
        } else if (field->name != NULL && (field->kind == XML_KIND_ATTR) == is_attr &&
                   strcmp(field->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool refuse_unknown(XmlParse *parse, xmlNode *node, const char *kind, const xmlChar *name,
                           GError **error)
{
    if ((parse->flags & XML_PARSE_STRICT) != 0) {
        xml_error(node, CONF_ERROR_INVALID_SCHEMA, error, "unknown %s '%s'", kind,
                  (const char *)name);
        return false;
    }
    xml_parse_warn(parse, node, "element '%s': unknown %s '%s' is left out",
                   (const char *)node->name, kind, (const char *)name);
    return true;
}

static bool check_unknown(XmlParse *parse, const XmlField *fields, xmlNode *node, const void *base,
                          GError **error)
{
    for (xmlAttr *attr = node->properties; attr != NULL; attr = attr->next) {
        if (attr->ns == NULL && !knows(fields, base, (const char *)attr->name, true) &&
            !refuse_unknown(parse, node, "attribute", attr->name, error)) {
            return false;
        }
    }
    for (xmlNode *child = xml_first(node); child != NULL; child = xml_next(child)) {
        if (child->ns != NULL && parse->known_namespace != NULL &&
            strcmp((const char *)child->ns->href, parse->known_namespace) == 0) {
            continue;
        }
        if ((child->ns != NULL || !knows(fields, base, (const char *)child->name, false)) &&
            !refuse_unknown(parse, node, "element", child->name, error)) {
            return false;
        }
    }
    return true;
}

bool xml_map_parse(XmlParse *parse, const XmlField *fields, xmlNode *node, void *base,
                   GError **error)
{
    if (!parse_fields(parse, fields, node, base, error)) {
        return false;
    }
    bool wants_unknown = parse->warnings != NULL || (parse->flags & XML_PARSE_STRICT) != 0;
    return !wants_unknown || check_unknown(parse, fields, node, base, error);
}

/* --- writing --- */

static bool is_written(const XmlField *field, unsigned flags)
{
    if ((field->flags & XML_READ) != 0) {
        return false;
    }
    if ((field->flags & XML_LIVE) != 0 && (flags & XML_FORMAT_INACTIVE) != 0) {
        return false;
    }
    return (field->flags & XML_SECRET) == 0 || (flags & XML_FORMAT_SECURE) != 0;
}

/* The text of a scalar, or NULL when it is not written. */
static char *scalar_text(const XmlField *field, const void *base)
{
    const void *value = member(field, base);
    if ((field->flags & XML_ALWAYS) == 0 && !field->scalar->is_set(field, value)) {
        return NULL;
    }
    GString *text = g_string_new(NULL);
    field->scalar->format(field, value, text);
    return g_string_free(text, FALSE);
}

static void write_unit(XmlWriter *writer, const XmlField *field)
{
    if (has_unit(field)) {
        xml_write_attr(writer, "unit", field->scalar == &xml_kib ? "KiB" : "bytes");
    }
}

static void format_attrs(XmlWriter *writer, const XmlField *fields, const void *base,
                         unsigned flags)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        if (!is_written(field, flags)) {
            continue;
        }
        if (field->kind == XML_KIND_ATTR) {
            g_autofree char *text = scalar_text(field, base);
            if (text != NULL) {
                xml_write_attr(writer, field->name, text);
                write_unit(writer, field);
            }
        } else if (field->kind == XML_KIND_TEXT && has_unit(field) &&
                   field->scalar->is_set(field, member(field, base))) {
            write_unit(writer, field);
        } else if (field->kind == XML_KIND_INLINE) {
            format_attrs(writer, field->fields, member(field, base), flags);
        } else if (field->kind == XML_KIND_VARIANT) {
            const XmlField *table = selected(field, base);
            if (table != NULL) {
                format_attrs(writer, table, base, flags);
            }
        }
    }
}

static void format_content(XmlWriter *writer, const XmlField *fields, const void *base,
                           unsigned flags);

static void format_leaf(XmlWriter *writer, const XmlField *field, const void *base)
{
    g_autofree char *text = scalar_text(field, base);
    if (text != NULL) {
        xml_write_start(writer, field->name);
        write_unit(writer, field);
        xml_write_text(writer, text);
        xml_write_end(writer);
    }
}

static void format_element(XmlWriter *writer, const XmlField *field, const void *base,
                           unsigned flags)
{
    xml_write_start(writer, field->name);
    xml_map_format(writer, field->fields, base, flags);
}

static void format_child(XmlWriter *writer, const XmlField *field, const void *base, unsigned flags)
{
    switch (field->kind) {
    case XML_KIND_TEXT: {
        g_autofree char *text = scalar_text(field, base);
        if (text != NULL) {
            xml_write_text(writer, text);
        }
        break;
    }
    case XML_KIND_LEAF:
        format_leaf(writer, field, base);
        break;
    case XML_KIND_FLAG:
        if (*(const bool *)member(field, base)) {
            xml_write_start(writer, field->name);
            xml_write_end(writer);
        }
        break;
    case XML_KIND_NEST:
        format_element(writer, field, member(field, base), flags);
        if ((field->flags & XML_ALWAYS) != 0 ||
            (field->present != 0 && *((const bool *)base + field->present - 1))) {
            xml_write_end(writer);
        } else {
            xml_write_end_if_any(writer);
        }
        break;
    case XML_KIND_SWITCH: {
        int value;
        memcpy(&value, member(field, base), sizeof(value));
        const char *state = xml_enum_name(field->names, value);
        if (state != NULL) {
            xml_write_start(writer, field->name);
            xml_write_attr(writer, "state", state);
            xml_write_end(writer);
        }
        break;
    }
    case XML_KIND_PTR: {
        const void *item = *(void *const *)member(field, base);
        if (item != NULL) {
            format_element(writer, field, item, flags);
            xml_write_end(writer);
        }
        break;
    }
    case XML_KIND_LIST: {
        const XmlList *list = member(field, base);
        for (unsigned i = 0; i < list->count; i++) {
            format_element(writer, field, list->item[i], flags);
            xml_write_end(writer);
        }
        break;
    }
    case XML_KIND_RAW: {
        const char *text = *(char *const *)member(field, base);
        if (text != NULL) {
            xml_write_raw(writer, text);
        }
        break;
    }
    case XML_KIND_INLINE:
        format_content(writer, field->fields, member(field, base), flags);
        break;
    case XML_KIND_VARIANT: {
        const XmlField *table = selected(field, base);
        if (table != NULL) {
            format_content(writer, table, base, flags);
        }
        break;
    }
    case XML_KIND_HOOK:
        field->hook->format(writer, base, flags);
        break;
    default:
        break;
    }
}

static void format_content(XmlWriter *writer, const XmlField *fields, const void *base,
                           unsigned flags)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        if (is_written(field, flags)) {
            format_child(writer, field, base, flags);
        }
    }
}

void xml_map_format(XmlWriter *writer, const XmlField *fields, const void *base, unsigned flags)
{
    format_attrs(writer, fields, base, flags);
    format_content(writer, fields, base, flags);
}

/* --- freeing and copying --- */

static bool owns_string(const XmlField *field)
{
    return field->kind == XML_KIND_RAW || field->kind == XML_KIND_OWNED ||
           (field->scalar != NULL && field->scalar->owns_string);
}

static void clear_fields(const XmlField *fields, void *base)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        void *at = member(field, base);
        if (owns_string(field)) {
            g_clear_pointer((char **)at, g_free);
        } else if (field->kind == XML_KIND_NEST || field->kind == XML_KIND_INLINE) {
            clear_fields(field->fields, at);
        } else if (field->kind == XML_KIND_VARIANT) {
            for (unsigned i = 0; i < field->n_variants; i++) {
                if (field->variants[i] != NULL) {
                    clear_fields(field->variants[i], base);
                }
            }
        } else if (field->kind == XML_KIND_PTR) {
            void *item = *(void **)at;
            if (item != NULL) {
                clear_fields(field->fields, item);
                g_free(item);
                *(void **)at = NULL;
            }
        } else if (field->kind == XML_KIND_LIST) {
            XmlList *list = at;
            for (unsigned i = 0; i < list->count; i++) {
                clear_fields(field->fields, list->item[i]);
                g_free(list->item[i]);
            }
            g_free(list->item);
            *list = (XmlList){ 0 };
        }
    }
}

void xml_map_clear(const XmlField *fields, void *base, size_t size)
{
    clear_fields(fields, base);
    memset(base, 0, size);
}

/* Sets all owning pointers of a bytewise copy to NULL: variants share members, and each is to be
 * copied once. */
static void forget_pointers(const XmlField *fields, void *base)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        void *at = member(field, base);
        if (owns_string(field) || field->kind == XML_KIND_PTR) {
            *(void **)at = NULL;
        } else if (field->kind == XML_KIND_LIST) {
            *(XmlList *)at = (XmlList){ 0 };
        } else if (field->kind == XML_KIND_NEST || field->kind == XML_KIND_INLINE) {
            forget_pointers(field->fields, at);
        } else if (field->kind == XML_KIND_VARIANT) {
            for (unsigned i = 0; i < field->n_variants; i++) {
                if (field->variants[i] != NULL) {
                    forget_pointers(field->variants[i], base);
                }
            }
        }
    }
}

static void *copy_item(const XmlField *field, const void *src)
{
    void *item = g_malloc0(field->size);
    xml_map_copy(field->fields, item, src, field->size);
    return item;
}

static void copy_pointers(const XmlField *fields, void *dst, const void *src)
{
    for (const XmlField *field = fields; field->kind != XML_KIND_END; field++) {
        void *to = member(field, dst);
        const void *from = member(field, src);
        if (owns_string(field)) {
            if (*(char **)to == NULL) {
                *(char **)to = g_strdup(*(char *const *)from);
            }
        } else if (field->kind == XML_KIND_PTR) {
            const void *item = *(void *const *)from;
            if (*(void **)to == NULL && item != NULL) {
                *(void **)to = copy_item(field, item);
            }
        } else if (field->kind == XML_KIND_LIST) {
            const XmlList *list = from;
            for (unsigned i = ((XmlList *)to)->count; i < list->count; i++) {
                xml_list_append(to, copy_item(field, list->item[i]));
            }
        } else if (field->kind == XML_KIND_NEST || field->kind == XML_KIND_INLINE) {
            copy_pointers(field->fields, to, from);
        } else if (field->kind == XML_KIND_VARIANT) {
            for (unsigned i = 0; i < field->n_variants; i++) {
                if (field->variants[i] != NULL) {
                    copy_pointers(field->variants[i], dst, src);
                }
            }
        }
    }
}

void xml_map_copy(const XmlField *fields, void *dst, const void *src, size_t size)
{
    memcpy(dst, src, size);
    forget_pointers(fields, dst);
    copy_pointers(fields, dst, src);
}
