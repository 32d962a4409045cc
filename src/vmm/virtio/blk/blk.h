/* Virtio block devices.
 *
 * The property "drive" names a back end of kind VIRTIO_BLK_BACKEND: a BlockBackend *
 * (block/backend.h), which outlives the device. The machine sets the back end's error hook.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_BLK_BLK_H
#define LODGE_VMM_VIRTIO_BLK_BLK_H

#include "vmm/device/device.h"

/* Kind of back end that its iothread= names: a LoopThread. */
#define VIRTIO_BLK_IOTHREAD "iothread"
#define VIRTIO_BLK_BACKEND "drive"

extern const DeviceClass virtio_blk_pci_class;
extern const DeviceClass virtio_blk_device_class;

#endif
