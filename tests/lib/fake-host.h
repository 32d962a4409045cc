/* A DeviceHost of fakes: RAM, counted interrupt lines, a log of messages, a clock moved by hand.
 *
 * A test makes one, realizes a device on it, and pokes registers by address or port. Nothing runs
 * by itself: timers fire inside fake_host_advance(). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAKE_HOST_H
#define LODGE_TESTS_LIB_FAKE_HOST_H

#include "vmm/device/device.h"

#define FAKE_HOST_RAM_BYTES 0x100000 /* at guest address 0 */
#define FAKE_HOST_REGIONS_MAX 64
#define FAKE_HOST_MSIS_MAX 64
#define FAKE_HOST_EVENTS_MAX 16

typedef struct FakeIrq {
    bool level;
    unsigned raised; /* rising edges */
} FakeIrq;

typedef struct FakeMsi {
    uint64_t address;
    uint32_t data;
} FakeMsi;

typedef struct FakeMapping {
    DeviceSpace space;
    GuestAddr base;
    Region *region;
    int priority;
} FakeMapping;

typedef struct FakePower {
    PowerEvent event;
    int code;
} FakePower;

typedef struct FakeTimer {
    LoopTimer *timer;
    int64_t deadline_ns;
} FakeTimer;

typedef struct FakeBackend {
    const char *kind, *name;
    void *object;
} FakeBackend;

typedef struct FakeHost {
    DeviceHost host; /* what the device gets */
    AddressMap *map, *ports;
    GuestMemory memory;
    RamBlock *ram;
    EventLoop *loop;
    int64_t now_ns;
    FakeIrq irq[DEVICE_IRQS_MAX];
    FakeMsi msi[FAKE_HOST_MSIS_MAX]; /* the first ones */
    unsigned msi_count;              /* all of them */
    FakePower power[FAKE_HOST_EVENTS_MAX];
    unsigned power_count;
    unsigned slots_off; /* calls of slot_off */
    unsigned notices[DEVICE_NOTICES];
    int64_t notice[DEVICE_NOTICES]; /* the last one */
    FakeMapping mapping[FAKE_HOST_REGIONS_MAX];
    unsigned mapping_count;
    FakeTimer timer[32];
    unsigned timer_count;
    unsigned timers_fired;
    unsigned fires_max; /* in one advance; then time jumps */
    FakeBackend backend[8];
    unsigned backend_count;
} FakeHost;

FakeHost *fake_host_new(void);
/* Devices were freed before. */
void fake_host_free(FakeHost *fake);

/* A device of @class on @fake, reset. @properties: "name", "value", ..., NULL; may be NULL. Fails
 * the test when something is refused. */
Device *fake_host_add(FakeHost *fake, const DeviceClass *class, const char *const *properties);

/* What find_backend() gives for (@kind, @name). */
void fake_host_add_backend(FakeHost *fake, const char *kind, const char *name, void *object);

/* Moves the clock on, stopping at each deadline on the way. */
void fake_host_advance(FakeHost *fake, int64_t ns);

/* Nearest deadline of a timer, or DEVICE_TIMER_OFF. */
int64_t fake_host_next_deadline(const FakeHost *fake);

/* Accesses as a vCPU makes them; size 1, 2, 4 or 8. */
uint8_t fake_in8(FakeHost *fake, uint16_t port);
uint16_t fake_in16(FakeHost *fake, uint16_t port);
uint32_t fake_in32(FakeHost *fake, uint16_t port);
void fake_out8(FakeHost *fake, uint16_t port, uint8_t value);
void fake_out16(FakeHost *fake, uint16_t port, uint16_t value);
void fake_out32(FakeHost *fake, uint16_t port, uint32_t value);
uint64_t fake_mmio_read(FakeHost *fake, GuestAddr addr, unsigned size);
void fake_mmio_write(FakeHost *fake, GuestAddr addr, uint64_t value, unsigned size);

/* Saves @dev, loads that into it and saves again: both streams must be equal. */
void fake_host_check_round_trip(Device *dev);

#endif
