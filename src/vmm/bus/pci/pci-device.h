/* PCI functions: configuration space, BARs, capabilities and interrupts of one device.
 *
 * Implements PCI Local Bus 3.0 and the configuration part of PCI Express 4.0. Leaves out expansion
 * ROMs, power management states and AER.
 *
 * A PCI device's struct begins with a PciDevice. Its class's functions call, in this order:
 *
 *   realize:   pci_device_init(), pci_bar_*(), pci_*_capability(), pci_msi*_init(), at last
 *              pci_device_seal()
 *   reset:     pci_device_reset()
 *   post_load: pci_device_post_load()
 *   unrealize: pci_device_done(), also after a realize that failed half way
 *
 * The machine calls pci_bus_plug() (pci-bus.h) before device_realize() and pci_bus_unplug() after
 * device_unrealize().
 *
 * Locks: everything below is called with the device's lock held (or from realize and unrealize)
 * unless it says otherwise. BARs are mapped and unmapped on the loop of the device's host without a
 * lock. A BAR window's Region may use &dev->device.lock as its lock, or none and lock for itself.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_BUS_PCI_PCI_DEVICE_H
#define LODGE_VMM_BUS_PCI_PCI_DEVICE_H

#include "vmm/device/device.h"

#include <linux/pci_regs.h> /* PCI_VENDOR_ID ...: offsets and bits as in the specifications */

#define PCI_CONFIG_SIZE 256
#define PCIE_CONFIG_SIZE 4096
#define PCI_BARS 6
#define PCI_BAR_WINDOWS 6
#define PCI_MSIX_VECTORS_MAX 256
#define PCI_MSI_VECTORS_MAX 32

#define PCI_DEVFN_OF(slot, function) ((uint8_t)((slot) << 3 | (function)))
#define PCI_SLOT_OF(devfn) ((devfn) >> 3)
#define PCI_FUNCTION_OF(devfn) ((devfn)&7)

typedef struct PciBus PciBus;
typedef struct PciDevice PciDevice;

/* What a function says it is. */
typedef struct PciIdentity {
    uint16_t vendor, device;
    uint8_t revision;
    uint32_t class_code; /* base class, sub-class, programming interface: 0x020000 */
    uint16_t subsystem_vendor, subsystem;
    uint8_t interrupt_pin; /* 1-4: INTA-INTD; 0: none */
    bool is_bridge;        /* type 1 header */
} PciIdentity;

typedef enum PciBarKind {
    PCI_BAR_NONE,
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64, /* takes two registers */
    PCI_BAR_MEM64_PREFETCH,
} PciBarKind;

/* A region or RAM seen at @offset of a BAR. */
typedef struct PciBarWindow {
    uint64_t offset;
    Region *region; /* one of these two */
    RamBlock *ram;
} PciBarWindow;

#define PCI_BAR_UNMAPPED UINT64_MAX

typedef struct PciBar {
    PciBarKind kind;
    uint64_t size_bytes; /* power of two */
    PciBarWindow window[PCI_BAR_WINDOWS];
    unsigned window_count;
    _Atomic(uint64_t) wanted; /* where the registers put it, or PCI_BAR_UNMAPPED */
    uint64_t mapped;          /* where it is; on the loop only */
} PciBar;

/* Ranges that a bridge passes on to its secondary bus; empty when limit < base. */
typedef struct PciBridgeWindow {
    _Atomic(uint64_t) base, limit;
} PciBridgeWindow;

typedef struct PciMsix {
    unsigned capability; /* offset in config space; 0: none */
    unsigned vectors;
    uint8_t table[16 * PCI_MSIX_VECTORS_MAX];
    uint8_t pending[PCI_MSIX_VECTORS_MAX / 8];
    Region table_region, pending_region;
} PciMsix;

struct PciDevice {
    Device device;
    /* Properties, see PCI_PROPERTIES. */
    char *bus_name; /* NULL: the root bus */
    char *address;  /* "SLOT[.FUNCTION]" in hex; NULL: first free slot */
    bool is_multifunction;

    PciBus *bus; /* set by pci_bus_plug() */
    uint8_t devfn;
    uint16_t config_size; /* PCI_CONFIG_SIZE or PCIE_CONFIG_SIZE */
    unsigned pcie_capability;
    unsigned msi_capability;
    unsigned next_capability; /* first free byte */
    bool is_sealed;
    bool intx_level; /* what the device asks for, before command and status */
    bool intx_out;   /* what the bus was told */
    uint8_t interrupt_pin;

    uint8_t config[PCIE_CONFIG_SIZE];
    uint8_t writable[PCIE_CONFIG_SIZE];    /* bits that the guest changes */
    uint8_t write_clear[PCIE_CONFIG_SIZE]; /* bits that a written one clears */
    uint8_t initial[PCIE_CONFIG_SIZE];     /* config at seal time: what reset restores */

    PciBar bar[PCI_BARS];
    PciMsix msix;
    PciBus *secondary;            /* of a bridge, else NULL; owned */
    PciBridgeWindow window[3];    /* of a bridge: I/O, memory, prefetchable memory */
    _Atomic(bool) is_bus_master;  /* may use DMA and MSI; readable from any thread */
    _Atomic(uint32_t) bus_range;  /* of a bridge: secondary | subordinate << 8 */
    _Atomic(bool) mappings_dirty; /* a BAR or window moved since the last sync */

    /* optional hooks, set before seal */
    /* After a guest write of @size bytes at @offset took effect. Context: lock held. */
    void (*config_written)(PciDevice *dev, unsigned offset, unsigned size);
    /* Before a guest read, to refresh config bytes. Context: lock held. */
    void (*config_reading)(PciDevice *dev, unsigned offset, unsigned size);
    /* After a guest write, once its lock is released. Context: the vCPU's thread; may wait for the
     * loop. */
    void (*config_settled)(PciDevice *dev, unsigned offset, unsigned size);
    /* A BAR appeared at @base or vanished from it. Context: the loop; takes no device lock. */
    void (*bar_mapped)(PciDevice *dev, unsigned bar, GuestAddr base, bool is_mapped);
    /* Of a bridge: a function was plugged or unplugged behind it. Context: no vCPU runs. */
    void (*slot_changed)(PciDevice *dev);
    /* The bus-master bit changed. Context: lock held. */
    void (*bus_master_changed)(PciDevice *dev, bool is_bus_master);
};

/* Rows that every PCI class has in its property table. */
#define PCI_PROPERTIES                                                                             \
    { .name = "addr",                                                                              \
      .kind = PROPERTY_STRING,                                                                     \
      .offset = offsetof(PciDevice, address),                                                      \
      .help = "slot and function on the bus, as 3 or 1f.2 (hexadecimal)" },                        \
        { .name = "bus",                                                                           \
          .kind = PROPERTY_STRING,                                                                 \
          .offset = offsetof(PciDevice, bus_name),                                                 \
          .help = "bus to sit on: pcie.0 or the id of a pcie-root-port" },                         \
    {                                                                                              \
        .name = "multifunction", .kind = PROPERTY_BOOL,                                            \
        .offset = offsetof(PciDevice, is_multifunction), .fallback = "off",                        \
        .help = "other functions share this slot"                                                  \
    }

/* The PCI part of a class's state: STATE_STRUCT(VirtioBlk, pci, &pci_device_state) or the like. */
extern const StateTable pci_device_state;

void pci_device_init(PciDevice *dev, const PciIdentity *identity);
/* Ends the set-up: what config holds at this moment is what each reset restores. */
void pci_device_seal(PciDevice *dev);
void pci_device_reset(PciDevice *dev);
/* Unmaps BARs, lowers the line, frees tables; accepts a half-built device. Context: the loop. */
void pci_device_done(PciDevice *dev);
/* Checks loaded bytes (read-only bits keep our values) and maps and raises what they say. */
bool pci_device_post_load(PciDevice *dev, GError **error);

/* Config accessors of the device itself; @offset + width within the config space. */
uint8_t pci_get8(const PciDevice *dev, unsigned offset);
uint16_t pci_get16(const PciDevice *dev, unsigned offset);
uint32_t pci_get32(const PciDevice *dev, unsigned offset);
void pci_put8(PciDevice *dev, unsigned offset, uint8_t value);
void pci_put16(PciDevice *dev, unsigned offset, uint16_t value);
void pci_put32(PciDevice *dev, unsigned offset, uint32_t value);
/* Declares bits of a little-endian register of @size bytes (1, 2, 4) writable by the guest, or
 * cleared by writing ones. */
void pci_set_writable(PciDevice *dev, unsigned offset, unsigned size, uint32_t bits);
void pci_set_write_clear(PciDevice *dev, unsigned offset, unsigned size, uint32_t bits);

/* Appends a capability of @size bytes (id and next pointer included), zeroed. Returns its offset.
 * Running out of room is a bug of the device. */
unsigned pci_add_capability(PciDevice *dev, uint8_t id, unsigned size);
/* PCI Express capability, version 2, of device/port type @type (PCI_EXP_TYPE_*); makes the config
 * space 4096 bytes. Returns its offset. */
unsigned pci_add_pcie_capability(PciDevice *dev, unsigned type);

/* @index: 0-5 (0-1 of a bridge); 64-bit kinds take @index + 1 too. @size_bytes: a power of two, at
 * least 4 (ports) or 16. */
void pci_bar_init(PciDevice *dev, unsigned index, PciBarKind kind, uint64_t size_bytes);
/* Shows @region (borrowed until pci_device_done) at @offset of the BAR; windows do not overlap. */
void pci_bar_add_region(PciDevice *dev, unsigned index, uint64_t offset, Region *region);
void pci_bar_add_ram(PciDevice *dev, unsigned index, uint64_t offset, RamBlock *ram);
/* Where the BAR is mapped, or PCI_BAR_UNMAPPED. Context: the loop. */
GuestAddr pci_bar_address(const PciDevice *dev, unsigned index);

/* The function's INTx line: raised while @level, unless the guest disabled it. */
void pci_set_irq(PciDevice *dev, bool level);

/* MSI with 64-bit addresses and masks for 1, 2, 4, ... 32 vectors. */
void pci_msi_init(PciDevice *dev, unsigned vectors);
bool pci_msi_is_enabled(const PciDevice *dev);
void pci_msi_notify(PciDevice *dev, unsigned vector);

/* MSI-X: @vectors 1 to PCI_MSIX_VECTORS_MAX; table and pending bits lie in BAR @bar, which has been
 * made by pci_bar_init() with room for both. */
void pci_msix_init(PciDevice *dev, unsigned vectors, unsigned bar, uint32_t table_offset,
                   uint32_t pending_offset);
bool pci_msix_is_enabled(const PciDevice *dev);
/* Sends or, if masked, marks as pending. A @vector that does not exist is dropped. */
void pci_msix_notify(PciDevice *dev, unsigned vector);

/* An interrupt by what the guest enabled: MSI-X or MSI @vector as an edge; else false is returned
 * and the device uses pci_set_irq(). */
bool pci_notify_message(PciDevice *dev, unsigned vector);

#endif
