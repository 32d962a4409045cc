/* Procedures that add, take out and change devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/domain/change.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/memory-plug.h"

#include <string.h>

enum { MODIFY_FORCE = 4, MODIFY_ALL = AFFECT_LIVE | AFFECT_CONFIG | MODIFY_FORCE };

/* The device that @xml describes, for the definition of @change that it concerns. */
static DomainDevice *parse_device(const DomainChange *change, const char *xml, bool is_new,
                                  GError **error)
{
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    const DomainDef *def = change->flags & AFFECT_LIVE ? domain->live : change->config;
    DomainDevice *device = domain_device_parse(
        xml, def, service_environment(domain->service),
        is_new || !(change->flags & AFFECT_LIVE) ? DOMAIN_PARSE_INACTIVE : 0, warnings, error);
    g_mutex_unlock(&domain->lock);
    for (guint i = 0; i < warnings->len; i++) {
        log_write(LOG_LEVEL_WARN, "domain '%s': %s", domain->name,
                  (const char *)g_ptr_array_index(warnings, i));
    }
    return device;
}

static bool insert_copy(DomainDef *def, const DomainDevice *device, GError **error)
{
    if (device->kind == DEVICE_MEMORY &&
        !memory_plug_check(def, (const DomainMemory *)device, false, error)) {
        return false;
    }
    DomainDevice *copy = domain_device_copy(device);
    if (!domain_def_insert(def, copy, error)) {
        domain_device_free(copy);
        return false;
    }
    return true;
}

static bool attach(DaemonCall *call, const RemoteDomain *dom, const char *xml, unsigned flags,
                   GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(flags, AFFECT_LIVE | AFFECT_CONFIG, error) ||
        !change_begin(&change, call, dom, "attach", flags, error)) {
        return false;
    }
    g_autoptr(DomainDevice) device = parse_device(&change, xml, true, error);
    bool ok = device && (!change.config || insert_copy(change.config, device, error)) &&
              change_store(&change, error) &&
              (!change.monitor || hotplug_attach(change.domain, change.monitor, device, error));
    return change_end(&change, ok);
}

bool handle_domain_attach_device(DaemonCall *call, const RemoteDomainAttachDeviceArgs *args,
                                 GError **error)
{
    return attach(call, &args->dom, args->xml, AFFECT_LIVE, error);
}

bool handle_domain_attach_device_flags(DaemonCall *call,
                                       const RemoteDomainAttachDeviceFlagsArgs *args,
                                       GError **error)
{
    return attach(call, &args->dom, args->xml, args->flags, error);
}

static bool remove_from(DomainDef *def, DomainDevice *device)
{
    domain_device_free(domain_def_remove(def, device));
    return true;
}

/* The live device's alias (transfer full). */
static char *find_live_alias(Domain *domain, const DomainDevice *described, GError **error)
{
    g_autoptr(DomainDevice) like = domain_device_copy(described);
    if (like->kind == DEVICE_MEMORY) {
        memory_plug_round((DomainMemory *)like);
    }
    g_mutex_lock(&domain->lock);
    const DomainDevice *found = domain->live ? domain_def_find(domain->live, like, error) : NULL;
    char *alias = found ? g_strdup(found->alias) : NULL;
    g_mutex_unlock(&domain->lock);
    return alias;
}

static bool detach_device(DomainChange *change, const DomainDevice *like, GError **error)
{
    g_autofree char *alias = NULL;
    if (change->monitor) {
        /* Of disks the client need not say the bus. */
        alias = like->kind == DEVICE_DISK || hotplug_check(like, error)
                    ? find_live_alias(change->domain, like, error)
                    : NULL;
        if (!alias) {
            return false;
        }
    }
    if (change->config) {
        DomainDevice *kept = domain_def_find(change->config, like, error);
        if (!kept || !remove_from(change->config, kept)) {
            return false;
        }
    }
    return change_store(change, error) &&
           (!alias || hotplug_detach(change->domain, change->monitor, alias, true, error));
}

static bool detach(DaemonCall *call, const RemoteDomain *dom, const char *xml, unsigned flags,
                   GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(flags, MODIFY_ALL, error) ||
        !change_begin(&change, call, dom, "detach", flags, error)) {
        return false;
    }
    g_autoptr(DomainDevice) like = parse_device(&change, xml, false, error);
    return change_end(&change, like && detach_device(&change, like, error));
}

bool handle_domain_detach_device(DaemonCall *call, const RemoteDomainDetachDeviceArgs *args,
                                 GError **error)
{
    return detach(call, &args->dom, args->xml, AFFECT_LIVE, error);
}

bool handle_domain_detach_device_flags(DaemonCall *call,
                                       const RemoteDomainDetachDeviceFlagsArgs *args,
                                       GError **error)
{
    return detach(call, &args->dom, args->xml, args->flags, error);
}

/* By contract the guest is only asked: what comes of it is told by an event. */
static bool detach_alias(DomainChange *change, const char *alias, GError **error)
{
    if (change->config) {
        DomainDevice *device = domain_def_find_alias(change->config, alias);
        if (!device) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                             "internal error: no device found with alias '%s'", alias);
            return false;
        }
        remove_from(change->config, device);
    }
    return change_store(change, error) &&
           (!change->monitor ||
            hotplug_detach(change->domain, change->monitor, alias, false, error));
}

bool handle_domain_detach_device_alias(DaemonCall *call,
                                       const RemoteDomainDetachDeviceAliasArgs *args,
                                       GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, AFFECT_LIVE | AFFECT_CONFIG, error) ||
        !change_begin(&change, call, &args->dom, "detach", args->flags, error)) {
        return false;
    }
    return change_end(&change, detach_alias(&change, args->alias, error));
}

/* libvirt's codes for a device to be updated that is not there. */
static void recode_missing(const DomainDevice *wanted, bool is_live, GError *error)
{
    static const struct {
        DomainDeviceKind kind;
        DaemonErrorCode live, config;
    } codes[] = {
        { DEVICE_DISK, DAEMON_ERROR_INTERNAL, DAEMON_ERROR_INVALID_ARG },
        { DEVICE_GRAPHICS, DAEMON_ERROR_DEVICE_MISSING, DAEMON_ERROR_INVALID_ARG },
        { DEVICE_MEMORY, DAEMON_ERROR_CONFIG_UNSUPPORTED, DAEMON_ERROR_INVALID_ARG },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (wanted->kind == codes[i].kind &&
            daemon_error_code(error) == DAEMON_ERROR_DEVICE_MISSING) {
            error->code = (int)(is_live ? codes[i].live : codes[i].config);
            return;
        }
    }
}

static bool update_config(DomainDef *def, const DomainDevice *wanted, GError **error)
{
    g_autoptr(GError) reason = NULL;
    DomainDevice *old = domain_def_find(def, wanted, &reason);
    if (!old) {
        recode_missing(wanted, false, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    DomainDevice *device = domain_device_copy(wanted);
    domain_device_strip_live(device);
    domain_def_replace(def, old, device);
    return domain_def_assign_addresses(def, error) && domain_def_validate(def, error);
}

static bool update_live(DomainChange *change, const DomainDevice *wanted, bool force,
                        GError **error)
{
    g_autoptr(GError) reason = NULL;
    if (wanted->kind == DEVICE_TPM || wanted->kind == DEVICE_FILESYSTEM) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: nothing of a device '%s' can be changed while "
                         "the guest runs; use --config",
                         domain_device_kind_name(wanted->kind));
        return false;
    }
    if (!hotplug_update(change->domain, change->monitor, wanted, force, &reason)) {
        recode_missing(wanted, true, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    return true;
}

bool handle_domain_update_device_flags(DaemonCall *call,
                                       const RemoteDomainUpdateDeviceFlagsArgs *args,
                                       GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, MODIFY_ALL, error) ||
        !change_begin(&change, call, &args->dom, "update", args->flags, error)) {
        return false;
    }
    g_autoptr(DomainDevice) wanted = parse_device(&change, args->xml, false, error);
    bool ok = wanted && (!change.config || update_config(change.config, wanted, error)) &&
              change_store(&change, error) &&
              (!change.monitor || update_live(&change, wanted, args->flags & MODIFY_FORCE, error));
    return change_end(&change, ok);
}

static const DispatchEntry entries[] = {
    HANDLER(domain_attach_device),       HANDLER(domain_attach_device_flags),
    HANDLER(domain_detach_device),       HANDLER(domain_detach_device_alias),
    HANDLER(domain_detach_device_flags), HANDLER(domain_update_device_flags),
};

const DaemonModule domain_devices_module = {
    .name = "domain-devices",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
