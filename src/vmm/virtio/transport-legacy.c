/* Legacy interface of virtio over PCI (virtio 0.9.5) in an I/O BAR, for drivers older than
 * virtio 1.0. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "vmm/virtio/transport-pci.h"

#include <linux/virtio_pci.h>

static unsigned legacy_config_offset(const VirtioDevice *dev)
{
    return VIRTIO_PCI_CONFIG_OFF(pci_msix_is_enabled(&dev->pci));
}

static uint64_t legacy_read_locked(VirtioDevice *dev, uint64_t offset, unsigned size)
{
    const VirtioQueue *queue = virtio_selected_queue(dev);
    unsigned config = legacy_config_offset(dev);
    if (offset >= config) {
        return virtio_read_config(dev, offset - config, size);
    }
    switch (offset) {
    case VIRTIO_PCI_HOST_FEATURES:
        return (uint32_t)dev->offered;
    case VIRTIO_PCI_GUEST_FEATURES:
        return (uint32_t)dev->accepted;
    case VIRTIO_PCI_QUEUE_PFN:
        return queue ? queue->legacy_page : 0;
    case VIRTIO_PCI_QUEUE_NUM:
        return queue ? queue->ring.max_size : 0;
    case VIRTIO_PCI_QUEUE_SEL:
        return dev->queue_select;
    case VIRTIO_PCI_STATUS:
        return dev->status;
    case VIRTIO_PCI_ISR:
        return virtio_pci_take_isr(dev);
    case VIRTIO_MSI_CONFIG_VECTOR:
        return dev->config_vector;
    case VIRTIO_MSI_QUEUE_VECTOR:
        return queue ? queue->vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    return legacy_read_locked(dev, offset, size);
}

/* A legacy driver gives one page number; the parts follow each other by fixed rules. */
static void write_legacy_page(VirtioDevice *dev, uint32_t page)
{
    VirtioQueue *queue = virtio_selected_queue(dev);
    if (!queue) {
        return;
    }
    VirtQueue *ring = &queue->ring;
    virtq_reset(ring);
    queue->legacy_page = page;
    if (!page) {
        return;
    }
    uint64_t size = ring->size;
    ring->address[VIRTQ_DESC] = (GuestAddr)page << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
    ring->address[VIRTQ_AVAIL] = ring->address[VIRTQ_DESC] + 16 * size;
    ring->address[VIRTQ_USED] =
        round_up(ring->address[VIRTQ_AVAIL] + 6 + 2 * size, VIRTIO_PCI_VRING_ALIGN);
    virtio_enable_queue(dev, queue);
}

static void legacy_write_locked(VirtioDevice *dev, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioQueue *queue = virtio_selected_queue(dev);
    unsigned config = legacy_config_offset(dev);
    if (offset >= config) {
        virtio_write_config(dev, offset - config, value, size);
        return;
    }
    switch (offset) {
    case VIRTIO_PCI_GUEST_FEATURES:
        dev->accepted_select = 0;
        virtio_write_accepted(dev, (uint32_t)(value & dev->offered));
        break;
    case VIRTIO_PCI_QUEUE_PFN:
        write_legacy_page(dev, (uint32_t)value);
        break;
    case VIRTIO_PCI_QUEUE_SEL:
        dev->queue_select = (uint16_t)value;
        break;
    case VIRTIO_MSI_CONFIG_VECTOR:
        dev->config_vector = virtio_pci_check_vector(dev, value);
        break;
    case VIRTIO_MSI_QUEUE_VECTOR:
        if (queue) {
            queue->vector = virtio_pci_check_vector(dev, value);
        }
        break;
    default:
        break;
    }
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioDevice *dev = opaque;
    if (offset == VIRTIO_PCI_STATUS) {
        virtio_write_status(dev, (uint8_t)value);
    } else if (offset == VIRTIO_PCI_QUEUE_NOTIFY) {
        if (value < dev->queue_count) {
            virtio_kick(dev, (unsigned)value);
        }
    } else {
        LOCK_GUARD(&dev->device.lock);
        legacy_write_locked(dev, offset, value, size);
    }
}

static const RegionOps legacy_ops = { legacy_read, legacy_write, 1, 4 };

void virtio_pci_add_legacy(VirtioDevice *dev)
{
    uint64_t size = 32;
    while (size < VIRTIO_PCI_CONFIG_OFF(true) + (uint64_t)dev->config_size) {
        size *= 2;
    }
    dev->legacy_region =
        (Region){ .name = "virtio-legacy", .size_bytes = size, .ops = &legacy_ops, .opaque = dev };
    pci_bar_init(&dev->pci, VIRTIO_PCI_LEGACY_BAR, PCI_BAR_IO, size);
    pci_bar_add_region(&dev->pci, VIRTIO_PCI_LEGACY_BAR, 0, &dev->legacy_region);
}
