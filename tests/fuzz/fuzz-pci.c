/* A small PCI tree under random configuration and memory accesses: host bridge, LPC bridge, two
 * root ports, a device with MSI-X behind each. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "fuzz/fuzz-device.h"
#include "lib/virtq.h"
#include "vmm/bus/pci/q35.h"
#include "vmm/bus/pci/root-port.h"
#include "vmm/virtio/rng/rng.h"

#define STEPS_MAX 500
#define DEVICES 6

typedef struct Script {
    const uint8_t *at, *end;
} Script;

static uint8_t take(Script *script)
{
    return script->at < script->end ? *script->at++ : 0;
}

static uint32_t take32(Script *script)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        value |= (uint32_t)take(script) << (8 * i);
    }
    return value;
}

static void step_config(PciBus *root, Script *script)
{
    static const uint8_t slots[] = { 0, 1, 2, 31, 0, 7 };
    uint8_t where = take(script), how = take(script);
    unsigned size = 1u << (how & 3) % 3;
    unsigned bus = where >> 4;
    uint8_t devfn = PCI_DEVFN_OF(slots[(where & 15) % sizeof(slots)], 0);
    unsigned offset = ((how & 4 ? 0x100u : 0) | take(script)) & ~(size - 1);
    if (how & 0x80) {
        pci_config_read(root, bus, devfn, offset, size);
    } else {
        pci_config_write(root, bus, devfn, offset, take32(script), size);
    }
}

static void step_region(FakeHost *fake, Script *script)
{
    uint8_t which = take(script), how = take(script);
    unsigned size = 1u << (how & 3);
    const FakeMapping *mapping = &fake->mapping[which % fake->mapping_count];
    uint64_t offset = take32(script) % mapping->region->size_bytes;
    const AddressMap *map = mapping->space == DEVICE_SPACE_PORTS ? fake->ports : fake->map;
    if (how & 0x80) {
        bus_read(map, mapping->base + offset, size);
    } else {
        bus_write(map, mapping->base + offset, take32(script), size);
    }
}

/* A device comes into the port's slot or is to leave it; for others, an interrupt. */
static void step_event(Device *dev, uint8_t what)
{
    PciDevice *pci = (PciDevice *)dev;
    if (dev->class != &pcie_root_port_class) {
        LOCK_GUARD(&dev->lock);
        pci_notify_message(pci, what >> 2);
    } else if (what & 2) {
        pcie_slot_announce(pci->secondary);
    } else {
        pcie_slot_request_eject(pci->secondary);
    }
}

static void step_device(Device *dev, uint8_t what)
{
    if (what & 1) {
        step_event(dev, what);
    } else if (what & 2) {
        device_reset(dev, RESET_WARM);
    } else {
        fake_host_check_round_trip(dev);
    }
}

static void add_all(FakeHost *fake, PciBus *root, Device **dev)
{
    static const char *const at0[] = { "addr", "0", NULL }, *const at1f[] = { "addr", "1f", NULL };
    static const char *const on_a[] = { "bus", "a", NULL }, *const on_b[] = { "bus", "b", NULL };
    dev[0] = fake_pci_add(fake, root, &q35_host_class, NULL, at0);
    dev[1] = fake_pci_add(fake, root, &ich9_lpc_class, NULL, at1f);
    dev[2] = fake_pci_add(fake, root, &pcie_root_port_class, "a", NULL);
    dev[3] = fake_pci_add(fake, root, &pcie_root_port_class, "b", on_a);
    dev[4] = fake_pci_add(fake, root, &virtio_rng_pci_class, "x", on_b);
    dev[5] = fake_pci_add(fake, root, &virtio_rng_pci_class, "y", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    FakeHost *fake = fake_host_new();
    PciBus *root = pci_root_new(PCI_ROOT_BUS_NAME);
    Device *dev[DEVICES];
    Script script = { data, data + size };
    add_all(fake, root, dev);
    for (unsigned steps = 0; steps < STEPS_MAX && script.at < script.end; steps++) {
        uint8_t op = take(&script);
        if (op & 1) {
            step_config(root, &script);
        } else if (op & 2) {
            step_region(fake, &script);
        } else if (op & 4) {
            step_device(dev[(op >> 3) % DEVICES], take(&script));
        } else {
            loop_run_once(fake->loop, 0);
        }
    }
    for (unsigned i = DEVICES; i-- > 0;) {
        fake_pci_remove(dev[i]);
    }
    pci_root_free(root);
    fake_host_free(fake);
    return 0;
}
