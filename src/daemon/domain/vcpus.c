/* Procedures on vCPUs: how many, where they run.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/vcpus.h"

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

#define VCPUS_MAX 4096u

enum { VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16, VCPU_ALL = 31 };

/* --- plugging --- */

/* One place for a vCPU, as query-hotpluggable-cpus tells it. */
typedef struct Slot {
    gint64 order;      /* by socket, die, core, thread: its number */
    char *type;        /* what to add */
    JsonObject *props; /* where */
    char *id;          /* of the vCPU in it that can be taken out; else NULL */
    bool is_taken;
} Slot;

static void slot_free(gpointer data)
{
    Slot *slot = data;
    g_free(slot->type);
    g_free(slot->id);
    g_clear_pointer(&slot->props, json_object_unref);
    g_free(slot);
}

static gint compare_slots(gconstpointer a, gconstpointer b)
{
    const Slot *one = *(Slot *const *)a;
    const Slot *other = *(Slot *const *)b;
    return one->order < other->order ? -1 : one->order > other->order;
}

static Slot *read_slot(JsonObject *object)
{
    static const char *const levels[] = { "socket-id", "die-id", "core-id", "thread-id" };
    static const char peripheral[] = "/machine/peripheral/";
    JsonObject *props = json_peer_object(object, "props");
    const char *type = json_peer_string(object, "type");
    const char *path = json_peer_string(object, "qom-path");
    if (!props || !type) {
        return NULL;
    }
    Slot *slot = g_new0(Slot, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
        slot->order = slot->order << 12 | (json_peer_int(props, levels[i], 0) & 0xfff);
    }
    slot->type = g_strdup(type);
    slot->props = json_object_ref(props);
    slot->is_taken = path != NULL;
    if (path && g_str_has_prefix(path, peripheral)) {
        slot->id = g_strdup(path + strlen(peripheral));
    }
    return slot;
}

/* All places in order (transfer full); NULL with @error. */
static GPtrArray *query_slots(QmpClient *monitor, GError **error)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-hotpluggable-cpus", NULL, -1, QMP_TIMEOUT_MS, error);
    if (!answer) {
        return NULL;
    }
    GPtrArray *slots = g_ptr_array_new_with_free_func(slot_free);
    JsonArray *list = JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    for (guint i = 0; list && i < json_array_get_length(list) && i < VCPUS_MAX; i++) {
        JsonObject *object = json_peer_element(list, i);
        Slot *slot = object ? read_slot(object) : NULL;
        if (slot) {
            g_ptr_array_add(slots, slot);
        }
    }
    g_ptr_array_sort(slots, compare_slots);
    return slots;
}

static bool plug_slot(QmpClient *monitor, const Slot *slot, unsigned number, GError **error)
{
    JsonObject *arguments = json_object_new();
    g_autoptr(GList) members = json_object_get_members(slot->props);
    g_autofree char *id = g_strdup_printf("vcpu%u", number);
    for (GList *member = members; member; member = member->next) {
        json_object_set_member(arguments, member->data,
                               json_node_copy(json_object_get_member(slot->props, member->data)));
    }
    json_object_set_string_member(arguments, "driver", slot->type);
    json_object_set_string_member(arguments, "id", id);
    return qmp_client_run(monitor, "device_add", arguments, error);
}

static bool switch_slot(Domain *domain, QmpClient *monitor, const GPtrArray *slots, unsigned number,
                        bool on, GError **error)
{
    const Slot *slot = number < slots->len ? g_ptr_array_index(slots, number) : NULL;
    if (!slot) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: the emulator of domain '%s' has no place for "
                         "vCPU %u",
                         domain->name, number);
        return false;
    }
    if (slot->is_taken == on) {
        return true;
    }
    if (on) {
        return plug_slot(monitor, slot, number, error);
    }
    if (!slot->id) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: vCPU %u was there when the domain was started, "
                         "and cannot be taken out",
                         number);
        return false;
    }
    return hotplug_remove(domain, monitor, slot->id, error);
}

/* Threads and number of vCPUs as they are, whether all went well or not. */
static bool note_vcpus(Domain *domain, QmpClient *monitor, GError **error)
{
    if (!runtime_refresh(domain, REFRESH_CONNECTED, error) ||
        !affinity_apply(domain, monitor, error) || !tuning_apply(domain, monitor, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    unsigned count = 0;
    for (guint i = 0; domain->runtime && i < domain->runtime->vcpu_tids->len; i++) {
        count += g_array_index(domain->runtime->vcpu_tids, pid_t, i) > 0;
    }
    if (domain->live && count) {
        domain->live->current_vcpus = MIN(count, domain->live->vcpus);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

void vcpus_note(Domain *domain, const char *unused)
{
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "vcpus", NULL);
    if (monitor) {
        note_vcpus(domain, monitor, NULL);
        domain_end_job(domain);
    }
}

static bool set_live_count(Domain *domain, QmpClient *monitor, unsigned wanted, GError **error)
{
    g_autoptr(GPtrArray) slots = query_slots(monitor, error);
    unsigned have = 0;
    bool ok = slots != NULL;
    for (guint i = 0; ok && i < slots->len; i++) {
        have += ((Slot *)g_ptr_array_index(slots, i))->is_taken;
    }
    for (guint i = 0; ok && i < slots->len && have < wanted; i++) {
        if (!((Slot *)g_ptr_array_index(slots, i))->is_taken) {
            ok = switch_slot(domain, monitor, slots, i, true, error);
            have += ok;
        }
    }
    for (guint i = ok ? slots->len : 0; ok && i > 0 && have > wanted; i--) {
        if (((Slot *)g_ptr_array_index(slots, i - 1))->is_taken) {
            ok = switch_slot(domain, monitor, slots, i - 1, false, error);
            have -= ok;
        }
    }
    if (ok && have != wanted) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: the emulator of domain '%s' cannot change the "
                         "number of vCPUs of a running guest",
                         domain->name);
        ok = false;
    }
    return note_vcpus(domain, monitor, ok ? error : NULL) && ok;
}

/* --- numbers in definitions --- */

/* Which single vCPUs are on follows from their number. */
static void spread_count(DomainDef *def)
{
    unsigned left = def->current_vcpus;
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        vcpu->enabled = left ? TRI_YES : TRI_NO;
        left -= left > 0;
    }
}

static bool set_maximum(DomainDef *def, unsigned count, GError **error)
{
    def->vcpus = count;
    def->current_vcpus = MIN(def->current_vcpus, count);
    while (def->vcpu_list.count > count) {
        g_free(xml_list_steal(&def->vcpu_list, def->vcpu_list.count - 1));
    }
    while (def->vcpu_list.count && def->vcpu_list.count < count) {
        DomainVcpu *vcpu = g_new0(DomainVcpu, 1);
        vcpu->id = def->vcpu_list.count;
        xml_list_append(&def->vcpu_list, vcpu);
    }
    spread_count(def);
    return domain_def_validate(def, error);
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
        change->config->current_vcpus = ok ? count : change->config->current_vcpus;
        spread_count(change->config);
    }
    return ok && change_store(change, error) &&
           (!change->monitor || set_live_count(domain, change->monitor, count, error));
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
    while (def->vcpu_list.count < def->vcpus) {
        DomainVcpu *vcpu = g_new0(DomainVcpu, 1);
        vcpu->id = def->vcpu_list.count;
        vcpu->enabled = vcpu->id < def->current_vcpus ? TRI_YES : TRI_NO;
        xml_list_append(&def->vcpu_list, vcpu);
    }
    def->current_vcpus = 0;
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        if (cpuset_has(which, vcpu->id)) {
            vcpu->enabled = on ? TRI_YES : TRI_NO;
        }
        def->current_vcpus += vcpu->enabled != TRI_NO;
    }
    if (((DomainVcpu *)def->vcpu_list.item[0])->enabled == TRI_NO) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: vCPU 0 can't be disabled");
        return false;
    }
    return true;
}

static bool switch_live(Domain *domain, QmpClient *monitor, const CpuSet *which, bool on,
                        GError **error)
{
    g_autoptr(GPtrArray) slots = query_slots(monitor, error);
    bool ok = slots != NULL;
    for (unsigned i = 0; ok && i < VCPUS_MAX && (int)i <= cpuset_last(which); i++) {
        ok = !cpuset_has(which, i) || switch_slot(domain, monitor, slots, i, on, error);
    }
    return note_vcpus(domain, monitor, ok ? error : NULL) && ok;
}

bool handle_domain_set_vcpu(DaemonCall *call, const RemoteDomainSetVcpuArgs *args, GError **error)
{
    DomainChange change;
    CpuSet which;
    if (!daemon_check_flags(args->flags, 3, error) ||
        !change_begin(&change, call, &args->dom, "vcpu", args->flags, error)) {
        return false;
    }
    g_mutex_lock(&change.domain->lock);
    const DomainDef *def = change.config ?: change.domain->live;
    unsigned limit = def ? def->vcpus : 0;
    g_mutex_unlock(&change.domain->lock);
    bool on = args->state != 0;
    bool ok = parse_numbers(args->cpumap, limit, &which, error) &&
              (!change.config || switch_config(change.config, &which, on, error)) &&
              change_store(&change, error) &&
              (!change.monitor || switch_live(change.domain, change.monitor, &which, on, error));
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
