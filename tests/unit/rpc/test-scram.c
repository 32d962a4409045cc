/* SCRAM: both sides against each other, and what must be refused.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "rpc/scram.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static ScramStore *load(const char *text, unsigned mode, GError **error)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("scram-XXXXXX", &path, NULL);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(g_chmod(path, (int)mode), 0);
    ScramStore *store = scram_store_load(path, error);
    g_unlink(path);
    return store;
}

static ScramStore *store_with(const char *user, const char *password)
{
    g_autofree char *line = scram_make_entry(user, password, 4096, NULL);
    assert_non_null(line);
    assert_null(strstr(line, password));
    ScramStore *store = load(line, 0600, NULL);
    assert_non_null(store);
    return store;
}

/* Whether both sides end content. */
static bool log_in(const ScramStore *store, const char *user, const char *password)
{
    ScramServer *server = scram_server_new(store);
    ScramClient *client = scram_client_new(user, password);
    g_autofree char *first = scram_client_first(client, NULL);
    g_autofree char *challenge = NULL;
    g_autofree char *proof = NULL;
    g_autofree char *verifier = NULL;
    char *nothing = (char *)"";
    bool complete = true;
    /* With the zero at the end, as some clients send it. */
    assert_true(scram_server_step(server, first, strlen(first) + 1, &challenge, &complete, NULL));
    assert_false(complete);
    assert_true(scram_client_step(client, challenge, strlen(challenge), &proof, NULL));
    bool ok = scram_server_step(server, proof, strlen(proof), &verifier, &complete, NULL);
    if (ok) {
        assert_true(complete);
        assert_true(scram_client_step(client, verifier, strlen(verifier), &nothing, NULL));
        assert_null(nothing);
        assert_string_equal(scram_server_user(server), user);
    }
    scram_server_free(server);
    scram_client_free(client);
    return ok;
}

static void the_right_password_is_accepted(void **state)
{
    ScramStore *store = store_with("ann,=b", "pencil");
    assert_true(log_in(store, "ann,=b", "pencil"));
    scram_store_free(store);
}

static void a_wrong_password_is_refused(void **state)
{
    ScramStore *store = store_with("ann", "pencil");
    assert_false(log_in(store, "ann", "pencils"));
    scram_store_free(store);
}

static void an_unknown_user_gets_the_same_salt_and_no_entry(void **state)
{
    ScramStore *store = store_with("ann", "pencil");
    char *salts[2];
    for (int i = 0; i < 2; i++) {
        ScramServer *server = scram_server_new(store);
        char *reply = NULL;
        bool complete;
        assert_true(scram_server_step(server, "n,,n=bob,r=abc", 14, &reply, &complete, NULL));
        salts[i] = g_strdup(strstr(reply, ",s="));
        g_free(reply);
        scram_server_free(server);
    }
    assert_string_equal(salts[0], salts[1]);
    g_free(salts[0]);
    g_free(salts[1]);
    assert_false(log_in(store, "bob", "pencil"));
    scram_store_free(store);
}

static void malformed_messages_are_refused(void **state)
{
    static const char *const messages[] = {
        "",
        "n",
        "n,,",
        "n,,n=ann",
        "n,,n=ann,r=",
        "p=tls-unique,,n=ann,r=x",
        "n,a=bob,n=ann,r=x",
        "n,,n=a=n,r=x",
        "n,,r=x,n=ann",
        "x,,n=ann,r=x",
    };
    ScramStore *store = store_with("ann", "pencil");
    for (size_t i = 0; i < G_N_ELEMENTS(messages); i++) {
        ScramServer *server = scram_server_new(store);
        char *reply = NULL;
        bool complete;
        assert_false(
            scram_server_step(server, messages[i], strlen(messages[i]), &reply, &complete, NULL));
        assert_null(reply);
        /* Nothing more is said after a mistake. */
        assert_false(scram_server_step(server, "n,,n=ann,r=x", 12, &reply, &complete, NULL));
        scram_server_free(server);
    }
    scram_store_free(store);
}

static void a_server_that_changes_the_nonce_is_refused(void **state)
{
    ScramClient *client = scram_client_new("ann", "pencil");
    G_GNUC_UNUSED g_autofree char *first = scram_client_first(client, NULL);
    char *reply = NULL;
    const char *challenge = "r=other,s=QSXCR+Q6sek8bf92,i=4096";
    assert_false(scram_client_step(client, challenge, strlen(challenge), &reply, NULL));
    scram_client_free(client);
}

static void bad_stores_are_refused(void **state)
{
    g_autoptr(GError) open_to_all = NULL;
    g_autoptr(GError) malformed = NULL;
    assert_null(load("# nothing\n", 0644, &open_to_all));
    assert_non_null(strstr(open_to_all->message, "chmod"));
    assert_null(load("# one\nann 4096 salt\n", 0600, &malformed));
    assert_non_null(strstr(malformed->message, ":2:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_is_accepted),
        cmocka_unit_test(a_wrong_password_is_refused),
        cmocka_unit_test(an_unknown_user_gets_the_same_salt_and_no_entry),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(a_server_that_changes_the_nonce_is_refused),
        cmocka_unit_test(bad_stores_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
