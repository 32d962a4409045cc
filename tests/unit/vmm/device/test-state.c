/* State tables: round trips, old streams, hostile streams.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "gbase/error.h"
#include "lib/check.h"
#include "vmm/device/state.h"

#include <string.h>

typedef struct Channel {
    uint16_t count;
    bool gate;
} Channel;

typedef struct Gadget {
    bool on;
    uint8_t mode;
    uint16_t words[3];
    uint32_t status;
    uint64_t ticks;
    uint8_t ram[5];
    uint8_t *queue;
    uint32_t queue_used;
    Channel channel[2];
    uint32_t extra; /* saved when not zero */
    uint8_t fresh;  /* since version 2 */
} Gadget;

#define QUEUE_MAX 16

static const StateField channel_fields[] = {
    STATE_FIELD(Channel, STATE_U16, count),
    STATE_FIELD(Channel, STATE_BOOL, gate),
    STATE_END,
};
static const StateTable channel_table = { .name = "channel", .fields = channel_fields };

static bool has_extra(const void *object)
{
    return ((const Gadget *)object)->extra != 0;
}

static const StateField extra_fields[] = { STATE_FIELD(Gadget, STATE_U32, extra), STATE_END };
static const StateTable extra_table = { .name = "extra",
                                        .fields = extra_fields,
                                        .needed = has_extra };
static const StateTable *const parts[] = { &extra_table, NULL };

static const StateField fields[] = {
    STATE_FIELD(Gadget, STATE_BOOL, on),
    STATE_FIELD(Gadget, STATE_U8, mode),
    STATE_ARRAY(Gadget, STATE_U16, words),
    STATE_FIELD(Gadget, STATE_U32, status),
    STATE_FIELD(Gadget, STATE_U64, ticks),
    STATE_BYTES_FIELD(Gadget, ram),
    { .name = "queue",
      .kind = STATE_BUFFER,
      .offset = offsetof(Gadget, queue),
      .size = QUEUE_MAX,
      .count = 1,
      .count_offset = offsetof(Gadget, queue_used) },
    STATE_STRUCTS(Gadget, channel, &channel_table),
    { .name = "fresh",
      .kind = STATE_U8,
      .since = 2,
      .offset = offsetof(Gadget, fresh),
      .size = 1,
      .count = 1 },
    STATE_END,
};
static const StateTable table = {
    .name = "gadget", .version = 2, .fields = fields, .parts = parts
};

/* The table of version 1: the same without "fresh". */
static const StateTable *table_of_version_1(void)
{
    static StateField old_fields[G_N_ELEMENTS(fields)];
    static StateTable old;
    memcpy(old_fields, fields, sizeof(fields));
    old_fields[G_N_ELEMENTS(fields) - 2].name = NULL;
    old = table;
    old.version = 1;
    old.fields = old_fields;
    return &old;
}

static void fill(Gadget *g)
{
    *g = (Gadget){ .on = true,
                   .mode = 7,
                   .words = { 1, 0x8000, 0xffff },
                   .status = 0xdeadbeef,
                   .ticks = UINT64_C(0x123456789abcdef0),
                   .ram = { 1, 2, 3, 4, 5 },
                   .queue = g_memdup2("hello", 5),
                   .queue_used = 5,
                   .channel = { { 100, true }, { 200, false } },
                   .fresh = 9 };
}

static GByteArray *saved(const StateTable *with, const Gadget *g)
{
    GByteArray *out = g_byte_array_new();
    state_save(with, g, out);
    return out;
}

static void a_load_gives_back_what_was_saved(void **state)
{
    Gadget g, h = { 0 };
    fill(&g);
    for (unsigned with_extra = 0; with_extra < 2; with_extra++) {
        g.extra = with_extra * 0x55;
        g_autoptr(GByteArray) a = saved(&table, &g);
        g_autoptr(GError) error = NULL;
        assert_true(state_load(&table, &h, a->data, a->len, &error));
        assert_null(error);
        g_autoptr(GByteArray) b = saved(&table, &h);
        assert_int_equal(a->len, b->len);
        assert_memory_equal(a->data, b->data, a->len);
        assert_int_equal(h.ticks, g.ticks);
        assert_int_equal(h.words[2], 0xffff);
        assert_int_equal(h.queue_used, 5);
        assert_memory_equal(h.queue, "hello", 5);
        assert_int_equal(h.channel[1].count, 200);
        assert_true(h.channel[0].gate);
        assert_int_equal(h.extra, g.extra);
    }
    g_free(g.queue);
    g_free(h.queue);
}

static void an_old_stream_leaves_younger_fields_alone(void **state)
{
    Gadget g, h = { .fresh = 42 };
    fill(&g);
    g_autoptr(GByteArray) old = saved(table_of_version_1(), &g);
    assert_true(state_load(&table, &h, old->data, old->len, NULL));
    assert_int_equal(h.fresh, 42);
    assert_int_equal(h.mode, 7);
    g_free(g.queue);
    g_free(h.queue);
}

static void a_younger_stream_is_refused_with_both_versions(void **state)
{
    Gadget g, h = { 0 };
    fill(&g);
    g_autoptr(GByteArray) young = saved(&table, &g);
    g_autoptr(GError) error = NULL;
    assert_false(state_load(table_of_version_1(), &h, young->data, young->len, &error));
    assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED));
    assert_non_null(strstr(error->message, "version 2"));
    g_free(g.queue);
}

static void a_stream_cut_anywhere_is_refused(void **state)
{
    Gadget g, h = { 0 };
    fill(&g);
    g.extra = 1;
    g_autoptr(GByteArray) good = saved(&table, &g);
    for (size_t length = 0; length < good->len; length++) {
        g_autofree uint8_t *exact = g_memdup2(good->data, length);
        g_autoptr(GError) error = NULL;
        assert_false(state_load(&table, &h, exact, length, &error));
        assert_non_null(error);
    }
    g_free(g.queue);
    g_free(h.queue);
}

static void any_changed_byte_is_refused_or_loaded_but_never_harmful(void **state)
{
    Gadget g, h = { 0 };
    fill(&g);
    g_autoptr(GByteArray) good = saved(&table, &g);
    for (size_t at = 0; at < good->len; at++) {
        for (unsigned value = 0; value < 256; value += 5) {
            g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
            bad[at] = (uint8_t)value;
            g_autoptr(GError) error = NULL;
            bool ok = state_load(&table, &h, bad, good->len, &error);
            assert_int_equal(ok, error == NULL);
            assert_true(h.queue_used <= QUEUE_MAX);
        }
    }
    g_free(g.queue);
    g_free(h.queue);
}

/* Position of the record called @name in a stream, at its length byte. */
static size_t find_record(const GByteArray *stream, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i + length < stream->len; i++) {
        if (stream->data[i] == length && !memcmp(stream->data + i + 1, name, length)) {
            return i;
        }
    }
    fail();
    return 0;
}

static void assert_refused(const GByteArray *stream, const char *why)
{
    Gadget h = { 0 };
    g_autoptr(GError) error = NULL;
    assert_false(state_load(&table, &h, stream->data, stream->len, &error));
    assert_true(g_error_matches(error, LODGE_ERROR, LODGE_ERROR_CORRUPT));
    assert_non_null(strstr(error->message, why));
    g_free(h.queue);
}

static void unknown_repeated_and_missing_names_are_told(void **state)
{
    Gadget g;
    fill(&g);
    g_autoptr(GByteArray) stream = saved(&table, &g);
    memcpy(stream->data + find_record(stream, "mode") + 1, "mood", 4);
    assert_refused(stream, "unknown name 'mood'");
    g_byte_array_set_size(stream, 0);
    state_save(&table, &g, stream);
    memcpy(stream->data + find_record(stream, "ram") + 1, "ram", 3);
    /* Cut the last field off and mend the length of the whole. */
    size_t last = find_record(stream, "fresh");
    g_byte_array_set_size(stream, (guint)last);
    le32_put(stream->data + 1 + strlen("gadget"), (uint32_t)(last - 1 - strlen("gadget") - 4));
    assert_refused(stream, "missing field 'fresh'");
    size_t on = find_record(stream, "on");
    g_autofree uint8_t *copy = g_memdup2(stream->data + on, 8);
    g_byte_array_append(stream, copy, 8);
    le32_put(stream->data + 1 + strlen("gadget"), (uint32_t)(last + 8 - 1 - strlen("gadget") - 4));
    assert_refused(stream, "repeated name 'on'");
    g_free(g.queue);
}

static void too_long_a_buffer_is_refused(void **state)
{
    Gadget g;
    fill(&g);
    StateField wide_fields[G_N_ELEMENTS(fields)];
    memcpy(wide_fields, fields, sizeof(fields));
    StateTable wide = table;
    wide.fields = wide_fields;
    wide_fields[6].size = QUEUE_MAX + 1;
    g_free(g.queue);
    g.queue = g_malloc0(QUEUE_MAX + 1);
    g.queue_used = QUEUE_MAX + 1;
    g_autoptr(GByteArray) stream = saved(&wide, &g);
    assert_refused(stream, "too long a field 'queue'");
    g_free(g.queue);
}

static void json_names_every_field(void **state)
{
    Gadget g;
    fill(&g);
    g_autoptr(GString) text = g_string_new(NULL);
    state_format_json(&table, &g, text);
    assert_string_equal(text->str,
                        "{\"on\":true,\"mode\":7,\"words\":[1,32768,65535],\"status\":3735928559,"
                        "\"ticks\":1311768467463790320,\"ram\":\"0102030405\","
                        "\"queue\":\"68656c6c6f\",\"channel\":[{\"count\":100,\"gate\":true},"
                        "{\"count\":200,\"gate\":false}],\"fresh\":9}");
    g_free(g.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_gives_back_what_was_saved),
        cmocka_unit_test(an_old_stream_leaves_younger_fields_alone),
        cmocka_unit_test(a_younger_stream_is_refused_with_both_versions),
        cmocka_unit_test(a_stream_cut_anywhere_is_refused),
        cmocka_unit_test(any_changed_byte_is_refused_or_loaded_but_never_harmful),
        cmocka_unit_test(unknown_repeated_and_missing_names_are_told),
        cmocka_unit_test(too_long_a_buffer_is_refused),
        cmocka_unit_test(json_names_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
