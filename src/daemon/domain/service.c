/* The tables of guests, and what is loaded when the daemon starts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/service.h"

#include "base/log.h"
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

GPtrArray *service_all(DomainService *service)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)domain_unref);
    GHashTableIter iter;
    gpointer domain;
    g_rw_lock_reader_lock(&service->lock);
    g_hash_table_iter_init(&iter, service->by_uuid);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        g_ptr_array_add(all, domain_ref(domain));
    }
    g_ptr_array_sort(all, compare_by_name);
    g_rw_lock_reader_unlock(&service->lock);
    return all;
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
    g_rw_lock_writer_lock(&service->lock);
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
    g_rw_lock_writer_lock(&service->lock);
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

DomainDef *service_config_locked(Domain *domain, GError **error)
{
    if (domain->config || !domain->is_persistent) {
        if (!domain->config) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "domain '%s' is transient and has no persistent definition",
                             domain->name);
        }
        return domain->config;
    }
    g_autofree char *path = service_config_path(domain->name);
    g_autofree char *text = state_store_read(domain->service->store, path, NULL, error);
    if (text) {
        domain->config = domain_def_parse(text, DOMAIN_PARSE_INACTIVE,
                                          service_environment(domain->service), NULL, error);
    }
    return domain->config;
}
