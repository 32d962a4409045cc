/* Arguments of devices that have a part of the host behind them: <hostdev>, <vsock>.
 *
 * QEMU opens VFIO's groups by itself: they are given to its user before it starts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"

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
                 line_finish(g_strdup_printf("usb-host,hostdevice=/dev/fdset/%u%s,id=%s%s",
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
             line_finish(g_strdup_printf("vfio-pci,host=%04x:%02x:%02x.%x,id=%s%s",
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
    line_add(line, "-device", line_finish(g_string_free(text, FALSE), &hostdev->device));
    return true;
}

/* What of <hostdev> no start here uses. */
static bool check_hostdev(const CommandLine *line, const DomainHostdev *hostdev, GError **error)
{
    const char *type = domain_name(hostdev_type, hostdev->type) ?: "none";
    if (hostdev->mode == HOSTDEV_CAPABILITIES) {
        return line_refuse(line, error, "<hostdev mode='capabilities'>");
    }
    if (hostdev->type == HOSTDEV_MDEV &&
        !device_table_word(PROPERTY_MDEV, (int)hostdev->mdev_model, line->engine)) {
        return line_refuse(line, error, "<hostdev type='mdev' model='%s'>",
                           domain_name(mdev_model, hostdev->mdev_model) ?: "none");
    }
    if (hostdev->type != HOSTDEV_MDEV &&
        !device_table_word(PROPERTY_HOSTDEV_TYPE, (int)hostdev->type, line->engine)) {
        return line_refuse(line, error, "<hostdev type='%s'>", type);
    }
    if (hostdev->driver && hostdev->driver != PCI_DRIVER_VFIO) {
        return line_refuse(line, error, "<hostdev> with the driver '%s'",
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
    return hostdev->type == HOSTDEV_USB   ? add_usb(line, hostdev, fd)
           : hostdev->type == HOSTDEV_PCI ? add_pci(line, hostdev)
                                          : add_mdev(line, hostdev);
}

bool line_add_vsock(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainVsock *vsock = (DomainVsock *)device;
    DomainVirtioModel model = vsock->model ? vsock->model : VIRTIO_MODEL_VIRTIO;
    const char *word = device_table_word(PROPERTY_VSOCK, (int)model, line->engine);
    if (!word) {
        return line_refuse(line, error, "device <vsock>");
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
        line_finish(g_strdup_printf("vhost-vsock-pci%s,id=%s,guest-cid=%" G_GUINT64_FORMAT
                                    ",vhostfd=%d%s%s",
                                    word, device->alias, vsock->cid.value, fd, options, address),
                    device));
    return true;
}
