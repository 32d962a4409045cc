/* What the files of the PCI transport share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_TRANSPORT_PCI_H
#define LODGE_VMM_VIRTIO_TRANSPORT_PCI_H

#include "vmm/virtio/device.h"

#define VIRTIO_PCI_LEGACY_BAR 0

/* Adds the legacy registers as a BAR. From realize, after pci_device_init(). */
void virtio_pci_add_legacy(VirtioDevice *dev);

/* The ISR byte, which reading clears. Context: lock held. */
uint64_t virtio_pci_take_isr(VirtioDevice *dev);

/* @value if there is such an MSI-X vector, else VIRTIO_NO_VECTOR. */
uint16_t virtio_pci_check_vector(const VirtioDevice *dev, uint64_t value);

#endif
