/* Virtio devices: features, status, queues and their notification, for every transport.
 * Implements "Basic Facilities of a Virtio Device" of virtio 1.2.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/device.h"

#include "base/cleanup.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

const char *const virtio_legacy_choices[] = { "auto", "on", "off", NULL };

/* For the class */

void virtio_add_queue(VirtioDevice *dev, uint16_t max_size)
{
    lodge_assert(dev->queue_count < VIRTIO_QUEUES_MAX);
    VirtioQueue *queue = &dev->queue[dev->queue_count];
    *queue = (VirtioQueue){
        .dev = dev, .index = dev->queue_count, .vector = VIRTIO_NO_VECTOR, .notify_fd = -1
    };
    virtq_init(&queue->ring, dev->device.host->memory, max_size);
    dev->queue_count++;
}

bool virtio_has_feature(const VirtioDevice *dev, unsigned bit)
{
    /* A driver may write bits that were not offered, and start without asking whether they are
     * fine.
     */
    return dev->accepted & dev->offered & VIRTIO_FEATURE(bit);
}

bool virtio_is_running(const VirtioDevice *dev)
{
    bool can_dma = dev->device.class->bus != DEVICE_BUS_PCI || dev->pci.is_bus_master;
    return dev->is_active && !dev->is_quiesced && can_dma &&
           !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void virtio_config_changed(VirtioDevice *dev)
{
    dev->generation++;
    if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK) {
        dev->transport->config_interrupt(dev);
    }
}

void virtio_fail(VirtioDevice *dev, const char *why)
{
    if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) {
        return;
    }
    log_guest_error("%s: %s; the device needs a reset", device_label(&dev->device), why);
    dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    virtio_config_changed(dev);
}

void virtio_kick(VirtioDevice *dev, unsigned index)
{
    lodge_assert(index < dev->queue_count);
    uint64_t one = 1;
    ssize_t rc = write(dev->queue[index].notify_fd, &one, sizeof(one));
    (void)rc; /* EAGAIN: the counter is full, so the queue is looked at anyway */
}

static void kick_all(VirtioDevice *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++) {
        if (dev->queue[i].ring.is_ready) {
            virtio_kick(dev, i);
        }
    }
}

VirtqChain *virtio_pop(VirtioDevice *dev, unsigned index)
{
    lodge_assert(index < dev->queue_count);
    VirtioQueue *queue = &dev->queue[index];
    if (!virtio_is_running(dev)) {
        return NULL;
    }
    if (queue->is_dispatching && queue->budget == 0) {
        virtio_kick(dev, index);
        return NULL;
    }
    VirtqChain *chain = virtq_pop(&queue->ring);
    if (!chain && queue->ring.broken) {
        virtio_fail(dev, queue->ring.broken);
    } else if (chain && queue->is_dispatching) {
        queue->budget--;
    }
    return chain;
}

void virtio_push_all(VirtioDevice *dev, VirtqChain *const *chains, const uint32_t *written,
                     unsigned count)
{
    VirtQueue *ring = chains[0]->queue;
    virtq_push_all(chains, written, count);
    if (ring->broken && dev->is_active) {
        virtio_fail(dev, ring->broken);
    }
}

void virtio_push(VirtioDevice *dev, VirtqChain *chain, uint32_t written)
{
    virtio_push_all(dev, &chain, &written, 1);
}

void virtio_flush(VirtioDevice *dev, unsigned index)
{
    lodge_assert(index < dev->queue_count);
    if (dev->is_active && virtq_should_interrupt(&dev->queue[index].ring)) {
        dev->transport->queue_interrupt(dev, index);
    }
}

/* Notification. Each round takes at most one ring full of requests, so that a busy queue leaves
 * the loop to others. */
static void on_notified(void *opaque, uint32_t events)
{
    VirtioQueue *queue = opaque;
    VirtioDevice *dev = queue->dev;
    uint64_t count;
    ssize_t rc = read(queue->notify_fd, &count, sizeof(count));
    (void)rc; /* EAGAIN: another round has taken it */
    LOCK_GUARD(&dev->device.lock);
    if (!virtio_is_running(dev) || !queue->ring.is_ready) {
        return;
    }
    queue->budget = queue->ring.size;
    queue->is_dispatching = true;
    dev->class->handle_queue(dev, queue->index);
    queue->is_dispatching = false;
}

/* For transports: life */

static uint64_t all_features(VirtioDevice *dev)
{
    uint64_t features = dev->class->get_features ? dev->class->get_features(dev) : 0;
    features |= VIRTIO_FEATURE(VIRTIO_F_ANY_LAYOUT);
    if (dev->has_modern) {
        features |= VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    }
    if (dev->wants_event_index) {
        features |= VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX);
    }
    if (dev->wants_indirect) {
        features |= VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    }
    return features;
}

static bool start_queue_watch(VirtioQueue *queue, GError **error)
{
    queue->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->notify_fd >= 0) {
        queue->watch = loop_watch(device_loop(&queue->dev->device), queue->notify_fd, EPOLLIN,
                                  on_notified, queue);
    }
    if (!queue->watch) {
        lodge_error_set_errno(error, errno, "cannot watch queue %u", queue->index);
        return false;
    }
    return true;
}

static bool start_queue_watches(VirtioDevice *dev, GError **error)
{
    bool ok = true;
    loop_thread_pause(dev->device.thread);
    for (unsigned i = 0; i < dev->queue_count && ok; i++) {
        ok = start_queue_watch(&dev->queue[i], error);
    }
    loop_thread_continue(dev->device.thread);
    return ok;
}

static void stop_queue_watches(VirtioDevice *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++) {
        loop_unwatch(dev->queue[i].watch);
        dev->queue[i].watch = NULL;
        if (dev->queue[i].notify_fd >= 0) {
            close(steal_fd(&dev->queue[i].notify_fd));
        }
    }
}

bool virtio_realize(VirtioDevice *dev, const VirtioTransport *transport, GError **error)
{
    dev->class = dev->device.class->family;
    lodge_assert(dev->class && dev->class->handle_queue && dev->device.host->memory);
    lodge_assert(dev->class->config_size <= VIRTIO_CONFIG_MAX);
    dev->transport = transport;
    dev->config_size = dev->class->config_size;
    dev->queue_count = 0;
    dev->config_vector = VIRTIO_NO_VECTOR;
    if (!dev->class->realize(dev, error)) {
        return false;
    }
    if (!start_queue_watches(dev, error)) {
        loop_thread_pause(dev->device.thread);
        virtio_unrealize(dev);
        loop_thread_continue(dev->device.thread);
        return false;
    }
    dev->offered = all_features(dev);
    return true;
}

void virtio_unrealize(VirtioDevice *dev)
{
    LOCK_GUARD(&dev->device.lock);
    stop_queue_watches(dev);
    if (dev->class->reset) {
        dev->class->reset(dev);
    }
    dev->is_active = false;
    if (dev->class->unrealize) {
        dev->class->unrealize(dev);
    }
}

void virtio_reset(VirtioDevice *dev)
{
    if (dev->class->reset) {
        dev->class->reset(dev);
    }
    dev->status = 0;
    dev->isr = 0;
    dev->accepted = 0;
    dev->offered_select = dev->accepted_select = 0;
    dev->queue_select = 0;
    dev->config_vector = VIRTIO_NO_VECTOR;
    dev->is_active = false;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        virtq_reset(&dev->queue[i].ring);
        dev->queue[i].vector = VIRTIO_NO_VECTOR;
        dev->queue[i].legacy_page = 0;
    }
    dev->transport->update_line(dev);
}

void virtio_quiesce(Device *device)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    dev->is_quiesced = true;
    if (dev->class->quiesce) {
        dev->class->quiesce(dev);
    }
}

bool virtio_is_drained(Device *device)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    return !dev->class->is_drained || dev->class->is_drained(dev);
}

void virtio_resume(Device *device)
{
    VirtioDevice *dev = (VirtioDevice *)device;
    dev->is_quiesced = false;
    if (dev->class->resume) {
        dev->class->resume(dev);
    }
    kick_all(dev);
}

/* For transports: registers */

static void apply_ring_features(VirtioDevice *dev, VirtioQueue *queue)
{
    queue->ring.has_event_index = virtio_has_feature(dev, VIRTIO_RING_F_EVENT_IDX);
    queue->ring.has_indirect = virtio_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC);
}

static void activate(VirtioDevice *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++) {
        apply_ring_features(dev, &dev->queue[i]);
    }
    dev->is_active = true;
    if (dev->class->activate) {
        dev->class->activate(dev);
    }
}

/* A driver that writes FEATURES_OK must have taken what a modern device cannot do without, and
 * nothing that was not offered. A legacy driver never writes it. */
static bool features_are_fine(const VirtioDevice *dev)
{
    return !(dev->accepted & ~dev->offered) &&
           (dev->has_legacy || virtio_has_feature(dev, VIRTIO_F_VERSION_1));
}

static void set_status(VirtioDevice *dev, uint8_t status)
{
    if (status == 0) {
        virtio_reset(dev);
        return;
    }
    uint8_t before = dev->status;
    status &= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
              VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;
    uint8_t added = status & (uint8_t)~before;
    if (added & VIRTIO_CONFIG_S_FEATURES_OK && !features_are_fine(dev)) {
        log_guest_error("%s: features that the driver chose are not possible",
                        device_label(&dev->device));
        status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    }
    dev->status = before | status;
    if (added & VIRTIO_CONFIG_S_DRIVER_OK && !dev->is_active) {
        activate(dev);
        kick_all(dev);
    }
}

typedef struct StatusWrite {
    VirtioDevice *dev;
    uint8_t status;
} StatusWrite;

static void do_status_write(void *opaque)
{
    StatusWrite *write = opaque;
    LOCK_GUARD(&write->dev->device.lock);
    set_status(write->dev, write->status);
}

void virtio_write_status(VirtioDevice *dev, uint8_t status)
{
    StatusWrite write = { dev, status };
    if (loop_call_wait(device_loop(&dev->device), do_status_write, &write) < 0) {
        log_warn("%s: no memory to change the device status", device_label(&dev->device));
    }
}

uint32_t virtio_read_offered(const VirtioDevice *dev)
{
    return dev->offered_select > 1 ? 0 : (uint32_t)(dev->offered >> (32 * dev->offered_select));
}

uint32_t virtio_read_accepted(const VirtioDevice *dev)
{
    return dev->accepted_select > 1 ? 0 : (uint32_t)(dev->accepted >> (32 * dev->accepted_select));
}

void virtio_write_accepted(VirtioDevice *dev, uint32_t bits)
{
    if (dev->status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK) ||
        dev->accepted_select > 1) {
        return; /* too late, or bits that do not exist */
    }
    unsigned shift = 32 * dev->accepted_select;
    dev->accepted = (dev->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)bits << shift;
}

VirtioQueue *virtio_selected_queue(VirtioDevice *dev)
{
    return dev->queue_select < dev->queue_count ? &dev->queue[dev->queue_select] : NULL;
}

void virtio_enable_queue(VirtioDevice *dev, VirtioQueue *queue)
{
    if (queue->ring.is_ready) {
        return;
    }
    apply_ring_features(dev, queue);
    if (virtq_start(&queue->ring) < 0) {
        virtio_fail(dev, queue->ring.broken);
    } else if (dev->is_active) {
        virtio_kick(dev, queue->index);
    }
}

uint64_t virtio_read_config(VirtioDevice *dev, uint64_t offset, unsigned size)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = { 0 };
    uint64_t value = 0;
    if (dev->class->get_config) {
        dev->class->get_config(dev, config);
    }
    for (unsigned i = 0; i < size && offset + i < dev->config_size; i++) {
        value |= (uint64_t)config[offset + i] << (8 * i);
    }
    return value;
}

void virtio_write_config(VirtioDevice *dev, uint64_t offset, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    if (!dev->class->set_config || size > sizeof(bytes) ||
        !range_fits(offset, size, dev->config_size)) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    dev->class->set_config(dev, (unsigned)offset, bytes, size);
}

/* State. Streams are hostile: what a driver could not have set is refused. */

static bool refuse(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "state has %s", what);
    return false;
}

bool virtio_post_load(VirtioDevice *dev, GError **error)
{
    dev->is_active = false;
    dev->isr &= 3;
    if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK && dev->accepted & ~dev->offered) {
        return refuse(error, "features that are not offered");
    }
    for (unsigned i = 0; i < dev->queue_count; i++) {
        VirtioQueue *queue = &dev->queue[i];
        if (virtq_check_loaded(&queue->ring) < 0) {
            return refuse(error, "an impossible queue");
        }
        apply_ring_features(dev, queue);
    }
    if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK) {
        activate(dev);
    }
    if (dev->class->post_load && !dev->class->post_load(dev, error)) {
        return false;
    }
    dev->transport->update_line(dev);
    return true;
}

static const StateField queue_fields[] = {
    { .name = "size",
      .kind = STATE_U16,
      .offset = offsetof(VirtioQueue, ring.size),
      .size = 2,
      .count = 1 },
    { .name = "is_ready",
      .kind = STATE_BOOL,
      .offset = offsetof(VirtioQueue, ring.is_ready),
      .size = 1,
      .count = 1 },
    { .name = "address",
      .kind = STATE_U64,
      .offset = offsetof(VirtioQueue, ring.address),
      .size = 8,
      .count = 3 },
    { .name = "last_avail",
      .kind = STATE_U16,
      .offset = offsetof(VirtioQueue, ring.last_avail),
      .size = 2,
      .count = 1 },
    { .name = "used_index",
      .kind = STATE_U16,
      .offset = offsetof(VirtioQueue, ring.used_index),
      .size = 2,
      .count = 1 },
    { .name = "signalled_used",
      .kind = STATE_U16,
      .offset = offsetof(VirtioQueue, ring.signalled_used),
      .size = 2,
      .count = 1 },
    STATE_FIELD(VirtioQueue, STATE_U16, vector),
    STATE_FIELD(VirtioQueue, STATE_U32, legacy_page),
    STATE_END,
};
static const StateTable queue_table = { .name = "queue", .version = 1, .fields = queue_fields };

/* Devices with few queues save few. */
#define QUEUES_FIELD(first, count_)                                                                \
    {                                                                                              \
        .name = "queues", .kind = STATE_TABLE, .offset = offsetof(VirtioDevice, queue[first]),     \
        .size = sizeof(VirtioQueue), .count = (count_), .table = &queue_table                      \
    }

static bool has_more_than_4_queues(const void *object)
{
    return ((const VirtioDevice *)object)->queue_count > 4;
}

static bool has_more_than_16_queues(const void *object)
{
    return ((const VirtioDevice *)object)->queue_count > 16;
}

static bool is_on_pci(const void *object)
{
    return ((const Device *)object)->class->bus == DEVICE_BUS_PCI;
}

static const StateField more_fields[] = { QUEUES_FIELD(4, 12), STATE_END };
static const StateTable more_queues = {
    .name = "queues-4-15", .version = 1, .fields = more_fields, .needed = has_more_than_4_queues
};
static const StateField most_fields[] = { QUEUES_FIELD(16, 48), STATE_END };
static const StateTable most_queues = {
    .name = "queues-16-63", .version = 1, .fields = most_fields, .needed = has_more_than_16_queues
};
static const StateField pci_fields[] = { STATE_STRUCT(VirtioDevice, pci, &pci_device_state),
                                         STATE_END };
static const StateTable pci_part = {
    .name = "on-pci", .version = 1, .fields = pci_fields, .needed = is_on_pci
};
static const StateTable *const parts[] = { &more_queues, &most_queues, &pci_part, NULL };

static const StateField fields[] = {
    STATE_FIELD(VirtioDevice, STATE_U8, status),
    STATE_FIELD(VirtioDevice, STATE_U32, isr),
    STATE_FIELD(VirtioDevice, STATE_U64, accepted),
    STATE_FIELD(VirtioDevice, STATE_U32, offered_select),
    STATE_FIELD(VirtioDevice, STATE_U32, accepted_select),
    STATE_FIELD(VirtioDevice, STATE_U16, queue_select),
    STATE_FIELD(VirtioDevice, STATE_U16, config_vector),
    STATE_FIELD(VirtioDevice, STATE_U32, generation),
    QUEUES_FIELD(0, 4),
    STATE_END,
};

const StateTable virtio_device_state = {
    .name = "virtio", .version = 1, .fields = fields, .parts = parts
};
