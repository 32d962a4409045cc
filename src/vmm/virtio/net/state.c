/* Network card: migrated fields. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/net/net-private.h"

static const StateField filter_fields[] = {
    STATE_FIELD(NetFilter, STATE_BOOL, promiscuous),
    STATE_FIELD(NetFilter, STATE_BOOL, all_multicast),
    STATE_FIELD(NetFilter, STATE_BOOL, all_unicast),
    STATE_FIELD(NetFilter, STATE_BOOL, no_multicast),
    STATE_FIELD(NetFilter, STATE_BOOL, no_unicast),
    STATE_FIELD(NetFilter, STATE_BOOL, no_broadcast),
    STATE_FIELD(NetFilter, STATE_U32, unicast_count),
    STATE_FIELD(NetFilter, STATE_U32, multicast_count),
    STATE_FIELD(NetFilter, STATE_BOOL, unicast_overflow),
    STATE_FIELD(NetFilter, STATE_BOOL, multicast_overflow),
    STATE_BYTES_FIELD(NetFilter, unicast),
    STATE_BYTES_FIELD(NetFilter, multicast),
    STATE_BYTES_FIELD(NetFilter, vlans),
    STATE_END,
};

static const StateTable filter_state = { .name = "filter", .version = 1, .fields = filter_fields };

static const StateField fields[] = {
    VIRTIO_STATE,
    STATE_BYTES_FIELD(VirtioNet, mac),
    STATE_FIELD(VirtioNet, STATE_BOOL, needs_announce),
    STATE_STRUCT(VirtioNet, filter, &filter_state),
    STATE_END,
};

const StateTable virtio_net_state = { .name = "virtio-net", .version = 1, .fields = fields };
