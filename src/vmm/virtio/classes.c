/* Every virtio device class. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/classes.h"

#include "vmm/virtio/balloon/balloon.h"
#include "vmm/virtio/blk/blk.h"
#include "vmm/virtio/console/console.h"
#include "vmm/virtio/net/virtio-net.h"
#include "vmm/virtio/rng/rng.h"

#include <stddef.h>

const DeviceClass *const virtio_classes[] = {
    &virtio_balloon_pci_class,
    &virtio_balloon_device_class,
    &virtio_blk_pci_class,
    &virtio_blk_device_class,
    &virtio_net_pci_class,
    &virtio_net_device_class,
    &virtio_rng_pci_class,
    &virtio_rng_device_class,
    &virtio_serial_pci_class,
    &virtio_serial_device_class,
    &virtconsole_class,
    &virtserialport_class,
    NULL,
};
