/* Reading state files, those that are not written yet included.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/state/envelope.h"
#include "daemon/state/store-private.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

/* The last committed step that no file shows yet, or NULL. Under lock. */
static const Step *find_pending(StateStore *store, const char *path)
{
    const Step *step = g_hash_table_lookup(store->latest, path);
    if (!step && store->writing) {
        step = g_hash_table_lookup(store->writing, path);
    }
    return step;
}

/* 1: found, 0: deleted, -1: the file knows. */
static int read_pending(StateStore *store, const char *path, char **out_text, size_t *out_size)
{
    g_mutex_lock(&store->lock);
    const Step *step = find_pending(store, path);
    int known = !step ? -1 : step->kind != STEP_DELETE;
    if (known == 1) {
        gsize size;
        const char *data = g_bytes_get_data(step->data, &size);
        *out_text = g_strndup(data, size);
        *out_size = size;
    }
    g_mutex_unlock(&store->lock);
    return known;
}

char *state_store_read(StateStore *store, const char *path, bool *out_edited, GError **error)
{
    g_autofree char *text = NULL;
    size_t size = 0;
    int known = journal_path_is_safe(path) ? read_pending(store, path, &text, &size) : 0;
    int err = known == 0 ? -ENOENT : 0;
    if (known < 0) {
        g_autofree char *full = state_store_path(store, path);
        err = file_ops_read(&store->ops, full, STATE_FILE_MAX, &text, &size);
    }
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot read '%s/%s'", store->files_dir, path);
        return NULL;
    }
    if (memchr(text, 0, size)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "'%s/%s' holds NUL bytes",
                    store->files_dir, path);
        return NULL;
    }
    Envelope envelope = envelope_open(text, size);
    text[envelope.body_size] = 0;
    if (out_edited) {
        *out_edited = envelope.state == ENVELOPE_CHANGED || envelope.state == ENVELOPE_ABSENT;
    }
    return g_steal_pointer(&text);
}

static void add_name(GHashTable *names, const char *name, const char *suffix, bool is_there)
{
    if (!g_str_has_suffix(name, suffix) || name[0] == '.') {
        return;
    }
    char *stem = g_strndup(name, strlen(name) - strlen(suffix));
    if (is_there) {
        g_hash_table_add(names, stem);
    } else {
        g_hash_table_remove(names, stem);
        g_free(stem);
    }
}

static void add_pending(GHashTable *names, GHashTable *steps, const char *folder,
                        const char *suffix)
{
    GHashTableIter iter;
    gpointer path, step;
    g_hash_table_iter_init(&iter, steps);
    while (g_hash_table_iter_next(&iter, &path, &step)) {
        g_autofree char *parent = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        if (strcmp(parent, folder) == 0) {
            add_name(names, name, suffix, ((Step *)step)->kind != STEP_DELETE);
        }
    }
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *state_store_list(StateStore *store, const char *folder, const char *suffix,
                            GError **error)
{
    g_autofree char *path = state_store_path(store, folder);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_lock(&store->lock);
    int err = store->ops.list(&store->ops, path, entries);
    for (guint i = 0; i < entries->len; i++) {
        add_name(names, g_ptr_array_index(entries, i), suffix, true);
    }
    if (store->writing) {
        add_pending(names, store->writing, folder, suffix);
    }
    add_pending(names, store->latest, folder, suffix);
    g_mutex_unlock(&store->lock);
    if (err < 0 && err != -ENOENT) {
        lodge_error_set_errno(error, err, "cannot list '%s'", path);
        return NULL;
    }
    GPtrArray *sorted = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer name;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_ptr_array_add(sorted, name);
        g_hash_table_iter_steal(&iter);
    }
    g_ptr_array_sort(sorted, compare_names);
    return sorted;
}

/* A name in corrupt/ that is free (transfer full). */
static char *free_name(StateStore *store, const char *path)
{
    g_autofree char *folder = state_store_path(store, "corrupt");
    g_autoptr(GPtrArray) taken = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *base = g_path_get_basename(path);
    store->ops.list(&store->ops, folder, taken);
    for (unsigned i = 0;; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u", base, i);
        if (!g_ptr_array_find_with_equal_func(taken, name, g_str_equal, NULL)) {
            return g_strdup_printf("%s/%s", folder, name);
        }
    }
}

char *state_store_quarantine(StateStore *store, const char *path, const char *reason,
                             GError **error)
{
    g_mutex_lock(&store->lock);
    bool is_pending = find_pending(store, path) != NULL;
    g_mutex_unlock(&store->lock);
    if (is_pending && !state_store_flush(store, error)) {
        return NULL;
    }
    g_autofree char *folder = state_store_path(store, "corrupt");
    g_autofree char *from = state_store_path(store, path);
    int err = file_ops_mkdir_all(&store->ops, folder);
    g_autofree char *to = free_name(store, path);
    g_autofree char *note = g_strdup_printf("%s.reason", to);
    err = err ?: file_ops_write(&store->ops, note, reason, strlen(reason));
    err = err ?: store->ops.rename(&store->ops, from, to);
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot move '%s' to '%s'", from, to);
        return NULL;
    }
    log_write(LOG_LEVEL_ERROR, "state: '%s' is set aside as '%s': %s", from, to, reason);
    return g_steal_pointer(&to);
}
