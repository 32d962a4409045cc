/* Properties: what a user may set on a device, as data (-device NAME,property=value).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_PROPERTY_H
#define LODGE_VMM_DEVICE_PROPERTY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum PropertyKind {
    PROPERTY_BOOL,   /* bool: on/off, yes/no, true/false */
    PROPERTY_UINT,   /* uint64_t within [min, max]; decimal or 0x */
    PROPERTY_SIZE,   /* uint64_t within [min, max]; 4K, 1M, 2G */
    PROPERTY_STRING, /* char *, owned by the object */
    PROPERTY_MAC,    /* uint8_t[6] */
    PROPERTY_ENUM,   /* uint32_t: index into @choices */
    PROPERTY_LINK,   /* char *: name of a back end (drive, netdev, chardev); resolved by the device
                        through its host */
} PropertyKind;

typedef struct Property {
    const char *name;
    PropertyKind kind;
    size_t offset;
    const char *fallback; /* text of the default, or NULL: zero */
    uint64_t min, max;
    const char *const *choices; /* PROPERTY_ENUM; ends with NULL */
    const char *help;
} Property;

/* Sets every property of @table (ends with a NULL name; may be NULL) in @object to its default. */
void properties_set_defaults(const Property *table, void *object);

/* The row for @name, or NULL. */
const Property *property_find(const Property *table, const char *name);

/* Parses @value into @object. On failure: false, @error names property, value and what is allowed.
 */
bool property_set(const Property *property, void *object, const char *value, GError **error);

/* Frees strings. */
void properties_clear(const Property *table, void *object);

/* "  name=<kind>  - help (default: x)" lines for -device NAME,help. */
void properties_format_help(const Property *table, GString *out);

#endif
