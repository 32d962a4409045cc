/* Procedures on vCPUs: how many, where they run.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/vcpus.h"

#include "conf/domain/vcpus.h"
#include "daemon/domain/affinity.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/change.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tuning.h"

#include <string.h>
#include <sys/sysinfo.h>

enum { VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16, VCPU_ALL = 31 };

/* --- numbers in definitions --- */

/* The order in which they came is that of a guest that runs. */
static void forget_order(DomainDef *def)
{
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        ((DomainVcpu *)def->vcpu_list.item[i])->order = 0;
    }
}

/* @plug: those that come are to be plugged when the guest starts. */
static void set_config_count(DomainDef *def, unsigned count, bool plug)
{
    forget_order(def);
    if (plug && count > def->current_vcpus) {
        domain_def_spread_vcpus(def);
    }
    unsigned have = def->current_vcpus;
    for (unsigned i = 0; i < def->vcpu_list.count && have < count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        if (vcpu->enabled != TRI_YES) {
            vcpu->enabled = TRI_YES;
            vcpu->hotpluggable = plug ? TRI_YES : vcpu->hotpluggable;
            have++;
        }
    }
    for (unsigned i = def->vcpu_list.count; i > 0 && have > count; i--) {
        DomainVcpu *vcpu = def->vcpu_list.item[i - 1];
        if (vcpu->enabled == TRI_YES) {
            vcpu->enabled = TRI_NO;
            vcpu->hotpluggable = TRI_YES;
            have--;
        }
    }
    def->current_vcpus = count;
}

static bool set_maximum(DomainDef *def, unsigned count, GError **error)
{
    def->vcpus = count;
    while (def->vcpu_list.count > count) {
        g_free(xml_list_steal(&def->vcpu_list, def->vcpu_list.count - 1));
    }
    if (def->vcpu_list.count) {
        domain_def_spread_vcpus(def);
    }
    def->current_vcpus = MIN(def->current_vcpus, count);
    return domain_def_fill_vcpus(def, error) && domain_def_validate(def, error);
}

static bool check_count(const DomainDef *def, unsigned count, const char *which, GError **error)
{
    if (count > def->vcpus) {
        daemon_error_set(
            error, DAEMON_ERROR_INVALID_ARG,
            "invalid argument: requested vcpus is greater than max allowable vcpus for "
            "the %s domain: %u > %u",
            which, count, def->vcpus);
        return false;
    }
    return true;
}

static bool set_count(DomainChange *change, unsigned count, unsigned flags, GError **error)
{
    Domain *domain = change->domain;
    if (change->monitor && (flags & VCPU_MAXIMUM)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: maximum vcpu count of a live domain can't be modified");
        return false;
    }
    g_mutex_lock(&domain->lock);
    bool ok = !change->monitor || !domain->live || check_count(domain->live, count, "live", error);
    g_mutex_unlock(&domain->lock);
    if (ok && change->config && (flags & VCPU_MAXIMUM)) {
        ok = set_maximum(change->config, count, error);
    } else if (ok && change->config) {
        ok = check_count(change->config, count, "persistent", error);
        if (ok) {
            set_config_count(change->config, count, flags & VCPU_HOTPLUGGABLE);
        }
    }
    return ok && change_store(change, error) &&
           (!change->monitor || vcpus_set_live_count(domain, change->monitor, count, error));
}

/* --- in the guest's own eyes --- */

static JsonArray *guest_vcpus(Domain *domain, JsonNode **out_owner, GError **error)
{
    *out_owner = agent_ask(domain, "guest-get-vcpus", NULL, AGENT_TIMEOUT_DEFAULT, error);
    JsonArray *list =
        *out_owner && JSON_NODE_HOLDS_ARRAY(*out_owner) ? json_node_get_array(*out_owner) : NULL;
    if (*out_owner && !list) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: the guest agent's list of vCPUs is no list");
    }
    return list;
}

static JsonObject *vcpu_wish(gint64 id, bool on)
{
    return qmp_object("i:logical-id", id, "b:online", (int)on, NULL);
}

static bool send_wishes(Domain *domain, JsonArray *wishes, GError **error)
{
    guint count = json_array_get_length(wishes);
    g_autoptr(JsonNode) answer =
        agent_ask(domain, "guest-set-vcpus", qmp_object("a:vcpus", wishes, NULL),
                  AGENT_TIMEOUT_DEFAULT, error);
    gint64 done = answer && JSON_NODE_HOLDS_VALUE(answer) ? json_node_get_int(answer) : 0;
    if (answer && done < count) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: the guest changed %d of %u vCPUs", (int)done, count);
        return false;
    }
    return answer != NULL;
}

static bool set_guest_count(Domain *domain, unsigned wanted, GError **error)
{
    g_autoptr(JsonNode) owner = NULL;
    JsonArray *list = guest_vcpus(domain, &owner, error);
    if (!list) {
        return false;
    }
    JsonArray *wishes = json_array_new();
    unsigned online = 0;
    for (guint i = 0; i < json_array_get_length(list); i++) {
        online += json_peer_bool(json_peer_element(list, i), "online", false);
    }
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonObject *vcpu = json_peer_element(list, i);
        bool is_on = json_peer_bool(vcpu, "online", false);
        bool change =
            is_on ? online > wanted && json_peer_bool(vcpu, "can-offline", false) : online < wanted;
        if (vcpu && change) {
            json_array_add_object_element(wishes,
                                          vcpu_wish(json_peer_int(vcpu, "logical-id", 0), !is_on));
            online = is_on ? online - 1 : online + 1;
        }
    }
    if (online != wanted) {
        json_array_unref(wishes);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: the guest cannot have %u vCPUs online",
                         wanted);
        return false;
    }
    return json_array_get_length(wishes) ? send_wishes(domain, wishes, error)
                                         : (json_array_unref(wishes), true);
}

static bool set_vcpus(DaemonCall *call, const RemoteDomain *dom, unsigned count, unsigned flags,
                      GError **error)
{
    if (!daemon_check_flags(flags, VCPU_ALL, error)) {
        return false;
    }
    if (count < 1 || count > VCPUS_MAX) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: %u is no possible number of vCPUs", count);
        return false;
    }
    if (flags & VCPU_GUEST) {
        g_autoptr(Domain) domain = call_domain(call, dom, error);
        return domain && set_guest_count(domain, count, error);
    }
    DomainChange change;
    return change_begin(&change, call, dom, "vcpus", flags, error) &&
           change_end(&change, set_count(&change, count, flags, error));
}

bool handle_domain_set_vcpus(DaemonCall *call, const RemoteDomainSetVcpusArgs *args, GError **error)
{
    return set_vcpus(call, &args->dom, args->nvcpus, AFFECT_LIVE, error);
}

bool handle_domain_set_vcpus_flags(DaemonCall *call, const RemoteDomainSetVcpusFlagsArgs *args,
                                   GError **error)
{
    return set_vcpus(call, &args->dom, args->nvcpus, args->flags, error);
}

static bool count_guest_vcpus(Domain *domain, bool all, int32_t *out, GError **error)
{
    g_autoptr(JsonNode) owner = NULL;
    JsonArray *list = guest_vcpus(domain, &owner, error);
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        *out += all || json_peer_bool(json_peer_element(list, i), "online", false);
    }
    return list != NULL;
}

bool handle_domain_get_vcpus_flags(DaemonCall *call, const RemoteDomainGetVcpusFlagsArgs *args,
                                   RemoteDomainGetVcpusFlagsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 15, error)) {
        return false;
    }
    if (args->flags & VCPU_GUEST) {
        if (!call_may_block(call)) {
            return call_requeue(call);
        }
        if (!domain_is_active(domain)) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: the guest's agent of domain '%s' can be asked for "
                             "vCPUs only while it runs",
                             domain->name);
            return false;
        }
        return count_guest_vcpus(domain, args->flags & VCPU_MAXIMUM, &ret->num, error);
    }
    g_mutex_lock(&domain->lock);
    const DomainDef *def = domain_def_by_flags_locked(domain, args->flags, error);
    if (def) {
        ret->num = (int32_t)(args->flags & VCPU_MAXIMUM ? def->vcpus : def->current_vcpus);
    }
    g_mutex_unlock(&domain->lock);
    return def != NULL;
}

/* --- single vCPUs --- */

static bool parse_numbers(const char *text, unsigned limit, CpuSet *out, GError **error)
{
    if (!cpuset_parse(text, out) || cpuset_count(out) == 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: '%s' is no list of vCPUs", text);
        return false;
    }
    if (cpuset_last(out) >= (int)limit) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: vCPU '%d' is not selectable: there are %u",
                         cpuset_last(out), limit);
        return false;
    }
    return true;
}

static bool switch_config(DomainDef *def, const CpuSet *which, bool on, GError **error)
{
    if (cpuset_has(which, 0)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: vCPU 0 is always there");
        return false;
    }
    domain_def_spread_vcpus(def);
    forget_order(def);
    def->current_vcpus = 0;
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        if (cpuset_has(which, i)) {
            vcpu->enabled = on ? TRI_YES : TRI_NO;
            vcpu->hotpluggable = TRI_YES;
        }
        def->current_vcpus += vcpu->enabled == TRI_YES;
    }
    return true;
}

bool handle_domain_set_vcpu(DaemonCall *call, const RemoteDomainSetVcpuArgs *args, GError **error)
{
    DomainChange change;
    CpuSet which;
    if (args->state != 0 && args->state != 1) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: the state of a vCPU is 0 or 1, not %d", args->state);
        return false;
    }
    if (!daemon_check_flags(args->flags, 3, error) ||
        !change_begin(&change, call, &args->dom, "vcpu", args->flags, error)) {
        return false;
    }
    g_mutex_lock(&change.domain->lock);
    const DomainDef *def = change.config ?: change.domain->live;
    unsigned limit = def ? def->vcpus : 0;
    g_mutex_unlock(&change.domain->lock);
    bool on = args->state == 1;
    bool ok =
        parse_numbers(args->cpumap, limit, &which, error) &&
        (!change.config || switch_config(change.config, &which, on, error)) &&
        change_store(&change, error) &&
        (!change.monitor || vcpus_switch_live(change.domain, change.monitor, &which, on, error));
    return change_end(&change, ok);
}

bool handle_domain_get_guest_vcpus(DaemonCall *call, const RemoteDomainGetGuestVcpusArgs *args,
                                   RemoteDomainGetGuestVcpusRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(JsonNode) owner = NULL;
    JsonArray *list = domain && daemon_check_flags(args->flags, 0, error)
                          ? guest_vcpus(domain, &owner, error)
                          : NULL;
    if (!list) {
        return false;
    }
    CpuSet sets[3] = { { { 0 } } };
    static const char *const names[] = { "vcpus", "online", "offlinable" };
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonObject *vcpu = json_peer_element(list, i);
        unsigned id = (unsigned)CLAMP(json_peer_int(vcpu, "logical-id", 0), 0, CPUSET_MAX);
        bool is_in[] = { true, json_peer_bool(vcpu, "online", false),
                         json_peer_bool(vcpu, "can-offline", false) };
        for (unsigned s = 0; s < G_N_ELEMENTS(sets); s++) {
            if (is_in[s]) {
                cpuset_add(&sets[s], id);
            }
        }
    }
    ParamList params = { .arena = call_arena(call) };
    for (unsigned s = 0; s < G_N_ELEMENTS(sets); s++) {
        g_autofree char *text = cpuset_format(&sets[s]);
        params_string(&params, names[s], text);
    }
    ret->params = params.items;
    ret->n_params = params.count;
    return true;
}

bool handle_domain_set_guest_vcpus(DaemonCall *call, const RemoteDomainSetGuestVcpusArgs *args,
                                   GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    CpuSet which;
    if (!domain || !daemon_check_flags(args->flags, 0, error) ||
        !parse_numbers(args->cpumap, CPUSET_MAX, &which, error)) {
        return false;
    }
    JsonArray *wishes = json_array_new();
    for (int i = 0; i <= cpuset_last(&which); i++) {
        if (cpuset_has(&which, (unsigned)i)) {
            json_array_add_object_element(wishes, vcpu_wish(i, args->state != 0));
        }
    }
    return send_wishes(domain, wishes, error);
}

/* --- pinning --- */

static pid_t vcpu_thread(Domain *domain, unsigned vcpu)
{
    g_mutex_lock(&domain->lock);
    pid_t tid = domain->runtime && vcpu < domain->runtime->vcpu_tids->len
                    ? g_array_index(domain->runtime->vcpu_tids, pid_t, vcpu)
                    : 0;
    g_mutex_unlock(&domain->lock);
    return tid;
}

static bool check_vcpu(const DomainDef *def, unsigned vcpu, GError **error)
{
    if (!def || vcpu >= def->vcpus) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: vcpu %u is out of range of the domain's %u", vcpu,
                         def ? def->vcpus : 0);
        return false;
    }
    return true;
}

static bool pin_vcpu(DomainChange *change, unsigned vcpu, const CpuSet *set, GError **error)
{
    Domain *domain = change->domain;
    g_autofree char *text = cpuset_format(set);
    if (change->config) {
        if (!check_vcpu(change->config, vcpu, error)) {
            return false;
        }
        affinity_set_pin(&change->config->cputune.vcpu_pins, vcpu, text);
    }
    if (!change_store(change, error) || !change->monitor) {
        return !change->monitor && !change->config;
    }
    pid_t tid = vcpu_thread(domain, vcpu);
    g_mutex_lock(&domain->lock);
    bool ok = check_vcpu(domain->live, vcpu, error);
    g_mutex_unlock(&domain->lock);
    /* One that is not plugged yet gets its place when it is. */
    if (!ok || (tid > 0 && !affinity_set(tid, set, error))) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->live) {
        affinity_set_pin(&domain->live->cputune.vcpu_pins, vcpu, text);
    }
    domain_emit_tunable_locked(domain, "cputune.vcpupin", vcpu, text);
    g_mutex_unlock(&domain->lock);
    return true;
}

static bool handle_pin_vcpu(DaemonCall *call, const RemoteDomain *dom, unsigned vcpu,
                            const uint8_t *map, uint32_t size, unsigned flags, GError **error)
{
    DomainChange change;
    CpuSet set;
    return daemon_check_flags(flags, 3, error) && affinity_from_map(map, size, &set, error) &&
           change_begin(&change, call, dom, "pin", flags, error) &&
           change_end(&change, pin_vcpu(&change, vcpu, &set, error));
}

bool handle_domain_pin_vcpu(DaemonCall *call, const RemoteDomainPinVcpuArgs *args, GError **error)
{
    return handle_pin_vcpu(call, &args->dom, args->vcpu, args->cpumap, args->n_cpumap, AFFECT_LIVE,
                           error);
}

bool handle_domain_pin_vcpu_flags(DaemonCall *call, const RemoteDomainPinVcpuFlagsArgs *args,
                                  GError **error)
{
    return handle_pin_vcpu(call, &args->dom, args->vcpu, args->cpumap, args->n_cpumap, args->flags,
                           error);
}

bool handle_domain_get_vcpu_pin_info(DaemonCall *call, const RemoteDomainGetVcpuPinInfoArgs *args,
                                     RemoteDomainGetVcpuPinInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 3, error)) {
        return false;
    }
    unsigned length = (unsigned)CLAMP(args->maplen, 0, CPUSET_MAX / 8);
    g_mutex_lock(&domain->lock);
    const DomainDef *def = domain_def_by_flags_locked(domain, args->flags, error);
    unsigned count = def ? MIN((unsigned)MAX(args->ncpumaps, 0), def->vcpus) : 0;
    ret->cpumaps = def ? arena_alloc(call_arena(call), (size_t)count * length + 1) : NULL;
    for (unsigned i = 0; ret->cpumaps && i < count; i++) {
        CpuSet set;
        affinity_parse(affinity_find_pin(&def->cputune.vcpu_pins, i) ?: def->vcpu_cpuset, &set);
        affinity_to_map(&set, ret->cpumaps + (size_t)i * length, length);
    }
    g_mutex_unlock(&domain->lock);
    ret->n_cpumaps = ret->cpumaps ? count * length : 0;
    ret->num = (int32_t)count;
    return def != NULL;
}

static bool pin_emulator(DomainChange *change, const CpuSet *set, GError **error)
{
    Domain *domain = change->domain;
    g_autofree char *text = cpuset_format(set);
    if (change->config) {
        g_free(change->config->cputune.emulator_pin);
        change->config->cputune.emulator_pin = g_strdup(text);
    }
    if (!change_store(change, error)) {
        return false;
    }
    if (!change->monitor) {
        return true;
    }
    g_mutex_lock(&domain->lock);
    pid_t pid = domain->runtime ? domain->runtime->process.pid : 0;
    g_autoptr(GArray) others = g_array_new(FALSE, TRUE, sizeof(pid_t));
    if (pid) {
        g_array_append_vals(others, domain->runtime->vcpu_tids->data,
                            domain->runtime->vcpu_tids->len);
    }
    g_mutex_unlock(&domain->lock);
    if (!pid || !affinity_set_emulator(pid, others, set, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (domain->live) {
        g_free(domain->live->cputune.emulator_pin);
        domain->live->cputune.emulator_pin = g_strdup(text);
    }
    domain_emit_tunable_locked(domain, "cputune.emulatorpin", -1, text);
    g_mutex_unlock(&domain->lock);
    return affinity_apply(domain, change->monitor, error);
}

bool handle_domain_pin_emulator(DaemonCall *call, const RemoteDomainPinEmulatorArgs *args,
                                GError **error)
{
    DomainChange change;
    CpuSet set;
    return daemon_check_flags(args->flags, 3, error) &&
           affinity_from_map(args->cpumap, args->n_cpumap, &set, error) &&
           change_begin(&change, call, &args->dom, "pin", args->flags, error) &&
           change_end(&change, pin_emulator(&change, &set, error));
}

bool handle_domain_get_emulator_pin_info(DaemonCall *call,
                                         const RemoteDomainGetEmulatorPinInfoArgs *args,
                                         RemoteDomainGetEmulatorPinInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 3, error)) {
        return false;
    }
    unsigned length = (unsigned)CLAMP(args->maplen, 0, CPUSET_MAX / 8);
    g_mutex_lock(&domain->lock);
    const DomainDef *def = domain_def_by_flags_locked(domain, args->flags, error);
    ret->cpumaps = def ? arena_alloc(call_arena(call), length + 1) : NULL;
    if (ret->cpumaps) {
        CpuSet set;
        affinity_parse(def->cputune.emulator_pin ?: def->vcpu_cpuset, &set);
        affinity_to_map(&set, ret->cpumaps, length);
        ret->n_cpumaps = length;
        ret->ret = 1;
    }
    g_mutex_unlock(&domain->lock);
    return def != NULL;
}

/* Where a vCPU may run, and what it did; of running guests. */
bool handle_domain_get_vcpus(DaemonCall *call, const RemoteDomainGetVcpusArgs *args,
                             RemoteDomainGetVcpusRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain) {
        return false;
    }
    unsigned length = (unsigned)CLAMP(args->maplen, 0, CPUSET_MAX / 8);
    g_autoptr(GArray) tids = g_array_new(FALSE, TRUE, sizeof(pid_t));
    pid_t pid = 0;
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error);
    if (ok && domain->runtime) {
        pid = domain->runtime->process.pid;
        g_array_append_vals(tids, domain->runtime->vcpu_tids->data,
                            domain->runtime->vcpu_tids->len);
    }
    g_mutex_unlock(&domain->lock);
    if (!ok) {
        return false;
    }
    unsigned most = MIN(tids->len, (unsigned)MAX(args->maxinfo, 0));
    ret->info = arena_alloc_array(call_arena(call), most + 1, sizeof(*ret->info));
    ret->cpumaps = arena_alloc(call_arena(call), (size_t)most * length + 1);
    if (!ret->info || !ret->cpumaps) {
        daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "the reply would be too large");
        return false;
    }
    for (unsigned i = 0; i < tids->len && ret->n_info < most; i++) {
        pid_t tid = g_array_index(tids, pid_t, i);
        guint64 ns = 0, delay;
        int cpu = 0;
        CpuSet set;
        if (tid <= 0) {
            continue;
        }
        process_thread_usage(pid, tid, &ns, &cpu, &delay);
        if (!affinity_get(tid, &set)) {
            affinity_parse(NULL, &set);
        }
        affinity_to_map(&set, ret->cpumaps + (size_t)ret->n_info * length, length);
        ret->info[ret->n_info++] = (RemoteVcpuInfo){ i, 1, ns, cpu };
    }
    ret->n_cpumaps = ret->n_info * length;
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER_INLINE(domain_get_emulator_pin_info),
    HANDLER(domain_get_guest_vcpus),
    HANDLER_INLINE(domain_get_vcpu_pin_info),
    HANDLER_INLINE(domain_get_vcpus),
    HANDLER_INLINE(domain_get_vcpus_flags),
    HANDLER(domain_pin_emulator),
    HANDLER(domain_pin_vcpu),
    HANDLER(domain_pin_vcpu_flags),
    HANDLER(domain_set_guest_vcpus),
    HANDLER(domain_set_vcpu),
    HANDLER(domain_set_vcpus),
    HANDLER(domain_set_vcpus_flags),
};

const DaemonModule domain_vcpus_module = {
    .name = "domain-vcpus",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
