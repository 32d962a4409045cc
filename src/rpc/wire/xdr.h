/* XDR (RFC 4506) to and from C structs, driven by descriptions that scripts/gen-rpc.py makes.
 *
 * What is read is hostile: every length is checked against its limit and against the bytes that
 * are there before anything is allocated, and the depth is that of the types, never the input's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_WIRE_XDR_H
#define LODGE_RPC_WIRE_XDR_H

#include "rpc/wire/arena.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define XDR_STRING_MAX 4194304u

typedef enum XdrKind {
    XDR_INT,         /* int32_t */
    XDR_UINT,        /* uint32_t */
    XDR_HYPER,       /* int64_t */
    XDR_UHYPER,      /* uint64_t */
    XDR_DOUBLE,      /* double */
    XDR_CHAR,        /* char, 4 bytes on the wire */
    XDR_UCHAR,       /* uint8_t, 4 bytes on the wire */
    XDR_USHORT,      /* uint16_t, 4 bytes on the wire */
    XDR_UUID,        /* Uuid */
    XDR_STRING,      /* char * */
    XDR_BYTES,       /* uint8_t * with a count; one byte each, padded */
    XDR_STRUCT,      /* the struct itself */
    XDR_TYPED_PARAM, /* TypedParam */
} XdrKind;

typedef enum XdrShape {
    XDR_ONE,
    XDR_OPTIONAL, /* a pointer; NULL is absent */
    XDR_ARRAY,    /* a pointer and a uint32_t count */
    XDR_FIXED,    /* an array of @max inside the struct */
} XdrShape;

typedef struct XdrStruct XdrStruct;

typedef struct XdrField {
    const char *name;
    XdrKind kind;
    XdrShape shape;
    uint32_t max;          /* items (XDR_ARRAY, XDR_FIXED) or bytes (XDR_STRING, XDR_BYTES) */
    uint16_t offset;       /* of the member */
    uint16_t count_offset; /* of the count, XDR_ARRAY and XDR_BYTES */
    const XdrStruct *type; /* XDR_STRUCT */
} XdrField;

struct XdrStruct {
    const char *name;
    uint32_t size;     /* of the C struct */
    uint32_t min_wire; /* fewest bytes it takes in a message */
    uint32_t n_fields;
    const XdrField *fields;
};

typedef enum TypedParamType {
    TYPED_PARAM_INT = 1,
    TYPED_PARAM_UINT,
    TYPED_PARAM_LLONG,
    TYPED_PARAM_ULLONG,
    TYPED_PARAM_DOUBLE,
    TYPED_PARAM_BOOLEAN,
    TYPED_PARAM_STRING,
} TypedParamType;

/* Strings are borrowed, as in every struct that is encoded. */
typedef struct TypedParam {
    const char *field;
    TypedParamType type;
    union {
        int32_t i;
        uint32_t ui;
        int64_t l;
        uint64_t ul;
        double d;
        int32_t b;
        const char *s;
    } value;
} TypedParam;

typedef struct XdrReader {
    const uint8_t *at;
    const uint8_t *end;
} XdrReader;

/* Grows up to @limit bytes; once @failed, nothing more is written. */
typedef struct XdrWriter {
    uint8_t *data; /* from the C heap */
    size_t size;
    size_t capacity;
    size_t limit;
    bool failed;
} XdrWriter;

/**
 * xdr_decode - read one struct
 * @type: NULL reads nothing
 * @out:  @type->size bytes; pointers in it belong to @arena. Undefined after a failure
 *
 * Returns: false with @error (LODGE_ERROR_PROTOCOL, naming the member) when the bytes are too few,
 * a length is past its limit, or a string holds a zero byte.
 */
bool xdr_decode(XdrReader *reader, Arena *arena, const XdrStruct *type, void *out, GError **error);

/**
 * xdr_encode - append one struct
 * @type: NULL writes nothing
 *
 * A string that is NULL where one must be is written as an empty one. Returns: false with @error
 * (LODGE_ERROR_LIMIT, naming the member) when something is past its limit.
 */
bool xdr_encode(XdrWriter *writer, const XdrStruct *type, const void *in, GError **error);

void xdr_writer_init(XdrWriter *writer, size_t limit);
void xdr_writer_clear(XdrWriter *writer);
/* @size more bytes to fill, or NULL when @failed. */
uint8_t *xdr_writer_reserve(XdrWriter *writer, size_t size);
void xdr_put_u32(XdrWriter *writer, uint32_t value);
/* A string, and a typed parameter; what is longer than the protocol's limit makes @failed. */
void xdr_put_text(XdrWriter *writer, const char *text);
void xdr_put_param(XdrWriter *writer, const TypedParam *param);
void xdr_put_raw(XdrWriter *writer, const void *data, size_t size);
/* Overwrites the word at @offset, which was written before. */
void xdr_patch_u32(XdrWriter *writer, size_t offset, uint32_t value);
bool xdr_get_u32(XdrReader *reader, uint32_t *out_value) LODGE_MUST_CHECK;

#endif
