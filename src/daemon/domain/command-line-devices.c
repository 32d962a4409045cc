/* Arguments of devices but disks, interfaces, character devices and memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

#include <string.h>

char *line_address(const CommandLine *line, const DomainDevice *device)
{
    const DomainAddress *address = &device->address;
    if (address->type != ADDRESS_PCI) {
        return g_strdup("");
    }
    g_autofree char *bus = address->bus ? g_strdup_printf("pci.%u", address->bus)
                           : domain_def_is_i440fx(line->def) ? g_strdup("pci.0")
                                                             : g_strdup("pcie.0");
    GString *text = g_string_new(NULL);
    g_string_printf(text, ",bus=%s,addr=%s%x", bus, line->engine == ENGINE_QEMU ? "0x" : "",
                    address->slot);
    if (address->function) {
        g_string_append_printf(text, ".%s%x", line->engine == ENGINE_QEMU ? "0x" : "",
                               address->function);
    }
    if (address->multifunction == TRI_YES) {
        g_string_append(text, ",multifunction=on");
    }
    return g_string_free(text, FALSE);
}

static bool is_microvm(const CommandLine *line)
{
    return domain_def_is_microvm(line->def);
}

char *line_virtio_name(const CommandLine *line, const char *kind)
{
    return g_strdup_printf("virtio-%s-%s", kind, is_microvm(line) ? "device" : "pci");
}

char *line_finish(const CommandLine *line, char *text, const DomainDevice *device)
{
    g_autofree char *index = line_boot_index(line, device);
    GString *longer = g_string_new(text);
    g_free(text);
    g_string_append(longer, index);
    if (device->rom_enabled == TRI_NO) {
        g_string_append(longer, ",romfile=");
    } else if (device->rom_file) {
        g_autofree char *file = line_escape(device->rom_file);
        g_string_append_printf(longer, ",romfile=%s", file);
    }
    if (device->rom_bar) {
        g_string_append_printf(longer, ",rombar=%d", device->rom_bar == TRI_YES);
    }
    if (device->acpi_index.set) {
        g_string_append_printf(longer, ",acpi-index=%" G_GUINT64_FORMAT, device->acpi_index.value);
    }
    return g_string_free(longer, FALSE);
}

char *line_virtio_options(const DomainVirtioOptions *options)
{
    GString *text = g_string_new(NULL);
    line_append_tri(text, "iommu_platform", options->iommu);
    line_append_tri(text, "ats", options->ats);
    line_append_tri(text, "packed", options->packed);
    line_append_tri(text, "page-per-vq", options->page_per_vq);
    return g_string_free(text, FALSE);
}

typedef struct Occupant {
    const DomainController *controller;
    const DomainDevice *device;
} Occupant;

static bool find_occupant(DomainDevice *device, void *opaque)
{
    Occupant *occupant = opaque;
    if (device->address.type == ADDRESS_PCI && device->kind != DEVICE_CONTROLLER &&
        device->address.bus == occupant->controller->index.value) {
        occupant->device = device;
    }
    return occupant->device == NULL;
}

/* Such controllers are made for devices that need them: those are named. */
static void refuse_pci_controller(CommandLine *line, const DomainController *controller,
                                  GError **error)
{
    const char *model = domain_name(controller_model, controller->model) ?: "none";
    Occupant occupant = { .controller = controller };
    domain_def_for_each(line->def, find_occupant, &occupant);
    if (occupant.device) {
        line_refuse(line, error, "PCI controller '%s' for <%s> '%s'", model,
                    domain_device_kind_name(occupant.device->kind), occupant.device->alias);
    } else {
        line_refuse(line, error, "PCI controller '%s'", model);
    }
}

/* Intel's, which is asked for by its name. */
static bool is_old_port(const CommandLine *line, const DomainController *controller)
{
    return line->engine == ENGINE_QEMU && g_strcmp0(controller->model_name, "ioh3420") == 0;
}

static char *pci_controller(CommandLine *line, const DomainController *controller, GError **error)
{
    const DomainDevice *device = &controller->device;
    g_autofree char *address = line_address(line, device);
    switch (controller->model) {
    case PCI_MODEL_ROOT:
    case PCI_MODEL_PCIE_ROOT:
        if (controller->pcihole64) {
            line_add(line, "-global",
                     g_strdup_printf("%s-pcihost.pci-hole64-size=%" G_GUINT64_FORMAT "K",
                                     controller->model == PCI_MODEL_ROOT ? "i440FX" : "q35",
                                     controller->pcihole64));
        }
        return NULL;
    case PCI_MODEL_ROOT_PORT:
        return g_strdup_printf("%s,port=%" G_GUINT64_FORMAT ",chassis=%" G_GUINT64_FORMAT
                               ",id=%s%s%s",
                               is_old_port(line, controller) ? "ioh3420" : "pcie-root-port",
                               controller->port.value, controller->chassis.value, device->alias,
                               address, controller->hotplug == TRI_NO ? ",hotplug=off" : "");
    case PCI_MODEL_BRIDGE:
    case PCI_MODEL_PCIE_TO_PCI:
        if (line->engine == ENGINE_QEMU) {
            return controller->model == PCI_MODEL_BRIDGE
                       ? g_strdup_printf("pci-bridge,chassis_nr=%" G_GUINT64_FORMAT ",id=%s%s",
                                         controller->chassis_nr.value, device->alias, address)
                       : g_strdup_printf("pcie-pci-bridge,id=%s%s", device->alias, address);
        }
        break;
    default:
        break;
    }
    refuse_pci_controller(line, controller, error);
    return NULL;
}

static char *usb_controller(CommandLine *line, const DomainController *controller)
{
    g_autofree char *address = line_address(line, &controller->device);
    const char *name = domain_name(controller_model, controller->model);
    /* lodge-vmm: devices on it are refused one by one. */
    if (line->engine == ENGINE_LODGE || controller->model == USB_MODEL_NONE) {
        return NULL;
    }
    if (controller->model == USB_MODEL_ICH9_EHCI1) {
        name = "ich9-usb-ehci1";
    } else if (controller->model >= USB_MODEL_ICH9_UHCI1 &&
               controller->model <= USB_MODEL_ICH9_UHCI3) {
        return g_strdup_printf("ich9-usb-uhci%d,masterbus=usb.0,firstport=%" G_GUINT64_FORMAT "%s",
                               controller->model - USB_MODEL_ICH9_UHCI1 + 1,
                               controller->device.master_startport.value, address);
    } else if (controller->model == USB_MODEL_PIIX3_UHCI || !name) {
        name = "piix3-usb-uhci";
    } else if (controller->model == USB_MODEL_EHCI) {
        name = "usb-ehci";
    }
    if (controller->model == USB_MODEL_NEC_XHCI) {
        name = "nec-usb-xhci";
    } else if (controller->model == USB_MODEL_PIIX4_UHCI) {
        name = "piix4-usb-uhci";
    } else if (controller->model == USB_MODEL_VT82C686B_UHCI) {
        name = "vt82c686b-usb-uhci";
    }
    bool is_xhci =
        controller->model == USB_MODEL_QEMU_XHCI || controller->model == USB_MODEL_NEC_XHCI;
    if (is_xhci && controller->ports.set) {
        return g_strdup_printf("%s,p2=%" G_GUINT64_FORMAT ",p3=%" G_GUINT64_FORMAT ",id=%s%s", name,
                               controller->ports.value, controller->ports.value,
                               controller->device.alias, address);
    }
    return g_strdup_printf("%s,id=%s%s", name, controller->device.alias, address);
}

static char *scsi_controller(CommandLine *line, const DomainController *controller, GError **error)
{
    const char *name = controller->model == SCSI_MODEL_LSILOGIC     ? "lsi"
                       : controller->model == SCSI_MODEL_LSISAS1068 ? "mptsas1068"
                       : controller->model == SCSI_MODEL_LSISAS1078 ? "megasas"
                       : controller->model == SCSI_MODEL_VMPVSCSI   ? "pvscsi"
                       : controller->model == SCSI_MODEL_DC390      ? "dc390"
                       : controller->model == SCSI_MODEL_AM53C974   ? "am53c974"
                       : controller->model == SCSI_MODEL_VIRTIO     ? "virtio-scsi-pci"
                       : controller->model <= SCSI_MODEL_AUTO       ? "virtio-scsi-pci"
                                                                    : NULL;
    if (!name || line->engine == ENGINE_LODGE) {
        line_refuse_unless(line, name != NULL, error, "SCSI controller '%s'",
                           domain_name(controller_model, controller->model) ?: "virtio-scsi");
        return NULL;
    }
    g_autofree char *address = line_address(line, &controller->device);
    g_autofree char *options = line_virtio_options(&controller->virtio);
    GString *text = g_string_new(name);
    g_string_append_printf(text, ",id=%s%s", controller->device.alias, options);
    const struct {
        const char *name;
        unsigned value;
    } numbers[] = { { "num_queues", controller->queues },
                    { "cmd_per_lun", controller->cmd_per_lun },
                    { "max_sectors", controller->max_sectors } };
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (numbers[i].value) {
            g_string_append_printf(text, ",%s=%u", numbers[i].name, numbers[i].value);
        }
    }
    line_append_tri(text, "ioeventfd", controller->ioeventfd);
    if (controller->iothread) {
        g_string_append_printf(text, ",iothread=iothread%u", controller->iothread);
    }
    g_string_append(text, address);
    return g_string_free(text, FALSE);
}

static char *controller_device(CommandLine *line, const DomainController *controller,
                               GError **error)
{
    const char *alias = controller->device.alias;
    g_autofree char *address = line_address(line, &controller->device);
    switch (controller->type) {
    case CONTROLLER_PCI:
        return pci_controller(line, controller, error);
    case CONTROLLER_USB:
        return usb_controller(line, controller);
    case CONTROLLER_VIRTIO_SERIAL: {
        g_autofree char *name = line_virtio_name(line, "serial");
        g_autofree char *options = line_virtio_options(&controller->virtio);
        GString *text = g_string_new(name);
        g_string_append_printf(text, ",id=%s%s%s", alias, options, address);
        if (controller->ports.set) {
            g_string_append_printf(text, ",max_ports=%" G_GUINT64_FORMAT, controller->ports.value);
        }
        if (controller->vectors.set) {
            g_string_append_printf(text, ",vectors=%" G_GUINT64_FORMAT, controller->vectors.value);
        }
        return g_string_free(text, FALSE);
    }
    case CONTROLLER_SATA:
        if (controller->index.value == 0 && domain_def_is_q35(line->def)) {
            return NULL; /* the chipset's */
        }
        break;
    case CONTROLLER_FDC:
        return line->engine == ENGINE_QEMU ? line_floppy_controller(line) : NULL;
    case CONTROLLER_IDE:
    case CONTROLLER_ISA:
        return NULL;
    case CONTROLLER_SCSI:
        return scsi_controller(line, controller, error);
    default:
        break;
    }
    if (line->engine == ENGINE_QEMU && controller->type == CONTROLLER_SATA) {
        return g_strdup_printf("ahci,id=%s%s", alias, address);
    }
    line_refuse_unless(line, controller->type == CONTROLLER_SATA, error, "controller of type '%s'",
                       domain_name(controller_type, controller->type));
    return NULL;
}

static char *input_device(CommandLine *line, const DomainInput *input, GError **error)
{
    static const char *const kinds[] = {
        [INPUT_MOUSE] = "mouse", [INPUT_TABLET] = "tablet", [INPUT_KEYBOARD] = "keyboard"
    };
    const char *alias = input->device.alias;
    const char *bus = device_table_word(PROPERTY_INPUT_BUS, (int)input->bus, line->engine);
    bool is_kind = input->type >= INPUT_MOUSE && input->type <= INPUT_KEYBOARD;
    if (!bus || !is_kind) {
        line_refuse_unless(
            line, is_kind && device_table_has(PROPERTY_INPUT_BUS, (int)input->bus, ENGINE_QEMU),
            error, "input device '%s' on bus '%s'", domain_name(input_type, input->type),
            domain_name(input_bus, input->bus) ?: "none");
        return NULL;
    }
    const char *kind = kinds[input->type];
    if (input->bus == INPUT_BUS_USB) {
        g_autofree char *address = line_usb_address(&input->device);
        return g_strdup_printf("usb-%s,id=%s%s", input->type == INPUT_KEYBOARD ? "kbd" : kind,
                               alias, address);
    }
    if (input->bus == INPUT_BUS_VIRTIO) {
        g_autofree char *address = line_address(line, &input->device);
        g_autofree char *options = line_virtio_options(&input->virtio);
        return g_strdup_printf("virtio-%s-pci,id=%s%s%s", kind, alias, options, address);
    }
    return NULL; /* the machine's */
}

/* The first display adapter has the VGA ports; others of the same kind lack them. */
static const char *video_name(const CommandLine *line, const DomainVideo *video)
{
    const XmlList *all = &line->def->devices[DEVICE_VIDEO];
    bool is_first = all->count == 0 || all->item[0] == video || video->primary == TRI_YES;
    if (!is_first && video->model == VIDEO_QXL) {
        return line->engine == ENGINE_QEMU ? "qxl" : NULL;
    }
    if (!is_first && video->model == VIDEO_VIRTIO) {
        return line->engine == ENGINE_QEMU ? "virtio-gpu-pci" : NULL;
    }
    return device_table_word(PROPERTY_VIDEO, (int)video->model, line->engine);
}

static void append_mib(GString *text, const char *name, guint64 kib)
{
    if (kib) {
        g_string_append_printf(text, ",%s=%" G_GUINT64_FORMAT, name, MAX(kib / 1024, 1));
    }
}

static char *video_device(CommandLine *line, const DomainVideo *video, GError **error)
{
    const char *name = video_name(line, video);
    if (!name) {
        line_refuse_unless(line, device_table_has(PROPERTY_VIDEO, (int)video->model, ENGINE_QEMU),
                           error, "video device '%s'", domain_name(video_model, video->model));
        return NULL;
    }
    if (!*name) {
        return NULL;
    }
    g_autofree char *address = line_address(line, &video->device);
    g_autofree char *options = line_virtio_options(&video->virtio);
    GString *text = g_string_new(name);
    g_string_append_printf(text, ",id=%s%s", video->device.alias, options);
    if (video->model == VIDEO_QXL) {
        if (video->ram) {
            g_string_append_printf(text, ",ram_size=%" G_GUINT64_FORMAT,
                                   (guint64)video->ram * 1024);
        }
        if (video->vram) {
            g_string_append_printf(text, ",vram_size=%" G_GUINT64_FORMAT,
                                   (guint64)video->vram * 1024);
        }
        append_mib(text, "vram64_size_mb", video->vram64);
        append_mib(text, "vgamem_mb", video->vgamem);
    } else if (video->model == VIDEO_VGA || video->model == VIDEO_VMVGA) {
        append_mib(text, "vgamem_mb", video->vram);
    } else if (video->model == VIDEO_BOCHS && video->vram) {
        g_string_append_printf(text, ",vgamem=%uk", video->vram);
    }
    if (video->heads && (video->model == VIDEO_VIRTIO || video->model == VIDEO_QXL)) {
        g_string_append_printf(text, ",max_outputs=%u", video->heads);
    }
    if (video->res_x && video->res_y && video->model != VIDEO_CIRRUS &&
        video->model != VIDEO_VMVGA) {
        g_string_append_printf(text, ",xres=%u,yres=%u", video->res_x, video->res_y);
    }
    g_string_append(text, address);
    return g_string_free(text, FALSE);
}

static char *watchdog_device(CommandLine *line, const DomainWatchdog *watchdog, GError **error)
{
    g_autofree char *address = line_address(line, &watchdog->device);
    const char *name = device_table_word(PROPERTY_WATCHDOG, (int)watchdog->model, line->engine);
    if (!name) {
        line_refuse_unless(line,
                           device_table_has(PROPERTY_WATCHDOG, (int)watchdog->model, ENGINE_QEMU),
                           error, "watchdog '%s'", domain_name(watchdog_model, watchdog->model));
        return NULL;
    }
    return watchdog->model == WATCHDOG_ITCO
               ? NULL
               : g_strdup_printf("%s,id=%s%s", name, watchdog->device.alias, address);
}

/* What the engine does; a dump is made by the daemon while the guest is paused. */
static void add_watchdog_action(CommandLine *line, const DomainWatchdog *watchdog)
{
    DomainWatchdogAction action = watchdog->action ? watchdog->action : WATCHDOG_RESET;
    line_add(line, "-watchdog-action",
             g_strdup(action == WATCHDOG_DUMP ? "pause" : domain_name(watchdog_action, action)));
    if (watchdog->model == WATCHDOG_ITCO) {
        line_add(line, "-global", g_strdup("ICH9-LPC.noreboot=off"));
    }
}

static char *balloon_device(CommandLine *line, const DomainMemballoon *balloon, GError **error)
{
    const char *word = device_table_word(PROPERTY_BALLOON, (int)balloon->model, line->engine);
    if (balloon->model == BALLOON_NO) {
        return NULL;
    }
    if (!word) {
        line_refuse_unless(
            line, device_table_has(PROPERTY_BALLOON, (int)balloon->model, ENGINE_QEMU), error,
            "<memballoon model='%s'>", domain_name(balloon_model, balloon->model) ?: "none");
        return NULL;
    }
    g_autofree char *address = line_address(line, &balloon->device);
    g_autofree char *options = line_virtio_options(&balloon->virtio);
    g_autofree char *name = line_virtio_name(line, "balloon");
    GString *text = g_string_new(name);
    g_string_append_printf(text, ",id=%s%s%s%s", balloon->device.alias, address, word, options);
    line_append_tri(text, "deflate-on-oom", balloon->autodeflate == TRI_YES ? TRI_YES : TRI_ABSENT);
    line_append_tri(text, "free-page-reporting", balloon->free_page_reporting);
    return g_string_free(text, FALSE);
}

static char *rng_device(CommandLine *line, const DomainRng *rng, GError **error)
{
    DomainVirtioModel model = rng->model ? rng->model : VIRTIO_MODEL_VIRTIO;
    const char *word = device_table_word(PROPERTY_RNG_MODEL, (int)model, line->engine);
    if (!word) {
        line_refuse_unless(line, device_table_has(PROPERTY_RNG_MODEL, (int)model, ENGINE_QEMU),
                           error, "<rng model='%s'>", domain_name(virtio_model, model));
        return NULL;
    }
    g_autofree char *address = line_address(line, &rng->device);
    g_autofree char *options = line_virtio_options(&rng->virtio);
    g_autofree char *name = line_virtio_name(line, "rng");
    GString *text = g_string_new(NULL);
    g_string_printf(text, "%s,rng=obj%s,id=%s%s%s%s", name, rng->device.alias, rng->device.alias,
                    address, word, options);
    if (rng->rate_bytes) {
        g_string_append_printf(text, ",max-bytes=%u,period=%u", rng->rate_bytes,
                               rng->rate_period_ms ?: 1000);
    }
    return g_string_free(text, FALSE);
}

static char *panic_device(CommandLine *line, const DomainPanic *panic, GError **error)
{
    if (panic->model == PANIC_HYPERV && line->engine == ENGINE_QEMU) {
        return NULL; /* a feature of the processors */
    }
    if (panic->model == PANIC_PVPANIC && line->engine == ENGINE_QEMU) {
        g_autofree char *address = line_address(line, &panic->device);
        return g_strdup_printf("pvpanic-pci,id=%s%s", panic->device.alias, address);
    }
    if (panic->model > PANIC_ISA) {
        line_refuse_unless(line, panic->model == PANIC_HYPERV || panic->model == PANIC_PVPANIC,
                           error, "<panic model='%s'>", domain_name(panic_model, panic->model));
        return NULL;
    }
    return panic->device.address.iobase.set ? g_strdup_printf("pvpanic,ioport=%" G_GUINT64_FORMAT,
                                                              panic->device.address.iobase.value)
                                            : g_strdup("pvpanic");
}

static char *iommu_device(CommandLine *line, const DomainIommu *iommu, GError **error)
{
    g_autofree char *address = line_address(line, &iommu->device);
    if (line->engine == ENGINE_QEMU && iommu->model == IOMMU_VIRTIO) {
        return g_strdup_printf("virtio-iommu,id=%s%s", iommu->device.alias, address);
    }
    if (line->engine == ENGINE_LODGE || iommu->model != IOMMU_INTEL) {
        line_refuse_unless(line, iommu->model == IOMMU_VIRTIO || iommu->model == IOMMU_INTEL, error,
                           "<iommu model='%s'>", domain_name(iommu_model, iommu->model));
        return NULL;
    }
    GString *text = g_string_new("intel-iommu");
    line_append_tri(text, "intremap", iommu->intremap);
    line_append_tri(text, "caching-mode", iommu->caching_mode);
    line_append_tri(text, "eim", iommu->eim);
    line_append_tri(text, "device-iotlb", iommu->iotlb);
    if (iommu->aw_bits.set) {
        g_string_append_printf(text, ",aw-bits=%" G_GUINT64_FORMAT, iommu->aw_bits.value);
    }
    return g_string_free(text, FALSE);
}

static char *simple_device(CommandLine *line, DomainDevice *device, GError **error)
{
    switch (device->kind) {
    case DEVICE_CONTROLLER:
        return controller_device(line, (DomainController *)device, error);
    case DEVICE_INPUT:
        return input_device(line, (DomainInput *)device, error);
    case DEVICE_VIDEO:
        return video_device(line, (DomainVideo *)device, error);
    case DEVICE_WATCHDOG:
        return watchdog_device(line, (DomainWatchdog *)device, error);
    case DEVICE_MEMBALLOON:
        return balloon_device(line, (DomainMemballoon *)device, error);
    case DEVICE_RNG:
        return rng_device(line, (DomainRng *)device, error);
    case DEVICE_PANIC:
        return panic_device(line, (DomainPanic *)device, error);
    case DEVICE_IOMMU:
        return iommu_device(line, (DomainIommu *)device, error);
    case DEVICE_REDIRFILTER:
        if (line->engine == ENGINE_QEMU) {
            return NULL; /* a property of each <redirdev> */
        }
        break;
    case DEVICE_HUB:
        if (line->engine == ENGINE_QEMU) {
            g_autofree char *address = line_usb_address(device);
            return g_strdup_printf("usb-hub,id=%s%s", device->alias, address);
        }
        break;
    default:
        break;
    }
    bool qemu_has = device->kind == DEVICE_REDIRFILTER || device->kind == DEVICE_HUB;
    line_refuse_unless(line, qemu_has, error, "device <%s>", domain_device_kind_name(device->kind));
    return NULL;
}

/* @out_options: (transfer full) */
static bool vnc_options(const CommandLine *line, const DomainGraphics *graphics, char **out_options,
                        GError **error)
{
    if (graphics->listens.count > 1) {
        return line_refuse_unless(line, false, error, "<graphics> with several <listen>");
    }
    const DomainGraphicsListen *listen = graphics->listens.count ? graphics->listens.item[0] : NULL;
    if (listen && listen->type == LISTEN_NETWORK && !listen->address) {
        return line_refuse_unless(line, false, error, "<listen type='network'>");
    }
    GString *text = g_string_new(graphics->passwd ? ",password=on" : NULL);
    if (graphics->websocket > 0) {
        g_string_append_printf(text, ",websocket=%d", (int)graphics->websocket);
    } else if (graphics->websocket < 0) {
        g_string_append(text, ",websocket=on");
    }
    if (graphics->share_policy) {
        g_string_append_printf(text, ",share=%s", domain_name(vnc_share, graphics->share_policy));
    }
    line_append_tri(text, "power-control", graphics->power_control);
    if (line->engine == ENGINE_QEMU) {
        line_append_audiodev(line, text, &graphics->audio_id);
    }
    *out_options = g_string_free(text, FALSE);
    return true;
}

/* Where screens are shown that name no address. */
#define VNC_ADDRESS "127.0.0.1"
#define VNC_PORT_FIRST 5900 /* of screen 0 */

static bool add_graphics(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainGraphics *graphics = (DomainGraphics *)device;
    g_autofree char *options = NULL;
    if (!device_table_word(PROPERTY_GRAPHICS, (int)graphics->type, line->engine)) {
        return line_refuse_unless(
            line, device_table_has(PROPERTY_GRAPHICS, (int)graphics->type, ENGINE_QEMU), error,
            "graphics of type '%s'", domain_name(graphics_type, graphics->type));
    }
    if (!vnc_options(line, graphics, &options, error)) {
        return false;
    }
    if (graphics->keymap) {
        line_add(line, "-k", g_strdup(graphics->keymap));
    }
    DomainGraphicsListen *listen = graphics->listens.count ? graphics->listens.item[0] : NULL;
    if (listen && listen->type == LISTEN_SOCKET) {
        if (!listen->socket) {
            listen->socket = g_strdup_printf("%s/" ENGINE_FOLDER "/vnc.sock", line->socket_dir);
        }
        g_autofree char *path = line_escape(listen->socket);
        line_add(line, "-vnc", g_strdup_printf("vnc=unix:%s%s", path, options));
        return true;
    }
    if (listen && listen->type == LISTEN_NOWHERE) {
        line_add(line, "-vnc", g_strdup("none"));
        return true;
    }
    if (graphics->port < VNC_PORT_FIRST) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: <graphics type='vnc' port='%d'>: screens have "
                         "the ports from %d on",
                         (int)graphics->port, VNC_PORT_FIRST);
        return false;
    }
    if (listen && !listen->address) {
        listen->address = g_strdup(VNC_ADDRESS); /* viewers look for it */
    }
    g_autofree char *host = line_escape(listen ? listen->address : VNC_ADDRESS);
    line_add(line, "-vnc",
             g_strdup_printf("%s:%d%s", host, (int)graphics->port - VNC_PORT_FIRST, options));
    return true;
}

static bool add_rng_backend(CommandLine *line, DomainRng *rng, GError **error)
{
    const char *word = device_table_word(PROPERTY_RNG_BACKEND, (int)rng->backend, line->engine);
    if (!word) {
        return line_refuse_unless(
            line, device_table_has(PROPERTY_RNG_BACKEND, (int)rng->backend, ENGINE_QEMU), error,
            "random numbers of the back end '%s'",
            domain_name(rng_backend, rng->backend) ?: "none");
    }
    if (rng->backend == RNG_EGD &&
        !line_add_chardev(line, &rng->source, rng->device.alias, "random numbers", error)) {
        return false;
    }
    GString *text = g_string_new(word);
    g_string_append_printf(text, ",id=obj%s", rng->device.alias);
    if (rng->backend == RNG_EGD) {
        g_string_append_printf(text, ",chardev=char%s", rng->device.alias);
    } else if (rng->backend == RNG_RANDOM) {
        g_autofree char *path = line_escape(rng->path ?: "/dev/urandom");
        g_string_append_printf(text, ",filename=%s", path);
    }
    line_add(line, "-object", g_string_free(text, FALSE));
    return true;
}

static bool add_simple(CommandLine *line, DomainDevice *device, GError **error)
{
    g_autoptr(GError) reason = NULL;
    if (device->kind == DEVICE_RNG && !add_rng_backend(line, (DomainRng *)device, error)) {
        return false;
    }
    char *text = simple_device(line, device, &reason);
    if (text) {
        line_add(line, "-device", text);
    } else if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    if (device->kind == DEVICE_WATCHDOG) {
        add_watchdog_action(line, (DomainWatchdog *)device);
    }
    return true;
}

static bool add_filesystem(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainFilesystem *fs = (const DomainFilesystem *)device;
    return fs->driver == FS_DRIVER_VIRTIOFS ? line_add_virtiofs(line, device, error)
                                            : line_add_9p(line, device, error);
}

typedef bool (*AddDevice)(CommandLine *line, DomainDevice *device, GError **error);

static AddDevice adder_of(DomainDeviceKind kind)
{
    switch (kind) {
    case DEVICE_DISK:
        return line_add_disk;
    case DEVICE_INTERFACE:
        return line_add_interface;
    case DEVICE_SERIAL:
        return line_add_serial;
    case DEVICE_CONSOLE:
        return line_add_console;
    case DEVICE_PARALLEL:
        return line_add_parallel;
    case DEVICE_MEMORY:
        return line_add_memory_device;
    case DEVICE_CHANNEL:
        return line_add_channel;
    case DEVICE_GRAPHICS:
        return add_graphics;
    case DEVICE_AUDIO:
        return line_add_audio;
    case DEVICE_SOUND:
        return line_add_sound;
    case DEVICE_HOSTDEV:
        return line_add_hostdev;
    case DEVICE_VSOCK:
        return line_add_vsock;
    case DEVICE_TPM:
        return line_add_tpm;
    case DEVICE_FILESYSTEM:
        return add_filesystem;
    case DEVICE_SHMEM:
        return line_add_shmem;
    case DEVICE_REDIRDEV:
        return line_add_redirdev;
    default:
        return add_simple;
    }
}

/* PCI controllers come first, then others, then what sits on
 * them. */
static int pass_of(const DomainDevice *device)
{
    if (device->kind != DEVICE_CONTROLLER) {
        return 2;
    }
    return ((const DomainController *)device)->type == CONTROLLER_PCI ? 0 : 1;
}

bool line_add_device(CommandLine *line, DomainDevice *device, GError **error)
{
    line->owner = device->alias;
    const DomainInput *input = device->kind == DEVICE_INPUT ? (const DomainInput *)device : NULL;
    bool is_host = input && (input->type == INPUT_EVDEV || input->type == INPUT_PASSTHROUGH);
    bool ok = line_check_device_options(line, device, error) &&
              (is_host ? line_add_host_input : adder_of(device->kind))(line, device, error);
    line->owner = NULL;
    return ok;
}

/* Before controllers that are there for them alone, and which nobody wrote. */
static bool check_disks_and_interfaces(const CommandLine *line, GError **error)
{
    const XmlList *disks = &line->def->devices[DEVICE_DISK];
    for (unsigned i = 0; i < disks->count; i++) {
        if (!line_check_disk(line, disks->item[i], error)) {
            return false;
        }
    }
    const XmlList *interfaces = &line->def->devices[DEVICE_INTERFACE];
    for (unsigned i = 0; i < interfaces->count; i++) {
        if (!line_check_interface(line, interfaces->item[i], error)) {
            return false;
        }
    }
    return true;
}

bool line_add_devices(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    if (!check_disks_and_interfaces(line, error)) {
        return false;
    }
    for (int pass = 0; pass < 3; pass++) {
        for (unsigned kind = 0; kind < DOMAIN_DEVICE_KINDS; kind++) {
            for (unsigned i = 0; i < def->devices[kind].count; i++) {
                DomainDevice *device = def->devices[kind].item[i];
                if (pass_of(device) == pass && !line_add_device(line, device, error)) {
                    return false;
                }
            }
        }
    }
    if (!def->devices[DEVICE_GRAPHICS].count) {
        line_add(line, "-display", g_strdup("none"));
    }
    return true;
}
