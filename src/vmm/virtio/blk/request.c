/* Block device: parsing and execution of requests.
 *
 * Data moves between the image and guest memory directly. A failed request whose error asks for a
 * pause keeps its chain until the guest goes on.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/virtio/blk/blk-private.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 16 /* struct virtio_blk_outhdr */
#define RANGE_BYTES 16  /* struct virtio_blk_discard_write_zeroes */
#define STATUS_BYTES 1
/* A segment that crosses into other RAM takes one more element. */
#define IOV_SPARE 16

static void request_free(BlkRequest *request)
{
    list_remove(&request->node);
    virtq_chain_free(request->chain);
    free(request);
}

/* Gives the request back with @status; @data_bytes were written before the status byte. */
static void complete(BlkRequest *request, uint8_t status, uint64_t data_bytes)
{
    VirtioDevice *dev = &request->blk->virtio;
    VirtqChain *chain = request->chain;
    unsigned queue = request->queue;
    uint64_t written = min_u64(data_bytes, UINT32_MAX - STATUS_BYTES) + STATUS_BYTES;
    if (virtq_chain_write(chain, chain->in_bytes - STATUS_BYTES, &status, STATUS_BYTES) < 0) {
        virtio_fail(dev, "status byte of a disk request is not in memory");
        written = 0;
    }
    virtio_push(dev, chain, (uint32_t)written);
    request->chain = NULL;
    request_free(request);
    virtio_flush(dev, queue);
}

static bool is_write(const BlkRequest *request)
{
    return request->type != VIRTIO_BLK_T_IN;
}

/* What the driver sees of @result, or false: the request waits for the guest to go on. */
static bool handle_error(BlkRequest *request, int *result)
{
    VirtioBlk *blk = request->blk;
    BlockErrorAction action = block_backend_error_action(blk->backend, is_write(request), -*result);
    block_backend_tell_error(blk->backend, is_write(request), action, -*result);
    if (action == BLOCK_ERROR_IGNORE) {
        *result = 0;
    }
    return action != BLOCK_ERROR_STOP;
}

/* Keeps failed_chains equal to the list of failed requests. */
static void note_failed(VirtioBlk *blk)
{
    uint32_t count = 0;
    list_for_each(&blk->failed, request, BlkRequest, node) {
        (void)request;
        count++;
    }
    uint8_t *bytes = g_try_malloc(MAX(count, 1) * BLK_FAILED_ENTRY);
    if (!bytes) {
        log_error("%s: no memory to note failed requests", device_label(&blk->virtio.device));
        return;
    }
    uint8_t *at = bytes;
    list_for_each(&blk->failed, request, BlkRequest, node) {
        le16_put(at, request->queue);
        le16_put(at + 2, request->chain->head);
        at += BLK_FAILED_ENTRY;
    }
    g_free(blk->failed_chains);
    blk->failed_chains = bytes;
    blk->failed_length = count * BLK_FAILED_ENTRY;
}

static void on_io_done(BlockRequest *io, int result)
{
    BlkRequest *request = container_of(io, BlkRequest, io);
    VirtioBlk *blk = request->blk;
    if (!blk) {
        request_free(request);
        return;
    }
    LOCK_GUARD(&blk->virtio.device.lock);
    list_remove(&request->node);
    bool has_read = request->type == VIRTIO_BLK_T_IN;
    if (has_read) {
        virtq_chain_written(request->chain, 0, request->data_bytes);
    }
    if (result < 0 && !handle_error(request, &result)) {
        list_append(&blk->failed, &request->node);
        note_failed(blk);
        return;
    }
    complete(request, result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
             has_read && result == 0 ? request->data_bytes : 0);
}

static void submit(BlkRequest *request)
{
    list_append(&request->blk->in_flight, &request->node);
    request->io.done = on_io_done;
    block_submit(request->blk->backend, &request->io);
}

/* Ranges are in units of 512 bytes and must lie on logical blocks. */
static bool is_range_valid(const VirtioBlk *blk, uint64_t sector, uint64_t bytes)
{
    uint64_t offset;
    return checked_mul(sector, (uint64_t)BLOCK_SECTOR, &offset) &&
           offset % blk->logical_block_size == 0 && bytes % blk->logical_block_size == 0 &&
           range_fits(offset, bytes, block_backend_size(blk->backend));
}

static void start_transfer(BlkRequest *request)
{
    VirtioBlk *blk = request->blk;
    VirtqChain *chain = request->chain;
    bool is_read = request->type == VIRTIO_BLK_T_IN;
    request->data_bytes =
        is_read ? chain->in_bytes - STATUS_BYTES : chain->out_bytes - HEADER_BYTES;
    if (!is_range_valid(blk, request->sector, request->data_bytes) ||
        (!is_read && block_backend_is_readonly(blk->backend))) {
        complete(request, VIRTIO_BLK_S_IOERR, 0);
        return;
    }
    unsigned max = chain->out_count + chain->in_count + IOV_SPARE;
    int count = virtq_chain_map(chain, is_read, is_read ? 0 : HEADER_BYTES, request->data_bytes,
                                request->iov, max);
    if (count < 0) {
        complete(request, VIRTIO_BLK_S_IOERR, 0);
        return;
    }
    request->io = (BlockRequest){ .op = is_read ? BLOCK_OP_READ : BLOCK_OP_WRITE,
                                  .must_reach_disk = !blk->is_writeback,
                                  .offset = request->sector * BLOCK_SECTOR,
                                  .length = request->data_bytes,
                                  .iov = request->iov,
                                  .iov_count = (unsigned)count };
    submit(request);
}

static void start_flush(BlkRequest *request)
{
    request->io = (BlockRequest){ .op = BLOCK_OP_FLUSH };
    submit(request);
}

static bool parse_range(BlkRequest *request)
{
    uint8_t range[RANGE_BYTES];
    if (request->chain->out_bytes != HEADER_BYTES + RANGE_BYTES ||
        virtq_chain_read(request->chain, HEADER_BYTES, range, sizeof(range)) < 0) {
        return false;
    }
    request->sector = le64_get(range);
    uint32_t sectors = le32_get(range + 8);
    request->data_bytes = (uint64_t)sectors * BLOCK_SECTOR;
    request->range_flags = le32_get(range + 12);
    return sectors <= BLK_RANGE_SECTORS_MAX &&
           is_range_valid(request->blk, request->sector, request->data_bytes);
}

static void start_range(BlkRequest *request)
{
    VirtioBlk *blk = request->blk;
    bool is_discard = request->type == VIRTIO_BLK_T_DISCARD;
    unsigned feature = is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
    if (!virtio_has_feature(&blk->virtio, feature)) {
        complete(request, VIRTIO_BLK_S_UNSUPP, 0);
        return;
    }
    if (!parse_range(request)) {
        complete(request, VIRTIO_BLK_S_IOERR, 0);
        return;
    }
    uint32_t allowed = is_discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    if (request->range_flags & ~allowed) {
        complete(request, VIRTIO_BLK_S_UNSUPP, 0);
        return;
    }
    request->io = (BlockRequest){ .op = is_discard ? BLOCK_OP_DISCARD : BLOCK_OP_WRITE_ZEROES,
                                  .must_reach_disk = !blk->is_writeback,
                                  .may_unmap = request->range_flags != 0,
                                  .offset = request->sector * BLOCK_SECTOR,
                                  .length = request->data_bytes };
    submit(request);
}

static void answer_id(BlkRequest *request)
{
    char id[VIRTIO_BLK_ID_BYTES] = { 0 };
    const char *serial = request->blk->serial;
    if (serial) {
        memcpy(id, serial, min_u64(strlen(serial), sizeof(id)));
    }
    uint64_t bytes = min_u64(request->chain->in_bytes - STATUS_BYTES, sizeof(id));
    bool ok = virtq_chain_write(request->chain, 0, id, bytes) == 0;
    complete(request, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR, ok ? bytes : 0);
}

static void start(BlkRequest *request)
{
    switch (request->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        start_transfer(request);
        break;
    case VIRTIO_BLK_T_FLUSH:
        start_flush(request);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        start_range(request);
        break;
    case VIRTIO_BLK_T_GET_ID:
        answer_id(request);
        break;
    default:
        complete(request, VIRTIO_BLK_S_UNSUPP, 0);
        break;
    }
}

/* NULL after failing the device: without header or status byte there is no way to answer. */
static BlkRequest *request_new(VirtioBlk *blk, unsigned queue, VirtqChain *chain)
{
    uint8_t header[HEADER_BYTES];
    const char *problem = NULL;
    if (chain->out_bytes < HEADER_BYTES || chain->in_bytes < STATUS_BYTES) {
        problem = "disk request without header or status byte";
    } else if (virtq_chain_read(chain, 0, header, sizeof(header)) < 0) {
        problem = "header of a disk request is not in memory";
    }
    unsigned iov_count = chain->out_count + chain->in_count + IOV_SPARE;
    BlkRequest *request =
        problem ? NULL : malloc(sizeof(*request) + iov_count * sizeof(request->iov[0]));
    if (!request) {
        virtio_fail(&blk->virtio, problem ? problem : "no memory for a disk request");
        virtq_chain_free(chain);
        return NULL;
    }
    memset(request, 0, sizeof(*request));
    list_init(&request->node);
    request->blk = blk;
    request->chain = chain;
    request->queue = (uint16_t)queue;
    request->type = le32_get(header);
    request->sector = le64_get(header + 8);
    return request;
}

void blk_handle_queue(VirtioDevice *dev, unsigned index)
{
    VirtqChain *chain;
    while ((chain = virtio_pop(dev, index))) {
        BlkRequest *request = request_new((VirtioBlk *)dev, index, chain);
        if (request) {
            start(request);
        }
    }
}

void blk_retry_failed(VirtioBlk *blk)
{
    if (list_is_empty(&blk->failed)) {
        return;
    }
    List again;
    list_init(&again);
    list_for_each(&blk->failed, request, BlkRequest, node) {
        list_remove(&request->node);
        list_append(&again, &request->node);
    }
    note_failed(blk);
    list_for_each(&again, request, BlkRequest, node) {
        list_remove(&request->node);
        start(request);
    }
}

void blk_forget_requests(VirtioBlk *blk)
{
    block_backend_wait_idle(blk->backend);
    list_for_each(&blk->in_flight, request, BlkRequest, node) {
        list_remove(&request->node);
        request->blk = NULL;
    }
    list_for_each(&blk->failed, request, BlkRequest, node) {
        request_free(request);
    }
}

static BlkRequest *reload(VirtioBlk *blk, const uint8_t *entry)
{
    unsigned queue = le16_get(entry);
    if (queue >= blk->virtio.queue_count) {
        return NULL;
    }
    VirtqChain *chain = virtq_reload(&blk->virtio.queue[queue].ring, le16_get(entry + 2));
    return chain ? request_new(blk, queue, chain) : NULL;
}

bool blk_reload_failed(VirtioBlk *blk, GError **error)
{
    g_autofree uint8_t *bytes = g_steal_pointer(&blk->failed_chains);
    uint32_t length = blk->failed_length;
    blk->failed_length = 0;
    bool ok = length % BLK_FAILED_ENTRY == 0;
    for (uint32_t at = 0; ok && at < length; at += BLK_FAILED_ENTRY) {
        BlkRequest *request = reload(blk, bytes + at);
        ok = request != NULL;
        if (request) {
            list_append(&blk->failed, &request->node);
        }
    }
    if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "state has a failed request that is not in its queue");
        return false;
    }
    note_failed(blk);
    return true;
}
