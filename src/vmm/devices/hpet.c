/* High precision event timer: 100 MHz, three 64-bit timers, all periodic, legacy replacement.
 *
 * Source: IA-PC HPET Specification 1.0a. Message delivery of the interrupts with the property msi.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

#include <stdatomic.h>

#define HPET_BASE 0xfed00000u
#define HPET_SIZE 0x400u
#define TIMERS 3
#define TICK_NS 10
#define TICK_FS UINT64_C(10000000)
/* Fastest that one timer calls the host; shorter periods lose ticks. */
#define PERIOD_MIN_NS INT64_C(20000)
/* Longest wait that is armed: the host's timer need not count past it. */
#define WAIT_MAX_TICKS (UINT64_C(1) << 56)

#define REG_CAPABILITIES 0x000
#define REG_CONFIG 0x010
#define REG_STATUS 0x020
#define REG_COUNTER 0x0f0
#define REG_TIMER 0x100
#define TIMER_STRIDE 0x20
#define TIMER_CONFIG 0x00
#define TIMER_COMPARATOR 0x08
#define TIMER_MESSAGE 0x10

/* Revision 1, 64-bit counter, legacy replacement. */
#define CAPABILITIES                                                                               \
    (TICK_FS << 32 | UINT64_C(0x8086) << 16 | 0x8000u | 0x2000u | (TIMERS - 1) << 8 | 1)

#define CONFIG_ENABLE 0x1
#define CONFIG_LEGACY 0x2

#define TIMER_LEVEL 0x0002u
#define TIMER_ENABLE 0x0004u
#define TIMER_PERIODIC 0x0008u
#define TIMER_SET_VALUE 0x0040u
#define TIMER_32_BITS 0x0100u
#define TIMER_ROUTE_SHIFT 9
#define TIMER_ROUTE 0x3e00u
#define TIMER_MESSAGE_ENABLE 0x4000u
#define TIMER_MESSAGE_CAPABLE 0x8000u
#define TIMER_WRITABLE 0x7f4eu
/* Periodic, 64 bits, and the IO-APIC pins it can reach: 2, 8, 20-23. */
#define TIMER_CAPABILITIES (UINT64_C(0x00f00104) << 32 | 0x0030u)

typedef struct HpetTimer {
    uint64_t config, comparator, period, message;
    GuestTimer timer;
} HpetTimer;

typedef struct Hpet {
    Device dev;
    bool has_msi; /* property */
    uint64_t config, status;
    uint64_t counter; /* at guest time 0 while it runs, present value while it stands */
    HpetTimer timer[TIMERS];
    atomic_bool is_legacy; /* the PIT and the RTC are cut off */
    Region region;
} Hpet;

static bool is_enabled(const Hpet *hpet)
{
    return hpet->config & CONFIG_ENABLE;
}

static uint64_t now_ticks(const Hpet *hpet)
{
    return (uint64_t)device_now_ns(&hpet->dev) / TICK_NS;
}

static uint64_t counter_value(const Hpet *hpet)
{
    return is_enabled(hpet) ? hpet->counter + now_ticks(hpet) : hpet->counter;
}

static bool is_periodic(const HpetTimer *timer)
{
    return timer->config & TIMER_PERIODIC;
}

static uint64_t timer_mask(const HpetTimer *timer)
{
    return timer->config & TIMER_32_BITS ? UINT32_MAX : UINT64_MAX;
}

static void arm(Hpet *hpet, HpetTimer *timer)
{
    uint64_t wait = (timer->comparator - counter_value(hpet)) & timer_mask(timer);
    if (!is_enabled(hpet) || wait > WAIT_MAX_TICKS) {
        guest_timer_set(&timer->timer, DEVICE_TIMER_OFF);
        return;
    }
    int64_t now = device_now_ns(&hpet->dev);
    int64_t deadline = now / TICK_NS * TICK_NS + (int64_t)wait * TICK_NS;
    bool is_fast = is_periodic(timer) && timer->period < PERIOD_MIN_NS / TICK_NS;
    if (is_fast && deadline < now + PERIOD_MIN_NS) {
        deadline = now + PERIOD_MIN_NS;
    }
    guest_timer_set(&timer->timer, deadline);
}

static void arm_all(Hpet *hpet)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        arm(hpet, &hpet->timer[i]);
    }
}

/* Output of the device that timer @index drives, or -1. */
static int timer_output(const Hpet *hpet, unsigned index)
{
    if ((hpet->config & CONFIG_LEGACY) && index < 2) {
        return (int)index;
    }
    unsigned pin = (hpet->timer[index].config & TIMER_ROUTE) >> TIMER_ROUTE_SHIFT;
    if (pin == 2 || pin == 8) {
        return pin == 8;
    }
    return pin >= 20 && pin <= 23 ? (int)pin - 20 + 2 : -1;
}

static void raise_timer(Hpet *hpet, unsigned index)
{
    HpetTimer *timer = &hpet->timer[index];
    bool is_level = timer->config & TIMER_LEVEL;
    if (is_level) {
        hpet->status |= 1u << index;
    }
    if (!(timer->config & TIMER_ENABLE)) {
        return;
    }
    if (hpet->has_msi && (timer->config & TIMER_MESSAGE_ENABLE)) {
        msi_send(&hpet->dev.host->msi, timer->message >> 32, (uint32_t)timer->message);
        return;
    }
    int output = timer_output(hpet, index);
    if (output >= 0) {
        if (!is_level) {
            device_set_irq(&hpet->dev, (unsigned)output, false);
        }
        device_set_irq(&hpet->dev, (unsigned)output, true);
        if (!is_level) {
            device_set_irq(&hpet->dev, (unsigned)output, false);
        }
    }
}

static void lower_timer(Hpet *hpet, unsigned index)
{
    int output = timer_output(hpet, index);
    if (output >= 0) {
        device_set_irq(&hpet->dev, (unsigned)output, false);
    }
}

static void timer_expired(Hpet *hpet, unsigned index)
{
    HpetTimer *timer = &hpet->timer[index];
    uint64_t mask = timer_mask(timer);
    if (!is_enabled(hpet)) {
        return;
    }
    if (is_periodic(timer) && timer->period) {
        uint64_t late = (counter_value(hpet) - timer->comparator) & mask;
        timer->comparator = (timer->comparator + (late / timer->period + 1) * timer->period) & mask;
        arm(hpet, timer);
    } else if (mask == UINT32_MAX) {
        /* Once more after the counter's low half wrapped. */
        guest_timer_set(&timer->timer, device_now_ns(&hpet->dev) + (INT64_C(1) << 32) * TICK_NS);
    }
    raise_timer(hpet, index);
}

static void timer_0_expired(Device *dev)
{
    timer_expired((Hpet *)dev, 0);
}

static void timer_1_expired(Device *dev)
{
    timer_expired((Hpet *)dev, 1);
}

static void timer_2_expired(Device *dev)
{
    timer_expired((Hpet *)dev, 2);
}

static uint64_t read_timer(const Hpet *hpet, uint64_t offset)
{
    unsigned index = (unsigned)((offset - REG_TIMER) / TIMER_STRIDE);
    if (index >= TIMERS) {
        return 0;
    }
    const HpetTimer *timer = &hpet->timer[index];
    switch (offset % TIMER_STRIDE) {
    case TIMER_CONFIG:
        return timer->config | TIMER_CAPABILITIES | (hpet->has_msi ? TIMER_MESSAGE_CAPABLE : 0);
    case TIMER_COMPARATOR:
        return timer->comparator;
    case TIMER_MESSAGE:
        return timer->message;
    default:
        return 0;
    }
}

/* The 64-bit register at @offset, a multiple of 8. */
static uint64_t read_register(const Hpet *hpet, uint64_t offset)
{
    switch (offset) {
    case REG_CAPABILITIES:
        return CAPABILITIES;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return counter_value(hpet);
    default:
        return offset >= REG_TIMER ? read_timer(hpet, offset) : 0;
    }
}

static void set_legacy(Hpet *hpet)
{
    bool is_legacy = hpet->config & CONFIG_LEGACY;
    atomic_store(&hpet->is_legacy, is_legacy);
    device_set_irq(&hpet->dev, HPET_LEGACY_LINE, is_legacy);
}

static void write_config(Hpet *hpet, uint64_t value)
{
    bool was_enabled = is_enabled(hpet);
    for (unsigned i = 0; i < TIMERS; i++) {
        lower_timer(hpet, i);
    }
    uint64_t counter = counter_value(hpet);
    hpet->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
    set_legacy(hpet);
    if (is_enabled(hpet) != was_enabled) {
        hpet->counter = is_enabled(hpet) ? counter - now_ticks(hpet) : counter;
    }
    arm_all(hpet);
}

static void write_comparator(Hpet *hpet, HpetTimer *timer, uint64_t value, bool is_complete)
{
    value &= timer_mask(timer);
    if (!is_periodic(timer) || (timer->config & TIMER_SET_VALUE)) {
        timer->comparator = value;
    }
    if (is_periodic(timer)) {
        timer->period = value;
    }
    if (is_complete) {
        timer->config &= ~(uint64_t)TIMER_SET_VALUE;
    }
    arm(hpet, timer);
}

/* @mask: the bits that this access writes. */
static void write_timer(Hpet *hpet, uint64_t offset, uint64_t value, uint64_t mask)
{
    unsigned index = (unsigned)((offset - REG_TIMER) / TIMER_STRIDE);
    if (index >= TIMERS) {
        return;
    }
    HpetTimer *timer = &hpet->timer[index];
    switch (offset % TIMER_STRIDE) {
    case TIMER_CONFIG:
        if (mask & UINT32_MAX) {
            lower_timer(hpet, index);
            hpet->status &= ~(uint64_t)(1u << index);
            timer->config = value & TIMER_WRITABLE;
            timer->comparator &= timer_mask(timer);
            timer->period &= timer_mask(timer);
            arm(hpet, timer);
        }
        break;
    case TIMER_COMPARATOR: {
        uint64_t old = is_periodic(timer) ? timer->period : timer->comparator;
        bool is_complete = mask >> 32 || (timer->config & TIMER_32_BITS);
        write_comparator(hpet, timer, (old & ~mask) | (value & mask), is_complete);
        break;
    }
    case TIMER_MESSAGE:
        timer->message = (timer->message & ~mask) | (value & mask);
        break;
    default:
        break;
    }
}

static void write_register(Hpet *hpet, uint64_t offset, uint64_t value, uint64_t mask)
{
    switch (offset) {
    case REG_CAPABILITIES:
        break;
    case REG_CONFIG:
        if (mask & UINT32_MAX) {
            write_config(hpet, value);
        }
        break;
    case REG_STATUS:
        for (unsigned i = 0; i < TIMERS; i++) {
            if (value & mask & hpet->status & (1u << i)) {
                hpet->status &= ~(uint64_t)(1u << i);
                lower_timer(hpet, i);
            }
        }
        break;
    case REG_COUNTER:
        value = (counter_value(hpet) & ~mask) | (value & mask);
        hpet->counter = is_enabled(hpet) ? value - now_ticks(hpet) : value;
        arm_all(hpet);
        break;
    default:
        if (offset >= REG_TIMER) {
            write_timer(hpet, offset, value, mask);
        }
        break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_register(opaque, offset & ~UINT64_C(7)) >> (8 * (offset & 7));
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    unsigned shift = 8 * (offset & 7);
    uint64_t mask = (size == 8 ? UINT64_MAX : UINT32_MAX) << shift;
    write_register(opaque, offset & ~UINT64_C(7), value << shift, mask);
}

static const RegionOps hpet_ops = { hpet_read, hpet_write, 4, 8 };

static void legacy_input(void *opaque, unsigned number, bool level)
{
    const Hpet *hpet = opaque;
    if (!atomic_load(&hpet->is_legacy)) {
        device_set_irq(&hpet->dev, number, level);
    }
}

IrqLine hpet_legacy_input(Device *dev, unsigned number)
{
    return (IrqLine){ legacy_input, dev, number };
}

static void free_timers(Hpet *hpet)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        guest_timer_done(&hpet->timer[i].timer);
    }
}

static bool hpet_realize(Device *dev, GError **error)
{
    static void (*const expired[TIMERS])(Device *) = { timer_0_expired, timer_1_expired,
                                                       timer_2_expired };
    Hpet *hpet = (Hpet *)dev;
    hpet->region = (Region){ "hpet", HPET_SIZE, &hpet_ops, hpet, &dev->lock };
    for (unsigned i = 0; i < TIMERS; i++) {
        if (!guest_timer_init(&hpet->timer[i].timer, dev, expired[i], error)) {
            free_timers(hpet);
            return false;
        }
    }
    if (!device_map_memory(dev, HPET_BASE, &hpet->region, error)) {
        free_timers(hpet);
        return false;
    }
    return true;
}

static void hpet_unrealize(Device *dev)
{
    device_unmap_memory(dev, HPET_BASE);
    free_timers((Hpet *)dev);
}

static void hpet_reset(Device *dev, ResetKind kind)
{
    Hpet *hpet = (Hpet *)dev;
    write_config(hpet, 0);
    hpet->counter = 0;
    hpet->status = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        HpetTimer *timer = &hpet->timer[i];
        timer->config = 0;
        timer->comparator = UINT64_MAX;
        timer->period = 0;
        timer->message = 0;
    }
    arm_all(hpet);
}

static void hpet_resume(Device *dev)
{
    Hpet *hpet = (Hpet *)dev;
    set_legacy(hpet);
    arm_all(hpet);
}

static bool hpet_post_load(Device *dev, GError **error)
{
    const Hpet *hpet = (const Hpet *)dev;
    bool ok =
        !(hpet->config & ~(uint64_t)(CONFIG_ENABLE | CONFIG_LEGACY)) && !(hpet->status >> TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        const HpetTimer *timer = &hpet->timer[i];
        ok = ok && !(timer->config & ~(uint64_t)TIMER_WRITABLE) &&
             timer->period <= timer_mask(timer) && timer->comparator <= timer_mask(timer);
    }
    if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible register values");
    }
    return ok;
}

static const Property hpet_properties[] = {
    { "msi", PROPERTY_BOOL, offsetof(Hpet, has_msi), "off",
      .help = "timers can send messages instead of using lines" },
    { NULL },
};

static const StateField timer_fields[] = {
    STATE_FIELD(HpetTimer, STATE_U64, config),
    STATE_FIELD(HpetTimer, STATE_U64, comparator),
    STATE_FIELD(HpetTimer, STATE_U64, period),
    STATE_FIELD(HpetTimer, STATE_U64, message),
    STATE_END,
};
static const StateTable timer_state = { .name = "timer", .fields = timer_fields };
static const StateField hpet_fields[] = {
    STATE_FIELD(Hpet, STATE_U64, config),
    STATE_FIELD(Hpet, STATE_U64, status),
    STATE_FIELD(Hpet, STATE_U64, counter),
    STATE_STRUCTS(Hpet, timer, &timer_state),
    STATE_END,
};
static const StateTable hpet_state = { .name = "hpet", .fields = hpet_fields };

const DeviceClass hpet_class = {
    .name = "hpet",
    .summary = "high precision event timer",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(Hpet),
    .properties = hpet_properties,
    .state = &hpet_state,
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
    .resume = hpet_resume,
    .post_load = hpet_post_load,
};
