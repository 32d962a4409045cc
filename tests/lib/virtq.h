/* The driver's side of virtio devices, for tests: puts a device on a PCI bus of a fake host,
 * negotiates, builds rings in the fake RAM and reads what comes back.
 *
 * Rings of queue n lie from VIRT_RING_BASE + n * VIRT_RING_STRIDE; a test's buffers may lie from
 * VIRT_BUFFER_BASE to the end of the fake RAM. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_VIRTQ_H
#define LODGE_TESTS_LIB_VIRTQ_H

#include "lib/fake-host.h"
#include "vmm/bus/pci/pci-bus.h"
#include "vmm/virtio/device.h"

#define VIRT_RING_BASE 0x1000
#define VIRT_RING_STRIDE 0x4000
#define VIRT_RING_SIZE 16 /* entries */
#define VIRT_BUFFER_BASE 0x40000

#define VIRT_LEGACY_PORTS 0xc000
#define VIRT_MSIX_BAR 0xe0000000
#define VIRT_MODERN_BAR 0xe0010000
#define VIRT_COMMON (VIRT_MODERN_BAR + 0x0000)
#define VIRT_ISR (VIRT_MODERN_BAR + 0x1000)
#define VIRT_CONFIG (VIRT_MODERN_BAR + 0x2000)
#define VIRT_NOTIFY (VIRT_MODERN_BAR + 0x3000)

typedef struct VirtBuffer {
    GuestAddr addr;
    uint32_t length;
    bool writable; /* by the device */
} VirtBuffer;

typedef struct VirtQ {
    GuestAddr desc, avail, used;
    uint16_t size;
    uint16_t next_desc;   /* round robin: a test keeps few in flight */
    uint16_t avail_index; /* as published */
    uint16_t used_seen;
} VirtQ;

typedef struct VirtDriver {
    FakeHost *fake;
    PciBus *root;
    VirtioDevice *dev;
    VirtQ queue[VIRTIO_QUEUES_MAX];
} VirtDriver;

/* A PCI device of @class in slot 3 with its BARs mapped as above, bus master on. @fake: freed by
 * the driver. */
VirtDriver *virt_driver_new(FakeHost *fake, const DeviceClass *class,
                            const char *const *properties);
void virt_driver_free(VirtDriver *driver);
/* As virt_driver_free(), but leaves the fake host. */
void virt_driver_remove(VirtDriver *driver);

/* Any PCI device: made, plugged at its properties' place, realized and reset. */
Device *fake_pci_add(FakeHost *fake, PciBus *root, const DeviceClass *class, const char *id,
                     const char *const *properties);
void fake_pci_remove(Device *dev);

/* Sets all BARs as above and COMMAND. */
void virt_driver_map(VirtDriver *driver);
/* Reset, ACKNOWLEDGE ... DRIVER_OK, with @wanted of what is offered, and all queues enabled with
 * VIRT_RING_SIZE entries (fewer if the device takes fewer) by polled interrupts (INTx). */
void virt_driver_start(VirtDriver *driver, uint64_t wanted);
uint64_t virt_driver_offered(VirtDriver *driver);
uint8_t virt_driver_status(VirtDriver *driver);
void virt_driver_set_status(VirtDriver *driver, uint8_t status);
/* Sets up queue @index in RAM and enables it, nothing else. */
void virt_driver_enable_queue(VirtDriver *driver, unsigned index);

/* Writes descriptor @index of a queue. */
void virtq_set_desc(VirtDriver *driver, unsigned queue, uint16_t index, GuestAddr addr,
                    uint32_t length, uint16_t flags, uint16_t next);
/* Adds a chain of @count buffers and publishes it. Returns its head. */
uint16_t virtq_add(VirtDriver *driver, unsigned queue, const VirtBuffer *buffers, unsigned count);
/* Publishes @head without touching descriptors. */
void virtq_publish(VirtDriver *driver, unsigned queue, uint16_t head);
/* Tells the device and lets its loop run. */
void virtq_kick(VirtDriver *driver, unsigned queue);
/* Lets the loop run until nothing is ready. */
void virt_driver_run(VirtDriver *driver);
/* Next used element, waiting for asynchronous I/O; fails the test if none comes. Returns the head.
 */
uint16_t virtq_wait_used(VirtDriver *driver, unsigned queue, uint32_t *out_length);
/* Whether a used element is there. */
bool virtq_has_used(VirtDriver *driver, unsigned queue);

/* Fake RAM. */
void *virt_ram(VirtDriver *driver, GuestAddr addr);

#endif
