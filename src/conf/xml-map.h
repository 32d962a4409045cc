/* Structs and XML by table: one table of fields per element serves reading, writing, freeing and
 * copying, and tells what an element does not know.
 *
 * A struct starts as zero bytes. A field that is zero (NULL, 0, unset) is absent and not written,
 * unless its row says otherwise. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_XML_MAP_H
#define LODGE_CONF_XML_MAP_H

#include "conf/xml.h"

/* A list of pointers that owns what it points to; zero bytes are an empty one. */
typedef struct XmlList {
    void **item;
    unsigned count;
} XmlList;

/* Appends @item (transfer full). */
void xml_list_append(XmlList *list, void *item);
void xml_list_insert(XmlList *list, unsigned index, void *item);
/* The item (transfer full); those after it move up. */
void *xml_list_steal(XmlList *list, unsigned index);

/* Names of an enum: name[value], NULL for a value without one (0: absent). */
typedef struct XmlEnum {
    const char *const *name;
    unsigned count;
} XmlEnum;

/* -1: no value has that name. */
int xml_enum_find(const XmlEnum *names, const char *text);
/* NULL: @value has no name. */
const char *xml_enum_name(const XmlEnum *names, int value);

/* An unsigned number that may be absent where 0 means something. */
typedef struct OptUint {
    uint64_t value;
    bool set;
} OptUint;

typedef struct MacAddress {
    uint8_t byte[6];
    bool set;
} MacAddress;

typedef enum XmlParseFlags {
    XML_PARSE_INACTIVE = 1 << 0, /* leave out what only running objects have */
    XML_PARSE_STRICT = 1 << 1,   /* unknown elements and attributes are errors */
} XmlParseFlags;

typedef enum XmlFormatFlags {
    XML_FORMAT_INACTIVE = 1 << 0,
    XML_FORMAT_SECURE = 1 << 1,     /* with passwords */
    XML_FORMAT_MIGRATABLE = 1 << 2, /* for another host */
} XmlFormatFlags;

#define XML_MAX_WARNINGS 100

/* State of reading one text. */
typedef struct XmlParse {
    unsigned flags;
    GPtrArray *warnings;         /* of char *, or NULL: nobody wants them */
    const char *known_namespace; /* elements in it are for the caller; NULL: none */
} XmlParse;

/* "line N: ..." unless there are too many. */
void xml_parse_warn(XmlParse *parse, const xmlNode *node, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

typedef struct XmlField XmlField;

/* How one value is read from and written to text. */
typedef struct XmlScalar {
    bool owns_string; /* the value is a char * to free */
    /* @node: the element that has it, for messages and for "unit". */
    bool (*parse)(const XmlField *field, const xmlNode *node, const char *text, void *out,
                  GError **error);
    bool (*is_set)(const XmlField *field, const void *value);
    void (*format)(const XmlField *field, const void *value, GString *out);
} XmlScalar;

extern const XmlScalar xml_string;   /* char * */
extern const XmlScalar xml_nonempty; /* char *; "" is refused */
extern const XmlScalar xml_lenient;  /* char *; "" counts as absent */
extern const XmlScalar xml_path;     /* char *; absolute */
extern const XmlScalar xml_cpus;     /* char *: "0-3,^2", kept in canonical form */
extern const XmlScalar xml_enum;     /* int */
extern const XmlScalar xml_u32;      /* uint32_t, or hexadecimal with .width */
extern const XmlScalar xml_ordinal;  /* uint32_t from 1 on; 0: absent */
extern const XmlScalar xml_u64;      /* uint64_t, or hexadecimal with .width */
extern const XmlScalar xml_i64;      /* int64_t */
extern const XmlScalar xml_opt;      /* OptUint, or hexadecimal with .width */
extern const XmlScalar xml_kib;      /* uint64_t KiB; the element's "unit" scales (KiB) */
extern const XmlScalar xml_bytes;    /* uint64_t bytes; as above, bytes without a unit */
extern const XmlScalar xml_uuid;     /* Uuid; zero: absent */
extern const XmlScalar xml_mac;      /* MacAddress */

typedef enum XmlKind {
    XML_KIND_END,
    XML_KIND_ATTR,    /* scalar in an attribute */
    XML_KIND_TEXT,    /* scalar in the element's own text */
    XML_KIND_LEAF,    /* scalar in the text of a child element */
    XML_KIND_FLAG,    /* bool: a child element is there */
    XML_KIND_NEST,    /* child element whose fields are in the same struct */
    XML_KIND_PTR,     /* child element with a struct of its own, allocated */
    XML_KIND_LIST,    /* any number of child elements: XmlList of allocated structs */
    XML_KIND_SWITCH,  /* enum in the attribute "state" of a child; 1 when it has none */
    XML_KIND_RAW,     /* child element kept as text: char * */
    XML_KIND_OWNED,   /* char * that a hook reads and writes */
    XML_KIND_INLINE,  /* another table for the same element, its struct at .offset */
    XML_KIND_VARIANT, /* one of several tables for the same element, by an enum read before it */
    XML_KIND_HOOK,    /* child element with functions of its own */
} XmlKind;

typedef enum XmlFieldFlags {
    XML_REQUIRED = 1 << 0,
    XML_ALWAYS = 1 << 1, /* write it even if unset */
    XML_LIVE = 1 << 2,   /* only running objects have it */
    XML_SECRET = 1 << 3, /* written on request only */
    XML_READ = 1 << 4,   /* another place to read a member from; not written here */
} XmlFieldFlags;

typedef struct XmlHook {
    bool (*parse)(XmlParse *parse, xmlNode *node, void *base, GError **error);
    void (*format)(XmlWriter *writer, const void *base, unsigned flags);
} XmlHook;

struct XmlField {
    XmlKind kind;
    unsigned flags; /* XmlFieldFlags */
    const char *name;
    size_t offset;
    const XmlScalar *scalar;
    const XmlEnum *names;            /* of xml_enum; of a variant's selector */
    unsigned width;                  /* hexadecimal digits, 0: decimal; RAW: level of indentation */
    uint64_t min, max;               /* of numbers; 0: the type's */
    const XmlField *fields;          /* NEST, PTR, LIST, INLINE */
    size_t size;                     /* PTR, LIST: of the struct */
    const XmlField *const *variants; /* VARIANT: by value; NULL entries have no fields */
    unsigned n_variants;
    const XmlHook *hook;
    ConfErrorCode missing; /* code when a required one is not there; 0: CONF_ERROR_XML */
    ConfErrorCode invalid; /* code for a wrong value; 0: CONF_ERROR_XML */
    size_t present;        /* NEST: offset + 1 of a bool that says whether the element is there */
};

#define XML_ATTR(type, member, name_, scalar_, ...)                                                \
    {                                                                                              \
        .kind = XML_KIND_ATTR, .name = (name_), .offset = offsetof(type, member),                  \
        .scalar = &(scalar_), ##__VA_ARGS__                                                        \
    }
#define XML_ATTR_STR(type, member, name_, ...)                                                     \
    XML_ATTR(type, member, name_, xml_lenient, ##__VA_ARGS__)
#define XML_ATTR_ENUM(type, member, name_, names_, ...)                                            \
    XML_ATTR(type, member, name_, xml_enum, .names = &(names_), ##__VA_ARGS__)
#define XML_TEXT(type, member, scalar_, ...)                                                       \
    {                                                                                              \
        .kind = XML_KIND_TEXT, .offset = offsetof(type, member), .scalar = &(scalar_),             \
        ##__VA_ARGS__                                                                              \
    }
#define XML_LEAF(type, member, name_, scalar_, ...)                                                \
    {                                                                                              \
        .kind = XML_KIND_LEAF, .name = (name_), .offset = offsetof(type, member),                  \
        .scalar = &(scalar_), ##__VA_ARGS__                                                        \
    }
#define XML_LEAF_ENUM(type, member, name_, names_, ...)                                            \
    XML_LEAF(type, member, name_, xml_enum, .names = &(names_), ##__VA_ARGS__)
#define XML_FLAG(type, member, name_, ...)                                                         \
    {                                                                                              \
        .kind = XML_KIND_FLAG, .name = (name_), .offset = offsetof(type, member), ##__VA_ARGS__    \
    }
#define XML_NEST(name_, fields_, ...)                                                              \
    {                                                                                              \
        .kind = XML_KIND_NEST, .name = (name_), .fields = (fields_), ##__VA_ARGS__                 \
    }
/* As XML_NEST with the fields' struct being @member. */
#define XML_NEST_AT(type, member, name_, fields_, ...)                                             \
    {                                                                                              \
        .kind = XML_KIND_NEST, .name = (name_), .offset = offsetof(type, member),                  \
        .fields = (fields_), ##__VA_ARGS__                                                         \
    }
#define XML_PTR(type, member, name_, item, fields_, ...)                                           \
    {                                                                                              \
        .kind = XML_KIND_PTR, .name = (name_), .offset = offsetof(type, member),                   \
        .fields = (fields_), .size = sizeof(item), ##__VA_ARGS__                                   \
    }
#define XML_LIST(type, member, name_, item, fields_, ...)                                          \
    {                                                                                              \
        .kind = XML_KIND_LIST, .name = (name_), .offset = offsetof(type, member),                  \
        .fields = (fields_), .size = sizeof(item), ##__VA_ARGS__                                   \
    }
#define XML_RAW(type, member, name_, ...)                                                          \
    {                                                                                              \
        .kind = XML_KIND_RAW, .name = (name_), .offset = offsetof(type, member), ##__VA_ARGS__     \
    }
#define XML_INLINE(type, member, fields_)                                                          \
    {                                                                                              \
        .kind = XML_KIND_INLINE, .offset = offsetof(type, member), .fields = (fields_)             \
    }
#define XML_INCLUDE(fields_)                                                                       \
    {                                                                                              \
        .kind = XML_KIND_INLINE, .fields = (fields_)                                               \
    }
#define XML_VARIANT(type, selector, tables)                                                        \
    {                                                                                              \
        .kind = XML_KIND_VARIANT, .offset = offsetof(type, selector), .variants = (tables),        \
        .n_variants = G_N_ELEMENTS(tables)                                                         \
    }
#define XML_SWITCH(type, member, name_, names_)                                                    \
    {                                                                                              \
        .kind = XML_KIND_SWITCH, .name = (name_), .offset = offsetof(type, member),                \
        .names = &(names_)                                                                         \
    }
#define XML_OWNED(type, member)                                                                    \
    {                                                                                              \
        .kind = XML_KIND_OWNED, .offset = offsetof(type, member)                                   \
    }
/* For XML_NEST: the bool that is set when the element is there. */
#define XML_PRESENT(type, member) .present = offsetof(type, member) + 1
#define XML_HOOK(name_, hook_)                                                                     \
    {                                                                                              \
        .kind = XML_KIND_HOOK, .name = (name_), .hook = &(hook_)                                   \
    }
#define XML_END                                                                                    \
    {                                                                                              \
        .kind = XML_KIND_END                                                                       \
    }

/**
 * xml_map_parse - fill @base from an element
 * @base: zero bytes; on failure partly filled, to be given to xml_map_clear()
 *
 * Unknown elements and attributes: a warning, or CONF_ERROR_INVALID_SCHEMA under XML_PARSE_STRICT.
 */
bool xml_map_parse(XmlParse *parse, const XmlField *fields, xmlNode *node, void *base,
                   GError **error);

/* Writes attributes and content into the element that is begun. @flags: XmlFormatFlags. */
void xml_map_format(XmlWriter *writer, const XmlField *fields, const void *base, unsigned flags);

/* Frees all that @base owns and zeroes it. */
void xml_map_clear(const XmlField *fields, void *base, size_t size);

/* A deep copy of @src into @dst (uninitialised), both of @size bytes. */
void xml_map_copy(const XmlField *fields, void *dst, const void *src, size_t size);

#endif
