/* Properties: text to values and back to help.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/property.h"

#include "base/log.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"

#include <string.h>

static void *property_slot(const Property *property, void *object)
{
    return (char *)object + property->offset;
}

const Property *property_find(const Property *table, const char *name)
{
    for (const Property *p = table; p && p->name; p++) {
        if (!strcmp(p->name, name)) {
            return p;
        }
    }
    return NULL;
}

static bool refuse(const Property *property, const char *value, GError **error, const char *allowed)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "property '%s' cannot be '%s'; allowed: %s", property->name, value, allowed);
    return false;
}

static bool set_number(const Property *property, void *object, const char *value, GError **error)
{
    bool is_size = property->kind == PROPERTY_SIZE;
    uint64_t number;
    bool ok = is_size ? size_parse(value, 1, &number, NULL) : str_parse_u64(value, &number);
    /* Sizes may be written in hexadecimal too. */
    ok = ok || (is_size && str_parse_u64(value, &number));
    uint64_t max = property->max ? property->max : UINT64_MAX;
    if (!ok || number < property->min || number > max) {
        g_autofree char *low = is_size ? size_format(property->min)
                                       : g_strdup_printf("%" G_GUINT64_FORMAT, property->min);
        g_autofree char *high =
            is_size ? size_format(max) : g_strdup_printf("%" G_GUINT64_FORMAT, max);
        g_autofree char *allowed =
            g_strdup_printf("a %s from %s to %s", is_size ? "size" : "number", low, high);
        return refuse(property, value, error, allowed);
    }
    *(uint64_t *)property_slot(property, object) = number;
    return true;
}

static bool set_mac(const Property *property, void *object, const char *value, GError **error)
{
    uint8_t mac[6];
    const char *p = value;
    for (unsigned i = 0; i < sizeof(mac); i++) {
        bool has_separator = i == 0 || *p == ':' || *p == '-';
        p += i != 0 && has_separator;
        if (!has_separator || !g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1])) {
            return refuse(property, value, error, "six bytes as in 52:54:00:12:34:56");
        }
        mac[i] = (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
        p += 2;
    }
    if (*p) {
        return refuse(property, value, error, "six bytes as in 52:54:00:12:34:56");
    }
    if (mac[0] & 1) {
        return refuse(property, value, error, "no multicast address (first byte even)");
    }
    memcpy(property_slot(property, object), mac, sizeof(mac));
    return true;
}

static bool set_enum(const Property *property, void *object, const char *value, GError **error)
{
    for (uint32_t i = 0; property->choices[i]; i++) {
        if (!strcmp(property->choices[i], value)) {
            *(uint32_t *)property_slot(property, object) = i;
            return true;
        }
    }
    g_autofree char *allowed = str_list_join(property->choices);
    return refuse(property, value, error, allowed);
}

static bool set_string(const Property *property, void *object, const char *value, GError **error)
{
    if (property->kind == PROPERTY_LINK && !*value) {
        return refuse(property, value, error, "the name of a back end");
    }
    char **slot = property_slot(property, object);
    char *copy = g_strdup(value);
    g_free(*slot);
    *slot = copy;
    return true;
}

bool property_set(const Property *property, void *object, const char *value, GError **error)
{
    switch (property->kind) {
    case PROPERTY_BOOL:
        if (!str_parse_bool(value, property_slot(property, object))) {
            return refuse(property, value, error, "on, off");
        }
        return true;
    case PROPERTY_UINT:
    case PROPERTY_SIZE:
        return set_number(property, object, value, error);
    case PROPERTY_STRING:
    case PROPERTY_LINK:
        return set_string(property, object, value, error);
    case PROPERTY_MAC:
        return set_mac(property, object, value, error);
    case PROPERTY_ENUM:
        return set_enum(property, object, value, error);
    }
    lodge_assert(!"property kind");
    return false;
}

static void set_zero(const Property *property, void *object)
{
    void *slot = property_slot(property, object);
    switch (property->kind) {
    case PROPERTY_BOOL:
        *(bool *)slot = false;
        break;
    case PROPERTY_UINT:
    case PROPERTY_SIZE:
        *(uint64_t *)slot = 0;
        break;
    case PROPERTY_STRING:
    case PROPERTY_LINK:
        g_free(*(char **)slot);
        *(char **)slot = NULL;
        break;
    case PROPERTY_MAC:
        memset(slot, 0, 6);
        break;
    case PROPERTY_ENUM:
        *(uint32_t *)slot = 0;
        break;
    }
}

void properties_set_defaults(const Property *table, void *object)
{
    for (const Property *p = table; p && p->name; p++) {
        set_zero(p, object);
        if (p->fallback) {
            bool ok = property_set(p, object, p->fallback, NULL);
            lodge_assert(ok);
        }
    }
}

void properties_clear(const Property *table, void *object)
{
    for (const Property *p = table; p && p->name; p++) {
        if (p->kind == PROPERTY_STRING || p->kind == PROPERTY_LINK) {
            set_zero(p, object);
        }
    }
}

void properties_format_help(const Property *table, GString *out)
{
    static const char *const kinds[] = {
        [PROPERTY_BOOL] = "bool",     [PROPERTY_UINT] = "number", [PROPERTY_SIZE] = "size",
        [PROPERTY_STRING] = "string", [PROPERTY_MAC] = "mac",     [PROPERTY_LINK] = "name",
    };
    for (const Property *p = table; p && p->name; p++) {
        if (p->kind == PROPERTY_ENUM) {
            g_autofree char *choices = g_strjoinv("|", (char **)p->choices);
            g_string_append_printf(out, "  %s=<%s>", p->name, choices);
        } else {
            g_string_append_printf(out, "  %s=<%s>", p->name, kinds[p->kind]);
        }
        g_string_append_printf(out, "  - %s", p->help);
        if (p->fallback) {
            g_string_append_printf(out, " (default: %s)", p->fallback);
        }
        g_string_append_c(out, '\n');
    }
}
