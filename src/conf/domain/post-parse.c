/* Filling in what a definition leaves open, as libvirt 9.0 does for QEMU's x86 machines: clients
 * rely on finding it. Addresses are in assign.c.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"
#include "conf/domain/vcpus.h"

#include <string.h>

/* --- which machine --- */

static bool machine_is(const DomainDef *def, const char *name, const char *prefix)
{
    const char *machine = def->os.machine != NULL ? def->os.machine : "";
    return strcmp(machine, name) == 0 || g_str_has_prefix(machine, prefix);
}

bool domain_def_is_q35(const DomainDef *def)
{
    return machine_is(def, "q35", "pc-q35-");
}

bool domain_def_is_i440fx(const DomainDef *def)
{
    return machine_is(def, "pc", "pc-i440fx-") || machine_is(def, "pc", "pc-0.") ||
           machine_is(def, "pc", "pc-1.");
}

bool domain_def_is_microvm(const DomainDef *def)
{
    return machine_is(def, "microvm", "microvm-");
}

uint64_t domain_def_initial_memory(const DomainDef *def)
{
    uint64_t memory = def->memory;
    const XmlList *list = DEVICES(def, DEVICE_MEMORY);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainMemory *dimm = list->item[i];
        memory -= MIN(memory, dimm->size);
    }
    return memory;
}

/* --- controllers --- */

DomainController *domain_def_controller(const DomainDef *def, DomainControllerType type,
                                        uint64_t index)
{
    const XmlList *list = DEVICES(def, DEVICE_CONTROLLER);
    for (unsigned i = 0; i < list->count; i++) {
        DomainController *controller = list->item[i];
        if (controller->type == type && controller->index.set && controller->index.value == index) {
            return controller;
        }
    }
    return NULL;
}

static uint64_t free_index(const DomainDef *def, DomainControllerType type)
{
    uint64_t index = 0;
    while (domain_def_controller(def, type, index) != NULL) {
        index++;
    }
    return index;
}

DomainController *domain_def_add_controller(DomainDef *def, DomainControllerType type, int index,
                                            DomainControllerModel model)
{
    DomainController *controller = domain_device_new(DEVICE_CONTROLLER);
    controller->type = type;
    controller->model = model;
    controller->index = (OptUint){ index >= 0 ? (uint64_t)index : free_index(def, type), true };
    XmlList *list = DEVICES(def, DEVICE_CONTROLLER);
    unsigned place = list->count;
    for (unsigned i = list->count; i > 0; i--) {
        const DomainController *other = list->item[i - 1];
        if (other->type == type) {
            if (other->index.value <= controller->index.value) {
                place = i;
                break;
            }
            place = i - 1;
        }
    }
    xml_list_insert(list, place, controller);
    return controller;
}

/* Numbers controllers that have no index; companions of a USB controller share its index. */
static void number_controllers(DomainDef *def)
{
    const XmlList *list = DEVICES(def, DEVICE_CONTROLLER);
    for (unsigned i = 0; i < list->count; i++) {
        DomainController *controller = list->item[i];
        if (!controller->index.set) {
            const DomainController *previous = i > 0 ? list->item[i - 1] : NULL;
            bool is_companion = controller->device.master_startport.set && previous != NULL &&
                                previous->type == CONTROLLER_USB;
            controller->index =
                (OptUint){ is_companion ? previous->index.value : free_index(def, controller->type),
                           true };
        }
    }
}

/* Of each type, how many controllers are there from the first on, as far as is known. */
typedef struct Needs {
    DomainDef *def;
    uint32_t known[CONTROLLER_ISA + 1];
} Needs;

static void need_controller(Needs *needs, DomainControllerType type, uint32_t index)
{
    for (; needs->known[type] <= index && needs->known[type] < 256; needs->known[type]++) {
        uint32_t i = needs->known[type];
        if (domain_def_controller(needs->def, type, i) == NULL) {
            domain_def_add_controller(needs->def, type, (int)i, CONTROLLER_MODEL_DEFAULT);
        }
    }
}

static void need_controllers_of_disks(Needs *needs)
{
    static const DomainControllerType by_bus[] = {
        [DISK_BUS_SCSI] = CONTROLLER_SCSI,
        [DISK_BUS_IDE] = CONTROLLER_IDE,
        [DISK_BUS_FDC] = CONTROLLER_FDC,
        [DISK_BUS_SATA] = CONTROLLER_SATA,
    };
    /* In the order of by_type: the order in which libvirt adds them. */
    static const DomainDiskBus order[] = { DISK_BUS_SCSI, DISK_BUS_IDE, DISK_BUS_FDC,
                                           DISK_BUS_SATA };
    const XmlList *disks = DEVICES(needs->def, DEVICE_DISK);
    for (unsigned o = 0; o < G_N_ELEMENTS(order); o++) {
        for (unsigned i = 0; i < disks->count; i++) {
            const DomainDisk *disk = disks->item[i];
            if (disk->bus == order[o] && disk->device.address.type == ADDRESS_DRIVE) {
                need_controller(needs, by_bus[disk->bus], disk->device.address.controller);
            }
        }
    }
}

static bool is_virtio_serial(const DomainCharDevice *device)
{
    return device->device.kind == DEVICE_CHANNEL
               ? device->channel_type == CHANNEL_VIRTIO
               : device->device.kind == DEVICE_CONSOLE && device->console_type == CONSOLE_VIRTIO;
}

/* Units of SCSI controllers, of bus and target 0. */
static gpointer scsi_key(const DomainAddress *at)
{
    return GSIZE_TO_POINTER((gsize)at->controller << 32 | at->unit);
}

static GHashTable *scsi_units(const DomainDef *def)
{
    const XmlList *disks = DEVICES(def, DEVICE_DISK);
    const XmlList *hostdevs = DEVICES(def, DEVICE_HOSTDEV);
    GHashTable *units = g_hash_table_new(NULL, NULL);
    for (unsigned i = 0; i < disks->count + hostdevs->count; i++) {
        const DomainDevice *device =
            i < disks->count ? disks->item[i] : hostdevs->item[i - disks->count];
        const DomainAddress *at = &device->address;
        bool is_scsi = device->kind == DEVICE_DISK
                           ? ((const DomainDisk *)device)->bus == DISK_BUS_SCSI
                           : ((const DomainHostdev *)device)->type == HOSTDEV_SCSI;
        if (is_scsi && at->type == ADDRESS_DRIVE && at->bus == 0 && at->target == 0) {
            g_hash_table_add(units, scsi_key(at));
        }
    }
    return units;
}

/* The first unit that is free, on the first controller that has one. @at: those before it are
 * taken. */
static void place_scsi_hostdev(GHashTable *units, DomainHostdev *hostdev, DomainAddress *at)
{
    enum { UNITS = 16, OF_CONTROLLER = 7 };
    while (at->unit == OF_CONTROLLER || !g_hash_table_add(units, scsi_key(at))) {
        at->unit = (at->unit + 1) % UNITS;
        at->controller += at->unit == 0;
    }
    hostdev->device.address = *at;
}

void domain_def_add_controllers(DomainDef *def)
{
    Needs needs = { .def = def };
    need_controllers_of_disks(&needs);
    static const DomainDeviceKind kinds[] = { DEVICE_CHANNEL, DEVICE_CONSOLE };
    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        const XmlList *list = DEVICES(def, kinds[k]);
        for (unsigned i = 0; i < list->count; i++) {
            const DomainCharDevice *device = list->item[i];
            if (is_virtio_serial(device)) {
                need_controller(&needs, CONTROLLER_VIRTIO_SERIAL,
                                device->device.address.controller);
            }
        }
    }
    const XmlList *hostdevs = DEVICES(def, DEVICE_HOSTDEV);
    g_autoptr(GHashTable) units = hostdevs->count > 0 ? scsi_units(def) : NULL;
    DomainAddress unit = { .type = ADDRESS_DRIVE };
    for (unsigned i = 0; i < hostdevs->count; i++) {
        DomainHostdev *hostdev = hostdevs->item[i];
        if (hostdev->type == HOSTDEV_SCSI) {
            if (hostdev->device.address.type == ADDRESS_NONE) {
                place_scsi_hostdev(units, hostdev, &unit);
            }
            need_controller(&needs, CONTROLLER_SCSI, hostdev->device.address.controller);
        }
    }
    if (DEVICES(def, DEVICE_SMARTCARD)->count > 0) {
        need_controller(&needs, CONTROLLER_CCID, 0);
    }
}

static void add_machine_controllers(DomainDef *def)
{
    bool is_pc = domain_def_is_i440fx(def);
    bool is_q35 = domain_def_is_q35(def);
    if (!is_pc && !is_q35) {
        return;
    }
    bool has_usb = false;
    const XmlList *list = DEVICES(def, DEVICE_CONTROLLER);
    for (unsigned i = 0; i < list->count; i++) {
        has_usb |= ((const DomainController *)list->item[i])->type == CONTROLLER_USB;
    }
    if (!has_usb) {
        domain_def_add_controller(def, CONTROLLER_USB, 0,
                                  is_q35 ? USB_MODEL_QEMU_XHCI : CONTROLLER_MODEL_DEFAULT);
    }
    if (is_q35 && domain_def_controller(def, CONTROLLER_SATA, 0) == NULL) {
        domain_def_add_controller(def, CONTROLLER_SATA, 0, CONTROLLER_MODEL_DEFAULT);
    }
    if (domain_def_controller(def, CONTROLLER_PCI, 0) == NULL) {
        domain_def_add_controller(def, CONTROLLER_PCI, 0,
                                  is_q35 ? PCI_MODEL_PCIE_ROOT : PCI_MODEL_ROOT);
    }
}

static const char *pci_model_name(DomainControllerModel model)
{
    switch (model) {
    case PCI_MODEL_BRIDGE:
        return "pci-bridge";
    case PCI_MODEL_DMI_TO_PCI:
        return "i82801b11-bridge";
    case PCI_MODEL_PCIE_TO_PCI:
        return "pcie-pci-bridge";
    case PCI_MODEL_ROOT_PORT:
        return "pcie-root-port";
    case PCI_MODEL_UPSTREAM_PORT:
        return "x3130-upstream";
    case PCI_MODEL_DOWNSTREAM_PORT:
        return "xio3130-downstream";
    case PCI_MODEL_EXPANDER:
        return "pxb";
    case PCI_MODEL_PCIE_EXPANDER:
        return "pxb-pcie";
    default:
        return NULL;
    }
}

void domain_controller_fill(DomainController *controller)
{
    if (controller->type == CONTROLLER_USB && controller->model == CONTROLLER_MODEL_DEFAULT) {
        controller->model = USB_MODEL_PIIX3_UHCI;
    } else if (controller->type == CONTROLLER_SCSI &&
               (controller->model == CONTROLLER_MODEL_DEFAULT ||
                controller->model == SCSI_MODEL_AUTO)) {
        controller->model = SCSI_MODEL_LSILOGIC;
    } else if (controller->type == CONTROLLER_PCI && controller->model_name == NULL) {
        controller->model_name = g_strdup(pci_model_name(controller->model));
    }
    /* "model" of virtio variants has one name in several types; the first in the list is found. */
    if (controller->type == CONTROLLER_VIRTIO_SERIAL && controller->model == SCSI_MODEL_VIRTIO) {
        controller->model = VIRTIO_SERIAL_MODEL_VIRTIO;
    }
}

/* --- character devices --- */

static void move_chardev(DomainChardev *to, DomainChardev *from)
{
    *to = *from;
    *from = (DomainChardev){ 0 };
}

/* The first console is another view of the first serial port, unless it is a virtio console. */
static void pair_console_and_serial(DomainDef *def)
{
    XmlList *consoles = DEVICES(def, DEVICE_CONSOLE);
    XmlList *serials = DEVICES(def, DEVICE_SERIAL);
    if (consoles->count > 0) {
        DomainCharDevice *console = consoles->item[0];
        if (console->console_type != CONSOLE_TARGET_NONE &&
            console->console_type != CONSOLE_SERIAL) {
            return;
        }
        console->console_type = CONSOLE_SERIAL;
        if (serials->count == 0) {
            DomainCharDevice *serial = domain_def_add(def, DEVICE_SERIAL);
            move_chardev(&serial->source, &console->source);
            serial->device.alias = g_strdup(console->device.alias);
        }
    } else if (serials->count > 0) {
        const DomainCharDevice *serial = serials->item[0];
        if (serial->serial_type != SERIAL_TARGET_NONE && serial->serial_type != SERIAL_ISA) {
            return;
        }
        DomainCharDevice *console = domain_def_add(def, DEVICE_CONSOLE);
        console->console_type = CONSOLE_SERIAL;
    } else {
        return;
    }
    /* Both show the serial port's source. */
    DomainCharDevice *console = consoles->item[0];
    DomainDevice *copy = domain_device_copy(serials->item[0]);
    DomainCharDevice *of_serial = (DomainCharDevice *)copy;
    DomainChardev old = console->source;
    console->source = of_serial->source;
    of_serial->source = old;
    domain_device_free(copy);
}

static DomainSerialModel model_of_serial(DomainSerialTarget type)
{
    static const DomainSerialModel models[] = {
        [SERIAL_ISA] = SERIAL_MODEL_ISA,
        [SERIAL_USB] = SERIAL_MODEL_USB,
        [SERIAL_PCI] = SERIAL_MODEL_PCI,
        [SERIAL_ISA_DEBUG] = SERIAL_MODEL_ISA_DEBUGCON,
    };
    return type < G_N_ELEMENTS(models) ? models[type] : SERIAL_MODEL_NONE;
}

static void number_ports(XmlList *list)
{
    uint64_t next = 0;
    for (unsigned i = 0; i < list->count; i++) {
        const DomainCharDevice *device = list->item[i];
        if (device->port.set && device->port.value >= next) {
            next = device->port.value + 1;
        }
    }
    if (next == 0 || list->count > 0) {
        for (unsigned i = 0; i < list->count; i++) {
            DomainCharDevice *device = list->item[i];
            if (!device->port.set) {
                device->port = (OptUint){ next++, true };
            }
        }
    }
}

static void fill_char_devices(DomainDef *def)
{
    pair_console_and_serial(def);
    number_ports(DEVICES(def, DEVICE_SERIAL));
    number_ports(DEVICES(def, DEVICE_PARALLEL));
    number_ports(DEVICES(def, DEVICE_CONSOLE));
    const XmlList *serials = DEVICES(def, DEVICE_SERIAL);
    for (unsigned i = 0; i < serials->count; i++) {
        DomainCharDevice *serial = serials->item[i];
        if (serial->serial_type == SERIAL_TARGET_NONE) {
            serial->serial_type = serial->device.address.type == ADDRESS_USB   ? SERIAL_USB
                                  : serial->device.address.type == ADDRESS_PCI ? SERIAL_PCI
                                                                               : SERIAL_ISA;
        }
        if (serial->serial_model == SERIAL_MODEL_NONE) {
            serial->serial_model = model_of_serial(serial->serial_type);
        }
    }
    const XmlList *consoles = DEVICES(def, DEVICE_CONSOLE);
    for (unsigned i = 0; i < consoles->count; i++) {
        DomainCharDevice *console = consoles->item[i];
        if (console->console_type == CONSOLE_TARGET_NONE) {
            console->console_type = CONSOLE_SERIAL;
        }
    }
}

/* --- implicit devices --- */

static void add_input(DomainDef *def, DomainInputType type)
{
    const XmlList *list = DEVICES(def, DEVICE_INPUT);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainInput *input = list->item[i];
        if (input->type == type && input->bus == INPUT_BUS_PS2) {
            return;
        }
    }
    DomainInput *input = domain_def_add(def, DEVICE_INPUT);
    input->type = type;
    input->bus = INPUT_BUS_PS2;
}

static void add_implicit_audio(DomainDef *def)
{
    const XmlList *graphics = DEVICES(def, DEVICE_GRAPHICS);
    bool is_headless = graphics->count > 0;
    for (unsigned i = 0; i < graphics->count; i++) {
        is_headless &= ((const DomainGraphics *)graphics->item[i])->type == GRAPHICS_EGL_HEADLESS;
    }
    if (DEVICES(def, DEVICE_AUDIO)->count > 0 || is_headless) {
        return;
    }
    DomainAudioType type = AUDIO_NOWHERE;
    for (unsigned i = 0; i < graphics->count; i++) {
        const DomainGraphics *screen = graphics->item[i];
        if (screen->type == GRAPHICS_SPICE) {
            type = AUDIO_SPICE;
        } else if (screen->type == GRAPHICS_SDL && type == AUDIO_NOWHERE) {
            type = AUDIO_SDL;
        }
    }
    DomainAudio *audio = domain_def_add(def, DEVICE_AUDIO);
    audio->id = (OptUint){ 1, true };
    audio->type = type;
}

static void add_implicit_devices(DomainDef *def)
{
    bool is_pc = domain_def_is_i440fx(def) || domain_def_is_q35(def);
    if (is_pc) {
        add_input(def, INPUT_MOUSE);
        add_input(def, INPUT_KEYBOARD);
    }
    XmlList *videos = DEVICES(def, DEVICE_VIDEO);
    if (DEVICES(def, DEVICE_GRAPHICS)->count > 0 && videos->count == 0 && is_pc) {
        DomainVideo *video = domain_def_add(def, DEVICE_VIDEO);
        video->model = VIDEO_CIRRUS;
        video->vram = 16384;
        video->heads = 1;
    }
    if (is_pc) {
        add_implicit_audio(def);
    }
    if (is_pc && DEVICES(def, DEVICE_MEMBALLOON)->count == 0) {
        DomainMemballoon *balloon = domain_def_add(def, DEVICE_MEMBALLOON);
        balloon->model = BALLOON_VIRTIO;
    }
}

static void mark_primary_video(DomainDef *def)
{
    XmlList *videos = DEVICES(def, DEVICE_VIDEO);
    for (unsigned i = 0; i < videos->count; i++) {
        DomainVideo *video = videos->item[i];
        if (video->primary == TRI_YES) {
            if (i > 0) {
                xml_list_insert(videos, 0, xml_list_steal(videos, i));
            }
            return;
        }
    }
    if (videos->count > 0 && ((DomainVideo *)videos->item[0])->model != VIDEO_NO) {
        ((DomainVideo *)videos->item[0])->primary = TRI_YES;
    }
}

/* --- the domain's own --- */

static bool fill_os(DomainDef *def, const DomainEnvironment *env, GError **error)
{
    if (def->os.type == OS_NONE) {
        conf_error_set(error, CONF_ERROR_XML, "<os> has no <type>");
        return false;
    }
    if (def->os.type != OS_HVM) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "os type '%s' is not supported; use 'hvm'",
                       domain_name(os_type, def->os.type));
        return false;
    }
    if (def->os.arch == NULL) {
        def->os.arch = g_strdup("x86_64");
    }
    if (def->emulator == NULL && env != NULL) {
        def->emulator = g_strdup(env->default_emulator(env->opaque, def->virt, def->os.arch));
    }
    if (env != NULL && def->emulator == NULL) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "no emulator for domain type '%s' and architecture '%s'",
                       domain_name(virt_type, def->virt), def->os.arch);
        return false;
    }
    if (env != NULL) {
        const char *machine =
            env->canonical_machine(env->opaque, def->emulator, def->os.arch, def->os.machine);
        if (machine != NULL) {
            char *copy = g_strdup(machine);
            g_free(def->os.machine);
            def->os.machine = copy;
        } else if (def->os.machine == NULL) {
            conf_error_set(error, CONF_ERROR_INVALID_ARG, "emulator '%s' has no machine",
                           def->emulator);
            return false;
        }
    }
    return domain_def_fill_firmware(def, env, error);
}

static bool order_any(DomainDevice *device, void *opaque)
{
    bool *has_order = opaque;
    *has_order |= device->boot_order > 0;
    return true;
}

static void fill_boot(DomainDef *def)
{
    bool has_order = false;
    domain_def_for_each(def, order_any, &has_order);
    if (!has_order && def->os.boots.count == 0) {
        DomainBoot *boot = g_new0(DomainBoot, 1);
        boot->dev = BOOT_DISK;
        xml_list_append(&def->os.boots, boot);
    }
    if (def->os.bootmenu != TRI_YES) {
        def->os.bootmenu_timeout_ms = (OptUint){ 0 }; /* of a menu that nobody sees */
    }
}

static void fill_cpu(DomainDef *def, const DomainEnvironment *env)
{
    bool has_model =
        def->cpu != NULL && ((def->cpu->mode != CPU_MODE_NONE && def->cpu->mode != CPU_CUSTOM) ||
                             def->cpu->model != NULL);
    const char *model = NULL;
    if (!has_model && env != NULL && env->default_cpu != NULL) {
        model = env->default_cpu(env->opaque, def->emulator, def->virt);
    }
    if (model != NULL) {
        if (def->cpu == NULL) {
            def->cpu = g_new0(DomainCpu, 1);
        }
        def->cpu->mode = CPU_CUSTOM;
        def->cpu->match = CPU_MATCH_EXACT;
        def->cpu->check = CPU_CHECK_NO;
        def->cpu->fallback = CPU_FALLBACK_FORBID;
        def->cpu->model = g_strdup(model);
    }
    DomainCpu *cpu = def->cpu;
    if (cpu == NULL) {
        return;
    }
    if (cpu->mode == CPU_MODE_NONE) {
        cpu->mode = CPU_CUSTOM;
    }
    bool is_custom = cpu->mode == CPU_CUSTOM;
    if (is_custom && cpu->match == CPU_MATCH_NONE) {
        cpu->match = CPU_MATCH_EXACT;
    }
    if (is_custom && cpu->model != NULL && cpu->fallback == CPU_FALLBACK_NONE) {
        cpu->fallback = CPU_FALLBACK_ALLOW;
    }
    if (cpu->check == CPU_CHECK_DEFAULT) {
        cpu->check = cpu->mode == CPU_HOST_PASSTHROUGH || cpu->mode == CPU_MAXIMUM ||
                             (is_custom && def->virt == VIRT_QEMU)
                         ? CPU_CHECK_NO
                         : CPU_CHECK_PARTIAL;
    }
    if (cpu->mode == CPU_HOST_PASSTHROUGH && cpu->migratable == TRI_ABSENT) {
        cpu->migratable = TRI_YES;
    }
    if (cpu->sockets != 0 && cpu->dies == 0) {
        cpu->dies = 1;
    }
    for (unsigned i = 0; i < cpu->features.count; i++) {
        DomainCpuFeature *feature = cpu->features.item[i];
        if (feature->policy == CPU_POLICY_NONE) {
            feature->policy = CPU_REQUIRE;
        }
    }
    for (unsigned i = 0; i < cpu->cells.count; i++) {
        DomainNumaCell *cell = cpu->cells.item[i];
        if (!cell->id.set) {
            cell->id = (OptUint){ i, true };
        }
    }
}

static bool fill_basics(DomainDef *def, GError **error)
{
    static const Uuid zero;
    if (memcmp(&def->uuid, &zero, sizeof(zero)) == 0 && !uuid_generate(&def->uuid, error)) {
        return false;
    }
    if (def->has_genid && memcmp(&def->genid, &zero, sizeof(zero)) == 0 &&
        !uuid_generate(&def->genid, error)) {
        return false;
    }
    uint64_t numa = 0;
    for (unsigned i = 0; def->cpu != NULL && i < def->cpu->cells.count; i++) {
        numa += ((const DomainNumaCell *)def->cpu->cells.item[i])->memory;
    }
    if (numa != 0) {
        const XmlList *dimms = DEVICES(def, DEVICE_MEMORY);
        for (unsigned i = 0; i < dimms->count; i++) {
            numa += ((const DomainMemory *)dimms->item[i])->size;
        }
        def->memory = numa;
    }
    if (def->memory == 0) {
        conf_error_set(error, CONF_ERROR_XML, "<memory> is missing or 0");
        return false;
    }
    /* As libvirt does: definitions that were written while memory was plugged say more. */
    if (def->current_memory == 0 || def->current_memory > def->memory) {
        def->current_memory = def->memory;
    }
    if (def->vcpus == 0) {
        def->vcpus = 1;
    }
    if (def->current_vcpus == 0) {
        def->current_vcpus = def->vcpus;
    }
    if (!domain_def_fill_vcpus(def, error)) {
        return false;
    }
    if (def->vcpu_placement == PLACEMENT_NONE) {
        def->vcpu_placement = PLACEMENT_STATIC;
    }
    if (def->on_poweroff == LIFECYCLE_NONE) {
        def->on_poweroff = LIFECYCLE_DESTROY;
    }
    if (def->on_reboot == LIFECYCLE_NONE) {
        def->on_reboot = LIFECYCLE_RESTART;
    }
    if (def->on_crash == LIFECYCLE_NONE) {
        def->on_crash = LIFECYCLE_DESTROY;
    }
    if (def->features.hyperv && def->features.hyperv_mode == HYPERV_MODE_NONE) {
        def->features.hyperv_mode = HYPERV_CUSTOM;
    }
    for (unsigned i = 0; i < def->seclabels.count; i++) {
        DomainSeclabel *label = def->seclabels.item[i];
        if (label->type == SECLABEL_NO && label->model == NULL) {
            label->model = g_strdup("none");
        }
    }
    if (def->clock.offset == CLOCK_NONE) {
        def->clock.offset = CLOCK_UTC;
    }
    if (def->iothreads < def->iothread_list.count) {
        def->iothreads = def->iothread_list.count;
    }
    return true;
}

typedef struct FillState {
    const DomainDef *def;
    const DomainEnvironment *env;
    GError **error;
} FillState;

static bool fill_device(DomainDevice *device, void *opaque)
{
    const FillState *state = opaque;
    return domain_device_post_parse(device, state->def, state->env, state->error);
}

bool domain_def_check_number(const DomainDef *def, GError **error)
{
    unsigned n = 0;
    for (unsigned kind = 0; kind < G_N_ELEMENTS(def->devices); kind++) {
        n += def->devices[kind].count;
    }
    if (n > DOMAIN_DEVICES_MAX) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "domain '%s' has %u devices; at most %u are allowed", def->name, n,
                       DOMAIN_DEVICES_MAX);
    }
    return n <= DOMAIN_DEVICES_MAX;
}

bool domain_def_post_parse(DomainDef *def, const DomainEnvironment *env, GError **error)
{
    if (!domain_def_check_number(def, error) || !fill_os(def, env, error) ||
        !fill_basics(def, error)) {
        return false;
    }
    fill_cpu(def, env);
    fill_boot(def);
    domain_def_sort_disks(def);
    FillState state = { def, env, error };
    if (!domain_def_for_each(def, fill_device, &state)) {
        return false;
    }
    fill_char_devices(def);
    add_implicit_devices(def);
    mark_primary_video(def);
    number_controllers(def);
    add_machine_controllers(def);
    /* Controllers came: what is stored is to be read again. */
    return domain_def_assign_all(def, true, error) && domain_def_check_number(def, error);
}

/* --- what only running domains have --- */

void domain_device_strip_live(DomainDevice *device)
{
    if (device->alias != NULL && !g_str_has_prefix(device->alias, "ua-")) {
        g_clear_pointer(&device->alias, g_free);
    }
    if (device->kind == DEVICE_DISK) {
        for (DomainSource *source = &((DomainDisk *)device)->source; source != NULL;
             source = source->backing) {
            source->index = (OptUint){ 0 };
        }
    } else if (device->kind == DEVICE_INTERFACE) {
        DomainInterface *net = (DomainInterface *)device;
        static const char *const prefixes[] = { "vnet", "macvtap", "macvlan", "vif" };
        for (unsigned i = 0; net->target_dev != NULL && i < G_N_ELEMENTS(prefixes); i++) {
            if (g_str_has_prefix(net->target_dev, prefixes[i])) {
                g_clear_pointer(&net->target_dev, g_free);
            }
        }
        if (net->type == INTERFACE_NETWORK) {
            g_clear_pointer(&net->source_bridge, g_free);
            g_clear_pointer(&net->source_portid, g_free);
        }
    } else if (device->kind == DEVICE_GRAPHICS) {
        DomainGraphics *graphics = (DomainGraphics *)device;
        if (graphics->autoport == TRI_YES) {
            graphics->port = -1;
            graphics->tls_port = graphics->tls_port != 0 ? -1 : 0;
        }
    } else if (device->kind == DEVICE_SERIAL || device->kind == DEVICE_PARALLEL ||
               device->kind == DEVICE_CONSOLE || device->kind == DEVICE_CHANNEL) {
        DomainCharDevice *serial = (DomainCharDevice *)device;
        g_clear_pointer(&serial->tty, g_free);
        serial->channel_state = CHANNEL_STATE_NONE;
        if (serial->source.type == CHARDEV_PTY) {
            g_clear_pointer(&serial->source.path, g_free);
        }
    } else if (device->kind == DEVICE_MEMORY) {
        ((DomainMemory *)device)->current = 0;
    }
}

static bool strip_device(DomainDevice *device, void *opaque)
{
    domain_device_strip_live(device);
    return true;
}

void domain_def_strip_live(DomainDef *def)
{
    def->id = 0;
    domain_def_for_each(def, strip_device, NULL);
}
