/* Network card: frames to the guest. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "vmm/virtio/net/net-private.h"

#include <string.h>

/* One frame may fill this many buffers of the driver. */
#define MERGED_MAX 64

/* The frame as one run of bytes behind a header of header_bytes. */
typedef struct RxFrame {
    uint8_t header[sizeof(struct virtio_net_hdr_mrg_rxbuf)];
    unsigned header_bytes;
    const struct iovec *iov;
    unsigned count;
    size_t skip;   /* bytes of the iov before the Ethernet frame: the back end's header */
    size_t length; /* of the Ethernet frame */
} RxFrame;

static size_t iov_total(const struct iovec *iov, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

static size_t iov_read(const struct iovec *iov, unsigned count, size_t offset, void *buf,
                       size_t length)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < length; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = (size_t)min_u64(iov[i].iov_len - offset, length - done);
        memcpy((uint8_t *)buf + done, (const uint8_t *)iov[i].iov_base + offset, n);
        done += n;
        offset = 0;
    }
    return done;
}

/* Writes the part of the frame that begins at @offset of it into @chain behind @at bytes. Returns 0
 * or -EFAULT. */
static int write_part(const RxFrame *frame, VirtqChain *chain, uint64_t at, size_t offset,
                      size_t length)
{
    size_t position = frame->skip + offset;
    for (unsigned i = 0; i < frame->count && length; i++) {
        const struct iovec *iov = &frame->iov[i];
        if (position >= iov->iov_len) {
            position -= iov->iov_len;
            continue;
        }
        size_t n = (size_t)min_u64(iov->iov_len - position, length);
        int rc = virtq_chain_write(chain, at, (const uint8_t *)iov->iov_base + position, n);
        if (rc < 0) {
            return rc;
        }
        at += n;
        length -= n;
        position = 0;
    }
    return 0;
}

/* Takes buffers until the frame fits. Returns their number; 0: there are too few, and none is
 * taken. *out_hopeless: no number of buffers will do. */
static unsigned take_buffers(VirtioNet *net, const RxFrame *frame, VirtqChain **chains,
                             bool *out_hopeless)
{
    unsigned most = virtio_has_feature(&net->virtio, VIRTIO_NET_F_MRG_RXBUF) ? MERGED_MAX : 1;
    uint64_t room = 0;
    unsigned count = 0;
    size_t needed = frame->header_bytes + frame->length;
    *out_hopeless = false;
    while (room < needed && count < most) {
        VirtqChain *chain = virtio_pop(&net->virtio, NET_RX_QUEUE);
        if (!chain) {
            break;
        }
        chains[count++] = chain;
        room += chain->in_bytes;
    }
    if (room >= needed && chains[0]->in_bytes >= frame->header_bytes) {
        return count;
    }
    *out_hopeless = count == most || (count && chains[0]->in_bytes < frame->header_bytes);
    while (count) {
        virtq_unpop(chains[--count]);
    }
    return 0;
}

static void fill_buffers(VirtioNet *net, RxFrame *frame, VirtqChain **chains, unsigned count)
{
    if (frame->header_bytes == sizeof(frame->header)) {
        le16_put(frame->header + offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers),
                 (uint16_t)count);
    }
    uint32_t written[MERGED_MAX];
    size_t offset = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = i ? 0 : frame->header_bytes;
        size_t n = (size_t)min_u64(chains[i]->in_bytes - at, frame->length - offset);
        int rc = i ? 0 : virtq_chain_write(chains[0], 0, frame->header, frame->header_bytes);
        if (rc == 0) {
            rc = write_part(frame, chains[i], at, offset, n);
        }
        if (rc < 0) {
            virtio_fail(&net->virtio, "receive buffer is not in memory");
        }
        offset += n;
        written[i] = (uint32_t)(rc < 0 ? 0 : at + n);
    }
    /* A driver that sees the first buffer looks for the others at once. */
    virtio_push_all(&net->virtio, chains, written, count);
    virtio_flush(&net->virtio, NET_RX_QUEUE);
}

ssize_t virtio_net_receive(VirtioNet *net, const struct iovec *iov, unsigned count)
{
    RxFrame frame = { .iov = iov, .count = count, .header_bytes = net->header_bytes };
    VirtqChain *chains[MERGED_MAX];
    uint8_t start[ETH_HLEN + 4] = { 0 };
    size_t total = iov_total(iov, count);
    bool is_hopeless;
    if (net->virtio.is_quiesced) {
        return 0; /* the back end keeps it until the guest goes on */
    }
    if (!virtio_is_running(&net->virtio)) {
        return (ssize_t)total;
    }
    if (net->backend_has_header) {
        frame.skip = net->header_bytes;
        iov_read(iov, count, 0, frame.header, net->header_bytes);
    }
    if (total < frame.skip + ETH_HLEN) {
        return (ssize_t)total;
    }
    frame.length = total - frame.skip;
    size_t known = iov_read(iov, count, frame.skip, start, sizeof(start));
    if (!net_filter_passes(net, start, known)) {
        return (ssize_t)total;
    }
    unsigned taken = take_buffers(net, &frame, chains, &is_hopeless);
    if (!taken) {
        return is_hopeless ? (ssize_t)total : 0;
    }
    fill_buffers(net, &frame, chains, taken);
    return (ssize_t)total;
}
