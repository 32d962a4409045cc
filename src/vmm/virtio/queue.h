/* Split virtqueues, device side: virtio 1.2, with indirect descriptors and event indexes. Packed
 * rings are left out.
 *
 * Every byte of a ring is read once, into private copies; what a chain says is checked before
 * anybody sees it. A ring that breaks the rules becomes broken: it gives and takes no more chains
 * until it is set up again, and @broken says why. Work for one chain is bounded by
 * VIRTQ_SEGMENTS_MAX, memory by the queue's size.
 *
 * A queue has one user at a time; its device's lock sees to that.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_QUEUE_H
#define LODGE_VMM_VIRTIO_QUEUE_H

#include "base/list.h"
#include "vmm/memory/guest-memory.h"

#include <sys/uio.h>

#define VIRTQ_SIZE_MAX 1024
/* Descriptors of one chain, those of an indirect table included. */
#define VIRTQ_SEGMENTS_MAX 1024

typedef struct VirtQueue VirtQueue;

/* A piece of guest memory as a descriptor names it; not checked to be RAM. */
typedef struct VirtqSegment {
    GuestAddr addr;
    uint32_t length; /* > 0 */
} VirtqSegment;

/* One request of the driver: private copy of a descriptor chain. Free it by virtq_push() or
 * virtq_chain_free(). */
typedef struct VirtqChain {
    VirtQueue *queue;
    uint32_t epoch;               /* of the queue when the chain was taken */
    uint16_t head;                /* its first descriptor: the driver's name for it */
    uint16_t out_count, in_count; /* segments that the device reads, then those that it writes */
    uint64_t out_bytes, in_bytes;
    List node; /* for the device's own lists; unlinked at first */
    VirtqSegment segment[];
} VirtqChain;

typedef enum VirtqPart { VIRTQ_DESC, VIRTQ_AVAIL, VIRTQ_USED } VirtqPart;

struct VirtQueue {
    const GuestMemory *memory; /* borrowed */
    uint16_t size;             /* entries; power of two, 1 to max_size */
    uint16_t max_size;
    bool is_ready;           /* set up by the driver */
    bool has_event_index;    /* negotiated */
    bool has_indirect;       /* negotiated */
    GuestAddr address[3];    /* by VirtqPart */
    uint16_t last_avail;     /* next entry of the available ring to take */
    uint16_t used_index;     /* next entry of the used ring to fill */
    uint16_t signalled_used; /* used_index at the last interrupt decision */
    uint16_t in_flight;      /* chains taken and not pushed */
    uint32_t epoch;          /* grows with each reset */
    const char *broken;      /* why the ring is refused, static; NULL: it is not */
    struct {
        uint8_t *host; /* direct pointer to the part, or NULL: copy piecewise */
        RamBlock *ram;
        uint64_t ram_offset;
    } part[3];
    uint64_t map_generation; /* of the address map when @part was looked up */
    bool has_parts;
};

/* @max_size: power of two, at most VIRTQ_SIZE_MAX. */
void virtq_init(VirtQueue *queue, const GuestMemory *memory, uint16_t max_size);

/* Back to the state after power-on: not ready, size max_size. Chains still out become stale. */
void virtq_reset(VirtQueue *queue);

/* Makes the rings at @queue->address usable, from index 0. Returns: 0, or -EINVAL for bad size or
 * alignment, which also breaks the queue. */
int virtq_start(VirtQueue *queue) LODGE_MUST_CHECK;

/* Checks the fields of a queue loaded from a stream; no chain is in flight then until
 * virtq_reload(). Returns: 0 or -EINVAL. */
int virtq_check_loaded(VirtQueue *queue) LODGE_MUST_CHECK;

/**
 * virtq_pop - take the next request
 *
 * Returns: the chain, or NULL: none there (the driver has then been asked to notify), the queue is
 * not ready or broken, or memory is short (the queue is then broken, too).
 */
VirtqChain *virtq_pop(VirtQueue *queue);

/* The chain that begins at descriptor @head once more, for requests that were in flight when the
 * state was saved. NULL: there is none, and the queue is broken. */
VirtqChain *virtq_reload(VirtQueue *queue, uint16_t head);

/* Puts back the chain that virtq_pop() returned last, as if it had not been taken; frees it. */
void virtq_unpop(VirtqChain *chain);

/* Whether virtq_pop() would find something; breaks the queue on a nonsense index. Does not ask for
 * notification. */
bool virtq_has_work(VirtQueue *queue);

/**
 * virtq_push - give a request back, and free it
 * @written: bytes written to its segments, at most in_bytes
 *
 * A stale chain (the queue was reset since) is only freed. The driver sees it at once;
 * virtq_should_interrupt() says whether to tell it.
 */
void virtq_push(VirtqChain *chain, uint32_t written);
/* The same for @count > 0 requests of one queue: the driver sees all of them at once. */
void virtq_push_all(VirtqChain *const *chains, const uint32_t *written, unsigned count);
/* Frees @chain (may be NULL) without giving it back. */
void virtq_chain_free(VirtqChain *chain);

/* Whether what was pushed since the last call needs an interrupt. */
bool virtq_should_interrupt(VirtQueue *queue);

/* Whether @chain was taken before its queue was reset: it may not touch guest memory any more. */
bool virtq_chain_is_stale(const VirtqChain *chain);

/**
 * virtq_chain_read, virtq_chain_write - copy between a buffer and the request
 * @offset: bytes from the start of the readable (read) or writable (write) part
 *
 * Returns: 0, or -EFAULT: not that many bytes, or not RAM; some may have been copied.
 */
int virtq_chain_read(const VirtqChain *chain, uint64_t offset, void *buf,
                     size_t length) LODGE_MUST_CHECK;
int virtq_chain_write(const VirtqChain *chain, uint64_t offset, const void *buf,
                      size_t length) LODGE_MUST_CHECK;

/**
 * virtq_chain_map - host addresses of a part of the request, for zero-copy I/O
 * @writable: of the writable part, else of the readable part
 * @iov:      @max elements, filled
 *
 * The guest may change the bytes at any time. Valid while the chain is not stale and RAM stays.
 * After writing, call virtq_chain_written(). Returns: number of elements, -EFAULT (not that many
 * bytes, not RAM), or -E2BIG (@max is too small).
 */
int virtq_chain_map(const VirtqChain *chain, bool writable, uint64_t offset, uint64_t length,
                    struct iovec *iov, unsigned max) LODGE_MUST_CHECK;
void virtq_chain_written(const VirtqChain *chain, uint64_t offset, uint64_t length);

#endif
