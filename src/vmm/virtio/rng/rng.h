/* Entropy device of virtio. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_RNG_RNG_H
#define LODGE_VMM_VIRTIO_RNG_RNG_H

#include "vmm/device/device.h"

/* Back end of kind "rng". */
typedef struct RngSource {
    int fd; /* not blocking; -1: the kernel's generator */
} RngSource;

extern const DeviceClass virtio_rng_pci_class;
extern const DeviceClass virtio_rng_device_class;

#endif
