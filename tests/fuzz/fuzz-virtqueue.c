/* Virtqueue whose rings, tables and descriptors are the input; the script after them says what the
 * device does. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/virtio/queue.h"

#include <string.h>

#define RAM_BYTES 0x4000
#define HELD_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Held {
    VirtqChain *chain[HELD_MAX];
    unsigned count;
} Held;

static void use(const VirtqChain *chain, uint8_t how)
{
    uint8_t buf[256];
    struct iovec iov[8];
    uint64_t in = 0, out = 0;
    for (unsigned i = 0; i < chain->out_count; i++) {
        out += chain->segment[i].length;
    }
    for (unsigned i = 0; i < chain->in_count; i++) {
        in += chain->segment[chain->out_count + i].length;
    }
    lodge_assert(out == chain->out_bytes && in == chain->in_bytes);
    lodge_assert(chain->out_count + chain->in_count <= VIRTQ_SEGMENTS_MAX);
    int rc = virtq_chain_read(chain, how, buf, sizeof(buf));
    lodge_assert(rc < 0 || chain->out_bytes >= how + sizeof(buf));
    rc = virtq_chain_write(chain, how, buf, how);
    lodge_assert(rc < 0 || chain->in_bytes >= 2u * how || !how);
    rc = virtq_chain_map(chain, how & 1, how, 300, iov, 8);
    size_t mapped = 0;
    for (int i = 0; i < rc; i++) {
        mapped += iov[i].iov_len;
    }
    lodge_assert(rc < 0 || mapped == 300);
    virtq_chain_written(chain, 0, how);
}

static void step(VirtQueue *queue, Held *held, RamBlock *ram, uint8_t op, uint8_t how)
{
    VirtqChain *chain;
    switch (op & 7) {
    case 0:
    case 1:
        chain = held->count < HELD_MAX ? virtq_pop(queue) : NULL;
        if (chain) {
            use(chain, how);
            held->chain[held->count++] = chain;
        }
        break;
    case 2:
        if (held->count) {
            chain = held->chain[--held->count];
            virtq_push(chain, (uint32_t)(chain->in_bytes < how ? 0 : how));
        }
        break;
    case 3:
        virtq_should_interrupt(queue);
        virtq_has_work(queue);
        break;
    case 4:
        ram->host[(how * 64 + op * 8) % RAM_BYTES] = how; /* the driver writes meanwhile */
        break;
    case 5:
        chain = held->count < HELD_MAX ? virtq_reload(queue, how) : NULL;
        if (chain) {
            held->chain[held->count++] = chain;
        }
        break;
    case 6:
        if (how < 8) {
            virtq_reset(queue);
        } else if (how < 16) {
            int rc = virtq_check_loaded(queue);
            (void)rc;
        }
        break;
    case 7:
        chain = held->count < HELD_MAX ? virtq_pop(queue) : NULL;
        if (chain) {
            virtq_unpop(chain);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) {
        return 0;
    }
    AddressMap *map = address_map_new(0);
    RamBlock *ram = ram_block_new("ram", RAM_BYTES);
    lodge_assert(map && ram);
    AddressEntry entry = { .base = 0, .size_bytes = RAM_BYTES, .ram = ram };
    int rc = address_map_add(map, &entry, 0);
    lodge_assert(rc == 0);
    GuestMemory memory = { .map = map };
    VirtQueue queue;
    virtq_init(&queue, &memory, 64);
    queue.size = (uint16_t)(1u << (data[0] & 7));
    queue.has_indirect = data[0] & 0x10;
    queue.has_event_index = data[0] & 0x20;
    queue.address[VIRTQ_DESC] = data[1] * UINT64_C(64);
    queue.address[VIRTQ_AVAIL] = data[2] * UINT64_C(64);
    queue.address[VIRTQ_USED] = data[3] * UINT64_C(64);
    size_t script = 8 + data[4] % 64u * 2;
    script = script < size ? script : size;
    memcpy(ram->host, data + script, size - script < RAM_BYTES ? size - script : RAM_BYTES);
    Held held = { .count = 0 };
    rc = virtq_start(&queue);
    for (size_t at = 8; at + 1 < script; at += 2) {
        step(&queue, &held, ram, data[at], data[at + 1]);
    }
    while (held.count) {
        virtq_push(held.chain[--held.count], 0);
    }
    address_map_free(map);
    ram_block_free(ram);
    return 0;
}
