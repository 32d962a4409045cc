/* Virtio over MMIO, version 2 (virtio 1.2). Leaves out: shared memory, queue reset, version 1.
 *
 * As with PCI, the region has no lock of the bus: a write of the device status waits for the loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/virtio/device.h"

#include <linux/virtio_mmio.h>
#include <string.h>

#define REGION_SIZE 0x200
#define MAGIC 0x74726976 /* "virt" */
#define VENDOR 0x1af4

static void mmio_update_line(VirtioDevice *dev)
{
    irq_line_set(&dev->device.host->irq[0], dev->isr != 0);
}

static void mmio_queue_interrupt(VirtioDevice *dev, unsigned index)
{
    dev->isr |= VIRTIO_MMIO_INT_VRING;
    mmio_update_line(dev);
}

static void mmio_config_interrupt(VirtioDevice *dev)
{
    dev->isr |= VIRTIO_MMIO_INT_CONFIG;
    mmio_update_line(dev);
}

static const VirtioTransport transport = { .queue_interrupt = mmio_queue_interrupt,
                                           .config_interrupt = mmio_config_interrupt,
                                           .update_line = mmio_update_line };

static uint32_t read_register(VirtioDevice *dev, uint64_t offset)
{
    const VirtioQueue *queue = virtio_selected_queue(dev);
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return 2;
    case VIRTIO_MMIO_DEVICE_ID:
        return dev->class->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return virtio_read_offered(dev);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? queue->ring.max_size : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->ring.is_ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return dev->isr;
    case VIRTIO_MMIO_STATUS:
        return dev->status;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX; /* no such region */
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return dev->generation;
    default:
        return 0;
    }
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    if (offset >= VIRTIO_MMIO_CONFIG) {
        return virtio_read_config(dev, offset - VIRTIO_MMIO_CONFIG, size);
    }
    return size == 4 ? read_register(dev, offset) : 0;
}

static void set_half(GuestAddr *address, bool is_high, uint32_t value)
{
    unsigned shift = is_high ? 32 : 0;
    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_ready(VirtioDevice *dev, VirtioQueue *queue, uint32_t value)
{
    if (value == 1) {
        virtio_enable_queue(dev, queue);
    } else if (value == 0) {
        virtq_reset(&queue->ring);
    }
}

static void write_queue_register(VirtioDevice *dev, uint64_t offset, uint32_t value)
{
    VirtioQueue *queue = virtio_selected_queue(dev);
    if (!queue) {
        return;
    }
    if (offset == VIRTIO_MMIO_QUEUE_READY) {
        write_ready(dev, queue, value);
        return;
    }
    if (queue->ring.is_ready) {
        return; /* fixed while the queue is in use */
    }
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->ring.size = (uint16_t)value;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&queue->ring.address[VIRTQ_DESC], offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_half(&queue->ring.address[VIRTQ_AVAIL], offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_half(&queue->ring.address[VIRTQ_USED], offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
        break;
    default:
        break;
    }
}

static void write_register_locked(VirtioDevice *dev, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        dev->offered_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        dev->accepted_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_write_accepted(dev, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        dev->queue_select = value > UINT16_MAX ? UINT16_MAX : (uint16_t)value;
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        dev->isr &= ~value;
        mmio_update_line(dev);
        break;
    default:
        write_queue_register(dev, offset, value);
        break;
    }
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioDevice *dev = opaque;
    if (offset >= VIRTIO_MMIO_CONFIG) {
        LOCK_GUARD(&dev->device.lock);
        virtio_write_config(dev, offset - VIRTIO_MMIO_CONFIG, value, size);
    } else if (size != 4) {
        log_guest_error("%s: register access of %u bytes", device_label(&dev->device), size);
    } else if (offset == VIRTIO_MMIO_STATUS) {
        virtio_write_status(dev, (uint8_t)value);
    } else if (offset == VIRTIO_MMIO_QUEUE_NOTIFY) {
        if (value < dev->queue_count) {
            virtio_kick(dev, (unsigned)value);
        }
    } else {
        LOCK_GUARD(&dev->device.lock);
        write_register_locked(dev, offset, (uint32_t)value);
    }
}

static const RegionOps mmio_ops = { mmio_read, mmio_write, 1, 4 };

static void set_ioeventfds(VirtioDevice *dev, bool assign)
{
    const DeviceHost *host = dev->device.host;
    for (unsigned i = 0; host->ioeventfd && i < dev->queue_count; i++) {
        /* On failure the vCPU comes to mmio_write() instead. */
        int rc = host->ioeventfd(host->opaque, DEVICE_SPACE_MEMORY,
                                 dev->mmio_base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, true, i,
                                 dev->queue[i].notify_fd, assign);
        if (rc < 0 && assign) {
            log_debug("%s: queue %u is notified without ioeventfd: %s", device_label(&dev->device),
                      i, strerror(-rc));
        }
    }
}

bool virtio_mmio_realize(Device *device, GError **error)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    const DeviceHost *host = device->host;
    dev->has_modern = true;
    dev->has_legacy = false;
    if (!virtio_realize(dev, &transport, error)) {
        return false;
    }
    dev->mmio_region = (Region){
        .name = "virtio-mmio", .size_bytes = REGION_SIZE, .ops = &mmio_ops, .opaque = dev
    };
    if (!host->map_region(host->opaque, DEVICE_SPACE_MEMORY, dev->mmio_base, &dev->mmio_region, 0,
                          error)) {
        virtio_unrealize(dev);
        return false;
    }
    set_ioeventfds(dev, true);
    return true;
}

void virtio_mmio_unrealize(Device *device)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    set_ioeventfds(dev, false);
    device->host->unmap_region(device->host->opaque, DEVICE_SPACE_MEMORY, dev->mmio_base, 0);
    irq_line_set(&device->host->irq[0], false);
    virtio_unrealize(dev);
}

void virtio_mmio_reset(Device *device, ResetKind kind)
{
    virtio_reset((VirtioDevice *)device);
}

bool virtio_mmio_post_load(Device *device, GError **error)
{
    return virtio_post_load((VirtioDevice *)device, error);
}
