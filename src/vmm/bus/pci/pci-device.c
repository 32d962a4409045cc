/* PCI functions: configuration space, BARs and the INTx line.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/pci-device.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/bus/pci/pci-private.h"

#include <stdatomic.h>
#include <string.h>

#define COMMAND_BITS                                                                               \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |               \
     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)
#define STATUS_ERROR_BITS                                                                          \
    (PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |               \
     PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)

uint8_t pci_get8(const PciDevice *dev, unsigned offset)
{
    lodge_assert(offset < PCIE_CONFIG_SIZE);
    return dev->config[offset];
}

uint16_t pci_get16(const PciDevice *dev, unsigned offset)
{
    lodge_assert(offset + 2 <= PCIE_CONFIG_SIZE);
    return le16_get(dev->config + offset);
}

uint32_t pci_get32(const PciDevice *dev, unsigned offset)
{
    lodge_assert(offset + 4 <= PCIE_CONFIG_SIZE);
    return le32_get(dev->config + offset);
}

void pci_put8(PciDevice *dev, unsigned offset, uint8_t value)
{
    lodge_assert(offset < PCIE_CONFIG_SIZE);
    dev->config[offset] = value;
}

void pci_put16(PciDevice *dev, unsigned offset, uint16_t value)
{
    lodge_assert(offset + 2 <= PCIE_CONFIG_SIZE);
    le16_put(dev->config + offset, value);
}

void pci_put32(PciDevice *dev, unsigned offset, uint32_t value)
{
    lodge_assert(offset + 4 <= PCIE_CONFIG_SIZE);
    le32_put(dev->config + offset, value);
}

static void set_mask(uint8_t *mask, unsigned offset, unsigned size, uint32_t bits)
{
    lodge_assert(offset + size <= PCIE_CONFIG_SIZE);
    for (unsigned i = 0; i < size; i++) {
        mask[offset + i] |= (uint8_t)(bits >> (8 * i));
    }
}

void pci_set_writable(PciDevice *dev, unsigned offset, unsigned size, uint32_t bits)
{
    set_mask(dev->writable, offset, size, bits);
}

void pci_set_write_clear(PciDevice *dev, unsigned offset, unsigned size, uint32_t bits)
{
    set_mask(dev->write_clear, offset, size, bits);
}

static void init_bridge_header(PciDevice *dev)
{
    pci_put8(dev, PCI_HEADER_TYPE, PCI_HEADER_TYPE_BRIDGE);
    pci_set_writable(dev, PCI_PRIMARY_BUS, 4, 0x00ffffff);
    pci_set_writable(dev, PCI_IO_BASE, 2, 0xf0f0);
    pci_set_write_clear(dev, PCI_SEC_STATUS, 2, STATUS_ERROR_BITS);
    pci_set_writable(dev, PCI_MEMORY_BASE, 4, 0xfff0fff0);
    pci_set_writable(dev, PCI_PREF_MEMORY_BASE, 4, 0xfff0fff0);
    pci_put32(dev, PCI_PREF_MEMORY_BASE, PCI_PREF_RANGE_TYPE_64 << 16 | PCI_PREF_RANGE_TYPE_64);
    pci_set_writable(dev, PCI_PREF_BASE_UPPER32, 4, UINT32_MAX);
    pci_set_writable(dev, PCI_PREF_LIMIT_UPPER32, 4, UINT32_MAX);
    pci_set_writable(dev, PCI_BRIDGE_CONTROL, 2,
                     PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR | PCI_BRIDGE_CTL_ISA |
                         PCI_BRIDGE_CTL_BUS_RESET);
}

void pci_device_init(PciDevice *dev, const PciIdentity *identity)
{
    lodge_assert(!dev->is_sealed && identity->interrupt_pin <= 4);
    dev->config_size = PCI_CONFIG_SIZE;
    dev->next_capability = PCI_STD_HEADER_SIZEOF;
    dev->interrupt_pin = identity->interrupt_pin;
    memset(dev->config, 0, sizeof(dev->config));
    memset(dev->writable, 0, sizeof(dev->writable));
    memset(dev->write_clear, 0, sizeof(dev->write_clear));
    for (unsigned i = 0; i < PCI_BARS; i++) {
        dev->bar[i] = (PciBar){ .wanted = PCI_BAR_UNMAPPED, .mapped = PCI_BAR_UNMAPPED };
    }
    pci_put16(dev, PCI_VENDOR_ID, identity->vendor);
    pci_put16(dev, PCI_DEVICE_ID, identity->device);
    pci_put32(dev, PCI_CLASS_REVISION, identity->class_code << 8 | identity->revision);
    pci_put8(dev, PCI_INTERRUPT_PIN, identity->interrupt_pin);
    pci_set_writable(dev, PCI_COMMAND, 2, COMMAND_BITS);
    pci_set_write_clear(dev, PCI_STATUS, 2, STATUS_ERROR_BITS);
    pci_set_writable(dev, PCI_CACHE_LINE_SIZE, 1, 0xff);
    pci_set_writable(dev, PCI_INTERRUPT_LINE, 1, 0xff);
    if (identity->is_bridge) {
        init_bridge_header(dev);
    } else {
        pci_put16(dev, PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
        pci_put16(dev, PCI_SUBSYSTEM_ID, identity->subsystem);
    }
    if (dev->is_multifunction) {
        dev->config[PCI_HEADER_TYPE] |= 0x80;
    }
}

void pci_device_seal(PciDevice *dev)
{
    memcpy(dev->initial, dev->config, sizeof(dev->initial));
    dev->is_sealed = true;
    pci_device_update_decode(dev);
}

unsigned pci_add_capability(PciDevice *dev, uint8_t id, unsigned size)
{
    unsigned offset = (unsigned)round_up(dev->next_capability, 4);
    lodge_assert(!dev->is_sealed && offset + size <= PCI_CONFIG_SIZE);
    dev->next_capability = offset + size;
    pci_put8(dev, offset + PCI_CAP_LIST_ID, id);
    pci_put8(dev, offset + PCI_CAP_LIST_NEXT, dev->config[PCI_CAPABILITY_LIST]);
    pci_put8(dev, PCI_CAPABILITY_LIST, (uint8_t)offset);
    pci_put16(dev, PCI_STATUS, pci_get16(dev, PCI_STATUS) | PCI_STATUS_CAP_LIST);
    return offset;
}

unsigned pci_add_pcie_capability(PciDevice *dev, unsigned type)
{
    unsigned at = pci_add_capability(dev, PCI_CAP_ID_EXP, 0x3c);
    dev->pcie_capability = at;
    dev->config_size = PCIE_CONFIG_SIZE;
    pci_put16(dev, at + PCI_EXP_FLAGS, (uint16_t)(2 | type << 4));
    pci_put32(dev, at + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
    pci_set_writable(dev, at + PCI_EXP_DEVCTL, 2,
                     PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
                         PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ);
    pci_set_write_clear(dev, at + PCI_EXP_DEVSTA, 2,
                        PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED |
                            PCI_EXP_DEVSTA_URD);
    if (type != PCI_EXP_TYPE_RC_END) {
        pci_put32(dev, at + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_2_5GB | 1 << 4);
        pci_put16(dev, at + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1);
        pci_set_writable(dev, at + PCI_EXP_LNKCTL, 2,
                         PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
        pci_put16(dev, at + PCI_EXP_LNKCTL2, PCI_EXP_LNKCTL2_TLS_2_5GT);
    }
    return at;
}

/* Registers of the address: what is fixed, what the guest changes. */
static unsigned bar_register(unsigned index)
{
    return PCI_BASE_ADDRESS_0 + 4 * index;
}

static bool bar_is_64bit(const PciBar *bar)
{
    return bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
}

static uint32_t bar_type_bits(PciBarKind kind)
{
    switch (kind) {
    case PCI_BAR_IO:
        return PCI_BASE_ADDRESS_SPACE_IO;
    case PCI_BAR_MEM64:
        return PCI_BASE_ADDRESS_MEM_TYPE_64;
    case PCI_BAR_MEM64_PREFETCH:
        return PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
    default:
        return 0;
    }
}

void pci_bar_init(PciDevice *dev, unsigned index, PciBarKind kind, uint64_t size_bytes)
{
    lodge_assert(!dev->is_sealed && index < PCI_BARS && kind != PCI_BAR_NONE);
    lodge_assert(is_power_of_two(size_bytes) && size_bytes >= (kind == PCI_BAR_IO ? 4 : 16));
    PciBar *bar = &dev->bar[index];
    lodge_assert(bar->kind == PCI_BAR_NONE && (!bar_is_64bit(bar) || index + 1 < PCI_BARS));
    bar->kind = kind;
    bar->size_bytes = size_bytes;
    uint64_t writable = ~(size_bytes - 1);
    pci_put32(dev, bar_register(index), bar_type_bits(kind));
    pci_set_writable(dev, bar_register(index), 4, (uint32_t)writable);
    if (bar_is_64bit(bar)) {
        pci_set_writable(dev, bar_register(index + 1), 4, (uint32_t)(writable >> 32));
    }
}

static void add_window(PciDevice *dev, unsigned index, PciBarWindow window, uint64_t size_bytes)
{
    lodge_assert(index < PCI_BARS);
    PciBar *bar = &dev->bar[index];
    lodge_assert(bar->window_count < PCI_BAR_WINDOWS);
    lodge_assert(range_fits(window.offset, size_bytes, bar->size_bytes));
    bar->window[bar->window_count++] = window;
}

void pci_bar_add_region(PciDevice *dev, unsigned index, uint64_t offset, Region *region)
{
    add_window(dev, index, (PciBarWindow){ .offset = offset, .region = region },
               region->size_bytes);
}

void pci_bar_add_ram(PciDevice *dev, unsigned index, uint64_t offset, RamBlock *ram)
{
    lodge_assert(dev->bar[index].kind != PCI_BAR_IO);
    add_window(dev, index, (PciBarWindow){ .offset = offset, .ram = ram }, ram->size_bytes);
}

GuestAddr pci_bar_address(const PciDevice *dev, unsigned index)
{
    return dev->bar[index].mapped;
}

/* A guest finds out the size of a BAR by writing ones; with decoding enabled that must not put the
 * BAR over the last bytes of the space. */
static uint64_t bar_wanted(const PciDevice *dev, unsigned index)
{
    const PciBar *bar = &dev->bar[index];
    uint16_t command = pci_get16(dev, PCI_COMMAND);
    uint64_t address = pci_get32(dev, bar_register(index));
    if (bar->kind == PCI_BAR_IO) {
        address &= ~UINT64_C(3);
        bool ok =
            command & PCI_COMMAND_IO && address && range_fits(address, bar->size_bytes, 65536);
        return ok ? address : PCI_BAR_UNMAPPED;
    }
    uint64_t end = UINT64_C(1) << 32;
    if (bar_is_64bit(bar)) {
        address |= (uint64_t)pci_get32(dev, bar_register(index + 1)) << 32;
        end = UINT64_C(1) << 63;
    }
    address &= ~UINT64_C(15);
    bool ok =
        command & PCI_COMMAND_MEMORY && address && address < end && bar->size_bytes < end - address;
    return ok ? address : PCI_BAR_UNMAPPED;
}

static void set_window(PciDevice *dev, unsigned index, bool is_enabled, uint64_t base,
                       uint64_t limit)
{
    base = is_enabled ? base : 1;
    limit = is_enabled ? limit : 0;
    if (dev->window[index].base != base || dev->window[index].limit != limit) {
        dev->window[index].base = base;
        dev->window[index].limit = limit;
        dev->mappings_dirty = true;
    }
}

static void update_windows(PciDevice *dev)
{
    uint16_t command = pci_get16(dev, PCI_COMMAND);
    set_window(dev, 0, command & PCI_COMMAND_IO, (pci_get8(dev, PCI_IO_BASE) & 0xf0u) << 8,
               (pci_get8(dev, PCI_IO_LIMIT) & 0xf0u) << 8 | 0xfff);
    bool has_memory = command & PCI_COMMAND_MEMORY;
    set_window(dev, 1, has_memory, (uint64_t)(pci_get16(dev, PCI_MEMORY_BASE) & 0xfff0u) << 16,
               (uint64_t)(pci_get16(dev, PCI_MEMORY_LIMIT) & 0xfff0u) << 16 | 0xfffff);
    uint64_t base = (uint64_t)(pci_get16(dev, PCI_PREF_MEMORY_BASE) & 0xfff0u) << 16 |
                    (uint64_t)pci_get32(dev, PCI_PREF_BASE_UPPER32) << 32;
    uint64_t limit = (uint64_t)(pci_get16(dev, PCI_PREF_MEMORY_LIMIT) & 0xfff0u) << 16 |
                     (uint64_t)pci_get32(dev, PCI_PREF_LIMIT_UPPER32) << 32 | 0xfffff;
    set_window(dev, 2, has_memory, base, limit);
    dev->bus_range = pci_get16(dev, PCI_SECONDARY_BUS);
}

void pci_device_update_decode(PciDevice *dev)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        PciBar *bar = &dev->bar[i];
        uint64_t wanted = bar->kind == PCI_BAR_NONE ? PCI_BAR_UNMAPPED : bar_wanted(dev, i);
        if (bar->wanted != wanted) {
            bar->wanted = wanted;
            dev->mappings_dirty = true;
        }
    }
    if (dev->secondary) {
        update_windows(dev);
    }
    bool is_master = pci_get16(dev, PCI_COMMAND) & PCI_COMMAND_MASTER;
    if (is_master != dev->is_bus_master) {
        dev->is_bus_master = is_master;
        if (dev->bus_master_changed) {
            dev->bus_master_changed(dev, is_master);
        }
    }
}

/* Each bridge above must pass the range on. */
static bool is_reachable(const PciDevice *dev, const PciBar *bar, uint64_t address)
{
    uint64_t last = address + bar->size_bytes - 1;
    for (const PciDevice *bridge = dev->bus->bridge; bridge; bridge = bridge->bus->bridge) {
        bool passes = false;
        for (unsigned i = 0; i < 3; i++) {
            const PciBridgeWindow *window = &bridge->window[i];
            bool is_right_kind = (i == 0) == (bar->kind == PCI_BAR_IO);
            passes |= is_right_kind && window->base <= address && last <= window->limit;
        }
        if (!passes) {
            return false;
        }
    }
    return true;
}

static DeviceSpace bar_space(const PciBar *bar)
{
    return bar->kind == PCI_BAR_IO ? DEVICE_SPACE_PORTS : DEVICE_SPACE_MEMORY;
}

/* Functions get priorities of their own, so that overlapping BARs do not refuse each other. */
static int bar_priority(const PciDevice *dev, unsigned index)
{
    int bus = 0;
    for (const PciDevice *bridge = dev->bus->bridge; bridge; bridge = bridge->bus->bridge) {
        bus = bus * 256 + bridge->devfn + 1;
    }
    return PCI_BAR_PRIORITY - (((bus & 0xffff) * 256 + dev->devfn) * PCI_BARS + (int)index);
}

static void unmap_windows(PciDevice *dev, unsigned index, unsigned count)
{
    PciBar *bar = &dev->bar[index];
    const DeviceHost *host = dev->device.host;
    for (unsigned i = 0; i < count; i++) {
        const PciBarWindow *window = &bar->window[i];
        GuestAddr at = bar->mapped + window->offset;
        if (window->region) {
            host->unmap_region(host->opaque, bar_space(bar), at, bar_priority(dev, index));
        } else {
            host->unmap_ram(host->opaque, at, bar_priority(dev, index));
        }
    }
    bar->mapped = PCI_BAR_UNMAPPED;
}

static void unmap_bar(PciDevice *dev, unsigned index)
{
    PciBar *bar = &dev->bar[index];
    if (bar->mapped == PCI_BAR_UNMAPPED) {
        return;
    }
    if (dev->bar_mapped) {
        dev->bar_mapped(dev, index, bar->mapped, false);
    }
    unmap_windows(dev, index, bar->window_count);
}

static void map_bar(PciDevice *dev, unsigned index, GuestAddr base)
{
    PciBar *bar = &dev->bar[index];
    const DeviceHost *host = dev->device.host;
    int priority = bar_priority(dev, index);
    bar->mapped = base;
    for (unsigned i = 0; i < bar->window_count; i++) {
        const PciBarWindow *window = &bar->window[i];
        g_autoptr(GError) error = NULL;
        bool ok = window->region
                      ? host->map_region(host->opaque, bar_space(bar), base + window->offset,
                                         window->region, priority, &error)
                      : host->map_ram(host->opaque, base + window->offset, window->ram, false,
                                      priority, &error);
        if (!ok) {
            log_guest_error("%s: cannot map BAR %u at %#" G_GINT64_MODIFIER "x: %s",
                            device_label(&dev->device), index, (guint64)base, error->message);
            unmap_windows(dev, index, i);
            return;
        }
    }
    if (dev->bar_mapped) {
        dev->bar_mapped(dev, index, base, true);
    }
}

void pci_device_sync_bars(PciDevice *dev)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        PciBar *bar = &dev->bar[i];
        uint64_t wanted = bar->wanted;
        if (wanted != PCI_BAR_UNMAPPED && !is_reachable(dev, bar, wanted)) {
            wanted = PCI_BAR_UNMAPPED;
        }
        if (wanted == bar->mapped) {
            continue;
        }
        unmap_bar(dev, i);
        if (wanted != PCI_BAR_UNMAPPED) {
            map_bar(dev, i, wanted);
        }
    }
}

static void update_intx(PciDevice *dev)
{
    uint16_t status = pci_get16(dev, PCI_STATUS) & (uint16_t)~PCI_STATUS_INTERRUPT;
    pci_put16(dev, PCI_STATUS, status | (dev->intx_level ? PCI_STATUS_INTERRUPT : 0));
    bool out = dev->intx_level && !(pci_get16(dev, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
    if (out != dev->intx_out) {
        dev->intx_out = out;
        pci_bus_set_intx(dev, out);
    }
}

void pci_set_irq(PciDevice *dev, bool level)
{
    if (dev->interrupt_pin) {
        dev->intx_level = level;
        update_intx(dev);
    }
}

static void sync_root(void *opaque)
{
    pci_sync_mappings(opaque);
}

static void settle_mappings(PciDevice *dev)
{
    if (atomic_exchange(&dev->mappings_dirty, false) &&
        loop_call_wait(dev->device.host->loop, sync_root, dev->bus->root) < 0) {
        dev->mappings_dirty = true; /* the next write tries again */
    }
}

void pci_device_reset(PciDevice *dev)
{
    memcpy(dev->config, dev->initial, sizeof(dev->config));
    pci_msi_reset(dev);
    dev->intx_level = false;
    update_intx(dev);
    pci_device_update_decode(dev);
    settle_mappings(dev);
}

void pci_device_done(PciDevice *dev)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (dev->bar[i].kind != PCI_BAR_NONE) {
            unmap_bar(dev, i);
            dev->bar[i].wanted = PCI_BAR_UNMAPPED;
        }
    }
    if (dev->interrupt_pin) {
        dev->intx_level = false;
        update_intx(dev);
    }
    pci_bus_free(dev->secondary);
    dev->secondary = NULL;
    dev->is_sealed = false;
}

uint32_t pci_device_config_read(PciDevice *dev, unsigned offset, unsigned size)
{
    LOCK_GUARD(&dev->device.lock);
    if (dev->config_reading) {
        dev->config_reading(dev, offset, size);
    }
    uint32_t value = 0;
    memcpy(&value, dev->config + offset, size);
    return le32toh(value);
}

static void write_locked(PciDevice *dev, unsigned offset, uint32_t value, unsigned size)
{
    LOCK_GUARD(&dev->device.lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        uint8_t *config = &dev->config[offset + i];
        uint8_t writable = dev->writable[offset + i];
        *config = (uint8_t)((*config & ~writable) | (byte & writable));
        *config &= (uint8_t) ~(byte & dev->write_clear[offset + i]);
    }
    if (offset < PCI_STD_HEADER_SIZEOF) {
        pci_device_update_decode(dev);
        update_intx(dev);
    }
    pci_msi_config_written(dev, offset, size);
    if (dev->config_written) {
        dev->config_written(dev, offset, size);
    }
}

void pci_device_config_write(PciDevice *dev, unsigned offset, uint32_t value, unsigned size)
{
    write_locked(dev, offset, value, size);
    settle_mappings(dev);
    if (dev->config_settled) {
        dev->config_settled(dev, offset, size);
    }
}

bool pci_device_post_load(PciDevice *dev, GError **error)
{
    uint32_t msi_pending = pci_msi_get_pending(dev);
    for (unsigned i = 0; i < PCIE_CONFIG_SIZE; i++) {
        uint8_t guest = dev->writable[i] | dev->write_clear[i];
        dev->config[i] = (uint8_t)((dev->initial[i] & ~guest) | (dev->config[i] & guest));
    }
    pci_msi_post_load(dev, msi_pending);
    update_intx(dev);
    pci_device_update_decode(dev);
    settle_mappings(dev);
    return true;
}

static const StateField fields[] = {
    STATE_BYTES_FIELD(PciDevice, config),
    STATE_FIELD(PciDevice, STATE_BOOL, intx_level),
    STATE_BYTES_FIELD(PciDevice, msix.table),
    STATE_BYTES_FIELD(PciDevice, msix.pending),
    STATE_END,
};

const StateTable pci_device_state = { .name = "pci", .version = 1, .fields = fields };
