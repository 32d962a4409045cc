/* vCPUs that come and go while a guest runs.
 *
 * Left out: vCPUs that the engine plugs several of at once (whole cores), which x86 has not.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/vcpus.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tuning.h"
#include "daemon/domain/vcpus.h"
#include "daemon/error.h"

#include <string.h>

/* One place for a vCPU, as query-hotpluggable-cpus tells it. */
typedef struct Slot {
    gint64 order;      /* by socket, die, core, thread: its number */
    char *type;        /* what to add */
    JsonObject *props; /* where */
    char *path;        /* of the vCPU in it, or NULL */
    char *id;          /* of one that can be taken out; else NULL */
    bool is_taken;
} Slot;

static void slot_free(gpointer data)
{
    Slot *slot = data;
    g_free(slot->type);
    g_free(slot->path);
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
    slot->path = g_strdup(path);
    if (path && g_str_has_prefix(path, peripheral)) {
        slot->id = g_strdup(path + strlen(peripheral));
    }
    return slot;
}

/* One that left, and whose thread has not yet, has not left: QEMU would not survive a second one.
 */
static void note_threads(Domain *domain, GPtrArray *slots)
{
    g_mutex_lock(&domain->lock);
    const GArray *tids = domain->runtime ? domain->runtime->vcpu_tids : NULL;
    for (guint i = 0; tids && i < slots->len && i < tids->len; i++) {
        Slot *slot = g_ptr_array_index(slots, i);
        slot->is_taken = slot->is_taken || g_array_index(tids, pid_t, i) > 0;
    }
    g_mutex_unlock(&domain->lock);
}

/* All places in order (transfer full); NULL with @error. */
static GPtrArray *query_slots(Domain *domain, QmpClient *monitor, GError **error)
{
    if (!runtime_refresh(domain, REFRESH_CONNECTED, error)) {
        return NULL;
    }
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
    note_threads(domain, slots);
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

/* --- what the definition says of it --- */

static void note_slot(DomainVcpu *vcpu, const Slot *slot, uint32_t order)
{
    bool is_on = slot && slot->is_taken;
    vcpu->enabled = is_on ? TRI_YES : TRI_NO;
    vcpu->hotpluggable = is_on && !slot->id ? TRI_NO : TRI_YES;
    vcpu->order = is_on ? order : 0;
}

/* In which order they came: path in the monitor's tree -> number from 1 (transfer full). */
static GHashTable *query_order(QmpClient *monitor)
{
    GHashTable *order = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-cpus-fast", NULL, -1, QMP_TIMEOUT_MS, NULL);
    JsonArray *list = answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    for (guint i = 0; list && i < json_array_get_length(list) && i < VCPUS_MAX; i++) {
        const char *path = json_peer_string(json_peer_element(list, i), "qom-path");
        if (path) {
            g_hash_table_replace(order, g_strdup(path), GUINT_TO_POINTER(i + 1));
        }
    }
    return order;
}

static void note_list_locked(DomainDef *def, const GPtrArray *slots, GHashTable *order)
{
    domain_def_spread_vcpus(def);
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        const Slot *slot = i < slots->len ? g_ptr_array_index(slots, i) : NULL;
        gpointer number = slot && slot->path ? g_hash_table_lookup(order, slot->path) : NULL;
        note_slot(def->vcpu_list.item[i], slot, GPOINTER_TO_UINT(number));
    }
}

/* Threads, number and list of vCPUs as they are, whether all went well or not. @is_listed: the
 * definition names each from here on, if it does not yet. */
static bool note_vcpus(Domain *domain, QmpClient *monitor, bool is_listed, GError **error)
{
    g_autoptr(GPtrArray) slots = query_slots(domain, monitor, error);
    if (!slots || !tuning_apply(domain, monitor, error)) {
        return false;
    }
    g_autoptr(GHashTable) order = query_order(monitor);
    g_mutex_lock(&domain->lock);
    unsigned count = 0;
    for (guint i = 0; domain->runtime && i < domain->runtime->vcpu_tids->len; i++) {
        count += g_array_index(domain->runtime->vcpu_tids, pid_t, i) > 0;
    }
    if (domain->live && count) {
        domain->live->current_vcpus = MIN(count, domain->live->vcpus);
        if (is_listed || domain->live->vcpu_list.count) {
            note_list_locked(domain->live, slots, order);
        }
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

void vcpus_note(Domain *domain, const char *unused)
{
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "vcpus", NULL);
    if (monitor) {
        note_vcpus(domain, monitor, true, NULL);
        domain_end_job(domain);
    }
}

/* --- changing how many there are --- */

static unsigned count_taken(const GPtrArray *slots)
{
    unsigned count = 0;
    for (guint i = 0; i < slots->len; i++) {
        count += ((const Slot *)g_ptr_array_index(slots, i))->is_taken;
    }
    return count;
}

/* Which are to be switched: those to come from below, those to go from above (transfer full). */
static GArray *choose(const GPtrArray *slots, unsigned wanted, GError **error)
{
    GArray *chosen = g_array_new(FALSE, FALSE, sizeof(unsigned));
    unsigned have = count_taken(slots);
    for (unsigned i = 0; i < slots->len && have < wanted; i++) {
        if (!((const Slot *)g_ptr_array_index(slots, i))->is_taken) {
            g_array_append_val(chosen, i);
            have++;
        }
    }
    for (unsigned i = slots->len; i > 0 && have > wanted; i--) {
        unsigned number = i - 1;
        const Slot *slot = g_ptr_array_index(slots, number);
        if (slot->is_taken && slot->id) {
            g_array_append_val(chosen, number);
            have--;
        }
    }
    if (have != wanted) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: %u vCPUs cannot be reached: those that were "
                         "there when the domain was started stay, and its emulator has room for %u",
                         wanted, slots->len);
        g_clear_pointer(&chosen, g_array_unref);
    }
    return chosen;
}

static bool switch_slot(Domain *domain, QmpClient *monitor, const Slot *slot, unsigned number,
                        GError **error)
{
    return slot->is_taken ? hotplug_remove(domain, monitor, slot->id, error)
                          : plug_slot(monitor, slot, number, error);
}

bool vcpus_set_live_count(Domain *domain, QmpClient *monitor, unsigned wanted, GError **error)
{
    g_autoptr(GPtrArray) slots = query_slots(domain, monitor, error);
    g_autoptr(GArray) chosen = slots ? choose(slots, wanted, error) : NULL;
    bool ok = chosen != NULL;
    for (guint i = 0; ok && i < chosen->len; i++) {
        unsigned number = g_array_index(chosen, unsigned, i);
        ok = switch_slot(domain, monitor, g_ptr_array_index(slots, number), number, error);
    }
    bool is_listed = ok && chosen->len > 0;
    return note_vcpus(domain, monitor, is_listed, ok ? error : NULL) && ok;
}

/* The one vCPU of @which, if it can be switched; else NULL with @error. */
static const Slot *check_one(const GPtrArray *slots, const CpuSet *which, bool on, GError **error)
{
    for (int i = 0; i <= cpuset_last(which); i++) {
        const Slot *slot = (guint)i < slots->len ? g_ptr_array_index(slots, i) : NULL;
        if (!cpuset_has(which, (unsigned)i)) {
            continue;
        }
        if (!slot) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                             "Operation not supported: the emulator has no place for vCPU %d", i);
            return NULL;
        }
        if (slot->is_taken == on) {
            daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                             "invalid argument: vCPU %d is %s already", i, on ? "on" : "off");
            return NULL;
        }
        if (!on && !slot->id) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                             "Operation not supported: vCPU %d was there when the domain was "
                             "started, and cannot be taken out",
                             i);
            return NULL;
        }
    }
    if (cpuset_count(which) != 1) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: one vCPU of a running domain is switched by a "
                         "call");
        return NULL;
    }
    return g_ptr_array_index(slots, cpuset_last(which));
}

bool vcpus_switch_live(Domain *domain, QmpClient *monitor, const CpuSet *which, bool on,
                       GError **error)
{
    g_autoptr(GPtrArray) slots = query_slots(domain, monitor, error);
    const Slot *slot = slots ? check_one(slots, which, on, error) : NULL;
    bool ok = slot && switch_slot(domain, monitor, slot, (unsigned)cpuset_last(which), error);
    return note_vcpus(domain, monitor, ok, ok ? error : NULL) && ok;
}

/* --- at the start --- */

static gint compare_order(gconstpointer a, gconstpointer b)
{
    const DomainVcpu *one = *(DomainVcpu *const *)a;
    const DomainVcpu *other = *(DomainVcpu *const *)b;
    return one->order != other->order ? (one->order < other->order ? -1 : 1)
                                      : (one->id > other->id) - (one->id < other->id);
}

bool vcpus_plug_at_start(Domain *domain, QmpClient *monitor, GError **error)
{
    g_mutex_lock(&domain->lock);
    g_autoptr(DomainDef) def =
        domain->live && domain->live->vcpu_list.count ? domain_def_copy(domain->live) : NULL;
    g_mutex_unlock(&domain->lock);
    g_autoptr(GPtrArray) slots = def ? query_slots(domain, monitor, error) : NULL;
    if (!slots) {
        return !def;
    }
    g_autoptr(GPtrArray) wanted = g_ptr_array_new();
    for (unsigned i = 0; i < def->vcpu_list.count; i++) {
        DomainVcpu *vcpu = def->vcpu_list.item[i];
        const Slot *slot = i < slots->len ? g_ptr_array_index(slots, i) : NULL;
        if (vcpu->enabled == TRI_YES && slot && !slot->is_taken) {
            g_ptr_array_add(wanted, vcpu);
        }
    }
    g_ptr_array_sort(wanted, compare_order);
    for (guint i = 0; i < wanted->len; i++) {
        unsigned id = ((const DomainVcpu *)g_ptr_array_index(wanted, i))->id;
        if (!plug_slot(monitor, g_ptr_array_index(slots, id), id, error)) {
            return false;
        }
    }
    return note_vcpus(domain, monitor, true, error);
}
