/* A timer of a device in guest time.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/guest-timer.h"

#include "base/cleanup.h"
#include "gbase/error.h"

static void expired(void *opaque)
{
    GuestTimer *timer = opaque;
    LOCK_GUARD(&timer->dev->lock);
    if (timer->deadline_ns == DEVICE_TIMER_OFF) {
        return;
    }
    if (device_now_ns(timer->dev) < timer->deadline_ns) {
        guest_timer_set(timer, timer->deadline_ns);
        return;
    }
    timer->deadline_ns = DEVICE_TIMER_OFF;
    timer->func(timer->dev);
}

bool guest_timer_init(GuestTimer *timer, Device *dev, void (*func)(Device *dev), GError **error)
{
    timer->dev = dev;
    timer->func = func;
    timer->deadline_ns = DEVICE_TIMER_OFF;
    timer->timer = loop_timer_new(dev->host->loop, expired, timer);
    if (!timer->timer) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "no memory for a timer");
        return false;
    }
    return true;
}

void guest_timer_done(GuestTimer *timer)
{
    if (timer->timer) {
        guest_timer_set(timer, DEVICE_TIMER_OFF);
        loop_timer_free(timer->timer);
        timer->timer = NULL;
    }
}

void guest_timer_set(GuestTimer *timer, int64_t deadline_ns)
{
    const DeviceHost *host = timer->dev->host;
    timer->deadline_ns = deadline_ns;
    host->timer_set(host->opaque, timer->timer, deadline_ns);
}
