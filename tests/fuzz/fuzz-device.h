/* Drives one device at random: a fuzz target for a device is a class and this.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_FUZZ_FUZZ_DEVICE_H
#define LODGE_TESTS_FUZZ_FUZZ_DEVICE_H

#include "lib/fake-host.h"

typedef struct FuzzDevice {
    const DeviceClass *class;
    const char *const *properties; /* as fake_host_add(); may be NULL */
    /* optional: back ends, before the device is made */
    void (*prepare)(FakeHost *fake);
    /* optional: frees what prepare made, after the device */
    void (*finish)(FakeHost *fake);
    /* optional, both: makes the device, realized and reset, and removes it (PCI functions need a
     * bus) */
    Device *(*make)(FakeHost *fake);
    void (*remove)(Device *dev);
    /* optional: what the outside does to the device (received bytes, keys ...), by two numbers */
    void (*poke)(Device *dev, uint8_t what, uint32_t value);
} FuzzDevice;

/**
 * fuzz_device_run - make the device, play @data as a script, free it
 *
 * Steps: reads and writes of any size at any place of the mapped regions, guest RAM contents, time,
 * resets, pokes, save and load, and loads of streams with one byte changed (which must be refused
 * or leave a device that goes on). Returns: 0, for LLVMFuzzerTestOneInput.
 */
int fuzz_device_run(const FuzzDevice *fuzz, const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
