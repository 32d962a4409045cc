/* Definitions and autostart marks that were changed by hand, read again at SIGHUP.
 *
 * What is new or edited is defined as if a client did it. What cannot be taken stays as it was, the
 * file too: whoever edits it may not be done. A definition whose file is gone stays.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/domain/handlers.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <string.h>

/* The text when it is another than the daemon's (transfer full); NULL: it is not, or with @error.
 */
static char *changed_text(DomainService *service, const char *name, const char *path,
                          GError **error)
{
    bool is_edited = false;
    g_autoptr(Domain) known = service_find_name(service, name);
    g_autofree char *text = state_store_read(service->store, path, &is_edited, error);
    bool is_persistent = false;
    if (known) {
        g_mutex_lock(&known->lock);
        is_persistent = known->is_persistent;
        g_mutex_unlock(&known->lock);
    }
    return is_persistent && !is_edited ? NULL : g_steal_pointer(&text);
}

static bool check_name(DomainService *service, const char *name, const char *text, GError **error)
{
    g_autoptr(DomainDef) def =
        domain_def_parse(text, DOMAIN_PARSE_INACTIVE, service_environment(service), NULL, error);
    if (def && strcmp(def->name, name) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "it defines '%s', which is not the file's name", def->name);
        return false;
    }
    return def != NULL;
}

/* Returns: whether it was defined. */
static bool read_again(DomainService *service, const char *name)
{
    g_autofree char *path = service_config_path(name);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = changed_text(service, name, path, &error);
    g_autoptr(Domain) domain = text && check_name(service, name, text, &error)
                                   ? domain_define(service, text, 0, &error)
                                   : NULL;
    if (domain) {
        log_write(LOG_LEVEL_INFO, "domain '%s': its definition was read again", name);
    } else if (error && !g_error_matches(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND)) {
        log_write(LOG_LEVEL_ERROR, "'%s/%s' is not taken: %s", service->daemon->paths.config_dir,
                  path, error->message);
    }
    return domain != NULL;
}

static GHashTable *list_marks(DomainService *service)
{
    GHashTable *marks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) names = state_store_list(service->store, "qemu/autostart", ".xml", NULL);
    for (guint i = 0; names && i < names->len; i++) {
        g_hash_table_add(marks, g_strdup(g_ptr_array_index(names, i)));
    }
    return marks;
}

static bool mark_differs(Domain *domain, GHashTable *marks)
{
    g_mutex_lock(&domain->lock);
    bool differs =
        domain->is_persistent && domain->is_autostart != g_hash_table_contains(marks, domain->name);
    g_mutex_unlock(&domain->lock);
    return differs;
}

/* Returns: whether it changed. Those who change marks have the job. */
static bool look_at_mark(DomainService *service, Domain *domain, GHashTable *marks)
{
    if (!mark_differs(domain, marks) || !domain_begin_job(domain, "reload", NULL)) {
        return false;
    }
    g_autoptr(GHashTable) now = list_marks(service);
    bool differs = mark_differs(domain, now);
    g_mutex_lock(&domain->lock);
    domain->is_autostart ^= differs;
    g_mutex_unlock(&domain->lock);
    domain_end_job(domain);
    return differs;
}

static gpointer run_reload(gpointer data)
{
    DomainService *service = data;
    Daemon *daemon = service->daemon;
    unsigned definitions = 0, marks = 0;
    g_autoptr(GPtrArray) names = state_store_list(service->store, "qemu", ".xml", NULL);
    for (guint i = 0; names && i < names->len && !daemon_is_stopping(daemon); i++) {
        definitions += read_again(service, g_ptr_array_index(names, i));
    }
    g_autoptr(GHashTable) marked = list_marks(service);
    g_autoptr(GPtrArray) all = service_all(service);
    for (guint i = 0; i < all->len && !daemon_is_stopping(daemon); i++) {
        marks += look_at_mark(service, g_ptr_array_index(all, i), marked);
    }
    log_write(LOG_LEVEL_INFO, "reloaded: %u definitions and %u autostart marks were changed",
              definitions, marks);
    g_atomic_int_set(&service->is_reloading, 0);
    daemon_work_ended(daemon);
    return NULL;
}

void domain_reload(Daemon *daemon)
{
    DomainService *service = daemon->domains;
    if (!g_atomic_int_compare_and_exchange(&service->is_reloading, 0, 1)) {
        log_write(LOG_LEVEL_WARN, "definitions are being read already");
        return;
    }
    daemon_work_begins(daemon);
    g_thread_unref(g_thread_new("reload", run_reload, service));
}
