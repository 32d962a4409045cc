/* Taking devices of the host for guests, by sysfs.
 *
 * Kernel documentation: Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-usb,
 * driver-api/vfio.rst; linux/vhost.h.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/host-devices.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NOTE "hostdev-"
#define VFIO_DRIVER "vfio-pci"
/* What a VFIO guest locks beside its memory: windows of devices. */
#define VFIO_EXTRA_KIB (1u << 20)
#define FIRST_CID 3u

static int write_file(void *opaque, const char *path, const char *text)
{
    autofd fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    return fd_write_full(fd, text, strlen(text));
}

static int set_cid(void *opaque, int fd, uint64_t cid)
{
    return ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
}

const HostTree host_tree = {
    .sys = "/sys", .dev = "/dev", .write = write_file, .set_cid = set_cid
};

/* --- what sysfs says --- */

/* A number in FOLDER/NAME; false: there is none. */
static bool read_number(const char *folder, const char *name, unsigned base, unsigned *out)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *text = NULL;
    char *end;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    guint64 value = g_ascii_strtoull(text, &end, base);
    *out = (unsigned)value;
    return end != text && value <= G_MAXUINT;
}

/* The last part of what the link FOLDER/NAME leads to; NULL: there is no link. (transfer full) */
static char *link_name(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *target = g_file_read_link(path, NULL);
    return target ? g_path_get_basename(target) : NULL;
}

/* "0000:00:02.0" (transfer full) */
static char *pci_name(const DomainAddress *address)
{
    return g_strdup_printf("%04x:%02x:%02x.%x", address->domain, address->bus, address->slot,
                           address->function);
}

static char *mdev_name(const DomainHostdev *hostdev)
{
    char *text = g_malloc(UUID_TEXT_SIZE);
    uuid_format(&hostdev->mdev, text);
    return text;
}

static char *pci_folder(const HostTree *tree, const char *name)
{
    return g_build_filename(tree->sys, "bus/pci/devices", name, NULL);
}

static bool has_group(const DomainHostdev *hostdev)
{
    return hostdev->type == HOSTDEV_PCI || hostdev->type == HOSTDEV_MDEV;
}

/* "1" of "scsi_host1"; NULL: it is no such name. */
static const char *scsi_host_number(const DomainHostdev *hostdev)
{
    const char *name = hostdev->scsi_adapter ?: "";
    const char *number = g_str_has_prefix(name, "scsi_host") ? name + strlen("scsi_host") : "";
    return *number && strspn(number, G_CSET_DIGITS) == strlen(number) ? number : NULL;
}

/* "1:0:0:3": host, bus, target and unit, as in sysfs. (transfer full) */
static char *scsi_name(const DomainHostdev *hostdev)
{
    return g_strdup_printf("%s:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT,
                           scsi_host_number(hostdev) ?: "none", hostdev->scsi_bus.value,
                           hostdev->scsi_target.value, hostdev->scsi_unit.value);
}

/* Its node of the kernel's generic driver; NULL: it has none. (transfer full) */
static char *scsi_node(const HostTree *tree, const char *name)
{
    g_autofree char *folder =
        g_build_filename(tree->sys, "bus/scsi/devices", name, "scsi_generic", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *node = dir ? g_dir_read_name(dir) : NULL;
    return node ? g_build_filename(tree->dev, node, NULL) : NULL;
}

/* --- notes --- */

/* One name for each device of the host. (transfer full) */
static char *key_of(const DomainHostdev *hostdev)
{
    if (hostdev->type == HOSTDEV_USB) {
        return g_strdup_printf("usb-%03u:%03u", hostdev->usb_bus, hostdev->usb_device);
    }
    if (hostdev->type == HOSTDEV_SCSI) {
        g_autofree char *name = scsi_name(hostdev);
        return g_strdup_printf("scsi-%s", name);
    }
    g_autofree char *name =
        hostdev->type == HOSTDEV_PCI ? pci_name(&hostdev->pci) : mdev_name(hostdev);
    return g_strdup_printf("%s-%s", hostdev->type == HOSTDEV_PCI ? "pci" : "mdev", name);
}

/* The IOMMU group of a PCI or mediated device; NULL: it has none. (transfer full) */
static char *group_of_key(const HostTree *tree, const char *key)
{
    g_autofree char *folder = NULL;
    if (g_str_has_prefix(key, "pci-")) {
        folder = pci_folder(tree, key + strlen("pci-"));
    } else if (g_str_has_prefix(key, "mdev-")) {
        folder = g_build_filename(tree->sys, "bus/mdev/devices", key + strlen("mdev-"), NULL);
    }
    return folder ? link_name(folder, "iommu_group") : NULL;
}

static char *group_of(const HostTree *tree, const DomainHostdev *hostdev)
{
    g_autofree char *key = key_of(hostdev);
    return group_of_key(tree, key);
}

/* What QEMU opens by itself, so that its user must be able to; NULL: nothing. (transfer full) */
static char *node_of_key(const HostTree *tree, const char *key)
{
    if (g_str_has_prefix(key, "scsi-")) {
        return scsi_node(tree, key + strlen("scsi-"));
    }
    g_autofree char *group = group_of_key(tree, key);
    return group ? g_build_filename(tree->dev, "vfio", group, NULL) : NULL;
}

static bool has_node(const DomainHostdev *hostdev)
{
    return has_group(hostdev) || hostdev->type == HOSTDEV_SCSI;
}

/* A sentence's name of it. (transfer full) */
static char *words_of(const DomainHostdev *hostdev)
{
    g_autofree char *key = key_of(hostdev);
    return hostdev->type == HOSTDEV_USB    ? g_strdup_printf("USB device %s", key + 4)
           : hostdev->type == HOSTDEV_PCI  ? g_strdup_printf("PCI device %s", key + 4)
           : hostdev->type == HOSTDEV_SCSI ? g_strdup_printf("SCSI device %s", key + 5)
                                           : g_strdup_printf("mediated device %s", key + 5);
}

/* The guest that has it; NULL: none. With the lock of all. (transfer full) */
static char *find_owner(const char *folder, const char *key)
{
    g_autofree char *all = g_path_get_dirname(folder);
    g_autofree char *note = g_strconcat(NOTE, key, NULL);
    GDir *dir = g_dir_open(all, 0, NULL);
    const char *name;
    char *owner = NULL;
    while (dir && !owner && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(all, name, note, NULL);
        g_autofree char *text = NULL;
        if (g_file_get_contents(path, &text, NULL, NULL)) {
            owner = g_strndup(text, strcspn(text, "\n"));
        }
    }
    g_clear_pointer(&dir, g_dir_close);
    return owner;
}

static bool write_note(const HostClaim *claim, const char *key, const char *driver, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/" NOTE "%s", claim->folder, key);
    g_autofree char *text = g_strdup_printf("%s\n%s", claim->def->name, driver ?: "");
    autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot write '%s'", path);
        return false;
    }
    return true;
}

/* Enters the device as the guest's. @driver: to go back to, or NULL. */
static bool note_taken(const HostClaim *claim, const DomainHostdev *hostdev, const char *driver,
                       GError **error)
{
    g_autofree char *key = key_of(hostdev);
    g_mutex_lock(claim->lock);
    g_autofree char *owner = find_owner(claim->folder, key);
    bool ok = !owner && write_note(claim, key, driver, error);
    g_mutex_unlock(claim->lock);
    if (owner) {
        g_autofree char *words = words_of(hostdev);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: %s is in use by driver QEMU, domain %s",
                         words, owner);
    }
    return ok;
}

/* --- USB --- */

typedef struct UsbSearch {
    const DomainHostdev *wanted;
    unsigned found; /* that match */
    unsigned bus, device;
    bool has_usb;
} UsbSearch;

static void look_at_usb(UsbSearch *search, const char *folder)
{
    const DomainHostdev *wanted = search->wanted;
    unsigned vendor, product, bus, device;
    if (!read_number(folder, "idVendor", 16, &vendor) ||
        !read_number(folder, "idProduct", 16, &product) ||
        !read_number(folder, "busnum", 10, &bus) || !read_number(folder, "devnum", 10, &device)) {
        return;
    }
    bool by_name = wanted->usb_vendor || wanted->usb_product;
    bool by_place = wanted->usb_bus || wanted->usb_device;
    if ((!by_name || (vendor == wanted->usb_vendor && product == wanted->usb_product)) &&
        (!by_place || (bus == wanted->usb_bus && device == wanted->usb_device))) {
        search->found++;
        search->bus = bus;
        search->device = device;
    }
}

static void find_usb(const HostTree *tree, UsbSearch *search)
{
    g_autofree char *all = g_build_filename(tree->sys, "bus/usb/devices", NULL);
    GDir *dir = g_dir_open(all, 0, NULL);
    const char *name;
    search->has_usb = dir != NULL;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *folder = g_build_filename(all, name, NULL);
        look_at_usb(search, folder);
    }
    g_clear_pointer(&dir, g_dir_close);
}

static bool explain_usb(const UsbSearch *search, GError **error)
{
    const DomainHostdev *wanted = search->wanted;
    if (!search->has_usb) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot open directory '/sys/bus/usb/devices': this host has no USB");
        return false;
    }
    GString *text = g_string_new(NULL);
    if (wanted->usb_vendor || wanted->usb_product) {
        g_string_append_printf(text, " %04x:%04x", wanted->usb_vendor, wanted->usb_product);
    }
    if (wanted->usb_bus || wanted->usb_device) {
        g_string_append_printf(text, " bus:%u device:%u", wanted->usb_bus, wanted->usb_device);
    }
    if (search->found > 1) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: Multiple USB devices for%s, use <address> to specify "
                         "one",
                         text->str);
    } else {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: Did not find USB device%s; lsusb lists what is plugged "
                         "in, startupPolicy='optional' starts the guest without it",
                         text->str);
    }
    g_string_free(text, TRUE);
    return false;
}

static int open_usb(const HostTree *tree, const DomainHostdev *hostdev, GError **error)
{
    g_autofree char *path =
        g_strdup_printf("%s/bus/usb/%03u/%03u", tree->dev, hostdev->usb_bus, hostdev->usb_device);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open the USB device '%s'", path);
    }
    return fd;
}

static bool take_usb(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                     int *out_fd, GError **error)
{
    UsbSearch search = { .wanted = hostdev };
    find_usb(tree, &search);
    if (search.found != 1) {
        hostdev->missing = hostdev->startup_policy == STARTUP_OPTIONAL ? TRI_YES : TRI_ABSENT;
        if (hostdev->missing && search.found == 0) {
            log_write(LOG_LEVEL_WARN, "domain '%s' goes without a USB device that is not there",
                      claim->def->name);
            return true;
        }
        hostdev->missing = TRI_ABSENT;
        return explain_usb(&search, error);
    }
    hostdev->missing = TRI_ABSENT;
    hostdev->usb_bus = search.bus;
    hostdev->usb_device = search.device;
    if (!note_taken(claim, hostdev, NULL, error)) {
        return false;
    }
    *out_fd = open_usb(tree, hostdev, error);
    if (*out_fd < 0) {
        host_device_return(tree, claim->folder, hostdev);
    }
    return *out_fd >= 0;
}

/* --- PCI --- */

static bool check_vfio(const HostTree *tree, const char *words, GError **error)
{
    g_autofree char *node = g_build_filename(tree->dev, "vfio/vfio", NULL);
    if (access(node, F_OK) < 0) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: host doesn't support passthrough of host "
                         "devices by VFIO: there is no '%s' for %s; load the kernel's module "
                         "'vfio-pci'",
                         node, words);
        return false;
    }
    return true;
}

/* VFIO needs groups; without an IOMMU the kernel has none. */
static bool check_iommu(const HostTree *tree, const char *words, GError **error)
{
    g_autofree char *groups = g_build_filename(tree->sys, "kernel/iommu_groups", NULL);
    g_autoptr(GDir) dir = g_dir_open(groups, 0, NULL);
    if (!dir || !g_dir_read_name(dir)) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: host doesn't support passthrough of host PCI "
                         "devices: %s cannot be given to a guest without an IOMMU; switch on VT-d "
                         "or AMD-Vi in the host's firmware, and intel_iommu=on on its kernel's "
                         "command line",
                         words);
        return false;
    }
    return check_vfio(tree, words, error);
}

/* Whether the guest has, or is going to have, the PCI device of that name too. */
static bool is_ours(const DomainDef *def, const char *name)
{
    const XmlList *list = &def->devices[DEVICE_HOSTDEV];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainHostdev *hostdev = list->item[i];
        g_autofree char *own = hostdev->type == HOSTDEV_PCI ? pci_name(&hostdev->pci) : NULL;
        if (g_strcmp0(own, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The kernel gives a group to a guest only when no driver of the host's has a device in it. */
static bool check_group(const HostTree *tree, const DomainDef *def, const char *name,
                        const char *group, GError **error)
{
    static const char *const harmless[] = { VFIO_DRIVER, "pci-stub", "pcieport", NULL };
    g_autofree char *all =
        g_build_filename(tree->sys, "kernel/iommu_groups", group, "devices", NULL);
    g_autoptr(GDir) dir = g_dir_open(all, 0, NULL);
    const char *other;
    while (dir && (other = g_dir_read_name(dir))) {
        g_autofree char *folder = pci_folder(tree, other);
        g_autofree char *driver = link_name(folder, "driver");
        if (strcmp(other, name) != 0 && driver && !g_strv_contains(harmless, driver) &&
            !is_ours(def, other)) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "Requested operation is not valid: PCI device %s is in IOMMU group %s "
                             "with %s, which the host uses by its driver '%s'; give both to the "
                             "guest, or detach the other from its driver",
                             name, group, other, driver);
            return false;
        }
    }
    return true;
}

static int write_at(const HostTree *tree, const char *text, const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    return tree->write(tree->opaque, path, text);
}

/* Leaves its driver for @driver ("": the one the kernel chooses). Returns 0 or negative errno. */
static int rebind(const HostTree *tree, const char *name, const char *driver)
{
    g_autofree char *folder = pci_folder(tree, name);
    g_autofree char *bus = g_build_filename(tree->sys, "bus/pci", NULL);
    g_autofree char *former = link_name(folder, "driver");
    /* A newline takes an override away. */
    int err = write_at(tree, *driver ? driver : "\n", folder, "driver_override");
    if (err == 0 && former && strcmp(former, driver) != 0) {
        err = write_at(tree, name, folder, "driver/unbind");
    }
    return err < 0 ? err : write_at(tree, name, bus, "drivers_probe");
}

/* @driver: what it has, or NULL. */
static bool bind_vfio(const HostTree *tree, const HostClaim *claim, const DomainHostdev *hostdev,
                      const char *name, GError **error)
{
    g_autofree char *folder = pci_folder(tree, name);
    int err = rebind(tree, name, VFIO_DRIVER);
    g_autofree char *driver = link_name(folder, "driver");
    if (err == 0 && g_strcmp0(driver, VFIO_DRIVER) == 0) {
        return true;
    }
    host_device_return(tree, claim->folder, hostdev);
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot give PCI device %s to the driver '%s'", name,
                              VFIO_DRIVER);
    } else {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: the driver '%s' did not take PCI device %s; load the "
                         "kernel's module '%s'",
                         VFIO_DRIVER, name, VFIO_DRIVER);
    }
    return false;
}

static bool take_pci(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                     GError **error)
{
    g_autofree char *name = pci_name(&hostdev->pci);
    g_autofree char *folder = pci_folder(tree, name);
    g_autofree char *words = words_of(hostdev);
    if (!check_iommu(tree, words, error)) {
        return false;
    }
    if (access(folder, F_OK) < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "Device %s not found: could not access %s: %s; lspci -D lists what there "
                         "is",
                         name, folder, g_strerror(errno));
        return false;
    }
    g_autofree char *driver = link_name(folder, "driver");
    g_autofree char *group = link_name(folder, "iommu_group");
    bool has_vfio = g_strcmp0(driver, VFIO_DRIVER) == 0;
    if (!group) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: host doesn't support passthrough of host PCI "
                         "devices: %s is in no IOMMU group",
                         words);
        return false;
    }
    if (hostdev->managed != TRI_YES && !has_vfio) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: Unmanaged PCI device %s must be "
                         "manually detached from the host (its driver is '%s'), or have "
                         "managed='yes'",
                         name, driver ?: "none");
        return false;
    }
    if (!check_group(tree, claim->def, name, group, error) || !note_taken(claim, hostdev,
                                                                          has_vfio ? NULL
                                                                          : driver ? driver
                                                                                   : "none",
                                                                          error)) {
        return false;
    }
    return has_vfio || bind_vfio(tree, claim, hostdev, name, error);
}

static bool take_mdev(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                      GError **error)
{
    g_autofree char *words = words_of(hostdev);
    if (!check_vfio(tree, words, error)) {
        return false;
    }
    g_autofree char *group = group_of(tree, hostdev);
    if (!group) {
        g_autofree char *name = mdev_name(hostdev);
        daemon_error_set(error, DAEMON_ERROR_DEVICE_MISSING,
                         "device not found: mediated device '%s' not found; it is made by writing "
                         "to a 'create' file below %s/class/mdev_bus",
                         name, tree->sys);
        return false;
    }
    return note_taken(claim, hostdev, NULL, error);
}

/* --- SCSI --- */

static bool take_scsi(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                      int *out_fd, GError **error)
{
    g_autofree char *name = scsi_name(hostdev);
    g_autofree char *path = scsi_node(tree, name);
    if (!scsi_host_number(hostdev)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: Cannot parse adapter '%s' of <hostdev type='scsi'>: it "
                         "is 'scsi_host' and a number",
                         hostdev->scsi_adapter ?: "");
        return false;
    }
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot open directory '%s/bus/scsi/devices/%s/scsi_generic': there is no "
                         "SCSI device %s, or the kernel's module 'sg' is not loaded; lsscsi -g "
                         "lists what there is",
                         tree->sys, name, name);
        return false;
    }
    if (!note_taken(claim, hostdev, NULL, error)) {
        return false;
    }
    /* Opened here too: what is wrong with it is told by name. */
    *out_fd = open(path, (hostdev->is_readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
    if (*out_fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open the SCSI device '%s'", path);
        host_device_return(tree, claim->folder, hostdev);
    }
    return *out_fd >= 0;
}

/* --- all of them --- */

static bool give_node(const HostTree *tree, const DomainHostdev *hostdev, uid_t uid, GError **error)
{
    g_autofree char *key = key_of(hostdev);
    g_autofree char *path = node_of_key(tree, key);
    if (!path || chown(path, uid, (gid_t)-1) < 0) {
        lodge_error_set_errno(error, path ? errno : ENODEV, "cannot give '%s' to the guest's user",
                              path ?: key);
        return false;
    }
    return true;
}

bool host_device_take(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                      int *out_fd, GError **error)
{
    *out_fd = -1;
    if (hostdev->type == HOSTDEV_USB) {
        return take_usb(tree, claim, hostdev, out_fd, error);
    }
    bool ok = hostdev->type == HOSTDEV_PCI    ? take_pci(tree, claim, hostdev, error)
              : hostdev->type == HOSTDEV_SCSI ? take_scsi(tree, claim, hostdev, out_fd, error)
                                              : take_mdev(tree, claim, hostdev, error);
    if (ok && claim->uid && !give_node(tree, hostdev, claim->uid, error)) {
        host_device_return(tree, claim->folder, hostdev);
        cleanup_close(out_fd);
        *out_fd = -1;
        return false;
    }
    return ok;
}

/* Only root opens it, as before. */
static void take_node_back(const HostTree *tree, const char *key)
{
    g_autofree char *path = node_of_key(tree, key);
    if (path && geteuid() == 0 && chown(path, 0, (gid_t)-1) < 0 && errno != ENOENT) {
        log_write(LOG_LEVEL_WARN, "cannot take '%s' back: %s", path, g_strerror(errno));
    }
}

static bool is_usb_at(const char *folder, const char *key)
{
    unsigned bus, device;
    if (!read_number(folder, "busnum", 10, &bus) || !read_number(folder, "devnum", 10, &device)) {
        return false;
    }
    g_autofree char *own = g_strdup_printf("usb-%03u:%03u", bus, device);
    return strcmp(own, key) == 0;
}

/* QEMU takes interfaces of a USB device from their drivers. One that was killed does not give them
 * back: the kernel is asked to look for drivers again. */
static void probe_usb(const HostTree *tree, const char *key)
{
    g_autofree char *all = g_build_filename(tree->sys, "bus/usb/devices", NULL);
    g_autofree char *probe = g_build_filename(tree->sys, "bus/usb/drivers_probe", NULL);
    g_autoptr(GDir) dir = g_dir_open(all, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        /* "1-2:1.0" is an interface of "1-2". */
        g_autofree char *device = g_strndup(name, strcspn(name, ":"));
        g_autofree char *folder = g_build_filename(all, device, NULL);
        g_autofree char *own = g_build_filename(all, name, NULL);
        g_autofree char *driver = link_name(own, "driver");
        if (strcmp(device, name) != 0 && !driver && is_usb_at(folder, key)) {
            int err = tree->write(tree->opaque, probe, name);
            if (err < 0) {
                log_write(LOG_LEVEL_WARN, "USB device %s does not go back to its driver: %s", name,
                          g_strerror(-err));
            }
        }
    }
}

static void return_note(const HostTree *tree, const char *folder, const char *key)
{
    g_autofree char *path = g_strdup_printf("%s/" NOTE "%s", folder, key);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return;
    }
    take_node_back(tree, key);
    if (g_str_has_prefix(key, "usb-")) {
        probe_usb(tree, key);
    }
    const char *driver = strchr(text, '\n');
    const char *name = key + strlen("pci-");
    if (g_str_has_prefix(key, "pci-") && driver && driver[1]) {
        int err = rebind(tree, name, "");
        if (err < 0) {
            log_write(LOG_LEVEL_WARN, "PCI device %s does not go back to its driver '%s': %s", name,
                      driver + 1, g_strerror(-err));
        }
    }
    g_unlink(path);
}

void host_device_return(const HostTree *tree, const char *folder, const DomainHostdev *hostdev)
{
    g_autofree char *key = key_of(hostdev);
    return_note(tree, folder, key);
}

void host_devices_return_all(const HostTree *tree, const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, NOTE)) {
            g_autofree char *key = g_strdup(name + strlen(NOTE));
            return_note(tree, folder, key);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

bool host_devices_give(const HostTree *tree, const DomainDef *def, uid_t uid, GError **error)
{
    const XmlList *list = &def->devices[DEVICE_HOSTDEV];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainHostdev *hostdev = list->item[i];
        if (has_node(hostdev) && !give_node(tree, hostdev, uid, error)) {
            return false;
        }
    }
    return true;
}

bool host_devices_raise_limits(const DomainDef *def, pid_t pid, GError **error)
{
    const XmlList *list = &def->devices[DEVICE_HOSTDEV];
    bool has_vfio = false;
    for (unsigned i = 0; i < list->count; i++) {
        has_vfio |= has_group(list->item[i]);
    }
    if (!has_vfio && !def->memory_backing.locked) {
        return true;
    }
    rlim_t bytes = (rlim_t)(MAX(def->memory, def->max_memory) + VFIO_EXTRA_KIB) * 1024;
    if (def->memory_backing.locked) {
        bytes = def->mem_hard_limit ? (rlim_t)def->mem_hard_limit * 1024 : RLIM_INFINITY;
    }
    struct rlimit limit = { bytes, bytes };
    struct rlimit former;
    if (prlimit(pid, RLIMIT_MEMLOCK, NULL, &former) == 0 && former.rlim_cur >= bytes) {
        return true;
    }
    if (prlimit(pid, RLIMIT_MEMLOCK, &limit, NULL) < 0) {
        lodge_error_set_errno(error, errno,
                              "cannot let the guest's process lock its memory (RLIMIT_MEMLOCK)");
        return false;
    }
    return true;
}

/* --- vsock --- */

/* The first that no guest of the host has. Returns 0 or negative errno. */
static int choose_cid(const HostTree *tree, int fd, DomainVsock *vsock)
{
    for (uint64_t cid = FIRST_CID; cid < G_MAXUINT32; cid++) {
        int err = tree->set_cid(tree->opaque, fd, cid);
        if (err != -EADDRINUSE) {
            vsock->cid = (OptUint){ .set = true, .value = cid };
            return err;
        }
    }
    return -EADDRINUSE;
}

int host_vsock_open(const HostTree *tree, DomainVsock *vsock, GError **error)
{
    g_autofree char *path = g_build_filename(tree->dev, "vhost-vsock", NULL);
    autofd fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: unable to open vhost-vsock device '%s' for "
                         "<vsock>: %s; load the host kernel's module 'vhost_vsock'",
                         path, g_strerror(errno));
        return -1;
    }
    int err = vsock->cid_auto == TRI_YES ? choose_cid(tree, fd, vsock)
                                         : tree->set_cid(tree->opaque, fd, vsock->cid.value);
    if (err < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "failed to set guest cid %" G_GUINT64_FORMAT " of <vsock>: %s%s",
                         vsock->cid.value, g_strerror(-err),
                         err == -EADDRINUSE ? "; another guest of this host has it, and "
                                              "<cid auto='yes'/> chooses one that is free"
                                            : "");
        return -1;
    }
    return steal_fd(&fd);
}
