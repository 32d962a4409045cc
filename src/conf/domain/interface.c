/* <interface>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

static const XmlField ip_fields[] = {
    XML_ATTR_STR(DomainIp, address, "address", .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainIp, family, "family"),
    XML_ATTR_STR(DomainIp, prefix, "prefix"),
    XML_ATTR_STR(DomainIp, peer, "peer"),
    XML_END,
};

static const XmlField route_fields[] = {
    XML_ATTR_STR(DomainRoute, family, "family"),
    XML_ATTR_STR(DomainRoute, address, "address"),
    XML_ATTR_STR(DomainRoute, netmask, "netmask"),
    XML_ATTR_STR(DomainRoute, prefix, "prefix"),
    XML_ATTR_STR(DomainRoute, gateway, "gateway"),
    XML_ATTR_STR(DomainRoute, metric, "metric"),
    XML_END,
};

/* The host's side, inside <source>. */
#define SOURCE_IPS XML_LIST(DomainInterface, source_ips, "ip", DomainIp, ip_fields)

static const XmlField network_source[] = {
    XML_ATTR_STR(DomainInterface, source_network, "network", .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainInterface, source_portgroup, "portgroup"),
    XML_ATTR_STR(DomainInterface, source_portid, "portid"),
    XML_ATTR_STR(DomainInterface, source_bridge, "bridge"),
    XML_END,
};

static const XmlField bridge_source[] = {
    XML_ATTR_STR(DomainInterface, source_bridge, "bridge", .flags = XML_REQUIRED),
    SOURCE_IPS,
    XML_END,
};

static const XmlField direct_source[] = {
    XML_ATTR_STR(DomainInterface, source_dev, "dev", .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainInterface, source_mode, "mode", macvtap_mode_names),
    SOURCE_IPS,
    XML_END,
};

static const XmlField ethernet_source[] = {
    SOURCE_IPS,
    XML_LIST(DomainInterface, routes, "route", DomainRoute, route_fields),
    XML_END,
};

static const XmlField user_source[] = {
    XML_ATTR_STR(DomainInterface, source_dev, "dev"),
    XML_END,
};

static const XmlField internal_source[] = {
    XML_ATTR_STR(DomainInterface, source_name, "name", .flags = XML_REQUIRED),
    XML_END,
};

static const XmlField vdpa_source[] = {
    XML_ATTR_STR(DomainInterface, source_dev, "dev", .flags = XML_REQUIRED),
    XML_END,
};

static const XmlField vhost_user_source[] = {
    XML_ATTR_STR(DomainInterface, source_type, "type"),
    XML_ATTR_STR(DomainInterface, source_path, "path", .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainInterface, source_socket_mode, "mode", .flags = XML_REQUIRED),
    XML_NEST("reconnect",
             FIELDS(XML_ATTR_STR(DomainInterface, source_reconnect_enabled, "enabled"),
                    XML_ATTR_STR(DomainInterface, source_reconnect_timeout, "timeout"))),
    XML_END,
};

static const XmlField socket_source[] = {
    XML_ATTR_STR(DomainInterface, source_address, "address"),
    XML_ATTR_STR(DomainInterface, source_port, "port", .flags = XML_REQUIRED),
    XML_NEST("local", FIELDS(XML_ATTR_STR(DomainInterface, local_address, "address"),
                             XML_ATTR_STR(DomainInterface, local_port, "port"))),
    XML_END,
};

static const XmlField hostdev_source[] = {
    XML_NEST_AT(DomainInterface, hostdev_address, "address", address_fields),
    XML_END,
};

#define SOURCE_OF(table) FIELDS(XML_NEST("source", table))
#define NEED_SOURCE(table) FIELDS(XML_NEST("source", table, .flags = XML_REQUIRED))

static const XmlField *const source_variants[] = {
    [INTERFACE_USER] = SOURCE_OF(user_source),
    [INTERFACE_ETHERNET] = SOURCE_OF(ethernet_source),
    [INTERFACE_VHOST_USER] = NEED_SOURCE(vhost_user_source),
    [INTERFACE_SERVER] = NEED_SOURCE(socket_source),
    [INTERFACE_CLIENT] = NEED_SOURCE(socket_source),
    [INTERFACE_MCAST] = NEED_SOURCE(socket_source),
    [INTERFACE_UDP] = NEED_SOURCE(socket_source),
    [INTERFACE_NETWORK] = NEED_SOURCE(network_source),
    [INTERFACE_BRIDGE] = NEED_SOURCE(bridge_source),
    [INTERFACE_INTERNAL] = NEED_SOURCE(internal_source),
    [INTERFACE_DIRECT] = NEED_SOURCE(direct_source),
    [INTERFACE_HOSTDEV] = SOURCE_OF(hostdev_source),
    [INTERFACE_VDPA] = NEED_SOURCE(vdpa_source),
};

static const XmlField bandwidth_fields[] = {
    XML_ATTR(DomainBandwidth, average, "average", xml_u64),
    XML_ATTR(DomainBandwidth, peak, "peak", xml_u64),
    XML_ATTR(DomainBandwidth, floor, "floor", xml_u64),
    XML_ATTR(DomainBandwidth, burst, "burst", xml_u64),
    XML_END,
};

static const XmlField vlan_fields[] = {
    XML_ATTR_ENUM(DomainInterface, vlan_trunk, "trunk", yes_no_names),
    XML_LIST(DomainInterface, vlan_tags, "tag", DomainVlanTag,
             FIELDS(XML_ATTR(DomainVlanTag, id, "id", xml_u32, .max = 4095,
                             .flags = XML_REQUIRED | XML_ALWAYS),
                    XML_ATTR_ENUM(DomainVlanTag, native, "nativeMode", native_vlan_names))),
    XML_END,
};

static const XmlField virtualport_fields[] = {
    XML_ATTR_ENUM(DomainInterface, virtualport, "type", virtualport_type_names),
    XML_NEST("parameters", FIELDS(XML_ATTR_STR(DomainInterface, vp_managerid, "managerid"),
                                  XML_ATTR_STR(DomainInterface, vp_typeid, "typeid"),
                                  XML_ATTR_STR(DomainInterface, vp_typeidversion, "typeidversion"),
                                  XML_ATTR_STR(DomainInterface, vp_instanceid, "instanceid"),
                                  XML_ATTR_STR(DomainInterface, vp_interfaceid, "interfaceid"),
                                  XML_ATTR_STR(DomainInterface, vp_profileid, "profileid"))),
    XML_END,
};

static const XmlField offload_fields[] = {
    XML_ATTR_ENUM(DomainNetOffloads, csum, "csum", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, gso, "gso", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, tso4, "tso4", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, tso6, "tso6", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, ecn, "ecn", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, ufo, "ufo", on_off_names),
    XML_ATTR_ENUM(DomainNetOffloads, mrg_rxbuf, "mrg_rxbuf", on_off_names),
    XML_END,
};

static const XmlField driver_fields[] = {
    XML_ATTR_ENUM(DomainInterface, driver, "name", net_driver_names),
    XML_ATTR_ENUM(DomainInterface, txmode, "txmode", tx_mode_names),
    XML_ATTR_ENUM(DomainInterface, ioeventfd, "ioeventfd", on_off_names),
    XML_ATTR_ENUM(DomainInterface, event_idx, "event_idx", on_off_names),
    XML_ATTR(DomainInterface, queues, "queues", xml_u32),
    XML_ATTR(DomainInterface, rx_queue_size, "rx_queue_size", xml_u32),
    XML_ATTR(DomainInterface, tx_queue_size, "tx_queue_size", xml_u32),
    XML_ATTR_ENUM(DomainInterface, rss, "rss", on_off_names),
    XML_ATTR_ENUM(DomainInterface, rss_hash_report, "rss_hash_report", on_off_names),
    XML_INLINE(DomainInterface, virtio, virtio_fields),
    XML_NEST_AT(DomainInterface, host, "host", offload_fields),
    XML_NEST_AT(DomainInterface, guest, "guest", offload_fields),
    XML_END,
};

static const XmlField port_forward_fields[] = {
    XML_ATTR_STR(DomainPortForward, proto, "proto", .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainPortForward, address, "address"),
    XML_ATTR_STR(DomainPortForward, dev, "dev"),
    XML_LIST(DomainPortForward, ranges, "range", DomainPortRange,
             FIELDS(XML_ATTR(DomainPortRange, start, "start", xml_u32, .max = 65535,
                             .flags = XML_REQUIRED),
                    XML_ATTR(DomainPortRange, end, "end", xml_u32, .max = 65535),
                    XML_ATTR(DomainPortRange, to, "to", xml_u32, .max = 65535),
                    XML_ATTR_ENUM(DomainPortRange, exclude, "exclude", yes_no_names))),
    XML_END,
};

const XmlField interface_fields[] = {
    XML_ATTR_ENUM(DomainInterface, type, "type", interface_type_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainInterface, managed, "managed", yes_no_names),
    XML_ATTR_ENUM(DomainInterface, trust_guest_rx_filters, "trustGuestRxFilters", yes_no_names),
    XML_NEST("mac", FIELDS(XML_ATTR(DomainInterface, mac, "address", xml_mac),
                           XML_ATTR_ENUM(DomainInterface, mac_type, "type", mac_type_names),
                           XML_ATTR_ENUM(DomainInterface, mac_check, "check", yes_no_names))),
    XML_VARIANT(DomainInterface, type, source_variants),
    XML_LIST(DomainInterface, ips, "ip", DomainIp, ip_fields),
    XML_LIST(DomainInterface, routes, "route", DomainRoute, route_fields),
    XML_NEST("vlan", vlan_fields),
    XML_NEST("virtualport", virtualport_fields),
    XML_NEST("script", FIELDS(XML_ATTR_STR(DomainInterface, script, "path"))),
    XML_NEST("downscript", FIELDS(XML_ATTR_STR(DomainInterface, downscript, "path"))),
    XML_NEST("backenddomain", FIELDS(XML_ATTR_STR(DomainInterface, backenddomain, "name"))),
    XML_NEST("target",
             FIELDS(XML_ATTR_STR(DomainInterface, target_dev, "dev"),
                    XML_ATTR_ENUM(DomainInterface, target_managed, "managed", yes_no_names))),
    XML_NEST("guest", FIELDS(XML_ATTR_STR(DomainInterface, guest_dev, "dev"))),
    XML_NEST("model", FIELDS(XML_ATTR_STR(DomainInterface, model, "type"))),
    XML_NEST("driver", driver_fields),
    XML_NEST("backend", FIELDS(XML_ATTR_ENUM(DomainInterface, backend, "type", net_backend_names),
                               XML_ATTR_STR(DomainInterface, backend_tap, "tap"),
                               XML_ATTR_STR(DomainInterface, backend_vhost, "vhost"),
                               XML_ATTR_STR(DomainInterface, backend_log_file, "logFile"))),
    XML_NEST("filterref",
             FIELDS(XML_ATTR_STR(DomainInterface, filter, "filter"),
                    XML_LIST(DomainInterface, filter_parameters, "parameter", DomainFilterParameter,
                             FIELDS(XML_ATTR_STR(DomainFilterParameter, name, "name"),
                                    XML_ATTR_STR(DomainFilterParameter, value, "value"))))),
    XML_NEST("bandwidth",
             FIELDS(XML_NEST_AT(DomainInterface, inbound, "inbound", bandwidth_fields),
                    XML_NEST_AT(DomainInterface, outbound, "outbound", bandwidth_fields))),
    XML_NEST("teaming", FIELDS(XML_ATTR_ENUM(DomainInterface, teaming, "type", teaming_names),
                               XML_ATTR_STR(DomainInterface, teaming_persistent, "persistent"))),
    XML_LIST(DomainInterface, port_forwards, "portForward", DomainPortForward, port_forward_fields),
    XML_NEST("link", FIELDS(XML_ATTR_ENUM(DomainInterface, link, "state", link_state_names))),
    XML_NEST("tune", FIELDS(XML_LEAF(DomainInterface, sndbuf_bytes, "sndbuf", xml_opt))),
    XML_NEST("mtu", FIELDS(XML_ATTR(DomainInterface, mtu, "size", xml_u32))),
    XML_NEST("coalesce",
             FIELDS(XML_NEST("rx", FIELDS(XML_NEST("frames", FIELDS(XML_ATTR(DomainInterface,
                                                                             coalesce_rx_frames,
                                                                             "max", xml_opt))))))),
    XML_NEST("port", FIELDS(XML_ATTR_ENUM(DomainInterface, isolated, "isolated", yes_no_names))),
    XML_INLINE(DomainInterface, device, device_fields),
    XML_END,
};
