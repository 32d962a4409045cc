/* Message-signalled interrupts of PCI functions: MSI with 64-bit addresses and per-vector masks,
 * and MSI-X (PCI Local Bus 3.0).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/bus/pci/pci-private.h"

#include <string.h>

#define MSI_SIZE 24 /* with 64-bit address and masks */
#define MSIX_SIZE 12
#define MSIX_CONTROL_BITS (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)

static void send(PciDevice *dev, uint64_t address, uint32_t data)
{
    if (dev->is_bus_master) {
        msi_send(&dev->device.host->msi, address, data);
    }
}

/* MSI */

void pci_msi_init(PciDevice *dev, unsigned vectors)
{
    lodge_assert(is_power_of_two(vectors) && vectors <= PCI_MSI_VECTORS_MAX);
    unsigned at = pci_add_capability(dev, PCI_CAP_ID_MSI, MSI_SIZE);
    dev->msi_capability = at;
    unsigned log2 = (unsigned)__builtin_ctz(vectors);
    pci_put16(dev, at + PCI_MSI_FLAGS,
              (uint16_t)(log2 << 1 | PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT));
    pci_set_writable(dev, at + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    pci_set_writable(dev, at + PCI_MSI_ADDRESS_LO, 4, ~UINT32_C(3));
    pci_set_writable(dev, at + PCI_MSI_ADDRESS_HI, 4, UINT32_MAX);
    pci_set_writable(dev, at + PCI_MSI_DATA_64, 2, 0xffff);
    pci_set_writable(dev, at + PCI_MSI_MASK_64, 4, (uint32_t)((UINT64_C(1) << vectors) - 1));
}

bool pci_msi_is_enabled(const PciDevice *dev)
{
    return dev->msi_capability &&
           pci_get16(dev, dev->msi_capability + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_ENABLE;
}

/* Vectors that the guest allotted: at most what the capability offers. */
static unsigned msi_allotted(const PciDevice *dev)
{
    uint16_t flags = pci_get16(dev, dev->msi_capability + PCI_MSI_FLAGS);
    unsigned offered = (flags & PCI_MSI_FLAGS_QMASK) >> 1;
    unsigned wanted = (flags & PCI_MSI_FLAGS_QSIZE) >> 4;
    return 1u << (wanted < offered ? wanted : offered);
}

static void msi_send_vector(PciDevice *dev, unsigned vector)
{
    unsigned at = dev->msi_capability;
    uint64_t address = pci_get32(dev, at + PCI_MSI_ADDRESS_LO) |
                       (uint64_t)pci_get32(dev, at + PCI_MSI_ADDRESS_HI) << 32;
    uint32_t data = pci_get16(dev, at + PCI_MSI_DATA_64);
    send(dev, address, (data & ~(msi_allotted(dev) - 1)) | vector);
}

void pci_msi_notify(PciDevice *dev, unsigned vector)
{
    if (!pci_msi_is_enabled(dev)) {
        return;
    }
    unsigned at = dev->msi_capability;
    vector &= msi_allotted(dev) - 1;
    if (pci_get32(dev, at + PCI_MSI_MASK_64) & (UINT32_C(1) << vector)) {
        uint32_t pending = pci_get32(dev, at + PCI_MSI_PENDING_64);
        pci_put32(dev, at + PCI_MSI_PENDING_64, pending | UINT32_C(1) << vector);
        return;
    }
    msi_send_vector(dev, vector);
}

static void msi_flush(PciDevice *dev)
{
    unsigned at = dev->msi_capability;
    uint32_t ready =
        pci_get32(dev, at + PCI_MSI_PENDING_64) & ~pci_get32(dev, at + PCI_MSI_MASK_64);
    if (!ready || !pci_msi_is_enabled(dev)) {
        return;
    }
    pci_put32(dev, at + PCI_MSI_PENDING_64, pci_get32(dev, at + PCI_MSI_PENDING_64) & ~ready);
    for (unsigned vector = 0; vector < msi_allotted(dev); vector++) {
        if (ready & (UINT32_C(1) << vector)) {
            msi_send_vector(dev, vector);
        }
    }
}

/* MSI-X */

static bool msix_vector_is_masked(const PciDevice *dev, unsigned vector)
{
    uint16_t control = pci_get16(dev, dev->msix.capability + PCI_MSIX_FLAGS);
    return control & PCI_MSIX_FLAGS_MASKALL ||
           le32_get(dev->msix.table + 16 * vector + PCI_MSIX_ENTRY_VECTOR_CTRL) &
               PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static void msix_send_vector(PciDevice *dev, unsigned vector)
{
    const uint8_t *entry = dev->msix.table + 16 * vector;
    send(dev, le64_get(entry + PCI_MSIX_ENTRY_LOWER_ADDR) & ~UINT64_C(3),
         le32_get(entry + PCI_MSIX_ENTRY_DATA));
}

bool pci_msix_is_enabled(const PciDevice *dev)
{
    return dev->msix.capability &&
           pci_get16(dev, dev->msix.capability + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE;
}

void pci_msix_notify(PciDevice *dev, unsigned vector)
{
    if (!pci_msix_is_enabled(dev) || vector >= dev->msix.vectors) {
        return;
    }
    if (msix_vector_is_masked(dev, vector)) {
        dev->msix.pending[vector / 8] |= (uint8_t)(1u << vector % 8);
        return;
    }
    msix_send_vector(dev, vector);
}

/* Sends what became pending while masked. */
static void msix_flush(PciDevice *dev, unsigned first, unsigned count)
{
    if (!pci_msix_is_enabled(dev)) {
        return;
    }
    for (unsigned vector = first; vector < first + count; vector++) {
        uint8_t bit = (uint8_t)(1u << vector % 8);
        if (dev->msix.pending[vector / 8] & bit && !msix_vector_is_masked(dev, vector)) {
            dev->msix.pending[vector / 8] &= (uint8_t)~bit;
            msix_send_vector(dev, vector);
        }
    }
}

static uint64_t msix_table_read(void *opaque, uint64_t offset, unsigned size)
{
    const PciDevice *dev = opaque;
    return le32_get(dev->msix.table + offset);
}

static void msix_table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PciDevice *dev = opaque;
    if (offset % 16 == PCI_MSIX_ENTRY_VECTOR_CTRL) {
        value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
    le32_put(dev->msix.table + offset, (uint32_t)value);
    msix_flush(dev, (unsigned)offset / 16, 1);
}

static uint64_t msix_pending_read(void *opaque, uint64_t offset, unsigned size)
{
    const PciDevice *dev = opaque;
    return le32_get(dev->msix.pending + offset);
}

static void msix_pending_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    /* Read-only for the guest. */
}

static const RegionOps msix_table_ops = { msix_table_read, msix_table_write, 4, 4 };
static const RegionOps msix_pending_ops = { msix_pending_read, msix_pending_write, 4, 4 };

static void reset_table(PciDevice *dev)
{
    memset(dev->msix.table, 0, sizeof(dev->msix.table));
    memset(dev->msix.pending, 0, sizeof(dev->msix.pending));
    for (unsigned vector = 0; vector < dev->msix.vectors; vector++) {
        le32_put(dev->msix.table + 16 * vector + PCI_MSIX_ENTRY_VECTOR_CTRL,
                 PCI_MSIX_ENTRY_CTRL_MASKBIT);
    }
}

void pci_msix_init(PciDevice *dev, unsigned vectors, unsigned bar, uint32_t table_offset,
                   uint32_t pending_offset)
{
    lodge_assert(vectors >= 1 && vectors <= PCI_MSIX_VECTORS_MAX);
    lodge_assert(table_offset % 8 == 0 && pending_offset % 8 == 0 && bar < PCI_BARS);
    PciMsix *msix = &dev->msix;
    msix->capability = pci_add_capability(dev, PCI_CAP_ID_MSIX, MSIX_SIZE);
    msix->vectors = vectors;
    msix->table_region = (Region){ .name = "msix-table",
                                   .size_bytes = 16 * (uint64_t)vectors,
                                   .ops = &msix_table_ops,
                                   .opaque = dev,
                                   .lock = &dev->device.lock };
    msix->pending_region = (Region){ .name = "msix-pending",
                                     .size_bytes = 8 * div_round_up(vectors, 64),
                                     .ops = &msix_pending_ops,
                                     .opaque = dev,
                                     .lock = &dev->device.lock };
    pci_put16(dev, msix->capability + PCI_MSIX_FLAGS, (uint16_t)(vectors - 1));
    pci_set_writable(dev, msix->capability + PCI_MSIX_FLAGS, 2, MSIX_CONTROL_BITS);
    pci_put32(dev, msix->capability + PCI_MSIX_TABLE, table_offset | bar);
    pci_put32(dev, msix->capability + PCI_MSIX_PBA, pending_offset | bar);
    pci_bar_add_region(dev, bar, table_offset, &msix->table_region);
    pci_bar_add_region(dev, bar, pending_offset, &msix->pending_region);
    reset_table(dev);
}

/* Both */

bool pci_notify_message(PciDevice *dev, unsigned vector)
{
    if (pci_msix_is_enabled(dev)) {
        pci_msix_notify(dev, vector);
        return true;
    }
    if (pci_msi_is_enabled(dev)) {
        pci_msi_notify(dev, vector);
        return true;
    }
    return false;
}

void pci_msi_config_written(PciDevice *dev, unsigned offset, unsigned size)
{
    if (dev->msi_capability && pci_ranges_overlap(offset, size, dev->msi_capability, MSI_SIZE)) {
        msi_flush(dev);
    }
    if (dev->msix.capability && pci_ranges_overlap(offset, size, dev->msix.capability, MSIX_SIZE)) {
        msix_flush(dev, 0, dev->msix.vectors);
    }
}

void pci_msi_reset(PciDevice *dev)
{
    if (dev->msix.capability) {
        reset_table(dev);
    }
}

uint32_t pci_msi_get_pending(const PciDevice *dev)
{
    return dev->msi_capability ? pci_get32(dev, dev->msi_capability + PCI_MSI_PENDING_64) : 0;
}

/* Only bits that exist are kept. The guest cannot write the MSI pending bits, but they are state.
 */
void pci_msi_post_load(PciDevice *dev, uint32_t msi_pending)
{
    PciMsix *msix = &dev->msix;
    if (dev->msi_capability) {
        unsigned offered =
            (pci_get16(dev, dev->msi_capability + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QMASK) >> 1;
        uint32_t bits = (uint32_t)((UINT64_C(1) << (1u << offered)) - 1);
        pci_put32(dev, dev->msi_capability + PCI_MSI_PENDING_64, msi_pending & bits);
    }
    memset(msix->table + 16 * msix->vectors, 0, sizeof(msix->table) - 16 * msix->vectors);
    for (unsigned vector = 0; vector < PCI_MSIX_VECTORS_MAX; vector++) {
        if (vector >= msix->vectors) {
            msix->pending[vector / 8] &= (uint8_t) ~(1u << vector % 8);
            continue;
        }
        uint8_t *control = msix->table + 16 * vector + PCI_MSIX_ENTRY_VECTOR_CTRL;
        le32_put(control, le32_get(control) & PCI_MSIX_ENTRY_CTRL_MASKBIT);
    }
}
