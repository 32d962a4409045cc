/* A timer of a device in guest time, whose function runs with the device's lock held; and short
 * ways to what every device asks of its host. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_GUEST_TIMER_H
#define LODGE_VMM_DEVICE_GUEST_TIMER_H

#include "vmm/device/device.h"

typedef struct GuestTimer {
    Device *dev;
    LoopTimer *timer;    /* NULL: not initialized */
    int64_t deadline_ns; /* guest time, DEVICE_TIMER_OFF when not armed */
    void (*func)(Device *dev);
} GuestTimer;

/* @func: called on the host's loop with the device's lock held, when the deadline has passed. At
 * realize. */
bool guest_timer_init(GuestTimer *timer, Device *dev, void (*func)(Device *dev), GError **error);

/* At unrealize; a timer that was never initialized is accepted. */
void guest_timer_done(GuestTimer *timer);

/* Arms for guest time @deadline_ns, or disarms with DEVICE_TIMER_OFF. Context: device lock held. */
void guest_timer_set(GuestTimer *timer, int64_t deadline_ns);

/* Guest time in ns. Context: any thread. */
static inline int64_t device_now_ns(const Device *dev)
{
    return dev->host->clock_ns(dev->host->opaque);
}

/* Output @number of the device. Context: any thread. */
static inline void device_set_irq(const Device *dev, unsigned number, bool level)
{
    irq_line_set(&dev->host->irq[number], level);
}

static inline bool device_map_ports(Device *dev, GuestAddr base, Region *region, GError **error)
{
    return dev->host->map_region(dev->host->opaque, DEVICE_SPACE_PORTS, base, region, 0, error);
}

static inline void device_unmap_ports(Device *dev, GuestAddr base)
{
    dev->host->unmap_region(dev->host->opaque, DEVICE_SPACE_PORTS, base, 0);
}

static inline bool device_map_memory(Device *dev, GuestAddr base, Region *region, GError **error)
{
    return dev->host->map_region(dev->host->opaque, DEVICE_SPACE_MEMORY, base, region, 0, error);
}

static inline void device_unmap_memory(Device *dev, GuestAddr base)
{
    dev->host->unmap_region(dev->host->opaque, DEVICE_SPACE_MEMORY, base, 0);
}

#endif
