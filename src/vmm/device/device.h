/* Devices: classes as tables, and the life of an instance.
 *
 * Life: device_new -> properties -> device_realize -> (reset -> run -> quiesce -> drain -> save)*
 * -> device_unrealize -> device_free. A device struct begins with a Device. All functions run on
 * the main thread unless they say otherwise. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_DEVICE_H
#define LODGE_VMM_DEVICE_DEVICE_H

#include "vmm/device/host.h"
#include "vmm/device/property.h"
#include "vmm/device/state.h"

#include <glib.h>

typedef struct Device Device;

typedef enum ResetKind { RESET_COLD, RESET_WARM } ResetKind;

/* Where a device sits: what the machine must give it. */
typedef enum DeviceBus {
    DEVICE_BUS_SYSTEM, /* fixed ports or memory */
    DEVICE_BUS_ISA,    /* ports and line chosen by properties iobase, irq */
    DEVICE_BUS_PCI,    /* the instance begins with a PciDevice (vmm/bus/pci) */
    DEVICE_BUS_VIRTIO_MMIO,
    DEVICE_BUS_VIRTIO_SERIAL, /* port of a virtio-serial device */
} DeviceBus;

typedef struct DeviceClass {
    const char *name;    /* as in -device: "virtio-blk-pci" */
    const char *alias;   /* second name, or NULL */
    const char *summary; /* one line for -device help */
    DeviceBus bus;
    bool is_internal; /* made by the machine only, not by -device */
    size_t instance_size;
    const Property *properties; /* ends with a NULL name; may be NULL */
    const StateTable *state;    /* NULL is refused unless unmigratable is set */
    const char *unmigratable;   /* reason shown to the user, or NULL */
    /* required; acquires host resources, maps regions. On failure nothing is left behind. */
    bool (*realize)(Device *dev, GError **error);
    void (*unrealize)(Device *dev);             /* optional */
    void (*reset)(Device *dev, ResetKind kind); /* optional; vCPUs do not run */
    void (*quiesce)(Device *dev);               /* optional; stop starting work; returns at once */
    bool (*is_drained)(Device *dev);            /* optional; no work in flight */
    void (*resume)(Device *dev);                /* optional; after quiesce, or after a load */
    bool (*post_load)(Device *dev,
                      GError **error); /* optional; checks loaded state: it is hostile */
    const void *family;                /* class of the family (VirtioDeviceClass ...), or NULL */
} DeviceClass;

struct Device {
    const DeviceClass *class;
    char *id;               /* of the user, or NULL; owned */
    const DeviceHost *host; /* set before realize; borrowed */
    pthread_mutex_t lock;   /* taken by the bus around register handlers */
    bool is_realized;
    /* That its descriptors and back ends are served by; set by realize; NULL: host->loop's. All
     * functions below make it pause: what they call may count on being alone. */
    LoopThread *thread;
};

/* The loop that serves the device's descriptors and back ends. */
EventLoop *device_loop(const Device *dev);

/* A new instance with default properties. @id may be NULL. */
Device *device_new(const DeviceClass *class, const char *id);

/* False: unknown property (the error lists the known ones) or bad value. Only before realize. */
bool device_set_property(Device *dev, const char *name, const char *value, GError **error);

/* @host: borrowed until unrealize. Errors begin with "device 'ID': ". */
bool device_realize(Device *dev, const DeviceHost *host, GError **error);
void device_unrealize(Device *dev);

/* Also unrealizes. NULL is accepted. */
void device_free(Device *dev);

void device_reset(Device *dev, ResetKind kind);
void device_quiesce(Device *dev);
bool device_is_drained(Device *dev);
void device_resume(Device *dev);

/* State as state_save() writes it, then checked by post_load on the way back. The lock is taken. */
void device_save(Device *dev, GByteArray *out);
bool device_load(Device *dev, const uint8_t *bytes, size_t length, GError **error);

/* For messages: the id, else the class's name. Never NULL. */
const char *device_label(const Device *dev);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Device, device_free)

#endif
