/* Arguments of devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/backing-chain.h"
#include "daemon/domain/command-line-private.h"
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

/* "virtio-net-pci", or its virtio-mmio form. */
static char *virtio_name(const CommandLine *line, const char *kind)
{
    return g_strdup_printf("virtio-%s-%s", kind, is_microvm(line) ? "device" : "pci");
}

static char *with_boot(char *text, const DomainDevice *device)
{
    if (!device->boot_order) {
        return text;
    }
    char *longer = g_strdup_printf("%s,bootindex=%u", text, device->boot_order);
    g_free(text);
    return longer;
}

/* --- disks --- */

static const char *error_policy(DomainErrorPolicy policy)
{
    static const char *const words[] = { [ERROR_POLICY_STOP] = "stop",
                                         [ERROR_POLICY_REPORT] = "report",
                                         [ERROR_POLICY_IGNORE] = "ignore",
                                         [ERROR_POLICY_ENOSPACE] = "enospc" };
    return words[policy];
}

static const char *disk_format(const DomainDisk *disk)
{
    return disk->driver.format ? domain_name(image_format, disk->driver.format) : "raw";
}

/* @tree: of an image with backing files, or NULL. */
static char *disk_drive(CommandLine *line, const DomainDisk *disk, unsigned set, const char *tree)
{
    const DomainDiskDriver *driver = &disk->driver;
    const char *format = disk_format(disk);
    GString *text = g_string_new(NULL);
    if (tree) {
        g_autofree char *escaped = line_escape(tree);
        g_string_append_printf(text, "file=json:%s,", escaped);
    } else if (set) {
        g_string_append_printf(text, "file=/dev/fdset/%u,format=%s,", set, format);
    }
    g_string_append_printf(text, "if=none,id=drive-%s", disk->device.alias);
    if (disk->device_type == DISK_DEVICE_CDROM && line->engine == ENGINE_QEMU) {
        g_string_append(text, ",media=cdrom");
    }
    if (disk->is_readonly || disk->device_type == DISK_DEVICE_CDROM) {
        g_string_append(text, ",readonly=on");
    } else if (line->engine == ENGINE_QEMU) {
        /* Else QEMU starts with a second, read-only descriptor, whose locks stay and are in the way
         * of block_resize. */
        g_string_append(text, ",auto-read-only=off");
    }
    if (driver->cache > DISK_CACHE_DEFAULT) {
        g_string_append_printf(text, ",cache=%s", domain_name(disk_cache, driver->cache));
    }
    if (driver->discard) {
        g_string_append_printf(text, ",discard=%s", domain_name(discard, driver->discard));
    }
    if (driver->io) {
        g_string_append_printf(text, ",aio=%s", domain_name(disk_io, driver->io));
    }
    if (driver->error_policy && disk->device_type != DISK_DEVICE_CDROM) {
        g_string_append_printf(text, ",werror=%s", error_policy(driver->error_policy));
    }
    if (driver->rerror_policy) {
        g_string_append_printf(text, ",rerror=%s", error_policy(driver->rerror_policy));
    }
    return g_string_free(text, FALSE);
}

static char *ide_device(CommandLine *line, const DomainDisk *disk)
{
    const char *kind = disk->device_type == DISK_DEVICE_CDROM ? "ide-cd" : "ide-hd";
    const DomainAddress *address = &disk->device.address;
    g_autofree char *bus = NULL;
    if (disk->bus == DISK_BUS_SATA) {
        /* The ports of Q35's own controller are its "ide" buses. */
        bool is_first = address->controller == 0 && domain_def_is_q35(line->def);
        bus = is_first ? g_strdup_printf("ide.%u", address->unit)
                       : g_strdup_printf("sata%u.%u", address->controller, address->unit);
    } else {
        bus = g_strdup_printf("ide.%u,unit=%u", address->bus, address->unit);
    }
    return g_strdup_printf("%s,bus=%s,drive=drive-%s,id=%s", kind, bus, disk->device.alias,
                           disk->device.alias);
}

static char *disk_device(CommandLine *line, const DomainDisk *disk, GError **error)
{
    const DomainDevice *device = &disk->device;
    g_autofree char *address = line_address(line, device);
    char *text = NULL;
    if (disk->bus == DISK_BUS_VIRTIO && disk->device_type != DISK_DEVICE_CDROM) {
        g_autofree char *name = virtio_name(line, "blk");
        text = g_strdup_printf("%s%s,drive=drive-%s,id=%s", name, address, device->alias,
                               device->alias);
        if (disk->driver.queues) {
            char *longer = g_strdup_printf("%s,num-queues=%u", text, disk->driver.queues);
            g_free(text);
            text = longer;
        }
        if (disk->driver.iothread) {
            char *longer = g_strdup_printf("%s,iothread=iothread%u", text, disk->driver.iothread);
            g_free(text);
            text = longer;
        }
    } else if (line->engine == ENGINE_LODGE) {
        line_refuse(line, error, "%s '%s' on bus '%s'", domain_name(disk_device, disk->device_type),
                    disk->target_dev, domain_name(disk_bus, disk->bus));
        return NULL;
    } else if (disk->bus == DISK_BUS_SATA || disk->bus == DISK_BUS_IDE) {
        text = ide_device(line, disk);
    } else if (disk->bus == DISK_BUS_SCSI) {
        const DomainAddress *a = &device->address;
        text = g_strdup_printf("%s,bus=scsi%u.0,channel=0,scsi-id=%u,lun=%u,drive=drive-%s,id=%s",
                               disk->device_type == DISK_DEVICE_CDROM ? "scsi-cd" : "scsi-hd",
                               a->controller, a->target, a->unit, device->alias, device->alias);
    } else if (disk->bus == DISK_BUS_USB) {
        text = g_strdup_printf("usb-storage,bus=usb.0,drive=drive-%s,id=%s", device->alias,
                               device->alias);
    } else if (disk->bus == DISK_BUS_FDC) {
        text = g_strdup_printf("floppy,unit=%u,drive=drive-%s,id=%s", device->address.unit,
                               device->alias, device->alias);
    } else {
        line_refuse(line, error, "disk '%s' on bus '%s'", disk->target_dev,
                    domain_name(disk_bus, disk->bus) ?: "none");
        return NULL;
    }
    if (disk->serial) {
        g_autofree char *serial = line_escape(disk->serial);
        char *longer = g_strdup_printf("%s,serial=%s", text, serial);
        g_free(text);
        text = longer;
    }
    return with_boot(text, device);
}

static bool has_medium(const DomainDisk *disk)
{
    return disk->source.path || disk->source.type == SOURCE_NETWORK;
}

bool line_add_reader(CommandLine *line, unsigned set, int fd, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int reader = line->ops->open_file(line->opaque, path, false, error);
    if (reader < 0) {
        return false;
    }
    line_add_fd_to(line, set, reader);
    return true;
}

/* Opens the files behind an image, so that the guest's process needs no rights to them, and a name
 * relative to the image means what it says. @out_tree: the whole as JSON (transfer full), or NULL:
 * there are none. */
static bool add_backing(CommandLine *line, const DomainDisk *disk, unsigned set, char **out_tree,
                        GError **error)
{
    g_autoptr(GPtrArray) layers = NULL;
    if (!backing_chain_read(disk->source.path, disk_format(disk), &layers, error)) {
        return false;
    }
    if (!layers) {
        return true;
    }
    GString *tree = g_string_new(NULL);
    g_string_append_printf(tree,
                           "{\"driver\":\"%s\",\"file\":{\"driver\":\"file\",\"filename\":"
                           "\"/dev/fdset/%u\"}",
                           disk_format(disk), set);
    for (unsigned i = 0; i < layers->len; i++) {
        const BackingLayer *layer = layers->pdata[i];
        int fd = line->ops->open_file(line->opaque, layer->path, false, error);
        if (fd < 0) {
            g_string_free(tree, TRUE);
            g_prefix_error(error, "disk '%s': backing file: ", disk->target_dev);
            return false;
        }
        g_string_append_printf(tree,
                               ",\"backing\":{\"driver\":\"%s\",\"file\":{\"driver\":\"file\","
                               "\"filename\":\"/dev/fdset/%u\"}",
                               layer->format, line_add_fd(line, fd));
    }
    for (unsigned i = 0; i <= layers->len; i++) {
        g_string_append_c(tree, '}');
    }
    *out_tree = g_string_free(tree, FALSE);
    return true;
}

static bool add_disk(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainDisk *disk = (DomainDisk *)device;
    g_autofree char *text = disk_device(line, disk, error);
    if (!text) {
        return false;
    }
    unsigned set = 0;
    g_autofree char *tree = NULL;
    if (has_medium(disk)) {
        if (disk->source.type != SOURCE_FILE && disk->source.type != SOURCE_BLOCK) {
            return line_refuse(line, error, "disk '%s' of type '%s'", disk->target_dev,
                               domain_name(source_type, disk->source.type));
        }
        int fd = line->ops->open_disk(line->opaque, disk, error);
        if (fd < 0) {
            return false;
        }
        set = line_add_fd(line, fd);
        if (!add_backing(line, disk, set, &tree, error)) {
            return false;
        }
    } else if (line->engine == ENGINE_LODGE) {
        return line_refuse(line, error, "empty drive '%s'", disk->target_dev);
    }
    line_add(line, "-drive", disk_drive(line, disk, set, tree));
    line_add(line, "-device", g_steal_pointer(&text));
    return true;
}

/* --- interfaces --- */

static void append_forwards(GString *text, const DomainInterface *interface)
{
    for (unsigned i = 0; i < interface->port_forwards.count; i++) {
        const DomainPortForward *forward = interface->port_forwards.item[i];
        for (unsigned r = 0; r < forward->ranges.count; r++) {
            const DomainPortRange *range = forward->ranges.item[r];
            unsigned end = range->end ? range->end : range->start;
            for (unsigned port = range->start; port <= end && range->exclude != TRI_YES; port++) {
                g_string_append_printf(
                    text, ",hostfwd=%s:%s:%u-:%u", forward->proto ?: "tcp", forward->address ?: "",
                    port, (range->to ? range->to : range->start) + port - range->start);
            }
        }
    }
}

static char *netdev_backend(CommandLine *line, DomainInterface *interface, GError **error)
{
    GString *text = g_string_new(NULL);
    switch (interface->type) {
    case INTERFACE_USER:
        g_string_append_printf(text, "user,id=host%s", interface->device.alias);
        append_forwards(text, interface);
        return g_string_free(text, FALSE);
    case INTERFACE_BRIDGE:
    case INTERFACE_ETHERNET: {
        int fd = line->ops->open_tap(line->opaque, interface, error);
        if (fd < 0) {
            break;
        }
        g_array_append_val(line->fds, fd);
        g_string_append_printf(text, "tap,fd=%d,id=host%s", fd, interface->device.alias);
        return g_string_free(text, FALSE);
    }
    case INTERFACE_NETWORK:
        daemon_error_set(error, DAEMON_ERROR_NO_NETWORK,
                         "Network not found: no network with matching name '%s'; use an interface "
                         "of type 'user' or 'bridge'",
                         interface->source_network ?: "");
        break;
    default:
        line_refuse(line, error, "interface of type '%s'",
                    domain_name(interface_type, interface->type));
    }
    g_string_free(text, TRUE);
    return NULL;
}

static char *net_device(CommandLine *line, const DomainInterface *interface, GError **error)
{
    const char *model = interface->model ?: line->engine == ENGINE_QEMU ? "rtl8139" : "virtio";
    g_autofree char *address = line_address(line, &interface->device);
    g_autofree char *name = NULL;
    const uint8_t *mac = interface->mac.byte;
    if (g_str_has_prefix(model, "virtio")) {
        name = virtio_name(line, "net");
    } else if (line->engine == ENGINE_LODGE) {
        line_refuse(line, error, "network card '%s'", model);
        return NULL;
    } else {
        name = g_strdup(model);
    }
    char *text = g_strdup_printf("%s,netdev=host%s,id=%s,mac=%02x:%02x:%02x:%02x:%02x:%02x%s", name,
                                 interface->device.alias, interface->device.alias, mac[0], mac[1],
                                 mac[2], mac[3], mac[4], mac[5], address);
    if (interface->mtu) {
        char *longer = g_strdup_printf("%s,host_mtu=%u", text, interface->mtu);
        g_free(text);
        text = longer;
    }
    return with_boot(text, &interface->device);
}

static bool add_interface(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainInterface *interface = (DomainInterface *)device;
    g_autofree char *card = net_device(line, interface, error);
    g_autofree char *backend = card ? netdev_backend(line, interface, error) : NULL;
    if (!backend) {
        return false;
    }
    line_add(line, "-netdev", g_steal_pointer(&backend));
    line_add(line, "-device", g_steal_pointer(&card));
    return true;
}

/* --- character devices --- */

/* A listening socket at @path (made up and filled in when NULL). */
static bool add_unix_listener(CommandLine *line, DomainChardev *source, const char *id,
                              const char *name, GString *text, GError **error)
{
    if (!source->path) {
        g_autofree char *file = g_strdup(name);
        g_strdelimit(file, "/", '_');
        source->path = g_strdup_printf("%s/%s", line->socket_dir, file);
    }
    int fd = line->ops->listen_unix(line->opaque, source->path, error);
    if (fd < 0) {
        return false;
    }
    g_array_append_val(line->fds, fd);
    g_string_append_printf(text, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
    return true;
}

static bool append_file(CommandLine *line, GString *text, const char *option, const char *path,
                        GError **error)
{
    int fd = line->ops->open_file(line->opaque, path, true, error);
    if (fd < 0) {
        return false;
    }
    g_string_append_printf(text, ",%s=/dev/fdset/%u", option, line_add_fd(line, fd));
    return true;
}

static bool add_chardev(CommandLine *line, DomainChardev *source, const char *alias,
                        const char *name, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *id = g_strdup_printf("char%s", alias);
    bool ok = true;
    switch (source->type) {
    case CHARDEV_PTY:
    case CHARDEV_NULL:
        g_string_printf(text, "%s,id=%s", domain_name(chardev_type, source->type), id);
        break;
    case CHARDEV_FILE:
        g_string_printf(text, "file,id=%s%s", id, source->append == TRI_YES ? ",append=on" : "");
        ok = append_file(line, text, "path", source->path ?: "", error);
        break;
    case CHARDEV_PIPE:
        g_string_printf(text, "pipe,id=%s,path=%s", id, source->path);
        break;
    case CHARDEV_UNIX:
        if (source->mode == SOCKET_BIND || !source->path) {
            ok = add_unix_listener(line, source, id, name, text, error);
        } else {
            g_autofree char *path = line_escape(source->path);
            g_string_printf(text, "socket,id=%s,path=%s", id, path);
        }
        break;
    case CHARDEV_TCP:
        g_string_printf(text, "socket,id=%s,host=%s,port=%s%s%s", id, source->host, source->service,
                        source->mode == SOCKET_BIND ? ",server=on,wait=off" : "",
                        source->protocol == TCP_TELNET ? ",telnet=on" : "");
        break;
    default:
        return line_refuse(line, error, "%s with a back end of type '%s'", name,
                           domain_name(chardev_type, source->type) ?: "none");
    }
    if (ok && source->log_file) {
        ok = append_file(line, text, "logfile", source->log_file, error);
        g_string_append(text, ",logappend=on");
    }
    if (ok) {
        line_add(line, "-chardev", g_strdup(text->str));
    }
    return ok;
}

static bool add_serial(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *serial = (DomainCharDevice *)device;
    const char *model = "isa-serial";
    if (serial->serial_type == SERIAL_PCI || serial->serial_type == SERIAL_USB) {
        model = domain_name(serial_target, serial->serial_type);
        if (line->engine == ENGINE_LODGE) {
            return line_refuse(line, error, "serial port '%s'", model);
        }
    }
    if (serial->serial_type == SERIAL_ISA_DEBUG) {
        model = "isa-debugcon";
    }
    if (!add_chardev(line, &serial->source, device->alias, "a serial port", error)) {
        return false;
    }
    line_add(line, "-device",
             strcmp(model, "isa-serial") == 0
                 ? g_strdup_printf("%s,chardev=char%s,id=%s,index=%" G_GUINT64_FORMAT, model,
                                   device->alias, device->alias, serial->port.value)
                 : g_strdup_printf("%s,chardev=char%s,id=%s", model, device->alias, device->alias));
    return true;
}

static char *serial_bus(const DomainDevice *device)
{
    const DomainAddress *address = &device->address;
    return address->type == ADDRESS_VIRTIO_SERIAL
               ? g_strdup_printf(",bus=virtio-serial%u.0,nr=%u", address->controller, address->port)
               : g_strdup("");
}

static bool add_console(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *console = (DomainCharDevice *)device;
    if (console->console_type != CONSOLE_VIRTIO) {
        return true; /* another name of a serial port */
    }
    g_autofree char *bus = serial_bus(device);
    if (!add_chardev(line, &console->source, device->alias, "a console", error)) {
        return false;
    }
    line_add(
        line, "-device",
        g_strdup_printf("virtconsole%s,chardev=char%s,id=%s", bus, device->alias, device->alias));
    return true;
}

static bool add_channel(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *channel = (DomainCharDevice *)device;
    const char *name = channel->channel_name ?: device->alias;
    if (channel->channel_type != CHANNEL_VIRTIO) {
        return line_refuse(line, error, "channel of type '%s'",
                           domain_name(channel_target, channel->channel_type) ?: "none");
    }
    g_autofree char *bus = serial_bus(device);
    g_autofree char *escaped = line_escape(name);
    if (!add_chardev(line, &channel->source, device->alias, name, error)) {
        return false;
    }
    line_add(line, "-device",
             g_strdup_printf("virtserialport%s,chardev=char%s,id=%s,name=%s", bus, device->alias,
                             device->alias, escaped));
    return true;
}

/* --- others --- */

static char *pci_controller(CommandLine *line, const DomainController *controller, GError **error)
{
    const DomainDevice *device = &controller->device;
    g_autofree char *address = line_address(line, device);
    switch (controller->model) {
    case PCI_MODEL_ROOT:
    case PCI_MODEL_PCIE_ROOT:
        return NULL;
    case PCI_MODEL_ROOT_PORT:
        return g_strdup_printf(
            "pcie-root-port,port=%" G_GUINT64_FORMAT ",chassis=%" G_GUINT64_FORMAT ",id=%s%s",
            controller->port.value, controller->chassis.value, device->alias, address);
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
    line_refuse(line, error, "PCI controller '%s'",
                domain_name(controller_model, controller->model) ?: "none");
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
    if (controller->model == USB_MODEL_QEMU_XHCI && controller->ports.set) {
        return g_strdup_printf("%s,p2=%" G_GUINT64_FORMAT ",p3=%" G_GUINT64_FORMAT ",id=%s%s", name,
                               controller->ports.value, controller->ports.value,
                               controller->device.alias, address);
    }
    return g_strdup_printf("%s,id=%s%s", name, controller->device.alias, address);
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
        g_autofree char *name = virtio_name(line, "serial");
        return g_strdup_printf("%s,id=%s%s", name, alias, address);
    }
    case CONTROLLER_SATA:
        if (controller->index.value == 0 && domain_def_is_q35(line->def)) {
            return NULL; /* the chipset's */
        }
        break;
    case CONTROLLER_IDE:
    case CONTROLLER_FDC:
    case CONTROLLER_ISA:
        return NULL;
    case CONTROLLER_SCSI:
        if (line->engine == ENGINE_QEMU) {
            return g_strdup_printf("virtio-scsi-pci,id=%s%s", alias, address);
        }
        break;
    default:
        break;
    }
    if (line->engine == ENGINE_QEMU && controller->type == CONTROLLER_SATA) {
        return g_strdup_printf("ahci,id=%s%s", alias, address);
    }
    line_refuse(line, error, "controller of type '%s'",
                domain_name(controller_type, controller->type));
    return NULL;
}

static char *input_device(CommandLine *line, const DomainInput *input, GError **error)
{
    static const char *const kinds[] = {
        [INPUT_MOUSE] = "mouse", [INPUT_TABLET] = "tablet", [INPUT_KEYBOARD] = "keyboard"
    };
    const char *alias = input->device.alias;
    if (input->bus == INPUT_BUS_PS2) {
        return NULL; /* the machine has them */
    }
    if (line->engine == ENGINE_QEMU && input->type >= INPUT_MOUSE &&
        input->type <= INPUT_KEYBOARD) {
        const char *kind = kinds[input->type];
        if (input->bus == INPUT_BUS_USB) {
            return g_strdup_printf("usb-%s,id=%s,bus=usb.0",
                                   input->type == INPUT_KEYBOARD ? "kbd" : kind, alias);
        }
        if (input->bus == INPUT_BUS_VIRTIO) {
            g_autofree char *address = line_address(line, &input->device);
            return g_strdup_printf("virtio-%s-pci,id=%s%s", kind, alias, address);
        }
    }
    line_refuse(line, error, "input device '%s' on bus '%s'", domain_name(input_type, input->type),
                domain_name(input_bus, input->bus) ?: "none");
    return NULL;
}

static char *video_device(CommandLine *line, const DomainVideo *video, GError **error)
{
    g_autofree char *address = line_address(line, &video->device);
    const char *alias = video->device.alias;
    if (video->model == VIDEO_NO) {
        return NULL;
    }
    const char *name = video->model == VIDEO_VGA      ? "VGA"
                       : video->model == VIDEO_CIRRUS ? "cirrus-vga"
                       : video->model == VIDEO_VMVGA  ? "vmware-svga"
                       : video->model == VIDEO_BOCHS  ? "bochs-display"
                       : video->model == VIDEO_VIRTIO ? "virtio-vga"
                       : video->model == VIDEO_QXL    ? "qxl-vga"
                                                      : NULL;
    if (!name || line->engine == ENGINE_LODGE) {
        line_refuse(line, error, "video device '%s'", domain_name(video_model, video->model));
        return NULL;
    }
    return g_strdup_printf("%s,id=%s%s", name, alias, address);
}

static char *sound_device(CommandLine *line, const DomainSound *sound, GError **error)
{
    g_autofree char *address = line_address(line, &sound->device);
    const char *name = sound->model == SOUND_ICH6   ? "intel-hda"
                       : sound->model == SOUND_ICH9 ? "ich9-intel-hda"
                       : sound->model == SOUND_AC97 ? "AC97"
                       : sound->model == SOUND_USB  ? "usb-audio"
                                                    : NULL;
    if (!name || line->engine == ENGINE_LODGE) {
        line_refuse(line, error, "sound device '%s'", domain_name(sound_model, sound->model));
        return NULL;
    }
    return g_strdup_printf("%s,id=%s%s", name, sound->device.alias, address);
}

static char *watchdog_device(CommandLine *line, const DomainWatchdog *watchdog, GError **error)
{
    g_autofree char *address = line_address(line, &watchdog->device);
    if (line->engine == ENGINE_LODGE) {
        line_refuse(line, error, "watchdog '%s'", domain_name(watchdog_model, watchdog->model));
        return NULL;
    }
    return watchdog->model == WATCHDOG_ITCO
               ? NULL
               : g_strdup_printf("%s,id=%s%s", domain_name(watchdog_model, watchdog->model),
                                 watchdog->device.alias, address);
}

static char *balloon_device(CommandLine *line, const DomainMemballoon *balloon)
{
    g_autofree char *address = line_address(line, &balloon->device);
    g_autofree char *name = virtio_name(line, "balloon");
    return balloon->model == BALLOON_NO
               ? NULL
               : g_strdup_printf("%s,id=%s%s%s", name, balloon->device.alias, address,
                                 balloon->autodeflate == TRI_YES ? ",deflate-on-oom=on" : "");
}

static char *rng_device(CommandLine *line, const DomainRng *rng)
{
    g_autofree char *address = line_address(line, &rng->device);
    g_autofree char *name = virtio_name(line, "rng");
    GString *text = g_string_new(NULL);
    g_string_printf(text, "%s,rng=obj%s,id=%s%s", name, rng->device.alias, rng->device.alias,
                    address);
    if (rng->rate_bytes) {
        g_string_append_printf(text, ",max-bytes=%u,period=%u", rng->rate_bytes,
                               rng->rate_period_ms ?: 1000);
    }
    return g_string_free(text, FALSE);
}

static char *panic_device(const DomainPanic *panic)
{
    return panic->model == PANIC_HYPERV ? NULL : g_strdup("pvpanic");
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
    case DEVICE_SOUND:
        return sound_device(line, (DomainSound *)device, error);
    case DEVICE_WATCHDOG:
        return watchdog_device(line, (DomainWatchdog *)device, error);
    case DEVICE_MEMBALLOON:
        return balloon_device(line, (DomainMemballoon *)device);
    case DEVICE_RNG:
        return rng_device(line, (DomainRng *)device);
    case DEVICE_PANIC:
        return panic_device((DomainPanic *)device);
    case DEVICE_AUDIO:
    case DEVICE_HUB:
        return NULL;
    default:
        line_refuse(line, error, "device <%s>", domain_device_kind_name(device->kind));
        return NULL;
    }
}

static bool add_graphics(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainGraphics *graphics = (DomainGraphics *)device;
    if (line->engine == ENGINE_LODGE || graphics->type != GRAPHICS_VNC) {
        return line_refuse(line, error, "graphics of type '%s'",
                           domain_name(graphics_type, graphics->type));
    }
    const DomainGraphicsListen *listen = graphics->listens.count ? graphics->listens.item[0] : NULL;
    if (listen && listen->type == LISTEN_SOCKET) {
        g_autofree char *path = listen->socket ? line_escape(listen->socket)
                                               : g_strdup_printf("%s/vnc.sock", line->socket_dir);
        line_add(line, "-vnc", g_strdup_printf("vnc=unix:%s", path));
        return true;
    }
    if (listen && listen->type == LISTEN_NOWHERE) {
        line_add(line, "-vnc", g_strdup("none"));
        return true;
    }
    line_add(line, "-vnc",
             g_strdup_printf("%s:%d%s", listen && listen->address ? listen->address : "127.0.0.1",
                             (int)graphics->port - 5900, graphics->passwd ? ",password=on" : ""));
    return true;
}

static bool add_rng_backend(CommandLine *line, const DomainRng *rng, GError **error)
{
    if (rng->backend == RNG_EGD) {
        return line_refuse(line, error, "random numbers from an EGD");
    }
    line_add(line, "-object",
             rng->backend == RNG_RANDOM && line->engine == ENGINE_QEMU
                 ? g_strdup_printf("rng-random,id=obj%s,filename=%s", rng->device.alias,
                                   rng->path ?: "/dev/urandom")
                 : g_strdup_printf("rng-builtin,id=obj%s", rng->device.alias));
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
    if (device->kind == DEVICE_SOUND && ((DomainSound *)device)->model != SOUND_AC97 &&
        ((DomainSound *)device)->model != SOUND_USB) {
        line_add(line, "-device",
                 g_strdup_printf("hda-duplex,id=%s-codec0,bus=%s.0,cad=0", device->alias,
                                 device->alias));
    }
    return true;
}

typedef bool (*AddDevice)(CommandLine *line, DomainDevice *device, GError **error);

static AddDevice adder_of(DomainDeviceKind kind)
{
    switch (kind) {
    case DEVICE_DISK:
        return add_disk;
    case DEVICE_INTERFACE:
        return add_interface;
    case DEVICE_SERIAL:
        return add_serial;
    case DEVICE_CONSOLE:
        return add_console;
    case DEVICE_CHANNEL:
        return add_channel;
    case DEVICE_GRAPHICS:
        return add_graphics;
    default:
        return add_simple;
    }
}

/* PCI controllers come first, then others, then what sits on them. */
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
    bool ok = adder_of(device->kind)(line, device, error);
    line->owner = NULL;
    return ok;
}

bool line_add_devices(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
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
