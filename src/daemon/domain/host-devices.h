/* Devices of the host in guests: <hostdev> of USB, PCI, SCSI and mediated devices, and
 * <vsock>.
 *
 * The folder of a guest that runs has a note of each device it has taken ("hostdev-KEY": the
 * guest's name, and for a PCI device the driver it is to go back to), written before anything is
 * changed. So two guests never have the same one, and what removes the folder, also after the
 * daemon was killed, gives back what was taken.
 *
 * Left out: iSCSI, SCSI devices that guests share, <hostdev mode='capabilities'>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_HOST_DEVICES_H
#define LODGE_DAEMON_DOMAIN_HOST_DEVICES_H

#include "conf/domain/domain.h"

#include <glib.h>
#include <sys/types.h>

/* The host, as it is seen here; a test has another. */
typedef struct HostTree {
    const char *sys, *dev; /* "/sys", "/dev" */
    /* Writes @text to a file of sysfs. Returns 0 or negative errno. */
    int (*write)(void *opaque, const char *path, const char *text);
    /* Takes @cid for the guest of /dev/vhost-vsock. Returns 0 or negative errno. */
    int (*set_cid)(void *opaque, int fd, uint64_t cid);
    void *opaque;
} HostTree;

extern const HostTree host_tree;

/* Who takes a device. */
typedef struct HostClaim {
    GMutex *lock;         /* one for all guests of the daemon */
    const char *folder;   /* of the guest that runs, beside those of the others */
    const DomainDef *def; /* of the guest */
    uid_t uid;            /* of its process, once known; 0: the daemon's or not known */
} HostClaim;

/**
 * host_device_take - have @hostdev for the guest
 * @out_fd: (transfer full) of the node of a USB or SCSI device; -1 for others, and for one that is
 * missing and optional: it is marked as such
 *
 * Fills in bus and device of a USB device found by its vendor. A managed PCI device leaves its
 * driver for vfio-pci. False with @error, and nothing taken: there is none, another guest has it,
 * there is no IOMMU.
 */
bool host_device_take(const HostTree *tree, const HostClaim *claim, DomainHostdev *hostdev,
                      int *out_fd, GError **error);

/* Gives one device back, or all of which @folder has notes; nothing happens without a note. */
void host_device_return(const HostTree *tree, const char *folder, const DomainHostdev *hostdev);
void host_devices_return_all(const HostTree *tree, const char *folder);

/* Lets @uid open what QEMU opens itself: groups of PCI and mediated devices, nodes of SCSI devices
 * of @def. */
bool host_devices_give(const HostTree *tree, const DomainDef *def, uid_t uid, GError **error);

/* Lets the process lock what its devices, or <locked/>, need: VFIO pins all memory. */
bool host_devices_raise_limits(const DomainDef *def, pid_t pid, GError **error);

/* The transport of <vsock>, with its CID set; one that is free is filled in where it is to be
 * chosen. A descriptor, or -1 with @error. */
int host_vsock_open(const HostTree *tree, DomainVsock *vsock, GError **error);

#endif
