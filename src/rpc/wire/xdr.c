/* The codec: walks a struct's description and the bytes together.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/wire/xdr.h"

#include "gbase/error.h"
#include "gbase/uuid.h"

#include <stdlib.h>
#include <string.h>

#define WRITER_FIRST_BYTES 256u

/* --- reading --- */

static bool take(XdrReader *reader, size_t size, const uint8_t **out_bytes)
{
    if ((size_t)(reader->end - reader->at) < size) {
        return false;
    }
    *out_bytes = reader->at;
    reader->at += size;
    return true;
}

bool xdr_get_u32(XdrReader *reader, uint32_t *out_value)
{
    const uint8_t *bytes;
    if (!take(reader, 4, &bytes)) {
        return false;
    }
    uint32_t value;
    memcpy(&value, bytes, 4);
    *out_value = GUINT32_FROM_BE(value);
    return true;
}

static bool get_u64(XdrReader *reader, uint64_t *out_value)
{
    const uint8_t *bytes;
    if (!take(reader, 8, &bytes)) {
        return false;
    }
    uint64_t value;
    memcpy(&value, bytes, 8);
    *out_value = GUINT64_FROM_BE(value);
    return true;
}

static size_t padded(uint32_t size)
{
    return ((size_t)size + 3) & ~(size_t)3;
}

/* Counted bytes, with the zeros that fill the last four. */
static const char *get_counted(XdrReader *reader, uint32_t max, uint32_t *out_size,
                               const uint8_t **out_bytes)
{
    uint32_t size;
    if (!xdr_get_u32(reader, &size)) {
        return "ends early";
    }
    if (size > max) {
        return "is longer than allowed";
    }
    if (!take(reader, padded(size), out_bytes)) {
        return "ends early";
    }
    *out_size = size;
    return NULL;
}

static const char *get_string(XdrReader *reader, Arena *arena, uint32_t max, const char **out)
{
    uint32_t size;
    const uint8_t *bytes;
    const char *problem = get_counted(reader, max, &size, &bytes);
    if (problem) {
        return problem;
    }
    if (memchr(bytes, 0, size)) {
        return "holds a zero byte";
    }
    char *text = arena_alloc(arena, (size_t)size + 1);
    if (!text) {
        return "needs too much memory";
    }
    memcpy(text, bytes, size);
    *out = text;
    return NULL;
}

static const char *get_typed_param(XdrReader *reader, Arena *arena, TypedParam *out)
{
    const char *problem = get_string(reader, arena, XDR_STRING_MAX, &out->field);
    uint32_t type;
    if (problem) {
        return problem;
    }
    if (!xdr_get_u32(reader, &type)) {
        return "ends early";
    }
    out->type = type;
    bool ok;
    uint64_t bits;
    switch (out->type) {
    case TYPED_PARAM_INT:
    case TYPED_PARAM_UINT:
    case TYPED_PARAM_BOOLEAN:
        ok = xdr_get_u32(reader, &out->value.ui);
        break;
    case TYPED_PARAM_LLONG:
    case TYPED_PARAM_ULLONG:
        ok = get_u64(reader, &out->value.ul);
        break;
    case TYPED_PARAM_DOUBLE:
        ok = get_u64(reader, &bits);
        if (ok) {
            memcpy(&out->value.d, &bits, sizeof(bits));
        }
        break;
    case TYPED_PARAM_STRING:
        return get_string(reader, arena, XDR_STRING_MAX, &out->value.s);
    default:
        return "has an unknown type";
    }
    return ok ? NULL : "ends early";
}

static const char *get_struct(XdrReader *reader, Arena *arena, const XdrStruct *type, void *out,
                              const char **out_where);

/* One value. Depth: types hold each other at most six deep (scripts/gen-rpc.py). */
static const char *get_value(XdrReader *reader, Arena *arena, const XdrField *field, void *out,
                             const char **out_where)
{
    uint32_t word = 0;
    const uint8_t *bytes;
    switch (field->kind) {
    case XDR_INT:
    case XDR_UINT:
        return xdr_get_u32(reader, out) ? NULL : "ends early";
    case XDR_HYPER:
    case XDR_UHYPER:
    case XDR_DOUBLE:
        return get_u64(reader, out) ? NULL : "ends early";
    case XDR_CHAR:
    case XDR_UCHAR:
    case XDR_USHORT:
        if (!xdr_get_u32(reader, &word)) {
            return "ends early";
        }
        if (field->kind == XDR_USHORT) {
            *(uint16_t *)out = (uint16_t)word;
        } else {
            *(uint8_t *)out = (uint8_t)word;
        }
        return NULL;
    case XDR_UUID:
        if (!take(reader, UUID_BYTES, &bytes)) {
            return "ends early";
        }
        memcpy(out, bytes, UUID_BYTES);
        return NULL;
    case XDR_STRING:
        return get_string(reader, arena, field->shape == XDR_ARRAY ? XDR_STRING_MAX : field->max,
                          out);
    case XDR_TYPED_PARAM:
        return get_typed_param(reader, arena, out);
    case XDR_STRUCT:
        return get_struct(reader, arena, field->type, out, out_where);
    case XDR_BYTES:
        break;
    }
    return "cannot be read";
}

static size_t value_size(const XdrField *field)
{
    switch (field->kind) {
    case XDR_INT:
    case XDR_UINT:
        return 4;
    case XDR_HYPER:
    case XDR_UHYPER:
    case XDR_DOUBLE:
        return 8;
    case XDR_CHAR:
    case XDR_UCHAR:
        return 1;
    case XDR_USHORT:
        return 2;
    case XDR_UUID:
        return UUID_BYTES;
    case XDR_STRING:
        return sizeof(char *);
    case XDR_TYPED_PARAM:
        return sizeof(TypedParam);
    case XDR_STRUCT:
        return field->type->size;
    case XDR_BYTES:
        break;
    }
    return 0;
}

/* Fewest bytes of one value in a message: bounds what a count can make the arena hold. */
static size_t value_min_wire(const XdrField *field)
{
    switch (field->kind) {
    case XDR_HYPER:
    case XDR_UHYPER:
    case XDR_DOUBLE:
        return 8;
    case XDR_UUID:
        return UUID_BYTES;
    case XDR_TYPED_PARAM:
        return 12;
    case XDR_STRUCT:
        return MAX(field->type->min_wire, 4);
    default:
        return 4;
    }
}

static const char *get_array(XdrReader *reader, Arena *arena, const XdrField *field, char *out,
                             const char **out_where)
{
    uint32_t count;
    if (!xdr_get_u32(reader, &count)) {
        return "ends early";
    }
    if (count > field->max) {
        return "has more items than allowed";
    }
    if (count > (size_t)(reader->end - reader->at) / value_min_wire(field)) {
        return "ends early";
    }
    size_t size = value_size(field);
    char *items = NULL;
    if (count) {
        items = arena_alloc_array(arena, count, size);
        if (!items) {
            return "needs too much memory";
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *problem = get_value(reader, arena, field, items + i * size, out_where);
        if (problem) {
            return problem;
        }
    }
    *(void **)(out + field->offset) = items;
    *(uint32_t *)(out + field->count_offset) = count;
    return NULL;
}

static const char *get_optional(XdrReader *reader, Arena *arena, const XdrField *field, void *slot,
                                const char **out_where)
{
    uint32_t present;
    if (!xdr_get_u32(reader, &present)) {
        return "ends early";
    }
    if (present > 1) {
        return "is neither there nor absent";
    }
    *(void **)slot = NULL;
    if (!present) {
        return NULL;
    }
    if (field->kind == XDR_STRING) {
        return get_value(reader, arena, field, slot, out_where);
    }
    void *value = arena_alloc(arena, value_size(field));
    if (!value) {
        return "needs too much memory";
    }
    *(void **)slot = value;
    return get_value(reader, arena, field, value, out_where);
}

static const char *get_field(XdrReader *reader, Arena *arena, const XdrField *field, char *out,
                             const char **out_where)
{
    const char *problem = NULL;
    if (field->kind == XDR_BYTES) {
        const uint8_t *bytes;
        uint32_t size;
        problem = get_counted(reader, field->max, &size, &bytes);
        if (!problem) {
            uint8_t *copy = arena_alloc(arena, size);
            if (!copy) {
                return "needs too much memory";
            }
            *(void **)(out + field->offset) = memcpy(copy, bytes, size);
            *(uint32_t *)(out + field->count_offset) = size;
        }
        return problem;
    }
    switch (field->shape) {
    case XDR_ARRAY:
        return get_array(reader, arena, field, out, out_where);
    case XDR_OPTIONAL:
        return get_optional(reader, arena, field, out + field->offset, out_where);
    case XDR_FIXED:
        for (uint32_t i = 0; i < field->max && !problem; i++) {
            problem = get_value(reader, arena, field, out + field->offset + i * value_size(field),
                                out_where);
        }
        return problem;
    case XDR_ONE:
        break;
    }
    return get_value(reader, arena, field, out + field->offset, out_where);
}

static const char *get_struct(XdrReader *reader, Arena *arena, const XdrStruct *type, void *out,
                              const char **out_where)
{
    for (uint32_t i = 0; i < type->n_fields; i++) {
        const char *problem = get_field(reader, arena, &type->fields[i], out, out_where);
        if (problem) {
            if (!*out_where) {
                *out_where = type->fields[i].name;
            }
            return problem;
        }
    }
    return NULL;
}

bool xdr_decode(XdrReader *reader, Arena *arena, const XdrStruct *type, void *out, GError **error)
{
    const char *where = NULL;
    const char *problem = type ? get_struct(reader, arena, type, out, &where) : NULL;
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "%s: '%s' %s", type->name, where,
                    problem);
        return false;
    }
    return true;
}

/* --- writing --- */

void xdr_writer_init(XdrWriter *writer, size_t limit)
{
    *writer = (XdrWriter){ .limit = limit };
}

void xdr_writer_clear(XdrWriter *writer)
{
    free(writer->data);
    xdr_writer_init(writer, writer->limit);
}

static bool writer_grow(XdrWriter *writer, size_t size)
{
    if (writer->failed || size > writer->limit || writer->size > writer->limit - size) {
        writer->failed = true;
        return false;
    }
    size_t capacity = MAX(writer->capacity * 2, WRITER_FIRST_BYTES);
    capacity = MAX(capacity, writer->size + size);
    uint8_t *data = realloc(writer->data, capacity);
    if (!data) {
        writer->failed = true;
        return false;
    }
    writer->data = data;
    writer->capacity = capacity;
    return true;
}

uint8_t *xdr_writer_reserve(XdrWriter *writer, size_t size)
{
    if (writer->failed || (writer->capacity - writer->size < size && !writer_grow(writer, size))) {
        return NULL;
    }
    uint8_t *at = writer->data + writer->size;
    writer->size += size;
    return at;
}

void xdr_put_u32(XdrWriter *writer, uint32_t value)
{
    uint8_t *at = xdr_writer_reserve(writer, 4);
    if (at) {
        value = GUINT32_TO_BE(value);
        memcpy(at, &value, 4);
    }
}

static void put_u64(XdrWriter *writer, uint64_t value)
{
    uint8_t *at = xdr_writer_reserve(writer, 8);
    if (at) {
        value = GUINT64_TO_BE(value);
        memcpy(at, &value, 8);
    }
}

static const char *put_counted(XdrWriter *writer, const void *bytes, size_t size, uint32_t max)
{
    if (size > max) {
        return "is longer than the protocol allows";
    }
    xdr_put_u32(writer, (uint32_t)size);
    uint8_t *at = xdr_writer_reserve(writer, padded((uint32_t)size));
    if (at && size) {
        memcpy(at, bytes, size);
        memset(at + size, 0, padded((uint32_t)size) - size);
    }
    return NULL;
}

static const char *put_string(XdrWriter *writer, const char *text, uint32_t max)
{
    return put_counted(writer, text, text ? strlen(text) : 0, max);
}

static const char *put_typed_param(XdrWriter *writer, const TypedParam *param)
{
    const char *problem = put_string(writer, param->field, XDR_STRING_MAX);
    uint64_t bits;
    if (problem) {
        return problem;
    }
    xdr_put_u32(writer, param->type);
    switch (param->type) {
    case TYPED_PARAM_INT:
    case TYPED_PARAM_UINT:
    case TYPED_PARAM_BOOLEAN:
        xdr_put_u32(writer, param->value.ui);
        return NULL;
    case TYPED_PARAM_LLONG:
    case TYPED_PARAM_ULLONG:
        put_u64(writer, param->value.ul);
        return NULL;
    case TYPED_PARAM_DOUBLE:
        memcpy(&bits, &param->value.d, sizeof(bits));
        put_u64(writer, bits);
        return NULL;
    case TYPED_PARAM_STRING:
        return put_string(writer, param->value.s, XDR_STRING_MAX);
    }
    return "has an unknown type";
}

static const char *put_struct(XdrWriter *writer, const XdrStruct *type, const void *in,
                              const char **out_where);

static const char *put_value(XdrWriter *writer, const XdrField *field, const void *in,
                             const char **out_where)
{
    uint8_t *at;
    switch (field->kind) {
    case XDR_INT:
    case XDR_UINT:
        xdr_put_u32(writer, *(const uint32_t *)in);
        return NULL;
    case XDR_HYPER:
    case XDR_UHYPER:
    case XDR_DOUBLE:
        put_u64(writer, *(const uint64_t *)in);
        return NULL;
    case XDR_CHAR:
        xdr_put_u32(writer, (uint32_t)(int32_t) * (const signed char *)in);
        return NULL;
    case XDR_UCHAR:
        xdr_put_u32(writer, *(const uint8_t *)in);
        return NULL;
    case XDR_USHORT:
        xdr_put_u32(writer, *(const uint16_t *)in);
        return NULL;
    case XDR_UUID:
        at = xdr_writer_reserve(writer, UUID_BYTES);
        if (at) {
            memcpy(at, in, UUID_BYTES);
        }
        return NULL;
    case XDR_STRING:
        return put_string(writer, *(const char *const *)in,
                          field->shape == XDR_ARRAY ? XDR_STRING_MAX : field->max);
    case XDR_TYPED_PARAM:
        return put_typed_param(writer, in);
    case XDR_STRUCT:
        return put_struct(writer, field->type, in, out_where);
    case XDR_BYTES:
        break;
    }
    return "cannot be written";
}

static const char *put_array(XdrWriter *writer, const XdrField *field, const char *in,
                             const char **out_where)
{
    const char *items = *(const char *const *)(in + field->offset);
    uint32_t count = *(const uint32_t *)(in + field->count_offset);
    if (count > field->max) {
        return "has more items than the protocol allows";
    }
    xdr_put_u32(writer, count);
    size_t size = value_size(field);
    for (uint32_t i = 0; i < count && !writer->failed; i++) {
        const char *problem = put_value(writer, field, items + i * size, out_where);
        if (problem) {
            return problem;
        }
    }
    return NULL;
}

static const char *put_optional(XdrWriter *writer, const XdrField *field, const void *slot,
                                const char **out_where)
{
    const void *value = *(const void *const *)slot;
    xdr_put_u32(writer, value ? 1 : 0);
    if (!value) {
        return NULL;
    }
    return put_value(writer, field, field->kind == XDR_STRING ? slot : value, out_where);
}

static const char *put_field(XdrWriter *writer, const XdrField *field, const char *in,
                             const char **out_where)
{
    const char *problem = NULL;
    if (field->kind == XDR_BYTES) {
        return put_counted(writer, *(const void *const *)(in + field->offset),
                           *(const uint32_t *)(in + field->count_offset), field->max);
    }
    switch (field->shape) {
    case XDR_ARRAY:
        return put_array(writer, field, in, out_where);
    case XDR_OPTIONAL:
        return put_optional(writer, field, in + field->offset, out_where);
    case XDR_FIXED:
        for (uint32_t i = 0; i < field->max && !problem; i++) {
            problem =
                put_value(writer, field, in + field->offset + i * value_size(field), out_where);
        }
        return problem;
    case XDR_ONE:
        break;
    }
    return put_value(writer, field, in + field->offset, out_where);
}

static const char *put_struct(XdrWriter *writer, const XdrStruct *type, const void *in,
                              const char **out_where)
{
    for (uint32_t i = 0; i < type->n_fields; i++) {
        const char *problem = put_field(writer, &type->fields[i], in, out_where);
        if (problem) {
            if (!*out_where) {
                *out_where = type->fields[i].name;
            }
            return problem;
        }
    }
    return NULL;
}

void xdr_put_text(XdrWriter *writer, const char *text)
{
    if (put_string(writer, text, XDR_STRING_MAX)) {
        writer->failed = true;
    }
}

void xdr_put_param(XdrWriter *writer, const TypedParam *param)
{
    if (put_typed_param(writer, param)) {
        writer->failed = true;
    }
}

void xdr_put_raw(XdrWriter *writer, const void *data, size_t size)
{
    uint8_t *at = xdr_writer_reserve(writer, size);
    if (at) {
        memcpy(at, data, size);
    }
}

void xdr_patch_u32(XdrWriter *writer, size_t offset, uint32_t value)
{
    uint32_t be = GUINT32_TO_BE(value);
    if (!writer->failed) {
        memcpy(writer->data + offset, &be, sizeof(be));
    }
}

bool xdr_encode(XdrWriter *writer, const XdrStruct *type, const void *in, GError **error)
{
    const char *where = NULL;
    const char *problem = type ? put_struct(writer, type, in, &where) : NULL;
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "%s: '%s' %s", type->name, where,
                    problem);
        return false;
    }
    if (writer->failed) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "%s: the message is too long",
                    type ? type->name : "header");
        return false;
    }
    return true;
}
