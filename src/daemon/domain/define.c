/* Procedures on persistent definitions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/guest-firmware.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tpm.h"
#include "daemon/domain/virtiofs.h"
#include "daemon/host/engine.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DEFINE_VALIDATE = 1 };

enum {
    UNDEFINE_MANAGED_SAVE = 1 << 0,
    UNDEFINE_SNAPSHOTS = 1 << 1,
    UNDEFINE_NVRAM = 1 << 2,
    UNDEFINE_KEEP_NVRAM = 1 << 3,
    UNDEFINE_CHECKPOINTS = 1 << 4,
    UNDEFINE_TPM = TPM_FLAG_REMOVE,
    UNDEFINE_KEEP_TPM = TPM_FLAG_KEEP,
    UNDEFINE_ALL = (1 << 7) - 1,
};

bool domain_facts_locked(Domain *domain, DomainFacts *out, GError **error)
{
    if (domain->live) {
        domain_def_facts(domain->live, out);
        return true;
    }
    if (!domain->has_config_facts) {
        const DomainDef *def = service_config_locked(domain, error);
        if (!def) {
            return false;
        }
        domain_def_facts(def, &domain->config_facts);
        domain->has_config_facts = true;
    }
    *out = domain->config_facts;
    return true;
}

bool domain_store_config(Domain *domain, DomainDef *def, GError **error)
{
    g_autofree char *text = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
    g_autofree char *path = service_config_path(def->name);
    g_autoptr(StateTxn) txn = state_txn_new();
    state_txn_put(txn, path, text);
    if (!service_commit(domain->service, txn, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    service_config_changed_locked(domain, def, text);
    domain->parsed_config = def;
    config_cache_note_parsed(&domain->service->configs, domain);
    g_mutex_unlock(&domain->lock);
    return true;
}

static void log_warnings(const GPtrArray *warnings, const char *name)
{
    for (guint i = 0; i < warnings->len; i++) {
        log_write(LOG_LEVEL_WARN, "domain '%s': %s", name,
                  (const char *)g_ptr_array_index(warnings, i));
    }
}

/* What the emulator says of its machines. One that cannot be asked is believed: the start tells. */
static bool check_machine(DomainService *service, const DomainDef *def, GError **error)
{
    if (engine_is_lodge_path(def->emulator)) {
        bool is_known = domain_def_is_q35(def) || domain_def_is_microvm(def);
        if (!is_known) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: '%s' has no machine '%s', only q35 and "
                             "microvm; qemu-system-x86_64 as <emulator> has others",
                             def->emulator, def->os.machine);
        }
        return is_known;
    }
    g_autoptr(Engine) engine = engine_set_get(service->daemon->engines, def->emulator, NULL);
    const EngineMachine *machine = engine ? engine_machine(engine, def->os.machine) : NULL;
    if (engine && !machine) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: emulator '%s' has no machine '%s' "
                         "('%s -machine help' lists those it has)",
                         def->emulator, def->os.machine, def->emulator);
        return false;
    }
    if (machine && def->vcpus > machine->max_cpus) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: %u vCPUs are more than the %u that machine "
                         "'%s' of emulator '%s' can have",
                         def->vcpus, machine->max_cpus, def->os.machine, def->emulator);
        return false;
    }
    return true;
}

Domain *domain_define(DomainService *service, const char *xml, unsigned parse, GError **error)
{
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(DomainDef) def = domain_def_parse(xml, DOMAIN_PARSE_INACTIVE | parse,
                                                service_environment(service), warnings, error);
    if (!def || !check_machine(service, def, error) || !virtiofs_check(def, error)) {
        return NULL;
    }
    log_warnings(warnings, def->name);
    bool is_new = false;
    g_autoptr(Domain) domain = service_claim(service, &def->uuid, def->name, &is_new, error);
    if (!domain || !domain_begin_job(domain, "define", error)) {
        return NULL;
    }
    bool ok = domain_store_config(domain, def, error);
    if (ok) {
        def = NULL;
        g_mutex_lock(&domain->lock);
        domain->is_persistent = true;
        domain_emit_locked(domain, EVENT_DEFINED, is_new ? DEFINED_ADDED : DEFINED_UPDATED);
        g_mutex_unlock(&domain->lock);
        domain_stats_prepare(domain);
    } else if (is_new) {
        service_remove(service, domain);
    }
    domain_end_job(domain);
    return ok ? g_steal_pointer(&domain) : NULL;
}

static bool define(DaemonCall *call, const char *xml, uint32_t flags, RemoteDomain *out,
                   GError **error)
{
    if (!daemon_check_flags(flags, DEFINE_VALIDATE, error)) {
        return false;
    }
    g_autoptr(Domain) domain =
        domain_define(call_daemon(call)->domains, xml,
                      flags & DEFINE_VALIDATE ? DOMAIN_PARSE_VALIDATE : 0, error);
    if (domain) {
        call_return_domain(call, domain, out);
    }
    return domain != NULL;
}

bool handle_domain_define_xml(DaemonCall *call, const RemoteDomainDefineXmlArgs *args,
                              RemoteDomainDefineXmlRet *ret, GError **error)
{
    return define(call, args->xml, 0, &ret->dom, error);
}

bool handle_domain_define_xml_flags(DaemonCall *call, const RemoteDomainDefineXmlFlagsArgs *args,
                                    RemoteDomainDefineXmlFlagsRet *ret, GError **error)
{
    return define(call, args->xml, args->flags, &ret->dom, error);
}

static bool undefine_locked_job(Domain *domain, uint32_t flags, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool persistent = domain->is_persistent;
    bool active = domain_is_active_locked(domain);
    const DomainDef *def = persistent ? service_config_locked(domain, NULL) : NULL;
    g_autofree char *nvram =
        def ? guest_firmware_nvram_path(def, domain->service->nvram_dir) : NULL;
    g_autofree char *name = g_strdup(domain->name);
    g_autoptr(DomainDef) removed = def ? domain_def_copy(def) : NULL;
    g_mutex_unlock(&domain->lock);
    bool has_nvram = nvram && g_file_test(nvram, G_FILE_TEST_EXISTS);
    if (!persistent) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: cannot undefine transient domain");
        return false;
    }
    if (has_nvram && !(flags & (UNDEFINE_NVRAM | UNDEFINE_KEEP_NVRAM))) {
        daemon_error_set(
            error, DAEMON_ERROR_OPERATION_INVALID,
            "Requested operation is not valid: cannot undefine domain with nvram '%s'; "
            "say --nvram or --keep-nvram",
            nvram);
        return false;
    }
    g_autoptr(StateTxn) txn = state_txn_new();
    g_autofree char *path = service_config_path(name);
    g_autofree char *link = service_autostart_path(name);
    state_txn_delete(txn, path);
    state_txn_delete(txn, link);
    if (!service_commit(domain->service, txn, error)) {
        return false;
    }
    if (has_nvram && (flags & UNDEFINE_NVRAM) && remove(nvram) < 0) {
        log_write(LOG_LEVEL_WARN, "cannot remove '%s'", nvram);
    }
    g_mutex_lock(&domain->lock);
    domain->is_persistent = false;
    domain->is_autostart = false;
    service_config_changed_locked(domain, NULL, NULL);
    domain_emit_locked(domain, EVENT_UNDEFINED, UNDEFINED_REMOVED);
    active = domain_is_active_locked(domain);
    if (active && domain->live) {
        tpm_forget_later(domain->live, flags);
        status_write_locked(domain, NULL);
    }
    g_mutex_unlock(&domain->lock);
    if (!active && removed) {
        tpm_forget(domain->service->daemon, removed, flags);
    }
    if (!active) {
        service_remove(domain->service, domain);
    }
    return true;
}

static bool undefine(DaemonCall *call, const RemoteDomain *dom, uint32_t flags, GError **error)
{
    if (!daemon_check_flags(flags, UNDEFINE_ALL, error)) {
        return false;
    }
    if ((flags & UNDEFINE_NVRAM) && (flags & UNDEFINE_KEEP_NVRAM)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: nvram and keep-nvram exclude each "
                         "other");
        return false;
    }
    if ((flags & UNDEFINE_TPM) && (flags & UNDEFINE_KEEP_TPM)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: tpm and keep-tpm exclude each other");
        return false;
    }
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    if (!domain || !domain_begin_job(domain, "undefine", error)) {
        return false;
    }
    bool ok = undefine_locked_job(domain, flags, error);
    domain_end_job(domain);
    return ok;
}

bool handle_domain_undefine(DaemonCall *call, const RemoteDomainUndefineArgs *args, GError **error)
{
    return undefine(call, &args->dom, 0, error);
}

bool handle_domain_undefine_flags(DaemonCall *call, const RemoteDomainUndefineFlagsArgs *args,
                                  GError **error)
{
    return undefine(call, &args->dom, args->flags, error);
}

bool handle_domain_set_autostart(DaemonCall *call, const RemoteDomainSetAutostartArgs *args,
                                 GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !domain_begin_job(domain, "autostart", error)) {
        return false;
    }
    bool wanted = args->autostart != 0;
    bool ok = domain->is_persistent;
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: cannot set autostart for transient "
                         "domain");
    } else if (domain->is_autostart != wanted) {
        g_autoptr(StateTxn) txn = state_txn_new();
        g_autofree char *link = service_autostart_path(domain->name);
        g_autofree char *target = g_strdup_printf("../%s.xml", domain->name);
        if (wanted) {
            state_txn_link(txn, link, target);
        } else {
            state_txn_delete(txn, link);
        }
        ok = service_commit(domain->service, txn, error);
        g_mutex_lock(&domain->lock);
        domain->is_autostart = ok ? wanted : domain->is_autostart;
        g_mutex_unlock(&domain->lock);
    }
    domain_end_job(domain);
    return ok;
}

/* Takes the firmware's variables along, where their file is called by the guest's name and the
 * definition does not name it. */
static void rename_nvram(const DomainService *service, const DomainDef *def, const char *old)
{
    g_autofree char *to = guest_firmware_nvram_path(def, service->nvram_dir);
    g_autofree char *from = g_strdup_printf("%s/%s_VARS.fd", service->nvram_dir, old);
    if (!to || domain_os_nvram_path(&def->os) || g_file_test(to, G_FILE_TEST_EXISTS)) {
        return;
    }
    if (rename(from, to) < 0 && errno != ENOENT) {
        log_write(LOG_LEVEL_WARN,
                  "domain '%s': cannot rename '%s', in which its firmware keeps "
                  "variables: %s",
                  def->name, from, g_strerror(errno));
    }
}

static bool rename_in_job(Domain *domain, const char *name, GError **error)
{
    if (!domain->is_persistent || domain_is_active(domain)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: cannot rename %s domain",
                         domain->is_persistent ? "active" : "a transient");
        return false;
    }
    g_mutex_lock(&domain->lock);
    const DomainDef *config = service_config_locked(domain, error);
    g_autoptr(DomainDef) def = config ? domain_def_copy(config) : NULL;
    bool autostart = domain->is_autostart;
    g_autofree char *old = g_strdup(domain->name);
    g_mutex_unlock(&domain->lock);
    if (!def) {
        return false;
    }
    g_free(def->name);
    def->name = g_strdup(name);
    if (!service_rename(domain->service, domain, name, error)) {
        return false;
    }
    g_autofree char *text = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
    g_autofree char *paths[] = { service_config_path(old), service_config_path(name),
                                 service_autostart_path(old), service_autostart_path(name) };
    g_autofree char *target = g_strdup_printf("../%s.xml", name);
    g_autoptr(StateTxn) txn = state_txn_new();
    state_txn_delete(txn, paths[0]);
    state_txn_put(txn, paths[1], text);
    state_txn_delete(txn, paths[2]);
    if (autostart) {
        state_txn_link(txn, paths[3], target);
    }
    bool ok = service_commit(domain->service, txn, error);
    for (unsigned i = 1; i < G_N_ELEMENTS(paths); i++) {
        g_free(paths[i]);
    }
    if (!ok) {
        service_rename(domain->service, domain, old, NULL);
        return false;
    }
    rename_nvram(domain->service, def, old);
    g_mutex_lock(&domain->lock);
    service_config_changed_locked(domain, def, text);
    char *renamed = domain->name;
    domain->name = old;
    domain_emit_locked(domain, EVENT_UNDEFINED, UNDEFINED_RENAMED);
    domain->name = renamed;
    domain_emit_locked(domain, EVENT_DEFINED, DEFINED_RENAMED);
    g_mutex_unlock(&domain->lock);
    return true;
}

bool handle_domain_rename(DaemonCall *call, const RemoteDomainRenameArgs *args,
                          RemoteDomainRenameRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    const char *name = args->new_name ?: "";
    if (!*name || strchr(name, '/') || strchr(name, '\n')) {
        daemon_error_set(error, DAEMON_ERROR_XML, "XML error: name '%s' cannot %s", name,
                         *name ? "contain '/' or a line break" : "be empty");
        return false;
    }
    if (!domain_begin_job(domain, "rename", error)) {
        return false;
    }
    bool ok = rename_in_job(domain, name, error);
    domain_end_job(domain);
    return ok;
}

enum { XML_SECURE = 1, XML_INACTIVE = 2, XML_UPDATE_CPU = 4, XML_MIGRATABLE = 8 };

bool handle_domain_get_xml_desc(DaemonCall *call, const RemoteDomainGetXmlDescArgs *args,
                                RemoteDomainGetXmlDescRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 15, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool inactive = (args->flags & XML_INACTIVE) || !domain->live;
    g_autoptr(GBytes) stored =
        inactive && domain->is_persistent && !(args->flags & XML_MIGRATABLE)
            ? service_config_text_locked(domain, !(args->flags & XML_SECURE), NULL)
            : NULL;
    if (stored) {
        g_mutex_unlock(&domain->lock);
        ret->xml = arena_strdup(call_arena(call), g_bytes_get_data(stored, NULL));
        return true;
    }
    const DomainDef *def =
        inactive && domain->is_persistent ? service_config_locked(domain, error) : domain->live;
    char *text = NULL;
    if (def) {
        text = domain_def_format(def,
                                 (inactive ? DOMAIN_FORMAT_INACTIVE : 0) |
                                     (args->flags & XML_SECURE ? DOMAIN_FORMAT_SECURE : 0) |
                                     (args->flags & XML_MIGRATABLE ? DOMAIN_FORMAT_MIGRATABLE : 0));
    } else if (error && !*error) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED, "the domain has just ended");
    }
    g_mutex_unlock(&domain->lock);
    ret->xml = text ? arena_take(call_arena(call), text, g_free) : NULL;
    return text != NULL;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_define_xml),          HANDLER(domain_define_xml_flags),
    HANDLER_INLINE(domain_get_xml_desc), HANDLER(domain_rename),
    HANDLER(domain_set_autostart),       HANDLER(domain_undefine),
    HANDLER(domain_undefine_flags),
};

const DaemonModule domain_define_module = {
    .name = "domain-define",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
