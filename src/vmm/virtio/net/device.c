/* Network card of virtio 1.2: one queue pair and a control queue, merged receive buffers, filters,
 * checksum and segmentation offload where the back end can do it. Leaves out several queue pairs,
 * RSS and notification coalescing. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/net/virtio-net.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "vmm/virtio/net/net-private.h"

#include <string.h>

#define CONTROL_QUEUE_SIZE 64

static const struct {
    unsigned guest, host; /* features: frames to the guest, frames from it */
    unsigned offload;
} offload_features[] = {
    { VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CSUM, NET_OFFLOAD_CSUM },
    { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4, NET_OFFLOAD_TSO4 },
    { VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6, NET_OFFLOAD_TSO6 },
    { VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_HOST_ECN, NET_OFFLOAD_ECN },
    { VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO, NET_OFFLOAD_UFO },
};

/* -- the back end's calls; on the loop -- */

static ssize_t on_frame(void *opaque, const struct iovec *iov, unsigned count)
{
    VirtioNet *net = opaque;
    LOCK_GUARD(&net->virtio.device.lock);
    return virtio_net_receive(net, iov, count);
}

static void on_link(void *opaque, bool is_up)
{
    VirtioNet *net = opaque;
    LOCK_GUARD(&net->virtio.device.lock);
    virtio_config_changed(&net->virtio);
}

static void on_can_send(void *opaque)
{
    VirtioNet *net = opaque;
    virtio_kick(&net->virtio, NET_TX_QUEUE);
}

/* The back end calls receive() from inside, which takes the lock: hence not from the queue's
 * handler. */
static void accept_frames(void *opaque)
{
    net_accept_frames(((VirtioNet *)opaque)->backend);
}

/* -- the class -- */

static uint64_t net_get_features(VirtioDevice *dev)
{
    VirtioNet *net = (VirtioNet *)dev;
    uint64_t features =
        VIRTIO_FEATURE(VIRTIO_NET_F_MAC) | VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) |
        VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
        VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_RX) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_RX_EXTRA) |
        VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VLAN) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |
        VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE);
    if (net->mtu) {
        features |= VIRTIO_FEATURE(VIRTIO_NET_F_MTU);
    }
    unsigned offloads = net->wants_offloads ? net_offloads(net->backend) : 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(offload_features); i++) {
        if (offloads & offload_features[i].offload) {
            features |= VIRTIO_FEATURE(offload_features[i].guest) |
                        VIRTIO_FEATURE(offload_features[i].host);
        }
    }
    return features;
}

static void net_get_config(VirtioDevice *dev, uint8_t *config)
{
    VirtioNet *net = (VirtioNet *)dev;
    unsigned status = net->backend->link_is_up ? VIRTIO_NET_S_LINK_UP : 0;
    status |= net->needs_announce ? VIRTIO_NET_S_ANNOUNCE : 0;
    memcpy(config + offsetof(struct virtio_net_config, mac), net->mac, ETH_ALEN);
    le16_put(config + offsetof(struct virtio_net_config, status), (uint16_t)status);
    le16_put(config + offsetof(struct virtio_net_config, max_virtqueue_pairs), 1);
    le16_put(config + offsetof(struct virtio_net_config, mtu), (uint16_t)net->mtu);
}

/* Drivers of virtio 0.9 set the address here. */
static void net_set_config(VirtioDevice *dev, unsigned offset, const uint8_t *bytes, unsigned size)
{
    VirtioNet *net = (VirtioNet *)dev;
    if (virtio_has_feature(dev, VIRTIO_F_VERSION_1)) {
        return;
    }
    for (unsigned i = 0; i < size && offset + i < ETH_ALEN; i++) {
        net->mac[offset + i] = bytes[i];
    }
}

static void net_activate(VirtioDevice *dev)
{
    VirtioNet *net = (VirtioNet *)dev;
    bool has_count = virtio_has_feature(dev, VIRTIO_NET_F_MRG_RXBUF) ||
                     virtio_has_feature(dev, VIRTIO_F_VERSION_1);
    net->header_bytes =
        has_count ? sizeof(struct virtio_net_hdr_mrg_rxbuf) : sizeof(struct virtio_net_hdr);
    net->backend_has_header = net->wants_offloads && net_offloads(net->backend) &&
                              net_set_header_bytes(net->backend, net->header_bytes);
    unsigned accepted = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(offload_features); i++) {
        if (virtio_has_feature(dev, offload_features[i].guest)) {
            accepted |= offload_features[i].offload;
        }
    }
    net_set_offloads(net->backend, net->backend_has_header ? accepted : 0);
}

static void net_handle_queue(VirtioDevice *dev, unsigned index)
{
    VirtioNet *net = (VirtioNet *)dev;
    switch (index) {
    case NET_RX_QUEUE:
        if (loop_call(dev->device.host->loop, accept_frames, net) < 0) {
            virtio_fail(dev, "the host is out of memory");
        }
        break;
    case NET_TX_QUEUE:
        virtio_net_transmit(net);
        break;
    default:
        virtio_net_control(net);
    }
}

static void net_reset(VirtioDevice *dev)
{
    VirtioNet *net = (VirtioNet *)dev;
    memcpy(net->mac, net->default_mac, ETH_ALEN);
    net->needs_announce = net->was_loaded = false;
    net_filter_reset(&net->filter);
    net_set_offloads(net->backend, 0);
    net_set_header_bytes(net->backend, 0);
    net->backend_has_header = false;
}

static bool net_realize(VirtioDevice *dev, GError **error)
{
    VirtioNet *net = (VirtioNet *)dev;
    const DeviceHost *host = dev->device.host;
    if (!net->netdev) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'netdev' is missing");
        return false;
    }
    if (net->default_mac[0] & 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'mac' is a multicast address");
        return false;
    }
    if (!is_power_of_two(net->queue_size)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'rx_queue_size' is no power of two");
        return false;
    }
    net->backend = host->find_backend(host->opaque, VIRTIO_NET_BACKEND, net->netdev, error);
    NetFrontend front = {
        .receive = on_frame, .link_changed = on_link, .can_send = on_can_send, .opaque = net
    };
    if (!net->backend || !net_attach(net->backend, &front, error)) {
        return false;
    }
    host->claim_mac(host->opaque, net->default_mac);
    net->bounce = g_malloc(NET_FRAME_MAX);
    net_reset(dev);
    virtio_add_queue(dev, (uint16_t)net->queue_size);
    virtio_add_queue(dev, (uint16_t)net->queue_size);
    virtio_add_queue(dev, CONTROL_QUEUE_SIZE);
    return true;
}

static void net_unrealize(VirtioDevice *dev)
{
    VirtioNet *net = (VirtioNet *)dev;
    net_detach(net->backend);
    loop_cancel_calls(dev->device.host->loop, net);
    g_clear_pointer(&net->bounce, g_free);
}

static bool net_post_load(VirtioDevice *dev, GError **error)
{
    VirtioNet *net = (VirtioNet *)dev;
    if (net->filter.unicast_count > NET_MAC_TABLE_MAX ||
        net->filter.multicast_count > NET_MAC_TABLE_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "more addresses in the filter than it holds");
        return false;
    }
    net->was_loaded = true;
    return true;
}

/* After a load the switches between the guest and its peers are to learn where it is. */
static void net_resume(VirtioDevice *dev)
{
    VirtioNet *net = (VirtioNet *)dev;
    if (net->was_loaded && virtio_has_feature(dev, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
        net->needs_announce = true;
        virtio_config_changed(dev);
    }
    net->was_loaded = false;
}

static const VirtioDeviceClass net_class = {
    .device_id = VIRTIO_ID_NET,
    .pci_class = 0x020000,
    .config_size = offsetof(struct virtio_net_config, speed),
    .realize = net_realize,
    .unrealize = net_unrealize,
    .get_features = net_get_features,
    .get_config = net_get_config,
    .set_config = net_set_config,
    .activate = net_activate,
    .handle_queue = net_handle_queue,
    .reset = net_reset,
    .resume = net_resume,
    .post_load = net_post_load,
};

#define NET_PROPERTIES                                                                             \
    { .name = "netdev",                                                                            \
      .kind = PROPERTY_LINK,                                                                       \
      .offset = offsetof(VirtioNet, netdev),                                                       \
      .help = "id of the -netdev it is plugged into" },                                            \
        { .name = "mac",                                                                           \
          .kind = PROPERTY_MAC,                                                                    \
          .offset = offsetof(VirtioNet, default_mac),                                              \
          .help = "address of the card" },                                                         \
        { .name = "host_mtu",                                                                      \
          .kind = PROPERTY_UINT,                                                                   \
          .offset = offsetof(VirtioNet, mtu),                                                      \
          .max = 65535,                                                                            \
          .fallback = "0",                                                                         \
          .help = "MTU that the guest is told; 0: none" },                                         \
        { .name = "rx_queue_size",                                                                 \
          .kind = PROPERTY_UINT,                                                                   \
          .offset = offsetof(VirtioNet, queue_size),                                               \
          .min = 64,                                                                               \
          .max = 1024,                                                                             \
          .fallback = "256",                                                                       \
          .help = "entries of the receive and the send queue, a power of two" },                   \
    {                                                                                              \
        .name = "offloads", .kind = PROPERTY_BOOL, .offset = offsetof(VirtioNet, wants_offloads),  \
        .fallback = "on", .help = "checksum and segmentation offload where the netdev has it"      \
    }

static const Property pci_properties[] = { NET_PROPERTIES, VIRTIO_PCI_PROPERTIES, { 0 } };
static const Property mmio_properties[] = { NET_PROPERTIES, VIRTIO_MMIO_PROPERTIES, { 0 } };

const DeviceClass virtio_net_pci_class = {
    VIRTIO_PCI_CLASS,
    .name = "virtio-net-pci",
    .alias = "virtio-net",
    .summary = "network card",
    .instance_size = sizeof(VirtioNet),
    .properties = pci_properties,
    .state = &virtio_net_state,
    .family = &net_class,
};

const DeviceClass virtio_net_device_class = {
    VIRTIO_MMIO_CLASS,
    .name = "virtio-net-device",
    .summary = "network card",
    .instance_size = sizeof(VirtioNet),
    .properties = mmio_properties,
    .state = &virtio_net_state,
    .family = &net_class,
};
