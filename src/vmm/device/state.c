/* State tables to a stream and back.
 *
 * A stream is a tree of records: name (length byte, then text), value length (32 bits), value. The
 * value of a table's record is its version (16 bits) and the records of its fields and parts, in
 * any order; an array of tables is one record that holds the elements' records. All numbers are
 * little endian. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/state.h"

#include "base/endian.h"
#include "base/log.h"
#include "gbase/error.h"

#include <string.h>

#define RECORDS_MAX 128 /* fields and parts of one table */

typedef struct Reader {
    const uint8_t *at, *end;
} Reader;

typedef struct Record {
    char name[256];
    Reader value;
} Record;

static size_t scalar_size(StateKind kind)
{
    switch (kind) {
    case STATE_BOOL:
    case STATE_U8:
        return 1;
    case STATE_U16:
        return 2;
    case STATE_U32:
        return 4;
    case STATE_U64:
        return 8;
    case STATE_BYTES:
    case STATE_BUFFER:
    case STATE_TABLE:
        return 0;
    }
    return 0;
}

static void append_u16(GByteArray *out, uint16_t value)
{
    uint8_t bytes[2];
    le16_put(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

/* Starts a record; its length is filled in by end_record() with the returned position. */
static guint begin_record(GByteArray *out, const char *name)
{
    uint8_t length = (uint8_t)strlen(name);
    lodge_assert(strlen(name) > 0 && strlen(name) < 256);
    g_byte_array_append(out, &length, 1);
    g_byte_array_append(out, (const uint8_t *)name, length);
    static const uint8_t room[4];
    g_byte_array_append(out, room, sizeof(room));
    return out->len;
}

static void end_record(GByteArray *out, guint start)
{
    le32_put(out->data + start - 4, out->len - start);
}

static uint64_t scalar_get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

static void save_value(const StateField *field, const void *object, GByteArray *out)
{
    const uint8_t *base = (const uint8_t *)object + field->offset;
    size_t scalar = scalar_size(field->kind);
    if (scalar) {
        lodge_assert(field->size == scalar);
        for (uint32_t i = 0; i < field->count; i++) {
            uint8_t bytes[8];
            le64_put(bytes, scalar_get(base + i * scalar, scalar));
            g_byte_array_append(out, bytes, (guint)scalar);
        }
    } else if (field->kind == STATE_BYTES) {
        g_byte_array_append(out, base, (guint)(field->size * field->count));
    } else if (field->kind == STATE_BUFFER) {
        uint32_t length = *(const uint32_t *)((const uint8_t *)object + field->count_offset);
        lodge_assert(length <= field->size);
        const uint8_t *buffer = *(const uint8_t *const *)base;
        if (length) {
            g_byte_array_append(out, buffer, length);
        }
    } else {
        for (uint32_t i = 0; i < field->count; i++) {
            state_save(field->table, base + i * field->size, out);
        }
    }
}

void state_save(const StateTable *table, const void *object, GByteArray *out)
{
    guint start = begin_record(out, table->name);
    append_u16(out, table->version);
    for (const StateField *field = table->fields; field->name; field++) {
        guint value = begin_record(out, field->name);
        save_value(field, object, out);
        end_record(out, value);
    }
    for (const StateTable *const *part = table->parts; part && *part; part++) {
        if (!(*part)->needed || (*part)->needed(object)) {
            state_save(*part, object, out);
        }
    }
    end_record(out, start);
}

static bool corrupt(GError **error, const char *what, const char *name)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "%s '%s' in saved state", what, name);
    return false;
}

static bool read_record(Reader *reader, const char *inside, Record *out, GError **error)
{
    size_t left = (size_t)(reader->end - reader->at);
    if (left < 1 || left < (size_t)1 + reader->at[0] + 4) {
        return corrupt(error, "cut-off record inside", inside);
    }
    size_t name_length = reader->at[0];
    memcpy(out->name, reader->at + 1, name_length);
    out->name[name_length] = 0;
    const uint8_t *value = reader->at + 1 + name_length + 4;
    uint32_t length = le32_get(value - 4);
    if (length > (size_t)(reader->end - value)) {
        return corrupt(error, "cut-off value inside", inside);
    }
    if (strlen(out->name) != name_length || !g_str_is_ascii(out->name)) {
        return corrupt(error, "malformed name inside", inside);
    }
    out->value = (Reader){ value, value + length };
    reader->at = value + length;
    return true;
}

static bool load_table(const StateTable *table, void *object, Reader reader, GError **error);

static bool load_scalars(const StateField *field, uint8_t *base, const uint8_t *value,
                         GError **error)
{
    size_t scalar = scalar_size(field->kind);
    for (uint32_t i = 0; i < field->count; i++) {
        uint8_t bytes[8] = { 0 };
        memcpy(bytes, value + i * scalar, scalar);
        uint64_t number = le64_get(bytes);
        if (field->kind == STATE_BOOL && number > 1) {
            return corrupt(error, "neither true nor false: field", field->name);
        }
        memcpy(base + i * scalar, &number, scalar);
    }
    return true;
}

static bool load_buffer(const StateField *field, void *object, Reader value, GError **error)
{
    size_t length = (size_t)(value.end - value.at);
    if (length > field->size) {
        return corrupt(error, "too long a field", field->name);
    }
    uint8_t *copy = NULL;
    if (length) {
        copy = g_try_malloc(length);
        if (!copy) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "no memory for field '%s'",
                        field->name);
            return false;
        }
        memcpy(copy, value.at, length);
    }
    uint8_t **slot = (uint8_t **)((uint8_t *)object + field->offset);
    g_free(*slot);
    *slot = copy;
    *(uint32_t *)((uint8_t *)object + field->count_offset) = (uint32_t)length;
    return true;
}

static bool load_structs(const StateField *field, uint8_t *base, Reader value, GError **error)
{
    for (uint32_t i = 0; i < field->count; i++) {
        Record element;
        if (!read_record(&value, field->name, &element, error)) {
            return false;
        }
        if (strcmp(element.name, field->table->name)) {
            return corrupt(error, "unknown table", element.name);
        }
        if (!load_table(field->table, base + i * field->size, element.value, error)) {
            g_prefix_error(error, "%s[%u]: ", field->name, i);
            return false;
        }
    }
    if (value.at != value.end) {
        return corrupt(error, "too many elements in field", field->name);
    }
    return true;
}

static bool load_value(const StateField *field, void *object, Reader value, GError **error)
{
    uint8_t *base = (uint8_t *)object + field->offset;
    size_t scalar = scalar_size(field->kind);
    if (field->kind == STATE_TABLE) {
        return load_structs(field, base, value, error);
    }
    if (field->kind == STATE_BUFFER) {
        return load_buffer(field, object, value, error);
    }
    size_t expected = (scalar ? scalar : field->size) * field->count;
    if ((size_t)(value.end - value.at) != expected) {
        return corrupt(error, "wrong length of field", field->name);
    }
    if (scalar) {
        return load_scalars(field, base, value.at, error);
    }
    memcpy(base, value.at, expected);
    return true;
}

/* Puts one record where its name says. @seen: by place in the table, fields first. */
static bool load_record(const StateTable *table, void *object, const Record *record,
                        bool seen[RECORDS_MAX], GError **error)
{
    unsigned slot = 0;
    const StateField *field = table->fields;
    const StateTable *const *part = table->parts;
    while (field->name && strcmp(field->name, record->name)) {
        field++;
        slot++;
    }
    if (!field->name) {
        while (part && *part && strcmp((*part)->name, record->name)) {
            part++;
            slot++;
        }
        if (!part || !*part) {
            return corrupt(error, "unknown name", record->name);
        }
    }
    lodge_assert(slot < RECORDS_MAX);
    if (seen[slot]) {
        return corrupt(error, "repeated name", record->name);
    }
    seen[slot] = true;
    if (field->name) {
        return load_value(field, object, record->value, error);
    }
    return load_table(*part, object, record->value, error);
}

static bool load_table(const StateTable *table, void *object, Reader reader, GError **error)
{
    bool seen[RECORDS_MAX] = { false };
    if (reader.end - reader.at < 2) {
        return corrupt(error, "cut-off table", table->name);
    }
    uint16_t version = le16_get(reader.at);
    reader.at += 2;
    if (version > table->version) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "saved state of '%s' has version %u, this program knows up to %u", table->name,
                    version, table->version);
        return false;
    }
    while (reader.at != reader.end) {
        Record record;
        if (!read_record(&reader, table->name, &record, error) ||
            !load_record(table, object, &record, seen, error)) {
            return false;
        }
    }
    unsigned slot = 0;
    for (const StateField *field = table->fields; field->name; field++, slot++) {
        if (!seen[slot] && field->since <= version) {
            return corrupt(error, "missing field", field->name);
        }
    }
    for (const StateTable *const *part = table->parts; part && *part; part++, slot++) {
        if (!seen[slot] && !(*part)->needed) {
            return corrupt(error, "missing part", (*part)->name);
        }
    }
    return true;
}

bool state_load(const StateTable *table, void *object, const uint8_t *bytes, size_t length,
                GError **error)
{
    Reader reader = { bytes, bytes + length };
    Record record;
    if (!read_record(&reader, table->name, &record, error)) {
        return false;
    }
    if (strcmp(record.name, table->name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "saved state is of '%s', expected '%s'", record.name, table->name);
        return false;
    }
    if (reader.at != reader.end) {
        return corrupt(error, "bytes left after table", table->name);
    }
    return load_table(table, object, record.value, error);
}

static void format_bytes(const uint8_t *bytes, size_t length, GString *out)
{
    g_string_append_c(out, '"');
    for (size_t i = 0; i < length; i++) {
        g_string_append_printf(out, "%02x", bytes[i]);
    }
    g_string_append_c(out, '"');
}

static void format_element(const StateField *field, const uint8_t *at, GString *out)
{
    if (field->kind == STATE_TABLE) {
        state_format_json(field->table, at, out);
    } else if (field->kind == STATE_BOOL) {
        g_string_append(out, *at ? "true" : "false");
    } else {
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, scalar_get(at, scalar_size(field->kind)));
    }
}

static void format_value(const StateField *field, const void *object, GString *out)
{
    const uint8_t *base = (const uint8_t *)object + field->offset;
    if (field->kind == STATE_BYTES) {
        format_bytes(base, field->size * field->count, out);
    } else if (field->kind == STATE_BUFFER) {
        uint32_t length = *(const uint32_t *)((const uint8_t *)object + field->count_offset);
        format_bytes(*(const uint8_t *const *)base, length, out);
    } else if (field->count == 1) {
        format_element(field, base, out);
    } else {
        for (uint32_t i = 0; i < field->count; i++) {
            g_string_append_c(out, i ? ',' : '[');
            format_element(field, base + i * field->size, out);
        }
        g_string_append_c(out, ']');
    }
}

void state_format_json(const StateTable *table, const void *object, GString *out)
{
    const char *separator = "";
    g_string_append_c(out, '{');
    for (const StateField *field = table->fields; field->name; field++) {
        g_string_append_printf(out, "%s\"%s\":", separator, field->name);
        format_value(field, object, out);
        separator = ",";
    }
    for (const StateTable *const *part = table->parts; part && *part; part++) {
        if (!(*part)->needed || (*part)->needed(object)) {
            g_string_append_printf(out, "%s\"%s\":", separator, (*part)->name);
            state_format_json(*part, object, out);
            separator = ",";
        }
    }
    g_string_append_c(out, '}');
}
