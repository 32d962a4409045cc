/* What a guest's own end brings about.
 *
 * Left out: the "coredump" of a panic; guests that ask for it are not started.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/end-actions.h"

#include "base/log.h"
#include "daemon/domain/change.h"
#include "daemon/domain/runtime.h"

#include <signal.h>

static void restart(Domain *domain, const char *argument)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, &error);
    if (!monitor || !qmp_client_run(monitor, "system_reset", NULL, &error) ||
        !qmp_client_run(monitor, "cont", NULL, &error)) {
        log_write(LOG_LEVEL_ERROR, "cannot start a guest again: %s", error->message);
    }
}

void end_actions_restart(Domain *domain)
{
    service_run(domain, restart, NULL);
}

bool end_actions_shutdown_locked(Domain *domain, bool is_reboot)
{
    bool restart = domain->runtime->fake_reboot ||
                   (!is_reboot && domain->live && domain->live->on_poweroff == LIFECYCLE_RESTART);
    domain->runtime->fake_reboot = false;
    if (restart) {
        end_actions_restart(domain);
    }
    return restart;
}

void end_actions_panic_locked(Domain *domain)
{
    DomainLifecycle action = domain->live ? domain->live->on_crash : LIFECYCLE_DESTROY;
    switch (action) {
    case LIFECYCLE_PRESERVE:
        break;
    case LIFECYCLE_RESTART:
        end_actions_restart(domain);
        break;
    default:
        domain->runtime->has_crashed = true;
        process_signal(&domain->runtime->process, SIGTERM);
    }
}

/* --- changing them --- */

enum { ON_POWEROFF = 0, ON_REBOOT = 1, ON_CRASH = 2 };

/* The numbers are libvirt's (virDomainLifecycleAction), which has no "none". */
static bool check_numbers(uint32_t type, uint32_t action, GError **error)
{
    const uint32_t last = LIFECYCLE_COREDUMP_RESTART - LIFECYCLE_DESTROY;
    if (type <= ON_CRASH && action <= last) {
        return true;
    }
    daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                     "invalid argument: lifecycle type %u with action %u: types are 0 to %u, "
                     "actions 0 to %u",
                     type, action, ON_CRASH, last);
    return false;
}

static void set_action(DomainDef *def, uint32_t type, DomainLifecycle action)
{
    DomainLifecycle *const members[] = { &def->on_poweroff, &def->on_reboot, &def->on_crash };
    *members[type] = action;
}

static bool check_action(const DomainDef *def, uint32_t type, DomainLifecycle action,
                         GError **error)
{
    DomainDef trial = { .on_poweroff = def->on_poweroff,
                        .on_reboot = def->on_reboot,
                        .on_crash = def->on_crash };
    set_action(&trial, type, action);
    return domain_def_check_lifecycle(&trial, error);
}

static bool check_live(Domain *domain, uint32_t type, DomainLifecycle action, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool ok = !domain->live || check_action(domain->live, type, action, error);
    g_mutex_unlock(&domain->lock);
    if (ok && action >= LIFECYCLE_COREDUMP_DESTROY) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: the memory of a crashed domain is not dumped "
                         "by this daemon: use 'destroy', 'restart' or 'preserve'");
        return false;
    }
    return ok;
}

static bool set_live(DomainChange *change, uint32_t type, DomainLifecycle action, GError **error)
{
    const char *word = action == LIFECYCLE_RESTART ? "reset" : "shutdown";
    if (type == ON_REBOOT &&
        !qmp_client_run(change->monitor, "set-action", qmp_object("s:reboot", word, NULL), error)) {
        return false;
    }
    g_mutex_lock(&change->domain->lock);
    if (change->domain->live) {
        set_action(change->domain->live, type, action);
    }
    g_mutex_unlock(&change->domain->lock);
    return true;
}

bool handle_domain_set_lifecycle_action(DaemonCall *call,
                                        const RemoteDomainSetLifecycleActionArgs *args,
                                        GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error) ||
        !change_begin(&change, call, &args->dom, "lifecycle", args->flags, error)) {
        return false;
    }
    DomainLifecycle action = (DomainLifecycle)(LIFECYCLE_DESTROY + args->action);
    if (!check_numbers(args->type, args->action, error) ||
        (change.monitor && !check_live(change.domain, args->type, action, error)) ||
        (change.config && !check_action(change.config, args->type, action, error))) {
        return change_end(&change, false);
    }
    if (change.config) {
        set_action(change.config, args->type, action);
    }
    bool ok = change_store(&change, error) &&
              (!change.monitor || set_live(&change, args->type, action, error));
    return change_end(&change, ok);
}

static const DispatchEntry entries[] = {
    HANDLER(domain_set_lifecycle_action),
};

const DaemonModule domain_end_module = {
    .name = "domain-end",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
