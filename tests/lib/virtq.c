/* The driver's side of virtio devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/virtq.h"

#include "base/endian.h"
#include "base/log.h"

#include <linux/virtio_pci.h>
#include <poll.h>
#include <string.h>

#define SLOT 3
#define DESC_OFFSET 0
#define AVAIL_OFFSET 0x2000
#define USED_OFFSET 0x3000
#define ROUNDS_MAX 1000
#define WAIT_ROUNDS 100
#define WAIT_MS 100

static void must(bool ok, const GError *error)
{
    if (!ok) {
        log_error("%s", error ? error->message : "failed without an error");
    }
    lodge_assert(ok);
}

Device *fake_pci_add(FakeHost *fake, PciBus *root, const DeviceClass *class, const char *id,
                     const char *const *properties)
{
    g_autoptr(GError) error = NULL;
    Device *dev = device_new(class, id);
    for (const char *const *p = properties; p && *p; p += 2) {
        must(device_set_property(dev, p[0], p[1], &error), error);
    }
    must(pci_bus_plug(root, (PciDevice *)dev, &error), error);
    must(device_realize(dev, &fake->host, &error), error);
    device_reset(dev, RESET_COLD);
    return dev;
}

void fake_pci_remove(Device *dev)
{
    device_unrealize(dev);
    pci_bus_unplug((PciDevice *)dev);
    device_free(dev);
}

static void config_write(VirtDriver *driver, unsigned offset, uint32_t value)
{
    pci_config_write(driver->root, 0, driver->dev->pci.devfn, offset, value, 4);
}

void virt_driver_map(VirtDriver *driver)
{
    config_write(driver, PCI_BASE_ADDRESS_0, VIRT_LEGACY_PORTS);
    config_write(driver, PCI_BASE_ADDRESS_1, VIRT_MSIX_BAR);
    config_write(driver, PCI_BASE_ADDRESS_4, VIRT_MODERN_BAR);
    config_write(driver, PCI_BASE_ADDRESS_5, 0);
    config_write(driver, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

VirtDriver *virt_driver_new(FakeHost *fake, const DeviceClass *class, const char *const *properties)
{
    VirtDriver *driver = g_new0(VirtDriver, 1);
    driver->fake = fake;
    driver->root = pci_root_new(PCI_ROOT_BUS_NAME);
    driver->dev = (VirtioDevice *)fake_pci_add(fake, driver->root, class, "dev0", properties);
    virt_driver_map(driver);
    return driver;
}

void virt_driver_remove(VirtDriver *driver)
{
    fake_pci_remove(&driver->dev->device);
    pci_root_free(driver->root);
    g_free(driver);
}

void virt_driver_free(VirtDriver *driver)
{
    FakeHost *fake = driver->fake;
    virt_driver_remove(driver);
    fake_host_free(fake);
}

void *virt_ram(VirtDriver *driver, GuestAddr addr)
{
    lodge_assert(addr < FAKE_HOST_RAM_BYTES);
    return driver->fake->ram->host + addr;
}

static void common_write(VirtDriver *driver, unsigned offset, uint64_t value, unsigned size)
{
    fake_mmio_write(driver->fake, VIRT_COMMON + offset, value, size);
}

static uint64_t common_read(VirtDriver *driver, unsigned offset, unsigned size)
{
    return fake_mmio_read(driver->fake, VIRT_COMMON + offset, size);
}

uint8_t virt_driver_status(VirtDriver *driver)
{
    return (uint8_t)common_read(driver, VIRTIO_PCI_COMMON_STATUS, 1);
}

void virt_driver_set_status(VirtDriver *driver, uint8_t status)
{
    common_write(driver, VIRTIO_PCI_COMMON_STATUS, status, 1);
}

uint64_t virt_driver_offered(VirtDriver *driver)
{
    common_write(driver, VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
    uint64_t offered = common_read(driver, VIRTIO_PCI_COMMON_DF, 4);
    common_write(driver, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
    return offered | common_read(driver, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

void virt_driver_enable_queue(VirtDriver *driver, unsigned index)
{
    VirtQ *queue = &driver->queue[index];
    GuestAddr base = VIRT_RING_BASE + (GuestAddr)index * VIRT_RING_STRIDE;
    lodge_assert(base + VIRT_RING_STRIDE <= FAKE_HOST_RAM_BYTES);
    common_write(driver, VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
    uint16_t max = (uint16_t)common_read(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2);
    *queue = (VirtQ){ .desc = base + DESC_OFFSET,
                      .avail = base + AVAIL_OFFSET,
                      .used = base + USED_OFFSET,
                      .size = MIN(max, VIRT_RING_SIZE) };
    memset(virt_ram(driver, base), 0, VIRT_RING_STRIDE);
    common_write(driver, VIRTIO_PCI_COMMON_Q_SIZE, queue->size, 2);
    common_write(driver, VIRTIO_PCI_COMMON_Q_DESCLO, queue->desc, 8);
    common_write(driver, VIRTIO_PCI_COMMON_Q_AVAILLO, queue->avail, 8);
    common_write(driver, VIRTIO_PCI_COMMON_Q_USEDLO, queue->used, 8);
    common_write(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void virt_driver_start(VirtDriver *driver, uint64_t wanted)
{
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    virt_driver_set_status(driver, 0);
    virt_driver_set_status(driver, status);
    uint64_t accepted = virt_driver_offered(driver) & wanted;
    for (unsigned half = 0; half < 2; half++) {
        common_write(driver, VIRTIO_PCI_COMMON_GFSELECT, half, 4);
        common_write(driver, VIRTIO_PCI_COMMON_GF, accepted >> (32 * half) & UINT32_MAX, 4);
    }
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    virt_driver_set_status(driver, status);
    lodge_assert(virt_driver_status(driver) == status);
    for (unsigned i = 0; i < driver->dev->queue_count; i++) {
        virt_driver_enable_queue(driver, i);
    }
    virt_driver_set_status(driver, status | VIRTIO_CONFIG_S_DRIVER_OK);
    virt_driver_run(driver);
}

void virtq_set_desc(VirtDriver *driver, unsigned queue, uint16_t index, GuestAddr addr,
                    uint32_t length, uint16_t flags, uint16_t next)
{
    uint8_t *desc = virt_ram(driver, driver->queue[queue].desc + 16 * index);
    le64_put(desc, addr);
    le32_put(desc + 8, length);
    le16_put(desc + 12, flags);
    le16_put(desc + 14, next);
}

void virtq_publish(VirtDriver *driver, unsigned queue, uint16_t head)
{
    VirtQ *q = &driver->queue[queue];
    le16_put(virt_ram(driver, q->avail + 4 + 2 * (q->avail_index % q->size)), head);
    q->avail_index++;
    le16_put(virt_ram(driver, q->avail + 2), q->avail_index);
}

uint16_t virtq_add(VirtDriver *driver, unsigned queue, const VirtBuffer *buffers, unsigned count)
{
    VirtQ *q = &driver->queue[queue];
    uint16_t head = q->next_desc;
    lodge_assert(count >= 1 && count <= q->size);
    for (unsigned i = 0; i < count; i++) {
        uint16_t at = q->next_desc;
        q->next_desc = (uint16_t)((at + 1) % q->size);
        uint16_t flags = (uint16_t)((buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
                                    (i + 1 < count ? VRING_DESC_F_NEXT : 0));
        virtq_set_desc(driver, queue, at, buffers[i].addr, buffers[i].length, flags, q->next_desc);
    }
    virtq_publish(driver, queue, head);
    return head;
}

static bool is_ready(VirtDriver *driver)
{
    for (unsigned i = 0; i < driver->dev->queue_count; i++) {
        struct pollfd fd = { .fd = driver->dev->queue[i].notify_fd, .events = POLLIN };
        if (poll(&fd, 1, 0) > 0) {
            return true;
        }
    }
    return false;
}

void virt_driver_run(VirtDriver *driver)
{
    unsigned rounds = 0;
    do {
        int rc = loop_run_once(driver->fake->loop, 0);
        lodge_assert(rc == 0 && rounds++ < ROUNDS_MAX);
    } while (!driver->dev->device.thread && is_ready(driver));
}

void virtq_kick(VirtDriver *driver, unsigned queue)
{
    fake_mmio_write(driver->fake, VIRT_NOTIFY + 4 * queue, queue, 2);
    virt_driver_run(driver);
}

bool virtq_has_used(VirtDriver *driver, unsigned queue)
{
    const VirtQ *q = &driver->queue[queue];
    return le16_get(virt_ram(driver, q->used + 2)) != q->used_seen;
}

uint16_t virtq_wait_used(VirtDriver *driver, unsigned queue, uint32_t *out_length)
{
    VirtQ *q = &driver->queue[queue];
    for (unsigned i = 0; i < WAIT_ROUNDS && !virtq_has_used(driver, queue); i++) {
        int rc = loop_run_once(driver->fake->loop, WAIT_MS);
        lodge_assert(rc == 0);
    }
    lodge_assert(virtq_has_used(driver, queue));
    const uint8_t *element = virt_ram(driver, q->used + 4 + 8 * (q->used_seen % q->size));
    q->used_seen++;
    if (out_length) {
        *out_length = le32_get(element + 4);
    }
    return (uint16_t)le32_get(element);
}
