/* Virtio over PCI bus (virtio 1.2).
 *
 * BAR 0: legacy registers (transport-legacy.c); BAR 1: MSI-X; BAR 4: common configuration, ISR,
 * device configuration and notification structures. Leaves out: queue reset, notification data,
 * shared memory.
 *
 * The structures' regions have no lock of the bus: a write of the device status waits for the
 * loop, which takes the device's lock.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/transport-pci.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/bus/pci/pci-bus.h"

#include <linux/virtio_pci.h>
#include <string.h>

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN_BASE 0x1040
#define SUBSYSTEM_MODERN 0x1100

#define MSIX_BAR 1
#define MODERN_BAR 4

#define MSIX_BAR_SIZE 4096
#define MSIX_PENDING_OFFSET 2048

#define MODERN_BAR_SIZE (16 * KIB)
#define COMMON_OFFSET 0x0000
#define ISR_OFFSET 0x1000
#define CONFIG_OFFSET 0x2000
#define NOTIFY_OFFSET 0x3000
#define NOTIFY_MULTIPLIER 4
#define COMMON_SIZE 56 /* up to queue_device_hi */

#define WINDOW_SIZE 20 /* struct virtio_pci_cfg_cap */
#define WINDOW_BAR 4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA 16

#define NOTIFY_WRITE_SIZE 2
#define ISR_QUEUE 1

static const struct {
    uint16_t virtio_id, pci_id;
} transitional_ids[] = {
    { VIRTIO_ID_NET, 0x1000 },     { VIRTIO_ID_BLOCK, 0x1001 }, { VIRTIO_ID_BALLOON, 0x1002 },
    { VIRTIO_ID_CONSOLE, 0x1003 }, { VIRTIO_ID_SCSI, 0x1004 },  { VIRTIO_ID_RNG, 0x1005 },
    { VIRTIO_ID_9P, 0x1009 },
};

static uint16_t transitional_id(uint16_t virtio_id)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(transitional_ids); i++) {
        if (transitional_ids[i].virtio_id == virtio_id) {
            return transitional_ids[i].pci_id;
        }
    }
    return 0;
}

/* Interrupts */

static void pci_update_line(VirtioDevice *dev)
{
    pci_set_irq(&dev->pci, dev->isr != 0);
}

static void interrupt(VirtioDevice *dev, uint16_t vector, uint32_t isr_bit)
{
    if (pci_msix_is_enabled(&dev->pci)) {
        if (vector != VIRTIO_NO_VECTOR) {
            pci_msix_notify(&dev->pci, vector);
        }
        return;
    }
    dev->isr |= isr_bit;
    pci_update_line(dev);
}

static void pci_queue_interrupt(VirtioDevice *dev, unsigned index)
{
    interrupt(dev, dev->queue[index].vector, ISR_QUEUE);
}

static void pci_config_interrupt(VirtioDevice *dev)
{
    interrupt(dev, dev->config_vector, VIRTIO_PCI_ISR_CONFIG);
}

static const VirtioTransport transport = { .queue_interrupt = pci_queue_interrupt,
                                           .config_interrupt = pci_config_interrupt,
                                           .update_line = pci_update_line };

uint16_t virtio_pci_check_vector(const VirtioDevice *dev, uint64_t value)
{
    return value < dev->pci.msix.vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

/* Common configuration structure */

static void fill_common(VirtioDevice *dev, uint8_t *bytes)
{
    memset(bytes, 0, COMMON_SIZE);
    le32_put(bytes + VIRTIO_PCI_COMMON_DFSELECT, dev->offered_select);
    le32_put(bytes + VIRTIO_PCI_COMMON_DF, virtio_read_offered(dev));
    le32_put(bytes + VIRTIO_PCI_COMMON_GFSELECT, dev->accepted_select);
    le32_put(bytes + VIRTIO_PCI_COMMON_GF, virtio_read_accepted(dev));
    le16_put(bytes + VIRTIO_PCI_COMMON_MSIX, dev->config_vector);
    le16_put(bytes + VIRTIO_PCI_COMMON_NUMQ, dev->queue_count);
    bytes[VIRTIO_PCI_COMMON_STATUS] = dev->status;
    bytes[VIRTIO_PCI_COMMON_CFGGENERATION] = (uint8_t)dev->generation;
    le16_put(bytes + VIRTIO_PCI_COMMON_Q_SELECT, dev->queue_select);
    const VirtioQueue *queue = virtio_selected_queue(dev);
    if (!queue) {
        return;
    }
    le16_put(bytes + VIRTIO_PCI_COMMON_Q_SIZE, queue->ring.size);
    le16_put(bytes + VIRTIO_PCI_COMMON_Q_MSIX, queue->vector);
    le16_put(bytes + VIRTIO_PCI_COMMON_Q_ENABLE, queue->ring.is_ready);
    le16_put(bytes + VIRTIO_PCI_COMMON_Q_NOFF, queue->index);
    le64_put(bytes + VIRTIO_PCI_COMMON_Q_DESCLO, queue->ring.address[VIRTQ_DESC]);
    le64_put(bytes + VIRTIO_PCI_COMMON_Q_AVAILLO, queue->ring.address[VIRTQ_AVAIL]);
    le64_put(bytes + VIRTIO_PCI_COMMON_Q_USEDLO, queue->ring.address[VIRTQ_USED]);
}

static uint64_t common_read_locked(VirtioDevice *dev, uint64_t offset, unsigned size)
{
    uint8_t bytes[COMMON_SIZE + 8];
    memset(bytes + COMMON_SIZE, 0, 8);
    fill_common(dev, bytes);
    return offset < COMMON_SIZE ? le64_get(bytes + offset) & (UINT64_MAX >> (64 - 8 * size)) : 0;
}

static uint64_t common_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    return common_read_locked(dev, offset, size);
}

static void write_queue_address(VirtioQueue *queue, uint64_t offset, uint32_t value)
{
    unsigned half = (unsigned)(offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 4;
    GuestAddr *address = &queue->ring.address[half / 2];
    unsigned shift = half % 2 * 32;
    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_queue_field(VirtioDevice *dev, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioQueue *queue = virtio_selected_queue(dev);
    if (!queue) {
        return;
    }
    if (offset == VIRTIO_PCI_COMMON_Q_MSIX && size == 2) {
        queue->vector = virtio_pci_check_vector(dev, value);
    } else if (queue->ring.is_ready) {
        return; /* fixed while the queue is in use */
    } else if (offset == VIRTIO_PCI_COMMON_Q_SIZE && size == 2) {
        queue->ring.size = (uint16_t)value;
    } else if (offset == VIRTIO_PCI_COMMON_Q_ENABLE && size == 2 && value == 1) {
        virtio_enable_queue(dev, queue);
    } else if (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && size == 4) {
        write_queue_address(queue, offset, (uint32_t)value);
    }
}

static void common_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioDevice *dev = opaque;
    if (offset == VIRTIO_PCI_COMMON_STATUS) {
        virtio_write_status(dev, (uint8_t)value);
        return;
    }
    LOCK_GUARD(&dev->device.lock);
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        dev->offered_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        dev->accepted_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        virtio_write_accepted(dev, (uint32_t)value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        dev->config_vector = virtio_pci_check_vector(dev, value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        dev->queue_select = (uint16_t)value;
        break;
    default:
        if (offset >= VIRTIO_PCI_COMMON_Q_SIZE && offset < COMMON_SIZE) {
            write_queue_field(dev, offset, value, size);
        }
        break;
    }
}

static const RegionOps common_ops = { common_read, common_write, 1, 4 };

/* ISR, device configuration and notification structures */

uint64_t virtio_pci_take_isr(VirtioDevice *dev)
{
    uint32_t isr = dev->isr;
    dev->isr = 0;
    pci_update_line(dev);
    return isr;
}

static uint64_t isr_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    return offset == 0 ? virtio_pci_take_isr(dev) : 0;
}

static void isr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    /* Read-only. */
}

static const RegionOps isr_ops = { isr_read, isr_write, 1, 4 };

static uint64_t config_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    return virtio_read_config(dev, offset, size);
}

static void config_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioDevice *dev = opaque;
    LOCK_GUARD(&dev->device.lock);
    virtio_write_config(dev, offset, value, size);
}

static const RegionOps config_ops = { config_read, config_write, 1, 4 };

static uint64_t notify_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioDevice *dev = opaque;
    uint64_t index = offset / NOTIFY_MULTIPLIER;
    if (index < dev->queue_count) {
        virtio_kick(dev, (unsigned)index);
    }
}

static const RegionOps notify_ops = { notify_read, notify_write, 1, 4 };

/* The window of configuration space onto the structures */

typedef struct WindowAccess {
    const Region *region;
    uint64_t offset;
    unsigned size;
} WindowAccess;

static bool window_decode(VirtioDevice *dev, WindowAccess *out)
{
    const Region *regions[] = { &dev->common_region, &dev->isr_region, &dev->config_region,
                                &dev->notify_region };
    static const uint32_t starts[] = { COMMON_OFFSET, ISR_OFFSET, CONFIG_OFFSET, NOTIFY_OFFSET };
    unsigned at = dev->window_capability;
    uint32_t offset = pci_get32(&dev->pci, at + WINDOW_OFFSET);
    uint32_t size = pci_get32(&dev->pci, at + WINDOW_LENGTH);
    if (pci_get8(&dev->pci, at + WINDOW_BAR) != MODERN_BAR ||
        (size != 1 && size != 2 && size != 4) || offset % size) {
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(regions); i++) {
        if (offset >= starts[i] && range_fits(offset - starts[i], size, regions[i]->size_bytes)) {
            *out = (WindowAccess){ regions[i], offset - starts[i], size };
            return true;
        }
    }
    return false;
}

static bool touches_window_data(const VirtioDevice *dev, unsigned offset, unsigned size)
{
    unsigned data = dev->window_capability + WINDOW_DATA;
    return dev->window_capability && offset < data + 4 && offset + size > data;
}

/* Runs with the device's lock held. */
static void window_read(PciDevice *pci, unsigned offset, unsigned size)
{
    VirtioDevice *dev = (VirtioDevice *)pci;
    WindowAccess access;
    uint64_t value = 0;
    if (!touches_window_data(dev, offset, size) || !window_decode(dev, &access)) {
        return;
    }
    if (access.region == &dev->common_region) {
        value = common_read_locked(dev, access.offset, access.size);
    } else if (access.region == &dev->config_region) {
        value = virtio_read_config(dev, access.offset, access.size);
    } else if (access.region == &dev->isr_region && access.offset == 0) {
        value = virtio_pci_take_isr(dev);
    }
    pci_put32(pci, dev->window_capability + WINDOW_DATA, (uint32_t)value);
}

static void window_write(PciDevice *pci, unsigned offset, unsigned size)
{
    VirtioDevice *dev = (VirtioDevice *)pci;
    WindowAccess access = { NULL, 0, 0 };
    uint32_t value = 0;
    if (!touches_window_data(dev, offset, size)) {
        return;
    }
    pthread_mutex_lock(&dev->device.lock);
    if (window_decode(dev, &access)) {
        value = pci_get32(pci, dev->window_capability + WINDOW_DATA);
    }
    pthread_mutex_unlock(&dev->device.lock);
    if (access.region) {
        region_write(access.region, access.offset, value, access.size);
    }
}

/* Notification by the accelerator */

static void set_ioeventfds(VirtioDevice *dev, unsigned bar, GuestAddr base, bool assign)
{
    const DeviceHost *host = dev->device.host;
    bool is_legacy = bar == VIRTIO_PCI_LEGACY_BAR;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        GuestAddr addr = is_legacy ? base + VIRTIO_PCI_QUEUE_NOTIFY
                                   : base + NOTIFY_OFFSET + i * NOTIFY_MULTIPLIER;
        /* On failure the vCPU comes to notify_write() instead. */
        int rc =
            host->ioeventfd(host->opaque, is_legacy ? DEVICE_SPACE_PORTS : DEVICE_SPACE_MEMORY,
                            addr, NOTIFY_WRITE_SIZE, is_legacy, i, dev->queue[i].notify_fd, assign);
        if (rc < 0 && assign) {
            log_debug("%s: queue %u is notified without ioeventfd: %s", device_label(&dev->device),
                      i, strerror(-rc));
        }
    }
}

static void bar_mapped(PciDevice *pci, unsigned bar, GuestAddr base, bool is_mapped)
{
    VirtioDevice *dev = (VirtioDevice *)pci;
    bool has_notify = bar == MODERN_BAR || (bar == VIRTIO_PCI_LEGACY_BAR && dev->has_legacy);
    if (has_notify && dev->device.host->ioeventfd && dev->wants_ioeventfd) {
        set_ioeventfds(dev, bar, base, is_mapped);
    }
}

static void bus_master_changed(PciDevice *pci, bool is_bus_master)
{
    VirtioDevice *dev = (VirtioDevice *)pci;
    for (unsigned i = 0; is_bus_master && i < dev->queue_count; i++) {
        virtio_kick(dev, i); /* what was notified meanwhile waits */
    }
}

/* Life */

static void add_structure(VirtioDevice *dev, uint8_t kind, uint32_t offset, uint32_t length,
                          Region *region)
{
    bool is_notify = kind == VIRTIO_PCI_CAP_NOTIFY_CFG;
    unsigned size = is_notify ? 20 : 16;
    unsigned at = pci_add_capability(&dev->pci, PCI_CAP_ID_VNDR, size);
    pci_put8(&dev->pci, at + VIRTIO_PCI_CAP_LEN, (uint8_t)size);
    pci_put8(&dev->pci, at + VIRTIO_PCI_CAP_CFG_TYPE, kind);
    pci_put8(&dev->pci, at + VIRTIO_PCI_CAP_BAR, MODERN_BAR);
    pci_put32(&dev->pci, at + VIRTIO_PCI_CAP_OFFSET, offset);
    pci_put32(&dev->pci, at + VIRTIO_PCI_CAP_LENGTH, length);
    if (is_notify) {
        pci_put32(&dev->pci, at + VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_MULTIPLIER);
    }
    pci_bar_add_region(&dev->pci, MODERN_BAR, offset, region);
}

static void add_window(VirtioDevice *dev)
{
    PciDevice *pci = &dev->pci;
    unsigned at = pci_add_capability(pci, PCI_CAP_ID_VNDR, WINDOW_SIZE);
    dev->window_capability = at;
    pci_put8(pci, at + VIRTIO_PCI_CAP_LEN, WINDOW_SIZE);
    pci_put8(pci, at + VIRTIO_PCI_CAP_CFG_TYPE, VIRTIO_PCI_CAP_PCI_CFG);
    pci_set_writable(pci, at + WINDOW_BAR, 1, 0xff);
    pci_set_writable(pci, at + WINDOW_OFFSET, 4, UINT32_MAX);
    pci_set_writable(pci, at + WINDOW_LENGTH, 4, UINT32_MAX);
    pci_set_writable(pci, at + WINDOW_DATA, 4, UINT32_MAX);
    pci->config_reading = window_read;
    pci->config_settled = window_write;
}

static Region make_region(VirtioDevice *dev, const char *name, uint64_t size, const RegionOps *ops)
{
    return (Region){ .name = name, .size_bytes = size, .ops = ops, .opaque = dev };
}

static void add_modern(VirtioDevice *dev)
{
    uint32_t config_size = (uint32_t)max_u64(round_up(dev->config_size, 4), 4);
    uint32_t notify_size = dev->queue_count * NOTIFY_MULTIPLIER;
    dev->common_region = make_region(dev, "virtio-common", COMMON_SIZE, &common_ops);
    dev->isr_region = make_region(dev, "virtio-isr", 4, &isr_ops);
    dev->config_region = make_region(dev, "virtio-config", config_size, &config_ops);
    dev->notify_region = make_region(dev, "virtio-notify", notify_size, &notify_ops);
    pci_bar_init(&dev->pci, MODERN_BAR, PCI_BAR_MEM64_PREFETCH, MODERN_BAR_SIZE);
    add_structure(dev, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, COMMON_SIZE, &dev->common_region);
    add_structure(dev, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, 4, &dev->isr_region);
    if (dev->config_size) {
        add_structure(dev, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_OFFSET, config_size,
                      &dev->config_region);
    }
    add_structure(dev, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFFSET, notify_size, &dev->notify_region);
    add_window(dev);
}

static bool choose_interfaces(VirtioDevice *dev, GError **error)
{
    uint16_t id =
        transitional_id(((const VirtioDeviceClass *)dev->device.class->family)->device_id);
    bool is_on_root = !dev->pci.bus->bridge;
    bool is_legacy_disabled = dev->legacy_choice == 0 ? !is_on_root : dev->legacy_choice == 1;
    dev->has_legacy = id && !is_legacy_disabled;
    dev->has_modern = !dev->is_modern_disabled;
    if (!dev->has_legacy && !dev->has_modern) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "neither the legacy nor the modern interface is enabled");
        return false;
    }
    return true;
}

static void init_identity(VirtioDevice *dev)
{
    uint16_t virtio_id = dev->class->device_id;
    PciIdentity identity = { .vendor = VENDOR_VIRTIO,
                             .device = (uint16_t)(DEVICE_MODERN_BASE + virtio_id),
                             .revision = 1,
                             .class_code = dev->class->pci_class,
                             .subsystem_vendor = VENDOR_VIRTIO,
                             .subsystem = SUBSYSTEM_MODERN,
                             .interrupt_pin = 1 };
    if (dev->has_legacy) {
        identity.device = transitional_id(virtio_id);
        identity.revision = 0;
        identity.subsystem = virtio_id;
    }
    pci_device_init(&dev->pci, &identity);
}

bool virtio_pci_realize(Device *device, GError **error)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    if (!choose_interfaces(dev, error) || !virtio_realize(dev, &transport, error)) {
        return false;
    }
    init_identity(dev);
    dev->pci.bar_mapped = bar_mapped;
    dev->pci.bus_master_changed = bus_master_changed;
    if (!dev->has_legacy) {
        pci_add_pcie_capability(&dev->pci,
                                dev->pci.bus->bridge ? PCI_EXP_TYPE_ENDPOINT : PCI_EXP_TYPE_RC_END);
    }
    if (dev->has_legacy) {
        virtio_pci_add_legacy(dev);
    }
    unsigned vectors = dev->vectors ? (unsigned)dev->vectors : dev->queue_count + 1u;
    pci_bar_init(&dev->pci, MSIX_BAR, PCI_BAR_MEM32, MSIX_BAR_SIZE);
    pci_msix_init(&dev->pci, vectors, MSIX_BAR, 0, MSIX_PENDING_OFFSET);
    if (dev->has_modern) {
        add_modern(dev);
    }
    pci_device_seal(&dev->pci);
    return true;
}

void virtio_pci_unrealize(Device *device)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    pci_device_done(&dev->pci);
    virtio_unrealize(dev);
}

void virtio_pci_reset(Device *device, ResetKind kind)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    virtio_reset(dev);
    pci_device_reset(&dev->pci);
}

bool virtio_pci_post_load(Device *device, GError **error)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    if (!pci_device_post_load(&dev->pci, error)) {
        return false;
    }
    dev->config_vector = virtio_pci_check_vector(dev, dev->config_vector);
    for (unsigned i = 0; i < dev->queue_count; i++) {
        dev->queue[i].vector = virtio_pci_check_vector(dev, dev->queue[i].vector);
    }
    return virtio_post_load(dev, error);
}
