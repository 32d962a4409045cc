/* Memory devices that come, go and change while a guest runs: modules (DIMMs, NVDIMMs), which have
 * slots, and those of virtio, which are PCI devices and stay.
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

static bool is_module(const DomainMemory *memory)
{
    return memory->model == MEMORY_DIMM || memory->model == MEMORY_NVDIMM;
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
    if (def->devices[DEVICE_MEMORY].count >= def->max_memory_slots) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: no free slot for memory: <maxMemory> has %u, "
                         "and as many memory devices are there",
                         def->max_memory_slots);
        return false;
    }
    guint64 room = def->max_memory - MIN(def->max_memory, def->memory);
    if (memory->size > room) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: <memory> of %" G_GUINT64_FORMAT
                         " KiB is too large: up to <maxMemory> %" G_GUINT64_FORMAT " KiB are left",
                         memory->size, room);
        return false;
    }
    if (is_live && is_module(memory) &&
        (memory->size == 0 || memory->size % MODULE_STEP_KIB != 0)) {
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
           (!is_module(memory) || check_place(def, &memory->device.address, is_live, error));
}

static void note_module(DomainDevice *device, JsonObject *data)
{
    gint64 slot = json_peer_int(data, "slot", -1);
    gint64 base = json_peer_int(data, "addr", -1);
    if (device->address.type == ADDRESS_DIMM && slot >= 0 && slot <= G_MAXUINT32 && base >= 0) {
        device->address.slot = (uint32_t)slot;
        device->address.base = (OptUint){ .value = (uint64_t)base, .set = true };
    }
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
        if (!device || device->kind != DEVICE_MEMORY) {
            continue;
        }
        DomainMemory *memory = (DomainMemory *)device;
        if (memory->model == MEMORY_VIRTIO_MEM) {
            guint64 bytes = (guint64)MAX(json_peer_int(data, "size", 0), 0);
            memory->current = MIN(bytes / 1024, memory->size);
        } else {
            note_module(device, data);
        }
    }
}

void memory_plug_refresh(Domain *domain, QmpClient *monitor)
{
    g_autoptr(DomainDef) def = domain_copy_live(domain, NULL);
    if (!def || !def->devices[DEVICE_MEMORY].count) {
        return;
    }
    memory_plug_note_places(monitor, def);
    g_mutex_lock(&domain->lock);
    const XmlList *noted = &def->devices[DEVICE_MEMORY];
    for (unsigned i = 0; domain->live && i < noted->count; i++) {
        const DomainMemory *memory = noted->item[i];
        DomainDevice *live = domain_def_find_alias(domain->live, memory->device.alias);
        if (live && live->kind == DEVICE_MEMORY) {
            live->address = memory->device.address;
            ((DomainMemory *)live)->current = memory->current;
        }
    }
    g_mutex_unlock(&domain->lock);
    memory_plug_note_amount(domain, monitor);
}

void memory_plug_set_amount_locked(Domain *domain, guint64 balloon_kib)
{
    if (!domain->live || !domain->runtime) {
        return;
    }
    const XmlList *list = &domain->live->devices[DEVICE_MEMORY];
    guint64 kib = balloon_kib;
    for (unsigned i = 0; i < list->count; i++) {
        kib += ((const DomainMemory *)list->item[i])->current;
    }
    domain->live->current_memory = kib;
    domain->runtime->balloon_kib = kib;
}

bool memory_plug_size_changed_locked(Domain *domain, const char *alias, guint64 bytes)
{
    DomainDevice *device = domain->live ? domain_def_find_alias(domain->live, alias) : NULL;
    DomainMemory *memory = (DomainMemory *)device;
    if (!device || !domain->runtime || device->kind != DEVICE_MEMORY ||
        memory->model != MEMORY_VIRTIO_MEM) {
        return false;
    }
    guint64 others =
        domain->runtime->balloon_kib - MIN(memory->current, domain->runtime->balloon_kib);
    memory->current = MIN(bytes / 1024, memory->size);
    domain->runtime->balloon_kib = others + memory->current;
    domain->live->current_memory = domain->runtime->balloon_kib;
    return true;
}

void memory_plug_note_amount(Domain *domain, QmpClient *monitor)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-balloon", NULL, -1, QMP_TIMEOUT_MS, NULL);
    gint64 bytes = answer && JSON_NODE_HOLDS_OBJECT(answer)
                       ? json_peer_int(json_node_get_object(answer), "actual", 0)
                       : 0;
    g_mutex_lock(&domain->lock);
    if (bytes > 0) {
        memory_plug_set_amount_locked(domain, (guint64)bytes / 1024);
    } else if (domain->live && domain->runtime) {
        /* Without a balloon it has all of it. */
        domain->live->current_memory = domain->live->memory;
        domain->runtime->balloon_kib = domain->live->memory;
    }
    g_mutex_unlock(&domain->lock);
}

/* --- virtio-mem --- */

static bool check_update(const DomainMemory *old, const DomainMemory *wanted, GError **error)
{
    if (old->model != MEMORY_VIRTIO_MEM || wanted->model != old->model) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: nothing of <memory model='%s'> can be changed "
                         "while the guest runs; use --config",
                         domain_name(memory_model, old->model));
        return false;
    }
    g_autoptr(DomainDevice) like = domain_device_copy(&wanted->device);
    ((DomainMemory *)like)->requested = old->requested;
    if (!domain_device_equal(like, &old->device)) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: of <memory> '%s' only <requested> can be "
                         "changed while the guest runs",
                         old->device.alias);
        return false;
    }
    return domain_memory_check_blocks(wanted, error);
}

bool memory_plug_update(Domain *domain, QmpClient *monitor, const DomainMemory *old,
                        const DomainMemory *wanted, GError **error)
{
    if (!check_update(old, wanted, error)) {
        return false;
    }
    g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", old->device.alias);
    if (!qmp_client_run(monitor, "qom-set",
                        qmp_object("s:path", path, "s:property", "requested-size", "i:value",
                                   (gint64)(wanted->requested * 1024), NULL),
                        error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    DomainDevice *live =
        domain->live ? domain_def_find_alias(domain->live, old->device.alias) : NULL;
    if (live && live->kind == DEVICE_MEMORY) {
        ((DomainMemory *)live)->requested = wanted->requested;
    }
    g_mutex_unlock(&domain->lock);
    return true;
}
