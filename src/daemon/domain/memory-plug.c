/* Memory modules that come and go while a guest runs.
 *
 * Left out: virtio-mem and virtio-pmem, whose sizes and places are other things.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/memory-plug.h"

#include "daemon/domain/command-line.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/runtime.h"
#include "daemon/error.h"

#include <string.h>

#define SIZE_STEP_KIB 1024u
/* What QEMU's machines for x86 take: whole large pages. */
#define MODULE_STEP_KIB 2048u

void memory_plug_round(DomainMemory *memory)
{
    if (memory->size <= G_MAXUINT64 - SIZE_STEP_KIB) {
        memory->size = (memory->size + SIZE_STEP_KIB - 1) / SIZE_STEP_KIB * SIZE_STEP_KIB;
    }
}

static bool check_amount(const DomainDef *def, const DomainMemory *memory, bool is_live,
                         GError **error)
{
    if (def->max_memory == 0) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: memory can be added only where the definition "
                         "has <maxMemory>, with slots");
        return false;
    }
    unsigned n_modules = def->devices[DEVICE_MEMORY].count;
    if (n_modules >= def->max_memory_slots) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: no free slot for memory: <maxMemory> has %u, "
                         "and as many modules are there",
                         def->max_memory_slots);
        return false;
    }
    guint64 room = def->max_memory - MIN(def->max_memory, def->memory);
    if (memory->size > room) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: a module of %" G_GUINT64_FORMAT
                         " KiB is too large: up to <maxMemory> %" G_GUINT64_FORMAT " KiB are left",
                         memory->size, room);
        return false;
    }
    if (is_live && (memory->size == 0 || memory->size % MODULE_STEP_KIB != 0)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: a module of %" G_GUINT64_FORMAT
                         " KiB cannot be plugged: sizes are multiples of %u KiB",
                         memory->size, MODULE_STEP_KIB);
        return false;
    }
    return true;
}

static bool check_place_among(const DomainDef *def, const DomainAddress *at, bool is_live,
                              GError **error)
{
    const XmlList *modules = &def->devices[DEVICE_MEMORY];
    for (unsigned i = 0; i < modules->count; i++) {
        const DomainDevice *other = modules->item[i];
        if (other->address.type != ADDRESS_DIMM) {
            continue;
        }
        if (other->address.slot == at->slot) {
            daemon_error_set(
                error, is_live ? DAEMON_ERROR_CONFIG_UNSUPPORTED : DAEMON_ERROR_OPERATION_INVALID,
                "%s: slot %u of <memory> is taken by another module",
                is_live ? "unsupported configuration" : "Requested operation is not valid",
                at->slot);
            return false;
        }
        if (is_live && at->base.set && other->address.base.set &&
            other->address.base.value == at->base.value) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: base 0x%" G_GINT64_MODIFIER
                             "x of <memory> is taken by module '%s'",
                             at->base.value, other->alias ?: "");
            return false;
        }
    }
    return true;
}

static bool check_place(const DomainDef *def, const DomainAddress *at, bool is_live, GError **error)
{
    if (at->type == ADDRESS_NONE) {
        return true;
    }
    if (at->type != ADDRESS_DIMM) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: a memory module has <address type='dimm'>");
        return false;
    }
    if (is_live && at->slot >= def->max_memory_slots) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: there is no slot %u for memory: <maxMemory> "
                         "has %u, counted from 0",
                         at->slot, def->max_memory_slots);
        return false;
    }
    return check_place_among(def, at, is_live, error);
}

bool memory_plug_check(const DomainDef *def, const DomainMemory *memory, bool is_live,
                       GError **error)
{
    if (is_live && command_line_engine(def->emulator) == ENGINE_LODGE) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: lodge-vmm has no memory modules ('%s'); use an "
                         "<emulator> that is QEMU's",
                         domain_name(memory_model, memory->model));
        return false;
    }
    unsigned n_cells = def->cpu ? def->cpu->cells.count : 0;
    if (is_live && memory->node.set && memory->node.value >= n_cells) {
        daemon_error_set(error, DAEMON_ERROR_XML_DETAIL,
                         "there is no node %" G_GUINT64_FORMAT
                         " for memory: the guest's <numa> has %u cells",
                         memory->node.value, n_cells);
        return false;
    }
    return check_amount(def, memory, is_live, error) &&
           check_place(def, &memory->device.address, is_live, error);
}

void memory_plug_note_places(QmpClient *monitor, DomainDef *def)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-memory-devices", NULL, -1, QMP_TIMEOUT_MS, NULL);
    JsonArray *infos = answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    for (guint i = 0; infos && i < json_array_get_length(infos); i++) {
        JsonObject *data = json_peer_object(json_peer_element(infos, i), "data");
        const char *id = data ? json_peer_string(data, "id") : NULL;
        DomainDevice *device = id ? domain_def_find_alias(def, id) : NULL;
        gint64 slot = data ? json_peer_int(data, "slot", -1) : -1;
        gint64 base = data ? json_peer_int(data, "addr", -1) : -1;
        if (device && device->kind == DEVICE_MEMORY && device->address.type == ADDRESS_DIMM &&
            slot >= 0 && slot <= G_MAXUINT32 && base >= 0) {
            device->address.slot = (uint32_t)slot;
            device->address.base = (OptUint){ .value = (uint64_t)base, .set = true };
        }
    }
}

void memory_plug_note_amount(Domain *domain, QmpClient *monitor)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-balloon", NULL, -1, QMP_TIMEOUT_MS, NULL);
    gint64 bytes = answer && JSON_NODE_HOLDS_OBJECT(answer)
                       ? json_peer_int(json_node_get_object(answer), "actual", 0)
                       : 0;
    g_mutex_lock(&domain->lock);
    if (domain->live && domain->runtime) {
        /* Without a balloon it has all of it. */
        guint64 kib = bytes > 0 ? (guint64)bytes / 1024 : domain->live->memory;
        domain->live->current_memory = kib;
        domain->runtime->balloon_kib = kib;
    }
    g_mutex_unlock(&domain->lock);
}
