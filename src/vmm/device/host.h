/* What a device may use of its machine: nothing else can be reached, so four fakes test any device.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICE_HOST_H
#define LODGE_VMM_DEVICE_HOST_H

#include "event/loop-thread.h"
#include "vmm/bus/region.h"
#include "vmm/irq/line.h"
#include "vmm/memory/guest-memory.h"

#include <glib.h>

#define DEVICE_IRQS_MAX 24
#define DEVICE_TIMER_OFF INT64_MAX

typedef enum DeviceSpace { DEVICE_SPACE_MEMORY, DEVICE_SPACE_PORTS } DeviceSpace;

typedef enum PowerEvent {
    POWER_SHUTDOWN,
    POWER_RESET,
    POWER_SUSPEND,
    POWER_PANIC,
    POWER_DEBUG_EXIT
} PowerEvent;

/* What a guest did with a device, for those who watch the machine from outside. */
typedef enum DeviceNotice {
    DEVICE_NOTICE_PORT,    /* a serial port's guest side: 1 opened, 0 closed */
    DEVICE_NOTICE_BALLOON, /* bytes that the guest gave up */
    DEVICE_NOTICE_CLOCK,   /* seconds that the guest's clock is ahead of the host's */
} DeviceNotice;
#define DEVICE_NOTICES 3

typedef struct DeviceHost {
    GuestMemory *memory;          /* checked DMA; NULL for devices without */
    EventLoop *loop;              /* timers, descriptors, back ends of this device */
    unsigned vcpus;               /* of the guest at its start; 0: not known */
    IrqLine irq[DEVICE_IRQS_MAX]; /* outputs, numbered as the device's header says */
    MsiSink msi;
    /* Guest clock in ns: stops while the guest is paused. Context: any thread. */
    int64_t (*clock_ns)(void *opaque);
    /* Arms @timer (made with loop_timer_new on @loop) for guest time @deadline_ns, DEVICE_TIMER_OFF
     * disarms it. Re-armed by the machine when the guest resumes. It may fire late or once too
     * often: its function takes the device's lock and compares with clock_ns(). Context: any
     * thread, with device locks held. */
    void (*timer_set)(void *opaque, LoopTimer *timer, int64_t deadline_ns);
    /* Context: main thread. The region is borrowed until it is unmapped. False: @error says what is
     * in the way. */
    bool (*map_region)(void *opaque, DeviceSpace space, GuestAddr base, Region *region,
                       int priority, GError **error);
    void (*unmap_region)(void *opaque, DeviceSpace space, GuestAddr base, int priority);
    /* Maps RAM (ROM with @readonly) that the device owns. */
    bool (*map_ram)(void *opaque, GuestAddr base, RamBlock *block, bool readonly, int priority,
                    GError **error);
    void (*unmap_ram)(void *opaque, GuestAddr base, int priority);
    /* Power button, reset ports, panics: acted on by the main thread afterwards. @code: of a debug
     * exit. Context: any thread. */
    void (*power_event)(void *opaque, PowerEvent event, int code);
    /* A network card's address: all zero, one that no other card has by default is filled in; else
     * it is noted as taken. It is free again after unrealize. */
    void (*claim_mac)(void *opaque, uint8_t mac[6]);
    /* Back ends by name. The machine checks that one is used once. NULL: @error names it. */
    void *(*find_backend)(void *opaque, const char *kind, const char *name, GError **error);
    /* optional; told on the main thread afterwards, the last value if there were several. Context:
     * any thread, with device locks held. */
    void (*notify)(void *opaque, DeviceNotice notice, int64_t value);
    /* optional; of a port with a slot: the guest switched it off, what is in it may be taken out.
     * Acted on by the main thread afterwards. Context: any thread, with device locks held. */
    void (*slot_off)(void *opaque);
    /* optional (KVM): signals @event_fd on writes of @size bytes at @addr. Returns 0 or -errno. */
    int (*ioeventfd)(void *opaque, DeviceSpace space, GuestAddr addr, unsigned size, bool has_match,
                     uint64_t match, int event_fd, bool assign);
    void *opaque;
} DeviceHost;

static inline void device_host_notify(const DeviceHost *host, DeviceNotice notice, int64_t value)
{
    if (host->notify) {
        host->notify(host->opaque, notice, value);
    }
}

#endif
