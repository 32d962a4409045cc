/* Commits, their sharing of the disk's sync, and the writing of files behind them.
 *
 * One committing thread leads: it writes all that waits as one batch, syncs, and wakes the others.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state/store.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/state/envelope.h"
#include "daemon/state/store-private.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define WRITE_DELAY_US (50 * 1000)
#define RETRY_DELAY_US (1000 * 1000)
#define FAILURES_MAX 3
#define BATCH_MAX (8u << 20)
#define LOCK_WAIT_US (5 * 1000 * 1000)
#define LOCK_POLL_US 1000

StateTxn *state_txn_new(void)
{
    StateTxn *txn = g_new0(StateTxn, 1);
    txn->steps = g_ptr_array_new_with_free_func((GDestroyNotify)step_free);
    return txn;
}

void state_txn_free(StateTxn *txn)
{
    if (txn) {
        g_ptr_array_unref(txn->steps);
        g_free(txn);
    }
}

static void add_step(StateTxn *txn, StepKind kind, const char *path, char *data)
{
    lodge_assert(journal_path_is_safe(path));
    Step *step = g_new0(Step, 1);
    step->kind = kind;
    step->path = g_strdup(path);
    step->data = data ? g_bytes_new_take(data, strlen(data)) : NULL;
    g_ptr_array_add(txn->steps, step);
}

void state_txn_put(StateTxn *txn, const char *path, const char *xml)
{
    guint64 generation = (guint64)g_get_real_time();
    add_step(txn, STEP_PUT, path, envelope_seal(xml, strlen(xml), generation));
}

void state_txn_delete(StateTxn *txn, const char *path)
{
    add_step(txn, STEP_DELETE, path, NULL);
}

void state_txn_link(StateTxn *txn, const char *path, const char *target)
{
    add_step(txn, STEP_LINK, path, g_strdup(target));
}

static Step *copy_step(const Step *step)
{
    Step *copy = g_new0(Step, 1);
    copy->kind = step->kind;
    copy->path = g_strdup(step->path);
    copy->data = step->data ? g_bytes_ref(step->data) : NULL;
    return copy;
}

static GHashTable *new_step_table(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)step_free);
}

void state_store_remember(StateStore *store, const GPtrArray *steps)
{
    for (guint i = 0; i < steps->len; i++) {
        Step *copy = copy_step(g_ptr_array_index(steps, i));
        g_hash_table_replace(store->latest, copy->path, copy);
    }
}

/* What could not be written waits again, unless something later does. Under lock. */
static void return_steps(StateStore *store)
{
    GHashTableIter iter;
    gpointer path, step;
    g_hash_table_iter_init(&iter, store->writing);
    while (g_hash_table_iter_next(&iter, &path, &step)) {
        if (!g_hash_table_contains(store->latest, path)) {
            Step *copy = copy_step(step);
            g_hash_table_insert(store->latest, copy->path, copy);
        }
    }
}

/* Writes the files of all commits so far. Context: files_lock held, lock not. */
static int write_files(StateStore *store)
{
    g_mutex_lock(&store->lock);
    lodge_assert(!store->writing);
    store->writing = store->latest;
    store->latest = new_step_table();
    g_mutex_unlock(&store->lock);

    int err = 0;
    GHashTableIter iter;
    gpointer path, step;
    g_hash_table_iter_init(&iter, store->writing);
    while (err == 0 && g_hash_table_iter_next(&iter, &path, &step)) {
        err = state_store_apply(store, step);
        failpoint("file-written");
    }

    g_mutex_lock(&store->lock);
    if (err < 0) {
        return_steps(store);
    }
    g_clear_pointer(&store->writing, g_hash_table_unref);
    g_mutex_unlock(&store->lock);
    return err;
}

/* Files first, then an empty journal. Context: the leader; no lock held. */
static int checkpoint(StateStore *store)
{
    g_mutex_lock(&store->files_lock);
    int err = write_files(store);
    err = err ?: store->ops.sync_all(&store->ops, store->files_dir);
    g_mutex_unlock(&store->files_lock);
    return err ?: state_store_renew_journal(store);
}

static void finish(Commit **commits, guint count, int err)
{
    for (guint i = 0; i < count; i++) {
        commits[i]->err = err;
        commits[i]->is_done = true;
    }
}

/* Appends a batch and syncs it. A journal that an error touched is never written again: what it
 * holds is unknown. Context: the leader; no lock held. */
static int append_batch(StateStore *store, Commit **commits, guint count)
{
    if (store->journal_fd < 0 || store->offset >= store->journal_size) {
        int err = checkpoint(store);
        if (err < 0) {
            return err;
        }
    }
    g_autoptr(GByteArray) batch = g_byte_array_new();
    guint64 sequence = store->sequence;
    for (guint i = 0; i < count; i++) {
        if (!journal_write_record(batch, store->epoch, sequence++, commits[i]->steps)) {
            return -EFBIG;
        }
    }
    failpoint("commit-before-write");
    int err =
        store->ops.pwrite(&store->ops, store->journal_fd, batch->data, batch->len, store->offset);
    failpoint("commit-before-sync");
    err = err ?: store->ops.sync(&store->ops, store->journal_fd);
    if (err < 0) {
        store->ops.close(&store->ops, store->journal_fd);
        store->journal_fd = -1;
        return err;
    }
    store->sequence = sequence;
    store->offset += batch->len;
    failpoint("commit-synced");
    return 0;
}

static gsize commit_size(const Commit *commit)
{
    gsize size = 0;
    for (guint i = 0; i < commit->steps->len; i++) {
        const Step *step = g_ptr_array_index(commit->steps, i);
        size += step->data ? g_bytes_get_size(step->data) : 0;
    }
    return size;
}

/* Works on what waits until nothing does. Under lock, which is released meanwhile. */
static void lead(StateStore *store)
{
    store->is_leading = true;
    while (store->queue->len) {
        gsize size = 0;
        guint count = 0;
        while (count < store->queue->len && (count == 0 || size < BATCH_MAX)) {
            size += commit_size(g_ptr_array_index(store->queue, count++));
        }
        g_autofree Commit **commits =
            g_memdup2(store->queue->pdata, count * sizeof(store->queue->pdata[0]));
        g_ptr_array_remove_range(store->queue, 0, count);
        int err = -EROFS;
        if (store->failures < FAILURES_MAX) {
            g_mutex_unlock(&store->lock);
            err = append_batch(store, commits, count);
            g_mutex_lock(&store->lock);
            /* A full disk is not a broken one: somebody may make room. */
            if (err < 0 && store->journal_fd < 0 && err != -ENOSPC && err != -EDQUOT) {
                store->failures++;
            } else if (err == 0) {
                store->failures = 0;
            }
        }
        for (guint i = 0; err == 0 && i < count; i++) {
            state_store_remember(store, commits[i]->steps);
        }
        finish(commits, count, err);
        g_cond_broadcast(&store->changed);
    }
    store->is_leading = false;
    g_cond_broadcast(&store->changed);
}

/* Drops what is in memory of a failed batch's journal: a fresh one is made before the answer, so
 * that a commit that was refused cannot come back after a crash. Under lock. */
static void replace_failed_journal(StateStore *store)
{
    while (store->is_leading) {
        g_cond_wait(&store->changed, &store->lock);
    }
    if (store->journal_fd >= 0) {
        return;
    }
    store->is_leading = true;
    g_mutex_unlock(&store->lock);
    int err = checkpoint(store);
    g_mutex_lock(&store->lock);
    store->is_leading = false;
    g_cond_broadcast(&store->changed);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "state: cannot begin a new journal in '%s': %s",
                  store->journal_dir, g_strerror(-err));
    }
}

bool state_store_commit(StateStore *store, const StateTxn *txn, GError **error)
{
    if (store->is_read_only) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "the state directory '%s' is open for reading only", store->files_dir);
        return false;
    }
    Commit commit = { .steps = txn->steps };
    if (commit_size(&commit) > JOURNAL_RECORD_MAX / 2) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "a definition of more than %u bytes cannot be stored", JOURNAL_RECORD_MAX / 2);
        return false;
    }
    g_mutex_lock(&store->lock);
    g_ptr_array_add(store->queue, &commit);
    while (!commit.is_done) {
        if (!store->is_leading) {
            lead(store);
        } else {
            g_cond_wait(&store->changed, &store->lock);
        }
    }
    if (commit.err < 0) {
        replace_failed_journal(store);
    }
    g_mutex_unlock(&store->lock);
    if (commit.err < 0) {
        lodge_error_set_errno(error, commit.err, "cannot store the change in '%s'",
                              store->journal_path);
        return false;
    }
    return true;
}

bool state_store_flush(StateStore *store, GError **error)
{
    g_mutex_lock(&store->lock);
    while (store->is_leading) {
        g_cond_wait(&store->changed, &store->lock);
    }
    store->is_leading = true;
    g_mutex_unlock(&store->lock);
    int err = checkpoint(store);
    g_mutex_lock(&store->lock);
    store->is_leading = false;
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->lock);
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot write the state files in '%s'", store->files_dir);
    }
    return err == 0;
}

/* Writes files a moment after commits. What was found at the opening is written at once, and a
 * journal made before the first commit needs one. */
static gpointer run_writer(gpointer data)
{
    StateStore *store = data;
    bool has_warned = false;
    g_autoptr(GError) error = NULL;
    if (store->begins_without && !state_store_flush(store, &error)) {
        log_write(LOG_LEVEL_WARN, "state: %s; trying again with the next change", error->message);
    }
    g_mutex_lock(&store->lock);
    while (!store->is_closing) {
        if (g_hash_table_size(store->latest) == 0) {
            g_cond_wait(&store->changed, &store->lock);
            continue;
        }
        gint64 until = g_get_monotonic_time() + (has_warned ? RETRY_DELAY_US : WRITE_DELAY_US);
        while (!store->is_closing && g_cond_wait_until(&store->changed, &store->lock, until)) {
        }
        g_mutex_unlock(&store->lock);
        g_mutex_lock(&store->files_lock);
        int err = write_files(store);
        g_mutex_unlock(&store->files_lock);
        g_mutex_lock(&store->lock);
        if (err < 0 && !has_warned) {
            log_write(LOG_LEVEL_WARN, "state: cannot write files in '%s': %s; trying on",
                      store->files_dir, g_strerror(-err));
        }
        has_warned = err < 0;
    }
    g_mutex_unlock(&store->lock);
    return NULL;
}

/* Who has the lock, from its file; 0: nobody says. */
static guint64 holder_of(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return g_ascii_strtoull(text, NULL, 10);
}

/* A daemon that was killed may have left processes that were being made and have not let go of what
 * they inherited: those are waited for. */
static bool lock_file(int fd, int operation, const char *journal_dir, GError **error)
{
    gint64 until = g_get_monotonic_time() + LOCK_WAIT_US;
    while (flock(fd, operation | LOCK_NB) < 0) {
        int err = errno;
        guint64 pid = holder_of(fd);
        bool is_gone = pid > 0 && pid <= INT_MAX && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
        if (err != EWOULDBLOCK) {
            lodge_error_set_errno(error, err, "cannot lock '%s/lodged.lock'", journal_dir);
            return false;
        }
        if (!is_gone || g_get_monotonic_time() > until) {
            g_autofree char *name = pid ? g_strdup_printf("%" G_GUINT64_FORMAT, pid) : NULL;
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                        "another lodged (pid %s) uses the state directory '%s'", name ?: "unknown",
                        journal_dir);
            return false;
        }
        g_usleep(LOCK_POLL_US);
    }
    return true;
}

bool state_store_lock_shared(const char *journal_dir, int *out_fd, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/lodged.lock", journal_dir);
    *out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*out_fd < 0 && errno != ENOENT) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        return false;
    }
    if (*out_fd >= 0 && !lock_file(*out_fd, LOCK_SH, journal_dir, error)) {
        cleanup_close(out_fd);
        return false;
    }
    return true;
}

static bool take_lock(StateStore *store, GError **error)
{
    if (store->ops.open != file_ops_posix.open) {
        return true; /* a simulated disk has one user */
    }
    g_autofree char *path = g_strdup_printf("%s/lodged.lock", store->journal_dir);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        return false;
    }
    if (!lock_file(store->lock_fd, LOCK_EX, store->journal_dir, error)) {
        return false;
    }
    char text[32];
    g_snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(store->lock_fd, 0) < 0 ||
        pwrite(store->lock_fd, text, strlen(text), 0) != (ssize_t)strlen(text)) {
        log_write(LOG_LEVEL_WARN, "state: cannot write the pid into '%s'", path);
    }
    return true;
}

static bool start(StateStore *store, const StateStoreConfig *config, GError **error)
{
    if (!config->is_read_only) {
        const char *const dirs[] = { store->files_dir, store->journal_dir };
        for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
            int err = file_ops_mkdir_all(&store->ops, dirs[i]);
            if (err < 0) {
                lodge_error_set_errno(error, err, "cannot create '%s'", dirs[i]);
                return false;
            }
        }
        if (!take_lock(store, error)) {
            return false;
        }
    }
    if (!state_store_recover(store, error)) {
        return false;
    }
    store->begins_without = store->journal_fd < 0;
    if (!config->is_read_only && !config->is_synchronous) {
        store->thread = g_thread_new("state", run_writer, store);
    }
    return true;
}

StateStore *state_store_open(const StateStoreConfig *config, GError **error)
{
    StateStore *store = g_new0(StateStore, 1);
    store->ops = config->ops ? *config->ops : file_ops_posix;
    store->files_dir = g_strdup(config->files_dir);
    store->journal_dir = g_strdup(config->journal_dir);
    store->journal_path = g_strdup_printf("%s/" JOURNAL_NAME, store->journal_dir);
    store->is_read_only = config->is_read_only;
    store->journal_size = config->journal_size ?: JOURNAL_SIZE;
    store->lock_fd = -1;
    store->journal_fd = -1;
    g_mutex_init(&store->lock);
    g_mutex_init(&store->files_lock);
    g_cond_init(&store->changed);
    store->queue = g_ptr_array_new();
    store->latest = new_step_table();
    if (!start(store, config, error)) {
        store->is_read_only = true; /* nothing to write on the way out */
        state_store_close(store);
        return NULL;
    }
    return store;
}

void state_store_close(StateStore *store)
{
    if (!store) {
        return;
    }
    if (store->thread) {
        g_mutex_lock(&store->lock);
        store->is_closing = true;
        g_cond_broadcast(&store->changed);
        g_mutex_unlock(&store->lock);
        g_thread_join(store->thread);
    }
    g_autoptr(GError) error = NULL;
    if (!store->is_read_only && !state_store_flush(store, &error)) {
        log_write(LOG_LEVEL_WARN, "state: %s; the journal has it", error->message);
    }
    if (store->journal_fd >= 0) {
        store->ops.close(&store->ops, store->journal_fd);
    }
    cleanup_close(&store->lock_fd);
    g_ptr_array_unref(store->queue);
    g_hash_table_unref(store->latest);
    g_mutex_clear(&store->lock);
    g_mutex_clear(&store->files_lock);
    g_cond_clear(&store->changed);
    g_free(store->files_dir);
    g_free(store->journal_dir);
    g_free(store->journal_path);
    g_free(store);
}

unsigned state_store_replayed(const StateStore *store)
{
    return store->replayed;
}
