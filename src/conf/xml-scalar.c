/* Scalars: how values are read from attributes and texts and written back.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpuset.h"
#include "conf/xml-map.h"
#include "gbase/strutil.h"
#include "gbase/uuid.h"

#include <errno.h>
#include <string.h>

static bool refuse(const XmlField *field, const xmlNode *node, const char *text, GError **error)
{
    ConfErrorCode code = field->invalid != 0 ? field->invalid : CONF_ERROR_XML;
    if (field->kind == XML_KIND_ATTR) {
        xml_error(node, code, error, "invalid value '%.64s' of attribute '%s'", text, field->name);
    } else {
        xml_error(node, code, error, "invalid value '%.64s'", text);
    }
    return false;
}

/* --- strings --- */

static bool string_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                         GError **error)
{
    char **slot = out;
    g_free(*slot);
    *slot = g_strdup(text);
    return true;
}

static bool nonempty_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                           GError **error)
{
    return *text != '\0' ? string_parse(field, node, text, out, error)
                         : refuse(field, node, text, error);
}

static bool lenient_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                          GError **error)
{
    return *text == '\0' || string_parse(field, node, text, out, error);
}

static bool path_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                       GError **error)
{
    if (*text != '/') {
        xml_error(node, CONF_ERROR_XML, error, "'%.64s' is not an absolute path", text);
        return false;
    }
    return string_parse(field, node, text, out, error);
}

static bool cpus_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                       GError **error)
{
    CpuSet set;
    if (!cpuset_parse(text, &set)) {
        xml_error(node, CONF_ERROR_INVALID_ARG, error, "'%.64s' is not a set of CPUs or nodes",
                  text);
        return false;
    }
    char **slot = out;
    g_free(*slot);
    *slot = cpuset_format(&set);
    return true;
}

static bool string_is_set(const XmlField *field, const void *value)
{
    return *(char *const *)value != NULL;
}

static void string_format(const XmlField *field, const void *value, GString *out)
{
    const char *text = *(char *const *)value;
    g_string_append(out, text != NULL ? text : "");
}

const XmlScalar xml_string = { true, string_parse, string_is_set, string_format };
const XmlScalar xml_nonempty = { true, nonempty_parse, string_is_set, string_format };
const XmlScalar xml_lenient = { true, lenient_parse, string_is_set, string_format };
const XmlScalar xml_path = { true, path_parse, string_is_set, string_format };
const XmlScalar xml_cpus = { true, cpus_parse, string_is_set, string_format };

/* --- enums --- */

static bool enum_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                       GError **error)
{
    int value = xml_enum_find(field->names, text);
    if (value < 0) {
        return refuse(field, node, text, error);
    }
    memcpy(out, &value, sizeof(value));
    return true;
}

static bool enum_is_set(const XmlField *field, const void *value)
{
    int number;
    memcpy(&number, value, sizeof(number));
    return xml_enum_name(field->names, number) != NULL;
}

static void enum_format(const XmlField *field, const void *value, GString *out)
{
    int number;
    memcpy(&number, value, sizeof(number));
    const char *name = xml_enum_name(field->names, number);
    g_string_append(out, name != NULL ? name : "");
}

const XmlScalar xml_enum = { false, enum_parse, enum_is_set, enum_format };

/* --- numbers --- */

/* Decimal, or with 0x; a leading zero does not mean octal except where hexadecimal is usual. */
static bool parse_number(const XmlField *field, const xmlNode *node, const char *text,
                         uint64_t type_max, uint64_t *out_number, GError **error)
{
    while (g_ascii_isspace(*text)) {
        text++;
    }
    char *end;
    errno = 0;
    bool is_negative = *text == '-';
    guint64 number = g_ascii_strtoull(text, &end, field->width > 0 ? 0 : 10);
    if (end != text && field->width == 0 && number == 0 && (*end == 'x' || *end == 'X')) {
        number = g_ascii_strtoull(text, &end, 16);
    }
    while (end != text && g_ascii_isspace(*end)) {
        end++;
    }
    uint64_t max = field->max != 0 ? field->max : type_max;
    if (end == text || *end != '\0' || errno != 0 || is_negative || number > max ||
        number < field->min) {
        return refuse(field, node, text, error);
    }
    *out_number = number;
    return true;
}

static void format_number(const XmlField *field, uint64_t number, GString *out)
{
    if (field->width > 0) {
        g_string_append_printf(out, "0x%0*" G_GINT64_MODIFIER "x", (int)field->width, number);
    } else {
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, number);
    }
}

static bool u32_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    uint64_t number;
    if (!parse_number(field, node, text, UINT32_MAX, &number, error)) {
        return false;
    }
    *(uint32_t *)out = (uint32_t)number;
    return true;
}

static bool u32_is_set(const XmlField *field, const void *value)
{
    return *(const uint32_t *)value != 0;
}

static void u32_format(const XmlField *field, const void *value, GString *out)
{
    format_number(field, *(const uint32_t *)value, out);
}

static bool ordinal_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                          GError **error)
{
    if (!u32_parse(field, node, text, out, error)) {
        return false;
    }
    if (*(uint32_t *)out == 0) {
        return refuse(field, node, text, error);
    }
    return true;
}

static bool u64_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    return parse_number(field, node, text, UINT64_MAX, out, error);
}

static bool u64_is_set(const XmlField *field, const void *value)
{
    return *(const uint64_t *)value != 0;
}

static void u64_format(const XmlField *field, const void *value, GString *out)
{
    format_number(field, *(const uint64_t *)value, out);
}

static bool i64_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    char *end;
    errno = 0;
    gint64 number = g_ascii_strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0) {
        return refuse(field, node, text, error);
    }
    *(int64_t *)out = number;
    return true;
}

static void i64_format(const XmlField *field, const void *value, GString *out)
{
    g_string_append_printf(out, "%" G_GINT64_FORMAT, *(const int64_t *)value);
}

static bool opt_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    OptUint *number = out;
    number->set = parse_number(field, node, text, UINT64_MAX, &number->value, error);
    return number->set;
}

static bool opt_is_set(const XmlField *field, const void *value)
{
    return ((const OptUint *)value)->set;
}

static void opt_format(const XmlField *field, const void *value, GString *out)
{
    format_number(field, ((const OptUint *)value)->value, out);
}

const XmlScalar xml_u32 = { false, u32_parse, u32_is_set, u32_format };
const XmlScalar xml_ordinal = { false, ordinal_parse, u32_is_set, u32_format };
const XmlScalar xml_u64 = { false, u64_parse, u64_is_set, u64_format };
const XmlScalar xml_i64 = { false, i64_parse, u64_is_set, i64_format };
const XmlScalar xml_opt = { false, opt_parse, opt_is_set, opt_format };

/* --- amounts with a unit --- */

/* Bytes that @unit counts: "b"/"bytes", "k"/"KiB" and so on in powers of 1024, "KB" in powers of
 * 1000. 0: no unit. */
static uint64_t unit_bytes(const char *unit)
{
    if (g_ascii_strcasecmp(unit, "b") == 0 || g_ascii_strcasecmp(unit, "byte") == 0 ||
        g_ascii_strcasecmp(unit, "bytes") == 0) {
        return 1;
    }
    uint64_t base = unit[0] == '\0' || unit[1] == '\0' || g_ascii_strcasecmp(unit + 1, "ib") == 0
                        ? 1024
                    : g_ascii_strcasecmp(unit + 1, "b") == 0 ? 1000
                                                             : 0;
    const char *const letters = "kmgtpe";
    const char *letter = strchr(letters, g_ascii_tolower(unit[0]));
    if (base == 0 || letter == NULL || *letter == '\0') {
        return 0;
    }
    uint64_t bytes = 1;
    for (const char *c = letters; c <= letter; c++) {
        bytes *= base;
    }
    return bytes;
}

static bool parse_amount(const XmlField *field, const xmlNode *node, const char *text,
                         const char *default_unit, uint64_t *out_bytes, GError **error)
{
    uint64_t number;
    if (!parse_number(field, node, text, UINT64_MAX, &number, error)) {
        return false;
    }
    g_autofree char *unit = xml_attr(node, "unit");
    uint64_t scale = unit_bytes(unit != NULL ? unit : default_unit);
    if (scale == 0) {
        xml_error(node, CONF_ERROR_INVALID_ARG, error, "unknown unit '%.64s'", unit);
        return false;
    }
    if (__builtin_mul_overflow(number, scale, out_bytes) || *out_bytes > INT64_MAX) {
        xml_error(node, CONF_ERROR_INTERNAL, error, "value '%.64s' is too large", text);
        return false;
    }
    return true;
}

static bool kib_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    uint64_t bytes;
    if (!parse_amount(field, node, text, "KiB", &bytes, error)) {
        return false;
    }
    *(uint64_t *)out = bytes / 1024 + (bytes % 1024 != 0);
    return true;
}

static bool bytes_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                        GError **error)
{
    return parse_amount(field, node, text, "bytes", out, error);
}

const XmlScalar xml_kib = { false, kib_parse, u64_is_set, u64_format };
const XmlScalar xml_bytes = { false, bytes_parse, u64_is_set, u64_format };

/* --- identities --- */

static bool uuid_scalar_parse(const XmlField *field, const xmlNode *node, const char *text,
                              void *out, GError **error)
{
    if (!uuid_parse(text, out, NULL)) {
        xml_error(node, CONF_ERROR_INTERNAL, error, "'%.64s' is not a UUID", text);
        return false;
    }
    return true;
}

static bool uuid_is_set(const XmlField *field, const void *value)
{
    static const Uuid zero;
    return memcmp(value, &zero, sizeof(zero)) != 0;
}

static void uuid_scalar_format(const XmlField *field, const void *value, GString *out)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(value, text);
    g_string_append(out, text);
}

const XmlScalar xml_uuid = { false, uuid_scalar_parse, uuid_is_set, uuid_scalar_format };

/* One or two hexadecimal digits for each byte, colons between. */
static bool mac_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    MacAddress mac = { .set = true };
    const char *c = text;
    for (unsigned i = 0; i < sizeof(mac.byte); i++) {
        if (!g_ascii_isxdigit(c[0])) {
            return refuse(field, node, text, error);
        }
        unsigned value = (unsigned)g_ascii_xdigit_value(*c++);
        if (g_ascii_isxdigit(*c)) {
            value = value * 16 + (unsigned)g_ascii_xdigit_value(*c++);
        }
        mac.byte[i] = (uint8_t)value;
        if (*c++ != (i + 1 < sizeof(mac.byte) ? ':' : '\0')) {
            return refuse(field, node, text, error);
        }
    }
    *(MacAddress *)out = mac;
    return true;
}

static bool mac_is_set(const XmlField *field, const void *value)
{
    return ((const MacAddress *)value)->set;
}

static void mac_format(const XmlField *field, const void *value, GString *out)
{
    const uint8_t *b = ((const MacAddress *)value)->byte;
    g_string_append_printf(out, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
                           b[5]);
}

const XmlScalar xml_mac = { false, mac_parse, mac_is_set, mac_format };
