/* Network card: frames from the guest. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/net/net-private.h"

#include <errno.h>

#define TX_IOV_MAX 64

/* The frame of @chain as buffers; its header first if the back end wants it. Returns their number,
 * 0: no frame, or -EFAULT. */
static int map_frame(VirtioNet *net, VirtqChain *chain, struct iovec *iov)
{
    uint64_t skip = net->backend_has_header ? 0 : net->header_bytes;
    if (chain->out_bytes <= net->header_bytes ||
        chain->out_bytes > (uint64_t)NET_FRAME_MAX + skip) {
        return 0;
    }
    size_t length = (size_t)(chain->out_bytes - skip);
    int count = virtq_chain_map(chain, false, skip, length, iov, TX_IOV_MAX);
    if (count != -E2BIG) {
        return count;
    }
    if (virtq_chain_read(chain, skip, net->bounce, length) < 0) {
        return -EFAULT;
    }
    *iov = (struct iovec){ .iov_base = net->bounce, .iov_len = length };
    return 1;
}

void virtio_net_transmit(VirtioNet *net)
{
    VirtqChain *chain;
    while ((chain = virtio_pop(&net->virtio, NET_TX_QUEUE))) {
        struct iovec iov[TX_IOV_MAX];
        int count = map_frame(net, chain, iov);
        if (count < 0) {
            virtq_chain_free(chain);
            virtio_fail(&net->virtio, "frame to send is not in memory");
            return;
        }
        if (count > 0 && net_send(net->backend, iov, (unsigned)count) == 0) {
            virtq_unpop(chain);
            break; /* can_send() comes back to it */
        }
        virtio_push(&net->virtio, chain, 0);
    }
    virtio_flush(&net->virtio, NET_TX_QUEUE);
}
