/* Procedures that start, stop and steer guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/runtime.h"
#include "daemon/threads.h"

#include <string.h>

#define START_ALL                                                                                  \
    (START_PAUSED | START_AUTODESTROY | START_BYPASS_CACHE | START_FORCE_BOOT | START_VALIDATE |   \
     START_RESET_NVRAM)

/* Starts by the persistent definition. With the job. */
static bool start_persistent(Domain *domain, unsigned flags, DaemonClient *client, GError **error)
{
    g_mutex_lock(&domain->lock);
    if (domain_is_active_locked(domain)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain is already running");
        g_mutex_unlock(&domain->lock);
        return false;
    }
    const DomainDef *config = service_config_locked(domain, error);
    if (config) {
        domain->live = domain_def_copy(config);
    }
    g_mutex_unlock(&domain->lock);
    return config && domain_start(domain, flags, client, error);
}

static bool create(DaemonCall *call, const RemoteDomain *dom, uint32_t flags, RemoteDomain *out,
                   GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    if (!domain || !daemon_check_flags(flags, START_ALL, error) ||
        !domain_begin_job(domain, "start", error)) {
        return false;
    }
    bool ok = start_persistent(domain, flags, call_client(call), error);
    domain_end_job(domain);
    if (ok && out) {
        call_return_domain(call, domain, out);
    }
    return ok;
}

bool handle_domain_create(DaemonCall *call, const RemoteDomainCreateArgs *args, GError **error)
{
    return create(call, &args->dom, 0, NULL, error);
}

bool handle_domain_create_with_flags(DaemonCall *call, const RemoteDomainCreateWithFlagsArgs *args,
                                     RemoteDomainCreateWithFlagsRet *ret, GError **error)
{
    return create(call, &args->dom, args->flags, &ret->dom, error);
}

/* Starts by @def (transfer full). With the job. */
static bool start_transient(Domain *domain, DomainDef *def, unsigned flags, DaemonClient *client,
                            GError **error)
{
    g_mutex_lock(&domain->lock);
    bool active = domain_is_active_locked(domain);
    if (!active) {
        domain->live = def;
    }
    g_mutex_unlock(&domain->lock);
    if (active) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' is already active as '%s'",
                         def->name, domain->name);
        domain_def_free(def);
        return false;
    }
    return domain_start(domain, flags, client, error);
}

bool handle_domain_create_xml(DaemonCall *call, const RemoteDomainCreateXmlArgs *args,
                              RemoteDomainCreateXmlRet *ret, GError **error)
{
    DomainService *service = call_daemon(call)->domains;
    if (!daemon_check_flags(args->flags, START_ALL, error)) {
        return false;
    }
    unsigned parse =
        DOMAIN_PARSE_INACTIVE | (args->flags & START_VALIDATE ? DOMAIN_PARSE_VALIDATE : 0);
    DomainDef *def =
        domain_def_parse(args->xml_desc, parse, service_environment(service), NULL, error);
    bool is_new = false;
    g_autoptr(Domain) domain =
        def ? service_claim(service, &def->uuid, def->name, &is_new, error) : NULL;
    if (!domain || !domain_begin_job(domain, "start", error)) {
        domain_def_free(def);
        return false;
    }
    bool ok = start_transient(domain, def, args->flags, call_client(call), error);
    if (!ok && is_new) {
        service_remove(service, domain);
    }
    domain_end_job(domain);
    if (ok) {
        call_return_domain(call, domain, &ret->dom);
    }
    return ok;
}

/* --- ends --- */

enum { DESTROY_GRACEFUL = 1, DESTROY_REMOVE_LOGS = 2 };

bool handle_domain_destroy(DaemonCall *call, const RemoteDomainDestroyArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain && domain_kill(domain, false, error);
}

bool handle_domain_destroy_flags(DaemonCall *call, const RemoteDomainDestroyFlagsArgs *args,
                                 GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain &&
           daemon_check_flags(args->flags, DESTROY_GRACEFUL | DESTROY_REMOVE_LOGS, error) &&
           domain_kill(domain, args->flags & DESTROY_GRACEFUL, error);
}

/* A command without arguments, for a running guest. */
static bool run_simple(DaemonCall *call, const RemoteDomain *dom, const char *job,
                       const char *command, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    g_autoptr(QmpClient) monitor = domain ? domain_begin_monitor_job(domain, job, error) : NULL;
    if (!monitor) {
        return false;
    }
    bool ok = qmp_client_run(monitor, command, NULL, error);
    domain_end_job(domain);
    return ok;
}

enum {
    POWER_ACPI = 1 << 0,
    POWER_AGENT = 1 << 1,
    POWER_ALL = (1 << 5) - 1,
};

/* The power button. */
static bool press_button(Domain *domain, bool reboot, GError **error)
{
    g_autoptr(QmpClient) monitor =
        domain_begin_monitor_job(domain, reboot ? "reboot" : "shutdown", error);
    if (!monitor) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->runtime) {
        domain->runtime->fake_reboot =
            reboot && !(domain->live && domain->live->on_reboot == LIFECYCLE_DESTROY);
    }
    g_mutex_unlock(&domain->lock);
    bool ok = qmp_client_run(monitor, "system_powerdown", NULL, error);
    domain_end_job(domain);
    return ok;
}

/* The agent is asked where the caller says so, or where it is known to be there. */
static bool power(DaemonCall *call, const RemoteDomain *dom, uint32_t flags, bool reboot,
                  GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    if (!domain || !daemon_check_flags(flags, POWER_ALL, error)) {
        return false;
    }
    if (flags && !(flags & (POWER_ACPI | POWER_AGENT))) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: only modes 'acpi' and 'agent' are for guests of "
                         "this kind");
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error);
    bool has_agent = agent_is_connected_locked(domain);
    g_mutex_unlock(&domain->lock);
    if (!ok) {
        return false;
    }
    if (!(flags & POWER_AGENT) && (flags || !has_agent)) {
        return press_button(domain, reboot, error);
    }
    g_autoptr(GError) reason = NULL;
    if (agent_send(domain, "guest-shutdown",
                   qmp_object("s:mode", reboot ? "reboot" : "powerdown", NULL), &reason)) {
        return true;
    }
    if (!flags || (flags & POWER_ACPI)) {
        return press_button(domain, reboot, error);
    }
    g_propagate_error(error, g_steal_pointer(&reason));
    return false;
}

bool handle_domain_shutdown(DaemonCall *call, const RemoteDomainShutdownArgs *args, GError **error)
{
    return power(call, &args->dom, 0, false, error);
}

bool handle_domain_shutdown_flags(DaemonCall *call, const RemoteDomainShutdownFlagsArgs *args,
                                  GError **error)
{
    return power(call, &args->dom, args->flags, false, error);
}

bool handle_domain_reboot(DaemonCall *call, const RemoteDomainRebootArgs *args, GError **error)
{
    return power(call, &args->dom, args->flags, true, error);
}

bool handle_domain_reset(DaemonCall *call, const RemoteDomainResetArgs *args, GError **error)
{
    return daemon_check_flags(args->flags, 0, error) &&
           run_simple(call, &args->dom, "reset", "system_reset", error);
}

bool handle_domain_inject_nmi(DaemonCall *call, const RemoteDomainInjectNmiArgs *args,
                              GError **error)
{
    return daemon_check_flags(args->flags, 0, error) &&
           run_simple(call, &args->dom, "nmi", "inject-nmi", error);
}

bool handle_domain_pm_wakeup(DaemonCall *call, const RemoteDomainPmWakeupArgs *args, GError **error)
{
    return daemon_check_flags(args->flags, 0, error) &&
           run_simple(call, &args->dom, "wakeup", "system_wakeup", error);
}

/* --- pausing --- */

static bool suspend_in_job(Domain *domain, QmpClient *monitor, GError **error)
{
    g_mutex_lock(&domain->lock);
    DomainState state = domain->state;
    g_mutex_unlock(&domain->lock);
    if (state == DOMAIN_PMSUSPENDED) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain is pmsuspended");
        return false;
    }
    if (state == DOMAIN_PAUSED) {
        return true;
    }
    if (!qmp_client_run(monitor, "stop", NULL, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->state == DOMAIN_RUNNING) {
        domain_emit_locked(domain, EVENT_SUSPENDED, SUSPENDED_PAUSED);
    }
    if (domain->runtime) {
        domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_USER);
        status_write_locked(domain, NULL);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

bool handle_domain_suspend(DaemonCall *call, const RemoteDomainSuspendArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(QmpClient) monitor =
        domain ? domain_begin_monitor_job(domain, "suspend", error) : NULL;
    if (!monitor) {
        return false;
    }
    bool ok = suspend_in_job(domain, monitor, error);
    domain_end_job(domain);
    return ok;
}

static bool resume_in_job(Domain *domain, QmpClient *monitor, GError **error)
{
    g_mutex_lock(&domain->lock);
    DomainState state = domain->state;
    g_mutex_unlock(&domain->lock);
    if (state == DOMAIN_PMSUSPENDED) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain is pmsuspended");
        return false;
    }
    if (state == DOMAIN_RUNNING) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain is already running");
        return false;
    }
    if (!qmp_client_run(monitor, "cont", NULL, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->runtime && domain->state != DOMAIN_RUNNING) {
        domain_set_state_locked(domain, DOMAIN_RUNNING, RUNNING_UNPAUSED);
        domain_emit_locked(domain, EVENT_RESUMED, RESUMED_UNPAUSED);
    }
    if (domain->runtime) {
        status_write_locked(domain, NULL);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

bool handle_domain_resume(DaemonCall *call, const RemoteDomainResumeArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(QmpClient) monitor =
        domain ? domain_begin_monitor_job(domain, "resume", error) : NULL;
    if (!monitor) {
        return false;
    }
    bool ok = resume_in_job(domain, monitor, error);
    domain_end_job(domain);
    return ok;
}

void domain_autostart_all(DomainService *service)
{
    g_autoptr(GPtrArray) all = service_all(service);
    for (guint i = 0; i < all->len && !daemon_is_stopping(service->daemon); i++) {
        Domain *domain = g_ptr_array_index(all, i);
        g_autoptr(GError) error = NULL;
        if (!domain->is_autostart || domain_is_active(domain)) {
            continue;
        }
        if (!domain_begin_job(domain, "autostart", &error)) {
            continue;
        }
        if (!start_persistent(domain, 0, NULL, &error)) {
            log_write(LOG_LEVEL_ERROR, "cannot start domain '%s': %s", domain->name,
                      error->message);
        }
        domain_end_job(domain);
    }
}

static const DispatchEntry entries[] = {
    HANDLER(domain_create),        HANDLER(domain_create_with_flags),
    HANDLER(domain_create_xml),    HANDLER(domain_destroy),
    HANDLER(domain_destroy_flags), HANDLER(domain_inject_nmi),
    HANDLER(domain_pm_wakeup),     HANDLER(domain_reboot),
    HANDLER(domain_reset),         HANDLER(domain_resume),
    HANDLER(domain_shutdown),      HANDLER(domain_shutdown_flags),
    HANDLER(domain_suspend),
};

const DaemonModule domain_lifecycle_module = {
    .name = "domain-lifecycle",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
