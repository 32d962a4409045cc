/* Virtio devices: what is common to all of them, whatever bus carries them.
 *
 * How to write one. Its struct begins with a VirtioDevice. A VirtioDeviceClass says what it is and
 * does; one DeviceClass for each transport names the same struct:
 *
 *   typedef struct VirtioThing { VirtioDevice virtio; char *backend; uint32_t level; } VirtioThing;
 *
 *   static const VirtioDeviceClass thing = { .device_id = VIRTIO_ID_RNG, .realize = thing_realize,
 *       .handle_queue = thing_handle_queue, ... };
 *   static const Property thing_pci_properties[] = { THING_PROPERTIES, VIRTIO_PCI_PROPERTIES, {0}
 * }; static const StateField fields[] = { VIRTIO_STATE, STATE_FIELD(VirtioThing, STATE_U32, level),
 *       STATE_END };
 *   static const StateTable thing_state = { "virtio-thing", 1, fields };
 *   const DeviceClass virtio_thing_pci_class = { VIRTIO_PCI_CLASS, .name = "virtio-thing-pci",
 *       .instance_size = sizeof(VirtioThing), .properties = thing_pci_properties,
 *       .state = &thing_state, .family = &thing, ... };
 *   const DeviceClass virtio_thing_device_class = { VIRTIO_MMIO_CLASS, ... };
 *
 * realize adds queues by virtio_add_queue() and resolves back ends by
 * thing->virtio.device.host->find_backend(). When the driver notifies a queue, handle_queue runs on
 * the device's loop with the device's lock held:
 *
 *   while ((chain = virtio_pop(dev, index))) {
 *       ... virtq_chain_read(), virtq_chain_write(), or keep the chain for later ...
 *       virtio_push(dev, chain, bytes_written);
 *   }
 *   virtio_flush(dev, index);
 *
 * A request that breaks the device's protocol beyond an error status: virtio_fail(). Call-backs of
 * back ends (timers, descriptors, completions) run on the loop too and begin with
 * LOCK_GUARD(&dev->device.lock). A chain that outlives a reset is harmless: virtio_push() only
 * frees it; but whoever writes to guest memory on another thread must have stopped when reset()
 * returns. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_DEVICE_H
#define LODGE_VMM_VIRTIO_DEVICE_H

#include "vmm/bus/pci/pci-device.h"
#include "vmm/virtio/queue.h"

#include <linux/virtio_config.h> /* VIRTIO_F_*, VIRTIO_CONFIG_S_* */
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h> /* VIRTIO_RING_F_* */

#define VIRTIO_QUEUES_MAX 64
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

typedef struct VirtioDevice VirtioDevice;

/* All members run on the device's loop; all but realize with its lock held. */
typedef struct VirtioDeviceClass {
    uint16_t device_id;   /* VIRTIO_ID_* */
    uint32_t pci_class;   /* PCI class code, 0x00ff00 if nothing fits better */
    uint16_t config_size; /* bytes, at most VIRTIO_CONFIG_MAX; realize may lower dev->config_size */
    /* required */
    bool (*realize)(VirtioDevice *dev, GError **error);
    void (*unrealize)(VirtioDevice *dev); /* optional; not called if realize failed */
    /* optional: device features offered (bits 0-23 and 50-127 below 64). The ring's and transport's
     * own are added. */
    uint64_t (*get_features)(VirtioDevice *dev);
    /* optional: fills dev->config_size bytes, zeroed before; little endian. */
    void (*get_config)(VirtioDevice *dev, uint8_t *config);
    /* optional: the guest wrote @size bytes at @offset, within config_size. */
    void (*set_config)(VirtioDevice *dev, unsigned offset, const uint8_t *bytes, unsigned size);
    /* optional: the driver is ready (DRIVER_OK), or was when the state was saved; then perhaps for
     * the second time without a reset. */
    void (*activate)(VirtioDevice *dev);
    /* required: the driver added to queue @index. Not called before activate, after fail, or while
     * quiesced. May be called when there is nothing. */
    void (*handle_queue)(VirtioDevice *dev, unsigned index);
    /* optional: forget requests and stop I/O into guest memory; queues are reset afterwards. */
    void (*reset)(VirtioDevice *dev);
    void (*quiesce)(VirtioDevice *dev);    /* optional, as in DeviceClass */
    bool (*is_drained)(VirtioDevice *dev); /* optional, as in DeviceClass */
    void (*resume)(VirtioDevice *dev);     /* optional; queues are looked at afterwards */
    /* optional; queues are loaded and activate was called if the driver was ready. Forgets requests
     * held before (their chains are stale), checks the class's own fields. */
    bool (*post_load)(VirtioDevice *dev, GError **error);
} VirtioDeviceClass;

/* What carries a device. Context: any thread, lock held. */
typedef struct VirtioTransport {
    void (*queue_interrupt)(VirtioDevice *dev, unsigned index);
    void (*config_interrupt)(VirtioDevice *dev);
    void (*update_line)(VirtioDevice *dev); /* drives the line as dev->isr says */
} VirtioTransport;

/* A queue with what the transport knows of it. */
typedef struct VirtioQueue {
    VirtQueue ring;
    VirtioDevice *dev;
    uint16_t index;
    uint16_t vector; /* MSI-X, or VIRTIO_NO_VECTOR */
    uint32_t legacy_page;
    int notify_fd; /* eventfd: written to by vCPUs or the kernel, watched by the loop */
    LoopWatch *watch;
    bool is_dispatching; /* inside handle_queue */
    unsigned budget;     /* chains that this round may still take */
} VirtioQueue;

struct VirtioDevice {
    union {
        Device device;
        PciDevice pci; /* begins with the Device; only of PCI classes */
    };
    const VirtioDeviceClass *class;
    const VirtioTransport *transport;
    uint16_t config_size;
    uint16_t queue_count;
    VirtioQueue queue[VIRTIO_QUEUES_MAX];

    /* Properties */
    bool wants_event_index, wants_indirect;
    bool wants_ioeventfd, is_modern_disabled;
    uint32_t legacy_choice; /* index into virtio_legacy_choices */
    uint64_t vectors;       /* 0: one for each queue and one for config changes */
    uint64_t mmio_base;

    /* Registers; under lock */
    uint8_t status;             /* VIRTIO_CONFIG_S_* */
    uint32_t isr;               /* bit 0: queue, bit 1: config */
    uint64_t offered, accepted; /* features */
    uint32_t offered_select, accepted_select;
    uint16_t queue_select;
    uint16_t config_vector;
    uint32_t generation; /* of the config bytes */
    bool is_active;      /* between activate and reset */
    bool is_quiesced;

    /* Of the transport */
    bool has_modern, has_legacy;
    unsigned window_capability; /* PCI: where the configuration access capability is */
    Region common_region, isr_region, config_region, notify_region, legacy_region, mmio_region;
};

extern const char *const virtio_legacy_choices[];
extern const StateTable virtio_device_state;

/* First row of every virtio device's state fields. */
#define VIRTIO_STATE                                                                               \
    {                                                                                              \
        .name = "virtio", .kind = STATE_TABLE, .offset = 0, .size = sizeof(VirtioDevice),          \
        .count = 1, .table = &virtio_device_state                                                  \
    }

#define VIRTIO_COMMON_PROPERTIES                                                                   \
    { .name = "event_idx",                                                                         \
      .kind = PROPERTY_BOOL,                                                                       \
      .offset = offsetof(VirtioDevice, wants_event_index),                                         \
      .fallback = "on",                                                                            \
      .help = "offer event indexes" },                                                             \
    {                                                                                              \
        .name = "indirect_desc", .kind = PROPERTY_BOOL,                                            \
        .offset = offsetof(VirtioDevice, wants_indirect), .fallback = "on",                        \
        .help = "offer indirect descriptors"                                                       \
    }

/* Rows for classes with VIRTIO_PCI_CLASS. */
#define VIRTIO_PCI_PROPERTIES                                                                      \
    PCI_PROPERTIES, VIRTIO_COMMON_PROPERTIES,                                                      \
        { .name = "disable-legacy",                                                                \
          .kind = PROPERTY_ENUM,                                                                   \
          .offset = offsetof(VirtioDevice, legacy_choice),                                         \
          .fallback = "auto",                                                                      \
          .choices = virtio_legacy_choices,                                                        \
          .help = "no I/O-port interface of virtio 0.9; auto: on behind a pcie-root-port" },       \
        { .name = "disable-modern",                                                                \
          .kind = PROPERTY_BOOL,                                                                   \
          .offset = offsetof(VirtioDevice, is_modern_disabled),                                    \
          .fallback = "off",                                                                       \
          .help = "only the interface of virtio 0.9" },                                            \
        { .name = "ioeventfd",                                                                     \
          .kind = PROPERTY_BOOL,                                                                   \
          .offset = offsetof(VirtioDevice, wants_ioeventfd),                                       \
          .fallback = "on",                                                                        \
          .help = "notifications by the accelerator, without leaving guest mode for long" },       \
    {                                                                                              \
        .name = "vectors", .kind = PROPERTY_UINT, .offset = offsetof(VirtioDevice, vectors),       \
        .max = VIRTIO_QUEUES_MAX + 1, .fallback = "0",                                             \
        .help = "MSI-X vectors; 0: one for each queue and one more"                                \
    }

/* Rows for classes with VIRTIO_MMIO_CLASS. */
#define VIRTIO_MMIO_PROPERTIES                                                                     \
    VIRTIO_COMMON_PROPERTIES,                                                                      \
    {                                                                                              \
        .name = "mmio-base", .kind = PROPERTY_UINT, .offset = offsetof(VirtioDevice, mmio_base),   \
        .max = UINT64_MAX, .help = "guest-physical address of the registers; set by the machine"   \
    }

/* Bus and life of a DeviceClass, by transport. MMIO: registers of 0x200 bytes at mmio-base, line
 * host->irq[0]. */
#define VIRTIO_PCI_CLASS                                                                           \
    .bus = DEVICE_BUS_PCI, .realize = virtio_pci_realize, .unrealize = virtio_pci_unrealize,       \
    .reset = virtio_pci_reset, .quiesce = virtio_quiesce, .is_drained = virtio_is_drained,         \
    .resume = virtio_resume, .post_load = virtio_pci_post_load
#define VIRTIO_MMIO_CLASS                                                                          \
    .bus = DEVICE_BUS_VIRTIO_MMIO, .realize = virtio_mmio_realize,                                 \
    .unrealize = virtio_mmio_unrealize, .reset = virtio_mmio_reset, .quiesce = virtio_quiesce,     \
    .is_drained = virtio_is_drained, .resume = virtio_resume, .post_load = virtio_mmio_post_load

/* For device authors; lock held. */

/* Adds the next queue (0, 1, ...) with at most @max_size entries (power of two). From realize. */
void virtio_add_queue(VirtioDevice *dev, uint16_t max_size);
/* Next request of a queue. NULL also when this round has taken its share: handle_queue then runs
 * again. A broken ring fails the device. */
VirtqChain *virtio_pop(VirtioDevice *dev, unsigned index);
/* Gives a request back and frees it; see virtq_push(). */
void virtio_push(VirtioDevice *dev, VirtqChain *chain, uint32_t written);
/* The same for several requests at once; see virtq_push_all(). */
void virtio_push_all(VirtioDevice *dev, VirtqChain *const *chains, const uint32_t *written,
                     unsigned count);
/* Interrupts the driver if it wants to know of what was pushed. */
void virtio_flush(VirtioDevice *dev, unsigned index);
/* Lets handle_queue run for @index soon, as if the driver had notified it. Context: any thread. */
void virtio_kick(VirtioDevice *dev, unsigned index);
/* The config bytes changed on the device's side: the driver is told. */
void virtio_config_changed(VirtioDevice *dev);
/* The driver accepted @bit. */
bool virtio_has_feature(const VirtioDevice *dev, unsigned bit);
/* The driver broke the rules: logged, and the device needs a reset. @why: static phrase. */
void virtio_fail(VirtioDevice *dev, const char *why);
/* The driver is ready and the device neither failed nor quiesced. */
bool virtio_is_running(const VirtioDevice *dev);

/* Members of classes, through the macros above. */
bool virtio_pci_realize(Device *dev, GError **error);
void virtio_pci_unrealize(Device *dev);
void virtio_pci_reset(Device *dev, ResetKind kind);
bool virtio_pci_post_load(Device *dev, GError **error);
bool virtio_mmio_realize(Device *dev, GError **error);
void virtio_mmio_unrealize(Device *dev);
void virtio_mmio_reset(Device *dev, ResetKind kind);
bool virtio_mmio_post_load(Device *dev, GError **error);
void virtio_quiesce(Device *dev);
bool virtio_is_drained(Device *dev);
void virtio_resume(Device *dev);

/* For transports. */

/* Makes queues' eventfds and the class's own resources. */
bool virtio_realize(VirtioDevice *dev, const VirtioTransport *transport, GError **error);
void virtio_unrealize(VirtioDevice *dev);
/* Context: the loop, lock held. */
void virtio_reset(VirtioDevice *dev);
bool virtio_post_load(VirtioDevice *dev, GError **error);
/* The driver writes device status. Context: any thread, lock NOT held; returns when it took effect,
 * which happens on the loop. */
void virtio_write_status(VirtioDevice *dev, uint8_t status);
uint32_t virtio_read_offered(const VirtioDevice *dev);
uint32_t virtio_read_accepted(const VirtioDevice *dev);
void virtio_write_accepted(VirtioDevice *dev, uint32_t bits);
/* The selected queue, or NULL. */
VirtioQueue *virtio_selected_queue(VirtioDevice *dev);
/* Makes the selected queue usable with the size and addresses set before. */
void virtio_enable_queue(VirtioDevice *dev, VirtioQueue *queue);
/* Config bytes, little endian; reads beyond them give zeroes, writes are dropped. */
uint64_t virtio_read_config(VirtioDevice *dev, uint64_t offset, unsigned size);
void virtio_write_config(VirtioDevice *dev, uint64_t offset, uint64_t value, unsigned size);

#endif
