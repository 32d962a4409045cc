/* Network card: commands of the control queue. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "vmm/virtio/net/net-private.h"

#include <string.h>

#define COMMAND_HEADER_BYTES 2 /* class, command */

static bool set_mode(VirtioNet *net, VirtqChain *chain, uint8_t command)
{
    bool *const modes[] = {
        &net->filter.promiscuous,  &net->filter.all_multicast, &net->filter.all_unicast,
        &net->filter.no_multicast, &net->filter.no_unicast,    &net->filter.no_broadcast,
    };
    uint8_t on;
    if (command >= ARRAY_LENGTH(modes) ||
        virtq_chain_read(chain, COMMAND_HEADER_BYTES, &on, 1) < 0 || on > 1) {
        return false;
    }
    *modes[command] = on;
    return true;
}

/* One table of the command MAC_TABLE_SET, at *offset of the chain, which moves behind it. */
static bool read_macs(VirtqChain *chain, uint64_t *offset, uint8_t table[][ETH_ALEN],
                      uint32_t *out_count, bool *out_overflow)
{
    uint8_t number[4];
    if (virtq_chain_read(chain, *offset, number, sizeof(number)) < 0) {
        return false;
    }
    uint32_t count = le32_get(number);
    *offset += sizeof(number);
    if (!range_fits(*offset, (uint64_t)count * ETH_ALEN, chain->out_bytes)) {
        return false;
    }
    *out_overflow = count > NET_MAC_TABLE_MAX;
    *out_count = *out_overflow ? 0 : count;
    if (*out_count && virtq_chain_read(chain, *offset, table, (size_t)count * ETH_ALEN) < 0) {
        return false;
    }
    *offset += (uint64_t)count * ETH_ALEN;
    return true;
}

static bool set_mac_table(VirtioNet *net, VirtqChain *chain)
{
    NetFilter *filter = &net->filter;
    NetFilter fresh = *filter;
    uint64_t offset = COMMAND_HEADER_BYTES;
    if (!read_macs(chain, &offset, fresh.unicast, &fresh.unicast_count, &fresh.unicast_overflow) ||
        !read_macs(chain, &offset, fresh.multicast, &fresh.multicast_count,
                   &fresh.multicast_overflow)) {
        return false;
    }
    *filter = fresh;
    return true;
}

static bool set_mac(VirtioNet *net, VirtqChain *chain, uint8_t command)
{
    uint8_t mac[ETH_ALEN];
    if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET) {
        return set_mac_table(net, chain);
    }
    if (command != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
        virtq_chain_read(chain, COMMAND_HEADER_BYTES, mac, sizeof(mac)) < 0) {
        return false;
    }
    memcpy(net->mac, mac, sizeof(mac));
    return true;
}

static bool set_vlan(VirtioNet *net, VirtqChain *chain, uint8_t command)
{
    uint8_t bytes[2];
    if (command > VIRTIO_NET_CTRL_VLAN_DEL ||
        virtq_chain_read(chain, COMMAND_HEADER_BYTES, bytes, sizeof(bytes)) < 0 ||
        le16_get(bytes) >= NET_VLANS) {
        return false;
    }
    unsigned id = le16_get(bytes);
    if (command == VIRTIO_NET_CTRL_VLAN_ADD) {
        net->filter.vlans[id / 8] |= (uint8_t)(1u << (id % 8));
    } else {
        net->filter.vlans[id / 8] &= (uint8_t) ~(1u << (id % 8));
    }
    return true;
}

static bool acknowledge_announce(VirtioNet *net, uint8_t command)
{
    if (command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !net->needs_announce) {
        return false;
    }
    net->needs_announce = false;
    return true;
}

static bool execute(VirtioNet *net, VirtqChain *chain)
{
    uint8_t header[COMMAND_HEADER_BYTES];
    if (virtq_chain_read(chain, 0, header, sizeof(header)) < 0) {
        return false;
    }
    switch (header[0]) {
    case VIRTIO_NET_CTRL_RX:
        return set_mode(net, chain, header[1]);
    case VIRTIO_NET_CTRL_MAC:
        return set_mac(net, chain, header[1]);
    case VIRTIO_NET_CTRL_VLAN:
        return set_vlan(net, chain, header[1]);
    case VIRTIO_NET_CTRL_ANNOUNCE:
        return acknowledge_announce(net, header[1]);
    default:
        return false;
    }
}

void virtio_net_control(VirtioNet *net)
{
    VirtqChain *chain;
    while ((chain = virtio_pop(&net->virtio, NET_CONTROL_QUEUE))) {
        uint8_t status = execute(net, chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
        if (virtq_chain_write(chain, chain->in_bytes ? chain->in_bytes - 1 : 0, &status, 1) < 0) {
            virtq_chain_free(chain);
            virtio_fail(&net->virtio, "control command has no room for its status");
            return;
        }
        virtio_push(&net->virtio, chain, 1);
    }
    virtio_flush(&net->virtio, NET_CONTROL_QUEUE);
}
