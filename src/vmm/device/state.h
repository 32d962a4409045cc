/* State tables: what of a device is saved, as data. One table serves migration, snapshots,
 * debugging and tests. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_STATE_H
#define LODGE_VMM_DEVICE_STATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum StateKind {
    STATE_BOOL,
    STATE_U8,
    STATE_U16,
    STATE_U32,
    STATE_U64,
    STATE_BYTES,  /* @size bytes in place */
    STATE_BUFFER, /* pointer to heap bytes; its uint32_t length is at @count_offset and may not pass
                     @size */
    STATE_TABLE,  /* embedded struct(s) of @size bytes each, described by @table; @count of them */
} StateKind;

typedef struct StateTable StateTable;

typedef struct StateField {
    const char *name; /* in the stream: never renamed, never reused */
    StateKind kind;
    uint16_t since; /* table version that brought it; 0: always there */
    size_t offset;
    size_t size;    /* of one element, bytes */
    uint32_t count; /* elements of an array, 1 otherwise */
    size_t count_offset;
    const StateTable *table;
} StateField;

struct StateTable {
    const char *name;
    uint16_t version;
    const StateField *fields; /* ends with a NULL name */
    /* Optional sub-tables of the same struct; each is saved when its needed() says so (NULL:
     * always). Ends with NULL. */
    const StateTable *const *parts;
    bool (*needed)(const void *object);
};

#define STATE_FIELD(type, kind_, member)                                                           \
    {                                                                                              \
        .name = #member, .kind = (kind_), .offset = offsetof(type, member),                        \
        .size = sizeof(((type *)0)->member), .count = 1                                            \
    }
/* Array of a scalar kind. */
#define STATE_ARRAY(type, kind_, member)                                                           \
    {                                                                                              \
        .name = #member, .kind = (kind_), .offset = offsetof(type, member),                        \
        .size = sizeof(((type *)0)->member[0]),                                                    \
        .count = sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0])                      \
    }
#define STATE_BYTES_FIELD(type, member)                                                            \
    {                                                                                              \
        .name = #member, .kind = STATE_BYTES, .offset = offsetof(type, member),                    \
        .size = sizeof(((type *)0)->member), .count = 1                                            \
    }
#define STATE_STRUCT(type, member, table_)                                                         \
    {                                                                                              \
        .name = #member, .kind = STATE_TABLE, .offset = offsetof(type, member),                    \
        .size = sizeof(((type *)0)->member), .count = 1, .table = (table_)                         \
    }
#define STATE_STRUCTS(type, member, table_)                                                        \
    {                                                                                              \
        .name = #member, .kind = STATE_TABLE, .offset = offsetof(type, member),                    \
        .size = sizeof(((type *)0)->member[0]),                                                    \
        .count = sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]), .table = (table_)   \
    }
#define STATE_END                                                                                  \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Appends @object as @table describes it: names, lengths, values; little endian. */
void state_save(const StateTable *table, const void *object, GByteArray *out);

/**
 * state_load - read what state_save() wrote into @object
 *
 * The bytes are hostile: every length is checked, unknown and missing names are errors. The caller
 * then runs the class's post_load(), which checks the values. Returns: false with @error set;
 * @object may be half changed.
 */
bool state_load(const StateTable *table, void *object, const uint8_t *bytes, size_t length,
                GError **error);

/* Appends the object as one JSON object, for `dump-state`. */
void state_format_json(const StateTable *table, const void *object, GString *out);

#endif
