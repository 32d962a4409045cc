/* Arguments of network interfaces.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

#include <string.h>

/* The kernel passes no longer argument to a program. */
#define ARGUMENT_MAX (128u << 10)

static bool append_forwards(GString *text, const DomainInterface *interface, GError **error)
{
    for (unsigned i = 0; i < interface->port_forwards.count; i++) {
        const DomainPortForward *forward = interface->port_forwards.item[i];
        g_autofree char *protocol = line_escape(forward->proto ?: "tcp");
        g_autofree char *address = line_escape(forward->address ?: "");
        for (unsigned r = 0; r < forward->ranges.count; r++) {
            if (text->len >= ARGUMENT_MAX) {
                break;
            }
            const DomainPortRange *range = forward->ranges.item[r];
            unsigned end = range->end ? range->end : range->start;
            for (unsigned port = range->start; port <= end && range->exclude != TRI_YES; port++) {
                g_string_append_printf(text, ",hostfwd=%s:%s:%u-:%u", protocol, address, port,
                                       (range->to ? range->to : range->start) + port -
                                           range->start);
            }
        }
    }
    if (text->len >= ARGUMENT_MAX) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: interface '%s' forwards more ports than a "
                         "command line holds; a bridge needs none",
                         interface->device.alias);
        return false;
    }
    return true;
}

/* The networks that the guest sees. */
static bool append_networks(const CommandLine *line, GString *text,
                            const DomainInterface *interface, GError **error)
{
    for (unsigned i = 0; i < interface->ips.count; i++) {
        const DomainIp *ip = interface->ips.item[i];
        bool is_v6 = ip->family && strcmp(ip->family, "ipv6") == 0;
        if (is_v6 && line->engine == ENGINE_LODGE) {
            return line_refuse(line, error, "<ip family='ipv6'> of interface '%s'",
                               interface->device.alias);
        }
        g_autofree char *address = line_escape(ip->address ?: "");
        g_autofree char *prefix = line_escape(ip->prefix ?: is_v6 ? "64" : "24");
        g_string_append_printf(text, is_v6 ? ",ipv6-prefix=%s,ipv6-prefixlen=%s" : ",net=%s/%s",
                               address, prefix);
    }
    return true;
}

/* The daemon's descriptor of /dev/vhost-net, where the definition wants it. */
static bool append_vhost(CommandLine *line, GString *text, const DomainInterface *interface,
                         GError **error)
{
    if (interface->driver != NET_DRIVER_VHOST) {
        return true;
    }
    int fd = line->ops->open_file(line->opaque, "/dev/vhost-net", true, error);
    if (fd < 0) {
        g_prefix_error(error,
                       "interface '%s' with <driver name='vhost'>: ", interface->device.alias);
        return false;
    }
    g_array_append_val(line->fds, fd);
    g_string_append_printf(text, ",vhost=on,vhostfd=%d", fd);
    return true;
}

static bool append_tap(CommandLine *line, GString *text, DomainInterface *interface, GError **error)
{
    if (interface->queues > 1) {
        return line_refuse_unless(line, false, error, "<driver queues='%u'> of interface '%s'",
                                  interface->queues, interface->device.alias);
    }
    int fd = line->ops->open_tap(line->opaque, interface, error);
    if (fd < 0) {
        return false;
    }
    g_array_append_val(line->fds, fd);
    g_string_append_printf(text, "tap,fd=%d,id=host%s", fd, interface->device.alias);
    if (interface->sndbuf_bytes.set) {
        g_string_append_printf(text, ",sndbuf=%" G_GUINT64_FORMAT, interface->sndbuf_bytes.value);
    }
    return append_vhost(line, text, interface, error);
}

/* Frames over a socket, to other guests of QEMU. */
static void append_socket(GString *text, const DomainInterface *interface)
{
    const char *option = interface->type == INTERFACE_SERVER   ? "listen"
                         : interface->type == INTERFACE_CLIENT ? "connect"
                         : interface->type == INTERFACE_MCAST  ? "mcast"
                                                               : "udp";
    g_autofree char *address = line_escape(interface->source_address ?: "");
    g_autofree char *port = line_escape(interface->source_port ?: "");
    g_string_append_printf(text, "socket,%s=%s:%s,id=host%s", option, address, port,
                           interface->device.alias);
    if (interface->type == INTERFACE_UDP) {
        g_autofree char *local = line_escape(interface->local_address ?: "");
        g_autofree char *local_port = line_escape(interface->local_port ?: "");
        g_string_append_printf(text, ",localaddr=%s:%s", local, local_port);
    }
}

static char *netdev_backend(CommandLine *line, DomainInterface *interface, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *kind = device_table_word(PROPERTY_INTERFACE, (int)interface->type, line->engine);
    bool ok = true;
    if (interface->type == INTERFACE_NETWORK) {
        daemon_error_set(error, DAEMON_ERROR_NO_NETWORK,
                         "Network not found: no network with matching name '%s'; use an interface "
                         "of type 'user' or 'bridge'",
                         interface->source_network ?: "");
        return NULL;
    }
    if (!kind) {
        line_refuse_unless(
            line, device_table_has(PROPERTY_INTERFACE, (int)interface->type, ENGINE_QEMU), error,
            "interface of type '%s'", domain_name(interface_type, interface->type));
        return NULL;
    }
    if (strcmp(kind, "user") == 0) {
        g_string_append_printf(text, "user,id=host%s", interface->device.alias);
        ok = append_networks(line, text, interface, error) &&
             append_forwards(text, interface, error);
    } else if (strcmp(kind, "tap") == 0) {
        ok = append_tap(line, text, interface, error);
    } else {
        append_socket(text, interface);
    }
    return ok ? g_strdup(text->str) : NULL;
}

static void append_offloads(GString *text, const DomainInterface *interface)
{
    const struct {
        const char *name;
        TriState value;
    } offloads[] = {
        { "csum", interface->host.csum },
        { "gso", interface->host.gso },
        { "host_tso4", interface->host.tso4 },
        { "host_tso6", interface->host.tso6 },
        { "host_ecn", interface->host.ecn },
        { "host_ufo", interface->host.ufo },
        { "mrg_rxbuf", interface->host.mrg_rxbuf },
        { "guest_csum", interface->guest.csum },
        { "guest_tso4", interface->guest.tso4 },
        { "guest_tso6", interface->guest.tso6 },
        { "guest_ecn", interface->guest.ecn },
        { "guest_ufo", interface->guest.ufo },
        { "rss", interface->rss },
        { "hash", interface->rss_hash_report },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(offloads); i++) {
        line_append_tri(text, offloads[i].name, offloads[i].value);
    }
}

/* What <driver> says of a virtio card. */
static void append_driver(GString *text, const DomainInterface *interface)
{
    g_autofree char *virtio = line_virtio_options(&interface->virtio);
    line_append_tri(text, "ioeventfd", interface->ioeventfd);
    line_append_tri(text, "event_idx", interface->event_idx);
    append_offloads(text, interface);
    if (interface->txmode) {
        g_string_append_printf(text, ",tx=%s", interface->txmode == TX_TIMER ? "timer" : "bh");
    }
    if (interface->rx_queue_size) {
        g_string_append_printf(text, ",rx_queue_size=%u", interface->rx_queue_size);
    }
    if (interface->tx_queue_size) {
        g_string_append_printf(text, ",tx_queue_size=%u", interface->tx_queue_size);
    }
    g_string_append(text, virtio);
}

static const char *net_model(const CommandLine *line, const DomainInterface *interface)
{
    return interface->model ?: line->engine == ENGINE_QEMU ? "rtl8139" : "virtio";
}

bool line_check_interface(const CommandLine *line, const DomainInterface *interface, GError **error)
{
    static const char *const cards[] = { "e1000",    "e1000e",  "igb",     "ne2k_pci",
                                         "pcnet",    "rtl8139", "i82551",  "i82557b",
                                         "i82559er", "vmxnet3", "usb-net", NULL };
    const char *model = net_model(line, interface);
    bool is_card = g_strv_contains(cards, model);
    if (g_str_has_prefix(model, "virtio") || (line->engine == ENGINE_QEMU && is_card)) {
        return true;
    }
    return line_refuse_unless(line, is_card, error, "network card '%s'%s", model,
                              line->engine == ENGINE_LODGE ? " (use model 'virtio')" : "");
}

static char *net_device(CommandLine *line, const DomainInterface *interface, GError **error)
{
    if (!line_check_interface(line, interface, error)) {
        return NULL;
    }
    const char *model = net_model(line, interface);
    bool is_virtio = g_str_has_prefix(model, "virtio");
    g_autofree char *address = line_address(line, &interface->device);
    const uint8_t *mac = interface->mac.byte;
    g_autofree char *name = is_virtio ? line_virtio_name(line, "net") : g_strdup(model);
    GString *text = g_string_new(name);
    g_string_append_printf(text, ",netdev=host%s,id=%s,mac=%02x:%02x:%02x:%02x:%02x:%02x%s",
                           interface->device.alias, interface->device.alias, mac[0], mac[1], mac[2],
                           mac[3], mac[4], mac[5], address);
    if (is_virtio) {
        append_driver(text, interface);
    }
    if (g_str_has_suffix(model, "-transitional")) {
        bool is_legacy = !g_str_has_suffix(model, "-non-transitional");
        g_string_append_printf(text, ",disable-legacy=%s,disable-modern=off",
                               is_legacy ? "off" : "on");
    }
    if (interface->mtu) {
        g_string_append_printf(text, ",host_mtu=%u", interface->mtu);
    }
    return line_finish(line, g_string_free(text, FALSE), &interface->device);
}

bool line_add_interface(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainInterface *interface = (DomainInterface *)device;
    g_autofree char *card = net_device(line, interface, error);
    g_autofree char *backend = card ? netdev_backend(line, interface, error) : NULL;
    if (!backend) {
        return false;
    }
    line_add(line, "-netdev", g_steal_pointer(&backend));
    line_add(line, "-device", g_steal_pointer(&card));
    return true;
}
