/* MC146818 real-time clock with 128 bytes of CMOS memory, ports 0x70 and 0x71.
 *
 * Source: Motorola MC146818 data sheet; IBM PC AT use of its memory. The clock is the host's plus
 * a difference that the guest sets. Flags are worked out when somebody looks or an enabled
 * interrupt is due. Left out: square wave, daylight saving.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

#include "base/clock.h"
#include "base/int-math.h"
#include "base/log.h"

#include <string.h>
#include <time.h>

#define PORT_INDEX 0x70
#define CMOS_BYTES 128

enum {
    REG_SECONDS = 0x00,
    REG_SECONDS_ALARM = 0x01,
    REG_MINUTES = 0x02,
    REG_MINUTES_ALARM = 0x03,
    REG_HOURS = 0x04,
    REG_HOURS_ALARM = 0x05,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    REG_CENTURY = 0x32,
};

#define A_UPDATING 0x80
#define A_RATE 0x0f
#define B_SET 0x80
#define B_INTERRUPTS 0x70 /* same bits as in C */
#define B_SQUARE_WAVE 0x08
#define B_BINARY 0x04
#define B_24_HOURS 0x02
#define C_IRQ 0x80
#define C_PERIODIC 0x40
#define C_ALARM 0x20
#define C_UPDATE 0x10
#define D_VALID 0x80
#define HOURS_PM 0x80
#define ALARM_ANY 0xc0

#define CRYSTAL_HZ 32768
/* The update cycle begins this long before the second changes. */
#define UPDATE_NS INT64_C(244141)
/* Latest time that a guest may set (year 2116), and that a saved clock may show. */
#define TIME_SET_MAX_NS (INT64_MAX / 2)
#define TIME_MAX_NS (INT64_MAX / 4 * 3)

typedef struct Rtc {
    Device dev;
    uint64_t base_seconds; /* property; 0: the host's clock */
    uint8_t cmos[CMOS_BYTES];
    uint8_t index;
    int64_t delta_ns; /* guest's clock minus its base */
    int64_t seen_ns;  /* guest's clock when flags were last worked out */
    GuestTimer timer;
    Region region;
} Rtc;

/* What the guest's clock shows without what the guest set, ns since the epoch. */
static int64_t base_ns(const Rtc *rtc)
{
    if (!rtc->base_seconds) {
        return clock_realtime_ns();
    }
    return (int64_t)rtc->base_seconds * NS_PER_SEC + device_now_ns(&rtc->dev);
}

static int64_t rtc_now_ns(const Rtc *rtc)
{
    return base_ns(rtc) + rtc->delta_ns;
}

static bool is_held(const Rtc *rtc)
{
    return (rtc->cmos[REG_B] & B_SET) || (rtc->cmos[REG_A] & 0x70) >= 0x60;
}

static uint8_t encode(const Rtc *rtc, unsigned value)
{
    return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const Rtc *rtc, uint8_t value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static unsigned decode_hours(const Rtc *rtc, uint8_t value)
{
    if (rtc->cmos[REG_B] & B_24_HOURS) {
        return decode(rtc, value);
    }
    return decode(rtc, value & ~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

static void registers_from_clock(Rtc *rtc)
{
    time_t seconds = rtc_now_ns(rtc) / NS_PER_SEC;
    struct tm tm = { 0 };
    gmtime_r(&seconds, &tm);
    unsigned year = (unsigned)tm.tm_year + 1900;
    rtc->cmos[REG_SECONDS] = encode(rtc, (unsigned)tm.tm_sec);
    rtc->cmos[REG_MINUTES] = encode(rtc, (unsigned)tm.tm_min);
    if (rtc->cmos[REG_B] & B_24_HOURS) {
        rtc->cmos[REG_HOURS] = encode(rtc, (unsigned)tm.tm_hour);
    } else {
        unsigned hour = (unsigned)tm.tm_hour % 12;
        rtc->cmos[REG_HOURS] = encode(rtc, hour ? hour : 12) | (tm.tm_hour >= 12 ? HOURS_PM : 0);
    }
    rtc->cmos[REG_WEEKDAY] = encode(rtc, (unsigned)tm.tm_wday + 1);
    rtc->cmos[REG_DAY] = encode(rtc, (unsigned)tm.tm_mday);
    rtc->cmos[REG_MONTH] = encode(rtc, (unsigned)tm.tm_mon + 1);
    rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
    rtc->cmos[REG_CENTURY] = encode(rtc, year / 100 % 100);
}

/* Sets the clock to the registers, @fraction_ns into their second. Nonsense rolls over as mktime
 * does. */
static void clock_from_registers(Rtc *rtc, int64_t fraction_ns)
{
    struct tm tm = {
        .tm_sec = (int)decode(rtc, rtc->cmos[REG_SECONDS]),
        .tm_min = (int)decode(rtc, rtc->cmos[REG_MINUTES]),
        .tm_hour = (int)decode_hours(rtc, rtc->cmos[REG_HOURS]),
        .tm_mday = (int)decode(rtc, rtc->cmos[REG_DAY]),
        .tm_mon = (int)decode(rtc, rtc->cmos[REG_MONTH]) - 1,
        .tm_year =
            (int)(decode(rtc, rtc->cmos[REG_CENTURY]) * 100 + decode(rtc, rtc->cmos[REG_YEAR])) -
            1900,
    };
    int64_t seconds = timegm(&tm);
    /* Years that 64 bits of ns cannot count leave the clock where it is. */
    if (seconds >= 0 && seconds < TIME_SET_MAX_NS / NS_PER_SEC) {
        rtc->delta_ns += seconds * NS_PER_SEC + fraction_ns - rtc_now_ns(rtc);
        device_host_notify(rtc->dev.host, DEVICE_NOTICE_CLOCK,
                           (rtc_now_ns(rtc) - clock_realtime_ns()) / NS_PER_SEC);
    }
    rtc->seen_ns = rtc_now_ns(rtc);
}

static bool alarm_fits(const Rtc *rtc, unsigned reg, unsigned value)
{
    uint8_t alarm = rtc->cmos[reg];
    if ((alarm & ALARM_ANY) == ALARM_ANY) {
        return true;
    }
    unsigned wanted = reg == REG_HOURS_ALARM ? decode_hours(rtc, alarm) : decode(rtc, alarm);
    return wanted == value;
}

/* First second after @after at which the alarm goes off, or INT64_MAX. */
static int64_t next_alarm(const Rtc *rtc, int64_t after)
{
    int64_t second = after + 1;
    int64_t limit = second + 24 * 3600;
    while (second < limit) {
        unsigned of_day = (unsigned)(second % 86400);
        if (!alarm_fits(rtc, REG_HOURS_ALARM, of_day / 3600)) {
            second += 3600 - of_day % 3600;
        } else if (!alarm_fits(rtc, REG_MINUTES_ALARM, of_day / 60 % 60)) {
            second += 60 - of_day % 60;
        } else if (!alarm_fits(rtc, REG_SECONDS_ALARM, of_day % 60)) {
            second++;
        } else {
            return second;
        }
    }
    return INT64_MAX;
}

/* Crystal ticks between periodic interrupts, or 0. */
static uint32_t periodic_ticks(const Rtc *rtc)
{
    unsigned rate = rtc->cmos[REG_A] & A_RATE;
    if (!rate || (rtc->cmos[REG_A] & 0x70) != 0x20) {
        return 0;
    }
    return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static uint64_t to_ticks(int64_t ns)
{
    return ns <= 0 ? 0 : (uint64_t)((unsigned __int128)(uint64_t)ns * CRYSTAL_HZ / NS_PER_SEC);
}

/* Sets the flags of what happened since the last look. */
static void work_out_flags(Rtc *rtc)
{
    int64_t now = rtc_now_ns(rtc);
    int64_t seen = rtc->seen_ns;
    rtc->seen_ns = now;
    if (now <= seen) {
        return; /* the host's clock was set back */
    }
    uint32_t period = periodic_ticks(rtc);
    if (period && to_ticks(now) / period > to_ticks(seen) / period) {
        rtc->cmos[REG_C] |= C_PERIODIC;
    }
    if (is_held(rtc)) {
        return;
    }
    if (now / NS_PER_SEC > seen / NS_PER_SEC) {
        rtc->cmos[REG_C] |= C_UPDATE;
        if (next_alarm(rtc, seen / NS_PER_SEC) <= now / NS_PER_SEC) {
            rtc->cmos[REG_C] |= C_ALARM;
        }
    }
}

static void arm(Rtc *rtc)
{
    int64_t now = rtc_now_ns(rtc);
    uint8_t wanted = rtc->cmos[REG_B] & B_INTERRUPTS & ~rtc->cmos[REG_C];
    int64_t target = INT64_MAX;
    uint32_t period = periodic_ticks(rtc);
    if ((wanted & C_PERIODIC) && period) {
        uint64_t tick = (to_ticks(now) / period + 1) * period;
        target = (int64_t)(((unsigned __int128)tick * NS_PER_SEC + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
    }
    if ((wanted & C_UPDATE) && !is_held(rtc)) {
        target = MIN(target, (now / NS_PER_SEC + 1) * NS_PER_SEC);
    }
    if ((wanted & C_ALARM) && !is_held(rtc)) {
        int64_t second = next_alarm(rtc, now / NS_PER_SEC);
        target = second == INT64_MAX ? target : MIN(target, second * NS_PER_SEC);
    }
    guest_timer_set(&rtc->timer, target == INT64_MAX ? DEVICE_TIMER_OFF
                                                     : device_now_ns(&rtc->dev) + target - now);
}

/* Brings flags, output and timer up to date. */
static void update(Rtc *rtc)
{
    work_out_flags(rtc);
    bool level = rtc->cmos[REG_C] & rtc->cmos[REG_B] & B_INTERRUPTS;
    if (level) {
        rtc->cmos[REG_C] |= C_IRQ;
    } else {
        rtc->cmos[REG_C] &= (uint8_t)~C_IRQ;
    }
    device_set_irq(&rtc->dev, 0, level);
    arm(rtc);
}

static void timer_expired(Device *dev)
{
    update((Rtc *)dev);
}

static bool is_time_register(unsigned index)
{
    return index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
           (index >= REG_WEEKDAY && index <= REG_YEAR) || index == REG_CENTURY;
}

static uint8_t read_register(Rtc *rtc)
{
    unsigned index = rtc->index;
    if (is_time_register(index) && !is_held(rtc)) {
        registers_from_clock(rtc);
    } else if (index == REG_A) {
        bool updating = !is_held(rtc) && rtc_now_ns(rtc) % NS_PER_SEC >= NS_PER_SEC - UPDATE_NS;
        return rtc->cmos[REG_A] | (updating ? A_UPDATING : 0);
    } else if (index == REG_C) {
        update(rtc);
        uint8_t flags = rtc->cmos[REG_C];
        rtc->cmos[REG_C] = 0;
        update(rtc);
        return flags;
    }
    return rtc->cmos[index];
}

/* Registers A and B start and stop the clock. */
static void write_control(Rtc *rtc, unsigned index, uint8_t value)
{
    bool was_held = is_held(rtc);
    bool was_divider_reset = (rtc->cmos[REG_A] & 0x70) >= 0x60;
    work_out_flags(rtc);
    if (!was_held) {
        registers_from_clock(rtc);
    }
    int64_t fraction = rtc_now_ns(rtc) % NS_PER_SEC;
    /* A held clock goes on from its registers as they are encoded while it is held. */
    uint8_t old_b = rtc->cmos[REG_B];
    rtc->cmos[index] = index == REG_A ? value & (uint8_t)~A_UPDATING : value;
    if (was_held && !is_held(rtc)) {
        uint8_t new_b = rtc->cmos[REG_B];
        rtc->cmos[REG_B] = (new_b & ~(B_BINARY | B_24_HOURS)) | (old_b & (B_BINARY | B_24_HOURS));
        clock_from_registers(rtc, was_divider_reset ? NS_PER_SEC / 2 : fraction);
        rtc->cmos[REG_B] = new_b;
    }
    update(rtc);
}

static void write_register(Rtc *rtc, uint8_t value)
{
    unsigned index = rtc->index;
    if (index == REG_A || index == REG_B) {
        write_control(rtc, index, value);
    } else if (index == REG_C || index == REG_D) {
        return;
    } else if (is_time_register(index) && !is_held(rtc)) {
        int64_t fraction = rtc_now_ns(rtc) % NS_PER_SEC;
        registers_from_clock(rtc);
        rtc->cmos[index] = value;
        clock_from_registers(rtc, fraction);
        update(rtc);
    } else {
        work_out_flags(rtc);
        rtc->cmos[index] = value;
        update(rtc);
    }
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    Rtc *rtc = opaque;
    return offset ? read_register(rtc) : 0xff;
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Rtc *rtc = opaque;
    if (offset) {
        write_register(rtc, (uint8_t)value);
    } else {
        rtc->index = value & (CMOS_BYTES - 1); /* bit 7 masks NMIs, of which there is no source */
    }
}

static const RegionOps rtc_ops = { rtc_read, rtc_write, 1, 1 };

static bool rtc_realize(Device *dev, GError **error)
{
    Rtc *rtc = (Rtc *)dev;
    rtc->region = (Region){ "rtc", 2, &rtc_ops, rtc, &dev->lock };
    rtc->cmos[REG_A] = 0x26;
    rtc->cmos[REG_B] = B_24_HOURS;
    rtc->cmos[REG_D] = D_VALID;
    rtc->seen_ns = rtc_now_ns(rtc);
    registers_from_clock(rtc);
    if (!guest_timer_init(&rtc->timer, dev, timer_expired, error)) {
        return false;
    }
    if (!device_map_ports(dev, PORT_INDEX, &rtc->region, error)) {
        guest_timer_done(&rtc->timer);
        return false;
    }
    return true;
}

static void rtc_unrealize(Device *dev)
{
    Rtc *rtc = (Rtc *)dev;
    device_unmap_ports(dev, PORT_INDEX);
    guest_timer_done(&rtc->timer);
}

/* The battery keeps time and memory; the reset input ends interrupts. */
static void rtc_reset(Device *dev, ResetKind kind)
{
    Rtc *rtc = (Rtc *)dev;
    rtc->cmos[REG_B] &= (uint8_t) ~(B_INTERRUPTS | B_SQUARE_WAVE);
    rtc->cmos[REG_C] = 0;
    rtc->index = 0;
    rtc->seen_ns = rtc_now_ns(rtc);
    update(rtc);
}

static void rtc_resume(Device *dev)
{
    update((Rtc *)dev);
}

static bool rtc_post_load(Device *dev, GError **error)
{
    const Rtc *rtc = (const Rtc *)dev;
    int64_t now;
    if (rtc->index >= CMOS_BYTES || !checked_add(base_ns(rtc), rtc->delta_ns, &now) || now < 0 ||
        now > TIME_MAX_NS || rtc->seen_ns < 0 || rtc->cmos[REG_A] & A_UPDATING) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible clock state");
        return false;
    }
    return true;
}

void rtc_set_cmos(Device *dev, uint8_t index, uint8_t value)
{
    lodge_assert(index > REG_D && index < CMOS_BYTES);
    ((Rtc *)dev)->cmos[index] = value;
}

uint8_t rtc_get_cmos(Device *dev, uint8_t index)
{
    lodge_assert(index < CMOS_BYTES);
    return ((const Rtc *)dev)->cmos[index];
}

static void set_cmos16(Device *dev, uint8_t index, uint64_t value)
{
    value = min_u64(value, 0xffff);
    rtc_set_cmos(dev, index, (uint8_t)value);
    rtc_set_cmos(dev, index + 1, (uint8_t)(value >> 8));
}

void rtc_set_memory_size(Device *dev, uint64_t low_bytes, uint64_t high_bytes)
{
    set_cmos16(dev, 0x15, 640);
    uint64_t extended = low_bytes > MIB ? (low_bytes - MIB) / KIB : 0;
    set_cmos16(dev, 0x17, extended);
    set_cmos16(dev, 0x30, extended);
    set_cmos16(dev, 0x34, low_bytes > 16 * MIB ? (low_bytes - 16 * MIB) / (64 * KIB) : 0);
    uint64_t high_units = min_u64(high_bytes / (64 * KIB), 0xffffff);
    rtc_set_cmos(dev, 0x5b, (uint8_t)high_units);
    rtc_set_cmos(dev, 0x5c, (uint8_t)(high_units >> 8));
    rtc_set_cmos(dev, 0x5d, (uint8_t)(high_units >> 16));
}

static const Property rtc_properties[] = {
    { "base", PROPERTY_UINT, offsetof(Rtc, base_seconds), NULL, .max = UINT32_MAX,
      .help = "time at start in seconds since the epoch, then by the guest's clock; 0: the host's "
              "time" },
    { NULL },
};

static const StateField rtc_fields[] = {
    STATE_BYTES_FIELD(Rtc, cmos),
    STATE_FIELD(Rtc, STATE_U8, index),
    STATE_FIELD(Rtc, STATE_U64, delta_ns),
    STATE_FIELD(Rtc, STATE_U64, seen_ns),
    STATE_END,
};
static const StateTable rtc_state = { .name = "rtc", .fields = rtc_fields };

const DeviceClass rtc_class = {
    .name = "mc146818rtc",
    .summary = "MC146818 clock and CMOS memory",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(Rtc),
    .properties = rtc_properties,
    .state = &rtc_state,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
    .resume = rtc_resume,
    .post_load = rtc_post_load,
};
