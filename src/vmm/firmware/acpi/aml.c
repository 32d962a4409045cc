/* ACPI machine language.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/acpi/aml.h"

#include "base/endian.h"
#include "base/log.h"

#include <string.h>

#define DEPTH_MAX 16

#define OP_ZERO 0x00
#define OP_ONE 0x01
#define OP_NAME 0x08
#define OP_BYTE 0x0a
#define OP_WORD 0x0b
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_QWORD 0x0e
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_METHOD 0x14
#define PREFIX_DUAL 0x2e
#define PREFIX_MULTI 0x2f
#define PREFIX_EXTENDED 0x5b
#define OP_LOCAL0 0x60
#define OP_ARG0 0x68
#define OP_STORE 0x70
#define OP_AND 0x7b
#define OP_OR 0x7d
#define OP_NOTIFY 0x86
#define OP_CREATE_DWORD_FIELD 0x8a
#define OP_EQUAL 0x93
#define OP_IF 0xa0
#define OP_ELSE 0xa1
#define OP_RETURN 0xa4
/* after PREFIX_EXTENDED */
#define OP_REGION 0x80
#define OP_FIELD 0x81
#define OP_DEVICE 0x82

typedef enum BlockKind { BLOCK_PLAIN, BLOCK_PACKAGE, BLOCK_RESOURCES } BlockKind;

/* A block under construction: its length goes before what follows @start. */
typedef struct Block {
    BlockKind kind;
    guint start; /* of the contents in bytes */
    unsigned elements;
} Block;

struct Aml {
    GByteArray *bytes;
    Block block[DEPTH_MAX];
    unsigned depth;
};

Aml *aml_new(void)
{
    Aml *aml = g_new0(Aml, 1);
    aml->bytes = g_byte_array_new();
    return aml;
}

void aml_free(Aml *aml)
{
    if (aml) {
        g_byte_array_unref(aml->bytes);
        g_free(aml);
    }
}

const GByteArray *aml_bytes(const Aml *aml)
{
    lodge_assert(aml->depth == 0);
    return aml->bytes;
}

static void put(Aml *aml, const void *bytes, guint length)
{
    g_byte_array_append(aml->bytes, bytes, length);
}

static void put8(Aml *aml, uint8_t value)
{
    put(aml, &value, 1);
}

static void put16(Aml *aml, uint16_t value)
{
    uint8_t bytes[2];
    le16_put(bytes, value);
    put(aml, bytes, sizeof(bytes));
}

static void put32(Aml *aml, uint32_t value)
{
    uint8_t bytes[4];
    le32_put(bytes, value);
    put(aml, bytes, sizeof(bytes));
}

static void put64(Aml *aml, uint64_t value)
{
    uint8_t bytes[8];
    le64_put(bytes, value);
    put(aml, bytes, sizeof(bytes));
}

/* An object begins: elements of a package are counted. */
static void element(Aml *aml)
{
    if (aml->depth && aml->block[aml->depth - 1].kind == BLOCK_PACKAGE) {
        aml->block[aml->depth - 1].elements++;
    }
}

static void put_segment(Aml *aml, const char *name, size_t length)
{
    lodge_assert(length >= 1 && length <= 4);
    char segment[4] = { '_', '_', '_', '_' };
    memcpy(segment, name, length);
    put(aml, segment, sizeof(segment));
}

static void put_name(Aml *aml, const char *name)
{
    while (*name == '\\' || *name == '^') {
        put8(aml, (uint8_t)*name++);
    }
    unsigned segments = *name ? 1 : 0;
    for (const char *p = name; *p; p++) {
        segments += *p == '.';
    }
    if (segments == 0) {
        put8(aml, OP_ZERO); /* NullName */
    } else if (segments == 2) {
        put8(aml, PREFIX_DUAL);
    } else if (segments > 2) {
        put8(aml, PREFIX_MULTI);
        put8(aml, (uint8_t)segments);
    }
    while (*name) {
        size_t length = strcspn(name, ".");
        put_segment(aml, name, length);
        name += length + (name[length] == '.');
    }
}

/* PkgLength, which counts itself, for @length bytes that follow it. */
static unsigned encode_length(guint length, uint8_t *out)
{
    unsigned size = length + 1 < 1u << 6    ? 1
                    : length + 2 < 1u << 12 ? 2
                    : length + 3 < 1u << 20 ? 3
                                            : 4;
    guint total = length + size;
    lodge_assert(total < 1u << 28);
    if (size == 1) {
        out[0] = (uint8_t)total;
        return size;
    }
    out[0] = (uint8_t)((size - 1) << 6 | (total & 0x0f));
    for (unsigned i = 1; i < size; i++) {
        out[i] = (uint8_t)(total >> (4 + 8 * (i - 1)));
    }
    return size;
}

static void insert(Aml *aml, guint at, const uint8_t *bytes, guint length)
{
    guint old = aml->bytes->len;
    g_byte_array_set_size(aml->bytes, old + length);
    memmove(aml->bytes->data + at + length, aml->bytes->data + at, old - at);
    memcpy(aml->bytes->data + at, bytes, length);
}

static void begin(Aml *aml, BlockKind kind)
{
    lodge_assert(aml->depth < DEPTH_MAX);
    aml->block[aml->depth++] = (Block){ .kind = kind, .start = aml->bytes->len };
}

/* Small integers as the length of a buffer is written. */
static unsigned encode_integer(uint64_t value, uint8_t *out)
{
    if (value <= UINT8_MAX) {
        out[0] = OP_BYTE;
        out[1] = (uint8_t)value;
        return 2;
    }
    if (value <= UINT16_MAX) {
        out[0] = OP_WORD;
        le16_put(out + 1, (uint16_t)value);
        return 3;
    }
    if (value <= UINT32_MAX) {
        out[0] = OP_DWORD;
        le32_put(out + 1, (uint32_t)value);
        return 5;
    }
    out[0] = OP_QWORD;
    le64_put(out + 1, value);
    return 9;
}

void aml_end(Aml *aml)
{
    lodge_assert(aml->depth);
    Block *block = &aml->block[--aml->depth];
    if (block->kind == BLOCK_PACKAGE) {
        lodge_assert(block->elements <= UINT8_MAX);
        aml->bytes->data[block->start] = (uint8_t)block->elements;
    } else if (block->kind == BLOCK_RESOURCES) {
        put16(aml, 0x0079); /* end tag, checksum not used */
        uint8_t size[9];
        unsigned length = encode_integer(aml->bytes->len - block->start, size);
        insert(aml, block->start, size, length);
    }
    uint8_t length[4];
    unsigned size = encode_length(aml->bytes->len - block->start, length);
    insert(aml, block->start, length, size);
}

void aml_begin_scope(Aml *aml, const char *name)
{
    put8(aml, OP_SCOPE);
    begin(aml, BLOCK_PLAIN);
    put_name(aml, name);
}

void aml_begin_device(Aml *aml, const char *name)
{
    put8(aml, PREFIX_EXTENDED);
    put8(aml, OP_DEVICE);
    begin(aml, BLOCK_PLAIN);
    put_name(aml, name);
}

void aml_begin_method(Aml *aml, const char *name, unsigned arguments)
{
    lodge_assert(arguments <= 7);
    put8(aml, OP_METHOD);
    begin(aml, BLOCK_PLAIN);
    put_name(aml, name);
    put8(aml, (uint8_t)arguments);
}

void aml_begin_if(Aml *aml)
{
    put8(aml, OP_IF);
    begin(aml, BLOCK_PLAIN);
}

void aml_begin_else(Aml *aml)
{
    put8(aml, OP_ELSE);
    begin(aml, BLOCK_PLAIN);
}

void aml_begin_package(Aml *aml)
{
    element(aml);
    put8(aml, OP_PACKAGE);
    begin(aml, BLOCK_PACKAGE);
    put8(aml, 0); /* number of elements, filled in at the end */
}

void aml_begin_resources(Aml *aml)
{
    element(aml);
    put8(aml, OP_BUFFER);
    begin(aml, BLOCK_RESOURCES);
}

void aml_integer(Aml *aml, uint64_t value)
{
    element(aml);
    if (value <= 1) {
        put8(aml, value ? OP_ONE : OP_ZERO);
        return;
    }
    uint8_t bytes[9];
    put(aml, bytes, encode_integer(value, bytes));
}

void aml_string(Aml *aml, const char *text)
{
    element(aml);
    put8(aml, OP_STRING);
    put(aml, text, (guint)strlen(text) + 1);
}

void aml_buffer(Aml *aml, const void *bytes, unsigned length)
{
    element(aml);
    put8(aml, OP_BUFFER);
    begin(aml, BLOCK_PLAIN);
    uint8_t size[9];
    put(aml, size, encode_integer(length, size));
    put(aml, bytes, length);
    aml_end(aml);
}

void aml_eisa_id(Aml *aml, const char *id)
{
    lodge_assert(strlen(id) == 7);
    uint32_t value = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
                     (uint32_t)(id[2] - 0x40) << 16;
    for (unsigned i = 3; i < 7; i++) {
        value |= (uint32_t)g_ascii_xdigit_value(id[i]) << (4 * (6 - i));
    }
    element(aml);
    put8(aml, OP_DWORD);
    put32(aml, __builtin_bswap32(value));
}

void aml_path(Aml *aml, const char *name)
{
    element(aml);
    put_name(aml, name);
}

void aml_uuid(Aml *aml, const char *text)
{
    /* Byte of each pair of digits, in the order written. */
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    uint8_t bytes[16];
    for (unsigned i = 0; i < 16; i++, text += 2) {
        text += *text == '-';
        bytes[order[i]] =
            (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
    }
    aml_buffer(aml, bytes, sizeof(bytes));
}

void aml_name(Aml *aml, const char *name)
{
    put8(aml, OP_NAME);
    put_name(aml, name);
}

void aml_name_integer(Aml *aml, const char *name, uint64_t value)
{
    aml_name(aml, name);
    aml_integer(aml, value);
}

void aml_name_eisa_id(Aml *aml, const char *name, const char *id)
{
    aml_name(aml, name);
    aml_eisa_id(aml, id);
}

void aml_name_string(Aml *aml, const char *name, const char *text)
{
    aml_name(aml, name);
    aml_string(aml, text);
}

void aml_return(Aml *aml)
{
    put8(aml, OP_RETURN);
}

void aml_arg(Aml *aml, unsigned number)
{
    put8(aml, (uint8_t)(OP_ARG0 + number));
}

void aml_local(Aml *aml, unsigned number)
{
    put8(aml, (uint8_t)(OP_LOCAL0 + number));
}

void aml_equal(Aml *aml)
{
    put8(aml, OP_EQUAL);
}

void aml_store(Aml *aml)
{
    put8(aml, OP_STORE);
}

void aml_and(Aml *aml)
{
    put8(aml, OP_AND);
}

void aml_or(Aml *aml)
{
    put8(aml, OP_OR);
}

void aml_no_target(Aml *aml)
{
    put8(aml, OP_ZERO);
}

void aml_notify(Aml *aml, const char *device, uint64_t value)
{
    put8(aml, OP_NOTIFY);
    put_name(aml, device);
    aml_integer(aml, value);
}

void aml_create_dword_field(Aml *aml)
{
    put8(aml, OP_CREATE_DWORD_FIELD);
}

void aml_operation_region(Aml *aml, const char *name, AmlSpace space, uint64_t base, uint64_t size)
{
    put8(aml, PREFIX_EXTENDED);
    put8(aml, OP_REGION);
    put_name(aml, name);
    put8(aml, (uint8_t)space);
    aml_integer(aml, base);
    aml_integer(aml, size);
}

void aml_field(Aml *aml, const char *region, unsigned access_bytes, const char *name, unsigned bits)
{
    put8(aml, PREFIX_EXTENDED);
    put8(aml, OP_FIELD);
    begin(aml, BLOCK_PLAIN);
    put_name(aml, region);
    /* AccessType: 1 byte, 2 word, 3 dword, 4 qword */
    put8(aml, access_bytes == 8 ? 4 : access_bytes == 4 ? 3 : (uint8_t)access_bytes);
    put_segment(aml, name, strlen(name));
    /* The bit count has the form of a PkgLength that does not count itself. */
    lodge_assert(bits < 1u << 12);
    if (bits < 1u << 6) {
        put8(aml, (uint8_t)bits);
    } else {
        put8(aml, (uint8_t)(0x40 | (bits & 0x0f)));
        put8(aml, (uint8_t)(bits >> 4));
    }
    aml_end(aml);
}

/* Resources */

void aml_resource_io(Aml *aml, uint16_t base, uint8_t length)
{
    put8(aml, 0x47);
    put8(aml, 1); /* 16-bit decode */
    put16(aml, base);
    put16(aml, base);
    put8(aml, 1);
    put8(aml, length);
}

void aml_resource_irq(Aml *aml, unsigned irq)
{
    lodge_assert(irq < 16);
    put8(aml, 0x22);
    put16(aml, (uint16_t)(1u << irq));
}

void aml_resource_interrupt(Aml *aml, uint32_t gsi, bool is_edge, bool is_shared)
{
    put8(aml, 0x89);
    put16(aml, 6);
    put8(aml, (uint8_t)(1 | (is_edge ? 2 : 0) | (is_shared ? 8 : 0))); /* consumer, active high */
    put8(aml, 1);
    put32(aml, gsi);
}

void aml_resource_memory32(Aml *aml, uint32_t base, uint32_t length, bool is_writable)
{
    put8(aml, 0x86);
    put16(aml, 9);
    put8(aml, is_writable ? 1 : 0);
    put32(aml, base);
    put32(aml, length);
}

#define RANGE_MEMORY 0
#define RANGE_IO 1
#define RANGE_BUS 2
#define RANGE_FIXED 0x0c /* minimum and maximum are fixed; positive decode; producer */

void aml_resource_bus_numbers(Aml *aml, uint16_t first, uint16_t last)
{
    put8(aml, 0x88);
    put16(aml, 13);
    put8(aml, RANGE_BUS);
    put8(aml, RANGE_FIXED);
    put8(aml, 0);
    put16(aml, 0);
    put16(aml, first);
    put16(aml, last);
    put16(aml, 0);
    put16(aml, (uint16_t)(last - first + 1));
}

void aml_resource_io_window(Aml *aml, uint16_t first, uint16_t last)
{
    put8(aml, 0x88);
    put16(aml, 13);
    put8(aml, RANGE_IO);
    put8(aml, RANGE_FIXED);
    put8(aml, 3); /* whole range */
    put16(aml, 0);
    put16(aml, first);
    put16(aml, last);
    put16(aml, 0);
    put16(aml, (uint16_t)(last - first + 1));
}

void aml_resource_memory_window(Aml *aml, uint64_t first, uint64_t last, bool is_cacheable)
{
    bool is_wide = last > UINT32_MAX;
    put8(aml, is_wide ? 0x8a : 0x87);
    put16(aml, is_wide ? 43 : 23);
    put8(aml, RANGE_MEMORY);
    put8(aml, RANGE_FIXED);
    put8(aml, (uint8_t)(1 | (is_cacheable ? 2 : 0))); /* read-write */
    const uint64_t values[] = { 0, first, last, 0, last - first + 1 };
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        if (is_wide) {
            put64(aml, values[i]);
        } else {
            put32(aml, (uint32_t)values[i]);
        }
    }
}
