/* Arguments of devices that have a part of the host behind them: <hostdev>, <vsock>, <shmem>,
 * <redirdev>, <input> of the host's devices.
 *
 * QEMU opens VFIO's groups by itself: they are given to its user before it starts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"

#include <stdio.h>
#include <string.h>

char *line_usb_address(const DomainDevice *device)
{
    const DomainAddress *address = &device->address;
    if (address->type != ADDRESS_USB) {
        return g_strdup(",bus=usb.0");
    }
    g_autofree char *bus =
        address->bus ? g_strdup_printf("usb%u.0", address->bus) : g_strdup("usb.0");
    return address->usb_port ? g_strdup_printf(",bus=%s,port=%s", bus, address->usb_port)
                             : g_strdup_printf(",bus=%s", bus);
}

/* guestReset: which resets by the guest reach the device. */
static const char *usb_resets(const DomainHostdev *hostdev)
{
    const char *word = hostdev->guest_reset ?: "";
    return strcmp(word, "off") == 0             ? ",guest-reset=off"
           : strcmp(word, "uninitialized") == 0 ? ",guest-reset=on,guest-resets-all=off"
           : strcmp(word, "on") == 0            ? ",guest-reset=on,guest-resets-all=on"
                                                : "";
}

static bool add_usb(CommandLine *line, const DomainHostdev *hostdev, int fd)
{
    g_autofree char *address = line_usb_address(&hostdev->device);
    if (fd >= 0) { /* else it is optional, and not there */
        line_add(line, "-device",
                 line_finish(line,
                             g_strdup_printf("usb-host,hostdevice=/dev/fdset/%u%s,id=%s%s",
                                             line_add_fd(line, fd), usb_resets(hostdev),
                                             hostdev->device.alias, address),
                             &hostdev->device));
    }
    return true;
}

static bool add_pci(CommandLine *line, const DomainHostdev *hostdev)
{
    g_autofree char *address = line_address(line, &hostdev->device);
    line_add(line, "-device",
             line_finish(line,
                         g_strdup_printf("vfio-pci,host=%04x:%02x:%02x.%x,id=%s%s",
                                         hostdev->pci.domain, hostdev->pci.bus, hostdev->pci.slot,
                                         hostdev->pci.function, hostdev->device.alias, address),
                         &hostdev->device));
    return true;
}

static bool add_mdev(CommandLine *line, const DomainHostdev *hostdev)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&hostdev->mdev, uuid);
    g_autofree char *address = line_address(line, &hostdev->device);
    GString *text = g_string_new("vfio-pci");
    if (hostdev->ramfb == TRI_YES) {
        g_string_append(text, "-nohotplug,ramfb=on");
    }
    g_string_append_printf(text, ",id=%s,sysfsdev=/sys/bus/mdev/devices/%s", hostdev->device.alias,
                           uuid);
    line_append_tri(text, "display", hostdev->display);
    g_string_append(text, address);
    line_add(line, "-device", line_finish(line, g_string_free(text, FALSE), &hostdev->device));
    return true;
}

/* A controller whose devices have an id each, and no units below it. */
static bool is_narrow(const DomainDef *def, unsigned controller)
{
    const XmlList *list = &def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainController *one = list->item[i];
        if (one->type == CONTROLLER_SCSI && one->index.value == controller) {
            return one->model == SCSI_MODEL_LSILOGIC;
        }
    }
    return false;
}

/* QEMU asks by the file's name whether it is a SCSI device, so it cannot be a set; it opens the
 * descriptor's file anew, as its user. */
static bool add_scsi(CommandLine *line, const DomainHostdev *hostdev, int fd)
{
    const DomainAddress *at = &hostdev->device.address;
    g_array_append_val(line->fds, fd);
    line_add(line, "-blockdev",
             g_strdup_printf("driver=host_device,node-name=drive-%s,read-only=%s,"
                             "filename=/proc/self/fd/%d",
                             hostdev->device.alias, hostdev->is_readonly ? "on" : "off", fd));
    GString *text = g_string_new(NULL);
    g_string_printf(text, "scsi-generic,drive=drive-%s,id=%s,bus=scsi%u.0", hostdev->device.alias,
                    hostdev->device.alias, at->controller);
    if (is_narrow(line->def, at->controller)) {
        g_string_append_printf(text, ",scsi-id=%u", at->unit);
    } else {
        g_string_append_printf(text, ",channel=%u,scsi-id=%u,lun=%u", at->bus, at->target,
                               at->unit);
    }
    line_add(line, "-device", line_finish(line, g_string_free(text, FALSE), &hostdev->device));
    return true;
}

/* What of <hostdev> no start here uses. */
static bool check_hostdev(const CommandLine *line, const DomainHostdev *hostdev, GError **error)
{
    const char *type = domain_name(hostdev_type, hostdev->type) ?: "none";
    if (hostdev->mode == HOSTDEV_CAPABILITIES) {
        return line_refuse_unless(line, false, error, "<hostdev mode='capabilities'>");
    }
    if (hostdev->type == HOSTDEV_MDEV &&
        !device_table_word(PROPERTY_MDEV, (int)hostdev->mdev_model, line->engine)) {
        return line_refuse_unless(
            line, device_table_has(PROPERTY_MDEV, (int)hostdev->mdev_model, ENGINE_QEMU), error,
            "<hostdev type='mdev' model='%s'>",
            domain_name(mdev_model, hostdev->mdev_model) ?: "none");
    }
    if (hostdev->type != HOSTDEV_MDEV &&
        !device_table_word(PROPERTY_HOSTDEV_TYPE, (int)hostdev->type, line->engine)) {
        return line_refuse_unless(
            line, device_table_has(PROPERTY_HOSTDEV_TYPE, (int)hostdev->type, ENGINE_QEMU), error,
            "<hostdev type='%s'>", type);
    }
    if (hostdev->type == HOSTDEV_SCSI && g_strcmp0(hostdev->scsi_protocol, "iscsi") == 0) {
        return line_refuse(line, error, "<hostdev type='scsi'> with the protocol 'iscsi'");
    }
    if (hostdev->type == HOSTDEV_SCSI && hostdev->is_shareable) {
        return line_refuse(line, error, "<hostdev type='scsi'> that is <shareable/>");
    }
    if (hostdev->driver && hostdev->driver != PCI_DRIVER_VFIO) {
        return line_refuse_unless(line, false, error, "<hostdev> with the driver '%s'",
                                  domain_name(pci_driver, hostdev->driver));
    }
    return true;
}

bool line_add_hostdev(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainHostdev *hostdev = (DomainHostdev *)device;
    int fd = -1;
    if (!check_hostdev(line, hostdev, error) ||
        !line->ops->take_hostdev(line->opaque, hostdev, &fd, error)) {
        return false;
    }
    return hostdev->type == HOSTDEV_USB    ? add_usb(line, hostdev, fd)
           : hostdev->type == HOSTDEV_PCI  ? add_pci(line, hostdev)
           : hostdev->type == HOSTDEV_SCSI ? add_scsi(line, hostdev, fd)
                                           : add_mdev(line, hostdev);
}

bool line_add_vsock(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainVsock *vsock = (DomainVsock *)device;
    DomainVirtioModel model = vsock->model ? vsock->model : VIRTIO_MODEL_VIRTIO;
    const char *word = device_table_word(PROPERTY_VSOCK, (int)model, line->engine);
    if (!word) {
        return line_refuse_unless(line, device_table_has(PROPERTY_VSOCK, (int)model, ENGINE_QEMU),
                                  error, "device <vsock>");
    }
    int fd = line->ops->open_vsock(line->opaque, vsock, error);
    if (fd < 0) {
        return false;
    }
    g_array_append_val(line->fds, fd);
    g_autofree char *address = line_address(line, device);
    g_autofree char *options = line_virtio_options(&vsock->virtio);
    line_add(
        line, "-device",
        line_finish(line,
                    g_strdup_printf("vhost-vsock-pci%s,id=%s,guest-cid=%" G_GUINT64_FORMAT
                                    ",vhostfd=%d%s%s",
                                    word, device->alias, vsock->cid.value, fd, options, address),
                    device));
    return true;
}

/* QEMU makes the memory by its name, as its user: guests that share it need one user. */
static void add_shared_memory(CommandLine *line, const DomainShmem *shmem)
{
    g_autofree char *name = line_escape(shmem->name);
    line_add(line, "-object",
             g_strdup_printf(
                 "memory-backend-file,id=shmmem-%s,mem-path=/dev/shm/%s,size=%" G_GUINT64_FORMAT
                 "m,share=on",
                 shmem->device.alias, name, shmem->size_mib ? shmem->size_mib : 4));
}

bool line_add_shmem(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainShmem *shmem = (const DomainShmem *)device;
    bool is_plain = shmem->model == SHMEM_IVSHMEM_PLAIN;
    bool is_known = is_plain || shmem->model == SHMEM_IVSHMEM_DOORBELL;
    if (line->engine == ENGINE_LODGE || !is_known) {
        return line_refuse_unless(line, is_known, error, "<shmem> of the model '%s'",
                                  domain_name(shmem_model, shmem->model) ?: "none");
    }
    g_autofree char *address = line_address(line, device);
    GString *text = g_string_new(NULL);
    if (is_plain) {
        add_shared_memory(line, shmem);
        g_string_printf(text, "ivshmem-plain,id=%s,memdev=shmmem-%s%s", device->alias,
                        device->alias, shmem->role == SHMEM_ROLE_PEER ? ",master=off" : "");
    } else {
        g_autofree char *usual = g_strdup_printf("/var/lib/libvirt/shmem-%s-sock", shmem->name);
        g_autofree char *path = line_escape(shmem->server_path ?: usual);
        line_add(line, "-chardev",
                 g_strdup_printf("socket,id=char%s,path=%s", device->alias, path));
        g_string_printf(text, "ivshmem-doorbell,id=%s,chardev=char%s%s", device->alias,
                        device->alias, shmem->role == SHMEM_ROLE_PEER ? ",master=off" : "");
        if (shmem->msi_vectors.set) {
            g_string_append_printf(text, ",vectors=%" G_GUINT64_FORMAT, shmem->msi_vectors.value);
        }
        line_append_tri(text, "ioeventfd", shmem->msi_ioeventfd);
    }
    g_string_append(text, address);
    line_add(line, "-device", g_string_free(text, FALSE));
    return true;
}

/* "0x0256" of "2.56": binary-coded decimals. */
static int usb_version(const char *text)
{
    unsigned major = 0;
    unsigned minor = 0;
    if (!text || strcmp(text, "-1") == 0 || sscanf(text, "%2u.%2u", &major, &minor) < 1) {
        return -1;
    }
    return (int)((major / 10) << 12 | (major % 10) << 8 | (minor / 10) << 4 | minor % 10);
}

/* A number in any base, as hexadecimal; absent: any. */
static void append_usb_number(GString *text, const char *number, unsigned digits)
{
    gint64 value = number ? g_ascii_strtoll(number, NULL, 0) : -1;
    if (value < 0) {
        g_string_append(text, "-1:");
    } else {
        g_string_append_printf(text, "0x%0*X:", (int)digits, (unsigned)value);
    }
}

/* Which devices may come, by QEMU's notation: rules with "|" between. */
static void append_filter(GString *text, const XmlList *filters)
{
    const DomainRedirfilter *filter = filters->count ? filters->item[0] : NULL;
    for (unsigned i = 0; filter && i < filter->rules.count; i++) {
        const DomainRedirfilterRule *rule = filter->rules.item[i];
        g_string_append(text, i ? "|" : ",filter=");
        append_usb_number(text, rule->usb_class, 2);
        append_usb_number(text, rule->vendor, 4);
        append_usb_number(text, rule->product, 4);
        int version = usb_version(rule->version);
        if (version < 0) {
            g_string_append(text, "-1:");
        } else {
            g_string_append_printf(text, "0x%04X:", (unsigned)version);
        }
        g_string_append_c(text, rule->allow == TRI_YES ? '1' : '0');
    }
}

bool line_add_redirdev(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainRedirdev *redirdev = (DomainRedirdev *)device;
    if (!device_table_word(PROPERTY_REDIRDEV, REDIRDEV_USB, line->engine)) {
        return line_refuse(line, error, "device <redirdev>");
    }
    if (!line_add_chardev(line, &redirdev->source, device->alias, "<redirdev>", error)) {
        return false;
    }
    g_autofree char *address = line_usb_address(device);
    GString *text = g_string_new(NULL);
    g_string_printf(text, "usb-redir,chardev=char%s,id=%s", device->alias, device->alias);
    append_filter(text, &line->def->devices[DEVICE_REDIRFILTER]);
    g_string_append(text, address);
    line_add(line, "-device", line_finish(line, g_string_free(text, FALSE), device));
    return true;
}

/* The node of an input device, as a set that QEMU opens for reading and writing, or NULL. */
static char *input_node(CommandLine *line, const char *path, GError **error)
{
    int fd = line->ops->open_file(line->opaque, path, true, error);
    return fd < 0 ? NULL : g_strdup_printf("/dev/fdset/%u", line_add_fd(line, fd));
}

bool line_add_host_input(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainInput *input = (const DomainInput *)device;
    bool is_evdev = input->type == INPUT_EVDEV;
    const char *path = is_evdev ? input->source_dev : input->source_evdev;
    bool is_known = path && (is_evdev || input->bus == INPUT_BUS_VIRTIO);
    if (line->engine == ENGINE_LODGE || !is_known) {
        return line_refuse_unless(line, is_known, error, "input device '%s'",
                                  domain_name(input_type, input->type));
    }
    g_autofree char *node = input_node(line, path, error);
    if (!node) {
        return false;
    }
    GString *text = g_string_new(NULL);
    if (is_evdev) {
        g_string_printf(text, "input-linux,id=%s,evdev=%s", device->alias, node);
        line_append_tri(text, "repeat", input->source_repeat);
        if (g_strcmp0(input->source_grab, "all") == 0) {
            g_string_append(text, ",grab_all=on");
        }
        if (input->source_grab_toggle) {
            g_autofree char *keys = line_escape(input->source_grab_toggle);
            g_string_append_printf(text, ",grab-toggle=%s", keys);
        }
    } else {
        g_autofree char *address = line_address(line, device);
        g_autofree char *options = line_virtio_options(&input->virtio);
        g_string_printf(text, "virtio-input-host-pci,id=%s,evdev=%s%s%s", device->alias, node,
                        options, address);
    }
    line_add(line, is_evdev ? "-object" : "-device", g_string_free(text, FALSE));
    return true;
}
