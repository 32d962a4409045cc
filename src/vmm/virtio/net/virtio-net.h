/* Network card of virtio. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_NET_VIRTIO_NET_H
#define LODGE_VMM_VIRTIO_NET_VIRTIO_NET_H

#include "vmm/device/device.h"

/* Kind for DeviceHost.find_backend(): a NetBackend. */
#define VIRTIO_NET_BACKEND "netdev"

extern const DeviceClass virtio_net_pci_class;
extern const DeviceClass virtio_net_device_class;

#endif
