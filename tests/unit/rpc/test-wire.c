/* The codec against bytes written by hand, and its limits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "rpc/message.h"
#include "schema/remote.h"

#include <string.h>

#define UUID_BYTES_TEXT "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\x10"

static void expect_bytes(const XdrStruct *type, const void *value, const char *bytes, size_t size)
{
    XdrWriter writer;
    xdr_writer_init(&writer, 1 << 20);
    assert_true(xdr_encode(&writer, type, value, NULL));
    assert_int_equal(writer.size, size);
    assert_memory_equal(writer.data, bytes, size);
    xdr_writer_clear(&writer);
}

#define EXPECT(type, value, bytes) expect_bytes(type, value, bytes, sizeof(bytes) - 1)

static void a_domain_is_name_uuid_and_id(void **state)
{
    RemoteDomain dom = { .name = "vm-01", .id = -1 };
    memcpy(dom.uuid.byte, UUID_BYTES_TEXT, 16);
    EXPECT(&type_remote_domain, &dom, "\0\0\0\5vm-01\0\0\0" UUID_BYTES_TEXT "\xff\xff\xff\xff");
}

static void small_integers_take_four_bytes_each(void **state)
{
    RemoteDomainGetInfoRet info = { 1, 2, 3, 4, 5 };
    EXPECT(&type_remote_domain_get_info_ret, &info,
           "\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\4\0\0\0\0\0\0\0\5");
}

static void an_absent_string_is_one_word(void **state)
{
    RemoteConnectOpenArgs args = { .name = NULL, .flags = 1 };
    EXPECT(&type_remote_connect_open_args, &args, "\0\0\0\0\0\0\0\1");
    args.name = "";
    EXPECT(&type_remote_connect_open_args, &args, "\0\0\0\1\0\0\0\0\0\0\0\1");
}

static void characters_of_a_model_take_four_bytes_each(void **state)
{
    RemoteNodeGetSecurityModelRet ret = { .model = (char *)"no", .n_model = 3, .doi = NULL };
    EXPECT(&type_remote_node_get_security_model_ret, &ret,
           "\0\0\0\3\0\0\0n\0\0\0o\0\0\0\0\0\0\0\0");
}

static void typed_parameters_carry_their_type(void **state)
{
    TypedParam params[] = {
        { "a", TYPED_PARAM_UINT, { .ui = 7 } },
        { "bc", TYPED_PARAM_STRING, { .s = "x" } },
        { "d", TYPED_PARAM_DOUBLE, { .d = 1.0 } },
    };
    RemoteDomainGetGuestInfoRet ret = { .params = params, .n_params = 3 };
    EXPECT(&type_remote_domain_get_guest_info_ret, &ret,
           "\0\0\0\3"
           "\0\0\0\1"
           "a\0\0\0\0\0\0\2\0\0\0\7"
           "\0\0\0\2"
           "bc\0\0\0\0\0\7\0\0\0\1x\0\0\0"
           "\0\0\0\1"
           "d\0\0\0\0\0\0\5\x3f\xf0\0\0\0\0\0\0");
}

static bool decodes(const XdrStruct *type, const char *bytes, size_t size, size_t limit)
{
    Arena arena;
    arena_init(&arena, limit);
    XdrReader reader = { (const uint8_t *)bytes, (const uint8_t *)bytes + size };
    void *value = arena_alloc(&arena, type->size);
    g_autoptr(GError) error = NULL;
    bool ok = value && xdr_decode(&reader, &arena, type, value, &error);
    assert_true(ok || error);
    arena_clear(&arena);
    return ok;
}

#define DECODES(type, bytes) decodes(type, bytes, sizeof(bytes) - 1, 1 << 20)

static void a_length_past_the_end_is_refused(void **state)
{
    assert_true(DECODES(&type_remote_connect_open_args, "\0\0\0\1\0\0\0\1a\0\0\0\0\0\0\0"));
    assert_false(DECODES(&type_remote_connect_open_args, "\0\0\0\1\0\0\0\x9"
                                                         "a\0\0\0\0\0\0\0"));
    assert_false(DECODES(&type_remote_connect_open_args, "\0\0\0\1\xff\xff\xff\xff"));
    assert_false(DECODES(&type_remote_connect_open_args, "\0\0"));
}

static void a_flag_that_is_neither_is_refused(void **state)
{
    assert_false(DECODES(&type_remote_connect_open_args, "\0\0\0\2\0\0\0\0\0\0\0\0"));
}

static void a_zero_inside_a_string_is_refused(void **state)
{
    assert_false(DECODES(&type_remote_connect_open_args, "\0\0\0\1\0\0\0\2a\0\0\0\0\0\0\0"));
}

static void an_array_longer_than_its_limit_is_refused(void **state)
{
    char bytes[20 + 16 + 4 + 4 * 17 + 4] = { 0 };
    /* DOMAIN_SEND_KEY: an empty name, uuid, id, codeset, holdtime, then keys: 16 at most. */
    bytes[4 + 16 + 4 + 8 + 3] = 16;
    assert_true(decodes(&type_remote_domain_send_key_args, bytes, sizeof(bytes), 1 << 20));
    bytes[4 + 16 + 4 + 8 + 3] = 17;
    assert_false(decodes(&type_remote_domain_send_key_args, bytes, sizeof(bytes), 1 << 20));
}

static void a_count_without_items_allocates_nothing(void **state)
{
    /* 16384 strings announced, none there: refused by the bytes that are left. */
    assert_false(decodes(&type_remote_connect_list_networks_ret, "\0\0\x40\0", 4, 4096));
}

static void memory_past_the_limit_is_refused(void **state)
{
    g_autofree char *bytes = g_malloc0(4 + 4 * 16384);
    memcpy(bytes, "\0\0\x40\0", 4);
    assert_true(decodes(&type_remote_connect_list_networks_ret, bytes, 4 + 4 * 16384, 4 << 20));
    assert_false(decodes(&type_remote_connect_list_networks_ret, bytes, 4 + 4 * 16384, 1 << 16));
}

static void what_clients_would_refuse_is_not_sent(void **state)
{
    XdrWriter writer;
    xdr_writer_init(&writer, 1 << 26);
    RemoteConnectListNetworksRet ret = { .names = NULL, .n_names = 16385 };
    g_autoptr(GError) error = NULL;
    assert_false(xdr_encode(&writer, &type_remote_connect_list_networks_ret, &ret, &error));
    assert_non_null(strstr(error->message, "names"));
    xdr_writer_clear(&writer);
}

static void a_message_begins_with_its_length(void **state)
{
    RpcHeader header = { RPC_PROGRAM_REMOTE, 1, 66, RPC_CALL, 5, RPC_OK };
    RpcMessage *message = rpc_message_new(&header);
    assert_true(rpc_message_finish(message));
    assert_int_equal(message->writer.size, 28);
    assert_memory_equal(message->writer.data,
                        "\0\0\0\x1c\x20\0\x80\x86\0\0\0\1\0\0\0\x42\0\0\0\0\0\0\0\5\0\0\0\0", 28);
    rpc_message_free(message);
}

static void every_procedure_has_its_number_and_access(void **state)
{
    unsigned n = 0;
    for (uint32_t i = 1; i <= remote_program.n_procedures; i++) {
        const RpcProcedure *procedure = rpc_program_find(&remote_program, i);
        assert_non_null(procedure);
        assert_int_equal(procedure->number, i);
        assert_true(procedure->permission || procedure->access == RPC_ACCESS_OPEN ||
                    procedure->access == RPC_ACCESS_EVENT);
        n++;
    }
    assert_int_equal(n, 453);
    assert_null(rpc_program_find(&remote_program, 0));
    assert_null(rpc_program_find(&remote_program, 454));
}

static void arenas_release_what_they_took(void **state)
{
    Arena arena;
    arena_init(&arena, 1 << 20);
    char *text = arena_take(&arena, g_strdup("taken"), NULL);
    assert_string_equal(text, "taken");
    assert_string_equal(arena_printf(&arena, "%d", 12), "12");
    for (int i = 0; i < 1000; i++) {
        assert_non_null(arena_alloc(&arena, 100));
    }
    assert_null(arena_alloc_array(&arena, SIZE_MAX / 2, 4));
    arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_domain_is_name_uuid_and_id),
        cmocka_unit_test(small_integers_take_four_bytes_each),
        cmocka_unit_test(an_absent_string_is_one_word),
        cmocka_unit_test(characters_of_a_model_take_four_bytes_each),
        cmocka_unit_test(typed_parameters_carry_their_type),
        cmocka_unit_test(a_length_past_the_end_is_refused),
        cmocka_unit_test(a_flag_that_is_neither_is_refused),
        cmocka_unit_test(a_zero_inside_a_string_is_refused),
        cmocka_unit_test(an_array_longer_than_its_limit_is_refused),
        cmocka_unit_test(a_count_without_items_allocates_nothing),
        cmocka_unit_test(memory_past_the_limit_is_refused),
        cmocka_unit_test(what_clients_would_refuse_is_not_sent),
        cmocka_unit_test(a_message_begins_with_its_length),
        cmocka_unit_test(every_procedure_has_its_number_and_access),
        cmocka_unit_test(arenas_release_what_they_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
