/* PCI buses: places, configuration accesses, interrupt lines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/pci-bus.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/bus/pci/pci-private.h"

#include <string.h>

static PciBus *bus_new(const char *name)
{
    PciBus *bus = g_new0(PciBus, 1);
    bus->name = g_strdup(name);
    bus->root = bus;
    pthread_mutex_init(&bus->lock, NULL);
    return bus;
}

PciBus *pci_root_new(const char *name)
{
    return bus_new(name);
}

PciBus *pci_bus_new_secondary(PciDevice *bridge, const char *name)
{
    PciBus *bus = bus_new(name);
    bus->bridge = bridge;
    bus->root = bridge->bus->root;
    return bus;
}

void pci_bus_free(PciBus *bus)
{
    if (!bus) {
        return;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        lodge_assert(!bus->function[devfn]);
    }
    pthread_mutex_destroy(&bus->lock);
    g_free(bus->name);
    g_free(bus);
}

void pci_root_free(PciBus *root)
{
    pci_bus_free(root);
}

void pci_for_each(PciBus *root, void (*func)(void *opaque, PciDevice *dev), void *opaque)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *dev = root->function[devfn];
        if (!dev) {
            continue;
        }
        func(opaque, dev);
        if (dev->secondary) {
            pci_for_each(dev->secondary, func, opaque);
        }
    }
}

PciBus *pci_bus_find(PciBus *root, const char *name)
{
    if (!strcmp(root->name, name)) {
        return root;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *dev = root->function[devfn];
        PciBus *found = dev && dev->secondary ? pci_bus_find(dev->secondary, name) : NULL;
        if (found) {
            return found;
        }
    }
    return NULL;
}

/* Places */

static void append_bus_name(void *opaque, PciDevice *dev)
{
    if (dev->secondary) {
        g_string_append_printf(opaque, ", '%s'", dev->secondary->name);
    }
}

static PciBus *resolve_bus(PciBus *root, const PciDevice *dev, GError **error)
{
    PciBus *bus = dev->bus_name ? pci_bus_find(root, dev->bus_name) : root;
    if (!bus) {
        g_autoptr(GString) known = g_string_new(NULL);
        g_string_append_printf(known, "'%s'", root->name);
        pci_for_each(root, append_bus_name, known);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "no bus '%s'; there is %s",
                    dev->bus_name, known->str);
    }
    return bus;
}

/* "SLOT" or "SLOT.FUNCTION", hexadecimal, 0x allowed. */
static bool parse_address(const char *text, uint8_t *out_devfn)
{
    char *end;
    if (!g_ascii_isxdigit(text[0])) {
        return false;
    }
    guint64 slot = g_ascii_strtoull(text, &end, 16);
    guint64 function = 0;
    if (*end == '.') {
        if (!g_ascii_isdigit(end[1])) {
            return false;
        }
        function = g_ascii_strtoull(end + 1, &end, 16);
    }
    if (*end || slot > 31 || function > 7) {
        return false;
    }
    *out_devfn = PCI_DEVFN_OF(slot, function);
    return true;
}

static bool slot_is_empty(const PciBus *bus, unsigned slot)
{
    for (unsigned function = 0; function < 8; function++) {
        if (bus->function[PCI_DEVFN_OF(slot, function)]) {
            return false;
        }
    }
    return true;
}

static bool find_empty_slot(const PciBus *bus, uint8_t *out_devfn, GError **error)
{
    unsigned first = bus->bridge ? 0 : 1, last = bus->has_one_slot ? 0 : 30;
    for (unsigned slot = first; slot <= last; slot++) {
        if (slot_is_empty(bus, slot)) {
            *out_devfn = PCI_DEVFN_OF(slot, 0);
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE, "no slot left on bus '%s'", bus->name);
    return false;
}

static bool check_place(const PciBus *bus, const PciDevice *dev, uint8_t devfn, GError **error)
{
    const PciDevice *other = bus->function[devfn];
    if (other) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "PCI address %02x.%x on bus '%s' is taken by '%s'", PCI_SLOT_OF(devfn),
                    PCI_FUNCTION_OF(devfn), bus->name, device_label(&other->device));
        return false;
    }
    const PciDevice *first = bus->function[PCI_DEVFN_OF(PCI_SLOT_OF(devfn), 0)];
    if (PCI_FUNCTION_OF(devfn) && first && !first->is_multifunction) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "slot %02x on bus '%s' holds '%s', which is not multifunction=on",
                    PCI_SLOT_OF(devfn), bus->name, device_label(&first->device));
        return false;
    }
    if (!PCI_FUNCTION_OF(devfn) && !dev->is_multifunction &&
        !slot_is_empty(bus, PCI_SLOT_OF(devfn))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "slot %02x on bus '%s' has other functions; function 0 needs multifunction=on",
                    PCI_SLOT_OF(devfn), bus->name);
        return false;
    }
    if (bus->has_one_slot && PCI_SLOT_OF(devfn)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "bus '%s' has slot 0 only",
                    bus->name);
        return false;
    }
    return true;
}

static void tell_bridge(const PciBus *bus)
{
    if (bus->bridge && bus->bridge->slot_changed) {
        bus->bridge->slot_changed(bus->bridge);
    }
}

bool pci_bus_plug(PciBus *root, PciDevice *dev, GError **error)
{
    lodge_assert(!dev->bus && !dev->device.is_realized);
    PciBus *bus = resolve_bus(root, dev, error);
    uint8_t devfn = 0;
    bool ok = bus != NULL;
    if (ok && dev->address) {
        ok = parse_address(dev->address, &devfn);
        if (!ok) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "bad PCI address '%s': not SLOT[.FUNCTION] with slot 0-1f, function 0-7",
                        dev->address);
        }
    } else if (ok) {
        ok = find_empty_slot(bus, &devfn, error);
    }
    if (!ok || !check_place(bus, dev, devfn, error)) {
        g_prefix_error(error, "device '%s': ", device_label(&dev->device));
        return false;
    }
    dev->bus = bus;
    dev->devfn = devfn;
    bus->function[devfn] = dev;
    tell_bridge(bus);
    return true;
}

void pci_bus_unplug(PciDevice *dev)
{
    lodge_assert(!dev->device.is_realized);
    PciBus *bus = dev->bus;
    if (bus) {
        bus->function[dev->devfn] = NULL;
        dev->bus = NULL;
        tell_bridge(bus);
    }
}

/* Configuration accesses */

unsigned pci_bus_number(const PciBus *bus)
{
    return bus->bridge ? bus->bridge->bus_range & 0xff : 0;
}

static PciBus *find_by_number(PciBus *bus, unsigned number)
{
    if (pci_bus_number(bus) == number) {
        return bus;
    }
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        const PciDevice *dev = bus->function[devfn];
        if (!dev || !dev->secondary) {
            continue;
        }
        unsigned range = dev->bus_range;
        unsigned first = range & 0xff, last = range >> 8;
        if (first && number >= first && number <= last) {
            return find_by_number(dev->secondary, number);
        }
    }
    return NULL;
}

static PciDevice *find_target(PciBus *root, unsigned number, uint8_t devfn, unsigned offset,
                              unsigned size)
{
    lodge_assert((size == 1 || size == 2 || size == 4) && offset % size == 0);
    PciBus *bus = find_by_number(root, number);
    PciDevice *dev = bus ? bus->function[devfn] : NULL;
    return dev && dev->is_sealed && offset + size <= dev->config_size ? dev : NULL;
}

uint32_t pci_config_read(PciBus *root, unsigned bus, uint8_t devfn, unsigned offset, unsigned size)
{
    PciDevice *dev = find_target(root, bus, devfn, offset, size);
    return dev ? pci_device_config_read(dev, offset, size) : UINT32_MAX >> (32 - 8 * size);
}

void pci_config_write(PciBus *root, unsigned bus, uint8_t devfn, unsigned offset, uint32_t value,
                      unsigned size)
{
    PciDevice *dev = find_target(root, bus, devfn, offset, size);
    if (dev) {
        pci_device_config_write(dev, offset, value, size);
    }
}

static void sync_device(void *opaque, PciDevice *dev)
{
    if (dev->is_sealed) {
        pci_device_sync_bars(dev);
    }
}

void pci_sync_mappings(PciBus *root)
{
    pci_for_each(root, sync_device, NULL);
}

/* Interrupt lines */

unsigned pci_pirq_of(const PciBus *bus, uint8_t devfn, unsigned pin)
{
    lodge_assert(pin >= 1 && pin <= 4);
    unsigned line = pin - 1;
    while (bus->bridge) {
        line += PCI_SLOT_OF(devfn);
        devfn = bus->bridge->devfn;
        bus = bus->bridge->bus;
    }
    unsigned slot = PCI_SLOT_OF(devfn);
    return slot < 25 ? 4 + (slot + line) % 4 : line % 4;
}

void pci_root_set_pirq_sink(PciBus *root, void (*set)(void *opaque, unsigned pirq, bool level),
                            void *opaque)
{
    LOCK_GUARD(&root->lock);
    root->pirq_set = set;
    root->pirq_opaque = opaque;
}

void pci_bus_set_intx(PciDevice *dev, bool level)
{
    PciBus *root = dev->bus->root;
    unsigned pirq = pci_pirq_of(dev->bus, dev->devfn, dev->interrupt_pin);
    LOCK_GUARD(&root->lock);
    bool before = root->pirq_count[pirq] > 0;
    lodge_assert(level || before);
    root->pirq_count[pirq] += level ? 1 : -1u;
    bool after = root->pirq_count[pirq] > 0;
    if (after != before && root->pirq_set) {
        root->pirq_set(root->pirq_opaque, pirq, after);
    }
}

void pci_root_refresh_pirqs(PciBus *root)
{
    LOCK_GUARD(&root->lock);
    for (unsigned pirq = 0; root->pirq_set && pirq < PCI_PIRQS; pirq++) {
        root->pirq_set(root->pirq_opaque, pirq, root->pirq_count[pirq] > 0);
    }
}
