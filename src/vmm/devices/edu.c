/* "edu", a PCI device made for lessons: registers, a slow computation, interrupts, and DMA.
 *
 * Source: QEMU's specification "EDU device", so that the drivers written for it in courses work.
 * Read this file from top to bottom to see how a device of Lodge is made; docs and larger devices
 * follow the same order: registers, struct, behaviour, register handlers, life, properties, state,
 * class.
 *
 *   BAR 0, 1 MiB, registers of 32 bits (those from 0x80 on also of 64):
 *     0x00  identification, 0x010000ed                     read only
 *     0x04  card liveness check: reads the inverse of what was written
 *     0x08  factorial: write n, read n! when bit 0 of the status is clear
 *     0x20  status: bit 0 computing (read only), bit 7 interrupt when done
 *     0x24  interrupt status: causes that are pending     read only
 *     0x60  raise: causes to add                          write only
 *     0x64  acknowledge: causes to remove                 write only
 *     0x80  DMA source, 0x88 destination, 0x90 count, 0x98 command: bit 0 start, bit 1 direction
 *           (0: RAM to device), bit 2 interrupt when done
 *   The device's own memory for DMA is 4096 bytes at 0x40000 of its address space.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus/pci/pci-device.h"

#include "base/clock.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

#include <string.h>

#define BAR_SIZE 0x100000u

#define REG_ID 0x00
#define REG_LIVENESS 0x04
#define REG_FACTORIAL 0x08
#define REG_STATUS 0x20
#define REG_IRQ_STATUS 0x24
#define REG_IRQ_RAISE 0x60
#define REG_IRQ_ACKNOWLEDGE 0x64
#define REG_DMA_SOURCE 0x80
#define REG_DMA_DESTINATION 0x88
#define REG_DMA_COUNT 0x90
#define REG_DMA_COMMAND 0x98

#define ID_VALUE 0x010000edu

#define STATUS_COMPUTING 0x01u
#define STATUS_IRQ_WHEN_DONE 0x80u

#define IRQ_FACTORIAL 0x001u
#define IRQ_DMA 0x100u

#define DMA_RUN 0x1u
#define DMA_TO_RAM 0x2u
#define DMA_IRQ_WHEN_DONE 0x4u
#define DMA_KNOWN 0x7u

#define BUFFER_BASE 0x40000u
#define BUFFER_SIZE 4096u

/* Work takes a while, as in real hardware: drivers that do not wait are found out. */
#define FACTORIAL_NS (10 * NS_PER_US)
#define DMA_NS (100 * NS_PER_US)

/* What the guest can read back is state, and only that: no pointer into anything else. The struct
 * begins with the family's (PciDevice begins with Device), so that the casts below are right. */
typedef struct Edu {
    PciDevice pci;
    uint64_t dma_mask; /* property: address bits that DMA drives */
    uint32_t liveness, factorial, status, irq_status;
    uint64_t dma_source, dma_destination, dma_count, dma_command;
    uint8_t buffer[BUFFER_SIZE];
    GuestTimer compute_timer, dma_timer;
    Region region;
} Edu;

/* Interrupts ----------------------------------------------------------------------------------- */

/* A message if the guest enabled MSI, else the line, which stays up as long as a cause is there. */
static void raise_irq(Edu *edu, uint32_t causes)
{
    edu->irq_status |= causes;
    if (edu->irq_status && !pci_notify_message(&edu->pci, 0)) {
        pci_set_irq(&edu->pci, true);
    }
}

static void acknowledge_irq(Edu *edu, uint32_t causes)
{
    edu->irq_status &= ~causes;
    if (!edu->irq_status) {
        pci_set_irq(&edu->pci, false);
    }
}

/* Work ----------------------------------------------------------------------------------------- */

/* Timers run on the loop, with the device's lock held, like the register handlers: nothing here
 * needs a lock of its own. */
static void computed(Device *dev)
{
    Edu *edu = (Edu *)dev;
    uint32_t product = 1;
    /* Any n gives 0 from 34 on, modulo 2^32: a guest may write 2^32 - 1 and must not keep the
     * thread busy. */
    for (uint32_t n = edu->factorial; n > 1 && product; n--) {
        product *= n;
    }
    edu->factorial = product;
    edu->status &= ~STATUS_COMPUTING;
    if (edu->status & STATUS_IRQ_WHEN_DONE) {
        raise_irq(edu, IRQ_FACTORIAL);
    }
}

/* The part of the device's memory at @address, or NULL: every address and length comes from the
 * guest, so each is checked, and the check cannot overflow (range_fits). */
static uint8_t *buffer_at(Edu *edu, uint64_t address, uint64_t count)
{
    if (address < BUFFER_BASE || !range_fits(address - BUFFER_BASE, count, BUFFER_SIZE)) {
        return NULL;
    }
    return edu->buffer + (address - BUFFER_BASE);
}

/* Copies by the host's checked access to guest RAM. A device may use it only while the guest made
 * it bus master. */
static bool transfer(Edu *edu)
{
    const GuestMemory *memory = edu->pci.device.host->memory;
    bool to_ram = edu->dma_command & DMA_TO_RAM;
    uint64_t inside = to_ram ? edu->dma_source : edu->dma_destination;
    GuestAddr outside = (to_ram ? edu->dma_destination : edu->dma_source) & edu->dma_mask;
    uint8_t *bytes = buffer_at(edu, inside, edu->dma_count);
    if (!bytes || !edu->pci.is_bus_master) {
        return false;
    }
    size_t count = (size_t)edu->dma_count;
    return (to_ram ? guest_memory_write(memory, outside, bytes, count)
                   : guest_memory_read(memory, outside, bytes, count)) == 0;
}

static void dma_finished(Device *dev)
{
    Edu *edu = (Edu *)dev;
    if (!transfer(edu)) {
        /* The guest's mistake: say so (the line is rate-limited) and go on as hardware would. */
        log_guest_error("%s: DMA of %llu bytes is not possible", device_label(dev),
                        (unsigned long long)edu->dma_count);
    }
    edu->dma_command &= ~(uint64_t)DMA_RUN;
    if (edu->dma_command & DMA_IRQ_WHEN_DONE) {
        raise_irq(edu, IRQ_DMA);
    }
}

static void start_compute(Edu *edu, uint32_t n)
{
    if (edu->status & STATUS_COMPUTING) {
        return;
    }
    edu->factorial = n;
    edu->status |= STATUS_COMPUTING;
    guest_timer_set(&edu->compute_timer, device_now_ns(&edu->pci.device) + FACTORIAL_NS);
}

static void start_dma(Edu *edu, uint64_t command)
{
    edu->dma_command = command & DMA_KNOWN;
    if (command & DMA_RUN) {
        guest_timer_set(&edu->dma_timer, device_now_ns(&edu->pci.device) + DMA_NS);
    }
}

/* Registers ------------------------------------------------------------------------------------ */

/* The bus has checked size and alignment against RegionOps, and holds the device's lock. */
static uint64_t edu_read(void *opaque, uint64_t offset, unsigned size)
{
    const Edu *edu = opaque;
    switch (offset) {
    case REG_ID:
        return ID_VALUE;
    case REG_LIVENESS:
        return edu->liveness;
    case REG_FACTORIAL:
        return edu->factorial;
    case REG_STATUS:
        return edu->status;
    case REG_IRQ_STATUS:
        return edu->irq_status;
    case REG_DMA_SOURCE:
        return edu->dma_source;
    case REG_DMA_DESTINATION:
        return edu->dma_destination;
    case REG_DMA_COUNT:
        return edu->dma_count;
    case REG_DMA_COMMAND:
        return edu->dma_command;
    default:
        return UINT64_MAX; /* what an empty place on the bus gives */
    }
}

static void edu_write_dma(Edu *edu, uint64_t offset, uint64_t value)
{
    if (edu->dma_command & DMA_RUN) {
        return; /* registers are closed while a transfer runs */
    }
    switch (offset) {
    case REG_DMA_SOURCE:
        edu->dma_source = value;
        break;
    case REG_DMA_DESTINATION:
        edu->dma_destination = value;
        break;
    case REG_DMA_COUNT:
        edu->dma_count = value;
        break;
    case REG_DMA_COMMAND:
        start_dma(edu, value);
        break;
    default:
        break;
    }
}

static void edu_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Edu *edu = opaque;
    switch (offset) {
    case REG_LIVENESS:
        edu->liveness = ~(uint32_t)value;
        break;
    case REG_FACTORIAL:
        start_compute(edu, (uint32_t)value);
        break;
    case REG_STATUS:
        edu->status = (edu->status & STATUS_COMPUTING) | (value & STATUS_IRQ_WHEN_DONE);
        break;
    case REG_IRQ_RAISE:
        raise_irq(edu, (uint32_t)value);
        break;
    case REG_IRQ_ACKNOWLEDGE:
        acknowledge_irq(edu, (uint32_t)value);
        break;
    default:
        edu_write_dma(edu, offset, value);
        break;
    }
}

static const RegionOps edu_ops = { edu_read, edu_write, 4, 8 };

/* Life ----------------------------------------------------------------------------------------- */

static void edu_unrealize(Device *dev)
{
    Edu *edu = (Edu *)dev;
    guest_timer_done(&edu->compute_timer);
    guest_timer_done(&edu->dma_timer);
    pci_device_done(&edu->pci);
}

/* Acquires what the device needs; on failure everything is given back. */
static bool edu_realize(Device *dev, GError **error)
{
    static const PciIdentity identity = {
        .vendor = 0x1234,
        .device = 0x11e8,
        .revision = 0x10,
        .class_code = 0x00ff00,
        .interrupt_pin = 1,
    };
    Edu *edu = (Edu *)dev;
    edu->region = (Region){ "edu", BAR_SIZE, &edu_ops, edu, &dev->lock };
    pci_device_init(&edu->pci, &identity);
    pci_bar_init(&edu->pci, 0, PCI_BAR_MEM32, BAR_SIZE);
    pci_bar_add_region(&edu->pci, 0, 0, &edu->region);
    pci_msi_init(&edu->pci, 1);
    pci_device_seal(&edu->pci);
    if (!guest_timer_init(&edu->compute_timer, dev, computed, error) ||
        !guest_timer_init(&edu->dma_timer, dev, dma_finished, error)) {
        edu_unrealize(dev);
        return false;
    }
    return true;
}

static void edu_reset(Device *dev, ResetKind kind)
{
    Edu *edu = (Edu *)dev;
    pci_device_reset(&edu->pci);
    edu->liveness = 0;
    edu->factorial = 0;
    edu->status = 0;
    acknowledge_irq(edu, UINT32_MAX);
    edu->dma_source = edu->dma_destination = edu->dma_count = edu->dma_command = 0;
    memset(edu->buffer, 0, sizeof(edu->buffer));
    guest_timer_set(&edu->compute_timer, DEVICE_TIMER_OFF);
    guest_timer_set(&edu->dma_timer, DEVICE_TIMER_OFF);
}

/* Timers are not saved: what they were for is, and they start anew. */
static void edu_resume(Device *dev)
{
    Edu *edu = (Edu *)dev;
    int64_t now = device_now_ns(dev);
    guest_timer_set(&edu->compute_timer,
                    edu->status & STATUS_COMPUTING ? now + FACTORIAL_NS : DEVICE_TIMER_OFF);
    guest_timer_set(&edu->dma_timer, edu->dma_command & DMA_RUN ? now + DMA_NS : DEVICE_TIMER_OFF);
}

/* Loaded bytes are hostile: refuse what no run of the code above can leave behind. */
static bool edu_post_load(Device *dev, GError **error)
{
    Edu *edu = (Edu *)dev;
    if (edu->status & ~(STATUS_COMPUTING | STATUS_IRQ_WHEN_DONE) ||
        edu->dma_command & ~(uint64_t)DMA_KNOWN) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible register values");
        return false;
    }
    return pci_device_post_load(&edu->pci, error);
}

/* What the user may set. */
static const Property edu_properties[] = {
    { "dma_mask", PROPERTY_UINT, offsetof(Edu, dma_mask), "0x0fffffff",
      .help = "address bits that DMA drives" },
    PCI_PROPERTIES,
    { NULL },
};

/* What is saved: names stay for ever, see state.h. */
static const StateField edu_fields[] = {
    STATE_STRUCT(Edu, pci, &pci_device_state),
    STATE_FIELD(Edu, STATE_U32, liveness),
    STATE_FIELD(Edu, STATE_U32, factorial),
    STATE_FIELD(Edu, STATE_U32, status),
    STATE_FIELD(Edu, STATE_U32, irq_status),
    STATE_FIELD(Edu, STATE_U64, dma_source),
    STATE_FIELD(Edu, STATE_U64, dma_destination),
    STATE_FIELD(Edu, STATE_U64, dma_count),
    STATE_FIELD(Edu, STATE_U64, dma_command),
    STATE_BYTES_FIELD(Edu, buffer),
    STATE_END,
};
static const StateTable edu_state = { .name = "edu", .fields = edu_fields };

/* The class: listed in classes.c, and thereby known to -device. */
const DeviceClass edu_class = {
    .name = "edu",
    .summary = "device for lessons: registers, interrupts, DMA",
    .bus = DEVICE_BUS_PCI,
    .instance_size = sizeof(Edu),
    .properties = edu_properties,
    .state = &edu_state,
    .realize = edu_realize,
    .unrealize = edu_unrealize,
    .reset = edu_reset,
    .resume = edu_resume,
    .post_load = edu_post_load,
};
