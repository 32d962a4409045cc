/* What the files of the block device share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_BLK_BLK_PRIVATE_H
#define LODGE_VMM_VIRTIO_BLK_BLK_PRIVATE_H

#include "block/backend.h"
#include "vmm/virtio/blk/blk.h"
#include "vmm/virtio/device.h"

/* Sectors of one DISCARD or WRITE_ZEROES: 2 GiB. */
#define BLK_RANGE_SECTORS_MAX 0x400000
#define BLK_FAILED_ENTRY 4 /* bytes: queue, head */

typedef struct VirtioBlk {
    VirtioDevice virtio;
    /* Properties */
    char *drive, *serial, *iothread;
    uint64_t queue_count, queue_size, logical_block_size, physical_block_size;
    uint32_t cache_choice;   /* property write-cache: auto, on, off */
    uint32_t werror, rerror; /* properties: auto, report, ignore, stop, enospc */
    bool offers_discard, offers_write_zeroes, offers_config_wce;
    bool shares_writes; /* property share-rw; the machine reads it when it gives the back end */
    uint64_t boot_index;

    BlockBackend *backend; /* borrowed */
    bool is_writeback;     /* the driver flushes; else each write reaches the disk */
    List in_flight;        /* BlkRequest, at the back end */
    List failed;           /* BlkRequest, to be tried again when the guest goes on */
    /* Queue and head of each failed request, 16 bits each, little endian: what is saved. Owned. */
    uint8_t *failed_chains;
    uint32_t failed_length;
} VirtioBlk;

/* One request of the driver. */
typedef struct BlkRequest {
    List node;      /* in_flight or failed */
    VirtioBlk *blk; /* NULL: the device was reset, nobody waits */
    VirtqChain *chain;
    uint16_t queue;
    uint32_t type;   /* VIRTIO_BLK_T_* */
    uint64_t sector; /* READ, WRITE, ranges */
    uint64_t data_bytes;
    uint32_t range_flags;
    BlockRequest io;
    struct iovec iov[];
} BlkRequest;

/* Executes what waits on queue @index. */
void blk_handle_queue(VirtioDevice *dev, unsigned index);
/* Tries failed requests again. */
void blk_retry_failed(VirtioBlk *blk);
/* Forgets all requests; returns when none touches guest memory any more. */
void blk_forget_requests(VirtioBlk *blk);
/* Takes the failed requests of a loaded state from their queues. */
bool blk_reload_failed(VirtioBlk *blk, GError **error);

extern const StateTable blk_state;

#endif
