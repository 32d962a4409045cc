/* Devices of the host in guests, on a host made of files: the test plays the kernel.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/host-devices.h"

#include "daemon/error.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Host {
    char root[64];
    char *sys, *dev, *run;
    HostTree tree;
    GMutex lock;
    bool has_driver; /* vfio-pci is loaded */
    char *override;  /* of the device that was last asked for */
    char probed[64]; /* interfaces that drivers were looked for */
    unsigned cids_taken;
} Host;

static char *at(const char *folder, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static char *at(const char *folder, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *name = g_strdup_vprintf(fmt, args);
    va_end(args);
    return g_build_filename(folder, name, NULL);
}

static void put(const char *folder, const char *name, const char *text)
{
    g_autofree char *path = at(folder, "%s", name);
    g_autofree char *parent = g_path_get_dirname(path);
    assert_int_equal(g_mkdir_with_parents(parent, 0700), 0);
    assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void link_to(const char *folder, const char *name, const char *target)
{
    g_autofree char *path = at(folder, "%s", name);
    g_autofree char *parent = g_path_get_dirname(path);
    assert_int_equal(g_mkdir_with_parents(parent, 0700), 0);
    g_unlink(path);
    if (target) {
        assert_int_equal(symlink(target, path), 0);
    }
}

static char *driver_of(Host *host, const char *name)
{
    g_autofree char *path = at(host->sys, "bus/pci/devices/%s/driver", name);
    g_autofree char *target = g_file_read_link(path, NULL);
    return target ? g_path_get_basename(target) : g_strdup("none");
}

/* What the kernel does with what is written. */
static int kernel_write(void *opaque, const char *path, const char *text)
{
    Host *host = opaque;
    g_autofree char *folder = g_path_get_dirname(path);
    if (g_str_has_suffix(path, "/driver_override")) {
        g_free(host->override);
        host->override = g_strdup(strcmp(text, "\n") ? text : "e1000e");
    } else if (g_str_has_suffix(path, "/driver/unbind")) {
        g_autofree char *device = g_path_get_dirname(folder);
        link_to(device, "driver", NULL);
    } else if (g_str_has_suffix(path, "/bus/usb/drivers_probe")) {
        g_strlcat(host->probed, text, sizeof(host->probed));
        g_strlcat(host->probed, ";", sizeof(host->probed));
    } else {
        assert_true(g_str_has_suffix(path, "/bus/pci/drivers_probe"));
        g_autofree char *device = at(host->sys, "bus/pci/devices/%s", text);
        g_autofree char *driver = at("../drivers", "%s", host->override);
        if (host->has_driver || strcmp(host->override, "vfio-pci")) {
            link_to(device, "driver", driver);
        }
    }
    return 0;
}

static int kernel_set_cid(void *opaque, int fd, uint64_t cid)
{
    const Host *host = opaque;
    return cid < 3 ? -EINVAL : cid < 3 + host->cids_taken ? -EADDRINUSE : 0;
}

static void add_usb(Host *host, const char *name, const char *vendor, const char *bus,
                    const char *device)
{
    g_autofree char *folder = at(host->sys, "bus/usb/devices/%s", name);
    g_autofree char *node = at(host->dev, "bus/usb/%03d/%03d", atoi(bus), atoi(device));
    put(folder, "idVendor", vendor);
    put(folder, "idProduct", "5678\n");
    put(folder, "busnum", bus);
    put(folder, "devnum", device);
    put("/", node, "");
}

static void add_pci(Host *host, const char *name, const char *group, const char *driver)
{
    g_autofree char *folder = at(host->sys, "bus/pci/devices/%s", name);
    g_autofree char *group_path = at("/g", "%s", group);
    g_autofree char *driver_path = at("/d", "%s", driver);
    g_autofree char *member = at(host->sys, "kernel/iommu_groups/%s/devices/%s", group, name);
    link_to(folder, "iommu_group", group_path);
    link_to(folder, "driver", driver_path);
    link_to("/", member, folder);
}

static void setup(Host *host)
{
    *host = (Host){ .has_driver = true };
    strcpy(host->root, "/tmp/host-devices-XXXXXX");
    assert_non_null(g_mkdtemp(host->root));
    host->sys = at(host->root, "sys");
    host->dev = at(host->root, "dev");
    host->run = at(host->root, "run");
    host->tree = (HostTree){ host->sys, host->dev, kernel_write, kernel_set_cid, host };
    put(host->dev, "vfio/vfio", "");
    put(host->run, "a/x", "");
    put(host->run, "b/x", "");
}

static void teardown(Host *host)
{
    g_autofree char *command = g_strdup_printf("rm -r %s", host->root);
    assert_int_equal(system(command), 0);
    g_free(host->sys);
    g_free(host->dev);
    g_free(host->run);
    g_free(host->override);
}

/* Code of the error, or 0. @guest: "a" or "b". */
static int take(Host *host, const char *guest, DomainHostdev *hostdev, int *out_fd, char **out_why)
{
    g_autofree char *folder = at(host->run, "%s", guest);
    DomainDef def = { .name = (char *)guest };
    void *list[] = { hostdev };
    def.devices[DEVICE_HOSTDEV] = (XmlList){ .item = list, .count = 1 };
    const HostClaim claim = { .lock = &host->lock, .folder = folder, .def = &def };
    g_autoptr(GError) error = NULL;
    bool ok = host_device_take(&host->tree, &claim, hostdev, out_fd, &error);
    assert_int_equal(ok, error == NULL);
    if (out_why) {
        *out_why = g_strdup(error ? error->message : "");
    }
    return error ? error->code : 0;
}

static void a_usb_device_is_found_by_its_vendor(void **state)
{
    Host host;
    setup(&host);
    add_usb(&host, "1-1", "1234\n", "1\n", "9\n");
    add_usb(&host, "1-2", "4321\n", "1\n", "3\n");
    put(host.sys, "bus/usb/devices/1-0:1.0/bInterfaceClass",
        "09\n"); /* interfaces are no devices */
    DomainHostdev hostdev = { .type = HOSTDEV_USB, .usb_vendor = 0x1234, .usb_product = 0x5678 };
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(hostdev.usb_bus, 1);
    assert_int_equal(hostdev.usb_device, 9);
    teardown(&host);
}

static void a_usb_device_of_another_guest_is_refused_by_that_guests_name(void **state)
{
    Host host;
    setup(&host);
    add_usb(&host, "1-1", "1234\n", "1\n", "9\n");
    DomainHostdev hostdev = { .type = HOSTDEV_USB, .usb_bus = 1, .usb_device = 9 };
    DomainHostdev again = hostdev;
    int fd = -1;
    g_autofree char *why = NULL;
    g_autofree char *folder = at(host.run, "a");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    close(fd);
    assert_int_equal(take(&host, "b", &again, &fd, &why), DAEMON_ERROR_OPERATION_INVALID);
    assert_non_null(strstr(why, "USB device 001:009 is in use by driver QEMU, domain a"));
    host_devices_return_all(&host.tree, folder);
    assert_int_equal(take(&host, "b", &again, &fd, NULL), 0);
    close(fd);
    teardown(&host);
}

static void interfaces_of_a_usb_device_go_back_to_their_drivers(void **state)
{
    Host host;
    setup(&host);
    add_usb(&host, "1-1", "1234\n", "1\n", "9\n");
    add_usb(&host, "1-2", "4321\n", "1\n", "3\n");
    link_to(host.sys, "bus/usb/devices/1-1:1.0/driver", "/d/usbhid");
    put(host.sys, "bus/usb/devices/1-1:1.1/bInterfaceClass", "03\n");
    put(host.sys, "bus/usb/devices/1-2:1.0/bInterfaceClass", "03\n");
    DomainHostdev hostdev = { .type = HOSTDEV_USB, .usb_bus = 1, .usb_device = 9 };
    int fd = -1;
    g_autofree char *folder = at(host.run, "a");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    close(fd);
    host_device_return(&host.tree, folder, &hostdev);
    assert_string_equal(host.probed, "1-1:1.1;");
    teardown(&host);
}

static void usb_devices_that_are_missing_or_two_are_refused(void **state)
{
    Host host;
    setup(&host);
    DomainHostdev hostdev = { .type = HOSTDEV_USB, .usb_vendor = 0x1234, .usb_product = 0x5678 };
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_SYSTEM);
    add_usb(&host, "1-2", "4321\n", "1\n", "3\n");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_INTERNAL);
    hostdev.startup_policy = STARTUP_REQUISITE;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_INTERNAL);
    hostdev.startup_policy = STARTUP_OPTIONAL;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_int_equal(fd, -1);
    assert_int_equal(hostdev.missing, TRI_YES);
    add_usb(&host, "1-1", "1234\n", "1\n", "9\n");
    add_usb(&host, "2-1", "1234\n", "2\n", "4\n");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_OPERATION_FAILED);
    hostdev.usb_bus = 2;
    hostdev.usb_device = 4;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_int_equal(hostdev.missing, TRI_ABSENT);
    close(fd);
    teardown(&host);
}

static DomainHostdev network_card(TriState managed)
{
    return (DomainHostdev){ .type = HOSTDEV_PCI, .managed = managed, .pci = { .bus = 3 } };
}

#define CARD "0000:03:00.0"

static void a_managed_pci_device_leaves_its_driver_and_goes_back(void **state)
{
    Host host;
    setup(&host);
    add_pci(&host, CARD, "7", "e1000e");
    add_pci(&host, "0000:00:1c.0", "7", "pcieport");
    DomainHostdev hostdev = network_card(TRI_YES);
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_int_equal(fd, -1);
    g_autofree char *taken = driver_of(&host, CARD);
    assert_string_equal(taken, "vfio-pci");
    DomainHostdev again = network_card(TRI_YES);
    assert_int_equal(take(&host, "b", &again, &fd, NULL), DAEMON_ERROR_OPERATION_INVALID);
    g_autofree char *folder = at(host.run, "a");
    host_device_return(&host.tree, folder, &hostdev);
    g_autofree char *back = driver_of(&host, CARD);
    assert_string_equal(back, "e1000e");
    teardown(&host);
}

static void an_unmanaged_pci_device_must_be_detached_already(void **state)
{
    Host host;
    setup(&host);
    add_pci(&host, CARD, "7", "e1000e");
    DomainHostdev hostdev = network_card(TRI_NO);
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_OPERATION_INVALID);
    g_autofree char *folder = at(host.sys, "bus/pci/devices/" CARD);
    link_to(folder, "driver", "/d/vfio-pci");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    g_autofree char *run = at(host.run, "a");
    host_devices_return_all(&host.tree, run);
    g_autofree char *stays = driver_of(&host, CARD);
    assert_string_equal(stays, "vfio-pci");
    teardown(&host);
}

static void a_group_that_the_host_uses_is_refused_naming_the_other_device(void **state)
{
    Host host;
    setup(&host);
    add_pci(&host, CARD, "7", "e1000e");
    add_pci(&host, "0000:03:00.1", "7", "snd_hda_intel");
    DomainHostdev hostdev = network_card(TRI_YES);
    int fd = -1;
    g_autofree char *why = NULL;
    assert_int_equal(take(&host, "a", &hostdev, &fd, &why), DAEMON_ERROR_OPERATION_INVALID);
    assert_non_null(strstr(why, "0000:03:00.1"));
    assert_non_null(strstr(why, "snd_hda_intel"));
    g_autofree char *stays = driver_of(&host, CARD);
    assert_string_equal(stays, "e1000e");
    teardown(&host);
}

static void without_an_iommu_or_the_driver_nothing_is_changed(void **state)
{
    Host host;
    setup(&host);
    DomainHostdev hostdev = network_card(TRI_YES);
    int fd = -1;
    g_autofree char *why = NULL;
    assert_int_equal(take(&host, "a", &hostdev, &fd, &why), DAEMON_ERROR_CONFIG_UNSUPPORTED);
    assert_non_null(strstr(why, "intel_iommu=on"));
    add_pci(&host, CARD, "7", "e1000e");
    host.has_driver = false;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_OPERATION_FAILED);
    g_autofree char *back = driver_of(&host, CARD);
    assert_string_equal(back, "e1000e");
    hostdev.pci.bus = 4;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_SYSTEM);
    teardown(&host);
}

static void a_mediated_device_is_found_and_taken_once(void **state)
{
    Host host;
    setup(&host);
    DomainHostdev hostdev = { .type = HOSTDEV_MDEV, .mdev_model = MDEV_VFIO_PCI };
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_DEVICE_MISSING);
    g_autofree char *folder = at(host.sys, "bus/mdev/devices/00000000-0000-0000-0000-000000000000");
    link_to(folder, "iommu_group", "/g/9");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_int_equal(take(&host, "b", &hostdev, &fd, NULL), DAEMON_ERROR_OPERATION_INVALID);
    teardown(&host);
}

static void a_scsi_device_is_found_by_its_place_and_taken_once(void **state)
{
    Host host;
    setup(&host);
    const OptUint zero = { 0, true };
    const OptUint three = { 3, true };
    DomainHostdev hostdev = { .type = HOSTDEV_SCSI,
                              .scsi_adapter = (char *)"scsi_host12",
                              .scsi_bus = zero,
                              .scsi_target = zero,
                              .scsi_unit = three };
    g_autofree char *folder = at(host.run, "a");
    g_autofree char *note = at(folder, "hostdev-scsi-12:0:0:3");
    g_autofree char *why = NULL;
    int fd = -1;
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_SYSTEM);
    put(host.sys, "bus/scsi/devices/12:0:0:3/scsi_generic/sg4/dev", "21:4\n");
    assert_int_not_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_false(g_file_test(note, G_FILE_TEST_EXISTS)); /* its node is not there */
    put(host.dev, "sg4", "");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    assert_true(fd >= 0 && fcntl(fd, F_GETFL) & O_RDWR);
    close(fd);
    assert_true(g_file_test(note, G_FILE_TEST_EXISTS));
    assert_int_equal(take(&host, "b", &hostdev, &fd, &why), DAEMON_ERROR_OPERATION_INVALID);
    assert_non_null(strstr(why, "SCSI device 12:0:0:3 is in use by driver QEMU, domain a"));
    host_device_return(&host.tree, folder, &hostdev);
    hostdev.is_readonly = true;
    assert_int_equal(take(&host, "b", &hostdev, &fd, NULL), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
    teardown(&host);
}

static void a_scsi_devices_node_is_the_guests_users_while_it_has_it(void **state)
{
    if (geteuid() != 0) {
        skip();
    }
    Host host;
    setup(&host);
    const OptUint zero = { 0, true };
    DomainHostdev hostdev = { .type = HOSTDEV_SCSI,
                              .scsi_adapter = (char *)"scsi_host0",
                              .scsi_bus = zero,
                              .scsi_target = zero,
                              .scsi_unit = zero };
    void *list[] = { &hostdev };
    DomainDef def = { .name = (char *)"a" };
    def.devices[DEVICE_HOSTDEV] = (XmlList){ .item = list, .count = 1 };
    g_autofree char *folder = at(host.run, "a");
    g_autofree char *node = at(host.dev, "sg0");
    struct stat st;
    int fd = -1;
    put(host.sys, "bus/scsi/devices/0:0:0:0/scsi_generic/sg0/dev", "21:0\n");
    put(host.dev, "sg0", "");
    assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), 0);
    close(fd);
    assert_true(host_devices_give(&host.tree, &def, 12345, NULL));
    assert_int_equal(stat(node, &st), 0);
    assert_int_equal(st.st_uid, 12345);
    host_devices_return_all(&host.tree, folder);
    assert_int_equal(stat(node, &st), 0);
    assert_int_equal(st.st_uid, 0);
    teardown(&host);
}

static void adapters_that_are_no_scsi_hosts_are_refused(void **state)
{
    static const char *const names[] = { "bad", "scsi_host", "scsi_host1x", "scsi_host/../1" };
    Host host;
    setup(&host);
    const OptUint zero = { 0, true };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        DomainHostdev hostdev = { .type = HOSTDEV_SCSI,
                                  .scsi_adapter = (char *)names[i],
                                  .scsi_bus = zero,
                                  .scsi_target = zero,
                                  .scsi_unit = zero };
        int fd = -1;
        assert_int_equal(take(&host, "a", &hostdev, &fd, NULL), DAEMON_ERROR_INTERNAL);
    }
    teardown(&host);
}

static void the_first_free_cid_is_chosen(void **state)
{
    Host host;
    setup(&host);
    DomainVsock vsock = { .cid_auto = TRI_YES };
    g_autoptr(GError) error = NULL;
    assert_int_equal(host_vsock_open(&host.tree, &vsock, &error), -1);
    assert_non_null(strstr(error->message, "vhost_vsock"));
    put(host.dev, "vhost-vsock", "");
    host.cids_taken = 2;
    int fd = host_vsock_open(&host.tree, &vsock, NULL);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(vsock.cid.value, 5);
    teardown(&host);
}

static void a_cid_of_another_guest_is_refused(void **state)
{
    Host host;
    setup(&host);
    put(host.dev, "vhost-vsock", "");
    host.cids_taken = 2;
    DomainVsock vsock = { .cid_auto = TRI_NO, .cid = { .set = true, .value = 4 } };
    g_autoptr(GError) error = NULL;
    assert_int_equal(host_vsock_open(&host.tree, &vsock, &error), -1);
    assert_int_equal(error->code, DAEMON_ERROR_SYSTEM);
    assert_non_null(strstr(error->message, "<cid auto='yes'/>"));
    vsock.cid.value = 6;
    int fd = host_vsock_open(&host.tree, &vsock, NULL);
    assert_true(fd >= 0);
    close(fd);
    teardown(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usb_device_is_found_by_its_vendor),
        cmocka_unit_test(a_usb_device_of_another_guest_is_refused_by_that_guests_name),
        cmocka_unit_test(interfaces_of_a_usb_device_go_back_to_their_drivers),
        cmocka_unit_test(usb_devices_that_are_missing_or_two_are_refused),
        cmocka_unit_test(a_managed_pci_device_leaves_its_driver_and_goes_back),
        cmocka_unit_test(an_unmanaged_pci_device_must_be_detached_already),
        cmocka_unit_test(a_group_that_the_host_uses_is_refused_naming_the_other_device),
        cmocka_unit_test(without_an_iommu_or_the_driver_nothing_is_changed),
        cmocka_unit_test(a_mediated_device_is_found_and_taken_once),
        cmocka_unit_test(a_scsi_device_is_found_by_its_place_and_taken_once),
        cmocka_unit_test(a_scsi_devices_node_is_the_guests_users_while_it_has_it),
        cmocka_unit_test(adapters_that_are_no_scsi_hosts_are_refused),
        cmocka_unit_test(the_first_free_cid_is_chosen),
        cmocka_unit_test(a_cid_of_another_guest_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
