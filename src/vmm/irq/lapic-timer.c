/* Timer of the local APIC: one-shot, periodic, TSC deadline.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/irq/lapic-internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"

#include <stdatomic.h>

/* Fastest that a periodic timer is served, whatever its count: a guest may not burn the host. */
#define PERIOD_MIN_NS INT64_C(20000)

static int64_t now_ns(const Lapic *lapic)
{
    const IrqChipHost *host = irq_chip_host(lapic->chip);
    return host->clock_ns(host->opaque);
}

static uint32_t timer_mode(const Lapic *lapic)
{
    return lapic->lvt[LAPIC_LVT_TIMER] & LVT_TIMER_MODE;
}

/* log2 of the divisor; the encoding 111 divides by one. */
static unsigned divide_shift(const Lapic *lapic)
{
    unsigned code = (lapic->divide & 3) | (lapic->divide & 8) >> 1;
    return (code + 1) & 7;
}

static int64_t period_ns(const Lapic *lapic)
{
    return (int64_t)lapic->initial_count << divide_shift(lapic);
}

static void arm(Lapic *lapic, int64_t deadline_ns)
{
    if (lapic->deadline_ns == deadline_ns) {
        return;
    }
    lapic->deadline_ns = deadline_ns;
    if (!lapic->is_paused) {
        irq_chip_timer_set(lapic->chip, lapic->vcpu, deadline_ns);
    }
}

static uint32_t count_left(const Lapic *lapic, int64_t now)
{
    if (lapic->deadline_ns == IRQ_TIMER_OFF || timer_mode(lapic) == LVT_TIMER_DEADLINE) {
        return 0;
    }
    int64_t left = lapic->deadline_ns - now;
    int64_t period = period_ns(lapic);
    if (left <= 0) {
        if (timer_mode(lapic) != LVT_TIMER_PERIODIC || !period) {
            return 0;
        }
        left = period - -left % period;
    }
    uint64_t count = div_round_up((uint64_t)left, UINT64_C(1) << divide_shift(lapic));
    return (uint32_t)min_u64(count, lapic->initial_count);
}

uint32_t lapic_timer_read_current(Lapic *lapic)
{
    LOCK_GUARD(&lapic->timer_lock);
    return count_left(lapic, now_ns(lapic));
}

void lapic_timer_write_initial(Lapic *lapic, uint32_t value)
{
    LOCK_GUARD(&lapic->timer_lock);
    if (timer_mode(lapic) == LVT_TIMER_DEADLINE) {
        return;
    }
    lapic->initial_count = value;
    arm(lapic, value ? now_ns(lapic) + period_ns(lapic) : IRQ_TIMER_OFF);
}

void lapic_timer_write_divide(Lapic *lapic, uint32_t value)
{
    LOCK_GUARD(&lapic->timer_lock);
    int64_t now = now_ns(lapic);
    uint32_t left = count_left(lapic, now);
    lapic->divide = value & 0xb;
    if (lapic->deadline_ns != IRQ_TIMER_OFF && timer_mode(lapic) != LVT_TIMER_DEADLINE) {
        arm(lapic, now + ((int64_t)left << divide_shift(lapic)));
    }
}

void lapic_timer_mode_changed(Lapic *lapic, uint32_t old, uint32_t value)
{
    if (((old ^ value) & LVT_TIMER_MODE) == 0) {
        return;
    }
    LOCK_GUARD(&lapic->timer_lock);
    /* Only one-shot and periodic count on across a change. */
    if (((old | value) & LVT_TIMER_MODE) & LVT_TIMER_DEADLINE) {
        lapic->initial_count = 0;
        lapic->tsc_deadline = 0;
        arm(lapic, IRQ_TIMER_OFF);
    }
}

/* Guest clock at which the guest's TSC reaches @tsc. */
static int64_t deadline_of_tsc(const Lapic *lapic, uint64_t tsc)
{
    if (!tsc || !lapic->read_tsc) {
        return IRQ_TIMER_OFF;
    }
    int64_t now = now_ns(lapic);
    uint64_t now_tsc = lapic->read_tsc(lapic->tsc_opaque);
    if (tsc <= now_tsc) {
        return now;
    }
    unsigned __int128 ns = (unsigned __int128)(tsc - now_tsc) * NS_PER_SEC / lapic->tsc_hz;
    return ns < DEADLINE_SANE_NS / 2 ? now + (int64_t)ns + 1 : IRQ_TIMER_OFF;
}

void lapic_timer_write_deadline(Lapic *lapic, uint64_t tsc)
{
    if (timer_mode(lapic) != LVT_TIMER_DEADLINE) {
        return;
    }
    bool is_due = false;
    {
        LOCK_GUARD(&lapic->timer_lock);
        int64_t deadline = deadline_of_tsc(lapic, tsc);
        is_due = deadline != IRQ_TIMER_OFF && deadline <= now_ns(lapic);
        lapic->tsc_deadline = is_due ? 0 : tsc;
        arm(lapic, is_due ? IRQ_TIMER_OFF : deadline);
    }
    if (is_due) {
        lapic_raise_lvt(lapic, LAPIC_LVT_TIMER);
    }
}

uint64_t lapic_timer_read_deadline(Lapic *lapic)
{
    LOCK_GUARD(&lapic->timer_lock);
    return timer_mode(lapic) == LVT_TIMER_DEADLINE ? lapic->tsc_deadline : 0;
}

/* Takes note of a deadline that has passed. False: none has. Timer lock held. */
static bool expire(Lapic *lapic, int64_t now)
{
    if (lapic->deadline_ns == IRQ_TIMER_OFF || lapic->is_paused) {
        return false;
    }
    if (now < lapic->deadline_ns) {
        irq_chip_timer_set(lapic->chip, lapic->vcpu, lapic->deadline_ns);
        return false;
    }
    int64_t period = period_ns(lapic);
    if (timer_mode(lapic) == LVT_TIMER_PERIODIC && period) {
        period = period < PERIOD_MIN_NS ? PERIOD_MIN_NS : period;
        /* Ticks that were missed are one. */
        int64_t late = (now - lapic->deadline_ns) % period;
        arm(lapic, now - late + period);
    } else {
        lapic->tsc_deadline = 0;
        arm(lapic, IRQ_TIMER_OFF);
    }
    return true;
}

void lapic_timer_due(Lapic *lapic)
{
    bool expired;
    {
        LOCK_GUARD(&lapic->timer_lock);
        expired = expire(lapic, now_ns(lapic));
    }
    if (expired) {
        lapic_raise_lvt(lapic, LAPIC_LVT_TIMER);
    }
}

void lapic_timer_reset(Lapic *lapic)
{
    LOCK_GUARD(&lapic->timer_lock);
    lapic->divide = 0;
    lapic->initial_count = 0;
    lapic->tsc_deadline = 0;
    if (lapic->chip) {
        arm(lapic, IRQ_TIMER_OFF);
    }
    lapic->deadline_ns = IRQ_TIMER_OFF;
}

void lapic_pause(Lapic *lapic)
{
    LOCK_GUARD(&lapic->timer_lock);
    lapic->is_paused = true;
    irq_chip_timer_set(lapic->chip, lapic->vcpu, IRQ_TIMER_OFF);
}

void lapic_resume(Lapic *lapic)
{
    LOCK_GUARD(&lapic->timer_lock);
    lapic->is_paused = false;
    if (timer_mode(lapic) == LVT_TIMER_DEADLINE && lapic->tsc_deadline) {
        lapic->deadline_ns = deadline_of_tsc(lapic, lapic->tsc_deadline);
    }
    if (lapic->deadline_ns != IRQ_TIMER_OFF) {
        irq_chip_timer_set(lapic->chip, lapic->vcpu, lapic->deadline_ns);
    }
}
