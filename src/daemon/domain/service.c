/* The tables of guests, and what is loaded when the daemon starts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/service.h"

#include "base/log.h"
#include "daemon/domain/stats-record.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <string.h>

Domain *service_find_name(DomainService *service, const char *name)
{
    g_rw_lock_reader_lock(&service->lock);
    Domain *domain = g_hash_table_lookup(service->by_name, name);
    domain = domain ? domain_ref(domain) : NULL;
    g_rw_lock_reader_unlock(&service->lock);
    return domain;
}

Domain *service_find_uuid(DomainService *service, const Uuid *uuid)
{
    g_rw_lock_reader_lock(&service->lock);
    Domain *domain = g_hash_table_lookup(service->by_uuid, uuid);
    domain = domain ? domain_ref(domain) : NULL;
    g_rw_lock_reader_unlock(&service->lock);
    return domain;
}

Domain *service_find_id(DomainService *service, int id)
{
    g_rw_lock_reader_lock(&service->lock);
    Domain *domain = g_hash_table_lookup(service->by_id, GINT_TO_POINTER(id));
    domain = domain ? domain_ref(domain) : NULL;
    g_rw_lock_reader_unlock(&service->lock);
    return domain;
}

Domain *service_find(DomainService *service, const RemoteDomain *wire, GError **error)
{
    Domain *domain = service_find_uuid(service, &wire->uuid);
    if (!domain) {
        daemon_error_no_domain(error, wire);
    }
    return domain;
}

static gint compare_by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(Domain *const *)a)->name, (*(Domain *const *)b)->name);
}

static GPtrArray *sort_all(DomainService *service)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
    GHashTableIter iter;
    gpointer domain;
    g_hash_table_iter_init(&iter, service->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        g_ptr_array_add(all, domain_ref(domain));
    }
    g_ptr_array_sort(all, compare_by_name);
    return all;
}

GPtrArray *service_all(DomainService *service)
{
    g_rw_lock_reader_lock(&service->lock);
    GPtrArray *all = service->sorted ? g_ptr_array_ref(service->sorted) : NULL;
    g_rw_lock_reader_unlock(&service->lock);
    if (!all) {
        g_rw_lock_writer_lock(&service->lock);
        if (!service->sorted) {
            service->sorted = sort_all(service);
        }
        all = g_ptr_array_ref(service->sorted);
        g_rw_lock_writer_unlock(&service->lock);
    }
    return all;
}

/* The order changed. The references go with the array, which may be the last ones: @out_old is
 * unreferenced by the caller when no lock is held. */
static void forget_order(DomainService *service, GPtrArray **out_old)
{
    *out_old = g_steal_pointer(&service->sorted);
}

static void enter(DomainService *service, Domain *domain)
{
    g_hash_table_insert(service->by_uuid, &domain->uuid, domain);
    g_hash_table_insert(service->by_name, domain->name, domain);
}

Domain *service_claim(DomainService *service, const Uuid *uuid, const char *name, bool *out_is_new,
                      GError **error)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    g_autoptr(GPtrArray) old = NULL;
    g_rw_lock_writer_lock(&service->lock);
    Domain *same = g_hash_table_lookup(service->by_uuid, uuid);
    Domain *other = g_hash_table_lookup(service->by_name, name);
    Domain *result = NULL;
    if (same && strcmp(same->name, name) != 0) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: domain '%s' already exists with uuid %s", same->name,
                         text);
    } else if (other && other != same) {
        char taken[UUID_TEXT_SIZE];
        uuid_format(&other->uuid, taken);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: domain '%s' already exists with uuid %s", name, taken);
    } else if (same) {
        result = domain_ref(same);
    } else {
        result = domain_new(service, uuid, name);
        enter(service, result);
        forget_order(service, &old);
        domain_ref(result);
    }
    if (result) {
        *out_is_new = !same;
    }
    g_rw_lock_writer_unlock(&service->lock);
    return result;
}

void service_remove(DomainService *service, Domain *domain)
{
    g_autoptr(GPtrArray) old = NULL;
    g_rw_lock_writer_lock(&service->lock);
    forget_order(service, &old);
    g_mutex_lock(&domain->lock);
    bool was_there = !domain->is_removed;
    domain->is_removed = true;
    g_mutex_unlock(&domain->lock);
    if (was_there) {
        g_hash_table_remove(service->by_name, domain->name);
        g_hash_table_remove(service->by_uuid, &domain->uuid);
    }
    g_rw_lock_writer_unlock(&service->lock);
    if (was_there) {
        domain_unref(domain);
    }
}

bool service_rename(DomainService *service, Domain *domain, const char *name, GError **error)
{
    g_autoptr(GPtrArray) old = NULL;
    g_rw_lock_writer_lock(&service->lock);
    forget_order(service, &old);
    bool free = !g_hash_table_contains(service->by_name, name);
    if (free) {
        g_mutex_lock(&domain->lock);
        g_hash_table_remove(service->by_name, domain->name);
        g_free(domain->name);
        domain->name = g_strdup(name);
        g_hash_table_insert(service->by_name, domain->name, domain);
        g_mutex_unlock(&domain->lock);
    } else {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain with name '%s' already exists",
                         name);
    }
    g_rw_lock_writer_unlock(&service->lock);
    return free;
}

void service_activate(DomainService *service, Domain *domain, int wanted)
{
    g_rw_lock_writer_lock(&service->lock);
    g_mutex_lock(&domain->lock);
    domain->id = wanted >= 0 ? wanted : service->next_id;
    service->next_id = MAX(service->next_id, domain->id + 1);
    g_mutex_unlock(&domain->lock);
    g_hash_table_insert(service->by_id, GINT_TO_POINTER(domain->id), domain);
    service->active++;
    g_rw_lock_writer_unlock(&service->lock);
}

void service_deactivate(DomainService *service, Domain *domain)
{
    g_rw_lock_writer_lock(&service->lock);
    g_mutex_lock(&domain->lock);
    if (domain->id >= 0) {
        g_hash_table_remove(service->by_id, GINT_TO_POINTER(domain->id));
        service->active--;
        domain->id = -1;
    }
    g_mutex_unlock(&domain->lock);
    g_rw_lock_writer_unlock(&service->lock);
}

bool service_commit(DomainService *service, const StateTxn *txn, GError **error)
{
    return state_store_commit(service->store, txn, error);
}

char *service_config_path(const char *name)
{
    return g_strdup_printf("qemu/%s.xml", name);
}

char *service_autostart_path(const char *name)
{
    return g_strdup_printf("qemu/autostart/%s.xml", name);
}

static bool check_persistent_locked(const Domain *domain, GError **error)
{
    if (!domain->is_persistent) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "domain '%s' is transient and has no persistent definition", domain->name);
    }
    return domain->is_persistent;
}

DomainDef *service_config_locked(Domain *domain, GError **error)
{
    if (!check_persistent_locked(domain, error)) {
        return NULL;
    }
    if (!domain->parsed_config) {
        g_autoptr(GBytes) text = service_config_text_locked(domain, false, error);
        if (!text) {
            return NULL;
        }
        domain->parsed_config = domain_def_parse(g_bytes_get_data(text, NULL),
                                                 DOMAIN_PARSE_INACTIVE | DOMAIN_PARSE_KEEP,
                                                 service_environment(domain->service), NULL, error);
        if (domain->parsed_config) {
            config_cache_note_parsed(&domain->service->configs, domain);
        }
    }
    return domain->parsed_config;
}

GBytes *service_config_text_locked(Domain *domain, bool only_public, GError **error)
{
    ConfigCache *cache = &domain->service->configs;
    GBytes *text = config_cache_get(cache, domain, only_public);
    if (text || !check_persistent_locked(domain, error)) {
        return text;
    }
    bool is_edited = false;
    g_autofree char *path = service_config_path(domain->name);
    g_autofree char *body = state_store_read(domain->service->store, path, &is_edited, error);
    if (!body) {
        return NULL;
    }
    bool is_public = false;
    if (only_public || is_edited) {
        g_autoptr(DomainDef) def =
            domain_def_parse(body, DOMAIN_PARSE_INACTIVE | (is_edited ? 0 : DOMAIN_PARSE_KEEP),
                             service_environment(domain->service), NULL, error);
        if (!def) {
            return NULL;
        }
        if (is_edited) {
            /* As this daemon would have written it. */
            g_free(body);
            body = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
        }
        g_autofree char *plain = domain_def_format(def, DOMAIN_FORMAT_INACTIVE);
        is_public = strcmp(plain, body) == 0;
    }
    config_cache_put(cache, domain, body, is_public);
    return only_public && !is_public ? NULL : g_bytes_new(body, strlen(body) + 1);
}

void domain_def_facts(const DomainDef *def, DomainFacts *out)
{
    out->max_kib = def->memory;
    out->current_kib = def->current_memory ? def->current_memory : def->memory;
    out->vcpus = def->current_vcpus;
    out->max_vcpus = def->vcpus;
}

void service_config_changed_locked(Domain *domain, const DomainDef *def, const char *text)
{
    g_clear_pointer(&domain->parsed_config, domain_def_free);
    g_clear_pointer(&domain->config_stats, stats_record_unref);
    domain->config_version++;
    domain->has_config_facts = def != NULL;
    if (def) {
        g_autofree char *plain = domain_def_format(def, DOMAIN_FORMAT_INACTIVE);
        domain_def_facts(def, &domain->config_facts);
        config_cache_put(&domain->service->configs, domain, text, strcmp(plain, text) == 0);
    } else {
        config_cache_drop(&domain->service->configs, domain);
    }
}
