/* Opening a state directory: reading the journal, and making a fresh one.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/state/store-private.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define JOURNAL_READ_MAX (512u << 20)
#define ZERO_CHUNK (64u << 10)

char *state_store_path(const StateStore *store, const char *path)
{
    return g_strdup_printf("%s/%s", store->files_dir, path);
}

static char *temporary_of(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    return g_strdup_printf("%s/.%s.new", folder, name);
}

static int apply_put(const StateStore *store, const Step *step, const char *path)
{
    g_autofree char *temporary = temporary_of(path);
    gsize size;
    const void *data = g_bytes_get_data(step->data, &size);
    int err = file_ops_write(&store->ops, temporary, data, size);
    failpoint("file-before-rename");
    if (err == 0) {
        err = store->ops.rename(&store->ops, temporary, path);
    }
    if (err < 0) {
        store->ops.unlink(&store->ops, temporary);
    }
    return err;
}

static int apply_link(const StateStore *store, const Step *step, const char *path)
{
    g_autofree char *temporary = temporary_of(path);
    gsize size;
    const char *data = g_bytes_get_data(step->data, &size);
    g_autofree char *target = g_strndup(data, size);
    store->ops.unlink(&store->ops, temporary);
    int err = store->ops.symlink(&store->ops, target, temporary);
    return err < 0 ? err : store->ops.rename(&store->ops, temporary, path);
}

/* Also what a crash left of the file while it was being written: its journal may say both. */
static int apply_delete(const StateStore *store, const char *path)
{
    g_autofree char *temporary = temporary_of(path);
    store->ops.unlink(&store->ops, temporary);
    int err = store->ops.unlink(&store->ops, path);
    return err == -ENOENT ? 0 : err;
}

static int apply_once(const StateStore *store, const Step *step, const char *path)
{
    if (step->kind == STEP_DELETE) {
        return apply_delete(store, path);
    }
    return step->kind == STEP_PUT ? apply_put(store, step, path) : apply_link(store, step, path);
}

int state_store_apply(const StateStore *store, const Step *step)
{
    g_autofree char *path = state_store_path(store, step->path);
    int err = apply_once(store, step, path);
    if (err == -ENOENT) {
        g_autofree char *folder = g_path_get_dirname(path);
        err = file_ops_mkdir_all(&store->ops, folder);
        err = err < 0 ? err : apply_once(store, step, path);
    }
    return err;
}

/* Zeros beforehand: a later sync then has no new blocks to record. */
static int preallocate(const StateStore *store, int fd)
{
    g_autofree guint8 *zeros = g_malloc0(ZERO_CHUNK);
    int err = 0;
    for (int64_t at = 0; err == 0 && at < store->journal_size; at += ZERO_CHUNK) {
        err = store->ops.pwrite(&store->ops, fd, zeros, MIN(ZERO_CHUNK, store->journal_size - at),
                                at);
    }
    return err;
}

int state_store_renew_journal(StateStore *store)
{
    g_autofree char *temporary = temporary_of(store->journal_path);
    g_autoptr(GByteArray) header = g_byte_array_new();
    journal_write_header(header, store->epoch + 1);
    store->ops.unlink(&store->ops, temporary);
    int fd = store->ops.open(&store->ops, temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        return fd;
    }
    int err = preallocate(store, fd);
    err = err ?: store->ops.pwrite(&store->ops, fd, header->data, header->len, 0);
    err = err ?: store->ops.sync(&store->ops, fd);
    failpoint("journal-before-rename");
    err = err ?: store->ops.rename(&store->ops, temporary, store->journal_path);
    failpoint("journal-renamed");
    err = err ?: store->ops.sync_dir(&store->ops, store->journal_dir);
    if (err < 0) {
        store->ops.close(&store->ops, fd);
        store->ops.unlink(&store->ops, temporary);
        return err;
    }
    if (store->journal_fd >= 0) {
        store->ops.close(&store->ops, store->journal_fd);
    }
    store->journal_fd = fd;
    store->epoch++;
    store->sequence = 1;
    store->offset = header->len;
    return 0;
}

static bool keep_broken_journal(StateStore *store, GError **error)
{
    g_autofree char *kept = g_strdup_printf("%s/journal.broken", store->journal_dir);
    log_write(LOG_LEVEL_WARN, "state: '%s' has no valid header; kept as '%s'", store->journal_path,
              kept);
    int err = store->ops.rename(&store->ops, store->journal_path, kept);
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot rename '%s'", store->journal_path);
        return false;
    }
    return true;
}

/* Takes a journal that a clean end left. Behind its header it must be all zeros: of what a torn
 * batch left, later records might be taken for those of a new one. */
static void reuse_journal(StateStore *store, const char *data, size_t size)
{
    g_autoptr(GByteArray) header = g_byte_array_new();
    journal_write_header(header, store->epoch);
    if (size != store->journal_size || memcmp(data, header->data, header->len) != 0) {
        return;
    }
    for (size_t i = header->len; i < size; i++) {
        if (data[i]) {
            return;
        }
    }
    int fd = store->ops.open(&store->ops, store->journal_path, O_RDWR, 0);
    if (fd < 0) {
        return;
    }
    /* The one that made it may have ended before the disk had its name. */
    if (store->ops.sync(&store->ops, fd) < 0 ||
        store->ops.sync_dir(&store->ops, store->journal_dir) < 0) {
        store->ops.close(&store->ops, fd);
        return;
    }
    store->journal_fd = fd;
    store->sequence = 1;
    store->offset = header->len;
}

bool state_store_recover(StateStore *store, GError **error)
{
    g_autofree char *data = NULL;
    size_t size = 0;
    int err = file_ops_read(&store->ops, store->journal_path, JOURNAL_READ_MAX, &data, &size);
    if (err == -ENOENT) {
        return true;
    }
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot read '%s'", store->journal_path);
        return false;
    }
    GPtrArray *records = NULL;
    if (!journal_read((const guint8 *)data, size, &store->epoch, &records)) {
        return store->is_read_only || keep_broken_journal(store, error);
    }
    /* What the journal says is as good as written: files follow as after any commit, and before
     * a new journal takes the place of this one. */
    for (guint r = 0; r < records->len; r++) {
        state_store_remember(store, g_ptr_array_index(records, r));
    }
    store->replayed = records->len;
    if (records->len == 0 && !store->is_read_only) {
        reuse_journal(store, data, size);
    }
    g_ptr_array_unref(records);
    return true;
}

bool state_journal_examine(const char *journal_dir, StateJournalReport *out, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/" JOURNAL_NAME, journal_dir);
    g_autofree char *data = NULL;
    size_t size = 0;
    guint64 epoch;
    GPtrArray *records = NULL;
    *out = (StateJournalReport){ 0 };
    int err = file_ops_read(&file_ops_posix, path, JOURNAL_READ_MAX, &data, &size);
    if (err == -ENOENT) {
        return true;
    }
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot read '%s'", path);
        return false;
    }
    out->is_there = true;
    out->is_valid = journal_read((const guint8 *)data, size, &epoch, &records);
    if (out->is_valid) {
        out->records = records->len;
        g_ptr_array_unref(records);
    }
    return true;
}
