/* Guests as objects: references, locks, jobs, states, events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/domain.h"

#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/service.h"
#include "daemon/domain/stats-record.h"
#include "daemon/error.h"
#include "daemon/threads.h"

Domain *domain_new(DomainService *service, const Uuid *uuid, const char *name)
{
    Domain *domain = g_new0(Domain, 1);
    domain->refs = 1;
    domain->service = service;
    domain->uuid = *uuid;
    g_mutex_init(&domain->lock);
    g_cond_init(&domain->job_ended);
    g_cond_init(&domain->device_event);
    g_cond_init(&domain->agent_free);
    domain->agent_timeout_s = AGENT_TIMEOUT_DEFAULT;
    domain->name = g_strdup(name);
    domain->id = -1;
    domain->state = DOMAIN_SHUTOFF;
    domain->state_since = g_get_monotonic_time();
    return domain;
}

Domain *domain_ref(Domain *domain)
{
    g_atomic_int_inc(&domain->refs);
    return domain;
}

void domain_unref(Domain *domain)
{
    if (!domain || !g_atomic_int_dec_and_test(&domain->refs)) {
        return;
    }
    lodge_assert(!domain->runtime);
    config_cache_drop(&domain->service->configs, domain);
    g_clear_pointer(&domain->parsed_config, domain_def_free);
    g_clear_pointer(&domain->config_stats, stats_record_unref);
    g_clear_pointer(&domain->live, domain_def_free);
    g_clear_pointer(&domain->open_consoles, g_hash_table_unref);
    g_clear_pointer(&domain->fd_groups, g_hash_table_unref);
    g_cond_clear(&domain->job_ended);
    g_cond_clear(&domain->device_event);
    g_cond_clear(&domain->agent_free);
    g_mutex_clear(&domain->lock);
    g_free(domain->dir);
    g_free(domain->name);
    g_free(domain);
}

bool domain_is_active(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    bool active = domain_is_active_locked(domain);
    g_mutex_unlock(&domain->lock);
    return active;
}

bool domain_check_active_locked(Domain *domain, GError **error)
{
    if (!domain_is_active_locked(domain)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' is not running",
                         domain->name);
        return false;
    }
    return true;
}

bool domain_begin_job(Domain *domain, const char *job, GError **error)
{
    gint64 until = g_get_monotonic_time() + DOMAIN_JOB_WAIT_MS * 1000;
    g_mutex_lock(&domain->lock);
    while (domain->job && !daemon_gives_up(domain->service->daemon) &&
           g_cond_wait_until(&domain->job_ended, &domain->lock, until)) {
    }
    bool free = !domain->job;
    if (free) {
        domain->job = job;
        domain->job_since = g_get_monotonic_time();
    } else {
        daemon_error_set(error, DAEMON_ERROR_TIMEOUT,
                         "Timed out during operation: domain '%s' is busy with '%s' for %d seconds",
                         domain->name, domain->job,
                         (int)((g_get_monotonic_time() - domain->job_since) / 1000000));
    }
    g_mutex_unlock(&domain->lock);
    return free;
}

void domain_end_job(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    domain->job = NULL;
    g_cond_signal(&domain->job_ended);
    g_mutex_unlock(&domain->lock);
}

QmpClient *domain_get_monitor(Domain *domain, GError **error)
{
    QmpClient *monitor = NULL;
    g_mutex_lock(&domain->lock);
    if (domain_check_active_locked(domain, error)) {
        if (domain->runtime && domain->runtime->monitor) {
            monitor = qmp_client_ref(domain->runtime->monitor);
        } else {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "domain '%s' has no monitor at the moment", domain->name);
        }
    }
    g_mutex_unlock(&domain->lock);
    return monitor;
}

QmpClient *domain_begin_monitor_job(Domain *domain, const char *job, GError **error)
{
    if (!domain_begin_job(domain, job, error)) {
        return NULL;
    }
    QmpClient *monitor = domain_get_monitor(domain, error);
    if (!monitor) {
        domain_end_job(domain);
    }
    return monitor;
}

DomainDef *domain_copy_live(Domain *domain, GError **error)
{
    g_mutex_lock(&domain->lock);
    DomainDef *copy = domain->live ? domain_def_copy(domain->live) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!copy) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' has just ended",
                         domain->name);
    }
    return copy;
}

void domain_set_state_locked(Domain *domain, DomainState state, int reason)
{
    domain->state = state;
    domain->reason = reason;
    domain->state_since = g_get_monotonic_time();
}

void domain_to_wire_locked(Domain *domain, Arena *arena, RemoteDomain *out)
{
    out->name = arena ? arena_strdup(arena, domain->name) : domain->name;
    out->uuid = domain->uuid;
    out->id = domain->id;
}

void domain_put_wire_locked(const Domain *domain, XdrWriter *writer)
{
    xdr_put_text(writer, domain->name);
    xdr_put_raw(writer, domain->uuid.byte, sizeof(domain->uuid.byte));
    xdr_put_u32(writer, (uint32_t)domain->id);
}

void domain_emit_locked(Domain *domain, int event, int detail)
{
    RemoteDomainEventCallbackLifecycleMsg message = { .msg = { .event = event, .detail = detail } };
    EventSubject subject = { domain->name, domain->uuid };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    event_queue_emit(domain->service->daemon->events, REMOTE_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE,
                     &subject, &message);
}

void domain_emit(Domain *domain, int event, int detail)
{
    g_mutex_lock(&domain->lock);
    domain_emit_locked(domain, event, detail);
    g_mutex_unlock(&domain->lock);
}

static void emit_tunables_locked(Domain *domain, TypedParam *params, unsigned n)
{
    RemoteDomainEventCallbackTunableMsg message = { .params = params, .n_params = n };
    EventSubject subject = { domain->name, domain->uuid };
    domain_to_wire_locked(domain, NULL, &message.dom);
    event_queue_emit(domain->service->daemon->events, REMOTE_PROC_DOMAIN_EVENT_CALLBACK_TUNABLE,
                     &subject, &message);
}

void domain_emit_tunable_locked(Domain *domain, const char *field, int number, const char *text)
{
    g_autofree char *name = number >= 0 ? g_strdup_printf("%s%d", field, number) : g_strdup(field);
    TypedParam param = { .field = name, .type = TYPED_PARAM_STRING, .value.s = text };
    emit_tunables_locked(domain, &param, 1);
}

void domain_emit_tunables_locked(Domain *domain, const char *prefix, const char *disk,
                                 const TypedParam *params, unsigned n)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree TypedParam *told = g_new0(TypedParam, (gsize)n + 1);
    unsigned count = 0;
    if (disk) {
        g_ptr_array_add(names, g_strconcat(prefix, "disk", NULL));
        told[count] = (TypedParam){ .type = TYPED_PARAM_STRING, .value.s = disk };
        told[count++].field = names->pdata[0];
    }
    for (unsigned i = 0; i < n; i++) {
        g_ptr_array_add(names, g_strconcat(prefix, params[i].field, NULL));
        told[count] = params[i];
        told[count++].field = names->pdata[names->len - 1];
    }
    emit_tunables_locked(domain, told, count);
}

bool domain_resolve_flags_locked(Domain *domain, unsigned *flags, GError **error)
{
    bool active = domain_is_active_locked(domain);
    if ((*flags & (AFFECT_LIVE | AFFECT_CONFIG)) == 0) {
        *flags |= active ? AFFECT_LIVE : AFFECT_CONFIG;
    }
    if ((*flags & AFFECT_LIVE) && !domain_check_active_locked(domain, error)) {
        return false;
    }
    if ((*flags & AFFECT_CONFIG) && !domain->is_persistent) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' is transient and has no "
                         "persistent definition",
                         domain->name);
        return false;
    }
    return true;
}
