/* Drives one virtio device over PCI at random: a fuzz target for a device is a class and this.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_FUZZ_FUZZ_VIRTIO_H
#define LODGE_TESTS_FUZZ_FUZZ_VIRTIO_H

#include "lib/virtq.h"

typedef struct FuzzVirtio {
    const DeviceClass *class;
    const char *const *properties; /* as fake_host_add(); may be NULL */
    /* optional: back ends, before the device is made; what it returns goes to the others */
    void *(*prepare)(FakeHost *fake);
    /* optional: what is attached to the device once it is there, and taken away before it goes */
    void (*attach)(VirtioDevice *dev, void *backend);
    void (*detach)(VirtioDevice *dev, void *backend);
    /* optional: frees back ends, after the device is gone and before its host */
    void (*finish)(void *backend);
    /* optional: waits for work on other threads */
    void (*settle)(void *backend);
    /* optional: what the outside does to the device, by two numbers */
    void (*poke)(VirtioDevice *dev, void *backend, uint8_t what, uint32_t value);
    /* optional: fills the first readable bytes of a request with something that gets far */
    void (*make_request)(uint8_t *bytes, size_t size, uint8_t what, uint32_t value);
} FuzzVirtio;

/**
 * fuzz_virtio_run - make the device with a driver, play @data as a script, free them
 *
 * Steps: register and configuration space accesses, ring and buffer contents, well-formed and bent
 * descriptor chains, notifications, time, resets, pauses, save and load, and loads of streams with
 * one byte changed. Returns: 0, for LLVMFuzzerTestOneInput.
 */
int fuzz_virtio_run(const FuzzVirtio *fuzz, const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
