/* Split virtqueues, device side.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/queue.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DESC_SIZE 16
#define AVAIL_FLAGS 0
#define AVAIL_INDEX 2
#define AVAIL_RING 4
#define USED_INDEX 2
#define USED_RING 4
#define USED_ELEMENT 8

typedef struct Descriptor {
    GuestAddr addr;
    uint32_t length;
    uint16_t flags, next;
} Descriptor;

/* What a walk over a chain collects: readable segments grow from the front of the array, and
 * writable ones follow them. */
typedef struct Walk {
    VirtQueue *queue;
    unsigned descriptors; /* looked at */
    unsigned out_count, in_count;
    uint64_t out_bytes, in_bytes;
    VirtqSegment segment[VIRTQ_SEGMENTS_MAX];
} Walk;

static bool fail(VirtQueue *queue, const char *why)
{
    queue->broken = why;
    return false;
}

/* Access to the rings. Each part is used through a direct pointer while the address map stays as it
 * is and the part is contiguous in RAM; else bytes are copied. */

static uint64_t part_size(const VirtQueue *queue, VirtqPart part)
{
    switch (part) {
    case VIRTQ_DESC:
        return DESC_SIZE * (uint64_t)queue->size;
    case VIRTQ_AVAIL:
        return AVAIL_RING + 2 * (uint64_t)queue->size + 2;
    default:
        return USED_RING + USED_ELEMENT * (uint64_t)queue->size + 2;
    }
}

static void look_up_part(VirtQueue *queue, VirtqPart part)
{
    AddressEntry entry;
    GuestAddr addr = queue->address[part];
    queue->part[part].host = NULL;
    if (!address_map_find(queue->memory->map, addr, &entry) || !entry.ram ||
        (entry.readonly && part == VIRTQ_USED)) {
        return;
    }
    uint64_t skip = addr - entry.base;
    if (!range_fits(skip, part_size(queue, part), entry.size_bytes)) {
        return;
    }
    queue->part[part].ram = entry.ram;
    queue->part[part].ram_offset = entry.ram_offset + skip;
    queue->part[part].host = entry.ram->host + entry.ram_offset + skip;
}

static void look_up_parts(VirtQueue *queue)
{
    uint64_t generation = address_map_generation(queue->memory->map);
    if (queue->has_parts && generation == queue->map_generation) {
        return;
    }
    for (VirtqPart part = VIRTQ_DESC; part <= VIRTQ_USED; part++) {
        look_up_part(queue, part);
    }
    queue->map_generation = generation;
    queue->has_parts = true;
}

static bool ring_load16(VirtQueue *queue, VirtqPart part, uint64_t offset, uint16_t *out)
{
    uint8_t *host = queue->part[part].host;
    if (host) {
        *out = le16toh(__atomic_load_n((uint16_t *)(void *)(host + offset), __ATOMIC_ACQUIRE));
        return true;
    }
    uint8_t bytes[2];
    if (guest_memory_read(queue->memory, queue->address[part] + offset, bytes, 2) < 0) {
        return fail(queue, "ring is not in memory");
    }
    *out = le16_get(bytes);
    return true;
}

static bool ring_write(VirtQueue *queue, VirtqPart part, uint64_t offset, const void *bytes,
                       size_t length)
{
    uint8_t *host = queue->part[part].host;
    if (host) {
        memcpy(host + offset, bytes, length);
        ram_block_written(queue->memory, queue->part[part].ram,
                          queue->part[part].ram_offset + offset, length);
        return true;
    }
    if (guest_memory_write(queue->memory, queue->address[part] + offset, bytes, length) < 0) {
        return fail(queue, "ring is not in memory");
    }
    return true;
}

static bool ring_store16(VirtQueue *queue, VirtqPart part, uint64_t offset, uint16_t value)
{
    uint8_t *host = queue->part[part].host;
    if (host) {
        __atomic_store_n((uint16_t *)(void *)(host + offset), htole16(value), __ATOMIC_RELEASE);
        ram_block_written(queue->memory, queue->part[part].ram,
                          queue->part[part].ram_offset + offset, 2);
        return true;
    }
    uint8_t bytes[2];
    le16_put(bytes, value);
    return ring_write(queue, part, offset, bytes, 2);
}

static Descriptor decode_descriptor(const uint8_t *bytes)
{
    return (Descriptor){ .addr = le64_get(bytes),
                         .length = le32_get(bytes + 8),
                         .flags = le16_get(bytes + 12),
                         .next = le16_get(bytes + 14) };
}

static bool read_descriptor(VirtQueue *queue, uint16_t index, Descriptor *out)
{
    uint8_t bytes[DESC_SIZE];
    const uint8_t *host = queue->part[VIRTQ_DESC].host;
    if (host) {
        memcpy(bytes, host + DESC_SIZE * (size_t)index, DESC_SIZE);
    } else if (guest_memory_read(queue->memory, queue->address[VIRTQ_DESC] + DESC_SIZE * index,
                                 bytes, DESC_SIZE) < 0) {
        return fail(queue, "ring is not in memory");
    }
    *out = decode_descriptor(bytes);
    return true;
}

/* Set-up */

void virtq_init(VirtQueue *queue, const GuestMemory *memory, uint16_t max_size)
{
    lodge_assert(is_power_of_two(max_size) && max_size <= VIRTQ_SIZE_MAX);
    *queue = (VirtQueue){ .memory = memory, .max_size = max_size, .size = max_size };
}

void virtq_reset(VirtQueue *queue)
{
    *queue = (VirtQueue){ .memory = queue->memory,
                          .max_size = queue->max_size,
                          .size = queue->max_size,
                          .epoch = queue->epoch + 1 };
}

static bool check_set_up(VirtQueue *queue)
{
    if (!is_power_of_two(queue->size) || queue->size > queue->max_size) {
        return fail(queue, "queue size is not allowed");
    }
    if (queue->address[VIRTQ_DESC] % 16 || queue->address[VIRTQ_AVAIL] % 2 ||
        queue->address[VIRTQ_USED] % 4) {
        return fail(queue, "ring is not aligned");
    }
    for (VirtqPart part = VIRTQ_DESC; part <= VIRTQ_USED; part++) {
        if (queue->address[part] > UINT64_MAX - part_size(queue, part)) {
            return fail(queue, "ring is not in memory");
        }
    }
    return true;
}

int virtq_start(VirtQueue *queue)
{
    queue->last_avail = queue->used_index = 0;
    queue->signalled_used = 0;
    queue->in_flight = 0;
    queue->has_parts = false;
    queue->epoch++;
    queue->broken = NULL;
    queue->is_ready = true;
    return check_set_up(queue) ? 0 : -EINVAL;
}

int virtq_check_loaded(VirtQueue *queue)
{
    queue->has_parts = false;
    queue->epoch++;
    queue->broken = NULL;
    queue->in_flight = 0;
    if (queue->is_ready && !check_set_up(queue)) {
        return -EINVAL;
    }
    return 0;
}

/* Taking chains */

static bool is_usable(const VirtQueue *queue)
{
    return queue->is_ready && !queue->broken;
}

/* How many entries of the available ring wait. */
static bool count_waiting(VirtQueue *queue, uint16_t *out)
{
    uint16_t index;
    if (!ring_load16(queue, VIRTQ_AVAIL, AVAIL_INDEX, &index)) {
        return false;
    }
    uint16_t waiting = (uint16_t)(index - queue->last_avail);
    if (waiting > queue->size) {
        return fail(queue, "available index runs past the ring");
    }
    *out = waiting;
    return true;
}

/* Asks to be notified of the next entry; true if one came meanwhile. */
static bool arm_notification(VirtQueue *queue)
{
    uint16_t waiting;
    if (!queue->has_event_index) {
        return false; /* the driver always notifies: the used ring's flags stay 0 */
    }
    uint64_t event = USED_RING + USED_ELEMENT * (uint64_t)queue->size;
    if (!ring_store16(queue, VIRTQ_USED, event, queue->last_avail)) {
        return false;
    }
    atomic_thread_fence(memory_order_seq_cst);
    return count_waiting(queue, &waiting) && waiting > 0;
}

bool virtq_has_work(VirtQueue *queue)
{
    uint16_t waiting;
    if (!is_usable(queue)) {
        return false;
    }
    look_up_parts(queue);
    return count_waiting(queue, &waiting) && waiting > 0;
}

static bool add_segment(Walk *walk, const Descriptor *desc)
{
    if (++walk->descriptors > VIRTQ_SEGMENTS_MAX) {
        return fail(walk->queue, "descriptor chain is too long");
    }
    if (desc->length == 0) {
        return fail(walk->queue, "descriptor of length zero");
    }
    if (desc->addr > UINT64_MAX - desc->length) {
        return fail(walk->queue, "descriptor runs past the end of memory");
    }
    if (desc->flags & VRING_DESC_F_WRITE) {
        walk->in_count++;
        walk->in_bytes += desc->length;
    } else {
        if (walk->in_count) {
            return fail(walk->queue, "readable descriptor follows a writable one");
        }
        walk->out_count++;
        walk->out_bytes += desc->length;
    }
    walk->segment[walk->descriptors - 1] = (VirtqSegment){ desc->addr, desc->length };
    return true;
}

static bool walk_indirect(Walk *walk, const Descriptor *table)
{
    VirtQueue *queue = walk->queue;
    if (!queue->has_indirect) {
        return fail(queue, "indirect descriptor was not negotiated");
    }
    if (table->flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) {
        return fail(queue, "indirect descriptor with other flags");
    }
    if (!table->length || table->length % DESC_SIZE) {
        return fail(queue, "indirect table has a bad length");
    }
    uint32_t entries = table->length / DESC_SIZE;
    uint32_t index = 0;
    for (uint32_t seen = 0; seen < entries; seen++) {
        uint8_t bytes[DESC_SIZE];
        GuestAddr addr;
        if (!checked_add(table->addr, (GuestAddr)index * DESC_SIZE, &addr) ||
            guest_memory_read(queue->memory, addr, bytes, DESC_SIZE) < 0) {
            return fail(queue, "indirect table is not in memory");
        }
        Descriptor desc = decode_descriptor(bytes);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return fail(queue, "indirect descriptor in an indirect table");
        }
        if (!add_segment(walk, &desc)) {
            return false;
        }
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
        index = desc.next;
        if (index >= entries) {
            return fail(queue, "next descriptor is out of range");
        }
    }
    return fail(queue, "descriptor chain has a loop");
}

static bool walk_chain(Walk *walk, uint16_t head)
{
    VirtQueue *queue = walk->queue;
    uint16_t index = head;
    for (unsigned seen = 0; seen < queue->size; seen++) {
        Descriptor desc;
        if (index >= queue->size) {
            return fail(queue, "next descriptor is out of range");
        }
        if (!read_descriptor(queue, index, &desc)) {
            return false;
        }
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return walk_indirect(walk, &desc);
        }
        if (!add_segment(walk, &desc)) {
            return false;
        }
        if (!(desc.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
        index = desc.next;
    }
    return fail(queue, "descriptor chain has a loop");
}

static VirtqChain *take_chain(VirtQueue *queue, uint16_t head)
{
    Walk walk;
    walk.queue = queue;
    walk.descriptors = walk.out_count = walk.in_count = 0;
    walk.out_bytes = walk.in_bytes = 0;
    if (!walk_chain(&walk, head)) {
        return NULL;
    }
    VirtqChain *chain = malloc(sizeof(*chain) + walk.descriptors * sizeof(chain->segment[0]));
    if (!chain) {
        fail(queue, "no memory for a request");
        return NULL;
    }
    *chain = (VirtqChain){ .queue = queue,
                           .epoch = queue->epoch,
                           .head = head,
                           .out_count = (uint16_t)walk.out_count,
                           .in_count = (uint16_t)walk.in_count,
                           .out_bytes = walk.out_bytes,
                           .in_bytes = walk.in_bytes };
    list_init(&chain->node);
    memcpy(chain->segment, walk.segment, walk.descriptors * sizeof(chain->segment[0]));
    return chain;
}

VirtqChain *virtq_pop(VirtQueue *queue)
{
    uint16_t waiting, head;
    if (!is_usable(queue)) {
        return NULL;
    }
    look_up_parts(queue);
    if (!count_waiting(queue, &waiting) || (!waiting && !arm_notification(queue))) {
        return NULL;
    }
    if (queue->in_flight >= queue->size) {
        fail(queue, "more requests than the ring has entries");
        return NULL;
    }
    uint64_t slot = AVAIL_RING + 2 * (uint64_t)(queue->last_avail % queue->size);
    if (!ring_load16(queue, VIRTQ_AVAIL, slot, &head)) {
        return NULL;
    }
    if (head >= queue->size) {
        fail(queue, "head descriptor is out of range");
        return NULL;
    }
    VirtqChain *chain = take_chain(queue, head);
    if (chain) {
        queue->last_avail++;
        queue->in_flight++;
    }
    return chain;
}

VirtqChain *virtq_reload(VirtQueue *queue, uint16_t head)
{
    if (!is_usable(queue)) {
        return NULL;
    }
    look_up_parts(queue);
    if (head >= queue->size || queue->in_flight >= queue->size) {
        fail(queue, "head descriptor is out of range");
        return NULL;
    }
    VirtqChain *chain = take_chain(queue, head);
    queue->in_flight += chain != NULL;
    return chain;
}

bool virtq_chain_is_stale(const VirtqChain *chain)
{
    return chain->epoch != chain->queue->epoch;
}

void virtq_unpop(VirtqChain *chain)
{
    if (!virtq_chain_is_stale(chain)) {
        chain->queue->last_avail--;
        chain->queue->in_flight--;
    }
    virtq_chain_free(chain);
}

void virtq_chain_free(VirtqChain *chain)
{
    if (chain) {
        list_remove(&chain->node);
        free(chain);
    }
}

/* Giving chains back */

/* Writes the used element that will be number @ahead from here. */
static bool write_used(VirtQueue *queue, uint16_t ahead, uint16_t head, uint32_t written)
{
    uint8_t element[USED_ELEMENT];
    uint16_t index = (uint16_t)(queue->used_index + ahead);
    le32_put(element, head);
    le32_put(element + 4, written);
    uint64_t slot = USED_RING + USED_ELEMENT * (uint64_t)(index % queue->size);
    return ring_write(queue, VIRTQ_USED, slot, element, sizeof(element));
}

void virtq_push_all(VirtqChain *const *chains, const uint32_t *written, unsigned count)
{
    VirtQueue *queue = chains[0]->queue;
    bool is_written = true;
    uint16_t filled = 0;
    look_up_parts(queue);
    for (unsigned i = 0; i < count; i++) {
        lodge_assert(chains[i]->queue == queue && written[i] <= chains[i]->in_bytes);
        if (!virtq_chain_is_stale(chains[i])) {
            queue->in_flight--;
            if (is_usable(queue) && is_written) {
                is_written = write_used(queue, filled++, chains[i]->head, written[i]);
            }
        }
        virtq_chain_free(chains[i]);
    }
    uint16_t used_index = (uint16_t)(queue->used_index + filled);
    if (filled && is_written && ring_store16(queue, VIRTQ_USED, USED_INDEX, used_index)) {
        queue->used_index = used_index;
    }
}

void virtq_push(VirtqChain *chain, uint32_t written)
{
    virtq_push_all(&chain, &written, 1);
}

bool virtq_should_interrupt(VirtQueue *queue)
{
    uint16_t value;
    if (!is_usable(queue)) {
        return false;
    }
    look_up_parts(queue);
    atomic_thread_fence(memory_order_seq_cst);
    uint16_t before = queue->signalled_used, now = queue->used_index;
    queue->signalled_used = now;
    if (before == now) {
        return false;
    }
    if (!queue->has_event_index) {
        return ring_load16(queue, VIRTQ_AVAIL, AVAIL_FLAGS, &value) &&
               !(value & VRING_AVAIL_F_NO_INTERRUPT);
    }
    uint64_t event = AVAIL_RING + 2 * (uint64_t)queue->size;
    return ring_load16(queue, VIRTQ_AVAIL, event, &value) && vring_need_event(value, now, before);
}

/* Data */

typedef int (*CopyFunc)(const GuestMemory *memory, GuestAddr addr, void *buf, size_t length);

static int copy_in(const GuestMemory *memory, GuestAddr addr, void *buf, size_t length)
{
    return guest_memory_read(memory, addr, buf, length);
}

static int copy_out(const GuestMemory *memory, GuestAddr addr, void *buf, size_t length)
{
    return guest_memory_write(memory, addr, buf, length);
}

static int copy(const VirtqSegment *segment, unsigned count, const GuestMemory *memory,
                uint64_t offset, uint8_t *buf, size_t length, CopyFunc func)
{
    for (unsigned i = 0; i < count && length; i++) {
        if (offset >= segment[i].length) {
            offset -= segment[i].length;
            continue;
        }
        size_t part = min_u64(length, segment[i].length - offset);
        if (func(memory, segment[i].addr + offset, buf, part) < 0) {
            return -EFAULT;
        }
        buf += part;
        length -= part;
        offset = 0;
    }
    return length ? -EFAULT : 0;
}

int virtq_chain_read(const VirtqChain *chain, uint64_t offset, void *buf, size_t length)
{
    return copy(chain->segment, chain->out_count, chain->queue->memory, offset, buf, length,
                copy_in);
}

int virtq_chain_write(const VirtqChain *chain, uint64_t offset, const void *buf, size_t length)
{
    return copy(chain->segment + chain->out_count, chain->in_count, chain->queue->memory, offset,
                (uint8_t *)buf, length, copy_out);
}

int virtq_chain_map(const VirtqChain *chain, bool writable, uint64_t offset, uint64_t length,
                    struct iovec *iov, unsigned max)
{
    const VirtqSegment *segment = chain->segment + (writable ? chain->out_count : 0);
    unsigned count = writable ? chain->in_count : chain->out_count;
    unsigned filled = 0;
    for (unsigned i = 0; i < count && length; i++) {
        if (offset >= segment[i].length) {
            offset -= segment[i].length;
            continue;
        }
        uint64_t left = min_u64(length, segment[i].length - offset);
        GuestAddr addr = segment[i].addr + offset;
        offset = 0;
        length -= left;
        while (left) {
            uint64_t part = left;
            void *host = guest_memory_map(chain->queue->memory, addr, &part, writable);
            if (!host) {
                return -EFAULT;
            }
            if (filled == max) {
                return -E2BIG;
            }
            iov[filled++] = (struct iovec){ .iov_base = host, .iov_len = part };
            addr += part;
            left -= part;
        }
    }
    return length ? -EFAULT : (int)filled;
}

void virtq_chain_written(const VirtqChain *chain, uint64_t offset, uint64_t length)
{
    const VirtqSegment *segment = chain->segment + chain->out_count;
    for (unsigned i = 0; i < chain->in_count && length; i++) {
        if (offset >= segment[i].length) {
            offset -= segment[i].length;
            continue;
        }
        uint64_t part = min_u64(length, segment[i].length - offset);
        guest_memory_written(chain->queue->memory, segment[i].addr + offset, part);
        length -= part;
        offset = 0;
    }
}
