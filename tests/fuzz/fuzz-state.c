/* Saved state as a hostile stream, into a table with every kind of field.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"

#include "base/log.h"

#include <string.h>

typedef struct Part {
    uint16_t number;
    bool flag;
} Part;

typedef struct Object {
    bool flag;
    uint8_t small;
    uint16_t words[3];
    uint32_t wide;
    uint64_t huge;
    uint8_t bytes[5];
    uint8_t *buffer;
    uint32_t buffer_used;
    Part part[2];
    uint32_t extra;
} Object;

static const StateField part_fields[] = {
    STATE_FIELD(Part, STATE_U16, number),
    STATE_FIELD(Part, STATE_BOOL, flag),
    STATE_END,
};
static const StateTable part_table = { .name = "part", .fields = part_fields };

static bool has_extra(const void *object)
{
    return ((const Object *)object)->extra != 0;
}

static const StateField extra_fields[] = { STATE_FIELD(Object, STATE_U32, extra), STATE_END };
static const StateTable extra_table = { .name = "extra",
                                        .fields = extra_fields,
                                        .needed = has_extra };
static const StateTable *const parts[] = { &extra_table, NULL };

static const StateField fields[] = {
    STATE_FIELD(Object, STATE_BOOL, flag),
    STATE_FIELD(Object, STATE_U8, small),
    STATE_ARRAY(Object, STATE_U16, words),
    STATE_FIELD(Object, STATE_U32, wide),
    STATE_FIELD(Object, STATE_U64, huge),
    STATE_BYTES_FIELD(Object, bytes),
    { .name = "buffer",
      .kind = STATE_BUFFER,
      .offset = offsetof(Object, buffer),
      .size = 16,
      .count = 1,
      .count_offset = offsetof(Object, buffer_used) },
    STATE_STRUCTS(Object, part, &part_table),
    STATE_END,
};
static const StateTable table = {
    .name = "object", .version = 1, .fields = fields, .parts = parts
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Object object = { 0 };
    g_autoptr(GError) error = NULL;
    bool ok = state_load(&table, &object, data, size, &error);
    lodge_assert(ok == !error && object.buffer_used <= 16);
    if (ok) {
        /* What was accepted saves and loads to the same. */
        g_autoptr(GByteArray) first = g_byte_array_new();
        g_autoptr(GByteArray) second = g_byte_array_new();
        state_save(&table, &object, first);
        ok = state_load(&table, &object, first->data, first->len, NULL);
        lodge_assert(ok);
        state_save(&table, &object, second);
        lodge_assert(first->len == second->len && !memcmp(first->data, second->data, first->len));
    }
    g_free(object.buffer);
    return 0;
}
