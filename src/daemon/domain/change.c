/* Changes of guests and their definitions. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/change.h"

#include "base/log.h"
#include "daemon/domain/runtime.h"

static bool take(DomainChange *change, GError **error)
{
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    bool ok = domain_resolve_flags_locked(domain, &change->flags, error);
    if (ok && (change->flags & AFFECT_CONFIG)) {
        const DomainDef *config = service_config_locked(domain, error);
        change->config = config ? domain_def_copy(config) : NULL;
        ok = config != NULL;
    }
    g_mutex_unlock(&domain->lock);
    if (ok && (change->flags & AFFECT_LIVE)) {
        change->monitor = domain_get_monitor(domain, error);
        ok = change->monitor != NULL;
    }
    return ok;
}

static void drop(DomainChange *change)
{
    domain_end_job(change->domain);
    g_clear_pointer(&change->config, domain_def_free);
    g_clear_pointer(&change->previous, domain_def_free);
    g_clear_pointer(&change->monitor, qmp_client_unref);
    g_clear_pointer(&change->domain, domain_unref);
}

bool change_begin(DomainChange *change, DaemonCall *call, const RemoteDomain *dom, const char *job,
                  unsigned flags, GError **error)
{
    *change = (DomainChange){ .domain = call_domain(call, dom, error),
                              .flags = flags & (AFFECT_LIVE | AFFECT_CONFIG) };
    if (!change->domain) {
        return false;
    }
    if (!domain_begin_job(change->domain, job, error)) {
        g_clear_pointer(&change->domain, domain_unref);
        return false;
    }
    if (!take(change, error)) {
        drop(change);
        return false;
    }
    return true;
}

bool change_store(DomainChange *change, GError **error)
{
    if (!change->config) {
        return true;
    }
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    const DomainDef *config = service_config_locked(domain, error);
    change->previous = config ? domain_def_copy(config) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!change->previous) {
        return false;
    }
    if (!domain_store_config(domain, change->config, error)) {
        g_clear_pointer(&change->previous, domain_def_free);
        return false;
    }
    change->config = NULL;
    return true;
}

static void put_back(DomainChange *change)
{
    g_autoptr(GError) error = NULL;
    if (change->previous && domain_store_config(change->domain, change->previous, &error)) {
        change->previous = NULL;
    } else if (change->previous) {
        log_write(LOG_LEVEL_ERROR, "domain '%s': its definition cannot be put back: %s",
                  change->domain->name, error->message);
    }
}

static void note_live(Domain *domain)
{
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&domain->lock);
    if (domain->runtime && domain->live && !status_write_locked(domain, &error)) {
        log_write(LOG_LEVEL_WARN, "domain '%s': %s", domain->name, error->message);
    }
    g_mutex_unlock(&domain->lock);
}

bool change_end(DomainChange *change, bool ok)
{
    if (!ok) {
        put_back(change);
    } else if (change->flags & AFFECT_LIVE) {
        note_live(change->domain);
    }
    drop(change);
    return ok;
}

DomainDef *domain_def_by_flags_locked(Domain *domain, unsigned flags, GError **error)
{
    flags &= AFFECT_LIVE | AFFECT_CONFIG;
    if (flags == (AFFECT_LIVE | AFFECT_CONFIG)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: flags 'live' and 'config' exclude each other here");
        return NULL;
    }
    if (!domain_resolve_flags_locked(domain, &flags, error)) {
        return NULL;
    }
    if (flags & AFFECT_CONFIG) {
        return service_config_locked(domain, error);
    }
    if (!domain->live) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' has just ended",
                         domain->name);
    }
    return domain->live;
}

bool domain_get_params(DaemonCall *call, const RemoteDomain *dom, unsigned flags, ParamsFill fill,
                       const char *what, ParamList *list, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    if (!domain ||
        !daemon_check_flags(flags, AFFECT_LIVE | AFFECT_CONFIG | PARAMS_STRING_OKAY, error)) {
        return false;
    }
    *list = (ParamList){ .arena = call_arena(call) };
    g_mutex_lock(&domain->lock);
    DomainDef *def = domain_def_by_flags_locked(domain, flags, error);
    bool ok = def && fill(list, def, what, error);
    g_mutex_unlock(&domain->lock);
    return ok;
}
