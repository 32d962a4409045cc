/* Network card: which frames the driver wants. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "vmm/virtio/net/net-private.h"

#include <string.h>

void net_filter_reset(NetFilter *filter)
{
    *filter = (NetFilter){ .promiscuous = true };
}

static bool is_listed(const uint8_t table[][ETH_ALEN], uint32_t count, const uint8_t *mac)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!memcmp(table[i], mac, ETH_ALEN)) {
            return true;
        }
    }
    return false;
}

static bool passes_vlan(const VirtioNet *net, const uint8_t *frame, size_t length)
{
    if (!virtio_has_feature(&net->virtio, VIRTIO_NET_F_CTRL_VLAN) || length < ETH_HLEN + 4 ||
        be16_get(frame + 12) != ETH_P_8021Q) {
        return true;
    }
    unsigned id = be16_get(frame + 14) & (NET_VLANS - 1);
    return net->filter.vlans[id / 8] >> (id % 8) & 1;
}

bool net_filter_passes(const VirtioNet *net, const uint8_t *frame, size_t length)
{
    static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    const NetFilter *filter = &net->filter;
    if (filter->promiscuous) {
        return true;
    }
    if (!passes_vlan(net, frame, length)) {
        return false;
    }
    if (!memcmp(frame, broadcast, ETH_ALEN)) {
        return !filter->no_broadcast;
    }
    if (frame[0] & 1) {
        return !filter->no_multicast &&
               (filter->all_multicast || filter->multicast_overflow ||
                is_listed(filter->multicast, filter->multicast_count, frame));
    }
    return !filter->no_unicast &&
           (filter->all_unicast || filter->unicast_overflow || !memcmp(frame, net->mac, ETH_ALEN) ||
            is_listed(filter->unicast, filter->unicast_count, frame));
}
