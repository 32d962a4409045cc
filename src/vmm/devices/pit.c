/* Intel 8254 timer with the PC's port 0x61: gate and output of channel 2, refresh toggle.
 *
 * Source: Intel 8254 data sheet; IBM PC AT technical reference for port 0x61. Channel 0 drives
 * interrupt 0, one call of the host for each period however short its pulse is. Left out: sound,
 * reading of a counter that is being loaded in halves. SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

#include "base/clock.h"
#include "base/int-math.h"

#define PIT_HZ 1193182
#define CHANNELS 3
/* Fastest that channel 0 calls the host; shorter periods lose ticks. */
#define PERIOD_MIN_NS INT64_C(20000)

#define PORT_COUNTER 0x40
#define PORT_CONTROL_OFFSET 3
#define PORT_SYSTEM_B 0x61
#define SYSTEM_B_GATE 0x01
#define SYSTEM_B_SPEAKER 0x02
#define SYSTEM_B_REFRESH 0x10
#define SYSTEM_B_OUT 0x20
#define SYSTEM_B_WRITABLE 0x0f
#define REFRESH_NS 15085

#define READ_BACK 3
#define READ_BACK_NO_COUNT 0x20
#define READ_BACK_NO_STATUS 0x10

#define STATUS_OUT 0x80
#define STATUS_NULL_COUNT 0x40

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

typedef struct Channel {
    uint16_t reload;     /* as written; 0 means the largest */
    uint16_t latched;    /* count held for reading */
    uint8_t latch_bytes; /* bytes of it still to be read, 0..2 */
    uint8_t status;      /* held for reading */
    bool has_status;
    uint8_t access; /* ACCESS_LOW.. */
    uint8_t mode;   /* 0..5 */
    bool is_bcd;
    bool reads_high;   /* next of ACCESS_BOTH */
    bool writes_high;  /* next of ACCESS_BOTH */
    uint8_t write_low; /* first half of ACCESS_BOTH */
    bool gate;
    bool is_loaded;   /* a count was written since the mode */
    int64_t start_ns; /* guest time when counting began */
} Channel;

typedef struct Pit {
    Device dev;
    Channel channel[CHANNELS];
    uint8_t system_b; /* written bits of port 0x61 */
    GuestTimer timer; /* next rising edge of channel 0 */
    Region ports, port_b;
} Pit;

static uint64_t ns_to_ticks(int64_t ns)
{
    return ns <= 0 ? 0 : (uint64_t)((unsigned __int128)(uint64_t)ns * PIT_HZ / NS_PER_SEC);
}

/* Rounded up, so that after this time the ticks have passed. */
static int64_t ticks_to_ns(uint64_t ticks)
{
    return (int64_t)(((unsigned __int128)ticks * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

static uint32_t from_bcd(uint16_t value)
{
    return (value & 15) + 10 * (value >> 4 & 15) + 100 * (value >> 8 & 15) +
           1000 * (value >> 12 & 15);
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                      value / 1000 % 10 << 12);
}

/* Counts of one round. */
static uint32_t channel_length(const Channel *channel)
{
    uint32_t count = channel->is_bcd ? from_bcd(channel->reload) : channel->reload;
    return count ? count : channel->is_bcd ? 10000 : 0x10000;
}

static bool is_periodic(const Channel *channel)
{
    return channel->mode == 2 || channel->mode == 3;
}

static uint64_t ticks_passed(const Channel *channel, int64_t now)
{
    return ns_to_ticks(now - channel->start_ns);
}

/* Counting stops while the gate is low, in the modes that look at its level. */
static bool is_counting(const Channel *channel)
{
    bool gate_stops = channel->mode == 0 || channel->mode == 4 || is_periodic(channel);
    return channel->is_loaded && (channel->gate || !gate_stops);
}

static uint16_t channel_count(const Channel *channel, int64_t now)
{
    uint32_t length = channel_length(channel);
    uint64_t passed = is_counting(channel) ? ticks_passed(channel, now) : 0;
    uint32_t wrap = channel->is_bcd ? 10000 : 0x10000;
    uint32_t count;
    if (channel->mode == 3) {
        /* Counts down by two, twice in a round. */
        count = length - (uint32_t)(2 * passed % length);
    } else if (channel->mode == 2) {
        count = length - (uint32_t)(passed % length);
    } else {
        count = (uint32_t)((length + wrap - passed % wrap) % wrap);
    }
    count %= wrap;
    return channel->is_bcd ? to_bcd(count) : (uint16_t)count;
}

static bool channel_out(const Channel *channel, int64_t now)
{
    if (!channel->is_loaded) {
        return channel->mode != 0;
    }
    uint32_t length = channel_length(channel);
    uint64_t passed = is_counting(channel) ? ticks_passed(channel, now) : 0;
    switch (channel->mode) {
    case 0:
    case 1:
        return passed >= length;
    case 2:
        return !channel->gate || passed % length != length - 1;
    case 3:
        return !channel->gate || passed % length < (length + 1) / 2;
    default: /* strobes: low for one tick at the end */
        return passed != length;
    }
}

/* Arms the timer for the next rising edge of channel 0's output. */
static void arm(Pit *pit, int64_t now)
{
    const Channel *channel = &pit->channel[0];
    int64_t deadline = DEVICE_TIMER_OFF;
    if (is_counting(channel)) {
        uint32_t length = channel_length(channel);
        uint64_t passed = ticks_passed(channel, now);
        if (is_periodic(channel)) {
            deadline = channel->start_ns + ticks_to_ns((passed / length + 1) * length);
            if (deadline - now < PERIOD_MIN_NS && ticks_to_ns(length) < PERIOD_MIN_NS) {
                deadline = now + PERIOD_MIN_NS;
            }
        } else if (passed <= length) {
            uint64_t end = channel->mode >= 4 ? (uint64_t)length + 1 : length;
            deadline = channel->start_ns + ticks_to_ns(end);
        }
    }
    guest_timer_set(&pit->timer, deadline);
}

static void timer_expired(Device *dev)
{
    Pit *pit = (Pit *)dev;
    const Channel *channel = &pit->channel[0];
    device_set_irq(dev, 0, false);
    device_set_irq(dev, 0, true);
    if (is_periodic(channel)) {
        arm(pit, device_now_ns(dev));
    }
}

static void load_count(Pit *pit, unsigned index, uint16_t value)
{
    Channel *channel = &pit->channel[index];
    int64_t now = device_now_ns(&pit->dev);
    channel->reload = value;
    /* Periodic modes take a new count at the end of the round; nobody tells it from at once. */
    channel->start_ns = now;
    channel->is_loaded = true;
    if (index == 0) {
        device_set_irq(&pit->dev, 0, channel_out(channel, now));
        arm(pit, now);
    }
}

static void latch_count(Pit *pit, Channel *channel)
{
    if (!channel->latch_bytes) {
        channel->latched = channel_count(channel, device_now_ns(&pit->dev));
        channel->latch_bytes = channel->access == ACCESS_BOTH ? 2 : 1;
    }
}

static void latch_status(Pit *pit, Channel *channel)
{
    if (!channel->has_status) {
        channel->status = (uint8_t)(channel->access << 4 | channel->mode << 1 | channel->is_bcd);
        if (channel_out(channel, device_now_ns(&pit->dev))) {
            channel->status |= STATUS_OUT;
        }
        if (!channel->is_loaded) {
            channel->status |= STATUS_NULL_COUNT;
        }
        channel->has_status = true;
    }
}

static void read_back(Pit *pit, uint8_t value)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (value & (2u << i)) {
            if (!(value & READ_BACK_NO_COUNT)) {
                latch_count(pit, &pit->channel[i]);
            }
            if (!(value & READ_BACK_NO_STATUS)) {
                latch_status(pit, &pit->channel[i]);
            }
        }
    }
}

static void write_control(Pit *pit, uint8_t value)
{
    unsigned index = value >> 6;
    if (index == READ_BACK) {
        read_back(pit, value);
        return;
    }
    Channel *channel = &pit->channel[index];
    uint8_t access = value >> 4 & 3;
    if (access == ACCESS_LATCH) {
        latch_count(pit, channel);
        return;
    }
    uint8_t mode = value >> 1 & 7;
    channel->access = access;
    channel->mode = mode > 5 ? mode - 4 : mode;
    channel->is_bcd = value & 1;
    channel->reads_high = false;
    channel->writes_high = false;
    channel->latch_bytes = 0;
    channel->has_status = false;
    channel->is_loaded = false;
    if (index == 0) {
        device_set_irq(&pit->dev, 0, channel->mode != 0);
        guest_timer_set(&pit->timer, DEVICE_TIMER_OFF);
    }
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Pit *pit = opaque;
    uint8_t byte = (uint8_t)value;
    if (offset == PORT_CONTROL_OFFSET) {
        write_control(pit, byte);
        return;
    }
    Channel *channel = &pit->channel[offset];
    switch (channel->access) {
    case ACCESS_LOW:
        load_count(pit, (unsigned)offset, byte);
        break;
    case ACCESS_HIGH:
        load_count(pit, (unsigned)offset, (uint16_t)(byte << 8));
        break;
    default:
        if (channel->writes_high) {
            load_count(pit, (unsigned)offset, (uint16_t)(channel->write_low | byte << 8));
        } else {
            channel->write_low = byte;
        }
        channel->writes_high = !channel->writes_high;
        break;
    }
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    Pit *pit = opaque;
    if (offset == PORT_CONTROL_OFFSET) {
        return 0xff;
    }
    Channel *channel = &pit->channel[offset];
    if (channel->has_status) {
        channel->has_status = false;
        return channel->status;
    }
    uint16_t count =
        channel->latch_bytes ? channel->latched : channel_count(channel, device_now_ns(&pit->dev));
    if (channel->latch_bytes) {
        channel->latch_bytes--;
    }
    switch (channel->access) {
    case ACCESS_LOW:
        return count & 0xff;
    case ACCESS_HIGH:
        return count >> 8;
    default:
        channel->reads_high = !channel->reads_high;
        return channel->reads_high ? count & 0xff : count >> 8;
    }
}

static uint64_t system_b_read(void *opaque, uint64_t offset, unsigned size)
{
    Pit *pit = opaque;
    int64_t now = device_now_ns(&pit->dev);
    uint8_t value = pit->system_b;
    value |= channel_out(&pit->channel[2], now) ? SYSTEM_B_OUT : 0;
    value |= now / REFRESH_NS & 1 ? SYSTEM_B_REFRESH : 0;
    return value;
}

static void system_b_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Pit *pit = opaque;
    Channel *channel = &pit->channel[2];
    bool gate = value & SYSTEM_B_GATE;
    pit->system_b = value & SYSTEM_B_WRITABLE;
    if (gate && !channel->gate) {
        /* A rising gate starts a round, or goes on with a stopped one: no guest stops one halfway
         * to continue it. */
        channel->start_ns = device_now_ns(&pit->dev);
    }
    channel->gate = gate;
}

static const RegionOps pit_ops = { pit_read, pit_write, 1, 1 };
static const RegionOps system_b_ops = { system_b_read, system_b_write, 1, 1 };

static bool pit_realize(Device *dev, GError **error)
{
    Pit *pit = (Pit *)dev;
    pit->ports = (Region){ "pit", 4, &pit_ops, pit, &dev->lock };
    pit->port_b = (Region){ "port61", 1, &system_b_ops, pit, &dev->lock };
    if (!guest_timer_init(&pit->timer, dev, timer_expired, error)) {
        return false;
    }
    if (!device_map_ports(dev, PORT_COUNTER, &pit->ports, error)) {
        guest_timer_done(&pit->timer);
        return false;
    }
    if (!device_map_ports(dev, PORT_SYSTEM_B, &pit->port_b, error)) {
        device_unmap_ports(dev, PORT_COUNTER);
        guest_timer_done(&pit->timer);
        return false;
    }
    return true;
}

static void pit_unrealize(Device *dev)
{
    Pit *pit = (Pit *)dev;
    device_unmap_ports(dev, PORT_COUNTER);
    device_unmap_ports(dev, PORT_SYSTEM_B);
    guest_timer_done(&pit->timer);
}

static void pit_reset(Device *dev, ResetKind kind)
{
    Pit *pit = (Pit *)dev;
    for (unsigned i = 0; i < CHANNELS; i++) {
        pit->channel[i] = (Channel){ .access = ACCESS_BOTH, .mode = 3, .gate = i != 2 };
    }
    pit->system_b = 0;
    guest_timer_set(&pit->timer, DEVICE_TIMER_OFF);
    device_set_irq(dev, 0, false);
}

static bool pit_post_load(Device *dev, GError **error)
{
    const Pit *pit = (const Pit *)dev;
    for (unsigned i = 0; i < CHANNELS; i++) {
        const Channel *channel = &pit->channel[i];
        if (channel->mode > 5 || channel->access < ACCESS_LOW || channel->access > ACCESS_BOTH ||
            channel->latch_bytes > 2 || channel->start_ns < 0 ||
            channel->start_ns > INT64_MAX / 4) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "channel %u: impossible state", i);
            return false;
        }
    }
    return true;
}

static void pit_resume(Device *dev)
{
    Pit *pit = (Pit *)dev;
    arm(pit, device_now_ns(dev));
}

static const StateField channel_fields[] = {
    STATE_FIELD(Channel, STATE_U16, reload),
    STATE_FIELD(Channel, STATE_U16, latched),
    STATE_FIELD(Channel, STATE_U8, latch_bytes),
    STATE_FIELD(Channel, STATE_U8, status),
    STATE_FIELD(Channel, STATE_BOOL, has_status),
    STATE_FIELD(Channel, STATE_U8, access),
    STATE_FIELD(Channel, STATE_U8, mode),
    STATE_FIELD(Channel, STATE_BOOL, is_bcd),
    STATE_FIELD(Channel, STATE_BOOL, reads_high),
    STATE_FIELD(Channel, STATE_BOOL, writes_high),
    STATE_FIELD(Channel, STATE_U8, write_low),
    STATE_FIELD(Channel, STATE_BOOL, gate),
    STATE_FIELD(Channel, STATE_BOOL, is_loaded),
    STATE_FIELD(Channel, STATE_U64, start_ns),
    STATE_END,
};
static const StateTable channel_state = { .name = "channel", .fields = channel_fields };
static const StateField pit_fields[] = {
    STATE_STRUCTS(Pit, channel, &channel_state),
    STATE_FIELD(Pit, STATE_U8, system_b),
    STATE_END,
};
static const StateTable pit_state = { .name = "pit", .fields = pit_fields };

const DeviceClass pit_class = {
    .name = "isa-pit",
    .summary = "8254 interval timer",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(Pit),
    .state = &pit_state,
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset = pit_reset,
    .resume = pit_resume,
    .post_load = pit_post_load,
};
