/* Every virtio device class, for the registry. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_CLASSES_H
#define LODGE_VMM_VIRTIO_CLASSES_H

#include "vmm/device/device.h"

/* Ends with NULL. */
extern const DeviceClass *const virtio_classes[];

#endif
