/* Network card: what its files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_NET_NET_PRIVATE_H
#define LODGE_VMM_VIRTIO_NET_NET_PRIVATE_H

#include "vmm/net/net.h"
#include "vmm/virtio/device.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#define NET_RX_QUEUE 0
#define NET_TX_QUEUE 1
#define NET_CONTROL_QUEUE 2
#define NET_MAC_TABLE_MAX 64
#define NET_VLANS 4096

/* What the driver lets in, beside its own address; set through the control queue. */
typedef struct NetFilter {
    bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
    uint32_t unicast_count, multicast_count;   /* entries used of the tables */
    bool unicast_overflow, multicast_overflow; /* more were given than the table holds: all pass */
    uint8_t unicast[NET_MAC_TABLE_MAX][ETH_ALEN];
    uint8_t multicast[NET_MAC_TABLE_MAX][ETH_ALEN];
    uint8_t vlans[NET_VLANS / 8]; /* a bit for each id */
} NetFilter;

typedef struct VirtioNet {
    VirtioDevice virtio;
    char *netdev;                  /* property */
    uint8_t default_mac[ETH_ALEN]; /* property */
    uint64_t mtu;                  /* property; 0: not offered */
    uint64_t queue_size;           /* property */
    bool wants_offloads;           /* property */
    NetBackend *backend;
    uint8_t mac[ETH_ALEN];
    bool needs_announce; /* the driver is to make itself known on the network */
    bool was_loaded;     /* from a stream, and has not run since */
    NetFilter filter;
    unsigned header_bytes;   /* of the driver's virtio_net_hdr: 10 or 12 */
    bool backend_has_header; /* the back end moves headers too */
    uint8_t *bounce;         /* NET_FRAME_MAX bytes, for frames in too many pieces */
} VirtioNet;

extern const StateTable virtio_net_state;

/* rx.c; lock held. A frame for the guest, as NetFrontend.receive. */
ssize_t virtio_net_receive(VirtioNet *net, const struct iovec *iov, unsigned count);
/* tx.c; lock held. Sends what is in the queue, until the back end takes no more. */
void virtio_net_transmit(VirtioNet *net);
/* control.c; lock held. */
void virtio_net_control(VirtioNet *net);
/* filter.c */
bool net_filter_passes(const VirtioNet *net, const uint8_t *frame, size_t length);
void net_filter_reset(NetFilter *filter);

#endif
