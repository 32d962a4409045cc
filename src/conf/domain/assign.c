/* Addresses for devices that have none: PCI slots of q35 and i440fx, USB ports, virtio-serial
 * ports, DIMM slots. Slots are given in libvirt's order, so that a definition made by either gives
 * the guest the same hardware.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"

#include <string.h>

#define PCI_MAX_BUSES 256
#define PCI_SLOTS 32
#define PCI_FUNCTIONS 8

typedef enum SlotNeed {
    SLOT_NONE,         /* not a PCI device */
    SLOT_CONVENTIONAL, /* a PCI device that needs a conventional slot */
    SLOT_EXPRESS,      /* at home on a PCI Express port */
    SLOT_ROOT,         /* integrated: sits on the root bus */
} SlotNeed;

typedef struct PciMap {
    DomainDef *def;
    bool is_q35;
    uint8_t used[PCI_MAX_BUSES][PCI_SLOTS]; /* bit per function */
    DomainController *bus[PCI_MAX_BUSES];   /* who provides it, NULL: no such bus */
    bool is_multifunction[PCI_MAX_BUSES][PCI_SLOTS];
} PciMap;

static bool note_used(DomainDevice *device, void *opaque)
{
    PciMap *map = opaque;
    const DomainAddress *address = &device->address;
    if (address->type == ADDRESS_PCI && address->domain == 0 && address->bus < PCI_MAX_BUSES &&
        address->slot < PCI_SLOTS && address->function < PCI_FUNCTIONS) {
        map->used[address->bus][address->slot] |= (uint8_t)(1u << address->function);
    }
    return true;
}

static void use(PciMap *map, uint32_t bus, uint32_t slot, uint8_t functions)
{
    map->used[bus][slot] |= functions;
}

static bool is_free(const PciMap *map, uint32_t bus, uint32_t slot)
{
    return map->used[bus][slot] == 0;
}

static void set_pci(PciMap *map, DomainDevice *device, uint32_t bus, uint32_t slot,
                    uint32_t function)
{
    device->address =
        (DomainAddress){ .type = ADDRESS_PCI, .bus = bus, .slot = slot, .function = function };
    use(map, bus, slot, (uint8_t)(1u << function));
}

/* Slots that a kind of bus has: first and last. */
static void slots_of(DomainControllerModel model, uint32_t *out_first, uint32_t *out_last)
{
    switch (model) {
    case PCI_MODEL_ROOT_PORT:
    case PCI_MODEL_DOWNSTREAM_PORT:
        *out_first = 0;
        *out_last = 0;
        break;
    case PCI_MODEL_UPSTREAM_PORT:
        *out_first = 0;
        *out_last = 31;
        break;
    default:
        *out_first = 1;
        *out_last = 31;
    }
}

static bool suits(const PciMap *map, DomainControllerModel model, SlotNeed need)
{
    switch (model) {
    case PCI_MODEL_ROOT:
        return true;
    case PCI_MODEL_BRIDGE:
    case PCI_MODEL_PCIE_TO_PCI:
        return need == SLOT_CONVENTIONAL || (need == SLOT_EXPRESS && !map->is_q35);
    case PCI_MODEL_ROOT_PORT:
    case PCI_MODEL_DOWNSTREAM_PORT:
        return need == SLOT_EXPRESS;
    case PCI_MODEL_PCIE_ROOT:
        return need == SLOT_ROOT;
    default:
        return false;
    }
}

static bool give_slot(PciMap *map, DomainDevice *device, SlotNeed need)
{
    for (uint32_t bus = 0; bus < PCI_MAX_BUSES; bus++) {
        if (map->bus[bus] == NULL || !suits(map, map->bus[bus]->model, need)) {
            continue;
        }
        uint32_t first, last;
        slots_of(map->bus[bus]->model, &first, &last);
        for (uint32_t slot = first; slot <= last; slot++) {
            if (is_free(map, bus, slot)) {
                set_pci(map, device, bus, slot, 0);
                return true;
            }
        }
    }
    return false;
}

/* Root ports share a slot of the root bus, eight functions each. */
static bool place_root_port(PciMap *map, DomainController *port)
{
    for (uint32_t slot = 1; slot < PCI_SLOTS; slot++) {
        bool is_shared = map->is_multifunction[0][slot] && map->used[0][slot] != 0xff;
        if (map->used[0][slot] != 0 && !is_shared) {
            continue;
        }
        uint32_t function = 0;
        while ((map->used[0][slot] >> function & 1) != 0) {
            function++;
        }
        set_pci(map, &port->device, 0, slot, function);
        map->is_multifunction[0][slot] = true;
        if (function == 0) {
            port->device.address.multifunction = TRI_YES;
        }
        return true;
    }
    return false;
}

static const char *pci_model_device(DomainControllerModel model)
{
    return model == PCI_MODEL_ROOT_PORT     ? "pcie-root-port"
           : model == PCI_MODEL_PCIE_TO_PCI ? "pcie-pci-bridge"
           : model == PCI_MODEL_BRIDGE      ? "pci-bridge"
                                            : NULL;
}

/* What a port's <target> says, when it was left open. */
static void number_port(DomainController *port)
{
    bool is_port = port->model == PCI_MODEL_ROOT_PORT || port->model == PCI_MODEL_DOWNSTREAM_PORT;
    if (is_port && !port->chassis.set) {
        uint64_t chassis = port->index.value;
        port->chassis = (OptUint){ chassis, true };
    }
    if (is_port && !port->port.set) {
        port->port =
            (OptUint){ port->device.address.slot << 3 | port->device.address.function, true };
    }
    if (port->model == PCI_MODEL_BRIDGE && !port->chassis_nr.set) {
        port->chassis_nr = (OptUint){ port->index.value, true };
    }
}

static DomainController *add_bus(PciMap *map, DomainControllerModel model)
{
    bool is_bridge = model != PCI_MODEL_ROOT_PORT;
    DomainAddress at = { 0 };
    if (is_bridge && map->is_q35) {
        /* The bridge goes into a port, which is made before it. */
        DomainDevice probe = { .kind = DEVICE_CONTROLLER };
        if (add_bus(map, PCI_MODEL_ROOT_PORT) == NULL || !give_slot(map, &probe, SLOT_EXPRESS)) {
            return NULL;
        }
        at = probe.address;
    }
    DomainController *controller = domain_def_add_controller(map->def, CONTROLLER_PCI, -1, model);
    if (controller->index.value >= PCI_MAX_BUSES) {
        return NULL;
    }
    controller->model_name = g_strdup(pci_model_device(model));
    map->bus[controller->index.value] = controller;
    if (is_bridge && map->is_q35) {
        controller->device.address = at;
        return controller;
    }
    bool is_placed = is_bridge ? give_slot(map, &controller->device, SLOT_CONVENTIONAL)
                               : place_root_port(map, controller);
    return is_placed ? controller : NULL;
}

/* Finds a slot, making ports and bridges for it. */
static bool assign(PciMap *map, DomainDevice *device, SlotNeed need, GError **error)
{
    if (need == SLOT_NONE || (device->address.type != ADDRESS_NONE)) {
        return true;
    }
    bool is_done = give_slot(map, device, need);
    if (!is_done) {
        DomainControllerModel model = !map->is_q35                ? PCI_MODEL_BRIDGE
                                      : need == SLOT_CONVENTIONAL ? PCI_MODEL_PCIE_TO_PCI
                                                                  : PCI_MODEL_ROOT_PORT;
        is_done = need != SLOT_ROOT && add_bus(map, model) != NULL && give_slot(map, device, need);
    }
    if (!is_done) {
        conf_error_set(error, CONF_ERROR_INTERNAL, "no free PCI slot for a %s",
                       domain_device_kind_name(device->kind));
    }
    return is_done;
}

static SlotNeed need_of_controller(const DomainController *controller)
{
    switch (controller->type) {
    case CONTROLLER_SCSI:
        return controller->model == SCSI_MODEL_VIRTIO ||
                       controller->model == SCSI_MODEL_VIRTIO_NON_TRANSITIONAL
                   ? SLOT_EXPRESS
                   : SLOT_CONVENTIONAL;
    case CONTROLLER_VIRTIO_SERIAL:
        return SLOT_EXPRESS;
    case CONTROLLER_SATA:
        return SLOT_ROOT;
    case CONTROLLER_USB:
        return controller->model == USB_MODEL_QEMU_XHCI || controller->model == USB_MODEL_NEC_XHCI
                   ? SLOT_EXPRESS
               : controller->model == USB_MODEL_NONE ? SLOT_NONE
                                                     : SLOT_CONVENTIONAL;
    default:
        return SLOT_NONE;
    }
}

static SlotNeed need_of_device(const DomainDevice *device, bool is_q35)
{
    switch (device->kind) {
    case DEVICE_DISK:
        return ((const DomainDisk *)device)->bus == DISK_BUS_VIRTIO ? SLOT_EXPRESS : SLOT_NONE;
    case DEVICE_INTERFACE: {
        const DomainInterface *net = (const DomainInterface *)device;
        const char *model = net->model != NULL ? net->model : "";
        if (net->type == INTERFACE_HOSTDEV || g_str_has_prefix(model, "virtio")) {
            return strcmp(model, "virtio-transitional") == 0 ? SLOT_CONVENTIONAL : SLOT_EXPRESS;
        }
        return strcmp(model, "e1000e") == 0 || strcmp(model, "vmxnet3") == 0 ? SLOT_EXPRESS
               : strcmp(model, "usb-net") == 0                               ? SLOT_NONE
                                                                             : SLOT_CONVENTIONAL;
    }
    case DEVICE_SOUND: {
        DomainSoundModel model = ((const DomainSound *)device)->model;
        return model == SOUND_ICH6 || model == SOUND_AC97 || model == SOUND_ES1370
                   ? SLOT_CONVENTIONAL
               : model == SOUND_ICH9 || model == SOUND_ICH7
                   ? (is_q35 ? SLOT_ROOT : SLOT_CONVENTIONAL)
                   : SLOT_NONE;
    }
    case DEVICE_FILESYSTEM:
    case DEVICE_MEMBALLOON:
    case DEVICE_RNG:
    case DEVICE_VSOCK:
        return device->kind == DEVICE_MEMBALLOON &&
                       ((const DomainMemballoon *)device)->model == BALLOON_NO
                   ? SLOT_NONE
                   : SLOT_EXPRESS;
    case DEVICE_HOSTDEV: {
        const DomainHostdev *hostdev = (const DomainHostdev *)device;
        return hostdev->type == HOSTDEV_PCI || hostdev->type == HOSTDEV_SCSI_HOST ||
                       (hostdev->type == HOSTDEV_MDEV && hostdev->mdev_model == MDEV_VFIO_PCI)
                   ? SLOT_EXPRESS
                   : SLOT_NONE;
    }
    case DEVICE_WATCHDOG:
        return ((const DomainWatchdog *)device)->model == WATCHDOG_I6300ESB ? SLOT_CONVENTIONAL
                                                                            : SLOT_NONE;
    case DEVICE_VIDEO: {
        DomainVideoModel model = ((const DomainVideo *)device)->model;
        return model == VIDEO_VIRTIO                       ? SLOT_EXPRESS
               : model == VIDEO_NO || model == VIDEO_RAMFB ? SLOT_NONE
                                                           : SLOT_CONVENTIONAL;
    }
    case DEVICE_SHMEM:
        return SLOT_CONVENTIONAL;
    case DEVICE_INPUT:
        return ((const DomainInput *)device)->bus == INPUT_BUS_VIRTIO ? SLOT_EXPRESS : SLOT_NONE;
    case DEVICE_SERIAL:
        return ((const DomainCharDevice *)device)->serial_type == SERIAL_PCI ? SLOT_CONVENTIONAL
                                                                             : SLOT_NONE;
    case DEVICE_MEMORY: {
        DomainMemoryModel model = ((const DomainMemory *)device)->model;
        return model == MEMORY_VIRTIO_PMEM || model == MEMORY_VIRTIO_MEM ? SLOT_EXPRESS : SLOT_NONE;
    }
    case DEVICE_IOMMU:
        return ((const DomainIommu *)device)->model == IOMMU_VIRTIO ? SLOT_ROOT : SLOT_NONE;
    default:
        return SLOT_NONE;
    }
}

/* Devices of the chipset that have their place. */
static void place_chipset(PciMap *map)
{
    DomainDef *def = map->def;
    if (map->is_q35) {
        use(map, 0, 0, 0xff);
        use(map, 0, 0x1f, 0x01 | 0x04 | 0x08); /* ISA bridge, SATA, SMBus */
        DomainController *sata = domain_def_controller(def, CONTROLLER_SATA, 0);
        if (sata != NULL && sata->device.address.type == ADDRESS_NONE) {
            set_pci(map, &sata->device, 0, 0x1f, 2);
        }
        XmlList *sounds = &def->devices[DEVICE_SOUND];
        for (unsigned i = 0; i < sounds->count; i++) {
            DomainSound *sound = sounds->item[i];
            if (sound->model == SOUND_ICH9 && sound->device.address.type == ADDRESS_NONE &&
                is_free(map, 0, 0x1b)) {
                set_pci(map, &sound->device, 0, 0x1b, 0);
            }
        }
    } else {
        use(map, 0, 0, 0xff);
        use(map, 0, 1, 0x01 | 0x08); /* ISA bridge, power management */
        DomainController *ide = domain_def_controller(def, CONTROLLER_IDE, 0);
        if (ide != NULL && ide->device.address.type == ADDRESS_NONE) {
            set_pci(map, &ide->device, 0, 1, 1);
        }
        DomainController *usb = domain_def_controller(def, CONTROLLER_USB, 0);
        if (usb != NULL && usb->device.address.type == ADDRESS_NONE &&
            (usb->model == USB_MODEL_PIIX3_UHCI || usb->model == CONTROLLER_MODEL_DEFAULT)) {
            set_pci(map, &usb->device, 0, 1, 2);
        }
        use(map, 0, 1, 0xff);
    }
    XmlList *videos = &def->devices[DEVICE_VIDEO];
    uint32_t slot = map->is_q35 ? 1 : 2;
    if (videos->count > 0) {
        DomainVideo *video = videos->item[0];
        if (video->device.address.type == ADDRESS_NONE && is_free(map, 0, slot) &&
            video->model != VIDEO_NO && video->model != VIDEO_RAMFB) {
            set_pci(map, &video->device, 0, slot, 0);
        }
    }
}

static bool assign_list(PciMap *map, DomainDeviceKind kind, GError **error)
{
    XmlList *list = &map->def->devices[kind];
    for (unsigned i = 0; i < list->count; i++) {
        if (!assign(map, list->item[i], need_of_device(list->item[i], map->is_q35), error)) {
            return false;
        }
    }
    return true;
}

/* Companions sit beside their EHCI controller: .7 EHCI, .0 .1 .2 UHCI. */
static int ich9_function(DomainControllerModel model)
{
    return model == USB_MODEL_ICH9_EHCI1   ? 7
           : model == USB_MODEL_ICH9_UHCI1 ? 0
           : model == USB_MODEL_ICH9_UHCI2 ? 1
           : model == USB_MODEL_ICH9_UHCI3 ? 2
                                           : -1;
}

static bool assign_ich9(PciMap *map, DomainController *controller, GError **error)
{
    int function = ich9_function(controller->model);
    const XmlList *list = &map->def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainController *other = list->item[i];
        if (other != controller && other->type == CONTROLLER_USB &&
            other->index.value == controller->index.value && ich9_function(other->model) >= 0 &&
            other->device.address.type == ADDRESS_PCI) {
            const DomainAddress *at = &other->device.address;
            if (at->bus < PCI_MAX_BUSES && at->slot < PCI_SLOTS &&
                (map->used[at->bus][at->slot] >> function & 1) == 0) {
                set_pci(map, &controller->device, at->bus, at->slot, (uint32_t)function);
                controller->device.address.multifunction = function == 0 ? TRI_YES : TRI_ABSENT;
                return true;
            }
        }
    }
    static const uint32_t q35_slots[] = { 0x1d, 0x1a };
    for (unsigned i = 0; map->is_q35 && i < G_N_ELEMENTS(q35_slots); i++) {
        if (is_free(map, 0, q35_slots[i])) {
            set_pci(map, &controller->device, 0, q35_slots[i], (uint32_t)function);
            controller->device.address.multifunction = function == 0 ? TRI_YES : TRI_ABSENT;
            return true;
        }
    }
    if (!assign(map, &controller->device, SLOT_CONVENTIONAL, error)) {
        return false;
    }
    DomainAddress *at = &controller->device.address;
    map->used[at->bus][at->slot] = 0;
    set_pci(map, &controller->device, at->bus, at->slot, (uint32_t)function);
    at->multifunction = function == 0 ? TRI_YES : TRI_ABSENT;
    return true;
}

static bool assign_controllers(PciMap *map, GError **error)
{
    XmlList *list = &map->def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        DomainController *controller = list->item[i];
        if (controller->type == CONTROLLER_PCI || controller->device.address.type != ADDRESS_NONE) {
            continue;
        }
        if (controller->type == CONTROLLER_USB && ich9_function(controller->model) >= 0) {
            if (!assign_ich9(map, controller, error)) {
                return false;
            }
            continue;
        }
        if (!assign(map, &controller->device, need_of_controller(controller), error)) {
            return false;
        }
    }
    return true;
}

static bool take_buses(PciMap *map, GError **error)
{
    XmlList *list = &map->def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        DomainController *controller = list->item[i];
        if (controller->type != CONTROLLER_PCI) {
            continue;
        }
        if (controller->index.value >= PCI_MAX_BUSES) {
            conf_error_set(error, CONF_ERROR_XML,
                           "PCI controller index %" G_GUINT64_FORMAT " is past %d",
                           controller->index.value, PCI_MAX_BUSES - 1);
            return false;
        }
        map->bus[controller->index.value] = controller;
    }
    return true;
}

static bool assign_bridges(PciMap *map, GError **error)
{
    XmlList *list = &map->def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        DomainController *controller = list->item[i];
        if (controller->type != CONTROLLER_PCI || controller->device.address.type != ADDRESS_NONE ||
            controller->model == PCI_MODEL_ROOT || controller->model == PCI_MODEL_PCIE_ROOT) {
            continue;
        }
        bool is_done =
            controller->model == PCI_MODEL_ROOT_PORT
                ? place_root_port(map, controller)
                : assign(map, &controller->device,
                         map->is_q35 && controller->model == PCI_MODEL_PCIE_TO_PCI ? SLOT_EXPRESS
                         : map->is_q35 && controller->model == PCI_MODEL_DMI_TO_PCI
                             ? SLOT_ROOT
                             : SLOT_CONVENTIONAL,
                         error);
        if (!is_done) {
            if (error != NULL && *error == NULL) {
                conf_error_set(error, CONF_ERROR_INTERNAL, "no free PCI slot for a controller");
            }
            return false;
        }
    }
    return true;
}

static bool assign_once(DomainDef *def, bool with_spare, GError **error)
{
    static const DomainDeviceKind before[] = { DEVICE_FILESYSTEM, DEVICE_INTERFACE, DEVICE_SOUND };
    static const DomainDeviceKind after[] = { DEVICE_DISK,   DEVICE_HOSTDEV,  DEVICE_MEMBALLOON,
                                              DEVICE_RNG,    DEVICE_WATCHDOG, DEVICE_VIDEO,
                                              DEVICE_SHMEM,  DEVICE_INPUT,    DEVICE_SERIAL,
                                              DEVICE_MEMORY, DEVICE_VSOCK,    DEVICE_IOMMU };
    bool is_q35 = domain_def_is_q35(def);
    if (!is_q35 && !domain_def_is_i440fx(def)) {
        return true;
    }
    g_autofree PciMap *map = g_new0(PciMap, 1);
    map->def = def;
    map->is_q35 = is_q35;
    if (!take_buses(map, error)) {
        return false;
    }
    domain_def_for_each(def, note_used, map);
    place_chipset(map);
    if (!assign_bridges(map, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(before); i++) {
        if (!assign_list(map, before[i], error)) {
            return false;
        }
    }
    if (!assign_controllers(map, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(after); i++) {
        if (!assign_list(map, after[i], error)) {
            return false;
        }
    }
    if (with_spare) {
        /* One slot to plug a device in while it runs. */
        DomainDevice spare = { .kind = DEVICE_RNG };
        assign(map, &spare, is_q35 ? SLOT_EXPRESS : SLOT_CONVENTIONAL, NULL);
    }
    XmlList *controllers = &def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < controllers->count; i++) {
        DomainController *controller = controllers->item[i];
        if (controller->type == CONTROLLER_PCI) {
            number_port(controller);
        }
    }
    return true;
}

/* Ports and bridges come first in the order of slots, so what is needed is found out on a copy. */
bool domain_def_assign_pci(DomainDef *def, bool with_spare, GError **error)
{
    g_autoptr(DomainDef) trial = domain_def_copy(def);
    if (!assign_once(trial, with_spare, error)) {
        return false;
    }
    const XmlList *list = &trial->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainController *made = list->item[i];
        if (made->type == CONTROLLER_PCI &&
            domain_def_controller(def, CONTROLLER_PCI, made->index.value) == NULL) {
            DomainController *controller =
                domain_def_add_controller(def, CONTROLLER_PCI, (int)made->index.value, made->model);
            controller->model_name = g_strdup(made->model_name);
        }
    }
    return assign_once(def, with_spare, error);
}

/* --- USB --- */

static unsigned usb_ports(const DomainController *controller)
{
    switch (controller->model) {
    case USB_MODEL_ICH9_EHCI1:
        return 6;
    case USB_MODEL_QEMU_XHCI:
    case USB_MODEL_NEC_XHCI:
        return controller->ports.set ? (unsigned)controller->ports.value : 4;
    case USB_MODEL_EHCI:
        return 6;
    case USB_MODEL_NONE:
        return 0;
    default:
        return controller->device.master_startport.set ? 0 : 2;
    }
}

static bool is_usb(const DomainDevice *device)
{
    switch (device->kind) {
    case DEVICE_DISK:
        return ((const DomainDisk *)device)->bus == DISK_BUS_USB;
    case DEVICE_INPUT:
        return ((const DomainInput *)device)->bus == INPUT_BUS_USB;
    case DEVICE_HOSTDEV:
        return ((const DomainHostdev *)device)->type == HOSTDEV_USB;
    case DEVICE_HUB:
    case DEVICE_REDIRDEV:
        return true;
    case DEVICE_SOUND:
        return ((const DomainSound *)device)->model == SOUND_USB;
    case DEVICE_SERIAL:
        return ((const DomainCharDevice *)device)->serial_type == SERIAL_USB;
    case DEVICE_CONTROLLER:
        return ((const DomainController *)device)->type == CONTROLLER_CCID;
    default:
        return false;
    }
}

#define HUB_PORTS 8

/* What is taken, and up to where nothing is free: no port becomes so here. */
typedef struct UsbMap {
    DomainDef *def;
    GHashTable *taken; /* "BUS:PORT" */
    unsigned controller, port;
    unsigned hub;       /* those before it are full */
    uint8_t *next_port; /* of each hub */
} UsbMap;

static char *usb_key(uint32_t bus, const char *port)
{
    return g_strdup_printf("%u:%s", bus, port);
}

static bool note_usb(DomainDevice *device, void *opaque)
{
    UsbMap *map = opaque;
    const DomainAddress *at = &device->address;
    if (at->type == ADDRESS_USB && at->usb_port != NULL) {
        g_hash_table_add(map->taken, usb_key(at->bus, at->usb_port));
    }
    return true;
}

/* @port: (transfer full). */
static bool try_usb_port(UsbMap *map, DomainDevice *device, uint32_t bus, char *port)
{
    g_autofree char *owned = port;
    if (!g_hash_table_add(map->taken, usb_key(bus, port))) {
        return false;
    }
    device->address.type = ADDRESS_USB;
    device->address.bus = bus;
    device->address.usb_port = g_steal_pointer(&owned);
    return true;
}

static bool give_root_port(UsbMap *map, DomainDevice *device)
{
    const XmlList *controllers = &map->def->devices[DEVICE_CONTROLLER];
    for (; map->controller < controllers->count; map->controller++, map->port = 0) {
        const DomainController *controller = controllers->item[map->controller];
        while (controller->type == CONTROLLER_USB && map->port < usb_ports(controller)) {
            map->port++;
            if (try_usb_port(map, device, (uint32_t)controller->index.value,
                             g_strdup_printf("%u", map->port))) {
                return true;
            }
        }
    }
    return false;
}

static bool give_hub_port(UsbMap *map, DomainDevice *device)
{
    const XmlList *hubs = &map->def->devices[DEVICE_HUB];
    while (map->hub < hubs->count && map->next_port[map->hub] == HUB_PORTS) {
        map->hub++;
    }
    for (unsigned i = map->hub; i < hubs->count; i++) {
        const DomainHub *hub = hubs->item[i];
        const DomainAddress *at = &hub->device.address;
        if (at->usb_port == NULL || &hub->device == device) {
            continue;
        }
        while (map->next_port[i] < HUB_PORTS) {
            unsigned n = ++map->next_port[i];
            if (try_usb_port(map, device, at->bus, g_strdup_printf("%s.%u", at->usb_port, n))) {
                return true;
            }
        }
    }
    return false;
}

static bool assign_usb(UsbMap *map, GError **error)
{
    static const DomainDeviceKind order[] = { DEVICE_HUB,        DEVICE_HOSTDEV, DEVICE_DISK,
                                              DEVICE_CONTROLLER, DEVICE_INPUT,   DEVICE_SERIAL,
                                              DEVICE_SOUND,      DEVICE_REDIRDEV };
    for (unsigned k = 0; k < G_N_ELEMENTS(order); k++) {
        const XmlList *list = &map->def->devices[order[k]];
        for (unsigned i = 0; i < list->count; i++) {
            DomainDevice *device = list->item[i];
            if (!is_usb(device) || device->address.usb_port != NULL) {
                continue;
            }
            if (device->address.type != ADDRESS_NONE && device->address.type != ADDRESS_USB) {
                continue;
            }
            if (!give_root_port(map, device) && !give_hub_port(map, device)) {
                conf_error_set(error, CONF_ERROR_INTERNAL, "no free USB port for a %s",
                               domain_device_kind_name(device->kind));
                return false;
            }
        }
    }
    return true;
}

bool domain_def_assign_usb(DomainDef *def, GError **error)
{
    g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree uint8_t *next_port = g_new0(uint8_t, (gsize)def->devices[DEVICE_HUB].count + 1);
    UsbMap map = { .def = def, .taken = taken, .next_port = next_port };
    domain_def_for_each(def, note_usb, &map);
    return assign_usb(&map, error);
}

/* --- virtio-serial, ISA, DIMMs --- */

typedef struct PortMap {
    GHashTable *taken; /* of port_key() */
    GHashTable *next;  /* controller -> the port from which on one may be free */
} PortMap;

static gpointer port_key(uint32_t controller, uint32_t port)
{
    return GSIZE_TO_POINTER((gsize)controller << 32 | port);
}

static bool note_port(DomainDevice *device, void *opaque)
{
    PortMap *map = opaque;
    const DomainAddress *at = &device->address;
    if (at->type == ADDRESS_VIRTIO_SERIAL) {
        g_hash_table_add(map->taken, port_key(at->controller, at->port));
    }
    return true;
}

static void give_port(PortMap *map, DomainDevice *device)
{
    uint32_t controller =
        device->address.type == ADDRESS_VIRTIO_SERIAL ? device->address.controller : 0;
    if (device->address.type == ADDRESS_VIRTIO_SERIAL && device->address.port != 0) {
        return;
    }
    gpointer key = GUINT_TO_POINTER(controller);
    uint32_t port = MAX(GPOINTER_TO_UINT(g_hash_table_lookup(map->next, key)), 1);
    while (!g_hash_table_add(map->taken, port_key(controller, port))) {
        port++;
    }
    g_hash_table_insert(map->next, key, GUINT_TO_POINTER(port));
    device->address =
        (DomainAddress){ .type = ADDRESS_VIRTIO_SERIAL, .controller = controller, .port = port };
}

void domain_def_assign_serial_ports(DomainDef *def)
{
    g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) next = g_hash_table_new(NULL, NULL);
    PortMap map = { taken, next };
    const XmlList *channels = &def->devices[DEVICE_CHANNEL];
    domain_def_for_each(def, note_port, &map);
    for (unsigned i = 0; i < channels->count; i++) {
        DomainCharDevice *channel = channels->item[i];
        if (channel->channel_type == CHANNEL_VIRTIO) {
            give_port(&map, &channel->device);
        }
    }
}

static bool slot_is_taken(const XmlList *dimms, uint32_t slot)
{
    for (unsigned i = 0; i < dimms->count; i++) {
        const DomainAddress *at = &((const DomainDevice *)dimms->item[i])->address;
        if (at->type == ADDRESS_DIMM && at->slot == slot) {
            return true;
        }
    }
    return false;
}

/* Memory modules: the first slot that is free. */
static void assign_modules(DomainDef *def)
{
    const XmlList *dimms = &def->devices[DEVICE_MEMORY];
    uint32_t slot = 0; /* those before it are taken */
    for (unsigned i = 0; i < dimms->count; i++) {
        DomainMemory *dimm = dimms->item[i];
        if ((dimm->model == MEMORY_DIMM || dimm->model == MEMORY_NVDIMM) &&
            dimm->device.address.type == ADDRESS_NONE) {
            while (slot_is_taken(dimms, slot)) {
                slot++;
            }
            dimm->device.address = (DomainAddress){ .type = ADDRESS_DIMM, .slot = slot };
        }
    }
}

static void fill_controllers(DomainDef *def)
{
    const XmlList *list = &def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        domain_controller_fill(list->item[i]);
    }
}

bool domain_def_assign_addresses(DomainDef *def, GError **error)
{
    return domain_def_assign_all(def, false, error);
}

bool domain_def_assign_all(DomainDef *def, bool with_spare, GError **error)
{
    domain_def_add_controllers(def);
    fill_controllers(def);
    domain_def_assign_serial_ports(def);
    assign_modules(def);
    if (!domain_def_assign_pci(def, with_spare, error)) {
        return false;
    }
    fill_controllers(def);
    return domain_def_assign_usb(def, error);
}
