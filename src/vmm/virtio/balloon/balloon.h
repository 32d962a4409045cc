/* Memory balloon device of virtio. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_BALLOON_BALLOON_H
#define LODGE_VMM_VIRTIO_BALLOON_BALLOON_H

#include "vmm/device/device.h"

extern const DeviceClass virtio_balloon_pci_class;
extern const DeviceClass virtio_balloon_device_class;

#define BALLOON_STATS 10
#define BALLOON_NO_STAT UINT64_MAX

/* What the guest last told of its memory; by VIRTIO_BALLOON_S_*, BALLOON_NO_STAT where it said
 * nothing. Bytes, or events. */
typedef struct BalloonStats {
    uint64_t value[BALLOON_STATS];
    int64_t updated_ns; /* guest clock; 0: never */
} BalloonStats;

/* The functions below take the device's lock. Context: the device's loop. */

/* Asks the guest to give up @pages of 4 KiB. */
void virtio_balloon_set_target(Device *dev, uint32_t pages);
/* Pages that the guest says it has given up. */
uint32_t virtio_balloon_actual(Device *dev);
void virtio_balloon_get_stats(Device *dev, BalloonStats *out_stats);
/* Asks for statistics every @seconds; 0: no more. */
void virtio_balloon_set_polling(Device *dev, uint32_t seconds);
uint32_t virtio_balloon_polling(Device *dev);

#endif
