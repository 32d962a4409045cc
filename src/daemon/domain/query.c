/* Procedures that list and look up guests, and tell what is known without asking them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/guest-user.h"
#include "daemon/domain/handlers.h"

#include <string.h>
#include <unistd.h>

Domain *call_domain(DaemonCall *call, const RemoteDomain *wire, GError **error)
{
    return service_find(call_daemon(call)->domains, wire, error);
}

void call_return_domain(DaemonCall *call, Domain *domain, RemoteDomain *out)
{
    g_mutex_lock(&domain->lock);
    domain_to_wire_locked(domain, call_arena(call), out);
    g_mutex_unlock(&domain->lock);
}

static bool return_lookup(DaemonCall *call, Domain *domain, RemoteDomain *out, GError **error,
                          const char *what, const char *key)
{
    if (!domain) {
        daemon_error_set(error, DAEMON_ERROR_NO_DOMAIN,
                         "Domain not found: no domain with matching %s '%s'", what, key);
        return false;
    }
    call_return_domain(call, domain, out);
    domain_unref(domain);
    return true;
}

bool handle_domain_lookup_by_name(DaemonCall *call, const RemoteDomainLookupByNameArgs *args,
                                  RemoteDomainLookupByNameRet *ret, GError **error)
{
    Domain *domain = service_find_name(call_daemon(call)->domains, args->name);
    return return_lookup(call, domain, &ret->dom, error, "name", args->name);
}

bool handle_domain_lookup_by_uuid(DaemonCall *call, const RemoteDomainLookupByUuidArgs *args,
                                  RemoteDomainLookupByUuidRet *ret, GError **error)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(&args->uuid, text);
    Domain *domain = service_find_uuid(call_daemon(call)->domains, &args->uuid);
    return return_lookup(call, domain, &ret->dom, error, "uuid", text);
}

bool handle_domain_lookup_by_id(DaemonCall *call, const RemoteDomainLookupByIdArgs *args,
                                RemoteDomainLookupByIdRet *ret, GError **error)
{
    char text[16];
    g_snprintf(text, sizeof(text), "%d", args->id);
    Domain *domain = service_find_id(call_daemon(call)->domains, args->id);
    return return_lookup(call, domain, &ret->dom, error, "id", text);
}

/* Bits of virConnectListAllDomains, in groups of which one must match. */
enum {
    LIST_ACTIVE = 1 << 0,
    LIST_INACTIVE = 1 << 1,
    LIST_PERSISTENT = 1 << 2,
    LIST_TRANSIENT = 1 << 3,
    LIST_RUNNING = 1 << 4,
    LIST_PAUSED = 1 << 5,
    LIST_SHUTOFF = 1 << 6,
    LIST_OTHER = 1 << 7,
    LIST_MANAGED_SAVE = 1 << 8,
    LIST_NO_MANAGED_SAVE = 1 << 9,
    LIST_AUTOSTART = 1 << 10,
    LIST_NO_AUTOSTART = 1 << 11,
    LIST_HAS_SNAPSHOT = 1 << 12,
    LIST_NO_SNAPSHOT = 1 << 13,
    LIST_HAS_CHECKPOINT = 1 << 14,
    LIST_NO_CHECKPOINT = 1 << 15,
    LIST_ALL_BITS = (1 << 16) - 1,
};

static bool is_in_group(uint32_t flags, uint32_t group, uint32_t have)
{
    return (flags & group) == 0 || (flags & have) != 0;
}

bool domain_matches_list_locked(const Domain *domain, uint32_t flags)
{
    uint32_t state = domain->state == DOMAIN_RUNNING   ? LIST_RUNNING
                     : domain->state == DOMAIN_PAUSED  ? LIST_PAUSED
                     : domain->state == DOMAIN_SHUTOFF ? LIST_SHUTOFF
                                                       : LIST_OTHER;
    return is_in_group(flags, LIST_ACTIVE | LIST_INACTIVE,
                       domain_is_active_locked(domain) ? LIST_ACTIVE : LIST_INACTIVE) &&
           is_in_group(flags, LIST_PERSISTENT | LIST_TRANSIENT,
                       domain->is_persistent ? LIST_PERSISTENT : LIST_TRANSIENT) &&
           is_in_group(flags, LIST_RUNNING | LIST_PAUSED | LIST_SHUTOFF | LIST_OTHER, state) &&
           is_in_group(flags, LIST_MANAGED_SAVE | LIST_NO_MANAGED_SAVE, LIST_NO_MANAGED_SAVE) &&
           is_in_group(flags, LIST_AUTOSTART | LIST_NO_AUTOSTART,
                       domain->is_autostart ? LIST_AUTOSTART : LIST_NO_AUTOSTART) &&
           is_in_group(flags, LIST_HAS_SNAPSHOT | LIST_NO_SNAPSHOT, LIST_NO_SNAPSHOT) &&
           is_in_group(flags, LIST_HAS_CHECKPOINT | LIST_NO_CHECKPOINT, LIST_NO_CHECKPOINT);
}

bool handle_connect_list_all_domains(DaemonCall *call, const RemoteConnectListAllDomainsArgs *args,
                                     RemoteConnectListAllDomainsRet *ret, GError **error)
{
    if (!daemon_check_flags(args->flags, LIST_ALL_BITS, error)) {
        return false;
    }
    g_autoptr(GPtrArray) all = service_all(call_daemon(call)->domains);
    XdrWriter *writer = call_raw_reply(call);
    size_t count_at = writer->size;
    uint32_t n = 0;
    xdr_put_u32(writer, 0);
    for (guint i = 0; i < all->len; i++) {
        Domain *domain = g_ptr_array_index(all, i);
        g_mutex_lock(&domain->lock);
        if (!domain->is_removed && domain_matches_list_locked(domain, args->flags)) {
            if (args->need_results) {
                domain_put_wire_locked(domain, writer);
            }
            n++;
        }
        g_mutex_unlock(&domain->lock);
    }
    if (args->need_results && n > call_procedure(call)->ret->fields[0].max) {
        daemon_error_set(error, DAEMON_ERROR_RPC,
                         "there are %u domains, and clients take no list of more than %u", n,
                         call_procedure(call)->ret->fields[0].max);
        return false;
    }
    xdr_patch_u32(writer, count_at, args->need_results ? n : 0);
    xdr_put_u32(writer, n);
    return true;
}

static bool is_inactive(Domain *domain)
{
    return !domain_is_active(domain);
}

bool handle_connect_num_of_domains(DaemonCall *call, RemoteConnectNumOfDomainsRet *ret,
                                   GError **error)
{
    DomainService *service = call_daemon(call)->domains;
    g_rw_lock_reader_lock(&service->lock);
    ret->num = (int32_t)service->active;
    g_rw_lock_reader_unlock(&service->lock);
    return true;
}

bool handle_connect_num_of_defined_domains(DaemonCall *call,
                                           RemoteConnectNumOfDefinedDomainsRet *ret, GError **error)
{
    g_autoptr(GPtrArray) all = service_all(call_daemon(call)->domains);
    for (guint i = 0; i < all->len; i++) {
        ret->num += is_inactive(g_ptr_array_index(all, i));
    }
    return true;
}

bool handle_connect_list_domains(DaemonCall *call, const RemoteConnectListDomainsArgs *args,
                                 RemoteConnectListDomainsRet *ret, GError **error)
{
    g_autoptr(GPtrArray) all = service_all(call_daemon(call)->domains);
    ret->ids = arena_alloc_array(call_arena(call), all->len + 1, sizeof(*ret->ids));
    for (guint i = 0; ret->ids && i < all->len && (int)ret->n_ids < args->maxids; i++) {
        Domain *domain = g_ptr_array_index(all, i);
        g_mutex_lock(&domain->lock);
        if (domain_is_active_locked(domain)) {
            ret->ids[ret->n_ids++] = domain->id;
        }
        g_mutex_unlock(&domain->lock);
    }
    return true;
}

bool handle_connect_list_defined_domains(DaemonCall *call,
                                         const RemoteConnectListDefinedDomainsArgs *args,
                                         RemoteConnectListDefinedDomainsRet *ret, GError **error)
{
    g_autoptr(GPtrArray) all = service_all(call_daemon(call)->domains);
    ret->names = arena_alloc_array(call_arena(call), all->len + 1, sizeof(*ret->names));
    for (guint i = 0; ret->names && i < all->len && (int)ret->n_names < args->maxnames; i++) {
        Domain *domain = g_ptr_array_index(all, i);
        g_mutex_lock(&domain->lock);
        if (!domain_is_active_locked(domain)) {
            ret->names[ret->n_names++] = arena_strdup(call_arena(call), domain->name);
        }
        g_mutex_unlock(&domain->lock);
    }
    return true;
}

DomainDef *domain_def_locked(Domain *domain, GError **error)
{
    return domain->live ? domain->live : service_config_locked(domain, error);
}

bool handle_domain_get_info(DaemonCall *call, const RemoteDomainGetInfoArgs *args,
                            RemoteDomainGetInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    DomainFacts summary;
    pid_t pid = 0;
    g_mutex_lock(&domain->lock);
    bool ok = domain_facts_locked(domain, &summary, error);
    if (ok) {
        ret->state = (uint8_t)domain->state;
        ret->max_mem = summary.max_kib;
        ret->memory = domain->runtime && domain->runtime->balloon_kib ? domain->runtime->balloon_kib
                                                                      : summary.current_kib;
        ret->nr_virt_cpu = (uint16_t)summary.vcpus;
        pid = domain->runtime ? domain->runtime->process.pid : 0;
    }
    g_mutex_unlock(&domain->lock);
    ProcessUsage usage;
    if (ok && pid > 0 && process_usage(pid, &usage)) {
        ret->cpu_time = usage.user_ns + usage.system_ns;
    }
    return ok;
}

bool handle_domain_get_state(DaemonCall *call, const RemoteDomainGetStateArgs *args,
                             RemoteDomainGetStateRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    ret->state = domain->state;
    ret->reason = domain->reason;
    g_mutex_unlock(&domain->lock);
    return true;
}

/* virDomainControlState: 0 ok, 1 job, 2 occupied, 3 error. */
bool handle_domain_get_control_info(DaemonCall *call, const RemoteDomainGetControlInfoArgs *args,
                                    RemoteDomainGetControlInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error);
    if (ok && !domain->runtime->monitor) {
        ret->state = 3;
        ret->details = 2;
    } else if (ok && domain->job) {
        ret->state = 1;
        ret->state_time = (uint64_t)(g_get_monotonic_time() - domain->job_since) / 1000;
    }
    g_mutex_unlock(&domain->lock);
    return ok;
}

/* One number or mark of a domain, under its lock. */
#define SIMPLE_GETTER(Name, name, member, expression)                                              \
    bool handle_##name(DaemonCall *call, const Remote##Name##Args *args, Remote##Name##Ret *ret,   \
                       GError **error)                                                             \
    {                                                                                              \
        g_autoptr(Domain) domain = call_domain(call, &args->dom, error);                           \
        if (!domain) {                                                                             \
            return false;                                                                          \
        }                                                                                          \
        g_mutex_lock(&domain->lock);                                                               \
        ret->member = (expression);                                                                \
        g_mutex_unlock(&domain->lock);                                                             \
        return true;                                                                               \
    }

SIMPLE_GETTER(DomainIsActive, domain_is_active, active, domain_is_active_locked(domain))
SIMPLE_GETTER(DomainIsPersistent, domain_is_persistent, persistent, domain->is_persistent)
SIMPLE_GETTER(DomainIsUpdated, domain_is_updated, updated, false)
SIMPLE_GETTER(DomainGetAutostart, domain_get_autostart, autostart, domain->is_autostart)
SIMPLE_GETTER(DomainGetAutostartOnce, domain_get_autostart_once, autostart, false)
SIMPLE_GETTER(DomainGetOsType, domain_get_os_type, type, "hvm")
SIMPLE_GETTER(DomainHasManagedSaveImage, domain_has_managed_save_image, result, false)
SIMPLE_GETTER(DomainHasCurrentSnapshot, domain_has_current_snapshot, result, false)
SIMPLE_GETTER(DomainSnapshotNum, domain_snapshot_num, num, 0)

bool handle_domain_list_all_snapshots(DaemonCall *call,
                                      const RemoteDomainListAllSnapshotsArgs *args,
                                      RemoteDomainListAllSnapshotsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain != NULL;
}

bool handle_domain_list_all_checkpoints(DaemonCall *call,
                                        const RemoteDomainListAllCheckpointsArgs *args,
                                        RemoteDomainListAllCheckpointsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain != NULL;
}

bool handle_domain_get_max_memory(DaemonCall *call, const RemoteDomainGetMaxMemoryArgs *args,
                                  RemoteDomainGetMaxMemoryRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    DomainFacts summary = { 0 };
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = domain_facts_locked(domain, &summary, error);
    g_mutex_unlock(&domain->lock);
    ret->memory = summary.max_kib;
    return ok;
}

bool handle_domain_get_max_vcpus(DaemonCall *call, const RemoteDomainGetMaxVcpusArgs *args,
                                 RemoteDomainGetMaxVcpusRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    DomainFacts summary = { 0 };
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok =
        domain_check_active_locked(domain, error) && domain_facts_locked(domain, &summary, error);
    g_mutex_unlock(&domain->lock);
    ret->num = (int32_t)summary.max_vcpus;
    return ok;
}

/* The guest's user, where it has one of its own; else nothing labels guests. */
bool handle_domain_get_security_label(DaemonCall *call,
                                      const RemoteDomainGetSecurityLabelArgs *args,
                                      RemoteDomainGetSecurityLabelRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    g_autofree char *label = guest_user_label(domain);
    g_mutex_unlock(&domain->lock);
    ret->label = arena_strdup(call_arena(call), label ?: "");
    ret->n_label = (uint32_t)strlen(label ?: "") + 1;
    return true;
}

bool handle_domain_get_security_label_list(DaemonCall *call,
                                           const RemoteDomainGetSecurityLabelListArgs *args,
                                           RemoteDomainGetSecurityLabelListRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    g_autofree char *label = guest_user_label(domain);
    g_mutex_unlock(&domain->lock);
    if (label) {
        ret->labels = arena_alloc_array(call_arena(call), 1, sizeof(*ret->labels));
        if (!ret->labels) {
            daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
            return false;
        }
        ret->labels[0].label = arena_strdup(call_arena(call), label);
        ret->labels[0].n_label = (uint32_t)strlen(label) + 1;
        ret->n_labels = 1;
        ret->ret = 1;
    }
    return true;
}

bool handle_domain_get_messages(DaemonCall *call, const RemoteDomainGetMessagesArgs *args,
                                RemoteDomainGetMessagesRet *ret, GError **error)
{
    enum { MESSAGES_DEPRECATION = 1, MESSAGES_TAINTING = 2, MOST = 3 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain ||
        !daemon_check_flags(args->flags, MESSAGES_DEPRECATION | MESSAGES_TAINTING, error)) {
        return false;
    }
    ret->msgs = arena_alloc_array(call_arena(call), MOST, sizeof(*ret->msgs));
    if (!ret->msgs || args->flags == MESSAGES_DEPRECATION) {
        return ret->msgs != NULL; /* nothing of what is in use goes away */
    }
    g_mutex_lock(&domain->lock);
    const DomainRuntime *runtime = domain->live ? domain->runtime : NULL;
    if (runtime && geteuid() == 0 && !domain->uid) {
        ret->msgs[ret->n_msgs++] = "tainted: the guest's process runs as root";
    }
    if (runtime && domain->live->qemu && domain->live->qemu->args.count) {
        ret->msgs[ret->n_msgs++] = "tainted: the definition adds command line arguments";
    }
    if (runtime && runtime->has_foreign_commands) {
        ret->msgs[ret->n_msgs++] = "tainted: commands were sent to the monitor by a client";
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

/* VIR_DOMAIN_JOB_NONE: long operations are not offered. */
bool handle_domain_get_job_info(DaemonCall *call, const RemoteDomainGetJobInfoArgs *args,
                                RemoteDomainGetJobInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error);
    g_mutex_unlock(&domain->lock);
    return ok;
}

bool handle_domain_get_job_stats(DaemonCall *call, const RemoteDomainGetJobStatsArgs *args,
                                 RemoteDomainGetJobStatsRet *ret, GError **error)
{
    enum { COMPLETED = 1, KEEP = 2 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, COMPLETED | KEEP, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = (args->flags & COMPLETED) || domain_check_active_locked(domain, error);
    g_mutex_unlock(&domain->lock);
    return ok;
}

static bool abort_job(DaemonCall *call, const RemoteDomain *dom, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    if (domain) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: no job is active on the domain");
    }
    return false;
}

bool handle_domain_abort_job(DaemonCall *call, const RemoteDomainAbortJobArgs *args, GError **error)
{
    return abort_job(call, &args->dom, error);
}

bool handle_domain_abort_job_flags(DaemonCall *call, const RemoteDomainAbortJobFlagsArgs *args,
                                   GError **error)
{
    enum { ABORT_POSTCOPY = 1 };
    return daemon_check_flags(args->flags, ABORT_POSTCOPY, error) &&
           abort_job(call, &args->dom, error);
}

/* There are none: the answers to whoever looks for one. */
#define NOT_FOUND(Name, name, code, ...)                                                           \
    bool handle_##name(DaemonCall *call, const Remote##Name##Args *args, Remote##Name##Ret *ret,   \
                       GError **error)                                                             \
    {                                                                                              \
        g_autoptr(Domain) domain = call_domain(call, &args->dom, error);                           \
        if (domain) {                                                                              \
            daemon_error_set(error, DAEMON_ERROR_##code, __VA_ARGS__);                             \
        }                                                                                          \
        return false;                                                                              \
    }

NOT_FOUND(DomainSnapshotLookupByName, domain_snapshot_lookup_by_name, NO_DOMAIN_SNAPSHOT,
          "Domain snapshot not found: no domain snapshot with matching name '%s'", args->name)
NOT_FOUND(DomainSnapshotCurrent, domain_snapshot_current, NO_DOMAIN_SNAPSHOT,
          "Domain snapshot not found: the domain does not have a current snapshot")
NOT_FOUND(DomainCheckpointLookupByName, domain_checkpoint_lookup_by_name, NO_DOMAIN_CHECKPOINT,
          "Domain checkpoint not found: no domain checkpoint with matching name '%s'", args->name)
NOT_FOUND(DomainBackupGetXmlDesc, domain_backup_get_xml_desc, NO_DOMAIN_BACKUP,
          "Domain backup job id not found: no domain backup job present")

bool handle_domain_snapshot_list_names(DaemonCall *call,
                                       const RemoteDomainSnapshotListNamesArgs *args,
                                       RemoteDomainSnapshotListNamesRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain != NULL;
}

static const DispatchEntry entries[] = {
    HANDLER_INLINE(connect_list_all_domains),
    HANDLER_INLINE(connect_list_defined_domains),
    HANDLER_INLINE(connect_list_domains),
    HANDLER_INLINE(connect_num_of_defined_domains),
    HANDLER_INLINE(connect_num_of_domains),
    HANDLER_INLINE(domain_abort_job),
    HANDLER_INLINE(domain_abort_job_flags),
    HANDLER_INLINE(domain_backup_get_xml_desc),
    HANDLER_INLINE(domain_checkpoint_lookup_by_name),
    HANDLER_INLINE(domain_get_autostart),
    HANDLER_INLINE(domain_get_autostart_once),
    HANDLER_INLINE(domain_get_control_info),
    HANDLER_INLINE(domain_get_info),
    HANDLER_INLINE(domain_get_job_info),
    HANDLER_INLINE(domain_get_job_stats),
    HANDLER_INLINE(domain_get_max_memory),
    HANDLER_INLINE(domain_get_max_vcpus),
    HANDLER_INLINE(domain_get_messages),
    HANDLER_INLINE(domain_get_os_type),
    HANDLER_INLINE(domain_get_security_label),
    HANDLER_INLINE(domain_get_security_label_list),
    HANDLER_INLINE(domain_get_state),
    HANDLER_INLINE(domain_has_current_snapshot),
    HANDLER_INLINE(domain_has_managed_save_image),
    HANDLER_INLINE(domain_is_active),
    HANDLER_INLINE(domain_is_persistent),
    HANDLER_INLINE(domain_is_updated),
    HANDLER_INLINE(domain_list_all_checkpoints),
    HANDLER_INLINE(domain_list_all_snapshots),
    HANDLER_INLINE(domain_lookup_by_id),
    HANDLER_INLINE(domain_lookup_by_name),
    HANDLER_INLINE(domain_lookup_by_uuid),
    HANDLER_INLINE(domain_snapshot_current),
    HANDLER_INLINE(domain_snapshot_list_names),
    HANDLER_INLINE(domain_snapshot_lookup_by_name),
    HANDLER_INLINE(domain_snapshot_num),
};

const DaemonModule domain_query_module = {
    .name = "domain-query",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
