/* Devices in a definition: walking, finding, comparing, adding, taking out, naming.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"

#include <stdlib.h>
#include <string.h>

bool domain_def_for_each(const DomainDef *def, bool (*func)(DomainDevice *device, void *opaque),
                         void *opaque)
{
    for (int kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
        const XmlList *list = DEVICES(def, kind);
        for (unsigned i = 0; i < list->count; i++) {
            if (!func(list->item[i], opaque)) {
                return false;
            }
        }
    }
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static bool same_address(const DomainAddress *a, const DomainAddress *b)
{
    return a->type == b->type && a->domain == b->domain && a->bus == b->bus && a->slot == b->slot &&
           a->function == b->function && a->controller == b->controller && a->target == b->target &&
           a->unit == b->unit && a->port == b->port && g_strcmp0(a->usb_port, b->usb_port) == 0;
}

/* The text of a device without what may differ between two descriptions of it. */
static char *essence(const DomainDevice *device, bool with_address, bool with_alias)
{
    g_autoptr(DomainDevice) copy = domain_device_copy(device);
    if (!with_address) {
        g_clear_pointer(&copy->address.usb_port, g_free);
        copy->address.type = ADDRESS_NONE;
    }
    if (!with_alias) {
        g_clear_pointer(&copy->alias, g_free);
    }
    if (copy->kind == DEVICE_CONTROLLER) {
        ((DomainController *)copy)->index.set = false;
    }
    if (copy->kind == DEVICE_MEMORY) {
        ((DomainMemory *)copy)->current = 0;
    }
    return domain_device_format(copy, DOMAIN_FORMAT_SECURE);
}

bool domain_device_equal(const DomainDevice *a, const DomainDevice *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    bool both_addresses = a->address.type != ADDRESS_NONE && b->address.type != ADDRESS_NONE;
    bool both_aliases = a->alias != NULL && b->alias != NULL;
    g_autofree char *text_a = essence(a, both_addresses, both_aliases);
    g_autofree char *text_b = essence(b, both_addresses, both_aliases);
    return strcmp(text_a, text_b) == 0;
}

static bool same_mac(const MacAddress *a, const MacAddress *b)
{
    return a->set && b->set && memcmp(a->byte, b->byte, sizeof(a->byte)) == 0;
}

static bool same_hostdev(const DomainHostdev *a, const DomainHostdev *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case HOSTDEV_USB:
        if (b->usb_bus != 0 || b->usb_device != 0) {
            return a->usb_bus == b->usb_bus && a->usb_device == b->usb_device;
        }
        return a->usb_vendor == b->usb_vendor && a->usb_product == b->usb_product;
    case HOSTDEV_PCI:
        return a->pci.domain == b->pci.domain && a->pci.bus == b->pci.bus &&
               a->pci.slot == b->pci.slot && a->pci.function == b->pci.function;
    case HOSTDEV_MDEV:
        return memcmp(&a->mdev, &b->mdev, sizeof(a->mdev)) == 0;
    case HOSTDEV_SCSI:
        return g_strcmp0(a->scsi_adapter, b->scsi_adapter) == 0 &&
               g_strcmp0(a->iscsi_name, b->iscsi_name) == 0 &&
               a->scsi_bus.value == b->scsi_bus.value &&
               a->scsi_target.value == b->scsi_target.value &&
               a->scsi_unit.value == b->scsi_unit.value;
    default:
        return domain_device_equal(&a->device, &b->device);
    }
}

/* Whether @like describes @device. */
static bool matches(const DomainDevice *device, const DomainDevice *like)
{
    if (device->alias != NULL && like->alias != NULL && !same_text(device->alias, like->alias)) {
        return false;
    }
    bool differs = like->address.type != ADDRESS_NONE && device->address.type != ADDRESS_NONE &&
                   !same_address(&device->address, &like->address);
    switch (device->kind) {
    case DEVICE_DISK:
        return same_text(((const DomainDisk *)device)->target_dev,
                         ((const DomainDisk *)like)->target_dev);
    case DEVICE_INTERFACE:
        return !differs && same_mac(&((const DomainInterface *)device)->mac,
                                    &((const DomainInterface *)like)->mac);
    case DEVICE_CONTROLLER: {
        const DomainController *a = (const DomainController *)device;
        const DomainController *b = (const DomainController *)like;
        return a->type == b->type && (!b->index.set || a->index.value == b->index.value);
    }
    case DEVICE_HOSTDEV:
        return same_hostdev((const DomainHostdev *)device, (const DomainHostdev *)like);
    case DEVICE_CHANNEL: {
        const DomainCharDevice *a = (const DomainCharDevice *)device;
        const DomainCharDevice *b = (const DomainCharDevice *)like;
        if (a->channel_name != NULL || b->channel_name != NULL) {
            return a->channel_type == b->channel_type &&
                   same_text(a->channel_name, b->channel_name);
        }
        break;
    }
    case DEVICE_MEMORY:
        /* One at its place is it, whatever else is asked for. */
        if (!differs && like->address.type == device->address.type &&
            like->address.type == ADDRESS_PCI) {
            return true;
        }
        break;
    case DEVICE_GRAPHICS:
        return ((const DomainGraphics *)device)->type == ((const DomainGraphics *)like)->type;
    case DEVICE_MEMBALLOON:
        return true;
    default:
        break;
    }
    if (differs) {
        return false;
    }
    return same_text(device->alias, like->alias) || domain_device_equal(device, like);
}

DomainDevice *domain_def_find(const DomainDef *def, const DomainDevice *like, GError **error)
{
    const XmlList *list = DEVICES(def, like->kind);
    DomainDevice *found = NULL;
    for (unsigned i = 0; i < list->count; i++) {
        DomainDevice *device = list->item[i];
        if (!matches(device, like)) {
            continue;
        }
        if (found != NULL && like->kind == DEVICE_MEMORY) {
            break; /* any of those that are alike */
        }
        if (found != NULL) {
            conf_error_set(error, CONF_ERROR_OPERATION_FAILED,
                           "several %s devices of domain '%s' match; give an address or alias",
                           domain_device_kind_name(like->kind), def->name);
            return NULL;
        }
        found = device;
    }
    if (found == NULL) {
        conf_error_set(error, CONF_ERROR_DEVICE_MISSING, "domain '%s' has no such %s", def->name,
                       domain_device_kind_name(like->kind));
    }
    return found;
}

typedef struct AliasSearch {
    const char *alias;
    DomainDevice *found;
} AliasSearch;

static bool compare_alias(DomainDevice *device, void *opaque)
{
    AliasSearch *search = opaque;
    if (same_text(device->alias, search->alias)) {
        search->found = device;
    }
    return search->found == NULL;
}

DomainDevice *domain_def_find_alias(const DomainDef *def, const char *alias)
{
    AliasSearch search = { alias, NULL };
    domain_def_for_each(def, compare_alias, &search);
    return search.found;
}

DomainDisk *domain_def_find_disk(const DomainDef *def, const char *target_or_path)
{
    const XmlList *list = DEVICES(def, DEVICE_DISK);
    for (unsigned i = 0; i < list->count; i++) {
        DomainDisk *disk = list->item[i];
        if (same_text(disk->target_dev, target_or_path)) {
            return disk;
        }
    }
    for (unsigned i = 0; i < list->count; i++) {
        DomainDisk *disk = list->item[i];
        if (same_text(disk->source.path, target_or_path)) {
            return disk;
        }
    }
    return NULL;
}

DomainInterface *domain_def_find_interface(const DomainDef *def, const char *dev_or_mac)
{
    const XmlList *list = DEVICES(def, DEVICE_INTERFACE);
    for (unsigned i = 0; i < list->count; i++) {
        DomainInterface *net = list->item[i];
        char mac[18];
        g_snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac.byte[0],
                   net->mac.byte[1], net->mac.byte[2], net->mac.byte[3], net->mac.byte[4],
                   net->mac.byte[5]);
        if (same_text(net->target_dev, dev_or_mac) || g_ascii_strcasecmp(mac, dev_or_mac) == 0) {
            return net;
        }
    }
    return NULL;
}

static bool is_duplicate(const DomainDef *def, const DomainDevice *device, GError **error)
{
    if (device->alias != NULL && domain_def_find_alias(def, device->alias) != NULL) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "alias '%s' is taken", device->alias);
        return true;
    }
    if (device->kind == DEVICE_DISK) {
        const DomainDisk *disk = (const DomainDisk *)device;
        const XmlList *list = DEVICES(def, DEVICE_DISK);
        for (unsigned i = 0; i < list->count; i++) {
            const DomainDisk *other = list->item[i];
            if (same_text(other->target_dev, disk->target_dev)) {
                conf_error_set(error, CONF_ERROR_OPERATION_INVALID,
                               "target '%s' already exists: another disk has it", disk->target_dev);
                return true;
            }
        }
    }
    static const DomainDeviceKind single[] = { DEVICE_MEMBALLOON, DEVICE_VSOCK, DEVICE_NVRAM,
                                               DEVICE_TPM, DEVICE_IOMMU };
    for (unsigned i = 0; i < G_N_ELEMENTS(single); i++) {
        if (device->kind == single[i] && DEVICES(def, device->kind)->count > 0) {
            conf_error_set(error, CONF_ERROR_OPERATION_INVALID, "domain '%s' has a %s already",
                           def->name, domain_device_kind_name(device->kind));
            return true;
        }
    }
    return false;
}

typedef struct DiskPlace {
    unsigned bus;      /* rank of the bus: the first disk that has it */
    int index;         /* of the target */
    unsigned position; /* before */
    DomainDisk *disk;
} DiskPlace;

static int compare_places(const void *first, const void *second)
{
    const DiskPlace *a = first;
    const DiskPlace *b = second;
    return a->bus != b->bus       ? (a->bus < b->bus ? -1 : 1)
           : a->index != b->index ? (a->index < b->index ? -1 : 1)
                                  : (a->position < b->position ? -1 : 1);
}

void domain_def_sort_disks(DomainDef *def)
{
    XmlList *list = DEVICES(def, DEVICE_DISK);
    unsigned ranks[DISK_BUS_SD + 1] = { 0 }; /* 0: no disk has it */
    g_autofree DiskPlace *places = g_new(DiskPlace, list->count);
    for (unsigned i = 0; i < list->count; i++) {
        DomainDisk *disk = list->item[i];
        ranks[disk->bus] = ranks[disk->bus] ? ranks[disk->bus] : i + 1;
        /* What has no target is refused later. */
        places[i] =
            (DiskPlace){ ranks[disk->bus], domain_disk_index(disk->target_dev ?: ""), i, disk };
    }
    if (list->count > 1) {
        qsort(places, list->count, sizeof(places[0]), compare_places);
    }
    for (unsigned i = 0; i < list->count; i++) {
        list->item[i] = places[i].disk;
    }
}

/* What a memory device adds to the guest's memory: it is counted in. */
static void count_memory(DomainDef *def, const DomainDevice *device, bool is_added)
{
    if (device->kind != DEVICE_MEMORY) {
        return;
    }
    uint64_t size = ((const DomainMemory *)device)->size;
    uint64_t *counts[] = { &def->memory, &def->current_memory };
    for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++) {
        *counts[i] = is_added ? *counts[i] + size : *counts[i] - MIN(*counts[i], size);
    }
}

bool domain_def_insert(DomainDef *def, DomainDevice *device, GError **error)
{
    if (is_duplicate(def, device, error)) {
        return false;
    }
    /* Tried on a copy: choosing addresses may add controllers before it fails. */
    g_autoptr(DomainDef) trial = domain_def_copy(def);
    xml_list_append(DEVICES(trial, device->kind), domain_device_copy(device));
    count_memory(trial, device, true);
    if (!domain_def_check_number(trial, error) || !domain_def_assign_addresses(trial, error) ||
        !domain_def_validate(trial, error)) {
        return false;
    }
    xml_list_append(DEVICES(def, device->kind), device);
    count_memory(def, device, true);
    domain_def_sort_disks(def);
    return domain_def_assign_addresses(def, error);
}

DomainDevice *domain_def_remove(DomainDef *def, DomainDevice *device)
{
    XmlList *list = DEVICES(def, device->kind);
    for (unsigned i = 0; i < list->count; i++) {
        if (list->item[i] == device) {
            count_memory(def, device, false);
            return xml_list_steal(list, i);
        }
    }
    return NULL;
}

void domain_def_replace(DomainDef *def, DomainDevice *old, DomainDevice *device)
{
    if (!device->alias) {
        device->alias = g_strdup(old->alias);
    }
    if (device->address.type == ADDRESS_NONE) {
        char *port = old->address.usb_port;
        device->address = old->address;
        device->address.usb_port = g_strdup(port);
        device->address.cssid = device->address.ssid = device->address.devno = NULL;
    }
    XmlList *list = DEVICES(def, old->kind);
    for (unsigned i = 0; i < list->count; i++) {
        if (list->item[i] == old) {
            list->item[i] = device;
            domain_device_free(old);
            return;
        }
    }
}

/* --- aliases --- */

static char *controller_alias(const DomainController *controller)
{
    unsigned index = (unsigned)controller->index.value;
    switch (controller->type) {
    case CONTROLLER_PCI:
        return controller->model == PCI_MODEL_ROOT ? g_strdup_printf("pci.%u", index)
               : controller->model == PCI_MODEL_PCIE_ROOT && index == 0
                   ? g_strdup("pcie.0")
                   : g_strdup_printf("pci.%u", index);
    case CONTROLLER_IDE:
        return index == 0 ? g_strdup("ide") : g_strdup_printf("ide%u", index);
    case CONTROLLER_SATA:
        return index == 0 ? g_strdup("ide") : g_strdup_printf("sata%u", index);
    case CONTROLLER_USB:
        return index == 0 ? g_strdup("usb") : g_strdup_printf("usb%u", index);
    default:
        return g_strdup_printf("%s%u", domain_name(controller_type, controller->type), index);
    }
}

static char *disk_alias(const DomainDisk *disk)
{
    const char *bus = domain_name(disk_bus, disk->bus);
    const DomainAddress *at = &disk->device.address;
    if (at->type == ADDRESS_DRIVE && disk->bus == DISK_BUS_SCSI) {
        return g_strdup_printf("%s%u-%u-%u-%u", bus, at->controller, at->bus, at->target, at->unit);
    }
    if (at->type == ADDRESS_DRIVE) {
        return g_strdup_printf("%s%u-%u-%u", bus, at->controller, at->bus, at->unit);
    }
    return g_strdup_printf("%s-disk%d", bus, domain_disk_index(disk->target_dev));
}

static const char *memory_prefix(DomainMemoryModel model)
{
    return model == MEMORY_NVDIMM        ? "nvdimm"
           : model == MEMORY_VIRTIO_PMEM ? "virtiopmem"
           : model == MEMORY_VIRTIO_MEM  ? "virtiomem"
           : model == MEMORY_SGX_EPC     ? "epc"
                                         : "dimm";
}

static const char *alias_prefix(const DomainDevice *device)
{
    static const char *const prefixes[DOMAIN_DEVICE_KINDS] = {
        [DEVICE_FILESYSTEM] = "fs",      [DEVICE_INTERFACE] = "net",  [DEVICE_VIDEO] = "video",
        [DEVICE_MEMBALLOON] = "balloon", [DEVICE_REDIRDEV] = "redir",
    };
    if (device->kind == DEVICE_MEMORY) {
        return memory_prefix(((const DomainMemory *)device)->model);
    }
    return prefixes[device->kind] != NULL ? prefixes[device->kind]
                                          : domain_device_kind_name(device->kind);
}

typedef struct AliasState {
    const DomainDef *def;
    GHashTable *next; /* prefix -> the number from which on one may be free */
} AliasState;

static char *next_alias(const AliasState *state, const DomainDevice *device)
{
    const char *prefix = alias_prefix(device);
    for (unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(state->next, prefix));; n++) {
        g_autofree char *alias = g_strdup_printf("%s%u", prefix, n);
        if (domain_def_find_alias(state->def, alias) == NULL) {
            g_hash_table_insert(state->next, (gpointer)prefix, GUINT_TO_POINTER(n));
            return g_steal_pointer(&alias);
        }
    }
}

/* Modules have their slot's number, as with libvirt. */
static char *module_alias(const AliasState *state, const DomainDevice *device)
{
    g_autofree char *alias = g_strdup_printf("%s%u", alias_prefix(device), device->address.slot);
    bool is_free =
        device->address.type == ADDRESS_DIMM && domain_def_find_alias(state->def, alias) == NULL;
    return is_free ? g_steal_pointer(&alias) : next_alias(state, device);
}

/* The first console is another view of the first serial port. */
static bool is_view_of_serial(const DomainDef *def, const DomainDevice *device)
{
    return device->kind == DEVICE_CONSOLE && DEVICES(def, DEVICE_SERIAL)->count > 0 &&
           DEVICES(def, DEVICE_CONSOLE)->item[0] == device &&
           ((const DomainCharDevice *)device)->console_type == CONSOLE_SERIAL;
}

static bool give_alias(DomainDevice *device, void *opaque)
{
    const AliasState *state = opaque;
    const DomainDef *def = state->def;
    if (device->alias != NULL || device->kind == DEVICE_GRAPHICS) {
        return true;
    }
    if (device->kind == DEVICE_CONTROLLER) {
        device->alias = controller_alias((DomainController *)device);
    } else if (device->kind == DEVICE_DISK) {
        device->alias = disk_alias((DomainDisk *)device);
    } else if (device->kind == DEVICE_MEMORY) {
        device->alias = module_alias(state, device);
    } else if (is_view_of_serial(def, device)) {
        const DomainDevice *serial = DEVICES(def, DEVICE_SERIAL)->item[0];
        device->alias = g_strdup(serial->alias);
    } else if (device->kind == DEVICE_AUDIO) {
        device->alias = g_strdup_printf("audio%u", (unsigned)((DomainAudio *)device)->id.value);
    } else {
        device->alias = next_alias(state, device);
    }
    return true;
}

void domain_def_assign_aliases(DomainDef *def)
{
    g_autoptr(GHashTable) next = g_hash_table_new(g_str_hash, g_str_equal);
    AliasState state = { def, next };
    domain_def_for_each(def, give_alias, &state);
}
