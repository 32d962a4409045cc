/* Virtio network card under a hostile driver, with a back end that does offloads, is full at times
 * and hands over frames of any length. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "fuzz/fuzz-virtio.h"
#include "vmm/net/net.h"
#include "vmm/virtio/net/virtio-net.h"

#include <linux/virtio_net.h>

typedef struct FuzzNet {
    NetBackend base;
    uint8_t frame[NET_FRAME_MAX];
    size_t waiting; /* bytes of the frame that the card refused */
    unsigned header_bytes;
    bool is_full;
    uint32_t sum; /* of what was sent: every byte is touched */
} FuzzNet;

static bool net_class_open(NetBackend *backend, GError **error)
{
    return true;
}

static void net_class_close(NetBackend *backend)
{
}

static ssize_t net_class_send(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    FuzzNet *net = (FuzzNet *)backend;
    ssize_t total = 0;
    if (net->is_full) {
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *bytes = iov[i].iov_base;
        for (size_t k = 0; k < iov[i].iov_len; k++) {
            net->sum += bytes[k];
        }
        total += (ssize_t)iov[i].iov_len;
    }
    lodge_assert(total <= NET_FRAME_MAX);
    return total;
}

static void offer(FuzzNet *net, size_t length)
{
    /* In two pieces, the first shorter than any header. */
    struct iovec iov[2] = { { net->frame, MIN(length, 5) },
                            { net->frame + 5, length > 5 ? length - 5 : 0 } };
    net->waiting = net_receive(&net->base, iov, 2) ? 0 : length;
}

static void net_class_accept(NetBackend *backend)
{
    FuzzNet *net = (FuzzNet *)backend;
    if (net->waiting) {
        offer(net, net->waiting);
    }
}

static void net_class_set_offloads(NetBackend *backend, unsigned offloads)
{
}

static bool net_class_set_header(NetBackend *backend, unsigned bytes)
{
    ((FuzzNet *)backend)->header_bytes = bytes;
    return true;
}

static const NetClass fuzz_net_class = {
    .name = "fuzz",
    .instance_size = sizeof(FuzzNet),
    .open = net_class_open,
    .close = net_class_close,
    .send = net_class_send,
    .accept_frames = net_class_accept,
    .offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6,
    .set_offloads = net_class_set_offloads,
    .set_header_bytes = net_class_set_header,
};

static void *prepare(FakeHost *fake)
{
    NetBackend *backend = net_new(&fuzz_net_class, "n0");
    bool ok = net_open(backend, fake->host.loop, NULL);
    lodge_assert(ok);
    fake_host_add_backend(fake, VIRTIO_NET_BACKEND, "n0", backend);
    return backend;
}

static void finish(void *backend)
{
    net_free(backend);
}

static void poke(VirtioDevice *dev, void *backend, uint8_t what, uint32_t value)
{
    FuzzNet *net = backend;
    switch (what & 3) {
    case 0:
        net->is_full = !net->is_full;
        if (!net->is_full) {
            net_can_send(&net->base);
        }
        break;
    case 1:
        net_set_link(&net->base, value & 1);
        break;
    default:
        /* Destination and the first bytes after the addresses, behind the back end's header. */
        for (unsigned i = 0; i < 16; i++) {
            net->frame[net->header_bytes + i] = (uint8_t)(value >> i);
        }
        offer(net, value % (what & 4 ? 256 : sizeof(net->frame)));
        break;
    }
}

static void make_request(uint8_t *bytes, size_t size, uint8_t what, uint32_t value)
{
    bytes[0] = what % 6; /* class and command, if it is the control queue's */
    bytes[1] = (uint8_t)(value % 6);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)(what & 0x40 ? value >> 16 : 0);
    bytes[4] = (uint8_t)(what & 0x80 ? value >> 24 : 0);
    bytes[5] = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "netdev", "n0", NULL };
    static const FuzzVirtio fuzz = { .class = &virtio_net_pci_class,
                                     .properties = properties,
                                     .prepare = prepare,
                                     .finish = finish,
                                     .poke = poke,
                                     .make_request = make_request };
    return fuzz_virtio_run(&fuzz, data, size);
}
