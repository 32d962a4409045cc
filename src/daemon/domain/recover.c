/* Recovery of a state directory, as a program of its own.
 *
 * The daemon does most of it when it starts, without asking; here it is told beforehand what would
 * happen. What cannot be understood is set aside in corrupt/, never removed; removed is only what
 * says nothing any more: marks and statuses of guests that are gone, half-written files.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/recover.h"

#include "base/cleanup.h"
#include "conf/domain/domain.h"
#include "daemon/domain/module.h"
#include "daemon/domain/removal.h"
#include "daemon/domain/runtime.h"
#include "daemon/state/store.h"
#include "gbase/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

typedef struct Recovery {
    const DaemonPaths *paths;
    StateStore *store;
    StateTxn *txn; /* what is to be deleted of the store's files, once there is any */
    bool mend;
    RecoverCounts *counts;
    GHashTable *uuids; /* text -> name of the definition that has it */
} Recovery;

/* What is there but harms nothing. */
static void note(const char *path, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void note(const char *path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    printf("note: %s: %s\n", path, text);
}

/* @action: as "moved to corrupt/"; @ok: it was done. */
static void finding(Recovery *r, const char *path, const char *what, const char *action, bool ok)
{
    r->counts->found++;
    r->counts->mended += r->mend && ok;
    printf("%s: %s: %s: %s %s\n", r->mend && ok ? "mended" : "problem", path, what,
           r->mend ? (ok ? "is" : "could not be") : "would be", action);
}

static void find_in_file(Recovery *r, const char *path, const char *what)
{
    g_autofree char *kept = r->mend ? state_store_quarantine(r->store, path, what, NULL) : NULL;
    finding(r, path, what, "moved to corrupt/", kept != NULL);
}

/* Where there are no engines to ask: what a file says is believed. */
static const char *offline_emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    (void)opaque;
    (void)virt;
    (void)arch;
    return "/usr/bin/lodge-vmm";
}

static const char *offline_machine(void *opaque, const char *emulator, const char *arch,
                                   const char *machine)
{
    (void)opaque;
    (void)emulator;
    (void)arch;
    return machine ? machine : "q35";
}

static const DomainEnvironment offline = { .default_emulator = offline_emulator,
                                           .canonical_machine = offline_machine };

/* --- definitions --- */

/* Why the daemon would not take the definition (transfer full), or NULL. */
static char *fault_of(Recovery *r, const char *path, const char *name)
{
    g_autoptr(GError) reason = NULL;
    bool is_edited = false;
    g_autofree char *text = state_store_read(r->store, path, &is_edited, &reason);
    g_autoptr(DomainDef) def =
        text ? domain_def_parse(text, DOMAIN_PARSE_INACTIVE, &offline, NULL, &reason) : NULL;
    if (!def) {
        return g_strdup(reason->message);
    }
    if (strcmp(def->name, name) != 0) {
        return g_strdup_printf("it defines '%s', which is not the file's name", def->name);
    }
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&def->uuid, uuid);
    const char *other = g_hash_table_lookup(r->uuids, uuid);
    if (other) {
        return g_strdup_printf("it has the UUID of '%s', %s", other, uuid);
    }
    g_hash_table_insert(r->uuids, g_strdup(uuid), g_strdup(name));
    if (is_edited) {
        note(path, "changed by hand, and taken as it is");
    }
    return NULL;
}

static bool check_definitions(Recovery *r, GError **error)
{
    g_autoptr(GPtrArray) names = state_store_list(r->store, "qemu", ".xml", error);
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = g_strdup_printf("qemu/%s.xml", name);
        g_autofree char *fault = fault_of(r, path, name);
        r->counts->definitions++;
        if (fault) {
            find_in_file(r, path, fault);
        }
    }
    return names != NULL;
}

static bool is_defined(Recovery *r, const char *name)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, r->uuids);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (strcmp(value, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_marks(Recovery *r, GError **error)
{
    g_autoptr(GPtrArray) names = state_store_list(r->store, "qemu/autostart", ".xml", error);
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (!is_defined(r, name)) {
            g_autofree char *path = g_strdup_printf("qemu/autostart/%s.xml", name);
            r->txn = r->txn ? r->txn : state_txn_new();
            state_txn_delete(r->txn, path);
            finding(r, path, "marks a guest that is not defined", "removed", true);
        }
    }
    return names != NULL;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a folder, sorted (transfer full). */
static GPtrArray *names_in(const char *folder)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_strdup(name));
    }
    g_clear_pointer(&dir, g_dir_close);
    g_ptr_array_sort(names, compare_names);
    return names;
}

static bool is_half_written(const char *name)
{
    return name[0] == '.' && g_str_has_suffix(name, ".new");
}

static void check_leftovers(Recovery *r, const char *folder)
{
    g_autoptr(GPtrArray) names = names_in(folder);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (is_half_written(name)) {
            g_autofree char *path = g_build_filename(folder, name, NULL);
            finding(r, path, "half-written, left by a crash", "removed",
                    r->mend && g_unlink(path) == 0);
        }
    }
}

/* What removal_take() began with is garbage by its place. */
static void check_removed(Recovery *r, const char *base)
{
    g_autofree char *folder = g_build_filename(base, REMOVAL_FOLDER, NULL);
    unsigned count = removal_of_leftovers(base, r->mend);
    if (count > 0) {
        g_autofree char *what = g_strdup_printf("holds %u folders of guests that are gone", count);
        finding(r, folder, what, "emptied", r->mend && removal_of_leftovers(base, false) == 0);
    }
}

static void check_set_aside(Recovery *r)
{
    g_autofree char *folder = g_build_filename(r->paths->config_dir, "corrupt", NULL);
    g_autoptr(GPtrArray) names = names_in(folder);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *reason_path = g_strdup_printf("%s/%s.reason", folder, name);
        g_autofree char *reason = NULL;
        if (g_file_get_contents(reason_path, &reason, NULL, NULL)) {
            g_autofree char *path = g_build_filename("corrupt", name, NULL);
            note(path, "set aside: %s", g_strchomp(reason));
        }
    }
}

/* --- running guests --- */

static void set_status_aside(Recovery *r, const char *path, const char *why)
{
    g_autofree char *folder = g_build_filename(r->paths->config_dir, "corrupt", NULL);
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *to = g_strdup_printf("%s/status-%s", folder, base);
    bool ok = false;
    if (r->mend) {
        g_autofree char *text = NULL;
        gsize size;
        ok = g_mkdir_with_parents(folder, 0700) == 0 &&
             g_file_get_contents(path, &text, &size, NULL) &&
             file_ops_write(&file_ops_posix, to, text, size) == 0 && g_unlink(path) == 0;
    }
    g_autofree char *what = g_strdup_printf("%s; its guest, should it run, is not found", why);
    finding(r, path, what, "moved to corrupt/", ok);
}

static void check_status(Recovery *r, const char *path, GHashTable *folders)
{
    g_autoptr(GError) reason = NULL;
    g_autofree char *name = NULL;
    int id = 0;
    switch (status_examine(path, &name, &id, &reason)) {
    case STATUS_RUNS:
        g_hash_table_add(folders, g_strdup_printf("domain-%d-", id));
        note(path, "guest '%s' runs and will be found again", name);
        break;
    case STATUS_ENDED:
        finding(r, path, "its guest ended while no daemon ran", "removed",
                r->mend && g_unlink(path) == 0);
        break;
    case STATUS_BROKEN:
        set_status_aside(r, path, reason->message);
        break;
    }
}

/* Whether a guest that runs has the folder @name. */
static bool is_of_running(GHashTable *folders, const char *name)
{
    GHashTableIter iter;
    gpointer prefix;
    g_hash_table_iter_init(&iter, folders);
    while (g_hash_table_iter_next(&iter, &prefix, NULL)) {
        if (g_str_has_prefix(name, prefix)) {
            return true;
        }
    }
    return false;
}

static void check_statuses(Recovery *r)
{
    g_autofree char *folder = g_build_filename(r->paths->run_dir, "qemu", NULL);
    g_autoptr(GPtrArray) names = names_in(folder);
    g_autoptr(GHashTable) folders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (name[0] != '.' && g_str_has_suffix(name, ".xml")) {
            r->counts->statuses++;
            check_status(r, path, folders);
        }
    }
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_str_has_prefix(name, "domain-") && !g_str_has_suffix(name, ".xml") &&
            !is_of_running(folders, name)) {
            if (r->mend) {
                runtime_remove_folder(NULL, path);
            }
            finding(r, path, "folder of a guest that does not run", "removed",
                    !g_file_test(path, G_FILE_TEST_EXISTS));
        }
    }
    check_leftovers(r, folder);
}

/* --- the whole --- */

static void check_journal(Recovery *r, const StateJournalReport *journal)
{
    g_autofree char *path = g_build_filename(r->paths->state_dir, "journal.wal", NULL);
    r->counts->journal_records = journal->records;
    if (journal->is_there && !journal->is_valid) {
        finding(r, path, "has no valid header", "kept as journal.broken, a new one begun", true);
    } else if (journal->records) {
        g_autofree char *what =
            g_strdup_printf("holds %u changes that the files may lack", journal->records);
        finding(r, path, what, "written into the files", true);
    }
}

static bool run(Recovery *r, const StateJournalReport *journal, GError **error)
{
    g_autofree char *definitions = g_build_filename(r->paths->config_dir, "qemu", NULL);
    g_autofree char *marks = g_build_filename(definitions, "autostart", NULL);
    check_set_aside(r);
    check_journal(r, journal);
    if (!check_definitions(r, error) || !check_marks(r, error)) {
        return false;
    }
    if (r->mend && r->txn && !state_store_commit(r->store, r->txn, error)) {
        return false;
    }
    check_statuses(r);
    if (r->mend && !state_store_flush(r->store, error)) {
        return false;
    }
    check_leftovers(r, definitions);
    check_leftovers(r, marks);
    check_leftovers(r, r->paths->state_dir);
    check_removed(r, r->paths->run_dir);
    check_removed(r, r->paths->state_dir);
    return true;
}

bool recover_state(const DaemonPaths *paths, bool mend, RecoverCounts *out, GError **error)
{
    StateStoreConfig config = { .files_dir = paths->config_dir,
                                .journal_dir = paths->state_dir,
                                .is_read_only = !mend,
                                .is_synchronous = true };
    StateJournalReport journal;
    *out = (RecoverCounts){ 0 };
    if (!g_file_test(paths->state_dir, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "there is no state directory '%s'; name another by --root or --session",
                    paths->state_dir);
        return false;
    }
    int lock = -1;
    if ((!mend && !state_store_lock_shared(paths->state_dir, &lock, error)) ||
        !state_journal_examine(paths->state_dir, &journal, error)) {
        return false;
    }
    Recovery r = { .paths = paths, .mend = mend, .counts = out };
    r.store = state_store_open(&config, error);
    r.uuids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    bool ok = r.store && run(&r, &journal, error);
    g_hash_table_unref(r.uuids);
    g_clear_pointer(&r.txn, state_txn_free);
    state_store_close(r.store);
    cleanup_close(&lock);
    return ok;
}
