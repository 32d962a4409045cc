/* The state store: power cuts at every call, failing calls, many committers.
 * LODGE_POWER_CUTS: how many random states (default 400).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/state/envelope.h"
#include "daemon/state/store.h"
#include "lib/check.h"
#include "lib/fake-disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 5
#define FILES "/etc"
#define JOURNAL "/var"

/* What the store must hold: text of each name, NULL for none. */
typedef struct Model {
    char *text[NAMES];
} Model;

static void model_clear(Model *model)
{
    for (int i = 0; i < NAMES; i++) {
        g_clear_pointer(&model->text[i], g_free);
    }
}

static Model model_copy(const Model *model)
{
    Model copy;
    for (int i = 0; i < NAMES; i++) {
        copy.text[i] = g_strdup(model->text[i]);
    }
    return copy;
}

static const char *path_of(int i, char *out)
{
    g_snprintf(out, 32, "qemu/guest-%d.xml", i);
    return out;
}

static StateStore *open_store(FakeDisk *disk, GError **error)
{
    StateStoreConfig config = { .files_dir = FILES,
                                .journal_dir = JOURNAL,
                                .ops = fake_disk_ops(disk),
                                .journal_size = 16384,
                                .is_synchronous = true };
    return state_store_open(&config, error);
}

static bool holds(StateStore *store, const Model *model)
{
    for (int i = 0; i < NAMES; i++) {
        char path[32];
        bool edited = false;
        g_autoptr(GError) error = NULL;
        g_autofree char *text = state_store_read(store, path_of(i, path), &edited, &error);
        if (g_strcmp0(text, model->text[i]) != 0 || edited) {
            return false;
        }
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) names = state_store_list(store, "qemu", ".xml", &error);
    unsigned wanted = 0;
    for (int i = 0; i < NAMES; i++) {
        wanted += model->text[i] != NULL;
    }
    return names && names->len == wanted;
}

/* One random transaction on up to two names; @after becomes what the model is if it happens. */
static StateTxn *random_txn(GRand *random, Model *after)
{
    StateTxn *txn = state_txn_new();
    int steps = g_rand_int_range(random, 1, 3);
    for (int s = 0; s < steps; s++) {
        int i = g_rand_int_range(random, 0, NAMES);
        char path[32];
        path_of(i, path);
        g_clear_pointer(&after->text[i], g_free);
        if (g_rand_int_range(random, 0, 4) == 0) {
            state_txn_delete(txn, path);
            continue;
        }
        GString *text = g_string_new("<domain>");
        int size = g_rand_int_range(random, 0, 3000);
        for (int c = 0; c < size; c++) {
            g_string_append_c(text, (char)g_rand_int_range(random, 'a', 'z' + 1));
        }
        g_string_append(text, "</domain>\n");
        state_txn_put(txn, path, text->str);
        after->text[i] = g_string_free(text, FALSE);
    }
    return txn;
}

/* Works until a commit fails or @commits are done. @model: what was acknowledged; @maybe: with
 * what was under way. Returns whether a commit failed. */
static bool work(FakeDisk *disk, GRand *random, int commits, Model *model, Model *maybe)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StateStore) store = open_store(disk, &error);
    if (!store) {
        return true;
    }
    for (int i = 0; i < commits; i++) {
        model_clear(maybe);
        *maybe = model_copy(model);
        g_autoptr(StateTxn) txn = random_txn(random, maybe);
        if (!state_store_commit(store, txn, &error)) {
            return true;
        }
        model_clear(model);
        *model = model_copy(maybe);
        if (g_rand_int_range(random, 0, 8) == 0 && !state_store_flush(store, NULL)) {
            return true;
        }
    }
    return false;
}

/* Of files that were being written when the power went. */
static void assert_no_leftovers(FakeDisk *disk, guint32 seed)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const FileOps *ops = fake_disk_ops(disk);
    ops->list(ops, FILES "/qemu", names);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (g_str_has_suffix(name, ".new")) {
            fail_msg("seed %u: '%s' is left", seed, name);
        }
    }
}

static void check_one_cut(guint32 seed)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    Model model = { { NULL } }, maybe = { { NULL } };
    FakeDisk *disk = fake_disk_new(seed);
    fake_disk_fail_after(disk, g_rand_int_range(random, 0, 250), EIO);
    work(disk, random, 30, &model, &maybe);
    for (int again = 0; again < 3; again++) {
        FakeDisk *after = fake_disk_cut(disk);
        fake_disk_free(disk);
        disk = after;
        if (again < 2) {
            /* The power goes again while the store recovers. */
            fake_disk_fail_after(disk, g_rand_int_range(random, 0, 40), EIO);
            G_GNUC_UNUSED g_autoptr(StateStore) store = open_store(disk, NULL);
        }
    }
    g_autoptr(GError) error = NULL;
    StateStore *store = open_store(disk, &error);
    if (!store || (!holds(store, &model) && !holds(store, &maybe))) {
        fail_msg("seed %u: %s", seed, error ? error->message : "neither the old nor the new state");
    }
    state_store_close(store);
    assert_no_leftovers(disk, seed);
    store = open_store(disk, NULL);
    assert_true(holds(store, &model) || holds(store, &maybe));
    state_store_close(store);
    fake_disk_free(disk);
    model_clear(&model);
    model_clear(&maybe);
}

static void what_was_acknowledged_survives_power_cuts(void **state)
{
    const char *text = g_getenv("LODGE_POWER_CUTS");
    guint32 cuts = text ? (guint32)g_ascii_strtoull(text, NULL, 10) : 400;
    for (guint32 seed = 0; seed < cuts; seed++) {
        check_one_cut(seed);
    }
}

/* The journal of a daemon that was killed says that the file comes and goes; it was being written.
 */
static void what_a_crash_left_of_a_deleted_file_goes_with_it(void **state)
{
    FakeDisk *disk = fake_disk_new(1);
    StateStore *store = open_store(disk, NULL);
    g_autoptr(StateTxn) put = state_txn_new(), gone = state_txn_new();
    state_txn_put(put, "qemu/guest-0.xml", "<domain/>\n");
    state_txn_put(put, "qemu/guest-1.xml", "<domain/>\n");
    assert_true(state_store_commit(store, put, NULL) && state_store_flush(store, NULL));
    fake_disk_put(disk, FILES "/qemu/.guest-0.xml.new", "<dom", 4);
    state_txn_delete(gone, "qemu/guest-0.xml");
    assert_true(state_store_commit(store, gone, NULL));
    state_store_close(store);
    assert_no_leftovers(disk, 1);
    fake_disk_free(disk);
}

static void a_missing_sync_is_noticed(void **state)
{
    /* The harness itself: files written without a sync must get lost in some states. */
    unsigned lost = 0;
    for (guint32 seed = 0; seed < 32; seed++) {
        FakeDisk *disk = fake_disk_new(seed);
        const FileOps *ops = fake_disk_ops(disk);
        ops->mkdir(ops, "/d");
        ops->sync_dir(ops, "/");
        file_ops_write(ops, "/d/file", "text", 4);
        FakeDisk *after = fake_disk_cut(disk);
        char *data = NULL;
        size_t size = 0;
        lost += file_ops_read(fake_disk_ops(after), "/d/file", 100, &data, &size) < 0 || size != 4;
        g_free(data);
        fake_disk_free(after);
        fake_disk_free(disk);
    }
    assert_in_range(lost, 1, 31);
}

static void a_failed_commit_leaves_no_trace(void **state)
{
    for (int call = 0; call < 60; call++) {
        g_autoptr(GRand) random = g_rand_new_with_seed((guint32)call);
        FakeDisk *disk = fake_disk_new((guint32)call);
        Model model = { { NULL } }, maybe = { { NULL } };
        g_autoptr(GError) error = NULL;
        StateStore *store = open_store(disk, &error);
        assert_non_null(store);
        fake_disk_fail_once(disk, call, call % 2 ? ENOSPC : EIO);
        for (int i = 0; i < 10; i++) {
            model_clear(&maybe);
            maybe = model_copy(&model);
            g_autoptr(StateTxn) txn = random_txn(random, &maybe);
            if (state_store_commit(store, txn, NULL)) {
                model_clear(&model);
                model = model_copy(&maybe);
            }
            assert_true(holds(store, &model));
            if (i % 3 == 2) {
                state_store_flush(store, NULL);
            }
        }
        FakeDisk *after = fake_disk_cut(disk);
        StateStore *again = open_store(after, &error);
        assert_non_null(again);
        assert_true(holds(again, &model));
        state_store_close(again);
        state_store_close(store);
        fake_disk_free(after);
        fake_disk_free(disk);
        model_clear(&model);
        model_clear(&maybe);
    }
}

static void an_edited_file_is_told_from_an_intact_one(void **state)
{
    FakeDisk *disk = fake_disk_new(1);
    g_autoptr(GError) error = NULL;
    g_autofree char *sealed = envelope_seal("<domain/>\n", 10, 7);
    assert_int_equal(envelope_open(sealed, strlen(sealed)).state, ENVELOPE_INTACT);
    assert_int_equal(envelope_open(sealed, strlen(sealed)).generation, 7);
    const FileOps *ops = fake_disk_ops(disk);
    file_ops_mkdir_all(ops, FILES "/qemu");
    sealed[1] = 'D';
    fake_disk_put(disk, FILES "/qemu/a.xml", sealed, strlen(sealed));
    fake_disk_put(disk, FILES "/qemu/b.xml", "<domain/>", 9);
    StateStore *store = open_store(disk, &error);
    bool edited = false;
    g_autofree char *a = state_store_read(store, "qemu/a.xml", &edited, &error);
    assert_string_equal(a, "<Domain/>\n");
    assert_true(edited);
    g_autofree char *b = state_store_read(store, "qemu/b.xml", &edited, &error);
    assert_string_equal(b, "<domain/>");
    assert_true(edited); /* another program wrote it, which may leave out what this one adds */
    sealed[1] = 'd';
    fake_disk_put(disk, FILES "/qemu/c.xml", sealed, strlen(sealed));
    g_autofree char *c = state_store_read(store, "qemu/c.xml", &edited, &error);
    assert_string_equal(c, "<domain/>\n");
    assert_false(edited);
    g_autofree char *kept = state_store_quarantine(store, "qemu/a.xml", "why", &error);
    assert_string_equal(kept, FILES "/corrupt/a.xml.0");
    g_autofree char *gone = state_store_read(store, "qemu/a.xml", NULL, &error);
    assert_null(gone);
    assert_null(strstr(error->message, "qemu/a.xml") ? NULL : "the file is not named");
    state_store_close(store);
    fake_disk_free(disk);
}

static gpointer commit_many(gpointer data)
{
    StateStore *store = data;
    for (int i = 0; i < 50; i++) {
        g_autoptr(StateTxn) txn = state_txn_new();
        g_autofree char *path = g_strdup_printf("qemu/%p-%d.xml", (void *)g_thread_self(), i);
        state_txn_put(txn, path, "<domain/>");
        if (!state_store_commit(store, txn, NULL)) {
            return store;
        }
    }
    return NULL;
}

static void many_threads_commit_and_a_second_daemon_is_refused(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("lodge-state-XXXXXX", NULL);
    g_autofree char *files = g_build_filename(dir, "etc", NULL);
    g_autofree char *journal = g_build_filename(dir, "var", NULL);
    StateStoreConfig config = { .files_dir = files, .journal_dir = journal };
    g_autoptr(GError) error = NULL;
    StateStore *store = state_store_open(&config, &error);
    assert_non_null(store);
    assert_null(state_store_open(&config, &error));
    assert_non_null(strstr(error->message, "another lodged (pid "));
    GThread *threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = g_thread_new("commit", commit_many, store);
    }
    for (int i = 0; i < 4; i++) {
        assert_null(g_thread_join(threads[i]));
    }
    g_autoptr(GPtrArray) names = state_store_list(store, "qemu", ".xml", NULL);
    assert_int_equal(names->len, 200);
    state_store_close(store);
    store = state_store_open(&config, NULL);
    g_autoptr(GPtrArray) again = state_store_list(store, "qemu", ".xml", NULL);
    assert_int_equal(again->len, 200);
    assert_int_equal(state_store_replayed(store), 0);
    state_store_close(store);
    g_autofree char *command = g_strdup_printf("rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_power_cuts),
        cmocka_unit_test(what_a_crash_left_of_a_deleted_file_goes_with_it),
        cmocka_unit_test(a_missing_sync_is_noticed),
        cmocka_unit_test(a_failed_commit_leaves_no_trace),
        cmocka_unit_test(an_edited_file_is_told_from_an_intact_one),
        cmocka_unit_test(many_threads_commit_and_a_second_daemon_is_refused),
    };
    log_init("test-store", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
